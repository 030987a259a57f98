/*-------------------------------------------------------------------------
 *
 * hnsw_rows.c
 *	  Rows of the table, looked up for their exact distance to a query.
 *
 * NOTES
 *	  A row costs three dependent cache misses in the buffer mapping before its
 *	  page is touched, as much as a node.  So the backend remembers in which
 *	  buffer it has met each block of the table, as it does for the index, and
 *	  leaves the block pinned where the heap looks first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/heapam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_rows.h"

struct OmenRowReader
{
	OmenHnswIndex *hnsw;
	const OmenQuery *query;
	Snapshot	snapshot;
	MemoryContext context;		/* reset for each row */
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	IndexInfo  *info;
	EState	   *estate;			/* for expressions; NULL if none */
};

static void forget_keys(IndexInfo *info);
static bool read_value(OmenRowReader *rows, const ItemPointerData *tid,
					   OmenHnswValue *value);
static void forget_row(OmenRowReader *rows);
static bool fetch_row(OmenRowReader *rows, const ItemPointerData *tid);
static bool form_column(OmenRowReader *rows, Datum *datum);

OmenRowReader *
omen_rows_open(Relation heap, Relation index, Snapshot snapshot,
			   OmenHnswIndex *hnsw, const OmenQuery *query)
{
	OmenRowReader *rows = palloc0(sizeof(OmenRowReader));

	rows->hnsw = hnsw;
	rows->query = query;
	rows->snapshot = snapshot;
	rows->context = AllocSetContextCreate(CurrentMemoryContext,
										  "omendb scan row",
										  ALLOCSET_DEFAULT_SIZES);
	rows->fetch = table_index_fetch_begin(heap);
	rows->slot = table_slot_create(heap, NULL);
	rows->info = BuildIndexInfo(index);
	forget_keys(rows->info);
	if (rows->info->ii_Expressions != NIL)
		rows->estate = CreateExecutorState();
	return rows;
}

/* For the distance, the first column is enough */
static void
forget_keys(IndexInfo *info)
{
	if (info->ii_IndexAttrNumbers[0] == InvalidAttrNumber)
		info->ii_Expressions = list_make1(linitial(info->ii_Expressions));
	else
		info->ii_Expressions = NIL;
	info->ii_NumIndexAttrs = 1;
}

bool
omen_rows_distance(OmenRowReader *rows, const ItemPointerData *tid,
				   float *distance)
{
	OmenHnswValue value;
	bool		usable = read_value(rows, tid, &value);

	if (usable)
		*distance = omen_query_exact(rows->query, value.payload);
	forget_row(rows);

	/* a distance that is no number must not break the queue's order */
	if (usable && isnan(*distance))
		*distance = get_float4_infinity();
	return usable;
}

bool
omen_rows_copy(OmenRowReader *rows, const ItemPointerData *tid,
			   OmenHnswValue *value)
{
	bool		usable = read_value(rows, tid, value);

	if (usable)
		value->payload = memcpy(palloc(value->size), value->payload,
								value->size);
	forget_row(rows);
	return usable;
}

/*
 * What the index has of a row, until it is forgotten; false if it has nothing or
 * the snapshot does not see the row
 */
static bool
read_value(OmenRowReader *rows, const ItemPointerData *tid,
		   OmenHnswValue *value)
{
	MemoryContext old;
	Datum		datum;
	bool		usable;

	if (!fetch_row(rows, tid))
		return false;
	MemoryContextReset(rows->context);
	old = MemoryContextSwitchTo(rows->context);
	usable = form_column(rows, &datum) &&
		omen_hnsw_form_value(rows->hnsw->opclass,
							 rows->hnsw->meta.shape.dims, datum, value);
	MemoryContextSwitchTo(old);
	return usable;
}

static void
forget_row(OmenRowReader *rows)
{
	if (rows->estate)
		ResetPerTupleExprContext(rows->estate);
	ExecClearTuple(rows->slot);
}

/* False if the snapshot does not see it */
static bool
fetch_row(OmenRowReader *rows, const ItemPointerData *tid)
{
	ItemPointerData fetched = *tid;
	bool		call_again = false;
	bool		all_dead = false;

	omen_rows_pin(rows->fetch, rows->hnsw, tid);
	return table_index_fetch_tuple(rows->fetch, &fetched, rows->snapshot,
								   rows->slot, &call_again, &all_dead);
}

/* The first column of the index, of the row that was fetched; false: NULL */
static bool
form_column(OmenRowReader *rows, Datum *datum)
{
	bool		isnull;

	if (rows->estate)
		GetPerTupleExprContext(rows->estate)->ecxt_scantuple = rows->slot;
	FormIndexDatum(rows->info, rows->slot, rows->estate, datum, &isnull);
	return !isnull;
}

void
omen_rows_close(OmenRowReader *rows)
{
	table_index_fetch_end(rows->fetch);
	ExecDropSingleTupleTableSlot(rows->slot);
	if (rows->estate)
		FreeExecutorState(rows->estate);
}

void
omen_rows_prefetch(const OmenHnswIndex *hnsw, const ItemPointerData *tids,
				   int n)
{
	for (int i = 0; i < n; i++)
		omen_page_prefetch_line(&tids[i], &hnsw->heap_hints);
	for (int i = 0; i < n; i++)
		omen_page_prefetch_row(&tids[i], &hnsw->heap_hints);
}

/* Nothing is read by hints, and so ahead, of tables of other access methods */
int
omen_rows_ahead(Relation heap, OmenHnswIndex *hnsw)
{
	return omen_page_ahead(heap, &hnsw->heap_hints);
}

void
omen_rows_read_ahead(Relation heap, OmenHnswIndex *hnsw,
					 const ItemPointerData *tid)
{
	omen_page_read_ahead(heap, ItemPointerGetBlockNumberNoCheck(tid),
						 &hnsw->heap_hints);
}

void
omen_rows_pin(IndexFetchTableData *fetch, OmenHnswIndex *hnsw,
			  const ItemPointerData *tid)
{
	IndexFetchHeapData *heap_fetch = (IndexFetchHeapData *) fetch;
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (fetch == NULL || fetch->rel->rd_tableam != GetHeapamTableAmRoutine())
		return;
	if (BufferIsValid(heap_fetch->xs_cbuf))
	{
		if (BufferGetBlockNumber(heap_fetch->xs_cbuf) == block)
			return;
		ReleaseBuffer(heap_fetch->xs_cbuf);
		heap_fetch->xs_cbuf = InvalidBuffer;
	}
	heap_fetch->xs_cbuf = omen_page_pin_hinted(fetch->rel, block,
											   &hnsw->heap_hints);
}
