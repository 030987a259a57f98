/*-------------------------------------------------------------------------
 *
 * topk.h
 *	  Which documents score best for a query of several terms?
 *
 * Block-max MAXSCORE over windows of document numbers, after Turtle & Flood
 * (1995), Ding & Suel (2011) and Lucene's MaxScoreBulkScorer; see topk.c.
 *
 * Hits are in the order of (score descending, row ascending), rows being
 * numbers for heap TIDs.  That order is total, and the score of a document
 * does not depend on how it was found; so a walk may be cut anywhere: the hits
 * after a hit are those of a new run with "after" set to it.
 *
 *		topk = omen_topk_create(...);
 *		after = NULL;
 *		do
 *			omen_topk_begin(topk, k, after);
 *			omen_topk_offer(topk, ...);		for each document not in a segment
 *			n = omen_topk_run(topk, hits);
 *			... hand out hits[0 .. n - 1] ...
 *			after = &hits[n - 1]; k = 4 * k;
 *		while (n == the k of this run);
 *
 * Every document with a score above zero comes once, provided that it is
 * allowed and live.  Documents whose score is zero (all positions are of
 * classes of weight zero, or none of the terms occurs) are no hits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_TOPK_H
#define OMEN_TEXT_TOPK_H

#include "text/cursor.h"

/* Greatest number of terms in a query */
#define OMEN_TOPK_MAX_TERMS	1024

/* A segment: documents 0 to ndocs - 1, rows ascending with the number */
typedef struct OmenTopKSegment
{
	const OmenDocOps *ops;
	void	   *docs;			/* the access method's */
	uint32		ndocs;
	const OmenPostingList *lists;	/* one for each term of the query */
	const uint64 *allowed;		/* a bit for each document; NULL: all */
	uint32		nallowed;		/* bits set in it */
} OmenTopKSegment;

typedef struct OmenTopKHit
{
	double		score;			/* above 0 */
	uint64		row;
	int			segment;		/* index in segments, or what was offered */
	uint32		doc;
} OmenTopKHit;

/* What a query has cost so far */
typedef struct OmenTopKStats
{
	uint64		windows;		/* looked into */
	uint64		blocks;			/* of which the documents were decoded */
	uint64		blocks_total;	/* that the terms have */
	uint64		postings;		/* in them */
	uint64		candidates;		/* that were worth asking other terms */
	uint64		scored;			/* documents scored exactly */
} OmenTopKStats;

typedef struct OmenTopK OmenTopK;

/*
 * A query: weights[nterms] are idf times the term's weight in the query, all
 * above 0; segments in the order they are to be searched, the largest first.
 * All arrays stay the caller's and stay as they are.  Terms are distinct.
 * Lives in the current memory context, of which it takes more as it goes, and
 * goes with it.
 */
extern OmenTopK *omen_topk_create(const OmenBm25 *bm25, int nterms,
								  const double *weights, int nsegments,
								  const OmenTopKSegment *segments);

/* Look for the best k hits, or the best k after a hit if that is not NULL */
extern void omen_topk_begin(OmenTopK *topk, int k, const OmenTopKHit *after);

/*
 * A document that is in no segment, scored with omen_topk_score_tfs.  segment
 * and doc are the caller's, to know it again.
 */
extern void omen_topk_offer(OmenTopK *topk, const OmenTopKHit *hit);

/* Writes at most k hits, best first; returns how many.  Fewer than k: the last */
extern int	omen_topk_run(OmenTopK *topk, OmenTopKHit *hits);

/* The score of one document of a segment; 0 if no term occurs in it */
extern double omen_topk_score(OmenTopK *topk, int segment, uint32 doc);

/* The score of a document with these frequencies (0: does not occur) */
extern double omen_topk_score_tfs(const OmenTopK *topk, const uint16 *tfs,
								  uint32 length);

/* What no document's score exceeds: the sum of omen_bm25_limit */
extern double omen_topk_limit(const OmenTopK *topk);

extern const OmenTopKStats *omen_topk_stats(const OmenTopK *topk);

#endif							/* OMEN_TEXT_TOPK_H */
