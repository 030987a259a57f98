/*-------------------------------------------------------------------------
 *
 * hnsw_vacuum_lists.c
 *	  Vacuum: take slots without TIDs out of the lists of nodes.
 *
 * NOTES
 *	  A node that stands for many rows leads to a list of slots with their TIDs.
 *	  Insertions put slots in front of it, and TIDs into the first one; only vacuum
 *	  changes what comes behind.  So no more than one slot is locked at a time:
 *	  one that is closed (DELETED) takes no more TIDs, and what it leads to stays.
 *	  Which slot the node itself leads to is its caller's to change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

static OmenLink skip_empty_slots(Relation index, OmenHnswIndex *hnsw,
								 OmenLink link, OmenListGuard *guard,
								 OmenLink *next);
static void set_next_slot(Relation index, OmenHnswIndex *hnsw, OmenLink link,
						  OmenLink next);
static OmenHnswSlot lock_list_slot(Relation index, OmenHnswIndex *hnsw,
								   OmenLink link, Buffer *buffer);

/*
 * Close the slots of a list that have no TID, and take them out behind those that
 * have.  Returns the first one of these, with which the list is to begin;
 * OMEN_LINK_INVALID if there is none.
 */
OmenLink
omen_hnsw_shorten_list(Relation index, OmenHnswIndex *hnsw, OmenLink list)
{
	OmenListGuard guard = OMEN_LIST_GUARD;
	OmenLink	next = OMEN_LINK_INVALID;
	OmenLink	first = skip_empty_slots(index, hnsw, list, &guard, &next);
	OmenLink	link = first;

	while (link != OMEN_LINK_INVALID)
	{
		OmenLink	after = OMEN_LINK_INVALID;
		OmenLink	rest = skip_empty_slots(index, hnsw, next, &guard, &after);

		if (rest != next)
			set_next_slot(index, hnsw, link, rest);
		link = rest;
		next = after;
	}
	return first;
}

/* What a list slot leads to; OMEN_LINK_INVALID if it is not there */
OmenLink
omen_hnsw_next_list_slot(Relation index, OmenHnswIndex *hnsw, OmenLink link)
{
	Buffer		buffer;
	OmenHnswSlot slot = lock_list_slot(index, hnsw, link, &buffer);
	OmenLink	next = OMEN_LINK_INVALID;

	if (slot != NULL)
	{
		next = slot->more_tids;
		omen_page_release(buffer);
	}
	return next;
}

/*
 * The first slot from "link" on that has TIDs, and in *next what it leads to, or
 * OMEN_LINK_INVALID.  Closes those before it.
 */
static OmenLink
skip_empty_slots(Relation index, OmenHnswIndex *hnsw, OmenLink link,
				 OmenListGuard *guard, OmenLink *next)
{
	while (link != OMEN_LINK_INVALID)
	{
		OmenHnswSlot slot;
		Buffer		buffer;
		bool		empty;

		omen_hnsw_guard_list(index, hnsw, guard, link);
		slot = lock_list_slot(index, hnsw, link, &buffer);
		if (slot == NULL)
			return OMEN_LINK_INVALID;
		*next = slot->more_tids;
		empty = slot->ntids == 0;
		if (empty && (slot->flags & OMEN_SLOT_DELETED) == 0)
		{
			OmenPageEdit edit;

			omen_edit_begin(&edit, index);
			slot = omen_edit_part(&edit, buffer, slot, hnsw->layout.slot_size);
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
set_next_slot(Relation index, OmenHnswIndex *hnsw, OmenLink link, OmenLink next)
{
	Buffer		buffer;
	OmenHnswSlot slot = lock_list_slot(index, hnsw, link, &buffer);
	OmenPageEdit edit;

	if (slot == NULL)
		return;
	omen_edit_begin(&edit, index);
	slot = omen_edit_part(&edit, buffer, slot, hnsw->layout.slot_size);
	slot->more_tids = next;
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

/* A list slot, its page exclusively locked; NULL if it is not there */
static OmenHnswSlot
lock_list_slot(Relation index, OmenHnswIndex *hnsw, OmenLink link, Buffer *buffer)
{
	const OmenHnswLayout *layout = &hnsw->layout;
	uint32		number = omen_link_number(link);
	BlockNumber block = number / layout->slots_per_page;
	OmenHnswSlot slot;

	CHECK_FOR_INTERRUPTS();
	if (block >= RelationGetNumberOfBlocks(index))
		return NULL;
	*buffer = omen_page_read(index, block, OMEN_PAGE_NODE, OMEN_LOCK_EXCLUSIVE);
	slot = omen_hnsw_page_slot(layout, BufferGetPage(*buffer),
							   number % layout->slots_per_page);
	if ((slot->flags & OMEN_SLOT_TIDLIST) != 0 &&
		slot->version == omen_link_version(link))
	{
		omen_hnsw_check_slot(index, hnsw, *buffer, slot);
		return slot;
	}
	omen_page_release(*buffer);
	return NULL;
}
