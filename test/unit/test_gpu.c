/* link: build/gpu-none/gpu_protocol.o build/gpu-none/helper/build.o build/gpu-none/helper/number.o build/gpu-none/helper/backend_cpu.o build/gpu-none/helper/cpu_parts.o build/gpu-none/helper/cpu_leaves.o build/gpu-none/helper/cpu_links.o */
/*-------------------------------------------------------------------------
 *
 * test_gpu.c
 *	  The helper of GPU builds: frames of its protocol, the steps of
 *	  construction against what they should do, and graphs.
 *
 * Steps are tested on every backend that is there: on the processor always, and
 * on a device by "make check-gpu".
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/build.h"
#include "gpu/helper/number.h"
#include "gpu/helper/rules.h"
#include "random.h"

/* Of a device that is emulated or watched by a tool, not as much can be asked */
#if defined(OMEN_GPU_EMULATED) || defined(OMEN_GPU_SMALL)
#define NODES		1100
#define MOST_NODES	300
#define LINKS		8
#define GRAPHS		1
#define FEW_NODES	132
#define MOST_LINKS	60
#ifdef TENSOR_CORES
#define KINDS		2			/* they concern codes only */
#endif
#else
#define NODES		3000
#define MOST_NODES	12000
#define LINKS		32
#define GRAPHS		8
#define FEW_NODES	420
#define MOST_LINKS	200
#endif

static int	ntests = 0;
static int	nfailed = 0;

static void
ok(bool good, const char *backend, const char *name)
{
	ntests++;
	if (!good)
		nfailed++;
	printf("%sok %d - %s%s%s\n", good ? "" : "not ", ntests, backend,
		   *backend ? ": " : "", name);
}

/* --- protocol --- */

/* All frames in some bytes that come in random pieces; false: a broken one */
static bool
parse_pieces(const char *bytes, size_t length, int *nframes, size_t *total)
{
	OmenGpuParser parser;
	OmenGpuReceived received;
	const char *fault;
	char	   *buffer = malloc(OMEN_GPU_PARSER_SIZE);
	bool		good = true;

	omen_gpu_parser_init(&parser, buffer);
	*nframes = 0;
	*total = 0;
	while (good)
	{
		OmenGpuParse what = omen_gpu_parser_next(&parser, &received, &fault);
		size_t		room;
		size_t		piece;
		char	   *to;

		if (what == OMEN_GPU_FRAME)
		{
			(*nframes)++;
			*total += received.length;
			continue;
		}
		if (what == OMEN_GPU_BROKEN)
			good = false;
		if (length == 0 || !good)
			break;
		to = omen_gpu_parser_room(&parser, &room);
		piece = Min(Min(room, length), 1 + random_bits() % 3000);
		memcpy(to, bytes, piece);
		omen_gpu_parser_fill(&parser, piece);
		bytes += piece;
		length -= piece;
	}
	free(buffer);
	return good;
}

static size_t
add_frame(char *to, OmenGpuMessage type, const char *payload, size_t length)
{
	OmenGpuFrameData frame;
	size_t		part = length / 3;

	omen_gpu_frame(&frame, type, payload, part, payload + part, length - part);
	memcpy(to, &frame, sizeof(frame));
	memcpy(to + sizeof(frame), payload, length);
	return sizeof(frame) + length;
}

static void
test_frames(void)
{
	char	   *payload = malloc(OMEN_GPU_MAX_PAYLOAD);
	char	   *bytes = malloc(4 * OMEN_GPU_PARSER_SIZE);
	size_t		length = 0;
	size_t		sum = 0;
	size_t		total;
	int			nframes;
	int			nwrong = 0;

	for (size_t i = 0; i < OMEN_GPU_MAX_PAYLOAD; i++)
		payload[i] = (char) random_bits();
	for (int i = 0; i < 40; i++)
	{
		size_t		size = i == 7 ? OMEN_GPU_MAX_PAYLOAD :
			i % 5 == 0 ? 0 : random_bits() % 20000;

		length += add_frame(bytes + length, (OmenGpuMessage) (1 + i % 7),
							payload, size);
		sum += size;
	}
	ok(parse_pieces(bytes, length, &nframes, &total) && nframes == 40 &&
	   total == sum, "", "frames come out of pieces as they went in");

	length = add_frame(bytes, OMEN_GPU_LINKS, payload, 40);
	for (size_t i = 0; i < length; i++)
	{
		for (int bit = 0; bit < 8; bit++)
		{
			bytes[i] ^= 1 << bit;
			if (parse_pieces(bytes, length, &nframes, &total) && nframes > 0)
				nwrong++;
			bytes[i] ^= 1 << bit;
		}
	}
	ok(nwrong == 0, "", "no frame with a wrong bit is accepted");
	for (size_t i = 0; i < length; i++)
	{
		if (!parse_pieces(bytes, i, &nframes, &total) || nframes > 0)
			nwrong++;
	}
	ok(nwrong == 0, "", "no frame is taken before its end");
	free(payload);
	free(bytes);
}

static void
test_ranges(void)
{
	OmenGpuRange range = {.first = 10, .count = 5};
	OmenGpuRange got;
	OmenGpuReceived received = {OMEN_GPU_LINKS, (char *) &range, sizeof(range)};
	bool		good = omen_gpu_read_range(&received, 10, 15, &got) == NULL;

	good = good && omen_gpu_read_range(&received, 10, 14, &got) != NULL;
	good = good && omen_gpu_read_range(&received, 9, 20, &got) != NULL;
	received.length--;
	good = good && omen_gpu_read_range(&received, 10, 15, &got) != NULL;
	received.length++;
	range.count = 0;
	good = good && omen_gpu_read_range(&received, 10, 15, &got) != NULL;
	range.count = UINT32_MAX;
	good = good && omen_gpu_read_range(&received, 10, 15, &got) != NULL;
	ok(good, "", "ranges follow each other and do not leave the nodes");
}

