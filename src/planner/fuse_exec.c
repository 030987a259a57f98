/*-------------------------------------------------------------------------
 *
 * fuse_exec.c
 *	  Execution of Omen Fused Scan.
 *
 *		first row:	evaluate the options and the queries of all branches
 *					run the bitmap, restrict every stream to it
 *					begin the streams (fuse_rank.c)
 *		each row:	the next one by its score, fetched
 *					scan tuple: columns, score, values that are read
 *		rescan:		end the streams; keep what restricts them unless the bitmap
 *					depends on what has changed
 *
 * WHERE is evaluated when a stream brings a row, for only rows that meet it
 * have ranks; once for each row, in the order that security demands.
 *
 * A single branch has no options, but conditions that its index decides while
 * it ranks; they are evaluated on rows all the same, for the index may leave
 * them to be checked.
 *
 * A row that another transaction has changed meanwhile, and that is to be
 * locked, is looked at again in its new version (EvalPlanQual).  That has no
 * place in the ranking: its score is NULL, unless no other rows matter to it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "planner/fuse.h"
#include "planner/planner.h"

static void begin_node(CustomScanState *custom, EState *estate, int eflags);
static void init_columns(OmenFuseScanState *state, const CustomScan *plan);
static void init_quals(OmenFuseScanState *state, const CustomScan *plan);
static bool reads_values(const OmenFuseScanState *state, Node *qual);
static bool reads_value(Node *exprs, int n);
static void init_branch(OmenFuseScanState *state, const CustomScan *plan,
						int n);
static void open_indexes(OmenFuseScanState *state, const CustomScan *plan,
						 EState *estate);
static TupleTableSlot *exec_node(CustomScanState *custom);
static void form_scan_tuple(OmenFuseScanState *state, OmenFuseRow *row);
static TupleTableSlot *recheck_row(OmenFuseScanState *state);
static bool is_rechecked(const ScanState *scan);
static bool find_changed_row(const ScanState *scan, TupleTableSlot **slot);
static void start_scan(OmenFuseScanState *state);
static void eval_options(OmenFuseScanState *state);
static bool eval_filter(OmenFuseScanState *state, OmenStream *stream);
static bool eval_bound(OmenFuseScanState *state);
static void eval_query(OmenFuseScanState *state, OmenFuseBranch *branch);
static int	choose_window(const OmenFuseScanState *state);
static void run_bitmap(OmenFuseScanState *state);
static bool test_values(OmenFuseScanState *state);
static XLogRecPtr end_of_wal(void);
static bool is_visible(OmenFuseScanState *state, const OmenStream *stream,
					   const ItemPointerData *tid);
static bool fetch_row(OmenFuseScanState *state, OmenFuseBranch *branch,
					  const ItemPointerData *tid);
static void form_columns(OmenFuseScanState *state, TupleTableSlot *row);
static bool compute_value(OmenFuseScanState *state, int n, double *value);
static void store_value(OmenFuseScanState *state, int column, double value,
						bool isnull);
static TupleTableSlot *project(OmenFuseScanState *state);
static void end_scan(OmenFuseScanState *state);
static void end_node(CustomScanState *custom);
static void rescan_node(CustomScanState *custom);

const CustomScanMethods omen_fuse_scan_methods = {
	.CustomName = OMEN_FUSE_NAME,
	.CreateCustomScanState = omen_fuse_create_state,
};

static const CustomExecMethods exec_methods = {
	.CustomName = OMEN_FUSE_NAME,
	.BeginCustomScan = begin_node,
	.ExecCustomScan = exec_node,
	.EndCustomScan = end_node,
	.ReScanCustomScan = rescan_node,
	.ExplainCustomScan = omen_fuse_explain,
};

bool
omen_fuse_is_state(const PlanState *state)
{
	return IsA(state, CustomScanState) &&
		((const CustomScanState *) state)->methods == &exec_methods;
}

Node *
omen_fuse_create_state(CustomScan *plan)
{
	OmenFuseScanState *state = (OmenFuseScanState *)
		newNode(sizeof(OmenFuseScanState), T_CustomScanState);

	state->custom.methods = &exec_methods;
	return (Node *) state;
}

static void
begin_node(CustomScanState *custom, EState *estate, int eflags)
{
	OmenFuseScanState *state = (OmenFuseScanState *) custom;
	CustomScan *plan = (CustomScan *) custom->ss.ps.plan;

	state->is_single = omen_fuse_plan_is_single(plan);
	state->nbranches = omen_fuse_plan_nbranches(plan);
	state->option_exprs = ExecInitExprList(omen_fuse_plan_options(plan),
										   &custom->ss.ps);
	state->bound_exprs = ExecInitExprList(omen_fuse_plan_bounds(plan),
										  &custom->ss.ps);
	init_columns(state, plan);
	for (int i = 0; i < state->nbranches; i++)
		init_branch(state, plan, i);
	init_quals(state, plan);
	if (plan->custom_plans != NIL)
	{
		state->bitmap = ExecInitNode(linitial(plan->custom_plans), estate,
									 eflags);
		custom->custom_ps = list_make1(state->bitmap);
	}
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		open_indexes(state, plan, estate);
}

/*
 * What the scan tuple has of the table is copied there from a row; the server
 * has compiled WHERE and the target list for the scan tuple.
 */
