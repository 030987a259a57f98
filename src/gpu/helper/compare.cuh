/*-------------------------------------------------------------------------
 *
 * compare.cuh
 *	  Kernels that compare nodes: with leaders, in leaves, with queries.
 *
 * A block compares 64 rows with columns, 64 at a time: a tile of dot products on
 * tensor cores (codes of 8 bits) or of sums of differences, from which each warp
 * takes its rows' nearest.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_COMPARE_CUH
#define OMEN_GPU_COMPARE_CUH

#include "gpu/helper/device.h"
#include "gpu/helper/lists.cuh"
#include "gpu/helper/rules.h"

/* Rows and columns of a tile; threads of a block that computes one */
static const int TILE = 64;
static const int TILE_THREADS = 256;

/* What of the vectors is in shared memory at a time */
static const int CODE_CHUNK = 64;	/* bytes, in slices of 16 */
static const int FLOAT_CHUNK = 16;

/* Most leaders that a node follows */
static const int MAX_FANOUT = 4;

/* What kernels see of the nodes */
struct Nodes
{
	const uint32_t *slots;		/* where codes and vectors are, if not by node */
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

static __device__ uint32_t
slot_of(const Nodes &nodes, uint32_t node)
{
	return nodes.slots != nullptr ? nodes.slots[node] : node;
}

/* --- tiles --- */

/* Rows or columns of a tile, with what distances are made of besides products */
struct TileSide
{
	uint32_t	ids[TILE];
	uint32_t	slots[TILE];
	float		norm2[TILE];
	float		scale[TILE];
	float		lift[TILE];
};

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
		float		differences[TILE][TILE + 4];
	};
	TileSide	rows;
	TileSide	cols;
};

/* Dot products of codes, to m.dots */
static __device__ void
tile_dots(TileMemory &m, const Nodes &nodes)
{
	int			mine = threadIdx.x / 4;
	int			slice = threadIdx.x % 4;
	const int8_t *a = nodes.codes + (size_t) m.rows.slots[mine] * nodes.pad +
		slice * 16;
	const int8_t *b = nodes.codes + (size_t) m.cols.slots[mine] * nodes.pad +
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

/* Sums of squared or absolute differences, to m.differences */
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
				nodes.vectors[(size_t) m.rows.slots[i / FLOAT_CHUNK] * nodes.dims + dim] : 0;
			m.floats.b[i / FLOAT_CHUNK][i % FLOAT_CHUNK] = inside ?
				nodes.vectors[(size_t) m.cols.slots[i / FLOAT_CHUNK] * nodes.dims + dim] : 0;
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
			m.differences[row + i][col + j] = sums[i][j];
	}
	__syncthreads();
}

/* What is added for inner products */
static __device__ float
lifted_distance(float distance, float lift)
{
	return rule_distance(rule_distance(distance) + lift * lift);
}

static __device__ float
code_distance(float norm2, float other_norm2, float scale, float other_scale,
			  int32_t dot)
{
	return norm2 + other_norm2 - 2 * scale * other_scale * (float) dot;
}

/* What a tile is made of for distances of m.rows and m.cols; by the whole block */
static __device__ void
tile_compute(TileMemory &m, const Nodes &nodes)
{
	if (nodes.codes != nullptr)
		tile_dots(m, nodes);
	else
		tile_differences(m, nodes);
}

/* A graph distance, from that */
static __device__ float
tile_distance(const TileMemory &m, const Nodes &nodes, uint32_t row,
			  uint32_t col)
{
	float		distance = nodes.codes != nullptr ?
		code_distance(m.rows.norm2[row], m.cols.norm2[col], m.rows.scale[row],
					  m.cols.scale[col], m.dots[row][col]) :
		m.differences[row][col];

	return lifted_distance(distance, m.rows.lift[row] - m.cols.lift[col]);
}

