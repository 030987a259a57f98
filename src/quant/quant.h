/*-------------------------------------------------------------------------
 *
 * quant.h
 *	  Codes that stand for vectors in an index, and distances between them.
 *
 * A vector appears in an index in up to three forms:
 *
 *	own code	  in its node's slot: precise enough that the walk's result can
 *				  be bounded from it (8 or 16 bits a dimension, or the value
 *				  itself, "raw"), or to be steered by (a product code);
 *	pair code	  the form in which two indexed vectors are compared while the
 *				  graph is built, extended or repaired (8 bits a dimension, or
 *				  raw; made from the own code, and equal to it if that has
 *				  this form);
 *	link code	  in the slot of each node that links to it: a few bits a
 *				  dimension of the residual to that node (RaBitQ), so that one
 *				  page read scores a whole neighbourhood.
 *
 * Dense vectors under L2, inner product and cosine are centred on the mean of
 * the indexed column and rotated by a random orthogonal transform, which
 * makes every coordinate alike.  Vectors are normalized first under cosine.
 * All other combinations are raw.
 *
 * Graph distance: what all estimates of this file are measured in.
 *	L2			squared Euclidean distance
 *	cosine		squared Euclidean distance of the normalized vectors, that is
 *				2 * (1 - cosine)
 *	IP			negative inner product towards a query.  Between two indexed
 *				vectors: squared Euclidean distance after both got one more
 *				coordinate, sqrt(max_norm2 - |x|^2), the reduction of maximum
 *				inner product search to nearest neighbour search
 *				(Bachrach et al., RecSys 2014)
 *	L1, Hamming, Jaccard	as the operator gives it
 *
 * Sources: RaBitQ, Gao and Long, SIGMOD 2024; extended RaBitQ, Gao et al.,
 * SIGMOD 2025.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_QUANT_H
#define OMEN_QUANT_H

#include "distance/distance.h"
#include "distance/sparse.h"

/* What the user may ask for in the index option "quantizer" */
typedef enum OmenQuantizerKind
{
	OMEN_QUANTIZER_AUTO,
	OMEN_QUANTIZER_RABITQ,
	OMEN_QUANTIZER_SQ8,
	OMEN_QUANTIZER_PQ,
	OMEN_QUANTIZER_NONE
} OmenQuantizerKind;

typedef enum OmenOwnKind
{
	OMEN_OWN_RAW,				/* payload of the value itself */
	OMEN_OWN_I8,				/* OmenOwnFactors, then int8[code_dims] */
	OMEN_OWN_I16,				/* OmenOwnFactors, then int16[code_dims] */
	OMEN_OWN_PQ					/* OmenOwnFactors, then a byte for each
								 * subspace, see quant_pq.h */
} OmenOwnKind;

typedef enum OmenLinkKind
{
	OMEN_LINK_NONE,				/* neighbours are scored by their own codes */
	OMEN_LINK_RAW,				/* the value itself (short bit strings) */
	OMEN_LINK_RABITQ1,			/* 1 bit a dimension of the residual */
	OMEN_LINK_RABITQ2			/* 2 bits a dimension of the residual */
} OmenLinkKind;

/*
 * Everything that decides the form of the codes.  Stored on the metapage;
 * equal shapes and parameters give equal codes on every machine and ISA.
 */
typedef struct OmenCodeShape
{
	uint8		element;		/* OmenElementType */
	uint8		metric;			/* OmenMetric */
	uint8		own_kind;		/* OmenOwnKind */
	uint8		link_kind;		/* OmenLinkKind */
	uint32		dims;			/* dimensions of the column */
	uint32		code_dims;		/* rotated dimensions, a multiple of 16; 0 if
								 * raw */
	uint32		link_dims;		/* leading rotated dimensions that a link code
								 * covers, a multiple of 16 */
	uint32		own_size;		/* bytes of an own code; of raw sparse
								 * vectors: 0, they vary */
	uint32		pair_size;		/* bytes of a pair code; 0 if they vary */
	uint32		link_size;		/* bytes of a link code, a multiple of 4 */
	uint32		unused;			/* as a compiler for 64 bits would leave it */
	uint64		seed;			/* of the random rotation */
} OmenCodeShape;

/*
 * Head of an own or pair code that is not raw; x is the centred vector.  A
 * vector too long for floats (|x| > 1e18) has norm2 = FLT_MAX and a code of
 * zeros: its distances are estimated as infinite and bounded by nothing.
 */
typedef struct OmenOwnFactors
{
	float		norm2;			/* |x|^2 */
	float		scale;			/* a = |x|^2 / <u,x>: x is about a * u */
	float		error;			/* |x - a * u|, an upper bound; its last 16
								 * bits tell vectors of equal code apart */
	float		mean_dot;		/* <mean, x>, both rotated */
} OmenOwnFactors;

