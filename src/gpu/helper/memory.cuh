/*-------------------------------------------------------------------------
 *
 * memory.cuh
 *	  What the backend keeps on a device and beside it; transfers; waiting.
 *
 * What there is of each node is allocated once; if the device has no room for all
 * of it, beside the device, in pages that it can reach.  Memory of a step is borrowed
 * from the driver's pool, and goes back to it, in the order of the default stream,
 * on which all steps run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_MEMORY_CUH
#define OMEN_GPU_MEMORY_CUH

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "gpu/helper/backend.h"
#include "gpu/helper/device.h"
#include "gpu/helper/links.cuh"
#include "gpu/helper/load.cuh"

/* Queries of an exact search at a time, which lie behind the nodes */
static const int SEARCH_QUERIES = 1024;

/* Nodes whose links are fetched at a time */
static const uint32_t FETCH_NODES = 65536;

/*
 * Bytes of a division for each node: two items before it; six with cells after
 * it, twice, and the cells that they are sorted by; counts of digits
 */
static const size_t DIVISION_BYTES = 2 * 4 + 6 * (2 * 8 + 4) + 4;

/*
 * Places for codes on the device, if they are beside it: what one block compares
 * must be there
 */
static const uint32_t FEWEST_SLOTS = LEADERS_MAX + TILE;

/* Of the memory that may be used, what a batch of leaves gets, and its fewest rows */
static const int BATCH_PART = 8;
static const uint32_t FEWEST_BATCH_ROWS = 4 * LEAF_MAX;

/* Of the device's memory, one of so many parts goes into the gaps */
static const int SPARE_PART = 32;

/* How often it is asked whether a step is done before the process sleeps */
static const int IMPATIENCE = 2000;

/* Vectors on their way */
static const size_t STAGING = 2 * 1024 * 1024;

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
	uint64_t   *offers;			/* of all nodes, if they are beside */

	/* codes that a step needs, if they are beside: see window.cuh */
	uint32_t   *slots;			/* one more than places of nodes */
	uint32_t	nslots;
	int8_t	   *slot_codes;
	float	   *slot_vectors;

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

	uint32_t   *order;
	uint32_t   *numbers;

	/* links of some nodes on their way */
	LinkStore	device_window;
	LinkStore	host_window;

	std::vector<void *> allocated;
	std::vector<void *> host_allocated;
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
	if (!check(device, DEVICE(Malloc) ((void **) to, (count + 1) * sizeof(T)),
			   "memory of the device"))
		return false;
	device->allocated.push_back(*to);
	return true;
}

/* Tell that we are there */
static void
tick(const Device *device)
{
	if (device->base.shape.tick != nullptr)
		device->base.shape.tick(device->base.shape.tick_arg);
}

/* The device reaches it, too, by the same address; takes time if it is much */
template<typename T> static bool
allocate_host(Device *device, T **to, size_t count)
{
	tick(device);
	if (!check(device, deviceMallocHost((void **) to, (count + 1) * sizeof(T)),
			   "memory beside the device"))
		return false;
	device->host_allocated.push_back(*to);
	return true;
}

template<typename T> static bool
allocate_at(Device *device, bool is_beside, T **to, size_t count)
{
	return is_beside ? allocate_host(device, to, count) :
		allocate(device, to, count);
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

		/* HIP keeps this one as well */
		(void) DEVICE(GetLastError) ();
		tick(device);
		if (i > IMPATIENCE)
			usleep(100);
	}
}

/* --- what is where --- */

static size_t
code_bytes(const Device *device)
{
	return device->base.shape.element == ELEMENT_CODE8 ? device->target.pad :
		device->base.shape.dims * sizeof(float);
}

/* Places of nodes: theirs, and those behind them */
static size_t
count_places(const BackendShape &shape)
{
	return (size_t) shape.nnodes +
		std::max(shape.spare, (uint32_t) SEARCH_QUERIES);
}

/* Of each node, what there is less of on the device if it is beside it */
static size_t
list_bytes(const BackendShape &shape)
{
	return shape.list_size * sizeof(uint64_t) +
		shape.max_links * sizeof(uint32_t);
}

static size_t
offer_bytes(const BackendShape &shape)
{
	return shape.max_links * sizeof(uint64_t);
}

/*
 * A row of leaves: what is found, twice if they are thinned, and by whom; then, too,
 * from where it is seen, how many it sees, and beyond what.  A tile for each is more
 * than there are, with what there is of leaves.
 */
static size_t
row_bytes(const BackendShape &shape)
{
	size_t		keep = std::max(shape.max_links, 16);

	return 2 * keep * sizeof(uint64_t) + (RANKINGS + 1) * sizeof(float) +
		2 * sizeof(uint32_t) + sizeof(TileJob);
}

/* Rows of a batch of leaves, of which a node is in six */
static uint32_t
choose_batch(const BackendShape &shape, size_t memory)
{
	size_t		rows = std::min(memory / BATCH_PART / row_bytes(shape),
								(size_t) BATCH_ROWS);

	return (uint32_t) std::min(std::max(rows, (size_t) FEWEST_BATCH_ROWS),
							   (size_t) shape.nnodes * 6);
}

