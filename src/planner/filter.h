/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  Omen Filtered Scan: the nearest of the rows that other indexes let
 *	  through, or those within a distance.
 *
 *		Limit								Limit
 *		  -> Sort							  -> Omen Filtered Scan
 *			   -> Bitmap Heap Scan	=>			   -> Bitmap Index Scan
 *					-> Bitmap Index Scan
 *
 * match.c recognises what an index can order or bound, filter_plan.c makes
 * the path and the plan, filter_cost.c their cost; filter_exec.c runs it, by
 * the allow-set that filter_allow.c makes of the bitmap, unless filter_trial.c
 * finds that the nearest rows of all will do; filter_explain.c tells of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_FILTER_H
#define OMEN_FILTER_H

#include "commands/explain.h"
#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/pathnodes.h"
#include "nodes/tidbitmap.h"

#include "base/compat.h"
#include "hnsw/hnsw_cost.h"
#include "hnsw/omen_scan.h"

#define OMEN_FILTER_NAME	"Omen Filtered Scan"

/* A distance that an index can order by */
typedef struct OmenDistanceMatch
{
	IndexOptInfo *index;
	OpExpr	   *distance;		/* between its column and a query */
	int			query_arg;		/* which of the operands is the query */
	Oid			sortfamily;		/* of btree, that the distance sorts by */
} OmenDistanceMatch;

/* match.c */
extern bool omen_match_distance(PlannerInfo *root, IndexOptInfo *index,
								Expr *expr, OmenDistanceMatch *match);
extern bool omen_match_order(PlannerInfo *root, RelOptInfo *rel,
							 IndexOptInfo *index, OmenDistanceMatch *match);
extern bool omen_match_any_bound(PlannerInfo *root, IndexOptInfo *index,
								 const RestrictInfo *info,
								 OmenDistanceMatch *match);

/*
 * Which of the clauses are upper bounds of this distance; and the values.  If the
 * scan is ordered by it, lower bounds of a similarity, 1 - distance, are some,
 * too, unless the bound is only near what the clause says, and must be exact.
 */
typedef enum OmenBoundUse
{
	OMEN_BOUND_OF_DISTANCE,
	OMEN_BOUND_IN_ORDER,
	OMEN_BOUND_EXACT_IN_ORDER
} OmenBoundUse;

extern List *omen_match_bounds(PlannerInfo *root, List *clauses,
							   const OmenDistanceMatch *match,
							   OmenBoundUse use, List **bounds);

/* Of one of those: may the distance not even be equal? */
extern bool omen_match_is_strict(const OmenDistanceMatch *match,
								 const RestrictInfo *info);

/* Which of them are conditions on the index's column, and on what */
extern List *omen_match_conditions(PlannerInfo *root, List *clauses,
								   IndexOptInfo *index, int strategy,
								   List **queries);

/* filter_plan.c */
typedef struct OmenFilterPath
{
	CustomPath	custom;
	OmenDistanceMatch match;
	List	   *bound_clauses;	/* RestrictInfos that bound the distance */
	List	   *bounds;			/* expressions of float8, one for each */
	List	   *keys;			/* IndexClauses on keys that no bitmap decides */
	double		passing;		/* share of the rows that come from the bitmap
								 * and pass all other restrictions */
	double		patience;		/* visits that the bitmap, its set and the scan
								 * by it are worth; 0: no trial without */
} OmenFilterPath;

/*
 * What a plan carries: in custom_exprs the distance, a list of conditions on
 * keys, then the bounds; in custom_private what these functions read.
 */
extern Oid	omen_filter_plan_index(const CustomScan *plan);
extern int	omen_filter_plan_query_arg(const CustomScan *plan);
extern double omen_filter_plan_passing(const CustomScan *plan);
extern double omen_filter_plan_share(const CustomScan *plan);
extern double omen_filter_plan_patience(const CustomScan *plan);
extern List *omen_filter_plan_keys(const CustomScan *plan);
extern List *omen_filter_plan_key_columns(const CustomScan *plan);
extern List *omen_filter_plan_bounds(const CustomScan *plan);
extern bool omen_filter_is_plan(const Plan *plan);	/* for a vector */

/* Is it a table of its own, and not only a sample of it that is read? */
extern bool omen_filter_is_table(const RelOptInfo *rel,
								 const RangeTblEntry *rte);

/* May a scan of this query use the index? */
extern bool omen_filter_is_usable(const IndexOptInfo *index);

/*
 * The server's best bitmap for the restrictions, a BitmapHeapPath or NULL, by
 * other indexes than "but", which may be NULL;
 */
extern Path *omen_filter_find_bitmap(PlannerInfo *root, RelOptInfo *rel,
									 IndexOptInfo *but);

/* that, and what it is the AND of; */
extern List *omen_filter_find_bitmaps(PlannerInfo *root, RelOptInfo *rel,
									  IndexOptInfo *but);

/* of the plan for that, the bitmap, and what it leaves undecided */
extern Plan *omen_filter_take_bitmap(Plan *plan, List **undecided);

/* filter_cost.c */
extern void omen_filter_cost(PlannerInfo *root, RelOptInfo *rel,
							 OmenFilterPath *path);

/* Of the table's rows, the share that the bitmap holds; all without one */
extern double omen_filter_share_in_bitmap(const CustomPath *path, Cost *cost);

/* Measured: so long a row of a bitmap takes to be found in a text index */
#define OMEN_ALLOW_COST	(2 * cpu_operator_cost)

