/*-------------------------------------------------------------------------
 *
 * bm25_score.c
 *	  Scores in SQL: the operator <@>, and bm25_score() by given statistics.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "bm25/bm25_view.h"

OMEN_FUNCTION(omen_bm25_distance);
OMEN_FUNCTION(omen_bm25_distance_unbound);
OMEN_FUNCTION(omen_bm25_doc_length_sql);
OMEN_FUNCTION(omen_bm25_score);
OMEN_FUNCTION(omen_bm25_stats_for);

/* As often as an index changes while its statistics are read, at most */
#define MOST_RETRIES	100

/* What an expression keeps from row to row */
typedef struct KeptRanking
{
	MemoryContext context;		/* of all but this struct */
	OmenBm25RankingKey key;
	Oid			user;			/* who may rank by it */
	OmenBm25Ranking *ranking;
} KeptRanking;

static OmenBm25Ranking *keep_ranking(FunctionCallInfo fcinfo,
									 OmenBm25Query *query);
static bool is_kept(const KeptRanking *kept, const OmenBm25Query *query,
					Snapshot snapshot);
static OmenBm25Ranking *rank_for_rows(const OmenBm25Query *query);
static bool try_rank(const OmenBm25Query *query, bool again,
					 OmenBm25Ranking **ranking);
static void check_row_security(Oid index);
static double get_number(HeapTupleHeader stats, const char *name);
static void get_terms(HeapTupleHeader stats, TSQuery query,
					  OmenBm25Ranking *ranking, double ndocs);
static int	find_lexeme(const Datum *lexemes, int nlexemes, int from,
						const OmenBm25QueryTerm *term);
static Datum *get_array(HeapTupleHeader stats, const char *name, Oid type,
						int *n);

/* tsvector <@> bm25query */
Datum
omen_bm25_distance(PG_FUNCTION_ARGS)
{
	TSVector	tsvector = PG_GETARG_TSVECTOR(0);
	OmenBm25Query *query = PG_GETARG_BM25QUERY(1);
	OmenBm25Ranking *ranking = keep_ranking(fcinfo, query);
	double		score = omen_bm25_score_doc(ranking, tsvector);

	PG_FREE_IF_COPY(tsvector, 0);

	/* not -0 */
	PG_RETURN_FLOAT8(score > 0 ? -score : 0);
}

/* tsvector <@> tsquery, where the planner has found no index to bind it to */
Datum
omen_bm25_distance_unbound(PG_FUNCTION_ARGS)
{
	OmenBm25Query *query = omen_bm25_form_query(PG_GETARG_TSQUERY(1),
												InvalidOid, OMEN_BM25_UNSET,
												OMEN_BM25_UNSET);

	/* raises the ERROR that says so */
	omen_bm25_rank(query, NULL, OMEN_BM25_KEEP_NOTHING, NULL, NULL);
	PG_RETURN_NULL();
}

Datum
omen_bm25_doc_length_sql(PG_FUNCTION_ARGS)
{
	const double weights[OMEN_TEXT_CLASSES] = {1, 1, 1, 1};
	OmenTextUnits units = omen_text_units(weights);

	PG_RETURN_INT32(omen_bm25_doc_length(PG_GETARG_TSVECTOR(0), &units));
}

/* bm25_score(tsvector, tsquery, bm25stats, k1, b) */
Datum
omen_bm25_score(PG_FUNCTION_ARGS)
{
	const double weights[OMEN_TEXT_CLASSES] = {1, 1, 1, 1};
	HeapTupleHeader stats = PG_GETARG_HEAPTUPLEHEADER(2);
	OmenBm25Ranking ranking = {0};
	double		ndocs = get_number(stats, "documents");

	ranking.units = omen_text_units(weights);
	ranking.bm25.k1 = PG_GETARG_FLOAT8(3);
	ranking.bm25.b = PG_GETARG_FLOAT8(4);
	ranking.bm25.avgdl = get_number(stats, "average_length");
	ranking.bm25.unit = ranking.units.unit;
	if (!(ranking.bm25.k1 >= 0) || !(ranking.bm25.b >= 0) ||
		!(ranking.bm25.b <= 1) || !(ranking.bm25.avgdl > 0) || !(ndocs >= 0))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("parameters of bm25_score() are out of range"),
				 errdetail("k1 and the number of documents must not be negative, b from 0 to 1, and the average length above 0.")));
	get_terms(stats, PG_GETARG_TSQUERY(1), &ranking, ndocs);
	PG_RETURN_FLOAT8(omen_bm25_score_doc(&ranking, PG_GETARG_TSVECTOR(0)));
}

