/*-------------------------------------------------------------------------
 *
 * hnsw_estimate.c
 *	  What a bulk build will take: size, memory, files and time.
 *
 * Sizes follow from the functions that lay out pages and arena.  Time is the
 * number of times that a build does three things - encode a row, compare two
 * pair codes, encode a link - times what each takes on this CPU, measured on
 * random codes, and a share that does not depend on the code.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <time.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "graph/graph_build.h"
#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_estimate.h"
#include "hnsw/hnsw_range.h"
#include "quant/quant_pq.h"

/* Codes for measuring: so many, less if they are long */
#define MAX_CODES		256
#define MIN_CODES		32
#define MAX_WORK		(32.0 * 1024 * 1024)	/* pairs times bytes */

/* Passes after the second are left out when they have taken so long */
#define MAX_SECONDS		0.02

/* Memory of a process beside what the graph needs: its own, and buffers */
#define FIXED_MEMORY	(8.0 * 1024 * 1024)

/*
 * What does not depend on the three measured costs, in seconds, and factors on
 * them.  Fitted to CPU time of the steps of serial builds, AMD EPYC (Zen 5),
 * AVX-512: 40,000 and 200,000 x 128, 69,077 x 100, 40,000 x 784 and 9,844 x
 * 768, by defaults; 40,000 x 128 with m = 32, ef_construction = 200, with
 * quantizer = none and L1; 40,000 x bit(784).  Of these nine, and of 6,000
 * sparse vectors of 57 elements, the estimate of the whole is 0.8 to 1.6 times
 * what was measured, and up to twice on a machine with four processes for
 * each CPU: how fast a core computes depends on who shares it.
 */
#define LOAD_ROW		0.5e-6
#define LOAD_BYTE		1.5e-9
#define TRAIN_DIM		1e-3	/* of a codebook */
#define FOLD_ROW		0.1e-6
#define CONSTRUCT_ROUND	8e-6
#define FRUGAL_FACTOR	1.4		/* files are more than memory allowed */
#define WRITE_BYTE		2.4e-9
#define LINK_FACTOR		1.3
#define LEADER_PAIRS	3.0		/* compared one by one, not as a matrix */

/* Seconds that the elementary steps take here */
typedef struct StepCosts
{
	double		encode;			/* an own code */
	double		pair;			/* comparison within a leaf */
	double		link;			/* a link code */
} StepCosts;

/* Random codes to measure with */
typedef struct SampleCodes
{
	OmenQuantizer *quant;
	int			n;
	Size		stride;
	Size		payload_bytes;
	char	   *payload;
	uint8	   *own;
	uint8	   *pairs;			/* stride bytes apart */
	float	   *scratch;
} SampleCodes;

static void estimate_sizes(const OmenHnswMetaPageData *meta,
						   const OmenQuantizer *quant, Size own_bytes,
						   uint32 rows, OmenBuildEstimate *estimate);
static double range_pages(const OmenHnswMetaPageData *meta,
						  const OmenQuantizer *quant, uint32 rows);
static double tid_map_pages(double rows, double blocks);
static void estimate_time(const OmenHnswMetaPageData *meta,
						  const StepCosts *costs, Size own_bytes,
						  double rows, int nparticipants,
						  OmenBuildEstimate *estimate);
static double pairs_compared(const OmenHnswMetaPageData *meta, double rows);
static void measure_costs(const OmenHnswMetaPageData *meta, Size own_bytes,
						  OmenQuantizer *quant, int passes, StepCosts *costs);
static void form_codes(SampleCodes *codes, Size own_bytes);
static void fill_payload(const SampleCodes *codes, Size own_bytes,
						 pg_prng_state *random);
static double time_encoding(const SampleCodes *codes);
static double time_pairs(const SampleCodes *codes);
static double time_links(const SampleCodes *codes);
static double cpu_seconds(void);

void
omen_hnsw_estimate_build(const OmenHnswMetaPageData *meta, Size own_bytes,
						 double rows, double blocks, int nparticipants,
						 int passes, OmenBuildEstimate *estimate)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenhnsw estimate",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const OmenCodeShape *shape = &meta->shape;
	OmenQuantizer *quant = omen_quant_init(palloc(omen_quant_size(shape)),
										   shape, NULL, 1.0f);
	StepCosts	costs;
	double		map_pages;

	if (shape->own_size > 0)
		own_bytes = shape->own_size;
	rows = Max(Min(rows, (1 << OMEN_LINK_NUMBER_BITS) - 1), 0);
	nparticipants = Max(nparticipants, 1);

	memset(estimate, 0, sizeof(OmenBuildEstimate));
	estimate_sizes(meta, quant, own_bytes, (uint32) rows, estimate);
	map_pages = tid_map_pages(rows, blocks);
	estimate->index_bytes += map_pages * BLCKSZ;
	estimate->file_bytes += map_pages * BLCKSZ;
	estimate->private_bytes *= nparticipants;
	measure_costs(meta, own_bytes, quant, passes, &costs);
	estimate_time(meta, &costs, own_bytes, rows, nparticipants, estimate);
	estimate->mapped_bytes = Min(estimate->mapped_bytes,
								 maintenance_work_mem * 1024.0);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