static void
init_columns(OmenFuseScanState *state, const CustomScan *plan)
{
	ScanState  *scan = &state->custom.ss;
	Relation	table = scan->ss_currentRelation;
	List	   *columns = NIL;
	ListCell   *cell;

	foreach(cell, plan->custom_scan_tlist)
	{
		TargetEntry *entry = flatCopyTargetEntry(lfirst(cell));

		if (!IsA(entry->expr, Var))
			entry->expr = (Expr *) makeNullConst(FLOAT8OID, -1, InvalidOid);
		columns = lappend(columns, entry);
	}
	state->row = ExecInitExtraTupleSlot(scan->ps.state, RelationGetDescr(table),
										table_slot_callbacks(table));

	/* no parent: its slots are not of the row's kind */
	state->columns = ExecBuildProjectionInfo(columns, scan->ps.ps_ExprContext,
											 scan->ss_ScanTupleSlot, NULL,
											 RelationGetDescr(table));
}

/*
 * The value of a branch is computed only for rows that have met whatever comes
 * before it in WHERE, as security demands.  Two expressions instead of one;
 * those that the server has made know their subqueries, of which there must be
 * one.
 */
static void
init_quals(OmenFuseScanState *state, const CustomScan *plan)
{
	PlanState  *ps = &state->custom.ss.ps;
	List	   *quals = plan->scan.plan.qual;
	int			n = 0;

	while (n < list_length(quals) && !reads_values(state, list_nth(quals, n)))
		n++;
	state->row_quals = ps->qual;
	if (n == list_length(quals))
		return;
	ps->subPlan = NIL;
	ExecAssignScanProjectionInfoWithVarno(&state->custom.ss, INDEX_VAR);
	state->row_quals = ExecInitQual(list_truncate(list_copy(quals), n), ps);
	state->value_quals = ExecInitQual(list_copy_tail(quals, n), ps);
}

static bool
reads_values(const OmenFuseScanState *state, Node *qual)
{
	for (int i = 0; i < state->nbranches; i++)
	{
		if (reads_value(qual, i))
			return true;
	}
	return false;
}

static bool
reads_value(Node *exprs, int n)
{
	Bitmapset  *used = NULL;

	pull_varattnos(exprs, INDEX_VAR, &used);
	return bms_is_member(omen_fuse_value_column(n) -
						 FirstLowInvalidHeapAttributeNumber, used);
}

