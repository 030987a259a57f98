/*-------------------------------------------------------------------------
 *
 * choose.cuh
 *	  Kernels that choose links: a warp for each node.
 *
 * Forward choice among candidates, offers to those chosen, and the final choice
 * among both; what is kept is stored as links.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_CHOOSE_CUH
#define OMEN_GPU_CHOOSE_CUH

#include <limits.h>

#include "gpu/helper/compare.cuh"

/* Most candidates of a node */
static const int MAX_LIST = 512;

/* The distance of two nodes, by a warp; the same in all lanes */
static __device__ float
warp_distance(const Nodes &nodes, uint32_t a, uint32_t b)
{
	int			lane = threadIdx.x % 32;

	if (nodes.codes != nullptr)
	{
		const int32_t *x = (const int32_t *) (nodes.codes + (size_t) a * nodes.pad);
		const int32_t *y = (const int32_t *) (nodes.codes + (size_t) b * nodes.pad);
		int32_t		dot = 0;

		for (uint32_t i = lane; i < nodes.pad / 4; i += 32)
			dot = dot_4(x[i], y[i], dot);
		return code_distance(nodes, a, b, warp_sum(dot));
	}
	else
	{
		const float *x = nodes.vectors + (size_t) a * nodes.dims;
		const float *y = nodes.vectors + (size_t) b * nodes.dims;
		float		sum = 0;

		for (uint32_t i = lane; i < nodes.dims; i += 32)
		{
			float		d = x[i] - y[i];

			sum += nodes.is_l1 ? fabsf(d) : d * d;
		}
		return finish_distance(nodes, a, b, warp_sum(sum));
	}
}

/* What one warp chooses among */
struct ChoiceMemory
{
	uint64_t	keys[MAX_LIST];
	bool		kept[MAX_LIST];
};

/*
 * The heuristic over n keys, which are in c.keys: sets c.kept, returns how many
 * are kept.  In each walk the next to be kept is the first behind the last one
 * that may be, as kept ones change what others may be.
 */
