/*-------------------------------------------------------------------------
 *
 * device.cu
 *	  The backend that computes on a device, for CUDA and HIP.
 *
 * The steps and their results are those of backend_cpu.c; with codes of 8 bits
 * they are the same to the last bit, for which no multiplication may be fused
 * with an addition (helper.mk).  Kernels are in load.cuh, parts.cuh, centre.cuh,
 * lists.cuh, compare.cuh, choose.cuh and links.cuh, what they work on is in
 * memory.cuh and window.cuh; here is what they are called by, the plan of each step.
 *
 * NOTES
 *	  What of this has been run, and what only compiled: see src/gpu/README.md.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <new>
#include <numeric>
#include <vector>

#include "gpu/helper/backend.h"
#include "gpu/helper/centre.cuh"
#include "gpu/helper/compare.cuh"
#include "gpu/helper/device.h"
#include "gpu/helper/links.cuh"
#include "gpu/helper/load.cuh"
#include "gpu/helper/memory.cuh"
#include "gpu/helper/parts.cuh"
#include "gpu/helper/rules.h"
#include "gpu/helper/window.cuh"

/* Nodes that a block compares queries with */
static const uint32_t SEARCH_NODES = 65536;

/* Registers that a list of so many keys takes of each lane */
static int
registers_of(int room)
{
	int			r = (room + 31) / 32;

	return r <= 4 ? r : r <= 8 ? 8 : 16;
}

/* Start a kernel that is compiled for 1 to 4, 8 and 16 registers */
#define LAUNCH_FOR(kernel, r, blocks, threads, ...) \
	do { \
		switch (r) \
		{ \
			case 1: LAUNCH(0, kernel<1>, blocks, threads, __VA_ARGS__); break; \
			case 2: LAUNCH(0, kernel<2>, blocks, threads, __VA_ARGS__); break; \
			case 3: LAUNCH(0, kernel<3>, blocks, threads, __VA_ARGS__); break; \
			case 4: LAUNCH(0, kernel<4>, blocks, threads, __VA_ARGS__); break; \
			case 8: LAUNCH(0, kernel<8>, blocks, threads, __VA_ARGS__); break; \
			default: LAUNCH(0, kernel<16>, blocks, threads, __VA_ARGS__); break; \
		} \
	} while (0)

static void
device_destroy(Backend *base)
{
	Device	   *device = (Device *) base;

	release_all(device);
	delete device;
}

static Backend *
device_create(const BackendShape *shape, char *fault, size_t fault_size)
{
	Device	   *device = new (std::nothrow) Device();
	size_t		bytes_free = 0;
	size_t		bytes_total = 0;

	if (device == nullptr)
	{
		snprintf(fault, fault_size, "out of memory");
		return nullptr;
	}
	device->base.ops = omen_device_ops();
	device->base.shape = *shape;
	device->target.dims = shape->dims;
	device->target.pad = (shape->dims + CODE_CHUNK - 1) / CODE_CHUNK * CODE_CHUNK;
	device->target.stride = shape->stride;
	device->target.element = shape->element;
	device->target.metric = shape->metric;
	device->target.max_norm2 = shape->max_norm2;
	device->target.mean_norm2 = shape->mean_norm2;
	device->store.max_links = shape->max_links;
	device->has_pool = open_pool();
	if (!check(device, DEVICE(MemGetInfo) (&bytes_free, &bytes_total), "device"))
		snprintf(fault, fault_size, "%s", device->base.fault);
	else if (choose_beside(device, bytes_free, fault, fault_size))
	{
		if (allocate_all(device))
			return &device->base;
		snprintf(fault, fault_size, "%s", device->base.fault);
	}
	device_destroy(&device->base);
	return nullptr;
}

