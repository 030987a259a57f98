/*-------------------------------------------------------------------------
 *
 * filter_allow.c
 *	  From a bitmap of rows to the set of nodes that have them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_tidmap.h"
#include "planner/filter.h"

/*
 * Rows of blocks whose entries of the TID map lie on the same leaves.  A bitmap
 * with few rows of each block touches all leaves of the map all the same, so
 * each is locked once, for all of its rows.
 */
typedef struct OmenFilterBatch
{
	uint32		first_leaf;
	int			n[OMEN_TIDMAP_PLANES];	/* rows on each leaf */
	uint16		at[OMEN_TIDMAP_PLANES][OMEN_TIDMAP_ENTRIES];
} OmenFilterBatch;

StaticAssertDecl(OMEN_TIDMAP_ENTRIES <= PG_UINT16_MAX,
				 "entries of a leaf have numbers of 16 bits");

static void clear_bits(OmenFilterAllow *allow, uint32 nbits);
static void add_rows(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					 BlockNumber block, int n, const OffsetNumber *offsets);
static void flush_batch(OmenFilterAllow *allow, OmenTidMapCursor *cursor);
static void allow_nodes(OmenFilterAllow *allow, int n, const OmenLink *links);

bool
omen_filter_allow_load(OmenFilterAllow *allow, Relation index,
					   TIDBitmap *bitmap)
{
	OmenHnswIndex *hnsw = omen_hnsw_open(index);
	OffsetNumber all[MaxHeapTuplesPerPage];
	OmenTidMapCursor *cursor = omen_tidmap_begin(index, hnsw);
	bool		complete = cursor->complete;
	OmenCompatBitmap pages;

	/* nodes of rows that the snapshot sees were there when it was taken */
	clear_bits(allow, RelationGetNumberOfBlocks(index) *
			   hnsw->layout.slots_per_page);
	for (int i = 0; i < lengthof(all); i++)
		all[i] = FirstOffsetNumber + i;

	if (complete)
	{
		omen_compat_bitmap_begin(&pages, bitmap);
		while (omen_compat_bitmap_next(&pages))
		{
			if (pages.noffsets >= 0)
				add_rows(allow, cursor, pages.block, pages.noffsets,
						 pages.offsets);
			else
			{
				allow->lossy_pages++;
				add_rows(allow, cursor, pages.block, lengthof(all), all);
			}
		}
		flush_batch(allow, cursor);
		omen_compat_bitmap_end(&pages);
	}
	pfree(cursor);
	return complete;
}

/* An empty set of this many numbers, in the memory that there is */
static void
clear_bits(OmenFilterAllow *allow, uint32 nbits)
{
	Size		nwords = ((Size) nbits + 63) / 64;

	if (allow->batch == NULL)
		allow->batch = palloc(sizeof(OmenFilterBatch));
	allow->batch->first_leaf = 0;
	memset(allow->batch->n, 0, sizeof(allow->batch->n));

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

/* The next block: n of its rows */
static void
add_rows(OmenFilterAllow *allow, OmenTidMapCursor *cursor, BlockNumber block,
		 int n, const OffsetNumber *offsets)
{
	OmenFilterBatch *batch = allow->batch;

	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid;
		OmenTidMapCell cell;

		ItemPointerSet(&tid, block, offsets[i]);
		if (!omen_tidmap_find_cell(&tid, &cell))
			continue;
		if (cell.leaf - cell.plane != batch->first_leaf)
		{
			flush_batch(allow, cursor);
			batch->first_leaf = cell.leaf - cell.plane;
		}
		batch->at[cell.plane][batch->n[cell.plane]++] = (uint16) cell.at;
	}
}

static void
flush_batch(OmenFilterAllow *allow, OmenTidMapCursor *cursor)
{
	OmenFilterBatch *batch = allow->batch;
	OmenLink	links[OMEN_TIDMAP_ENTRIES];

	CHECK_FOR_INTERRUPTS();
	for (int plane = 0; plane < OMEN_TIDMAP_PLANES; plane++)
	{
		int			n = batch->n[plane];

		if (n == 0)
			continue;
		omen_tidmap_read(cursor, batch->first_leaf + plane, n,
						 batch->at[plane], links);
		allow_nodes(allow, n, links);
		batch->n[plane] = 0;
	}
}

static void
allow_nodes(OmenFilterAllow *allow, int n, const OmenLink *links)
{
	uint64	   *bits = allow->bits;
	uint32		nbits = allow->set.nbits;
	uint64		added = 0;

	for (int i = 0; i < n; i++)
	{
		uint32		number = omen_link_number(links[i]);
		uint64		bit = UINT64CONST(1) << (number % 64);

		/* no row, or one that is newer than the snapshot */
		if (links[i] == 0 || number >= nbits)
			continue;
		added += (bits[number / 64] & bit) == 0;
		bits[number / 64] |= bit;
	}
	allow->set.cardinality += added;
}
