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

/*
 * Places in a slice, for so many codes or values: two more, so that those of a vector,
 * which are stored at once, are in different banks
 */
static constexpr int
slice_places(int n)
{
	return n + 2;
}

/*
 * Loads that a thread has under way at once.  They go to registers first, as each
 * would wait for the store of the one before: for all that the compiler knows, that
 * changes what is loaded.
 */
static const int LOADS = 4;

/* Most leaders that a node follows */
static const int MAX_FANOUT = 4;

/* What distances are made of besides products; in one load */
struct alignas(16) Factors
{
	float		norm2;
	float		scale;
	float		lift;			/* the coordinate added for inner products */
	float		unused;
};

/* What kernels see of the nodes */
struct Nodes
{
	const uint32_t *slots;		/* where codes and vectors are, if not by node */
	const int8_t *codes;		/* CODE8: pad bytes each */
	const float *vectors;		/* others: dims floats each */
	const Factors *factors;
	uint32_t	dims;
	uint32_t	pad;
	bool		is_l1;
	bool		is_lifted;
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

/*
 * A tile, or W of them side by side, that are computed one after the other.
 * Aligned for loads of 16 bytes and for fragments.
 */
template<int W> struct alignas(128) TileMemory
{
	union
	{
		struct
		{
			int8_t		a[CODE_CHUNK / 16][slice_places(TILE)][16];
			int8_t		b[CODE_CHUNK / 16][slice_places(TILE)][16];
		}			codes;
		struct
		{
			float		a[TILE][FLOAT_CHUNK + 1];
			float		b[TILE][FLOAT_CHUNK + 1];
		}			floats;
		QueueMemory queues[TILE_THREADS / 32];	/* when all is compared */
	};
	union
	{
		int32_t		dots[TILE][W * TILE + 4];
		float		differences[TILE][W * TILE + 4];
	};
	TileSide	rows;
	TileSide	cols[W];
};

/* Dot products of codes, to m.dots */
template<int W> static __device__ void
tile_dots(TileMemory<W> &m, const Nodes &nodes, int which)
{
	int			mine = threadIdx.x / 4;
	int			slice = threadIdx.x % 4;
	const int8_t *a = nodes.codes + (size_t) m.rows.slots[mine] * nodes.pad +
		slice * 16;
	const int8_t *b = nodes.codes + (size_t) m.cols[which].slots[mine] * nodes.pad +
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

	/* on their way while those before them are multiplied */
	int4		next_a = *(const int4 *) a;
	int4		next_b = *(const int4 *) b;

	for (uint32_t chunk = 0; chunk < nodes.pad; chunk += CODE_CHUNK)
	{
		__syncthreads();
		*(int4 *) m.codes.a[slice][mine] = next_a;
		*(int4 *) m.codes.b[slice][mine] = next_b;
		__syncthreads();
		if (chunk + CODE_CHUNK < nodes.pad)
		{
			next_a = *(const int4 *) (a + chunk + CODE_CHUNK);
			next_b = *(const int4 *) (b + chunk + CODE_CHUNK);
		}
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
		wmma::store_matrix_sync(&m.dots[row][which * TILE + col + half * 16],
								sums[half], W * TILE + 4,
								wmma::mem_row_major);
#else
	for (int i = 0; i < 4; i++)
	{
		for (int j = 0; j < 4; j++)
			m.dots[row + i][which * TILE + col + j] = sums[i][j];
	}
#endif
	__syncthreads();
}

/* A value of a vector, 0 behind its last one */
static __device__ float
value_of(const Nodes &nodes, uint32_t slot, uint32_t dim)
{
	return dim < nodes.dims ? nodes.vectors[(size_t) slot * nodes.dims + dim] : 0;
}

/* Sums of squared or absolute differences, to m.differences */
template<int W> static __device__ void
tile_differences(TileMemory<W> &m, const Nodes &nodes, int which)
{
	int			row = threadIdx.x / 16 * 4;
	int			col = threadIdx.x % 16 * 4;
	int			first = threadIdx.x / FLOAT_CHUNK;
	int			dim = threadIdx.x % FLOAT_CHUNK;
	float		sums[4][4] = {};

	static_assert(TILE_THREADS * LOADS == TILE * FLOAT_CHUNK,
				  "a thread must load so many values");
	for (uint32_t chunk = 0; chunk < nodes.dims; chunk += FLOAT_CHUNK)
	{
		float		a[LOADS];
		float		b[LOADS];

#pragma unroll
		for (int i = 0; i < LOADS; i++)
		{
			int			place = first + i * (TILE / LOADS);

			a[i] = value_of(nodes, m.rows.slots[place], chunk + dim);
			b[i] = value_of(nodes, m.cols[which].slots[place], chunk + dim);
		}
		__syncthreads();
#pragma unroll
		for (int i = 0; i < LOADS; i++)
		{
			m.floats.a[first + i * (TILE / LOADS)][dim] = a[i];
			m.floats.b[first + i * (TILE / LOADS)][dim] = b[i];
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
			m.differences[row + i][which * TILE + col + j] = sums[i][j];
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

/* Rows or columns of a tile; places behind the last one repeat it */
static __device__ void
tile_load_side(TileSide &side, const Nodes &nodes, const uint32_t *ids,
			   uint32_t first, uint32_t count)
{
	if (threadIdx.x < TILE)
	{
		uint32_t	i = threadIdx.x < count ? threadIdx.x : count - 1;
		uint32_t	node = ids != nullptr ? ids[first + i] : first + i;
		Factors		factors = nodes.factors[node];

		side.ids[threadIdx.x] = node;
		side.slots[threadIdx.x] = slot_of(nodes, node);
		side.norm2[threadIdx.x] = factors.norm2;
		side.scale[threadIdx.x] = factors.scale;
		side.lift[threadIdx.x] = factors.lift;
	}
}

/*
 * Load columns ids[first] and on, or those nodes, and compute what distances of
 * m.rows to them are made of; by the whole block
 */
template<int W> static __device__ void
tile_compute(TileMemory<W> &m, const Nodes &nodes, int which,
			 const uint32_t *ids, uint32_t first, uint32_t count)
{
	__syncthreads();
	tile_load_side(m.cols[which], nodes, ids, first, count);
	__syncthreads();
	if (nodes.codes != nullptr)
		tile_dots(m, nodes, which);
	else
		tile_differences(m, nodes, which);
}

/* Of a row or a column, its place and what distances are made of besides products */
struct TileLine
{
	uint32_t	place;
	uint32_t	id;
	float		norm2;
	float		scale;
	float		lift;
};

static __device__ TileLine
line_of(const TileSide &side, uint32_t place)
{
	uint32_t	at = place % TILE;

	return TileLine {place, side.ids[at], side.norm2[at], side.scale[at],
		side.lift[at]};
}

template<int W> static __device__ TileLine
column_of(const TileMemory<W> &m, uint32_t col)
{
	return line_of(m.cols[col / TILE], col);
}

/* A graph distance */
template<int W> static __device__ float
tile_distance(const TileMemory<W> &m, const Nodes &nodes, const TileLine &row,
			  const TileLine &col)
{
	float		distance = nodes.codes != nullptr ?
		code_distance(row.norm2, col.norm2, row.scale, col.scale,
					  m.dots[row.place][col.place]) :
		m.differences[row.place][col.place];

	return lifted_distance(distance, row.lift - col.lift);
}

/* --- partition --- */

/* Threads that share a row; each has a stretch of the columns of every tile */
static const int ROW_THREADS = TILE_THREADS / TILE;
static const int STRETCH = TILE / ROW_THREADS;

/* Blocks of a multiprocessor, as many as have room */
static const int ASSIGN_BLOCKS = 4;

/* A key among the nearest, which ascend; registers must not be indexed */
static __device__ void
add_nearest(uint64_t *nearest, uint64_t key)
{
#pragma unroll
	for (int i = MAX_FANOUT - 1; i > 0; i--)
	{
		if (key < nearest[i - 1])
			nearest[i] = nearest[i - 1];
		else if (key < nearest[i])
			nearest[i] = key;
	}
	if (key < nearest[0])
		nearest[0] = key;
}

/*
 * Which leaders items follow, nearest first, and how many each has.  Columns are
 * leaders, whose numbers are those of their cells; of equally near ones the first is
 * followed.
 */
static __global__ void __launch_bounds__(TILE_THREADS, ASSIGN_BLOCKS)
assign_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *items,
			  const uint32_t *leaders, int fanout, uint32_t *cells,
			  uint32_t *counts)
{
	__shared__ TileMemory<1> m;
	__shared__ uint64_t found[ROW_THREADS][MAX_FANOUT][TILE];
	TileJob		job = jobs[blockIdx.x];
	uint32_t	row = threadIdx.x % TILE;
	uint32_t	part = threadIdx.x / TILE;
	uint64_t	nearest[MAX_FANOUT] = {NO_KEY, NO_KEY, NO_KEY, NO_KEY};

	static_assert(MAX_FANOUT == 4, "all must be NO_KEY");
	tile_load_side(m.rows, nodes, items, job.row, job.nrows);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);

		tile_compute(m, nodes, 0, leaders, job.col + first, count);
		for (uint32_t i = part * STRETCH; i < min(count, (part + 1) * STRETCH); i++)
			add_nearest(nearest,
						rule_key(tile_distance(m, nodes, line_of(m.rows, row),
											   column_of(m, i)),
								 job.col + first + i, 0));
	}
	for (int i = 0; i < MAX_FANOUT; i++)
		found[part][i][row] = nearest[i];
	__syncthreads();
	if (threadIdx.x >= job.nrows)
		return;
	for (int i = 0; i < (ROW_THREADS - 1) * MAX_FANOUT; i++)
		add_nearest(nearest, found[1 + i / MAX_FANOUT][i % MAX_FANOUT][row]);
#pragma unroll
	for (int i = 0; i < MAX_FANOUT; i++)
	{
		uint32_t	cell = rule_key_node(nearest[i], 0);

		if (i < fanout && nearest[i] != NO_KEY)
		{
			cells[(size_t) (job.row + row) * fanout + i] = cell;
			atomicAdd(&counts[cell], 1);
		}
	}
}

/* --- nearest of rows --- */

/*
 * Of a thinned leaf: by place of its rows, as results are, how far each can be
 * seen from in each ranking, of how many others it sees, and what those lie beyond
 * that are drawn.  Without "beyond", these are not known yet; with it, a row that has
 * seen too few to choose from has seen none, and sees all.
 */
struct Thinning
{
	float	   *limits;			/* RANKINGS of each */
	uint32_t   *nseen;
	float	   *beyond;
};

/* Tiles whose columns are compared before the nearest are taken from them */
static const int WIDE = 2;

/* Columns of them that a lane has */
static const int LANE_COLUMNS = WIDE * TILE / 32;

/* Blocks of a multiprocessor, if lists are of one register: as many as have room */
static const int SHORT_BLOCKS = 4;

/* What a row does not see is farther than any distance */
static const uint32_t UNSEEN = UINT32_MAX;

/* Of a row and a lane's columns */
static __device__ void
row_distances(const TileMemory<WIDE> &m, const Nodes &nodes,
			  const TileLine &row, const TileLine *columns, float *distances)
{
	if (nodes.codes != nullptr)
	{
#pragma unroll
		for (int i = 0; i < LANE_COLUMNS; i++)
			distances[i] = rule_distance(code_distance(row.norm2,
													   columns[i].norm2, row.scale, columns[i].scale,
													   m.dots[row.place][columns[i].place]));
	}
	else
	{
#pragma unroll
		for (int i = 0; i < LANE_COLUMNS; i++)
			distances[i] = rule_distance(m.differences[row.place][columns[i].place]);
	}
	if (nodes.is_lifted)
	{
#pragma unroll
		for (int i = 0; i < LANE_COLUMNS; i++)
			distances[i] = lifted_distance(distances[i],
										   row.lift - columns[i].lift);
	}
}

/* What a row sees of a thinned leaf: what limits allow, by place, and lies beyond */
struct Sight
{
	bool		is_thinned;
	const float *limits;		/* NULL: all */
	float		beyond;
};

static __device__ Sight
sight_of(const Thinning &thinning, uint32_t row, uint32_t first, uint32_t node)
{
	Sight		sight = {thinning.limits != nullptr, nullptr, -1};

	if (!sight.is_thinned)
		return sight;
	if (thinning.beyond != nullptr)
		sight.beyond = thinning.beyond[row];
	if (thinning.beyond == nullptr || thinning.nseen[row] > 0)
		sight.limits = thinning.limits + (size_t) first * RANKINGS +
			rule_ranking(node);
	return sight;
}

/*
 * Distances of a row and a lane's columns, "count" of which there are, as bits, which
 * are in the same order; UNSEEN where it does not see them.  Returns how many it sees
 * of a thinned leaf, of all lanes.
 */
static __device__ int
row_bits(const TileMemory<WIDE> &m, const Nodes &nodes, const TileLine &row,
		 const TileLine *columns, uint32_t count, const Sight &sight,
		 uint32_t *bits)
{
	float		distances[LANE_COLUMNS];
	int			nseen = 0;

	row_distances(m, nodes, row, columns, distances);
#pragma unroll
	for (int i = 0; i < LANE_COLUMNS; i++)
		bits[i] = columns[i].place < count && columns[i].id != row.id ?
			(uint32_t) (rule_key(distances[i], 0, 0) >> 32) : UNSEEN;
	if (!sight.is_thinned)
		return 0;
#pragma unroll
	for (int i = 0; i < LANE_COLUMNS; i++)
	{
		bool		is_seen = bits[i] != UNSEEN && distances[i] > sight.beyond &&
			(sight.limits == nullptr ||
			 distances[i] <= sight.limits[columns[i].place * RANKINGS]);

		nseen += __popc(warp_ballot(is_seen));
		if (!is_seen)
			bits[i] = UNSEEN;
	}
	return nseen;
}

static __device__ uint64_t
column_key(uint32_t bits, const TileLine &column, uint32_t salt)
{
	return bits != UNSEEN ? ((uint64_t) bits << 32) | (column.id ^ salt) : NO_KEY;
}

/*
 * A distance that those of the "keep" nearest, 32 or fewer, are below: of the lanes,
 * as many have one that is not larger than the one below it
 */
static __device__ uint32_t
bound_bits(const uint32_t *bits, int keep)
{
	uint32_t	nearest = UNSEEN;

#pragma unroll
	for (int i = 0; i < LANE_COLUMNS; i++)
		nearest = min(nearest, bits[i]);
	nearest = warp_from(sort_keys(nearest), keep - 1);
	return nearest == UNSEEN ? UNSEEN : nearest + 1;
}

/* The nearest of what is seen into a row's list, which may have none yet */
template<int R> static __device__ void
take_nearest(const uint32_t *bits, const TileLine *columns, uint32_t salt,
			 QueueMemory &queue, bool is_first, uint64_t *list, int keep)
{
	uint64_t	keys[R];

	list_load<R>(keys, list, is_first ? 0 : keep);
#pragma unroll
	for (int i = 0; i < LANE_COLUMNS; i++)
		list_take<R>(keys, keep, column_key(bits[i], columns[i], salt));
	list_store<R>(keys, list, keep);
}

/* With a list of one register: those that can be among them are merged at once */
template<> __device__ void
take_nearest<1>(const uint32_t *bits, const TileLine *columns, uint32_t salt,
				QueueMemory &queue, bool is_first, uint64_t *list, int keep)
{
	int			lane = threadIdx.x % 32;
	uint64_t	key = !is_first && lane < keep ? list[lane] : NO_KEY;
	uint64_t	last = warp_from(key, keep - 1);
	uint32_t	bound = last != NO_KEY ? (uint32_t) (last >> 32) + 1 :
		bound_bits(bits, keep);
	int			count = 0;

#pragma unroll
	for (int i = 0; i < LANE_COLUMNS; i++)
	{
		int			at = take_place(bits[i] < bound, &count);

		if (bits[i] < bound && at < 32)
			queue.found[at] = column_key(bits[i], columns[i], salt);
	}
	if (count == 0 && !is_first)
		return;
	if (count > 32)
	{
#pragma unroll
		for (int i = 0; i < LANE_COLUMNS; i++)
			list_merge(&key, keep, bits[i] < bound ?
					   column_key(bits[i], columns[i], salt) : NO_KEY);
		warp_sync();			/* what was queued is written over */
	}
	else
		key = queue_merge(queue, count, keep, is_first, key);
	if (lane < keep)
		list[lane] = key;
}

/* Is anything to be drawn for some rows?  By each warp of the block */
static __device__ bool
any_beyond(const float *beyond, uint32_t nrows)
{
	bool		is_any = false;

	for (uint32_t row = threadIdx.x % 32; row < nrows; row += 32)
		is_any = is_any || beyond[row] < INFINITY;
	return warp_ballot(is_any) != 0;
}

/*
 * The "keep" nearest columns of each row, sorted, to results.  With is_range
 * columns are nodes by number, and keys without salt.  With thinning, whose limits
 * are known, rows see only some of their leaf; if it is known beyond what, too, there
 * are results only where something is drawn.
 */
template<int R> static __global__ void __launch_bounds__(TILE_THREADS, R == 1 ? SHORT_BLOCKS : 1)
nearest_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *ids,
			   bool is_range, Thinning thinning, int keep, uint64_t *results)
{
	__shared__ TileMemory<WIDE> m;
	__shared__ uint32_t salts[TILE];
	TileJob		job = jobs[blockIdx.x];

	if (thinning.beyond != nullptr &&
		!any_beyond(thinning.beyond + job.out, job.nrows))
		return;
	tile_load_side(m.rows, nodes, ids, job.row, job.nrows);
	if (threadIdx.x < TILE)
		salts[threadIdx.x] = is_range ? 0 :
			rule_salt(m.rows.ids[threadIdx.x]);
	for (uint32_t first = 0; first < job.ncols; first += WIDE * TILE)
	{
		uint32_t	count = min((uint32_t) (WIDE * TILE), job.ncols - first);
		TileLine	columns[LANE_COLUMNS];

		for (uint32_t done = 0; done < count; done += TILE)
			tile_compute(m, nodes, done / TILE, is_range ? nullptr : ids,
						 job.col + first + done,
						 min((uint32_t) TILE, count - done));
#pragma unroll
		for (int i = 0; i < LANE_COLUMNS; i++)
			columns[i] = column_of(m, i * 32 + threadIdx.x % 32);
		for (uint32_t row = threadIdx.x / 32; row < job.nrows;
			 row += TILE_THREADS / 32)
		{
			Sight		sight = sight_of(thinning, job.out + row, job.col + first,
										 m.rows.ids[row]);
			uint32_t	bits[LANE_COLUMNS];
			int			nseen = row_bits(m, nodes, line_of(m.rows, row),
										 columns, count, sight, bits);

			take_nearest<R>(bits, columns, salts[row],
							m.queues[threadIdx.x / 32], first == 0,
							results + (size_t) (job.out + row) * keep, keep);
			if (sight.is_thinned && thinning.beyond == nullptr &&
				threadIdx.x % 32 == 0)
				thinning.nseen[job.out + row] += nseen;
		}
	}
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

/*
 * How many rows have near copies, which is added to counts[job.out], by looking at
 * their distances to the columns: at the whole leaf, if those that can be told
 * without are counted; or at a sample, by which they may have, and these are counted,
 * too.  Results are by row.
 */
static __global__ void
look_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *ids, bool by_sample,
			int keep, const uint64_t *results, uint32_t *counts)
{
	__shared__ TileMemory<1> m;
	__shared__ uint32_t all_copies[TILE];
	__shared__ uint32_t all_near[TILE];
	TileJob		job = jobs[blockIdx.x];
	uint32_t	row = threadIdx.x % TILE;
	uint32_t	part = threadIdx.x / TILE;
	const uint64_t *keys = results +
		(size_t) (job.row + min(row, job.nrows - 1)) * keep;
	uint64_t	last = keys[keep - 1];
	float		limit = omen_copies_limit(rule_key_distance(last));
	float		near_limit = omen_copies_near_limit(rule_key_distance(last));
	uint32_t	ncopies = 0;
	uint32_t	nnear = 0;
	bool		is_counted;

	if (part == 0)
		all_copies[row] = all_near[row] = 0;
	tile_load_side(m.rows, nodes, ids, job.row, job.nrows);
	for (uint32_t first = 0; first < job.ncols; first += TILE)
	{
		uint32_t	count = min((uint32_t) TILE, job.ncols - first);

		tile_compute(m, nodes, 0, ids, job.col + first, count);
		for (uint32_t i = part * STRETCH; i < min(count, (part + 1) * STRETCH); i++)
		{
			TileLine	column = column_of(m, i);
			float		distance = tile_distance(m, nodes, line_of(m.rows, row),
												 column);

			ncopies += distance <= limit && column.id != m.rows.ids[row];
			nnear += distance <= near_limit && column.id != m.rows.ids[row];
		}
	}
	atomicAdd(&all_copies[row], ncopies);
	atomicAdd(&all_near[row], nnear);
	__syncthreads();
	if (part > 0 || row >= job.nrows || last == NO_KEY)
		return;
	is_counted = rule_has_copies(keys[0], last) ? by_sample : by_sample ?
		rule_may_have_copies(all_near[row], (int) job.ncols) :
		omen_copies_are_all(all_copies[row], all_near[row], (int) job.ncols, keep);
	if (is_counted)
		atomicAdd(&counts[job.out], 1);
}

/* How far rows are from the nearest one of better rank, in each ranking */
static __global__ void
reach_kernel(Nodes nodes, const TileJob *jobs, const uint32_t *ids,
			 Thinning thinning)
{
	__shared__ TileMemory<1> m;
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

		tile_compute(m, nodes, 0, ids, job.col + first, count);
		rank = rule_rank(m.rows.ids[row], ranking);
		for (uint32_t col = 0; row < job.nrows && col < count; col++)
		{
			TileLine	column = column_of(m, col);

			if (rule_rank(column.id, ranking) < rank)
				reaches[row][ranking] = fminf(reaches[row][ranking],
											  tile_distance(m, nodes,
															line_of(m.rows, row),
															column));
		}
	}
	if (threadIdx.x / RANKINGS < job.nrows)
		thinning.limits[(size_t) job.out * RANKINGS + threadIdx.x] =
			omen_copies_limit(reaches[threadIdx.x / RANKINGS][threadIdx.x % RANKINGS]);
}
static_assert(TILE *RANKINGS == TILE_THREADS, "a thread must have a row's ranking");
static_assert(SAMPLE == TILE, "a sample must be a tile");

