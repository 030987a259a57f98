/*-------------------------------------------------------------------------
 *
 * load.cuh
 *	  The kernel that turns vectors, as they are sent, into nodes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_LOAD_CUH
#define OMEN_GPU_LOAD_CUH

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
	Factors    *factors;
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
			float		lift = t.metric == METRIC_LIFTED && !t.is_query ?
				rule_lift(t.max_norm2,
						  rule_full_norm2(head[0], head[3], t.mean_norm2)) : 0;

			t.factors[node] = Factors {head[0], head[1], lift, 0};
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
		float		lift = t.metric == METRIC_LIFTED && !t.is_query ?
			rule_lift(t.max_norm2, (float) norm2) : 0;

		t.factors[node] = Factors {0, 0, lift, 0};
	}
}

static __global__ void
lifts_kernel(uint32_t n, const Factors *factors, float *lifts)
{
	uint32_t	i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		lifts[i] = factors[i].lift;
}

#endif							/* OMEN_GPU_LOAD_CUH */