static void
init_branch(OmenFuseScanState *state, const CustomScan *plan, int n)
{
	OmenFuseBranch *branch = &state->branches[n];
	PlanState  *ps = &state->custom.ss.ps;
	OmenFusePlanBranch planned;
	Node	   *op;

	omen_fuse_plan_branch(plan, n, &planned);
	if (!OidIsValid(planned.index))
		return;
	branch->query = ExecInitExpr(planned.query, ps);
	branch->column = ExecInitExpr(planned.column, ps);
	branch->query_arg = planned.query_arg;
	get_typlenbyval(exprType((Node *) planned.query), &branch->query_typlen,
					&branch->query_typbyval);

	op = (Node *) list_nth_node(TargetEntry, plan->custom_scan_tlist,
								omen_fuse_value_column(n) - 1)->expr;
	fmgr_info(get_opcode(castNode(OpExpr, op)->opno), &branch->operator);
	fmgr_info_set_expr(op, &branch->operator);
	branch->collation = castNode(OpExpr, op)->inputcollid;
	branch->scale.measure = omen_fuse_measure(op);

	branch->is_read = reads_value((Node *) plan->scan.plan.targetlist, n);
	branch->is_tested = reads_value((Node *) plan->scan.plan.qual, n);
}

static void
open_indexes(OmenFuseScanState *state, const CustomScan *plan, EState *estate)
{
	Relation	table = state->custom.ss.ss_currentRelation;
	LOCKMODE	lock = exec_rt_fetch(plan->scan.scanrelid,
									 estate)->rellockmode;
	MemoryContext restrict_context =
		AllocSetContextCreate(CurrentMemoryContext, "omendb allow-sets",
							  ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < state->nbranches; i++)
	{
		OmenStream *stream;
		Relation	index;
		OmenFusePlanBranch planned;

		omen_fuse_plan_branch(plan, i, &planned);
		if (!OidIsValid(planned.index))
			continue;
		index = index_open(planned.index, lock);
		stream = omen_text_stream_is_for(index) ? omen_text_stream_create() :
			omen_vector_stream_create();
		stream->index = index;
		stream->query_type = exprType((Node *) planned.query);
		stream->heap = table;
		stream->snapshot = estate->es_snapshot;
		stream->restrict_context = restrict_context;
		stream->brings_all |= state->is_single;
		state->branches[i].stream = stream;
	}
	state->fetch = table_index_fetch_begin(table);
	state->context = AllocSetContextCreate(CurrentMemoryContext,
										   "omendb fused scan",
										   ALLOCSET_DEFAULT_SIZES);
}

