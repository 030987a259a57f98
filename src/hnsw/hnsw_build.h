/*-------------------------------------------------------------------------
 *
 * hnsw_build.h
 *	  State of a bulk build, shared by its files.
 *
 * A build has one or more participants, which run the same steps and meet at
 * barriers: the leader, and the workers of a parallel build.
 *
 *	  sample	leader	 mean, largest norm, typical size from some blocks; then
 *						 the codebook of product codes
 *	  load		all		 encode the rows of the table, append them to a file
 *						 of their own ("rows"), one for each participant
 *	  fold		all		 find equal vectors
 *	  graph		all		 construct the graph (src/graph), in a mapped file
 *	  plan		leader	 choose the blocks of all pages
 *	  write		leader	 TID map, TID lists, keys, ranges, entries, mean
 *				all		 encode links, write NODE pages
 *	  finish	leader	 metapage
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_BUILD_H
#define OMEN_HNSW_BUILD_H

#include "access/parallel.h"
#include "gpu/gpu_process.h"
#include "hnsw/hnsw.h"
#include "hnsw/hnsw_estimate.h"
#include "hnsw/hnsw_graph_files.h"
#include "hnsw/hnsw_tidmap.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/arena.h"
#include "storage/barrier.h"
#include "storage/condition_variable.h"
#include "storage/sharedfileset.h"
#include "storage/spin.h"

#define OMEN_BUILD_MAX_PARTICIPANTS	65

/*
 * Head of a row in a "rows" file; its keys follow, the own code, and the fine
 * pair code if the shape has one, each MAXALIGNed
 */
typedef struct OmenBuildRowData
{
	ItemPointerData tid;
	uint8		key_nulls;
	uint8		unused;
	uint32		own_bytes;
	uint32		hash;			/* of the own code and the keys */
} OmenBuildRowData;

#define OMEN_BUILD_ROW_HEADER	MAXALIGN(sizeof(OmenBuildRowData))

static inline const uint64 *
omen_build_row_keys(const OmenBuildRowData *row)
{
	return (const uint64 *) ((const char *) row + OMEN_BUILD_ROW_HEADER);
}

static inline const uint8 *
omen_build_row_own(const OmenBuildRowData *row, int nkeys)
{
	return (const uint8 *) (omen_build_row_keys(row) + nkeys);
}

/* What participants share; in dynamic shared memory if there are workers */
typedef struct OmenBuildShared
{
	Oid			heap;
	Oid			index;
	bool		concurrent;
	OmenHnswMetaPageData meta;
	bool		has_mean;		/* rotated, stored beside this */
	bool		has_codebook;	/* likewise */

	SharedFileSet fileset;		/* used if there are workers */
	int			nparticipants;	/* 0: not known yet */
	ConditionVariable started;
	Barrier		barrier;

	uint64		nrows[OMEN_BUILD_MAX_PARTICIPANTS];
	slock_t		mutex;			/* protects the next three */
	double		heap_tuples;
	double		index_tuples;
	bool		broken_hot_chain;

	/* of each participant's rows, those equal to none before; all of these */
	uint32		nfirst[OMEN_BUILD_MAX_PARTICIPANTS];
	uint32		nnodes;
	BlockNumber node_start;
	uint32		list_start;		/* number of the first list slot */
	uint32		nlists;
	BlockNumber chain_start;
	uint32		nchains;
	BlockNumber tidmap_start;
	pg_atomic_uint32 next_chunk;	/* of pages given out for writing */
} OmenBuildShared;

/*
 * The TID map while it is built: the entries of its pages, in mapped files
 * each twice as long as the one before.  Pages are counted from 1, and name
 * each other by this count.
 */
#define OMEN_TIDMAP_CHUNKS	28

typedef struct OmenTidMapBuild
{
	OmenArena  *chunks[OMEN_TIDMAP_CHUNKS];
	uint32	   *base[OMEN_TIDMAP_CHUNKS];
	uint32		npages;
	BlockNumber next_block;		/* to be written next */
	uint32		roots[OMEN_TIDMAP_ROOTS];
} OmenTidMapBuild;

/*
 * What the time of a build is divided into.  GRAPH is all of the construction
 * that is not said to be of a helper (GPU_*); WRITE is without WAL.
 */
typedef enum OmenBuildStage
{
	OMEN_STAGE_PREPARE,			/* sample, codebook, workers */
	OMEN_STAGE_GPU_START,		/* a helper looks for its device */
	OMEN_STAGE_READ,			/* scan of the table, encoding */
	OMEN_STAGE_FOLD,
	OMEN_STAGE_GPU_SEND,		/* codes, to where it can read them */
	OMEN_STAGE_GPU_CLUSTERS,	/* wait for them */
	OMEN_STAGE_GPU_LINKS,		/* likewise; checks of form are part of it */
	OMEN_STAGE_GPU_CHECK,		/* searches; the helper is ended */
	OMEN_STAGE_GRAPH,
	OMEN_STAGE_PLAN,			/* blocks, extension of the file */
	OMEN_STAGE_WRITE,			/* codes of links, pages */
	OMEN_STAGE_WAL,
	OMEN_STAGE_SYNC,
	OMEN_STAGE_END				/* temporary files removed, workers ended */
} OmenBuildStage;

