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
 * had before make room, the farthest first; in the smallest sets, all of them.
 *
 * After that, a node of more than average length to which fewer have links
 * than it has itself gets more, from its own neighbours, nearest first.  Each
 * gives up the farthest of its links that leads where more than that lead.
 * Who does so is decided by one participant, in the order of nodes; to count links
 * before, and to put new ones in order after it, is what takes time, and everybody's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/order.h"
#include "graph/graph_build.h"

/* Nodes whose lengths stand for those of all */
#define LENGTH_SAMPLE	4096

/* How many nodes ahead the links of their neighbours are asked for */
#define AHEAD			8

static float set_limit(OmenBuild *build, int set);
static void collect_long(OmenBuild *build, float limit);
static uint32 list_long(OmenBuild *build, uint32 first, uint32 end,
						float limit, uint32 *members);
static void number_chunks(OmenBuild *build);
static float norm2_of(OmenBuild *build, uint32 node, Size read);
static float next_norm2(OmenBuild *build, uint32 node);
static float sample_norms(OmenBuild *build, float *norms, uint32 n);
static bool mark_long(OmenBuild *build);
static void clear_counts(OmenBuild *build);
static void count_links(OmenBuild *build);
static void favour_long(OmenBuild *build);
static void prefetch_neighbours(const OmenBuild *build, uint32 node);
static void ask_neighbours(OmenBuild *build, uint32 node);
static bool link_back(OmenBuild *build, uint32 neighbour, uint32 node);
static void append_link(OmenBuild *build, uint32 node, uint32 other);
static void sort_links(OmenBuild *build);
static void sort_new_links(OmenBuild *build, uint32 node);

StaticAssertDecl(2 * OMEN_TOP_FANOUT >= 3, "three arrays must fit into pairs[]");

/*
 * Working space in build->pairs, by node: links that lead to it, new links among
 * its local ones, whether it is long.  Before, by chunk of nodes: those that are in
 * a set, which become their places in it.
 */
static inline pg_atomic_uint32 *
link_counts(const OmenBuild *build)
{
	return (pg_atomic_uint32 *) build->pairs;
}

static inline uint32 *
new_links(const OmenBuild *build)
{
	return build->pairs + build->n;
}

static inline bool *
long_marks(const OmenBuild *build)
{
	return (bool *) (build->pairs + (Size) 2 * build->n);
}

static inline uint32 *
chunk_places(const OmenBuild *build)
{
	return build->pairs;
}

static inline uint32
count_of(const OmenBuild *build, uint32 node)
{
	return pg_atomic_read_u32(&link_counts(build)[node]);
}

/* By the participant that has them to itself */
static inline void
change_count(OmenBuild *build, uint32 node, int by)
{
	pg_atomic_write_u32(&link_counts(build)[node], count_of(build, node) + by);
}

void
omen_build_favour_long(OmenBuild *build)
{
	if (build->quant->shape.metric != OMEN_METRIC_IP || !mark_long(build))
		return;
	count_links(build);
	omen_build_once(build, favour_long);
	sort_links(build);
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
		collect_long(build, set_limit(build, i));
		build->nmembers = build->arena->nsubset;
		if (build->nmembers < 2)
			continue;
		omen_build_candidates(build, 0);
		omen_build_prune(build);
	}
}

/* The squared length that nodes of a set are longer than, by a sample */
static float
set_limit(OmenBuild *build, int set)
{
	float		norms[LENGTH_SAMPLE];
	uint32		n = Min(build->n, LENGTH_SAMPLE);
	float		limit = sample_norms(build, norms, n) * OMEN_LONG_NORM2;

	qsort(norms, n, sizeof(float), omen_compare_floats);
	return Max(limit, norms[n - 1 - (n >> 2 * (set + 1))]);
}

/* List the nodes that are longer, in their order: count, then put in place */
static void
collect_long(OmenBuild *build, float limit)
{
	uint32		members[OMEN_BUILD_CHUNK];
	uint32	   *places = chunk_places(build);
	uint32		first;
	uint32		end;

	omen_build_once(build, NULL);
	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
		places[first / OMEN_BUILD_CHUNK] = list_long(build, first, end, limit,
													 members);
	omen_build_once(build, number_chunks);
	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		uint32		n = list_long(build, first, end, limit, members);

		memcpy(build->subset + places[first / OMEN_BUILD_CHUNK], members,
			   n * sizeof(uint32));
		for (uint32 i = 0; i < n; i++)
			memset(&build->nlist[members[i]], 0, sizeof(OmenListSize));
	}
	omen_build_once(build, NULL);
}

/* A node's squared length; ticks, as its code is read for it, wherever it is */
static float
norm2_of(OmenBuild *build, uint32 node, Size read)
{
	omen_build_tick(build, read, 0);
	return omen_quant_pair_norm2(build->quant, omen_node_code(build, node));
}

/* The same of one node after the other */
static float
next_norm2(OmenBuild *build, uint32 node)
{
	return norm2_of(build, node, build->stride > 0 ? build->stride :
					OMEN_FAR_ACCESS);
}

static uint32
list_long(OmenBuild *build, uint32 first, uint32 end, float limit,
		  uint32 *members)
{
	uint32		n = 0;

	for (uint32 node = first; node < end; node++)
	{
		if (next_norm2(build, node) > limit)
			members[n++] = node;
	}
	return n;
}

static void
number_chunks(OmenBuild *build)
{
	uint32	   *places = chunk_places(build);
	uint32		nsubset = 0;

	for (uint32 i = 0; i * OMEN_BUILD_CHUNK < build->n; i++)
	{
		uint32		n = places[i];

		places[i] = nsubset;
		nsubset += n;
	}
	build->arena->nsubset = nsubset;
}

