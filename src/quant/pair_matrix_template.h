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
 *	  CHUNK				dimensions that one step adds to each lane
 *	  PACKED			unsigned integer of CHUNK bytes
 *	  SHIFT				what it is combined with by XOR: 0 or 128 in each byte
 *	  ROW				element of a row as the kernel reads it: int8, int16
 *	  VI, VF			registers of GROUP integers, floats
 *	  vi_zero(), vi_set(x), vi_sub(a, b)
 *	  vf_set(x), vf_load(p), vf_store(p, v), vf_add(a, b), vf_sub(a, b),
 *	  vf_mul(a, b), vf_max(a, b), vf_fma(a, b, c), vf_fnma(a, b, c),
 *	  vf_from_int(v)
 *	  load_columns(p)	CHUNK dimensions of GROUP columns
 *	  broadcast(p)		CHUNK dimensions of a row, to all lanes
 *	  add_products(sum, columns, row)
 *	  expand_row(dst, src, dims)	only if ROW is not int8
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
			   const ROW *const *rows, int column, float *distances, int width)
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

#pragma GCC unroll 2
	for (i = 0; i < dims; i += CHUNK)
	{
		VI			columns[GROUPS];

#pragma GCC unroll 2
		for (group = 0; group < GROUPS; group++)
			columns[group] = load_columns(packed + (group * dims + i) * GROUP);
#pragma GCC unroll 4
		for (row = 0; row < PAIR_ROWS; row++)
		{
			VI			chunk = broadcast(rows[row] + i);

#pragma GCC unroll 2
			for (group = 0; group < GROUPS; group++)
				sums[row][group] = add_products(sums[row][group],
												columns[group], chunk);
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

/* A column's dimensions, CHUNK at a time, to where its group has them */
static void
pack_column(Size dims, const int8 *code, uint8 *packed)
{
	for (Size i = 0; i < dims; i += CHUNK)
	{
		PACKED		chunk;

		memcpy(&chunk, code + i, CHUNK);
		chunk ^= SHIFT;
		memcpy(packed + i * GROUP, &chunk, CHUNK);
	}
}

static void
multiply_rows(const OmenPairMatrix *matrix, int first, int from,
			  float *distances, int width)
{
	const ROW  *rows[PAIR_ROWS];
	int			row;
	int			column;

	for (row = 0; row < PAIR_ROWS; row++)
	{
		const int8 *code = (const int8 *) matrix->codes +
			(first + row) * matrix->stride + sizeof(OmenOwnFactors);

#ifdef expand_row
		Size		dims = matrix->quant->shape.code_dims;
		ROW		   *expanded = matrix->expanded + row * dims;

		expand_row(expanded, code, dims);
		rows[row] = expanded;
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
	.chunk = CHUNK,
	.shift = (uint8) SHIFT,
	.pack_column = pack_column,
	.multiply_rows = multiply_rows,
};
