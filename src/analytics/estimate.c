/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  omen_estimate_build(): what it takes to build an index, of one that
 *	  exists or of one that might.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_statistic.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "hnsw/hnsw_estimate.h"
#include "storage/workers.h"

OMEN_FUNCTION(omen_estimate_rebuild);
OMEN_FUNCTION(omen_estimate_build);

/* Dimensions of a sparse vector for each element that is not zero */
#define SPARSENESS	16

/* Bytes of a row beside the vector: its head and a key */
#define ROW_HEAD	48

/* Names of arguments, and what they stand for */
typedef struct NamedValue
{
	const char *name;
	int			value;
} NamedValue;

static const NamedValue types[] = {
	{"vector", OMEN_ELEMENT_F32},
	{"halfvec", OMEN_ELEMENT_F16},
	{"sparsevec", OMEN_ELEMENT_SPARSE},
	{"bit", OMEN_ELEMENT_BIT},
	{NULL}
};

static const NamedValue metrics[] = {
	{"l2", OMEN_METRIC_L2},
	{"ip", OMEN_METRIC_IP},
	{"cosine", OMEN_METRIC_COSINE},
	{"l1", OMEN_METRIC_L1},
	{"hamming", OMEN_METRIC_HAMMING},
	{"jaccard", OMEN_METRIC_JACCARD},
	{NULL}
};

static const NamedValue quantizers[] = {
	{"auto", OMEN_QUANTIZER_AUTO},
	{"rabitq", OMEN_QUANTIZER_RABITQ},
	{"sq8", OMEN_QUANTIZER_SQ8},
	{"pq", OMEN_QUANTIZER_PQ},
	{"none", OMEN_QUANTIZER_NONE},
	{NULL}
};

static double count_rows(Relation index, Relation heap);
static double null_fraction(Relation index, Relation heap);
static double guess_blocks(const OmenHnswMetaPageData *meta, Size own_bytes,
						   double rows);
static int	find_value(const NamedValue *values, const char *what,
					   const text *name);
static void check_range(const char *what, int64 value, int64 min, int64 max);
static void choose_shape(OmenElementType element, OmenMetric metric,
						 OmenQuantizerKind quantizer, int dims,
						 OmenCodeShape *shape);
static Datum form_result(FunctionCallInfo fcinfo,
						 const OmenHnswMetaPageData *meta, Size own_bytes,
						 double rows, double blocks, int nparticipants);

/* Of an index that exists: what REINDEX would take now */
Datum
omen_estimate_rebuild(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = omen_open_index(PG_GETARG_OID(0), &heap);
	OmenHnswMetaPageData meta;
	Size		own_bytes;
	double		rows;
	double		blocks;
	int			workers;

	/* how many values are NULL is known from the table's statistics */
	omen_check_stat_privilege(index);
	rows = count_rows(index, heap);
	blocks = RelationGetNumberOfBlocks(heap);
	workers = omen_build_workers(heap, index);

	/* where sizes vary, the last build has provided for them */
	omen_hnsw_read_meta(index, &meta);
	own_bytes = meta.own_inline;
	omen_hnsw_init_meta(index, omen_hnsw_opclass(index), &meta);
	omen_hnsw_choose_layout(&meta, own_bytes);
	omen_close_index(index, heap);
	return form_result(fcinfo, &meta, own_bytes, rows, blocks,
					   workers + 1);
}

/* Of an index that might be */
Datum
omen_estimate_build(PG_FUNCTION_ARGS)
{
	OmenHnswMetaPageData meta = {0};
	int			dims = PG_GETARG_INT32(0);
	int64		rows = PG_GETARG_INT64(1);
	OmenElementType element = find_value(types, "type", PG_GETARG_TEXT_PP(2));
	OmenMetric	metric = find_value(metrics, "metric", PG_GETARG_TEXT_PP(3));
	Size		own_bytes = 0;

	meta.m = PG_GETARG_INT32(4);
	meta.ef_construction = PG_GETARG_INT32(5);
	meta.quantizer = find_value(quantizers, "quantizer", PG_GETARG_TEXT_PP(6));
	check_range("dims", dims, 1, element == OMEN_ELEMENT_BIT ? 64000 : 16000);
	check_range("rows", rows, 0, (1 << OMEN_LINK_NUMBER_BITS) - 1);
	check_range("m", PG_GETARG_INT32(4), OMEN_HNSW_MIN_M, OMEN_HNSW_MAX_M);
	check_range("ef_construction", PG_GETARG_INT32(5), 2 * meta.m,
				OMEN_HNSW_MAX_EF_CONSTRUCTION);
	check_range("workers", PG_GETARG_INT32(7), -1, 1024);
	choose_shape(element, metric, (OmenQuantizerKind) meta.quantizer, dims,
				 &meta.shape);
	if (meta.shape.own_size == 0)
	{
		own_bytes = sizeof(OmenSparsePayload) +
			dims * (sizeof(int32) + sizeof(float));

		/* they seldom share a place */
		meta.shape.dims = dims * SPARSENESS;
	}
	omen_hnsw_choose_layout(&meta, own_bytes);
	return form_result(fcinfo, &meta, own_bytes, rows,
					   guess_blocks(&meta, own_bytes, rows), 1 +
					   (PG_GETARG_INT32(7) >= 0 ? PG_GETARG_INT32(7) :
						max_parallel_maintenance_workers));
}

