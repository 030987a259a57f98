/*-------------------------------------------------------------------------
 *
 * centre.cuh
 *	  The kernel that adds up the vectors of cells, of which their leaders become
 *	  the middle.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_CENTRE_CUH
#define OMEN_GPU_CENTRE_CUH

#include "gpu/helper/compare.cuh"
#include "gpu/helper/device.h"
#include "gpu/helper/parts.cuh"

/*
 * A block for each cell, whose items are from starts[] on; a thread adds up in the
 * order of items, as the processor does.
 */
static __global__ void
sum_kernel(Nodes nodes, const uint32_t *starts, const uint32_t *items,
		   float *sums)
{
	uint32_t	first = starts[blockIdx.x];
	uint32_t	end = starts[blockIdx.x + 1];

	for (uint32_t i = threadIdx.x; i < nodes.dims; i += PART_THREADS)
	{
		float		sum = 0;

		for (uint32_t at = first; at < end; at++)
		{
			size_t		node = items[at];

			sum += nodes.codes != nullptr ?
				nodes.factors[node].scale * nodes.codes[node * nodes.pad + i] :
				nodes.vectors[node * nodes.dims + i];
		}
		sums[(size_t) blockIdx.x * nodes.dims + i] = sum;
	}
}

#endif							/* OMEN_GPU_CENTRE_CUH */
