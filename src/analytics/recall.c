/*-------------------------------------------------------------------------
 *
 * recall.c
 *	  omen_recall(): what part of the true neighbours an index finds.
 *
 * Rows of the table are the queries, each asking for its k nearest other
 * rows:
 *
 *	  1. one pass over the table draws the samples (reservoir sampling);
 *	  2. another compares every row with all samples, and keeps for each the
 *		 k least distances;
 *	  3. the index is asked for k + 1 rows for each sample, as a query with
 *		 such a LIMIT would ask, and the sample itself is taken out.
 *
 * A row that the index returns is right if it is no farther than the k-th
 * true neighbour; so of rows at equal distances any will do.
 *
 * What an expression or predicate of the index runs is run as the table's
 * owner, as when the index was built.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "base/guc.h"
#include "hnsw/omen_scan.h"

#define MAX_K			1000
#define MAX_SAMPLES		100000

OMEN_FUNCTION(omen_recall);

typedef struct Sample
{
	ItemPointerData tid;
	Datum		datum;
	OmenQuery  *query;
	float	   *nearest;		/* ascending, k at most */
	int			nnearest;
} Sample;

typedef struct RecallState
{
	Relation	heap;
	Relation	index;
	OmenHnswIndex *hnsw;
	Snapshot	snapshot;
	IndexInfo  *info;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	MemoryContext row_context;	/* reset for each row */

	int			k;
	int			nsamples;
	int			max_samples;
	Sample	   *samples;
} RecallState;

typedef void (*RowVisitor) (RecallState *state, Datum datum,
							const OmenHnswValue *value, void *arg);

static void check_arguments(int k, int samples);
static void check_row_security(Relation index, Relation heap);
static double measure_recall(RecallState *state, int64 *nexpected);
static void open_rows(RecallState *state);
static void close_rows(RecallState *state);
static void visit_rows(RecallState *state, RowVisitor visitor, void *arg);
static bool form_row(RecallState *state, Datum *datum, OmenHnswValue *value);
static void draw_sample(RecallState *state, Datum datum,
						const OmenHnswValue *value, void *arg);
static void prepare_samples(RecallState *state);
static void compare_with_samples(RecallState *state, Datum datum,
								 const OmenHnswValue *value, void *arg);
static void keep_nearest(Sample *sample, int k, float distance);
static int	ask_index(RecallState *state, Sample *sample);

Datum
omen_recall(PG_FUNCTION_ARGS)
{
	RecallState state = {0};
	int64		nexpected;
	double		recall;
	Oid			user;
	int			security;
	int			settings;

	state.k = PG_GETARG_INT32(1);
	state.max_samples = PG_GETARG_INT32(2);
	check_arguments(state.k, state.max_samples);
	state.index = omen_open_index(PG_GETARG_OID(0), &state.heap);
	omen_check_select_privilege(state.heap);
	check_row_security(state.index, state.heap);

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(state.heap->rd_rel->relowner,
						   security | SECURITY_RESTRICTED_OPERATION);
	settings = NewGUCNestLevel();
	omen_compat_restrict_search_path();

	recall = measure_recall(&state, &nexpected);

	AtEOXact_GUC(false, settings);
	SetUserIdAndSecContext(user, security);
	omen_close_index(state.index, state.heap);
	if (nexpected == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(recall);
}

static void
check_arguments(int k, int samples)
{
	if (k < 1 || k > MAX_K)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("k must be between 1 and %d", MAX_K)));
	if (samples < 1 || samples > MAX_SAMPLES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("samples must be between 1 and %d", MAX_SAMPLES)));
}

/* Of rows that a user may not see, not even distances must be told */
static void
check_row_security(Relation index, Relation heap)
{
	if (check_enable_rls(RelationGetRelid(heap), InvalidOid, true) ==
		RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot measure recall of index \"%s\"",
						RelationGetRelationName(index)),
				 errdetail("Row-level security of table \"%s\" applies to the current user.",
						   RelationGetRelationName(heap)),
				 errhint("Ask the table's owner, or a role with BYPASSRLS.")));
}

static double
measure_recall(RecallState *state, int64 *nexpected)
{
	int64		nseen = 0;
	int64		nright = 0;

	open_rows(state);
	state->samples = palloc0(state->max_samples * sizeof(Sample));
	visit_rows(state, draw_sample, &nseen);
	prepare_samples(state);
	visit_rows(state, compare_with_samples, NULL);

	*nexpected = 0;
	for (int i = 0; i < state->nsamples; i++)
	{
		*nexpected += state->samples[i].nnearest;
		nright += ask_index(state, &state->samples[i]);
	}
	close_rows(state);
	return (double) nright / Max(*nexpected, 1);
}

static void
open_rows(RecallState *state)
{
	state->hnsw = omen_hnsw_open(state->index);
	state->snapshot = GetActiveSnapshot();
	state->info = BuildIndexInfo(state->index);
	state->estate = CreateExecutorState();
	state->predicate = ExecPrepareQual(state->info->ii_Predicate,
									   state->estate);
	state->slot = table_slot_create(state->heap, NULL);
	state->row_context = AllocSetContextCreate(CurrentMemoryContext,
											   "omendb recall row",
											   ALLOCSET_DEFAULT_SIZES);
	GetPerTupleExprContext(state->estate)->ecxt_scantuple = state->slot;
}

