/*-------------------------------------------------------------------------
 *
 * hnsw_connect.c
 *	  Vacuum: make every live node reachable again from the first entry (H16).
 *
 * NOTES
 *	  A walk in the order of blocks: a node that has been reached hands this on
 *	  to its neighbours when its page is read.  The first sweep reads all pages,
 *	  the next ones only those that have a node reached since, until there is
 *	  none.  Nodes that are near each other mostly have numbers near each other,
 *	  so a few sweeps will do, and none of them reads at random: 20,000 vectors
 *	  of SIFT, or of words by cosine, took 2 or 3, which read 1.1 to 1.3 times
 *	  all pages together; words by inner product 35, and 3 times.
 *
 *	  A live node that is left gets a link from a node that has been reached, a
 *	  neighbour of its own if it can be.  If that has no room, a link goes, and
 *	  where it led to can be reached by way of the node from now on.
 *
 *	  DELETED nodes count as gone already.  Insertions go on meanwhile.  A node
 *	  that they add behind the walk has a link from their side; one that the
 *	  walk misses because of them gets a link that it did not need.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "hnsw/hnsw.h"

/* What is known of a number: a byte for each; low bits: version */
#define VERSION_BITS	0x0F
#define REACHED			0x10	/* by a link of this version */
#define FOLLOWED		0x20	/* so were its own links */
#define LIVE_NODE		0x40	/* its page has been read */
#define OTHER_VERSION	0x80	/* links of different versions lead there */

typedef struct ConnectState
{
	Relation	index;
	OmenHnswIndex *hnsw;
	OmenHnswStore store;
	BufferAccessStrategy strategy;
	BlockNumber nblocks;
	uint32		nnumbers;
	uint8	   *numbers;

	/* nodes to go on from, once the sweeps are done */
	OmenLink   *stack;
	uint64		nstack;
	uint64		stack_size;

	MemoryContext node_context; /* reset for each node */
} ConnectState;

/* Returns false if a node that has been reached cannot link to it */
typedef bool (*AdoptNode) (ConnectState *state, const OmenHnswNodeCopy *node);

static void sweep_all(ConnectState *state);
static bool sweep_reached(ConnectState *state);
static bool is_to_follow(const ConnectState *state, BlockNumber block);
static void visit_page(ConnectState *state, Buffer buffer,
					   OmenPageKind kind);
static void meet_node(ConnectState *state, uint32 number,
					  OmenHnswSlot slot);
static bool reach(ConnectState *state, OmenLink link);
static bool is_reached(const ConnectState *state, OmenLink link);
static void connect_lost(ConnectState *state);
static bool connect_node(ConnectState *state, uint32 number,
						 AdoptNode adopt_node);
static uint32 list_lost(const ConnectState *state, uint32 **lost);
static bool copy_lost(ConnectState *state, uint32 number,
					  OmenHnswNodeCopy *node);
static bool adopt_by_neighbour(ConnectState *state,
							   const OmenHnswNodeCopy *node);
static bool adopt_by_any(ConnectState *state,
						 const OmenHnswNodeCopy *node);
static bool adopt_by_entry(ConnectState *state,
						   const OmenHnswNodeCopy *node);
static bool adopt(ConnectState *state, OmenLink parent,
				  const OmenHnswNodeCopy *node);
static OmenLink choose_victim(ConnectState *state, OmenHnswSlot parent,
							  const OmenHnswNodeCopy *node);
static OmenLink find_common(const OmenHnswLayout *layout, OmenHnswSlot parent,
							const OmenHnswNodeCopy *node);
static bool put_link(ConnectState *state, OmenLink from,
					 const uint8 *from_pair, OmenLink to,
					 const uint8 *to_pair, OmenLink victim);
static void walk_from(ConnectState *state, OmenLink link);

/*
 * To be called when links and entries have been repaired, and before DELETED
 * nodes are freed: as long as there are any, H16 is not claimed.
 */
