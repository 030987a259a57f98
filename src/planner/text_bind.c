/*-------------------------------------------------------------------------
 *
 * text_bind.c
 *	  Binds tsvector <@> query to an index, whose statistics the score is made
 *	  of.
 *
 *		body_tsv <@> $1		=>		body_tsv <@> bm25query_bind($1, index)
 *
 * The planner asks for it when it simplifies expressions: so it works wherever
 * the operator stands, in views, functions and generic plans, and all places in
 * a query that have the same expression get the same index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "bm25/bm25.h"

OMEN_FUNCTION(omen_bm25_bind_support);

/* Subqueries that a column is followed through */
#define MAX_SUBQUERIES	10

static Node *bind(const SupportRequestSimplify *request);
static Oid	find_bind_function(Oid query_type, Oid schema);
static bool is_bound(Node *query, Oid bind_function, Oid bind_tsquery);
static Oid	find_index(PlannerInfo *root, Node *document);
static bool is_column_of(const Query *query, const Var *var);
static Node *as_of_table(Node *node, void *arg);
static Var *find_var(Node *document);
static bool find_var_walker(Node *node, Var **var);
static Oid	find_index_of_table(Oid table, Node *document, Index varno);
static bool is_of(Relation index, Node *document, Index varno);
static Node *bound_query(Node *query, Oid bind_function, Oid index);

Datum
omen_bm25_bind_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(bind((SupportRequestSimplify *) request));
}

/* NULL if there is nothing to bind it to, or it is bound */
static Node *
bind(const SupportRequestSimplify *request)
{
	FuncExpr   *call = request->fcall;
	Oid			schema = get_func_namespace(call->funcid);
	Node	   *document;
	Node	   *query;
	Oid			query_type;
	Oid			bound_type;
	Oid			bind_function;
	Oid			operator;
	Oid			index;

	if (request->root == NULL || list_length(call->args) != 2)
		return NULL;
	document = linitial(call->args);
	query = lsecond(call->args);
	query_type = exprType(query);

	/* all of these are in the extension's schema, next to this function */
	bound_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
								 CStringGetDatum("bm25query"),
								 ObjectIdGetDatum(schema));
	if (!OidIsValid(bound_type) ||
		(query_type != TSQUERYOID && query_type != bound_type))
		return NULL;
	bind_function = find_bind_function(query_type, schema);
	operator = GetSysCacheOid4(OPERNAMENSP, Anum_pg_operator_oid,
							   CStringGetDatum("<@>"),
							   ObjectIdGetDatum(TSVECTOROID),
							   ObjectIdGetDatum(bound_type),
							   ObjectIdGetDatum(schema));
	if (!OidIsValid(bind_function) || !OidIsValid(operator) ||
		is_bound(query, bind_function, find_bind_function(TSQUERYOID, schema)))
		return NULL;
	index = find_index(request->root, document);
	if (!OidIsValid(index))
		return NULL;
	return (Node *) make_opclause(operator, FLOAT8OID, false,
								  (Expr *) document,
								  (Expr *) bound_query(query, bind_function,
													   index),
								  InvalidOid, call->inputcollid);
}

static Oid
find_bind_function(Oid query_type, Oid schema)
{
	Oid			arguments[2] = {query_type, REGCLASSOID};

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum("bm25query_bind"),
						   PointerGetDatum(buildoidvector(arguments, 2)),
						   ObjectIdGetDatum(schema));
}

/*
 * Either way: what the body of a function in SQL has is simplified twice, and a
 * tsquery that is bound is a bm25query by then
 */
static bool
is_bound(Node *query, Oid bind_function, Oid bind_tsquery)
{
	const Const *value = (const Const *) query;

	if (IsA(query, FuncExpr))
		return ((FuncExpr *) query)->funcid == bind_function ||
			((FuncExpr *) query)->funcid == bind_tsquery;
	return IsA(query, Const) && value->consttype != TSQUERYOID &&
		!value->constisnull &&
		OidIsValid(DatumGetOmenBm25Query(value->constvalue)->index);
}

