/*-------------------------------------------------------------------------
 *
 * hnsw_entry_choose.c
 *	  Which nodes become entries.
 *
 * NOTES
 *	  One of each stretch of positions, so that every cluster has its share.  By
 *	  inner product it is the longest vector there, as many queries end at such.
 *
 *	  Where lengths differ much, some rows are answers to a large part of all
 *	  queries, and it is their links that are bad: they are far from everybody in
 *	  the distance of the graph, so estimates by links that lead to them are rough.
 *	  Of 20,000 words, a fifth of the queries asked for one that half of them did
 *	  not find.  As entries, such rows are measured by each query.  Queries are like
 *	  rows as far as anybody knows: their products with a row x are <m, x> on
 *	  average, m being the mean, and spread in proportion to |x|.  So an eighth of
 *	  the entries are the rows for which <m, x> and twice that spread are most, and a
 *	  walk begins with more of them (OMEN_IP_SEEDS).  Recall of words at ef 40,
 *	  by inner product, is .996 to .998, where it was .972 to .990; with queries
 *	  that are like no row, as before.
 *
 *	  Where lengths are about equal, it would do harm: the nearest of such entries
 *	  are too near to each other to begin with.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "common/pg_prng.h"

#include "base/order.h"
#include "hnsw/hnsw.h"

/* Nodes whose lengths stand for those of all */
#define LENGTH_SAMPLE	4096

/*
 * Lengths differ much if those of the longest eighth, squared, are so many times the
 * average; or of the entries, which are long ones
 */
#define UNEQUAL_NORM2	1.25f
#define UNEQUAL_ENTRIES	1.1f

/* One entry of so many is a likely answer */
#define LIKELY_SHARE	8

/* How much above its average a row's product with queries is, in deviations */
#define LIKELY_SPREAD	2.0f

/* How many positions ahead codes, and where they are, are asked for */
#define AHEAD			8

/* To tick may cost as much as to look at so many */
#define TICK_EVERY		64

typedef struct Likely
{
	float		score;
	uint32		position;
} Likely;

typedef struct Choice
{
	const OmenQuantizer *quant;
	OmenBuild  *build;
	uint32		n;				/* nodes */
	uint32		start;			/* is an entry anyway */
	OmenEntryTick tick;
	void	   *arg;
	uint32	   *entries;		/* positions */
	uint32		nlikely;		/* of them, from entries[1] on, ascending */
} Choice;

static inline int
compare_scores(const Likely *a, const Likely *b)
{
	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	return a->position < b->position ? -1 : a->position > b->position;
}

#define ST_SORT			sort_likely
#define ST_ELEMENT_TYPE Likely
#define ST_COMPARE(a, b)	compare_scores(a, b)
#define ST_SCOPE		static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT			sort_positions
#define ST_ELEMENT_TYPE uint32
#define ST_COMPARE(a, b)	(*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE		static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The code of one node after the other */
static const uint8 *
next_code(Choice *choice, uint32 position)
{
	if (position % TICK_EVERY == 0)
		choice->tick(choice->arg);
	if (position + 2 * AHEAD < choice->n)
	{
		omen_build_prefetch_place(choice->build, position + 2 * AHEAD);
		omen_build_prefetch_code(choice->build, position + AHEAD);
	}
	return omen_build_code(choice->build, position);
}

/* --- likely answers --- */

/*
 * The weight of a row's length in its score, by so many squared lengths; less than 0
 * if they are about equal
 */
static float
weigh_norms(const OmenQuantizer *quant, const float *norms, uint32 n,
			float unequal)
{
	double		average = 0;
	uint32		nlong = 0;

	for (uint32 i = 0; i < n; i++)
		average += norms[i] / n;
	for (uint32 i = 0; i < n; i++)
		nlong += norms[i] > unequal * average;
	if (nlong < n / 8 || !isfinite(average))
		return -1;
	return LIKELY_SPREAD * (float) sqrt(Max(average - quant->mean_norm2, 0) /
										quant->shape.dims);
}

