/*-------------------------------------------------------------------------
 *
 * fuse.h
 *	  Omen Fused Scan: rows of a table in the order of several rankings at
 *	  once.
 *
 *		ORDER BY rrf(a <-> $1, b <=> $2) LIMIT 10
 *
 *		Limit
 *		  -> Omen Fused Scan		pulls two rankings, each out of its index
 *			   -> Bitmap Index Scan	what both are restricted to, made once
 *
 * A ranking by text alone that a bitmap restricts is a fused scan of a single
 * branch, which needs no fusion: its order is that of the branch's value.  It
 * goes by the name of those for vectors (filter.h).
 *
 *		ORDER BY a <@> $1 LIMIT 10
 *
 *		Limit
 *		  -> Omen Filtered Scan
 *			   -> Bitmap Index Scan
 *
 * fuse_function.c is what rrf() and fuse() are in SQL, fuse_score.c the
 * arithmetic.  fuse_match.c recognises them in ORDER BY, fuse_plan.c makes
 * path and plan, fuse_cost.c their cost.  fuse_exec.c runs it: fuse_rank.c
 * merges streams, fuse_vector.c and fuse_text.c, as early as fuse_ahead.c
 * allows.  fuse_explain.c tells of it.
 *
 * Words: a branch is an argument of the function that ranks rows, its value is
 * what SQL says, the lower the better; a stream brings the rows of a branch.
 * Goodness is a value after normalisation, the higher the better; a score is
 * what the function returns, negative, the lower the better.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_FUSE_H
#define OMEN_FUSE_H

#include "common/hashfn.h"
#include "tsearch/ts_type.h"

#include "planner/filter.h"

#define OMEN_FUSE_NAME			"Omen Fused Scan"
#define OMEN_FUSE_MAX_BRANCHES	5

/* Rows of each branch that are ranked if the query does not say */
#define OMEN_FUSE_WINDOW_LEAST		100
#define OMEN_FUSE_WINDOW_PER_ROW	10
#define OMEN_FUSE_WINDOW_MOST		10000

/*
 * Breadth of a walk for each row of a window, whose last rows hardly matter:
 * of 2,000 rows that were best of two windows of 100, none was missing at 1.2,
 * one at 1.1 and five at 1.
 */
#define OMEN_FUSE_BREADTH			1.2

typedef enum OmenNorm
{
	OMEN_NORM_NONE,
	OMEN_NORM_THEORETICAL,
	OMEN_NORM_MINMAX,
	OMEN_NORM_ZSCORE
} OmenNorm;

/* What the values of a branch mean */
typedef enum OmenMeasure
{
	OMEN_MEASURE_UNKNOWN,
	OMEN_MEASURE_DISTANCE,		/* 0 or more, without a bound */
	OMEN_MEASURE_COSINE,		/* 0 to 2 */
	OMEN_MEASURE_SHARE,			/* 0 to 1 */
	OMEN_MEASURE_PRODUCT,		/* any number */
	OMEN_MEASURE_TEXT			/* 0, or less by the score */
} OmenMeasure;

/* What the query asks for, as its arguments say */
typedef struct OmenFuseOptions
{
	bool		by_rank;		/* rrf(), else fuse() */
	int			nbranches;
	double		weights[OMEN_FUSE_MAX_BRANCHES];
	OmenNorm	norm;
	int			k;				/* of rrf() */
	int			window;			/* 0 if not given */
} OmenFuseOptions;

/* How values of a branch become goodness */
typedef struct OmenFuseScale
{
	OmenMeasure measure;
	double		ceiling;		/* the best score of a text, or 0 */
	double		best;			/* values in the window */
	double		worst;
	double		mean;
	double		deviation;
} OmenFuseScale;

/* A call of rrf() or fuse(), or the value of a single branch */
typedef struct OmenFuseCall
{
	bool		is_single;
	bool		by_rank;
	bool		is_relative;	/* scores depend on the other rows, */
	bool		needs_scan;		/* or on what only a scan knows */
	int			nbranches;
	Expr	   *score;
	List	   *args;			/* the branches, then options; of a single
								 * branch, queries that rows have to match */
} OmenFuseCall;

