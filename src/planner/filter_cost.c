/*-------------------------------------------------------------------------
 *
 * filter_cost.c
 *	  Estimated cost of Omen Filtered Scan.
 *
 * Before the first row: the bitmap, from it the allowed nodes, and the nearest
 * of those by the best strategy (hnsw_cost.c), perhaps after a trial without
 * all that (filter_trial.c).  Then for each row: its fetch
 * from the table, and the restrictions.  What an ordinary ordered index scan
 * costs is counted in the same units, so that the two compare.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "hnsw/hnsw_cost.h"
#include "hnsw/hnsw_page.h"
#include "planner/filter.h"
#include "planner/planner.h"

/*
 * Measured on 1M x 128: each leaf of the TID map costs 0.25 us, a fifth of a visit,
 * and a row takes 22 ns to become a node, with what the server counts for the index
 * scan, whether rows come in order or not.  On 100,000 x 128: a page of the table
 * that has a row in a bitmap takes 0.13 us to be hashed and sorted, which the server
 * does not count.
 */
#define LEAF_VISITS		0.2
#define NODE_COST		(3 * cpu_operator_cost)
#define PAGE_COST		(50 * cpu_operator_cost)

/*
 * A row that has a leaf of the TID map to itself costs that leaf and its node,
 * where a Sort reads one page of the table.  The server prices that page as if
 * it was not cached, so the two must not seem cheaper.  Measured on 1M x 128: a
 * Sort of 94, 265, 453, 953 scattered rows takes .73, .78, .72, 1.3 of the scan if
 * the same are searched again and again, and 1.08, 1.0, 1.4 and more if they
 * have left the caches of the CPU in between.  Of vectors out of line, it reads
 * more pages than the scan.
 */
#define MOST_LONE_ROWS	200.0

/*
 * A query that bounds distances wants what is near, not the third of the table that
 * the server assumes of "<".  More, if so many of the index's entries are within.
 */
#define BOUND_SELECTIVITY	DEFAULT_RANGE_INEQ_SEL

static double share_with_keys(PlannerInfo *root, const OmenFilterPath *filter);
static double share_within(PlannerInfo *root, const OmenFilterPath *filter);
static double graph_bound(PlannerInfo *root, const OmenFilterPath *filter,
						  OmenMetric metric);
static void plan_trial_later(OmenFilterPath *filter,
							 const OmenHnswCosts *costs, Cost set);
static Cost plan_trial(PlannerInfo *root, OmenFilterPath *filter,
					   const OmenHnswCosts *costs, double limit, Cost search);
static Cost cost_sets(const RelOptInfo *rel, const OmenHnswCosts *costs,
					  const Path *tree);
static Cost cost_bitmap(const RelOptInfo *rel, double rows);
static double leaves_of_map(const RelOptInfo *rel);
static Cost cost_lone_rows(const RelOptInfo *rel, const OmenHnswCosts *costs);
static Cost cost_unread_distance(PlannerInfo *root,
								 const OmenFilterPath *filter);

void
omen_filter_cost(PlannerInfo *root, RelOptInfo *rel, OmenFilterPath *filter)
{
	Path	   *path = &filter->custom.path;
	List	   *others = list_difference_ptr(rel->baserestrictinfo,
											 filter->bound_clauses);
	double		rows = Max(rel->tuples, 1.0);
	double		limit = omen_hnsw_limit(root);
	OmenHnswCosts costs;
	Cost		bitmap_cost;
	Cost		set = 0;		/* of allowed nodes */
	Cost		search;			/* for the nearest, and for what they are of */
	double		in_bitmap;
	double		allowed;		/* of them, by keys of the index */
	double		within;			/* rows before the end of the scan */
	double		wanted;

	omen_hnsw_get_costs(filter->match.index, &costs);
	in_bitmap = rows * omen_filter_share_in_bitmap(&filter->custom,
												   &bitmap_cost);
	allowed = clamp_row_est(in_bitmap * share_with_keys(root, filter));
	filter->passing = clauselist_selectivity(root, others, 0, JOIN_INNER,
											 NULL) * rows / allowed;
	filter->passing = Min(Max(filter->passing, 1.0 / allowed), 1.0);
	within = clamp_row_est(filter->bounds == NIL ? allowed :
						   allowed * share_within(root, filter));
	wanted = limit > 0 ? Min(limit / filter->passing, within) : within;

	/* a walk that nothing narrows costs what an ordinary scan does */
	if (filter->custom.custom_paths == NIL && filter->keys == NIL)
		search = Max(costs.breadth, wanted) * costs.visit;
	else
		search = omen_hnsw_cost_nearest(&costs, list_length(filter->keys),
										costs.nodes * allowed / rows, wanted);
	if (filter->custom.custom_paths != NIL)
		set = bitmap_cost +
			cost_sets(rel, &costs,
					  linitial_node(BitmapHeapPath,
									filter->custom.custom_paths)->bitmapqual);
	search += set;
	if (set > 0 && filter->bounds == NIL)
	{
		if (limit > 0)
			search = plan_trial(root, filter, &costs, limit, search);
		else if (root->parse->limitCount != NULL)
			plan_trial_later(filter, &costs, set);
		if (omen_toasted_chunks(root, (Node *) filter->match.distance) == 0)
			search += cost_lone_rows(rel, &costs);
	}

	path->startup_cost = search + rel->baserestrictcost.startup +
		path->pathtarget->cost.startup;
	path->total_cost = path->startup_cost +
		within * (costs.pass + cpu_index_tuple_cost + cpu_tuple_cost +
				  rel->baserestrictcost.per_tuple) +
		omen_filter_cost_rows(root, rel, within) +
		path->rows * path->pathtarget->cost.per_tuple;

	/* the server will add that for each row, as it does below a Sort */
	if (path->pathkeys != NIL)
		path->total_cost = Max(path->startup_cost, path->total_cost -
							   path->rows *
							   cost_unread_distance(root, filter));
}

