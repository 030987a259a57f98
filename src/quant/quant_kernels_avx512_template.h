/*-------------------------------------------------------------------------
 *
 * quant_kernels_avx512_template.h
 *	  Kernels over codes for AVX-512, with or without VNNI.
 *
 * Included inside a target region, after
 *
 *	OMEN_ISA			suffix of the table, as a token
 *	add_signed(sum, a, b)	adds products of signed bytes to 32-bit lanes; b
 *						may be replaced by anything whose products with a
 *						add up to the same less signed_excess(a)
 *	signed_excess(sum_a)	what add_signed adds too much, from the sum of a
 *	add_levels1(sum, levels, q), add_levels2(sum, levels, q)
 *						adds products of unsigned levels, at up to 128 or 192,
 *						and signed bytes to 32-bit lanes
 *
 *-------------------------------------------------------------------------
 */

#define VF __m512
#define VF_LANES 16
#define vf_set(x) _mm512_set1_ps(x)
#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, v) _mm512_storeu_ps(p, v)
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_sub(a, b) _mm512_sub_ps(a, b)
#define vf_mul(a, b) _mm512_mul_ps(a, b)
#define vf_abs(a) _mm512_abs_ps(a)
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_ge(a, b) \
	_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), \
						_mm512_set1_ps(1.0f))
#define vf_mask_ge(a, b) \
	((uint32) _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ))
#define vf_largest(v) _mm512_reduce_max_ps(v)
#define vf_flip(v, bits) \
	_mm512_mask_xor_ps(v, (__mmask16) (bits), v, _mm512_set1_ps(-0.0f))
#define vf_load_i8(p) \
	_mm512_cvtepi32_ps( \
		_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define vf_load_i16(p) \
	_mm512_cvtepi32_ps( \
		_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *) (p))))
#define vf_store_i8(p, v) \
	_mm_storeu_si128((__m128i *) (p), \
					 _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)))
#define vf_store_i16(p, v) \
	_mm256_storeu_si256((__m256i *) (p), \
						_mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(v)))
#define VI __m512i
#define vi_zero() _mm512_setzero_si512()
#define vi_set(x) _mm512_set1_epi32(x)
#define vi_load(p) load_bytes(p)
#define vi_store(p, v) _mm512_storeu_si512(p, v)
#define vi_sub(a, b) _mm512_sub_epi32(a, b)
#define vi_min(a, b) _mm512_min_epi32(a, b)
#define vi_shift(v) _mm512_slli_epi32(v, 8)
#define vi_least(v) _mm512_reduce_min_epi32(v)
#define vi_dot2(sum, p, x) \
	add_words(sum, _mm512_cvtepi8_epi16( \
		_mm256_loadu_si256((const __m256i *) (p))), x)
#define load_bytes(p) _mm512_loadu_si512(p)

typedef struct VD
{
	__m512d		low;
	__m512d		high;
} VD;

/* Halves first, in an order that no compiler chooses */
static inline float
vf_sum(__m512 v)
{
	__m256		h = _mm256_add_ps(_mm512_castps512_ps256(v),
								  _mm512_extractf32x8_ps(v, 1));
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(h),
							   _mm256_extractf128_ps(h, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* The upper partner of each pair is subtracted from the lower */
static inline __m512
vf_butterflies(__m512 v)
{
	__m512		other = _mm512_permute_ps(v, 0xB1);

	v = _mm512_mask_sub_ps(_mm512_add_ps(v, other), 0xAAAA, other, v);
	other = _mm512_permute_ps(v, 0x4E);
	v = _mm512_mask_sub_ps(_mm512_add_ps(v, other), 0xCCCC, other, v);
	other = _mm512_shuffle_f32x4(v, v, 0xB1);
	v = _mm512_mask_sub_ps(_mm512_add_ps(v, other), 0xF0F0, other, v);
	other = _mm512_shuffle_f32x4(v, v, 0x4E);
	return _mm512_mask_sub_ps(_mm512_add_ps(v, other), 0xFF00, other, v);
}

static inline VD
vd_zero(void)
{
	VD			sum = {_mm512_setzero_pd(), _mm512_setzero_pd()};

	return sum;
}

static inline VD
vd_add(VD sum, __m512 a, __m512 b)
{
	sum.low = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(a)),
							  _mm512_cvtps_pd(_mm512_castps512_ps256(b)),
							  sum.low);
	sum.high = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)),
							   _mm512_cvtps_pd(_mm512_extractf32x8_ps(b, 1)),
							   sum.high);
	return sum;
}

