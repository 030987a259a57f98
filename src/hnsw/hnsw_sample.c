/*-------------------------------------------------------------------------
 *
 * hnsw_sample.c
 *	  What a bulk build has to know before it encodes the first row: the mean
 *	  of the column, the largest norm, how long own codes are, about how many
 *	  rows there are, and the codebook of product codes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/order.h"
#include "hnsw/hnsw_build.h"
#include "quant/quant_pq.h"

/* Rows looked at, from so many blocks at this many places of the table */
#define SAMPLE_ROWS		4096
#define SAMPLE_RANGES	16
#define SAMPLE_BLOCKS	8

/*
 * The mean is that of so many parts of them, but for those whose own is farther off than
 * so many times what half of theirs are (squared): one vector that is a million times as
 * long as the others would have it where none of them is.
 */
#define MEAN_PARTS		16
#define FAR_PART		100.0

/*
 * Rows that a codebook is trained on, from so many blocks at this many places.
 * With 8,192 rows the squared error of 100,000 SIFT vectors is 4 to 5 % above
 * that with 32,768, which takes four times as long: 3 seconds at 768
 * dimensions.
 */
#define TRAINING_ROWS	8192
#define TRAINING_RANGES	128
#define TRAINING_BLOCKS	16

/* Slots of sparse vectors have room for all but the longest in twenty */
#define SIZE_QUANTILE	0.95
#define DEFAULT_SIZE	512

typedef struct SampleState
{
	OmenHnswBuildState *build;
	const OmenCodeShape *shape;
	MemoryContext row_context;
	int			nrows;
	double		nseen;			/* rows in the blocks looked at */
	double	   *sums;			/* double[MEAN_PARTS][dims], dense vectors only */
	float		max_norm2;
	Size		sizes[SAMPLE_ROWS];
} SampleState;

typedef struct TrainingState
{
	OmenHnswBuildState *build;
	MemoryContext row_context;
	BlockNumber step;			/* blocks from one place to the next */
	int			per_range;		/* rows taken from each place */
	int			nrows;
	int			capacity;
	int16	   *sample;			/* see quant_pq.h */
} TrainingState;

static BlockNumber range_step(BlockNumber nblocks, BlockNumber nranges);
static BlockNumber scan_ranges(OmenHnswBuildState *build, BlockNumber nranges,
							   BlockNumber range_blocks,
							   IndexBuildCallback callback, void *state);
static void train_row(Relation index, ItemPointer tid, Datum *values,
					  bool *isnull, bool alive, void *arg);
static void sample_row(Relation index, ItemPointer tid, Datum *values,
					   bool *isnull, bool alive, void *arg);
static void add_dense(SampleState *state, const void *payload);
static float *find_mean(const SampleState *state);
static void find_far_parts(const SampleState *state, bool *far);
static int	part_rows(const SampleState *state, int part);
static double part_coordinate(const SampleState *state, int part, uint32 i);
static Size typical_size(SampleState *state);
static int	compare_sizes(const void *a, const void *b);

float *
omen_hnsw_sample(OmenHnswBuildState *build, OmenHnswMetaPageData *meta)
{
	SampleState *state = palloc0(sizeof(SampleState));
	const OmenCodeShape *shape = &meta->shape;
	float	   *mean = NULL;
	BlockNumber nread;

	state->build = build;
	state->shape = shape;
	state->row_context = AllocSetContextCreate(CurrentMemoryContext,
											   "omenhnsw sample row",
											   ALLOCSET_DEFAULT_SIZES);
	if (shape->code_dims > 0)
		state->sums = palloc0((Size) MEAN_PARTS * shape->dims * sizeof(double));
	nread = scan_ranges(build, SAMPLE_RANGES, SAMPLE_BLOCKS, sample_row, state);
	build->expected_rows = state->nseen *
		RelationGetNumberOfBlocks(build->heap) / Max(nread, 1);
	meta->max_norm2 = state->max_norm2 * OMEN_NORM_MARGIN;
	if (!isfinite(meta->max_norm2))
		meta->max_norm2 = 0;

	/* of fewer rows, inserts take it when there are more: hnsw_mean.c */
	if (state->sums != NULL && state->nrows >= OMEN_MEAN_ROWS)
		mean = find_mean(state);
	build->typical_own = typical_size(state);
	omen_hnsw_choose_layout(meta, build->typical_own);
	meta->entry_capacity = omen_hnsw_entry_capacity(meta);
	MemoryContextDelete(state->row_context);
	return mean;
}

