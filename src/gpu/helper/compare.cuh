/*-------------------------------------------------------------------------
 *
 * compare.cuh
 *	  Kernels that compare nodes: with leaders, in leaves, with queries; and
 *	  lists of what they have found.
 *
 * A block compares 64 rows with columns, 64 at a time: a tile of dot products on
 * tensor cores (codes of 8 bits) or of sums of differences, from which each warp
 * takes its rows' nearest.  Lists are sorted, and spread over the registers of a
 * warp's lanes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_COMPARE_CUH
#define OMEN_GPU_COMPARE_CUH

#include "gpu/helper/device.h"
#include "gpu/helper/rules.h"

/* Rows and columns of a tile; threads of a block that computes one */
static const int TILE = 64;
static const int TILE_THREADS = 256;

/* What of the vectors is in shared memory at a time */
static const int CODE_CHUNK = 64;	/* bytes, in slices of 16 */
static const int FLOAT_CHUNK = 16;

/* Threads of a block of which each warp has a node */
static const int NODE_THREADS = 128;
static const int NODE_WARPS = NODE_THREADS / 32;

/* Most leaders that a node follows */
static const int MAX_FANOUT = 4;

/* What kernels see of the nodes */
struct Nodes
{
	const int8_t *codes;		/* CODE8: pad bytes each */
	const float *vectors;		/* others: dims floats each */
	const float *norm2;
	const float *scale;
	const float *lift;
	uint32_t	dims;
	uint32_t	pad;
	bool		is_l1;
};

/*
 * A block's work: rows ids[row] to ids[row + nrows], and columns likewise, or
 * the nodes from col on.  The keys of row i go to results from (out + i) *
 * keep on.
 */
struct TileJob
{
	uint32_t	row;
	uint32_t	nrows;
	uint32_t	col;
	uint32_t	ncols;
	uint32_t	out;
};

/* --- tiles --- */

/* Aligned for loads of 16 bytes and for fragments */
struct alignas(128) TileMemory
{
	union
	{
		struct
		{
			int8_t		a[CODE_CHUNK / 16][TILE][16];
			int8_t		b[CODE_CHUNK / 16][TILE][16];
		}			codes;
		struct
		{
			float		a[TILE][FLOAT_CHUNK + 1];
			float		b[TILE][FLOAT_CHUNK + 1];
		}			floats;
	};
	union
	{
		int32_t		dots[TILE][TILE + 4];
		float		distances[TILE][TILE + 4];
	};
	uint32_t	rows[TILE];
	uint32_t	cols[TILE];
};

/* Dot products of codes, to m.dots */
static __device__ void
tile_dots(TileMemory &m, const Nodes &nodes)
{
	int			mine = threadIdx.x / 4;
	int			slice = threadIdx.x % 4;
	const int8_t *a = nodes.codes + (size_t) m.rows[mine] * nodes.pad +
		slice * 16;
	const int8_t *b = nodes.codes + (size_t) m.cols[mine] * nodes.pad +
		slice * 16;
#ifdef TENSOR_CORES
	using namespace nvcuda;
	int			warp = threadIdx.x / 32;
	int			row = warp / 2 * 16;
	int			col = warp % 2 * 32;
	wmma::fragment<wmma::matrix_a, 16, 16, 16, signed char,
		wmma::row_major> fa;
	wmma::fragment<wmma::matrix_b, 16, 16, 16, signed char,
		wmma::col_major> fb;
	wmma::fragment<wmma::accumulator, 16, 16, 16, int> sums[2];

	wmma::fill_fragment(sums[0], 0);
	wmma::fill_fragment(sums[1], 0);
#else
	int			row = threadIdx.x / 16 * 4;
	int			col = threadIdx.x % 16 * 4;
	int32_t		sums[4][4] = {};
#endif

	for (uint32_t chunk = 0; chunk < nodes.pad; chunk += CODE_CHUNK)
	{
		__syncthreads();
		*(int4 *) m.codes.a[slice][mine] = *(const int4 *) (a + chunk);
		*(int4 *) m.codes.b[slice][mine] = *(const int4 *) (b + chunk);
		__syncthreads();
		for (int s = 0; s < CODE_CHUNK / 16; s++)
		{
#ifdef TENSOR_CORES
			wmma::load_matrix_sync(fa, (const signed char *) m.codes.a[s][row], 16);
			for (int half = 0; half < 2; half++)
			{
				wmma::load_matrix_sync(fb, (const signed char *)
									   m.codes.b[s][col + half * 16], 16);
				wmma::mma_sync(sums[half], fa, fb, sums[half]);
			}
#else
			for (int i = 0; i < 4; i++)
			{
				for (int j = 0; j < 4; j++)
				{
					const int32_t *x = (const int32_t *) m.codes.a[s][row + i];
					const int32_t *y = (const int32_t *) m.codes.b[s][col + j];

					for (int k = 0; k < 4; k++)
						sums[i][j] = dot_4(x[k], y[k], sums[i][j]);
				}
			}
#endif
		}
	}
#ifdef TENSOR_CORES
	for (int half = 0; half < 2; half++)
		wmma::store_matrix_sync(&m.dots[row][col + half * 16], sums[half],
								TILE + 4, wmma::mem_row_major);
#else
	for (int i = 0; i < 4; i++)
	{
		for (int j = 0; j < 4; j++)
			m.dots[row + i][col + j] = sums[i][j];
	}
#endif
	__syncthreads();
}

