/*-------------------------------------------------------------------------
 *
 * sparsevec.h
 *	  Layout of the type sparsevec: the non-zero elements of a long vector.
 *
 * The layout is pgvector's, to the byte; see vector.h.  The values follow the
 * indices.  Indices count from 0 here and on the wire, from 1 in text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_SPARSEVEC_H
#define OMEN_TYPES_SPARSEVEC_H

#include "base/compat.h"
#include "distance/sparse.h"

#define OMEN_SPARSEVEC_MAX_DIM 1000000000
#define OMEN_SPARSEVEC_MAX_NNZ 16000

typedef struct OmenSparsevec
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int32		dim;			/* 1 .. OMEN_SPARSEVEC_MAX_DIM */
	int32		nnz;			/* 0 .. OMEN_SPARSEVEC_MAX_NNZ */
	int32		unused;			/* 0 */
	int32		indices[FLEXIBLE_ARRAY_MEMBER]; /* ascending, no duplicates */
} OmenSparsevec;

static inline Size
omen_sparsevec_size(int nnz)
{
	return offsetof(OmenSparsevec, indices) +
		nnz * (sizeof(int32) + sizeof(float));
}

/* The values, finite and not zero, in the order of the indices */
static inline float *
omen_sparsevec_values(OmenSparsevec *v)
{
	return (float *) (v->indices + v->nnz);
}

/* What the distance kernels see */
static inline OmenSparse
omen_sparsevec_elements(OmenSparsevec *v)
{
	OmenSparse	elements = {v->nnz, v->indices, omen_sparsevec_values(v)};

	return elements;
}

static inline OmenSparsevec *
omen_datum_sparsevec(Datum datum)
{
	return (OmenSparsevec *) PG_DETOAST_DATUM(datum);
}

/* A vector in the current memory context; indices and values are zeroed */
extern OmenSparsevec *omen_sparsevec_alloc(int dim, int nnz);

/*
 * Check a number of elements against the limit and the dimensions.  Reports
 * to context, if there is one, and returns false; see types/check.h.
 */
extern bool omen_sparsevec_check_nnz(Node *context, int nnz, int dim);

#endif							/* OMEN_TYPES_SPARSEVEC_H */
