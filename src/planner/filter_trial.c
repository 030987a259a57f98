/*-------------------------------------------------------------------------
 *
 * filter_trial.c
 *	  Looks whether the nearest rows of all happen to be those wanted.
 *
 * What a query asks for often lies together, and near to what it is about:
 * then most of the nearest rows pass, a few visits find them, and the bitmap,
 * which may hold a tenth of the table, is not needed.  No statistics tell.  So
 * a scan that expects its bitmap to cost more than twice a walk without it does
 * that walk first, and goes on as long as enough rows pass.
 *
 * Nothing is returned before all rows that the LIMIT wants have been found: the
 * answer is wholly that of a walk without the set or wholly that of a scan with
 * it, each in its own order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"

#include "hnsw/hnsw_cost.h"
#include "planner/filter.h"
#include "planner/planner.h"

static int	rows_at_once(const OmenScanParams *params, int wanted);
static bool passes(OmenFilterScanState *state, ItemPointerData tid);
static bool goes_on(const OmenFilterTrial *trial, int wanted, double patience);

/*
 * Is a walk without the set little beside the set?  Not if somebody has said
 * how to scan, and not if the set is there already.
 */
bool
omen_filter_is_trial_due(const OmenFilterScanState *state,
						 const OmenScanParams *params)
{
	const PlanState *ps = &state->custom.ss.ps;
	int			wanted = omen_limit_rows_wanted(ps);
	double		patience = omen_filter_plan_patience((CustomScan *) ps->plan);

	return state->bitmap != NULL && !state->loaded && params->has_query &&
		params->strategy == OMEN_FILTER_AUTO &&
		wanted > 0 && wanted < INT_MAX / 4 &&
		patience > 2 * OMEN_BREADTH_PER_ROW * rows_at_once(params, wanted);
}

/*
 * The walk.  If it brings what is wanted, its scan is left in state->scan, and
 * in state->trial what it has returned so far; false if it does not.
 */
bool
omen_filter_try(OmenFilterScanState *state, const OmenScanParams *params)
{
	OmenScanParams all = *params;
	OmenFilterTrial *trial = &state->trial;
	PlanState  *ps = &state->custom.ss.ps;
	int			wanted = omen_limit_rows_wanted(ps);
	double		patience = omen_filter_plan_patience((CustomScan *) ps->plan);
	ItemPointerData tid;
	float		distance;

	all.allow = NULL;
	all.k_hint = rows_at_once(params, wanted);
	trial->tids = palloc_extended(wanted * sizeof(ItemPointerData),
								  MCXT_ALLOC_HUGE);
	trial->nfound = trial->nreturned = trial->nseen = 0;
	trial->at_once = all.k_hint;
	state->scan = omen_scan_begin(&all);
	while (trial->nfound < wanted && goes_on(trial, wanted, patience) &&
		   omen_scan_next(state->scan, &tid, &distance))
	{
		CHECK_FOR_INTERRUPTS();
		trial->nseen++;
		if (passes(state, tid))
			trial->tids[trial->nfound++] = tid;
	}
	if (trial->nfound == wanted)
		return true;

	omen_scan_add_counts(&state->ended, state->scan);
	omen_scan_end(state->scan);
	state->scan = NULL;
	trial->nfound = 0;
	pfree(trial->tids);
	return false;
}

/* What a walk without LIMIT is good for, or more if more are wanted */
static int
rows_at_once(const OmenScanParams *params, int wanted)
{
	return Max(wanted, (int) (params->ef / OMEN_BREADTH_PER_ROW));
}

/*
 * Is there a row that the snapshot sees, and meets all restrictions?  The TID
 * is a copy, for to fetch a row moves it along the row's versions.
 */
static bool
passes(OmenFilterScanState *state, ItemPointerData tid)
{
	PlanState  *ps = &state->custom.ss.ps;
	ExprContext *context = ps->ps_ExprContext;
	TupleTableSlot *slot = state->custom.ss.ss_ScanTupleSlot;

	if (!omen_filter_fetch_row(state, &tid, slot))
		return false;
	ResetExprContext(context);
	context->ecxt_scantuple = slot;
	if (ExecQual(ps->qual, context))
		return true;
	InstrCountFiltered1(ps, 1);
	return false;
}

/*
 * Rows of the first walk cost nothing more.  Beyond it, will the share that has
 * passed so far bring the rest for less than what the set costs?
 */
static bool
goes_on(const OmenFilterTrial *trial, int wanted, double patience)
{
	double		rows;

	if (trial->nseen < trial->at_once)
		return true;
	if (trial->nfound == 0)
		return false;
	rows = (double) wanted * trial->nseen / trial->nfound;
	return rows * OMEN_VISITS_PER_FILTERED_ROW < patience;
}
