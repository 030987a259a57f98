/*-------------------------------------------------------------------------
 *
 * allowset.h
 *	  Which nodes a scan may return.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ALLOWSET_H
#define OMEN_ALLOWSET_H

#include "port/pg_bitutils.h"

typedef enum OmenAllowKind
{
	OMEN_ALLOW_ALL,
	OMEN_ALLOW_BITSET,			/* one bit for each node number */
	OMEN_ALLOW_KEYS				/* by what is in the node's slot */
} OmenAllowKind;

typedef struct OmenAllowSet
{
	OmenAllowKind kind;
	uint32		nbits;			/* numbers beyond are not allowed */
	const uint64 *bits;
	const void *keys;			/* OmenKeyPredicate, or NULL: what is in the
								 * slot has to meet it as well */
	double		cardinality;	/* nodes allowed; exact unless "estimated" */
	bool		estimated;
} OmenAllowSet;

/* As far as the number tells; whoever has the slot asks omen_hnsw_allows() */
static inline bool
omen_allow_test(const OmenAllowSet *set, uint32 number)
{
	if (set == NULL || set->kind != OMEN_ALLOW_BITSET)
		return true;
	return number < set->nbits &&
		(set->bits[number / 64] >> (number % 64) & 1) != 0;
}

/* How many numbers from "from" on, below "end", are in a bitset */
static inline uint32
omen_allow_count(const OmenAllowSet *set, uint32 from, uint32 end)
{
	uint32		n = 0;

	end = Min(end, set->nbits);
	while (from < end)
	{
		uint32		word = from / 64;
		uint32		stop = Min(end, (word + 1) * 64);
		uint64		bits = set->bits[word] >> (from % 64);

		if (stop - from < 64)
			bits &= (UINT64CONST(1) << (stop - from)) - 1;
		n += pg_popcount64(bits);
		from = stop;
	}
	return n;
}

/* The first number of a bitset from "from" on, below "end", or else end */
static inline uint32
omen_allow_next(const OmenAllowSet *set, uint32 from, uint32 end)
{
	uint32		limit = Min(end, set->nbits);

	while (from < limit)
	{
		uint64		bits = set->bits[from / 64] >> (from % 64);

		if (bits != 0)
		{
			from += pg_rightmost_one_pos64(bits);
			return from < limit ? from : end;
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

#endif							/* OMEN_ALLOWSET_H */
