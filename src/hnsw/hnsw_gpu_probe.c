/*-------------------------------------------------------------------------
 *
 * hnsw_gpu_probe.c
 *	  What a search finds by links that somebody else has found.
 *
 * A node is searched for, from a few others, as queries would be; what is found is
 * held against the nearest nodes of its cluster, which are known exactly.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/order.h"
#include "graph/graph_search.h"
#include "hnsw/hnsw_build.h"

#define NSEEDS			256
#define NEAREST			10
#define BREADTH			100

/* Distances to be in order, but for rounding of sums in another order */
#define ORDER_SLACK		1.001f

/*
 * The same of what distances are differences of, by squared length: of near copies
 * there is more of it than of the distance
 */
#define LENGTH_SLACK	1e-5f

typedef struct Probe
{
	OmenHnswBuildState *state;
	OmenBuild  *build;
	OmenBuildTask task;
	uint32		query;
} Probe;

static bool visit_node(void *store, OmenLink link, OmenVisit *visit);
static int	read_nothing_ahead(void *store);
static void search_node(Probe *probe, float *distances, int *n);
static uint32 count_missed(Probe *probe, const float *found, int nfound,
						   uint32 *nnear);
static bool is_sorted(Probe *probe, uint32 node);

static const OmenGraphOps probe_ops = {
	.visit = visit_node,
	.ahead = read_nothing_ahead,
};

static float
distance_of(const Probe *probe, uint32 node)
{
	const OmenBuildTask *task = &probe->task;
	float		distance;

	distance = omen_quant_pair_distance(probe->state->quant,
										task->codes + probe->query * task->stride,
										task->codes + node * task->stride);

	return distance > 0 ? distance : 0;
}

/* OmenBuildTeam.probe_links, of all participants */
bool
omen_hnsw_gpu_probe_links(OmenHnswBuildState *state, OmenBuild *build,
						  uint32 node, uint32 *nmissed, uint32 *nwanted)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw probe of links",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Probe		probe = {.state = state, .build = build, .query = node};
	float		found[NEAREST];
	int			nfound;
	bool		sorted;

	omen_build_task(build, &probe.task);
	search_node(&probe, found, &nfound);
	*nmissed = count_missed(&probe, found, nfound, nwanted);
	sorted = is_sorted(&probe, node);
	omen_hnsw_build_tick(state);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return sorted;
}

static bool
visit_node(void *store, OmenLink link, OmenVisit *visit)
{
	Probe	   *probe = store;
	uint32		node = omen_link_number(link);
	const uint32 *links = omen_build_get_links(probe->build, node,
											   &visit->nlinks);

	memset(&visit->own, 0, sizeof(visit->own));
	visit->own.estimate = distance_of(probe, node);
	visit->live = true;
	visit->allowed = true;
	visit->recheck = false;
	visit->level = 0;
	visit->ntids = 0;
	visit->more_tids = OMEN_LINK_INVALID;
	for (int i = 0; i < visit->nlinks; i++)
	{
		visit->links[i] = omen_link_form(links[i], 0);
		visit->estimates[i] = distance_of(probe, links[i]);
	}
	return true;
}

static int
read_nothing_ahead(void *store)
{
	return 0;
}

/* Distances of the nearest nodes that a search for one finds, without itself */
static void
search_node(Probe *probe, float *distances, int *n)
{
	OmenSearch *search = omen_search_create(&probe_ops, probe, BREADTH, false);
	uint32		nseeds = Min(NSEEDS, probe->task.n);
	float	   *found;
	int			nfound = 0;

	for (uint32 i = 0; i < nseeds; i++)
	{
		uint32		seed = (uint64) probe->task.n * i / nseeds +
			probe->task.n / nseeds / 2;

		omen_search_seed(search, omen_link_form(seed, 0),
						 distance_of(probe, seed));
	}
	(void) omen_search_run(search);

	found = palloc((search->nfound + 1) * sizeof(float));
	for (Size i = 0; i < search->nfound; i++)
	{
		if (omen_link_number(search->found[i].link) != probe->query)
			found[nfound++] = search->found[i].own.estimate;
	}
	qsort(found, nfound, sizeof(float), omen_compare_floats);
	*n = Min(nfound, NEAREST);
	memcpy(distances, found, *n * sizeof(float));
}

/*
 * Of the NEAREST nodes of the query's cluster, or all if there are fewer: those
 * nearer than the last one found, less those found as near.  nnear gets how many
 * could have been missed.
 */
static uint32
count_missed(Probe *probe, const float *found, int nfound, uint32 *nnear)
{
	const OmenBuildTask *task = &probe->task;
	uint32		cluster = 0;
	uint32		first;
	uint32		end;
	float	   *near;
	uint32		n = 0;
	int			at = 0;
	uint32		nmissed = 0;

	while (cluster + 1 < task->nclusters &&
		   task->clusters[cluster + 1] <= probe->query)
		cluster++;
	first = task->clusters[cluster];
	end = cluster + 1 < task->nclusters ? task->clusters[cluster + 1] : task->n;

	near = palloc((end - first + 1) * sizeof(float));
	for (uint32 node = first; node < end; node++)
	{
		if (node != probe->query)
			near[n++] = distance_of(probe, node);
	}
	qsort(near, n, sizeof(float), omen_compare_floats);
	*nnear = Min(n, NEAREST);

	/* both are sorted: each found one stands for one that is no nearer */
	for (uint32 i = 0; i < *nnear; i++)
	{
		if (at < nfound && found[at] <= near[i] * ORDER_SLACK)
			at++;
		else
			nmissed++;
	}
	return nmissed;
}

/* By how much distances from the query may differ that are computed otherwise */
static float
length_slack(const Probe *probe)
{
	const OmenQuantizer *quant = probe->state->quant;
	const OmenBuildTask *task = &probe->task;
	float		norm2;

	switch (quant->shape.metric)
	{
		case OMEN_METRIC_COSINE:
			return LENGTH_SLACK;
		case OMEN_METRIC_IP:
			norm2 = omen_quant_pair_norm2(quant, task->codes +
										  probe->query * task->stride);
			return LENGTH_SLACK * Max(quant->max_norm2, norm2);
		default:
			return 0;
	}
}

/* Are the local links of a node nearest first? */
static bool
is_sorted(Probe *probe, uint32 node)
{
	int			nlinks;
	int			nscale = probe->task.levels[node] > 0 ?
		probe->task.scale_links : 0;
	const uint32 *links = omen_build_get_links(probe->build, node, &nlinks);
	float		slack = length_slack(probe);
	float		before = 0;

	for (int i = 0; i < nlinks - nscale; i++)
	{
		float		distance = distance_of(probe, links[i]);

		if (distance * ORDER_SLACK + slack < before)
			return false;
		before = distance;
	}
	return true;
}
