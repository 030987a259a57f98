/*-------------------------------------------------------------------------
 *
 * bm25_write.c
 *	  Writing a segment.
 *
 * NOTES
 *	  Pages are written one by one, each a record with its full image, to
 *	  blocks that nothing refers to.  Nobody finds the segment before it is in
 *	  the directory.
 *
 *	  The dictionary is written from the left to the right with one page of
 *	  each level in memory, while the postings are; their pages mix.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "bm25/bm25.h"
#include "bm25/bm25_varint.h"

#define MAX_LEVELS		32

/* df, page, offset, bound, or df, size, block */
#define MAX_PAYLOAD \
	(2 * OMEN_VARINT_MAX + Max(OMEN_BM25_MAX_INLINE, \
							   OMEN_VARINT_MAX + sizeof(OmenBlockBound)))

/* A page that is being filled */
typedef struct OpenPage
{
	uint32		page;
	BlockNumber block;
	Size		end;			/* of what is in it */
	PGAlignedBlock content;
} OpenPage;

/* The same of one level of the dictionary */
typedef struct Level
{
	OpenPage	page;
	uint32		npages;			/* closed ones */
	int			nentries;
	int			nrestarts;
	int			first_len;
	int			last_len;
	char		first[MAXSTRLEN + 1];	/* lexeme of the first entry */
	char		last[MAXSTRLEN + 1];	/* and of the last one */
} Level;

struct OmenBm25Writer
{
	MemoryContext context;
	OmenBm25Space *space;
	OmenBm25RunData *runs;
	uint32		maxruns;
	const ItemPointerData *rows;
	const uint32 *lengths;

	OpenPage	postings;
	bool		has_postings;	/* such a page is open */
	int			nlevels;
	Level	   *levels[MAX_LEVELS];

	/* the term being written */
	char		lexeme[MAXSTRLEN + 1];
	int			len;
	uint32		df;
	uint32		base;			/* of the block being filled */
	int			n;				/* postings in it */
	uint32		docs[OMEN_POSTING_BLOCK];
	uint16		tfs[OMEN_POSTING_BLOCK];
	OmenSkipData *skips;
	uint32		nskips;
	uint32		maxskips;
	OmenBlockBound bound;

	OmenBm25SegmentHeaderData head; /* without runs */
};

static void reserve_page(OmenBm25Writer *writer, OpenPage *page);
static void write_page(OmenBm25Writer *writer, const OpenPage *page,
					   OmenPageKind kind, uint32 next);
static void end_term(OmenBm25Writer *writer);
static void end_block(OmenBm25Writer *writer);
static OmenBlockBound bound_block(const OmenBm25Writer *writer);
static uint8 *put_place(OmenBm25Writer *writer, uint8 *to, Size size,
						const void *data);
static void open_postings(OmenBm25Writer *writer, Size size);
static uint8 *put_skips(OmenBm25Writer *writer, uint8 *to);
static void add_entry(OmenBm25Writer *writer, int level, const char *lexeme,
					  int len, const uint8 *payload, Size size);
static void begin_level(OmenBm25Writer *writer, Level *level);
static void close_level(OmenBm25Writer *writer, int level, bool last);
static void finish_dictionary(OmenBm25Writer *writer);
static void write_lengths(OmenBm25Writer *writer);
static void write_array(OmenBm25Writer *writer, OmenPageKind kind,
						const void *array, Size size, uint64 n,
						uint32 *first);
static BlockNumber write_header(OmenBm25Writer *writer);

