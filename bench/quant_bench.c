/*-------------------------------------------------------------------------
 *
 * quant_bench.c
 *	  Time of the kernels over codes, at every level this CPU can run: those
 *	  of quantizer = auto, then those of pq.
 *
 * Prints nanoseconds of thread CPU time, the least of seven runs.  From the
 * top of the source tree, with "make" done:
 *
 *	cc -O2 -Isrc -I$(pg_config --includedir-server) -o quant_bench \
 *		bench/quant_bench.c src/quant/quant*.o src/quant/kmeans.o \
 *		src/quant/rotation.o \
 *		src/distance/[ds]*.o src/base/cpu.o \
 *		-L$(pg_config --pkglibdir) -L$(pg_config --libdir) \
 *		-lpgcommon -lpgport -lm
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "quant/quant_ops.h"
#include "quant/rotation.h"

#define ROWS	256
#define LINKS	32

/* Everything that a timed operation may need */
typedef struct Bench
{
	OmenQuantizer *quant;
	OmenQuery  *query;
	void	   *query_memory;
	float	   *vectors;		/* ROWS * dims */
	uint8	   *own;			/* ROWS own codes */
	uint8	   *pairs;			/* ROWS pair codes */
	uint8	   *codes;			/* LINKS link codes */
	float		f_add[LINKS];
	float		f_rescale[LINKS];
	float		out[ROWS];
	float	   *scratch;
} Bench;

typedef void (*Operation) (Bench *b, int i);

static const uint8 *
pair(const Bench *b, int i)
{
	return b->pairs + (Size) (i % ROWS) * b->quant->shape.pair_size;
}

static void
score_links(Bench *b, int i)
{
	omen_query_links(b->query, 1, LINKS, b->f_add, b->f_rescale, b->codes,
					 b->out);
}

static void
pair_block(Bench *b, int i)
{
	omen_quant_pair_block(b->quant, pair(b, i), b->pairs,
						  b->quant->shape.pair_size, ROWS, b->out);
}

static void
pair_distance(Bench *b, int i)
{
	b->out[0] = omen_quant_pair_distance(b->quant, b->pairs, pair(b, i));
}

static void
query_own(Bench *b, int i)
{
	b->out[0] = omen_query_own(b->query, b->own + (Size) (i % ROWS) *
							   b->quant->shape.own_size).lower;
}

static void
query_init(Bench *b, int i)
{
	omen_query_init(b->query_memory, b->quant, b->vectors);
}

static void
rotate(Bench *b, int i)
{
	omen_rotation_apply(b->quant->signs, b->quant->shape.code_dims,
						b->scratch);
}

static void
encode_own(Bench *b, int i)
{
	omen_quant_encode_own(b->quant, b->vectors + (Size) (i % ROWS) *
						  b->quant->shape.dims, b->own, b->scratch);
}

static void
encode_link(Bench *b, int i)
{
	omen_quant_encode_link(b->quant, pair(b, i), pair(b, i + 1), b->f_add,
						   b->f_rescale, b->codes, b->scratch);
}

static void
encode_links(Bench *b, int i)
{
	OmenLinkCode links[LINKS];

	for (int k = 0; k < LINKS; k++)
		links[k] = (OmenLinkCode) {pair(b, i + 1 + k), b->codes +
			(Size) k * b->quant->shape.link_size};
	omen_quant_encode_links(b->quant, pair(b, i), links, LINKS, b->scratch);
	b->f_add[0] = links[0].f_add;
}

static void
own_to_pair(Bench *b, int i)
{
	omen_quant_own_to_pair(b->quant, b->own, b->pairs);
}

static const struct
{
	const char *name;
	Operation	run;
	int			parts;			/* the time is divided by this */
	bool		links;			/* needs link codes */
}			operations[] = {
	{"32 links", score_links, 1, true},
	{"block, a pair", pair_block, ROWS, false},
	{"pair", pair_distance, 1, false},
	{"own code", query_own, 1, false},
	{"query", query_init, 1, false},
	{"rotation", rotate, 1, false},
	{"encode own", encode_own, 1, false},
	{"pair of own", own_to_pair, 1, false},
	{"encode link", encode_link, 1, true},
	{"one of 32", encode_links, LINKS, true},
};

