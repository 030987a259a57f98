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
 *				 lists; a node that has none in its slot either is marked
 *				 DELETED: scans no longer return it but still walk through it;
 *	  3. relink	 where a tenth of the nodes is DELETED, or has been inserted
 *				 since links were last chosen for all of them: choose them
 *				 anew (hnsw_relink.c);
 *	  4. repair	 in every other node, replace links to DELETED nodes by the
 *				 nearest nodes that those linked to; and entries likewise;
 *				 then see that every live node can be reached
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
#include "graph/numberset.h"
#include "hnsw/hnsw.h"

/* DELETED nodes that are passed in the search for others behind them */
#define MAX_PASSED			256

/*
 * All links are chosen anew where so much of the nodes has come or gone.  To repair
 * them after a fifth has gone takes longer.
 */
#define RELINK_SHARE		0.1

/* A table of fewer rows is not looked at for that alone */
#define RELINK_LEAST		1000

/* Neighbours that are to link back to a node half of whose links were dead */
#define REPAIR_BACK_LINKS	2

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
static OmenLink shorten_list(VacuumState *state, OmenLink list);
static OmenLink skip_empty_slots(VacuumState *state, OmenLink link,
								 OmenListGuard *guard, OmenLink *next);
static void set_next_slot(VacuumState *state, OmenLink link, OmenLink next);
static void mark_listed(VacuumState *state, OmenLink list);
static OmenLink next_list_slot(VacuumState *state, OmenLink link);
static OmenHnswSlot lock_list_slot(VacuumState *state, OmenLink link,
								   Buffer *buffer);
static void repair_page(VacuumState *state, Buffer buffer,
					   OmenPageKind kind);
static bool needs_repair(VacuumState *state, OmenHnswSlot slot);
static void repair_node(VacuumState *state, OmenLink link);
static bool has_local(const OmenHnswNodeCopy *node, OmenLink link);
static int	collect_near(VacuumState *state, const OmenHnswNodeCopy *node,
						 OmenNear *near);
static void add_near(VacuumState *state, const OmenHnswNodeCopy *node,
					 OmenLink link, omen_numberset_hash *known,
					 OmenNear *near, int *n);
static void write_repair(VacuumState *state, const OmenHnswNodeCopy *node,
						 const OmenNear *near, const int *chosen, int n);
static void link_back(VacuumState *state, const OmenHnswNodeCopy *node,
					  const OmenNear *near);
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
		rests[i] = shorten_list(state, heads[i]);
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

/*
 * Close the slots of a list that have no TID, and take them out behind those that
 * have.  Returns the first one of these, with which the list is to begin;
 * OMEN_LINK_INVALID if there is none.
 */
static OmenLink
shorten_list(VacuumState *state, OmenLink list)
{
	OmenListGuard guard = OMEN_LIST_GUARD;
	OmenLink	next = OMEN_LINK_INVALID;
	OmenLink	first = skip_empty_slots(state, list, &guard, &next);
	OmenLink	link = first;

	while (link != OMEN_LINK_INVALID)
	{
		OmenLink	after = OMEN_LINK_INVALID;
		OmenLink	rest = skip_empty_slots(state, next, &guard, &after);

		if (rest != next)
			set_next_slot(state, link, rest);
		link = rest;
		next = after;
	}
	return first;
}

/*
 * The first slot from "link" on that has TIDs, and in *next what it leads to, or
 * OMEN_LINK_INVALID.  Closes those before it.
 */
