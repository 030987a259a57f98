/*-------------------------------------------------------------------------
 *
 * fuse_match.c
 *	  Which orders by rrf(), fuse() and a text indexes can answer.
 *
 *		ORDER BY rrf(a <-> $1, b <=> $2), perhaps followed by other keys
 *		ORDER BY a <@> $1, likewise
 *
 * Where the function has no value for a row alone, no other plan can answer:
 * then the query fails while it is planned, with the reason why.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "bm25/bm25.h"
#include "planner/fuse.h"

/* As disable_cost of the server */
#define USELESS_COST	1.0e10

static bool unify_walker(Node *node, void *call);
static bool has_open_parameters(PlannerInfo *root);
static bool open_parameter_walker(Node *node, void *arg);
static void discourage_paths(RelOptInfo *rel);
static bool find_call(RelOptInfo *rel, const PathKey *key, OmenFuseCall *call);
static const char *find_obstacle(PlannerInfo *root, RelOptInfo *rel,
								 const RangeTblEntry *rte, const PathKey *key,
								 const OmenFuseCall *call, const char **hint);
static bool is_whole_query(PlannerInfo *root, RelOptInfo *rel);
static bool has_siblings(PlannerInfo *root, RelOptInfo *rel);
static bool is_in_where(const RelOptInfo *rel);
static bool are_options_fixed(PlannerInfo *root, RelOptInfo *rel,
							  const OmenFuseCall *call);
static bool match_branch(PlannerInfo *root, RelOptInfo *rel, Expr *branch,
						 OmenDistanceMatch *match);
static bool is_usable(const IndexOptInfo *index);
static bool may_rank(const OmenDistanceMatch *match);
static Oid	named_index(const OmenDistanceMatch *match);
static bool match_text(PlannerInfo *root, RelOptInfo *rel,
					   OmenDistanceMatch *match);
static void match_text_bounds(PlannerInfo *root, RelOptInfo *rel,
							  OmenFuseMatch *match);
static bool prefer(OmenDistanceMatch *match, const OmenDistanceMatch *other);
static bool is_text(const IndexOptInfo *index);

bool
omen_fuse_match_order(PlannerInfo *root, RelOptInfo *rel,
					  const RangeTblEntry *rte, OmenFuseMatch *match)
{
	OmenFuseCall *call = &match->call;
	const char *obstacle;
	const char *hint = NULL;
	const PathKey *key;

	if (root->query_pathkeys == NIL || IS_DUMMY_REL(rel) ||
		rte->rtekind != RTE_RELATION || rte->inh)
		return false;
	key = linitial_node(PathKey, root->query_pathkeys);
	if (!find_call(rel, key, call))
		return false;

	obstacle = find_obstacle(root, rel, rte, key, call, &hint);
	for (int i = 0; obstacle == NULL && i < call->nbranches; i++)
	{
		if (match_branch(root, rel, list_nth(call->args, i),
						 &match->branches[i]))
			continue;
		obstacle = psprintf("No index ranks the rows of table \"%s\" by argument %d.",
							get_rel_name(rte->relid), i + 1);
		hint = "An argument is \"column operator value\" with an operator that an index on the column orders by, as in embedding <=> $1.";
	}
	if (obstacle == NULL)
	{
		if (IsA(call->score, FuncExpr))
			unify_walker((Node *) root->processed_tlist, call->score);
		return true;
	}
	if (call->needs_scan && has_open_parameters(root))
		discourage_paths(rel);
	else if (call->needs_scan)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot order by %s()", omen_fuse_call_name(call)),
				 errdetail_internal("%s", obstacle),
				 hint ? errhint("%s", hint) : 0));
	return false;
}

/*
 * A call has the collation of the arguments that are written: fuse() without a norm
 * none, the one in fuse_score(), which hands a norm on, that of the norm.  Nothing
 * depends on it, but calls that differ in it would not be taken from the scan.
 */
static bool
unify_walker(Node *node, void *call)
{
	FuncExpr   *other = (FuncExpr *) node;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && other->funcid == ((FuncExpr *) call)->funcid)
		other->inputcollid = ((FuncExpr *) call)->inputcollid;
	return expression_tree_walker(node, unify_walker, call);
}

