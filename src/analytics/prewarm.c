/*-------------------------------------------------------------------------
 *
 * prewarm.c
 *	  omen_prewarm(): brings an index into the shared buffers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analytics/analytics.h"
#include "base/compat.h"

OMEN_FUNCTION(omen_prewarm);

/*
 * Without a strategy, so that pages may stay; a broken one is reported here
 * rather than by a query later.
 */
Datum
omen_prewarm(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = omen_open_any_index(PG_GETARG_OID(0), &heap);
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;

	omen_check_select_privilege(heap);
	omen_page_stream_begin(&pages, index, nblocks, NULL);
	while ((buffer = omen_page_stream_next(&pages, OMEN_LOCK_SHARE, &kind)) !=
		   InvalidBuffer)
	{
		omen_page_release(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	omen_page_stream_end(&pages);
	omen_close_index(index, heap);
	PG_RETURN_INT64(nblocks);
}
