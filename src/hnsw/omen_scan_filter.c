/*-------------------------------------------------------------------------
 *
 * omen_scan_filter.c
 *	  How a filtered scan finds the nearest of the allowed nodes.
 *
 * NOTES
 *	  Four ways, each best for some sets (src/hnsw/README.md has figures):
 *
 *	  exact		measure every allowed node: for few of them;
 *	  ranged	look through the ranges of node numbers that are nearest to the
 *				query: for sets that are thin, here or everywhere;
 *	  sweep		walk as if there were no filter until enough allowed nodes have
 *				been met: for sets that are not thin near the query;
 *	  seeded	walk from allowed nodes to allowed nodes: for large sets that lie
 *				elsewhere.
 *
 *	  The choice is made by predicted cost, from the number of allowed nodes and
 *	  from their share in the ranges nearest to the query.  A walk that costs
 *	  twice of what was predicted, or ends short of rows, is given up for the
 *	  ranges or, where there are none, all allowed nodes; what it has found is
 *	  kept.
 *
 *	  Conditions on keys may not say which nodes they allow before somebody comes
 *	  to look there (graph/allowset.h): how many there are is an estimate then,
 *	  and looking has its cost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/float.h"

#include "graph/numberset.h"
#include "graph/pool_heap.h"
#include "hnsw/hnsw_range.h"
#include "hnsw/omen_scan_state.h"

/*
 * Costs in visits of a walk, some 0.9 us with 128 dimensions: to measure a node
 * by its own slot; to score all centres; to look at a range code, which takes
 * longer of ranges that no query comes to, and at a page of them.
 */
#define NODE_COST		0.25
#define RANGES_COST		50
#define CODE_COST		0.02
#define FAR_CODE_COST	0.034
#define CODE_PAGE_COST	0.15

/* Below this, measuring all nodes costs less than to think about it */
#define FEW_NODES		150

/* Visits beyond twice of those predicted, until a walk is given up */
#define WALK_ALLOWANCE	100

/* What a visit costs at least when a walk has become broad, as its heaps have */
#define WIDE_VISIT		4

/* Visited nodes are kept in order: beyond this, a pass costs less */
#define MAX_BREADTH		8192

/* Of the entries in the neighbourhood of a query, an ample share */
#define LARGE_SHARE		0.25

/* Of a larger share near the query, the border is not near */
#define INSIDE_SHARE	0.75

/*
 * Of a set that has but few entries, if some, how many of the nearest to look at,
 * and which share around them is one to walk by
 */
#define FEW_ENTRIES		2
#define NEXT_ENTRIES	8
#define SOME_SHARE		0.06

/* The list of a smaller set is read, if there is one, when it is first asked */
#define SMALL_SET		4000

/* By this power of the rank distances grow, as far as one has to look */
#define GROWTH			0.079
#define NARROW_GROWTH	0.5

/* Of a smaller share, more are heard of in passing than are visited */
#define THIN_SHARE		0.2

/* What costs more than this deserves a look at ranges, which costs a tenth */
#define LITTLE_COST		400

/* Of a set that has many of the entries, so many of the nearest tell enough */
#define SURE_ENTRIES	16

/* Of a smaller set there are hardly that many anywhere */
#define ENTRIES_SHARE	0.05
#define USUAL_SHARE		0.08

/* A walk among them is so much broader, as if a fifth of all were allowed at most */
#define LEAST_SPREAD	1.5

/*
 * Where a walk among allowed nodes starts: at so many nodes, of the nearest
 * ranges, or of those of a sample
 */
#define ALLOWED_SEEDS	16
#define SEED_SAMPLE		256

/* At so many where range codes tell which are near */
#define CODED_SEEDS		64

static bool look_at_entries(OmenScan *scan);
static bool is_usual(double share, int n, int allowed);
static bool look_around_entries(OmenScan *scan, const OmenHeard *entries,
								int n);
static bool counts_for_nothing(const OmenScan *scan);
static int	count_allowed(const OmenScan *scan, const OmenHeard *entries,
						  int n);
