/*-------------------------------------------------------------------------
 *
 * key_clauses.c
 *	  Hands conditions on key columns to ordered scans that would otherwise
 *	  be left to filter by them.
 *
 *		Index Scan							Index Scan
 *		  Order By: embedding <-> $1	=>	  Index Cond: k = ANY ('{1,2}')
 *		  Filter: k = ANY ('{1,2}')			  Order By: embedding <-> $1
 *
 * Before 17 the planner takes an index for unordered once it is searched for
 * the elements of an array in a column other than the first, as a btree would
 * be; and before 16 it knows of no operator classes but its own that a boolean
 * column can be a condition for.  A later server leaves nothing to do here.
 *
 * An Omen Filtered Scan is told of all conditions on keys: what a bitmap of other
 * indexes allows is narrowed down by them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"

#include "hnsw/hnsw.h"
#include "planner/planner.h"

static set_rel_pathlist_hook_type next_set_rel_pathlist = NULL;

static void add_paths(PlannerInfo *root, RelOptInfo *rel, Index rti,
					  RangeTblEntry *rte);
static List *complete_clauses(PlannerInfo *root, const IndexPath *path);
static IndexClause *match_clause(PlannerInfo *root, IndexOptInfo *index,
								 RestrictInfo *rinfo);
static bool is_array_clause(PlannerInfo *root, IndexOptInfo *index, int column,
							const ScalarArrayOpExpr *clause);
static bool is_null_test(IndexOptInfo *index, int column,
						 const NullTest *test);
static Expr *form_comparison(PlannerInfo *root, IndexOptInfo *index,
							 int column, OpExpr *clause);
static bool is_value(PlannerInfo *root, Node *node);
static Expr *form_boolean_clause(IndexOptInfo *index, int column,
								 Node *clause);
static Expr *is_column(IndexOptInfo *index, int column, Node *operand,
					   bool value);
static List *insert_clause(List *clauses, IndexClause *clause);

void
omen_key_clauses_init(void)
{
	next_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = add_paths;
}

static void
add_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	List	   *found = NIL;
	ListCell   *cell;

	if (next_set_rel_pathlist)
		next_set_rel_pathlist(root, rel, rti, rte);

	foreach(cell, rel->pathlist)
	{
		IndexPath  *path = lfirst(cell);
		List	   *clauses;

		if (!IsA(path, IndexPath) || path->path.param_info != NULL ||
			path->indexinfo->amcostestimate != omen_hnsw_costestimate ||
			path->indexorderbys == NIL || path->indexinfo->nkeycolumns == 1)
			continue;
		clauses = complete_clauses(root, path);
		if (list_length(clauses) > list_length(path->indexclauses))
			found = lappend(found,
							create_index_path(root, path->indexinfo, clauses,
											  path->indexorderbys,
											  path->indexorderbycols,
											  path->path.pathkeys,
											  path->indexscandir, false, NULL,
											  1.0, false));
	}

	/* adding a path may free the one that it was made from */
	foreach(cell, found)
		add_path(rel, lfirst(cell));
}

/* The clauses of a path and what else the index can be searched by */
static List *
complete_clauses(PlannerInfo *root, const IndexPath *path)
{
	IndexOptInfo *index = path->indexinfo;
	List	   *clauses = list_copy(path->indexclauses);
	ListCell   *cell;

	foreach(cell, index->indrestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		IndexClause *clause;

		if (rinfo->pseudoconstant ||
			!restriction_is_securely_promotable(rinfo, index->rel) ||
			is_redundant_with_indexclauses(rinfo, path->indexclauses))
			continue;
		clause = match_clause(root, index, rinfo);
		if (clause != NULL)
			clauses = insert_clause(clauses, clause);
	}
	return clauses;
}

List *
omen_key_clauses_of(PlannerInfo *root, IndexOptInfo *index)
{
	List	   *clauses = NIL;
	ListCell   *cell;

	foreach(cell, index->indrestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		IndexClause *clause = NULL;

		if (!rinfo->pseudoconstant &&
			restriction_is_securely_promotable(rinfo, index->rel))
			clause = match_clause(root, index, rinfo);
		if (clause != NULL)
			clauses = lappend(clauses, clause);
	}
	return clauses;
}

