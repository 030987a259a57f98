/*-------------------------------------------------------------------------
 *
 * verify_hnsw_nodes.c
 *	  Checks of nodes: their slots, links, codes, keys and rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify_hnsw.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_range.h"
#include "hnsw/hnsw_tidmap.h"

/*
 * Links are no promises, but in such numbers they tell of damage.  What leads
 * nowhere is cleaned up as slots change: after vacuum there is none.  Of random
 * vectors of 32 and 128 dimensions, half of the links are mutual when built, 0.40
 * when a third was replaced, 0.23 when all were inserted by inner product.  Of
 * equal vectors, which have nodes of their own if keys differ, any is as near as
 * the others: links of nodes that have such neighbours do not count.
 */
#define LEAST_LINKS		10000
#define MOST_LOST		0.5
#define LEAST_MUTUAL	0.05

/* A live node, from a copy of its page */
typedef struct NodeCheck
{
	OmenVerifyHnsw *state;
	BlockNumber block;
	int			position;
	uint32		number;
	OmenLink	link;
	OmenHnswSlot slot;
	OmenHnswKeys keys;
	const uint8 *own;			/* NULL: the node is gone by now */
	uint8	   *pair;
	uint64		hash;
	bool		visible;		/* the snapshot sees one of its rows */
	int			nmutual;		/* links to nodes that link back */
	bool		has_twin;		/* a link to a node of an equal vector */
} NodeCheck;

static void check_pages(void *arg);
static void check_page(OmenVerifyHnsw *state, BlockNumber block, Page page);
static bool is_page_end(const OmenHnswLayout *layout, Size end);
static void check_free_slot(NodeCheck *node);
static void check_list_slot(NodeCheck *node);
static void check_node(NodeCheck *node);
static void load_codes(NodeCheck *node);
static bool check_chain(NodeCheck *node, OmenHnswSlot slot);
static void check_tids(NodeCheck *node);
static void check_list(NodeCheck *node);
static OmenLink collect_list(OmenVerifyHnsw *state, OmenLink link,
							 OmenTidList *tids);
static OmenHnswSlot copy_list_slot(OmenVerifyHnsw *state, uint32 number,
								   PGAlignedBlock *copy);
static void check_tid(NodeCheck *node, const ItemPointerData *tid);
static void check_links(NodeCheck *node);
static void check_neighbour(NodeCheck *node, int at);
static bool links_to(const OmenHnswLayout *layout, OmenHnswSlot slot,
					 OmenLink link);
static bool is_twin(const OmenHnswLayout *layout, OmenHnswSlot slot,
					OmenHnswSlot other);
static bool is_code_right(NodeCheck *node, int at, const uint8 *neighbour);
static void check_keys(NodeCheck *node);
static void check_range_code(NodeCheck *node);
static void check_lost_lists(void *arg);
static void note(NodeCheck *node, const char *invariant, const char *format,...)
			pg_attribute_printf(3, 4);

void
omen_verify_hnsw_nodes(OmenVerifyHnsw *state)
{
	state->block = 0;
	while (state->block < state->verify->nblocks)
	{
		if (!omen_verify_try(state->verify, "H1", check_pages, state))
			state->block++;
	}
	omen_verify_try(state->verify, "H5", check_lost_lists, state);

	if (state->nlinks < LEAST_LINKS)
		return;
	if (state->nlost > MOST_LOST * state->nlinks)
		omen_verify_warn(state->verify, "H2", InvalidBlockNumber,
						 UINT64_FORMAT " of " UINT64_FORMAT
						 " links lead nowhere.", state->nlost, state->nlinks);
	else if (state->ncounted >= LEAST_LINKS &&
			 state->nmutual < LEAST_MUTUAL * state->ncounted)
		omen_verify_warn(state->verify, "H3", InvalidBlockNumber,
						 "Only " UINT64_FORMAT " of " UINT64_FORMAT
						 " links are of nodes that link to each other.",
						 state->nmutual, state->ncounted);
}

