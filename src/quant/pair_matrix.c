/*-------------------------------------------------------------------------
 *
 * pair_matrix.c
 *	  Graph distances between all members of a small set of pair codes.
 *
 * With AVX-512 VNNI, codes of 8 bits are packed in groups of 16 columns: for
 * each 4 dimensions, 16 times 4 bytes.  One instruction then adds 4
 * dimensions of 16 distances, a row's 4 bytes being broadcast, and nothing has
 * to be summed across a register.  4 rows by 32 columns at a time keep the
 * multipliers busy: 128 dimensions take 0.4 ns a pair, where one row against
 * codes as they lie takes 2 to 3 ns.
 *
 * The instruction multiplies unsigned by signed bytes, so 128 is added to the
 * packed codes, and 128 times the row's sum is subtracted from the result.
 *
 * The formula is symmetric to the last bit: d(a, b) equals d(b, a).
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "quant/pair_matrix.h"

#if defined(__x86_64__)
#define HAVE_VNNI_KERNEL
#include <immintrin.h>
#endif

/* Columns of a group, and of the groups that are computed together */
#define GROUP			16
#define PANEL			32

static bool can_pack(const OmenQuantizer *quant);
static void pack(OmenPairMatrix *matrix);
static void compare_rows(const OmenPairMatrix *matrix, int first, int nrows,
						 float *distances, int width);

#ifdef HAVE_VNNI_KERNEL
static void multiply_panel(const OmenPairMatrix *matrix, int first, int panel,
						   float *distances, int width);
#endif

static inline Size
align_up(Size size)
{
	return TYPEALIGN(64, size);
}

static Size
count_packed(const OmenQuantizer *quant, int max)
{
	return (Size) TYPEALIGN(PANEL, max) * quant->shape.code_dims;
}

Size
omen_pair_matrix_size(const OmenQuantizer *quant, int max)
{
	Size		columns = TYPEALIGN(PANEL, max) * sizeof(float);

	return align_up(sizeof(OmenPairMatrix)) + 4 * columns +
		count_packed(quant, max) + 64;
}

OmenPairMatrix *
omen_pair_matrix_init(void *memory, const OmenQuantizer *quant, int max)
{
	OmenPairMatrix *matrix = (OmenPairMatrix *) align_up((uintptr_t) memory);
	uint8	   *next = (uint8 *) matrix + align_up(sizeof(OmenPairMatrix));
	Size		columns = TYPEALIGN(PANEL, max) * sizeof(float);

	memset(matrix, 0, sizeof(*matrix));
	matrix->quant = quant;
	matrix->max = max;
	if (can_pack(quant))
	{
		matrix->norm2 = (float *) next;
		matrix->scale = (float *) (next + columns);
		matrix->lift = (float *) (next + 2 * columns);
		matrix->excess = (int32 *) (next + 3 * columns);
		matrix->packed = next + 4 * columns;
	}
	return matrix;
}

/* Is there a kernel for this CPU, and are these codes of 8 bits? */
static bool
can_pack(const OmenQuantizer *quant)
{
#ifdef HAVE_VNNI_KERNEL
	return quant->shape.own_kind != OMEN_OWN_RAW &&
		omen_simd_level() == OMEN_SIMD_AVX512 &&
		omen_cpu_features()->avx512vnni;
#else
	return false;
#endif
}

void
omen_pair_matrix_load(OmenPairMatrix *matrix, const uint8 *codes, Size stride,
					  int n)
{
	Assert(n <= matrix->max);

	matrix->codes = codes;
	matrix->stride = stride;
	matrix->n = n;
	if (matrix->packed != NULL)
		pack(matrix);
}

/* Columns that fill up the last panel have code and factors zero */
static void
pack(OmenPairMatrix *matrix)
{
	const OmenQuantizer *quant = matrix->quant;
	Size		nquads = quant->shape.code_dims / 4;
	int			ncolumns = TYPEALIGN(PANEL, matrix->n);
	int			column;

	for (column = 0; column < ncolumns; column++)
	{
		uint32	   *quads = (uint32 *) matrix->packed +
			column / GROUP * nquads * GROUP + column % GROUP;
		const uint8 *code = matrix->codes + column * matrix->stride;
		OmenOwnFactors factors = {0};
		uint32		quad;
		int32		sum = 0;
		Size		i;

		if (column >= matrix->n)
		{
			for (i = 0; i < nquads; i++)
				quads[i * GROUP] = 0;
		}
		else
		{
			memcpy(&factors, code, sizeof(factors));
			code += sizeof(factors);
			for (i = 0; i < nquads; i++)
			{
				memcpy(&quad, code + 4 * i, sizeof(quad));
				quads[i * GROUP] = quad ^ 0x80808080;
			}
			for (i = 0; i < 4 * nquads; i++)
				sum += (int8) code[i];
		}
		matrix->excess[column] = 128 * sum;
		matrix->norm2[column] = factors.norm2;
		matrix->scale[column] = factors.scale;
		matrix->lift[column] =
			sqrtf(Max(quant->max_norm2 - (factors.norm2 +
										  2 * factors.mean_dot +
										  quant->mean_norm2), 0.0f));
	}
}

