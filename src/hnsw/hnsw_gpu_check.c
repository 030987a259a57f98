/*-------------------------------------------------------------------------
 *
 * hnsw_gpu_check.c
 *	  Are links that somebody else has found those of a graph that can be
 *	  searched?
 *
 * Form is checked link by link (hnsw_gpu.c); this is about meaning.  Some nodes
 * are searched for, from a few others, as queries would be; what is found must
 * hold its own against the nearest nodes of each one's cluster, which are known
 * exactly.  Links by chance find next to nothing; the bar is low, for how much a
 * good graph finds depends on the data.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "graph/graph_search.h"
#include "hnsw/hnsw_build.h"

#define NQUERIES		100
#define NSEEDS			256
#define NEAREST			10
#define BREADTH			100

/* Part of the nearest that must be found */
#define LEAST_FOUND		0.6

/* Distances to be in order, but for rounding of sums in another order */
#define ORDER_SLACK		1.001f

typedef struct CheckState
{
	OmenHnswBuildState *state;
	OmenBuild  *build;
	const OmenBuildTask *task;
	uint32		query;
} CheckState;

static bool visit_node(void *store, OmenLink link, OmenVisit *visit);
static int	read_nothing_ahead(void *store);
static int	compare_floats(const void *a, const void *b);
static void search_node(CheckState *check, float *distances, int *n);
static int	count_missed(CheckState *check, const float *found, int nfound,
						 int *nnear);
static bool is_sorted(CheckState *check, uint32 node);

static const OmenGraphOps check_ops = {
	.visit = visit_node,
	.ahead = read_nothing_ahead,
};

static float
distance_of(const CheckState *check, uint32 node)
{
	const OmenBuildTask *task = check->task;
	float		distance;

	distance = omen_quant_pair_distance(check->state->quant,
										task->codes + check->query * task->stride,
										task->codes + node * task->stride);

	return distance > 0 ? distance : 0;
}

/*
 * NULL, or what is wrong with the links that have been set.  In words, which last
 * as long as the current memory context.
 */
const char *
omen_hnsw_check_links(OmenHnswBuildState *state, OmenBuild *build,
					  const OmenBuildTask *task)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw check of links",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CheckState	check = {state, build, task};
	const char *fault = NULL;
	uint64		nmissed = 0;
	uint64		nwanted = 0;

	for (int i = 0; i < NQUERIES && fault == NULL; i++)
	{
		float		found[NEAREST];
		int			nfound;
		int			nnear;

		check.query = (uint64) task->n * i / NQUERIES;
		search_node(&check, found, &nfound);
		nmissed += count_missed(&check, found, nfound, &nnear);
		nwanted += nnear;
		if (!is_sorted(&check, check.query))
			fault = "links are not in the order of their distances";
		omen_hnsw_build_tick(state);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (fault == NULL && nmissed > (1 - LEAST_FOUND) * nwanted)
		fault = psprintf("searches of its graph have missed " UINT64_FORMAT " of " UINT64_FORMAT " nearest nodes",
						 nmissed, nwanted);
	ereport(DEBUG1,
			(errmsg_internal("searches of links by a helper missed " UINT64_FORMAT " of " UINT64_FORMAT " nearest nodes",
							 nmissed, nwanted)));
	return fault;
}

static bool
visit_node(void *store, OmenLink link, OmenVisit *visit)
{
	CheckState *check = store;
	uint32		node = omen_link_number(link);
	const uint32 *links = omen_build_get_links(check->build, node,
											   &visit->nlinks);

	memset(&visit->own, 0, sizeof(visit->own));
	visit->own.estimate = distance_of(check, node);
	visit->live = true;
	visit->allowed = true;
	visit->recheck = false;
	visit->level = 0;
	visit->ntids = 0;
	visit->more_tids = OMEN_LINK_INVALID;
	for (int i = 0; i < visit->nlinks; i++)
	{
		visit->links[i] = omen_link_form(links[i], 0);
		visit->estimates[i] = distance_of(check, links[i]);
	}
	return true;
}

static int
read_nothing_ahead(void *store)
{
	return 0;
}

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? -1 : x > y;
}

/* Distances of the nearest nodes that a search for one finds, without itself */
static void
search_node(CheckState *check, float *distances, int *n)
{
	OmenSearch *search = omen_search_create(&check_ops, check, BREADTH, false);
	uint32		nseeds = Min(NSEEDS, check->task->n);
	float	   *found;
	int			nfound = 0;

	for (uint32 i = 0; i < nseeds; i++)
	{
		uint32		seed = (uint64) check->task->n * i / nseeds +
			check->task->n / nseeds / 2;

		omen_search_seed(search, omen_link_form(seed, 0),
						 distance_of(check, seed));
	}
	(void) omen_search_run(search);

	found = palloc((search->nfound + 1) * sizeof(float));
	for (Size i = 0; i < search->nfound; i++)
	{
		if (omen_link_number(search->found[i].link) != check->query)
			found[nfound++] = search->found[i].own.estimate;
	}
	qsort(found, nfound, sizeof(float), compare_floats);
	*n = Min(nfound, NEAREST);
	memcpy(distances, found, *n * sizeof(float));
}

/*
 * Of the NEAREST nodes of the query's cluster, or all if there are fewer: those
 * nearer than the last one found, less those found as near.  nnear gets how many
 * could have been missed.
 */
static int
count_missed(CheckState *check, const float *found, int nfound, int *nnear)
{
	const OmenBuildTask *task = check->task;
	uint32		cluster = 0;
	uint32		first;
	uint32		end;
	float	   *near;
	int			n = 0;
	int			at = 0;
	int			nmissed = 0;

	while (cluster + 1 < task->nclusters &&
		   task->clusters[cluster + 1] <= check->query)
		cluster++;
	first = task->clusters[cluster];
	end = cluster + 1 < task->nclusters ? task->clusters[cluster + 1] : task->n;

	near = palloc((end - first + 1) * sizeof(float));
	for (uint32 node = first; node < end; node++)
	{
		if (node != check->query)
			near[n++] = distance_of(check, node);
	}
	qsort(near, n, sizeof(float), compare_floats);
	*nnear = Min(n, NEAREST);

	/* both are sorted: each found one stands for one that is no nearer */
	for (int i = 0; i < *nnear; i++)
	{
		if (at < nfound && found[at] <= near[i] * ORDER_SLACK)
			at++;
		else
			nmissed++;
	}
	return nmissed;
}

/* Are the local links of a node nearest first? */
static bool
is_sorted(CheckState *check, uint32 node)
{
	int			nlinks;
	int			nscale = check->task->levels[node] > 0 ?
		check->task->scale_links : 0;
	const uint32 *links = omen_build_get_links(check->build, node, &nlinks);
	float		before = 0;

	for (int i = 0; i < nlinks - nscale; i++)
	{
		float		distance = distance_of(check, links[i]);

		if (distance * ORDER_SLACK < before)
			return false;
		before = distance;
	}
	return true;
}
