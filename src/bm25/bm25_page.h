/*-------------------------------------------------------------------------
 *
 * bm25_page.h
 *	  What omenbm25 has on its pages.
 *
 * Block 0 is the metapage.  It lists the segments, where the pending area's
 * lanes begin and end, and extents that segments have left behind.
 *
 * Pending area: four lanes, each a chain of PENDING pages from the lane's head
 * to its tail, at least one.  A page's owner is its place in the lane, times
 * four, plus the lane (B2).  Documents are packed from the page's start on and
 * end at pd_lower:
 *
 *	+------------+---------------------+-----------------+------------+----
 *	| OmenBm25DocData | terms, by hash | lexemes' bytes  | next one, 4-aligned
 *	+------------+---------------------+-----------------+------------+----
 *
 * Segment: so many pages, numbered from 0 on, in runs of blocks; owned by the
 * segment's number (B1).  The SEGMENT page comes last and says which section
 * begins where:
 *
 *	TERMS		dictionary, a static B-tree (below)
 *	POSTINGS	blocks of text/posting.h and arrays of OmenSkipData
 *	LENGTHS		uint16 for each document; then uint32 pairs (document,
 *				length) of those that are OMEN_LONG_LENGTH
 *	ROWS		ItemPointerData for each document, ascending
 *	ALIVE		a bit for each document, set when it is dead: the only pages
 *				that change once the segment is published (B3)
 *
 * TERMS page, leaf or inner:
 *
 *	+--------------------+---------+---------+-- ... --+------------------+
 *	| OmenBm25TermsData	 | entry 0 | entry 1 |		   | restarts, uint16 |
 *	+--------------------+---------+---------+-- ... --+------------------+
 *
 *	entry: varint shared, varint rest, rest bytes of the lexeme, payload.
 *	"shared" bytes are those of the entry before; 0 in every 16th entry, whose
 *	offsets the restarts are, the last one first, at the end of the contents.
 *
 *	payload in an inner page: varint page of the child that begins with this
 *	lexeme.  In a leaf: varint of df * 2 + inlined; then
 *		inlined: varint size and the block's bytes,
 *		one block: varint page, varint offset of the block,
 *		more blocks: varint page, varint offset of the skip entries, which go
 *		on at the start of the next page, and OmenBlockBound of all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BM25_PAGE_H
#define OMEN_BM25_PAGE_H

#include "storage/itemptr.h"
#include "storage/page.h"
#include "text/bm25.h"

#define OMEN_BM25_META_BLOCK	0
#define OMEN_BM25_MAGIC			0x4F424D32	/* "OBM2" */
#define OMEN_BM25_VERSION		1

#define OMEN_BM25_LANES			4
#define OMEN_BM25_MAX_SEGMENTS	120
#define OMEN_BM25_MAX_EXTENTS	220

typedef struct OmenBm25LaneData
{
	BlockNumber head;			/* first page */
	uint32		head_owner;		/* its owner */
	BlockNumber tail;			/* last page, or one before it */
	uint32		tail_owner;
	uint32		npages;			/* in the chain */
	uint32		unused;
} OmenBm25LaneData;

typedef struct OmenBm25SegmentEntryData
{
	uint32		id;				/* owner of its pages, never used again */
	BlockNumber header;			/* its SEGMENT page */
	uint32		npages;
	uint32		ndocs;			/* dead ones, too */
	uint32		ndead;
	uint16		level;			/* 0: flushed; n: merged of those below */
	uint16		unused;
	uint64		length;			/* of all documents, in units */
} OmenBm25SegmentEntryData;

/* Blocks that nothing refers to any more */
typedef struct OmenBm25ExtentData
{
	BlockNumber start;
	uint32		npages;
	uint64		since;			/* FullTransactionId: later ones see nothing of
								 * what was here */
} OmenBm25ExtentData;

typedef struct OmenBm25MetaPageData
{
	uint32		magic;
	uint32		version;
	OmenTextUnits units;		/* how positions are counted */
	uint16		nsegments;
	uint32		next_segment;
	uint16		nextents;
	uint16		unused;
	OmenBm25LaneData lanes[OMEN_BM25_LANES];
	uint32		unused2;		/* as a compiler for 64 bits would leave it */
	OmenBm25SegmentEntryData segments[OMEN_BM25_MAX_SEGMENTS];
	OmenBm25ExtentData extents[OMEN_BM25_MAX_EXTENTS];
} OmenBm25MetaPageData;

