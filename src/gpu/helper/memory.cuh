/*-------------------------------------------------------------------------
 *
 * memory.cuh
 *	  What the backend keeps on a device and beside it; transfers; waiting.
 *
 * What there is of each node is allocated once.  Memory of a step is borrowed from
 * the driver's pool, and goes back to it, in the order of the default stream, on
 * which all steps run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_MEMORY_CUH
#define OMEN_GPU_MEMORY_CUH

#include <stdio.h>
#include <unistd.h>

#include <algorithm>

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

static void
release_all(Device *device)
{
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
}

#endif							/* OMEN_GPU_MEMORY_CUH */
