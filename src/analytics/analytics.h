/*-------------------------------------------------------------------------
 *
 * analytics.h
 *	  What the SQL functions that look at an index have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ANALYTICS_H
#define OMEN_ANALYTICS_H

#include "hnsw/hnsw.h"

/*
 * An index that a user named, and its table, under share locks that last to
 * the end of the transaction unless omen_close_index() gives them back.
 * Raises an ERROR if it is not a valid index of omenhnsw, or omenbm25, or of
 * any of them, that this session can read.
 */
extern Relation omen_open_index(Oid oid, Relation *heap);
extern Relation omen_open_text_index(Oid oid, Relation *heap);
extern Relation omen_open_any_index(Oid oid, Relation *heap);
extern void omen_close_index(Relation index, Relation heap);

/*
 * Do a step in a subtransaction.  An ERROR that says that the index or the file
 * is broken ends the step, and is returned; NULL if there was none.
 */
extern ErrorData *omen_try_step(void (*step) (void *arg), void *arg);

/* Privileges, as pgstattuple wants them for statistics, and SELECT */
extern void omen_check_stat_privilege(Relation index);
extern void omen_check_select_privilege(Relation heap);

/* Names of what a metapage says */
extern const char *omen_metric_name(const OmenCodeShape *shape);
extern const char *omen_quantizer_name(const OmenCodeShape *shape);

#endif							/* OMEN_ANALYTICS_H */
