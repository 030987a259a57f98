/*-------------------------------------------------------------------------
 *
 * random.h
 *	  Numbers for unit tests, the same in each run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEST_RANDOM_H
#define OMEN_TEST_RANDOM_H

static uint64 random_state = 1;

static inline uint32
random_bits(void)
{
	random_state = random_state * UINT64CONST(6364136223846793005) +
		UINT64CONST(1442695040888963407);
	return (uint32) (random_state >> 32);
}

/* From 0 to below 1 */
static inline float
random_unit(void)
{
	return (float) (random_bits() >> 8) / (1 << 24);
}

#endif							/* OMEN_TEST_RANDOM_H */
