/*-------------------------------------------------------------------------
 *
 * topk_prime.c
 *	  Where the threshold starts.
 *
 * NOTES
 *	  The documents that are best for one term are found in the blocks with the
 *	  greatest bounds, and are not bad for the whole query.  With their scores
 *	  the threshold is near its end from the first window on: of a million
 *	  documents, ten or twenty more are found that reach it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "text/topk_state.h"

/* Beyond this, too many documents would have to be scored one by one */
#define MAX_PRIME_K		64

/* Blocks of a term that are looked into, and documents taken of them */
#define PRIME_BLOCKS(k)			(4 + (k) / 16)
#define PRIME_DOCS(k, nterms)	((k) / (nterms) + 8)

/* Keep the best "room" of what comes; a heap, the least first */
static void
keep_best(OmenScoredDoc *heap, int *n, int room, OmenScoredDoc one)
{
	int			at;

	if (*n < room)
	{
		at = (*n)++;
		while (at > 0 && heap[(at - 1) / 2].score > one.score)
		{
			heap[at] = heap[(at - 1) / 2];
			at = (at - 1) / 2;
		}
	}
	else
	{
		if (one.score <= heap[0].score)
			return;
		at = 0;
		for (int child; (child = 2 * at + 1) < *n; at = child)
		{
			if (child + 1 < *n && heap[child + 1].score < heap[child].score)
				child++;
			if (heap[child].score >= one.score)
				break;
			heap[at] = heap[child];
		}
	}
	heap[at] = one;
}

/* The best documents of a term's best blocks */
static void
prime_term(OmenTopK *topk, OmenTermState *term, int room)
{
	OmenScoredDoc		blocks[PRIME_BLOCKS(MAX_PRIME_K)];
	OmenScoredDoc		docs[PRIME_DOCS(MAX_PRIME_K, 1)];
	int			nblocks = 0;
	int			ndocs = 0;

	for (uint32 i = 0; i < term->skips->nblocks; i++)
		keep_best(blocks, &nblocks, PRIME_BLOCKS(topk->k),
				  (OmenScoredDoc){omen_term_block_bound(topk, term, i), i});
	for (int i = 0; i < nblocks; i++)
	{
		omen_term_score(topk, term, blocks[i].number);
		for (int j = 0; j < term->cursor.n; j++)
			if (omen_topk_allows(topk->segment, term->cursor.docs[j]))
				keep_best(docs, &ndocs, room,
						  (OmenScoredDoc){term->scores[j], term->cursor.docs[j]});
	}
	for (int i = 0; i < ndocs; i++)
		topk->primed[topk->nprimed++] = docs[i].number;
}

static int
compare_docs(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Offer documents that are good for one term each.  They stay in primed,
 * ascending, and are not to be offered again.
 */
void
omen_topk_prime(OmenTopK *topk)
{
	const OmenTopKSegment *segment = topk->segment;
	int			room = PRIME_DOCS(topk->k, topk->nactive);
	int			n = 0;

	topk->nprimed = 0;
	/*
	 * Larger segments have brought a threshold that is good enough; where few
	 * documents are allowed, few of the best are.
	 */
	if (topk->k > MAX_PRIME_K ||
		(topk->nleast == topk->k && topk->searched >= segment->ndocs) ||
		(segment->allowed != NULL && segment->nallowed < segment->ndocs / 8))
		return;
	if (topk->primed_size < room * topk->nactive)
	{
		if (topk->primed_size > 0)
			pfree(topk->primed);
		topk->primed_size = room * topk->nactive;
		topk->primed = MemoryContextAlloc(topk->context, sizeof(uint32) *
										  topk->primed_size);
	}
	for (int i = 0; i < topk->nactive; i++)
		prime_term(topk, topk->active[i], room);
	qsort(topk->primed, topk->nprimed, sizeof(uint32), compare_docs);
	for (int i = 0; i < topk->nprimed; i++)
	{
		if (i > 0 && topk->primed[i] == topk->primed[i - 1])
			continue;
		topk->primed[n++] = topk->primed[i];
		omen_pool_offer(topk, topk->primed[i],
						(float) omen_topk_score_exactly(topk,
														topk->primed[i]));
	}
	topk->nprimed = n;
}
