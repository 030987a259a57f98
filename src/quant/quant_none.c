/*-------------------------------------------------------------------------
 *
 * quant_none.c
 *	  Raw codes: the payload stands for itself, distances are exact.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <string.h>

#include "quant/quant_ops.h"

static OmenSparse
sparse_view(const void *payload)
{
	const OmenSparsePayload *head = payload;
	OmenSparse	view;

	view.nnz = head->nnz;
	view.indices = (const int32 *) (head + 1);
	view.values = (const float *) (view.indices + head->nnz);
	return view;
}

Size
omen_raw_size(const OmenCodeShape *shape, const void *payload)
{
	switch (shape->element)
	{
		case OMEN_ELEMENT_F32:
			return shape->dims * sizeof(float);
		case OMEN_ELEMENT_F16:
			return shape->dims * sizeof(OmenHalf);
		case OMEN_ELEMENT_BIT:
			return (shape->dims + 7) / 8;
		default:
			Assert(shape->element == OMEN_ELEMENT_SPARSE);
			return sizeof(OmenSparsePayload) +
				(Size) sparse_view(payload).nnz *
				(sizeof(int32) + sizeof(float));
	}
}

/* --- distances by element type --- */

/* Twice the cosine distance is a squared distance on the unit sphere */
static float
graph_cosine(OmenCosineParts parts)
{
	return (float) (2 * omen_cosine_distance(parts));
}

static float
distance_f32(const OmenCodeShape *shape, const float *a, const float *b)
{
	switch (shape->metric)
	{
		case OMEN_METRIC_L2:
			return omen_distance->l2_squared_f32(shape->dims, a, b);
		case OMEN_METRIC_IP:
			return -omen_distance->inner_product_f32(shape->dims, a, b);
		case OMEN_METRIC_COSINE:
			return graph_cosine(omen_distance->cosine_f32(shape->dims, a, b));
		default:
			Assert(shape->metric == OMEN_METRIC_L1);
			return omen_distance->l1_f32(shape->dims, a, b);
	}
}

static float
distance_f16(const OmenCodeShape *shape, const OmenHalf *a, const OmenHalf *b)
{
	switch (shape->metric)
	{
		case OMEN_METRIC_L2:
			return omen_distance->l2_squared_f16(shape->dims, a, b);
		case OMEN_METRIC_IP:
			return -omen_distance->inner_product_f16(shape->dims, a, b);
		case OMEN_METRIC_COSINE:
			return graph_cosine(omen_distance->cosine_f16(shape->dims, a, b));
		default:
			Assert(shape->metric == OMEN_METRIC_L1);
			return omen_distance->l1_f16(shape->dims, a, b);
	}
}

static float
distance_sparse(const OmenCodeShape *shape, OmenSparse a, OmenSparse b)
{
	switch (shape->metric)
	{
		case OMEN_METRIC_L2:
			return omen_sparse_l2_squared(a, b);
		case OMEN_METRIC_IP:
			return -omen_sparse_inner_product(a, b);
		case OMEN_METRIC_COSINE:
			return graph_cosine(omen_sparse_cosine(a, b));
		default:
			Assert(shape->metric == OMEN_METRIC_L1);
			return omen_sparse_l1(a, b);
	}
}

static float
distance_bits(const OmenCodeShape *shape, const uint8 *a, const uint8 *b)
{
	int			nbytes = (shape->dims + 7) / 8;

	if (shape->metric == OMEN_METRIC_HAMMING)
		return (float) omen_distance->hamming(nbytes, a, b);
	Assert(shape->metric == OMEN_METRIC_JACCARD);
	return (float) omen_jaccard_distance(omen_distance->jaccard(nbytes, a, b));
}

/*
 * Overflow and zero vectors yield NaN, which no order can hold: such values
 * are as far away as can be.
 */
float
omen_raw_distance(const OmenCodeShape *shape, const void *query,
				  const void *value)
{
	float		distance;

	switch (shape->element)
	{
		case OMEN_ELEMENT_F32:
			distance = distance_f32(shape, query, value);
			break;
		case OMEN_ELEMENT_F16:
			distance = distance_f16(shape, query, value);
			break;
		case OMEN_ELEMENT_SPARSE:
			distance = distance_sparse(shape, sparse_view(query),
									   sparse_view(value));
			break;
		default:
			distance = distance_bits(shape, query, value);
			break;
	}
	return isnan(distance) ? INFINITY : distance;
}