/* The clause as a condition on a key column, or NULL */
static IndexClause *
match_clause(PlannerInfo *root, IndexOptInfo *index, RestrictInfo *rinfo)
{
	for (int column = 1; column < index->nkeycolumns; column++)
	{
		Node	   *node = (Node *) rinfo->clause;
		List	   *quals = NIL;
		IndexClause *result;

		if (IsA(node, ScalarArrayOpExpr))
		{
			if (is_array_clause(root, index, column,
								(ScalarArrayOpExpr *) node))
				quals = list_make1(rinfo);
		}
		else if (IsA(node, NullTest))
		{
			if (is_null_test(index, column, (NullTest *) node))
				quals = list_make1(rinfo);
		}
		else if (IsA(node, OpExpr))
		{
			Expr	   *clause = form_comparison(root, index, column,
												 (OpExpr *) node);

			if (clause == (Expr *) node)
				quals = list_make1(rinfo);
			else if (clause != NULL)
				quals = list_make1(make_simple_restrictinfo(root, clause));
		}
		else if (op_in_opfamily(BooleanEqualOperator, index->opfamily[column]))
		{
			Expr	   *clause = form_boolean_clause(index, column, node);

			if (clause != NULL)
				quals = list_make1(make_simple_restrictinfo(root, clause));
		}
		if (quals == NIL)
			continue;

		result = makeNode(IndexClause);
		result->rinfo = rinfo;
		result->indexquals = quals;
		result->indexcol = column;
		return result;
	}
	return NULL;
}

/* column operator ANY (array) */
static bool
is_array_clause(PlannerInfo *root, IndexOptInfo *index, int column,
				const ScalarArrayOpExpr *clause)
{
	Oid			collation = index->indexcollations[column];
	Node	   *array = lsecond(clause->args);

	return clause->useOr &&
		match_index_to_operand(linitial(clause->args), column, index) &&
		(!OidIsValid(collation) || collation == clause->inputcollid) &&
		op_in_opfamily(clause->opno, index->opfamily[column]) &&
		is_value(root, array);
}

static bool
is_null_test(IndexOptInfo *index, int column, const NullTest *test)
{
	return !test->argisrow &&
		match_index_to_operand((Node *) test->arg, column, index);
}

/* column operator value, or the other way round, which is turned */
static Expr *
form_comparison(PlannerInfo *root, IndexOptInfo *index, int column,
				OpExpr *clause)
{
	Oid			collation = index->indexcollations[column];
	Node	   *left = linitial(clause->args);
	Node	   *right = list_length(clause->args) == 2 ?
		lsecond(clause->args) : NULL;
	OpExpr	   *turned;

	if (right == NULL ||
		(OidIsValid(collation) && collation != clause->inputcollid))
		return NULL;
	if (match_index_to_operand(left, column, index) &&
		is_value(root, right) &&
		op_in_opfamily(clause->opno, index->opfamily[column]))
		return (Expr *) clause;
	if (!match_index_to_operand(right, column, index) ||
		!is_value(root, left) ||
		!op_in_opfamily(get_commutator(clause->opno), index->opfamily[column]))
		return NULL;
	turned = copyObject(clause);
	CommuteOpExpr(turned);
	return (Expr *) turned;
}

/* Is it the same for all rows of the table? */
static bool
is_value(PlannerInfo *root, Node *node)
{
	return bms_is_empty(pull_varnos(root, node)) &&
		!contain_volatile_functions(node);
}

/* column, NOT column, column IS TRUE, column IS FALSE: as column = constant */
static Expr *
form_boolean_clause(IndexOptInfo *index, int column, Node *clause)
{
	if (is_notclause(clause))
		return is_column(index, column, (Node *) get_notclausearg(clause),
						 false);
	if (IsA(clause, BooleanTest))
	{
		BooleanTest *test = (BooleanTest *) clause;

		if (test->booltesttype == IS_TRUE || test->booltesttype == IS_FALSE)
			return is_column(index, column, (Node *) test->arg,
							 test->booltesttype == IS_TRUE);
		return NULL;
	}
	return is_column(index, column, clause, true);
}

static Expr *
is_column(IndexOptInfo *index, int column, Node *operand, bool value)
{
	if (!match_index_to_operand(operand, column, index))
		return NULL;
	return make_opclause(BooleanEqualOperator, BOOLOID, false,
						 (Expr *) operand,
						 (Expr *) makeBoolConst(value, false), InvalidOid,
						 InvalidOid);
}

/* Clauses are in the order of the columns */
static List *
insert_clause(List *clauses, IndexClause *clause)
{
	int			at = 0;

	while (at < list_length(clauses) &&
		   ((IndexClause *) list_nth(clauses, at))->indexcol <=
		   clause->indexcol)
		at++;
	return list_insert_nth(clauses, at, clause);
}