/* Vectors to nodes; what is on its way in the other stream goes on */
static bool
load_vectors(Device *device, uint32_t first, uint32_t count, BackendRead read,
			 void *arg, bool is_query)
{
	size_t		stride = device->target.stride;
	uint32_t	most = (uint32_t) (STAGING / stride);
	LoadTarget	target = device->target;

	target.is_query = is_query;
	for (uint32_t done = 0; done < count;)
	{
		uint32_t	piece = count - done < most ? count - done : most;
		int			turn = device->turn;
		deviceStream_t stream = device->streams[turn];

		device->turn = !turn;
		if (!check(device, DEVICE(StreamSynchronize) (stream), "load"))
			return false;
		if (!read(arg, first + done, piece, device->host_staging[turn]))
		{
			snprintf(device->base.fault, sizeof(device->base.fault),
					 "vectors could not be read");
			return false;
		}
		if (!check(device, DEVICE(MemcpyAsync) (device->device_staging[turn],
												device->host_staging[turn],
												piece * stride,
												DEVICE(MemcpyHostToDevice),
												stream), "load"))
			return false;
		LAUNCH(stream, load_kernel, blocks_of(piece), NODE_THREADS,
			   target, first + done, piece, device->device_staging[turn]);
		if (!check(device, DEVICE(GetLastError) (), "load"))
			return false;
		done += piece;
	}
	return true;
}

/* The default stream, on which all steps run, waits for both by itself */
static bool
device_load(Backend *base, uint32_t first, uint32_t count,
			const uint8_t *levels, BackendRead read, void *arg)
{
	Device	   *device = (Device *) base;

	return (levels == nullptr ||
			check(device, DEVICE(MemcpyAsync) (device->levels + first, levels,
											   count,
											   DEVICE(MemcpyHostToDevice),
											   device->streams[device->turn]),
				  "load")) &&
		load_vectors(device, first, count, read, arg, false);
}

static bool
device_enter(Backend *base, const uint32_t *nodes, uint32_t count)
{
	Device	   *device = (Device *) base;

	device->nmembers = device->nitems = count;
	return upload(device, device->items, nodes, count) &&
		check(device, DEVICE(Memcpy) (device->members, device->items.at,
									  count * sizeof(uint32_t),
									  DEVICE(MemcpyDeviceToDevice)), "enter");
}

static bool
device_clear(Backend *base)
{
	Device	   *device = (Device *) base;

	LAUNCH(0, clear_kernel, part_blocks(device->nmembers), PART_THREADS,
		   device->nmembers, device->members, device->nlist);
	return check(device, DEVICE(GetLastError) (), "clear");
}

static bool
device_lifts(Backend *base, float *lifts)
{
	Device	   *device = (Device *) base;

	uint32_t	n = base->shape.nnodes;
	Scratch<float> there;

	if (!borrow(device, there, n))
		return false;
	LAUNCH(0, lifts_kernel, part_blocks(n), PART_THREADS, n,
		   device->target.factors, there.at);
	return finish(device, "lifts") && download(device, lifts, there.at, n);
}

/* --- parts --- */

static PartJob
part_job(const BackendDivision *division, uint32_t p)
{
	return PartJob {p, division->starts[p],
		division->starts[p + 1] - division->starts[p], division->cells[p],
		division->nleaders[p]};
}

/* Tiles of the items of a part and its leaders */
static void
add_tiles(std::vector<TileJob> &tiles, const PartJob &part, uint64_t *pairs)
{
	for (uint32_t done = 0; done < part.size; done += TILE)
		tiles.push_back(TileJob {part.first + done,
								 std::min(part.size - done, (uint32_t) TILE),
								 part.cell, part.nleaders, 0});
	*pairs += (uint64_t) part.size * part.nleaders;
}

/* Cells of parts that stay together, or are cut up into pieces */
static bool
keep_parts(Device *device, const std::vector<PartJob> &parts, int fanout,
		   uint32_t target)
{
	Scratch<PartJob> there;

	if (parts.empty())
		return true;
	if (!upload(device, there, parts.data(), parts.size()))
		return false;
	LAUNCH(0, keep_kernel, (uint32_t) parts.size(), PART_THREADS, there.at,
		   fanout, target, device->cells.at);
	return true;
}

/* Leaders by cell, said or drawn */
static bool
find_leaders(Device *device, const BackendDivision *division,
			 const std::vector<PartJob> &divided, Scratch<uint32_t> &leaders)
{
	uint32_t	ncells = division->cells[division->nparts];
	Scratch<PartJob> there;

	if (division->leaders != nullptr)
		return upload(device, leaders, division->leaders, ncells);
	if (!borrow(device, leaders, ncells) ||
		!upload(device, there, divided.data(), divided.size()))
		return false;
	LAUNCH(0, draw_kernel, (uint32_t) divided.size(), PART_THREADS, there.at,
		   division->purpose, device->items.at, leaders.at);
	return true;
}

