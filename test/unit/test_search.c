/* link: src/graph/graph_search.c */

/*
 * Best-first search, with and without a filter, over a graph in memory; sets
 * of allowed nodes; the heap of entries.  The server's memory and interrupts
 * are stood in for by the least that does.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "graph/allowset.h"
#include "graph/graph_search.h"
#include "graph/pool_heap.h"
#include "random.h"

static int	ntests = 0;
static int	nfailed = 0;

static void
ok(bool good, const char *name)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++ntests, name);
	nfailed += !good;
}

/* --- the server --- */

MemoryContext CurrentMemoryContext = NULL;
volatile sig_atomic_t InterruptPending = false;

void
ProcessInterrupts(void)
{
}

void *
palloc(Size size)
{
	return malloc(size);
}

void *
palloc0(Size size)
{
	return calloc(1, size);
}

void *
repalloc_huge(void *pointer, Size size)
{
	return realloc(pointer, size);
}

void *
MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	return calloc(1, size);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return calloc(1, size);
}

void
pfree(void *pointer)
{
	free(pointer);
}

bool
errstart(int elevel, const char *domain)
{
	abort();
}

bool
errstart_cold(int elevel, const char *domain)
{
	abort();
}

int
errmsg_internal(const char *fmt,...)
{
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
}

/* --- a graph: points of a square, linked to near ones and some others --- */

#define NODES	3000
#define LINKS	16

typedef struct Store
{
	float		x[NODES];
	float		y[NODES];
	OmenLink	links[NODES][LINKS];
	float		query_x;
	float		query_y;
	const OmenAllowSet *allow;
	uint32		wanted;			/* stop there */
	int			lost;			/* links to numbers that are multiples of it lead
								 * nowhere, or 0 */
	int			ahead;			/* nodes to name before a visit */
	int			nvisited[NODES];
	bool		named[NODES];
	int			nforeseen;		/* visits of nodes named before */
	int			nmeasured;
} Store;

static float
square(float a)
{
	return a * a;
}

static float
distance(const Store *store, uint32 node)
{
	return square(store->x[node] - store->query_x) +
		square(store->y[node] - store->query_y);
}

static Store *
make_store(void)
{
	Store	   *store = calloc(1, sizeof(Store));

	store->wanted = NODES;
	for (int i = 0; i < NODES; i++)
	{
		store->x[i] = random_unit();
		store->y[i] = random_unit();
	}
	for (int i = 0; i < NODES; i++)
	{
		float		worst[LINKS];
		int			n = 0;

		for (int j = 0; j < NODES; j++)
		{
			float		d = square(store->x[i] - store->x[j]) +
				square(store->y[i] - store->y[j]);
			int			at = n;

			if (j == i || (n == LINKS - 4 && d >= worst[n - 1]))
				continue;
			if (n < LINKS - 4)
				n++;
			else
				at--;
			for (; at > 0 && worst[at - 1] > d; at--)
			{
				worst[at] = worst[at - 1];
				store->links[i][at] = store->links[i][at - 1];
			}
			worst[at] = d;
			store->links[i][at] = omen_link_form(j, 0);
		}
		for (; n < LINKS; n++)
			store->links[i][n] = omen_link_form(random_bits() % NODES, 0);

		/* no node that cannot be reached */
		store->links[i][LINKS - 1] = omen_link_form((i + 1) % NODES, 0);
	}
	return store;
}

static bool
is_lost(const Store *store, uint32 node)
{
	return store->lost > 0 && node % store->lost == 0;
}

static bool
visit(void *arg, OmenLink link, OmenVisit *visit)
{
	Store	   *store = arg;
	uint32		node = omen_link_number(link);

	if (is_lost(store, node))
		return false;
	store->nvisited[node]++;
	store->nforeseen += store->named[node];
	visit->own.estimate = visit->own.lower = visit->own.upper =
		distance(store, node);
	visit->live = true;
	visit->allowed = omen_allow_test(store->allow, node);
	visit->stop = node == store->wanted;
	visit->nlinks = LINKS;
	memcpy(visit->links, store->links[node], sizeof(store->links[node]));
	for (int i = 0; i < LINKS; i++)
		visit->estimates[i] = distance(store,
									   omen_link_number(visit->links[i]));
	return true;
}

static bool
measure(void *arg, OmenLink link, OmenVisit *visit)
{
	Store	   *store = arg;
	uint32		node = omen_link_number(link);

	store->nmeasured++;
	visit->own.estimate = visit->own.lower = visit->own.upper =
		distance(store, node);
	visit->live = true;
	visit->allowed = omen_allow_test(store->allow, node);
	return true;
}

static void
prefetch(void *arg, OmenLink link)
{
}