/* fuse_function.c */
extern bool omen_fuse_read_call(Node *expr, OmenFuseCall *call);
extern bool omen_fuse_is_called(Node *expr);
extern const char *omen_fuse_call_name(const OmenFuseCall *call);
extern OmenMeasure omen_fuse_measure(Node *branch);

/* Of the arguments behind the branches; what is wrong is reported */
extern void omen_fuse_read_options(OmenFuseOptions *options,
								   const Datum *values, const bool *isnull);

/* fuse_score.c */
extern const char *omen_fuse_norm_name(OmenNorm norm);
extern double omen_fuse_goodness(OmenNorm norm, const OmenFuseScale *scale,
								 double value);

/* Of a row that a branch does not rank */
extern double omen_fuse_missing_goodness(OmenNorm norm,
										 const OmenFuseScale *scale);

/* What fuse() returns; false for NULL */
extern bool omen_fuse_score(const OmenFuseOptions *options,
							const OmenFuseScale *scales, const double *values,
							const bool *isnull, double *score);
extern bool omen_fuse_norm_needs_window(OmenNorm norm);

/* fuse_match.c */
typedef struct OmenFuseMatch
{
	OmenFuseCall call;

	/* index is NULL if the branch is NULL for all rows */
	OmenDistanceMatch branches[OMEN_FUSE_MAX_BRANCHES];
	List	   *conditions;		/* RestrictInfos that the index of a single
								 * branch decides */
	List	   *bounds;			/* of float8: what ends a single branch */
	List	   *strict;			/* of int: is it the bound already? */
} OmenFuseMatch;

/*
 * Is this the order that the query wants of this table?  If it is, but there
 * can be no fused scan, false, or an error if nothing else can do it.
 */
extern bool omen_fuse_match_order(PlannerInfo *root, RelOptInfo *rel,
								  const RangeTblEntry *rte,
								  OmenFuseMatch *match);

/* Is it by a text, and are there restrictions that something may answer? */
extern bool omen_fuse_match_text(PlannerInfo *root, RelOptInfo *rel,
								 const RangeTblEntry *rte,
								 OmenFuseMatch *match);

/* fuse_plan.c */
typedef struct OmenFusePath
{
	CustomPath	custom;
	OmenFuseMatch match;
	double		passing;		/* share of the rows that a stream may bring
								 * which meet WHERE */
} OmenFusePath;

/*
 * What a plan carries.  Its scan tuple: the value of each branch, the score,
 * columns of the table.  The score of a single branch is never read: its value
 * comes first, and is the same.  In custom_exprs for each branch its query and
 * its column, then the options, then bounds.
 */
typedef struct OmenFusePlanBranch
{
	Oid			index;			/* invalid: NULL for all rows, and the rest is
								 * not there */
	int			query_arg;
	Expr	   *query;
	Expr	   *column;
} OmenFusePlanBranch;

extern int	omen_fuse_plan_nbranches(const CustomScan *plan);
extern bool omen_fuse_plan_is_single(const CustomScan *plan);
extern bool omen_fuse_plan_is_by_rank(const CustomScan *plan);
extern double omen_fuse_plan_passing(const CustomScan *plan);
extern void omen_fuse_plan_branch(const CustomScan *plan, int n,
								  OmenFusePlanBranch *branch);
extern List *omen_fuse_plan_options(const CustomScan *plan);
extern List *omen_fuse_plan_bounds(const CustomScan *plan);
extern List *omen_fuse_plan_strict(const CustomScan *plan);

#define omen_fuse_value_column(n)	(1 + (n))
#define omen_fuse_score_column(nbranches)	(1 + (nbranches))

/* fuse_cost.c */
extern void omen_fuse_cost(PlannerInfo *root, RelOptInfo *rel,
						   OmenFusePath *path);

/* A stream: the rows of one branch, best first */
typedef struct OmenStream OmenStream;

/* Rows that a stream has found, and not brought yet, in any order */
typedef struct OmenStreamRow
{
	ItemPointerData tid;
	double		best;			/* its value lies between these */
	double		worst;
} OmenStreamRow;

typedef struct OmenStreamRows
{
	OmenStreamRow *rows;
	int			nrows;
	int			settled;		/* so many come before any others, or more */
	bool		no_others;		/* there are none */
} OmenStreamRows;

