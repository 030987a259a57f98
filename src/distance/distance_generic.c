/*-------------------------------------------------------------------------
 *
 * distance_generic.c
 *	  Distance kernels in plain C: for CPUs without a level of their own, and
 *	  the oracle the other levels are tested against.
 *
 * A "vector" is one float, or eight bytes; tails of floats cannot occur.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "distance/distance.h"

#define OMEN_ISA generic

#define VF float
#define VF_LANES 1
#define vf_zero() 0.0f
#define vf_load(p) (*(p))
#define vf_load_tail(p, n) ((void) (n), *(p))
#define vf_load_half(p) omen_half_to_float(*(p))
#define vf_load_half_tail(p, n) ((void) (n), omen_half_to_float(*(p)))
#define vf_store(p, v) (*(p) = (v))
#define vf_store_half(p, v) (*(p) = omen_float_to_half(v))
#define vf_add(a, b) ((a) + (b))
#define vf_sub(a, b) ((a) - (b))
#define vf_abs(a) fabsf(a)
#define vf_fma(a, b, c) ((c) + (a) * (b))
#define vf_sum(v) (v)

#define VB uint64
#define VB_BYTES 8
#define VC uint64
#define vb_and(a, b) ((a) & (b))
#define vb_or(a, b) ((a) | (b))
#define vb_xor(a, b) ((a) ^ (b))
#define vc_zero() 0
#define vc_add_bits(counters, v) ((counters) + count_bits(v))
#define vc_sum(counters) (counters)

#define VQ uint64
#define VQ_LANES 1
#define vq_set(x) (x)
#define vq_within(p, low, width) (*(p) - (low) <= (width))

static inline uint64
vb_load_tail(const uint8 *p, int n)
{
	uint64		v = 0;

	memcpy(&v, p, n);
	return v;
}

static inline uint64
vb_load(const uint8 *p)
{
	return vb_load_tail(p, VB_BYTES);
}

/* Sums within pairs, nibbles and bytes, then of all bytes into the top one */
static inline uint64
count_bits(uint64 v)
{
	v -= (v >> 1) & UINT64CONST(0x5555555555555555);
	v = (v & UINT64CONST(0x3333333333333333)) +
		((v >> 2) & UINT64CONST(0x3333333333333333));
	v = (v + (v >> 4)) & UINT64CONST(0x0F0F0F0F0F0F0F0F);
	return (v * UINT64CONST(0x0101010101010101)) >> 56;
}

#include "distance/distance_template.h"
