/*-------------------------------------------------------------------------
 *
 * sparsevec.c
 *	  The type sparsevec.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"

#include "types/check.h"
#include "types/parse.h"
#include "types/sparsevec.h"

#define TYPE_NAME "sparsevec"

/* An index takes up to ten digits and a sign, which is never there */
#define INDEX_TEXT_LEN 11

#define PG_GETARG_SPARSEVEC(n) omen_datum_sparsevec(PG_GETARG_DATUM(n))

typedef struct Element
{
	int32		index;
	float		value;
} Element;

static bool parse_elements(OmenParser *parser, Element *elements, int *nnz);
static int	compare_elements(const void *a, const void *b);
static OmenSparsevec *form_from_elements(OmenParser *parser, Element *elements,
										 int nnz, int dim);
static int	compare(OmenSparsevec *a, OmenSparsevec *b);

OmenSparsevec *
omen_sparsevec_alloc(int dim, int nnz)
{
	Size		size = omen_sparsevec_size(nnz);
	OmenSparsevec *result = palloc0(size);

	Assert(nnz >= 0 && nnz <= OMEN_SPARSEVEC_MAX_NNZ);
	SET_VARSIZE(result, size);
	result->dim = dim;
	result->nnz = nnz;
	return result;
}

/* --- checks --- */

static bool
check_dim(Node *context, int dim)
{
	return omen_check_dim(context, TYPE_NAME, dim, OMEN_SPARSEVEC_MAX_DIM);
}

bool
omen_sparsevec_check_nnz(Node *context, int nnz, int dim)
{
	if (nnz < 0)
	{
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec cannot have negative number of elements")));
		return false;
	}
	if (nnz > OMEN_SPARSEVEC_MAX_NNZ)
	{
		errsave(context,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more than %d non-zero elements",
						OMEN_SPARSEVEC_MAX_NNZ)));
		return false;
	}
	if (nnz > dim)
	{
		errsave(context,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more elements than dimensions")));
		return false;
	}
	return true;
}

/*
 * Check the index at position i against the dimensions and its predecessor.
 */
