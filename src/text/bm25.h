/*-------------------------------------------------------------------------
 *
 * bm25.h
 *	  The score of a document for a query.
 *
 *	score = sum over the query's terms, in the query's order, of
 *
 *		weight * idf * (k1 + 1) * tf / (tf + k1 * (1 - b + b * length / avgdl))
 *		idf = ln(1 + (N - df + 0.5) / (df + 0.5))
 *
 * tf is the number of positions a term has in a document, length the number
 * of positions of all its terms, each position counted with the weight of its
 * class (A to D).  Both are stored as integers, in units: a position of class
 * c counts units[c], and "unit" units are a position of weight 1.  With all
 * weights 1, unit is 1 and both are exact counts.  Else unit is the least
 * number up to 256 for which all weights are whole (10 for 0.1, 0.2, 0.4, 1);
 * if there is none, weights are rounded to the finest unit that fits.  So the
 * score has no other error than that of doubles: a document's is the same
 * number whichever way it is reached, and may be compared.
 *
 * Sources: Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25
 * and Beyond" (2009), 3.4 and 3.6 (weights); idf as Lucene has it, which is
 * never negative.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_BM25_H
#define OMEN_TEXT_BM25_H

#include "port/pg_bitutils.h"

#include "text/posting.h"

/* Classes of positions in the order of a tsvector's: D, C, B, A */
#define OMEN_TEXT_CLASSES	4

/* A tsvector has at most so many positions of a lexeme */
#define OMEN_MAX_POSITIONS	255

/* Weights of classes are from 0 to this */
#define OMEN_MAX_CLASS_WEIGHT	100.0

/* How positions are counted; a part of what an index is */
typedef struct OmenTextUnits
{
	uint16		unit;			/* that weight 1 has */
	uint16		units[OMEN_TEXT_CLASSES];
} OmenTextUnits;

/* weights[] from 0 to OMEN_MAX_CLASS_WEIGHT, one of them above 0 */
extern OmenTextUnits omen_text_units(const double *weights);

/* Frequency of a term with so many positions of each class, within uint16 */
static inline uint16
omen_text_tf(const OmenTextUnits *u, const int *positions)
{
	uint32		sum = 0;

	for (int i = 0; i < OMEN_TEXT_CLASSES; i++)
		sum += (uint32) u->units[i] * (uint32) positions[i];
	return (uint16) Min(sum, 65535);
}

/* What the scores of one query depend on */
typedef struct OmenBm25
{
	double		k1;				/* from 0 */
	double		b;				/* 0 to 1 */
	double		avgdl;			/* average length, in units, above 0 */
	uint16		unit;
} OmenBm25;

extern double omen_bm25_idf(double ndocs, double df);

/*
 * One term's part of the score; weight is that of the term in the query, times
 * idf.  Not inline: compilers for some CPUs would fuse multiplications with
 * additions, each time in another way, and equal scores would differ.
 */
extern double omen_bm25_term(const OmenBm25 *bm25, double weight, double tf,
							 double length);

/* What no term's part exceeds, in any document */
static inline double
omen_bm25_limit(const OmenBm25 *bm25, double weight)
{
	return weight * (bm25->k1 + 1);
}

/*
 * Lengths of documents are kept in 16 bits each, in an array by document
 * number.  The greatest value says that the length is elsewhere.
 */
#define OMEN_LONG_LENGTH	65535

/*
 * A byte for a frequency or a length: exact below 32, then 16 steps for each
 * power of two.  tf is rounded up, length down (and is at most 524,287).
 */
#define OMEN_EXACT_CODES	32
#define OMEN_EXACT_BITS		5
#define OMEN_STEP_BITS		4

static inline uint32
omen_code_down(uint32 value)
{
	int			power;

	if (value < OMEN_EXACT_CODES)
		return value;
	power = pg_leftmost_one_pos32(value);
	return OMEN_EXACT_CODES + ((power - OMEN_EXACT_BITS) << OMEN_STEP_BITS) +
		(value >> (power - OMEN_STEP_BITS) & ((1 << OMEN_STEP_BITS) - 1));
}

static inline uint8
omen_length_code(uint32 length)
{
	uint32		code = omen_code_down(length);

	return (uint8) Min(code, 255);
}

extern uint8 omen_tf_code(uint16 tf);

/* What stands for a code: no tf of that code is greater, no length less */
extern uint32 omen_value_of_code(uint8 code);

/* The bound of n postings with these frequencies and lengths of documents */
extern OmenBlockBound omen_block_bound(const uint16 *tfs,
									   const uint32 *lengths, int n);

/* A bound for all that either bounds */
extern OmenBlockBound omen_block_bound_join(OmenBlockBound a,
											OmenBlockBound b);

#endif							/* OMEN_TEXT_BM25_H */
