/*-------------------------------------------------------------------------
 *
 * pair_matrix_template.h
 *	  Distances of four rows to a panel of packed columns.
 *
 * Included by one file per instruction set, inside its target region, with:
 *
 *	  OMEN_ISA			suffix of the names
 *	  GROUP				columns that a register's lanes stand for
 *	  GROUPS			groups that are computed together, as many as there
 *						are registers for
 *	  STEP				dimensions that one step adds to each lane
 *	  UNIT				what one of a code is in codes as the kernel sees them
 *	  SHIFT				what is added to packed codes to make them unsigned
 *	  VI, VF			registers of GROUP integers, floats
 *	  vi_zero(), vi_set(x), vi_sub(a, b)
 *	  vf_set(x), vf_load(p), vf_store(p, v), vf_add(a, b), vf_sub(a, b),
 *	  vf_mul(a, b), vf_max(a, b), vf_fma(a, b, c), vf_fnma(a, b, c),
 *	  vf_from_int(v)
 *	  COLUMNS			STEP dimensions of GROUP columns, ROW those of a row
 *	  load_columns(p)	packed codes of a group to COLUMNS
 *	  broadcast(p)		a row's codes, as reduce_row() leaves them, to ROW
 *	  add_products(sum, columns, row)
 *	  reduce_quad(q)	4 codes, as bytes of a word, to packed ones
 *	  reduce_row(dst, src, dims)	only if UNIT is not 1: codes of a row, signed
 *
 *-------------------------------------------------------------------------
 */
#include "quant/pair_matrix_kernels.h"

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

/* From inner products of a row with a group of columns to distances */
static inline void
finish_group(const OmenPairMatrix *matrix, int row, int column, VI dot,
			 float *distances)
{
	VF			norm2 = vf_add(vf_set(matrix->norm2[row]),
							   vf_load(matrix->norm2 + column));
	VF			scale = vf_mul(vf_set(matrix->scale[row]),
							   vf_load(matrix->scale + column));
	VF			distance;

	dot = vi_sub(dot, vi_set(matrix->excess[row]));
	scale = vf_add(scale, scale);
	distance = vf_fnma(scale, vf_from_int(dot), norm2);
	distance = vf_max(distance, vf_set(0.0f));
	if (matrix->quant->shape.metric == OMEN_METRIC_IP)
	{
		VF			lift = vf_sub(vf_set(matrix->lift[row]),
								  vf_load(matrix->lift + column));

		distance = vf_fma(lift, lift, distance);
	}
	vf_store(distances, distance);
}

/* Distances of 4 rows to GROUPS groups of columns, which begin at "column" */
static inline void
multiply_panel(const OmenPairMatrix *matrix, int first,
			   const int8 *const *rows, int column, float *distances, int width)
{
	Size		dims = matrix->quant->shape.code_dims;
	const uint8 *packed = matrix->packed + column * dims;
	VI			sums[PAIR_ROWS][GROUPS];
	Size		i;
	int			row;
	int			group;

	for (row = 0; row < PAIR_ROWS; row++)
		for (group = 0; group < GROUPS; group++)
			sums[row][group] = vi_zero();

	for (i = 0; i < dims; i += STEP)
	{
		COLUMNS		columns[GROUPS];

#pragma GCC unroll 2
		for (group = 0; group < GROUPS; group++)
			columns[group] = load_columns(packed + (group * dims + i) * GROUP);
#pragma GCC unroll 4
		for (row = 0; row < PAIR_ROWS; row++)
		{
			ROW			codes = broadcast(rows[row] + i);

#pragma GCC unroll 2
			for (group = 0; group < GROUPS; group++)
				sums[row][group] = add_products(sums[row][group],
												columns[group], codes);
		}
	}

#pragma GCC unroll 4
	for (row = 0; row < PAIR_ROWS; row++)
	{
#pragma GCC unroll 2
		for (group = 0; group < GROUPS; group++)
			finish_group(matrix, first + row, column + group * GROUP,
						 sums[row][group],
						 distances + (Size) row * width + group * GROUP);
	}
}

static int32
pack_column(Size dims, const int8 *code, uint8 *packed)
{
	int32		sum = 0;

	for (Size i = 0; i < dims; i += 4)
	{
		uint32		quad;

		memcpy(&quad, code + i, sizeof(quad));
		quad = reduce_quad(quad);
		memcpy(packed + i * GROUP, &quad, sizeof(quad));
		sum += (quad & 0xFF) + (quad >> 8 & 0xFF) + (quad >> 16 & 0xFF) +
			(quad >> 24);
	}
	return SHIFT * (sum - SHIFT * (int32) dims);
}

static void
multiply_rows(const OmenPairMatrix *matrix, int first, int from,
			  float *distances, int width)
{
	const int8 *rows[PAIR_ROWS];
	int			row;
	int			column;

	for (row = 0; row < PAIR_ROWS; row++)
	{
		const int8 *code = (const int8 *) matrix->codes +
			(first + row) * matrix->stride + sizeof(OmenOwnFactors);

#ifdef reduce_row
		Size		dims = matrix->quant->shape.code_dims;

		rows[row] = reduce_row(matrix->reduced + row * dims, code, dims);
#else
		rows[row] = code;
#endif
	}
	for (column = from; column < matrix->n; column += GROUPS * GROUP)
		multiply_panel(matrix, first, rows, column,
					   distances + (Size) first * width + column, width);
}

const OmenPairKernel PASTE(omen_pair_kernel_, OMEN_ISA) = {
	.group = GROUP,
	.unit = UNIT,
	.pack_column = pack_column,
	.multiply_rows = multiply_rows,
};
