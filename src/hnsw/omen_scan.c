/*-------------------------------------------------------------------------
 *
 * omen_scan.c
 *	  Ranking rows by distance, see omen_scan.h.
 *
 * NOTES
 *	  A scan has three stages, each going on where the one before ended; one
 *	  that is to return much of the index begins with the last:
 *
 *	  walk		best-first search with a pool of ef nodes;
 *	  widen		the same search resumed with a pool twice as large, as often
 *				as needed, while that is cheaper than reading everything;
 *	  sweep		sequential passes over all slots that were not visited, which
 *				return the rest in order of distance, as much of it at a time
 *				as work_mem holds.  They also find what no link leads to.
 *
 *	  What a stage brings is put into a queue ordered by the lower bound of
 *	  the distance.  An item leaves the queue if its place is certain: no other
 *	  item's lower bound lies below its upper bound.  If it is not, its row is
 *	  looked up in the table for the exact distance, and it goes back into the
 *	  queue with that.  So rows come in exact order as far as the stages have
 *	  looked, no row is lost, and few rows are read that are not returned.
 *
 *	  Product codes have no upper bound: each row is looked up before it is
 *	  returned.  Their lower bound fails for one or two rows of a thousand,
 *	  which come late then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "hnsw/hnsw_rows.h"
#include "hnsw/omen_scan.h"

/*
 * A sequential pass costs about an eighth of a visit for each node: there
 * are no cache misses on the way and no neighbours to score.
 */
#define SWEEP_FACTOR	8

/*
 * Breadth of a walk for each row that it is to be good for.  With 1, recall@10
 * at ef_search 10 was .89 on mnist_784, where HNSW has .905; with 1.4 it is .95.
 */
#define SPARE_BREADTH	1.4

/*
 * Rows whose memory is touched ahead of time: LIMIT 10 looks at 14 of 128
 * dimensions.
 */
#define ROWS_SOON		16

/* Beyond this, keeping the pool in order costs more than sweeping */
#define MAX_WALK_EF		32768

/* A row that will probably be looked up or returned soon */
typedef struct RowSoon
{
	float		estimate;
	ItemPointerData tid;
} RowSoon;

typedef struct ScanItem
{
	pairingheap_node node;
	float		key;			/* lower bound, or exact */
	float		upper;
	bool		exact;
	bool		recheck;		/* the filter is not certain of its rows */
	OmenLink	link;
	OmenLink	more_tids;
	int			ntids;
	ItemPointerData tids[OMEN_SLOT_TIDS];
} ScanItem;

struct OmenScan
{
	OmenScanParams params;
	MemoryContext context;
	MemoryContext pass_context; /* items of the last sequential pass, or NULL */
	OmenHnswIndex *hnsw;
	OmenQuery  *query;
	OmenHnswStore store;
	OmenSearch *search;
	OmenRowReader *rows;		/* NULL until the first look-up */

	RowSoon		soon[2 * ROWS_SOON];	/* nearest first */
	int			nsoon;
	int			nasked;			/* of soon, read ahead */
	int			nlooked;		/* rows looked up or returned since */

	pairingheap *queue;
	Size		nconsumed;		/* of search->found */
	float		horizon;		/* keys beyond are not settled yet */
	int			promised;		/* nodes that the first walk is good for */
	int64		nreturned;		/* nodes with rows */

	bool		sweeping;
	bool		complete;		/* nothing can come any more */
	float		cutoff_key;		/* the passes so far went up to here */
	uint32		cutoff_number;

	ScanItem   *current;		/* the node whose rows are being returned */
	BlockNumber heap_blocks;	/* size of the table, at least */
	ItemPointerData *list;		/* its TID list */
	int			nlist;
	int			next_tid;

	OmenScanCounts counts;
};

static int	compare_items(const pairingheap_node *a,
						  const pairingheap_node *b, void *arg);
static void start_walk(OmenScan *scan);
static bool walk_pays(OmenScan *scan, double ef);
static void consume_found(OmenScan *scan);
static void find_rows_soon(OmenScan *scan, Size first);
static void add_row_soon(OmenScan *scan, const OmenFound *found);
static void read_rows_ahead(OmenScan *scan);
static bool extend(OmenScan *scan);
static void sweep(OmenScan *scan);
static void begin_pass(OmenScan *scan);
static void sweep_page(OmenScan *scan, Buffer buffer, ScanItem *items,
					   int *nitems);
