/*-------------------------------------------------------------------------
 *
 * window.cuh
 *	  Codes that a step needs, brought to the device from beside it.
 *
 * Steps are cut into batches of which each needs few enough codes.  What a batch
 * needs is marked, numbered, and copied to a slot each, by the device, which reads
 * the memory beside it; kernels find codes by slot then (Nodes).  If all codes are
 * on the device, there is one batch, and nothing is brought.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_WINDOW_CUH
#define OMEN_GPU_WINDOW_CUH

#include "gpu/helper/memory.cuh"
#include "gpu/helper/parts.cuh"

/* --- kernels --- */

/* A block for each job: rows and columns of tiles */
static __global__ void
mark_tiles_kernel(const TileJob *jobs, const uint32_t *row_ids,
				  const uint32_t *col_ids, uint32_t *slots)
{
	TileJob		job = jobs[blockIdx.x];

	for (uint32_t i = threadIdx.x; i < job.nrows; i += PART_THREADS)
		slots[row_ids[job.row + i]] = 1;
	for (uint32_t i = threadIdx.x; i < job.ncols; i += PART_THREADS)
		slots[col_ids[job.col + i]] = 1;
}

/* A warp for each of some nodes: the candidates in their lists */
static __global__ void
mark_lists_kernel(uint32_t count, const uint32_t *members, int room,
				  const uint64_t *lists, const int *nlist, uint32_t *slots)
{
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	uint32_t	node;

	if (which >= count)
		return;
	node = members[which];
	for (int i = threadIdx.x % 32; i < nlist[node]; i += 32)
		slots[rule_key_node(lists[(size_t) node * room + i],
							rule_salt(node))] = 1;
}

/* A warp for each of some nodes: they, and those they have links to */
static __global__ void
mark_links_kernel(uint32_t count, const uint32_t *members, LinkStore store,
				  uint32_t *slots)
{
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	uint32_t	node;

	if (which >= count)
		return;
	node = members[which];
	slots[node] = 1;
	for (int i = threadIdx.x % 32; i < store.nlinks[node]; i += 32)
		slots[store.links[(size_t) node * store.max_links + i]] = 1;
}

/*
 * A warp for each 32 nodes: codes, of so many words, of those that were marked, to
 * their slots.  Those have another slot than the next node.
 */
static __global__ void
bring_kernel(uint32_t nplaces, const uint32_t *slots, uint32_t words,
			 const uint32_t *from, uint32_t *to)
{
	uint32_t	first = (blockIdx.x * NODE_WARPS + threadIdx.x / 32) * 32;
	int			lane = threadIdx.x % 32;
	uint32_t	mine = slots[min(first + lane, nplaces)];
	uint32_t	marked = warp_ballot(first + lane < nplaces &&
									 slots[first + lane + 1] != mine);

	for (; marked != 0; marked &= marked - 1)
	{
		int			which = __ffs(marked) - 1;
		size_t		slot = warp_from(mine, which);

		for (uint32_t i = lane; i < words; i += 32)
			to[slot * words + i] = from[(size_t) (first + which) * words + i];
	}
}

/* --- steps --- */

static uint32_t
blocks_of(uint64_t count)
{
	return (uint32_t) ((count + NODE_WARPS - 1) / NODE_WARPS);
}

static uint32_t
part_blocks(uint64_t count)
{
	return (uint32_t) ((count + PART_THREADS - 1) / PART_THREADS);
}

/* Where all codes are */
static Nodes
nodes_of(const Device *device)
{
	const LoadTarget &t = device->target;
	Nodes		nodes = {nullptr, t.codes, t.vectors, t.factors, t.dims, t.pad,
		t.metric == METRIC_L1, t.metric == METRIC_LIFTED};

	return nodes;
}

/* Where those are that were brought last */
static Nodes
window_of(const Device *device)
{
	Nodes		nodes = nodes_of(device);

	if (device->base.beside >= BESIDE_CODES)
	{
		nodes.slots = device->slots;
		nodes.codes = device->slot_codes;
		nodes.vectors = device->slot_vectors;
	}
	return nodes;
}

