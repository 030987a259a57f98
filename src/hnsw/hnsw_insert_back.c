/*-------------------------------------------------------------------------
 *
 * hnsw_insert_back.c
 *	  Insertion of one row: who links back to the new node, and what for.
 *
 * NOTES
 *	  By inner product, whoever is long is an answer to many queries, which end
 *	  at those that are long, too (graph_build_long.c).  So a node prefers a new
 *	  one that is longer than half of what it links to over the shortest of that,
 *	  and does not give up a longer one for it, though that is the farthest in the
 *	  distance of the graph and the first that selection would leave out.  A new
 *	  node asks not only those that it has links to, which are near in that
 *	  distance, but those that it would be an answer with: what is nearest to it
 *	  by inner product, and what queries pass.  All of that does nothing where
 *	  vectors are of equal length.
 *
 *	  20,000 random vectors of which a fifth was inserted: recall at ef 40 is
 *	  .838 (built: .839).  If links to longer nodes may be given up, it is .829
 *	  where only long nodes ask more, and .820 where all do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_insert.h"

/* The nearest of them do not refuse by estimates alone */
#define SURE_BACK_LINKS	6

/*
 * How much nearer to the new node than its neighbour is a link must be for
 * the new one to be redundant, in graph distance.  More than 1, because a
 * redundant link is known only by what the new node does to it, and not by
 * what other links do: at 1, new nodes got too few links, and recall at ef 40
 * of word vectors was .81 instead of .85.
 */
#define NEW_LINK_BONUS	1.5f

/*
 * From so many dimensions and links on, link codes may decide which link to
 * give up: what was measured (100 to 784 dimensions, 23 to 32 links) lies above.
 */
#define CODES_DECIDE_DIMS	64
#define CODES_DECIDE_LINKS	16

/*
 * Inner product: a new node asks so many, in parts of those that it has links
 * to.  Of the answers among those 20,000 random vectors that had been inserted,
 * searches missed .201 where short ones asked no more, .155 with 1.5 for all; of
 * the built ones, .153 and .166.
 */
#define IP_BACK_LINKS	1.5

typedef struct PairEntry
{
	OmenLink	link;
	char		status;
	const uint8 *pair;			/* NULL: the node is gone */
} PairEntry;

#define SH_PREFIX		pair_cache
#define SH_ELEMENT_TYPE PairEntry
#define SH_KEY_TYPE		OmenLink
#define SH_KEY			link
#define SH_HASH_KEY(tb, key)	murmurhash32(key)
#define SH_EQUAL(tb, a, b)		((a) == (b))
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "common/hashfn.h"
#include "lib/simplehash.h"

static bool codes_decide(const OmenHnswIndex *hnsw);
static bool plan_back_link(OmenInsert *state, OmenBackLink *back, int rank);
static void add_answers(OmenInsert *state);
static bool differs_in_length(const OmenInsert *state, int near);
static bool has_back_link(const OmenInsert *state, int near);
static bool force_back_link(OmenInsert *state, OmenBackLink *back);
static bool copy_slot(OmenInsert *state, OmenLink link);
static bool link_to_victim(OmenInsert *state, OmenLink victim,
						   bool *pinned);
static bool choose_by_estimates(OmenInsert *state, const OmenNear *near,
								OmenLink *victim);
static OmenLink choose_victim(OmenInsert *state, const OmenNear *near);
static OmenLink choose_shorter(const OmenInsert *state, const OmenNear *all,
							   int nall);
static OmenLink choose_redundant(const OmenInsert *state,
								 const OmenNear *near, OmenNear *all,
								 int nall);
static OmenLink link_on_way(OmenInsert *state, const OmenNear *near);
static int	collect_local(OmenInsert *state, const OmenNear *near,
						  OmenNear *all, OmenLink *lost);

static inline bool
by_ip(const OmenHnswIndex *hnsw)
{
	return hnsw->meta.shape.metric == OMEN_METRIC_IP;
}

/* Of squared lengths */
static inline bool
is_longer(float norm2, float other)
{
	return norm2 > OMEN_LONG_NORM2 * other;
}

/* What has been found is known; allocates in the current memory context */
void
omen_insert_begin_back(OmenInsert *state)
{
	state->full = palloc(state->hnsw->layout.slot_size);
	if (codes_decide(state->hnsw))
		state->centre = palloc(omen_query_size(state->hnsw->quant));
	state->pairs = pair_cache_create(CurrentMemoryContext, 256, NULL);
	for (int i = 0; i < state->nnear; i++)
	{
		bool		known;

		pair_cache_insert(state->pairs, state->near[i].node, &known)->pair =
			state->near[i].pair;
	}
}

/*
 * Are link codes good enough to choose by?  Of inner products they tell other
 * distances than selection uses; with few dimensions they tell little, and with
 * few links each one counts.
 */
