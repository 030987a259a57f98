/*-------------------------------------------------------------------------
 *
 * vector.h
 *	  Layout of the type vector: dense, 32-bit elements.
 *
 * The layout is pgvector's, to the byte, so that tables can change hands
 * without a rewrite.  Never toast-compressed; may have a short header, so
 * always detoast before use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_VECTOR_H
#define OMEN_TYPES_VECTOR_H

#include "base/compat.h"

#define OMEN_VECTOR_MAX_DIM 16000

typedef struct OmenVector
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;			/* 1 .. OMEN_VECTOR_MAX_DIM */
	int16		unused;			/* 0 */
	float		x[FLEXIBLE_ARRAY_MEMBER];	/* finite values */
} OmenVector;

static inline Size
omen_vector_size(int dim)
{
	return offsetof(OmenVector, x) + dim * sizeof(float);
}

static inline OmenVector *
omen_datum_vector(Datum datum)
{
	return (OmenVector *) PG_DETOAST_DATUM(datum);
}

/* A zero vector in the current memory context */
extern OmenVector *omen_vector_alloc(int dim);

#endif							/* OMEN_TYPES_VECTOR_H */
