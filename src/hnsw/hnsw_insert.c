/*-------------------------------------------------------------------------
 *
 * hnsw_insert.c
 *	  Insertion of one row.
 *
 * NOTES
 *	  The steps, each of them one WAL record but for 5, and never with more than
 *	  one node page locked but there:
 *
 *	  1. search for the nearest nodes (share locks only);
 *	  2. as soon as one of them has the very same code and keys, give it the
 *		 new TID, and go on with 4 as the last step; an UPDATE tries the node
 *		 of the row's old version first, without a search;
 *	  3. write the node with its links into a free slot (its CHAIN pages, if
 *		 any, and its keys in the key column before it);
 *	  4. enter TID and node into the TID map;
 *	  5. add a link back in each neighbour, four pages at a time (hnsw_put.c);
 *	  6. perhaps make it an entry.
 *
 *	  A crash or an error after 3 leaves a node that fewer others know, and
 *	  that the map may not know.  Its row belongs to a transaction that cannot
 *	  have committed, and sweeps find it all the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_insert.h"
#include "hnsw/hnsw_range.h"
#include "hnsw/hnsw_tidmap.h"

/*
 * Neighbours that a new node chooses, of 32 links, and in proportion of more; all
 * of them are to link back, each of which is a page of its own, and after a
 * checkpoint 8 kB of WAL.  As in HNSW, half of its links are left for nodes that
 * neighbours give up for it, and for those that come later.  Of 20,000 vectors
 * inserted, words by cosine and random numbers by inner product had a recall of
 * .968 and .775, with 20 links of which 16 linked back .968 and .763, and with 32
 * of which the diverse ones linked back, 13 at most, .946 and .683.  (By inner
 * product more are asked since, hnsw_insert_back.c.)
 */
#define NEW_LINKS		16

bool		(*omen_hnsw_replaced_row) (Relation heap, const IndexInfo *info,
									   ItemPointer replaced) = NULL;

static OmenLink find_replaced(OmenInsert *state, Relation heap,
							  const IndexInfo *info);
static void insert_value(OmenInsert *state, const OmenHnswValue *value,
						 OmenLink replaced);
static void encode_value(OmenInsert *state, const OmenHnswValue *value);
static OmenLink attach_to_replaced(OmenInsert *state, OmenLink replaced);
static void begin_search(OmenInsert *state, const OmenHnswValue *value);
static OmenLink attach_to_equal(OmenInsert *state);
static void insert_node(OmenInsert *state);
static void encode_pair(OmenInsert *state);
static void collect_near(OmenInsert *state);
static bool attach_tid(OmenInsert *state, OmenLink link);
static bool append_to_list(OmenInsert *state, OmenLink list);
static OmenLink write_list_slot(OmenInsert *state, OmenLink next);
static void rewrite_list_slot(OmenInsert *state, OmenLink list,
							  OmenLink next, bool use);
static bool is_equal(OmenInsert *state, Buffer buffer, OmenHnswSlot slot);
static void choose_links(OmenInsert *state);
static void choose_scale_links(OmenInsert *state, bool *taken);
static void write_node(OmenInsert *state);
static void fill_slot(OmenInsert *state, OmenHnswSlot slot,
					  BlockNumber chain);

bool
omen_hnsw_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
				 Relation heap, IndexUniqueCheck check, bool unchanged,
				 IndexInfo *info)
{
	MemoryContext context;
	MemoryContext old;
	OmenInsert *state;
	OmenHnswValue value;

	if (isnull[0])
		return false;

	context = AllocSetContextCreate(CurrentMemoryContext, "omenhnsw insert",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);

	state = palloc0(sizeof(OmenInsert));
	state->index = index;
	state->hnsw = omen_hnsw_open(index);
	state->tid = tid;
	if (omen_hnsw_form_value(state->hnsw->opclass,
							 state->hnsw->meta.shape.dims, values[0], &value))
	{
		bool		held = omen_hnsw_hold_mean(index, state->hnsw);

		omen_hnsw_form_keys(&state->hnsw->meta, values, isnull, &state->keys);
		insert_value(state, &value, find_replaced(state, heap, info));
		if (held)
		{
			omen_hnsw_release_mean(index);
			if (state->link != 0)
				omen_hnsw_offer_mean(index, heap, state->hnsw, value.payload);
		}
	}

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}

/*
 * The node of the row that an UPDATE is putting a new version of into the
 * table, if it is an UPDATE.  It has the very same code unless the UPDATE
 * changes the vector.
 */
static OmenLink
find_replaced(OmenInsert *state, Relation heap, const IndexInfo *info)
{
	ItemPointerData old;

	if (omen_hnsw_replaced_row == NULL ||
		!omen_hnsw_replaced_row(heap, info, &old))
		return OMEN_LINK_INVALID;
	return omen_tidmap_find(state->index, state->hnsw, &old);
}

