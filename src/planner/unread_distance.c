/*-------------------------------------------------------------------------
 *
 * unread_distance.c
 *	  Spares ordered scans of an index the distance that nobody reads.
 *
 * ORDER BY embedding <-> $1 adds the distance to the plan's target list as a
 * "junk" column, for a Sort that an ordered index scan makes superfluous.  The
 * executor computes it for every row all the same; where vectors are TOASTed,
 * that costs more than the search.
 *
 *		Limit								Limit
 *		  -> Index Scan				=>		  -> Index Scan
 *			   id, (embedding <-> $1)			   id, NULL
 *
 * Only where nothing but Limit and LockRows, which do not look at it, lies
 * between the scan and the top of a query, CTE or subquery, where junk is
 * dropped; and not in the first statement of a session if the planner is what
 * loads this library.  Should its plan be kept, it is made anew the next time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "utils/plancache.h"

#include "bm25/bm25.h"
#include "hnsw/hnsw.h"
#include "planner/filter.h"
#include "planner/planner.h"

static planner_hook_type next_planner = NULL;

static PlannedStmt *plan_query(Query *query, const char *text, int options,
							   ParamListInfo params);
static void visit_queries(Plan *plan);
static void drop_unread(Plan *plan);
static List *index_order(Plan *plan);
static bool is_ours(Oid index);

void
omen_unread_distance_init(void)
{
	next_planner = planner_hook;
	planner_hook = plan_query;
	ResetPlanCache();
}

static PlannedStmt *
plan_query(Query *query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *result;
	ListCell   *cell;

	if (next_planner)
		result = next_planner(query, text, options, params);
	else
		result = standard_planner(query, text, options, params);

	drop_unread(result->planTree);
	visit_queries(result->planTree);
	foreach(cell, result->subplans)
	{
		drop_unread((Plan *) lfirst(cell));
		visit_queries((Plan *) lfirst(cell));
	}
	return result;
}

/* The subqueries of a plan; those planned on their own are in subplans */
static void
visit_queries(Plan *plan)
{
	List	   *children = NIL;
	ListCell   *cell;

	if (plan == NULL)
		return;
	check_stack_depth();
	visit_queries(plan->lefttree);
	visit_queries(plan->righttree);
	if (IsA(plan, SubqueryScan))
	{
		drop_unread(((SubqueryScan *) plan)->subplan);
		visit_queries(((SubqueryScan *) plan)->subplan);
	}
	else if (IsA(plan, Append))
		children = ((Append *) plan)->appendplans;
	else if (IsA(plan, MergeAppend))
		children = ((MergeAppend *) plan)->mergeplans;

	foreach(cell, children)
		visit_queries((Plan *) lfirst(cell));
}

/* At the top of a query: replace what only its Sort would have read */
static void
drop_unread(Plan *plan)
{
	List	   *order;
	ListCell   *cell;

	if (plan != NULL && IsA(plan, Limit) &&
		((Limit *) plan)->limitOption == LIMIT_OPTION_COUNT)
		plan = plan->lefttree;
	if (plan != NULL && IsA(plan, LockRows))
		plan = plan->lefttree;
	if (plan == NULL)
		return;

	order = index_order(plan);
	foreach(cell, plan->targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Oid			type = exprType((Node *) entry->expr);

		if (entry->resjunk && list_member(order, entry->expr))
			entry->expr = (Expr *) makeNullConst(type, -1, InvalidOid);
	}
}

/* The distances by which a scan of ours returns its rows */
static List *
index_order(Plan *plan)
{
	if (IsA(plan, IndexScan))
	{
		IndexScan  *scan = (IndexScan *) plan;

		return scan->indexorderbyorig != NIL && is_ours(scan->indexid) ?
			scan->indexorderbyorig : NIL;
	}
	if (omen_filter_is_plan(plan))
		return list_make1(linitial(((CustomScan *) plan)->custom_exprs));
	return NIL;
}

static bool
is_ours(Oid index)
{
	Relation	relation = index_open(index, NoLock);
	bool		ours = relation->rd_indam->amgettuple == omen_hnsw_gettuple ||
		relation->rd_indam->amgettuple == omen_bm25_gettuple;

	index_close(relation, NoLock);
	return ours;
}