/* Sums of squared or absolute differences, to m.distances */
static __device__ void
tile_differences(TileMemory &m, const Nodes &nodes)
{
	int			row = threadIdx.x / 16 * 4;
	int			col = threadIdx.x % 16 * 4;
	float		sums[4][4] = {};

	for (uint32_t chunk = 0; chunk < nodes.dims; chunk += FLOAT_CHUNK)
	{
		__syncthreads();
		for (int i = threadIdx.x; i < TILE * FLOAT_CHUNK; i += TILE_THREADS)
		{
			uint32_t	dim = chunk + i % FLOAT_CHUNK;
			bool		inside = dim < nodes.dims;

			m.floats.a[i / FLOAT_CHUNK][i % FLOAT_CHUNK] = inside ?
				nodes.vectors[(size_t) m.rows[i / FLOAT_CHUNK] * nodes.dims + dim] : 0;
			m.floats.b[i / FLOAT_CHUNK][i % FLOAT_CHUNK] = inside ?
				nodes.vectors[(size_t) m.cols[i / FLOAT_CHUNK] * nodes.dims + dim] : 0;
		}
		__syncthreads();
		for (int k = 0; k < FLOAT_CHUNK; k++)
		{
			for (int i = 0; i < 4; i++)
			{
				for (int j = 0; j < 4; j++)
				{
					float		d = m.floats.a[row + i][k] - m.floats.b[col + j][k];

					sums[i][j] += nodes.is_l1 ? fabsf(d) : d * d;
				}
			}
		}
	}
	for (int i = 0; i < 4; i++)
	{
		for (int j = 0; j < 4; j++)
			m.distances[row + i][col + j] = sums[i][j];
	}
	__syncthreads();
}

static __device__ float
finish_distance(const Nodes &nodes, uint32_t a, uint32_t b, float distance)
{
	float		lift = nodes.lift[a] - nodes.lift[b];

	return rule_distance(rule_distance(distance) + lift * lift);
}

static __device__ float
code_distance(const Nodes &nodes, uint32_t a, uint32_t b, int32_t dot)
{
	return finish_distance(nodes, a, b, nodes.norm2[a] + nodes.norm2[b] -
						   2 * nodes.scale[a] * nodes.scale[b] * (float) dot);
}

/* Graph distances of m.rows to m.cols, to m.distances; by the whole block */
static __device__ void
tile_distances(TileMemory &m, const Nodes &nodes)
{
	if (nodes.codes != nullptr)
		tile_dots(m, nodes);
	else
		tile_differences(m, nodes);
	for (int i = threadIdx.x; i < TILE * TILE; i += TILE_THREADS)
	{
		int			row = i / TILE;
		int			col = i % TILE;

		if (nodes.codes != nullptr)
			m.distances[row][col] = code_distance(nodes, m.rows[row],
												  m.cols[col],
												  m.dots[row][col]);
		else
			m.distances[row][col] = finish_distance(nodes, m.rows[row],
													m.cols[col],
													m.distances[row][col]);
	}
	__syncthreads();
}

