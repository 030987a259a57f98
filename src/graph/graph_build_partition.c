/*-------------------------------------------------------------------------
 *
 * graph_build_partition.c
 *	  Where to look for candidates: overlapping clusters and their leaves.
 *
 * Every member of the scale at work joins the clusters of its nearest
 * leaders, which are drawn at random; each cluster is divided in the same way
 * into leaves, inside which all pairs are compared.  Two members that are
 * near each other meet in some leaf with high probability.
 *
 * NOTES
 *	Clusters are given out to participants one by one.  While one is worked
 *	on, its members' candidates are kept in private memory; in the end they are
 *	mailed to the members (graph_build_mail.c), and merged into the arena's
 *	lists when all clusters are done.  Keeping the nearest of a union does not
 *	depend on the order of the merges, so the result is the same whoever does
 *	what.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "graph/graph_build.h"

/* A set of member indexes divided into overlapping parts */
typedef struct Parts
{
	uint32		nparts;
	uint32	   *starts;			/* [nparts + 1] */
	uint32	   *items;
} Parts;

static int	count_leaders(uint32 n, int fanout, uint32 target);
static void join_clusters(OmenBuild *build, uint32 first, uint32 end);
static void list_clusters(OmenBuild *build);
static void work_on_cluster(OmenBuild *build, const uint32 *members,
							uint32 n, int keep);
static void merge_letter(OmenBuild *build, const OmenLetter *letter);
static void work_on_large_cluster(OmenBuild *build, const uint32 *members,
								  uint32 n, int keep);
static void work_on_part(OmenBuild *build, OmenCluster *cluster,
						 const uint32 *items, uint32 n, int fanout);
static void divide(OmenBuild *build, const OmenCluster *cluster,
				   const uint32 *items, uint32 n, uint32 target, int fanout,
				   Parts *parts);
static void free_parts(Parts *parts);

/* Collect candidates for the nodes of the scale at work, once over */
void
omen_build_candidates(OmenBuild *build, int round)
{
	uint32		nmembers = build->nmembers;
	uint64		purpose = omen_build_mix(build->scale, round);
	int			nleaders;
	int			keep = omen_build_leaf_keep(build->arena, nmembers);
	uint32		first;
	uint32		end;

	nleaders = count_leaders(nmembers, 1, OMEN_TOP_SIZE);
	omen_build_draw_leaders(build, purpose, NULL, nmembers, nleaders);
	build->fanout = Min(OMEN_TOP_FANOUT, nleaders);

	omen_build_once(build, NULL);
	while (omen_build_claim(build, nmembers, OMEN_BUILD_CHUNK, &first, &end))
		join_clusters(build, first, end);
	omen_build_once(build, list_clusters);

	while (omen_build_claim(build, nleaders, 1, &first, &end))
		work_on_cluster(build,
						build->pairs + (Size) build->n * OMEN_TOP_FANOUT +
						build->starts[first],
						build->starts[first + 1] - build->starts[first],
						keep);

	omen_mail_deliver(build, merge_letter, NULL);
}

/*
 * Candidates that each member of a leaf passes on, in a scale of n nodes.
 * With one leaf only, there is no other source of candidates, and with few,
 * they find the same ones.
 */
int
omen_build_leaf_keep(const OmenBuildArena *arena, uint32 n)
{
	if (n <= OMEN_LEAF_MAX)
		return arena->list_size;
	if (n <= OMEN_SMALL_SET)
		return Max(arena->params.max_links, OMEN_LEAF_KEEP);
	return Max(OMEN_LEAF_KEEP, arena->params.max_links / 2);
}

/*
 * Number of leaders for n members, if each follows "fanout" of them and
 * "target" of them are to follow each
 */
static int
count_leaders(uint32 n, int fanout, uint32 target)
{
	uint64		wanted = ((uint64) n * fanout + target / 2) / target;

	return (int) Max(1, Min(wanted, OMEN_MAX_LEADERS));
}

/*
 * Draw leaders among nmembers nodes (of the scale at work, if members is
 * NULL) and gather their codes in build->leaders.  One is drawn from each of
 * equal stretches of the members, so that none is drawn twice.
 */
void
omen_build_draw_leaders(OmenBuild *build, uint64 purpose,
						const uint32 *members, uint32 nmembers, int nleaders)
{
	uint64		seed = omen_build_mix(build->arena->params.seed, purpose);
	int			i;

	build->leaders.n = 0;
	for (i = 0; i < nleaders; i++)
	{
		uint32		chosen = omen_build_stratum(seed, i, nmembers, nleaders);
		uint32		node = members != NULL ? members[chosen] :
			omen_scale_member(build, chosen);

		omen_block_add(build, &build->leaders, omen_fetch_code(build, node),
					   build->stride);
	}
}

