/*-------------------------------------------------------------------------
 *
 * verify_rows.c
 *	  Compares the rows that an index has with those of the table.
 *
 * NOTES
 *	  What either has goes into one sort by TID, which takes as much memory as
 *	  maintenance_work_mem says and files beyond that: the row, who has it, a
 *	  hash of what the index has of it or should have, and where it has it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify.h"
#include "base/compat.h"

/* Columns of the sort */
enum
{
	ROW, SOURCE, HASH, PLACE, NCOLUMNS
};

/* Who has a row; in this order, if both have */
enum
{
	IN_INDEX, IN_TABLE
};

/* What is known of one row */
typedef struct RowGroup
{
	uint64		row;
	int			nindex;
	int			ntable;
	uint64		index_hash;		/* the first one's */
	uint64		table_hash;
	uint64		place;
} RowGroup;

typedef struct TableScan
{
	OmenVerify *verify;
	const OmenVerifyRows *how;
	void	   *arg;
	MemoryContext context;		/* reset for each row */
} TableScan;

static TupleDesc row_desc(void);
static void put_row(OmenVerify *verify, uint64 row, int source, uint64 hash,
					uint64 place);
static void scan_table(TableScan *scan);
static void add_table_row(Relation index, ItemPointer tid, Datum *values,
						  bool *isnull, bool alive, void *arg);
static uint64 get_column(OmenVerify *verify, int column);
static void check_group(OmenVerify *verify, const OmenVerifyRows *how,
						void *arg, const RowGroup *group);
static void note_row(OmenVerify *verify, const OmenVerifyRows *how, void *arg,
					 const RowGroup *group, const char *invariant,
					 const char *what);
static const char *find_row_fault(OmenVerify *verify, uint64 row);
static const char *find_line_fault(OmenVerify *verify, uint64 row);

void
omen_verify_begin_rows(OmenVerify *verify)
{
	AttrNumber	columns[] = {ROW + 1, SOURCE + 1};
	Oid			operators[] = {Int8LessOperator, Int8LessOperator};
	Oid			collations[] = {InvalidOid, InvalidOid};
	bool		nulls_first[] = {false, false};
	TupleDesc	desc = row_desc();

	verify->rows = tuplesort_begin_heap(desc, lengthof(columns), columns,
										operators, collations, nulls_first,
										maintenance_work_mem, NULL,
										TUPLESORT_NONE);
	verify->put_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	verify->row_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	verify->heap_nblocks = RelationGetNumberOfBlocks(verify->heap);
	verify->fetch = table_index_fetch_begin(verify->heap);
	verify->fetched = table_slot_create(verify->heap, NULL);
	omen_page_hints_init(&verify->hints, CurrentMemoryContext);
}

static TupleDesc
row_desc(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(NCOLUMNS);

	for (int i = 0; i < NCOLUMNS; i++)
		TupleDescInitEntry(desc, i + 1, NULL, INT8OID, -1, 0);
	return desc;
}

void
omen_verify_end_rows(OmenVerify *verify)
{
	table_index_fetch_end(verify->fetch);
	ExecDropSingleTupleTableSlot(verify->fetched);
	ExecDropSingleTupleTableSlot(verify->row_slot);
	ExecDropSingleTupleTableSlot(verify->put_slot);
	tuplesort_end(verify->rows);
}

void
omen_verify_add_row(OmenVerify *verify, uint64 row, uint64 hash, uint64 place)
{
	put_row(verify, row, IN_INDEX, hash, place);
}

/* Files of the sort outlive the step that makes them */
static void
put_row(OmenVerify *verify, uint64 row, int source, uint64 hash, uint64 place)
{
	TupleTableSlot *slot = verify->put_slot;
	ResourceOwner owner = CurrentResourceOwner;

	ExecClearTuple(slot);
	slot->tts_values[ROW] = Int64GetDatum((int64) row);
	slot->tts_values[SOURCE] = Int64GetDatum(source);
	slot->tts_values[HASH] = Int64GetDatum((int64) hash);
	slot->tts_values[PLACE] = Int64GetDatum((int64) place);
	memset(slot->tts_isnull, 0, NCOLUMNS * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	CurrentResourceOwner = verify->owner;
	tuplesort_puttupleslot(verify->rows, slot);
	CurrentResourceOwner = owner;
}

void
omen_verify_compare_rows(OmenVerify *verify, const OmenVerifyRows *how,
						 void *arg)
{
	TableScan	scan = {verify, how, arg, NULL};
	RowGroup	group = {0};

	if (verify->heapallindexed)
	{
		scan.context = AllocSetContextCreate(CurrentMemoryContext,
											 "omendb verify row",
											 ALLOCSET_DEFAULT_SIZES);

		/* what is wrong with the table is not a finding: let it be an ERROR */
		scan_table(&scan);
		MemoryContextDelete(scan.context);
	}
	tuplesort_performsort(verify->rows);
	while (tuplesort_gettupleslot(verify->rows, true, false, verify->row_slot,
								  NULL))
	{
		uint64		row = get_column(verify, ROW);
		uint64		hash = get_column(verify, HASH);

		CHECK_FOR_INTERRUPTS();
		if (row != group.row)
		{
			check_group(verify, how, arg, &group);
			memset(&group, 0, sizeof(group));
			group.row = row;
		}
		if (get_column(verify, SOURCE) == IN_TABLE)
		{
			group.ntable++;
			group.table_hash = hash;
			continue;
		}
		if (group.nindex++ == 0)
			group.index_hash = hash;
		group.place = get_column(verify, PLACE);
	}
	check_group(verify, how, arg, &group);
}

static uint64
get_column(OmenVerify *verify, int column)
{
	bool		isnull;

	return (uint64) DatumGetInt64(slot_getattr(verify->row_slot, column + 1,
											   &isnull));
}

/* All rows that the snapshot sees and that belong into the index */
static void
scan_table(TableScan *scan)
{
	OmenVerify *verify = scan->verify;
	IndexInfo  *info = BuildIndexInfo(verify->index);
	TableScanDesc table_scan = table_beginscan_strat(verify->heap,
													 verify->snapshot, 0, NULL,
													 true, true);

	/* as in a concurrent build: rows of an MVCC snapshot, and no others */
	info->ii_Concurrent = true;
	info->ii_Unique = false;
	info->ii_ExclusionOps = NULL;
	info->ii_ExclusionProcs = NULL;
	info->ii_ExclusionStrats = NULL;
	table_index_build_scan(verify->heap, verify->index, info, true, false,
						   add_table_row, scan, table_scan);
}

static void
add_table_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
			  bool alive, void *arg)
{
	TableScan  *scan = arg;
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	uint64		hash;

	if (scan->how->hash(scan->arg, values, isnull, &hash))
		put_row(scan->verify, omen_tid_row(tid), IN_TABLE, hash, 0);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scan->context);
}

