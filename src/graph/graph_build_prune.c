/*-------------------------------------------------------------------------
 *
 * graph_build_prune.c
 *	  Whom to link: from the candidates of a scale to links.
 *
 * Three passes over the members of the scale at work:
 *
 *	forward		choose among the candidates; what is left of a list is the
 *				chosen ones, followed in rank by the nearest of the others
 *	mirror		offer each chosen link to its target, by mail
 *	final		choose among forward links and offers together
 *
 * NOTES
 *	A node's list belongs to whoever works on the node.
 *
 *	Of more offers than fit, the nearest are kept, whatever the order in
 *	which they come: the result does not depend on timing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

static int	count_wanted(const OmenBuild *build, uint32 node);
static int	choose_among(OmenBuild *build, uint32 node, const uint64 *keys,
						 int n, OmenNear *near, bool *kept);
static void choose_forward(OmenBuild *build, uint32 node);
static void measure_again(OmenBuild *build, uint32 node);
static bool has_node(const uint64 *keys, int n, uint64 key);
static void mirror_links(OmenBuild *build, uint32 node);
static void take_offer(OmenBuild *build, const OmenLetter *letter);
static void finish_range(OmenBuild *build, uint32 range);
static void choose_final(OmenBuild *build, uint32 node);
static int	sort_list(OmenBuild *build, uint32 node);
static void store_links(OmenBuild *build, uint32 node, const OmenNear *near,
						const int *chosen, int n);
static void store_scale_links(OmenBuild *build, uint32 node,
							  const OmenNear *near, const bool *kept, int n);
static void store_long_links(OmenBuild *build, uint32 node,
							 const OmenNear *near, const int *chosen, int n);
static int	add_link(uint32 *links, int nlinks, uint32 link);
static void sort_local_links(OmenBuild *build, uint32 node);

/* Turn the candidates of the scale at work into links */
void
omen_build_prune(OmenBuild *build)
{
	uint32		nmembers = build->nmembers;
	uint32		first;
	uint32		end;
	uint32		i;

	while (omen_build_claim(build, nmembers, OMEN_BUILD_CHUNK, &first, &end))
	{
		for (i = first; i < end; i++)
			choose_forward(build, omen_scale_member(build, i));
		for (i = first; i < end; i++)
			mirror_links(build, omen_scale_member(build, i));
	}

	omen_mail_deliver(build, take_offer, finish_range);
}

/* Links that a node is to get at the scale at work */
static int
count_wanted(const OmenBuild *build, uint32 node)
{
	int			level = build->levels[node];
	int			nscale = 0;

	/* with few nodes, everybody is linked to everybody and has no scale */
	if (build->n > build->max_links + 1)
		nscale = omen_graph_scale_links(level, build->max_links);
	if (build->scale >= OMEN_LONG_SCALE)
		return (build->max_links - nscale) / 4;
	return build->scale == 0 ? build->max_links - nscale : nscale;
}

/*
 * Choose among n candidates, given by keys: fills near[] and kept[], returns
 * the number kept.  Where it is cheap to compute all distances between them
 * at once, that is done.
 */
static int
choose_among(OmenBuild *build, uint32 node, const uint64 *keys, int n,
			 OmenNear *near, bool *kept)
{
	bool		packed = build->matrix != NULL &&
		build->matrix->kernel != NULL &&
		!omen_pair_matrix_loses_bits(build->matrix);
	uint32		salt = omen_key_salt(node);
	int			i;

	build->leaf.n = 0;
	for (i = 0; i < n; i++)
	{
		kept[i] = false;
		near[i].node = omen_key_node(keys[i], salt);
		near[i].distance = omen_key_distance(keys[i]);
		omen_block_add(build, &build->leaf,
					   omen_fetch_code(build, near[i].node), build->stride);
		near[i].pair = omen_block_code(build, &build->leaf, i);
	}
	if (packed)
	{
		omen_pair_matrix_load(build->matrix, build->leaf.codes, build->stride,
							  n);
		omen_pair_matrix_all(build->matrix, build->candidates,
							 omen_select_width(n));
	}
	if (build->scale == 0)
		omen_thin_keep_copies(near, n, count_wanted(build, node), kept);
	omen_build_tick(build, n * build->stride * 32, OMEN_WORK_PRUNE / 2);
	return omen_graph_diversify(build->quant, near, n,
								count_wanted(build, node), OMEN_LARGEST_ALPHA,
								packed ? build->candidates : NULL, kept);
}

