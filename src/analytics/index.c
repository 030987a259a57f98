/*-------------------------------------------------------------------------
 *
 * index.c
 *	  Opens the index that a function's argument names, and checks who asks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "bm25/bm25.h"

/* Methods that a function takes indexes of */
typedef enum Methods
{
	VECTORS,
	TEXT,
	ANY_OF_OURS
} Methods;

static Relation open_index(Oid oid, Methods methods, Relation *heap);
static bool is_of(Relation index, Methods methods);
static pg_attribute_noreturn() void report_strange_relation(Oid oid,
															Methods methods);

Relation
omen_open_index(Oid oid, Relation *heap)
{
	return open_index(oid, VECTORS, heap);
}

Relation
omen_open_text_index(Oid oid, Relation *heap)
{
	return open_index(oid, TEXT, heap);
}

Relation
omen_open_any_index(Oid oid, Relation *heap)
{
	return open_index(oid, ANY_OF_OURS, heap);
}

static Relation
open_index(Oid oid, Methods methods, Relation *heap)
{
	Oid			heap_oid = IndexGetRelation(oid, true);
	Relation	index;

	if (!OidIsValid(heap_oid) || get_rel_relkind(oid) != RELKIND_INDEX)
		report_strange_relation(oid, methods);

	/* the table first, as everybody locks them */
	*heap = table_open(heap_oid, AccessShareLock);
	index = index_open(oid, AccessShareLock);
	if (!is_of(index, methods))
		report_strange_relation(oid, methods);
	if (!index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid",
						RelationGetRelationName(index)),
				 errhint("Rebuild it with REINDEX INDEX %s.",
						 quote_identifier(RelationGetRelationName(index)))));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	if (RecoveryInProgress() && !RelationNeedsWAL(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary or unlogged relations during recovery")));
	return index;
}

static bool
is_of(Relation index, Methods methods)
{
	ambuild_function build = index->rd_indam->ambuild;

	return (build == omen_hnsw_build && methods != TEXT) ||
		(build == omen_bm25_build && methods != VECTORS);
}

void
omen_close_index(Relation index, Relation heap)
{
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
}

void
omen_check_stat_privilege(Relation index)
{
	if (!omen_compat_owns_relation(RelationGetRelid(index), GetUserId()) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_STAT_SCAN_TABLES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for index \"%s\"",
						RelationGetRelationName(index)),
				 errhint("Only its owner and members of pg_stat_scan_tables can read its statistics.")));
}

void
omen_check_select_privilege(Relation heap)
{
	AclResult	result = pg_class_aclcheck(RelationGetRelid(heap), GetUserId(),
										   ACL_SELECT);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, get_relkind_objtype(heap->rd_rel->relkind),
					   RelationGetRelationName(heap));
}

const char *
omen_metric_name(const OmenCodeShape *shape)
{
	switch ((OmenMetric) shape->metric)
	{
		case OMEN_METRIC_L2:
			return "l2";
		case OMEN_METRIC_IP:
			return "ip";
		case OMEN_METRIC_COSINE:
			return "cosine";
		case OMEN_METRIC_L1:
			return "l1";
		case OMEN_METRIC_HAMMING:
			return "hamming";
		case OMEN_METRIC_JACCARD:
			return "jaccard";
	}
	return "unknown";
}

/* What "auto" has come to as well */
const char *
omen_quantizer_name(const OmenCodeShape *shape)
{
	if (shape->own_kind == OMEN_OWN_PQ)
		return "pq";
	if (shape->link_kind == OMEN_LINK_RABITQ1 ||
		shape->link_kind == OMEN_LINK_RABITQ2)
		return "rabitq";
	return shape->own_kind == OMEN_OWN_RAW ? "none" : "sq8";
}

static void
report_strange_relation(Oid oid, Methods methods)
{
	static const struct
	{
		const char *name;
		const char *hint;
	}			of[] = {
		[VECTORS] = {"an omenhnsw",
		"Name an index that was made with USING omenhnsw or USING hnsw."},
		[TEXT] = {"an omenbm25",
		"Name an index that was made with USING omenbm25."},
		[ANY_OF_OURS] = {"an omenhnsw or omenbm25",
		"Name an index that was made with USING omenhnsw, hnsw or omenbm25."},
	};
	char	   *name = get_rel_name(oid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("index with OID %u does not exist", oid)));
	if (get_rel_relkind(oid) == RELKIND_PARTITIONED_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partitioned index", name),
				 errhint("Name the index of a partition; pg_partition_tree('%s') lists them.",
						 name)));
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not %s index", name, of[methods].name),
			 errhint("%s", of[methods].hint)));
}
