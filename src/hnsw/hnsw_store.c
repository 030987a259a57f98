/*-------------------------------------------------------------------------
 *
 * hnsw_store.c
 *	  Nodes on pages: how the graph search reaches them.
 *
 * NOTES
 *	  A visit holds the share lock of one node page while it scores the
 *	  neighbourhood, and of one CHAIN page at a time below it if the node's
 *	  own code is longer than its slot.  Links are followed after everything
 *	  is released; versions tell if a slot was reused in between.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/numberset.h"
#include "hnsw/hnsw.h"

static OmenLink read_list(OmenHnswStore *store, OmenLink first,
						  OmenTidList *list);
static bool visit_node(void *arg, OmenLink link, OmenVisit *visit);
static bool measure_node(void *arg, OmenLink link, OmenVisit *visit);
static void copy_visited(const OmenHnswStore *store, OmenLink link,
						 OmenHnswSlot slot, OmenVisit *visit);
static void prefetch_node(void *arg, OmenLink link);
static void prefetch_way(void *arg, OmenLink link);
static void prefetch_own(void *arg, OmenLink link);
static void prefetch_slot(OmenHnswStore *store, OmenLink link, Size size);
static int	nodes_ahead(void *arg);
static void read_node_ahead(void *arg, OmenLink link);
static void score_neighbours(OmenHnswStore *store, OmenVisit *visit);
static int	read_neighbours_ahead(OmenHnswStore *store, const OmenVisit *visit,
								  int from, int n);
static const char *find_node_fault(const OmenHnswIndex *hnsw,
								   OmenHnswSlot slot);
static bool own_size_fits(const OmenHnswIndex *hnsw, const uint8 *own,
						  uint32 own_bytes);
static void keep_pair(OmenHnswStore *store, OmenHnswSlot slot,
					  const uint8 *own, uint8 **pair, Size *size);
static void load_chain(OmenHnswStore *store, BlockNumber node_block,
					   OmenHnswSlot slot);

const OmenGraphOps omen_hnsw_graph_ops = {
	.visit = visit_node,
	.measure = measure_node,
	.prefetch = prefetch_node,
	.prefetch_way = prefetch_way,
	.prefetch_own = prefetch_own,
	.ahead = nodes_ahead,
	.read_ahead = read_node_ahead,
};

void
omen_hnsw_store_init(OmenHnswStore *store, Relation index,
					 OmenHnswIndex *hnsw, const OmenQuery *query)
{
	store->index = index;
	store->hnsw = hnsw;
	store->context = CurrentMemoryContext;
	store->query = query;
	store->quant = hnsw->quant;
	store->centred = hnsw->early != NULL;
	store->allow = NULL;
	store->keep_pairs = false;
	store->wanted = NULL;
	store->wanted_bytes = 0;
	store->wanted_keys = NULL;
	store->nblocks = 0;
	store->scored = NULL;
	store->own = NULL;
	store->own_size = 0;
	store->shifted = NULL;
	store->ndistances = 0;
	omen_page_hints_start_scan(&hnsw->hints);
	if (query != NULL && hnsw->meta.shape.link_kind == OMEN_LINK_NONE)
		store->scored = omen_numberset_create(CurrentMemoryContext, 256, NULL);
}

/*
 * Read and lock the slot that a link names.  Returns InvalidBuffer if there
 * is no such node any more.  Deleted nodes are returned: they still lead to
 * others.
 */
Buffer
omen_hnsw_read_slot(OmenHnswStore *store, OmenLink link, OmenLockMode mode,
					OmenHnswSlot *slot)
{
	Buffer		buffer = omen_hnsw_read_block(store, link, mode);

	if (!BufferIsValid(buffer))
		return InvalidBuffer;
	*slot = omen_hnsw_find_slot(store, buffer, link);
	if (*slot == NULL)
	{
		omen_page_release(buffer);
		return InvalidBuffer;
	}
	return buffer;
}

/* Read and lock the page of the slot that a link names, if there is such a page */
Buffer
omen_hnsw_read_block(OmenHnswStore *store, OmenLink link, OmenLockMode mode)
{
	BlockNumber block = omen_hnsw_link_block(store, link);

	if (!omen_hnsw_has_block(store, block))
		return InvalidBuffer;
	return omen_page_read_hinted(store->index, block, OMEN_PAGE_NODE, mode,
								 &store->hnsw->hints);
}

