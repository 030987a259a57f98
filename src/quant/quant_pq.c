/*-------------------------------------------------------------------------
 *
 * quant_pq.c
 *	  Product codes as own codes (Jegou et al., IEEE TPAMI 33, 2011).
 *
 * What we do differently:
 *
 * - Codes stand for a direction, the length is in the factors.  The vector is
 *	 scaled so that its coordinates have a standard deviation of one.  The
 *	 rotation makes coordinates normally distributed whatever the data is, so
 *	 there is a codebook that suits every column: the product of the best
 *	 scalar quantizers of a normal distribution (Max, 1960).  Training starts
 *	 from there (kmeans.h) and takes 10 to 28 % from the squared error.  An
 *	 index built on an empty table has this codebook, as good as scalar codes
 *	 of the same size; no vector that comes later is strange to it.
 *
 * - Estimates have the form that all rotated codes share (quant_own.c): with
 *	 u the centroids and a = |x|^2 / <u,x>, the error e = x - a u is orthogonal
 *	 to x, and d^2 - s = -2 <e,q-x>.  Not |q - a u|^2, which is too large by
 *	 |e|^2, more for some vectors than for others.  The factors are those of
 *	 8-bit codes, and with its centroids written out a product code is a pair
 *	 code: choosing neighbours and repairing know nothing of product codes.  A
 *	 bulk build has 8-bit codes of the vectors themselves for that: recall@10
 *	 at ef_search 40 / 160 on a million SIFT vectors is .924 / .992, else .918
 *	 / .988.
 *
 * - Bounds.  |d^2 - s| <= 2 |e| d cannot be violated and says next to
 *	 nothing: with 4 dimensions a byte, |e| is 0.3 |x|.  But after a random
 *	 rotation e points anywhere, so that <e,q-x> has a standard deviation of
 *	 |e| d / sqrt(D), D being the dimensions (as in RaBitQ).  Measured: 0.80 of
 *	 that on 9,844 text embeddings of 768 dimensions, 0.90 on SIFT, 0.72 (1.0
 *	 for inner products) on random vectors.  So the lower bound takes 3 |e| /
 *	 sqrt(D) for |e|, which fails for one or two rows of a thousand, and the
 *	 upper bound is infinite.
 *
 * Queries have a table of their products with all centroids; a distance is a
 * sum of one entry for each byte.  Sums are integers: exact, in any order.
 *
 * Not done: 4-bit codes scored by byte shuffles (Andre et al., VLDB 2015).
 * They pay where codes of many rows lie interleaved; here each lies in its
 * node's slot, and finding that costs several times what the sum does (20 ns
 * at 128 dimensions, 94 at 768).
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/kmeans.h"
#include "quant/quant_ops.h"
#include "quant/quant_pq.h"

/*
 * From these dimensions on, a byte stands for 4 or 8 of them.  Candidates to
 * look up in the table for recall@10 of .95 / .98, ranking exhaustively: 12 /
 * 14 on 100,000 x 128 (2 a byte; 4: 25 / 32) and 12 / 14 on 9,844 x 768 (4 a
 * byte; 8: 17 / 23).
 */
#define FOUR_A_BYTE		384
#define EIGHT_A_BYTE	2048

/* Standard deviations of the error that the lower bound allows for */
#define STEER			3.0f

/*
 * A code at a wider angle to its vector says nothing.  Any vector's cosine is
 * above 0.7, unless the codebook was trained on quite other data.
 */
#define LEAST_COSINE	0.25

/* Sums of products with coordinates of centroids fit 32 bits */
#define TABLE_SUM_MAX	(PG_INT32_MAX / (OMEN_I8_MAX + 1))

static uint32
part_dims_of(const OmenCodeShape *shape)
{
	return shape->code_dims / omen_pq_parts(shape);
}

static const int8 *
part_book(const OmenQuantizer *quant, uint32 part)
{
	return quant->codebook +
		(Size) part * (part_dims_of(&quant->shape) / 2) * OMEN_PQ_PLANE;
}

