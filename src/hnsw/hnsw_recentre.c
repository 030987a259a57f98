/*-------------------------------------------------------------------------
 *
 * hnsw_recentre.c
 *	  Codes by the mean for the nodes that were there when it was taken.
 *
 * NOTES
 *	  Their own codes may tell next to nothing of them, so their rows are read
 *	  from the table.  Each node gets its new code and new links, to the nearest of
 *	  the others, in one record.  Nodes that are not CENTRED may stay, after an
 *	  error or a crash or because of what is said below: their codes are shifted
 *	  whenever they are read (hnsw_mean.c).
 *
 *	  The caller excludes inserts and vacuum.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"
#include "hnsw/hnsw_rows.h"

typedef struct EarlyNode
{
	OmenLink	link;
	ItemPointerData tid; /* of one of its rows */
	uint8	   *own;			/* NULL: stays as it is */
	uint8	   *pair;
} EarlyNode;

typedef struct RecentreState
{
	Relation	index;
	OmenHnswIndex *hnsw;
	OmenHnswStore store;
	int			n;
	int			room;
	EarlyNode  *nodes;
	float	   *scratch;
} RecentreState;

static void collect_nodes(RecentreState *state);
static void collect_page(RecentreState *state, Buffer buffer);
static void encode_nodes(RecentreState *state, Relation heap);
static void encode_node(RecentreState *state, OmenRowReader *rows,
						EarlyNode *node);
static bool is_of_node(RecentreState *state, const EarlyNode *node,
					   const OmenHnswValue *value);
static void write_node(RecentreState *state, const EarlyNode *node);
static int choose_links(RecentreState *state, const EarlyNode *node,
						OmenHnswEdge *edges);
static void form_edge(RecentreState *state, const EarlyNode *node,
					  OmenLink link, const uint8 *pair, OmenHnswEdge *edge);
static void rewrite_slot(RecentreState *state, const EarlyNode *node,
						 const OmenHnswEdge *edges, int nlinks);

void
omen_hnsw_recentre(Relation index, Relation heap, OmenHnswIndex *hnsw)
{
	RecentreState state = {.index = index, .hnsw = hnsw};
	const OmenCodeShape *shape = &hnsw->meta.shape;

	omen_hnsw_store_init(&state.store, index, hnsw, NULL);
	state.scratch = palloc(OMEN_QUANT_SCRATCH(shape) * sizeof(float));
	state.room = 64;
	state.nodes = palloc(state.room * sizeof(EarlyNode));
	collect_nodes(&state);
	encode_nodes(&state, heap);
	for (int i = 0; i < state.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (state.nodes[i].own != NULL)
			write_node(&state, &state.nodes[i]);
	}
}

static void
collect_nodes(RecentreState *state)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(state->index);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		OmenPageKind kind;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		buffer = omen_page_read_any(state->index, block, OMEN_LOCK_SHARE, NULL,
									&kind);
		if (kind == OMEN_PAGE_NODE)
			collect_page(state, buffer);
		omen_page_release(buffer);
	}
}

/* The nodes of a page, by codes that are shifted as yet */
static void
collect_page(RecentreState *state, Buffer buffer)
{
	const OmenHnswIndex *hnsw = state->hnsw;
	BlockNumber	block = BufferGetBlockNumber(buffer);

	for (int i = 0; i < hnsw->layout.slots_per_page; i++)
	{
		OmenHnswSlot slot =
			omen_hnsw_page_slot(&hnsw->layout, BufferGetPage(buffer), i);
		EarlyNode  *node;

		omen_hnsw_check_slot(state->index, hnsw, buffer, slot);
		if ((slot->flags & OMEN_SLOT_KIND) != OMEN_SLOT_USED)
			continue;
		if (state->n == state->room)
		{
			state->room *= 2;
			state->nodes =
				repalloc(state->nodes, state->room * sizeof(EarlyNode));
		}
		node = &state->nodes[state->n++];
		node->link = omen_link_form(block * hnsw->layout.slots_per_page + i,
									slot->version);
		ItemPointerSetInvalid(&node->tid);
		/* a code in a chain would take more than one record */
		if (slot->ntids > 0 && !BlockNumberIsValid(slot->chain))
			node->tid = slot->tids[0];
		node->own = NULL;
		node->pair = palloc(hnsw->meta.shape.pair_size);
		omen_quant_own_to_pair(hnsw->quant,
							   omen_hnsw_slot_own(&state->store, buffer, slot),
							   node->pair);
	}
}

/*
 * Rows of other transactions that are still going on as well: they have nodes.  Those
 * that are dead may have lost what was stored out of line.
 */