static bool
codes_decide(const OmenHnswIndex *hnsw)
{
	return hnsw->layout.factors && !by_ip(hnsw) &&
		hnsw->meta.shape.dims >= CODES_DECIDE_DIMS &&
		hnsw->layout.max_links >= CODES_DECIDE_LINKS;
}

/*
 * Before the new node is written: who of those that are to link back has room,
 * or a link to give up?  Whatever that link leads to gets one from the new node:
 * so it can be reached as before, by one step more (H16).
 */
void
omen_insert_plan_back(OmenInsert *state)
{
	bool		pinned[OMEN_MAX_LINKS] = {false};	/* links that stay */
	bool		agreed = false;

	if (by_ip(state->hnsw))
		add_answers(state);
	for (int i = 0; i < state->nback; i++)
	{
		OmenBackLink *back = &state->back[i];

		CHECK_FOR_INTERRUPTS();
		back->agreed = plan_back_link(state, back, i) &&
			link_to_victim(state, back->victim, pinned);
		agreed |= back->agreed;
	}

	/* nobody: then the nearest that can */
	for (int i = 0; i < state->nback && !agreed; i++)
	{
		OmenBackLink *back = &state->back[i];

		CHECK_FOR_INTERRUPTS();
		agreed = back->agreed =
			force_back_link(state, back) &&
			link_to_victim(state, back->victim, pinned);
	}
}

/*
 * The rank-th to be asked.  The first ones do not refuse by estimates alone:
 * where all vectors are on a line, say, each link is redundant but for two.
 */
static bool
plan_back_link(OmenInsert *state, OmenBackLink *back, int rank)
{
	const OmenNear *near = &state->near[back->near];

	if (!copy_slot(state, near->node))
		return false;
	back->victim = OMEN_LINK_INVALID;
	if (state->full->nlinks < state->hnsw->layout.max_links)
		return true;
	if (!choose_by_estimates(state, near, &back->victim) ||
		(back->victim == OMEN_LINK_INVALID && rank < SURE_BACK_LINKS))
		back->victim = choose_victim(state, near);
	return back->victim != OMEN_LINK_INVALID;
}

/*
 * By inner product: the nearest nodes by that are to link back, too, unless they
 * are as long as the new one; then it is near to them in graph distance as well.
 */
static void
add_answers(OmenInsert *state)
{
	const OmenSearch *search = state->search;
	int			max_links = state->hnsw->layout.max_links;
	int			max = IP_BACK_LINKS * omen_insert_new_links(max_links);
	int			nearest[OMEN_MAX_LINKS];	/* of search->found */
	int			n = 0;

	for (Size i = 0; i < search->nfound; i++)
	{
		float		estimate = search->found[i].own.estimate;
		int			at = n < max ? n++ : max;

		for (; at > 0 &&
			 estimate < search->found[nearest[at - 1]].own.estimate; at--)
		{
			if (at < max)
				nearest[at] = nearest[at - 1];
		}
		if (at < max)
			nearest[at] = i;
	}
	for (int i = 0; i < n && state->nback < max; i++)
	{
		int			at = 0;

		while (at < state->nnear &&
			   state->near[at].node != search->found[nearest[i]].link)
			at++;
		if (at == state->nnear)
			continue;			/* one of many copies */
		if (differs_in_length(state, at) && !has_back_link(state, at))
			state->back[state->nback++].near = at;
	}
}

static bool
differs_in_length(const OmenInsert *state, int near)
{
	const OmenQuantizer *quant = state->hnsw->quant;
	float		norm2 = omen_quant_pair_norm2(quant, state->pair);
	float		other = omen_quant_pair_norm2(quant, state->near[near].pair);

	return is_longer(norm2, other) || is_longer(other, norm2);
}

static bool
has_back_link(const OmenInsert *state, int near)
{
	for (int i = 0; i < state->nback; i++)
	{
		if (state->back[i].near == near)
			return true;
	}
	return false;
}

/* The same of one to whom the new node is redundant, or seems to be */
static bool
force_back_link(OmenInsert *state, OmenBackLink *back)
{
	const OmenNear *near = &state->near[back->near];

	if (!copy_slot(state, near->node))
		return false;
	back->victim = link_on_way(state, near);
	return back->victim != OMEN_LINK_INVALID;
}

/*
 * To state->full, if the node lives: choosing which link to give up may need the
 * codes of other nodes, and is not done under its lock.
 */
static bool
copy_slot(OmenInsert *state, OmenLink link)
{
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(&state->store, link,
											 OMEN_LOCK_SHARE, &slot);
	bool		live;

	if (!BufferIsValid(buffer))
		return false;
	live = (slot->flags & OMEN_SLOT_DELETED) == 0;
	memcpy(state->full, slot, state->hnsw->layout.slot_size);
	omen_page_release(buffer);
	return live;
}

