/*-------------------------------------------------------------------------
 *
 * omendb.c
 *	  The library's entry: magic block, and each area's initialization.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/guc.h"
#include "bm25/bm25.h"
#include "hnsw/hnsw.h"
#include "planner/planner.h"
#include "text/text_kernels.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	omen_distance_init();
	omen_quant_init_kernels();
	omen_text_init_kernels();
	omen_hnsw_init();
	omen_bm25_init();
	omen_planner_init();
	omen_unread_distance_init();
	omen_replaced_row_init();
	omen_explain_init();
	omen_filter_init();
	omen_fuse_init();
	omen_first_key_init();		/* whose paths are completed by what follows */
	omen_key_clauses_init();
	omen_guc_init();
}
