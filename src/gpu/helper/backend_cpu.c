/*-------------------------------------------------------------------------
 *
 * backend_cpu.c
 *	  The steps of construction on the processor, in plain C.
 *
 * This is the device's simulator: it shows what each step has to do, lets
 * everything around it be tested without a device, and is what kernels are
 * compared with.  It is no way to build indexes faster; the server's own
 * construction is several times as fast.  Here are codes, their distances and exact
 * search; divisions are in cpu_parts.c, leaves in cpu_leaves.c, links in cpu_links.c.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distance/half.h"
#include "gpu/gpu_protocol.h"
#include "gpu/helper/backend_cpu.h"
#include "gpu/helper/rules.h"

/* Distances between two calls of tick */
#define TICK_PAIRS		100000

/* Nodes whose codes are read at a time */
#define LOADED_AT_ONCE	4096

static void cpu_destroy(Backend *base);
static void load_vector(CpuBackend *cpu, uint32_t node, const uint8_t *code);

bool
omen_cpu_out_of_memory(CpuBackend *cpu)
{
	snprintf(cpu->base.fault, sizeof(cpu->base.fault), "out of memory");
	return false;
}

static Backend *
cpu_create(const BackendShape *shape, char *fault, size_t fault_size)
{
	/* one more at least, for the query of an exact search */
	size_t		n = (size_t) shape->nnodes + Max(shape->spare, 1);
	CpuBackend *cpu = calloc(1, sizeof(CpuBackend));

	if (cpu != NULL)
	{
		cpu->base.ops = &omen_backend_cpu;
		cpu->base.shape = *shape;
		cpu->base.batch_rows = BATCH_ROWS;
		cpu->size = shape->dims * (shape->element == OMEN_GPU_CODE8 ?
								   sizeof(int16_t) : sizeof(float));
		cpu->codes = malloc(n * cpu->size);
		cpu->norm2 = calloc(n, sizeof(float));
		cpu->scale = calloc(n, sizeof(float));
		cpu->lift = calloc(n, sizeof(float));
		cpu->levels = calloc(n, 1);
		cpu->lists = malloc(n * shape->list_size * sizeof(uint64_t));
		cpu->nlist = calloc(n, sizeof(uint16_t));
		cpu->nkept = calloc(n, sizeof(uint16_t));
		cpu->links = calloc(n * shape->max_links, sizeof(uint32_t));
		cpu->nlinks = calloc(n, 1);
		cpu->nscale = calloc(n, 1);
		cpu->members = malloc(n * sizeof(uint32_t));
		cpu->order = malloc(n * sizeof(uint32_t));
		cpu->numbers = malloc(n * sizeof(uint32_t));
		cpu->fetched = malloc((size_t) FETCH_NODES * shape->max_links *
							  sizeof(uint32_t));
		cpu->fetched_counts = malloc(2 * FETCH_NODES);
		if (cpu->fetched && cpu->fetched_counts && cpu->codes &&
			cpu->norm2 && cpu->scale && cpu->lift && cpu->levels && cpu->lists && cpu->nlist && cpu->nkept &&
			cpu->links && cpu->nlinks && cpu->nscale && cpu->members &&
			cpu->order && cpu->numbers)
			return &cpu->base;
		cpu_destroy(&cpu->base);
	}
	snprintf(fault, fault_size, "not enough memory for %u vectors",
			 shape->nnodes);
	return NULL;
}

static void
cpu_destroy(Backend *base)
{
	CpuBackend *cpu = (CpuBackend *) base;

	free(cpu->codes);
	free(cpu->norm2);
	free(cpu->scale);
	free(cpu->lift);
	free(cpu->levels);
	free(cpu->lists);
	free(cpu->nlist);
	free(cpu->nkept);
	free(cpu->links);
	free(cpu->nlinks);
	free(cpu->nscale);
	free(cpu->members);
	free(cpu->items);
	free(cpu->cells);
	free(cpu->order);
	free(cpu->numbers);
	free(cpu->fetched);
	free(cpu->fetched_counts);
	free(cpu);
}

