/*-------------------------------------------------------------------------
 *
 * dense_template.h
 *	  The SQL functions of a dense vector type; included once by vector.c and
 *	  once by halfvec.c.
 *
 *	DENSE_NAME			SQL name of the type, as a string
 *	DENSE_STRUCT		C type of a value, with the members of OmenVector
 *	DENSE_ELEMENT		C type of an element
 *	DENSE_MAX_DIM		dimension limit
 *	DENSE_SIZE(dim)		bytes of a value
 *	DENSE_FN(name)		C name of a function
 *	DENSE_KERNEL(name)	member of OmenDistanceOps
 *
 *	dense_to_float(x)	an element as a float, exact
 *	dense_from_float(f)	the nearest element, infinity if there is none
 *	dense_from_float_checked(f)		the same, an error where a finite number
 *						would become infinite
 *	dense_recv(buf), dense_send(buf, x)		an element on the wire
 *
 *-------------------------------------------------------------------------
 */

#define PG_GETARG_DENSE(n) \
	((DENSE_STRUCT *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

static bool parse_elements(OmenParser *parser, int capacity,
						   DENSE_STRUCT *result);
static int	compare(const DENSE_STRUCT *a, const DENSE_STRUCT *b);

DENSE_STRUCT *
DENSE_FN(alloc) (int dim)
{
	Size		size = DENSE_SIZE(dim);
	DENSE_STRUCT *result = palloc0(size);

	Assert(dim >= 1 && dim <= DENSE_MAX_DIM);
	SET_VARSIZE(result, size);
	result->dim = (int16) dim;
	return result;
}

static inline DENSE_STRUCT *
alloc_checked(int dim)
{
	(void) omen_check_dim(NULL, DENSE_NAME, dim, DENSE_MAX_DIM);
	return DENSE_FN(alloc) (dim);
}

/* --- input and output --- */

/*
 * The elements are read into a value with room for as many as there are
 * commas, which is then cut to what was found.
 */
OMEN_FUNCTION(DENSE_FN(in));
Datum
DENSE_FN(in) (PG_FUNCTION_ARGS)
{
	OmenParser	parser;
	int32		typmod = PG_GETARG_INT32(2);
	int			capacity;
	DENSE_STRUCT *result;

	omen_parse_begin(&parser, DENSE_NAME, PG_GETARG_CSTRING(0),
					 fcinfo->context);
	if (!omen_parse_skip(&parser, '['))
	{
		omen_parse_fail(&parser, "Vector contents must start with \"[\".");
		PG_RETURN_NULL();
	}
	if (*parser.at == ']')
	{
		omen_check_dim(parser.context, DENSE_NAME, 0, DENSE_MAX_DIM);
		PG_RETURN_NULL();
	}

	capacity = Min(omen_parse_count_items(&parser), DENSE_MAX_DIM);
	result = DENSE_FN(alloc) (capacity);
	if (!parse_elements(&parser, capacity, result) ||
		!omen_parse_end(&parser, "Junk after closing right brace.") ||
		!omen_check_typmod(parser.context, typmod, result->dim))
		PG_RETURN_NULL();

	SET_VARSIZE(result, DENSE_SIZE(result->dim));
	PG_RETURN_POINTER(result);
}

/*
 * Read elements up to and including the closing bracket, and set dim.
 */
static bool
parse_elements(OmenParser *parser, int capacity, DENSE_STRUCT *result)
{
	int			dim = 0;

	do
	{
		float		value;

		/* there are no more elements than commas, so capacity is the limit */
		if (dim == capacity)
		{
			Assert(capacity == DENSE_MAX_DIM);
			return omen_check_dim(parser->context, DENSE_NAME, dim + 1,
								  DENSE_MAX_DIM);
		}
		if (!omen_parse_float(parser, &value))
			return false;

		result->x[dim] = dense_from_float(value);
		if (isinf(dense_to_float(result->x[dim])) && !isinf(value))
			return omen_parse_fail_range(parser);
		if (!omen_check_element(parser->context, DENSE_NAME, value))
			return false;
		dim++;
	} while (omen_parse_skip(parser, ','));

	if (!omen_parse_skip(parser, ']'))
		return omen_parse_fail(parser, NULL);
	result->dim = (int16) dim;
	return true;
}

OMEN_FUNCTION(DENSE_FN(out));
Datum
DENSE_FN(out) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);

	/* an element and its comma, the brackets, the terminator */
	char	   *text = palloc(v->dim * FLOAT_SHORTEST_DECIMAL_LEN + 3);
	char	   *at = text;

	*at++ = '[';
	for (int i = 0; i < v->dim; i++)
	{
		if (i > 0)
			*at++ = ',';
		at += float_to_shortest_decimal_bufn(dense_to_float(v->x[i]), at);
	}
	*at++ = ']';
	*at = '\0';
	PG_RETURN_CSTRING(text);
}