static void
insert_value(OmenInsert *state, const OmenHnswValue *value,
			 OmenLink replaced)
{
	OmenLink	equal;

	encode_value(state, value);
	equal = attach_to_replaced(state, replaced);
	if (equal == OMEN_LINK_INVALID)
	{
		begin_search(state, value);
		equal = attach_to_equal(state);
		if (equal == OMEN_LINK_INVALID && state->search->nfound == 0)
		{
			/* vacuum has just taken away all that we have begun with */
			omen_hnsw_reload_entries(state->index, state->hnsw);
			omen_hnsw_seed_all(state->hnsw, state->search);
			equal = attach_to_equal(state);
		}
	}
	if (equal == OMEN_LINK_INVALID)
		insert_node(state);
	else
		omen_tidmap_set(state->index, state->hnsw, state->tid, equal);
}

static void
encode_value(OmenInsert *state, const OmenHnswValue *value)
{
	const OmenCodeShape *shape = &state->hnsw->meta.shape;

	state->scratch = palloc((OMEN_QUANT_SCRATCH(shape) + shape->dims) *
							sizeof(float));
	state->own = palloc(Max(shape->own_size, value->size));
	state->own_bytes = omen_quant_encode_own(state->hnsw->quant,
											 value->payload, state->own,
											 state->scratch);
}

/* Without a search, and without what a search needs */
static OmenLink
attach_to_replaced(OmenInsert *state, OmenLink replaced)
{
	if (replaced == OMEN_LINK_INVALID)
		return OMEN_LINK_INVALID;
	omen_hnsw_store_init(&state->store, state->index, state->hnsw, NULL);
	return attach_tid(state, replaced) ? replaced : OMEN_LINK_INVALID;
}

static void
begin_search(OmenInsert *state, const OmenHnswValue *value)
{
	OmenHnswIndex *hnsw = state->hnsw;
	OmenQuery  *query = omen_query_init(palloc(omen_query_size(hnsw->quant)),
										hnsw->quant, value->payload);

	omen_hnsw_refresh_entries(state->index, hnsw);
	if (hnsw->meta.shape.metric == OMEN_METRIC_IP)
		omen_hnsw_raise_norm(state->index, hnsw,
							 omen_hnsw_norm2(hnsw->opclass->element,
											 hnsw->meta.shape.dims,
											 value->payload));
	omen_hnsw_store_init(&state->store, state->index, hnsw, query);
	state->store.keep_pairs = true;
	state->store.wanted = state->own;
	state->store.wanted_bytes = state->own_bytes;
	state->store.wanted_keys = &state->keys;
	state->search = omen_search_create(&omen_hnsw_graph_ops, &state->store,
									   hnsw->meta.ef_construction, true);
	omen_hnsw_seed(hnsw, query, state->search);
}

/*
 * Equal vectors share a node: as nodes of their own they would link to
 * nothing but each other.  Those of other keys do not (H5), however: the walk
 * goes on, to where it would have ended without them.  Returns the node that
 * has taken the TID, if any.
 *
 * The walk stops at an equal node, which is near the front of the pool as soon
 * as it has been heard of: it visits a third of the nodes that the walk for a
 * new vector does.
 */
static OmenLink
attach_to_equal(OmenInsert *state)
{
	const OmenSearch *search = state->search;

	while (omen_search_run(state->search))
	{
		OmenLink	link = search->found[search->nfound - 1].link;

		if (attach_tid(state, link))
			return link;
	}
	return OMEN_LINK_INVALID;
}

/* A node of its own for the row, from what the search has found */
static void
insert_node(OmenInsert *state)
{
	encode_pair(state);
	collect_near(state);
	state->level =
		omen_graph_draw_level(pg_prng_uint64(&pg_global_prng_state));
	choose_links(state);
	omen_insert_plan_back(state);
	write_node(state);
	omen_range_set_code(state->index, state->hnsw,
						omen_link_number(state->link), state->pair);
	omen_tidmap_set(state->index, state->hnsw, state->tid, state->link);

	/* a node that no other leads to must be one to start from */
	if (omen_insert_link_back(state) == 0)
		omen_hnsw_make_entry(state->index, state->hnsw, state->link,
							 state->level, state->pair);
	else
		omen_hnsw_offer_entry(state->index, state->hnsw, state->link,
							  state->level, state->pair);
}

static void
encode_pair(OmenInsert *state)
{
	Size		size = state->hnsw->meta.shape.pair_size;

	state->pair = palloc(size > 0 ? size : state->own_bytes);
	omen_quant_own_to_pair(state->hnsw->quant, state->own, state->pair);
}

