/*-------------------------------------------------------------------------
 *
 * bm25.h
 *	  The access method omenbm25 in memory: an index as a backend knows it,
 *	  documents, segments, and who does what.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BM25_H
#define OMEN_BM25_H

#include "access/amapi.h"
#include "access/genam.h"
#include "access/transam.h"
#include "nodes/execnodes.h"
#include "tsearch/ts_type.h"

#include "base/tid.h"
#include "bm25/bm25_page.h"
#include "bm25/bm25_query.h"
#include "storage/kept.h"
#include "storage/wal.h"
#include "text/cursor.h"

#define OMEN_BM25_SEARCH		1	/* strategy of @@ */
#define OMEN_BM25_RANK			2	/* strategies of <@>, tsquery */
#define OMEN_BM25_RANK_QUERY	3	/* and bm25query */

#define OMEN_BM25_DEFAULT_K1	1.2
#define OMEN_BM25_DEFAULT_B		0.75
#define OMEN_BM25_DEFAULT_PENDING	1024	/* kB */
#define OMEN_BM25_MIN_PENDING		64

/* --- options --- */

typedef struct OmenBm25Options
{
	int32		vl_len_;
	double		k1;
	double		b;
	int			pending;		/* kB */
	int			weights;		/* offset of the string, 0: none */
} OmenBm25Options;

extern void omen_bm25_init(void);
extern bytea *omen_bm25_options(Datum reloptions, bool validate);
extern double omen_bm25_k1(Relation index);
extern double omen_bm25_b(Relation index);
extern int	omen_bm25_pending_pages(Relation index);
extern OmenTextUnits omen_bm25_units(Relation index);

/* --- documents (bm25_doc.c) --- */

typedef struct OmenBm25Term
{
	const char *lexeme;
	uint16		len;
	uint16		tf;
	uint32		hash;
} OmenBm25Term;

typedef struct OmenBm25Doc
{
	ItemPointerData tid;
	uint32		length;			/* in units */
	int			nterms;
	OmenBm25Term *terms;		/* in the order of the tsvector, that of
								 * lexemes */
} OmenBm25Doc;

/* Lexemes point into the tsvector; terms are palloc'd */
extern void omen_bm25_read_doc(TSVector tsvector, const OmenTextUnits *units,
							   OmenBm25Doc *doc);
extern uint32 omen_bm25_doc_length(TSVector tsvector,
								   const OmenTextUnits *units);
extern uint16 omen_bm25_doc_tf(TSVector tsvector, const OmenTextUnits *units,
							   const char *lexeme, int len);
extern uint32 omen_bm25_hash(const char *lexeme, int len);

/* As memcmp, a prefix before what it begins */
extern int	omen_bm25_compare_lexemes(const char *a, int alen,
									  const char *b, int blen);

/* --- an index (bm25_meta.c) --- */

/* A segment as its SEGMENT page has it */
typedef struct OmenBm25Segment
{
	BlockNumber header;			/* its last page */
	OmenBm25SegmentHeaderData *data;	/* with all its runs */
} OmenBm25Segment;

/*
 * Where the documents of each block of the table begin, from the first block
 * that has any; one more entry says where they end.  Of a block whose
 * documents are rows 1, 2 and so on up to the last, none missing, HAS_GAPS is
 * not set.
 */
#define OMEN_BM25_HAS_GAPS	0x80000000U

typedef struct OmenBm25Places
{
	BlockNumber first;
	uint32		nblocks;
	uint32		starts[FLEXIBLE_ARRAY_MEMBER];
} OmenBm25Places;

static inline uint32
omen_bm25_place(const OmenBm25Places *places, uint32 block)
{
	return places->starts[block] & ~OMEN_BM25_HAS_GAPS;
}

static inline bool
omen_bm25_has_gaps(const OmenBm25Places *places, uint32 block)
{
	return (places->starts[block] & OMEN_BM25_HAS_GAPS) != 0;
}

/*
 * The same as a backend keeps it, with what it has read of the lengths, and
 * made of the rows
 */
typedef struct OmenBm25KeptSegment
{
	OmenBm25Segment segment;
	uint16	   *lengths;		/* NULL: none */
	bool	   *loaded;			/* of each page of them */
	OmenBm25Places *places;		/* NULL: none */
	double		looked_up;		/* rows, so far */
} OmenBm25KeptSegment;

