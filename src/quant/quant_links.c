/*-------------------------------------------------------------------------
 *
 * quant_links.c
 *	  How link codes of one or two bits a dimension are formed.
 *
 * What they stand for, and what queries make of them: quant_rabitq.c.
 *
 * Levels L that point as nearly in the direction of r as levels can estimate <p, r>
 * for any p with an error that is the same, on average, in all directions.  But
 * what is asked for is <q-c, r>, and q-c has more to do with some directions
 * than with others: with c itself, which is farther from the mean than the
 * queries near it are; by L2, q-c is nothing but a part of c if the query is a shorter
 * or longer vector of the same direction, and with the mean likewise.  So a few
 * levels, of elements that are about half way between two, are moved to the other
 * one until <L, c> and <L, m> stand for <c, r> and <m, r>, that is, until
 *
 *	  <L, w - (<w,r>/|r|^2) r>
 *
 * is about 0 for w = c and w = m.  This costs next to nothing of <L, r>, and no byte.
 *
 * Errors, as parts of how much the distances of a node's neighbours differ, if the best
 * levels are moved: 768 dimensions of one bit .374 -> .332, queries that are averages of
 * ten rows .813 -> .322, .3 times as long as rows 1.10 -> .33; 128 dimensions of two bits
 * .222 -> .213, .384 -> .158, .976 -> .230.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/quant_links.h"
#include "quant/quant_ops.h"

/*
 * Step of the uniform quantizer of four levels that suits a normal
 * distribution best, in standard deviations (Max, 1960)
 */
#define TWO_BIT_STEP		0.9957f

/* The squares of levels, on average: of two bits, by that distribution */
#define ONE_BIT_SQUARE		0.25f
#define TWO_BIT_SQUARE		0.889f

/*
 * Levels of so many elements, times the root of all, may be moved: two to six are.
 * With a third of them, the error of short queries doubles.
 */
#define NEAR_ELEMENTS		3.0f

/* How many are where levels change, by that distribution: a standard deviation */
#define ONE_BIT_DENSITY		0.798f
#define TWO_BIT_DENSITY		1.77f

/*
 * How much of a query's difference from a node lies along one of the two directions,
 * if in all others together there is 1: twice or half as much makes no difference
 */
#define DIRECTION_WEIGHT	2.0f

/* Of the error in all directions: so little is left along the two */
#define ENOUGH				0.03f

/* --- packing --- */

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
	pack_group(levels + groups * OMEN_LINK_GROUP,
			   omen_link_tail_bytes(shape), bits,
			   code + groups * bytes);
}

/* levels must be zero from link_dims to the end of the last group */
static void
pack_levels(const OmenCodeShape *shape, const uint8 *levels, uint8 *code)
{
	if (omen_link_level_bits(shape) == 2)
		pack_groups(shape, levels, 2, code);
	else
		pack_groups(shape, levels, 1, code);
}

/* --- levels --- */

/* A link while it is encoded */
typedef struct Encoding
{
	OmenResidualInput input;
	float	   *r;				/* the residual: code_dims */
	uint8	   *levels;			/* as many bytes as groups need */
	OmenLinkSums sums;
	float		mean_dot;		/* <mean, r> */
	float		deviation;		/* of the elements of r */
	float		threshold;		/* of 2-bit levels */
	bool		usable;
} Encoding;

/* scratch: float[2 * code_dims] */
static void
begin_link(const OmenQuantizer *quant, const uint8 *centre,
		   const OmenLinkCode *link, float *scratch, Encoding *e)
{
	uint32		dims = quant->shape.code_dims;
	OmenOwnFactors fc = omen_own_factors(centre);
	OmenOwnFactors fx = omen_own_factors(link->neighbour);

	e->usable = fc.norm2 != OMEN_UNUSABLE && fx.norm2 != OMEN_UNUSABLE;
	if (!e->usable)
		return;
	e->input.centre = omen_own_codes(centre);
	e->input.neighbour = omen_own_codes(link->neighbour);
	e->input.mean = quant->mean;
	e->input.centre_scale = fc.scale;
	e->input.neighbour_scale = fx.scale;
	e->r = scratch;
	e->levels = (uint8 *) (scratch + dims);
	omen_code_kernels->residual(dims, &e->input, e->r, &e->sums);
	e->mean_dot = fx.mean_dot - fc.mean_dot;
}

/* Levels of the residual, and sums over them */
static void
find_levels(const OmenCodeShape *shape, Encoding *e)
{
	const OmenCodeKernels *kernels = omen_code_kernels;

	if (!e->usable)
		return;
	/* all coordinates have the same deviation, thanks to the rotation */
	e->deviation = sqrtf(e->sums.norm2 / shape->code_dims);
	e->threshold = TWO_BIT_STEP * e->deviation;
	if (shape->link_kind == OMEN_LINK_RABITQ2)
		kernels->levels2(shape->link_dims, &e->input, e->r, e->threshold,
						 e->levels, &e->sums);
	else
		kernels->levels1(shape->link_dims, &e->input, e->r, e->levels,
						 &e->sums);
	memset(e->levels + shape->link_dims, 0,
		   OMEN_LINK_GROUP - shape->link_dims % OMEN_LINK_GROUP);
}

