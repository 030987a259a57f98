/*-------------------------------------------------------------------------
 *
 * hnsw_slot.c
 *	  Changes to the links and keys of a slot.
 *
 * The caller works on a page copy of an edit, or on a page that nobody else
 * sees yet.  The order of links is an invariant (H3): first the local links,
 * then the nscale links at the node's own scale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "hnsw/hnsw.h"

void
omen_slot_set_keys(const OmenHnswLayout *layout, OmenHnswSlot slot,
				   const OmenHnswKeys *keys)
{
	slot->key_nulls = keys->nulls;
	memcpy(omen_slot_keys(slot), keys->codes, layout->nkeys * sizeof(uint64));
}

bool
omen_slot_has_keys(const OmenHnswLayout *layout, OmenHnswSlot slot,
				   const OmenHnswKeys *keys)
{
	return slot->key_nulls == keys->nulls &&
		memcmp(omen_slot_keys(slot), keys->codes,
			   layout->nkeys * sizeof(uint64)) == 0;
}

/*
 * The edge from a node to a neighbour, from their pair codes.  edge->code has
 * room for a link code; scratch: float[2 * code_dims].
 */
void
omen_hnsw_encode_edge(const OmenQuantizer *quant, const uint8 *centre,
					  const uint8 *neighbour, OmenHnswEdge *edge,
					  float *scratch)
{
	edge->f_add = edge->f_rescale = 0;
	if (quant->shape.link_kind != OMEN_LINK_NONE)
		omen_quant_encode_link(quant, centre, neighbour, &edge->f_add,
							   &edge->f_rescale, edge->code, scratch);
}

/* Write an edge at a place, over what was there */
void
omen_slot_set_edge(const OmenHnswLayout *layout, OmenHnswSlot slot, int at,
				   const OmenHnswEdge *edge)
{
	Assert(at >= 0 && at < layout->max_links);

	omen_slot_links(layout, slot)[at] = edge->link;
	if (layout->factors)
	{
		omen_slot_f_add(layout, slot)[at] = edge->f_add;
		omen_slot_f_rescale(layout, slot)[at] = edge->f_rescale;
	}
	if (layout->link_size > 0)
		memcpy(omen_slot_codes(layout, slot) + at * layout->link_size,
			   edge->code, layout->link_size);
}

static void
move_edge(const OmenHnswLayout *layout, OmenHnswSlot slot, int from, int to)
{
	OmenHnswEdge edge;

	if (from == to)
		return;
	edge.link = omen_slot_links(layout, slot)[from];
	edge.f_add = omen_slot_f_add(layout, slot)[from];
	edge.f_rescale = omen_slot_f_rescale(layout, slot)[from];
	edge.code = omen_slot_codes(layout, slot) + from * layout->link_size;
	omen_slot_set_edge(layout, slot, to, &edge);
}

bool
omen_slot_has_link(const OmenHnswLayout *layout, OmenHnswSlot slot,
				   OmenLink link)
{
	for (int i = 0; i < slot->nlinks; i++)
	{
		if (omen_slot_links(layout, slot)[i] == link)
			return true;
	}
	return false;
}

/* Append to the local links; the slot has room */
void
omen_slot_add_local(const OmenHnswLayout *layout, OmenHnswSlot slot,
					const OmenHnswEdge *edge)
{
	int			at = slot->nlinks - slot->nscale;

	Assert(slot->nlinks < layout->max_links);

	move_edge(layout, slot, at, slot->nlinks);
	omen_slot_set_edge(layout, slot, at, edge);
	slot->nlinks++;
}

/* Append to the links at the node's own scale; likewise */
void
omen_slot_add_scale(const OmenHnswLayout *layout, OmenHnswSlot slot,
					const OmenHnswEdge *edge)
{
	Assert(slot->nlinks < layout->max_links);

	omen_slot_set_edge(layout, slot, slot->nlinks, edge);
	slot->nlinks++;
	slot->nscale++;
}

void
omen_slot_remove_edge(const OmenHnswLayout *layout, OmenHnswSlot slot, int at)
{
	int			local = slot->nlinks - slot->nscale;

	Assert(at >= 0 && at < slot->nlinks);

	if (at < local)
	{
		move_edge(layout, slot, local - 1, at);
		at = local - 1;
	}
	else
		slot->nscale--;
	move_edge(layout, slot, slot->nlinks - 1, at);
	slot->nlinks--;

	/* what is behind the last link leads nowhere */
	omen_slot_links(layout, slot)[slot->nlinks] = 0;
}
