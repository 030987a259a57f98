/*-------------------------------------------------------------------------
 *
 * omen_scan.h
 *	  A ranking of an index's rows by their distance to a query, row by row.
 *
 * The one engine below ordered index scans, filtered scans and fused scans.
 * A scan can be pulled on until every row of every allowed node has been
 * returned, each once; ef is how far it looks before the first one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_SCAN_H
#define OMEN_SCAN_H

#include "access/relscan.h"
#include "base/guc.h"
#include "graph/allowset.h"
#include "hnsw/hnsw.h"
#include "utils/snapshot.h"

/*
 * Breadth of a walk for each row that it is to be good for.  With 1, recall@10
 * at ef_search 10 was .89 on mnist_784, where HNSW has .905; with 1.4 it is .95.
 */
#define OMEN_BREADTH_PER_ROW	1.4

typedef struct OmenScan OmenScan;

/* Is this row wanted?  May look at the table, but not at the scan. */
typedef bool (*OmenRowTest) (void *arg, const ItemPointerData *tid);

typedef struct OmenScanParams
{
	Relation	index;
	Relation	heap;			/* NULL: never look at rows, order by codes */
	Snapshot	snapshot;
	bool		has_query;		/* else every row is at distance 0 */
	Datum		query;
	const OmenAllowSet *allow;	/* NULL: all */
	OmenFilterStrategy strategy;	/* of a scan with an allow-set */
	int			ef;				/* candidates to look at first */
	int			k_hint;			/* rows that will be asked for, 0 unknown */
	double		breadth;		/* of a walk for each of them, 0: as usual */
	bool		exhaustive;		/* go on when the first ef are returned */

	/*
	 * If not NULL, the scan returns only rows that pass, each with its exact
	 * distance; and once it has tested as many as it was begun for, none until
	 * omen_scan_expect() says that it is to test more.
	 */
	OmenRowTest passes;
	void	   *passes_arg;
} OmenScanParams;

/* Everything lives in a child of the current memory context */
extern OmenScan *omen_scan_begin(const OmenScanParams *params);

/*
 * The next row; false if there is none.  *distance is the graph distance if
 * it had to be looked up exactly, else the estimate that the place in the
 * order was certain by.
 */
extern bool omen_scan_next(OmenScan *scan, ItemPointer tid, float *distance);
extern void omen_scan_end(OmenScan *scan);

/*
 * Rows that are found and not returned yet, in no order, palloc'd; -1 if there
 * is no telling.  The next ones returned, *settled at least, are of these;
 * with *no_others, all.
 */
typedef struct OmenScanRow
{
	ItemPointerData tid;
	float		lower;			/* bounds of its distance */
	float		upper;
} OmenScanRow;

extern int	omen_scan_list_rows(const OmenScan *scan, OmenScanRow **rows,
								int *settled, bool *no_others);

/*
 * Look far enough for so many rows in all, those included that did not pass, and
 * be as broad as this; false if a walk is not the way to do that.  From then on
 * no rows farther than "within" are returned.  Only without an allow-set.
 */
extern bool omen_scan_expect(OmenScan *scan, int rows, int breadth,
							 float within);

/* Is the allow-set not certain of the row returned last? */
extern bool omen_scan_recheck(const OmenScan *scan);

/* The row returned last is dead to everybody */
extern void omen_scan_was_dead(OmenScan *scan);

/*
 * Has the row returned last been looked up, so that the snapshot is known to
 * see it?
 */
extern bool omen_scan_is_visible(const OmenScan *scan);

/* The caller is about to fetch this row, see omen_rows_pin() */
extern void omen_scan_pin_row(OmenScan *scan, IndexFetchTableData *fetch,
							  const ItemPointerData *tid);

/* What the scan did so far */
typedef struct OmenScanCounts
{
	uint64		visited;		/* nodes the walk visited */
	uint64		pages;			/* pages of the index read */
	uint64		distances;		/* codes compared with the query */
	uint64		verified;		/* rows looked up for their exact distance */
	uint64		swept;			/* nodes read by sequential passes */
	int			ef;				/* breadth the walk has now */
	OmenFilterStrategy strategy;	/* begun with, AUTO without a filter */
	int			switches;		/* changes to another one since */
} OmenScanCounts;

extern void omen_scan_counts(const OmenScan *scan, OmenScanCounts *counts);

/* hnsw_scan.c: add what one more scan did to a sum */
extern void omen_scan_add_counts(OmenScanCounts *sum, const OmenScan *scan);

/*
 * hnsw_scan.c: what all scans of one IndexScanDesc did together, one for each
 * rescan that asked for a row; returns how many.  Of ef, the greatest.
 */
extern uint64 omen_hnsw_scan_totals(IndexScanDesc scan,
									OmenScanCounts *totals);

#endif							/* OMEN_SCAN_H */
