/*-------------------------------------------------------------------------
 *
 * bm25_query.c
 *	  The type bm25query.
 *
 * As text it is the tsquery, followed by what is not the default:
 *
 *		'fat' & 'rat' {index=docs_idx, k1=0.9, b=0.4}
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "bm25/bm25_query.h"
#include "tsearch/ts_utils.h"

OMEN_FUNCTION(omen_bm25query_in);
OMEN_FUNCTION(omen_bm25query_out);
OMEN_FUNCTION(omen_bm25query_recv);
OMEN_FUNCTION(omen_bm25query_send);
OMEN_FUNCTION(omen_to_bm25query);
OMEN_FUNCTION(omen_bm25query_bind);
OMEN_FUNCTION(omen_bm25query_bind_tsquery);

static Datum receive_tsquery(StringInfo buffer);
static char *find_options(char *text);
static void parse_options(char *options, const char *input, Oid *index,
						  float4 *k1, float4 *b);
static double parse_number(const char *text);
static void report_syntax(const char *input) pg_attribute_noreturn();
static float4 check_parameter(double value, const char *name, double most);
static OmenBm25Query *bind_query(FunctionCallInfo fcinfo, TSQuery tsquery,
								 float4 k1, float4 b);
static bool is_readable(Relation index);

OmenBm25Query *
omen_bm25_form_query(TSQuery tsquery, Oid index, float4 k1, float4 b)
{
	Size		size = offsetof(OmenBm25Query, query) + VARSIZE(tsquery);
	OmenBm25Query *query = palloc0(size);

	SET_VARSIZE(query, size);
	query->index = index;
	query->k1 = k1;
	query->b = b;
	memcpy(query->query, tsquery, VARSIZE(tsquery));
	return query;
}

Datum
omen_bm25query_in(PG_FUNCTION_ARGS)
{
	const char *input = PG_GETARG_CSTRING(0);
	char	   *text = pstrdup(input);
	char	   *options = find_options(text);
	Oid			index = InvalidOid;
	float4		k1 = OMEN_BM25_UNSET;
	float4		b = OMEN_BM25_UNSET;
	Datum		tsquery;

	if (options)
		parse_options(options, input, &index, &k1, &b);
	tsquery = DirectFunctionCall1(tsqueryin, CStringGetDatum(text));
	PG_RETURN_POINTER(omen_bm25_form_query(DatumGetTSQuery(tsquery), index, k1,
										   b));
}

Datum
omen_bm25query_out(PG_FUNCTION_ARGS)
{
	OmenBm25Query *query = PG_GETARG_BM25QUERY(0);
	StringInfoData text;
	const char *before = " {";

	initStringInfo(&text);
	appendStringInfoString(&text,
						   DatumGetCString(DirectFunctionCall1(tsqueryout,
															   TSQueryGetDatum(omen_bm25_tsquery(query)))));
	if (OidIsValid(query->index))
	{
		appendStringInfo(&text, "%sindex=%s", before,
						 DatumGetCString(DirectFunctionCall1(regclassout,
															 ObjectIdGetDatum(query->index))));
		before = ", ";
	}
	if (query->k1 >= 0)
	{
		appendStringInfo(&text, "%sk1=%s", before,
						 DatumGetCString(DirectFunctionCall1(float4out,
															 Float4GetDatum(query->k1))));
		before = ", ";
	}
	if (query->b >= 0)
	{
		appendStringInfo(&text, "%sb=%s", before,
						 DatumGetCString(DirectFunctionCall1(float4out,
															 Float4GetDatum(query->b))));
		before = ", ";
	}
	if (before[0] == ',')
		appendStringInfoChar(&text, '}');
	PG_RETURN_CSTRING(text.data);
}

/*
 * The server makes room for as many items as the message says that it has, a
 * gigabyte if it likes.  Each takes two bytes of it at least.  None at all is
 * what every server sends, and some do not receive.
 */
static Datum
receive_tsquery(StringInfo buffer)
{
	int			start = buffer->cursor;
	uint32		nitems = pq_getmsgint(buffer, sizeof(uint32));

	if (nitems > (buffer->len - buffer->cursor) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("insufficient data left in message")));
	if (nitems == 0)
	{
		TSQuery		empty = palloc0(HDRSIZETQ);

		SET_VARSIZE(empty, HDRSIZETQ);
		return TSQueryGetDatum(empty);
	}
	buffer->cursor = start;
	return DirectFunctionCall1(tsqueryrecv, PointerGetDatum(buffer));
}

/* int4 index, float4 k1, float4 b, then the tsquery's own form */
Datum
omen_bm25query_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	Oid			index = pq_getmsgint(buffer, sizeof(Oid));
	float4		k1 = pq_getmsgfloat4(buffer);
	float4		b = pq_getmsgfloat4(buffer);
	Datum		tsquery = receive_tsquery(buffer);

	if (OidIsValid(index))
		omen_bm25_check_index(index);
	if (k1 != OMEN_BM25_UNSET)
		check_parameter(k1, "k1", 100);
	if (b != OMEN_BM25_UNSET)
		check_parameter(b, "b", 1);
	PG_RETURN_POINTER(omen_bm25_form_query(DatumGetTSQuery(tsquery), index, k1,
										   b));
}

