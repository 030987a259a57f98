/*-------------------------------------------------------------------------
 *
 * verify.h
 *	  What the checks of both access methods have in common: findings, steps
 *	  that a broken page ends, and the comparison with the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_VERIFY_H
#define OMEN_VERIFY_H

#include "access/relscan.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/resowner.h"
#include "utils/snapshot.h"
#include "utils/tuplesort.h"

#include "analytics/analytics.h"
#include "base/tid.h"
#include "storage/page.h"

/* A page that is none of ours, or that cannot be read */
#define OMEN_VERIFY_BROKEN	255

/* Findings that are not about one slot or entry */
#define OMEN_VERIFY_NO_OFFSET	(-1)

/* Invariants of which findings are counted: there are some forty */
#define OMEN_VERIFY_INVARIANTS	64

/* Of each, so many findings are listed */
#define OMEN_VERIFY_LISTED		100

typedef struct OmenVerifyCount
{
	char		invariant[8];
	int64		n;
} OmenVerifyCount;

typedef struct OmenVerify
{
	Relation	index;
	Relation	heap;
	bool		heapallindexed;
	Snapshot	snapshot;		/* what it sees was indexed before the check
								 * began */
	BufferAccessStrategy strategy;
	BlockNumber nblocks;		/* of the index, when the check began */
	uint8	   *kinds;			/* of each page then, OmenPageKind or BROKEN */
	uint64	   *referred;		/* a bit for each block: something refers to
								 * it */
	ReturnSetInfo *result;
	int			ncounts;
	OmenVerifyCount counts[OMEN_VERIFY_INVARIANTS];

	/* rows (verify_rows.c) */
	Tuplesortstate *rows;
	TupleTableSlot *put_slot;
	TupleTableSlot *row_slot;
	ResourceOwner owner;		/* of the sort's files */
	BlockNumber heap_nblocks;	/* all rows that the snapshot sees are there */
	OmenBufferHints hints;		/* of the table's blocks */
	IndexFetchTableData *fetch;
	TupleTableSlot *fetched;
} OmenVerify;

/* --- findings --- */

/*
 * An invariant does not hold.  block: InvalidBlockNumber if it is not about one;
 * offset: of a slot, an entry or a document there.
 */
extern void omen_verify_note(OmenVerify *verify, const char *invariant,
							 BlockNumber block, int offset,
							 const char *format,...)
			pg_attribute_printf(5, 6);

/* It holds, but is worse than it should be */
extern void omen_verify_warn(OmenVerify *verify, const char *invariant,
							 BlockNumber block, const char *format,...)
			pg_attribute_printf(4, 5);

/* omen_try_step(), whose ERROR becomes a finding: false then */
extern bool omen_verify_try(OmenVerify *verify, const char *invariant,
							void (*step) (void *arg), void *arg);

/* --- pages --- */

/* Copy a page, and say of which kind it is: OmenPageKind or BROKEN */
extern int	omen_verify_copy(OmenVerify *verify, BlockNumber block,
							 PGAlignedBlock *copy);

/* What kind it has now, for whom the page has changed since the check began */
extern int	omen_verify_kind_now(OmenVerify *verify, BlockNumber block);

/*
 * A structure refers to a page of a kind, and nothing else may.  False, and a
 * finding, if it is no such page.
 */
extern bool omen_verify_refer(OmenVerify *verify, const char *invariant,
							  BlockNumber from, BlockNumber block,
							  OmenPageKind kind, const char *what);

/* Something refers to a block below nblocks; false if something else does */
extern bool omen_verify_take(OmenVerify *verify, BlockNumber block);
extern bool omen_verify_is_referred(const OmenVerify *verify,
									BlockNumber block);

/* --- rows (verify_rows.c) --- */

/*
 * How an access method sees its rows.  hash: of all that the index has of a
 * row; false for a row that is not to be in the index.  is_there: has the index
 * this row at this place still?
 */
typedef struct OmenVerifyRows
{
	const char *invariant;		/* every row once */
	const char *hash_invariant; /* and as it is in the table */
	const char *hash_fault;		/* what to say else */
	bool		always_once;	/* rows that are gone, too */
	bool		(*hash) (void *arg, const Datum *values, const bool *isnull,
						 uint64 *hash);
	bool		(*is_there) (void *arg, uint64 row, uint64 place);
	/* of a place: where is it? */
	void		(*locate) (void *arg, uint64 place, BlockNumber *block,
						   int *offset);
} OmenVerifyRows;

extern void omen_verify_begin_rows(OmenVerify *verify);

/* What the index has of a row cannot be compared with the row */
#define OMEN_VERIFY_ANY_HASH	UINT64CONST(0)

/* The index has a row, with this hash of what it has of it, at a place */
extern void omen_verify_add_row(OmenVerify *verify, uint64 row, uint64 hash,
								uint64 place);

/* Compare all of them with each other, and with the table if that is wanted */
extern void omen_verify_compare_rows(OmenVerify *verify,
									 const OmenVerifyRows *how, void *arg);

/* Does the snapshot see a row?  False for TIDs that no table has. */
extern bool omen_verify_sees(OmenVerify *verify, uint64 row);
extern void omen_verify_end_rows(OmenVerify *verify);

/* --- access methods --- */

extern void omen_verify_hnsw(OmenVerify *verify);
extern void omen_verify_bm25(OmenVerify *verify);

#endif							/* OMEN_VERIFY_H */
