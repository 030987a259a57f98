/*-------------------------------------------------------------------------
 *
 * text_kernels_avx2.c
 *	  Kernels over postings for AVX2.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "text/text_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX2)

#define OMEN_ISA avx2

#define V_LANES 8
#define VI __m256i
#define vi_set(x) _mm256_set1_epi32((int) (x))
#define vi_load(p) _mm256_loadu_si256((const __m256i *) (p))
#define vi_store(p, v) _mm256_storeu_si256((__m256i *) (p), v)
#define vi_add(a, b) _mm256_add_epi32(a, b)
#define vi_last(v) _mm256_permutevar8x32_epi32(v, _mm256_set1_epi32(7))

#define VF __m256
#define vf_set(x) _mm256_set1_ps(x)
#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, v) _mm256_storeu_ps(p, v)
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_mul(a, b) _mm256_mul_ps(a, b)
#define vf_div(a, b) _mm256_div_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_load_u16(p) \
	_mm256_cvtepi32_ps( \
		_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define vf_mask_ge(a, b) \
	((uint32) _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)))

static inline void
vi_store_u16(uint16 *p, __m256i v)
{
	__m256i		low = _mm256_and_si256(v, _mm256_set1_epi32(0xFFFF));
	__m256i		words = _mm256_packus_epi32(low, low);

	words = _mm256_permute4x64_epi64(words, 0x08);
	_mm_storeu_si128((__m128i *) p, _mm256_castsi256_si128(words));
}

static inline __m256i
vi_prefix(__m256i v)
{
	__m256i		low;

	v = _mm256_add_epi32(v, _mm256_slli_si256(v, 4));
	v = _mm256_add_epi32(v, _mm256_slli_si256(v, 8));
	/* the sum of the lower half, in all lanes of the upper one */
	low = _mm256_permute2x128_si256(v, v, 0x08);
	return _mm256_add_epi32(v, _mm256_shuffle_epi32(low, 0xFF));
}

static inline float
vf_largest(__m256 v)
{
	__m128		s = _mm_max_ps(_mm256_castps256_ps128(v),
							   _mm256_extractf128_ps(v, 1));

	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/*
 * Eight fields of w bits start at a byte, the fifth in the middle of one if w
 * is odd.  Each half of the vector takes the 16 bytes from its first field
 * on: 4 * 24 bits and four more fit.
 */
typedef struct Unpacker
{
	int			width;
	__m256i		bytes;			/* that each lane takes of its half */
	__m256i		shifts;
	__m256i		mask;
} Unpacker;

static inline Unpacker
unpacker(int width)
{
	Unpacker	u;
	int			odd = width % 2 * 4;
	__m256i		bits = _mm256_add_epi32(
		_mm256_mullo_epi32(_mm256_set1_epi32(width),
						   _mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3)),
		_mm256_setr_epi32(0, 0, 0, 0, odd, odd, odd, odd));

	u.width = width;
	u.bytes = _mm256_add_epi32(
		_mm256_mullo_epi32(_mm256_srli_epi32(bits, 3),
						   _mm256_set1_epi32(0x01010101)),
		_mm256_set1_epi32(0x03020100));
	u.shifts = _mm256_and_si256(bits, _mm256_set1_epi32(7));
	u.mask = _mm256_set1_epi32((1 << width) - 1);
	return u;
}

static inline __m256i
unpack(const Unpacker *u, const uint8 *packed, int i)
{
	const uint8 *p = packed + i / 8 * u->width;
	__m128i		low = _mm_loadu_si128((const __m128i *) p);
	__m128i		high = _mm_loadu_si128((const __m128i *) (p + u->width / 2));
	__m256i		v = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);

	v = _mm256_srlv_epi32(_mm256_shuffle_epi8(v, u->bytes), u->shifts);
	return _mm256_and_si256(v, u->mask);
}

/* Numbers are below 2^31, and compare as signed ones */
static int
lower(int n, const uint32 *docs, uint32 doc)
{
	__m256i		than = _mm256_set1_epi32((int) doc);
	__m256i		count = _mm256_setzero_si256();
	__m128i		sum;
	int			rest = 0;
	int			i = 0;

	for (; i + 8 <= n; i += 8)
		count = _mm256_sub_epi32(count,
								 _mm256_cmpgt_epi32(than, vi_load(docs + i)));
	for (; i < n; i++)
		rest += docs[i] < doc;
	sum = _mm_add_epi32(_mm256_castsi256_si128(count),
						_mm256_extracti128_si256(count, 1));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
	return _mm_cvtsi128_si32(sum) + rest;
}

#include "text/text_kernels_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