Datum
omen_bm25query_send(PG_FUNCTION_ARGS)
{
	OmenBm25Query *query = PG_GETARG_BM25QUERY(0);
	bytea	   *tsquery = DatumGetByteaP(DirectFunctionCall1(tsquerysend,
															 TSQueryGetDatum(omen_bm25_tsquery(query))));
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendint32(&buffer, query->index);
	pq_sendfloat4(&buffer, query->k1);
	pq_sendfloat4(&buffer, query->b);
	pq_sendbytes(&buffer, VARDATA(tsquery), VARSIZE(tsquery) - VARHDRSZ);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* to_bm25query(query, index, k1, b): any but the query may be NULL */
Datum
omen_to_bm25query(PG_FUNCTION_ARGS)
{
	Oid			index = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
	float4		k1 = OMEN_BM25_UNSET;
	float4		b = OMEN_BM25_UNSET;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (OidIsValid(index))
		omen_bm25_check_index(index);
	if (!PG_ARGISNULL(2))
		k1 = check_parameter(PG_GETARG_FLOAT8(2), "k1", 100);
	if (!PG_ARGISNULL(3))
		b = check_parameter(PG_GETARG_FLOAT8(3), "b", 1);
	PG_RETURN_POINTER(omen_bm25_form_query(PG_GETARG_TSQUERY(0), index, k1,
										   b));
}

/* What the planner puts around a query that is not bound to an index */
Datum
omen_bm25query_bind(PG_FUNCTION_ARGS)
{
	OmenBm25Query *query = PG_GETARG_BM25QUERY(0);

	if (OidIsValid(query->index))
		PG_RETURN_POINTER(query);
	PG_RETURN_POINTER(bind_query(fcinfo, omen_bm25_tsquery(query), query->k1,
								 query->b));
}

Datum
omen_bm25query_bind_tsquery(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(bind_query(fcinfo, PG_GETARG_TSQUERY(0),
								 OMEN_BM25_UNSET, OMEN_BM25_UNSET));
}

static OmenBm25Query *
bind_query(FunctionCallInfo fcinfo, TSQuery tsquery, float4 k1, float4 b)
{
	OmenBm25Query *query = omen_bm25_form_query(tsquery, PG_GETARG_OID(1), k1,
												b);

	query->granted = PG_GET_COLLATION() == OMEN_BM25_PLANNER;
	return query;
}

/*
 * Cut off what stands in braces at the end, and return it.  A tsquery's own
 * text ends otherwise, as its lexemes are quoted.
 */
static char *
find_options(char *text)
{
	Size		len = strlen(text);
	char	   *open;

	while (len > 0 && isspace((unsigned char) text[len - 1]))
		len--;
	if (len == 0 || text[len - 1] != '}')
		return NULL;
	open = strrchr(text, '{');
	if (open == NULL)
		return NULL;
	text[len - 1] = '\0';
	*open = '\0';
	return open + 1;
}

static void
parse_options(char *options, const char *input, Oid *index, float4 *k1,
			  float4 *b)
{
	char	   *rest = options;
	char	   *option;

	while ((option = strsep(&rest, ",")) != NULL)
	{
		char	   *value = strchr(option, '=');

		option += strspn(option, " ");
		if (value == NULL)
			report_syntax(input);
		*value++ = '\0';
		option[strcspn(option, " ")] = '\0';
		if (strcmp(option, "index") == 0)
		{
			*index = DatumGetObjectId(DirectFunctionCall1(regclassin,
														  CStringGetDatum(value)));
			omen_bm25_check_index(*index);
		}
		else if (strcmp(option, "k1") == 0)
			*k1 = check_parameter(parse_number(value), "k1", 100);
		else if (strcmp(option, "b") == 0)
			*b = check_parameter(parse_number(value), "b", 1);
		else
			report_syntax(input);
	}
}

static double
parse_number(const char *text)
{
	return DatumGetFloat8(DirectFunctionCall1(float8in,
											  CStringGetDatum(text)));
}

static void
report_syntax(const char *input)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", "bm25query",
					input),
			 errhint("A tsquery may be followed by {index=name, k1=number, b=number}.")));
}

static float4
check_parameter(double value, const char *name, double most)
{
	if (!(value >= 0 && value <= most))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s must be from 0 to %g", name, most)));
	return (float4) value;
}

void
omen_bm25_check_index(Oid oid)
{
	char		kind = get_rel_relkind(oid);
	Relation	index;

	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("index with OID %u does not exist", oid)));
	if (kind != RELKIND_INDEX && kind != RELKIND_PARTITIONED_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not an index", get_rel_name(oid))));
	index = index_open(oid, AccessShareLock);
	if (!is_readable(index))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   get_rel_name(index->rd_index->indrelid));
	index_close(index, AccessShareLock);
}

void
omen_bm25_check_query(const OmenBm25Query *query)
{
	if (OidIsValid(query->index) && !query->granted)
		omen_bm25_check_index(query->index);
}

static bool
is_readable(Relation index)
{
	Oid			table = index->rd_index->indrelid;
	Bitmapset  *columns = NULL;
	int			column = -1;

	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	for (int i = 0; i < index->rd_index->indnatts; i++)
		columns = bms_add_member(columns, index->rd_index->indkey.values[i] -
								 FirstLowInvalidHeapAttributeNumber);

	/* 0 is an expression among the columns, a row among those of one */
	columns = bms_del_member(columns, -FirstLowInvalidHeapAttributeNumber);
	pull_varattnos((Node *) RelationGetIndexExpressions(index), 1, &columns);
	pull_varattnos((Node *) RelationGetIndexPredicate(index), 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		AttrNumber	attribute = column + FirstLowInvalidHeapAttributeNumber;

		if (attribute == InvalidAttrNumber ||
			pg_attribute_aclcheck(table, attribute, GetUserId(),
								  ACL_SELECT) != ACLCHECK_OK)
			return false;
	}
	return !bms_is_empty(columns);
}
