/*-------------------------------------------------------------------------
 *
 * distance_neon.c
 *	  Distance kernels for 64-bit ARM, where NEON is always present.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include "distance/distance.h"

#define OMEN_ISA neon

#define VF float32x4_t
#define VF_LANES 4
#define vf_zero() vdupq_n_f32(0)
#define vf_load(p) vld1q_f32(p)
#define vf_load_half(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define vf_store(p, v) vst1q_f32(p, v)
#define vf_store_half(p, v) vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)))
#define vf_add(a, b) vaddq_f32(a, b)
#define vf_sub(a, b) vsubq_f32(a, b)
#define vf_abs(a) vabsq_f32(a)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_sum(v) vaddvq_f32(v)

#define VB uint8x16_t
#define VB_BYTES 16
#define VC uint64x2_t
#define vb_load(p) vld1q_u8(p)
#define vb_and(a, b) vandq_u8(a, b)
#define vb_or(a, b) vorrq_u8(a, b)
#define vb_xor(a, b) veorq_u8(a, b)
#define vc_zero() vdupq_n_u64(0)
#define vc_sum(counters) vaddvq_u64(counters)

/* Byte counts are added in pairs up to 64 bits */
#define vc_add_bits(counters, v) \
	vpadalq_u32(counters, vpaddlq_u16(vpaddlq_u8(vcntq_u8(v))))

static inline float32x4_t
vf_load_tail(const float *p, int n)
{
	float		padded[VF_LANES] = {0};

	memcpy(padded, p, n * sizeof(float));
	return vf_load(padded);
}

static inline float32x4_t
vf_load_half_tail(const OmenHalf *p, int n)
{
	OmenHalf	padded[VF_LANES] = {0};

	memcpy(padded, p, n * sizeof(OmenHalf));
	return vf_load_half(padded);
}

static inline uint8x16_t
vb_load_tail(const uint8 *p, int n)
{
	uint8		padded[VB_BYTES] = {0};

	memcpy(padded, p, n);
	return vb_load(padded);
}

#define VQ uint64x2_t
#define VQ_LANES 2
#define vq_set(x) vdupq_n_u64(x)

static inline uint64
vq_within(const uint64 *p, uint64x2_t low, uint64x2_t width)
{
	uint64x2_t	within = vcleq_u64(vsubq_u64(vld1q_u64(p), low), width);

	return (vgetq_lane_u64(within, 0) & 1) | (vgetq_lane_u64(within, 1) & 2);
}

#include "distance/distance_template.h"

#endif							/* __aarch64__ */