/* The nearest cells of the items of parts that have leaders, and their counts */
static bool
follow_leaders(Device *device, const BackendDivision *division,
			   const std::vector<PartJob> &divided, uint32_t *counts)
{
	uint32_t	ncells = division->cells[division->nparts];
	std::vector<TileJob> tiles;
	Scratch<TileJob> there;
	Scratch<uint32_t> leaders;
	Scratch<uint32_t> their_counts;

	for (const PartJob &part : divided)
		add_tiles(tiles, part, &device->base.pairs);
	if (!upload(device, there, tiles.data(), tiles.size()) ||
		!find_leaders(device, division, divided, leaders) ||
		!borrow(device, their_counts, ncells) ||
		!check(device, DEVICE(Memset) (their_counts.at, 0,
									   ncells * sizeof(uint32_t)), "assign"))
		return false;
	return for_tiles(device, tiles, there.at, device->items.at, leaders.at,
					 [&] (const Nodes &nodes, const TileJob *jobs, uint32_t njobs)
					 {
						 LAUNCH(0, assign_kernel, njobs, TILE_THREADS, nodes, jobs,
								device->items.at, leaders.at, division->fanout,
								device->cells.at, their_counts.at);
					 }) && finish(device, "assign") &&
		download(device, counts, their_counts.at, ncells);
}

/* The first of the cells of each item, of which there are "fanout" */
static bool
download_cells(Device *device, int fanout, uint32_t *cells)
{
	std::vector<uint32_t> all((size_t) device->nitems * fanout);

	if (!download(device, all.data(), device->cells.at, all.size()))
		return false;
	for (uint32_t i = 0; i < device->nitems; i++)
		cells[i] = all[(size_t) i * fanout];
	return true;
}

static bool
device_assign(Backend *base, const BackendDivision *division, uint32_t *counts,
			  uint32_t *cells)
{
	Device	   *device = (Device *) base;
	std::vector<PartJob> divided;
	std::vector<PartJob> kept;

	if (division->fanout > MAX_FANOUT)
		return check(device, DEVICE(ErrorInvalidValue), "assign");
	for (uint32_t p = 0; p < division->nparts; p++)
	{
		PartJob		part = part_job(division, p);

		if (part.size > 0)
			(part.nleaders > 0 ? divided : kept).push_back(part);
	}
	std::fill(counts, counts + division->cells[division->nparts], 0);
	if (!borrow(device, device->cells,
				(size_t) device->nitems * division->fanout) ||
		!keep_parts(device, kept, division->fanout, UINT32_MAX) ||
		(!divided.empty() &&
		 !follow_leaders(device, division, divided, counts)))
		return false;
	for (const PartJob &part : kept)
		counts[part.cell] = part.size;
	return finish(device, "assign") &&
		(cells == nullptr || download_cells(device, division->fanout, cells));
}

/*
 * Sort the items by their cells, of which each has "fanout" or fewer; there are
 * "nsorted" then.
 */
static bool
sort_items(Device *device, int fanout, uint32_t ncells, uint32_t nsorted)
{
	Scratch<uint32_t> cells[2];
	Scratch<uint32_t> items[2];
	Scratch<uint32_t> places;
	const uint32_t *from_cells = device->cells.at;
	const uint32_t *from_items = device->items.at;
	uint32_t	n = device->nitems * fanout;
	int			turn = 0;

	for (int shift = 0; shift == 0 || (uint64_t) (ncells - 1) >> shift > 0;
		 shift += DIGIT_BITS)
	{
		uint32_t	nblocks = (n + DEAL_ENTRIES - 1) / DEAL_ENTRIES;

		if (!borrow(device, cells[turn], nsorted) ||
			!borrow(device, items[turn], nsorted) ||
			!borrow(device, places, (size_t) nblocks * DIGITS))
			return false;
		LAUNCH(0, digit_kernel, nblocks, PART_THREADS, n, from_cells, shift,
			   nblocks, places.at);
		if (!scan(device, places.at, nblocks * DIGITS))
			return false;
		LAUNCH(0, deal_kernel, nblocks, PART_THREADS, n, from_cells,
			   from_items, (uint32_t) fanout, shift, nblocks, places.at,
			   cells[turn].at, items[turn].at);
		from_cells = cells[turn].at;
		from_items = items[turn].at;
		n = nsorted;
		fanout = 1;
		turn = !turn;
	}
	exchange(device->items, items[!turn]);
	device->nitems = nsorted;
	return finish(device, "deal");
}

