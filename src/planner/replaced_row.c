/*-------------------------------------------------------------------------
 *
 * replaced_row.c
 *	  Tells an insertion into an index which row an UPDATE replaces.
 *
 * An access method is given the new version of a row only.  That the old one
 * is in a node with an equal vector, unless the vector was changed, saves the
 * search for that node.
 *
 *		Update
 *		  -> Index Scan				its row has the old version's ctid
 *
 * When execution starts, each UPDATE is noted down.  That it is the one whose
 * row is being inserted, and not the one around it that ran a trigger, say, is
 * known by the IndexInfo, which belongs to the statement.  All of this is only
 * a hint: the index looks whether the vectors are equal.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "hnsw/hnsw.h"
#include "planner/planner.h"

/* Lives as long as the query's memory, and takes itself off the list */
typedef struct RunningUpdate
{
	dlist_node	node;
	ModifyTableState *update;
	MemoryContextCallback callback;
} RunningUpdate;

static dlist_head running_updates = DLIST_STATIC_INIT(running_updates);
static ExecutorStart_hook_type next_executor_start = NULL;

static void start_executor(QueryDesc *query, int flags);
static void note_update(ModifyTableState *update);
static void forget_update(void *arg);
static bool replaced_row(Relation heap, const IndexInfo *info,
						 ItemPointer replaced);
static bool is_index_of(const ResultRelInfo *table, const IndexInfo *info);
static bool read_row_id(ModifyTableState *update, const ResultRelInfo *table,
						ItemPointer row);

void
omen_replaced_row_init(void)
{
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
	omen_hnsw_replaced_row = replaced_row;
}

static void
start_executor(QueryDesc *query, int flags)
{
	if (next_executor_start)
		next_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);

	if (query->operation == CMD_UPDATE &&
		(flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 &&
		query->planstate != NULL && IsA(query->planstate, ModifyTableState))
		note_update((ModifyTableState *) query->planstate);
}

static void
note_update(ModifyTableState *update)
{
	MemoryContext context = update->ps.state->es_query_cxt;
	RunningUpdate *running = MemoryContextAlloc(context,
												sizeof(RunningUpdate));

	running->update = update;
	running->callback.func = forget_update;
	running->callback.arg = running;
	dlist_push_head(&running_updates, &running->node);
	MemoryContextRegisterResetCallback(context, &running->callback);
}

static void
forget_update(void *arg)
{
	dlist_delete(&((RunningUpdate *) arg)->node);
}

static bool
replaced_row(Relation heap, const IndexInfo *info, ItemPointer replaced)
{
	dlist_iter	iter;

	dlist_foreach(iter, &running_updates)
	{
		ModifyTableState *update =
			dlist_container(RunningUpdate, node, iter.cur)->update;
		const ResultRelInfo *table =
			ExecLookupResultRelByOid(update, RelationGetRelid(heap), true,
									 false);

		if (table != NULL && is_index_of(table, info))
			return read_row_id(update, table, replaced);
	}
	return false;
}

static bool
is_index_of(const ResultRelInfo *table, const IndexInfo *info)
{
	for (int i = 0; i < table->ri_NumIndices; i++)
	{
		if (table->ri_IndexRelationInfo[i] == info)
			return true;
	}
	return false;
}

/*
 * The ctid in the row that the UPDATE has got from the plan below it.  Nodes
 * that hand on rows of others, such as Append, have none of their own: then it
 * is not known.
 */
static bool
read_row_id(ModifyTableState *update, const ResultRelInfo *table,
			ItemPointer row)
{
	AttrNumber	at = table->ri_RowIdAttNo;
	TupleTableSlot *slot = outerPlanState(update)->ps_ResultTupleSlot;
	Datum		value;
	bool		isnull;

	if (slot == NULL || TTS_EMPTY(slot) || !AttributeNumberIsValid(at) ||
		at > slot->tts_tupleDescriptor->natts ||
		TupleDescAttr(slot->tts_tupleDescriptor, at - 1)->atttypid != TIDOID)
		return false;
	value = slot_getattr(slot, at, &isnull);
	if (isnull)
		return false;
	*row = *(ItemPointer) DatumGetPointer(value);
	return ItemPointerIsValid(row);
}