static void
check_pages(void *arg)
{
	OmenVerifyHnsw *state = arg;
	OmenVerify *verify = state->verify;

	for (; state->block < verify->nblocks; state->block++)
	{
		PGAlignedBlock copy;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (verify->kinds[state->block] != OMEN_PAGE_NODE)
			continue;
		if (omen_verify_copy(verify, state->block, &copy) != OMEN_PAGE_NODE)
		{
			omen_verify_note(verify, "H12", state->block,
							 OMEN_VERIFY_NO_OFFSET,
							 "The page was one of nodes, and is none now.");
			continue;
		}
		old = MemoryContextSwitchTo(state->page_context);
		check_page(state, state->block, copy.data);
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->page_context);
	}
}

static void
check_page(OmenVerifyHnsw *state, BlockNumber block, Page page)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenPageOpaque opaque = omen_page_opaque(page);
	int			used = 0;

	for (int i = 0; i < layout->slots_per_page; i++)
	{
		NodeCheck	node = {state, block, i};
		const char *fault;

		node.number = block * layout->slots_per_page + i;
		if (node.number >= state->nnumbers)
			break;
		node.slot = omen_hnsw_page_slot(layout, page, i);
		node.link = omen_link_form(node.number, node.slot->version);
		used += node.slot->flags != 0;
		fault = omen_hnsw_find_slot_fault(state->hnsw, page, node.slot);
		if (fault != NULL)
			note(&node, "H1", "%s", fault);
		else if (node.slot->flags == 0)
			check_free_slot(&node);
		else if ((node.slot->flags & OMEN_SLOT_TIDLIST) != 0)
			check_list_slot(&node);
		else
			check_node(&node);
	}
	if (opaque->used != used ||
		!is_page_end(layout, ((PageHeader) page)->pd_lower))
		omen_verify_note(state->verify, "H1", block, OMEN_VERIFY_NO_OFFSET,
						 "The page has %d slots in use, expected %u, or an impossible end.",
						 used, opaque->used);
}

/* Contents end where a slot does, or with the page */
static bool
is_page_end(const OmenHnswLayout *layout, Size end)
{
	Size		start = MAXALIGN(SizeOfPageHeaderData);

	return end == start + OMEN_PAGE_CONTENT ||
		(end >= start && (end - start) % layout->slot_size == 0 &&
		 (end - start) / layout->slot_size <= layout->slots_per_page);
}

/* Nothing is left of the header of a slot that was freed but its version */
static void
check_free_slot(NodeCheck *node)
{
	OmenHnswSlotData head = *node->slot;
	const char *bytes = (const char *) &head;

	head.version = 0;
	for (Size i = 0; i < sizeof(head); i++)
	{
		if (bytes[i] != 0)
		{
			note(node, "H1", "A free slot is not empty.");
			return;
		}
	}
}

static void
check_list_slot(NodeCheck *node)
{
	OmenHnswSlot slot = node->slot;
	OmenVerifyHnsw *state = node->state;

	if (slot->level != 0 || slot->nlinks != 0 || slot->nscale != 0 ||
		slot->key_nulls != 0 || slot->own_bytes != 0 ||
		BlockNumberIsValid(slot->chain) ||
		((slot->flags & OMEN_SLOT_DELETED) != 0 && slot->ntids > 0))
		note(node, "H1", "A list of TIDs is a node in part, or closed with TIDs.");
	if (slot->more_tids != OMEN_LINK_INVALID &&
		!omen_verify_is_link(state, slot->more_tids))
		note(node, "H2", "A list of TIDs goes on at no slot.");
	state->seen[node->number] |= OMEN_SEEN_LIST;
}

