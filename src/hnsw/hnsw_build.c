/*-------------------------------------------------------------------------
 *
 * hnsw_build.c
 *	  Bulk build of an index: the steps that every participant runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "hnsw/hnsw_build.h"
#include "storage/toast.h"
#include "storage/workers.h"

/* Phases of pg_stat_progress_create_index; 1 is the server's own */
#define PHASE_LOAD		2
#define PHASE_FOLD		3
#define PHASE_GRAPH		4
#define PHASE_WRITE		5
#define PHASE_DEVICE	6		/* within PHASE_GRAPH */

/* Builds of fewer rows are short: not worth an estimate */
#define ESTIMATED_ROWS		20000

/* Say beforehand what a build takes that lasts so many seconds */
#define LONG_BUILD			30.0

/* Entry nodes: their codes should stay in the processor's caches */
#define ENTRY_MEMORY		(192 * 1024)
#define MAX_ENTRIES			1024
#define MIN_ENTRIES			64
#define ENTRIES_WITHOUT_CODES	32

/* How many nodes ahead their rows are asked for, and twice that where they are */
#define NODES_AHEAD		8

static void init_shared(OmenHnswBuildState *state);
static void check_column(const OmenOpclassInfo *opclass, Oid type, int typmod);
static Size memory_share(const OmenHnswBuildState *state);
static uint64 file_bytes(OmenHnswBuildState *state);
static OmenBuildParams graph_params(OmenHnswBuildState *state, uint32 nnodes);
static Size row_bytes(const OmenHnswMetaPageData *meta, Size own_bytes);
static const OmenBuildRowData *copy_row(OmenHnswBuildState *state,
										OmenArena *rows, uint64 offset);
static void load_rows(OmenHnswBuildState *state);
static void load_row(Relation index, ItemPointer tid, Datum *values,
					 bool *isnull, bool alive, void *arg);
static void add_keys(OmenHnswBuildState *state, const Datum *values,
					 const bool *isnull, OmenHnswKeys *keys,
					 OmenBuildRowData *row);
static void append_fine(OmenHnswBuildState *state, const void *payload);
static void map_rows(OmenHnswBuildState *state);
static void check_sizes(uint64 arena_size, uint64 mail_size);
static void construct(OmenHnswBuildState *state);
static const uint8 *pair_code(void *arg, uint32 node, Size *size);
static bool team_barrier(void *arg);
static void team_progress(void *arg, uint64 done, uint64 total);
static bool team_want_rows(void *arg, OmenBuild *build);
static uint32 team_find_clusters(void *arg, OmenBuild *build, uint32 *clusters,
								 uint32 most);
static bool team_find_links(void *arg, OmenBuild *build);
static void team_judge_links(void *arg, const OmenLinkCheck *check);
static bool team_probe_links(void *arg, OmenBuild *build, uint32 node,
							 uint32 *nmissed, uint32 *nwanted);
static void announce(OmenHnswBuildState *state);
static void start_progress(OmenHnswBuildState *state,
						   const OmenBuildEstimate *estimate);
static void set_phase(OmenHnswBuildState *state, int phase);

