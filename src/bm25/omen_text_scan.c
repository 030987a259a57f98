/*-------------------------------------------------------------------------
 *
 * omen_text_scan.c
 *	  A ranking of an index's rows by BM25, row by row.
 *
 * NOTES
 *	  Hits are found in batches, each four times as large as the one before,
 *	  which go on after the last hit of the one before (text/topk.h).  When
 *	  there are no more, rows without any of the lexemes follow, in the order of
 *	  TIDs.
 *
 *	  Others flush and merge while the scan runs, and what it has read of the
 *	  index may be gone.  Then it looks at the index anew and goes on after the
 *	  row that it returned last, by the same statistics: the order is that of
 *	  (score, TID), which does not depend on where a row is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "bm25/bm25_view.h"
#include "bm25/omen_text_scan.h"
#include "graph/allowset.h"

/* Rows of the first batch, unless the caller knows better, and of the largest */
#define FIRST_BATCH		64
#define LARGEST_BATCH	(64 * 1024)
#define BATCH_GROWTH	4

/* Rows of the first batch for each one that is wanted: some may not be visible */
#define SPARE_ROWS		1.125

/* A scan tries no more often to go on: then something else is wrong */
#define MOST_TRIES		100

/* Rows of a segment that the scan may return, and where it is in them */
typedef struct ScanSegment
{
	uint64	   *allowed;		/* NULL: all */
	uint32		nallowed;
	bool		recheck;
	uint64	   *ranked;			/* those that have a term; NULL: not known */
	uint32		next;			/* document of score 0 to be looked at next */
} ScanSegment;

typedef enum ScanPhase
{
	PHASE_HITS,
	PHASE_UNRANKED,
	PHASE_END
} ScanPhase;

struct OmenTextScan
{
	MemoryContext context;
	MemoryContext view_context; /* reset when the index is looked at anew */
	OmenTextScanParams params;
	OmenBm25Ranking *ranking;	/* NULL without a query, or before the view */
	bool		looked;			/* view, segments and topk are there */
	OmenBm25View *view;
	ScanSegment *segments;
	OmenTopK   *topk;			/* NULL if there is nothing to rank by */
	bool		filtered;		/* rows have to meet params.filter */

	ScanPhase	phase;
	int			k;				/* of the batch */
	OmenTopKHit *hits;
	bool	   *rechecks;		/* of each hit */
	int			nhits;
	int			at;				/* next one */
	bool		last_batch;
	BlockNumber heap_blocks;	/* that the table has at least */
	bool		has_last;		/* "last" was returned */
	OmenTopKHit last;
	bool		recheck;		/* it */
	uint64		last_unranked;	/* row of score 0 returned last, plus one */
	uint32		pending_at;		/* pending document of score 0 to be next */
	OmenTextScanCounts counts;
};

typedef bool (*ScanStep) (OmenTextScan *scan, void *arg);

/* What omen_text_scan_bitmap() is about */
typedef struct Fill
{
	TIDBitmap  *bitmap;
	int64		nrows;
} Fill;

/* What omen_text_scan_score_of() is about */
typedef struct ScoreOf
{
	uint64		row;
	double		score;
	bool		found;
} ScoreOf;

static bool retry(OmenTextScan *scan, ScanStep step, void *arg);
static bool try_step(OmenTextScan *scan, ScanStep step, void *arg, bool again,
					 bool *result);
static bool just_look(OmenTextScan *scan, void *arg);
static void look(OmenTextScan *scan);
static void rank(OmenTextScan *scan);
static void choose_filter(OmenTextScan *scan);
static OmenBm25Keep what_to_keep(const OmenTextScan *scan);
static void check_units(Relation index, const OmenBm25Ranking *ranking);
static void restrict_segment(OmenTextScan *scan, int i);
static void make_topk(OmenTextScan *scan);
static int	compare_pending(const void *a, const void *b);
static bool next_batch(OmenTextScan *scan, void *arg);
static int	most_hits(const OmenTextScan *scan);
static void offer_pending(OmenTextScan *scan);
static bool take_hit(OmenTextScan *scan, ItemPointer tid, double *score);
static bool next_unranked(OmenTextScan *scan, void *arg);
static bool is_unranked(OmenTextScan *scan, int i, uint32 doc);
static bool find_unranked(OmenTextScan *scan, int i, uint64 *row);
static bool find_pending_unranked(OmenTextScan *scan, uint64 *row);
static void check_row(OmenTextScan *scan, uint64 row, OffsetNumber most);
static bool fill_bitmap(OmenTextScan *scan, void *arg);
static int64 fill_segment(OmenTextScan *scan, int i, const Fill *fill);
static bool score_row(OmenTextScan *scan, void *arg);