/* Rows or columns of a tile; places behind the last one repeat it */
static __device__ void
tile_load_side(TileSide &side, const Nodes &nodes, const uint32_t *ids,
			   uint32_t first, uint32_t count)
{
	if (threadIdx.x < TILE)
	{
		uint32_t	i = threadIdx.x < count ? threadIdx.x : count - 1;
		uint32_t	node = ids != nullptr ? ids[first + i] : first + i;

		side.ids[threadIdx.x] = node;
		side.slots[threadIdx.x] = slot_of(nodes, node);
		side.norm2[threadIdx.x] = nodes.norm2[node];
		side.scale[threadIdx.x] = nodes.scale[node];
		side.lift[threadIdx.x] = nodes.lift[node];
	}
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

	tile_load_side(m.rows, nodes, items, job.row, job.nrows);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);

		__syncthreads();
		tile_load_side(m.cols, nodes, leaders, job.col + first, count);
		__syncthreads();
		tile_compute(m, nodes);
		for (uint32_t i = 0; threadIdx.x < job.nrows && i < count; i++)
			nbest = rule_add_nearest(best, chosen, nbest, fanout,
									 tile_distance(m, nodes, threadIdx.x, i),
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
 * Of a thinned leaf: by place of its rows, as results are, how far each can be
 * seen from in each ranking, and of how many others it sees.
 */
struct Thinning
{
	float	   *limits;			/* RANKINGS of each */
	uint32_t   *nseen;
};

/* More keys than this are faster sorted and merged than inserted one by one */
static const int FEW_KEYS = 4;

/*
 * What of a tile is among the nearest of its row so far, into that one's list.
 * With limits, only what the row sees, given those of the column's places; returns
 * how many that are.
 */
template<int R> static __device__ int
tile_take_nearest(const TileMemory &m, const Nodes &nodes, uint32_t row,
				  uint32_t count, uint32_t salt, const float *limits,
				  uint64_t *list, int keep)
{
	int			lane = threadIdx.x % 32;
	uint64_t	worst = list[keep - 1];
	uint64_t	found[TILE / 32];
	uint32_t	better[TILE / 32];
	uint32_t	any = 0;
	int			nseen = 0;
	uint64_t	keys[R];

#pragma unroll
	for (int part = 0; part < TILE / 32; part++)
	{
		uint32_t	col = part * 32 + lane;

		found[part] = NO_KEY;
		if (col < count && m.cols.ids[col] != m.rows.ids[row])
		{
			float		distance = tile_distance(m, nodes, row, col);

			if (limits == nullptr || distance <= limits[col * RANKINGS])
				found[part] = rule_key(distance, m.cols.ids[col], salt);
		}
		if (limits != nullptr)
			nseen += __popc(warp_ballot(found[part] != NO_KEY));
		better[part] = warp_ballot(found[part] < worst);
		any |= better[part];
	}
	if (any == 0)
		return nseen;
	list_load<R>(keys, list, keep);
#pragma unroll
	for (int part = 0; part < TILE / 32; part++)
	{
		if (R == 1 && __popc(better[part]) > FEW_KEYS)
			list_merge(keys, keep, found[part]);
		else
			list_take<R>(keys, keep, found[part]);
	}
	list_store<R>(keys, list, keep);
	return nseen;
}

/*
 * The "keep" nearest columns of each row, sorted, to results.  With is_range
 * columns are nodes by number, and keys without salt.  With thinning, whose limits
 * are known, rows see only some of their leaf.
 */
template<int R> static __global__ void
nearest_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *ids,
			   bool is_range, Thinning thinning, int keep, uint64_t *results)
{
	__shared__ TileMemory m;
	__shared__ uint64_t short_lists[R == 1 ? TILE : 1][32];
	__shared__ uint32_t salts[TILE];
	TileJob		job = jobs[blockIdx.x];
	uint64_t   *lists = R == 1 ? short_lists[0] :
		results + (size_t) job.out * keep;
	uint32_t	pitch = R == 1 ? 32 : keep;

	for (uint32_t i = threadIdx.x; i < job.nrows * pitch; i += TILE_THREADS)
		lists[i] = NO_KEY;
	tile_load_side(m.rows, nodes, ids, job.row, job.nrows);
	if (threadIdx.x < TILE)
		salts[threadIdx.x] = is_range ? 0 :
			rule_salt(m.rows.ids[threadIdx.x]);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);

		__syncthreads();
		tile_load_side(m.cols, nodes, is_range ? nullptr : ids,
					   job.col + first, count);
		__syncthreads();
		tile_compute(m, nodes);
		for (uint32_t row = threadIdx.x / 32; row < job.nrows;
			 row += TILE_THREADS / 32)
		{
			const float *limits = thinning.limits == nullptr ? nullptr :
				thinning.limits + (size_t) (job.col + first) * RANKINGS +
				rule_ranking(m.rows.ids[row]);
			int			nseen = tile_take_nearest<R>(m, nodes, row, count,
													 salts[row], limits,
													 lists + row * pitch, keep);

			if (limits != nullptr && threadIdx.x % 32 == 0)
				thinning.nseen[job.out + row] += nseen;
		}
	}
	__syncthreads();
	for (uint32_t i = threadIdx.x; R == 1 && i < job.nrows * keep;
		 i += TILE_THREADS)
		results[(size_t) job.out * keep + i] = short_lists[i / keep][i % keep];
}

