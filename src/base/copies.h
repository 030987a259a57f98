/*-------------------------------------------------------------------------
 *
 * copies.h
 *	  What near copies are in the construction of graphs: numbers and rules.
 *
 * Of the processors (graph/graph_build_thin.c, which has the reasons for the
 * method) and of the GPU helper (gpu/helper/rules.h), which must do alike.
 * Included by C, CUDA and HIP.  Distances are those of graphs, squared ones of
 * vectors mostly, and not negative.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_COPIES_H
#define OMEN_COPIES_H

#include <stdint.h>

#if defined(__CUDACC__) || defined(__HIPCC__)
#define OMEN_RULE static inline __host__ __device__
#else
#define OMEN_RULE static inline
#endif

/*
 * 2, 2.5 and 4 are equally good on 32,000 vectors with 9 copies each (ef for
 * recall .95: 59, 56, 60; unthinned 75).
 */
#define OMEN_THIN_FACTOR	2.5f

/*
 * A node has near copies if so much lies between the distances of the nearest
 * and the last of its 16 candidates: in uniform data, that takes less than
 * four dimensions.
 */
#define OMEN_COPIES_FACTOR	5.0f

/* So many times as many as these 16 are no copies, but a cluster */
#define OMEN_MOST_COPIES	4

/*
 * In the choice of links, copies are what is nearer than the last candidate by
 * more than this; so many of them are kept, whatever else there is.  Without
 * that, links to other vectors, which are more diverse, leave them no room.
 */
#define OMEN_KEEP_FACTOR	50.0f
#define OMEN_KEPT_COPIES	10

/* Of the "keep" nearest of a leaf, judging by the distances of first and last */
OMEN_RULE int
omen_copies_are_some(float nearest, float last)
{
	return nearest * OMEN_COPIES_FACTOR < last;
}

OMEN_RULE int
omen_copies_most(int keep)
{
	return keep * OMEN_MOST_COPIES;
}

/*
 * If all of these are copies, it takes more to tell: hardly anything lies
 * between them and what is OMEN_COPIES_FACTOR times as far.  Of a leaf of n, so
 * many are within the limit for copies, and within that for what is near.
 */
OMEN_RULE int
omen_copies_are_all(int ncopies, int nnear, int n, int keep)
{
	return ncopies <= omen_copies_most(keep) &&
		nnear < ncopies + ncopies / 2 && nnear < n / 2;
}

OMEN_RULE float
omen_copies_limit(float last)
{
	return OMEN_THIN_FACTOR * last;
}

OMEN_RULE float
omen_copies_near_limit(float last)
{
	return OMEN_COPIES_FACTOR * OMEN_THIN_FACTOR * last;
}

/*
 * Of the "keep" nearest of a thinned leaf, how many copies are passed on, and
 * most others.  With as many others as there are, ef for recall .95 on the set
 * above is 53, with 3 it is 48.
 */
OMEN_RULE int
omen_copies_passed(int keep)
{
	return keep * 5 / 8;
}

OMEN_RULE int
omen_others_passed(int keep)
{
	return keep * 3 / 16;
}

/*
 * If so many others were passed on, how many more are drawn; of how many that
 * are nearest beyond the copies
 */
OMEN_RULE int
omen_others_wanted(int keep, int nothers)
{
	return keep / 8 - nothers;
}

OMEN_RULE int
omen_others_found(int keep)
{
	return keep / 2;
}

/* Is the next of "left" drawn, of which "wanted" are? */
OMEN_RULE int
omen_copies_draw(uint64_t random, int left, int wanted)
{
	return random % (uint64_t) left < (uint64_t) wanted;
}

/* Is a candidate for links a copy, judging by the last candidate? */
OMEN_RULE int
omen_copies_has(float distance, float last)
{
	return distance * OMEN_KEEP_FACTOR <= last;
}

/*
 * How many copies are kept for one who wants so many links: half of these at most.
 * Fewer copies than are kept find room by themselves: of 20,000 SIFT vectors with
 * nine each, within 2 in each dimension, recall@10 at ef 40 is .865 if all are kept, and
 * .885 if not.
 */
OMEN_RULE int
omen_copies_kept(int ncopies, int wanted)
{
	int			most = wanted / 2 < OMEN_KEPT_COPIES ? wanted / 2 :
		OMEN_KEPT_COPIES;

	return ncopies < OMEN_KEPT_COPIES ? 0 : most;
}

/* The k-th of these: all over the copies */
OMEN_RULE int
omen_copies_kept_at(int k, int ncopies, int nkept)
{
	return k * ncopies / nkept;
}

#endif							/* OMEN_COPIES_H */
