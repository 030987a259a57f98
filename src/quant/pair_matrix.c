/*-------------------------------------------------------------------------
 *
 * pair_matrix.c
 *	  Graph distances between all members of a small set of pair codes.
 *
 * Codes of 8 bits are packed in groups of columns: for each few dimensions,
 * these of all columns of the group.  One instruction then adds them to as
 * many distances, a row's own being broadcast, and nothing has to be summed
 * across a register.  4 rows by two groups at a time keep the multipliers
 * busy: with AVX-512 VNNI, 128 dimensions take 0.4 ns a pair, where one row
 * against codes as they lie takes 2 to 3 ns.  And of each pair, one distance is
 * computed and written twice.
 *
 * The formula is symmetric to the last bit: d(a, b) equals d(b, a).
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "quant/pair_matrix_kernels.h"
#include "quant/quant_ops.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static const OmenPairKernel *choose_kernel(const OmenQuantizer *quant);
static void pack(OmenPairMatrix *matrix);
static void compare_row(const OmenPairMatrix *matrix, int row, int from,
						float *distances);
static void mirror(float *distances, int width, int first, int n);

static inline Size
align_up(Size size)
{
	return TYPEALIGN(64, size);
}

static Size
count_packed(const OmenQuantizer *quant, int max)
{
	return (Size) TYPEALIGN(OMEN_PAIR_TILE, max) * quant->shape.code_dims;
}

Size
omen_pair_matrix_size(const OmenQuantizer *quant, int max)
{
	Size		columns = TYPEALIGN(OMEN_PAIR_TILE, max) * sizeof(float);
	Size		reduced = PAIR_ROWS * quant->shape.code_dims;

	return align_up(sizeof(OmenPairMatrix)) + 4 * columns +
		count_packed(quant, max) + reduced + 64;
}

OmenPairMatrix *
omen_pair_matrix_init(void *memory, const OmenQuantizer *quant, int max)
{
	OmenPairMatrix *matrix = (OmenPairMatrix *) align_up((uintptr_t) memory);
	uint8	   *next = (uint8 *) matrix + align_up(sizeof(OmenPairMatrix));
	Size		columns = TYPEALIGN(OMEN_PAIR_TILE, max) * sizeof(float);

	memset(matrix, 0, sizeof(*matrix));
	matrix->quant = quant;
	matrix->max = max;
	matrix->kernel = choose_kernel(quant);
	if (matrix->kernel != NULL)
	{
		matrix->norm2 = (float *) next;
		matrix->scale = (float *) (next + columns);
		matrix->lift = (float *) (next + 2 * columns);
		matrix->excess = (int32 *) (next + 3 * columns);
		matrix->packed = next + 4 * columns;
		matrix->reduced = (int8 *) (matrix->packed +
									count_packed(quant, max));
	}
	return matrix;
}

bool
omen_pair_matrix_loses_bits(const OmenPairMatrix *matrix)
{
	return matrix != NULL && matrix->kernel != NULL &&
		matrix->kernel->unit != 1;
}

/* The kernel for this CPU, if these codes are of 8 bits */
static const OmenPairKernel *
choose_kernel(const OmenQuantizer *quant)
{
	if (quant->shape.own_kind == OMEN_OWN_RAW)
		return NULL;
#if defined(__x86_64__)
	if (omen_simd_level() == OMEN_SIMD_AVX512 &&
		omen_cpu_features()->avx512vnni)
		return &omen_pair_kernel_vnni;
	if (omen_simd_level() >= OMEN_SIMD_AVX2)
		return &omen_pair_kernel_avx2;
#endif
	return NULL;
}

void
omen_pair_matrix_load(OmenPairMatrix *matrix, const uint8 *codes, Size stride,
					  int n)
{
	Assert(n <= matrix->max);

	matrix->codes = codes;
	matrix->stride = stride;
	matrix->n = n;
	if (matrix->kernel != NULL)
		pack(matrix);
}

