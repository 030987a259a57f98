/*-------------------------------------------------------------------------
 *
 * fuse_rank.c
 *	  From several streams of rows to one order.
 *
 * Streams are pulled in turn.  A row that any of them brings is looked up once;
 * only rows that the snapshot sees and that meet WHERE are ranked.  Rows of
 * equal score come in the order of their places in the table.
 *
 * Ranks (rrf).  A row has -sum of w / (k + rank) over the branches that have it
 * in their window, the first rows of each.  Until a stream has come to the end
 * of its window, it can still lower the score of a row that it has not brought
 * by w / (k + next rank).  So a row can be returned before that (the algorithm
 * NRA of Fagin, Lotem and Naor, "Optimal aggregation algorithms for
 * middleware", 2003):
 *
 *		every stream has brought it, or has come to its end,
 *		and no other row, seen or not, can become better.
 *
 * Streams that know which rows they will bring (fuse_ahead.c) make that
 * tighter: a row that is not among them gets no rank, others none before those
 * that are better.
 *
 * Values that mean the same for all rows (fuse, norms none and theoretical).  The
 * row that one stream brings shows its values in all branches at once (TA, same
 * source).  A row that no stream has brought is no better in any branch than
 * the last row of its stream: one that is better than the sum of those can be
 * returned.  Streams go on to the end if need be: there is no window.
 *
 * Values relative to a window (minmax, zscore) are known when all windows are.
 *
 * When all of those are returned, the others that any stream has follow,
 * without an order among them: they are equal.  Rows whose score is NULL come
 * last.
 *
 * A single stream needs none of this: its rows come as it brings them.
 *
 * As far as a stream's own order is approximate, so is the result.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "planner/fuse.h"

typedef struct RowEntry
{
	ItemPointerData tid;
	char		status;
	OmenFuseRow *row;			/* NULL: it does not pass */
} RowEntry;

#define SH_PREFIX rowtable
#define SH_ELEMENT_TYPE RowEntry
#define SH_KEY_TYPE ItemPointerData
#define SH_KEY tid
#define SH_HASH_KEY(table, key) omen_fuse_hash_tid(key)
#define SH_EQUAL(table, a, b) omen_fuse_is_same_tid(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef enum Stage
{
	STAGE_PULL,					/* rows wait until it is their turn */
	STAGE_SORTED,				/* all windows are known */
	STAGE_REST					/* rows without a rank */
} Stage;

/* A row of scores that are final at once, in the heap */
typedef struct QueuedRow
{
	pairingheap_node node;
	OmenFuseRow *row;
} QueuedRow;

struct OmenFuseRanking
{
	MemoryContext context;
	rowtable_hash *table;
	OmenFuseRow single;			/* instead, of a single stream the last */
	Stage		stage;
	OmenFuseRow **rows;			/* those that pass, of a window */
	Size		nrows;
	Size		maxrows;
	Size		nreturned;		/* of them, once they are sorted */
	pairingheap *queue;			/* instead, if there is no window */
	uint64		nturns;
	uint64		next_check;		/* turn at which to look for a certain row */
	bool		has_looked;		/* ahead, if that can be done */
	OmenFuseAhead *ahead;
	OmenFuseRow **certain;		/* rows to be returned next, in order */
	Size		ncertain;
	Size		maxcertain;
	Size		certain_at;		/* the next of them */
	int			rest;			/* branch that brings the rest */
};

/* Turns before the first look, and between looks */
#define FIRST_CHECK		12
#define LEAST_TURNS		4

static bool has_window(const OmenFuseScanState *state);
static void start_branches(OmenFuseScanState *state);
static void begin_branch(OmenFuseScanState *state, OmenFuseBranch *branch);
static OmenFuseRow *next_single(OmenFuseScanState *state);
static OmenFuseRow *next_by_window(OmenFuseScanState *state);
static OmenFuseRow *next_by_value(OmenFuseScanState *state);
static OmenFuseRow *next_of_rest(OmenFuseScanState *state);
static OmenFuseRow *next_sorted(OmenFuseRanking *ranking);
static bool start_rest(OmenFuseScanState *state, OmenFuseBranch *branch);
static bool pull_all(OmenFuseScanState *state);
static void pull(OmenFuseScanState *state, int n);
static OmenFuseRow *pull_row(OmenFuseScanState *state, int n, bool *found);
static bool is_beyond(const OmenFuseScanState *state,
					  const OmenStream *stream);
