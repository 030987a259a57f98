/*-------------------------------------------------------------------------
 *
 * limit_hint.c
 *	  Tells an ordered scan of an index how many rows the query wants of it.
 *
 * An access method is not told of LIMIT.  A scan that knows it looks far
 * enough at once, instead of widening when it runs short, and so returns all
 * rows in exact order.
 *
 *		Limit								Limit
 *		  -> Index Scan			or			  -> Merge Append
 *												   -> Index Scan ...
 *
 * The same with an Omen Filtered or Fused Scan in place of an index scan, and
 * with nodes in between that hand rows on as they come.
 *
 * When execution starts, each such scan is noted down together with its
 * Limit; when the scan returns its first row, the Limit has evaluated its
 * expressions.  A query without LIMIT that is run to its end, not fetched from
 * a cursor, wants all rows; that is known when it is run.  All of this is only
 * a hint: a scan can be asked for more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "lib/ilist.h"
#include "nodes/nodeFuncs.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "bm25/bm25.h"
#include "hnsw/hnsw.h"
#include "planner/fuse.h"
#include "planner/planner.h"

/* Lives as long as the query's memory, and takes itself off the list */
typedef struct LimitedScan
{
	dlist_node	node;
	PlanState  *scan;
	LimitState *limit;			/* NULL: all rows are wanted */
	int			more;			/* rows that are taken beyond the limit */
	MemoryContextCallback callback;
} LimitedScan;

static dlist_head limited_scans = DLIST_STATIC_INIT(limited_scans);
static ExecutorStart_hook_type next_executor_start = NULL;
static ExecutorRun_hook_type next_executor_run = NULL;

static void start_executor(QueryDesc *query, int flags);
static void run_executor(OMEN_EXECUTOR_RUN_PARAMS);
static bool find_limits(PlanState *state, void *arg);
static void note_scans(LimitState *limit, int more, PlanState *state);
static bool takes_all_rows(const PlanState *state);
static bool is_ours(PlanState *state);
static void forget_scan(void *arg);
static int	rows_wanted(IndexScanDesc scan, int ef);
static int	text_rows_wanted(IndexScanDesc scan);
static const LimitedScan *find_limited(IndexScanDesc scan);
static int	rows_under_filter(int limit, int ef);
static int	rows_of_limit(const LimitedScan *limited);

void
omen_planner_init(void)
{
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = run_executor;
	omen_hnsw_rows_wanted = rows_wanted;
	omen_bm25_rows_wanted = text_rows_wanted;
}

static void
start_executor(QueryDesc *query, int flags)
{
	if (next_executor_start)
		next_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);

	if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && query->planstate != NULL)
		find_limits(query->planstate, query->estate->es_query_cxt);
}

static void
run_executor(OMEN_EXECUTOR_RUN_PARAMS)
{
	if (count == 0 && query->planstate != NULL)
		note_scans(NULL, 0, query->planstate);

	if (next_executor_run)
		next_executor_run(OMEN_EXECUTOR_RUN_ARGS);
	else
		standard_ExecutorRun(OMEN_EXECUTOR_RUN_ARGS);
}

static bool
find_limits(PlanState *state, void *arg)
{
	if (state == NULL)
		return false;
	if (IsA(state, LimitState))
		note_scans((LimitState *) state, 0, outerPlanState(state));
	return planstate_tree_walker(state, find_limits, arg);
}

/*
 * The scans whose rows go up one for one to the Limit or, if that is NULL, of
 * which the whole plan takes all rows
 */
