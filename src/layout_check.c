/*-------------------------------------------------------------------------
 *
 * layout_check.c
 *	  Sizes and offsets of everything that is written to disk, pinned at
 *	  compile time.  A change here is a new format version.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bm25/bm25_page.h"
#include "bm25/bm25_query.h"
#include "hnsw/hnsw_key.h"
#include "hnsw/hnsw_page.h"
#include "hnsw/hnsw_range.h"
#include "quant/quant.h"
#include "storage/page.h"
#include "text/posting.h"
#include "types/halfvec.h"
#include "types/sparsevec.h"
#include "types/vector.h"

/* Codes of vectors and postings are read as words, in the order of bytes */
#ifdef WORDS_BIGENDIAN
#error "omendb writes little-endian pages and codes, for little-endian processors"
#endif

#define CHECK_SIZE(type, size) \
	StaticAssertDecl(sizeof(type) == (size), \
					 "size of " #type " on disk has changed")
#define CHECK_OFFSET(type, field, offset) \
	StaticAssertDecl(offsetof(type, field) == (offset), \
					 "offset of " #type "." #field " on disk has changed")

/* Values: pgvector's layouts */
CHECK_OFFSET(OmenVector, dim, 4);
CHECK_OFFSET(OmenVector, x, 8);
CHECK_OFFSET(OmenHalfvec, dim, 4);
CHECK_OFFSET(OmenHalfvec, x, 8);
CHECK_OFFSET(OmenSparsevec, dim, 4);
CHECK_OFFSET(OmenSparsevec, nnz, 8);
CHECK_OFFSET(OmenSparsevec, indices, 16);

/* Pages */
CHECK_SIZE(OmenPageOpaqueData, 24);
CHECK_OFFSET(OmenPageOpaqueData, kind, 0);
CHECK_OFFSET(OmenPageOpaqueData, format, 2);
CHECK_OFFSET(OmenPageOpaqueData, generation, 4);
CHECK_OFFSET(OmenPageOpaqueData, next, 8);
CHECK_OFFSET(OmenPageOpaqueData, owner, 12);
CHECK_OFFSET(OmenPageOpaqueData, used, 16);
CHECK_OFFSET(OmenPageOpaqueData, page_id, 22);

/* Codes */
CHECK_SIZE(OmenCodeShape, 40);
CHECK_OFFSET(OmenCodeShape, dims, 4);
CHECK_OFFSET(OmenCodeShape, seed, 32);
CHECK_SIZE(OmenOwnFactors, 16);
CHECK_SIZE(OmenSparsePayload, 8);

/* omenhnsw */
CHECK_OFFSET(OmenHnswMetaPageData, shape, 8);
CHECK_OFFSET(OmenHnswMetaPageData, max_norm2, 48);
CHECK_OFFSET(OmenHnswMetaPageData, m, 52);
CHECK_OFFSET(OmenHnswMetaPageData, flags, 58);
CHECK_OFFSET(OmenHnswMetaPageData, max_links, 60);
CHECK_OFFSET(OmenHnswMetaPageData, mean_start, 72);
CHECK_OFFSET(OmenHnswMetaPageData, entry_blocks, 76);
CHECK_OFFSET(OmenHnswMetaPageData, nentries, 340);
CHECK_OFFSET(OmenHnswMetaPageData, built_nodes, 352);
CHECK_OFFSET(OmenHnswMetaPageData, tidmap_roots, 360);
CHECK_OFFSET(OmenHnswMetaPageData, codebook_start, 1000);
CHECK_OFFSET(OmenHnswMetaPageData, nkeys, 1008);
CHECK_OFFSET(OmenHnswMetaPageData, key_kinds, 1009);
CHECK_OFFSET(OmenHnswMetaPageData, list_start, 1024);
CHECK_OFFSET(OmenHnswMetaPageData, list_heads, 1028);
CHECK_OFFSET(OmenHnswMetaPageData, nranges, 1032);
CHECK_OFFSET(OmenHnswMetaPageData, range_size, 1040);
CHECK_OFFSET(OmenHnswMetaPageData, code_start, 1052);
CHECK_SIZE(OmenHnswMetaPageData, 1056);
CHECK_OFFSET(OmenRangeCodeData, code, 4);
CHECK_OFFSET(OmenHnswEntryData, pair, 8);
CHECK_SIZE(OmenHnswSlotData, 32);
CHECK_OFFSET(OmenHnswSlotData, key_nulls, 5);
CHECK_OFFSET(OmenHnswSlotData, tids, 8);
CHECK_OFFSET(OmenHnswSlotData, more_tids, 20);
CHECK_OFFSET(OmenHnswSlotData, chain, 24);
CHECK_OFFSET(OmenHnswSlotData, own_bytes, 28);

/* omenbm25 */
CHECK_SIZE(OmenTextUnits, 10);
CHECK_SIZE(OmenBm25LaneData, 24);
CHECK_SIZE(OmenBm25SegmentEntryData, 32);
CHECK_OFFSET(OmenBm25SegmentEntryData, level, 20);
CHECK_OFFSET(OmenBm25SegmentEntryData, length, 24);
CHECK_SIZE(OmenBm25ExtentData, 16);
CHECK_OFFSET(OmenBm25ExtentData, since, 8);
CHECK_OFFSET(OmenBm25MetaPageData, units, 8);
CHECK_OFFSET(OmenBm25MetaPageData, nsegments, 18);
CHECK_OFFSET(OmenBm25MetaPageData, nextents, 24);
CHECK_OFFSET(OmenBm25MetaPageData, lanes, 28);
CHECK_OFFSET(OmenBm25MetaPageData, segments, 128);
CHECK_OFFSET(OmenBm25MetaPageData, extents, 3968);
CHECK_SIZE(OmenBm25MetaPageData, 7488);
CHECK_SIZE(OmenBm25DocData, 16);
CHECK_OFFSET(OmenBm25DocData, flags, 6);
CHECK_OFFSET(OmenBm25DocData, nterms, 12);
CHECK_SIZE(OmenBm25DocTermData, 8);
CHECK_SIZE(OmenBm25RunData, 8);
CHECK_OFFSET(OmenBm25SegmentHeaderData, length, 8);
CHECK_OFFSET(OmenBm25SegmentHeaderData, nterms, 24);
CHECK_OFFSET(OmenBm25SegmentHeaderData, runs, 64);
CHECK_SIZE(OmenBm25TermsData, 8);
CHECK_OFFSET(OmenBm25Query, index, 4);
CHECK_OFFSET(OmenBm25Query, query, 20);

StaticAssertDecl(sizeof(OmenBm25MetaPageData) <= OMEN_PAGE_CONTENT,
				 "metapage of omenbm25 must fit a page");
StaticAssertDecl(BLCKSZ != 8192 ||
				 (OMEN_BM25_LENGTHS_PER_PAGE == 4072 &&
				  OMEN_BM25_ROWS_PER_PAGE == 1357),
				 "geometry of omenbm25 on disk has changed");
StaticAssertDecl(OMEN_PAGE_PENDING == 13 && OMEN_PAGE_ALIVE == 19,
				 "numbers of the kinds of pages on disk have changed");

StaticAssertDecl(OMEN_KEY_ARRAY == 15 && OMEN_KEY_INT8 == 4,
				 "numbers of the kinds of keys on disk have changed");
StaticAssertDecl(OMEN_HNSW_MAX_KEYS <= 8, "NULLs of keys must fit a byte");

/* A slot's keys and own code are MAXALIGNed */
StaticAssertDecl(OMEN_SLOT_HEADER % MAXIMUM_ALIGNOF == 0,
				 "slot header must keep what follows aligned");

/* The key column and lists */
StaticAssertDecl(sizeof(OmenKeyPageData) <= OMEN_PAGE_CONTENT &&
				 sizeof(OmenKeyDirPageData) <= OMEN_PAGE_CONTENT &&
				 sizeof(OmenKeyListPageData) <= OMEN_PAGE_CONTENT,
				 "pages of keys must fit");
StaticAssertDecl(BLCKSZ != 8192 ||
				 (OMEN_KEYS_PER_PAGE == 960 && OMEN_KEYDIR_ENTRIES == 1952 &&
				  OMEN_KEYLIST_ENTRIES == 678),
				 "geometry of the key column on disk has changed");
StaticAssertDecl(OMEN_KEYS_PER_PAGE % 64 == 0,
				 "a page of the key column must be whole words of a bitset");

/* The metapage fits its page, the list of a link's bits its word */
StaticAssertDecl(BLCKSZ < 8192 ||
				 sizeof(OmenHnswMetaPageData) + sizeof(OmenHnswKeyDirsData) <=
				 OMEN_PAGE_CONTENT, "metapage must fit a page");
StaticAssertDecl(BLCKSZ != 8192 ||
				 (OMEN_TIDMAP_BLOCKS == 254 && OMEN_TIDMAP_PLANES == 37),
				 "geometry of the TID map on disk has changed");
StaticAssertDecl(((uint64) MaxBlockNumber / OMEN_TIDMAP_BLOCKS + 1) *
				 OMEN_TIDMAP_PLANES <= PG_UINT32_MAX,
				 "numbers of leaves must fit 32 bits");
StaticAssertDecl(BLCKSZ < 8192 ||
				 ((uint64) MaxBlockNumber / OMEN_TIDMAP_BLOCKS + 1) *
				 OMEN_TIDMAP_PLANES <= OMEN_TIDMAP_LEAVES,
				 "the TID map must reach every block of a heap");
StaticAssertDecl(OMEN_LINK_NUMBER_BITS + 4 == 32,
				 "a link is a number and a version");
StaticAssertDecl(OMEN_MAX_LINKS <= PG_UINT8_MAX,
				 "number of links must fit a byte");

/* Text: what the entries of blocks of postings hold */
CHECK_SIZE(OmenBlockBound, 4);
CHECK_OFFSET(OmenBlockBound, length, 2);
CHECK_SIZE(OmenSkipData, 14);
CHECK_OFFSET(OmenSkipData, page_low, 4);
CHECK_OFFSET(OmenSkipData, offset, 8);
CHECK_OFFSET(OmenSkipData, bound, 10);
StaticAssertDecl(OMEN_POSTING_BLOCK == 128 && OMEN_POSTING_MIN_PATCHED == 16,
				 "blocks of postings on disk have changed");
