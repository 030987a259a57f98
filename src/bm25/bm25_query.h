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

#include "fmgr.h"
#include "tsearch/ts_type.h"

/* k1 or b that is the index's own */
#define OMEN_BM25_UNSET		(-1.0f)

/*
 * Varlena, four-byte header:
 *
 *	+--------+-------+----+---+---------------------------+
 *	| length | index | k1 | b | tsquery, with its header  |
 *	+--------+-------+----+---+---------------------------+
 *	0		 4		 8	  12  16
 */
typedef struct OmenBm25Query
{
	int32		vl_len_;
	Oid			index;			/* whose statistics; InvalidOid: not bound */
	float4		k1;
	float4		b;
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

#endif							/* OMEN_BM25_QUERY_H */