void
omen_hnsw_connect(Relation index, OmenHnswIndex *hnsw,
				  BufferAccessStrategy strategy)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw connect",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ConnectState state = {.index = index,.hnsw = hnsw,.strategy = strategy};

	omen_hnsw_store_init(&state.store, index, hnsw, NULL);
	state.node_context = AllocSetContextCreate(context, "omenhnsw connect node",
											   ALLOCSET_DEFAULT_SIZES);

	/* what was added since the vacuum began counts, too */
	state.nblocks = RelationGetNumberOfBlocks(index);
	state.nnumbers = state.nblocks * hnsw->layout.slots_per_page;
	state.numbers = palloc_extended(Max(state.nnumbers, 1),
									MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	omen_hnsw_reload_entries(index, hnsw);
	if (hnsw->nentries > 0)
		(void) reach(&state, hnsw->entry_links[0]);
	sweep_all(&state);
	while (sweep_reached(&state))
		;
	connect_lost(&state);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
sweep_all(ConnectState *state)
{
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;

	omen_page_stream_begin(&pages, state->index, state->nblocks,
						   state->strategy);
	while ((buffer = omen_page_stream_next(&pages, OMEN_LOCK_SHARE, &kind)) !=
		   InvalidBuffer)
	{
		visit_page(state, buffer, kind);
		omen_compat_vacuum_delay();
	}
	omen_page_stream_end(&pages);
}

/* Returns false if there was nothing to do */
static bool
sweep_reached(ConnectState *state)
{
	bool		any = false;

	for (BlockNumber block = 0; block < state->nblocks; block++)
	{
		OmenPageKind kind;
		Buffer		buffer;

		if (!is_to_follow(state, block))
			continue;
		any = true;
		buffer = omen_page_read_any(state->index, block, OMEN_LOCK_SHARE,
									state->strategy, &kind);
		visit_page(state, buffer, kind);
		omen_compat_vacuum_delay();
	}
	return any;
}

/* Has the page a node that has been reached since it was read? */
static bool
is_to_follow(const ConnectState *state, BlockNumber block)
{
	int			per_page = state->hnsw->layout.slots_per_page;

	for (int i = 0; i < per_page; i++)
	{
		if ((state->numbers[block * per_page + i] &
			 (LIVE_NODE | REACHED | FOLLOWED)) == (LIVE_NODE | REACHED))
			return true;
	}
	return false;
}

/* Releases the page */
static void
visit_page(ConnectState *state, Buffer buffer, OmenPageKind kind)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	uint32		first = BufferGetBlockNumber(buffer) * layout->slots_per_page;

	for (int i = 0; kind == OMEN_PAGE_NODE && i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);

		omen_hnsw_check_slot(state->index, state->hnsw, buffer, slot);
		if ((slot->flags & OMEN_SLOT_KIND) == OMEN_SLOT_USED)
			meet_node(state, first + i, slot);
	}
	omen_page_release(buffer);
}

static void
meet_node(ConnectState *state, uint32 number, OmenHnswSlot slot)
{
	uint8	   *known = &state->numbers[number];

	if ((*known & LIVE_NODE) == 0)
	{
		bool		reached = (*known & REACHED) != 0 &&
			(*known & OTHER_VERSION) == 0 &&
			(*known & VERSION_BITS) == slot->version;

		*known = LIVE_NODE | slot->version | (reached ? REACHED : 0);
	}
	if ((*known & (REACHED | FOLLOWED)) != REACHED)
		return;
	*known |= FOLLOWED;
	for (int i = 0; i < slot->nlinks; i++)
		(void) reach(state, omen_slot_links(&state->hnsw->layout, slot)[i]);
}

/*
 * A link leads there.  Of a node that has not been met it is not known whether
 * it has the link's version; if links differ, none of them counts.  Returns
 * true if it is a live node that was not reached before.
 */
static bool
reach(ConnectState *state, OmenLink link)
{
	uint32		number = omen_link_number(link);
	uint8		version = omen_link_version(link);
	uint8	   *known;

	if (number >= state->nnumbers)
		return false;
	known = &state->numbers[number];
	if ((*known & (LIVE_NODE | REACHED)) != 0 &&
		(*known & VERSION_BITS) != version)
	{
		if ((*known & LIVE_NODE) == 0)
			*known |= OTHER_VERSION;
		return false;
	}
	if ((*known & REACHED) != 0)
		return false;
	*known |= REACHED | version;
	return (*known & LIVE_NODE) != 0;
}

