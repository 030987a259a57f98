/*-------------------------------------------------------------------------
 *
 * bm25_allow.c
 *	  Which documents of a segment are rows that a scan may return.
 *
 * NOTES
 *	  Documents ascend by TID, as allowed rows do: they are merged, page of
 *	  ROWS by page.  Where many rows are allowed, each costs a cache miss or
 *	  two that way.  So once a backend has looked up a good many, it makes of
 *	  all ROWS where the documents of each block of the table begin, and keeps
 *	  that (OmenBm25Places).  Most blocks have no gaps: rows 1, 2, and so on
 *	  are their documents, one after the other, and need no look at ROWS.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "bm25/bm25_view.h"
#include "bm25/omen_text_scan.h"

/* Rows are read so far ahead of the one that is looked for */
#define PREFETCH_ROWS	8

/* A page of ROWS, locked */
typedef struct RowPage
{
	Buffer		buffer;
	const ItemPointerData *rows;
	int			n;
	uint64		last;			/* of them */
	uint64		first_block;	/* of the table, that they are in */
	double		per_block;		/* rows, on average */
} RowPage;

/* A look at rows one by one, of which many are on one page */
typedef struct Placed
{
	OmenBm25Docs *docs;
	uint32		page;			/* locked, or PG_UINT32_MAX */
	RowPage		rows;
} Placed;

static void allow_placed_rows(const OmenTextAllow *allow, OmenBm25Docs *docs,
							  const OmenBm25Places *places, uint64 *bits);
static bool find_placed(Placed *placed, uint64 row, uint32 *doc, uint32 end);
static uint64 placed_row(Placed *placed, uint32 doc);
static void allow_placed_blocks(const OmenTextAllow *allow,
								const OmenBm25Places *places, uint64 *bits);
static void allow_rows(const OmenTextAllow *allow, OmenBm25Docs *docs,
					   uint64 *bits);
static uint32 last_page_before(OmenBm25Docs *docs, uint32 page, uint32 npages,
							   uint64 wanted);
static uint64 allow_rows_of_page(const OmenTextAllow *allow, uint64 next,
								 OmenBm25Docs *docs, uint32 page,
								 uint64 *bits);
static void lock_rows(RowPage *page, OmenBm25Docs *docs, uint32 number);
static void prefetch_row(const RowPage *page, const ItemPointerData *tid);
static int	guess_place(const RowPage *page, uint64 row);
static int	find_row(const RowPage *page, int from, uint64 wanted);
static void allow_range(OmenBm25Docs *docs, uint64 *bits, uint64 from,
						uint64 to);