static void
choose_forward(OmenBuild *build, uint32 node)
{
	OmenListSize *size = &build->nlist[node];
	uint64	   *list = omen_node_list(build, node);
	int			n;
	int			wanted = count_wanted(build, node);
	OmenNear	near[OMEN_SELECT_MAX];
	bool		kept[OMEN_SELECT_MAX];
	uint64	   *keys = build->keys;
	int			nkept;
	int			nkeys = 0;
	int			i;

	if (omen_pair_matrix_loses_bits(build->matrix))
		measure_again(build, node);
	n = size->candidates;
	nkept = choose_among(build, node, list, n, near, kept);
	for (i = 0; i < n; i++)
	{
		if (kept[i])
			keys[nkeys++] = list[i];
	}
	for (i = 0; i < n && nkeys < wanted; i++)
	{
		if (!kept[i] && !has_node(keys, nkeys, list[i]))
			keys[nkeys++] = list[i];
	}
	memcpy(list, keys, nkeys * sizeof(uint64));
	size->candidates = nkeys;
	size->kept = nkept;
	size->reverse = 0;
}

/*
 * The distances of a node's candidates again, by whole codes: of vectors that
 * are near each other, a lost bit is all that they differ by.  What has been found
 * twice, at distances that were not the same, is there once then.
 */
static void
measure_again(OmenBuild *build, uint32 node)
{
	uint64	   *list = omen_node_list(build, node);
	const uint8 *code = omen_node_code(build, node);
	uint32		salt = omen_key_salt(node);
	int			n = build->nlist[node].candidates;
	int			ndistinct = 0;

	for (int i = 0; i < n; i++)
	{
		uint32		other = omen_key_node(list[i], salt);
		const uint8 *other_code = omen_fetch_code(build, other);
		float		distance = omen_quant_pair_distance(build->quant, code,
														other_code);
		uint64		key = omen_key_form(distance, other, salt);
		int			at = ndistinct;

		while (at > 0 && key < list[at - 1])
			at--;
		if (at > 0 && key == list[at - 1])
			continue;
		memmove(&list[at + 1], &list[at], (ndistinct - at) * sizeof(uint64));
		list[at] = key;
		ndistinct++;
	}
	build->nlist[node].candidates = ndistinct;
	omen_build_tick(build, n * build->stride, 0);
}

/* Is a key's node among those of other keys? */
static bool
has_node(const uint64 *keys, int n, uint64 key)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if ((uint32) keys[i] == (uint32) key)
			return true;
	}
	return false;
}

static void
mirror_links(OmenBuild *build, uint32 node)
{
	uint32		salt = omen_key_salt(node);
	const uint64 *list = omen_node_list(build, node);
	int			i;

	for (i = 0; i < build->nlist[node].kept; i++)
	{
		uint32		target = omen_key_node(list[i], salt);
		uint64		key = omen_key_form(omen_key_distance(list[i]), node,
										omen_key_salt(target));

		omen_mail_send(build, target, &key, 1);
	}
	omen_build_tick(build, build->list_size * sizeof(uint64), 0);
}

/* A node is offered a link: it counts unless the node has that one */
static void
take_offer(OmenBuild *build, const OmenLetter *letter)
{
	OmenListSize *size = &build->nlist[letter->node];
	uint64	   *list = omen_node_list(build, letter->node);
	uint64	   *offers = list + size->candidates;
	int			room = build->list_size - size->candidates;
	uint64		key = letter->keys[0];
	int			worst = 0;
	int			i;

	if (has_node(list, size->candidates, key))
		return;
	if (size->reverse < room)
	{
		offers[size->reverse++] = key;
		return;
	}
	for (i = 1; i < room; i++)
	{
		if (offers[i] > offers[worst])
			worst = i;
	}
	if (key < offers[worst])
		offers[worst] = key;
}

/* The last pass, for the nodes of one range */
static void
finish_range(OmenBuild *build, uint32 range)
{
	uint32		size = build->arena->range_size;
	uint32		end = omen_scale_first(build, (range + 1) * size);
	uint32		i;

	for (i = omen_scale_first(build, range * size); i < end; i++)
		choose_final(build, omen_scale_member(build, i));
}

