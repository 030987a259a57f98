/*-------------------------------------------------------------------------
 *
 * choose.cuh
 *	  The choice of a node's links among candidates, by a warp.
 *
 * All pairs of up to 128 candidates are computed at once, in shared memory; of
 * more, those that are asked for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_CHOOSE_CUH
#define OMEN_GPU_CHOOSE_CUH

#include <limits.h>

#include "gpu/helper/compare.cuh"

/* --- distances of two nodes --- */

/* By a warp; the same in all lanes */
static __device__ float
warp_distance(const Nodes &nodes, uint32_t a, uint32_t b)
{
	int			lane = threadIdx.x % 32;
	Factors		x_factors = nodes.factors[a];
	Factors		y_factors = nodes.factors[b];
	float		lift = x_factors.lift - y_factors.lift;
	size_t		a_slot = slot_of(nodes, a);
	size_t		b_slot = slot_of(nodes, b);

	if (nodes.codes != nullptr)
	{
		const int32_t *x = (const int32_t *) (nodes.codes + a_slot * nodes.pad);
		const int32_t *y = (const int32_t *) (nodes.codes + b_slot * nodes.pad);
		int32_t		dot = 0;

		for (uint32_t i = lane; i < nodes.pad / 4; i += 32)
			dot = dot_4(x[i], y[i], dot);
		return lifted_distance(code_distance(x_factors.norm2, y_factors.norm2,
											 x_factors.scale, y_factors.scale,
											 warp_sum(dot)), lift);
	}
	else
	{
		const float *x = nodes.vectors + a_slot * nodes.dims;
		const float *y = nodes.vectors + b_slot * nodes.dims;
		float		sum = 0;

		for (uint32_t i = lane; i < nodes.dims; i += 32)
		{
			float		d = x[i] - y[i];

			sum += nodes.is_l1 ? fabsf(d) : d * d;
		}
		return lifted_distance(warp_sum(sum), lift);
	}
}

/* --- distances of all pairs of some nodes --- */

/* Candidates of so many registers a lane have all their pairs computed at once */
static const int PAIRS_REGISTERS = 4;

/* Of up to so many, products are computed on tensor cores if there are any */
#ifdef TENSOR_CORES
static const int TENSOR_REGISTERS = 2;
#else
static const int TENSOR_REGISTERS = 0;
#endif

/*
 * They are in blocks of 16 by 16, on the diagonal and below it, by row; rows of a block
 * are apart by 4 more, as multiples of 16 would all be in the same two banks
 */
static const int BLOCK_SIDE = 16;
static const int BLOCK_ROW = BLOCK_SIDE + 4;
static const int BLOCK_PRODUCTS = BLOCK_SIDE * BLOCK_ROW;

static __host__ __device__ constexpr int
count_blocks(int r)
{
	return r <= TENSOR_REGISTERS ? r * (2 * r + 1) : 1;
}

/*
 * Up to 32 * R nodes; 64 bytes of each at a time; and of each two, i >= j, a
 * product or a sum of differences at [i * (i + 1) / 2 + j].  Or products in blocks,
 * which come when codes have gone.
 */
template<int R> struct alignas(128) PairMemory
{
	union
	{
		struct
		{
			union
			{
				int8_t		codes[CODE_CHUNK / 16][slice_places(R * 32)][16];
				float		values[FLOAT_CHUNK][slice_places(R * 32)];
			};
			union
			{
				int32_t		dots[R * 32 * (R * 32 + 1) / 2];
				float		differences[R * 32 * (R * 32 + 1) / 2];
			};
		};
		int32_t		products[count_blocks(R) * BLOCK_PRODUCTS];
	};
	float		norm2[R * 32];
	float		scale[R * 32];
	float		lift[R * 32];
	uint32_t	slots[R * 32];
};

static __device__ int
pair_place(int i, int j)
{
	return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i;
}

/* The place of a product in blocks is the sum of those of its row and its column */
static __device__ uint32_t
row_place(uint32_t i)
{
	uint32_t	block = i / BLOCK_SIDE;

	return block * (block + 1) / 2 * BLOCK_PRODUCTS + i % BLOCK_SIDE * BLOCK_ROW;
}