static void look_at_ranges(OmenScan *scan);
static bool can_wait(OmenScan *scan);
static void drop_empty_ranges(OmenScan *scan);
static void expect_chunks(OmenScan *scan, double nodes);
static bool walk_further(OmenScan *scan);
static bool look_further(OmenScan *scan);
static int	grow(int n, int factor);
static int	first_keep(const OmenScan *scan);
static OmenFilterStrategy choose_strategy(OmenScan *scan);
static double exact_cost(const OmenScan *scan);
static double ranged_cost(const OmenScan *scan);
static double fill_cost(const OmenScan *scan, double nodes);
static double codes_cost(const OmenScan *scan, double wanted);
static uint32 count_tail(const OmenScan *scan);
static double sweep_cost(const OmenScan *scan);
static double seeded_cost(const OmenScan *scan);
static double nodes_of_ranges(const OmenScan *scan);
static double wanted_of_ranges(const OmenScan *scan);
static double ranges_to_look_at(const OmenScan *scan);
static int	verified_of_ranges(const OmenScan *scan);
static bool is_thick(const OmenScan *scan);
static bool is_much_thicker(const OmenScan *scan);
static bool lies_here(const OmenScan *scan);
static double plain_breadth(const OmenScan *scan);
static int	sweep_beyond(const OmenScan *scan);
static float sweep_growth(const OmenScan *scan);
static int	sweep_measured(const OmenScan *scan);
static int	seeded_breadth(const OmenScan *scan);
static bool starts_by_codes(const OmenScan *scan);
static double seed_codes(const OmenScan *scan);
static void begin_strategy(OmenScan *scan, OmenFilterStrategy strategy);
static void begin_walk(OmenScan *scan, OmenFilterStrategy strategy);
static int	walk_width(const OmenScan *scan);
static void set_ranks(OmenScan *scan);
static void give_up_walk(OmenScan *scan);
static bool must_give_up(const OmenScan *scan);
static void seed_allowed(OmenScan *scan);
static void seed_coded(OmenScan *scan);
static bool seed_sampled(OmenScan *scan);
static bool seed_number(OmenScan *scan, uint32 number, float estimate);

void
omen_scan_start_filtered(OmenScan *scan)
{
	const OmenAllowSet *allow = scan->params.allow;
	OmenFilterStrategy strategy = scan->params.strategy;
	double		wanted = scan->params.k_hint > 0 ? scan->params.k_hint :
		Max(scan->params.ef / 4, 1);

	scan->nodes = Max(1, (double) scan->hnsw->layout.slots_per_page *
					  RelationGetNumberOfBlocks(scan->params.index));
	scan->allowed = Min(Max(allow->cardinality, allow->estimated ? wanted : 1),
						scan->nodes);
	scan->wanted_rows = (int) Min(wanted, Min(scan->allowed,
											  PG_INT32_MAX / 4));
	scan->keep = first_keep(scan);
	scan->near_share = scan->allowed / scan->nodes;
	if (strategy == OMEN_FILTER_SWEEP)
		look_at_entries(scan);
	else if (strategy != OMEN_FILTER_AUTO ||
			 (scan->allowed > FEW_NODES && !look_at_entries(scan)))
		look_at_ranges(scan);

	/* as a walk without a filter */
	scan->params.ef = (int) (scan->params.ef * omen_scan_broader(scan));
	if (strategy == OMEN_FILTER_AUTO)
		strategy = choose_strategy(scan);
	if (strategy == OMEN_FILTER_RANGED && scan->ranges.n == 0)
		strategy = OMEN_FILTER_EXACT;
	scan->counts.strategy = strategy;
	begin_strategy(scan, strategy);
}

/*
 * The share of allowed nodes among the nearest entries, which a sweep has to
 * score anyway.  True if it is so large that there is no need to know better.
 */
static bool
look_at_entries(OmenScan *scan)
{
	const OmenHnswIndex *hnsw = scan->hnsw;
	double		share = scan->near_share;
	int			n = share >= THIN_SHARE ? SURE_ENTRIES :
		share >= ENTRIES_SHARE ? OMEN_NEAR_ENTRIES : NEXT_ENTRIES;
	OmenHeard	entries[OMEN_NEAR_ENTRIES];
	int			allowed;

	if (hnsw->entry_pairs == NULL || hnsw->nentries < OMEN_NEAR_ENTRIES ||
		(scan->params.strategy == OMEN_FILTER_AUTO &&
		 share * hnsw->nentries < FEW_ENTRIES))
		return false;
	omen_hnsw_near_entries(hnsw, scan->query, entries, n);
	scan->counts.distances += hnsw->nentries;
	scan->nseeds = Min(n, omen_hnsw_entry_seeds(hnsw));
	memcpy(scan->seeds, entries, scan->nseeds * sizeof(OmenHeard));
	if (share < ENTRIES_SHARE)
		return look_around_entries(scan, entries, n);

	allowed = count_allowed(scan, entries, n);
	if (!is_usual(share, n, allowed))
	{
		if ((double) allowed / n < LARGE_SHARE)
			return false;

		/* the sample is small: it has to contradict what is known */
		if (fabs((double) allowed / n - share) > 0.2)
			scan->near_share = (double) allowed / n;
	}
	return !omen_scan_is_elsewhere(scan) &&
		sweep_cost(scan) < Min(exact_cost(scan), LITTLE_COST);
}

