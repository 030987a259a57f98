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
 * device wants much to do; near copies are not thinned.  What is left to the
 * server is to make everything reachable.
 *
 * The lists of who is where are the host's, a few bytes for each node and leaf
 * it is in.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>

#include "gpu/helper/build.h"
#include "gpu/helper/rules.h"

/* As in src/graph/graph_build.h, where the numbers are explained */
#define TOP_FANOUT			2
#define LEAF_FANOUT			3
#define TOP_SIZE			4000
#define LEAF_SIZE			512
#define LARGE_SET			300000
#define LEAF_SIZE_LARGE		300
#define SMALL_SET			20000
#define LEAF_KEEP			16
#define MAX_LEVEL			12

/* More leaders of one part than this cost more than they save */
#define MAX_LEADERS			2048

/* Units of progress by node */
#define WORK_CANDIDATES		10
#define WORK_CONNECT		12

#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define MAX(a, b)	((a) > (b) ? (a) : (b))

/* Nodes divided into parts: those of part p are items[starts[p]] and on */
typedef struct Parts
{
	uint32_t	nparts;
	uint32_t	room;			/* for parts */
	uint32_t   *starts;
	uint32_t   *items;
} Parts;

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

	/* of a batch: by node, its place among the owners + 1, or 0 */
	uint32_t   *place_of;
} Build;

static bool build_scale(Build *build);
static bool find_candidates(Build *build, int round);
static bool divide(Build *build, Parts *parts, uint32_t limit,
				   uint32_t target, int fanout, uint64_t purpose);
static bool compare(Build *build, const Parts *parts, int keep);
static bool compare_batch(Build *build, const Parts *parts, uint32_t first,
						  uint32_t end, int keep);

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
	build->done = MIN(build->done + work, build->total);
	build->params->progress(build->params->progress_arg, build->done,
							build->total);
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
	build.members = allocate(&build, n, sizeof(uint32_t));
	build.place_of = allocate(&build, n, sizeof(uint32_t));
	if (build.members == NULL || build.place_of == NULL)
		good = false;

	for (; good && build.scale <= MAX_LEVEL; build.scale++)
	{
		build.nmembers = 0;
		for (uint32_t i = 0; i < n; i++)
		{
			if (params->levels[params->order[i]] >= build.scale)
				build.members[build.nmembers++] = params->order[i];
		}
		if (build.nmembers < 2)
			break;
		good = build_scale(&build);
	}
	if (good)
		work_done(&build, build.total);
	free(build.place_of);
	free(build.members);
	return good;
}

/* Candidates and links among the nodes of one scale */
static bool
build_scale(Build *build)
{
	Backend    *backend = build->backend;

	/* the only leaf compares all with all: another look finds nothing new */
	int			rounds = build->nmembers <= LEAF_MAX ? 1 :
		build->params->rounds;

	if (!backend->ops->clear(backend, build->scale == 0 ? NULL :
							 build->members, build->nmembers))
		return false;
	for (int round = 0; round < rounds; round++)
	{
		if (!find_candidates(build, round))
			return false;
		work_done(build, (uint64_t) build->nmembers * WORK_CANDIDATES);
	}
	if (!backend->ops->connect(backend, build->members, build->nmembers,
							   build->scale))
		return false;
	work_done(build, (uint64_t) build->nmembers * WORK_CONNECT);
	return true;
}

/* Nearest that a row of a leaf passes on, in a scale of n nodes */
static int
leaf_keep(const BackendShape *shape, uint32_t n)
{
	if (n <= LEAF_MAX)
		return shape->list_size;
	if (n <= SMALL_SET)
		return MAX(shape->max_links, LEAF_KEEP);
	return MAX(LEAF_KEEP, shape->max_links / 2);
}

/* Leaders of n nodes, if each follows "fanout" and "target" follow each */
static uint32_t
count_leaders(uint32_t n, int fanout, uint32_t target)
{
	uint64_t	wanted = ((uint64_t) n * fanout + target / 2) / target;

	return (uint32_t) MAX(1, MIN(wanted, MAX_LEADERS));
}

static bool
find_candidates(Build *build, int round)
{
	uint32_t	n = build->nmembers;
	uint32_t	target = n <= LARGE_SET ? LEAF_SIZE : LEAF_SIZE_LARGE;
	uint64_t	purpose = rule_mix(rule_mix(build->params->seed, build->scale),
								   round);
	Parts		parts = {.nparts = 1, .room = 1};
	bool		good;

	parts.starts = allocate(build, 2, sizeof(uint32_t));
	parts.items = allocate(build, n, sizeof(uint32_t));
	good = parts.starts != NULL && parts.items != NULL;
	if (good)
	{
		memcpy(parts.items, build->members, n * sizeof(uint32_t));
		parts.starts[1] = n;

		/* clusters that overlap, leaves that overlap, what is still large */
		if (count_leaders(n, 1, TOP_SIZE) > 1)
			good = divide(build, &parts, LEAF_MAX, TOP_SIZE, TOP_FANOUT,
						  purpose);
		for (int depth = 1; good && depth < 64; depth++)
		{
			uint32_t	largest = 0;

			for (uint32_t p = 0; p < parts.nparts; p++)
				largest = MAX(largest, parts.starts[p + 1] - parts.starts[p]);
			if (largest <= LEAF_MAX)
				break;
			good = divide(build, &parts, LEAF_MAX, target,
						  depth == 1 ? LEAF_FANOUT : 1,
						  rule_mix(purpose, depth));
		}
	}
	good = good && compare(build, &parts, leaf_keep(&build->backend->shape, n));
	free(parts.starts);
	free(parts.items);
	return good;
}