/*
 * Let the new node link to a node that another one gives up for it, in place of
 * its farthest link that is not needed for the same.  Returns false if all are.
 */
static bool
link_to_victim(OmenInsert *state, OmenLink victim, bool *pinned)
{
	int			nlocal = state->nlinks - state->nscale;
	const uint8 *pair;
	OmenNear   *near;
	int			at;

	if (victim == OMEN_LINK_INVALID)
		return true;
	for (at = 0; at < state->nlinks; at++)
	{
		if (state->near[state->links[at]].node == victim)
		{
			pinned[at] = true;
			return true;
		}
	}
	pair = omen_insert_pair(state, victim);
	if (pair == NULL)
		return true;			/* leads nowhere */

	if (state->nlinks < state->hnsw->layout.max_links)
	{
		at = nlocal;
		memmove(&state->links[at + 1], &state->links[at],
				state->nscale * sizeof(int));
		memmove(&pinned[at + 1], &pinned[at], state->nscale * sizeof(bool));
		state->nlinks++;
	}
	else
	{
		for (at = nlocal - 1; at >= 0 && pinned[at]; at--)
			;
		if (at < 0)
			return false;
	}
	near = &state->near[state->nnear];
	near->node = victim;
	near->pair = pair;
	near->distance = omen_quant_pair_distance(state->hnsw->quant, state->pair,
											  pair);
	state->links[at] = state->nnear++;
	pinned[at] = true;
	return true;
}

/*
 * Add the links to the new node.  If a link to be given up is gone meanwhile,
 * another one to a node that the new one links to will do.  Returns how many there
 * are.
 */
int
omen_insert_link_back(OmenInsert *state)
{
	OmenHnswPut puts[OMEN_MAX_LINKS];
	OmenLink	others[OMEN_MAX_LINKS];
	int			nputs = 0;

	for (int i = 0; i < state->nback; i++)
	{
		const OmenBackLink *back = &state->back[i];
		const OmenNear *near = &state->near[back->near];
		OmenHnswPut *put = &puts[nputs];

		if (!back->agreed)
			continue;
		put->node = near->node;
		put->victim = back->victim;
		omen_insert_encode_edge(state, near->pair, state->pair, state->link,
								&put->edge);
		nputs++;
	}
	for (int i = 0; i < state->nlinks; i++)
		others[i] = state->near[state->links[state->nlinks - 1 - i]].node;
	return omen_hnsw_put_links(&state->store, puts, nputs, others,
							   state->nlinks);
}

/*
 * The local link to give up for the new node, as far as the slot's own codes
 * tell: they estimate how far each link is from the neighbour, and from the
 * new node.  Whichever of the links and the new one has the nearest way round
 * by another, in proportion to its length, is redundant.  Returns false if
 * none has a shorter one; then others decide, see choose_victim().
 */
static bool
choose_by_estimates(OmenInsert *state, const OmenNear *near,
					OmenLink *victim)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	OmenHnswSlot slot = state->full;
	int			nlocal = slot->nlinks - slot->nscale;
	float		length[OMEN_MAX_LINKS]; /* from the neighbour */
	float		from_new[OMEN_MAX_LINKS];
	float		least = 1;

	if (state->centre == NULL)
		return false;

	omen_query_init_pair(state->centre, state->hnsw->quant, near->pair);
	omen_query_links(state->centre, 0, nlocal, omen_slot_f_add(layout, slot),
					 omen_slot_f_rescale(layout, slot),
					 omen_slot_codes(layout, slot), length);
	omen_query_links(state->store.query, near->distance, nlocal,
					 omen_slot_f_add(layout, slot),
					 omen_slot_f_rescale(layout, slot),
					 omen_slot_codes(layout, slot), from_new);

	for (int i = 0; i < nlocal; i++)
	{
		bool		nearer = length[i] <= near->distance;
		float		share = nearer ?
			NEW_LINK_BONUS * from_new[i] / near->distance :
			from_new[i] / length[i];

		if (share < least)
		{
			least = share;
			*victim = nearer ? OMEN_LINK_INVALID :
				omen_slot_links(layout, slot)[i];
		}
	}
	return least < 1;
}

/* The local link to give up for the new node, or OMEN_LINK_INVALID */
static OmenLink
choose_victim(OmenInsert *state, const OmenNear *near)
{
	OmenNear	all[OMEN_MAX_LINKS + 1];
	OmenLink	victim;
	int			nall = collect_local(state, near, all, &victim);

	if (victim == OMEN_LINK_INVALID && by_ip(state->hnsw))
		victim = choose_shorter(state, all, nall);
	if (victim == OMEN_LINK_INVALID)
		victim = choose_redundant(state, near, all, nall);
	return victim;
}

/*
 * Inner product: the local link to the shortest node, to be given up for a new
 * one that is longer than half of what they lead to; otherwise
 * OMEN_LINK_INVALID.
 */