static bool wanted_by_pass(const OmenScan *scan, uint32 number, float key);
static int	compare_pass_items(const void *a, const void *b);
static float settled_up_to(const OmenScan *scan);
static bool is_certain(const OmenScan *scan, const ScanItem *item);
static bool verify(OmenScan *scan, ScanItem *item);
static void check_tid(OmenScan *scan, const ScanItem *item,
					  const ItemPointerData *tid);
static bool current_next(OmenScan *scan, ItemPointer tid);

OmenScan *
omen_scan_begin(const OmenScanParams *params)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omendb scan",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OmenScan   *scan = palloc0(sizeof(OmenScan));
	OmenHnswValue value;
	uint64		reads = omen_page_reads;

	scan->params = *params;
	scan->context = context;
	scan->hnsw = omen_hnsw_open(params->index);
	omen_hnsw_refresh_entries(params->index, scan->hnsw);
	omen_page_hints_start_scan(&scan->hnsw->heap_hints);
	scan->queue = pairingheap_allocate(compare_items, NULL);
	scan->cutoff_key = -get_float4_infinity();

	if (params->has_query &&
		omen_hnsw_form_value(scan->hnsw->opclass, scan->hnsw->meta.shape.dims,
							 params->query, &value))
	{
		scan->query = omen_query_init(palloc(omen_query_size(scan->hnsw->quant)),
									  scan->hnsw->quant, value.payload);
		omen_hnsw_store_init(&scan->store, params->index, scan->hnsw,
							 scan->query);
		scan->store.allow = params->allow;
		start_walk(scan);
	}
	else
	{
		/* no order to speak of: everything in one sweep */
		omen_hnsw_store_init(&scan->store, params->index, scan->hnsw, NULL);
		scan->store.allow = params->allow;
		scan->sweeping = true;
		scan->horizon = -get_float4_infinity();
	}
	scan->counts.pages += omen_page_reads - reads;
	MemoryContextSwitchTo(old);
	return scan;
}

bool
omen_scan_next(OmenScan *scan, ItemPointer tid, float *distance)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool		found = false;
	uint64		reads = omen_page_reads;

	for (;;)
	{
		ScanItem   *item;

		CHECK_FOR_INTERRUPTS();
		if (current_next(scan, tid))
		{
			*distance = scan->current->key;
			found = true;
			break;
		}

		if (pairingheap_is_empty(scan->queue) ||
			((ScanItem *) pairingheap_first(scan->queue))->key >
			settled_up_to(scan))
		{
			if (!scan->complete && extend(scan))
				continue;
			if (pairingheap_is_empty(scan->queue))
				break;
		}

		item = (ScanItem *) pairingheap_remove_first(scan->queue);
		if (is_certain(scan, item))
		{
			scan->current = item;
			scan->next_tid = 0;
			scan->nreturned += item->ntids > 0;
			scan->list = NULL;
			scan->nlist = 0;
		}
		else if (verify(scan, item))
			pairingheap_add(scan->queue, &item->node);
	}
	scan->counts.pages += omen_page_reads - reads;
	MemoryContextSwitchTo(old);
	return found;
}

bool
omen_scan_recheck(const OmenScan *scan)
{
	return scan->current->recheck;
}

void
omen_scan_end(OmenScan *scan)
{
	if (scan->rows)
		omen_rows_close(scan->rows);
	MemoryContextDelete(scan->context);
}

void
omen_scan_pin_row(OmenScan *scan, IndexFetchTableData *fetch,
				  const ItemPointerData *tid)
{
	scan->nlooked++;
	read_rows_ahead(scan);
	omen_rows_pin(fetch, scan->hnsw, tid);
}

bool
omen_scan_distance_of(OmenScan *scan, OmenLink link, OmenBounds *bounds)
{
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(&scan->store, link,
											 OMEN_LOCK_SHARE, &slot);

	if (!BufferIsValid(buffer))
		return false;
	*bounds = omen_query_own(scan->query,
							 omen_hnsw_slot_own(&scan->store, buffer, slot));
	omen_page_release(buffer);
	return true;
}

void
omen_scan_counts(const OmenScan *scan, OmenScanCounts *counts)
{
	*counts = scan->counts;
	counts->visited = scan->search ? scan->search->nvisits : 0;
	counts->ef = scan->search ? scan->search->ef : 0;
	counts->distances += scan->store.ndistances;
}

