/*-------------------------------------------------------------------------
 *
 * links.cuh
 *	  Kernels that turn lists of candidates into links: a warp for each node.
 *
 * Forward choice among candidates, offers to those chosen, which go into their
 * lists, and the final choice among both; what is kept is stored as links.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_LINKS_CUH
#define OMEN_GPU_LINKS_CUH

#include "gpu/helper/choose.cuh"
#include "gpu/helper/lists.cuh"

template<int R> static __global__ void
forward_kernel(Nodes nodes, uint32_t count, const uint32_t *members, int scale,
			   int wanted_local, int wanted_high, const uint8_t *levels,
			   int room, uint64_t *lists, int *nlist, int *nkept)
{
	__shared__ ChoiceMemory<R> memory[choice_warps(R)];
	ChoiceMemory<R> &c = memory[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * choice_warps(R) + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	int			nothers = 0;
	int			nbefore = 0;
	uint64_t   *list;
	uint32_t	node;
	int			n;
	int			wanted;
	int			kept;

	if (which >= count)
		return;
	node = members[which];
	wanted = levels[node] > 0 ? wanted_high : wanted_local;
	n = load_list(c, node, room, lists, nlist);
	kept = choose<R>(nodes, c, node, scale, n, wanted);

	/* the kept to the front, then as many others as are wanted */
	list = lists + (size_t) node * room;
	for (int first = 0; first < n; first += 32)
	{
		int			i = first + lane;
		bool		is_kept = i < n && c.kept[i];
		int			at = take_place(is_kept, &nbefore);
		int			behind = kept + take_place(i < n && !is_kept, &nothers);

		if (!is_kept)
			at = behind;
		if (i < n && at < wanted)
			list[at] = c.keys[i];
	}
	if (lane == 0)
	{
		nlist[node] = min(n, wanted);
		nkept[node] = kept;
	}
}

/* --- offers --- */

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

/*
 * Lists of nodes and the nearest offers that are news, in the room that lists
 * leave, become lists
 */