static OmenLink
choose_shorter(const OmenInsert *state, const OmenNear *all, int nall)
{
	const OmenQuantizer *quant = state->hnsw->quant;
	OmenLink	victim = OMEN_LINK_INVALID;
	float		norm2 = omen_quant_pair_norm2(quant, state->pair);
	float		least = norm2;
	int			nshorter = 0;

	for (int i = 0; i < nall; i++)
	{
		float		other = omen_quant_pair_norm2(quant, all[i].pair);

		nshorter += is_longer(norm2, other);
		if (other < least)
		{
			least = other;
			victim = all[i].node;
		}
	}
	return 2 * nshorter >= nall ? victim : OMEN_LINK_INVALID;
}

/*
 * What the choice of neighbours leaves out of all local links and the new one;
 * OMEN_LINK_INVALID if that is the new one.  By inner product, links to longer
 * nodes are not left out.  Has room in "all" for one more.
 */
static OmenLink
choose_redundant(const OmenInsert *state, const OmenNear *near, OmenNear *all,
				 int nall)
{
	const OmenQuantizer *quant = state->hnsw->quant;
	int			chosen[OMEN_MAX_LINKS + 1];
	bool		kept[OMEN_MAX_LINKS + 1] = {false};
	int			n;

	all[nall].node = OMEN_LINK_INVALID;
	all[nall].pair = state->pair;
	all[nall++].distance = near->distance;
	omen_graph_sort_near(all, nall);

	if (by_ip(state->hnsw))
	{
		float		norm2 = omen_quant_pair_norm2(quant, state->pair);

		for (int i = 0; i < nall; i++)
			kept[i] = is_longer(omen_quant_pair_norm2(quant, all[i].pair),
								norm2);
	}
	n = omen_graph_select_more(quant, all, nall, nall - 1, kept, chosen);
	for (int i = 0; i < n; i++)
		kept[chosen[i]] = true;
	for (int i = 0; i < nall; i++)
	{
		if (!kept[i])
			return all[i].node;
	}
	return OMEN_LINK_INVALID;
}

/* The local link that is made up for best by a link to the new node */
static OmenLink
link_on_way(OmenInsert *state, const OmenNear *near)
{
	OmenNear	all[OMEN_MAX_LINKS];
	OmenLink	victim;
	int			n = collect_local(state, near, all, &victim);
	float		nearest = 0;

	if (victim != OMEN_LINK_INVALID)
		return victim;
	for (int i = 0; i < n; i++)
	{
		float		distance = omen_quant_pair_distance(state->hnsw->quant,
														state->pair,
														all[i].pair);

		if (i == 0 || distance < nearest)
		{
			nearest = distance;
			victim = all[i].node;
		}
	}
	return victim;
}

/*
 * What the local links of the slot in state->full lead to, with distances from
 * that node.  Sets *lost if one of them leads nowhere.
 */
static int
collect_local(OmenInsert *state, const OmenNear *near, OmenNear *all,
			  OmenLink *lost)
{
	const OmenLink *local = omen_slot_links(&state->hnsw->layout, state->full);
	int			nlocal = state->full->nlinks - state->full->nscale;
	int			n = 0;

	*lost = OMEN_LINK_INVALID;
	for (int i = 0; i < nlocal; i++)
		omen_hnsw_prefetch_own(&state->store, local[i]);
	for (int i = 0; i < nlocal; i++)
	{
		const uint8 *pair = omen_insert_pair(state, local[i]);

		if (pair == NULL)
		{
			*lost = local[i];
			break;
		}
		all[n].node = local[i];
		all[n].pair = pair;
		all[n++].distance = omen_quant_pair_distance(state->hnsw->quant,
													 near->pair, pair);
	}
	return n;
}

void
omen_insert_encode_edge(OmenInsert *state, const uint8 *centre,
						const uint8 *neighbour, OmenLink link,
						OmenHnswEdge *edge)
{
	edge->link = link;
	edge->code = palloc(Max(state->hnsw->layout.link_size, 1));
	omen_hnsw_encode_edge(state->hnsw->quant, centre, neighbour, edge,
						  state->scratch);
}

/* Pair code of a node; NULL if there is no such node any more */
const uint8 *
omen_insert_pair(OmenInsert *state, OmenLink link)
{
	bool		known;
	Size		size;
	PairEntry  *entry = pair_cache_insert(state->pairs, link, &known);

	if (!known)
	{
		uint8	   *pair;

		entry->pair = omen_hnsw_read_pair(&state->store, link, &pair, &size) ?
			pair : NULL;
	}
	return entry->pair;
}

bool
omen_insert_knows_pair(const OmenInsert *state, OmenLink link)
{
	return pair_cache_lookup(state->pairs, link) != NULL;
}