uint64 *
omen_bm25_allow_docs(const OmenTextAllow *allow, OmenBm25Docs *docs, uint32 *n)
{
	uint32		ndocs = docs->segment->data->ndocs;
	Size		words = ((Size) ndocs + 63) / 64;
	uint64	   *bits = palloc_extended(words * sizeof(uint64),
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	const OmenBm25Places *places =
		omen_bm25_docs_places(docs, allow->nrows + allow->nblocks);

	if (places)
	{
		allow_placed_rows(allow, docs, places, bits);
		allow_placed_blocks(allow, places, bits);
	}
	else
	{
		allow_rows(allow, docs, bits);
		for (uint32 i = 0; i < allow->nblocks; i++)
			allow_range(docs, bits, (uint64) allow->blocks[i] << 16,
						((uint64) allow->blocks[i] + 1) << 16);
	}
	*n = 0;
	for (Size i = 0; i < words; i++)
		*n += pg_popcount64(bits[i]);
	return bits;
}

/* --- by what is kept of the blocks of the table --- */

static void
allow_placed_rows(const OmenTextAllow *allow, OmenBm25Docs *docs,
				  const OmenBm25Places *places, uint64 *bits)
{
	Placed		placed = {.docs = docs,.page = PG_UINT32_MAX};

	for (uint64 i = 0; i < allow->nrows; i++)
	{
		const ItemPointerData *tid = &allow->rows[i];
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
		OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
		uint32		doc;
		uint32		end;

		if (block < places->first || offset == 0)
			continue;
		block -= places->first;
		if (block >= places->nblocks)
			continue;
		doc = omen_bm25_place(places, block);
		end = omen_bm25_place(places, block + 1);
		if (omen_bm25_has_gaps(places, block) ?
			!find_placed(&placed, omen_tid_row(tid), &doc, end) :
			(doc += offset - 1) >= end)
			continue;
		bits[doc / 64] |= UINT64CONST(1) << (doc % 64);
	}
	if (placed.page != PG_UINT32_MAX)
		omen_page_release(placed.rows.buffer);
}

/*
 * Of documents *doc to end - 1, all those of a block, the one with a row, into
 * *doc.  Offsets ascend from 1: it is no further than its offset says.
 */
static bool
find_placed(Placed *placed, uint64 row, uint32 *doc, uint32 end)
{
	uint32		start = *doc;
	uint32		last = start + (uint32) (row & 0xFFFF);

	for (uint32 at = Min(end, last); at > start; at--)
	{
		uint64		found = placed_row(placed, at - 1);

		*doc = at - 1;
		if (found <= row)
			return found == row;
	}
	return false;
}

/* The row of a document; leaves its page locked */
static uint64
placed_row(Placed *placed, uint32 doc)
{
	uint32		page = doc / OMEN_BM25_ROWS_PER_PAGE;

	if (placed->page != page)
	{
		if (placed->page != PG_UINT32_MAX)
			omen_page_release(placed->rows.buffer);
		placed->page = PG_UINT32_MAX;
		CHECK_FOR_INTERRUPTS();
		lock_rows(&placed->rows, placed->docs, page);
		placed->page = page;
	}
	return omen_tid_row(&placed->rows.rows[doc % OMEN_BM25_ROWS_PER_PAGE]);
}

static void
allow_placed_blocks(const OmenTextAllow *allow, const OmenBm25Places *places,
					uint64 *bits)
{
	for (uint32 i = 0; i < allow->nblocks; i++)
	{
		BlockNumber block = allow->blocks[i] - places->first;

		if (allow->blocks[i] < places->first || block >= places->nblocks)
			continue;
		for (uint32 doc = omen_bm25_place(places, block);
			 doc < omen_bm25_place(places, block + 1); doc++)
			bits[doc / 64] |= UINT64CONST(1) << (doc % 64);
	}
}

/* --- by a look at the rows of the segment --- */

static void
allow_rows(const OmenTextAllow *allow, OmenBm25Docs *docs, uint64 *bits)
{
	uint32		npages = (docs->segment->data->ndocs - 1) /
		OMEN_BM25_ROWS_PER_PAGE + 1;
	uint64		next = 0;

	for (uint32 page = 0; next < allow->nrows && page < npages; page++)
	{
		uint64		before = next;

		CHECK_FOR_INTERRUPTS();
		next = allow_rows_of_page(allow, next, docs, page, bits);
		if (next == before)
			page = last_page_before(docs, page, npages,
									omen_tid_row(&allow->rows[next]));
	}
}

/*
 * Of pages whose rows ascend, from one on that does, the last that has no row
 * as far as another
 */
static uint32
last_page_before(OmenBm25Docs *docs, uint32 page, uint32 npages, uint64 wanted)
{
	uint32		step = 1;

	/* most often it is the first */
	while (step < npages - page &&
		   omen_bm25_docs_last_row(docs, page + step) < wanted)
	{
		page += step;
		step *= 2;
	}
	npages = Min(npages, page + step);
	while (npages - page > 1)
	{
		uint32		middle = page + (npages - page) / 2;

		if (omen_bm25_docs_last_row(docs, middle) < wanted)
			page = middle;
		else
			npages = middle;
	}
	return page;
}

/*
 * Those of a page; returns the first allowed row behind it.  Few rows of many
 * pages are looked at, and seldom twice: pages are not copied, and what is
 * going to be looked at is fetched into the cache.
 */
static uint64
allow_rows_of_page(const OmenTextAllow *allow, uint64 next, OmenBm25Docs *docs,
				   uint32 page, uint64 *bits)
{
	RowPage		rows;
	uint32		first = page * OMEN_BM25_ROWS_PER_PAGE;
	int			at = 0;

	lock_rows(&rows, docs, page);
	for (; next < allow->nrows; next++)
	{
		uint64		wanted = omen_tid_row(&allow->rows[next]);
		uint32		doc;

		if (wanted > rows.last)
			break;
		if (next + PREFETCH_ROWS < allow->nrows)
			prefetch_row(&rows, &allow->rows[next + PREFETCH_ROWS]);
		at = find_row(&rows, at, wanted);
		doc = first + at;
		if (omen_tid_row(&rows.rows[at]) == wanted)
			bits[doc / 64] |= UINT64CONST(1) << (doc % 64);
	}
	omen_page_release(rows.buffer);
	return next;
}

static void
lock_rows(RowPage *page, OmenBm25Docs *docs, uint32 number)
{
	uint64		last_block;

	page->rows = omen_bm25_docs_lock_rows(docs, number, &page->n,
										  &page->buffer);
	page->last = omen_tid_row(&page->rows[page->n - 1]);
	page->first_block = omen_tid_row(&page->rows[0]) >> 16;
	last_block = page->last >> 16;
	page->per_block = page->n / (1.0 + last_block - page->first_block);
}

static void
prefetch_row(const RowPage *page, const ItemPointerData *tid)
{
	__builtin_prefetch(&page->rows[guess_place(page, omen_tid_row(tid))]);
}

/* Where a row would be if all blocks of the table had as many */
static int
guess_place(const RowPage *page, uint64 row)
{
	double		blocks = (double) (int64) ((row >> 16) - page->first_block);

	return (int) Min(Max(blocks * page->per_block, 0), page->n - 1);
}

/*
 * The first row, from one on, that is not below another, which is no further
 * than the last
 */
static int
find_row(const RowPage *page, int from, uint64 wanted)
{
	const ItemPointerData *rows = page->rows;
	int			guess = Max(guess_place(page, wanted), from);
	int			end = guess;
	int			step = 1;

	if (omen_tid_row(&rows[guess]) < wanted)
	{
		from = guess + 1;
		end = Min(from + step, page->n) - 1;
		while (omen_tid_row(&rows[end]) < wanted)
		{
			from = end + 1;
			step *= 2;
			end = Min(from + step, page->n) - 1;
		}
	}
	else
	{
		while (step <= end - from &&
			   omen_tid_row(&rows[end - step]) >= wanted)
		{
			end -= step;
			step *= 2;
		}
		from = Max(from, end - step + 1);
	}
	while (from < end)
	{
		int			middle = (from + end) / 2;

		if (omen_tid_row(&rows[middle]) < wanted)
			from = middle + 1;
		else
			end = middle;
	}
	return from;
}

/* Rows from one on, below another */
static void
allow_range(OmenBm25Docs *docs, uint64 *bits, uint64 from, uint64 to)
{
	for (uint32 doc = omen_bm25_docs_seek(docs, from);
		 doc < docs->segment->data->ndocs &&
		 omen_bm25_doc_ops.row(docs, doc) < to; doc++)
		bits[doc / 64] |= UINT64CONST(1) << (doc % 64);
}

/* --- one row --- */

bool
omen_bm25_allows_row(const OmenTextAllow *allow, uint64 row)
{
	uint64		low = 0;
	uint64		high;

	if (allow == NULL)
		return true;
	high = allow->nrows;
	while (low < high)
	{
		uint64		middle = (low + high) / 2;

		if (omen_tid_row(&allow->rows[middle]) < row)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < allow->nrows && omen_tid_row(&allow->rows[low]) == row)
		return true;
	low = 0;
	high = allow->nblocks;
	while (low < high)
	{
		uint64		middle = (low + high) / 2;

		if (allow->blocks[middle] < row >> 16)
			low = middle + 1;
		else
			high = middle;
	}
	return low < allow->nblocks && allow->blocks[low] == row >> 16;
}