/* The slot itself on that page, or NULL if there is no such node any more */
OmenHnswSlot
omen_hnsw_find_slot(OmenHnswStore *store, Buffer buffer, OmenLink link)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
											omen_link_number(link) %
											layout->slots_per_page);

	if ((slot->flags & (OMEN_SLOT_USED | OMEN_SLOT_TIDLIST)) !=
		OMEN_SLOT_USED ||
		slot->version != omen_link_version(link))
		return NULL;
	omen_hnsw_check_slot(store->index, store->hnsw, buffer, slot);
	return slot;
}

/* The link to the node that has this number now, or OMEN_LINK_INVALID */
OmenLink
omen_hnsw_find_link(OmenHnswStore *store, uint32 number)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	BlockNumber block = number / layout->slots_per_page;
	OmenLink	link = OMEN_LINK_INVALID;
	OmenHnswSlot slot;
	Buffer		buffer;

	if (!omen_hnsw_has_block(store, block))
		return link;
	buffer = omen_page_read_hinted(store->index, block, OMEN_PAGE_NODE,
								   OMEN_LOCK_SHARE, &store->hnsw->hints);
	slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
							   number % layout->slots_per_page);
	if ((slot->flags & OMEN_SLOT_KIND) == OMEN_SLOT_USED)
		link = omen_link_form(number, slot->version);
	omen_page_release(buffer);
	return link;
}

/*
 * Does the filter allow this node, whose slot is at hand?  *recheck: its rows
 * may fail the filter all the same.
 */
bool
omen_hnsw_allows(const OmenHnswStore *store, uint32 number, OmenHnswSlot slot,
				 bool *recheck)
{
	OmenKeyMatch match;

	*recheck = false;
	if (likely(store->allow == NULL))
		return true;
	if (!omen_allow_maybe(store->allow, number))
		return false;
	if (store->allow->keys == NULL)
		return true;
	match = omen_hnsw_match_keys(store->allow->keys, slot->key_nulls,
						   omen_slot_keys(slot));
	*recheck = match == OMEN_KEYS_OPEN;
	return match != OMEN_KEYS_NO;
}

/* Does the relation reach that far? */
bool
omen_hnsw_has_block(OmenHnswStore *store, BlockNumber block)
{
	if (unlikely(block >= store->nblocks))
		store->nblocks = RelationGetNumberOfBlocks(store->index);
	return block < store->nblocks;
}

/*
 * Raise an ERROR if a slot holds numbers that cannot be: whoever reads it then
 * relies on them.  Its page is locked, or a copy nobody else sees is checked
 * by way of the buffer it came from.
 */
void
omen_hnsw_check_slot(Relation index, const OmenHnswIndex *hnsw, Buffer buffer,
					 OmenHnswSlot slot)
{
	const char *fault = omen_hnsw_find_slot_fault(hnsw, BufferGetPage(buffer),
												  slot);

	if (unlikely(fault != NULL))
		omen_page_report_corrupt(index, BufferGetBlockNumber(buffer), fault);
}

/*
 * The same of all slots of a NODE page.  Each pass of vacuum relies on what it
 * reads: a page may have been read anew since the one before.
 */
void
omen_hnsw_check_slots(Relation index, const OmenHnswIndex *hnsw,
					  Buffer buffer)
{
	const OmenHnswLayout *layout = &hnsw->layout;

	for (int i = 0; i < layout->slots_per_page; i++)
		omen_hnsw_check_slot(index, hnsw, buffer,
							 omen_hnsw_page_slot(layout,
												 BufferGetPage(buffer), i));
}