OmenBm25Writer *
omen_bm25_writer_begin(OmenBm25Space *space, uint32 id, uint32 ndocs,
					   const ItemPointerData *rows, const uint32 *lengths)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 writer",
												  ALLOCSET_DEFAULT_SIZES);
	OmenBm25Writer *writer = MemoryContextAllocZero(context, sizeof(*writer));

	Assert(ndocs > 0 && ndocs <= OMEN_MAX_DOC);

	writer->context = context;
	writer->space = space;
	writer->rows = rows;
	writer->lengths = lengths;
	writer->head.id = id;
	writer->head.ndocs = ndocs;
	for (uint32 i = 0; i < ndocs; i++)
		writer->head.length += lengths[i];
	writer->maxruns = 16;
	writer->runs = MemoryContextAlloc(context, writer->maxruns *
									  sizeof(OmenBm25RunData));
	writer->nlevels = 1;
	writer->levels[0] = MemoryContextAlloc(context, sizeof(Level));
	writer->levels[0]->npages = 0;
	begin_level(writer, writer->levels[0]);
	writer->head.dict_first = writer->levels[0]->page.page;
	return writer;
}

void
omen_bm25_writer_term(OmenBm25Writer *writer, const char *lexeme, int len)
{
	end_term(writer);
	memcpy(writer->lexeme, lexeme, len);
	writer->len = len;
}

void
omen_bm25_writer_posting(OmenBm25Writer *writer, uint32 doc, uint16 tf)
{
	Assert(doc < writer->head.ndocs && doc >= writer->base);

	if (writer->n == OMEN_POSTING_BLOCK)
		end_block(writer);
	writer->docs[writer->n] = doc;
	writer->tfs[writer->n++] = tf;
	writer->df++;
}

void
omen_bm25_writer_finish(OmenBm25Writer *writer,
						OmenBm25SegmentEntryData *entry)
{
	OmenBm25SegmentHeaderData *head = &writer->head;

	end_term(writer);
	if (writer->has_postings)
		write_page(writer, &writer->postings, OMEN_PAGE_POSTINGS,
				   InvalidBlockNumber);
	finish_dictionary(writer);
	write_lengths(writer);
	write_array(writer, OMEN_PAGE_ROWS, writer->rows, sizeof(ItemPointerData),
				head->ndocs, &head->rows);
	write_array(writer, OMEN_PAGE_ALIVE, NULL, sizeof(uint64),
				(head->ndocs + 63) / 64, &head->alive);

	entry->header = write_header(writer);
	entry->id = head->id;
	entry->npages = head->npages;
	entry->ndocs = head->ndocs;
	entry->ndead = 0;
	entry->level = 0;
	entry->unused = 0;
	entry->length = head->length;
	MemoryContextDelete(writer->context);
}

/* --- pages --- */

/* The next page of the segment, empty */
static void
reserve_page(OmenBm25Writer *writer, OpenPage *page)
{
	OmenBm25SegmentHeaderData *head = &writer->head;
	BlockNumber block = omen_bm25_space_take(writer->space);
	OmenBm25RunData *last = &writer->runs[head->nruns - 1];

	if (head->nruns > 0 && last->start + last->npages == block)
		last->npages++;
	else
	{
		if (head->nruns == writer->maxruns)
		{
			writer->maxruns *= 2;
			writer->runs = repalloc_huge(writer->runs, writer->maxruns *
										 sizeof(OmenBm25RunData));
		}
		writer->runs[head->nruns].start = block;
		writer->runs[head->nruns++].npages = 1;
	}
	page->page = head->npages++;
	page->block = block;
	page->end = 0;
	memset(page->content.data, 0, OMEN_PAGE_CONTENT);
}

