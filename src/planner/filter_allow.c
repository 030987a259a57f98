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
#include "port/pg_bitutils.h"

#include "base/compat.h"
#include "hnsw/hnsw_tidmap.h"
#include "planner/filter.h"

/*
 * Rows that have been found: their group of blocks, whose entries of the TID map lie
 * on the same leaves, one for each plane; the plane; and the entry of that leaf.  A
 * set of few rows of each block touches all leaves of the map all the same, and an
 * index brings those of one key after the other: so as many as there is room for are
 * put in the order of groups, and each leaf is read once for all of them.
 */
struct OmenFilterCells
{
	uint64	   *cells;
	uint64	   *spare;			/* as large: for put_in_order() */
	int			n;
	int			size;

	/* of one group, those on each leaf */
	int			non[OMEN_TIDMAP_PLANES];
	uint16		at[OMEN_TIDMAP_PLANES][OMEN_TIDMAP_ENTRIES];
};

#define FORM_CELL(group, plane, at) \
	((uint64) (group) << 32 | (uint64) (plane) << 16 | (at))
#define CELL_GROUP(cell)	((uint32) ((cell) >> 32))
#define CELL_PLANE(cell)	((uint32) ((cell) >> 16 & 0xFFFF))
#define CELL_AT(cell)		((uint16) (cell))

StaticAssertDecl(OMEN_TIDMAP_ENTRIES <= PG_UINT16_MAX &&
				 OMEN_TIDMAP_PLANES <= PG_UINT16_MAX,
				 "planes and entries of a leaf have numbers of 16 bits");

/* Room for so many to begin with, and at most */
#define FIRST_CELLS		1024
#define MOST_CELLS		32768

/* They are put in order by so many bits of the group at a time, at most */
#define DIGIT_BITS		11

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
static double add_scanned(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
						  IndexScanDesc scan);
static void add_bitmap(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
					   TIDBitmap *bitmap);
static Size words_for(uint32 nbits);
static void clear_bits(OmenFilterAllow *allow, uint32 nbits);
static OmenFilterCells *make_cells(void);
static inline void add_row(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
						   const ItemPointerData *tid);
static void make_room(OmenFilterAllow *allow, OmenTidMapCursor *cursor);
static void flush_cells(OmenFilterAllow *allow, OmenTidMapCursor *cursor);
static void put_in_order(OmenFilterCells *cells);
static void order_by_digit(OmenFilterCells *cells, uint32 least, int shift,
						   int bits);
static int	collect_group(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
						  int from);
static void flush_plane(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
						uint32 group, uint32 plane);
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
		nrows += add_scanned(allow, cursor, node->biss_ScanDesc);
	}
	flush_cells(allow, cursor);
	if (ps->instrument)
		InstrStopNode(ps->instrument, nrows);
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

static double
add_scanned(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
			IndexScanDesc scan)
{
	ItemPointer tid;
	double		nrows = 0;

	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		add_row(allow, cursor, tid);
		nrows++;
	}
	return nrows;
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
	OmenCompatBitmap pages;

	omen_compat_bitmap_begin(&pages, bitmap);
	while (omen_compat_bitmap_next(&pages))
	{
		bool		lossy = pages.noffsets < 0;
		int			n = lossy ? MaxHeapTuplesPerPage : pages.noffsets;

		allow->lossy_pages += lossy;
		for (int i = 0; i < n; i++)
		{
			ItemPointerData tid;

			ItemPointerSet(&tid, pages.block, lossy ? FirstOffsetNumber + i :
						   pages.offsets[i]);
			add_row(allow, cursor, &tid);
		}
	}
	flush_cells(allow, cursor);
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

	if (allow->cells == NULL)
		allow->cells = make_cells();
	allow->cells->n = 0;

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

static OmenFilterCells *
make_cells(void)
{
	OmenFilterCells *cells = palloc(sizeof(OmenFilterCells));

	cells->size = FIRST_CELLS;
	cells->cells = palloc(cells->size * sizeof(uint64));
	cells->spare = palloc(cells->size * sizeof(uint64));
	return cells;
}

/* One of those found; flush_cells() after the last one */
static inline void
add_row(OmenFilterAllow *allow, OmenTidMapCursor *cursor,
		const ItemPointerData *tid)
{
	OmenFilterCells *cells = allow->cells;
	OmenTidMapCell cell;

	if (!omen_tidmap_find_cell(tid, &cell))
		return;
	if (cells->n == cells->size)
		make_room(allow, cursor);
	cells->cells[cells->n++] = FORM_CELL(cell.group, cell.plane, cell.at);
}

