/*-------------------------------------------------------------------------
 *
 * bm25_view.c
 *	  What an index has of the terms of a query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "bm25/bm25_view.h"

static void open_segments(OmenBm25View *view, int nterms,
						  const OmenBm25QueryTerm *terms);
static int	compare_segments(const void *a, const void *b);

/* A pending document whose parts are being read */
typedef struct OpenDoc
{
	bool		valid;
	uint64		row;
	uint32		length;
	bool		ranked;
	uint16	   *tfs;			/* of each term */
	bool	   *present;		/* of each item of the filter */
} OpenDoc;

static void look_at_pending(OmenBm25View *view, int nterms,
							const OmenBm25QueryTerm *terms, TSQuery filter,
							OmenBm25Keep keep);
static void look_at_part(OmenBm25View *view, OpenDoc *open,
						 OmenBm25DocData *part, int nterms,
						 const OmenBm25QueryTerm *terms, TSQuery filter);
static bool has_prefix(OmenBm25DocData *part, const char *prefix, int len);
static void end_doc(OmenBm25View *view, OpenDoc *open, int nterms,
					TSQuery filter, OmenBm25Keep keep);

OmenBm25View *
omen_bm25_view(Relation index, int nterms, const OmenBm25QueryTerm *terms,
			   TSQuery filter, OmenBm25Keep keep)
{
	OmenBm25View *view = palloc0(sizeof(*view));

	view->index = index;
	view->bm25 = omen_bm25_open(index);
	view->df = palloc0(Max(nterms, 1) * sizeof(double));

	/*
	 * The pending area first: what is flushed meanwhile is found missing there,
	 * while segments that are listed stay readable or are found missing too.
	 */
	omen_bm25_read_meta(index, &view->meta);
	look_at_pending(view, nterms, terms, filter, keep);
	open_segments(view, nterms, terms);
	return view;
}

static void
open_segments(OmenBm25View *view, int nterms, const OmenBm25QueryTerm *terms)
{
	view->nsegments = view->meta.nsegments;
	view->segments = palloc0(Max(view->nsegments, 1) *
							 sizeof(OmenBm25ViewSegment));
	for (int i = 0; i < view->nsegments; i++)
		view->segments[i].entry = view->meta.segments[i];
	qsort(view->segments, view->nsegments, sizeof(OmenBm25ViewSegment),
		  compare_segments);
	for (int i = 0; i < view->nsegments; i++)
	{
		OmenBm25ViewSegment *segment = &view->segments[i];
		double		living = 1 - (double) segment->entry.ndead /
			segment->entry.ndocs;

		segment->segment = omen_bm25_find_segment(view->index, view->bm25,
												  &segment->entry);
		omen_bm25_docs_init(&segment->docs, view->index, view->bm25,
							segment->segment, segment->entry.ndead > 0);
		segment->lists = palloc0(Max(nterms, 1) * sizeof(OmenPostingList));
		view->ndocs += segment->entry.ndocs - segment->entry.ndead;
		view->length += segment->entry.length * living;
		for (int t = 0; t < nterms; t++)
		{
			OmenBm25Entry entry;
			OmenBm25List *list;

			if (!omen_bm25_dict_find(view->index, view->bm25, segment->segment,
									 terms[t].lexeme, terms[t].len, &entry))
				continue;
			list = palloc(sizeof(*list));
			omen_bm25_list_init(list, view->index, view->bm25,
								segment->segment, &entry);
			segment->lists[t] = list->postings;
			view->df[t] += entry.df * living;
			view->postings += entry.df;
		}
	}
}