IndexBuildResult *
omen_hnsw_build(Relation heap, Relation index, IndexInfo *info)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OmenHnswBuildState state = {0};
	OmenHnswMetaPageData *meta;
	OmenHnswWorkers *workers = NULL;
	IndexBuildResult *result;
	float	   *mean;
	int			nworkers;

	/* TRUNCATE in the transaction that made the table keeps its files */
	omen_hnsw_forget(index);

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data",
			 RelationGetRelationName(index));

	omen_hnsw_start_times(&state);
	omen_lock_toast(heap, info);
	state.heap = heap;
	state.index = index;
	state.info = info;
	state.context = context;
	state.opclass = omen_hnsw_opclass(index);
	state.shared = palloc0(sizeof(OmenBuildShared));
	init_shared(&state);
	meta = &state.shared->meta;
	mean = omen_hnsw_sample(&state, meta);
	state.shared->has_mean = mean != NULL;
	state.quant = omen_quant_init(palloc(omen_quant_size(&meta->shape)),
								  &meta->shape, mean, meta->max_norm2);
	omen_hnsw_build_prepare(&state);
	state.shared->has_codebook = omen_hnsw_train(&state);

	nworkers = omen_build_workers(heap, index);
	nworkers = Min(nworkers, OMEN_BUILD_MAX_PARTICIPANTS - 1);
	omen_hnsw_gpu_start(&state, nworkers + 1);
	if (nworkers > 0)
		workers = omen_hnsw_start_workers(&state, nworkers);
	if (workers == NULL)
		state.shared->nparticipants = 1;

	announce(&state);
	omen_hnsw_end_stage(&state, OMEN_STAGE_PREPARE);
	omen_hnsw_build_participate(&state);
	omen_hnsw_write_meta(&state);
	omen_hnsw_build_cleanup(&state);

	result = MemoryContextAlloc(old, sizeof(IndexBuildResult));
	result->heap_tuples = state.shared->heap_tuples;
	result->index_tuples = state.shared->index_tuples;
	if (state.shared->broken_hot_chain)
		info->ii_BrokenHotChain = true;
	if (workers)
		omen_hnsw_end_workers(workers);
	omen_hnsw_end_stage(&state, OMEN_STAGE_END);
	omen_hnsw_report_times(&state, result->index_tuples);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

/* The init fork of an unlogged index: an index of no rows */
void
omen_hnsw_buildempty(Relation index)
{
	OmenHnswMetaPageData meta;
	OmenQuantizer *quant;
	OmenBulkWriter *writer;
	Page		page;

	omen_hnsw_init_meta(index, omen_hnsw_opclass(index), &meta);
	quant = omen_quant_init(palloc(omen_quant_size(&meta.shape)), &meta.shape,
							NULL, 0);
	meta.codebook_hash = omen_hnsw_hash_codebook(quant);
	pfree(quant);
	omen_hnsw_choose_layout(&meta, 0);
	meta.entry_capacity = omen_hnsw_entry_capacity(&meta);

	omen_bulk_extend(index, INIT_FORKNUM, 1);
	writer = omen_bulk_begin(index, INIT_FORKNUM);
	page = omen_bulk_page(writer, OMEN_HNSW_META_BLOCK);
	omen_page_init(page, OMEN_PAGE_META, 0);
	memcpy(omen_page_content(page), &meta, sizeof(meta));
	omen_bulk_finish(writer);
	omen_bulk_sync(index, INIT_FORKNUM);
}

char *
omen_hnsw_buildphasename(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case PHASE_LOAD:
			return "loading tuples";
		case PHASE_FOLD:
			return "finding equal vectors";
		case PHASE_GRAPH:
			return "constructing graph";
		case PHASE_DEVICE:
			return "constructing graph on a GPU";
		case PHASE_WRITE:
			return "writing pages";
		default:
			return NULL;
	}
}

/* Everything after the sample; returns in each participant when all is done */
void
omen_hnsw_build_participate(OmenHnswBuildState *state)
{
	load_rows(state);
	omen_hnsw_build_barrier(state);
	omen_hnsw_end_stage(state, OMEN_STAGE_READ);

	map_rows(state);
	omen_arena_start_budget(&state->budget, memory_share(state) / 4);
	set_phase(state, PHASE_FOLD);
	omen_hnsw_fold(state);
	omen_hnsw_end_stage(state, OMEN_STAGE_FOLD);

	if (state->shared->nnodes > 0)
	{
		set_phase(state, PHASE_GRAPH);
		construct(state);
	}
	omen_hnsw_end_stage(state, OMEN_STAGE_GRAPH);
	if (state->participant == 0)
		omen_hnsw_plan_pages(state);
	omen_hnsw_build_barrier(state);
	omen_hnsw_end_stage(state, OMEN_STAGE_PLAN);

	set_phase(state, PHASE_WRITE);
	if (state->participant == 0)
		omen_hnsw_fill_tid_map(state);
	omen_hnsw_write_nodes(state);
	if (state->participant == 0)
		omen_hnsw_write_rest(state);
	omen_hnsw_build_barrier(state);
	omen_hnsw_end_stage(state, OMEN_STAGE_WRITE);
}