static void
test_requests(void)
{
	const OmenGpuRequest usual = {
		.nnodes = 1000, .element = OMEN_GPU_CODE8, .metric = OMEN_GPU_L2,
		.dims = 100, .stride = 128, .max_links = 32, .scale_links = 8,
		.list_size = 64, .rounds = 2
	};
	OmenGpuRequest broken[15];
	bool		good = omen_gpu_check_request(&usual) == NULL;

	for (size_t i = 0; i < lengthof(broken); i++)
		broken[i] = usual;
	broken[0].element = 4;
	broken[1].metric = 0;
	broken[2].metric = OMEN_GPU_L1;
	broken[3].dims = 0;
	broken[4].dims = 16001;
	broken[5].stride = 112;
	broken[6].stride = 1 << 30;
	broken[7].max_links = 201;
	broken[8].scale_links = 32;
	broken[9].list_size = 63;
	broken[10].list_size = 513;
	broken[11].rounds = 0;
	broken[12].nnodes = 1;
	broken[13].nnodes = UINT32_MAX;
	broken[14].nnodes = 1 << 27;
	for (size_t i = 0; i < lengthof(broken); i++)
		good = good && omen_gpu_check_request(&broken[i]) != NULL;
	ok(good, "", "requests with impossible numbers are refused");
}

/* --- vectors --- */

typedef struct Set
{
	BackendShape shape;
	uint8	   *levels;
	uint32	   *order;			/* as they come */
	char	   *codes;
	float	   *x;				/* what they stand for */
} Set;

static uint16
to_half(float f)
{
	uint32		bits;

	memcpy(&bits, &f, sizeof(bits));
	return (uint16) ((bits >> 16 & 0x8000) |
					 ((bits >> 13 & 0x3FFFF) - (112 << 10)));
}

/* Values with 6 significant bits, so that all elements can hold them */
static float
draw_value(uint32 cluster, uint32 dim)
{
	float		centre = (float) (rule_mix(cluster, dim) % 41) - 20;

	return rintf((centre + 9 * (random_unit() + random_unit() - 1)) * 2) / 2 +
		0.25f;
}

static void
set_code(Set *set, uint32 node)
{
	const BackendShape *shape = &set->shape;
	char	   *code = set->codes + (size_t) node * shape->stride;
	float	   *x = set->x + (size_t) node * shape->dims;
	OmenGpuCodeHead head = {.scale = 0.25f};

	for (uint32 i = 0; i < shape->dims; i++)
	{
		head.norm2 += x[i] * x[i];
		if (shape->element == OMEN_GPU_F32)
			((float *) code)[i] = x[i];
		else if (shape->element == OMEN_GPU_F16)
			((uint16 *) code)[i] = to_half(x[i]);
		else
			code[sizeof(head) + i] = (char) (x[i] * 4);
	}
	if (shape->element == OMEN_GPU_CODE8)
		memcpy(code, &head, sizeof(head));
}

static void
set_links(BackendShape *shape, int links)
{
	shape->max_links = links;
	shape->scale_links = links / 4;
	shape->list_size = 2 * links + 11;
}

static Set *
make_set(int element, int metric, uint32 n, uint32 dims)
{
	Set		   *set = calloc(1, sizeof(Set));
	BackendShape *shape = &set->shape;

	shape->nnodes = n;
	shape->spare = omen_gpu_number_spare(n);
	shape->element = element;
	shape->metric = metric;
	shape->dims = dims;
	shape->stride = (element == OMEN_GPU_CODE8 ? 16 + dims :
					 element == OMEN_GPU_F32 ? 4 * dims : 2 * dims);
	shape->stride = TYPEALIGN(16, shape->stride);
	shape->host_memory = UINT64_MAX;
	set_links(shape, LINKS);
	set->levels = malloc(n);
	set->order = malloc(n * sizeof(uint32));
	set->codes = calloc(n, shape->stride);
	set->x = malloc((size_t) n * dims * sizeof(float));
	for (uint32 node = 0; node < n; node++)
	{
		float		norm2 = 0;
		uint32		bits = random_bits();

		set->order[node] = n - 1 - node;
		for (set->levels[node] = 0; (bits & 3) == 0 && bits; bits >>= 2)
			set->levels[node]++;
		for (uint32 i = 0; i < dims; i++)
		{
			float		value = draw_value(node % 37, i);

			set->x[(size_t) node * dims + i] = value;
			norm2 += value * value;
		}
		shape->max_norm2 = Max(shape->max_norm2, norm2);
		set_code(set, node);
	}
	return set;
}

static void
free_set(Set *set)
{
	free(set->levels);
	free(set->order);
	free(set->codes);
	free(set->x);
	free(set);
}

/* The distance of two nodes, by its definition */
static double
distance_of(const Set *set, uint32 a, uint32 b)
{
	const float *x = set->x + (size_t) a * set->shape.dims;
	const float *y = set->x + (size_t) b * set->shape.dims;
	double		xx = 0;
	double		yy = 0;
	double		xy = 0;
	double		l1 = 0;
	double		lift;

	for (uint32 i = 0; i < set->shape.dims; i++)
	{
		xx += (double) x[i] * x[i];
		yy += (double) y[i] * y[i];
		xy += (double) x[i] * y[i];
		l1 += fabs((double) x[i] - y[i]);
	}
	switch (set->shape.metric)
	{
		case OMEN_GPU_L1:
			return l1;
		case OMEN_GPU_UNIT:
			return 2 - 2 * xy / sqrt(xx * yy);
		case OMEN_GPU_LIFTED:
			lift = sqrt(Max(set->shape.max_norm2 - xx, 0)) -
				sqrt(Max(set->shape.max_norm2 - yy, 0));
			return xx + yy - 2 * xy + lift * lift;
		default:
			return xx + yy - 2 * xy;
	}
}

static bool
near_enough(double a, double b)
{
	return fabs(a - b) <= 1e-3 + 1e-4 * fabs(b);
}

