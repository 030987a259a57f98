/*-------------------------------------------------------------------------
 *
 * verify_hnsw_walk.c
 *	  Can every live node be reached from the entries by links?
 *
 * NOTES
 *	  Inserts that go on meanwhile keep nodes reachable, by way of new ones (H16);
 *	  so the walk follows links to these as well.  Vacuum does not, before it has
 *	  done with all links.  But then there are DELETED nodes, or the metapage says
 *	  so: what is found meanwhile does not count, and is looked for again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify_hnsw.h"

/*
 * Where vacuum did not get to the end, more than this part of the live nodes is a
 * finding.
 */
#define MOST_UNREACHED	0.25

/* Walks before nodes are said to be out of reach */
#define WALKS			3

/* Of a number; low bits: version of the link that was last pushed */
#define PUSHED			0x10
#define FOLLOWED		0x20

/* Links to be followed, last in, first out */
typedef struct LinkStack
{
	OmenVerifyHnsw *state;
	uint8	   *numbers;
	uint32		nnumbers;		/* of nodes, old and new */
	OmenLink   *links;
	uint64		n;
	uint64		room;
} LinkStack;

typedef struct VacuumTraces
{
	OmenVerifyHnsw *state;
	bool		found;
} VacuumTraces;

typedef struct Unreached
{
	uint64		n;
	uint64		nlive;
	uint32		first;
} Unreached;

static bool find_unreached(OmenVerifyHnsw *state, Unreached *unreached);
static void walk_links(void *arg);
static void push(LinkStack *stack, OmenLink link);
static void push_neighbours(LinkStack *stack, OmenLink link);
static void count_unreached(const LinkStack *stack, Unreached *unreached);
static bool is_indexed(OmenVerifyHnsw *state, uint32 number);
static bool is_vacuumed(OmenVerifyHnsw *state);
static void look_for_traces(void *arg);

void
omen_verify_hnsw_walk(OmenVerifyHnsw *state)
{
	Unreached	unreached;
	bool		vacuumed = false;

	for (int i = 0; i < WALKS && !vacuumed; i++)
	{
		vacuumed = i > 0 && is_vacuumed(state);
		if (!find_unreached(state, &unreached) || unreached.n == 0)
			return;
	}
	if ((vacuumed || is_vacuumed(state)) &&
		unreached.n <= unreached.nlive * MOST_UNREACHED)
		return;
	omen_verify_note(state->verify, "H16",
					 omen_verify_number_block(state, unreached.first),
					 unreached.first % state->hnsw->layout.slots_per_page,
					 "This node, and " UINT64_FORMAT " others of " UINT64_FORMAT
					 ", cannot be reached from the entries.",
					 unreached.n - 1, unreached.nlive);
}

/* Returns false if a broken page ends the walk */
static bool
find_unreached(OmenVerifyHnsw *state, Unreached *unreached)
{
	LinkStack	stack = {.state = state,.room = 1024};
	uint64		nnumbers =
		(uint64) RelationGetNumberOfBlocks(state->verify->index) *
		state->hnsw->layout.slots_per_page;
	bool		done;

	stack.nnumbers = (uint32) Max(state->nnumbers, Min(nnumbers,
						   UINT64CONST(1) << OMEN_LINK_NUMBER_BITS));
	stack.numbers = palloc_extended(stack.nnumbers + 1,
									MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	stack.links = palloc(stack.room * sizeof(OmenLink));
	done = omen_verify_try(state->verify, "H16", walk_links, &stack);
	if (done)
		count_unreached(&stack, unreached);
	pfree(stack.links);
	pfree(stack.numbers);
	return done;
}

static void
walk_links(void *arg)
{
	LinkStack  *stack = arg;
	OmenHnswIndex *hnsw = stack->state->hnsw;

	omen_hnsw_reload_entries(stack->state->verify->index, hnsw);
	for (uint32 i = 0; i < hnsw->nentries; i++)
		push(stack, hnsw->entry_links[i]);
	while (stack->n > 0)
	{
		CHECK_FOR_INTERRUPTS();
		push_neighbours(stack, stack->links[--stack->n]);
	}
}

/* Not to a node that has been followed; else once, or so: versions may differ */
static void
push(LinkStack *stack, OmenLink link)
{
	uint32		number = omen_link_number(link);
	uint8		mark = PUSHED | omen_link_version(link);

	if (number >= stack->nnumbers || stack->numbers[number] == mark ||
		(stack->numbers[number] & FOLLOWED) != 0)
		return;
	stack->numbers[number] = mark;
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
	uint8	   *known = &stack->numbers[omen_link_number(link)];
	OmenLink	links[OMEN_MAX_LINKS];
	OmenHnswSlot slot;
	Buffer		buffer;
	int			n;

	if ((*known & FOLLOWED) != 0)
		return;
	buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_SHARE, &slot);
	if (!BufferIsValid(buffer))
		return;
	n = slot->nlinks;
	memcpy(links, omen_slot_links(&state->hnsw->layout, slot),
		   n * sizeof(OmenLink));
	omen_page_release(buffer);
	*known |= FOLLOWED;
	for (int i = 0; i < n; i++)
		push(stack, links[i]);
}

