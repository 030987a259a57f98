/*-------------------------------------------------------------------------
 *
 * quant_ops.h
 *	  What a family of codes implements, and what queries are made of.
 *
 * quant.h's functions of the same names forward to the table; contracts are
 * stated there.  Families: raw (quant_none.c) and rotated (quant_own.c), the
 * latter with link codes ("rabitq", quant_rabitq.c), without ("sq8", the same
 * table), or with product codes as own codes ("pq", quant_pq.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_QUANT_OPS_H
#define OMEN_QUANT_OPS_H

#include "quant/quant.h"
#include "quant/quant_kernels.h"

typedef struct OmenQuantizerOps
{
	const char *name;

	Size		(*encode_own) (const OmenQuantizer *quant, const void *payload,
							   uint8 *own, float *scratch);
	/* the same of a vector that is loaded: x, and as much room behind it */
	void		(*encode_loaded) (const OmenQuantizer *quant, float *x,
								  OmenOwnFactors *factors, uint8 *code);
	void		(*own_to_pair) (const OmenQuantizer *quant, const uint8 *own,
								uint8 *pair);
	float		(*pair_distance) (const OmenQuantizer *quant, const uint8 *a,
								  const uint8 *b);
	float		(*pair_norm2) (const OmenQuantizer *quant, const uint8 *pair);
	float		(*pair_mean_dot) (const OmenQuantizer *quant,
								  const uint8 *pair);
	void		(*pair_block) (const OmenQuantizer *quant, const uint8 *a,
							   const uint8 *b, Size stride, int n,
							   float *distances);
	/* OMEN_LINKS_AT_A_TIME at most */
	void		(*encode_links) (const OmenQuantizer *quant,
								 const uint8 *centre, OmenLinkCode *links,
								 int n, float *scratch);

	/* bytes that a query needs after its head; 64-byte alignment is given */
	Size		(*query_size) (const OmenQuantizer *quant);
	void		(*query_init) (OmenQuery *query, const void *payload);
	/* NULL without link codes of residuals */
	void		(*query_init_pair) (OmenQuery *query, const uint8 *pair);
	/* NULL likewise */
	void		(*query_aim) (OmenQuery *query, double dot, double norm2);
	OmenBounds	(*query_own) (const OmenQuery *query, const uint8 *own);
	void		(*query_links) (const OmenQuery *query,
								const OmenLinkBatch *batch);
	void		(*query_block) (const OmenQuery *query, const uint8 *pairs,
								Size stride, int n, float *est);
} OmenQuantizerOps;

/*
 * All fields after "raw" belong to the rotated family.  q is the rotated
 * centred query, m the mean; Q = q + t m, where t, "mean_part", is 1 but for
 * inner products: see choose_mean_part() in quant_own.c.
 */
struct OmenQuery
{
	const OmenQuantizer *quant;
	const void *raw;			/* the payload, the caller's */
	uint8	   *memory;			/* query_size() bytes, aligned to 64 */

	bool		usable;			/* false: too long, nothing can be said */
	float		norm2;			/* |q|^2 */
	float		norm;			/* |q| */
	float		mean_part;		/* t */
	float		mean_norm;		/* |t m| */
	float		mean_dot;		/* <Q, m> */

	/* relative rounding errors, see quant_own.c */
	float		sum_error;
	float		rotation_error;

	float	   *rotated;		/* q */
	OmenOwnFactors factors;		/* of q's own code of 8 bits */
	int8	   *codes;			/* that code */
	OmenLinkQuery link;			/* the same against link codes */
	float		aim;			/* see quant_rabitq.c */
	const int32 *tables;		/* the query against all centroids, */
	float		table_step;		/* in this unit: see quant_pq.c */
	float		steer;			/* part of a code's error that bounds count */
};

extern const OmenQuantizerOps omen_quant_none_ops;
extern const OmenQuantizerOps omen_quant_rabitq_ops;
extern const OmenQuantizerOps omen_quant_pq_ops;

/* Raw graph distance of two payloads, a query first: quant_none.c */
extern float omen_raw_distance(const OmenCodeShape *shape, const void *query,
							   const void *value);

/* Bytes of a raw payload: quant_none.c */
extern Size omen_raw_size(const OmenCodeShape *shape, const void *payload);

/* Own codes of rotated vectors: quant_own.c */
extern void omen_own_load(const OmenQuantizer *quant, const void *payload,
						  float *rotated, uint32 *hash);
extern Size omen_own_encode(const OmenQuantizer *quant, const void *payload,
							uint8 *own, float *scratch);
extern void omen_own_encode_loaded(const OmenQuantizer *quant, float *x,
								   OmenOwnFactors *factors, uint8 *code);
extern void omen_own_encode_i8(const OmenQuantizer *quant, const float *x,
							   OmenOwnFactors *factors, int8 *codes);
extern void omen_own_to_pair(const OmenQuantizer *quant, const uint8 *own,
							 uint8 *pair);
extern float omen_own_pair_distance(const OmenQuantizer *quant,
									const uint8 *a, const uint8 *b);
extern float omen_own_pair_norm2(const OmenQuantizer *quant,
								 const uint8 *pair);
extern float omen_own_pair_mean_dot(const OmenQuantizer *quant,
									const uint8 *pair);
extern void omen_own_pair_block(const OmenQuantizer *quant, const uint8 *a,
								const uint8 *b, Size stride, int n,
								float *distances);
extern void omen_own_encode_fine(const OmenQuantizer *quant,
								 const void *payload, uint8 *pair,
								 float *scratch);
extern bool omen_own_special_factors(uint32 dims, float largest,
									 OmenOwnFactors *factors);
extern void omen_own_form_factors(const OmenQuantizer *quant, const float *x,
								  const OmenEncodeSums *sums,
								  OmenOwnFactors *factors);
extern void omen_own_tag(uint32 hash, OmenOwnFactors *factors);
extern Size omen_own_query_size(const OmenQuantizer *quant);
extern void omen_own_query_init(OmenQuery *query, const void *payload);
extern OmenBounds omen_own_bounds(const OmenQuery *query, const uint8 *own);
extern OmenBounds omen_own_bounds_of(const OmenQuery *query,
									 const OmenOwnFactors *factors, float dot);
extern void omen_own_query_block(const OmenQuery *query, const uint8 *pairs,
								 Size stride, int n, float *est);

/* |x| beyond which squares and sums could leave the range of floats */
#define OMEN_USABLE_NORM2	1e36f
#define OMEN_UNUSABLE		FLT_MAX

static inline OmenOwnFactors
omen_own_factors(const uint8 *own)
{
	OmenOwnFactors factors;

	memcpy(&factors, own, sizeof(factors));
	return factors;
}

/*
 * Inner product: |x|^2 of the vector as it was before it was centred.  Of one that
 * is short beside the mean, nothing remains but rounding, of any sign.
 */
static inline float
omen_own_norm2(const OmenQuantizer *quant, const OmenOwnFactors *factors)
{
	return Max(factors->norm2 + 2 * factors->mean_dot + quant->mean_norm2,
			   0.0f);
}

static inline const int8 *
omen_own_codes(const uint8 *own)
{
	return (const int8 *) (own + sizeof(OmenOwnFactors));
}

#endif							/* OMEN_QUANT_OPS_H */
