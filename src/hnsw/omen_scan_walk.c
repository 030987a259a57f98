/*-------------------------------------------------------------------------
 *
 * omen_scan_walk.c
 *	  The first stage of a scan: a best-first search, and widening it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/float.h"
#include "utils/memutils.h"

#include "graph/numberset.h"
#include "hnsw/omen_scan_state.h"

/*
 * A sequential pass costs about an eighth of a visit for each node: there
 * are no cache misses on the way and no neighbours to score.
 */
#define SWEEP_FACTOR	8

/* Beyond this, a pool that is kept in order costs more than a heap */
#define MOST_IN_ORDER	640

/* Beyond this, a walk is not wanted whatever the table's size */
#define MAX_WALK_EF		32768

/* By cosine, walks are broader where the nearest entry is farther than the first */
#define NEAR_COSINE		0.5
#define FAR_COSINE		(-0.5)

static bool prepare_walk(OmenScan *scan, double *ef);
static void find_seeds(OmenScan *scan);
static bool widen(OmenScan *scan, double ef);
static bool walk_pays(OmenScan *scan, double ef);

void
omen_scan_start_walk(OmenScan *scan)
{
	double		ef = scan->params.ef;

	/*
	 * A walk is good for as many rows as it is broad, in the sense of HNSW,
	 * if it has some nodes to spare; whoever wants more of it gets what it
	 * settles, which is half of its pool, see omen_search_horizon().
	 */
	if (scan->params.k_hint <= scan->params.ef)
	{
		scan->promised = scan->params.k_hint;
		ef = Max(ef, scan->params.k_hint *
				 (scan->params.breadth > 0 ? scan->params.breadth :
				  OMEN_BREADTH_PER_ROW));
	}
	else if (scan->params.exhaustive)
		ef = Max(ef, scan->params.k_hint * 2.0);
	if (!prepare_walk(scan, &ef))
	{
		scan->stage = OMEN_STAGE_PASS;
		scan->horizon = -get_float4_infinity();
		return;
	}
	scan->search = omen_search_create(&omen_hnsw_graph_ops, &scan->store,
									  (int) ef, false);
	/* one whose rows are tested will probably be widened: it costs 20 us later */
	if (ef > MOST_IN_ORDER || scan->params.passes != NULL)
		omen_search_widen(scan->search, (int) ef);
	omen_scan_seed_near(scan);
	omen_search_run(scan->search);
	omen_scan_consume_found(scan);
}

/* As broad as the query wants it; returns false if to read everything is cheaper */
static bool
prepare_walk(OmenScan *scan, double *ef)
{
	if (scan->params.exhaustive && !walk_pays(scan, *ef))
		return false;
	find_seeds(scan);
	*ef = Min(*ef * omen_scan_broader(scan), Max(*ef, MAX_WALK_EF));
	return !scan->params.exhaustive || walk_pays(scan, *ef);
}

/* Entries without codes are all seeds, and not known before there is a search */
static void
find_seeds(OmenScan *scan)
{
	if (scan->hnsw->entry_pairs == NULL)
		return;
	scan->nseeds = omen_hnsw_near_entries(scan->hnsw, scan->query, scan->seeds,
										  omen_hnsw_entry_seeds(scan->hnsw));
	scan->counts.distances += scan->hnsw->nentries;
}

void
omen_scan_seed_near(OmenScan *scan)
{
	if (scan->nseeds > 0)
	{
		for (int i = 0; i < scan->nseeds; i++)
			omen_search_seed(scan->search, scan->seeds[i].link,
							 scan->seeds[i].estimate);
		return;
	}
	omen_hnsw_seed(scan->hnsw, scan->query, scan->search);
	if (scan->hnsw->entry_pairs)
		scan->counts.distances += scan->hnsw->nentries;
}

/*
 * In multiples of ef.  By cosine, a query that is far from all rows has many that are
 * about as near.  What made up for that were visits all over the graph, since estimates
 * were blurred; now that they are less so (src/quant/quant_links.c), breadth does.
 */
double
omen_scan_broader(const OmenScan *scan)
{
	const OmenCodeShape *shape = &scan->hnsw->meta.shape;
	double		cosine;

	if (shape->metric != OMEN_METRIC_COSINE ||
		shape->link_kind == OMEN_LINK_NONE || scan->nseeds == 0)
		return 1;
	cosine = 1 - scan->seeds[0].estimate / 2;
	cosine = Min(Max(cosine, FAR_COSINE), NEAR_COSINE);
	return (1 + NEAR_COSINE) / (1 + cosine);
}

/*
 * If it was told how many rows will be wanted, and these were more, they are
 * filtered above it.  It is good for as many of its nodes as at first: to be
 * sure of half of them only, LIMIT 10 of 25 % took seven times of a plain scan.
 */
bool
omen_scan_widen_walk(OmenScan *scan)
{
	double		ef = omen_search_breadth(scan->search) * 2.0;

	if (!widen(scan, ef))
		return false;
	if (scan->promised > 0)
		scan->promised = (int) (ef / OMEN_BREADTH_PER_ROW);
	return true;
}

bool
omen_scan_expect(OmenScan *scan, int rows, int breadth, float within)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	uint64		reads = omen_page_reads;
	Size		first = scan->nconsumed;
	bool		walks = scan->stage == OMEN_STAGE_WALK &&
		!omen_scan_is_filtered(scan) &&
		(breadth <= omen_search_breadth(scan->search) ||
		 widen(scan, breadth));

	if (walks)
	{
		scan->promised = rows;
		scan->within = within;
		omen_scan_prefetch_nearest(scan, first, rows);
	}
	scan->counts.pages += omen_page_reads - reads;
	MemoryContextSwitchTo(old);
	return walks;
}

static bool
widen(OmenScan *scan, double ef)
{
	if (!walk_pays(scan, ef) || !omen_search_widen(scan->search, (int) ef))
		return false;
	omen_search_run(scan->search);
	omen_scan_consume_found(scan);
	return true;
}

/* Is a walk of this breadth cheaper than reading everything once? */
static bool
walk_pays(OmenScan *scan, double ef)
{
	double		nodes = (double) RelationGetNumberOfBlocks(scan->params.index) *
		scan->hnsw->layout.slots_per_page;

	return ef * SWEEP_FACTOR < nodes && ef <= MAX_WALK_EF;
}

void
omen_scan_consume_found(OmenScan *scan)
{
	OmenSearch *search = scan->search;
	Size		n = search->nfound - scan->nconsumed;
	OmenScanItem *items = palloc_extended(Max(n, 1) * sizeof(OmenScanItem),
										MCXT_ALLOC_HUGE);

	for (Size i = 0; i < n; i++)
	{
		const OmenFound *found = &search->found[scan->nconsumed + i];
		OmenScanItem *item = &items[i];

		if (scan->brought != NULL &&
			omen_numberset_lookup(scan->brought,
								  omen_link_number(found->link)) != NULL)
			continue;
		item->key = found->own.lower;
		item->upper = found->own.upper;
		item->exact = false;
		item->recheck = found->recheck;
		item->tested = false;
		item->link = found->link;
		item->more_tids = found->more_tids;
		item->ntids = found->ntids;
		memcpy(item->tids, found->tids, sizeof(item->tids));
		pairingheap_add(scan->queue, &item->node);
	}
	omen_scan_find_rows_soon(scan, scan->nconsumed);
	scan->nconsumed = search->nfound;
	scan->horizon = omen_search_horizon(search);
}
