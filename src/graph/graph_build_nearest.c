/*-------------------------------------------------------------------------
 *
 * graph_build_nearest.c
 *	  Reduce a row of distances to the few that can be among the nearest.
 *
 * All pairs of all leaves pass through here, so this costs as much as the
 * distances themselves.  Sorting what is left is the caller's business.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "graph/graph_build.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Lanes of the bound, see choose_bound() */
#define LANES	32

static float choose_bound(const float *minima, int keep);
static int	below_bound_generic(const float *distances, int n, int keep,
								uint32 *below);

#if defined(__x86_64__)
static int	below_bound_avx512(const float *distances, int n, int keep,
							   uint32 *below);
#endif

/*
 * Write the indexes of all distances that do not exceed some bound, which at
 * least "keep" of n do not exceed, or all indexes if n is small.  Returns
 * their number.  A NaN is never among them.  There must be room for 16 more
 * indexes.
 */
int
omen_build_below_bound(const float *distances, int n, int keep, uint32 *below)
{
#if defined(__x86_64__)
	if (omen_simd_level() == OMEN_SIMD_AVX512)
		return below_bound_avx512(distances, n, keep, below);
#endif
	return below_bound_generic(distances, n, keep, below);
}

/*
 * Each lane has a member no farther than the lane's minimum, so the keep-th
 * smallest minimum is not exceeded by "keep" members.  With twice as many
 * lanes as are kept, about 40 % more than wanted falls below it.
 */
static float
choose_bound(const float *minima, int keep)
{
	float		bound = INFINITY;
	int			lane;
	int			i;

	for (lane = 0; lane < LANES; lane++)
	{
		int			below = 0;

		for (i = 0; i < LANES; i++)
			below += minima[i] <= minima[lane];
		if (below >= keep && minima[lane] < bound)
			bound = minima[lane];
	}
	return bound;
}

static int
below_bound_generic(const float *distances, int n, int keep, uint32 *below)
{
	float		bound = INFINITY;
	int			nbelow = 0;
	int			i;

	if (keep <= LANES && n >= 2 * LANES)
	{
		float		minima[LANES];
		int			lane;

		for (lane = 0; lane < LANES; lane++)
			minima[lane] = INFINITY;
		for (i = 0; i + LANES <= n; i += LANES)
		{
			for (lane = 0; lane < LANES; lane++)
				minima[lane] = distances[i + lane] < minima[lane] ?
					distances[i + lane] : minima[lane];
		}
		bound = choose_bound(minima, keep);
	}

	/* without a branch, which could not be predicted */
	for (i = 0; i < n; i++)
	{
		below[nbelow] = i;
		nbelow += distances[i] <= bound;
	}
	return nbelow;
}

#if defined(__x86_64__)

/*
 * 32 lanes in two registers; indexes are compressed in registers, for a
 * compressing store is slow on some CPUs.  Against the generic version:
 * 25 % of the whole construction of 100,000 x 128.
 */
__attribute__((target("popcnt,avx512f,avx512bw,avx512vl,avx512dq")))
static int
below_bound_avx512(const float *distances, int n, int keep, uint32 *below)
{
	const __m512i step = _mm512_set1_epi32(16);
	__m512i		indexes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
											11, 12, 13, 14, 15);
	__m512		limit = _mm512_set1_ps(INFINITY);
	int			nbelow = 0;
	int			i;

	if (keep <= LANES && n >= 2 * LANES)
	{
		__m512		minima0 = limit;
		__m512		minima1 = limit;
		float		minima[LANES];

		/* the second operand is returned if the first is NaN */
		for (i = 0; i + LANES <= n; i += LANES)
		{
			minima0 = _mm512_min_ps(_mm512_loadu_ps(distances + i), minima0);
			minima1 = _mm512_min_ps(_mm512_loadu_ps(distances + i + 16),
									minima1);
		}
		_mm512_storeu_ps(minima, minima0);
		_mm512_storeu_ps(minima + 16, minima1);

		/* choose_bound() */
		for (i = 0; i < LANES; i++)
		{
			__m512		minimum = _mm512_set1_ps(minima[i]);
			int			count =
				__builtin_popcount(_mm512_cmp_ps_mask(minima0, minimum,
													  _CMP_LE_OQ)) +
				__builtin_popcount(_mm512_cmp_ps_mask(minima1, minimum,
													  _CMP_LE_OQ));

			if (count >= keep)
				limit = _mm512_min_ps(limit, minimum);
		}
	}

	for (i = 0; i < n; i += 16)
	{
		__mmask16	valid = n - i >= 16 ? 0xFFFF : (1 << (n - i)) - 1;
		__mmask16	mask;

		mask = _mm512_mask_cmp_ps_mask(valid, _mm512_loadu_ps(distances + i),
									   limit, _CMP_LE_OQ);
		_mm512_storeu_si512(below + nbelow,
							_mm512_maskz_compress_epi32(mask, indexes));
		nbelow += __builtin_popcount(mask);
		indexes = _mm512_add_epi32(indexes, step);
	}
	return nbelow;
}

#endif							/* __x86_64__ */
