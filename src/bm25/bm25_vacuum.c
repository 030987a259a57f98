/*-------------------------------------------------------------------------
 *
 * bm25_vacuum.c
 *	  Removal of dead rows, merges, and blocks that nothing refers to.
 *
 * NOTES
 *	  A dead row is marked: in the pending area in its document, in a segment by
 *	  a bit.  Flushes and merges leave it out.  Until then it counts in the
 *	  statistics, as it does in how many documents have its terms (B6).
 *
 *	  No scan has to be waited for: what it may still return of rows removed
 *	  here is not visible to its snapshot, whichever row has the TID then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "bm25/bm25.h"

/* So many blocks may be lost, and a quarter of the file, until VACUUM comes */
#define MOST_LOST		1024

typedef struct VacuumState
{
	Relation	index;
	OmenBm25Index *bm25;
	OmenBm25MetaPageData meta;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void	   *callback_state;
	BufferAccessStrategy strategy;

	/* of blocks that nothing refers to */
	BlockNumber nblocks;
	uint64	   *known;			/* a bit for each block */
	OmenBm25Space space;
	BlockNumber run;			/* where the lost run at hand began */
	uint32		run_length;
	uint64		found;			/* blocks of such runs */
} VacuumState;

static void clean_pending(VacuumState *state);
static int	clean_page(VacuumState *state, Page page);
static void clean_segment(VacuumState *state,
						  const OmenBm25SegmentEntryData *entry);
static uint32 find_dead(VacuumState *state, OmenBm25Docs *docs, uint32 first,
						uint32 end, uint64 *dead, uint32 *nmarked);
static void mark_dead(VacuumState *state, const OmenBm25Segment *segment,
					  uint32 page, const uint64 *dead);
static void count_dead(VacuumState *state, uint32 id, uint32 ndead);
static uint64 find_lost_blocks(Relation index);
static void note_blocks(VacuumState *state, BlockNumber start, uint32 n);
static void note_known(VacuumState *state);
static void look_at_block(VacuumState *state, BlockNumber block);
static void end_run(VacuumState *state);
static bool is_listed(const OmenBm25MetaPageData *meta, uint32 id);
static bool is_flushed(const OmenBm25MetaPageData *meta, uint32 owner);
static void free_page(VacuumState *state, BlockNumber block);

IndexBulkDeleteResult *
omen_bm25_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
					 IndexBulkDeleteCallback callback, void *callback_state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 vacuum",
												  ALLOCSET_DEFAULT_SIZES);
	VacuumState *state = MemoryContextAllocZero(context, sizeof(*state));
	MemoryContext old;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->num_index_tuples = 0;
	old = MemoryContextSwitchTo(context);
	state->index = info->index;
	state->bm25 = omen_bm25_open(info->index);
	state->stats = stats;
	state->callback = callback;
	state->callback_state = callback_state;
	state->strategy = info->strategy;

	omen_bm25_maintain(info->index);
	omen_bm25_read_meta(info->index, &state->meta);
	clean_pending(state);
	for (int i = 0; i < state->meta.nsegments; i++)
		clean_segment(state, &state->meta.segments[i]);
	omen_bm25_end_maintain(info->index);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return stats;
}

IndexBulkDeleteResult *
omen_bm25_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	OmenBm25MetaPageData *meta;
	uint32		npending = 0;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = true;
	}

	omen_bm25_maintain(info->index);
	meta = palloc(sizeof(*meta));
	omen_bm25_read_meta(info->index, meta);
	for (int i = 0; i < OMEN_BM25_LANES; i++)
		npending += meta->lanes[i].npages;
	omen_bm25_flush(info->index, NULL, npending > 2 * OMEN_BM25_LANES);
	omen_bm25_merge(info->index, NULL, PG_UINT32_MAX);
	find_lost_blocks(info->index);
	omen_bm25_end_maintain(info->index);
	pfree(meta);
	FreeSpaceMapVacuum(info->index);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	return stats;
}

/* --- dead rows --- */

/* Others go on appending to the last pages */
static void
clean_pending(VacuumState *state)
{
	for (int i = 0; i < OMEN_BM25_LANES; i++)
	{
		BlockNumber block = state->meta.lanes[i].head;
		uint32		owner = state->meta.lanes[i].head_owner;

		while (BlockNumberIsValid(block))
		{
			Buffer		buffer = omen_page_read_owned(state->index, block,
													  OMEN_PAGE_PENDING, owner,
													  OMEN_LOCK_EXCLUSIVE,
													  &state->bm25->hints);
			OmenPageEdit edit;

			omen_compat_vacuum_delay();
			if (!BufferIsValid(buffer))
				omen_page_report_corrupt(state->index, block,
										 "The page is not one of the pending area.");
			omen_edit_begin(&edit, state->index);
			if (clean_page(state, omen_edit_page(&edit, buffer)) > 0)
				omen_edit_finish(&edit);
			else
				omen_edit_abort(&edit);
			block = omen_page_opaque(BufferGetPage(buffer))->next;
			owner += OMEN_BM25_OWNER_STEP;
			omen_page_release(buffer);
		}
	}
}

