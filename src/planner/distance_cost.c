/*-------------------------------------------------------------------------
 *
 * distance_cost.c
 *	  What the planner thinks that a distance costs.
 *
 * By default one operator, as if it compared two numbers.  Then a sort of all
 * rows by distance looks far too cheap beside an index, the more so where the
 * vectors are TOASTed: the pages they lie on are not the table's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "planner/planner.h"

/*
 * Measured: a row costs .27 us in a sequential scan if its vector is 512 bytes
 * in the row, 4.5 us if it is 6 kB in four TOASTed chunks.  Scaled to what the
 * planner asks for the former with its page, a chunk costs 35 rows.
 */
#define BYTES_PER_OPERATOR	256.0
#define ROWS_PER_CHUNK		35.0

static List *arguments(Node *node);
static double vector_bytes(Node *argument);
static bool is_toasted(PlannerInfo *root, Node *argument, double bytes);

OMEN_FUNCTION(omen_distance_support);
Datum
omen_distance_support(PG_FUNCTION_ARGS)
{
	SupportRequestCost *request = (SupportRequestCost *) PG_GETARG_POINTER(0);
	double		bytes = 0;
	ListCell   *cell;

	if (!IsA(request, SupportRequestCost) || request->node == NULL)
		PG_RETURN_POINTER(NULL);
	foreach(cell, arguments(request->node))
		bytes = Max(bytes, vector_bytes(lfirst(cell)));
	if (bytes == 0)
		PG_RETURN_POINTER(NULL);

	request->startup = 0;
	request->per_tuple = cpu_operator_cost * (1 + bytes / BYTES_PER_OPERATOR) +
		omen_toasted_chunks(request->root, request->node) *
		ROWS_PER_CHUNK * cpu_tuple_cost;
	PG_RETURN_POINTER(request);
}

double
omen_toasted_chunks(PlannerInfo *root, Node *distance)
{
	double		chunks = 0;
	ListCell   *cell;

	foreach(cell, arguments(distance))
	{
		double		size = vector_bytes(lfirst(cell));

		if (is_toasted(root, lfirst(cell), size))
			chunks += ceil(size / TOAST_MAX_CHUNK_SIZE);
	}
	return chunks;
}

static List *
arguments(Node *node)
{
	if (IsA(node, OpExpr))
		return ((OpExpr *) node)->args;
	if (IsA(node, FuncExpr))
		return ((FuncExpr *) node)->args;
	return NIL;
}

/* By its declaration, 0 if that does not say; of 4 bytes each, but bits */
static double
vector_bytes(Node *argument)
{
	int32		dims = exprTypmod(argument);

	if (dims < 0)
		return 0;
	return exprType(argument) == BITOID ? dims / 8.0 : dims * 4.0;
}

/*
 * A column of such vectors that are kept out of line, where statistics count
 * the pointer only
 */
static bool
is_toasted(PlannerInfo *root, Node *argument, double bytes)
{
	Var		   *var = (Var *) argument;
	RangeTblEntry *rte;

	if (root == NULL || bytes < TOAST_TUPLE_THRESHOLD || !IsA(var, Var) ||
		var->varlevelsup > 0 || var->varno >= root->simple_rel_array_size)
		return false;
	rte = root->simple_rte_array[var->varno];
	return rte != NULL && rte->rtekind == RTE_RELATION &&
		get_attavgwidth(rte->relid, var->varattno) < bytes / 2;
}
