/*-------------------------------------------------------------------------
 *
 * graph_build_thin.c
 *	  Which candidates stand for others, in sets full of near copies.
 *
 * Where each vector has ten near copies, the nearest 64 of a node are those of
 * six vectors: the rule of choice (graph_select.c) finds nothing but doubles
 * among them, and the links it makes lead back and forth between copies.  So
 * in such a set a leaf is thinned: of nodes that lie close together, those at
 * some distance see one only.
 *
 * Nodes have a rank each, an arbitrary one.  The reach of a node is the
 * distance to the nearest one of better rank.  From a distance of more than
 * OMEN_THIN_FACTOR times its reach, a node is not seen, for one of better rank
 * lies there as well.  Its own copies are as far from a node as from each
 * other, so it sees all of them.
 *
 * If all agreed on the ranks, nobody but its copies would link to the last of
 * a group.  So there are several rankings, and each node has its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "base/copies.h"
#include "graph/graph_build.h"

/*
 * What turns the first ranking into the others: the reverse, and two that
 * agree with it on half of all pairs
 */
static const uint32 rankings[OMEN_RANKINGS] = {
	0, 0xFFFFFFFF, 0xAAAAAAAA, 0x55555555
};

/* An infinite float */
#define INFINITY_BITS	0x7F800000

typedef void (*FindReaches) (const OmenThinning *thinning,
							 const float *distances, int n, int i,
							 float *reaches);
typedef int (*HideRow) (const float *distances, const float *limits, int n,
						float *seen);

typedef int (*CountWithin) (const float *distances, int n, float limit);

static FindReaches choose_find_reaches(void);
static HideRow choose_hide_row(void);
static CountWithin choose_count_within(void);

/* Start on a leaf */
void
omen_thin_begin(OmenThinning *thinning, const uint32 *nodes, int n)
{
	int			i;

	Assert(n <= OMEN_LEAF_MAX);

	/* different for all nodes, and without any order */
	for (i = 0; i < n; i++)
		thinning->ranks[i] = nodes[i] * UINT32_C(0x9E3779B1);
}

/*
 * Note from where the i-th node of the leaf can be seen, given its distances
 * to all n, of which its own is NaN.
 */
void
omen_thin_note(OmenThinning *thinning, const float *distances, int n, int i)
{
	float		reaches[OMEN_RANKINGS];
	int			r;

	choose_find_reaches() (thinning, distances, n, i, reaches);
	for (r = 0; r < OMEN_RANKINGS; r++)
		thinning->limits[r][i] = omen_copies_limit(reaches[r]);
}

/*
 * A node's distances to all n of the leaf, NaN in the place of those that it
 * does not see.  If too few are left to choose from, it sees them all.
 */
const float *
omen_thin_row(OmenThinning *thinning, uint32 node, const float *distances,
			  int n, int keep)
{
	int			ranking = omen_build_mix(node, OMEN_RANKINGS) % OMEN_RANKINGS;
	int			nseen = choose_hide_row() (distances,
										   thinning->limits[ranking], n,
										   thinning->seen);

	return nseen < keep ? distances : thinning->seen;
}

/*
 * Has a node near copies, judging by its distances to a leaf and the keys of
 * its nearest there?
 */
bool
omen_thin_has_copies(const float *distances, int n, const uint64 *keys,
					 int nkeys, int keep)
{
	float		last;
	int			ncopies;
	int			nnear;

	if (nkeys < keep)
		return false;
	last = omen_key_distance(keys[keep - 1]);
	if (omen_copies_are_some(omen_key_distance(keys[0]), last))
		return true;
	ncopies = choose_count_within() (distances, n, omen_copies_limit(last));
	if (ncopies > omen_copies_most(keep))
		return false;
	nnear = choose_count_within() (distances, n, omen_copies_near_limit(last));
	return omen_copies_are_all(ncopies, nnear, n, keep);
}

/*
 * Reduce a node's nearest of a thinned leaf, sorted, to those that are passed
 * on: many of its copies, and a few others, for each of its leaves adds some.
 * Returns their number.
 */
int
omen_thin_choose(uint64 *keys, int nkeys, int keep)
{
	int			ncopies = Min(nkeys, omen_copies_passed(keep));
	int			max = ncopies + omen_others_passed(keep);
	int			n = ncopies;
	float		limit;
	int			i;

	if (nkeys == 0)
		return 0;
	limit = omen_copies_limit(omen_key_distance(keys[0]));
	for (i = ncopies; i < nkeys && n < max; i++)
	{
		if (omen_key_distance(keys[i]) > limit)
			keys[n++] = keys[i];
	}
	return n;
}

/*
 * A node's distances to what lies beyond its copies, of which the last that was
 * found is so far off; NaN in the place of others
 */
const float *
omen_thin_beyond(OmenThinning *thinning, const float *distances, int n,
				 float last)
{
	float		limit = omen_copies_limit(last);

	for (int i = 0; i < n; i++)
		thinning->beyond[i] = distances[i] > limit ? distances[i] : NAN;
	return thinning->beyond;
}

/*
 * Reduce keys to some that are drawn, in order.  If all of a node's copies took
 * the nearest, they would lead to the same few others; a search whose pool is
 * full of copies depends on where they lead together.
 */
