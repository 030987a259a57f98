/*-------------------------------------------------------------------------
 *
 * bm25_parallel.c
 *	  Workers of a parallel build (compare access/nbtree/nbtsort.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "bm25/bm25_build.h"

#define KEY_SHARED		UINT64CONST(0x4F4D000000000011)
#define KEY_SCAN		UINT64CONST(0x4F4D000000000012)

struct OmenBm25Workers
{
	ParallelContext *context;
	Snapshot	snapshot;
};

extern PGDLLEXPORT void omen_bm25_parallel_main(dsm_segment *segment,
												shm_toc *toc);

static void share(ParallelContext *context, OmenBm25BuildShared **shared,
				  Relation heap, Snapshot snapshot, TableScanDesc *scan);

OmenBm25Workers *
omen_bm25_start_workers(OmenBm25BuildShared **shared, Relation heap,
						int nworkers, TableScanDesc *scan)
{
	OmenBm25Workers *workers = palloc(sizeof(*workers));
	OmenBm25BuildShared *private_shared = *shared;
	ParallelContext *context;
	Snapshot	snapshot = SnapshotAny;

	EnterParallelMode();
	context = CreateParallelContext("omendb", "omen_bm25_parallel_main",
									nworkers);

	/* as a serial build would take it */
	if ((*shared)->concurrent)
		snapshot = RegisterSnapshot(GetTransactionSnapshot());
	shm_toc_estimate_chunk(&context->estimator, sizeof(OmenBm25BuildShared));
	shm_toc_estimate_chunk(&context->estimator,
						   table_parallelscan_estimate(heap, snapshot));
	shm_toc_estimate_keys(&context->estimator, 2);
	InitializeParallelDSM(context);
	if (context->seg != NULL)
	{
		share(context, shared, heap, snapshot, scan);
		LaunchParallelWorkers(context);
	}

	workers->context = context;
	workers->snapshot = snapshot;
	if (context->seg == NULL || context->nworkers_launched == 0)
	{
		/* it keeps the table in use, and its snapshot */
		if (*scan != NULL)
			table_endscan(*scan);
		*scan = NULL;
		omen_bm25_end_workers(workers, shared);
		*shared = private_shared;
		return NULL;
	}
	WaitForParallelWorkersToAttach(context);
	ereport(DEBUG1,
			(errmsg_internal("using %d parallel workers",
							 context->nworkers_launched)));
	return workers;
}

void
omen_bm25_end_workers(OmenBm25Workers *workers, OmenBm25BuildShared **shared)
{
	OmenBm25BuildShared *copy = palloc(sizeof(*copy));

	WaitForParallelWorkersToFinish(workers->context);
	*copy = **shared;
	*shared = copy;
	if (IsMVCCSnapshot(workers->snapshot))
		UnregisterSnapshot(workers->snapshot);
	DestroyParallelContext(workers->context);
	ExitParallelMode();
	pfree(workers);
}

/* Entry point of a worker */
void
omen_bm25_parallel_main(dsm_segment *segment, shm_toc *toc)
{
	OmenBm25BuildShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	ParallelTableScanDesc scan = shm_toc_lookup(toc, KEY_SCAN, false);
	LOCKMODE	heap_lock = shared->concurrent ? ShareUpdateExclusiveLock :
		ShareLock;
	LOCKMODE	index_lock = shared->concurrent ? RowExclusiveLock :
		AccessExclusiveLock;
	Relation	heap = table_open(shared->heap, heap_lock);
	Relation	index = index_open(shared->index, index_lock);
	IndexInfo  *info = BuildIndexInfo(index);

	info->ii_Concurrent = shared->concurrent;
	omen_bm25_build_participate(shared, heap, index, info,
								table_beginscan_parallel(heap, scan),
								ParallelWorkerNumber + 1);
	index_close(index, index_lock);
	table_close(heap, heap_lock);
}

static void
share(ParallelContext *context, OmenBm25BuildShared **shared, Relation heap,
	  Snapshot snapshot, TableScanDesc *scan)
{
	OmenBm25BuildShared *copy = shm_toc_allocate(context->toc, sizeof(*copy));
	ParallelTableScanDesc parallel =
		shm_toc_allocate(context->toc,
						 table_parallelscan_estimate(heap, snapshot));

	*copy = **shared;
	SpinLockInit(&copy->mutex);
	shm_toc_insert(context->toc, KEY_SHARED, copy);
	*shared = copy;

	/* from the first block on, so that each participant's TIDs ascend */
	table_parallelscan_initialize(heap, parallel, snapshot);
	parallel->phs_syncscan = false;
	shm_toc_insert(context->toc, KEY_SCAN, parallel);
	*scan = table_beginscan_parallel(heap, parallel);
}