static OmenLink
skip_empty_slots(VacuumState *state, OmenLink link, OmenListGuard *guard,
				 OmenLink *next)
{
	while (link != OMEN_LINK_INVALID)
	{
		OmenHnswSlot slot;
		Buffer		buffer;
		bool		empty;

		omen_hnsw_guard_list(state->index, state->hnsw, guard, link);
		slot = lock_list_slot(state, link, &buffer);
		if (slot == NULL)
			return OMEN_LINK_INVALID;
		*next = slot->more_tids;
		empty = slot->ntids == 0;
		if (empty && (slot->flags & OMEN_SLOT_DELETED) == 0)
		{
			OmenPageEdit edit;
			Size		offset = (char *) slot - (char *) BufferGetPage(buffer);

			omen_edit_begin(&edit, state->index);
			slot = (OmenHnswSlot) ((char *) omen_edit_page(&edit, buffer) +
								   offset);
			slot->flags |= OMEN_SLOT_DELETED;
			omen_edit_finish(&edit);
		}
		omen_page_release(buffer);
		if (!empty)
			return link;
		link = *next;
	}
	return OMEN_LINK_INVALID;
}

/* Only vacuum changes what a slot that is part of a list leads to */
static void
set_next_slot(VacuumState *state, OmenLink link, OmenLink next)
{
	Buffer		buffer;
	OmenHnswSlot slot = lock_list_slot(state, link, &buffer);
	OmenPageEdit edit;
	Size		offset;

	if (slot == NULL)
		return;
	offset = (char *) slot - (char *) BufferGetPage(buffer);
	omen_edit_begin(&edit, state->index);
	slot = (OmenHnswSlot) ((char *) omen_edit_page(&edit, buffer) + offset);
	slot->more_tids = next;
	omen_edit_finish(&edit);
	omen_page_release(buffer);
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
		link = next_list_slot(state, link);
	}
}

static OmenLink
next_list_slot(VacuumState *state, OmenLink link)
{
	Buffer		buffer;
	OmenHnswSlot slot = lock_list_slot(state, link, &buffer);
	OmenLink	next = OMEN_LINK_INVALID;

	if (slot != NULL)
	{
		next = slot->more_tids;
		omen_page_release(buffer);
	}
	return next;
}

/* A list slot, its page exclusively locked; NULL if it is not there */
static OmenHnswSlot
lock_list_slot(VacuumState *state, OmenLink link, Buffer *buffer)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	uint32		number = omen_link_number(link);
	BlockNumber block = number / layout->slots_per_page;
	OmenHnswSlot slot;

	CHECK_FOR_INTERRUPTS();
	if (block >= RelationGetNumberOfBlocks(state->index))
		return NULL;
	*buffer = omen_page_read(state->index, block, OMEN_PAGE_NODE,
							 OMEN_LOCK_EXCLUSIVE);
	slot = omen_hnsw_page_slot(layout, BufferGetPage(*buffer),
							   number % layout->slots_per_page);
	if ((slot->flags & OMEN_SLOT_TIDLIST) != 0 &&
		slot->version == omen_link_version(link))
	{
		omen_hnsw_check_slot(state->index, state->hnsw, *buffer, slot);
		return slot;
	}
	omen_page_release(*buffer);
	return NULL;
}

/* Pass 4: replace links to DELETED nodes */
static void
repair_page(VacuumState *state, Buffer buffer, OmenPageKind kind)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	BlockNumber block = BufferGetBlockNumber(buffer);
	OmenLink   *links = palloc(layout->slots_per_page * sizeof(OmenLink));
	int			n = 0;

	if (kind == OMEN_PAGE_NODE)
		omen_hnsw_check_slots(state->index, state->hnsw, buffer);
	for (int i = 0; kind == OMEN_PAGE_NODE && i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);

		if ((slot->flags & OMEN_SLOT_KIND) == OMEN_SLOT_USED &&
			needs_repair(state, slot))
			links[n++] = omen_link_form(block * layout->slots_per_page + i,
										slot->version);
	}
	omen_page_release(buffer);

	for (int i = 0; i < n; i++)
		repair_node(state, links[i]);
}

static bool
needs_repair(VacuumState *state, OmenHnswSlot slot)
{
	const OmenLink *links = omen_slot_links(&state->hnsw->layout, slot);

	for (int i = 0; i < slot->nlinks; i++)
	{
		if (is_deleted(state, links[i]))
			return true;
	}
	return false;
}

