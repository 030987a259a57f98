/*-------------------------------------------------------------------------
 *
 * graph_search.c
 *	  Best-first search, see graph_search.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "graph/graph_search.h"
#include "graph/numberset.h"
#include "graph/pool_heap.h"

/*
 * Beyond a rank that is larger than the breadth, fewer nodes do, by this power of
 * what it is larger.  Of sets of 25 and 10 % of a million anywhere, recall@10 is
 * .951 and .961 where a search without a filter has .951.
 */
#define LARGE_POWER		1.75

/* In multiples of the nodes needed, those whose last one bounds what is of use */
#define USEFUL_PART		1.2

/*
 * Where distances grow faster than usual, this part of the nodes needed beyond the
 * last one wanted do, and where they grow slower, it takes so many times of them.
 * With twice as many, sweeps of word vectors, whose distances all grow slowly, would
 * make half as many visits again, for more recall than is asked for.
 */
#define LEAST_PART		0.2
#define MOST_PART		1.25

/* What is this much farther than what will be visited is not looked at again */
#define REACH_MARGIN	1.03

/* Of the nodes heard of, as many tell about the others */
#define HEARD_SAMPLE	33

static void run_in_order(OmenSearch *search);
static void run_filtered(OmenSearch *search);
static bool is_filter_done(OmenSearch *search);
static float reached(const OmenSearch *search);
static void forget_far(OmenSearch *search);
static void set_needed(OmenSearch *search);
static int	part_needed(const OmenSearch *search, double part);
static int	count_settled(const OmenSearch *search);
static int	rank_of_allowed(const OmenSearch *search, int n);
static void measure_heard(OmenSearch *search);
static int	find_near_heard(const OmenSearch *search, OmenHeard *near);
static bool was_visited(const OmenSearch *search, OmenLink link);
static bool was_measured(const OmenSearch *search, OmenLink link);
static void visit_nearest(OmenSearch *search);
static void read_heard_ahead(OmenSearch *search);
static void prefetch_heard(OmenSearch *search);
static void keep_rank(OmenSearch *search);
static void visit_in_pool(OmenSearch *search, int at);
static void read_ahead(OmenSearch *search, int from, int n);
static void apply_filter(const OmenSearchFilter *filter, OmenVisit *visit);
static void add_visited(OmenSearch *search, OmenLink link);
static void remove_entry(OmenSearch *search, int at);
static void add_found(OmenSearch *search, OmenLink link);
static inline float without_nan(float estimate);
static void hear_of(OmenSearch *search, int n, const OmenLink *links,
					const float *estimates);
static void part_heard(OmenSearch *search);
static bool fetch_rest(OmenSearch *search);
static void use_heap(OmenSearch *search);
static void fill_heap(OmenSearch *search);
static void make_room_in_heap(OmenSearch *search, Size n);
static void offer(OmenSearch *search, OmenLink link, float estimate);
static void insert_entry(OmenSearch *search, OmenPoolEntry entry);
static inline void add_rest(OmenSearch *search, float estimate,
							OmenLink link);
static void make_room_in_rest(OmenSearch *search, Size n);
static void make_room(OmenSearch *search);
static void prefetch_node(OmenSearch *search, OmenLink link);
static inline void prefetch_way(OmenSearch *search, OmenLink link);
static void mark_visited(OmenSearch *search, OmenLink link);

OmenSearch *
omen_search_create(const OmenGraphOps *ops, void *store, int ef,
				   bool keep_pairs)
{
	OmenSearch *search = palloc0(sizeof(OmenSearch));

	Assert(ef > 0);

	search->ops = ops;
	search->store = store;
	search->context = CurrentMemoryContext;
	search->keep_pairs = keep_pairs;
	search->ef = ef;
	search->pool = palloc(ef * sizeof(OmenPoolEntry));
	search->visited = omen_numberset_create(CurrentMemoryContext,
											Max(ef * 2, 128), NULL);
	search->rest_size = 1024;
	search->rest_estimates = palloc(search->rest_size * sizeof(float));
	search->rest_links = palloc(search->rest_size * sizeof(OmenLink));
	search->far = get_float4_infinity();
	search->width = Max(ef, HEARD_SAMPLE);
	search->heard_size = 512;
	search->heard = palloc(search->heard_size * sizeof(OmenHeard));
	search->found_size = ef + ef / 2 + 16;
	search->found = palloc(search->found_size * sizeof(OmenFound));
	return search;
}

