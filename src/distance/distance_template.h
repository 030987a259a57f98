/*-------------------------------------------------------------------------
 *
 * distance_template.h
 *	  Every distance kernel, once.
 *
 * An ISA file opens its target region, defines what follows as macros, types
 * or static inline functions, and includes this file, which defines the
 * kernels and the table omen_distance_<isa>_ops.
 *
 *	OMEN_ISA			suffix of the table, as a token
 *
 *	VF					vector of VF_LANES floats
 *	vf_zero()			all zero
 *	vf_load(p)			VF_LANES floats from an unaligned address
 *	vf_load_tail(p, n)	the first n < VF_LANES floats, the rest zero; must not
 *						read beyond them
 *	vf_load_half(p), vf_load_half_tail(p, n)	the same from 16-bit floats
 *	vf_store(p, v), vf_store_half(p, v)			to an unaligned address
 *	vf_add, vf_sub, vf_abs, vf_fma(a, b, c)		c + a * b
 *	vf_sum(v)			sum of the lanes
 *
 *	VB					vector of VB_BYTES bytes
 *	vb_load(p), vb_load_tail(p, n)				as above, in bytes
 *	vb_and, vb_or, vb_xor
 *	VC					counters of set bits
 *	vc_zero(), vc_add_bits(counters, v), vc_sum(counters) -> uint64
 *
 *	VQ					vector of VQ_LANES 64-bit numbers without sign
 *	vq_set(x)			the same in all lanes
 *	vq_within(p, low, width)	of the numbers from an unaligned address, a bit
 *						for each from low up to low + width; both of type VQ
 *
 * All kernels run main steps of several vectors, so that additions do not
 * wait for each other, then single vectors, then a zero-filled tail: zeros
 * add nothing to any of the sums.
 *
 *-------------------------------------------------------------------------
 */

/* --- dense kernels, for 32-bit and 16-bit elements --- */

static inline VF
step_l2_squared(VF sum, VF a, VF b)
{
	VF			diff = vf_sub(a, b);

	return vf_fma(diff, diff, sum);
}

static inline VF
step_inner_product(VF sum, VF a, VF b)
{
	return vf_fma(a, b, sum);
}

static inline VF
step_l1(VF sum, VF a, VF b)
{
	return vf_add(sum, vf_abs(vf_sub(a, b)));
}

#define DENSE_ELEMENT float
#define DENSE_KERNEL(name) name##_f32
#define DENSE_LOAD vf_load
#define DENSE_LOAD_TAIL vf_load_tail
#include "distance/distance_dense_template.h"

#define DENSE_ELEMENT OmenHalf
#define DENSE_KERNEL(name) name##_f16
#define DENSE_LOAD vf_load_half
#define DENSE_LOAD_TAIL vf_load_half_tail
#include "distance/distance_dense_template.h"

/* --- bit strings --- */

static uint64
hamming(int nbytes, const uint8 *a, const uint8 *b)
{
	VC			count = vc_zero();
	int			i = 0;

	for (; i + VB_BYTES <= nbytes; i += VB_BYTES)
		count = vc_add_bits(count, vb_xor(vb_load(a + i), vb_load(b + i)));
	if (i < nbytes)
		count = vc_add_bits(count, vb_xor(vb_load_tail(a + i, nbytes - i),
										  vb_load_tail(b + i, nbytes - i)));
	return vc_sum(count);
}

static OmenJaccardParts
jaccard(int nbytes, const uint8 *a, const uint8 *b)
{
	OmenJaccardParts parts;
	VC			both = vc_zero();
	VC			either = vc_zero();
	int			i = 0;

	for (; i + VB_BYTES <= nbytes; i += VB_BYTES)
	{
		VB			x = vb_load(a + i);
		VB			y = vb_load(b + i);

		both = vc_add_bits(both, vb_and(x, y));
		either = vc_add_bits(either, vb_or(x, y));
	}
	if (i < nbytes)
	{
		VB			x = vb_load_tail(a + i, nbytes - i);
		VB			y = vb_load_tail(b + i, nbytes - i);

		both = vc_add_bits(both, vb_and(x, y));
		either = vc_add_bits(either, vb_or(x, y));
	}
	parts.both = vc_sum(both);
	parts.either = vc_sum(either);
	return parts;
}

/* --- conversions --- */

static void
half_to_float(int n, const OmenHalf *src, float *dst)
{
	int			i = 0;

	for (; i + VF_LANES <= n; i += VF_LANES)
		vf_store(dst + i, vf_load_half(src + i));
	for (; i < n; i++)
		dst[i] = omen_half_to_float(src[i]);
}

static void
float_to_half(int n, const float *src, OmenHalf *dst)
{
	int			i = 0;

	for (; i + VF_LANES <= n; i += VF_LANES)
		vf_store_half(dst + i, vf_load(src + i));
	for (; i < n; i++)
		dst[i] = omen_float_to_half(src[i]);
}

/* --- codes of keys --- */

static uint64
codes_within(const uint64 *codes, uint64 low, uint64 width)
{
	VQ			lows = vq_set(low);
	VQ			widths = vq_set(width);
	uint64		bits = 0;

	for (int i = 0; i < 64; i += VQ_LANES)
		bits |= (uint64) vq_within(codes + i, lows, widths) << i;
	return bits;
}

/* --- the table --- */

#define OMEN_ISA_STRING_(isa) #isa
#define OMEN_ISA_STRING(isa) OMEN_ISA_STRING_(isa)
#define OMEN_ISA_OPS_(isa) omen_distance_##isa##_ops
#define OMEN_ISA_OPS(isa) OMEN_ISA_OPS_(isa)

const OmenDistanceOps OMEN_ISA_OPS(OMEN_ISA) =
{
	.name = OMEN_ISA_STRING(OMEN_ISA),
	.l2_squared_f32 = l2_squared_f32,
	.inner_product_f32 = inner_product_f32,
	.l1_f32 = l1_f32,
	.cosine_f32 = cosine_f32,
	.l2_squared_f16 = l2_squared_f16,
	.inner_product_f16 = inner_product_f16,
	.l1_f16 = l1_f16,
	.cosine_f16 = cosine_f16,
	.hamming = hamming,
	.jaccard = jaccard,
	.half_to_float = half_to_float,
	.float_to_half = float_to_half,
	.codes_within = codes_within,
};
