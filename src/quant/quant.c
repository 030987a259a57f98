/*-------------------------------------------------------------------------
 *
 * quant.c
 *	  Shapes of codes, quantizers and queries; the way to the kernels.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/quant_ops.h"
#include "quant/quant_pq.h"
#include "quant/rotation.h"

/*
 * Dimensions that link codes cover.  An estimate's error, in units of
 * |q-c| |r|, is sqrt((1 / 0.637 - f) / link_dims) for one bit, f being the
 * covered part of all dimensions: 0.027 at 768 dimensions, with which walks
 * are known to do well.  A slot of 32 links should fit a page of 8 kB
 * together with its own code, which costs up to 1700 dimensions little (0.027
 * at 1152 of 1536).  Longer own codes leave the page anyway.
 */
#define PAGE_ROOM			8088
#define PAGE_LINKS			32
#define LINK_OVERHEAD		12	/* a link and its factors */
#define MIN_LINK_DIMS		1024
#define MAX_LINK_DIMS		1536

/* From here on one bit a dimension steers as well as two, and is half */
#define MAX_TWO_BIT_DIMS	384

/*
 * Up to here rows are short enough to lie in the table itself, and comparing
 * with them is cheap; above, 16-bit codes make it needless.
 */
#define MAX_I8_DIMS			400

/* Longer bit strings are read from their own nodes */
#define MAX_RAW_LINK_BYTES	160

static void use_level(OmenSimdLevel level);
static OmenQuery *form_query(void *memory, const OmenQuantizer *quant);

const OmenCodeKernels *omen_code_kernels = &omen_code_kernels_generic;

/*
 * Choose the kernel table for this machine and follow later changes.  Called
 * once when the library is loaded.
 */
void
omen_quant_init_kernels(void)
{
	omen_simd_register(use_level);
}

static void
use_level(OmenSimdLevel level)
{
	const OmenCodeKernels *kernels = omen_code_kernels_of(level);

	Assert(kernels != NULL);
	omen_code_kernels = kernels;
}

const OmenCodeKernels *
omen_code_kernels_of(OmenSimdLevel level)
{
	switch (level)
	{
		case OMEN_SIMD_GENERIC:
			return &omen_code_kernels_generic;
#if defined(__x86_64__)
		case OMEN_SIMD_AVX2:
			return &omen_code_kernels_avx2;
		case OMEN_SIMD_AVX512:
			return omen_cpu_features()->avx512vnni ?
				&omen_code_kernels_vnni : &omen_code_kernels_avx512;
#endif
#if defined(__aarch64__)
		case OMEN_SIMD_NEON:
			return &omen_code_kernels_neon;
#endif
		default:
			return NULL;
	}
}

/* --- shapes --- */

static uint32
raw_size(OmenElementType element, uint32 dims)
{
	switch (element)
	{
		case OMEN_ELEMENT_F32:
			return dims * sizeof(float);
		case OMEN_ELEMENT_F16:
			return dims * sizeof(OmenHalf);
		case OMEN_ELEMENT_BIT:
			return (dims + 7) / 8;
		case OMEN_ELEMENT_SPARSE:
			break;
	}
	return 0;
}

static void
choose_raw(OmenElementType element, uint32 dims, OmenCodeShape *shape)
{
	shape->own_kind = OMEN_OWN_RAW;
	shape->link_kind = OMEN_LINK_NONE;
	shape->own_size = raw_size(element, dims);
	shape->pair_size = shape->own_size;

	if (element == OMEN_ELEMENT_BIT && shape->own_size <= MAX_RAW_LINK_BYTES)
	{
		shape->link_kind = OMEN_LINK_RAW;
		shape->link_size = (shape->own_size + 3) / 4 * 4;
	}
}

static uint32
choose_link_dims(uint32 code_dims, uint32 own_size)
{
	uint32		dims = 0;

	if (own_size < PAGE_ROOM)
	{
		uint32		room = (PAGE_ROOM - own_size) / PAGE_LINKS;

		if (room > LINK_OVERHEAD)
			dims = (room - LINK_OVERHEAD) * 8 / OMEN_LINK_GROUP *
				OMEN_LINK_GROUP;
	}
	if (dims < MIN_LINK_DIMS || dims > MAX_LINK_DIMS)
		dims = MAX_LINK_DIMS;
	return Min(code_dims, dims);
}

