/*-------------------------------------------------------------------------
 *
 * bm25_segment.c
 *	  Reading segments: what they are made of, and their documents.
 *
 * NOTES
 *	  A segment does not change once it is published, but for the bits of dead
 *	  documents.  When it has been merged into another its pages get other
 *	  owners, perhaps while somebody reads it: so every page is checked under
 *	  its lock (B1), and what is needed of it is copied.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "bm25/bm25.h"

static OmenBm25Segment *load_segment(Relation index, OmenBm25Index *bm25,
									 const OmenBm25SegmentEntryData *entry);
static int	find_kept(const OmenBm25Index *bm25, uint32 id);
static void copy_segment(OmenBm25Segment *to, const OmenBm25Segment *from,
						 MemoryContext context);
static OmenBm25SegmentHeaderData *read_header(Relation index,
											  OmenBm25Index *bm25,
											  const OmenBm25SegmentEntryData *entry);
static bool is_header_valid(const OmenBm25SegmentHeaderData *data,
							const OmenBm25SegmentEntryData *entry);
static void forget_segments(OmenBm25Index *bm25);
static void copy_page(OmenBm25Docs *docs, uint32 page, OmenPageKind kind,
					  void *to);
static OmenBm25KeptSegment *get_kept(const OmenBm25Docs *docs);
static OmenBm25KeptSegment *keep_lengths(OmenBm25Docs *docs);
static OmenBm25Places *make_places(OmenBm25Docs *docs, BlockNumber first,
								   uint32 nblocks, Size size);
static pg_attribute_noreturn() void report_disorder(const OmenBm25Docs *docs);
static const uint16 *get_slice(OmenBm25Docs *docs, uint32 doc, uint32 *first,
							   uint32 *end);
static void copy_lengths(OmenBm25Docs *docs, uint32 first, uint32 end,
						 uint16 *to);
static const uint16 *get_lengths(void *docs, uint32 doc, uint32 *first,
								 uint32 *end);
static uint32 get_long_length(void *docs, uint32 doc);
static uint32 find_long(OmenBm25Docs *docs, uint32 page, uint32 doc);
static void copy_longs(OmenBm25Docs *docs, uint32 page);
static bool is_live(void *docs, uint32 doc);
static uint64 get_row(void *docs, uint32 doc);
static void near_page(OmenBm25Docs *docs, uint64 row, uint32 *low,
					  uint32 *high);

const OmenDocOps omen_bm25_doc_ops = {
	.lengths = get_lengths,
	.long_length = get_long_length,
	.live = is_live,
	.row = get_row,
};

/* Lengths that a backend keeps of an index, in bytes: 8 million documents */
#define MAX_KEPT_LENGTHS	((Size) 16 * 1024 * 1024)

/*
 * The same of places, for 2 million blocks of tables.  To make them takes as
 * long as to look up one row of so many that there are: then that has been
 * done, too.
 */
#define MAX_KEPT_PLACES		((Size) 8 * 1024 * 1024)
#define ROWS_PER_LOOK_UP	200

/* Of larger ones, lengths that are copied at a time */
#define LENGTHS_PER_SLICE	509

StaticAssertDecl(OMEN_BM25_LENGTHS_PER_PAGE % LENGTHS_PER_SLICE == 0,
				 "slices of lengths must not cross pages");

/* Segments that a backend keeps before it forgets them */
#define MAX_KEPT	(2 * OMEN_BM25_MAX_SEGMENTS)

OmenBm25Segment *
omen_bm25_find_segment(Relation index, OmenBm25Index *bm25,
					   const OmenBm25SegmentEntryData *entry)
{
	int			kept = find_kept(bm25, entry->id);
	OmenBm25Segment *segment;

	if (kept < 0)
		return load_segment(index, bm25, entry);

	/* numbers are never used again, so what is kept is what it was */
	if (bm25->segments[kept].segment.header != entry->header ||
		!is_header_valid(bm25->segments[kept].segment.data, entry))
		omen_page_report_corrupt(index, OMEN_BM25_META_BLOCK,
								 "Two segments have the same number.");
	segment = palloc(sizeof(*segment));
	copy_segment(segment, &bm25->segments[kept].segment, CurrentMemoryContext);
	return segment;
}