OmenTextScan *
omen_text_scan_begin(const OmenTextScanParams *params)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 scan",
												  ALLOCSET_DEFAULT_SIZES);
	OmenTextScan *scan = MemoryContextAllocZero(context, sizeof(*scan));
	MemoryContext old = CurrentMemoryContext;

	/* whoever scans an index may read what it is of */
	if (params->query != NULL &&
		params->query->index != RelationGetRelid(params->index))
		omen_bm25_check_query(params->query);
	scan->context = context;
	MemoryContextSwitchTo(context);
	scan->view_context = omen_bm25_scratch();
	MemoryContextSwitchTo(old);
	scan->params = *params;
	scan->k = FIRST_BATCH;
	if (params->k_hint > 0)
		scan->k = Min(params->k_hint, LARGEST_BATCH / 2) * SPARE_ROWS + 1;
	scan->phase = params->query != NULL ? PHASE_HITS : PHASE_UNRANKED;
	return scan;
}

bool
omen_text_scan_next(OmenTextScan *scan, ItemPointer tid, double *score)
{
	uint64		row;

	while (scan->phase == PHASE_HITS)
	{
		if (scan->at < scan->nhits)
			return take_hit(scan, tid, score);
		if (scan->last_batch)
			scan->phase = PHASE_UNRANKED;
		else
			retry(scan, next_batch, NULL);
	}
	if (scan->phase == PHASE_UNRANKED && scan->params.with_unranked &&
		retry(scan, next_unranked, &row))
	{
		scan->last_unranked = row + 1;
		omen_tid_set(tid, row);
		*score = 0;
		return true;
	}
	scan->phase = PHASE_END;
	return false;
}

int
omen_text_scan_ready(const OmenTextScan *scan)
{
	return scan->phase == PHASE_HITS ? scan->nhits - scan->at : 0;
}

void
omen_text_scan_peek(const OmenTextScan *scan, int n, ItemPointer tid,
					double *score)
{
	const OmenTopKHit *hit = &scan->hits[scan->at + n];

	Assert(n < omen_text_scan_ready(scan));
	omen_tid_set(tid, hit->row);
	*score = hit->score;
}

bool
omen_text_scan_is_last(const OmenTextScan *scan)
{
	return scan->phase != PHASE_HITS || scan->last_batch;
}

int64
omen_text_scan_bitmap(OmenTextScan *scan, TIDBitmap *bitmap)
{
	Fill		fill = {bitmap};

	retry(scan, fill_bitmap, &fill);
	return fill.nrows;
}

bool
omen_text_scan_recheck(const OmenTextScan *scan)
{
	return scan->recheck;
}

bool
omen_text_scan_score_of(OmenTextScan *scan, const ItemPointerData *tid,
						double *score)
{
	ScoreOf		of = {omen_tid_row(tid), 0, false};

	retry(scan, score_row, &of);
	*score = of.score;
	return of.found;
}

double
omen_text_scan_bound(OmenTextScan *scan)
{
	if (scan->phase != PHASE_HITS)
		return 0;
	if (scan->at < scan->nhits)
		return scan->hits[scan->at].score;
	if (scan->has_last)
		return scan->last.score;
	if (!scan->looked)
		retry(scan, just_look, NULL);
	return scan->topk ? omen_topk_limit(scan->topk) : 0;
}

static bool
just_look(OmenTextScan *scan, void *arg)
{
	return true;
}

void
omen_text_scan_end(OmenTextScan *scan)
{
	Relation	index = scan->params.index;

	MemoryContextDelete(scan->context);
	omen_kept_end_scan(index);
}