/* Squared lengths of n nodes from everywhere; returns their average */
static float
sample_norms(OmenBuild *build, float *norms, uint32 n)
{
	double		sum = 0;

	for (uint32 i = 0; i < n; i++)
	{
		uint32		node = omen_build_stratum(build->arena->params.seed, i,
											  build->n, n);

		norms[i] = norm2_of(build, node, OMEN_FAR_ACCESS);
		sum += norms[i];
	}
	return (float) (sum / n);
}

/* Which nodes are longer than average; false if none is */
static bool
mark_long(OmenBuild *build)
{
	float		norms[LENGTH_SAMPLE];
	uint32		n = Min(build->n, LENGTH_SAMPLE);
	float		limit = sample_norms(build, norms, n) * OMEN_LONG_NORM2;
	bool	   *marks = long_marks(build);
	uint32		first;
	uint32		end;

	omen_build_once(build, clear_counts);
	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		uint32		nlong = 0;

		for (uint32 node = first; node < end; node++)
		{
			marks[node] = next_norm2(build, node) > limit;
			nlong += marks[node];
		}
		if (nlong > 0)
			pg_atomic_fetch_add_u32(&build->arena->nlong, nlong);
	}
	omen_build_once(build, NULL);
	return pg_atomic_read_u32(&build->arena->nlong) > 0;
}

static void
clear_counts(OmenBuild *build)
{
	memset(link_counts(build), 0, build->n * sizeof(uint32));
	memset(new_links(build), 0, build->n * sizeof(uint32));
	pg_atomic_write_u32(&build->arena->nlong, 0);
}

static void
count_links(OmenBuild *build)
{
	pg_atomic_uint32 *counts = link_counts(build);
	uint32		first;
	uint32		end;

	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		for (uint32 node = first; node < end; node++)
		{
			const uint32 *links = omen_node_links(build, node);

			for (int i = 0; i < build->nlinks[node]; i++)
				pg_atomic_fetch_add_u32(&counts[links[i]], 1);
		}
		omen_build_tick(build, (end - first) * build->max_links *
						sizeof(uint32), 0);
	}
}

static void
favour_long(OmenBuild *build)
{
	const bool *marks = long_marks(build);

	for (uint32 node = 0; node < build->n; node++)
	{
		uint32		ahead = Min(node + AHEAD, build->n - 1);

		if (marks[ahead] && count_of(build, ahead) < build->max_links)
			prefetch_neighbours(build, ahead);
		if (marks[node] && count_of(build, node) < build->max_links)
			ask_neighbours(build, node);
		omen_build_tick(build, build->max_links * sizeof(uint32), 0);
	}
}

/* The beginning of their links */
static void
prefetch_neighbours(const OmenBuild *build, uint32 node)
{
	const uint32 *links = omen_node_links(build, node);
	int			nlocal = build->nlinks[node] - build->nscale[node];

	for (int i = 0; i < nlocal; i++)
	{
		const char *theirs = (const char *) omen_node_links(build, links[i]);

		__builtin_prefetch(theirs);
		__builtin_prefetch(theirs + OMEN_CACHE_LINE);
	}
}

static void
ask_neighbours(OmenBuild *build, uint32 node)
{
	const uint32 *links = omen_node_links(build, node);
	int			nlocal = build->nlinks[node] - build->nscale[node];

	for (int i = 0;
		 i < nlocal && count_of(build, node) < build->max_links; i++)
	{
		if (link_back(build, links[i], node))
			change_count(build, node, 1);
		omen_build_tick(build, OMEN_FAR_ACCESS, 0);
	}
}

/* False if the neighbour has such a link, or none to give up for it */
static bool
link_back(OmenBuild *build, uint32 neighbour, uint32 node)
{
	const uint32 *links = omen_node_links(build, neighbour);
	int			nlinks = build->nlinks[neighbour];

	for (int i = 0; i < nlinks; i++)
	{
		if (links[i] == node)
			return false;
	}
	if (nlinks == build->max_links)
	{
		/* to where new ones lead, there never are too many */
		int			victim = nlinks - build->nscale[neighbour] -
			new_links(build)[neighbour] - 1;

		while (victim >= 0 &&
			   count_of(build, links[victim]) <= build->max_links)
			victim--;
		if (victim < 0)
			return false;
		change_count(build, links[victim], -1);
		omen_build_remove_local(build, neighbour, victim);
	}
	append_link(build, neighbour, node);
	return true;
}

/* Behind all other local links; there is room */
static void
append_link(OmenBuild *build, uint32 node, uint32 other)
{
	int			nscale = build->nscale[node];
	uint32	   *end = omen_node_links(build, node) + build->nlinks[node] - nscale;

	memmove(end + 1, end, nscale * sizeof(uint32));
	*end = other;
	build->nlinks[node]++;
	new_links(build)[node]++;
}

/* New links where their distances put them */
static void
sort_links(OmenBuild *build)
{
	uint32		first;
	uint32		end;

	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		for (uint32 node = first; node < end; node++)
		{
			if (new_links(build)[node] > 0)
				sort_new_links(build, node);
		}
		omen_build_tick(build, (end - first) * sizeof(uint32), 0);
	}
}

static void
sort_new_links(OmenBuild *build, uint32 node)
{
	int			n = new_links(build)[node];
	int			nscale = build->nscale[node];
	uint32	   *end = omen_node_links(build, node) + build->nlinks[node] - nscale;
	uint32		others[OMEN_MAX_LINKS];

	memcpy(others, end - n, n * sizeof(uint32));
	memmove(end - n, end, nscale * sizeof(uint32));
	build->nlinks[node] -= n;
	for (int i = 0; i < n; i++)
		omen_build_insert_link(build, node, others[i]);
	omen_build_tick(build, n * OMEN_FAR_ACCESS, 0);
}
