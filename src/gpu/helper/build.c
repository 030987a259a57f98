/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Construction of the graph: what is compared with what, in what order.
 *
 * The method is that of src/graph/README.md: at each scale, and several times
 * over, nodes join the clusters of their nearest leaders, which are drawn at
 * random; clusters are divided in the same way into leaves; all pairs of a leaf
 * are compared, and the nearest merged into lists; then lists become links.
 * Where it differs: all parts of a division are divided at once, because a
 * device wants much to do; each leaf is thinned or not by what is found in it.
 * By inner product, long nodes are scales of their own behind the others.
 * What is left to the server is to make everything reachable.
 *
 * Who is where is the backend's to know; here it is decided by how many are.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/build.h"
#include "gpu/helper/rules.h"

/* As in src/graph/graph_build.h, where the numbers are explained */
#define TOP_FANOUT			2
#define LEAF_FANOUT			3
#define TOP_SIZE			4000	/* if each node followed one leader */
#define LEAF_SIZE			512
#define LARGE_SET			300000
#define LEAF_SIZE_LARGE		300
#define SMALL_SET			20000
#define LEAF_KEEP			16
#define MAX_LEVEL			12

/* Nodes whose lengths stand for those of all */
#define LENGTH_SAMPLE		4096

/* Units of progress by node */
#define WORK_CANDIDATES		10
#define WORK_CONNECT		12

typedef struct Build
{
	Backend    *backend;
	const BuildParams *params;
	uint64_t	done;
	uint64_t	total;

	/* of the scale at work */
	int			scale;
	uint32_t   *members;
	uint32_t	nmembers;

	/* the backend's items are in parts, from starts[] on */
	uint32_t   *starts;
	uint32_t	nparts;
} Build;

static bool build_scale(Build *build);
static bool build_long_sets(Build *build);
static bool find_candidates(Build *build, int round);
static bool divide(Build *build, uint32_t target, int fanout,
				   uint64_t purpose);
static bool compare(Build *build, int keep);
static uint32_t largest_part(const Build *build);

static void *
allocate(Build *build, size_t count, size_t size)
{
	void	   *memory = calloc(count + 1, size);

	if (memory == NULL)
		snprintf(build->backend->fault, sizeof(build->backend->fault),
				 "out of memory: %zu bytes", count * size);
	return memory;
}

static void
work_done(Build *build, uint64_t work)
{
	build->done = Min(build->done + work, build->total);
	build->params->progress(build->params->progress_arg, build->done,
							build->total);
}

/* Of the members of the last scale, those of this one */
static void
keep_members(Build *build)
{
	uint32_t	nkept = 0;

	/* everybody is of the first scale */
	if (build->scale == 0)
		return;
	for (uint32_t i = 0; i < build->nmembers; i++)
	{
		uint32_t	node = build->members[i];

		if (build->params->levels[node] >= build->scale)
			build->members[nkept++] = node;
	}
	build->nmembers = nkept;
}

bool
omen_gpu_build(Backend *backend, const BuildParams *params)
{
	uint32_t	n = backend->shape.nnodes;
	Build		build = {.backend = backend, .params = params};
	bool		good = true;

	/* scales hold n/4 + n/16 + ... nodes */
	build.total = ((uint64_t) n + n / 3) *
		((uint64_t) WORK_CANDIDATES * params->rounds + WORK_CONNECT);
	if (backend->shape.metric == OMEN_GPU_LIFTED)
		build.total += n / 3 * (WORK_CANDIDATES + WORK_CONNECT);
	build.nmembers = n;
	build.members = allocate(&build, n, sizeof(uint32_t));
	if (build.members == NULL)
		return false;
	memcpy(build.members, params->order, n * sizeof(uint32_t));

	for (; good && build.scale <= MAX_LEVEL; build.scale++)
	{
		keep_members(&build);
		if (build.nmembers < 2)
			break;
		good = build_scale(&build);
	}
	if (backend->shape.metric == OMEN_GPU_LIFTED)
		good = good && build_long_sets(&build);
	good = good && backend->ops->number(backend, params->order);
	if (good)
		work_done(&build, build.total);
	free(build.starts);
	free(build.members);
	return good;
}

/* Candidates and links among the nodes of one scale */
static bool
build_scale(Build *build)
{
	Backend    *backend = build->backend;

	/* the only leaf compares all with all: another look finds nothing new */
	int			rounds = build->nmembers <= LEAF_MAX ||
		build->scale >= LONG_SCALE ? 1 : build->params->rounds;

	for (int round = 0; round < rounds; round++)
	{
		if (!backend->ops->enter(backend, build->members, build->nmembers) ||
			(round == 0 && !backend->ops->clear(backend)) ||
			!find_candidates(build, round))
			return false;
		work_done(build, (uint64_t) build->nmembers * WORK_CANDIDATES);
	}
	if (!backend->ops->connect(backend, build->scale))
		return false;
	work_done(build, (uint64_t) build->nmembers * WORK_CONNECT);
	return true;
}