static int
ahead(void *arg)
{
	return ((Store *) arg)->ahead;
}

static void
read_ahead(void *arg, OmenLink link)
{
	((Store *) arg)->named[omen_link_number(link)] = true;
}

static const OmenGraphOps ops = {
	.visit = visit,
	.measure = measure,
	.prefetch = prefetch,
	.prefetch_own = prefetch,
	.ahead = ahead,
	.read_ahead = read_ahead,
};

/* Allow each node with this probability, of those with x from "from" on */
static void
allow_some(const Store *store, OmenAllowSet *set, float share, float from)
{
	uint64	   *bits = calloc(NODES / 64 + 1, sizeof(uint64));

	memset(set, 0, sizeof(*set));
	set->kind = OMEN_ALLOW_BITSET;
	set->nbits = NODES;
	set->bits = bits;
	for (int i = 0; i < NODES; i++)
	{
		if (store->x[i] >= from && random_unit() < share)
		{
			bits[i / 64] |= UINT64CONST(1) << (i % 64);
			set->cardinality++;
		}
	}
}

static OmenSearch *
begin(Store *store, const OmenSearchFilter *filter, int ef)
{
	OmenSearch *search = omen_search_create(&ops, store, ef, false);

	memset(store->nvisited, 0, sizeof(store->nvisited));
	memset(store->named, 0, sizeof(store->named));
	store->nforeseen = 0;
	store->query_x = random_unit();
	store->query_y = random_unit();
	search->filter = filter;
	return search;
}

/* Of the k nearest allowed nodes, how many has the search found? */
static int
count_near(const Store *store, const OmenSearch *search, int k)
{
	int			hits = 0;

	for (Size i = 0; i < search->nfound; i++)
	{
		const OmenFound *found = &search->found[i];
		int			nearer = 0;

		for (int j = 0; j < NODES; j++)
			nearer += omen_allow_test(store->allow, j) &&
				distance(store, j) < found->own.estimate;
		hits += nearer < k;
	}
	return hits;
}

static int
count_visited_twice(const Store *store)
{
	int			n = 0;

	for (int i = 0; i < NODES; i++)
		n += store->nvisited[i] > 1;
	return n;
}

/* --- tests --- */

static void
test_plain(Store *store)
{
	int			hits = 0;
	int			twice = 0;

	store->allow = NULL;
	for (int i = 0; i < 50; i++)
	{
		OmenSearch *search = begin(store, NULL, 40);

		omen_search_seed(search, omen_link_form(0, 0), 10);
		omen_search_run(search);
		hits += count_near(store, search, 10);
		twice += count_visited_twice(store);
	}
	ok(hits >= 495, "finds the nearest");
	ok(twice == 0, "visits nothing twice");
}

static void
test_sweep(Store *store, float share, const char *name)
{
	OmenAllowSet set;
	int			hits = 0;
	int			twice = 0;
	bool		good = true;
	char		text[100];

	allow_some(store, &set, share, 0);
	store->allow = &set;
	for (int i = 0; i < 50; i++)
	{
		OmenSearchFilter filter = {.breadth = 10,.beyond = 30,.max_visits = NODES};

		/* a pool that has to grow */
		OmenSearch *search = begin(store, &filter, 8);
		float		horizon;

		omen_search_seed(search, omen_link_form(0, 0), 10);
		omen_search_run(search);
		hits += count_near(store, search, 10);
		twice += count_visited_twice(store);
		horizon = omen_search_horizon(search);
		for (int j = 0; j < NODES; j++)
			good = good && (distance(store, j) > horizon ||
							store->nvisited[j] == 1);
	}
	snprintf(text, sizeof(text), "%s: finds the nearest allowed", name);
	ok(hits >= 490, text);
	snprintf(text, sizeof(text), "%s: visits nothing twice", name);
	ok(twice == 0, text);
	snprintf(text, sizeof(text), "%s: all within the horizon was visited",
			 name);
	ok(good, text);
}

static void
test_resume(Store *store, int measured, const char *name)
{
	OmenAllowSet set;
	OmenSearchFilter filter = {.breadth = 5,.max_visits = 2 * NODES,
	.measured = measured,.maybe = &set};
	OmenSearch *search;
	Size		before = 0;
	bool		grows = true;

	allow_some(store, &set, 0.1, 0);
	store->allow = &set;
	search = begin(store, &filter, 16);
	omen_search_seed(search, omen_link_form(0, 0), 10);
	while (filter.breadth < NODES)
	{
		omen_search_run(search);
		grows = grows && search->nfound >= before;
		before = search->nfound;
		filter.breadth *= 2;
	}
	ok(grows && search->nfound == set.cardinality &&
	   search->nvisits == NODES && isinf(omen_search_horizon(search)), name);
}