#define OMEN_BUILD_STAGES	(OMEN_STAGE_END + 1)

typedef struct OmenBuildTimes
{
	instr_time	mark;			/* the stage at work began */
	double		seconds[OMEN_BUILD_STAGES];
} OmenBuildTimes;

/* One participant's view */
typedef struct OmenHnswBuildState
{
	OmenGraphFiles files;		/* must be first */
	Relation	heap;
	Relation	index;
	IndexInfo  *info;
	const OmenOpclassInfo *opclass;
	OmenHnswLayout layout;
	OmenQuantizer *quant;
	OmenBuildShared *shared;
	int			participant;	/* 0 is the leader */
	bool		parallel;		/* are there workers? */
	MemoryContext context;
	MemoryContext row_context;

	/* known from the sample; the leader's */
	double		expected_rows;
	Size		typical_own;	/* bytes of an own code, if they vary */
	double		share[OMEN_BUILD_STEPS + 1];	/* done before each step */
	int64		progress;		/* rows' worth of work reported so far */
	OmenBuildTimes times;

	/* load */
	struct TableScanDescData *scan; /* NULL: an ordinary one */
	OmenArena  *rows;			/* own file */
	OmenArena  *offsets;		/* of each row in it, if sizes vary */
	uint64		nrows;
	uint8	   *own;			/* work areas */
	Size		own_room;
	uint32	   *range_starts;	/* first position of each range, or NULL */
	float	   *scratch;

	/* from fold on: everybody's files, mapped */
	OmenArena  *all_rows[OMEN_BUILD_MAX_PARTICIPANTS];
	OmenArena  *all_offsets[OMEN_BUILD_MAX_PARTICIPANTS];
	char	   *row_base[OMEN_BUILD_MAX_PARTICIPANTS];	/* NULL: not mapped */
	uint64	   *offset_base[OMEN_BUILD_MAX_PARTICIPANTS];
	uint64		first_row[OMEN_BUILD_MAX_PARTICIPANTS + 1];
	bool		frugal;			/* files are more than memory allowed */
	OmenBuildRowData *copies[2];	/* the last two rows that were read */
	Size		copy_room[2];
	int			last_copy;

	OmenArena  *fold;			/* see hnsw_fold.c */
	uint32	   *unique;			/* row of each node */
	uint32	   *next_equal;		/* by row: the next one with equal code */
	uint32	   *list_of;		/* by position: its first list slot, counted */
	uint32	   *chain_of;		/* by position: its first CHAIN page, counted */

	OmenBuildTeam team;			/* kept for as long as "build" */
	OmenBuild  *build;
	OmenTidMapBuild tidmap;		/* of the leader */
	OmenGpuHelper *gpu;			/* of the leader; NULL: none is used */
	bool		greeted;		/* it has found a device */
	BlockNumber key_start;		/* of the key column, and of its directories */
	BlockNumber key_dir_start;
	OmenArenaBudget budget;		/* of all mappings together */
	uint8	   *pair;			/* work area */
	uint8	   *neighbours;		/* OMEN_LINKS_AT_A_TIME pair codes */
} OmenHnswBuildState;

#define OMEN_BUILD_NONE	((uint32) 0xFFFFFFFF)

/* hnsw_build.c: the steps */
extern void omen_hnsw_build_participate(OmenHnswBuildState *state);
extern void omen_hnsw_build_cleanup(OmenHnswBuildState *state);
extern bool omen_hnsw_build_barrier(OmenHnswBuildState *state);
extern void omen_hnsw_build_tick(OmenHnswBuildState *state);
extern void omen_hnsw_build_progress(OmenHnswBuildState *state,
									 OmenBuildStep step, double done,
									 double total);
extern const OmenBuildRowData *omen_hnsw_build_row(OmenHnswBuildState *state,
												   uint32 row);
extern void omen_hnsw_build_prepare(OmenHnswBuildState *state);

/* hnsw_build_times.c */
extern void omen_hnsw_start_times(OmenHnswBuildState *state);
extern void omen_hnsw_end_stage(OmenHnswBuildState *state,
								OmenBuildStage stage);
extern void omen_hnsw_move_time(OmenHnswBuildState *state, double seconds,
								OmenBuildStage from, OmenBuildStage to);