/* --- long nodes --- */

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

/* The squared length that nodes of each set are longer than, by a sample */
static void
find_limits(const Build *build, const float *norms, float *limits)
{
	float		sample[LENGTH_SAMPLE];
	uint32_t	n = build->backend->shape.nnodes;
	uint32_t	nsample = Min(n, LENGTH_SAMPLE);
	double		sum = 0;

	for (uint32_t i = 0; i < nsample; i++)
	{
		sample[i] = norms[rule_stratum(build->params->seed, i, n, nsample)];
		sum += sample[i];
	}
	qsort(sample, nsample, sizeof(float), compare_floats);
	for (int set = 0; set < LONG_SETS; set++)
		limits[set] = Max((float) (sum / nsample) * LONG_NORM2,
						  sample[nsample - 1 - (nsample >> 2 * (set + 1))]);
}

/* Squared lengths, by node */
static bool
find_lengths(Build *build, float *norms)
{
	const BackendShape *shape = &build->backend->shape;

	if (norms == NULL || !build->backend->ops->lifts(build->backend, norms))
		return false;
	for (uint32_t i = 0; i < shape->nnodes; i++)
		norms[i] = shape->max_norm2 - norms[i] * norms[i];
	return true;
}

/* The smallest set comes first: in the largest are all whose links to sort */
static bool
build_long_sets(Build *build)
{
	uint32_t	n = build->backend->shape.nnodes;
	float	   *norms = allocate(build, n, sizeof(float));
	float		limits[LONG_SETS];
	bool		good = find_lengths(build, norms);

	if (good)
		find_limits(build, norms, limits);
	for (int set = LONG_SETS - 1; good && set >= 0; set--)
	{
		build->scale = LONG_SCALE + set;
		build->nmembers = 0;
		for (uint32_t i = 0; i < n; i++)
		{
			uint32_t	node = build->params->order[i];

			if (norms[node] > limits[set])
				build->members[build->nmembers++] = node;
		}
		if (build->nmembers >= 2)
			good = build_scale(build);
	}
	if (build->nmembers >= 2)
		good = good && build->backend->ops->sort(build->backend);
	free(norms);
	return good;
}

/* --- candidates --- */

/* Nearest that a row of a leaf passes on, in a scale of n nodes */
static int
leaf_keep(const BackendShape *shape, uint32_t n)
{
	if (n <= LEAF_MAX)
		return shape->list_size;
	if (n <= SMALL_SET)
		return Max(shape->max_links, LEAF_KEEP);
	return Max(LEAF_KEEP, shape->max_links / 2);
}

/* Leaders of n nodes, if each follows "fanout" and "target" follow each */
static uint32_t
count_leaders(uint32_t n, int fanout, uint32_t target)
{
	uint64_t	wanted = ((uint64_t) n * fanout + target / 2) / target;

	return (uint32_t) Max(1, Min(wanted, LEADERS_MAX));
}

/* Clusters that overlap, leaves that overlap, and what is still too large */
static bool
find_candidates(Build *build, int round)
{
	uint32_t	n = build->nmembers;
	uint32_t	target = n <= LARGE_SET ? LEAF_SIZE : LEAF_SIZE_LARGE;
	uint64_t	purpose = rule_mix(rule_mix(build->params->seed, build->scale),
								   round);

	free(build->starts);
	build->starts = allocate(build, 2, sizeof(uint32_t));
	if (build->starts == NULL)
		return false;
	build->nparts = 1;
	build->starts[1] = n;
	if (count_leaders(n, 1, TOP_SIZE) > 1 &&
		!divide(build, TOP_SIZE * TOP_FANOUT, TOP_FANOUT, purpose))
		return false;
	for (int depth = 1; depth < 64 && largest_part(build) > LEAF_MAX; depth++)
	{
		if (!divide(build, target, depth == 1 ? LEAF_FANOUT : 1,
					rule_mix(purpose, depth)))
			return false;
	}
	return compare(build, leaf_keep(&build->backend->shape, n));
}

/* --- division --- */

/* A division under way: see BackendDivision */
typedef struct Plan
{
	uint32_t   *nleaders;
	uint32_t   *cells;
	bool	   *cut;
	uint32_t   *counts;			/* by cell */
} Plan;

