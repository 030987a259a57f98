/*-------------------------------------------------------------------------
 *
 * device.cu
 *	  The backend that computes on a device, for CUDA and HIP.
 *
 * The steps and their results are those of backend_cpu.c; with codes of 8 bits
 * they are the same to the last bit, for which no multiplication may be fused
 * with an addition (helper.mk).  Kernels are in parts.cuh, compare.cuh and
 * choose.cuh; here is what they are called by: memory, transfers, the plan of each
 * step.
 *
 * NOTES
 *	  What of this has been run, and what only compiled: see src/gpu/README.md.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <vector>

#include "gpu/helper/backend.h"
#include "gpu/helper/choose.cuh"
#include "gpu/helper/compare.cuh"
#include "gpu/helper/device.h"
#include "gpu/helper/parts.cuh"
#include "gpu/helper/rules.h"

/* As in gpu_protocol.h, which is for C */
enum
{
	ELEMENT_CODE8 = 1, ELEMENT_F32, ELEMENT_F16
};
enum
{
	METRIC_L2 = 1, METRIC_LIFTED, METRIC_UNIT, METRIC_L1
};
static const int CODE_HEAD = 16;	/* bytes: norm2, scale, -, mean_dot */

/* Queries at a time, and nodes that one block compares them with */
static const int SEARCH_QUERIES = 1024;
static const uint32_t SEARCH_NODES = 65536;

/* Nodes whose links are fetched at a time */
static const uint32_t FETCH_NODES = 65536;

/*
 * Bytes of a division for each node: two items before it; six with cells after
 * it, twice, and the cells that they are sorted by; counts of digits
 */
static const size_t DIVISION_BYTES = 2 * 4 + 6 * (2 * 8 + 4) + 4;

/* How often it is asked whether a step is done before the process sleeps */
static const int IMPATIENCE = 2000;

/* Vectors on their way */
static const size_t STAGING = 2 * 1024 * 1024;

/* --- loading --- */

static __device__ float
read_half(const uint8_t *from)
{
	uint32_t	half = from[0] | from[1] << 8;
	uint32_t	sign = (half & 0x8000) << 16;
	uint32_t	magnitude = half & 0x7FFF;

	if (magnitude < 0x0400)
		return (sign ? -1 : 1) * (float) magnitude * 5.9604644775390625e-8f;
	return __uint_as_float(sign | ((magnitude << 13) +
								   (magnitude >= 0x7C00 ? 0x70000000 : 0x38000000)));
}

struct LoadTarget
{
	int8_t	   *codes;
	float	   *vectors;
	float	   *norm2;
	float	   *scale;
	float	   *lift;
	uint32_t	dims;
	uint32_t	pad;
	uint32_t	stride;
	int			element;
	int			metric;
	float		max_norm2;
	float		mean_norm2;
	bool		is_query;		/* no coordinate is added */
};

/* A warp for each vector */
static __global__ void
load_kernel(LoadTarget t, uint32_t first, uint32_t count,
			const uint8_t *staged)
{
	uint32_t	which = blockIdx.x * NODE_WARPS + threadIdx.x / 32;
	int			lane = threadIdx.x % 32;
	uint32_t	node = first + which;
	const uint8_t *code = staged + (size_t) which * t.stride;
	double		norm2 = 0;

	if (which >= count)
		return;
	if (t.element == ELEMENT_CODE8)
	{
		const float *head = (const float *) code;

		for (uint32_t i = lane; i < t.pad; i += 32)
			t.codes[(size_t) node * t.pad + i] = i < t.dims ?
				(int8_t) code[CODE_HEAD + i] : 0;
		if (lane == 0)
		{
			t.norm2[node] = head[0];
			t.scale[node] = head[1];
			t.lift[node] = t.metric == METRIC_LIFTED && !t.is_query ?
				rule_lift(t.max_norm2,
						  rule_full_norm2(head[0], head[3], t.mean_norm2)) : 0;
		}
		return;
	}
	for (uint32_t i = lane; i < t.dims; i += 32)
	{
		float		x = t.element == ELEMENT_F16 ? read_half(code + 2 * i) :
			((const float *) code)[i];

		t.vectors[(size_t) node * t.dims + i] = x;
		norm2 += (double) x * x;
	}
	norm2 = warp_sum(norm2);
	if (t.metric == METRIC_UNIT && norm2 > 0)
	{
		for (uint32_t i = lane; i < t.dims; i += 32)
			t.vectors[(size_t) node * t.dims + i] = (float)
				(t.vectors[(size_t) node * t.dims + i] / sqrt(norm2));
	}
	if (lane == 0)
	{
		t.norm2[node] = 0;
		t.scale[node] = 0;
		t.lift[node] = t.metric == METRIC_LIFTED && !t.is_query ?
			rule_lift(t.max_norm2, (float) norm2) : 0;
	}
}

