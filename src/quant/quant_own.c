/*-------------------------------------------------------------------------
 *
 * quant_own.c
 *	  Own and pair codes of rotated vectors: integers on a grid of the
 *	  vector's own, with a correction that makes inner products unbiased.
 *
 * With u the integers and x the vector, a = |x|^2 / <u,x> makes the error
 * e = x - a u orthogonal to x.  Then
 *
 *	  <q,x> = a <u,q> + <e,q>
 *
 * and for the squared distance d^2 to q and its estimate
 * s = |q|^2 + |x|^2 - 2 a <u,q>
 *
 *	  d^2 - s = -2 <e,q> = -2 <e,q-x>,		so |d^2 - s| <= 2 |e| d
 *
 * which bounds d between sqrt(s + |e|^2) - |e| and sqrt(s + |e|^2) + |e|.
 * For the inner product, <e,q> = <e,p> where p is the part of q orthogonal
 * to x, so that t = <e,q> obeys t^2 <= |e|^2 (|q|^2 - (c + t)^2 / |x|^2) with
 * c = a <u,q>, a quadratic inequality.
 *
 * The bounds are about what distance kernels return for the original
 * vectors, so three kinds of rounding widen them: of the rotation of either
 * vector, relative to the length before centring; of sums, here and in the
 * distance kernels, relative to the product of lengths; and underflow.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/quant_ops.h"
#include "quant/rotation.h"

/*
 * Below, squares of coordinates leave the range of floats, and so does what
 * makes codes of 16 bits of them
 */
#define SMALLEST_COORDINATE 1e-34f

/* More than what underflow can take from a distance */
#define UNDERFLOW_SLACK		1e-30f

StaticAssertDecl(sizeof(OmenOwnFactors) == 16, "factors are stored on disk");

/* --- encoding --- */

/* Eight sums: fixed order, and no addition waits for the one before */
static double
square_sum(uint32 dims, const float *x)
{
	double		sums[8] = {0};
	double		total = 0;

	for (uint32 i = 0; i + 8 <= dims; i += 8)
	{
		for (int j = 0; j < 8; j++)
			sums[j] += (double) x[i + j] * x[i + j];
	}
	for (uint32 i = dims / 8 * 8; i < dims; i++)
		total += (double) x[i] * x[i];
	for (int j = 0; j < 8; j++)
		total += sums[j];
	return total;
}

static void
normalize(uint32 dims, float *x)
{
	double		norm2 = square_sum(dims, x);

	if (norm2 > 0)
	{
		double		factor = 1 / sqrt(norm2);

		for (uint32 i = 0; i < dims; i++)
			x[i] = (float) (x[i] * factor);
	}
}

/*
 * -0 counts as 0.  Products carry upwards only, so the highest bits are taken:
 * they depend on all of all values, on the signs as well.
 */