static TupleTableSlot *
exec_node(CustomScanState *custom)
{
	OmenFuseScanState *state = (OmenFuseScanState *) custom;
	OmenFuseRow *row;

	ResetExprContext(custom->ss.ps.ps_ExprContext);
	if (is_rechecked(&custom->ss))
		return recheck_row(state);

	if (state->ranking == NULL)
		start_scan(state);
	while (!state->nothing &&
		   (row = omen_fuse_ranking_next(state)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (!fetch_row(state, NULL, &row->tid))
			continue;
		form_scan_tuple(state, row);
		return project(state);
	}
	return ExecClearTuple(custom->ss.ss_ScanTupleSlot);
}

static void
form_scan_tuple(OmenFuseScanState *state, OmenFuseRow *row)
{
	for (int i = 0; i < state->nbranches; i++)
	{
		if (state->branches[i].is_read)
			omen_fuse_read_value(state, i, row);
	}
	form_columns(state, state->row);
	store_value(state, omen_fuse_score_column(state->nbranches), row->score,
				row->isnull);
	for (int i = 0; i < state->nbranches; i++)
		store_value(state, omen_fuse_value_column(i), row->values[i],
					!row->known[i] || row->absent[i]);
}

/* The only row there is: a new version of one that was returned */
static TupleTableSlot *
recheck_row(OmenFuseScanState *state)
{
	ScanState  *scan = &state->custom.ss;
	OmenFuseScale scales[OMEN_FUSE_MAX_BRANCHES];
	double		values[OMEN_FUSE_MAX_BRANCHES];
	bool		absent[OMEN_FUSE_MAX_BRANCHES];
	TupleTableSlot *row;
	double		score = 0;
	bool		has_score;

	if (!find_changed_row(scan, &row))
		return ExecClearTuple(scan->ss_ScanTupleSlot);
	eval_options(state);
	form_columns(state, row);
	if (!ExecQual(state->row_quals, scan->ps.ps_ExprContext))
		return ExecClearTuple(scan->ss_ScanTupleSlot);
	for (int i = 0; i < state->nbranches; i++)
	{
		eval_query(state, &state->branches[i]);
		scales[i] = state->branches[i].scale;
		absent[i] = !compute_value(state, i, &values[i]);
		store_value(state, omen_fuse_value_column(i), values[i], absent[i]);
	}
	has_score = !state->options.by_rank &&
		!omen_fuse_norm_needs_window(state->options.norm) &&
		omen_fuse_score(&state->options, scales, values, absent, &score);
	store_value(state, omen_fuse_score_column(state->nbranches), score,
				!has_score);
	if (!ExecQual(state->value_quals, scan->ps.ps_ExprContext))
		return ExecClearTuple(scan->ss_ScanTupleSlot);
	return project(state);
}

/* False for a subquery that the statement has besides what is rechecked */
static bool
is_rechecked(const ScanState *scan)
{
	const EPQState *epq = scan->ps.state->es_epq_active;
	Index		rti = ((Scan *) scan->ps.plan)->scanrelid;

	return epq != NULL && (epq->relsubs_done[rti - 1] ||
						   epq->relsubs_slot[rti - 1] != NULL);
}

static bool
find_changed_row(const ScanState *scan, TupleTableSlot **slot)
{
	EPQState   *epq = scan->ps.state->es_epq_active;
	Index		rti = ((Scan *) scan->ps.plan)->scanrelid;

	*slot = epq->relsubs_slot[rti - 1];
	if (epq->relsubs_done[rti - 1] || TupIsNull(*slot))
		return false;
	epq->relsubs_done[rti - 1] = true;
	return true;
}

static TupleTableSlot *
project(OmenFuseScanState *state)
{
	ScanState  *scan = &state->custom.ss;

	return scan->ps.ps_ProjInfo ? ExecProject(scan->ps.ps_ProjInfo) :
		scan->ss_ScanTupleSlot;
}

static void
start_scan(OmenFuseScanState *state)
{
	PlanState  *ps = &state->custom.ss.ps;
	MemoryContext old;

	eval_options(state);
	if (state->is_single &&
		(!eval_filter(state, state->branches[0].stream) || !eval_bound(state)))
	{
		state->nothing = true;
		return;
	}
	for (int i = 0; i < state->nbranches; i++)
	{
		OmenFuseBranch *branch = &state->branches[i];

		eval_query(state, branch);
		if (branch->stream == NULL)
			continue;
		pgstat_count_index_scan(branch->stream->index);
		PredicateLockRelation(branch->stream->index, ps->state->es_snapshot);
	}
	state->window = choose_window(state);
	if (state->bitmap && !state->loaded)
		run_bitmap(state);
	state->nothing = true;
	for (int i = 0; i < state->nbranches; i++)
		state->nothing = state->nothing &&
			!omen_fuse_has_rows(&state->branches[i]);

	state->started = end_of_wal();
	old = MemoryContextSwitchTo(state->context);
	state->ranking = omen_fuse_ranking_begin(state);
	MemoryContextSwitchTo(old);
	state->nscans++;
}

static void
eval_options(OmenFuseScanState *state)
{
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;
	const CustomScan *plan = (CustomScan *) state->custom.ss.ps.plan;
	MemoryContext old;
	Datum		values[FUNC_MAX_ARGS];
	bool		isnull[FUNC_MAX_ARGS];
	int			n = 0;
	ListCell   *cell;

	memset(&state->options, 0, sizeof(state->options));
	state->options.nbranches = state->nbranches;
	if (state->is_single)
	{
		state->options.weights[0] = 1;
		return;
	}
	old = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
	foreach(cell, state->option_exprs)
	{
		values[n] = ExecEvalExpr((ExprState *) lfirst(cell), context,
								 &isnull[n]);
		n++;
	}
	state->options.by_rank = omen_fuse_plan_is_by_rank(plan);
	omen_fuse_read_options(&state->options, values, isnull);
	MemoryContextSwitchTo(old);
}

/* Conditions of a single branch, all together; false if one is NULL */
static bool
eval_filter(OmenFuseScanState *state, OmenStream *stream)
{
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;
	MemoryContext old;
	Datum		filter = (Datum) 0;
	ListCell   *cell;

	foreach(cell, state->option_exprs)
	{
		bool		isnull;
		Datum		query = ExecEvalExprSwitchContext(lfirst(cell), context,
													  &isnull);

		if (isnull)
			return false;
		old = MemoryContextSwitchTo(state->context);
		filter = filter == (Datum) 0 ?
			PointerGetDatum(PG_DETOAST_DATUM_COPY(query)) :
			DirectFunctionCall2(tsquery_and, filter, query);
		MemoryContextSwitchTo(old);
	}
	stream->filter = (TSQuery) DatumGetPointer(filter);
	return true;
}

/* Where a single branch is to end; false if no row is within the bounds */
static bool
eval_bound(OmenFuseScanState *state)
{
	const CustomScan *plan = (CustomScan *) state->custom.ss.ps.plan;
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;
	ListCell   *expr;
	ListCell   *strict;

	state->bound = get_float8_infinity();
	state->ends_at_bound = false;
	forboth(expr, state->bound_exprs, strict, omen_fuse_plan_strict(plan))
	{
		bool		isnull;
		Datum		datum = ExecEvalExprSwitchContext(lfirst(expr), context,
													  &isnull);
		double		bound;

		if (isnull)
			return false;
		bound = DatumGetFloat8(datum);

		/* NaN is beyond every value */
		if (isnan(bound) || bound > state->bound)
			continue;
		state->ends_at_bound = lfirst_int(strict) ||
			(bound == state->bound && state->ends_at_bound);
		state->bound = bound;
	}
	return true;
}

/* In the memory of the scan, and not out of line */
static void
eval_query(OmenFuseScanState *state, OmenFuseBranch *branch)
{
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;
	MemoryContext old;
	Datum		query;
	bool		isnull;

	branch->has_query = false;
	if (branch->query == NULL)
		return;
	query = ExecEvalExprSwitchContext(branch->query, context, &isnull);
	branch->has_query = !isnull;
	old = MemoryContextSwitchTo(state->context);
	if (!isnull && branch->query_typlen == -1)
		branch->query_value = PointerGetDatum(PG_DETOAST_DATUM_COPY(query));
	else if (!isnull)
		branch->query_value = datumCopy(query, branch->query_typbyval,
										branch->query_typlen);
	MemoryContextSwitchTo(old);
	if (branch->stream == NULL)
		return;
	branch->stream->has_query = branch->has_query;
	branch->stream->query = branch->query_value;
	branch->stream->is_rest = false;
}

/*
 * Rows of each branch that are ranked, or expected to be; 0 if that is not known
 */
static int
choose_window(const OmenFuseScanState *state)
{
	const PlanState *ps = &state->custom.ss.ps;
	int			limit = omen_limit_rows_wanted(ps);

	if (state->is_single)
		return (int) Min(ceil(limit / omen_fuse_plan_passing((CustomScan *)
															 ps->plan)),
						 INT_MAX / 2);
	if (state->options.window > 0)
		return state->options.window;
	if (limit == INT_MAX)
		return OMEN_FUSE_WINDOW_MOST;
	return Max(Max(OMEN_FUSE_WINDOW_LEAST, limit),
			   (int) Min((int64) limit * OMEN_FUSE_WINDOW_PER_ROW,
						 OMEN_FUSE_WINDOW_MOST));
}

static void
run_bitmap(OmenFuseScanState *state)
{
	TIDBitmap  *bitmap = (TIDBitmap *) MultiExecProcNode(state->bitmap);

	if (bitmap == NULL || !IsA(bitmap, TIDBitmap))
		elog(ERROR, "unrecognized result from subplan");
	for (int i = 0; i < state->nbranches; i++)
	{
		OmenStream *stream = state->branches[i].stream;

		if (stream)
			stream->ops->restrict_to(stream, bitmap);
	}
	tbm_free(bitmap);
	state->loaded = true;
}

bool
omen_fuse_has_rows(const OmenFuseBranch *branch)
{
	return branch->stream != NULL &&
		!branch->stream->ops->is_empty(branch->stream);
}

/* --- rows --- */

bool
omen_fuse_test_row(OmenFuseScanState *state, int n, const ItemPointerData *tid)
{
	ScanState  *scan = &state->custom.ss;
	OmenFuseBranch *branch = &state->branches[n];
	ExprContext *context = scan->ps.ps_ExprContext;

	pgstat_count_index_tuples(branch->stream->index, 1);
	if (scan->ps.qual == NULL && is_visible(state, branch->stream, tid))
		return true;
	if (!fetch_row(state, branch, tid))
		return false;
	if (scan->ps.qual == NULL)
		return true;

	ResetExprContext(context);
	form_columns(state, state->row);
	if (ExecQual(state->row_quals, context) && test_values(state))
		return true;
	InstrCountFiltered1(&scan->ps, 1);
	return false;
}

static bool
test_values(OmenFuseScanState *state)
{
	for (int i = 0; i < state->nbranches; i++)
	{
		double		value = 0;
		bool		found;

		if (!state->branches[i].is_tested)
			continue;
		found = compute_value(state, i, &value);
		store_value(state, omen_fuse_value_column(i), value, !found);
	}
	return ExecQual(state->value_quals, state->custom.ss.ps.ps_ExprContext);
}

/* Without a look at the row: the stream has had one, or its page is all-visible */
static bool
is_visible(OmenFuseScanState *state, const OmenStream *stream,
		   const ItemPointerData *tid)
{
	return (stream->ops->is_visible && stream->ops->is_visible(stream)) ||
		omen_fuse_is_all_visible(state, stream, tid);
}

/*
 * The map is asked later than the index was read.  Vacuum may have removed a
 * row from both meanwhile, and marked its page: so only a map counts that
 * nobody has set a bit of since the streams began.
 */
bool
omen_fuse_is_all_visible(OmenFuseScanState *state, const OmenStream *stream,
						 const ItemPointerData *tid)
{
	Relation	heap = stream->heap;
	BlockNumber block = ItemPointerGetBlockNumber(tid);

	if (heap->rd_tableam != GetHeapamTableAmRoutine() ||
		!RelationNeedsWAL(heap) ||
		!VM_ALL_VISIBLE(heap, block, &state->visibility) ||
		BufferGetLSNAtomic(state->visibility) > state->started)
		return false;
	PredicateLockPage(heap, block, stream->snapshot);
	return true;
}

/* What is written, or replayed, from now on ends beyond this */
static XLogRecPtr
end_of_wal(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) :
		GetXLogInsertRecPtr();
}