/* Give the temporary files back */
void
omen_hnsw_build_cleanup(OmenHnswBuildState *state)
{
	for (int i = 0; i < state->shared->nparticipants; i++)
	{
		omen_arena_close(state->all_rows[i]);
		if (state->all_offsets[i])
			omen_arena_close(state->all_offsets[i]);
	}
	omen_arena_close(state->fold);
	if (state->files.graph)
		omen_arena_close(state->files.graph);
	omen_tidmap_build_cleanup(state);
}

/* Wait for all participants; true in exactly one of them */
bool
omen_hnsw_build_barrier(OmenHnswBuildState *state)
{
	if (!state->parallel)
		return true;
	return BarrierArriveAndWait(&state->shared->barrier,
								WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
}

/* Work areas, when state->quant and the metapage are known */
void
omen_hnsw_build_prepare(OmenHnswBuildState *state)
{
	const OmenCodeShape *shape = &state->shared->meta.shape;

	omen_hnsw_layout(&state->shared->meta, &state->layout);
	state->row_context = AllocSetContextCreate(state->context,
											   "omenhnsw build row",
											   ALLOCSET_DEFAULT_SIZES);
	state->own_room = Max(shape->own_size, 1024);
	state->own = palloc(state->own_room);
	state->pair = palloc(Max(shape->pair_size, 16));
	state->neighbours = palloc(OMEN_LINKS_AT_A_TIME *
							   Max(shape->pair_size, 16));
	state->scratch = palloc(Max(OMEN_QUANT_SCRATCH(shape) + shape->dims,
								OMEN_LINKS_SCRATCH(shape)) * sizeof(float));
}

/*
 * To be called from all loops over rows or nodes.  Pointers into mapped files
 * stay good.
 */
void
omen_hnsw_build_tick(OmenHnswBuildState *state)
{
	CHECK_FOR_INTERRUPTS();
	if (!state->frugal || !omen_arena_over_budget(&state->budget))
		return;

	if (state->fold)
		omen_arena_unload(state->fold);
	if (state->files.graph)
		omen_arena_unload(state->files.graph);
	for (int i = 0; i < state->shared->nparticipants; i++)
	{
		if (state->all_offsets[i])
			omen_arena_unload(state->all_offsets[i]);
	}
	for (int i = 0; i < OMEN_TIDMAP_CHUNKS; i++)
	{
		if (state->tidmap.chunks[i])
			omen_arena_unload(state->tidmap.chunks[i]);
	}
	omen_arena_start_budget(&state->budget, memory_share(state) / 4);
}

/*
 * Memory for one participant.  If it is short, a quarter of it is for mapped
 * files and the rest for copies of codes.
 */
static Size
memory_share(const OmenHnswBuildState *state)
{
	return (Size) maintenance_work_mem * 1024 / state->shared->nparticipants;
}

/*
 * A row by its number, counted through all participants' files.  Good until
 * the next but one is asked for.
 */
const OmenBuildRowData *
omen_hnsw_build_row(OmenHnswBuildState *state, uint32 row)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	int			part = 0;
	uint64		local;
	uint64		offset;

	while (row >= state->first_row[part + 1])
		part++;
	local = row - state->first_row[part];
	if (state->offset_base[part])
		offset = state->offset_base[part][local];
	else
		offset = local * row_bytes(meta, meta->shape.own_size);
	if (state->row_base[part] != NULL)
		return (OmenBuildRowData *) (state->row_base[part] + offset);
	return copy_row(state, state->all_rows[part], offset);
}

