/*-------------------------------------------------------------------------
 *
 * bm25_flush.c
 *	  From the pending area to a segment; publishing segments.
 *
 * NOTES
 *	  The segment's pages are written first.  One record then puts it into the
 *	  directory and moves the heads of the lanes past what is in it (B4):
 *	  whoever has read the metapage before sees the pending documents, whoever
 *	  reads it after sees the segment.  Flushed pages are free at once: a scan
 *	  that comes upon one of them starts anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/freespace.h"
#include "utils/memutils.h"

#include "bm25/bm25.h"

/* Pages that are flushed together, of each lane */
#define MOST_PAGES	4096

/* A document, or part of one, in the pending area */
typedef struct FlushedDoc
{
	OmenBm25DocData *data;		/* copy */
	uint32		number;			/* of the pending document, for the sort */
} FlushedDoc;

typedef struct FlushState
{
	Relation	index;
	Relation	heap;
	OmenBm25MetaPageData meta;
	OmenBm25PendingScan scan;
	FlushedDoc *docs;
	uint32		ndocs;
	uint32		maxdocs;
	OmenBm25Writer *writer;
	uint32		next_doc;		/* of the term's postings, at least */
	OmenBm25SegmentEntryData entry;
} FlushState;

static bool flush_some(Relation index, Relation heap);
static void collect_docs(FlushState *state);
static int	compare_docs(const void *a, const void *b);
static void write_segment(FlushState *state, OmenBm25Space *space);
static void add_term(void *arg, const char *lexeme, int len);
static void add_posting(void *arg, uint32 doc, uint16 tf);
static void free_pages(Relation index, const BlockNumber *blocks, uint32 n);
static void replace_segments(OmenBm25MetaPage meta,
							 const OmenBm25Publish *publish);
static void move_heads(OmenBm25MetaPage meta, const OmenBm25LaneData *rest);

void
omen_bm25_flush(Relation index, Relation heap, bool all)
{
	for (int lane = 0; all && lane < OMEN_BM25_LANES; lane++)
		omen_bm25_close_lane(index, lane);
	do
	{
		CHECK_FOR_INTERRUPTS();
		omen_bm25_make_room(index, heap);
	} while (flush_some(index, heap));
}

/* Returns whether there may be more */
static bool
flush_some(Relation index, Relation heap)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 flush",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FlushState *state = palloc0(sizeof(*state));
	OmenBm25Space *space = palloc(sizeof(*space));
	OmenBm25Publish publish = {0};
	bool		more = false;

	state->index = index;
	state->heap = heap;
	omen_bm25_read_meta(index, &state->meta);
	collect_docs(state);
	if (state->scan.npages > 0)
	{
		omen_bm25_space_begin(space, index, heap, &state->meta);
		publish.space = space;
		publish.rest = state->scan.rest;
		if (state->ndocs > 0)
		{
			write_segment(state, space);
			publish.segments = &state->entry;
			publish.nsegments = 1;
		}
		omen_bm25_publish(&publish);
		free_pages(index, state->scan.blocks, state->scan.npages);
		for (int i = 0; i < OMEN_BM25_LANES; i++)
			more |= state->scan.rest[i].npages >= MOST_PAGES;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return more;
}

/* Copies of the living documents of closed pages, by TID */
static void
collect_docs(FlushState *state)
{
	OmenBm25DocData *doc;

	state->maxdocs = 1024;
	state->docs = palloc(state->maxdocs * sizeof(FlushedDoc));
	omen_bm25_pending_begin_closed(&state->scan, state->index, &state->meta,
								   MOST_PAGES);
	while ((doc = omen_bm25_pending_next(&state->scan)) != NULL)
	{
		if ((doc->flags & OMEN_BM25_DOC_DEAD) != 0)
			continue;
		if (state->ndocs == state->maxdocs)
		{
			state->maxdocs *= 2;
			state->docs = repalloc_huge(state->docs, state->maxdocs *
										sizeof(FlushedDoc));
		}
		state->docs[state->ndocs].data = palloc(doc->size);
		memcpy(state->docs[state->ndocs].data, doc, doc->size);
		state->docs[state->ndocs].number = state->ndocs;
		state->ndocs++;
	}
	qsort(state->docs, state->ndocs, sizeof(FlushedDoc), compare_docs);
}