/* Each value becomes the sum of those before it */
static bool
scan(Device *device, uint32_t *values, uint32_t count)
{
	uint32_t	nblocks = (count + SCAN_VALUES - 1) / SCAN_VALUES;
	Scratch<uint32_t> sums;

	if (!borrow(device, sums, nblocks))
		return false;
	LAUNCH(0, scan_kernel, nblocks, PART_THREADS, count, values, sums.at);
	if (nblocks == 1)
		return true;
	if (!scan(device, sums.at, nblocks))
		return false;
	LAUNCH(0, add_kernel, part_blocks(count), PART_THREADS, count, values,
		   sums.at);
	return true;
}

/* If codes are beside: those of the nodes that mark() marks, to slots */
template<typename Mark> static bool
bring(Device *device, Mark mark)
{
	uint32_t	nplaces = (uint32_t) count_places(device->base.shape);
	bool		is_code = device->target.codes != nullptr;

	if (device->base.beside < BESIDE_CODES)
		return true;
	if (!check(device, DEVICE(Memset) (device->slots, 0,
									   ((size_t) nplaces + 1) * sizeof(uint32_t)),
			   "codes"))
		return false;
	mark();
	if (!scan(device, device->slots, nplaces + 1))
		return false;
	LAUNCH(0, bring_kernel, blocks_of((nplaces + 31) / 32), NODE_THREADS,
		   nplaces, device->slots,
		   (uint32_t) (code_bytes(device) / sizeof(uint32_t)),
		   is_code ? (const uint32_t *) device->target.codes :
		   (const uint32_t *) device->target.vectors,
		   is_code ? (uint32_t *) device->slot_codes :
		   (uint32_t *) device->slot_vectors);
	return finish(device, "codes");
}

/* How many of the tiles from "first" on have their codes on the device at once */
static uint32_t
count_tiles(const Device *device, const std::vector<TileJob> &tiles,
			size_t first)
{
	uint64_t	ncodes = 0;
	size_t		end = first;

	if (device->base.beside < BESIDE_CODES)
		return (uint32_t) tiles.size();
	for (; end < tiles.size(); end++)
	{
		ncodes += tiles[end].nrows;
		if (end == first || tiles[end].col != tiles[end - 1].col)
			ncodes += tiles[end].ncols;
		if (ncodes > device->nslots)
			break;
	}
	return (uint32_t) (end - first);
}

/* Call work(nodes, tiles, how many) for all tiles, in batches */
template<typename Work> static bool
for_tiles(Device *device, const std::vector<TileJob> &tiles,
		  const TileJob *there, const uint32_t *row_ids,
		  const uint32_t *col_ids, Work work)
{
	uint32_t	count;

	for (size_t done = 0; done < tiles.size(); done += count)
	{
		const TileJob *jobs = there + done;

		count = count_tiles(device, tiles, done);
		if (!bring(device, [&] ()
				   {
					   LAUNCH(0, mark_tiles_kernel, count, PART_THREADS, jobs,
							  row_ids, col_ids, device->slots);
				   }))
			return false;
		work(window_of(device), jobs, count);
	}
	return true;
}

/*
 * Call work(nodes, members, how many) for all members.  Codes of "each" nodes are
 * needed for one member, which mark(members, how many) marks.
 */
template<typename Mark, typename Work> static bool
for_members(Device *device, int each, Mark mark, Work work)
{
	uint32_t	most = device->base.beside < BESIDE_CODES ?
		device->nmembers : device->nslots / each;

	for (uint32_t done = 0; done < device->nmembers; done += most)
	{
		const uint32_t *members = device->members + done;
		uint32_t	count = std::min(most, device->nmembers - done);

		if (!bring(device, [&] () { mark(members, count); }))
			return false;
		work(window_of(device), members, count);
	}
	return true;
}

/* For all members and their candidates */
template<typename Work> static bool
for_candidates(Device *device, Work work)
{
	int			room = device->base.shape.list_size;

	return for_members(device, room,
					   [&] (const uint32_t *members, uint32_t count)
					   {
						   LAUNCH(0, mark_lists_kernel, blocks_of(count),
								  NODE_THREADS, count, members, room,
								  device->lists, device->nlist, device->slots);
					   }, work);
}

/* For all members and those that they have links to */
template<typename Work> static bool
for_links(Device *device, Work work)
{
	return for_members(device, device->base.shape.max_links + 1,
					   [&] (const uint32_t *members, uint32_t count)
					   {
						   LAUNCH(0, mark_links_kernel, blocks_of(count),
								  NODE_THREADS, count, members, device->store,
								  device->slots);
					   }, work);
}

#endif							/* OMEN_GPU_WINDOW_CUH */