static void
check_node(NodeCheck *node)
{
	OmenVerifyHnsw *state = node->state;
	OmenHnswSlot slot = node->slot;
	bool		live = (slot->flags & OMEN_SLOT_DELETED) == 0;

	state->seen[node->number] = OMEN_SEEN_NODE | slot->version |
		(live ? OMEN_SEEN_LIVE : 0);
	if (!live && slot->ntids > 0)
		note(node, "H1", "A deleted node has rows.");
	if (slot->nscale > omen_graph_scale_links(slot->level,
											  state->hnsw->layout.max_links))
		note(node, "H3", "A node of level %u has %u links at its scale.",
			 slot->level, slot->nscale);
	node->keys.nulls = slot->key_nulls;
	memcpy(node->keys.codes, omen_slot_keys(slot),
		   state->hnsw->layout.nkeys * sizeof(uint64));
	load_codes(node);
	if (node->own == NULL)
		return;
	check_links(node);
	if (!live)
		return;
	check_tids(node);
	check_keys(node);
	check_range_code(node);
}

/* --- codes --- */

/* The own code: from the copy, or by its chain, as long as the node is there */
static void
load_codes(NodeCheck *node)
{
	OmenVerifyHnsw *state = node->state;
	OmenHnswIndex *hnsw = state->hnsw;
	OmenHnswSlot slot;
	Buffer		buffer;
	uint8	   *own;
	Size		pair_size = hnsw->meta.shape.pair_size;

	if (BlockNumberIsValid(node->slot->chain))
	{
		buffer = omen_hnsw_read_slot(&state->store, node->link,
									 OMEN_LOCK_SHARE, &slot);
		if (!BufferIsValid(buffer))
			return;
		if (!check_chain(node, slot))
		{
			omen_page_release(buffer);
			return;
		}
		own = palloc(slot->own_bytes);
		memcpy(own, omen_hnsw_stored_own(&state->store, buffer, slot),
			   slot->own_bytes);
		omen_page_release(buffer);
		node->own = own;
	}
	else
		node->own = omen_slot_own(&hnsw->layout, node->slot);
	if (!omen_verify_shares_mean(state, node->slot))
		return;
	node->pair = palloc(pair_size > 0 ? pair_size : node->slot->own_bytes);
	omen_quant_own_to_pair(hnsw->quant, node->own, node->pair);
	if (state->verify->heapallindexed)
		node->hash = omen_verify_hnsw_hash(&hnsw->layout, node->own,
										   node->slot->own_bytes, &node->keys);
}

/* The page of the slot is locked, so that the chain stays */
static bool
check_chain(NodeCheck *node, OmenHnswSlot slot)
{
	OmenVerifyHnsw *state = node->state;
	Size		rest = slot->own_bytes - state->hnsw->layout.own_inline;
	Size		npages = (rest + OMEN_PAGE_CONTENT - 1) / OMEN_PAGE_CONTENT;
	BlockNumber block = slot->chain;
	PGAlignedBlock copy;

	for (Size i = 0; i < npages; i++)
	{
		if (omen_verify_kind_now(state->verify, block) != OMEN_PAGE_CHAIN)
		{
			note(node, "H4", "Block %u of a node's chain is none.", block);
			return false;
		}
		omen_verify_copy(state->verify, block, &copy);
		if (omen_page_opaque(copy.data)->owner != node->number)
		{
			note(node, "H4", "Block %u of a node's chain is another node's.",
				 block);
			return false;
		}
		block = omen_page_opaque(copy.data)->next;
	}
	if (BlockNumberIsValid(block))
	{
		note(node, "H4", "A node's chain is longer than its code.");
		return false;
	}
	return true;
}

/* --- rows --- */

static void
check_tids(NodeCheck *node)
{
	for (int i = 0; i < node->slot->ntids; i++)
		check_tid(node, &node->slot->tids[i]);
	check_list(node);
}