/* pairingheap puts the greatest first: turn the order round */
static int
compare_items(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const ScanItem *x = (const ScanItem *) a;
	const ScanItem *y = (const ScanItem *) b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;

	/* equal distances: in the order of TIDs, whatever the codes say */
	if (x->exact != y->exact)
		return x->exact ? -1 : 1;
	return -ItemPointerCompare((ItemPointer) &x->tids[0],
							   (ItemPointer) &y->tids[0]);
}

static void
start_walk(OmenScan *scan)
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
		ef = Max(ef, scan->params.k_hint * SPARE_BREADTH);
	}
	else if (scan->params.exhaustive)
		ef = Max(ef, scan->params.k_hint * 2.0);
	if (scan->params.exhaustive && !walk_pays(scan, ef))
	{
		scan->sweeping = true;
		scan->horizon = -get_float4_infinity();
		return;
	}
	scan->search = omen_search_create(&omen_hnsw_graph_ops, &scan->store,
									  (int) ef, false);
	omen_hnsw_seed(scan->hnsw, scan->query, scan->search);
	if (scan->hnsw->entry_pairs)
		scan->counts.distances += scan->hnsw->nentries;
	omen_search_run(scan->search);
	consume_found(scan);
}

/* Is a walk of this breadth cheaper than reading everything once? */
static bool
walk_pays(OmenScan *scan, double ef)
{
	double		nodes = (double) RelationGetNumberOfBlocks(scan->params.index) *
		scan->hnsw->layout.slots_per_page;

	return ef * SWEEP_FACTOR < nodes && ef <= MAX_WALK_EF;
}

/* Move what the walk has found since the last time into the queue */
static void
consume_found(OmenScan *scan)
{
	OmenSearch *search = scan->search;
	Size		n = search->nfound - scan->nconsumed;
	ScanItem   *items = palloc_extended(Max(n, 1) * sizeof(ScanItem),
										MCXT_ALLOC_HUGE);

	for (Size i = 0; i < n; i++)
	{
		const OmenFound *found = &search->found[scan->nconsumed + i];
		ScanItem   *item = &items[i];

		if (!found->allowed)
			continue;
		item->key = found->own.lower;
		item->upper = found->own.upper;
		item->exact = false;
		item->recheck = found->recheck;
		item->link = found->link;
		item->more_tids = found->more_tids;
		item->ntids = found->ntids;
		memcpy(item->tids, found->tids, sizeof(item->tids));
		pairingheap_add(scan->queue, &item->node);
	}
	find_rows_soon(scan, scan->nconsumed);
	scan->nconsumed = search->nfound;
	scan->horizon = omen_search_horizon(search);
}

/* The rows of the nearest nodes among those found: have them fetched */
static void
find_rows_soon(OmenScan *scan, Size first)
{
	const OmenSearch *search = scan->search;
	ItemPointerData tids[lengthof(scan->soon)];
	float		far = search->npool == 0 ? 0 :
		search->pool[Min(search->npool, ROWS_SOON) - 1].estimate;

	scan->nsoon = scan->nasked = scan->nlooked = 0;
	for (Size i = first; i < search->nfound; i++)
	{
		const OmenFound *found = &search->found[i];

		if (found->own.estimate <= far && found->ntids > 0 &&
			found->allowed && scan->nsoon < lengthof(scan->soon))
			add_row_soon(scan, found);
	}
	for (int i = 0; i < scan->nsoon; i++)
		tids[i] = scan->soon[i].tid;
	omen_rows_prefetch(scan->hnsw, tids, scan->nsoon);
	read_rows_ahead(scan);
}

static void
add_row_soon(OmenScan *scan, const OmenFound *found)
{
	int			at = scan->nsoon++;

	for (; at > 0 && scan->soon[at - 1].estimate > found->own.estimate; at--)
		scan->soon[at] = scan->soon[at - 1];
	scan->soon[at].estimate = found->own.estimate;
	scan->soon[at].tid = found->tids[0];
}

/* Of the rows to come, have as many under way as the tablespace is good for */
static void
read_rows_ahead(OmenScan *scan)
{
	Relation	heap = scan->params.heap;
	int			ahead;

	if (heap == NULL || scan->nasked == scan->nsoon)
		return;
	ahead = omen_rows_ahead(heap, scan->hnsw);
	if (likely(ahead == 0))
		return;
	while (scan->nasked < Min(scan->nsoon, scan->nlooked + ahead))
	{
		const ItemPointerData *tid = &scan->soon[scan->nasked++].tid;
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

		if (unlikely(block >= scan->heap_blocks))
			scan->heap_blocks = RelationGetNumberOfBlocks(heap);
		if (block < scan->heap_blocks)
			omen_rows_read_ahead(heap, scan->hnsw, tid);
	}
}