typedef struct OmenStreamOps
{
	/* Before the first row, in the memory of the scan */
	void		(*begin) (OmenStream *stream, int wanted);

	/*
	 * The next row; false if there is none that the branch ranks.  A stream
	 * that was begun without a query brings all rows, in any order.
	 */
	bool		(*next) (OmenStream *stream, ItemPointer tid);

	/* Does the snapshot certainly see the row returned last?  May be NULL. */
	bool		(*is_visible) (const OmenStream *stream);

	/* The row is about to be fetched.  May be NULL. */
	void		(*pin) (OmenStream *stream, IndexFetchTableData *fetch,
						const ItemPointerData *tid);

	/* The value of any row; false if the row itself has to tell.  May be NULL. */
	bool		(*value_of) (OmenStream *stream, const ItemPointerData *tid,
							 double *value);

	/* What comes next; false if there is no telling.  May be NULL. */
	bool		(*list_next) (const OmenStream *stream, OmenStreamRows *rows);

	/* The best that can be, negated; 0 if there is no telling.  May be NULL. */
	double		(*ceiling) (OmenStream *stream);
	void		(*end) (OmenStream *stream);

	/* Make of a bitmap what restricts this stream; NULL: nothing does */
	void		(*restrict_to) (OmenStream *stream, TIDBitmap *bitmap);

	/* Is there no row left, as far as restrict_to() has seen? */
	bool		(*is_empty) (const OmenStream *stream);
	void		(*explain) (const OmenStream *stream, ExplainState *es);
} OmenStreamOps;

struct OmenStream
{
	const OmenStreamOps *ops;
	Relation	index;
	Relation	heap;
	Snapshot	snapshot;
	MemoryContext restrict_context; /* of what restrict_to() makes */
	bool		has_query;
	Datum		query;
	Oid			query_type;
	TSQuery		filter;			/* NULL, or what rows have to match */
	bool		is_rest;		/* begun for the rows without a rank */

	/*
	 * Does it bring all rows that have a value?  Else others are at 0, the
	 * worst, and come if it is begun once more as the rest.
	 */
	bool		brings_all;

	bool		has_value;		/* of the row returned last */
	double		value;
};

/* By the index's access method */
extern bool omen_text_stream_is_for(Relation index);
extern OmenStream *omen_text_stream_create(void);
extern OmenStream *omen_vector_stream_create(void);

/* A row of the table that is visible, and meets WHERE */
typedef struct OmenFuseRow
{
	ItemPointerData tid;
	bool		returned;
	bool		isnull;			/* it has no score */
	double		score;
	int			ranks[OMEN_FUSE_MAX_BRANCHES];	/* 0: none */
	int			least[OMEN_FUSE_MAX_BRANCHES];	/* that it can still get, 0:
												 * none; see fuse_ahead.c */
	double		values[OMEN_FUSE_MAX_BRANCHES];
	bool		known[OMEN_FUSE_MAX_BRANCHES];	/* is in values, */
	bool		absent[OMEN_FUSE_MAX_BRANCHES]; /* or is NULL */
} OmenFuseRow;

typedef enum OmenFuseStop
{
	OMEN_FUSE_NOT_STOPPED,
	OMEN_FUSE_NO_QUERY,			/* NULL, or of no weight */
	OMEN_FUSE_WINDOW_FULL,
	OMEN_FUSE_EXHAUSTED
} OmenFuseStop;

typedef struct OmenFuseBranch
{
	OmenStream *stream;			/* NULL: there is none for any row */
	ExprState  *query;
	ExprState  *column;
	int			query_arg;
	int16		query_typlen;
	bool		query_typbyval;
	FmgrInfo	operator;
	Oid			collation;
	bool		is_read;		/* its value, by the target list, */
	bool		is_tested;		/* or by WHERE */
	bool		has_query;		/* of the scan that runs */
	Datum		query_value;
	OmenFuseScale scale;

	OmenFuseStop stop;
	int			rank;			/* of its last row */
	double		last;			/* value of that */
	uint64		npulled;		/* rows, of all scans */
} OmenFuseBranch;

