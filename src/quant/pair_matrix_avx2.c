/*-------------------------------------------------------------------------
 *
 * pair_matrix_avx2.c
 *	  Distances of four rows to packed columns, for AVX2 with FMA.
 *
 * Bytes become words, which the multiplier adds in pairs: two operations for
 * 16 products.  Its instruction for bytes would want signs moved from one side
 * to the other for each pair of codes, and its sums of words widened.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "quant/pair_matrix_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX2)

#define OMEN_ISA avx2

#define GROUP 8
#define GROUPS 2
#define CHUNK 2
#define PACKED uint16
#define SHIFT 0
#define ROW int16
#define VI __m256i
#define VF __m256
#define vi_zero() _mm256_setzero_si256()
#define vi_set(x) _mm256_set1_epi32(x)
#define vi_sub(a, b) _mm256_sub_epi32(a, b)
#define vf_set(x) _mm256_set1_ps(x)
#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, v) _mm256_storeu_ps(p, v)
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_sub(a, b) _mm256_sub_ps(a, b)
#define vf_mul(a, b) _mm256_mul_ps(a, b)
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define vf_from_int(v) _mm256_cvtepi32_ps(v)
#define load_columns(p) \
	_mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *) (p)))
#define add_products(sum, columns, row) \
	_mm256_add_epi32(sum, _mm256_madd_epi16(columns, row))

static inline __m256i
broadcast(const int16 *p)
{
	int32		pair;

	memcpy(&pair, p, sizeof(pair));
	return _mm256_set1_epi32(pair);
}

/* dims is a multiple of 16 */
static inline void
expand_row(int16 *dst, const int8 *src, Size dims)
{
	for (Size i = 0; i < dims; i += 16)
		_mm256_storeu_si256((__m256i *) (dst + i), _mm256_cvtepi8_epi16(
			_mm_loadu_si128((const __m128i *) (src + i))));
}
#define expand_row expand_row

#include "quant/pair_matrix_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
