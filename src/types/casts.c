/*-------------------------------------------------------------------------
 *
 * casts.c
 *	  Casts between vector types, and from arrays to sparsevec.
 *
 * Every cast takes the value, the type modifier of the target, and whether
 * the cast is explicit, which makes no difference.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "distance/distance.h"
#include "types/check.h"
#include "types/halfvec.h"
#include "types/sparsevec.h"
#include "types/vector.h"

static OmenSparsevec *form_sparsevec(const float *values, int dim);
static void scatter_elements(OmenSparsevec *v, float *dst);

OMEN_FUNCTION(omen_halfvec_to_vector);
Datum
omen_halfvec_to_vector(PG_FUNCTION_ARGS)
{
	OmenHalfvec *v = omen_datum_halfvec(PG_GETARG_DATUM(0));
	OmenVector *result;

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	result = omen_vector_alloc(v->dim);
	omen_distance->half_to_float(v->dim, v->x, result->x);
	PG_RETURN_POINTER(result);
}

/*
 * Convert finite floats, with an error if one is beyond the largest half.
 */
static void
convert_to_half(const float *values, OmenHalfvec *result)
{
	omen_distance->float_to_half(result->dim, values, result->x);
	for (int i = 0; i < result->dim; i++)
	{
		if (unlikely(omen_half_is_inf(result->x[i])))
			(void) omen_float_to_half_checked(values[i]);
	}
}

OMEN_FUNCTION(omen_vector_to_halfvec);
Datum
omen_vector_to_halfvec(PG_FUNCTION_ARGS)
{
	OmenVector *v = omen_datum_vector(PG_GETARG_DATUM(0));
	OmenHalfvec *result;

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	result = omen_halfvec_alloc(v->dim);
	convert_to_half(v->x, result);
	PG_RETURN_POINTER(result);
}

OMEN_FUNCTION(omen_vector_to_sparsevec);
Datum
omen_vector_to_sparsevec(PG_FUNCTION_ARGS)
{
	OmenVector *v = omen_datum_vector(PG_GETARG_DATUM(0));

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	PG_RETURN_POINTER(form_sparsevec(v->x, v->dim));
}

OMEN_FUNCTION(omen_halfvec_to_sparsevec);
Datum
omen_halfvec_to_sparsevec(PG_FUNCTION_ARGS)
{
	OmenHalfvec *v = omen_datum_halfvec(PG_GETARG_DATUM(0));
	float	   *values;

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	values = palloc(v->dim * sizeof(float));
	omen_distance->half_to_float(v->dim, v->x, values);
	PG_RETURN_POINTER(form_sparsevec(values, v->dim));
}

/*
 * Any array without nulls that is long enough to hold one element.  Its
 * length is not limited by the dense types' dimensions.
 */
OMEN_FUNCTION(omen_sparsevec_from_array);
Datum
omen_sparsevec_from_array(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = omen_array_length(array);
	float	   *values;
	OmenSparsevec *result;

	(void) omen_check_dim(NULL, "sparsevec", dim, OMEN_SPARSEVEC_MAX_DIM);
	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), dim);

	values = palloc(dim * sizeof(float));
	omen_array_read(array, dim, values);
	result = form_sparsevec(values, dim);
	pfree(values);

	values = omen_sparsevec_values(result);
	for (int i = 0; i < result->nnz; i++)
		(void) omen_check_element(NULL, "sparsevec", values[i]);
	PG_RETURN_POINTER(result);
}

static OmenSparsevec *
form_sparsevec(const float *values, int dim)
{
	OmenSparsevec *result;
	int			nnz = 0;

	for (int i = 0; i < dim; i++)
		nnz += values[i] != 0;
	(void) omen_sparsevec_check_nnz(NULL, nnz, dim);

	result = omen_sparsevec_alloc(dim, nnz);
	nnz = 0;
	for (int i = 0; i < dim; i++)
	{
		if (values[i] != 0)
		{
			result->indices[nnz] = i;
			omen_sparsevec_values(result)[nnz++] = values[i];
		}
	}
	return result;
}

OMEN_FUNCTION(omen_sparsevec_to_vector);
Datum
omen_sparsevec_to_vector(PG_FUNCTION_ARGS)
{
	OmenSparsevec *v = omen_datum_sparsevec(PG_GETARG_DATUM(0));
	OmenVector *result;

	(void) omen_check_dim(NULL, "vector", v->dim, OMEN_VECTOR_MAX_DIM);
	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	result = omen_vector_alloc(v->dim);
	scatter_elements(v, result->x);
	PG_RETURN_POINTER(result);
}

OMEN_FUNCTION(omen_sparsevec_to_halfvec);
Datum
omen_sparsevec_to_halfvec(PG_FUNCTION_ARGS)
{
	OmenSparsevec *v = omen_datum_sparsevec(PG_GETARG_DATUM(0));
	float	   *values;
	OmenHalfvec *result;

	(void) omen_check_dim(NULL, "halfvec", v->dim, OMEN_HALFVEC_MAX_DIM);
	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	values = palloc0(v->dim * sizeof(float));
	scatter_elements(v, values);
	result = omen_halfvec_alloc(v->dim);
	convert_to_half(values, result);
	pfree(values);
	PG_RETURN_POINTER(result);
}

/*
 * Write the elements to their places in an array of zeros.  The indices were
 * checked on the way in, but a damaged page must not make us write elsewhere.
 */
static void
scatter_elements(OmenSparsevec *v, float *dst)
{
	const float *values = omen_sparsevec_values(v);

	for (int i = 0; i < v->nnz; i++)
	{
		int32		index = v->indices[i];

		if (unlikely(index < 0 || index >= v->dim))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("sparsevec index out of bounds")));
		dst[index] = values[i];
	}
}
