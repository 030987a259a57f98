/*-------------------------------------------------------------------------
 *
 * bm25_rank.c
 *	  From a query to what scores depend on: terms, statistics, weights.
 *
 * NOTES
 *	  A query bound to an index is ranked by that index's statistics and
 *	  parameters, whichever index is scanned.  If it is bound to the index of
 *	  a partitioned table, by those of all partitions together: so scores of
 *	  rows of several partitions can be compared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "bm25/bm25_view.h"

/* Lexemes that prefixes stand for, before duplicates are dropped */
#define ROOM	(4 * OMEN_TOPK_MAX_TERMS)

static const OmenBm25Query *bind_query(const OmenBm25Query *query,
									   Relation index);
static int	open_indexes(const OmenBm25Query *query, Relation index,
						 Relation **indexes);
static bool is_ours(Relation index);
static OmenBm25Ranking *try_rank(const OmenBm25Query *query, Relation *indexes,
								 int nindexes, OmenBm25Keep keep,
								 TSQuery filter, OmenBm25View **view);
static void check_number(int nterms);
static void collect_terms(TSQuery query, int item, OmenBm25QueryTerm *terms,
						  int *n);
static int	compare_terms(const void *a, const void *b);
static int	drop_duplicates(OmenBm25QueryTerm *terms, int n);
static void expand_prefix(const OmenBm25QueryTerm *prefix, Relation index,
						  OmenBm25QueryTerm *terms, int *n);
static void add_term(const char *lexeme, int len, OmenBm25QueryTerm *terms,
					 int *n);

OmenBm25Ranking *
omen_bm25_rank(const OmenBm25Query *query, Relation index, OmenBm25Keep keep,
			   TSQuery filter, OmenBm25View **view)
{
	const OmenBm25Query *bound = bind_query(query, index);
	const OmenBm25Ranking *held = omen_bm25_held(bound);
	Relation   *indexes;
	int			n;
	OmenBm25Ranking *ranking;
	OmenBm25View *last = NULL;

	if (held != NULL)
	{
		if (view)
			*view = NULL;
		return omen_bm25_copy_ranking(held);
	}
	n = open_indexes(query, index, &indexes);
	PG_TRY();
	{
		ranking = try_rank(query, indexes, n, keep, filter, &last);
	}
	PG_FINALLY();
	{
		/* callers try again if a part of one was replaced meanwhile */
		for (int i = 0; i < n; i++)
		{
			if (indexes[i] != index)
				index_close(indexes[i], AccessShareLock);
		}
	}
	PG_END_TRY();
	omen_bm25_hold(bound, ranking);
	if (view)
		*view = n == 1 && indexes[0] == index ? last : NULL;
	return ranking;
}

/*
 * To the index that it is ranked by, if that is not said in it; whoever bound
 * it, it ranks alike.
 */
static const OmenBm25Query *
bind_query(const OmenBm25Query *query, Relation index)
{
	OmenBm25Query *bound = palloc(VARSIZE(query));

	memcpy(bound, query, VARSIZE(query));
	bound->granted = 0;
	if (!OidIsValid(query->index) && index != NULL)
		bound->index = RelationGetRelid(index);
	return bound;
}

OmenBm25Ranking *
omen_bm25_copy_ranking(const OmenBm25Ranking *ranking)
{
	OmenBm25Ranking *copy = palloc(sizeof(*copy));
	int			n = Max(ranking->nterms, 1);

	*copy = *ranking;
	copy->terms = palloc(n * sizeof(*copy->terms));
	copy->weights = palloc(n * sizeof(*copy->weights));
	copy->df = palloc(n * sizeof(*copy->df));
	for (int t = 0; t < ranking->nterms; t++)
	{
		copy->terms[t] = ranking->terms[t];
		copy->terms[t].lexeme = pnstrdup(ranking->terms[t].lexeme,
										 ranking->terms[t].len);
		copy->weights[t] = ranking->weights[t];
		copy->df[t] = ranking->df[t];
	}
	return copy;
}

