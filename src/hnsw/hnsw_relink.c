/*-------------------------------------------------------------------------
 *
 * hnsw_relink.c
 *	  Vacuum: links of all nodes anew, as a bulk build finds them.
 *
 * NOTES
 *	  An insert finds its neighbours by a search, so it misses those that no
 *	  search finds, and an old outlier never hears of a new neighbour that has
 *	  many nearer ones.  Where a share of the nodes has come or gone, the graph
 *	  is constructed once more from the codes of all of them (src/graph), in
 *	  temporary files as in a build, and the result is written over the links
 *	  that are there.  Nodes keep numbers, versions, levels and all else.
 *
 *	  One pass over all pages reads the codes, another one writes, with one page
 *	  locked at a time and one record for each.  Links that are chosen again
 *	  stay where they are, so that the record is short.  Insertions go on
 *	  meanwhile: links to nodes that were not there in the first pass stay, and
 *	  those nodes keep theirs.
 *
 *	  What cannot be reached by these links, or only from the construction's
 *	  own first node, hnsw_connect.c sees to afterwards; until then the metapage
 *	  says RELINKING.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "hnsw/hnsw.h"
#include "hnsw/hnsw_graph_files.h"

/* Room for mail beyond what it takes about, in parts of that */
#define MAIL_MARGIN		4

/* Of a start that is no entry to be chosen */
#define NO_POSITION	PG_UINT32_MAX

typedef struct RelinkState
{
	OmenGraphFiles files;		/* must be first */
	Relation	index;
	OmenHnswIndex *hnsw;
	OmenHnswStore store;
	const OmenVacuumNodes *vacuum;
	MemoryContext page_context; /* reset for each page */

	/* live nodes in the order of their numbers */
	uint32		n;
	OmenLink   *nodes;
	uint8	   *levels;
	uint64	   *offsets;		/* of their pair codes, if sizes vary */
	OmenArena  *code_file;
	uint8	   *codes;
	Size		code_bytes;		/* in use; code_room there are */
	Size		code_room;
	uint64	   *known;			/* bit for each number: is one of them */

	OmenBuildTeam team;
	OmenBuild  *build;
	uint32	   *positions;		/* in it, by node */
	bool		frugal;			/* files are more than memory allowed */
	OmenArenaBudget budget;
	float	   *scratch;
} RelinkState;

/* Local links of a node, or those at its scale, as they are to be */
typedef struct LinkSet
{
	int			n;
	OmenHnswEdge edges[OMEN_MAX_LINKS]; /* nearest first */
	bool		encoded[OMEN_MAX_LINKS];	/* it was not there before */
} LinkSet;

/* A node of the page at work */
typedef struct NodePlan
{
	OmenLink	link;
	LinkSet		local;
	LinkSet		scale;
} NodePlan;

static Size memory_allowed(void);
static bool open_files(RelinkState *state, OmenBuildParams *params);
static void collect_nodes(RelinkState *state, BufferAccessStrategy strategy);
static void collect_node(RelinkState *state, Buffer buffer, uint32 number,
						 OmenHnswSlot slot);
static void construct(RelinkState *state, const OmenBuildParams *params);
static const uint8 *pair_code(void *arg, uint32 row, Size *size);
static int	level_of(void *arg, uint32 row);
static bool team_barrier(void *arg);
static void team_progress(void *arg, uint64 done, uint64 total);
static void tick(RelinkState *state);
static void write_links(RelinkState *state);
static void relink_page(RelinkState *state, BlockNumber block, uint32 first,
						uint32 end);
static void plan_node(RelinkState *state, uint32 node, OmenHnswSlot old,
					  NodePlan *plan);
static void plan_set(RelinkState *state, const uint8 *centre,
					 const uint32 *links, const OmenLink *old, int nold,
					 LinkSet *set);
static void apply_plan(RelinkState *state, const NodePlan *plan,
					   OmenHnswSlot slot);
static void clear_places(const OmenHnswLayout *layout, const NodePlan *plan,
						 OmenHnswSlot slot);
static void renew_entries(RelinkState *state);
static int	replace_links(RelinkState *state, const LinkSet *set,
						  OmenHnswSlot slot, int from, int end);
