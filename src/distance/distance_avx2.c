/*-------------------------------------------------------------------------
 *
 * distance_avx2.c
 *	  Distance kernels for AVX2 with FMA and F16C.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "distance/distance.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX2)

#define OMEN_ISA avx2

#define VF __m256
#define VF_LANES 8
#define vf_zero() _mm256_setzero_ps()
#define vf_load(p) _mm256_loadu_ps(p)
#define vf_load_half(p) \
	_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (p)))
#define vf_store(p, v) _mm256_storeu_ps(p, v)
#define vf_store_half(p, v) \
	_mm_storeu_si128((__m128i *) (p), \
					 _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_sub(a, b) _mm256_sub_ps(a, b)
#define vf_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)

#define VB __m256i
#define VB_BYTES 32
#define VC __m256i
#define vb_load(p) _mm256_loadu_si256((const __m256i *) (p))
#define vb_and(a, b) _mm256_and_si256(a, b)
#define vb_or(a, b) _mm256_or_si256(a, b)
#define vb_xor(a, b) _mm256_xor_si256(a, b)
#define vc_zero() _mm256_setzero_si256()

static inline __m256
vf_load_tail(const float *p, int n)
{
	/* eight set masks, then eight clear: the window at 8 - n has n set */
	static const int32 masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

	return _mm256_maskload_ps(p, vb_load(masks + 8 - n));
}

static inline __m256
vf_load_half_tail(const OmenHalf *p, int n)
{
	OmenHalf	padded[VF_LANES] = {0};

	memcpy(padded, p, n * sizeof(OmenHalf));
	return vf_load_half(padded);
}

static inline float
vf_sum(__m256 v)
{
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(v),
							   _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	s = _mm_add_ss(s, _mm_movehdup_ps(s));
	return _mm_cvtss_f32(s);
}

static inline __m256i
vb_load_tail(const uint8 *p, int n)
{
	uint8		padded[VB_BYTES] = {0};

	memcpy(padded, p, n);
	return vb_load(padded);
}

/* Looks up both nibbles of each byte; the byte counts go to 64-bit counters */
static inline __m256i
vc_add_bits(__m256i counters, __m256i v)
{
	const __m256i nibble = _mm256_set1_epi8(0x0F);
	const __m256i table =
		_mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
						 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	__m256i		low = _mm256_and_si256(v, nibble);
	__m256i		high = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
	__m256i		bytes = _mm256_add_epi8(_mm256_shuffle_epi8(table, low),
										_mm256_shuffle_epi8(table, high));

	return _mm256_add_epi64(counters,
							_mm256_sad_epu8(bytes, _mm256_setzero_si256()));
}

static inline uint64
vc_sum(__m256i counters)
{
	uint64		lanes[4];

	_mm256_storeu_si256((__m256i *) lanes, counters);
	return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

#define VQ __m256i
#define VQ_LANES 4
#define vq_set(x) _mm256_set1_epi64x((int64) (x))

/* There is only a comparison of numbers with sign: it is turned round */
static inline uint64
vq_within(const uint64 *p, __m256i low, __m256i width)
{
	const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
	__m256i		above = _mm256_sub_epi64(vb_load(p), low);
	__m256i		beyond = _mm256_cmpgt_epi64(_mm256_xor_si256(above, sign),
											_mm256_xor_si256(width, sign));

	return ~_mm256_movemask_pd(_mm256_castsi256_pd(beyond)) & 15;
}

#include "distance/distance_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
