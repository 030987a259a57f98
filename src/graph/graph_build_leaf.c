/*-------------------------------------------------------------------------
 *
 * graph_build_leaf.c
 *	  Candidates from a leaf: all pairs, the nearest of each, merging.
 *
 * Choosing and merging cost as much as the distances themselves, so a row's
 * distances are first reduced to the few below a bound that is sure to let
 * enough of them through (graph_build_nearest.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "base/copies.h"
#include "graph/graph_build.h"

static void load_leaf(OmenBuild *build, const OmenCluster *cluster,
					  const uint32 *items, int n, uint32 *nodes);
static void compare_leaf(OmenBuild *build, int n, int width);
static void prepare_thinning(OmenBuild *build, const uint32 *nodes, int n,
							 int width);
static void add_nearest(OmenBuild *build, OmenCluster *cluster, uint32 item,
						const float *distances, const uint32 *nodes, int n);
static int	choose_thinned(OmenBuild *build, uint32 node,
						   const float *distances, const uint32 *nodes, int n,
						   int nfound, int keep);
static int	choose_nearest(const float *distances, const uint32 *nodes, int n,
						   int keep, uint32 salt, uint64 *keys);

/*
 * Find the nearest of each of n members of a cluster among these members.  If
 * most rows of the cluster's leaves so far had near copies, this one is
 * thinned (graph_build_thin.c).
 */
void
omen_build_leaf(OmenBuild *build, OmenCluster *cluster, const uint32 *items,
				int n)
{
	uint32		nodes[OMEN_LEAF_MAX];
	int			width = omen_pair_matrix_width(n);
	int			i;

	Assert(n <= OMEN_LEAF_MAX);

	load_leaf(build, cluster, items, n, nodes);
	compare_leaf(build, n, width);
	cluster->thinned = cluster->ncopied > cluster->nseen / 2;
	if (cluster->thinned)
		prepare_thinning(build, nodes, n, width);
	for (i = 0; i < n; i++)
	{
		const float *distances = build->leaf_distances + i * width;

		if (cluster->thinned)
			distances = omen_thin_row(build->thinning, nodes[i], distances, n,
									  cluster->keep);
		add_nearest(build, cluster, items[i], distances, nodes, n);
	}
}

static void
load_leaf(OmenBuild *build, const OmenCluster *cluster, const uint32 *items,
		  int n, uint32 *nodes)
{
	int			i;

	build->leaf.n = 0;
	for (i = 0; i < n; i++)
	{
		nodes[i] = cluster->members[items[i]];
		omen_block_add(build, &build->leaf, omen_fetch_code(build, nodes[i]),
					   build->stride);
	}
	if (build->matrix != NULL)
		omen_pair_matrix_load(build->matrix, build->leaf.codes, build->stride,
							  n);
}

/*
 * Distances of all members of a leaf to each other, to build->leaf_distances;
 * a row's to itself is NaN, which compares as false and is never chosen.
 */
static void
compare_leaf(OmenBuild *build, int n, int width)
{
	int			batch = build->matrix != NULL ? OMEN_PAIR_TILE : 1;
	int			i;

	for (i = 0; i < n; i += batch)
	{
		if (build->matrix != NULL)
			omen_pair_matrix_tile(build->matrix, i, build->leaf_distances,
								  width);
		else
			omen_block_distances(build, &build->leaf, 0,
								 omen_block_code(build, &build->leaf, i),
								 build->leaf_distances + i * width);
		omen_build_tick(build, Min(batch, n - i) * n * build->stride, 0);
	}
	for (i = 0; i < n; i++)
		build->leaf_distances[i * width + i] = NAN;
}

static void
prepare_thinning(OmenBuild *build, const uint32 *nodes, int n, int width)
{
	int			i;

	omen_thin_begin(build->thinning, nodes, n);
	for (i = 0; i < n; i++)
		omen_thin_note(build->thinning, build->leaf_distances + i * width, n,
					   i);
}

/* Add the nearest of a leaf to what a member of the cluster has found so far */
static void
add_nearest(OmenBuild *build, OmenCluster *cluster, uint32 item,
			const float *distances, const uint32 *nodes, int n)
{
	uint64		merged[OMEN_MAX_KEYS];
	uint64	   *near = cluster->near + (Size) item * cluster->room;
	uint16	   *nnear = &cluster->nnear[item];
	int			nfound;

	nfound = choose_nearest(distances, nodes, n, cluster->keep,
							omen_key_salt(cluster->members[item]),
							build->keys);
	cluster->nseen++;
	cluster->ncopied += omen_thin_has_copies(distances, n, build->keys, nfound,
											 cluster->keep);
	if (cluster->thinned)
		nfound = choose_thinned(build, cluster->members[item], distances,
								nodes, n, nfound, cluster->keep);
	*nnear = omen_build_merge_keys(merged, cluster->room, near, *nnear,
								   build->keys, nfound);
	memcpy(near, merged, *nnear * sizeof(uint64));
}

/*
 * Of a node's nearest of a thinned leaf, in build->keys, those that are passed
 * on.  If hardly anything but its copies is among them, look beyond these.
 */
static int
choose_thinned(OmenBuild *build, uint32 node, const float *distances,
			   const uint32 *nodes, int n, int nfound, int keep)
{
	uint64		last = nfound == keep ? build->keys[keep - 1] : 0;
	int			nchosen = omen_thin_choose(build->keys, nfound, keep);
	int			wanted = omen_others_wanted(keep, nchosen -
											omen_copies_passed(keep));
	uint64		others[OMEN_MAX_LINKS];
	int			nothers;

	if (nfound < keep || wanted <= 0)
		return nchosen;
	Assert(omen_others_found(keep) <= OMEN_MAX_LINKS);
	distances = omen_thin_beyond(build->thinning, distances, n,
								 omen_key_distance(last));
	nothers = choose_nearest(distances, nodes, n, omen_others_found(keep),
							 omen_key_salt(node), others);
	nothers = omen_thin_draw(others, nothers, wanted, omen_build_mix(node, n));
	memcpy(build->keys + nchosen, others, nothers * sizeof(uint64));
	return nchosen + nothers;
}

/*
 * From the distances of one row, the keys of the nearest "keep", sorted.
 * Returns how many there are.
 */
static int
choose_nearest(const float *distances, const uint32 *nodes, int n, int keep,
			   uint32 salt, uint64 *keys)
{
	uint32		below[OMEN_LEAF_MAX + 16];
	int			nbelow = omen_build_below_bound(distances, n, keep, below);
	int			nkeys = 0;
	int			i;

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
 * Merge two sorted lists, dropping what is equal, and keep the first "room".
 * Keys of the same pair are equal, or nearly: where a CPU has no kernel that
 * computes d(a, b) and d(b, a) alike, the last bit may differ.  Such doubles
 * are dropped when links are chosen.
 */
int
omen_build_merge_keys(uint64 *dst, int room, const uint64 *a, int na,
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
