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
 *		once the LIMIT is filled, the rank of its last row says how broad the
 *		walk has to be to be sure of it.
 *
 * Nothing is returned before all rows that the LIMIT wants have been found: the
 * answer is wholly that of a walk without the set or wholly that of a scan with
 * it, each in its own order.  Only if more are asked for, as others have locked some
 * of these, a scan with the set follows, past those that were returned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/float.h"

#include "hnsw/hnsw_cost.h"
#include "planner/filter.h"
#include "planner/planner.h"

/* What the planner thought counts as much as that so many rows passed */
#define PRIOR_ROWS	2.0

/* If none of as many rows has passed as contain so many on average: give up */
#define MOST_MISSED		5

/* Until so many are seen, it counts no more than they do */
#define PRIOR_SHARE	0.2

/*
 * The broader a walk, the fewer nodes beyond those wanted it takes to find them:
 * with a fifth of ef_search, the best 10 of 50 % that pass have recall .96, of
 * 25 % .98, of 10 % .99, where ef_search gives .967 for the best 10 of all.
 */
#define EXPECT_BEYOND	0.2

/* A walk that is narrower than it should be by so much is not widened */
#define NARROWER	0.92

/*
 * Where so many times more rows pass than anywhere, they lie together, within few
 * links: a tenth less does.
 */
#define THICK_SHARE		1.5
#define THICK_BEYOND	0.9

/*
 * Where so many times fewer pass, the nearest of them are those of a border, and
 * other nodes tell less about where that is.
 */
#define THIN_BEYOND		3.0

static int	rows_at_once(const OmenScanParams *params, int wanted);
static int	breadth_for(const OmenScanParams *params, int wanted, double rank,
						double part);
static double part_beyond(const OmenFilterTrial *trial, double share);
static int	breadth_to_look_at(const OmenScanParams *params, int rows);
static bool find_all(OmenFilterScanState *state, const OmenScanParams *params,
					 int wanted, int breadth);
static double most_rows_seen(const OmenFilterScanState *state, int rows);
static bool try_row(void *arg, const ItemPointerData *tid);
static bool passes(OmenFilterScanState *state, ItemPointerData tid);
static bool find_rows(OmenFilterScanState *state, int wanted);
static void keep_nearest(OmenFilterTrial *trial);
static int	rows_to_look_at(const OmenFilterScanState *state, int wanted);
static int	compare_rows(const void *a, const void *b);
static int	compare_tids(const void *x, const void *y);

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
	double		rank = wanted / omen_filter_plan_share(plan);
	int			breadth;

	/* it may be found at once if it is the last of as many as are looked at */
	breadth = breadth_for(params, wanted, rank > rows ? wanted : rank, 1);
	all.allow = NULL;
	all.k_hint = Min(rows, params->ef);
	all.breadth = Max(OMEN_BREADTH_PER_ROW, (double) breadth / all.k_hint);
	all.passes = try_row;
	all.passes_arg = state;
	trial->wanted = wanted;
	trial->rows = palloc_extended((Size) wanted * 2 * sizeof(OmenTrialRow),
								  MCXT_ALLOC_HUGE);
	trial->nfound = trial->nreturned = trial->nseen = trial->npassed = 0;
	trial->most_seen = most_rows_seen(state, rows);
	trial->gives_up = false;
	state->scan = omen_scan_begin(&all);
	if (rows > all.k_hint)
		breadth = breadth_to_look_at(params, rows);
	if ((rows == all.k_hint ||
		 omen_scan_expect(state->scan, rows, breadth,
						  get_float4_infinity())) &&
		find_all(state, params, wanted, breadth))
		return true;

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
 * How broad a walk is to be if the last row wanted has this rank: as many nodes
 * beyond it as without a filter, fewer if it is far out (sweeps do the same).
 */
static int
breadth_for(const OmenScanParams *params, int wanted, double rank,
			double part)
{
	double		ef = Max(params->ef, OMEN_BREADTH_PER_ROW * wanted);
	double		beyond = (ef - wanted) * Min(ef / rank, 1);

	return (int) Min(rank + part * beyond, PG_INT32_MAX / 4);
}

/* By how many of the rows seen have passed, what part of those nodes it takes */
static double
part_beyond(const OmenFilterTrial *trial, double share)
{
	double		expected = share * trial->nseen;

	if (trial->npassed > THICK_SHARE * expected)
		return THICK_BEYOND;
	return trial->npassed * THICK_SHARE < expected ? THIN_BEYOND : 1;
}

/* The same to look at so many rows, of which nobody knows which pass */
static int
breadth_to_look_at(const OmenScanParams *params, int rows)
{
	return (int) Min(Max(rows, params->ef) + params->ef * EXPECT_BEYOND,
					 PG_INT32_MAX / 4);
}