/* Where a lane is thought to end */
typedef struct OmenBm25Tail
{
	int			lane;
	BlockNumber block;			/* InvalidBlockNumber: not known */
	uint32		owner;
} OmenBm25Tail;

typedef struct OmenBm25Index
{
	OmenKept	kept;			/* must be first */
	OmenBufferHints hints;
	int			nsegments;
	OmenBm25KeptSegment *segments;	/* read so far */
	Size		kept_lengths;	/* bytes of their lengths, */
	Size		kept_places;	/* and of their places */
	uint32		times_forgotten;	/* counts up when they are dropped */
	OmenTextUnits units;		/* of the metapage; unit 0: not yet read */
	OmenBm25Tail tail;			/* of the lane this backend appends to */
	uint64		idle;			/* blocks in no use that are known not to be
								 * lost */
} OmenBm25Index;

extern OmenBm25Index *omen_bm25_open(Relation index);

/* A build has put other contents into the file: what was kept is no good */
extern void omen_bm25_forget(Relation index);

/* Raises an ERROR unless the metapage is one */
extern void omen_bm25_read_meta(Relation index, OmenBm25MetaPageData *meta);
extern void omen_bm25_check_meta(Relation index,
								 const OmenBm25MetaPageData *meta);

/* How positions are counted in an index that exists */
extern OmenTextUnits omen_bm25_stored_units(Relation index,
											OmenBm25Index *bm25);

/* An empty index in a new fork */
extern void omen_bm25_write_empty(Relation index, ForkNumber fork);

/*
 * One process at a time turns pending documents into segments, merges
 * segments or marks rows as dead; it holds this lock.
 */
extern bool omen_bm25_try_maintain(Relation index);
extern void omen_bm25_maintain(Relation index);
extern void omen_bm25_end_maintain(Relation index);

/*
 * A page of a segment, or of the pending area with this owner, is another one's
 * now.  Raises an ERROR of SQLSTATE 40001 if the metapage does not refer to it
 * any more: callers start anew from there, see omen_text_scan.c.  If it does,
 * the index is broken, which is another ERROR.
 */
extern void omen_bm25_report_segment(Relation index, uint32 id,
									 BlockNumber block) pg_attribute_noreturn();
extern void omen_bm25_report_pending(Relation index, uint32 owner,
									 BlockNumber block) pg_attribute_noreturn();

/*
 * The same of whatever it was.  Whoever tries again asks whether this was called
 * meanwhile: conflicts with recovery have that SQLSTATE, too.
 */
extern void omen_bm25_report_replaced(Relation index) pg_attribute_noreturn();
extern uint64 omen_bm25_times_replaced;

/* --- pending area (bm25_pending.c) --- */

/*
 * Add a document.  Returns how many pages the pending area has, 0 if it has as
 * many as before.
 */
extern uint32 omen_bm25_append(Relation index, OmenBm25Index *bm25,
							   const OmenBm25Doc *doc);

/* See to it that a lane's last page is empty, and those before it closed */
extern void omen_bm25_close_lane(Relation index, int lane);

/* A walk over the documents of all lanes that a metapage knows of */
typedef struct OmenBm25PendingScan
{
	Relation	index;
	const OmenBm25MetaPageData *meta;
	int			lane;
	BlockNumber block;			/* to be read next */
	uint32		owner;
	PGAlignedBlock page;		/* copy of the current one */
	BlockNumber current;
	Size		at;				/* in the copy */
	Size		end;
	uint32		npages;			/* read so far */

	/* of a walk over closed pages */
	bool		closed_only;
	uint32		most;			/* pages to read of each lane */
	OmenBm25LaneData rest[OMEN_BM25_LANES]; /* what is left of each: head,
											 * head_owner; npages: read */
	BlockNumber *blocks;		/* of all pages read */
	uint32		maxblocks;
} OmenBm25PendingScan;

extern void omen_bm25_pending_begin(OmenBm25PendingScan *scan, Relation index,
									const OmenBm25MetaPageData *meta);

/*
 * Of pages that no document is added to any more; about so many of each lane,
 * as parts of a document are not separated.
 */
extern void omen_bm25_pending_begin_closed(OmenBm25PendingScan *scan,
										   Relation index,
										   const OmenBm25MetaPageData *meta,
										   uint32 most);

/*
 * The next document, or part of one, dead ones too; NULL at the end.  Points
 * into scan->page until the next call.
 */
