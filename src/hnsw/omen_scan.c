/*-------------------------------------------------------------------------
 *
 * omen_scan.c
 *	  Ranking rows by distance, see omen_scan.h.
 *
 * NOTES
 *	  A scan has three stages, each going on where the one before ended; one
 *	  that is to return much of the index begins with the last (filtered scans:
 *	  omen_scan_filter.c):
 *
 *	  walk		best-first search with a pool of ef nodes;
 *	  widen		the same search resumed, twice as broad, as often as needed,
 *				while that is cheaper than reading everything;
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
 *	  Where many rows are dead and not vacuumed, the walk is widened as soon as
 *	  the first nodes tell so, not when it has nothing left: a row that it had
 *	  missed until then comes late.
 *
 *	  Product codes have no upper bound: each row is looked up before it is
 *	  returned.  Their lower bound fails for one or two rows of a thousand,
 *	  which come late then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "hnsw/omen_scan_state.h"

/*
 * From so many nodes on, the share of dead ones among them tells how broad the
 * walk should be: so many times the rank that the last row wanted will have.
 */
#define NARROW_SAMPLE	8
#define NARROW_BREADTH	3

/* Of rows, what omen_scan_list_rows() has so far */
typedef struct RowList
{
	OmenScanRow *rows;
	Size		n;
	Size		max;
} RowList;

static bool list_items(RowList *list, const pairingheap_node *node);
static bool list_item(RowList *list, const OmenScanItem *item, int from);
static int	compare_items(const pairingheap_node *a,
						  const pairingheap_node *b, void *arg);
static bool extend(OmenScan *scan);
static float settled_up_to(const OmenScan *scan);
static bool is_too_narrow(const OmenScan *scan);
static bool is_certain(const OmenScan *scan, const OmenScanItem *item);
static bool may_pass(OmenScan *scan, OmenScanItem *item);
static bool current_next(OmenScan *scan, ItemPointer tid);
static bool is_wanted(OmenScan *scan, const OmenScanItem *item,
					  const ItemPointerData *tid);

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
	if (params->allow && params->allow->kind == OMEN_ALLOW_ALL)
		scan->params.allow = NULL;
	scan->context = context;
	scan->hnsw = omen_hnsw_open(params->index);
	omen_hnsw_refresh_entries(params->index, scan->hnsw);
	omen_page_hints_start_scan(&scan->hnsw->heap_hints);
	scan->queue = pairingheap_allocate(compare_items, NULL);
	scan->cutoff_key = -get_float4_infinity();
	scan->within = get_float4_infinity();

	if (params->has_query &&
		omen_hnsw_form_value(scan->hnsw->opclass, scan->hnsw->meta.shape.dims,
							 params->query, &value))
	{
		scan->query = omen_query_init(palloc(omen_query_size(scan->hnsw->quant)),
									  scan->hnsw->quant, value.payload);
		scan->payload = value.payload;
		omen_hnsw_store_init(&scan->store, params->index, scan->hnsw,
							 scan->query);
		scan->store.allow = scan->params.allow;
		if (omen_scan_is_filtered(scan))
			omen_scan_start_filtered(scan);
		else
			omen_scan_start_walk(scan);
	}
	else
	{
		/* no order to speak of: everything in one sweep */
		omen_hnsw_store_init(&scan->store, params->index, scan->hnsw, NULL);
		scan->store.allow = scan->params.allow;
		scan->stage = OMEN_STAGE_PASS;
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
		OmenScanItem *item;

		CHECK_FOR_INTERRUPTS();
		if (current_next(scan, tid))
		{
			*distance = scan->current->key;
			found = true;
			break;
		}

		if (is_too_narrow(scan))
			scan->broad = !omen_scan_widen_walk(scan);
		if (pairingheap_is_empty(scan->queue) ||
			((OmenScanItem *) pairingheap_first(scan->queue))->key >
			settled_up_to(scan))
		{
			if (scan->params.passes != NULL)
				break;
			if (!scan->complete && extend(scan))
				continue;
			if (pairingheap_is_empty(scan->queue))
				break;
		}

		item = (OmenScanItem *) pairingheap_remove_first(scan->queue);
		if (!may_pass(scan, item))
			scan->nreturned++;
		else if (is_certain(scan, item))
		{
			scan->current = item;
			scan->next_tid = scan->ndead_rows = 0;
			scan->nreturned += item->ntids > 0;
			scan->list = NULL;
			scan->nlist = 0;
		}
		else if (omen_scan_verify(scan, item))
			pairingheap_add(scan->queue, &item->node);
		else
			scan->ngone++;
	}
	omen_compat_check_snapshot(scan->params.snapshot, scan->params.index);
	scan->counts.pages += omen_page_reads - reads;
	MemoryContextSwitchTo(old);
	return found;
}