/* What that is, of a slot of a page or of a copy of it; NULL if nothing is */
const char *
omen_hnsw_find_slot_fault(const OmenHnswIndex *hnsw, Page page,
						  OmenHnswSlot slot)
{
	const OmenHnswLayout *layout = &hnsw->layout;
	PageHeader	header = (PageHeader) page;
	Size		end = (char *) slot - (char *) header + layout->slot_size;
	bool		list = (slot->flags & OMEN_SLOT_TIDLIST) != 0;
	const char *fault = NULL;

	if (unlikely(slot->version > 15 || (slot->flags & ~OMEN_SLOT_ALL) != 0 ||
				 (slot->flags != 0 && (slot->flags & OMEN_SLOT_USED) == 0) ||
				 (list && (slot->flags & (OMEN_SLOT_INSERTED |
										  OMEN_SLOT_CENTRED)) != 0) ||
				 ((slot->flags & OMEN_SLOT_CENTRED) != 0 &&
				  !omen_hnsw_may_have_late_mean(&hnsw->meta))))
		return "A slot has unknown flags.";
	if (slot->flags == 0)
		return NULL;
	if (unlikely(end > header->pd_lower))
		return "A slot in use lies beyond the end of the page's contents.";
	if (unlikely(slot->ntids > (list ? layout->list_tids : OMEN_SLOT_TIDS)))
		return "A slot has too many TIDs.";
	if (!list)
		fault = find_node_fault(hnsw, slot);

	for (int i = 0; fault == NULL && i < slot->ntids; i++)
	{
		const ItemPointerData *tid = list ? &omen_slot_list(slot)[i] :
			&slot->tids[i];

		if (unlikely(!ItemPointerIsValid(tid) ||
					 !BlockNumberIsValid(ItemPointerGetBlockNumberNoCheck(tid))))
			fault = "A slot has an invalid TID.";
	}
	return fault;
}

/* What is impossible about a node's own numbers; NULL if nothing is */
static const char *
find_node_fault(const OmenHnswIndex *hnsw, OmenHnswSlot slot)
{
	const OmenHnswLayout *layout = &hnsw->layout;
	uint32		own_size = hnsw->meta.shape.own_size;

	if (unlikely(slot->nlinks > layout->max_links ||
				 slot->nscale > slot->nlinks))
		return "A node has too many links.";
	if (unlikely(slot->key_nulls >> layout->nkeys != 0))
		return "A node has keys that the index has not.";
	if (unlikely(slot->level > OMEN_MAX_LEVEL))
		return "A node has an impossible level.";
	if (unlikely(own_size > 0 ? slot->own_bytes != own_size :
				 slot->own_bytes < sizeof(OmenSparsePayload) ||
				 slot->own_bytes > OMEN_HNSW_MAX_SPARSE_OWN))
		return "A node's code has an impossible length.";
	if (unlikely((slot->own_bytes > layout->own_inline) !=
				 BlockNumberIsValid(slot->chain)))
		return "A node's code and its chain do not belong together.";
	if (!BlockNumberIsValid(slot->chain) &&
		!own_size_fits(hnsw, omen_slot_own(layout, slot), slot->own_bytes))
		return "A node's code has an impossible number of elements.";
	return NULL;
}

/* Codes of sparse vectors tell their length themselves: is it this one? */
static bool
own_size_fits(const OmenHnswIndex *hnsw, const uint8 *own, uint32 own_bytes)
{
	const OmenSparsePayload *head = (const OmenSparsePayload *) own;

	return hnsw->meta.shape.own_size > 0 ||
		(head->nnz >= 0 &&
		 sizeof(OmenSparsePayload) +
		 (Size) head->nnz * (sizeof(int32) + sizeof(float)) == own_bytes);
}

OmenHnswSlot
omen_hnsw_page_slot(const OmenHnswLayout *layout, Page page, int position)
{
	Assert(position >= 0 && position < layout->slots_per_page);

	return (OmenHnswSlot) (omen_page_content(page) +
						   position * layout->slot_size);
}

/*
 * The own code of a slot whose page is locked: in place, or gathered from its
 * chain into the store's work area; by the mean that the store's query is by.
 */
const uint8 *
omen_hnsw_slot_own(OmenHnswStore *store, Buffer buffer, OmenHnswSlot slot)
{
	bool		centred = (slot->flags & OMEN_SLOT_CENTRED) != 0;
	const uint8 *own = omen_hnsw_stored_own(store, buffer, slot);

	return likely(centred == store->centred) ? own :
		omen_hnsw_shift_own(store, slot, own);
}

/* The same as it is stored */
const uint8 *
omen_hnsw_stored_own(OmenHnswStore *store, Buffer buffer, OmenHnswSlot slot)
{
	if (likely(!BlockNumberIsValid(slot->chain)))
		return omen_slot_own(&store->hnsw->layout, slot);
	load_chain(store, BufferGetBlockNumber(buffer), slot);
	return store->own;
}

/* Copy a node's pair code into the current memory context */
bool
omen_hnsw_read_pair(OmenHnswStore *store, OmenLink link, uint8 **pair,
					Size *size)
{
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE,
											 &slot);

	if (!BufferIsValid(buffer))
		return false;
	keep_pair(store, slot, omen_hnsw_slot_own(store, buffer, slot), pair,
			  size);
	omen_page_release(buffer);
	return true;
}