/* Into state->row, the version that the snapshot sees */
static bool
fetch_row(OmenFuseScanState *state, OmenFuseBranch *branch,
		  const ItemPointerData *tid)
{
	ItemPointerData moved = *tid;
	bool		call_again = false;

	if (ItemPointerIsValid(&state->fetched) &&
		ItemPointerEquals(&state->fetched, (ItemPointer) tid))
		return true;
	ItemPointerSetInvalid(&state->fetched);
	if (branch && branch->stream->ops->pin)
		branch->stream->ops->pin(branch->stream, state->fetch, tid);
	if (!table_index_fetch_tuple(state->fetch, &moved,
								 state->custom.ss.ps.state->es_snapshot,
								 state->row, &call_again, NULL))
		return false;
	if (branch)
		pgstat_count_heap_fetch(branch->stream->index);
	state->fetched = *tid;
	return true;
}

void
omen_fuse_read_value(OmenFuseScanState *state, int n, OmenFuseRow *row)
{
	OmenStream *stream = state->branches[n].stream;

	if (row->known[n])
		return;
	row->known[n] = true;
	if (stream && stream->ops->value_of &&
		stream->ops->value_of(stream, &row->tid, &row->values[n]))
		return;
	row->absent[n] = true;
	row->values[n] = 0;
	if (!fetch_row(state, &state->branches[n], &row->tid))
		return;
	ResetExprContext(state->custom.ss.ps.ps_ExprContext);
	form_columns(state, state->row);
	row->absent[n] = !compute_value(state, n, &row->values[n]);
}