static OmenFuseRow *note_row(OmenFuseScanState *state, int n,
							 const ItemPointerData *tid, bool *found);
static OmenFuseRow *make_row(OmenFuseRow *row, const ItemPointerData *tid);
static void add_row(OmenFuseRanking *ranking, OmenFuseRow *row);
static void queue_row(OmenFuseRanking *ranking, OmenFuseRow *row);
static void score_ranks(const OmenFuseScanState *state, OmenFuseRow *row);
static void score_values(OmenFuseScanState *state, OmenFuseRow *row);
static void score_unranked(OmenFuseScanState *state, OmenFuseRow *row);
static void find_certain(OmenFuseScanState *state);
static void make_room_for_certain(OmenFuseRanking *ranking);
static void keep_better(OmenFuseRanking *ranking, double bound);
static void look_ahead(OmenFuseScanState *state);
static double lowest_score(const OmenFuseScanState *state,
						   const OmenFuseRow *row);
static double unseen_score(const OmenFuseScanState *state);
static void finish_windows(OmenFuseScanState *state);
static void measure_window(OmenFuseScanState *state, int n);
static int	compare_rows(const OmenFuseRow *a, const OmenFuseRow *b);
static int	compare_row_pointers(const void *a, const void *b);
static int	compare_queued(const pairingheap_node *a,
						   const pairingheap_node *b, void *arg);

/* In the current memory context, as is all that it allocates later */
OmenFuseRanking *
omen_fuse_ranking_begin(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = palloc0(sizeof(OmenFuseRanking));

	ranking->context = CurrentMemoryContext;
	ranking->next_check = FIRST_CHECK;
	state->stopped_early = false;
	if (state->is_single)
	{
		begin_branch(state, &state->branches[0]);
		return ranking;
	}
	ranking->table = rowtable_create(CurrentMemoryContext,
									 2 * OMEN_FUSE_WINDOW_LEAST, NULL);
	if (has_window(state))
	{
		ranking->maxrows = 2 * OMEN_FUSE_WINDOW_LEAST;
		ranking->rows = palloc(ranking->maxrows * sizeof(OmenFuseRow *));
	}
	else
		ranking->queue = pairingheap_allocate(compare_queued, NULL);
	start_branches(state);
	return ranking;
}

static bool
has_window(const OmenFuseScanState *state)
{
	return state->options.by_rank ||
		omen_fuse_norm_needs_window(state->options.norm);
}

static void
start_branches(OmenFuseScanState *state)
{
	for (int i = 0; i < state->nbranches; i++)
	{
		OmenFuseBranch *branch = &state->branches[i];

		branch->rank = 0;
		branch->last = 0;
		if (!branch->has_query || state->options.weights[i] == 0)
			branch->stop = OMEN_FUSE_NO_QUERY;
		else if (!omen_fuse_has_rows(branch))
			branch->stop = OMEN_FUSE_EXHAUSTED;
		else
			begin_branch(state, branch);
	}
}

static void
begin_branch(OmenFuseScanState *state, OmenFuseBranch *branch)
{
	OmenStream *stream = branch->stream;

	branch->stop = OMEN_FUSE_NOT_STOPPED;
	stream->ops->begin(stream, state->window);
	branch->scale.ceiling = stream->ops->ceiling == NULL || state->is_single ?
		0 : stream->ops->ceiling(stream);
}

/* NULL if there is none */
OmenFuseRow *
omen_fuse_ranking_next(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;
	MemoryContext old = MemoryContextSwitchTo(ranking->context);
	OmenFuseRow *row = NULL;

	if (state->is_single)
		row = next_single(state);
	else if (ranking->stage != STAGE_REST)
		row = ranking->queue ? next_by_value(state) : next_by_window(state);
	if (row == NULL && !state->is_single)
	{
		ranking->stage = STAGE_REST;
		row = next_of_rest(state);
	}
	MemoryContextSwitchTo(old);
	return row;
}