static void
count_unreached(const LinkStack *stack, Unreached *unreached)
{
	OmenVerifyHnsw *state = stack->state;

	memset(unreached, 0, sizeof(*unreached));
	for (uint32 number = 0; number < state->nnumbers; number++)
	{
		if (number % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if ((state->seen[number] & OMEN_SEEN_LIVE) == 0)
			continue;
		unreached->nlive++;
		if ((stack->numbers[number] & FOLLOWED) != 0 ||
			!is_indexed(state, number))
			continue;
		if (unreached->n++ == 0)
			unreached->first = number;
	}
}

/* Only nodes with a row that the snapshot sees have all links to come */
static bool
is_indexed(OmenVerifyHnsw *state, uint32 number)
{
	OmenLink	link = omen_link_form(number, state->seen[number] & 15);
	ItemPointerData tids[OMEN_SLOT_TIDS];
	OmenHnswSlot slot;
	Buffer		buffer;
	int			n;

	buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_SHARE, &slot);
	if (!BufferIsValid(buffer))
		return false;
	n = (slot->flags & OMEN_SLOT_DELETED) == 0 ? slot->ntids : 0;
	memcpy(tids, slot->tids, sizeof(tids));
	omen_page_release(buffer);
	for (int i = 0; i < n; i++)
	{
		if (omen_verify_sees(state->verify, omen_tid_row(&tids[i])))
			return true;
	}
	return false;
}

/* Is a vacuum at work, or has one been cut off? */
static bool
is_vacuumed(OmenVerifyHnsw *state)
{
	VacuumTraces traces = {state};

	return !omen_verify_try(state->verify, "H16", look_for_traces, &traces) ||
		traces.found;
}

static void
look_for_traces(void *arg)
{
	VacuumTraces *traces = arg;
	OmenVerify *verify = traces->state->verify;
	const OmenHnswLayout *layout = &traces->state->hnsw->layout;
	OmenHnswMetaPageData meta;

	omen_hnsw_read_meta(verify->index, &meta);
	traces->found = (meta.flags & OMEN_META_RELINKING) != 0;
	for (BlockNumber block = 0; block < verify->nblocks && !traces->found;
		 block++)
	{
		PGAlignedBlock copy;

		CHECK_FOR_INTERRUPTS();
		if (omen_verify_copy(verify, block, &copy) != OMEN_PAGE_NODE)
			continue;
		for (int i = 0; i < layout->slots_per_page; i++)
		{
			OmenHnswSlot slot = omen_hnsw_page_slot(layout, (Page) copy.data, i);

			traces->found |= (slot->flags & OMEN_SLOT_KIND) ==
				(OMEN_SLOT_USED | OMEN_SLOT_DELETED);
		}
	}
}