char *
omen_hnsw_form_duration(double seconds)
{
	if (seconds < 120)
		return psprintf("%.0f seconds", Max(seconds, 1));
	if (seconds < 120 * 60)
		return psprintf("%.0f minutes", seconds / 60);
	return psprintf("%.0f hours", seconds / 3600);
}

char *
omen_hnsw_form_size(double bytes)
{
	return text_to_cstring(DatumGetTextPP(DirectFunctionCall1(pg_size_pretty,
															  Int64GetDatum((int64) bytes))));
}

/*
 * Of pages, files and one participant's memory; hnsw_write.c, hnsw_fold.c and
 * hnsw_build.c say what goes where
 */
static void
estimate_sizes(const OmenHnswMetaPageData *meta, const OmenQuantizer *quant,
			   Size own_bytes, uint32 rows, OmenBuildEstimate *estimate)
{
	const OmenCodeShape *shape = &meta->shape;
	OmenBuildParams params = {
		.n = rows,
		.max_links = meta->max_links,
		.ef_construction = meta->ef_construction,
	};
	Size		row_bytes = OMEN_BUILD_ROW_HEADER +
		meta->nkeys * sizeof(uint64) + MAXALIGN(own_bytes) +
		MAXALIGN(omen_quant_fine_size(shape));
	double		pages = 1;
	uint64		buckets = pg_nextpower2_64(Max((uint64) rows * 2, 16));

	if (shape->code_dims > 0)
		pages += ceil(shape->code_dims * sizeof(float) /
					  (double) OMEN_PAGE_CONTENT) +
			ceil(omen_pq_codebook_size(shape) / (double) OMEN_PAGE_CONTENT);
	pages += ceil(Min(omen_hnsw_entry_capacity(meta), rows) /
				  (double) (OMEN_PAGE_CONTENT / meta->entry_size));
	pages += ceil(rows / (double) meta->slots_per_page);
	pages += range_pages(meta, quant, rows);
	if (own_bytes > meta->own_inline)
		pages += rows * ceil((own_bytes - meta->own_inline) /
							 (double) OMEN_PAGE_CONTENT);
	pages += meta->nkeys * (ceil(rows / (double) OMEN_KEYS_PER_PAGE) +
							ceil(rows / (double) OMEN_KEYLIST_ENTRIES));
	estimate->index_bytes = pages * BLCKSZ;

	if (shape->own_size == 0)
		row_bytes += sizeof(uint64);
	if (shape->pair_size == 0)
		params.code_bytes = rows * MAXALIGN(own_bytes);
	estimate->mapped_bytes = (double) rows * row_bytes +
		((double) rows * 4 + buckets) * sizeof(uint32) +
		omen_build_arena_size(quant, &params);
	estimate->file_bytes = estimate->mapped_bytes +
		omen_build_mail_size(quant, &params);
	estimate->private_bytes = FIXED_MEMORY +
		omen_build_scratch_size(quant, &params);
}

/* Centres of ranges, and range codes */
static double
range_pages(const OmenHnswMetaPageData *meta, const OmenQuantizer *quant,
			uint32 rows)
{
	OmenHnswMetaPageData built = *meta;
	OmenQuantizer range_quant;
	double		pages = 0;

	built.built_nodes = rows;
	omen_range_choose(&built);
	if (built.range_size > 0)
	{
		built.nranges = rows / built.range_size;
		pages += ceil(omen_range_data_size(&built) /
					  (double) OMEN_PAGE_CONTENT);
	}
	if (omen_range_has_codes(&built))
	{
		omen_range_quantizer(quant, &range_quant);
		pages += omen_range_pages(&built, omen_range_code_size(&range_quant));
	}
	return pages;
}

