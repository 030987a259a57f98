/*-------------------------------------------------------------------------
 *
 * hnsw_write.c
 *	  The pages of a bulk build.
 *
 * The order of blocks: metapage, mean, codebook, entries, NODE pages with the
 * nodes in the order of their positions, NODE pages with TID list slots, CHAIN
 * pages, ranges, keys, the TID map.  A node's position plus a constant is its
 * number, so links can be written before the pages they lead to.  How many pages
 * the TID map has is not known before it is filled, which the leader does while
 * others begin with the nodes: so it is the last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_range.h"
#include "quant/quant_pq.h"

/* NODE pages that a participant takes at a time */
#define PAGES_AT_A_TIME	32

/* How many links ahead codes are asked for */
#define AHEAD			6

static void plan_slots(OmenHnswBuildState *state);
static uint32 count_tids(OmenHnswBuildState *state, uint32 row);
static void finish_writer(OmenHnswBuildState *state, OmenBulkWriter *writer);
static uint32 chain_pages(const OmenHnswBuildState *state, uint32 own_bytes);
static BlockNumber node_pages(const OmenHnswBuildState *state);
static void write_node_page(OmenHnswBuildState *state, OmenBulkWriter *writer,
							BlockNumber page_number);
static void form_node(OmenHnswBuildState *state, uint32 position,
					  OmenHnswSlot slot);
static void form_tids(OmenHnswBuildState *state, uint32 position,
					  OmenHnswSlot slot);
static void form_links(OmenHnswBuildState *state, uint32 position,
					   OmenHnswSlot slot);
static void encode_links(OmenHnswBuildState *state, uint32 position,
						 const uint32 *links, int nlinks, OmenHnswSlot slot);
static void encode_some_links(OmenHnswBuildState *state, const uint32 *links,
							  int n, OmenHnswSlot slot, int at);
static void prefetch_places(OmenHnswBuildState *state, uint32 position);
static void prefetch_links(OmenHnswBuildState *state, uint32 position);
static void write_chains(OmenHnswBuildState *state, OmenBulkWriter *writer,
						 BlockNumber page_number);
static void write_chain(OmenHnswBuildState *state, OmenBulkWriter *writer,
						uint32 position);
static void write_lists(OmenHnswBuildState *state, OmenBulkWriter *writer);
static void write_entries(OmenHnswBuildState *state, OmenBulkWriter *writer);

/* What the leader decides before the pages are written */
void
omen_hnsw_plan_pages(OmenHnswBuildState *state)
{
	OmenBuildShared *shared = state->shared;
	OmenHnswMetaPageData *meta = &shared->meta;
	const OmenHnswLayout *layout = &state->layout;
	BlockNumber block = OMEN_HNSW_META_BLOCK + 1;
	uint64		nblocks;

	if (shared->has_mean)
	{
		meta->mean_start = block;
		block += omen_hnsw_data_pages(meta->shape.code_dims * sizeof(float));
	}
	meta->codebook_hash = omen_hnsw_hash_codebook(state->quant);
	if (shared->has_codebook)
	{
		meta->codebook_start = block;
		block += omen_hnsw_data_pages(omen_pq_codebook_size(&meta->shape));
	}
	meta->nentries = Min(meta->entry_capacity, shared->nnodes);
	for (uint32 i = 0; i < meta->nentries; i += layout->entries_per_page)
		meta->entry_blocks[i / layout->entries_per_page] = block++;

	shared->node_start = block;
	plan_slots(state);
	block += node_pages(state);
	shared->list_start = block * layout->slots_per_page;
	nblocks = block + (shared->nlists + layout->slots_per_page - 1) /
		layout->slots_per_page;
	shared->chain_start = (BlockNumber) nblocks;
	nblocks += shared->nchains;
	if (nblocks * layout->slots_per_page >=
		UINT64CONST(1) << OMEN_LINK_NUMBER_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" would become too large",
						RelationGetRelationName(state->index)),
				 errhint("Partition the table.")));
	meta->built_nodes = shared->nnodes;
	meta->linked_rows = (uint32) Min(shared->heap_tuples, PG_UINT32_MAX);
	nblocks += omen_range_build_plan(state, (BlockNumber) nblocks);
	nblocks += omen_column_build_plan(state, (BlockNumber) nblocks);
	shared->tidmap_start = (BlockNumber) nblocks;
	omen_bulk_extend(state->index, MAIN_FORKNUM, (BlockNumber) nblocks);
}

