/*-------------------------------------------------------------------------
 *
 * quant_kernels_avx2.c
 *	  Kernels over codes for AVX2 with FMA.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "quant/quant_kernels.h"

OMEN_TARGET_BEGIN(OMEN_TARGET_AVX2)

#define OMEN_ISA avx2

#define VF __m256
#define VF_LANES 8
#define vf_set(x) _mm256_set1_ps(x)
#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, v) _mm256_storeu_ps(p, v)
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_sub(a, b) _mm256_sub_ps(a, b)
#define vf_mul(a, b) _mm256_mul_ps(a, b)
#define vf_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_ge(a, b) \
	_mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ), _mm256_set1_ps(1.0f))
#define vf_mask_ge(a, b) \
	((uint32) _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)))
#define vf_load_i8(p) \
	_mm256_cvtepi32_ps( \
		_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#define vf_load_i16(p) \
	_mm256_cvtepi32_ps( \
		_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define VI __m256i
#define vi_zero() _mm256_setzero_si256()
#define vi_set(x) _mm256_set1_epi32(x)
#define vi_load(p) load_bytes(p)
#define vi_store(p, v) _mm256_storeu_si256((__m256i *) (p), v)
#define vi_sub(a, b) _mm256_sub_epi32(a, b)
#define vi_min(a, b) _mm256_min_epi32(a, b)
#define vi_shift(v) _mm256_slli_epi32(v, 8)
#define vi_dot2(sum, p, x) \
	_mm256_add_epi32(sum, _mm256_madd_epi16( \
		_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *) (p))), x))
#define load_bytes(p) _mm256_loadu_si256((const __m256i *) (p))

typedef struct VD
{
	__m256d		low;
	__m256d		high;
} VD;

static inline float
vf_sum(__m256 v)
{
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(v),
							   _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float
vf_largest(__m256 v)
{
	__m128		s = _mm_max_ps(_mm256_castps256_ps128(v),
							   _mm256_extractf128_ps(v, 1));

	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline int32
vi_least(__m256i v)
{
	__m128i		s = _mm_min_epi32(_mm256_castsi256_si128(v),
								  _mm256_extracti128_si256(v, 1));

	s = _mm_min_epi32(s, _mm_shuffle_epi32(s, 0x4E));
	return _mm_cvtsi128_si32(_mm_min_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

/* Shifts lane i's bit into the place of the sign */
static inline __m256
vf_flip(__m256 v, uint32 bits)
{
	__m256i		shifts = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
	__m256i		signs = _mm256_sllv_epi32(_mm256_set1_epi32((int) bits),
										  shifts);

	return _mm256_xor_ps(v, _mm256_and_ps(_mm256_castsi256_ps(signs),
										  _mm256_set1_ps(-0.0f)));
}

/* The upper partner of each pair is subtracted from the lower */
static inline __m256
vf_butterflies(__m256 v)
{
	__m256		other = _mm256_permute_ps(v, 0xB1);

	v = _mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v),
						0xAA);
	other = _mm256_permute_ps(v, 0x4E);
	v = _mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v),
						0xCC);
	other = _mm256_permute2f128_ps(v, v, 0x01);
	return _mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v),
						   0xF0);
}

static inline __m128i
round_to_i16(__m256 v)
{
	__m256i		rounded = _mm256_cvtps_epi32(v);

	return _mm_packs_epi32(_mm256_castsi256_si128(rounded),
						   _mm256_extracti128_si256(rounded, 1));
}

static inline void
vf_store_i16(int16 *p, __m256 v)
{
	_mm_storeu_si128((__m128i *) p, round_to_i16(v));
}

static inline void
vf_store_i8(int8 *p, __m256 v)
{
	__m128i		words = round_to_i16(v);

	_mm_storel_epi64((__m128i *) p, _mm_packs_epi16(words, words));
}

static inline VD
vd_zero(void)
{
	VD			sum = {_mm256_setzero_pd(), _mm256_setzero_pd()};

	return sum;
}

static inline VD
vd_add(VD sum, __m256 a, __m256 b)
{
	sum.low = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a)),
							  _mm256_cvtps_pd(_mm256_castps256_ps128(b)),
							  sum.low);
	sum.high = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)),
							   _mm256_cvtps_pd(_mm256_extractf128_ps(b, 1)),
							   sum.high);
	return sum;
}

static inline VD
vd_join(VD a, VD b)
{
	a.low = _mm256_add_pd(a.low, b.low);
	a.high = _mm256_add_pd(a.high, b.high);
	return a;
}

