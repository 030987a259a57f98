/*-------------------------------------------------------------------------
 *
 * graph_build_leaf.c
 *	  Candidates from a leaf: all pairs, the nearest of each, merging.
 *
 * Choosing and merging cost more than the distances themselves, so a row's
 * distances are first reduced to the few below a bound that is sure to let
 * enough of them through.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "graph/graph_build.h"

/* Lanes of the bound, see bound_nearest() */
#define LANES	16

static int	choose_nearest(OmenBuild *build, const uint32 *nodes, int n,
						   int keep, uint32 salt);
static float bound_nearest(const float *distances, int n, int keep);
static int	merge_keys(uint64 *dst, int room, const uint64 *a, int na,
					   const uint64 *b, int nb);

/* Find the nearest of each of n members of a cluster among these members */
void
omen_build_leaf(OmenBuild *build, OmenCluster *cluster, const uint32 *items,
				int n)
{
	uint32		nodes[OMEN_LEAF_MAX];
	uint64		merged[OMEN_MAX_KEYS];
	int			i;

	Assert(n <= OMEN_LEAF_MAX);

	build->leaf.n = 0;
	for (i = 0; i < n; i++)
	{
		nodes[i] = cluster->members[items[i]];
		omen_block_add(build, &build->leaf, omen_node_code(build, nodes[i]),
					   build->stride);
	}

	for (i = 0; i < n; i++)
	{
		uint64	   *near = cluster->near + (Size) items[i] * cluster->room;
		uint16	   *nnear = &cluster->nnear[items[i]];
		int			nfound;

		omen_block_distances(build, &build->leaf, 0,
							 omen_node_code(build, nodes[i]),
							 build->distances);
		build->distances[i] = NAN;	/* compares as false: never chosen */
		nfound = choose_nearest(build, nodes, n, cluster->keep,
								omen_key_salt(nodes[i]));
		*nnear = merge_keys(merged, cluster->room, near, *nnear,
							build->keys, nfound);
		memcpy(near, merged, *nnear * sizeof(uint64));
		omen_build_tick(build, n * build->stride, 0);
	}
}

/*
 * From the distances of one row, the keys of the nearest "keep" go to
 * build->keys, sorted.  Returns how many there are.
 */
static int
choose_nearest(OmenBuild *build, const uint32 *nodes, int n, int keep,
			   uint32 salt)
{
	const float *distances = build->distances;
	uint64	   *keys = build->keys;
	float		bound = bound_nearest(distances, n, keep);
	uint16		below[OMEN_LEAF_MAX];
	int			nbelow = 0;
	int			nkeys = 0;
	int			i;

	/* without a branch, which could not be predicted */
	for (i = 0; i < n; i++)
	{
		below[nbelow] = i;
		nbelow += distances[i] <= bound;
	}

	for (i = 0; i < nbelow; i++)
	{
		uint64		key = omen_key_form(distances[below[i]],
										nodes[below[i]], salt);
		int			at;

		if (nkeys == keep && key >= keys[nkeys - 1])
			continue;
		if (nkeys < keep)
			nkeys++;
		for (at = nkeys - 1; at > 0 && key < keys[at - 1]; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
	return nkeys;
}

/*
 * A distance that at least "keep" of n do not exceed.  Each lane has a member
 * no farther than the lane's minimum, so if there are as many lanes as are to
 * be kept, the largest minimum is such a distance; at random, three times as
 * many fall below it.
 */
static float
bound_nearest(const float *distances, int n, int keep)
{
	float		minima[LANES];
	float		bound = 0;
	int			i;
	int			lane;

	if (keep > LANES || n < 2 * LANES)
		return INFINITY;

	for (lane = 0; lane < LANES; lane++)
		minima[lane] = INFINITY;
	for (i = 0; i + LANES <= n; i += LANES)
	{
		for (lane = 0; lane < LANES; lane++)
			minima[lane] = distances[i + lane] < minima[lane] ?
				distances[i + lane] : minima[lane];
	}
	for (lane = 0; lane < LANES; lane++)
		bound = Max(bound, minima[lane]);
	return bound;
}

/* Merge the private lists of a cluster into those of the arena */
void
omen_build_merge_cluster(OmenBuild *build, const OmenCluster *cluster)
{
	uint64		merged[OMEN_SELECT_MAX];
	uint32		i;

	for (i = 0; i < cluster->n; i++)
	{
		uint32		node = cluster->members[i];
		uint64	   *list = omen_node_list(build, node);
		OmenListSize *size = &build->nlist[node];

		omen_build_lock(build, node);
		size->candidates = merge_keys(merged, build->list_size,
									  list, size->candidates,
									  cluster->near +
									  (Size) i * cluster->room,
									  cluster->nnear[i]);
		memcpy(list, merged, size->candidates * sizeof(uint64));
		omen_build_unlock(build, node);
		omen_build_tick(build, build->list_size * sizeof(uint64),
						OMEN_WORK_CANDIDATES / OMEN_TOP_FANOUT);
	}
}

/*
 * Merge two sorted lists, dropping what is equal, and keep the first "room".
 * The same pair has the same distance whenever it is met (a promise of
 * omen_quant_pair_block), so one node cannot survive under two keys.
 */
static int
merge_keys(uint64 *dst, int room, const uint64 *a, int na,
		   const uint64 *b, int nb)
{
	int			n = 0;
	int			i = 0;
	int			j = 0;

	while (n < room && i < na && j < nb)
	{
		uint64		ka = a[i];
		uint64		kb = b[j];

		dst[n++] = ka < kb ? ka : kb;
		i += ka <= kb;
		j += kb <= ka;
	}
	while (n < room && i < na)
		dst[n++] = a[i++];
	while (n < room && j < nb)
		dst[n++] = b[j++];
	return n;
}
