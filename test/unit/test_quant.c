/* link: src/quant/quant*.c src/quant/kmeans.c src/quant/rotation.c src/distance/[ds]*.c src/base/cpu.c */
/*-------------------------------------------------------------------------
 *
 * test_quant.c
 *	  Codes and estimates: every ISA against plain C, bounds against exact
 *	  distances, and the size of estimation errors against theory.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/kmeans.h"
#include "quant/quant_ops.h"
#include "quant/quant_pq.h"
#include "quant/rotation.h"
#include "random.h"

static int	ntests = 0;
static int	nfailed = 0;

static void
ok(bool good, const char *name)
{
	ntests++;
	if (!good)
		nfailed++;
	printf("%sok %d - %s\n", good ? "" : "not ", ntests, name);
}

/* --- random data --- */

/* Normal by the sum of twelve uniform numbers: good enough, and bounded */
static float
random_normal(void)
{
	float		sum = -6;

	for (int i = 0; i < 12; i++)
		sum += random_unit();
	return sum;
}

static void
fill_normal(int n, float *x)
{
	for (int i = 0; i < n; i++)
		x[i] = random_normal();
}

static const int odd_dims[] = {
	1, 3, 15, 16, 17, 100, 128, 200, 784, 1000, 1536, 3072, 16000
};

#define MAX_DIMS 16000

static const OmenSimdLevel levels[] = {
	OMEN_SIMD_GENERIC, OMEN_SIMD_NEON, OMEN_SIMD_AVX2, OMEN_SIMD_AVX512
};

/* --- rotation --- */

static double
dot(int n, const float *a, const float *b)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) a[i] * b[i];
	return sum;
}

static void
test_rotation(void)
{
	static float x[MAX_DIMS];
	static float y[MAX_DIMS];
	static float rx[MAX_DIMS];
	static float ry[MAX_DIMS];
	bool		orthogonal = true;
	bool		spreads = true;
	bool		seeded = true;

	for (int i = 0; i < lengthof(odd_dims); i++)
	{
		int			dims = omen_rotation_dims(odd_dims[i]);
		uint8	   *signs = malloc(omen_rotation_size(dims));
		double		norm;
		float		bound = omen_rotation_error(dims);
		float		largest;

		omen_rotation_init(signs, dims, 42);
		fill_normal(dims, x);
		fill_normal(dims, y);
		memcpy(rx, x, sizeof(x));
		memcpy(ry, y, sizeof(y));
		omen_rotation_apply(signs, dims, rx);
		omen_rotation_apply(signs, dims, ry);
		norm = sqrt(dot(dims, x, x) * dot(dims, y, y));
		if (fabs(dot(dims, rx, rx) / dot(dims, x, x) - 1) > 2 * bound ||
			fabs(dot(dims, rx, ry) - dot(dims, x, y)) > 2 * bound * norm)
			orthogonal = false;

		/* a single coordinate, first, middle or last, goes everywhere */
		for (int j = 0; j < dims; j += (dims - 1) / 2 > 0 ? (dims - 1) / 2 : 1)
		{
			memset(x, 0, sizeof(x));
			x[j] = 1;
			omen_rotation_apply(signs, dims, x);
			largest = omen_code_kernels->max_abs(dims, x);
			if (largest > 6 / sqrt(dims))
				spreads = false;
		}

		memset(y, 0, sizeof(y));
		y[0] = 1;
		omen_rotation_init(signs, dims, 43);
		omen_rotation_apply(signs, dims, y);
		memset(x, 0, sizeof(x));
		x[0] = 1;
		omen_rotation_init(signs, dims, 42);
		omen_rotation_apply(signs, dims, x);
		if (memcmp(x, y, dims * sizeof(float)) == 0)
			seeded = false;
		free(signs);
	}
	ok(orthogonal, "rotation keeps lengths and angles");
	ok(spreads, "rotation spreads a single coordinate");
	ok(seeded, "rotation depends on its seed");
}

/* --- kernels of every level against plain C --- */

/* The buffers are one element off any alignment */
typedef struct KernelData
{
	float	   *x;
	float	   *y;
	int8	   *a;
	int8	   *b;
	int16	   *wide;
	uint8	   *own;
	Size		stride;
} KernelData;

#define BLOCK_ROWS 37

static bool
near(float a, float b, float tolerance)
{
	return fabsf(a - b) <= tolerance;
}

static bool
same_rotation(const OmenCodeKernels *k, const OmenCodeKernels *g, int dims,
			  const KernelData *d)
{
	static float x1[MAX_DIMS];
	static float x2[MAX_DIMS];
	uint8	   *signs = malloc(omen_rotation_size(dims));
	const OmenCodeKernels *saved = omen_code_kernels;

	omen_rotation_init(signs, dims, 7);
	memcpy(x1, d->x, dims * sizeof(float));
	memcpy(x2, d->x, dims * sizeof(float));
	omen_code_kernels = k;
	omen_rotation_apply(signs, dims, x1);
	omen_code_kernels = g;
	omen_rotation_apply(signs, dims, x2);
	omen_code_kernels = saved;
	free(signs);
	return memcmp(x1, x2, dims * sizeof(float)) == 0;
}

static bool
same_encoding(const OmenCodeKernels *k, const OmenCodeKernels *g, int dims,
			  const KernelData *d)
{
	static int8	c1[MAX_DIMS];
	static int8	c2[MAX_DIMS];
	static int16 w1[MAX_DIMS];
	static int16 w2[MAX_DIMS];
	OmenEncodeSums s1;
	OmenEncodeSums s2;
	float		largest = g->max_abs(dims, d->x);

	if (k->max_abs(dims, d->x) != largest)
		return false;
	k->encode_i8(dims, d->x, 127 / largest, c1, &s1);
	g->encode_i8(dims, d->x, 127 / largest, c2, &s2);
	if (memcmp(c1, c2, dims) != 0 || memcmp(&s1, &s2, sizeof(s1)) != 0)
		return false;
	k->encode_i16(dims, d->x, OMEN_I16_MAX / largest, w1, &s1);
	g->encode_i16(dims, d->x, OMEN_I16_MAX / largest, w2, &s2);
	return memcmp(w1, w2, dims * sizeof(int16)) == 0 &&
		memcmp(&s1, &s2, sizeof(s1)) == 0 &&
		k->dot_f32(dims, d->x, d->y) == g->dot_f32(dims, d->x, d->y) &&
		fabs(g->dot_f32(dims, d->x, d->y) - dot(dims, d->x, d->y)) <=
		1e-12 * dims;
}

static bool
same_dots(const OmenCodeKernels *k, const OmenCodeKernels *g, int dims,
		  const KernelData *d)
{
	float		tolerance = 1e-5f * dims * 127;

	return k->dot_i8(dims, d->a, d->b) == g->dot_i8(dims, d->a, d->b) &&
		near(k->dot_i8_f32(dims, d->a, d->x), g->dot_i8_f32(dims, d->a, d->x),
			 tolerance) &&
		near(k->dot_i16_f32(dims, d->wide, d->x),
			 g->dot_i16_f32(dims, d->wide, d->x), tolerance * 256);
}

static bool
same_block(const OmenCodeKernels *k, const OmenCodeKernels *g, int dims,
		   const KernelData *d)
{
	OmenBlockForm form = {d->a, 3, 1, -1, -0.125f, 0};
	float		s1[BLOCK_ROWS + 1];
	float		s2[BLOCK_ROWS + 1];

	for (int n = 0; n <= BLOCK_ROWS; n++)
	{
		s1[n] = s2[n] = -7;
		k->score_block(dims, &form, d->own, d->stride, n, s1);
		g->score_block(dims, &form, d->own, d->stride, n, s2);
		for (int i = 0; i < n; i++)
		{
			if (!near(s1[i], s2[i], 1e-6f * dims * 127 * 127))
				return false;
		}
		if (s1[n] != -7)
			return false;
		form.minimum = -INFINITY;
	}
	return true;
}

/* How levels of r are moved, as much as "excess" has to be taken off */
static OmenMove
draw_move(int dims, const OmenResidualInput *input, const float *r,
		  float excess, const OmenLinkSums *sums)
{
	OmenMove	move = {
		.form = {
			.threshold = 30,.near = 5,
			.per_residual = 2 / sums->level_residual,
			.centre_scale = 0.001f,.centre_part = 0.00012f,
			.mean_scale = 0.07f,.mean_part = -0.00011f,
			.square = 2.0f / dims,.enough = 0.03f
		},
		.sums = {.centre = 1.3f * excess,.mean = -0.6f,.square = 0.8f},
		.input = input,.r = r
	};

	move.sums.error = omen_move_error(&move.sums);
	return move;
}

/* Are these levels moved alike, some of them, so that the error becomes less? */
static bool
same_moves(int bits, const OmenCodeKernels *k, const OmenCodeKernels *g,
		   int dims, const OmenResidualInput *input, const float *r,
		   const uint8 *levels, const OmenLinkSums *sums)
{
	enum
	{
		N = OMEN_LINKS_AT_A_TIME
	};
	static uint8 moved[2][N][MAX_DIMS];
	OmenLinkSums after[2][N];
	OmenMove	m[2][N];
	OmenMove   *moves[2][N];

	for (int i = 0; i < 2 * N; i++)
	{
		OmenMove   *move = &m[i / N][i % N];

		/* they have enough at different times */
		*move = draw_move(dims, input, r, (i % N + 1) / (float) N, sums);
		move->levels = memcpy(moved[i / N][i % N], levels, dims);
		move->link_sums = &after[i / N][i % N];
		*move->link_sums = *sums;
		moves[i / N][i % N] = move;
	}
	for (int i = 0; i < 2; i++)
	{
		const OmenCodeKernels *kernels = i == 0 ? k : g;

		if (bits == 1)
			kernels->move_levels1(dims, moves[i], i == 0 ? N : N - 1);
		else
			kernels->move_levels2(dims, moves[i], i == 0 ? N : N - 1);
	}
	/* one of plain C's alone */
	if (bits == 1)
		g->move_levels1(dims, &moves[1][N - 1], 1);
	else
		g->move_levels2(dims, &moves[1][N - 1], 1);
	for (int i = 0; i < N; i++)
	{
		OmenMove	start = draw_move(dims, input, r, (i + 1) / (float) N,
									  sums);
		double		before = sums->level_residual;

		for (int j = 0; j < dims; j++)
		{
			if (moved[0][i][j] >= 1 << bits ||
				abs(moved[0][i][j] - levels[j]) > 1)
				return false;
		}
		if (memcmp(moved[0][i], moved[1][i], dims) != 0 ||
			memcmp(&after[0][i], &after[1][i], sizeof(OmenLinkSums)) != 0 ||
			memcmp(&m[0][i].sums, &m[1][i].sums, sizeof(OmenMoveSums)) != 0)
			return false;
		if (memcmp(moved[0][i], levels, dims) == 0 ? dims >= 500 :
			m[0][i].sums.error * (before * before) >=
			start.sums.error * ((double) after[0][i].level_residual *
								after[0][i].level_residual))
			return false;
	}
	return true;
}

