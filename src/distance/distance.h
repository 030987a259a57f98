/*-------------------------------------------------------------------------
 *
 * distance.h
 *	  Distance kernels over plain arrays.
 *
 * Every kernel exists once, in distance_template.h, and is compiled for each
 * SIMD level into a const table.  Callers use the table omen_distance points
 * at; it is chosen once at load, and again when omendb.simd changes.  A hot
 * loop keeps the function pointer in a local variable.
 *
 * Lengths are in elements (bytes for bit strings) and may be 0.  Arrays need
 * no alignment beyond their element's.  Sums are taken in float, so a large
 * distance becomes infinity; no kernel raises an error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_DISTANCE_H
#define OMEN_DISTANCE_H

#include "base/cpu.h"
#include "distance/half.h"

/* What an operator class orders by.  Stored on disk: never renumber. */
typedef enum OmenMetric
{
	OMEN_METRIC_L2 = 1,
	OMEN_METRIC_IP,
	OMEN_METRIC_COSINE,
	OMEN_METRIC_L1,
	OMEN_METRIC_HAMMING,
	OMEN_METRIC_JACCARD
} OmenMetric;

/* What a vector's elements are.  Stored on disk: never renumber. */
typedef enum OmenElementType
{
	OMEN_ELEMENT_F32 = 1,
	OMEN_ELEMENT_F16,
	OMEN_ELEMENT_BIT,
	OMEN_ELEMENT_SPARSE			/* float values with their indices */
} OmenElementType;

/* The three sums a cosine is made of */
typedef struct OmenCosineParts
{
	float		dot;			/* sum of a * b */
	float		norm_a;			/* sum of a * a */
	float		norm_b;			/* sum of b * b */
} OmenCosineParts;

/* Bit counts a Jaccard distance is made of */
typedef struct OmenJaccardParts
{
	uint64		both;			/* bits set in a and b */
	uint64		either;			/* bits set in a or b */
} OmenJaccardParts;

typedef float (*OmenDistanceF32) (int dim, const float *a, const float *b);
typedef float (*OmenDistanceF16) (int dim, const OmenHalf *a,
								  const OmenHalf *b);

typedef struct OmenDistanceOps
{
	const char *name;

	OmenDistanceF32 l2_squared_f32;
	OmenDistanceF32 inner_product_f32;
	OmenDistanceF32 l1_f32;
	OmenCosineParts (*cosine_f32) (int dim, const float *a, const float *b);

	OmenDistanceF16 l2_squared_f16;
	OmenDistanceF16 inner_product_f16;
	OmenDistanceF16 l1_f16;
	OmenCosineParts (*cosine_f16) (int dim, const OmenHalf *a,
								   const OmenHalf *b);

	uint64		(*hamming) (int nbytes, const uint8 *a, const uint8 *b);
	OmenJaccardParts (*jaccard) (int nbytes, const uint8 *a, const uint8 *b);

	/* Conversions round to nearest even; beyond 65504 gives infinity */
	void		(*half_to_float) (int n, const OmenHalf *src, float *dst);
	void		(*float_to_half) (int n, const float *src, OmenHalf *dst);

	/* Bit i: is codes[i], of 64, from low up to low + width? */
	uint64		(*codes_within) (const uint64 *codes, uint64 low,
								 uint64 width);
} OmenDistanceOps;

/* The table in force */
extern const OmenDistanceOps *omen_distance;

extern void omen_distance_init(void);

/* The table of a level, or NULL if this architecture has none */
extern const OmenDistanceOps *omen_distance_ops(OmenSimdLevel level);

/* Cosine distance in [0, 2] from its parts; NaN if a norm is zero */
extern double omen_cosine_distance(OmenCosineParts parts);

/* Jaccard distance in [0, 1] from its parts; 1 if no bit is shared */
extern double omen_jaccard_distance(OmenJaccardParts parts);

/* One table per level; used by distance.c and the unit tests only */
extern const OmenDistanceOps omen_distance_generic_ops;
#if defined(__x86_64__)
extern const OmenDistanceOps omen_distance_avx2_ops;
extern const OmenDistanceOps omen_distance_avx512_ops;
#endif
#if defined(__aarch64__)
extern const OmenDistanceOps omen_distance_neon_ops;
#endif

#endif							/* OMEN_DISTANCE_H */