/*
 * Of a set that has but few entries, those near the query are too few to tell a
 * share.  If one of them is allowed, or it costs nothing to ask, those tell that
 * have numbers like theirs: the build has put them near each other.
 */
static bool
look_around_entries(OmenScan *scan, const OmenHeard *entries, int n)
{
	uint32		allowed = 0;
	double		share;

	if (!counts_for_nothing(scan) && count_allowed(scan, entries, n) == 0)
		return false;
	for (int i = 0; i < n; i++)
	{
		uint32		from = omen_link_number(entries[i].link) / 64 * 64;

		allowed += omen_allow_count_only(scan->params.allow, from, from + 64);
	}
	share = allowed / (64.0 * n);
	if (share < Max(SOME_SHARE, 3 * scan->near_share))
		return false;
	scan->near_share = share;
	if (omen_range_load(scan->params.index, scan->hnsw) &&
		ranged_cost(scan) < sweep_cost(scan))
		return false;
	return sweep_cost(scan) < Min(exact_cost(scan), LITTLE_COST);
}

/* Are bits there, or as good as there, that only have to be counted? */
static bool
counts_for_nothing(const OmenScan *scan)
{
	const OmenAllowSource *source = scan->params.allow->source;

	return source == NULL || source->complete || scan->allowed <= SMALL_SET;
}

static int
count_allowed(const OmenScan *scan, const OmenHeard *entries, int n)
{
	int			allowed = 0;

	for (int i = 0; i < n; i++)
		omen_allow_prefetch(scan->params.allow,
							omen_link_number(entries[i].link));
	for (int i = 0; i < n; i++)
		allowed += omen_allow_test(scan->params.allow,
								   omen_link_number(entries[i].link));
	return allowed;
}

/*
 * Are as many of the entries allowed as of nodes anywhere?  Where so few are
 * that it might as well be none, that says nothing.
 */
static bool
is_usual(double share, int n, int allowed)
{
	double		expected = share * n;

	return share >= USUAL_SHARE && fabs(allowed - expected) <=
		1.5 * sqrt(expected * (1 - Min(share, 1)));
}

static void
look_at_ranges(OmenScan *scan)
{
	if (scan->params.strategy == OMEN_FILTER_EXACT ||
		!omen_range_load(scan->params.index, scan->hnsw))
		return;

	omen_scan_find_ranges(scan);
	scan->near_share = omen_scan_near_share(scan);
	scan->tail = count_tail(scan);
	scan->ranges.with_empty = omen_scan_is_elsewhere(scan);
	if (scan->ranges.with_empty && !can_wait(scan))
		drop_empty_ranges(scan);
}

/*
 * A walk among allowed nodes needs some of them to start from.  If a sample has
 * them, there is no need to know where all others are; unless a list, or bits
 * that are there, soon tell.
 */
static bool
can_wait(OmenScan *scan)
{
	const OmenAllowSource *source = scan->params.allow->source;
	OmenFilterStrategy strategy = scan->params.strategy;

	if (source == NULL || source->sample == NULL ||
		source->start_cost > 0 || source->has_base)
		return false;
	if (strategy == OMEN_FILTER_AUTO)
		strategy = choose_strategy(scan);
	return strategy == OMEN_FILTER_SEEDED;
}

static void
drop_empty_ranges(OmenScan *scan)
{
	expect_chunks(scan, scan->nodes);
	omen_scan_drop_empty_ranges(scan);
}

/* About to ask which of so many nodes are allowed */
static void
expect_chunks(OmenScan *scan, double nodes)
{
	OmenAllowSource *source = scan->params.allow->source;

	if (source)
		source->expected = nodes / OMEN_ALLOW_CHUNK;
}