static float
weigh_lengths(Choice *choice)
{
	const OmenQuantizer *quant = choice->quant;
	uint32		n = Min(choice->n, LENGTH_SAMPLE);
	float	   *norms = palloc(n * sizeof(float));
	float		weight;

	for (uint32 i = 0; i < n; i++)
	{
		uint32		position = (uint32) ((uint64) i * choice->n / n);

		if (i % TICK_EVERY == 0)
			choice->tick(choice->arg);
		norms[i] = omen_quant_pair_norm2(quant, omen_build_code(choice->build,
																position));
	}
	weight = weigh_norms(quant, norms, n, UNEQUAL_NORM2);
	pfree(norms);
	return weight;
}

/* How likely an answer is */
static float
score_code(const OmenQuantizer *quant, const uint8 *code, float norm2,
		   float weight)
{
	float		score = omen_quant_pair_mean_dot(quant, code) +
		weight * sqrtf(Max(norm2, 0));

	return isfinite(score) ? score : FLT_MAX;
}

/* Those whose scores are most, from entries[1] on */
static void
choose_likely(Choice *choice, uint32 wanted, float weight)
{
	Likely	   *best = palloc(2 * wanted * sizeof(Likely));
	uint32		nbest = 0;
	float		least = -FLT_MAX;	/* what has to be beaten */

	for (uint32 position = 0; position < choice->n; position++)
	{
		const uint8 *code = next_code(choice, position);
		float		norm2 = omen_quant_pair_norm2(choice->quant, code);
		float		score = score_code(choice->quant, code, norm2, weight);

		if (score <= least || position == choice->start)
			continue;
		best[nbest++] = (Likely) {score, position};
		if (nbest == 2 * wanted)
		{
			sort_likely(best, nbest);
			nbest = wanted;
			least = best[wanted - 1].score;
		}
	}
	sort_likely(best, nbest);
	choice->nlikely = Min(nbest, wanted);
	for (uint32 i = 0; i < choice->nlikely; i++)
		choice->entries[1 + i] = best[i].position;
	sort_positions(&choice->entries[1], choice->nlikely);
	pfree(best);
}

/* --- one of each stretch --- */

/* The longest of each stretch of those that are no entries yet, from "at" on */
static void
choose_long(Choice *choice, uint32 at, uint32 nentries)
{
	const uint32 *likely = &choice->entries[1];
	uint32		nleft = choice->n - choice->nlikely -
		(choice->start < choice->n);
	uint32		nstretches = nentries - at;
	uint32		stretch = 0;
	uint32		seen = 0;
	uint32		next = 0;
	float		length = -1;

	for (uint32 position = 0; position < choice->n; position++)
	{
		float		norm2;

		if (next < choice->nlikely && likely[next] == position)
		{
			next++;
			continue;
		}
		if (position == choice->start)
			continue;
		norm2 = omen_quant_pair_norm2(choice->quant,
									  next_code(choice, position));
		if (norm2 > length || length < 0)
		{
			choice->entries[at + stretch] = position;
			length = Max(norm2, 0);
		}
		if (++seen == (uint64) (stretch + 1) * nleft / nstretches)
		{
			stretch++;
			length = -1;
		}
	}
}

/* Any of each stretch; of the first one if it has the start in it */
static void
choose_any(Choice *choice, uint32 at, uint32 nentries)
{
	uint32		n = choice->n;

	for (uint32 i = at; i < nentries; i++)
	{
		uint32		from = (uint32) ((uint64) i * n / nentries);
		uint32		to = (uint32) ((uint64) (i + 1) * n / nentries);

		if (choice->start >= from && choice->start < to)
		{
			from = 0;
			to = (uint32) ((uint64) n / nentries);
		}
		choice->entries[i] = (uint32)
			pg_prng_uint64_range(&pg_global_prng_state, from, to - 1);
		choice->tick(choice->arg);
	}
}

/*
 * The positions of nentries entries, n at most, to a graph of n nodes.  The first is
 * "start", which may be unknown, that is, n or more; none is twice.  tick is called
 * often.
 */
