/*-------------------------------------------------------------------------
 *
 * filter_plan.c
 *	  Paths and plans of Omen Filtered Scan.
 *
 * For each index of ours that the query can use:
 *
 *		ORDER BY distance, and other indexes can decide some of WHERE:
 *			nearest first, of the rows in the bitmap
 *		ORDER BY distance WHERE distance < bound:
 *			nearest first, up to the bound; the same in the bitmap
 *		WHERE distance < bound, whatever the order:
 *			the same
 *		a JOIN b ON a.vector <-> b.vector < bound:
 *			the same for each row of a, as the inner side of a nested loop
 *
 * WHERE that no index decides is left to the ordinary index scan: the executor
 * filters what it returns.
 *
 * The index may miss a row that is just within a bound.  Whoever reads by it
 * accepts that, but UPDATE and DELETE are to hit all rows that they name.
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

#include "hnsw/hnsw_cost.h"
#include "planner/fuse.h"
#include "planner/planner.h"

/* Bitmaps of a table, which are looked for once an index needs them */
typedef struct BitmapSearch
{
	bool		done;
	List	   *paths;			/* of BitmapHeapPath */
} BitmapSearch;

static set_rel_pathlist_hook_type next_set_rel_pathlist = NULL;

static void set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti,
							 RangeTblEntry *rte);
static bool is_scannable(RelOptInfo *rel, const RangeTblEntry *rte);
static void add_paths_of_index(PlannerInfo *root, RelOptInfo *rel,
							   IndexOptInfo *index, BitmapSearch *bitmaps);
static void add_filter_paths(PlannerInfo *root, RelOptInfo *rel,
							 const OmenDistanceMatch *match, Relids outer,
							 List *pathkeys, BitmapSearch *bitmaps);
static const RestrictInfo *find_bound_clause(PlannerInfo *root, List *clauses,
											 IndexOptInfo *index,
											 OmenDistanceMatch *match);
static void add_filter_path(PlannerInfo *root, RelOptInfo *rel,
							const OmenDistanceMatch *match, Relids outer,
							List *pathkeys, Path *bitmap);
static List *undecided_keys(PlannerInfo *root, IndexOptInfo *index,
							const List *decided);
static List *decided_by(const Path *tree);
static List *secure_clauses(const RelOptInfo *rel, List *clauses,
							List *decided, const List *keys);
static Plan *plan_filter_path(PlannerInfo *root, RelOptInfo *rel,
							  CustomPath *custom, List *tlist, List *clauses,
							  List *custom_plans);
static bool all_bound(const OmenFilterPath *path, List *clauses);

static const CustomPathMethods path_methods = {
	.CustomName = OMEN_FILTER_NAME,
	.PlanCustomPath = plan_filter_path,
};

void
omen_filter_init(void)
{
	RegisterCustomScanMethods(&omen_filter_scan_methods);
	next_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_rel_pathlist;
}

static void
set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti,
				 RangeTblEntry *rte)
{
	BitmapSearch bitmaps = {false, NIL};
	ListCell   *cell;

	if (next_set_rel_pathlist)
		next_set_rel_pathlist(root, rel, rti, rte);

	if (!omen_guc_filtered_scan() || !enable_indexscan ||
		!is_scannable(rel, rte))
		return;
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);

		if (omen_filter_is_usable(index))
			add_paths_of_index(root, rel, index, &bitmaps);
	}
}

/* A table with restrictions, of which all rows may be scanned */
static bool
is_scannable(RelOptInfo *rel, const RangeTblEntry *rte)
{
	return omen_filter_is_table(rel, rte) &&
		(rel->baserestrictinfo != NIL || rel->joininfo != NIL) &&
		rel->pathlist != NIL && !IS_DUMMY_REL(rel);
}

bool
omen_filter_is_table(const RelOptInfo *rel, const RangeTblEntry *rte)
{
	return rte->rtekind == RTE_RELATION && !rte->inh &&
		rte->tablesample == NULL && IS_SIMPLE_REL(rel) &&
		(rte->relkind == RELKIND_RELATION ||
		 rte->relkind == RELKIND_MATVIEW);
}

bool
omen_filter_is_usable(const IndexOptInfo *index)
{
	return omen_hnsw_is_ours(index) && !index->hypothetical &&
		(index->indpred == NIL || index->predOK);
}

