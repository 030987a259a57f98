/*-------------------------------------------------------------------------
 *
 * bm25.c
 *	  Weights in units, inverse document frequency, and bounds of blocks.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>

#include "text/bm25.h"

#define MAX_UNIT		256
#define WHOLE_ERROR		1e-6	/* of a weight times unit, relative to unit */

static bool units_are_whole(const double *weights, int unit);
static double corner_score(uint8 tf, uint8 length, double scale);

/* --- units and idf --- */

OmenTextUnits
omen_text_units(const double *weights)
{
	OmenTextUnits result;
	double		most = 0;
	int			finest;
	int			unit = 1;

	for (int i = 0; i < OMEN_TEXT_CLASSES; i++)
	{
		Assert(weights[i] >= 0 && weights[i] <= OMEN_MAX_CLASS_WEIGHT);
		most = Max(most, weights[i]);
	}
	Assert(most > 0);

	/* all positions of the heaviest class are to fit 16 bits */
	finest = (int) Min(MAX_UNIT, 65535 / (OMEN_MAX_POSITIONS * most));
	while (unit < finest && !units_are_whole(weights, unit))
		unit++;

	result.unit = (uint16) unit;
	for (int i = 0; i < OMEN_TEXT_CLASSES; i++)
		result.units[i] = (uint16) rint(weights[i] * unit);
	return result;
}

static bool
units_are_whole(const double *weights, int unit)
{
	for (int i = 0; i < OMEN_TEXT_CLASSES; i++)
	{
		double		units = weights[i] * unit;

		if (fabs(units - rint(units)) > WHOLE_ERROR * unit)
			return false;
	}
	return true;
}

double
omen_bm25_idf(double ndocs, double df)
{
	/* statistics of a moving index may say that df is above N */
	return log1p((Max(ndocs, df) - df + 0.5) / (df + 0.5));
}

double
omen_bm25_term(const OmenBm25 *bm25, double weight, double tf, double length)
{
	double		norm = bm25->unit * bm25->k1 *
		(1 - bm25->b + bm25->b * length / bm25->avgdl);

	return tf > 0 ? weight * (bm25->k1 + 1) * tf / (tf + norm) : 0;
}

/* --- codes of frequencies and lengths --- */

uint32
omen_value_of_code(uint8 code)
{
	uint32		steps;

	if (code < OMEN_EXACT_CODES)
		return code;
	steps = code - OMEN_EXACT_CODES;
	return ((1 << OMEN_STEP_BITS) + (steps & ((1 << OMEN_STEP_BITS) - 1)))
		<< ((steps >> OMEN_STEP_BITS) + OMEN_EXACT_BITS - OMEN_STEP_BITS);
}

uint8
omen_tf_code(uint16 tf)
{
	uint32		code = omen_code_down(tf);

	/* 65535 is 207 rounded down, so that this fits a byte */
	return (uint8) (omen_value_of_code((uint8) code) < tf ? code + 1 : code);
}

/* --- bounds of blocks --- */

/*
 * Of all ways to cut the corners (by descending tf) in two, the one with the
 * least bound where these corners are of average length and k1, b have their
 * usual values; the bound holds whatever these are.
 */
static OmenBlockBound
cut_corners(const uint8 *tfs, const uint8 *lengths, int n)
{
	OmenBlockBound best = {{0, 0}, {0, 0}};
	uint8		least_after[256];
	uint8		least = 255;
	double		best_score = DBL_MAX;
	double		sum = 0;
	double		scale;

	Assert(n > 0 && n <= lengthof(least_after));
	for (int i = n - 1; i >= 0; i--)
	{
		least = Min(least, lengths[i]);
		least_after[i] = least;
		sum += omen_value_of_code(lengths[i]);
	}
	scale = sum > 0 ? n / sum : 0;

	least = 255;
	for (int i = 0; i < n; i++)
	{
		int			next = Min(i + 1, n - 1);
		double		bound;

		least = Min(least, lengths[i]);
		bound = Max(corner_score(tfs[0], least, scale),
					corner_score(tfs[next], least_after[next], scale));
		if (bound < best_score)
		{
			best_score = bound;
			best.tf[0] = tfs[0];
			best.length[0] = least;
			best.tf[1] = tfs[next];
			best.length[1] = least_after[next];
		}
	}
	return best;
}

static double
corner_score(uint8 tf, uint8 length, double scale)
{
	double		f = omen_value_of_code(tf);

	return f / (f + 0.3 + 0.9 * scale * omen_value_of_code(length));
}

OmenBlockBound
omen_block_bound(const uint16 *tfs, const uint32 *lengths, int n)
{
	uint8		least[256];		/* length, by tf */
	bool		seen[256] = {false};
	uint8		corner_tfs[256];
	uint8		corner_lengths[256];
	int			ncorners = 0;

	for (int i = 0; i < n; i++)
	{
		uint8		tf = omen_tf_code(tfs[i]);
		uint8		length = omen_length_code(lengths[i]);

		least[tf] = seen[tf] ? Min(least[tf], length) : length;
		seen[tf] = true;
	}
	for (int tf = 255; tf >= 0; tf--)
	{
		if (!seen[tf])
			continue;
		corner_tfs[ncorners] = (uint8) tf;
		corner_lengths[ncorners] = least[tf];
		ncorners++;
	}
	return cut_corners(corner_tfs, corner_lengths, ncorners);
}

OmenBlockBound
omen_block_bound_join(OmenBlockBound a, OmenBlockBound b)
{
	uint8		tfs[4] = {a.tf[0], a.tf[1], b.tf[0], b.tf[1]};
	uint8		lengths[4] = {a.length[0], a.length[1], b.length[0], b.length[1]};

	for (int i = 1; i < 4; i++)
		for (int j = i; j > 0 && tfs[j - 1] < tfs[j]; j--)
		{
			uint8		tf = tfs[j];
			uint8		length = lengths[j];

			tfs[j] = tfs[j - 1];
			lengths[j] = lengths[j - 1];
			tfs[j - 1] = tf;
			lengths[j - 1] = length;
		}
	return cut_corners(tfs, lengths, 4);
}
