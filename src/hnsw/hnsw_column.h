/*-------------------------------------------------------------------------
 *
 * hnsw_column.h
 *	  Keys of nodes by their numbers: the key column, and by key: its lists.
 *
 * Drawn in hnsw_page.h.  The column tells of a thousand nodes which of them a
 * filter allows for the price of one page, where their slots would be two
 * hundred.  For every live node it has what the slot has (H12).
 *
 * A list tells which nodes have a key without looking at others.  It is of the
 * nodes that a bulk build has written.  Where the column has pages that have
 * changed since, those decide (H13).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_COLUMN_H
#define OMEN_HNSW_COLUMN_H

#include "hnsw/hnsw.h"

/* Chunk of the column that has a number */
static inline uint32
omen_column_chunk(uint32 number)
{
	return number / OMEN_KEYS_PER_PAGE;
}

/* Set an entry of a page copy */
static inline void
omen_column_put(OmenKeyPageData *page, uint32 at, bool null, uint64 code)
{
	uint64		bit = UINT64CONST(1) << (at % 64);

	page->codes[at] = code;
	if (null)
		page->nulls[at / 64] |= bit;
	else
		page->nulls[at / 64] &= ~bit;
	page->nodes[at / 64] |= bit;
}

/*
 * Enter the keys of a node that is about to be written, before its slot has
 * it.  The caller holds the slot's page exclusively locked.
 */
extern void omen_column_set(Relation index, OmenHnswIndex *hnsw,
							uint32 number, const OmenHnswKeys *keys);

/* Has the column these keys for a number? */
extern bool omen_column_has(Relation index, OmenHnswIndex *hnsw,
							uint32 number, const OmenHnswKeys *keys);

/*
 * See anew which pages there are for so many chunks, and which have changed.  A
 * scan does so before it calls what follows.
 */
extern void omen_column_refresh(Relation index, OmenHnswIndex *hnsw,
								uint32 nchunks);

/*
 * Share of the column's pages that have changed since the lists were made; is
 * this one, of a key of a chunk, among them?
 */
extern double omen_column_newer_share(const OmenHnswIndex *hnsw);
extern bool omen_column_is_newer(const OmenHnswIndex *hnsw, uint32 chunk,
								 int key);

/* Of so many chunks, how many there are up to the last one that has nodes */
extern uint32 omen_column_chunks(const OmenHnswIndex *hnsw, uint32 nchunks);

/*
 * Of the nodes of a chunk, of n words of 64 from one on, clear the bits of those
 * that a filter does not allow, and of numbers that are none.
 */
extern void omen_column_filter(Relation index, OmenHnswIndex *hnsw,
							   const OmenKeyPredicate *predicate,
							   uint32 chunk, int from, int n, uint64 *bits);

/* The same of one node */
extern bool omen_column_test(Relation index, OmenHnswIndex *hnsw,
							 const OmenKeyPredicate *predicate,
							 uint32 number);

/* Has it this code and null-ness of one key? */
extern bool omen_column_has_key(Relation index, OmenHnswIndex *hnsw,
								uint32 number, int key, bool null,
								uint64 code);

/* That will be tested soon */
extern void omen_column_prefetch(OmenHnswIndex *hnsw,
								 const OmenKeyPredicate *predicate,
								 uint32 number);

/* Share of the nodes that a filter may allow, from a sample of the chunks */
extern double omen_column_share(Relation index, OmenHnswIndex *hnsw,
								const OmenKeyPredicate *predicate,
								uint32 nchunks);

/* hnsw_keylist.c */

/* Entries of a list, from one on, up to another */
typedef struct OmenKeySpan
{
	uint64		from;
	uint64		end;
} OmenKeySpan;

/* The entries that meet a condition, ascending and without overlaps */
typedef struct OmenKeySpans
{
	int			key;
	int			n;
	OmenKeySpan *spans;
	double		count;			/* entries in all of them */
} OmenKeySpans;

static inline bool
omen_keylist_exists(const OmenHnswMetaPageData *meta)
{
	return meta->nkeys > 0 && BlockNumberIsValid(meta->list_start);
}

static inline uint32
omen_keylist_pages(const OmenHnswMetaPageData *meta)
{
	return (uint32) ((meta->built_nodes + OMEN_KEYLIST_ENTRIES - 1) /
					 OMEN_KEYLIST_ENTRIES);
}

/* Could the metapage's numbers be those of lists? */
static inline bool
omen_keylist_is_valid(const OmenHnswMetaPageData *meta)
{
	return !BlockNumberIsValid(meta->list_start) ||
		(meta->nkeys > 0 && BlockNumberIsValid(meta->list_heads) &&
		 meta->built_nodes > 0 &&
		 meta->built_nodes < UINT64CONST(1) << OMEN_LINK_NUMBER_BITS);
}

/* Bytes of the DATA pages of all lists */
static inline Size
omen_keylist_heads_size(const OmenHnswMetaPageData *meta)
{
	return (Size) meta->nkeys * (1 + omen_keylist_pages(meta)) *
		sizeof(uint64);
}

/* False if lists do not tell.  Allocates in the current memory context. */
extern bool omen_keylist_find(Relation index, OmenHnswIndex *hnsw,
							  const OmenKeyCondition *condition,
							  OmenKeySpans *spans);

/*
 * How much of these entries are nodes that follow each other, from a sample: for
 * those it takes little to set their bits.
 */
extern double omen_keylist_run_share(Relation index, OmenHnswIndex *hnsw,
									 const OmenKeySpans *spans);

/* Set the bits of these entries' nodes */
extern void omen_keylist_mark(Relation index, OmenHnswIndex *hnsw,
							  const OmenKeySpans *spans, uint32 nbits,
							  uint64 *bits);

/* Nodes of entries that are as far from each other, up to max; returns how many */
extern int	omen_keylist_sample(Relation index, OmenHnswIndex *hnsw,
								const OmenKeySpans *spans, uint32 nbits,
								uint32 *numbers, int max);

/* Entries that are not what the column has where that is no newer (H13) */
extern uint64 omen_keylist_problems(Relation index, OmenHnswIndex *hnsw);

/*
 * hnsw_column_allow.c: the nodes that a filter allows; of those that are in the
 * set already, if it is a bitset, else of all.  The set refers to the predicate
 * from then on, and to the index, which must stay open; its bits are its own.
 * Allocates in the current memory context.
 */
extern void omen_column_allow(Relation index, OmenHnswIndex *hnsw,
							  const OmenKeyPredicate *predicate,
							  OmenAllowSet *set);

#endif							/* OMEN_HNSW_COLUMN_H */
