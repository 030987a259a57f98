/*-------------------------------------------------------------------------
 *
 * graph_build_connect.c
 *	  Make every node reachable: the last repair of a new graph.
 *
 * Pruning can leave a node without links to it (an outlier whose neighbours
 * all have nearer ones) and small sets with links only among themselves.  A
 * breadth-first walk from a node of the highest level finds them; each is
 * then given a link from a node that has been reached, preferably one of its
 * own neighbours.
 *
 * What is kept of the walk is each node's depth, how many steps it is from
 * the start.  In the end every node but the start has a link to it from one
 * of lesser depth, by one, and so can be reached.  A link that makes room for
 * another one is the farthest without which this holds.
 *
 * NOTES
 *	The walk goes level by level, and the nodes of a level are given out to
 *	all participants.  Who finds a node depends on timing, and so does the
 *	order within a level, but not the depth, and nothing else is looked at
 *	later (G6).  It costs one look at each link: 0.1 to 0.2 s of CPU for a
 *	million nodes.
 *
 *	Lost nodes are few.  They are seen to by one participant, in the order of
 *	nodes; so is what can only be reached by way of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* Nodes tried as neighbours of a node that has no link to a reached one */
#define NSAMPLE			256

/* Nodes of a level handed out at once */
#define WALK_CHUNK		128

/* A level of fewer nodes takes less time than a wait for each other */
#define SMALL_LEVEL		1024

/* Nodes found before they are put into the queue */
#define NFOUND			1024

/*
 * How many nodes ahead links are asked for, the first two lines of a cache: a
 * million nodes take 0.11 to 0.16 s instead of 0.20
 */
#define AHEAD			4

#define NOT_REACHED		PG_UINT32_MAX

StaticAssertDecl(sizeof(pg_atomic_uint32) == sizeof(uint32),
				 "depths must fit into the arena");
StaticAssertDecl(NFOUND >= OMEN_MAX_LINKS,
				 "all that one node leads to must have room");

static void begin_walk(OmenBuild *build);
static void begin_level(OmenBuild *build);
static void reach_first(OmenBuild *build, uint32 node, uint32 depth);
static void pass_levels(OmenBuild *build, uint32 limit);
static void follow_links(OmenBuild *build, uint32 first, uint32 end);
static inline bool reach(const OmenBuild *build, uint32 node, uint32 depth);
static void add_to_queue(OmenBuild *build, const uint32 *found,
						 uint32 nfound);
static void connect_lost(OmenBuild *build);
static uint32 list_lost(const OmenBuild *build, uint32 *lost);
static bool adopt(OmenBuild *build, uint32 parent, uint32 node);
static uint32 link_from_neighbour(OmenBuild *build, uint32 node);
static uint32 link_from_stranger(OmenBuild *build, uint32 node);
static bool link_from(OmenBuild *build, uint32 parent, uint32 node);
static int	choose_victim(OmenBuild *build, uint32 parent);
static bool has_other_way(OmenBuild *build, uint32 node, uint32 parent);
static bool has_link(const OmenBuild *build, uint32 node, uint32 other);

/* By node */
static inline pg_atomic_uint32 *
depths(const OmenBuild *build)
{
	return (pg_atomic_uint32 *) build->pairs;
}

static inline uint32
depth_of(const OmenBuild *build, uint32 node)
{
	return pg_atomic_read_u32(&depths(build)[node]);
}

static inline bool
is_reached(const OmenBuild *build, uint32 node)
{
	return depth_of(build, node) != NOT_REACHED;
}

/* All nodes that have been reached */
static inline uint32 *
walk_queue(const OmenBuild *build)
{
	return build->pairs + build->n;
}

/* By node: all its links are needed, which stays so once it is */
static inline bool *
exhausted(const OmenBuild *build)
{
	return (bool *) (build->pairs + (Size) 2 * build->n);
}

void
omen_build_connect(OmenBuild *build)
{
	const OmenBuildWalk *walk = &build->arena->walk;
	uint32		first;
	uint32		end;

	omen_build_once(build, begin_walk);
	while (walk->first < walk->end)
	{
		while (omen_build_claim(build, walk->end - walk->first, WALK_CHUNK,
								&first, &end))
			follow_links(build, walk->first + first, walk->first + end);
		omen_build_once(build, begin_level);
	}
	omen_build_once(build, connect_lost);
}

