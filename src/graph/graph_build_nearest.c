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
static int	below_bound_avx2(const float *distances, int n, int keep,
							 uint32 *below);
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
	if (omen_simd_level() == OMEN_SIMD_AVX2)
		return below_bound_avx2(distances, n, keep, below);
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

/* Where the bits of a byte are, lowest first, as bytes of a word */
static const uint64 *
bit_places(void)
{
	static uint64 places[256];

	if (places[255] == 0)
	{
		for (int mask = 0; mask < 256; mask++)
		{
			int			n = 0;

			for (int bit = 0; bit < 8; bit++)
			{
				if (mask >> bit & 1)
					places[mask] |= (uint64) bit << 8 * n++;
			}
		}
	}
	return places;
}

#define AVX2_FUNCTION \
	__attribute__((target(OMEN_TARGET_AVX2)))

/* choose_bound() of 32 lanes in four registers */
AVX2_FUNCTION static inline float
choose_bound_avx2(const __m256 *lanes, int keep)
{
	float		minima[LANES];
	float		bound = INFINITY;

	for (int j = 0; j < 4; j++)
		_mm256_storeu_ps(minima + 8 * j, lanes[j]);
	for (int i = 0; i < LANES; i++)
	{
		__m256		minimum = _mm256_set1_ps(minima[i]);
		uint32		mask = 0;

		for (int j = 0; j < 4; j++)
			mask = mask << 8 |
				_mm256_movemask_ps(_mm256_cmp_ps(lanes[j], minimum,
												 _CMP_LE_OQ));
		if (__builtin_popcount(mask) >= keep && minima[i] < bound)
			bound = minima[i];
	}
	return bound;
}

/* Eight at a time; the table says which indexes a mask leaves */
AVX2_FUNCTION static int
below_bound_avx2(const float *distances, int n, int keep, uint32 *below)
{
	const uint64 *places = bit_places();
	float		bound = INFINITY;
	__m256		limit;
	int			nbelow = 0;
	int			i;

	if (keep <= LANES && n >= 2 * LANES)
	{
		__m256		lanes[4];

		for (int j = 0; j < 4; j++)
			lanes[j] = _mm256_set1_ps(INFINITY);

		/* the second operand is returned if the first is NaN */
		for (i = 0; i + LANES <= n; i += LANES)
		{
			for (int j = 0; j < 4; j++)
				lanes[j] = _mm256_min_ps(_mm256_loadu_ps(distances + i +
														 8 * j), lanes[j]);
		}
		bound = choose_bound_avx2(lanes, keep);
	}

	limit = _mm256_set1_ps(bound);
	for (i = 0; i + 8 <= n; i += 8)
	{
		int			mask =
			_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(distances + i),
											 limit, _CMP_LE_OQ));
		__m128i		found = _mm_cvtsi64_si128((int64) places[mask]);

		_mm256_storeu_si256((__m256i *) (below + nbelow),
							_mm256_add_epi32(_mm256_cvtepu8_epi32(found),
											 _mm256_set1_epi32(i)));
		nbelow += __builtin_popcount(mask);
	}
	for (; i < n; i++)
	{
		below[nbelow] = i;
		nbelow += distances[i] <= bound;
	}
	return nbelow;
}

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