static uint32_t
part_size(const Build *build, uint32_t part)
{
	return build->starts[part + 1] - build->starts[part];
}

static uint32_t
largest_part(const Build *build)
{
	uint32_t	largest = 0;

	for (uint32_t p = 0; p < build->nparts; p++)
		largest = Max(largest, part_size(build, p));
	return largest;
}

static uint32_t
count_pieces(uint32_t size, uint32_t target)
{
	return (size + target - 1) / target;
}

/*
 * Which parts get leaders, and cells for all.  Those that get any have more of
 * them than "fanout", as they have to.
 */
static bool
make_plan(Build *build, uint32_t target, int fanout, Plan *plan)
{
	plan->nleaders = allocate(build, build->nparts, sizeof(uint32_t));
	plan->cells = allocate(build, build->nparts, sizeof(uint32_t));
	plan->cut = allocate(build, build->nparts, sizeof(bool));
	if (!plan->nleaders || !plan->cells || !plan->cut)
		return false;
	for (uint32_t p = 0; p < build->nparts; p++)
	{
		uint32_t	size = part_size(build, p);
		uint32_t	ncells = 1;

		if (size > LEAF_MAX)
		{
			plan->nleaders[p] = Max(count_leaders(size, fanout, target),
									(uint32_t) fanout + 1);
			ncells = Max(plan->nleaders[p], count_pieces(size, target));
		}
		plan->cells[p + 1] = plan->cells[p] + ncells;
	}
	plan->counts = allocate(build, plan->cells[build->nparts],
							sizeof(uint32_t));
	return plan->counts != NULL;
}

static void
free_plan(Plan *plan)
{
	free(plan->nleaders);
	free(plan->cells);
	free(plan->cut);
	free(plan->counts);
}

/*
 * If one cell has nearly everything of a part, as with equal vectors, that part
 * is cut up.
 */
static void
decide_cut(const Build *build, uint32_t part, uint32_t target, Plan *plan)
{
	uint32_t	size = part_size(build, part);
	uint32_t	largest = 0;

	if (plan->nleaders[part] == 0)
		return;
	for (uint32_t c = plan->cells[part]; c < plan->cells[part + 1]; c++)
		largest = Max(largest, plan->counts[c]);
	if (largest <= size - size / 10)
		return;
	plan->cut[part] = true;
	for (uint32_t c = plan->cells[part]; c < plan->cells[part + 1]; c++)
	{
		plan->counts[c] = Min(size, target);
		size -= plan->counts[c];
	}
}

/* Cells with items become parts */
static bool
take_parts(Build *build, const Plan *plan)
{
	uint32_t	ncells = plan->cells[build->nparts];
	uint32_t   *starts = allocate(build, ncells, sizeof(uint32_t));

	if (starts == NULL)
		return false;
	build->nparts = 0;
	for (uint32_t c = 0; c < ncells; c++)
	{
		if (plan->counts[c] == 0)
			continue;
		starts[build->nparts + 1] = starts[build->nparts] + plan->counts[c];
		build->nparts++;
	}
	free(build->starts);
	build->starts = starts;
	return true;
}

/*
 * Divide all parts that are too large for a leaf, so that about "target" follow
 * each leader and everybody follows "fanout" of them.
 */
static bool
divide(Build *build, uint32_t target, int fanout, uint64_t purpose)
{
	Backend    *backend = build->backend;
	Plan		plan = {0};
	bool		good = make_plan(build, target, fanout, &plan);
	BackendDivision division = {
		.nparts = build->nparts,
		.starts = build->starts,
		.nleaders = plan.nleaders,
		.cells = plan.cells,
		.purpose = purpose,
		.fanout = fanout,
		.target = target,
	};

	good = good && backend->ops->assign(backend, &division, plan.counts, NULL);
	for (uint32_t p = 0; good && p < build->nparts; p++)
		decide_cut(build, p, target, &plan);
	good = good &&
		backend->ops->deal(backend, &division, plan.cut, plan.counts) &&
		take_parts(build, &plan);
	free_plan(&plan);
	return good;
}

/* --- comparison --- */

/* All parts, which are leaves now, in batches */
static bool
compare(Build *build, int keep)
{
	Backend    *backend = build->backend;
	uint32_t	first = 0;

	for (uint32_t end = 1; end <= build->nparts; end++)
	{
		if (end < build->nparts &&
			build->starts[end + 1] - build->starts[first] <=
			backend->batch_rows)
			continue;
		if (!backend->ops->compare(backend, end - first,
								   build->starts + first, keep,
								   build->nmembers > LEAF_MAX))
			return false;
		first = end;
		work_done(build, 0);
	}
	return true;
}
