/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  omen_index_stats(): what an index is made of, by a look at every page.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#include "analytics/analytics.h"
#include "base/compat.h"

OMEN_FUNCTION(omen_index_stats);

typedef struct PageCounts
{
	int64		rows;
	int64		nodes;
	int64		deleted_nodes;
	int64		list_slots;
	int64		free_slots;
	int64		links;			/* of nodes that are not deleted */
	int64		pages[OMEN_PAGE_LAST_KIND + 1];	/* by OmenPageKind */
	int64		invalid_pages;
} PageCounts;

typedef struct StatsState
{
	Relation	index;
	OmenHnswIndex hnsw;			/* what checks of slots need */
	BufferAccessStrategy strategy;
	BlockNumber nblocks;
	PageCounts	counts;
} StatsState;

static void count_pages(StatsState *state);
static void count_page(StatsState *state, BlockNumber block);
static void count_slots(StatsState *state, Buffer buffer, PageCounts *sum);
static Datum form_result(const StatsState *state, TupleDesc desc);

Datum
omen_index_stats(PG_FUNCTION_ARGS)
{
	StatsState *state = palloc0(sizeof(StatsState));
	TupleDesc	desc;
	Relation	heap;
	Datum		result;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	state->index = omen_open_index(PG_GETARG_OID(0), &heap);
	omen_check_stat_privilege(state->index);
	omen_hnsw_read_meta(state->index, &state->hnsw.meta);
	omen_hnsw_layout(&state->hnsw.meta, &state->hnsw.layout);
	state->nblocks = RelationGetNumberOfBlocks(state->index);
	state->strategy = GetAccessStrategy(BAS_BULKREAD);

	count_pages(state);

	FreeAccessStrategy(state->strategy);
	result = form_result(state, BlessTupleDesc(desc));
	omen_close_index(state->index, heap);
	return result;
}

/*
 * A broken page, whoever finds it to be so, the server or we, is counted and
 * passed over.  Its error ends a subtransaction, which releases the page.
 */
static void
count_pages(StatsState *state)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile BlockNumber block = 0;

	while (block < state->nblocks)
	{
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			for (; block < state->nblocks; block++)
			{
				CHECK_FOR_INTERRUPTS();
				count_page(state, block);
			}
			ReleaseCurrentSubTransaction();
		}
		PG_CATCH();
		{
			ErrorData  *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
			if (error->sqlerrcode != ERRCODE_INDEX_CORRUPTED &&
				error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
				ReThrowError(error);
			FreeErrorData(error);
			state->counts.invalid_pages++;
			block++;
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
}

static void
count_page(StatsState *state, BlockNumber block)
{
	PageCounts	sum = state->counts;
	OmenPageKind kind;
	Buffer		buffer = omen_page_read_any(state->index, block,
											OMEN_LOCK_SHARE, state->strategy,
											&kind);

	sum.pages[kind]++;
	if (kind == OMEN_PAGE_NODE)
		count_slots(state, buffer, &sum);
	omen_page_release(buffer);

	/* only now: a page counts as a whole */
	state->counts = sum;
}

static void
count_slots(StatsState *state, Buffer buffer, PageCounts *sum)
{
	const OmenHnswLayout *layout = &state->hnsw.layout;

	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);

		omen_hnsw_check_slot(state->index, &state->hnsw, buffer, slot);
		if (slot->flags == 0)
		{
			sum->free_slots++;
			continue;
		}
		sum->rows += slot->ntids;
		if (slot->flags & OMEN_SLOT_TIDLIST)
			sum->list_slots++;
		else if (slot->flags & OMEN_SLOT_DELETED)
			sum->deleted_nodes++;
		else
		{
			sum->nodes++;
			sum->links += slot->nlinks;
		}
	}
}

static Datum
form_result(const StatsState *state, TupleDesc desc)
{
	const OmenHnswMetaPageData *meta = &state->hnsw.meta;
	const PageCounts *counts = &state->counts;
	const int64 *pages = counts->pages;
	double		bytes = (double) state->nblocks * BLCKSZ;
	Datum		values[] = {
		Int32GetDatum((int32) meta->version),
		Int64GetDatum(counts->rows),
		Int64GetDatum(counts->nodes),
		Int64GetDatum(counts->deleted_nodes),
		Int64GetDatum(counts->list_slots),
		Int64GetDatum(counts->free_slots),
		Int64GetDatum(state->nblocks),
		Int64GetDatum(pages[OMEN_PAGE_META]),
		Int64GetDatum(pages[OMEN_PAGE_NODE]),
		Int64GetDatum(pages[OMEN_PAGE_CHAIN]),
		Int64GetDatum(pages[OMEN_PAGE_ENTRY]),
		Int64GetDatum(pages[OMEN_PAGE_FREE]),
		Int64GetDatum(pages[OMEN_PAGE_TIDMAP] + pages[OMEN_PAGE_TIDDIR] +
					  pages[OMEN_PAGE_TIDROOT]),
		Int64GetDatum(pages[OMEN_PAGE_DATA] + pages[OMEN_PAGE_KEYS] +
					  pages[OMEN_PAGE_KEYDIR] + pages[OMEN_PAGE_KEYLIST] +
					  pages[OMEN_PAGE_CODES]),
		Int64GetDatum(counts->invalid_pages),
		Float8GetDatum(bytes / Max(counts->rows, 1)),
		Int32GetDatum(meta->slots_per_page),
		Float8GetDatum((double) counts->links / Max(counts->nodes, 1)),
		Int32GetDatum(meta->m),
		Int32GetDatum(meta->ef_construction),
		CStringGetTextDatum(omen_quantizer_name(&meta->shape)),
		Int32GetDatum((int32) meta->shape.dims),
		CStringGetTextDatum(omen_metric_name(&meta->shape)),
	};
	bool		nulls[lengthof(values)] = {0};

	if (desc->natts != lengthof(values))
		elog(ERROR, "function result has %d columns, not %d", desc->natts,
			 (int) lengthof(values));

	/* of no rows and no nodes there is no mean */
	nulls[15] = counts->rows == 0;
	nulls[17] = counts->nodes == 0;
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
