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

/*
 * Nodes are numbered cluster by cluster: of a key that goes with the vectors,
 * whole words of bits follow each other in its list.  So many entries whose
 * first and last number are as far apart are a run.
 */
#define RUN_LENGTH		64

/* Places of a list that tell whether it is made of runs */
#define RUN_SAMPLE		4

/*
 * One number after the other sets bits of the same word, and waits for the one
 * before.  If so many entries are not farther apart than this, their bits are
 * put together before; else as many parts, each from its own place on, do not
 * wait.
 */
#define DENSE_SPAN		(RUN_LENGTH * 8)
#define MARK_STREAMS	4

/* Of a page's numbers, to be asked for before: the CPU goes on by itself */
#define FIRST_BYTES		512

static void report_no_node(Relation index, Buffer buffer);
static inline bool is_run(const uint32 *numbers);
static bool has_one_code(const OmenHnswIndex *hnsw, int key, uint64 page);
static bool mark_numbers(const uint32 *numbers, int n, bool ascend,
						 uint32 nbits, uint64 *bits);
static void mark_run(uint32 number, uint64 *bits);
static bool mark_dense(const uint32 *numbers, uint32 nbits, uint64 *bits);
static inline bool mark_word(uint32 word, uint64 set, uint32 nbits,
							 uint64 *bits);
static inline bool mark_number(uint32 number, uint32 nbits, uint64 *bits);
static uint64 page_problems(Relation index, OmenHnswIndex *hnsw, int key,
							uint32 page);
static bool is_right(Relation index, OmenHnswIndex *hnsw, int key,
					 uint32 number, bool null, uint64 code);
static void refresh_all(Relation index, OmenHnswIndex *hnsw);
static void load_heads(Relation index, OmenHnswIndex *hnsw);
static const uint64 *key_heads(const OmenHnswIndex *hnsw, int key);
static uint64 find_code(Relation index, OmenHnswIndex *hnsw, int key,
						uint64 code);
static int	first_not_below(const uint64 *codes, int n, uint64 code);
static void add_span(OmenKeySpans *spans, uint64 from, uint64 end);
static BlockNumber list_block(const OmenHnswIndex *hnsw, int key,
							  uint64 page);
static Size number_offset(uint64 entry);
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
										  number_offset(0),
										  FIRST_BYTES, &hnsw->hints);
			page = lock_page(index, hnsw, spans->key, number, &buffer);
			if (!mark_numbers(page->numbers + at % OMEN_KEYLIST_ENTRIES,
							  (int) (end - at),
							  has_one_code(hnsw, spans->key, number), nbits,
							  bits))
				report_no_node(index, buffer);
			at = end;
			omen_page_release(buffer);
		}
	}
}

int
omen_keylist_sample(Relation index, OmenHnswIndex *hnsw,
					const OmenKeySpans *spans, uint32 nbits, uint32 *numbers,
					int max)
{
	double		step = Max(spans->count / max, 1);
	double		next = step / 2;	/* counted over all spans */
	double		before = 0;
	uint64	   *entries = palloc(max * sizeof(uint64));
	int			n = 0;

	for (int i = 0; i < spans->n; i++)
	{
		const OmenKeySpan *span = &spans->spans[i];
		double		length = span->end - span->from;

		for (; next < before + length && n < max; next += step)
		{
			uint64		entry = span->from + (uint64) (next - before);

			omen_page_prefetch_memory(list_block(hnsw, spans->key, entry /
												 OMEN_KEYLIST_ENTRIES),
									  number_offset(entry), sizeof(uint32),
									  &hnsw->hints);
			entries[n++] = entry;
		}
		before += length;
	}
	for (int i = 0; i < n; i++)
	{
		Buffer		buffer;
		const OmenKeyListPageData *page;

		CHECK_FOR_INTERRUPTS();
		page = lock_page(index, hnsw, spans->key,
						 entries[i] / OMEN_KEYLIST_ENTRIES, &buffer);
		numbers[i] = page->numbers[entries[i] % OMEN_KEYLIST_ENTRIES];
		if (unlikely(numbers[i] >= nbits))
			report_no_node(index, buffer);
		omen_page_release(buffer);
	}
	pfree(entries);
	return n;
}