/* By the size of the table now, and of its rows when they were counted last */
static double
count_rows(Relation index, Relation heap)
{
	BlockNumber pages;
	double		rows;
	double		all_visible;

	table_relation_estimate_size(heap, NULL, &pages, &rows, &all_visible);

	/* a partial index; NULLs are counted though they are not in it */
	if (heap->rd_rel->reltuples > 0 && index->rd_rel->reltuples >= 0)
		rows *= index->rd_rel->reltuples / heap->rd_rel->reltuples;
	return rint(rows * (1 - null_fraction(index, heap)));
}

/* As ANALYZE has found it, of the column or of the index's expression */
static double
null_fraction(Relation index, Relation heap)
{
	AttrNumber	column = index->rd_index->indkey.values[0];
	Oid			relation = RelationGetRelid(column != 0 ? heap : index);
	HeapTuple	tuple = SearchSysCache3(STATRELATTINH,
										ObjectIdGetDatum(relation),
										Int16GetDatum(column != 0 ? column : 1),
										BoolGetDatum(false));
	double		fraction = 0;

	if (HeapTupleIsValid(tuple))
	{
		fraction = ((Form_pg_statistic) GETSTRUCT(tuple))->stanullfrac;
		ReleaseSysCache(tuple);
	}
	return fraction;
}

/* Of a table of such values and little else; long ones are stored elsewhere */
static double
guess_blocks(const OmenHnswMetaPageData *meta, Size own_bytes, double rows)
{
	const OmenCodeShape *shape = &meta->shape;
	double		value = own_bytes;

	if (shape->element == OMEN_ELEMENT_F32)
		value = shape->dims * sizeof(float);
	else if (shape->element == OMEN_ELEMENT_F16)
		value = shape->dims * sizeof(OmenHalf);
	else if (shape->element == OMEN_ELEMENT_BIT)
		value = shape->dims / 8.0;
	if (value > TOAST_TUPLE_TARGET)
		value = sizeof(varatt_external);
	return ceil(rows * (value + ROW_HEAD) / BLCKSZ);
}

static int
find_value(const NamedValue *values, const char *what, const text *name)
{
	const char *wanted = text_to_cstring(name);
	StringInfoData known;

	initStringInfo(&known);
	for (const NamedValue *value = values; value->name != NULL; value++)
	{
		if (pg_strcasecmp(value->name, wanted) == 0)
			return value->value;
		appendStringInfo(&known, "%s\"%s\"", known.len > 0 ? ", " : "",
						 value->name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s \"%s\"", what, wanted),
			 errhint("Valid values are %s.", known.data)));
	return 0;
}

static void
check_range(const char *what, int64 value, int64 min, int64 max)
{
	if (value < min || value > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between " INT64_FORMAT " and " INT64_FORMAT,
						what, min, max)));
}

static void
choose_shape(OmenElementType element, OmenMetric metric,
			 OmenQuantizerKind quantizer, int dims, OmenCodeShape *shape)
{
	bool		of_bits = metric == OMEN_METRIC_HAMMING ||
		metric == OMEN_METRIC_JACCARD;

	if (of_bits != (element == OMEN_ELEMENT_BIT) ||
		!omen_quant_choose_shape(element, metric, dims, quantizer, shape))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("there is no index of this type, metric and quantizer")));
}

static Datum
form_result(FunctionCallInfo fcinfo, const OmenHnswMetaPageData *meta,
			Size own_bytes, double rows, double blocks, int nparticipants)
{
	OmenBuildEstimate estimate;
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[lengthof(values)] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "return type must be a row type");

	omen_hnsw_estimate_build(meta, own_bytes, rows, blocks, nparticipants,
							 OMEN_ESTIMATE_PASSES, &estimate);
	values[0] = Int64GetDatum((int64) rows);
	values[1] = Int32GetDatum(nparticipants);
	values[2] = Int64GetDatum((int64) estimate.index_bytes);
	values[3] = Int64GetDatum((int64) estimate.file_bytes);
	values[4] = Int64GetDatum((int64) estimate.private_bytes);
	values[5] = Int64GetDatum((int64) estimate.mapped_bytes);
	values[6] = Float8GetDatum(estimate.total_seconds);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}
