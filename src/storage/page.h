/*-------------------------------------------------------------------------
 *
 * page.h
 *	  Pages of omendb's indexes: kinds, special area, and the one gate
 *	  through which buffers are read, locked and released.
 *
 * A page holds one kind of thing only.  Its contents fill the whole space
 * between page header and special area (pd_lower = pd_upper = pd_special),
 * so that neither WAL nor backups take any of it for a hole:
 *
 *	+----------------+---------------------------------+------------------+
 *	| PageHeaderData | contents, OMEN_PAGE_CONTENT bytes | OmenPageOpaque |
 *	+----------------+---------------------------------+------------------+
 *	0				24								 8192 - 24			8192
 *
 * Lock order: see src/hnsw/README.md.  A pointer into a page is dead once
 * the page is released.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_PAGE_H
#define OMEN_PAGE_H

#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

#include "base/compat.h"

typedef enum OmenPageKind
{
	OMEN_PAGE_FREE = 0,			/* left over, may be reused for anything */
	OMEN_PAGE_META,				/* block 0 */
	OMEN_PAGE_DATA,				/* a long value (the mean), page by page */
	OMEN_PAGE_ENTRY,			/* list of entry nodes */
	OMEN_PAGE_NODE,				/* node slots */
	OMEN_PAGE_CHAIN,			/* continuation of one node's own code */
	OMEN_PAGE_TIDMAP,			/* leaf of the TID map: links by heap TID */
	OMEN_PAGE_TIDDIR,			/* directory of leaves */
	OMEN_PAGE_TIDROOT,			/* directory of directories */
	OMEN_PAGE_KEYS,				/* one key of consecutive nodes */
	OMEN_PAGE_CODES,			/* range codes of consecutive nodes */
	OMEN_PAGE_KEYDIR,			/* directory of KEYS pages */
	OMEN_PAGE_KEYLIST,			/* nodes in the order of a key */
	OMEN_PAGE_PENDING,			/* documents not yet in a segment */
	OMEN_PAGE_SEGMENT,			/* what a segment is made of */
	OMEN_PAGE_TERMS,			/* dictionary of a segment */
	OMEN_PAGE_POSTINGS,			/* documents of its terms */
	OMEN_PAGE_LENGTHS,			/* lengths of its documents */
	OMEN_PAGE_ROWS,				/* TIDs of its documents */
	OMEN_PAGE_ALIVE				/* which of its documents live */
} OmenPageKind;

#define OMEN_PAGE_LAST_KIND		OMEN_PAGE_ALIVE

#define OMEN_PAGE_ID			0x4F4D	/* "OM", tells our pages from others */
#define OMEN_PAGE_FORMAT		1

/* Special area of every page */
typedef struct OmenPageOpaqueData
{
	uint16		kind;			/* OmenPageKind */
	uint16		format;			/* OMEN_PAGE_FORMAT when it was written */
	uint32		generation;		/* raised whenever the page gets a new use */
	BlockNumber next;			/* next page of a list, or invalid */
	uint32		owner;			/* CHAIN: number of the node it belongs to;
								 * TID map: number of the page in its level;
								 * segments: number of the segment; PENDING:
								 * place in its lane */
	uint16		used;			/* NODE: slots in use; PENDING: documents */
	uint16		unused;
	uint16		unused2;
	uint16		page_id;		/* OMEN_PAGE_ID, last two bytes of the page */
} OmenPageOpaqueData;

typedef OmenPageOpaqueData *OmenPageOpaque;

/* Bytes between page header and special area */
#define OMEN_PAGE_CONTENT \
	(BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - \
	 MAXALIGN(sizeof(OmenPageOpaqueData)))

typedef enum OmenLockMode
{
	OMEN_LOCK_SHARE = BUFFER_LOCK_SHARE,
	OMEN_LOCK_EXCLUSIVE = BUFFER_LOCK_EXCLUSIVE
} OmenLockMode;

static inline OmenPageOpaque
omen_page_opaque(Page page)
{
	return (OmenPageOpaque) PageGetSpecialPointer(page);
}