/*
 * An estimated graph distance with bounds that cannot be violated.  Only the
 * lower bound from a product code can: in about one case of a thousand.  Its
 * upper bound is infinite, so that whoever needs certainty looks at the row.
 */
typedef struct OmenBounds
{
	float		estimate;
	float		lower;
	float		upper;
} OmenBounds;

/*
 * A quantizer ready for use.  "mean", "max_norm2" and the codebook are its
 * only trained parameters; the first two may be zero, the last the one to
 * start from (an index built on an empty table).
 */
typedef struct OmenQuantizer
{
	OmenCodeShape shape;
	float		max_norm2;		/* inner product: largest |x|^2 expected */
	float		mean_norm2;		/* |mean|^2 */
	float	   *mean;			/* rotated, float[code_dims] */
	int32	   *biases;			/* product codes only, see quant_pq.c */
	int8	   *codebook;		/* the same, see quant_pq.h */
	uint8	   *signs;			/* of the rotation, private to rotation.c */
	const struct OmenQuantizerOps *ops;
} OmenQuantizer;

/*
 * A query prepared for one scan.  The caller keeps "raw" alive; everything
 * else is allocated with the query, in one chunk.
 */
typedef struct OmenQuery OmenQuery;

/*
 * The payload of a value, as these functions take it, by element type:
 *	F32		float[dims]
 *	F16		half[dims]
 *	BIT		the bits, (dims + 7) / 8 bytes, unused trailing bits zero
 *	SPARSE	OmenSparsePayload
 */
typedef struct OmenSparsePayload
{
	int32		nnz;
	int32		unused;
	/* int32 indices[nnz], ascending, zero-based; then float values[nnz] */
} OmenSparsePayload;

/*
 * Choose the shape for a column.  "auto" resolves to RaBitQ for dense vectors
 * under L2, inner product and cosine and to raw otherwise.  The caller may
 * still change the seed.  Returns false if the combination is not supported
 * (the caller reports it).
 */
extern bool omen_quant_choose_shape(OmenElementType element, OmenMetric metric,
									uint32 dims, OmenQuantizerKind kind,
									OmenCodeShape *shape);

/*
 * Do the numbers of a shape that was read from disk agree with each other?
 * Not whether we would choose the same shape today.
 */
extern bool omen_quant_shape_is_valid(const OmenCodeShape *shape);

/*
 * Size of the memory that omen_quant_init() needs for this shape, and the
 * initialization itself; mean is in the column's own coordinates (float
 * [dims], of the normalized vectors under cosine) or NULL.
 * omen_quant_init_rotated() takes the mean as it is stored on disk.
 */
extern Size omen_quant_size(const OmenCodeShape *shape);
extern OmenQuantizer *omen_quant_init(void *memory, const OmenCodeShape *shape,
									  const float *mean, float max_norm2);
extern OmenQuantizer *omen_quant_init_rotated(void *memory,
											  const OmenCodeShape *shape,
											  const float *rotated_mean,
											  float max_norm2);

/* Bytes of the raw payload, for element types whose size varies */
extern Size omen_quant_payload_size(const OmenQuantizer *quant,
									const void *payload);

/* Floats of work area that encoding needs */
#define OMEN_QUANT_SCRATCH(shape)	(2 * (shape)->code_dims + 16)

/*
 * Own code of a value.  scratch: float[OMEN_QUANT_SCRATCH].  Returns the
 * number of bytes written (shape.own_size, or what a sparse vector needs).  The caller
 * has excluded zero vectors under cosine.
 */
extern Size omen_quant_encode_own(const OmenQuantizer *quant,
								  const void *payload, uint8 *own,
								  float *scratch);

/*
 * Pair code from an own code; a plain copy unless own codes have 16 bits or
 * are product codes.
 */
extern void omen_quant_own_to_pair(const OmenQuantizer *quant,
								   const uint8 *own, uint8 *pair);

/*
 * Pair code of a value itself, where that is finer than from its own code:
 * omen_quant_fine_size() is its size, or 0 where there is no difference.
 */
extern Size omen_quant_fine_size(const OmenCodeShape *shape);
extern void omen_quant_encode_fine(const OmenQuantizer *quant,
								   const void *payload, uint8 *pair,
								   float *scratch);

/*
 * The centre of some vectors, from their pair codes: add each to a sum
 * (float[code_dims], zero at first), then form the pair code of the sum over n.
 * Not of raw codes.
 */
extern void omen_quant_add_to_centre(const OmenQuantizer *quant,
									 const uint8 *pair, float *sum);
extern void omen_quant_form_centre(const OmenQuantizer *quant, float *sum,
								   uint32 n, uint8 *pair);