void
omen_search_seed(OmenSearch *search, OmenLink link, float estimate)
{
	if (search->filter)
		hear_of(search, 1, &link, &estimate);
	else
		offer(search, link, estimate);
}

bool
omen_search_run(OmenSearch *search)
{
	MemoryContext old = MemoryContextSwitchTo(search->context);

	search->visit.stop = false;
	if (search->filter == NULL)
		run_in_order(search);
	if (search->filter != NULL)
		run_filtered(search);
	MemoryContextSwitchTo(old);
	return search->visit.stop;
}

/*
 * Through the pool.  If that is not as full then as it should be, as nodes
 * without rows took no place in it, there is more to visit.
 */
static void
run_in_order(OmenSearch *search)
{
	while (search->next < search->npool && !search->visit.stop)
	{
		if (search->pool[search->next].visited)
			search->next++;
		else
			visit_in_pool(search, search->next);
	}
	if (!search->visit.stop && search->nrest > 0 &&
		search->npool < search->ef - search->ef / 4)
		omen_search_widen(search, search->ef);
}

static void
run_filtered(OmenSearch *search)
{
	search->rank = 0;			/* another one may be wanted now */
	while (!search->visit.stop &&
		   (search->nheard > 0 || fetch_rest(search)) &&
		   !is_filter_done(search))
		visit_nearest(search);
	if (search->filter->measured > 0 &&
		search->nvisits < search->filter->max_visits)
		measure_heard(search);
}

/*
 * Have as many nodes been visited, before the next one to visit, as it takes to
 * be sure of those wanted?  How many that are is counted from the last of them:
 * so the thinner the set here, the farther a search looks, and no more than it
 * has to, whatever the share elsewhere.  Beyond a rank that is large because the
 * set is thin, few are enough; not if it is large because the set begins there.
 */
static bool
is_filter_done(OmenSearch *search)
{
	const OmenSearchFilter *filter = search->filter;
	float		nearest = search->heard[0].estimate;
	int			needed;

	if (search->nvisits >= filter->max_visits)
		return true;
	if (search->nallowed < filter->breadth)
		return false;
	if (filter == &search->all)
		return search->pool[filter->breadth - 1].estimate <= nearest;
	if (search->rank == 0)
	{
		search->rank = rank_of_allowed(search, filter->breadth);
		set_needed(search);
	}
	forget_far(search);
	needed = search->needed;
	if (filter->growth > 0)
		needed = part_needed(search, nearest > reached(search) ? LEAST_PART :
							 MOST_PART);
	return search->npool >= needed &&
		search->pool[needed - 1].estimate <= nearest;
}

/* The distance of the last node needed, if distances grow as usual */
static float
reached(const OmenSearch *search)
{
	return search->pool[search->rank - 1].estimate * search->reach;
}

/*
 * What is heard of from now on need not be kept in order if it is farther than
 * all that will be visited, or measured.
 */
static void
forget_far(OmenSearch *search)
{
	const OmenSearchFilter *filter = search->filter;
	int			last = Min((int) (search->needed * USEFUL_PART),
						   search->npool) - 1;

	if (filter->growth > 0 && filter->measured == 0)
		search->far = Min(search->far, reached(search) * REACH_MARGIN);
	else if (search->npool >= search->needed)
		search->far = Min(search->far, search->pool[last].estimate);
}

/*
 * So many visited nodes have to be nearer than all that were not, if distances grow
 * as usual.  Around some queries they grow so fast that to visit as many nodes as
 * around others is of no use; around others it takes more.
 */
static void
set_needed(OmenSearch *search)
{
	const OmenSearchFilter *filter = search->filter;
	double		rank = Max(search->rank, filter->expected_rank);
	double		large = filter->large_rank == 0 ? 1 :
		Min(rank, filter->usual_rank) / filter->large_rank;

	search->needed = search->rank + (int) ceil(filter->beyond /
											   pow(Max(large, 1), LARGE_POWER));
	search->reach = (float) pow((double) search->needed / search->rank,
								filter->growth);
}

/* The same if it takes but a part of those beyond the last one wanted, or more */
static int
part_needed(const OmenSearch *search, double part)
{
	return search->rank +
		(int) ceil((search->needed - search->rank) * part);
}

/* Visited nodes that are nearer than all that were not */
static int
count_settled(const OmenSearch *search)
{
	int			low = 0;
	int			high = search->npool;

	while (search->nheard > 0 && low < high)
	{
		int			middle = (low + high) / 2;

		if (search->pool[middle].estimate <= search->heard[0].estimate)
			low = middle + 1;
		else
			high = middle;
	}
	return high;
}

