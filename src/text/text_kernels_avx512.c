/*-------------------------------------------------------------------------
 *
 * text_kernels_avx512.c
 *	  Kernels over postings for AVX-512 F, BW, VL and DQ.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "text/text_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX512)

#define OMEN_ISA avx512

#define V_LANES 16
#define VI __m512i
#define vi_set(x) _mm512_set1_epi32((int) (x))
#define vi_load(p) _mm512_loadu_si512(p)
#define vi_store(p, v) _mm512_storeu_si512(p, v)
#define vi_store_u16(p, v) \
	_mm256_storeu_si256((__m256i *) (p), _mm512_cvtepi32_epi16(v))
#define vi_add(a, b) _mm512_add_epi32(a, b)
#define vi_last(v) _mm512_permutexvar_epi32(_mm512_set1_epi32(15), v)

#define VF __m512
#define vf_set(x) _mm512_set1_ps(x)
#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, v) _mm512_storeu_ps(p, v)
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_mul(a, b) _mm512_mul_ps(a, b)
#define vf_div(a, b) _mm512_div_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_largest(v) _mm512_reduce_max_ps(v)
#define vf_load_u16(p) \
	_mm512_cvtepi32_ps( \
		_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *) (p))))
#define vf_mask_ge(a, b) \
	((uint32) _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ))

/* Lanes move up by 1, 2, 4 and 8 places, with zeros from below */
#define move_up(v, by) \
	_mm512_alignr_epi32(v, _mm512_setzero_si512(), 16 - (by))

static inline __m512i
vi_prefix(__m512i v)
{
	v = _mm512_add_epi32(v, move_up(v, 1));
	v = _mm512_add_epi32(v, move_up(v, 2));
	v = _mm512_add_epi32(v, move_up(v, 4));
	return _mm512_add_epi32(v, move_up(v, 8));
}

/*
 * Sixteen fields start at a byte.  Up to 17 bits, each is in two neighbouring
 * words of the 34 bytes they have; wider ones lie in 48 bytes, of which each
 * quarter of the vector takes its own 16.
 */
typedef struct Unpacker
{
	int			width;
	__m512i		words;			/* or bytes, that each lane takes */
	__m512i		shifts;
	__m512i		mask;
} Unpacker;

#define WORDS_MAX_WIDTH 17

static inline Unpacker
unpacker(int width)
{
	Unpacker	u;
	__m512i		lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
										 12, 13, 14, 15);
	__m512i		bits = _mm512_mullo_epi32(_mm512_set1_epi32(width), lane);

	u.width = width;
	u.mask = _mm512_set1_epi32((1 << width) - 1);
	if (width <= WORDS_MAX_WIDTH)
	{
		u.words = _mm512_add_epi32(
			_mm512_mullo_epi32(_mm512_srli_epi32(bits, 4),
							   _mm512_set1_epi32(0x00010001)),
			_mm512_set1_epi32(0x00010000));
		u.shifts = _mm512_and_si512(bits, _mm512_set1_epi32(15));
	}
	else
	{
		/* from the byte that a quarter's first field starts in */
		__m512i		first = _mm512_mullo_epi32(
			_mm512_set1_epi32(width),
			_mm512_and_si512(lane, _mm512_set1_epi32(12)));

		bits = _mm512_sub_epi32(
			bits, _mm512_andnot_si512(_mm512_set1_epi32(7), first));
		u.words = _mm512_add_epi32(
			_mm512_mullo_epi32(_mm512_srli_epi32(bits, 3),
							   _mm512_set1_epi32(0x01010101)),
			_mm512_set1_epi32(0x03020100));
		u.shifts = _mm512_and_si512(bits, _mm512_set1_epi32(7));
	}
	return u;
}

#define load_quarter(p) _mm_loadu_si128((const __m128i *) (p))

static inline __m512i
unpack(const Unpacker *u, const uint8 *packed, int i)
{
	const uint8 *p = packed + i / 8 * u->width;
	__m512i		v;

	if (u->width <= WORDS_MAX_WIDTH)
		v = _mm512_permutexvar_epi16(u->words, _mm512_loadu_si512(p));
	else
	{
		v = _mm512_castsi128_si512(load_quarter(p));
		v = _mm512_inserti32x4(v, load_quarter(p + u->width * 4 / 8), 1);
		v = _mm512_inserti32x4(v, load_quarter(p + u->width), 2);
		v = _mm512_inserti32x4(v, load_quarter(p + u->width * 12 / 8), 3);
		v = _mm512_shuffle_epi8(v, u->words);
	}
	return _mm512_and_si512(_mm512_srlv_epi32(v, u->shifts), u->mask);
}

static int
lower(int n, const uint32 *docs, uint32 doc)
{
	__m512i		than = _mm512_set1_epi32((int) doc);
	int			count = 0;

	for (int i = 0; i < n; i += 16)
	{
		__mmask16	here = n - i >= 16 ? 0xFFFF : (1 << (n - i)) - 1;

		count += __builtin_popcount(
			_mm512_mask_cmplt_epu32_mask(here, vi_load(docs + i), than));
	}
	return count;
}

#include "text/text_kernels_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