/*
 * The vector of a payload, rotated and less the mean: x[code_dims], 64-byte
 * alignment makes it fast.  Not of raw codes, as what follows.
 */
extern void omen_quant_load(const OmenQuantizer *quant, const void *payload,
							float *x);

/*
 * Codes of the vector that a code of "from" stands for, by "to", which has another
 * mean and nothing else.  Such own codes have estimates, but no bounds: those are
 * infinite.  scratch: float[OMEN_QUANT_SCRATCH].
 */
extern void omen_quant_shift_own(const OmenQuantizer *from,
								 const OmenQuantizer *to, const uint8 *own,
								 uint8 *shifted, float *scratch);
extern void omen_quant_shift_pair(const OmenQuantizer *from,
								  const OmenQuantizer *to, const uint8 *pair,
								  uint8 *shifted, float *scratch);

/* An own code of which nothing is known: its estimate is the mean's, without bounds */
extern void omen_quant_blank_own(const OmenQuantizer *quant, uint8 *own);

/* Graph distance of two pair codes */
extern float omen_quant_pair_distance(const OmenQuantizer *quant,
									  const uint8 *a, const uint8 *b);

/* |x|^2 of a vector by its pair code; of inner product only */
extern float omen_quant_pair_norm2(const OmenQuantizer *quant,
								   const uint8 *pair);

/* <mean, x>, likewise; 0 if no mean is taken of the codes */
extern float omen_quant_pair_mean_dot(const OmenQuantizer *quant,
									  const uint8 *pair);

/* Graph distances from one to n, whose codes lie "stride" bytes apart */
extern void omen_quant_pair_block(const OmenQuantizer *quant, const uint8 *a,
								  const uint8 *b, Size stride, int n,
								  float *distances);

/*
 * Link code of a neighbour in the slot of "centre", from their pair codes.
 * scratch: float[2 * code_dims].
 */
extern void omen_quant_encode_link(const OmenQuantizer *quant,
								   const uint8 *centre,
								   const uint8 *neighbour, float *f_add,
								   float *f_rescale, uint8 *code,
								   float *scratch);

/* A link on its way to its code: from a neighbour's pair code to what a slot has */
typedef struct OmenLinkCode
{
	const uint8 *neighbour;
	uint8	   *code;
	float		f_add;
	float		f_rescale;
} OmenLinkCode;

/* Links that are encoded at a time: what one has to wait for, others do not */
#define OMEN_LINKS_AT_A_TIME	4

/* Floats of work area for any number of links */
#define OMEN_LINKS_SCRATCH(shape)	(OMEN_LINKS_AT_A_TIME * 2 * (shape)->code_dims)

/* The same of n neighbours; scratch: float[OMEN_LINKS_SCRATCH] */
extern void omen_quant_encode_links(const OmenQuantizer *quant,
									const uint8 *centre, OmenLinkCode *links,
									int n, float *scratch);

/* Queries: size in bytes, initialization in place */
extern Size omen_query_size(const OmenQuantizer *quant);
extern OmenQuery *omen_query_init(void *memory, const OmenQuantizer *quant,
								  const void *payload);

/*
 * A query that is an indexed vector, from its pair code: not of raw codes, and
 * for omen_query_links() only.
 */
extern OmenQuery *omen_query_init_pair(void *memory,
									   const OmenQuantizer *quant,
									   const uint8 *pair);

/*
 * Inner product: from now on, estimates from link codes are to be best at nodes like
 * those that "dot" is the sum of inner products with the query of, and "norm2" that of
 * |x|^2: nodes where the walk begins.  Other metrics and codes take no notice.
 */
extern void omen_query_aim(OmenQuery *query, double dot, double norm2);

/* Graph distance from the query to a node, from its own code */
extern OmenBounds omen_query_own(const OmenQuery *query, const uint8 *own);

/*
 * Estimated graph distances to all n neighbours of a node at estimated
 * graph distance "base": est[i] = base + f_add[i] + f_rescale[i] *
 * <code[i], query>, and f_add in proportion where a query was aimed.  Codes lie
 * link_size bytes apart.
 */
extern void omen_query_links(const OmenQuery *query, float base, int n,
							 const float *f_add, const float *f_rescale,
							 const uint8 *codes, float *est);

/*
 * Estimated graph distances from n pair codes, stride bytes apart: for lists
 * of nodes that are looked through as a whole.
 */
extern void omen_query_block(const OmenQuery *query, const uint8 *pairs,
							 Size stride, int n, float *est);

/*
 * Exact graph distance of the query to a value; infinity where arithmetic
 * yields no number (a zero vector under cosine, or overflow)
 */
extern float omen_query_exact(const OmenQuery *query, const void *payload);

/* Chosen at load and by the setting omendb.simd */
extern void omen_quant_init_kernels(void);

#endif							/* OMEN_QUANT_H */
