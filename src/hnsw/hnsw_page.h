/*-------------------------------------------------------------------------
 *
 * hnsw_page.h
 *	  What an omenhnsw index looks like on disk.
 *
 *	block 0				metapage
 *	next blocks			DATA pages: the rotated mean, float4[code_dims], which may
 *						be elsewhere (hnsw_mean.c); then the codebook of product
 *						codes, int8 (quant_pq.h)
 *	all others			ENTRY pages (listed on the metapage), NODE pages, CHAIN
 *						pages, pages of the TID map, and free pages, in any
 *						order
 *
 * Nodes.  A NODE page is an array of slots of equal size.  The slot at
 * position i of block b has the number b * slots_per_page + i; numbers that
 * fall on other pages name nothing.  A link names a number and the version
 * that the slot had when the link was made (graph.h); a slot's version
 * changes when it is freed, so a stale link leads nowhere instead of to a
 * stranger.
 *
 *	slot, slot_size bytes, a multiple of 8:
 *	+--------+-------+----------+---------+--------+-----------+------------+
 *	| header | keys  | own code | links   | f_add  | f_rescale | link codes |
 *	| 32     | 8 * K | inline   | 4 * L   | 4 * L  | 4 * L     | L * size   |
 *	+--------+-------+----------+---------+--------+-----------+------------+
 *
 * K is nkeys, the number of key columns: keys are the codes (hnsw_key.h) of
 * what all rows of the node have in them, zero where bit k of key_nulls says
 * that it is NULL.  L is max_links.  The factors exist only with RaBitQ link
 * codes, link codes only if the shape has some.  The first nlinks - nscale
 * links are the node's local links, the last nscale its links at its own
 * scale, see src/graph/README.md; ids behind them are zero.  An own code that
 * is longer than own_inline goes on in a list of CHAIN pages, which belong to
 * this one node.
 *
 * A slot can hold heap TIDs of another node instead of a node (flag
 * TIDLIST): header, then ItemPointerData[ntids].  The lists start in the
 * node's more_tids and go on in that of each list slot.
 *
 * TID map.  Leads from a heap TID to the node that has it.  A leaf holds a
 * link for each of 8 consecutive offset numbers (a plane) of as many
 * consecutive heap blocks as fit a page, so pages are dense whether a heap
 * block has few rows or many:
 *
 *	TIDMAP leaf n, n = block / BLOCKS * PLANES + (offset - 1) / 8:
 *	+-------------------------+-------------------------+-----
 *	| 8 links of 1st block    | 8 links of 2nd block    | ...	(254 blocks)
 *	+-------------------------+-------------------------+-----
 *
 *	TIDDIR directory d: block number of leaf d * ENTRIES + i at i
 *	TIDROOT root r:	block number of directory r * ENTRIES + i at i
 *	metapage:		block number of root r at tidmap_roots[r]
 *
 * Zero means none, everywhere: block 0 is the metapage, which is no page of
 * the map and has no nodes, so that links with number 0 lead nowhere.  The
 * special area's owner repeats the number n, d or r.  Entries behind pd_lower
 * were never set.
 *
 * Key column.  The keys of all nodes once more, by number: a page has those of
 * one key of OMEN_KEYS_PER_PAGE numbers in a row (a chunk), and tells which
 * numbers have ever been nodes.  Page chunk * nkeys + key is named by a
 * directory, which the metapage's key_dirs name:
 *
 *	KEYS page:
 *	+-------------------------+---------------+---------------+
 *	| codes, 8 * 960          | bits: NULL?   | bits: a node? |
 *	+-------------------------+---------------+---------------+
 *	KEYDIR page:
 *	+-------------------------+-------------------------------+
 *	| block numbers, 4 * 1952 | bits: newer than the lists?   |
 *	+-------------------------+-------------------------------+
 *
 * Zero means none.  Pages of either kind stay what and where they are.
 *
 * Key lists.  For each key, the nodes that a bulk build has written in the order
 * of its codes, those of equal codes by number, NULLs at the end.  Each list has
 * as many KEYLIST pages as the others, one list after the other from list_start
 * on, and the DATA pages from list_heads on have, for each list, the number of
 * entries that are not NULL and the first code of each page, as uint64.
 *
 *	KEYLIST page:
 *	+-------------------------+-------------------------------+
 *	| codes, 8 * 678          | numbers, 4 * 678              |
 *	+-------------------------+-------------------------------+
 *
 * Ranges.  The nodes that a bulk build has written fall into ranges of
 * consecutive numbers, from range_first on: its coarse clusters, or equal parts
 * of a large one, or several small ones.  DATA pages from range_start on have
 * the pair codes of their centres, each as long as a multiple of 16 bytes, and
 * then the first number of each range, less range_first; CODES pages from
 * code_start on the nodes' range codes (OmenRangeCodeData in hnsw_range.h), as
 * many as fit a
 * page.
 *
 * A reader of an older version: refuses an index whose metapage has another
 * version than OMEN_HNSW_VERSION, with a hint to REINDEX.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_PAGE_H
#define OMEN_HNSW_PAGE_H

#include "access/htup_details.h"

#include "graph/allowset.h"
#include "graph/graph.h"
#include "graph/graph_search.h"
#include "storage/page.h"

#define OMEN_HNSW_MAGIC		0x4F4D484E	/* "OMHN" */
#define OMEN_HNSW_VERSION	5

