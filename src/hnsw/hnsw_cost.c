/*-------------------------------------------------------------------------
 *
 * hnsw_cost.c
 *	  Estimated costs of ordered scans, with and without a filter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "base/compat.h"
#include "base/guc.h"
#include "hnsw/hnsw.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_cost.h"

/*
 * Measured on 1M x 128: a walk with ef 40 visits 50 nodes, with ef 250 about
 * 255: the breadth and the way there.  Scoring the neighbourhood of a node
 * takes about as long as 20 operators of the executor.
 */
#define VISITS_ON_THE_WAY(nodes)	(2.0 * log(Max(nodes, 2.0)))
#define OPERATORS_PER_VISIT			20.0

/* Nodes read for their own codes only, many in a row, cost an eighth */
#define PASS_FACTOR					8.0

/*
 * Measured on 1M x 128, at recall .95 and for k = 10 rows: a walk that skips
 * what a filter does not allow visits 50 + 15 / s nodes if a share s is
 * allowed; range by range, nearest first, it takes beyond an ordinary walk as
 * long as reading 10 k (n / 1000)^0.45 nodes, if n are allowed.
 */
#define VISITS_PER_ROW				1.5
#define RANGED_NODES_PER_ROW		10.0
#define RANGED_EXPONENT				0.45
#define RANGED_LEAST				1000.0

/*
 * To know which nodes have keys that are asked for, in visits: a node of a key
 * list, or a page of the key column.  A walk need not know.
 */
#define LISTED_NODE_VISITS			0.0011
#define COLUMN_PAGE_VISITS			0.55

/* Rows that a walk under a filter looks for at least */
#define LEAST_WANTED				10.0

/*
 * What a LIMIT is thought to be whose value is not known yet; and the share of
 * all rows that the server thinks it is
 */
#define UNKNOWN_LIMIT				100.0
#define UNKNOWN_LIMIT_SHARE			0.1

static double wanted_visits(PlannerInfo *root, IndexPath *path,
							double nodes);
static double visits_per_row(const IndexPath *path);
static bool has_unknown_limit(const PlannerInfo *root, const IndexPath *path);
static bool parameter_walker(Node *node, void *context);
static Cost cost_far_rows(PlannerInfo *root, const IndexPath *path,
						  const OmenHnswCosts *costs);
static Cost cost_walk(const OmenHnswCosts *costs, double allowed,
					  double wanted);
static Cost cost_passes(const OmenHnswCosts *costs, double allowed,
						double wanted);
static bool wants_unindexed(const IndexPath *path);
static Selectivity key_selectivity(PlannerInfo *root, IndexPath *path);

/*
 * A scan costs its first walk before it returns the first row; rows beyond
 * it cost one more visit each.  So what a LIMIT saves shows in the total.
 */
void
omen_hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
					   Cost *startup_cost, Cost *total_cost,
					   Selectivity *selectivity, double *correlation,
					   double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	OmenHnswCosts costs;
	double		first;

	*selectivity = path->indexclauses == NIL ? 1.0 :
		key_selectivity(root, path);
	*correlation = 0;
	*pages = info->pages;

	if (list_length(path->indexorderbys) != 1 || wants_unindexed(path))
	{
		omen_compat_forbid_path(path, startup_cost, total_cost);
		return;
	}

	omen_hnsw_get_costs(info, &costs);
	if (path->indexclauses != NIL)
	{
		double		share = omen_hnsw_rows_share(info->rel);
		double		allowed = costs.nodes * *selectivity;

		*startup_cost =
			omen_hnsw_cost_nearest(&costs, list_length(path->indexclauses),
								   allowed, omen_hnsw_limit(root) *
								   Max(*selectivity / share, 1.0));
		*total_cost = *startup_cost +
			allowed * (costs.pass + cpu_index_tuple_cost);
	}
	else
	{
		first = Min(costs.nodes,
					Max(costs.breadth, wanted_visits(root, path, costs.nodes) +
						VISITS_ON_THE_WAY(costs.nodes)));
		*startup_cost = first * costs.visit +
			cost_far_rows(root, path, &costs);
		if (has_unknown_limit(root, path))
			*selectivity = Min(UNKNOWN_LIMIT / UNKNOWN_LIMIT_SHARE *
							   visits_per_row(path) / costs.nodes, 1.0);
		*total_cost = *startup_cost + *selectivity *
			costs.nodes * (costs.visit + cpu_index_tuple_cost);
	}
	*pages = Min(costs.nodes, info->pages);
}

bool
omen_hnsw_is_ours(const IndexOptInfo *info)
{
	return info->amcostestimate == omen_hnsw_costestimate;
}

void
omen_hnsw_get_costs(const IndexOptInfo *info, OmenHnswCosts *costs)
{
	Relation	index = index_open(info->indexoid, NoLock);
	int			ef = omen_guc_ef_search(omen_hnsw_get_options(index).ef_search);
	double		page_cost;

	index_close(index, NoLock);
	get_tablespace_page_costs(info->reltablespace, &page_cost, NULL);

	costs->nodes = Max(info->tuples, 1.0);
	costs->breadth = ef + VISITS_ON_THE_WAY(costs->nodes);

	/* most of a hot index is cached, as the planner assumes of inner pages */
	costs->visit = page_cost / 4 + OPERATORS_PER_VISIT * cpu_operator_cost;
	costs->pass = costs->visit / PASS_FACTOR;
}