/*
 * Codebooks are trained once, by the leader.  Fewer rows than centroids are
 * not worth the pages: the codebook to start from serves them well enough.
 */
bool
omen_hnsw_train(OmenHnswBuildState *build)
{
	const OmenCodeShape *shape = &build->quant->shape;
	TrainingState state = {.build = build};
	BlockNumber nblocks = RelationGetNumberOfBlocks(build->heap);
	Size		row_size = shape->code_dims * sizeof(int16);
	bool		trained;

	if (omen_pq_codebook_size(shape) == 0 || nblocks == 0)
		return false;
	state.capacity = Min(TRAINING_ROWS,
						 (Size) maintenance_work_mem * 1024 / 2 / row_size);
	state.capacity = Max(state.capacity, OMEN_PQ_CENTROIDS);
	state.step = range_step(nblocks, TRAINING_RANGES);
	state.per_range = state.capacity / (nblocks / state.step + 1) + 1;
	state.sample = palloc_extended(state.capacity * row_size, MCXT_ALLOC_HUGE);
	state.row_context = AllocSetContextCreate(CurrentMemoryContext,
											  "omenhnsw training row",
											  ALLOCSET_DEFAULT_SIZES);
	scan_ranges(build, TRAINING_RANGES, TRAINING_BLOCKS, train_row, &state);
	trained = state.nrows >= OMEN_PQ_CENTROIDS;
	for (uint32 i = 0; trained && i < omen_pq_parts(shape); i++)
	{
		CHECK_FOR_INTERRUPTS();
		omen_pq_train(build->quant, i, state.sample, state.capacity,
					  state.nrows);
	}
	MemoryContextDelete(state.row_context);
	pfree(state.sample);
	return trained;
}

static void
train_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		  bool alive, void *arg)
{
	TrainingState *state = arg;
	MemoryContext old;
	OmenHnswValue value;

	CHECK_FOR_INTERRUPTS();
	if (isnull[0] || !alive || state->nrows == state->capacity ||
		state->nrows / state->per_range >
		ItemPointerGetBlockNumber(tid) / state->step)
		return;
	old = MemoryContextSwitchTo(state->row_context);
	if (omen_hnsw_form_value(state->build->opclass,
							 state->build->quant->shape.dims, values[0],
							 &value) &&
		omen_pq_sample(state->build->quant, value.payload, state->sample,
					   state->capacity, state->nrows, state->build->scratch))
		state->nrows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row_context);
}

static BlockNumber
range_step(BlockNumber nblocks, BlockNumber nranges)
{
	return Max(nblocks / nranges, 1);
}

/*
 * Some blocks here and there: tables are often in an order of their own.
 * Returns how many.
 */
static BlockNumber
scan_ranges(OmenHnswBuildState *build, BlockNumber nranges,
			BlockNumber range_blocks, IndexBuildCallback callback,
			void *state)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(build->heap);
	BlockNumber step = range_step(nblocks, nranges);
	BlockNumber nread = 0;
	bool		broken = build->info->ii_BrokenHotChain;

	for (BlockNumber block = 0; block < nblocks; block += step)
	{
		BlockNumber n = Min(Min(step, range_blocks), nblocks - block);

		table_index_build_range_scan(build->heap, build->index, build->info,
									 false, false, false, block, n, callback,
									 state, NULL);
		nread += n;
	}
	build->info->ii_BrokenHotChain = broken;
	return nread;
}