static void
report_no_node(Relation index, Buffer buffer)
{
	omen_page_report_corrupt(index, BufferGetBlockNumber(buffer),
							 "A list of keys refers to a node that is none.");
}

double
omen_keylist_run_share(Relation index, OmenHnswIndex *hnsw,
					   const OmenKeySpans *spans)
{
	int			nruns = 0;
	int			n = 0;

	for (int i = 0; i < RUN_SAMPLE; i++)
	{
		const OmenKeySpan *span = &spans->spans[(int64) spans->n * i / RUN_SAMPLE];
		uint64		entry = span->from + (span->end - span->from) *
			(2 * i + 1) / (2 * RUN_SAMPLE);
		int			at = (int) (entry % OMEN_KEYLIST_ENTRIES);
		Buffer		buffer;
		const OmenKeyListPageData *page;

		at = Min(at, (int) OMEN_KEYLIST_ENTRIES - RUN_LENGTH);
		if (span->end - (entry - entry % OMEN_KEYLIST_ENTRIES) <
			at + RUN_LENGTH)
			continue;
		page = lock_page(index, hnsw, spans->key,
						 entry / OMEN_KEYLIST_ENTRIES, &buffer);
		nruns += is_run(page->numbers + at);
		n++;
		omen_page_release(buffer);
	}
	return n == 0 ? 0 : (double) nruns / n;
}

/* Numbers of a block, of entries that all have the same code and so ascend */
static inline bool
is_run(const uint32 *numbers)
{
	return numbers[0] < numbers[RUN_LENGTH - 1] &&
		numbers[RUN_LENGTH - 1] - numbers[0] == RUN_LENGTH - 1;
}

/* Have all entries of a page the same code? */
static bool
has_one_code(const OmenHnswIndex *hnsw, int key, uint64 page)
{
	const uint64 *heads = key_heads(hnsw, key);

	return (page + 1) * OMEN_KEYLIST_ENTRIES < heads[0] &&
		heads[1 + page] == heads[2 + page];
}

/* Set the bits of n numbers; false if one of them has none */
static bool
mark_numbers(const uint32 *numbers, int n, bool ascend, uint32 nbits,
			 uint64 *bits)
{
	bool		good = true;
	int			at = 0;

	for (; at + RUN_LENGTH <= n; at += RUN_LENGTH)
	{
		const uint32 *block = numbers + at;
		uint32		last = block[RUN_LENGTH - 1];

		if (ascend && is_run(block) && last < nbits)
			mark_run(block[0], bits);
		else if (last - block[0] < DENSE_SPAN)
			good &= mark_dense(block, nbits, bits);
		else
		{
			for (int i = 0; i < RUN_LENGTH / MARK_STREAMS; i++)
			{
				for (int j = 0; j < MARK_STREAMS; j++)
					good &= mark_number(block[j * (RUN_LENGTH / MARK_STREAMS) + i],
										nbits, bits);
			}
		}
	}
	for (; at < n; at++)
		good &= mark_number(numbers[at], nbits, bits);
	return good;
}

/* RUN_LENGTH bits from this number on, which are those of one word or of two */
static void
mark_run(uint32 number, uint64 *bits)
{
	uint32		shift = number % 64;

	bits[number / 64] |= ~UINT64CONST(0) << shift;
	if (shift != 0)
		bits[number / 64 + 1] |= ~UINT64CONST(0) >> (64 - shift);
}

/* A block of numbers of few words, each of which is written once */
static bool
mark_dense(const uint32 *numbers, uint32 nbits, uint64 *bits)
{
	uint32		word = numbers[0] / 64;
	uint64		set = 0;

	for (int i = 0; i < RUN_LENGTH; i++)
	{
		if (numbers[i] / 64 != word)
		{
			if (unlikely(!mark_word(word, set, nbits, bits)))
				return false;
			word = numbers[i] / 64;
			set = 0;
		}
		set |= UINT64CONST(1) << (numbers[i] % 64);
	}
	return mark_word(word, set, nbits, bits);
}