/* The first node of the highest level */
uint32
omen_build_start_node(const OmenBuild *build)
{
	uint8		highest = 0;
	uint32		node;

	for (node = 0; node < build->n; node++)
		highest = Max(highest, build->levels[node]);
	return (uint8 *) memchr(build->levels, highest, build->n) - build->levels;
}

static void
begin_walk(OmenBuild *build)
{
	OmenBuildWalk *walk = &build->arena->walk;

	memset(depths(build), 0xFF, build->n * sizeof(uint32));
	walk->end = 0;
	pg_atomic_init_u32(&walk->nreached, 0);
	reach_first(build, omen_build_start_node(build), 0);
	begin_level(build);
}

static void
begin_level(OmenBuild *build)
{
	pass_levels(build, SMALL_LEVEL);
}

/* Have the walk go on from a node that none of its links leads to */
static void
reach_first(OmenBuild *build, uint32 node, uint32 depth)
{
	OmenBuildWalk *walk = &build->arena->walk;

	pg_atomic_write_u32(&depths(build)[node], depth);
	walk_queue(build)[pg_atomic_fetch_add_u32(&walk->nreached, 1)] = node;
	walk->depth = depth;
}

/*
 * What has been found in one level is the next one to go on from.  Follow the
 * links of each, until there is one of at least so many nodes, or none.
 */
static void
pass_levels(OmenBuild *build, uint32 limit)
{
	OmenBuildWalk *walk = &build->arena->walk;

	for (;;)
	{
		walk->first = walk->end;
		walk->end = pg_atomic_read_u32(&walk->nreached);
		walk->depth++;
		if (walk->first == walk->end || walk->end - walk->first >= limit)
			break;
		follow_links(build, walk->first, walk->end);
	}
}

/* From some nodes of the level at work; what they lead to is the next one */
static void
follow_links(OmenBuild *build, uint32 first, uint32 end)
{
	const uint32 *queue = walk_queue(build);
	uint32		depth = build->arena->walk.depth;
	uint32		found[NFOUND];
	uint32		nfound = 0;

	for (uint32 at = first; at < end; at++)
	{
		const uint32 *links = omen_node_links(build, queue[at]);
		int			nlinks = build->nlinks[queue[at]];
		uint32		ahead = queue[Min(at + AHEAD, end - 1)];
		const char *next = (const char *) omen_node_links(build, ahead);

		__builtin_prefetch(next);
		__builtin_prefetch(next + OMEN_CACHE_LINE);
		if (nfound + nlinks > NFOUND)
		{
			add_to_queue(build, found, nfound);
			nfound = 0;
		}
		for (int i = 0; i < nlinks; i++)
		{
			if (reach(build, links[i], depth))
				found[nfound++] = links[i];
		}
		omen_build_tick(build, OMEN_FAR_ACCESS, 0);
	}
	add_to_queue(build, found, nfound);
}

/* Returns true if it has not been reached before, by anybody */
static inline bool
reach(const OmenBuild *build, uint32 node, uint32 depth)
{
	uint32		known = NOT_REACHED;

	return depth_of(build, node) == NOT_REACHED &&
		pg_atomic_compare_exchange_u32(&depths(build)[node], &known, depth);
}

static void
add_to_queue(OmenBuild *build, const uint32 *found, uint32 nfound)
{
	uint32		at = pg_atomic_fetch_add_u32(&build->arena->walk.nreached,
											 nfound);

	Assert(at + nfound <= build->n);

	memcpy(walk_queue(build) + at, found, nfound * sizeof(uint32));
}

static void
connect_lost(OmenBuild *build)
{
	uint32	   *lost = build->subset;
	uint32		nlost = list_lost(build, lost);
	uint32		start = walk_queue(build)[0];

	memset(exhausted(build), 0, build->n);
	while (nlost > 0)
	{
		uint32		before = nlost;

		nlost = 0;
		for (uint32 i = 0; i < before; i++)
		{
			if (!is_reached(build, lost[i]) &&
				!adopt(build, link_from_neighbour(build, lost[i]), lost[i]))
				lost[nlost++] = lost[i];
		}

		/* those left have no way to anybody reached: make one, try again */
		if (nlost == before)
			(void) adopt(build, link_from_stranger(build, lost[0]), lost[0]);
	}

	/* the walk does not need a link to the start, but there must be one */
	if (build->n > 1 && link_from_neighbour(build, start) == OMEN_NO_NODE)
		(void) link_from_stranger(build, start);
}

