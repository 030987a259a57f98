/*-------------------------------------------------------------------------
 *
 * bm25_pending.c
 *	  The pending area: documents that are in no segment yet.
 *
 * NOTES
 *	  A document has the hashes of its lexemes in ascending order, so that one
 *	  term is looked for in a few steps and nothing has to be built before a
 *	  query can be answered.
 *
 *	  Backends append to one of four lanes, under the lock of its last page.  A
 *	  page that has a next one is closed: no document is added to it any more,
 *	  and flushes take closed pages only.  Whoever follows a chain checks that
 *	  each page has the owner that comes next (B2); if not, the page has been
 *	  flushed and used again, and the walk starts anew from the metapage.
 *
 *	  A document that does not fit a page comes in parts, on pages of their own
 *	  that are linked together, with an empty one behind them, before they are
 *	  linked to the lane.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "bm25/bm25.h"

/* Documents begin at multiples of this */
#define DOC_ALIGN(size)	TYPEALIGN(OMEN_BM25_DOC_ALIGN, size)

/* A document, or a part of one, as it is on pages */
typedef struct Packed
{
	int			nparts;
	OmenBm25DocData **parts;
} Packed;

static Packed pack_doc(const OmenBm25Doc *doc);
static int	compare_hashes(const void *a, const void *b);
static Size term_size(const OmenBm25Term *term);
static OmenBm25DocData *pack_part(const OmenBm25Doc *doc,
								  OmenBm25Term **terms, int n);
static Buffer lock_tail(Relation index, OmenBm25Tail *tail);
static void ask_tail(Relation index, OmenBm25Tail *tail);
static bool is_lane_page(Buffer buffer, OmenPageKind kind, uint32 owner);
static void add_part(Page page, const OmenBm25DocData *part);
static uint32 add_pages(Relation index, OmenBm25Tail *tail, Buffer last,
						const Packed *packed);
static BlockNumber write_parts(Relation index, const Packed *packed,
							   uint32 owner);
static Page new_page(OmenPageEdit *edit, Buffer buffer, uint32 owner,
					 BlockNumber next);
static bool load_page(OmenBm25PendingScan *scan);
static bool begin_lane(OmenBm25PendingScan *scan, int lane);
static bool is_end(const OmenBm25PendingScan *scan, Page page);
static void note_page(OmenBm25PendingScan *scan);

/* --- appending --- */

uint32
omen_bm25_append(Relation index, OmenBm25Index *bm25, const OmenBm25Doc *doc)
{
	Packed		packed = pack_doc(doc);
	Buffer		last = lock_tail(index, &bm25->tail);
	PageHeader	header = (PageHeader) BufferGetPage(last);

	if (packed.nparts == 1 &&
		packed.parts[0]->size <= header->pd_upper - header->pd_lower)
	{
		OmenPageEdit edit;

		omen_edit_begin(&edit, index);
		add_part(omen_edit_page(&edit, last), packed.parts[0]);
		omen_edit_finish(&edit);
		omen_page_release(last);
		return 0;
	}
	return add_pages(index, &bm25->tail, last, &packed);
}

void
omen_bm25_close_lane(Relation index, int lane)
{
	const Packed nothing = {0};
	OmenBm25Tail tail = {lane, InvalidBlockNumber, 0};
	Buffer		last = lock_tail(index, &tail);
	PageHeader	header = (PageHeader) BufferGetPage(last);

	if (header->pd_lower > MAXALIGN(SizeOfPageHeaderData))
		add_pages(index, &tail, last, &nothing);
	else
		omen_page_release(last);
}