static void
write_page(OmenBm25Writer *writer, const OpenPage *open, OmenPageKind kind,
		   uint32 next)
{
	Relation	index = writer->space->index;
	OmenPageKind before;
	Buffer		buffer = omen_page_read_any(index, open->block,
											OMEN_LOCK_EXCLUSIVE, NULL,
											&before);
	OmenPageEdit edit;
	Page		page;

	CHECK_FOR_INTERRUPTS();

	/* of an extent, as a damaged metapage has it */
	if (before == OMEN_PAGE_PENDING || before == OMEN_PAGE_META)
		omen_page_report_corrupt(index, open->block,
								 "The page for a new segment is in use already.");
	omen_edit_begin(&edit, index);
	page = omen_edit_new_page(&edit, buffer, kind);
	memcpy(omen_page_content(page), open->content.data, OMEN_PAGE_CONTENT);
	omen_page_opaque(page)->owner = writer->head.id;
	omen_page_opaque(page)->next = next;
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

/* --- postings --- */

static void
end_term(OmenBm25Writer *writer)
{
	uint8		payload[MAX_PAYLOAD];
	uint8	   *to = payload;

	if (writer->df > OMEN_POSTING_BLOCK)
	{
		end_block(writer);
		to = omen_varint_put(to, writer->df * 2);
		to = put_skips(writer, to);
	}
	else if (writer->df > 0)
	{
		uint8		block[OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK)];
		Size		size = omen_posting_encode(writer->docs, writer->tfs,
											   writer->n, 0, block);
		bool		inlined = size <= OMEN_BM25_MAX_INLINE;

		to = omen_varint_put(to, writer->df * 2 + inlined);
		if (inlined)
		{
			to = omen_varint_put(to, size);
			memcpy(to, block, size);
			to += size;
		}
		else
			to = put_place(writer, to, size, block);
	}
	if (writer->df > 0)
	{
		add_entry(writer, 0, writer->lexeme, writer->len, payload,
				  to - payload);
		writer->head.nterms++;
		writer->head.postings += writer->df;
	}
	writer->df = 0;
	writer->base = 0;
	writer->n = 0;
	writer->nskips = 0;
}

/* Write a block of a term that has several */
static void
end_block(OmenBm25Writer *writer)
{
	uint8		block[OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK)];
	OmenBlockBound bound = bound_block(writer);
	uint32		last = writer->docs[writer->n - 1];
	Size		size = omen_posting_encode(writer->docs, writer->tfs,
										   writer->n, writer->base, block);

	if (writer->nskips == writer->maxskips)
	{
		writer->maxskips = Max(2 * writer->maxskips, 64);
		writer->skips = writer->skips == NULL ?
			MemoryContextAllocHuge(writer->context, writer->maxskips *
								   sizeof(OmenSkipData)) :
			repalloc_huge(writer->skips, writer->maxskips *
						  sizeof(OmenSkipData));
	}
	open_postings(writer, size);
	omen_skip_set(&writer->skips[writer->nskips], last, writer->postings.page,
				  writer->postings.end, bound);
	memcpy(writer->postings.content.data + writer->postings.end, block, size);
	writer->postings.end += size;
	writer->bound = writer->nskips == 0 ? bound :
		omen_block_bound_join(writer->bound, bound);
	writer->nskips++;
	writer->base = last + 1;
	writer->n = 0;
}

static OmenBlockBound
bound_block(const OmenBm25Writer *writer)
{
	uint32		lengths[OMEN_POSTING_BLOCK];

	for (int i = 0; i < writer->n; i++)
		lengths[i] = writer->lengths[writer->docs[i]];
	return omen_block_bound(writer->tfs, lengths, writer->n);
}

/* Put bytes on a page of postings, and where they are into a payload */
static uint8 *
put_place(OmenBm25Writer *writer, uint8 *to, Size size, const void *data)
{
	open_postings(writer, size);
	to = omen_varint_put(to, writer->postings.page);
	to = omen_varint_put(to, writer->postings.end);
	memcpy(writer->postings.content.data + writer->postings.end, data, size);
	writer->postings.end += size;
	return to;
}

/* See to it that there is a page with so much room */
static void
open_postings(OmenBm25Writer *writer, Size size)
{
	if (writer->has_postings &&
		writer->postings.end + size > OMEN_PAGE_CONTENT)
	{
		write_page(writer, &writer->postings, OMEN_PAGE_POSTINGS,
				   InvalidBlockNumber);
		writer->has_postings = false;
	}
	if (!writer->has_postings)
		reserve_page(writer, &writer->postings);
	writer->has_postings = true;
}

/*
 * All skip entries.  If they do not fit the page at hand, they begin on a new
 * one, so that the pages they go on are those that come next: pages of the
 * dictionary may have been reserved since the one at hand was.
 */