/* How many visited nodes are as near as the n-th that is allowed */
static int
rank_of_allowed(const OmenSearch *search, int n)
{
	int			at = 0;

	Assert(search->nallowed >= n);

	while (n > 0)
		n -= search->pool[at++].allowed;
	return at;
}

/*
 * From now on as if there were a filter, which allows all nodes: to sort what a
 * search has heard of takes longer than the visits, whenever it is widened; and
 * so does keeping it in order once it is wide, 16 us for each at 10,240.
 */
bool
omen_search_widen(OmenSearch *search, int ef)
{
	Assert(ef >= omen_search_breadth(search));

	if (search->filter == NULL)
		use_heap(search);
	search->all.breadth = ef;
	return search->nheard > 0 || search->nrest > 0;
}

float
omen_search_horizon(const OmenSearch *search)
{
	if (search->nrest == 0 &&
		(search->filter ? search->nheard == 0 : search->npool < search->ef))
		return get_float4_infinity();
	if (search->npool == 0)
		return -get_float4_infinity();
	return search->pool[Min(search->npool - 1, (search->filter ?
												count_settled(search) :
												search->ef) / 2)].estimate;
}

bool
omen_search_was_seen(const OmenSearch *search, uint32 number)
{
	OmenLink	link = omen_link_form(number, 0);

	return was_visited(search, link) || was_measured(search, link);
}

static bool
was_visited(const OmenSearch *search, OmenLink link)
{
	return omen_numberset_lookup(search->visited,
								 omen_link_number(link)) != NULL;
}

static bool
was_measured(const OmenSearch *search, OmenLink link)
{
	return search->measured != NULL &&
		omen_numberset_lookup(search->measured,
							  omen_link_number(link)) != NULL;
}

/* Find what is allowed of the nearest that would have been visited next */
static void
measure_heard(OmenSearch *search)
{
	OmenHeard	near[OMEN_MAX_MEASURED];
	int			n = find_near_heard(search, near);
	bool		found;

	if (search->measured == NULL)
		search->measured = omen_numberset_create(search->context,
												 OMEN_MAX_MEASURED, NULL);
	if (unlikely(search->ops->ahead(search->store) > 0))
	{
		for (int i = 0; i < n; i++)
			search->ops->read_ahead(search->store, near[i].link);
	}
	for (int i = 0; i < n; i++)
		search->ops->prefetch_own(search->store, near[i].link);
	for (int i = 0; i < n; i++)
	{
		const OmenVisit *visit = &search->visit;

		if (!search->ops->measure(search->store, near[i].link, &search->visit))
			continue;
		omen_numberset_insert(search->measured,
							  omen_link_number(near[i].link), &found);
		if (visit->live && visit->allowed)
			add_found(search, near[i].link);
	}
}

/* In no order, once each; returns how many */
static int
find_near_heard(const OmenSearch *search, OmenHeard *near)
{
	const OmenSearchFilter *filter = search->filter;
	Size		n = 0;

	Assert(filter->measured <= OMEN_MAX_MEASURED);

	for (Size i = 0; i < search->nheard; i++)
	{
		/* a heap, the farthest first */
		OmenHeard	heard = {-search->heard[i].estimate,
		search->heard[i].link};
		Size		at = 0;

		if ((n == filter->measured && heard.estimate <= near[0].estimate) ||
			!omen_allow_test(filter->maybe, omen_link_number(heard.link)) ||
			was_visited(search, heard.link) ||
			was_measured(search, heard.link))
			continue;
		while (at < n && near[at].link != heard.link)
			at++;
		if (at == n && n < filter->measured)
			omen_pool_heap_rise(near, n++, heard);
		else if (at == n)
			omen_pool_heap_sink(near, n, 0, heard);
		else if (heard.estimate > near[at].estimate)
			omen_pool_heap_sink(near, n, at, heard);
	}
	return (int) n;
}

