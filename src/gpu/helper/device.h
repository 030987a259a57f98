/*-------------------------------------------------------------------------
 *
 * device.h
 *	  What CUDA and HIP call differently, for device.cu.
 *
 * A third way is test/unit/gpu_emulated.h, by which kernels can be tested without
 * a device.
 *
 * Warps are of 32 lanes here.  Where the hardware has 64, each half is one: it
 * never waits for the other, and sees only its own half of a ballot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_DEVICE_H
#define OMEN_GPU_DEVICE_H

/* Start a kernel; streams are those of the runtime, 0 its default */
#define LAUNCH(stream, kernel, blocks, threads, ...) \
	kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)

#if defined(OMEN_GPU_EMULATED)

/* For tests: kernels run on the processor, thread by thread */
#include "gpu_emulated.h"

#elif defined(__HIPCC__)

#include <hip/hip_runtime.h>

#define DEVICE(name)		hip##name
#define deviceError_t		hipError_t
#define deviceStream_t		hipStream_t
#define deviceProperties	hipDeviceProp_t
#define deviceMemPool_t		hipMemPool_t
#define deviceHasMemoryPools	hipDeviceAttributeMemoryPoolsSupported
#define deviceMallocHost(to, size)	hipHostMalloc(to, size, 0)
#define deviceFreeHost		hipHostFree

static __device__ inline uint32_t
warp_ballot(bool predicate)
{
	unsigned long long all = __ballot(predicate);

	return (uint32_t) (all >> (threadIdx.x & (warpSize - 1) & 32));
}

template<typename T> static __device__ inline T
warp_from(T value, int lane)
{
	return __shfl(value, lane, 32);
}

template<typename T> static __device__ inline T
warp_up(T value)
{
	return __shfl_up(value, 1, 32);
}

template<typename T> static __device__ inline T
warp_sum(T value)
{
	for (int mask = 16; mask > 0; mask /= 2)
		value += __shfl_xor(value, mask, 32);
	return value;
}

static __device__ inline void
warp_sync(void)
{
	__threadfence_block();
	__builtin_amdgcn_wave_barrier();
}

/* Sum of products of four pairs of signed bytes */
static __device__ inline int32_t
dot_4(int32_t a, int32_t b, int32_t sum)
{
	for (int i = 0; i < 32; i += 8)
		sum += (int32_t) (int8_t) (a >> i) * (int32_t) (int8_t) (b >> i);
	return sum;
}

#else							/* CUDA */

#include <cuda_runtime.h>
#include <mma.h>

#define DEVICE(name)		cuda##name
#define deviceError_t		cudaError_t
#define deviceStream_t		cudaStream_t
#define deviceProperties	cudaDeviceProp
#define deviceMemPool_t		cudaMemPool_t
#define deviceHasMemoryPools	cudaDevAttrMemoryPoolsSupported
#define deviceMallocHost(to, size)	cudaMallocHost(to, size)
#define deviceFreeHost		cudaFreeHost

/* nvcuda::wmma */
#define TENSOR_CORES

#define ALL_LANES			0xFFFFFFFFu

static __device__ inline uint32_t
warp_ballot(bool predicate)
{
	return __ballot_sync(ALL_LANES, predicate);
}

template<typename T> static __device__ inline T
warp_from(T value, int lane)
{
	return __shfl_sync(ALL_LANES, value, lane);
}

template<typename T> static __device__ inline T
warp_up(T value)
{
	return __shfl_up_sync(ALL_LANES, value, 1);
}

template<typename T> static __device__ inline T
warp_sum(T value)
{
	for (int mask = 16; mask > 0; mask /= 2)
		value += __shfl_xor_sync(ALL_LANES, value, mask);
	return value;
}

static __device__ inline void
warp_sync(void)
{
	__syncwarp();
}

static __device__ inline int32_t
dot_4(int32_t a, int32_t b, int32_t sum)
{
	return __dp4a(a, b, sum);
}

#endif

#endif							/* OMEN_GPU_DEVICE_H */