extern OmenBm25DocData *omen_bm25_pending_next(OmenBm25PendingScan *scan);

/* The term of a document, or NULL */
extern OmenBm25DocTermData *omen_bm25_doc_find(OmenBm25DocData *doc,
											   uint32 hash,
											   const char *lexeme, int len);

static inline const char *
omen_bm25_doc_lexeme(OmenBm25DocData *doc, int i, int *len)
{
	OmenBm25DocTermData *terms = omen_bm25_doc_terms(doc);

	*len = terms[i + 1].offset - terms[i].offset;
	return (const char *) doc + terms[i].offset;
}

/* --- segments (bm25_segment.c) --- */

/* Palloc'd.  Raises recycled if it is not there any more */
extern OmenBm25Segment *omen_bm25_find_segment(Relation index,
											   OmenBm25Index *bm25,
											   const OmenBm25SegmentEntryData *entry);

/* A page of a segment, locked */
extern Buffer omen_bm25_segment_page(Relation index, OmenBm25Index *bm25,
									 const OmenBm25Segment *segment,
									 uint32 page, OmenPageKind kind,
									 OmenLockMode mode);

extern BlockNumber omen_bm25_segment_block(const OmenBm25Segment *segment,
										   uint32 page);

/* What is asked about the documents of a segment; ops for text/cursor.h */
typedef struct OmenBm25Docs
{
	Relation	index;
	OmenBm25Index *bm25;
	const OmenBm25Segment *segment;
	bool		has_dead;
	uint32		times_forgotten;	/* for which kept is */
	int			kept;			/* number among kept segments, or -1 */
	uint32		length_slice;	/* that "lengths" is the copy of */
	uint16	   *lengths;
	uint32		long_page;
	uint32	   *longs;			/* pairs of document and length */
	uint32		row_page;
	ItemPointerData *rows;
	uint32		alive_page;
	uint64	   *alive;
} OmenBm25Docs;

extern const OmenDocOps omen_bm25_doc_ops;

extern void omen_bm25_docs_init(OmenBm25Docs *docs, Relation index,
								OmenBm25Index *bm25,
								const OmenBm25Segment *segment,
								bool has_dead);

/* TIDs of the documents on a page of ROWS: a copy, and how many */
extern const ItemPointerData *omen_bm25_docs_rows(OmenBm25Docs *docs,
												  uint32 page, int *n);

/* The same in place, on a page that the caller releases soon */
extern const ItemPointerData *omen_bm25_docs_lock_rows(OmenBm25Docs *docs,
													   uint32 page, int *n,
													   Buffer *buffer);

/* The row of the last document on such a page */
extern uint64 omen_bm25_docs_last_row(OmenBm25Docs *docs, uint32 page);

/*
 * Where documents are, for somebody about to look up so many rows; NULL if the
 * backend does not keep that, or not yet.  Good until the next look at lengths.
 */
extern const OmenBm25Places *omen_bm25_docs_places(OmenBm25Docs *docs,
												   double nrows);

/* Number of the document with a TID, dead or not; false if there is none */
extern bool omen_bm25_docs_find(OmenBm25Docs *docs, uint64 row, uint32 *doc);

/* The first document whose row is not before this one; ndocs if none is */
extern uint32 omen_bm25_docs_seek(OmenBm25Docs *docs, uint64 row);
extern bool omen_bm25_docs_is_dead(OmenBm25Docs *docs, uint32 doc);
extern uint32 omen_bm25_docs_length(OmenBm25Docs *docs, uint32 doc);

/* --- dictionary (bm25_dict.c) --- */

/* Where the postings of a term are */
typedef struct OmenBm25Entry
{
	uint32		df;
	bool		inlined;
	uint16		size;			/* of the block, if inlined */
	uint32		page;
	uint16		offset;
	OmenBlockBound bound;
	uint8		block[OMEN_BM25_MAX_INLINE];
} OmenBm25Entry;

/* A walk over the terms of a segment, in their order */
typedef struct OmenBm25DictScan
{
	Relation	index;
	OmenBm25Index *bm25;
	const OmenBm25Segment *segment;
	uint32		next;			/* leaf to be read next, PG_UINT32_MAX: none */
	int			left;			/* entries not yet read of this one */
	const uint8 *at;
	const uint8 *end;
	char	   *content;		/* copy of it */
	int			len;
	char		lexeme[MAXSTRLEN + 1];
	OmenBm25Entry entry;
} OmenBm25DictScan;

