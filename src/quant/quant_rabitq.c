/*-------------------------------------------------------------------------
 *
 * quant_rabitq.c
 *	  Link codes of one or two bits a dimension, and queries against them.
 *
 * A link code stands for r = x - c, the neighbour less the node it is linked
 * from, both as dequantized from their pair codes.  Its levels L, centred on
 * zero, point in about the direction of r.  As in RaBitQ,
 *
 *	  <p, r> is about s <p, L>		with s = |r|^2 / <L, r>
 *
 * for any p: exactly where p is parallel to r, and without bias in all other
 * directions because the rotation is random.  With p = q - c this gives
 *
 *	  |q-x|^2 = |q-c|^2 - 2 <q-c, r> + |r|^2
 *	  -<Q,X> = -<Q,C> - <q-c, r> - <c+m, r>
 *
 * of which all but |q-c|^2 or -<Q,C> ("base", known from c's own code) and
 * <L, q> is folded into two factors.  L may cover only the leading
 * coordinates; s, with |r|^2 of all of them, makes up for the rest.
 *
 * The error is in proportion to |q-c|, the part of it that is not parallel to r.
 * Inner products need not be taken with q-c: with Q = q + m and C = c + m, for any t
 *
 *	  -<Q,X> = -<Q,C> - <Q-tC, r> - t <C,r>
 *
 * whose error is in proportion to |Q-tC|.  What is folded into f_add is of t = 1, which
 * suits queries that are about as long as rows; f_add times t, and <L, Q-tm> in place
 * of <L, q>, make it that of another t.  omen_query_aim() chooses it: a long C would
 * drown what a shorter query has to say, and t = 0 is not best where all rows have a
 * large part in common.
 *
 * That part of the error which lies along C is next to nothing by all metrics, since
 * levels are moved until it is (quant_links.c); but what is next to nothing of a C that is
 * a hundred times as long as the query is not.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/quant_links.h"
#include "quant/quant_ops.h"
#include "quant/rotation.h"

/* --- queries --- */

/* Do queries choose what part of a node they are compared without? */
static bool
has_aim(const OmenCodeShape *shape)
{
	return shape->metric == OMEN_METRIC_IP &&
		shape->link_kind != OMEN_LINK_NONE;
}

/* Arranged codes; where there is an aim, what they are made of comes before them */
static Size
query_size(const OmenQuantizer *quant)
{
	const OmenCodeShape *shape = &quant->shape;

	return (has_aim(shape) ? 2 : 1) * omen_own_query_size(quant) +
		shape->link_dims + OMEN_LINK_GROUP;
}

/* A query's codes, of this scale, in the order of a link code's fields */
static void
arrange_link_codes(OmenQuery *query, const int8 *codes, float scale,
				   int8 *arranged)
{
	const OmenCodeShape *shape = &query->quant->shape;
	int			bits = omen_link_level_bits(shape);
	int			whole_bytes = OMEN_LINK_GROUP * bits / 8;
	int			bytes = omen_link_tail_bytes(shape);
	int			whole = shape->link_dims / OMEN_LINK_GROUP * OMEN_LINK_GROUP;
	int32		sum = 0;

	memcpy(arranged, codes, whole);
	memset(arranged + whole, 0, OMEN_LINK_GROUP);
	for (int i = whole; i < shape->link_dims; i++)
	{
		int			field = (i - whole) / bytes;
		int			byte = (i - whole) % bytes;

		arranged[whole + field * whole_bytes + byte] = codes[i];
	}

	for (uint32 i = 0; i < shape->link_dims; i++)
		sum += codes[i];
	query->link.codes = arranged;
	query->link.groups = whole / OMEN_LINK_GROUP;
	query->link.tail_bytes = bytes;
	query->link.stride = shape->link_size;
	query->link.step = scale;
	query->link.offset = scale * (float) sum * (bits == 2 ? 1.5f : 0.5f);
}

static void
query_init(OmenQuery *query, const void *payload)
{
	const OmenQuantizer *quant = query->quant;
	const OmenCodeShape *shape = &quant->shape;

	omen_own_query_init(query, payload);
	query->aim = query->mean_part;
	if (shape->link_kind != OMEN_LINK_NONE)
		arrange_link_codes(query, query->codes, query->factors.scale,
						   (int8 *) query->memory + query_size(quant) -
						   shape->link_dims - OMEN_LINK_GROUP);
}

static void
query_init_pair(OmenQuery *query, const uint8 *pair)
{
	uint32		dims = query->quant->shape.code_dims;

	query->codes = (int8 *) query->memory;
	query->factors = omen_own_factors(pair);
	query->aim = 1;
	memcpy(query->codes, omen_own_codes(pair), dims);
	arrange_link_codes(query, query->codes, query->factors.scale,
					   query->codes + dims);
}

/* Compare the query less this part of a node from now on */
static void
set_aim(OmenQuery *query, float aim)
{
	const OmenQuantizer *quant = query->quant;
	const OmenCodeShape *shape = &quant->shape;
	float	   *x = (float *) (query->memory + omen_own_query_size(quant));
	int8	   *codes = (int8 *) (x + shape->code_dims);
	OmenOwnFactors factors;

	for (uint32 i = 0; i < shape->code_dims; i++)
		x[i] = query->rotated[i] +
			(query->mean_part - aim) * quant->mean[i];
	omen_own_encode_i8(quant, x, &factors, codes);
	if (factors.norm2 == OMEN_UNUSABLE)
		return;
	arrange_link_codes(query, codes, factors.scale, codes + shape->code_dims);
	query->aim = aim;
}

/* The part of the nodes that leaves least of the query, by least squares */
static void
query_aim(OmenQuery *query, double dot, double norm2)
{
	const OmenCodeShape *shape = &query->quant->shape;
	float		aim = dot > 0 && norm2 > 0 ? (float) (dot / norm2) : 0;

	if (has_aim(shape) && query->usable && isfinite(aim))
		set_aim(query, aim);
}

static void
query_links(const OmenQuery *query, const OmenLinkBatch *batch)
{
	if (query->quant->shape.link_kind == OMEN_LINK_RABITQ2)
		omen_code_kernels->score_links2(&query->link, batch);
	else
		omen_code_kernels->score_links1(&query->link, batch);
	if (query->aim != 1)
	{
		/* of range codes, what is unusable has been cut to 16 bits */
		for (int i = 0; i < batch->n; i++)
			batch->est[i] += batch->f_add[i] < OMEN_UNUSABLE / 2 ?
				(query->aim - 1) * batch->f_add[i] : 0;
	}
}

const OmenQuantizerOps omen_quant_rabitq_ops = {
	.name = "rabitq",
	.encode_own = omen_own_encode,
	.encode_loaded = omen_own_encode_loaded,
	.own_to_pair = omen_own_to_pair,
	.pair_distance = omen_own_pair_distance,
	.pair_norm2 = omen_own_pair_norm2,
	.pair_mean_dot = omen_own_pair_mean_dot,
	.pair_block = omen_own_pair_block,
	.encode_links = omen_link_encode,
	.query_size = query_size,
	.query_init = query_init,
	.query_init_pair = query_init_pair,
	.query_aim = query_aim,
	.query_own = omen_own_bounds,
	.query_links = query_links,
	.query_block = omen_own_query_block,
};
