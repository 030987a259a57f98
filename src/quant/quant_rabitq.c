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
 * By cosine Q, C and X have length 1, so that 2 <C,r> = -|r|^2 is known, and likewise
 *
 *	  |q-x|^2 = |q-c|^2 - 2 <Q-tC, r> + t |r|^2
 *
 * for any t: once more, f_add times t, and <L, Q-tm>.  |Q-tC|^2 is least, 1 - t^2, for
 * t = <Q,C>, and 2 - 2t where all of C is taken off: much more if the query is far from
 * all rows, as a text is from images.  By L2 lengths differ, and nothing is known of
 * <C,r> but what its estimate says.
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
 * Step of the uniform quantizer of four levels that suits a normal
 * distribution best, in standard deviations (Max, 1960)
 */
#define TWO_BIT_STEP		0.9957f

/*
 * Cosine: a query's aim may leave so much more of it, squared, than the best one, which
 * makes the error larger by a fifth.  So nothing changes for queries within 66 degrees
 * of the nodes they come to, and few others are aimed twice.
 */
#define AIM_SLACK			(3.0f / 7)

static int
level_bits(const OmenCodeShape *shape)
{
	return shape->link_kind == OMEN_LINK_RABITQ2 ? 2 : 1;
}

/* Bytes of the last, partial group of a link code; 0 if there is none */
static int
tail_bytes(const OmenCodeShape *shape)
{
	int			bits = level_bits(shape);
	int			left = shape->link_dims % OMEN_LINK_GROUP;

	return (left * bits + 31) / 32 * 4;
}

/* --- encoding --- */

/*
 * Pack so many bytes, eight at most, of a group that has "bytes".  Levels are bytes
 * whose bits stay in their byte when shifted, so all go at a time.
 */
static pg_attribute_always_inline void
pack_word(const uint8 *levels, int bytes, int bits, int size, uint8 *code)
{
	uint64		packed = 0;

	for (int k = 0; k < 8 / bits; k++)
	{
		uint64		word = 0;

		memcpy(&word, levels + k * bytes, size);
		packed |= word << (k * bits);
	}
	memcpy(code, &packed, size);
}

/*
 * Pack one group into "bytes" bytes, a multiple of four; see quant_kernels.h.
 * Inlined for each number of bits.
 */
static pg_attribute_always_inline void
pack_group(const uint8 *levels, int bytes, int bits, uint8 *code)
{
	int			j = 0;

	for (; j + 8 <= bytes; j += 8)
		pack_word(levels + j, bytes, bits, 8, code + j);
	if (j < bytes)
		pack_word(levels + j, bytes, bits, 4, code + j);
}

static pg_attribute_always_inline void
pack_groups(const OmenCodeShape *shape, const uint8 *levels, int bits,
			uint8 *code)
{
	int			bytes = OMEN_LINK_GROUP * bits / 8;
	int			groups = shape->link_dims / OMEN_LINK_GROUP;

	for (int g = 0; g < groups; g++)
		pack_group(levels + g * OMEN_LINK_GROUP, bytes, bits,
				   code + g * bytes);
	pack_group(levels + groups * OMEN_LINK_GROUP, tail_bytes(shape), bits,
			   code + groups * bytes);
}

/* levels must be zero from link_dims to the end of the last group */
static void
pack_levels(const OmenCodeShape *shape, const uint8 *levels, uint8 *code)
{
	if (level_bits(shape) == 2)
		pack_groups(shape, levels, 2, code);
	else
		pack_groups(shape, levels, 1, code);
}

/* A link while it is encoded */
typedef struct Encoding
{
	OmenResidualInput input;
	float	   *r;				/* the residual: code_dims */
	uint8	   *levels;			/* as many bytes as groups need */
	OmenLinkSums sums;
	bool		usable;
} Encoding;

/* scratch: float[2 * code_dims] */
static void
begin_link(const OmenCodeShape *shape, const uint8 *centre,
		   const OmenLinkCode *link, float *scratch, Encoding *e)
{
	OmenOwnFactors fc = omen_own_factors(centre);
	OmenOwnFactors fx = omen_own_factors(link->neighbour);

	e->usable = fc.norm2 != OMEN_UNUSABLE && fx.norm2 != OMEN_UNUSABLE;
	if (!e->usable)
		return;
	e->input.centre = omen_own_codes(centre);
	e->input.neighbour = omen_own_codes(link->neighbour);
	e->input.centre_scale = fc.scale;
	e->input.neighbour_scale = fx.scale;
	e->r = scratch;
	e->levels = (uint8 *) (scratch + shape->code_dims);
	omen_code_kernels->residual(shape->code_dims, &e->input, e->r, &e->sums);
}