/*
 * Is this a plan for all values of parameters?  With values, the query may be a
 * simpler one: of "FROM docs, plainto_tsquery($1) q" a constant remains.  The
 * server makes such a plan in any case, to compare its cost.
 */
static bool
has_open_parameters(PlannerInfo *root)
{
	return root->glob->boundParams == NULL &&
		open_parameter_walker((Node *) root->parse, NULL);
}

static bool
open_parameter_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXTERN;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, open_parameter_walker, arg,
								 0);
	return expression_tree_walker(node, open_parameter_walker, arg);
}

/* They would fail, so whatever else there is is better */
static void
discourage_paths(RelOptInfo *rel)
{
	ListCell   *cell;

	foreach(cell, rel->pathlist)
	{
		Path	   *path = lfirst(cell);

		path->startup_cost += USELESS_COST;
		path->total_cost += USELESS_COST;
	}
	rel->partial_pathlist = NIL;
}

/* What is ordered by first, if that is a call about this table, and others */
static bool
find_call(RelOptInfo *rel, const PathKey *key, OmenFuseCall *call)
{
	OmenCompatMembers members;
	EquivalenceMember *member;

	omen_compat_members_begin(&members, key->pk_eclass, rel->relids);
	while ((member = omen_compat_members_next(&members)) != NULL)
	{
		if (bms_is_subset(rel->relids, member->em_relids) &&
			omen_fuse_read_call((Node *) member->em_expr, call))
			return true;
	}
	return false;
}

/* Why there can be no fused scan of this table, whatever its indexes */
static const char *
find_obstacle(PlannerInfo *root, RelOptInfo *rel, const RangeTblEntry *rte,
			  const PathKey *key, const OmenFuseCall *call, const char **hint)
{
	if (!omen_guc_fused_scan())
		return "omendb.enable_fused_scan is off.";
	if (!omen_compat_is_ascending(key))
	{
		*hint = "The best rows have the lowest values: leave DESC and NULLS FIRST out.";
		return "The order is not ascending.";
	}
	if (!omen_filter_is_table(rel, rte))
		return "What is read is not a table, or only a sample of one.";
	if (!is_whole_query(root, rel))
	{
		*hint = "Rank the rows of the table in a subquery with a LIMIT of its own, and join that; for IN (SELECT ...), write = ANY (ARRAY(SELECT ...)).";
		return "The query joins the table with others.";
	}
	if (call->is_relative && has_siblings(root, rel))
	{
		*hint = "fuse() with norm \"theoretical\" or \"none\" ranks across partitions; or let WHERE leave one partition only.";
		return "Rows of several partitions or tables would be ranked each among their own.";
	}
	if (is_in_where(rel))
		return "WHERE cannot restrict what is only known once WHERE has been applied.";
	if (!are_options_fixed(root, rel, call))
		return "Weights and other options must be the same for all rows.";
	return NULL;
}

/* Is it the only table that the query reads, or a part of that? */
static bool
is_whole_query(PlannerInfo *root, RelOptInfo *rel)
{
	Relids		relids = rel->reloptkind == RELOPT_OTHER_MEMBER_REL ?
		rel->top_parent_relids : rel->relids;

	return bms_equal(relids, root->all_baserels);
}

/* Are there other parts that the planner has not excluded? */
static bool
has_siblings(PlannerInfo *root, RelOptInfo *rel)
{
	int			nparts = 0;

	if (rel->reloptkind != RELOPT_OTHER_MEMBER_REL)
		return false;
	for (int i = 1; i < root->simple_rel_array_size; i++)
	{
		RelOptInfo *other = root->simple_rel_array[i];

		if (other == NULL || other->reloptkind != RELOPT_OTHER_MEMBER_REL ||
			IS_DUMMY_REL(other) ||
			!bms_equal(other->top_parent_relids, rel->top_parent_relids))
			continue;
		nparts += !planner_rt_fetch(i, root)->inh;
	}
	return nparts > 1;
}

static bool
is_in_where(const RelOptInfo *rel)
{
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		if (omen_fuse_is_called((Node *) lfirst_node(RestrictInfo, cell)->clause))
			return true;
	}
	return false;
}

