/*-------------------------------------------------------------------------
 *
 * fuse_plan.c
 *	  Paths and plans of Omen Fused Scan.
 *
 * With the best bitmap for WHERE, and without; the cost decides.  If the
 * function has no value for a row alone, what the server has found so far is
 * of no use, and is dropped.  By a text alone, only with a bitmap or a bound:
 * without, an index scan does the same.
 *
 * The scan tuple holds, besides columns of the table, the call itself and each
 * of its branches: wherever the query has these expressions, the server takes
 * them from there instead of computing them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"

#include "planner/fuse.h"
#include "planner/planner.h"

static set_rel_pathlist_hook_type next_set_rel_pathlist = NULL;

static void set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti,
							 RangeTblEntry *rte);
static void add_fuse_paths(PlannerInfo *root, RelOptInfo *rel,
						   const OmenFuseMatch *match);
static void add_single_paths(PlannerInfo *root, RelOptInfo *rel,
							 const OmenFuseMatch *match);
static void add_fuse_path(PlannerInfo *root, RelOptInfo *rel,
						  const OmenFuseMatch *match, Path *bitmap);
static Plan *plan_fuse_path(PlannerInfo *root, RelOptInfo *rel,
							CustomPath *custom, List *tlist, List *clauses,
							List *custom_plans);
static List *form_scan_tuple(RelOptInfo *rel, const OmenFuseMatch *match,
							 List *clauses);
static List *add_column(List *tlist, Expr *expr);
static List *add_computed(List *tlist, List *scan_tuple, int n);
static bool has_gate(List *clauses);
static int	first_bound(const CustomScan *plan);

static const CustomPathMethods path_methods = {
	.CustomName = OMEN_FUSE_NAME,
	.PlanCustomPath = plan_fuse_path,
};

static const CustomPathMethods single_path_methods = {
	.CustomName = OMEN_FILTER_NAME,
	.PlanCustomPath = plan_fuse_path,
};

void
omen_fuse_init(void)
{
	RegisterCustomScanMethods(&omen_fuse_scan_methods);
	next_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_rel_pathlist;
}

static void
set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti,
				 RangeTblEntry *rte)
{
	OmenFuseMatch match = {0};

	if (next_set_rel_pathlist)
		next_set_rel_pathlist(root, rel, rti, rte);

	if (omen_fuse_match_order(root, rel, rte, &match))
		add_fuse_paths(root, rel, &match);
	else if (omen_fuse_match_text(root, rel, rte, &match))
		add_single_paths(root, rel, &match);
}

static void
add_fuse_paths(PlannerInfo *root, RelOptInfo *rel, const OmenFuseMatch *match)
{
	Path	   *bitmap = omen_filter_find_bitmap(root, rel, NULL);

	if (match->call.needs_scan)
		rel->pathlist = rel->partial_pathlist = NIL;
	add_fuse_path(root, rel, match, NULL);
	if (bitmap)
		add_fuse_path(root, rel, match, bitmap);
}

/* What the index itself can decide, it does while it ranks */
static void
add_single_paths(PlannerInfo *root, RelOptInfo *rel,
				 const OmenFuseMatch *match)
{
	ListCell   *cell;

	foreach(cell, omen_filter_find_bitmaps(root, rel,
										   match->branches[0].index))
		add_fuse_path(root, rel, match, lfirst(cell));
	if (match->bounds != NIL)
		add_fuse_path(root, rel, match, NULL);
}

static void
add_fuse_path(PlannerInfo *root, RelOptInfo *rel, const OmenFuseMatch *match,
			  Path *bitmap)
{
	OmenFusePath *fuse = palloc0(sizeof(OmenFusePath));
	CustomPath *custom = &fuse->custom;
	Path	   *path = &custom->path;

	fuse->match = *match;
	custom->path.type = T_CustomPath;
	custom->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	custom->methods = match->call.is_single ? &single_path_methods :
		&path_methods;
	if (bitmap)
		custom->custom_paths = list_make1(bitmap);

	path->pathtype = T_CustomScan;
	path->parent = rel;
	path->pathtarget = rel->reltarget;
	path->param_info = get_baserel_parampathinfo(root, rel,
												 rel->lateral_relids);
	path->rows = path->param_info ? path->param_info->ppi_rows : rel->rows;

	/* what follows the first key is sorted by Incremental Sort */
	path->pathkeys = list_make1(linitial(root->query_pathkeys));
	omen_fuse_cost(root, rel, fuse);
	add_path(rel, path);
}

