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
	int			unit;			/* codes are divided by this */

	/*
	 * Packs a code, 4 dimensions at a time, from where its column begins in
	 * the group.  Returns what a dot product of this code with a packed one
	 * exceeds that with a signed one by.
	 */
	int32		(*pack_column) (Size dims, const int8 *code, uint8 *packed);

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