static bool
device_deal(Backend *base, const BackendDivision *division, const bool *cut,
			const uint32_t *counts)
{
	Device	   *device = (Device *) base;
	uint32_t	ncells = division->cells[division->nparts];
	std::vector<PartJob> parts;
	uint32_t	nsorted = 0;

	for (uint32_t p = 0; cut != nullptr && p < division->nparts; p++)
	{
		if (cut[p])
			parts.push_back(part_job(division, p));
	}
	for (uint32_t c = 0; c < ncells; c++)
		nsorted += counts[c];
	return keep_parts(device, parts, division->fanout, division->target) &&
		sort_items(device, division->fanout, ncells, nsorted);
}

static bool
device_items(Backend *base, uint32_t *nodes)
{
	Device	   *device = (Device *) base;

	return download(device, nodes, device->items.at, device->nitems);
}

static bool
device_sum(Backend *base, uint32_t ncells, const uint32_t *counts, float *sums)
{
	Device	   *device = (Device *) base;
	size_t		nsums = (size_t) ncells * base->shape.dims;
	std::vector<uint32_t> starts(ncells + 1);
	Scratch<uint32_t> there;
	Scratch<float> results;

	for (uint32_t c = 0; c < ncells; c++)
		starts[c + 1] = starts[c] + counts[c];
	if (!upload(device, there, starts.data(), starts.size()) ||
		!borrow(device, results, nsums))
		return false;
	LAUNCH(0, sum_kernel, ncells, PART_THREADS, nodes_of(device), there.at,
		   device->items.at, results.at);
	return finish(device, "sums") &&
		download(device, sums, results.at, nsums);
}

/* --- leaves and links --- */

/* Rows of some items by node, which end at the node's cursor */
static bool
list_rows(Device *device, const uint32_t *items, uint32_t nrows,
		  Scratch<uint32_t> &rows)
{
	uint32_t	n = device->base.shape.nnodes;

	if (!borrow(device, rows, nrows) ||
		!check(device, DEVICE(Memset) (device->cursors, 0,
									   ((size_t) n + 1) * sizeof(uint32_t)),
			   "rows"))
		return false;
	LAUNCH(0, rows_kernel, part_blocks(nrows), PART_THREADS, nrows, items,
		   device->cursors, (uint32_t *) nullptr);
	if (!scan(device, device->cursors, n + 1))
		return false;
	LAUNCH(0, rows_kernel, part_blocks(nrows), PART_THREADS, nrows, items,
		   device->cursors, rows.at);
	return true;
}

/* Leaves of a batch, by number */
typedef std::vector<uint32_t> Leaves;

/*
 * Tiles of the rows of some leaves, with their columns.  What is found is by row, or
 * by leaf.
 */
static std::vector<TileJob>
leaf_tiles(const uint32_t *starts, const Leaves &leaves, bool by_leaf,
		   uint64_t *pairs)
{
	std::vector<TileJob> tiles;

	for (uint32_t leaf : leaves)
	{
		uint32_t	first = starts[leaf] - starts[0];
		uint32_t	size = starts[leaf + 1] - starts[leaf];

		for (uint32_t row = 0; row < size; row += TILE)
			tiles.push_back(TileJob {first + row,
									 std::min(size - row, (uint32_t) TILE),
									 first, size, by_leaf ? leaf : first + row});
		*pairs += (uint64_t) size * size;
	}
	return tiles;
}

/* Of each leaf, a tile of its first rows and columns */
static std::vector<TileJob>
sample_tiles(const uint32_t *starts, const Leaves &leaves, uint64_t *pairs)
{
	std::vector<TileJob> tiles;

	for (uint32_t leaf : leaves)
	{
		uint32_t	first = starts[leaf] - starts[0];
		uint32_t	size = rule_sample(starts[leaf + 1] - starts[leaf]);

		tiles.push_back(TileJob {first, size, first, size, leaf});
		*pairs += (uint64_t) size * size;
	}
	return tiles;
}

