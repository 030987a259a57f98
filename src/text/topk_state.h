/*-------------------------------------------------------------------------
 *
 * topk_state.h
 *	  What a search for the best documents knows; for topk*.c only.
 *
 *	topk.c			queries, runs, exact scores
 *	topk_pool.c		which documents are the best so far
 *	topk_terms.c	a term's blocks, their scores and bounds
 *	topk_prime.c	where the threshold starts
 *	topk_window.c	windows of documents, essential terms, candidates
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_TOPK_STATE_H
#define OMEN_TEXT_TOPK_STATE_H

#include <float.h>

#include "text/topk.h"

/*
 * Lengths that bounds are told apart by: four classes for a power of two, and
 * one for all from 1,792 on.
 */
#define OMEN_LENGTH_CODES			4
#define OMEN_CODE_CLASS(code)		Min((code) / OMEN_LENGTH_CODES, OMEN_LENGTHS - 1)

/* A term in the segment that is searched */
typedef struct OmenTermState
{
	double		weight;
	OmenScoreForm form;
	OmenSkips  *skips;			/* NULL: the segment does not have it */
	OmenCursor	cursor;			/* of the walk */
	OmenCursor	probe;			/* for documents in any order */
	float		most;			/* bound of the only block */
	uint32		block;			/* the first that reaches into the window */
	uint32		scored;			/* block whose scores are there */
	float		scores[OMEN_POSTING_BLOCK];

	/* in the window at hand */
	float		bound;
	uint32		until;			/* the bound holds for documents before */

	/* bounds for blocks, by lengths */
	uint32		bounds_from;
	uint32		bounds_to;		/* 0: none yet */
	float		bounds[OMEN_LENGTHS];
} OmenTermState;

/* A document with a score that is right but for rounding (slack) */
typedef struct OmenScoredDoc
{
	float		score;
	uint32		number;			/* of the document, or a block */
} OmenScoredDoc;

struct OmenTopK
{
	MemoryContext context;
	OmenBm25	bm25;
	int			nterms;
	int			nsegments;
	const OmenTopKSegment *segments;
	double		slack;
	OmenSkips **skips;			/* [segment * nterms + term], made on use */
	OmenTermState  *terms;
	OmenTopKStats stats;

	/* values of the codes in bounds, and of the classes of lengths */
	float		tf_values[256];
	float		norms[256];
	float		class_norms[OMEN_LENGTHS];

	/* this run: see topk_pool.c */
	int			k;
	int			capacity;		/* greatest k that there is room for */
	bool		has_after;
	OmenTopKHit after;
	int			nhits;
	OmenTopKHit *hits;			/* with exact scores: a heap, the worst first */
	int			nleast;
	float	   *least;			/* the best k scores, rounded down: a heap */
	int			npool;
	OmenScoredDoc	   *pool;			/* documents of the segment to be settled */
	float		low;			/* documents below need no look */
	uint64		searched;		/* documents of the segments before */

	/* this segment */
	int			number;			/* that terms are open for, or -1 */
	const OmenTopKSegment *segment;
	const uint16 *lengths;
	uint32		lengths_first;
	uint32		lengths_end;	/* 0: none */
	int			nprimed;
	int			primed_size;
	uint32	   *primed;			/* documents that have been offered */

	/* this window */
	int			nactive;		/* terms that have postings from here on */
	OmenTermState **active;			/* ascending by bound */
	float	   *rest;			/* [i]: bounds before active[i], summed up */
	float	  (*rest_by_length)[OMEN_LENGTHS];	/* the same by length */
	uint32		start;
	uint32		end;
	uint32		window;			/* how many documents */
	uint32		room;			/* for so many, in what follows */
	float	   *sums;			/* by place in the window */
	uint8	   *marks;			/* of lines of sums */
	int			ncandidates;
	uint32	   *docs;			/* the candidates, ascending */
	float	   *found;			/* what they score as far as known */
	uint8	   *classes;		/* of their lengths */
	uint32		picked_docs[OMEN_POSTING_BLOCK];	/* see pick_postings */
	float		picked_scores[OMEN_POSTING_BLOCK];
};

static inline bool
omen_topk_allows(const OmenTopKSegment *segment, uint32 doc)
{
	return segment->allowed == NULL ||
		(segment->allowed[doc / 64] >> (doc % 64) & 1) != 0;
}

/* Lengths of documents from lengths_first on; doc's is among them */
static inline const uint16 *
omen_topk_lengths(OmenTopK *topk, uint32 doc)
{
	if (doc < topk->lengths_first || doc >= topk->lengths_end)
		topk->lengths = topk->segment->ops->lengths(
			topk->segment->docs, doc, &topk->lengths_first,
			&topk->lengths_end);
	Assert(doc >= topk->lengths_first && doc < topk->lengths_end);
	return topk->lengths;
}

static inline uint32
omen_topk_length(OmenTopK *topk, uint32 doc)
{
	uint32		length = omen_topk_lengths(topk, doc)[doc - topk->lengths_first];

	if (length == OMEN_LONG_LENGTH)
		length = topk->segment->ops->long_length(topk->segment->docs, doc);
	return length;
}

/* topk.c */
extern double omen_topk_score_exactly(OmenTopK *topk, uint32 doc);

/* topk_pool.c */
extern void omen_pool_begin(OmenTopK *topk);
extern void omen_pool_offer(OmenTopK *topk, uint32 doc, float score);
extern void omen_pool_settle(OmenTopK *topk);
extern int	omen_pool_finish(OmenTopK *topk, OmenTopKHit *hits);

/* topk_terms.c */
extern float omen_term_open(OmenTopK *topk, OmenTermState *term);
extern float omen_term_block_bound(OmenTopK *topk, OmenTermState *term,
								   uint32 block);
extern void omen_term_load(OmenTopK *topk, OmenTermState *term, uint32 block);
extern void omen_term_score(OmenTopK *topk, OmenTermState *term, uint32 block);
extern void omen_term_bound_window(OmenTopK *topk, OmenTermState *term);
extern void omen_term_bound_lengths(OmenTopK *topk, OmenTermState *term);

/* topk_prime.c */
extern void omen_topk_prime(OmenTopK *topk);

/* topk_window.c */
extern void omen_topk_search_segment(OmenTopK *topk);

#endif							/* OMEN_TEXT_TOPK_STATE_H */
