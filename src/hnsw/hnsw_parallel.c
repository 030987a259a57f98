/*-------------------------------------------------------------------------
 *
 * hnsw_parallel.c
 *	  Workers of a parallel build (compare access/nbtree/nbtsort.c).
 *
 * Shared memory holds no more than OmenBuildShared, the mean, the codebook of
 * product codes (256 bytes a dimension), and the state of the parallel table
 * scan; rows and graph lie in files (storage/arena.h).  So
 * a small /dev/shm does not matter, and if workers cannot be had, the build
 * goes on with fewer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "hnsw/hnsw_build.h"
#include "quant/quant_pq.h"

#define KEY_SHARED		UINT64CONST(0x4F4D000000000001)
#define KEY_SCAN		UINT64CONST(0x4F4D000000000002)
#define KEY_MEAN		UINT64CONST(0x4F4D000000000003)
#define KEY_CODEBOOK	UINT64CONST(0x4F4D000000000004)

struct OmenHnswWorkers
{
	ParallelContext *context;
	Snapshot	snapshot;
};

PGDLLEXPORT void omen_hnsw_parallel_main(dsm_segment *segment, shm_toc *toc);

static void share_state(OmenHnswBuildState *state, ParallelContext *context,
						Snapshot snapshot);
static Size estimate_state(OmenHnswBuildState *state, ParallelContext *context,
						   Snapshot snapshot);
static void wait_for_start(OmenBuildShared *shared);

/*
 * Start workers and point state->shared to what they share with the leader.
 * Returns NULL if none could be had; then nothing has changed.
 */
OmenHnswWorkers *
omen_hnsw_start_workers(OmenHnswBuildState *state, int nworkers)
{
	OmenHnswWorkers *workers;
	ParallelContext *context;
	OmenBuildShared *private_shared = state->shared;
	Snapshot	snapshot = SnapshotAny;

	EnterParallelMode();
	context = CreateParallelContext("omendb", "omen_hnsw_parallel_main",
									nworkers);

	/* as a serial build would take it */
	if (state->info->ii_Concurrent)
		snapshot = RegisterSnapshot(GetTransactionSnapshot());

	estimate_state(state, context, snapshot);
	InitializeParallelDSM(context);
	if (context->seg != NULL)
	{
		share_state(state, context, snapshot);
		LaunchParallelWorkers(context);
	}

	workers = palloc(sizeof(OmenHnswWorkers));
	workers->context = context;
	workers->snapshot = snapshot;
	if (context->seg == NULL || context->nworkers_launched == 0)
	{
		/* it keeps the table in use, and its snapshot */
		if (state->scan != NULL)
			table_endscan(state->scan);
		state->scan = NULL;
		state->shared = private_shared;
		omen_hnsw_end_workers(workers);
		return NULL;
	}

	WaitForParallelWorkersToAttach(context);
	state->parallel = true;
	BarrierInit(&state->shared->barrier, context->nworkers_launched + 1);
	pg_write_barrier();
	state->shared->nparticipants = context->nworkers_launched + 1;
	ConditionVariableBroadcast(&state->shared->started);
	ereport(DEBUG1,
			(errmsg_internal("using %d parallel workers",
							 context->nworkers_launched)));
	return workers;
}

void
omen_hnsw_end_workers(OmenHnswWorkers *workers)
{
	WaitForParallelWorkersToFinish(workers->context);
	if (IsMVCCSnapshot(workers->snapshot))
		UnregisterSnapshot(workers->snapshot);
	DestroyParallelContext(workers->context);
	ExitParallelMode();
	pfree(workers);
}