static int
find_kept(const OmenBm25Index *bm25, uint32 id)
{
	for (int i = 0; i < bm25->nsegments; i++)
	{
		if (bm25->segments[i].segment.data->id == id)
			return i;
	}
	return -1;
}

/* Read a segment's description, and keep it */
static OmenBm25Segment *
load_segment(Relation index, OmenBm25Index *bm25,
			 const OmenBm25SegmentEntryData *entry)
{
	OmenBm25Segment *segment = palloc(sizeof(*segment));

	segment->data = read_header(index, bm25, entry);
	segment->header = entry->header;
	if (bm25->segments == NULL)
		bm25->segments = MemoryContextAlloc(bm25->kept.context,
											MAX_KEPT * sizeof(*bm25->segments));
	if (bm25->nsegments == MAX_KEPT)
		forget_segments(bm25);
	copy_segment(&bm25->segments[bm25->nsegments].segment, segment,
				 bm25->kept.context);
	bm25->segments[bm25->nsegments].lengths = NULL;
	bm25->segments[bm25->nsegments].places = NULL;
	bm25->segments[bm25->nsegments].looked_up = 0;
	bm25->nsegments++;
	return segment;
}

static void
copy_segment(OmenBm25Segment *to, const OmenBm25Segment *from,
			 MemoryContext context)
{
	Size		size = offsetof(OmenBm25SegmentHeaderData, runs) +
		from->data->nruns * sizeof(OmenBm25RunData);

	to->header = from->header;
	to->data = MemoryContextAlloc(context, size);
	memcpy(to->data, from->data, size);
}

/* The header with all its runs, palloc'd */
static OmenBm25SegmentHeaderData *
read_header(Relation index, OmenBm25Index *bm25,
			const OmenBm25SegmentEntryData *entry)
{
	OmenBm25SegmentHeaderData *data = NULL;
	BlockNumber block = entry->header;
	uint32		nruns = 0;

	do
	{
		Buffer		buffer = omen_page_read_owned(index, block,
												  OMEN_PAGE_SEGMENT, entry->id,
												  OMEN_LOCK_SHARE,
												  &bm25->hints);
		Page		page;
		OmenBm25SegmentHeaderData *part;
		uint32		n;

		if (!BufferIsValid(buffer))
			omen_bm25_report_segment(index, entry->id, block);
		page = BufferGetPage(buffer);
		part = (OmenBm25SegmentHeaderData *) omen_page_content(page);
		if (data == NULL)
		{
			if (!is_header_valid(part, entry))
				omen_page_report_corrupt(index, block,
										 "The description of a segment is impossible.");
			data = palloc(offsetof(OmenBm25SegmentHeaderData, runs) +
						  part->nruns * sizeof(OmenBm25RunData));
			memcpy(data, part, offsetof(OmenBm25SegmentHeaderData, runs));
		}
		n = Min(data->nruns - nruns, OMEN_BM25_RUNS_PER_PAGE);
		memcpy(data->runs + nruns, part->runs, n * sizeof(OmenBm25RunData));
		nruns += n;
		block = omen_page_opaque(page)->next;
		omen_page_release(buffer);
	} while (nruns < data->nruns && BlockNumberIsValid(block));

	if (nruns < data->nruns)
		omen_page_report_corrupt(index, entry->header,
								 "The list of a segment's pages ends early.");
	return data;
}

static bool
is_header_valid(const OmenBm25SegmentHeaderData *data,
				const OmenBm25SegmentEntryData *entry)
{
	return data->id == entry->id && data->ndocs == entry->ndocs &&
		data->ndocs > 0 && data->ndocs <= OMEN_MAX_DOC &&
		data->nruns > 0 && data->nruns <= data->npages &&
		data->dict_root < data->npages && data->dict_first < data->npages &&
		data->lengths < data->npages && data->long_lengths < data->npages &&
		data->rows < data->npages && data->alive < data->npages;
}

/* Whoever is at one of them sees it by times_forgotten */
static void
forget_segments(OmenBm25Index *bm25)
{
	for (int i = 0; i < bm25->nsegments; i++)
	{
		OmenBm25KeptSegment *kept = &bm25->segments[i];

		pfree(kept->segment.data);
		if (kept->places)
			pfree(kept->places);
		if (kept->lengths == NULL)
			continue;
		pfree(kept->lengths);
		pfree(kept->loaded);
	}
	bm25->nsegments = 0;
	bm25->kept_lengths = bm25->kept_places = 0;
	bm25->times_forgotten++;
}