static OmenFuseRow *
next_single(OmenFuseScanState *state)
{
	bool		found;
	OmenFuseRow *row;

	do
		row = pull_row(state, 0, &found);
	while (row == NULL && state->branches[0].stop != OMEN_FUSE_EXHAUSTED);
	return row;
}

static OmenFuseRow *
next_by_window(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;

	while (ranking->stage == STAGE_PULL)
	{
		if (ranking->certain_at < ranking->ncertain)
		{
			OmenFuseRow *row = ranking->certain[ranking->certain_at++];

			row->returned = state->stopped_early = true;
			return row;
		}
		if (state->options.by_rank && ranking->nturns >= ranking->next_check)
		{
			find_certain(state);
			ranking->next_check += Max(LEAST_TURNS, ranking->nturns / 4);
			continue;
		}
		if (!pull_all(state))
		{
			finish_windows(state);
			state->stopped_early = false;
			ranking->stage = STAGE_SORTED;
		}
	}
	return next_sorted(ranking);
}

static OmenFuseRow *
next_sorted(OmenFuseRanking *ranking)
{
	while (ranking->nreturned < ranking->nrows)
	{
		OmenFuseRow *row = ranking->rows[ranking->nreturned++];

		if (!row->returned)
			return row;
	}
	return NULL;
}

static OmenFuseRow *
next_by_value(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;
	bool		more = true;

	for (;;)
	{
		if (!pairingheap_is_empty(ranking->queue))
		{
			OmenFuseRow *first =
				((QueuedRow *) pairingheap_first(ranking->queue))->row;

			/* what is NULL comes after the rest */
			if (!more && first->isnull)
				return NULL;
			if (!more || (!first->isnull && first->score < unseen_score(state)))
			{
				pairingheap_remove_first(ranking->queue);
				state->stopped_early = more;
				return first;
			}
		}
		else if (!more)
			return NULL;
		more = pull_all(state);
	}
}

/*
 * Rows that have no rank in any branch: of each stream what it has left.  Then
 * all whose score is NULL.
 */
static OmenFuseRow *
next_of_rest(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;

	for (; ranking->rest < state->nbranches; ranking->rest++)
	{
		OmenFuseBranch *branch = &state->branches[ranking->rest];

		if (!start_rest(state, branch))
			continue;
		while (branch->stop != OMEN_FUSE_EXHAUSTED || start_rest(state, branch))
		{
			bool		found;
			OmenFuseRow *row = pull_row(state, ranking->rest, &found);

			if (row == NULL || found)
				continue;
			score_unranked(state, row);
			if (!row->isnull)
				return row;
			queue_row(ranking, row);
		}
	}
	if (ranking->queue == NULL || pairingheap_is_empty(ranking->queue))
		return NULL;
	return ((QueuedRow *) pairingheap_remove_first(ranking->queue))->row;
}

/* False if there is none left */
static bool
start_rest(OmenFuseScanState *state, OmenFuseBranch *branch)
{
	OmenStream *stream = branch->stream;

	if (!omen_fuse_has_rows(branch))
		return false;
	if (branch->stop == OMEN_FUSE_EXHAUSTED &&
		(stream->brings_all || stream->is_rest))
		return false;
	if (branch->stop != OMEN_FUSE_WINDOW_FULL && !stream->is_rest)
	{
		stream->ops->end(stream);
		stream->is_rest = true;
		stream->ops->begin(stream, 0);
		branch->stop = OMEN_FUSE_NO_QUERY;
	}
	return true;
}

/* One row of each stream; false if all have come to their end */
static bool
pull_all(OmenFuseScanState *state)
{
	bool		more = false;

	CHECK_FOR_INTERRUPTS();
	state->ranking->nturns++;
	for (int i = 0; i < state->nbranches; i++)
	{
		if (state->branches[i].stop == OMEN_FUSE_NOT_STOPPED)
			pull(state, i);
		more = more || state->branches[i].stop == OMEN_FUSE_NOT_STOPPED;
	}
	return more;
}

