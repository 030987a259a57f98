/*-------------------------------------------------------------------------
 *
 * fuse_text.c
 *	  The stream of a branch by text: an OmenTextScan.
 *
 * It brings the rows that have any of the query's lexemes.  Others are at 0, and
 * follow if it is to bring all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "bm25/bm25.h"
#include "bm25/omen_text_scan.h"
#include "planner/explain.h"
#include "planner/fuse.h"

/* Rows that arrays of an allow-set have room for at first */
#define FIRST_ROWS		1024

typedef struct TextStream
{
	OmenStream	base;
	OmenTextScan *scan;			/* NULL: not begun */
	bool		restricted;		/* by allow, whose arrays have room for */
	OmenTextAllow allow;
	ItemPointerData *rows;
	Size		max_rows;
	BlockNumber *blocks;
	Size		max_blocks;
	uint64		nscans;
	OmenTextScanCounts ended;	/* of those that have ended */
} TextStream;

static void begin_stream(OmenStream *base, int wanted);
static const OmenBm25Query *form_query(const OmenStream *base);
static bool next_row(OmenStream *base, ItemPointer tid);
static bool value_of(OmenStream *base, const ItemPointerData *tid,
					 double *value);
static bool list_next(const OmenStream *base, OmenStreamRows *rows);
static double ceiling(OmenStream *base);
static void end_stream(OmenStream *base);
static void restrict_to(OmenStream *base, TIDBitmap *bitmap);
static void add_rows(TextStream *stream, const OmenCompatBitmap *page);
static void add_block(TextStream *stream, BlockNumber block);
static bool is_empty(const OmenStream *base);
static void explain_stream(const OmenStream *base, ExplainState *es);

static const OmenStreamOps ops = {
	.begin = begin_stream,
	.next = next_row,
	.value_of = value_of,
	.list_next = list_next,
	.ceiling = ceiling,
	.end = end_stream,
	.restrict_to = restrict_to,
	.is_empty = is_empty,
	.explain = explain_stream,
};

bool
omen_text_stream_is_for(Relation index)
{
	return index->rd_indam->amgettuple == omen_bm25_gettuple;
}

OmenStream *
omen_text_stream_create(void)
{
	TextStream *stream = palloc0(sizeof(TextStream));

	stream->base.ops = &ops;
	return &stream->base;
}

static void
begin_stream(OmenStream *base, int wanted)
{
	TextStream *stream = (TextStream *) base;
	OmenTextScanParams params = {
		.index = base->index,
		.snapshot = base->snapshot,
		.allow = stream->restricted ? &stream->allow : NULL,
		.filter = base->filter,
		.k_hint = wanted,
	};

	if (base->has_query && !base->is_rest)
		params.query = form_query(base);
	params.with_unranked = base->brings_all || params.query == NULL;
	stream->scan = omen_text_scan_begin(&params);
	stream->nscans++;
}

static const OmenBm25Query *
form_query(const OmenStream *base)
{
	if (base->query_type == TSQUERYOID)
		return omen_bm25_form_query(DatumGetTSQuery(base->query), InvalidOid,
									OMEN_BM25_UNSET, OMEN_BM25_UNSET);
	return DatumGetOmenBm25Query(base->query);
}

static bool
next_row(OmenStream *base, ItemPointer tid)
{
	TextStream *stream = (TextStream *) base;
	double		score;

	if (!omen_text_scan_next(stream->scan, tid, &score))
		return false;
	base->has_value = base->has_query && !base->is_rest;
	base->value = 0 - score;
	return true;
}

/* Rows that wait to be put into the index are looked up in the table */
static bool
value_of(OmenStream *base, const ItemPointerData *tid, double *value)
{
	TextStream *stream = (TextStream *) base;
	double		score;

	if (stream->scan == NULL || !base->has_query || base->is_rest ||
		!omen_text_scan_score_of(stream->scan, tid, &score))
		return false;
	*value = 0 - score;
	return true;
}