void
omen_scan_was_dead(OmenScan *scan)
{
	scan->ndead_rows++;
}

bool
omen_scan_recheck(const OmenScan *scan)
{
	return scan->current->recheck;
}

/* Of a node's rows, it is enough for its distance that one was seen */
bool
omen_scan_is_visible(const OmenScan *scan)
{
	const OmenScanItem *item = scan->current;

	return item->exact && item->ntids == 1 &&
		item->more_tids == OMEN_LINK_INVALID;
}

void
omen_scan_end(OmenScan *scan)
{
	Relation	index = scan->params.index;

	if (scan->rows)
		omen_rows_close(scan->rows);
	MemoryContextDelete(scan->context);
	omen_kept_end_scan(index);
}

void
omen_scan_counts(const OmenScan *scan, OmenScanCounts *counts)
{
	*counts = scan->counts;
	counts->visited = scan->search ? scan->search->nvisits : 0;
	counts->ef = scan->search ? omen_search_breadth(scan->search) : 0;
	counts->distances += scan->store.ndistances;
}

int
omen_scan_list_rows(const OmenScan *scan, OmenScanRow **rows, int *settled,
					bool *no_others)
{
	RowList		list = {0};

	*rows = NULL;
	if (scan->query == NULL)
		return -1;
	*settled = Max(scan->promised - scan->nreturned, 0);
	*no_others = scan->complete;
	list.max = 256;
	list.rows = palloc(list.max * sizeof(OmenScanRow));
	if (scan->current != NULL && !list_item(&list, scan->current,
											scan->next_tid))
		return -1;
	if (!pairingheap_is_empty(scan->queue) &&
		!list_items(&list, scan->queue->ph_root))
		return -1;
	*rows = list.rows;
	return list.n;
}

/* An item of the queue, what is below it, and what comes beside it */
static bool
list_items(RowList *list, const pairingheap_node *node)
{
	check_stack_depth();
	for (; node != NULL; node = node->next_sibling)
	{
		if (!list_item(list, (const OmenScanItem *) node, 0) ||
			(node->first_child && !list_items(list, node->first_child)))
			return false;
	}
	return true;
}

/* Its rows from one on; false if they are in a list of their own */
static bool
list_item(RowList *list, const OmenScanItem *item, int from)
{
	if (item->more_tids != OMEN_LINK_INVALID)
		return false;
	for (int i = from; i < item->ntids; i++)
	{
		OmenScanRow *row;

		if (list->n == list->max)
		{
			list->max *= 2;
			list->rows = repalloc_huge(list->rows,
									   list->max * sizeof(OmenScanRow));
		}
		row = &list->rows[list->n++];
		row->tid = item->tids[i];
		row->lower = item->key;
		row->upper = item->exact ? item->key : item->upper;
	}
	return true;
}

void
omen_scan_move_queue(OmenScan *scan, MemoryContext context)
{
	pairingheap *queue = pairingheap_allocate(compare_items, NULL);

	while (!pairingheap_is_empty(scan->queue))
	{
		OmenScanItem *item = MemoryContextAlloc(context, sizeof(OmenScanItem));

		*item = *(OmenScanItem *) pairingheap_remove_first(scan->queue);
		pairingheap_add(queue, &item->node);
	}
	pairingheap_free(scan->queue);
	scan->queue = queue;
}