/* Look further: the next stage or the next step of this one */
static bool
extend(OmenScan *scan)
{
	if (!scan->params.exhaustive)
	{
		scan->complete = true;
		scan->horizon = get_float4_infinity();
		return false;
	}
	if (!scan->sweeping)
	{
		double		ef = scan->search->ef * 2.0;

		if (walk_pays(scan, ef) &&
			omen_search_widen(scan->search, (int) ef))
		{
			omen_search_run(scan->search);
			consume_found(scan);
			return true;
		}
		scan->sweeping = true;
	}
	sweep(scan);
	return true;
}

/*
 * One pass over all pages: the nearest nodes that neither the walk nor an
 * earlier pass has brought, as many as work_mem holds.
 */
static void
sweep(OmenScan *scan)
{
	Relation	index = scan->params.index;
	int			keep = Max(work_mem * (Size) 1024 / sizeof(ScanItem) / 2, 1024);
	ScanItem   *items;
	int			nitems = 0;
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;
	bool		cut = false;

	begin_pass(scan);
	items = MemoryContextAllocHuge(scan->pass_context,
								   (Size) keep * 2 * sizeof(ScanItem));
	scan->horizon = get_float4_infinity();
	omen_page_stream_begin(&pages, index, RelationGetNumberOfBlocks(index),
						   strategy);
	while ((buffer = omen_page_stream_next(&pages, OMEN_LOCK_SHARE, &kind)) !=
		   InvalidBuffer)
	{
		if (nitems + scan->hnsw->layout.slots_per_page > keep * 2)
		{
			qsort(items, nitems, sizeof(ScanItem), compare_pass_items);
			nitems = keep;
			scan->horizon = items[keep - 1].key;
			cut = true;
		}
		if (kind == OMEN_PAGE_NODE)
			sweep_page(scan, buffer, items, &nitems);
		omen_page_release(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	omen_page_stream_end(&pages);
	FreeAccessStrategy(strategy);

	qsort(items, nitems, sizeof(ScanItem), compare_pass_items);
	if (nitems > keep || cut)
	{
		nitems = Min(nitems, keep);
		scan->horizon = items[nitems - 1].key;
	}
	else
		scan->complete = true;
	if (nitems > 0)
	{
		scan->cutoff_key = items[nitems - 1].key;
		scan->cutoff_number = omen_link_number(items[nitems - 1].link);
	}
	for (int i = 0; i < nitems; i++)
		pairingheap_add(scan->queue, &items[i].node);
}

/*
 * Give back what the pass before took.  Of its items, only few are left: those
 * that turned out to lie beyond where it ended.
 */
static void
begin_pass(OmenScan *scan)
{
	MemoryContext context = AllocSetContextCreate(scan->context,
												  "omendb scan pass",
												  ALLOCSET_DEFAULT_SIZES);
	pairingheap *queue = pairingheap_allocate(compare_items, NULL);

	Assert(scan->current == NULL);
	while (!pairingheap_is_empty(scan->queue))
	{
		ScanItem   *item = MemoryContextAlloc(context, sizeof(ScanItem));

		*item = *(ScanItem *) pairingheap_remove_first(scan->queue);
		pairingheap_add(queue, &item->node);
	}
	pairingheap_free(scan->queue);
	scan->queue = queue;
	if (scan->pass_context != NULL)
		MemoryContextDelete(scan->pass_context);
	scan->pass_context = context;
}

/* Of the NODE page, which is locked, the slots that are wanted */
static void
sweep_page(OmenScan *scan, Buffer buffer, ScanItem *items, int *nitems)
{
	const OmenHnswLayout *layout = &scan->hnsw->layout;
	BlockNumber block = BufferGetBlockNumber(buffer);

	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);
		uint32		number = block * layout->slots_per_page + i;
		OmenBounds	bounds = {0, 0, 0};
		bool		recheck;
		ScanItem   *item;

		if (slot->flags != OMEN_SLOT_USED ||
			!omen_hnsw_allows(&scan->store, number, slot, &recheck) ||
			(scan->search && omen_search_was_visited(scan->search, number)))
			continue;
		omen_hnsw_check_slot(scan->params.index, scan->hnsw, buffer, slot);
		if (scan->query)
		{
			bounds = omen_query_own(scan->query,
									omen_hnsw_slot_own(&scan->store, buffer,
													   slot));
			scan->counts.distances++;
		}
		scan->counts.swept++;
		if (!wanted_by_pass(scan, number, bounds.lower))
			continue;
		item = &items[(*nitems)++];
		item->key = bounds.lower;
		item->upper = bounds.upper;
		item->exact = scan->query == NULL;
		item->recheck = recheck;
		item->link = omen_link_form(number, slot->version);
		item->more_tids = slot->more_tids;
		item->ntids = slot->ntids;
		memcpy(item->tids, slot->tids, sizeof(item->tids));
	}
}

