/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  omen_index_stats(): what an index is made of, by a look at every page.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "bm25/bm25.h"

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
	bool		is_text;		/* an index of omenbm25 */
	OmenHnswIndex hnsw;			/* else what checks of slots need */
	OmenBm25MetaPageData bm25;
	BufferAccessStrategy strategy;
	BlockNumber nblocks;
	BlockNumber block;			/* the next one */
	PageCounts	counts;
} StatsState;

static void count_pages(StatsState *state);
static void count_rest(void *arg);
static void count_page(StatsState *state);
static void count_slots(StatsState *state, Buffer buffer, PageCounts *sum);
static int64 count_documents(const StatsState *state);
static Datum form_result(const StatsState *state, TupleDesc desc);
static Datum form_text_result(const StatsState *state, TupleDesc desc);

Datum
omen_index_stats(PG_FUNCTION_ARGS)
{
	StatsState *state = palloc0(sizeof(StatsState));
	TupleDesc	desc;
	Relation	heap;
	Datum		result;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	state->index = omen_open_any_index(PG_GETARG_OID(0), &heap);
	omen_check_stat_privilege(state->index);
	state->is_text = state->index->rd_indam->ambuild == omen_bm25_build;
	if (state->is_text)
		omen_bm25_read_meta(state->index, &state->bm25);
	else
	{
		omen_hnsw_read_meta(state->index, &state->hnsw.meta);
		omen_hnsw_layout(&state->hnsw.meta, &state->hnsw.layout);
	}
	state->nblocks = RelationGetNumberOfBlocks(state->index);
	state->strategy = GetAccessStrategy(BAS_BULKREAD);

	count_pages(state);

	FreeAccessStrategy(state->strategy);
	BlessTupleDesc(desc);
	result = state->is_text ? form_text_result(state, desc) :
		form_result(state, desc);
	omen_close_index(state->index, heap);
	return result;
}

/*
 * A broken page, whoever finds it to be so, the server or we, is counted and
 * passed over.
 */
static void
count_pages(StatsState *state)
{
	ErrorData  *damage;

	while ((damage = omen_try_step(count_rest, state)) != NULL)
	{
		FreeErrorData(damage);
		state->counts.invalid_pages++;
		state->block++;
	}
}

static void
count_rest(void *arg)
{
	StatsState *state = arg;

	for (; state->block < state->nblocks; state->block++)
	{
		CHECK_FOR_INTERRUPTS();
		count_page(state);
	}
}

static void
count_page(StatsState *state)
{
	PageCounts	sum = state->counts;
	OmenPageKind kind;
	Buffer		buffer = omen_page_read_any(state->index, state->block,
											OMEN_LOCK_SHARE, state->strategy,
											&kind);

	sum.pages[kind]++;
	if (kind == OMEN_PAGE_NODE && !state->is_text)
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

/* Of a text index, most columns have no meaning: bm25_stats() has others */
static Datum
form_text_result(const StatsState *state, TupleDesc desc)
{
	const int64 *pages = state->counts.pages;
	int64		rows = count_documents(state);
	int64		others = 0;
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));

	memset(nulls, true, desc->natts * sizeof(bool));
	for (int kind = OMEN_PAGE_PENDING; kind <= OMEN_PAGE_LAST_KIND; kind++)
		others += pages[kind];
	values[0] = Int32GetDatum((int32) state->bm25.version);
	values[1] = Int64GetDatum(rows);
	values[6] = Int64GetDatum(state->nblocks);
	values[7] = Int64GetDatum(pages[OMEN_PAGE_META]);
	values[11] = Int64GetDatum(pages[OMEN_PAGE_FREE]);
	values[13] = Int64GetDatum(others);
	values[14] = Int64GetDatum(state->counts.invalid_pages);
	values[15] = Float8GetDatum((double) state->nblocks * BLCKSZ /
								Max(rows, 1));
	nulls[0] = nulls[1] = nulls[6] = nulls[7] = false;
	nulls[11] = nulls[13] = nulls[14] = false;
	nulls[15] = rows == 0;
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* Pending ones too, but not those that are dead */
static int64
count_documents(const StatsState *state)
{
	OmenBm25PendingScan *scan = palloc(sizeof(*scan));
	OmenBm25DocData *part;
	int64		n = 0;

	for (int i = 0; i < state->bm25.nsegments; i++)
		n += (int64) state->bm25.segments[i].ndocs -
			state->bm25.segments[i].ndead;
	omen_bm25_pending_begin(scan, state->index, &state->bm25);
	while ((part = omen_bm25_pending_next(scan)) != NULL)
		n += (part->flags & (OMEN_BM25_DOC_PART | OMEN_BM25_DOC_DEAD)) == 0;
	pfree(scan);
	return n;
}
