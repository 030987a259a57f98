/*-------------------------------------------------------------------------
 *
 * number.c
 *	  Coarse clusters of all rows, by which nodes are numbered.
 *
 * The method is that of src/graph/graph_build_place.c: rows join the nearest of
 * about n/4000 leaders, and those of each leader the nearest of its coarse
 * leaders, one for about 1000 rows; leaders are the middle of those near to them
 * in a sample, and numbered along a chain of near ones.  Where it differs: one
 * sample of all rows serves both divisions, and each division is done at once for
 * all parts.
 *
 * Leaders are formed by the host, from the codes of the sample, and loaded into
 * the places behind the rows.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "distance/half.h"
#include "gpu/gpu_protocol.h"
#include "gpu/helper/number.h"
#include "gpu/helper/rules.h"

/* As in src/graph, where the numbers are explained */
#define TOP_SIZE		4000
#define COARSE_SIZE		1000
#define LEADER_SAMPLE	64
#define LEADER_ROUNDS	2

/* The largest integer of a code */
#define CODE_MAX		127

/*
 * A division of parts.  Those of part p are rows[starts[p]] and on, and its leaders
 * numbers leader_starts[p] and on.  The sample is listed by part as well; a part
 * that is not divided has one leader, which nobody asks for.
 */
typedef struct Numbering
{
	Backend    *backend;
	uint64_t	seed;
	const uint8_t *sample;		/* codes */
	uint32_t	nsample;
	uint32_t	nparts;
	uint32_t   *rows;			/* by part */
	uint32_t   *starts;

	/* the sample by part: its members, and their rows */
	uint32_t   *members;
	uint32_t   *member_rows;
	uint32_t   *member_starts;
	uint32_t   *of_members;		/* the part that each will be of */
	uint32_t   *follows;		/* whom they follow, in the order of member_rows */

	/* leaders by part */
	uint32_t	nleaders;
	uint32_t   *leader_counts;	/* of each part, 0 if it is not divided */
	uint32_t   *leader_starts;
	uint32_t   *leaders;		/* their places */
	uint8_t    *codes;
	float	   *x;				/* what they stand for, dims of each */
	float	   *mean_dots;
	uint32_t   *counts;
	uint32_t   *ranks;			/* numbers of the parts that they make */
} Numbering;

/* n items, if about "target" follow each leader */
static uint32_t
count_leaders(uint32_t n, uint32_t target)
{
	return Max(1, Min((n + target / 2) / target, LEADERS_MAX));
}

uint32_t
omen_gpu_sample_size(uint32_t n)
{
	return Min(n, LEADER_SAMPLE * Max(1, n / COARSE_SIZE));
}

uint32_t
omen_gpu_sample_row(uint64_t seed, uint32_t n, uint32_t i)
{
	return rule_stratum(rule_mix(seed, 3), i, n, omen_gpu_sample_size(n));
}

uint32_t
omen_gpu_number_spare(uint32_t n)
{
	return n / COARSE_SIZE + LEADERS_MAX;
}

/* --- codes --- */

static float
read_value(const BackendShape *shape, const uint8_t *code, uint32_t i)
{
	return shape->element == OMEN_GPU_F16 ?
		omen_half_to_float(((const OmenHalf *) code)[i]) :
		((const float *) code)[i];
}

/* Of a code of 8 bits */
static OmenGpuCodeHead
code_head(const uint8_t *code)
{
	OmenGpuCodeHead head;

	memcpy(&head, code, sizeof(head));
	return head;
}

/* What a code stands for */
static void
decode(const BackendShape *shape, const uint8_t *code, float *x)
{
	double		norm2 = 0;

	if (shape->element == OMEN_GPU_CODE8)
	{
		const int8_t *integers = (const int8_t *) code +
			sizeof(OmenGpuCodeHead);
		float		scale = code_head(code).scale;

		for (uint32_t i = 0; i < shape->dims; i++)
			x[i] = scale * integers[i];
		return;
	}
	for (uint32_t i = 0; i < shape->dims; i++)
	{
		x[i] = read_value(shape, code, i);
		norm2 += (double) x[i] * x[i];
	}
	for (uint32_t i = 0; shape->metric == OMEN_GPU_UNIT && norm2 > 0 &&
		 i < shape->dims; i++)
		x[i] = (float) (x[i] / sqrt(norm2));
}

