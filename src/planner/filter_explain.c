/*-------------------------------------------------------------------------
 *
 * filter_explain.c
 *	  What EXPLAIN tells of Omen Filtered Scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "planner/explain.h"
#include "planner/filter.h"

static void explain_plan(const CustomScan *plan, PlanState *state,
						 List *ancestors, ExplainState *es);
static List *deparse_all(List *expressions, List *context,
						 const ExplainState *es);
static void explain_execution(const OmenFilterScanState *state,
							  ExplainState *es);
static void explain_strategy(const OmenFilterScanState *state,
							 const OmenScanCounts *counts, ExplainState *es);

void
omen_filter_explain(CustomScanState *custom, List *ancestors,
					ExplainState *es)
{
	OmenFilterScanState *state = (OmenFilterScanState *) custom;

	explain_plan((CustomScan *) custom->ss.ps.plan, &custom->ss.ps, ancestors,
				 es);
	if (es->analyze && state->index != NULL &&
		(state->nscans > 0 || state->loaded))
		explain_execution(state, es);
}

static void
explain_plan(const CustomScan *plan, PlanState *state, List *ancestors,
			 ExplainState *es)
{
	List	   *context = set_deparse_context_plan(es->deparse_cxt,
												   state->plan, ancestors);
	List	   *bounds;
	List	   *keys;

	ExplainPropertyText("Order By",
						deparse_expression(linitial(plan->custom_exprs),
										   context, es->verbose, false), es);
	bounds = deparse_all(omen_filter_plan_bounds(plan), context, es);
	if (bounds != NIL)
		ExplainPropertyList("Distance Bound", bounds, es);
	keys = deparse_all(omen_filter_plan_keys(plan), context, es);
	if (keys != NIL)
		ExplainPropertyList("Key Cond", keys, es);
	ExplainPropertyText("Vector Index",
						get_rel_name(omen_filter_plan_index(plan)), es);
}

static List *
deparse_all(List *expressions, List *context, const ExplainState *es)
{
	List	   *texts = NIL;
	ListCell   *cell;

	foreach(cell, expressions)
		texts = lappend(texts, deparse_expression(lfirst(cell), context,
												  es->verbose, false));
	return texts;
}

static void
explain_execution(const OmenFilterScanState *state, ExplainState *es)
{
	OmenScanReport report = {
		.index = RelationGetRelationName(state->index),
		.loops = state->nscans,
		.counts = state->ended,
	};

	if (state->scan)
		omen_scan_add_counts(&report.counts, state->scan);
	if (state->bitmap || state->keys)
		explain_strategy(state, &report.counts, es);
	omen_explain_add_report(&report, es);
}

/* Of several scans, the last strategy and the last allow-set */
static void
explain_strategy(const OmenFilterScanState *state,
				 const OmenScanCounts *counts, ExplainState *es)
{
	const char *strategy = state->trial.nfound > 0 ? "unfiltered" :
		omen_guc_strategy_name(counts->strategy);

	if (es->format == EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText("Strategy",
							counts->switches == 0 ? strategy :
							psprintf("%s (after %d switches)", strategy,
									 counts->switches), es);
	else
	{
		ExplainPropertyText("Strategy", strategy, es);
		ExplainPropertyInteger("Switches", NULL, counts->switches, es);
	}
	if (state->usable || state->keys)
		omen_filter_explain_allowed("Allowed Nodes", state->keys ?
									state->narrowed.cardinality :
									state->allow.set.cardinality,
									state->index, es);
	omen_filter_explain_lossy(state->allow.lossy_pages, es);
}

/* So many, beside the rows of the index at its last count */
void
omen_filter_explain_allowed(const char *label, double allowed, Relation index,
							ExplainState *es)
{
	double		tuples = Max(index->rd_rel->reltuples, allowed);

	if (es->format == EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText("Allowed", psprintf("%.0f of %.0f", allowed,
												tuples), es);
	else
	{
		ExplainPropertyFloat(label, NULL, allowed, 0, es);
		ExplainPropertyFloat("Index Tuples", NULL, tuples, 0, es);
	}
}

void
omen_filter_explain_lossy(uint64 pages, ExplainState *es)
{
	if (pages > 0 || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyUInteger("Lossy Pages", NULL, pages, es);
}