static void
check_group(OmenVerify *verify, const OmenVerifyRows *how, void *arg,
			const RowGroup *group)
{
	const char *fault;

	if (group->nindex == 0 && group->ntable == 0)
		return;
	if (group->nindex == 0)
	{
		note_row(verify, how, arg, group, how->invariant,
				 "is not in the index");
		return;
	}
	if (group->nindex > 1 &&
		(how->always_once || omen_verify_sees(verify, group->row)))
		note_row(verify, how, arg, group, how->invariant,
				 "is in the index more than once");
	if (group->ntable > 0)
	{
		if (group->index_hash != OMEN_VERIFY_ANY_HASH &&
			group->index_hash != group->table_hash)
			note_row(verify, how, arg, group, how->hash_invariant,
					 how->hash_fault);
		return;
	}
	if (!verify->heapallindexed)
		return;

	/*
	 * A row that is going, or has gone since: then another one may have got its line
	 * pointer and an entry at the same place, between two looks.
	 */
	fault = find_row_fault(verify, group->row);
	if (fault != NULL && how->is_there(arg, group->row, group->place) &&
		find_row_fault(verify, group->row) != NULL)
		note_row(verify, how, arg, group, how->invariant, fault);
}

/* Of a row that the index has, and not what the snapshot sees of the table */
static const char *
find_row_fault(OmenVerify *verify, uint64 row)
{
	return omen_verify_sees(verify, row) ?
		"is in the index and does not belong there" :
		find_line_fault(verify, row);
}

static void
note_row(OmenVerify *verify, const OmenVerifyRows *how, void *arg,
		 const RowGroup *group, const char *invariant, const char *what)
{
	BlockNumber block = InvalidBlockNumber;
	int			offset = OMEN_VERIFY_NO_OFFSET;

	if (group->nindex > 0)
		how->locate(arg, group->place, &block, &offset);
	omen_verify_note(verify, invariant, block, offset, "Row (%u,%u) %s.",
					 (uint32) (group->row >> 16),
					 (uint32) (group->row & 0xFFFF), what);
}

/*
 * What the snapshot sees is in blocks that were there when it had been taken,
 * and they stay.  The block stays pinned, by an owner that outlives the step.
 */
bool
omen_verify_sees(OmenVerify *verify, uint64 row)
{
	ItemPointerData tid;
	ResourceOwner owner = CurrentResourceOwner;
	bool		call_again = false;
	bool		all_dead = false;
	bool		seen;

	if ((BlockNumber) (row >> 16) >= verify->heap_nblocks ||
		(OffsetNumber) row == InvalidOffsetNumber)
		return false;
	omen_tid_set(&tid, row);
	CurrentResourceOwner = verify->owner;
	seen = table_index_fetch_tuple(verify->fetch, &tid, verify->snapshot,
								   verify->fetched, &call_again, &all_dead);
	ExecClearTuple(verify->fetched);
	CurrentResourceOwner = owner;
	return seen;
}

/*
 * The index is cleaned before a line pointer is free for others: so an entry
 * that leads to none, or into the middle of a chain, is wrong.  NULL if it does
 * not, or the table has no line pointers.
 */
static const char *
find_line_fault(OmenVerify *verify, uint64 row)
{
	BlockNumber block = (BlockNumber) (row >> 16);
	OffsetNumber offset = (OffsetNumber) row;
	const char *fault = NULL;
	Buffer		buffer;
	Page		page;
	ItemId		line;

	if (verify->heap->rd_tableam != GetHeapamTableAmRoutine())
		return NULL;
	if (block >= RelationGetNumberOfBlocks(verify->heap))
		return "lies beyond the end of the table";
	buffer = omen_page_pin_hinted(verify->heap, block, &verify->hints);
	omen_page_lock(buffer, OMEN_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
		fault = "is not in its block of the table";
	else
	{
		line = PageGetItemId(page, offset);
		if (!ItemIdIsUsed(line))
			fault = "is gone from the table";
		else if (ItemIdIsNormal(line) &&
				 HeapTupleHeaderIsHeapOnly((HeapTupleHeader)
										   PageGetItem(page, line)))
			fault = "is not the first of its chain";
	}
	omen_page_release(buffer);
	return fault;
}