/* Note the clusters that some members of the scale join */
static void
join_clusters(OmenBuild *build, uint32 first, uint32 end)
{
	int			nleaders = build->leaders.n;
	uint32		i;

	for (i = first; i < end; i++)
	{
		uint32		node = omen_scale_member(build, i);

		if (nleaders > 1)
			omen_block_distances(build, &build->leaders, 0,
								 omen_node_code(build, node),
								 build->distances);
		omen_build_nearest(build->distances, nleaders, build->fanout,
						   build->pairs + (Size) i * build->fanout);
		omen_build_tick(build, nleaders * build->stride, 1);
	}
}

/*
 * The indexes of the nearest "fanout" of n, nearest first.  With a fanout of
 * n, distances are not looked at.
 */
void
omen_build_nearest(const float *distances, int n, int fanout, uint32 *nearest)
{
	float		best[OMEN_LEAF_FANOUT];
	int			nbest = 0;
	int			i;

	Assert(fanout <= Min(n, OMEN_LEAF_FANOUT));

	if (fanout == n)
	{
		for (i = 0; i < n; i++)
			nearest[i] = i;
		return;
	}

	for (i = 0; i < n; i++)
	{
		int			at;

		if (nbest == fanout && !(distances[i] < best[nbest - 1]))
			continue;
		if (nbest < fanout)
			nbest++;
		for (at = nbest - 1; at > 0 && distances[i] < best[at - 1]; at--)
		{
			best[at] = best[at - 1];
			nearest[at] = nearest[at - 1];
		}
		best[at] = distances[i];
		nearest[at] = i;
	}
}

/* Turn the clusters of each member into the members of each cluster */
static void
list_clusters(OmenBuild *build)
{
	uint32	   *members = build->pairs + (Size) build->n * OMEN_TOP_FANOUT;
	Size		njoined = (Size) build->nmembers * build->fanout;
	int			nleaders = build->leaders.n;
	Size		i;

	omen_build_invert(build->pairs, njoined, nleaders, build->starts,
					  members);

	/* places in the list of memberships, to the nodes meant */
	for (i = 0; i < njoined; i++)
		members[i] = omen_scale_member(build, members[i] / build->fanout);
}

/*
 * Given the group (below ngroups) of each of n items, list the items of each
 * group in ascending order: those of group g are items[starts[g]] to
 * items[starts[g + 1]].
 */
void
omen_build_invert(const uint32 *groups, uint32 n, uint32 ngroups,
				  uint32 *starts, uint32 *items)
{
	uint32		i;

	memset(starts, 0, (ngroups + 1) * sizeof(uint32));
	for (i = 0; i < n; i++)
		starts[groups[i] + 1]++;
	for (i = 0; i < ngroups; i++)
		starts[i + 1] += starts[i];
	for (i = 0; i < n; i++)
		items[starts[groups[i]]++] = i;

	/* each start has moved to the next one's place */
	memmove(starts + 1, starts, ngroups * sizeof(uint32));
	starts[0] = 0;
}

/* Compare the members of a cluster, and tell each what was found */
static void
work_on_cluster(OmenBuild *build, const uint32 *members, uint32 n, int keep)
{
	OmenCluster cluster;
	uint32	   *items;
	uint32		i;

	if (n > OMEN_CLUSTER_MAX)
	{
		work_on_large_cluster(build, members, n, keep);
		return;
	}

	cluster.members = members;
	cluster.n = n;
	cluster.keep = keep;
	cluster.room = keep * OMEN_LEAF_ROOM;
	cluster.nseen = 0;
	cluster.ncopied = 0;
	cluster.near = (uint64 *) palloc((Size) n * cluster.room *
									 sizeof(uint64) + 1);
	cluster.nnear = (uint16 *) palloc0(n * sizeof(uint16) + 1);
	items = (uint32 *) palloc(n * sizeof(uint32) + 1);
	for (i = 0; i < n; i++)
		items[i] = i;

	work_on_part(build, &cluster, items, n, OMEN_LEAF_FANOUT);
	for (i = 0; i < n; i++)
	{
		omen_mail_send(build, members[i], cluster.near + (Size) i * cluster.room,
					   cluster.nnear[i]);
		omen_build_tick(build, cluster.room * sizeof(uint64),
						OMEN_WORK_CANDIDATES / OMEN_TOP_FANOUT);
	}

	pfree(items);
	pfree(cluster.nnear);
	pfree(cluster.near);
}

