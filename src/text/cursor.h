/*-------------------------------------------------------------------------
 *
 * cursor.h
 *	  A walk over the postings of a term, wherever these lie.
 *
 * The access method says what it has in OmenPostingList and OmenDocOps; what
 * reads it are topk.h and match.h, over OmenCursor.
 *
 * A cursor holds one block at a time, decoded as far as it was asked for.  It
 * copies what it gets from the access method, so that no two calls of
 * OmenPostingOps depend on each other, and several cursors may share a list.
 * Entries of blocks are copied as well, in chunks as they are come by, and kept
 * for all cursors over the list (OmenSkips).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_CURSOR_H
#define OMEN_TEXT_CURSOR_H

#include "text/bm25.h"
#include "text/text_kernels.h"

/* How the blocks of a term are reached.  All may throw errors. */
typedef struct OmenPostingOps
{
	/*
	 * The entries of the term's blocks from number "first" on: at least one,
	 * and as many as lie there in a row, which *n says.  Valid until the next
	 * call with this list.  Not called for a term with one block.
	 */
	const OmenSkipData *(*skips) (void *list, uint32 first, uint32 *n);

	/*
	 * The bytes of a block, of which *size may be read, those of the block
	 * itself or more (say, up to the end of the page).  Valid until the next
	 * call with this list.  skip is a copy of the block's entry, NULL for a
	 * term with one block.
	 */
	const uint8 *(*block) (void *list, uint32 number,
						   const OmenSkipData *skip, Size *size);

	/* The block or its entry is not what it should be: does not return */
	void		(*corrupt) (void *list, uint32 number);
} OmenPostingOps;

/* The postings of one term in one segment */
typedef struct OmenPostingList
{
	const OmenPostingOps *ops;
	void	   *list;			/* the access method's */
	uint32		df;				/* 0: the segment has no such term */
	OmenBlockBound bound;		/* of all; not used with one block */
} OmenPostingList;

/* What is asked about documents.  All may throw errors. */
typedef struct OmenDocOps
{
	/*
	 * The lengths of documents *first to *end - 1, of which "doc" is one, as
	 * many as lie in a row.
	 * Valid until the next call, or the end of the search that made the call.
	 */
	const uint16 *(*lengths) (void *docs, uint32 doc, uint32 *first,
							  uint32 *end);

	/* The length of a document whose length is OMEN_LONG_LENGTH there */
	uint32		(*long_length) (void *docs, uint32 doc);

	/* Whether the document's row may be there still; asked of few */
	bool		(*live) (void *docs, uint32 doc);

	/* Its row's TID as a number: block << 16 | offset; asked of few */
	uint64		(*row) (void *docs, uint32 doc);
} OmenDocOps;

/* --- what follows is for topk.c and match.c --- */

#define OMEN_SKIP_CHUNK		512
#define OMEN_NO_BLOCK		UINT32_MAX

typedef struct OmenSkipChunk
{
	bool		bounded;		/* the bounds are made: see topk.c */
	uint32		last_doc[OMEN_SKIP_CHUNK];
	float		bounds[OMEN_SKIP_CHUNK];
	OmenSkipData skips[OMEN_SKIP_CHUNK];
} OmenSkipChunk;

/* The entries of a list's blocks, as far as they have been read */
typedef struct OmenSkips
{
	const OmenPostingList *source;
	uint32		end;			/* documents are below this */
	uint32		nblocks;
	MemoryContext context;		/* of the chunks */
	OmenSkipChunk **chunks;		/* NULL with one block */
	uint32		only_last;		/* last document of the only block, or end - 1 */
} OmenSkips;

typedef struct OmenCursor
{
	OmenSkips  *skips;
	uint32		block;			/* in docs, or OMEN_NO_BLOCK */
	int			n;				/* postings in it */
	bool		has_tfs;
	Size		size;			/* of its bytes */
	uint32		docs[OMEN_POSTING_BLOCK];
	uint16		tfs[OMEN_POSTING_BLOCK];
	uint8		bytes[OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK) + 128];
} OmenCursor;

extern void omen_skips_open(OmenSkips *skips, const OmenPostingList *source,
							uint32 ndocs, MemoryContext context);
extern OmenSkipChunk *omen_skips_load(OmenSkips *skips, uint32 chunk);

/*
 * The first block, from number "from" on, whose last document is doc or a
 * later one; nblocks if there is none.
 */
extern uint32 omen_skips_find(OmenSkips *skips, uint32 from, uint32 doc);

extern void omen_cursor_open(OmenCursor *cursor, OmenSkips *skips);

/* Decode the documents of a block, unless it is there */
extern void omen_cursor_load(OmenCursor *cursor, uint32 block);
extern void omen_cursor_load_tfs(OmenCursor *cursor);

/* The entries with this block's, which is at place block % OMEN_SKIP_CHUNK */
static inline OmenSkipChunk *
omen_skips_chunk(OmenSkips *skips, uint32 block)
{
	OmenSkipChunk *chunk = skips->chunks[block / OMEN_SKIP_CHUNK];

	return likely(chunk != NULL) ? chunk :
		omen_skips_load(skips, block / OMEN_SKIP_CHUNK);
}

/* The last document of a block; as far as known if there is only one */
static inline uint32
omen_skips_last(OmenSkips *skips, uint32 block)
{
	if (skips->chunks == NULL)
		return skips->only_last;
	return omen_skips_chunk(skips, block)->last_doc[block % OMEN_SKIP_CHUNK];
}

/* No document of a block is before this */
static inline uint32
omen_skips_first(OmenSkips *skips, uint32 block)
{
	return block == 0 ? 0 : omen_skips_last(skips, block - 1) + 1;
}

/* The place of the first document from doc on in the block; n if none */
static inline int
omen_cursor_lower(const OmenCursor *cursor, uint32 doc)
{
	return omen_text_kernels->lower(cursor->n, cursor->docs, doc);
}

/* Whether the block in memory is the one that would hold a document */
static inline bool
omen_cursor_covers(const OmenCursor *cursor, uint32 doc)
{
	return cursor->block != OMEN_NO_BLOCK && cursor->docs[0] <= doc &&
		doc <= cursor->docs[cursor->n - 1];
}

/* Whether the list has a document, and where; moves to its block */
extern bool omen_cursor_find(OmenCursor *cursor, uint32 doc, int *place);

#endif							/* OMEN_TEXT_CURSOR_H */