OMEN_FUNCTION(DENSE_FN(typmod_in));
Datum
DENSE_FN(typmod_in) (PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(omen_typmod_in(PG_GETARG_ARRAYTYPE_P(0), DENSE_NAME,
								   DENSE_MAX_DIM));
}

/*
 * Binary form: int16 dimensions, int16 unused, elements; big-endian.
 */
OMEN_FUNCTION(DENSE_FN(recv));
Datum
DENSE_FN(recv) (PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int			dim = (int) pq_getmsgint(buf, sizeof(int16));
	int			unused = (int) pq_getmsgint(buf, sizeof(int16));
	DENSE_STRUCT *result = alloc_checked(dim);

	(void) omen_check_typmod(NULL, typmod, dim);
	omen_check_unused(unused);
	for (int i = 0; i < dim; i++)
	{
		result->x[i] = dense_recv(buf);
		(void) omen_check_element(NULL, DENSE_NAME,
								  dense_to_float(result->x[i]));
	}
	PG_RETURN_POINTER(result);
}

OMEN_FUNCTION(DENSE_FN(send));
Datum
DENSE_FN(send) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint16(&buf, (uint16) v->dim);
	pq_sendint16(&buf, (uint16) v->unused);
	for (int i = 0; i < v->dim; i++)
		dense_send(&buf, v->x[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* --- casts from and to itself and arrays --- */

/*
 * The cast from the type to itself applies a type modifier.
 */
OMEN_FUNCTION(DENSE_FN(cast));
Datum
DENSE_FN(cast) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), v->dim);
	PG_RETURN_POINTER(v);
}

OMEN_FUNCTION(DENSE_FN(from_array));
Datum
DENSE_FN(from_array) (PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = omen_array_length(array);
	DENSE_STRUCT *result = alloc_checked(dim);
	float	   *values;

	(void) omen_check_typmod(NULL, PG_GETARG_INT32(1), dim);
	values = palloc(dim * sizeof(float));
	omen_array_read(array, dim, values);
	for (int i = 0; i < dim; i++)
	{
		result->x[i] = dense_from_float_checked(values[i]);
		(void) omen_check_element(NULL, DENSE_NAME, values[i]);
	}
	pfree(values);
	PG_RETURN_POINTER(result);
}

OMEN_FUNCTION(DENSE_FN(to_float4));
Datum
DENSE_FN(to_float4) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);
	Datum	   *elements = palloc(v->dim * sizeof(Datum));
	ArrayType  *result;

	for (int i = 0; i < v->dim; i++)
		elements[i] = Float4GetDatum(dense_to_float(v->x[i]));
	result = construct_array(elements, v->dim, FLOAT4OID, sizeof(float4),
							 true, TYPALIGN_INT);
	pfree(elements);
	PG_RETURN_ARRAYTYPE_P(result);
}

/* --- distances --- */

/*
 * The arguments of a distance or an operator on two values of equal
 * dimensions.
 */
static inline int
get_pair(FunctionCallInfo fcinfo, DENSE_STRUCT **a, DENSE_STRUCT **b)
{
	*a = PG_GETARG_DENSE(0);
	*b = PG_GETARG_DENSE(1);
	omen_check_same_dim(DENSE_NAME, (*a)->dim, (*b)->dim);
	return (*a)->dim;
}

OMEN_FUNCTION(DENSE_FN(l2_distance));
Datum
DENSE_FN(l2_distance) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);

	PG_RETURN_FLOAT8(sqrt((double) omen_distance->DENSE_KERNEL(l2_squared)
						  (dim, a->x, b->x)));
}

OMEN_FUNCTION(DENSE_FN(l2_squared_distance));
Datum
DENSE_FN(l2_squared_distance) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);

	PG_RETURN_FLOAT8(omen_distance->DENSE_KERNEL(l2_squared)
					 (dim, a->x, b->x));
}

OMEN_FUNCTION(DENSE_FN(inner_product));
Datum
DENSE_FN(inner_product) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);

	PG_RETURN_FLOAT8(omen_distance->DENSE_KERNEL(inner_product)
					 (dim, a->x, b->x));
}

OMEN_FUNCTION(DENSE_FN(negative_inner_product));
Datum
DENSE_FN(negative_inner_product) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);

	PG_RETURN_FLOAT8(-omen_distance->DENSE_KERNEL(inner_product)
					 (dim, a->x, b->x));
}