static void
make_room(OmenFilterAllow *allow, OmenTidMapCursor *cursor)
{
	OmenFilterCells *cells = allow->cells;

	if (cells->size == MOST_CELLS)
	{
		flush_cells(allow, cursor);
		return;
	}
	cells->size *= 2;
	cells->cells = repalloc(cells->cells, cells->size * sizeof(uint64));
	cells->spare = repalloc(cells->spare, cells->size * sizeof(uint64));
}

/* Allow the nodes that have these rows, and have room again */
static void
flush_cells(OmenFilterAllow *allow, OmenTidMapCursor *cursor)
{
	OmenFilterCells *cells = allow->cells;
	int			done = 0;

	put_in_order(cells);
	while (done < cells->n)
		done = collect_group(allow, cursor, done);
	cells->n = 0;
}

/* By the digits of their groups: to compare them takes twenty times as long */
static void
put_in_order(OmenFilterCells *cells)
{
	uint32		least = PG_UINT32_MAX;
	uint32		greatest = 0;
	bool		in_order = true;
	int			left;
	int			shift = 0;

	for (int i = 0; i < cells->n; i++)
	{
		uint32		group = CELL_GROUP(cells->cells[i]);

		in_order &= group >= greatest;
		least = Min(least, group);
		greatest = Max(greatest, group);
	}
	if (in_order)
		return;
	left = pg_leftmost_one_pos32(greatest - least) + 1;
	for (int npasses = (left + DIGIT_BITS - 1) / DIGIT_BITS; npasses > 0;
		 npasses--)
	{
		int			bits = (left + npasses - 1) / npasses;

		order_by_digit(cells, least, shift, bits);
		shift += bits;
		left -= bits;
	}
}

static void
order_by_digit(OmenFilterCells *cells, uint32 least, int shift, int bits)
{
	uint32		starts[1 << DIGIT_BITS] = {0};
	uint64	   *from = cells->cells;
	uint32		mask = (1 << bits) - 1;
	uint32		start = 0;

	for (int i = 0; i < cells->n; i++)
		starts[(CELL_GROUP(from[i]) - least) >> shift & mask]++;
	for (uint32 digit = 0; digit <= mask; digit++)
	{
		uint32		n = starts[digit];

		starts[digit] = start;
		start += n;
	}
	for (int i = 0; i < cells->n; i++)
	{
		uint32		digit = (CELL_GROUP(from[i]) - least) >> shift & mask;

		cells->spare[starts[digit]++] = from[i];
	}
	cells->cells = cells->spare;
	cells->spare = from;
}

/* The nodes of a group's rows, which begin there; returns where they end */
static int
collect_group(OmenFilterAllow *allow, OmenTidMapCursor *cursor, int from)
{
	OmenFilterCells *cells = allow->cells;
	uint32		group = CELL_GROUP(cells->cells[from]);
	int			i = from;

	CHECK_FOR_INTERRUPTS();
	memset(cells->non, 0, sizeof(cells->non));
	for (; i < cells->n && CELL_GROUP(cells->cells[i]) == group; i++)
	{
		uint32		plane = CELL_PLANE(cells->cells[i]);

		/* a row came twice */
		if (cells->non[plane] == OMEN_TIDMAP_ENTRIES)
			flush_plane(allow, cursor, group, plane);
		cells->at[plane][cells->non[plane]++] = CELL_AT(cells->cells[i]);
	}
	for (uint32 plane = 0; plane < OMEN_TIDMAP_PLANES; plane++)
	{
		if (cells->non[plane] > 0)
			flush_plane(allow, cursor, group, plane);
	}
	return i;
}

static void
flush_plane(OmenFilterAllow *allow, OmenTidMapCursor *cursor, uint32 group,
			uint32 plane)
{
	OmenFilterCells *cells = allow->cells;
	OmenLink	links[OMEN_TIDMAP_ENTRIES];

	omen_tidmap_read(cursor, group * OMEN_TIDMAP_PLANES + plane,
					 cells->non[plane], cells->at[plane], links);
	allow_nodes(allow, cells->non[plane], links);
	cells->non[plane] = 0;
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
