/*-------------------------------------------------------------------------
 *
 * omen_text_scan.h
 *	  A ranking of an index's rows by BM25, row by row.
 *
 * The one engine below ordered index scans of omenbm25 and fused scans.  Rows
 * come by falling score, rows of equal score by rising TID; those that have
 * none of the query's lexemes come last, at score 0, if they are asked for.  A
 * scan can be pulled on until every allowed row has been returned, each once;
 * it is exact, whatever k_hint says.
 *
 * Scores are positive: the operator <@> returns them negated.
 *
 * The statistics that scores depend on (documents, their mean length, how many
 * have each lexeme) are those of the moment when the scan began.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_SCAN_H
#define OMEN_TEXT_SCAN_H

#include "access/relscan.h"
#include "nodes/tidbitmap.h"
#include "storage/itemptr.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "bm25/bm25.h"
#include "bm25/bm25_query.h"

typedef struct OmenTextScan OmenTextScan;

/* Rows that a scan may return, by where they are in the table */
typedef struct OmenTextAllow
{
	const ItemPointerData *rows;	/* ascending, each once */
	uint64		nrows;
	const BlockNumber *blocks;	/* blocks of which any row may be returned, */
	uint32		nblocks;		/* ascending; none of "rows" is in one */
} OmenTextAllow;

typedef struct OmenTextScanParams
{
	Relation	index;
	Snapshot	snapshot;
	const OmenBm25Query *query; /* NULL: all rows at score 0, by TID */
	TSQuery		filter;			/* NULL, or what rows have to match (@@) */
	const OmenTextAllow *allow; /* NULL: all */
	int			k_hint;			/* rows that will be asked for, 0 unknown */
	bool		with_unranked;	/* return rows at score 0, too */
} OmenTextScanParams;

/*
 * Everything lives in a child of the current memory context; no page is pinned
 * between calls.  Query, filter and allowed rows must outlive the scan.  May raise an ERROR if the query is bound to an index that
 * weighs lexemes otherwise than this one.
 */
extern OmenTextScan *omen_text_scan_begin(const OmenTextScanParams *params);

/*
 * bm25_allow.c.  Documents of a segment whose rows are allowed, as bits,
 * palloc'd, and how many; is one row, where NULL allows all?
 */
extern uint64 *omen_bm25_allow_docs(const OmenTextAllow *allow,
									OmenBm25Docs *docs, uint32 *n);
extern bool omen_bm25_allows_row(const OmenTextAllow *allow, uint64 row);

/* The next row; false if there is none */
extern bool omen_text_scan_next(OmenTextScan *scan, ItemPointer tid,
								double *score);

/*
 * Rows that are found, and will be returned before any others: how many there
 * are, one of them, and whether no others have a score.
 */
extern int	omen_text_scan_ready(const OmenTextScan *scan);
extern void omen_text_scan_peek(const OmenTextScan *scan, int n,
								ItemPointer tid, double *score);
extern bool omen_text_scan_is_last(const OmenTextScan *scan);

/* Instead of that, all rows that may be returned; returns how many */
extern int64 omen_text_scan_bitmap(OmenTextScan *scan, TIDBitmap *bitmap);

/*
 * Does the row returned last have to be checked against params->filter?  True
 * if positions or weights decide, which the index does not have.
 */
extern bool omen_text_scan_recheck(const OmenTextScan *scan);

/*
 * The score of one row, which need not be allowed or have been returned; false
 * if the index does not have it.  Bit for bit what omen_text_scan_next() says.
 */
extern bool omen_text_scan_score_of(OmenTextScan *scan,
									const ItemPointerData *tid,
									double *score);

/*
 * No row not yet returned has a higher score.  0 before the first call of
 * omen_text_scan_next() stands for unknown only if the query has no lexeme.
 */
extern double omen_text_scan_bound(OmenTextScan *scan);

extern void omen_text_scan_end(OmenTextScan *scan);

/* What the scan did so far */
typedef struct OmenTextScanCounts
{
	uint64		pages;			/* pages of the index read */
	uint64		postings;		/* decoded */
	uint64		blocks;			/* of postings, decoded */
	uint64		pending;		/* documents looked at in the pending area */
	uint64		passes;			/* over the postings */
} OmenTextScanCounts;

extern void omen_text_scan_counts(const OmenTextScan *scan,
								  OmenTextScanCounts *counts);

/* bm25_scan.c: add what one more scan did to a sum */
extern void omen_text_scan_add_counts(OmenTextScanCounts *sum,
									  const OmenTextScan *scan);

/*
 * bm25_scan.c: what all scans of one IndexScanDesc did together, one for each
 * rescan that asked for a row; returns how many.
 */
extern uint64 omen_bm25_scan_totals(IndexScanDesc scan,
									OmenTextScanCounts *totals);

#endif							/* OMEN_TEXT_SCAN_H */
