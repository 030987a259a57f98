/*-------------------------------------------------------------------------
 *
 * verify_bm25.c
 *	  Checks the structure of omenbm25 indexes, see src/bm25/README.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "bm25/bm25_view.h"

OMEN_FUNCTION(omen_bm25_problems);

/* Longest list of problems that is told */
#define MOST_TOLD	20

typedef struct CheckState
{
	Relation	index;
	OmenBm25Index *bm25;
	OmenBm25MetaPageData meta;
	BlockNumber nblocks;
	uint64	   *used;			/* a bit for each block */
	uint64	   *rows;			/* of living documents */
	uint64		nrows;
	uint64		maxrows;
	int			nproblems;
	StringInfoData problems;
} CheckState;

static void use_blocks(CheckState *state, BlockNumber start, uint32 n,
					   const char *what);
static void check_pending(CheckState *state);
static void check_segment(CheckState *state,
						  const OmenBm25SegmentEntryData *entry);
static void check_docs(CheckState *state,
					   const OmenBm25SegmentEntryData *entry,
					   OmenBm25Docs *docs);
static void check_terms(CheckState *state, const OmenBm25Segment *segment,
						OmenBm25Docs *docs);
static void check_lengths(CheckState *state, const OmenBm25Segment *segment,
						  OmenBm25Docs *docs, const uint64 *lengths);
static void add_row(CheckState *state, uint64 row);
static void check_rows(CheckState *state);
static int	compare_rows(const void *a, const void *b);
static void note(CheckState *state, const char *format,...)
			pg_attribute_printf(2, 3);

/*
 * What is wrong with an index, one problem a line; NULL if nothing is.  Holds
 * off flushes, merges and vacuum meanwhile.  Corrupt pages raise an ERROR.
 */
Datum
omen_bm25_problems(PG_FUNCTION_ARGS)
{
	Relation	heap;
	CheckState *state = palloc0(sizeof(*state));

	state->index = omen_open_text_index(PG_GETARG_OID(0), &heap);
	omen_check_stat_privilege(state->index);
	state->bm25 = omen_bm25_open(state->index);
	initStringInfo(&state->problems);
	omen_bm25_maintain(state->index);
	omen_bm25_read_meta(state->index, &state->meta);
	state->nblocks = RelationGetNumberOfBlocks(state->index);
	state->used = palloc0((state->nblocks / 64 + 1) * sizeof(uint64));
	use_blocks(state, OMEN_BM25_META_BLOCK, 1, "the metapage");
	check_pending(state);
	for (int i = 0; i < state->meta.nsegments; i++)
		check_segment(state, &state->meta.segments[i]);
	for (int i = 0; i < state->meta.nextents; i++)
		use_blocks(state, state->meta.extents[i].start,
				   state->meta.extents[i].npages, "the extents");
	check_rows(state);
	omen_bm25_end_maintain(state->index);
	omen_close_index(state->index, heap);
	if (state->nproblems == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(state->problems.data));
}

/* B7: each block is in one place */
static void
use_blocks(CheckState *state, BlockNumber start, uint32 n, const char *what)
{
	for (BlockNumber block = start; block < start + n; block++)
	{
		uint64		bit = UINT64CONST(1) << (block % 64);

		if (block >= state->nblocks)
		{
			/* the pending area may have grown */
			if (block >= RelationGetNumberOfBlocks(state->index))
				note(state, "block %u of %s is beyond the end", block, what);
			continue;
		}
		if ((state->used[block / 64] & bit) != 0)
			note(state, "block %u of %s is in use elsewhere, too", block,
				 what);
		state->used[block / 64] |= bit;
	}
}

static void
check_pending(CheckState *state)
{
	OmenBm25PendingScan *scan = palloc(sizeof(*scan));
	OmenBm25DocData *doc;
	BlockNumber last = InvalidBlockNumber;

	omen_bm25_pending_begin(scan, state->index, &state->meta);
	while ((doc = omen_bm25_pending_next(scan)) != NULL)
	{
		OmenBm25DocTermData *terms = omen_bm25_doc_terms(doc);

		if (scan->current != last)
			use_blocks(state, scan->current, 1, "the pending area");
		last = scan->current;
		for (int i = 1; i < doc->nterms; i++)
		{
			if (terms[i].hash < terms[i - 1].hash)
				note(state, "terms of a pending document in block %u are out of order",
					 scan->current);
		}
		if ((doc->flags & (OMEN_BM25_DOC_DEAD | OMEN_BM25_DOC_PART)) == 0)
			add_row(state, omen_bm25_row(&doc->tid));
	}
}

