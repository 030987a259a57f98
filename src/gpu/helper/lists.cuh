/*-------------------------------------------------------------------------
 *
 * lists.cuh
 *	  Sorted lists of keys, a warp for each.
 *
 * A list is spread over the registers of a warp's lanes while a few keys are put
 * into it, or lies in shared memory while other lists are merged with it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_LISTS_CUH
#define OMEN_GPU_LISTS_CUH

#include "gpu/helper/device.h"
#include "gpu/helper/rules.h"

/* Threads of a block of which each warp has a node */
static const int NODE_THREADS = 128;
static const int NODE_WARPS = NODE_THREADS / 32;

/*
 * Of the lanes that are chosen, how many came before this one; *count of them in
 * registers before, with those of this one afterwards
 */
static __device__ int
take_place(bool is_chosen, int *count)
{
	uint32_t	chosen = warp_ballot(is_chosen);
	int			place = *count + __popc(chosen & ((1u << threadIdx.x % 32) - 1));

	*count += __popc(chosen);
	return place;
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

/* Insert what the lanes have, where it is near enough and not there */
template<int R> static __device__ void
list_take(uint64_t *keys, int room, uint64_t key)
{
	uint64_t	worst = list_worst<R>(keys, room);
	uint32_t	better = warp_ballot(key < worst);

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

/* The smaller of two lanes' keys to one of them, the larger to the other */
template<typename T> static __device__ T
exchange_keys(T key, int distance, bool ascending)
{
	int			lane = threadIdx.x % 32;
	T			other = warp_from(key, lane ^ distance);
	bool		takes_smaller = ((lane & distance) == 0) == ascending;

	return (other < key) == takes_smaller ? other : key;
}

/* The lanes' keys in their order (Batcher's bitonic sort) */
template<typename T> static __device__ T
sort_keys(T key)
{
	for (int size = 2; size <= 32; size *= 2)
	{
		for (int distance = size / 2; distance > 0; distance /= 2)
			key = exchange_keys(key, distance, (threadIdx.x % 32 & size) == 0);
	}
	return key;
}

/*
 * As list_take() for a list of one register, with keys that are not in it: the
 * lanes' keys are sorted, and merged with the list.
 */
static __device__ void
list_merge(uint64_t *keys, int room, uint64_t key)
{
	int			lane = threadIdx.x % 32;

	key = warp_from(sort_keys(key), 31 - lane);
	if (key < keys[0])
		keys[0] = key;
	for (int distance = 16; distance > 0; distance /= 2)
		keys[0] = exchange_keys(keys[0], distance, true);
	if (lane >= room)
		keys[0] = NO_KEY;
}

/* --- sorted lists in shared memory, merged by rank --- */

/* Keys in no order, and a list of one register that they are merged with */
struct alignas(16) QueueMemory
{
	uint64_t	found[32];
	uint64_t	list[32];
};

struct alignas(16) KeyPair
{
	uint64_t	first;
	uint64_t	second;
};

/* Up to 32 * R keys, and those that they are merged with */
template<int R> struct ListMemory
{
	uint64_t	keys[R * 32];
	uint64_t	batch[32];
};

/* Of n sorted keys, how many are below this one; R * 32 or fewer */
template<int R> static __device__ int
count_below(const uint64_t *keys, int n, uint64_t key)
{
	int			below = 0;

#pragma unroll
	for (int step = 32 * (R <= 2 ? R : R <= 4 ? 4 : R); step > 0; step /= 2)
	{
		if (below + step <= n && keys[below + step - 1] < key)
			below += step;
	}
	return below;
}

/*
 * Merge the lanes' keys, which are sorted, with n in m.keys, whatever is there or
 * finds no room left out; returns how many there are then.  NO_KEY is none.
 */
template<int R> static __device__ int
list_merge_sorted(ListMemory<R> &m, int n, int room, uint64_t key)
{
	int			lane = threadIdx.x % 32;
	int			below = count_below<R>(m.keys, n, key);
	bool		is_new = key != NO_KEY && below < room &&
		(below == n || m.keys[below] != key);
	int			nnew = 0;
	int			rank = take_place(is_new, &nnew);
	uint64_t	mine[R];

	if (nnew == 0)
		return n;
#pragma unroll
	for (int r = 0; r < R; r++)
		mine[r] = r * 32 + lane < n ? m.keys[r * 32 + lane] : NO_KEY;
	if (is_new)
		m.batch[rank] = key;
	warp_sync();
#pragma unroll
	for (int r = 0; r < R; r++)
	{
		int			at = r * 32 + lane;

		if (at < n)
			at += count_below<1>(m.batch, nnew, mine[r]);
		if (mine[r] != NO_KEY && at < room)
			m.keys[at] = mine[r];
	}
	if (is_new && below + rank < room)
		m.keys[below + rank] = key;
	warp_sync();
	return min(n + nnew, room);
}

/*
 * Merge n keys of m.found with the list in the lanes' registers, which has none of
 * them, and may be empty; returns the lanes' keys of the merged list.  Where a key goes
 * is how many are below it.
 */
static __device__ uint64_t
queue_merge(QueueMemory &m, int n, int room, bool is_empty, uint64_t key)
{
	int			lane = threadIdx.x % 32;
	int			place = 0;
	int			list_place = lane;
	uint64_t	mine;

	if (lane == n)
		m.found[n] = NO_KEY;
	m.list[lane] = key;
	warp_sync();
	mine = lane < n ? m.found[lane] : NO_KEY;
	for (int i = 0; i < n; i += 2)
	{
		KeyPair		some = *(const KeyPair *) &m.found[i];

		place += (some.first < mine) + (some.second < mine);
		if (!is_empty)
			list_place += (some.first < key) + (some.second < key);
	}
	if (!is_empty)
		place += count_below<1>(m.list, room, mine);
	warp_sync();
	if (mine != NO_KEY && place < room)
		m.list[place] = mine;
	if (key != NO_KEY && list_place < room)
		m.list[list_place] = key;
	warp_sync();
	return lane < room ? m.list[lane] : NO_KEY;
}

/* --- lists of nodes --- */

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
	__shared__ ListMemory<R> memory[NODE_WARPS];
	ListMemory<R> &m = memory[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t	node;
	uint32_t	first;
	uint64_t   *list;
	int			n;

	if (which >= count)
		return;
	node = nodes != nullptr ? nodes[which] : which;
	first = begin_of(ends, node);
	if (nodes != nullptr && first == ends[node])
		return;
	list = lists + (size_t) node * room;
	n = nodes != nullptr ? nlist[node] : 0;
	for (int i = lane; i < n; i += 32)
		m.keys[i] = list[i];
	warp_sync();
	for (uint32_t i = first; i < ends[node]; i++)
	{
		const uint64_t *row = results + (size_t) rows[i] * keep;

		for (int part = 0; part < keep; part += 32)
			n = list_merge_sorted(m, n, room, part + lane < keep ?
								  row[part + lane] : NO_KEY);
	}
	for (int i = lane; i < (nodes != nullptr ? n : room); i += 32)
		list[i] = i < n ? m.keys[i] : NO_KEY;
	if (lane == 0 && nlist != nullptr)
		nlist[node] = n;
}

static __global__ void
clear_kernel(uint32_t count, const uint32_t *nodes, int *nlist)
{
	uint32_t	i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < count)
		nlist[nodes[i]] = 0;
}

#endif							/* OMEN_GPU_LISTS_CUH */