static void
choose_final(OmenBuild *build, uint32 node)
{
	int			wanted = count_wanted(build, node);
	OmenNear	near[OMEN_SELECT_MAX];
	bool		kept[OMEN_SELECT_MAX];
	int			chosen[OMEN_SELECT_MAX];
	int			n;
	int			nkept;

	n = sort_list(build, node);
	nkept = choose_among(build, node, build->keys, n, near, kept);
	if (build->scale == 0)
	{
		n = omen_graph_fill(kept, n, wanted, nkept, chosen);
		store_links(build, node, near, chosen, n);
	}
	else if (build->scale >= OMEN_LONG_SCALE)
	{
		n = omen_graph_fill(kept, n, wanted, nkept, chosen);
		store_long_links(build, node, near, chosen, n);
		if (build->scale == OMEN_LONG_SCALE)
			sort_local_links(build, node);
	}
	else if (build->scale == build->levels[node])
		store_scale_links(build, node, near, kept, n);
}

/* Sort forward links and offers together into build->keys */
static int
sort_list(OmenBuild *build, uint32 node)
{
	const OmenListSize *size = &build->nlist[node];
	const uint64 *list = omen_node_list(build, node);
	uint64	   *keys = build->keys;
	int			n = size->candidates + size->reverse;
	int			i;

	for (i = 0; i < n; i++)
	{
		uint64		key = list[i];
		int			at;

		for (at = i; at > 0 && key < keys[at - 1]; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
	return n;
}

static void
store_links(OmenBuild *build, uint32 node, const OmenNear *near,
			const int *chosen, int n)
{
	uint32	   *links = omen_node_links(build, node);
	int			i;

	for (i = 0; i < n; i++)
		links[i] = near[chosen[i]].node;
	build->nlinks[node] = n;
}

/*
 * Append links at a node's own scale, chosen ones first, then the nearest of
 * the others.  What it has a local link to already does not count.
 */
static void
store_scale_links(OmenBuild *build, uint32 node, const OmenNear *near,
				  const bool *kept, int n)
{
	uint32	   *links = omen_node_links(build, node);
	int			nlocal = build->nlinks[node];
	int			nlinks = nlocal;
	int			max = nlocal + count_wanted(build, node);
	int			pass;
	int			i;
	int			j;

	for (pass = 0; pass < 2; pass++)
	{
		for (i = 0; i < n && nlinks < max; i++)
		{
			if (kept[i] != (pass == 0))
				continue;
			for (j = 0; j < nlocal; j++)
			{
				if (links[j] == near[i].node)
					break;
			}
			if (j == nlocal)
				links[nlinks++] = near[i].node;
		}
	}
	build->nlinks[node] = nlinks;
	build->nscale[node] = nlinks - nlocal;
}

/*
 * Put links within a set of long nodes in front of the local ones, of which
 * the last make room.  What is linked to already does not count.
 */
static void
store_long_links(OmenBuild *build, uint32 node, const OmenNear *near,
				 const int *chosen, int n)
{
	uint32	   *links = omen_node_links(build, node);
	int			nscale = build->nscale[node];
	int			nlocal = build->nlinks[node] - nscale;
	uint32		merged[OMEN_MAX_LINKS];
	int			nmerged = nscale;
	int			i;

	/* at the scale first, so that they are not linked to twice */
	memcpy(merged, links + nlocal, nscale * sizeof(uint32));
	for (i = 0; i < n && nmerged < build->max_links; i++)
		nmerged = add_link(merged, nmerged, near[chosen[i]].node);
	for (i = 0; i < nlocal && nmerged < build->max_links; i++)
		nmerged = add_link(merged, nmerged, links[i]);

	memcpy(links, merged + nscale, (nmerged - nscale) * sizeof(uint32));
	memcpy(links + nmerged - nscale, merged, nscale * sizeof(uint32));
	build->nlinks[node] = nmerged;
}

/* Unless it is there; returns how many there are then */
static int
add_link(uint32 *links, int nlinks, uint32 link)
{
	for (int i = 0; i < nlinks; i++)
	{
		if (links[i] == link)
			return nlinks;
	}
	links[nlinks] = link;
	return nlinks + 1;
}

static void
sort_local_links(OmenBuild *build, uint32 node)
{
	uint32	   *links = omen_node_links(build, node);
	const uint8 *code = omen_node_code(build, node);
	int			nlocal = build->nlinks[node] - build->nscale[node];
	uint64	   *keys = build->keys;

	for (int i = 0; i < nlocal; i++)
	{
		float		distance =
			omen_quant_pair_distance(build->quant, code,
									 omen_fetch_code(build, links[i]));
		uint64		key = omen_key_form(Max(distance, 0), links[i], 0);
		int			at;

		for (at = i; at > 0 && key < keys[at - 1]; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
	for (int i = 0; i < nlocal; i++)
		links[i] = omen_key_node(keys[i], 0);
	omen_build_tick(build, nlocal * build->stride, 0);
}