/* From so many rows of a bitmap to the nodes that have them */
extern Cost omen_filter_cost_allow_set(const RelOptInfo *rel,
									   const OmenHnswCosts *costs,
									   double rows);

/* The pages of so many rows, which lie anywhere */
extern Cost omen_filter_cost_rows(PlannerInfo *root, RelOptInfo *rel,
								  double rows);

/* filter_allow.c: from a bitmap to the nodes that have its rows */
typedef struct OmenFilterCells OmenFilterCells;

typedef struct OmenFilterAllow
{
	OmenAllowSet set;
	uint64	   *bits;			/* set.bits, or NULL */
	Size		nwords;			/* allocated */
	OmenFilterCells *cells;		/* work area */
	uint64		lossy_pages;	/* of all bitmaps */

	/* set by the caller, for omen_filter_allow_run() */
	MemoryContext context;		/* holds the set */
	Relation	heap;
} OmenFilterAllow;

/*
 * Run the plan for a bitmap, or do what that would; false if the index cannot
 * tell which nodes have its rows
 */
extern bool omen_filter_allow_run(OmenFilterAllow *allow, Relation index,
								  PlanState *state);

/* The same of a bitmap, in the current memory context */
extern bool omen_filter_allow_load(OmenFilterAllow *allow, Relation index,
								   TIDBitmap *bitmap);

/* filter_trial.c: the rows of a walk without the allow-set */
typedef struct OmenTrialRow
{
	float		distance;
	ItemPointerData tid;
} OmenTrialRow;

typedef struct OmenFilterTrial
{
	OmenTrialRow *rows;			/* that passed, nearest first */
	int			wanted;			/* of them; there is room for twice as many */
	int			nfound;			/* so many; 0 after a walk that was in vain */
	int			nreturned;
	int			nseen;			/* rows that were tested */
	int			npassed;		/* of them, found or to be found */
	double		most_seen;		/* to be tested before it gives up, */
	bool		gives_up;		/* which it has */
	int			nskipped;		/* of rows, in the order of TIDs, those that a
								 * scan with the set is not to return again */
} OmenFilterTrial;

/*
 * A trial is to cost so much less than the search with the set: then neither
 * one that is in vain nor one that is missed costs much more than the other way
 */
#define OMEN_TRIAL_FACTOR	2

/*
 * Measured on 100,000 x 128: what a row costs in visits, the walk for it and
 * the test.
 */
#define OMEN_VISITS_PER_TRIED_ROW	2.4

/* filter_keys.c: conditions on keys of the index */
typedef struct OmenFilterKeys OmenFilterKeys;

/* NULL if the plan has none */
extern OmenFilterKeys *omen_filter_keys_begin(const CustomScan *plan,
											  PlanState *state,
											  Relation index);

/*
 * Narrow a set down by what the conditions are now; false if no row can meet
 * them.  Allocates in the current memory context.
 */
extern bool omen_filter_keys_narrow(OmenFilterKeys *keys, Relation index,
									OmenAllowSet *set);

/* filter_exec.c */
typedef struct OmenFilterScanState
{
	CustomScanState custom;
	PlanState  *bitmap;			/* NULL: only a bound */
	ExprState  *query;
	List	   *bounds;			/* of ExprState */
	int16		query_typlen;
	bool		query_typbyval;

	Relation	index;			/* NULL when only explained */
	IndexFetchTableData *fetch;
	MemoryContext context;		/* of one scan, reset by each rescan */
	OmenScanParams params;		/* of each of its scans, but for what restricts */
	OmenScan   *scan;			/* NULL until the first row is asked for */
	bool		finished;
	float		bound;			/* graph distances beyond end the scan */

	OmenFilterAllow allow;
	bool		loaded;			/* the bitmap has been run */
	bool		usable;			/* and allow says what it holds */
	OmenFilterKeys *keys;		/* NULL: none */
	OmenAllowSet narrowed;		/* of allow, by the keys */
	OmenFilterTrial trial;

	uint64		nscans;			/* started */
	OmenScanCounts ended;		/* what those that have ended did */
} OmenFilterScanState;

extern const CustomScanMethods omen_filter_scan_methods;
extern bool omen_filter_is_state(const PlanState *state);

/* The graph distance, or a little more, of what is within a bound */
extern double omen_filter_graph_bound(OmenMetric metric, double bound);

/* Is there a version of this row that the snapshot sees? */
extern bool omen_filter_fetch_row(OmenFilterScanState *state, ItemPointer tid,
								  TupleTableSlot *slot);

/* filter_trial.c, which allocates in the memory of the scan */
extern bool omen_filter_is_trial_due(const OmenFilterScanState *state,
									 const OmenScanParams *params);
extern bool omen_filter_try(OmenFilterScanState *state,
							const OmenScanParams *params);

/* More rows are asked for than the trial has found: its rows are to be skipped */
extern void omen_filter_end_trial(OmenFilterScanState *state);
extern bool omen_filter_is_skipped(const OmenFilterTrial *trial,
								   const ItemPointerData *tid);

/* filter_explain.c */
extern void omen_filter_explain(CustomScanState *custom, List *ancestors,
								ExplainState *es);
extern void omen_filter_explain_allowed(const char *label, double allowed,
										Relation index, ExplainState *es);
extern void omen_filter_explain_lossy(uint64 pages, ExplainState *es);

#endif							/* OMEN_FILTER_H */
