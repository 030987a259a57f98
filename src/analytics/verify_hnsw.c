/*-------------------------------------------------------------------------
 *
 * verify_hnsw.c
 *	  Checks of omenhnsw indexes that users can call.
 *
 * Each takes the locks of a scan, and so also runs on a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "analytics/analytics.h"
#include "base/compat.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_rows.h"
#include "hnsw/hnsw_tidmap.h"

OMEN_FUNCTION(omen_tid_map_problems);
OMEN_FUNCTION(omen_key_problems);

typedef struct VerifyState
{
	Relation	index;
	OmenHnswIndex *hnsw;
	OmenHnswStore store;
	OmenTidMapCursor *cursor;	/* to look for TIDs in, or */
	OmenRowReader *rows;		/* to compare keys with */
	MemoryContext page_context; /* reset for each page */
	int64		problems;
} VerifyState;

/* What a node's slot says of its TIDs, and their keys */
typedef struct NodeTids
{
	OmenLink	link;
	OmenHnswKeys keys;
	int			ntids;
	ItemPointerData tids[OMEN_SLOT_TIDS];
	OmenLink	more_tids;
} NodeTids;

static void open_index(VerifyState *state, Oid relid, Relation *heap);
static void check_pages(VerifyState *state);
static void check_page_tids(VerifyState *state, Buffer buffer);
static int	copy_nodes(VerifyState *state, Buffer buffer, NodeTids *nodes);
static void check_column(VerifyState *state, uint32 number,
						 const OmenHnswKeys *keys);
static void check_tids(VerifyState *state, const NodeTids *node,
					   const ItemPointerData *tids, int ntids);
static bool has_keys(VerifyState *state, const ItemPointerData *tid,
					 const OmenHnswKeys *keys);
static bool is_mapped(VerifyState *state, const ItemPointerData *tid,
					  OmenLink link);

/*
 * Number of TIDs that the TID map does not lead to the node from that has
 * them (H10).  Rows whose insertion is under way count, and so do those of an
 * insertion that was broken off, until vacuum has removed them.
 */
Datum
omen_tid_map_problems(PG_FUNCTION_ARGS)
{
	VerifyState state = {0};
	Relation	heap;

	open_index(&state, PG_GETARG_OID(0), &heap);
	state.cursor = omen_tidmap_begin(state.index, state.hnsw);
	check_pages(&state);
	omen_close_index(state.index, heap);
	PG_RETURN_INT64(state.problems);
}

/*
 * Number of rows that are in a node of other keys (H5), of those that the
 * query sees, of nodes that have other keys in the key column (H12), and of
 * entries of key lists that are wrong (H13).
 */
Datum
omen_key_problems(PG_FUNCTION_ARGS)
{
	VerifyState state = {0};
	Relation	heap;
	Oid			user;
	int			context;
	int			settings = NewGUCNestLevel();

	open_index(&state, PG_GETARG_OID(0), &heap);

	/* keys may be expressions: they are the owner's, not the caller's */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(heap->rd_rel->relowner,
						   context | SECURITY_RESTRICTED_OPERATION);
	state.rows = omen_rows_open(heap, state.index, GetActiveSnapshot(),
								state.hnsw, NULL);
	check_pages(&state);
	state.problems += omen_keylist_problems(state.index, state.hnsw);
	omen_rows_close(state.rows);
	AtEOXact_GUC(false, settings);
	SetUserIdAndSecContext(user, context);
	omen_close_index(state.index, heap);
	PG_RETURN_INT64(state.problems);
}

