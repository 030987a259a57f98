/*-------------------------------------------------------------------------
 *
 * numberset.h
 *	  A set of node numbers (lib/simplehash.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_NUMBERSET_H
#define OMEN_NUMBERSET_H

#include "port/pg_bitutils.h"

/* Fibonacci hashing: half the time of murmurhash32, which walks notice */
#define OMEN_NUMBER_HASH(number) \
	pg_rotate_left32((number) * 0x9E3779B1u, 16)

typedef struct OmenNumberSetEntry
{
	uint32		number;
	char		status;
} OmenNumberSetEntry;

#define SH_PREFIX		omen_numberset
#define SH_ELEMENT_TYPE OmenNumberSetEntry
#define SH_KEY_TYPE		uint32
#define SH_KEY			number
#define SH_HASH_KEY(tb, key)	OMEN_NUMBER_HASH(key)
#define SH_EQUAL(tb, a, b)		((a) == (b))
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#endif							/* OMEN_NUMBERSET_H */
