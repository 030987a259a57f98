/*-------------------------------------------------------------------------
 *
 * gpu_emulated.h
 *	  A device that is none: kernels on the processor, for tests.
 *
 * What src/gpu/helper/device.h takes from CUDA or HIP.  The threads of a block
 * are fibers, which go on one after the other; at a barrier of the block or an
 * exchange among the lanes of a warp they wait for each other.  So the kernels'
 * own text is what is tested; with TENSOR_CORES, that which uses nvcuda::wmma.
 *
 * What a stream is given is not done before something waits for it.  So what is
 * not waited for is missed, and what is written too early is seen.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEST_GPU_EMULATED_H
#define OMEN_TEST_GPU_EMULATED_H

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__			static
#define __launch_bounds__(...)
#define DEVICE(name)		emulated##name

using std::max;
using std::min;

/* --- fibers --- */

static const size_t FIBER_STACK = 128 * 1024;

/* What fibers wait for each other for; all must for the same */
enum EmulatedMeeting
{
	EMULATED_BARRIER, EMULATED_EXCHANGE, EMULATED_BALLOT
};

struct EmulatedGroup			/* of fibers that wait for each other */
{
	int			alive;
	int			arrived;
	uint64_t	turn;
	EmulatedMeeting meeting;	/* of those who have arrived */

	/* exchanged by lanes, in this turn and the next */
	uint64_t	values[2][32];
	uint32_t	ballots[2];
};

struct EmulatedFiber
{
	jmp_buf		place;
	ucontext_t	start;
	char	   *stack;
	bool		started;
	bool		done;
	EmulatedGroup *waits_for;	/* to take another turn than this */
	uint64_t	turn;
};

struct EmulatedIndex
{
	uint32_t	x;
};

static EmulatedIndex blockIdx;
static EmulatedIndex blockDim;
static EmulatedIndex threadIdx;

static std::vector<EmulatedFiber> emulated_fibers;
static std::vector<EmulatedGroup> emulated_warps;
static EmulatedGroup emulated_block;
static const std::function<void()> *emulated_kernel;
static ucontext_t emulated_main;

static void
emulated_go_on(uint32_t next)
{
	EmulatedFiber &fiber = emulated_fibers[next];

	if (fiber.done || (fiber.waits_for != nullptr &&
					   fiber.waits_for->turn == fiber.turn))
		return;
	threadIdx.x = next;
	if (fiber.started)
		_longjmp(fiber.place, 1);
	fiber.started = true;
	setcontext(&fiber.start);
}

/*
 * Go on with a fiber that can, of this warp if there is one; with the launch, if
 * all are done.  Which one is drawn, and one warp gets as far ahead of the others
 * as it can, so that kernels which lack a barrier do not get away with it.
 */
static void
emulated_switch(void)
{
	static uint32_t random = 1;
	uint32_t	n = (uint32_t) emulated_fibers.size();
	uint32_t	warp = threadIdx.x / 32 * 32;

	random = random * 1664525 + 1013904223;
	for (uint32_t i = 0; i < 32; i++)
	{
		uint32_t	next = warp + (random / 65536 + i) % 32;

		if (next < n)
			emulated_go_on(next);
	}
	for (uint32_t i = 0; i < n; i++)
		emulated_go_on((random / 65536 + i) % n);
	setcontext(&emulated_main);
}

static void
emulated_release(EmulatedGroup &group)
{
	if (group.arrived > 0 && group.arrived == group.alive)
	{
		group.arrived = 0;
		group.turn++;
		group.ballots[group.turn % 2] = 0;
	}
}

/* Wait until all fibers of the group are here; returns the turn that it was */
static uint64_t
emulated_meet(EmulatedGroup &group, EmulatedMeeting meeting)
{
	EmulatedFiber &fiber = emulated_fibers[threadIdx.x];
	uint64_t	turn = group.turn;

	if (group.arrived > 0 && group.meeting != meeting)
		abort();
	group.meeting = meeting;
	group.arrived++;
	emulated_release(group);
	if (group.turn == turn)
	{
		fiber.waits_for = &group;
		fiber.turn = turn;
		if (_setjmp(fiber.place) == 0)
			emulated_switch();
		emulated_fibers[threadIdx.x].waits_for = nullptr;
		return emulated_fibers[threadIdx.x].turn;
	}
	return turn;
}

