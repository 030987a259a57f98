/*-------------------------------------------------------------------------
 *
 * verify_hnsw_walk.c
 *	  Can every live node be reached from the entries by links?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify_hnsw.h"

/*
 * A build makes all nodes reachable (G2), and no answer depends on it (H6):
 * inserts and vacuum that give up links may leave a node without any to it, which
 * scans find at their end only.  Of 20,000 random vectors of 32 dimensions of
 * which a third was replaced, these were 1 % by L2, and 6 % by inner product.
 * More than this part of the live nodes is a finding.
 */
#define MOST_UNREACHED	0.25

/* Links to be followed, last in, first out */
typedef struct LinkStack
{
	OmenVerifyHnsw *state;
	OmenLink   *links;
	uint64		n;
	uint64		room;
} LinkStack;

static void walk_links(void *arg);
static void push(LinkStack *stack, OmenLink link);
static void push_neighbours(LinkStack *stack, OmenLink link);
static void count_unreached(OmenVerifyHnsw *state);
static bool is_unreached(OmenVerifyHnsw *state, uint32 number);

void
omen_verify_hnsw_walk(OmenVerifyHnsw *state)
{
	LinkStack	stack = {state};

	for (uint32 i = 0; i < state->nnumbers; i++)
		state->seen[i] &= ~OMEN_SEEN_REACHED;
	stack.room = 1024;
	stack.links = palloc(stack.room * sizeof(OmenLink));
	if (omen_verify_try(state->verify, "H16", walk_links, &stack))
		count_unreached(state);
	pfree(stack.links);
}

static void
walk_links(void *arg)
{
	LinkStack  *stack = arg;
	OmenHnswIndex *hnsw = stack->state->hnsw;

	omen_hnsw_refresh_entries(stack->state->verify->index, hnsw);
	for (uint32 i = 0; i < hnsw->nentries; i++)
		push(stack, hnsw->entry_links[i]);
	while (stack->n > 0)
	{
		CHECK_FOR_INTERRUPTS();
		push_neighbours(stack, stack->links[--stack->n]);
	}
}

/* Once for each node, by the link that leads to what was seen there */
static void
push(LinkStack *stack, OmenLink link)
{
	uint32		number = omen_link_number(link);
	uint8	   *seen;

	if (number >= stack->state->nnumbers)
		return;
	seen = &stack->state->seen[number];
	if ((*seen & OMEN_SEEN_NODE) == 0 || (*seen & OMEN_SEEN_REACHED) != 0 ||
		(*seen & 15) != omen_link_version(link))
		return;
	*seen |= OMEN_SEEN_REACHED;
	if (stack->n == stack->room)
	{
		stack->room *= 2;
		stack->links = repalloc_huge(stack->links,
									 stack->room * sizeof(OmenLink));
	}
	stack->links[stack->n++] = link;
}

static void
push_neighbours(LinkStack *stack, OmenLink link)
{
	OmenVerifyHnsw *state = stack->state;
	OmenLink	links[OMEN_MAX_LINKS];
	OmenHnswSlot slot;
	Buffer		buffer;
	int			n;

	buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_SHARE, &slot);
	if (!BufferIsValid(buffer))
		return;
	n = slot->nlinks;
	memcpy(links, omen_slot_links(&state->hnsw->layout, slot),
		   n * sizeof(OmenLink));
	omen_page_release(buffer);
	for (int i = 0; i < n; i++)
		push(stack, links[i]);
}

static void
count_unreached(OmenVerifyHnsw *state)
{
	uint64		nlive = 0;
	uint64		nunreached = 0;
	uint32		first = 0;

	for (uint32 number = 0; number < state->nnumbers; number++)
	{
		uint8		seen = state->seen[number];

		if (number % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if ((seen & OMEN_SEEN_LIVE) == 0)
			continue;
		nlive++;
		if ((seen & OMEN_SEEN_REACHED) != 0 || !is_unreached(state, number))
			continue;
		if (nunreached++ == 0)
			first = number;
	}
	if (nunreached <= nlive * MOST_UNREACHED)
		return;
	omen_verify_note(state->verify, "H16",
					 omen_verify_number_block(state, first),
					 first % state->hnsw->layout.slots_per_page,
					 "This node, and " UINT64_FORMAT " others of " UINT64_FORMAT
					 ", cannot be reached from the entries.", nunreached - 1,
					 nlive);
}

/* Only nodes with a row that the snapshot sees have all links to come */
static bool
is_unreached(OmenVerifyHnsw *state, uint32 number)
{
	OmenLink	link = omen_link_form(number, state->seen[number] & 15);
	ItemPointerData tids[OMEN_SLOT_TIDS];
	OmenHnswSlot slot;
	Buffer		buffer;
	int			n;

	buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_SHARE, &slot);
	if (!BufferIsValid(buffer))
		return false;
	n = slot->ntids;
	memcpy(tids, slot->tids, sizeof(tids));
	omen_page_release(buffer);
	for (int i = 0; i < n; i++)
	{
		if (omen_verify_sees(state->verify, omen_tid_row(&tids[i])))
			return true;
	}
	return false;
}