static __device__ uint32_t
column_place(uint32_t i)
{
	return i / BLOCK_SIDE * BLOCK_PRODUCTS + i % BLOCK_SIDE;
}

/* What is added up for 16 pairs: of 4 nodes, "stride" apart, with 4 others */
template<typename T> struct PairSums
{
	T			at[4][4] = {};
};

template<int R> static __device__ void
add_codes(const PairMemory<R> &p, int row, int col, int stride,
		  PairSums<int32_t> &sums)
{
	for (int slice = 0; slice < CODE_CHUNK / 16; slice++)
	{
		int4		x[4];
		int4		y[4];

#pragma unroll
		for (int i = 0; i < 4; i++)
		{
			x[i] = *(const int4 *) p.codes[slice][row + i * stride];
			y[i] = *(const int4 *) p.codes[slice][col + i * stride];
		}
#pragma unroll
		for (int i = 0; i < 4; i++)
		{
#pragma unroll
			for (int j = 0; j < 4; j++)
			{
				int32_t		sum = sums.at[i][j];

				sum = dot_4(x[i].x, y[j].x, sum);
				sum = dot_4(x[i].y, y[j].y, sum);
				sum = dot_4(x[i].z, y[j].z, sum);
				sums.at[i][j] = dot_4(x[i].w, y[j].w, sum);
			}
		}
	}
}

template<int R> static __device__ void
add_values(const PairMemory<R> &p, bool is_l1, int row, int col, int stride,
		   PairSums<float> &sums)
{
	for (int k = 0; k < FLOAT_CHUNK; k++)
	{
#pragma unroll
		for (int i = 0; i < 4; i++)
		{
#pragma unroll
			for (int j = 0; j < 4; j++)
			{
				float		d = p.values[k][row + i * stride] -
					p.values[k][col + j * stride];

				sums.at[i][j] += is_l1 ? fabsf(d) : d * d;
			}
		}
	}
}

/*
 * Each pair has one place, those of a quadruple with itself as well.  Which of the
 * two nodes is the larger depends on a and b only, as col <= row < stride.
 */
template<typename T> static __device__ void
keep_sums(const PairSums<T> &sums, int row, int col, int stride, int n,
		  bool is_first, T *to)
{
#pragma unroll
	for (int a = 0; a < 4; a++)
	{
#pragma unroll
		for (int b = 0; b < 4; b++)
		{
			int			i = row + a * stride;
			int			j = col + b * stride;

			int			place = a >= b ? i * (i + 1) / 2 + j :
				j * (j + 1) / 2 + i;

			if (i < n && j < n && (row != col || a > b))
				to[place] = sums.at[a][b] + (is_first ? 0 : to[place]);
		}
	}
}

/* load(i) and store(i, what was loaded) for n numbers, by a warp */
template<typename T, typename Load, typename Store> static __device__ void
load_each(int n, Load load, Store store)
{
	for (int first = threadIdx.x % 32; first < n; first += 32 * LOADS)
	{
		T			loaded[LOADS];

#pragma unroll
		for (int k = 0; k < LOADS; k++)
			loaded[k] = load(min(first + k * 32, n - 1));
#pragma unroll
		for (int k = 0; k < LOADS; k++)
		{
			if (first + k * 32 < n)
				store(first + k * 32, loaded[k]);
		}
	}
}

/* 64 bytes of each node, from byte or dimension "chunk" on; rest is 0 */
template<int R> static __device__ void
load_chunk(PairMemory<R> &p, const Nodes &nodes, int count, uint32_t chunk)
{
	if (nodes.codes != nullptr)
		load_each<int4>(count * 4, [&] (int i) {
			return *(const int4 *) (nodes.codes + (size_t) p.slots[i / 4] *
									nodes.pad + chunk + i % 4 * 16);
		}, [&] (int i, int4 slice) {
			*(int4 *) p.codes[i % 4][i / 4] = slice;
		});
	else
		load_each<float>(count * FLOAT_CHUNK, [&] (int i) {
			return value_of(nodes, p.slots[i / FLOAT_CHUNK],
							chunk + i % FLOAT_CHUNK);
		}, [&] (int i, float value) {
			p.values[i % FLOAT_CHUNK][i / FLOAT_CHUNK] = value;
		});
}