/* --- moving levels --- */

/* 1 / x, 0 if there is no such number */
static float
invert(float x)
{
	float		inverse = 1 / x;

	return isfinite(inverse) ? inverse : 0;
}

/* What is the same for all links of a node: how they are moved */
static OmenMoveForm
start_form(const OmenQuantizer *quant, const uint8 *centre)
{
	const OmenCodeShape *shape = &quant->shape;
	bool		two_bits = omen_link_level_bits(shape) == 2;
	float		weight = sqrtf(DIRECTION_WEIGHT);

	return (OmenMoveForm)
	{
		.near = NEAR_ELEMENTS / sqrtf(shape->link_dims) /
			(two_bits ? TWO_BIT_DENSITY : ONE_BIT_DENSITY),
		.centre_scale = weight *
			invert(sqrtf(omen_own_factors(centre).norm2)),
		.mean_scale = weight * invert(sqrtf(quant->mean_norm2)),
		.square = 2.0f / shape->code_dims,
		.enough = ENOUGH
	};
}

/*
 * How much of r is taken off w, so that they are orthogonal; and what its product with
 * L is then
 */
static float
find_excess(const Encoding *e, float residual_dot, float level_dot, float *part)
{
	float		excess;

	*part = residual_dot / e->sums.norm2;
	excess = level_dot - *part * e->sums.level_residual;
	if (!isfinite(excess))
		*part = excess = 0;
	return excess;
}

/* False if there is nothing to move */
static bool
start_move(const OmenCodeShape *shape, const OmenMoveForm *form,
		   Encoding *e, OmenMove *move)
{
	OmenMoveSums *sums = &move->sums;
	float		square = omen_link_level_bits(shape) == 2 ?
		TWO_BIT_SQUARE : ONE_BIT_SQUARE;

	if (!e->usable || !(e->sums.level_residual > 0) || !(e->deviation > 0))
		return false;
	move->form = *form;
	move->form.threshold = e->threshold;
	move->form.near *= e->deviation;
	move->form.per_residual = 2 / e->sums.level_residual;
	sums->centre = find_excess(e, e->sums.centre_dot * form->centre_scale,
							   e->sums.level_centre * form->centre_scale,
							   &move->form.centre_part);
	sums->mean = find_excess(e, e->mean_dot * form->mean_scale,
							 e->sums.level_mean * form->mean_scale,
							 &move->form.mean_part);
	sums->square = square * shape->link_dims / shape->code_dims;
	sums->error = omen_move_error(sums);
	move->form.centre_scale *= e->input.centre_scale;
	move->input = &e->input;
	move->r = e->r;
	move->levels = e->levels;
	move->link_sums = &e->sums;
	return true;
}

/*
 * Move levels until they stand for the products of the residual with the node and with
 * the mean: the best of each sixteen elements.  To take the best of all each time makes
 * the error hardly any less.
 */
static void
move_levels(const OmenCodeShape *shape, const OmenMoveForm *form,
			Encoding *encodings, int n)
{
	OmenMove	moves[OMEN_LINKS_AT_A_TIME];
	OmenMove   *open[OMEN_LINKS_AT_A_TIME];
	int			nopen = 0;

	for (int i = 0; i < n; i++)
	{
		if (start_move(shape, form, &encodings[i], &moves[i]))
			open[nopen++] = &moves[i];
	}
	if (omen_link_level_bits(shape) == 2)
		omen_code_kernels->move_levels2(shape->link_dims, open, nopen);
	else
		omen_code_kernels->move_levels1(shape->link_dims, open, nopen);
}

/* --- the code --- */

static void
end_link(const OmenCodeShape *shape, const Encoding *e, OmenLinkCode *link)
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
		link->f_add = s * sums->level_centre - sums->centre_dot - e->mean_dot;
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
void
omen_link_encode(const OmenQuantizer *quant, const uint8 *centre,
				 OmenLinkCode *links, int n, float *scratch)
{
	const OmenCodeShape *shape = &quant->shape;
	OmenMoveForm form = start_form(quant, centre);
	Encoding	encodings[OMEN_LINKS_AT_A_TIME];

	Assert(shape->link_kind == OMEN_LINK_RABITQ1 ||
		   shape->link_kind == OMEN_LINK_RABITQ2);
	Assert(n <= OMEN_LINKS_AT_A_TIME);
	for (int i = 0; i < n; i++)
		begin_link(quant, centre, &links[i],
				   scratch + (Size) i * 2 * shape->code_dims, &encodings[i]);
	for (int i = 0; i < n; i++)
		find_levels(shape, &encodings[i]);
	move_levels(shape, &form, encodings, n);
	for (int i = 0; i < n; i++)
		end_link(shape, &encodings[i], &links[i]);
}