static bool
find_nearest(Device *device, const std::vector<TileJob> &tiles,
			 const TileJob *there, const uint32_t *items,
			 const Thinning &thinning, int keep, uint64_t *results)
{
	return for_tiles(device, tiles, there, items, items,
					 [&] (const Nodes &nodes, const TileJob *jobs, uint32_t njobs)
					 {
						 LAUNCH_FOR(nearest_kernel, registers_of(keep), njobs,
									TILE_THREADS, nodes, jobs, items, false,
									thinning, keep, results);
					 });
}

/* Count rows that have near copies, or may have, in counts[] of their leaves */
static bool
look_at_leaves(Device *device, const std::vector<TileJob> &tiles,
			   const uint32_t *items, bool by_sample, int keep,
			   const uint64_t *results, uint32_t *counts)
{
	Scratch<TileJob> there;

	return upload(device, there, tiles.data(), tiles.size()) &&
		for_tiles(device, tiles, there.at, items, items,
				  [&] (const Nodes &nodes, const TileJob *jobs, uint32_t njobs)
				  {
					  LAUNCH(0, look_kernel, njobs, TILE_THREADS, nodes, jobs,
							 items, by_sample, keep, results, counts);
				  });
}

/*
 * How many rows of each leaf have near copies.  Distances are looked at only where
 * it is not plain that most have, and a sample says that they may.
 */
static bool
count_copied(Device *device, uint32_t nleaves, const uint32_t *starts,
			 const uint32_t *items, int keep, const uint64_t *results,
			 std::vector<uint32_t> &ncopied)
{
	std::vector<uint32_t> counts(2 * (size_t) nleaves);
	Leaves		some;
	Leaves		suspicious;
	Scratch<uint32_t> their_starts;
	Scratch<uint32_t> their_counts;

	/* others do not have as many as "keep" nearest */
	for (uint32_t leaf = 0; leaf < nleaves; leaf++)
	{
		if (starts[leaf + 1] - starts[leaf] > (uint32_t) keep)
			some.push_back(leaf);
	}
	if (!upload(device, their_starts, starts, nleaves + 1) ||
		!borrow(device, their_counts, counts.size()) ||
		!check(device, DEVICE(Memset) (their_counts.at, 0,
									   counts.size() * sizeof(uint32_t)),
			   "leaves"))
		return false;
	LAUNCH(0, copies_kernel, blocks_of(nleaves), NODE_THREADS, nleaves,
		   their_starts.at, keep, results, their_counts.at);
	if (!look_at_leaves(device, sample_tiles(starts, some, &device->base.pairs),
						items, true, keep, results, their_counts.at + nleaves) ||
		!finish(device, "leaves") ||
		!download(device, counts.data(), their_counts.at, counts.size()))
		return false;
	for (uint32_t leaf : some)
	{
		uint32_t	size = starts[leaf + 1] - starts[leaf];

		if (counts[leaf] <= size / 2 &&
			rule_is_suspicious(counts[nleaves + leaf], rule_sample(size)))
			suspicious.push_back(leaf);
	}
	ncopied.assign(counts.begin(), counts.begin() + nleaves);
	return suspicious.empty() ||
		(look_at_leaves(device, leaf_tiles(starts, suspicious, true,
										   &device->base.pairs),
						items, false, keep, results, their_counts.at) &&
		 finish(device, "leaves") &&
		 download(device, ncopied.data(), their_counts.at, nleaves));
}

/* Leaves most of whose rows have near copies: other results in place of theirs */
static bool
thin_leaves(Device *device, const std::vector<TileJob> &tiles, size_t nrows,
			const uint32_t *items, int keep, uint64_t *results)
{
	uint32_t	ntiles = (uint32_t) tiles.size();
	Scratch<TileJob> there;
	Scratch<float> limits;
	Scratch<uint32_t> nseen;
	Scratch<float> beyond;
	Scratch<uint64_t> thinned;

	if (!upload(device, there, tiles.data(), ntiles) ||
		!borrow(device, limits, nrows * RANKINGS) ||
		!borrow(device, nseen, nrows) ||
		!borrow(device, beyond, nrows) ||
		!borrow(device, thinned, nrows * keep) ||
		!check(device, DEVICE(Memset) (nseen.at, 0, nrows * sizeof(uint32_t)),
			   "leaves"))
		return false;
	Thinning	thinning = {limits.at, nseen.at, nullptr};

	if (!for_tiles(device, tiles, there.at, items, items,
				   [&] (const Nodes &nodes, const TileJob *jobs, uint32_t njobs)
				   {
					   LAUNCH(0, reach_kernel, njobs, TILE_THREADS, nodes, jobs,
							  items, thinning);
				   }) ||
		!find_nearest(device, tiles, there.at, items, thinning, keep,
					  thinned.at))
		return false;
	thinning.beyond = beyond.at;
	LAUNCH(0, pass_on_kernel, ntiles, TILE, there.at, thinning, keep,
		   thinned.at, results);
	if (!find_nearest(device, tiles, there.at, items, thinning,
					  omen_others_found(keep), thinned.at))
		return false;
	LAUNCH(0, pass_others_kernel, ntiles, TILE, there.at, items, thinning,
		   keep, thinned.at, results);
	return finish(device, "thinned leaves");
}

