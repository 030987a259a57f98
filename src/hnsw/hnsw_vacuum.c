/*-------------------------------------------------------------------------
 *
 * hnsw_vacuum.c
 *	  Removal of dead rows.
 *
 * NOTES
 *	  ambulkdelete makes passes over all pages, in block order, with one page
 *	  locked at a time and one WAL record per changed page.  It can stop
 *	  anywhere: the next vacuum takes up what the pages show.
 *
 *	  1. clean	 remove dead TIDs from slots and TID lists;
 *	  2. empty	 list slots that have no TID left are taken out of their
 *				 lists (hnsw_vacuum_lists.c); a node that has none in its slot
 *				 either is marked DELETED: scans no longer return it but still
 *				 walk through it;
 *	  3. relink	 where a tenth of the nodes is DELETED, or has been inserted
 *				 since links were last chosen for all of them: choose them
 *				 anew (hnsw_relink.c);
 *	  4. repair	 in every other node, replace links to DELETED nodes by the
 *				 nearest nodes that those linked to (hnsw_repair.c); and
 *				 entries likewise; then see that every live node can be reached
 *				 (hnsw_connect.c);
 *	  5. free	 DELETED nodes, to which nothing leads now, and their chains
 *				 and lists.  The slot's version changes, so a link that a
 *				 concurrent insert or an old scan still holds leads nowhere.
 *
 *	  No scan has to be waited for: TIDs that a scan took from a slot before
 *	  belong to rows that its snapshot cannot see under a new version either.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/guc.h"
#include "hnsw/hnsw.h"

/*
 * All links are chosen anew where so much of the nodes has come or gone.  To repair
 * them after a fifth has gone takes longer.
 */
#define RELINK_SHARE		0.1

/* A table of fewer rows is not looked at for that alone */
#define RELINK_LEAST		1000

typedef struct VacuumState
{
	IndexVacuumInfo *info;
	Relation	index;
	OmenHnswIndex *hnsw;
	bool		holds_mean;		/* see omen_hnsw_hold_mean() */
	OmenHnswStore store;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void	   *callback_state;
	MemoryContext page_context; /* reset for each page */
	BlockNumber nblocks;
	uint64	   *deleted;		/* bit for each number: node is DELETED */
	uint64	   *listed;			/* bit for each number: list slot in use */
	uint64		ndeleted;
	OmenVacuumNodes nodes;
} VacuumState;

/* The chain of a node that has been freed */
typedef struct DeadChain
{
	BlockNumber first;
	uint32		owner;			/* number of the node */
} DeadChain;

/* Gets a page locked, and releases it */
typedef void (*PageVisitor) (VacuumState *state, Buffer buffer,
							 OmenPageKind kind);

static void look_after_inserts(IndexVacuumInfo *info,
							   IndexBulkDeleteResult *stats);
static void begin(VacuumState *state, IndexVacuumInfo *info,
				  IndexBulkDeleteResult *stats);
static void finish(VacuumState *state);
static bool mend(VacuumState *state);
static void visit_pages(VacuumState *state, OmenLockMode mode,
						PageVisitor visitor);
static void clean_page(VacuumState *state, Buffer buffer,
					   OmenPageKind kind);
static void count_page(VacuumState *state, Buffer buffer,
					   OmenPageKind kind);
static void count_node(VacuumState *state, OmenHnswSlot slot);
static int	clean_tids(VacuumState *state, ItemPointerData *tids, int ntids);
static void empty_page(VacuumState *state, Buffer buffer,
					   OmenPageKind kind);
static void cut_lists(VacuumState *state, Buffer buffer, const OmenLink *heads,
					  const OmenLink *rests, bool *cut);
static void mark_listed(VacuumState *state, OmenLink list);
static void repair_page(VacuumState *state, Buffer buffer,
					   OmenPageKind kind);
static void free_page(VacuumState *state, Buffer buffer,
					   OmenPageKind kind);
static bool free_slots(VacuumState *state, BlockNumber block, Page page,
					   DeadChain *chains, int *nchains);