static Backend *
load_set(const BackendOps *ops, const Set *set)
{
	char		why[200] = "";
	Backend    *backend = ops->create(&set->shape, why, sizeof(why));

	if (backend == NULL)
	{
		printf("Bail out! %s: %s\n", ops->name, why);
		exit(1);
	}

	/* in pieces, as they come */
	for (uint32 done = 0; done < set->shape.nnodes; done += 1000)
		backend_load(backend, done, Min(1000, set->shape.nnodes - done),
					 set->levels + done,
					 set->codes + (size_t) done * set->shape.stride);
	return backend;
}

/* --- steps --- */

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* A division of 900 items, in four parts, one of which stays together */
enum {NITEMS = 900, NPARTS = 4, NCELLS = 160, FANOUT = 3, TARGET = 60};
static const uint32 part_starts[] = {0, 0, 300, 400, NITEMS};
static const uint32 part_leaders[] = {4, 5, 0, 150};
static const uint32 part_cells[] = {0, 4, 9, 10, NCELLS};

typedef struct Dealt
{
	uint32		before[NITEMS];
	uint32		leaders[NCELLS];
	uint32		counts[NCELLS];
	uint32		nearest[NITEMS];
	uint32		after[NITEMS * FANOUT];
	bool		cut[NPARTS];
} Dealt;

/* Leaders are as they are drawn, or others that are said */
static void
choose_leaders(const Set *set, BackendDivision *division, Dealt *dealt)
{
	for (int p = 0; p < NPARTS; p++)
	{
		uint32		size = part_starts[p + 1] - part_starts[p];

		for (uint32 i = 0; size > 0 && i < part_leaders[p]; i++)
			dealt->leaders[part_cells[p] + i] =
				dealt->before[part_starts[p] +
							  rule_stratum(rule_mix(division->purpose, p), i,
										   size, part_leaders[p])];
	}
	if (division->leaders != NULL)
	{
		for (int i = 0; i < NCELLS; i++)
			dealt->leaders[i] = (i * 31 + 5) % set->shape.nnodes;
	}
}

static bool
deal(const BackendOps *ops, Backend *backend, BackendDivision *division,
	 Dealt *dealt)
{
	if (!ops->enter(backend, dealt->before, NITEMS) ||
		!ops->assign(backend, division, dealt->counts, dealt->nearest))
		return false;
	for (uint32 i = part_cells[3]; dealt->cut[3] && i < NCELLS; i++)
	{
		uint32		done = (i - part_cells[3]) * TARGET;

		dealt->counts[i] = done < 500 ? Min(TARGET, 500 - done) : 0;
	}
	return ops->deal(backend, division, dealt->cut, dealt->counts) &&
		ops->items(backend, dealt->after);
}

/* How many of the leaders are nearer to an item than that of a cell */
static int
nearer_leaders(const Set *set, const Dealt *dealt, int part, uint32 item,
			   uint32 cell)
{
	double		distance = distance_of(set, item, dealt->leaders[cell]);
	int			nnearer = 0;

	for (uint32 i = 0; i < part_leaders[part]; i++)
	{
		double		other = distance_of(set, item, dealt->leaders
										[part_cells[part] + i]);

		nnearer += other < distance && !near_enough(other, distance);
	}
	return nnearer;
}

/* The items of a cell, from *at on, belong there and are in their old order */
static bool
is_cell_right(const Set *set, const Dealt *dealt, int part, uint32 cell,
			  uint32 *at)
{
	uint32		place = part_starts[part];

	for (uint32 i = 0; i < dealt->counts[cell]; i++)
	{
		uint32		item = dealt->after[(*at)++];

		while (place < part_starts[part + 1] && dealt->before[place] != item)
			place++;
		if (place == part_starts[part + 1])
			return false;
		if (!dealt->cut[part] && part_leaders[part] > 0 &&
			nearer_leaders(set, dealt, part, item, cell) >= FANOUT)
			return false;
		if (dealt->cut[part] &&
			(place - part_starts[part]) / TARGET != cell - part_cells[part])
			return false;
		place++;
	}
	return true;
}

/* What the items of each cell stand for comes to this, but for rounding */
static bool
are_sums_right(const Set *set, const Dealt *dealt, const float *sums)
{
	uint32		dims = set->shape.dims;
	uint32		at = 0;

	for (uint32 cell = 0; cell < NCELLS; cell++)
	{
		for (uint32 i = 0; i < dims; i++)
		{
			double		sum = 0;
			double		size = 0;

			for (uint32 j = at; j < at + dealt->counts[cell]; j++)
			{
				const float *x = set->x + (size_t) dealt->after[j] * dims;
				double		norm2 = 0;

				for (uint32 k = 0; k < dims; k++)
					norm2 += (double) x[k] * x[k];
				if (set->shape.metric != OMEN_GPU_UNIT)
					norm2 = 1;
				sum += x[i] / sqrt(norm2);
				size += fabs(x[i] / sqrt(norm2));
			}
			if (fabs(sum - sums[(size_t) cell * dims + i]) > 1e-5 * size)
				return false;
		}
		at += dealt->counts[cell];
	}
	return true;
}

/* Items follow the nearest leaders, and get to them */
static void
test_division(const BackendOps *ops, const Set *set, bool drawn, bool cut,
			  const char *name)
{
	Dealt	   *dealt = calloc(1, sizeof(Dealt));
	BackendDivision division = {
		.nparts = NPARTS, .starts = part_starts, .nleaders = part_leaders,
		.cells = part_cells, .leaders = drawn ? NULL : dealt->leaders,
		.purpose = 42, .fanout = FANOUT, .target = TARGET
	};
	Backend    *backend = load_set(ops, set);
	float	   *sums = malloc(NCELLS * set->shape.dims * sizeof(float));
	uint32		at = 0;
	bool		good;

	for (int i = 0; i < NITEMS; i++)
		dealt->before[i] = (i * 7 + 3) % set->shape.nnodes;
	dealt->cut[3] = cut;
	choose_leaders(set, &division, dealt);
	good = deal(ops, backend, &division, dealt);
	for (int p = 0; p < NPARTS; p++)
	{
		for (uint32 i = part_starts[p]; i < part_starts[p + 1]; i++)
			good = good && dealt->nearest[i] >= part_cells[p] &&
				dealt->nearest[i] < part_cells[p + 1] &&
				(part_leaders[p] == 0 ||
				 nearer_leaders(set, dealt, p, dealt->before[i],
								dealt->nearest[i]) == 0);
		for (uint32 cell = part_cells[p]; cell < part_cells[p + 1]; cell++)
			good = good && is_cell_right(set, dealt, p, cell, &at);
	}
	good = good && ops->sum(backend, NCELLS, dealt->counts, sums) &&
		are_sums_right(set, dealt, sums);
	ops->destroy(backend);
	free(sums);
	free(dealt);
	ok(good && at == (cut ? 300 * FANOUT + 600 : 800 * FANOUT + 100),
	   ops->name, name);
}