/* Columns that fill up the last panel have code and factors zero */
static void
pack(OmenPairMatrix *matrix)
{
	const OmenQuantizer *quant = matrix->quant;
	const OmenPairKernel *kernel = matrix->kernel;
	Size		dims = quant->shape.code_dims;
	int			ncolumns = TYPEALIGN(OMEN_PAIR_TILE, matrix->n);
	int			column;

	memset(matrix->packed + TYPEALIGN_DOWN(OMEN_PAIR_TILE, matrix->n) * dims,
		   0, (ncolumns - TYPEALIGN_DOWN(OMEN_PAIR_TILE, matrix->n)) * dims);
	for (column = 0; column < ncolumns; column++)
	{
		OmenOwnFactors factors = {0};

		matrix->excess[column] = 0;
		if (column < matrix->n)
		{
			const uint8 *own = matrix->codes + column * matrix->stride;
			const int8 *code = (const int8 *) own + sizeof(factors);
			int			within = column % kernel->group;

			memcpy(&factors, own, sizeof(factors));
			matrix->excess[column] =
				kernel->pack_column(dims, code,
									matrix->packed +
									(column - within) * dims + 4 * within);
		}
		matrix->norm2[column] = factors.norm2;
		matrix->scale[column] = kernel->unit * factors.scale;
		matrix->lift[column] =
			sqrtf(Max(quant->max_norm2 - omen_own_norm2(quant, &factors),
					  0.0f));
	}
}

void
omen_pair_matrix_tile(const OmenPairMatrix *matrix, int first,
					  float *distances, int width)
{
	int			end = Min(first + OMEN_PAIR_TILE, matrix->n);
	int			row;

	Assert(first % OMEN_PAIR_TILE == 0 && first < matrix->n);
	Assert(width >= TYPEALIGN(OMEN_PAIR_TILE, matrix->n));

	/* the last rows again rather than fewer than a batch */
	if (matrix->kernel != NULL && matrix->n >= PAIR_ROWS)
	{
		for (row = first; row < end; row += PAIR_ROWS)
			matrix->kernel->multiply_rows(matrix,
										  Min(row, matrix->n - PAIR_ROWS),
										  first, distances, width);
	}
	else
	{
		for (row = first; row < end; row++)
			compare_row(matrix, row, first, distances + (Size) row * width);
	}
	if (end < matrix->n)
		mirror(distances, width, first, matrix->n);
}

void
omen_pair_matrix_all(const OmenPairMatrix *matrix, float *distances, int width)
{
	for (int first = 0; first < matrix->n; first += OMEN_PAIR_TILE)
		omen_pair_matrix_tile(matrix, first, distances, width);
}

/* Without a kernel, and for sets that do not fill a batch */
static void
compare_row(const OmenPairMatrix *matrix, int row, int from, float *distances)
{
	omen_quant_pair_block(matrix->quant,
						  matrix->codes + row * matrix->stride,
						  matrix->codes + from * matrix->stride,
						  matrix->stride, matrix->n - from, distances + from);
}

/* From the rows of a full tile to columns of the rows behind it */
static void
mirror(float *distances, int width, int first, int n)
{
	const float *tile = distances + (Size) first * width;
	int			column = first + OMEN_PAIR_TILE;

#if defined(__x86_64__)
	for (; column + 4 <= n; column += 4)
	{
		float	   *to = distances + (Size) column * width + first;

		for (int i = 0; i < OMEN_PAIR_TILE; i += 4)
		{
			const float *from = tile + (Size) i * width + column;
			__m128		a = _mm_loadu_ps(from);
			__m128		b = _mm_loadu_ps(from + width);
			__m128		c = _mm_loadu_ps(from + 2 * width);
			__m128		d = _mm_loadu_ps(from + 3 * width);

			_MM_TRANSPOSE4_PS(a, b, c, d);
			_mm_storeu_ps(to + i, a);
			_mm_storeu_ps(to + width + i, b);
			_mm_storeu_ps(to + 2 * width + i, c);
			_mm_storeu_ps(to + 3 * width + i, d);
		}
	}
#endif
	for (; column < n; column++)
	{
		float	   *to = distances + (Size) column * width + first;

		for (int i = 0; i < OMEN_PAIR_TILE; i++)
			to[i] = tile[(Size) i * width + column];
	}
}