extern void omen_hnsw_report_times(const OmenHnswBuildState *state,
								   double rows);

/*
 * hnsw_sample.c: what to know before the first row is encoded.  Fills in the
 * trained fields of the metapage, the layout and what the state has from the
 * sample; returns the mean in the column's own coordinates, or NULL.
 */
extern float *omen_hnsw_sample(OmenHnswBuildState *state,
							   OmenHnswMetaPageData *meta);

/*
 * Then, with the quantizer made: train its codebook.  Returns false if it has
 * none, or the untrained one is to be used.
 */
extern bool omen_hnsw_train(OmenHnswBuildState *state);

/* hnsw_fold.c: equal vectors */
extern void omen_hnsw_fold(OmenHnswBuildState *state);

/* Nodes by their positions: the first of their rows, their numbers */
static inline uint32
omen_hnsw_build_node(const OmenHnswBuildState *state, uint32 position)
{
	return state->unique[omen_build_row(state->build, position)];
}

extern void omen_hnsw_prefetch_nodes(const OmenHnswBuildState *state,
									 uint32 position);

static inline uint32
omen_hnsw_build_number(const OmenHnswBuildState *state, uint32 position)
{
	return state->shared->node_start * state->layout.slots_per_page + position;
}

/* hnsw_write.c: pages; data fills DATA pages from a block on */
extern BlockNumber omen_hnsw_data_pages(Size size);
extern void omen_hnsw_write_data(OmenBulkWriter *writer, BlockNumber block,
								 const void *data, Size size);
extern void omen_hnsw_plan_pages(OmenHnswBuildState *state);
extern void omen_hnsw_fill_tid_map(OmenHnswBuildState *state);
extern void omen_hnsw_write_nodes(OmenHnswBuildState *state);
extern void omen_hnsw_write_rest(OmenHnswBuildState *state);
extern void omen_hnsw_write_meta(OmenHnswBuildState *state);

/* hnsw_tidmap_build.c: add TIDs; when all are in, write */
extern void omen_tidmap_build_begin(OmenHnswBuildState *state,
									BlockNumber start);
extern void omen_tidmap_build_add(OmenHnswBuildState *state,
								  const ItemPointerData *tid, OmenLink link);
extern uint32 omen_tidmap_build_pages(const OmenHnswBuildState *state);
extern void omen_tidmap_build_write(OmenHnswBuildState *state,
									OmenBulkWriter *writer);
extern void omen_tidmap_build_cleanup(OmenHnswBuildState *state);

/* hnsw_range_build.c: ranges of node numbers */
extern BlockNumber omen_range_build_plan(OmenHnswBuildState *state,
										 BlockNumber block);
extern BlockNumber omen_range_build_pages(const OmenHnswBuildState *state);
extern void omen_range_build_page(OmenHnswBuildState *state,
								  OmenBulkWriter *writer, BlockNumber n);
extern uint8 *omen_range_build_data(OmenHnswBuildState *state);

/* hnsw_gpu.c: links from a helper program */
extern void omen_hnsw_gpu_start(OmenHnswBuildState *state,
								int nparticipants);
extern void omen_hnsw_gpu_look(OmenHnswBuildState *state);
extern bool omen_hnsw_gpu_want_rows(OmenHnswBuildState *state,
									OmenBuild *build);
extern uint32 omen_hnsw_gpu_find_clusters(OmenHnswBuildState *state,
										  OmenBuild *build, uint32 *clusters,
										  uint32 most);
extern bool omen_hnsw_gpu_find_links(OmenHnswBuildState *state,
									 OmenBuild *build);
extern void omen_hnsw_gpu_judge_links(OmenHnswBuildState *state,
									  const OmenLinkCheck *check);

/* hnsw_gpu_probe.c: what they are worth */
extern bool omen_hnsw_gpu_probe_links(OmenHnswBuildState *state,
									  OmenBuild *build, uint32 node,
									  uint32 *nmissed, uint32 *nwanted);

/* hnsw_parallel.c: workers */
typedef struct OmenHnswWorkers OmenHnswWorkers;

extern OmenHnswWorkers *omen_hnsw_start_workers(OmenHnswBuildState *state,
												int nworkers);
extern void omen_hnsw_end_workers(OmenHnswWorkers *workers);

/* hnsw_column_build.c: the key column and key lists; as those of ranges */
extern BlockNumber omen_column_build_plan(OmenHnswBuildState *state,
										  BlockNumber block);
extern void omen_column_build_write(OmenHnswBuildState *state,
									OmenBulkWriter *writer);

/* What the metapage says of the column, behind the rest */
extern void omen_column_build_meta(const OmenHnswBuildState *state,
								   OmenHnswKeyDirsData *dirs);

#endif							/* OMEN_HNSW_BUILD_H */