/*
 * In a loop over positions: ask for what will be read of nodes a little further
 * on, which lie wherever their rows were read.
 */
void
omen_hnsw_prefetch_nodes(const OmenHnswBuildState *state, uint32 position)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	uint32		n = state->shared->nnodes;
	uint32		row;
	int			part = 0;

	if (position + 2 * NODES_AHEAD < n)
		__builtin_prefetch(&state->unique[omen_build_row(state->build,
														 position + 2 * NODES_AHEAD)]);
	if (position + NODES_AHEAD >= n)
		return;
	row = omen_hnsw_build_node(state, position + NODES_AHEAD);
	__builtin_prefetch(&state->next_equal[row]);
	while (row >= state->first_row[part + 1])
		part++;
	if (state->row_base[part] != NULL && state->offset_base[part] == NULL)
		__builtin_prefetch(state->row_base[part] +
						   (row - state->first_row[part]) *
						   row_bytes(meta, meta->shape.own_size));
}

/* A row's head, keys and codes */
static Size
row_bytes(const OmenHnswMetaPageData *meta, Size own_bytes)
{
	return OMEN_BUILD_ROW_HEADER + meta->nkeys * sizeof(uint64) +
		MAXALIGN(own_bytes) + MAXALIGN(omen_quant_fine_size(&meta->shape));
}

static const OmenBuildRowData *
copy_row(OmenHnswBuildState *state, OmenArena *rows, uint64 offset)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	Size		size = meta->shape.own_size;
	int			at = 1 - state->last_copy;
	OmenBuildRowData head;

	if (size == 0)
	{
		omen_arena_read_at(rows, offset, &head, sizeof(head));
		size = head.own_bytes;
	}
	size = row_bytes(meta, size);
	if (state->copy_room[at] < size)
	{
		if (state->copies[at])
			pfree(state->copies[at]);
		state->copies[at] = MemoryContextAlloc(state->context, size);
		state->copy_room[at] = size;
	}
	omen_arena_read_at(rows, offset, state->copies[at], size);
	state->last_copy = at;
	return state->copies[at];
}

static void
init_shared(OmenHnswBuildState *state)
{
	OmenBuildShared *shared = state->shared;

	shared->heap = RelationGetRelid(state->heap);
	shared->index = RelationGetRelid(state->index);
	shared->concurrent = state->info->ii_Concurrent;
	SpinLockInit(&shared->mutex);
	pg_atomic_init_u32(&shared->next_chunk, 0);
	omen_hnsw_init_meta(state->index, state->opclass, &shared->meta);
}

/* All of the metapage that follows from the definition of the index */
void
omen_hnsw_init_meta(Relation index, const OmenOpclassInfo *opclass,
					OmenHnswMetaPageData *meta)
{
	OmenHnswOptions options = omen_hnsw_get_options(index);
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(index), 0);

	check_column(opclass, column->atttypid, column->atttypmod);
	if (options.ef_construction < 2 * options.m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));

	memset(meta, 0, sizeof(OmenHnswMetaPageData));
	meta->magic = OMEN_HNSW_MAGIC;
	meta->version = OMEN_HNSW_VERSION;
	meta->m = options.m;
	meta->ef_construction = options.ef_construction;
	meta->quantizer = options.quantizer;
	omen_hnsw_resolve_keys(index, meta);
	meta->mean_start = InvalidBlockNumber;
	meta->codebook_start = InvalidBlockNumber;
	meta->list_start = InvalidBlockNumber;
	meta->list_heads = InvalidBlockNumber;
	meta->range_start = InvalidBlockNumber;
	meta->code_start = InvalidBlockNumber;
	for (int i = 0; i < OMEN_HNSW_ENTRY_PAGES; i++)
		meta->entry_blocks[i] = InvalidBlockNumber;
	if (!omen_quant_choose_shape(opclass->element, opclass->metric,
								 column->atttypmod,
								 (OmenQuantizerKind) options.quantizer,
								 &meta->shape))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this quantizer does not support the operator class of index \"%s\"",
						RelationGetRelationName(index)),
				 errdetail("Quantizers need dense vectors and L2 distance, inner product, or cosine distance."),
				 errhint("Leave out the option, or use quantizer = none.")));
}

