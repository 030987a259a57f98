/*-------------------------------------------------------------------------
 *
 * table_bm25.c
 *	  What BM25 scores depend on, found out from a table instead of an index of
 *	  omenbm25: for those who have a GIN index, and bm25_score().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "bm25/bm25_view.h"

OMEN_FUNCTION(omen_bm25_stats_for_column);

/* Pages of the table that the mean length is estimated by */
#define SAMPLED_PAGES	300.0

static double count_rows(Relation relation, const char *table);
static double sample_length(Relation relation, const char *table,
							const char *column, const char *schema);
static double count_matches(const char *table, const char *column,
							const OmenBm25QueryTerm *term);
static double run(const char *command, int nargs, Oid *types, Datum *values);

/*
 * bm25_stats_for(table, column, tsquery).  The number of rows is what ANALYZE
 * estimates, the mean length that of some pages; how many rows have a lexeme
 * is counted, with whatever index there is.
 */
Datum
omen_bm25_stats_for_column(PG_FUNCTION_ARGS)
{
	Relation	relation = relation_open(PG_GETARG_OID(0), AccessShareLock);
	const char *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
												   RelationGetRelationName(relation));
	const char *column = quote_identifier(NameStr(*PG_GETARG_NAME(1)));
	const char *schema = quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid)));
	OmenBm25QueryTerm *terms;
	int			n = omen_bm25_query_terms(PG_GETARG_TSQUERY(2), NULL, 0,
										  &terms);
	double	   *df = palloc(Max(n, 1) * sizeof(double));
	double		nrows;
	double		length;
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	SPI_connect();
	nrows = count_rows(relation, table);
	length = sample_length(relation, table, column, schema);
	for (int t = 0; t < n; t++)
	{
		df[t] = count_matches(table, column, &terms[t]);
		nrows = Max(nrows, df[t]);
	}
	SPI_finish();
	relation_close(relation, AccessShareLock);
	return omen_bm25_form_stats(desc, nrows, length, n, terms, df);
}

static double
count_rows(Relation relation, const char *table)
{
	/* as VACUUM, ANALYZE or CREATE INDEX has left it, if any of them was run */
	if (relation->rd_rel->reltuples > 0)
		return relation->rd_rel->reltuples;
	return run(psprintf("SELECT pg_catalog.count(*)::pg_catalog.float8 FROM %s",
						table), 0, NULL,
			   NULL);
}

static double
sample_length(Relation relation, const char *table, const char *column,
			  const char *schema)
{
	double		share = SAMPLED_PAGES / Max(relation->rd_rel->relpages, 1);
	const char *length = psprintf("SELECT pg_catalog.avg(%s.bm25_doc_length(%s))::pg_catalog.float8 FROM %s",
								  schema, column, table);
	double		sampled = 0;

	if (share < 1 && (relation->rd_rel->relkind == RELKIND_RELATION ||
					  relation->rd_rel->relkind == RELKIND_MATVIEW))
		sampled = run(psprintf("%s TABLESAMPLE SYSTEM (%g) REPEATABLE (0)",
							   length, 100 * share), 0, NULL, NULL);
	if (sampled <= 0)
		sampled = run(length, 0, NULL, NULL);
	return sampled > 0 ? sampled : 1;
}

static double
count_matches(const char *table, const char *column,
			  const OmenBm25QueryTerm *term)
{
	char	   *text = quote_literal_cstr(pnstrdup(term->lexeme, term->len));
	Oid			types[1] = {TSQUERYOID};
	Datum		values[1] = {DirectFunctionCall1(tsqueryin,
												 CStringGetDatum(text))};

	return run(psprintf("SELECT pg_catalog.count(*)::pg_catalog.float8 FROM %s WHERE %s OPERATOR(pg_catalog.@@) $1",
						table, column), 1, types, values);
}

/* The only value of a command's only row; NULL is 0 */
static double
run(const char *command, int nargs, Oid *types, Datum *values)
{
	bool		isnull;
	Datum		value;

	if (SPI_execute_with_args(command, nargs, types, values, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", command);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &isnull);
	return isnull ? 0 : DatumGetFloat8(value);
}
