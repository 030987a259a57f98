/*-------------------------------------------------------------------------
 *
 * distance.c
 *	  Choice of the kernel table, and the arithmetic around kernels.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "distance/distance.h"

static void use_level(OmenSimdLevel level);

const OmenDistanceOps *omen_distance = &omen_distance_generic_ops;

/*
 * Choose the table for this machine and follow later changes.  Called once
 * when the library is loaded.
 */
void
omen_distance_init(void)
{
	omen_simd_register(use_level);
}

static void
use_level(OmenSimdLevel level)
{
	const OmenDistanceOps *ops = omen_distance_ops(level);

	Assert(ops != NULL);
	omen_distance = ops;
}

const OmenDistanceOps *
omen_distance_ops(OmenSimdLevel level)
{
	switch (level)
	{
		case OMEN_SIMD_GENERIC:
			return &omen_distance_generic_ops;
#if defined(__x86_64__)
		case OMEN_SIMD_AVX2:
			return &omen_distance_avx2_ops;
		case OMEN_SIMD_AVX512:
			return &omen_distance_avx512_ops;
#endif
#if defined(__aarch64__)
		case OMEN_SIMD_NEON:
			return &omen_distance_neon_ops;
#endif
		default:
			return NULL;
	}
}

/*
 * The quotient can leave [-1, 1] by rounding, which would make a distance
 * negative.  A zero norm gives 0/0, and NaN passes both comparisons.
 */
double
omen_cosine_distance(OmenCosineParts parts)
{
	double		similarity = (double) parts.dot /
		sqrt((double) parts.norm_a * (double) parts.norm_b);

	if (similarity > 1)
		similarity = 1;
	else if (similarity < -1)
		similarity = -1;
	return 1 - similarity;
}

double
omen_jaccard_distance(OmenJaccardParts parts)
{
	if (parts.both == 0)
		return 1;
	return 1 - (double) parts.both / (double) parts.either;
}