static int
count_reached(const Store *store, uint32 from)
{
	bool	   *reached = calloc(NODES, sizeof(bool));
	uint32	   *queue = calloc(NODES, sizeof(uint32));
	int			n = 1;

	queue[0] = from;
	reached[from] = true;
	for (int at = 0; at < n; at++)
	{
		for (int i = 0; i < LINKS; i++)
		{
			uint32		node = omen_link_number(store->links[queue[at]][i]);

			if (reached[node] || is_lost(store, node))
				continue;
			reached[node] = true;
			queue[n++] = node;
		}
	}
	free(reached);
	free(queue);
	return n;
}

/* Links that lead nowhere are given up, however often the rest is fetched */
static void
test_lost(Store *store, int every, const char *name)
{
	OmenAllowSet set;
	OmenSearchFilter filter = {.breadth = NODES,.max_visits = 50 * NODES};
	OmenSearch *search;

	store->lost = every;
	allow_some(store, &set, 1, 0);
	store->allow = &set;
	search = begin(store, &filter, 16);
	omen_search_seed(search, omen_link_form(1, 0), 10);
	omen_search_run(search);
	ok(search->nfound == count_reached(store, 1) &&
	   search->nvisits < filter.max_visits &&
	   isinf(omen_search_horizon(search)), name);
	store->lost = 0;
}

/* What is measured in the end makes up for visits */
static void
test_measured(Store *store)
{
	OmenAllowSet set;
	int			hits[2] = {0};

	allow_some(store, &set, 0.1, 0);
	store->allow = &set;
	store->nmeasured = 0;
	for (int i = 0; i < 100; i++)
	{
		OmenSearchFilter filter = {.breadth = 4,.max_visits = NODES,
		.measured = i % 2 * 12,.maybe = &set};
		OmenSearch *search = begin(store, &filter, 16);

		omen_search_seed(search, omen_link_form(0, 0), 10);
		omen_search_run(search);
		hits[i % 2] += count_near(store, search, 10);
	}
	ok(hits[1] > hits[0] + 50, "nodes that were only heard of are found");
	ok(store->nmeasured > 50 && store->nmeasured <= 50 * 12,
	   "no more are measured than are asked for");
}

static void
test_limit(Store *store)
{
	OmenAllowSet set;
	OmenSearchFilter filter = {.breadth = 100,.max_visits = 37};
	OmenSearch *search;

	allow_some(store, &set, 0.01, 0);
	store->allow = &set;
	search = begin(store, &filter, 16);
	omen_search_seed(search, omen_link_form(0, 0), 10);
	omen_search_run(search);
	ok(search->nvisits == 37, "gives up after so many visits");
	filter.max_visits = 90;
	omen_search_run(search);
	ok(search->nvisits == 90, "and goes on if told to");
}

static uint32
nearest_node(const Store *store)
{
	uint32		nearest = 0;

	for (uint32 i = 1; i < NODES; i++)
	{
		if (distance(store, i) < distance(store, nearest))
			nearest = i;
	}
	return nearest;
}

/* A wide search stops where a visit says so, as a narrow one does, and goes on */
static void
test_stop(Store *store, int breadth, const char *name)
{
	char		what[100];
	bool		stops = true;
	bool		goes_on = true;

	store->allow = NULL;
	for (int i = 0; i < 20; i++)
	{
		OmenSearch *search = begin(store, NULL, 40);

		if (breadth > 40)
			omen_search_widen(search, breadth);
		omen_search_seed(search, omen_link_form(0, 0), 10);
		store->wanted = nearest_node(store);
		stops = stops && omen_search_run(search) &&
			omen_link_number(search->found[search->nfound - 1].link) ==
			store->wanted;
		goes_on = goes_on && search->nfound < breadth &&
			!omen_search_run(search) && search->nfound >= breadth;
	}
	store->wanted = NODES;
	snprintf(what, sizeof(what), "%s: stops where a visit says so", name);
	ok(stops, what);
	snprintf(what, sizeof(what), "%s: and goes on from there", name);
	ok(goes_on, what);
}

/* Where nodes have to be read, most have been asked for before they are visited */
static void
test_ahead(Store *store, int breadth, bool filtered, const char *name)
{
	char		what[100];
	OmenAllowSet set;
	OmenSearchFilter filter = {.breadth = breadth,.beyond = 30,.max_visits = NODES};
	OmenSearch *search;

	allow_some(store, &set, 0.3, 0);
	store->allow = filtered ? &set : NULL;
	store->ahead = 8;
	search = begin(store, filtered ? &filter : NULL, 40);
	if (!filtered && breadth > 40)
		omen_search_widen(search, breadth);
	omen_search_seed(search, omen_link_form(0, 0), 10);
	omen_search_run(search);
	store->ahead = 0;
	snprintf(what, sizeof(what), "%s: nodes are asked for ahead", name);
	ok(store->nforeseen * 2 > search->nvisits, what);
}

