/*-------------------------------------------------------------------------
 *
 * hnsw_column_allow.c
 *	  From conditions on keys to an allow-set.
 *
 * NOTES
 *	  A walk tests the slots it visits, and visits the more of them the fewer
 *	  are allowed.  If few are, it is cheaper to ask the key column which ones,
 *	  and measure these.  The bitset has all nodes that were there when the
 *	  scan began and have the keys: of those inserted later, the snapshot sees
 *	  no rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "hnsw/hnsw_column.h"

/*
 * Pages read by a walk that is to return some ten rows, of which a share of
 * the nodes is allowed; and what it takes to measure one node that is known
 * to be allowed.  Both were simulated on 1M x 128.
 */
#define WALK_PAGES(share)	(45.0 + 15.0 / (share))
#define NODE_PAGES			0.2

static double bitset_pages(Relation index, const OmenHnswIndex *hnsw,
						   const OmenKeyPredicate *predicate, double share);
static void make_bitset(Relation index, OmenHnswIndex *hnsw,
						const OmenKeyPredicate *predicate, OmenAllowSet *set);
static void set_bits(uint64 *bits, uint32 from, uint32 end);
static void add_uncovered(Relation index, OmenHnswIndex *hnsw,
						  const OmenKeyPredicate *predicate,
						  BlockNumber block, uint64 *bits);
static BlockNumber covered_end(const OmenHnswIndex *hnsw);
static BlockNumber column_end(const OmenHnswMetaPageData *meta);

void
omen_column_allow(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeyPredicate *predicate, OmenAllowSet *set)
{
	double		nodes = (double) RelationGetNumberOfBlocks(index) *
		hnsw->layout.slots_per_page;
	double		share = 1.0;

	memset(set, 0, sizeof(OmenAllowSet));
	set->kind = OMEN_ALLOW_KEYS;
	set->keys = predicate;
	set->estimated = true;
	if (omen_column_exists(&hnsw->meta))
	{
		share = omen_column_share(index, hnsw, predicate);
		nodes = Max(nodes - hnsw->meta.built_nodes, 0) / 2 +
			hnsw->meta.built_nodes;
		if (bitset_pages(index, hnsw, predicate, share) <
			WALK_PAGES(Max(share, 1 / nodes)))
		{
			make_bitset(index, hnsw, predicate, set);
			return;
		}
	}
	set->cardinality = share * nodes;
}

/* What a bitset and the nodes in it cost, in pages */
static double
bitset_pages(Relation index, const OmenHnswIndex *hnsw,
			 const OmenKeyPredicate *predicate, double share)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	double		column = (double) meta->built_nodes / OMEN_KEYS_PER_PAGE;
	double		uncovered = RelationGetNumberOfBlocks(index) -
		covered_end(hnsw) - (column_end(meta) - meta->map_start);

	return column * predicate->nconditions + uncovered +
		share * meta->built_nodes * NODE_PAGES;
}

static void
make_bitset(Relation index, OmenHnswIndex *hnsw,
			const OmenKeyPredicate *predicate, OmenAllowSet *set)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	uint32		nbits = nblocks * hnsw->layout.slots_per_page;
	Size		words = (Size) nbits / 64 + 1;
	uint64	   *bits = palloc_extended(words * sizeof(uint64),
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	uint32		end = meta->key_first + (uint32) meta->built_nodes;

	/* numbers that the column has are allowed until it says otherwise */
	set_bits(bits, meta->key_first, end);
	omen_column_filter(index, hnsw, predicate, meta->key_first,
					   (uint32) meta->built_nodes, bits, meta->key_first);

	for (BlockNumber block = covered_end(hnsw); block < nblocks; block++)
	{
		if (block == meta->map_start)
			block = column_end(meta);
		if (block < nblocks)
			add_uncovered(index, hnsw, predicate, block, bits);
	}
	set->kind = OMEN_ALLOW_BITSET;
	set->nbits = nbits;
	set->bits = bits;
	set->cardinality = (double) pg_popcount((char *) bits,
											words * sizeof(uint64));
}

/* Set the bits from one number on, up to another; whole words at once */
static void
set_bits(uint64 *bits, uint32 from, uint32 end)
{
	uint32		words;

	for (; from < end && from % 64 != 0; from++)
		bits[from / 64] |= UINT64CONST(1) << (from % 64);
	words = (end - from) / 64;
	memset(&bits[from / 64], 0xFF, words * sizeof(uint64));
	for (from += words * 64; from < end; from++)
		bits[from / 64] |= UINT64CONST(1) << (from % 64);
}

/* Of a page that the column does not cover, the nodes that are allowed */
static void
add_uncovered(Relation index, OmenHnswIndex *hnsw,
			  const OmenKeyPredicate *predicate, BlockNumber block,
			  uint64 *bits)
{
	const OmenHnswLayout *layout = &hnsw->layout;
	OmenPageKind kind;
	Buffer		buffer;

	CHECK_FOR_INTERRUPTS();
	buffer = omen_page_read_any(index, block, OMEN_LOCK_SHARE, NULL, &kind);
	for (int i = 0; kind == OMEN_PAGE_NODE && i < layout->slots_per_page; i++)
	{
		OmenHnswSlot slot = omen_hnsw_page_slot(layout, BufferGetPage(buffer),
												i);
		uint32		number = block * layout->slots_per_page + i;

		if (slot->flags == OMEN_SLOT_USED &&
			omen_hnsw_match_keys(predicate, slot->key_nulls,
								 omen_slot_keys(slot)) != OMEN_KEYS_NO)
			bits[number / 64] |= UINT64CONST(1) << (number % 64);
	}
	omen_page_release(buffer);
}

/* The first block with numbers that the column does not have */
static BlockNumber
covered_end(const OmenHnswIndex *hnsw)
{
	return (hnsw->meta.key_first + (uint32) hnsw->meta.built_nodes) /
		hnsw->layout.slots_per_page;
}

/* The block behind the column */
static BlockNumber
column_end(const OmenHnswMetaPageData *meta)
{
	return meta->key_start + (BlockNumber) omen_column_pages(meta);
}
