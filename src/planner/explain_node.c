/*-------------------------------------------------------------------------
 *
 * explain_node.c
 *	  EXPLAIN (ANALYZE) where extensions may add to each node that it prints.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "planner/explain.h"
#include "planner/planner.h"

#ifdef OMEN_EXPLAIN_NODE_HOOK

static explain_per_node_hook_type next_explain_node = NULL;

static void explain_node(PlanState *state, List *ancestors,
						 const char *relationship, const char *plan_name,
						 ExplainState *es);

void
omen_explain_init(void)
{
	next_explain_node = explain_per_node_hook;
	explain_per_node_hook = explain_node;
}

static void
explain_node(PlanState *state, List *ancestors, const char *relationship,
			 const char *plan_name, ExplainState *es)
{
	OmenScanReport report;

	if (next_explain_node)
		next_explain_node(state, ancestors, relationship, plan_name, es);

	if (!es->analyze || !omen_explain_find_scan(state, &report))
		return;
	omen_explain_add_report(&report, es);
}

#endif							/* OMEN_EXPLAIN_NODE_HOOK */
