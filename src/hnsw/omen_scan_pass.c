/*-------------------------------------------------------------------------
 *
 * omen_scan_pass.c
 *	  Nodes measured one by one by their own codes: all that a pass comes to,
 *	  in the order of their numbers.
 *
 * NOTES
 *	  A pass brings the nearest nodes that no stage has brought before, so many
 *	  as scan->keep says or work_mem holds; the next one goes on where it ended.
 *	  Without a filter it reads all pages; with one, the slots of allowed nodes
 *	  only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "graph/numberset.h"
#include "hnsw/omen_scan_state.h"

/*
 * Slots whose lines are under way while one is measured: with 4 a node costs
 * 0.16 us, with 8 and more 0.13.
 */
#define SLOTS_AHEAD		10

/* By distance, and where that is equal by number */
static inline int
compare_entries(const OmenPassEntry *a, const OmenPassEntry *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

#define ST_SORT			sort_entries
#define ST_ELEMENT_TYPE OmenPassEntry
#define ST_COMPARE(a, b)	compare_entries(a, b)
#define ST_SCOPE		static
#define ST_DEFINE
#include "lib/sort_template.h"

static void pass_over_pages(OmenScan *scan, OmenPassItems *items);
static void pass_over_allowed(OmenScan *scan, OmenPassItems *items);
static void measure_page(OmenScan *scan, Buffer buffer, OmenPassItems *items);
static void prefetch_number(OmenScan *scan, uint32 number);
static void read_ahead(OmenScan *scan, const uint32 *numbers, int n);
static void measure_slot(OmenScan *scan, Buffer buffer, uint32 number,
						 OmenPassItems *items);
static bool is_new(const OmenScan *scan, uint32 number);
static bool is_wanted(const OmenScan *scan, const OmenPassItems *items,
					  uint32 number, float key);
static void finish_pass(OmenScan *scan, OmenPassItems *items);

void
omen_scan_pass(OmenScan *scan)
{
	OmenPassItems items;

	omen_scan_begin_pass(scan, &items, scan->keep);
	if (omen_scan_is_filtered(scan))
		pass_over_allowed(scan, &items);
	else
		pass_over_pages(scan, &items);
	finish_pass(scan, &items);
}

void
omen_scan_begin_pass(OmenScan *scan, OmenPassItems *items, int keep)
{
	MemoryContext context = AllocSetContextCreate(scan->context,
												  "omendb scan pass",
												  ALLOCSET_DEFAULT_SIZES);
	Size		size = sizeof(OmenScanItem) + sizeof(OmenPassEntry);
	int			most = Max(work_mem * (Size) 1024 / size / 2, 1024);

	Assert(scan->current == NULL);

	items->keep = keep == 0 ? most : Min(keep, most);
	items->items = MemoryContextAllocHuge(context, (Size) items->keep * 2 *
										  sizeof(OmenScanItem));
	items->entries = MemoryContextAllocHuge(context, (Size) items->keep * 2 *
											sizeof(OmenPassEntry));
	items->n = 0;
	items->nused = 0;
	items->cut = false;
	items->limit = get_float4_infinity();

	omen_scan_move_queue(scan, context);
	if (scan->pass_context != NULL)
		MemoryContextDelete(scan->pass_context);
	scan->pass_context = context;
}

static void
pass_over_pages(OmenScan *scan, OmenPassItems *items)
{
	Relation	index = scan->params.index;
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;

	omen_page_stream_begin(&pages, index, RelationGetNumberOfBlocks(index),
						   strategy);
	while ((buffer = omen_page_stream_next(&pages, OMEN_LOCK_SHARE, &kind)) !=
		   InvalidBuffer)
	{
		if (kind == OMEN_PAGE_NODE)
			measure_page(scan, buffer, items);
		omen_page_release(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	omen_page_stream_end(&pages);
	FreeAccessStrategy(strategy);
}

static void
pass_over_allowed(OmenScan *scan, OmenPassItems *items)
{
	const OmenAllowSet *allow = scan->params.allow;
	uint32	   *numbers = palloc(OMEN_NUMBER_BLOCK * sizeof(uint32));
	uint32		from = 0;
	int			n;

	while ((n = omen_scan_list_allowed(allow, &from, allow->nbits, numbers,
							 OMEN_NUMBER_BLOCK)) > 0)
		omen_scan_measure(scan, numbers, n, items);
	pfree(numbers);
}

int
omen_scan_list_allowed(const OmenAllowSet *allow, uint32 *from, uint32 end,
					   uint32 *numbers, int max)
{
	uint32		at = *from;
	uint32		limit = Min(end, allow->nbits);
	int			n = 0;

	while (at < limit)
	{
		uint32		word = at / 64;
		uint64		bits;

		omen_allow_need(allow, word);
		bits = allow->bits[word] & (~UINT64CONST(0) << (at % 64));
		for (; bits != 0; bits &= bits - 1)
		{
			uint32		number = word * 64 + pg_rightmost_one_pos64(bits);

			if (number >= limit)
				break;
			if (n == max)
			{
				*from = number;
				return n;
			}
			numbers[n++] = number;
		}
		at = (word + 1) * 64;
	}
	*from = end;
	return n;
}

static void
measure_page(OmenScan *scan, Buffer buffer, OmenPassItems *items)
{
	int			nslots = scan->hnsw->layout.slots_per_page;

	for (int i = 0; i < nslots; i++)
		measure_slot(scan, buffer, BufferGetBlockNumber(buffer) * nslots + i,
					 items);
}

void
omen_scan_measure(OmenScan *scan, const uint32 *numbers, int n,
				OmenPassItems *items)
{
	uint32		per_page = scan->hnsw->layout.slots_per_page;
	BlockNumber block = InvalidBlockNumber;
	Buffer		buffer = InvalidBuffer;

	for (int i = 0; i < Min(n, SLOTS_AHEAD); i++)
		prefetch_number(scan, numbers[i]);
	for (int i = 0; i < n; i++)
	{
		if (i + SLOTS_AHEAD < n)
			prefetch_number(scan, numbers[i + SLOTS_AHEAD]);
		if (numbers[i] / per_page != block)
		{
			if (BufferIsValid(buffer))
				omen_page_release(buffer);
			CHECK_FOR_INTERRUPTS();
			block = numbers[i] / per_page;
			if (unlikely(!omen_hnsw_has_block(&scan->store, block)))
				return;
			read_ahead(scan, numbers + i, n - i);
			buffer = omen_page_read_hinted(scan->params.index, block,
										   OMEN_PAGE_NODE, OMEN_LOCK_SHARE,
										   &scan->hnsw->hints);
		}
		measure_slot(scan, buffer, numbers[i], items);
	}
	if (BufferIsValid(buffer))
		omen_page_release(buffer);
}

static void
prefetch_number(OmenScan *scan, uint32 number)
{
	omen_hnsw_prefetch_own(&scan->store, omen_link_form(number, 0));
}

/* Where slots have to be read from disk: name the ones to come */
static void
read_ahead(OmenScan *scan, const uint32 *numbers, int n)
{
	Relation	index = scan->params.index;
	OmenBufferHints *hints = &scan->hnsw->hints;
	int			ahead = omen_page_ahead(index, hints);

	if (likely(ahead == 0))
		return;
	for (int i = 0; i < Min(n, ahead); i++)
	{
		BlockNumber block = numbers[i] / scan->hnsw->layout.slots_per_page;

		if (omen_hnsw_has_block(&scan->store, block))
			omen_page_read_ahead(index, block, hints);
	}
}

/* A slot of a NODE page, which is locked */
static void
measure_slot(OmenScan *scan, Buffer buffer, uint32 number,
			 OmenPassItems *items)
{
	const OmenHnswLayout *layout = &scan->hnsw->layout;
	OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
											number % layout->slots_per_page);
	OmenBounds	bounds = {0, 0, 0};
	bool		recheck;
	OmenPassEntry *entry;
	OmenScanItem *item;

	if ((slot->flags & OMEN_SLOT_KIND) != OMEN_SLOT_USED ||
		!omen_hnsw_allows(&scan->store, number, slot, &recheck) ||
		!is_new(scan, number))
		return;
	omen_hnsw_check_slot(scan->params.index, scan->hnsw, buffer, slot);
	if (scan->query)
	{
		bounds = omen_query_own(scan->query,
								omen_hnsw_slot_own(&scan->store, buffer, slot));
		scan->counts.distances++;
	}
	scan->counts.swept++;
	if (!is_wanted(scan, items, number, bounds.lower))
		return;
	if (items->n == items->keep * 2)
		omen_scan_cut_items(items);
	entry = &items->entries[items->n];
	if (items->n++ == items->nused)
		entry->item = &items->items[items->nused++];
	entry->key = bounds.lower;
	entry->number = number;
	item = entry->item;
	item->key = bounds.lower;
	item->upper = bounds.upper;
	item->exact = scan->query == NULL;
	item->recheck = recheck;
	item->tested = false;
	item->link = omen_link_form(number, slot->version);
	item->more_tids = slot->more_tids;
	item->ntids = slot->ntids;
	memcpy(item->tids, slot->tids, sizeof(item->tids));
}

/* Has no other stage brought this node? */
static bool
is_new(const OmenScan *scan, uint32 number)
{
	if (scan->search && omen_search_was_seen(scan->search, number))
		return false;
	return scan->brought == NULL ||
		omen_numberset_lookup(scan->brought, number) == NULL;
}

/* Beyond what earlier passes brought, and not beyond what this one can */
static bool
is_wanted(const OmenScan *scan, const OmenPassItems *items, uint32 number,
		  float key)
{
	if (key > items->limit)
		return false;
	return key > scan->cutoff_key ||
		(key == scan->cutoff_key && number > scan->cutoff_number);
}

void
omen_scan_cut_items(OmenPassItems *items)
{
	sort_entries(items->entries, items->n);
	if (items->n <= items->keep)
		return;
	items->n = items->keep;
	items->limit = items->entries[items->n - 1].key;
	items->cut = true;
}

static void
finish_pass(OmenScan *scan, OmenPassItems *items)
{
	omen_scan_cut_items(items);
	scan->promised = 0;
	scan->complete = !items->cut;
	scan->horizon = items->cut ? items->limit : get_float4_infinity();
	if (items->n > 0)
	{
		scan->cutoff_key = items->entries[items->n - 1].key;
		scan->cutoff_number = items->entries[items->n - 1].number;
	}
	omen_scan_queue_items(scan, items);
}

void
omen_scan_queue_items(OmenScan *scan, OmenPassItems *items)
{
	omen_scan_begin_soon(scan);
	for (int i = 0; i < items->n; i++)
	{
		OmenScanItem *item = items->entries[i].item;

		pairingheap_add(scan->queue, &item->node);
		if (item->ntids > 0)
			omen_scan_add_soon(scan, item->key, &item->tids[0]);
	}
	omen_scan_fetch_soon(scan);
}
