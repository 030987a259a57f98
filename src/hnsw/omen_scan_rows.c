/*-------------------------------------------------------------------------
 *
 * omen_scan_rows.c
 *	  Rows of the table that a scan looks up, or will soon.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/float.h"

#include "hnsw/omen_scan_state.h"

static void read_rows_ahead(OmenScan *scan);

/* The rows of the nearest nodes among those found: have them fetched */
void
omen_scan_find_rows_soon(OmenScan *scan, Size first)
{
	const OmenSearch *search = scan->search;
	float		far = get_float4_infinity();

	/* of a filtered walk, any may be returned, but there are few to fetch */
	if (!omen_scan_is_filtered(scan))
		far = search->npool == 0 ? 0 :
			search->pool[Min(search->npool, OMEN_ROWS_SOON) - 1].estimate;

	omen_scan_begin_soon(scan);
	for (Size i = first; i < search->nfound; i++)
	{
		const OmenFound *found = &search->found[i];

		if (found->own.estimate <= far && found->ntids > 0)
			omen_scan_add_soon(scan, found->own.estimate, &found->tids[0]);
	}
	omen_scan_fetch_soon(scan);
}

void
omen_scan_prefetch_nearest(OmenScan *scan, Size first, int n)
{
	const OmenSearch *search = scan->search;
	ItemPointerData tids[OMEN_ROWS_SOON];
	int			ntids = 0;
	float		far;

	if (search->npool == 0)
		return;
	far = search->pool[Min(search->npool, n) - 1].estimate;
	for (Size i = first; i < search->nfound; i++)
	{
		const OmenFound *found = &search->found[i];

		if (found->own.estimate > far || found->ntids == 0)
			continue;
		tids[ntids++] = found->tids[0];
		if (ntids == lengthof(tids))
		{
			omen_rows_prefetch(scan->hnsw, tids, ntids);
			ntids = 0;
		}
	}
	omen_rows_prefetch(scan->hnsw, tids, ntids);
}

void
omen_scan_begin_soon(OmenScan *scan)
{
	scan->nsoon = scan->nasked = scan->nlooked = 0;
	scan->most_soon = lengthof(scan->soon);
	if (omen_scan_is_filtered(scan))
		scan->most_soon = (int) Min(scan->most_soon,
									1.4 * scan->wanted_rows + 2);
}

void
omen_scan_add_soon(OmenScan *scan, float estimate, const ItemPointerData *tid)
{
	int			at = scan->nsoon;

	if (at < scan->most_soon)
		scan->nsoon++;
	else if (estimate < scan->soon[at - 1].estimate)
		at--;
	else
		return;
	for (; at > 0 && scan->soon[at - 1].estimate > estimate; at--)
		scan->soon[at] = scan->soon[at - 1];
	scan->soon[at].estimate = estimate;
	scan->soon[at].tid = *tid;
}

void
omen_scan_fetch_soon(OmenScan *scan)
{
	ItemPointerData tids[lengthof(scan->soon)];

	for (int i = 0; i < scan->nsoon; i++)
		tids[i] = scan->soon[i].tid;
	omen_rows_prefetch(scan->hnsw, tids, scan->nsoon);
	read_rows_ahead(scan);
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

void
omen_scan_pin_row(OmenScan *scan, IndexFetchTableData *fetch,
				  const ItemPointerData *tid)
{
	scan->nlooked++;
	read_rows_ahead(scan);
	omen_rows_pin(fetch, scan->hnsw, tid);
}

bool
omen_scan_verify(OmenScan *scan, OmenScanItem *item)
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
		omen_scan_check_tid(scan, item, &item->tids[i]);
		scan->counts.verified++;
		scan->nlooked++;
		read_rows_ahead(scan);
		visible = omen_rows_distance(scan->rows, &item->tids[i], &distance);
	}
	if (!visible && item->more_tids != OMEN_LINK_INVALID)
	{
		nlist = omen_hnsw_read_tids(&scan->store, item->link, item->more_tids,
									&list);
		for (int i = 0; i < nlist && !visible; i++)
		{
			omen_scan_check_tid(scan, item, &list[i]);
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

/* A row that there cannot be: past the table's end, the server sees a broken file */
void
omen_scan_check_tid(OmenScan *scan, const OmenScanItem *item,
					const ItemPointerData *tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (likely(block < scan->heap_blocks && ItemPointerIsValid(tid)) ||
		scan->params.heap == NULL)
		return;
	scan->heap_blocks = RelationGetNumberOfBlocks(scan->params.heap);
	if (block >= scan->heap_blocks || !ItemPointerIsValid(tid))
		omen_page_report_corrupt(scan->params.index,
								 omen_link_number(item->link) /
								 scan->hnsw->layout.slots_per_page,
								 "A node refers to rows that there cannot be.");
}