static int	next_missing(const OmenHnswLayout *layout, const LinkSet *set,
						 OmenHnswSlot slot, int next);
static bool has_link(const LinkSet *set, OmenLink link);
static bool is_known(const RelinkState *state, uint32 number);

/*
 * The caller is between marking nodes DELETED and freeing them, and repairs and
 * connects what it finds afterwards.  Does nothing where there is no room for
 * the files: the links are good enough to go on with.
 */
void
omen_hnsw_relink(Relation index, OmenHnswIndex *hnsw,
				 BufferAccessStrategy strategy, const OmenVacuumNodes *vacuum)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw relink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	RelinkState	state = {.index = index,.hnsw = hnsw,.vacuum = vacuum};
	OmenBuildParams params = {
		.n = vacuum->nlive,
		.max_links = hnsw->meta.max_links,
		.ef_construction = hnsw->meta.ef_construction,
		.seed = hnsw->meta.shape.seed,
	};

	omen_hnsw_store_init(&state.store, index, hnsw, NULL);
	state.page_context = AllocSetContextCreate(context, "omenhnsw relink page",
											   ALLOCSET_DEFAULT_SIZES);
	if (!open_files(&state, &params))
		ereport(LOG,
				(errmsg("index \"%s\": links are not chosen anew for want of temporary disk space",
						RelationGetRelationName(index))));
	else
	{
		collect_nodes(&state, strategy);
		construct(&state, &params);
		omen_hnsw_set_relinking(index, true, vacuum->nrows);
		write_links(&state);
		renew_entries(&state);
	}
	omen_arena_close(state.files.graph);
	omen_arena_close(state.files.mail);
	omen_arena_close(state.code_file);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static Size
memory_allowed(void)
{
	int			kilobytes = maintenance_work_mem;

	if (omen_compat_is_autovacuum() && autovacuum_work_mem != -1)
		kilobytes = autovacuum_work_mem;
	return (Size) kilobytes * 1024;
}

/* Make all files as long as they can become; false if that cannot be */
static bool
open_files(RelinkState *state, OmenBuildParams *params)
{
	const OmenQuantizer *quant = state->hnsw->quant;
	Size		pair_size = state->hnsw->meta.shape.pair_size;
	uint64		code_room = pair_size > 0 ?
		(uint64) params->n * MAXALIGN(pair_size) : state->vacuum->own_bytes;
	uint64		arena_size;
	uint64		mail_size;

	if (pair_size == 0)
		params->code_bytes = code_room;
	arena_size = omen_build_arena_size(quant, params);
	mail_size = omen_build_mail_size(quant, params);
	mail_size += mail_size / MAIL_MARGIN;

	state->code_file = omen_arena_create(NULL, "codes");
	state->files.mail = omen_arena_create(NULL, "mail");
	state->files.graph = omen_arena_create(NULL, "graph");
	state->code_room = code_room;
	state->frugal = code_room + arena_size > memory_allowed();
	return Max(arena_size, mail_size) <= MaxAllocHugeSize &&
		omen_arena_try_reserve(state->code_file, code_room) &&
		omen_arena_try_reserve(state->files.mail, mail_size) &&
		omen_arena_try_reserve(state->files.graph, arena_size);
}

/* First pass: all live nodes, up to as many as the files are for */
static void
collect_nodes(RelinkState *state, BufferAccessStrategy strategy)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	BlockNumber nblocks = state->vacuum->nblocks;
	Size		words = (Size) nblocks * layout->slots_per_page / 64 + 1;
	Size		n = state->vacuum->nlive;
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;

	state->nodes = palloc_extended(n * sizeof(OmenLink), MCXT_ALLOC_HUGE);
	state->levels = palloc_extended(n, MCXT_ALLOC_HUGE);
	if (state->hnsw->meta.shape.pair_size == 0)
		state->offsets = palloc_extended(n * sizeof(uint64), MCXT_ALLOC_HUGE);
	state->known = palloc_extended(words * sizeof(uint64),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	state->codes = omen_arena_map(state->code_file);
	omen_arena_start_budget(&state->budget, memory_allowed() / 4);

	omen_page_stream_begin(&pages, state->index, nblocks, strategy);
	while ((buffer = omen_page_stream_next(&pages, OMEN_LOCK_SHARE, &kind)) !=
		   InvalidBuffer)
	{
		uint32		first = BufferGetBlockNumber(buffer) *
			layout->slots_per_page;

		for (int i = 0; kind == OMEN_PAGE_NODE && i < layout->slots_per_page;
			 i++)
			collect_node(state, buffer, first + i,
						 omen_hnsw_page_slot(layout, BufferGetPage(buffer), i));
		omen_page_release(buffer);
		tick(state);
	}
	omen_page_stream_end(&pages);
}

