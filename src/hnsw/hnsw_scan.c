/*-------------------------------------------------------------------------
 *
 * hnsw_scan.c
 *	  Ordered index scans: amgettuple over an OmenScan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "pgstat.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/guc.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/omen_scan.h"

typedef struct OmenHnswScanState
{
	MemoryContext context;		/* reset by each rescan */
	OmenScan   *scan;			/* NULL until the first row is asked for */
	OmenAllowSet allow;			/* of its conditions on keys */
	uint64		nscans;			/* started so far, and the sum of what those */
	OmenScanCounts ended;		/* that have ended did */
} OmenHnswScanState;

int			(*omen_hnsw_rows_wanted) (IndexScanDesc scan, int ef) = NULL;

static bool start_scan(IndexScanDesc scan);
static const OmenAllowSet *allow_keys(IndexScanDesc scan);

IndexScanDesc
omen_hnsw_beginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	OmenHnswScanState *state = palloc0(sizeof(OmenHnswScanState));

	state->context = AllocSetContextCreate(CurrentMemoryContext,
										   "omenhnsw scan",
										   ALLOCSET_DEFAULT_SIZES);
	scan->opaque = state;
	return scan;
}

void
omen_hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys,
				 ScanKey orderbys, int norderbys)
{
	OmenHnswScanState *state = scan->opaque;

	if (state->scan)
	{
		omen_scan_add_counts(&state->ended, state->scan);
		omen_scan_end(state->scan);
	}
	state->scan = NULL;
	MemoryContextReset(state->context);

	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys,
				scan->numberOfOrderBys * sizeof(ScanKeyData));
}

bool
omen_hnsw_gettuple(IndexScanDesc scan, ScanDirection direction)
{
	OmenHnswScanState *state = scan->opaque;
	float		distance;

	/* amcanbackward is false */
	Assert(ScanDirectionIsForward(direction));

	if (state->scan == NULL && !start_scan(scan))
		return false;

	/* only the server knows, and says so when it wants the next one */
	if (scan->kill_prior_tuple)
		omen_scan_was_dead(state->scan);

	scan->xs_recheckorderby = false;
	if (!omen_scan_next(state->scan, &scan->xs_heaptid, &distance))
		return false;
	scan->xs_recheck = omen_scan_recheck(state->scan);
	omen_scan_pin_row(state->scan, scan->xs_heapfetch, &scan->xs_heaptid);
	return true;
}

void
omen_hnsw_endscan(IndexScanDesc scan)
{
	OmenHnswScanState *state = scan->opaque;

	if (state->scan)
		omen_scan_end(state->scan);
	MemoryContextDelete(state->context);
	pfree(state);
	scan->opaque = NULL;
}

/* Returns false if no row can meet the conditions on keys */
static bool
start_scan(IndexScanDesc scan)
{
	OmenHnswScanState *state = scan->opaque;
	OmenHnswOptions options = omen_hnsw_get_options(scan->indexRelation);
	OmenScanParams params = {0};
	MemoryContext old;

	pgstat_count_index_scan(scan->indexRelation);
	omen_compat_count_search(scan);

	/* not every row is in the index: it can answer ordered queries only */
	if (scan->numberOfOrderBys == 0 || scan->orderByData == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot scan index \"%s\" without an ORDER BY of its operator",
						RelationGetRelationName(scan->indexRelation))));

	params.index = scan->indexRelation;
	params.heap = scan->heapRelation;
	params.snapshot = scan->xs_snapshot;
	params.has_query = (scan->orderByData->sk_flags & SK_ISNULL) == 0;
	params.query = scan->orderByData->sk_argument;
	params.ef = omen_guc_ef_search(options.ef_search);
	params.exhaustive = omen_guc_exhaustive();
	params.strategy = omen_guc_filter_strategy();
	if (omen_hnsw_rows_wanted)
		params.k_hint = omen_hnsw_rows_wanted(scan, params.ef);

	old = MemoryContextSwitchTo(state->context);
	if (scan->numberOfKeys > 0)
		params.allow = allow_keys(scan);
	if (scan->numberOfKeys == 0 || params.allow != NULL)
	{
		state->scan = omen_scan_begin(&params);
		state->nscans++;
	}
	MemoryContextSwitchTo(old);
	return state->scan != NULL;
}

/* The nodes that conditions on keys allow; NULL if there can be none */
static const OmenAllowSet *
allow_keys(IndexScanDesc scan)
{
	OmenHnswScanState *state = scan->opaque;
	OmenHnswIndex *hnsw = omen_hnsw_open(scan->indexRelation);
	OmenKeyPredicate *predicate = omen_hnsw_key_predicate(&hnsw->meta,
													 scan->keyData,
													 scan->numberOfKeys);

	if (predicate->nothing)
		return NULL;
	memset(&state->allow, 0, sizeof(OmenAllowSet));
	omen_column_allow(scan->indexRelation, hnsw, predicate, &state->allow);
	return &state->allow;
}

uint64
omen_hnsw_scan_totals(IndexScanDesc scan, OmenScanCounts *totals)
{
	OmenHnswScanState *state = scan->opaque;

	*totals = state->ended;
	if (state->scan)
		omen_scan_add_counts(totals, state->scan);
	return state->nscans;
}

/* Sums, but for the breadth: of that, the widest; and the latest strategy */
void
omen_scan_add_counts(OmenScanCounts *sum, const OmenScan *scan)
{
	OmenScanCounts counts;

	omen_scan_counts(scan, &counts);
	sum->visited += counts.visited;
	sum->pages += counts.pages;
	sum->distances += counts.distances;
	sum->verified += counts.verified;
	sum->swept += counts.swept;
	sum->ef = Max(sum->ef, counts.ef);
	sum->strategy = counts.strategy;
	sum->switches += counts.switches;
}