/* The code of 8 bits of x: integers on a grid, unbiased as in quant_own.c */
static void
form_integers(uint32_t dims, const float *x, float mean_dot, uint8_t *code)
{
	OmenGpuCodeHead head = {.mean_dot = mean_dot};
	int8_t	   *integers = (int8_t *) code + sizeof(head);
	float		largest = 0;
	double		norm2 = 0;
	double		dot = 0;

	for (uint32_t i = 0; i < dims; i++)
	{
		largest = Max(largest, fabsf(x[i]));
		norm2 += (double) x[i] * x[i];
	}
	for (uint32_t i = 0; i < dims; i++)
	{
		integers[i] = largest > 0 && isfinite(largest) ?
			(int8_t) rintf(x[i] / largest * CODE_MAX) : 0;
		dot += (double) integers[i] * x[i];
	}
	if (dot > 0)
	{
		head.norm2 = (float) norm2;
		head.scale = (float) (norm2 / dot);
	}
	memcpy(code, &head, sizeof(head));
}

static void
form_code(const BackendShape *shape, const float *x, float mean_dot,
		  uint8_t *code)
{
	if (shape->element == OMEN_GPU_CODE8)
		form_integers(shape->dims, x, mean_dot, code);
	else if (shape->element == OMEN_GPU_F32)
		memcpy(code, x, shape->dims * sizeof(float));
	else
	{
		for (uint32_t i = 0; i < shape->dims; i++)
			((OmenHalf *) code)[i] = omen_float_to_half(x[i]);
	}
}

/* The coordinate that is added to a leader */
static float
leader_lift(const Numbering *numbering, uint32_t leader)
{
	const BackendShape *shape = &numbering->backend->shape;
	const float *x = numbering->x + (size_t) leader * shape->dims;
	double		norm2 = 0;

	if (shape->metric != OMEN_GPU_LIFTED)
		return 0;
	for (uint32_t i = 0; i < shape->dims; i++)
		norm2 += (double) x[i] * x[i];
	if (shape->element == OMEN_GPU_CODE8)
		norm2 = rule_full_norm2((float) norm2, numbering->mean_dots[leader],
								shape->mean_norm2);
	return rule_lift(shape->max_norm2, (float) norm2);
}

/* --- leaders --- */

static uint8_t *
leader_code(Numbering *numbering, uint32_t leader)
{
	return numbering->codes +
		(size_t) leader * numbering->backend->shape.stride;
}

static const uint8_t *
member_code(const Numbering *numbering, uint32_t member)
{
	return numbering->sample +
		(size_t) member * numbering->backend->shape.stride;
}

/* How many leaders each part gets: no more than it has members in the sample */
static void
count_all_leaders(Numbering *numbering, uint32_t target)
{
	numbering->nleaders = 0;
	for (uint32_t p = 0; p < numbering->nparts; p++)
	{
		uint32_t	size = numbering->starts[p + 1] - numbering->starts[p];
		uint32_t	nmembers = numbering->member_starts[p + 1] -
			numbering->member_starts[p];
		uint32_t	k = Max(1, Min(count_leaders(size, target), nmembers));

		numbering->leader_counts[p] = k > 1 ? k : 0;
		numbering->leader_starts[p] = numbering->nleaders;
		numbering->nleaders += k;
	}
	numbering->leader_starts[numbering->nparts] = numbering->nleaders;
}

/* Leaders are members of the sample at first */
static void
draw_leaders(Numbering *numbering)
{
	uint32_t	n = numbering->backend->shape.nnodes;

	for (uint32_t p = 0; p < numbering->nparts; p++)
	{
		uint32_t	first = numbering->leader_starts[p];
		uint32_t	k = numbering->leader_counts[p];
		uint32_t	start = numbering->member_starts[p];
		uint32_t	nmembers = numbering->member_starts[p + 1] - start;

		for (uint32_t i = 0; i < k; i++)
		{
			uint32_t	member = numbering->members[start +
				rule_stratum(rule_mix(numbering->seed, p), i, nmembers, k)];

			memcpy(leader_code(numbering, first + i),
				   member_code(numbering, member),
				   numbering->backend->shape.stride);
		}
	}
	for (uint32_t i = 0; i < numbering->nleaders; i++)
		numbering->leaders[i] = n + i;
}