static void
choose_rotated(uint32 dims, bool with_links, OmenCodeShape *shape)
{
	bool		wide = with_links && dims > MAX_I8_DIMS;

	shape->code_dims = omen_rotation_dims(dims);
	shape->own_kind = wide ? OMEN_OWN_I16 : OMEN_OWN_I8;
	shape->pair_size = sizeof(OmenOwnFactors) + shape->code_dims;
	shape->own_size = sizeof(OmenOwnFactors) +
		shape->code_dims * (wide ? sizeof(int16) : sizeof(int8));

	shape->link_kind = OMEN_LINK_NONE;
	if (with_links)
	{
		bool		two_bits = dims <= MAX_TWO_BIT_DIMS;

		shape->link_kind = two_bits ? OMEN_LINK_RABITQ2 : OMEN_LINK_RABITQ1;
		shape->link_dims = choose_link_dims(shape->code_dims,
											shape->own_size);
		shape->link_size = two_bits ? shape->link_dims / 4 :
			(shape->link_dims + 31) / 32 * 4;
	}
}

static void
choose_product(uint32 dims, OmenCodeShape *shape)
{
	shape->code_dims = omen_rotation_dims(dims);
	shape->own_kind = OMEN_OWN_PQ;
	shape->own_size = sizeof(OmenOwnFactors) +
		shape->code_dims / omen_pq_part_dims(dims);
	shape->pair_size = sizeof(OmenOwnFactors) + shape->code_dims;
	shape->link_kind = OMEN_LINK_NONE;
}

bool
omen_quant_choose_shape(OmenElementType element, OmenMetric metric,
						uint32 dims, OmenQuantizerKind kind,
						OmenCodeShape *shape)
{
	bool		dense = element == OMEN_ELEMENT_F32 ||
		element == OMEN_ELEMENT_F16;
	bool		rotatable = dense &&
		(metric == OMEN_METRIC_L2 || metric == OMEN_METRIC_IP ||
		 metric == OMEN_METRIC_COSINE);

	Assert(dims > 0);
	memset(shape, 0, sizeof(*shape));
	shape->element = element;
	shape->metric = metric;
	shape->dims = dims;

	switch (kind)
	{
		case OMEN_QUANTIZER_AUTO:
			if (rotatable)
				choose_rotated(dims, true, shape);
			else
				choose_raw(element, dims, shape);
			return true;
		case OMEN_QUANTIZER_RABITQ:
		case OMEN_QUANTIZER_SQ8:
			if (!rotatable)
				return false;
			choose_rotated(dims, kind == OMEN_QUANTIZER_RABITQ, shape);
			return true;
		case OMEN_QUANTIZER_NONE:
			choose_raw(element, dims, shape);
			return true;
		case OMEN_QUANTIZER_PQ:
			if (!rotatable)
				return false;
			choose_product(dims, shape);
			return true;
	}
	return false;
}

/* Is the own code as long as codes of its kind can be? */
static bool
is_own_size_valid(const OmenCodeShape *shape)
{
	uint32		dims = shape->code_dims;
	uint32		size = shape->own_size - sizeof(OmenOwnFactors);

	if (shape->own_size <= sizeof(OmenOwnFactors))
		return false;
	if (shape->own_kind == OMEN_OWN_PQ)
		return shape->link_kind == OMEN_LINK_NONE &&
			(size == dims / 2 || size == dims / 4 || size == dims / 8);
	return size == dims * (shape->own_kind == OMEN_OWN_I16 ? sizeof(int16) :
						   sizeof(int8));
}

static bool
is_rotated_shape_valid(const OmenCodeShape *shape)
{
	uint32		link_size = 0;

	if (shape->element != OMEN_ELEMENT_F32 &&
		shape->element != OMEN_ELEMENT_F16)
		return false;
	if (shape->metric != OMEN_METRIC_L2 && shape->metric != OMEN_METRIC_IP &&
		shape->metric != OMEN_METRIC_COSINE)
		return false;

	if (shape->link_kind == OMEN_LINK_RABITQ2)
		link_size = shape->link_dims / 4;
	else if (shape->link_kind == OMEN_LINK_RABITQ1)
		link_size = (shape->link_dims + 31) / 32 * 4;
	else if (shape->link_kind != OMEN_LINK_NONE)
		return false;

	return shape->code_dims == omen_rotation_dims(shape->dims) &&
		shape->link_dims <= shape->code_dims &&
		shape->link_dims % 16 == 0 &&
		(shape->link_dims > 0) == (shape->link_kind != OMEN_LINK_NONE) &&
		is_own_size_valid(shape) &&
		shape->pair_size == sizeof(OmenOwnFactors) + shape->code_dims &&
		shape->link_size == link_size;
}