static inline double
vd_sum(VD sum)
{
	__m256d		v = _mm256_add_pd(sum.low, sum.high);
	__m128d		s = _mm_add_pd(_mm256_castpd256_pd128(v),
							   _mm256_extractf128_pd(v, 1));

	return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

/* --- integer kernels --- */

/* Sums of eight vectors' lanes, as the lanes of one */
static inline __m256i
sum_eight(const __m256i *v)
{
	__m256i		low = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]),
										_mm256_hadd_epi32(v[2], v[3]));
	__m256i		high = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]),
										 _mm256_hadd_epi32(v[6], v[7]));

	return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
							_mm256_permute2x128_si256(low, high, 0x31));
}

static inline int32
sum_lanes(__m256i v)
{
	__m128i		s = _mm_add_epi32(_mm256_castsi256_si128(v),
								  _mm256_extracti128_si256(v, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

/*
 * Adds products of signed bytes.  The multiplier takes unsigned bytes on one
 * side: a's absolute values, with a's signs moved to b.  Pairs add up to at
 * most 2 * 127 * 127, which 16 bits hold.
 */
static inline __m256i
add_products(__m256i sum, __m256i a, __m256i absolute, __m256i b)
{
	__m256i		pairs = _mm256_maddubs_epi16(absolute,
											 _mm256_sign_epi8(b, a));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs,
												   _mm256_set1_epi16(1)));
}

/* The last 16 dimensions of a number that 32 does not divide */
static inline __m256i
load_sixteen(const int8 *p)
{
	return _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *) p));
}

static int32
dot_i8(int dims, const int8 *a, const int8 *b)
{
	__m256i		sum = _mm256_setzero_si256();
	int			i = 0;

	for (; i + 32 <= dims; i += 32)
	{
		__m256i		va = load_bytes(a + i);

		sum = add_products(sum, va, _mm256_abs_epi8(va), load_bytes(b + i));
	}
	if (i < dims)
	{
		__m256i		va = load_sixteen(a + i);

		sum = add_products(sum, va, _mm256_abs_epi8(va), load_sixteen(b + i));
	}
	return sum_lanes(sum);
}

/* Lane sums of the products of one vector and four others */
static inline void
dot_four(int dims, const int8 *a, const uint8 *const *rows, __m256i *sums)
{
	const int8 *b0 = (const int8 *) rows[0] + sizeof(OmenOwnFactors);
	const int8 *b1 = (const int8 *) rows[1] + sizeof(OmenOwnFactors);
	const int8 *b2 = (const int8 *) rows[2] + sizeof(OmenOwnFactors);
	const int8 *b3 = (const int8 *) rows[3] + sizeof(OmenOwnFactors);
	__m256i		sum0 = _mm256_setzero_si256();
	__m256i		sum1 = _mm256_setzero_si256();
	__m256i		sum2 = _mm256_setzero_si256();
	__m256i		sum3 = _mm256_setzero_si256();
	int			i = 0;

	for (; i + 32 <= dims; i += 32)
	{
		__m256i		va = load_bytes(a + i);
		__m256i		absolute = _mm256_abs_epi8(va);

		sum0 = add_products(sum0, va, absolute, load_bytes(b0 + i));
		sum1 = add_products(sum1, va, absolute, load_bytes(b1 + i));
		sum2 = add_products(sum2, va, absolute, load_bytes(b2 + i));
		sum3 = add_products(sum3, va, absolute, load_bytes(b3 + i));
	}
	if (i < dims)
	{
		__m256i		va = load_sixteen(a + i);
		__m256i		absolute = _mm256_abs_epi8(va);

		sum0 = add_products(sum0, va, absolute, load_sixteen(b0 + i));
		sum1 = add_products(sum1, va, absolute, load_sixteen(b1 + i));
		sum2 = add_products(sum2, va, absolute, load_sixteen(b2 + i));
		sum3 = add_products(sum3, va, absolute, load_sixteen(b3 + i));
	}
	sums[0] = sum0;
	sums[1] = sum1;
	sums[2] = sum2;
	sums[3] = sum3;
}

/* Factors of two rows, four apart */
static inline __m256
load_two_factors(const uint8 *const *rows)
{
	return _mm256_set_m128(_mm_loadu_ps((const float *) rows[4]),
						   _mm_loadu_ps((const float *) rows[0]));
}