/* A node hears of candidates */
static void
merge_letter(OmenBuild *build, const OmenLetter *letter)
{
	uint64		merged[OMEN_SELECT_MAX];
	uint64	   *list = omen_node_list(build, letter->node);
	OmenListSize *size = &build->nlist[letter->node];

	size->candidates = omen_build_merge_keys(merged, build->list_size,
											 list, size->candidates,
											 letter->keys, letter->nkeys);
	memcpy(list, merged, size->candidates * sizeof(uint64));
}

/*
 * A cluster too large for private lists, because leaders are limited or lie
 * badly, is first cut into parts that do not overlap.
 */
static void
work_on_large_cluster(OmenBuild *build, const uint32 *members, uint32 n,
					  int keep)
{
	OmenCluster cluster;
	Parts		parts;
	uint32	   *items = (uint32 *) palloc(n * sizeof(uint32));
	uint32		part;
	uint32		i;

	cluster.members = members;
	for (i = 0; i < n; i++)
		items[i] = i;
	divide(build, &cluster, items, n, OMEN_TOP_SIZE, 1, &parts);

	for (part = 0; part < parts.nparts; part++)
	{
		uint32	   *nodes = parts.items + parts.starts[part];
		uint32		size = parts.starts[part + 1] - parts.starts[part];

		for (i = 0; i < size; i++)
			nodes[i] = members[nodes[i]];
		work_on_cluster(build, nodes, size, keep);
	}
	free_parts(&parts);
	pfree(items);
}

/* Divide some members of a cluster until they fit into leaves */
static void
work_on_part(OmenBuild *build, OmenCluster *cluster, const uint32 *items,
			 uint32 n, int fanout)
{
	uint32		target = build->nmembers <= OMEN_LARGE_SET ?
		OMEN_LEAF_SIZE : OMEN_LEAF_SIZE_LARGE;
	Parts		parts;
	uint32		part;

	if (n <= OMEN_LEAF_MAX)
	{
		omen_build_leaf(build, cluster, items, n);
		return;
	}

	/* once is enough for the overlap, else members would multiply */
	divide(build, cluster, items, n, target, fanout, &parts);
	for (part = 0; part < parts.nparts; part++)
		work_on_part(build, cluster, parts.items + parts.starts[part],
					 parts.starts[part + 1] - parts.starts[part], 1);
	free_parts(&parts);
}

/*
 * Divide items (indexes of members of a cluster) by leaders drawn among them.
 * If one part gets nearly everything, as happens with equal vectors, the items
 * are cut into pieces of the size aimed at instead: recursion must end.
 */
static void
divide(OmenBuild *build, const OmenCluster *cluster, const uint32 *items,
	   uint32 n, uint32 target, int fanout, Parts *parts)
{
	int			nleaders = Max(2, count_leaders(n, fanout, target));
	uint32	   *chosen;
	uint32	   *nearest;
	uint32		largest = 0;
	uint32		i;

	fanout = Min(fanout, nleaders - 1);
	chosen = (uint32 *) palloc(n * sizeof(uint32));
	nearest = (uint32 *) palloc((Size) n * fanout * sizeof(uint32));
	for (i = 0; i < n; i++)
		chosen[i] = cluster->members[items[i]];
	omen_build_draw_leaders(build, omen_build_mix(chosen[0], n), chosen, n,
							nleaders);
	for (i = 0; i < n; i++)
	{
		omen_block_distances(build, &build->leaders, 0,
							 omen_fetch_code(build, chosen[i]),
							 build->distances);
		omen_build_nearest(build->distances, nleaders, fanout,
						   nearest + (Size) i * fanout);
		omen_build_tick(build, nleaders * build->stride, 0);
	}

	parts->nparts = nleaders;
	parts->starts = (uint32 *) palloc(((Size) n + 2) * sizeof(uint32));
	parts->items = (uint32 *) palloc((Size) n * fanout * sizeof(uint32));
	omen_build_invert(nearest, n * fanout, nleaders, parts->starts,
					  parts->items);
	for (i = 0; i < n * fanout; i++)
		parts->items[i] = items[parts->items[i] / fanout];

	for (i = 0; i < nleaders; i++)
		largest = Max(largest, parts->starts[i + 1] - parts->starts[i]);
	if (largest > n - n / 10)
	{
		parts->nparts = (n + target - 1) / target;
		for (i = 0; i <= parts->nparts; i++)
			parts->starts[i] = Min(i * target, n);
		memcpy(parts->items, items, n * sizeof(uint32));
	}

	pfree(nearest);
	pfree(chosen);
}

static void
free_parts(Parts *parts)
{
	pfree(parts->items);
	pfree(parts->starts);
}