static void
emulated_run(void)
{
	(*emulated_kernel) ();
	emulated_fibers[threadIdx.x].done = true;
	emulated_block.alive--;
	emulated_warps[threadIdx.x / 32].alive--;
	emulated_release(emulated_block);
	emulated_release(emulated_warps[threadIdx.x / 32]);
	emulated_switch();
}

static void
emulated_prepare(ucontext_t &start, char *stack)
{
	getcontext(&start);
	start.uc_stack.ss_sp = stack;
	start.uc_stack.ss_size = FIBER_STACK;
	start.uc_link = nullptr;
	makecontext(&start, emulated_run, 0);
}

/* All blocks, one after the other */
static void
emulated_run_blocks(uint32_t blocks, uint32_t threads,
					const std::function<void()> &kernel)
{
	static std::vector<std::unique_ptr<char[]>> stacks;

	while (stacks.size() < threads)
		stacks.emplace_back(new char[FIBER_STACK]);
	emulated_kernel = &kernel;
	blockDim.x = threads;
	for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
	{
		emulated_fibers.assign(threads, EmulatedFiber());
		emulated_warps.assign((threads + 31) / 32, EmulatedGroup());
		for (EmulatedGroup &warp : emulated_warps)
			warp.alive = 32;
		emulated_block = EmulatedGroup();
		emulated_block.alive = (int) threads;
		for (uint32_t i = 0; i < threads; i++)
			emulated_prepare(emulated_fibers[i].start, stacks[i].get());
		threadIdx.x = 0;
		emulated_fibers[0].started = true;
		swapcontext(&emulated_main, &emulated_fibers[0].start);

		/* some wait for others that will not come: on a device, for ever */
		if (emulated_block.alive > 0)
			abort();
	}
}

/* --- streams --- */

typedef struct EmulatedStream *deviceStream_t;

/*
 * The default stream waits for what all others have been given before, and they
 * for what it has.
 */
static const deviceStream_t EMULATED_DEFAULT = nullptr;

struct EmulatedWork
{
	deviceStream_t stream;
	std::function<void()> run;
};

static std::vector<EmulatedWork> emulated_queue;

/* Do what the last work of a stream waits for, and that, but nothing else */
static void
emulated_wait(deviceStream_t stream)
{
	std::vector<bool> is_needed(emulated_queue.size());
	std::vector<EmulatedWork> todo;
	std::vector<EmulatedWork> later;
	bool		all = false;
	bool		any = false;

	for (size_t i = emulated_queue.size(); i-- > 0;)
	{
		deviceStream_t its = emulated_queue[i].stream;

		is_needed[i] = all || its == stream || (any && its == EMULATED_DEFAULT);
		any = any || is_needed[i];
		all = all || (is_needed[i] && its == EMULATED_DEFAULT);
	}
	for (size_t i = 0; i < emulated_queue.size(); i++)
		(is_needed[i] ? todo : later).push_back(emulated_queue[i]);
	emulated_queue = later;
	for (EmulatedWork &work : todo)
		work.run();
}

static void
emulated_wait_for_all(void)
{
	std::vector<EmulatedWork> todo;

	todo.swap(emulated_queue);
	for (EmulatedWork &work : todo)
		work.run();
}

/* Arguments are as they are now, whenever it runs */
template<typename... Parameters, typename... Arguments> static void
emulated_launch(deviceStream_t stream, uint32_t blocks, uint32_t threads,
				void (*kernel) (Parameters...), Arguments... arguments)
{
	std::tuple<Parameters...> values(arguments...);

	/* on a device, that is an error */
	if (blocks == 0)
		abort();
	emulated_queue.push_back({stream, [=] ()
							  {
								  emulated_run_blocks(blocks, threads, [&] ()
													  {
														  std::apply(kernel, values);
													  });
							  }});
}

#undef LAUNCH
#define LAUNCH(stream, kernel, blocks, threads, ...) \
	emulated_launch(stream, blocks, threads, kernel, __VA_ARGS__)

/* --- what kernels call --- */

static inline void
__syncthreads(void)
{
	emulated_meet(emulated_block, EMULATED_BARRIER);
}

