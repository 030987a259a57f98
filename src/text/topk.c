/*-------------------------------------------------------------------------
 *
 * topk.c
 *	  The documents that score best: queries, runs over segments, and exact
 *	  scores.
 *
 * NOTES
 *	  Block-max MAXSCORE.  For each window of documents, each term has a bound:
 *	  the greatest of its blocks that reach into the window.  Terms are ordered
 *	  by bound.  The first ones, whose bounds sum up to less than the k-th best
 *	  score so far (the threshold), cannot bring a document among the best by
 *	  themselves: only the others are essential, and their postings are decoded
 *	  and scored in bulk.  What these make of a document, plus the bounds of the
 *	  terms that were left out, is most often below the threshold; for the rest,
 *	  the other terms are asked one by one, the greatest bound first, and a
 *	  document is dropped as soon as it cannot reach the threshold any more.
 *
 *	  Where this differs from what is published: terms with few postings are
 *	  essential whatever their bounds, since scoring in bulk takes less time
 *	  than asking about candidates.  Before the first window, the
 *	  blocks with the greatest bounds are looked into, and the threshold starts
 *	  with the k-th best of the documents that are best there (topk_prime.c).
 *	  Postings of a window are scored block by block with vectors, summed up by
 *	  place in the window, and candidates found by a scan of the places that
 *	  were marked.  The bounds that candidates are held against are those for
 *	  documents of their length.  When a filter allows few documents of a window,
 *	  these are the candidates, and no term is essential.
 *
 *	  All this is done in float, and a document is dropped only if it is below
 *	  the threshold by more than all rounding can be (slack).  What is left at
 *	  the end of a segment is scored again in double, term by term in the
 *	  query's order, and that alone decides: a document's score is the same
 *	  however it was found.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "text/topk_state.h"

/* What float arithmetic may take off a score or a bound, relative */
#define SLACK			1e-5
#define TERM_SLACK		1.2e-7

/* --- a query --- */

OmenTopK *
omen_topk_create(const OmenBm25 *bm25, int nterms, const double *weights,
				 int nsegments, const OmenTopKSegment *segments)
{
	MemoryContext context = CurrentMemoryContext;
	OmenTopK   *topk = MemoryContextAllocZero(context, sizeof(OmenTopK));
	double		constant = bm25->unit * bm25->k1 * (1 - bm25->b);
	double		slope = bm25->unit * bm25->k1 * bm25->b / bm25->avgdl;

	Assert(nterms > 0 && nterms <= OMEN_TOPK_MAX_TERMS);
	Assert(bm25->avgdl > 0 && bm25->unit > 0);
	topk->context = context;
	topk->bm25 = *bm25;
	topk->nterms = nterms;
	topk->nsegments = nsegments;
	topk->segments = segments;
	topk->number = -1;
	topk->slack = SLACK + TERM_SLACK * nterms;
	topk->skips = MemoryContextAllocZero(
		context, sizeof(OmenSkips *) * Max(nsegments, 1) * nterms);
	topk->terms = MemoryContextAllocHuge(context, sizeof(OmenTermState) * nterms);
	topk->active = MemoryContextAlloc(context, sizeof(OmenTermState *) * nterms);
	topk->rest = MemoryContextAlloc(context, sizeof(float) * (nterms + 1));
	topk->rest_by_length = MemoryContextAllocZero(
		context, sizeof(float) * OMEN_LENGTHS * (nterms + 1));
	for (int i = 0; i < nterms; i++)
	{
		OmenTermState  *term = &topk->terms[i];

		term->weight = weights[i];
		term->form.weight = (float) omen_bm25_limit(bm25, weights[i]);
		/* where k1 is 0, a frequency of 0 is not to be divided by 0 */
		term->form.constant = (float) constant + FLT_MIN;
		term->form.slope = (float) slope;
	}
	for (int i = 0; i < 256; i++)
	{
		topk->tf_values[i] = (float) omen_value_of_code((uint8) i);
		topk->norms[i] = FLT_MIN +
			(float) (constant + slope * omen_value_of_code((uint8) i));
	}
	for (int i = 0; i < OMEN_LENGTHS; i++)
		topk->class_norms[i] = topk->norms[OMEN_LENGTH_CODES * i];
	return topk;
}