/* The indexes whose statistics count; returns how many */
static int
open_indexes(const OmenBm25Query *query, Relation index, Relation **indexes)
{
	List	   *oids;
	ListCell   *cell;
	int			n = 0;

	if (index != NULL && (!OidIsValid(query->index) ||
						  query->index == RelationGetRelid(index)))
	{
		*indexes = palloc(sizeof(Relation));
		(*indexes)[0] = index;
		return 1;
	}
	if (!OidIsValid(query->index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot rank without an index of access method omenbm25"),
				 errdetail("The score of a document depends on how often the query's lexemes occur in all documents, which such an index knows."),
				 errhint("Create one with CREATE INDEX ... USING omenbm25 on the ranked expression, name one by to_bm25query(query, 'index'), or give the statistics to bm25_score().")));

	oids = get_rel_relkind(query->index) == RELKIND_PARTITIONED_INDEX ?
		find_all_inheritors(query->index, AccessShareLock, NULL) :
		list_make1_oid(query->index);
	*indexes = palloc(list_length(oids) * sizeof(Relation));
	foreach(cell, oids)
	{
		Oid			oid = lfirst_oid(cell);
		Relation	relation;

		if (get_rel_relkind(oid) == RELKIND_PARTITIONED_INDEX)
			continue;
		if (index != NULL && oid == RelationGetRelid(index))
			relation = index;
		else
			relation = index_open(oid, AccessShareLock);
		if (!is_ours(relation))
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("index \"%s\" is not of access method omenbm25",
							RelationGetRelationName(relation))));
		(*indexes)[n++] = relation;
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" has no partitions to rank by",
						get_rel_name(query->index))));
	return n;
}

static bool
is_ours(Relation index)
{
	return index->rd_indam->aminsert == omen_bm25_insert;
}

static OmenBm25Ranking *
try_rank(const OmenBm25Query *query, Relation *indexes, int nindexes,
		 OmenBm25Keep keep, TSQuery filter, OmenBm25View **view)
{
	OmenBm25Ranking *ranking = palloc0(sizeof(*ranking));
	double		length = 0;

	ranking->nterms = omen_bm25_query_terms(omen_bm25_tsquery(query), indexes,
											nindexes, &ranking->terms);
	ranking->df = palloc0(Max(ranking->nterms, 1) * sizeof(double));
	for (int i = 0; i < nindexes; i++)
	{
		*view = omen_bm25_view(indexes[i], ranking->nterms, ranking->terms,
							   filter, keep);
		ranking->ndocs += (*view)->ndocs;
		length += (*view)->length;
		for (int t = 0; t < ranking->nterms; t++)
			ranking->df[t] += (*view)->df[t];
		if (i > 0 && memcmp(&ranking->units, &(*view)->meta.units,
							sizeof(OmenTextUnits)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("partitions of index \"%s\" were built with different weights",
							get_rel_name(query->index)),
					 errhint("Rebuild them with REINDEX INDEX.")));
		ranking->units = (*view)->meta.units;
	}

	ranking->bm25.k1 = query->k1 >= 0 ? query->k1 : omen_bm25_k1(indexes[0]);
	ranking->bm25.b = query->b >= 0 ? query->b : omen_bm25_b(indexes[0]);
	ranking->bm25.avgdl = length > 0 ? length / ranking->ndocs : 1;
	ranking->bm25.unit = ranking->units.unit;
	ranking->weights = palloc(Max(ranking->nterms, 1) * sizeof(double));
	for (int t = 0; t < ranking->nterms; t++)
		ranking->weights[t] = omen_bm25_idf(ranking->ndocs, ranking->df[t]);
	return ranking;
}

/* --- terms of a query --- */

int
omen_bm25_query_terms(TSQuery query, Relation *indexes, int nindexes,
					  OmenBm25QueryTerm **terms)
{
	OmenBm25QueryTerm *found = palloc(Max(query->size, 1) *
									  sizeof(OmenBm25QueryTerm));
	int			nfound = 0;
	int			n = 0;

	*terms = palloc((query->size + ROOM) * sizeof(OmenBm25QueryTerm));
	if (query->size > 0)
		collect_terms(query, 0, found, &nfound);
	for (int i = 0; i < nfound; i++)
	{
		if (!found[i].prefix)
			(*terms)[n++] = found[i];
		for (int j = 0; found[i].prefix && j < nindexes; j++)
			expand_prefix(&found[i], indexes[j], *terms, &n);
	}
	qsort(*terms, n, sizeof(OmenBm25QueryTerm), compare_terms);
	n = drop_duplicates(*terms, n);
	check_number(n);
	return n;
}

static void
check_number(int nterms)
{
	if (nterms > OMEN_TOPK_MAX_TERMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot rank by more than %d lexemes",
						OMEN_TOPK_MAX_TERMS),
				 errhint("Use longer prefixes, or fewer words.")));
}