double
omen_hnsw_limit(const PlannerInfo *root)
{
	if (root->limit_tuples > 0 && bms_membership(root->all_baserels) ==
		BMS_SINGLETON)
		return root->limit_tuples;
	return 0;
}

Cost
omen_hnsw_cost_nearest(const OmenHnswCosts *costs, int nkeys, double allowed,
					   double wanted)
{
	Cost		know = costs->visit *
		Min(allowed * LISTED_NODE_VISITS, nkeys * COLUMN_PAGE_VISITS *
			ceil(costs->nodes / OMEN_KEYS_PER_PAGE));

	return Min(cost_walk(costs, allowed, wanted),
			   know + cost_passes(costs, allowed, wanted));
}

/* Past nodes that are not allowed */
static Cost
cost_walk(const OmenHnswCosts *costs, double allowed, double wanted)
{
	double		n = Max(Min(allowed, costs->nodes), 1.0);
	double		k = Max(Min(wanted, n), LEAST_WANTED);

	return (costs->breadth + VISITS_PER_ROW * k * costs->nodes / n) *
		costs->visit;
}

/* Over all that are allowed, or those of the nearest ranges */
static Cost
cost_passes(const OmenHnswCosts *costs, double allowed, double wanted)
{
	double		n = Max(Min(allowed, costs->nodes), 1.0);
	double		k = Max(Min(wanted, n), LEAST_WANTED);
	Cost		exact = n * costs->pass;
	Cost		ranged = costs->breadth * costs->visit + RANGED_NODES_PER_ROW *
		k * pow(Max(n / RANGED_LEAST, 1.0), RANGED_EXPONENT) * costs->pass;

	return Min(exact, ranged);
}

/*
 * Nodes to visit if a LIMIT says how many rows are to be left after the filter;
 * else 0
 */
static double
wanted_visits(PlannerInfo *root, IndexPath *path, double nodes)
{
	return Min(omen_hnsw_limit(root) * visits_per_row(path), nodes);
}

/* That is left after the filter; what the index's own predicate says is none */
static double
visits_per_row(const IndexPath *path)
{
	const IndexOptInfo *info = path->indexinfo;

	return info->indrestrictinfo == NIL ? 1 :
		OMEN_VISITS_PER_FILTERED_ROW / omen_hnsw_rows_share(info->rel);
}

/*
 * Is there a LIMIT that only the execution knows, and nothing between it and the
 * scan?  The server pays for a tenth of all rows then, which nobody asks an order
 * by distance for: a function in SQL, whose plans know no arguments, looked at all
 * rows of a table to return ten.  Not with a filter by parameters: plans that know
 * their values must go on to look better than one for all values.
 */
static bool
has_unknown_limit(const PlannerInfo *root, const IndexPath *path)
{
	const Query *query = root->parse;

	return query->limitCount != NULL && !IsA(query->limitCount, Const) &&
		root->limit_tuples < 0 && root->tuple_fraction > 0 &&
		root->tuple_fraction < 1 &&
		!parameter_walker((Node *) path->indexinfo->indrestrictinfo, NULL) &&
		bms_membership(root->all_baserels) == BMS_SINGLETON &&
		query->groupClause == NIL && query->groupingSets == NIL &&
		query->distinctClause == NIL && !query->hasAggs &&
		!query->hasWindowFuncs && !query->hasTargetSRFs &&
		!root->hasHavingQual;
}

static bool
parameter_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RestrictInfo))
		return parameter_walker((Node *) ((RestrictInfo *) node)->clause, context);
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXTERN;
	return expression_tree_walker(node, parameter_walker, context);
}

/*
 * Rows that pass the filter above a scan may be the last that it comes to: then
 * it has measured all others, and they have been looked up.
 */
static Cost
cost_far_rows(PlannerInfo *root, const IndexPath *path,
			  const OmenHnswCosts *costs)
{
	const RelOptInfo *rel = path->indexinfo->rel;

	if (path->indexinfo->indrestrictinfo == NIL ||
		(omen_hnsw_limit(root) == 0 && !has_unknown_limit(root, path)))
		return 0;
	return OMEN_FAR_CHANCE(omen_hnsw_rows_share(rel)) * costs->nodes *
		(costs->pass + cpu_tuple_cost);
}

double
omen_hnsw_rows_share(const RelOptInfo *rel)
{
	double		tuples = Max(rel->tuples, 1.0);

	return Min(Max(rel->rows / tuples, 1.0 / tuples), 1.0);
}

/* Does the query ask for rows whose vector is NULL?  They are not here. */
static bool
wants_unindexed(const IndexPath *path)
{
	ListCell   *cell;

	foreach(cell, path->indexclauses)
	{
		const IndexClause *clause = lfirst_node(IndexClause, cell);
		const NullTest *test = (const NullTest *) clause->rinfo->clause;

		if (clause->indexcol == 0 && IsA(test, NullTest) &&
			test->nulltesttype == IS_NULL)
			return true;
	}
	return false;
}

/* Share of the table's rows that meet the conditions on key columns */
static Selectivity
key_selectivity(PlannerInfo *root, IndexPath *path)
{
	IndexOptInfo *info = path->indexinfo;
	List	   *quals = get_quals_from_indexclauses(path->indexclauses);

	quals = add_predicate_to_index_quals(info, quals);
	return clauselist_selectivity(root, quals, info->rel->relid, JOIN_INNER,
								  NULL);
}