/* --- the backend --- */

struct Device;
template<typename T> struct Scratch;
template<typename T> static void give_back(Scratch<T> &scratch);

/* Memory on the device for as long as a step, or until it is taken over */
template<typename T> struct Scratch
{
	const Device *device = nullptr;
	T		   *at = nullptr;

	~Scratch()
	{
		give_back(*this);
	}
};

struct Device
{
	Backend		base;
	bool		has_pool;		/* to take scratch from */
	LoadTarget	target;
	uint8_t    *levels;
	uint64_t   *lists;
	int		   *nlist;
	int		   *nkept;
	uint32_t   *cursors;		/* one more than nodes */
	LinkStore	store;

	uint32_t   *members;
	uint32_t	nmembers;
	Scratch<uint32_t> items;
	uint32_t	nitems;
	Scratch<uint32_t> cells;	/* of items, "fanout" each */

	/* two pieces on their way at a time */
	uint8_t    *host_staging[2];
	uint8_t    *device_staging[2];
	deviceStream_t streams[2];
	int			turn;

	/* links of the nodes with some successive numbers */
	uint32_t   *order;
	uint32_t   *numbers;
	uint32_t	window;			/* the first of them */
	uint32_t	window_size;
	LinkStore	device_window;
	LinkStore	host_window;
};

template<typename T> static void
give_back(Scratch<T> &scratch)
{
	if (scratch.at == nullptr)
		return;
	if (scratch.device->has_pool)
		(void) DEVICE(FreeAsync) (scratch.at, 0);
	else
		(void) DEVICE(Free) (scratch.at);
	scratch.at = nullptr;
}

static bool
check(Device *device, deviceError_t error, const char *what)
{
	if (error == DEVICE(Success))
		return true;
	snprintf(device->base.fault, sizeof(device->base.fault), "%s: %s", what,
			 DEVICE(GetErrorString) (error));
	return false;
}

template<typename T> static bool
allocate(Device *device, T **to, size_t count)
{
	return check(device, DEVICE(Malloc) ((void **) to, (count + 1) * sizeof(T)),
				 "memory of the device");
}

template<typename T> static bool
allocate_host(Device *device, T **to, size_t count)
{
	return check(device, deviceMallocHost((void **) to, (count + 1) * sizeof(T)),
				 "memory beside the device");
}

/* The pool keeps what is given back, so that this costs little */
template<typename T> static bool
borrow(Device *device, Scratch<T> &to, size_t count)
{
	size_t		size = (count + 1) * sizeof(T);

	give_back(to);
	to.device = device;
	return check(device, device->has_pool ?
				 DEVICE(MallocAsync) ((void **) &to.at, size, 0) :
				 DEVICE(Malloc) ((void **) &to.at, size),
				 "memory of the device");
}

template<typename T> static void
exchange(Scratch<T> &a, Scratch<T> &b)
{
	std::swap(a.device, b.device);
	std::swap(a.at, b.at);
}

template<typename T> static bool
upload(Device *device, Scratch<T> &to, const T *from, size_t count)
{
	return borrow(device, to, count) &&
		check(device, DEVICE(Memcpy) (to.at, from, count * sizeof(T),
									  DEVICE(MemcpyHostToDevice)), "upload");
}

