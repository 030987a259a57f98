/*-------------------------------------------------------------------------
 *
 * graph_select.c
 *	  Choice of a node's neighbours, and the levels of nodes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "graph/graph_build.h"

static void compare_with_rest(const OmenQuantizer *quant,
							  const OmenNear *near, int n, Size stride,
							  float *distances);

int
omen_graph_select(const OmenQuantizer *quant, const OmenNear *near, int n,
				  int max, float alpha, bool fill, int *chosen)
{
	bool		kept[OMEN_SELECT_MAX];
	int			nkept;

	nkept = omen_graph_diversify(quant, near, n, 0, max, alpha, kept);
	return omen_graph_fill(kept, n, fill ? max : nkept, nkept, chosen);
}

/*
 * The rule itself: sets kept[i] for each candidate that is kept and returns
 * their number.  If stride is not 0, the pair codes lie that far apart.
 *
 * A candidate at distance 0 from a kept one is its double: it leads nowhere
 * else, and without this clause a vector with many equals would link to
 * nothing but them, since no distance is less than zero.
 */
int
omen_graph_diversify(const OmenQuantizer *quant, const OmenNear *near, int n,
					 Size stride, int max, float alpha, bool *kept)
{
	float		nearest[OMEN_SELECT_MAX];	/* kept one to each candidate */
	float		distances[OMEN_SELECT_MAX];
	int			nkept = 0;
	int			i;

	Assert(n >= 0 && n <= OMEN_SELECT_MAX);
	Assert(alpha >= 1);

	for (i = 0; i < n; i++)
		nearest[i] = INFINITY;

	for (i = 0; i < n; i++)
	{
		int			j;

		kept[i] = nkept < max && nearest[i] > 0 &&
			!(alpha * nearest[i] < near[i].distance);
		if (!kept[i])
			continue;
		nkept++;

		compare_with_rest(quant, near + i, n - i, stride, distances + i);
		for (j = i + 1; j < n; j++)
			nearest[j] = Min(nearest[j], distances[j]);
	}
	return nkept;
}

/* Distances of the first of n candidates to the others, at their indexes */
static void
compare_with_rest(const OmenQuantizer *quant, const OmenNear *near, int n,
				  Size stride, float *distances)
{
	int			i;

	if (stride > 0)
	{
		if (n > 1)
			omen_quant_pair_block(quant, near[0].pair, near[1].pair, stride,
								  n - 1, distances + 1);
		return;
	}
	for (i = 1; i < n; i++)
		distances[i] = omen_quant_pair_distance(quant, near[0].pair,
												near[i].pair);
}

/*
 * The indexes of the kept and, from the front, of as many others as make
 * "max" together; all in ascending order.
 */
int
omen_graph_fill(const bool *kept, int n, int max, int nkept, int *chosen)
{
	int			room = Max(max - nkept, 0);
	int			nchosen = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		if (!kept[i])
		{
			if (room == 0)
				continue;
			room--;
		}
		chosen[nchosen++] = i;
	}
	return nchosen;
}

/*
 * How much nearer to a kept neighbour than to the base a candidate must be to
 * be left out.  Below some 200,000 nodes the candidates are the true
 * neighbours with room to spare, and slack makes the graph denser and better
 * (60,000 x 784: recall at ef 40 .930, .964, .974 for alpha 1, 1.1, 1.2).
 * With a million the same list covers a smaller ball, and slack would only
 * add near links.  Squared distances take the square of the factor.
 */
float
omen_graph_alpha(const OmenQuantizer *quant, double nodes)
{
	float		alpha = nodes <= 200000 ? 1.1f : nodes <= 500000 ? 1.05f : 1.0f;

	switch (quant->shape.metric)
	{
		case OMEN_METRIC_L2:
		case OMEN_METRIC_COSINE:
		case OMEN_METRIC_IP:
			return alpha * alpha;
		default:
			return alpha;
	}
}

int
omen_graph_draw_level(uint64 random)
{
	int			level = 0;

	while (level < OMEN_MAX_LEVEL && (random & 3) == 0)
	{
		level++;
		random >>= 2;
	}
	return level;
}

/*
 * A quarter of the links.  Six to eight of 32 are as good as a larger share
 * on sets with hundreds of clusters, and cost no recall on others.
 */
int
omen_graph_scale_links(int level, int max_links)
{
	return level > 0 ? max_links / 4 : 0;
}