/* What fuse_rank.c works with; in the memory of one scan */
typedef struct OmenFuseRanking OmenFuseRanking;

typedef struct OmenFuseScanState
{
	CustomScanState custom;
	PlanState  *bitmap;			/* NULL: none */
	List	   *option_exprs;	/* of ExprState: OmenFuseCall.args */
	List	   *bound_exprs;	/* likewise: OmenFuseMatch.bounds */
	bool		is_single;
	int			nbranches;
	OmenFuseBranch branches[OMEN_FUSE_MAX_BRANCHES];
	OmenFuseOptions options;

	/* WHERE: what precedes the first that needs a branch's value; the rest */
	ExprState  *row_quals;
	ExprState  *value_quals;
	TupleTableSlot *row;		/* of the table */
	ItemPointerData fetched;	/* what it holds, or invalid */
	ProjectionInfo *columns;	/* from that to the scan tuple */
	IndexFetchTableData *fetch; /* NULL when only explained */
	Buffer		visibility;		/* page of the table's visibility map */
	XLogRecPtr	started;		/* end of WAL before streams read their indexes */

	MemoryContext context;		/* of one scan, reset by each rescan */
	OmenFuseRanking *ranking;	/* NULL until the first row is asked for */
	bool		loaded;			/* the bitmap has been run */
	bool		nothing;		/* no stream has a row */
	double		bound;			/* values beyond end a single branch, */
	bool		ends_at_bound;	/* and so does this one */
	int			window;
	uint64		nscans;
	bool		stopped_early;	/* the last scan, by its bounds */
} OmenFuseScanState;

extern const CustomScanMethods omen_fuse_scan_methods;
extern Node *omen_fuse_create_state(CustomScan *plan);
extern bool omen_fuse_is_state(const PlanState *state);

/* Has a scan of this branch any row to bring? */
extern bool omen_fuse_has_rows(const OmenFuseBranch *branch);

/* fuse_exec.c, for fuse_rank.c: is it visible, and does it meet WHERE? */
extern bool omen_fuse_test_row(OmenFuseScanState *state, int branch,
							   const ItemPointerData *tid);

/* Is the row on a page that has nothing but rows that everybody sees? */
extern bool omen_fuse_is_all_visible(OmenFuseScanState *state,
									 const OmenStream *stream,
									 const ItemPointerData *tid);

/* The value of a branch, from the row; it must be there */
extern void omen_fuse_read_value(OmenFuseScanState *state, int branch,
								 OmenFuseRow *row);

/* fuse_rank.c */
extern OmenFuseRanking *omen_fuse_ranking_begin(OmenFuseScanState *state);
extern OmenFuseRow *omen_fuse_ranking_next(OmenFuseScanState *state);

/*
 * What streams can add to the score of a row that has these ranks already,
 * NULL: none; and can get at least these ranks, NULL: any.
 */
extern double omen_fuse_still_to_come(const OmenFuseScanState *state,
									  const int *ranks, const int *least);

/*
 * fuse_ahead.c.  What streams are going to bring to their windows, in the
 * current memory context; NULL if there is no telling.  See: a stream has
 * brought the row, whose least ranks are noted down.  Lowest: the best score
 * that a row which no stream has brought can come to.
 */
typedef struct OmenFuseAhead OmenFuseAhead;

extern OmenFuseAhead *omen_fuse_look_ahead(OmenFuseScanState *state);
extern void omen_fuse_ahead_see(OmenFuseAhead *ahead, OmenFuseRow *row);
extern double omen_fuse_ahead_lowest(const OmenFuseScanState *state,
									 const OmenFuseAhead *ahead);

/* For tables of rows */
static inline uint32
omen_fuse_hash_tid(ItemPointerData tid)
{
	return murmurhash32(ItemPointerGetBlockNumberNoCheck(&tid) * 31 +
						ItemPointerGetOffsetNumberNoCheck(&tid));
}

static inline bool
omen_fuse_is_same_tid(ItemPointerData a, ItemPointerData b)
{
	return ItemPointerCompare(&a, &b) == 0;
}

/* fuse_explain.c */
extern void omen_fuse_explain(CustomScanState *custom, List *ancestors,
							  ExplainState *es);

#endif							/* OMEN_FUSE_H */
