/*-------------------------------------------------------------------------
 *
 * posting.h
 *	  How postings are coded: blocks of document numbers and frequencies.
 *
 * A posting is a document number (below 2^31, ascending within a term) and a
 * frequency (see bm25.h for its unit).  A term's postings are cut into blocks
 * of 128 and a shorter last one.  How many a block has is not in the block:
 * it follows from how many the term has (omen_posting_block_size).
 *
 *	+--------+------------+---------------+-------------+-------------------+
 *	| widths | exceptions | docs, packed  | tfs, packed | (place, tf - 1)   |
 *	| 1 byte | 1 byte     | n * w bits    | n * v bits  | 2 bytes each      |
 *	+--------+------------+---------------+-------------+-------------------+
 *
 * widths: w (0 - 31) in the low five bits, the number of v in {0, 1, 2, 3, 4,
 * 6, 8, 16} in the high three.  A packed array is a sequence of bits, the
 * lowest of a byte first, in whole bytes.
 *
 * docs: the first less "base", each other less the one before it and less
 * one.  The base of a block is the last number of the block before it, plus
 * one; of the first block, zero.
 *
 * tfs: tf - 1 (modulo 2^16), its lowest v bits.  An exception gives all of
 * tf - 1 in a byte where v bits are too few.  The byte that counts exceptions
 * is there only if the block has at least OMEN_POSTING_MIN_PATCHED postings;
 * shorter ones have no exceptions.  So a term that is in one document of a
 * million takes 4 bytes, and has its place in the entry of the dictionary.
 *
 * All that decodes takes whatever bytes it gets: it reads no byte beyond
 * "size", and returns false for what no encoder wrote.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_POSTING_H
#define OMEN_TEXT_POSTING_H

#define OMEN_POSTING_BLOCK			128
#define OMEN_POSTING_MIN_PATCHED	16

/* No document number is greater */
#define OMEN_MAX_DOC				((uint32) 0x7FFFFFFE)

/* A block of n postings never takes more bytes; n = 128: 754 */
#define OMEN_POSTING_MAX_SIZE(n)	(2 + ((n) * 31 + 7) / 8 + (n) * 2)

/* How many blocks a term of df documents has */
static inline uint32
omen_posting_blocks(uint32 df)
{
	return df / OMEN_POSTING_BLOCK + (df % OMEN_POSTING_BLOCK != 0);
}

/* How many postings are in its block of this number */
static inline int
omen_posting_block_size(uint32 df, uint32 number)
{
	uint32		rest = df - number * OMEN_POSTING_BLOCK;

	return (int) Min(rest, OMEN_POSTING_BLOCK);
}

/*
 * What bounds the scores in a block for any k1, b and average length: two
 * corners.  Each posting has tf <= tf[i] and length >= length[i] for one of
 * them.  In codes that round outwards (omen_tf_code, omen_length_code in
 * bm25.h); on disk as it is.
 */
typedef struct OmenBlockBound
{
	uint8		tf[2];
	uint8		length[2];
} OmenBlockBound;

/*
 * What is known of a block without reading it, as on disk: 14 bytes.  The
 * place is the access method's: nothing here looks into it.  A term with one
 * block only needs no such entry.
 */
typedef struct OmenSkipData
{
	uint16		last_doc_low;
	uint16		last_doc_high;
	uint16		page_low;
	uint16		page_high;
	uint16		offset;
	OmenBlockBound bound;
} OmenSkipData;

static inline uint32
omen_skip_last_doc(const OmenSkipData *skip)
{
	return (uint32) skip->last_doc_high << 16 | skip->last_doc_low;
}

static inline uint32
omen_skip_page(const OmenSkipData *skip)
{
	return (uint32) skip->page_high << 16 | skip->page_low;
}

static inline void
omen_skip_set(OmenSkipData *skip, uint32 last_doc, uint32 page, uint16 offset,
			  OmenBlockBound bound)
{
	skip->last_doc_low = (uint16) last_doc;
	skip->last_doc_high = (uint16) (last_doc >> 16);
	skip->page_low = (uint16) page;
	skip->page_high = (uint16) (page >> 16);
	skip->offset = offset;
	skip->bound = bound;
}

/*
 * Encode n (1 to 128) postings; docs ascend strictly from base on.  Returns
 * the number of bytes written to out, at most OMEN_POSTING_MAX_SIZE(n).
 */
extern Size omen_posting_encode(const uint32 *docs, const uint16 *tfs, int n,
								uint32 base, uint8 *out);

/*
 * How many bytes a block of n postings takes, of "size" that may be read from
 * its start on; 0 if it is none.
 */
extern Size omen_posting_size(const uint8 *block, Size size, int n);

/*
 * The document numbers of a block, of which "size" bytes or more may be read.
 * False unless all are below "end" (at most OMEN_MAX_DOC + 1).  docs and tfs
 * have room for 128 values; what is there beyond n is undefined.
 */
extern bool omen_posting_decode_docs(const uint8 *block, Size size, int n,
									 uint32 base, uint32 end, uint32 *docs);
extern bool omen_posting_decode_tfs(const uint8 *block, Size size, int n,
									uint16 *tfs);

#endif							/* OMEN_TEXT_POSTING_H */