/* The live nodes around the new one, by distance between pair codes */
static void
collect_near(OmenInsert *state)
{
	const OmenSearch *search = state->search;

	state->nnear = search->nfound;
	/* and as many that are given up for the new node */
	state->near = palloc((search->nfound + OMEN_MAX_LINKS) * sizeof(OmenNear));
	for (int i = 0; i < state->nnear; i++)
	{
		const OmenFound *found = &search->found[i];

		state->near[i].node = found->link;
		state->near[i].pair = found->pair;
		state->near[i].distance =
			omen_quant_pair_distance(state->hnsw->quant, state->pair,
									 found->pair);
	}
	omen_graph_sort_near(state->near, state->nnear);
	omen_insert_begin_back(state);
	omen_insert_thin(state);
}

/* Give the TID to a node, if it still lives and is equal indeed */
static bool
attach_tid(OmenInsert *state, OmenLink link)
{
	OmenLink	list = OMEN_LINK_INVALID;	/* our list slot */
	OmenLink	seen = OMEN_LINK_INVALID;	/* what it leads to */

	for (;;)
	{
		OmenHnswSlot slot;
		OmenLink	head;
		OmenPageEdit edit;
		bool		room;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_EXCLUSIVE,
									 &slot);
		if (!BufferIsValid(buffer))
			break;
		if ((slot->flags & OMEN_SLOT_DELETED) != 0 || !is_equal(state, buffer, slot))
		{
			omen_page_release(buffer);
			break;
		}

		head = slot->more_tids;
		room = slot->ntids < OMEN_SLOT_TIDS;
		if (room || (list != OMEN_LINK_INVALID && head == seen))
		{
			omen_edit_begin(&edit, state->index);
			slot = omen_edit_part(&edit, buffer, slot,
								  state->hnsw->layout.slot_size);
			if (room)
				slot->tids[slot->ntids++] = *state->tid;
			else
				slot->more_tids = list;
			omen_edit_finish(&edit);
			omen_page_release(buffer);
			if (room && list != OMEN_LINK_INVALID)
				rewrite_list_slot(state, list, OMEN_LINK_INVALID, false);
			return true;
		}
		omen_page_release(buffer);

		seen = head;
		if (list != OMEN_LINK_INVALID)
			rewrite_list_slot(state, list, head, true);
		else if (head != OMEN_LINK_INVALID && append_to_list(state, head))
			return true;
		else
			list = write_list_slot(state, head);
	}
	if (list != OMEN_LINK_INVALID)
		rewrite_list_slot(state, list, OMEN_LINK_INVALID, false);
	return false;
}

/* Add the TID to a list slot, if it has room */
static bool
append_to_list(OmenInsert *state, OmenLink list)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	uint32		number = omen_link_number(list);
	Buffer		buffer = omen_page_read(state->index,
										number / layout->slots_per_page,
										OMEN_PAGE_NODE, OMEN_LOCK_EXCLUSIVE);
	OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
											number % layout->slots_per_page);
	bool		room;

	omen_hnsw_check_slot(state->index, state->hnsw, buffer, slot);

	/* vacuum closes empty lists by the flag DELETED */
	room = slot->flags == (OMEN_SLOT_USED | OMEN_SLOT_TIDLIST) &&
		slot->version == omen_link_version(list) &&
		slot->ntids < layout->list_tids;
	if (room)
	{
		OmenPageEdit edit;

		omen_edit_begin(&edit, state->index);
		slot = omen_edit_part(&edit, buffer, slot, layout->slot_size);
		omen_slot_list(slot)[slot->ntids++] = *state->tid;
		omen_edit_finish(&edit);
	}
	omen_page_release(buffer);
	return room;
}

/* A new list slot with the TID in it; not yet part of any list */
static OmenLink
write_list_slot(OmenInsert *state, OmenLink next)
{
	OmenHnswSlotWriter writer;
	OmenHnswSlot slot;

	omen_hnsw_begin_slot(state->index, state->hnsw, &writer);
	slot = omen_hnsw_edit_slot(&writer);
	slot->flags = OMEN_SLOT_USED | OMEN_SLOT_TIDLIST;
	slot->ntids = 1;
	slot->more_tids = next;
	omen_slot_list(slot)[0] = *state->tid;
	return omen_hnsw_finish_slot(&writer);
}

/* Change what our list slot leads to, or give it up */
static void
rewrite_list_slot(OmenInsert *state, OmenLink list, OmenLink next, bool use)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	uint32		number = omen_link_number(list);
	OmenPageEdit edit;
	Page		page;
	OmenHnswSlot slot;
	Buffer		buffer = omen_page_read(state->index,
										number / layout->slots_per_page,
										OMEN_PAGE_NODE, OMEN_LOCK_EXCLUSIVE);

	omen_edit_begin(&edit, state->index);
	page = omen_edit_page(&edit, buffer);
	slot = omen_hnsw_page_slot(layout, page, number % layout->slots_per_page);
	slot->more_tids = next;
	if (!use)
		omen_hnsw_free_slot(page, slot);
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

