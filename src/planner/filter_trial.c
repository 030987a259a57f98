/*-------------------------------------------------------------------------
 *
 * filter_trial.c
 *	  Looks whether the nearest rows of all happen to be those wanted.
 *
 * What a query asks for often lies together, and near to what it is about:
 * then most of the nearest rows pass, a few visits find them, and the bitmap,
 * which may hold a tenth of the table, is not needed.  If it lies anywhere, a
 * walk that is broad enough for LIMIT / share rows costs less than the bitmap
 * too, unless the share is small.  If it is far away, the walk never ends.  No
 * statistics tell.  So a scan that expects to cost more than twice a walk without
 * the bitmap does that walk first, and tests the rows that it finds:
 *
 *		rows of the first walk cost nothing more;
 *		as many of them as passed, and what the planner thought, say how many
 *		more to look at; if that costs less than the set, the walk is
 *		widened for so many at once, and so on;
 *		if none has passed where several should have, they are elsewhere.
 *
 * Nothing is returned before all rows that the LIMIT wants have been found: the
 * answer is wholly that of a walk without the set or wholly that of a scan with
 * it, each in its own order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "executor/executor.h"
#include "miscadmin.h"

#include "hnsw/hnsw_cost.h"
#include "planner/filter.h"
#include "planner/planner.h"

/* What the planner thought counts as much as that so many rows passed */
#define PRIOR_ROWS	2.0

/* If none of as many rows has passed as contain so many on average: give up */
#define MOST_MISSED		5

/* Rows near the edge of what a condition lets through are missed more often */
#define BREADTH_FACTOR	1.1

static int	rows_at_once(const OmenScanParams *params, int wanted);
static double first_breadth(const OmenScanParams *params, int wanted,
							double share);
static bool try_row(void *arg, const ItemPointerData *tid);
static bool passes(OmenFilterScanState *state, ItemPointerData tid);
static bool find_rows(OmenFilterScanState *state, int wanted);
static int	rows_to_look_at(const OmenFilterScanState *state, int wanted);
static int	compare_rows(const void *a, const void *b);

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
		params->exhaustive && params->strategy == OMEN_FILTER_AUTO &&
		wanted > 0 && wanted < INT_MAX / 4 &&
		patience > OMEN_TRIAL_FACTOR * OMEN_BREADTH_PER_ROW *
		rows_at_once(params, wanted);
}

/*
 * The walk.  If it brings what is wanted, its scan is left in state->scan, and
 * in state->trial what it has found; false if it does not.
 */
bool
omen_filter_try(OmenFilterScanState *state, const OmenScanParams *params)
{
	OmenScanParams all = *params;
	OmenFilterTrial *trial = &state->trial;
	int			wanted = omen_limit_rows_wanted(&state->custom.ss.ps);
	const CustomScan *plan = (CustomScan *) state->custom.ss.ps.plan;
	int			rows = rows_at_once(params, wanted);
	bool		found = false;

	all.allow = NULL;
	all.k_hint = Min(rows, params->ef);
	all.breadth = Max(OMEN_BREADTH_PER_ROW,
					  first_breadth(params, wanted,
									omen_filter_plan_share(plan)) /
					  all.k_hint);
	all.passes = try_row;
	all.passes_arg = state;
	trial->rows = palloc_extended(wanted * sizeof(OmenTrialRow),
								  MCXT_ALLOC_HUGE);
	trial->nfound = trial->nreturned = trial->nseen = trial->npassed = 0;
	state->scan = omen_scan_begin(&all);
	if (rows == all.k_hint || omen_scan_expect(state->scan, rows))
	{
		while (!(found = find_rows(state, wanted)) &&
			   (rows = rows_to_look_at(state, wanted)) > 0 &&
			   omen_scan_expect(state->scan, rows))
			;
	}
	if (found)
	{
		/* a wider walk may have found what is nearer than rows before */
		qsort(trial->rows, wanted, sizeof(OmenTrialRow), compare_rows);
		return true;
	}

	omen_scan_add_counts(&state->ended, state->scan);
	omen_scan_end(state->scan);
	state->scan = NULL;
	trial->nfound = 0;
	pfree(trial->rows);
	return false;
}

/* What a walk without LIMIT is good for, or more if more are wanted */
static int
rows_at_once(const OmenScanParams *params, int wanted)
{
	return Max(wanted, (int) (params->ef / OMEN_BREADTH_PER_ROW));
}

/*
 * The last row wanted is expected to be the wanted / share th of all.  If it may
 * be found at once, what lies between is added: of 50 %, the best 10 had a recall
 * of .93 without, where an unfiltered scan has .95.
 */
static double
first_breadth(const OmenScanParams *params, int wanted, double share)
{
	double		rank = wanted / share;

	if (rank > rows_at_once(params, wanted))
		rank = wanted;
	return BREADTH_FACTOR * params->ef + rank - wanted;
}

static bool
try_row(void *arg, const ItemPointerData *tid)
{
	OmenFilterScanState *state = arg;
	bool		good = passes(state, *tid);

	state->trial.nseen++;
	state->trial.npassed += good;
	return good;
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

/* As many as the walk is good for now; is that all that are wanted? */
static bool
find_rows(OmenFilterScanState *state, int wanted)
{
	OmenFilterTrial *trial = &state->trial;
	ItemPointerData tid;
	float		distance;

	while (trial->nfound < wanted &&
		   omen_scan_next(state->scan, &tid, &distance))
	{
		CHECK_FOR_INTERRUPTS();
		trial->rows[trial->nfound++] = (OmenTrialRow) {distance, tid};
	}
	return trial->nfound == wanted;
}

/*
 * In all, to find the rest of those wanted, if that costs less than the set;
 * else 0.  What the planner thought limits how far to go at a time.
 */
static int
rows_to_look_at(const OmenFilterScanState *state, int wanted)
{
	const OmenFilterTrial *trial = &state->trial;
	const CustomScan *plan = (CustomScan *) state->custom.ss.ps.plan;
	double		expected = omen_filter_plan_share(plan);
	double		share = (trial->npassed + PRIOR_ROWS) /
		(trial->nseen + PRIOR_ROWS / expected);
	int			missing = Max(wanted - trial->npassed, 1);
	double		more = missing / share;

	if (trial->npassed == 0 && trial->nseen * expected > MOST_MISSED)
		return 0;
	if (more * OMEN_VISITS_PER_TRIED_ROW >= omen_filter_plan_patience(plan))
		return 0;
	more = Min(more, Max(missing / expected, trial->nseen));
	return (int) Min(trial->nseen + ceil(more), INT_MAX / 4);
}

static int
compare_rows(const void *a, const void *b)
{
	const OmenTrialRow *x = a;
	const OmenTrialRow *y = b;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return ItemPointerCompare((ItemPointer) &x->tid, (ItemPointer) &y->tid);
}
