/*-------------------------------------------------------------------------
 *
 * check.c
 *	  Checks and errors shared by the vector types.
 *
 * Messages and SQLSTATEs are those users of pgvector know.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"

#include "types/check.h"

bool
omen_check_dim(Node *context, const char *type, int dim, int max_dim)
{
	if (dim < 1)
	{
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("%s must have at least 1 dimension", type)));
		return false;
	}
	if (dim > max_dim)
	{
		errsave(context,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s cannot have more than %d dimensions",
						type, max_dim)));
		return false;
	}
	return true;
}

/*
 * A type modifier of -1 accepts any dimensions.
 */
bool
omen_check_typmod(Node *context, int32 typmod, int dim)
{
	if (likely(typmod == -1 || typmod == dim))
		return true;

	errsave(context,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("expected %d dimensions, not %d", typmod, dim)));
	return false;
}

bool
omen_check_element(Node *context, const char *type, float value)
{
	if (likely(isfinite(value)))
		return true;

	if (isnan(value))
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("NaN not allowed in %s", type)));
	else
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("infinite value not allowed in %s", type)));
	return false;
}

/*
 * The unused field of a binary representation is kept for later versions.
 */
void
omen_check_unused(int unused)
{
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));
}

void
omen_raise_dims_differ(const char *type, int a, int b)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("different %s dimensions %d and %d", type, a, b)));
}

/*
 * The type modifier of a declaration such as vector(3).
 */
int32
omen_typmod_in(ArrayType *array, const char *type, int max_dim)
{
	int			n;
	int32	   *typmods = ArrayGetIntegerTypmods(array, &n);

	if (n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type modifier")));
	if (typmods[0] < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s must be at least 1", type)));
	if (typmods[0] > max_dim)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s cannot exceed %d",
						type, max_dim)));
	return typmods[0];
}

int
omen_array_length(ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("array must be 1-D")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array must not contain nulls")));

	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

static void
read_numerics(ArrayType *array, float *dst)
{
	Datum	   *elements;
	int			n;

	deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT,
					  &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		dst[i] = DatumGetFloat4(DirectFunctionCall1(numeric_float4,
													elements[i]));
	pfree(elements);
}

/*
 * Fixed-width elements lie one after the other since there are no nulls.
 */
void
omen_array_read(ArrayType *array, int n, float *dst)
{
	const char *data = ARR_DATA_PTR(array);

	switch (ARR_ELEMTYPE(array))
	{
		case INT4OID:
			for (int i = 0; i < n; i++)
				dst[i] = (float) ((const int32 *) data)[i];
			break;
		case FLOAT4OID:
			memcpy(dst, data, n * sizeof(float));
			break;
		case FLOAT8OID:
			for (int i = 0; i < n; i++)
				dst[i] = (float) ((const float8 *) data)[i];
			break;
		case NUMERICOID:
			read_numerics(array, dst);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("unsupported array type")));
	}
}