static uint8 *
put_skips(OmenBm25Writer *writer, uint8 *to)
{
	OpenPage   *page = &writer->postings;

	open_postings(writer, Min(writer->nskips * sizeof(OmenSkipData) + 1,
							  OMEN_PAGE_CONTENT));
	page->end = TYPEALIGN(sizeof(uint16), page->end);
	to = omen_varint_put(to, page->page);
	to = omen_varint_put(to, page->end);
	for (uint32 i = 0; i < writer->nskips; i++)
	{
		open_postings(writer, sizeof(OmenSkipData));
		memcpy(page->content.data + page->end, &writer->skips[i],
			   sizeof(OmenSkipData));
		page->end += sizeof(OmenSkipData);
	}
	memcpy(to, &writer->bound, sizeof(OmenBlockBound));
	return to + sizeof(OmenBlockBound);
}

/* --- dictionary --- */

static void
add_entry(OmenBm25Writer *writer, int number, const char *lexeme, int len,
		  const uint8 *payload, Size size)
{
	Level	   *level = writer->levels[number];
	bool		restart = level->nentries % OMEN_BM25_RESTART == 0;
	int			shared = 0;
	uint8		head[2 * OMEN_VARINT_MAX];
	uint8	   *end;
	Size		need;
	char	   *to;

	while (!restart && shared < Min(len, level->last_len) &&
		   lexeme[shared] == level->last[shared])
		shared++;
	end = omen_varint_put(omen_varint_put(head, shared), len - shared);
	need = (end - head) + len - shared + size;
	if (level->page.end + need + sizeof(uint16) * (level->nrestarts + restart) >
		OMEN_PAGE_CONTENT)
	{
		close_level(writer, number, false);
		add_entry(writer, number, lexeme, len, payload, size);
		return;
	}

	to = level->page.content.data + level->page.end;
	if (restart)
	{
		uint16		offset = level->page.end;

		level->nrestarts++;
		memcpy(level->page.content.data + OMEN_PAGE_CONTENT -
			   level->nrestarts * sizeof(uint16), &offset, sizeof(uint16));
	}
	memcpy(to, head, end - head);
	memcpy(to + (end - head), lexeme + shared, len - shared);
	memcpy(to + (end - head) + len - shared, payload, size);
	level->page.end += need;
	memcpy(level->last, lexeme, len);
	level->last_len = len;
	if (level->nentries++ == 0)
	{
		memcpy(level->first, lexeme, len);
		level->first_len = len;
	}
}

static void
begin_level(OmenBm25Writer *writer, Level *level)
{
	reserve_page(writer, &level->page);
	level->page.end = sizeof(OmenBm25TermsData);
	level->nentries = level->nrestarts = 0;
	level->first_len = level->last_len = 0;
}

/* Write the open page of a level; the one above it learns of it */
static void
close_level(OmenBm25Writer *writer, int number, bool last)
{
	Level	   *level = writer->levels[number];
	OmenBm25TermsData *terms = (OmenBm25TermsData *) level->page.content.data;
	OpenPage   *closed = palloc(sizeof(OpenPage));
	uint8		payload[OMEN_VARINT_MAX];
	Size		size;
	char		first[MAXSTRLEN + 1];
	int			first_len = level->first_len;

	terms->nentries = level->nentries;
	terms->nrestarts = level->nrestarts;
	terms->end = level->page.end;
	terms->level = number;
	*closed = level->page;
	memcpy(first, level->first, first_len);
	level->npages++;
	if (!last)
		begin_level(writer, level);
	write_page(writer, closed, OMEN_PAGE_TERMS,
			   last ? InvalidBlockNumber : level->page.page);
	size = omen_varint_put(payload, closed->page) - payload;
	pfree(closed);
	if (last && level->npages == 1)
		return;					/* the root */

	if (number + 1 == writer->nlevels)
	{
		if (writer->nlevels == MAX_LEVELS)
			elog(ERROR, "dictionary has too many levels");
		writer->levels[number + 1] = MemoryContextAlloc(writer->context,
														sizeof(Level));
		writer->levels[number + 1]->npages = 0;
		writer->nlevels++;
		begin_level(writer, writer->levels[number + 1]);
	}
	add_entry(writer, number + 1, first, first_len, payload, size);
}

