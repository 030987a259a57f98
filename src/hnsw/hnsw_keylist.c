/*-------------------------------------------------------------------------
 *
 * hnsw_keylist.c
 *	  Key lists: nodes in the order of a key, see hnsw_column.h.
 *
 * The first code of each page is kept in memory, so that two pages of the list
 * tell where the codes of a range begin and end, and so how many there are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_column.h"

/* To find more ranges than this takes longer than to read the column */
#define MAX_RANGES	1000


static void load_heads(Relation index, OmenHnswIndex *hnsw);
static const uint64 *key_heads(const OmenHnswIndex *hnsw, int key);
static uint64 find_code(Relation index, OmenHnswIndex *hnsw, int key,
						uint64 code);
static int	first_not_below(const uint64 *codes, int n, uint64 code);
static void add_span(OmenKeySpans *spans, uint64 from, uint64 end);
static BlockNumber list_block(const OmenHnswIndex *hnsw, int key,
							  uint64 page);
static const OmenKeyListPageData *lock_page(Relation index,
											OmenHnswIndex *hnsw, int key,
											uint64 page, Buffer *buffer);

bool
omen_keylist_find(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeyCondition *condition, OmenKeySpans *spans)
{
	const OmenKeyRanges *ranges = &condition->possible;
	uint64		nvalues;

	if (!omen_keylist_exists(&hnsw->meta) ||
		condition->test == OMEN_KEY_HAS_MASK ||
		(condition->test == OMEN_KEY_IN_RANGES && ranges->n > MAX_RANGES))
		return false;
	load_heads(index, hnsw);
	nvalues = key_heads(hnsw, condition->key)[0];
	if (nvalues > hnsw->meta.built_nodes)
		omen_page_report_corrupt(index, hnsw->meta.list_heads,
								 "A list of keys has an impossible length.");

	spans->key = condition->key;
	spans->n = 0;
	spans->count = 0;
	spans->spans = palloc(Max(ranges->n, 1) * sizeof(OmenKeySpan));
	switch (condition->test)
	{
		case OMEN_KEY_IS_NULL:
			add_span(spans, nvalues, hnsw->meta.built_nodes);
			break;
		case OMEN_KEY_IS_NOT_NULL:
			add_span(spans, 0, nvalues);
			break;
		default:
			for (int i = 0; i < ranges->n; i++)
			{
				uint64		high = ranges->ranges[i].high;

				CHECK_FOR_INTERRUPTS();
				add_span(spans, find_code(index, hnsw, condition->key,
										  ranges->ranges[i].low),
						 high == PG_UINT64_MAX ? nvalues :
						 find_code(index, hnsw, condition->key, high + 1));
			}
			break;
	}
	return true;
}

void
omen_keylist_mark(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeySpans *spans, uint32 nbits, uint64 *bits)
{
	for (int i = 0; i < spans->n; i++)
	{
		uint64		at = spans->spans[i].from;

		while (at < spans->spans[i].end)
		{
			uint64		number = at / OMEN_KEYLIST_ENTRIES;
			uint64		end = Min(spans->spans[i].end,
								  (number + 1) * OMEN_KEYLIST_ENTRIES);
			Buffer		buffer;
			const OmenKeyListPageData *page;

			CHECK_FOR_INTERRUPTS();
			if (end < spans->spans[i].end)
				omen_page_prefetch_memory(list_block(hnsw, spans->key,
													 number + 1),
										  MAXALIGN(SizeOfPageHeaderData) +
										  offsetof(OmenKeyListPageData,
												   numbers),
										  sizeof(page->numbers), &hnsw->hints);
			page = lock_page(index, hnsw, spans->key, number, &buffer);
			for (; at < end; at++)
			{
				uint32		node = page->numbers[at % OMEN_KEYLIST_ENTRIES];

				if (unlikely(node >= nbits))
					omen_page_report_corrupt(index,
											 BufferGetBlockNumber(buffer),
											 "A list of keys refers to a node that is none.");
				bits[node / 64] |= UINT64CONST(1) << (node % 64);
			}
			omen_page_release(buffer);
		}
	}
}

static void
load_heads(Relation index, OmenHnswIndex *hnsw)
{
	MemoryContext old;

	if (hnsw->list_heads != NULL)
		return;
	old = MemoryContextSwitchTo(hnsw->context);
	hnsw->list_heads = omen_hnsw_read_data(index, hnsw->meta.list_heads,
										   omen_keylist_heads_size(&hnsw->meta));
	MemoryContextSwitchTo(old);
}

/* How many values are not NULL, then the first code of each page */
static const uint64 *
key_heads(const OmenHnswIndex *hnsw, int key)
{
	return hnsw->list_heads + (Size) key *
		(1 + omen_keylist_pages(&hnsw->meta));
}

/* The first entry whose code is not below this one, NULLs aside */
static uint64
find_code(Relation index, OmenHnswIndex *hnsw, int key, uint64 code)
{
	const uint64 *heads = key_heads(hnsw, key);
	uint64		nvalues = heads[0];
	int			npages = (int) ((nvalues + OMEN_KEYLIST_ENTRIES - 1) /
								OMEN_KEYLIST_ENTRIES);
	uint64		page = first_not_below(heads + 1, npages, code);
	uint64		at;
	Buffer		buffer;
	const OmenKeyListPageData *list;

	/* the page before may end with some of it */
	if (page == 0)
		return 0;
	page--;
	list = lock_page(index, hnsw, key, page, &buffer);
	at = page * OMEN_KEYLIST_ENTRIES;
	at += first_not_below(list->codes, (int) Min(OMEN_KEYLIST_ENTRIES,
												 nvalues - at), code);
	omen_page_release(buffer);
	return at;
}

static int
first_not_below(const uint64 *codes, int n, uint64 code)
{
	int			low = 0;
	int			high = n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (codes[middle] < code)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
add_span(OmenKeySpans *spans, uint64 from, uint64 end)
{
	if (from >= end)
		return;
	spans->spans[spans->n].from = from;
	spans->spans[spans->n++].end = end;
	spans->count += end - from;
}

static BlockNumber
list_block(const OmenHnswIndex *hnsw, int key, uint64 page)
{
	return hnsw->meta.list_start + (BlockNumber)
		(key * omen_keylist_pages(&hnsw->meta) + page);
}

static const OmenKeyListPageData *
lock_page(Relation index, OmenHnswIndex *hnsw, int key, uint64 page,
		  Buffer *buffer)
{
	*buffer = omen_page_read_hinted(index, list_block(hnsw, key, page),
									OMEN_PAGE_KEYLIST, OMEN_LOCK_SHARE,
									&hnsw->hints);
	return (const OmenKeyListPageData *)
		omen_page_content(BufferGetPage(*buffer));
}