static void
check_column(const OmenOpclassInfo *opclass, Oid type, int typmod)
{
	if (type == VARBITOID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type not supported for hnsw index"),
				 errhint("Cast the column to bit(n) in an expression index.")));
	if (typmod < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare it as %s(n), or cast it in an expression index.",
						 opclass->type_name)));
	if (typmod > opclass->max_dims)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for hnsw index",
						opclass->max_dims)));
}

/* Entries that fit the memory set aside for their codes */
uint32
omen_hnsw_entry_capacity(const OmenHnswMetaPageData *meta)
{
	uint32		per_page = OMEN_PAGE_CONTENT / meta->entry_size;
	uint32		capacity = ENTRIES_WITHOUT_CODES;

	if (meta->entry_size > sizeof(OmenHnswEntryData))
	{
		capacity = ENTRY_MEMORY / meta->shape.pair_size;
		capacity = Max(Min(capacity, MAX_ENTRIES), MIN_ENTRIES);
	}
	return Min(capacity, per_page * OMEN_HNSW_ENTRY_PAGES);
}

/* Step "load": this participant's share of the table */
static void
load_rows(OmenHnswBuildState *state)
{
	FileSet    *fileset = state->parallel ? &state->shared->fileset.fs : NULL;
	OmenBuildShared *shared = state->shared;
	double		reltuples;

	state->rows = omen_arena_create(fileset, psprintf("rows.%d",
													  state->participant));
	if (shared->meta.shape.own_size == 0)
		state->offsets = omen_arena_create(fileset,
										   psprintf("offsets.%d",
													state->participant));

	set_phase(state, PHASE_LOAD);
	reltuples = table_index_build_scan(state->heap, state->index, state->info,
									   true, state->participant == 0, load_row,
									   state, state->scan);
	omen_arena_flush(state->rows);
	if (state->offsets)
		omen_arena_flush(state->offsets);

	SpinLockAcquire(&shared->mutex);
	shared->heap_tuples += reltuples;
	shared->index_tuples += state->nrows;
	shared->broken_hot_chain |= state->info->ii_BrokenHotChain;
	SpinLockRelease(&shared->mutex);
	shared->nrows[state->participant] = state->nrows;
}

static void
load_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		 bool alive, void *arg)
{
	OmenHnswBuildState *state = arg;
	OmenBuildShared *shared = state->shared;
	const OmenCodeShape *shape = &shared->meta.shape;
	MemoryContext old;
	OmenHnswValue value;
	OmenHnswKeys keys;
	OmenBuildRowData row = {0};
	char		padding[MAXIMUM_ALIGNOF] = {0};

	if (isnull[0])
		return;

	old = MemoryContextSwitchTo(state->row_context);
	if ((alive || omen_toast_fetch_dead(index, values, isnull)) &&
		omen_hnsw_form_value(state->opclass, shape->dims, values[0], &value))
	{
		if (value.size > state->own_room)
		{
			state->own_room = value.size;
			state->own = repalloc(state->own, state->own_room);
		}
		row.tid = *tid;
		row.own_bytes = omen_quant_encode_own(state->quant, value.payload,
											  state->own, state->scratch);
		row.hash = hash_bytes(state->own, row.own_bytes);
		if (shared->meta.nkeys > 0)
			add_keys(state, values, isnull, &keys, &row);
		if (state->offsets)
		{
			uint64		offset = omen_arena_size(state->rows);

			omen_arena_append(state->offsets, &offset, sizeof(offset));
		}
		omen_arena_append(state->rows, &row, OMEN_BUILD_ROW_HEADER);
		omen_arena_append(state->rows, keys.codes,
						  shared->meta.nkeys * sizeof(uint64));
		omen_arena_append(state->rows, state->own, row.own_bytes);
		omen_arena_append(state->rows, padding,
						  MAXALIGN(row.own_bytes) - row.own_bytes);
		if (omen_quant_fine_size(shape) > 0)
			append_fine(state, value.payload);
		state->nrows++;
		if (state->nrows % 1024 == 0)
		{
			omen_hnsw_build_progress(state, OMEN_BUILD_LOAD,
									 (double) state->nrows *
									 shared->nparticipants,
									 state->expected_rows);
			omen_hnsw_gpu_look(state);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row_context);
}

/* The keys of a row, which tell it apart like its code */
static void
add_keys(OmenHnswBuildState *state, const Datum *values, const bool *isnull,
		 OmenHnswKeys *keys, OmenBuildRowData *row)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;

	omen_hnsw_form_keys(meta, values, isnull, keys);
	row->key_nulls = keys->nulls;
	row->hash = hash_combine(row->hash,
							 hash_bytes((unsigned char *) keys->codes,
										meta->nkeys * sizeof(uint64)));
}

