/*-------------------------------------------------------------------------
 *
 * match.c
 *	  Which orders, bounds and conditions of a query an index can answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "planner/filter.h"

static int	find_query_arg(PlannerInfo *root, IndexOptInfo *index,
						   const Expr *expr, Oid *operator);
static Expr *find_bound(PlannerInfo *root, const OmenDistanceMatch *match,
						Expr *clause);
static Node *compared_with(PlannerInfo *root, const OmenDistanceMatch *match,
						   const OpExpr *op, int side, int *strategy);
static Expr *find_similarity_bound(PlannerInfo *root,
								   const OmenDistanceMatch *match,
								   Expr *clause, bool exact);
static Expr *find_rounded_bound(PlannerInfo *root,
								const OmenDistanceMatch *match, Expr *clause);
static bool is_similarity(PlannerInfo *root, const OmenDistanceMatch *match,
						  Node *expr, double *shift, double *factor);
static double plain_constant(Node *expr);
static Expr *as_float8(Node *bound);
static Expr *of_float8(Oid function, Expr *left, double right);
static Const *make_float8(double value);
static bool is_same_distance(PlannerInfo *root,
							 const OmenDistanceMatch *match, Node *expr);
static bool is_query(PlannerInfo *root, const IndexOptInfo *index,
					 Node *expr);

/* column <-> query, or query <-> column */
bool
omen_match_distance(PlannerInfo *root, IndexOptInfo *index, Expr *expr,
					OmenDistanceMatch *match)
{
	Oid			operator;
	int			query_arg = find_query_arg(root, index, expr, &operator);
	Oid			sortfamily;

	if (query_arg < 0)
		return false;
	sortfamily = get_op_opfamily_sortfamily(operator, index->opfamily[0]);
	if (!OidIsValid(sortfamily))
		return false;
	match->index = index;
	match->distance = (OpExpr *) expr;
	match->query_arg = query_arg;
	match->sortfamily = sortfamily;
	return true;
}

/*
 * Of column operator query, or query operator column: which operand is the
 * query, and the operator that has it on the right; -1 of anything else
 */
static int
find_query_arg(PlannerInfo *root, IndexOptInfo *index, const Expr *expr,
			   Oid *operator)
{
	const OpExpr *op = (const OpExpr *) expr;

	if (!IsA(expr, OpExpr) || list_length(op->args) != 2)
		return -1;
	for (int arg = 0; arg < 2; arg++)
	{
		if (!match_index_to_operand(list_nth(op->args, arg), 0, index) ||
			!is_query(root, index, list_nth(op->args, 1 - arg)))
			continue;
		*operator = arg == 0 ? op->opno : get_commutator(op->opno);
		return OidIsValid(*operator) ? 1 - arg : -1;
	}
	return -1;
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
			omen_match_distance(root, index, member->em_expr, match) &&
			match->sortfamily == key->pk_opfamily)
			return true;
	}
	return false;
}

/* distance < bound, for any query */
bool
omen_match_any_bound(PlannerInfo *root, IndexOptInfo *index,
					 const RestrictInfo *info, OmenDistanceMatch *match)
{
	OpExpr	   *clause = (OpExpr *) info->clause;

	return IsA(clause, OpExpr) && list_length(clause->args) == 2 &&
		(omen_match_distance(root, index, linitial(clause->args), match) ||
		 omen_match_distance(root, index, lsecond(clause->args), match)) &&
		find_bound(root, match, info->clause) != NULL;
}

List *
omen_match_bounds(PlannerInfo *root, List *clauses,
				  const OmenDistanceMatch *match, OmenBoundUse use,
				  List **bounds)
{
	List	   *found = NIL;
	ListCell   *cell;

	*bounds = NIL;
	foreach(cell, clauses)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		Expr	   *bound = find_bound(root, match, info->clause);

		if (bound == NULL && use != OMEN_BOUND_OF_DISTANCE)
			bound = find_similarity_bound(root, match, info->clause,
										  use == OMEN_BOUND_EXACT_IN_ORDER);
		if (bound == NULL && use == OMEN_BOUND_IN_ORDER)
			bound = find_rounded_bound(root, match, info->clause);
		if (bound == NULL)
			continue;
		found = lappend(found, info);
		*bounds = lappend(*bounds, bound);
	}
	return found;
}