#define OMEN_HNSW_META_BLOCK	0

/* Key columns: their NULLs fit a byte of a slot */
#define OMEN_HNSW_MAX_KEYS	8

/* The list of entry nodes grows page by page up to this many */
#define OMEN_HNSW_ENTRY_PAGES	64

/* TID map: offset numbers of a plane, blocks of a leaf, planes of a block */
#define OMEN_TIDMAP_OFFSETS	8
#define OMEN_TIDMAP_ENTRIES	(OMEN_PAGE_CONTENT / sizeof(uint32))
#define OMEN_TIDMAP_BLOCKS	(OMEN_TIDMAP_ENTRIES / OMEN_TIDMAP_OFFSETS)
#define OMEN_TIDMAP_PLANES \
	((MaxHeapTuplesPerPage + OMEN_TIDMAP_OFFSETS - 1) / OMEN_TIDMAP_OFFSETS)

/* 151 roots reach every block of a heap, with pages of 8 kB */
#define OMEN_TIDMAP_ROOTS	160
#define OMEN_TIDMAP_LEAVES \
	((uint64) OMEN_TIDMAP_ROOTS * OMEN_TIDMAP_ENTRIES * OMEN_TIDMAP_ENTRIES)

/* Key column: what is filled into an allow-set at once is a page of it */
#define OMEN_KEYS_PER_PAGE	OMEN_ALLOW_CHUNK

/* Its directories: a block number and a bit for each page, as many as fit */
#define OMEN_KEYDIR_ENTRIES \
	((uint32) (OMEN_PAGE_CONTENT * 8 / 33 / 32 * 32))
#define OMEN_KEYDIRS \
	(((UINT64CONST(1) << OMEN_LINK_NUMBER_BITS) / OMEN_KEYS_PER_PAGE + 1) * \
	 OMEN_HNSW_MAX_KEYS / OMEN_KEYDIR_ENTRIES + 1)

/* Key lists: a code and a number for each node */
#define OMEN_KEYLIST_ENTRIES \
	((uint32) (OMEN_PAGE_CONTENT / (sizeof(uint64) + sizeof(uint32)) / 2 * 2))

/* Flags of the metapage */
#define OMEN_META_TIDS_UNMAPPED	0x0001	/* some TIDs are not in the map */
#define OMEN_META_RELINKING		0x0002	/* vacuum has not connected all nodes */
#define OMEN_META_LATE_MEAN		0x0004	/* the mean is an insert's: hnsw_mean.c */
#define OMEN_META_ALL			0x0007

