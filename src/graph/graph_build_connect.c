/*-------------------------------------------------------------------------
 *
 * graph_build_connect.c
 *	  Make every node reachable: the last repair of a new graph.
 *
 * Pruning can leave a node without links to it (an outlier whose neighbours
 * all have nearer ones) and small sets with links only among themselves.  A
 * breadth-first walk from a node of the highest level finds them; each is
 * then given a link from a node the walk has reached, preferably one of its
 * own neighbours.  That link takes the place of the farthest one over which
 * the walk reached nobody first, so that whatever was reachable stays so.
 *
 * In the end every node has a parent: a node with a link to it that is
 * nearer to the start.
 *
 * One participant does all this, in the order of nodes; it costs one look at
 * each link (0.2 s for a million nodes).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* Nodes tried as neighbours of a node that has no link to a reached one */
#define NSAMPLE			256

#define NO_PARENT		PG_UINT32_MAX

static void connect_all(OmenBuild *build);
static void walk_from(OmenBuild *build, uint32 start);
static bool adopt_by_neighbour(OmenBuild *build, uint32 node);
static void adopt_by_stranger(OmenBuild *build, uint32 node);
static bool adopt(OmenBuild *build, uint32 parent, uint32 node);

/* How each node was first reached, and the nodes to go on from */
static inline uint32 *
parents(const OmenBuild *build)
{
	return build->pairs;
}

static inline uint32 *
walk_queue(const OmenBuild *build)
{
	return build->pairs + build->n;
}

void
omen_build_connect(OmenBuild *build)
{
	omen_build_once(build, connect_all);
}

static void
connect_all(OmenBuild *build)
{
	uint32	   *lost = build->subset;
	uint32		nlost = 0;
	uint32		start = omen_build_start_node(build);
	uint32		node;

	memset(parents(build), 0xFF, build->n * sizeof(uint32));
	parents(build)[start] = start;
	walk_from(build, start);

	for (node = 0; node < build->n; node++)
	{
		if (parents(build)[node] == NO_PARENT)
			lost[nlost++] = node;
	}

	while (nlost > 0)
	{
		uint32		before = nlost;
		uint32		i;

		nlost = 0;
		for (i = 0; i < before; i++)
		{
			if (parents(build)[lost[i]] == NO_PARENT &&
				!adopt_by_neighbour(build, lost[i]))
				lost[nlost++] = lost[i];
		}

		/* those left have no way to anybody reached: make one, try again */
		if (nlost == before)
			adopt_by_stranger(build, lost[0]);
	}

	/* the start is nobody's child, but must have a link to it as well */
	parents(build)[start] = NO_PARENT;
	if (build->n > 1)
		(void) adopt_by_neighbour(build, start);
}

/* The first node of the highest level */
uint32
omen_build_start_node(const OmenBuild *build)
{
	uint32		start = 0;
	uint32		node;

	for (node = 1; node < build->n; node++)
	{
		if (build->levels[node] > build->levels[start])
			start = node;
	}
	return start;
}

/* Set the parent of everything that can be reached from a node first now */
static void
walk_from(OmenBuild *build, uint32 start)
{
	uint32	   *parent = parents(build);
	uint32	   *queue = walk_queue(build);
	uint32		head = 0;
	uint32		tail = 0;

	queue[tail++] = start;
	while (head < tail)
	{
		uint32		node = queue[head++];
		const uint32 *links = omen_node_links(build, node);
		int			i;

		for (i = 0; i < build->nlinks[node]; i++)
		{
			if (parent[links[i]] != NO_PARENT)
				continue;
			parent[links[i]] = node;
			queue[tail++] = links[i];
		}
		omen_build_tick(build, OMEN_FAR_ACCESS, 0);
	}
}

/* Find a parent for a lost node among its links, nearest first */
static bool
adopt_by_neighbour(OmenBuild *build, uint32 node)
{
	const uint32 *links = omen_node_links(build, node);
	int			i;

	for (i = 0; i < build->nlinks[node]; i++)
	{
		if (parents(build)[links[i]] != NO_PARENT &&
			adopt(build, links[i], node))
			return true;
	}
	return false;
}

/*
 * Find a parent for a lost node among some that have been reached, nearest
 * first; if need be, among all.  There always is one: the number of first
 * reaching links is one less than that of reached nodes, so some node has a
 * link to spare.
 */
static void
adopt_by_stranger(OmenBuild *build, uint32 node)
{
	uint64		keys[NSAMPLE];
	int			nkeys = 0;
	uint32		i;

	for (i = 0; i < NSAMPLE; i++)
	{
		uint32		other = omen_build_stratum(node, i, build->n, NSAMPLE);
		float		distance;
		int			at;

		if (other == node || parents(build)[other] == NO_PARENT)
			continue;
		distance = omen_quant_pair_distance(build->quant,
											omen_node_code(build, node),
											omen_node_code(build, other));
		keys[nkeys] = omen_key_form(Max(distance, 0), other, 0);
		for (at = nkeys++; at > 0 && keys[at] < keys[at - 1]; at--)
		{
			uint64		key = keys[at];

			keys[at] = keys[at - 1];
			keys[at - 1] = key;
		}
	}
	for (i = 0; i < nkeys; i++)
	{
		if (adopt(build, omen_key_node(keys[i], 0), node))
			return;
	}
	for (i = 0; i < build->n; i++)
	{
		if (parents(build)[i] != NO_PARENT && adopt(build, i, node))
			return;
	}
	Assert(false);
}

/*
 * Give a reached node a link to a lost one, and go on walking from there.
 * Returns false if all its links are needed by others.
 */
static bool
adopt(OmenBuild *build, uint32 parent, uint32 node)
{
	uint32	   *links = omen_node_links(build, parent);
	int			nlinks = build->nlinks[parent];
	int			nlocal = nlinks - build->nscale[parent];
	int			at;

	for (at = 0; at < nlinks; at++)
	{
		if (links[at] == node)
			break;
	}
	if (at < nlinks)
		at = -1;				/* there is one, only the start has this */
	else if (nlinks == build->max_links)
	{
		for (at = nlocal - 1; at >= 0; at--)
		{
			if (parents(build)[links[at]] != parent)
				break;
		}
		if (at < 0)
			return false;
		omen_build_remove_local(build, parent, at);
	}
	if (at >= 0)
		omen_build_insert_link(build, parent, node);

	parents(build)[node] = parent;
	walk_from(build, node);
	return true;
}

/* Insert a local link where its distance puts it; there is room */
void
omen_build_insert_link(OmenBuild *build, uint32 node, uint32 other)
{
	uint32	   *links = omen_node_links(build, node);
	const uint8 *code = omen_node_code(build, node);
	float		distance = omen_quant_pair_distance(build->quant, code,
													omen_node_code(build, other));
	int			low = 0;
	int			high = build->nlinks[node] - build->nscale[node];

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (omen_quant_pair_distance(build->quant, code,
									 omen_node_code(build, links[middle])) <=
			distance)
			low = middle + 1;
		else
			high = middle;
	}
	memmove(links + low + 1, links + low,
			(build->nlinks[node] - low) * sizeof(uint32));
	links[low] = other;
	build->nlinks[node]++;
}

void
omen_build_remove_local(OmenBuild *build, uint32 node, int at)
{
	uint32	   *links = omen_node_links(build, node);

	Assert(at < build->nlinks[node] - build->nscale[node]);

	memmove(links + at, links + at + 1,
			(build->nlinks[node] - at - 1) * sizeof(uint32));
	build->nlinks[node]--;
}