static void
close_rows(RecallState *state)
{
	ExecDropSingleTupleTableSlot(state->slot);
	FreeExecutorState(state->estate);
	MemoryContextDelete(state->row_context);
}

/* Call the visitor for every visible row that the index has */
static void
visit_rows(RecallState *state, RowVisitor visitor, void *arg)
{
	TableScanDesc scan = table_beginscan(state->heap, state->snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, state->slot))
	{
		OmenHnswValue value;
		Datum		datum;

		CHECK_FOR_INTERRUPTS();
		if (form_row(state, &datum, &value))
			visitor(state, datum, &value, arg);
	}
	table_endscan(scan);
}

/*
 * The indexed value of the row in the slot, valid until the next call; false
 * if the index leaves it out
 */
static bool
form_row(RecallState *state, Datum *datum, OmenHnswValue *value)
{
	ExprContext *expressions = GetPerTupleExprContext(state->estate);
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	MemoryContext old;
	bool		indexed = false;

	MemoryContextReset(state->row_context);
	ResetExprContext(expressions);
	if (state->predicate != NULL && !ExecQual(state->predicate, expressions))
		return false;

	old = MemoryContextSwitchTo(state->row_context);
	FormIndexDatum(state->info, state->slot, state->estate, values, nulls);
	if (!nulls[0])
	{
		*datum = values[0];
		indexed = omen_hnsw_form_value(state->hnsw->opclass,
									   state->hnsw->meta.shape.dims,
									   values[0], value);
	}
	MemoryContextSwitchTo(old);
	return indexed;
}

/* The n-th row replaces one of the s samples with probability s / n */
static void
draw_sample(RecallState *state, Datum datum, const OmenHnswValue *value,
			void *arg)
{
	int64	   *nseen = arg;
	Sample	   *sample;
	uint64		at = (*nseen)++;

	if (at >= state->max_samples)
		at = pg_prng_uint64_range(&pg_global_prng_state, 0, at);
	if (at >= state->max_samples)
		return;

	sample = &state->samples[at];
	if (at < state->nsamples)
		pfree(DatumGetPointer(sample->datum));
	else
		state->nsamples++;
	sample->tid = state->slot->tts_tid;
	sample->datum = PointerGetDatum(PG_DETOAST_DATUM_COPY(datum));
}

static void
prepare_samples(RecallState *state)
{
	for (int i = 0; i < state->nsamples; i++)
	{
		Sample	   *sample = &state->samples[i];
		OmenHnswValue value;

		CHECK_FOR_INTERRUPTS();

		/* the sample's own copy: nothing has to be detoasted */
		omen_hnsw_form_value(state->hnsw->opclass,
							 state->hnsw->meta.shape.dims, sample->datum,
							 &value);
		sample->query = omen_query_init(palloc(omen_query_size(state->hnsw->quant)),
										state->hnsw->quant, value.payload);
		sample->nearest = palloc(state->k * sizeof(float));
	}
}

static void
compare_with_samples(RecallState *state, Datum datum,
					 const OmenHnswValue *value, void *arg)
{
	for (int i = 0; i < state->nsamples; i++)
	{
		Sample	   *sample = &state->samples[i];

		CHECK_FOR_INTERRUPTS();
		if (!ItemPointerEquals(&sample->tid, &state->slot->tts_tid))
			keep_nearest(sample, state->k,
						 omen_query_exact(sample->query, value->payload));
	}
}

static void
keep_nearest(Sample *sample, int k, float distance)
{
	int			at = sample->nnearest;

	if (at == k && distance >= sample->nearest[k - 1])
		return;
	if (at == k)
		at--;
	else
		sample->nnearest++;
	for (; at > 0 && sample->nearest[at - 1] > distance; at--)
		sample->nearest[at] = sample->nearest[at - 1];
	sample->nearest[at] = distance;
}

/* How many of the first k rows from the index are true neighbours */
static int
ask_index(RecallState *state, Sample *sample)
{
	OmenHnswOptions options = omen_hnsw_get_options(state->index);
	OmenScanParams params = {
		.index = state->index,
		.heap = state->heap,
		.snapshot = state->snapshot,
		.has_query = true,
		.query = sample->datum,
		.ef = omen_guc_ef_search(options.ef_search),
		.exhaustive = omen_guc_exhaustive(),
		.k_hint = state->k + 1,
	};
	OmenScan   *scan = omen_scan_begin(&params);
	IndexFetchTableData *fetch = table_index_fetch_begin(state->heap);
	ItemPointerData tid;
	float		distance;
	int			nrows = 0;
	int			nright = 0;

	while (nrows < sample->nnearest && omen_scan_next(scan, &tid, &distance))
	{
		bool		call_again = false;
		bool		all_dead = false;
		OmenHnswValue value;
		Datum		datum;

		if (!table_index_fetch_tuple(fetch, &tid, state->snapshot, state->slot,
									 &call_again, &all_dead) ||
			ItemPointerEquals(&state->slot->tts_tid, &sample->tid))
			continue;
		nrows++;
		if (form_row(state, &datum, &value) &&
			omen_query_exact(sample->query, value.payload) <=
			sample->nearest[sample->nnearest - 1])
			nright++;
	}
	table_index_fetch_end(fetch);
	omen_scan_end(scan);
	return nright;
}
