/*-------------------------------------------------------------------------
 *
 * cursor.h
 *	  A walk over the postings of a term, wherever these lie.
 *
 * The access method says what it has in OmenPostingList and OmenDocOps; what
 * reads it are topk.h and match.h, over OmenCursor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_CURSOR_H
#define OMEN_TEXT_CURSOR_H

#include "text/bm25.h"

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
	void	   *list;			/* the access method's; one for each cursor */
	uint32		df;				/* 0: the segment has no such term */
	OmenBlockBound bound;		/* of all; not used with one block */
} OmenPostingList;

/* What is asked about documents.  All may throw errors. */
typedef struct OmenDocOps
{
	/*
	 * The lengths of documents *first to *end - 1, of which "doc" is one, as
	 * many as lie in a row.  Two bytes beyond the last may be read as well.
	 * Valid until the next call.
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

#endif							/* OMEN_TEXT_CURSOR_H */