static bool
thin_some(Device *device, uint32_t nleaves, const uint32_t *starts,
		  const uint32_t *items, int keep, uint64_t *results)
{
	std::vector<uint32_t> ncopied;
	Leaves		leaves;

	if (!count_copied(device, nleaves, starts, items, keep, results, ncopied))
		return false;
	for (uint32_t leaf = 0; leaf < nleaves; leaf++)
	{
		if (ncopied[leaf] > (starts[leaf + 1] - starts[leaf]) / 2)
			leaves.push_back(leaf);
	}
	return leaves.empty() ||
		thin_leaves(device, leaf_tiles(starts, leaves, false,
									   &device->base.pairs),
					starts[nleaves] - starts[0], items, keep, results);
}

static bool
device_compare(Backend *base, uint32_t nparts, const uint32_t *starts,
			   int keep, bool thin)
{
	Device	   *device = (Device *) base;
	const uint32_t *items = device->items.at + starts[0];
	uint32_t	nrows = starts[nparts] - starts[0];
	int			room = base->shape.list_size;
	Leaves		all(nparts);
	std::vector<TileJob> tiles;
	Scratch<TileJob> there;
	Scratch<uint32_t> rows;
	Scratch<uint64_t> results;

	std::iota(all.begin(), all.end(), 0);
	tiles = leaf_tiles(starts, all, false, &base->pairs);
	if (tiles.empty())
		return true;
	if (!upload(device, there, tiles.data(), tiles.size()) ||
		!borrow(device, results, (size_t) nrows * keep) ||
		!list_rows(device, items, nrows, rows) ||
		!find_nearest(device, tiles, there.at, items, Thinning(), keep,
					  results.at))
		return false;
	if (thin && !thin_some(device, nparts, starts, items, keep, results.at))
		return false;
	LAUNCH_FOR(merge_kernel, registers_of(room), blocks_of(device->nmembers),
		   NODE_THREADS, device->nmembers, device->members, device->cursors,
		   rows.at, keep, results.at, room, device->lists, device->nlist);
	return finish(device, "leaves");
}

/* What members offer to those that they have chosen, by target */
static bool
make_offers(Device *device, uint64_t *offers)
{
	const BackendShape &shape = device->base.shape;
	uint32_t	count = device->nmembers;

	if (!check(device, DEVICE(Memset) (device->cursors, 0,
									   ((size_t) shape.nnodes + 1) * sizeof(uint32_t)),
			   "offers"))
		return false;
	LAUNCH(0, offer_kernel, blocks_of(count), NODE_THREADS, count,
		   device->members, shape.list_size, device->lists, device->nkept,
		   device->cursors, (uint64_t *) nullptr);
	if (!finish(device, "forward links") ||
		!scan(device, device->cursors, shape.nnodes + 1))
		return false;
	LAUNCH(0, offer_kernel, blocks_of(count), NODE_THREADS, count,
		   device->members, shape.list_size, device->lists, device->nkept,
		   device->cursors, offers);
	return true;
}