/* Load the leaders, and decode them */
static bool
load_leaders(Numbering *numbering)
{
	Backend    *backend = numbering->backend;
	bool		is_code = backend->shape.element == OMEN_GPU_CODE8;

	for (uint32_t i = 0; i < numbering->nleaders; i++)
	{
		const uint8_t *code = leader_code(numbering, i);

		decode(&backend->shape, code,
			   numbering->x + (size_t) i * backend->shape.dims);
		numbering->mean_dots[i] = is_code ? code_head(code).mean_dot : 0;
	}
	return backend_load(backend, backend->shape.nnodes, numbering->nleaders,
						NULL, numbering->codes);
}

/* How the parts of the rows, or of the sample, are divided by the leaders */
static BackendDivision
make_division(const Numbering *numbering, const uint32_t *starts)
{
	BackendDivision division = {
		.nparts = numbering->nparts,
		.starts = starts,
		.nleaders = numbering->leader_counts,
		.cells = numbering->leader_starts,
		.leaders = numbering->leaders,
		.fanout = 1,
	};

	return division;
}

/* Find whom the members of the sample follow */
static bool
follow_leaders(Numbering *numbering)
{
	Backend    *backend = numbering->backend;
	BackendDivision division = make_division(numbering,
											 numbering->member_starts);

	return backend->ops->enter(backend, numbering->member_rows,
							   numbering->nsample) &&
		backend->ops->assign(backend, &division, numbering->counts,
							 numbering->follows);
}

/* Add up what there is of <mean, x> of the members of each leader */
static void
sum_mean_dots(Numbering *numbering)
{
	memset(numbering->mean_dots, 0, numbering->nleaders * sizeof(float));
	if (numbering->backend->shape.element != OMEN_GPU_CODE8)
		return;
	for (uint32_t i = 0; i < numbering->nsample; i++)
		numbering->mean_dots[numbering->follows[i]] +=
			code_head(member_code(numbering, numbering->members[i])).mean_dot;
}

/* Move leaders to the middle of the members that are nearest to them */
static bool
centre_leaders(Numbering *numbering)
{
	Backend    *backend = numbering->backend;
	BackendDivision division = make_division(numbering,
											 numbering->member_starts);
	uint32_t	dims = backend->shape.dims;
	uint32_t	nleaders = numbering->nleaders;

	if (!follow_leaders(numbering) ||
		!backend->ops->deal(backend, &division, NULL, numbering->counts) ||
		!backend->ops->sum(backend, nleaders, numbering->counts, numbering->x))
		return false;
	sum_mean_dots(numbering);
	for (uint32_t leader = 0; leader < nleaders; leader++)
	{
		uint32_t	count = numbering->counts[leader];
		float	   *x = numbering->x + (size_t) leader * dims;

		if (count == 0)
			continue;
		for (uint32_t i = 0; i < dims; i++)
			x[i] /= count;
		form_code(&backend->shape, x, numbering->mean_dots[leader] / count,
				  leader_code(numbering, leader));
	}
	return load_leaders(numbering);
}