static bool
cpu_load(Backend *base, uint32_t first, uint32_t count, const uint8_t *levels,
		 BackendRead read, void *arg)
{
	CpuBackend *cpu = (CpuBackend *) base;
	size_t		stride = base->shape.stride;
	uint8_t    *codes = malloc(LOADED_AT_ONCE * stride);
	bool		good = codes != NULL;

	if (levels != NULL)
		memcpy(cpu->levels + first, levels, count);
	for (uint32_t done = 0; good && done < count; done += LOADED_AT_ONCE)
	{
		uint32_t	piece = count - done < LOADED_AT_ONCE ? count - done :
			LOADED_AT_ONCE;

		good = read(arg, first + done, piece, codes);
		for (uint32_t i = 0; good && i < piece; i++)
			load_vector(cpu, first + done + i, codes + i * stride);
	}
	free(codes);
	if (!good)
		snprintf(base->fault, sizeof(base->fault), "vectors could not be read");
	return good;
}

static void
load_vector(CpuBackend *cpu, uint32_t node, const uint8_t *code)
{
	const BackendShape *shape = &cpu->base.shape;
	float	   *x = (float *) (cpu->codes + node * cpu->size);
	double		norm2 = 0;

	if (shape->element == OMEN_GPU_CODE8)
	{
		const int8_t *integers = (const int8_t *) code +
			sizeof(OmenGpuCodeHead);
		OmenGpuCodeHead head;

		memcpy(&head, code, sizeof(head));
		for (uint32_t i = 0; i < shape->dims; i++)
			((int16_t *) x)[i] = integers[i];
		cpu->norm2[node] = head.norm2;
		cpu->scale[node] = head.scale;
		if (shape->metric == OMEN_GPU_LIFTED)
			cpu->lift[node] = rule_lift(shape->max_norm2,
										rule_full_norm2(head.norm2,
														head.mean_dot,
														shape->mean_norm2));
		return;
	}
	for (uint32_t i = 0; i < shape->dims; i++)
	{
		if (shape->element == OMEN_GPU_F16)
			x[i] = omen_half_to_float(((const OmenHalf *) code)[i]);
		else
			x[i] = ((const float *) code)[i];
		norm2 += (double) x[i] * x[i];
	}
	if (shape->metric == OMEN_GPU_LIFTED)
		cpu->lift[node] = rule_lift(shape->max_norm2, (float) norm2);
	if (shape->metric == OMEN_GPU_UNIT && norm2 > 0)
	{
		for (uint32_t i = 0; i < shape->dims; i++)
			x[i] = (float) (x[i] / sqrt(norm2));
	}
}

static bool
cpu_enter(Backend *base, const uint32_t *nodes, uint32_t count)
{
	CpuBackend *cpu = (CpuBackend *) base;

	free(cpu->items);
	cpu->items = malloc(((size_t) count + 1) * sizeof(uint32_t));
	if (cpu->items == NULL)
		return omen_cpu_out_of_memory(cpu);
	memcpy(cpu->items, nodes, count * sizeof(uint32_t));
	memcpy(cpu->members, nodes, count * sizeof(uint32_t));
	cpu->nitems = cpu->nmembers = count;
	return true;
}

static bool
cpu_clear(Backend *base)
{
	CpuBackend *cpu = (CpuBackend *) base;

	for (uint32_t i = 0; i < cpu->nmembers; i++)
		cpu->nlist[cpu->members[i]] = 0;
	return true;
}

static bool
cpu_lifts(Backend *base, float *lifts)
{
	CpuBackend *cpu = (CpuBackend *) base;

	memcpy(lifts, cpu->lift, base->shape.nnodes * sizeof(float));
	return true;
}

/* --- distances --- */

static int32_t
dot_product(uint32_t dims, const int16_t *a, const int16_t *b)
{
	int32_t		sum = 0;

	for (uint32_t i = 0; i < dims; i++)
		sum += a[i] * b[i];
	return sum;
}