OMEN_FUNCTION(DENSE_FN(cosine_distance));
Datum
DENSE_FN(cosine_distance) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);

	PG_RETURN_FLOAT8(omen_cosine_distance(omen_distance->DENSE_KERNEL(cosine)
										  (dim, a->x, b->x)));
}

/*
 * The angle between unit vectors, as a fraction of pi; norms are not looked
 * at.  Rounding must not carry the product out of the domain of acos.
 */
OMEN_FUNCTION(DENSE_FN(spherical_distance));
Datum
DENSE_FN(spherical_distance) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);
	double		product = omen_distance->DENSE_KERNEL(inner_product)
		(dim, a->x, b->x);

	PG_RETURN_FLOAT8(acos(Max(-1.0, Min(1.0, product))) / M_PI);
}

OMEN_FUNCTION(DENSE_FN(l1_distance));
Datum
DENSE_FN(l1_distance) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);

	PG_RETURN_FLOAT8(omen_distance->DENSE_KERNEL(l1) (dim, a->x, b->x));
}

/* --- functions of one vector --- */

OMEN_FUNCTION(DENSE_FN(dims));
Datum
DENSE_FN(dims) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);

	PG_RETURN_INT32(v->dim);
}

/* In double precision, so that it does not overflow */
static double
norm(const DENSE_STRUCT *v)
{
	double		sum = 0;

	for (int i = 0; i < v->dim; i++)
	{
		double		x = dense_to_float(v->x[i]);

		sum += x * x;
	}
	return sqrt(sum);
}

OMEN_FUNCTION(DENSE_FN(norm));
Datum
DENSE_FN(norm) (PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(norm(PG_GETARG_DENSE(0)));
}

/*
 * Scale to norm 1.  A zero vector stays as it is.
 */
OMEN_FUNCTION(DENSE_FN(l2_normalize));
Datum
DENSE_FN(l2_normalize) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);
	DENSE_STRUCT *result = DENSE_FN(alloc) (v->dim);
	double		length = norm(v);

	if (length > 0)
	{
		for (int i = 0; i < v->dim; i++)
		{
			double		x = dense_to_float(v->x[i]) / length;

			result->x[i] = dense_from_float((float) x);
			if (isinf(dense_to_float(result->x[i])))
				float_overflow_error();
		}
	}
	PG_RETURN_POINTER(result);
}

/*
 * One bit per element, set if it is positive; the first is the highest bit of
 * the first byte.
 */
OMEN_FUNCTION(DENSE_FN(binary_quantize));
Datum
DENSE_FN(binary_quantize) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);
	VarBit	   *result = omen_bit_alloc(v->dim);
	bits8	   *bits = VARBITS(result);

	for (int i = 0; i < v->dim; i++)
		bits[i / 8] |= (dense_to_float(v->x[i]) > 0) << (7 - i % 8);
	PG_RETURN_VARBIT_P(result);
}

/*
 * Count elements from position start, which counts from 1; like substring,
 * positions outside the vector are passed over.
 */
OMEN_FUNCTION(DENSE_FN(subvector));
Datum
DENSE_FN(subvector) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *v = PG_GETARG_DENSE(0);
	int64		start = PG_GETARG_INT32(1);
	int64		count = PG_GETARG_INT32(2);
	int64		end = Min(start + count, v->dim + 1);	/* exclusive */
	DENSE_STRUCT *result;

	start = Max(start, 1);
	result = alloc_checked((int) Max(end - start, 0));
	memcpy(result->x, v->x + start - 1, result->dim * sizeof(DENSE_ELEMENT));
	PG_RETURN_POINTER(result);
}

/* --- arithmetic --- */

/*
 * Element by element; sums and products of elements are rounded once.
 */
static pg_attribute_always_inline DENSE_STRUCT *
combine_elements(FunctionCallInfo fcinfo, float (*op) (float, float))
{
	DENSE_STRUCT *a;
	DENSE_STRUCT *b;
	int			dim = get_pair(fcinfo, &a, &b);
	DENSE_STRUCT *result = DENSE_FN(alloc) (dim);
	bool		overflow = false;

	for (int i = 0; i < dim; i++)
	{
		result->x[i] = dense_from_float(op(dense_to_float(a->x[i]),
										   dense_to_float(b->x[i])));
		overflow |= isinf(dense_to_float(result->x[i])) != 0;
	}
	if (overflow)
		float_overflow_error();
	return result;
}

static inline float
add_elements(float a, float b)
{
	return a + b;
}

static inline float
sub_elements(float a, float b)
{
	return a - b;
}

static inline float
mul_elements(float a, float b)
{
	float		product = a * b;

	/* dense_from_float may still make it zero */
	if (dense_to_float(dense_from_float(product)) == 0 && a != 0 && b != 0)
		float_underflow_error();
	return product;
}