static inline VD
vd_join(VD a, VD b)
{
	a.low = _mm512_add_pd(a.low, b.low);
	a.high = _mm512_add_pd(a.high, b.high);
	return a;
}

static inline double
vd_sum(VD sum)
{
	__m512d		v = _mm512_add_pd(sum.low, sum.high);
	__m256d		h = _mm256_add_pd(_mm512_castpd512_pd256(v),
								  _mm512_extractf64x4_pd(v, 1));
	__m128d		s = _mm_add_pd(_mm256_castpd256_pd128(h),
							   _mm256_extractf128_pd(h, 1));

	return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

/* --- sums of sixteen vectors' lanes, as the lanes of one --- */

/*
 * Four vectors into one, whose 128-bit lane i holds the sums of their lanes
 * i.  With "shift", what the second 64 bits of a 128-bit lane hold counts
 * half.
 */
static inline __m512i
sum_four(__m512i a, __m512i b, __m512i c, __m512i d, int shift)
{
	__m512i		ab = _mm512_add_epi32(
		_mm512_unpacklo_epi32(a, b),
		_mm512_srai_epi32(_mm512_unpackhi_epi32(a, b), shift));
	__m512i		cd = _mm512_add_epi32(
		_mm512_unpacklo_epi32(c, d),
		_mm512_srai_epi32(_mm512_unpackhi_epi32(c, d), shift));

	return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd),
							_mm512_unpackhi_epi64(ab, cd));
}

/*
 * The rest of the way.  128-bit lane i counts 2^(-shift * i).
 */
static inline __m512i
sum_sixteen_lanes(__m512i a, __m512i b, __m512i c, __m512i d, int shift)
{
	__m512i		ab = _mm512_add_epi32(
		_mm512_shuffle_i32x4(a, b, 0x44),
		_mm512_srai_epi32(_mm512_shuffle_i32x4(a, b, 0xEE), 2 * shift));
	__m512i		cd = _mm512_add_epi32(
		_mm512_shuffle_i32x4(c, d, 0x44),
		_mm512_srai_epi32(_mm512_shuffle_i32x4(c, d, 0xEE), 2 * shift));

	return _mm512_add_epi32(
		_mm512_shuffle_i32x4(ab, cd, 0x88),
		_mm512_srai_epi32(_mm512_shuffle_i32x4(ab, cd, 0xDD), shift));
}

/* Where four of n rows begin; rows that are not there repeat the last one */
#define row_at(i) (first + (Size) Min(i, n - 1) * stride)

static inline __mmask16
lanes_below(int n)
{
	return n >= 16 ? 0xFFFF : (__mmask16) ((1U << n) - 1);
}

/* --- own codes --- */

static inline __mmask64
tail_mask(int bytes)
{
	return (__mmask64) ((UINT64CONST(1) << bytes) - 1);
}

static int32
dot_i8(int dims, const int8 *a, const int8 *b)
{
	__m512i		sum = _mm512_setzero_si512();
	__m512i		sum_a = _mm512_setzero_si512();
	int			i = 0;

	for (; i + 64 <= dims; i += 64)
	{
		__m512i		va = load_bytes(a + i);

		sum = add_signed(sum, va, load_bytes(b + i));
		sum_a = add_ones(sum_a, va);
	}
	if (i < dims)
	{
		__mmask64	mask = tail_mask(dims - i);
		__m512i		va = _mm512_maskz_loadu_epi8(mask, a + i);

		sum = add_signed(sum, va, _mm512_maskz_loadu_epi8(mask, b + i));
		sum_a = add_ones(sum_a, va);
	}
	return _mm512_reduce_add_epi32(
		_mm512_sub_epi32(sum, signed_excess(sum_a)));
}

/*
 * Four rows' sums of products with a, one vector; four sums and the next
 * call's hide the latency of the multiplier.
 */
