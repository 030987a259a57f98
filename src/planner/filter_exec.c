/*-------------------------------------------------------------------------
 *
 * filter_exec.c
 *	  Execution of Omen Filtered Scan.
 *
 *		first row:	evaluate the query and the bounds
 *					perhaps try without the bitmap (filter_trial.c)
 *					run the bitmap, make the allow-set of it, narrow that down by
 *					conditions on keys, begin an OmenScan
 *		each row:	next TID in order of distance, fetch the row
 *					ExecScan: all restrictions, projection
 *		rescan:		end the OmenScan; forget the allow-set only if the bitmap
 *					depends on what has changed
 *
 * The bitmap is only there to spare work.  Lossy pages, nodes with several
 * rows and what the map leads to by mistake bring rows that the query does not
 * want; those do not pass the restrictions, which are all evaluated on the row,
 * in the order that security demands.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "executor/nodeCustom.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "planner/fuse.h"
#include "planner/planner.h"

static Node *create_state(CustomScan *plan);
static void begin_node(CustomScanState *custom, EState *estate, int eflags);
static void use_table_slot(CustomScanState *custom);
static void init_distance(OmenFilterScanState *state, const CustomScan *plan);
static TupleTableSlot *exec_node(CustomScanState *custom);
static TupleTableSlot *next_row(ScanState *scan);
static bool next_tid(OmenFilterScanState *state, ItemPointer tid);
static bool go_on_with_set(OmenFilterScanState *state);
static bool recheck_row(ScanState *scan, TupleTableSlot *slot);
static void start_scan(OmenFilterScanState *state);
static bool begin_scan(OmenFilterScanState *state);
static int	rows_to_come(OmenFilterScanState *state);
static bool load_allow(OmenFilterScanState *state);
static bool eval_bound(OmenFilterScanState *state);
static void end_scan(OmenFilterScanState *state);
static void end_node(CustomScanState *custom);
static void rescan_node(CustomScanState *custom);

const CustomScanMethods omen_filter_scan_methods = {
	.CustomName = OMEN_FILTER_NAME,
	.CreateCustomScanState = create_state,
};

static const CustomExecMethods exec_methods = {
	.CustomName = OMEN_FILTER_NAME,
	.BeginCustomScan = begin_node,
	.ExecCustomScan = exec_node,
	.EndCustomScan = end_node,
	.ReScanCustomScan = rescan_node,
	.ExplainCustomScan = omen_filter_explain,
};

bool
omen_filter_is_state(const PlanState *state)
{
	return IsA(state, CustomScanState) &&
		((const CustomScanState *) state)->methods == &exec_methods;
}

static Node *
create_state(CustomScan *plan)
{
	OmenFilterScanState *state;

	if (omen_fuse_plan_is_single(plan))
		return omen_fuse_create_state(plan);
	state = (OmenFilterScanState *) newNode(sizeof(OmenFilterScanState),
											T_CustomScanState);
	state->custom.methods = &exec_methods;
	return (Node *) state;
}

static void
begin_node(CustomScanState *custom, EState *estate, int eflags)
{
	OmenFilterScanState *state = (OmenFilterScanState *) custom;
	CustomScan *plan = (CustomScan *) custom->ss.ps.plan;

	use_table_slot(custom);
	init_distance(state, plan);
	if (plan->custom_plans != NIL)
	{
		state->bitmap = ExecInitNode(linitial(plan->custom_plans), estate,
									 eflags);
		custom->custom_ps = list_make1(state->bitmap);
	}
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
		return;

	state->index = index_open(omen_filter_plan_index(plan),
							  exec_rt_fetch(plan->scan.scanrelid,
											estate)->rellockmode);
	state->keys = omen_filter_keys_begin(plan, &custom->ss.ps, state->index);
	state->fetch = table_index_fetch_begin(custom->ss.ss_currentRelation);
	state->context = AllocSetContextCreate(CurrentMemoryContext,
										   "omendb filtered scan",
										   ALLOCSET_DEFAULT_SIZES);
	state->allow.context = AllocSetContextCreate(CurrentMemoryContext,
												 "omendb allow-set",
												 ALLOCSET_DEFAULT_SIZES);
	state->allow.heap = custom->ss.ss_currentRelation;
}

/*
 * Custom scans are given a virtual slot, but rows of the table also have
 * system columns.  Expressions were compiled for the slot: they are again.
 */
static void
use_table_slot(CustomScanState *custom)
{
	ScanState  *scan = &custom->ss;
	Relation	table = scan->ss_currentRelation;

	ExecInitScanTupleSlot(scan->ps.state, scan, RelationGetDescr(table),
						  table_slot_callbacks(table));
	scan->ps.subPlan = NIL;
	ExecAssignScanProjectionInfo(scan);
	scan->ps.qual = ExecInitQual(scan->ps.plan->qual, &scan->ps);
}

