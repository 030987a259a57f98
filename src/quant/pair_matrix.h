/*-------------------------------------------------------------------------
 *
 * pair_matrix.h
 *	  Graph distances between all members of a small set of pair codes.
 *
 * The same distances as omen_quant_pair_block() gives, at a fraction of the
 * cost where the CPU has a kernel for it, because a set that is compared with
 * itself can be arranged for that once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_PAIR_MATRIX_H
#define OMEN_PAIR_MATRIX_H

#include "quant/quant.h"

/* Rows computed together at best speed */
#define OMEN_PAIR_ROWS			4

typedef struct OmenPairMatrix
{
	const OmenQuantizer *quant;
	int			max;			/* codes there is room for */
	int			n;
	const uint8 *codes;			/* the caller's, in use until the next load */
	Size		stride;
	uint8	   *packed;			/* NULL: compare row by row */
	float	   *norm2;
	float	   *scale;
	int32	   *excess;			/* 128 times the sum of the code */
	float	   *lift;			/* the coordinate added for inner product */
} OmenPairMatrix;

/* Memory for sets of up to max codes; the matrix and all arrays in one */
extern Size omen_pair_matrix_size(const OmenQuantizer *quant, int max);
extern OmenPairMatrix *omen_pair_matrix_init(void *memory,
											 const OmenQuantizer *quant,
											 int max);

/* Take a set of n codes, which lie stride bytes apart */
extern void omen_pair_matrix_load(OmenPairMatrix *matrix, const uint8 *codes,
								  Size stride, int n);

/*
 * Distances of rows first, first + 1, ... (nrows <= OMEN_PAIR_ROWS of them) to
 * all n; those of the i-th begin at distances[i * width].  Width is at least
 * n rounded up to a multiple of 32: that much is written.
 */
extern void omen_pair_matrix_rows(const OmenPairMatrix *matrix, int first,
								  int nrows, float *distances, int width);

/* All n rows */
extern void omen_pair_matrix_all(const OmenPairMatrix *matrix,
								 float *distances, int width);

#endif							/* OMEN_PAIR_MATRIX_H */