static void free_chain(VacuumState *state, const DeadChain *chain);
static bool is_deleted(void *arg, OmenLink link);
static void set_bit(const VacuumState *state, uint64 *bits, uint32 number);
static bool get_bit(const VacuumState *state, const uint64 *bits,
					uint32 number);

IndexBulkDeleteResult *
omen_hnsw_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
					 IndexBulkDeleteCallback callback, void *callback_state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw vacuum",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	VacuumState state;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->num_index_tuples = 0;
	stats->pages_deleted = stats->pages_free = 0;

	old = MemoryContextSwitchTo(context);
	begin(&state, info, stats);
	state.callback = callback;
	state.callback_state = callback_state;

	visit_pages(&state, OMEN_LOCK_EXCLUSIVE, clean_page);
	state.nodes.nrows = stats->num_index_tuples;
	visit_pages(&state, OMEN_LOCK_SHARE, empty_page);
	mend(&state);
	visit_pages(&state, OMEN_LOCK_EXCLUSIVE, free_page);
	finish(&state);
	FreeSpaceMapVacuum(info->index);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return stats;
}

/* Nothing was deleted if there are no statistics yet */
IndexBulkDeleteResult *
omen_hnsw_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only)
		return stats;

	if (stats == NULL)
	{
		/* the table's own figures are as good as a count */
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = true;
		look_after_inserts(info, stats);
	}
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	return stats;
}

/*
 * Where the table has grown since links were last chosen for all nodes, or that
 * was cut off: count nodes, and see to their links if need be.
 */