/* Eight sums, so that the compiler may use vectors */
static float
sum_of_differences(uint32_t dims, const float *x, const float *y, bool is_l1)
{
	float		sums[8] = {0};
	uint32_t	i = 0;

	for (; i + 8 <= dims && !is_l1; i += 8)
	{
		for (int j = 0; j < 8; j++)
			sums[j] += (x[i + j] - y[i + j]) * (x[i + j] - y[i + j]);
	}
	for (; i < dims; i++)
	{
		float		d = x[i] - y[i];

		sums[i % 8] += is_l1 ? fabsf(d) : d * d;
	}
	return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
		((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

static float
leader_distance(const Numbering *numbering, const float *lifts, uint32_t a,
				uint32_t b)
{
	const BackendShape *shape = &numbering->backend->shape;
	uint32_t	dims = shape->dims;
	float		lift = lifts[a] - lifts[b];

	return sum_of_differences(dims, numbering->x + (size_t) a * dims,
							  numbering->x + (size_t) b * dims,
							  shape->metric == OMEN_GPU_L1) + lift * lift;
}

/*
 * Order the leaders of each part along a chain, on which each is followed by
 * the nearest one left, so that neighbouring numbers are neighbours.
 */
static bool
chain_leaders(Numbering *numbering)
{
	Backend    *backend = numbering->backend;
	float	   *lifts = malloc((numbering->nleaders + 1) * sizeof(float));

	if (lifts == NULL)
		return false;
	for (uint32_t i = 0; i < numbering->nleaders; i++)
	{
		lifts[i] = leader_lift(numbering, i);
		numbering->ranks[i] = UINT32_MAX;
	}
	for (uint32_t p = 0; p < numbering->nparts; p++)
	{
		uint32_t	end = numbering->leader_starts[p + 1];
		uint32_t	last = numbering->leader_starts[p];

		for (uint32_t rank = last; rank < end; rank++)
		{
			uint32_t	next = end;
			float		nearest = INFINITY;

			numbering->ranks[last] = rank;
			for (uint32_t i = numbering->leader_starts[p]; i < end; i++)
			{
				float		distance;

				if (numbering->ranks[i] != UINT32_MAX)
					continue;
				distance = leader_distance(numbering, lifts, last, i);
				if (next == end || distance < nearest)
				{
					next = i;
					nearest = distance;
				}
			}
			last = next;
			if (backend->shape.tick)
				backend->shape.tick(backend->shape.tick_arg);
		}
	}
	free(lifts);
	for (uint32_t i = 0; i < numbering->nleaders; i++)
		numbering->leaders[numbering->ranks[i]] = backend->shape.nnodes + i;
	return true;
}

/* --- division --- */

/*
 * Given the part (below nparts) of each of n items, list the items of each part
 * in ascending order.
 */
static void
list_by_part(const uint32_t *parts, uint32_t n, uint32_t nparts,
			 uint32_t *starts, uint32_t *items)
{
	memset(starts, 0, (nparts + 1) * sizeof(uint32_t));
	for (uint32_t i = 0; i < n; i++)
		starts[parts[i] + 1]++;
	for (uint32_t p = 0; p < nparts; p++)
		starts[p + 1] += starts[p];
	for (uint32_t i = 0; i < n; i++)
		items[starts[parts[i]]++] = i;

	/* each start has moved to the next one's place */
	memmove(starts + 1, starts, nparts * sizeof(uint32_t));
	starts[0] = 0;
}

/* List the sample by the part that each member is of */
static void
list_sample(Numbering *numbering)
{
	uint32_t	n = numbering->backend->shape.nnodes;

	list_by_part(numbering->of_members, numbering->nsample, numbering->nparts,
				 numbering->member_starts, numbering->members);
	for (uint32_t i = 0; i < numbering->nsample; i++)
		numbering->member_rows[i] =
			omen_gpu_sample_row(numbering->seed, n, numbering->members[i]);
}

/* Leaders for all parts, in their last order; the sample's new parts */
static bool
find_leaders(Numbering *numbering)
{
	draw_leaders(numbering);
	if (!load_leaders(numbering))
		return false;
	for (int round = 0; round < LEADER_ROUNDS; round++)
	{
		if (!centre_leaders(numbering))
			return false;
	}
	if (!chain_leaders(numbering) || !follow_leaders(numbering))
		return false;
	for (uint32_t i = 0; i < numbering->nsample; i++)
		numbering->of_members[numbering->members[i]] = numbering->follows[i];
	return true;
}

/* Divide each part so that about "target" rows follow each leader */
static bool
divide_parts(Numbering *numbering, uint32_t target)
{
	Backend    *backend = numbering->backend;
	uint32_t	n = backend->shape.nnodes;
	BackendDivision division = make_division(numbering, numbering->starts);
	uint32_t	at = 0;

	count_all_leaders(numbering, target);
	if (numbering->nleaders == numbering->nparts)
		return true;
	if (!find_leaders(numbering) ||
		!backend->ops->enter(backend, numbering->rows, n) ||
		!backend->ops->assign(backend, &division, numbering->counts, NULL) ||
		!backend->ops->deal(backend, &division, NULL, numbering->counts) ||
		!backend->ops->items(backend, numbering->rows))
		return false;

	numbering->nparts = numbering->nleaders;
	for (uint32_t p = 0; p < numbering->nparts; p++)
	{
		numbering->starts[p] = at;
		at += numbering->counts[p];
	}
	numbering->starts[numbering->nparts] = at;
	list_sample(numbering);
	return true;
}

static bool
allocate_all(Numbering *numbering)
{
	const BackendShape *shape = &numbering->backend->shape;
	size_t		nsample = numbering->nsample;
	size_t		room = omen_gpu_number_spare(shape->nnodes) + 1;

	numbering->starts = malloc(room * sizeof(uint32_t));
	numbering->members = malloc(nsample * sizeof(uint32_t));
	numbering->member_rows = malloc(nsample * sizeof(uint32_t));
	numbering->member_starts = malloc(room * sizeof(uint32_t));
	numbering->of_members = calloc(nsample, sizeof(uint32_t));
	numbering->follows = malloc(nsample * sizeof(uint32_t));
	numbering->leader_counts = malloc(room * sizeof(uint32_t));
	numbering->leader_starts = malloc(room * sizeof(uint32_t));
	numbering->leaders = malloc(room * sizeof(uint32_t));
	numbering->codes = calloc(room, shape->stride);
	numbering->x = malloc(room * shape->dims * sizeof(float));
	numbering->mean_dots = malloc(room * sizeof(float));
	numbering->counts = malloc(room * sizeof(uint32_t));
	numbering->ranks = malloc(room * sizeof(uint32_t));
	return numbering->starts && numbering->members && numbering->member_rows &&
		numbering->member_starts && numbering->of_members &&
		numbering->follows && numbering->leader_counts &&
		numbering->leader_starts && numbering->leaders && numbering->codes &&
		numbering->x && numbering->mean_dots && numbering->counts &&
		numbering->ranks;
}

static void
free_all(Numbering *numbering)
{
	free(numbering->starts);
	free(numbering->members);
	free(numbering->member_rows);
	free(numbering->member_starts);
	free(numbering->of_members);
	free(numbering->follows);
	free(numbering->leader_counts);
	free(numbering->leader_starts);
	free(numbering->leaders);
	free(numbering->codes);
	free(numbering->x);
	free(numbering->mean_dots);
	free(numbering->counts);
	free(numbering->ranks);
}

/* All rows are one part */
static void
start(Numbering *numbering)
{
	uint32_t	n = numbering->backend->shape.nnodes;

	for (uint32_t row = 0; row < n; row++)
		numbering->rows[row] = row;
	numbering->nparts = 1;
	numbering->starts[0] = 0;
	numbering->starts[1] = n;
	list_sample(numbering);
}

bool
omen_gpu_number(Backend *backend, uint64_t seed, const uint8_t *sample,
				uint32_t *clusters, uint32_t *rows)
{
	Numbering	numbering = {
		.backend = backend,
		.seed = seed,
		.sample = sample,
		.nsample = omen_gpu_sample_size(backend->shape.nnodes),
		.rows = rows,
	};
	bool		good = allocate_all(&numbering);

	backend->fault[0] = '\0';
	if (good)
	{
		start(&numbering);
		good = divide_parts(&numbering, TOP_SIZE) &&
			divide_parts(&numbering, COARSE_SIZE);
	}
	for (uint32_t p = 0; good && p < numbering.nparts; p++)
	{
		for (uint32_t i = numbering.starts[p]; i < numbering.starts[p + 1]; i++)
			clusters[rows[i]] = p;
	}
	if (!good && backend->fault[0] == '\0')
		snprintf(backend->fault, sizeof(backend->fault),
				 "out of memory for clusters");
	free_all(&numbering);
	return good;
}
