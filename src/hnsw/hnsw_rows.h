/*-------------------------------------------------------------------------
 *
 * hnsw_rows.h
 *	  Rows of the table, looked up for their exact distance to a query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_ROWS_H
#define OMEN_HNSW_ROWS_H

#include "access/relscan.h"
#include "hnsw/hnsw.h"
#include "utils/snapshot.h"

typedef struct OmenRowReader OmenRowReader;

/* Lives in the current memory context; omen_rows_close() before that goes */
extern OmenRowReader *omen_rows_open(Relation heap, Relation index,
									 Snapshot snapshot, OmenHnswIndex *hnsw,
									 const OmenQuery *query);

/* Exact graph distance of a row; false if the snapshot does not see it */
extern bool omen_rows_distance(OmenRowReader *rows, const ItemPointerData *tid,
							   float *distance);

/* What the index has of it, in the current memory context; the same */
extern bool omen_rows_copy(OmenRowReader *rows, const ItemPointerData *tid,
						   OmenHnswValue *value);
extern void omen_rows_close(OmenRowReader *rows);

/* n rows are likely to be looked up or returned soon */
extern void omen_rows_prefetch(const OmenHnswIndex *hnsw,
							   const ItemPointerData *tids, int n);

/*
 * Rows are read ahead from disk like nodes: how many of the next ones to name,
 * and one of them, which lies in the table.
 */
extern int	omen_rows_ahead(Relation heap, OmenHnswIndex *hnsw);
extern void omen_rows_read_ahead(Relation heap, OmenHnswIndex *hnsw,
								 const ItemPointerData *tid);

/*
 * Pin the block of a row for the next fetch of it, so that the buffer mapping
 * need not be searched.  Only for tables of the heap access method; for others
 * it does nothing.
 */
extern void omen_rows_pin(IndexFetchTableData *fetch, OmenHnswIndex *hnsw,
						  const ItemPointerData *tid);

#endif							/* OMEN_HNSW_ROWS_H */