BlockNumber
omen_bm25_segment_block(const OmenBm25Segment *segment, uint32 page)
{
	const OmenBm25SegmentHeaderData *data = segment->data;

	/* seldom more than a few */
	for (uint32 i = 0; i < data->nruns; i++)
	{
		if (page < data->runs[i].npages)
			return data->runs[i].start + page;
		page -= data->runs[i].npages;
	}
	return InvalidBlockNumber;
}

Buffer
omen_bm25_segment_page(Relation index, OmenBm25Index *bm25,
					   const OmenBm25Segment *segment, uint32 page,
					   OmenPageKind kind, OmenLockMode mode)
{
	BlockNumber block = omen_bm25_segment_block(segment, page);
	Buffer		buffer;

	if (!BlockNumberIsValid(block))
		omen_page_report_corrupt(index, segment->header,
								 "The segment refers to a page that it does not have.");
	buffer = omen_page_read_owned(index, block, kind, segment->data->id, mode,
								  &bm25->hints);
	if (!BufferIsValid(buffer))
		omen_bm25_report_segment(index, segment->data->id, block);
	return buffer;
}

/* --- documents --- */

void
omen_bm25_docs_init(OmenBm25Docs *docs, Relation index, OmenBm25Index *bm25,
					const OmenBm25Segment *segment, bool has_dead)
{
	memset(docs, 0, sizeof(*docs));
	docs->index = index;
	docs->bm25 = bm25;
	docs->segment = segment;
	docs->has_dead = has_dead;
	docs->times_forgotten = bm25->times_forgotten;
	docs->kept = find_kept(bm25, segment->data->id);
	docs->length_slice = docs->long_page = PG_UINT32_MAX;
	docs->row_page = docs->alive_page = PG_UINT32_MAX;
}

const ItemPointerData *
omen_bm25_docs_rows(OmenBm25Docs *docs, uint32 page, int *n)
{
	uint32		left = docs->segment->data->ndocs -
		page * OMEN_BM25_ROWS_PER_PAGE;

	if (docs->row_page != page)
	{
		if (docs->rows == NULL)
			docs->rows = palloc(OMEN_PAGE_CONTENT);
		docs->row_page = PG_UINT32_MAX;
		copy_page(docs, docs->segment->data->rows + page, OMEN_PAGE_ROWS,
				  docs->rows);
		docs->row_page = page;
	}
	*n = Min(left, OMEN_BM25_ROWS_PER_PAGE);
	return docs->rows;
}

/* Not copied: the caller releases the page, soon */
const ItemPointerData *
omen_bm25_docs_lock_rows(OmenBm25Docs *docs, uint32 page, int *n,
						 Buffer *buffer)
{
	uint32		left = docs->segment->data->ndocs -
		page * OMEN_BM25_ROWS_PER_PAGE;

	*buffer = omen_bm25_segment_page(docs->index, docs->bm25, docs->segment,
									 docs->segment->data->rows + page,
									 OMEN_PAGE_ROWS, OMEN_LOCK_SHARE);
	*n = Min(left, OMEN_BM25_ROWS_PER_PAGE);
	return (const ItemPointerData *)
		omen_page_content(BufferGetPage(*buffer));
}

uint64
omen_bm25_docs_last_row(OmenBm25Docs *docs, uint32 page)
{
	uint32		end = Min((page + 1) * OMEN_BM25_ROWS_PER_PAGE,
						  docs->segment->data->ndocs);

	return get_row(docs, end - 1);
}

bool
omen_bm25_docs_find(OmenBm25Docs *docs, uint64 row, uint32 *doc)
{
	*doc = omen_bm25_docs_seek(docs, row);
	return *doc < docs->segment->data->ndocs && get_row(docs, *doc) == row;
}

/*
 * Narrow down the pages among which a row is looked for by the one at hand:
 * most often the next row that is asked for is on it, or on the one behind.
 */