static bool
same_links(const OmenCodeKernels *k, const OmenCodeKernels *g, int dims,
		   const KernelData *d)
{
	static float r1[MAX_DIMS];
	static float r2[MAX_DIMS];
	static uint8 l1[MAX_DIMS];
	static uint8 l2[MAX_DIMS];
	OmenResidualInput input = {d->a, d->b, d->x, 0.7f, 0.3f};
	OmenLinkSums s1 = {0};
	OmenLinkSums s2 = {0};

	k->residual(dims, &input, r1, &s1);
	g->residual(dims, &input, r2, &s2);
	k->levels1(dims, &input, r1, l1, &s1);
	g->levels1(dims, &input, r2, l2, &s2);
	if (memcmp(r1, r2, dims * sizeof(float)) != 0 ||
		memcmp(l1, l2, dims) != 0 || memcmp(&s1, &s2, sizeof(s1)) != 0)
		return false;
	if (!same_moves(1, k, g, dims, &input, r1, l1, &s1))
		return false;
	k->levels2(dims, &input, r1, 30, l1, &s1);
	g->levels2(dims, &input, r2, 30, l2, &s2);
	return memcmp(l1, l2, dims) == 0 && memcmp(&s1, &s2, sizeof(s1)) == 0 &&
		same_moves(2, k, g, dims, &input, r1, l1, &s1);
}

/*
 * Any bytes are valid link codes.  Codes end where their memory ends, so
 * that reading beyond is noticed under valgrind or a sanitizer.
 */
static bool
same_link_scores(const OmenCodeKernels *k, const OmenCodeKernels *g, int dims,
				 const KernelData *d, int bits)
{
	int			left = dims % 64;
	int			tail = (left * bits + 31) / 32 * 4;
	int			groups = dims / 64;
	Size		stride = groups * 8 * bits + tail;
	int8	   *query = calloc(groups + 1, 64);
	uint8	   *codes = malloc(stride * BLOCK_ROWS);
	float		f_add[BLOCK_ROWS];
	float		f_rescale[BLOCK_ROWS];
	bool		same = true;

	memcpy(query, d->a, groups * 64);
	for (int i = 0; i < left; i++)
		query[groups * 64 + i / tail * 8 * bits + i % tail] =
			d->a[groups * 64 + i];
	for (Size i = 0; i < stride * BLOCK_ROWS; i++)
		codes[i] = i % 5 == 0 ? 0xFF : (uint8) random_bits();
	fill_normal(BLOCK_ROWS, f_add);
	fill_normal(BLOCK_ROWS, f_rescale);

	for (int n = 0; n <= BLOCK_ROWS; n++)
	{
		float		e1[BLOCK_ROWS + 1];
		float		e2[BLOCK_ROWS + 1];
		OmenLinkQuery q = {query, groups, tail, stride, 0.25f, 3};
		OmenLinkBatch b = {n, 10, f_add, f_rescale,
		codes + (BLOCK_ROWS - n) * stride, e1};

		e1[n] = -7;
		(bits == 1 ? k->score_links1 : k->score_links2) (&q, &b);
		b.est = e2;
		(bits == 1 ? g->score_links1 : g->score_links2) (&q, &b);
		for (int i = 0; i < n; i++)
		{
			if (!near(e1[i], e2[i], 1e-4f * (1 + fabsf(e2[i]))))
				same = false;
		}
		if (e1[n] != -7)
			same = false;
	}
	free(query);
	free(codes);
	return same;
}

static void
fill_book(int planes, int8 *book)
{
	for (int i = 0; i < planes * OMEN_PQ_PLANE; i++)
		book[i] = i % 7 ? (int8) (random_bits() % 255 - 127) :
			i % 2 ? 127 : -127;
}

/* One subspace: integers, so all of it must be the same */
static bool
same_subspace(const OmenCodeKernels *k, const OmenCodeKernels *g, int planes)
{
	static int8	book[4 * OMEN_PQ_PLANE];
	int32		biases[OMEN_PQ_CENTROIDS];
	int32		t1[OMEN_PQ_CENTROIDS + 1];
	int32		t2[OMEN_PQ_CENTROIDS + 1];
	int16		memory[9];
	int16	   *x = memory + 1;
	bool		same = true;

	fill_book(planes, book);
	omen_kmeans_set_biases(planes, book, biases);
	for (int trial = 0; trial < 500; trial++)
	{
		for (int j = 0; j < 2 * planes; j++)
			x[j] = trial % 5 == 0 ? OMEN_KMEANS_ROW_MAX * (trial % 2 ? 1 : -1) :
				(int16) (random_bits() % 8193) - OMEN_KMEANS_ROW_MAX;
		t1[OMEN_PQ_CENTROIDS] = t2[OMEN_PQ_CENTROIDS] = -7;
		same &= k->pq_nearest(planes, x, book, biases) ==
			g->pq_nearest(planes, x, book, biases);

		/* queries have all 16 bits */
		if (trial % 3 == 0)
			x[trial % (2 * planes)] = trial % 2 ? 32512 : -32512;
		k->pq_table(planes, x, book, t1);
		g->pq_table(planes, x, book, t2);
		same &= memcmp(t1, t2, sizeof(t1)) == 0;
	}
	return same;
}

static bool
same_product_sums(const OmenCodeKernels *k, const OmenCodeKernels *g)
{
	enum
	{
		max = 200
	};
	int32	   *tables = malloc(max * OMEN_PQ_CENTROIDS * sizeof(int32));
	uint8		code[max + 1];
	bool		same = true;

	for (int i = 0; i < max * OMEN_PQ_CENTROIDS; i++)
		tables[i] = (int32) random_bits() / max;
	for (int n = 0; n <= max; n++)
	{
		int32		sum = 0;

		for (int i = 0; i < n; i++)
		{
			code[i + 1] = (uint8) random_bits();
			sum += tables[i * OMEN_PQ_CENTROIDS + code[i + 1]];
		}
		same &= k->pq_sum(n, tables, code + 1) == sum &&
			g->pq_sum(n, tables, code + 1) == sum;
	}
	free(tables);
	return same;
}

static void
fill_kernel_data(int dims, KernelData *d)
{
	d->stride = sizeof(OmenOwnFactors) + dims;
	d->x = (float *) malloc((dims + 1) * sizeof(float)) + 1;
	d->y = (float *) malloc((dims + 1) * sizeof(float)) + 1;
	d->a = (int8 *) malloc(dims + 1) + 1;
	d->b = (int8 *) malloc(dims + 1) + 1;
	d->wide = (int16 *) malloc((dims + 1) * sizeof(int16)) + 1;
	d->own = malloc(d->stride * BLOCK_ROWS);
	fill_normal(dims, d->x);
	fill_normal(dims, d->y);
	for (int i = 0; i < dims; i++)
	{
		/* extremes often, or saturation would not be met */
		d->a[i] = i % 3 ? 127 : (int8) (random_bits() % 255 - 127);
		d->b[i] = i % 5 ? -127 : (int8) (random_bits() % 255 - 127);
		d->wide[i] = (int16) (random_bits() % 65025 - 32512);
	}
	for (int i = 0; i < BLOCK_ROWS; i++)
	{
		OmenOwnFactors f = {random_unit() * 100, random_unit(), 0,
		random_unit()};
		uint8	   *own = d->own + i * d->stride;

		memcpy(own, &f, sizeof(f));
		for (int j = 0; j < dims; j++)
			own[sizeof(f) + j] = (uint8) (int8) (random_bits() % 255 - 127);
		if (i % 4 == 0)
			memset(own + sizeof(f), 127, dims);
		if (i % 4 == 1)
			memset(own + sizeof(f), -127, dims);
	}
}

static void
free_kernel_data(KernelData *d)
{
	free(d->x - 1);
	free(d->y - 1);
	free(d->a - 1);
	free(d->b - 1);
	free(d->wide - 1);
	free(d->own);
}

static void
test_kernels(const OmenCodeKernels *k)
{
	const OmenCodeKernels *g = &omen_code_kernels_generic;
	bool		rotation = true;
	bool		encoding = true;
	bool		dots = true;
	bool		block = true;
	bool		links = true;
	bool		scores1 = true;
	bool		scores2 = true;
	char		name[100];

	for (int i = 0; i < lengthof(odd_dims); i++)
	{
		int			dims = omen_rotation_dims(odd_dims[i]);
		KernelData	d;

		fill_kernel_data(dims, &d);
		rotation &= same_rotation(k, g, dims, &d);
		encoding &= same_encoding(k, g, dims, &d);
		dots &= same_dots(k, g, dims, &d);
		block &= same_block(k, g, dims, &d);
		links &= same_links(k, g, dims, &d);
		scores1 &= same_link_scores(k, g, dims, &d, 1);
		scores2 &= same_link_scores(k, g, dims, &d, 2);
		free_kernel_data(&d);
	}
#define REPORT(good, what) \
	(snprintf(name, sizeof(name), "%s: %s", k->name, what), ok(good, name))
	REPORT(rotation, "rotation gives the same bits");
	REPORT(encoding, "encoding gives the same codes");
	REPORT(dots, "inner products agree");
	REPORT(block, "block scores agree");
	REPORT(links, "levels of residuals agree");
	REPORT(scores1, "scores of 1-bit links agree");
	REPORT(scores2, "scores of 2-bit links agree");
	REPORT(same_subspace(k, g, 1) && same_subspace(k, g, 2) &&
		   same_subspace(k, g, 4), "products with centroids are the same");
	REPORT(same_product_sums(k, g), "sums of product codes are the same");
}