void
omen_text_scan_counts(const OmenTextScan *scan, OmenTextScanCounts *counts)
{
	*counts = scan->counts;
	if (scan->topk)
	{
		const OmenTopKStats *stats = omen_topk_stats(scan->topk);

		counts->postings += stats->postings;
		counts->blocks += stats->blocks;
	}
}

/* --- looking at the index, perhaps again --- */

/*
 * Do something with a view of the index; if a part of it was replaced
 * meanwhile, look at it anew and do it again.
 */
static bool
retry(OmenTextScan *scan, ScanStep step, void *arg)
{
	uint64		before = omen_page_reads;
	bool		result;

	for (int tries = 1;
		 !try_step(scan, step, arg, tries < MOST_TRIES, &result); tries++)
	{
		CHECK_FOR_INTERRUPTS();
		scan->looked = false;
	}
	omen_compat_check_snapshot(scan->params.snapshot, scan->params.index);
	scan->counts.pages += omen_page_reads - before;
	return result;
}

/* False if a part was replaced, and the caller may try again */
static bool
try_step(OmenTextScan *scan, ScanStep step, void *arg, bool again,
		 bool *result)
{
	MemoryContext old = CurrentMemoryContext;
	uint64		replaced = omen_bm25_times_replaced;
	volatile bool done = false;

	PG_TRY();
	{
		if (!scan->looked)
			look(scan);
		MemoryContextSwitchTo(scan->view_context);
		*result = step(scan, arg);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		if (geterrcode() != ERRCODE_T_R_SERIALIZATION_FAILURE ||
			omen_bm25_times_replaced == replaced || !again)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return done;
}

static void
look(OmenTextScan *scan)
{
	scan->view = NULL;
	scan->topk = NULL;
	MemoryContextReset(scan->view_context);
	MemoryContextSwitchTo(scan->view_context);
	if (scan->params.query != NULL && scan->ranking == NULL)
		rank(scan);
	if (scan->view == NULL)
		scan->view = omen_bm25_view(scan->params.index,
									scan->ranking ? scan->ranking->nterms : 0,
									scan->ranking ? scan->ranking->terms : NULL,
									scan->params.filter, what_to_keep(scan));
	choose_filter(scan);
	scan->counts.pending += scan->view->pending_seen;
	if (scan->view->npending > 0)
		qsort(scan->view->pending, scan->view->npending,
			  sizeof(OmenBm25PendingDoc), compare_pending);
	scan->segments = palloc0(Max(scan->view->nsegments, 1) *
							 sizeof(ScanSegment));
	for (int i = 0; i < scan->view->nsegments; i++)
		restrict_segment(scan, i);
	scan->pending_at = 0;
	make_topk(scan);
	scan->looked = true;
}

static OmenBm25Keep
what_to_keep(const OmenTextScan *scan)
{
	return scan->params.filter != NULL || scan->params.with_unranked ?
		OMEN_BM25_KEEP_ALL : OMEN_BM25_KEEP_RANKED;
}

/*
 * What the scan ranks by from first to last, while views come and go.  Most
 * often there is a view then, too.
 */
static void
rank(OmenTextScan *scan)
{
	OmenBm25View *view;
	OmenBm25Ranking *ranking = omen_bm25_rank(scan->params.query,
											  scan->params.index,
											  what_to_keep(scan),
											  scan->params.filter, &view);

	check_units(scan->params.index, ranking);
	MemoryContextSwitchTo(scan->context);
	scan->ranking = omen_bm25_copy_ranking(ranking);
	MemoryContextSwitchTo(scan->view_context);
	scan->view = view;
}

/* Does the filter have to be looked at, besides the ranking? */
static void
choose_filter(OmenTextScan *scan)
{
	bool		all_count = true;

	for (int i = 0; scan->ranking && i < OMEN_TEXT_CLASSES; i++)
		all_count &= scan->ranking->units.units[i] > 0;
	scan->filtered = scan->params.filter != NULL;
	if (scan->filtered && scan->ranking != NULL && all_count &&
		omen_bm25_filter_is_ranking(scan->params.filter,
									scan->ranking->nterms,
									scan->ranking->terms))
	{
		scan->filtered = false;
		scan->params.with_unranked = false;
	}
}

/* Frequencies in this index are to mean what the ranking takes them for */
static void
check_units(Relation index, const OmenBm25Ranking *ranking)
{
	OmenTextUnits units = omen_bm25_stored_units(index, omen_bm25_open(index));

	if (memcmp(&units, &ranking->units, sizeof(units)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" was built with other weights than the one that the query is to be ranked by",
						RelationGetRelationName(index)),
				 errhint("Name this index in to_bm25query(), or rebuild one of them.")));
}

