/*-------------------------------------------------------------------------
 *
 * distance_avx512.c
 *	  Distance kernels for AVX-512 F, BW, VL and DQ.
 *
 * Tails are masked loads: masked-off elements are not read.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "distance/distance.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX512)

#define OMEN_ISA avx512

#define VF __m512
#define VF_LANES 16
#define vf_zero() _mm512_setzero_ps()
#define vf_load(p) _mm512_loadu_ps(p)
#define vf_load_tail(p, n) \
	_mm512_maskz_loadu_ps((__mmask16) ((1U << (n)) - 1), p)
#define vf_load_half(p) \
	_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (p)))
#define vf_load_half_tail(p, n) \
	_mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16) ((1U << (n)) - 1), p))
#define vf_store(p, v) _mm512_storeu_ps(p, v)
#define vf_store_half(p, v) \
	_mm256_storeu_si256((__m256i *) (p), \
						_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_sub(a, b) _mm512_sub_ps(a, b)
#define vf_abs(a) _mm512_abs_ps(a)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_sum(v) _mm512_reduce_add_ps(v)

#define VB __m512i
#define VB_BYTES 64
#define VC __m512i
#define vb_load(p) _mm512_loadu_si512(p)
#define vb_load_tail(p, n) \
	_mm512_maskz_loadu_epi8((__mmask64) ((UINT64CONST(1) << (n)) - 1), p)
#define vb_and(a, b) _mm512_and_si512(a, b)
#define vb_or(a, b) _mm512_or_si512(a, b)
#define vb_xor(a, b) _mm512_xor_si512(a, b)
#define vc_zero() _mm512_setzero_si512()
#define vc_sum(counters) ((uint64) _mm512_reduce_add_epi64(counters))

/* Looks up both nibbles of each byte; the byte counts go to 64-bit counters */
static inline __m512i
vc_add_bits(__m512i counters, __m512i v)
{
	const __m512i nibble = _mm512_set1_epi8(0x0F);
	const __m512i table = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
	__m512i		low = _mm512_and_si512(v, nibble);
	__m512i		high = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
	__m512i		bytes = _mm512_add_epi8(_mm512_shuffle_epi8(table, low),
										_mm512_shuffle_epi8(table, high));

	return _mm512_add_epi64(counters,
							_mm512_sad_epu8(bytes, _mm512_setzero_si512()));
}

#define VQ __m512i
#define VQ_LANES 8
#define vq_set(x) _mm512_set1_epi64((int64) (x))
#define vq_within(p, low, width) \
	_mm512_cmple_epu64_mask(_mm512_sub_epi64(vb_load(p), low), width)

#include "distance/distance_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
