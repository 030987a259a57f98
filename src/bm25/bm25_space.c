/*-------------------------------------------------------------------------
 *
 * bm25_space.c
 *	  Blocks for segments, and those that segments leave behind.
 *
 * NOTES
 *	  The metapage has a list of extents that nothing refers to.  One process
 *	  at a time takes from it and adds to it, in memory; the list is written
 *	  with the record that publishes a segment.  After a crash before that, the
 *	  list is what it was, and blocks by which the file has grown are found by
 *	  VACUUM.  All pages of an extent were in a segment and are logged before
 *	  it is in the list, so no crash, standby or backup has an extent whose pages
 *	  are missing or in another use; those by which the file has grown are not
 *	  logged, so some may be others' (omen_page_is_unclaimed()).
 *
 *	  Readers may still be at what an extent had when it came into the list:
 *	  they notice when it gets another use, and start anew.  To spare them
 *	  that, extents wait until no transaction of that time is left, unless too
 *	  much of the file waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "bm25/bm25.h"

/* The file grows by so many pages at a time, at least and at most */
#define LEAST_GROWTH	8
#define MOST_GROWTH		64

/* So many pages may wait for old transactions, and a quarter of the file */
#define MOST_WAITING	1024

static void refill(OmenBm25Space *space);
static int	choose_extent(OmenBm25Space *space);
static void remove_extent(OmenBm25Space *space, int i);
static void add_extent(OmenBm25Space *space, OmenBm25ExtentData extent);
static int	compare_extents(const void *a, const void *b);

void
omen_bm25_space_begin(OmenBm25Space *space, Relation index, Relation heap,
					  const OmenBm25MetaPageData *meta)
{
	space->index = index;
	space->heap = heap;
	space->nextents = meta->nextents;
	memcpy(space->extents, meta->extents, sizeof(space->extents));
	space->next = 0;
	space->left = 0;
	space->grown = false;
	space->handed = 0;
}

BlockNumber
omen_bm25_space_take(OmenBm25Space *space)
{
	BlockNumber block;

	do
	{
		if (space->left == 0)
			refill(space);
		space->left--;
		block = space->next++;
	} while (space->grown && !omen_page_is_unclaimed(space->index, block));
	space->handed++;
	return block;
}

/* An extent, or new pages */
static void
refill(OmenBm25Space *space)
{
	int			i = choose_extent(space);

	if (i >= 0)
	{
		space->next = space->extents[i].start;
		space->left = space->extents[i].npages;
		space->grown = false;
		remove_extent(space, i);
	}
	else
	{
		space->grown = true;
		space->next = omen_page_extend_by(space->index,
										  Min(Max(space->handed / 4,
												  LEAST_GROWTH),
											  MOST_GROWTH),
										  &space->left);
	}
}

void
omen_bm25_space_settle(OmenBm25Space *space)
{
	OmenBm25ExtentData rest = {space->next, space->left, 0};
	int			n = 0;

	/* pages of zeros are anybody's */
	for (; space->grown && space->left > 0; space->left--)
		omen_page_record_free(space->index, space->next++);
	if (space->left > 0)
		add_extent(space, rest);
	space->left = 0;

	/* join neighbours */
	qsort(space->extents, space->nextents, sizeof(OmenBm25ExtentData),
		  compare_extents);
	for (int i = 0; i < space->nextents; i++)
	{
		OmenBm25ExtentData *last = n > 0 ? &space->extents[n - 1] : NULL;
		OmenBm25ExtentData *this = &space->extents[i];

		if (last != NULL && last->start + last->npages == this->start)
		{
			last->npages += this->npages;
			last->since = Max(last->since, this->since);
		}
		else
			space->extents[n++] = *this;
	}
	space->nextents = n;
}

void
omen_bm25_space_retire(OmenBm25Space *space, BlockNumber start, uint32 npages)
{
	OmenBm25ExtentData extent = {start, npages,
	U64FromFullTransactionId(ReadNextFullTransactionId())};

	add_extent(space, extent);
}

/*
 * The largest extent that nobody reads any more, or if too much waits for
 * that, the one that has waited longest; -1 if there is none.
 */
static int
choose_extent(OmenBm25Space *space)
{
	int			best = -1;
	int			oldest = -1;
	uint64		waiting = 0;

	for (int i = 0; i < space->nextents; i++)
	{
		const OmenBm25ExtentData *extent = &space->extents[i];

		if (extent->since == 0 ||
			GlobalVisCheckRemovableFullXid(space->heap,
										   FullTransactionIdFromU64(extent->since)))
		{
			if (best < 0 || extent->npages > space->extents[best].npages)
				best = i;
			continue;
		}
		waiting += extent->npages;
		if (oldest < 0 || extent->since < space->extents[oldest].since)
			oldest = i;
	}
	if (best < 0 && waiting > MOST_WAITING &&
		waiting > RelationGetNumberOfBlocks(space->index) / 4)
		return oldest;
	return best;
}

static void
remove_extent(OmenBm25Space *space, int i)
{
	space->extents[i] = space->extents[--space->nextents];
}

/* If there are too many, the smallest is left for VACUUM to find */
static void
add_extent(OmenBm25Space *space, OmenBm25ExtentData extent)
{
	int			smallest = 0;

	if (space->nextents < OMEN_BM25_MAX_EXTENTS)
	{
		space->extents[space->nextents++] = extent;
		return;
	}
	for (int i = 1; i < space->nextents; i++)
	{
		if (space->extents[i].npages < space->extents[smallest].npages)
			smallest = i;
	}
	if (space->extents[smallest].npages < extent.npages)
		space->extents[smallest] = extent;
}

static int
compare_extents(const void *a, const void *b)
{
	BlockNumber x = ((const OmenBm25ExtentData *) a)->start;
	BlockNumber y = ((const OmenBm25ExtentData *) b)->start;

	return (x > y) - (x < y);
}
