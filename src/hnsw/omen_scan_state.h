/*-------------------------------------------------------------------------
 *
 * omen_scan_state.h
 *	  What the stages of a scan share, see omen_scan.c.
 *
 * omen_scan.c calls the stages, and they put what they bring into its queue;
 * omen_scan_filter.c decides which stages a filtered scan has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_SCAN_STATE_H
#define OMEN_SCAN_STATE_H

#include "lib/pairingheap.h"

#include "hnsw/hnsw_rows.h"
#include "hnsw/omen_scan.h"

/*
 * Rows whose memory is touched ahead of time: LIMIT 10 looks at 14 of 128
 * dimensions.
 */
#define OMEN_ROWS_SOON	16

/* A row that will probably be looked up or returned soon */
typedef struct OmenRowSoon
{
	float		estimate;
	ItemPointerData tid;
} OmenRowSoon;

typedef struct OmenScanItem
{
	pairingheap_node node;
	float		key;			/* lower bound, or exact */
	float		upper;
	bool		exact;
	bool		recheck;		/* the filter is not certain of its rows */
	bool		tested;			/* its only row, which passes */
	OmenLink	link;
	OmenLink	more_tids;
	int			ntids;
	ItemPointerData tids[OMEN_SLOT_TIDS];
} OmenScanItem;

typedef enum OmenScanStage
{
	OMEN_STAGE_WALK,			/* and widening it */
	OMEN_STAGE_RANGES,			/* of numbers, the nearest first */
	OMEN_STAGE_PASS				/* over all slots, or all that are allowed */
} OmenScanStage;

/* What an item of a pass is sorted by: items are too large to be moved */
typedef struct OmenPassEntry
{
	float		key;
	uint32		number;
	OmenScanItem *item;
} OmenPassEntry;

/* Of the nodes of a pass, the nearest so far */
typedef struct OmenPassItems
{
	OmenPassEntry *entries;		/* room for twice keep */
	int			n;
	OmenScanItem *items;		/* as many; those of entries beyond n are free */
	int			nused;			/* entries that have one */
	int			keep;
	bool		cut;			/* others have been dropped */
	float		limit;			/* nodes beyond are not wanted */
} OmenPassItems;

/* The ranges of node numbers by the distance of their centres */
typedef struct OmenScanRanges
{
	uint32		n;				/* 0: there are none */
	OmenHeard  *nearest;		/* instead of links, numbers of ranges; in order
								 * but for differences of 1/255 of the largest */
	float	   *estimates;		/* distances of all centres, by range */
	bool		with_empty;		/* the set is elsewhere, but empty ranges have
								 * not been dropped yet */
	OmenQuery  *query;			/* for range codes, NULL until needed */
} OmenScanRanges;

struct OmenScan
{
	OmenScanParams params;
	MemoryContext context;
	MemoryContext pass_context; /* items of the last sequential pass, or NULL */
	OmenHnswIndex *hnsw;
	const void *payload;		/* what the query was made from */
	OmenQuery  *query;
	OmenHnswStore store;
	OmenSearch *search;
	OmenRowReader *rows;		/* NULL until the first look-up */

	OmenRowSoon soon[2 * OMEN_ROWS_SOON];	/* nearest first */
	int			nsoon;
	int			most_soon;
	int			nasked;			/* of soon, read ahead */
	int			nlooked;		/* rows looked up or returned since */

	OmenScanStage stage;
	pairingheap *queue;
	Size		nconsumed;		/* of search->found */
	float		horizon;		/* keys beyond are not settled yet */
	int			promised;		/* so many are settled in any case: what the
								 * walk, or the ranges, are good for */
	float		within;			/* nobody wants what is farther */
	int64		nreturned;		/* nodes with rows, or that did not pass */
	int64		ndead;			/* of them, dead ones */
	int64		ngone;			/* nodes not returned: nobody would see them */
	bool		broad;			/* they ask for more than the walk can be */
	bool		complete;		/* nothing can come any more */

	/* passes */
	int			keep;			/* nodes that the next one is to bring */
	float		cutoff_key;		/* the passes so far went up to here */
	uint32		cutoff_number;

	/* filtered scans */
	int			wanted_rows;
	double		nodes;			/* of the index */
	double		allowed;		/* of them */
	double		near_share;		/* of allowed ones near the query */
	uint32		tail;			/* allowed ones that are in no range */
	OmenSearchFilter filter;
	int			nseeds;			/* of entries, if they were looked at */
	OmenHeard	seeds[OMEN_IP_SEEDS];
	OmenScanRanges ranges;
	double		wanted;			/* allowed nodes of the ranges to look at */
	double		nranges;		/* in so many ranges at most */
	bool		by_codes;		/* by their range codes, */
	int			verify;			/* of which so many are to be measured */
	struct omen_numberset_hash *brought;	/* node numbers, by ranges */