static bool
check_index(Node *context, const int32 *indices, int i, int dim)
{
	if (indices[i] < 0 || indices[i] >= dim)
	{
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec index out of bounds")));
		return false;
	}
	if (i > 0 && indices[i] < indices[i - 1])
	{
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec indices must be in ascending order")));
		return false;
	}
	if (i > 0 && indices[i] == indices[i - 1])
	{
		errsave(context,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec indices must not contain duplicates")));
		return false;
	}
	return true;
}

/* --- input and output --- */

OMEN_FUNCTION(omen_sparsevec_in);
Datum
omen_sparsevec_in(PG_FUNCTION_ARGS)
{
	int32		typmod = PG_GETARG_INT32(2);
	OmenParser	parser;
	Element    *elements;
	int			capacity;
	int			nnz;
	int			dim;
	OmenSparsevec *result;

	omen_parse_begin(&parser, TYPE_NAME, PG_GETARG_CSTRING(0),
					 fcinfo->context);
	capacity = omen_parse_count_items(&parser);
	if (!omen_sparsevec_check_nnz(parser.context, capacity, INT_MAX))
		PG_RETURN_NULL();
	elements = palloc(capacity * sizeof(Element));

	if (!parse_elements(&parser, elements, &nnz))
		PG_RETURN_NULL();
	if (!omen_parse_skip(&parser, '/'))
	{
		omen_parse_fail(&parser, "Unexpected end of input.");
		PG_RETURN_NULL();
	}
	if (!omen_parse_int(&parser, &dim) ||
		!omen_parse_end(&parser, "Junk after closing.") ||
		!check_dim(parser.context, dim) ||
		!omen_check_typmod(parser.context, typmod, dim))
		PG_RETURN_NULL();

	result = form_from_elements(&parser, elements, nnz, dim);
	pfree(elements);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(result);
}

/*
 * Read the part between braces.  Indices are not checked yet since the
 * dimensions come last; zeros are dropped.
 */
static bool
parse_elements(OmenParser *parser, Element *elements, int *nnz)
{
	*nnz = 0;
	if (!omen_parse_skip(parser, '{'))
		return omen_parse_fail(parser,
							   "Vector contents must start with \"{\".");
	if (omen_parse_skip(parser, '}'))
		return true;

	do
	{
		int			index;
		float		value;

		if (!omen_parse_int(parser, &index))
			return false;
		if (!omen_parse_skip(parser, ':'))
			return omen_parse_fail(parser, NULL);
		if (!omen_parse_float(parser, &value))
			return false;
		/* an element meant to be there must not vanish */
		if (value == 0 && errno == ERANGE)
			return omen_parse_fail_range(parser);
		if (!omen_check_element(parser->context, TYPE_NAME, value))
			return false;
		if (value == 0)
			continue;
		elements[*nnz].index = Max(index, INT_MIN + 1) - 1;
		elements[*nnz].value = value;
		(*nnz)++;
	} while (omen_parse_skip(parser, ','));

	if (!omen_parse_skip(parser, '}'))
		return omen_parse_fail(parser, NULL);
	return true;
}

static int
compare_elements(const void *a, const void *b)
{
	int32		x = ((const Element *) a)->index;
	int32		y = ((const Element *) b)->index;

	return (x > y) - (x < y);
}

/*
 * Text may have the elements in any order.  NULL if an index is wrong.
 */
static OmenSparsevec *
form_from_elements(OmenParser *parser, Element *elements, int nnz, int dim)
{
	OmenSparsevec *result = omen_sparsevec_alloc(dim, nnz);
	float	   *values = omen_sparsevec_values(result);

	qsort(elements, nnz, sizeof(Element), compare_elements);
	for (int i = 0; i < nnz; i++)
	{
		result->indices[i] = elements[i].index;
		values[i] = elements[i].value;
		if (!check_index(parser->context, result->indices, i, dim))
			return NULL;
	}
	return result;
}

OMEN_FUNCTION(omen_sparsevec_out);
Datum
omen_sparsevec_out(PG_FUNCTION_ARGS)
{
	OmenSparsevec *v = PG_GETARG_SPARSEVEC(0);
	float	   *values = omen_sparsevec_values(v);

	/* "index:value," each, then braces, slash, dimensions, terminator */
	Size		each = INDEX_TEXT_LEN + 1 + FLOAT_SHORTEST_DECIMAL_LEN;
	char	   *text = palloc(v->nnz * each + INDEX_TEXT_LEN + 4);
	char	   *at = text;

	*at++ = '{';
	for (int i = 0; i < v->nnz; i++)
	{
		if (i > 0)
			*at++ = ',';
		at += pg_ltoa(v->indices[i] + 1, at);
		*at++ = ':';
		at += float_to_shortest_decimal_bufn(values[i], at);
	}
	*at++ = '}';
	*at++ = '/';
	at += pg_ltoa(v->dim, at);
	*at = '\0';
	PG_RETURN_CSTRING(text);
}

OMEN_FUNCTION(omen_sparsevec_typmod_in);
Datum
omen_sparsevec_typmod_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(omen_typmod_in(PG_GETARG_ARRAYTYPE_P(0), TYPE_NAME,
								   OMEN_SPARSEVEC_MAX_DIM));
}

/*
 * Binary form: int32 dimensions, number of elements, unused; then all indices
 * from 0, then all values; big-endian.
 */
OMEN_FUNCTION(omen_sparsevec_recv);
Datum
omen_sparsevec_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int			dim = (int) pq_getmsgint(buf, sizeof(int32));
	int			nnz = (int) pq_getmsgint(buf, sizeof(int32));
	int			unused = (int) pq_getmsgint(buf, sizeof(int32));
	OmenSparsevec *result;
	float	   *values;

	(void) check_dim(NULL, dim);
	(void) omen_sparsevec_check_nnz(NULL, nnz, dim);
	(void) omen_check_typmod(NULL, typmod, dim);
	omen_check_unused(unused);

	result = omen_sparsevec_alloc(dim, nnz);
	values = omen_sparsevec_values(result);
	for (int i = 0; i < nnz; i++)
	{
		result->indices[i] = (int32) pq_getmsgint(buf, sizeof(int32));
		(void) check_index(NULL, result->indices, i, dim);
	}
	for (int i = 0; i < nnz; i++)
	{
		values[i] = pq_getmsgfloat4(buf);
		(void) omen_check_element(NULL, TYPE_NAME, values[i]);
		if (values[i] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("binary representation of sparsevec cannot contain zero values")));
	}
	PG_RETURN_POINTER(result);
}