bool
omen_quant_shape_is_valid(const OmenCodeShape *shape)
{
	OmenCodeShape raw = {0};

	if (shape->dims == 0)
		return false;
	if (shape->own_kind == OMEN_OWN_I8 || shape->own_kind == OMEN_OWN_I16 ||
		shape->own_kind == OMEN_OWN_PQ)
		return is_rotated_shape_valid(shape);
	if (shape->own_kind != OMEN_OWN_RAW ||
		shape->element < OMEN_ELEMENT_F32 ||
		shape->element > OMEN_ELEMENT_SPARSE)
		return false;

	choose_raw((OmenElementType) shape->element, shape->dims, &raw);
	return shape->link_kind == raw.link_kind && shape->code_dims == 0 &&
		shape->link_dims == 0 && shape->own_size == raw.own_size &&
		shape->pair_size == raw.pair_size &&
		shape->link_size == raw.link_size;
}

/* --- quantizers --- */

Size
omen_quant_size(const OmenCodeShape *shape)
{
	Size		size = MAXALIGN(sizeof(OmenQuantizer));

	if (shape->own_kind != OMEN_OWN_RAW)
	{
		size += shape->code_dims * sizeof(float);
		size += omen_rotation_size(shape->code_dims);
	}
	if (shape->own_kind == OMEN_OWN_PQ)
		size += omen_pq_codebook_size(shape) +
			omen_pq_parts(shape) * OMEN_PQ_CENTROIDS * sizeof(int32);
	return size;
}

/* All but the mean and a trained codebook */
static OmenQuantizer *
init_quantizer(void *memory, const OmenCodeShape *shape, float max_norm2)
{
	OmenQuantizer *quant = memory;

	memset(quant, 0, sizeof(*quant));
	quant->shape = *shape;
	quant->max_norm2 = max_norm2;
	quant->ops = &omen_quant_none_ops;
	if (shape->own_kind != OMEN_OWN_RAW)
	{
		char	   *rest = (char *) memory + MAXALIGN(sizeof(OmenQuantizer));

		quant->ops = &omen_quant_rabitq_ops;
		quant->mean = (float *) rest;
		memset(quant->mean, 0, shape->code_dims * sizeof(float));
		rest = (char *) (quant->mean + shape->code_dims);
		if (shape->own_kind == OMEN_OWN_PQ)
		{
			quant->ops = &omen_quant_pq_ops;
			quant->biases = (int32 *) rest;
			quant->codebook = (int8 *) (quant->biases + omen_pq_parts(shape) *
										OMEN_PQ_CENTROIDS);
			omen_pq_init_codebook(quant);
			rest = (char *) quant->codebook + omen_pq_codebook_size(shape);
		}
		quant->signs = (uint8 *) rest;
		omen_rotation_init(quant->signs, shape->code_dims, shape->seed);
	}
	return quant;
}

/* Any mean is correct; one that is not finite or too long is dropped */
static void
finish_mean(OmenQuantizer *quant)
{
	double		norm2 = 0;

	for (uint32 i = 0; i < quant->shape.code_dims; i++)
		norm2 += (double) quant->mean[i] * quant->mean[i];
	if (!(norm2 <= OMEN_USABLE_NORM2))
	{
		memset(quant->mean, 0, quant->shape.code_dims * sizeof(float));
		norm2 = 0;
	}
	quant->mean_norm2 = (float) norm2;
}

OmenQuantizer *
omen_quant_init(void *memory, const OmenCodeShape *shape, const float *mean,
				float max_norm2)
{
	OmenQuantizer *quant = init_quantizer(memory, shape, max_norm2);

	if (quant->mean != NULL && mean != NULL)
	{
		memcpy(quant->mean, mean, shape->dims * sizeof(float));
		omen_rotation_apply(quant->signs, shape->code_dims, quant->mean);
		finish_mean(quant);
	}
	return quant;
}

OmenQuantizer *
omen_quant_init_rotated(void *memory, const OmenCodeShape *shape,
						const float *rotated_mean, float max_norm2)
{
	OmenQuantizer *quant = init_quantizer(memory, shape, max_norm2);

	if (quant->mean != NULL && rotated_mean != NULL)
	{
		memcpy(quant->mean, rotated_mean, shape->code_dims * sizeof(float));
		finish_mean(quant);
	}
	return quant;
}

Size
omen_quant_payload_size(const OmenQuantizer *quant, const void *payload)
{
	return omen_raw_size(&quant->shape, payload);
}

Size
omen_quant_encode_own(const OmenQuantizer *quant, const void *payload,
					  uint8 *own, float *scratch)
{
	return quant->ops->encode_own(quant, payload, own, scratch);
}