static Packed
pack_doc(const OmenBm25Doc *doc)
{
	OmenBm25Term **terms = palloc(Max(doc->nterms, 1) * sizeof(*terms));
	Packed		packed = {0};
	int			from = 0;

	for (int i = 0; i < doc->nterms; i++)
		terms[i] = &doc->terms[i];

	/* at least 3 terms fit a page */
	packed.parts = palloc((doc->nterms / 3 + 1) * sizeof(*packed.parts));
	do
	{
		Size		size = sizeof(OmenBm25DocData) +
			sizeof(OmenBm25DocTermData);
		int			n = 0;

		while (from + n < doc->nterms &&
			   size + term_size(terms[from + n]) <= OMEN_PAGE_CONTENT - 4)
			size += term_size(terms[from + n++]);
		qsort(terms + from, n, sizeof(*terms), compare_hashes);
		packed.parts[packed.nparts] = pack_part(doc, terms + from, n);
		if (packed.nparts++ > 0)
			packed.parts[packed.nparts - 1]->flags |= OMEN_BM25_DOC_PART;
		from += n;
	} while (from < doc->nterms);
	return packed;
}

static int
compare_hashes(const void *a, const void *b)
{
	uint32		x = (*(OmenBm25Term *const *) a)->hash;
	uint32		y = (*(OmenBm25Term *const *) b)->hash;

	return (x > y) - (x < y);
}

static Size
term_size(const OmenBm25Term *term)
{
	return sizeof(OmenBm25DocTermData) + term->len;
}

static OmenBm25DocData *
pack_part(const OmenBm25Doc *doc, OmenBm25Term **terms, int n)
{
	Size		offset = sizeof(OmenBm25DocData) +
		(n + 1) * sizeof(OmenBm25DocTermData);
	Size		size = offset;
	OmenBm25DocData *part;
	OmenBm25DocTermData *to;

	for (int i = 0; i < n; i++)
		size += terms[i]->len;
	size = DOC_ALIGN(size);
	part = palloc0(size);
	part->tid = doc->tid;
	part->length = doc->length;
	part->nterms = n;
	part->size = size;
	to = omen_bm25_doc_terms(part);
	for (int i = 0; i < n; i++)
	{
		to[i].hash = terms[i]->hash;
		to[i].tf = terms[i]->tf;
		to[i].offset = offset;
		memcpy((char *) part + offset, terms[i]->lexeme, terms[i]->len);
		offset += terms[i]->len;
	}
	to[n].offset = offset;
	return part;
}

/* The last page of a lane, locked */
static Buffer
lock_tail(Relation index, OmenBm25Tail *tail)
{
	OmenBm25Tail asked = {.block = InvalidBlockNumber};

	for (;;)
	{
		OmenPageKind kind;
		Buffer		buffer;
		BlockNumber next;

		CHECK_FOR_INTERRUPTS();
		if (!BlockNumberIsValid(tail->block))
		{
			ask_tail(index, tail);

			/* if it is still that one, nobody has flushed it */
			if (tail->block == asked.block && tail->owner == asked.owner)
				omen_page_report_corrupt(index, tail->block,
										 "The page is not the end of the pending area that it should be.");
			asked = *tail;
		}
		buffer = omen_page_read_any(index, tail->block, OMEN_LOCK_EXCLUSIVE,
									NULL, &kind);
		if (!is_lane_page(buffer, kind, tail->owner))
		{
			omen_page_release(buffer);
			tail->block = InvalidBlockNumber;
			continue;
		}
		next = omen_page_opaque(BufferGetPage(buffer))->next;
		if (!BlockNumberIsValid(next))
			return buffer;
		omen_page_release(buffer);
		tail->block = next;
		tail->owner += OMEN_BM25_OWNER_STEP;
	}
}

/* Take the tail that the metapage knows */
static void
ask_tail(Relation index, OmenBm25Tail *tail)
{
	OmenBm25MetaPageData meta;

	omen_bm25_read_meta(index, &meta);
	tail->block = meta.lanes[tail->lane].tail;
	tail->owner = meta.lanes[tail->lane].tail_owner;
}

static bool
is_lane_page(Buffer buffer, OmenPageKind kind, uint32 owner)
{
	return kind == OMEN_PAGE_PENDING &&
		omen_page_opaque(BufferGetPage(buffer))->owner == owner;
}

static void
add_part(Page page, const OmenBm25DocData *part)
{
	PageHeader	header = (PageHeader) page;

	memcpy((char *) page + header->pd_lower, part, part->size);
	header->pd_lower += part->size;
	if ((part->flags & OMEN_BM25_DOC_PART) == 0)
		omen_page_opaque(page)->used++;
}

