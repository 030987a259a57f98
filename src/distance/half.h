/*-------------------------------------------------------------------------
 *
 * half.h
 *	  IEEE 754 binary16 numbers, kept as their bits.
 *
 * A half has 1 sign, 5 exponent and 10 fraction bits; a float 1, 8 and 23.
 * These scalar conversions are exact (to float) or rounded to nearest even
 * (to half) on any compiler and CPU; OmenDistanceOps has the bulk ones.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HALF_H
#define OMEN_HALF_H

#include <string.h>

typedef uint16 OmenHalf;

#define OMEN_HALF_MAX 65504.0f

static inline uint32
omen_float_bits(float f)
{
	uint32		bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static inline float
omen_bits_float(uint32 bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static inline float
omen_half_to_float(OmenHalf h)
{
	uint32		sign = (uint32) (h & 0x8000) << 16;
	uint32		magnitude = h & 0x7FFF;

	if (magnitude >= 0x7C00)	/* infinity; a NaN becomes a quiet one */
	{
		uint32		quiet = magnitude > 0x7C00 ? 0x00400000 : 0;

		return omen_bits_float(sign | 0x7F800000 | quiet |
							   (magnitude & 0x03FF) << 13);
	}
	if (magnitude < 0x0400)		/* zero or subnormal: a multiple of 2^-24 */
	{
		float		f = (float) magnitude * 5.9604644775390625e-8f;

		return omen_bits_float(sign | omen_float_bits(f));
	}
	return omen_bits_float(sign | ((magnitude << 13) + 0x38000000));
}

static inline OmenHalf
omen_float_to_half(float f)
{
	uint32		bits = omen_float_bits(f);
	uint32		sign = (bits >> 16) & 0x8000;
	uint32		magnitude = bits & 0x7FFFFFFF;

	if (magnitude > 0x7F800000) /* NaN: keep the top fraction bits, quiet */
		return (OmenHalf) (sign | 0x7E00 | ((magnitude >> 13) & 0x03FF));
	if (magnitude >= 0x477FF000)	/* rounds beyond OMEN_HALF_MAX */
		return (OmenHalf) (sign | 0x7C00);
	if (magnitude < 0x38800000) /* below 2^-14: subnormal or zero */
	{
		/* adding 0.5 leaves the value, rounded, in the lowest ten bits */
		float		shifted = omen_bits_float(magnitude) + 0.5f;

		return (OmenHalf) (sign | (omen_float_bits(shifted) - 0x3F000000));
	}
	/* re-bias the exponent and round half to even in one addition */
	magnitude += 0xC8000FFF + ((magnitude >> 13) & 1);
	return (OmenHalf) (sign | (magnitude >> 13));
}

static inline bool
omen_half_is_nan(OmenHalf h)
{
	return (h & 0x7FFF) > 0x7C00;
}

static inline bool
omen_half_is_inf(OmenHalf h)
{
	return (h & 0x7FFF) == 0x7C00;
}

static inline bool
omen_half_is_zero(OmenHalf h)
{
	return (h & 0x7FFF) == 0;
}

#endif							/* OMEN_HALF_H */
