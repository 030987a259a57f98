/*-------------------------------------------------------------------------
 *
 * fuse_ahead.c
 *	  What streams are going to bring, as far as they can tell already.
 *
 * A stream has found the rows of its window before it brings the first one: of
 * a text with their scores, of vectors with bounds of their distances, which
 * are looked up one by one as rows are brought.  So it is known early which
 * rows can still get a rank in a branch, and how good that can be: a row comes
 * after all those that are certainly better.  Two rankings that share little,
 * or no row far down, need not be pulled to the end of their windows.
 *
 * That holds as long as the stream has as many rows ready as its window has
 * places left, and all of them pass: they are on all-visible pages, and there
 * is no WHERE.  Or it has no others at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "planner/fuse.h"

typedef struct Expected
{
	ItemPointerData tid;
	char		status;
	bool		seen;			/* a stream has brought it */
	int			least[OMEN_FUSE_MAX_BRANCHES];	/* as in OmenFuseRow */
} Expected;

#define SH_PREFIX expected
#define SH_ELEMENT_TYPE Expected
#define SH_KEY_TYPE ItemPointerData
#define SH_KEY tid
#define SH_HASH_KEY(table, key) omen_fuse_hash_tid(key)
#define SH_EQUAL(table, a, b) omen_fuse_is_same_tid(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct OmenFuseAhead
{
	expected_hash *rows;
};

static bool expect(OmenFuseScanState *state, int n, expected_hash *rows);
static int	count_certain(OmenFuseScanState *state, const OmenStream *stream,
						  const OmenStreamRows *next, double *worst);
static int	compare_values(const void *a, const void *b);
static int	count_below(const double *values, int n, double limit);

OmenFuseAhead *
omen_fuse_look_ahead(OmenFuseScanState *state)
{
	OmenFuseAhead *ahead = palloc(sizeof(OmenFuseAhead));

	ahead->rows = expected_create(CurrentMemoryContext,
								  2 * OMEN_FUSE_WINDOW_LEAST, NULL);
	for (int i = 0; i < state->nbranches; i++)
	{
		if (state->branches[i].stop == OMEN_FUSE_NOT_STOPPED &&
			!expect(state, i, ahead->rows))
			return NULL;
	}
	return ahead;
}

/* The rows of one stream; false if others may come */
static bool
expect(OmenFuseScanState *state, int n, expected_hash *rows)
{
	OmenFuseBranch *branch = &state->branches[n];
	OmenStream *stream = branch->stream;
	OmenStreamRows next = {0};
	double	   *worst;
	int			ncertain;

	if (stream->ops->list_next == NULL ||
		!stream->ops->list_next(stream, &next))
		return false;
	worst = palloc(Max(next.nrows, 1) * sizeof(double));
	ncertain = count_certain(state, stream, &next, worst);
	if (!next.no_others &&
		Min(ncertain, next.settled) < state->window - branch->rank)
		return false;
	for (int i = 0; i < next.nrows; i++)
	{
		int			rank = branch->rank + 1 +
			count_below(worst, ncertain, next.rows[i].best);
		Expected   *entry;
		bool		found;

		if (rank > state->window)
			continue;
		entry = expected_insert(rows, next.rows[i].tid, &found);
		if (!found)
		{
			entry->seen = false;
			memset(entry->least, 0, sizeof(entry->least));
		}
		entry->least[n] = rank;
	}
	return true;
}

/* Rows that will get a rank; of each the worst value, ascending */
static int
count_certain(OmenFuseScanState *state, const OmenStream *stream,
			  const OmenStreamRows *next, double *worst)
{
	int			n = 0;

	if (state->custom.ss.ps.qual != NULL)
		return 0;
	for (int i = 0; i < next->nrows; i++)
	{
		if (omen_fuse_is_all_visible(state, stream, &next->rows[i].tid))
			worst[n++] = next->rows[i].worst;
	}
	qsort(worst, n, sizeof(double), compare_values);
	return n;
}

static int
compare_values(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Of ascending values */
static int
count_below(const double *values, int n, double limit)
{
	int			low = 0;

	while (low < n)
	{
		int			middle = (low + n) / 2;

		if (values[middle] < limit)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

void
omen_fuse_ahead_see(OmenFuseAhead *ahead, OmenFuseRow *row)
{
	Expected   *entry = expected_lookup(ahead->rows, row->tid);

	if (entry == NULL)
		return;
	entry->seen = true;
	memcpy(row->least, entry->least, sizeof(row->least));
}

double
omen_fuse_ahead_lowest(const OmenFuseScanState *state,
					   const OmenFuseAhead *ahead)
{
	expected_iterator iterator;
	const Expected *entry;
	double		lowest = 0;

	expected_start_iterate(ahead->rows, &iterator);
	while ((entry = expected_iterate(ahead->rows, &iterator)) != NULL)
	{
		double		score;

		if (entry->seen)
			continue;
		score = omen_fuse_still_to_come(state, NULL, entry->least);
		lowest = Min(lowest, score);
	}
	return lowest;
}