extern bool omen_bm25_dict_find(Relation index, OmenBm25Index *bm25,
								const OmenBm25Segment *segment,
								const char *lexeme, int len,
								OmenBm25Entry *entry);

/* From the first term on that is not before a lexeme */
extern void omen_bm25_dict_begin(OmenBm25DictScan *scan, Relation index,
								 OmenBm25Index *bm25,
								 const OmenBm25Segment *segment,
								 const char *lexeme, int len);
extern bool omen_bm25_dict_next(OmenBm25DictScan *scan);

/* --- postings of a segment (bm25_postings.c) --- */

typedef struct OmenBm25List
{
	OmenPostingList postings;
	Relation	index;
	OmenBm25Index *bm25;
	const OmenBm25Segment *segment;
	OmenBm25Entry entry;
	uint8	   *block;			/* copy of one, or of some in a row */
	uint32		page;			/* of the segment, that it is of */
	uint16		offset;			/* there */
	Size		copied;			/* bytes; 0: none */
	uint32		next;			/* number after the block asked for last */
	OmenSkipData *skips;		/* copy of a page's */
} OmenBm25List;

/* Lives in the current memory context */
extern void omen_bm25_list_init(OmenBm25List *list, Relation index,
								OmenBm25Index *bm25,
								const OmenBm25Segment *segment,
								const OmenBm25Entry *entry);

/* All postings of a term, one after the other */
typedef struct OmenBm25Postings
{
	OmenBm25List list;
	uint32		number;			/* of the block to be read next */
	uint32		base;
	const OmenSkipData *skips;
	uint32		first_skip;
	uint32		nskips;
	int			n;				/* in the block */
	int			at;
	uint32		docs[OMEN_POSTING_BLOCK];
	uint16		tfs[OMEN_POSTING_BLOCK];
} OmenBm25Postings;

extern void omen_bm25_postings_begin(OmenBm25Postings *postings,
									 Relation index, OmenBm25Index *bm25,
									 const OmenBm25Segment *segment,
									 const OmenBm25Entry *entry);
extern bool omen_bm25_postings_next(OmenBm25Postings *postings, uint32 *doc,
									uint16 *tf);

/* --- space (bm25_space.c): for the holder of the maintenance lock --- */

typedef struct OmenBm25Space
{
	Relation	index;
	Relation	heap;			/* may be NULL */
	int			nextents;
	OmenBm25ExtentData extents[OMEN_BM25_MAX_EXTENTS];
	BlockNumber next;			/* of the chunk being handed out */
	uint32		left;
	bool		grown;			/* the file has grown by it */
	uint32		handed;			/* so far */
} OmenBm25Space;

extern void omen_bm25_space_begin(OmenBm25Space *space, Relation index,
								  Relation heap,
								  const OmenBm25MetaPageData *meta);
extern BlockNumber omen_bm25_space_take(OmenBm25Space *space);

/* Give the rest of the chunk back; before the extents are written */
extern void omen_bm25_space_settle(OmenBm25Space *space);

/* Nobody is to find these pages any more, once the extents are written */
extern void omen_bm25_space_retire(OmenBm25Space *space, BlockNumber start,
								   uint32 npages);

/* --- writing a segment (bm25_write.c) --- */

typedef struct OmenBm25Writer OmenBm25Writer;

/*
 * A new segment of documents with these TIDs, ascending, and lengths, which
 * stay the caller's.  Its terms are given in the order of lexemes, each with
 * its postings in the order of documents.
 */
extern OmenBm25Writer *omen_bm25_writer_begin(OmenBm25Space *space, uint32 id,
											  uint32 ndocs,
											  const ItemPointerData *rows,
											  const uint32 *lengths);
extern void omen_bm25_writer_term(OmenBm25Writer *writer, const char *lexeme,
								  int len);
extern void omen_bm25_writer_posting(OmenBm25Writer *writer, uint32 doc,
									 uint16 tf);

/* Write what is left; the entry for the directory, and free the writer */
extern void omen_bm25_writer_finish(OmenBm25Writer *writer,
									OmenBm25SegmentEntryData *entry);

/* --- an inverted index in memory (bm25_invert.c) --- */

typedef struct OmenBm25Inverter OmenBm25Inverter;

/* Lives in a child of the current memory context */
extern OmenBm25Inverter *omen_bm25_inverter_create(void);

