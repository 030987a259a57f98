/*-------------------------------------------------------------------------
 *
 * toast.h
 *	  Long values of a table that an index is built of, and VACUUM.
 *
 * A build indexes rows that died lately: who sees them still may use the index.
 * But their long values may go before the build has come to them.  The TOAST
 * table is vacuumed without a lock of the table and with a later idea of what is
 * dead, and every reader of its pages may prune them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TOAST_H
#define OMEN_TOAST_H

#include "nodes/execnodes.h"
#include "utils/rel.h"

/*
 * Keep VACUUM off the long values, to the end of the transaction.  See
 * make_new_heap(), which does so for CLUSTER.
 */
extern void omen_lock_toast(Relation heap, const IndexInfo *info);

/*
 * Fetch the long values of a row that died lately, in place of what refers to
 * them.  Returns false if one has gone, and so has whoever could see the row.
 */
extern bool omen_toast_fetch_dead(Relation index, Datum *values,
								  const bool *isnull);

#endif							/* OMEN_TOAST_H */