/* --- codebooks --- */

uint32
omen_pq_part_dims(uint32 dims)
{
	if (dims < FOUR_A_BYTE)
		return 2;
	return dims < EIGHT_A_BYTE ? 4 : 8;
}

/*
 * Level i of the best quantizer of a normal distribution with 2, 4 or 16
 * levels, on the grid of centroids
 */
static int8
normal_level(int bits, int i)
{
	static const int8 upper1[] = {26};
	static const int8 upper2[] = {14, 48};
	static const int8 upper4[] = {4, 12, 21, 30, 40, 52, 66, 87};
	const int8 *upper = bits == 1 ? upper1 : bits == 2 ? upper2 : upper4;
	int			half = 1 << (bits - 1);

	return i < half ? -upper[half - 1 - i] : upper[i - half];
}

/* Each dimension of a part takes its share of the code's bits */
void
omen_pq_init_codebook(OmenQuantizer *quant)
{
	uint32		part_dims = part_dims_of(&quant->shape);
	int			bits = 8 / part_dims;
	int8	   *at = quant->codebook;

	for (uint32 i = 0; i < quant->shape.code_dims; i += 2)
	{
		int			low = i % part_dims * bits;
		int			high = low + bits;
		int			mask = (1 << bits) - 1;

		for (int k = 0; k < OMEN_PQ_CENTROIDS; k++)
		{
			*at++ = normal_level(bits, (k >> low) & mask);
			*at++ = normal_level(bits, (k >> high) & mask);
		}
	}
	omen_pq_set_codebook(quant, quant->codebook);
}

void
omen_pq_set_codebook(OmenQuantizer *quant, const int8 *codebook)
{
	uint32		parts = omen_pq_parts(&quant->shape);

	Assert(quant->shape.own_kind == OMEN_OWN_PQ);

	if (codebook != quant->codebook)
		memcpy(quant->codebook, codebook,
			   omen_pq_codebook_size(&quant->shape));
	for (uint32 i = 0; i < parts; i++)
		omen_kmeans_set_biases(part_dims_of(&quant->shape) / 2,
							   part_book(quant, i),
							   quant->biases + i * OMEN_PQ_CENTROIDS);
}

/* --- encoding --- */

/*
 * A vector's direction on the grid of rows.  Scaling makes up for its length;
 * what is left beyond the grid's end, sixteen standard deviations out, can be
 * cut off, for errors are computed from the vector itself.
 */
static void
form_row(uint32 dims, const float *x, double norm2, int16 *row)
{
	OmenEncodeSums sums;
	float		steps = OMEN_KMEANS_GRID * OMEN_KMEANS_FINER;

	/* at most 256 * sqrt(16000) in size: fits */
	omen_code_kernels->encode_i16(dims, x, steps * sqrt(dims / norm2), row,
								  &sums);
	for (uint32 i = 0; i < dims; i++)
		row[i] = Max(Min(row[i], OMEN_KMEANS_ROW_MAX), -OMEN_KMEANS_ROW_MAX);
}

/* Write the centroids out: int8[code_dims] */
static void
decode(const OmenQuantizer *quant, const uint8 *code, int8 *u)
{
	uint32		parts = omen_pq_parts(&quant->shape);
	uint32		planes = part_dims_of(&quant->shape) / 2;
	const int8 *plane = quant->codebook;

	for (uint32 i = 0; i < parts; i++)
	{
		for (uint32 p = 0; p < planes; p++)
		{
			memcpy(u, plane + 2 * code[i], 2);
			u += 2;
			plane += OMEN_PQ_PLANE;
		}
	}
}

/* Eight sums each: fixed order, and no addition waits for the one before */
static void
sum_products(uint32 dims, const float *x, const int8 *u, OmenEncodeSums *sums)
{
	double		norm2[8] = {0};
	double		code_dot[8] = {0};
	int64		code_norm2 = 0;

	for (uint32 i = 0; i < dims; i += 8)
	{
		for (int j = 0; j < 8; j++)
		{
			norm2[j] += (double) x[i + j] * x[i + j];
			code_dot[j] += (double) x[i + j] * u[i + j];
			code_norm2 += u[i + j] * u[i + j];
		}
	}
	memset(sums, 0, sizeof(*sums));
	for (int j = 0; j < 8; j++)
	{
		sums->norm2 += norm2[j];
		sums->code_dot += code_dot[j];
	}
	sums->code_norm2 = (double) code_norm2;
}

