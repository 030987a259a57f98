/*-------------------------------------------------------------------------
 *
 * hnsw_key.h
 *	  Key columns: codes of their values, and conditions on codes.
 *
 * A value of a key column becomes a code of 8 bytes.  Codes are compared as
 * unsigned numbers, in the order of the values:
 *
 *	  exact		numbers, dates, times: equal codes are equal values
 *	  prefix	uuid, text in C order: the first 8 bytes.  Of text they are
 *				the whole if it is shorter than that
 *	  hash		text in another order: as prefix if it is shorter than 8
 *				bytes, else a hash, which tells equality only
 *	  array		two bits for each element (a Bloom filter): an array whose
 *				code lacks a bit of an element does not have that element
 *
 * Whether a row meets a condition then is certain, or impossible, or left
 * open; in that case the server checks the row itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_KEY_H
#define OMEN_HNSW_KEY_H

#include "access/skey.h"
#include "utils/rel.h"

#include "hnsw/hnsw_page.h"

/* Strategies of the operator classes of keys; 1 to 5 are btree's */
#define OMEN_KEY_LESS				1
#define OMEN_KEY_LESS_EQUAL			2
#define OMEN_KEY_EQUAL				3
#define OMEN_KEY_GREATER_EQUAL		4
#define OMEN_KEY_GREATER			5
#define OMEN_KEY_OVERLAPS			6
#define OMEN_KEY_CONTAINS			7

/* How a column is encoded; on the metapage */
typedef enum OmenKeyKind
{
	OMEN_KEY_NONE = 0,
	OMEN_KEY_BOOL,
	OMEN_KEY_INT2,
	OMEN_KEY_INT4,
	OMEN_KEY_INT8,
	OMEN_KEY_OID,
	OMEN_KEY_FLOAT4,
	OMEN_KEY_FLOAT8,
	OMEN_KEY_DATE,
	OMEN_KEY_TIME,
	OMEN_KEY_TIMESTAMP,
	OMEN_KEY_TIMESTAMPTZ,
	OMEN_KEY_UUID,
	OMEN_KEY_TEXT_PREFIX,
	OMEN_KEY_TEXT_HASH,
	OMEN_KEY_ARRAY
} OmenKeyKind;

/* The keys of a row */
typedef struct OmenHnswKeys
{
	uint8		nulls;			/* bit k: key k is NULL, and its code zero */
	uint64		codes[OMEN_HNSW_MAX_KEYS];
} OmenHnswKeys;

/* Codes from low to high, both included */
typedef struct OmenKeyRange
{
	uint64		low;
	uint64		high;
} OmenKeyRange;

/* Ascending, without overlaps */
typedef struct OmenKeyRanges
{
	int			n;
	OmenKeyRange *ranges;
} OmenKeyRanges;

typedef enum OmenKeyTest
{
	OMEN_KEY_IS_NULL,
	OMEN_KEY_IS_NOT_NULL,
	OMEN_KEY_IN_RANGES,
	OMEN_KEY_HAS_MASK			/* all bits of one of the masks are set */
} OmenKeyTest;

typedef struct OmenKeyCondition
{
	OmenKeyTest test;
	int			key;
	OmenKeyRanges possible;		/* other codes cannot meet it */
	OmenKeyRanges certain;		/* these do */
	int			nmasks;
	uint64	   *masks;
} OmenKeyCondition;

/* All conditions of a scan; a row has to meet each of them */
typedef struct OmenKeyPredicate
{
	bool		nothing;		/* no row can */
	int			nconditions;
	OmenKeyCondition *conditions;
} OmenKeyPredicate;

typedef enum OmenKeyMatch
{
	OMEN_KEYS_NO,
	OMEN_KEYS_OPEN,				/* the row decides */
	OMEN_KEYS_YES
} OmenKeyMatch;

/* hnsw_key.c */

/* Fill in nkeys and key_kinds from the definition of the index, or ereport */
extern void omen_hnsw_resolve_keys(Relation index, OmenHnswMetaPageData *meta);

/* Are the keys on the metapage those of the index's columns? */
extern bool omen_hnsw_key_kinds_match(Relation index,
								 const OmenHnswMetaPageData *meta);

/* The kind of a type, or OMEN_KEY_NONE; of text, TEXT_PREFIX */
extern OmenKeyKind omen_hnsw_key_kind(Oid type);

/* values and isnull are those of all columns, the vector's first */
extern void omen_hnsw_form_keys(const OmenHnswMetaPageData *meta,
						  const Datum *values, const bool *isnull,
						  OmenHnswKeys *keys);
extern uint64 omen_hnsw_encode_key(OmenKeyKind kind, Datum value);

/*
 * Two bits for each element of an array, or one mask for each, of those that
 * are not NULL
 */
extern uint64 omen_hnsw_array_code(Datum array);
extern uint64 *omen_hnsw_array_masks(Datum array, int *nmasks, bool *has_null);

/* hnsw_key_match.c */

/* Made in the current memory context, from the keys of amrescan */
extern OmenKeyPredicate *omen_hnsw_key_predicate(const OmenHnswMetaPageData *meta,
											const ScanKeyData *keys,
											int nkeys);
extern OmenKeyMatch omen_hnsw_match_key(const OmenKeyCondition *condition,
										bool null, uint64 code);
extern OmenKeyMatch omen_hnsw_match_keys(const OmenKeyPredicate *predicate,
								   uint8 nulls, const uint64 *codes);

#endif							/* OMEN_HNSW_KEY_H */
