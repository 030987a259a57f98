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

static bool go_on(OmenSearch *search);
static bool is_filter_done(const OmenSearch *search);
static bool may_visit(const OmenSearchFilter *filter, OmenLink link);
static void visit_node(OmenSearch *search, int at);
static void read_ahead(OmenSearch *search, int from, int n);
static void apply_filter(const OmenSearchFilter *filter, OmenVisit *visit);
static void refine_entry(OmenSearch *search, int at, float estimate);
static void remove_entry(OmenSearch *search, int at);
static void add_found(OmenSearch *search, OmenLink link);
static void offer(OmenSearch *search, OmenLink link, float estimate);
static void insert_entry(OmenSearch *search, OmenPoolEntry entry);
static void add_rest(OmenSearch *search, OmenPoolEntry entry);
static void mark_visited(OmenSearch *search, OmenLink link);
static int	compare_entries(const void *a, const void *b);

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
	search->rest_size = 512;
	search->rest = palloc(search->rest_size * sizeof(OmenPoolEntry));
	search->found_size = ef + ef / 2 + 16;
	search->found = palloc(search->found_size * sizeof(OmenFound));
	return search;
}

void
omen_search_seed(OmenSearch *search, OmenLink link, float estimate)
{
	offer(search, link, estimate);
}

bool
omen_search_run(OmenSearch *search)
{
	MemoryContext old = MemoryContextSwitchTo(search->context);

	search->visit.stop = false;
	do
	{
		while (search->next < search->npool && !search->visit.stop)
		{
			if (search->pool[search->next].visited)
				search->next++;
			else if (search->filter && is_filter_done(search))
				break;
			else
				visit_node(search, search->next);
		}
	} while (!search->visit.stop && go_on(search));
	MemoryContextSwitchTo(old);
	return search->visit.stop;
}

/* Take more nodes into the pool, if it is not as wide as it should be */
static bool
go_on(OmenSearch *search)
{
	if (search->nrest == 0)
		return false;
	if (search->filter)
		return search->next == search->npool &&
			!is_filter_done(search) &&
			omen_search_widen(search, search->ef * 2);

	/* nodes without rows took no place: look further instead */
	return search->npool < search->ef - search->ef / 4 &&
		omen_search_widen(search, search->ef);
}

/* Have as many allowed nodes been found before the next one to visit? */
static bool
is_filter_done(const OmenSearch *search)
{
	int			n = 0;

	if (search->nvisits >= search->filter->max_visits)
		return true;
	for (int i = 0; i < search->next; i++)
		n += search->pool[i].allowed;
	return n >= search->filter->breadth;
}

bool
omen_search_widen(OmenSearch *search, int ef)
{
	Size		room;

	Assert(ef >= search->ef);

	search->pool = repalloc_huge(search->pool, (Size) ef * sizeof(OmenPoolEntry));
	search->ef = ef;

	/* the nearest of the rest move into the pool, the others stay */
	qsort(search->rest, search->nrest, sizeof(OmenPoolEntry), compare_entries);
	room = Min((Size) (ef - search->npool), search->nrest);
	for (Size i = 0; i < room; i++)
		insert_entry(search, search->rest[i]);
	memmove(search->rest, search->rest + room,
			(search->nrest - room) * sizeof(OmenPoolEntry));
	search->nrest -= room;

	return search->next < search->npool;
}

static bool
may_visit(const OmenSearchFilter *filter, OmenLink link)
{
	return omen_allow_test(filter->allowed_only, omen_link_number(link));
}

float
omen_search_horizon(const OmenSearch *search)
{
	if (search->nrest == 0 &&
		(search->filter ? search->next == search->npool :
		 search->npool < search->ef))
		return get_float4_infinity();
	if (search->npool == 0)
		return -get_float4_infinity();
	if (search->filter)
		return search->pool[Min(search->npool - 1, search->next / 2)].estimate;
	return search->pool[Min(search->npool - 1, search->ef / 2)].estimate;
}