/* The columns of the scan tuple that are the table's, and NULL for others */
static void
form_columns(OmenFuseScanState *state, TupleTableSlot *row)
{
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;

	context->ecxt_scantuple = row;
	context->ecxt_scantuple = ExecProject(state->columns);
}

/* By its operator, from the scan tuple; false for NULL */
static bool
compute_value(OmenFuseScanState *state, int n, double *value)
{
	OmenFuseBranch *branch = &state->branches[n];
	ExprContext *context = state->custom.ss.ps.ps_ExprContext;
	MemoryContext old;
	Datum		column;
	Datum		result;
	bool		isnull;

	*value = 0;
	if (!branch->has_query)
		return false;
	old = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
	column = ExecEvalExpr(branch->column, context, &isnull);
	if (!isnull)
	{
		result = branch->query_arg == 1 ?
			FunctionCall2Coll(&branch->operator, branch->collation, column,
							  branch->query_value) :
			FunctionCall2Coll(&branch->operator, branch->collation,
							  branch->query_value, column);
		*value = DatumGetFloat8(result);
	}
	MemoryContextSwitchTo(old);
	return !isnull;
}

static void
store_value(OmenFuseScanState *state, int column, double value, bool isnull)
{
	TupleTableSlot *slot = state->custom.ss.ss_ScanTupleSlot;

	slot->tts_values[column - 1] = Float8GetDatum(value);
	slot->tts_isnull[column - 1] = isnull;
}