static bool
are_options_fixed(PlannerInfo *root, RelOptInfo *rel, const OmenFuseCall *call)
{
	List	   *options = list_copy_tail(call->args, call->nbranches);

	return !bms_overlap(pull_varnos(root, (Node *) options), rel->relids) &&
		!contain_volatile_functions((Node *) options);
}

/* By the index that the query names, or else the smallest that can */
static bool
match_branch(PlannerInfo *root, RelOptInfo *rel, Expr *branch,
			 OmenDistanceMatch *match)
{
	ListCell   *cell;

	/* its query is NULL, and the server has seen it */
	match->index = NULL;
	if (IsA(branch, Const) && ((Const *) branch)->constisnull)
		return true;

	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);
		OmenDistanceMatch other;

		if (is_usable(index) &&
			omen_match_distance(root, index, branch, &other) &&
			may_rank(&other) && prefer(match, &other))
			return true;
	}
	return match->index != NULL;
}

/* Keep the other if it is better; true if no third one can be */
static bool
prefer(OmenDistanceMatch *match, const OmenDistanceMatch *other)
{
	bool		named = other->index->indexoid == named_index(other);

	if (named || match->index == NULL ||
		other->index->pages < match->index->pages)
		*match = *other;
	return named;
}

static bool
is_usable(const IndexOptInfo *index)
{
	if (is_text(index))
		return !index->hypothetical &&
			(index->indpred == NIL || index->predOK);
	return omen_filter_is_usable(index);
}

/* Not by an index that counts by other weights than the query is ranked by */
static bool
may_rank(const OmenDistanceMatch *match)
{
	return !is_text(match->index) ||
		omen_bm25_may_rank(match->index,
						   list_nth(match->distance->args, match->query_arg));
}

/* That whose statistics a query for text is bound to, or InvalidOid */
static Oid
named_index(const OmenDistanceMatch *match)
{
	return is_text(match->index) ?
		omen_bm25_bound_index(list_nth(match->distance->args,
									   match->query_arg)) : InvalidOid;
}

/* --- by a text alone --- */

bool
omen_fuse_match_text(PlannerInfo *root, RelOptInfo *rel,
					 const RangeTblEntry *rte, OmenFuseMatch *match)
{
	OmenFuseCall *call = &match->call;
	List	   *queries;

	if (!omen_guc_filtered_scan() || !enable_indexscan ||
		rel->baserestrictinfo == NIL || IS_DUMMY_REL(rel) ||
		!omen_filter_is_table(rel, rte) ||
		!match_text(root, rel, &match->branches[0]))
		return false;

	match->conditions = omen_match_conditions(root, rel->baserestrictinfo,
											  match->branches[0].index,
											  OMEN_BM25_SEARCH, &queries);
	memset(call, 0, sizeof(*call));
	call->is_single = true;
	call->nbranches = 1;
	call->score = (Expr *) match->branches[0].distance;
	call->args = lcons(call->score, queries);
	match_text_bounds(root, rel, match);
	return true;
}

/*
 * WHERE a <@> $1 < bound.  Not below row security or a security barrier: where
 * the scan ends would tell of rows that these hide.
 */
static void
match_text_bounds(PlannerInfo *root, RelOptInfo *rel, OmenFuseMatch *match)
{
	List	   *clauses;
	ListCell   *cell;

	match->bounds = match->strict = NIL;
	if (root->qual_security_level > 0)
		return;
	clauses = omen_match_bounds(root, rel->baserestrictinfo,
								&match->branches[0],
								OMEN_BOUND_EXACT_IN_ORDER, &match->bounds);
	foreach(cell, clauses)
		match->strict = lappend_int(match->strict,
									omen_match_is_strict(&match->branches[0],
														 lfirst(cell)));
}

/* Is the order that of a text, first of all? */
static bool
match_text(PlannerInfo *root, RelOptInfo *rel, OmenDistanceMatch *match)
{
	ListCell   *cell;

	match->index = NULL;
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);
		OmenDistanceMatch other;

		if (is_text(index) && is_usable(index) &&
			omen_match_order(root, rel, index, &other) &&
			may_rank(&other) && prefer(match, &other))
			return true;
	}
	return match->index != NULL;
}

static bool
is_text(const IndexOptInfo *index)
{
	return index->amcostestimate == omen_bm25_costestimate;
}