/* Leaves for as many offset numbers as a block of the table has rows */
static double
tid_map_pages(double rows, double blocks)
{
	double		planes = ceil(rows / Max(blocks, 1) / OMEN_TIDMAP_OFFSETS);
	double		leaves = ceil(blocks / OMEN_TIDMAP_BLOCKS) * planes;
	double		directories = ceil(leaves / OMEN_TIDMAP_ENTRIES);

	return leaves + directories + ceil(directories / OMEN_TIDMAP_ENTRIES);
}

static void
estimate_time(const OmenHnswMetaPageData *meta, const StepCosts *costs,
			  Size own_bytes, double rows, int nparticipants,
			  OmenBuildEstimate *estimate)
{
	double		cpus = Max(sysconf(_SC_NPROCESSORS_ONLN), 1);
	double		workers = Min(nparticipants, cpus);
	double		slot_bytes = (double) BLCKSZ / meta->slots_per_page;
	double	   *seconds = estimate->seconds;

	seconds[OMEN_BUILD_LOAD] = rows / workers *
		(costs->encode + LOAD_ROW + own_bytes * LOAD_BYTE);
	if (meta->shape.own_kind == OMEN_OWN_PQ)
		seconds[OMEN_BUILD_LOAD] += meta->shape.dims * TRAIN_DIM;
	seconds[OMEN_BUILD_FOLD] = rows / workers * FOLD_ROW;
	seconds[OMEN_BUILD_CONSTRUCT] = rows / workers *
		(pairs_compared(meta, rows) * costs->pair +
		 omen_build_rounds(meta->ef_construction) * CONSTRUCT_ROUND);
	if (estimate->mapped_bytes > maintenance_work_mem * 1024.0)
		seconds[OMEN_BUILD_CONSTRUCT] *= FRUGAL_FACTOR;
	seconds[OMEN_BUILD_WRITE] = rows / workers *
		(meta->max_links * costs->link * LINK_FACTOR +
		 (slot_bytes + Max(own_bytes, meta->own_inline) - meta->own_inline) *
		 WRITE_BYTE);
	for (int i = 0; i < OMEN_BUILD_STEPS; i++)
		estimate->total_seconds += seconds[i];
}

/*
 * Pair codes that a row is compared with: the members of its leaves in all
 * scales, the other candidates of each node it is a candidate of, and leaders
 */
static double
pairs_compared(const OmenHnswMetaPageData *meta, double rows)
{
	double		rounds = omen_build_rounds(meta->ef_construction);
	double		leaf = rows > OMEN_LARGE_SET ? OMEN_LEAF_SIZE_LARGE :
		OMEN_LEAF_SIZE;
	double		list = omen_build_list_size(meta->ef_construction,
											meta->max_links, rows);
	double		leaders = Min(rows / OMEN_TOP_SIZE, OMEN_MAX_LEADERS);

	if (rows <= OMEN_LEAF_MAX)
		return rows;

	/* scales hold n/4 + n/16 + ... nodes */
	return 4.0 / 3.0 * (rounds * OMEN_TOP_FANOUT * OMEN_LEAF_FANOUT * leaf +
						list * list) + (rounds + 1) * leaders * LEADER_PAIRS;
}

static void
measure_costs(const OmenHnswMetaPageData *meta, Size own_bytes,
			  OmenQuantizer *quant, int passes, StepCosts *costs)
{
	SampleCodes codes = {.quant = quant};
	double		best[3] = {1, 1, 1};
	double		start;

	form_codes(&codes, own_bytes);
	start = cpu_seconds();
	for (int pass = 0; pass < passes; pass++)
	{
		if (pass > 1 && cpu_seconds() - start > MAX_SECONDS)
			break;
		best[0] = Min(best[0], time_encoding(&codes));
		best[1] = Min(best[1], time_pairs(&codes));
		if (meta->shape.link_kind != OMEN_LINK_NONE)
			best[2] = Min(best[2], time_links(&codes));
	}
	costs->encode = best[0];
	costs->pair = best[1];
	costs->link = meta->shape.link_kind == OMEN_LINK_NONE ? 0 : best[2];
}