static uint32
list_lost(const OmenBuild *build, uint32 *lost)
{
	uint32		nlost = 0;

	if (build->arena->walk.end == build->n)
		return 0;
	for (uint32 node = 0; node < build->n; node++)
	{
		if (!is_reached(build, node))
			lost[nlost++] = node;
	}
	return nlost;
}

/* Go on from a lost node, if one has been found that has a link to it now */
static bool
adopt(OmenBuild *build, uint32 parent, uint32 node)
{
	if (parent == OMEN_NO_NODE)
		return false;
	reach_first(build, node, depth_of(build, parent) + 1);
	pass_levels(build, PG_UINT32_MAX);
	return true;
}

/*
 * Give a node a link from one of its own links' targets that has been reached,
 * the nearest first.  Returns which one, or OMEN_NO_NODE.
 */
static uint32
link_from_neighbour(OmenBuild *build, uint32 node)
{
	const uint32 *links = omen_node_links(build, node);

	for (int i = 0; i < build->nlinks[node]; i++)
	{
		if (is_reached(build, links[i]) && link_from(build, links[i], node))
			return links[i];
	}
	return OMEN_NO_NODE;
}

/*
 * Give a node a link from one of some that have been reached, nearest first;
 * if need be, of all.  There always is one: from the deepest node, no link
 * leads deeper.
 */
static uint32
link_from_stranger(OmenBuild *build, uint32 node)
{
	uint64		keys[NSAMPLE];
	int			nkeys = 0;

	for (uint32 i = 0; i < NSAMPLE; i++)
	{
		uint32		other = omen_build_stratum(node, i, build->n, NSAMPLE);
		float		distance;
		int			at;

		if (other == node || !is_reached(build, other))
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
	for (int i = 0; i < nkeys; i++)
	{
		if (link_from(build, omen_key_node(keys[i], 0), node))
			return omen_key_node(keys[i], 0);
	}
	for (uint32 i = 0; i < build->n; i++)
	{
		if (i != node && is_reached(build, i) && link_from(build, i, node))
			return i;
	}
	Assert(false);
	return OMEN_NO_NODE;
}

/*
 * Have a reached node link to another one.  Returns false if it has no room,
 * and all its links are needed.
 */
static bool
link_from(OmenBuild *build, uint32 parent, uint32 node)
{
	/* there may be one to the start */
	if (has_link(build, parent, node))
		return true;
	if (build->nlinks[parent] == build->max_links)
	{
		int			victim = -1;

		if (!exhausted(build)[parent])
			victim = choose_victim(build, parent);
		if (victim < 0)
		{
			exhausted(build)[parent] = true;
			return false;
		}
		omen_build_remove_local(build, parent, victim);
	}
	omen_build_insert_link(build, parent, node);
	return true;
}

/* The farthest local link that is not needed, or -1 */
static int
choose_victim(OmenBuild *build, uint32 parent)
{
	const uint32 *links = omen_node_links(build, parent);
	uint32		below = depth_of(build, parent) + 1;
	int			at = build->nlinks[parent] - build->nscale[parent] - 1;

	while (at >= 0 && depth_of(build, links[at]) == below &&
		   !has_other_way(build, links[at], parent))
		at--;
	return at;
}

/*
 * Does another node of the parent's depth link to this one?  Of its own
 * neighbours, that is: from most of them there are links back.
 */
static bool
has_other_way(OmenBuild *build, uint32 node, uint32 parent)
{
	const uint32 *links = omen_node_links(build, node);
	uint32		depth = depth_of(build, parent);

	for (int i = 0; i < build->nlinks[node]; i++)
	{
		omen_build_tick(build, OMEN_FAR_ACCESS, 0);
		if (links[i] != parent && depth_of(build, links[i]) == depth &&
			has_link(build, links[i], node))
			return true;
	}
	return false;
}

static bool
has_link(const OmenBuild *build, uint32 node, uint32 other)
{
	const uint32 *links = omen_node_links(build, node);

	for (int i = 0; i < build->nlinks[node]; i++)
	{
		if (links[i] == other)
			return true;
	}
	return false;
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