/* The largest first */
static int
compare_segments(const void *a, const void *b)
{
	const OmenBm25SegmentEntryData *x = &((const OmenBm25ViewSegment *) a)->entry;
	const OmenBm25SegmentEntryData *y = &((const OmenBm25ViewSegment *) b)->entry;

	if (x->ndocs != y->ndocs)
		return x->ndocs > y->ndocs ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* --- pending documents --- */

static void
look_at_pending(OmenBm25View *view, int nterms, const OmenBm25QueryTerm *terms,
				TSQuery filter, OmenBm25Keep keep)
{
	OmenBm25PendingScan *scan = palloc(sizeof(*scan));
	OpenDoc		open = {0};
	OmenBm25DocData *part;

	open.tfs = palloc0(Max(nterms, 1) * sizeof(uint16));
	if (filter)
		open.present = palloc0(Max(filter->size, 1) * sizeof(bool));
	omen_bm25_pending_begin(scan, view->index, &view->meta);
	while ((part = omen_bm25_pending_next(scan)) != NULL)
	{
		if ((part->flags & OMEN_BM25_DOC_PART) == 0)
		{
			end_doc(view, &open, nterms, filter, keep);
			view->pending_seen++;
			if ((part->flags & OMEN_BM25_DOC_DEAD) == 0)
			{
				open.valid = true;
				open.row = omen_tid_row(&part->tid);
				open.length = part->length;
				view->ndocs++;
				view->length += part->length;
			}
		}
		if (open.valid)
			look_at_part(view, &open, part, nterms, terms, filter);
	}
	end_doc(view, &open, nterms, filter, keep);
	pfree(scan);
}

static void
look_at_part(OmenBm25View *view, OpenDoc *open, OmenBm25DocData *part,
			 int nterms, const OmenBm25QueryTerm *terms, TSQuery filter)
{
	for (int t = 0; t < nterms; t++)
	{
		OmenBm25DocTermData *found = omen_bm25_doc_find(part, terms[t].hash,
														terms[t].lexeme,
														terms[t].len);

		if (found == NULL)
			continue;
		open->tfs[t] = found->tf;
		open->ranked = true;
		view->df[t]++;
		view->postings++;
	}
	for (int i = 0; filter && i < filter->size; i++)
	{
		QueryItem  *item = &GETQUERY(filter)[i];
		const char *lexeme = GETOPERAND(filter) + item->qoperand.distance;
		int			len = item->qoperand.length;

		if (item->type != QI_VAL || open->present[i])
			continue;
		open->present[i] = item->qoperand.prefix ?
			has_prefix(part, lexeme, len) :
			omen_bm25_doc_find(part, omen_bm25_hash(lexeme, len), lexeme,
							   len) != NULL;
	}
}

static bool
has_prefix(OmenBm25DocData *part, const char *prefix, int len)
{
	for (int i = 0; i < part->nterms; i++)
	{
		int			found;
		const char *lexeme = omen_bm25_doc_lexeme(part, i, &found);

		if (found >= len && omen_bm25_doc_terms(part)[i + 1].offset <= part->size &&
			memcmp(lexeme, prefix, len) == 0)
			return true;
	}
	return false;
}

/* All parts of a document have been read: keep what is wanted of it */
static void
end_doc(OmenBm25View *view, OpenDoc *open, int nterms, TSQuery filter,
		OmenBm25Keep keep)
{
	OmenBm25Match match = OMEN_BM25_YES;
	OmenBm25PendingDoc *doc;

	if (!open->valid)
		return;
	if (filter)
		match = omen_bm25_match_items(filter, open->present);
	if (keep == OMEN_BM25_KEEP_ALL ||
		(keep == OMEN_BM25_KEEP_RANKED && open->ranked))
	{
		if (view->npending == view->maxpending)
		{
			view->maxpending = Max(2 * view->maxpending, 64);
			view->pending = view->pending == NULL ?
				palloc(view->maxpending * sizeof(OmenBm25PendingDoc)) :
				repalloc_huge(view->pending, view->maxpending *
							  sizeof(OmenBm25PendingDoc));
		}
		doc = &view->pending[view->npending++];
		doc->row = open->row;
		doc->length = open->length;
		doc->matched = match != OMEN_BM25_NO;
		doc->recheck = match == OMEN_BM25_PERHAPS;
		doc->ranked = open->ranked;
		doc->tfs = NULL;
		if (open->ranked)
		{
			doc->tfs = palloc(nterms * sizeof(uint16));
			memcpy(doc->tfs, open->tfs, nterms * sizeof(uint16));
		}
	}

	if (open->ranked)
		memset(open->tfs, 0, nterms * sizeof(uint16));
	if (filter)
		memset(open->present, 0, filter->size * sizeof(bool));
	open->valid = open->ranked = false;
}