static void
test_levels(void)
{
	for (int i = 0; i < lengthof(levels); i++)
	{
		if (omen_simd_supported(levels[i]))
			test_kernels(omen_code_kernels_of(levels[i]));
	}
#if defined(__x86_64__)
	if (omen_simd_supported(OMEN_SIMD_AVX512))
		test_kernels(&omen_code_kernels_avx512);
#endif
}

/* --- quantizers --- */

static OmenQuantizer *
make_quantizer(OmenElementType element, OmenMetric metric, int dims,
			   OmenQuantizerKind kind, const float *mean)
{
	OmenCodeShape shape;

	if (!omen_quant_choose_shape(element, metric, dims, kind, &shape))
		abort();
	shape.seed = 12345;
	return omen_quant_init(malloc(omen_quant_size(&shape)), &shape, mean, 0);
}

static OmenQuery *
make_query(const OmenQuantizer *quant, const void *payload)
{
	return omen_query_init(malloc(omen_query_size(quant)), quant, payload);
}

static uint8 *
make_own(const OmenQuantizer *quant, const void *payload)
{
	uint8	   *own = malloc(quant->shape.own_size + 1);
	float	   *scratch = malloc(OMEN_QUANT_SCRATCH(&quant->shape) *
								  sizeof(float));

	omen_quant_encode_own(quant, payload, own, scratch);
	free(scratch);
	return own;
}

static uint8 *
make_pair(const OmenQuantizer *quant, const void *payload)
{
	uint8	   *own = make_own(quant, payload);
	uint8	   *pair = malloc(quant->shape.pair_size + 1);

	omen_quant_own_to_pair(quant, own, pair);
	free(own);
	return pair;
}

/* Kinds of hostile data: each makes vectors around a common shape */
typedef enum Hostility
{
	NORMAL,
	COMMON_COMPONENT,			/* differences are tiny against lengths */
	DUPLICATES,
	CONSTANT,					/* one value in all dimensions */
	SINGLE,						/* one dimension */
	TINY,
	SUBNORMAL,
	LARGE,						/* squares still fit */
	HUGE_VALUES,				/* squares overflow */
	MIXED_LENGTHS,
	ZEROS,
	NHOSTILITY
} Hostility;

static const char *const hostility_names[] = {
	"normal", "common component", "duplicates", "constant", "single",
	"tiny", "subnormal", "large", "huge", "mixed lengths", "zeros"
};

static void
fill_hostile(Hostility how, int dims, float *x)
{
	float		factor = 1;

	fill_normal(dims, x);
	switch (how)
	{
		case COMMON_COMPONENT:
			for (int i = 0; i < dims; i++)
				x[i] = 1000 + i % 7 * 100 + x[i];
			break;
		case DUPLICATES:
			for (int i = 0; i < dims; i++)
				x[i] = (float) (i % 11) - 5;
			break;
		case CONSTANT:
			for (int i = 1; i < dims; i++)
				x[i] = x[0];
			break;
		case SINGLE:
			factor = x[0];
			memset(x, 0, dims * sizeof(float));
			x[random_bits() % dims] = factor == 0 ? 1 : factor;
			factor = 1;
			break;
		case TINY:
			factor = 1e-15f;
			break;
		case SUBNORMAL:
			factor = 1e-39f;
			break;
		case LARGE:
			factor = 1e15f;
			break;
		case HUGE_VALUES:
			factor = 1e30f;
			break;
		case MIXED_LENGTHS:
			factor = powf(10, (float) (random_bits() % 13) - 6);
			break;
		case ZEROS:
			factor = random_bits() % 2 ? 0.0f : 1.0f;
			break;
		default:
			break;
	}
	for (int i = 0; i < dims; i++)
		x[i] *= factor;
}

typedef struct BoundStats
{
	int			checked;
	int			violated;
	int			not_a_number;
	double		width;			/* of (upper - lower), relative to norms */
} BoundStats;

static void
check_bounds(const OmenQuantizer *quant, const float *q, const float *x,
			 BoundStats *stats)
{
	OmenQuery  *query = make_query(quant, q);
	uint8	   *own = make_own(quant, x);
	OmenBounds	bounds = omen_query_own(query, own);
	float		exact = omen_query_exact(query, x);

	stats->checked++;
	if (isnan(bounds.estimate) || isnan(bounds.lower) || isnan(bounds.upper))
		stats->not_a_number++;
	/* overflow of the exact distance is not the bound's fault */
	if (!(bounds.lower <= bounds.estimate && bounds.estimate <= bounds.upper)
		|| (!isinf(exact) &&
			(exact < bounds.lower || exact > bounds.upper)))
	{
		if (stats->violated++ < 3)
			printf("# dims %u metric %u: exact %g estimate %g bounds %g %g\n",
				   quant->shape.dims, quant->shape.metric, exact,
				   bounds.estimate, bounds.lower, bounds.upper);
	}
	stats->width += (bounds.upper - bounds.lower) /
		(query->norm2 + omen_own_factors(own).norm2);
	free(own);
	free(query);
}

static void
test_bounds_of(Hostility how, OmenQuantizerKind kind)
{
	static const int dims[] = {1, 3, 17, 128, 500, 784, 1536};
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};
	static float q[1536];
	static float x[1536];
	static float mean[1536];
	BoundStats	stats = {0};
	char		name[100];

	for (int i = 0; i < lengthof(dims) * lengthof(metrics); i++)
	{
		int			d = dims[i % lengthof(dims)];
		OmenMetric	metric = metrics[i / lengthof(dims)];
		OmenQuantizer *quant;
		bool		centred = random_bits() % 2;

		fill_hostile(how, d, mean);
		quant = make_quantizer(OMEN_ELEMENT_F32, metric, d, kind,
							   centred ? mean : NULL);
		for (int trial = 0; trial < 40; trial++)
		{
			fill_hostile(how, d, q);
			fill_hostile(how, d, x);
			if (metric == OMEN_METRIC_COSINE &&
				(how == ZEROS || how == SUBNORMAL))
				q[0] = x[0] = 1;
			check_bounds(quant, q, x, &stats);
			check_bounds(quant, q, q, &stats);
		}
		free(quant);
	}
	snprintf(name, sizeof(name), "%s: bounds hold, %s data",
			 kind == OMEN_QUANTIZER_SQ8 ? "8 bits" : "auto",
			 hostility_names[how]);
	if (stats.violated > 0 || stats.not_a_number > 0)
		printf("# %d of %d violated, %d NaN\n", stats.violated, stats.checked,
			   stats.not_a_number);
	ok(stats.violated == 0 && stats.not_a_number == 0, name);
}

/* Bounds must be of use, too: widths against |q|^2 + |x|^2 */
static void
test_bound_width(void)
{
	static float q[1536];
	static float x[1536];
	BoundStats	narrow = {0};
	BoundStats	wide = {0};
	OmenQuantizer *i8 = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2, 128,
									   OMEN_QUANTIZER_AUTO, NULL);
	OmenQuantizer *i16 = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2, 768,
										OMEN_QUANTIZER_AUTO, NULL);

	for (int i = 0; i < 100; i++)
	{
		fill_normal(768, q);
		fill_normal(768, x);
		check_bounds(i8, q, x, &wide);
		check_bounds(i16, q, x, &narrow);
	}
	printf("# relative width: 8 bits %g, 16 bits %g\n",
		   wide.width / wide.checked, narrow.width / narrow.checked);
	ok(i8->shape.own_kind == OMEN_OWN_I8 && wide.width / wide.checked < 0.03,
	   "bounds of 8-bit codes are narrow");
	ok(i16->shape.own_kind == OMEN_OWN_I16 &&
	   narrow.width / narrow.checked < 3e-4,
	   "bounds of 16-bit codes are very narrow");
	free(i8);
	free(i16);
}

/* What is short beside the mean has bounds as much narrower as it is shorter */
static void
test_short_queries(void)
{
	static float q[128];
	static float x[128];
	static float mean[128];
	double		width[2] = {0, 0};
	OmenQuantizer *quant;

	for (int i = 0; i < 128; i++)
		mean[i] = 5;
	quant = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_IP, 128,
						   OMEN_QUANTIZER_AUTO, mean);
	for (int trial = 0; trial < 100; trial++)
	{
		uint8	   *own;

		fill_normal(128, q);
		fill_normal(128, x);
		for (int i = 0; i < 128; i++)
			x[i] += mean[i];
		own = make_own(quant, x);
		for (int part = 0; part < 2; part++)
		{
			OmenQuery  *query = make_query(quant, q);
			OmenBounds	bounds = omen_query_own(query, own);

			width[part] += bounds.upper - bounds.lower;
			free(query);
			for (int i = 0; i < 128; i++)
				q[i] *= 1e-3f;
		}
		free(own);
	}
	printf("# widths %g %g\n", width[0], width[1]);
	ok(width[1] < 1.1e-3 * width[0], "bounds of short queries are narrow");
	free(quant);
}

static void
test_bounds(void)
{
	for (int how = 0; how < NHOSTILITY; how++)
	{
		test_bounds_of(how, OMEN_QUANTIZER_SQ8);
		test_bounds_of(how, OMEN_QUANTIZER_AUTO);
	}
	test_bound_width();
	test_short_queries();
}