/* An index of what is ranked, if that is of one table; else InvalidOid */
static Oid
find_index(PlannerInfo *root, Node *document)
{
	Var		   *var = find_var(document);
	Query	   *query;

	if (var == NULL)
		return InvalidOid;
	for (Index i = 0; i < var->varlevelsup; i++)
	{
		root = root->parent_root;
		if (root == NULL)
			return InvalidOid;
	}
	query = root->parse;
	document = copyObject(document);
	IncrementVarSublevelsUp(document, -(int) var->varlevelsup,
							var->varlevelsup);

	for (int depth = 0; depth < MAX_SUBQUERIES; depth++)
	{
		RangeTblEntry *table;
		TargetEntry *target;

		if (!is_column_of(query, find_var(document)))
			return InvalidOid;
		document = as_of_table(omen_compat_ungroup(query, document), NULL);
		var = find_var(document);
		if (!is_column_of(query, var))
			return InvalidOid;
		table = rt_fetch(var->varno, query->rtable);
		if (table->rtekind == RTE_RELATION)
			return find_index_of_table(table->relid, document, var->varno);

		/* the column of a subquery that stays one */
		if (table->rtekind != RTE_SUBQUERY || !IsA(document, Var))
			return InvalidOid;
		query = table->subquery;
		target = get_tle_by_resno(query->targetList, var->varattno);
		if (target == NULL || query->setOperations != NULL)
			return InvalidOid;
		document = (Node *) target->expr;
	}
	return InvalidOid;
}

static bool
is_column_of(const Query *query, const Var *var)
{
	return var != NULL && var->varlevelsup == 0 && var->varno >= 1 &&
		var->varno <= list_length(query->rtable);
}

/*
 * Without the marks that outer joins and grouping sets may make it NULL, and of which
 * version of the row RETURNING has it
 */
static Node *
as_of_table(Node *node, void *arg)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return (Node *) omen_compat_unmarked_var((const Var *) node);
	if (IsA(node, PlaceHolderVar))
		return as_of_table((Node *) ((PlaceHolderVar *) node)->phexpr, arg);
	if (omen_compat_returned(node) != NULL)
		return as_of_table(omen_compat_returned(node), arg);
	return expression_tree_mutator(node, as_of_table, arg);
}

/* The first column in an expression whose columns are of one table */
static Var *
find_var(Node *document)
{
	Var		   *var = NULL;

	if (find_var_walker(document, &var))
		return NULL;
	return var;
}

/* True if there are columns of two tables */
static bool
find_var_walker(Node *node, Var **var)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *found = (Var *) node;

		if (*var != NULL && (found->varno != (*var)->varno ||
							 found->varlevelsup != (*var)->varlevelsup))
			return true;
		*var = found;
		return false;
	}
	return expression_tree_walker(node, find_var_walker, var);
}

/* One without a predicate, if there is any such */
static Oid
find_index_of_table(Oid table, Node *document, Index varno)
{
	Relation	relation = relation_open(table, NoLock);
	Oid			found = InvalidOid;
	bool		partial = true;
	List	   *oids = RelationGetIndexList(relation);
	ListCell   *cell;

	foreach(cell, oids)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_indam->aminsert == omen_bm25_insert &&
			index->rd_index->indisvalid && partial &&
			is_of(index, document, varno))
		{
			bool		has_predicate = RelationGetIndexPredicate(index) != NIL;

			if (!OidIsValid(found) || !has_predicate)
				found = RelationGetRelid(index);
			partial = has_predicate;
		}
		index_close(index, AccessShareLock);
	}
	relation_close(relation, NoLock);
	return found;
}

/* Does the index have this expression? */
static bool
is_of(Relation index, Node *document, Index varno)
{
	AttrNumber	column = index->rd_index->indkey.values[0];
	Node	   *expr;

	while (IsA(document, RelabelType))
		document = (Node *) ((RelabelType *) document)->arg;
	if (column != 0)
		return IsA(document, Var) && ((Var *) document)->varattno == column;
	expr = copyObject(linitial(RelationGetIndexExpressions(index)));
	ChangeVarNodes(expr, 1, varno, 0);
	while (IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	return equal(expr, document);
}

/* Constants are bound at once */
static Node *
bound_query(Node *query, Oid bind_function, Oid index)
{
	const Const *value = (const Const *) query;
	Datum		bound;

	if (!IsA(query, Const) || value->constisnull)
		return (Node *) makeFuncExpr(bind_function,
									 get_func_rettype(bind_function),
									 list_make2(query,
												makeConst(REGCLASSOID, -1,
														  InvalidOid,
														  sizeof(Oid),
														  ObjectIdGetDatum(index),
														  false, true)),
									 InvalidOid, OMEN_BM25_PLANNER,
									 COERCE_EXPLICIT_CALL);
	bound = OidFunctionCall2Coll(bind_function, OMEN_BM25_PLANNER,
								 value->constvalue, ObjectIdGetDatum(index));
	return (Node *) makeConst(get_func_rettype(bind_function), -1, InvalidOid,
							  -1, bound, false, false);
}
