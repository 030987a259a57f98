/*-------------------------------------------------------------------------
 *
 * graph_build_long.c
 *	  Inner product: links to long vectors.
 *
 * By inner product, whoever is long is an answer to many queries.  The graph
 * is one of distances, though, in which long vectors lie apart (quant.h): few
 * of those that they are nearest to choose them, for these have nearer ones.
 * So a node of more than average length to which fewer have links than it has
 * itself gets more, from its own neighbours, nearest first.  Each gives up the
 * farthest of its links that leads where more than that lead.
 *
 * Vectors of equal length are none longer than average, and this does nothing;
 * links to what lies apart would cost there, and answer no query.
 *
 * One participant does this, in the order of nodes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* Squared length, in averages, from which on a vector is a long one */
#define LONG_NORM2		1.01

static void favour_long(OmenBuild *build);
static double average_norm2(OmenBuild *build);
static void count_links(OmenBuild *build);
static void ask_neighbours(OmenBuild *build, uint32 node);
static bool link_back(OmenBuild *build, uint32 neighbour, uint32 node);

/* Links that lead to each node */
static inline uint32 *
link_counts(const OmenBuild *build)
{
	return build->pairs;
}

void
omen_build_favour_long(OmenBuild *build)
{
	if (build->quant->shape.metric == OMEN_METRIC_IP)
		omen_build_once(build, favour_long);
}

static void
favour_long(OmenBuild *build)
{
	double		limit = average_norm2(build) * LONG_NORM2;

	count_links(build);
	for (uint32 node = 0; node < build->n; node++)
	{
		if (link_counts(build)[node] < build->max_links &&
			omen_quant_pair_norm2(build->quant,
								  omen_node_code(build, node)) > limit)
			ask_neighbours(build, node);
		omen_build_tick(build, build->stride, 0);
	}
}

static double
average_norm2(OmenBuild *build)
{
	double		sum = 0;

	for (uint32 node = 0; node < build->n; node++)
	{
		sum += omen_quant_pair_norm2(build->quant,
									 omen_node_code(build, node));
		omen_build_tick(build, build->stride, 0);
	}
	return sum / build->n;
}

static void
count_links(OmenBuild *build)
{
	uint32	   *counts = link_counts(build);

	memset(counts, 0, build->n * sizeof(uint32));
	for (uint32 node = 0; node < build->n; node++)
	{
		const uint32 *links = omen_node_links(build, node);

		for (int i = 0; i < build->nlinks[node]; i++)
			counts[links[i]]++;
		omen_build_tick(build, build->max_links * sizeof(uint32), 0);
	}
}

static void
ask_neighbours(OmenBuild *build, uint32 node)
{
	const uint32 *links = omen_node_links(build, node);
	int			nlocal = build->nlinks[node] - build->nscale[node];

	for (int i = 0;
		 i < nlocal && link_counts(build)[node] < build->max_links; i++)
	{
		if (link_back(build, links[i], node))
			link_counts(build)[node]++;
		omen_build_tick(build, OMEN_FAR_ACCESS, 0);
	}
}

/* False if the neighbour has such a link, or none to give up for it */
static bool
link_back(OmenBuild *build, uint32 neighbour, uint32 node)
{
	uint32	   *counts = link_counts(build);
	const uint32 *links = omen_node_links(build, neighbour);
	int			nlinks = build->nlinks[neighbour];
	int			victim;

	for (int i = 0; i < nlinks; i++)
	{
		if (links[i] == node)
			return false;
	}
	if (nlinks == build->max_links)
	{
		victim = nlinks - build->nscale[neighbour] - 1;
		while (victim >= 0 && counts[links[victim]] <= build->max_links)
			victim--;
		if (victim < 0)
			return false;
		counts[links[victim]]--;
		omen_build_remove_local(build, neighbour, victim);
	}
	omen_build_insert_link(build, neighbour, node);
	return true;
}
