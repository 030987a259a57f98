/*-------------------------------------------------------------------------
 *
 * stats_bm25.c
 *	  What an omenbm25 index is made of; merging it on request.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rel.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "bm25/bm25_view.h"

OMEN_FUNCTION(omen_bm25_stats);
OMEN_FUNCTION(omen_bm25_merge_sql);

#define STATS_COLUMNS	11

Datum
omen_bm25_stats(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = omen_open_text_index(PG_GETARG_OID(0), &heap);
	OmenBm25View *view;
	TupleDesc	desc;
	Datum		values[STATS_COLUMNS];
	bool		nulls[STATS_COLUMNS] = {0};
	int64		dead = 0;
	int64		postings = 0;
	int64		pending_pages = 0;
	int64		free_pages = 0;
	int			n = 0;

	omen_check_stat_privilege(index);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	view = omen_bm25_view(index, 0, NULL, NULL, OMEN_BM25_KEEP_ALL);
	for (int i = 0; i < view->nsegments; i++)
	{
		dead += view->segments[i].entry.ndead;
		postings += view->segments[i].segment->data->postings;
	}
	for (int i = 0; i < OMEN_BM25_LANES; i++)
		pending_pages += view->meta.lanes[i].npages;
	for (int i = 0; i < view->meta.nextents; i++)
		free_pages += view->meta.extents[i].npages;

	values[n++] = Int64GetDatum((int64) view->ndocs);
	values[n++] = Int64GetDatum(dead);
	nulls[n] = view->ndocs == 0;
	values[n++] = Float8GetDatum(view->ndocs == 0 ? 0 : view->length /
								 view->ndocs / view->meta.units.unit);
	values[n++] = Int32GetDatum(view->nsegments);
	values[n++] = Int64GetDatum(postings);
	values[n++] = Int64GetDatum(view->npending);
	values[n++] = Int64GetDatum(pending_pages);
	values[n++] = Int64GetDatum(free_pages);
	values[n++] = Int64GetDatum(RelationGetNumberOfBlocks(index));
	values[n++] = Float8GetDatum(omen_bm25_k1(index));
	values[n++] = Float8GetDatum(omen_bm25_b(index));
	omen_close_index(index, heap);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/* Makes one segment of all; returns how many there were, and pending ones */
Datum
omen_bm25_merge_sql(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index;

	PreventCommandDuringRecovery("bm25_merge()");
	index = omen_open_text_index(PG_GETARG_OID(0), &heap);
	if (!omen_compat_owns_relation(RelationGetRelid(index), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX,
					   RelationGetRelationName(index));
	omen_bm25_maintain(index);
	omen_bm25_flush(index, heap, true);
	omen_bm25_merge_all(index, heap);
	omen_bm25_end_maintain(index);
	omen_close_index(index, heap);
	PG_RETURN_VOID();
}
