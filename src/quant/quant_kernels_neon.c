/*-------------------------------------------------------------------------
 *
 * quant_kernels_neon.c
 *	  Kernels over codes for 64-bit ARM, without optional extensions.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#include "quant/quant_kernels.h"

#define OMEN_ISA neon

#define VF float32x4_t
#define VF_LANES 4
#define vf_set(x) vdupq_n_f32(x)
#define vf_load(p) vld1q_f32(p)
#define vf_store(p, v) vst1q_f32(p, v)
#define vf_add(a, b) vaddq_f32(a, b)
#define vf_sub(a, b) vsubq_f32(a, b)
#define vf_mul(a, b) vmulq_f32(a, b)
#define vf_abs(a) vabsq_f32(a)
#define vf_max(a, b) vmaxq_f32(a, b)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_ge(a, b) \
	vreinterpretq_f32_u32( \
		vandq_u32(vcgeq_f32(a, b), \
				  vreinterpretq_u32_f32(vdupq_n_f32(1.0f))))
#define vf_largest(v) vmaxvq_f32(v)
#define vf_load_i16(p) vcvtq_f32_s32(vmovl_s16(vld1_s16(p)))
#define vf_store_i16(p, v) vst1_s16(p, vqmovn_s32(vcvtnq_s32_f32(v)))

#define VI int32x4_t
#define vi_zero() vdupq_n_s32(0)
#define vi_set(x) vdupq_n_s32(x)
#define vi_load(p) vld1q_s32(p)
#define vi_store(p, v) vst1q_s32(p, v)
#define vi_sub(a, b) vsubq_s32(a, b)
#define vi_min(a, b) vminq_s32(a, b)
#define vi_shift(v) vshlq_n_s32(v, 8)
#define vi_least(v) vminvq_s32(v)

typedef struct VD
{
	float64x2_t low;
	float64x2_t high;
} VD;

static inline uint32
vf_mask_ge(float32x4_t a, float32x4_t b)
{
	static const uint32 bits[4] = {1, 2, 4, 8};

	return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(bits)));
}

static inline int32x4_t
vi_dot2(int32x4_t sum, const int8 *p, int32x4_t pair)
{
	int16x8_t	words = vmovl_s8(vld1_s8(p));
	int16x8_t	x = vreinterpretq_s16_s32(pair);

	return vaddq_s32(sum, vpaddq_s32(
		vmull_s16(vget_low_s16(words), vget_low_s16(x)),
		vmull_high_s16(words, x)));
}

static inline float32x4_t
vf_load_i8(const int8 *p)
{
	int32		quad;

	memcpy(&quad, p, sizeof(quad));
	return vcvtq_f32_s32(vmovl_s16(vget_low_s16(
		vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(quad))))));
}

static inline void
vf_store_i8(int8 *p, float32x4_t v)
{
	int16x4_t	words = vqmovn_s32(vcvtnq_s32_f32(v));
	int8x8_t	bytes = vqmovn_s16(vcombine_s16(words, words));
	int32		quad = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);

	memcpy(p, &quad, sizeof(quad));
}

/* Halves first; vaddvq_f32 would add neighbours */
static inline float
vf_sum(float32x4_t v)
{
	return vaddv_f32(vadd_f32(vget_low_f32(v), vget_high_f32(v)));
}

static inline float32x4_t
vf_flip(float32x4_t v, uint32 bits)
{
	static const uint32 lane_bits[4] = {1, 2, 4, 8};
	uint32x4_t	set = vtstq_u32(vdupq_n_u32(bits), vld1q_u32(lane_bits));
	uint32x4_t	signs = vandq_u32(set, vdupq_n_u32(0x80000000));

	return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), signs));
}

/* The upper partner of each pair is subtracted from the lower */
static inline float32x4_t
vf_butterflies(float32x4_t v)
{
	static const uint32 odd[4] = {0, PG_UINT32_MAX, 0, PG_UINT32_MAX};
	static const uint32 upper[4] = {0, 0, PG_UINT32_MAX, PG_UINT32_MAX};
	float32x4_t other = vrev64q_f32(v);

	v = vbslq_f32(vld1q_u32(odd), vsubq_f32(other, v), vaddq_f32(v, other));
	other = vextq_f32(v, v, 2);
	return vbslq_f32(vld1q_u32(upper), vsubq_f32(other, v),
					 vaddq_f32(v, other));
}

static inline VD
vd_zero(void)
{
	VD			sum = {vdupq_n_f64(0), vdupq_n_f64(0)};

	return sum;
}

static inline VD
vd_add(VD sum, float32x4_t a, float32x4_t b)
{
	sum.low = vfmaq_f64(sum.low, vcvt_f64_f32(vget_low_f32(a)),
						vcvt_f64_f32(vget_low_f32(b)));
	sum.high = vfmaq_f64(sum.high, vcvt_high_f64_f32(a),
						 vcvt_high_f64_f32(b));
	return sum;
}

static inline VD
vd_join(VD a, VD b)
{
	a.low = vaddq_f64(a.low, b.low);
	a.high = vaddq_f64(a.high, b.high);
	return a;
}

static inline double
vd_sum(VD sum)
{
	return vaddvq_f64(vaddq_f64(sum.low, sum.high));
}

/* --- integer kernels --- */

/* Two products, at most 2 * 127 * 127, fit 16 bits */
static int32
dot_i8(int dims, const int8 *a, const int8 *b)
{
	int32x4_t	sum = vdupq_n_s32(0);

	for (int i = 0; i < dims; i += 16)
	{
		int8x16_t	va = vld1q_s8(a + i);
		int8x16_t	vb = vld1q_s8(b + i);
		int16x8_t	pairs = vmull_s8(vget_low_s8(va), vget_low_s8(vb));

		sum = vpadalq_s16(sum, vmlal_high_s8(pairs, va, vb));
	}
	return vaddvq_s32(sum);
}