/*
 * Choose links of a node in place of those to DELETED nodes, from what these
 * linked to.  Those that are left stay, for somebody may be reached by them only.
 * Links at its own scale that went are made up for locally.
 */
static void
repair_node(VacuumState *state, OmenLink link)
{
	OmenHnswNodeCopy node;
	OmenNear   *near;
	int			n;
	bool	   *kept;
	int			chosen[OMEN_MAX_LINKS];
	int			max_local;
	int			ndead = 0;

	if (!omen_hnsw_copy_node(&state->store, link, &node))
		return;

	max_local = state->hnsw->layout.max_links;
	for (int i = node.nlinks - node.nscale; i < node.nlinks; i++)
		max_local -= !is_deleted(state, node.links[i]);
	for (int i = 0; i < node.nlinks; i++)
		ndead += is_deleted(state, node.links[i]);

	near = palloc((node.nlinks + 3) * (OMEN_MAX_LINKS + 1) * sizeof(OmenNear));
	n = collect_near(state, &node, near);
	n = Min(n, OMEN_SELECT_MAX);
	kept = palloc(Max(n, 1) * sizeof(bool));
	for (int i = 0; i < n; i++)
		kept[i] = has_local(&node, near[i].node);
	n = omen_graph_select_more(state->hnsw->quant, near, n, max_local, kept,
							   chosen);
	write_repair(state, &node, near, chosen, n);

	/* most of those that led here may be gone as well */
	if (ndead * 2 >= node.nlinks)
	{
		for (int i = 0; i < Min(n, REPAIR_BACK_LINKS); i++)
			link_back(state, &node, &near[chosen[i]]);
	}
}

static bool
has_local(const OmenHnswNodeCopy *node, OmenLink link)
{
	for (int i = 0; i < node->nlinks - node->nscale; i++)
	{
		if (node->links[i] == link)
			return true;
	}
	return false;
}

/* Local neighbours and replacements, nearest first */
static int
collect_near(VacuumState *state, const OmenHnswNodeCopy *node, OmenNear *near)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	omen_numberset_hash *known = omen_numberset_create(CurrentMemoryContext,
													   256, NULL);
	int			local = node->nlinks - node->nscale;
	OmenLink	dead[MAX_PASSED];
	int			ndead = 0;
	bool		found;
	int			n = 0;

	omen_numberset_insert(known, omen_link_number(node->link), &found);
	for (int i = local; i < node->nlinks; i++)
		omen_numberset_insert(known, omen_link_number(node->links[i]), &found);

	for (int i = 0; i < local; i++)
		add_near(state, node, node->links[i], known, near, &n);
	for (int i = 0; i < node->nlinks; i++)
	{
		if (!is_deleted(state, node->links[i]))
			continue;
		omen_numberset_insert(known, omen_link_number(node->links[i]), &found);
		dead[ndead++] = node->links[i];
	}

	/* past those, on to the next DELETED ones if they lead to few others */
	for (int i = 0, first = ndead;
		 i < ndead && (i < first || n < layout->max_links); i++)
	{
		OmenLink	links[OMEN_MAX_LINKS];
		int			nlinks = omen_hnsw_copy_links(&state->store, dead[i],
													   links);

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < nlinks; j++)
		{
			if (!is_deleted(state, links[j]))
				add_near(state, node, links[j], known, near, &n);
			else if (ndead < MAX_PASSED)
			{
				omen_numberset_insert(known, omen_link_number(links[j]),
									  &found);
				if (!found)
					dead[ndead++] = links[j];
			}
		}
	}
	qsort(near, n, sizeof(OmenNear), omen_graph_compare_near);
	return n;
}

static void
add_near(VacuumState *state, const OmenHnswNodeCopy *node, OmenLink link,
		 omen_numberset_hash *known, OmenNear *near, int *n)
{
	uint8	   *pair;
	Size		size;
	bool		found;

	if (is_deleted(state, link))
		return;
	omen_numberset_insert(known, omen_link_number(link), &found);
	if (found || !omen_hnsw_read_pair(&state->store, link, &pair, &size))
		return;
	near[*n].node = link;
	near[*n].pair = pair;
	near[*n].distance = omen_quant_pair_distance(state->hnsw->quant,
												 node->pair, pair);
	(*n)++;
}