static void
sample_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		   bool alive, void *arg)
{
	SampleState *state = arg;
	MemoryContext old;
	OmenHnswValue value;

	if (isnull[0] || !alive)
		return;
	state->nseen++;
	if (state->nrows >= SAMPLE_ROWS)
		return;
	old = MemoryContextSwitchTo(state->row_context);
	if (omen_hnsw_form_value(state->build->opclass, state->shape->dims,
							 values[0], &value))
	{
		if (state->sums)
			add_dense(state, value.payload);
		if (state->shape->metric == OMEN_METRIC_IP)
			state->max_norm2 = Max(state->max_norm2,
								   omen_hnsw_norm2(state->shape->element,
												   state->shape->dims,
												   value.payload));
		state->sizes[state->nrows++] = value.size;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row_context);
}

static void
add_dense(SampleState *state, const void *payload)
{
	uint32		dims = state->shape->dims;
	double	   *sum = state->sums + (Size) (state->nrows % MEAN_PARTS) * dims;
	const float *x = payload;
	double		scale = 1;

	if (state->shape->element == OMEN_ELEMENT_F16)
	{
		float	   *floats = palloc(dims * sizeof(float));

		omen_distance->half_to_float(dims, payload, floats);
		x = floats;
	}
	if (state->shape->metric == OMEN_METRIC_COSINE)
		scale = 1 / sqrt(omen_hnsw_norm2(state->shape->element, dims, payload));
	for (uint32 i = 0; i < dims; i++)
		sum[i] += x[i] * scale;
}

static float *
find_mean(const SampleState *state)
{
	uint32		dims = state->shape->dims;
	float	   *mean = palloc(dims * sizeof(float));
	bool		far[MEAN_PARTS];

	find_far_parts(state, far);
	for (uint32 i = 0; i < dims; i++)
	{
		double		sum = 0;
		int			nrows = 0;

		for (int part = 0; part < MEAN_PARTS; part++)
		{
			if (far[part])
				continue;
			sum += state->sums[(Size) part * dims + i];
			nrows += part_rows(state, part);
		}
		mean[i] = (float) (sum / nrows);

		/* vectors too long for floats have no mean to speak of */
		if (!isfinite(mean[i]) || fabsf(mean[i]) > 1e15f)
			mean[i] = 0;
	}
	return mean;
}

/* From the middle of the means of all parts, by coordinates */
static void
find_far_parts(const SampleState *state, bool *far)
{
	double		distance2[MEAN_PARTS] = {0};
	double		sorted[MEAN_PARTS];
	double		limit;

	for (uint32 i = 0; i < state->shape->dims; i++)
	{
		for (int part = 0; part < MEAN_PARTS; part++)
			sorted[part] = part_coordinate(state, part, i);
		qsort(sorted, MEAN_PARTS, sizeof(double), omen_compare_doubles);
		for (int part = 0; part < MEAN_PARTS; part++)
		{
			double		off = part_coordinate(state, part, i) -
				sorted[MEAN_PARTS / 2];

			distance2[part] += off * off;
		}
	}
	memcpy(sorted, distance2, sizeof(sorted));
	qsort(sorted, MEAN_PARTS, sizeof(double), omen_compare_doubles);
	limit = FAR_PART * sorted[MEAN_PARTS / 2];
	for (int part = 0; part < MEAN_PARTS; part++)
		far[part] = distance2[part] > limit;
}

static double
part_coordinate(const SampleState *state, int part, uint32 i)
{
	return state->sums[(Size) part * state->shape->dims + i] /
		part_rows(state, part);
}

/* There are more rows than parts */
static int
part_rows(const SampleState *state, int part)
{
	return (state->nrows - part + MEAN_PARTS - 1) / MEAN_PARTS;
}

static Size
typical_size(SampleState *state)
{
	if (state->nrows == 0)
		return DEFAULT_SIZE;
	qsort(state->sizes, state->nrows, sizeof(Size), compare_sizes);
	return state->sizes[(int) ((state->nrows - 1) * SIZE_QUANTILE)];
}

static int
compare_sizes(const void *a, const void *b)
{
	Size		x = *(const Size *) a;
	Size		y = *(const Size *) b;

	return x < y ? -1 : x > y;
}