/* --- end --- */

static void
end_scan(OmenFuseScanState *state)
{
	if (state->ranking)
	{
		for (int i = 0; i < state->nbranches; i++)
		{
			OmenStream *stream = state->branches[i].stream;

			if (stream)
				stream->ops->end(stream);
		}
	}
	state->ranking = NULL;
	if (BufferIsValid(state->visibility))
		ReleaseBuffer(state->visibility);
	state->visibility = InvalidBuffer;
	ItemPointerSetInvalid(&state->fetched);
	MemoryContextReset(state->context);
}

static void
end_node(CustomScanState *custom)
{
	OmenFuseScanState *state = (OmenFuseScanState *) custom;

	if (state->bitmap)
		ExecEndNode(state->bitmap);
	if (state->fetch == NULL)
		return;
	end_scan(state);
	table_index_fetch_end(state->fetch);
	for (int i = 0; i < state->nbranches; i++)
	{
		if (state->branches[i].stream)
			index_close(state->branches[i].stream->index, NoLock);
	}
}

static void
rescan_node(CustomScanState *custom)
{
	OmenFuseScanState *state = (OmenFuseScanState *) custom;

	end_scan(state);
	table_index_fetch_reset(state->fetch);
	ExecClearTuple(state->row);

	/* the server does not tell the children of custom scans */
	if (state->bitmap && custom->ss.ps.chgParam)
		UpdateChangedParamSet(state->bitmap, custom->ss.ps.chgParam);
	if (state->bitmap && state->bitmap->chgParam)
		state->loaded = false;
	ExecScanReScan(&custom->ss);
}