/* The nearest of those heard of, and offer what it links to */
static void
visit_nearest(OmenSearch *search)
{
	OmenVisit  *visit = &search->visit;
	OmenHeard	nearest = omen_pool_heap_pop(search->heard, &search->nheard);
	bool		nearer;

	/* heard of twice */
	if (was_visited(search, nearest.link))
		return;
	read_heard_ahead(search);
	if (!omen_search_visit(search, nearest.link))
		return;
	if (visit->live)
	{
		make_room(search);
		nearer = search->rank > 0 && visit->own.estimate <
			search->pool[search->rank - 1].estimate;
		add_visited(search, nearest.link);
		search->nallowed += visit->allowed;
		if (nearer)
			keep_rank(search);
	}
	if (search->filter->allowed_only)
		apply_filter(search->filter, visit);
	hear_of(search, visit->nlinks, visit->links, visit->estimates);
	prefetch_heard(search);
}

/* Have the next ones read, as far as the order of a heap tells which they are */
static void
read_heard_ahead(OmenSearch *search)
{
	int			ahead = search->ops->ahead(search->store);

	if (likely(ahead == 0))
		return;
	for (Size i = 0; i < Min(search->nheard, (Size) ahead); i++)
		search->ops->read_ahead(search->store, search->heard[i].link);
}

/*
 * The three that are nearest as far as is known now: what a slot is in takes longer
 * to come than a visit takes.  With two, sweeps of a quarter took 6 % longer.
 */
static void
prefetch_heard(OmenSearch *search)
{
	const OmenHeard *heard = search->heard;
	int			second;
	int			third;

	if (search->nheard > 0 && heard[0].link != search->under_way)
		prefetch_node(search, heard[0].link);
	if (search->nheard < OMEN_POOL_HEAP_THREE)
		return;
	omen_pool_heap_next(heard, &second, &third);
	prefetch_node(search, heard[second].link);
	prefetch_node(search, heard[third].link);
	search->under_way = heard[second].link;
}

/*
 * The node that was visited has come into the pool before the last one wanted.
 * If it is allowed, the one before that is the last one now.
 */
static void
keep_rank(OmenSearch *search)
{
	if (!search->visit.allowed)
		search->rank++;
	else
	{
		while (!search->pool[search->rank - 1].allowed)
			search->rank--;
	}
	set_needed(search);
}

/* Visit the pool's entry at this place and offer what it links to */
static void
visit_in_pool(OmenSearch *search, int at)
{
	OmenVisit  *visit = &search->visit;
	OmenLink	link = search->pool[at].link;
	int			ahead;

	/* heard of twice and visited already: the place is worth more */
	if (was_visited(search, link))
	{
		remove_entry(search, at);
		return;
	}
	ahead = search->ops->ahead(search->store);
	if (unlikely(ahead > 0))
		read_ahead(search, at + 1, ahead);
	if (!omen_search_visit(search, link))
	{
		remove_entry(search, at);
		return;
	}
	remove_entry(search, at);
	if (visit->live)
		add_visited(search, link);
	for (int i = 0; i < visit->nlinks; i++)
		offer(search, visit->links[i], visit->estimates[i]);

	/* likely the next ones: let their lines travel while we go on */
	while (search->next < search->npool && search->pool[search->next].visited)
		search->next++;
	for (int i = search->next; i < Min(search->next + 3, search->npool); i++)
	{
		if (!search->pool[i].visited)
			prefetch_node(search, search->pool[i].link);
	}
}

/* Into search->visit; false if the link leads nowhere */
bool
omen_search_visit(OmenSearch *search, OmenLink link)
{
	OmenVisit  *visit = &search->visit;

	CHECK_FOR_INTERRUPTS();

	if (search->keep_pairs)
		visit->pair = NULL;		/* the store allocates */
	search->nvisits++;
	if (!search->ops->visit(search->store, link, visit))
		return false;

	/* only now: a stale link must not hide the node that has its number */
	mark_visited(search, link);
	if (visit->live && visit->allowed && !was_measured(search, link))
		add_found(search, link);
	return true;
}

static void
prefetch_node(OmenSearch *search, OmenLink link)
{
	if (search->ops->prefetch)
		search->ops->prefetch(search->store, link);
}

static inline void
prefetch_way(OmenSearch *search, OmenLink link)
{
	if (search->ops->prefetch_way)
		search->ops->prefetch_way(search->store, link);
}

/* Have the next n nodes read while the one before them is waited for */
static void
read_ahead(OmenSearch *search, int from, int n)
{
	for (int i = from; i < search->npool && n > 0; i++)
	{
		if (search->pool[i].visited)
			continue;
		search->ops->read_ahead(search->store, search->pool[i].link);
		n--;
	}
}

