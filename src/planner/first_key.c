/*-------------------------------------------------------------------------
 *
 * first_key.c
 *	  Lets ordered scans serve an order of which they know the first key only.
 *
 *		Limit								Limit
 *		  -> Sort					=>		  -> Incremental Sort
 *			   embedding <-> $1, id				   Presorted: embedding <-> $1
 *			   -> Seq Scan						   -> Index Scan
 *
 * Before 17 the planner orders by an operator of an index only if the index
 * knows all keys; it measures every row of the table then.  A later server
 * leaves nothing to do here.
 *
 * The server is to make its paths again, as if there were no other keys: so all
 * conditions that go with an ordered scan go with this one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "optimizer/pathnode.h"
#include "optimizer/paths.h"

#include "base/compat.h"
#include "bm25/bm25.h"
#include "hnsw/hnsw_cost.h"
#include "planner/filter.h"
#include "planner/planner.h"

static set_rel_pathlist_hook_type next_set_rel_pathlist = NULL;

static void add_paths(PlannerInfo *root, RelOptInfo *rel, Index rti,
					  RangeTblEntry *rte);
static List *find_indexes(PlannerInfo *root, RelOptInfo *rel);
static List *form_paths(PlannerInfo *root, RelOptInfo *rel, List *indexes);

void
omen_first_key_init(void)
{
	if (omen_compat_knows_first_key())
		return;
	next_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = add_paths;
}

static void
add_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	List	   *indexes = NIL;
	ListCell   *cell;

	if (next_set_rel_pathlist)
		next_set_rel_pathlist(root, rel, rti, rte);

	if (list_length(root->query_pathkeys) > 1 &&
		omen_filter_is_table(rel, rte) && !IS_DUMMY_REL(rel))
		indexes = find_indexes(root, rel);
	if (indexes == NIL)
		return;
	foreach(cell, form_paths(root, rel, indexes))
	{
		IndexPath  *path = lfirst(cell);

		if (IsA(path, IndexPath) && path->indexorderbys != NIL)
			add_path(rel, (Path *) path);
	}
}

/* Those that know the first key, of vectors and of text */
static List *
find_indexes(PlannerInfo *root, RelOptInfo *rel)
{
	List	   *indexes = NIL;
	ListCell   *cell;

	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);
		OmenDistanceMatch match;

		if ((omen_hnsw_is_ours(index) ||
			 index->amcostestimate == omen_bm25_costestimate) &&
			omen_match_order(root, rel, index, &match))
			indexes = lappend(indexes, index);
	}
	return indexes;
}

/* What the server makes of them if that is all of the order */
static List *
form_paths(PlannerInfo *root, RelOptInfo *rel, List *indexes)
{
	List	   *pathkeys = root->query_pathkeys;
	List	   *paths = rel->pathlist;
	List	   *all_indexes = rel->indexlist;
	bool		parallel = rel->consider_parallel;
	List	   *formed;

	root->query_pathkeys = list_make1(linitial(pathkeys));
	rel->pathlist = NIL;
	rel->indexlist = indexes;
	rel->consider_parallel = false;

	create_index_paths(root, rel);

	formed = rel->pathlist;
	rel->consider_parallel = parallel;
	rel->indexlist = all_indexes;
	rel->pathlist = paths;
	root->query_pathkeys = pathkeys;
	return formed;
}