/* Where vacuum has freed a slot meanwhile, the list is looked at once more */
static void
check_list(NodeCheck *node)
{
	OmenVerifyHnsw *state = node->state;
	OmenLink	link = node->slot->more_tids;
	OmenLink	gone = OMEN_LINK_INVALID;
	OmenLink	before;
	OmenTidList tids = {0};

	if (link != OMEN_LINK_INVALID && !omen_verify_is_link(state, link))
	{
		note(node, "H2", "A node's list of TIDs begins at no slot.");
		return;
	}
	do
	{
		before = gone;
		tids.n = 0;
		gone = collect_list(state, link, &tids);
		if (gone != OMEN_LINK_INVALID)
			link = omen_hnsw_list_head(&state->store, node->link);
	} while (gone != OMEN_LINK_INVALID && gone != before);

	for (Size i = 0; i < tids.n; i++)
		check_tid(node, &tids.tids[i]);
}

/* As far as slots are good.  Returns the link to one that has gone, if any. */
static OmenLink
collect_list(OmenVerifyHnsw *state, OmenLink link, OmenTidList *tids)
{
	OmenListGuard guard = OMEN_LIST_GUARD;
	PGAlignedBlock copy;

	while (link != OMEN_LINK_INVALID && omen_verify_is_link(state, link))
	{
		OmenHnswSlot slot = copy_list_slot(state, omen_link_number(link),
										   &copy);

		if (slot == NULL || slot->version != omen_link_version(link))
			return link;
		CHECK_FOR_INTERRUPTS();
		omen_hnsw_guard_list(state->verify->index, state->hnsw, &guard, link);
		if (omen_link_number(link) < state->nnumbers)
			state->seen[omen_link_number(link)] |= OMEN_SEEN_REACHED;
		omen_hnsw_add_tids(tids, slot);
		link = slot->more_tids;
	}
	return OMEN_LINK_INVALID;
}

/* A slot in a copy of its page; NULL if it is no list that is good */
static OmenHnswSlot
copy_list_slot(OmenVerifyHnsw *state, uint32 number, PGAlignedBlock *copy)
{
	OmenHnswSlot slot;

	if (omen_verify_copy(state->verify, omen_verify_number_block(state, number),
						 copy) != OMEN_PAGE_NODE)
		return NULL;
	slot = omen_hnsw_page_slot(&state->hnsw->layout, copy->data,
							   number % state->hnsw->layout.slots_per_page);
	if ((slot->flags & OMEN_SLOT_TIDLIST) == 0 ||
		omen_hnsw_find_slot_fault(state->hnsw, copy->data, slot) != NULL)
		return NULL;
	return slot;
}

static void
check_tid(NodeCheck *node, const ItemPointerData *tid)
{
	OmenVerifyHnsw *state = node->state;
	uint64		row = omen_tid_row(tid);
	OmenTidMapCell cell;

	if (state->verify->heapallindexed)
		omen_verify_add_row(state->verify, row, node->hash, node->number);
	if (!node->visible && state->codes_hold)
		node->visible = omen_verify_sees(state->verify, row);
	if (!omen_tidmap_find_cell(tid, &cell))
	{
		if ((state->meta.flags & OMEN_META_TIDS_UNMAPPED) == 0 &&
			omen_verify_sees(state->verify, row))
			note(node, "H10",
				 "Row (%u,%u) has no place in the TID map, which claims to be complete.",
				 (uint32) (row >> 16), (uint32) (row & 0xFFFF));
	}
	else if (state->map_holds &&
			 omen_tidmap_find(state->verify->index, state->hnsw, tid) !=
			 node->link && omen_verify_sees(state->verify, row))
		note(node, "H10", "The TID map does not lead to row (%u,%u).",
			 (uint32) (row >> 16), (uint32) (row & 0xFFFF));
}

/* --- links --- */