static void
collect_node(RelinkState *state, Buffer buffer, uint32 number,
			 OmenHnswSlot slot)
{
	Size		size = state->hnsw->meta.shape.pair_size;

	omen_hnsw_check_slot(state->index, state->hnsw, buffer, slot);
	if (size == 0)
		size = slot->own_bytes;
	if ((slot->flags & OMEN_SLOT_KIND) != OMEN_SLOT_USED ||
		state->n == state->vacuum->nlive ||
		state->code_bytes + MAXALIGN(size) > state->code_room)
		return;

	state->nodes[state->n] = omen_link_form(number, slot->version);
	state->levels[state->n] = slot->level;
	if (state->offsets)
		state->offsets[state->n] = state->code_bytes;
	state->known[number / 64] |= UINT64CONST(1) << (number % 64);
	omen_quant_own_to_pair(state->hnsw->quant,
						   omen_hnsw_slot_own(&state->store, buffer, slot),
						   state->codes + state->code_bytes);
	state->code_bytes += MAXALIGN(size);
	state->n++;
}

static void
construct(RelinkState *state, const OmenBuildParams *params)
{
	OmenBuildInput input = {state, pair_code, level_of};
	OmenBuildParams actual = *params;

	actual.n = state->n;
	omen_build_arena_init(omen_arena_map(state->files.graph),
						  state->hnsw->quant, &actual);
	state->team = (OmenBuildTeam) {
		.arg = state,
		.barrier = team_barrier,
		.progress = team_progress,
		.code_cache = state->frugal ? memory_allowed() / 4 * 3 : 0,
	};
	omen_graph_files_serve(&state->team);
	state->build = omen_build_graph(omen_arena_map(state->files.graph),
									state->hnsw->quant, &input, &state->team);
	state->positions = palloc_extended(Max(state->n, 1) * sizeof(uint32),
									   MCXT_ALLOC_HUGE);
	for (uint32 position = 0; position < state->n; position++)
	{
		if (position % 4096 == 0)
			tick(state);
		state->positions[omen_build_row(state->build, position)] = position;
	}
}

static const uint8 *
pair_code(void *arg, uint32 row, Size *size)
{
	RelinkState *state = arg;

	*size = state->hnsw->meta.shape.pair_size;
	if (*size > 0)
		return state->codes + row * MAXALIGN(*size);
	*size = (row + 1 < state->n ? state->offsets[row + 1] :
			 state->code_bytes) - state->offsets[row];
	return state->codes + state->offsets[row];
}

static int
level_of(void *arg, uint32 row)
{
	return ((RelinkState *) arg)->levels[row];
}

/* There is one participant */
static bool
team_barrier(void *arg)
{
	return true;
}

static void
team_progress(void *arg, uint64 done, uint64 total)
{
	tick(arg);
}

/* To be called from all loops */
static void
tick(RelinkState *state)
{
	omen_compat_vacuum_delay();
	if (!state->frugal || !omen_arena_over_budget(&state->budget))
		return;
	omen_arena_unload(state->code_file);
	omen_arena_unload(state->files.graph);
	omen_arena_start_budget(&state->budget, memory_allowed() / 4);
}