template<typename T> static bool
download(Device *device, T *to, const T *from, size_t count)
{
	return check(device, DEVICE(Memcpy) (to, from, count * sizeof(T),
										 DEVICE(MemcpyDeviceToHost)),
				 "download");
}

/*
 * Wait for what was started, and tell meanwhile that we are there.  Most steps
 * take less than it takes to wake up.
 */
static bool
finish(Device *device, const char *what)
{
	if (!check(device, DEVICE(GetLastError) (), what))
		return false;
	for (int i = 0;; i++)
	{
		deviceError_t error = DEVICE(StreamQuery) (0);

		if (error != DEVICE(ErrorNotReady))
			return check(device, error, what);
		if (device->base.tick != nullptr)
			device->base.tick(device->base.tick_arg);
		if (i > IMPATIENCE)
			usleep(100);
	}
}

static Nodes
nodes_of(const Device *device)
{
	const LoadTarget &t = device->target;
	Nodes		nodes = {t.codes, t.vectors, t.norm2, t.scale, t.lift,
		t.dims, t.pad, t.metric == METRIC_L1};

	return nodes;
}

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
	LoadTarget &t = device->target;
	void	   *all[] = {t.codes, t.vectors, t.norm2, t.scale, t.lift,
		device->levels, device->lists, device->nlist, device->nkept,
		device->cursors, device->store.links, device->store.nlinks,
		device->store.nscale, device->members, device->order,
		device->numbers, device->device_window.links,
		device->device_window.nlinks, device->device_window.nscale,
		device->device_staging[0], device->device_staging[1]};
	void	   *all_of_host[] = {device->host_staging[0],
		device->host_staging[1], device->host_window.links,
		device->host_window.nlinks, device->host_window.nscale};

	give_back(device->items);
	give_back(device->cells);
	for (void *one : all)
	{
		if (one != nullptr)
			(void) DEVICE(Free) (one);
	}
	for (void *one : all_of_host)
	{
		if (one != nullptr)
			(void) deviceFreeHost(one);
	}
	for (deviceStream_t stream : device->streams)
	{
		if (stream != nullptr)
			(void) DEVICE(StreamDestroy) (stream);
	}
	delete device;
}

/*
 * Bytes of the device that a node takes, with a division or the offers that it
 * makes
 */
static size_t
node_bytes(const Device *device)
{
	const BackendShape &shape = device->base.shape;
	size_t		code = shape.element == ELEMENT_CODE8 ? device->target.pad :
		shape.dims * sizeof(float);

	return code + 3 * sizeof(float) + 1 + shape.list_size * sizeof(uint64_t) +
		6 * sizeof(int) + shape.max_links * sizeof(uint32_t) + 2 +
		std::max(shape.max_links * sizeof(uint64_t), DIVISION_BYTES);
}

/* Links of so many nodes, on the device and beside it */
static bool
allocate_window(Device *device, size_t count)
{
	LinkStore  &there = device->device_window;
	LinkStore  &here = device->host_window;
	size_t		nlinks = count * device->base.shape.max_links;

	there.max_links = here.max_links = device->base.shape.max_links;
	return allocate(device, &there.links, nlinks) &&
		allocate(device, &there.nlinks, count) &&
		allocate(device, &there.nscale, count) &&
		allocate_host(device, &here.links, nlinks) &&
		allocate_host(device, &here.nlinks, count) &&
		allocate_host(device, &here.nscale, count);
}