static uint32
hash_floats(uint32 n, const float *x)
{
	uint64		hash = n;

	for (uint32 i = 0; i < n; i++)
	{
		float		value = x[i] + 0.0f;
		uint32		bits;

		memcpy(&bits, &value, sizeof(bits));
		hash = (hash ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
	}
	return (uint32) (hash >> 48);
}

/* As omen_own_load(), before the vector is centred */
static void
load_rotated(const OmenQuantizer *quant, const void *payload, float *x,
			 uint32 *hash)
{
	const OmenCodeShape *shape = &quant->shape;

	if (shape->element == OMEN_ELEMENT_F16)
		omen_distance->half_to_float(shape->dims, payload, x);
	else
		memcpy(x, payload, shape->dims * sizeof(float));
	if (shape->metric == OMEN_METRIC_COSINE)
		normalize(shape->dims, x);
	if (hash != NULL)
		*hash = hash_floats(shape->dims, x);
	memset(x + shape->dims, 0,
		   (shape->code_dims - shape->dims) * sizeof(float));
	omen_rotation_apply(quant->signs, shape->code_dims, x);
}

/*
 * The centred rotated vector of a payload; x[code_dims].  Elements may be
 * infinite or NaN if the payload's were near the limits of floats.  "hash",
 * if not NULL, is for omen_own_tag(): of the values before, since the rotation
 * rounds off what is small beside the vector's length.
 */
void
omen_own_load(const OmenQuantizer *quant, const void *payload, float *x,
			  uint32 *hash)
{
	load_rotated(quant, payload, x, hash);
	for (uint32 i = 0; i < quant->shape.code_dims; i++)
		x[i] -= quant->mean[i];
}

/*
 * Factors from what encoding summed up.  The error is computed for the
 * rounded scale, so only its own rounding must be made up for.
 */
void
omen_own_form_factors(const OmenQuantizer *quant, const float *x,
					  const OmenEncodeSums *sums, OmenOwnFactors *factors)
{
	double		scale;
	double		error2;

	factors->norm2 = (float) sums->norm2;
	factors->scale = (float) (sums->norm2 / sums->code_dot);
	scale = factors->scale;
	error2 = sums->norm2 - 2 * scale * sums->code_dot +
		scale * scale * sums->code_norm2;
	/* of 2^-53, relative to norm2, there are less than dims roundings */
	error2 = Max(error2, 0) + ldexp(sums->norm2, -50) * 8;
	factors->error = (float) (sqrt(error2) * (1 + 1e-6));
	factors->mean_dot = (float)
		omen_code_kernels->dot_f32(quant->shape.code_dims, quant->mean, x);
}

/*
 * Handle vectors that no grid fits; codes are already zero.  Returns false
 * for all others.  A tiny vector counts as its own error, twice over because
 * that error is not orthogonal to it.
 */
bool
omen_own_special_factors(uint32 dims, float largest, OmenOwnFactors *factors)
{
	memset(factors, 0, sizeof(*factors));
	if (!(largest * largest * dims <= OMEN_USABLE_NORM2))
	{
		factors->norm2 = OMEN_UNUSABLE;
		return true;
	}
	if (largest < SMALLEST_COORDINATE)
	{
		factors->error = 2 * largest * sqrtf((float) dims);
		return true;
	}
	return false;
}

void
omen_own_encode_i8(const OmenQuantizer *quant, const float *x,
				   OmenOwnFactors *factors, int8 *codes)
{
	uint32		dims = quant->shape.code_dims;
	float		largest = omen_code_kernels->max_abs(dims, x);
	OmenEncodeSums sums;

	if (omen_own_special_factors(dims, largest, factors))
	{
		memset(codes, 0, dims * sizeof(int8));
		return;
	}
	omen_code_kernels->encode_i8(dims, x, OMEN_I8_MAX / largest, codes, &sums);
	omen_own_form_factors(quant, x, &sums, factors);
}

static void
encode_i16(const OmenQuantizer *quant, const float *x,
		   OmenOwnFactors *factors, int16 *codes)
{
	uint32		dims = quant->shape.code_dims;
	float		largest = omen_code_kernels->max_abs(dims, x);
	OmenEncodeSums sums;

	if (omen_own_special_factors(dims, largest, factors))
	{
		memset(codes, 0, dims * sizeof(int16));
		return;
	}
	omen_code_kernels->encode_i16(dims, x, OMEN_I16_MAX / largest, codes,
								  &sums);
	omen_own_form_factors(quant, x, &sums, factors);
}

/*
 * Rows with equal codes share a node and count as equally far.  Vectors that
 * differ only below the code's resolution, like (1000, 1002) and (1002, 1000),
 * can have the same code and factors; so the last bits of the error, which is
 * an upper bound and may be larger by a sixtieth, tell them apart.
 */
void
omen_own_tag(uint32 hash, OmenOwnFactors *factors)
{
	uint32		bits;

	memcpy(&bits, &factors->error, sizeof(bits));
	bits = ((bits >> 16) + 1) << 16 | (hash & 0xFFFF);
	memcpy(&factors->error, &bits, sizeof(bits));
}

void
omen_own_encode_loaded(const OmenQuantizer *quant, float *x,
					   OmenOwnFactors *factors, uint8 *code)
{
	if (quant->shape.own_kind == OMEN_OWN_I16)
		encode_i16(quant, x, factors, (int16 *) code);
	else
		omen_own_encode_i8(quant, x, factors, (int8 *) code);
}

/* Own codes of all kinds */
Size
omen_own_encode(const OmenQuantizer *quant, const void *payload, uint8 *own,
				float *scratch)
{
	/* the rotation's loads and stores must not straddle cache lines */
	float	   *x = (float *) TYPEALIGN(64, scratch);
	OmenOwnFactors factors;
	uint32		hash;

	omen_own_load(quant, payload, x, &hash);
	quant->ops->encode_loaded(quant, x, &factors, own + sizeof(factors));
	omen_own_tag(hash, &factors);
	memcpy(own, &factors, sizeof(factors));
	return quant->shape.own_size;
}

/* A pair code of 8 bits, whatever the own code */
void
omen_own_encode_fine(const OmenQuantizer *quant, const void *payload,
					 uint8 *pair, float *scratch)
{
	float	   *x = (float *) TYPEALIGN(64, scratch);
	OmenOwnFactors factors;

	omen_own_load(quant, payload, x, NULL);
	omen_own_encode_i8(quant, x, &factors, (int8 *) (pair + sizeof(factors)));
	memcpy(pair, &factors, sizeof(factors));
}

/* Sums of products of so many 8-bit and 16-bit codes fit 32 bits */
#define SUM_BLOCK 256

/* The upper byte, rounded; sums of products with the wide code and itself */
static void
round_to_i8(uint32 dims, const int16 *wide, int8 *codes, int64 *cross,
			int64 *norm2)
{
	*cross = 0;
	*norm2 = 0;
	for (uint32 start = 0; start < dims; start += SUM_BLOCK)
	{
		uint32		end = Min(start + SUM_BLOCK, dims);
		int32		block_cross = 0;
		int32		block_norm2 = 0;

		for (uint32 i = start; i < end; i++)
		{
			int16		code = (int16) (wide[i] + 128) >> 8;

			codes[i] = (int8) code;
			block_cross += code * wide[i];
			block_norm2 += code * code;
		}
		*cross += block_cross;
		*norm2 += block_norm2;
	}
}

/*
 * From 16 to 8 bits.  The scale makes up for the coarser code as in
 * omen_own_form_factors; the errors of both steps add up.  The 16-bit code stands for
 * a vector of squared length |x|^2 + |e|^2, for e is orthogonal to x.
 */
static void
drop_to_i8(uint32 dims, const int16 *wide, OmenOwnFactors *factors,
		   int8 *codes)
{
	double		wide_scale = factors->scale;
	double		wide_error = factors->error;
	double		scale;
	double		error2;
	int64		cross;
	int64		norm2;

	round_to_i8(dims, wide, codes, &cross, &norm2);
	if (cross == 0)				/* all zero, see omen_own_special_factors */
		return;
	factors->scale = (float) (factors->norm2 / (wide_scale * cross));
	scale = factors->scale;
	error2 = factors->norm2 + wide_error * wide_error -
		2 * scale * wide_scale * cross + scale * scale * norm2;
	/* the factors are floats, whose rounding is relative to norm2 */
	error2 = Max(error2, 0) + ldexp(factors->norm2, -20);
	factors->error = (float) ((sqrt(error2) + wide_error) * (1 + 1e-6));
}

void
omen_own_to_pair(const OmenQuantizer *quant, const uint8 *own, uint8 *pair)
{
	OmenOwnFactors factors = omen_own_factors(own);

	if (quant->shape.own_kind != OMEN_OWN_I16)
	{
		memcpy(pair, own, quant->shape.pair_size);
		return;
	}
	drop_to_i8(quant->shape.code_dims, (const int16 *) (own + sizeof(factors)),
			   &factors, (int8 *) (pair + sizeof(factors)));
	memcpy(pair, &factors, sizeof(factors));
}

/* --- another mean --- */

void
omen_quant_load(const OmenQuantizer *quant, const void *payload, float *x)
{
	omen_own_load(quant, payload, x, NULL);
}

/* What a pair code stands for, less another mean; false if for no vector */
static bool
load_shifted(const OmenQuantizer *from, const OmenQuantizer *to,
			 const uint8 *pair, float *x)
{
	OmenOwnFactors factors = omen_own_factors(pair);
	const int8 *codes = omen_own_codes(pair);

	for (uint32 i = 0; i < from->shape.code_dims; i++)
		x[i] = factors.scale * codes[i] + (from->mean[i] - to->mean[i]);
	return factors.norm2 != OMEN_UNUSABLE;
}

void
omen_quant_shift_own(const OmenQuantizer *from, const OmenQuantizer *to,
					 const uint8 *own, uint8 *shifted, float *scratch)
{
	float	   *x = (float *) TYPEALIGN(64, scratch);
	uint8	   *pair = (uint8 *) (x + from->shape.code_dims);
	OmenOwnFactors factors;

	from->ops->own_to_pair(from, own, pair);
	if (!load_shifted(from, to, pair, x))
	{
		memcpy(shifted, own, from->shape.own_size);
		return;
	}
	to->ops->encode_loaded(to, x, &factors, shifted + sizeof(factors));
	factors.error = INFINITY;
	memcpy(shifted, &factors, sizeof(factors));
}

void
omen_quant_shift_pair(const OmenQuantizer *from, const OmenQuantizer *to,
					  const uint8 *pair, uint8 *shifted, float *scratch)
{
	float	   *x = (float *) TYPEALIGN(64, scratch);
	OmenOwnFactors factors;

	if (!load_shifted(from, to, pair, x))
	{
		memcpy(shifted, pair, from->shape.pair_size);
		return;
	}
	omen_own_encode_i8(to, x, &factors, (int8 *) (shifted + sizeof(factors)));
	memcpy(shifted, &factors, sizeof(factors));
}

void
omen_quant_blank_own(const OmenQuantizer *quant, uint8 *own)
{
	OmenOwnFactors factors = {.error = INFINITY};

	memset(own, 0, quant->shape.own_size);
	memcpy(own, &factors, sizeof(factors));
}

/* --- centres --- */

void
omen_quant_add_to_centre(const OmenQuantizer *quant, const uint8 *pair,
						 float *sum)
{
	OmenOwnFactors factors = omen_own_factors(pair);
	const int8 *codes = omen_own_codes(pair);

	Assert(quant->shape.own_kind != OMEN_OWN_RAW);

	for (uint32 i = 0; i < quant->shape.code_dims; i++)
		sum[i] += factors.scale * codes[i];
}

void
omen_quant_form_centre(const OmenQuantizer *quant, float *sum, uint32 n,
					   uint8 *pair)
{
	OmenOwnFactors factors;

	for (uint32 i = 0; i < quant->shape.code_dims; i++)
		sum[i] /= n;
	omen_own_encode_i8(quant, sum, &factors,
					   (int8 *) (pair + sizeof(factors)));
	memcpy(pair, &factors, sizeof(factors));
}

/* --- distances of pairs --- */

/* The coordinate that the reduction from inner product to distance adds */
static float
lifted_coordinate(const OmenQuantizer *quant, const OmenOwnFactors *factors)
{
	return sqrtf(Max(quant->max_norm2 - omen_own_norm2(quant, factors), 0.0f));
}

void
omen_own_pair_block(const OmenQuantizer *quant, const uint8 *a,
					const uint8 *b, Size stride, int n, float *distances)
{
	OmenOwnFactors factors = omen_own_factors(a);
	OmenBlockForm form = {0};

	form.codes = omen_own_codes(a);
	form.constant = factors.norm2;
	form.norm2_weight = 1;
	form.dot_weight = -2 * factors.scale;
	omen_code_kernels->score_block(quant->shape.code_dims, &form, b, stride,
								   n, distances);

	if (quant->shape.metric == OMEN_METRIC_IP)
	{
		float		lifted = lifted_coordinate(quant, &factors);

		for (int i = 0; i < n; i++)
		{
			OmenOwnFactors other = omen_own_factors(b + (Size) i * stride);
			float		lift = lifted - lifted_coordinate(quant, &other);

			distances[i] += lift * lift;
		}
	}
}

float
omen_own_pair_distance(const OmenQuantizer *quant, const uint8 *a,
					   const uint8 *b)
{
	OmenOwnFactors fa = omen_own_factors(a);
	OmenOwnFactors fb = omen_own_factors(b);
	int32		dot = omen_code_kernels->dot_i8(quant->shape.code_dims,
												omen_own_codes(a),
												omen_own_codes(b));
	float		distance = fa.norm2 + fb.norm2 -
		2 * fa.scale * fb.scale * (float) dot;

	distance = Max(distance, 0.0f);
	if (quant->shape.metric == OMEN_METRIC_IP)
	{
		float		lift = lifted_coordinate(quant, &fa) -
			lifted_coordinate(quant, &fb);

		distance += lift * lift;
	}
	return distance;
}

float
omen_own_pair_norm2(const OmenQuantizer *quant, const uint8 *pair)
{
	OmenOwnFactors factors = omen_own_factors(pair);

	return omen_own_norm2(quant, &factors);
}

float
omen_own_pair_mean_dot(const OmenQuantizer *quant, const uint8 *pair)
{
	return omen_own_factors(pair).mean_dot + quant->mean_norm2;
}

/* --- queries --- */

/* What omen_own_query_init() lays out at the start of the query's memory */
Size
omen_own_query_size(const OmenQuantizer *quant)
{
	return quant->shape.code_dims * (sizeof(float) + sizeof(int8));
}

/*
 * Worst case of a float sum, in relation to the sum of absolute values: half
 * an ulp for each term that goes into the same partial sum, and some for the
 * terms and for adding up partial sums.  The distance kernels split their
 * sums as ours do.
 */
static float
relative_sum_error(uint32 dims)
{
	return ldexpf((float) (dims / omen_code_kernels->sums + 16), -24);
}

/*
 * How much of the mean to take off the query.  Distances need all of it.  Inner
 * products do not, as <Q,x> = <Q-tm,x> + t <m,x> for any t, and errors are in
 * proportion to |Q-tm|: that makes it least.  Of a query that is short beside the
 * mean, all of it would leave little but -m.
 */
static float
choose_mean_part(const OmenQuantizer *quant, const float *rotated)
{
	float		part;

	if (quant->shape.metric != OMEN_METRIC_IP)
		return 1;
	part = (float) (omen_code_kernels->dot_f32(quant->shape.code_dims,
											   quant->mean, rotated) /
					quant->mean_norm2);
	return isfinite(part) ? part : 0;
}

void
omen_own_query_init(OmenQuery *query, const void *payload)
{
	const OmenQuantizer *quant = query->quant;
	uint32		dims = quant->shape.code_dims;

	query->rotated = (float *) query->memory;
	query->codes = (int8 *) (query->rotated + dims);
	load_rotated(quant, payload, query->rotated, NULL);
	query->mean_part = choose_mean_part(quant, query->rotated);
	for (uint32 i = 0; i < dims; i++)
		query->rotated[i] -= query->mean_part * quant->mean[i];
	omen_own_encode_i8(quant, query->rotated, &query->factors, query->codes);

	query->usable = query->factors.norm2 != OMEN_UNUSABLE;
	query->norm2 = query->factors.norm2;
	query->norm = sqrtf(query->norm2) + query->factors.error;
	query->mean_norm = fabsf(query->mean_part) * sqrtf(quant->mean_norm2);
	query->mean_dot = query->factors.mean_dot +
		query->mean_part * quant->mean_norm2;
	query->sum_error = relative_sum_error(dims);
	query->rotation_error = omen_rotation_error(dims);
}

/* Estimates from pair codes */
void
omen_own_query_block(const OmenQuery *query, const uint8 *pairs, Size stride,
					 int n, float *est)
{
	OmenBlockForm form = {0};

	form.codes = query->codes;
	if (query->quant->shape.metric == OMEN_METRIC_IP)
	{
		form.constant = -query->mean_dot;
		form.mean_dot_weight = -query->mean_part;
		form.dot_weight = -query->factors.scale;
		form.minimum = -INFINITY;
	}
	else
	{
		form.constant = query->norm2;
		form.norm2_weight = 1;
		form.dot_weight = -2 * query->factors.scale;
		form.minimum = 0;
	}
	omen_code_kernels->score_block(query->quant->shape.code_dims, &form, pairs,
								   stride, n, est);
}

/* --- bounds --- */

/* What is known of the distance: nothing */
static OmenBounds
no_bounds(const OmenQuery *query)
{
	OmenBounds	bounds;

	bounds.estimate = INFINITY;
	bounds.lower = query->quant->shape.metric == OMEN_METRIC_IP ?
		-INFINITY : 0.0f;
	bounds.upper = INFINITY;
	return bounds;
}

/* The estimate from a code whose error is not known; dot is a <u,q> */
static OmenBounds
estimate_only(const OmenQuery *query, const OmenOwnFactors *f, float dot)
{
	OmenBounds	bounds = no_bounds(query);

	if (query->quant->shape.metric == OMEN_METRIC_IP)
		bounds.estimate = -(dot + query->mean_dot +
							query->mean_part * f->mean_dot);
	else
		bounds.estimate = Max(query->norm2 + f->norm2 - 2 * dot, 0.0f);
	return bounds;
}

/* dot is a <u,q> */
static OmenBounds
bound_l2(const OmenQuery *query, const OmenOwnFactors *f, float dot)
{
	float		norm = sqrtf(f->norm2);
	float		norms2 = query->norm2 + f->norm2;
	float		sum_slack = query->sum_error * norms2;
	float		slack = UNDERFLOW_SLACK;
	float		error2 = f->error * f->error;
	float		reach = f->error + query->rotation_error *
		(query->norm + norm + 2 * query->mean_norm);
	OmenBounds	bounds;
	float		estimate = norms2 - 2 * dot;
	float		low;
	float		high;

	/* a cosine's rounding is relative to the unit, not to the distance */
	if (query->quant->shape.metric == OMEN_METRIC_COSINE)
		slack += 4 * query->sum_error;

	low = sqrtf(Max(estimate - sum_slack + error2, 0.0f)) - reach;
	high = sqrtf(Max(estimate + sum_slack + error2, 0.0f)) + reach;
	low = Max(low, 0.0f);
	bounds.estimate = Max(estimate, 0.0f);
	bounds.lower = low * low * (1 - 2 * query->sum_error) - slack;
	bounds.lower = Max(bounds.lower, 0.0f);
	bounds.upper = high * high * (1 + 2 * query->sum_error) + slack;
	return bounds;
}

/* The roots of the quadratic inequality for <e,q>, see the file's head */
static OmenBounds
bound_inner_product(const OmenQuery *query, const OmenOwnFactors *f, float dot)
{
	float		norm = sqrtf(f->norm2);
	float		centre = dot + query->mean_dot +
		query->mean_part * f->mean_dot;
	float		slack = 2 * (query->rotation_error + query->sum_error) *
		(query->norm + query->mean_norm) *
		(norm + sqrtf(query->quant->mean_norm2));
	float		least = -f->error * query->norm;
	float		most = f->error * query->norm;
	OmenBounds	bounds;

	if (f->norm2 > 0 && f->error < norm)
	{
		float		ratio = f->error * f->error / f->norm2;
		float		along = dot / norm; /* length of q in x's direction */
		float		square = query->norm2 * (1 + ratio) - along * along;
		float		spread = f->error * sqrtf(Max(square, 0.0f));

		least = (-dot * ratio - spread) / (1 + ratio);
		most = (-dot * ratio + spread) / (1 + ratio);
	}
	slack += UNDERFLOW_SLACK;
	bounds.lower = -(centre + most) - slack;
	bounds.upper = -(centre + least) + slack;
	/* the bounds may know better: <q,x> cannot exceed |q| |x| */
	bounds.estimate = Min(Max(-centre, bounds.lower), bounds.upper);
	return bounds;
}

/* Bounds from a vector's factors and dot, a <u,q> */
OmenBounds
omen_own_bounds_of(const OmenQuery *query, const OmenOwnFactors *factors,
				   float dot)
{
	if (!query->usable || factors->norm2 == OMEN_UNUSABLE)
		return no_bounds(query);
	if (unlikely(isinf(factors->error)))
		return estimate_only(query, factors, dot);
	return query->quant->shape.metric == OMEN_METRIC_IP ?
		bound_inner_product(query, factors, dot) :
		bound_l2(query, factors, dot);
}

OmenBounds
omen_own_bounds(const OmenQuery *query, const uint8 *own)
{
	const OmenCodeShape *shape = &query->quant->shape;
	OmenOwnFactors f = omen_own_factors(own);
	float		dot;

	if (shape->own_kind == OMEN_OWN_I16)
		dot = omen_code_kernels->dot_i16_f32(shape->code_dims,
											 (const int16 *) (own + sizeof(f)),
											 query->rotated);
	else
		dot = omen_code_kernels->dot_i8_f32(shape->code_dims,
											omen_own_codes(own),
											query->rotated);
	return omen_own_bounds_of(query, &f, dot * f.scale);
}