/* Second pass: write what is new, page by page */
static void
write_links(RelinkState *state)
{
	const OmenCodeShape *shape = &state->hnsw->meta.shape;
	int			per_page = state->hnsw->layout.slots_per_page;
	uint32		first = 0;

	state->scratch = palloc(OMEN_QUANT_SCRATCH(shape) * sizeof(float));
	while (first < state->n)
	{
		BlockNumber block = omen_link_number(state->nodes[first]) / per_page;
		uint32		end = first + 1;
		MemoryContext old = MemoryContextSwitchTo(state->page_context);

		while (end < state->n &&
			   omen_link_number(state->nodes[end]) / per_page == block)
			end++;
		relink_page(state, block, first, end);
		first = end;
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->page_context);
		tick(state);
	}
}

/* Nodes from "first" on, below "end", are on one page */
static void
relink_page(RelinkState *state, BlockNumber block, uint32 first, uint32 end)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	NodePlan   *plans = palloc((end - first) * sizeof(NodePlan));
	PGAlignedBlock copy;
	OmenPageEdit edit;
	Page		page;
	Buffer		buffer;

	buffer = omen_page_read(state->index, block, OMEN_PAGE_NODE,
							OMEN_LOCK_SHARE);
	omen_hnsw_check_slots(state->index, state->hnsw, buffer);
	memcpy(copy.data, BufferGetPage(buffer), BLCKSZ);
	omen_page_unlock(buffer);

	for (uint32 node = first; node < end; node++)
		plan_node(state, node,
				  omen_hnsw_page_slot(layout, (Page) copy.data,
									  omen_link_number(state->nodes[node]) %
									  layout->slots_per_page),
				  &plans[node - first]);

	omen_page_lock(buffer, OMEN_LOCK_EXCLUSIVE);
	omen_hnsw_check_slots(state->index, state->hnsw, buffer);
	omen_edit_begin(&edit, state->index);
	page = omen_edit_page(&edit, buffer);
	for (uint32 i = 0; i < end - first; i++)
	{
		OmenHnswSlot slot =
			omen_hnsw_page_slot(layout, page, omen_link_number(plans[i].link) %
								layout->slots_per_page);

		apply_plan(state, &plans[i], slot);
	}
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

static void
plan_node(RelinkState *state, uint32 node, OmenHnswSlot old, NodePlan *plan)
{
	uint32		position = state->positions[node];
	int			nlinks;
	int			nscale;
	const uint32 *links = omen_build_links(state->build, position, &nlinks,
										   &nscale);
	const OmenLink *old_links = omen_slot_links(&state->hnsw->layout, old);
	int			old_local = old->nlinks - old->nscale;
	Size		size;
	const uint8 *centre = pair_code(state, node, &size);

	plan->link = state->nodes[node];
	plan->local.n = nlinks - nscale;
	plan->scale.n = nscale;
	plan_set(state, centre, links, old_links, old_local, &plan->local);
	plan_set(state, centre, links + plan->local.n, old_links + old_local,
			 old->nscale, &plan->scale);
}

/* "links" are positions; those that are among the old ones need no code */
static void
plan_set(RelinkState *state, const uint8 *centre, const uint32 *links,
		 const OmenLink *old, int nold, LinkSet *set)
{
	for (int i = 0; i < set->n; i++)
	{
		OmenHnswEdge *edge = &set->edges[i];
		bool		there = false;

		edge->link = state->nodes[omen_build_row(state->build, links[i])];
		for (int j = 0; j < nold && !there; j++)
			there = old[j] == edge->link;
		set->encoded[i] = !there;
		if (there)
			continue;
		edge->code = palloc(Max(state->hnsw->layout.link_size, 1));
		omen_hnsw_encode_edge(state->hnsw->quant, centre,
							  omen_build_code(state->build, links[i]), edge,
							  state->scratch);
	}
}

/*
 * New links take the places of those that are given up.  A link that was to stay
 * and has gone meanwhile does not come back: an insert has given it up.
 */