	OmenScanItem *current;		/* the node whose rows are being returned */
	BlockNumber heap_blocks;	/* size of the table, at least */
	ItemPointerData *list;		/* its TID list */
	int			nlist;
	int			next_tid;
	int			ndead_rows;		/* of those returned */

	OmenScanCounts counts;
};

/* omen_scan.c: copy the queue's items into this context */
extern void omen_scan_move_queue(OmenScan *scan, MemoryContext context);

/* omen_scan_walk.c */
extern void omen_scan_start_walk(OmenScan *scan);

/* Offer the search the nearest entries, those of scan->seeds if there are any */
extern void omen_scan_seed_near(OmenScan *scan);

/* How broad a walk is, in multiples of ef, as far as scan->seeds tell */
extern double omen_scan_broader(const OmenScan *scan);

/* Move what the walk has found since the last time into the queue */
extern void omen_scan_consume_found(OmenScan *scan);

/* Widen the walk; false if it cannot be, or does not pay */
extern bool omen_scan_widen_walk(OmenScan *scan);

/*
 * omen_scan_rows.c.  Rows that are likely to be looked up or returned soon are
 * fetched ahead of time: begin, add, fetch; or those of the nearest nodes that
 * the walk has found since the first.
 */
extern void omen_scan_begin_soon(OmenScan *scan);
extern void omen_scan_add_soon(OmenScan *scan, float estimate,
							   const ItemPointerData *tid);
extern void omen_scan_fetch_soon(OmenScan *scan);
extern void omen_scan_find_rows_soon(OmenScan *scan, Size first);

/* The memory of rows of those nodes, if they are among the n nearest of all */
extern void omen_scan_prefetch_nearest(OmenScan *scan, Size first, int n);

/*
 * Replace an item's bounds by the exact distance.  Returns false if none of
 * its rows is visible: then nobody would see it returned.
 */
extern bool omen_scan_verify(OmenScan *scan, OmenScanItem *item);
extern void omen_scan_check_tid(OmenScan *scan, const OmenScanItem *item,
								const ItemPointerData *tid);

/* omen_scan_pass.c */
extern void omen_scan_pass(OmenScan *scan);

/*
 * Parts of a pass.  Begin: gives back what the pass before took; of its items,
 * only few are left, those that turned out to lie beyond where it ended.
 * Measure slots, whose numbers ascend within a page.  Cut: sort, and drop the
 * farthest if there are more than are to be kept.  Then queue them.
 */
extern void omen_scan_begin_pass(OmenScan *scan, OmenPassItems *items,
								 int keep);
extern void omen_scan_measure(OmenScan *scan, const uint32 *numbers, int n,
							  OmenPassItems *items);
extern void omen_scan_cut_items(OmenPassItems *items);
extern void omen_scan_queue_items(OmenScan *scan, OmenPassItems *items);

/* The next allowed numbers, up to max, from *from on, which moves past them */
extern int	omen_scan_list_allowed(const OmenAllowSet *allow, uint32 *from,
								   uint32 end, uint32 *numbers, int max);

/* Numbers listed at a time; a page has no more range codes */
#define OMEN_NUMBER_BLOCK	1024

/* omen_scan_filter.c */
extern void omen_scan_start_filtered(OmenScan *scan);
extern void omen_scan_extend_filtered(OmenScan *scan);

/*
 * omen_scan_ranges.c.  Find: score the centres of all ranges, which are loaded.
 * Pass: the nearest ranges that hold scan->wanted allowed nodes, and
 * what was inserted since the ranges were made.
 */
extern void omen_scan_find_ranges(OmenScan *scan);
extern void omen_scan_drop_empty_ranges(OmenScan *scan);
extern double omen_scan_near_share(OmenScan *scan);
extern void omen_scan_pass_ranges(OmenScan *scan);

/*
 * Numbers, instead of links, of allowed nodes in the nearest ranges that hold
 * scan->wanted of them, the best by their range codes, in no order; returns how
 * many.  There are range codes.
 */
extern int	omen_scan_near_by_codes(OmenScan *scan, OmenHeard *near, int max);

static inline bool
omen_scan_is_filtered(const OmenScan *scan)
{
	return scan->params.allow != NULL;
}

/* Are the allowed nodes not where the query is? */
static inline bool
omen_scan_is_elsewhere(const OmenScan *scan)
{
	return scan->near_share < scan->allowed / scan->nodes / 2;
}

#endif							/* OMEN_SCAN_STATE_H */
