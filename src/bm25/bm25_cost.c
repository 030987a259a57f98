/*-------------------------------------------------------------------------
 *
 * bm25_cost.c
 *	  Estimated costs of scans.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "base/compat.h"
#include "bm25/bm25.h"

/* Lexemes of a query that is not known yet */
#define TYPICAL_TERMS		3

/* Pages read to find a term, most of them in cache */
#define PAGES_PER_TERM		3

/*
 * Of a term's postings, a search for the best rows decodes a part; and decoding
 * a posting costs a small part of what calling an operator does, scoring it some
 * more.
 */
#define SHARE_OF_ROWS		0.05
#define OPERATORS_PER_POSTING	0.05
#define OPERATORS_PER_SCORE		0.2

/*
 * Each row returned by its rank has been scored twice, and sorted among others.
 * Of a million rows, 1,000 to 100,000 took 3.4 us each, as much as 1.1 of what a
 * sequential scan of them and a sort cost, half of which the server adds for
 * pages of the table.
 */
#define OPERATORS_PER_HIT	200

/* Before the first row, whatever the query: the pending area, and so on */
#define OPERATORS_PER_SCAN	1000

static bool may_rank(const IndexPath *path);
static double count_terms(const IndexPath *path);
static double count_terms_of(const Node *query);

void
omen_bm25_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
					   Cost *startup_cost, Cost *total_cost,
					   Selectivity *selectivity, double *correlation,
					   double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	double		tuples = Max(info->tuples, 1.0);
	double		terms = count_terms(path);
	/* with a condition, the server takes the same cost for a bitmap scan */
	bool		ranked = path->indexorderbys != NIL &&
		path->indexclauses == NIL;
	double		postings;
	double		read;
	double		page_cost;
	List	   *quals;

	*correlation = 0;
	*selectivity = 1;
	*pages = info->pages;
	if (list_length(path->indexorderbys) > 1 ||
		(path->indexorderbys == NIL && path->indexclauses == NIL) ||
		!may_rank(path))
	{
		omen_compat_forbid_path(path, startup_cost, total_cost);
		return;
	}

	if (path->indexclauses != NIL)
	{
		quals = add_predicate_to_index_quals(info,
											 get_quals_from_indexclauses(path->indexclauses));
		*selectivity = clauselist_selectivity(root, quals, info->rel->relid,
											  JOIN_INNER, NULL);
	}
	get_tablespace_page_costs(info->reltablespace, &page_cost, NULL);

	/* a condition has to be evaluated for all rows, an order need not */
	postings = terms * tuples *
		(path->indexclauses != NIL ? Max(*selectivity, SHARE_OF_ROWS / terms) :
		 SHARE_OF_ROWS);
	read = Min(info->pages, terms * PAGES_PER_TERM +
			   postings * 1.5 / BLCKSZ);

	/* most of a hot index is cached, as the planner assumes of inner pages */
	*startup_cost = read * page_cost / 4 +
		(postings * (ranked ? OPERATORS_PER_SCORE : OPERATORS_PER_POSTING) +
		 OPERATORS_PER_SCAN) * cpu_operator_cost;
	*total_cost = *startup_cost + tuples * *selectivity *
		(cpu_index_tuple_cost +
		 (ranked ? OPERATORS_PER_HIT : 1) * cpu_operator_cost);
	*pages = read;
}

static bool
may_rank(const IndexPath *path)
{
	const OpExpr *order;

	if (path->indexorderbys == NIL)
		return true;
	order = linitial(path->indexorderbys);
	return !IsA(order, OpExpr) ||
		omen_bm25_may_rank(path->indexinfo, lsecond(order->args));
}

/*
 * The server may take any index on what is ranked, but one that counts positions
 * by other weights does not know the frequencies that the score is made of
 */
bool
omen_bm25_may_rank(const IndexOptInfo *info, const Node *query)
{
	Oid			oid = omen_bm25_bound_index(query);
	char		kind = OidIsValid(oid) ? get_rel_relkind(oid) : '\0';
	OmenTextUnits units;
	OmenTextUnits bound;
	Relation	index;

	if (oid == info->indexoid || info->hypothetical ||
		(kind != RELKIND_INDEX && kind != RELKIND_PARTITIONED_INDEX))
		return true;
	index = index_open(oid, AccessShareLock);
	if (index->rd_indam->aminsert != omen_bm25_insert)
	{
		index_close(index, AccessShareLock);
		return true;
	}
	bound = kind == RELKIND_INDEX ?
		omen_bm25_stored_units(index, omen_bm25_open(index)) :
		omen_bm25_units(index);
	index_close(index, AccessShareLock);
	index = index_open(info->indexoid, NoLock);
	units = omen_bm25_stored_units(index, omen_bm25_open(index));
	index_close(index, NoLock);
	return memcmp(&units, &bound, sizeof(units)) == 0;
}

/*
 * The index that a query names, or else is bound to (planner/text_bind.c), as far
 * as the planner knows it; or InvalidOid
 */
Oid
omen_bm25_bound_index(const Node *query)
{
	const FuncExpr *call = (const FuncExpr *) query;
	const Const *value = (const Const *) query;

	if (IsA(query, FuncExpr))
	{
		Oid			named = InvalidOid;

		if (list_length(call->args) < 2)
			return InvalidOid;
		if (IsA(linitial(call->args), FuncExpr))
			named = omen_bm25_bound_index(linitial(call->args));
		value = lsecond(call->args);
		if (OidIsValid(named) || !IsA(value, Const) ||
			value->consttype != REGCLASSOID || value->constisnull)
			return named;
		return DatumGetObjectId(value->constvalue);
	}
	return IsA(query, Const) && value->consttype != TSQUERYOID &&
		!value->constisnull ?
		DatumGetOmenBm25Query(value->constvalue)->index : InvalidOid;
}

/* Lexemes of the conditions and the order */
static double
count_terms(const IndexPath *path)
{
	double		terms = 0;
	ListCell   *cell;

	foreach(cell, path->indexclauses)
	{
		const IndexClause *clause = lfirst_node(IndexClause, cell);
		const Node *expr = (const Node *) clause->rinfo->clause;

		terms += IsA(expr, OpExpr) ?
			count_terms_of(lsecond(((const OpExpr *) expr)->args)) :
			TYPICAL_TERMS;
	}
	foreach(cell, path->indexorderbys)
	{
		const Node *expr = lfirst(cell);

		terms += IsA(expr, OpExpr) ?
			count_terms_of(lsecond(((const OpExpr *) expr)->args)) :
			TYPICAL_TERMS;
	}
	return Max(terms, 1);
}

static double
count_terms_of(const Node *query)
{
	const Const *value = (const Const *) query;
	TSQuery		tsquery;

	if (query == NULL || !IsA(query, Const) || value->constisnull)
		return TYPICAL_TERMS;
	if (value->consttype == TSQUERYOID)
		tsquery = DatumGetTSQuery(value->constvalue);
	else
		tsquery = omen_bm25_tsquery(DatumGetOmenBm25Query(value->constvalue));

	/* operators between them count for half */
	return (tsquery->size + 1) / 2;
}