static bool
allocate_all(Device *device)
{
	const BackendShape &shape = device->base.shape;
	LoadTarget &t = device->target;
	size_t		n = shape.nnodes;
	size_t		more = n + std::max(shape.spare, (uint32_t) SEARCH_QUERIES);
	bool		good;

	if (shape.element == ELEMENT_CODE8)
		good = allocate(device, &t.codes, more * t.pad);
	else
		good = allocate(device, &t.vectors, more * t.dims);
	good = good && allocate(device, &t.norm2, more) &&
		allocate(device, &t.scale, more) && allocate(device, &t.lift, more) &&
		allocate(device, &device->levels, n) &&
		allocate(device, &device->lists, n * shape.list_size) &&
		allocate(device, &device->nlist, n) &&
		allocate(device, &device->nkept, n) &&
		allocate(device, &device->cursors, n + 1) &&
		allocate(device, &device->store.links, n * shape.max_links) &&
		allocate(device, &device->store.nlinks, n) &&
		allocate(device, &device->store.nscale, n) &&
		allocate(device, &device->members, n) &&
		allocate(device, &device->order, n) &&
		allocate(device, &device->numbers, n) &&
		allocate_window(device, std::min(n, (size_t) FETCH_NODES));
	for (int i = 0; good && i < 2; i++)
		good = allocate_host(device, &device->host_staging[i], STAGING) &&
			allocate(device, &device->device_staging[i], STAGING) &&
			check(device, DEVICE(StreamCreate) (&device->streams[i]), "stream");
	return good;
}

/* Have the driver's pool of memory keep what it is given back, if it has one */
static bool
open_pool(void)
{
	int			current = 0;
	int			has_pool = 0;
	deviceMemPool_t pool;
	uint64_t	keep = UINT64_MAX;

	return DEVICE(GetDevice) (&current) == DEVICE(Success) &&
		DEVICE(DeviceGetAttribute) (&has_pool, deviceHasMemoryPools, current) ==
		DEVICE(Success) && has_pool &&
		DEVICE(DeviceGetDefaultMemPool) (&pool, current) == DEVICE(Success) &&
		DEVICE(MemPoolSetAttribute) (pool, DEVICE(MemPoolAttrReleaseThreshold),
									 &keep) == DEVICE(Success);
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
	else if (node_bytes(device) * shape->nnodes > bytes_free)
		snprintf(fault, fault_size,
				 "%u vectors take %zu MB of the device, which has %zu free",
				 shape->nnodes,
				 node_bytes(device) * shape->nnodes / (1024 * 1024),
				 bytes_free / (1024 * 1024));
	else if (!allocate_all(device))
		snprintf(fault, fault_size, "%s", device->base.fault);
	else
		return &device->base;
	device_destroy(&device->base);
	return nullptr;
}