/* Eight scores: the factors of eight rows are transposed in registers */
static inline __m256
combine_eight(const OmenBlockForm *form, const uint8 *const *rows,
			  __m256i dots)
{
	__m256		f0 = load_two_factors(rows);
	__m256		f1 = load_two_factors(rows + 1);
	__m256		f2 = load_two_factors(rows + 2);
	__m256		f3 = load_two_factors(rows + 3);
	__m256		front01 = _mm256_unpacklo_ps(f0, f1);
	__m256		front23 = _mm256_unpacklo_ps(f2, f3);
	__m256		back01 = _mm256_unpackhi_ps(f0, f1);
	__m256		back23 = _mm256_unpackhi_ps(f2, f3);
	__m256		norm2 = _mm256_shuffle_ps(front01, front23, 0x44);
	__m256		scale = _mm256_shuffle_ps(front01, front23, 0xEE);
	__m256		mean_dot = _mm256_shuffle_ps(back01, back23, 0xEE);
	__m256		score = _mm256_set1_ps(form->constant);

	score = _mm256_fmadd_ps(norm2, _mm256_set1_ps(form->norm2_weight), score);
	score = _mm256_fmadd_ps(mean_dot, _mm256_set1_ps(form->mean_dot_weight),
							score);
	scale = _mm256_mul_ps(scale, _mm256_set1_ps(form->dot_weight));
	score = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dots), score);
	return _mm256_max_ps(score, _mm256_set1_ps(form->minimum));
}

/* Where eight rows begin; rows that are not there repeat the last one */
static inline void
point_to_eight(const uint8 *first, Size stride, int n, const uint8 **rows)
{
	for (int i = 0; i < 8; i++)
		rows[i] = first + (Size) Min(i, n - 1) * stride;
}

static inline void
store_up_to_eight(float *p, __m256 v, int n)
{
	float		lanes[8];

	if (n >= 8)
		_mm256_storeu_ps(p, v);
	else
	{
		_mm256_storeu_ps(lanes, v);
		memcpy(p, lanes, n * sizeof(float));
	}
}

/* Eight rows a step, in two runs of four sums; 4.25 operations a vector */
static void
score_block(int dims, const OmenBlockForm *form, const uint8 *own,
			Size stride, int n, float *scores)
{
	for (int i = 0; i < n; i += 8)
	{
		const uint8 *rows[8];
		__m256i		sums[8];

		point_to_eight(own + (Size) i * stride, stride, n - i, rows);
		dot_four(dims, form->codes, rows, sums);
		dot_four(dims, form->codes, rows + 4, sums + 4);
		store_up_to_eight(scores + i,
						  combine_eight(form, rows, sum_eight(sums)), n - i);
	}
}

/*
 * Levels stay where they are in their bytes, at 1, 2, 4 or 8 times their
 * value (1 bit) or 1 or 4 times (2 bits), and multiplying 16-bit sums by the
 * opposite weights makes all lanes 8 or 4 times too large in the end.  Upper
 * halves of bytes are shifted down first.  That leaves room for 8 (1 bit) or
 * 5 (2 bits) groups before 16 bits overflow:
 * 8 * 4 * 8 * 127 and 5 * 4 * 12 * 127 are less than 2^15.
 */
#define GROUPS1 8
#define GROUPS2 5

/* The query's codes of a group, and where the levels are */
typedef struct Fields
{
	__m256i		mask;
	__m256i		low;
	__m256i		high;
} Fields;

static inline __m256i
add_fields(__m256i sum, __m256i code, const Fields *fields)
{
	__m256i		low = _mm256_and_si256(code, fields->mask);
	__m256i		high = _mm256_and_si256(_mm256_srli_epi16(code, 4),
										fields->mask);

	sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(low, fields->low));
	return _mm256_add_epi16(sum, _mm256_maddubs_epi16(high, fields->high));
}

static inline __m256i
load_group(const uint8 *p, int bits)
{
	if (bits == 1)
		return _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *) p));
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *) p));
}

/* 4, 8 or 12 bytes of a last group; nothing beyond is read */
static inline __m256i
load_tail(const uint8 *p, int bytes, int bits)
{
	int32		words[3] = {0};
	__m128i		code;

	memcpy(words, p, 4);
	if (bytes > 4)
		memcpy(words + 1, p + 4, 4);
	if (bytes > 8)
		memcpy(words + 2, p + 8, 4);
	code = _mm_setr_epi32(words[0], words[1], words[2], 0);
	if (bits == 1)
		return _mm256_broadcastq_epi64(code);
	return _mm256_broadcastsi128_si256(code);
}

static inline __m256i
field_mask(int bits)
{
	if (bits == 1)
		return _mm256_setr_epi64x(0x0101010101010101, 0x0202020202020202,
								  0x0404040404040404, 0x0808080808080808);
	return _mm256_setr_epi64x(0x0303030303030303, 0x0303030303030303,
							  0x0C0C0C0C0C0C0C0C, 0x0C0C0C0C0C0C0C0C);
}

