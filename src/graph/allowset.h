/*-------------------------------------------------------------------------
 *
 * allowset.h
 *	  Which nodes a scan may return.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ALLOWSET_H
#define OMEN_ALLOWSET_H

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

#endif							/* OMEN_ALLOWSET_H */