template<int R> static __device__ int
choose(const Nodes &nodes, ChoiceMemory &c, uint32_t node, int n, int wanted)
{
	int			lane = threadIdx.x % 32;
	uint32_t	salt = rule_salt(node);
	float		nearest[R];
	bool		kept[R];
	int			nkept = 0;

#pragma unroll
	for (int r = 0; r < R; r++)
	{
		nearest[r] = INFINITY;
		kept[r] = r * 32 + lane >= n;
	}
	for (float slack = 1; slack > 0 && nkept < wanted;
		 slack = rule_next_slack(slack))
	{
		int			last = -1;

		while (nkept < wanted)
		{
			int			next = INT_MAX;
			uint32_t	other;

#pragma unroll
			for (int r = R - 1; r >= 0; r--)
			{
				int			at = r * 32 + lane;
				uint32_t	may = warp_ballot(at > last && !kept[r] &&
											  rule_keeps(rule_key_distance(c.keys[at < n ? at : 0]),
														 nearest[r], slack));

				if (may != 0)
					next = r * 32 + __ffs(may) - 1;
			}
			if (next == INT_MAX)
				break;
			other = rule_key_node(c.keys[next], salt);
			nkept++;
			last = next;
#pragma unroll
			for (int r = 0; r < R; r++)
			{
				if (r * 32 + lane == next)
					kept[r] = true;
			}
			if (nkept == wanted)
				break;
#pragma unroll
			for (int r = 0; r < R; r++)
			{
				uint32_t	left = warp_ballot(!kept[r]);

				for (; left != 0; left &= left - 1)
				{
					int			which = __ffs(left) - 1;
					float		distance = warp_distance(nodes, other,
														 rule_key_node(c.keys[r * 32 + which], salt));

					if (lane == which && distance < nearest[r])
						nearest[r] = distance;
				}
			}
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
static __device__ int
load_list(ChoiceMemory &c, uint32_t node, int room, const uint64_t *lists,
		  const int *nlist)
{
	const uint64_t *list = lists + (size_t) node * room;
	int			n = nlist[node];

	for (int i = threadIdx.x % 32; i < n; i += 32)
		c.keys[i] = list[i];
	warp_sync();
	return n;
}

template<int R> static __global__ void
forward_kernel(Nodes nodes, uint32_t count, const uint32_t *members,
			   int wanted_local, int wanted_high, const uint8_t *levels,
			   int room, uint64_t *lists, int *nlist, int *nkept)
{
	__shared__ ChoiceMemory memory[NODE_WARPS];
	ChoiceMemory &c = memory[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t	node;
	int			n;
	int			wanted;
	int			kept;

	if (which >= count)
		return;
	node = members[which];
	wanted = levels[node] > 0 ? wanted_high : wanted_local;
	n = load_list(c, node, room, lists, nlist);
	kept = choose<R>(nodes, c, node, n, wanted);

	/* the kept to the front, then as many others as are wanted */
	if (lane == 0)
	{
		uint64_t   *list = lists + (size_t) node * room;
		int			nchosen = 0;

		for (int pass = 0; pass < 2; pass++)
		{
			for (int i = 0; i < n && nchosen < wanted; i++)
			{
				if (c.kept[i] == (pass == 0))
					list[nchosen++] = c.keys[i];
			}
		}
		nlist[node] = nchosen;
		nkept[node] = kept;
	}
}

/* Count, or with offers fill in, what each target is offered */
static __global__ void
offer_kernel(uint32_t count, const uint32_t *members, int room,
			 const uint64_t *lists, const int *nkept, uint32_t *cursors,
			 uint64_t *offers)
{
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	uint32_t	node;
	uint32_t	salt;

	if (which >= count)
		return;
	node = members[which];
	salt = rule_salt(node);
	for (int i = threadIdx.x % 32; i < nkept[node]; i += 32)
	{
		uint64_t	key = lists[(size_t) node * room + i];
		uint32_t	target = rule_key_node(key, salt);
		uint32_t	at = atomicAdd(&cursors[target], 1);

		if (offers != nullptr)
			offers[at] = rule_offer(key, node, target);
	}
}

/* Links as they are stored, by one lane */
struct LinkStore
{
	uint32_t   *links;
	uint8_t    *nlinks;
	uint8_t    *nscale;
	int			max_links;
};

static __device__ void
store_links(const ChoiceMemory &c, const LinkStore &store, uint32_t node,
			int n, int nkept, int wanted)
{
	uint32_t   *links = store.links + (size_t) node * store.max_links;
	uint32_t	salt = rule_salt(node);
	int			others = wanted - nkept;
	int			nlinks = 0;

	for (int i = 0; i < n; i++)
	{
		if (!c.kept[i] && others-- <= 0)
			continue;
		links[nlinks++] = rule_key_node(c.keys[i], salt);
	}
	store.nlinks[node] = nlinks;
	store.nscale[node] = 0;
}

static __device__ void
add_scale_links(const ChoiceMemory &c, const LinkStore &store, uint32_t node,
				int n, int wanted)
{
	uint32_t   *links = store.links + (size_t) node * store.max_links;
	uint32_t	salt = rule_salt(node);
	int			nlocal = store.nlinks[node];
	int			nlinks = nlocal;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < n && nlinks < nlocal + wanted; i++)
		{
			uint32_t	other = rule_key_node(c.keys[i], salt);
			int			j = 0;

			if (c.kept[i] != (pass == 0))
				continue;
			while (j < nlocal && links[j] != other)
				j++;
			if (j == nlocal)
				links[nlinks++] = other;
		}
	}
	store.nlinks[node] = nlinks;
	store.nscale[node] = nlinks - nlocal;
}

/*
 * A warp for each of some nodes, from order[0] on: its links, by the numbers of
 * nodes, to where they are fetched from
 */
static __global__ void
gather_kernel(uint32_t count, const uint32_t *order, const uint32_t *numbers,
			  LinkStore from, LinkStore to)
{
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t	node;

	if (which >= count)
		return;
	node = order[which];
	for (int i = lane; i < from.nlinks[node]; i += 32)
		to.links[(size_t) which * to.max_links + i] =
			numbers[from.links[(size_t) node * from.max_links + i]];
	if (lane == 0)
	{
		to.nlinks[which] = from.nlinks[node];
		to.nscale[which] = from.nscale[node];
	}
}

template<int R> static __global__ void
final_kernel(Nodes nodes, uint32_t count, const uint32_t *members, int scale,
			 int wanted_local, int wanted_high, const uint8_t *levels,
			 int room, const uint64_t *lists, const int *nlist,
			 const uint32_t *offer_ends, const uint64_t *offers,
			 LinkStore store)
{
	__shared__ ChoiceMemory memory[NODE_WARPS];
	ChoiceMemory &c = memory[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint64_t	keys[R];
	uint32_t	node;
	int			n;
	int			wanted;
	int			nkept;

	if (which >= count)
		return;
	node = members[which];
	wanted = levels[node] > 0 ? wanted_high : wanted_local;
	n = load_list(c, node, room, lists, nlist);

	/* the nearest offers that are news, in the room that is left */
	list_load<R>(keys, nullptr, 0);
	for (uint32_t i = begin_of(offer_ends, node); i < offer_ends[node]; i++)
	{
		uint64_t	offer = offers[i];
		bool		known = false;

		for (int j = lane; j < n; j += 32)
			known = known || c.keys[j] == offer;
		if (warp_ballot(known) == 0)
			list_insert<R>(keys, room - n, offer);
	}
	for (int i = 0; i < n; i++)
		list_insert<R>(keys, room, c.keys[i]);
	n = list_count<R>(keys);
	warp_sync();
	list_store<R>(keys, c.keys, n);
	warp_sync();

	nkept = choose<R>(nodes, c, node, n, wanted);
	if (lane == 0 && scale == 0)
		store_links(c, store, node, n, nkept, wanted);
	else if (lane == 0 && scale == levels[node])
		add_scale_links(c, store, node, n, wanted);
}

#endif							/* OMEN_GPU_CHOOSE_CUH */