/* All allowed nodes lie to the right, queries anywhere */
static void
test_allowed_only(Store *store)
{
	OmenAllowSet set;
	int			hits = 0;
	bool		good = true;

	allow_some(store, &set, 0.7, 0.5);
	store->allow = &set;
	for (int i = 0; i < 50; i++)
	{
		OmenSearchFilter filter = {.breadth = 40,.max_visits = NODES,.allowed_only = &set};
		OmenSearch *search = begin(store, &filter, 48);
		uint32		seed = omen_allow_next(&set, random_bits() % (NODES / 2),
										   NODES);

		omen_search_seed(search, omen_link_form(seed, 0), 10);
		omen_search_run(search);
		hits += count_near(store, search, 10);
		for (int j = 0; j < NODES; j++)
			good = good && (omen_allow_test(&set, j) ||
							store->nvisited[j] == 0);
	}
	ok(hits >= 480, "a walk among allowed nodes finds the nearest of them");
	ok(good, "and visits no others");
}

static void
test_allow_set(void)
{
	uint64		bits[5];
	OmenAllowSet set = {.kind = OMEN_ALLOW_BITSET,.nbits = 300,.bits = bits};
	bool		counts = true;
	bool		finds = true;

	for (int i = 0; i < lengthof(bits); i++)
		bits[i] = (uint64) random_bits() << 32 & (uint64) random_bits() << 32;
	bits[2] = 0;
	bits[4] = ~UINT64CONST(0);
	for (uint32 from = 0; from < 310; from++)
	{
		for (uint32 end = from; end < 330; end++)
		{
			uint32		n = 0;
			uint32		first = end;

			for (uint32 i = end; i-- > from;)
			{
				if (omen_allow_test(&set, i))
				{
					n++;
					first = i;
				}
			}
			counts = counts && omen_allow_count(&set, from, end) == n;
			finds = finds && omen_allow_next(&set, from, end) == first;
		}
	}
	ok(counts, "counts the numbers of a set");
	ok(finds, "finds the next number of a set");
}

/* Does the heap tell which entries come second and third? */
static bool
tells_next(const OmenHeard *heap, Size n)
{
	OmenHeard	copy[200];
	int			second;
	int			third;

	omen_pool_heap_next(heap, &second, &third);
	memcpy(copy, heap, n * sizeof(OmenHeard));
	omen_pool_heap_pop(copy, &n);
	return omen_pool_heap_pop(copy, &n).estimate == heap[second].estimate &&
		omen_pool_heap_pop(copy, &n).estimate == heap[third].estimate;
}

static void
test_heap(void)
{
	OmenHeard	heap[200];
	Size		n = lengthof(heap);
	float		last = -1;
	bool		good = true;
	bool		told = true;

	for (Size i = 0; i < n; i++)
		heap[i].estimate = random_bits() % 1000;
	omen_pool_heap_form(heap, n);
	while (n > 100)
	{
		OmenHeard	entry = omen_pool_heap_pop(heap, &n);

		good = good && entry.estimate >= last;
		last = entry.estimate;
	}
	for (; n < lengthof(heap); n++)
	{
		OmenHeard	entry = {random_bits() % 50, OMEN_LINK_INVALID};

		omen_pool_heap_rise(heap, n, entry);
	}
	for (last = -1; n > 0;)
	{
		OmenHeard	entry;

		told = told && (n < OMEN_POOL_HEAP_THREE || tells_next(heap, n));
		entry = omen_pool_heap_pop(heap, &n);
		good = good && entry.estimate >= last;
		last = entry.estimate;
	}
	ok(good, "a heap gives its entries in order");
	ok(told, "and tells which come second and third");
}

int
main(void)
{
	Store	   *store = make_store();

	test_plain(store);
	test_sweep(store, 0.5, "half");
	test_sweep(store, 0.05, "a twentieth");
	test_resume(store, 0, "resumed to the end, all are found");
	test_resume(store, 12, "and those that were measured, once");
	test_lost(store, 7, "a seventh leads nowhere, all others are found");
	test_lost(store, 2, "half leads nowhere, all that can be reached are found");
	test_measured(store);
	test_limit(store);
	test_stop(store, 40, "narrow");
	test_stop(store, 400, "wide");
	test_ahead(store, 40, false, "narrow");
	test_ahead(store, 400, false, "wide");
	test_ahead(store, 10, true, "filtered");
	test_allowed_only(store);
	test_allow_set();
	test_heap();

	printf("1..%d\n", ntests);
	return nfailed > 0;
}