typedef OmenBm25MetaPageData *OmenBm25MetaPage;

/* The places of a lane's pages differ by this */
#define OMEN_BM25_OWNER_STEP	OMEN_BM25_LANES

#define OMEN_BM25_DOC_ALIGN		4	/* where documents begin */

#define OMEN_BM25_DOC_DEAD		1	/* its row is gone */
#define OMEN_BM25_DOC_PART		2	/* more terms of the document before it */

/* A document in the pending area, or as many of its terms as fit a page */
typedef struct OmenBm25DocData
{
	ItemPointerData tid;
	uint16		flags;
	uint32		length;			/* in units */
	uint16		nterms;
	uint16		size;			/* of all, up to the next document */
} OmenBm25DocData;

typedef struct OmenBm25DocTermData
{
	uint32		hash;			/* of the lexeme, ascending */
	uint16		tf;				/* in units */
	uint16		offset;			/* of the lexeme's bytes from the document's
								 * start on; they end where the next one's
								 * begin, the last one's at "end" */
} OmenBm25DocTermData;

/* Terms of a document and one more, whose offset is where bytes end */
static inline OmenBm25DocTermData *
omen_bm25_doc_terms(OmenBm25DocData *doc)
{
	return (OmenBm25DocTermData *) (doc + 1);
}

/*
 * Is it as long as it says, with so many bytes from it on to the page's end?
 * What a page says must be asked before it is believed.
 */
static inline bool
omen_bm25_doc_fits(OmenBm25DocData *doc, Size room)
{
	return room >= sizeof(OmenBm25DocData) &&
		doc->size <= room &&
		doc->size % OMEN_BM25_DOC_ALIGN == 0 &&
		doc->size >= sizeof(OmenBm25DocData) +
		(doc->nterms + 1) * sizeof(OmenBm25DocTermData);
}

typedef struct OmenBm25RunData
{
	BlockNumber start;
	uint32		npages;
} OmenBm25RunData;

/* Contents of a SEGMENT page, and of those that "next" leads to: more runs */
typedef struct OmenBm25SegmentHeaderData
{
	uint32		id;
	uint32		ndocs;
	uint64		length;			/* of all documents, in units */
	uint64		postings;		/* in all */
	uint32		nterms;
	uint32		dict_root;		/* page */
	uint32		dict_first;		/* first leaf */
	uint32		lengths;		/* first page of each section */
	uint32		long_lengths;
	uint32		nlong;
	uint32		rows;
	uint32		alive;
	uint32		npages;
	uint32		nruns;			/* in all */
	OmenBm25RunData runs[FLEXIBLE_ARRAY_MEMBER];
} OmenBm25SegmentHeaderData;

#define OMEN_BM25_RUNS_PER_PAGE \
	((OMEN_PAGE_CONTENT - offsetof(OmenBm25SegmentHeaderData, runs)) / \
	 sizeof(OmenBm25RunData))

typedef struct OmenBm25TermsData
{
	uint16		nentries;
	uint16		nrestarts;
	uint16		end;			/* of the entries, from the contents' start */
	uint16		level;			/* 0: leaf */
} OmenBm25TermsData;

#define OMEN_BM25_RESTART		16	/* entries from one restart to the next */

/* Longest block that is kept in the dictionary */
#define OMEN_BM25_MAX_INLINE	32

#define OMEN_BM25_LENGTHS_PER_PAGE	(OMEN_PAGE_CONTENT / sizeof(uint16))
#define OMEN_BM25_LONGS_PER_PAGE	(OMEN_PAGE_CONTENT / (2 * sizeof(uint32)))
#define OMEN_BM25_ROWS_PER_PAGE \
	(OMEN_PAGE_CONTENT / sizeof(ItemPointerData))
#define OMEN_BM25_BITS_PER_PAGE		(OMEN_PAGE_CONTENT * 8)
#define OMEN_BM25_SKIPS_PER_PAGE	(OMEN_PAGE_CONTENT / sizeof(OmenSkipData))

#endif							/* OMEN_BM25_PAGE_H */