/* The nearest of one node among all, as an exact search has it */
static void
test_search(const BackendOps *ops, const Set *set, const char *name)
{
	enum {NQUERIES = 30, K = 12};
	uint32		nearest[NQUERIES * K];
	float		distances[NQUERIES * K];
	Backend    *backend = load_set(ops, set);
	uint32		n = set->shape.nnodes;
	double	   *all = malloc(n * sizeof(double));
	bool		good = ops->search(backend, set->codes, NQUERIES, K, nearest,
								   distances);

	for (uint32 q = 0; q < NQUERIES; q++)
	{
		for (uint32 i = 0; i < n; i++)
			all[i] = distance_of(set, q, i);
		qsort(all, n, sizeof(double), compare_doubles);
		for (int i = 0; i < K; i++)
			good = good && nearest[q * K + i] < n &&
				near_enough(distance_of(set, q, nearest[q * K + i]), all[i]) &&
				near_enough(distances[q * K + i], all[i]);
	}
	free(all);
	ops->destroy(backend);
	ok(good, ops->name, name);
}

/* Number the rows of a set; clusters[] and rows[] are to be freed */
static bool
number_set(const BackendOps *ops, const Set *set, uint32 **clusters,
		   uint32 **rows)
{
	uint32		n = set->shape.nnodes;
	uint32		nsample = omen_gpu_sample_size(n);
	uint8	   *sample = malloc((size_t) nsample * set->shape.stride);
	Backend    *backend = load_set(ops, set);
	bool		good;

	for (uint32 i = 0; i < nsample; i++)
		memcpy(sample + (size_t) i * set->shape.stride, set->codes +
			   (size_t) omen_gpu_sample_row(42, n, i) * set->shape.stride,
			   set->shape.stride);
	*clusters = malloc(n * sizeof(uint32));
	*rows = malloc(n * sizeof(uint32));
	good = omen_gpu_number(backend, 42, sample, *clusters, *rows);
	ops->destroy(backend);
	free(sample);
	return good;
}

/* All rows once, by cluster; how many clusters have any, 0 if that is not so */
static uint32
count_clusters(const Set *set, const uint32 *clusters, const uint32 *rows)
{
	uint32		n = set->shape.nnodes;
	uint32		count = 1;

	for (uint32 i = 0; i < n; i++)
	{
		if (rows[i] >= n || clusters[rows[i]] >= omen_gpu_number_spare(n))
			return 0;
		if (i == 0 || clusters[rows[i]] == clusters[rows[i - 1]])
		{
			if (i > 0 && rows[i] <= rows[i - 1])
				return 0;
			continue;
		}
		if (clusters[rows[i]] < clusters[rows[i - 1]])
			return 0;
		count++;
	}
	return count;
}

/* Part of the rows that are where most of their kind are; see make_set() */
static double
kept_together(const Set *set, const uint32 *clusters)
{
	uint32		n = set->shape.nnodes;
	uint32		nclusters = omen_gpu_number_spare(n);
	uint32	   *counts = malloc(nclusters * sizeof(uint32));
	uint32		together = 0;

	for (uint32 kind = 0; kind < 37; kind++)
	{
		uint32		most = 0;

		memset(counts, 0, nclusters * sizeof(uint32));
		for (uint32 row = kind; row < n; row += 37)
		{
			counts[clusters[row]]++;
			most = Max(most, counts[clusters[row]]);
		}
		together += most;
	}
	free(counts);
	return (double) together / n;
}

/* Rows that are near to each other are of one coarse cluster */
static void
test_number(const BackendOps *ops, int element, int metric, const char *name)
{
	Set		   *set = make_set(element, metric, 6500, 24);
	uint32	   *clusters;
	uint32	   *rows;
	bool		good = number_set(ops, set, &clusters, &rows);
	uint32		nclusters = good ? count_clusters(set, clusters, rows) : 0;
	double		together = good ? kept_together(set, clusters) : 0;
	char		text[200];

	snprintf(text, sizeof(text), "%s: %u coarse clusters, %.2f of near rows in one",
			 name, nclusters, together);
	ok(nclusters >= 5 && nclusters <= 8 && together > 0.85, ops->name, text);
	if (ops != &omen_backend_cpu && element == OMEN_GPU_CODE8)
	{
		uint32	   *other;
		uint32	   *other_rows;

		good = number_set(&omen_backend_cpu, set, &other, &other_rows);
		snprintf(text, sizeof(text), "%s: clusters as on the processor", name);
		ok(good && memcmp(clusters, other, 6500 * sizeof(uint32)) == 0,
		   ops->name, text);
		free(other);
		free(other_rows);
	}
	free(clusters);
	free(rows);
	free_set(set);
}

/* Rows of which there are few, or many that are equal */
static void
test_few_numbers(const BackendOps *ops)
{
	bool		good = true;

	for (uint32 n = 1; n <= 7000; n = n * 6 + 1)
	{
		Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, n, 16);
		uint32	   *clusters;
		uint32	   *rows;

		for (uint32 node = 0; node < n * 11 / 12; node++)
		{
			memcpy(set->x + node * 16, set->x, 16 * sizeof(float));
			set_code(set, node);
		}
		good = good && number_set(ops, set, &clusters, &rows) &&
			count_clusters(set, clusters, rows) > 0;
		free(clusters);
		free(rows);
		free_set(set);
	}
	ok(good, ops->name, "clusters of few rows, and of equal ones");
}