void
omen_pair_matrix_rows(const OmenPairMatrix *matrix, int first, int nrows,
					  float *distances, int width)
{
	Assert(nrows > 0 && nrows <= OMEN_PAIR_ROWS);
	Assert(first >= 0 && first + nrows <= matrix->n);
	Assert(width >= TYPEALIGN(PANEL, matrix->n));

#ifdef HAVE_VNNI_KERNEL
	if (matrix->packed != NULL && nrows == OMEN_PAIR_ROWS)
	{
		int			panel;

		for (panel = 0; panel < matrix->n; panel += PANEL)
			multiply_panel(matrix, first, panel, distances + panel, width);
		return;
	}
#endif
	compare_rows(matrix, first, nrows, distances, width);
}

void
omen_pair_matrix_all(const OmenPairMatrix *matrix, float *distances, int width)
{
	int			first;

	for (first = 0; first < matrix->n; first += OMEN_PAIR_ROWS)
	{
		int			nrows = Min(OMEN_PAIR_ROWS, matrix->n - first);

		/* the last rows again rather than fewer than a batch */
		if (nrows < OMEN_PAIR_ROWS && first > 0)
		{
			first = matrix->n - OMEN_PAIR_ROWS;
			nrows = OMEN_PAIR_ROWS;
		}
		omen_pair_matrix_rows(matrix, first, nrows,
							  distances + (Size) first * width, width);
	}
}

/* Without a kernel, and for rows that do not fill a batch */
static void
compare_rows(const OmenPairMatrix *matrix, int first, int nrows,
			 float *distances, int width)
{
	int			row;

	for (row = 0; row < nrows; row++)
		omen_quant_pair_block(matrix->quant,
							  matrix->codes + (first + row) * matrix->stride,
							  matrix->codes, matrix->stride, matrix->n,
							  distances + (Size) row * width);
}

#ifdef HAVE_VNNI_KERNEL

#define VNNI_TARGET \
	__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

/* From inner products of a row with 16 columns to distances */
VNNI_TARGET static inline void
finish_group(const OmenPairMatrix *matrix, int row, int column, __m512i dot,
			 float *distances)
{
	__m512		norm2 = _mm512_add_ps(_mm512_set1_ps(matrix->norm2[row]),
									  _mm512_loadu_ps(matrix->norm2 +
													  column));
	__m512		scale = _mm512_mul_ps(_mm512_set1_ps(matrix->scale[row]),
									  _mm512_loadu_ps(matrix->scale +
													  column));
	__m512		distance;

	scale = _mm512_add_ps(scale, scale);
	distance = _mm512_fnmadd_ps(scale, _mm512_cvtepi32_ps(dot), norm2);
	distance = _mm512_max_ps(distance, _mm512_setzero_ps());
	if (matrix->quant->shape.metric == OMEN_METRIC_IP)
	{
		__m512		lift = _mm512_sub_ps(_mm512_set1_ps(matrix->lift[row]),
										 _mm512_loadu_ps(matrix->lift +
														 column));

		distance = _mm512_fmadd_ps(lift, lift, distance);
	}
	_mm512_storeu_ps(distances, distance);
}

VNNI_TARGET static inline __m512i
broadcast_quad(const uint8 *code)
{
	int32		quad;

	memcpy(&quad, code, sizeof(quad));
	return _mm512_set1_epi32(quad);
}

/* Distances of 4 rows to the 32 columns of a panel */
VNNI_TARGET static void
multiply_panel(const OmenPairMatrix *matrix, int first, int panel,
			   float *distances, int width)
{
	Size		dims = matrix->quant->shape.code_dims;
	const uint8 *left = matrix->packed + panel * dims;
	const uint8 *right = left + GROUP * dims;
	const uint8 *rows[OMEN_PAIR_ROWS];
	__m512i		sums[OMEN_PAIR_ROWS][2];
	Size		i;
	int			row;

	for (row = 0; row < OMEN_PAIR_ROWS; row++)
	{
		rows[row] = matrix->codes + (first + row) * matrix->stride +
			sizeof(OmenOwnFactors);
		sums[row][0] = sums[row][1] = _mm512_setzero_si512();
	}

	for (i = 0; i < dims; i += 4)
	{
		__m512i		l = _mm512_load_si512(left + i * GROUP);
		__m512i		r = _mm512_load_si512(right + i * GROUP);

#pragma GCC unroll 4
		for (row = 0; row < OMEN_PAIR_ROWS; row++)
		{
			__m512i		quad = broadcast_quad(rows[row] + i);

			sums[row][0] = _mm512_dpbusd_epi32(sums[row][0], l, quad);
			sums[row][1] = _mm512_dpbusd_epi32(sums[row][1], r, quad);
		}
	}

#pragma GCC unroll 4
	for (row = 0; row < OMEN_PAIR_ROWS; row++)
	{
		__m512i		excess = _mm512_set1_epi32(matrix->excess[first + row]);
		float	   *out = distances + (Size) row * width;

		finish_group(matrix, first + row, panel,
					 _mm512_sub_epi32(sums[row][0], excess), out);
		finish_group(matrix, first + row, panel + GROUP,
					 _mm512_sub_epi32(sums[row][1], excess), out + GROUP);
	}
}

#endif							/* HAVE_VNNI_KERNEL */