void
omen_scan_extend_filtered(OmenScan *scan)
{
	switch (scan->stage)
	{
		case OMEN_STAGE_WALK:
			if (walk_further(scan))
				return;
			break;
		case OMEN_STAGE_RANGES:
			if (look_further(scan))
				return;
			break;
		case OMEN_STAGE_PASS:
			scan->keep = grow(scan->keep, 16);
			omen_scan_pass(scan);
			return;
	}
	scan->counts.switches++;

	/* who has taken so many will hardly be content with a few more */
	scan->keep = (int) Max(scan->keep, Min(4 * scan->nreturned,
										   PG_INT32_MAX / 4));
	begin_strategy(scan, OMEN_FILTER_EXACT);
}

/* For twice as many rows, unless all nodes are cheaper */
static bool
walk_further(OmenScan *scan)
{
	Size		nfound = scan->search->nfound;

	if (WIDE_VISIT * scan->search->nvisits >= exact_cost(scan) ||
		scan->filter.breadth > MAX_BREADTH)
		return false;
	scan->filter.breadth = grow(scan->filter.breadth, 2);
	scan->filter.large_rank = grow(scan->filter.large_rank, 2);
	scan->filter.expected_rank = grow(scan->filter.expected_rank, 2);
	scan->filter.usual_rank = grow(scan->filter.usual_rank, 2);
	scan->filter.max_visits = scan->search->nvisits +
		(uint64) exact_cost(scan);
	omen_search_run(scan->search);
	if (scan->search->nfound == nfound)
		return false;
	omen_scan_consume_found(scan);
	return true;
}

/* The same through more ranges */
static bool
look_further(OmenScan *scan)
{
	if (scan->wanted * 4 >= scan->allowed)
		return false;
	scan->wanted *= 4;
	scan->nranges *= 4;
	scan->keep = grow(scan->keep, 4);
	scan->verify = grow(scan->verify, 4);
	omen_scan_pass_ranges(scan);
	return true;
}

static int
grow(int n, int factor)
{
	return (int) Min((double) n * factor, PG_INT32_MAX / 4);
}

/*
 * The exact pass keeps little more than is wanted: its end is an exact bound.
 * Product codes leave the order open, so that more must be looked at.
 */
static int
first_keep(const OmenScan *scan)
{
	double		keep = 2.0 * scan->wanted_rows + 16;

	if (scan->hnsw->meta.shape.own_kind == OMEN_OWN_PQ)
		keep *= 8;
	return (int) Min(keep, Min(scan->allowed, PG_INT32_MAX / 4));
}

/* The cheapest of what suits the set */
static OmenFilterStrategy
choose_strategy(OmenScan *scan)
{
	OmenFilterStrategy best = OMEN_FILTER_EXACT;
	bool		elsewhere = omen_scan_is_elsewhere(scan);
	double		cost = exact_cost(scan);
	double		other;

	if (scan->allowed <= FEW_NODES)
		return best;
	if (scan->ranges.n > 0)
	{
		other = ranged_cost(scan);
		if (other < cost)
		{
			cost = other;
			best = OMEN_FILTER_RANGED;
		}
	}
	other = elsewhere ? seeded_cost(scan) : sweep_cost(scan);
	if (other < cost)
		best = elsewhere ? OMEN_FILTER_SEEDED : OMEN_FILTER_SWEEP;
	return best;
}

/* Are they more here than on the average? */
static bool
is_thick(const OmenScan *scan)
{
	return scan->near_share > 1.5 * scan->allowed / scan->nodes;
}

/* Are they hardly anywhere else? */
static bool
lies_here(const OmenScan *scan)
{
	return scan->near_share > 15 * scan->allowed / scan->nodes;
}

/* So much more that few nodes beyond the last row wanted do? */
static bool
is_much_thicker(const OmenScan *scan)
{
	return scan->near_share > 8 * scan->allowed / scan->nodes;
}

static double
exact_cost(const OmenScan *scan)
{
	return scan->allowed * NODE_COST + fill_cost(scan, scan->nodes);
}

static double
ranged_cost(const OmenScan *scan)
{
	double		wanted = wanted_of_ranges(scan);

	return RANGES_COST + Min(wanted * NODE_COST, codes_cost(scan, wanted)) +
		fill_cost(scan, Min(scan->nodes, wanted / scan->near_share)) +
		scan->tail * NODE_COST;
}