/*
 * Each node's list slots and CHAIN pages, counted.  Rows are wherever they were
 * read, so they are looked at only for what differs from one to the other.
 */
static void
plan_slots(OmenHnswBuildState *state)
{
	OmenBuildShared *shared = state->shared;
	uint32		per_list = state->layout.list_tids;
	uint32		own_bytes = shared->meta.shape.own_size;
	bool		have_equals = shared->nnodes <
		state->first_row[shared->nparticipants];
	uint32		nlists = 0;
	uint32		nchains = 0;

	for (uint32 i = 0; i < shared->nnodes; i++)
	{
		uint32		row = omen_hnsw_build_node(state, i);
		uint32		ntids = have_equals ? count_tids(state, row) : 1;

		if (i % 64 == 0)
			omen_hnsw_build_tick(state);
		if (shared->meta.shape.own_size == 0)
			own_bytes = omen_hnsw_build_row(state, row)->own_bytes;
		state->list_of[i] = nlists;
		if (ntids > OMEN_SLOT_TIDS)
			nlists += (ntids - OMEN_SLOT_TIDS + per_list - 1) / per_list;
		state->chain_of[i] = nchains;
		nchains += chain_pages(state, own_bytes);
	}
	shared->nlists = nlists;
	shared->nchains = nchains;
}

static uint32
count_tids(OmenHnswBuildState *state, uint32 row)
{
	uint32		n = 0;

	for (; row != OMEN_BUILD_NONE; row = state->next_equal[row])
	{
		if (++n % 64 == 0)
			omen_hnsw_build_tick(state);
	}
	return n;
}

/* The leader, while others begin with the nodes: where each TID is */
void
omen_hnsw_fill_tid_map(OmenHnswBuildState *state)
{
	uint32		nrows = 0;

	omen_tidmap_build_begin(state, state->shared->tidmap_start);
	for (uint32 i = 0; i < state->shared->nnodes; i++)
	{
		OmenLink	link = omen_link_form(omen_hnsw_build_number(state, i), 0);

		omen_hnsw_prefetch_nodes(state, i);
		for (uint32 row = omen_hnsw_build_node(state, i);
			 row != OMEN_BUILD_NONE; row = state->next_equal[row])
		{
			if (++nrows % 64 == 0)
				omen_hnsw_build_tick(state);
			omen_tidmap_build_add(state, &omen_hnsw_build_row(state, row)->tid,
								  link);
		}
	}
}

/*
 * Write NODE pages, CHAIN pages of their nodes, and range codes until there are none
 * left to be taken.  Their blocks ascend: a standby makes an index as long as it must
 * be for a record, so if one came for a block far behind the last it would fill
 * everything between with zeros, for as long as that takes.
 */
void
omen_hnsw_write_nodes(OmenHnswBuildState *state)
{
	OmenBulkWriter *writer = omen_bulk_begin(state->index, MAIN_FORKNUM);
	BlockNumber nnodes = node_pages(state);
	BlockNumber nchained = state->shared->nchains > 0 ? nnodes : 0;
	BlockNumber npages = nnodes + nchained + omen_range_build_pages(state);
	uint32		nchunks = (npages + PAGES_AT_A_TIME - 1) / PAGES_AT_A_TIME;
	uint32		chunk;

	while ((chunk = pg_atomic_fetch_add_u32(&state->shared->next_chunk, 1)) <
		   nchunks)
	{
		BlockNumber page = chunk * PAGES_AT_A_TIME;
		BlockNumber end = Min(page + PAGES_AT_A_TIME, npages);

		for (; page < end; page++)
		{
			omen_hnsw_build_tick(state);
			if (page < nnodes)
				write_node_page(state, writer, page);
			else if (page < nnodes + nchained)
				write_chains(state, writer, page - nnodes);
			else
				omen_range_build_page(state, writer,
									  page - nnodes - nchained);
		}
		omen_hnsw_build_progress(state, OMEN_BUILD_WRITE, chunk, nchunks);
	}
	finish_writer(state, writer);
}