/* By the distance that the query orders by, or one that it bounds */
static void
add_paths_of_index(PlannerInfo *root, RelOptInfo *rel, IndexOptInfo *index,
				   BitmapSearch *bitmaps)
{
	OmenDistanceMatch match;
	const RestrictInfo *join;
	List	   *pathkeys = NIL;

	/* what follows the distance is sorted by Incremental Sort */
	if (omen_match_order(root, rel, index, &match))
		pathkeys = list_make1(linitial(root->query_pathkeys));
	else if (bms_is_member(rel->relid, root->all_result_relids))
		return;

	if (pathkeys != NIL ||
		find_bound_clause(root, rel->baserestrictinfo, index, &match))
		add_filter_paths(root, rel, &match, rel->lateral_relids, pathkeys,
						 bitmaps);

	join = find_bound_clause(root, rel->joininfo, index, &match);
	if (join && join_clause_is_movable_to((RestrictInfo *) join, rel))
	{
		Relids		outer = bms_union(join->clause_relids,
									  rel->lateral_relids);

		outer = bms_del_member(outer, rel->relid);
		add_filter_paths(root, rel, &match, outer, NIL, bitmaps);
	}
}

/* With each bitmap, and without */
static void
add_filter_paths(PlannerInfo *root, RelOptInfo *rel,
				 const OmenDistanceMatch *match, Relids outer, List *pathkeys,
				 BitmapSearch *bitmaps)
{
	ListCell   *cell;

	if (!bitmaps->done)
		bitmaps->paths = omen_filter_find_bitmaps(root, rel, NULL);
	bitmaps->done = true;
	foreach(cell, bitmaps->paths)
		add_filter_path(root, rel, match, outer, pathkeys, lfirst(cell));
	add_filter_path(root, rel, match, outer, pathkeys, NULL);
}

/* The first one of these restrictions that bounds a distance */
static const RestrictInfo *
find_bound_clause(PlannerInfo *root, List *clauses, IndexOptInfo *index,
				  OmenDistanceMatch *match)
{
	ListCell   *cell;

	foreach(cell, clauses)
	{
		const RestrictInfo *info = lfirst_node(RestrictInfo, cell);

		if (omen_match_any_bound(root, index, info, match))
			return info;
	}
	return NULL;
}

/*
 * The best bitmap, and if that is several at once, each of them alone: the more
 * it narrows down, the fewer rows the server has to fetch, but we fetch few in
 * any case.
 */
List *
omen_filter_find_bitmaps(PlannerInfo *root, RelOptInfo *rel,
						 IndexOptInfo *but)
{
	Path	   *best = omen_filter_find_bitmap(root, rel, but);
	List	   *paths = NIL;
	Path	   *tree;
	ListCell   *cell;

	if (best == NULL)
		return NIL;
	paths = list_make1(best);
	tree = castNode(BitmapHeapPath, best)->bitmapqual;
	if (!IsA(tree, BitmapAndPath))
		return paths;
	foreach(cell, ((BitmapAndPath *) tree)->bitmapquals)
		paths = lappend(paths,
						create_bitmap_heap_path(root, rel, lfirst(cell),
												rel->lateral_relids, 1.0, 0));
	return paths;
}

/*
 * The server's best plan for the restrictions by bitmaps of other indexes, or
 * NULL.  What it has put on the list may not be it, for paths with a lower cost
 * for all rows displace it.  So it is to make its paths again, where nothing
 * else is there and no index can be scanned in another way.  It also sees to
 * it that nothing is decided by an index that must not be for security.
 */
Path *
omen_filter_find_bitmap(PlannerInfo *root, RelOptInfo *rel,
						IndexOptInfo *but)
{
	List	   *paths = rel->pathlist;
	List	   *partial_paths = rel->partial_pathlist;
	bool		parallel = rel->consider_parallel;
	List	   *hidden = NIL;
	Path	   *best = NULL;
	ListCell   *cell;

	if (!enable_bitmapscan || rel->baserestrictinfo == NIL)
		return NULL;
	rel->pathlist = rel->partial_pathlist = NIL;
	rel->consider_parallel = false;
	if (but)
		but->amhasgetbitmap = false;
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);

		if (!index->amhasgettuple)
			continue;
		index->amhasgettuple = false;
		hidden = lappend(hidden, index);
	}

	create_index_paths(root, rel);

	foreach(cell, rel->pathlist)
	{
		Path	   *path = lfirst(cell);

		if (IsA(path, BitmapHeapPath) &&
			bms_equal(PATH_REQ_OUTER(path), rel->lateral_relids) &&
			(best == NULL || path->total_cost < best->total_cost))
			best = path;
	}
	if (but)
		but->amhasgetbitmap = true;
	foreach(cell, hidden)
		lfirst_node(IndexOptInfo, cell)->amhasgettuple = true;
	rel->consider_parallel = parallel;
	rel->partial_pathlist = partial_paths;
	rel->pathlist = paths;
	return best;
}