/* Drop links to nodes that are not to be visited */
static void
apply_filter(const OmenSearchFilter *filter, OmenVisit *visit)
{
	int			kept = 0;

	for (int i = 0; i < visit->nlinks; i++)
	{
		if (!omen_allow_test(filter->allowed_only,
							 omen_link_number(visit->links[i])))
			continue;
		visit->links[kept] = visit->links[i];
		visit->estimates[kept++] = visit->estimates[i];
	}
	visit->nlinks = kept;
}

/* A node that was visited gets the place of its finer estimate */
static void
add_visited(OmenSearch *search, OmenLink link)
{
	OmenPoolEntry entry;

	entry.estimate = search->visit.own.estimate;
	entry.link = link;
	entry.visited = true;
	entry.allowed = search->visit.allowed;
	insert_entry(search, entry);
}

/* Of a filtered search, the pool has all visited nodes */
static void
make_room(OmenSearch *search)
{
	if (search->npool < search->ef)
		return;
	search->ef *= 2;
	search->pool = repalloc_huge(search->pool,
								 (Size) search->ef * sizeof(OmenPoolEntry));
}

static void
remove_entry(OmenSearch *search, int at)
{
	search->npool--;
	memmove(&search->pool[at], &search->pool[at + 1],
			(search->npool - at) * sizeof(OmenPoolEntry));
}

static void
add_found(OmenSearch *search, OmenLink link)
{
	const OmenVisit *visit = &search->visit;
	OmenFound  *found;

	if (search->nfound == search->found_size)
	{
		search->found_size *= 2;
		search->found = repalloc_huge(search->found,
									  search->found_size * sizeof(OmenFound));
	}
	found = &search->found[search->nfound++];
	found->own = visit->own;
	found->link = link;
	found->more_tids = visit->more_tids;
	found->recheck = visit->recheck;
	found->level = visit->level;
	found->ntids = visit->ntids;
	memcpy(found->tids, visit->tids, sizeof(found->tids));
	found->pair = search->keep_pairs ? visit->pair : NULL;
	found->pair_size = search->keep_pairs ? visit->pair_size : 0;
}

static void
offer(OmenSearch *search, OmenLink link, float estimate)
{
	OmenPoolEntry entry;

	estimate = without_nan(estimate);
	entry.estimate = estimate;
	entry.link = link;
	entry.visited = false;
	entry.allowed = false;

	if (search->npool == search->ef &&
		estimate >= search->pool[search->npool - 1].estimate)
		add_rest(search, estimate, link);
	else if (!was_visited(search, link))
	{
		prefetch_way(search, link);
		insert_entry(search, entry);
	}
}

static inline float
without_nan(float estimate)
{
	return likely(!isnan(estimate)) ? estimate : get_float4_infinity();
}

/*
 * Into the heap, unless they have been visited or are so far that they will hardly
 * be visited; and all of them, as they are, to the rest.
 */
static void
hear_of(OmenSearch *search, int n, const OmenLink *links,
		const float *estimates)
{
	uint8		near[OMEN_MAX_LINKS];
	int			nnear = 0;
	float		far = search->far;
	OmenHeard  *heard;
	Size		nheard = search->nheard;

	StaticAssertStmt(OMEN_MAX_LINKS <= PG_UINT8_MAX, "numbers of links in bytes");
	Assert(n <= OMEN_MAX_LINKS);

	make_room_in_heap(search, n);
	make_room_in_rest(search, n);
	memcpy(search->rest_estimates + search->nrest, estimates,
		   n * sizeof(float));
	memcpy(search->rest_links + search->nrest, links, n * sizeof(OmenLink));
	search->nrest += n;
	heard = search->heard;

	/* which of them are far is hard to foresee: no branches */
	for (int i = 0; i < n; i++)
	{
		near[nnear] = i;
		nnear += !(estimates[i] > far);
	}
	for (int i = 0; i < nnear; i++)
		prefetch_way(search, links[near[i]]);
	for (int i = 0; i < nnear; i++)
	{
		OmenHeard	entry = {without_nan(estimates[near[i]]), links[near[i]]};

		if (!was_visited(search, entry.link))
			omen_pool_heap_rise(heard, nheard++, entry);
	}
	search->nheard = nheard;
	if (nheard >= 2 * search->width)
		part_heard(search);
}