/* Entry point of a worker */
void
omen_hnsw_parallel_main(dsm_segment *segment, shm_toc *toc)
{
	OmenBuildShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	ParallelTableScanDesc scan = shm_toc_lookup(toc, KEY_SCAN, false);
	const float *mean = NULL;
	OmenHnswBuildState state = {0};
	LOCKMODE	heap_lock = shared->concurrent ? ShareUpdateExclusiveLock :
		ShareLock;
	LOCKMODE	index_lock = shared->concurrent ? RowExclusiveLock :
		AccessExclusiveLock;

	SharedFileSetAttach(&shared->fileset, segment);
	state.heap = table_open(shared->heap, heap_lock);
	state.index = index_open(shared->index, index_lock);
	state.info = BuildIndexInfo(state.index);
	state.info->ii_Concurrent = shared->concurrent;
	state.opclass = omen_hnsw_opclass(state.index);
	state.shared = shared;
	state.parallel = true;
	state.participant = ParallelWorkerNumber + 1;
	state.context = CurrentMemoryContext;
	state.scan = table_beginscan_parallel(state.heap, scan);
	if (shared->has_mean)
		mean = shm_toc_lookup(toc, KEY_MEAN, false);
	state.quant = omen_quant_init_rotated(palloc(omen_quant_size(&shared->meta.shape)),
										  &shared->meta.shape, mean,
										  shared->meta.max_norm2);
	if (shared->has_codebook)
		omen_pq_set_codebook(state.quant,
							 shm_toc_lookup(toc, KEY_CODEBOOK, false));
	omen_hnsw_build_prepare(&state);

	wait_for_start(shared);
	omen_hnsw_build_participate(&state);
	omen_hnsw_build_cleanup(&state);

	index_close(state.index, index_lock);
	table_close(state.heap, heap_lock);
}

static Size
estimate_state(OmenHnswBuildState *state, ParallelContext *context,
			   Snapshot snapshot)
{
	Size		scan_size = table_parallelscan_estimate(state->heap, snapshot);

	shm_toc_estimate_chunk(&context->estimator, sizeof(OmenBuildShared));
	shm_toc_estimate_chunk(&context->estimator, scan_size);
	shm_toc_estimate_chunk(&context->estimator,
						   state->shared->meta.shape.code_dims * sizeof(float));
	shm_toc_estimate_chunk(&context->estimator,
						   omen_pq_codebook_size(&state->shared->meta.shape));
	shm_toc_estimate_keys(&context->estimator, 4);
	return scan_size;
}

static void
share_state(OmenHnswBuildState *state, ParallelContext *context,
			Snapshot snapshot)
{
	OmenBuildShared *shared = shm_toc_allocate(context->toc,
											   sizeof(OmenBuildShared));
	ParallelTableScanDesc scan =
		shm_toc_allocate(context->toc,
						 table_parallelscan_estimate(state->heap, snapshot));

	*shared = *state->shared;
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->started);
	SharedFileSetInit(&shared->fileset, context->seg);
	shm_toc_insert(context->toc, KEY_SHARED, shared);

	table_parallelscan_initialize(state->heap, scan, snapshot);
	shm_toc_insert(context->toc, KEY_SCAN, scan);
	state->scan = table_beginscan_parallel(state->heap, scan);

	if (shared->has_mean)
	{
		Size		bytes = shared->meta.shape.code_dims * sizeof(float);
		float	   *mean = shm_toc_allocate(context->toc, bytes);

		memcpy(mean, state->quant->mean, bytes);
		shm_toc_insert(context->toc, KEY_MEAN, mean);
	}
	if (shared->has_codebook)
	{
		Size		bytes = omen_pq_codebook_size(&shared->meta.shape);
		int8	   *codebook = shm_toc_allocate(context->toc, bytes);

		memcpy(codebook, state->quant->codebook, bytes);
		shm_toc_insert(context->toc, KEY_CODEBOOK, codebook);
	}
	state->shared = shared;
}

/* The leader tells how many we are once it knows who has come */
static void
wait_for_start(OmenBuildShared *shared)
{
	ConditionVariablePrepareToSleep(&shared->started);
	while (*(volatile int *) &shared->nparticipants == 0)
		ConditionVariableSleep(&shared->started,
							   WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
	ConditionVariableCancelSleep();
	pg_read_barrier();
}