static void
score_block(int dims, const OmenBlockForm *form, const uint8 *own,
			Size stride, int n, float *scores)
{
	for (int i = 0; i < n; i++)
	{
		const uint8 *code = own + (Size) i * stride;
		OmenOwnFactors f;
		float		score;

		memcpy(&f, code, sizeof(f));
		score = form->constant + form->norm2_weight * f.norm2 +
			form->mean_dot_weight * f.mean_dot +
			form->dot_weight * f.scale *
			(float) dot_i8(dims, form->codes,
						   (const int8 *) (code + sizeof(f)));
		scores[i] = Max(score, form->minimum);
	}
}

/* Groups whose sums 16 bits hold: 32 * 8 * 127 and 10 * 8 * 3 * 127 < 2^15 */
#define GROUPS1 32
#define GROUPS2 10

/* The query's codes of a pair of fields, where the level is 1 */
static inline int16x8_t
add_fields1(int16x8_t sum, uint8x16_t code, const uint8 *bits,
			const int8 *query)
{
	uint8x16_t	set = vtstq_u8(code, vld1q_u8(bits));

	return vpadalq_s8(sum, vandq_s8(vreinterpretq_s8_u8(set),
									vld1q_s8(query)));
}

static inline int16x8_t
add_group1(int16x8_t sum, uint64 word, const int8 *query)
{
	static const uint8 bits[4][16] = {
		{1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2},
		{4, 4, 4, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8},
		{16, 16, 16, 16, 16, 16, 16, 16, 32, 32, 32, 32, 32, 32, 32, 32},
		{64, 64, 64, 64, 64, 64, 64, 64, 128, 128, 128, 128, 128, 128, 128,
		128}
	};
	uint8x16_t	code = vreinterpretq_u8_u64(vdupq_n_u64(word));

	sum = add_fields1(sum, code, bits[0], query);
	sum = add_fields1(sum, code, bits[1], query + 16);
	sum = add_fields1(sum, code, bits[2], query + 32);
	return add_fields1(sum, code, bits[3], query + 48);
}

static inline int32
dot_link1(const OmenLinkQuery *query, const uint8 *code)
{
	int32x4_t	sum = vdupq_n_s32(0);
	const int8 *q = query->codes;
	uint64		word = 0;

	for (int left = query->groups; left > 0; left -= GROUPS1)
	{
		int16x8_t	part = vdupq_n_s16(0);

		for (int g = 0; g < Min(left, GROUPS1); g++)
		{
			memcpy(&word, code, sizeof(word));
			part = add_group1(part, word, q);
			code += 8;
			q += OMEN_LINK_GROUP;
		}
		sum = vpadalq_s16(sum, part);
	}
	word = 0;
	memcpy(&word, code, query->tail_bytes);
	sum = vpadalq_s16(sum, add_group1(vdupq_n_s16(0), word, q));
	return vaddvq_s32(sum);
}

static inline int16x8_t
add_fields2(int16x8_t sum, uint8x16_t levels, const int8 *query)
{
	int8x16_t	l = vreinterpretq_s8_u8(vandq_u8(levels, vdupq_n_u8(3)));
	int8x16_t	q = vld1q_s8(query);

	return vmlal_high_s8(vmlal_s8(sum, vget_low_s8(l), vget_low_s8(q)), l, q);
}

static inline int16x8_t
add_group2(int16x8_t sum, uint8x16_t code, const int8 *query)
{
	sum = add_fields2(sum, code, query);
	sum = add_fields2(sum, vshrq_n_u8(code, 2), query + 16);
	sum = add_fields2(sum, vshrq_n_u8(code, 4), query + 32);
	return add_fields2(sum, vshrq_n_u8(code, 6), query + 48);
}

static inline int32
dot_link2(const OmenLinkQuery *query, const uint8 *code)
{
	int32x4_t	sum = vdupq_n_s32(0);
	const int8 *q = query->codes;

	for (int left = query->groups; left > 0; left -= GROUPS2)
	{
		int16x8_t	part = vdupq_n_s16(0);

		for (int g = 0; g < Min(left, GROUPS2); g++)
		{
			part = add_group2(part, vld1q_u8(code), q);
			code += 16;
			q += OMEN_LINK_GROUP;
		}
		sum = vpadalq_s16(sum, part);
	}
	if (query->tail_bytes > 0)
	{
		uint8		tail[16] = {0};

		memcpy(tail, code, query->tail_bytes);
		sum = vpadalq_s16(sum, add_group2(vdupq_n_s16(0), vld1q_u8(tail), q));
	}
	return vaddvq_s32(sum);
}

static inline void
estimate(const OmenLinkQuery *query, const OmenLinkBatch *batch, int i,
		 int32 dot)
{
	batch->est[i] = batch->base + batch->f_add[i] +
		batch->f_rescale[i] * (query->step * (float) dot - query->offset);
}

static void
score_links1(const OmenLinkQuery *query, const OmenLinkBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
		estimate(query, batch, i,
				 dot_link1(query, batch->codes + (Size) i * query->stride));
}

static void
score_links2(const OmenLinkQuery *query, const OmenLinkBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
		estimate(query, batch, i,
				 dot_link2(query, batch->codes + (Size) i * query->stride));
}

#include "quant/quant_kernels_template.h"

#endif							/* __aarch64__ */