/* --- thinning --- */

/* A warp for each leaf: how many of its rows have near copies */
static __global__ void
copies_kernel(uint32_t nleaves, const uint32_t *starts, int keep,
			  const uint64_t *results, uint32_t *ncopied)
{
	uint32_t	leaf = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	uint32_t	count = 0;

	if (leaf >= nleaves)
		return;
	for (uint32_t row = starts[leaf] + threadIdx.x % 32;
		 row < starts[leaf + 1]; row += 32)
	{
		const uint64_t *keys = results + (size_t) (row - starts[0]) * keep;

		count += rule_has_copies(keys[0], keys[keep - 1]);
	}
	count = warp_sum(count);
	if (threadIdx.x % 32 == 0)
		ncopied[leaf] = count;
}

/* How far rows are from the nearest one of better rank, in each ranking */
static __global__ void
reach_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *ids,
			 Thinning thinning)
{
	__shared__ TileMemory m;
	__shared__ float reaches[TILE][RANKINGS];
	TileJob		job = jobs[blockIdx.x];

	reaches[threadIdx.x / RANKINGS][threadIdx.x % RANKINGS] = INFINITY;
	tile_load_side(m.rows, nodes, ids, job.row, job.nrows);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);
		uint32_t	row = threadIdx.x / RANKINGS;
		int			ranking = threadIdx.x % RANKINGS;
		uint32_t	rank;

		__syncthreads();
		tile_load_side(m.cols, nodes, ids, job.col + first, count);
		__syncthreads();
		tile_compute(m, nodes);
		rank = rule_rank(m.rows.ids[row], ranking);
		for (uint32_t col = 0; row < job.nrows && col < count; col++)
		{
			if (rule_rank(m.cols.ids[col], ranking) < rank)
				reaches[row][ranking] = fminf(reaches[row][ranking],
											  tile_distance(m, nodes, row, col));
		}
	}
	if (threadIdx.x / RANKINGS < job.nrows)
		thinning.limits[(size_t) job.out * RANKINGS + threadIdx.x] = THIN_FACTOR *
			reaches[threadIdx.x / RANKINGS][threadIdx.x % RANKINGS];
}
static_assert(TILE *RANKINGS == TILE_THREADS, "a thread must have a row's ranking");

/*
 * What rows of thinned leaves pass on: of what they see, or of all if that is
 * too little; a block for each job
 */
static __global__ void
pass_on_kernel(const TileJob *jobs, Thinning thinning, int keep,
			   const uint64_t *thinned, uint64_t *results)
{
	TileJob		job = jobs[blockIdx.x];
	uint64_t   *to = results + (size_t) (job.out + threadIdx.x) * keep;
	const uint64_t *from = thinned + (size_t) (job.out + threadIdx.x) * keep;

	if (threadIdx.x >= job.nrows)
		return;
	if (thinning.nseen[job.out + threadIdx.x] >= (uint32_t) keep)
	{
		for (int i = 0; i < keep; i++)
			to[i] = from[i];
	}
	rule_pass_on(to, keep);
}

#endif							/* OMEN_GPU_COMPARE_CUH */
