/*-------------------------------------------------------------------------
 *
 * device.cu
 *	  The backend that computes on a device, for CUDA and HIP.
 *
 * The steps and their results are those of backend_cpu.c; with codes of 8 bits
 * they are the same to the last bit, for which no multiplication may be fused
 * with an addition (helper.mk).  Kernels are in compare.cuh and choose.cuh; here
 * is what they are called by: memory, transfers, the plan of each step.
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
#include <vector>

#include "gpu/helper/backend.h"
#include "gpu/helper/choose.cuh"
#include "gpu/helper/compare.cuh"
#include "gpu/helper/device.h"
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

/* Items sent at a time */
static const uint32_t ASSIGN_ITEMS = 8 * 1024 * 1024;

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

struct Device
{
	Backend		base;
	LoadTarget	target;
	uint8_t    *levels;
	uint64_t   *lists;
	int		   *nlist;
	int		   *nkept;
	uint32_t   *cursors;		/* one more than nodes */
	LinkStore	store;

	/* two pieces on their way at a time */
	uint8_t    *host_staging[2];
	uint8_t    *device_staging[2];
	deviceStream_t streams[2];
	int			turn;
};

/* Memory on the device for as long as a step */
template<typename T> struct Scratch
{
	T		   *at = nullptr;

	~Scratch()
	{
		if (at != nullptr)
			(void) DEVICE(Free) (at);
	}
};

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
upload(Device *device, Scratch<T> &to, const T *from, size_t count)
{
	return allocate(device, &to.at, count) &&
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

/* Wait for what was started, and tell meanwhile that we are there */
static bool
finish(Device *device, const char *what)
{
	if (!check(device, DEVICE(GetLastError) (), what))
		return false;
	for (;;)
	{
		deviceError_t error = DEVICE(StreamQuery) (0);

		if (error != DEVICE(ErrorNotReady))
			return check(device, error, what);
		if (device->base.tick != nullptr)
			device->base.tick(device->base.tick_arg);
		usleep(200);
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

/* Registers that a list of so many keys takes of each lane */
static int
registers_of(int room)
{
	int			r = 1;

	while (r * 32 < room)
		r *= 2;
	return r;
}

/* Start a kernel that is compiled for 1, 2, 4, 8 and 16 registers */
#define LAUNCH_FOR(kernel, r, blocks, threads, ...) \
	do { \
		switch (r) \
		{ \
			case 1: LAUNCH(0, kernel<1>, blocks, threads, __VA_ARGS__); break; \
			case 2: LAUNCH(0, kernel<2>, blocks, threads, __VA_ARGS__); break; \
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
		device->store.nscale, device->device_staging[0],
		device->device_staging[1]};

	for (void *one : all)
	{
		if (one != nullptr)
			(void) DEVICE(Free) (one);
	}
	for (int i = 0; i < 2; i++)
	{
		if (device->host_staging[i] != nullptr)
			(void) deviceFreeHost(device->host_staging[i]);
		if (device->streams[i] != nullptr)
			(void) DEVICE(StreamDestroy) (device->streams[i]);
	}
	free(device);
}

/* Bytes of the device that a node takes, with the offers it makes in the end */
static size_t
node_bytes(const Device *device)
{
	const BackendShape &shape = device->base.shape;
	size_t		code = shape.element == ELEMENT_CODE8 ? device->target.pad :
		shape.dims * sizeof(float);

	return code + 3 * sizeof(float) + 1 + shape.list_size * sizeof(uint64_t) +
		4 * sizeof(int) +
		shape.max_links * (sizeof(uint32_t) + sizeof(uint64_t)) + 2;
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
		allocate(device, &device->store.nscale, n);
	for (int i = 0; good && i < 2; i++)
		good = check(device, deviceMallocHost((void **) &device->host_staging[i], STAGING), "staging") &&
			allocate(device, &device->device_staging[i], STAGING) &&
			check(device, DEVICE(StreamCreate) (&device->streams[i]), "stream");
	return good;
}

static Backend *
device_create(const BackendShape *shape, char *fault, size_t fault_size)
{
	Device	   *device = (Device *) calloc(1, sizeof(Device));
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
device_clear(Backend *base, const uint32_t *nodes, uint32_t count)
{
	Device	   *device = (Device *) base;
	Scratch<uint32_t> there;

	if (nodes != nullptr && !upload(device, there, nodes, count))
		return false;
	LAUNCH(0, clear_kernel, (count + 255) / 256, 256, count, there.at,
		   device->nlist);
	return finish(device, "clear");
}

/* Jobs for the items from "first" on that are compared with their leaders */
static uint32_t
plan_assign(const BackendGroups *groups, uint32_t *group, uint32_t first,
			std::vector<TileJob> &jobs, uint64_t *pairs)
{
	uint32_t	end = groups->starts[groups->ngroups];
	uint32_t	at = first;

	while (at < end && at - first < ASSIGN_ITEMS)
	{
		uint32_t	g = *group;
		uint32_t	left = groups->starts[g + 1] - at;
		TileJob		job;

		if (left == 0)
		{
			(*group)++;
			continue;
		}
		job.row = at - first;
		job.nrows = left < (uint32_t) TILE ? left : (uint32_t) TILE;
		job.col = groups->leader_starts[g];
		job.ncols = groups->leader_starts[g + 1] - job.col;
		job.out = job.row;
		jobs.push_back(job);
		*pairs += (uint64_t) job.nrows * job.ncols;
		at += job.nrows;
	}
	return at;
}

static bool
device_assign(Backend *base, const BackendGroups *groups, int fanout,
			  uint32_t *nearest)
{
	Device	   *device = (Device *) base;
	Scratch<uint32_t> leaders;
	uint32_t	nitems = groups->starts[groups->ngroups];
	uint32_t	group = 0;

	if (fanout > MAX_FANOUT)
		return false;
	if (!upload(device, leaders, groups->leaders,
				groups->leader_starts[groups->ngroups]))
		return false;
	for (uint32_t first = 0; first < nitems;)
	{
		std::vector<TileJob> jobs;
		Scratch<TileJob> there;
		Scratch<uint32_t> items;
		Scratch<uint32_t> found;
		uint32_t	end = plan_assign(groups, &group, first, jobs, &base->pairs);

		if (!upload(device, there, jobs.data(), jobs.size()) ||
			!upload(device, items, groups->items + first, end - first) ||
			!allocate(device, &found.at, (size_t) (end - first) * fanout))
			return false;
		LAUNCH(0, assign_kernel, (uint32_t) jobs.size(), TILE_THREADS,
			   nodes_of(device), there.at, items.at, leaders.at, fanout,
			   found.at);
		if (!finish(device, "assign") ||
			!download(device, nearest + (size_t) first * fanout, found.at,
					  (size_t) (end - first) * fanout))
			return false;
		first = end;
	}
	return true;
}

static bool
device_leaves(Backend *base, const BackendLeaves *leaves)
{
	Device	   *device = (Device *) base;
	int			keep = leaves->keep;
	int			room = base->shape.list_size;
	uint32_t	nrows = leaves->starts[leaves->nleaves];
	std::vector<TileJob> jobs;
	Scratch<TileJob> there;
	Scratch<uint32_t> items;
	Scratch<uint32_t> owners;
	Scratch<uint32_t> row_starts;
	Scratch<uint32_t> rows;
	Scratch<uint64_t> results;

	for (uint32_t leaf = 0; leaf < leaves->nleaves; leaf++)
	{
		uint32_t	first = leaves->starts[leaf];
		uint32_t	size = leaves->starts[leaf + 1] - first;

		for (uint32_t row = 0; row < size; row += TILE)
		{
			uint32_t	count = size - row < (uint32_t) TILE ? size - row :
				(uint32_t) TILE;

			jobs.push_back(TileJob {first + row, count, first, size,
									first + row});
		}
		base->pairs += (uint64_t) size * size;
	}
	if (jobs.empty())
		return true;
	if (!upload(device, there, jobs.data(), jobs.size()) ||
		!upload(device, items, leaves->items, nrows) ||
		!upload(device, owners, leaves->owners, leaves->nowners) ||
		!upload(device, row_starts, leaves->row_starts, leaves->nowners + 1) ||
		!upload(device, rows, leaves->rows, nrows) ||
		!allocate(device, &results.at, (size_t) nrows * keep))
		return false;
	LAUNCH_FOR(nearest_kernel, registers_of(keep), (uint32_t) jobs.size(),
		   TILE_THREADS, nodes_of(device), there.at, items.at, false, keep,
		   results.at);
	LAUNCH_FOR(merge_kernel, registers_of(room), blocks_of(leaves->nowners),
		   NODE_THREADS, leaves->nowners, owners.at, row_starts.at, rows.at,
		   keep, results.at, room, device->lists, device->nlist);
	return finish(device, "leaves");
}

/* From how many each target gets to where they begin; the sum is returned */
static bool
start_offers(Device *device, uint32_t *total)
{
	uint32_t	n = device->base.shape.nnodes;
	std::vector<uint32_t> counts(n + 1);
	uint32_t	sum = 0;

	if (!download(device, counts.data(), device->cursors, n))
		return false;
	for (uint32_t i = 0; i <= n; i++)
	{
		uint32_t	count = i < n ? counts[i] : 0;

		counts[i] = sum;
		sum += count;
	}
	*total = sum;
	return check(device, DEVICE(Memcpy) (device->cursors, counts.data(),
										 (n + 1) * sizeof(uint32_t),
										 DEVICE(MemcpyHostToDevice)),
				 "upload");
}

static bool
device_connect(Backend *base, const uint32_t *members, uint32_t count,
			   int scale)
{
	Device	   *device = (Device *) base;
	const BackendShape &shape = base->shape;
	int			room = shape.list_size;
	int			local = rule_wanted(shape.max_links, shape.scale_links, 0, scale);
	int			high = rule_wanted(shape.max_links, shape.scale_links, 1, scale);
	Nodes		nodes = nodes_of(device);
	Scratch<uint32_t> there;
	Scratch<uint32_t> starts;
	Scratch<uint64_t> offers;
	uint32_t	noffers;

	if (!upload(device, there, members, count) ||
		!allocate(device, &starts.at, (size_t) shape.nnodes + 1))
		return false;
	LAUNCH_FOR(forward_kernel, registers_of(room), blocks_of(count), NODE_THREADS,
		   nodes, count, there.at, local, high, device->levels, room,
		   device->lists, device->nlist, device->nkept);
	if (!check(device, DEVICE(Memset) (device->cursors, 0,
									   (shape.nnodes + 1) * sizeof(uint32_t)),
			   "offers"))
		return false;
	LAUNCH(0, offer_kernel, blocks_of(count), NODE_THREADS, count, there.at,
		   room, device->lists, device->nkept, device->cursors,
		   (uint64_t *) nullptr);
	if (!finish(device, "forward links") || !start_offers(device, &noffers) ||
		!allocate(device, &offers.at, noffers) ||
		!check(device, DEVICE(Memcpy) (starts.at, device->cursors,
									   ((size_t) shape.nnodes + 1) * sizeof(uint32_t),
									   DEVICE(MemcpyDeviceToDevice)), "offers"))
		return false;
	LAUNCH(0, offer_kernel, blocks_of(count), NODE_THREADS, count, there.at,
		   room, device->lists, device->nkept, device->cursors, offers.at);
	LAUNCH_FOR(final_kernel, registers_of(room), blocks_of(count), NODE_THREADS,
		   nodes, count, there.at, scale, local, high, device->levels, room,
		   device->lists, device->nlist, starts.at, offers.at, device->store);
	return finish(device, "final links");
}

static bool
device_fetch(Backend *base, const uint32_t *nodes, uint32_t count,
			 uint32_t *links, uint8_t *nlinks, uint8_t *nscale)
{
	Device	   *device = (Device *) base;
	size_t		max_links = base->shape.max_links;
	Scratch<uint32_t> there;
	Scratch<uint32_t> their_links;
	Scratch<uint8_t> their_nlinks;
	Scratch<uint8_t> their_nscale;
	LinkStore	to = {nullptr, nullptr, nullptr, base->shape.max_links};

	if (!upload(device, there, nodes, count) ||
		!allocate(device, &their_links.at, count * max_links) ||
		!allocate(device, &their_nlinks.at, count) ||
		!allocate(device, &their_nscale.at, count))
		return false;
	to.links = their_links.at;
	to.nlinks = their_nlinks.at;
	to.nscale = their_nscale.at;
	LAUNCH(0, gather_kernel, blocks_of(count), NODE_THREADS, count, there.at,
		   device->store, to);
	return finish(device, "fetch") &&
		download(device, links, to.links, count * max_links) &&
		download(device, nlinks, to.nlinks, count) &&
		download(device, nscale, to.nscale, count);
}

/* Up to SEARCH_QUERIES of them; they are the nodes behind the last one */
static bool
search_some(Device *device, const uint8_t *queries, uint32_t count, int k,
			uint64_t *keys)
{
	uint32_t	n = device->base.shape.nnodes;
	std::vector<TileJob> jobs;
	std::vector<uint32_t> ids(count);
	std::vector<uint32_t> starts(count + 1);
	std::vector<uint32_t> rows;
	uint32_t	nparts = (n + SEARCH_NODES - 1) / SEARCH_NODES;
	Scratch<TileJob> there;
	Scratch<uint32_t> device_ids;
	Scratch<uint32_t> device_starts;
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
		starts[q] = (uint32_t) rows.size();
		for (uint32_t part = 0; part < nparts; part++)
			rows.push_back(part * count + q);
	}
	starts[count] = (uint32_t) rows.size();
	device->base.pairs += (uint64_t) n * count;

	if (!load_vectors(device, n, count, queries, true) ||
		!upload(device, there, jobs.data(), jobs.size()) ||
		!upload(device, device_ids, ids.data(), ids.size()) ||
		!upload(device, device_starts, starts.data(), starts.size()) ||
		!upload(device, device_rows, rows.data(), rows.size()) ||
		!allocate(device, &results.at, rows.size() * k) ||
		!allocate(device, &lists.at, (size_t) count * k))
		return false;
	LAUNCH_FOR(nearest_kernel, registers_of(k), (uint32_t) jobs.size(),
		   TILE_THREADS, nodes_of(device), there.at, device_ids.at, true, k,
		   results.at);
	LAUNCH_FOR(merge_kernel, registers_of(k), blocks_of(count), NODE_THREADS, count,
		   (const uint32_t *) nullptr, device_starts.at, device_rows.at, k,
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
		device_clear,
		device_assign,
		device_leaves,
		device_connect,
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