static bool
device_connect(Backend *base, int scale)
{
	Device	   *device = (Device *) base;
	const BackendShape &shape = base->shape;
	int			room = shape.list_size;
	int			local = rule_wanted(shape.max_links, shape.scale_links, 0, scale);
	int			high = rule_wanted(shape.max_links, shape.scale_links, 1, scale);
	int			registers = registers_of(room);
	int			warps = choice_warps(registers);
	Scratch<uint64_t> borrowed;
	uint64_t   *offers = device->offers;

	if (!for_candidates(device, [&] (const Nodes &nodes,
									 const uint32_t *members, uint32_t count)
						{
							LAUNCH_FOR(forward_kernel, registers,
									   (count + warps - 1) / warps, 32 * warps,
									   nodes, count, members, scale, local,
									   high, device->levels, room,
									   device->lists, device->nlist,
									   device->nkept);
						}))
		return false;
	if (offers == nullptr)
	{
		if (!borrow(device, borrowed,
					(size_t) device->nmembers * std::max(local, high)))
			return false;
		offers = borrowed.at;
	}
	if (!make_offers(device, offers))
		return false;
	LAUNCH_FOR(take_offers_kernel, registers, blocks_of(device->nmembers),
			   NODE_THREADS, device->nmembers, device->members, room,
			   device->cursors, offers, device->lists, device->nlist);
	return for_candidates(device, [&] (const Nodes &nodes,
									   const uint32_t *members, uint32_t count)
						  {
							  LAUNCH_FOR(link_kernel, registers,
										 (count + warps - 1) / warps, 32 * warps,
										 nodes, count, members, scale, local,
										 high, device->levels, room,
										 device->lists, device->nlist,
										 device->store);
						  }) && finish(device, "final links");
}

static bool
device_sort(Backend *base)
{
	Device	   *device = (Device *) base;

	return for_links(device, [&] (const Nodes &nodes, const uint32_t *members,
								  uint32_t count)
					 {
						 LAUNCH(0, sort_kernel, blocks_of(count), NODE_THREADS,
								nodes, count, members, device->store);
					 }) && finish(device, "links in order");
}

static bool
device_number(Backend *base, const uint32_t *order)
{
	Device	   *device = (Device *) base;
	uint32_t	n = base->shape.nnodes;

	if (!check(device, DEVICE(Memcpy) (device->order, order,
									   n * sizeof(uint32_t),
									   DEVICE(MemcpyHostToDevice)), "numbers"))
		return false;
	LAUNCH(0, number_kernel, part_blocks(n), PART_THREADS, n, device->order,
		   device->numbers);
	return finish(device, "numbers");
}

/* Gathered on the device, then brought beside it */
static bool
device_fetch(Backend *base, uint32_t first, BackendLinks *links)
{
	Device	   *device = (Device *) base;
	uint32_t	count = std::min(base->shape.nnodes - first, FETCH_NODES);
	const LinkStore &there = device->device_window;
	const LinkStore &here = device->host_window;

	LAUNCH(0, gather_kernel, blocks_of(count), NODE_THREADS, count,
		   device->order + first, device->numbers, device->store, there);
	if (!finish(device, "fetch") ||
		!download(device, here.links, there.links,
				  (size_t) count * there.max_links) ||
		!download(device, here.nlinks, there.nlinks, count) ||
		!download(device, here.nscale, there.nscale, count))
		return false;
	*links = BackendLinks {count, here.links, here.nlinks, here.nscale};
	return true;
}

/* --- exact search --- */