/* Returns how many documents, or parts of one, it has marked */
static int
clean_page(VacuumState *state, Page page)
{
	Size		at = MAXALIGN(SizeOfPageHeaderData);
	Size		end = ((PageHeader) page)->pd_lower;
	int			marked = 0;

	while (at < end)
	{
		OmenBm25DocData *doc = (OmenBm25DocData *) ((char *) page + at);
		bool		part;

		if (!omen_bm25_doc_fits(doc, end - at))
			break;				/* scans report it */
		part = (doc->flags & OMEN_BM25_DOC_PART) != 0;
		at += doc->size;
		if ((doc->flags & OMEN_BM25_DOC_DEAD) != 0)
			continue;
		/* a row that there cannot be is for scans to report */
		if (ItemPointerIsValid(&doc->tid) &&
			state->callback(&doc->tid, state->callback_state))
		{
			doc->flags |= OMEN_BM25_DOC_DEAD;
			marked++;
			state->stats->tuples_removed += !part;
		}
		else
			state->stats->num_index_tuples += !part;
	}
	return marked;
}

/*
 * Whoever marked documents before may not have come to count them, so all that
 * are marked are counted anew, whatever the metapage says.
 */
static void
clean_segment(VacuumState *state, const OmenBm25SegmentEntryData *entry)
{
	OmenBm25Segment *segment = omen_bm25_find_segment(state->index,
													  state->bm25, entry);
	OmenBm25Docs docs;
	uint64	   *dead = palloc(OMEN_PAGE_CONTENT);
	uint32		removed = 0;
	uint32		marked = 0;

	omen_bm25_docs_init(&docs, state->index, state->bm25, segment, true);
	for (uint32 first = 0; first < entry->ndocs;
		 first += OMEN_BM25_BITS_PER_PAGE)
	{
		uint32		n = find_dead(state, &docs, first,
								  Min(first + OMEN_BM25_BITS_PER_PAGE,
									  entry->ndocs), dead, &marked);

		if (n > 0)
			mark_dead(state, segment, first / OMEN_BM25_BITS_PER_PAGE, dead);
		removed += n;
	}
	if (marked + removed > entry->ndead)
		count_dead(state, entry->id, marked + removed);
	state->stats->tuples_removed += removed;
	state->stats->num_index_tuples += entry->ndocs - marked - removed;
	pfree(dead);
}

/*
 * Which documents have died that are not marked yet?  Returns how many, and
 * counts those that are
 */
static uint32
find_dead(VacuumState *state, OmenBm25Docs *docs, uint32 first, uint32 end,
		  uint64 *dead, uint32 *nmarked)
{
	uint32		n = 0;

	memset(dead, 0, OMEN_PAGE_CONTENT);
	for (uint32 doc = first; doc < end; doc++)
	{
		int			nrows;
		const ItemPointerData *rows = omen_bm25_docs_rows(docs, doc /
														  OMEN_BM25_ROWS_PER_PAGE,
														  &nrows);
		ItemPointerData tid = rows[doc % OMEN_BM25_ROWS_PER_PAGE];

		if (doc % OMEN_BM25_ROWS_PER_PAGE == 0)
			omen_compat_vacuum_delay();
		if (omen_bm25_docs_is_dead(docs, doc))
		{
			(*nmarked)++;
			continue;
		}
		if (!ItemPointerIsValid(&tid) ||
			!state->callback(&tid, state->callback_state))
			continue;
		dead[(doc - first) / 64] |= UINT64CONST(1) << ((doc - first) % 64);
		n++;
	}
	return n;
}