/* Has the node the codes of the new row? */
static bool
is_equal(OmenInsert *state, Buffer buffer, OmenHnswSlot slot)
{
	return slot->own_bytes == state->own_bytes &&
		omen_slot_has_keys(&state->hnsw->layout, slot, &state->keys) &&
		memcmp(omen_hnsw_slot_own(&state->store, buffer, slot), state->own,
			   state->own_bytes) == 0;
}

/*
 * Links of the new node: the diverse ones and the nearest of the rest, and
 * at a level above 0 some of that scale.  They are to link back.
 */
static void
choose_links(OmenInsert *state)
{
	int			max_links = state->hnsw->layout.max_links;
	int			nscale = omen_graph_scale_links(state->level, max_links);
	bool	   *taken = palloc0(Max(state->nnear, 1));
	int			n;

	/* a walk visits about twice as many as it was to find, but sometimes all */
	n = 2 * Max(state->hnsw->meta.ef_construction, max_links);
	n = Min(Min(n, state->nnear), OMEN_SELECT_MAX);
	state->nlinks = omen_graph_select(state->hnsw->quant, state->near, n,
									  Min(omen_insert_new_links(max_links),
										  max_links - nscale),
									  1, true, state->links);
	for (int i = 0; i < state->nlinks; i++)
	{
		taken[state->links[i]] = true;
		state->back[state->nback++].near = state->links[i];
	}
	if (nscale > 0)
		choose_scale_links(state, taken);
}

int
omen_insert_new_links(int max_links)
{
	return Max(NEW_LINKS, NEW_LINKS * max_links / 32);
}

/* The nearest nodes of at least the same level that are no neighbours yet */
static void
choose_scale_links(OmenInsert *state, bool *taken)
{
	int			max_links = state->hnsw->layout.max_links;
	int			wanted = omen_graph_scale_links(state->level, max_links);
	int			max_back = omen_insert_new_links(max_links);

	for (int i = 0; i < state->nnear && state->nscale < wanted; i++)
	{
		const OmenFound *found = NULL;

		if (taken[i])
			continue;
		for (Size j = 0; j < state->search->nfound && found == NULL; j++)
		{
			if (state->search->found[j].link == state->near[i].node)
				found = &state->search->found[j];
		}
		if (found->level < state->level)
			continue;
		state->links[state->nlinks++] = i;
		state->nscale++;
		if (state->nback < max_back)
			state->back[state->nback++].near = i;
	}
}

static void
write_node(OmenInsert *state)
{
	OmenHnswSlotWriter writer;
	BlockNumber chain = InvalidBlockNumber;
	Size		own_inline = state->hnsw->layout.own_inline;
	OmenHnswEdge *edges = palloc(Max(state->nlinks, 1) * sizeof(OmenHnswEdge));
	OmenHnswSlot slot;

	for (int i = 0; i < state->nlinks; i++)
	{
		const OmenNear *near = &state->near[state->links[i]];

		omen_insert_encode_edge(state, state->pair, near->pair, near->node,
								&edges[i]);
	}

	omen_hnsw_begin_slot(state->index, state->hnsw, &writer);
	if (state->own_bytes > own_inline)
		chain = omen_hnsw_write_chain(state->index, state->hnsw,
									  writer.number, state->own + own_inline,
									  state->own_bytes - own_inline);
	omen_column_set(state->index, state->hnsw, writer.number, &state->keys);
	slot = omen_hnsw_edit_slot(&writer);
	fill_slot(state, slot, chain);
	for (int i = 0; i < state->nlinks; i++)
		omen_slot_set_edge(&state->hnsw->layout, slot, i, &edges[i]);
	state->link = omen_hnsw_finish_slot(&writer);
}

static void
fill_slot(OmenInsert *state, OmenHnswSlot slot, BlockNumber chain)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;

	slot->flags = OMEN_SLOT_USED | OMEN_SLOT_INSERTED |
		(state->hnsw->early != NULL ? OMEN_SLOT_CENTRED : 0);
	slot->level = state->level;
	slot->nlinks = state->nlinks;
	slot->nscale = state->nscale;
	slot->ntids = 1;
	slot->tids[0] = *state->tid;
	slot->more_tids = OMEN_LINK_INVALID;
	slot->chain = chain;
	slot->own_bytes = state->own_bytes;
	omen_slot_set_keys(layout, slot, &state->keys);
	memcpy(omen_slot_own(layout, slot), state->own,
		   Min(state->own_bytes, layout->own_inline));
}