/* Vectors to nodes; what is on its way in the other stream goes on */
static bool
load_vectors(Device *device, uint32_t first, uint32_t count,
			 const uint8_t *codes, bool is_query)
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
		memcpy(device->host_staging[turn], codes + done * stride,
			   piece * stride);
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
			const uint8_t *levels, const void *codes)
{
	Device	   *device = (Device *) base;

	return (levels == nullptr ||
			check(device, DEVICE(MemcpyAsync) (device->levels + first, levels,
											   count,
											   DEVICE(MemcpyHostToDevice),
											   device->streams[device->turn]),
				  "load")) &&
		load_vectors(device, first, count, (const uint8_t *) codes, false);
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
	return finish(device, "clear");
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
	LAUNCH(0, assign_kernel, (uint32_t) tiles.size(), TILE_THREADS,
		   nodes_of(device), there.at, device->items.at, leaders.at,
		   division->fanout, device->cells.at, their_counts.at);
	return finish(device, "assign") &&
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

/* Tiles of the rows of some leaves, all if ncopied is NULL, with their columns */
static std::vector<TileJob>
leaf_tiles(const uint32_t *starts, uint32_t nleaves, const uint32_t *ncopied,
		   uint64_t *pairs)
{
	std::vector<TileJob> tiles;

	for (uint32_t leaf = 0; leaf < nleaves; leaf++)
	{
		uint32_t	first = starts[leaf] - starts[0];
		uint32_t	size = starts[leaf + 1] - starts[leaf];

		if (ncopied != nullptr && ncopied[leaf] <= size / 2)
			continue;
		for (uint32_t row = 0; row < size; row += TILE)
			tiles.push_back(TileJob {first + row,
									 std::min(size - row, (uint32_t) TILE),
									 first, size, first + row});
		*pairs += (uint64_t) size * size;
	}
	return tiles;
}

/* Leaves most of whose rows have near copies: other results in place of theirs */
static bool
thin_leaves(Device *device, uint32_t nleaves, const uint32_t *starts,
			const uint32_t *items, int keep, Scratch<uint64_t> &results)
{
	size_t		nrows = starts[nleaves] - starts[0];
	std::vector<uint32_t> ncopied(nleaves);
	std::vector<TileJob> tiles;
	Scratch<uint32_t> their_starts;
	Scratch<uint32_t> their_ncopied;
	Scratch<TileJob> there;
	Scratch<float> limits;
	Scratch<uint32_t> nseen;
	Scratch<uint64_t> thinned;

	if (!upload(device, their_starts, starts, nleaves + 1) ||
		!borrow(device, their_ncopied, nleaves))
		return false;
	LAUNCH(0, copies_kernel, blocks_of(nleaves), NODE_THREADS, nleaves,
		   their_starts.at, keep, results.at, their_ncopied.at);
	if (!finish(device, "leaves") ||
		!download(device, ncopied.data(), their_ncopied.at, nleaves))
		return false;
	tiles = leaf_tiles(starts, nleaves, ncopied.data(), &device->base.pairs);
	if (tiles.empty())
		return true;

	if (!upload(device, there, tiles.data(), tiles.size()) ||
		!borrow(device, limits, nrows * RANKINGS) ||
		!borrow(device, nseen, nrows) ||
		!borrow(device, thinned, nrows * keep) ||
		!check(device, DEVICE(Memset) (nseen.at, 0, nrows * sizeof(uint32_t)),
			   "leaves"))
		return false;
	Thinning	thinning = {limits.at, nseen.at};

	LAUNCH(0, reach_kernel, (uint32_t) tiles.size(), TILE_THREADS,
		   nodes_of(device), there.at, items, thinning);
	LAUNCH_FOR(nearest_kernel, registers_of(keep), (uint32_t) tiles.size(),
		   TILE_THREADS, nodes_of(device), there.at, items, false, thinning,
		   keep, thinned.at);
	LAUNCH(0, pass_on_kernel, (uint32_t) tiles.size(), TILE, there.at,
		   thinning, keep, thinned.at, results.at);
	return finish(device, "thinned leaves");
}

static bool
device_compare(Backend *base, uint32_t nparts, const uint32_t *starts,
			   int keep, bool thin)
{
	Device	   *device = (Device *) base;
	const uint32_t *items = device->items.at + starts[0];
	uint32_t	nrows = starts[nparts] - starts[0];
	int			room = base->shape.list_size;
	std::vector<TileJob> tiles = leaf_tiles(starts, nparts, nullptr,
											&base->pairs);
	Scratch<TileJob> there;
	Scratch<uint32_t> rows;
	Scratch<uint64_t> results;

	if (tiles.empty())
		return true;
	if (!upload(device, there, tiles.data(), tiles.size()) ||
		!borrow(device, results, (size_t) nrows * keep) ||
		!list_rows(device, items, nrows, rows))
		return false;
	LAUNCH_FOR(nearest_kernel, registers_of(keep), (uint32_t) tiles.size(),
		   TILE_THREADS, nodes_of(device), there.at, items, false,
		   Thinning(), keep, results.at);
	if (thin && !thin_leaves(device, nparts, starts, items, keep, results))
		return false;
	LAUNCH_FOR(merge_kernel, registers_of(room), blocks_of(device->nmembers),
		   NODE_THREADS, device->nmembers, device->members, device->cursors,
		   rows.at, keep, results.at, room, device->lists, device->nlist);
	return finish(device, "leaves");
}

static bool
device_connect(Backend *base, int scale)
{
	Device	   *device = (Device *) base;
	const BackendShape &shape = base->shape;
	int			room = shape.list_size;
	int			local = rule_wanted(shape.max_links, shape.scale_links, 0, scale);
	int			high = rule_wanted(shape.max_links, shape.scale_links, 1, scale);
	uint32_t	count = device->nmembers;
	int			registers = registers_of(room);
	int			warps = choice_warps(registers);
	uint32_t	choice_blocks = (count + warps - 1) / warps;
	Nodes		nodes = nodes_of(device);
	Scratch<uint64_t> offers;

	if (!borrow(device, offers, (size_t) count * std::max(local, high)) ||
		!check(device, DEVICE(Memset) (device->cursors, 0,
									   ((size_t) shape.nnodes + 1) * sizeof(uint32_t)),
			   "offers"))
		return false;
	LAUNCH_FOR(forward_kernel, registers, choice_blocks, 32 * warps, nodes,
		   count, device->members, local, high, device->levels, room,
		   device->lists, device->nlist, device->nkept);
	LAUNCH(0, offer_kernel, blocks_of(count), NODE_THREADS, count,
		   device->members, room, device->lists, device->nkept,
		   device->cursors, (uint64_t *) nullptr);
	if (!finish(device, "forward links") ||
		!scan(device, device->cursors, shape.nnodes + 1))
		return false;
	LAUNCH(0, offer_kernel, blocks_of(count), NODE_THREADS, count,
		   device->members, room, device->lists, device->nkept,
		   device->cursors, offers.at);
	LAUNCH_FOR(final_kernel, registers, choice_blocks, 32 * warps, nodes,
		   count, device->members, scale, local, high, device->levels,
		   room, device->lists, device->nlist, device->cursors, offers.at,
		   device->store);
	return finish(device, "final links");
}

static bool
device_number(Backend *base, const uint32_t *order)
{
	Device	   *device = (Device *) base;
	uint32_t	n = base->shape.nnodes;

	device->window_size = 0;
	if (!check(device, DEVICE(Memcpy) (device->order, order,
									   n * sizeof(uint32_t),
									   DEVICE(MemcpyHostToDevice)), "numbers"))
		return false;
	LAUNCH(0, number_kernel, part_blocks(n), PART_THREADS, n, device->order,
		   device->numbers);
	return finish(device, "numbers");
}

/* Links of the nodes from number "first" on to beside the device */
static bool
fetch_window(Device *device, uint32_t first)
{
	uint32_t	count = std::min(device->base.shape.nnodes - first,
								 FETCH_NODES);
	const LinkStore &there = device->device_window;
	const LinkStore &here = device->host_window;

	device->window_size = 0;
	LAUNCH(0, gather_kernel, blocks_of(count), NODE_THREADS, count,
		   device->order + first, device->numbers, device->store, there);
	if (!finish(device, "fetch") ||
		!download(device, here.links, there.links,
				  (size_t) count * there.max_links) ||
		!download(device, here.nlinks, there.nlinks, count) ||
		!download(device, here.nscale, there.nscale, count))
		return false;
	device->window = first;
	device->window_size = count;
	return true;
}

static bool
device_fetch(Backend *base, uint32_t first, uint32_t count, uint32_t *links,
			 uint8_t *nlinks, uint8_t *nscale)
{
	Device	   *device = (Device *) base;
	const LinkStore &window = device->host_window;
	size_t		max_links = base->shape.max_links;

	for (uint32_t done = 0, piece; done < count; done += piece)
	{
		uint32_t	at = first + done - device->window;

		if (at >= device->window_size)
		{
			if (!fetch_window(device, first + done))
				return false;
			at = 0;
		}
		piece = std::min(count - done, device->window_size - at);
		memcpy(links + done * max_links, window.links + at * max_links,
			   piece * max_links * sizeof(uint32_t));
		memcpy(nlinks + done, window.nlinks + at, piece);
		memcpy(nscale + done, window.nscale + at, piece);
	}
	return true;
}

/* --- exact search --- */

/* Up to SEARCH_QUERIES of them; they are the nodes behind the last one */
static bool
search_some(Device *device, const uint8_t *queries, uint32_t count, int k,
			uint64_t *keys)
{
	uint32_t	n = device->base.shape.nnodes;
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

	if (!load_vectors(device, n, count, queries, true) ||
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
		device_assign,
		device_deal,
		device_items,
		device_compare,
		device_connect,
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
	deviceError_t error = DEVICE(GetDeviceCount) (&count);

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