/* --- division --- */

/* A division under way: which parts are divided, by which leaders */
typedef struct Division
{
	uint32_t	ngroups;		/* parts to be divided */
	uint32_t   *group_parts;
	uint32_t   *starts;			/* of their items */
	uint32_t   *items;
	uint32_t   *leader_starts;
	uint32_t   *leaders;
	uint32_t   *nearest;
} Division;

static void
free_division(Division *division)
{
	free(division->group_parts);
	free(division->starts);
	free(division->items);
	free(division->leader_starts);
	free(division->leaders);
	free(division->nearest);
}

/*
 * Which parts are larger than the limit, and leaders for them.  All have more
 * leaders than "fanout", as they have to.
 */
static bool
draw_leaders(Build *build, const Parts *parts, uint32_t limit,
			 uint32_t target, int fanout, uint64_t purpose,
			 Division *division)
{
	uint32_t	nitems = 0;
	size_t		nleaders = 0;

	for (uint32_t p = 0; p < parts->nparts; p++)
	{
		uint32_t	size = parts->starts[p + 1] - parts->starts[p];

		if (size <= limit)
			continue;
		division->ngroups++;
		nitems += size;
		nleaders += MAX(count_leaders(size, fanout, target),
						(uint32_t) fanout + 1);
	}
	division->group_parts = allocate(build, division->ngroups,
									 sizeof(uint32_t));
	division->starts = allocate(build, division->ngroups, sizeof(uint32_t));
	division->items = allocate(build, nitems, sizeof(uint32_t));
	division->leader_starts = allocate(build, division->ngroups,
									   sizeof(uint32_t));
	division->leaders = allocate(build, nleaders, sizeof(uint32_t));
	division->nearest = allocate(build, (size_t) nitems * fanout,
								 sizeof(uint32_t));
	if (division->group_parts == NULL || division->starts == NULL ||
		division->items == NULL || division->leader_starts == NULL ||
		division->leaders == NULL || division->nearest == NULL)
		return false;

	nitems = 0;
	nleaders = 0;
	division->ngroups = 0;
	for (uint32_t p = 0; p < parts->nparts; p++)
	{
		const uint32_t *items = parts->items + parts->starts[p];
		uint32_t	size = parts->starts[p + 1] - parts->starts[p];
		uint32_t	k;

		if (size <= limit)
			continue;
		k = MAX(count_leaders(size, fanout, target), (uint32_t) fanout + 1);
		for (uint32_t i = 0; i < k; i++)
			division->leaders[nleaders++] =
				items[rule_stratum(rule_mix(purpose, p), i, size, k)];
		memcpy(division->items + nitems, items, size * sizeof(uint32_t));
		nitems += size;
		division->group_parts[division->ngroups++] = p;
		division->starts[division->ngroups] = nitems;
		division->leader_starts[division->ngroups] = (uint32_t) nleaders;
	}
	return true;
}

static bool
add_part(Build *build, Parts *parts, uint32_t end)
{
	if (parts->nparts == parts->room)
	{
		uint32_t   *starts;

		parts->room = parts->room * 2 + 64;
		starts = realloc(parts->starts,
						 ((size_t) parts->room + 1) * sizeof(uint32_t));
		if (starts == NULL)
		{
			snprintf(build->backend->fault, sizeof(build->backend->fault),
					 "out of memory for %u parts", parts->room);
			return false;
		}
		parts->starts = starts;
	}
	parts->starts[++parts->nparts] = end;
	return true;
}

/*
 * Add the parts that group g is divided into.  If one of them has nearly
 * everything, as with equal vectors, the items are cut into pieces instead.
 */