/* What all lanes have brought */
template<typename T> static const uint64_t *
emulated_exchange(T value)
{
	EmulatedGroup &warp = emulated_warps[threadIdx.x / 32];
	uint64_t   *mine = &warp.values[warp.turn % 2][threadIdx.x % 32];

	static_assert(sizeof(T) <= sizeof(uint64_t), "a value of a lane is a word");
	*mine = 0;
	memcpy(mine, &value, sizeof(T));
	return warp.values[emulated_meet(warp, EMULATED_EXCHANGE) % 2];
}

template<typename T> static T
emulated_value(const uint64_t *values, int lane)
{
	T			value;

	memcpy(&value, &values[lane], sizeof(T));
	return value;
}

static inline uint32_t
warp_ballot(bool predicate)
{
	EmulatedGroup &warp = emulated_warps[threadIdx.x / 32];

	warp.ballots[warp.turn % 2] |= (uint32_t) predicate << threadIdx.x % 32;
	return warp.ballots[emulated_meet(warp, EMULATED_BALLOT) % 2];
}

template<typename T> static inline T
warp_from(T value, int lane)
{
	return emulated_value<T>(emulated_exchange(value), lane);
}

template<typename T> static inline T
warp_up(T value)
{
	int			lane = threadIdx.x % 32;

	return emulated_value<T>(emulated_exchange(value), lane > 0 ? lane - 1 : 0);
}

/* In the order in which a device adds */
template<typename T> static inline T
warp_sum(T value)
{
	const uint64_t *values = emulated_exchange(value);
	T			sums[32];

	for (int lane = 0; lane < 32; lane++)
		sums[lane] = emulated_value<T>(values, lane);
	for (int mask = 16; mask > 0; mask /= 2)
	{
		for (int lane = 0; lane < mask; lane++)
			sums[lane] += sums[lane + mask];
	}
	return sums[0];
}

static inline void
warp_sync(void)
{
	emulated_meet(emulated_warps[threadIdx.x / 32], EMULATED_BARRIER);
}

static inline int32_t
dot_4(int32_t a, int32_t b, int32_t sum)
{
	for (int i = 0; i < 32; i += 8)
		sum += (int32_t) (int8_t) (a >> i) * (int32_t) (int8_t) (b >> i);
	return sum;
}

static inline int
__popc(uint32_t bits)
{
	return __builtin_popcount(bits);
}

static inline int
__ffs(uint32_t bits)
{
	return __builtin_ffs((int) bits);
}

static inline float
__uint_as_float(uint32_t bits)
{
	float		result;

	memcpy(&result, &bits, sizeof(result));
	return result;
}

static inline uint32_t
atomicAdd(uint32_t *to, uint32_t more)
{
	uint32_t	before = *to;

	*to += more;
	return before;
}

struct int4
{
	int32_t		x, y, z, w;
};

#ifdef TENSOR_CORES

/*
 * Of nvcuda::wmma, what kernels use: 16 x 16 x 16, whole matrices in each lane, of
 * which it computes and stores eight elements of row lane / 2
 */