/*
 * All pairs of n nodes.  A lane computes 16 at a time: nodes row, row + stride, ...
 * with col, col + stride, ..., for each col <= row < stride, so that lanes read
 * successive places.
 */
template<int R> static __device__ void
compute_quadruples(PairMemory<R> &p, const Nodes &nodes, int n)
{
	int			lane = threadIdx.x % 32;
	int			stride = (n + 3) / 4;
	uint32_t	length = nodes.codes != nullptr ? nodes.pad : nodes.dims;
	uint32_t	step = nodes.codes != nullptr ? CODE_CHUNK : FLOAT_CHUNK;

	for (uint32_t chunk = 0; chunk < length; chunk += step)
	{
		int			row = 0;
		int			col = lane;

		warp_sync();
		load_chunk(p, nodes, stride * 4, chunk);
		warp_sync();
		for (;; col += 32)
		{
			while (col > row)
				col -= ++row;
			if (row >= stride)
				break;
			if (nodes.codes != nullptr)
			{
				PairSums<int32_t> sums;

				add_codes(p, row, col, stride, sums);
				keep_sums(sums, row, col, stride, n, chunk == 0, p.dots);
			}
			else
			{
				PairSums<float> sums;

				add_values(p, nodes.is_l1, row, col, stride, sums);
				keep_sums(sums, row, col, stride, n, chunk == 0,
						  p.differences);
			}
		}
	}
}

#ifdef TENSOR_CORES
/*
 * Products of n nodes, and of others behind them up to a multiple of 16, in blocks:
 * zeros in those of none
 */
template<int R> static __device__ void
compute_products(PairMemory<R> &p, const Nodes &nodes, int n)
{
	using namespace nvcuda;
	wmma::fragment<wmma::accumulator, 16, 16, 16, int> sums[2 * R][2 * R];

#pragma unroll
	for (int i = 0; i < 2 * R; i++)
	{
#pragma unroll
		for (int j = 0; j <= i; j++)
			wmma::fill_fragment(sums[i][j], 0);
	}
	for (uint32_t chunk = 0; chunk < nodes.pad; chunk += CODE_CHUNK)
	{
		warp_sync();
		load_chunk(p, nodes, (n + 15) / 16 * 16, chunk);
		warp_sync();
		for (int slice = 0; slice < CODE_CHUNK / 16; slice++)
		{
			wmma::fragment<wmma::matrix_a, 16, 16, 16, signed char,
				wmma::row_major> rows;
			wmma::fragment<wmma::matrix_b, 16, 16, 16, signed char,
				wmma::col_major> cols[2 * R];

#pragma unroll
			for (int i = 0; i < 2 * R; i++)
			{
				if (i * 16 >= n)
					break;
				wmma::load_matrix_sync(rows, (const signed char *)
									   p.codes[slice][i * 16], 16);
				wmma::load_matrix_sync(cols[i], (const signed char *)
									   p.codes[slice][i * 16], 16);
#pragma unroll
				for (int j = 0; j <= i; j++)
					wmma::mma_sync(sums[i][j], rows, cols[j], sums[i][j]);
			}
		}
	}
	warp_sync();
#pragma unroll
	for (int i = 0; i < 2 * R; i++)
	{
#pragma unroll
		for (int j = 0; j <= i; j++)
			wmma::store_matrix_sync(p.products + row_place(i * BLOCK_SIDE) +
									column_place(j * BLOCK_SIDE), sums[i][j],
									BLOCK_ROW, wmma::mem_row_major);
	}
}
#endif

/* Where a candidate's code is, and what its distances are made of besides */
struct Candidate
{
	uint32_t	slot;
	Factors		factors;
};

