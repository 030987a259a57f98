/*-------------------------------------------------------------------------
 *
 * bm25_view.h
 *	  What an index has at one moment of the terms of a query: its segments'
 *	  entries, the pending documents with any of them, and the statistics.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BM25_VIEW_H
#define OMEN_BM25_VIEW_H

#include "bm25/bm25.h"
#include "text/topk.h"

/* What is asked about, and in which order a score adds up */
typedef struct OmenBm25QueryTerm
{
	const char *lexeme;
	int			len;
	bool		prefix;			/* only before prefixes are expanded */
	uint32		hash;
} OmenBm25QueryTerm;

/* A pending document with any of the terms, or any document if all are kept */
typedef struct OmenBm25PendingDoc
{
	uint64		row;
	uint32		length;
	bool		matched;		/* meets the filter, perhaps */
	bool		recheck;		/* perhaps only */
	bool		ranked;			/* has any of the terms */
	uint16	   *tfs;			/* of each term; NULL if not ranked */
} OmenBm25PendingDoc;

typedef struct OmenBm25ViewSegment
{
	OmenBm25SegmentEntryData entry;
	OmenBm25Segment *segment;
	OmenBm25Docs docs;
	OmenPostingList *lists;		/* of each term; df 0: it has none */
} OmenBm25ViewSegment;

typedef struct OmenBm25View
{
	Relation	index;
	OmenBm25Index *bm25;
	OmenBm25MetaPageData meta;
	int			nsegments;
	OmenBm25ViewSegment *segments;	/* the largest first */
	uint32		npending;
	uint32		maxpending;
	OmenBm25PendingDoc *pending;
	uint64		pending_seen;	/* documents looked at */

	uint64		postings;		/* of all terms, dead documents' too */

	/*
	 * Statistics of segments and pending documents together.  Which documents
	 * are dead is known, but not what they are made of: of a segment's lengths
	 * and frequencies, the share of its living documents.
	 */
	double		ndocs;
	double		length;
	double	   *df;				/* of each term */
} OmenBm25View;

/*
 * Distinct lexemes of a query that do not stand under a NOT, in their order.
 * Prefixes are replaced by the lexemes that the indexes have.  Raises an ERROR
 * if there are too many.  Without an index prefixes do not count.  Everything in the current memory context.
 */
extern int	omen_bm25_query_terms(TSQuery query, Relation *indexes,
								  int nindexes, OmenBm25QueryTerm **terms);

/*
 * Look at an index.  Of pending documents, those with any of the terms are
 * kept, or all; none with keep_nothing.  Raises recycled if it changes
 * meanwhile.
 */
typedef enum OmenBm25Keep
{
	OMEN_BM25_KEEP_NOTHING,
	OMEN_BM25_KEEP_RANKED,
	OMEN_BM25_KEEP_ALL
} OmenBm25Keep;

extern OmenBm25View *omen_bm25_view(Relation index, int nterms,
									const OmenBm25QueryTerm *terms,
									TSQuery filter, OmenBm25Keep keep);

/*
 * What scores depend on: parameters and statistics of the index that a query
 * is bound to, or of all partitions of it.
 */
typedef struct OmenBm25Ranking
{
	OmenBm25	bm25;
	OmenTextUnits units;
	int			nterms;
	OmenBm25QueryTerm *terms;
	double	   *weights;
	double		ndocs;			/* that the weights are made of */
	double	   *df;
} OmenBm25Ranking;

/*
 * index is the one to rank by if the query is not bound to one; it must be
 * open, others are opened and closed.  If the ranking depends on this index
 * alone, and was not held, *view gets the view that was made of it, else NULL;
 * view may be NULL.
 */
extern OmenBm25Ranking *omen_bm25_rank(const OmenBm25Query *query,
									   Relation index, OmenBm25Keep keep,
									   TSQuery filter, OmenBm25View **view);

/* With all that it refers to, in the current memory context */
extern OmenBm25Ranking *omen_bm25_copy_ranking(const OmenBm25Ranking *ranking);

/*
 * What a ranking that is kept has been made for.  Where two statements of a
 * transaction see the same, they rank alike; under REPEATABLE READ all do,
 * until the transaction writes.
 */
typedef struct OmenBm25RankingKey
{
	OmenBm25Query *query;
	TransactionId xmin;			/* of the snapshot */
	TransactionId xmax;
	uint32		nrunning;		/* transactions between them, which only end */
	CommandId	curcid;
} OmenBm25RankingKey;

/* bm25_hold.c; with a copy of the query in the current memory context */
extern void omen_bm25_set_key(OmenBm25RankingKey *key,
							  const OmenBm25Query *query, Snapshot snapshot);
extern bool omen_bm25_is_key(const OmenBm25RankingKey *key,
							 const OmenBm25Query *query, Snapshot snapshot);

/*
 * What the statement ranks by already for a query that is bound, NULL if it
 * does not yet; good until the next call.  And: let it be this (bm25_hold.c).
 */
extern const OmenBm25Ranking *omen_bm25_held(const OmenBm25Query *query);
extern void omen_bm25_hold(const OmenBm25Query *query,
						   const OmenBm25Ranking *ranking);

/*
 * A context for what a scan of an index reads, until the current one is reset
 * or deleted (bm25_scratch.c)
 */
extern MemoryContext omen_bm25_scratch(void);

/* The score of a document for it */
extern double omen_bm25_score_doc(const OmenBm25Ranking *ranking,
								  TSVector tsvector);

/* The same of a row with these frequencies */
extern double omen_bm25_score_tfs(const OmenBm25Ranking *ranking,
								  const uint16 *tfs, uint32 length);

/* A value of the SQL type bm25stats (bm25_score.c) */
extern Datum omen_bm25_form_stats(TupleDesc desc, double ndocs, double length,
								  int nterms, const OmenBm25QueryTerm *terms,
								  const double *df);

/* --- filters (bm25_filter.c) --- */

/* Does a document with some of a query's operands meet it? */
typedef enum OmenBm25Match
{
	OMEN_BM25_NO,
	OMEN_BM25_PERHAPS,
	OMEN_BM25_YES
} OmenBm25Match;

/* present: for each item of the query, whether the document has the operand */
extern OmenBm25Match omen_bm25_match_items(TSQuery filter,
										   const bool *present);

/*
 * Documents of a segment that meet the filter, of those in allowed (NULL:
 * all), as bits; *recheck is set if they only may.  palloc'd.
 */
extern uint64 *omen_bm25_filter_segment(OmenBm25View *view,
										OmenBm25ViewSegment *segment,
										TSQuery filter, const uint64 *allowed,
										uint32 *n, bool *recheck);

/* Documents of a segment that have any of the terms of the view; palloc'd */
extern uint64 *omen_bm25_ranked_docs(OmenBm25View *view,
									 OmenBm25ViewSegment *segment, int nterms,
									 uint32 *n);

/*
 * Is the filter met by exactly the documents with any of these terms, which
 * are those of the ranking?
 */
extern bool omen_bm25_filter_is_ranking(TSQuery filter, int nterms,
										const OmenBm25QueryTerm *terms);

#endif							/* OMEN_BM25_VIEW_H */