OMEN_FUNCTION(omen_sparsevec_send);
Datum
omen_sparsevec_send(PG_FUNCTION_ARGS)
{
	OmenSparsevec *v = PG_GETARG_SPARSEVEC(0);
	float	   *values = omen_sparsevec_values(v);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint32(&buf, (uint32) v->dim);
	pq_sendint32(&buf, (uint32) v->nnz);
	pq_sendint32(&buf, (uint32) v->unused);
	for (int i = 0; i < v->nnz; i++)
		pq_sendint32(&buf, (uint32) v->indices[i]);
	for (int i = 0; i < v->nnz; i++)
		pq_sendfloat4(&buf, values[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * The cast from the type to itself applies a type modifier.
 */
OMEN_FUNCTION(omen_sparsevec_cast);
Datum
omen_sparsevec_cast(PG_FUNCTION_ARGS)
{
	OmenSparsevec *v = PG_GETARG_SPARSEVEC(0);

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	PG_RETURN_POINTER(v);
}

/* --- distances --- */

static inline void
get_pair(FunctionCallInfo fcinfo, OmenSparse *a, OmenSparse *b)
{
	OmenSparsevec *x = PG_GETARG_SPARSEVEC(0);
	OmenSparsevec *y = PG_GETARG_SPARSEVEC(1);

	omen_check_same_dim(TYPE_NAME, x->dim, y->dim);
	*a = omen_sparsevec_elements(x);
	*b = omen_sparsevec_elements(y);
}

OMEN_FUNCTION(omen_sparsevec_l2_distance);
Datum
omen_sparsevec_l2_distance(PG_FUNCTION_ARGS)
{
	OmenSparse	a;
	OmenSparse	b;

	get_pair(fcinfo, &a, &b);
	PG_RETURN_FLOAT8(sqrt((double) omen_sparse_l2_squared(a, b)));
}

OMEN_FUNCTION(omen_sparsevec_l2_squared_distance);
Datum
omen_sparsevec_l2_squared_distance(PG_FUNCTION_ARGS)
{
	OmenSparse	a;
	OmenSparse	b;

	get_pair(fcinfo, &a, &b);
	PG_RETURN_FLOAT8(omen_sparse_l2_squared(a, b));
}

OMEN_FUNCTION(omen_sparsevec_inner_product);
Datum
omen_sparsevec_inner_product(PG_FUNCTION_ARGS)
{
	OmenSparse	a;
	OmenSparse	b;

	get_pair(fcinfo, &a, &b);
	PG_RETURN_FLOAT8(omen_sparse_inner_product(a, b));
}

OMEN_FUNCTION(omen_sparsevec_negative_inner_product);
Datum
omen_sparsevec_negative_inner_product(PG_FUNCTION_ARGS)
{
	OmenSparse	a;
	OmenSparse	b;

	get_pair(fcinfo, &a, &b);
	PG_RETURN_FLOAT8(-omen_sparse_inner_product(a, b));
}

OMEN_FUNCTION(omen_sparsevec_cosine_distance);
Datum
omen_sparsevec_cosine_distance(PG_FUNCTION_ARGS)
{
	OmenSparse	a;
	OmenSparse	b;

	get_pair(fcinfo, &a, &b);
	PG_RETURN_FLOAT8(omen_cosine_distance(omen_sparse_cosine(a, b)));
}

OMEN_FUNCTION(omen_sparsevec_l1_distance);
Datum
omen_sparsevec_l1_distance(PG_FUNCTION_ARGS)
{
	OmenSparse	a;
	OmenSparse	b;

	get_pair(fcinfo, &a, &b);
	PG_RETURN_FLOAT8(omen_sparse_l1(a, b));
}

/* --- functions of one vector --- */

/* In double precision, so that it does not overflow */
static double
norm(OmenSparsevec *v)
{
	const float *values = omen_sparsevec_values(v);
	double		sum = 0;

	for (int i = 0; i < v->nnz; i++)
		sum += (double) values[i] * (double) values[i];
	return sqrt(sum);
}

OMEN_FUNCTION(omen_sparsevec_norm);
Datum
omen_sparsevec_norm(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(norm(PG_GETARG_SPARSEVEC(0)));
}

/*
 * Scale to norm 1.  Elements that become zero are dropped; a vector of norm
 * zero stays as it is.
 */
OMEN_FUNCTION(omen_sparsevec_l2_normalize);
Datum
omen_sparsevec_l2_normalize(PG_FUNCTION_ARGS)
{
	OmenSparsevec *v = PG_GETARG_SPARSEVEC(0);
	const float *values = omen_sparsevec_values(v);
	float	   *scaled = palloc(v->nnz * sizeof(float));
	double		length = norm(v);
	OmenSparsevec *result;
	int			nnz = 0;

	for (int i = 0; i < v->nnz; i++)
	{
		scaled[i] = (float) (length > 0 ? values[i] / length : 0);
		if (isinf(scaled[i]))
			float_overflow_error();
		nnz += scaled[i] != 0;
	}

	result = omen_sparsevec_alloc(v->dim, nnz);
	nnz = 0;
	for (int i = 0; i < v->nnz; i++)
	{
		if (scaled[i] != 0)
		{
			result->indices[nnz] = v->indices[i];
			omen_sparsevec_values(result)[nnz++] = scaled[i];
		}
	}
	pfree(scaled);
	PG_RETURN_POINTER(result);
}

/* --- comparison --- */

/*
 * The order of the dense vectors they stand for: the first position with
 * different elements decides, then the dimensions.  Where only one vector has
 * an element, the other's is zero, unless it is too short to have any.
 */
static int
compare(OmenSparsevec *a, OmenSparsevec *b)
{
	const float *x = omen_sparsevec_values(a);
	const float *y = omen_sparsevec_values(b);
	int			nnz = Min(a->nnz, b->nnz);

	for (int i = 0; i < nnz; i++)
	{
		if (a->indices[i] < b->indices[i])
			return x[i] < 0 ? -1 : 1;
		if (a->indices[i] > b->indices[i])
			return y[i] < 0 ? 1 : -1;
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	if (a->nnz > nnz && a->indices[nnz] < b->dim)
		return x[nnz] < 0 ? -1 : 1;
	if (b->nnz > nnz && b->indices[nnz] < a->dim)
		return y[nnz] < 0 ? 1 : -1;
	return (a->dim > b->dim) - (a->dim < b->dim);
}

/* Index operations count on comparisons not to leak */
static int
compare_args(FunctionCallInfo fcinfo)
{
	OmenSparsevec *a = PG_GETARG_SPARSEVEC(0);
	OmenSparsevec *b = PG_GETARG_SPARSEVEC(1);
	int			result = compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

OMEN_FUNCTION(omen_sparsevec_lt);
Datum
omen_sparsevec_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

OMEN_FUNCTION(omen_sparsevec_le);
Datum
omen_sparsevec_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

OMEN_FUNCTION(omen_sparsevec_eq);
Datum
omen_sparsevec_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) == 0);
}

OMEN_FUNCTION(omen_sparsevec_ne);
Datum
omen_sparsevec_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) != 0);
}

OMEN_FUNCTION(omen_sparsevec_ge);
Datum
omen_sparsevec_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

OMEN_FUNCTION(omen_sparsevec_gt);
Datum
omen_sparsevec_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

OMEN_FUNCTION(omen_sparsevec_cmp);
Datum
omen_sparsevec_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}