double
omen_topk_score_tfs(const OmenTopK *topk, const uint16 *tfs, uint32 length)
{
	double		score = 0;

	for (int i = 0; i < topk->nterms; i++)
		score += omen_bm25_term(&topk->bm25, topk->terms[i].weight, tfs[i],
								length);
	return score;
}

double
omen_topk_limit(const OmenTopK *topk)
{
	double		limit = 0;

	for (int i = 0; i < topk->nterms; i++)
		limit += omen_bm25_limit(&topk->bm25, topk->terms[i].weight);
	return limit;
}

const OmenTopKStats *
omen_topk_stats(const OmenTopK *topk)
{
	return &topk->stats;
}

/* --- segments and documents --- */

static OmenSkips *
skips_of(OmenTopK *topk, int segment, int term)
{
	OmenSkips **skips = &topk->skips[segment * topk->nterms + term];
	const OmenPostingList *list = &topk->segments[segment].lists[term];

	if (*skips == NULL && list->df > 0)
	{
		*skips = MemoryContextAlloc(topk->context, sizeof(OmenSkips));
		omen_skips_open(*skips, list, topk->segments[segment].ndocs,
						topk->context);
	}
	return *skips;
}

/* Open the terms for a segment, unless they are */
static void
enter_segment(OmenTopK *topk, int segment)
{
	if (topk->number == segment)
		return;
	topk->number = segment;
	topk->segment = &topk->segments[segment];
	for (int i = 0; i < topk->nterms; i++)
	{
		OmenTermState  *term = &topk->terms[i];

		term->skips = skips_of(topk, segment, i);
		term->scored = OMEN_NO_BLOCK;
		if (term->skips == NULL)
			continue;
		omen_cursor_open(&term->cursor, term->skips);
		omen_cursor_open(&term->probe, term->skips);
	}
}

/*
 * By the walk's cursors where these are on the right blocks, else by those of
 * the probe.
 */
double
omen_topk_score_exactly(OmenTopK *topk, uint32 doc)
{
	double		length = omen_topk_length(topk, doc);
	double		score = 0;

	topk->stats.scored++;
	for (int i = 0; i < topk->nterms; i++)
	{
		OmenTermState  *term = &topk->terms[i];
		OmenCursor *cursor = &term->cursor;
		int			place;

		if (term->skips == NULL)
			continue;
		if (!omen_cursor_covers(cursor, doc))
			cursor = &term->probe;
		if (!omen_cursor_find(cursor, doc, &place))
			continue;
		omen_cursor_load_tfs(cursor);
		score += omen_bm25_term(&topk->bm25, term->weight, cursor->tfs[place],
								length);
	}
	return score;
}

/* --- a run --- */

void
omen_topk_begin(OmenTopK *topk, int k, const OmenTopKHit *after)
{
	Assert(k > 0);
	topk->k = k;
	topk->has_after = after != NULL;
	if (after != NULL)
		topk->after = *after;
	omen_pool_begin(topk);
}

int
omen_topk_run(OmenTopK *topk, OmenTopKHit *hits)
{
	topk->searched = 0;
	for (int i = 0; i < topk->nsegments; i++)
	{
		enter_segment(topk, i);
		topk->lengths_end = 0;
		omen_topk_search_segment(topk);
		omen_pool_settle(topk);
		topk->searched += topk->segment->ndocs;
	}
	return omen_pool_finish(topk, hits);
}

double
omen_topk_score(OmenTopK *topk, int segment, uint32 doc)
{
	enter_segment(topk, segment);
	topk->lengths_end = 0;
	return omen_topk_score_exactly(topk, doc);
}
