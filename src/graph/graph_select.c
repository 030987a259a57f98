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

int
omen_graph_select(const OmenQuantizer *quant, const OmenNear *near, int n,
				  int max, float alpha, bool fill, int *chosen)
{
	bool		kept[OMEN_SELECT_MAX] = {false};
	int			nkept;

	nkept = omen_graph_diversify(quant, near, n, max,
								 fill ? OMEN_LARGEST_ALPHA : alpha, NULL,
								 kept);
	return omen_graph_fill(kept, n, fill ? max : nkept, nkept, chosen);
}

int
omen_graph_select_more(const OmenQuantizer *quant, const OmenNear *near,
					   int n, int max, bool *kept, int *chosen)
{
	int			nkept = omen_graph_diversify(quant, near, n, max,
											 OMEN_LARGEST_ALPHA, NULL, kept);

	return omen_graph_fill(kept, n, max, nkept, chosen);
}

/*
 * The rule itself: sets kept[i] for each candidate that is kept, in addition
 * to those of which it is set already, and returns their number, at most max.
 *
 * The walk over the candidates is repeated with more and more slack, up to
 * alpha, until max are kept.  So the most diverse come first, and room that
 * is left goes to those that add most, not to the nearest.
 * Against a single walk with the best slack for each set and size, and the
 * nearest in the room left: recall at ef 40 .965 instead of .960 (200,000 x
 * 128 of SIFT), .882 instead of .830 (word vectors, where few nodes are left
 * that hardly anybody links to).
 *
 * A candidate at distance 0 from a kept one is its double: it leads nowhere
 * else, and without this clause a vector with many equals would link to
 * nothing but them, since no distance is less than zero.
 *
 * Distances between candidates are taken from "matrix", n rows of
 * omen_select_width(n), or computed when needed if it is NULL.  A candidate is
 * compared with kept ones in the order of their choice, and no further than
 * to the first that rules it out.
 */
int
omen_graph_diversify(const OmenQuantizer *quant, const OmenNear *near, int n,
					 int max, float alpha, const float *matrix, bool *kept)
{
	float		slack = 1;
	float		nearest[OMEN_SELECT_MAX];	/* kept one among those compared */
	uint16		ncompared[OMEN_SELECT_MAX];
	uint16		order[OMEN_SELECT_MAX]; /* the kept */
	int			nkept = 0;
	int			i;

	Assert(n >= 0 && n <= OMEN_SELECT_MAX);
	Assert(alpha >= 1);

	for (i = 0; i < n; i++)
	{
		nearest[i] = INFINITY;
		ncompared[i] = 0;
		if (kept[i])
			order[nkept++] = i;
	}
	Assert(nkept <= max);

	for (;;)
	{
		for (i = 0; i < n && nkept < max; i++)
		{
			float		least = near[i].distance / slack;

			if (kept[i])
				continue;
			while (ncompared[i] < nkept && nearest[i] >= least &&
				   nearest[i] > 0)
			{
				int			other = order[ncompared[i]++];
				float		distance = matrix != NULL ?
					matrix[other * omen_select_width(n) + i] :
					omen_quant_pair_distance(quant, near[other].pair,
											 near[i].pair);

				nearest[i] = Min(nearest[i], distance);
			}
			if (nearest[i] >= least && nearest[i] > 0)
			{
				kept[i] = true;
				order[nkept++] = i;
			}
		}
		if (nkept == max || slack >= alpha)
			return nkept;
		slack = Min(slack * OMEN_ALPHA_STEP, alpha);
	}
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

static inline int
compare_near(const OmenNear *a, const OmenNear *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	return a->node < b->node ? -1 : a->node > b->node;
}

#define ST_SORT			omen_graph_sort_near
#define ST_ELEMENT_TYPE OmenNear
#define ST_COMPARE(a, b)	compare_near(a, b)
#define ST_SCOPE
#define ST_DEFINE
#include "lib/sort_template.h"

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
