/*-------------------------------------------------------------------------
 *
 * bm25_scan.c
 *	  Index scans: amgettuple and amgetbitmap over an OmenTextScan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "catalog/pg_type.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "bm25/bm25.h"
#include "bm25/omen_text_scan.h"

typedef struct OmenBm25ScanState
{
	MemoryContext context;		/* reset by each rescan */
	OmenTextScan *scan;			/* NULL until the first row is asked for */
	bool		nothing;		/* a condition is NULL */
	uint64		nscans;
	OmenTextScanCounts ended;	/* of those that have ended */
} OmenBm25ScanState;

int			(*omen_bm25_rows_wanted) (IndexScanDesc scan) = NULL;

static void end_scan(OmenBm25ScanState *state);
static void start_scan(IndexScanDesc scan, bool ranked);
static TSQuery get_filter(IndexScanDesc scan, bool *nothing);
static OmenBm25Query *get_query(IndexScanDesc scan);

IndexScanDesc
omen_bm25_beginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	OmenBm25ScanState *state = palloc0(sizeof(*state));

	state->context = AllocSetContextCreate(CurrentMemoryContext,
										   "omenbm25 index scan",
										   ALLOCSET_SMALL_SIZES);
	scan->opaque = state;
	return scan;
}

void
omen_bm25_rescan(IndexScanDesc scan, ScanKey keys, int nkeys,
				 ScanKey orderbys, int norderbys)
{
	OmenBm25ScanState *state = scan->opaque;

	end_scan(state);
	MemoryContextReset(state->context);
	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys,
				scan->numberOfOrderBys * sizeof(ScanKeyData));
}

bool
omen_bm25_gettuple(IndexScanDesc scan, ScanDirection direction)
{
	OmenBm25ScanState *state = scan->opaque;
	double		score;

	/* amcanbackward is false */
	Assert(ScanDirectionIsForward(direction));

	if (state->scan == NULL)
		start_scan(scan, scan->numberOfOrderBys > 0);
	scan->xs_recheckorderby = false;
	if (state->nothing ||
		!omen_text_scan_next(state->scan, &scan->xs_heaptid, &score))
		return false;
	scan->xs_recheck = omen_text_scan_recheck(state->scan);
	return true;
}

int64
omen_bm25_getbitmap(IndexScanDesc scan, TIDBitmap *bitmap)
{
	OmenBm25ScanState *state = scan->opaque;

	if (state->scan == NULL)
		start_scan(scan, false);
	return state->nothing ? 0 : omen_text_scan_bitmap(state->scan, bitmap);
}

void
omen_bm25_endscan(IndexScanDesc scan)
{
	OmenBm25ScanState *state = scan->opaque;

	end_scan(state);
	MemoryContextDelete(state->context);
	pfree(state);
	scan->opaque = NULL;
}

static void
end_scan(OmenBm25ScanState *state)
{
	if (state->scan)
	{
		omen_text_scan_add_counts(&state->ended, state->scan);
		omen_text_scan_end(state->scan);
	}
	state->scan = NULL;
}

uint64
omen_bm25_scan_totals(IndexScanDesc scan, OmenTextScanCounts *totals)
{
	const OmenBm25ScanState *state = scan->opaque;

	*totals = state->ended;
	if (state->scan)
		omen_text_scan_add_counts(totals, state->scan);
	return state->nscans;
}

void
omen_text_scan_add_counts(OmenTextScanCounts *sum, const OmenTextScan *scan)
{
	OmenTextScanCounts counts;

	omen_text_scan_counts(scan, &counts);
	sum->pages += counts.pages;
	sum->postings += counts.postings;
	sum->blocks += counts.blocks;
	sum->pending += counts.pending;
	sum->passes += counts.passes;
}

static void
start_scan(IndexScanDesc scan, bool ranked)
{
	OmenBm25ScanState *state = scan->opaque;
	OmenTextScanParams params = {0};
	MemoryContext old = MemoryContextSwitchTo(state->context);

	pgstat_count_index_scan(scan->indexRelation);
	omen_compat_count_search(scan);

	/* rows whose tsvector is NULL are not in the index */
	if (scan->numberOfKeys == 0 && !ranked)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot scan index \"%s\" without a condition or an ORDER BY of its operators",
						RelationGetRelationName(scan->indexRelation))));

	params.index = scan->indexRelation;
	params.snapshot = scan->xs_snapshot;
	params.filter = get_filter(scan, &state->nothing);
	if (ranked)
		params.query = get_query(scan);
	params.with_unranked = true;
	if (omen_bm25_rows_wanted)
		params.k_hint = omen_bm25_rows_wanted(scan);
	state->scan = omen_text_scan_begin(&params);
	state->nscans++;
	MemoryContextSwitchTo(old);
}

/* All conditions together; *nothing: no row meets them */
static TSQuery
get_filter(IndexScanDesc scan, bool *nothing)
{
	Datum		filter = (Datum) 0;

	*nothing = false;
	for (int i = 0; i < scan->numberOfKeys; i++)
	{
		const ScanKeyData *key = &scan->keyData[i];

		if ((key->sk_flags & SK_ISNULL) != 0)
			*nothing = true;
		else if (filter == (Datum) 0)
			filter = key->sk_argument;
		else
			filter = DirectFunctionCall2(tsquery_and, filter,
										 key->sk_argument);
	}
	return filter == (Datum) 0 ? NULL : DatumGetTSQuery(filter);
}

/* NULL: all rows are alike */
static OmenBm25Query *
get_query(IndexScanDesc scan)
{
	const ScanKeyData *key = scan->orderByData;

	if ((key->sk_flags & SK_ISNULL) != 0)
		return NULL;
	if (key->sk_subtype == TSQUERYOID)
		return omen_bm25_form_query(DatumGetTSQuery(key->sk_argument),
									InvalidOid, OMEN_BM25_UNSET,
									OMEN_BM25_UNSET);
	return DatumGetOmenBm25Query(key->sk_argument);
}