/* Links of a node, OMEN_MAX_LINKS at most; none if the node is gone */
int
omen_hnsw_copy_links(OmenHnswStore *store, OmenLink link,
					 OmenLink *links)
{
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE,
											 &slot);
	int			nlinks;

	if (!BufferIsValid(buffer))
		return 0;
	nlinks = slot->nlinks;
	memcpy(links, omen_slot_links(&store->hnsw->layout, slot),
		   nlinks * sizeof(OmenLink));
	omen_page_release(buffer);
	return nlinks;
}

/*
 * All TIDs of a node's TID list, palloc'd; "first" is where it began when the
 * caller looked.  Vacuum frees list slots that it has taken out of the list: whoever
 * comes to one begins again, with the list as it is then.  TIDs stay where they are,
 * and those of rows that somebody sees stay in the list.
 */
int
omen_hnsw_read_tids(OmenHnswStore *store, OmenLink node, OmenLink first,
					ItemPointerData **tids)
{
	OmenTidList list = {.room = store->hnsw->layout.list_tids};
	OmenLink	gone = OMEN_LINK_INVALID;
	OmenLink	before;

	list.tids = palloc(list.room * sizeof(ItemPointerData));
	do
	{
		before = gone;
		list.n = 0;
		gone = read_list(store, first, &list);
		if (gone != OMEN_LINK_INVALID)
			first = omen_hnsw_list_head(store, node);

		/* the same slot once more: the list is broken */
	} while (gone != OMEN_LINK_INVALID && gone != before);
	*tids = list.tids;
	return list.n;
}

/* Returns the link to a slot that is no list any more, or OMEN_LINK_INVALID */
static OmenLink
read_list(OmenHnswStore *store, OmenLink first, OmenTidList *list)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	OmenListGuard guard = OMEN_LIST_GUARD;
	OmenLink	link = first;

	while (link != OMEN_LINK_INVALID)
	{
		uint32		number = omen_link_number(link);
		Buffer		buffer;
		OmenHnswSlot slot;

		CHECK_FOR_INTERRUPTS();
		omen_hnsw_guard_list(store->index, store->hnsw, &guard, link);
		buffer = omen_page_read(store->index, number / layout->slots_per_page,
								OMEN_PAGE_NODE, OMEN_LOCK_SHARE);
		slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
								   number % layout->slots_per_page);
		if ((slot->flags & OMEN_SLOT_TIDLIST) == 0 ||
			slot->version != omen_link_version(link))
		{
			omen_page_release(buffer);
			return link;
		}
		omen_hnsw_check_slot(store->index, store->hnsw, buffer, slot);
		omen_hnsw_add_tids(list, slot);
		link = slot->more_tids;
		omen_page_release(buffer);
	}
	return OMEN_LINK_INVALID;
}

void
omen_hnsw_add_tids(OmenTidList *list, OmenHnswSlot slot)
{
	/* memcpy() must not be given the NULL of a list that is still empty */
	if (slot->ntids == 0)
		return;
	if (list->n + slot->ntids > list->room)
	{
		Size		room = (list->n + slot->ntids) * 2;
		Size		size = room * sizeof(ItemPointerData);

		list->tids = list->tids == NULL ? palloc(size) :
			repalloc_huge(list->tids, size);
		list->room = room;
	}
	memcpy(list->tids + list->n, omen_slot_list(slot),
		   slot->ntids * sizeof(ItemPointerData));
	list->n += slot->ntids;
}

/* The first slot of a node's TID list; OMEN_LINK_INVALID if the node is gone, too */
OmenLink
omen_hnsw_list_head(OmenHnswStore *store, OmenLink node)
{
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(store, node, OMEN_LOCK_SHARE,
											 &slot);
	OmenLink	head;

	if (!BufferIsValid(buffer))
		return OMEN_LINK_INVALID;
	head = slot->more_tids;
	omen_page_release(buffer);
	return head;
}

/*
 * Called for every step of a walk along a TID list: raises an ERROR if the
 * list leads back to itself.  (Brent: remember a slot, and another one after
 * twice as many steps.)
 */