/*
 * Unless neither a bitmap nor a bound makes it better than an index scan.
 * "outer" are the other tables that it takes values from.
 */
static void
add_filter_path(PlannerInfo *root, RelOptInfo *rel,
				const OmenDistanceMatch *match, Relids outer, List *pathkeys,
				Path *bitmap)
{
	OmenFilterPath *filter = palloc0(sizeof(OmenFilterPath));
	CustomPath *custom = &filter->custom;
	Path	   *path = &custom->path;
	List	   *clauses = rel->baserestrictinfo;
	List	   *decided = NIL;

	path->param_info = get_baserel_parampathinfo(root, rel, outer);
	if (path->param_info)
		clauses = list_concat_copy(clauses, path->param_info->ppi_clauses);
	filter->match = *match;
	if (bitmap)
		decided = decided_by(((const BitmapHeapPath *) bitmap)->bitmapqual);
	filter->keys = undecided_keys(root, match->index, decided);
	clauses = secure_clauses(rel, clauses, decided, filter->keys);
	filter->bound_clauses = omen_match_bounds(root, clauses, match,
											  pathkeys == NIL ?
											  OMEN_BOUND_OF_DISTANCE :
											  OMEN_BOUND_IN_ORDER,
											  &filter->bounds);
	if (filter->bounds == NIL && (bitmap == NULL || pathkeys == NIL))
		return;

	custom->path.type = T_CustomPath;
	custom->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	custom->methods = &path_methods;
	if (bitmap)
		custom->custom_paths = list_make1(bitmap);

	path->pathtype = T_CustomScan;
	path->parent = rel;
	path->pathtarget = rel->reltarget;
	path->rows = path->param_info ? path->param_info->ppi_rows : rel->rows;
	path->pathkeys = pathkeys;
	omen_filter_cost(root, rel, filter);
	add_path(rel, path);
}

/* Conditions on keys of the index, but for those that a bitmap decides */
static List *
undecided_keys(PlannerInfo *root, IndexOptInfo *index, const List *decided)
{
	List	   *keys = NIL;
	ListCell   *cell;

	if (index->nkeycolumns == 1)
		return NIL;
	foreach(cell, omen_key_clauses_of(root, index))
	{
		IndexClause *clause = lfirst_node(IndexClause, cell);

		if (!list_member_ptr(decided, clause->rinfo))
			keys = lappend(keys, clause);
	}
	return keys;
}

/* Restrictions that all rows of a bitmap meet, lossy indexes aside */
static List *
decided_by(const Path *tree)
{
	List	   *decided = NIL;
	ListCell   *cell;

	if (IsA(tree, BitmapAndPath))
	{
		foreach(cell, ((const BitmapAndPath *) tree)->bitmapquals)
			decided = list_concat(decided, decided_by(lfirst(cell)));
	}
	else if (IsA(tree, IndexPath))
	{
		foreach(cell, ((const IndexPath *) tree)->indexclauses)
			decided = lappend(decided,
							  lfirst_node(IndexClause, cell)->rinfo);
	}
	return decided;
}

/*
 * Those that may end the scan.  A bound that row security or a security barrier
 * puts behind other restrictions may not, unless no row comes that does not
 * meet these: or the rows that are removed would tell how many hidden ones lie
 * within any distance of any query.
 */
static List *
secure_clauses(const RelOptInfo *rel, List *clauses, List *decided,
			   const List *keys)
{
	Index		undecided = PG_UINT32_MAX;	/* the lowest level of these */
	List	   *secure = NIL;
	ListCell   *cell;

	foreach(cell, keys)
		decided = list_append_unique_ptr(decided,
										 lfirst_node(IndexClause, cell)->rinfo);
	foreach(cell, rel->baserestrictinfo)
	{
		const RestrictInfo *info = lfirst_node(RestrictInfo, cell);

		if (!info->pseudoconstant && !list_member_ptr(decided, info))
			undecided = Min(undecided, info->security_level);
	}
	foreach(cell, clauses)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);

		if (info->leakproof || info->security_level <= undecided)
			secure = lappend(secure, info);
	}
	return secure;
}

