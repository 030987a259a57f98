/*-------------------------------------------------------------------------
 *
 * quant_kernels.h
 *	  Kernels over codes.
 *
 * Every array of a kernel has "dims" elements, a multiple of 16, and needs
 * no alignment beyond its element's.  Codes of 8 bits lie in [-127, 127], of
 * 16 bits in [-32512, 32512].
 *
 * Link codes hold unsigned levels of 1 or 2 bits, in groups of 64 dimensions
 * (8 or 16 bytes) and a shorter last group.  With a group of B bytes, bit
 * field k of byte j is the level of the group's dimension B * k + j, so that
 * one broadcast of the group and one mask per field bring the levels into
 * the order of the dimensions.  The last group has as many bytes as it needs,
 * a multiple of 4; its levels beyond "dims" are zero.
 *
 * The query's codes are arranged to match: 64 bytes per group, field k of
 * byte j at byte F * k + j, where F is the number of bytes of a whole group.
 * Bytes that no level meets are zero.
 *
 * Product codes: a codebook is a sequence of planes of 512 bytes, one for
 * every two dimensions: int8[256][2], the coordinates of all centroids there.
 * The planes of a subspace follow each other, so that one load brings two
 * coordinates of as many centroids as a vector holds.  Products with 16-bit
 * integers are exact: all levels give the same codes and sums.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_QUANT_KERNELS_H
#define OMEN_QUANT_KERNELS_H

#include "port/pg_bitutils.h"

#include "base/cpu.h"
#include "quant/quant.h"

/* Codes of vectors are in this range; 127 * 256 drops to 8 bits by a shift */
#define OMEN_I8_MAX		127
#define OMEN_I16_MAX	(127 * 256)

/* Dimensions a group of a link code covers */
#define OMEN_LINK_GROUP 64

/* Product codes: centroids of a subspace, bytes of two of their coordinates */
#define OMEN_PQ_CENTROIDS	256
#define OMEN_PQ_PLANE		(2 * OMEN_PQ_CENTROIDS)

/* What encoding sums up, u being the code and x what it stands for */
typedef struct OmenEncodeSums
{
	double		norm2;			/* <x, x> */
	double		code_dot;		/* <u, x> */
	double		code_norm2;		/* <u, u> */
} OmenEncodeSums;

/* A linear form over own codes: see score_block */
typedef struct OmenBlockForm
{
	const int8 *codes;			/* of the vector that all are compared to */
	float		constant;
	float		norm2_weight;
	float		mean_dot_weight;
	float		dot_weight;
	float		minimum;		/* results below are raised to it */
} OmenBlockForm;

/* Two dequantized vectors whose difference is to be encoded, and the mean */
typedef struct OmenResidualInput
{
	const int8 *centre;
	const int8 *neighbour;
	const float *mean;
	float		centre_scale;
	float		neighbour_scale;
} OmenResidualInput;

/* What encoding a link sums up, with r the residual and c the centre */
typedef struct OmenLinkSums
{
	float		norm2;			/* <r, r> */
	float		centre_dot;		/* <c, r> */
	float		level_residual; /* <level, r>, levels centred on zero */
	float		level_centre;	/* <level, c> */
	float		level_mean;		/* <level, mean> */
} OmenLinkSums;

/* What levels add up to while some are moved: see quant_links.c */
typedef struct OmenMoveSums
{
	float		centre;			/* too much along c, times the root of the
								 * weight that this has */
	float		mean;			/* and along the mean, likewise */
	float		square;			/* <level, level> / dimensions */
	float		error;			/* omen_move_error() */
} OmenMoveSums;

/* How they change */
typedef struct OmenMoveForm
{
	float		threshold;		/* of 2-bit levels */
	float		near;			/* no farther from where levels change are
								 * those that are moved */
	float		per_residual;	/* of the error: what a change of <level, r>
								 * by 1 is worth */
	float		centre_scale;	/* centre: step * (scale * c - part * r) */
	float		centre_part;
	float		mean_scale;		/* mean: likewise */
	float		mean_part;
	float		square;			/* square: of a step across a threshold */
	float		enough;			/* error that is left to be, beside square */
} OmenMoveForm;

/* A link whose levels are moved */
typedef struct OmenMove
{
	OmenMoveForm form;
	OmenMoveSums sums;
	const OmenResidualInput *input;
	const float *r;
	uint8	   *levels;
	OmenLinkSums *link_sums;
} OmenMove;

static inline float
omen_move_error(const OmenMoveSums *sums)
{
	return sums->square + sums->centre * sums->centre +
		sums->mean * sums->mean;
}

/* A query against link codes: <level, q> = step * dot - offset */
typedef struct OmenLinkQuery
{
	const int8 *codes;			/* arranged, 64 bytes a group */
	int			groups;			/* whole groups */
	int			tail_bytes;		/* of the last group in a code, or 0 */
	Size		stride;			/* between codes */
	float		step;
	float		offset;
} OmenLinkQuery;