/* --- pairs --- */

static void
lift(const OmenQuantizer *quant, int dims, const float *x, float *norm2,
	 float *coordinate)
{
	*norm2 = (float) dot(dims, x, x);
	*coordinate = sqrtf(fmaxf(0, quant->max_norm2 - *norm2));
}

/* Graph distance of two indexed vectors, as quant.h defines it */
static float
true_pair_distance(const OmenQuantizer *quant, int dims, const float *a,
				   const float *b)
{
	double		ab = dot(dims, a, b);
	float		na;
	float		nb;
	float		ca;
	float		cb;

	lift(quant, dims, a, &na, &ca);
	lift(quant, dims, b, &nb, &cb);
	if (quant->shape.metric == OMEN_METRIC_COSINE)
		return (float) (2 - 2 * ab / sqrt((double) na * nb));
	if (quant->shape.metric == OMEN_METRIC_L2)
		ca = cb = 0;
	return (float) (na + nb - 2 * ab) + (ca - cb) * (ca - cb);
}

static void
test_pairs_of(OmenMetric metric, int dims, OmenQuantizerKind kind)
{
	enum
	{
		rows = 40
	};
	float	   *x = malloc(rows * dims * sizeof(float));
	float	   *mean = malloc(dims * sizeof(float));
	OmenQuantizer *quant;
	uint8	   *pairs;
	double		error = 0;
	double		length = 0;
	bool		block_agrees = true;
	bool		bounded = true;
	char		name[100];

	for (int i = 0; i < dims; i++)
		mean[i] = metric == OMEN_METRIC_COSINE ? 0.5f / sqrtf(dims) : 0.5f;
	quant = make_quantizer(OMEN_ELEMENT_F32, metric, dims, kind, mean);
	quant->max_norm2 = 1.2f * dims;
	pairs = malloc(rows * quant->shape.pair_size);
	for (int i = 0; i < rows; i++)
	{
		uint8	   *pair;

		fill_normal(dims, x + i * dims);
		for (int j = 0; j < dims; j++)
			x[i * dims + j] = x[i * dims + j] * 0.7f + 0.5f;
		pair = make_pair(quant, x + i * dims);
		memcpy(pairs + i * quant->shape.pair_size, pair,
			   quant->shape.pair_size);
		free(pair);
	}
	for (int i = 0; i < rows; i++)
	{
		const uint8 *a = pairs + i * quant->shape.pair_size;
		float		block[rows];

		omen_quant_pair_block(quant, a, pairs, quant->shape.pair_size, rows,
							  block);
		for (int j = 0; j < rows; j++)
		{
			const uint8 *b = pairs + j * quant->shape.pair_size;
			float		d = omen_quant_pair_distance(quant, a, b);
			float		exact = true_pair_distance(quant, dims, x + i * dims,
												   x + j * dims);

			if (!near(d, block[j], 1e-4f * (1 + exact)))
				block_agrees = false;
			if (d < 0 || (i == j && d > 1e-3f * dims))
				bounded = false;
			error += fabsf(d - exact);
			length += exact;
		}
	}
	snprintf(name, sizeof(name), "pairs: metric %d, %d dims, quantizer %d",
			 metric, dims, kind);
	if (error / length > 0.01)
		printf("# relative error %g\n", error / length);
	ok(block_agrees && bounded && error / length < 0.01, name);
	free(pairs);
	free(quant);
	free(mean);
	free(x);
}

static void
test_pairs(void)
{
	static const int dims[] = {3, 17, 128, 784};
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};

	for (int m = 0; m < lengthof(metrics); m++)
	{
		for (int i = 0; i < lengthof(dims); i++)
		{
			test_pairs_of(metrics[m], dims[i], OMEN_QUANTIZER_AUTO);
			test_pairs_of(metrics[m], dims[i], OMEN_QUANTIZER_NONE);
		}
	}
}

/* Of a vector that is nothing beside the mean, rounding leaves no less than that */
static void
test_short(int dims)
{
	float	   *mean = malloc(dims * sizeof(float));
	float	   *x = malloc(dims * sizeof(float));
	bool		good = true;
	char		name[100];

	for (int round = 0; round < 200; round++)
	{
		OmenQuantizer *quant;
		uint8	   *pair;
		float		norm2;

		fill_normal(dims, x);
		fill_normal(dims, mean);
		for (int i = 0; i < dims; i++)
			mean[i] = mean[i] * 3 + 10000;
		quant = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_IP, dims,
							   OMEN_QUANTIZER_AUTO, mean);
		pair = make_pair(quant, x);
		norm2 = omen_quant_pair_norm2(quant, pair);
		good = good && norm2 >= 0 && norm2 < 1e-3f * quant->mean_norm2;
		free(pair);
		free(quant);
	}
	snprintf(name, sizeof(name), "squared lengths of short vectors: %d dims", dims);
	ok(good, name);
	free(x);
	free(mean);
}

/* --- what is stored --- */

/* Values at both ends of what floats hold, and of what grids fit */
static void
fill_extreme(int how, int dims, float *x)
{
	static const float factors[] = {
		1e-44f, 1e-38f, 3e-36f, 5e-35f, 1e-34f, 1e-19f, 1e17f, 1e18f, 3e38f
	};

	if (how < NHOSTILITY)
	{
		fill_hostile((Hostility) how, dims, x);
		return;
	}
	fill_normal(dims, x);
	for (int i = 0; i < dims; i++)
		x[i] = fmaxf(fminf(x[i], 1), -1) *
			factors[(how - NHOSTILITY) % lengthof(factors)];
}

#define NEXTREMES (NHOSTILITY + 9)

/*
 * All that an index stores of two values: their own codes, pair codes, links
 * to each other, and their centre.  *size bytes; the caller frees them.
 */
static uint8 *
make_stored(const OmenCodeShape *shape, const float *mean, const void *a,
			const void *b, Size *size)
{
	OmenQuantizer *quant = omen_quant_init(malloc(omen_quant_size(shape)),
										   shape, mean, 0);
	float	   *scratch = calloc(OMEN_QUANT_SCRATCH(shape), sizeof(float));
	float	   *sum = calloc(shape->code_dims, sizeof(float));
	Size		link = shape->link_size + 2 * sizeof(float);
	Size		row = shape->own_size + 2 * shape->pair_size + link;
	uint8	   *stored;

	*size = shape->code_dims * sizeof(float) + 2 * row + shape->pair_size;
	stored = calloc(*size, 1);
	memcpy(stored, quant->mean, shape->code_dims * sizeof(float));
	for (int i = 0; i < 2; i++)
	{
		uint8	   *own = stored + shape->code_dims * sizeof(float) + i * row;
		uint8	   *pair = own + shape->own_size;

		omen_quant_encode_own(quant, i == 0 ? a : b, own, scratch);
		omen_quant_own_to_pair(quant, own, pair);
		if (omen_quant_fine_size(shape) > 0)
			omen_quant_encode_fine(quant, i == 0 ? a : b,
								   pair + shape->pair_size, scratch);
		omen_quant_add_to_centre(quant, pair, sum);
	}
	for (int i = 0; i < 2 && shape->link_kind != OMEN_LINK_NONE; i++)
	{
		uint8	   *centre = stored + shape->code_dims * sizeof(float) +
			i * row + shape->own_size;
		uint8	   *neighbour = i == 0 ? centre + row : centre - row;
		uint8	   *at = centre + 2 * shape->pair_size;
		float		factors[2];

		omen_quant_encode_link(quant, centre, neighbour, &factors[0],
							   &factors[1], at + sizeof(factors), scratch);
		memcpy(at, factors, sizeof(factors));
	}
	omen_quant_form_centre(quant, sum, 2,
						   stored + *size - shape->pair_size);
	free(sum);
	free(scratch);
	free(quant);
	return stored;
}

/* Does the table in force store these bytes? */
static bool
stores(const OmenCodeShape *shape, const float *mean, const void *a,
	   const void *b, const uint8 *expected)
{
	Size		size;
	uint8	   *stored = make_stored(shape, mean, a, b, &size);
	bool		same = memcmp(stored, expected, size) == 0;

	free(stored);
	return same;
}

/* What plain C stores, at each level, and with AVX-512 without VNNI? */
static bool
all_store_the_same(const OmenCodeShape *shape, const float *mean,
				   const void *a, const void *b)
{
	Size		size;
	uint8	   *expected;
	bool		same = true;

	omen_simd_assign(OMEN_SIMD_GENERIC);
	expected = make_stored(shape, mean, a, b, &size);
	for (int i = 0; i < lengthof(levels); i++)
	{
		if (levels[i] == OMEN_SIMD_GENERIC || !omen_simd_supported(levels[i]))
			continue;
		omen_simd_assign(levels[i]);
		same &= stores(shape, mean, a, b, expected);
	}
#if defined(__x86_64__)
	if (omen_simd_supported(OMEN_SIMD_AVX512))
	{
		omen_code_kernels = &omen_code_kernels_avx512;
		same &= stores(shape, mean, a, b, expected);
	}
#endif
	free(expected);
	return same;
}

/* The second of two vectors is near the first, like it, or of another kind */
static bool
test_stored_of(const OmenCodeShape *shape)
{
	int			dims = shape->dims;
	float	   *mean = malloc(dims * sizeof(float));
	float	   *a = malloc(dims * sizeof(float));
	float	   *b = malloc(dims * sizeof(float));
	OmenHalf   *halves = calloc(2 * dims, sizeof(OmenHalf));
	int			rounds = dims <= 1024 ? 2 * NEXTREMES : NEXTREMES;
	bool		same = true;

	for (int how = 0; how < rounds; how++)
	{
		fill_extreme(how % NEXTREMES, dims, a);
		fill_extreme(how % 4 != 3 ? how % NEXTREMES :
					 random_bits() % NEXTREMES, dims, b);
		fill_normal(dims, mean);
		for (int i = 0; i < dims; i++)
		{
			if (how % 4 < 2)
				b[i] = a[i] + 0.1f * b[i];
			mean[i] *= how % 3 == 0 ? a[i] : 0.1f;
			halves[i] = omen_float_to_half(fminf(fmaxf(a[i], -OMEN_HALF_MAX),
												 OMEN_HALF_MAX));
			halves[dims + i] = omen_float_to_half(
				fminf(fmaxf(b[i], -OMEN_HALF_MAX), OMEN_HALF_MAX));
		}
		if (shape->element == OMEN_ELEMENT_F16)
			same &= all_store_the_same(shape, mean, halves, halves + dims);
		else
			same &= all_store_the_same(shape, mean, a, b);
	}
	free(halves);
	free(b);
	free(a);
	free(mean);
	return same;
}