static void
mark_dead(VacuumState *state, const OmenBm25Segment *segment, uint32 page,
		  const uint64 *dead)
{
	Buffer		buffer = omen_bm25_segment_page(state->index, state->bm25,
												segment,
												segment->data->alive + page,
												OMEN_PAGE_ALIVE,
												OMEN_LOCK_EXCLUSIVE);
	OmenPageEdit edit;
	uint64	   *bits;

	omen_edit_begin(&edit, state->index);
	bits = (uint64 *) omen_page_content(omen_edit_page(&edit, buffer));
	for (Size i = 0; i < OMEN_PAGE_CONTENT / sizeof(uint64); i++)
		bits[i] |= dead[i];
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

static void
count_dead(VacuumState *state, uint32 id, uint32 ndead)
{
	Buffer		buffer = omen_page_read(state->index, OMEN_BM25_META_BLOCK,
										OMEN_PAGE_META, OMEN_LOCK_EXCLUSIVE);
	OmenPageEdit edit;
	OmenBm25MetaPage meta;

	omen_edit_begin(&edit, state->index);
	meta = (OmenBm25MetaPage)
		omen_page_content(omen_edit_page(&edit, buffer));
	for (int i = 0; i < meta->nsegments; i++)
	{
		if (meta->segments[i].id == id)
			meta->segments[i].ndead = ndead;
	}
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

/* --- blocks that nothing refers to --- */

/*
 * They are left by a crash or an error while a segment was written, or between
 * a flush and the end of its pages, and where the list of extents was full.
 * Returns how many it has found.
 */
static uint64
find_lost_blocks(Relation index)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 lost blocks",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	VacuumState *state = palloc0(sizeof(*state));
	OmenBm25Publish publish = {&state->space};
	uint64		found;

	state->index = index;
	state->bm25 = omen_bm25_open(index);
	state->nblocks = RelationGetNumberOfBlocks(index);
	state->known = palloc_extended((state->nblocks / 64 + 1) * sizeof(uint64),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	omen_bm25_read_meta(index, &state->meta);
	omen_bm25_space_begin(&state->space, index, NULL, &state->meta);
	note_known(state);
	for (BlockNumber block = 0; block < state->nblocks; block++)
	{
		if ((state->known[block / 64] >> (block % 64) & 1) != 0)
			continue;
		omen_compat_vacuum_delay();
		look_at_block(state, block);
	}
	end_run(state);
	found = state->found;
	if (found > 0)
		omen_bm25_publish(&publish);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return found;
}

/*
 * Segments whose writing is given up time and again, for a timeout for instance,
 * leave as much behind each time: those after them are to find it, as VACUUM may
 * be far away.  What was flushed is not in use either, but is not lost.
 */
void
omen_bm25_reclaim(Relation index, const OmenBm25MetaPageData *meta)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	uint64		used = 1;
	uint64		found;

	for (int i = 0; i < OMEN_BM25_LANES; i++)
		used += meta->lanes[i].npages;
	for (int i = 0; i < meta->nsegments; i++)
		used += meta->segments[i].npages;
	for (int i = 0; i < meta->nextents; i++)
		used += meta->extents[i].npages;
	if (nblocks <= used + omen_bm25_open(index)->idle +
		Max(MOST_LOST, nblocks / 4))
		return;
	found = find_lost_blocks(index);
	omen_bm25_open(index)->idle = nblocks - used - Min(found, nblocks - used);
}

static void
note_blocks(VacuumState *state, BlockNumber start, uint32 n)
{
	for (BlockNumber block = start; block < start + n; block++)
	{
		if (block < state->nblocks)
			state->known[block / 64] |= UINT64CONST(1) << (block % 64);
	}
}

static void
note_known(VacuumState *state)
{
	const OmenBm25MetaPageData *meta = &state->meta;

	note_blocks(state, OMEN_BM25_META_BLOCK, 1);
	for (int i = 0; i < meta->nextents; i++)
		note_blocks(state, meta->extents[i].start, meta->extents[i].npages);
	for (int i = 0; i < meta->nsegments; i++)
	{
		OmenBm25Segment *segment = omen_bm25_find_segment(state->index,
														  state->bm25,
														  &meta->segments[i]);

		for (uint32 j = 0; j < segment->data->nruns; j++)
			note_blocks(state, segment->data->runs[j].start,
						segment->data->runs[j].npages);
	}
}

/*
 * A page of the pending area is in use if it comes after its lane's head: if
 * it was not linked to the lane because of a crash, a later vacuum finds it.
 */
static void
look_at_block(VacuumState *state, BlockNumber block)
{
	OmenPageKind kind;
	Buffer		buffer = omen_page_read_any(state->index, block,
											OMEN_LOCK_SHARE, state->strategy,
											&kind);
	bool		is_new = PageIsNew(BufferGetPage(buffer));
	uint32		owner = is_new ? 0 :
		omen_page_opaque(BufferGetPage(buffer))->owner;

	omen_page_release(buffer);
	if (kind == OMEN_PAGE_FREE)
		omen_page_record_free(state->index, block);
	else if (kind == OMEN_PAGE_PENDING)
	{
		if (is_flushed(&state->meta, owner))
			free_page(state, block);
	}
	else if (!is_listed(&state->meta, owner))
	{
		if (state->run_length > 0 && state->run + state->run_length != block)
			end_run(state);
		if (state->run_length++ == 0)
			state->run = block;
	}
}

/* Add a run of lost blocks to the extents */
static void
end_run(VacuumState *state)
{
	if (state->run_length == 0)
		return;
	omen_bm25_space_retire(&state->space, state->run, state->run_length);
	state->found += state->run_length;
	state->run_length = 0;
}

static bool
is_listed(const OmenBm25MetaPageData *meta, uint32 id)
{
	for (int i = 0; i < meta->nsegments; i++)
	{
		if (meta->segments[i].id == id)
			return true;
	}
	return false;
}

static bool
is_flushed(const OmenBm25MetaPageData *meta, uint32 owner)
{
	const OmenBm25LaneData *lane = &meta->lanes[owner % OMEN_BM25_LANES];

	return (int32) (owner - lane->head_owner) < 0;
}

static void
free_page(VacuumState *state, BlockNumber block)
{
	OmenPageEdit edit;
	Buffer		buffer = omen_page_read(state->index, block,
										OMEN_PAGE_PENDING,
										OMEN_LOCK_EXCLUSIVE);

	omen_edit_begin(&edit, state->index);
	omen_page_opaque(omen_edit_page(&edit, buffer))->kind = OMEN_PAGE_FREE;
	omen_edit_finish(&edit);
	omen_page_release(buffer);
	omen_page_record_free(state->index, block);
}