/*
 * Is a walk without the bitmap worth a trial?  Then what the search costs with
 * that.  If rows that pass lie anywhere, a wider walk may do: in vain only if
 * they are far away.  If it may not, the first one is likely to be in vain.
 */
static Cost
plan_trial(PlannerInfo *root, OmenFilterPath *filter,
		   const OmenHnswCosts *costs, double limit, Cost search)
{
	RelOptInfo *rel = filter->custom.path.parent;
	double		share = omen_hnsw_rows_share(rel);
	double		rows = Min(limit / share, costs->nodes);
	Cost		first = costs->visit *
		Max(costs->breadth, OMEN_BREADTH_PER_ROW * limit);
	Cost		all;

	if (search < OMEN_TRIAL_FACTOR * first)
		return search;
	filter->patience = search / costs->visit;
	all = costs->visit * Max(costs->breadth, OMEN_BREADTH_PER_ROW * rows) +
		omen_filter_cost_rows(root, rel, rows) +
		rows * (cpu_tuple_cost + rel->baserestrictcost.per_tuple);
	return Min(all + OMEN_FAR_CHANCE(share) * search, first + search);
}

/* LIMIT is a parameter, whose value the execution knows */
static void
plan_trial_later(OmenFilterPath *filter, const OmenHnswCosts *costs, Cost set)
{
	if (set >= OMEN_TRIAL_FACTOR * costs->breadth * costs->visit)
		filter->patience = set / costs->visit;
}

/* Of the distance, if it is only ordered by: unread_distance.c */
static Cost
cost_unread_distance(PlannerInfo *root, const OmenFilterPath *filter)
{
	QualCost	cost;
	ListCell   *cell;

	foreach(cell, root->processed_tlist)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk && equal(entry->expr, filter->match.distance))
		{
			cost_qual_eval_node(&cost, (Node *) entry->expr, root);
			return cost.per_tuple;
		}
	}
	return 0;
}

/* The share of rows that meet the conditions on keys */
static double
share_with_keys(PlannerInfo *root, const OmenFilterPath *filter)
{
	List	   *clauses = NIL;
	ListCell   *cell;

	foreach(cell, filter->keys)
		clauses = lappend(clauses, lfirst_node(IndexClause, cell)->rinfo);
	return clauselist_selectivity(root, clauses, 0, JOIN_INNER, NULL);
}

/*
 * The share of rows within the bounds: where all values are known, and nobody may
 * learn from what a plan costs where hidden rows are
 */
static double
share_within(PlannerInfo *root, const OmenFilterPath *filter)
{
	const OmenDistanceMatch *match = &filter->match;
	double		share = 0;
	Node	   *query;
	Relation	index;
	double		bound;

	query = estimate_expression_value(root, list_nth(match->distance->args,
													 match->query_arg));
	if (root->qual_security_level > 0 || !IsA(query, Const) ||
		((Const *) query)->constisnull)
		return BOUND_SELECTIVITY;
	index = index_open(match->index->indexoid, NoLock);
	bound = graph_bound(root, filter, omen_hnsw_opclass(index)->metric);
	if (bound < get_float8_infinity())
		share = omen_hnsw_share_within(index, ((Const *) query)->constvalue,
									   bound);
	index_close(index, NoLock);
	return Max(share, BOUND_SELECTIVITY);
}