static Plan *
plan_fuse_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *custom,
			   List *tlist, List *clauses, List *custom_plans)
{
	const OmenFusePath *path = (OmenFusePath *) custom;
	const OmenFuseMatch *match = &path->match;
	const OmenFuseCall *call = &match->call;
	CustomScan *scan = makeNode(CustomScan);
	List	   *quals = extract_actual_clauses(clauses, false);
	List	   *undecided;
	List	   *indexes = NIL;
	List	   *query_args = NIL;

	/* rows may be in the bitmap, or in an allowed node, that do not pass */
	scan->scan.plan.qual = quals;
	scan->scan.scanrelid = rel->relid;
	scan->flags = custom->flags;
	if (custom_plans != NIL)
		scan->custom_plans =
			list_make1(omen_filter_take_bitmap(linitial(custom_plans),
											   &undecided));
	scan->custom_scan_tlist = form_scan_tuple(rel, match, quals);

	/* a node that tests conditions without rows projects above this one */
	if (has_gate(clauses) && rel->reloptkind == RELOPT_BASEREL)
		tlist = add_computed(tlist, scan->custom_scan_tlist,
							 1 + call->nbranches);
	scan->scan.plan.targetlist = tlist;

	for (int i = 0; i < call->nbranches; i++)
	{
		const OmenDistanceMatch *branch = &match->branches[i];
		List	   *args;

		if (branch->index == NULL)
		{
			indexes = lappend_oid(indexes, InvalidOid);
			query_args = lappend_int(query_args, 0);
			scan->custom_exprs = list_concat(scan->custom_exprs,
											 list_make2(NULL, NULL));
			continue;
		}
		args = branch->distance->args;
		indexes = lappend_oid(indexes, branch->index->indexoid);
		query_args = lappend_int(query_args, branch->query_arg);
		scan->custom_exprs = lappend(scan->custom_exprs,
									 list_nth(args, branch->query_arg));
		scan->custom_exprs = lappend(scan->custom_exprs,
									 list_nth(args, 1 - branch->query_arg));
	}
	scan->custom_exprs = list_concat(scan->custom_exprs,
									 list_copy_tail(call->args,
													call->nbranches));
	scan->custom_exprs = list_concat(scan->custom_exprs, match->bounds);
	scan->custom_private =
		list_make5(list_make1_int(call->by_rank), indexes, query_args,
				   makeFloat(psprintf("%.17g", path->passing)),
				   match->strict);
	scan->methods = call->is_single ? &omen_filter_scan_methods :
		&omen_fuse_scan_methods;
	return &scan->scan.plan;
}

/*
 * The values of the branches, the score, and the columns that are wanted of a
 * row, by whoever is above, WHERE or a branch
 */
static List *
form_scan_tuple(RelOptInfo *rel, const OmenFuseMatch *match, List *clauses)
{
	const OmenFuseCall *call = &match->call;
	List	   *tlist = NIL;
	List	   *exprs;
	ListCell   *cell;

	for (int i = 0; i < call->nbranches; i++)
		tlist = add_column(tlist, list_nth(call->args, i));
	tlist = add_column(tlist, call->score);

	exprs = list_make3(rel->reltarget->exprs, clauses, call->args);
	foreach(cell, pull_var_clause((Node *) exprs,
								  PVC_RECURSE_AGGREGATES |
								  PVC_RECURSE_WINDOWFUNCS |
								  PVC_RECURSE_PLACEHOLDERS))
	{
		Var		   *var = lfirst_node(Var, cell);

		if (var->varno == rel->relid && !tlist_member((Expr *) var, tlist))
			tlist = add_column(tlist, (Expr *) var);
	}
	return tlist;
}

static List *
add_column(List *tlist, Expr *expr)
{
	return lappend(tlist, makeTargetEntry(copyObject(expr),
										  list_length(tlist) + 1, NULL,
										  false));
}

/* Hand the first n columns on, which nothing above can compute */
static List *
add_computed(List *tlist, List *scan_tuple, int n)
{
	tlist = list_copy(tlist);
	for (int i = 0; i < n; i++)
	{
		Expr	   *expr = list_nth_node(TargetEntry, scan_tuple, i)->expr;

		tlist = lappend(tlist, makeTargetEntry(copyObject(expr),
											   list_length(tlist) + 1, NULL,
											   true));
	}
	return tlist;
}

static bool
has_gate(List *clauses)
{
	ListCell   *cell;

	foreach(cell, clauses)
	{
		if (lfirst_node(RestrictInfo, cell)->pseudoconstant)
			return true;
	}
	return false;
}

/* --- what a plan carries --- */

/* Filtered scans for vectors return rows of the table as they are */
bool
omen_fuse_plan_is_single(const CustomScan *plan)
{
	return plan->methods == &omen_filter_scan_methods &&
		plan->custom_scan_tlist != NIL;
}

bool
omen_fuse_plan_is_by_rank(const CustomScan *plan)
{
	return linitial_int(linitial(plan->custom_private)) != 0;
}

double
omen_fuse_plan_passing(const CustomScan *plan)
{
	return floatVal(lfourth(plan->custom_private));
}

int
omen_fuse_plan_nbranches(const CustomScan *plan)
{
	return list_length(lsecond(plan->custom_private));
}

void
omen_fuse_plan_branch(const CustomScan *plan, int n,
					  OmenFusePlanBranch *branch)
{
	branch->index = list_nth_oid(lsecond(plan->custom_private), n);
	branch->query_arg = list_nth_int(lthird(plan->custom_private), n);
	branch->query = list_nth(plan->custom_exprs, 2 * n);
	branch->column = list_nth(plan->custom_exprs, 2 * n + 1);
}

List *
omen_fuse_plan_options(const CustomScan *plan)
{
	return list_truncate(list_copy_tail(plan->custom_exprs,
										2 * omen_fuse_plan_nbranches(plan)),
						 first_bound(plan) -
						 2 * omen_fuse_plan_nbranches(plan));
}

List *
omen_fuse_plan_bounds(const CustomScan *plan)
{
	return list_copy_tail(plan->custom_exprs, first_bound(plan));
}

List *
omen_fuse_plan_strict(const CustomScan *plan)
{
	return list_nth(plan->custom_private, 4);
}

static int
first_bound(const CustomScan *plan)
{
	return list_length(plan->custom_exprs) -
		list_length(omen_fuse_plan_strict(plan));
}