static void
form_codes(SampleCodes *codes, Size own_bytes)
{
	const OmenCodeShape *shape = &codes->quant->shape;
	pg_prng_state random;
	Size		pair_bytes = shape->pair_size > 0 ? shape->pair_size : own_bytes;

	pg_prng_seed(&random, 1);
	codes->n = (int) Max(Min(sqrt(MAX_WORK / (pair_bytes + 64)), MAX_CODES),
						 MIN_CODES);
	codes->stride = TYPEALIGN(16, pair_bytes);
	codes->payload = palloc0(Max(own_bytes, shape->dims * sizeof(float)) + 64);
	codes->own = palloc0(own_bytes + 64);
	codes->pairs = (uint8 *)
		CACHELINEALIGN(palloc0(codes->n * codes->stride + PG_CACHE_LINE_SIZE));
	codes->scratch = palloc((OMEN_QUANT_SCRATCH(shape) + shape->dims) *
							sizeof(float));
	for (int i = 0; i < codes->n; i++)
	{
		fill_payload(codes, own_bytes, &random);
		omen_quant_encode_own(codes->quant, codes->payload, codes->own,
							  codes->scratch);
		if (omen_quant_fine_size(shape) > 0)
			omen_quant_encode_fine(codes->quant, codes->payload,
								   codes->pairs + i * codes->stride,
								   codes->scratch);
		else if (shape->pair_size > 0)
			omen_quant_own_to_pair(codes->quant, codes->own,
								   codes->pairs + i * codes->stride);
		else
			memcpy(codes->pairs + i * codes->stride, codes->own, own_bytes);
	}
}

/* A value with elements between 0 and 1, bits and places at random */
static void
fill_payload(const SampleCodes *codes, Size own_bytes, pg_prng_state *random)
{
	const OmenCodeShape *shape = &codes->quant->shape;
	OmenSparsePayload *sparse = (OmenSparsePayload *) codes->payload;
	int32	   *indices = (int32 *) (sparse + 1);
	float	   *values = (float *) codes->payload;
	uint32		n = shape->dims;

	if (shape->element == OMEN_ELEMENT_BIT)
	{
		for (uint32 i = 0; i < n / 8; i++)
			codes->payload[i] = (char) pg_prng_uint32(random);
		return;
	}
	if (shape->element == OMEN_ELEMENT_SPARSE)
	{
		n = (own_bytes - sizeof(OmenSparsePayload)) /
			(sizeof(int32) + sizeof(float));
		n = Max(Min(n, shape->dims), 1);
		sparse->nnz = n;
		for (uint32 i = 0; i < n; i++)
			indices[i] = (int32) (shape->dims * ((double) i +
												 pg_prng_double(random)) / n);
		values = (float *) (indices + n);
	}
	for (uint32 i = 0; i < n; i++)
	{
		float		value = (float) pg_prng_double(random);

		if (shape->element == OMEN_ELEMENT_F16)
			((OmenHalf *) codes->payload)[i] = omen_float_to_half(value);
		else
			values[i] = value;
	}
}

static double
time_encoding(const SampleCodes *codes)
{
	double		start = cpu_seconds();

	for (int i = 0; i < codes->n; i++)
	{
		omen_quant_encode_own(codes->quant, codes->payload, codes->own,
							  codes->scratch);
		if (omen_quant_fine_size(&codes->quant->shape) > 0)
			omen_quant_encode_fine(codes->quant, codes->payload, codes->pairs,
								   codes->scratch);
	}
	return (cpu_seconds() - start) / codes->n;
}

/* As leaves compare their members: all at once, or one by one */
static double
time_pairs(const SampleCodes *codes)
{
	int			width = TYPEALIGN(32, codes->n);
	float	   *distances = palloc((Size) codes->n * width * sizeof(float));
	OmenPairMatrix *matrix = NULL;
	double		start;

	if (codes->quant->shape.pair_size > 0)
		matrix = omen_pair_matrix_init(palloc(omen_pair_matrix_size(codes->quant,
																	codes->n)),
									   codes->quant, codes->n);
	start = cpu_seconds();
	if (matrix != NULL)
	{
		omen_pair_matrix_load(matrix, codes->pairs, codes->stride, codes->n);
		omen_pair_matrix_all(matrix, distances, width);
	}
	for (int i = 0; matrix == NULL && i < codes->n * codes->n; i++)
		distances[i] = omen_quant_pair_distance(codes->quant,
												codes->pairs + i / codes->n * codes->stride,
												codes->pairs + i % codes->n * codes->stride);
	return (cpu_seconds() - start) / ((double) codes->n * codes->n);
}

static double
time_links(const SampleCodes *codes)
{
	uint8	   *code = palloc(codes->quant->shape.link_size);
	float		factors[2];
	double		start = cpu_seconds();

	for (int i = 0; i < codes->n; i++)
		omen_quant_encode_link(codes->quant, codes->pairs,
							   codes->pairs + i * codes->stride, &factors[0],
							   &factors[1], code, codes->scratch);
	return (cpu_seconds() - start) / codes->n;
}

/* Of this process: what others do does not count */
static double
cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}