/*
 * What rows of thinned leaves pass on: of what they see, or of all if that is
 * too little; and what others lie beyond.  A block for each job.
 */
static __global__ void
pass_on_kernel(const TileJob *jobs, Thinning thinning, int keep,
			   const uint64_t *thinned, uint64_t *results)
{
	TileJob		job = jobs[blockIdx.x];
	uint32_t	row = job.out + threadIdx.x;
	uint64_t   *to = results + (size_t) row * keep;
	const uint64_t *from = thinned + (size_t) row * keep;

	if (threadIdx.x >= job.nrows)
		return;
	if (thinning.nseen[row] >= (uint32_t) keep)
	{
		for (int i = 0; i < keep; i++)
			to[i] = from[i];
	}
	else
		thinning.nseen[row] = 0;
	thinning.beyond[row] = rule_pass_on(to, keep);
}

/* And some of these others, of the nearest */
static __global__ void
pass_others_kernel(const TileJob *jobs, const uint32_t *ids, Thinning thinning,
				   int keep, const uint64_t *others, uint64_t *results)
{
	TileJob		job = jobs[blockIdx.x];
	uint32_t	row = job.out + threadIdx.x;

	if (threadIdx.x < job.nrows && thinning.beyond[row] < INFINITY)
		rule_draw(results + (size_t) row * keep, keep,
				  others + (size_t) row * omen_others_found(keep),
				  rule_mix(ids[job.row + threadIdx.x], job.ncols));
}

#endif							/* OMEN_GPU_COMPARE_CUH */