/* What all pairs of n nodes are made of, by a warp */
template<int R> static __device__ void
compute_pairs(PairMemory<R> &p, const Nodes &nodes, const uint64_t *keys,
			  int n, uint32_t salt)
{
	load_each<Candidate>((n + 15) / 16 * 16, [&] (int i) {
		uint32_t	node = rule_key_node(keys[min(i, n - 1)], salt);

		return Candidate {slot_of(nodes, node), nodes.factors[node]};
	}, [&] (int i, const Candidate &candidate) {
		p.slots[i] = candidate.slot;
		p.norm2[i] = candidate.factors.norm2;
		p.scale[i] = candidate.factors.scale;
		p.lift[i] = candidate.factors.lift;
	});
#ifdef TENSOR_CORES
	if constexpr(R <= TENSOR_REGISTERS)
	{
		if (nodes.codes != nullptr)
			compute_products(p, nodes, n);
		else
			compute_quadruples(p, nodes, n);
	}
	else
#endif
		compute_quadruples(p, nodes, n);
	warp_sync();
}

/* One of a pair: its places, and what distances are made of besides products */
struct PairSide
{
	int			place;
	int			block;
	uint32_t	row;
	uint32_t	col;
	float		norm2;
	float		scale;
	float		lift;
};

template<int R> static __device__ PairSide
side_of(const PairMemory<R> &p, uint32_t place)
{
	return PairSide {(int) place, (int) (place / BLOCK_SIDE), row_place(place),
		column_place(place), p.norm2[place], p.scale[place], p.lift[place]};
}

template<int R> static __device__ int32_t
pair_dot(const PairMemory<R> &p, const PairSide &a, const PairSide &b)
{
	if constexpr(R <= TENSOR_REGISTERS)
		return p.products[a.block >= b.block ? a.row + b.col : b.row + a.col];
	return p.dots[pair_place(a.place, b.place)];
}

template<int R> static __device__ float
pair_distance(const PairMemory<R> &p, const Nodes &nodes, const PairSide &a,
			  const PairSide &b)
{
	float		distance = nodes.codes != nullptr ?
		code_distance(a.norm2, b.norm2, a.scale, b.scale, pair_dot(p, a, b)) :
		p.differences[pair_place(a.place, b.place)];

	return lifted_distance(distance, a.lift - b.lift);
}

/* --- choice --- */

/* What one warp chooses among */
template<int R, bool HAS_PAIRS = (R <= PAIRS_REGISTERS)> struct ChoiceMemory
{
	uint64_t	keys[R * 32];
	bool		kept[R * 32];
	PairMemory<R> pairs;
};

template<int R> struct ChoiceMemory<R, false>
{
	uint64_t	keys[R * 32];
	bool		kept[R * 32];
};

/* Warps of a block, as many as have room */
static __host__ __device__ constexpr int
choice_warps(int r)
{
	return r <= PAIRS_REGISTERS ? 1 : NODE_WARPS;
}

/*
 * Candidate "next" is kept now: how far are the others from it?  Of kept ones it does
 * not matter; to leave them out would take longer.
 */
template<int R> static __device__ void
approach(const Nodes &nodes, const ChoiceMemory<R> &c, const PairSide *sides,
		 uint32_t salt, int next, const bool *kept, float *nearest)
{
	int			lane = threadIdx.x % 32;

	if constexpr (R <= PAIRS_REGISTERS)
	{
		PairSide	side = side_of(c.pairs, next);

#pragma unroll
		for (int r = 0; r < R; r++)
		{
			nearest[r] = fminf(nearest[r],
							   pair_distance(c.pairs, nodes, side, sides[r]));
		}
	}
	else
	{
		uint32_t	other = rule_key_node(c.keys[next], salt);

#pragma unroll
		for (int r = 0; r < R; r++)
		{
			uint32_t	left = warp_ballot(!kept[r]);

			for (; left != 0; left &= left - 1)
			{
				int			which = __ffs(left) - 1;
				float		distance = warp_distance(nodes, other,
													 rule_key_node(c.keys[r * 32 + which], salt));

				if (lane == which)
					nearest[r] = fminf(nearest[r], distance);
			}
		}
	}
}

