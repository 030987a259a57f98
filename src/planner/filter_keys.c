/*-------------------------------------------------------------------------
 *
 * filter_keys.c
 *	  Conditions on the key columns of an Omen Filtered Scan's vector index.
 *
 * What a bitmap of other indexes allows is narrowed down by them, or all nodes
 * if there is no bitmap.  The plan has the conditions as they are in the query;
 * here the columns become those of the index, and the server's own code makes
 * scan keys of them, as for an index scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/nodeIndexscan.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"

#include "hnsw/hnsw_column.h"
#include "planner/filter.h"

struct OmenFilterKeys
{
	ScanKey		keys;
	int			nkeys;
	IndexRuntimeKeyInfo *runtime;
	int			nruntime;
	ExprContext *context;		/* runtime values live in its memory */
};

static Node *refer_to_index(Node *clause, int column);

OmenFilterKeys *
omen_filter_keys_begin(const CustomScan *plan, PlanState *state,
					   Relation index)
{
	OmenFilterKeys *keys;
	List	   *quals = NIL;
	ListCell   *clause;
	ListCell   *column;

	forboth(clause, omen_filter_plan_keys(plan),
			column, omen_filter_plan_key_columns(plan))
		quals = lappend(quals, refer_to_index(lfirst(clause),
											  lfirst_int(column)));
	if (quals == NIL)
		return NULL;
	keys = palloc0(sizeof(OmenFilterKeys));
	ExecIndexBuildScanKeys(state, index, quals, false, &keys->keys,
						   &keys->nkeys, &keys->runtime, &keys->nruntime,
						   NULL, NULL);
	keys->context = CreateExprContext(state->state);
	return keys;
}

bool
omen_filter_keys_narrow(OmenFilterKeys *keys, Relation index,
						OmenAllowSet *set)
{
	OmenHnswIndex *hnsw = omen_hnsw_open(index);
	OmenKeyPredicate *predicate;

	if (keys->nruntime > 0)
	{
		ResetExprContext(keys->context);
		ExecIndexEvalRuntimeKeys(keys->context, keys->runtime, keys->nruntime);
	}
	predicate = omen_hnsw_key_predicate(&hnsw->meta, keys->keys, keys->nkeys);
	if (predicate->nothing)
		return false;
	omen_column_allow(index, hnsw, predicate, set);
	return true;
}

/* The operand that is the column of the table: the first, or the only one */
static Node *
refer_to_index(Node *clause, int column)
{
	Node	   *copy = copyObject(clause);
	Node	  **operand;

	switch (nodeTag(copy))
	{
		case T_OpExpr:
			operand = (Node **) &linitial(((OpExpr *) copy)->args);
			break;
		case T_ScalarArrayOpExpr:
			operand = (Node **) &linitial(((ScalarArrayOpExpr *) copy)->args);
			break;
		case T_NullTest:
			operand = (Node **) &((NullTest *) copy)->arg;
			break;
		default:
			elog(ERROR, "unrecognized condition on a key: %d",
				 (int) nodeTag(copy));
	}
	*operand = (Node *) makeVar(INDEX_VAR, column + 1, exprType(*operand),
								exprTypmod(*operand), exprCollation(*operand),
								0);
	return copy;
}