static inline __m512i
dot_four(int dims, const int8 *a, const uint8 *first, Size stride, int n)
{
	const int8 *b0 = (const int8 *) row_at(0) + sizeof(OmenOwnFactors);
	const int8 *b1 = (const int8 *) row_at(1) + sizeof(OmenOwnFactors);
	const int8 *b2 = (const int8 *) row_at(2) + sizeof(OmenOwnFactors);
	const int8 *b3 = (const int8 *) row_at(3) + sizeof(OmenOwnFactors);
	__m512i		sum0 = _mm512_setzero_si512();
	__m512i		sum1 = _mm512_setzero_si512();
	__m512i		sum2 = _mm512_setzero_si512();
	__m512i		sum3 = _mm512_setzero_si512();
	int			i = 0;

	for (; i + 64 <= dims; i += 64)
	{
		__m512i		va = load_bytes(a + i);

		sum0 = add_signed(sum0, va, load_bytes(b0 + i));
		sum1 = add_signed(sum1, va, load_bytes(b1 + i));
		sum2 = add_signed(sum2, va, load_bytes(b2 + i));
		sum3 = add_signed(sum3, va, load_bytes(b3 + i));
	}
	if (i < dims)
	{
		__mmask64	mask = tail_mask(dims - i);
		__m512i		va = _mm512_maskz_loadu_epi8(mask, a + i);

		sum0 = add_signed(sum0, va, _mm512_maskz_loadu_epi8(mask, b0 + i));
		sum1 = add_signed(sum1, va, _mm512_maskz_loadu_epi8(mask, b1 + i));
		sum2 = add_signed(sum2, va, _mm512_maskz_loadu_epi8(mask, b2 + i));
		sum3 = add_signed(sum3, va, _mm512_maskz_loadu_epi8(mask, b3 + i));
	}
	return sum_four(sum0, sum1, sum2, sum3, 0);
}

/* Factors of rows 0, 4, 8 and 12 from "first" on */
static inline __m512
load_four_factors(const uint8 *first, Size stride, int n)
{
	__m512		f = _mm512_castps128_ps512(
		_mm_loadu_ps((const float *) row_at(0)));

	f = _mm512_insertf32x4(f, _mm_loadu_ps((const float *) row_at(4)), 1);
	f = _mm512_insertf32x4(f, _mm_loadu_ps((const float *) row_at(8)), 2);
	return _mm512_insertf32x4(f, _mm_loadu_ps((const float *) row_at(12)), 3);
}

/* Sixteen scores: the factors of the rows are transposed in registers */
static inline __m512
combine_sixteen(const OmenBlockForm *form, const uint8 *first, Size stride,
				int n, __m512 dots)
{
	__m512		f0 = load_four_factors(first, stride, n);
	__m512		f1 = load_four_factors(row_at(1), stride, Max(n - 1, 1));
	__m512		f2 = load_four_factors(row_at(2), stride, Max(n - 2, 1));
	__m512		f3 = load_four_factors(row_at(3), stride, Max(n - 3, 1));
	__m512		front01 = _mm512_unpacklo_ps(f0, f1);
	__m512		front23 = _mm512_unpacklo_ps(f2, f3);
	__m512		back01 = _mm512_unpackhi_ps(f0, f1);
	__m512		back23 = _mm512_unpackhi_ps(f2, f3);
	__m512		norm2 = _mm512_shuffle_ps(front01, front23, 0x44);
	__m512		scale = _mm512_shuffle_ps(front01, front23, 0xEE);
	__m512		mean_dot = _mm512_shuffle_ps(back01, back23, 0xEE);
	__m512		score = _mm512_set1_ps(form->constant);

	score = _mm512_fmadd_ps(norm2, _mm512_set1_ps(form->norm2_weight), score);
	score = _mm512_fmadd_ps(mean_dot, _mm512_set1_ps(form->mean_dot_weight),
							score);
	scale = _mm512_mul_ps(scale, _mm512_set1_ps(form->dot_weight));
	score = _mm512_fmadd_ps(scale, dots, score);
	return _mm512_max_ps(score, _mm512_set1_ps(form->minimum));
}

static inline int32
sum_codes(int dims, const int8 *a)
{
	__m512i		sum = _mm512_setzero_si512();
	int			i = 0;

	for (; i + 64 <= dims; i += 64)
		sum = add_ones(sum, load_bytes(a + i));
	if (i < dims)
		sum = add_ones(sum, _mm512_maskz_loadu_epi8(tail_mask(dims - i),
													a + i));
	return _mm512_reduce_add_epi32(sum);
}

/*
 * Sixteen rows a step.  n is a constant where this is inlined for full steps,
 * which removes the repeated row.
 */
static pg_attribute_always_inline void
score_sixteen(int dims, const OmenBlockForm *form, __m512i excess,
			  const uint8 *first, Size stride, int n, float *scores)
{
	__m512i		sums = sum_sixteen_lanes(
		dot_four(dims, form->codes, first, stride, n),
		dot_four(dims, form->codes, row_at(4), stride, Max(n - 4, 1)),
		dot_four(dims, form->codes, row_at(8), stride, Max(n - 8, 1)),
		dot_four(dims, form->codes, row_at(12), stride, Max(n - 12, 1)), 0);
	__m512		dots = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, excess));

	_mm512_mask_storeu_ps(scores, lanes_below(n),
						  combine_sixteen(form, first, stride, n, dots));
}