/* To know which of so many nodes are allowed, if that is not known yet */
static double
fill_cost(const OmenScan *scan, double nodes)
{
	const OmenAllowSource *source = scan->params.allow->source;

	return source == NULL ? 0 : source->start_cost +
		nodes / OMEN_ALLOW_CHUNK * source->chunk_cost;
}

/* Range codes of so many nodes, and to measure the best; infinity without */
static double
codes_cost(const OmenScan *scan, double wanted)
{
	bool		far = omen_scan_is_elsewhere(scan);
	double		share = far ? 0.5 : scan->near_share;
	double		pages;

	if (!omen_range_has_codes(&scan->hnsw->meta))
		return get_float8_infinity();
	pages = Min(wanted, wanted / share / scan->hnsw->range_codes_per_page);
	return wanted * (far ? FAR_CODE_COST : CODE_COST) +
		pages * CODE_PAGE_COST +
		verified_of_ranges(scan) * NODE_COST;
}

/* Allowed nodes that were inserted after the ranges were made */
static uint32
count_tail(const OmenScan *scan)
{
	const OmenHnswMetaPageData *meta = &scan->hnsw->meta;

	return omen_allow_count_only(scan->params.allow,
								 meta->range_first + meta->built_nodes,
								 scan->params.allow->nbits);
}

/* Some visits to come near, then as many as it takes to meet allowed nodes */
static double
sweep_cost(const OmenScan *scan)
{
	double		share = scan->near_share;

	/* near the query, a thick set is thicker still than in its ranges */
	if (is_thick(scan))
		share = pow(share, 0.7);
	return 20 + sweep_beyond(scan) + 1.5 * scan->wanted_rows / share;
}

static double
seeded_cost(const OmenScan *scan)
{
	double		breadth = seeded_breadth(scan);

	if (!starts_by_codes(scan))
		return 1.8 * breadth;
	return RANGES_COST + 1.5 * (breadth + CODED_SEEDS) +
		seed_codes(scan) * FAR_CODE_COST + fill_cost(scan, scan->nodes);
}

/* Do range codes tell where a walk among allowed nodes starts? */
static bool
starts_by_codes(const OmenScan *scan)
{
	return omen_range_has_codes(&scan->hnsw->meta);
}

/* So many of them, those of the nearest ranges, are looked through for that */
static double
seed_codes(const OmenScan *scan)
{
	double		codes = 4000 * pow(scan->nodes / 1e6, 0.4);

	return Min(codes, Max(scan->allowed * 0.25, 1000));
}

/*
 * So many nodes the nearest ranges must hold to have 95 % of the answer: of a
 * million, 60,000 for a tenth that is allowed, and the more the thinner the set.
 * Where a walk has to look farther for as much, so must this: word vectors that
 * need an ef of 100 have .98, and would have .80 if that did not count.
 */
static double
nodes_of_ranges(const OmenScan *scan)
{
	double		nodes = 60000 * pow(scan->nodes / 1e6, 0.4) *
		pow(scan->params.ef / 40.0, 0.7) *
		pow(0.1 / scan->near_share, 0.23) *
		pow(scan->wanted_rows / 10.0, 0.25);

	/*
	 * of a set that lies here, hardly anything lies elsewhere; with 0.4, 3000
	 * around the query have a recall of .953 and not .965, for 1 % less time
	 */
	if (lies_here(scan))
		return nodes * 0.6;
	return is_thick(scan) ? nodes * 0.75 : nodes;
}

/*
 * How many allowed nodes that makes.  If all of them are elsewhere, their ranges
 * are about equally near.
 */
static double
wanted_of_ranges(const OmenScan *scan)
{
	double		wanted = scan->near_share * nodes_of_ranges(scan);

	if (omen_scan_is_elsewhere(scan))
		wanted = Max(scan->allowed * 0.3, 15000);
	return Min(Max(wanted, 3.0 * scan->wanted_rows), scan->allowed);
}

/*
 * A set that is thick where the query is has its last nodes anywhere: no need to
 * look for those.
 */
static double
ranges_to_look_at(const OmenScan *scan)
{
	if (omen_scan_is_elsewhere(scan))
		return scan->ranges.n;
	return 1.5 * nodes_of_ranges(scan) *
		scan->hnsw->meta.nranges / scan->hnsw->meta.built_nodes;
}