static void
no_progress(void *arg, uint64_t done, uint64_t total)
{
	uint64	   *last = arg;

	if (done < *last || done > total)
		*last = UINT64_MAX;
	else
		*last = done;
}

typedef struct Graph
{
	uint32	   *links;
	uint8	   *nlinks;
	uint8	   *nscale;
} Graph;

/* Fetch links, and turn the numbers of nodes back */
static bool
fetch_graph(const BackendOps *ops, Backend *backend, const Set *set,
			Graph *graph)
{
	uint32		n = set->shape.nnodes;
	int			max_links = set->shape.max_links;
	BackendLinks got;

	for (uint32 done = 0; done < n; done += got.count)
	{
		if (!ops->fetch(backend, done, &got) || got.count == 0 ||
			got.count > n - done)
			return false;
		for (uint32 i = 0; i < got.count; i++)
		{
			uint32		node = set->order[done + i];
			const uint32 *links = got.links + (size_t) i * max_links;

			graph->nlinks[node] = got.nlinks[i];
			graph->nscale[node] = got.nscale[i];
			for (int j = 0; j < got.nlinks[i]; j++)
				graph->links[(size_t) node * max_links + j] =
					set->order[links[j]];
		}
	}
	return true;
}

/* Steps that are called instead of the backend's own, if there are any */
static const BackendOps *other_ops;

static Graph
build_graph(const BackendOps *ops, const Set *set, uint32 batch_rows,
			bool *good)
{
	uint32		n = set->shape.nnodes;
	Backend    *backend = load_set(ops, set);
	uint64		last = 0;
	BuildParams params = {
		.levels = set->levels, .order = set->order, .rounds = 2, .seed = 42,
		.progress = no_progress, .progress_arg = &last
	};
	Graph		graph;

	backend->batch_rows = Min(backend->batch_rows, batch_rows);
	if (other_ops != NULL)
		backend->ops = other_ops;
	graph.links = calloc((size_t) n * set->shape.max_links, sizeof(uint32));
	graph.nlinks = calloc(n, 1);
	graph.nscale = calloc(n, 1);
	*good = omen_gpu_build(backend, &params) && last != UINT64_MAX &&
		backend->pairs > 0 && fetch_graph(ops, backend, set, &graph);
	ops->destroy(backend);
	return graph;
}

static void
free_graph(Graph *graph)
{
	free(graph->links);
	free(graph->nlinks);
	free(graph->nscale);
}

/* What the server checks of every node, and that most links are used */
static bool
is_well_formed(const Set *set, const Graph *graph)
{
	int			max_links = set->shape.max_links;
	uint64		total = 0;

	for (uint32 node = 0; node < set->shape.nnodes; node++)
	{
		const uint32 *links = graph->links + (size_t) node * max_links;
		int			nlinks = graph->nlinks[node];
		int			nlocal = nlinks - graph->nscale[node];
		double		before = 0;

		total += nlinks;
		if (nlinks > max_links || nlocal < 0 || graph->nscale[node] >
			(set->levels[node] > 0 ? set->shape.scale_links : 0))
			return false;
		for (int i = 0; i < nlinks; i++)
		{
			double		distance;

			if (links[i] >= set->shape.nnodes || links[i] == node)
				return false;
			for (int j = 0; j < i; j++)
			{
				if (links[i] == links[j])
					return false;
			}
			distance = distance_of(set, node, links[i]);
			if (i < nlocal && distance < before - 1e-3 - 1e-3 * before)
				return false;
			if (i >= nlocal && set->levels[links[i]] < set->levels[node])
				return false;
			before = distance;
		}
	}
	return total > (uint64) set->shape.nnodes * Min(max_links * 3 / 4, 24);
}

/* Part of the nodes whose nearest other node a walk along links finds */
static double
walk_recall(const Set *set, const Graph *graph)
{
	enum {POOL = 60, NQUERIES = 100, NSEEDS = 64};
	uint32		n = set->shape.nnodes;
	int			nfound = 0;

	for (int q = 0; q < NQUERIES; q++)
	{
		uint32		query = (uint32) ((uint64) n * q / NQUERIES);
		double		pool_distance[POOL + 1];
		uint32		pool[POOL + 1];
		bool		visited[POOL + 1];
		bool	   *seen = calloc(n, sizeof(bool));
		double		nearest = INFINITY;
		int			npool = 0;
		uint32		next = UINT32_MAX;

		for (uint32 i = 0; i < n; i++)
		{
			if (i != query)
				nearest = Min(nearest, distance_of(set, query, i));
		}
		seen[query] = true;
		for (;;)
		{
			int			count = next == UINT32_MAX ? NSEEDS : graph->nlinks[next];

			for (int i = 0; i < count; i++)
			{
				uint32		other = next == UINT32_MAX ? n / NSEEDS * i :
					graph->links[(size_t) next * set->shape.max_links + i];
				double		distance;
				int			at;

				if (seen[other])
					continue;
				seen[other] = true;
				distance = distance_of(set, query, other);
				for (at = npool; at > 0 && distance < pool_distance[at - 1]; at--)
				{
					pool[at] = pool[at - 1];
					pool_distance[at] = pool_distance[at - 1];
					visited[at] = visited[at - 1];
				}
				pool[at] = other;
				pool_distance[at] = distance;
				visited[at] = false;
				npool = Min(npool + 1, POOL);
			}
			for (count = 0; count < npool && visited[count]; count++)
				;
			if (count == npool)
				break;
			visited[count] = true;
			next = pool[count];
		}
		nfound += pool_distance[0] <= nearest + 1e-3;
		free(seen);
	}
	return (double) nfound / NQUERIES;
}