/*
 * Put a document, or nothing, on new pages and link them to the last one, whose
 * lock is given up.  Lock order: PENDING pages, then the metapage.  Returns how
 * many pages the pending area has then.
 */
static uint32
add_pages(Relation index, OmenBm25Tail *tail, Buffer last,
		  const Packed *packed)
{
	uint32		owner = tail->owner + OMEN_BM25_OWNER_STEP;
	BlockNumber rest = write_parts(index, packed, owner);
	Buffer		first = omen_page_find_free(index);
	Buffer		meta_buffer = omen_page_read(index, OMEN_BM25_META_BLOCK,
											 OMEN_PAGE_META,
											 OMEN_LOCK_EXCLUSIVE);
	OmenPageEdit edit;
	Page		page;
	OmenBm25MetaPage meta;
	uint32		total = 0;

	omen_edit_begin(&edit, index);
	page = new_page(&edit, first, owner, rest);
	if (packed->nparts > 0)
		add_part(page, packed->parts[0]);
	omen_page_opaque(omen_edit_page(&edit, last))->next =
		BufferGetBlockNumber(first);
	meta = (OmenBm25MetaPage)
		omen_page_content(omen_edit_page(&edit, meta_buffer));
	meta->lanes[tail->lane].tail = BufferGetBlockNumber(first);
	meta->lanes[tail->lane].tail_owner = owner;
	meta->lanes[tail->lane].npages += packed->nparts > 1 ?
		packed->nparts + 1 : 1;
	for (int i = 0; i < OMEN_BM25_LANES; i++)
		total += meta->lanes[i].npages;
	omen_edit_finish(&edit);
	omen_page_release(meta_buffer);
	tail->block = BufferGetBlockNumber(first);
	tail->owner = owner;
	omen_page_release(first);
	omen_page_release(last);
	return total;
}

/*
 * Write all parts but the first, the last one first; returns the block of the
 * second.  Nobody can find them before the first is linked to the lane.  After
 * the last one comes an empty page: so all of them are on closed pages, and
 * flushed together.
 */
static BlockNumber
write_parts(Relation index, const Packed *packed, uint32 owner)
{
	BlockNumber next = InvalidBlockNumber;

	for (int i = packed->nparts; packed->nparts > 1 && i > 0; i--)
	{
		Buffer		buffer = omen_page_find_free(index);
		OmenPageEdit edit;
		Page		page;

		omen_edit_begin(&edit, index);
		page = new_page(&edit, buffer, owner + i * OMEN_BM25_OWNER_STEP, next);
		if (i < packed->nparts)
			add_part(page, packed->parts[i]);
		omen_edit_finish(&edit);
		next = BufferGetBlockNumber(buffer);
		omen_page_release(buffer);
	}
	return next;
}

