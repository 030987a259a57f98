/*-------------------------------------------------------------------------
 *
 * quant_kernels_generic.c
 *	  Kernels over codes in plain C: for CPUs without a level of their own,
 *	  and the oracle the other levels are tested against.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <string.h>

#include "quant/quant_kernels.h"

#define OMEN_ISA generic

#define VF float
#define VF_LANES 1
#define vf_set(x) (x)
#define vf_load(p) (*(p))
#define vf_store(p, v) (*(p) = (v))
#define vf_add(a, b) ((a) + (b))
#define vf_sub(a, b) ((a) - (b))
#define vf_mul(a, b) ((a) * (b))
#define vf_abs(a) fabsf(a)
#define vf_max(a, b) ((a) > (b) ? (a) : (b))
#define vf_fma(a, b, c) ((c) + (a) * (b))
#define vf_ge(a, b) ((a) >= (b) ? 1.0f : 0.0f)
#define vf_mask_ge(a, b) ((uint32) ((a) >= (b)))
#define vf_sum(v) (v)
#define vf_largest(v) (v)
#define vf_flip(v, bits) (((bits) & 1) ? -(v) : (v))
#define vf_butterflies(v) (v)
#define vf_load_i8(p) ((float) *(p))
#define vf_load_i16(p) ((float) *(p))
#define vf_store_i8(p, v) (*(p) = (int8) round_even(v))
#define vf_store_i16(p, v) (*(p) = (int16) round_even(v))

#define VD double
#define vd_zero() 0.0
#define vd_add(sum, a, b) ((sum) + (double) (a) * (double) (b))
#define vd_join(a, b) ((a) + (b))
#define vd_sum(sum) (sum)

#define VI int32
#define vi_zero() 0
#define vi_set(x) (x)
#define vi_load(p) (*(p))
#define vi_store(p, v) (*(p) = (v))
#define vi_sub(a, b) ((a) - (b))
#define vi_min(a, b) ((a) < (b) ? (a) : (b))
#define vi_shift(v) ((v) * 256)
#define vi_least(v) (v)

/*
 * Round to nearest even: adding 1.5 * 2^23 leaves no bit below the units.
 * rintf() would be a call on many CPUs.
 */
static inline int32
round_even(float v)
{
	return (int32) ((v + 12582912.0f) - 12582912.0f);
}

static inline int32
vi_dot2(int32 sum, const int8 *p, int32 pair)
{
	int16		x[2];

	memcpy(x, &pair, sizeof(x));
	return sum + p[0] * x[0] + p[1] * x[1];
}

static int32
dot_i8(int dims, const int8 *a, const int8 *b)
{
	int32		sum = 0;

	for (int i = 0; i < dims; i++)
		sum += (int32) a[i] * b[i];
	return sum;
}

static void
score_block(int dims, const OmenBlockForm *form, const uint8 *own,
			Size stride, int n, float *scores)
{
	for (int i = 0; i < n; i++)
	{
		const uint8 *code = own + (Size) i * stride;
		OmenOwnFactors f;
		float		score;

		memcpy(&f, code, sizeof(f));
		score = form->constant + form->norm2_weight * f.norm2 +
			form->mean_dot_weight * f.mean_dot +
			form->dot_weight * f.scale *
			(float) dot_i8(dims, form->codes,
						   (const int8 *) (code + sizeof(f)));
		scores[i] = Max(score, form->minimum);
	}
}

/* One group: fields of "bits" bits, whole_bytes bytes in a whole group */
static int32
dot_group(const uint8 *code, int bytes, const int8 *query, int bits)
{
	int			whole_bytes = OMEN_LINK_GROUP * bits / 8;
	int			mask = (1 << bits) - 1;
	int32		sum = 0;

	for (int k = 0; k < 8 / bits; k++)
	{
		for (int j = 0; j < bytes; j++)
			sum += ((code[j] >> (k * bits)) & mask) *
				query[k * whole_bytes + j];
	}
	return sum;
}

static inline void
score_links(const OmenLinkQuery *query, const OmenLinkBatch *batch, int bits)
{
	int			whole_bytes = OMEN_LINK_GROUP * bits / 8;

	for (int i = 0; i < batch->n; i++)
	{
		const uint8 *code = batch->codes + (Size) i * query->stride;
		const int8 *q = query->codes;
		int32		sum = 0;

		for (int g = 0; g < query->groups; g++)
		{
			sum += dot_group(code, whole_bytes, q, bits);
			code += whole_bytes;
			q += OMEN_LINK_GROUP;
		}
		sum += dot_group(code, query->tail_bytes, q, bits);
		batch->est[i] = batch->base + batch->f_add[i] +
			batch->f_rescale[i] * (query->step * (float) sum - query->offset);
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