/*
 * And how many of them to measure, if the others' range codes speak so.  The
 * fewer bits a code has, the less it tells.
 */
static int
verified_of_ranges(const OmenScan *scan)
{
	double		verify = (35 + 5.0 * scan->wanted_rows);

	verify *= Max(128.0 / scan->hnsw->meta.shape.code_dims, 1);

	if (is_thick(scan))
		verify *= 0.8;

	/*
	 * and little about nodes that are far and all equally so: of 3000, by 1.26
	 * times as many, recall would be .959 and not .968, for 4 % less time
	 */
	if (omen_scan_is_elsewhere(scan))
		verify *= Max(1.26 * Min(pow(Max(scan->allowed / 3000, 1), 0.39), 3.2),
					  1.6);
	return (int) Min(Max(verify, scan->keep),
					 Min(scan->allowed, PG_INT32_MAX / 4));
}

/* How broad a scan without a filter would be */
static double
plain_breadth(const OmenScan *scan)
{
	return Max(scan->params.ef, scan->wanted_rows * OMEN_BREADTH_PER_ROW);
}

/*
 * Nodes to visit beyond the last row wanted: as many as a scan without a filter
 * visits beyond its own.
 */
static int
sweep_beyond(const OmenScan *scan)
{
	double		breadth = plain_breadth(scan) - scan->wanted_rows;

	/*
	 * all of a set that is but here lies within a few links, and more of it is
	 * measured in the end, and where it is the greater part of what is visited,
	 * others tell less; one that is thick has borders
	 */
	if (is_much_thicker(scan))
		breadth *= scan->near_share > LARGE_SHARE ? 0.7 : 0.8;
	else
		breadth *= is_thick(scan) && scan->near_share < INSIDE_SHARE ? 1.18 :
			1.06;
	return (int) ceil(breadth);
}

/*
 * Squared distances grow by some twelfth of the rank's power near a query.  So much
 * of it is looked through that recall is that of a scan without a filter with ef of
 * 40, 60 and 100 (SIFT, 2,000 queries: .951, .974, .990).  Narrow scans need more.
 */
static float
sweep_growth(const OmenScan *scan)
{
	uint8		metric = scan->hnsw->meta.shape.metric;

	if (metric != OMEN_METRIC_L2 && metric != OMEN_METRIC_COSINE)
		return 0;
	return (float) (GROWTH + NARROW_GROWTH / plain_breadth(scan));
}

/*
 * Nodes to measure after the walk: the thinner the set, the more of its nodes are
 * heard of while the walk is about others.  Of a large part of all nodes, those that
 * the walk would come to next are worth as little as they cost.
 */
static int
sweep_measured(const OmenScan *scan)
{
	double		measured;

	if (is_much_thicker(scan))
		measured = 8;
	else if (scan->near_share < THIN_SHARE)
		measured = Min(1.6 / scan->near_share, 16);
	else
		return 0;
	return (int) Min(measured * sqrt(scan->wanted_rows / 10.0) + 1,
					 OMEN_MAX_MEASURED);
}

/* The same for a walk that meets allowed nodes only, none of them near */
static int
seeded_breadth(const OmenScan *scan)
{
	double		spread = pow(scan->allowed / scan->nodes, -0.25);
	double		breadth = 5.5 * scan->params.ef * spread;

	/*
	 * The best of 4,000 range codes lie where the answer does: to have as much of
	 * it takes a third of the breadth.  Of half of all nodes it takes as much as of
	 * a fifth: with 2.5 times ef it had a recall of .955, with
	 * 3.15 times .962.
	 */
	if (starts_by_codes(scan))
		return (int) Min(Max(2.1 * scan->params.ef *
							 Max(Min(spread, 1.75), LEAST_SPREAD),
							 4.0 * scan->wanted_rows), PG_INT32_MAX / 4);

	/*
	 * From a sample it starts farther away: half a million elsewhere had a
	 * recall of .934, where nodes of the very nearest ranges had .941; with
	 * this, .946.
	 */
	if (scan->ranges.with_empty)
		breadth *= 1.4;
	return (int) Min(Max(breadth, 4.0 * scan->wanted_rows), PG_INT32_MAX / 4);
}

