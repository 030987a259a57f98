/*-------------------------------------------------------------------------
 *
 * bm25_build.h
 *	  Bulk builds by several processes.
 *
 * Each participant reads a part of the table and writes a segment of its own;
 * the leader publishes all of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BM25_BUILD_H
#define OMEN_BM25_BUILD_H

#include "access/tableam.h"
#include "storage/spin.h"

#include "bm25/bm25.h"

#define OMEN_BM25_MAX_PARTICIPANTS	32

/* What all participants know; in shared memory if there are several */
typedef struct OmenBm25BuildShared
{
	Oid			heap;
	Oid			index;
	bool		concurrent;
	int			nparticipants;	/* at most; the leader is number 0 */
	uint32		first_segment;	/* number of the leader's segment */
	slock_t		mutex;			/* of what follows */
	double		rows;			/* of the table */
	OmenBm25SegmentEntryData entries[OMEN_BM25_MAX_PARTICIPANTS];	/* ndocs 0:
																	 * none */
} OmenBm25BuildShared;

/* Read a part of the table, or all if scan is NULL, and write its segment */
extern void omen_bm25_build_participate(OmenBm25BuildShared *shared,
										Relation heap, Relation index,
										IndexInfo *info, TableScanDesc scan,
										int participant);

typedef struct OmenBm25Workers OmenBm25Workers;

/*
 * Start workers, with a copy of *shared in shared memory to which it then
 * points, and begin the scan that they share.  NULL if none could be had; then
 * nothing has changed.
 */
extern OmenBm25Workers *omen_bm25_start_workers(OmenBm25BuildShared **shared,
												Relation heap, int nworkers,
												TableScanDesc *scan);

/* Wait for them; *shared is copied back to private memory */
extern void omen_bm25_end_workers(OmenBm25Workers *workers,
								  OmenBm25BuildShared **shared);

#endif							/* OMEN_BM25_BUILD_H */