/* Levels of the residual, and sums over them */
static void
find_levels(const OmenCodeShape *shape, Encoding *e)
{
	const OmenCodeKernels *kernels = omen_code_kernels;

	if (!e->usable)
		return;
	if (shape->link_kind == OMEN_LINK_RABITQ2)
	{
		/* all coordinates have the same deviation, thanks to the rotation */
		float		deviation = sqrtf(e->sums.norm2 / shape->code_dims);

		kernels->levels2(shape->link_dims, &e->input, e->r,
						 TWO_BIT_STEP * deviation, e->levels, &e->sums);
	}
	else
		kernels->levels1(shape->link_dims, &e->input, e->r, e->levels,
						 &e->sums);
	memset(e->levels + shape->link_dims, 0,
		   OMEN_LINK_GROUP - shape->link_dims % OMEN_LINK_GROUP);
}

static void
end_link(const OmenCodeShape *shape, const uint8 *centre, const Encoding *e,
		 OmenLinkCode *link)
{
	const OmenLinkSums *sums = &e->sums;
	float		s = 0;

	if (!e->usable)
	{
		link->f_rescale = 0;
		link->f_add = OMEN_UNUSABLE;
		memset(link->code, 0, shape->link_size);
		return;
	}
	pack_levels(shape, e->levels, link->code);
	if (sums->level_residual > 0)
		s = sums->norm2 / sums->level_residual;
	if (shape->metric == OMEN_METRIC_IP)
	{
		link->f_rescale = -s;
		link->f_add = s * sums->level_centre - sums->centre_dot -
			(omen_own_factors(link->neighbour).mean_dot -
			 omen_own_factors(centre).mean_dot);
	}
	else
	{
		link->f_rescale = -2 * s;
		link->f_add = sums->norm2 + 2 * s * sums->level_centre;
	}
}

/*
 * Step by step, each of all links: the next step needs a sum over all dimensions,
 * which is long in coming.
 */
static void
encode_links(const OmenQuantizer *quant, const uint8 *centre,
			 OmenLinkCode *links, int n, float *scratch)
{
	const OmenCodeShape *shape = &quant->shape;
	Encoding	encodings[OMEN_LINKS_AT_A_TIME];

	Assert(shape->link_kind == OMEN_LINK_RABITQ1 ||
		   shape->link_kind == OMEN_LINK_RABITQ2);
	Assert(n <= OMEN_LINKS_AT_A_TIME);
	for (int i = 0; i < n; i++)
		begin_link(shape, centre, &links[i],
				   scratch + (Size) i * 2 * shape->code_dims, &encodings[i]);
	for (int i = 0; i < n; i++)
		find_levels(shape, &encodings[i]);
	for (int i = 0; i < n; i++)
		end_link(shape, centre, &encodings[i], &links[i]);
}

/* --- queries --- */

/* Do queries choose what part of a node they are compared without? */
static bool
has_aim(const OmenCodeShape *shape)
{
	return shape->metric != OMEN_METRIC_L2 &&
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
	int			bits = level_bits(shape);
	int			whole_bytes = OMEN_LINK_GROUP * bits / 8;
	int			bytes = tail_bytes(shape);
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

	if (has_aim(shape) && shape->metric == OMEN_METRIC_IP && query->usable &&
		isfinite(aim))
		set_aim(query, aim);
}

/*
 * Cosine: the part of a node that leaves least of the query is their inner product,
 * which the node's distance tells.  Of range codes, whose centres are no unit vectors,
 * the distance is given as 0: all of them is taken off.
 */
static void
approach(OmenQuery *query, float distance)
{
	float		best = 1 - distance / 2;
	float		off = query->aim - best;

	if (query->usable && best >= -1 &&
		off * off > AIM_SLACK * (1 - best * best))
		set_aim(query, best);
}

static void
query_links(OmenQuery *query, const OmenLinkBatch *batch)
{
	if (query->quant->shape.metric == OMEN_METRIC_COSINE)
		approach(query, batch->base);
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
	.pair_block = omen_own_pair_block,
	.encode_links = encode_links,
	.query_size = query_size,
	.query_init = query_init,
	.query_init_pair = query_init_pair,
	.query_aim = query_aim,
	.query_own = omen_own_bounds,
	.query_links = query_links,
	.query_block = omen_own_query_block,
};