void
omen_hnsw_guard_list(Relation index, const OmenHnswIndex *hnsw,
					 OmenListGuard *guard, OmenLink link)
{
	if (link == guard->mark)
		omen_page_report_corrupt(index, omen_link_number(link) /
								 hnsw->layout.slots_per_page,
								 "A list of TIDs has no end.");
	if (++guard->steps == guard->limit)
	{
		guard->mark = link;
		guard->steps = 0;
		guard->limit *= 2;
	}
}

static bool
visit_node(void *arg, OmenLink link, OmenVisit *visit)
{
	OmenHnswStore *store = arg;
	const OmenHnswLayout *layout = &store->hnsw->layout;
	OmenHnswSlot slot;
	const uint8 *own;
	Buffer		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE,
											 &slot);

	if (!BufferIsValid(buffer))
		return false;

	own = omen_hnsw_slot_own(store, buffer, slot);
	visit->own = omen_query_own(store->query, own);
	store->ndistances += 1 + slot->nlinks;
	copy_visited(store, link, slot, visit);
	visit->stop = store->wanted != NULL && visit->live &&
		slot->own_bytes == store->wanted_bytes &&
		memcmp(own, store->wanted, store->wanted_bytes) == 0 &&
		omen_slot_has_keys(layout, slot, store->wanted_keys);
	visit->nlinks = slot->nlinks;
	memcpy(visit->links, omen_slot_links(layout, slot),
		   slot->nlinks * sizeof(OmenLink));
	if (store->keep_pairs)
		keep_pair(store, slot, own, &visit->pair, &visit->pair_size);
	if (store->scored == NULL)
		omen_query_links(store->query, visit->own.estimate, slot->nlinks,
						 omen_slot_f_add(layout, slot),
						 omen_slot_f_rescale(layout, slot),
						 omen_slot_codes(layout, slot), visit->estimates);
	omen_page_release(buffer);

	if (store->scored != NULL)
		score_neighbours(store, visit);
	return true;
}

static bool
measure_node(void *arg, OmenLink link, OmenVisit *visit)
{
	OmenHnswStore *store = arg;
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE,
											 &slot);

	if (!BufferIsValid(buffer))
		return false;
	visit->own = omen_query_own(store->query,
								omen_hnsw_slot_own(store, buffer, slot));
	store->ndistances++;
	copy_visited(store, link, slot, visit);
	omen_page_release(buffer);
	return true;
}

/* What a node's slot tells of the node itself, without its code */
static void
copy_visited(const OmenHnswStore *store, OmenLink link, OmenHnswSlot slot,
			 OmenVisit *visit)
{
	visit->live = (slot->flags & OMEN_SLOT_DELETED) == 0;
	visit->allowed = omen_hnsw_allows(store, omen_link_number(link), slot,
									  &visit->recheck);
	visit->level = slot->level;
	visit->ntids = slot->ntids;
	memcpy(visit->tids, slot->tids, sizeof(visit->tids));
	visit->more_tids = slot->more_tids;
}

static void
prefetch_own(void *arg, OmenLink link)
{
	omen_hnsw_prefetch_own(arg, link);
}

static void
prefetch_node(void *arg, OmenLink link)
{
	OmenHnswStore *store = arg;

	prefetch_slot(store, link, store->hnsw->layout.slot_size);
}

static void
prefetch_way(void *arg, OmenLink link)
{
	OmenHnswStore *store = arg;

	omen_page_prefetch_hint(omen_link_number(link) /
							store->hnsw->layout.slots_per_page,
							&store->hnsw->hints);
}

/* A node's own code will be read soon, of several nodes in a row */
void
omen_hnsw_prefetch_own(OmenHnswStore *store, OmenLink link)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;

	prefetch_slot(store, link, layout->own + layout->own_inline);
}

static void
prefetch_slot(OmenHnswStore *store, OmenLink link, Size size)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	uint32		number = omen_link_number(link);

	omen_page_prefetch_memory(number / layout->slots_per_page,
							  MAXALIGN(SizeOfPageHeaderData) +
							  (number % layout->slots_per_page) *
							  layout->slot_size,
							  size, &store->hnsw->hints);
}

/* Where neighbours are read to be measured, the nodes to come have been read */
static int
nodes_ahead(void *arg)
{
	OmenHnswStore *store = arg;

	if (store->scored != NULL)
		return 0;
	return omen_page_ahead(store->index, &store->hnsw->hints);
}