static void
test_stored(void)
{
	static const OmenQuantizerKind kinds[] = {
		OMEN_QUANTIZER_AUTO, OMEN_QUANTIZER_SQ8, OMEN_QUANTIZER_PQ
	};
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};
	static const OmenElementType elements[] = {
		OMEN_ELEMENT_F32, OMEN_ELEMENT_F16
	};

	for (int i = 0; i < lengthof(odd_dims); i++)
	{
		char		name[100];
		bool		same = true;

		for (int j = 0; j < lengthof(kinds) * lengthof(metrics) *
			 lengthof(elements); j++)
		{
			OmenCodeShape shape;

			if (!omen_quant_choose_shape(elements[j % 2], metrics[j / 2 % 3],
										 odd_dims[i], kinds[j / 6], &shape))
				abort();
			shape.seed = 12345 + j;
			same &= test_stored_of(&shape);
		}
		snprintf(name, sizeof(name),
				 "%d dimensions: all levels store the same bytes",
				 odd_dims[i]);
		ok(same, name);
	}
}

/* --- links --- */

/*
 * Estimate many links and compare errors, in units of |q-c| |r| / sqrt(L),
 * L being the covered dimensions, with theory.  If codes point in a direction
 * at angle t to r, the error is tan(t) sqrt(L / D).  Over L dimensions,
 * cos^2(t) is 2 / pi for one bit (RaBitQ, section 3.2) and 0.881 for the
 * four-level quantizer of a normal distribution (Max, 1960).  A query that is
 * aimed at c: in units of |q-tc| |r|, t being what makes it least.
 */
static double
link_error(const OmenCodeShape *shape)
{
	double		covered = (double) shape->link_dims / shape->code_dims;
	double		cosine2 = shape->link_kind == OMEN_LINK_RABITQ1 ?
		0.637 : 0.881;

	return sqrt(1 / cosine2 - covered);
}

typedef struct LinkStats
{
	int			n;
	double		bias;
	double		square;
} LinkStats;

static void
check_link(const OmenQuantizer *quant, const float *q, const float *c,
		   const float *x, bool aimed, LinkStats *stats)
{
	const OmenCodeShape *shape = &quant->shape;
	int			dims = shape->dims;
	OmenQuery  *query = make_query(quant, q);
	uint8	   *centre = make_pair(quant, c);
	uint8	   *neighbour = make_pair(quant, x);
	uint8	   *code = malloc(shape->link_size);
	float	   *scratch = malloc(2 * shape->code_dims * sizeof(float));
	float		base = omen_query_exact(query, c);
	float		exact = omen_query_exact(query, x);
	float		unit;
	float		f_add;
	float		f_rescale;
	float		est;
	double		r2 = 0;
	double		p2 = 0;
	double		cosine_scale = 1;
	double		part = 1;

	if (aimed)
	{
		part = dot(dims, q, c) / dot(dims, c, c);
		omen_query_aim(query, dot(dims, q, c), dot(dims, c, c));
	}
	omen_quant_encode_link(quant, centre, neighbour, &f_add, &f_rescale, code,
						   scratch);
	omen_query_links(query, base, 1, &f_add, &f_rescale, code, &est);
	for (int i = 0; i < dims; i++)
	{
		r2 += (double) (x[i] - c[i]) * (x[i] - c[i]);
		p2 += (q[i] - part * c[i]) * (q[i] - part * c[i]);
	}
	if (shape->metric == OMEN_METRIC_COSINE)
		cosine_scale = dot(dims, c, c);
	unit = (float) (sqrt(r2 * p2 / shape->link_dims) / cosine_scale);
	if (shape->metric != OMEN_METRIC_IP)
		unit *= 2;
	stats->n++;
	stats->bias += (est - exact) / unit;
	stats->square += ((est - exact) / unit) * ((est - exact) / unit);
	free(code);
	free(scratch);
	free(neighbour);
	free(centre);
	free(query);
}

/* Of unit vectors */
static void
draw_far(int dims, float part, float *q, float *c, float *x)
{
	float	   *vectors[3] = {c, x, q};

	for (int j = 0; j < 3; j++)
	{
		double		norm;

		for (int i = 0; i < dims; i++)
			vectors[j][i] = random_normal() +
				(j == 0 ? 0.5f : (j == 1 ? 1 : part) * sqrtf(dims) * c[i]);
		norm = sqrt(dot(dims, vectors[j], vectors[j]));
		for (int i = 0; i < dims; i++)
			vectors[j][i] /= (float) norm;
	}
}

/*
 * Inner product: nodes are so many times as long as queries, which are aimed then.
 * Others: if not 1, it is the part of a node that a query has, beside others.
 */
static void
test_links_of(OmenMetric metric, int dims, int bits, float length)
{
	float	   *q = malloc(dims * sizeof(float));
	float	   *c = malloc(dims * sizeof(float));
	float	   *x = malloc(dims * sizeof(float));
	float	   *mean = malloc(dims * sizeof(float));
	OmenCodeShape shape;
	OmenQuantizer *quant;
	bool		far = metric != OMEN_METRIC_IP && length != 1;
	LinkStats	stats = {0};
	double		theory;
	double		rms;
	char		name[100];

	omen_quant_choose_shape(OMEN_ELEMENT_F32, metric, dims,
							OMEN_QUANTIZER_AUTO, &shape);
	shape.link_kind = bits == 1 ? OMEN_LINK_RABITQ1 : OMEN_LINK_RABITQ2;
	shape.link_size = bits == 1 ? (shape.link_dims + 31) / 32 * 4 :
		shape.link_dims / 4;
	shape.seed = 99;
	theory = link_error(&shape);
	for (int i = 0; i < dims; i++)
		mean[i] = far || metric == OMEN_METRIC_COSINE ?
			0.5f / sqrtf(dims) : 0.5f;
	quant = omen_quant_init(malloc(omen_quant_size(&shape)), &shape, mean, 0);

	for (int trial = 0; trial < 600; trial++)
	{
		fill_normal(dims, c);
		for (int i = 0; i < dims; i++)
		{
			c[i] += 0.5f;
			x[i] = c[i] + 0.4f * random_normal();
			q[i] = c[i] + 0.6f * random_normal() + 0.3f * (x[i] - c[i]);
			c[i] *= length;
			x[i] *= length;
		}
		if (far)
			draw_far(dims, length, q, c, x);
		check_link(quant, q, c, x, length != 1, &stats);
	}
	rms = sqrt(stats.square / stats.n);
	snprintf(name, sizeof(name),
			 "links: metric %d, %d dims, %d bits, length or part %g: no bias,"
			 " error as in theory", metric, dims, bits, length);
	printf("# bias %.3f rms %.3f theory %.3f\n", stats.bias / stats.n, rms,
		   theory);
	ok(fabs(stats.bias / stats.n) < 0.15 && rms < theory * 1.2 + 0.05 &&
	   rms > theory * 0.7, name);
	free(quant);
	free(mean);
	free(x);
	free(c);
	free(q);
}

/* A neighbour equal to its node, or too long, must not disturb estimates */
static void
test_degenerate_links(void)
{
	OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2,
										  100, OMEN_QUANTIZER_AUTO, NULL);
	float		x[100];
	float		huge[100];
	float		f_add;
	float		f_rescale;
	float		est;
	uint8		code[100];
	float		scratch[2 * 112];
	uint8	   *own;
	uint8	   *own_huge;
	OmenQuery  *query;

	fill_normal(100, x);
	fill_hostile(HUGE_VALUES, 100, huge);
	own = make_own(quant, x);
	own_huge = make_own(quant, huge);
	query = make_query(quant, x);

	omen_quant_encode_link(quant, own, own, &f_add, &f_rescale, code, scratch);
	omen_query_links(query, 3, 1, &f_add, &f_rescale, code, &est);
	ok(near(est, 3, 1e-4f), "links: a duplicate is as far as its node");

	omen_quant_encode_link(quant, own, own_huge, &f_add, &f_rescale, code,
						   scratch);
	omen_query_links(query, 3, 1, &f_add, &f_rescale, code, &est);
	ok(est > 1e30, "links: an overlong neighbour is far away");

	omen_quant_encode_link(quant, own_huge, own, &f_add, &f_rescale, code,
						   scratch);
	omen_query_links(query, INFINITY, 1, &f_add, &f_rescale, code, &est);
	ok(isinf(est) && omen_quant_pair_distance(quant, own, own_huge) > 1e30,
	   "links: nothing is near an overlong node");
	free(own);
	free(own_huge);
	free(query);
	free(quant);
}