/* False if there is no such word, or it is the last and has no such bits */
static inline bool
mark_word(uint32 word, uint64 set, uint32 nbits, uint64 *bits)
{
	if (unlikely(word >= nbits / 64) &&
		(word > nbits / 64 || set >> nbits % 64 != 0))
		return false;
	bits[word] |= set;
	return true;
}

static inline bool
mark_number(uint32 number, uint32 nbits, uint64 *bits)
{
	if (unlikely(number >= nbits))
		return false;
	bits[number / 64] |= UINT64CONST(1) << (number % 64);
	return true;
}

/*
 * Each entry's code is the column's, they are in order, and there are as many
 * as nodes: so none is missing.
 */
uint64
omen_keylist_problems(Relation index, OmenHnswIndex *hnsw)
{
	uint64		problems = 0;

	if (!omen_keylist_exists(&hnsw->meta))
		return 0;
	load_heads(index, hnsw);
	refresh_all(index, hnsw);
	for (int key = 0; key < hnsw->meta.nkeys; key++)
	{
		for (uint32 page = 0; page < omen_keylist_pages(&hnsw->meta); page++)
			problems += page_problems(index, hnsw, key, page);
	}
	return problems;
}

static uint64
page_problems(Relation index, OmenHnswIndex *hnsw, int key, uint32 page)
{
	uint64		first = (uint64) page * OMEN_KEYLIST_ENTRIES;
	uint64		nvalues = key_heads(hnsw, key)[0];
	uint32		n = Min(OMEN_KEYLIST_ENTRIES, hnsw->meta.built_nodes - first);
	OmenKeyListPageData *copy = palloc(sizeof(OmenKeyListPageData));
	uint64		problems = 0;
	Buffer		buffer;

	CHECK_FOR_INTERRUPTS();
	memcpy(copy, lock_page(index, hnsw, key, page, &buffer), sizeof(*copy));
	omen_page_release(buffer);
	problems += key_heads(hnsw, key)[1 + page] != copy->codes[0];
	for (uint32 i = n; i < OMEN_KEYLIST_ENTRIES; i++)
		problems += copy->codes[i] != 0 || copy->numbers[i] != 0;
	for (uint32 i = 0; i < n; i++)
	{
		/* of what was built, the first node has number range_first */
		problems += copy->numbers[i] < hnsw->meta.range_first ||
			copy->numbers[i] - hnsw->meta.range_first >=
			hnsw->meta.built_nodes;

		/* by code, then by number; NULLs are all 0, and begin anew */
		problems += i > 0 && first + i != nvalues &&
			(copy->codes[i - 1] > copy->codes[i] ||
			 (copy->codes[i - 1] == copy->codes[i] &&
			  copy->numbers[i - 1] >= copy->numbers[i]));
		problems += !is_right(index, hnsw, key, copy->numbers[i],
							  first + i >= nvalues, copy->codes[i]);
	}
	pfree(copy);
	return problems;
}

/* Has the column this key of a node, or is it newer, if only by now? */
static bool
is_right(Relation index, OmenHnswIndex *hnsw, int key, uint32 number,
		 bool null, uint64 code)
{
	if (omen_column_is_newer(hnsw, omen_column_chunk(number), key) ||
		omen_column_has_key(index, hnsw, number, key, null, code))
		return true;
	refresh_all(index, hnsw);
	return omen_column_is_newer(hnsw, omen_column_chunk(number), key);
}

static void
refresh_all(Relation index, OmenHnswIndex *hnsw)
{
	uint64		numbers = (uint64) RelationGetNumberOfBlocks(index) *
		hnsw->layout.slots_per_page;

	omen_column_refresh(index, hnsw, omen_column_chunk(numbers) + 1);
}

static void
load_heads(Relation index, OmenHnswIndex *hnsw)
{
	MemoryContext old;

	if (hnsw->list_heads != NULL)
		return;
	old = MemoryContextSwitchTo(hnsw->kept.context);
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

/* Of an entry's node number in its page */
static Size
number_offset(uint64 entry)
{
	return MAXALIGN(SizeOfPageHeaderData) +
		offsetof(OmenKeyListPageData, numbers) +
		entry % OMEN_KEYLIST_ENTRIES * sizeof(uint32);
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