static inline char *
omen_page_content(Page page)
{
	return (char *) page + MAXALIGN(SizeOfPageHeaderData);
}

/* Guesses are allocated for so many blocks at a time */
#define OMEN_HINTS_PER_PART	1024

/*
 * Backend-local guesses which buffer holds which block of one relation.
 * Only hints: what they lead to is verified by the buffer manager.
 */
typedef struct OmenBufferHints
{
	MemoryContext context;
	BlockNumber nblocks;		/* the relation has at least */
	uint64		nhints;			/* of all parts */
	Buffer	  **parts;			/* InvalidBuffer = no guess, negative = none,
								 * but asked for by that scan */
	uint32		reads;			/* counts up; now and then a read takes the
								 * ordinary path, so that usage counts rise */
	int			scan;			/* number of the scan, from 1 */
	int			depth;			/* reads to have under way in this scan, -1
								 * until somebody wants to know */
	int			cold;			/* looks ahead that are still worth it */
} OmenBufferHints;

/* Pages of indexes that this backend has read: callers look at differences */
extern uint64 omen_page_reads;

/* Make an empty page of a kind in memory or in an exclusively locked buffer */
extern void omen_page_init(Page page, OmenPageKind kind, uint32 generation);

/*
 * Read, lock and check a page.  omen_page_read() raises an ERROR if it is not
 * of the expected kind; omen_page_read_any() accepts every kind, even a page
 * of zeros (of which it returns OMEN_PAGE_FREE in *kind).
 */
extern Buffer omen_page_read(Relation index, BlockNumber block,
							 OmenPageKind kind, OmenLockMode mode);
extern Buffer omen_page_read_hinted(Relation index, BlockNumber block,
									OmenPageKind kind, OmenLockMode mode,
									OmenBufferHints *hints);

/*
 * The same of a page that keeps its kind for good: it is checked when this
 * backend first meets it in its buffer, and then no more, which saves a cache
 * miss.  All reads of the page must be by this function.
 */
extern Buffer omen_page_read_fixed(Relation index, BlockNumber block,
								   OmenPageKind kind, OmenLockMode mode,
								   OmenBufferHints *hints);

/*
 * The same of a page that may have got another use: InvalidBuffer unless it is
 * of this kind and owner.
 */
extern Buffer omen_page_read_owned(Relation index, BlockNumber block,
								   OmenPageKind kind, uint32 owner,
								   OmenLockMode mode, OmenBufferHints *hints);
extern Buffer omen_page_read_any(Relation index, BlockNumber block,
								 OmenLockMode mode,
								 BufferAccessStrategy strategy,
								 OmenPageKind *kind);

/*
 * A copy of a page as it is, whatever it holds; the server may raise an ERROR
 * if it cannot read it.  omen_page_find_fault() says what is wrong with its
 * header and special area, NULL if nothing is; a page of zeros is a FREE one.
 */
extern void omen_page_copy(Relation index, BlockNumber block,
						   BufferAccessStrategy strategy, Page copy);
extern const char *omen_page_find_fault(Page page);

/*
 * The page exclusively locked, if it is FREE or of zeros and nobody else holds
 * a lock on it; else InvalidBuffer.  Does not wait: the caller may hold locks
 * of other pages, and the page may be one of them.
 */
extern Buffer omen_page_try_free(Relation index, BlockNumber block);

/* Unlock and unpin */
extern void omen_page_release(Buffer buffer);

/* Unlock, keep the pin, and lock again */
extern void omen_page_unlock(Buffer buffer);
extern void omen_page_lock(Buffer buffer, OmenLockMode mode);

/*
 * A new page at the end of the relation, exclusively locked, still zero.
 * For the caller to initialize in an edit (wal.h).
 */
extern Buffer omen_page_extend(Relation index, ForkNumber fork);

/*
 * Up to npages pages of zeros at the end of the relation's main fork, one after
 * the other: returns the first one, in *got how many.
 */
extern BlockNumber omen_page_extend_by(Relation index, uint32 npages,
									   uint32 *got);

