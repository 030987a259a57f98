/*-------------------------------------------------------------------------
 *
 * text_kernels_neon.c
 *	  Kernels over postings for 64-bit ARM, without optional extensions.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#include "text/text_kernels.h"

#define OMEN_ISA neon

#define V_LANES 4
#define VI uint32x4_t
#define vi_set(x) vdupq_n_u32(x)
#define vi_load(p) vld1q_u32(p)
#define vi_store(p, v) vst1q_u32(p, v)
#define vi_store_u16(p, v) vst1_u16(p, vmovn_u32(v))
#define vi_add(a, b) vaddq_u32(a, b)
#define vi_last(v) vdupq_laneq_u32(v, 3)

#define VF float32x4_t
#define vf_set(x) vdupq_n_f32(x)
#define vf_load(p) vld1q_f32(p)
#define vf_store(p, v) vst1q_f32(p, v)
#define vf_add(a, b) vaddq_f32(a, b)
#define vf_mul(a, b) vmulq_f32(a, b)
#define vf_div(a, b) vdivq_f32(a, b)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_max(a, b) vmaxq_f32(a, b)
#define vf_largest(v) vmaxvq_f32(v)
#define vf_load_u16(p) vcvtq_f32_u32(vmovl_u16(vld1_u16(p)))

static inline uint32x4_t
vi_prefix(uint32x4_t v)
{
	uint32x4_t	zero = vdupq_n_u32(0);

	v = vaddq_u32(v, vextq_u32(zero, v, 3));
	return vaddq_u32(v, vextq_u32(zero, v, 2));
}

static inline uint32
vf_mask_ge(float32x4_t a, float32x4_t b)
{
	static const uint32 bits[4] = {1, 2, 4, 8};

	return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(bits)));
}

/*
 * Four fields start at a byte or in the middle of one; 4 * 24 bits and four
 * more are in the 16 bytes from there on.
 */
typedef struct Unpacker
{
	int			width;
	uint8x16_t	bytes[2];		/* of a start at a byte; in the middle */
	int32x4_t	shifts[2];		/* to the left: all negative */
	uint32x4_t	mask;
} Unpacker;

static inline Unpacker
unpacker(int width)
{
	static const uint32 lanes[4] = {0, 1, 2, 3};
	Unpacker	u;

	u.width = width;
	u.mask = vdupq_n_u32(((uint32) 1 << width) - 1);
	for (int i = 0; i < 2; i++)
	{
		uint32x4_t	bits = vmlaq_n_u32(vdupq_n_u32(4 * i), vld1q_u32(lanes),
									   width);
		uint32x4_t	bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100),
										vshrq_n_u32(bits, 3), 0x01010101);

		u.bytes[i] = vreinterpretq_u8_u32(bytes);
		u.shifts[i] = vnegq_s32(
			vreinterpretq_s32_u32(vandq_u32(bits, vdupq_n_u32(7))));
	}
	return u;
}

static inline uint32x4_t
unpack(const Unpacker *u, const uint8 *packed, int i)
{
	int			bit = i * u->width;
	int			middle = bit / 4 % 2;
	uint8x16_t	bytes = vqtbl1q_u8(vld1q_u8(packed + bit / 8),
								   u->bytes[middle]);

	return vandq_u32(vshlq_u32(vreinterpretq_u32_u8(bytes),
							   u->shifts[middle]), u->mask);
}

static int
lower(int n, const uint32 *docs, uint32 doc)
{
	uint32x4_t	count = vdupq_n_u32(0);
	int			rest = 0;
	int			i = 0;

	for (; i + 4 <= n; i += 4)
		count = vsubq_u32(count, vcltq_u32(vld1q_u32(docs + i),
										   vdupq_n_u32(doc)));
	for (; i < n; i++)
		rest += docs[i] < doc;
	return (int) vaddvq_u32(count) + rest;
}

#include "text/text_kernels_template.h"

#endif							/* __aarch64__ */