/* The leader's pages, when there are no others left to be taken */
void
omen_hnsw_write_rest(OmenHnswBuildState *state)
{
	OmenBulkWriter *writer = omen_bulk_begin(state->index, MAIN_FORKNUM);

	write_lists(state, writer);
	omen_column_build_write(state, writer);
	if (state->shared->has_mean)
		omen_hnsw_write_data(writer, state->shared->meta.mean_start, state->quant->mean,
				   state->shared->meta.shape.code_dims * sizeof(float));
	if (state->shared->has_codebook)
		omen_hnsw_write_data(writer, state->shared->meta.codebook_start,
				   state->quant->codebook,
				   omen_pq_codebook_size(&state->shared->meta.shape));
	if (state->shared->meta.range_size > 0)
		omen_hnsw_write_data(writer, state->shared->meta.range_start,
							 omen_range_build_data(state),
							 omen_range_data_size(&state->shared->meta));
	write_entries(state, writer);
	omen_bulk_extend(state->index, MAIN_FORKNUM,
					 state->shared->tidmap_start +
					 omen_tidmap_build_pages(state));
	omen_tidmap_build_write(state, writer);
	finish_writer(state, writer);
}

/* The leader, when all other pages are written: the metapage */
void
omen_hnsw_write_meta(OmenHnswBuildState *state)
{
	OmenBulkWriter *writer = omen_bulk_begin(state->index, MAIN_FORKNUM);
	Page		page;

	page = omen_bulk_page(writer, OMEN_HNSW_META_BLOCK);
	omen_page_init(page, OMEN_PAGE_META, 0);
	memcpy(omen_page_content(page), &state->shared->meta,
		   sizeof(OmenHnswMetaPageData));
	omen_column_build_meta(state, (OmenHnswKeyDirsData *)
						   (omen_page_content(page) +
							sizeof(OmenHnswMetaPageData)));
	finish_writer(state, writer);
	omen_hnsw_end_stage(state, OMEN_STAGE_WRITE);
	omen_bulk_sync(state->index, MAIN_FORKNUM);
	omen_hnsw_end_stage(state, OMEN_STAGE_SYNC);
}

static void
finish_writer(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	omen_hnsw_move_time(state, omen_bulk_finish(writer), OMEN_STAGE_WRITE,
						OMEN_STAGE_WAL);
}

static uint32
chain_pages(const OmenHnswBuildState *state, uint32 own_bytes)
{
	if (own_bytes <= state->layout.own_inline)
		return 0;
	return (own_bytes - state->layout.own_inline + OMEN_PAGE_CONTENT - 1) /
		OMEN_PAGE_CONTENT;
}

static BlockNumber
node_pages(const OmenHnswBuildState *state)
{
	return (state->shared->nnodes + state->layout.slots_per_page - 1) /
		state->layout.slots_per_page;
}

static void
write_node_page(OmenHnswBuildState *state, OmenBulkWriter *writer,
				BlockNumber page_number)
{
	const OmenHnswLayout *layout = &state->layout;
	Page		page = omen_bulk_page(writer,
									  state->shared->node_start + page_number);
	uint32		first = page_number * layout->slots_per_page;
	uint32		last = Min(first + layout->slots_per_page,
						   state->shared->nnodes);

	omen_page_init(page, OMEN_PAGE_NODE, 0);
	omen_page_opaque(page)->used = last - first;
	for (uint32 i = first; i < last; i++)
		form_node(state, i, omen_hnsw_page_slot(layout, page, i - first));
}

static void
form_node(OmenHnswBuildState *state, uint32 position, OmenHnswSlot slot)
{
	const OmenBuildRowData *row =
		omen_hnsw_build_row(state, omen_hnsw_build_node(state, position));

	omen_hnsw_prefetch_nodes(state, position);
	slot->flags = OMEN_SLOT_USED;
	slot->level = omen_build_level(state->build, position);
	slot->own_bytes = row->own_bytes;
	slot->chain = InvalidBlockNumber;
	if (chain_pages(state, row->own_bytes) > 0)
		slot->chain = state->shared->chain_start +
			state->chain_of[position];
	slot->key_nulls = row->key_nulls;
	memcpy(omen_slot_keys(slot), omen_build_row_keys(row),
		   state->layout.nkeys * sizeof(uint64));
	memcpy(omen_slot_own(&state->layout, slot),
		   omen_build_row_own(row, state->layout.nkeys),
		   Min(row->own_bytes, state->layout.own_inline));
	form_tids(state, position, slot);
	form_links(state, position, slot);
}

static void
form_tids(OmenHnswBuildState *state, uint32 position, OmenHnswSlot slot)
{
	uint32		row = omen_hnsw_build_node(state, position);

	slot->more_tids = OMEN_LINK_INVALID;
	for (; row != OMEN_BUILD_NONE; row = state->next_equal[row])
	{
		if (slot->ntids == OMEN_SLOT_TIDS)
		{
			slot->more_tids = omen_link_form(state->shared->list_start +
											 state->list_of[position], 0);
			break;
		}
		slot->tids[slot->ntids++] = omen_hnsw_build_row(state, row)->tid;
	}
}