static inline __m256i
field_weights(int bits)
{
	if (bits == 1)
		return _mm256_setr_epi64x(0x0008000800080008, 0x0004000400040004,
								  0x0002000200020002, 0x0001000100010001);
	return _mm256_setr_epi64x(0x0004000400040004, 0x0004000400040004,
							  0x0001000100010001, 0x0001000100010001);
}

/*
 * Lane sums of four codes; inlined for each number of bits.  About eight
 * operations per code and group of 64 dimensions.
 */
static pg_attribute_always_inline void
dot_four_links(const OmenLinkQuery *query, const uint8 *const *rows, int bits,
			   __m256i *sums)
{
	__m256i		weights = field_weights(bits);
	Fields		fields = {.mask = field_mask(bits)};
	const int8 *q = query->codes;
	int			limit = bits == 1 ? GROUPS1 : GROUPS2;
	int			tail = query->tail_bytes;
	Size		at = 0;

	for (int i = 0; i < 4; i++)
		sums[i] = _mm256_setzero_si256();
	for (int left = query->groups; left >= 0; left -= limit)
	{
		__m256i		part0 = _mm256_setzero_si256();
		__m256i		part1 = _mm256_setzero_si256();
		__m256i		part2 = _mm256_setzero_si256();
		__m256i		part3 = _mm256_setzero_si256();
		int			groups = Min(left, limit);

		for (int g = 0; g < groups; g++)
		{
			fields.low = load_bytes(q);
			fields.high = load_bytes(q + 32);
			part0 = add_fields(part0, load_group(rows[0] + at, bits), &fields);
			part1 = add_fields(part1, load_group(rows[1] + at, bits), &fields);
			part2 = add_fields(part2, load_group(rows[2] + at, bits), &fields);
			part3 = add_fields(part3, load_group(rows[3] + at, bits), &fields);
			q += OMEN_LINK_GROUP;
			at += 8 * bits;
		}
		if (left < limit && tail > 0)
		{
			fields.low = load_bytes(q);
			fields.high = load_bytes(q + 32);
			part0 = add_fields(part0, load_tail(rows[0] + at, tail, bits),
							   &fields);
			part1 = add_fields(part1, load_tail(rows[1] + at, tail, bits),
							   &fields);
			part2 = add_fields(part2, load_tail(rows[2] + at, tail, bits),
							   &fields);
			part3 = add_fields(part3, load_tail(rows[3] + at, tail, bits),
							   &fields);
		}
		sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(part0, weights));
		sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(part1, weights));
		sums[2] = _mm256_add_epi32(sums[2], _mm256_madd_epi16(part2, weights));
		sums[3] = _mm256_add_epi32(sums[3], _mm256_madd_epi16(part3, weights));
	}
}

/* Estimates from eight dot products; n of them count, from index i on */
static inline void
estimate_eight(const OmenLinkQuery *query, const OmenLinkBatch *batch, int i,
			   __m256i dots)
{
	int			n = Min(batch->n - i, 8);
	float		padded_add[8] = {0};
	float		padded_rescale[8] = {0};
	const float *f_add = batch->f_add + i;
	const float *f_rescale = batch->f_rescale + i;
	__m256		est;

	if (n < 8)
	{
		f_add = memcpy(padded_add, f_add, n * sizeof(float));
		f_rescale = memcpy(padded_rescale, f_rescale, n * sizeof(float));
	}
	est = _mm256_fmsub_ps(_mm256_cvtepi32_ps(dots),
						  _mm256_set1_ps(query->step),
						  _mm256_set1_ps(query->offset));
	est = _mm256_fmadd_ps(est, _mm256_loadu_ps(f_rescale),
						  _mm256_loadu_ps(f_add));
	est = _mm256_add_ps(est, _mm256_set1_ps(batch->base));
	store_up_to_eight(batch->est + i, est, n);
}

static pg_attribute_always_inline void
score_links(const OmenLinkQuery *query, const OmenLinkBatch *batch, int bits)
{
	for (int i = 0; i < batch->n; i += 8)
	{
		const uint8 *rows[8];
		__m256i		sums[8];

		point_to_eight(batch->codes + (Size) i * query->stride, query->stride,
					   batch->n - i, rows);
		dot_four_links(query, rows, bits, sums);
		dot_four_links(query, rows + 4, bits, sums + 4);
		estimate_eight(query, batch, i,
					   _mm256_srai_epi32(sum_eight(sums), bits == 1 ? 3 : 2));
	}
}

static void
score_links1(const OmenLinkQuery *query, const OmenLinkBatch *batch)
{
	score_links(query, batch, 1);
}

static void
score_links2(const OmenLinkQuery *query, const OmenLinkBatch *batch)
{
	score_links(query, batch, 2);
}

#include "quant/quant_kernels_template.h"

OMEN_TARGET_END

#endif							/* __x86_64__ */