/* Links encoded together are those that are encoded one by one */
static void
test_several_links(OmenMetric metric, int dims)
{
	enum
	{
		N = 2 * OMEN_LINKS_AT_A_TIME + 3
	};
	OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_F32, metric, dims,
										  OMEN_QUANTIZER_AUTO, NULL);
	const OmenCodeShape *shape = &quant->shape;
	float	   *scratch = malloc(OMEN_LINKS_SCRATCH(shape) * sizeof(float));
	float	   *x = malloc(dims * sizeof(float));
	uint8	   *codes = malloc((N + 1) * shape->link_size);
	OmenLinkCode links[N];
	uint8	   *centre;
	bool		same = true;

	fill_normal(dims, x);
	centre = make_pair(quant, x);
	for (int i = 0; i < N; i++)
	{
		if (i == 2 && metric != OMEN_METRIC_COSINE)
			fill_hostile(HUGE_VALUES, dims, x);
		else
			fill_normal(dims, x);
		links[i].neighbour = i == 5 ? centre : make_pair(quant, x);
		links[i].code = codes + i * shape->link_size;
	}
	omen_quant_encode_links(quant, centre, links, N, scratch);
	for (int i = 0; i < N; i++)
	{
		uint8	   *code = codes + N * shape->link_size;
		float		f_add;
		float		f_rescale;

		omen_quant_encode_link(quant, centre, links[i].neighbour, &f_add,
							   &f_rescale, code, scratch);
		same = same && f_add == links[i].f_add &&
			f_rescale == links[i].f_rescale &&
			memcmp(code, links[i].code, shape->link_size) == 0;
		if (links[i].neighbour != centre)
			free(unconstify(uint8 *, links[i].neighbour));
	}
	ok(same, "links: several at a time, as one by one");
	free(centre);
	free(codes);
	free(x);
	free(scratch);
	free(quant);
}

static void
test_links(void)
{
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};
	static const int dims[] = {100, 128, 784, 1536, 3072};

	for (int m = 0; m < lengthof(metrics); m++)
	{
		for (int i = 0; i < lengthof(dims); i++)
		{
			test_links_of(metrics[m], dims[i], 1, 1);
			test_links_of(metrics[m], dims[i], 2, 1);
		}
	}
	for (int i = 0; i < lengthof(dims); i++)
	{
		test_links_of(OMEN_METRIC_IP, dims[i], 1, 30);
		test_links_of(OMEN_METRIC_IP, dims[i], 2, 30);
		for (int bits = 1; bits <= 2; bits++)
		{
			test_links_of(OMEN_METRIC_COSINE, dims[i], bits, 0.2f);
			test_links_of(OMEN_METRIC_COSINE, dims[i], bits, -1);
			test_links_of(OMEN_METRIC_L2, dims[i], bits, 0.2f);
			test_links_of(OMEN_METRIC_L2, dims[i], bits, -1);
		}
	}
	test_degenerate_links();
}

/* --- ranking --- */

typedef struct Ranked
{
	float		distance;
	int			row;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	return (x->distance > y->distance) - (x->distance < y->distance);
}

/* Vectors of low intrinsic dimension in clusters, off the origin: as real */
static void
fill_realistic(int rows, int dims, float *x)
{
	enum
	{
		latent = 24,
		clusters = 50
	};
	float	   *basis = malloc(latent * dims * sizeof(float));
	float	   *centres = malloc(clusters * latent * sizeof(float));

	fill_normal(latent * dims, basis);
	fill_normal(clusters * latent, centres);
	for (int i = 0; i < rows; i++)
	{
		const float *centre = centres + random_bits() % clusters * latent;

		for (int j = 0; j < dims; j++)
			x[i * dims + j] = 3 + 0.1f * random_normal();
		for (int k = 0; k < latent; k++)
		{
			float		z = centre[k] + 0.5f * random_normal();

			for (int j = 0; j < dims; j++)
				x[i * dims + j] += z * basis[k * dims + j];
		}
	}
	free(basis);
	free(centres);
}

static double
recall_of(OmenMetric metric, int dims, OmenQuantizerKind kind, bool block)
{
	enum
	{
		rows = 2000,
		queries = 30,
		k = 10
	};
	float	   *x = malloc((rows + queries) * dims * sizeof(float));
	static Ranked exact[rows];
	static Ranked ranked[rows];
	OmenQuantizer *quant;
	uint8	   *own;
	uint8	   *pairs;
	int			found = 0;

	fill_realistic(rows + queries, dims, x);
	quant = make_quantizer(OMEN_ELEMENT_F32, metric, dims, kind, NULL);
	own = malloc(rows * quant->shape.own_size);
	pairs = malloc(rows * quant->shape.pair_size);
	for (int i = 0; i < rows; i++)
	{
		uint8	   *one = make_own(quant, x + i * dims);

		memcpy(own + i * quant->shape.own_size, one, quant->shape.own_size);
		omen_quant_own_to_pair(quant, one, pairs +
							   i * quant->shape.pair_size);
		free(one);
	}
	for (int i = 0; i < queries; i++)
	{
		OmenQuery  *query = make_query(quant, x + (rows + i) * dims);
		static float est[rows];

		omen_query_block(query, pairs, quant->shape.pair_size, rows, est);
		for (int j = 0; j < rows; j++)
		{
			exact[j].row = ranked[j].row = j;
			exact[j].distance = omen_query_exact(query, x + j * dims);
			ranked[j].distance = block ? est[j] :
				omen_query_own(query, own +
							   j * quant->shape.own_size).estimate;
		}
		qsort(exact, rows, sizeof(Ranked), compare_ranked);
		qsort(ranked, rows, sizeof(Ranked), compare_ranked);
		for (int a = 0; a < k; a++)
		{
			for (int b = 0; b < k; b++)
				found += ranked[a].row == exact[b].row;
		}
		free(query);
	}
	free(own);
	free(pairs);
	free(quant);
	free(x);
	return (double) found / (queries * k);
}

static void
test_ranking(void)
{
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};

	for (int i = 0; i < 2 * lengthof(metrics); i++)
	{
		OmenMetric	metric = metrics[i / 2];
		bool		wide = i % 2 == 1;
		OmenQuantizerKind kind = wide ? OMEN_QUANTIZER_AUTO :
			OMEN_QUANTIZER_SQ8;
		int			dims = wide ? 500 : 128;
		double		estimates = recall_of(metric, dims, kind, false);
		double		block = recall_of(metric, dims, kind, true);
		char		name[100];

		printf("# recall of own codes %.3f, pair codes %.3f\n", estimates,
			   block);
		snprintf(name, sizeof(name), "ranking by %d-bit codes, metric %d",
				 wide ? 16 : 8, metric);
		ok(estimates > (wide ? 0.999 : 0.97) && block > 0.95, name);
	}
}

/* The centre of vectors is where their mean is */
static void
test_centre(OmenQuantizerKind kind, int dims)
{
	enum
	{
		rows = 300
	};
	float	   *x = malloc((rows + 1) * dims * sizeof(float));
	float	   *mean = calloc(dims, sizeof(float));
	OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2,
										  dims, kind, NULL);
	float	   *sum = calloc(quant->shape.code_dims, sizeof(float));
	uint8	   *pair = malloc(quant->shape.pair_size);
	OmenQuery  *query;
	float		estimate;
	float		exact;
	char		name[100];

	fill_normal((rows + 1) * dims, x);
	for (int i = 0; i < rows; i++)
	{
		uint8	   *own = make_own(quant, x + i * dims);

		omen_quant_own_to_pair(quant, own, pair);
		omen_quant_add_to_centre(quant, pair, sum);
		for (int j = 0; j < dims; j++)
			mean[j] += x[i * dims + j] / rows;
		free(own);
	}
	omen_quant_form_centre(quant, sum, rows, pair);
	query = make_query(quant, x + rows * dims);
	omen_query_block(query, pair, quant->shape.pair_size, 1, &estimate);
	exact = omen_query_exact(query, mean);
	snprintf(name, sizeof(name), "centre of %d dimensions: %g, is %g", dims,
			 estimate, exact);
	ok(fabsf(estimate - exact) < 0.01f * exact, name);
	free(query);
	free(pair);
	free(sum);
	free(quant);
	free(mean);
	free(x);
}

/*
 * Codes by no mean, brought to one: the estimate is as far off as the first code's
 * error allows, nothing is said to be certain, and pair codes are the same either way
 */
static void
test_shift(OmenQuantizerKind kind, OmenMetric metric, int dims)
{
	float	   *q = malloc(dims * sizeof(float));
	float	   *x = malloc(dims * sizeof(float));
	float	   *mean = malloc(dims * sizeof(float));
	OmenQuantizer *from = make_quantizer(OMEN_ELEMENT_F32, metric, dims, kind,
										 NULL);
	OmenQuantizer *to;
	float	   *scratch = malloc(OMEN_QUANT_SCRATCH(&from->shape) *
								 sizeof(float));
	uint8	   *shifted = malloc(from->shape.own_size);
	uint8	   *pair = malloc(from->shape.pair_size);
	uint8	   *own;
	OmenQuery  *query;
	OmenBounds	bounds;
	float		exact;
	float		near;
	float		error;
	float		slack;
	char		name[100];

	for (int i = 0; i < dims; i++)
	{
		mean[i] = 10;
		q[i] = 10 + random_normal();
		x[i] = 10 + random_normal();
	}
	if (metric == OMEN_METRIC_COSINE)
	{
		for (int i = 0; i < dims; i++)
			mean[i] = 1 / sqrtf(dims);
	}
	to = make_quantizer(OMEN_ELEMENT_F32, metric, dims, kind, mean);
	own = make_own(from, x);
	error = omen_own_factors(own).error;
	query = make_query(to, q);
	exact = omen_query_exact(query, x);

	omen_quant_shift_own(from, to, own, shifted, scratch);
	bounds = omen_query_own(query, shifted);
	omen_quant_own_to_pair(from, own, pair);
	omen_quant_shift_pair(from, to, pair, pair, scratch);
	omen_query_block(query, pair, from->shape.pair_size, 1, &near);
	slack = metric == OMEN_METRIC_IP ? 1.1f * error * query->norm +
		0.02f * query->norm * sqrtf(omen_own_factors(shifted).norm2) :
		error * error + 2.2f * error * sqrtf(exact) + 0.02f * exact;
	snprintf(name, sizeof(name),
			 "shifted, kind %d, metric %d, %d dimensions: %g and %g, is %g give or take %g",
			 kind, metric, dims, bounds.estimate, near, exact, slack);
	ok(fabsf(bounds.estimate - exact) <= slack &&
	   fabsf(near - exact) <= slack &&
	   bounds.lower == (metric == OMEN_METRIC_IP ? -INFINITY : 0) &&
	   isinf(bounds.upper), name);

	omen_quant_blank_own(to, shifted);
	bounds = omen_query_own(query, shifted);
	ok(isfinite(bounds.estimate) && isinf(bounds.upper) &&
	   bounds.lower <= bounds.estimate, "a blank code says nothing");
	free(query);
	free(own);
	free(pair);
	free(shifted);
	free(scratch);
	free(to);
	free(from);
	free(mean);
	free(x);
	free(q);
}