static void
form_links(OmenHnswBuildState *state, uint32 position, OmenHnswSlot slot)
{
	const OmenHnswLayout *layout = &state->layout;
	int			nlinks;
	int			nscale;
	const uint32 *links = omen_build_links(state->build, position, &nlinks,
										   &nscale);

	Assert(nlinks <= layout->max_links);
	slot->nlinks = nlinks;
	slot->nscale = nscale;
	for (int i = 0; i < nlinks; i++)
		omen_slot_links(layout, slot)[i] =
			omen_link_form(omen_hnsw_build_number(state, links[i]), 0);
	if (layout->link_size > 0)
		encode_links(state, position, links, nlinks, slot);
}

/* Codes of a slot's links, if it has any */
static void
encode_links(OmenHnswBuildState *state, uint32 position, const uint32 *links,
			 int nlinks, OmenHnswSlot slot)
{
	bool		is_last = position + 1 == state->shared->nnodes;

	if (!is_last)
		prefetch_places(state, position + 1);

	/* the next code may take its place */
	memcpy(state->pair, omen_build_code(state->build, position),
		   state->shared->meta.shape.pair_size);
	for (int i = 0; i < nlinks; i += OMEN_LINKS_AT_A_TIME)
	{
		int			n = Min(nlinks - i, OMEN_LINKS_AT_A_TIME);

		for (int ahead = i + AHEAD; ahead < Min(i + AHEAD + n, nlinks); ahead++)
			omen_build_prefetch_code(state->build, links[ahead]);
		encode_some_links(state, links + i, n, slot, i);
	}
	if (!is_last)
		prefetch_links(state, position + 1);
}

/* Of the node in state->pair, n links, from place "at" of its slot on */
static void
encode_some_links(OmenHnswBuildState *state, const uint32 *links, int n,
				  OmenHnswSlot slot, int at)
{
	const OmenHnswLayout *layout = &state->layout;
	Size		size = state->shared->meta.shape.pair_size;
	OmenLinkCode codes[OMEN_LINKS_AT_A_TIME];

	for (int i = 0; i < n; i++)
	{
		/* as above, and all are needed at once */
		codes[i].neighbour = memcpy(state->neighbours + i * size,
									omen_build_code(state->build, links[i]),
									size);
		codes[i].code = omen_slot_codes(layout, slot) +
			(at + i) * layout->link_size;
	}
	omen_quant_encode_links(state->quant, state->pair, codes, n,
							state->scratch);
	for (int i = 0; i < n && layout->factors; i++)
	{
		omen_slot_f_add(layout, slot)[at + i] = codes[i].f_add;
		omen_slot_f_rescale(layout, slot)[at + i] = codes[i].f_rescale;
	}
}

/* Where the codes of a node's links are */
static void
prefetch_places(OmenHnswBuildState *state, uint32 position)
{
	int			nlinks;
	int			nscale;
	const uint32 *links = omen_build_links(state->build, position, &nlinks,
										   &nscale);

	for (int i = 0; i < nlinks; i++)
		omen_build_prefetch_place(state->build, links[i]);
}

/* The codes of the first links of a node */
static void
prefetch_links(OmenHnswBuildState *state, uint32 position)
{
	int			nlinks;
	int			nscale;
	const uint32 *links = omen_build_links(state->build, position, &nlinks,
										   &nscale);

	for (int i = 0; i < Min(nlinks, AHEAD); i++)
		omen_build_prefetch_code(state->build, links[i]);
}

/* CHAIN pages of the nodes of a page */
static void
write_chains(OmenHnswBuildState *state, OmenBulkWriter *writer,
			 BlockNumber page_number)
{
	uint32		first = page_number * state->layout.slots_per_page;
	uint32		last = Min(first + state->layout.slots_per_page,
						   state->shared->nnodes);

	for (uint32 i = first; i < last; i++)
		write_chain(state, writer, i);
}