/* The next row of a stream that is ranked; or it has come to its end */
static void
pull(OmenFuseScanState *state, int n)
{
	OmenFuseRanking *ranking = state->ranking;
	OmenFuseBranch *branch = &state->branches[n];

	for (;;)
	{
		bool		found;
		OmenFuseRow *row = pull_row(state, n, &found);

		if (branch->stop == OMEN_FUSE_EXHAUSTED)
			return;
		if (row == NULL || row->ranks[n] > 0)
			continue;

		row->ranks[n] = ++branch->rank;
		if (ranking->queue == NULL)
		{
			if (branch->rank == state->window)
				branch->stop = OMEN_FUSE_WINDOW_FULL;
			if (!found)
				add_row(ranking, row);
			if (state->options.by_rank)
				score_ranks(state, row);
			else
				omen_fuse_read_value(state, n, row);
			return;
		}
		if (!found)
		{
			score_values(state, row);
			queue_row(ranking, row);
		}
		branch->last = row->values[n];
		return;
	}
}

/*
 * The row that a stream brings, noted down; NULL if it does not pass, or if
 * there is none, and the branch has stopped
 */
static OmenFuseRow *
pull_row(OmenFuseScanState *state, int n, bool *found)
{
	OmenFuseBranch *branch = &state->branches[n];
	OmenStream *stream = branch->stream;
	ItemPointerData tid;
	OmenFuseRow *row;

	CHECK_FOR_INTERRUPTS();
	if (!stream->ops->next(stream, &tid) || is_beyond(state, stream))
	{
		branch->stop = OMEN_FUSE_EXHAUSTED;
		return NULL;
	}
	branch->npulled++;
	row = note_row(state, n, &tid, found);
	if (row && stream->has_value)
	{
		row->known[n] = true;
		row->values[n] = stream->value;
	}
	return row;
}

/* Of a single branch: do neither this row nor those after it pass? */
static bool
is_beyond(const OmenFuseScanState *state, const OmenStream *stream)
{
	return state->bound_exprs != NIL && stream->has_value &&
		(stream->value > state->bound ||
		 (state->ends_at_bound && stream->value == state->bound));
}

/* Of a single stream, which brings each row once, there is only the last */
static OmenFuseRow *
note_row(OmenFuseScanState *state, int n, const ItemPointerData *tid,
		 bool *found)
{
	OmenFuseRanking *ranking = state->ranking;
	RowEntry   *entry;

	*found = false;
	if (state->is_single)
		return omen_fuse_test_row(state, n, tid) ?
			make_row(&ranking->single, tid) : NULL;
	entry = rowtable_insert(ranking->table, *tid, found);
	if (!*found)
		entry->row = omen_fuse_test_row(state, n, tid) ?
			make_row(palloc(sizeof(OmenFuseRow)), tid) : NULL;
	return entry->row;
}

static OmenFuseRow *
make_row(OmenFuseRow *row, const ItemPointerData *tid)
{
	memset(row, 0, sizeof(*row));
	row->tid = *tid;
	return row;
}

static void
add_row(OmenFuseRanking *ranking, OmenFuseRow *row)
{
	if (ranking->nrows == ranking->maxrows)
	{
		ranking->maxrows *= 2;
		ranking->rows = repalloc_huge(ranking->rows, ranking->maxrows *
									  sizeof(OmenFuseRow *));
	}
	ranking->rows[ranking->nrows++] = row;
	if (ranking->ahead)
		omen_fuse_ahead_see(ranking->ahead, row);
}

static void
queue_row(OmenFuseRanking *ranking, OmenFuseRow *row)
{
	QueuedRow  *queued = palloc(sizeof(QueuedRow));

	queued->row = row;
	pairingheap_add(ranking->queue, &queued->node);
}

/* --- scores --- */

/* By the ranks that are known; added up in the order of the branches */
static void
score_ranks(const OmenFuseScanState *state, OmenFuseRow *row)
{
	const OmenFuseOptions *options = &state->options;

	row->score = 0;
	for (int i = 0; i < state->nbranches; i++)
	{
		if (row->ranks[i] > 0)
			row->score -= options->weights[i] /
				((double) options->k + row->ranks[i]);
	}
}