static void
score_block(int dims, const OmenBlockForm *form, const uint8 *own,
			Size stride, int n, float *scores)
{
	__m512i		excess = signed_excess(
		_mm512_set1_epi32(sum_codes(dims, form->codes)));
	int			i = 0;

	for (; i + 16 <= n; i += 16)
		score_sixteen(dims, form, excess, own + (Size) i * stride, stride, 16,
					  scores + i);
	if (i < n)
		score_sixteen(dims, form, excess, own + (Size) i * stride, stride,
					  n - i, scores + i);
}

/* --- link codes --- */

/*
 * Levels are not shifted out of their bytes, only masked: field k counts
 * 2^k or 4^k times too much.  A broadcast puts field k into the k-th part of
 * a vector, so each part of the sums is shifted back while all are added up.
 */
static inline __m512i
mask_fields1(__m512i code)
{
	return _mm512_and_si512(code, _mm512_setr_epi64(
		INT64CONST(0x0101010101010101), INT64CONST(0x0202020202020202),
		INT64CONST(0x0404040404040404), INT64CONST(0x0808080808080808),
		INT64CONST(0x1010101010101010), INT64CONST(0x2020202020202020),
		INT64CONST(0x4040404040404040),
		(int64) UINT64CONST(0x8080808080808080)));
}

static inline __m512i
load_fields1(const uint8 *p)
{
	int64		word;

	memcpy(&word, p, sizeof(word));
	return mask_fields1(_mm512_set1_epi64(word));
}

/* 4 or 8 bytes */
static inline __m512i
load_tail_fields1(const uint8 *p, int bytes)
{
	uint32		word;

	if (bytes == 8)
		return load_fields1(p);
	memcpy(&word, p, sizeof(word));
	return mask_fields1(_mm512_set1_epi64((int64) (uint64) word));
}

static inline __m512i
mask_fields2(__m128i code)
{
	return _mm512_and_si512(_mm512_broadcast_i32x4(code), _mm512_setr_epi32(
		0x03030303, 0x03030303, 0x03030303, 0x03030303,
		0x0C0C0C0C, 0x0C0C0C0C, 0x0C0C0C0C, 0x0C0C0C0C,
		0x30303030, 0x30303030, 0x30303030, 0x30303030,
		(int32) 0xC0C0C0C0, (int32) 0xC0C0C0C0, (int32) 0xC0C0C0C0,
		(int32) 0xC0C0C0C0));
}

static inline __m512i
load_fields2(const uint8 *p)
{
	return mask_fields2(_mm_loadu_si128((const __m128i *) p));
}

static inline __m512i
load_tail_fields2(const uint8 *p, int bytes)
{
	return mask_fields2(
		_mm_maskz_loadu_epi8((__mmask16) ((1U << bytes) - 1), p));
}

/* Four codes; two operations per code and group of 64 dimensions */
static inline __m512i
dot_four_links1(const OmenLinkQuery *query, const uint8 *first, int n)
{
	Size		stride = query->stride;
	const uint8 *code0 = row_at(0);
	const uint8 *code1 = row_at(1);
	const uint8 *code2 = row_at(2);
	const uint8 *code3 = row_at(3);
	__m512i		sum0 = _mm512_setzero_si512();
	__m512i		sum1 = _mm512_setzero_si512();
	__m512i		sum2 = _mm512_setzero_si512();
	__m512i		sum3 = _mm512_setzero_si512();
	const int8 *codes = query->codes;
	Size		at = 0;

	for (int g = 0; g < query->groups; g++)
	{
		__m512i		q = load_bytes(codes);

		sum0 = add_levels1(sum0, load_fields1(code0 + at), q);
		sum1 = add_levels1(sum1, load_fields1(code1 + at), q);
		sum2 = add_levels1(sum2, load_fields1(code2 + at), q);
		sum3 = add_levels1(sum3, load_fields1(code3 + at), q);
		codes += OMEN_LINK_GROUP;
		at += 8;
	}
	if (query->tail_bytes > 0)
	{
		__m512i		q = load_bytes(codes);
		int			tail = query->tail_bytes;

		sum0 = add_levels1(sum0, load_tail_fields1(code0 + at, tail), q);
		sum1 = add_levels1(sum1, load_tail_fields1(code1 + at, tail), q);
		sum2 = add_levels1(sum2, load_tail_fields1(code2 + at, tail), q);
		sum3 = add_levels1(sum3, load_tail_fields1(code3 + at, tail), q);
	}
	return sum_four(sum0, sum1, sum2, sum3, 1);
}