static Plan *
plan_filter_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *custom,
				 List *tlist, List *clauses, List *custom_plans)
{
	OmenFilterPath *path = (OmenFilterPath *) custom;
	CustomScan *scan = makeNode(CustomScan);
	List	   *undecided = extract_actual_clauses(clauses, false);
	List	   *keys = NIL;
	List	   *key_columns = NIL;
	ListCell   *cell;
	double		passing;
	double		patience;

	/* rows may be in the bitmap, or in an allowed node, that do not pass */
	scan->scan.plan.qual = undecided;
	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = rel->relid;
	scan->flags = custom->flags;
	if (custom_plans != NIL)
		scan->custom_plans =
			list_make1(omen_filter_take_bitmap(linitial(custom_plans),
											   &undecided));
	passing = all_bound(path, undecided) ? 1.0 : path->passing;

	/* a trial tests its rows twice */
	patience = contain_volatile_functions((Node *) scan->scan.plan.qual) ? 0 :
		path->patience;

	foreach(cell, path->keys)
	{
		IndexClause *clause = lfirst_node(IndexClause, cell);

		keys = list_concat(keys,
						   get_actual_clauses(clause->indexquals));
		key_columns = lappend_int(key_columns, clause->indexcol);
	}

	scan->custom_exprs = lcons(path->match.distance,
							   lcons(keys, path->bounds));
	scan->custom_private =
		list_make5(list_make1_oid(path->match.index->indexoid),
				   list_make1_int(path->match.query_arg), key_columns,
				   makeFloat(psprintf("%.17g", passing)),
				   list_make2(makeFloat(psprintf("%.17g",
												 omen_hnsw_rows_share(rel))),
							  makeFloat(psprintf("%.17g", patience))));
	scan->methods = &omen_filter_scan_methods;
	return &scan->scan.plan;
}

/*
 * Of the plan for a bitmap heap scan, the bitmap; and what the bitmap leaves
 * undecided
 */
Plan *
omen_filter_take_bitmap(Plan *plan, List **undecided)
{
	if (IsA(plan, Result))
		plan = plan->lefttree;	/* constants are tested above us as well */
	*undecided = castNode(BitmapHeapScan, plan)->scan.plan.qual;
	return plan->lefttree;
}

/* Are these clauses none but bounds?  All rows up to the end pass those. */
static bool
all_bound(const OmenFilterPath *path, List *clauses)
{
	List	   *bounds = extract_actual_clauses(path->bound_clauses, false);
	ListCell   *cell;

	foreach(cell, clauses)
	{
		if (!list_member(bounds, lfirst(cell)))
			return false;
	}
	return true;
}

/* --- what a plan carries --- */

bool
omen_filter_is_plan(const Plan *plan)
{
	return IsA(plan, CustomScan) &&
		((const CustomScan *) plan)->methods == &omen_filter_scan_methods &&
		!omen_fuse_plan_is_single((const CustomScan *) plan);
}

Oid
omen_filter_plan_index(const CustomScan *plan)
{
	return linitial_oid(linitial(plan->custom_private));
}

int
omen_filter_plan_query_arg(const CustomScan *plan)
{
	return linitial_int(lsecond(plan->custom_private));
}

double
omen_filter_plan_passing(const CustomScan *plan)
{
	return floatVal(lfourth(plan->custom_private));
}

double
omen_filter_plan_share(const CustomScan *plan)
{
	return floatVal(linitial(list_nth(plan->custom_private, 4)));
}

double
omen_filter_plan_patience(const CustomScan *plan)
{
	return floatVal(lsecond(list_nth(plan->custom_private, 4)));
}

List *
omen_filter_plan_keys(const CustomScan *plan)
{
	return lsecond(plan->custom_exprs);
}

List *
omen_filter_plan_key_columns(const CustomScan *plan)
{
	return lthird(plan->custom_private);
}

List *
omen_filter_plan_bounds(const CustomScan *plan)
{
	return list_copy_tail(plan->custom_exprs, 2);
}