int
omen_thin_draw(uint64 *keys, int nkeys, int wanted, uint64 seed)
{
	int			n = 0;

	for (int i = 0; i < nkeys && n < wanted; i++)
	{
		if (omen_copies_draw(omen_build_mix(seed, i), nkeys - i, wanted - n))
			keys[n++] = keys[i];
	}
	return n;
}

/* Of candidates for links, sorted, have some copies kept */
void
omen_thin_keep_copies(const OmenNear *near, int n, int wanted, bool *kept)
{
	int			ncopies = 0;
	int			nkept;

	while (ncopies < n &&
		   omen_copies_has(near[ncopies].distance, near[n - 1].distance))
		ncopies++;
	nkept = omen_copies_kept(ncopies, wanted);
	for (int i = 0; i < nkept; i++)
		kept[omen_copies_kept_at(i, ncopies, nkept)] = true;
}

/*
 * The reach of the i-th node in each ranking; infinite for the first of all.
 * Distances are compared by their bits, which sort alike, with NaN behind
 * everything else: the minimum of integers can be taken in any order, so that
 * the compiler makes vectors of it.
 */
static inline void
find_reaches(const OmenThinning *thinning, const float *distances, int n,
			 int i, float *reaches)
{
	int			r;

	for (r = 0; r < OMEN_RANKINGS; r++)
	{
		uint32		turn = rankings[r];
		uint32		rank = thinning->ranks[i] ^ turn;
		int32		reach = INFINITY_BITS;
		int			j;

		for (j = 0; j < n; j++)
		{
			int32		bits;

			memcpy(&bits, &distances[j], sizeof(bits));
			bits = (thinning->ranks[j] ^ turn) < rank ? bits : INFINITY_BITS;
			reach = Min(reach, bits);
		}
		memcpy(&reaches[r], &reach, sizeof(reach));
	}
}

/* seen[] as omen_thin_row() returns it, and how many it has */
static inline int
hide_row(const float *distances, const float *limits, int n, float *seen)
{
	int			nseen = 0;
	int			j;

	for (j = 0; j < n; j++)
	{
		bool		visible = distances[j] <= limits[j];

		seen[j] = visible ? distances[j] : NAN;
		nseen += visible;
	}
	return nseen;
}

/* NaN is not within anything */
static inline int
count_within(const float *distances, int n, float limit)
{
	int			within = 0;

	for (int i = 0; i < n; i++)
		within += distances[i] <= limit;
	return within;
}

static void
find_reaches_generic(const OmenThinning *thinning, const float *distances,
					 int n, int i, float *reaches)
{
	find_reaches(thinning, distances, n, i, reaches);
}

static int
hide_row_generic(const float *distances, const float *limits, int n,
				 float *seen)
{
	return hide_row(distances, limits, n, seen);
}

static int
count_within_generic(const float *distances, int n, float limit)
{
	return count_within(distances, n, limit);
}

#if defined(__x86_64__)

__attribute__((target(OMEN_TARGET_AVX2)))
static int
count_within_avx2(const float *distances, int n, float limit)
{
	return count_within(distances, n, limit);
}

__attribute__((target(OMEN_TARGET_AVX512)))
static int
count_within_avx512(const float *distances, int n, float limit)
{
	return count_within(distances, n, limit);
}

__attribute__((target(OMEN_TARGET_AVX2)))
static void
find_reaches_avx2(const OmenThinning *thinning, const float *distances,
				  int n, int i, float *reaches)
{
	find_reaches(thinning, distances, n, i, reaches);
}

__attribute__((target(OMEN_TARGET_AVX2)))
static int
hide_row_avx2(const float *distances, const float *limits, int n, float *seen)
{
	return hide_row(distances, limits, n, seen);
}

__attribute__((target(OMEN_TARGET_AVX512)))
static void
find_reaches_avx512(const OmenThinning *thinning, const float *distances,
					int n, int i, float *reaches)
{
	find_reaches(thinning, distances, n, i, reaches);
}

__attribute__((target(OMEN_TARGET_AVX512)))
static int
hide_row_avx512(const float *distances, const float *limits, int n,
				float *seen)
{
	return hide_row(distances, limits, n, seen);
}

#endif							/* __x86_64__ */

static FindReaches
choose_find_reaches(void)
{
#if defined(__x86_64__)
	if (omen_simd_level() == OMEN_SIMD_AVX512)
		return find_reaches_avx512;
	if (omen_simd_level() == OMEN_SIMD_AVX2)
		return find_reaches_avx2;
#endif
	return find_reaches_generic;
}

static HideRow
choose_hide_row(void)
{
#if defined(__x86_64__)
	if (omen_simd_level() == OMEN_SIMD_AVX512)
		return hide_row_avx512;
	if (omen_simd_level() == OMEN_SIMD_AVX2)
		return hide_row_avx2;
#endif
	return hide_row_generic;
}

static CountWithin
choose_count_within(void)
{
#if defined(__x86_64__)
	if (omen_simd_level() == OMEN_SIMD_AVX512)
		return count_within_avx512;
	if (omen_simd_level() == OMEN_SIMD_AVX2)
		return count_within_avx2;
#endif
	return count_within_generic;
}