/* pairingheap puts the greatest first: turn the order round */
static int
compare_items(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const OmenScanItem *x = (const OmenScanItem *) a;
	const OmenScanItem *y = (const OmenScanItem *) b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;

	/* equal distances: in the order of TIDs, whatever the codes say */
	if (x->exact != y->exact)
		return x->exact ? -1 : 1;
	return -ItemPointerCompare((ItemPointer) &x->tids[0],
							   (ItemPointer) &y->tids[0]);
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
	if (omen_scan_is_filtered(scan) && scan->query)
		omen_scan_extend_filtered(scan);
	else if (scan->stage == OMEN_STAGE_PASS || !omen_scan_widen_walk(scan))
	{
		scan->stage = OMEN_STAGE_PASS;
		omen_scan_pass(scan);
	}
	return true;
}

/* Nodes that no stage has brought yet lie beyond this */
static float
settled_up_to(const OmenScan *scan)
{
	return Min(scan->within, scan->nreturned < scan->promised ?
			   get_float4_infinity() : scan->horizon);
}

/*
 * Are so many of the nodes dead that were looked at first, that the rows wanted
 * will not all be in the half of the pool that is settled?  Then the walk is
 * widened at once: what it finds later may lie before rows that were returned.
 */
static bool
is_too_narrow(const OmenScan *scan)
{
	int64		looked = scan->nreturned + scan->ngone;
	int64		dead = scan->ndead + scan->ngone;

	if (scan->broad || looked < NARROW_SAMPLE || dead * 3 < looked * 2 ||
		scan->promised == 0 || scan->stage != OMEN_STAGE_WALK ||
		!scan->params.exhaustive || omen_scan_is_filtered(scan))
		return false;
	return (int64) scan->params.k_hint * looked * NARROW_BREADTH >
		Max(looked - dead, 1) * omen_search_breadth(scan->search);
}

/* No other node can be nearer than this one */
static bool
is_certain(const OmenScan *scan, const OmenScanItem *item)
{
	const OmenScanItem *rival;

	if (item->exact || scan->params.heap == NULL)
		return true;
	if (scan->params.passes != NULL)
		return false;
	if (item->upper <= item->key)
		return true;
	if (pairingheap_is_empty(scan->queue))
		return item->upper <= settled_up_to(scan);
	rival = (const OmenScanItem *) pairingheap_first(scan->queue);
	return item->upper <= rival->key;
}

/*
 * False if the row does not pass: its exact distance is of no interest.  Of a
 * node with several, each is tested when it is returned.
 */
static bool
may_pass(OmenScan *scan, OmenScanItem *item)
{
	if (scan->params.passes == NULL || item->tested || item->ntids != 1 ||
		item->more_tids != OMEN_LINK_INVALID)
		return true;
	omen_scan_check_tid(scan, item, &item->tids[0]);
	item->tested = scan->params.passes(scan->params.passes_arg,
									   &item->tids[0]);
	return item->tested;
}

/* The next row of the node that is being returned */
static bool
current_next(OmenScan *scan, ItemPointer tid)
{
	OmenScanItem *item = scan->current;

	if (item == NULL)
		return false;
	while (scan->next_tid < item->ntids)
	{
		*tid = item->tids[scan->next_tid++];
		if (is_wanted(scan, item, tid))
			return true;
	}
	if (scan->next_tid == item->ntids && scan->list == NULL &&
		item->more_tids != OMEN_LINK_INVALID)
		scan->nlist = omen_hnsw_read_tids(&scan->store, item->link,
										  item->more_tids, &scan->list);
	while (scan->next_tid - item->ntids < scan->nlist)
	{
		*tid = scan->list[scan->next_tid++ - item->ntids];
		if (is_wanted(scan, item, tid))
			return true;
	}
	/* a node with a row that lives is none of the dead */
	if (scan->next_tid > 0 && scan->ndead_rows == scan->next_tid)
		scan->ndead++;
	if (scan->list)
		pfree(scan->list);
	scan->list = NULL;
	scan->current = NULL;
	return false;
}

static bool
is_wanted(OmenScan *scan, const OmenScanItem *item,
		  const ItemPointerData *tid)
{
	omen_scan_check_tid(scan, item, tid);
	return scan->params.passes == NULL || item->tested ||
		scan->params.passes(scan->params.passes_arg, tid);
}
