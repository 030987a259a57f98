/*-------------------------------------------------------------------------
 *
 * hnsw_cost.c
 *	  Estimated cost of an ordered scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "base/compat.h"
#include "base/guc.h"
#include "hnsw/hnsw.h"

/*
 * Measured on 1M x 128: a walk with ef 40 visits 50 nodes, with ef 250 about
 * 255: the breadth and the way there.  Scoring the neighbourhood of a node
 * takes about as long as 20 operators of the executor.
 */
#define VISITS_ON_THE_WAY(nodes)	(2.0 * log(Max(nodes, 2.0)))
#define OPERATORS_PER_VISIT			20.0

static double expected_rows(PlannerInfo *root, IndexPath *path);
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
	Relation	index;
	double		nodes = Max(info->tuples, 1.0);
	double		page_cost;
	double		visit_cost;
	double		first;
	int			ef;

	*selectivity = path->indexclauses == NIL ? 1.0 :
		key_selectivity(root, path);
	*correlation = 0;
	*pages = info->pages;

	if (list_length(path->indexorderbys) != 1 || wants_unindexed(path))
	{
		omen_compat_forbid_path(path, startup_cost, total_cost);
		return;
	}

	index = index_open(info->indexoid, NoLock);
	ef = omen_guc_ef_search(omen_hnsw_get_options(index).ef_search);
	index_close(index, NoLock);

	get_tablespace_page_costs(info->reltablespace, &page_cost, NULL);

	/* most of a hot index is cached, as the planner assumes of inner pages */
	visit_cost = page_cost / 4 + OPERATORS_PER_VISIT * cpu_operator_cost;
	first = Min(nodes, Max(ef, Min(expected_rows(root, path), nodes)) +
				VISITS_ON_THE_WAY(nodes));
	*startup_cost = first * visit_cost;
	*total_cost = *startup_cost + nodes * (visit_cost + cpu_index_tuple_cost);
	*pages = Min(nodes, info->pages);
}

/* Rows that the query will take, if a LIMIT says so; else 0 */
static double
expected_rows(PlannerInfo *root, IndexPath *path)
{
	if (root->limit_tuples > 0 && bms_membership(root->all_baserels) ==
		BMS_SINGLETON)
		return root->limit_tuples;
	return 0;
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