static double
norm2_of(uint32 dims, const float *x)
{
	double		sums[8] = {0};

	for (uint32 i = 0; i < dims; i += 8)
	{
		for (int j = 0; j < 8; j++)
			sums[j] += (double) x[i + j] * x[i + j];
	}
	return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
		((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/* Code and factors of a vector that is neither tiny nor too long */
static void
encode_direction(const OmenQuantizer *quant, const float *x, int16 *row,
				 OmenOwnFactors *factors, uint8 *code)
{
	const OmenCodeShape *shape = &quant->shape;
	uint32		dims = shape->code_dims;
	uint32		part_dims = part_dims_of(shape);
	int8	   *u = (int8 *) row;
	OmenEncodeSums sums;

	form_row(dims, x, norm2_of(dims, x), row);
	for (uint32 i = 0; i < omen_pq_parts(shape); i++)
		code[i] = omen_code_kernels->pq_nearest(part_dims / 2,
												row + i * part_dims,
												part_book(quant, i),
												quant->biases +
												i * OMEN_PQ_CENTROIDS);

	decode(quant, code, u);		/* the row has done its work */
	sum_products(dims, x, u, &sums);
	if (sums.code_dot > LEAST_COSINE * sqrt(sums.norm2 * sums.code_norm2))
		omen_own_form_factors(quant, x, &sums, factors);
	else
		factors->norm2 = OMEN_UNUSABLE;
}

static void
encode_loaded(const OmenQuantizer *quant, float *x, OmenOwnFactors *factors,
			  uint8 *code)
{
	uint32		dims = quant->shape.code_dims;

	if (omen_own_special_factors(dims, omen_code_kernels->max_abs(dims, x),
								 factors))
		memset(code, 0, omen_pq_parts(&quant->shape));
	else
		encode_direction(quant, x, (int16 *) (x + dims), factors, code);
}

static void
own_to_pair(const OmenQuantizer *quant, const uint8 *own, uint8 *pair)
{
	memcpy(pair, own, sizeof(OmenOwnFactors));
	decode(quant, own + sizeof(OmenOwnFactors),
		   (int8 *) (pair + sizeof(OmenOwnFactors)));
}

/* --- training --- */

bool
omen_pq_sample(const OmenQuantizer *quant, const void *payload,
			   int16 *sample, int capacity, int at, float *scratch)
{
	const OmenCodeShape *shape = &quant->shape;
	uint32		dims = shape->code_dims;
	uint32		part_dims = part_dims_of(shape);
	float	   *x = (float *) TYPEALIGN(64, scratch);
	int16	   *row = (int16 *) (x + dims);
	OmenOwnFactors factors;

	Assert(at >= 0 && at < capacity);

	omen_own_load(quant, payload, x, NULL);
	if (omen_own_special_factors(dims, omen_code_kernels->max_abs(dims, x),
								 &factors))
		return false;
	form_row(dims, x, norm2_of(dims, x), row);
	for (uint32 i = 0; i < omen_pq_parts(shape); i++)
		memcpy(sample + ((Size) i * capacity + at) * part_dims,
			   row + i * part_dims, part_dims * sizeof(int16));
	return true;
}

void
omen_pq_train(OmenQuantizer *quant, int part, const int16 *sample,
			  int capacity, int nrows)
{
	uint32		part_dims = part_dims_of(&quant->shape);

	Assert(part < omen_pq_parts(&quant->shape));

	omen_kmeans_train(part_dims / 2,
					  sample + (Size) part * capacity * part_dims, nrows,
					  (int8 *) part_book(quant, part),
					  quant->biases + part * OMEN_PQ_CENTROIDS);
}

/* --- queries --- */

/* The query in 16 bits comes after what all rotated queries have */
static Size
query_size(const OmenQuantizer *quant)
{
	const OmenCodeShape *shape = &quant->shape;

	return omen_own_query_size(quant) + shape->code_dims * sizeof(int16) +
		omen_pq_parts(shape) * OMEN_PQ_CENTROIDS * sizeof(int32);
}

/*
 * Steps of a 16-bit query: as fine as the largest coordinate allows, and as a
 * sum over all of them with centroids in 32 bits does.
 */
static float
table_factor(uint32 dims, const float *q)
{
	float		largest = omen_code_kernels->max_abs(dims, q);
	double		sum = 0;

	for (uint32 i = 0; i < dims; i++)
		sum += fabsf(q[i]);

	/* rounding adds at most half a step for each coordinate */
	return (float) Min(OMEN_I16_MAX / largest,
					   (TABLE_SUM_MAX - dims) / sum);
}

/*
 * What rounding q to 16 bits takes from <a u,q>, in relation to |x| |q|: a u
 * is at most 1 / LEAST_COSINE times as long as x.
 */
static float
table_error(const OmenEncodeSums *sums, double step)
{
	double		error2 = sums->norm2 - 2 * step * sums->code_dot +
		step * step * sums->code_norm2;

	return (float) (sqrt(Max(error2, 0) / sums->norm2 + 1e-12) /
					LEAST_COSINE);
}

static void
query_init(OmenQuery *query, const void *payload)
{
	const OmenQuantizer *quant = query->quant;
	uint32		dims = quant->shape.code_dims;
	uint32		part_dims = part_dims_of(&quant->shape);
	int16	   *q;
	int32	   *tables;
	float		factor;
	OmenEncodeSums sums;

	omen_own_query_init(query, payload);
	q = (int16 *) (query->codes + dims);
	tables = (int32 *) (q + dims);
	query->tables = tables;

	/* few dimensions leave the error no room to turn: all of it counts */
	query->steer = Min(STEER / sqrtf((float) quant->shape.dims), 1.0f);
	if (!query->usable || query->norm2 == 0)
	{
		/* nothing can be said, or all products are zero */
		memset(tables, 0, omen_pq_parts(&quant->shape) * OMEN_PQ_CENTROIDS *
			   sizeof(int32));
		return;
	}

	factor = table_factor(dims, query->rotated);
	omen_code_kernels->encode_i16(dims, query->rotated, factor, q, &sums);
	query->table_step = 1 / factor;
	query->sum_error += table_error(&sums, query->table_step);
	for (uint32 i = 0; i < omen_pq_parts(&quant->shape); i++)
		omen_code_kernels->pq_table(part_dims / 2, q + i * part_dims,
									part_book(quant, i),
									tables + i * OMEN_PQ_CENTROIDS);
}

/* See the head of the file */
static OmenBounds
query_own(const OmenQuery *query, const uint8 *own)
{
	const OmenCodeShape *shape = &query->quant->shape;
	OmenOwnFactors f = omen_own_factors(own);
	int32		dot = omen_code_kernels->pq_sum(omen_pq_parts(shape),
												query->tables,
												own + sizeof(f));
	OmenBounds	bounds;

	f.error *= query->steer;
	bounds = omen_own_bounds_of(query, &f,
								f.scale * query->table_step * (float) dot);
	bounds.upper = INFINITY;
	return bounds;
}

const OmenQuantizerOps omen_quant_pq_ops = {
	.name = "pq",
	.encode_own = omen_own_encode,
	.encode_loaded = encode_loaded,
	.own_to_pair = own_to_pair,
	.pair_distance = omen_own_pair_distance,
	.pair_norm2 = omen_own_pair_norm2,
	.pair_mean_dot = omen_own_pair_mean_dot,
	.pair_block = omen_own_pair_block,
	.query_size = query_size,
	.query_init = query_init,
	.query_own = query_own,
	.query_block = omen_own_query_block,
};