bool
omen_match_is_strict(const OmenDistanceMatch *match, const RestrictInfo *info)
{
	int			strategy = get_op_opfamily_strategy(castNode(OpExpr, info->clause)->opno,
													match->sortfamily);

	return strategy == BTLessStrategyNumber ||
		strategy == BTGreaterStrategyNumber;
}

/*
 * If the clause is distance < bound, <= bound, or the other way round: the
 * bound, as a float8
 */
static Expr *
find_bound(PlannerInfo *root, const OmenDistanceMatch *match, Expr *clause)
{
	OpExpr	   *op = (OpExpr *) clause;
	Node	   *bound;
	int			strategy;

	if (!IsA(clause, OpExpr) || list_length(op->args) != 2)
		return NULL;
	if (is_same_distance(root, match, linitial(op->args)))
		bound = compared_with(root, match, op, 0, &strategy);
	else if (is_same_distance(root, match, lsecond(op->args)))
		bound = compared_with(root, match, op, 1, &strategy);
	else
		return NULL;
	if (bound == NULL)
		return NULL;
	if (strategy != BTLessStrategyNumber &&
		strategy != BTLessEqualStrategyNumber)
		return NULL;
	return as_float8(bound);
}

/*
 * What one side of a comparison is compared with, if a scan can know it; and how, as if
 * that side were the left one
 */
static Node *
compared_with(PlannerInfo *root, const OmenDistanceMatch *match,
			  const OpExpr *op, int side, int *strategy)
{
	Oid			operator = side == 0 ? op->opno : get_commutator(op->opno);
	Node	   *other = list_nth(op->args, 1 - side);

	if (!OidIsValid(operator) || !is_query(root, match->index, other))
		return NULL;
	*strategy = get_op_opfamily_strategy(operator, match->sortfamily);
	return other;
}

/*
 * If the clause is similarity > bound, >= bound, or the other way round: the
 * distance at that similarity.  Only of a scan in the order of the distance,
 * which brings no rows without one either: to SQL, NaN is the greatest
 * similarity.
 */
static Expr *
find_similarity_bound(PlannerInfo *root, const OmenDistanceMatch *match,
					  Expr *clause, bool exact)
{
	OpExpr	   *op = (OpExpr *) clause;
	Node	   *bound;
	Expr	   *distance;
	double		shift;
	double		factor;
	int			strategy;

	if (!IsA(clause, OpExpr) || list_length(op->args) != 2)
		return NULL;
	if (is_similarity(root, match, linitial(op->args), &shift, &factor))
		bound = compared_with(root, match, op, 0, &strategy);
	else if (is_similarity(root, match, lsecond(op->args), &shift, &factor))
		bound = compared_with(root, match, op, 1, &strategy);
	else
		return NULL;
	if (bound == NULL)
		return NULL;
	distance = as_float8(bound);
	if (distance == NULL || (strategy != BTGreaterStrategyNumber &&
							 strategy != BTGreaterEqualStrategyNumber) ||
		(exact && (shift != 0 || factor != -1)))
		return NULL;
	distance = of_float8(F_FLOAT8MI, distance, shift);
	distance = of_float8(F_FLOAT8DIV, distance, factor);
	return (Expr *) eval_const_expressions(root, (Node *) distance);
}

/*
 * If the clause is round(distance::numeric, 8) < bound or <= bound, as LangChain4j
 * has it, where what is rounded is far below what a scan looks beyond its bound:
 * the bound, of a constant
 */
static Expr *
find_rounded_bound(PlannerInfo *root, const OmenDistanceMatch *match,
				   Expr *clause)
{
	const OpExpr *op = (const OpExpr *) clause;
	const FuncExpr *rounded;
	const FuncExpr *cast;
	const Const *digits;
	const Const *bound;

	if (!IsA(clause, OpExpr) || (op->opfuncid != F_NUMERIC_LT &&
								 op->opfuncid != F_NUMERIC_LE))
		return NULL;
	rounded = linitial(op->args);
	bound = lsecond(op->args);
	if (!IsA(rounded, FuncExpr) || rounded->funcid != F_ROUND_NUMERIC_INT4 ||
		!IsA(bound, Const) || bound->constisnull)
		return NULL;
	cast = linitial(rounded->args);
	digits = lsecond(rounded->args);
	if (!IsA(cast, FuncExpr) || cast->funcid != F_NUMERIC_FLOAT8 ||
		!is_same_distance(root, match, linitial(cast->args)) ||
		!IsA(digits, Const) || digits->constisnull ||
		DatumGetInt32(digits->constvalue) < 6)
		return NULL;
	return (Expr *) make_float8(DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
																   bound->constvalue)));
}