static int
compare_docs(const void *a, const void *b)
{
	const FlushedDoc *x = a;
	const FlushedDoc *y = b;
	uint64		row = omen_tid_row(&x->data->tid);
	uint64		other = omen_tid_row(&y->data->tid);

	if (row != other)
		return row < other ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static void
write_segment(FlushState *state, OmenBm25Space *space)
{
	ItemPointerData *rows = palloc_extended(state->ndocs * sizeof(*rows),
											MCXT_ALLOC_HUGE);
	uint32	   *lengths = palloc_extended(state->ndocs * sizeof(*lengths),
										  MCXT_ALLOC_HUGE);
	OmenBm25Inverter *inverter = omen_bm25_inverter_create();
	uint32		n = 0;

	for (uint32 i = 0; i < state->ndocs; i++)
	{
		OmenBm25DocData *doc = state->docs[i].data;
		OmenBm25DocTermData *terms = omen_bm25_doc_terms(doc);

		/* parts of one document have its TID; a row may be none, on a bad page */
		if (n == 0 || omen_tid_row(&rows[n - 1]) != omen_tid_row(&doc->tid))
		{
			rows[n] = doc->tid;
			lengths[n++] = doc->length;
		}
		for (int j = 0; j < doc->nterms; j++)
		{
			int			len;
			const char *lexeme = omen_bm25_doc_lexeme(doc, j, &len);

			if (len < 0 || len > MAXSTRLEN ||
				terms[j + 1].offset > doc->size)
				omen_page_report_corrupt(state->index, OMEN_BM25_META_BLOCK,
										 "A pending document's terms are damaged.");
			omen_bm25_inverter_add(inverter, n - 1, lexeme, len,
								   terms[j].hash, terms[j].tf);
		}
	}
	state->writer = omen_bm25_writer_begin(space, state->meta.next_segment, n,
										   rows, lengths);
	omen_bm25_inverter_drain(inverter, add_term, add_posting, state);
	omen_bm25_writer_finish(state->writer, &state->entry);
}

static void
add_term(void *arg, const char *lexeme, int len)
{
	FlushState *state = arg;

	omen_bm25_writer_term(state->writer, lexeme, len);
	state->next_doc = 0;
}

/* What documents say of their rows and terms is theirs: two may say the same */
static void
add_posting(void *arg, uint32 doc, uint16 tf)
{
	FlushState *state = arg;

	if (unlikely(doc < state->next_doc))
		omen_page_report_corrupt(state->index, OMEN_BM25_META_BLOCK,
								 "Pending documents have a row's term twice.");
	omen_bm25_writer_posting(state->writer, doc, tf);
	state->next_doc = doc + 1;
}

/* Pages that no chain leads to any more; found by whoever needs one */
static void
free_pages(Relation index, const BlockNumber *blocks, uint32 n)
{
	BlockNumber first = MaxBlockNumber;
	BlockNumber last = 0;

	for (uint32 i = 0; i < n; i++)
	{
		OmenPageEdit edit;
		Buffer		buffer = omen_page_read(index, blocks[i],
											OMEN_PAGE_PENDING,
											OMEN_LOCK_EXCLUSIVE);
		Page		page;

		CHECK_FOR_INTERRUPTS();
		omen_edit_begin(&edit, index);
		page = omen_edit_page(&edit, buffer);
		omen_page_opaque(page)->kind = OMEN_PAGE_FREE;
		omen_edit_finish(&edit);
		omen_page_release(buffer);
		omen_page_record_free(index, blocks[i]);
		first = Min(first, blocks[i]);
		last = Max(last, blocks[i]);
	}
	if (n > 0)
		FreeSpaceMapVacuumRange(index, first, last + 1);
}

/* --- publishing --- */

void
omen_bm25_publish(const OmenBm25Publish *publish)
{
	OmenBm25Space *space = publish->space;
	Buffer		buffer;
	OmenPageEdit edit;
	OmenBm25MetaPage meta;

	for (int i = 0; i < publish->nreplaced; i++)
	{
		const OmenBm25SegmentHeaderData *data = publish->replaced[i]->data;

		for (uint32 j = 0; j < data->nruns; j++)
			omen_bm25_space_retire(space, data->runs[j].start,
								   data->runs[j].npages);
	}
	omen_bm25_space_settle(space);

	buffer = omen_page_read(space->index, OMEN_BM25_META_BLOCK,
							OMEN_PAGE_META, OMEN_LOCK_EXCLUSIVE);
	omen_edit_begin(&edit, space->index);
	meta = (OmenBm25MetaPage)
		omen_page_content(omen_edit_page(&edit, buffer));
	replace_segments(meta, publish);
	if (publish->rest)
		move_heads(meta, publish->rest);
	meta->nextents = space->nextents;
	memcpy(meta->extents, space->extents,
		   space->nextents * sizeof(OmenBm25ExtentData));
	memset(meta->extents + meta->nextents, 0,
		   (OMEN_BM25_MAX_EXTENTS - meta->nextents) *
		   sizeof(OmenBm25ExtentData));
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

static void
replace_segments(OmenBm25MetaPage meta, const OmenBm25Publish *publish)
{
	int			n = 0;

	for (int i = 0; i < meta->nsegments; i++)
	{
		bool		replaced = false;

		for (int j = 0; j < publish->nreplaced; j++)
			replaced |= meta->segments[i].id == publish->replaced[j]->data->id;
		if (!replaced)
			meta->segments[n++] = meta->segments[i];
	}
	for (int i = 0; i < publish->nsegments; i++)
	{
		/* omen_bm25_make_room() sees to that */
		if (n == OMEN_BM25_MAX_SEGMENTS)
			elog(ERROR, "too many segments");
		meta->segments[n++] = publish->segments[i];
		meta->next_segment = Max(meta->next_segment,
								 publish->segments[i].id + 1);
	}
	memset(meta->segments + n, 0,
		   (OMEN_BM25_MAX_SEGMENTS - n) * sizeof(OmenBm25SegmentEntryData));
	meta->nsegments = n;
}

static void
move_heads(OmenBm25MetaPage meta, const OmenBm25LaneData *rest)
{
	for (int i = 0; i < OMEN_BM25_LANES; i++)
	{
		OmenBm25LaneData *lane = &meta->lanes[i];

		lane->head = rest[i].head;
		lane->head_owner = rest[i].head_owner;
		lane->npages -= rest[i].npages;

		/* the tail may have been before a document's last part */
		if ((int32) (lane->tail_owner - lane->head_owner) < 0)
		{
			lane->tail = lane->head;
			lane->tail_owner = lane->head_owner;
		}
	}
}
