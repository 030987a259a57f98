/*-------------------------------------------------------------------------
 *
 * match.c
 *	  Which orders and bounds of a query an index can answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "planner/filter.h"

static Expr *find_bound(const OmenDistanceMatch *match, Expr *clause);
static bool is_same_distance(const OmenDistanceMatch *match, Node *expr);

/* column <-> query, or query <-> column */
bool
omen_match_distance(IndexOptInfo *index, Expr *expr, OmenDistanceMatch *match)
{
	OpExpr	   *op = (OpExpr *) expr;

	if (!IsA(expr, OpExpr) || list_length(op->args) != 2)
		return false;

	for (int arg = 0; arg < 2; arg++)
	{
		Node	   *column = list_nth(op->args, arg);
		Node	   *query = list_nth(op->args, 1 - arg);
		Oid			operator = arg == 0 ? op->opno : get_commutator(op->opno);
		Oid			sortfamily;

		if (!OidIsValid(operator) ||
			!match_index_to_operand(column, 0, index) ||
			contain_var_clause(query) || contain_volatile_functions(query))
			continue;
		sortfamily = get_op_opfamily_sortfamily(operator, index->opfamily[0]);
		if (!OidIsValid(sortfamily))
			continue;
		match->index = index;
		match->distance = op;
		match->query_arg = 1 - arg;
		match->sortfamily = sortfamily;
		return true;
	}
	return false;
}

/* ORDER BY column <-> query, perhaps followed by other keys */
bool
omen_match_order(PlannerInfo *root, RelOptInfo *rel, IndexOptInfo *index,
				 OmenDistanceMatch *match)
{
	PathKey    *key;
	OmenCompatMembers members;
	EquivalenceMember *member;

	if (root->query_pathkeys == NIL)
		return false;
	key = linitial_node(PathKey, root->query_pathkeys);
	if (!omen_compat_is_ascending(key) || key->pk_eclass->ec_has_volatile)
		return false;

	omen_compat_members_begin(&members, key->pk_eclass, rel->relids);
	while ((member = omen_compat_members_next(&members)) != NULL)
	{
		if (bms_equal(member->em_relids, rel->relids) &&
			omen_match_distance(index, member->em_expr, match) &&
			match->sortfamily == key->pk_opfamily)
			return true;
	}
	return false;
}

/* WHERE column <-> query < bound, the first one that there is */
bool
omen_match_any_bound(RelOptInfo *rel, IndexOptInfo *index,
					 OmenDistanceMatch *match)
{
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		OpExpr	   *clause = (OpExpr *) info->clause;

		if (!IsA(clause, OpExpr) || list_length(clause->args) != 2)
			continue;
		if ((omen_match_distance(index, linitial(clause->args), match) ||
			 omen_match_distance(index, lsecond(clause->args), match)) &&
			find_bound(match, info->clause) != NULL)
			return true;
	}
	return false;
}

List *
omen_match_bounds(RelOptInfo *rel, const OmenDistanceMatch *match,
				  List **bounds)
{
	List	   *clauses = NIL;
	ListCell   *cell;

	*bounds = NIL;
	foreach(cell, rel->baserestrictinfo)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		Expr	   *bound = find_bound(match, info->clause);

		if (bound == NULL)
			continue;
		clauses = lappend(clauses, info);
		*bounds = lappend(*bounds, bound);
	}
	return clauses;
}

/*
 * If the clause is distance < bound, <= bound, or the other way round: the
 * bound, as a float8
 */
static Expr *
find_bound(const OmenDistanceMatch *match, Expr *clause)
{
	OpExpr	   *op = (OpExpr *) clause;
	Oid			operator;
	Node	   *bound;
	int			strategy;

	if (!IsA(clause, OpExpr) || list_length(op->args) != 2)
		return NULL;
	if (is_same_distance(match, linitial(op->args)))
	{
		operator = op->opno;
		bound = lsecond(op->args);
	}
	else if (is_same_distance(match, lsecond(op->args)))
	{
		operator = get_commutator(op->opno);
		bound = linitial(op->args);
	}
	else
		return NULL;

	if (!OidIsValid(operator) || contain_var_clause(bound) ||
		contain_volatile_functions(bound))
		return NULL;
	strategy = get_op_opfamily_strategy(operator, match->sortfamily);
	if (strategy != BTLessStrategyNumber &&
		strategy != BTLessEqualStrategyNumber)
		return NULL;
	switch (exprType(bound))
	{
		case FLOAT8OID:
			return (Expr *) bound;
		case FLOAT4OID:
			return (Expr *) makeFuncExpr(F_FLOAT8_FLOAT4, FLOAT8OID,
										 list_make1(bound), InvalidOid,
										 InvalidOid, COERCE_IMPLICIT_CAST);
		default:
			return NULL;
	}
}

/* The operands may stand in the other order: distances are symmetric */
static bool
is_same_distance(const OmenDistanceMatch *match, Node *expr)
{
	OmenDistanceMatch other;

	if (equal(expr, match->distance))
		return true;
	return omen_match_distance(match->index, (Expr *) expr, &other) &&
		(other.distance->opno == match->distance->opno ||
		 other.distance->opno == get_commutator(match->distance->opno)) &&
		equal(list_nth(other.distance->args, other.query_arg),
			  list_nth(match->distance->args, match->query_arg));
}