static void
look_after_inserts(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	OmenHnswMetaPageData meta;
	MemoryContext context;
	MemoryContext old;
	VacuumState state;
	double		linked;			/* rows beyond which it has grown */

	omen_hnsw_read_meta(info->index, &meta);
	linked = meta.linked_rows > 0 ? meta.linked_rows : meta.built_nodes;
	if ((meta.flags & OMEN_META_RELINKING) == 0 &&
		(!omen_guc_vacuum_relink() ||
		 info->num_heap_tuples < linked * (1 + RELINK_SHARE) ||
		 info->num_heap_tuples < RELINK_LEAST))
		return;

	context = AllocSetContextCreate(CurrentMemoryContext, "omenhnsw vacuum",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	begin(&state, info, stats);
	visit_pages(&state, OMEN_LOCK_SHARE, count_page);
	if (!mend(&state))
		omen_hnsw_set_relinking(info->index, false, info->num_heap_tuples);
	finish(&state);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
begin(VacuumState *state, IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	Size		words;

	memset(state, 0, sizeof(*state));
	state->info = info;
	state->index = info->index;
	state->hnsw = omen_hnsw_open(info->index);
	state->holds_mean = omen_hnsw_hold_mean(info->index, state->hnsw);
	state->stats = stats;
	state->nblocks = RelationGetNumberOfBlocks(info->index);
	state->nodes.nblocks = state->nblocks;
	state->nodes.nrows = info->num_heap_tuples;
	state->nodes.is_deleted = is_deleted;
	state->nodes.arg = state;
	state->page_context = AllocSetContextCreate(CurrentMemoryContext,
												"omenhnsw vacuum page",
												ALLOCSET_DEFAULT_SIZES);
	words = (Size) state->nblocks * state->hnsw->layout.slots_per_page / 64 + 1;
	state->deleted = palloc_extended(words * sizeof(uint64),
									 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	state->listed = palloc_extended(words * sizeof(uint64),
									MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	omen_hnsw_store_init(&state->store, info->index, state->hnsw, NULL);
}

static void
finish(VacuumState *state)
{
	if (state->holds_mean)
		omen_hnsw_release_mean(state->index);
}

/*
 * Passes over links, when it is known which nodes are DELETED.  Returns true if
 * links have been chosen for all nodes, now or by a vacuum that was cut off.
 */
static bool
mend(VacuumState *state)
{
	uint64		changed = state->nodes.ninserted + state->ndeleted;
	OmenHnswMetaPageData meta;
	bool		relinking;

	if (omen_guc_vacuum_relink() && changed > 0 &&
		changed >= state->nodes.nlive * RELINK_SHARE)
		omen_hnsw_relink(state->index, state->hnsw, state->info->strategy,
						 &state->nodes);

	omen_hnsw_read_meta(state->index, &meta);
	relinking = (meta.flags & OMEN_META_RELINKING) != 0;
	if (state->ndeleted > 0)
	{
		visit_pages(state, OMEN_LOCK_SHARE, repair_page);
		omen_hnsw_replace_entries(state->index, state->hnsw, is_deleted, state);
	}
	if (state->ndeleted > 0 || relinking)
		omen_hnsw_connect(state->index, state->hnsw, state->info->strategy);
	if (relinking || state->nodes.nrows < meta.linked_rows)
		omen_hnsw_set_relinking(state->index, false, state->nodes.nrows);
	return relinking;
}

static void
visit_pages(VacuumState *state, OmenLockMode mode, PageVisitor visitor)
{
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;

	omen_page_stream_begin(&pages, state->index, state->nblocks,
						   state->info->strategy);
	while ((buffer = omen_page_stream_next(&pages, mode, &kind)) !=
		   InvalidBuffer)
	{
		MemoryContext old = MemoryContextSwitchTo(state->page_context);

		visitor(state, buffer, kind);
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->page_context);
		omen_compat_vacuum_delay();
	}
	omen_page_stream_end(&pages);
}

/* Pass 1: remove dead TIDs */
static void
clean_page(VacuumState *state, Buffer buffer, OmenPageKind kind)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenPageEdit edit;
	Page		page;
	int			removed = 0;

	if (kind != OMEN_PAGE_NODE)
	{
		omen_page_release(buffer);
		return;
	}

	omen_hnsw_check_slots(state->index, state->hnsw, buffer);
	omen_edit_begin(&edit, state->index);
	page = omen_edit_page(&edit, buffer);
	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, page, i);
		bool		list = (slot->flags & OMEN_SLOT_TIDLIST) != 0;
		int			kept;

		if ((slot->flags & OMEN_SLOT_USED) == 0)
			continue;
		kept = clean_tids(state, list ? omen_slot_list(slot) : slot->tids,
						  slot->ntids);
		removed += slot->ntids - kept;
		slot->ntids = kept;
		state->stats->num_index_tuples += kept;
		count_node(state, slot);
	}
	state->stats->tuples_removed += removed;
	if (removed > 0)
		omen_edit_finish(&edit);
	else
		omen_edit_abort(&edit);
	omen_page_release(buffer);
}

/* In place of the first pass, where no row is dead */
static void
count_page(VacuumState *state, Buffer buffer, OmenPageKind kind)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;

	if (kind == OMEN_PAGE_NODE)
	{
		omen_hnsw_check_slots(state->index, state->hnsw, buffer);
		for (int i = 0; i < layout->slots_per_page; i++)
			count_node(state, omen_hnsw_page_slot(layout,
												  BufferGetPage(buffer), i));
	}
	omen_page_release(buffer);
}

static void
count_node(VacuumState *state, OmenHnswSlot slot)
{
	if ((slot->flags & OMEN_SLOT_KIND) != OMEN_SLOT_USED)
		return;
	state->nodes.nlive++;
	state->nodes.own_bytes += MAXALIGN(slot->own_bytes);
	state->nodes.ninserted += (slot->flags & OMEN_SLOT_INSERTED) != 0;
}

/* Move the living TIDs to the front; returns how many there are */
static int
clean_tids(VacuumState *state, ItemPointerData *tids, int ntids)
{
	int			kept = 0;

	for (int i = 0; i < ntids; i++)
	{
		/* a row that there cannot be is for scans to report */
		if (!ItemPointerIsValid(&tids[i]) ||
			!state->callback(&tids[i], state->callback_state))
			tids[kept++] = tids[i];
	}
	return kept;
}

