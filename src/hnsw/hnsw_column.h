/*-------------------------------------------------------------------------
 *
 * hnsw_column.h
 *	  The key column: keys of nodes by their numbers.
 *
 * Drawn in hnsw_page.h.  It tells of a thousand nodes which of them a filter
 * allows for the price of one page, where their slots would be two hundred.
 * For every live node it has what the slot has (H12).
 *
 * It covers the nodes that a bulk build has written, and those that have taken
 * the slots of such nodes since.  Of others, only the slot tells.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_COLUMN_H
#define OMEN_HNSW_COLUMN_H

#include "hnsw/hnsw.h"

/* Is there one? */
static inline bool
omen_column_exists(const OmenHnswMetaPageData *meta)
{
	return meta->nkeys > 0 && BlockNumberIsValid(meta->key_start);
}

/* Does it have this number? */
static inline bool
omen_column_covers(const OmenHnswMetaPageData *meta, uint32 number)
{
	return omen_column_exists(meta) && number >= meta->key_first &&
		number - meta->key_first < meta->built_nodes;
}

/* Pages of a column of so many nodes */
static inline uint64
omen_column_pages(const OmenHnswMetaPageData *meta)
{
	return (meta->built_nodes + OMEN_KEYS_PER_PAGE - 1) /
		OMEN_KEYS_PER_PAGE * meta->nkeys;
}

/* Set an entry of a page copy */
static inline void
omen_column_put(OmenKeyPageData *page, uint32 at, bool null, uint64 code)
{
	uint8		bit = 1 << (at % 8);

	page->codes[at] = code;
	if (null)
		page->nulls[at / 8] |= bit;
	else
		page->nulls[at / 8] &= ~bit;
}

/*
 * Enter the keys of a node that is about to be written, before its slot has
 * it.  The caller holds the slot's page exclusively locked.
 */
extern void omen_column_set(Relation index, OmenHnswIndex *hnsw,
							uint32 number, const OmenHnswKeys *keys);

/* Has the column these keys for a number that it covers? */
extern bool omen_column_has(Relation index, OmenHnswIndex *hnsw,
							uint32 number, const OmenHnswKeys *keys);

/* Share of the nodes that a filter may allow, from a sample */
extern double omen_column_share(Relation index, OmenHnswIndex *hnsw,
								const OmenKeyPredicate *predicate);

/*
 * Of n nodes from a number on, all of which the column covers, clear the bits
 * of those that a filter does not allow.  The first node has bit "bit".
 */
extern void omen_column_filter(Relation index, OmenHnswIndex *hnsw,
							   const OmenKeyPredicate *predicate,
							   uint32 number, uint32 n, uint64 *bits,
							   uint32 bit);

/*
 * hnsw_column_allow.c: the nodes that a filter allows.  A bitset if that is
 * soon made and spares more than it takes, else a test of each slot.
 */
extern void omen_column_allow(Relation index, OmenHnswIndex *hnsw,
							  const OmenKeyPredicate *predicate,
							  OmenAllowSet *set);

#endif							/* OMEN_HNSW_COLUMN_H */
