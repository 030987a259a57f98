/*-------------------------------------------------------------------------
 *
 * filter_allow.c
 *	  From rows that other indexes find to the set of nodes that have them.
 *
 * A bitmap of rows takes 64 bytes for each page that has one, and when it does
 * not fit into work_mem, it forgets which rows of a page those were: half of a
 * million rows fill 4 MB.  Then all rows near the query may be in the set, and
 * none of them pass.  The set of nodes has a bit for each.  So the rows of an
 * index go into it as they come, without a bitmap, and where the plan has AND or
 * OR of bitmaps, sets of nodes are combined.  Only what an index finds that cannot
 * tell rows one by one, as GIN, comes by the server's bitmap.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "executor/executor.h"
#include "executor/nodeIndexscan.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/tid.h"
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

/* As many rows are sorted, to read each leaf of the map once for all of them */
#define LEAST_AT_ONCE	1024
#define MOST_AT_ONCE	32768

typedef struct OmenFilterRows
{
	int			n;
	int			size;
	bool		sorted;
	uint64		rows[FLEXIBLE_ARRAY_MEMBER];	/* block number and, below, offset
												 * number */
} OmenFilterRows;

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE uint64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static void run_plan(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					 PlanState *state);
static void run_any(OmenFilterAllow *allow, OmenTidMapCursor *cursor, int n,
					PlanState **states);
static void run_all(OmenFilterAllow *allow, OmenTidMapCursor *cursor, int n,
					PlanState **states);
static void scan_index(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					   BitmapIndexScanState *node);
static void scan_bitmap(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
						PlanState *state);
static void begin_row_scan(BitmapIndexScanState *node, Relation heap);
static OmenTidMapCursor *begin_set(OmenFilterAllow *allow, Relation index);
static OmenFilterRows *make_rows(double expected);
static double add_scanned(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
						  IndexScanDesc scan, OmenFilterRows *rows);
static void add_sorted(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					   OmenFilterRows *rows);
static void add_bitmap(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					   TIDBitmap *bitmap);
static Size words_for(uint32 nbits);
static void clear_bits(OmenFilterAllow *allow, uint32 nbits);
static void add_rows(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					 BlockNumber block, int n, const OffsetNumber *offsets);
static void flush_batch(OmenFilterAllow *allow, OmenTidMapCursor *cursor);
static void allow_nodes(OmenFilterAllow *allow, int n, const OmenLink *links);

bool
omen_filter_allow_run(OmenFilterAllow *allow, Relation index,
					  PlanState *state)
{
	MemoryContext old = MemoryContextSwitchTo(allow->context);
	OmenTidMapCursor *cursor = begin_set(allow, index);

	MemoryContextSwitchTo(old);
	if (cursor == NULL)
		return false;
	run_plan(allow, cursor, state);
	pfree(cursor);
	return true;
}

/* Add the nodes whose rows MultiExecProcNode() would have a bitmap of */
static void
run_plan(OmenFilterAllow *allow, OmenTidMapCursor *cursor, PlanState *state)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (state->chgParam != NULL)
		ExecReScan(state);
	if (IsA(state, BitmapIndexScanState) &&
		((BitmapIndexScanState *) state)->biss_RelationDesc->rd_indam->amgettuple)
		scan_index(allow, cursor, (BitmapIndexScanState *) state);
	else if (IsA(state, BitmapIndexScanState))
		scan_bitmap(allow, cursor, state);
	else
	{
		if (state->instrument)
			InstrStartNode(state->instrument);
		if (IsA(state, BitmapOrState))
			run_any(allow, cursor, ((BitmapOrState *) state)->nplans,
					((BitmapOrState *) state)->bitmapplans);
		else
			run_all(allow, cursor, castNode(BitmapAndState, state)->nplans,
					((BitmapAndState *) state)->bitmapplans);
		if (state->instrument)
			InstrStopNode(state->instrument, 0);
	}
}

static void
run_any(OmenFilterAllow *allow, OmenTidMapCursor *cursor, int n,
		PlanState **states)
{
	for (int i = 0; i < n; i++)
		run_plan(allow, cursor, states[i]);
}

/*
 * Each in a set of its own.  A node with several rows may be in all of these
 * without a row that is: restrictions are evaluated on the row.
 */
static void
run_all(OmenFilterAllow *allow, OmenTidMapCursor *cursor, int n,
		PlanState **states)
{
	Size		nwords = words_for(allow->set.nbits);
	Size		size = nwords * sizeof(uint64);
	uint64	   *others = allow->bits;
	uint64		cardinality = allow->set.cardinality;
	uint64	   *all = MemoryContextAllocHuge(allow->context, size);
	uint64	   *each = MemoryContextAllocHuge(allow->context, size);

	memset(all, -1, size);
	allow->bits = each;
	for (int i = 0; i < n; i++)
	{
		memset(each, 0, size);
		allow->set.cardinality = 0;
		run_plan(allow, cursor, states[i]);
		if (allow->set.cardinality == 0)
			break;
		for (Size w = 0; w < nwords; w++)
			all[w] &= each[w];
	}
	allow->bits = others;
	if (allow->set.cardinality == 0)
		allow->set.cardinality = cardinality;
	else
	{
		for (Size w = 0; w < nwords; w++)
			others[w] |= all[w];
		allow->set.cardinality = pg_popcount((const char *) others, (int) size);
	}
	pfree(each);
	pfree(all);
}

