/*-------------------------------------------------------------------------
 *
 * planner.h
 *	  What omendb adds to planning and execution of whole queries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_PLANNER_H
#define OMEN_PLANNER_H

/* Install the hooks, in front of those that are there */
extern void omen_planner_init(void);
extern void omen_unread_distance_init(void);
extern void omen_explain_init(void);
extern void omen_key_clauses_init(void);

#endif							/* OMEN_PLANNER_H */