template<int R> static __global__ void
take_offers_kernel(uint32_t count, const uint32_t *members, int room,
				   const uint32_t *offer_ends, const uint64_t *offers,
				   uint64_t *lists, int *nlist)
{
	__shared__ ListMemory<R> memory[NODE_WARPS];
	__shared__ uint64_t all_known[NODE_WARPS][R * 32];
	ListMemory<R> &m = memory[threadIdx.x / 32];
	uint64_t   *known = all_known[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint64_t   *list;
	uint32_t	node;
	int			nknown;
	int			n = 0;

	if (which >= count)
		return;
	node = members[which];
	nknown = nlist[node];
	list = lists + (size_t) node * room;
	for (int i = lane; i < nknown; i += 32)
		known[i] = list[i];
	warp_sync();
	for (uint32_t i = begin_of(offer_ends, node); i < offer_ends[node]; i += 32)
	{
		uint64_t	offer = i + lane < offer_ends[node] ? offers[i + lane] : NO_KEY;

		for (int j = 0; j < nknown; j++)
		{
			if (known[j] == offer)
				offer = NO_KEY;
		}
		n = list_merge_sorted(m, n, room - nknown, sort_keys(offer));
	}
	for (int first = 0; first < nknown; first += 32)
		n = list_merge_sorted(m, n, room, sort_keys(first + lane < nknown ?
													known[first + lane] : NO_KEY));
	for (int i = lane; i < n; i += 32)
		list[i] = m.keys[i];
	if (lane == 0)
		nlist[node] = n;
}

/* --- links --- */

/* As they are stored */
struct LinkStore
{
	uint32_t   *links;
	uint8_t    *nlinks;
	uint8_t    *nscale;
	int			max_links;
};

/* Those kept and as many others as are wanted, nearest first */
template<int R> static __device__ void
store_links(const ChoiceMemory<R> &c, const LinkStore &store, uint32_t node,
			int n, int nkept, int wanted)
{
	uint32_t   *links = store.links + (size_t) node * store.max_links;
	uint32_t	salt = rule_salt(node);
	int			nothers = 0;
	int			nlinks = 0;

	for (int first = 0; first < n; first += 32)
	{
		int			i = first + threadIdx.x % 32;
		bool		is_kept = i < n && c.kept[i];
		int			other = take_place(i < n && !is_kept, &nothers);
		bool		is_link = i < n && (is_kept || other < wanted - nkept);
		int			at = take_place(is_link, &nlinks);

		if (is_link)
			links[at] = rule_key_node(c.keys[i], salt);
	}
	if (threadIdx.x % 32 == 0)
	{
		store.nlinks[node] = nlinks;
		store.nscale[node] = 0;
	}
}

/* Which of the n candidates are among a node's local links; a bit for each r */
template<int R> static __device__ uint32_t
find_local(const ChoiceMemory<R> &c, const uint32_t *links, int nlocal,
		   uint32_t salt, int n)
{
	int			lane = threadIdx.x % 32;
	uint32_t	is_local = 0;

	for (int first = 0; first < nlocal; first += 32)
	{
		uint32_t	mine = links[min(first + lane, nlocal - 1)];

		for (int j = 0; j < 32; j++)
		{
			uint32_t	link = warp_from(mine, j);

#pragma unroll
			for (int r = 0; r < R; r++)
			{
				if (r * 32 + lane < n &&
					rule_key_node(c.keys[r * 32 + lane], salt) == link)
					is_local |= 1u << r;
			}
		}
	}
	return is_local;
}

/* Behind a node's local links, of the others those kept and then the rest */
template<int R> static __device__ void
add_scale_links(const ChoiceMemory<R> &c, const LinkStore &store, uint32_t node,
				int n, int wanted)
{
	uint32_t   *links = store.links + (size_t) node * store.max_links;
	uint32_t	salt = rule_salt(node);
	int			nlocal = store.nlinks[node];
	uint32_t	is_local = find_local(c, links, nlocal, salt, n);
	int			nlinks = 0;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int r = 0; r * 32 < n; r++)
		{
			int			i = r * 32 + threadIdx.x % 32;
			bool		is_link = i < n && c.kept[i] == (pass == 0) &&
				(is_local >> r & 1) == 0;
			int			at = take_place(is_link, &nlinks);

			if (is_link && at < wanted)
				links[nlocal + at] = rule_key_node(c.keys[i], salt);
		}
	}
	nlinks = min(nlinks, wanted);
	if (threadIdx.x % 32 == 0)
	{
		store.nlinks[node] = nlocal + nlinks;
		store.nscale[node] = nlinks;
	}
}

/*
 * In front of a node's local links, those in a set of long nodes: those kept and as
 * many others as are wanted.  What there is at the scale already does not count; the
 * last local ones make room.
 */
template<int R> static __device__ void
add_long_links(const ChoiceMemory<R> &c, const LinkStore &store, uint32_t node,
			   int n, int nkept, int wanted)
{
	uint32_t   *links = store.links + (size_t) node * store.max_links;
	uint32_t	salt = rule_salt(node);
	int			lane = threadIdx.x % 32;
	int			nscale = store.nscale[node];
	int			nlocal = store.nlinks[node] - nscale;
	uint32_t	at_scale = find_local(c, links + nlocal, nscale, salt, n);
	uint32_t	doubled = 0;
	uint32_t	mine[R];		/* lists have room for twice as many as links */
	int			nothers = 0;
	int			nadded = 0;
	int			nleft;

#pragma unroll
	for (int r = 0; r < R; r++)
		mine[r] = r * 32 + lane < nlocal + nscale ? links[r * 32 + lane] : 0;
	warp_sync();
	for (int r = 0; r * 32 < n; r++)
	{
		int			i = r * 32 + lane;
		bool		is_kept = i < n && c.kept[i];
		int			other = take_place(i < n && !is_kept, &nothers);
		uint32_t	chosen = warp_ballot(i < n && (at_scale >> r & 1) == 0 &&
										 (is_kept || other < wanted - nkept));

		for (; chosen != 0; chosen &= chosen - 1)
		{
			uint32_t	link = rule_key_node(c.keys[r * 32 + __ffs(chosen) - 1],
											 salt);

#pragma unroll
			for (int k = 0; k < R; k++)
				doubled |= (uint32_t) (mine[k] == link) << k;
			if (lane == 0)
				links[nadded] = link;
			nadded++;
		}
	}
	nleft = nadded;
#pragma unroll
	for (int r = 0; r < R; r++)
	{
		bool		is_left = r * 32 + lane < nlocal && (doubled >> r & 1) == 0;
		int			at = take_place(is_left, &nleft);

		if (is_left && at < store.max_links - nscale)
			links[at] = mine[r];
	}
	nleft = min(nleft, store.max_links - nscale);
#pragma unroll
	for (int r = 0; r < R; r++)
	{
		int			at = r * 32 + lane - nlocal;

		if (at >= 0 && at < nscale)
			links[nleft + at] = mine[r];
	}
	if (lane == 0)
		store.nlinks[node] = nleft + nscale;
}

