/*-------------------------------------------------------------------------
 *
 * explain.h
 *	  What EXPLAIN (ANALYZE) tells of scans of our indexes.
 *
 * A scan counts what it does in any case (hnsw/omen_scan.h,
 * bm25/omen_text_scan.h); a plan that has
 * run still has its scans open when it is printed.  From PostgreSQL 18 on, the
 * counts are printed with their node (explain_node.c), before that behind the
 * plan (explain_answer.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_EXPLAIN_H
#define OMEN_EXPLAIN_H

#include "commands/explain.h"

#include "base/compat.h"
#include "bm25/omen_text_scan.h"
#include "hnsw/omen_scan.h"

/* One node of the plan */
typedef struct OmenScanReport
{
	const char *index;			/* its name */
	bool		is_text;
	uint64		loops;			/* scans that were started */
	OmenScanCounts counts;		/* of all loops together */
	OmenTextScanCounts text;	/* instead, of a text index */
} OmenScanReport;

/*
 * False unless the node is a scan of one of our indexes that was started.
 * The name belongs to the index's relcache entry.
 */
extern bool omen_explain_find_scan(PlanState *state, OmenScanReport *report);

/* The counts in a line, palloc'd, or as properties of an open group */
extern char *omen_explain_form_line(const OmenScanReport *report);
extern void omen_explain_add_properties(const OmenScanReport *report,
										ExplainState *es);

/* Either of them, as the format wants it, to the node that is being printed */
extern void omen_explain_add_report(const OmenScanReport *report,
									ExplainState *es);

#endif							/* OMEN_EXPLAIN_H */
