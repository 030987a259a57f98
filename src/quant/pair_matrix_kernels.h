/*-------------------------------------------------------------------------
 *
 * pair_matrix_kernels.h
 *	  What an instruction set provides for matrices of distances.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_PAIR_MATRIX_KERNELS_H
#define OMEN_PAIR_MATRIX_KERNELS_H

#include "quant/pair_matrix.h"

/* Rows that a kernel computes together */
#define PAIR_ROWS				4

struct OmenPairKernel
{
	int			group;			/* columns packed side by side */
	int			chunk;			/* dimensions of a column that lie together */
	uint8		shift;			/* XORed with each packed byte: 0 or 128 */

	/* The bytes of one column, spread; it begins at its chunk's first place */
	void		(*pack_column) (Size dims, const int8 *code, uint8 *packed);

	/*
	 * Distances of PAIR_ROWS rows to columns "from", a multiple of a tile, to
	 * the last
	 */
	void		(*multiply_rows) (const OmenPairMatrix *matrix, int first,
								  int from, float *distances, int width);
};

#if defined(__x86_64__)
extern const OmenPairKernel omen_pair_kernel_avx2;
extern const OmenPairKernel omen_pair_kernel_vnni;
#endif

#endif							/* OMEN_PAIR_MATRIX_KERNELS_H */
