/*-------------------------------------------------------------------------
 *
 * planner.h
 *	  What omendb adds to planning and execution of whole queries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_PLANNER_H
#define OMEN_PLANNER_H

#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

/* Install the hooks, in front of those that are there */
extern void omen_planner_init(void);
extern void omen_unread_distance_init(void);
extern void omen_replaced_row_init(void);
extern void omen_explain_init(void);
extern void omen_filter_init(void);
extern void omen_fuse_init(void);
extern void omen_first_key_init(void);
extern void omen_key_clauses_init(void);

/* key_clauses.c: the restrictions that are conditions on keys, IndexClauses */
extern List *omen_key_clauses_of(PlannerInfo *root, IndexOptInfo *index);

/*
 * distance_cost.c: chunks of TOAST that this distance reads for each row, as far
 * as types and statistics tell
 */
extern double omen_toasted_chunks(PlannerInfo *root, Node *distance);

/*
 * limit_hint.c: rows that the query wants of this scan; INT_MAX: all, 0: not
 * known
 */
extern int	omen_limit_rows_wanted(const PlanState *scan);

#endif							/* OMEN_PLANNER_H */
