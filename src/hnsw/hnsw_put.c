/*-------------------------------------------------------------------------
 *
 * hnsw_put.c
 *	  Links that are added to nodes on their pages.
 *
 * NOTES
 *	  An insertion adds a dozen.  A WAL record of one page has as much around a
 *	  link as the link is long, and one of four pages has little more; so four
 *	  pages are changed at a time, and locked in the order of blocks, as nobody
 *	  else has more than one NODE page locked.  They have been read just before,
 *	  to choose what is to link where.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

/* Pages that are changed by one record */
typedef struct LockedPages
{
	int			n;
	Buffer		buffers[MAX_GENERIC_XLOG_PAGES];
	BlockNumber last;			/* block of the last one */
} LockedPages;

static int	put_some(OmenHnswStore *store, const OmenHnswPut *puts, int n,
					 const OmenLink *others, int nothers, int *nthere);
static Buffer lock_page(OmenHnswStore *store, OmenLink link,
						LockedPages *pages);
static bool put_link(const OmenHnswLayout *layout, OmenHnswSlot slot,
					 const OmenHnswPut *put, const OmenLink *others,
					 int nothers, int *nthere);
static int	find_local(const OmenHnswLayout *layout, OmenHnswSlot slot,
					   OmenLink link);
static int	compare_nodes(const void *a, const void *b);

/*
 * Add links to the local ones of live nodes; where one has no room, in the place of
 * the victim, or of the first of the others that it has.  Returns how many of the
 * links are there then, which somebody else may have seen to.  Puts them in order.
 */
int
omen_hnsw_put_links(OmenHnswStore *store, OmenHnswPut *puts, int n,
					const OmenLink *others, int nothers)
{
	int			nthere = 0;
	int			done = 0;

	qsort(puts, n, sizeof(OmenHnswPut), compare_nodes);
	while (done < n)
	{
		CHECK_FOR_INTERRUPTS();
		done += put_some(store, puts + done, n - done, others, nothers,
						 &nthere);
	}
	return nthere;
}

/* The first of them, as many as one record may change pages for; returns how many */
static int
put_some(OmenHnswStore *store, const OmenHnswPut *puts, int n,
		 const OmenLink *others, int nothers, int *nthere)
{
	const OmenHnswLayout *layout = &store->hnsw->layout;
	LockedPages pages = {0, .last = InvalidBlockNumber};
	OmenPageEdit edit;
	bool		changed = false;
	int			i;

	omen_edit_begin(&edit, store->index);
	for (i = 0; i < n; i++)
	{
		OmenLink	node = puts[i].node;
		OmenHnswSlot slot;
		Buffer		buffer;

		if (pages.n == MAX_GENERIC_XLOG_PAGES &&
			omen_hnsw_link_block(store, node) != pages.last)
			break;
		buffer = lock_page(store, node, &pages);
		if (!BufferIsValid(buffer))
			continue;
		slot = omen_hnsw_find_slot(store, buffer, node);
		if (slot == NULL || (slot->flags & OMEN_SLOT_DELETED) != 0)
			continue;
		slot = omen_edit_part(&edit, buffer, slot, layout->slot_size);
		changed |= put_link(layout, slot, &puts[i], others, nothers, nthere);
	}
	if (changed)
		omen_edit_finish(&edit);
	else
		omen_edit_abort(&edit);
	for (int j = 0; j < pages.n; j++)
		omen_page_release(pages.buffers[j]);
	return i;
}

/* The page of a node, which is the last one or a later one */
static Buffer
lock_page(OmenHnswStore *store, OmenLink link, LockedPages *pages)
{
	BlockNumber block = omen_hnsw_link_block(store, link);
	Buffer		buffer;

	if (block == pages->last)
		return pages->buffers[pages->n - 1];
	Assert(pages->n == 0 || block > pages->last);
	buffer = omen_hnsw_read_block(store, link, OMEN_LOCK_EXCLUSIVE);
	if (BufferIsValid(buffer))
	{
		pages->buffers[pages->n++] = buffer;
		pages->last = block;
	}
	return buffer;
}

/* Returns true if the slot is not as it was */
static bool
put_link(const OmenHnswLayout *layout, OmenHnswSlot slot,
		 const OmenHnswPut *put, const OmenLink *others, int nothers,
		 int *nthere)
{
	bool		there = omen_slot_has_link(layout, slot, put->edge.link);
	bool		room = slot->nlinks < layout->max_links;
	int			at = -1;

	if (!there && !room)
	{
		at = find_local(layout, slot, put->victim);
		for (int i = 0; i < nothers && at < 0; i++)
			at = find_local(layout, slot, others[i]);
		if (at < 0)
			return false;
	}
	(*nthere)++;
	if (there)
		return false;
	if (room)
		omen_slot_add_local(layout, slot, &put->edge);
	else
		omen_slot_set_edge(layout, slot, at, &put->edge);
	return true;
}

/* Where a slot has a local link, or -1 */
static int
find_local(const OmenHnswLayout *layout, OmenHnswSlot slot, OmenLink link)
{
	int			nlocal = slot->nlinks - slot->nscale;

	for (int i = 0; i < nlocal; i++)
	{
		if (omen_slot_links(layout, slot)[i] == link)
			return i;
	}
	return -1;
}

/* By number, which is the order of blocks */
static int
compare_nodes(const void *a, const void *b)
{
	uint32		x = omen_link_number(((const OmenHnswPut *) a)->node);
	uint32		y = omen_link_number(((const OmenHnswPut *) b)->node);

	return (x > y) - (x < y);
}
