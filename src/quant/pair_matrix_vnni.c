/*-------------------------------------------------------------------------
 *
 * pair_matrix_vnni.c
 *	  Distances of four rows to packed columns, for AVX-512 VNNI.
 *
 * The instruction multiplies unsigned by signed bytes, so 128 is added to the
 * packed codes, and 128 times the row's sum is subtracted from the result.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "quant/pair_matrix_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX512 ",avx512vnni")

#define OMEN_ISA vnni

#define GROUP 16
#define GROUPS 2
#define STEP 4
#define UNIT 1
#define SHIFT 128
#define COLUMNS __m512i
#define ROW __m512i
#define VI __m512i
#define VF __m512
#define vi_zero() _mm512_setzero_si512()
#define vi_set(x) _mm512_set1_epi32(x)
#define vi_sub(a, b) _mm512_sub_epi32(a, b)
#define vf_set(x) _mm512_set1_ps(x)
#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, v) _mm512_storeu_ps(p, v)
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_sub(a, b) _mm512_sub_ps(a, b)
#define vf_mul(a, b) _mm512_mul_ps(a, b)
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define vf_from_int(v) _mm512_cvtepi32_ps(v)
#define load_columns(p) _mm512_load_si512(p)
#define add_products(sum, columns, row) _mm512_dpbusd_epi32(sum, columns, row)

static inline uint32
reduce_quad(uint32 quad)
{
	return quad ^ 0x80808080;
}

static inline __m512i
broadcast(const int8 *p)
{
	int32		quad;

	memcpy(&quad, p, sizeof(quad));
	return _mm512_set1_epi32(quad);
}

#include "quant/pair_matrix_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
