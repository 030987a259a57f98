/*-------------------------------------------------------------------------
 *
 * quant_kernels_vnni.c
 *	  Kernels over codes for AVX-512 with VNNI.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "quant/quant_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX512 ",avx512vnni")

#define OMEN_ISA vnni

/* The multiplier takes unsigned bytes first: flipping a sign bit adds 128 */
static inline __m512i
add_signed(__m512i sum, __m512i a, __m512i b)
{
	__m512i		shifted = _mm512_xor_si512(b, _mm512_set1_epi8(-128));

	return _mm512_dpbusd_epi32(sum, shifted, a);
}

static inline __m512i
add_ones(__m512i sum, __m512i a)
{
	return _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), a);
}

#define add_words(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)

#define signed_excess(sum_a) _mm512_slli_epi32(sum_a, 7)

#define add_levels1(sum, levels, q) _mm512_dpbusd_epi32(sum, levels, q)
#define add_levels2(sum, levels, q) _mm512_dpbusd_epi32(sum, levels, q)

#include "quant/quant_kernels_avx512_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
