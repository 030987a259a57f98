/*-------------------------------------------------------------------------
 *
 * hnsw_repair.c
 *	  Vacuum: replace links to DELETED nodes.
 *
 * NOTES
 *	  A node that linked to a DELETED one gets links to what that one linked to,
 *	  and to what lies behind those that are DELETED as well.  It is copied, its
 *	  links are chosen without a lock, and then it is locked to write them: what
 *	  insertions have added meanwhile stays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "graph/numberset.h"
#include "hnsw/hnsw.h"

/* DELETED nodes that are passed in the search for others behind them */
#define MAX_PASSED			256

/* Neighbours that are to link back to a node half of whose links were dead */
#define REPAIR_BACK_LINKS	2

typedef struct RepairState
{
	Relation	index;
	OmenHnswIndex *hnsw;
	OmenHnswStore *store;
	const OmenVacuumNodes *vacuum;
} RepairState;

static bool needs_repair(RepairState *state, OmenHnswSlot slot);
static void repair_node(RepairState *state, OmenLink link);
static bool has_local(const OmenHnswNodeCopy *node, OmenLink link);
static int	collect_near(RepairState *state, const OmenHnswNodeCopy *node,
						 OmenNear *near);
static void add_near(RepairState *state, const OmenHnswNodeCopy *node,
					 OmenLink link, omen_numberset_hash *known,
					 OmenNear *near, int *n);
static void write_repair(RepairState *state, const OmenHnswNodeCopy *node,
						 const OmenNear *near, const int *chosen, int n);
static void link_back(RepairState *state, const OmenHnswNodeCopy *node,
					  const OmenNear *near);
static bool is_deleted(const RepairState *state, OmenLink link);

/*
 * Replace links to DELETED nodes in all nodes of a page, which comes locked and is
 * released.  "store" is one without a query; "vacuum" says which are DELETED.
 */
void
omen_hnsw_repair_page(OmenHnswStore *store, const OmenVacuumNodes *vacuum,
					  Buffer buffer, OmenPageKind kind)
{
	RepairState state = {
		.index = store->index,
		.hnsw = store->hnsw,
		.store = store,
		.vacuum = vacuum
	};
	const OmenHnswLayout *layout = &store->hnsw->layout;
	BlockNumber block = BufferGetBlockNumber(buffer);
	OmenLink   *links = palloc(layout->slots_per_page * sizeof(OmenLink));
	int			n = 0;

	if (kind == OMEN_PAGE_NODE)
		omen_hnsw_check_slots(state.index, state.hnsw, buffer);
	for (int i = 0; kind == OMEN_PAGE_NODE && i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);

		if ((slot->flags & OMEN_SLOT_KIND) == OMEN_SLOT_USED &&
			needs_repair(&state, slot))
			links[n++] = omen_link_form(block * layout->slots_per_page + i,
										slot->version);
	}
	omen_page_release(buffer);

	for (int i = 0; i < n; i++)
		repair_node(&state, links[i]);
}

static bool
needs_repair(RepairState *state, OmenHnswSlot slot)
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
repair_node(RepairState *state, OmenLink link)
{
	OmenHnswNodeCopy node;
	OmenNear   *near;
	int			n;
	bool	   *kept;
	int			chosen[OMEN_MAX_LINKS];
	int			max_local;
	int			ndead = 0;

	if (!omen_hnsw_copy_node(state->store, link, &node))
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
collect_near(RepairState *state, const OmenHnswNodeCopy *node, OmenNear *near)
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
		int			nlinks = omen_hnsw_copy_links(state->store, dead[i],
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
	omen_graph_sort_near(near, n);
	return n;
}

static void
add_near(RepairState *state, const OmenHnswNodeCopy *node, OmenLink link,
		 omen_numberset_hash *known, OmenNear *near, int *n)
{
	uint8	   *pair;
	Size		size;
	bool		found;

	if (is_deleted(state, link))
		return;
	omen_numberset_insert(known, omen_link_number(link), &found);
	if (found || !omen_hnsw_read_pair(state->store, link, &pair, &size))
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
write_repair(RepairState *state, const OmenHnswNodeCopy *node,
			 const OmenNear *near, const int *chosen, int n)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenHnswEdge *edges = palloc(Max(n, 1) * sizeof(OmenHnswEdge));
	float	   *scratch = palloc((2 * state->hnsw->meta.shape.code_dims + 1) *
								 sizeof(float));
	OmenPageEdit edit;
	OmenHnswSlot slot;
	Buffer		buffer;

	for (int i = 0; i < n; i++)
	{
		edges[i].link = near[chosen[i]].node;
		edges[i].code = palloc(Max(layout->link_size, 1));
		omen_hnsw_encode_edge(state->hnsw->quant, node->pair,
							  near[chosen[i]].pair, &edges[i], scratch);
	}

	buffer = omen_hnsw_read_slot(state->store, node->link,
								 OMEN_LOCK_EXCLUSIVE, &slot);
	if (!BufferIsValid(buffer))
		return;
	omen_edit_begin(&edit, state->index);
	slot = omen_edit_part(&edit, buffer, slot, layout->slot_size);

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
link_back(RepairState *state, const OmenHnswNodeCopy *node,
		  const OmenNear *near)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	float	   *scratch = palloc((2 * state->hnsw->meta.shape.code_dims + 1) *
								 sizeof(float));
	OmenHnswEdge edge = {.link = node->link};
	OmenPageEdit edit;
	OmenHnswSlot slot;
	Buffer		buffer;
	int			at = -1;

	edge.code = palloc(Max(layout->link_size, 1));
	omen_hnsw_encode_edge(state->hnsw->quant, near->pair, node->pair, &edge,
						  scratch);
	buffer = omen_hnsw_read_slot(state->store, near->node,
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
		omen_edit_begin(&edit, state->index);
		slot = omen_edit_part(&edit, buffer, slot, layout->slot_size);
		if (at >= 0)
			omen_slot_set_edge(layout, slot, at, &edge);
		else
			omen_slot_add_local(layout, slot, &edge);
		omen_edit_finish(&edit);
	}
	omen_page_release(buffer);
}

static bool
is_deleted(const RepairState *state, OmenLink link)
{
	return state->vacuum->is_deleted(state->vacuum->arg, link);
}
