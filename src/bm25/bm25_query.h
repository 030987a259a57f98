/*-------------------------------------------------------------------------
 *
 * bm25_query.h
 *	  The type bm25query: what to rank by, with which index's statistics and
 *	  with which parameters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BM25_QUERY_H
#define OMEN_BM25_QUERY_H

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "tsearch/ts_type.h"

/* k1 or b that is the index's own */
#define OMEN_BM25_UNSET		(-1.0f)

/*
 * Varlena, four-byte header:
 *
 *	+--------+-------+----+---+---------+--------------------------+
 *	| length | index | k1 | b | granted | tsquery, with its header |
 *	+--------+-------+----+---+---------+--------------------------+
 *	0		 4		 8	  12  16		20
 *
 * "granted" is 1 if the planner has bound the query to an index of what it
 * ranks: then the statement reads the table, as itself or through a view, and
 * the executor has seen to it that it may.  A value that a user makes or sends
 * has 0, and whoever ranks by it must be allowed to read what the index is of.
 */
typedef struct OmenBm25Query
{
	int32		vl_len_;
	Oid			index;			/* whose statistics; InvalidOid: not bound */
	float4		k1;
	float4		b;
	uint32		granted;
	char		query[FLEXIBLE_ARRAY_MEMBER];	/* a TSQuery */
} OmenBm25Query;

#define DatumGetOmenBm25Query(x) \
	((OmenBm25Query *) PG_DETOAST_DATUM(x))
#define PG_GETARG_BM25QUERY(n)	DatumGetOmenBm25Query(PG_GETARG_DATUM(n))

static inline TSQuery
omen_bm25_tsquery(const OmenBm25Query *query)
{
	return (TSQuery) query->query;
}

extern OmenBm25Query *omen_bm25_form_query(TSQuery tsquery, Oid index,
										   float4 k1, float4 b);

/*
 * The collation that the planner calls bm25query_bind() with, to be known by:
 * no statement can, for its arguments have none.
 */
#define OMEN_BM25_PLANNER	DEFAULT_COLLATION_OID

/*
 * Raises an ERROR unless it is an index, and the current user may read what it
 * is of: its table, or all columns that it and its predicate name
 */
extern void omen_bm25_check_index(Oid index);

/* The same of the index that a query names, unless that was granted */
extern void omen_bm25_check_query(const OmenBm25Query *query);

#endif							/* OMEN_BM25_QUERY_H */