static void
restrict_segment(OmenTextScan *scan, int i)
{
	OmenBm25ViewSegment *segment = &scan->view->segments[i];
	ScanSegment *mine = &scan->segments[i];

	mine->nallowed = segment->entry.ndocs;
	if (scan->params.allow)
		mine->allowed = omen_bm25_allow_docs(scan->params.allow,
											 &segment->docs,
											 &mine->nallowed);
	if (scan->filtered && mine->nallowed > 0)
		mine->allowed = omen_bm25_filter_segment(scan->view, segment,
												 scan->params.filter,
												 mine->allowed,
												 &mine->nallowed,
												 &mine->recheck);
}

static void
make_topk(OmenTextScan *scan)
{
	const OmenBm25View *view = scan->view;
	OmenTopKSegment *segments;

	if (scan->ranking == NULL || scan->ranking->nterms == 0)
		return;
	segments = palloc0(Max(view->nsegments, 1) * sizeof(*segments));
	for (int i = 0; i < view->nsegments; i++)
	{
		segments[i].ops = &omen_bm25_doc_ops;
		segments[i].docs = &view->segments[i].docs;
		segments[i].ndocs = view->segments[i].entry.ndocs;
		segments[i].lists = view->segments[i].lists;
		segments[i].allowed = scan->segments[i].allowed;
		segments[i].nallowed = scan->segments[i].nallowed;
	}
	scan->topk = omen_topk_create(&scan->ranking->bm25, scan->ranking->nterms,
								  scan->ranking->weights, view->nsegments,
								  segments);
}

static int
compare_pending(const void *a, const void *b)
{
	const OmenBm25PendingDoc *x = a;
	const OmenBm25PendingDoc *y = b;

	return (x->row > y->row) - (x->row < y->row);
}

/* --- hits --- */

static bool
next_batch(OmenTextScan *scan, void *arg)
{
	if (scan->topk == NULL)
	{
		scan->last_batch = true;
		return false;
	}
	if (scan->has_last)
		scan->k = Min(scan->k * BATCH_GROWTH, LARGEST_BATCH);
	scan->k = Min(scan->k, most_hits(scan));
	scan->nhits = scan->at = 0;
	if (scan->hits)
	{
		pfree(scan->hits);
		pfree(scan->rechecks);
	}
	scan->hits = MemoryContextAlloc(scan->context,
									scan->k * sizeof(OmenTopKHit));
	scan->rechecks = MemoryContextAlloc(scan->context, scan->k);
	omen_topk_begin(scan->topk, scan->k, scan->has_last ? &scan->last : NULL);
	offer_pending(scan);
	scan->nhits = omen_topk_run(scan->topk, scan->hits);
	scan->last_batch = scan->nhits < scan->k;
	for (int i = 0; i < scan->nhits; i++)
	{
		check_row(scan, scan->hits[i].row, MaxOffsetNumber);
		scan->rechecks[i] = scan->hits[i].segment < 0 ?
			scan->view->pending[scan->hits[i].doc].recheck :
			scan->segments[scan->hits[i].segment].recheck;
	}
	scan->counts.passes++;
	return true;
}

/* No more documents have any of the terms; at least 1 */
static int
most_hits(const OmenTextScan *scan)
{
	return (int) Min(scan->view->postings + 1, LARGEST_BATCH);
}

static void
offer_pending(OmenTextScan *scan)
{
	const OmenBm25View *view = scan->view;

	for (uint32 i = 0; i < view->npending; i++)
	{
		const OmenBm25PendingDoc *doc = &view->pending[i];
		OmenTopKHit hit = {.row = doc->row,.segment = -1,.doc = i};

		if (!doc->ranked || !doc->matched ||
			!omen_bm25_allows_row(scan->params.allow, doc->row))
			continue;
		hit.score = omen_topk_score_tfs(scan->topk, doc->tfs, doc->length);
		if (hit.score > 0)
			omen_topk_offer(scan->topk, &hit);
	}
}