static void
check_links(NodeCheck *node)
{
	const OmenLink *links = omen_slot_links(&node->state->hnsw->layout,
											node->slot);
	bool		live = (node->slot->flags & OMEN_SLOT_DELETED) == 0;

	for (int i = node->slot->nlinks;
		 i < node->state->hnsw->layout.max_links; i++)
	{
		if (links[i] == 0)
			continue;
		note(node, "H3", "There is something behind the last of %u links.",
			 node->slot->nlinks);
		break;
	}
	for (int i = 0; i < node->slot->nlinks; i++)
	{
		bool		good = omen_verify_is_link(node->state, links[i]);

		if (!good)
			note(node, "H2", "Link %d leads to block %u, which has no nodes.",
				 i, omen_verify_number_block(node->state,
											 omen_link_number(links[i])));
		if (links[i] == node->link)
			note(node, "H3", "Link %d leads to the node itself.", i);
		for (int j = 0; j < i; j++)
		{
			if (links[j] == links[i])
				note(node, "H3", "Links %d and %d are the same.", j, i);
		}
		if (good && live && node->state->verify->heapallindexed)
			check_neighbour(node, i);
	}
	if (live && !node->has_twin)
	{
		node->state->ncounted += node->slot->nlinks;
		node->state->nmutual += node->nmutual;
	}
}

/*
 * H4, H7: what the link says of the neighbour follows from both nodes' codes, unless
 * the neighbour was to get one by the mean, which the link was made for, and has not.
 */
static void
check_neighbour(NodeCheck *node, int at)
{
	OmenVerifyHnsw *state = node->state;
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenLink	link = omen_slot_links(layout, node->slot)[at];
	Size		pair_size = state->hnsw->meta.shape.pair_size;
	OmenHnswSlot slot;
	Buffer		buffer;
	uint8	   *pair = NULL;
	int			level;

	state->nlinks++;
	buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_SHARE, &slot);
	if (!BufferIsValid(buffer))
	{
		state->nlost++;
		return;
	}
	level = slot->level;
	node->nmutual += links_to(layout, slot, node->link);
	node->has_twin |= is_twin(layout, slot, node->slot);
	if (state->hnsw->meta.shape.link_kind != OMEN_LINK_NONE &&
		node->pair != NULL && omen_verify_shares_mean(state, slot))
	{
		pair = palloc(pair_size);
		omen_quant_own_to_pair(state->hnsw->quant,
							   omen_hnsw_slot_own(&state->store, buffer, slot),
							   pair);
	}
	omen_page_release(buffer);
	if (pair != NULL && !is_code_right(node, at, pair))
		note(node, "H7", "The code of link %d is not the neighbour's.", at);
	if (at >= node->slot->nlinks - node->slot->nscale &&
		level < node->slot->level)
		note(node, "H3",
			 "Link %d at scale %u leads to a node of level %d.", at,
			 node->slot->level, level);
	if (pair != NULL)
		pfree(pair);
}

static bool
links_to(const OmenHnswLayout *layout, OmenHnswSlot slot, OmenLink link)
{
	for (int i = 0; i < slot->nlinks; i++)
	{
		if (omen_slot_links(layout, slot)[i] == link)
			return true;
	}
	return false;
}

/* Are their own codes equal, as far as they are in the slots? */
static bool
is_twin(const OmenHnswLayout *layout, OmenHnswSlot slot, OmenHnswSlot other)
{
	return slot->own_bytes == other->own_bytes &&
		memcmp(omen_slot_own(layout, slot), omen_slot_own(layout, other),
			   Min(slot->own_bytes, layout->own_inline)) == 0;
}

static bool
is_code_right(NodeCheck *node, int at, const uint8 *neighbour)
{
	OmenVerifyHnsw *state = node->state;
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenHnswEdge edge;

	edge.code = state->link_code;
	memset(edge.code, 0, layout->link_size);
	omen_hnsw_encode_edge(state->hnsw->quant, node->pair, neighbour, &edge,
						  state->scratch);
	return memcmp(edge.code, omen_slot_codes(layout, node->slot) +
				  at * layout->link_size, layout->link_size) == 0 &&
		(!layout->factors ||
		 (memcmp(&edge.f_add, &omen_slot_f_add(layout, node->slot)[at],
				 sizeof(float)) == 0 &&
		  memcmp(&edge.f_rescale, &omen_slot_f_rescale(layout, node->slot)[at],
				 sizeof(float)) == 0));
}