/* Documents come with ascending numbers */
extern void omen_bm25_inverter_add(OmenBm25Inverter *inverter, uint32 doc,
								   const char *lexeme, int len, uint32 hash,
								   uint16 tf);
extern Size omen_bm25_inverter_size(const OmenBm25Inverter *inverter);

/* Hand over all terms in order, and forget them */
typedef void (*OmenBm25TermSink) (void *arg, const char *lexeme, int len);
typedef void (*OmenBm25PostingSink) (void *arg, uint32 doc, uint16 tf);
extern void omen_bm25_inverter_drain(OmenBm25Inverter *inverter,
									 OmenBm25TermSink term,
									 OmenBm25PostingSink posting, void *arg);
extern void omen_bm25_inverter_free(OmenBm25Inverter *inverter);

/* --- flush and merge (bm25_flush.c, bm25_merge.c) --- */

/*
 * Turn the closed pages of the pending area into a segment; "all" closes the
 * pages being written to first.  The caller holds the maintenance lock.
 */
extern void omen_bm25_flush(Relation index, Relation heap, bool all);

/*
 * Merge segments where there are too many of a level, or too many dead
 * documents in one, as long as no merge takes more than max_pages pages; or
 * all into one.  The caller holds the maintenance lock.
 */
extern void omen_bm25_merge(Relation index, Relation heap, uint32 max_pages);

/* See to it that there is room for one more segment */
extern void omen_bm25_make_room(Relation index, Relation heap);
extern int	omen_bm25_level(uint32 npages);
extern void omen_bm25_merge_all(Relation index, Relation heap);

/*
 * Look for blocks that nothing refers to if the file has many; the list of
 * extents is another one then.  The caller holds the maintenance lock.
 */
extern void omen_bm25_reclaim(Relation index,
							  const OmenBm25MetaPageData *meta);

/*
 * Put new segments into the directory in place of others, and what this leaves
 * into the list of extents, by one record.
 */
typedef struct OmenBm25Publish
{
	OmenBm25Space *space;
	const OmenBm25SegmentEntryData *segments;
	int			nsegments;
	int			nreplaced;
	const OmenBm25Segment *const *replaced;
	const OmenBm25LaneData *rest;	/* what is left of the lanes, or NULL */
} OmenBm25Publish;

extern void omen_bm25_publish(const OmenBm25Publish *publish);

/* --- access method --- */

extern IndexBuildResult *omen_bm25_build(Relation heap, Relation index,
										 IndexInfo *info);
extern void omen_bm25_buildempty(Relation index);
extern bool omen_bm25_insert(Relation index, Datum *values, bool *isnull,
							 ItemPointer tid, Relation heap,
							 IndexUniqueCheck unique, bool unchanged,
							 IndexInfo *info);
extern IndexBulkDeleteResult *omen_bm25_bulkdelete(IndexVacuumInfo *info,
												   IndexBulkDeleteResult *stats,
												   IndexBulkDeleteCallback callback,
												   void *callback_state);
extern IndexBulkDeleteResult *omen_bm25_vacuumcleanup(IndexVacuumInfo *info,
													  IndexBulkDeleteResult *stats);
extern void omen_bm25_costestimate(PlannerInfo *root, IndexPath *path,
								   double loop_count, Cost *startup_cost,
								   Cost *total_cost, Selectivity *selectivity,
								   double *correlation, double *pages);

/*
 * Can this index find the rows for a query that is to be ranked by what another
 * one counts?  And which one that is, or InvalidOid
 */
extern bool omen_bm25_may_rank(const IndexOptInfo *info, const Node *query);
extern Oid	omen_bm25_bound_index(const Node *query);
extern bool omen_bm25_validate(Oid opclass);
extern IndexScanDesc omen_bm25_beginscan(Relation index, int nkeys,
										 int norderbys);
extern void omen_bm25_rescan(IndexScanDesc scan, ScanKey keys, int nkeys,
							 ScanKey orderbys, int norderbys);
extern bool omen_bm25_gettuple(IndexScanDesc scan, ScanDirection direction);
extern int64 omen_bm25_getbitmap(IndexScanDesc scan, TIDBitmap *bitmap);
extern void omen_bm25_endscan(IndexScanDesc scan);

/* Set by the layer above: rows that a query wants of a scan, 0 if unknown */
extern int	(*omen_bm25_rows_wanted) (IndexScanDesc scan);

#endif							/* OMEN_BM25_H */
