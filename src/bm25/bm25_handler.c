/*-------------------------------------------------------------------------
 *
 * bm25_handler.c
 *	  The access method omenbm25.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "nodes/nodes.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "bm25/bm25.h"

OMEN_FUNCTION(omen_bm25_handler);

static bool is_operator_valid(Form_pg_amop operator);

Datum
omen_bm25_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *routine = makeNode(IndexAmRoutine);

	routine->amstrategies = OMEN_BM25_RANK;
	routine->amsupport = 0;
	routine->amoptsprocnum = 0;
	routine->amcanorder = false;
	routine->amcanorderbyop = true;
	routine->amcanbackward = false;
	routine->amcanunique = false;
	routine->amcanmulticol = false;
	routine->amoptionalkey = true;
	routine->amsearcharray = false;
	routine->amsearchnulls = false;
	routine->amstorage = false;
	routine->amclusterable = false;
	routine->ampredlocks = false;
	routine->amcanparallel = false;
	routine->amcaninclude = false;
	routine->amusemaintenanceworkmem = true;
	routine->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL |
		VACUUM_OPTION_PARALLEL_CLEANUP;
	routine->amkeytype = InvalidOid;
	omen_compat_set_am_flags(routine);

	routine->ambuild = omen_bm25_build;
	routine->ambuildempty = omen_bm25_buildempty;
	routine->aminsert = omen_bm25_insert;
	routine->ambulkdelete = omen_bm25_bulkdelete;
	routine->amvacuumcleanup = omen_bm25_vacuumcleanup;
	routine->amcanreturn = NULL;
	routine->amcostestimate = omen_bm25_costestimate;
	routine->amoptions = omen_bm25_options;
	routine->amproperty = NULL;
	routine->ambuildphasename = NULL;
	routine->amvalidate = omen_bm25_validate;
	routine->ambeginscan = omen_bm25_beginscan;
	routine->amrescan = omen_bm25_rescan;
	routine->amgettuple = omen_bm25_gettuple;
	routine->amgetbitmap = omen_bm25_getbitmap;
	routine->amendscan = omen_bm25_endscan;
	routine->ammarkpos = NULL;
	routine->amrestrpos = NULL;
	routine->amestimateparallelscan = NULL;
	routine->aminitparallelscan = NULL;
	routine->amparallelrescan = NULL;

	PG_RETURN_POINTER(routine);
}

/* A class has @@ to search by, and <@> to order by, of tsvectors */
bool
omen_bm25_validate(Oid opclass)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	CatCList   *list;
	bool		valid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	list = SearchSysCacheList1(AMOPSTRATEGY,
							   ObjectIdGetDatum(form->opcfamily));
	valid = form->opcintype == TSVECTOROID && list->n_members > 0;
	for (int i = 0; i < list->n_members; i++)
		valid &= is_operator_valid((Form_pg_amop)
								   GETSTRUCT(&list->members[i]->tuple));
	if (!valid)
		ereport(INFO,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator class \"%s\" of access method omenbm25 is not valid",
						NameStr(form->opcname)),
				 errdetail("It has to be for tsvector, with @@ as operator 1 and ordering operators 2 that return double precision.")));
	ReleaseCatCacheList(list);
	ReleaseSysCache(tuple);
	return valid;
}

static bool
is_operator_valid(Form_pg_amop operator)
{
	if (operator->amoplefttype != TSVECTOROID)
		return false;
	if (operator->amopstrategy == OMEN_BM25_SEARCH)
		return operator->amoppurpose == AMOP_SEARCH &&
			operator->amoprighttype == TSQUERYOID &&
			check_amop_signature(operator->amopopr, BOOLOID, TSVECTOROID,
								 TSQUERYOID);
	return operator->amopstrategy == OMEN_BM25_RANK &&
		operator->amoppurpose == AMOP_ORDER &&
		check_amop_signature(operator->amopopr, FLOAT8OID, TSVECTOROID,
							 operator->amoprighttype);
}