/* Leave the farther half of the heap to the rest; a sample tells where it begins */
static void
part_heard(OmenSearch *search)
{
	float		sample[HEARD_SAMPLE];
	Size		kept = 0;

	for (int i = 0; i < HEARD_SAMPLE; i++)
	{
		float		estimate = search->heard[i * search->nheard /
											 HEARD_SAMPLE].estimate;
		int			at = i;

		for (; at > 0 && sample[at - 1] > estimate; at--)
			sample[at] = sample[at - 1];
		sample[at] = estimate;
	}
	search->far = sample[HEARD_SAMPLE / 2];
	for (Size i = 0; i < search->nheard; i++)
	{
		OmenHeard	heard = search->heard[i];

		search->heard[kept] = heard;
		kept += heard.estimate <= search->far;
	}
	search->nheard = kept;
	omen_pool_heap_form(search->heard, kept);
}

/*
 * What is not in the heap is wanted after all; false if there is nothing.  Whatever
 * is not farther than "far" has been taken off the heap, be it that it leads nowhere.
 */
static bool
fetch_rest(OmenSearch *search)
{
	Size		kept = 0;

	Assert(search->nheard == 0);

	for (Size i = 0; i < search->nrest; i++)
	{
		if (without_nan(search->rest_estimates[i]) <= search->far ||
			was_visited(search, search->rest_links[i]))
			continue;
		search->rest_estimates[kept] = search->rest_estimates[i];
		search->rest_links[kept++] = search->rest_links[i];
	}
	search->nrest = kept;
	if (kept == 0)
		return false;
	fill_heap(search);
	return true;
}

/* What was heard of into the heap; only what was visited stays in the pool */
static void
use_heap(OmenSearch *search)
{
	int			kept = 0;

	for (int i = 0; i < search->npool; i++)
	{
		const OmenPoolEntry *entry = &search->pool[i];

		if (entry->visited)
			search->pool[kept++] = *entry;
		else
			add_rest(search, entry->estimate, entry->link);
	}
	search->npool = search->nallowed = kept;
	fill_heap(search);
	search->all.max_visits = PG_UINT64_MAX;
	search->filter = &search->all;
}

/* With all that is in the rest */
static void
fill_heap(OmenSearch *search)
{
	make_room_in_heap(search, search->nrest);
	for (Size i = 0; i < search->nrest; i++)
		search->heard[i] = (OmenHeard) {without_nan(search->rest_estimates[i]),
			search->rest_links[i]};
	search->nheard = search->nrest;
	search->far = get_float4_infinity();
	search->width = Max(search->width * 2, search->nheard);
	omen_pool_heap_form(search->heard, search->nheard);
}

static void
make_room_in_heap(OmenSearch *search, Size n)
{
	if (search->nheard + n <= search->heard_size)
		return;
	search->heard_size = search->heard_size * 2 + n;
	search->heard = repalloc_huge(search->heard, search->heard_size *
								  sizeof(OmenHeard));
}

/* Into the pool, in order; the last one falls out of a full pool */
static void
insert_entry(OmenSearch *search, OmenPoolEntry entry)
{
	int			low = 0;
	int			high = search->npool;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (search->pool[middle].estimate <= entry.estimate)
			low = middle + 1;
		else
			high = middle;
	}

	if (search->npool == search->ef)
	{
		if (low == search->npool)
		{
			if (!entry.visited)
				add_rest(search, entry.estimate, entry.link);
			return;
		}
		search->npool--;
		if (!search->pool[search->npool].visited)
			add_rest(search, search->pool[search->npool].estimate,
					 search->pool[search->npool].link);
	}
	memmove(&search->pool[low + 1], &search->pool[low],
			(search->npool - low) * sizeof(OmenPoolEntry));
	search->pool[low] = entry;
	search->npool++;
	if (low < search->next)
		search->next = low;
}

static inline void
add_rest(OmenSearch *search, float estimate, OmenLink link)
{
	if (search->nrest == search->rest_size)
		make_room_in_rest(search, 1);
	search->rest_estimates[search->nrest] = estimate;
	search->rest_links[search->nrest++] = link;
}

static void
make_room_in_rest(OmenSearch *search, Size n)
{
	if (search->nrest + n <= search->rest_size)
		return;
	search->rest_size = search->rest_size * 2 + n;
	search->rest_estimates = repalloc_huge(search->rest_estimates,
										   search->rest_size * sizeof(float));
	search->rest_links = repalloc_huge(search->rest_links,
									   search->rest_size * sizeof(OmenLink));
}

static void
mark_visited(OmenSearch *search, OmenLink link)
{
	bool		found;

	omen_numberset_insert(search->visited, omen_link_number(link), &found);
}
