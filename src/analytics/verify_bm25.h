/*-------------------------------------------------------------------------
 *
 * verify_bm25.h
 *	  What the files that check an omenbm25 index share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_VERIFY_BM25_H
#define OMEN_VERIFY_BM25_H

#include "analytics/verify.h"
#include "bm25/bm25.h"

typedef struct OmenVerifyBm25
{
	OmenVerify *verify;
	OmenBm25Index *bm25;
	OmenBm25MetaPageData meta;

	/* of the segment at hand */
	int			number;			/* of its entry */
	const OmenBm25SegmentEntryData *entry;
	uint64	   *hashes;			/* of what each document has, added up */
	uint64	   *tfs;			/* its frequencies, added up; and SATURATED */
} OmenVerifyBm25;

/* One of the frequencies of a sum is the greatest that can be stored */
#define OMEN_VERIFY_SATURATED	(UINT64CONST(1) << 63)

static inline void
omen_verify_bm25_add_tf(uint64 *sum, uint16 tf)
{
	*sum += tf;
	if (tf == PG_UINT16_MAX)
		*sum |= OMEN_VERIFY_SATURATED;
}

/* What a document has of a lexeme */
extern uint64 omen_verify_bm25_hash(const char *lexeme, int len, uint16 tf);

/* Is a document as long as its terms are frequent? */
extern void omen_verify_bm25_length(OmenVerifyBm25 *state, BlockNumber block,
									int offset, uint32 length, uint64 tfs);

/* The dictionary and the postings of a segment; fills in hashes and tfs */
extern void omen_verify_bm25_terms(OmenVerifyBm25 *state,
								   const OmenBm25Segment *segment,
								   OmenBm25Docs *docs);

#endif							/* OMEN_VERIFY_BM25_H */