/* Beyond what earlier passes brought, and not beyond what this one can */
static bool
wanted_by_pass(const OmenScan *scan, uint32 number, float key)
{
	if (key > scan->horizon)
		return false;
	return key > scan->cutoff_key ||
		(key == scan->cutoff_key && number > scan->cutoff_number);
}

static int
compare_pass_items(const void *a, const void *b)
{
	const ScanItem *x = a;
	const ScanItem *y = b;
	uint32		m = omen_link_number(x->link);
	uint32		n = omen_link_number(y->link);

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return m < n ? -1 : m > n;
}

/* Nodes that no stage has brought yet lie beyond this */
static float
settled_up_to(const OmenScan *scan)
{
	return scan->nreturned < scan->promised ? get_float4_infinity() :
		scan->horizon;
}

/* No other node can be nearer than this one */
static bool
is_certain(const OmenScan *scan, const ScanItem *item)
{
	const ScanItem *rival;

	if (item->exact || item->upper <= item->key || scan->params.heap == NULL)
		return true;
	if (pairingheap_is_empty(scan->queue))
		return item->upper <= settled_up_to(scan);
	rival = (const ScanItem *) pairingheap_first(scan->queue);
	return item->upper <= rival->key;
}

/*
 * Replace an item's bounds by the exact distance.  Returns false if none of
 * its rows is visible: then nobody would see it returned.
 */
static bool
verify(OmenScan *scan, ScanItem *item)
{
	ItemPointerData *list;
	int			nlist;
	float		distance;
	bool		visible = false;

	if (scan->rows == NULL)
		scan->rows = omen_rows_open(scan->params.heap, scan->params.index,
									scan->params.snapshot, scan->hnsw,
									scan->query);
	for (int i = 0; i < item->ntids && !visible; i++)
	{
		check_tid(scan, item, &item->tids[i]);
		scan->counts.verified++;
		scan->nlooked++;
		read_rows_ahead(scan);
		visible = omen_rows_distance(scan->rows, &item->tids[i], &distance);
	}
	if (!visible && item->more_tids != OMEN_LINK_INVALID)
	{
		nlist = omen_hnsw_read_tids(&scan->store, item->more_tids, &list);
		for (int i = 0; i < nlist && !visible; i++)
		{
			check_tid(scan, item, &list[i]);
			scan->counts.verified++;
			visible = omen_rows_distance(scan->rows, &list[i], &distance);
		}
		pfree(list);
	}
	if (!visible)
		return false;
	item->key = item->upper = distance;
	item->exact = true;
	return true;
}

/* A row beyond the end of the table: past it, the server sees a broken file */
static void
check_tid(OmenScan *scan, const ScanItem *item, const ItemPointerData *tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (likely(block < scan->heap_blocks) || scan->params.heap == NULL)
		return;
	scan->heap_blocks = RelationGetNumberOfBlocks(scan->params.heap);
	if (block >= scan->heap_blocks)
		omen_page_report_corrupt(scan->params.index,
								 omen_link_number(item->link) /
								 scan->hnsw->layout.slots_per_page,
								 "A node refers to rows beyond the end of the table.");
}

/* The next row of the node that is being returned */
static bool
current_next(OmenScan *scan, ItemPointer tid)
{
	ScanItem   *item = scan->current;

	if (item == NULL)
		return false;
	if (scan->next_tid < item->ntids)
	{
		*tid = item->tids[scan->next_tid++];
		check_tid(scan, item, tid);
		return true;
	}
	if (scan->next_tid == item->ntids && scan->list == NULL &&
		item->more_tids != OMEN_LINK_INVALID)
		scan->nlist = omen_hnsw_read_tids(&scan->store, item->more_tids,
										  &scan->list);
	if (scan->next_tid - item->ntids < scan->nlist)
	{
		*tid = scan->list[scan->next_tid++ - item->ntids];
		check_tid(scan, item, tid);
		return true;
	}
	if (scan->list)
		pfree(scan->list);
	scan->list = NULL;
	scan->current = NULL;
	return false;
}