/*
 * 1 - distance, - distance, distance * -1: "shift" + "factor" * distance, which
 * falls as the distance grows.  The constants are such that nothing overflows
 * that did not before, and that rounding is far below what a scan looks beyond
 * its bound.
 */
static bool
is_similarity(PlannerInfo *root, const OmenDistanceMatch *match, Node *expr,
			  double *shift, double *factor)
{
	OpExpr	   *op = (OpExpr *) expr;
	Node	   *left;
	Node	   *right;

	if (!IsA(expr, OpExpr))
		return false;
	left = linitial(op->args);
	right = llast(op->args);
	*shift = 0;
	*factor = -1;
	switch (op->opfuncid)
	{
		case F_FLOAT8UM:
			break;
		case F_FLOAT8MI:
			*shift = plain_constant(left);
			break;
		case F_FLOAT8MUL:
			if (IsA(right, Const))
			{
				right = left;
				left = llast(op->args);
			}
			*factor = plain_constant(left);
			break;
		default:
			return false;
	}
	return !isnan(*shift) && *factor <= -1 &&
		is_same_distance(root, match, right);
}

/* NaN: none */
static double
plain_constant(Node *expr)
{
	const Const *constant = (const Const *) expr;
	double		value = get_float8_nan();

	if (IsA(expr, Const) && constant->consttype == FLOAT8OID &&
		!constant->constisnull)
		value = DatumGetFloat8(constant->constvalue);
	return fabs(value) <= 1000 ? value : get_float8_nan();
}

static Expr *
as_float8(Node *bound)
{
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

static Expr *
of_float8(Oid function, Expr *left, double right)
{
	return (Expr *) makeFuncExpr(function, FLOAT8OID,
								 list_make2(left, make_float8(right)),
								 InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

static Const *
make_float8(double value)
{
	return makeConst(FLOAT8OID, -1, InvalidOid, sizeof(float8),
					 Float8GetDatum(value), false, FLOAT8PASSBYVAL);
}

/*
 * Which of the clauses are column operator query, or the other way round, with
 * the operator of this strategy; and their queries
 */
List *
omen_match_conditions(PlannerInfo *root, List *clauses, IndexOptInfo *index,
					  int strategy, List **queries)
{
	List	   *found = NIL;
	ListCell   *cell;

	*queries = NIL;
	foreach(cell, clauses)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		Oid			operator;
		int			query_arg = find_query_arg(root, index, info->clause,
											   &operator);

		/* the index must not decide before what security demands first */
		if (query_arg < 0 ||
			get_op_opfamily_strategy(operator,
									 index->opfamily[0]) != strategy ||
			!restriction_is_securely_promotable(info, index->rel))
			continue;
		found = lappend(found, info);
		*queries = lappend(*queries,
						   list_nth(((OpExpr *) info->clause)->args,
									query_arg));
	}
	return found;
}

/* The operands may stand in the other order: distances are symmetric */
static bool
is_same_distance(PlannerInfo *root, const OmenDistanceMatch *match, Node *expr)
{
	OmenDistanceMatch other;

	if (equal(expr, match->distance))
		return true;
	return omen_match_distance(root, match->index, (Expr *) expr, &other) &&
		(other.distance->opno == match->distance->opno ||
		 other.distance->opno == get_commutator(match->distance->opno)) &&
		equal(list_nth(other.distance->args, other.query_arg),
			  list_nth(match->distance->args, match->query_arg));
}

/* Something that has one value for a scan of this table */
static bool
is_query(PlannerInfo *root, const IndexOptInfo *index, Node *expr)
{
	return !bms_is_member(index->rel->relid, pull_varnos(root, expr)) &&
		!contain_volatile_functions(expr);
}