/* Candidate "next" is kept now: it is as near as can be */
template<int R> static __device__ void
mark_kept(int next, bool *kept, float *nearest)
{
	int			lane = threadIdx.x % 32;

#pragma unroll
	for (int r = 0; r < R; r++)
	{
		kept[r] = kept[r] || r * 32 + lane == next;
		nearest[r] = r * 32 + lane == next ? 0 : nearest[r];
	}
}

/* How many of n candidates are copies, the first of them */
template<int R> static __device__ int
count_copies(const ChoiceMemory<R> &c, const float *distance, int n)
{
	float		last = rule_key_distance(c.keys[n - 1]);
	int			ncopies = 0;

#pragma unroll
	for (int r = 0; r < R; r++)
		ncopies += __popc(warp_ballot(r * 32 + (int) threadIdx.x % 32 < n &&
									  omen_copies_has(distance[r], last)));
	return ncopies;
}

/*
 * The heuristic over n keys, which are in c.keys: sets c.kept, returns how many
 * are kept.  In each walk the next to be kept is the first one that may be: those
 * before the last one that was kept may not, as all come only nearer.  What is kept,
 * or is no candidate, is as near as can be.
 */
template<int R> static __device__ int
choose(const Nodes &nodes, ChoiceMemory<R> &c, uint32_t node, int scale, int n,
	   int wanted)
{
	int			lane = threadIdx.x % 32;
	uint32_t	salt = rule_salt(node);
	PairSide	sides[R];
	float		distance[R];
	float		nearest[R];
	bool		kept[R];
	int			ncopies;
	int			nkept = 0;

	if constexpr (R <= PAIRS_REGISTERS)
	{
		if (n > 0)
			compute_pairs(c.pairs, nodes, c.keys, n, salt);
#pragma unroll
		for (int r = 0; r < R; r++)
			sides[r] = side_of(c.pairs, r * 32 + lane);
	}
#pragma unroll
	for (int r = 0; r < R; r++)
	{
		kept[r] = r * 32 + lane >= n;
		distance[r] = kept[r] ? 0 : rule_key_distance(c.keys[r * 32 + lane]);
		nearest[r] = kept[r] ? 0 : INFINITY;
	}

	/* some copies are kept, whatever else there is */
	ncopies = scale == 0 && n > 0 ? count_copies<R>(c, distance, n) : 0;
	for (int most = omen_copies_kept(ncopies, wanted); nkept < most; nkept++)
	{
		int			next = omen_copies_kept_at(nkept, ncopies, most);

		mark_kept<R>(next, kept, nearest);
		approach<R>(nodes, c, sides, salt, next, kept, nearest);
	}
	for (float slack = 1; slack > 0 && nkept < wanted;
		 slack = rule_next_slack(slack))
	{
		float		limit[R];

#pragma unroll
		for (int r = 0; r < R; r++)
			limit[r] = rule_limit(distance[r], slack);
		while (nkept < wanted)
		{
			int			next = INT_MAX;

#pragma unroll
			for (int r = R - 1; r >= 0; r--)
			{
				uint32_t	may = warp_ballot(rule_keeps(limit[r], nearest[r]));

				if (may != 0)
					next = r * 32 + __ffs(may) - 1;
			}
			if (next == INT_MAX)
				break;
			nkept++;
			mark_kept<R>(next, kept, nearest);
			if (nkept < wanted)
				approach<R>(nodes, c, sides, salt, next, kept, nearest);
		}
	}
#pragma unroll
	for (int r = 0; r < R; r++)
	{
		if (r * 32 + lane < n)
			c.kept[r * 32 + lane] = kept[r];
	}
	warp_sync();
	return nkept;
}

/* The list of a node, to c.keys; returns its length */
template<int R> static __device__ int
load_list(ChoiceMemory<R> &c, uint32_t node, int room, const uint64_t *lists,
		  const int *nlist)
{
	const uint64_t *list = lists + (size_t) node * room;
	int			n = nlist[node];

	for (int i = threadIdx.x % 32; i < n; i += 32)
		c.keys[i] = list[i];
	warp_sync();
	return n;
}

#endif							/* OMEN_GPU_CHOOSE_CUH */