static void
encode_nodes(RecentreState *state, Relation heap)
{
	SnapshotData dirty;
	OmenRowReader *rows;

	InitDirtySnapshot(dirty);
	rows = omen_rows_open(heap, state->index, &dirty, state->hnsw, NULL);
	for (int i = 0; i < state->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ItemPointerIsValid(&state->nodes[i].tid))
			encode_node(state, rows, &state->nodes[i]);
	}
	omen_rows_close(rows);
}

static void
encode_node(RecentreState *state, OmenRowReader *rows, EarlyNode *node)
{
	const OmenQuantizer *quant = state->hnsw->quant;
	OmenHnswValue value;

	if (!omen_rows_copy(rows, &node->tid, &value) ||
		!is_of_node(state, node, &value))
		return;
	node->own = palloc(quant->shape.own_size);
	omen_quant_encode_own(quant, value.payload, node->own, state->scratch);
	omen_quant_own_to_pair(quant, node->own, node->pair);
}

/* Has the node the code that the value had before? */
static bool
is_of_node(RecentreState *state, const EarlyNode *node,
		   const OmenHnswValue *value)
{
	const OmenQuantizer *early = state->hnsw->early;
	Size		size = early->shape.own_size;
	uint8	   *own = palloc(size);
	OmenHnswSlot slot;
	Buffer		buffer;
	bool		same;

	omen_quant_encode_own(early, value->payload, own, state->scratch);
	buffer =
		omen_hnsw_read_slot(&state->store, node->link, OMEN_LOCK_SHARE, &slot);
	same = BufferIsValid(buffer) && (slot->flags & OMEN_SLOT_CENTRED) == 0 &&
		   memcmp(omen_hnsw_stored_own(&state->store, buffer, slot), own,
				  size) == 0;
	if (BufferIsValid(buffer))
		omen_page_release(buffer);
	pfree(own);
	return same;
}

static void
write_node(RecentreState *state, const EarlyNode *node)
{
	OmenHnswEdge edges[OMEN_MAX_LINKS];
	int			nlinks = choose_links(state, node, edges);

	rewrite_slot(state, node, edges, nlinks);
	omen_hnsw_replace_entry(state->index, state->hnsw, node->link, node->link,
							node->pair);
}

/*
 * All local: the next node, so that each can be reached (H16), then the nearest of
 * the others.  Returns how many.
 */
static int
choose_links(RecentreState *state, const EarlyNode *node, OmenHnswEdge *edges)
{
	const OmenQuantizer *quant = state->hnsw->quant;
	const EarlyNode *next =
		&state->nodes[(node - state->nodes + 1) % state->n];
	OmenNear   *near = palloc(state->n * sizeof(OmenNear));
	int			chosen[OMEN_MAX_LINKS];
	int			n = 0;

	for (int i = 0; i < state->n; i++)
	{
		const EarlyNode *other = &state->nodes[i];

		if (other == node || other == next)
			continue;
		near[n].node = other->link;
		near[n].pair = other->pair;
		near[n++].distance =
			omen_quant_pair_distance(quant, node->pair, other->pair);
	}
	omen_graph_sort_near(near, n);
	n = omen_graph_select(quant, near, Min(n, OMEN_SELECT_MAX),
						  state->hnsw->layout.max_links - 1, 1, true, chosen);
	form_edge(state, node, next->link, next->pair, &edges[0]);
	for (int i = 0; i < n; i++)
		form_edge(state, node, near[chosen[i]].node, near[chosen[i]].pair,
				  &edges[i + 1]);
	return n + 1;
}

static void
form_edge(RecentreState *state, const EarlyNode *node, OmenLink link,
		  const uint8 *pair, OmenHnswEdge *edge)
{
	edge->link = link;
	edge->code = palloc(Max(state->hnsw->layout.link_size, 1));
	omen_hnsw_encode_edge(state->hnsw->quant, node->pair, pair, edge,
						  state->scratch);
}

static void
rewrite_slot(RecentreState *state, const EarlyNode *node,
			 const OmenHnswEdge *edges, int nlinks)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenHnswSlot slot;
	OmenPageEdit edit;
	Buffer		buffer = omen_hnsw_read_slot(&state->store, node->link,
										OMEN_LOCK_EXCLUSIVE, &slot);

	if (!BufferIsValid(buffer))
		return;
	omen_edit_begin(&edit, state->index);
	slot = omen_edit_part(&edit, buffer, slot, layout->slot_size);
	slot->flags |= OMEN_SLOT_CENTRED;
	memcpy(omen_slot_own(layout, slot), node->own, slot->own_bytes);
	while (slot->nlinks > 0)
		omen_slot_remove_edge(layout, slot, slot->nlinks - 1);
	for (int i = 0; i < nlinks; i++)
		omen_slot_add_local(layout, slot, &edges[i]);
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}