static bool
list_next(const OmenStream *base, OmenStreamRows *rows)
{
	const OmenTextScan *scan = ((const TextStream *) base)->scan;

	if (base->brings_all)
		return false;
	rows->nrows = rows->settled = omen_text_scan_ready(scan);
	rows->no_others = omen_text_scan_is_last(scan);
	rows->rows = palloc(Max(rows->nrows, 1) * sizeof(OmenStreamRow));
	for (int i = 0; i < rows->nrows; i++)
	{
		double		score;

		omen_text_scan_peek(scan, i, &rows->rows[i].tid, &score);
		rows->rows[i].best = rows->rows[i].worst = 0 - score;
	}
	return true;
}

static double
ceiling(OmenStream *base)
{
	return omen_text_scan_bound(((TextStream *) base)->scan);
}

static void
end_stream(OmenStream *base)
{
	TextStream *stream = (TextStream *) base;

	if (stream->scan == NULL)
		return;
	omen_text_scan_add_counts(&stream->ended, stream->scan);
	omen_text_scan_end(stream->scan);
	stream->scan = NULL;
}

/* --- rows that the stream may bring --- */

static void
restrict_to(OmenStream *base, TIDBitmap *bitmap)
{
	TextStream *stream = (TextStream *) base;
	MemoryContext old;
	OmenCompatBitmap page;

	stream->restricted = bitmap != NULL;
	stream->allow.nrows = stream->allow.nblocks = 0;
	if (bitmap == NULL)
		return;
	old = MemoryContextSwitchTo(base->restrict_context);
	omen_compat_bitmap_begin(&page, bitmap);
	while (omen_compat_bitmap_next(&page))
	{
		CHECK_FOR_INTERRUPTS();
		if (page.noffsets >= 0)
			add_rows(stream, &page);
		else
			add_block(stream, page.block);
	}
	omen_compat_bitmap_end(&page);
	MemoryContextSwitchTo(old);
	stream->allow.rows = stream->rows;
	stream->allow.blocks = stream->blocks;
}

static void
add_rows(TextStream *stream, const OmenCompatBitmap *page)
{
	uint64		n = stream->allow.nrows;

	if (n + page->noffsets > stream->max_rows)
	{
		stream->max_rows = Max(FIRST_ROWS, 2 * (n + page->noffsets));
		stream->rows = stream->rows == NULL ?
			palloc_extended(stream->max_rows * sizeof(ItemPointerData),
							MCXT_ALLOC_HUGE) :
			repalloc_huge(stream->rows,
						  stream->max_rows * sizeof(ItemPointerData));
	}
	for (int i = 0; i < page->noffsets; i++)
		ItemPointerSet(&stream->rows[n + i], page->block, page->offsets[i]);
	stream->allow.nrows = n + page->noffsets;
}

static void
add_block(TextStream *stream, BlockNumber block)
{
	if (stream->allow.nblocks == stream->max_blocks)
	{
		stream->max_blocks = Max(FIRST_ROWS, 2 * stream->max_blocks);
		stream->blocks = stream->blocks == NULL ?
			palloc_extended(stream->max_blocks * sizeof(BlockNumber),
							MCXT_ALLOC_HUGE) :
			repalloc_huge(stream->blocks,
						  stream->max_blocks * sizeof(BlockNumber));
	}
	stream->blocks[stream->allow.nblocks++] = block;
}

static bool
is_empty(const OmenStream *base)
{
	const TextStream *stream = (const TextStream *) base;

	return stream->restricted && stream->allow.nrows == 0 &&
		stream->allow.nblocks == 0;
}

/* --- EXPLAIN --- */

static void
explain_stream(const OmenStream *base, ExplainState *es)
{
	const TextStream *stream = (const TextStream *) base;
	OmenScanReport report = {
		.index = RelationGetRelationName(base->index),
		.is_text = true,
		.loops = stream->nscans,
		.text = stream->ended,
	};

	if (stream->nscans == 0)
		return;
	if (stream->scan)
		omen_text_scan_add_counts(&report.text, stream->scan);
	if (stream->restricted)
	{
		omen_filter_explain_allowed("Allowed Rows", stream->allow.nrows,
									base->index, es);
		omen_filter_explain_lossy(stream->allow.nblocks, es);
	}
	omen_explain_add_report(&report, es);
}
