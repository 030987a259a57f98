/*-------------------------------------------------------------------------
 *
 * parts.cuh
 *	  Kernels that keep account of who is where: items by part, rows by node.
 *
 * Items are moved to their cells by a radix sort that keeps the order of equals
 * (Knuth, The Art of Computer Programming 3, 5.2.5), so that parts are the same
 * as on the processor; rows are counted, and filled in, in any order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_PARTS_CUH
#define OMEN_GPU_PARTS_CUH

#include "gpu/helper/device.h"
#include "gpu/helper/rules.h"

static const int PART_THREADS = 256;
static const int PART_WARPS = PART_THREADS / 32;

/* A cell that is none: what would go there goes nowhere */
static const uint32_t NO_CELL = 0xFFFFFFFF;

/* Values that a block adds up */
static const int SCAN_EACH = 4;
static const int SCAN_VALUES = SCAN_EACH * PART_THREADS;

/* Numbers of cells are sorted by so many bits at a time, a thread for each digit */
static const int DIGIT_BITS = 8;
static const int DIGITS = 1 << DIGIT_BITS;
static_assert(DIGITS == PART_THREADS, "a thread must have a digit");

/* Entries that a block sorts */
static const int DEAL_ENTRIES = 8 * PART_THREADS;

/* A part, from items[first] on, and its cells */
struct PartJob
{
	uint32_t	part;
	uint32_t	first;
	uint32_t	size;
	uint32_t	cell;
	uint32_t	nleaders;
};

/* --- leaders and cells --- */

/* A block for each part that gets leaders; there are as many as cells */
static __global__ void
draw_kernel(const PartJob *jobs, uint64_t purpose, const uint32_t *items,
			uint32_t *leaders)
{
	PartJob		job = jobs[blockIdx.x];
	uint64_t	seed = rule_mix(purpose, job.part);

	for (uint32_t i = threadIdx.x; i < job.nleaders; i += PART_THREADS)
		leaders[job.cell + i] = items[job.first +
									  rule_stratum(seed, i, job.size,
												   job.nleaders)];
}

/* A block for each part that stays together, or is cut up into pieces */
static __global__ void
keep_kernel(const PartJob *jobs, int fanout, uint32_t target, uint32_t *cells)
{
	PartJob		job = jobs[blockIdx.x];

	for (uint32_t i = threadIdx.x; i < job.size; i += PART_THREADS)
	{
		uint32_t   *mine = cells + (size_t) (job.first + i) * fanout;

		mine[0] = job.cell + i / target;
		for (int j = 1; j < fanout; j++)
			mine[j] = NO_CELL;
	}
}

/* --- sums --- */

/* Of each lane's value and those of the lanes before it */
static __device__ uint32_t
warp_running_sum(uint32_t value)
{
	int			lane = threadIdx.x % 32;

	for (int step = 1; step < 32; step *= 2)
	{
		uint32_t	other = warp_from(value, lane >= step ? lane - step : lane);

		if (lane >= step)
			value += other;
	}
	return value;
}

/*
 * Each value becomes the sum of those before it in its block; the sum of all
 * goes to sums
 */
static __global__ void
scan_kernel(uint32_t n, uint32_t *values, uint32_t *sums)
{
	__shared__ uint32_t warp_sums[PART_WARPS];
	int			warp = threadIdx.x / 32;
	uint32_t	first = blockIdx.x * SCAN_VALUES + threadIdx.x * SCAN_EACH;
	uint32_t	mine[SCAN_EACH];
	uint32_t	sum = 0;
	uint32_t	before;

#pragma unroll
	for (int i = 0; i < SCAN_EACH; i++)
	{
		mine[i] = first + i < n ? values[first + i] : 0;
		sum += mine[i];
	}
	before = warp_running_sum(sum);
	if (threadIdx.x % 32 == 31)
		warp_sums[warp] = before;
	before -= sum;
	__syncthreads();
	for (int i = 0; i < warp; i++)
		before += warp_sums[i];
	if (threadIdx.x == PART_THREADS - 1)
		sums[blockIdx.x] = before + sum;
#pragma unroll
	for (int i = 0; i < SCAN_EACH; i++)
	{
		if (first + i < n)
			values[first + i] = before;
		before += mine[i];
	}
}

