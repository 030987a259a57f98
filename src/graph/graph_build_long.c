/*-------------------------------------------------------------------------
 *
 * graph_build_long.c
 *	  Inner product: links to long vectors.
 *
 * By inner product, whoever is long is an answer to many queries.  The graph
 * is one of distances, though, in which long vectors lie apart (quant.h): they
 * are nearest to shorter ones, and few of those choose them, for these have
 * nearer ones.  Two things are done about it, both of which do nothing where
 * all vectors are of equal length.
 *
 * The longest quarter of all nodes, the longest sixteenth and so on are sets
 * in which candidates are looked for once more, as among the nodes of a scale:
 * each of their nodes gets a quarter of its local links in each set that it
 * is in.  So a walk among long vectors stays among them.  Links that the node
 * had before make room, the farthest first; the nearest quarter stays.
 *
 * After that, a node of more than average length to which fewer have links
 * than it has itself gets more, from its own neighbours, nearest first.  Each
 * gives up the farthest of its links that leads where more than that lead.
 * One participant does this, in the order of nodes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* Nodes whose lengths stand for those of all */
#define LENGTH_SAMPLE	4096

static void collect_long(OmenBuild *build);
static float sample_norms(const OmenBuild *build, float *norms, uint32 n);
static int	compare_floats(const void *a, const void *b);
static void favour_long(OmenBuild *build);
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

/*
 * Links within the sets of long nodes.  The smallest comes first, for in the
 * largest, which has all of their nodes, links are put in order.
 */
void
omen_build_link_long(OmenBuild *build)
{
	/* a node linked to all others has no use for more */
	if (build->quant->shape.metric != OMEN_METRIC_IP ||
		build->n <= build->max_links + 1)
		return;
	for (int i = OMEN_LONG_SETS - 1; i >= 0; i--)
	{
		build->scale = OMEN_LONG_SCALE + i;
		omen_build_once(build, collect_long);
		build->nmembers = build->arena->nsubset;
		if (build->nmembers < 2)
			continue;
		omen_build_candidates(build, 0);
		omen_build_prune(build);
	}
}

/* List the nodes of the set at work */
static void
collect_long(OmenBuild *build)
{
	float		norms[LENGTH_SAMPLE];
	uint32		n = Min(build->n, LENGTH_SAMPLE);
	float		limit = sample_norms(build, norms, n) * OMEN_LONG_NORM2;
	int			set = build->scale - OMEN_LONG_SCALE;
	uint32		nsubset = 0;

	qsort(norms, n, sizeof(float), compare_floats);
	limit = Max(limit, norms[n - 1 - (n >> 2 * (set + 1))]);
	for (uint32 node = 0; node < build->n; node++)
	{
		if (omen_quant_pair_norm2(build->quant,
								  omen_node_code(build, node)) > limit)
		{
			build->subset[nsubset++] = node;
			memset(&build->nlist[node], 0, sizeof(OmenListSize));
		}
		omen_build_tick(build, build->stride, 0);
	}
	build->arena->nsubset = nsubset;
}

/* Squared lengths of n nodes from everywhere; returns their average */
static float
sample_norms(const OmenBuild *build, float *norms, uint32 n)
{
	double		sum = 0;

	for (uint32 i = 0; i < n; i++)
	{
		uint32		node = omen_build_stratum(build->arena->params.seed, i,
											  build->n, n);

		norms[i] = omen_quant_pair_norm2(build->quant,
										 omen_node_code(build, node));
		sum += norms[i];
	}
	return (float) (sum / n);
}

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

static void
favour_long(OmenBuild *build)
{
	float		norms[LENGTH_SAMPLE];
	uint32		n = Min(build->n, LENGTH_SAMPLE);
	float		limit = sample_norms(build, norms, n) * OMEN_LONG_NORM2;

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
