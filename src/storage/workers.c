/*-------------------------------------------------------------------------
 *
 * workers.c
 *	  How many workers a bulk build asks for, see workers.h.
 *
 * NOTES
 *	  The server's own answer, plan_create_index_workers(), is for sorts, where
 *	  reading the table is much of the work.  It looks at the size of the table
 *	  alone, of which there is little if vectors are stored out of line, and asks
 *	  for one more worker each time that size triples.  Where it is one of limits,
 *	  we do as it does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "storage/workers.h"

/* kB of maintenance_work_mem for each participant */
#define LEAST_MEMORY	(32 * 1024)

/* A table just large enough for workers is divided among so many participants */
#define FEWEST_SHARES	4

static bool workers_may_read(Relation heap, Relation index);
static BlockNumber count_pages(Relation heap);

int
omen_build_workers(Relation heap, Relation index)
{
	int			wanted = RelationGetParallelWorkers(heap, -1);
	BlockNumber least = (BlockNumber) min_parallel_table_scan_size;
	BlockNumber pages;
	uint32		shares;

	if (!IsUnderPostmaster || max_parallel_maintenance_workers == 0 ||
		!workers_may_read(heap, index))
		return 0;
	if (wanted >= 0)
		return Min(wanted, max_parallel_maintenance_workers);

	pages = count_pages(heap);
	if (pages < Max(least, 1))
		return 0;
	shares = Min(pages / Max(least / FEWEST_SHARES, 1),
				 (uint32) maintenance_work_mem / LEAST_MEMORY);
	return Min(max_parallel_maintenance_workers, (int) Max(shares, 1) - 1);
}

/* May workers read the table, and evaluate expressions and predicate? */
static bool
workers_may_read(Relation heap, Relation index)
{
	Query	   *query = makeNode(Query);
	ListCell   *lc;

	if (heap->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return false;
	query->commandType = CMD_SELECT;
	foreach(lc, RelationGetIndexExpressions(index))
		query->targetList = lappend(query->targetList,
									makeTargetEntry(lfirst(lc), 1, NULL, false));
	query->jointree = makeFromExpr(NIL, (Node *) RelationGetIndexPredicate(index));
	return max_parallel_hazard(query) == PROPARALLEL_SAFE;
}

/* Of the table and its long values */
static BlockNumber
count_pages(Relation heap)
{
	BlockNumber pages = RelationGetNumberOfBlocks(heap);

	if (OidIsValid(heap->rd_rel->reltoastrelid))
	{
		Relation	toast = table_open(heap->rd_rel->reltoastrelid,
									   AccessShareLock);

		pages += RelationGetNumberOfBlocks(toast);
		table_close(toast, AccessShareLock);
	}
	return pages;
}