/* What is on its way to the device and from there */
static size_t
transfer_bytes(const BackendShape &shape)
{
	return 2 * STAGING + std::min(shape.nnodes, FETCH_NODES) *
		(shape.max_links * sizeof(uint32_t) + 2);
}

/* Bytes of the device that it takes; slots come to that */
static size_t
device_bytes(const Device *device, BackendBeside beside)
{
	const BackendShape &shape = device->base.shape;
	size_t		a_node = sizeof(Factors) + 6 * sizeof(uint32_t) + 3;
	size_t		a_step = DIVISION_BYTES;

	if (beside < BESIDE_LISTS)
	{
		a_node += list_bytes(shape);
		a_step = std::max(a_step, offer_bytes(shape));
	}
	a_node += beside < BESIDE_CODES ? code_bytes(device) : sizeof(uint32_t);
	return count_places(shape) * a_node + shape.nnodes * a_step +
		device->base.batch_rows * row_bytes(shape) + transfer_bytes(shape);
}

/* Bytes beside it */
static size_t
host_bytes(const Device *device, BackendBeside beside)
{
	const BackendShape &shape = device->base.shape;
	size_t		bytes = 0;

	if (beside >= BESIDE_LISTS)
		bytes += shape.nnodes * (list_bytes(shape) + offer_bytes(shape));
	if (beside >= BESIDE_CODES)
		bytes += count_places(shape) * code_bytes(device);
	return bytes;
}

/* As much on the device as it has room for; false if that is not enough */
static bool
choose_beside(Device *device, size_t bytes_free, char *fault, size_t fault_size)
{
	const BackendShape &shape = device->base.shape;
	size_t		usable = bytes_free - bytes_free / SPARE_PART;
	size_t		memory = shape.device_memory > 0 ?
		std::min(usable, (size_t) shape.device_memory) : usable;
	BackendBeside &beside = device->base.beside;
	size_t		slots = 0;

	device->base.batch_rows = choose_batch(shape, memory);
	for (beside = BESIDE_NOTHING; beside < BESIDE_CODES &&
		 device_bytes(device, beside) > memory;)
		beside = (BackendBeside) (beside + 1);
	if (beside == BESIDE_CODES && device_bytes(device, beside) < memory)
	{
		slots = std::min((memory - device_bytes(device, beside)) /
						 code_bytes(device), count_places(shape));
		device->nslots = (uint32_t) slots;
	}
	if (beside == BESIDE_CODES && slots < FEWEST_SLOTS)
		snprintf(fault, fault_size,
				 "%u vectors take %zu MB of the device at least, of which %zu can be used",
				 shape.nnodes, (device_bytes(device, beside) + FEWEST_SLOTS *
								code_bytes(device)) >> 20, memory >> 20);
	else if (host_bytes(device, beside) > shape.host_memory)
		snprintf(fault, fault_size,
				 "%u vectors take %zu MB of memory beside %zu of the device, and may take %zu",
				 shape.nnodes, host_bytes(device, beside) >> 20, memory >> 20,
				 (size_t) shape.host_memory >> 20);
	else
		return true;
	return false;
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

/* Codes, where they are, and places for those that a step needs */
static bool
allocate_codes(Device *device)
{
	bool		is_beside = device->base.beside >= BESIDE_CODES;
	size_t		places = count_places(device->base.shape);
	LoadTarget &t = device->target;

	if (is_beside && !allocate(device, &device->slots, places + 1))
		return false;
	if (device->base.shape.element == ELEMENT_CODE8)
		return allocate_at(device, is_beside, &t.codes, places * t.pad) &&
			(!is_beside || allocate(device, &device->slot_codes,
									(size_t) device->nslots * t.pad));
	return allocate_at(device, is_beside, &t.vectors, places * t.dims) &&
		(!is_beside || allocate(device, &device->slot_vectors,
								(size_t) device->nslots * t.dims));
}

static bool
allocate_lists(Device *device)
{
	const BackendShape &shape = device->base.shape;
	bool		is_beside = device->base.beside >= BESIDE_LISTS;
	size_t		n = shape.nnodes;

	return allocate_at(device, is_beside, &device->lists, n * shape.list_size) &&
		allocate_at(device, is_beside, &device->store.links,
					n * shape.max_links) &&
		(!is_beside ||
		 allocate_host(device, &device->offers, n * shape.max_links));
}

static bool
allocate_all(Device *device)
{
	LoadTarget &t = device->target;
	size_t		n = device->base.shape.nnodes;
	size_t		places = count_places(device->base.shape);
	bool		good;

	good = allocate_codes(device) && allocate_lists(device) &&
		allocate(device, &t.factors, places) &&
		allocate(device, &device->levels, n) &&
		allocate(device, &device->nlist, n) &&
		allocate(device, &device->nkept, n) &&
		allocate(device, &device->cursors, n + 1) &&
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

static void
release_all(Device *device)
{
	give_back(device->items);
	give_back(device->cells);
	for (void *one : device->allocated)
		(void) DEVICE(Free) (one);
	for (void *one : device->host_allocated)
		(void) deviceFreeHost(one);
	for (deviceStream_t stream : device->streams)
	{
		if (stream != nullptr)
			(void) DEVICE(StreamDestroy) (stream);
	}
}

#endif							/* OMEN_GPU_MEMORY_CUH */