void
omen_hnsw_choose_entries(const OmenQuantizer *quant, OmenBuild *build,
						 uint32 n, uint32 nentries, uint32 start,
						 OmenEntryTick tick, void *arg, uint32 *entries)
{
	Choice		choice = {quant, build, n, start, tick, arg, entries};
	uint32		nlikely = nentries / LIKELY_SHARE;
	float		weight;

	if (nentries == 0)
		return;
	entries[0] = start;
	if (quant->shape.metric != OMEN_METRIC_IP)
	{
		choose_any(&choice, 1, nentries);
		return;
	}
	weight = weigh_lengths(&choice);
	if (nlikely > 0 && weight >= 0)
		choose_likely(&choice, nlikely, weight);
	if (nentries > 1 + choice.nlikely)
		choose_long(&choice, 1 + choice.nlikely, nentries);
}

/* --- inserted nodes --- */

/* What an insertion knows of the entries */
typedef struct EntryView
{
	uint32		n;
	float	   *norms;			/* squared */
	float	   *scores;			/* if their weight is not less than 0 */
	float		weight;
} EntryView;

static void
view_entries(const OmenHnswIndex *hnsw, EntryView *view)
{
	uint32		n = hnsw->nentries;

	view->n = n;
	view->norms = palloc(n * sizeof(float));
	view->scores = palloc(n * sizeof(float));
	for (uint32 i = 0; i < n; i++)
		view->norms[i] = omen_quant_pair_norm2(hnsw->quant,
											   hnsw->entry_pairs +
											   i * hnsw->pair_stride);
	view->weight = weigh_norms(hnsw->quant, view->norms, n,
							   UNEQUAL_ENTRIES);
	for (uint32 i = 0; i < n && view->weight >= 0; i++)
		view->scores[i] = score_code(hnsw->quant, hnsw->entry_pairs +
									 i * hnsw->pair_stride,
									 view->norms[i], view->weight);
}

/*
 * The last of the likely answers among the entries, if the score is one of
 * such; else 0.  The first entry is not looked at.
 */
static uint32
find_less_likely(const EntryView *view, float score)
{
	uint32		nlikely = view->n / LIKELY_SHARE;
	uint32		nmore = 0;
	Likely	   *all;
	uint32		last;

	for (uint32 i = 1; i < view->n; i++)
		nmore += view->scores[i] >= score;
	if (nmore >= nlikely)
		return 0;
	all = palloc(view->n * sizeof(Likely));
	for (uint32 i = 1; i < view->n; i++)
		all[i - 1] = (Likely) {view->scores[i], i};
	sort_likely(all, view->n - 1);
	last = all[nlikely - 1].position;
	pfree(all);
	return last;
}

static uint32
find_nearest(const OmenHnswIndex *hnsw, const uint8 *pair)
{
	float	   *distances = palloc(hnsw->nentries * sizeof(float));
	uint32		nearest = 1;

	omen_quant_pair_block(hnsw->quant, pair, hnsw->entry_pairs,
						  hnsw->pair_stride, hnsw->nentries, distances);
	for (uint32 i = 2; i < hnsw->nentries; i++)
	{
		if (distances[i] < distances[nearest])
			nearest = i;
	}
	pfree(distances);
	return nearest;
}

/*
 * By inner product: whose place in the list, which is full, a new node takes: of a
 * less likely answer if it is one, or of the entry nearest to it if that is shorter
 * and no more likely; else 0.  Never of the first one (H16).
 */
uint32
omen_hnsw_choose_replaced(const OmenHnswIndex *hnsw, const uint8 *pair)
{
	EntryView	view;
	float		norm2 = omen_quant_pair_norm2(hnsw->quant, pair);
	float		score = 0;
	uint32		at = 0;

	Assert(hnsw->nentries > 1);
	view_entries(hnsw, &view);
	if (view.weight >= 0)
	{
		score = score_code(hnsw->quant, pair, norm2, view.weight);
		at = find_less_likely(&view, score);
	}
	if (at == 0)
	{
		at = find_nearest(hnsw, pair);
		if (view.norms[at] >= norm2 ||
			(view.weight >= 0 && view.scores[at] > score))
			at = 0;
	}
	pfree(view.norms);
	pfree(view.scores);
	return at;
}