static void
near_page(OmenBm25Docs *docs, uint64 row, uint32 *low, uint32 *high)
{
	uint32		page = docs->row_page;
	const ItemPointerData *rows;
	int			n;

	if (docs->rows == NULL || page >= *high)
		return;
	rows = omen_bm25_docs_rows(docs, page, &n);
	if (row < omen_tid_row(&rows[0]))
	{
		*high = Max(page, 1);
		return;
	}
	*low = page;
	for (uint32 step = 1;; step *= 2)
	{
		if (row <= omen_tid_row(&rows[n - 1]))
			*high = *low + 1;
		if (step >= *high - *low)
			return;
		rows = omen_bm25_docs_rows(docs, *low + step, &n);
		if (row < omen_tid_row(&rows[0]))
		{
			*high = *low + step;
			return;
		}
		*low += step;
	}
}

uint32
omen_bm25_docs_seek(OmenBm25Docs *docs, uint64 row)
{
	uint32		low = 0;
	uint32		high = (docs->segment->data->ndocs - 1) /
		OMEN_BM25_ROWS_PER_PAGE + 1;
	const ItemPointerData *rows;
	int			from = 0;
	int			to;

	near_page(docs, row, &low, &high);

	/* the last page that does not begin beyond it, then on that page */
	while (high - low > 1)
	{
		uint32		middle = low + (high - low) / 2;

		if (omen_tid_row(omen_bm25_docs_rows(docs, middle, &to)) <= row)
			low = middle;
		else
			high = middle;
	}
	rows = omen_bm25_docs_rows(docs, low, &to);
	while (from < to)
	{
		int			middle = (from + to) / 2;

		if (omen_tid_row(&rows[middle]) < row)
			from = middle + 1;
		else
			to = middle;
	}
	return low * OMEN_BM25_ROWS_PER_PAGE + from;
}

bool
omen_bm25_docs_is_dead(OmenBm25Docs *docs, uint32 doc)
{
	uint32		page = doc / OMEN_BM25_BITS_PER_PAGE;
	uint32		bit = doc % OMEN_BM25_BITS_PER_PAGE;

	if (!docs->has_dead)
		return false;
	if (docs->alive_page != page)
	{
		if (docs->alive == NULL)
			docs->alive = palloc(OMEN_PAGE_CONTENT);
		docs->alive_page = PG_UINT32_MAX;
		copy_page(docs, docs->segment->data->alive + page, OMEN_PAGE_ALIVE,
				  docs->alive);
		docs->alive_page = page;
	}
	return (docs->alive[bit / 64] >> (bit % 64) & 1) != 0;
}

uint32
omen_bm25_docs_length(OmenBm25Docs *docs, uint32 doc)
{
	uint32		first;
	uint32		end;
	uint16		length = get_lengths(docs, doc, &first, &end)[doc - first];

	return length == OMEN_LONG_LENGTH ? get_long_length(docs, doc) : length;
}

static void
copy_page(OmenBm25Docs *docs, uint32 page, OmenPageKind kind, void *to)
{
	Buffer		buffer = omen_bm25_segment_page(docs->index, docs->bm25,
												docs->segment, page, kind,
												OMEN_LOCK_SHARE);

	memcpy(to, omen_page_content(BufferGetPage(buffer)), OMEN_PAGE_CONTENT);
	omen_page_release(buffer);
}

/*
 * Of the lengths that the backend keeps, a page.  They are asked for again and
 * again, and do not change.
 */
static const uint16 *
get_lengths(void *arg, uint32 doc, uint32 *first, uint32 *end)
{
	OmenBm25Docs *docs = arg;
	uint32		ndocs = docs->segment->data->ndocs;
	uint32		page = doc / OMEN_BM25_LENGTHS_PER_PAGE;
	OmenBm25KeptSegment *kept = keep_lengths(docs);

	Assert(doc < ndocs);

	if (kept == NULL)
		return get_slice(docs, doc, first, end);
	*first = page * OMEN_BM25_LENGTHS_PER_PAGE;
	*end = Min(*first + OMEN_BM25_LENGTHS_PER_PAGE, ndocs);
	if (!kept->loaded[page])
	{
		copy_lengths(docs, *first, *end, kept->lengths + *first);
		kept->loaded[page] = true;
	}
	return kept->lengths + *first;
}

/* NULL if the backend does not keep the segment any more */
static OmenBm25KeptSegment *
get_kept(const OmenBm25Docs *docs)
{
	OmenBm25Index *bm25 = docs->bm25;

	if (docs->kept < 0 || docs->times_forgotten != bm25->times_forgotten)
		return NULL;
	return &bm25->segments[docs->kept];
}