/* Add to the values of each block what is before it */
static __global__ void
add_kernel(uint32_t n, uint32_t *values, const uint32_t *sums)
{
	uint32_t	i = blockIdx.x * PART_THREADS + threadIdx.x;

	if (i < n)
		values[i] += sums[i / SCAN_VALUES];
}

/* --- moving items to cells --- */

/* Of the digit that begins at a bit, how many of each a block has */
static __global__ void
digit_kernel(uint32_t n, const uint32_t *cells, int shift, uint32_t nblocks,
			 uint32_t *counts)
{
	__shared__ uint32_t count[DIGITS];
	uint32_t	first = blockIdx.x * DEAL_ENTRIES;

	count[threadIdx.x] = 0;
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < DEAL_ENTRIES && first + i < n;
		 i += PART_THREADS)
	{
		uint32_t	cell = cells[first + i];

		if (cell != NO_CELL)
			atomicAdd(&count[cell >> shift & (DIGITS - 1)], 1);
	}
	__syncthreads();
	counts[threadIdx.x * nblocks + blockIdx.x] = count[threadIdx.x];
}

/* The lanes that have a cell with the same digit */
static __device__ uint32_t
warp_same_digit(uint32_t cell, uint32_t digit)
{
	uint32_t	same = warp_ballot(cell != NO_CELL);

#pragma unroll
	for (int bit = 0; bit < DIGIT_BITS; bit++)
	{
		bool		is_set = digit >> bit & 1;
		uint32_t	set = warp_ballot(is_set);

		same &= is_set ? set : ~set;
	}
	return same;
}

/*
 * Move entries to where their digit goes: places has, for each digit and block,
 * where its first one does.  Entry i is about items[i / fanout].
 */
static __global__ void
deal_kernel(uint32_t n, const uint32_t *cells, const uint32_t *items,
			uint32_t fanout, int shift, uint32_t nblocks,
			const uint32_t *places, uint32_t *to_cells, uint32_t *to_items)
{
	__shared__ uint32_t at[PART_WARPS][DIGITS];
	int			warp = threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t	next = places[threadIdx.x * nblocks + blockIdx.x];

	for (int w = 0; w < PART_WARPS; w++)
		at[w][threadIdx.x] = 0;
	__syncthreads();
	for (int done = 0; done < DEAL_ENTRIES; done += PART_THREADS)
	{
		uint32_t	i = blockIdx.x * DEAL_ENTRIES + done + threadIdx.x;
		uint32_t	cell = i < n ? cells[i] : NO_CELL;
		uint32_t	digit = cell >> shift & (DIGITS - 1);
		uint32_t	same = warp_same_digit(cell, digit);
		uint32_t	before = __popc(same & ((1u << lane) - 1));

		if (cell != NO_CELL && before == 0)
			at[warp][digit] = __popc(same);
		__syncthreads();
		/* the thread of a digit: from how many a warp has to where they go */
		for (int w = 0; w < PART_WARPS; w++)
		{
			uint32_t	count = at[w][threadIdx.x];

			at[w][threadIdx.x] = next;
			next += count;
		}
		__syncthreads();
		if (cell != NO_CELL)
		{
			to_cells[at[warp][digit] + before] = cell;
			to_items[at[warp][digit] + before] = items[i / fanout];
		}
		__syncthreads();
		for (int w = 0; w < PART_WARPS; w++)
			at[w][threadIdx.x] = 0;
		__syncthreads();
	}
}

/* --- rows by node --- */

/*
 * Count the rows of each node.  Or, with rows and where each node's begin, fill
 * them in: then there is where they end, which is where the next one's begin.
 */
static __global__ void
rows_kernel(uint32_t n, const uint32_t *items, uint32_t *cursors,
			uint32_t *rows)
{
	uint32_t	row = blockIdx.x * PART_THREADS + threadIdx.x;
	uint32_t	at;

	if (row >= n)
		return;
	at = atomicAdd(&cursors[items[row]], 1);
	if (rows != nullptr)
		rows[at] = row;
}

/* --- numbers of nodes --- */

static __global__ void
number_kernel(uint32_t n, const uint32_t *order, uint32_t *numbers)
{
	uint32_t	i = blockIdx.x * PART_THREADS + threadIdx.x;

	if (i < n)
		numbers[order[i]] = i;
}

#endif							/* OMEN_GPU_PARTS_CUH */
