/*-------------------------------------------------------------------------
 *
 * hnsw_handler.c
 *	  The access methods omenhnsw and hnsw: one handler under two names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "fmgr.h"
#include "nodes/nodes.h"

#include "base/compat.h"
#include "hnsw/hnsw.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(omen_hnsw_handler);

Datum
omen_hnsw_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *routine = makeNode(IndexAmRoutine);

	routine->amstrategies = 0;	/* operator classes may have any */
	routine->amsupport = OMEN_HNSW_NPROCS;
	routine->amoptsprocnum = 0;
	routine->amcanorder = false;
	routine->amcanorderbyop = true;
	routine->amcanbackward = false;
	routine->amcanunique = false;
	routine->amcanmulticol = true;
	routine->amoptionalkey = true;
	routine->amsearcharray = true;
	routine->amsearchnulls = true;
	routine->amstorage = false;
	routine->amclusterable = false;
	routine->ampredlocks = false;
	routine->amcanparallel = false;
	routine->amcaninclude = false;
	routine->amusemaintenanceworkmem = true;
	routine->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	routine->amkeytype = InvalidOid;
	omen_compat_set_am_flags(routine);

	routine->ambuild = omen_hnsw_build;
	routine->ambuildempty = omen_hnsw_buildempty;
	routine->aminsert = omen_hnsw_insert;
	routine->ambulkdelete = omen_hnsw_bulkdelete;
	routine->amvacuumcleanup = omen_hnsw_vacuumcleanup;
	routine->amcanreturn = NULL;
	routine->amcostestimate = omen_hnsw_costestimate;
	routine->amoptions = omen_hnsw_options;
	routine->amproperty = NULL;
	routine->ambuildphasename = omen_hnsw_buildphasename;
	routine->amvalidate = omen_hnsw_validate;
	routine->ambeginscan = omen_hnsw_beginscan;
	routine->amrescan = omen_hnsw_rescan;
	routine->amgettuple = omen_hnsw_gettuple;
	routine->amgetbitmap = NULL;
	routine->amendscan = omen_hnsw_endscan;
	routine->ammarkpos = NULL;
	routine->amrestrpos = NULL;
	routine->amestimateparallelscan = NULL;
	routine->aminitparallelscan = NULL;
	routine->amparallelrescan = NULL;

	PG_RETURN_POINTER(routine);
}
