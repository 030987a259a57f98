/*-------------------------------------------------------------------------
 *
 * hnsw_range.c
 *	  Ranges of node numbers and range codes, see hnsw_range.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_range.h"

/*
 * Nodes of a range: some hundred where there are many.  All centres are compared
 * with a query, so there are not too many; of a smaller index they may be finer.
 */
#define RANGE_SIZE		700
#define MIN_RANGE_SIZE	128
#define FEW_RANGES		1024
#define MAX_RANGES		4096

static void check_starts(Relation index, OmenHnswIndex *hnsw);

void
omen_range_choose(OmenHnswMetaPageData *meta)
{
	uint64		n = meta->built_nodes;
	uint64		size = Min(RANGE_SIZE, n / FEW_RANGES + 1);

	/* needs pair codes that centres can be computed of, and kept in memory */
	meta->range_size = 0;
	if (meta->shape.own_kind == OMEN_OWN_RAW ||
		meta->entry_size == sizeof(OmenHnswEntryData))
		return;

	size = Max(Max(size, MIN_RANGE_SIZE), n / MAX_RANGES + 1);
	meta->range_size = (uint32) size;
	if (n < 2 * meta->range_size)
		meta->range_size = 0;
}

bool
omen_range_is_valid(const OmenHnswMetaPageData *meta)
{
	return meta->range_size == 0 ||
		(meta->nranges > 0 &&
		 meta->shape.own_kind != OMEN_OWN_RAW &&
		 meta->entry_size > sizeof(OmenHnswEntryData) &&
		 meta->built_nodes + meta->range_first <
		 UINT64CONST(1) << OMEN_LINK_NUMBER_BITS &&
		 meta->nranges <= 4 * MAX_RANGES);
}

/* Where slots are small, reading them instead costs little */
bool
omen_range_has_codes(const OmenHnswMetaPageData *meta)
{
	return meta->range_size > 0 &&
		(meta->shape.link_kind == OMEN_LINK_RABITQ1 ||
		 meta->shape.link_kind == OMEN_LINK_RABITQ2);
}

void
omen_range_quantizer(const OmenQuantizer *quant, OmenQuantizer *range_quant)
{
	*range_quant = *quant;
	range_quant->shape.link_kind = OMEN_LINK_RABITQ1;
	range_quant->shape.link_dims = quant->shape.code_dims;
	range_quant->shape.link_size = (quant->shape.code_dims + 31) / 32 * 4;
}

BlockNumber
omen_range_pages(const OmenHnswMetaPageData *meta, Size code_size)
{
	uint64		per_page = OMEN_PAGE_CONTENT / code_size;

	return (BlockNumber) ((meta->built_nodes + per_page - 1) / per_page);
}

bool
omen_range_load(Relation index, OmenHnswIndex *hnsw)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	MemoryContext old;

	if (meta->range_size == 0)
		return false;
	if (hnsw->range_centres != NULL)
		return true;
	old = MemoryContextSwitchTo(hnsw->kept.context);
	if (omen_range_has_codes(meta))
	{
		omen_range_quantizer(hnsw->quant, &hnsw->range_quant);
		hnsw->range_codes_per_page = OMEN_PAGE_CONTENT /
			omen_range_code_size(&hnsw->range_quant);
	}
	hnsw->range_centres =
		omen_hnsw_read_data(index, meta->range_start,
							omen_range_data_size(meta));
	hnsw->range_starts = (const uint32 *) (hnsw->range_centres +
										   omen_range_centres_size(meta));
	MemoryContextSwitchTo(old);
	check_starts(index, hnsw);
	return true;
}

/* Ascending, or else they are not what was written */
static void
check_starts(Relation index, OmenHnswIndex *hnsw)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	bool		good = hnsw->range_starts[0] == 0;

	for (uint32 i = 0; i < meta->nranges; i++)
		good = good && hnsw->range_starts[i] <
			(i + 1 < meta->nranges ? hnsw->range_starts[i + 1] :
			 meta->built_nodes);
	if (good)
		return;
	pfree(hnsw->range_centres);
	hnsw->range_centres = NULL;
	omen_page_report_corrupt(index, meta->range_start,
							 "Ranges of nodes do not follow each other.");
}

Buffer
omen_range_read_code(Relation index, OmenHnswIndex *hnsw, uint32 number,
					 OmenLockMode mode)
{
	return omen_page_read_fixed(index, omen_range_code_block(hnsw, number),
								OMEN_PAGE_CODES, mode, &hnsw->hints);
}

void
omen_range_set_code(Relation index, OmenHnswIndex *hnsw, uint32 number,
					const uint8 *pair)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	OmenRangeCode code;
	OmenPageEdit edit;
	Buffer		buffer;

	if (!omen_range_has_codes(meta) || number < meta->range_first ||
		number >= meta->range_first + meta->built_nodes)
		return;
	omen_range_load(index, hnsw);
	code = palloc(omen_range_code_size(&hnsw->range_quant));
	omen_range_encode(&hnsw->range_quant,
					  omen_range_centre(hnsw,
										omen_range_find(hnsw->range_starts,
														meta->nranges, number -
														meta->range_first)),
					  pair, code);
	buffer = omen_range_read_code(index, hnsw, number, OMEN_LOCK_EXCLUSIVE);
	omen_edit_begin(&edit, index);
	memcpy(omen_range_page_code(hnsw, omen_edit_page(&edit, buffer), number),
		   code, omen_range_code_size(&hnsw->range_quant));
	omen_edit_finish(&edit);
	omen_page_release(buffer);
	pfree(code);
}

void
omen_range_encode(const OmenQuantizer *range_quant, const uint8 *centre,
				  const uint8 *pair, OmenRangeCode code)
{
	float	   *scratch = palloc(2 * range_quant->shape.code_dims *
								 sizeof(float));
	float		f_add;
	float		f_rescale;

	omen_quant_encode_link(range_quant, centre, pair, &f_add, &f_rescale,
						   code->code, scratch);
	code->f_add = omen_range_shorten(f_add);
	code->f_rescale = omen_range_shorten(f_rescale);
	pfree(scratch);
}
