/*-------------------------------------------------------------------------
 *
 * cpu_parts.c
 *	  Divisions, on the processor.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/backend_cpu.h"
#include "gpu/helper/rules.h"

/* A cell that is none */
#define NO_CELL			UINT32_MAX

/* The leaders of part p, which has any */
static void
find_leaders(const CpuBackend *cpu, const BackendDivision *division,
			 uint32_t p, uint32_t *leaders)
{
	const uint32_t *items = cpu->items + division->starts[p];
	uint32_t	size = division->starts[p + 1] - division->starts[p];
	uint32_t	k = division->nleaders[p];

	for (uint32_t i = 0; i < k; i++)
		leaders[i] = division->leaders ?
			division->leaders[division->cells[p] + i] :
			items[rule_stratum(rule_mix(division->purpose, p), i, size, k)];
}

static void
assign_part(CpuBackend *cpu, const BackendDivision *division, uint32_t p)
{
	uint32_t	leaders[LEADERS_MAX];
	int			fanout = division->fanout;
	float		best[16];

	find_leaders(cpu, division, p, leaders);
	for (uint32_t i = division->starts[p]; i < division->starts[p + 1]; i++)
	{
		uint32_t   *mine = cpu->cells + (size_t) i * fanout;
		int			nbest = 0;

		for (uint32_t leader = 0; leader < division->nleaders[p]; leader++)
			nbest = rule_add_nearest(best, mine, nbest, fanout,
									 omen_cpu_distance(cpu, cpu->items[i],
												   leaders[leader]),
									 division->cells[p] + leader);
	}
}

/* The items of a part to one cell, or cut up into several, each once */
static void
keep_part(CpuBackend *cpu, const BackendDivision *division, uint32_t p,
		  uint32_t target)
{
	uint32_t	first = division->starts[p];

	for (uint32_t i = first; i < division->starts[p + 1]; i++)
	{
		uint32_t   *mine = cpu->cells + (size_t) i * division->fanout;

		mine[0] = division->cells[p] + (i - first) / target;
		for (int j = 1; j < division->fanout; j++)
			mine[j] = NO_CELL;
	}
}

bool
omen_cpu_assign(Backend *base, const BackendDivision *division, uint32_t *counts,
		   uint32_t *cells)
{
	CpuBackend *cpu = (CpuBackend *) base;
	size_t		ncells = (size_t) cpu->nitems * division->fanout;

	Assert(division->fanout <= 16);

	free(cpu->cells);
	cpu->cells = malloc((ncells + 1) * sizeof(uint32_t));
	if (cpu->cells == NULL)
		return omen_cpu_out_of_memory(cpu);
	for (uint32_t p = 0; p < division->nparts; p++)
	{
		if (division->nleaders[p] > 0)
			assign_part(cpu, division, p);
		else
			keep_part(cpu, division, p, UINT32_MAX);
	}
	memset(counts, 0, division->cells[division->nparts] * sizeof(uint32_t));
	for (size_t i = 0; i < ncells; i++)
	{
		if (cpu->cells[i] != NO_CELL)
			counts[cpu->cells[i]]++;
	}
	for (uint32_t i = 0; cells && i < cpu->nitems; i++)
		cells[i] = cpu->cells[(size_t) i * division->fanout];
	return true;
}

bool
omen_cpu_deal(Backend *base, const BackendDivision *division, const bool *cut,
		 const uint32_t *counts)
{
	CpuBackend *cpu = (CpuBackend *) base;
	uint32_t	ncells = division->cells[division->nparts];
	uint32_t   *at = malloc(((size_t) ncells + 1) * sizeof(uint32_t));
	uint32_t	nitems = 0;
	uint32_t   *items = NULL;

	for (uint32_t p = 0; cut && p < division->nparts; p++)
	{
		if (cut[p])
			keep_part(cpu, division, p, division->target);
	}
	for (uint32_t c = 0; at && c < ncells; c++)
	{
		at[c] = nitems;
		nitems += counts[c];
	}
	if (at)
		items = malloc(((size_t) nitems + 1) * sizeof(uint32_t));
	if (items == NULL)
	{
		free(at);
		return omen_cpu_out_of_memory(cpu);
	}
	for (size_t i = 0; i < (size_t) cpu->nitems * division->fanout; i++)
	{
		if (cpu->cells[i] != NO_CELL)
			items[at[cpu->cells[i]]++] = cpu->items[i / division->fanout];
	}
	free(at);
	free(cpu->items);
	cpu->items = items;
	cpu->nitems = nitems;
	return true;
}

bool
omen_cpu_items(Backend *base, uint32_t *nodes)
{
	CpuBackend *cpu = (CpuBackend *) base;

	memcpy(nodes, cpu->items, cpu->nitems * sizeof(uint32_t));
	return true;
}

/* Apart, and with restrict, so that the compiler uses vectors */
static void
add_integers(uint32_t dims, float scale, const int16_t *restrict integers,
			 float *restrict sums)
{
	for (uint32_t i = 0; i < dims; i++)
		sums[i] += scale * integers[i];
}

static void
add_floats(uint32_t dims, const float *restrict x, float *restrict sums)
{
	for (uint32_t i = 0; i < dims; i++)
		sums[i] += x[i];
}

bool
omen_cpu_sum(Backend *base, uint32_t ncells, const uint32_t *counts, float *sums)
{
	CpuBackend *cpu = (CpuBackend *) base;
	const BackendShape *shape = &base->shape;
	const uint32_t *item = cpu->items;

	memset(sums, 0, (size_t) ncells * shape->dims * sizeof(float));
	for (uint32_t c = 0; c < ncells; c++)
	{
		float	   *mine = sums + (size_t) c * shape->dims;

		for (uint32_t i = 0; i < counts[c]; i++, item++)
		{
			const uint8_t *code = cpu->codes + *item * cpu->size;

			if (shape->element == OMEN_GPU_CODE8)
				add_integers(shape->dims, cpu->scale[*item],
							 (const int16_t *) code, mine);
			else
				add_floats(shape->dims, (const float *) code, mine);
		}
	}
	return true;
}