/*
 * bm25_stats_for(index, tsquery): what an index knows of a query's lexemes.
 * Those of a prefix are told one by one, which are words of all rows: not to
 * whom some of these are hidden from.
 */
Datum
omen_bm25_stats_for(PG_FUNCTION_ARGS)
{
	OmenBm25Query *query = omen_bm25_form_query(PG_GETARG_TSQUERY(1),
												PG_GETARG_OID(0),
												OMEN_BM25_UNSET,
												OMEN_BM25_UNSET);
	OmenBm25Ranking *ranking;
	TupleDesc	desc;

	omen_bm25_check_index(query->index);
	check_row_security(query->index);
	ranking = rank_for_rows(query);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return omen_bm25_form_stats(desc, ranking->ndocs,
								ranking->bm25.avgdl / ranking->units.unit,
								ranking->nterms, ranking->terms, ranking->df);
}

static void
check_row_security(Oid index)
{
	Oid			table = IndexGetRelation(index, false);

	if (check_enable_rls(table, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot tell statistics of index \"%s\"",
						get_rel_name(index)),
				 errdetail("Row-level security of table \"%s\" applies to the current user.",
						   get_rel_name(table)),
				 errhint("Name the table and its column instead of the index: then the rows that are visible count.")));
}

/* A value of type bm25stats */
Datum
omen_bm25_form_stats(TupleDesc desc, double ndocs, double length, int nterms,
					 const OmenBm25QueryTerm *terms, const double *df)
{
	Datum	   *lexemes = palloc(Max(nterms, 1) * sizeof(Datum));
	Datum	   *frequencies = palloc(Max(nterms, 1) * sizeof(Datum));
	Datum		values[4];
	bool		nulls[4] = {0};

	for (int t = 0; t < nterms; t++)
	{
		lexemes[t] = PointerGetDatum(cstring_to_text_with_len(terms[t].lexeme,
															  terms[t].len));
		frequencies[t] = Float8GetDatum(df[t]);
	}
	values[0] = Float8GetDatum(ndocs);
	values[1] = Float8GetDatum(length);
	values[2] = PointerGetDatum(construct_array(lexemes, nterms, TEXTOID, -1,
												false, TYPALIGN_INT));
	values[3] = PointerGetDatum(construct_array(frequencies, nterms, FLOAT8OID,
												sizeof(float8),
												FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}

/* --- the operator --- */

/* The ranking for a query, kept for the rows that this expression is for */
static OmenBm25Ranking *
keep_ranking(FunctionCallInfo fcinfo, OmenBm25Query *query)
{
	KeptRanking *kept = fcinfo->flinfo->fn_extra;
	Snapshot	snapshot = GetActiveSnapshot();
	MemoryContext old;

	if (kept != NULL && is_kept(kept, query, snapshot))
		return kept->ranking;
	if (kept == NULL)
	{
		kept = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(*kept));
		kept->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt,
											  "omenbm25 ranking",
											  ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = kept;
	}
	kept->ranking = NULL;
	MemoryContextReset(kept->context);
	old = MemoryContextSwitchTo(kept->context);
	omen_bm25_set_key(&kept->key, query, snapshot);
	kept->ranking = rank_for_rows(kept->key.query);
	MemoryContextSwitchTo(old);
	kept->user = GetUserId();
	return kept->ranking;
}

/* Expressions of procedural languages outlive a statement */
static bool
is_kept(const KeptRanking *kept, const OmenBm25Query *query, Snapshot snapshot)
{
	return kept->ranking != NULL && kept->user == GetUserId() &&
		omen_bm25_is_key(&kept->key, query, snapshot);
}

/* In the current memory context */
static OmenBm25Ranking *
rank_for_rows(const OmenBm25Query *query)
{
	OmenBm25Ranking *ranking;

	omen_bm25_check_query(query);
	for (int tries = 1; !try_rank(query, tries < MOST_RETRIES, &ranking);
		 tries++)
		CHECK_FOR_INTERRUPTS();
	return ranking;
}

/* False if the index has changed meanwhile, and the caller may try again */
static bool
try_rank(const OmenBm25Query *query, bool again, OmenBm25Ranking **ranking)
{
	MemoryContext context = CurrentMemoryContext;
	uint64		replaced = omen_bm25_times_replaced;
	volatile bool done = false;

	PG_TRY();
	{
		*ranking = omen_bm25_rank(query, NULL, OMEN_BM25_KEEP_NOTHING, NULL,
								  NULL);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (geterrcode() != ERRCODE_T_R_SERIALIZATION_FAILURE ||
			omen_bm25_times_replaced == replaced || !again)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return done;
}

/* --- statistics as a value --- */

static double
get_number(HeapTupleHeader stats, const char *name)
{
	bool		isnull;
	Datum		value = GetAttributeByName(stats, name, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("statistics lack %s", name)));
	return DatumGetFloat8(value);
}

/* The query's lexemes with their frequencies; 0 if the statistics lack one */
static void
get_terms(HeapTupleHeader stats, TSQuery query, OmenBm25Ranking *ranking,
		  double ndocs)
{
	int			nlexemes;
	int			nfrequencies;
	int			next = 0;		/* where the term before was found */
	Datum	   *lexemes = get_array(stats, "lexemes", TEXTOID, &nlexemes);
	Datum	   *frequencies = get_array(stats, "frequencies", FLOAT8OID,
										&nfrequencies);

	if (nlexemes != nfrequencies)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("statistics have %d lexemes and %d frequencies",
						nlexemes, nfrequencies)));
	ranking->nterms = omen_bm25_query_terms(query, NULL, 0, &ranking->terms);
	ranking->weights = palloc(Max(ranking->nterms, 1) * sizeof(double));
	for (int t = 0; t < ranking->nterms; t++)
	{
		double		df = 0;
		int			at = find_lexeme(lexemes, nlexemes, next,
									 &ranking->terms[t]);

		if (at < nlexemes)
		{
			df = DatumGetFloat8(frequencies[at]);
			next = at;
		}
		ranking->weights[t] = omen_bm25_idf(ndocs, Min(Max(df, 0), ndocs));
	}
}