/* Four codes; three operations per code and group of 64 dimensions */
static inline __m512i
dot_four_links2(const OmenLinkQuery *query, const uint8 *first, int n)
{
	Size		stride = query->stride;
	const uint8 *code0 = row_at(0);
	const uint8 *code1 = row_at(1);
	const uint8 *code2 = row_at(2);
	const uint8 *code3 = row_at(3);
	__m512i		sum0 = _mm512_setzero_si512();
	__m512i		sum1 = _mm512_setzero_si512();
	__m512i		sum2 = _mm512_setzero_si512();
	__m512i		sum3 = _mm512_setzero_si512();
	const int8 *codes = query->codes;
	Size		at = 0;

	for (int g = 0; g < query->groups; g++)
	{
		__m512i		q = load_bytes(codes);

		sum0 = add_levels2(sum0, load_fields2(code0 + at), q);
		sum1 = add_levels2(sum1, load_fields2(code1 + at), q);
		sum2 = add_levels2(sum2, load_fields2(code2 + at), q);
		sum3 = add_levels2(sum3, load_fields2(code3 + at), q);
		codes += OMEN_LINK_GROUP;
		at += 16;
	}
	if (query->tail_bytes > 0)
	{
		__m512i		q = load_bytes(codes);
		int			tail = query->tail_bytes;

		sum0 = add_levels2(sum0, load_tail_fields2(code0 + at, tail), q);
		sum1 = add_levels2(sum1, load_tail_fields2(code1 + at, tail), q);
		sum2 = add_levels2(sum2, load_tail_fields2(code2 + at, tail), q);
		sum3 = add_levels2(sum3, load_tail_fields2(code3 + at, tail), q);
	}
	return sum_four(sum0, sum1, sum2, sum3, 0);
}

/* Estimates from index i on, n of them */
static inline void
estimate_sixteen(const OmenLinkQuery *query, const OmenLinkBatch *batch,
				 int i, int n, __m512i sums)
{
	__mmask16	mask = lanes_below(n);
	__m512		f_add = _mm512_maskz_loadu_ps(mask, batch->f_add + i);
	__m512		f_rescale = _mm512_maskz_loadu_ps(mask, batch->f_rescale + i);
	__m512		est = _mm512_fmsub_ps(_mm512_cvtepi32_ps(sums),
									  _mm512_set1_ps(query->step),
									  _mm512_set1_ps(query->offset));

	est = _mm512_fmadd_ps(est, f_rescale, f_add);
	est = _mm512_add_ps(est, _mm512_set1_ps(batch->base));
	_mm512_mask_storeu_ps(batch->est + i, mask, est);
}

static pg_attribute_always_inline void
score_sixteen_links1(const OmenLinkQuery *query, const OmenLinkBatch *batch,
					 int i, int n)
{
	Size		stride = query->stride;
	const uint8 *first = batch->codes + (Size) i * stride;

	estimate_sixteen(query, batch, i, n, sum_sixteen_lanes(
		dot_four_links1(query, first, n),
		dot_four_links1(query, row_at(4), Max(n - 4, 1)),
		dot_four_links1(query, row_at(8), Max(n - 8, 1)),
		dot_four_links1(query, row_at(12), Max(n - 12, 1)), 2));
}

static void
score_links1(const OmenLinkQuery *query, const OmenLinkBatch *batch)
{
	int			i = 0;

	for (; i + 16 <= batch->n; i += 16)
		score_sixteen_links1(query, batch, i, 16);
	if (i < batch->n)
		score_sixteen_links1(query, batch, i, batch->n - i);
}

static pg_attribute_always_inline void
score_sixteen_links2(const OmenLinkQuery *query, const OmenLinkBatch *batch,
					 int i, int n)
{
	Size		stride = query->stride;
	const uint8 *first = batch->codes + (Size) i * stride;

	estimate_sixteen(query, batch, i, n, sum_sixteen_lanes(
		dot_four_links2(query, first, n),
		dot_four_links2(query, row_at(4), Max(n - 4, 1)),
		dot_four_links2(query, row_at(8), Max(n - 8, 1)),
		dot_four_links2(query, row_at(12), Max(n - 12, 1)), 2));
}

static void
score_links2(const OmenLinkQuery *query, const OmenLinkBatch *batch)
{
	int			i = 0;

	for (; i + 16 <= batch->n; i += 16)
		score_sixteen_links2(query, batch, i, 16);
	if (i < batch->n)
		score_sixteen_links2(query, batch, i, batch->n - i);
}

#include "quant/quant_kernels_template.h"