/*
 * Pass 2: mark nodes without TIDs, and take list slots without TIDs out of their
 * lists, so that pass 5 frees no slot that a list still leads to: its version would
 * come round again one day.  Lists are looked at, and slots closed, without the
 * node's own lock.  A closed slot takes no more TIDs, and a new list slot changes the
 * node's more_tids: so if that is as it was when the node is locked again, what comes
 * before the rest of the list has no TIDs; if not, the new slot leads to the old ones.
 */
static void
empty_page(VacuumState *state, Buffer buffer, OmenPageKind kind)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	uint32		first = BufferGetBlockNumber(buffer) *
		layout->slots_per_page;
	OmenLink   *heads;
	OmenLink   *rests;
	bool	   *cut;
	int			ncut = 0;

	if (kind != OMEN_PAGE_NODE)
	{
		omen_page_release(buffer);
		return;
	}

	omen_hnsw_check_slots(state->index, state->hnsw, buffer);
	heads = palloc(layout->slots_per_page * sizeof(OmenLink));
	rests = palloc(layout->slots_per_page * sizeof(OmenLink));
	cut = palloc0(layout->slots_per_page);
	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);

		heads[i] = OMEN_LINK_INVALID;
		if ((slot->flags & (OMEN_SLOT_USED | OMEN_SLOT_TIDLIST)) !=
			OMEN_SLOT_USED)
			continue;
		if ((slot->flags & OMEN_SLOT_DELETED) != 0)
		{
			set_bit(state, state->deleted, first + i);
			state->ndeleted++;
			continue;
		}
		heads[i] = slot->more_tids;
		cut[i] = slot->ntids == 0;
	}
	omen_page_unlock(buffer);

	for (int i = 0; i < layout->slots_per_page; i++)
	{
		rests[i] = omen_hnsw_shorten_list(state->index, state->hnsw,
										  heads[i]);
		cut[i] = rests[i] != heads[i] ||
			(cut[i] && heads[i] == OMEN_LINK_INVALID);
		ncut += cut[i];
	}

	omen_page_lock(buffer, OMEN_LOCK_EXCLUSIVE);
	if (ncut > 0)
		cut_lists(state, buffer, heads, rests, cut);
	omen_page_release(buffer);

	for (int i = 0; i < layout->slots_per_page; i++)
		mark_listed(state, cut[i] ? heads[i] : rests[i]);
}

/*
 * Nodes go on with the rest of their lists, and are DELETED if there is none and they
 * have no TID of their own.  What is still to be cut[] then has got a new list slot.
 */
static void
cut_lists(VacuumState *state, Buffer buffer, const OmenLink *heads,
		  const OmenLink *rests, bool *cut)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	uint32		first = BufferGetBlockNumber(buffer) * layout->slots_per_page;
	OmenPageEdit edit;
	Page		page;

	omen_edit_begin(&edit, state->index);
	page = omen_edit_page(&edit, buffer);
	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, page, i);

		if (!cut[i] || slot->more_tids != heads[i])
			continue;
		cut[i] = false;
		slot->more_tids = rests[i];
		if (slot->ntids > 0 || rests[i] != OMEN_LINK_INVALID)
			continue;
		slot->flags |= OMEN_SLOT_DELETED;
		set_bit(state, state->deleted, first + i);
		state->ndeleted++;
	}
	omen_edit_finish(&edit);
}

static void
mark_listed(VacuumState *state, OmenLink list)
{
	OmenListGuard guard = OMEN_LIST_GUARD;
	OmenLink	link = list;

	while (link != OMEN_LINK_INVALID)
	{
		omen_hnsw_guard_list(state->index, state->hnsw, &guard, link);
		set_bit(state, state->listed, omen_link_number(link));
		link = omen_hnsw_next_list_slot(state->index, state->hnsw, link);
	}
}

/* Pass 4: replace links to DELETED nodes */
static void
repair_page(VacuumState *state, Buffer buffer, OmenPageKind kind)
{
	omen_hnsw_repair_page(&state->store, &state->nodes, buffer, kind);
}