/* By all values, of which those are read that are not known */
static void
score_values(OmenFuseScanState *state, OmenFuseRow *row)
{
	OmenFuseScale scales[OMEN_FUSE_MAX_BRANCHES];

	for (int i = 0; i < state->nbranches; i++)
	{
		scales[i] = state->branches[i].scale;
		if (state->options.weights[i] > 0)
			omen_fuse_read_value(state, i, row);
	}
	row->isnull = !omen_fuse_score(&state->options, scales, row->values,
								   row->absent, &row->score);
}

/* Of a row that no branch ranks */
static void
score_unranked(OmenFuseScanState *state, OmenFuseRow *row)
{
	row->score = 0;
	if (!has_window(state))
		score_values(state, row);
	else if (!state->options.by_rank)
	{
		for (int i = 0; i < state->nbranches; i++)
			row->score -= state->options.weights[i] *
				omen_fuse_missing_goodness(state->options.norm,
										   &state->branches[i].scale);
	}
}

/* --- ranks: rows that are certain before all windows are known --- */

/*
 * All rows that none but each other can overtake any more, in order.  They are looked
 * for together: one by one, a LIMIT of n rows would take n looks at all rows.
 */
static void
find_certain(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;
	double		bound;			/* what others can come to, at best */

	if (!ranking->has_looked)
		look_ahead(state);
	make_room_for_certain(ranking);
	ranking->ncertain = ranking->certain_at = 0;
	bound = lowest_score(state, NULL);
	for (Size i = 0; i < ranking->nrows; i++)
	{
		OmenFuseRow *row = ranking->rows[i];
		double		lowest;

		if (row->returned)
			continue;
		lowest = lowest_score(state, row);
		if (lowest < row->score)
			bound = Min(bound, lowest);
		else
			ranking->certain[ranking->ncertain++] = row;
	}
	keep_better(ranking, bound);
	qsort(ranking->certain, ranking->ncertain, sizeof(OmenFuseRow *),
		  compare_row_pointers);
}

static void
make_room_for_certain(OmenFuseRanking *ranking)
{
	if (ranking->nrows <= ranking->maxcertain)
		return;
	ranking->maxcertain = ranking->maxrows;
	if (ranking->certain)
		pfree(ranking->certain);
	ranking->certain = palloc_extended(ranking->maxcertain *
									   sizeof(OmenFuseRow *),
									   MCXT_ALLOC_HUGE);
}

/* Of rows whose scores are final, those that are better than a bound */
static void
keep_better(OmenFuseRanking *ranking, double bound)
{
	Size		kept = 0;

	for (Size i = 0; i < ranking->ncertain; i++)
	{
		if (ranking->certain[i]->score < bound)
			ranking->certain[kept++] = ranking->certain[i];
	}
	ranking->ncertain = kept;
}

/* Of the rows of windows, those that streams have not brought yet */
static void
look_ahead(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;

	ranking->has_looked = true;
	ranking->ahead = omen_fuse_look_ahead(state);
	for (Size i = 0; ranking->ahead && i < ranking->nrows; i++)
		omen_fuse_ahead_see(ranking->ahead, ranking->rows[i]);
}

/* That this row, or one that no stream has brought, can come to */
static double
lowest_score(const OmenFuseScanState *state, const OmenFuseRow *row)
{
	const OmenFuseRanking *ranking = state->ranking;

	if (row)
		return row->score +
			omen_fuse_still_to_come(state, row->ranks,
									ranking->ahead ? row->least : NULL);
	return ranking->ahead ? omen_fuse_ahead_lowest(state, ranking->ahead) :
		omen_fuse_still_to_come(state, NULL, NULL);
}

double
omen_fuse_still_to_come(const OmenFuseScanState *state, const int *ranks,
						const int *least)
{
	double		score = 0;

	for (int i = 0; i < state->nbranches; i++)
	{
		const OmenFuseBranch *branch = &state->branches[i];
		int			rank = branch->rank + 1;

		if (branch->stop != OMEN_FUSE_NOT_STOPPED ||
			(ranks && ranks[i] > 0) || (least && least[i] == 0))
			continue;
		if (least)
			rank = Max(rank, least[i]);
		score -= state->options.weights[i] /
			((double) state->options.k + rank);
	}
	return score;
}