/* The least that is known; infinity if none is */
static double
graph_bound(PlannerInfo *root, const OmenFilterPath *filter,
			OmenMetric metric)
{
	double		least = get_float8_infinity();
	ListCell   *cell;

	foreach(cell, filter->bounds)
	{
		Const	   *bound = (Const *) estimate_expression_value(root,
																lfirst(cell));

		if (IsA(bound, Const) && !bound->constisnull &&
			!isnan(DatumGetFloat8(bound->constvalue)))
			least = Min(least, omen_filter_graph_bound(metric,
										   DatumGetFloat8(bound->constvalue)));
	}
	return least;
}

double
omen_filter_share_in_bitmap(const CustomPath *path, Cost *cost)
{
	Selectivity share = 1.0;

	*cost = 0;
	if (path->custom_paths != NIL)
	{
		BitmapHeapPath *bitmap = linitial_node(BitmapHeapPath,
											   path->custom_paths);

		cost_bitmap_tree_node(bitmap->bitmapqual, cost, &share);
	}
	return share;
}

/*
 * Of each index, whose sets are combined (filter_allow.c).  Those that tell
 * their rows one by one need no bitmap.
 */
static Cost
cost_sets(const RelOptInfo *rel, const OmenHnswCosts *costs, const Path *tree)
{
	List	   *children = NIL;
	Cost		cost = 0;
	ListCell   *cell;

	if (IsA(tree, IndexPath))
	{
		const IndexPath *scan = (const IndexPath *) tree;
		double		rows = scan->indexselectivity * rel->tuples;

		if (!scan->indexinfo->amhasgettuple)
			cost = cost_bitmap(rel, rows);
		return cost + omen_filter_cost_allow_set(rel, costs, rows);
	}
	if (IsA(tree, BitmapAndPath))
		children = ((const BitmapAndPath *) tree)->bitmapquals;
	else if (IsA(tree, BitmapOrPath))
		children = ((const BitmapOrPath *) tree)->bitmapquals;
	foreach(cell, children)
		cost += cost_sets(rel, costs, lfirst(cell));
	return cost;
}

static Cost
cost_bitmap(const RelOptInfo *rel, double rows)
{
	double		pages = Max(rel->pages, 1.0);

	return pages * PAGE_COST * (1 - exp(-rows / pages));
}

/* From so many rows to nodes: few rows are on as many leaves as many are */
Cost
omen_filter_cost_allow_set(const RelOptInfo *rel, const OmenHnswCosts *costs,
						   double rows)
{
	return rows * NODE_COST +
		Min(leaves_of_map(rel), rows) * LEAF_VISITS * costs->visit;
}

static double
leaves_of_map(const RelOptInfo *rel)
{
	double		rows_per_page = rel->tuples / Max(rel->pages, 1.0);

	return ceil(rel->pages / (double) OMEN_TIDMAP_BLOCKS) *
		ceil(rows_per_page / OMEN_TIDMAP_OFFSETS);
}

/*
 * What the rows cost more that are alone on their leaf, if they lie anywhere.
 * Those that a Sort would have: so that one filtered scan does not seem better
 * than another because its bitmap has more rows.
 */
static Cost
cost_lone_rows(const RelOptInfo *rel, const OmenHnswCosts *costs)
{
	double		lone = rel->rows *
		exp(-rel->rows / Max(leaves_of_map(rel), 1.0));
	double		page_cost;

	get_tablespace_page_costs(rel->reltablespace, &page_cost, NULL);
	return Min(lone, MOST_LONE_ROWS) * (page_cost + costs->visit);
}

/*
 * As many pages as cost_index() counts for an order that the table does not
 * have, at the price of a bitmap heap scan: if it is most of the table, they
 * come from memory.  At the price of random ones, a scan that returns 2 % of a
 * table of 100 pages seemed to cost more than the Sort of these rows, which
 * takes twice as long.
 */
Cost
omen_filter_cost_rows(PlannerInfo *root, RelOptInfo *rel, double rows)
{
	double		pages = index_pages_fetched(rows, rel->pages, 0, root);
	double		random;
	double		sequential;

	get_tablespace_page_costs(rel->reltablespace, &random, &sequential);
	return pages * (random - (random - sequential) *
					sqrt(Min(pages / Max(rel->pages, 1.0), 1.0)));
}
