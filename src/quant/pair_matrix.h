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

/* Rows computed at a time, and what widths are a multiple of */
#define OMEN_PAIR_TILE			32

typedef struct OmenPairKernel OmenPairKernel;

typedef struct OmenPairMatrix
{
	const OmenQuantizer *quant;
	const OmenPairKernel *kernel;	/* NULL: compare row by row */
	int			max;			/* codes there is room for */
	int			n;
	const uint8 *codes;			/* the caller's, in use until the next load */
	Size		stride;
	uint8	   *packed;
	int8	   *reduced;		/* rows in work, if the kernel reduces codes */
	float	   *norm2;
	float	   *scale;
	int32	   *excess;			/* in a dot product with a packed code */
	float	   *lift;			/* the coordinate added for inner product */
} OmenPairMatrix;

/* Memory for sets of up to max codes; the matrix and all arrays in one */
extern Size omen_pair_matrix_size(const OmenQuantizer *quant, int max);
extern OmenPairMatrix *omen_pair_matrix_init(void *memory,
											 const OmenQuantizer *quant,
											 int max);

/* Are its distances of codes that have lost a bit?  It may be NULL. */
extern bool omen_pair_matrix_loses_bits(const OmenPairMatrix *matrix);

/* Take a set of n codes, which lie stride bytes apart */
extern void omen_pair_matrix_load(OmenPairMatrix *matrix, const uint8 *codes,
								  Size stride, int n);

/*
 * Distances between all n, those of the i-th row from distances[i * width] on.
 * A tile's rows, from "first" on, which is a multiple of OMEN_PAIR_TILE, are
 * computed only to columns that do not belong to a tile before, and written to
 * rows of the tiles behind as well: with all tiles done, all is there.  Width
 * is at least n rounded up to a tile; better is omen_pair_matrix_width(n).
 */
extern void omen_pair_matrix_tile(const OmenPairMatrix *matrix, int first,
								  float *distances, int width);
extern void omen_pair_matrix_all(const OmenPairMatrix *matrix,
								 float *distances, int width);

/*
 * A width with which rows do not compete for the same places of a cache, as
 * those that lie powers of two apart do
 */
static inline int
omen_pair_matrix_width(int n)
{
	return TYPEALIGN(OMEN_PAIR_TILE, n) + OMEN_PAIR_TILE / 2;
}

#endif							/* OMEN_PAIR_MATRIX_H */
