/*-------------------------------------------------------------------------
 *
 * hnsw_range_build.c
 *	  Ranges of node numbers and range codes in a bulk build.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_range.h"

/* At most so many members of a range are averaged: more move it little */
#define CENTRE_SAMPLE	256

/* A cluster of less than this part of a range is none of its own */
#define SMALL_CLUSTER	3

static uint32 list_starts(const OmenHnswBuildState *state, uint32 *starts);
static const uint32 *range_starts(OmenHnswBuildState *state);
static void form_centre(OmenHnswBuildState *state, uint32 range, uint8 *pair);

/* How many pages from the block on are taken: centres, then codes */
BlockNumber
omen_range_build_plan(OmenHnswBuildState *state, BlockNumber block)
{
	OmenHnswMetaPageData *meta = &state->shared->meta;
	BlockNumber end = block;

	meta->range_first = state->shared->node_start *
		state->layout.slots_per_page;
	omen_range_choose(meta);
	if (meta->range_size == 0)
		return 0;
	meta->nranges = list_starts(state, NULL);
	meta->range_start = block;
	end += (omen_range_data_size(meta) + OMEN_PAGE_CONTENT - 1) /
		OMEN_PAGE_CONTENT;
	if (omen_range_has_codes(meta))
	{
		meta->code_start = end;
		end += omen_range_build_pages(state);
	}
	return end - block;
}

/*
 * Coarse clusters make ranges: large ones are cut into equal parts, small ones
 * join with the next.  Returns how many there are; starts may be NULL.
 */
static uint32
list_starts(const OmenHnswBuildState *state, uint32 *starts)
{
	uint32		size = state->shared->meta.range_size;
	const uint32 *clusters;
	uint32		nclusters = omen_build_clusters(state->build, &clusters);
	uint32		from = 0;
	uint32		n = 0;

	for (uint32 i = 1; i <= nclusters; i++)
	{
		uint32		end = i < nclusters ? clusters[i] : state->shared->nnodes;
		uint32		nodes = end - from;
		uint32		parts = Max((nodes + size / 2) / size, 1);

		if (i < nclusters && nodes < size / SMALL_CLUSTER)
			continue;
		for (uint32 part = 0; starts != NULL && part < parts; part++)
			starts[n + part] = from + (uint64) nodes * part / parts;
		n += parts;
		from = end;
	}
	return n;
}

/* Each participant lists them for itself */
static const uint32 *
range_starts(OmenHnswBuildState *state)
{
	if (state->range_starts == NULL)
	{
		state->range_starts = palloc(state->shared->meta.nranges *
									 sizeof(uint32));
		list_starts(state, state->range_starts);
	}
	return state->range_starts;
}

/* Pages of range codes */
BlockNumber
omen_range_build_pages(const OmenHnswBuildState *state)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	OmenQuantizer quant;

	if (!omen_range_has_codes(meta))
		return 0;
	omen_range_quantizer(state->quant, &quant);
	return omen_range_pages(meta, omen_range_code_size(&quant));
}

/* All centres, and the first position of each range behind them, palloc'd */
uint8 *
omen_range_build_data(OmenHnswBuildState *state)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	Size		stride = omen_range_stride(meta);
	uint8	   *centres = palloc0(omen_range_data_size(meta));

	for (uint32 i = 0; i < meta->nranges; i++)
	{
		omen_hnsw_build_tick(state);
		form_centre(state, i, centres + i * stride);
	}
	memcpy(centres + omen_range_centres_size(meta), range_starts(state),
		   meta->nranges * sizeof(uint32));
	return centres;
}

/* The n-th page of range codes */
void
omen_range_build_page(OmenHnswBuildState *state, OmenBulkWriter *writer,
					  BlockNumber n)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	Page		page = omen_bulk_page(writer, meta->code_start + n);
	OmenQuantizer quant;
	Size		size;
	uint32		position;
	uint32		end;
	uint8	   *centre = palloc(meta->shape.pair_size);
	const uint32 *starts = range_starts(state);
	uint32		range = PG_UINT32_MAX;

	omen_range_quantizer(state->quant, &quant);
	size = omen_range_code_size(&quant);
	position = n * (OMEN_PAGE_CONTENT / size);
	end = Min(position + OMEN_PAGE_CONTENT / size, state->shared->nnodes);
	omen_page_init(page, OMEN_PAGE_CODES, 0);
	for (char *at = omen_page_content(page); position < end; at += size)
	{
		if (range == PG_UINT32_MAX || (range + 1 < meta->nranges &&
									   position >= starts[range + 1]))
		{
			range = omen_range_find(starts, meta->nranges, position);
			form_centre(state, range, centre);
		}
		omen_range_encode(&quant, centre,
						  omen_build_code(state->build, position++),
						  (OmenRangeCode) at);
	}
	pfree(centre);
}

/* The pair code of a range's centre; each participant computes the same */
static void
form_centre(OmenHnswBuildState *state, uint32 range, uint8 *pair)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	float	   *sum = state->scratch;
	const uint32 *starts = range_starts(state);
	uint32		from = starts[range];
	uint32		nodes = (range + 1 < meta->nranges ? starts[range + 1] :
						 state->shared->nnodes) - from;
	uint32		n = Min(nodes, CENTRE_SAMPLE);

	memset(sum, 0, meta->shape.code_dims * sizeof(float));
	for (uint32 i = 0; i < n; i++)
		omen_quant_add_to_centre(state->quant,
								 omen_build_code(state->build, from +
												 (uint64) i * nodes / n),
								 sum);
	omen_quant_form_centre(state->quant, sum, n, pair);
}