static void
apply_plan(RelinkState *state, const NodePlan *plan, OmenHnswSlot slot)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	int			local;
	int			scale;

	if ((slot->flags & OMEN_SLOT_KIND) != OMEN_SLOT_USED ||
		slot->version != omen_link_version(plan->link))
		return;

	slot->flags &= ~OMEN_SLOT_INSERTED;
	clear_places(layout, plan, slot);
	scale = replace_links(state, &plan->scale, slot,
						  slot->nlinks - slot->nscale, slot->nlinks);
	local = replace_links(state, &plan->local, slot, 0,
						  slot->nlinks - slot->nscale);
	for (; local < plan->local.n && slot->nlinks < layout->max_links;
		 local = next_missing(layout, &plan->local, slot, local + 1))
		omen_slot_add_local(layout, slot, &plan->local.edges[local]);
	for (; scale < plan->scale.n && slot->nlinks < layout->max_links;
		 scale = next_missing(layout, &plan->scale, slot, scale + 1))
		omen_slot_add_scale(layout, slot, &plan->scale.edges[scale]);
}

/* Remove what is to be a link of the other kind */
static void
clear_places(const OmenHnswLayout *layout, const NodePlan *plan,
			 OmenHnswSlot slot)
{
	for (int at = slot->nlinks - 1; at >= 0; at--)
	{
		bool		local = at < slot->nlinks - slot->nscale;

		if (has_link(local ? &plan->scale : &plan->local,
					 omen_slot_links(layout, slot)[at]))
			omen_slot_remove_edge(layout, slot, at);
	}
}

/*
 * Within links from "from" on, below "end": links that are not in the set go, but
 * for those to nodes that came later.  Returns the first of the set for which
 * there was no place.
 */
static int
replace_links(RelinkState *state, const LinkSet *set, OmenHnswSlot slot,
			  int from, int end)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	int			next = next_missing(layout, set, slot, 0);

	/* from the end, for what takes the place of a link comes from behind it */
	for (int at = end - 1; at >= from; at--)
	{
		OmenLink	link = omen_slot_links(layout, slot)[at];
		uint32		number = omen_link_number(link);

		if (has_link(set, link) ||
			(!is_known(state, number) &&
			 !state->vacuum->is_deleted(state->vacuum->arg, link)))
			continue;
		if (next < set->n)
		{
			omen_slot_set_edge(layout, slot, at, &set->edges[next]);
			next = next_missing(layout, set, slot, next + 1);
		}
		else
			omen_slot_remove_edge(layout, slot, at);
	}
	return next;
}

/* The first of a set from "next" on that has a code and is not linked */
static int
next_missing(const OmenHnswLayout *layout, const LinkSet *set,
			 OmenHnswSlot slot, int next)
{
	while (next < set->n &&
		   (!set->encoded[next] ||
			omen_slot_has_link(layout, slot, set->edges[next].link)))
		next++;
	return next;
}

static bool
has_link(const LinkSet *set, OmenLink link)
{
	for (int i = 0; i < set->n; i++)
	{
		if (set->edges[i].link == link)
			return true;
	}
	return false;
}

static void
entry_tick(void *arg)
{
	tick(arg);
}

/*
 * As a build chooses them; but the first one stays, for H16.  An insert that puts
 * its own in the place of one meanwhile has it.
 */
static void
renew_entries(RelinkState *state)
{
	uint32		n;
	OmenLink   *links;
	uint32	   *positions;

	omen_hnsw_reload_entries(state->index, state->hnsw);
	n = Min(state->hnsw->nentries, state->n);
	links = palloc(Max(n, 1) * sizeof(OmenLink));
	if (n > 0)
		memcpy(links, state->hnsw->entry_links, n * sizeof(OmenLink));
	positions = palloc(Max(n, 1) * sizeof(uint32));
	omen_hnsw_choose_entries(state->hnsw->quant, state->build, state->n, n,
							 NO_POSITION, entry_tick, state, positions);
	for (uint32 i = 1; i < n; i++)
	{
		uint32		position = positions[i];
		OmenLink	link = state->nodes[omen_build_row(state->build,
													   position)];

		omen_hnsw_replace_entry(state->index, state->hnsw, links[i], link,
								omen_build_code(state->build, position));
		tick(state);
	}
}

/* Numbers that came after the vacuum began have no bit */
static bool
is_known(const RelinkState *state, uint32 number)
{
	if (number / state->hnsw->layout.slots_per_page >= state->vacuum->nblocks)
		return false;
	return (state->known[number / 64] >> (number % 64) & 1) != 0;
}