OMEN_FUNCTION(DENSE_FN(add));
Datum
DENSE_FN(add) (PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(combine_elements(fcinfo, add_elements));
}

OMEN_FUNCTION(DENSE_FN(sub));
Datum
DENSE_FN(sub) (PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(combine_elements(fcinfo, sub_elements));
}

OMEN_FUNCTION(DENSE_FN(mul));
Datum
DENSE_FN(mul) (PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(combine_elements(fcinfo, mul_elements));
}

OMEN_FUNCTION(DENSE_FN(concat));
Datum
DENSE_FN(concat) (PG_FUNCTION_ARGS)
{
	DENSE_STRUCT *a = PG_GETARG_DENSE(0);
	DENSE_STRUCT *b = PG_GETARG_DENSE(1);
	DENSE_STRUCT *result = alloc_checked(a->dim + b->dim);

	memcpy(result->x, a->x, a->dim * sizeof(DENSE_ELEMENT));
	memcpy(result->x + a->dim, b->x, b->dim * sizeof(DENSE_ELEMENT));
	PG_RETURN_POINTER(result);
}

/* --- comparison --- */

/*
 * Elements decide first and dimensions last, as in the server's arrays.
 * Values are finite, so this is a total order.
 */
static int
compare(const DENSE_STRUCT *a, const DENSE_STRUCT *b)
{
	int			dim = Min(a->dim, b->dim);

	for (int i = 0; i < dim; i++)
	{
		float		x = dense_to_float(a->x[i]);
		float		y = dense_to_float(b->x[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

/* Index operations count on comparisons not to leak */
static int
compare_args(FunctionCallInfo fcinfo)
{
	DENSE_STRUCT *a = PG_GETARG_DENSE(0);
	DENSE_STRUCT *b = PG_GETARG_DENSE(1);
	int			result = compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

OMEN_FUNCTION(DENSE_FN(lt));
Datum
DENSE_FN(lt) (PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

OMEN_FUNCTION(DENSE_FN(le));
Datum
DENSE_FN(le) (PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

OMEN_FUNCTION(DENSE_FN(eq));
Datum
DENSE_FN(eq) (PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) == 0);
}

OMEN_FUNCTION(DENSE_FN(ne));
Datum
DENSE_FN(ne) (PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) != 0);
}

OMEN_FUNCTION(DENSE_FN(ge));
Datum
DENSE_FN(ge) (PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

OMEN_FUNCTION(DENSE_FN(gt));
Datum
DENSE_FN(gt) (PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

OMEN_FUNCTION(DENSE_FN(cmp));
Datum
DENSE_FN(cmp) (PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}

/* --- aggregates --- */

/*
 * Add a vector to the state of avg.  The first one gives it its dimensions.
 * In an aggregate the state is ours to change; otherwise it is copied.
 */
OMEN_FUNCTION(DENSE_FN(accum));
Datum
DENSE_FN(accum) (PG_FUNCTION_ARGS)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(0);
	DENSE_STRUCT *v = PG_GETARG_DENSE(1);
	float8	   *values = omen_agg_state_values(state, DENSE_NAME "_accum");

	if (omen_agg_state_dim(state) == 0)
	{
		float8		count = values[0];

		state = omen_agg_state_alloc(v->dim);
		values = (float8 *) ARR_DATA_PTR(state);
		values[0] = count;
	}
	else
	{
		(void) omen_check_typmod(NULL, omen_agg_state_dim(state), v->dim);
		if (!AggCheckCallContext(fcinfo, NULL))
			state = PG_GETARG_ARRAYTYPE_P_COPY(0);
		values = (float8 *) ARR_DATA_PTR(state);
	}

	values[0] += 1;
	for (int i = 0; i < v->dim; i++)
	{
		values[i + 1] += dense_to_float(v->x[i]);
		if (unlikely(isinf(values[i + 1])))
			float_overflow_error();
	}
	PG_RETURN_ARRAYTYPE_P(state);
}

OMEN_FUNCTION(DENSE_FN(avg));
Datum
DENSE_FN(avg) (PG_FUNCTION_ARGS)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(0);
	float8	   *values = omen_agg_state_values(state, DENSE_NAME "_avg");
	DENSE_STRUCT *result;

	/* SQL has NULL for the average of nothing */
	if (values[0] == 0)
		PG_RETURN_NULL();

	result = alloc_checked(omen_agg_state_dim(state));
	for (int i = 0; i < result->dim; i++)
	{
		float		mean = (float) (values[i + 1] / values[0]);

		result->x[i] = dense_from_float_checked(mean);
		(void) omen_check_element(NULL, DENSE_NAME, mean);
	}
	PG_RETURN_POINTER(result);
}