static bool
is_reached(const ConnectState *state, OmenLink link)
{
	uint32		number = omen_link_number(link);

	return number < state->nnumbers &&
		(state->numbers[number] & (LIVE_NODE | REACHED)) ==
		(LIVE_NODE | REACHED) &&
		(state->numbers[number] & VERSION_BITS) == omen_link_version(link);
}

/*
 * As omen_build_connect() does: by neighbours, over and over, as long as that
 * reaches anybody; only then in another way
 */
static void
connect_lost(ConnectState *state)
{
	uint32	   *lost;
	uint32		nlost = list_lost(state, &lost);

	state->stack_size = 1024;
	state->stack = palloc(state->stack_size * sizeof(OmenLink));
	while (nlost > 0)
	{
		uint32		before = nlost;

		nlost = 0;
		for (uint32 i = 0; i < before; i++)
		{
			if (!connect_node(state, lost[i], adopt_by_neighbour))
				lost[nlost++] = lost[i];
		}

		/* those left lead to nobody reached, or only by way of each other */
		if (nlost == before)
		{
			while (nlost > 0)
				(void) connect_node(state, lost[--nlost], adopt_by_any);
		}
	}
}

/* Returns true if it has been reached, or is gone */
static bool
connect_node(ConnectState *state, uint32 number, AdoptNode adopt_node)
{
	MemoryContext old = MemoryContextSwitchTo(state->node_context);
	OmenHnswNodeCopy node;
	bool		done = true;

	if (copy_lost(state, number, &node))
	{
		done = adopt_node(state, &node);
		if (done)
			walk_from(state, node.link);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->node_context);
	omen_compat_vacuum_delay();
	return done;
}

static uint32
list_lost(const ConnectState *state, uint32 **lost)
{
	uint32		n = 0;

	for (uint32 i = 0; i < state->nnumbers; i++)
		n += (state->numbers[i] & (LIVE_NODE | REACHED)) == LIVE_NODE;
	*lost = palloc_extended(Max(n, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	n = 0;
	for (uint32 i = 0; i < state->nnumbers; i++)
	{
		if ((state->numbers[i] & (LIVE_NODE | REACHED)) == LIVE_NODE)
			(*lost)[n++] = i;
	}
	return n;
}

/* Returns false if it has been reached since, or is gone */
static bool
copy_lost(ConnectState *state, uint32 number, OmenHnswNodeCopy *node)
{
	OmenLink	link = omen_link_form(number,
									  state->numbers[number] & VERSION_BITS);

	return !is_reached(state, link) &&
		omen_hnsw_copy_node(&state->store, link, node);
}

static bool
adopt_by_neighbour(ConnectState *state, const OmenHnswNodeCopy *node)
{
	for (int i = 0; i < node->nlinks; i++)
	{
		if (is_reached(state, node->links[i]) &&
			adopt(state, node->links[i], node))
			return true;
	}
	return false;
}

/* By a neighbour after all, or the nearest entry, or as an entry itself */
static bool
adopt_by_any(ConnectState *state, const OmenHnswNodeCopy *node)
{
	if (!adopt_by_neighbour(state, node) && !adopt_by_entry(state, node))
		omen_hnsw_make_entry(state->index, state->hnsw, node->link, 0,
							 node->pair);
	return true;
}

static bool
adopt_by_entry(ConnectState *state, const OmenHnswNodeCopy *node)
{
	const OmenHnswIndex *hnsw = state->hnsw;
	OmenNear   *near = palloc(Max(hnsw->nentries, 1) * sizeof(OmenNear));
	int			n = 0;

	for (uint32 i = 0; i < hnsw->nentries; i++)
	{
		if (!is_reached(state, hnsw->entry_links[i]))
			continue;
		near[n].node = hnsw->entry_links[i];
		near[n].distance = hnsw->entry_pairs == NULL ? 0 :
			omen_quant_pair_distance(hnsw->quant, node->pair,
									 hnsw->entry_pairs + i * hnsw->pair_stride);
		n++;
	}
	omen_graph_sort_near(near, n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (adopt(state, near[i].node, node))
			return true;
	}
	return false;
}

/*
 * Give a lost node a link in a node that has been reached.  Returns false if
 * that has become impossible.
 */
static bool
adopt(ConnectState *state, OmenLink parent, const OmenHnswNodeCopy *node)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenHnswSlot copy = palloc(layout->slot_size);
	OmenLink	victim = OMEN_LINK_INVALID;
	OmenHnswSlot slot;
	uint8	   *pair;
	Size		size;
	Buffer		buffer = omen_hnsw_read_slot(&state->store, parent,
											 OMEN_LOCK_SHARE, &slot);

	if (!BufferIsValid(buffer))
		return false;
	memcpy(copy, slot, layout->slot_size);
	omen_page_release(buffer);
	if (omen_slot_has_link(layout, copy, node->link))
		return true;
	if (!omen_hnsw_read_pair(&state->store, parent, &pair, &size))
		return false;
	if (copy->nlinks == layout->max_links)
	{
		victim = choose_victim(state, copy, node);
		if (victim == OMEN_LINK_INVALID)
			return false;
	}
	return put_link(state, parent, pair, node->link, node->pair, victim);
}

/*
 * The local link of a full slot to give up for the lost node, which has a link
 * to the same node, or gets one.
 */
static OmenLink
choose_victim(ConnectState *state, OmenHnswSlot parent,
			  const OmenHnswNodeCopy *node)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	int			nlocal = parent->nlinks - parent->nscale;
	OmenLink	victim = find_common(layout, parent, node);
	OmenLink	other = OMEN_LINK_INVALID;
	uint8	   *pair;
	Size		size;

	if (victim != OMEN_LINK_INVALID || nlocal == 0)
		return victim;
	victim = omen_slot_links(layout, parent)[nlocal - 1];
	if (!omen_hnsw_read_pair(&state->store, victim, &pair, &size))
		return victim;			/* leads nowhere */

	/* whom it no longer leads to then is reached by others, if possible */
	for (int i = 0; i < node->nlinks - node->nscale; i++)
	{
		if (other == OMEN_LINK_INVALID || is_reached(state, node->links[i]))
			other = node->links[i];
	}
	if (!put_link(state, node->link, node->pair, victim, pair, other))
		victim = OMEN_LINK_INVALID;
	return victim;
}