/* Rows or columns of a tile; places behind the last one repeat it */
static __device__ void
tile_load_ids(uint32_t *to, const uint32_t *ids, uint32_t first,
			  uint32_t count)
{
	if (threadIdx.x < TILE)
	{
		uint32_t	i = threadIdx.x < count ? threadIdx.x : count - 1;

		to[threadIdx.x] = ids != nullptr ? ids[first + i] : first + i;
	}
}

/* --- sorted lists in registers: place r * 32 + lane is keys[r] --- */

template<int R> static __device__ void
list_load(uint64_t *keys, const uint64_t *from, int n)
{
	int			lane = threadIdx.x % 32;

#pragma unroll
	for (int r = 0; r < R; r++)
		keys[r] = r * 32 + lane < n ? from[r * 32 + lane] : NO_KEY;
}

template<int R> static __device__ void
list_store(const uint64_t *keys, uint64_t *to, int n)
{
	int			lane = threadIdx.x % 32;

#pragma unroll
	for (int r = 0; r < R; r++)
	{
		if (r * 32 + lane < n)
			to[r * 32 + lane] = keys[r];
	}
}

/* The last of "room" places: what is not below it does not get in */
template<int R> static __device__ uint64_t
list_worst(const uint64_t *keys, int room)
{
	uint64_t	worst = NO_KEY;

#pragma unroll
	for (int r = 0; r < R; r++)
	{
		uint64_t	key = warp_from(keys[r], (room - 1) % 32);

		if (r == (room - 1) / 32)
			worst = key;
	}
	return worst;
}

/* Insert a key, the same in all lanes, unless it is there */
template<int R> static __device__ void
list_insert(uint64_t *keys, int room, uint64_t key)
{
	int			lane = threadIdx.x % 32;
	int			place = 0;
	uint32_t	same = 0;

#pragma unroll
	for (int r = 0; r < R; r++)
	{
		place += __popc(warp_ballot(keys[r] < key));
		same |= warp_ballot(keys[r] == key);
	}
	if (same != 0 || place >= room)
		return;
#pragma unroll
	for (int r = R - 1; r >= 0; r--)
	{
		uint64_t	before = warp_up(keys[r]);
		uint64_t	carry = warp_from(keys[r > 0 ? r - 1 : 0], 31);
		int			at = r * 32 + lane;

		if (lane == 0)
			before = carry;
		if (at >= room)
			keys[r] = NO_KEY;
		else if (at > place)
			keys[r] = before;
		else if (at == place)
			keys[r] = key;
	}
}

template<int R> static __device__ int
list_count(const uint64_t *keys)
{
	int			count = 0;

#pragma unroll
	for (int r = 0; r < R; r++)
		count += __popc(warp_ballot(keys[r] != NO_KEY));
	return count;
}

/* --- partition --- */

/*
 * Which leaders items follow, nearest first, and how many each has.  Columns are
 * leaders, whose numbers are those of their cells.
 */
static __global__ void
assign_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *items,
			  const uint32_t *leaders, int fanout, uint32_t *cells,
			  uint32_t *counts)
{
	__shared__ TileMemory m;
	TileJob		job = jobs[blockIdx.x];
	float		best[MAX_FANOUT];
	uint32_t	chosen[MAX_FANOUT];
	int			nbest = 0;

	tile_load_ids(m.rows, items, job.row, job.nrows);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);

		__syncthreads();
		tile_load_ids(m.cols, leaders, job.col + first, count);
		__syncthreads();
		tile_distances(m, nodes);
		for (uint32_t i = 0; threadIdx.x < job.nrows && i < count; i++)
			nbest = rule_add_nearest(best, chosen, nbest, fanout,
									 m.distances[threadIdx.x][i],
									 job.col + first + i);
	}
	for (int i = 0; threadIdx.x < job.nrows && i < nbest; i++)
	{
		cells[(size_t) (job.row + threadIdx.x) * fanout + i] = chosen[i];
		atomicAdd(&counts[chosen[i]], 1);
	}
}

