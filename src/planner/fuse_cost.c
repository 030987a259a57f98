/*-------------------------------------------------------------------------
 *
 * fuse_cost.c
 *	  Estimated cost of Omen Fused Scan.
 *
 * Before the first row: the bitmap, and for each branch the set of nodes or rows
 * made of it, a search, and as many rows as will be pulled.  If only windows are
 * ranked, that is the window; else what Fagin's algorithm expects of n branches
 * that have nothing to do with each other, N^((n-1)/n) k^(1/n).  A single
 * branch is pulled row by row, and no further than LIMIT says.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "utils/selfuncs.h"

#include "hnsw/hnsw_cost.h"
#include "planner/fuse.h"

static double rows_to_pull(const OmenFuseCall *call, double rows,
						   double limit);
static Cost cost_branch(PlannerInfo *root, const RelOptInfo *rel,
						const OmenFusePath *path,
						const OmenDistanceMatch *match, double allowed,
						double wanted);
static Cost cost_text(PlannerInfo *root, const OmenDistanceMatch *match);

void
omen_fuse_cost(PlannerInfo *root, RelOptInfo *rel, OmenFusePath *fuse)
{
	Path	   *path = &fuse->custom.path;
	const OmenFuseCall *call = &fuse->match.call;
	double		rows = Max(rel->tuples, 1.0);
	double		limit = omen_hnsw_limit(root);
	double		allowed;
	double		brought;		/* of those, rows that a stream may bring */
	double		pulled;			/* rows of each branch */
	Cost		search;
	Cost		fetch;

	allowed = clamp_row_est(rows * omen_filter_share_in_bitmap(&fuse->custom,
															   &search));
	brought = clamp_row_est(allowed *
							clauselist_selectivity(root,
												   fuse->match.conditions, 0,
												   JOIN_INNER, NULL));
	if (fuse->match.bounds != NIL)
		brought = clamp_row_est(brought * DEFAULT_RANGE_INEQ_SEL);
	fuse->passing = Min(Max(path->rows, 1.0) / brought, 1.0);
	pulled = Min(rows_to_pull(call, path->rows, limit) / fuse->passing,
				 brought);
	for (int i = 0; i < call->nbranches; i++)
		search += cost_branch(root, rel, fuse, &fuse->match.branches[i],
							  allowed, pulled);
	if (call->is_single)
		pulled = Min(path->rows / fuse->passing, brought);
	fetch = call->nbranches * pulled *
		(cpu_tuple_cost + rel->baserestrictcost.per_tuple) +
		omen_filter_cost_rows(root, rel,
							  Min(call->nbranches * pulled, rows));

	path->startup_cost = search + (call->is_single ? 0 : fetch) +
		rel->baserestrictcost.startup + path->pathtarget->cost.startup;
	path->total_cost = path->startup_cost + (call->is_single ? fetch : 0) +
		path->rows * (cpu_tuple_cost + path->pathtarget->cost.per_tuple);
}

static double
rows_to_pull(const OmenFuseCall *call, double rows, double limit)
{
	double		n = call->nbranches;
	double		window;

	if (call->is_single)
		return limit > 0 ? Min(limit, rows) : rows;
	if (limit <= 0)
		return call->is_relative ? Min(OMEN_FUSE_WINDOW_LEAST, rows) : rows;
	window = Max(Max(OMEN_FUSE_WINDOW_LEAST, limit),
				 Min(limit * OMEN_FUSE_WINDOW_PER_ROW,
					 OMEN_FUSE_WINDOW_MOST));
	if (!call->is_relative)
		window = pow(rows, (n - 1) / n) * pow(limit, 1 / n);
	return Min(window, rows);
}

/* Of a search for text, and of a walk that nothing narrows, as alone */
static Cost
cost_branch(PlannerInfo *root, const RelOptInfo *rel, const OmenFusePath *path,
			const OmenDistanceMatch *match, double allowed, double wanted)
{
	OmenHnswCosts costs;

	if (match->index == NULL)
		return 0;
	if (!omen_hnsw_is_ours(match->index))
		return cost_text(root, match) +
			(path->custom.custom_paths == NIL ? 0 : allowed * OMEN_ALLOW_COST);
	omen_hnsw_get_costs(match->index, &costs);
	if (path->custom.custom_paths == NIL)
		return Min(Max(costs.breadth, wanted * OMEN_FUSE_BREADTH),
				   costs.nodes) * costs.visit;
	return omen_filter_cost_allow_set(rel, &costs, allowed) +
		omen_hnsw_cost_nearest(&costs, 0, costs.nodes * allowed /
							   Max(rel->tuples, 1.0), wanted);
}

static Cost
cost_text(PlannerInfo *root, const OmenDistanceMatch *match)
{
	IndexPath  *path = create_index_path(root, match->index, NIL,
										 list_make1(match->distance),
										 list_make1_int(0), NIL,
										 ForwardScanDirection, false, NULL,
										 1.0, false);

	return path->path.startup_cost;
}