static void
begin_strategy(OmenScan *scan, OmenFilterStrategy strategy)
{
	switch (strategy)
	{
		case OMEN_FILTER_AUTO:
		case OMEN_FILTER_EXACT:
			scan->stage = OMEN_STAGE_PASS;
			omen_scan_pass(scan);
			break;
		case OMEN_FILTER_RANGED:
			if (scan->ranges.with_empty)
				drop_empty_ranges(scan);
			scan->stage = OMEN_STAGE_RANGES;
			scan->promised = scan->wanted_rows;
			scan->wanted = wanted_of_ranges(scan);
			scan->nranges = ranges_to_look_at(scan);
			expect_chunks(scan, Min(scan->wanted / scan->near_share,
									scan->nodes));
			scan->verify = verified_of_ranges(scan);
			scan->by_codes = codes_cost(scan, scan->wanted) <
				scan->wanted * NODE_COST;
			scan->brought = omen_numberset_create(CurrentMemoryContext,
												  scan->keep * 2, NULL);
			omen_scan_pass_ranges(scan);
			break;
		case OMEN_FILTER_SWEEP:
		case OMEN_FILTER_SEEDED:
			begin_walk(scan, strategy);
			break;
	}
}

static void
begin_walk(OmenScan *scan, OmenFilterStrategy strategy)
{
	bool		seeded = strategy == OMEN_FILTER_SEEDED;

	scan->stage = OMEN_STAGE_WALK;
	scan->promised = scan->wanted_rows;
	scan->filter.allowed_only = seeded ? scan->params.allow : NULL;
	scan->filter.breadth = seeded ? seeded_breadth(scan) :
		scan->wanted_rows;
	scan->filter.beyond = seeded ? 0 : sweep_beyond(scan);
	scan->filter.measured = seeded ? 0 : sweep_measured(scan);
	scan->filter.growth = seeded ? 0 : sweep_growth(scan);
	scan->filter.maybe = scan->params.allow;
	set_ranks(scan);
	scan->filter.max_visits = WALK_ALLOWANCE + (uint64)
		(2 * (seeded ? seeded_cost(scan) : sweep_cost(scan)));
	scan->search = omen_search_create(&omen_hnsw_graph_ops, &scan->store,
									  walk_width(scan), false);
	scan->search->filter = &scan->filter;
	if (seeded)
		seed_allowed(scan);
	else
		omen_scan_seed_near(scan);
	omen_search_run(scan->search);
	omen_scan_consume_found(scan);
	if (must_give_up(scan))
		give_up_walk(scan);
}

/*
 * Where the last node wanted will be among all that are visited.  A set that is
 * thick is less so around some queries: they have no less to look for.
 */
static void
set_ranks(OmenScan *scan)
{
	OmenSearchFilter *filter = &scan->filter;
	double		expected = scan->wanted_rows / scan->near_share;

	filter->large_rank = filter->breadth + filter->beyond;
	filter->expected_rank = 0;
	filter->usual_rank = (int) Min(2 * expected, PG_INT32_MAX / 4);
	if (is_thick(scan))
		filter->large_rank *= 2;
	else
		filter->expected_rank = (int) Min(expected, PG_INT32_MAX / 4);
}

/* For ranges, which may not have been looked at yet, or for all nodes */
static void
give_up_walk(OmenScan *scan)
{
	OmenFilterStrategy strategy = OMEN_FILTER_EXACT;

	scan->counts.switches++;
	if (scan->ranges.n == 0)
		look_at_ranges(scan);
	if (scan->ranges.n > 0 && ranged_cost(scan) < exact_cost(scan))
		strategy = OMEN_FILTER_RANGED;
	begin_strategy(scan, strategy);
}

/*
 * Nodes that are about to be visited, by chance some more than expected.  If it was
 * less than that, what had been put aside would have to be brought back.
 */
static int
walk_width(const OmenScan *scan)
{
	double		share = scan->filter.allowed_only ? 1 : scan->near_share;
	double		allowed = scan->filter.breadth +
		3 * sqrt(scan->filter.breadth * (1 - Min(share, 1)));

	return (int) Min(1.1 * allowed / share + scan->filter.beyond + 8,
					 MAX_BREADTH);
}

/*
 * Did the walk end short of rows, or cost too much?  With the rows at hand, one
 * does not go to far greater expense.
 */