/* The pair code behind the own code, where that is too coarse to build from */
static void
append_fine(OmenHnswBuildState *state, const void *payload)
{
	Size		size = omen_quant_fine_size(&state->quant->shape);
	char		padding[MAXIMUM_ALIGNOF] = {0};

	omen_quant_encode_fine(state->quant, payload, state->pair,
						   state->scratch);
	omen_arena_append(state->rows, state->pair, size);
	omen_arena_append(state->rows, padding, MAXALIGN(size) - size);
}

/* Make all participants' rows visible here */
static void
map_rows(OmenHnswBuildState *state)
{
	FileSet    *fileset = &state->shared->fileset.fs;
	int			n = state->shared->nparticipants;

	for (int i = 0; i < n; i++)
	{
		bool		mine = i == state->participant;

		state->all_rows[i] = mine ? state->rows :
			omen_arena_open(fileset, psprintf("rows.%d", i));
		if (state->offsets)
		{
			state->all_offsets[i] = mine ? state->offsets :
				omen_arena_open(fileset, psprintf("offsets.%d", i));
			state->offset_base[i] = omen_arena_map(state->all_offsets[i]);
		}
		state->first_row[i + 1] = state->first_row[i] +
			state->shared->nrows[i];
	}
	if (state->first_row[n] >= (UINT64CONST(1) << OMEN_LINK_NUMBER_BITS))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" cannot have more than %u rows",
						RelationGetRelationName(state->index),
						1 << OMEN_LINK_NUMBER_BITS),
				 errhint("Partition the table.")));

	state->frugal = file_bytes(state) > (Size) maintenance_work_mem * 1024;
	for (int i = 0; i < n && !state->frugal; i++)
		state->row_base[i] = omen_arena_map(state->all_rows[i]);
}

/* What would be mapped if everything were, or nearly so */
static uint64
file_bytes(OmenHnswBuildState *state)
{
	int			n = state->shared->nparticipants;
	OmenBuildParams params = graph_params(state, state->first_row[n]);
	uint64		size = 0;

	for (int i = 0; i < n; i++)
	{
		size += omen_arena_size(state->all_rows[i]);
		if (state->shared->meta.shape.pair_size == 0)
			params.code_bytes += omen_arena_size(state->all_rows[i]);
	}
	return size + omen_build_arena_size(state->quant, &params);
}

static OmenBuildParams
graph_params(OmenHnswBuildState *state, uint32 nnodes)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	OmenBuildParams params = {
		.n = nnodes,
		.max_links = meta->max_links,
		.ef_construction = meta->ef_construction,
		.seed = meta->shape.seed,
	};

	return params;
}

