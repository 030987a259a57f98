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
	float		lift = nodes.lift[a] - nodes.lift[b];
	size_t		a_slot = slot_of(nodes, a);
	size_t		b_slot = slot_of(nodes, b);

	if (nodes.codes != nullptr)
	{
		const int32_t *x = (const int32_t *) (nodes.codes + a_slot * nodes.pad);
		const int32_t *y = (const int32_t *) (nodes.codes + b_slot * nodes.pad);
		int32_t		dot = 0;

		for (uint32_t i = lane; i < nodes.pad / 4; i += 32)
			dot = dot_4(x[i], y[i], dot);
		return lifted_distance(code_distance(nodes.norm2[a], nodes.norm2[b],
											 nodes.scale[a], nodes.scale[b],
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
static const int SQUARE_REGISTERS = 2;
#else
static const int SQUARE_REGISTERS = 0;
#endif

/* Rows and columns of all products of up to 32 * R nodes; rows are apart by 4 more */
static __host__ __device__ constexpr int
square_size(int r)
{
	return r <= SQUARE_REGISTERS ? r * 32 : 1;
}

/*
 * Up to 32 * R nodes; 64 bytes of each at a time; and of each two, i >= j, a
 * product or a sum of differences at [i * (i + 1) / 2 + j].  Or all products, by
 * row, which come when codes have gone.
 */
template<int R> struct alignas(128) PairMemory
{
	union
	{
		struct
		{
			union
			{
				int8_t		codes[CODE_CHUNK / 16][R * 32][16];
				float		values[FLOAT_CHUNK][R * 32];
			};
			union
			{
				int32_t		dots[R * 32 * (R * 32 + 1) / 2];
				float		differences[R * 32 * (R * 32 + 1) / 2];
			};
		};
		int32_t		square[square_size(R)][square_size(R) + 4];
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

/* 64 bytes of each node, from byte or dimension "chunk" on; rest is 0 */
template<int R> static __device__ void
load_chunk(PairMemory<R> &p, const Nodes &nodes, int count, uint32_t chunk)
{
	int			lane = threadIdx.x % 32;

	if (nodes.codes != nullptr)
	{
		for (int i = lane; i < count * 4; i += 32)
			*(int4 *) p.codes[i % 4][i / 4] = *(const int4 *)
				(nodes.codes + (size_t) p.slots[i / 4] * nodes.pad + chunk +
				 i % 4 * 16);
		return;
	}
	for (int i = lane; i < count * FLOAT_CHUNK; i += 32)
	{
		uint32_t	dim = chunk + i % FLOAT_CHUNK;

		p.values[i % FLOAT_CHUNK][i / FLOAT_CHUNK] = dim < nodes.dims ?
			nodes.vectors[(size_t) p.slots[i / FLOAT_CHUNK] * nodes.dims + dim] : 0;
	}
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
 * All products of n nodes, and of others behind them up to a multiple of 16, in
 * blocks of 16 by 16; of those above the diagonal, by symmetry
 */
template<int R> static __device__ void
compute_square(PairMemory<R> &p, const Nodes &nodes, int n)
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
		{
			wmma::store_matrix_sync(&p.square[i * 16][j * 16], sums[i][j],
									square_size(R) + 4, wmma::mem_row_major);
			if (j < i)
				wmma::store_matrix_sync(&p.square[j * 16][i * 16], sums[i][j],
										square_size(R) + 4,
										wmma::mem_col_major);
		}
	}
}
#endif

/* What all pairs of n nodes are made of, by a warp */
template<int R> static __device__ void
compute_pairs(PairMemory<R> &p, const Nodes &nodes, const uint64_t *keys,
			  int n, uint32_t salt)
{
	for (int i = threadIdx.x % 32; i < (n + 15) / 16 * 16; i += 32)
	{
		uint32_t	node = rule_key_node(keys[min(i, n - 1)], salt);

		p.slots[i] = slot_of(nodes, node);
		p.norm2[i] = nodes.norm2[node];
		p.scale[i] = nodes.scale[node];
		p.lift[i] = nodes.lift[node];
	}
#ifdef TENSOR_CORES
	if constexpr(R <= SQUARE_REGISTERS)
	{
		if (nodes.codes != nullptr)
			compute_square(p, nodes, n);
		else
			compute_quadruples(p, nodes, n);
	}
	else
#endif
		compute_quadruples(p, nodes, n);
	warp_sync();
}

template<int R> static __device__ int32_t
pair_dot(const PairMemory<R> &p, int a, int b)
{
	if constexpr(R <= SQUARE_REGISTERS)
		return p.square[a][b];
	return p.dots[pair_place(a, b)];
}

/* One of a pair: its place, and what distances are made of besides products */
struct PairSide
{
	int			place;
	float		norm2;
	float		scale;
	float		lift;
};

template<int R> static __device__ PairSide
side_of(const PairMemory<R> &p, int place)
{
	return PairSide {place, p.norm2[place], p.scale[place], p.lift[place]};
}

template<int R> static __device__ float
pair_distance(const PairMemory<R> &p, const Nodes &nodes, const PairSide &a,
			  const PairSide &b)
{
	float		distance = nodes.codes != nullptr ?
		code_distance(a.norm2, b.norm2, a.scale, b.scale,
					  pair_dot(p, a.place, b.place)) :
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

/* Candidate "next" is kept now: how far are the others from it? */
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
			if (!kept[r])
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

/*
 * The heuristic over n keys, which are in c.keys: sets c.kept, returns how many
 * are kept.  In each walk the next to be kept is the first behind the last one
 * that may be, as kept ones change what others may be.
 */
template<int R> static __device__ int
choose(const Nodes &nodes, ChoiceMemory<R> &c, uint32_t node, int n,
	   int wanted)
{
	int			lane = threadIdx.x % 32;
	uint32_t	salt = rule_salt(node);
	PairSide	sides[R];
	float		distance[R];
	float		nearest[R];
	bool		kept[R];
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
		nearest[r] = INFINITY;
	}
	for (float slack = 1; slack > 0 && nkept < wanted;
		 slack = rule_next_slack(slack))
	{
		float		limit[R];
		int			last = -1;

#pragma unroll
		for (int r = 0; r < R; r++)
			limit[r] = rule_limit(distance[r], slack);
		while (nkept < wanted)
		{
			int			next = INT_MAX;

#pragma unroll
			for (int r = R - 1; r >= 0; r--)
			{
				int			at = r * 32 + lane;
				uint32_t	may = warp_ballot(at > last && !kept[r] &&
											  rule_keeps(limit[r], nearest[r]));

				if (may != 0)
					next = r * 32 + __ffs(may) - 1;
			}
			if (next == INT_MAX)
				break;
			nkept++;
			last = next;
#pragma unroll
			for (int r = 0; r < R; r++)
			{
				if (r * 32 + lane == next)
					kept[r] = true;
			}
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
