/*-------------------------------------------------------------------------
 *
 * graph_build_check.c
 *	  Are links that came from elsewhere those of a graph that can be searched?
 *
 * First their form is looked at, link by link; nothing has been looked up by them
 * before.  Then what they mean: some nodes are searched for, and what is found
 * must hold its own against the nearest nodes that are known.  Links by chance
 * find next to nothing; the bar is low, for how much a good graph finds depends on
 * the data.  Both are divided among all participants.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* Slots of a hash table of a node's links, by the highest bits of the hash */
#define LINKS_SEEN			1024
#define LINKS_SEEN_SHIFT	22

StaticAssertDecl(LINKS_SEEN > 2 * OMEN_MAX_LINKS,
				 "a table of links seen must have room");

/* Nodes that are searched for */
#define NPROBES				100

/* Part of the nearest that must be found */
#define LEAST_FOUND			0.6

typedef enum LinkFault
{
	NO_FAULT,
	TOO_MANY,
	TOO_MANY_AT_SCALE,
	NO_SUCH_NODE,
	LINKED_TO_ITSELF,
	LINKED_TWICE,
	LOWER_LEVEL,
	NOT_IN_ORDER
} LinkFault;

static const char *const faults[] = {
	[NO_FAULT] = NULL,
	[TOO_MANY] = "a node has too many links",
	[TOO_MANY_AT_SCALE] = "a node has too many links at its scale",
	[NO_SUCH_NODE] = "a link leads to a node that does not exist",
	[LINKED_TO_ITSELF] = "a node is linked to itself",
	[LINKED_TWICE] = "a node is linked twice to another",
	[LOWER_LEVEL] = "a link at scale leads to a node of a lower level",
	[NOT_IN_ORDER] = "links are not in the order of their distances",
};

static void check_form(OmenBuild *build);
static LinkFault find_fault(const OmenBuild *build, uint32 node, uint64 *seen);
static void probe_nodes(OmenBuild *build);
static void note_fault(OmenBuild *build, LinkFault fault);

/*
 * By all participants, when links have been set; the same result to all, and
 * before, for judge_links().
 */
bool
omen_build_check_links(OmenBuild *build)
{
	const OmenBuildTeam *team = build->team;
	OmenBuildArena *arena = build->arena;
	OmenLinkCheck check;

	check_form(build);
	omen_build_once(build, NULL);
	if (pg_atomic_read_u32(&arena->fault) == NO_FAULT)
		probe_nodes(build);
	omen_build_once(build, NULL);

	check.fault = faults[pg_atomic_read_u32(&arena->fault)];
	check.nmissed = pg_atomic_read_u32(&arena->nmissed);
	check.nwanted = pg_atomic_read_u32(&arena->nwanted);
	if (check.fault == NULL &&
		check.nmissed > (1 - LEAST_FOUND) * check.nwanted)
		check.fault = psprintf("searches of its graph have missed %u of %u nearest nodes",
							   check.nmissed, check.nwanted);
	if (team->judge_links != NULL)
		team->judge_links(team->arg, &check);
	return check.fault == NULL;
}

/* G1 and G4 in README.md, but for order */
static void
check_form(OmenBuild *build)
{
	uint64		seen[LINKS_SEEN] = {0};
	uint32		first;
	uint32		end;

	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		LinkFault	fault = NO_FAULT;

		for (uint32 node = first; fault == NO_FAULT && node < end; node++)
			fault = find_fault(build, node, seen);
		if (fault != NO_FAULT)
			note_fault(build, fault);
		omen_build_tick(build, (Size) (end - first) * build->max_links *
						sizeof(uint32), 0);
	}
}

/*
 * seen[]: by a hash of the link, the node, plus one, and a link of its, so that
 * those of other nodes need not be cleared.
 */
static LinkFault
find_fault(const OmenBuild *build, uint32 node, uint64 *seen)
{
	const uint32 *links = omen_node_links(build, node);
	int			nlinks = build->nlinks[node];
	int			nscale = build->nscale[node];
	int			level = build->levels[node];
	uint64		mine = (uint64) (node + 1) << 32;

	if (nlinks > build->max_links)
		return TOO_MANY;
	if (nscale > nlinks ||
		nscale > omen_graph_scale_links(level, build->max_links))
		return TOO_MANY_AT_SCALE;
	for (int i = 0; i < nlinks; i++)
	{
		uint32		slot = links[i] * UINT32_C(0x9E3779B1) >> LINKS_SEEN_SHIFT;

		if (links[i] >= build->n)
			return NO_SUCH_NODE;
		if (links[i] == node)
			return LINKED_TO_ITSELF;
		if (i >= nlinks - nscale && build->levels[links[i]] < level)
			return LOWER_LEVEL;
		while (seen[slot] >> 32 == node + 1 && seen[slot] != (mine | links[i]))
			slot = (slot + 1) % LINKS_SEEN;
		if (seen[slot] == (mine | links[i]))
			return LINKED_TWICE;
		seen[slot] = mine | links[i];
	}
	return NO_FAULT;
}

/* Some nodes, evenly spread, or all if there are fewer */
static void
probe_nodes(OmenBuild *build)
{
	const OmenBuildTeam *team = build->team;
	OmenBuildArena *arena = build->arena;
	uint32		n = Min(build->n, NPROBES);
	uint32		which;
	uint32		end;

	while (omen_build_claim(build, n, 1, &which, &end))
	{
		uint32		nmissed;
		uint32		nwanted;

		if (!team->probe_links(team->arg, build,
							   (uint64) build->n * which / n,
							   &nmissed, &nwanted))
			note_fault(build, NOT_IN_ORDER);
		pg_atomic_fetch_add_u32(&arena->nmissed, nmissed);
		pg_atomic_fetch_add_u32(&arena->nwanted, nwanted);
	}
}

/* Which of several is told does not matter */
static void
note_fault(OmenBuild *build, LinkFault fault)
{
	pg_atomic_write_u32(&build->arena->fault, fault);
}