static bool
must_give_up(const OmenScan *scan)
{
	if (scan->search->nfound < scan->wanted_rows)
		return true;
	return scan->search->nvisits >= scan->filter.max_visits &&
		Min(exact_cost(scan), scan->ranges.n > 0 ? ranged_cost(scan) :
			get_float8_infinity()) < 2 * scan->search->nvisits;
}

/*
 * Allowed nodes to start from: one of each of the nearest ranges that have
 * some, or, without ranges, of equal parts of the numbers.
 */
static void
seed_allowed(OmenScan *scan)
{
	const OmenAllowSet *allow = scan->params.allow;
	uint32		nparts;
	int			nseeds = 0;

	if (scan->ranges.n > 0 && starts_by_codes(scan))
	{
		seed_coded(scan);
		return;
	}
	if (scan->ranges.with_empty)
	{
		if (seed_sampled(scan))
			return;
		drop_empty_ranges(scan);
		scan->filter.breadth = seeded_breadth(scan);
	}
	nparts = scan->ranges.n > 0 ? scan->ranges.n : ALLOWED_SEEDS;
	for (uint32 i = 0; i < nparts && nseeds < ALLOWED_SEEDS; i++)
	{
		uint32		from = (uint64) i * allow->nbits / nparts;
		uint32		end = (uint64) (i + 1) * allow->nbits / nparts;
		float		estimate = -get_float4_infinity();
		uint32		number;

		if (scan->ranges.n > 0)
		{
			estimate = scan->ranges.nearest[i].estimate;
			omen_range_bounds(scan->hnsw, scan->ranges.nearest[i].link, &from,
							  &end);
		}
		number = omen_allow_next(allow, from, end);
		if (number < end && seed_number(scan, number, estimate))
			nseeds++;
	}
}

/* The nearest by their range codes of allowed nodes in the nearest ranges */
static void
seed_coded(OmenScan *scan)
{
	OmenHeard	near[CODED_SEEDS];
	int			n;

	scan->wanted = seed_codes(scan);
	scan->nranges = scan->ranges.n;
	n = omen_scan_near_by_codes(scan, near, CODED_SEEDS);
	for (int i = 0; i < n; i++)
		omen_hnsw_prefetch_own(&scan->store, omen_link_form(near[i].link, 0));
	for (int i = 0; i < n; i++)
		seed_number(scan, near[i].link, near[i].estimate);
}

/*
 * Of a sample of allowed nodes, the nearest by the centres of their ranges, one
 * of each.  False if they are too few.
 */
static bool
seed_sampled(OmenScan *scan)
{
	const OmenAllowSet *allow = scan->params.allow;
	const OmenHnswMetaPageData *meta = &scan->hnsw->meta;
	uint32		numbers[SEED_SAMPLE];
	OmenHeard	heap[SEED_SAMPLE];
	OmenHeard	seeds[ALLOWED_SEEDS];
	int			n = allow->source->sample(allow->source, numbers, SEED_SAMPLE);
	Size		nheap = 0;
	int			nseeds = 0;

	for (int i = 0; i < n; i++)
	{
		uint32		position = numbers[i] - meta->range_first;
		uint32		range;

		/* what has been inserted since is in no range */
		if (numbers[i] < meta->range_first || position >= meta->built_nodes)
			continue;
		range = omen_range_find(scan->hnsw->range_starts, meta->nranges,
								position);
		heap[nheap++] = (OmenHeard) {scan->ranges.estimates[range], numbers[i]};
	}
	omen_pool_heap_form(heap, nheap);
	while (nheap > 0 && nseeds < ALLOWED_SEEDS)
	{
		OmenHeard	next = omen_pool_heap_pop(heap, &nheap);

		if ((nseeds == 0 || next.estimate > seeds[nseeds - 1].estimate) &&
			omen_allow_test(allow, next.link))
			seeds[nseeds++] = next;
	}
	if (nseeds < ALLOWED_SEEDS)
		return false;
	for (int i = 0; i < nseeds; i++)
		seed_number(scan, seeds[i].link, seeds[i].estimate);
	return true;
}

static bool
seed_number(OmenScan *scan, uint32 number, float estimate)
{
	OmenLink	link = omen_hnsw_find_link(&scan->store, number);

	if (link == OMEN_LINK_INVALID)
		return false;
	omen_search_seed(scan->search, link, estimate);
	return true;
}