/* In blocks, so that the compiler may add in any order within one */
static float
sum_of_differences(uint32_t dims, const float *a, const float *b, bool squared)
{
	float		sums[16] = {0};
	float		total = 0;
	uint32_t	i = 0;

	for (; i + 16 <= dims; i += 16)
	{
		for (int j = 0; j < 16; j++)
		{
			float		d = a[i + j] - b[i + j];

			sums[j] += squared ? d * d : fabsf(d);
		}
	}
	for (; i < dims; i++)
		total += squared ? (a[i] - b[i]) * (a[i] - b[i]) : fabsf(a[i] - b[i]);
	for (int j = 0; j < 16; j++)
		total += sums[j];
	return total;
}

static void
tick(CpuBackend *cpu)
{
	cpu->base.pairs++;
	if (++cpu->since_tick < TICK_PAIRS)
		return;
	cpu->since_tick = 0;
	if (cpu->base.shape.tick)
		cpu->base.shape.tick(cpu->base.shape.tick_arg);
}

float
omen_cpu_distance(CpuBackend *cpu, uint32_t a, uint32_t b)
{
	const BackendShape *shape = &cpu->base.shape;
	const uint8_t *x = cpu->codes + a * cpu->size;
	const uint8_t *y = cpu->codes + b * cpu->size;
	float		distance;
	float		lift = cpu->lift[a] - cpu->lift[b];

	tick(cpu);
	if (shape->element == OMEN_GPU_CODE8)
		distance = cpu->norm2[a] + cpu->norm2[b] -
			2 * cpu->scale[a] * cpu->scale[b] *
			(float) dot_product(shape->dims, (const int16_t *) x,
								(const int16_t *) y);
	else
		distance = sum_of_differences(shape->dims, (const float *) x,
									  (const float *) y,
									  shape->metric != OMEN_GPU_L1);
	return rule_distance(rule_distance(distance) + lift * lift);
}

/* --- exact search --- */

/*
 * Queries are kept as one more node behind the others, one at a time.  Without
 * the coordinate that is added to nodes for inner products, it is these by
 * which they are ordered.
 */
static bool
cpu_search(Backend *base, const void *queries, uint32_t count, int k,
		   uint32_t *nearest, float *distances)
{
	CpuBackend *cpu = (CpuBackend *) base;
	uint32_t	n = base->shape.nnodes;

	for (uint32_t q = 0; q < count; q++)
	{
		uint64_t	keys[SEARCH_MAX];
		int			nkeys = 0;

		load_vector(cpu, n, (const uint8_t *) queries +
					(size_t) q * base->shape.stride);
		cpu->lift[n] = 0;
		for (uint32_t i = 0; i < n; i++)
			nkeys = omen_cpu_insert_key(keys, nkeys, k,
							   rule_key(omen_cpu_distance(cpu, n, i), i, 0));
		for (int i = 0; i < k; i++)
		{
			nearest[(size_t) q * k + i] = i < nkeys ?
				rule_key_node(keys[i], 0) : UINT32_MAX;
			distances[(size_t) q * k + i] = i < nkeys ?
				rule_key_distance(keys[i]) : INFINITY;
		}
	}
	return true;
}

const BackendOps omen_backend_cpu = {
	.name = "cpu",
	.create = cpu_create,
	.destroy = cpu_destroy,
	.load = cpu_load,
	.enter = cpu_enter,
	.clear = cpu_clear,
	.lifts = cpu_lifts,
	.assign = omen_cpu_assign,
	.deal = omen_cpu_deal,
	.items = omen_cpu_items,
	.sum = omen_cpu_sum,
	.compare = omen_cpu_compare,
	.connect = omen_cpu_connect,
	.sort = omen_cpu_sort,
	.number = omen_cpu_number,
	.fetch = omen_cpu_fetch,
	.search = cpu_search,
};
