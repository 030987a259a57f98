/*-------------------------------------------------------------------------
 *
 * explain_scan.c
 *	  The counts of a scan of our index, as EXPLAIN shows them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "planner/explain.h"

bool
omen_explain_find_scan(PlanState *state, OmenScanReport *report)
{
	IndexScanState *scan = (IndexScanState *) state;

	if (!IsA(state, IndexScanState) || scan->iss_ScanDesc == NULL ||
		scan->iss_RelationDesc->rd_indam->amgettuple != omen_hnsw_gettuple)
		return false;
	report->index = RelationGetRelationName(scan->iss_RelationDesc);
	report->loops = omen_hnsw_scan_totals(scan->iss_ScanDesc, &report->counts);
	return report->loops > 0;
}

char *
omen_explain_form_line(const OmenScanReport *report)
{
	const OmenScanCounts *counts = &report->counts;
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfo(&line, "ef=%d hops=" UINT64_FORMAT " pages=" UINT64_FORMAT
					 " distances=" UINT64_FORMAT " re-ranked=" UINT64_FORMAT,
					 counts->ef, counts->visited, counts->pages,
					 counts->distances, counts->verified);
	if (counts->swept > 0)
		appendStringInfo(&line, " swept=" UINT64_FORMAT, counts->swept);
	appendStringInfo(&line, " loops=" UINT64_FORMAT, report->loops);
	return line.data;
}

void
omen_explain_add_properties(const OmenScanReport *report, ExplainState *es)
{
	const OmenScanCounts *counts = &report->counts;

	ExplainPropertyInteger("Ef", NULL, counts->ef, es);
	ExplainPropertyUInteger("Hops", NULL, counts->visited, es);
	ExplainPropertyUInteger("Pages", NULL, counts->pages, es);
	ExplainPropertyUInteger("Distances", NULL, counts->distances, es);
	ExplainPropertyUInteger("Re-ranked", NULL, counts->verified, es);
	ExplainPropertyUInteger("Swept", NULL, counts->swept, es);
	ExplainPropertyUInteger("Loops", NULL, report->loops, es);
}

void
omen_explain_add_report(const OmenScanReport *report, ExplainState *es)
{
	if (es->format == EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText("Omen Index Scan",
							omen_explain_form_line(report), es);
	else
	{
		ExplainOpenGroup("Omen Index Scan", "Omen Index Scan", true, es);
		omen_explain_add_properties(report, es);
		ExplainCloseGroup("Omen Index Scan", "Omen Index Scan", true, es);
	}
}