static void
read_node_ahead(void *arg, OmenLink link)
{
	OmenHnswStore *store = arg;
	BlockNumber block = omen_link_number(link) /
		store->hnsw->layout.slots_per_page;

	if (omen_hnsw_has_block(store, block))
		omen_page_read_ahead(store->index, block, &store->hnsw->hints);
}

/*
 * Without link codes: read every neighbour not scored before and measure it
 * by its own code, as HNSW does.  The others are dropped from the visit.
 */
static void
score_neighbours(OmenHnswStore *store, OmenVisit *visit)
{
	int			kept = 0;
	int			asked = 0;

	for (int i = 0; i < visit->nlinks; i++)
	{
		OmenLink	link = visit->links[i];
		OmenHnswSlot slot;
		Buffer		buffer;
		bool		found;
		int			ahead = omen_page_ahead(store->index,
											&store->hnsw->hints);

		if (unlikely(ahead > 0))
			asked = read_neighbours_ahead(store, visit, Max(asked, i + 1),
										  i + 1 + ahead);
		if (omen_numberset_lookup(store->scored, omen_link_number(link)))
			continue;
		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE, &slot);
		if (!BufferIsValid(buffer))
			continue;
		omen_numberset_insert(store->scored, omen_link_number(link), &found);
		visit->links[kept] = link;
		visit->estimates[kept++] =
			omen_query_own(store->query,
						   omen_hnsw_slot_own(store, buffer, slot)).estimate;
		omen_page_release(buffer);
	}
	store->ndistances -= visit->nlinks - kept;
	visit->nlinks = kept;
}

/* Name the links from up to the n-th; returns where to go on */
static int
read_neighbours_ahead(OmenHnswStore *store, const OmenVisit *visit, int from,
					  int n)
{
	int			i;

	for (i = from; i < Min(n, visit->nlinks); i++)
	{
		if (!omen_numberset_lookup(store->scored,
								   omen_link_number(visit->links[i])))
			read_node_ahead(store, visit->links[i]);
	}
	return i;
}

static void
keep_pair(OmenHnswStore *store, OmenHnswSlot slot, const uint8 *own,
		  uint8 **pair, Size *size)
{
	Size		pair_size = store->hnsw->meta.shape.pair_size;

	*size = pair_size > 0 ? pair_size : slot->own_bytes;
	*pair = palloc(*size);
	omen_quant_own_to_pair(store->quant, own, *pair);
}

bool
omen_hnsw_copy_node(OmenHnswStore *store, OmenLink link,
					OmenHnswNodeCopy *node)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE,
											 &slot);

	if (!BufferIsValid(buffer))
		return false;
	node->link = link;
	node->nlinks = slot->nlinks;
	node->nscale = slot->nscale;
	memcpy(node->links, omen_slot_links(layout, slot),
		   slot->nlinks * sizeof(OmenLink));
	omen_page_release(buffer);
	return omen_hnsw_read_pair(store, link, &node->pair, &node->pair_size);
}

static void
load_chain(OmenHnswStore *store, BlockNumber node_block, OmenHnswSlot slot)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	BlockNumber block = slot->chain;
	Size		done = layout->own_inline;

	if (store->own_size < slot->own_bytes)
	{
		if (store->own)
			pfree(store->own);
		store->own = MemoryContextAlloc(store->context,
										MAXALIGN(slot->own_bytes));
		store->own_size = slot->own_bytes;
	}
	memcpy(store->own, omen_slot_own(layout, slot), done);
	while (done < slot->own_bytes && BlockNumberIsValid(block) &&
		   block != node_block)
	{
		Buffer		buffer = omen_page_read_hinted(store->index, block,
												   OMEN_PAGE_CHAIN,
												   OMEN_LOCK_SHARE,
												   &store->hnsw->hints);
		Page		page = BufferGetPage(buffer);
		Size		here = Min(OMEN_PAGE_CONTENT, slot->own_bytes - done);

		memcpy(store->own + done, omen_page_content(page), here);
		done += here;
		block = omen_page_opaque(page)->next;
		omen_page_release(buffer);
	}
	if (done < slot->own_bytes)
		omen_page_report_corrupt(store->index, node_block,
								 "A chain ends before its node's code does.");
	if (!own_size_fits(store->hnsw, store->own, slot->own_bytes))
		omen_page_report_corrupt(store->index, node_block,
								 "A node's code has an impossible number of elements.");
}