/* What of an own code does not fit its node's slot */
static void
write_chain(OmenHnswBuildState *state, OmenBulkWriter *writer, uint32 position)
{
	const OmenBuildRowData *row =
		omen_hnsw_build_row(state, omen_hnsw_build_node(state, position));
	const uint8 *own = omen_build_row_own(row, state->layout.nkeys);
	BlockNumber block = state->shared->chain_start + state->chain_of[position];
	Size		done = state->layout.own_inline;

	while (done < row->own_bytes)
	{
		Size		here = Min(row->own_bytes - done, OMEN_PAGE_CONTENT);
		Page		page = omen_bulk_page(writer, block++);

		omen_page_init(page, OMEN_PAGE_CHAIN, 0);
		memcpy(omen_page_content(page), own + done, here);
		done += here;
		omen_page_opaque(page)->owner = omen_hnsw_build_number(state,
															   position);
		if (done < row->own_bytes)
			omen_page_opaque(page)->next = block;
	}
}

/* TIDs of equal rows that do not fit their node's slot */
static void
write_lists(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	const OmenHnswLayout *layout = &state->layout;
	BlockNumber block = state->shared->list_start / layout->slots_per_page;
	Page		page = NULL;
	uint32		nlists = 0;
	uint32		nrows = 0;

	for (uint32 i = 0; i < state->shared->nnodes && nlists < state->shared->nlists; i++)
	{
		uint32		row = omen_hnsw_build_node(state, i);
		OmenHnswSlot slot = NULL;

		if (i % 64 == 0)
			omen_hnsw_build_tick(state);
		for (int skip = 0; skip < OMEN_SLOT_TIDS && row != OMEN_BUILD_NONE;
			 skip++)
			row = state->next_equal[row];
		for (; row != OMEN_BUILD_NONE; row = state->next_equal[row])
		{
			if (slot == NULL || slot->ntids == layout->list_tids)
			{
				int			at = nlists % layout->slots_per_page;

				if (slot)
					slot->more_tids =
						omen_link_form(state->shared->list_start + nlists, 0);
				if (at == 0)
				{
					page = omen_bulk_page(writer, block++);
					omen_page_init(page, OMEN_PAGE_NODE, 0);
				}
				slot = omen_hnsw_page_slot(layout, page, at);
				slot->flags = OMEN_SLOT_USED | OMEN_SLOT_TIDLIST;
				slot->more_tids = OMEN_LINK_INVALID;
				slot->chain = InvalidBlockNumber;
				omen_page_opaque(page)->used++;
				nlists++;
			}
			omen_slot_list(slot)[slot->ntids++] =
				omen_hnsw_build_row(state, row)->tid;
			if (++nrows % 64 == 0)
				omen_hnsw_build_tick(state);
		}
	}
}

BlockNumber
omen_hnsw_data_pages(Size size)
{
	return (BlockNumber) ((size + OMEN_PAGE_CONTENT - 1) / OMEN_PAGE_CONTENT);
}

void
omen_hnsw_write_data(OmenBulkWriter *writer, BlockNumber block, const void *data,
		   Size size)
{
	for (Size done = 0; done < size; done += OMEN_PAGE_CONTENT)
	{
		Page		page = omen_bulk_page(writer, block++);

		CHECK_FOR_INTERRUPTS();
		omen_page_init(page, OMEN_PAGE_DATA, 0);
		memcpy(omen_page_content(page), (const char *) data + done,
			   Min(size - done, OMEN_PAGE_CONTENT));
	}
}

static void
tick(void *arg)
{
	omen_hnsw_build_tick((OmenHnswBuildState *) arg);
}

/* The first entry is the node from which all can be reached (H16) */
static void
write_entries(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	int			per_page = state->layout.entries_per_page;
	Page		page = NULL;
	uint32	   *positions = palloc(Max(meta->nentries, 1) * sizeof(uint32));

	if (meta->nentries > 0)
		omen_hnsw_choose_entries(state->quant, state->build,
								 state->shared->nnodes, meta->nentries,
								 omen_build_start(state->build), tick, state,
								 positions);
	for (uint32 i = 0; i < meta->nentries; i++)
	{
		uint32		position = positions[i];
		OmenHnswEntry entry;

		omen_hnsw_build_tick(state);
		if (i % per_page == 0)
		{
			page = omen_bulk_page(writer, meta->entry_blocks[i / per_page]);
			omen_page_init(page, OMEN_PAGE_ENTRY, 0);
		}
		entry = (OmenHnswEntry) (omen_page_content(page) +
								 (i % per_page) * meta->entry_size);
		entry->link = omen_link_form(omen_hnsw_build_number(state, position), 0);
		entry->level = omen_build_level(state->build, position);
		if (meta->entry_size > sizeof(OmenHnswEntryData))
			memcpy(entry->pair, omen_build_code(state->build, position),
				   meta->shape.pair_size);
	}
	pfree(positions);
}
