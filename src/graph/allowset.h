/*-------------------------------------------------------------------------
 *
 * allowset.h
 *	  Which nodes a scan may return.
 *
 * A bitset by node number.  It may have a source, which fills it in chunk by
 * chunk, as somebody comes to look there: to know of a million nodes which of
 * them have the keys that are asked for takes longer than most searches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ALLOWSET_H
#define OMEN_ALLOWSET_H

#include "port/pg_bitutils.h"

typedef enum OmenAllowKind
{
	OMEN_ALLOW_ALL,
	OMEN_ALLOW_BITSET			/* one bit for each node number */
} OmenAllowKind;

/*
 * Numbers that are filled in at a time, a multiple of 64: as many as a page
 * has room for, with a code of 8 bytes and two bits for each
 */
#define OMEN_ALLOW_CHUNK	((BLCKSZ - 64) * 8 / 66 / 64 * 64)

/* What a bitset is filled in from; the head of a struct of whoever makes it */
typedef struct OmenAllowSource
{
	/* fill in the bits of a chunk, and set full[chunk] */
	void		(*fill) (struct OmenAllowSource *source, uint32 chunk);
	/* is a number of a chunk that is not filled in allowed? */
	bool		(*test) (struct OmenAllowSource *source, uint32 number);
	/* that will be asked soon */
	void		(*prefetch) (struct OmenAllowSource *source, uint32 number);

	/*
	 * How many of these numbers are allowed, without filling anything in that
	 * is not as cheap as that
	 */
	uint32		(*count) (struct OmenAllowSource *source, uint32 from,
						  uint32 end);

	/*
	 * Some numbers, up to max, from all over the set, that are probably
	 * allowed, without filling anything in; NULL if there is no telling
	 */
	int			(*sample) (struct OmenAllowSource *source, uint32 *numbers,
						   int max);
	bool	   *full;			/* by chunk */
	double		expected;		/* chunks that the caller is about to ask for */
	bool		has_base;		/* before, bits are there, but some too many */
	bool		complete;		/* all bits are there */
	double		start_cost;		/* of the first chunk beside */
	double		chunk_cost;		/* what each costs, in visits of a walk */
} OmenAllowSource;

typedef struct OmenAllowSet
{
	OmenAllowKind kind;
	uint32		nbits;			/* numbers beyond are not allowed */
	const uint64 *bits;
	OmenAllowSource *source;	/* NULL: all bits are filled in */
	const void *keys;			/* OmenKeyPredicate, or NULL: what is in the
								 * slot has to meet it as well */
	double		cardinality;	/* nodes allowed; exact unless "estimated" */
	bool		estimated;
} OmenAllowSet;

/* See that the bits of a word, which has some numbers of the set, are there */
static inline void
omen_allow_need(const OmenAllowSet *set, uint32 word)
{
	if (set->source && !set->source->full[word / (OMEN_ALLOW_CHUNK / 64)])
		set->source->fill(set->source, word / (OMEN_ALLOW_CHUNK / 64));
}

static inline bool
omen_allow_bit(const OmenAllowSet *set, uint32 number)
{
	return (set->bits[number / 64] >> (number % 64) & 1) != 0;
}

/* As far as the number tells; whoever has the slot asks omen_hnsw_allows() */
static inline bool
omen_allow_test(const OmenAllowSet *set, uint32 number)
{
	if (set == NULL || set->kind != OMEN_ALLOW_BITSET)
		return true;
	if (number >= set->nbits)
		return false;
	if (set->source && !set->source->full[number / OMEN_ALLOW_CHUNK])
		return set->source->test(set->source, number);
	return omen_allow_bit(set, number);
}

static inline void
omen_allow_prefetch(const OmenAllowSet *set, uint32 number)
{
	if (set->source && number < set->nbits)
		set->source->prefetch(set->source, number);
}

/* The same by what is filled in: keys, or what else there is, has to decide */
static inline bool
omen_allow_maybe(const OmenAllowSet *set, uint32 number)
{
	if (number >= set->nbits)
		return false;
	if (set->source && !set->source->has_base &&
		!set->source->full[number / OMEN_ALLOW_CHUNK])
		return true;
	return omen_allow_bit(set, number);
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
		uint64		bits;

		omen_allow_need(set, word);
		bits = set->bits[word] >> (from % 64);
		if (stop - from < 64)
			bits &= (UINT64CONST(1) << (stop - from)) - 1;
		if (bits != 0)			/* few words of a thin set: spare the call */
			n += pg_popcount64(bits);
		from = stop;
	}
	return n;
}

/* The same of a source as it is, for who may not want to know which */
static inline uint32
omen_allow_count_only(const OmenAllowSet *set, uint32 from, uint32 end)
{
	return set->source ? set->source->count(set->source, from, end) :
		omen_allow_count(set, from, end);
}

/* The first number of a bitset from "from" on, below "end", or else end */
static inline uint32
omen_allow_next(const OmenAllowSet *set, uint32 from, uint32 end)
{
	const uint32 words = OMEN_ALLOW_CHUNK / 64;
	uint32		limit = Min(end, set->nbits);

	while (from < limit)
	{
		uint32		word = from / 64;
		uint32		stop = Min((word / words + 1) * words,
							   (limit - 1) / 64 + 1);
		uint64		bits;

		omen_allow_need(set, word);
		bits = set->bits[word] >> (from % 64);
		if (bits != 0)
		{
			from += pg_rightmost_one_pos64(bits);
			return from < limit ? from : end;
		}

		/* what else is filled in now */
		while (++word < stop && set->bits[word] == 0)
			;
		from = word * 64;
	}
	return end;
}

#endif							/* OMEN_ALLOWSET_H */