/* --- nearest of rows --- */

/*
 * The "keep" nearest columns of each row, sorted, to results.  With is_range
 * columns are nodes by number, and keys without salt.
 */
template<int R> static __global__ void
nearest_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *ids,
			   bool is_range, int keep, uint64_t *results)
{
	__shared__ TileMemory m;
	TileJob		job = jobs[blockIdx.x];
	int			warp = threadIdx.x / 32;
	int			lane = threadIdx.x % 32;

	tile_load_ids(m.rows, ids, job.row, job.nrows);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);

		__syncthreads();
		tile_load_ids(m.cols, is_range ? nullptr : ids, job.col + first, count);
		__syncthreads();
		tile_distances(m, nodes);
		for (uint32_t row = warp; row < job.nrows; row += TILE_THREADS / 32)
		{
			uint64_t   *mine = results + (size_t) (job.out + row) * keep;
			uint32_t	salt = is_range ? 0 : rule_salt(m.rows[row]);
			uint64_t	keys[R];
			uint64_t	worst;

			list_load<R>(keys, mine, first == 0 ? 0 : keep);
			worst = list_worst<R>(keys, keep);
			for (int part = 0; part < TILE; part += 32)
			{
				uint32_t	col = part + lane;
				uint64_t	key = NO_KEY;
				uint32_t	better;

				if (col < count && m.cols[col] != m.rows[row])
					key = rule_key(m.distances[row][col], m.cols[col], salt);
				better = warp_ballot(key < worst);
				while (better != 0)
				{
					uint64_t	next = warp_from(key, __ffs(better) - 1);

					better &= better - 1;
					if (next >= worst)
						continue;
					list_insert<R>(keys, keep, next);
					worst = list_worst<R>(keys, keep);
				}
			}
			list_store<R>(keys, mine, keep);
		}
	}
}

/* --- lists --- */

/* Where the entries of one of many begin, if it is known where they end */
static __device__ uint32_t
begin_of(const uint32_t *ends, uint32_t which)
{
	return which > 0 ? ends[which - 1] : 0;
}

/*
 * Merge rows of results into the lists of nodes: those of a node are rows[] up
 * to ends[node].  Without nodes, the o-th list is that of the o-th, and begins
 * empty.
 */
template<int R> static __global__ void
merge_kernel(uint32_t count, const uint32_t *nodes, const uint32_t *ends,
			 const uint32_t *rows, int keep, const uint64_t *results, int room,
			 uint64_t *lists, int *nlist)
{
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t	node;
	uint32_t	first;
	uint64_t	keys[R];
	uint64_t	worst;

	if (which >= count)
		return;
	node = nodes != nullptr ? nodes[which] : which;
	first = begin_of(ends, node);
	if (nodes != nullptr && first == ends[node])
		return;
	list_load<R>(keys, lists + (size_t) node * room,
				 nodes != nullptr ? nlist[node] : 0);
	worst = list_worst<R>(keys, room);
	for (uint32_t i = first; i < ends[node]; i++)
	{
		const uint64_t *row = results + (size_t) rows[i] * keep;

		/* rows are sorted: nothing behind one that is too far gets in */
		for (int part = 0; part < keep; part += 32)
		{
			uint64_t	key = part + lane < keep ? row[part + lane] : NO_KEY;
			uint32_t	better = warp_ballot(key < worst);

			if (better == 0)
				break;
			for (; better != 0; better &= better - 1)
			{
				uint64_t	next = warp_from(key, __ffs(better) - 1);

				if (next < worst)
				{
					list_insert<R>(keys, room, next);
					worst = list_worst<R>(keys, room);
				}
			}
		}
	}
	list_store<R>(keys, lists + (size_t) node * room, room);
	room = list_count<R>(keys);
	if (lane == 0 && nlist != nullptr)
		nlist[node] = room;
}

static __global__ void
clear_kernel(uint32_t count, const uint32_t *nodes, int *nlist)
{
	uint32_t	i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < count)
		nlist[nodes[i]] = 0;
}

#endif							/* OMEN_GPU_COMPARE_CUH */