/* Up to SEARCH_QUERIES of them; they are the nodes behind the last one */
static bool
search_some(Device *device, const uint8_t *queries, uint32_t count, int k,
			uint64_t *keys)
{
	uint32_t	n = device->base.shape.nnodes;
	BackendCodes from = {(const char *) queries, n, device->target.stride};
	std::vector<TileJob> jobs;
	std::vector<uint32_t> ids(count);
	std::vector<uint32_t> ends(count);
	std::vector<uint32_t> rows;
	uint32_t	nparts = (n + SEARCH_NODES - 1) / SEARCH_NODES;
	Scratch<TileJob> there;
	Scratch<uint32_t> device_ids;
	Scratch<uint32_t> device_ends;
	Scratch<uint32_t> device_rows;
	Scratch<uint64_t> results;
	Scratch<uint64_t> lists;

	for (uint32_t q = 0; q < count; q++)
		ids[q] = n + q;
	for (uint32_t part = 0; part < nparts; part++)
	{
		uint32_t	first = part * SEARCH_NODES;
		uint32_t	ncols = n - first < SEARCH_NODES ? n - first : SEARCH_NODES;

		for (uint32_t q = 0; q < count; q += TILE)
			jobs.push_back(TileJob {q, count - q < (uint32_t) TILE ? count - q :
									(uint32_t) TILE, first, ncols,
									part * count + q});
	}
	for (uint32_t q = 0; q < count; q++)
	{
		for (uint32_t part = 0; part < nparts; part++)
			rows.push_back(part * count + q);
		ends[q] = (uint32_t) rows.size();
	}
	device->base.pairs += (uint64_t) n * count;

	if (!load_vectors(device, n, count, backend_read_codes, &from, true) ||
		!upload(device, there, jobs.data(), jobs.size()) ||
		!upload(device, device_ids, ids.data(), ids.size()) ||
		!upload(device, device_ends, ends.data(), ends.size()) ||
		!upload(device, device_rows, rows.data(), rows.size()) ||
		!borrow(device, results, rows.size() * k) ||
		!borrow(device, lists, (size_t) count * k))
		return false;
	LAUNCH_FOR(nearest_kernel, registers_of(k), (uint32_t) jobs.size(),
		   TILE_THREADS, nodes_of(device), there.at, device_ids.at, true, Thinning(),
		   k, results.at);
	LAUNCH_FOR(merge_kernel, registers_of(k), blocks_of(count), NODE_THREADS, count,
		   (const uint32_t *) nullptr, device_ends.at, device_rows.at, k,
		   results.at, k, lists.at, (int *) nullptr);
	return finish(device, "search") &&
		download(device, keys, lists.at, (size_t) count * k);
}

static bool
device_search(Backend *base, const void *queries, uint32_t count, int k,
			  uint32_t *nearest, float *distances)
{
	Device	   *device = (Device *) base;
	std::vector<uint64_t> keys((size_t) SEARCH_QUERIES * k);

	for (uint32_t done = 0; done < count; done += SEARCH_QUERIES)
	{
		uint32_t	piece = count - done < (uint32_t) SEARCH_QUERIES ?
			count - done : (uint32_t) SEARCH_QUERIES;

		if (!search_some(device, (const uint8_t *) queries +
						 (size_t) done * base->shape.stride, piece, k,
						 keys.data()))
			return false;
		for (size_t i = 0; i < (size_t) piece * k; i++)
		{
			bool		found = keys[i] != NO_KEY;

			nearest[(size_t) done * k + i] = found ?
				rule_key_node(keys[i], 0) : UINT32_MAX;
			distances[(size_t) done * k + i] = found ?
				rule_key_distance(keys[i]) : INFINITY;
		}
	}
	return true;
}

/* Not a global constant, which would be compiled for the device as well */
const BackendOps *
omen_device_ops(void)
{
	static const BackendOps ops = {
		"device",
		device_create,
		device_destroy,
		device_load,
		device_enter,
		device_clear,
		device_lifts,
		device_assign,
		device_deal,
		device_items,
		device_sum,
		device_compare,
		device_connect,
		device_sort,
		device_number,
		device_fetch,
		device_search,
	};

	return &ops;
}

/* The device with the most memory free */
bool
omen_device_probe(char *name, size_t name_size, uint64_t *memory, char *fault,
				  size_t fault_size)
{
	int			count = 0;
	int			best = -1;
	deviceError_t error;

	/* all kernels now: else each is loaded when it is first needed, in a build */
	(void) setenv("CUDA_MODULE_LOADING", "EAGER", 0);
	error = DEVICE(GetDeviceCount) (&count);
	*memory = 0;
	for (int i = 0; error == DEVICE(Success) && i < count; i++)
	{
		size_t		bytes_free = 0;
		size_t		bytes_total = 0;

		if (DEVICE(SetDevice) (i) == DEVICE(Success) &&
			DEVICE(MemGetInfo) (&bytes_free, &bytes_total) == DEVICE(Success) &&
			bytes_free > *memory)
		{
			*memory = bytes_free;
			best = i;
		}
	}
	if (best >= 0)
	{
		deviceProperties properties;

		error = DEVICE(SetDevice) (best);
		if (error == DEVICE(Success))
			error = DEVICE(GetDeviceProperties) (&properties, best);
		if (error == DEVICE(Success))
		{
			snprintf(name, name_size, "%.*s", (int) name_size - 1,
					 properties.name);
			return true;
		}
	}
	snprintf(fault, fault_size, "%s", error == DEVICE(Success) ?
			 "there is no device" : DEVICE(GetErrorString) (error));
	return false;
}