bool
omen_search_was_visited(const OmenSearch *search, uint32 number)
{
	return omen_numberset_lookup(search->visited, number) != NULL;
}

/* Visit the pool's entry at this place and offer what it links to */
static void
visit_node(OmenSearch *search, int at)
{
	OmenVisit  *visit = &search->visit;
	OmenLink	link = search->pool[at].link;
	int			ahead;

	CHECK_FOR_INTERRUPTS();

	/* heard of twice and visited already: the place is worth more */
	if (omen_search_was_visited(search, omen_link_number(link)))
	{
		remove_entry(search, at);
		return;
	}

	if (search->keep_pairs)
		visit->pair = NULL;		/* the store allocates */
	search->nvisits++;
	ahead = search->ops->ahead(search->store);
	if (unlikely(ahead > 0))
		read_ahead(search, at + 1, ahead);
	if (!search->ops->visit(search->store, link, visit))
	{
		remove_entry(search, at);
		return;
	}

	/* only now: a stale link must not hide the node that has its number */
	mark_visited(search, link);

	if (visit->live)
	{
		add_found(search, link);
		refine_entry(search, at, visit->own.estimate);
	}
	else
		remove_entry(search, at);

	if (search->filter && search->filter->allowed_only)
		apply_filter(search->filter, visit);
	for (int i = 0; i < visit->nlinks; i++)
		offer(search, visit->links[i], visit->estimates[i]);

	/* likely the next ones: let their lines travel while we go on */
	while (search->next < search->npool && search->pool[search->next].visited)
		search->next++;
	for (int i = search->next; i < Min(search->next + 2, search->npool); i++)
	{
		if (!search->pool[i].visited && search->ops->prefetch)
			search->ops->prefetch(search->store, search->pool[i].link);
	}
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
		if (!may_visit(filter, visit->links[i]))
			continue;
		visit->links[kept] = visit->links[i];
		visit->estimates[kept++] = visit->estimates[i];
	}
	visit->nlinks = kept;
}

/* The entry was visited: give it its finer estimate and its new place */
static void
refine_entry(OmenSearch *search, int at, float estimate)
{
	OmenPoolEntry entry = search->pool[at];

	remove_entry(search, at);
	entry.estimate = estimate;
	entry.visited = true;
	entry.allowed = search->visit.allowed;
	insert_entry(search, entry);
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
	found->allowed = visit->allowed;
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

	if (unlikely(isnan(estimate)))
		estimate = get_float4_infinity();

	entry.estimate = estimate;
	entry.link = link;
	entry.visited = false;
	entry.allowed = false;

	if (search->npool == search->ef &&
		estimate >= search->pool[search->npool - 1].estimate)
		add_rest(search, entry);
	else if (!omen_search_was_visited(search, omen_link_number(link)))
		insert_entry(search, entry);
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
				add_rest(search, entry);
			return;
		}
		search->npool--;
		if (!search->pool[search->npool].visited)
			add_rest(search, search->pool[search->npool]);
	}
	memmove(&search->pool[low + 1], &search->pool[low],
			(search->npool - low) * sizeof(OmenPoolEntry));
	search->pool[low] = entry;
	search->npool++;
	if (low < search->next)
		search->next = low;
}

static void
add_rest(OmenSearch *search, OmenPoolEntry entry)
{
	if (search->nrest == search->rest_size)
	{
		search->rest_size *= 2;
		search->rest = repalloc_huge(search->rest,
									 search->rest_size * sizeof(OmenPoolEntry));
	}
	search->rest[search->nrest++] = entry;
}

static void
mark_visited(OmenSearch *search, OmenLink link)
{
	bool		found;

	omen_numberset_insert(search->visited, omen_link_number(link), &found);
}

static int
compare_entries(const void *a, const void *b)
{
	const OmenPoolEntry *x = a;
	const OmenPoolEntry *y = b;

	if (x->estimate < y->estimate)
		return -1;
	if (x->estimate > y->estimate)
		return 1;
	return x->link < y->link ? -1 : x->link > y->link;
}