static void
note_scans(LimitState *limit, int more, PlanState *state)
{
	if (state == NULL)
		return;
	if (IsA(state, LockRowsState) ||
		(IsA(state, ResultState) && state->qual == NULL) ||
		(limit == NULL && takes_all_rows(state)))
		note_scans(limit, more, outerPlanState(state));
	else if (limit == NULL && IsA(state, SubqueryScanState))
		note_scans(limit, more, ((SubqueryScanState *) state)->subplan);
	else if (IsA(state, IncrementalSortState))
	{
		/* as many as are wanted, and one to see that its group has ended */
		note_scans(limit, more + 1, outerPlanState(state));
	}
	else if (IsA(state, MergeAppendState))
	{
		MergeAppendState *append = (MergeAppendState *) state;

		for (int i = 0; i < append->ms_nplans; i++)
			note_scans(limit, more, append->mergeplans[i]);
	}
	else if (is_ours(state))
	{
		MemoryContext context = state->state->es_query_cxt;
		LimitedScan *limited = MemoryContextAlloc(context,
												  sizeof(LimitedScan));

		limited->scan = state;
		limited->limit = limit;
		limited->more = more;
		limited->callback.func = forget_scan;
		limited->callback.arg = limited;
		dlist_push_head(&limited_scans, &limited->node);
		MemoryContextRegisterResetCallback(context, &limited->callback);
	}
}

/* Does a node whose rows are all wanted want all rows of the one below it? */
static bool
takes_all_rows(const PlanState *state)
{
	/* OFFSET alone */
	if (IsA(state, LimitState))
		return ((const LimitState *) state)->limitCount == NULL;
	return IsA(state, AggState) || IsA(state, WindowAggState) ||
		IsA(state, SortState) || IsA(state, IncrementalSortState);
}

static bool
is_ours(PlanState *state)
{
	IndexScanState *scan = (IndexScanState *) state;

	if (!IsA(state, IndexScanState))
		return omen_filter_is_state(state) || omen_fuse_is_state(state);
	return scan->iss_RelationDesc != NULL &&
		(scan->iss_RelationDesc->rd_indam->amgettuple == omen_hnsw_gettuple ||
		 scan->iss_RelationDesc->rd_indam->amgettuple == omen_bm25_gettuple);
}

static void
forget_scan(void *arg)
{
	dlist_delete(&((LimitedScan *) arg)->node);
}

/* Rows that the query wants from this index scan, or 0 if that is not known */
static int
rows_wanted(IndexScanDesc scan, int ef)
{
	const LimitedScan *limited = find_limited(scan);

	if (limited == NULL)
		return 0;
	return limited->scan->qual == NULL || scan->numberOfKeys > 0 ?
		rows_of_limit(limited) :
		rows_under_filter(rows_of_limit(limited), ef);
}

/* How many a filter above a ranking will let through nobody knows */
static int
text_rows_wanted(IndexScanDesc scan)
{
	const LimitedScan *limited = find_limited(scan);

	return limited != NULL && limited->scan->qual == NULL ?
		rows_of_limit(limited) : 0;
}

static const LimitedScan *
find_limited(IndexScanDesc scan)
{
	dlist_iter	iter;

	dlist_foreach(iter, &limited_scans)
	{
		LimitedScan *limited = dlist_container(LimitedScan, node, iter.cur);

		if (IsA(limited->scan, IndexScanState) &&
			((IndexScanState *) limited->scan)->iss_ScanDesc == scan)
			return limited;
	}
	return NULL;
}

/*
 * Some rows will be filtered out.  So many the first walk is good for, and must
 * not be begun again for: at 50 % LIMIT 10 took three times of this.  How many
 * more it will be nobody knows, as they may lie together.
 */
static int
rows_under_filter(int limit, int ef)
{
	return limit == 0 ? 0 : Max(limit, (int) (ef / OMEN_BREADTH_PER_ROW));
}

int
omen_limit_rows_wanted(const PlanState *scan)
{
	dlist_iter	iter;

	dlist_foreach(iter, &limited_scans)
	{
		LimitedScan *limited = dlist_container(LimitedScan, node, iter.cur);

		if (limited->scan == scan)
			return rows_of_limit(limited);
	}
	return 0;
}

static int
rows_of_limit(const LimitedScan *limited)
{
	const LimitState *limit = limited->limit;

	if (limit == NULL)
		return INT_MAX;
	if (limit->noCount || limit->offset + limit->count > INT_MAX / 2)
		return 0;
	return (int) (limit->offset + limit->count) + limited->more +
		(limit->limitOption == LIMIT_OPTION_WITH_TIES);
}