static void *
allocate(Size size)
{
	void	   *memory = aligned_alloc(64, TYPEALIGN(64, size));

	if (memory == NULL)
		abort();
	return memory;
}

static void
prepare(Bench *b, int dims, OmenQuantizerKind kind)
{
	OmenCodeShape shape;

	omen_quant_choose_shape(OMEN_ELEMENT_F32, OMEN_METRIC_L2, dims,
							kind, &shape);
	b->quant = omen_quant_init(allocate(omen_quant_size(&shape)), &shape,
							   NULL, 0);
	b->vectors = allocate((Size) ROWS * dims * sizeof(float));
	b->own = allocate((Size) ROWS * shape.own_size);
	b->pairs = allocate((Size) ROWS * shape.pair_size);
	b->codes = allocate((Size) LINKS * shape.link_size);
	b->scratch = allocate(Max(OMEN_QUANT_SCRATCH(&shape),
							  OMEN_LINKS_SCRATCH(&shape)) * sizeof(float));
	b->query_memory = allocate(omen_query_size(b->quant));

	for (int i = 0; i < ROWS * dims; i++)
		b->vectors[i] = (float) rand() / RAND_MAX - 0.5f;
	for (int i = 0; i < ROWS; i++)
	{
		uint8	   *own = b->own + (Size) i * shape.own_size;

		omen_quant_encode_own(b->quant, b->vectors + (Size) i * dims, own,
							  b->scratch);
		omen_quant_own_to_pair(b->quant, own, b->pairs +
							   (Size) i * shape.pair_size);
	}
	for (int i = 0; i < LINKS && shape.link_kind != OMEN_LINK_NONE; i++)
		omen_quant_encode_link(b->quant, pair(b, 0), pair(b, i + 1),
							   b->f_add + i, b->f_rescale + i,
							   b->codes + (Size) i * shape.link_size,
							   b->scratch);
	b->query = omen_query_init(b->query_memory, b->quant, b->vectors);
}

static void
release(Bench *b)
{
	free(b->quant);
	free(b->vectors);
	free(b->own);
	free(b->pairs);
	free(b->codes);
	free(b->scratch);
	free(b->query_memory);
}

static double
cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static double
least_time(Bench *b, Operation run)
{
	double		least = 1e30;

	for (int round = 0; round < 7; round++)
	{
		double		start = cpu_time();
		int			calls = 0;

		while (cpu_time() - start < 2e6)
		{
			for (int i = 0; i < 64; i++)
				run(b, i);
			calls += 64;
		}
		least = Min(least, (cpu_time() - start) / calls);
	}
	return least;
}

static void
measure(int dims, OmenQuantizerKind kind)
{
	Bench		b;

	prepare(&b, dims, kind);
	printf("%-8s %-6s %5d", omen_code_kernels->name, b.quant->ops->name, dims);
	for (int i = 0; i < lengthof(operations); i++)
	{
		if (operations[i].links &&
			b.quant->shape.link_kind == OMEN_LINK_NONE)
			continue;
		printf("  %s %.1f", operations[i].name,
			   least_time(&b, operations[i].run) / operations[i].parts);
	}
	printf("\n");
	release(&b);
}

int
main(void)
{
	static const OmenSimdLevel levels[] = {
		OMEN_SIMD_GENERIC, OMEN_SIMD_NEON, OMEN_SIMD_AVX2, OMEN_SIMD_AVX512
	};
	static const int dims[] = {128, 768, 784, 1536};

	omen_distance_init();
	omen_quant_init_kernels();
	for (int l = 0; l < lengthof(levels); l++)
	{
		if (!omen_simd_supported(levels[l]))
			continue;
		omen_simd_assign(levels[l]);
		for (int d = 0; d < lengthof(dims); d++)
			measure(dims[d], OMEN_QUANTIZER_AUTO);
		for (int d = 0; d < lengthof(dims); d++)
			measure(dims[d], OMEN_QUANTIZER_PQ);
	}
	return 0;
}
