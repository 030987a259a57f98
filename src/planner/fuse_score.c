/*-------------------------------------------------------------------------
 *
 * fuse_score.c
 *	  From the values of several branches to one score.
 *
 * Goodness by norm:
 *
 *	none			the value, negated
 *	theoretical		by what values the branch can have, all into 0 to 1:
 *						distance d		1 / (1 + d)
 *						cosine d		1 - d / 2
 *						jaccard d		1 - d
 *						product -p		1/2 + atan(p) / pi
 *						text -s			s / the best that the query can score
 *	minmax			1 for the best row of the window, 0 for the last
 *	zscore			in standard deviations above the mean of the window
 *
 * Monotone in the value, so that a stream in order of value is one in order of
 * goodness.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "planner/fuse.h"

static double theoretical_goodness(const OmenFuseScale *scale, double value);

const char *
omen_fuse_norm_name(OmenNorm norm)
{
	static const char *const names[] = {
		[OMEN_NORM_NONE] = "none",
		[OMEN_NORM_THEORETICAL] = "theoretical",
		[OMEN_NORM_MINMAX] = "minmax",
		[OMEN_NORM_ZSCORE] = "zscore",
	};

	return norm < (int) lengthof(names) ? names[norm] : NULL;
}

/* Is goodness relative to the rows of a window? */
bool
omen_fuse_norm_needs_window(OmenNorm norm)
{
	return norm == OMEN_NORM_MINMAX || norm == OMEN_NORM_ZSCORE;
}

double
omen_fuse_goodness(OmenNorm norm, const OmenFuseScale *scale, double value)
{
	switch (norm)
	{
		case OMEN_NORM_NONE:
			return -value;
		case OMEN_NORM_THEORETICAL:
			return theoretical_goodness(scale, value);
		case OMEN_NORM_MINMAX:
			return scale->worst > scale->best ?
				(scale->worst - value) / (scale->worst - scale->best) : 1;
		case OMEN_NORM_ZSCORE:
			return scale->deviation > 0 ?
				(scale->mean - value) / scale->deviation : 0;
	}
	pg_unreachable();
}

static double
theoretical_goodness(const OmenFuseScale *scale, double value)
{
	switch (scale->measure)
	{
		case OMEN_MEASURE_DISTANCE:
			return 1 / (1 + value);
		case OMEN_MEASURE_COSINE:
			return 1 - value / 2;
		case OMEN_MEASURE_SHARE:
			return 1 - value;
		case OMEN_MEASURE_PRODUCT:
			return 0.5 + atan(-value) / M_PI;
		case OMEN_MEASURE_TEXT:
			return scale->ceiling > 0 ? -value / scale->ceiling : 0;
		case OMEN_MEASURE_UNKNOWN:
			break;
	}
	pg_unreachable();
}

/*
 * Nothing where goodness has a lowest value; else what the last row of the
 * window has, which is no worse than any row beyond.
 */
double
omen_fuse_missing_goodness(OmenNorm norm, const OmenFuseScale *scale)
{
	return norm == OMEN_NORM_ZSCORE ?
		omen_fuse_goodness(norm, scale, scale->worst) : 0;
}

/* Without a norm, a sum with NULL is NULL; branches of no weight do not count */
bool
omen_fuse_score(const OmenFuseOptions *options, const OmenFuseScale *scales,
				const double *values, const bool *isnull, double *score)
{
	double		sum = 0;

	for (int i = 0; i < options->nbranches; i++)
	{
		double		goodness;

		if (options->weights[i] == 0)
			continue;
		if (!isnull[i])
			goodness = omen_fuse_goodness(options->norm, &scales[i],
										  values[i]);
		else if (options->norm == OMEN_NORM_NONE)
			return false;
		else
			goodness = omen_fuse_missing_goodness(options->norm, &scales[i]);
		sum += options->weights[i] * goodness;
	}
	*score = 0 - sum;
	return true;
}
