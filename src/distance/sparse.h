/*-------------------------------------------------------------------------
 *
 * sparse.h
 *	  Distance kernels over sparse vectors.
 *
 * A sparse vector is a list of its non-zero elements: ascending indices and,
 * in the same order, their values.  Both vectors of a pair come from the same
 * column; their common number of dimensions is of no concern here.
 *
 * Sums are taken in float, as by the dense kernels.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_SPARSE_H
#define OMEN_SPARSE_H

#include "distance/distance.h"

typedef struct OmenSparse
{
	int			nnz;
	const int32 *indices;
	const float *values;
} OmenSparse;

extern float omen_sparse_l2_squared(OmenSparse a, OmenSparse b);
extern float omen_sparse_inner_product(OmenSparse a, OmenSparse b);
extern float omen_sparse_l1(OmenSparse a, OmenSparse b);
extern OmenCosineParts omen_sparse_cosine(OmenSparse a, OmenSparse b);

#endif							/* OMEN_SPARSE_H */