/*
 * Give the node its new local links, the nearest first, as far as there is room:
 * somebody may have added links since it was copied.
 */
static void
write_repair(VacuumState *state, const OmenHnswNodeCopy *node,
			 const OmenNear *near, const int *chosen, int n)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenHnswEdge *edges = palloc(Max(n, 1) * sizeof(OmenHnswEdge));
	float	   *scratch = palloc((2 * state->hnsw->meta.shape.code_dims + 1) *
								 sizeof(float));
	OmenPageEdit edit;
	OmenHnswSlot slot;
	Buffer		buffer;
	Size		offset;

	for (int i = 0; i < n; i++)
	{
		edges[i].link = near[chosen[i]].node;
		edges[i].code = palloc(Max(layout->link_size, 1));
		omen_hnsw_encode_edge(state->hnsw->quant, node->pair,
							  near[chosen[i]].pair, &edges[i], scratch);
	}

	buffer = omen_hnsw_read_slot(&state->store, node->link,
								 OMEN_LOCK_EXCLUSIVE, &slot);
	if (!BufferIsValid(buffer))
		return;
	offset = (char *) slot - (char *) BufferGetPage(buffer);
	omen_edit_begin(&edit, state->index);
	slot = (OmenHnswSlot) ((char *) omen_edit_page(&edit, buffer) + offset);

	for (int i = slot->nlinks - 1; i >= 0; i--)
	{
		if (is_deleted(state, omen_slot_links(layout, slot)[i]))
			omen_slot_remove_edge(layout, slot, i);
	}
	for (int i = 0; i < n && slot->nlinks < layout->max_links; i++)
	{
		/* a neighbour that is new may have linked itself meanwhile */
		if (!omen_slot_has_link(layout, slot, edges[i].link))
			omen_slot_add_local(layout, slot, &edges[i]);
	}
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

/*
 * Add a link to a repaired node in one of its neighbours, if there is room or a
 * link to a DELETED node to give up.
 */
static void
link_back(VacuumState *state, const OmenHnswNodeCopy *node,
		  const OmenNear *near)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	float	   *scratch = palloc((2 * state->hnsw->meta.shape.code_dims + 1) *
								 sizeof(float));
	OmenHnswEdge edge = {.link = node->link};
	OmenPageEdit edit;
	OmenHnswSlot slot;
	Buffer		buffer;
	Size		offset;
	int			at = -1;

	edge.code = palloc(Max(layout->link_size, 1));
	omen_hnsw_encode_edge(state->hnsw->quant, near->pair, node->pair, &edge,
						  scratch);
	buffer = omen_hnsw_read_slot(&state->store, near->node,
								 OMEN_LOCK_EXCLUSIVE, &slot);
	if (!BufferIsValid(buffer))
		return;
	for (int i = 0; at < 0 && i < slot->nlinks - slot->nscale; i++)
	{
		if (is_deleted(state, omen_slot_links(layout, slot)[i]))
			at = i;
	}
	if ((slot->flags & OMEN_SLOT_DELETED) == 0 &&
		!omen_slot_has_link(layout, slot, node->link) &&
		(at >= 0 || slot->nlinks < layout->max_links))
	{
		offset = (char *) slot - (char *) BufferGetPage(buffer);
		omen_edit_begin(&edit, state->index);
		slot = (OmenHnswSlot) ((char *) omen_edit_page(&edit, buffer) + offset);
		if (at >= 0)
			omen_slot_set_edge(layout, slot, at, &edge);
		else
			omen_slot_add_local(layout, slot, &edge);
		omen_edit_finish(&edit);
	}
	omen_page_release(buffer);
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
		omen_hnsw_free_slot(layout, page, slot);
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