static Page
new_page(OmenPageEdit *edit, Buffer buffer, uint32 owner, BlockNumber next)
{
	Page		page = omen_edit_new_page(edit, buffer, OMEN_PAGE_PENDING);

	((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData);
	omen_page_opaque(page)->owner = owner;
	omen_page_opaque(page)->next = next;
	return page;
}

/* --- reading --- */

void
omen_bm25_pending_begin(OmenBm25PendingScan *scan, Relation index,
						const OmenBm25MetaPageData *meta)
{
	scan->index = index;
	scan->meta = meta;
	scan->at = scan->end = 0;
	scan->npages = 0;
	scan->closed_only = false;
	begin_lane(scan, 0);
}

void
omen_bm25_pending_begin_closed(OmenBm25PendingScan *scan, Relation index,
							   const OmenBm25MetaPageData *meta, uint32 most)
{
	omen_bm25_pending_begin(scan, index, meta);
	scan->closed_only = true;
	scan->most = most;
	scan->maxblocks = 64;
	scan->blocks = palloc(scan->maxblocks * sizeof(BlockNumber));
	memset(scan->rest, 0, sizeof(scan->rest));
}

OmenBm25DocData *
omen_bm25_pending_next(OmenBm25PendingScan *scan)
{
	OmenBm25DocData *doc;

	while (scan->at >= scan->end)
	{
		if (!load_page(scan))
			return NULL;
	}
	doc = (OmenBm25DocData *) (scan->page.data + scan->at);
	if (!omen_bm25_doc_fits(doc, scan->end - scan->at) ||
		omen_bm25_doc_terms(doc)[doc->nterms].offset > doc->size)
		omen_page_report_corrupt(scan->index, scan->current,
								 "A document's size is impossible.");
	scan->at += doc->size;
	return doc;
}

/* Copy the next page; false if no lane has any more */
static bool
load_page(OmenBm25PendingScan *scan)
{
	OmenPageKind kind;
	Buffer		buffer;
	Page		page;

	CHECK_FOR_INTERRUPTS();
	if (!BlockNumberIsValid(scan->block) && !begin_lane(scan, scan->lane + 1))
		return false;

	buffer = omen_page_read_any(scan->index, scan->block, OMEN_LOCK_SHARE,
								NULL, &kind);
	if (!is_lane_page(buffer, kind, scan->owner))
	{
		omen_page_release(buffer);
		omen_bm25_report_pending(scan->index, scan->owner, scan->block);
	}
	page = BufferGetPage(buffer);
	if (scan->closed_only && is_end(scan, page))
	{
		scan->rest[scan->lane].head = scan->block;
		scan->rest[scan->lane].head_owner = scan->owner;
		scan->block = InvalidBlockNumber;
		omen_page_release(buffer);
		return true;
	}
	memcpy(scan->page.data, page, ((PageHeader) page)->pd_lower);
	scan->at = MAXALIGN(SizeOfPageHeaderData);
	scan->end = ((PageHeader) page)->pd_lower;
	scan->current = scan->block;
	scan->block = omen_page_opaque(page)->next;
	omen_page_release(buffer);
	if (scan->closed_only)
		note_page(scan);
	scan->npages++;
	scan->owner += OMEN_BM25_OWNER_STEP;
	return true;
}

static bool
begin_lane(OmenBm25PendingScan *scan, int lane)
{
	if (lane >= OMEN_BM25_LANES)
		return false;
	scan->lane = lane;
	scan->block = scan->meta->lanes[lane].head;
	scan->owner = scan->meta->lanes[lane].head_owner;
	return true;
}

/* Is this page of the lane not to be read any more? */
static bool
is_end(const OmenBm25PendingScan *scan, Page page)
{
	const OmenBm25DocData *doc = (OmenBm25DocData *) omen_page_content(page);

	if (!BlockNumberIsValid(omen_page_opaque(page)->next))
		return true;
	return scan->rest[scan->lane].npages >= scan->most &&
		(((PageHeader) page)->pd_lower <= MAXALIGN(SizeOfPageHeaderData) ||
		 (doc->flags & OMEN_BM25_DOC_PART) == 0);
}

static void
note_page(OmenBm25PendingScan *scan)
{
	if (scan->npages == scan->maxblocks)
	{
		scan->maxblocks *= 2;
		scan->blocks = repalloc_huge(scan->blocks, scan->maxblocks *
									 sizeof(BlockNumber));
	}
	scan->blocks[scan->npages] = scan->current;
	scan->rest[scan->lane].npages++;
}

OmenBm25DocTermData *
omen_bm25_doc_find(OmenBm25DocData *doc, uint32 hash, const char *lexeme,
				   int len)
{
	OmenBm25DocTermData *terms = omen_bm25_doc_terms(doc);
	int			low = 0;
	int			high = doc->nterms;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (terms[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < doc->nterms && terms[low].hash == hash; low++)
	{
		int			found;
		const char *bytes = omen_bm25_doc_lexeme(doc, low, &found);

		if (found == len && terms[low + 1].offset <= doc->size &&
			memcmp(bytes, lexeme, len) == 0)
			return &terms[low];
	}
	return NULL;
}
