/*-------------------------------------------------------------------------
 *
 * pair_matrix_avx2.c
 *	  Distances of four rows to packed columns, for AVX2 with FMA.
 *
 * Codes lose their last bit, so that sums of 4 products fit 16 bits: the
 * multiplier takes unsigned by signed bytes and adds two products, and two
 * such words are added before they are widened, 5 operations for 64 products.
 * With 8 bits it is 8, of words.  Recall of the graphs: src/graph/README.md.
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
#define STEP 8
#define UNIT 2
#define SHIFT 64
#define COLUMNS Octet
#define ROW Octet
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
#define ODD_BYTES 0x01000100

/* 8 dimensions: the first 4 of all columns and the others */
typedef struct Octet
{
	__m256i		front;
	__m256i		back;
} Octet;

static inline Octet
load_columns(const uint8 *p)
{
	Octet		columns = {_mm256_load_si256((const __m256i *) p),
	_mm256_load_si256((const __m256i *) p + 1)};

	return columns;
}

static inline __m256i
broadcast_quad(const int8 *p)
{
	int32		quad;

	memcpy(&quad, p, sizeof(quad));
	return _mm256_set1_epi32(quad);
}

static inline Octet
broadcast(const int8 *p)
{
	Octet		row = {broadcast_quad(p), broadcast_quad(p + 4)};

	return row;
}

/* At most 4 * 128 * 64, less what odd and even dimensions cannot both reach */
static inline __m256i
add_products(__m256i sum, Octet columns, Octet row)
{
	__m256i		words =
		_mm256_add_epi16(_mm256_maddubs_epi16(columns.front, row.front),
						 _mm256_maddubs_epi16(columns.back, row.back));

	return _mm256_add_epi32(sum,
							_mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}

/*
 * Half of each code plus 64, which is half of the code plus 128: rounded down
 * in even dimensions and up in odd ones, for the errors not to add up
 */
static inline uint32
reduce_quad(uint32 quad)
{
	quad ^= 0x80808080;
	return (quad >> 1 & 0x7F7F7F7F) + (quad & ODD_BYTES);
}

/* dims is a multiple of 16 */
static inline const int8 *
reduce_row(int8 *dst, const int8 *src, Size dims)
{
	for (Size i = 0; i < dims; i += 16)
	{
		__m128i		v = _mm_loadu_si128((const __m128i *) (src + i));
		__m128i		half;

		v = _mm_xor_si128(v, _mm_set1_epi8(-128));
		half = _mm_and_si128(_mm_srli_epi16(v, 1), _mm_set1_epi8(0x7F));
		half = _mm_add_epi8(half, _mm_and_si128(v,
												_mm_set1_epi32(ODD_BYTES)));
		half = _mm_sub_epi8(half, _mm_set1_epi8(64));
		_mm_storeu_si128((__m128i *) (dst + i), half);
	}
	return dst;
}
#define reduce_row reduce_row

#include "quant/pair_matrix_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