static bool
add_group(Build *build, const Division *division, uint32_t g, uint32_t target,
		  int fanout, Parts *parts)
{
	uint32_t	first = division->starts[g];
	uint32_t	size = division->starts[g + 1] - first;
	uint32_t	k = division->leader_starts[g + 1] -
		division->leader_starts[g];
	const uint32_t *nearest = division->nearest + (size_t) first * fanout;
	uint32_t	counts[MAX_LEADERS + 1] = {0};
	uint32_t	at = parts->starts[parts->nparts];
	uint32_t	largest = 0;

	for (size_t i = 0; i < (size_t) size * fanout; i++)
		counts[nearest[i]]++;
	for (uint32_t i = 0; i < k; i++)
		largest = MAX(largest, counts[i]);

	if (largest > size - size / 10)
	{
		memcpy(parts->items + at, division->items + first,
			   size * sizeof(uint32_t));
		for (uint32_t done = 0; done < size;)
		{
			done += MIN(target, size - done);
			if (!add_part(build, parts, at + done))
				return false;
		}
		return true;
	}

	for (uint32_t i = 0; i < k; i++)
	{
		uint32_t	count = counts[i];

		counts[i] = at;
		at += count;
		if (count > 0 && !add_part(build, parts, at))
			return false;
	}
	for (uint32_t i = 0; i < size; i++)
	{
		for (int j = 0; j < fanout; j++)
			parts->items[counts[nearest[(size_t) i * fanout + j]]++] =
				division->items[first + i];
	}
	return true;
}

/*
 * Divide all parts larger than the limit, so that about "target" follow each
 * leader and everybody follows "fanout" of them.
 */
static bool
divide(Build *build, Parts *parts, uint32_t limit, uint32_t target, int fanout,
	   uint64_t purpose)
{
	Backend    *backend = build->backend;
	Division	division = {0};
	Parts		divided = {0};
	bool		good;

	good = draw_leaders(build, parts, limit, target, fanout, purpose,
						&division);
	if (good)
	{
		BackendGroups groups = {
			.ngroups = division.ngroups,
			.starts = division.starts,
			.items = division.items,
			.leader_starts = division.leader_starts,
			.leaders = division.leaders,
		};

		divided.starts = allocate(build, 0, sizeof(uint32_t));
		divided.items = allocate(build, (size_t) parts->starts[parts->nparts] *
								 fanout, sizeof(uint32_t));
		good = divided.starts != NULL && divided.items != NULL &&
			backend->ops->assign(backend, &groups, fanout, division.nearest);
	}
	for (uint32_t p = 0, g = 0; good && p < parts->nparts; p++)
	{
		uint32_t	at = divided.starts[divided.nparts];
		uint32_t	size = parts->starts[p + 1] - parts->starts[p];

		if (g < division.ngroups && division.group_parts[g] == p)
			good = add_group(build, &division, g++, target, fanout, &divided);
		else
		{
			memcpy(divided.items + at, parts->items + parts->starts[p],
				   size * sizeof(uint32_t));
			good = add_part(build, &divided, at + size);
		}
	}
	free_division(&division);
	free(parts->starts);
	free(parts->items);
	*parts = divided;
	return good;
}

/* --- comparison --- */

/* All leaves, in batches */
static bool
compare(Build *build, const Parts *parts, int keep)
{
	uint32_t	first = 0;

	for (uint32_t end = 1; end <= parts->nparts; end++)
	{
		if (end < parts->nparts &&
			parts->starts[end + 1] - parts->starts[first] <=
			build->params->batch_rows)
			continue;
		if (!compare_batch(build, parts, first, end, keep))
			return false;
		first = end;
		work_done(build, 0);
	}
	return true;
}

/*
 * Compare the leaves from the first on, with a list of which of their rows
 * belong to the same node, so that each node's list is written once.
 */
static bool
compare_batch(Build *build, const Parts *parts, uint32_t first, uint32_t end,
			  int keep)
{
	Backend    *backend = build->backend;
	const uint32_t *items = parts->items + parts->starts[first];
	uint32_t	nrows = parts->starts[end] - parts->starts[first];
	uint32_t   *starts = allocate(build, end - first, sizeof(uint32_t));
	uint32_t   *owners = allocate(build, nrows, sizeof(uint32_t));
	uint32_t   *row_starts = allocate(build, nrows + 1, sizeof(uint32_t));
	uint32_t   *rows = allocate(build, nrows, sizeof(uint32_t));
	uint32_t	nowners = 0;
	bool		good = starts && owners && row_starts && rows;

	if (good)
	{
		for (uint32_t i = 0; i <= end - first; i++)
			starts[i] = parts->starts[first + i] - parts->starts[first];

		/* counts two places on, so that filling in leaves the starts */
		for (uint32_t row = 0; row < nrows; row++)
		{
			if (build->place_of[items[row]] == 0)
			{
				owners[nowners++] = items[row];
				build->place_of[items[row]] = nowners;
			}
			row_starts[build->place_of[items[row]] + 1]++;
		}
		for (uint32_t i = 2; i <= nowners; i++)
			row_starts[i] += row_starts[i - 1];
		for (uint32_t row = 0; row < nrows; row++)
			rows[row_starts[build->place_of[items[row]]]++] = row;
		for (uint32_t i = 0; i < nowners; i++)
			build->place_of[owners[i]] = 0;
		good = backend->ops->leaves(backend, &(BackendLeaves) {
			.nleaves = end - first,
			.starts = starts,
			.items = items,
			.nowners = nowners,
			.owners = owners,
			.row_starts = row_starts,
			.rows = rows,
			.keep = keep,
		});
	}
	free(starts);
	free(owners);
	free(row_starts);
	free(rows);
	return good;
}