static void
collect_terms(TSQuery query, int item, OmenBm25QueryTerm *terms, int *n)
{
	QueryItem  *at = &GETQUERY(query)[item];

	check_stack_depth();
	if (at->type == QI_VAL)
	{
		OmenBm25QueryTerm *term = &terms[(*n)++];

		term->lexeme = GETOPERAND(query) + at->qoperand.distance;
		term->len = at->qoperand.length;
		term->prefix = at->qoperand.prefix;
		term->hash = omen_bm25_hash(term->lexeme, term->len);
		return;
	}
	if (at->qoperator.oper == OP_NOT)
		return;
	collect_terms(query, item + at->qoperator.left, terms, n);
	collect_terms(query, item + 1, terms, n);
}

static int
compare_terms(const void *a, const void *b)
{
	const OmenBm25QueryTerm *x = a;
	const OmenBm25QueryTerm *y = b;

	return omen_bm25_compare_lexemes(x->lexeme, x->len, y->lexeme, y->len);
}

static int
drop_duplicates(OmenBm25QueryTerm *terms, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (kept == 0 || compare_terms(&terms[kept - 1], &terms[i]) != 0)
			terms[kept++] = terms[i];
	}
	return kept;
}

/* The lexemes of an index that begin with a prefix */
static void
expand_prefix(const OmenBm25QueryTerm *prefix, Relation index,
			  OmenBm25QueryTerm *terms, int *n)
{
	OmenBm25Index *bm25 = omen_bm25_open(index);
	OmenBm25MetaPageData *meta = palloc(sizeof(*meta));
	OmenBm25PendingScan *scan = palloc(sizeof(*scan));
	OmenBm25DocData *part;

	omen_bm25_read_meta(index, meta);
	for (int i = 0; i < meta->nsegments; i++)
	{
		OmenBm25Segment *segment = omen_bm25_find_segment(index, bm25,
														  &meta->segments[i]);
		OmenBm25DictScan *dict = palloc(sizeof(*dict));

		omen_bm25_dict_begin(dict, index, bm25, segment, prefix->lexeme,
							 prefix->len);
		while (omen_bm25_dict_next(dict) && dict->len >= prefix->len &&
			   memcmp(dict->lexeme, prefix->lexeme, prefix->len) == 0)
			add_term(dict->lexeme, dict->len, terms, n);
	}
	omen_bm25_pending_begin(scan, index, meta);
	while ((part = omen_bm25_pending_next(scan)) != NULL)
	{
		for (int i = 0; i < part->nterms; i++)
		{
			int			len;
			const char *lexeme = omen_bm25_doc_lexeme(part, i, &len);

			if (len >= prefix->len &&
				omen_bm25_doc_terms(part)[i + 1].offset <= part->size &&
				memcmp(lexeme, prefix->lexeme, prefix->len) == 0)
				add_term(lexeme, len, terms, n);
		}
	}
}

/* When there is no more room, duplicates go */
static void
add_term(const char *lexeme, int len, OmenBm25QueryTerm *terms, int *n)
{
	OmenBm25QueryTerm *term;
	char	   *copy;

	if (*n >= ROOM)
	{
		qsort(terms, *n, sizeof(OmenBm25QueryTerm), compare_terms);
		*n = drop_duplicates(terms, *n);
		check_number(*n);
	}
	copy = palloc(Max(len, 1));
	memcpy(copy, lexeme, len);
	term = &terms[(*n)++];
	term->lexeme = copy;
	term->len = len;
	term->prefix = false;
	term->hash = omen_bm25_hash(lexeme, len);
}

/* --- scores --- */

double
omen_bm25_score_tfs(const OmenBm25Ranking *ranking, const uint16 *tfs,
					uint32 length)
{
	double		score = 0;

	for (int t = 0; t < ranking->nterms; t++)
		score += omen_bm25_term(&ranking->bm25, ranking->weights[t], tfs[t],
								length);
	return score;
}

double
omen_bm25_score_doc(const OmenBm25Ranking *ranking, TSVector tsvector)
{
	double		score = 0;
	uint32		length = omen_bm25_doc_length(tsvector, &ranking->units);

	for (int t = 0; t < ranking->nterms; t++)
	{
		const OmenBm25QueryTerm *term = &ranking->terms[t];
		uint16		tf = omen_bm25_doc_tf(tsvector, &ranking->units,
										  term->lexeme, term->len);

		score += omen_bm25_term(&ranking->bm25, ranking->weights[t], tf,
								length);
	}
	return score;
}