static void
finish_dictionary(OmenBm25Writer *writer)
{
	/* closing a level may add another one */
	for (int i = 0; i < writer->nlevels; i++)
	{
		writer->head.dict_root = writer->levels[i]->page.page;
		close_level(writer, i, true);
	}
}

/* --- documents --- */

static void
write_lengths(OmenBm25Writer *writer)
{
	OmenBm25SegmentHeaderData *head = &writer->head;
	uint16	   *lengths = MemoryContextAllocHuge(writer->context,
												 head->ndocs * sizeof(uint16));
	uint32	   *longs;
	uint32		n = 0;

	for (uint32 i = 0; i < head->ndocs; i++)
	{
		lengths[i] = Min(writer->lengths[i], OMEN_LONG_LENGTH);
		head->nlong += lengths[i] == OMEN_LONG_LENGTH;
	}
	write_array(writer, OMEN_PAGE_LENGTHS, lengths, sizeof(uint16),
				head->ndocs, &head->lengths);
	pfree(lengths);
	if (head->nlong == 0)
		return;

	longs = MemoryContextAllocHuge(writer->context,
								   head->nlong * 2 * sizeof(uint32));
	for (uint32 i = 0; i < head->ndocs; i++)
	{
		if (writer->lengths[i] < OMEN_LONG_LENGTH)
			continue;
		longs[2 * n] = i;
		longs[2 * n++ + 1] = writer->lengths[i];
	}
	write_array(writer, OMEN_PAGE_LENGTHS, longs, 2 * sizeof(uint32),
				head->nlong, &head->long_lengths);
	pfree(longs);
}

/* n elements of a size, as many on each page as fit; zeros if array is NULL */
static void
write_array(OmenBm25Writer *writer, OmenPageKind kind, const void *array,
			Size size, uint64 n, uint32 *first)
{
	OpenPage   *page = palloc(sizeof(OpenPage));
	Size		per_page = OMEN_PAGE_CONTENT / size;

	for (uint64 from = 0; from < n; from += per_page)
	{
		reserve_page(writer, page);
		if (from == 0)
			*first = page->page;
		if (array != NULL)
			memcpy(page->content.data, (const char *) array + from * size,
				   Min(n - from, per_page) * size);
		write_page(writer, page, kind, InvalidBlockNumber);
	}
	pfree(page);
}

/* Pages for the runs, which may need more runs; returns the first one's block */
static BlockNumber
write_header(OmenBm25Writer *writer)
{
	OmenBm25SegmentHeaderData *head = &writer->head;
	OpenPage   *pages = NULL;
	BlockNumber next = InvalidBlockNumber;
	uint32		n = 0;

	do
	{
		pages = pages == NULL ? palloc(sizeof(OpenPage)) :
			repalloc_huge(pages, (n + 1) * sizeof(OpenPage));
		reserve_page(writer, &pages[n++]);
	} while (n * OMEN_BM25_RUNS_PER_PAGE < head->nruns);

	while (n-- > 0)
	{
		OmenBm25SegmentHeaderData *data = (OmenBm25SegmentHeaderData *)
			pages[n].content.data;
		uint32		from = n * OMEN_BM25_RUNS_PER_PAGE;

		memcpy(data, head, offsetof(OmenBm25SegmentHeaderData, runs));
		memcpy(data->runs, writer->runs + from,
			   Min(head->nruns - from, OMEN_BM25_RUNS_PER_PAGE) *
			   sizeof(OmenBm25RunData));
		write_page(writer, &pages[n], OMEN_PAGE_SEGMENT, next);
		next = pages[n].block;
	}
	pfree(pages);
	return next;
}
