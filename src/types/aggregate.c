/*-------------------------------------------------------------------------
 *
 * aggregate.c
 *	  The transition state of avg, and the combine function that vector and
 *	  halfvec share.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/float.h"

#include "types/aggregate.h"
#include "types/check.h"
#include "types/vector.h"

OMEN_FUNCTION(omen_vector_combine);

ArrayType *
omen_agg_state_alloc(int dim)
{
	int			nvalues = dim + 1;
	Size		size = ARR_OVERHEAD_NONULLS(1) + nvalues * sizeof(float8);
	ArrayType  *state = palloc0(size);

	SET_VARSIZE(state, size);
	state->ndim = 1;
	state->elemtype = FLOAT8OID;
	ARR_DIMS(state)[0] = nvalues;
	ARR_LBOUND(state)[0] = 1;
	return state;
}

/*
 * Aggregates pass nothing but states, but the functions can be called by hand.
 */
float8 *
omen_agg_state_values(ArrayType *state, const char *caller)
{
	if (ARR_NDIM(state) != 1 || ARR_DIMS(state)[0] < 1 ||
		ARR_HASNULL(state) || ARR_ELEMTYPE(state) != FLOAT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("%s: expected state array", caller)));
	return (float8 *) ARR_DATA_PTR(state);
}

/*
 * Add two states.  One that has seen no rows, in a parallel worker that got
 * none, has no sums and takes the dimensions of the other.
 */
Datum
omen_vector_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *a = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *b = PG_GETARG_ARRAYTYPE_P(1);
	float8	   *a_values = omen_agg_state_values(a, "vector_combine");
	float8	   *b_values = omen_agg_state_values(b, "vector_combine");
	int			a_dim = omen_agg_state_dim(a);
	int			b_dim = omen_agg_state_dim(b);
	int			dim = Max(a_dim, b_dim);
	ArrayType  *state;
	float8	   *values;

	if (dim > 0)
		(void) omen_check_dim(NULL, "vector", dim, OMEN_VECTOR_MAX_DIM);
	if (a_dim > 0 && b_dim > 0)
		(void) omen_check_typmod(NULL, a_dim, b_dim);

	state = omen_agg_state_alloc(dim);
	values = (float8 *) ARR_DATA_PTR(state);
	values[0] = a_values[0] + b_values[0];
	for (int i = 1; i <= dim; i++)
	{
		values[i] = (a_dim > 0 ? a_values[i] : 0) +
			(b_dim > 0 ? b_values[i] : 0);
		if (isinf(values[i]))
			float_overflow_error();
	}
	PG_RETURN_ARRAYTYPE_P(state);
}