static void
init_distance(OmenFilterScanState *state, const CustomScan *plan)
{
	OpExpr	   *distance = linitial_node(OpExpr, plan->custom_exprs);
	Expr	   *query = list_nth(distance->args,
								 omen_filter_plan_query_arg(plan));

	state->query = ExecInitExpr(query, &state->custom.ss.ps);
	get_typlenbyval(exprType((Node *) query), &state->query_typlen,
					&state->query_typbyval);
	state->bounds = ExecInitExprList(omen_filter_plan_bounds(plan),
									 &state->custom.ss.ps);
}

static TupleTableSlot *
exec_node(CustomScanState *custom)
{
	return ExecScan(&custom->ss, next_row, recheck_row);
}

/* The next row that the snapshot sees, nearest first */
static TupleTableSlot *
next_row(ScanState *scan)
{
	OmenFilterScanState *state = (OmenFilterScanState *) scan;
	TupleTableSlot *slot = scan->ss_ScanTupleSlot;
	ItemPointerData tid;

	if (state->scan == NULL && !state->finished)
		start_scan(state);
	while (!state->finished)
	{
		CHECK_FOR_INTERRUPTS();

		if (!next_tid(state, &tid))
			break;
		if (omen_filter_fetch_row(state, &tid, slot))
			return slot;
	}
	state->finished = true;
	return ExecClearTuple(slot);
}

/* Of the trial, or of the scan */
static bool
next_tid(OmenFilterScanState *state, ItemPointer tid)
{
	OmenFilterTrial *trial = &state->trial;
	float		distance;

	if (trial->nreturned < trial->nfound)
	{
		*tid = trial->rows[trial->nreturned++].tid;
		return true;
	}
	if (trial->nfound > 0 && !go_on_with_set(state))
		return false;

	/* distances come in ascending order, or are lower bounds that do */
	while (omen_scan_next(state->scan, tid, &distance))
	{
		if (distance > state->bound)
			return false;
		if (!omen_filter_is_skipped(trial, tid))
			return true;
	}
	return false;
}

/*
 * The LIMIT has been filled, but rows did not count, as others have locked or
 * changed them, or rows equally far are wanted, too.
 */
static bool
go_on_with_set(OmenFilterScanState *state)
{
	omen_filter_end_trial(state);
	return load_allow(state) && begin_scan(state);
}

bool
omen_filter_fetch_row(OmenFilterScanState *state, ItemPointer tid,
					  TupleTableSlot *slot)
{
	bool		call_again = false;

	pgstat_count_index_tuples(state->index, 1);
	omen_scan_pin_row(state->scan, state->fetch, tid);
	if (!table_index_fetch_tuple(state->fetch, tid,
								 state->custom.ss.ps.state->es_snapshot, slot,
								 &call_again, NULL))
		return false;
	pgstat_count_heap_fetch(state->index);
	return true;
}

/* Another version of a row: the restrictions, which follow, say it all */
static bool
recheck_row(ScanState *scan, TupleTableSlot *slot)
{
	return true;
}

static void
start_scan(OmenFilterScanState *state)
{
	PlanState  *ps = &state->custom.ss.ps;
	OmenHnswOptions options = omen_hnsw_get_options(state->index);
	OmenScanParams *params = &state->params;
	MemoryContext old;
	bool		isnull;
	bool		found;

	pgstat_count_index_scan(state->index);
	PredicateLockRelation(state->index, ps->state->es_snapshot);

	memset(params, 0, sizeof(OmenScanParams));
	params->query = ExecEvalExprSwitchContext(state->query,
											  ps->ps_ExprContext, &isnull);
	params->has_query = !isnull;

	/* nothing is within a distance of NULL */
	if ((isnull && state->bounds != NIL) || !eval_bound(state))
	{
		state->finished = true;
		return;
	}

	old = MemoryContextSwitchTo(state->context);
	if (!isnull)
		params->query = datumCopy(params->query, state->query_typbyval,
								  state->query_typlen);
	params->index = state->index;
	params->heap = state->custom.ss.ss_currentRelation;
	params->snapshot = ps->state->es_snapshot;
	params->strategy = omen_guc_filter_strategy();
	params->ef = omen_guc_ef_search(options.ef_search);
	params->exhaustive = omen_guc_exhaustive();
	found = omen_filter_is_trial_due(state, params) &&
		omen_filter_try(state, params);
	MemoryContextSwitchTo(old);

	/* what the bitmap's nodes allocate outlives the scan */
	if (!found && !load_allow(state))
	{
		state->finished = true;
		return;
	}
	if (!found && !begin_scan(state))
		state->finished = true;
	else
		state->nscans++;
}