static bool
same_graph(const Set *set, const Graph *a, const Graph *b)
{
	uint32		n = set->shape.nnodes;

	if (memcmp(a->nlinks, b->nlinks, n) != 0 ||
		memcmp(a->nscale, b->nscale, n) != 0)
		return false;
	for (uint32 node = 0; node < n; node++)
	{
		size_t		at = (size_t) node * set->shape.max_links;

		if (memcmp(a->links + at, b->links + at,
				   a->nlinks[node] * sizeof(uint32)) != 0)
			return false;
	}
	return true;
}

static void
test_graph(const BackendOps *ops, const Set *set, const char *name)
{
	bool		good;
	Graph		graph = build_graph(ops, set, BATCH_ROWS, &good);
	Graph		other;
	double		recall;
	char		text[200];

	ok(good && is_well_formed(set, &graph), ops->name, name);
	recall = walk_recall(set, &graph);
	snprintf(text, sizeof(text), "%s: walks find %.2f of nearest nodes", name,
			 recall);
	ok(recall >= 0.95, ops->name, text);

	if (ops == &omen_backend_cpu)
	{
		other = build_graph(ops, set, 2000, &good);
		snprintf(text, sizeof(text), "%s: the same in small batches", name);
		ok(good && same_graph(set, &graph, &other), ops->name, text);
		free_graph(&other);
	}

	/* codes of 8 bits have the same distances everywhere, to the last bit */
	if (ops != &omen_backend_cpu && set->shape.element == OMEN_GPU_CODE8)
	{
		other = build_graph(&omen_backend_cpu, set, 2000, &good);
		snprintf(text, sizeof(text), "%s: the same as on the processor, in small batches", name);
		ok(same_graph(set, &graph, &other), ops->name, text);
		free_graph(&other);
	}
	free_graph(&graph);
}

/* Equal vectors, of which no leader makes parts */
static void
test_equal(const BackendOps *ops)
{
	Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, 2 * NODES, 16);
	bool		good;
	Graph		graph;

	for (uint32 node = 0; node < NODES * 11 / 6; node++)
	{
		memcpy(set->x + node * 16, set->x, 16 * sizeof(float));
		set_code(set, node);
	}
	graph = build_graph(ops, set, BATCH_ROWS, &good);
	ok(good && is_well_formed(set, &graph), ops->name, "nearly all vectors are equal");
	if (ops != &omen_backend_cpu)
	{
		Graph		other = build_graph(&omen_backend_cpu, set, 2000, &good);

		ok(good && same_graph(set, &graph, &other), ops->name,
		   "nearly all are equal: the same as on the processor");
		free_graph(&other);
	}
	free_graph(&graph);
	free_set(set);
}

/* The first division of a build, as it is asked for */
static const BackendOps *asked_ops;
static uint32 asked_leaders;

static bool
note_division(Backend *backend, const BackendDivision *division,
			  uint32 *counts, uint32 *cells)
{
	if (asked_leaders == 0)
		asked_leaders = division->nleaders[0];
	return asked_ops->assign(backend, division, counts, cells);
}

/*
 * The server draws a leader for 4000 nodes, however many each follows; with
 * more, there are fewer near nodes in the same cluster.
 */
static void
test_leaders(const BackendOps *ops)
{
	enum {N = 15000};
	Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, N, 8);
	Backend    *backend = load_set(ops, set);
	uint64		last = 0;
	BuildParams params = {
		.levels = set->levels, .order = set->order, .rounds = 1, .seed = 42,
		.progress = no_progress, .progress_arg = &last
	};
	BackendOps	noting = *ops;
	bool		good;

	asked_ops = ops;
	asked_leaders = 0;
	noting.assign = note_division;
	backend->ops = &noting;
	good = omen_gpu_build(backend, &params);
	ops->destroy(backend);
	free_set(set);
	ok(good && asked_leaders == (N + 2000) / 4000, ops->name,
	   "as many clusters as the server makes");
}

/* Lists of all lengths, for which a device has kernels of their own */
static void
test_lengths(const BackendOps *ops)
{
	static const int links[] = {2, 10, 20, 36, 52, MOST_LINKS};

	for (size_t i = 0; i < 2 * lengthof(links); i++)
	{
		bool		is_code = i % 2 == 0;
		Set		   *set = make_set(is_code ? OMEN_GPU_CODE8 : OMEN_GPU_F32,
								   OMEN_GPU_L2, FEW_NODES, is_code ? 200 : 20);
		bool		good;
		Graph		graph;
		char		text[200];

		set_links(&set->shape, links[i / 2]);
		graph = build_graph(ops, set, BATCH_ROWS, &good);
		good = good && is_well_formed(set, &graph);
		if (ops != &omen_backend_cpu && is_code)
		{
			Graph		other = build_graph(&omen_backend_cpu, set,
											BATCH_ROWS, &good);

			good = good && same_graph(set, &graph, &other);
			free_graph(&other);
		}
		snprintf(text, sizeof(text), "%s: graph with %d links",
				 is_code ? "codes" : "float32", links[i / 2]);
		ok(good, ops->name, text);
		free_graph(&graph);
		free_set(set);
	}
}

static bool
compare_plainly(Backend *backend, uint32_t nparts, const uint32_t *starts,
				int keep, bool thin)
{
	return asked_ops->compare(backend, nparts, starts, keep, false);
}

/* A graph for which no leaf is thinned */
static Graph
build_plainly(const BackendOps *ops, const Set *set, bool *good)
{
	BackendOps	plain = *ops;
	Graph		graph;

	asked_ops = ops;
	plain.compare = compare_plainly;
	other_ops = &plain;
	graph = build_graph(ops, set, 2000, good);
	other_ops = NULL;
	return graph;
}

/* Vectors of which each has near copies, with numbers that follow its own */
static Set *
make_copies(uint32 n, uint32 dims, uint32 copies)
{
	Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, n, dims);

	set_links(&set->shape, 8);
	for (uint32 node = 0; node < n; node++)
	{
		const float *first = set->x + (size_t) (node / copies * copies) * dims;

		for (uint32 i = 0; node % copies > 0 && i < dims; i++)
			set->x[(size_t) node * dims + i] = first[i] +
				0.5f * (random_bits() % 3);
		set_code(set, node);
	}
	return set;
}