/*
 * Nodes of a higher level than the scale, if that is not 0 nor of long nodes, keep
 * none of it
 */
template<int R> static __global__ void
link_kernel(Nodes nodes, uint32_t count, const uint32_t *members, int scale,
			int wanted_local, int wanted_high, const uint8_t *levels, int room,
			const uint64_t *lists, const int *nlist, LinkStore store)
{
	__shared__ ChoiceMemory<R> memory[choice_warps(R)];
	ChoiceMemory<R> &c = memory[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * choice_warps(R) + threadIdx.x / 32;
	uint32_t	node = which < count ? members[which] : 0;
	int			wanted = levels[node] > 0 ? wanted_high : wanted_local;
	int			n;
	int			nkept;

	if (which >= count ||
		(scale > 0 && scale < LONG_SCALE && levels[node] != scale))
		return;
	n = load_list(c, node, room, lists, nlist);
	nkept = choose<R>(nodes, c, node, scale, n, wanted);
	if (scale == 0)
		store_links(c, store, node, n, nkept, wanted);
	else if (scale >= LONG_SCALE)
		add_long_links(c, store, node, n, nkept, wanted);
	else
		add_scale_links(c, store, node, n, wanted);
}

/* Local links, nearest first */
static __global__ void
sort_kernel(Nodes nodes, uint32_t count, const uint32_t *members,
			LinkStore store)
{
	__shared__ uint64_t all_keys[NODE_WARPS][UINT8_MAX];
	uint64_t   *keys = all_keys[threadIdx.x / 32];
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t   *links;
	uint32_t	node;
	int			nlocal;

	if (which >= count)
		return;
	node = members[which];
	links = store.links + (size_t) node * store.max_links;
	nlocal = store.nlinks[node] - store.nscale[node];
	for (int i = 0; i < nlocal; i++)
	{
		float		distance = warp_distance(nodes, node, links[i]);

		if (lane == 0)
			keys[i] = rule_key(distance, links[i], 0);
	}
	warp_sync();
	for (int i = lane; i < nlocal; i += 32)
	{
		int			place = 0;

		for (int j = 0; j < nlocal; j++)
			place += keys[j] < keys[i];
		links[place] = rule_key_node(keys[i], 0);
	}
}

/*
 * A warp for each of some nodes, from order[0] on: its links, by the numbers of
 * nodes, to where they are fetched from, with zeros behind them
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
	for (int i = lane; i < from.max_links; i += 32)
		to.links[(size_t) which * to.max_links + i] = i < from.nlinks[node] ?
			numbers[from.links[(size_t) node * from.max_links + i]] : 0;
	if (lane == 0)
	{
		to.nlinks[which] = from.nlinks[node];
		to.nscale[which] = from.nscale[node];
	}
}

#endif							/* OMEN_GPU_LINKS_CUH */
