/*-------------------------------------------------------------------------
 *
 * bm25_insert.c
 *	  Insertion of rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "bm25/bm25.h"

/*
 * An insertion merges no more than so many pages, which takes some tenths of a
 * second; larger merges wait for VACUUM.
 */
#define MERGED_PAGES	4096

bool
omen_bm25_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
				 Relation heap, IndexUniqueCheck unique, bool unchanged,
				 IndexInfo *info)
{
	OmenBm25Index *bm25 = omen_bm25_open(index);
	OmenTextUnits units;
	MemoryContext context;
	MemoryContext old;
	OmenBm25Doc doc;
	uint32		npages;

	if (isnull[0])
		return false;

	context = AllocSetContextCreate(CurrentMemoryContext, "omenbm25 insert",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	units = omen_bm25_stored_units(index, bm25);
	omen_bm25_read_doc(DatumGetTSVector(values[0]), &units, &doc);
	doc.tid = *tid;
	npages = omen_bm25_append(index, bm25, &doc);
	if (npages > omen_bm25_pending_pages(index) &&
		omen_bm25_try_maintain(index))
	{
		omen_bm25_flush(index, heap, false);
		omen_bm25_merge(index, heap, MERGED_PAGES);
		omen_bm25_end_maintain(index);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