/* False if there are conditions on keys that no row can meet */
static bool
begin_scan(OmenFilterScanState *state)
{
	OmenScanParams *params = &state->params;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	bool		possible = true;

	params->allow = state->usable ? &state->allow.set : NULL;
	params->k_hint = rows_to_come(state);
	if (state->keys)
	{
		memset(&state->narrowed, 0, sizeof(OmenAllowSet));
		if (params->allow)
			state->narrowed = *params->allow;
		possible = omen_filter_keys_narrow(state->keys, state->index,
										   &state->narrowed);
		params->allow = &state->narrowed;
	}
	if (possible)
		state->scan = omen_scan_begin(params);
	MemoryContextSwitchTo(old);
	return possible;
}

/*
 * Rows that the query is likely to take from the scan, 0 if not known: those
 * that it wants, and those that will not pass in between.  A bound may end the
 * scan before it has returned all, and without the bitmap nobody knows.
 */
static int
rows_to_come(OmenFilterScanState *state)
{
	const PlanState *ps = &state->custom.ss.ps;
	int			limit = omen_limit_rows_wanted(ps);
	double		passing = omen_filter_plan_passing((CustomScan *) ps->plan);

	if (state->bitmap && !state->usable)
		return 0;
	if (limit == INT_MAX)
		return state->bounds == NIL ? INT_MAX : 0;
	return (int) Min(ceil(limit / passing) + state->trial.nskipped,
					 INT_MAX / 2);
}

/* Run the bitmap, unless its result is still good; false if no row is in it */
static bool
load_allow(OmenFilterScanState *state)
{
	if (state->bitmap == NULL)
		return true;
	if (!state->loaded)
	{
		state->usable = omen_filter_allow_run(&state->allow, state->index,
											  state->bitmap);
		state->loaded = true;
	}
	return !state->usable || state->allow.set.cardinality > 0;
}

/* Where the scan is to end; false if no row is within the bounds */
static bool
eval_bound(OmenFilterScanState *state)
{
	OmenMetric	metric = omen_hnsw_opclass(state->index)->metric;
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;
	double		nearest = get_float8_infinity();
	ListCell   *cell;

	foreach(cell, state->bounds)
	{
		bool		isnull;
		Datum		datum = ExecEvalExprSwitchContext(lfirst(cell), context,
													  &isnull);
		double		bound;

		if (isnull)
			return false;
		bound = DatumGetFloat8(datum);

		/* NaN is beyond every distance */
		if (!isnan(bound))
			nearest = Min(nearest, omen_filter_graph_bound(metric, bound));
	}
	state->bound = (float) nearest;
	return nearest >= 0 || metric == OMEN_METRIC_IP;
}

/*
 * The graph distance that corresponds to one of SQL, and a little more: they
 * are computed in different ways.  What lies between does not pass the
 * restriction itself.
 */
double
omen_filter_graph_bound(OmenMetric metric, double bound)
{
	double		graph = bound;

	if (metric == OMEN_METRIC_L2)
		graph = bound < 0 ? -1 : bound * bound;
	else if (metric == OMEN_METRIC_COSINE)
		graph = 2 * bound;
	return metric != OMEN_METRIC_IP && bound < 0 ? -1 :
		graph + fabs(graph) * 1e-4 + 1e-5;
}

static void
end_scan(OmenFilterScanState *state)
{
	if (state->scan)
	{
		omen_scan_add_counts(&state->ended, state->scan);
		omen_scan_end(state->scan);
	}
	state->scan = NULL;
	state->trial.nfound = state->trial.nreturned = state->trial.nskipped = 0;
	MemoryContextReset(state->context);
}

static void
end_node(CustomScanState *custom)
{
	OmenFilterScanState *state = (OmenFilterScanState *) custom;

	if (state->bitmap)
		ExecEndNode(state->bitmap);
	if (state->index == NULL)
		return;
	end_scan(state);
	table_index_fetch_end(state->fetch);
	index_close(state->index, NoLock);
}

static void
rescan_node(CustomScanState *custom)
{
	OmenFilterScanState *state = (OmenFilterScanState *) custom;

	end_scan(state);
	state->finished = false;
	table_index_fetch_reset(state->fetch);

	/* the server does not tell the children of custom scans */
	if (state->bitmap && custom->ss.ps.chgParam)
		UpdateChangedParamSet(state->bitmap, custom->ss.ps.chgParam);
	if (state->bitmap && state->bitmap->chgParam)
		state->loaded = false;
	ExecScanReScan(&custom->ss);
}