/* --- values: what a row that no stream has brought can come to --- */

static double
unseen_score(const OmenFuseScanState *state)
{
	const OmenFuseOptions *options = &state->options;
	double		score = 0;

	for (int i = 0; i < state->nbranches; i++)
	{
		const OmenFuseBranch *branch = &state->branches[i];
		double		goodness;

		if (options->weights[i] == 0)
			continue;
		if (branch->stop == OMEN_FUSE_NOT_STOPPED && branch->rank == 0)
			return -get_float8_infinity();
		if (branch->stop == OMEN_FUSE_NOT_STOPPED)
			goodness = omen_fuse_goodness(options->norm, &branch->scale,
										  branch->last);
		else if (options->norm == OMEN_NORM_NONE &&
				 branch->scale.measure != OMEN_MEASURE_TEXT)
			return get_float8_infinity();	/* NULL */
		else
			goodness = omen_fuse_missing_goodness(options->norm,
												  &branch->scale);
		score -= options->weights[i] * goodness;
	}
	return score;
}

/* --- windows --- */

static void
finish_windows(OmenFuseScanState *state)
{
	OmenFuseRanking *ranking = state->ranking;
	OmenFuseScale scales[OMEN_FUSE_MAX_BRANCHES];

	if (!state->options.by_rank)
	{
		for (int i = 0; i < state->nbranches; i++)
		{
			measure_window(state, i);
			scales[i] = state->branches[i].scale;
		}
		for (Size i = 0; i < ranking->nrows; i++)
		{
			OmenFuseRow *row = ranking->rows[i];
			bool		missing[OMEN_FUSE_MAX_BRANCHES];

			for (int j = 0; j < state->nbranches; j++)
				missing[j] = row->ranks[j] == 0;
			row->isnull = !omen_fuse_score(&state->options, scales,
										   row->values, missing, &row->score);
		}
	}
	qsort(ranking->rows, ranking->nrows, sizeof(OmenFuseRow *),
		  compare_row_pointers);
}

/* Best, worst, mean and deviation of a branch in its window */
static void
measure_window(OmenFuseScanState *state, int n)
{
	const OmenFuseRanking *ranking = state->ranking;
	OmenFuseScale *scale = &state->branches[n].scale;
	double		sum = 0;
	double		squares = 0;
	int			count = 0;

	scale->best = scale->worst = scale->mean = scale->deviation = 0;
	for (Size i = 0; i < ranking->nrows; i++)
	{
		const OmenFuseRow *row = ranking->rows[i];
		double		value = row->values[n];

		if (row->ranks[n] == 0)
			continue;
		if (count == 0)
			scale->best = scale->worst = value;
		scale->best = Min(scale->best, value);
		scale->worst = Max(scale->worst, value);
		sum += value;
		count++;
	}
	if (count == 0)
		return;
	scale->mean = sum / count;
	for (Size i = 0; i < ranking->nrows; i++)
	{
		const OmenFuseRow *row = ranking->rows[i];

		if (row->ranks[n] > 0)
			squares += (row->values[n] - scale->mean) *
				(row->values[n] - scale->mean);
	}

	/* of equal values, the mean may be off by a rounding error */
	scale->deviation = scale->worst > scale->best ? sqrt(squares / count) : 0;
}

/* --- order --- */

/* As SQL orders: numbers, NaN, NULL; then by place */
static int
compare_rows(const OmenFuseRow *a, const OmenFuseRow *b)
{
	int			order = (int) a->isnull - (int) b->isnull;

	if (order == 0 && !a->isnull)
		order = float8_cmp_internal(a->score, b->score);
	return order != 0 ? order :
		ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid);
}

static int
compare_row_pointers(const void *a, const void *b)
{
	return compare_rows(*(OmenFuseRow *const *) a,
						*(OmenFuseRow *const *) b);
}

/* pairingheap puts the greatest first: turn the order round */
static int
compare_queued(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return -compare_rows(((const QueuedRow *) a)->row,
						 ((const QueuedRow *) b)->row);
}