static void
check_segment(CheckState *state, const OmenBm25SegmentEntryData *entry)
{
	OmenBm25Segment *segment = omen_bm25_find_segment(state->index,
													  state->bm25, entry);
	OmenBm25Docs docs;
	uint64		npages = 0;

	for (uint32 i = 0; i < segment->data->nruns; i++)
	{
		use_blocks(state, segment->data->runs[i].start,
				   segment->data->runs[i].npages, "a segment");
		npages += segment->data->runs[i].npages;
	}
	if (npages != entry->npages || npages != segment->data->npages)
		note(state, "segment %u has " UINT64_FORMAT " pages, expected %u",
			 entry->id, npages, entry->npages);
	omen_bm25_docs_init(&docs, state->index, state->bm25, segment, true);
	check_docs(state, entry, &docs);
	check_terms(state, segment, &docs);
}

static void
check_docs(CheckState *state, const OmenBm25SegmentEntryData *entry,
		   OmenBm25Docs *docs)
{
	uint32		dead = 0;
	uint64		length = 0;
	uint64		last = 0;

	for (uint32 doc = 0; doc < entry->ndocs; doc++)
	{
		uint64		row = omen_bm25_doc_ops.row(docs, doc);

		if (doc % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (doc > 0 && row <= last)
			note(state, "rows of segment %u are out of order", entry->id);
		last = row;
		length += omen_bm25_docs_length(docs, doc);
		if (omen_bm25_docs_is_dead(docs, doc))
			dead++;
		else
			add_row(state, row);
	}

	/* a crash may come between the two records */
	if (dead < entry->ndead)
		note(state, "segment %u has %u dead documents, expected %u", entry->id,
			 dead, entry->ndead);
	if (length != entry->length)
		note(state, "documents of segment %u are not as long as expected",
			 entry->id);
}

static void
check_terms(CheckState *state, const OmenBm25Segment *segment,
			OmenBm25Docs *docs)
{
	OmenBm25DictScan *dict = palloc(sizeof(*dict));
	uint64	   *lengths = palloc_extended(segment->data->ndocs *
										  sizeof(uint64),
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	char		last[MAXSTRLEN + 1];
	int			last_len = 0;
	uint32		nterms = 0;
	uint64		npostings = 0;

	omen_bm25_dict_begin(dict, state->index, state->bm25, segment, "", 0);
	while (omen_bm25_dict_next(dict))
	{
		OmenBm25Postings postings;
		uint32		doc;
		uint16		tf;

		CHECK_FOR_INTERRUPTS();
		if (nterms++ > 0 &&
			omen_bm25_compare_lexemes(last, last_len, dict->lexeme,
									  dict->len) >= 0)
			note(state, "lexemes of segment %u are out of order",
				 segment->data->id);
		memcpy(last, dict->lexeme, dict->len);
		last_len = dict->len;
		omen_bm25_postings_begin(&postings, state->index, state->bm25, segment,
								 &dict->entry);
		while (omen_bm25_postings_next(&postings, &doc, &tf))
		{
			lengths[doc] += tf;
			npostings++;
		}
	}
	if (nterms != segment->data->nterms ||
		npostings != segment->data->postings)
		note(state, "segment %u has %u lexemes and " UINT64_FORMAT
			 " postings, expected %u and " UINT64_FORMAT, segment->data->id,
			 nterms, npostings, segment->data->nterms,
			 segment->data->postings);
	check_lengths(state, segment, docs, lengths);
	pfree(lengths);
}

/*
 * B5: a document is as long as its terms are frequent, unless a frequency was
 * too great to be stored
 */
static void
check_lengths(CheckState *state, const OmenBm25Segment *segment,
			  OmenBm25Docs *docs, const uint64 *lengths)
{
	for (uint32 doc = 0; doc < segment->data->ndocs; doc++)
	{
		uint32		length = omen_bm25_docs_length(docs, doc);

		if (lengths[doc] > length ||
			(lengths[doc] < length && length < PG_UINT16_MAX))
			note(state, "document %u of segment %u has length %u, its terms "
				 UINT64_FORMAT, doc, segment->data->id, length, lengths[doc]);
	}
}

/* --- rows --- */

static void
add_row(CheckState *state, uint64 row)
{
	if (state->nrows == state->maxrows)
	{
		state->maxrows = Max(2 * state->maxrows, 1024);
		state->rows = state->rows == NULL ?
			palloc(state->maxrows * sizeof(uint64)) :
			repalloc_huge(state->rows, state->maxrows * sizeof(uint64));
	}
	state->rows[state->nrows++] = row;
}

/* B5: a row has one living document */
static void
check_rows(CheckState *state)
{
	if (state->nrows == 0)
		return;
	qsort(state->rows, state->nrows, sizeof(uint64), compare_rows);
	for (uint64 i = 1; i < state->nrows; i++)
	{
		if (state->rows[i] == state->rows[i - 1])
			note(state, "row (%u,%u) is there twice",
				 (uint32) (state->rows[i] >> 16),
				 (uint32) (state->rows[i] & 0xFFFF));
	}
}

static int
compare_rows(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return (x > y) - (x < y);
}

static void
note(CheckState *state, const char *format,...)
{
	va_list		arguments;
	char		text[256];

	if (state->nproblems++ >= MOST_TOLD)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	appendStringInfo(&state->problems, "%s%s",
					 state->nproblems > 1 ? "\n" : "", text);
}
