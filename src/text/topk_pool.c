/*-------------------------------------------------------------------------
 *
 * topk_pool.c
 *	  Which documents are the best so far.
 *
 * NOTES
 *	  Scores come in float.  The k best of them, rounded down, tell the
 *	  threshold at once (least).  Which documents they belong to is settled
 *	  later: all that reach the threshold of their time lie in a pool, and those
 *	  that still do at the end of the segment are scored exactly.  Of k documents
 *	  many more come and go before the best are found, and to score a document
 *	  exactly takes as long as to score fifty postings in bulk.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/memutils.h"

#include "text/topk_state.h"

/* Documents that there is room for, besides twice as many as are looked for */
#define POOL_MORE		256

static void form_hit(OmenTopK *topk, uint32 doc, OmenTopKHit *hit);
static void insert(OmenTopK *topk, const OmenTopKHit *hit);
static void push_least(OmenTopK *topk, float score);

static inline int
pool_size(int k)
{
	return k > (INT_MAX - POOL_MORE) / 2 ? INT_MAX : 2 * k + POOL_MORE;
}

/* The order of hits: below 0 if a comes first */
static int
compare_hits(const void *a, const void *b)
{
	const OmenTopKHit *x = a;
	const OmenTopKHit *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Room for k hits, and none yet */
void
omen_pool_begin(OmenTopK *topk)
{
	if (topk->k > topk->capacity)
	{
		if (topk->capacity > 0)
		{
			pfree(topk->hits);
			pfree(topk->least);
			pfree(topk->pool);
		}
		topk->capacity = topk->k;
		topk->hits = MemoryContextAllocHuge(
			topk->context, sizeof(OmenTopKHit) * topk->k);
		topk->least = MemoryContextAllocHuge(topk->context,
											 sizeof(float) * topk->k);
		topk->pool = MemoryContextAllocHuge(
			topk->context, sizeof(OmenScoredDoc) * pool_size(topk->k));
	}
	topk->nhits = 0;
	topk->nleast = 0;
	topk->npool = 0;
	topk->low = 0;
}

/* Hand the hits out in order; returns how many */
int
omen_pool_finish(OmenTopK *topk, OmenTopKHit *hits)
{
	qsort(topk->hits, topk->nhits, sizeof(OmenTopKHit), compare_hits);
	memcpy(hits, topk->hits, sizeof(OmenTopKHit) * topk->nhits);
	return topk->nhits;
}

void
omen_topk_offer(OmenTopK *topk, const OmenTopKHit *hit)
{
	if (hit->score <= 0 ||
		(topk->has_after && compare_hits(hit, &topk->after) <= 0))
		return;
	push_least(topk, (float) (hit->score * (1 - topk->slack)));
	insert(topk, hit);
}

/* --- documents of the segment --- */

/* Whether a document comes after the hit to go on from */
static bool
is_after(OmenTopK *topk, uint32 doc, float score)
{
	OmenTopKHit hit;

	if (score * (1 + topk->slack) < topk->after.score)
		return true;
	if (score * (1 - topk->slack) > topk->after.score)
		return false;
	form_hit(topk, doc, &hit);
	return compare_hits(&topk->after, &hit) < 0;
}

/* Drop what does not reach the threshold any more */
static void
thin_out(OmenTopK *topk)
{
	int			kept = 0;

	for (int i = 0; i < topk->npool; i++)
	{
		topk->pool[kept] = topk->pool[i];
		kept += topk->pool[i].score >= topk->low;
	}
	topk->npool = kept;
}

/* A document, allowed and offered for the first time, with its whole score */
void
omen_pool_offer(OmenTopK *topk, uint32 doc, float score)
{
	const OmenTopKSegment *segment = topk->segment;
	int			size = pool_size(topk->k);

	if (score <= 0 || score < topk->low ||
		(topk->has_after && !is_after(topk, doc, score)) ||
		!segment->ops->live(segment->docs, doc))
		return;
	topk->pool[topk->npool++] = (OmenScoredDoc){score, doc};
	push_least(topk, (float) (score * (1 - topk->slack)));
	if (topk->npool < size)
		return;
	thin_out(topk);
	/* many scores are equal, or almost */
	if (topk->npool > size / 4 * 3)
		omen_pool_settle(topk);
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32		x = ((const OmenScoredDoc *) a)->number;
	uint32		y = ((const OmenScoredDoc *) b)->number;

	return x < y ? -1 : x > y;
}

/* Score the documents in the pool exactly, and empty it */
void
omen_pool_settle(OmenTopK *topk)
{
	thin_out(topk);
	qsort(topk->pool, topk->npool, sizeof(OmenScoredDoc), compare_numbers);
	for (int i = 0; i < topk->npool; i++)
	{
		OmenTopKHit hit;

		form_hit(topk, topk->pool[i].number, &hit);
		insert(topk, &hit);
	}
	topk->npool = 0;
}

static void
form_hit(OmenTopK *topk, uint32 doc, OmenTopKHit *hit)
{
	hit->score = omen_topk_score_exactly(topk, doc);
	hit->row = topk->segment->ops->row(topk->segment->docs, doc);
	hit->segment = topk->number;
	hit->doc = doc;
}

/* --- the heaps --- */

/* Put a hit into the heap, if it is among the best k so far */
static void
insert(OmenTopK *topk, const OmenTopKHit *hit)
{
	OmenTopKHit *heap = topk->hits;
	int			at;

	if (topk->nhits < topk->k)
	{
		at = topk->nhits++;
		while (at > 0 && compare_hits(&heap[(at - 1) / 2], hit) < 0)
		{
			heap[at] = heap[(at - 1) / 2];
			at = (at - 1) / 2;
		}
	}
	else
	{
		if (compare_hits(hit, &heap[0]) >= 0)
			return;
		at = 0;
		for (int child; (child = 2 * at + 1) < topk->nhits; at = child)
		{
			if (child + 1 < topk->nhits &&
				compare_hits(&heap[child], &heap[child + 1]) < 0)
				child++;
			if (compare_hits(&heap[child], hit) <= 0)
				break;
			heap[at] = heap[child];
		}
	}
	heap[at] = *hit;
}

/* One more document has at least this score: the threshold may rise */
static void
push_least(OmenTopK *topk, float score)
{
	float	   *heap = topk->least;
	int			at;

	if (topk->nleast < topk->k)
	{
		at = topk->nleast++;
		while (at > 0 && heap[(at - 1) / 2] > score)
		{
			heap[at] = heap[(at - 1) / 2];
			at = (at - 1) / 2;
		}
	}
	else
	{
		if (score <= heap[0])
			return;
		at = 0;
		for (int child; (child = 2 * at + 1) < topk->nleast; at = child)
		{
			if (child + 1 < topk->nleast && heap[child + 1] < heap[child])
				child++;
			if (heap[child] >= score)
				break;
			heap[at] = heap[child];
		}
	}
	heap[at] = score;
	if (topk->nleast == topk->k)
		topk->low = (float) (heap[0] * (1 - topk->slack));
}