/* NULL if the backend does not keep the lengths of this segment */
static OmenBm25KeptSegment *
keep_lengths(OmenBm25Docs *docs)
{
	OmenBm25Index *bm25 = docs->bm25;
	uint32		ndocs = docs->segment->data->ndocs;
	Size		size = ndocs * sizeof(uint16);
	OmenBm25KeptSegment *kept = get_kept(docs);

	if (kept == NULL || kept->lengths != NULL)
		return kept;
	if (bm25->kept_lengths + size > MAX_KEPT_LENGTHS)
	{
		/* of segments that are there no more, perhaps: the next scan sees */
		if (size <= MAX_KEPT_LENGTHS)
			forget_segments(bm25);
		return NULL;
	}

	/* lengths tell that there are both: they come last */
	kept->loaded = MemoryContextAllocZero(bm25->kept.context, ndocs /
										  OMEN_BM25_LENGTHS_PER_PAGE + 1);
	kept->lengths = MemoryContextAllocHuge(bm25->kept.context, size);
	bm25->kept_lengths += size;
	return kept;
}

const OmenBm25Places *
omen_bm25_docs_places(OmenBm25Docs *docs, double nrows)
{
	OmenBm25Index *bm25 = docs->bm25;
	OmenBm25KeptSegment *kept = get_kept(docs);
	uint32		ndocs = docs->segment->data->ndocs;
	uint64		first;
	uint64		nblocks;
	Size		size;

	if (kept == NULL)
		return NULL;
	if (kept->places != NULL)
		return kept->places;
	kept->looked_up += nrows;
	if (kept->looked_up * ROWS_PER_LOOK_UP < ndocs)
		return NULL;

	first = get_row(docs, 0) >> 16;
	nblocks = (get_row(docs, ndocs - 1) >> 16) - first + 1;
	size = offsetof(OmenBm25Places, starts) + (nblocks + 1) * sizeof(uint32);
	if (nblocks > ndocs || bm25->kept_places + size > MAX_KEPT_PLACES)
		return NULL;
	kept->places = make_places(docs, (BlockNumber) first, (uint32) nblocks,
							   size);
	bm25->kept_places += size;
	return kept->places;
}