namespace nvcuda
{
namespace wmma
{
struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t
{
	mem_row_major, mem_col_major
};

template<typename Use, int M, int N, int K, typename T, typename Layout = void>
struct fragment
{
	static_assert(M == 16 && N == 16 && K == 16, "other sizes are not emulated");
	T			x[16][16];
};

/* As a device wants them: 32 bytes for matrices, 16 for what is between rows */
template<typename T> static void
emulated_check_matrix(const T *at, unsigned stride)
{
	if ((uintptr_t) at % 32 != 0 || stride * sizeof(T) % 16 != 0)
		abort();
}

template<typename T> static void
load_matrix_sync(fragment<matrix_a, 16, 16, 16, T, row_major> &to,
				 const T *from, unsigned stride)
{
	emulated_check_matrix(from, stride);
	for (int i = 0; i < 16; i++)
		memcpy(to.x[i], from + i * stride, 16 * sizeof(T));
}

template<typename T> static void
load_matrix_sync(fragment<matrix_b, 16, 16, 16, T, col_major> &to,
				 const T *from, unsigned stride)
{
	emulated_check_matrix(from, stride);
	for (int k = 0; k < 16; k++)
	{
		for (int j = 0; j < 16; j++)
			to.x[k][j] = from[j * stride + k];
	}
}

template<typename T> static void
fill_fragment(fragment<accumulator, 16, 16, 16, T> &to, T value)
{
	std::fill(&to.x[0][0], &to.x[0][0] + 256, value);
}

template<typename T, typename U> static void
mma_sync(fragment<accumulator, 16, 16, 16, T> &to,
		 const fragment<matrix_a, 16, 16, 16, U, row_major> &a,
		 const fragment<matrix_b, 16, 16, 16, U, col_major> &b,
		 const fragment<accumulator, 16, 16, 16, T> &c)
{
	int			i = threadIdx.x % 32 / 2;
	int			first = threadIdx.x % 2 * 8;

	for (int j = first; j < first + 8; j++)
	{
		T			sum = c.x[i][j];

		for (int k = 0; k < 16; k++)
			sum += (T) a.x[i][k] * (T) b.x[k][j];
		to.x[i][j] = sum;
	}
}

template<typename T> static void
store_matrix_sync(T *to, const fragment<accumulator, 16, 16, 16, T> &from,
				  unsigned stride, layout_t layout)
{
	int			i = threadIdx.x % 32 / 2;
	int			first = threadIdx.x % 2 * 8;

	emulated_check_matrix(to, stride);
	for (int j = first; j < first + 8; j++)
		to[layout == mem_row_major ? i * stride + j : j * stride + i] = from.x[i][j];
}
}
}

#endif							/* TENSOR_CORES */

/* --- the runtime --- */

enum deviceError_t
{
	emulatedSuccess, emulatedErrorNotReady, emulatedErrorMemory,
	emulatedErrorInvalidValue
};
enum emulatedDirection
{
	emulatedMemcpyHostToDevice, emulatedMemcpyDeviceToHost,
	emulatedMemcpyDeviceToDevice
};
typedef void *deviceMemPool_t;
enum emulatedAttribute
{
	deviceHasMemoryPools, emulatedMemPoolAttrReleaseThreshold
};
struct deviceProperties
{
	char		name[64];
};

/* Memory of the device; what is allocated tells its size in front of it */
static const size_t EMULATED_HEAD = 256;
extern "C"
{
size_t		emulated_used;
size_t		emulated_peak;		/* since whoever asks has set it to 0 */
}

/* Memory of the process that a device reaches: where each piece ends */
static std::map<uintptr_t, uintptr_t> emulated_pinned;

static bool
emulated_is_pinned(const void *at)
{
	auto		next = emulated_pinned.upper_bound((uintptr_t) at);

	return next != emulated_pinned.begin() &&
		(uintptr_t) at < std::prev(next)->second;
}

/* What is read before it is written should be seen */
static void *
emulated_allocate(size_t size)
{
	void	   *at = aligned_alloc(256, (size + 255) / 256 * 256);

	if (at != nullptr)
		memset(at, 0xA5, size);
	return at;
}