typedef struct OmenHnswMetaPageData
{
	uint32		magic;
	uint32		version;

	OmenCodeShape shape;
	float		max_norm2;

	uint16		m;				/* index options as built */
	uint16		ef_construction;
	uint16		quantizer;		/* OmenQuantizerKind asked for */
	uint16		flags;			/* OMEN_META_* */

	uint16		max_links;		/* L */
	uint16		slots_per_page;
	uint32		slot_size;
	uint32		own_inline;		/* bytes of an own code in the slot */

	BlockNumber mean_start;		/* invalid: the mean is zero */
	BlockNumber entry_blocks[OMEN_HNSW_ENTRY_PAGES];	/* pages of the list */
	uint32		entry_size;		/* bytes of an entry */
	uint32		entry_capacity;
	uint32		nentries;
	uint32		entry_epoch;	/* raised when entries must be read anew */

	uint32		built_visits;	/* reserved: calibration of the cost model */
	uint64		built_nodes;	/* nodes that the bulk build wrote */
	BlockNumber tidmap_roots[OMEN_TIDMAP_ROOTS];	/* 0: none */

	BlockNumber codebook_start; /* invalid: the untrained one */
	uint32		codebook_hash;	/* of its bytes, 0 without product codes */

	uint8		nkeys;			/* K */
	uint8		key_kinds[OMEN_HNSW_MAX_KEYS];	/* OmenKeyKind */
	uint8		unused[7];
	BlockNumber list_start;		/* key lists, of built_nodes each; invalid: none */
	BlockNumber list_heads;
	uint32		nranges;
	uint32		linked_rows;	/* when links were last chosen for all nodes, or
								 * the fewest since; 0: built_nodes */

	uint32		range_size;		/* nodes of a range, about; 0: no ranges */
	uint32		range_first;	/* number of the first one's first node */
	BlockNumber range_start;	/* their centres */
	BlockNumber code_start;	/* range codes; invalid: none */
} OmenHnswMetaPageData;

typedef OmenHnswMetaPageData *OmenHnswMetaPage;

/*
 * Behind that on the metapage, if there are keys: blocks of the directories of
 * the key column.  Read where one is looked for, not with the metapage.
 */
typedef struct OmenHnswKeyDirsData
{
	BlockNumber key_dirs[OMEN_KEYDIRS];
} OmenHnswKeyDirsData;

/* A page of the key column */
typedef struct OmenKeyPageData
{
	uint64		codes[OMEN_KEYS_PER_PAGE];	/* zero of NULL */
	uint64		nulls[OMEN_KEYS_PER_PAGE / 64];
	uint64		nodes[OMEN_KEYS_PER_PAGE / 64]; /* have ever been one */
} OmenKeyPageData;

typedef struct OmenKeyDirPageData
{
	BlockNumber blocks[OMEN_KEYDIR_ENTRIES];
	uint32		newer[OMEN_KEYDIR_ENTRIES / 32];
} OmenKeyDirPageData;

typedef struct OmenKeyListPageData
{
	uint64		codes[OMEN_KEYLIST_ENTRIES];
	uint32		numbers[OMEN_KEYLIST_ENTRIES];
} OmenKeyListPageData;

/* Entry: a link and the node's pair code, if pair codes are short enough */
typedef struct OmenHnswEntryData
{
	OmenLink	link;
	uint16		level;
	uint16		flags;			/* OMEN_ENTRY_* */
	uint8		pair[FLEXIBLE_ARRAY_MEMBER];
} OmenHnswEntryData;

#define OMEN_ENTRY_CENTRED	0x0001	/* its code is by the late mean */

typedef OmenHnswEntryData *OmenHnswEntry;

#define OMEN_SLOT_USED		0x01	/* holds a node or a TID list */
#define OMEN_SLOT_DELETED	0x02	/* node without rows, still a way */
#define OMEN_SLOT_TIDLIST	0x04	/* heap TIDs of another node */
#define OMEN_SLOT_INSERTED	0x08	/* node whose links an insert chose */
#define OMEN_SLOT_CENTRED	0x10	/* node whose codes are by the late mean */
#define OMEN_SLOT_ALL		0x1F

/* Those that tell what a slot holds */
#define OMEN_SLOT_KIND		(OMEN_SLOT_USED | OMEN_SLOT_DELETED | \
							 OMEN_SLOT_TIDLIST)

typedef struct OmenHnswSlotData
{
	uint8		flags;
	uint8		version;		/* 0..15, kept when the slot is freed */
	uint8		level;
	uint8		nlinks;
	uint8		nscale;			/* how many of them are at its own scale */
	uint8		key_nulls;		/* bit k: key k is NULL */
	uint16		ntids;			/* here; see more_tids for the others */
	ItemPointerData tids[OMEN_SLOT_TIDS];
	OmenLink	more_tids;		/* first slot of a TID list, or invalid */
	BlockNumber chain;			/* rest of the own code, or invalid */
	uint32		own_bytes;		/* length of the own code */
} OmenHnswSlotData;

typedef OmenHnswSlotData *OmenHnswSlot;

#define OMEN_SLOT_HEADER	sizeof(OmenHnswSlotData)

#endif							/* OMEN_HNSW_PAGE_H */