/* --- keys and ranges --- */

/* H12; as long as the node is there, once more under its lock */
static void
check_keys(NodeCheck *node)
{
	OmenVerifyHnsw *state = node->state;
	Relation	index = state->verify->index;
	OmenHnswSlot slot;
	Buffer		buffer;

	for (int key = 0; key < state->hnsw->layout.nkeys; key++)
	{
		if ((node->keys.nulls >> key & 1) != 0 && node->keys.codes[key] != 0)
			note(node, "H5", "A key that is NULL has a code.");
	}
	if (!state->column_holds ||
		omen_column_has(index, state->hnsw, node->number, &node->keys))
		return;
	buffer = omen_hnsw_read_slot(&state->store, node->link, OMEN_LOCK_SHARE,
								 &slot);
	if (!BufferIsValid(buffer))
		return;
	if (!omen_column_has(index, state->hnsw, node->number, &node->keys))
		note(node, "H12", "The key column has other keys.");
	omen_page_release(buffer);
}

/*
 * H15: the range code of a node that was built.  Of a node in a slot that was
 * freed before nothing is promised, nor of one whose insertion has not ended.
 */
static void
check_range_code(NodeCheck *node)
{
	OmenVerifyHnsw *state = node->state;
	OmenHnswIndex *hnsw = state->hnsw;
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	Size		size;
	OmenRangeCode code;
	Buffer		buffer;
	uint32		range;

	if (!state->codes_hold || !state->verify->heapallindexed ||
		!node->visible || node->slot->version != 0 || node->pair == NULL ||
		node->number < meta->range_first ||
		node->number - meta->range_first >= meta->built_nodes)
		return;
	range = omen_range_find(hnsw->range_starts, meta->nranges,
							node->number - meta->range_first);
	size = omen_range_code_size(&hnsw->range_quant);
	code = palloc(size);
	omen_range_encode(&hnsw->range_quant, omen_range_centre(hnsw, range),
					  node->pair, code);
	buffer = omen_range_read_code(state->verify->index, hnsw, node->number,
								  OMEN_LOCK_SHARE);
	if (memcmp(code, omen_range_page_code(hnsw, BufferGetPage(buffer),
										  node->number), size) != 0)
		note(node, "H15", "The range code is another node's.");
	omen_page_release(buffer);
	pfree(code);
}

/* --- lists --- */

/* A list that no node leads to has no rows that anybody sees */
static void
check_lost_lists(void *arg)
{
	OmenVerifyHnsw *state = arg;

	for (uint32 number = 0; number < state->nnumbers; number++)
	{
		uint8		seen = state->seen[number];
		PGAlignedBlock copy;
		OmenHnswSlot slot;

		if (number % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if ((seen & (OMEN_SEEN_LIST | OMEN_SEEN_REACHED)) != OMEN_SEEN_LIST)
			continue;
		slot = copy_list_slot(state, number, &copy);
		if (slot == NULL)
			continue;
		for (int i = 0; i < slot->ntids; i++)
		{
			uint64		row = omen_tid_row(&omen_slot_list(slot)[i]);

			if (!omen_verify_sees(state->verify, row))
				continue;
			omen_verify_note(state->verify, "H5",
							 omen_verify_number_block(state, number),
							 number % state->hnsw->layout.slots_per_page,
							 "Row (%u,%u) is in a list that no node has.",
							 (uint32) (row >> 16), (uint32) (row & 0xFFFF));
			break;
		}
	}
}

static void
note(NodeCheck *node, const char *invariant, const char *format,...)
{
	va_list		arguments;
	char		detail[256];

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	omen_verify_note(node->state->verify, invariant, node->block,
					 node->position, "%s", detail);
}