static inline deviceError_t
emulatedMallocHost(void **to, size_t size)
{
	*to = emulated_allocate(size);
	if (*to == nullptr)
		return emulatedErrorMemory;
	emulated_pinned[(uintptr_t) *to] = (uintptr_t) *to + size;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedFreeHost(void *at)
{
	emulated_pinned.erase((uintptr_t) at);
	free(at);
	return emulatedSuccess;
}

static inline deviceError_t
emulatedMalloc(void **to, size_t size)
{
	char	   *at = (char *) emulated_allocate(size + EMULATED_HEAD);

	if (at == nullptr)
		return emulatedErrorMemory;
	memcpy(at, &size, sizeof(size));
	*to = at + EMULATED_HEAD;
	emulated_used += size;
	emulated_peak = std::max(emulated_peak, emulated_used);
	return emulatedSuccess;
}

static inline void
emulated_count_freed(const void *at)
{
	size_t		size;

	memcpy(&size, (const char *) at - EMULATED_HEAD, sizeof(size));
	emulated_used -= size;
}

static inline deviceError_t
emulatedFree(void *at)
{
	emulated_wait_for_all();
	emulated_count_freed(at);
	free((char *) at - EMULATED_HEAD);
	return emulatedSuccess;
}

static inline deviceError_t
emulatedMallocAsync(void **to, size_t size, deviceStream_t)
{
	return emulatedMalloc(to, size);
}

/* Others may be given it at once, who use it when it is their turn */
static inline deviceError_t
emulatedFreeAsync(void *at, deviceStream_t stream)
{
	emulated_count_freed(at);
	emulated_queue.push_back({stream, [=] ()
							  {
								  free((char *) at - EMULATED_HEAD);
							  }});
	return emulatedSuccess;
}

static inline deviceError_t
emulatedDeviceGetAttribute(int *value, emulatedAttribute, int)
{
	*value = 1;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedDeviceGetDefaultMemPool(deviceMemPool_t *pool, int)
{
	*pool = nullptr;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedMemPoolSetAttribute(deviceMemPool_t, emulatedAttribute, void *)
{
	return emulatedSuccess;
}

#define deviceMallocHost	emulatedMallocHost
#define deviceFreeHost		emulatedFreeHost

/* From memory that a device cannot reach, it is read at once, or written to */
static inline deviceError_t
emulatedMemcpyAsync(void *to, const void *from, size_t size,
					emulatedDirection direction, deviceStream_t stream)
{
	if (direction == emulatedMemcpyHostToDevice && !emulated_is_pinned(from))
	{
		std::vector<char> copy((const char *) from, (const char *) from + size);

		emulated_queue.push_back({stream, [=] ()
								  {
									  memcpy(to, copy.data(), size);
								  }});
		return emulatedSuccess;
	}
	emulated_queue.push_back({stream, [=] ()
							  {
								  memcpy(to, from, size);
							  }});
	if (direction == emulatedMemcpyDeviceToHost && !emulated_is_pinned(to))
		emulated_wait(stream);
	return emulatedSuccess;
}

static inline deviceError_t
emulatedMemcpy(void *to, const void *from, size_t size,
			   emulatedDirection direction)
{
	bool		is_pinned = emulated_is_pinned(from);

	emulatedMemcpyAsync(to, from, size, direction, EMULATED_DEFAULT);
	if (direction == emulatedMemcpyDeviceToHost ||
		(direction == emulatedMemcpyHostToDevice && is_pinned))
		emulated_wait(EMULATED_DEFAULT);
	return emulatedSuccess;
}

static inline deviceError_t
emulatedMemset(void *to, int value, size_t size)
{
	emulated_queue.push_back({EMULATED_DEFAULT, [=] ()
							  {
								  memset(to, value, size);
							  }});
	return emulatedSuccess;
}

static inline deviceError_t
emulatedMemGetInfo(size_t *bytes_free, size_t *bytes_total)
{
	*bytes_free = *bytes_total = (size_t) 1 << 30;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedStreamCreate(deviceStream_t *stream)
{
	static uintptr_t last = 0;

	*stream = (deviceStream_t) ++last;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedStreamDestroy(deviceStream_t)
{
	return emulatedSuccess;
}

static inline deviceError_t
emulatedStreamSynchronize(deviceStream_t stream)
{
	emulated_wait(stream);
	return emulatedSuccess;
}

/* Who asks twice finds it done */
static inline deviceError_t
emulatedStreamQuery(deviceStream_t stream)
{
	static bool was_asked = false;
	bool		is_done = true;

	for (const EmulatedWork &work : emulated_queue)
		is_done = is_done && work.stream != stream;
	was_asked = !is_done && !was_asked;
	if (was_asked)
		return emulatedErrorNotReady;
	emulated_wait(stream);
	return emulatedSuccess;
}

static inline deviceError_t
emulatedGetLastError(void)
{
	return emulatedSuccess;
}

static inline const char *
emulatedGetErrorString(deviceError_t)
{
	return "out of memory";
}

static inline deviceError_t
emulatedGetDeviceCount(int *count)
{
	*count = 1;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedGetDevice(int *current)
{
	*current = 0;
	return emulatedSuccess;
}

static inline deviceError_t
emulatedSetDevice(int)
{
	return emulatedSuccess;
}

static inline deviceError_t
emulatedGetDeviceProperties(deviceProperties *properties, int)
{
	strcpy(properties->name, "emulated");
	return emulatedSuccess;
}

#endif							/* OMEN_TEST_GPU_EMULATED_H */