/* The codes to score, and where to: est = base + f_add + f_rescale * <> */
typedef struct OmenLinkBatch
{
	int			n;
	float		base;
	const float *f_add;
	const float *f_rescale;
	const uint8 *codes;
	float	   *est;
} OmenLinkBatch;

typedef struct OmenCodeKernels
{
	const char *name;
	int			sums;			/* that a sum over floats is split into */

	/* Rotation: flip the signs whose bit is set; transform; mix halves */
	void		(*flip_signs) (int dims, const uint8 *bits, float *x);
	/* dims is a power of two, at least 16; the result is times scale */
	void		(*hadamard) (int dims, float scale, float *x);
	/* (a, b) -> scale * (a + b, a - b) for the halves; dims / 2 is 0 mod 8 */
	void		(*mix_halves) (int dims, float scale, float *x);

	/* Encoding: largest |x|, NaN or infinity if any element is such */
	float		(*max_abs) (int dims, const float *x);
	/* codes = round(x * factor), to nearest even */
	void		(*encode_i8) (int dims, const float *x, float factor,
							  int8 *codes, OmenEncodeSums *sums);
	void		(*encode_i16) (int dims, const float *x, float factor,
							   int16 *codes, OmenEncodeSums *sums);
	double		(*dot_f32) (int dims, const float *a, const float *b);

	int32		(*dot_i8) (int dims, const int8 *a, const int8 *b);
	float		(*dot_i8_f32) (int dims, const int8 *a, const float *b);
	float		(*dot_i16_f32) (int dims, const int16 *a, const float *b);

	/*
	 * For n own codes of 8 bits, stride bytes apart, each with its factors f:
	 * constant + norm2_weight * f.norm2 + mean_dot_weight * f.mean_dot +
	 * dot_weight * f.scale * <codes, code>.
	 */
	void		(*score_block) (int dims, const OmenBlockForm *form,
								const uint8 *own, Size stride, int n,
								float *scores);

	/*
	 * Residual of two vectors into r[dims], and the first two sums; then
	 * levels of its first dims elements, and the others.  Levels are stored a
	 * byte each.  The thresholds of 2-bit levels are 0 and +- threshold.
	 */
	void		(*residual) (int dims, const OmenResidualInput *input,
							 float *r, OmenLinkSums *sums);
	void		(*levels1) (int dims, const OmenResidualInput *input,
							const float *r, uint8 *levels,
							OmenLinkSums *sums);
	void		(*levels2) (int dims, const OmenResidualInput *input,
							const float *r, float threshold, uint8 *levels,
							OmenLinkSums *sums);

	/*
	 * Move levels of n links' dims elements across the nearest place where levels
	 * change, if that makes error / <level, r>^2 less, and the sums over levels
	 * with them (but for level_mean): of each sixteen the one by which it becomes
	 * least.  n is OMEN_LINKS_AT_A_TIME at most.
	 */
	void		(*move_levels1) (int dims, OmenMove *const *moves, int n);
	void		(*move_levels2) (int dims, OmenMove *const *moves, int n);

	void		(*score_links1) (const OmenLinkQuery *query,
								 const OmenLinkBatch *batch);
	void		(*score_links2) (const OmenLinkQuery *query,
								 const OmenLinkBatch *batch);

	/*
	 * Product codes, one subspace of "planes" planes: table[k] = <x, centroid
	 * k>, and the code k of the least bias[k] - 256 * <x, centroid k>.  Bias
	 * has k in its low byte, so there are no ties; neither may overflow.
	 */
	void		(*pq_table) (int planes, const int16 *x, const int8 *book,
							 int32 *table);
	int			(*pq_nearest) (int planes, const int16 *x, const int8 *book,
							   const int32 *bias);
	/* the sum of tables[i][code[i]] over n tables, which fits 32 bits */
	int32		(*pq_sum) (int n, const int32 *tables, const uint8 *code);
} OmenCodeKernels;

/* The table in force */
extern const OmenCodeKernels *omen_code_kernels;

/* The table of a level, or NULL if this architecture has none */
extern const OmenCodeKernels *omen_code_kernels_of(OmenSimdLevel level);

/* One table per level; used by quant.c and the unit tests only */
extern const OmenCodeKernels omen_code_kernels_generic;
#if defined(__x86_64__)
extern const OmenCodeKernels omen_code_kernels_avx2;
extern const OmenCodeKernels omen_code_kernels_avx512;
extern const OmenCodeKernels omen_code_kernels_vnni;
#endif
#if defined(__aarch64__)
extern const OmenCodeKernels omen_code_kernels_neon;
#endif

#endif							/* OMEN_QUANT_KERNELS_H */