/* What MultiExecBitmapIndexScan() does, but for the bitmap */
static void
scan_index(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
		   BitmapIndexScanState *node)
{
	PlanState  *ps = &node->ss.ps;
	OmenFilterRows *rows = make_rows(ps->plan->plan_rows);
	double		nrows = 0;
	bool		more = true;

	if (ps->instrument)
		InstrStartNode(ps->instrument);
	if (node->biss_ScanDesc->heapRelation == NULL)
		begin_row_scan(node, allow->heap);
	if (!node->biss_RuntimeKeysReady &&
		(node->biss_NumRuntimeKeys != 0 || node->biss_NumArrayKeys != 0))
	{
		ExecReScan(ps);
		more = node->biss_RuntimeKeysReady;
	}
	for (; more; more = ExecIndexAdvanceArrayKeys(node->biss_ArrayKeys,
												  node->biss_NumArrayKeys))
	{
		index_rescan(node->biss_ScanDesc, node->biss_ScanKeys,
					 node->biss_NumScanKeys, NULL, 0);
		nrows += add_scanned(allow, cursor, node->biss_ScanDesc, rows);
	}
	add_sorted(allow, cursor, rows);
	flush_batch(allow, cursor);
	if (ps->instrument)
		InstrStopNode(ps->instrument, nrows);
	pfree(rows);
}

static void
scan_bitmap(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
			PlanState *state)
{
	TIDBitmap  *bitmap = (TIDBitmap *) MultiExecProcNode(state);

	if (bitmap == NULL || !IsA(bitmap, TIDBitmap))
		elog(ERROR, "unrecognized result from subplan");
	add_bitmap(allow, cursor, bitmap);
	tbm_free(bitmap);
}

/*
 * The node's own scan knows no table.  The one that takes its place is the
 * node's too, which ends it, and has what EXPLAIN tells of it.
 */
static void
begin_row_scan(BitmapIndexScanState *node, Relation heap)
{
	MemoryContext old =
		MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);

	index_endscan(node->biss_ScanDesc);
	node->biss_ScanDesc = omen_compat_index_beginscan(heap, node);
	MemoryContextSwitchTo(old);
}

static OmenFilterRows *
make_rows(double expected)
{
	int			size = (int) Max(Min(expected * 1.25, MOST_AT_ONCE),
								 LEAST_AT_ONCE);
	OmenFilterRows *rows = palloc(offsetof(OmenFilterRows, rows) +
								  size * sizeof(uint64));

	rows->n = 0;
	rows->size = size;
	rows->sorted = true;
	return rows;
}

static double
add_scanned(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
			IndexScanDesc scan, OmenFilterRows *rows)
{
	ItemPointer tid;
	double		nrows = 0;

	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		uint64		row = omen_tid_row(tid);

		if (rows->n == rows->size)
			add_sorted(allow, cursor, rows);
		rows->sorted &= rows->n == 0 || rows->rows[rows->n - 1] < row;
		rows->rows[rows->n++] = row;
		nrows++;
	}
	return nrows;
}

static void
add_sorted(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
		   OmenFilterRows *rows)
{
	CHECK_FOR_INTERRUPTS();
	if (!rows->sorted)
		sort_rows(rows->rows, rows->n);
	for (int i = 0; i < rows->n; i++)
	{
		OffsetNumber offset = (OffsetNumber) rows->rows[i];

		add_rows(allow, cursor, (BlockNumber) (rows->rows[i] >> 16), 1,
				 &offset);
	}
	rows->n = 0;
	rows->sorted = true;
}

bool
omen_filter_allow_load(OmenFilterAllow *allow, Relation index,
					   TIDBitmap *bitmap)
{
	OmenTidMapCursor *cursor = begin_set(allow, index);

	if (cursor == NULL)
		return false;
	add_bitmap(allow, cursor, bitmap);
	pfree(cursor);
	return true;
}

static void
add_bitmap(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
		   TIDBitmap *bitmap)
{
	OffsetNumber all[MaxHeapTuplesPerPage];
	OmenCompatBitmap pages;

	for (int i = 0; i < lengthof(all); i++)
		all[i] = FirstOffsetNumber + i;

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

/* The set without a node, and a cursor on the map; NULL if that has not all */
static OmenTidMapCursor *
begin_set(OmenFilterAllow *allow, Relation index)
{
	OmenHnswIndex *hnsw = omen_hnsw_open(index);
	OmenTidMapCursor *cursor = omen_tidmap_begin(index, hnsw);

	if (!cursor->complete)
	{
		pfree(cursor);
		return NULL;
	}
	/* nodes of rows that the snapshot sees were there when it was taken */
	clear_bits(allow, RelationGetNumberOfBlocks(index) *
			   hnsw->layout.slots_per_page);
	return cursor;
}

static Size
words_for(uint32 nbits)
{
	return ((Size) nbits + 63) / 64;
}

/* An empty set of this many numbers, in the memory that there is */
static void
clear_bits(OmenFilterAllow *allow, uint32 nbits)
{
	Size		nwords = words_for(nbits);

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
		else if (batch->n[cell.plane] == OMEN_TIDMAP_ENTRIES)
			flush_batch(allow, cursor); /* a row came twice */
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
