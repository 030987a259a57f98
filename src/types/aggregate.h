/*-------------------------------------------------------------------------
 *
 * aggregate.h
 *	  The transition state of avg: float8[], the count and then the sums.
 *
 * The state has no sums until the first vector has told the dimensions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_AGGREGATE_H
#define OMEN_TYPES_AGGREGATE_H

#include "utils/array.h"

/* A state with the given number of sums, all zero */
extern ArrayType *omen_agg_state_alloc(int dim);

/* Check that an array is a state; "caller" is the SQL function */
extern float8 *omen_agg_state_values(ArrayType *state, const char *caller);

/* Number of sums of a checked state */
static inline int
omen_agg_state_dim(ArrayType *state)
{
	return ARR_DIMS(state)[0] - 1;
}

#endif							/* OMEN_TYPES_AGGREGATE_H */