/* Half vectors give the codes of the floats they stand for */
static void
test_halves(OmenQuantizerKind kind, const char *name)
{
	float		x[100];
	OmenHalf	h[100];
	OmenQuantizer *floats = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2,
										   100, kind, NULL);
	OmenQuantizer *halves = make_quantizer(OMEN_ELEMENT_F16, OMEN_METRIC_L2,
										   100, kind, NULL);
	uint8	   *own_floats;
	uint8	   *own_halves;

	fill_normal(100, x);
	for (int i = 0; i < 100; i++)
	{
		h[i] = omen_float_to_half(x[i]);
		x[i] = omen_half_to_float(h[i]);
	}
	own_floats = make_own(floats, x);
	own_halves = make_own(halves, h);
	ok(memcmp(own_floats, own_halves, floats->shape.own_size) == 0, name);
	free(own_floats);
	free(own_halves);
	free(floats);
	free(halves);
}

/* --- product codes --- */

static bool
is_trained_alike(const OmenCodeKernels *kernels, const int16 *rows, int nrows,
				 const int8 *expected)
{
	const OmenCodeKernels *saved = omen_code_kernels;
	int8		book[OMEN_PQ_PLANE];
	int32		biases[OMEN_PQ_CENTROIDS];

	memset(book, 0, sizeof(book));
	for (int k = 0; k < OMEN_PQ_CENTROIDS; k++)
		book[2 * k] = (int8) (k - 128) / 2;
	omen_kmeans_set_biases(1, book, biases);
	omen_code_kernels = kernels;
	omen_kmeans_train(1, rows, nrows, book, biases);
	omen_code_kernels = saved;
	return memcmp(book, expected, sizeof(book)) == 0;
}

/* Centroids in a line, rows in two clouds beside it */
static void
test_kmeans(void)
{
	enum
	{
		rows = 600
	};
	static int16 row[rows][2];
	int8		start[OMEN_PQ_PLANE];
	int8		book[OMEN_PQ_PLANE];
	int32		biases[OMEN_PQ_CENTROIDS];
	int			moved = 0;
	int			near_clouds = 0;
	bool		alike = true;

	memset(book, 0, sizeof(book));
	for (int k = 0; k < OMEN_PQ_CENTROIDS; k++)
		book[2 * k] = (int8) (k - 128) / 2;
	memcpy(start, book, sizeof(start));
	omen_kmeans_set_biases(1, book, biases);
	omen_kmeans_train(1, &row[0][0], 0, book, biases);
	ok(memcmp(book, start, sizeof(book)) == 0,
	   "centroids without rows stay where they are");

	for (int i = 0; i < rows; i++)
	{
		row[i][0] = (int16) ((i % 2 ? 160 : -160) + 8 * random_normal());
		row[i][1] = (int16) (400 + 8 * random_normal());
	}
	omen_kmeans_train(1, &row[0][0], rows, book, biases);
	for (int k = 0; k < OMEN_PQ_CENTROIDS; k++)
	{
		int			x = book[2 * k];
		int			y = book[2 * k + 1];

		if (x == start[2 * k] && y == 0)
			continue;
		moved++;
		near_clouds += y > 25 && abs(abs(x) - 20) < 10;
	}
	printf("# %d centroids moved, %d of them into clouds\n", moved,
		   near_clouds);
	ok(moved >= 2 && moved < 60 && near_clouds >= moved / 2,
	   "centroids move to the rows near them, others stay");

	for (int i = 0; i < lengthof(levels); i++)
	{
		if (omen_simd_supported(levels[i]))
			alike &= is_trained_alike(omen_code_kernels_of(levels[i]),
									  &row[0][0], rows, book);
	}
	ok(alike, "training gives the same centroids at every level");
}

/* A quantizer whose codebook was trained on these vectors */
static void
train(OmenQuantizer *quant, const float *x, int rows)
{
	const OmenCodeShape *shape = &quant->shape;
	int16	   *sample = malloc((Size) rows * shape->code_dims *
								sizeof(int16));
	float	   *scratch = malloc(OMEN_QUANT_SCRATCH(shape) * sizeof(float));
	int			n = 0;

	for (int i = 0; i < rows; i++)
		n += omen_pq_sample(quant, x + (Size) i * shape->dims, sample, rows, n,
							scratch);
	for (int part = 0; part < omen_pq_parts(shape); part++)
		omen_pq_train(quant, part, sample, rows, n);
	free(sample);
	free(scratch);
}

/* The squared error of codes, in relation to the vectors' squared lengths */
static double
product_error(const OmenQuantizer *quant, const float *x, int rows)
{
	double		error = 0;

	for (int i = 0; i < rows; i++)
	{
		uint8	   *own = make_own(quant, x + (Size) i * quant->shape.dims);
		OmenOwnFactors f = omen_own_factors(own);

		error += f.error * f.error / (f.norm2 + f.error * f.error) / rows;
		free(own);
	}
	return error;
}

/*
 * Theory for a normal distribution (Max, 1960): 0.0095, 0.1175 and 0.3634 of
 * the square are lost with 4, 2 and 1 bits a dimension.
 */
static void
test_training(int dims, double theory)
{
	enum
	{
		rows = 3000,
		tests = 200
	};
	float	   *x = malloc((rows + tests) * dims * sizeof(float));
	OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2,
										  dims, OMEN_QUANTIZER_PQ, NULL);
	OmenQuantizer *copy = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2,
										 dims, OMEN_QUANTIZER_PQ, NULL);
	double		before;
	double		after;
	uint8	   *a;
	uint8	   *b;
	char		name[100];

	fill_realistic(rows + tests, dims, x);
	before = product_error(quant, x + rows * dims, tests);
	train(quant, x, rows);
	after = product_error(quant, x + rows * dims, tests);
	printf("# error of product codes: %.4f, trained %.4f, theory %.4f\n",
		   before, after, theory);
	snprintf(name, sizeof(name), "product codes, %d dims: as exact as scalar "
			 "codes, more so when trained", dims);
	ok(before < theory * 1.3 && after < before, name);

	omen_pq_set_codebook(copy, quant->codebook);
	a = make_own(quant, x);
	b = make_own(copy, x);
	snprintf(name, sizeof(name), "product codes, %d dims: the codebook is all "
			 "there is to keep", dims);
	ok(memcmp(a, b, quant->shape.own_size) == 0, name);
	free(a);
	free(b);
	free(x);
	free(quant);
	free(copy);
}

/*
 * The lower bound holds but for a few in a thousand, of whatever data; other
 * promises without exception.
 */
static void
test_product_bounds(Hostility how)
{
	static const int dims[] = {1, 3, 17, 128, 500, 784, 2100};
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};
	static float q[2100];
	static float x[2100];
	int			checked = 0;
	int			violated = 0;
	bool		sane = true;
	char		name[100];

	for (int i = 0; i < lengthof(dims) * lengthof(metrics); i++)
	{
		int			d = dims[i % lengthof(dims)];
		OmenMetric	metric = metrics[i / lengthof(dims)];
		OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_F32, metric, d,
											  OMEN_QUANTIZER_PQ, NULL);

		for (int trial = 0; trial < 60; trial++)
		{
			OmenQuery  *query;
			uint8	   *own;
			OmenBounds	bounds;
			float		exact;

			fill_hostile(how, d, q);
			fill_hostile(how, d, x);
			if (metric == OMEN_METRIC_COSINE &&
				(how == ZEROS || how == SUBNORMAL))
				q[0] = x[0] = 1;
			query = make_query(quant, q);
			own = make_own(quant, trial % 10 == 0 ? q : x);
			bounds = omen_query_own(query, own);
			exact = omen_query_exact(query, trial % 10 == 0 ? q : x);
			sane &= !isnan(bounds.estimate) && !isnan(bounds.lower) &&
				bounds.lower <= bounds.estimate && isinf(bounds.upper) &&
				bounds.upper > 0;
			checked++;
			violated += exact < bounds.lower;
			free(query);
			free(own);
		}
		free(quant);
	}
	printf("# %d of %d below the lower bound\n", violated, checked);
	snprintf(name, sizeof(name), "product codes: bounds, %s data",
			 hostility_names[how]);
	ok(sane && violated <= checked / 250, name);
}

/* Pair codes made from product codes rank as those of 8 bits do */
static void
test_product_ranking(OmenMetric metric, int dims)
{
	double		estimates = recall_of(metric, dims, OMEN_QUANTIZER_PQ, false);
	double		block = recall_of(metric, dims, OMEN_QUANTIZER_PQ, true);
	char		name[100];

	printf("# recall of product codes %.3f, their pair codes %.3f\n",
		   estimates, block);
	snprintf(name, sizeof(name), "product codes: ranking, metric %d, %d dims",
			 metric, dims);
	ok(estimates > 0.75 && fabs(block - estimates) < 0.05, name);
}

/* Codes that a codebook cannot make sense of are far from everything */
static void
test_strange_codebook(void)
{
	OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_F32, OMEN_METRIC_L2, 64,
										  OMEN_QUANTIZER_PQ, NULL);
	float		x[64];
	uint8	   *own;
	OmenQuery  *query;
	OmenBounds	bounds;

	fill_normal(64, x);
	memset(quant->codebook, 0, omen_pq_codebook_size(&quant->shape));
	omen_pq_set_codebook(quant, quant->codebook);
	own = make_own(quant, x);
	query = make_query(quant, x);
	bounds = omen_query_own(query, own);
	ok(isinf(bounds.estimate) && bounds.lower == 0 && isinf(bounds.upper),
	   "product codes: one that says nothing is bounded by nothing");
	free(own);
	free(query);
	free(quant);
}

