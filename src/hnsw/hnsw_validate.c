/*-------------------------------------------------------------------------
 *
 * hnsw_validate.c
 *	  Validation of operator classes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "hnsw/hnsw.h"

static bool validate_vector(Form_pg_opclass form);
static bool validate_key(Form_pg_opclass form);
static bool is_key_operator(Form_pg_amop operator);
static bool validate_operators(Oid family, const char *opclass);
static bool validate_functions(Oid family, Oid type, const char *opclass);
static bool valid_signature(Form_pg_amproc proc);
static void report(const char *opclass, const char *detail);

bool
omen_hnsw_validate(Oid opclass)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	bool		valid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	valid = omen_hnsw_key_kind(form->opcintype) == OMEN_KEY_NONE ?
		validate_vector(form) : validate_key(form);
	ReleaseSysCache(tuple);
	return valid;
}

/*
 * A class of vectors needs an ordering operator that returns float8, the
 * distance function (1) and the description of its type and metric (4); the
 * norm (2) and pgvector's type support (3) may be there.
 */
static bool
validate_vector(Form_pg_opclass form)
{
	bool		valid = validate_operators(form->opcfamily,
										   NameStr(form->opcname));

	return validate_functions(form->opcfamily, form->opcintype,
							  NameStr(form->opcname)) && valid;
}

/*
 * A class of keys has operators to search by and no functions: how its type
 * is encoded, the access method knows.
 */
static bool
validate_key(Form_pg_opclass form)
{
	CatCList   *list = SearchSysCacheList1(AMOPSTRATEGY,
										   ObjectIdGetDatum(form->opcfamily));
	bool		valid = list->n_members > 0;

	for (int i = 0; i < list->n_members; i++)
		valid &= is_key_operator((Form_pg_amop)
								 GETSTRUCT(&list->members[i]->tuple));
	ReleaseCatCacheList(list);
	if (!valid)
		report(NameStr(form->opcname),
			   "lacks operators, or has one that keys cannot be searched by");
	return valid;
}

/* The order of codes is that of btree's default operator class */
static bool
is_key_operator(Form_pg_amop operator)
{
	Oid			left = operator->amoplefttype;
	Oid			right = operator->amoprighttype;
	bool		array = omen_hnsw_key_kind(left) == OMEN_KEY_ARRAY;
	Oid			opclass;

	if (operator->amoppurpose != AMOP_SEARCH ||
		omen_hnsw_key_kind(left) == OMEN_KEY_NONE ||
		omen_hnsw_key_kind(right) == OMEN_KEY_NONE ||
		!check_amop_signature(operator->amopopr, BOOLOID, left, right))
		return false;
	if (array)
		return operator->amopopr == (operator->amopstrategy ==
									 OMEN_KEY_OVERLAPS ? OID_ARRAY_OVERLAP_OP :
									 OID_ARRAY_CONTAINS_OP) &&
			operator->amopstrategy >= OMEN_KEY_OVERLAPS &&
			operator->amopstrategy <= OMEN_KEY_CONTAINS;
	opclass = GetDefaultOpClass(left, BTREE_AM_OID);
	return OidIsValid(opclass) &&
		get_op_opfamily_strategy(operator->amopopr,
								 get_opclass_family(opclass)) ==
		operator->amopstrategy;
}

static bool
validate_operators(Oid family, const char *opclass)
{
	CatCList   *list = SearchSysCacheList1(AMOPSTRATEGY,
										   ObjectIdGetDatum(family));
	bool		valid = list->n_members > 0;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_amop operator = (Form_pg_amop)
			GETSTRUCT(&list->members[i]->tuple);

		if (operator->amopstrategy != 1 ||
			operator->amoppurpose != AMOP_ORDER ||
			!check_amop_signature(operator->amopopr, FLOAT8OID,
								  operator->amoplefttype,
								  operator->amoprighttype))
			valid = false;
	}
	ReleaseCatCacheList(list);
	if (!valid)
		report(opclass, "lacks a valid ordering operator of strategy 1");
	return valid;
}

static bool
validate_functions(Oid family, Oid type, const char *opclass)
{
	CatCList   *list = SearchSysCacheList1(AMPROCNUM,
										   ObjectIdGetDatum(family));
	bool		have[OMEN_HNSW_NPROCS + 1] = {false};
	bool		valid = true;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_amproc proc = (Form_pg_amproc)
			GETSTRUCT(&list->members[i]->tuple);

		if (!valid_signature(proc))
		{
			report(opclass, psprintf("has an invalid support function %d",
									 proc->amprocnum));
			valid = false;
		}
		else if (proc->amproclefttype == type)
			have[proc->amprocnum] = true;
	}
	ReleaseCatCacheList(list);

	if (!have[OMEN_HNSW_DISTANCE_PROC] || !have[OMEN_HNSW_INFO_PROC])
	{
		report(opclass, "lacks support function 1 or 4");
		valid = false;
	}
	return valid;
}

static bool
valid_signature(Form_pg_amproc proc)
{
	switch (proc->amprocnum)
	{
		case OMEN_HNSW_DISTANCE_PROC:
			return check_amproc_signature(proc->amproc, FLOAT8OID, true, 2, 2,
										  proc->amproclefttype,
										  proc->amprocrighttype);
		case OMEN_HNSW_NORM_PROC:
			return check_amproc_signature(proc->amproc, FLOAT8OID, true, 1, 1,
										  proc->amproclefttype);
		case OMEN_HNSW_TYPE_PROC:
		case OMEN_HNSW_INFO_PROC:
			return check_amproc_signature(proc->amproc, INTERNALOID, true, 1,
										  1, INTERNALOID);
		default:
			return false;
	}
}

static void
report(const char *opclass, const char *detail)
{
	ereport(INFO,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("operator class \"%s\" of access method omenhnsw %s",
					opclass, detail)));
}