/* A local link of a slot that the lost node has as well, or OMEN_LINK_INVALID */
static OmenLink
find_common(const OmenHnswLayout *layout, OmenHnswSlot parent,
			const OmenHnswNodeCopy *node)
{
	for (int i = parent->nlinks - parent->nscale - 1; i >= 0; i--)
	{
		OmenLink	link = omen_slot_links(layout, parent)[i];

		for (int j = 0; j < node->nlinks; j++)
		{
			if (node->links[j] == link)
				return link;
		}
	}
	return OMEN_LINK_INVALID;
}

static bool
put_link(ConnectState *state, OmenLink from, const uint8 *from_pair,
		 OmenLink to, const uint8 *to_pair, OmenLink victim)
{
	OmenHnswIndex *hnsw = state->hnsw;
	OmenHnswPut put = {.node = from, .victim = victim, .edge.link = to};
	float	   *scratch = palloc((2 * hnsw->meta.shape.code_dims + 1) *
								 sizeof(float));

	put.edge.code = palloc(Max(hnsw->layout.link_size, 1));
	omen_hnsw_encode_edge(hnsw->quant, from_pair, to_pair, &put.edge, scratch);
	return omen_hnsw_put_links(&state->store, &put, 1, NULL, 0) == 1;
}

/* All that a node which is reached now leads to is reached, too */
static void
walk_from(ConnectState *state, OmenLink link)
{
	(void) reach(state, link);
	state->stack[state->nstack++] = link;
	while (state->nstack > 0)
	{
		OmenLink	links[OMEN_MAX_LINKS];
		int			n;

		omen_compat_vacuum_delay();
		n = omen_hnsw_copy_links(&state->store, state->stack[--state->nstack],
								 links);
		for (int i = 0; i < n; i++)
		{
			if (!reach(state, links[i]))
				continue;
			if (state->nstack == state->stack_size)
			{
				state->stack_size *= 2;
				state->stack = repalloc_huge(state->stack, state->stack_size *
											 sizeof(OmenLink));
			}
			state->stack[state->nstack++] = links[i];
		}
	}
}