static void
test_product_codes(void)
{
	static const OmenMetric metrics[] = {
		OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE
	};

	test_kmeans();
	test_training(128, 0.0095);
	test_training(500, 0.1175);
	test_training(2100, 0.3634);
	for (int how = 0; how < NHOSTILITY; how++)
		test_product_bounds(how);
	for (int i = 0; i < lengthof(metrics); i++)
	{
		test_product_ranking(metrics[i], 100);
		test_product_ranking(metrics[i], 500);
	}
	test_strange_codebook();
}

/* --- raw codes and shapes --- */

static bool
raw_agrees(OmenElementType element, OmenMetric metric, int dims,
		   const void *a, const void *b, float expected)
{
	OmenQuantizer *quant = make_quantizer(element, metric, dims,
										  OMEN_QUANTIZER_NONE, NULL);
	Size		size = omen_quant_payload_size(quant, b);
	uint8	   *own = malloc(size);
	OmenQuery  *query = make_query(quant, a);
	OmenBounds	bounds;
	bool		good = true;

	good &= omen_quant_encode_own(quant, b, own, NULL) == size;
	good &= memcmp(own, b, size) == 0;
	bounds = omen_query_own(query, own);
	good &= near(bounds.estimate, expected, 1e-5f);
	good &= bounds.lower == bounds.estimate && bounds.upper == bounds.estimate;
	good &= near(omen_query_exact(query, b), expected, 1e-5f);
	if (metric != OMEN_METRIC_IP)
		good &= near(omen_quant_pair_distance(quant, a, b), expected, 1e-5f);
	free(own);
	free(query);
	free(quant);
	return good;
}

static void
test_raw(void)
{
	float		a[3] = {1, 2, 3};
	float		b[3] = {3, 2, -1};
	OmenHalf	ha[3];
	OmenHalf	hb[3];
	uint8		bits_a[2] = {0xF0, 0x80};
	uint8		bits_b[2] = {0x3C, 0x00};
	struct
	{
		OmenSparsePayload head;
		int32		indices[2];
		float		values[2];
	}			sa = {{2, 0}, {1, 5}, {2, 3}}, sb = {{2, 0}, {5, 7}, {-1, 4}};

	for (int i = 0; i < 3; i++)
	{
		ha[i] = omen_float_to_half(a[i]);
		hb[i] = omen_float_to_half(b[i]);
	}
	ok(raw_agrees(OMEN_ELEMENT_F32, OMEN_METRIC_L2, 3, a, b, 20) &&
	   raw_agrees(OMEN_ELEMENT_F32, OMEN_METRIC_IP, 3, a, b, -4) &&
	   raw_agrees(OMEN_ELEMENT_F32, OMEN_METRIC_COSINE, 3, a, b,
				  2 - 2 * 4.0f / 14) &&
	   raw_agrees(OMEN_ELEMENT_F32, OMEN_METRIC_L1, 3, a, b, 6),
	   "raw: float vectors");
	ok(raw_agrees(OMEN_ELEMENT_F16, OMEN_METRIC_L2, 3, ha, hb, 20) &&
	   raw_agrees(OMEN_ELEMENT_F16, OMEN_METRIC_IP, 3, ha, hb, -4) &&
	   raw_agrees(OMEN_ELEMENT_F16, OMEN_METRIC_L1, 3, ha, hb, 6),
	   "raw: half vectors");
	ok(raw_agrees(OMEN_ELEMENT_SPARSE, OMEN_METRIC_L2, 9, &sa, &sb, 36) &&
	   raw_agrees(OMEN_ELEMENT_SPARSE, OMEN_METRIC_IP, 9, &sa, &sb, 3) &&
	   raw_agrees(OMEN_ELEMENT_SPARSE, OMEN_METRIC_L1, 9, &sa, &sb, 10),
	   "raw: sparse vectors");
	ok(raw_agrees(OMEN_ELEMENT_BIT, OMEN_METRIC_HAMMING, 9, bits_a, bits_b, 5)
	   && raw_agrees(OMEN_ELEMENT_BIT, OMEN_METRIC_JACCARD, 9, bits_a, bits_b,
					 1 - 2 / 7.0f), "raw: bit strings");
}

static void
test_bit_links(void)
{
	OmenQuantizer *quant = make_quantizer(OMEN_ELEMENT_BIT,
										  OMEN_METRIC_HAMMING, 9,
										  OMEN_QUANTIZER_AUTO, NULL);
	uint8		a[2] = {0xF0, 0x80};
	uint8		b[2] = {0x3C, 0x00};
	uint8		codes[8];
	float		f_add[2];
	float		f_rescale[2];
	float		est[2];
	OmenQuery  *query = make_query(quant, a);

	omen_quant_encode_link(quant, a, b, f_add, f_rescale, codes, NULL);
	omen_quant_encode_link(quant, a, a, f_add + 1, f_rescale + 1, codes + 4,
						   NULL);
	omen_query_links(query, 77, 2, f_add, f_rescale, codes, est);
	ok(quant->shape.link_kind == OMEN_LINK_RAW &&
	   quant->shape.link_size == 4 && est[0] == 5 && est[1] == 0,
	   "raw: bit strings as links");
	free(query);
	free(quant);
}

static bool
fits(OmenElementType element, OmenMetric metric, OmenQuantizerKind kind)
{
	OmenCodeShape shape;

	return omen_quant_choose_shape(element, metric, 64, kind, &shape);
}

static int
product_bytes(int dims)
{
	OmenCodeShape shape;

	if (!omen_quant_choose_shape(OMEN_ELEMENT_F32, OMEN_METRIC_L2, dims,
								 OMEN_QUANTIZER_PQ, &shape) ||
		!omen_quant_shape_is_valid(&shape))
		return -1;
	return omen_pq_parts(&shape);
}

static void
test_shapes(void)
{
	bool		sizes = true;

	for (int dims = 1; dims <= MAX_DIMS; dims++)
	{
		OmenCodeShape s;

		sizes &= omen_quant_choose_shape(OMEN_ELEMENT_F16, OMEN_METRIC_L2,
										 dims, OMEN_QUANTIZER_AUTO, &s);
		sizes &= s.code_dims % 16 == 0 && s.code_dims >= dims &&
			s.code_dims < dims + 16;
		sizes &= s.link_size % 4 == 0 && s.link_dims % 16 == 0 &&
			s.link_dims <= s.code_dims;
		/* 32 links and their heads leave room in a page of 8 kB */
		sizes &= 60 + 32 * (12 + s.link_size) <= 8152;
	}
	ok(sizes, "shapes: sizes are multiples and links fit a page");
	ok(product_bytes(128) == 64 && product_bytes(768) == 192 &&
	   product_bytes(1536) == 384 && product_bytes(3072) == 384 &&
	   product_bytes(1) == 8, "shapes: sizes of product codes");
	ok(!fits(OMEN_ELEMENT_SPARSE, OMEN_METRIC_L2, OMEN_QUANTIZER_RABITQ) &&
	   !fits(OMEN_ELEMENT_BIT, OMEN_METRIC_HAMMING, OMEN_QUANTIZER_SQ8) &&
	   !fits(OMEN_ELEMENT_F32, OMEN_METRIC_L1, OMEN_QUANTIZER_RABITQ) &&
	   !fits(OMEN_ELEMENT_F32, OMEN_METRIC_L1, OMEN_QUANTIZER_PQ) &&
	   !fits(OMEN_ELEMENT_BIT, OMEN_METRIC_HAMMING, OMEN_QUANTIZER_PQ) &&
	   fits(OMEN_ELEMENT_F16, OMEN_METRIC_L2, OMEN_QUANTIZER_PQ) &&
	   fits(OMEN_ELEMENT_F32, OMEN_METRIC_L1, OMEN_QUANTIZER_AUTO) &&
	   fits(OMEN_ELEMENT_F16, OMEN_METRIC_IP, OMEN_QUANTIZER_SQ8),
	   "shapes: unsupported combinations are refused");
}

int
main(void)
{
	omen_distance_init();
	omen_quant_init_kernels();
	test_shapes();
	test_rotation();
	test_levels();
	test_stored();
	for (int i = 0; i < lengthof(levels); i++)
	{
		if (!omen_simd_supported(levels[i]))
			continue;
		printf("# level %s\n", omen_code_kernels_of(levels[i])->name);
		omen_simd_assign(levels[i]);
		test_bounds();
		test_pairs();
	}
	test_links();
	test_several_links(OMEN_METRIC_L2, 100);
	test_several_links(OMEN_METRIC_IP, 128);
	test_several_links(OMEN_METRIC_COSINE, 784);
	test_ranking();
	test_centre(OMEN_QUANTIZER_SQ8, 128);
	test_centre(OMEN_QUANTIZER_AUTO, 500);
	test_centre(OMEN_QUANTIZER_PQ, 64);
	test_shift(OMEN_QUANTIZER_AUTO, OMEN_METRIC_L2, 3);
	test_shift(OMEN_QUANTIZER_AUTO, OMEN_METRIC_IP, 128);
	test_shift(OMEN_QUANTIZER_AUTO, OMEN_METRIC_COSINE, 500);
	test_shift(OMEN_QUANTIZER_SQ8, OMEN_METRIC_IP, 500);
	test_shift(OMEN_QUANTIZER_PQ, OMEN_METRIC_L2, 100);
	test_halves(OMEN_QUANTIZER_AUTO, "half vectors are coded as floats are");
	test_halves(OMEN_QUANTIZER_PQ, "the same with product codes");
	test_product_codes();
	test_raw();
	test_bit_links();
	test_short(2);
	test_short(128);

	printf("1..%d\n", ntests);
	return nfailed != 0;
}