/* Links to other vectors than copies, of a node */
static double
count_others(const Set *set, const Graph *graph, uint32 copies)
{
	uint64		nothers = 0;

	for (uint32 node = 0; node < set->shape.nnodes; node++)
	{
		for (int i = 0; i < graph->nlinks[node] - graph->nscale[node]; i++)
			nothers += graph->links[(size_t) node * set->shape.max_links + i] /
				copies != node / copies;
	}
	return (double) nothers / set->shape.nnodes;
}

/*
 * In sets of near copies, links lead to others, too, as leaves are thinned.  Where
 * all that a row passes on would be copies, their number tells, and others are drawn;
 * too many are a cluster.
 */
static void
test_copies(const BackendOps *ops, uint32 copies)
{
	Set		   *set = make_copies(NODES, 24, copies);
	bool		good;
	bool		good_plain;
	Graph		graph = build_graph(ops, set, 2000, &good);
	Graph		plain = build_plainly(&omen_backend_cpu, set, &good_plain);
	Graph		other;
	double		nothers = count_others(set, &graph, copies);
	double		nplain = count_others(set, &plain, copies);
	char		text[200];

	snprintf(text, sizeof(text), "%u near copies: %.1f links to others, %.1f if leaves are not thinned",
			 copies, nothers, nplain);
	ok(good && good_plain && is_well_formed(set, &graph) &&
	   (nothers > nplain + 0.3) == (copies <= 64), ops->name, text);
	if (ops != &omen_backend_cpu)
	{
		other = build_graph(&omen_backend_cpu, set, 2000, &good);
		snprintf(text, sizeof(text), "%u near copies: the same as on the processor",
				 copies);
		ok(good && same_graph(set, &graph, &other), ops->name, text);
		free_graph(&other);
	}
	free_graph(&plain);
	free_graph(&graph);
	free_set(set);
}

/* Inner product; some vectors are many times as long as others */
static Set *
make_long(uint32 n, uint32 dims)
{
	Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_LIFTED, n, dims);

	set->shape.max_norm2 = 0;
	for (uint32 node = 0; node < n; node++)
	{
		float		length = 0.15f + 0.85f * powf((float) random_unit(), 4);
		float		norm2 = 0;

		for (uint32 i = 0; i < dims; i++)
		{
			float	   *x = &set->x[(size_t) node * dims + i];

			*x = rintf(*x * length * 4) / 4;
			norm2 += *x * *x;
		}
		set->shape.max_norm2 = Max(set->shape.max_norm2, norm2);
		set_code(set, node);
	}
	return set;
}

static double
norm2_of(const Set *set, uint32 node)
{
	const float *x = set->x + (size_t) node * set->shape.dims;
	double		norm2 = 0;

	for (uint32 i = 0; i < set->shape.dims; i++)
		norm2 += x[i] * x[i];
	return norm2;
}

/* Local links of the longest sixteenth that lead to such, on an average */
static double
count_mutual(const Set *set, const Graph *graph)
{
	uint32		n = set->shape.nnodes;
	double	   *norms = malloc(n * sizeof(double));
	uint64		nmutual = 0;
	double		limit;

	for (uint32 node = 0; node < n; node++)
		norms[node] = norm2_of(set, node);
	qsort(norms, n, sizeof(double), compare_doubles);
	limit = norms[n - n / 16];
	free(norms);
	for (uint32 node = 0; node < n; node++)
	{
		for (int i = 0; norm2_of(set, node) > limit &&
			 i < graph->nlinks[node] - graph->nscale[node]; i++)
			nmutual += norm2_of(set, graph->links[(size_t) node *
												  set->shape.max_links + i]) > limit;
	}
	return (double) nmutual / (n / 16);
}

/* All are of equal length, as far as is told */
static bool
equal_lifts(Backend *backend, float *lifts)
{
	memset(lifts, 0, backend->shape.nnodes * sizeof(float));
	return true;
}

/* Long vectors are linked to each other, as the server does it */
static void
test_long(const BackendOps *ops)
{
	Set		   *set = make_long(NODES, 24);
	BackendOps	plain = *ops;
	bool		good;
	bool		good_plain;
	Graph		graph = build_graph(ops, set, BATCH_ROWS, &good);
	Graph		other;
	double		nmutual = count_mutual(set, &graph);
	double		nplain;
	char		text[200];

	plain.lifts = equal_lifts;
	other_ops = &plain;
	other = build_graph(ops, set, BATCH_ROWS, &good_plain);
	other_ops = NULL;
	nplain = count_mutual(set, &other);
	snprintf(text, sizeof(text), "long vectors: %.1f links to each other, %.1f without sets of their own",
			 nmutual, nplain);
	ok(good && good_plain && is_well_formed(set, &graph) &&
	   nmutual > 1.25 * nplain, ops->name, text);
	free_graph(&other);
	if (ops != &omen_backend_cpu)
	{
		other = build_graph(&omen_backend_cpu, set, 2000, &good);
		ok(good && same_graph(set, &graph, &other), ops->name,
		   "long vectors: the same as on the processor");
		free_graph(&other);
	}
	free_graph(&graph);
	free_set(set);
}

#ifdef OMEN_GPU_EMULATED
extern size_t emulated_peak;
#endif

/* The least memory that a set can be built with while so much is beside */
static uint64
find_memory(const BackendOps *ops, Set *set, BackendBeside beside)
{
	for (uint64 memory = 1 << 20; memory < 1 << 30; memory += memory / 128)
	{
		char		why[200];
		Backend    *backend;
		bool		found;

		set->shape.device_memory = memory;
		backend = ops->create(&set->shape, why, sizeof(why));
		found = backend && backend->beside == beside;
		if (backend)
			ops->destroy(backend);
		if (found)
			return memory;
	}
	return 0;
}