/* What is mapped, and places in a file, are counted in Size */
static void
check_sizes(uint64 arena_size, uint64 mail_size)
{
	if (Max(arena_size, mail_size) > MaxAllocHugeSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index is too large to be built where pointers have %d bits",
						SIZEOF_VOID_P * 8)));
}

/* Step "graph" */
static void
construct(OmenHnswBuildState *state)
{
	OmenBuildShared *shared = state->shared;
	FileSet    *fileset = state->parallel ? &shared->fileset.fs : NULL;
	OmenBuildInput input = {state, pair_code};
	OmenBuildParams params = graph_params(state, shared->nnodes);

	if (state->participant == 0)
	{
		uint64		size;

		if (shared->meta.shape.pair_size == 0)
		{
			for (uint32 i = 0; i < shared->nnodes; i++)
			{
				omen_hnsw_build_tick(state);
				params.code_bytes +=
					MAXALIGN(omen_hnsw_build_row(state, state->unique[i])->own_bytes);
			}
		}
		size = omen_build_arena_size(state->quant, &params);
		check_sizes(size, omen_build_mail_size(state->quant, &params));
		state->files.mail = omen_arena_create(fileset, "mail");
		state->files.graph = omen_arena_create(fileset, "graph");
		omen_arena_reserve(state->files.graph, size);
		omen_build_arena_init(omen_arena_map(state->files.graph), state->quant,
							  &params);
	}
	omen_hnsw_build_barrier(state);
	if (state->participant > 0)
	{
		state->files.mail = omen_arena_open(fileset, "mail");
		state->files.graph = omen_arena_open(fileset, "graph");
	}

	state->team = (OmenBuildTeam) {
		.arg = state,
		.barrier = team_barrier,
		.progress = team_progress,
		.code_cache = state->frugal ? memory_share(state) / 4 * 3 : 0,
		.want_rows = state->gpu ? team_want_rows : NULL,
		.find_clusters = state->gpu ? team_find_clusters : NULL,
		.find_links = state->gpu ? team_find_links : NULL,
		.judge_links = state->gpu ? team_judge_links : NULL,
		.probe_links = team_probe_links,
	};
	omen_graph_files_serve(&state->team);
	state->build = omen_build_graph(omen_arena_map(state->files.graph),
									state->quant, &input, &state->team);
	omen_arena_close(state->files.mail);
}

static const uint8 *
pair_code(void *arg, uint32 node, Size *size)
{
	OmenHnswBuildState *state = arg;
	const OmenCodeShape *shape = &state->shared->meta.shape;
	const OmenBuildRowData *row =
		omen_hnsw_build_row(state, state->unique[node]);
	const uint8 *own = omen_build_row_own(row, state->layout.nkeys);

	*size = shape->pair_size;
	if (omen_quant_fine_size(shape) > 0)
		return own + MAXALIGN(row->own_bytes);
	if (shape->own_kind == OMEN_OWN_I16)
	{
		omen_quant_own_to_pair(state->quant, own, state->pair);
		return state->pair;
	}
	*size = row->own_bytes;
	return own;
}

static bool
team_barrier(void *arg)
{
	return omen_hnsw_build_barrier(arg);
}

static void
team_progress(void *arg, uint64 done, uint64 total)
{
	OmenHnswBuildState *state = arg;

	omen_hnsw_build_tick(state);
	omen_hnsw_build_progress(state, OMEN_BUILD_CONSTRUCT, done, total);
}

/* The phase is the device's while it is asked */
static bool
team_want_rows(void *arg, OmenBuild *build)
{
	OmenHnswBuildState *state = arg;
	bool		wanted;

	set_phase(state, PHASE_DEVICE);
	wanted = omen_hnsw_gpu_want_rows(state, build);
	set_phase(state, PHASE_GRAPH);
	return wanted;
}

