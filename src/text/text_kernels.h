/*-------------------------------------------------------------------------
 *
 * text_kernels.h
 *	  Kernels over blocks of postings.
 *
 * No array needs alignment beyond its element's.  "n" is at most 128.  Arrays
 * of a block have room for 128 elements; what kernels write beyond n is
 * undefined.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_KERNELS_H
#define OMEN_TEXT_KERNELS_H

#include "base/cpu.h"
#include "text/posting.h"

/* Greatest width that unpack_docs takes: 128 such gaps do not wrap around */
#define OMEN_UNPACK_MAX_WIDTH	24

/* Bytes beyond a packed array that may be read */
#define OMEN_UNPACK_PAD			128

/* Documents that share a mark: see mark and collect */
#define OMEN_TEXT_LINE			16

/* Classes of lengths that bounds are told apart by */
#define OMEN_LENGTHS			32

/* About scores, in float: weight * tf / (tf + constant + slope * length) */
typedef struct OmenScoreForm
{
	float		weight;
	float		constant;
	float		slope;
} OmenScoreForm;

typedef struct OmenTextKernels
{
	const char *name;

	/* Numbers of n documents from their gaps: base + gap, then + 1 + gap */
	void		(*unpack_docs) (const uint8 *packed, int width, int n,
								uint32 base, uint32 *docs);
	/* n frequencies, each one more than its "width" (0 - 16) bits */
	void		(*unpack_tfs) (const uint8 *packed, int width, int n,
							   uint16 *tfs);

	/*
	 * Scores of n documents, at most a block's, the lengths of which are in
	 * lengths, from that of "first" on.  False if any length is
	 * OMEN_LONG_LENGTH: its score is wrong.
	 */
	bool		(*score) (const OmenScoreForm *form, int n, const uint16 *tfs,
						  const uint32 *docs, const uint16 *lengths,
						  uint32 first, float *scores);

	/* How many of n ascending documents are before "doc" */
	int			(*lower) (int n, const uint32 *docs, uint32 doc);

	/*
	 * Raise bounds[OMEN_LENGTHS] to what a corner of a block bounds, for
	 * lengths of each class from "from" on, whose least norms are given:
	 * weight * tf / (tf + norm).
	 */
	void		(*raise) (const float *norms, float weight, float tf,
						  int from, float *bounds);

	/*
	 * The places of sums that are "least" (above 0) or more, ascending, with
	 * these sums; all sums are cleared, and so are the marks.  Only sums of
	 * marked lines of 16 are looked at, by marks of 1; lines are a multiple
	 * of 64.  Returns how many there are.
	 */
	int			(*collect) (int lines, uint8 *marks, float *sums, float least,
							uint32 *places, float *found);
} OmenTextKernels;

/* The table in force */
extern const OmenTextKernels *omen_text_kernels;

/* Choose it for this machine and follow later changes; called at load */
extern void omen_text_init_kernels(void);

/* The table of a level, or NULL if this architecture has none */
extern const OmenTextKernels *omen_text_kernels_of(OmenSimdLevel level);

/* One table per level; used by text_kernels.c only */
extern const OmenTextKernels omen_text_kernels_generic;
#if defined(__x86_64__)
extern const OmenTextKernels omen_text_kernels_avx2;
extern const OmenTextKernels omen_text_kernels_avx512;
#endif
#if defined(__aarch64__)
extern const OmenTextKernels omen_text_kernels_neon;
#endif

#endif							/* OMEN_TEXT_KERNELS_H */