/* A graph built with little memory is that which is built with more */
static void
test_memory(const BackendOps *ops, Set *set, int links, BackendBeside beside,
			const char *name)
{
	bool		good;
	bool		good_other;
	Graph		graph;
	Graph		other;

	set_links(&set->shape, links);
	graph = build_graph(set->shape.element == OMEN_GPU_CODE8 ?
						&omen_backend_cpu : ops, set, 2000, &good);
	good = good && find_memory(ops, set, beside) > 0;
#ifdef OMEN_GPU_EMULATED
	emulated_peak = 0;
#endif
	other = build_graph(ops, set, BATCH_ROWS, &good_other);
#ifdef OMEN_GPU_EMULATED
	good = good && emulated_peak <= set->shape.device_memory;
#endif
	ok(good && good_other && same_graph(set, &graph, &other), ops->name, name);
	free_graph(&graph);
	free_graph(&other);
	free_set(set);
}

/* Clusters likewise, and a set that does not fit at all */
static void
test_little_memory(const BackendOps *ops)
{
	Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, 6500, 24);
	uint32	   *clusters[2] = {NULL, NULL};
	uint32	   *rows[2] = {NULL, NULL};
	char		why[200] = "";
	bool		good = number_set(ops, set, &clusters[0], &rows[0]) &&
		find_memory(ops, set, BESIDE_CODES) > 0 &&
		number_set(ops, set, &clusters[1], &rows[1]);

	ok(good && memcmp(clusters[0], clusters[1], 6500 * sizeof(uint32)) == 0,
	   ops->name, "codes beside: the same clusters");
	test_search(ops, set, "codes beside: exact search");
	set->shape.device_memory = 1 << 20;
	ok(ops->create(&set->shape, why, sizeof(why)) == NULL &&
	   strstr(why, "6500 vectors take") != NULL, ops->name,
	   "a set that does not fit is refused");
	for (int i = 0; i < 2; i++)
	{
		free(clusters[i]);
		free(rows[i]);
	}
	free_set(set);
	test_memory(ops, make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, NODES, 40), 32,
				BESIDE_LISTS, "lists beside: the same graph");
	test_memory(ops, make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, NODES, 40), 22,
				BESIDE_CODES, "codes beside: the same graph");
	test_memory(ops, make_long(NODES, 40), 22, BESIDE_CODES,
				"codes beside, long vectors: the same graph");
	test_memory(ops, make_copies(NODES, 40, 25), 22, BESIDE_CODES,
				"codes beside, near copies: the same graph");
	test_memory(ops, make_set(OMEN_GPU_F32, OMEN_GPU_L2, NODES, 40), LINKS,
				BESIDE_CODES, "vectors beside: the same graph");
}

static void
test_backend(const BackendOps *ops)
{
	static const struct
	{
		int			element;
		int			metric;
		const char *name;
	}			kinds[] = {
		{OMEN_GPU_CODE8, OMEN_GPU_L2, "codes, L2"},
		{OMEN_GPU_CODE8, OMEN_GPU_LIFTED, "codes, inner product"},
		{OMEN_GPU_F32, OMEN_GPU_L2, "float32, L2"},
		{OMEN_GPU_F32, OMEN_GPU_LIFTED, "float32, inner product"},
		{OMEN_GPU_F32, OMEN_GPU_UNIT, "float32, cosine"},
		{OMEN_GPU_F32, OMEN_GPU_L1, "float32, L1"},
		{OMEN_GPU_F16, OMEN_GPU_L2, "float16, L2"},
		{OMEN_GPU_F16, OMEN_GPU_L1, "float16, L1"},
	};
	char		text[200];

#ifndef KINDS
#define KINDS		lengthof(kinds)
#endif
	for (size_t i = 0; i < KINDS; i++)
	{
		Set		   *set = make_set(kinds[i].element, kinds[i].metric, NODES,
								   i % 2 ? 33 : 48);

		snprintf(text, sizeof(text), "%s: nearest leaders", kinds[i].name);
		test_division(ops, set, false, false, text);
		snprintf(text, sizeof(text), "%s: leaders drawn, a part cut up",
				 kinds[i].name);
		test_division(ops, set, true, true, text);
		if (kinds[i].metric != OMEN_GPU_LIFTED)
		{
			snprintf(text, sizeof(text), "%s: exact search", kinds[i].name);
			test_search(ops, set, text);
		}
		test_number(ops, kinds[i].element, kinds[i].metric, kinds[i].name);
		snprintf(text, sizeof(text), "%s: graph", kinds[i].name);
		if (i < GRAPHS || kinds[i].element == OMEN_GPU_F16)
			test_graph(ops, set, text);
		free_set(set);
	}
	test_lengths(ops);
	for (uint32 copies = 10; copies < 100; copies *= 3)
		test_copies(ops, copies);
	if (KINDS < lengthof(kinds))
		return;
	for (uint32 n = 2; n <= MOST_NODES; n = n * 5 + 1)
	{
		Set		   *set = make_set(OMEN_GPU_CODE8, OMEN_GPU_L2, n, 24);
		bool		good;
		Graph		graph = build_graph(ops, set, BATCH_ROWS, &good);

		snprintf(text, sizeof(text), "graph of %u", n);
		ok(good && (n < 40 || is_well_formed(set, &graph)), ops->name, text);
		free_graph(&graph);
		free_set(set);
	}
	test_long(ops);
	test_equal(ops);
	test_few_numbers(ops);
	if (ops != &omen_backend_cpu)
		test_little_memory(ops);
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_frames();
	test_ranges();
	test_requests();
#ifndef OMEN_GPU_EMULATED
	test_backend(&omen_backend_cpu);
#endif
	test_leaders(&omen_backend_cpu);
#ifdef OMEN_GPU_DEVICE
	{
		char		name[64];
		char		why[200];
		uint64_t	memory;

		if (omen_device_probe(name, sizeof(name), &memory, why, sizeof(why)))
			test_backend(omen_device_ops());
		else
			printf("# no device: %s\n", why);
	}
#endif
	printf("1..%d\n", ntests);
	return nfailed > 0;
}