/* --- codes --- */

static Size
encode_own(const OmenQuantizer *quant, const void *payload, uint8 *own,
		   float *scratch)
{
	Size		size = omen_raw_size(&quant->shape, payload);

	memcpy(own, payload, size);
	return size;
}

static void
own_to_pair(const OmenQuantizer *quant, const uint8 *own, uint8 *pair)
{
	memcpy(pair, own, omen_raw_size(&quant->shape, own));
}

/* Values are taken as they are */
static float
pair_mean_dot(const OmenQuantizer *quant, const uint8 *pair)
{
	return 0;
}

/* The coordinate that the reduction from inner product to distance adds */
static float
lifted_coordinate(const OmenQuantizer *quant, float norm2)
{
	return sqrtf(Max(quant->max_norm2 - norm2, 0.0f));
}

static float
pair_norm2(const OmenQuantizer *quant, const uint8 *pair)
{
	return -omen_raw_distance(&quant->shape, pair, pair);
}

/* |a - b|^2 is |a|^2 + |b|^2 - 2 <a,b>, and all three are inner products */
static float
pair_inner_product(const OmenQuantizer *quant, const uint8 *a, float norm2_a,
				   const uint8 *b)
{
	float		norm2_b = pair_norm2(quant, b);
	float		dot = -omen_raw_distance(&quant->shape, a, b);
	float		lift = lifted_coordinate(quant, norm2_a) -
		lifted_coordinate(quant, norm2_b);
	float		distance = norm2_a + norm2_b - 2 * dot + lift * lift;

	return isnan(distance) ? INFINITY : Max(distance, 0.0f);
}

static void
pair_block(const OmenQuantizer *quant, const uint8 *a, const uint8 *b,
		   Size stride, int n, float *distances)
{
	if (quant->shape.metric == OMEN_METRIC_IP)
	{
		float		norm2 = pair_norm2(quant, a);

		for (int i = 0; i < n; i++)
			distances[i] = pair_inner_product(quant, a, norm2,
											  b + (Size) i * stride);
	}
	else
	{
		for (int i = 0; i < n; i++)
			distances[i] = omen_raw_distance(&quant->shape, a,
											 b + (Size) i * stride);
	}
}

static float
pair_distance(const OmenQuantizer *quant, const uint8 *a, const uint8 *b)
{
	float		distance;

	pair_block(quant, a, b, 0, 1, &distance);
	return distance;
}

static void
encode_links(const OmenQuantizer *quant, const uint8 *centre,
			 OmenLinkCode *links, int n, float *scratch)
{
	Assert(quant->shape.link_kind == OMEN_LINK_RAW);
	for (int i = 0; i < n; i++)
	{
		OmenLinkCode *link = &links[i];
		Size		size = omen_raw_size(&quant->shape, link->neighbour);

		link->f_add = 0;
		link->f_rescale = 0;
		memcpy(link->code, link->neighbour, size);
		memset(link->code + size, 0, quant->shape.link_size - size);
	}
}

/* --- queries --- */

static Size
query_size(const OmenQuantizer *quant)
{
	return 0;
}

static void
query_init(OmenQuery *query, const void *payload)
{
}

static OmenBounds
query_own(const OmenQuery *query, const uint8 *own)
{
	OmenBounds	bounds;

	bounds.estimate = omen_raw_distance(&query->quant->shape, query->raw,
										own);
	bounds.lower = bounds.estimate;
	bounds.upper = bounds.estimate;
	return bounds;
}

static void
query_block(const OmenQuery *query, const uint8 *pairs, Size stride, int n,
			float *est)
{
	for (int i = 0; i < n; i++)
		est[i] = omen_raw_distance(&query->quant->shape, query->raw,
								   pairs + (Size) i * stride);
}

static void
query_links(const OmenQuery *query, const OmenLinkBatch *batch)
{
	query_block(query, batch->codes, query->quant->shape.link_size, batch->n,
				batch->est);
}

const OmenQuantizerOps omen_quant_none_ops = {
	.name = "none",
	.encode_own = encode_own,
	.own_to_pair = own_to_pair,
	.pair_distance = pair_distance,
	.pair_norm2 = pair_norm2,
	.pair_mean_dot = pair_mean_dot,
	.pair_block = pair_block,
	.encode_links = encode_links,
	.query_size = query_size,
	.query_init = query_init,
	.query_own = query_own,
	.query_links = query_links,
	.query_block = query_block,
};