/*
 * Where a term is among lexemes, nlexemes if it is not there.  Looks from one place on
 * and then before: those of bm25_stats_for() are in the order of the query's terms.
 */
static int
find_lexeme(const Datum *lexemes, int nlexemes, int from,
			const OmenBm25QueryTerm *term)
{
	for (int i = 0; i < nlexemes; i++)
	{
		int			at = (from + i) % nlexemes;
		text	   *lexeme = DatumGetTextPP(lexemes[at]);

		if (omen_bm25_compare_lexemes(VARDATA_ANY(lexeme),
									  VARSIZE_ANY_EXHDR(lexeme), term->lexeme,
									  term->len) == 0)
			return at;
	}
	return nlexemes;
}

static Datum *
get_array(HeapTupleHeader stats, const char *name, Oid type, int *n)
{
	bool		isnull;
	Datum		value = GetAttributeByName(stats, name, &isnull);
	Datum	   *elements;
	bool	   *nulls;

	*n = 0;
	if (isnull)
		return NULL;
	if (type == TEXTOID)
		deconstruct_array(DatumGetArrayTypeP(value), type, -1, false,
						  TYPALIGN_INT, &elements, &nulls, n);
	else
		deconstruct_array(DatumGetArrayTypeP(value), type, sizeof(float8),
						  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls,
						  n);
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("statistics have a NULL among %s", name)));
	}
	return elements;
}
