/*-------------------------------------------------------------------------
 *
 * hnsw_cost.h
 *	  What it costs to look for rows in an index, in the planner's units.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_COST_H
#define OMEN_HNSW_COST_H

#include "nodes/pathnodes.h"

#include "hnsw/omen_scan.h"

/*
 * A scan whose rows are filtered above it does not know how many will be asked
 * of it: it widens step by step, each twice as broad as the one before.
 */
#define OMEN_VISITS_PER_FILTERED_ROW	(1.5 * OMEN_BREADTH_PER_ROW)

/*
 * How likely it is that of a share of the rows, none is where the query is: then
 * a scan that cannot see them comes to them last.
 */
#define OMEN_FAR_CHANCE(share)	(0.1 * (1 - (share)))

typedef struct OmenHnswCosts
{
	double		nodes;			/* of the index */
	double		breadth;		/* visits of a walk without LIMIT or filter */
	Cost		visit;			/* of one node by a walk */
	Cost		pass;			/* of one node when many are read in a row */
} OmenHnswCosts;

/* Is this index of our access method, whatever its name? */
extern bool omen_hnsw_is_ours(const IndexOptInfo *info);

extern void omen_hnsw_get_costs(const IndexOptInfo *info,
								OmenHnswCosts *costs);

/* Share of the table's rows that meet all conditions of the query */
extern double omen_hnsw_rows_share(const RelOptInfo *rel);

/* Rows that the whole query takes of its only table, or 0 if not known */
extern double omen_hnsw_limit(const PlannerInfo *root);

/*
 * Cost of the nearest "wanted" of "allowed" nodes that lie anywhere among
 * all, by the strategy that does it for the least, where so many conditions on
 * keys decide which are allowed.
 */
extern Cost omen_hnsw_cost_nearest(const OmenHnswCosts *costs, int nkeys,
								   double allowed, double wanted);

#endif							/* OMEN_HNSW_COST_H */