/* Pass 5: free DELETED nodes, their chains, and lists without an owner */
static void
free_page(VacuumState *state, Buffer buffer, OmenPageKind kind)
{
	BlockNumber block = BufferGetBlockNumber(buffer);
	DeadChain  *chains = palloc(state->hnsw->layout.slots_per_page *
								sizeof(DeadChain));
	int			nchains = 0;
	int			used = -1;

	if (kind == OMEN_PAGE_NODE)
	{
		OmenPageEdit edit;
		Page		page;

		omen_hnsw_check_slots(state->index, state->hnsw, buffer);
		omen_edit_begin(&edit, state->index);
		page = omen_edit_page(&edit, buffer);
		if (free_slots(state, block, page, chains, &nchains))
			omen_edit_finish(&edit);
		else
			omen_edit_abort(&edit);
		used = omen_page_opaque(BufferGetPage(buffer))->used;
	}
	omen_page_release(buffer);

	if (kind == OMEN_PAGE_NODE || kind == OMEN_PAGE_FREE)
		omen_hnsw_record_space(state->index, state->hnsw, block, used);
	if (kind == OMEN_PAGE_FREE)
		state->stats->pages_free++;

	/* nothing leads to the chains any more, so nobody reads them */
	for (int i = 0; i < nchains; i++)
		free_chain(state, &chains[i]);
}

static bool
free_slots(VacuumState *state, BlockNumber block, Page page,
		   DeadChain *chains, int *nchains)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	bool		changed = false;

	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, page, i);
		uint32		number = block * layout->slots_per_page + i;
		bool		node = (slot->flags & (OMEN_SLOT_DELETED |
										   OMEN_SLOT_TIDLIST)) ==
			OMEN_SLOT_DELETED && get_bit(state, state->deleted, number);
		bool		list = (slot->flags & OMEN_SLOT_TIDLIST) != 0 &&
			slot->ntids == 0 && !get_bit(state, state->listed, number);

		if (!node && !list)
			continue;
		if (node && BlockNumberIsValid(slot->chain))
		{
			chains[*nchains].first = slot->chain;
			chains[(*nchains)++].owner = number;
		}
		omen_hnsw_free_slot(page, slot);
		changed = true;
	}
	return changed;
}

static void
free_chain(VacuumState *state, const DeadChain *chain)
{
	BlockNumber block = chain->first;

	while (BlockNumberIsValid(block))
	{
		Buffer		buffer = omen_page_read(state->index, block,
											OMEN_PAGE_CHAIN,
											OMEN_LOCK_EXCLUSIVE);
		OmenPageOpaque opaque = omen_page_opaque(BufferGetPage(buffer));
		BlockNumber next = opaque->next;
		OmenPageEdit edit;

		if (opaque->owner != chain->owner)
			omen_page_report_corrupt(state->index, block,
									 "A chain leads to a page of another node.");
		omen_edit_begin(&edit, state->index);
		omen_edit_new_page(&edit, buffer, OMEN_PAGE_FREE);
		omen_edit_finish(&edit);
		omen_page_release(buffer);
		omen_hnsw_record_space(state->index, state->hnsw, block, -1);
		state->stats->pages_free++;
		block = next;
	}
}

static bool
is_deleted(void *arg, OmenLink link)
{
	VacuumState *state = arg;

	return get_bit(state, state->deleted, omen_link_number(link));
}

/* Pages that came after the vacuum began have no bits: it leaves them alone */
static void
set_bit(const VacuumState *state, uint64 *bits, uint32 number)
{
	if (number / state->hnsw->layout.slots_per_page >= state->nblocks)
		return;
	bits[number / 64] |= UINT64CONST(1) << (number % 64);
}

static bool
get_bit(const VacuumState *state, const uint64 *bits, uint32 number)
{
	if (number / state->hnsw->layout.slots_per_page >= state->nblocks)
		return false;
	return (bits[number / 64] >> (number % 64) & 1) != 0;
}