/* Freed if a page turns out to be no good */
static OmenBm25Places *
make_places(OmenBm25Docs *docs, BlockNumber first, uint32 nblocks, Size size)
{
	OmenBm25Places *places = palloc(size);
	OmenBm25Places *kept;
	uint32		ndocs = docs->segment->data->ndocs;
	uint32		block = 0;		/* that documents are of, counted from first */
	uint32		doc = 0;

	places->first = first;
	places->nblocks = nblocks;
	places->starts[0] = 0;
	while (doc < ndocs)
	{
		int			n;
		Buffer		buffer;
		const ItemPointerData *rows =
			omen_bm25_docs_lock_rows(docs, doc / OMEN_BM25_ROWS_PER_PAGE, &n,
									 &buffer);

		for (int i = 0; i < n; i++, doc++)
		{
			const ItemPointerData *row = &rows[i];
			uint32		at = ItemPointerGetBlockNumberNoCheck(row) - first;

			if (at < block || at >= nblocks)
				report_disorder(docs);
			while (block < at)
				places->starts[++block] = doc;
			if (ItemPointerGetOffsetNumberNoCheck(row) !=
				doc - omen_bm25_place(places, block) + 1)
				places->starts[block] |= OMEN_BM25_HAS_GAPS;
		}
		omen_page_release(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	if (block != nblocks - 1)
		report_disorder(docs);
	places->starts[nblocks] = ndocs;
	kept = MemoryContextAllocHuge(docs->bm25->kept.context, size);
	memcpy(kept, places, size);
	pfree(places);
	return kept;
}

static void
report_disorder(const OmenBm25Docs *docs)
{
	omen_page_report_corrupt(docs->index, docs->segment->header,
							 "Rows of a segment do not ascend.");
}

/*
 * A slice of a page: documents are asked for in ascending order where there are
 * many, and here and there where there are few.
 */
static const uint16 *
get_slice(OmenBm25Docs *docs, uint32 doc, uint32 *first, uint32 *end)
{
	uint32		slice = doc / LENGTHS_PER_SLICE;

	*first = slice * LENGTHS_PER_SLICE;
	*end = Min(*first + LENGTHS_PER_SLICE, docs->segment->data->ndocs);
	if (docs->length_slice == slice)
		return docs->lengths;

	if (docs->lengths == NULL)
		docs->lengths = palloc(LENGTHS_PER_SLICE * sizeof(uint16));
	docs->length_slice = PG_UINT32_MAX;
	copy_lengths(docs, *first, *end, docs->lengths);
	docs->length_slice = slice;
	return docs->lengths;
}

/* All of them are on one page */
static void
copy_lengths(OmenBm25Docs *docs, uint32 first, uint32 end, uint16 *to)
{
	uint32		page = docs->segment->data->lengths +
		first / OMEN_BM25_LENGTHS_PER_PAGE;
	Buffer		buffer = omen_bm25_segment_page(docs->index, docs->bm25,
												docs->segment, page,
												OMEN_PAGE_LENGTHS,
												OMEN_LOCK_SHARE);
	const uint16 *lengths = (const uint16 *)
		omen_page_content(BufferGetPage(buffer));

	memcpy(to, lengths + first % OMEN_BM25_LENGTHS_PER_PAGE,
		   (end - first) * sizeof(uint16));
	omen_page_release(buffer);
}

/*
 * Of the long documents of an index with weights there may be many.  They are
 * asked for in ascending order mostly: first the page at hand, then the last one
 * that does not begin beyond the document.
 */
static uint32
get_long_length(void *arg, uint32 doc)
{
	OmenBm25Docs *docs = arg;
	const OmenBm25SegmentHeaderData *data = docs->segment->data;
	uint32		low = 0;
	uint32		high = (data->nlong + OMEN_BM25_LONGS_PER_PAGE - 1) /
		OMEN_BM25_LONGS_PER_PAGE;
	uint32		length = 0;

	if (docs->long_page < high)
	{
		length = find_long(docs, docs->long_page, doc);
		if (docs->longs[0] <= doc)
			low = docs->long_page;
	}
	while (length == 0 && high - low > 1)
	{
		uint32		middle = low + (high - low) / 2;

		copy_longs(docs, middle);
		if (docs->longs[0] <= doc)
			low = middle;
		else
			high = middle;
	}
	if (length == 0 && low < high)
		length = find_long(docs, low, doc);
	if (length == 0)
		omen_page_report_corrupt(docs->index, docs->segment->header,
								 "The length of a long document is missing.");
	return length;
}

/* The length that a page of them has for a document; 0 if it has none */
static uint32
find_long(OmenBm25Docs *docs, uint32 page, uint32 doc)
{
	uint32		low = 0;
	uint32		high = Min(docs->segment->data->nlong -
						   page * OMEN_BM25_LONGS_PER_PAGE,
						   OMEN_BM25_LONGS_PER_PAGE);
	uint32		end = high;

	copy_longs(docs, page);
	while (low < high)
	{
		uint32		middle = (low + high) / 2;

		if (docs->longs[2 * middle] < doc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < end && docs->longs[2 * low] == doc ?
		docs->longs[2 * low + 1] : 0;
}

static void
copy_longs(OmenBm25Docs *docs, uint32 page)
{
	if (docs->long_page == page)
		return;
	if (docs->longs == NULL)
		docs->longs = palloc(OMEN_PAGE_CONTENT);
	docs->long_page = PG_UINT32_MAX;
	copy_page(docs, docs->segment->data->long_lengths + page,
			  OMEN_PAGE_LENGTHS, docs->longs);
	docs->long_page = page;
}

static bool
is_live(void *docs, uint32 doc)
{
	return !omen_bm25_docs_is_dead(docs, doc);
}

/* Of one document: the page is not copied */
static uint64
get_row(void *arg, uint32 doc)
{
	int			n;
	Buffer		buffer;
	const ItemPointerData *rows =
		omen_bm25_docs_lock_rows(arg, doc / OMEN_BM25_ROWS_PER_PAGE, &n,
								 &buffer);
	uint64		row = omen_tid_row(&rows[doc % OMEN_BM25_ROWS_PER_PAGE]);

	omen_page_release(buffer);
	return row;
}
