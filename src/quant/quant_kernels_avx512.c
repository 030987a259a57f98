/*-------------------------------------------------------------------------
 *
 * quant_kernels_avx512.c
 *	  Kernels over codes for AVX-512 F, BW, VL and DQ without VNNI.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "quant/quant_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX512)

#define OMEN_ISA avx512

/*
 * The multiplier takes unsigned bytes on one side: a's absolute values, with
 * a's signs moved to b.  Pairs add up to at most 2 * 127 * 127, which 16 bits
 * hold.
 */
static inline __m512i
add_signed(__m512i sum, __m512i a, __m512i b)
{
	__m512i		moved = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a),
											 _mm512_setzero_si512(), b);
	__m512i		pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), moved);

	return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs,
												   _mm512_set1_epi16(1)));
}

#define add_words(sum, a, b) \
	_mm512_add_epi32(sum, _mm512_madd_epi16(a, b))

/* Nothing is added too much */
#define add_ones(sum, a) ((void) (a), sum)
#define signed_excess(sum_a) ((void) (sum_a), _mm512_setzero_si512())

/* Pairs add up to at most 2 * 128 * 127, which 16 bits just hold */
static inline __m512i
add_levels1(__m512i sum, __m512i levels, __m512i q)
{
	__m512i		pairs = _mm512_maddubs_epi16(levels, q);

	return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs,
												   _mm512_set1_epi16(1)));
}

/*
 * 192 would be too much: the last field is shifted down by two bits, and its
 * sums are multiplied by four.
 */
static inline __m512i
add_levels2(__m512i sum, __m512i levels, __m512i q)
{
	__m512i		shifts = _mm512_inserti32x4(_mm512_setzero_si512(),
											_mm_set1_epi16(2), 3);
	__m512i		weights = _mm512_inserti32x4(_mm512_set1_epi16(1),
											 _mm_set1_epi16(4), 3);
	__m512i		pairs = _mm512_maddubs_epi16(_mm512_srlv_epi16(levels, shifts),
											 q);

	return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, weights));
}

#include "quant/quant_kernels_avx512_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