static uint32
team_find_clusters(void *arg, OmenBuild *build, uint32 *clusters, uint32 most)
{
	OmenHnswBuildState *state = arg;
	uint32		nclusters;

	set_phase(state, PHASE_DEVICE);
	nclusters = omen_hnsw_gpu_find_clusters(state, build, clusters, most);
	set_phase(state, PHASE_GRAPH);
	return nclusters;
}

static bool
team_find_links(void *arg, OmenBuild *build)
{
	OmenHnswBuildState *state = arg;
	bool		found;

	set_phase(state, PHASE_DEVICE);
	found = omen_hnsw_gpu_find_links(state, build);
	set_phase(state, PHASE_GRAPH);
	return found;
}

static void
team_judge_links(void *arg, const OmenLinkCheck *check)
{
	omen_hnsw_gpu_judge_links(arg, check);
}

static bool
team_probe_links(void *arg, OmenBuild *build, uint32 node, uint32 *nmissed,
				 uint32 *nwanted)
{
	return omen_hnsw_gpu_probe_links(arg, build, node, nmissed, nwanted);
}

/*
 * The leader, before the first row: tell what a long build will take, and
 * divide the work that progress is reported of.
 */
static void
announce(OmenHnswBuildState *state)
{
	OmenBuildEstimate estimate = {
		.seconds = {0.05, 0.01, 0.84, 0.10},	/* as of most */
		.total_seconds = 1.0,
	};

	if (state->expected_rows >= ESTIMATED_ROWS)
		omen_hnsw_estimate_build(&state->shared->meta, state->typical_own,
								 state->expected_rows,
								 RelationGetNumberOfBlocks(state->heap),
								 state->shared->nparticipants,
								 OMEN_ESTIMATE_PASSES, &estimate);
	start_progress(state, &estimate);
	if (estimate.total_seconds >= LONG_BUILD)
		ereport(NOTICE,
				(errmsg(state->gpu == NULL ?
						"building index \"%s\" of %.0f rows: about %s, %s of memory, %s of temporary files" :
						"building index \"%s\" of %.0f rows: about %s without a GPU, %s of memory, %s of temporary files",
						RelationGetRelationName(state->index),
						state->expected_rows,
						omen_hnsw_form_duration(estimate.total_seconds),
						omen_hnsw_form_size(estimate.private_bytes +
											estimate.mapped_bytes),
						omen_hnsw_form_size(estimate.file_bytes)),
				 errhint("pg_stat_progress_create_index shows how far it is; a higher max_parallel_maintenance_workers makes it faster.")));
}

/*
 * tuples_done of tuples_total is the progress of the whole build, in rows'
 * worth of work; how much of it each step is, the estimate says.
 */
static void
start_progress(OmenHnswBuildState *state, const OmenBuildEstimate *estimate)
{
	const int	params[] = {
		PROGRESS_CREATEIDX_TUPLES_TOTAL,
		PROGRESS_CREATEIDX_TUPLES_DONE
	};
	int64		values[] = {0, 0};

	for (int i = 0; i < OMEN_BUILD_STEPS; i++)
		state->share[i + 1] = state->share[i] +
			estimate->seconds[i] / estimate->total_seconds;
	state->expected_rows = Max(rint(state->expected_rows), 1.0);
	values[0] = (int64) state->expected_rows;
	pgstat_progress_update_multi_param(2, params, values);
}

/* How much of a step is done.  What was reported is never taken back. */
void
omen_hnsw_build_progress(OmenHnswBuildState *state, OmenBuildStep step,
						 double done, double total)
{
	double		part = done < total ? done / total : 1.0;
	double		share = state->share[step] +
		part * (state->share[step + 1] - state->share[step]);
	int64		progress = (int64) (share * state->expected_rows);

	if (state->participant > 0 || progress <= state->progress)
		return;
	state->progress = progress;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, progress);
}

static void
set_phase(OmenHnswBuildState *state, int phase)
{
	if (state->participant == 0)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, phase);
}