static bool
take_hit(OmenTextScan *scan, ItemPointer tid, double *score)
{
	const OmenTopKHit *hit = &scan->hits[scan->at];

	scan->last = *hit;
	scan->has_last = true;
	scan->recheck = scan->rechecks[scan->at++];
	omen_tid_set(tid, hit->row);
	*score = hit->score;
	return true;
}

/* --- rows of score 0 --- */

/* The next of them in the order of TIDs; false if there is none */
static bool
next_unranked(OmenTextScan *scan, void *arg)
{
	uint64	   *row = arg;
	bool		found = find_pending_unranked(scan, row);
	int			from = -1;

	for (int i = 0; i < scan->view->nsegments; i++)
	{
		uint64		other;

		if (find_unranked(scan, i, &other) && (!found || other < *row))
		{
			found = true;
			from = i;
			*row = other;
		}
	}
	if (!found)
		return false;
	check_row(scan, *row, MaxOffsetNumber);
	scan->recheck = from >= 0 ? scan->segments[from].recheck :
		scan->view->pending[scan->pending_at].recheck;
	return true;
}

/* Leaves segment->next at the document */
static bool
find_unranked(OmenTextScan *scan, int i, uint64 *row)
{
	OmenBm25ViewSegment *segment = &scan->view->segments[i];
	ScanSegment *mine = &scan->segments[i];
	uint32		n;

	if (mine->nallowed == 0)
		return false;
	if (mine->ranked == NULL && scan->ranking != NULL)
		mine->ranked = omen_bm25_ranked_docs(scan->view, segment,
											 scan->ranking->nterms, &n);
	if (mine->next == 0 && scan->last_unranked > 0)
		mine->next = omen_bm25_docs_seek(&segment->docs, scan->last_unranked);
	for (; mine->next < segment->entry.ndocs; mine->next++)
	{
		if (mine->next % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		if (!is_unranked(scan, i, mine->next))
			continue;
		*row = omen_bm25_doc_ops.row(&segment->docs, mine->next);
		if (*row >= scan->last_unranked)
			return true;
	}
	return false;
}

static bool
is_unranked(OmenTextScan *scan, int i, uint32 doc)
{
	ScanSegment *mine = &scan->segments[i];
	uint64		bit = UINT64CONST(1) << (doc % 64);

	if ((mine->allowed && (mine->allowed[doc / 64] & bit) == 0) ||
		omen_bm25_docs_is_dead(&scan->view->segments[i].docs, doc))
		return false;
	return mine->ranked == NULL || (mine->ranked[doc / 64] & bit) == 0 ||
		omen_topk_score(scan->topk, i, doc) == 0;
}

/* Leaves scan->pending_at at the document */
static bool
find_pending_unranked(OmenTextScan *scan, uint64 *row)
{
	for (; scan->pending_at < scan->view->npending; scan->pending_at++)
	{
		const OmenBm25PendingDoc *doc = &scan->view->pending[scan->pending_at];

		if (doc->row < scan->last_unranked || !doc->matched ||
			!omen_bm25_allows_row(scan->params.allow, doc->row) ||
			(doc->ranked && omen_topk_score_tfs(scan->topk, doc->tfs,
												doc->length) > 0))
			continue;
		*row = doc->row;
		return true;
	}
	return false;
}

/*
 * Beyond the end of its table the server would speak of a broken table, or make
 * it longer.  "most" is the last row that a page may have: bitmaps have room for
 * so many.
 */
static void
check_row(OmenTextScan *scan, uint64 row, OffsetNumber most)
{
	BlockNumber block = (BlockNumber) (row >> 16);
	OffsetNumber offset = (OffsetNumber) row;

	if (unlikely(block >= scan->heap_blocks))
	{
		Relation	heap = table_open(scan->params.index->rd_index->indrelid, NoLock);

		/* read after the index, so it has all rows that the index refers to */
		scan->heap_blocks = RelationGetNumberOfBlocks(heap);
		table_close(heap, NoLock);
	}
	if (block >= scan->heap_blocks || offset == InvalidOffsetNumber ||
		offset > most)
		omen_page_report_corrupt(scan->params.index, OMEN_BM25_META_BLOCK,
								 "The index refers to a row that there cannot be.");
}

/* --- all rows at once --- */

static bool
fill_bitmap(OmenTextScan *scan, void *arg)
{
	Fill	   *fill = arg;

	fill->nrows = 0;
	for (uint32 i = 0; i < scan->view->npending; i++)
	{
		const OmenBm25PendingDoc *doc = &scan->view->pending[i];
		ItemPointerData tid;

		if (!doc->matched ||
			!omen_bm25_allows_row(scan->params.allow, doc->row))
			continue;
		check_row(scan, doc->row, MaxHeapTuplesPerPage);
		omen_tid_set(&tid, doc->row);
		tbm_add_tuples(fill->bitmap, &tid, 1, doc->recheck);
		fill->nrows++;
	}
	for (int i = 0; i < scan->view->nsegments; i++)
		fill->nrows += fill_segment(scan, i, fill);
	return true;
}

/* The first document from "from" on, below "end", or else end */
static inline uint32
next_allowed(const OmenAllowSet *set, uint32 from, uint32 end)
{
	return set->kind == OMEN_ALLOW_ALL ? from :
		omen_allow_next(set, from, end);
}

static int64
fill_segment(OmenTextScan *scan, int i, const Fill *fill)
{
	OmenBm25ViewSegment *segment = &scan->view->segments[i];
	const ScanSegment *mine = &scan->segments[i];
	OmenAllowSet set = {.nbits = segment->entry.ndocs,.bits = mine->allowed};
	uint32		ndocs = segment->entry.ndocs;
	int64		nrows = 0;

	if (mine->allowed)
		set.kind = OMEN_ALLOW_BITSET;
	for (uint32 first = 0; first < ndocs; first += OMEN_BM25_ROWS_PER_PAGE)
	{
		ItemPointerData tids[OMEN_BM25_ROWS_PER_PAGE];
		const ItemPointerData *rows = NULL;
		uint32		end = Min(first + OMEN_BM25_ROWS_PER_PAGE, ndocs);
		int			n = 0;
		int			nhere;

		CHECK_FOR_INTERRUPTS();
		for (uint32 doc = next_allowed(&set, first, end); doc < end;
			 doc = next_allowed(&set, doc + 1, end))
		{
			if (omen_bm25_docs_is_dead(&segment->docs, doc))
				continue;
			if (rows == NULL)
				rows = omen_bm25_docs_rows(&segment->docs, first /
										   OMEN_BM25_ROWS_PER_PAGE, &nhere);
			check_row(scan, omen_tid_row(&rows[doc - first]),
					  MaxHeapTuplesPerPage);
			tids[n++] = rows[doc - first];
		}
		if (n > 0)
			tbm_add_tuples(fill->bitmap, tids, n, mine->recheck);
		nrows += n;
	}
	return nrows;
}

/* --- the score of one row --- */

static bool
score_row(OmenTextScan *scan, void *arg)
{
	ScoreOf    *of = arg;
	OmenBm25PendingDoc wanted = {.row = of->row};
	OmenBm25PendingDoc *pending;

	/* without any there is no array either, which bsearch() asks for */
	pending = scan->view->npending == 0 ? NULL :
		bsearch(&wanted, scan->view->pending, scan->view->npending,
				sizeof(wanted), compare_pending);
	if (pending != NULL)
	{
		if (pending->ranked)
			of->score = omen_topk_score_tfs(scan->topk, pending->tfs,
											pending->length);
		of->found = true;
		return true;
	}
	for (int i = 0; i < scan->view->nsegments && !of->found; i++)
	{
		OmenBm25Docs *docs = &scan->view->segments[i].docs;
		uint32		doc;

		if (!omen_bm25_docs_find(docs, of->row, &doc) ||
			omen_bm25_docs_is_dead(docs, doc))
			continue;
		if (scan->topk)
			of->score = omen_topk_score(scan->topk, i, doc);
		of->found = true;
	}
	return of->found;
}
