/*-------------------------------------------------------------------------
 *
 * explain_scan.c
 *	  The counts of a scan of our index, as EXPLAIN shows them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"

#include "bm25/bm25.h"
#include "planner/explain.h"

static bool find_index_scan(PlanState *state, Relation *index,
							IndexScanDesc *scan);
static char *form_text_line(const OmenScanReport *report);
static void add_text_properties(const OmenScanReport *report,
								ExplainState *es);

bool
omen_explain_find_scan(PlanState *state, OmenScanReport *report)
{
	Relation	index;
	IndexScanDesc scan;

	memset(report, 0, sizeof(*report));
	if (!find_index_scan(state, &index, &scan))
		return false;
	if (index->rd_indam->amgettuple == omen_hnsw_gettuple)
		report->loops = omen_hnsw_scan_totals(scan, &report->counts);
	else if (index->rd_indam->amgettuple == omen_bm25_gettuple)
	{
		report->is_text = true;
		report->loops = omen_bm25_scan_totals(scan, &report->text);
	}
	report->index = RelationGetRelationName(index);
	return report->loops > 0;
}

/* False if it is another node, or has not been started */
static bool
find_index_scan(PlanState *state, Relation *index, IndexScanDesc *scan)
{
	*scan = NULL;
	if (IsA(state, IndexScanState))
	{
		*index = ((IndexScanState *) state)->iss_RelationDesc;
		*scan = ((IndexScanState *) state)->iss_ScanDesc;
	}
	else if (IsA(state, BitmapIndexScanState))
	{
		*index = ((BitmapIndexScanState *) state)->biss_RelationDesc;
		*scan = ((BitmapIndexScanState *) state)->biss_ScanDesc;
	}
	return *scan != NULL;
}

char *
omen_explain_form_line(const OmenScanReport *report)
{
	const OmenScanCounts *counts = &report->counts;
	StringInfoData line;

	if (report->is_text)
		return form_text_line(report);
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

static char *
form_text_line(const OmenScanReport *report)
{
	const OmenTextScanCounts *counts = &report->text;

	return psprintf("pages=" UINT64_FORMAT " postings=" UINT64_FORMAT
					" pending=" UINT64_FORMAT " passes=" UINT64_FORMAT
					" loops=" UINT64_FORMAT, counts->pages, counts->postings,
					counts->pending, counts->passes, report->loops);
}

void
omen_explain_add_properties(const OmenScanReport *report, ExplainState *es)
{
	const OmenScanCounts *counts = &report->counts;

	if (report->is_text)
	{
		add_text_properties(report, es);
		return;
	}
	ExplainPropertyInteger("Ef", NULL, counts->ef, es);
	ExplainPropertyUInteger("Hops", NULL, counts->visited, es);
	ExplainPropertyUInteger("Pages", NULL, counts->pages, es);
	ExplainPropertyUInteger("Distances", NULL, counts->distances, es);
	ExplainPropertyUInteger("Re-ranked", NULL, counts->verified, es);
	ExplainPropertyUInteger("Swept", NULL, counts->swept, es);
	ExplainPropertyUInteger("Loops", NULL, report->loops, es);
}

static void
add_text_properties(const OmenScanReport *report, ExplainState *es)
{
	const OmenTextScanCounts *counts = &report->text;

	ExplainPropertyUInteger("Pages", NULL, counts->pages, es);
	ExplainPropertyUInteger("Postings", NULL, counts->postings, es);
	ExplainPropertyUInteger("Pending", NULL, counts->pending, es);
	ExplainPropertyUInteger("Passes", NULL, counts->passes, es);
	ExplainPropertyUInteger("Loops", NULL, report->loops, es);
}

void
omen_explain_add_report(const OmenScanReport *report, ExplainState *es)
{
	const char *name = report->is_text ? "Omen Text Scan" : "Omen Index Scan";

	if (es->format == EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText(name, omen_explain_form_line(report), es);
	else
	{
		ExplainOpenGroup(name, name, true, es);
		omen_explain_add_properties(report, es);
		ExplainCloseGroup(name, name, true, es);
	}
}
