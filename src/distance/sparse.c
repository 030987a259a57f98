/*-------------------------------------------------------------------------
 *
 * sparse.c
 *	  Distance kernels over sparse vectors.
 *
 * NOTES
 *	  All but the inner product visit the union of both index lists by a
 *	  merge.  The inner product needs the intersection only.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "distance/sparse.h"

/*
 * The next element of the union of two lists.  Returns false at the end;
 * an index that only one list has gets the value 0 from the other.
 */
typedef struct MergeState
{
	int			i;
	int			j;
	float		value_a;
	float		value_b;
} MergeState;

static inline bool
merge_next(MergeState *state, const OmenSparse *a, const OmenSparse *b)
{
	bool		have_a = state->i < a->nnz;
	bool		have_b = state->j < b->nnz;
	bool		take_a;
	bool		take_b;

	if (!have_a && !have_b)
		return false;
	take_a = have_a &&
		(!have_b || a->indices[state->i] <= b->indices[state->j]);
	take_b = have_b &&
		(!have_a || b->indices[state->j] <= a->indices[state->i]);
	state->value_a = take_a ? a->values[state->i] : 0;
	state->value_b = take_b ? b->values[state->j] : 0;
	state->i += take_a;
	state->j += take_b;
	return true;
}

float
omen_sparse_l2_squared(OmenSparse a, OmenSparse b)
{
	MergeState	state = {0};
	float		sum = 0;

	while (merge_next(&state, &a, &b))
	{
		float		diff = state.value_a - state.value_b;

		sum += diff * diff;
	}
	return sum;
}

float
omen_sparse_inner_product(OmenSparse a, OmenSparse b)
{
	float		sum = 0;
	int			i = 0;
	int			j = 0;

	while (i < a.nnz && j < b.nnz)
	{
		int32		index_a = a.indices[i];
		int32		index_b = b.indices[j];

		if (index_a == index_b)
			sum += a.values[i] * b.values[j];
		i += index_a <= index_b;
		j += index_b <= index_a;
	}
	return sum;
}

float
omen_sparse_l1(OmenSparse a, OmenSparse b)
{
	MergeState	state = {0};
	float		sum = 0;

	while (merge_next(&state, &a, &b))
		sum += fabsf(state.value_a - state.value_b);
	return sum;
}

OmenCosineParts
omen_sparse_cosine(OmenSparse a, OmenSparse b)
{
	OmenCosineParts parts = {0};

	parts.dot = omen_sparse_inner_product(a, b);
	for (int i = 0; i < a.nnz; i++)
		parts.norm_a += a.values[i] * a.values[i];
	for (int i = 0; i < b.nnz; i++)
		parts.norm_b += b.values[i] * b.values[i];
	return parts;
}
