/*-------------------------------------------------------------------------
 *
 * halfvec.h
 *	  Layout of the type halfvec: dense, 16-bit elements.
 *
 * The layout is pgvector's, to the byte; see vector.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_HALFVEC_H
#define OMEN_TYPES_HALFVEC_H

#include "base/compat.h"
#include "distance/half.h"

#define OMEN_HALFVEC_MAX_DIM 16000

typedef struct OmenHalfvec
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;			/* 1 .. OMEN_HALFVEC_MAX_DIM */
	int16		unused;			/* 0 */
	OmenHalf	x[FLEXIBLE_ARRAY_MEMBER];	/* finite values */
} OmenHalfvec;

static inline Size
omen_halfvec_size(int dim)
{
	return offsetof(OmenHalfvec, x) + dim * sizeof(OmenHalf);
}

static inline OmenHalfvec *
omen_datum_halfvec(Datum datum)
{
	return (OmenHalfvec *) PG_DETOAST_DATUM(datum);
}

/* A zero vector in the current memory context */
extern OmenHalfvec *omen_halfvec_alloc(int dim);

/* Nearest half; error if the value is finite but beyond the largest half */
extern OmenHalf omen_float_to_half_checked(float value);

#endif							/* OMEN_TYPES_HALFVEC_H */