/*
 * The rows wanted, by a walk that has this breadth, and is widened until it has
 * them and is as broad as where they lie demands
 */
static bool
find_all(OmenFilterScanState *state, const OmenScanParams *params,
		 int wanted, int breadth)
{
	OmenFilterTrial *trial = &state->trial;
	double		share =
		omen_filter_plan_share((CustomScan *) state->custom.ss.ps.plan);

	for (;;)
	{
		float		within = get_float4_infinity();
		bool		found = find_rows(state, wanted);
		int			rows;

		if (trial->gives_up)
			return false;
		if (found)
		{
			int			needed = breadth_for(params, wanted, trial->nseen,
											 part_beyond(trial, share));

			if (needed * NARROWER <= breadth)
				return true;
			rows = trial->nseen;
			breadth = needed;
			within = trial->rows[wanted - 1].distance;
		}
		else
		{
			rows = rows_to_look_at(state, wanted);
			if (rows == 0)
				return false;
			breadth = Max(breadth, breadth_to_look_at(params, rows));
		}
		trial->most_seen = most_rows_seen(state, rows);
		if (!omen_scan_expect(state->scan, rows, breadth, within))
			return trial->nfound >= wanted;
	}
}

/*
 * So many rows a walk may come to that is to look at some: those of equal vectors
 * come all together, and may be most of the table.  What is beyond costs more than
 * the set.
 */
static double
most_rows_seen(const OmenFilterScanState *state, int rows)
{
	return rows + omen_filter_plan_patience((CustomScan *)
											state->custom.ss.ps.plan) /
		OMEN_VISITS_PER_TRIED_ROW;
}

/* Who gives up lets the next row pass untested, which ends the scan's search */
static bool
try_row(void *arg, const ItemPointerData *tid)
{
	OmenFilterScanState *state = arg;
	OmenFilterTrial *trial = &state->trial;
	bool		good;

	CHECK_FOR_INTERRUPTS();
	trial->gives_up |= trial->nseen >= trial->most_seen;
	if (trial->gives_up)
		return true;
	good = passes(state, *tid);
	trial->nseen++;
	trial->npassed += good;
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

/*
 * As many as the walk is good for now; is that all that are wanted?  A wider walk
 * may have found what is nearer than rows before; it comes first.
 */
static bool
find_rows(OmenFilterScanState *state, int wanted)
{
	OmenFilterTrial *trial = &state->trial;
	bool		again = trial->nfound >= wanted;
	ItemPointerData tid;
	float		distance;

	while ((again || trial->nfound < wanted) &&
		   omen_scan_next(state->scan, &tid, &distance))
	{
		CHECK_FOR_INTERRUPTS();
		if (trial->gives_up ||
			(again && distance >= trial->rows[wanted - 1].distance))
			break;
		trial->rows[trial->nfound++] = (OmenTrialRow) {distance, tid};
		if (trial->nfound == 2 * wanted)
			keep_nearest(trial);
	}
	keep_nearest(trial);
	return trial->nfound >= wanted;
}

/* In order, as many as are wanted */
static void
keep_nearest(OmenFilterTrial *trial)
{
	qsort(trial->rows, trial->nfound, sizeof(OmenTrialRow), compare_rows);
	trial->nfound = Min(trial->nfound, trial->wanted);
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
	double		prior = Min(PRIOR_ROWS / expected,
							trial->nseen * PRIOR_SHARE);
	double		share = (trial->npassed + prior * expected) /
		(trial->nseen + prior);
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

/* All that it has found have been returned */
void
omen_filter_end_trial(OmenFilterScanState *state)
{
	OmenFilterTrial *trial = &state->trial;

	qsort(trial->rows, trial->nfound, sizeof(OmenTrialRow), compare_tids);
	trial->nskipped = trial->nfound;
	trial->nfound = trial->nreturned = 0;
	omen_scan_add_counts(&state->ended, state->scan);
	omen_scan_end(state->scan);
	state->scan = NULL;
}

bool
omen_filter_is_skipped(const OmenFilterTrial *trial, const ItemPointerData *tid)
{
	OmenTrialRow row = {0, *tid};

	return trial->nskipped > 0 &&
		bsearch(&row, trial->rows, trial->nskipped, sizeof(OmenTrialRow),
				compare_tids) != NULL;
}

static int
compare_tids(const void *x, const void *y)
{
	return ItemPointerCompare((ItemPointer) &((const OmenTrialRow *) x)->tid,
							  (ItemPointer) &((const OmenTrialRow *) y)->tid);
}
