/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  What the fuzzers share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_FUZZ_H
#define OMEN_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A finding: ends the process, after which the input is kept */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, \
					#condition); \
			abort(); \
		} \
	} while (0)

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Memory that ends where it does, so that AddressSanitizer sees what is read
 * beyond; to be freed
 */
static inline void *
fuzz_room(size_t size, size_t alignment)
{
	void	   *memory;

	if (posix_memalign(&memory, alignment, size == 0 ? 1 : size) != 0)
		abort();
	return memory;
}

#endif							/* OMEN_FUZZ_H */