void
omen_quant_own_to_pair(const OmenQuantizer *quant, const uint8 *own,
					   uint8 *pair)
{
	quant->ops->own_to_pair(quant, own, pair);
}

Size
omen_quant_fine_size(const OmenCodeShape *shape)
{
	return shape->own_kind == OMEN_OWN_PQ ? shape->pair_size : 0;
}

void
omen_quant_encode_fine(const OmenQuantizer *quant, const void *payload,
					   uint8 *pair, float *scratch)
{
	Assert(omen_quant_fine_size(&quant->shape) > 0);

	omen_own_encode_fine(quant, payload, pair, scratch);
}

float
omen_quant_pair_distance(const OmenQuantizer *quant, const uint8 *a,
						 const uint8 *b)
{
	return quant->ops->pair_distance(quant, a, b);
}

float
omen_quant_pair_norm2(const OmenQuantizer *quant, const uint8 *pair)
{
	Assert(quant->shape.metric == OMEN_METRIC_IP);
	return quant->ops->pair_norm2(quant, pair);
}

float
omen_quant_pair_mean_dot(const OmenQuantizer *quant, const uint8 *pair)
{
	Assert(quant->shape.metric == OMEN_METRIC_IP);
	return quant->ops->pair_mean_dot(quant, pair);
}

void
omen_quant_pair_block(const OmenQuantizer *quant, const uint8 *a,
					  const uint8 *b, Size stride, int n, float *distances)
{
	quant->ops->pair_block(quant, a, b, stride, n, distances);
}

void
omen_quant_encode_link(const OmenQuantizer *quant, const uint8 *centre,
					   const uint8 *neighbour, float *f_add,
					   float *f_rescale, uint8 *code, float *scratch)
{
	OmenLinkCode link = {.neighbour = neighbour,.code = code};

	quant->ops->encode_links(quant, centre, &link, 1, scratch);
	*f_add = link.f_add;
	*f_rescale = link.f_rescale;
}

void
omen_quant_encode_links(const OmenQuantizer *quant, const uint8 *centre,
						OmenLinkCode *links, int n, float *scratch)
{
	for (int i = 0; i < n; i += OMEN_LINKS_AT_A_TIME)
		quant->ops->encode_links(quant, centre, links + i,
								 Min(n - i, OMEN_LINKS_AT_A_TIME), scratch);
}

/* --- queries --- */

#define QUERY_ALIGN 64

Size
omen_query_size(const OmenQuantizer *quant)
{
	return sizeof(OmenQuery) + QUERY_ALIGN + quant->ops->query_size(quant);
}

OmenQuery *
omen_query_init(void *memory, const OmenQuantizer *quant, const void *payload)
{
	OmenQuery  *query = form_query(memory, quant);

	query->raw = payload;
	quant->ops->query_init(query, payload);
	return query;
}

OmenQuery *
omen_query_init_pair(void *memory, const OmenQuantizer *quant,
					 const uint8 *pair)
{
	OmenQuery  *query = form_query(memory, quant);

	quant->ops->query_init_pair(query, pair);
	return query;
}

void
omen_query_aim(OmenQuery *query, double dot, double norm2)
{
	if (query->quant->ops->query_aim != NULL)
		query->quant->ops->query_aim(query, dot, norm2);
}

static OmenQuery *
form_query(void *memory, const OmenQuantizer *quant)
{
	OmenQuery  *query = memory;

	memset(query, 0, sizeof(*query));
	query->quant = quant;
	query->memory = (uint8 *)
		TYPEALIGN(QUERY_ALIGN, (char *) memory + sizeof(OmenQuery));
	return query;
}

OmenBounds
omen_query_own(const OmenQuery *query, const uint8 *own)
{
	return query->quant->ops->query_own(query, own);
}

void
omen_query_links(const OmenQuery *query, float base, int n,
				 const float *f_add, const float *f_rescale,
				 const uint8 *codes, float *est)
{
	OmenLinkBatch batch;

	batch.n = n;
	batch.base = base;
	batch.f_add = f_add;
	batch.f_rescale = f_rescale;
	batch.codes = codes;
	batch.est = est;
	query->quant->ops->query_links(query, &batch);
}

void
omen_query_block(const OmenQuery *query, const uint8 *pairs, Size stride,
				 int n, float *est)
{
	query->quant->ops->query_block(query, pairs, stride, n, est);
}

float
omen_query_exact(const OmenQuery *query, const void *payload)
{
	return omen_raw_distance(&query->quant->shape, query->raw, payload);
}
