/*-------------------------------------------------------------------------
 *
 * filter_allow.c
 *	  From a bitmap of rows to the set of nodes that have them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_tidmap.h"
#include "planner/filter.h"

static void clear_bits(OmenFilterAllow *allow, uint32 nbits);
static void allow_rows(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					   BlockNumber block, int n, const OffsetNumber *offsets);

bool
omen_filter_allow_load(OmenFilterAllow *allow, Relation index,
					   TIDBitmap *bitmap)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omendb TID map",
												  ALLOCSET_DEFAULT_SIZES);
	OmenHnswIndex *hnsw = omen_hnsw_open(index);
	OffsetNumber all[MaxHeapTuplesPerPage];
	OmenTidMapCursor *cursor;
	OmenCompatBitmap pages;
	bool		complete;

	/* nodes of rows that the snapshot sees were there when it was taken */
	clear_bits(allow, RelationGetNumberOfBlocks(index) *
			   hnsw->layout.slots_per_page);
	for (int i = 0; i < lengthof(all); i++)
		all[i] = FirstOffsetNumber + i;

	MemoryContextSwitchTo(context);
	cursor = omen_tidmap_begin(index, hnsw);
	complete = cursor->complete;
	if (complete)
	{
		omen_compat_bitmap_begin(&pages, bitmap);
		while (omen_compat_bitmap_next(&pages))
		{
			CHECK_FOR_INTERRUPTS();
			if (pages.noffsets >= 0)
				allow_rows(allow, cursor, pages.block, pages.noffsets,
						   pages.offsets);
			else
			{
				allow->lossy_pages++;
				allow_rows(allow, cursor, pages.block, lengthof(all), all);
			}
		}
		omen_compat_bitmap_end(&pages);
	}
	tbm_free(bitmap);
	MemoryContextSwitchTo(context->parent);
	MemoryContextDelete(context);
	return complete;
}

/* An empty set of this many numbers, in the memory that there is */
static void
clear_bits(OmenFilterAllow *allow, uint32 nbits)
{
	Size		nwords = ((Size) nbits + 63) / 64;

	if (nwords > allow->nwords)
	{
		if (allow->bits)
			pfree(allow->bits);
		allow->bits = NULL;
		allow->nwords = 0;
		allow->bits = palloc_extended(nwords * sizeof(uint64),
									  MCXT_ALLOC_HUGE);
		allow->nwords = nwords;
	}
	memset(allow->bits, 0, nwords * sizeof(uint64));
	allow->set.kind = OMEN_ALLOW_BITSET;
	allow->set.nbits = nbits;
	allow->set.bits = allow->bits;
	allow->set.cardinality = 0;
	allow->set.estimated = false;
}

/* The nodes of n rows of a block */
static void
allow_rows(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
		   BlockNumber block, int n, const OffsetNumber *offsets)
{
	uint64	   *bits = allow->bits;
	uint64		added = 0;

	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid;
		OmenLink	link;
		uint32		number;
		uint64		bit;

		ItemPointerSet(&tid, block, offsets[i]);
		link = omen_tidmap_lookup(cursor, &tid);
		if (link == OMEN_LINK_INVALID)
			continue;
		number = omen_link_number(link);
		if (number >= allow->set.nbits)
			continue;
		bit = UINT64CONST(1) << (number % 64);
		added += (bits[number / 64] & bit) == 0;
		bits[number / 64] |= bit;
	}
	allow->set.cardinality += added;
}