static void
open_index(VerifyState *state, Oid relid, Relation *heap)
{
	state->index = omen_open_index(relid, heap);
	if (!omen_compat_owns_relation(RelationGetRelid(state->index),
								   GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX,
					   RelationGetRelationName(state->index));
	state->hnsw = omen_hnsw_open(state->index);
	omen_hnsw_store_init(&state->store, state->index, state->hnsw, NULL);
	state->page_context = AllocSetContextCreate(CurrentMemoryContext,
												"omenhnsw verify page",
												ALLOCSET_DEFAULT_SIZES);
}

static void
check_pages(VerifyState *state)
{
	OmenPageStream pages;
	OmenPageKind kind;
	Buffer		buffer;

	omen_page_stream_begin(&pages, state->index,
						   RelationGetNumberOfBlocks(state->index),
						   GetAccessStrategy(BAS_BULKREAD));
	while ((buffer = omen_page_stream_next(&pages, OMEN_LOCK_SHARE, &kind)) !=
		   InvalidBuffer)
	{
		MemoryContext old = MemoryContextSwitchTo(state->page_context);

		if (kind == OMEN_PAGE_NODE)
			check_page_tids(state, buffer);
		else
			omen_page_release(buffer);
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->page_context);
		CHECK_FOR_INTERRUPTS();
	}
	omen_page_stream_end(&pages);
}

/* Takes a locked NODE page and releases it */
static void
check_page_tids(VerifyState *state, Buffer buffer)
{
	NodeTids   *nodes = palloc(state->hnsw->layout.slots_per_page *
							   sizeof(NodeTids));
	int			nnodes = copy_nodes(state, buffer, nodes);

	for (int i = 0; i < nnodes; i++)
	{
		ItemPointerData *more;
		int			nmore;

		check_tids(state, &nodes[i], nodes[i].tids, nodes[i].ntids);
		if (nodes[i].more_tids == OMEN_LINK_INVALID)
			continue;
		nmore = omen_hnsw_read_tids(&state->store, nodes[i].more_tids, &more);
		check_tids(state, &nodes[i], more, nmore);
	}
}

/* The TIDs of the live nodes of a page, which is released */
static int
copy_nodes(VerifyState *state, Buffer buffer, NodeTids *nodes)
{
	const OmenHnswLayout *layout = &state->hnsw->layout;
	BlockNumber block = BufferGetBlockNumber(buffer);
	int			n = 0;

	for (int i = 0; i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);

		omen_hnsw_check_slot(state->index, state->hnsw, buffer, slot);
		if (slot->flags != OMEN_SLOT_USED)
			continue;
		nodes[n].link = omen_link_form(block * layout->slots_per_page + i,
									   slot->version);
		nodes[n].keys.nulls = slot->key_nulls;
		memcpy(nodes[n].keys.codes, omen_slot_keys(slot),
			   layout->nkeys * sizeof(uint64));
		if (state->rows != NULL)
			check_column(state, block * layout->slots_per_page + i,
						 &nodes[n].keys);
		nodes[n].ntids = slot->ntids;
		memcpy(nodes[n].tids, slot->tids, sizeof(slot->tids));
		nodes[n++].more_tids = slot->more_tids;
	}
	omen_page_release(buffer);
	return n;
}

/* As long as the slot is locked, nobody changes its keys in the column */
static void
check_column(VerifyState *state, uint32 number, const OmenHnswKeys *keys)
{
	if (!omen_column_has(state->index, state->hnsw, number, keys))
		state->problems++;
}

static void
check_tids(VerifyState *state, const NodeTids *node,
		   const ItemPointerData *tids, int ntids)
{
	for (int i = 0; i < ntids; i++)
	{
		if (state->rows != NULL)
		{
			state->problems += !has_keys(state, &tids[i], &node->keys);
			continue;
		}
		if (is_mapped(state, &tids[i], node->link))
			continue;

		/* the row may have come after the leaf was copied */
		omen_tidmap_reset(state->cursor);
		state->problems += !is_mapped(state, &tids[i], node->link);
	}
}

/* Of a row that the query does not see, nothing is known */
static bool
has_keys(VerifyState *state, const ItemPointerData *tid,
		 const OmenHnswKeys *keys)
{
	OmenHnswKeys row;

	return !omen_rows_keys(state->rows, tid, &row) ||
		(row.nulls == keys->nulls &&
		 memcmp(row.codes, keys->codes,
				state->hnsw->layout.nkeys * sizeof(uint64)) == 0);
}

/* TIDs that the map has no room for are right to lack, once it says so */
static bool
is_mapped(VerifyState *state, const ItemPointerData *tid, OmenLink link)
{
	OmenTidMapCell cell;

	if (!omen_tidmap_find_cell(tid, &cell))
		return !state->cursor->complete;
	return omen_tidmap_lookup(state->cursor, tid) == link;
}