/*
 * May the caller of omen_page_extend_by() have this page?  The free space map
 * is not logged: where the file was shorter after a crash of the machine, or is
 * that of a standby or a backup, it may name pages before they are there, and
 * omen_page_find_free() gives them away.  It asks the map once more while it
 * holds the page's lock, and this function asks the map before it looks at the
 * page: whatever is unclaimed here remains so.
 */
extern bool omen_page_is_unclaimed(Relation index, BlockNumber block);

/*
 * A FREE or new page, exclusively locked: one that the free space map knows
 * of, else a new one.  The caller may hold the lock of a page that may have
 * been FREE too and be found again here, by us or by others: so nobody waits.
 */
extern Buffer omen_page_find_free(Relation index);

/* Tell the free space map of a FREE page */
extern void omen_page_record_free(Relation index, BlockNumber block);

/*
 * All blocks below nblocks in their order, each like omen_page_read_any() has
 * it; InvalidBuffer after the last one.  The stream keeps pins of pages that
 * it has read ahead, and no locks.
 */
typedef struct OmenPageStream
{
	Relation	index;
	OmenCompatStream blocks;
} OmenPageStream;

extern void omen_page_stream_begin(OmenPageStream *stream, Relation index,
								   BlockNumber nblocks,
								   BufferAccessStrategy strategy);
extern Buffer omen_page_stream_next(OmenPageStream *stream, OmenLockMode mode,
									OmenPageKind *kind);
extern void omen_page_stream_end(OmenPageStream *stream);

/* Report a broken index */
extern void omen_page_report_corrupt(Relation index, BlockNumber block,
									 const char *detail) pg_attribute_noreturn();

/* Report one that another version of omendb wrote; what: "page format", say */
extern void omen_page_report_format(Relation index, const char *what,
									uint32 found, uint32 expected)
			pg_attribute_noreturn();

/* Of a block below nhints, and only to be read */
static inline Buffer *
omen_page_hint(BlockNumber block, const OmenBufferHints *hints)
{
	return &hints->parts[block / OMEN_HINTS_PER_PART]
		[block % OMEN_HINTS_PER_PART];
}

/* Touch the hint of a block: of a page in memory, it is what one waits for */
static inline void
omen_page_prefetch_hint(BlockNumber block, const OmenBufferHints *hints)
{
	if (likely(block < hints->nhints))
		__builtin_prefetch(omen_page_hint(block, hints));
}

/* Touch the guessed frame of a block, so that its lines are in cache */
extern void omen_page_prefetch_memory(BlockNumber block, Size offset, Size len,
									  const OmenBufferHints *hints);

/* The same of a page to be read by omen_page_read_fixed() */
extern void omen_page_prefetch_fixed(BlockNumber block, Size offset, Size len,
									 const OmenBufferHints *hints);

/*
 * The same for a row of a table, in two steps, so that the cache misses of
 * several rows overlap: page header and line pointer of each, then the rows.
 */
extern void omen_page_prefetch_line(const ItemPointerData *tid,
									const OmenBufferHints *hints);
extern void omen_page_prefetch_row(const ItemPointerData *tid,
								   const OmenBufferHints *hints);

/* Pin a block of a table; its kind of pages is not ours to check */
extern Buffer omen_page_pin_hinted(Relation table, BlockNumber block,
								   OmenBufferHints *hints);

extern void omen_page_hints_init(OmenBufferHints *hints,
								 MemoryContext context);
extern void omen_page_hints_start_scan(OmenBufferHints *hints);

/*
 * Reading ahead from disk.  omen_page_ahead() says how many of the blocks that
 * will probably be read next to name to omen_page_read_ahead(): none unless a
 * read has lately not found its block in shared buffers.  A named block must
 * lie in the relation; the kernel is asked for it once a scan, if it is not in
 * shared buffers.
 */
extern int	omen_page_ahead(Relation rel, OmenBufferHints *hints);
extern void omen_page_read_ahead(Relation rel, BlockNumber block,
								 OmenBufferHints *hints);

#endif							/* OMEN_PAGE_H */
