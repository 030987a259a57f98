/*-------------------------------------------------------------------------
 *
 * fuse_explain.c
 *	  What EXPLAIN tells of Omen Fused Scan, and of Omen Filtered Scan for text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "planner/explain.h"
#include "planner/fuse.h"

static char *deparse_column(const OmenFuseScanState *state, int column,
							List *context, ExplainState *es);
static void explain_single(const OmenFuseScanState *state, ExplainState *es);
static void explain_fusion(const OmenFuseScanState *state, ExplainState *es);
static void explain_branch(const OmenFuseScanState *state, int n,
						   List *context, ExplainState *es);
static void explain_pulled(const OmenFuseScanState *state,
						   const OmenFuseBranch *branch, ExplainState *es);
static const char *stop_name(const OmenFuseScanState *state,
							 const OmenFuseBranch *branch);

void
omen_fuse_explain(CustomScanState *custom, List *ancestors, ExplainState *es)
{
	OmenFuseScanState *state = (OmenFuseScanState *) custom;
	List	   *context = set_deparse_context_plan(es->deparse_cxt,
												   custom->ss.ps.plan,
												   ancestors);
	int			score = omen_fuse_score_column(state->nbranches);

	ExplainPropertyText("Order By", deparse_column(state, score, context, es),
						es);
	if (state->is_single)
	{
		explain_single(state, es);
		return;
	}
	if (es->analyze && state->nscans > 0)
		explain_fusion(state, es);
	ExplainOpenGroup("Branches", "Branches", false, es);
	for (int i = 0; i < state->nbranches; i++)
		explain_branch(state, i, context, es);
	ExplainCloseGroup("Branches", "Branches", false, es);
}

static char *
deparse_column(const OmenFuseScanState *state, int column, List *context,
			   ExplainState *es)
{
	const CustomScan *plan = (CustomScan *) state->custom.ss.ps.plan;
	TargetEntry *entry = list_nth(plan->custom_scan_tlist, column - 1);

	return deparse_expression((Node *) entry->expr, context, es->verbose,
							  false);
}

static void
explain_single(const OmenFuseScanState *state, ExplainState *es)
{
	const OmenStream *stream = state->branches[0].stream;
	OmenFusePlanBranch planned;

	omen_fuse_plan_branch((CustomScan *) state->custom.ss.ps.plan, 0,
						  &planned);
	ExplainPropertyText("Text Index", get_rel_name(planned.index), es);
	if (es->analyze && state->nscans > 0)
		stream->ops->explain(stream, es);
}

/* Of several scans, the last one's */
static void
explain_fusion(const OmenFuseScanState *state, ExplainState *es)
{
	const OmenFuseOptions *options = &state->options;
	bool		has_window = options->by_rank ||
		omen_fuse_norm_needs_window(options->norm);
	StringInfoData text;

	initStringInfo(&text);
	if (options->by_rank)
		appendStringInfo(&text, "k %d", options->k);
	else
		appendStringInfo(&text, "norm %s", omen_fuse_norm_name(options->norm));
	appendStringInfoString(&text, ", weights");
	for (int i = 0; i < options->nbranches; i++)
		appendStringInfo(&text, " %g", options->weights[i]);
	if (has_window)
		appendStringInfo(&text, ", window %d", state->window);
	ExplainPropertyText("Fusion", text.data, es);
	pfree(text.data);
}

static void
explain_branch(const OmenFuseScanState *state, int n, List *context,
			   ExplainState *es)
{
	const OmenFuseBranch *branch = &state->branches[n];
	const CustomScan *plan = (CustomScan *) state->custom.ss.ps.plan;
	OmenFusePlanBranch planned;

	omen_fuse_plan_branch(plan, n, &planned);
	if (!OidIsValid(planned.index))
		return;
	ExplainOpenGroup("Branch", NULL, true, es);
	if (es->format == EXPLAIN_FORMAT_TEXT)
	{
		ExplainPropertyText(psprintf("Branch %d", n + 1),
							psprintf("%s using %s",
									 deparse_column(state,
													omen_fuse_value_column(n),
													context, es),
									 quote_identifier(get_rel_name(planned.index))),
							es);
		es->indent++;
	}
	else
	{
		ExplainPropertyText("Index Name", get_rel_name(planned.index), es);
		ExplainPropertyText("Order By",
							deparse_column(state, omen_fuse_value_column(n),
										   context, es), es);
	}
	if (es->analyze && state->nscans > 0)
	{
		explain_pulled(state, branch, es);
		branch->stream->ops->explain(branch->stream, es);
	}
	if (es->format == EXPLAIN_FORMAT_TEXT)
		es->indent--;
	ExplainCloseGroup("Branch", NULL, true, es);
}

/* Rows of all scans; why the last one stopped */
static void
explain_pulled(const OmenFuseScanState *state, const OmenFuseBranch *branch,
			   ExplainState *es)
{
	if (es->format == EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText("Rows Pulled",
							psprintf(UINT64_FORMAT ", stopped by %s",
									 branch->npulled,
									 stop_name(state, branch)), es);
	else
	{
		ExplainPropertyUInteger("Rows Pulled", NULL, branch->npulled, es);
		ExplainPropertyText("Stopped By", stop_name(state, branch), es);
	}
}

static const char *
stop_name(const OmenFuseScanState *state, const OmenFuseBranch *branch)
{
	switch (branch->stop)
	{
		case OMEN_FUSE_NO_QUERY:
			return "no query";
		case OMEN_FUSE_WINDOW_FULL:
			return "window";
		case OMEN_FUSE_EXHAUSTED:
			return "end of rows";
		case OMEN_FUSE_NOT_STOPPED:
			break;
	}
	return state->stopped_early ? "bound" : "nothing";
}
