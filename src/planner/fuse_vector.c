/*-------------------------------------------------------------------------
 *
 * fuse_vector.c
 *	  The stream of a branch by distance: an OmenScan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "planner/explain.h"
#include "planner/fuse.h"

typedef struct VectorStream
{
	OmenStream	base;
	OmenScan   *scan;			/* NULL: not begun */
	OmenFilterAllow allow;
	bool		restricted;		/* by allow */
	uint64		nscans;
	OmenScanCounts ended;		/* of those that have ended */
} VectorStream;

static void begin_stream(OmenStream *base, int wanted);
static bool next_row(OmenStream *base, ItemPointer tid);
static bool is_visible(const OmenStream *base);
static void pin_row(OmenStream *base, IndexFetchTableData *fetch,
					const ItemPointerData *tid);
static bool list_next(const OmenStream *base, OmenStreamRows *rows);
static void end_stream(OmenStream *base);
static void restrict_to(OmenStream *base, TIDBitmap *bitmap);
static bool is_empty(const OmenStream *base);
static void explain_stream(const OmenStream *base, ExplainState *es);

static const OmenStreamOps ops = {
	.begin = begin_stream,
	.next = next_row,
	.is_visible = is_visible,
	.pin = pin_row,
	.list_next = list_next,
	.end = end_stream,
	.restrict_to = restrict_to,
	.is_empty = is_empty,
	.explain = explain_stream,
};

OmenStream *
omen_vector_stream_create(void)
{
	VectorStream *stream = palloc0(sizeof(VectorStream));

	stream->base.ops = &ops;
	stream->base.brings_all = true;
	return &stream->base;
}

static void
begin_stream(OmenStream *base, int wanted)
{
	VectorStream *stream = (VectorStream *) base;
	OmenHnswOptions options = omen_hnsw_get_options(base->index);
	OmenScanParams params = {
		.index = base->index,
		.heap = base->heap,
		.snapshot = base->snapshot,
		.has_query = base->has_query,
		.query = base->query,
		.allow = stream->restricted ? &stream->allow.set : NULL,
		.strategy = omen_guc_filter_strategy(),
		.ef = omen_guc_ef_search(options.ef_search),
		.k_hint = wanted,
		.exhaustive = omen_guc_exhaustive(),
	};

	/* of all nodes: not twice as broad as rows are wanted */
	if (!stream->restricted)
	{
		params.ef = Max(params.ef, wanted);
		params.breadth = OMEN_FUSE_BREADTH;
	}
	stream->scan = omen_scan_begin(&params);
	stream->nscans++;
}

static bool
next_row(OmenStream *base, ItemPointer tid)
{
	float		distance;

	return omen_scan_next(((VectorStream *) base)->scan, tid, &distance);
}

static bool
is_visible(const OmenStream *base)
{
	return omen_scan_is_visible(((const VectorStream *) base)->scan);
}

static void
pin_row(OmenStream *base, IndexFetchTableData *fetch,
		const ItemPointerData *tid)
{
	omen_scan_pin_row(((VectorStream *) base)->scan, fetch, tid);
}

/* With values of the index's own: they are only compared with each other */
static bool
list_next(const OmenStream *base, OmenStreamRows *rows)
{
	const OmenScan *scan = ((const VectorStream *) base)->scan;
	OmenScanRow *found;

	rows->nrows = omen_scan_list_rows(scan, &found, &rows->settled,
									  &rows->no_others);
	if (rows->nrows < 0)
		return false;
	rows->rows = palloc(Max(rows->nrows, 1) * sizeof(OmenStreamRow));
	for (int i = 0; i < rows->nrows; i++)
	{
		rows->rows[i].tid = found[i].tid;
		rows->rows[i].best = found[i].lower;
		rows->rows[i].worst = found[i].upper;
	}
	pfree(found);
	return true;
}

static void
end_stream(OmenStream *base)
{
	VectorStream *stream = (VectorStream *) base;

	if (stream->scan == NULL)
		return;
	omen_scan_add_counts(&stream->ended, stream->scan);
	omen_scan_end(stream->scan);
	stream->scan = NULL;
}

static void
restrict_to(OmenStream *base, TIDBitmap *bitmap)
{
	VectorStream *stream = (VectorStream *) base;
	MemoryContext old;

	stream->restricted = false;
	if (bitmap == NULL)
		return;
	old = MemoryContextSwitchTo(base->restrict_context);
	stream->restricted = omen_filter_allow_load(&stream->allow, base->index,
												bitmap);
	MemoryContextSwitchTo(old);
}

static bool
is_empty(const OmenStream *base)
{
	const VectorStream *stream = (const VectorStream *) base;

	return stream->restricted && stream->allow.set.cardinality == 0;
}

static void
explain_stream(const OmenStream *base, ExplainState *es)
{
	const VectorStream *stream = (const VectorStream *) base;
	OmenScanReport report = {
		.index = RelationGetRelationName(base->index),
		.loops = stream->nscans,
		.counts = stream->ended,
	};

	if (stream->nscans == 0)
		return;
	if (stream->scan)
		omen_scan_add_counts(&report.counts, stream->scan);
	if (stream->restricted)
		omen_filter_explain_allowed("Allowed Nodes",
									stream->allow.set.cardinality,
									base->index, es);
	omen_explain_add_report(&report, es);
}
