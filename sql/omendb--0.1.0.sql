/*
 * omendb--0.1.0.sql
 *
 * The whole SQL surface of omendb.  Names, types, operators and casts are
 * pgvector's; every C symbol starts with omen_, so that both libraries can be
 * loaded into one server.  Nothing refers to a schema: the extension can be
 * installed into any and moved later.
 *
 * Functions are IMMUTABLE STRICT PARALLEL SAFE unless they say otherwise:
 * they depend on their arguments only, NULL gives NULL, and they keep no
 * state.
 */

-- complain if the script is run by psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION omendb" to load this file. \quit

-- Both extensions define a type called vector.  In another schema that would
-- succeed, and then search_path would decide which one a query means.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'vector') THEN
		RAISE EXCEPTION 'cannot install omendb beside the extension "vector"'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'Both define the types vector, halfvec and sparsevec.',
				HINT = 'Use another database, or move the tables over and run DROP EXTENSION vector first.';
	END IF;
END
$$;

-- ----------------------------------------------------------------------
-- planner
-- ----------------------------------------------------------------------

CREATE FUNCTION omen_distance_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_distance_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omen_distance_support(internal) IS 'tells the planner what a distance costs';

-- ----------------------------------------------------------------------
-- types: vector
-- ----------------------------------------------------------------------

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in(cstring, oid, integer) IS 'text input of vector';

CREATE FUNCTION vector_out(vector) RETURNS cstring
	AS 'MODULE_PATHNAME', 'omen_vector_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_out(vector) IS 'text output of vector';

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_vector_typmod_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_typmod_in(cstring[]) IS 'dimensions of a vector declaration';

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_recv(internal, oid, integer) IS 'binary input of vector';

CREATE FUNCTION vector_send(vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'omen_vector_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_send(vector) IS 'binary output of vector';

CREATE TYPE vector (
	INPUT = vector_in,
	OUTPUT = vector_out,
	TYPMOD_IN = vector_typmod_in,
	RECEIVE = vector_recv,
	SEND = vector_send,
	STORAGE = external
);
COMMENT ON TYPE vector IS 'vector of 32-bit floating-point numbers, up to 16000 dimensions';

CREATE FUNCTION l2_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION l2_distance(vector, vector) IS 'Euclidean distance';

CREATE FUNCTION inner_product(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION inner_product(vector, vector) IS 'inner product';

CREATE FUNCTION cosine_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION cosine_distance(vector, vector) IS 'cosine distance: 1 - cosine of the angle';

CREATE FUNCTION l1_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION l1_distance(vector, vector) IS 'taxicab distance';

CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_l2_squared_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_l2_squared_distance(vector, vector) IS 'squared Euclidean distance, for indexes';

CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION vector_negative_inner_product(vector, vector) IS 'negative inner product, so that the nearest comes first';

CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_spherical_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_spherical_distance(vector, vector) IS 'angle between unit vectors, as a fraction of pi';

CREATE OPERATOR <-> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance,
	COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (vector, vector) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product,
	COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (vector, vector) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (vector, vector) IS 'cosine distance';

CREATE OPERATOR <+> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (vector, vector) IS 'taxicab distance';

CREATE FUNCTION vector_dims(vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_vector_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(vector) IS 'number of dimensions';

CREATE FUNCTION vector_norm(vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_vector_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_norm(vector) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(vector) IS 'the vector scaled to norm 1';

CREATE FUNCTION binary_quantize(vector) RETURNS bit
	AS 'MODULE_PATHNAME', 'omen_vector_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(vector) IS 'one bit per element, set where it is positive';

CREATE FUNCTION subvector(vector, integer, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(vector, integer, integer) IS 'elements from a position, which counts from 1, up to a number of them';

CREATE FUNCTION vector_add(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_add(vector, vector) IS 'sum of each pair of elements';

CREATE FUNCTION vector_sub(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_sub' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_sub(vector, vector) IS 'difference of each pair of elements';

CREATE FUNCTION vector_mul(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_mul' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_mul(vector, vector) IS 'product of each pair of elements';

CREATE FUNCTION vector_concat(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_concat' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_concat(vector, vector) IS 'one vector followed by the other';

CREATE OPERATOR + (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_add,
	COMMUTATOR = +
);
COMMENT ON OPERATOR + (vector, vector) IS 'sum of each pair of elements';

CREATE OPERATOR - (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_sub
);
COMMENT ON OPERATOR - (vector, vector) IS 'difference of each pair of elements';

CREATE OPERATOR * (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_mul,
	COMMUTATOR = *
);
COMMENT ON OPERATOR * (vector, vector) IS 'product of each pair of elements';

CREATE OPERATOR || (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_concat
);
COMMENT ON OPERATOR || (vector, vector) IS 'one vector followed by the other';

CREATE FUNCTION vector_lt(vector, vector) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_vector_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_lt(vector, vector) IS 'less than';

CREATE FUNCTION vector_le(vector, vector) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_vector_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_le(vector, vector) IS 'less than or equal';

CREATE FUNCTION vector_eq(vector, vector) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_vector_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_eq(vector, vector) IS 'equal';

CREATE FUNCTION vector_ne(vector, vector) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_vector_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_ne(vector, vector) IS 'not equal';

CREATE FUNCTION vector_ge(vector, vector) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_vector_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_ge(vector, vector) IS 'greater than or equal';

CREATE FUNCTION vector_gt(vector, vector) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_vector_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_gt(vector, vector) IS 'greater than';

CREATE FUNCTION vector_cmp(vector, vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_vector_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_cmp(vector, vector) IS 'order: elements first, then dimensions';

CREATE OPERATOR < (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (vector, vector) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (vector, vector) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (vector, vector) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (vector, vector) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (vector, vector) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (vector, vector) IS 'greater than';

CREATE OPERATOR CLASS vector_ops
	DEFAULT FOR TYPE vector USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 vector_cmp(vector, vector);
COMMENT ON OPERATOR CLASS vector_ops USING btree IS 'sorting, grouping and equality of vector';

CREATE FUNCTION vector_accum(double precision[], vector) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'omen_vector_accum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_accum(double precision[], vector) IS 'add a vector to the state of avg';

CREATE FUNCTION vector_avg(double precision[]) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_avg' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_avg(double precision[]) IS 'average of the vectors in a state of avg';

CREATE FUNCTION vector_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'omen_vector_combine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_combine(double precision[], double precision[]) IS 'add two states of avg';

CREATE AGGREGATE avg(vector) (
	SFUNC = vector_accum,
	STYPE = double precision[],
	FINALFUNC = vector_avg,
	COMBINEFUNC = vector_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(vector) IS 'average of each element';

CREATE AGGREGATE sum(vector) (
	SFUNC = vector_add,
	STYPE = vector,
	COMBINEFUNC = vector_add,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(vector) IS 'sum of each element';

-- ----------------------------------------------------------------------
-- types: halfvec
-- ----------------------------------------------------------------------

CREATE TYPE halfvec;

CREATE FUNCTION halfvec_in(cstring, oid, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in(cstring, oid, integer) IS 'text input of halfvec';

CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring
	AS 'MODULE_PATHNAME', 'omen_halfvec_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_out(halfvec) IS 'text output of halfvec';

CREATE FUNCTION halfvec_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_halfvec_typmod_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_typmod_in(cstring[]) IS 'dimensions of a halfvec declaration';

CREATE FUNCTION halfvec_recv(internal, oid, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_recv(internal, oid, integer) IS 'binary input of halfvec';

CREATE FUNCTION halfvec_send(halfvec) RETURNS bytea
	AS 'MODULE_PATHNAME', 'omen_halfvec_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_send(halfvec) IS 'binary output of halfvec';

CREATE TYPE halfvec (
	INPUT = halfvec_in,
	OUTPUT = halfvec_out,
	TYPMOD_IN = halfvec_typmod_in,
	RECEIVE = halfvec_recv,
	SEND = halfvec_send,
	STORAGE = external
);
COMMENT ON TYPE halfvec IS 'vector of 16-bit floating-point numbers, up to 16000 dimensions';

CREATE FUNCTION l2_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION l2_distance(halfvec, halfvec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION inner_product(halfvec, halfvec) IS 'inner product';

CREATE FUNCTION cosine_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION cosine_distance(halfvec, halfvec) IS 'cosine distance: 1 - cosine of the angle';

CREATE FUNCTION l1_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION l1_distance(halfvec, halfvec) IS 'taxicab distance';

CREATE FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_l2_squared_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) IS 'squared Euclidean distance, for indexes';

CREATE FUNCTION halfvec_negative_inner_product(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION halfvec_negative_inner_product(halfvec, halfvec) IS 'negative inner product, so that the nearest comes first';

CREATE FUNCTION halfvec_spherical_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_spherical_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_spherical_distance(halfvec, halfvec) IS 'angle between unit vectors, as a fraction of pi';

CREATE OPERATOR <-> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l2_distance,
	COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (halfvec, halfvec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_negative_inner_product,
	COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (halfvec, halfvec) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (halfvec, halfvec) IS 'cosine distance';

CREATE OPERATOR <+> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (halfvec, halfvec) IS 'taxicab distance';

CREATE FUNCTION vector_dims(halfvec) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_halfvec_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(halfvec) IS 'number of dimensions';

CREATE FUNCTION l2_norm(halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_halfvec_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_norm(halfvec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(halfvec) IS 'the vector scaled to norm 1';

CREATE FUNCTION binary_quantize(halfvec) RETURNS bit
	AS 'MODULE_PATHNAME', 'omen_halfvec_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(halfvec) IS 'one bit per element, set where it is positive';

CREATE FUNCTION subvector(halfvec, integer, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(halfvec, integer, integer) IS 'elements from a position, which counts from 1, up to a number of them';

CREATE FUNCTION halfvec_add(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_add(halfvec, halfvec) IS 'sum of each pair of elements';

CREATE FUNCTION halfvec_sub(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_sub' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_sub(halfvec, halfvec) IS 'difference of each pair of elements';

CREATE FUNCTION halfvec_mul(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_mul' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_mul(halfvec, halfvec) IS 'product of each pair of elements';

CREATE FUNCTION halfvec_concat(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_concat' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_concat(halfvec, halfvec) IS 'one vector followed by the other';

CREATE OPERATOR + (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_add,
	COMMUTATOR = +
);
COMMENT ON OPERATOR + (halfvec, halfvec) IS 'sum of each pair of elements';

CREATE OPERATOR - (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_sub
);
COMMENT ON OPERATOR - (halfvec, halfvec) IS 'difference of each pair of elements';

CREATE OPERATOR * (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_mul,
	COMMUTATOR = *
);
COMMENT ON OPERATOR * (halfvec, halfvec) IS 'product of each pair of elements';

CREATE OPERATOR || (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_concat
);
COMMENT ON OPERATOR || (halfvec, halfvec) IS 'one vector followed by the other';

CREATE FUNCTION halfvec_lt(halfvec, halfvec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_halfvec_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_lt(halfvec, halfvec) IS 'less than';

CREATE FUNCTION halfvec_le(halfvec, halfvec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_halfvec_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_le(halfvec, halfvec) IS 'less than or equal';

CREATE FUNCTION halfvec_eq(halfvec, halfvec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_halfvec_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_eq(halfvec, halfvec) IS 'equal';

CREATE FUNCTION halfvec_ne(halfvec, halfvec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_halfvec_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_ne(halfvec, halfvec) IS 'not equal';

CREATE FUNCTION halfvec_ge(halfvec, halfvec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_halfvec_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_ge(halfvec, halfvec) IS 'greater than or equal';

CREATE FUNCTION halfvec_gt(halfvec, halfvec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_halfvec_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_gt(halfvec, halfvec) IS 'greater than';

CREATE FUNCTION halfvec_cmp(halfvec, halfvec) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_halfvec_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_cmp(halfvec, halfvec) IS 'order: elements first, then dimensions';

CREATE OPERATOR < (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (halfvec, halfvec) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (halfvec, halfvec) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (halfvec, halfvec) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (halfvec, halfvec) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (halfvec, halfvec) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (halfvec, halfvec) IS 'greater than';

CREATE OPERATOR CLASS halfvec_ops
	DEFAULT FOR TYPE halfvec USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 halfvec_cmp(halfvec, halfvec);
COMMENT ON OPERATOR CLASS halfvec_ops USING btree IS 'sorting, grouping and equality of halfvec';

CREATE FUNCTION halfvec_accum(double precision[], halfvec) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'omen_halfvec_accum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_accum(double precision[], halfvec) IS 'add a vector to the state of avg';

CREATE FUNCTION halfvec_avg(double precision[]) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_avg' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_avg(double precision[]) IS 'average of the vectors in a state of avg';

CREATE FUNCTION halfvec_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'omen_vector_combine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_combine(double precision[], double precision[]) IS 'add two states of avg';

CREATE AGGREGATE avg(halfvec) (
	SFUNC = halfvec_accum,
	STYPE = double precision[],
	FINALFUNC = halfvec_avg,
	COMBINEFUNC = halfvec_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(halfvec) IS 'average of each element';

CREATE AGGREGATE sum(halfvec) (
	SFUNC = halfvec_add,
	STYPE = halfvec,
	COMBINEFUNC = halfvec_add,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(halfvec) IS 'sum of each element';

-- ----------------------------------------------------------------------
-- types: sparsevec
-- ----------------------------------------------------------------------

CREATE TYPE sparsevec;

CREATE FUNCTION sparsevec_in(cstring, oid, integer) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in(cstring, oid, integer) IS 'text input of sparsevec';

CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring
	AS 'MODULE_PATHNAME', 'omen_sparsevec_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_out(sparsevec) IS 'text output of sparsevec';

CREATE FUNCTION sparsevec_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_sparsevec_typmod_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_typmod_in(cstring[]) IS 'dimensions of a sparsevec declaration';

CREATE FUNCTION sparsevec_recv(internal, oid, integer) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_recv(internal, oid, integer) IS 'binary input of sparsevec';

CREATE FUNCTION sparsevec_send(sparsevec) RETURNS bytea
	AS 'MODULE_PATHNAME', 'omen_sparsevec_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_send(sparsevec) IS 'binary output of sparsevec';

CREATE TYPE sparsevec (
	INPUT = sparsevec_in,
	OUTPUT = sparsevec_out,
	TYPMOD_IN = sparsevec_typmod_in,
	RECEIVE = sparsevec_recv,
	SEND = sparsevec_send,
	STORAGE = external
);
COMMENT ON TYPE sparsevec IS 'vector of 32-bit floating-point numbers of which only the non-zero ones are stored';

CREATE FUNCTION l2_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	COST 4;
COMMENT ON FUNCTION l2_distance(sparsevec, sparsevec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	COST 4;
COMMENT ON FUNCTION inner_product(sparsevec, sparsevec) IS 'inner product';

CREATE FUNCTION cosine_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	COST 4;
COMMENT ON FUNCTION cosine_distance(sparsevec, sparsevec) IS 'cosine distance: 1 - cosine of the angle';

CREATE FUNCTION l1_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	COST 4;
COMMENT ON FUNCTION l1_distance(sparsevec, sparsevec) IS 'taxicab distance';

CREATE FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_l2_squared_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) IS 'squared Euclidean distance, for indexes';

CREATE FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	COST 4;
COMMENT ON FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) IS 'negative inner product, so that the nearest comes first';

CREATE OPERATOR <-> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l2_distance,
	COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (sparsevec, sparsevec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_negative_inner_product,
	COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (sparsevec, sparsevec) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (sparsevec, sparsevec) IS 'cosine distance';

CREATE OPERATOR <+> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (sparsevec, sparsevec) IS 'taxicab distance';

CREATE FUNCTION l2_norm(sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_sparsevec_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_norm(sparsevec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(sparsevec) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(sparsevec) IS 'the vector scaled to norm 1';

CREATE FUNCTION sparsevec_lt(sparsevec, sparsevec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_sparsevec_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_lt(sparsevec, sparsevec) IS 'less than';

CREATE FUNCTION sparsevec_le(sparsevec, sparsevec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_sparsevec_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_le(sparsevec, sparsevec) IS 'less than or equal';

CREATE FUNCTION sparsevec_eq(sparsevec, sparsevec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_sparsevec_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_eq(sparsevec, sparsevec) IS 'equal';

CREATE FUNCTION sparsevec_ne(sparsevec, sparsevec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_sparsevec_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_ne(sparsevec, sparsevec) IS 'not equal';

CREATE FUNCTION sparsevec_ge(sparsevec, sparsevec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_sparsevec_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_ge(sparsevec, sparsevec) IS 'greater than or equal';

CREATE FUNCTION sparsevec_gt(sparsevec, sparsevec) RETURNS bool
	AS 'MODULE_PATHNAME', 'omen_sparsevec_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_gt(sparsevec, sparsevec) IS 'greater than';

CREATE FUNCTION sparsevec_cmp(sparsevec, sparsevec) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_sparsevec_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_cmp(sparsevec, sparsevec) IS 'order: elements first, then dimensions';

CREATE OPERATOR < (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (sparsevec, sparsevec) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (sparsevec, sparsevec) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (sparsevec, sparsevec) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (sparsevec, sparsevec) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (sparsevec, sparsevec) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (sparsevec, sparsevec) IS 'greater than';

CREATE OPERATOR CLASS sparsevec_ops
	DEFAULT FOR TYPE sparsevec USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 sparsevec_cmp(sparsevec, sparsevec);
COMMENT ON OPERATOR CLASS sparsevec_ops USING btree IS 'sorting, grouping and equality of sparsevec';

-- ----------------------------------------------------------------------
-- types: bit
-- ----------------------------------------------------------------------

CREATE FUNCTION hamming_distance(bit, bit) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_bit_hamming_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION hamming_distance(bit, bit) IS 'Hamming distance: number of different bits';

CREATE FUNCTION jaccard_distance(bit, bit) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_bit_jaccard_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT omen_distance_support;
COMMENT ON FUNCTION jaccard_distance(bit, bit) IS 'Jaccard distance: 1 - shared bits / bits set in either';

CREATE OPERATOR <~> (
	LEFTARG = bit, RIGHTARG = bit, FUNCTION = hamming_distance,
	COMMUTATOR = <~>
);
COMMENT ON OPERATOR <~> (bit, bit) IS 'Hamming distance';

CREATE OPERATOR <%> (
	LEFTARG = bit, RIGHTARG = bit, FUNCTION = jaccard_distance,
	COMMUTATOR = <%>
);
COMMENT ON OPERATOR <%> (bit, bit) IS 'Jaccard distance';

-- ----------------------------------------------------------------------
-- types: casts
-- ----------------------------------------------------------------------

CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_cast' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector(vector, integer, boolean) IS 'check the dimensions of a vector';

CREATE FUNCTION halfvec(halfvec, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_cast' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec(halfvec, integer, boolean) IS 'check the dimensions of a halfvec';

CREATE FUNCTION sparsevec(sparsevec, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_cast' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec(sparsevec, integer, boolean) IS 'check the dimensions of a sparsevec';

CREATE FUNCTION halfvec_to_vector(halfvec, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_halfvec_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_vector(halfvec, integer, boolean) IS 'convert halfvec to vector';

CREATE FUNCTION vector_to_halfvec(vector, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_vector_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_halfvec(vector, integer, boolean) IS 'convert vector to halfvec';

CREATE FUNCTION vector_to_sparsevec(vector, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_vector_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_sparsevec(vector, integer, boolean) IS 'convert vector to sparsevec';

CREATE FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_sparsevec_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) IS 'convert sparsevec to vector';

CREATE FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_halfvec_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) IS 'convert halfvec to sparsevec';

CREATE FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) IS 'convert sparsevec to halfvec';

CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'omen_vector_to_float4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_float4(vector, integer, boolean) IS 'convert vector to an array';

CREATE FUNCTION halfvec_to_float4(halfvec, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'omen_halfvec_to_float4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_float4(halfvec, integer, boolean) IS 'convert halfvec to an array';

CREATE FUNCTION array_to_vector(integer[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(integer[], integer, boolean) IS 'convert an array to vector';

CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(real[], integer, boolean) IS 'convert an array to vector';

CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(double precision[], integer, boolean) IS 'convert an array to vector';

CREATE FUNCTION array_to_vector(numeric[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'omen_vector_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(numeric[], integer, boolean) IS 'convert an array to vector';

CREATE FUNCTION array_to_halfvec(integer[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(integer[], integer, boolean) IS 'convert an array to halfvec';

CREATE FUNCTION array_to_halfvec(real[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(real[], integer, boolean) IS 'convert an array to halfvec';

CREATE FUNCTION array_to_halfvec(double precision[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(double precision[], integer, boolean) IS 'convert an array to halfvec';

CREATE FUNCTION array_to_halfvec(numeric[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'omen_halfvec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(numeric[], integer, boolean) IS 'convert an array to halfvec';

CREATE FUNCTION array_to_sparsevec(integer[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(integer[], integer, boolean) IS 'convert an array to sparsevec';

CREATE FUNCTION array_to_sparsevec(real[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(real[], integer, boolean) IS 'convert an array to sparsevec';

CREATE FUNCTION array_to_sparsevec(double precision[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(double precision[], integer, boolean) IS 'convert an array to sparsevec';

CREATE FUNCTION array_to_sparsevec(numeric[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'omen_sparsevec_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(numeric[], integer, boolean) IS 'convert an array to sparsevec';

-- Casts that cannot fail or lose much are implicit, the rest on assignment

CREATE CAST (vector AS vector)
	WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS vector) IS 'check the dimensions';

CREATE CAST (halfvec AS halfvec)
	WITH FUNCTION halfvec(halfvec, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (halfvec AS halfvec) IS 'check the dimensions';

CREATE CAST (sparsevec AS sparsevec)
	WITH FUNCTION sparsevec(sparsevec, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (sparsevec AS sparsevec) IS 'check the dimensions';

CREATE CAST (halfvec AS vector)
	WITH FUNCTION halfvec_to_vector(halfvec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (halfvec AS vector) IS 'convert halfvec to vector';

CREATE CAST (vector AS halfvec)
	WITH FUNCTION vector_to_halfvec(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS halfvec) IS 'convert vector to halfvec';

CREATE CAST (vector AS sparsevec)
	WITH FUNCTION vector_to_sparsevec(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS sparsevec) IS 'convert vector to sparsevec';

CREATE CAST (sparsevec AS vector)
	WITH FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (sparsevec AS vector) IS 'convert sparsevec to vector';

CREATE CAST (halfvec AS sparsevec)
	WITH FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (halfvec AS sparsevec) IS 'convert halfvec to sparsevec';

CREATE CAST (sparsevec AS halfvec)
	WITH FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (sparsevec AS halfvec) IS 'convert sparsevec to halfvec';

CREATE CAST (vector AS real[])
	WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS real[]) IS 'convert vector to an array';

CREATE CAST (halfvec AS real[])
	WITH FUNCTION halfvec_to_float4(halfvec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (halfvec AS real[]) IS 'convert halfvec to an array';

CREATE CAST (integer[] AS vector)
	WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS vector) IS 'convert an array to vector';

CREATE CAST (real[] AS vector)
	WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS vector) IS 'convert an array to vector';

CREATE CAST (double precision[] AS vector)
	WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS vector) IS 'convert an array to vector';

CREATE CAST (numeric[] AS vector)
	WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS vector) IS 'convert an array to vector';

CREATE CAST (integer[] AS halfvec)
	WITH FUNCTION array_to_halfvec(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS halfvec) IS 'convert an array to halfvec';

CREATE CAST (real[] AS halfvec)
	WITH FUNCTION array_to_halfvec(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS halfvec) IS 'convert an array to halfvec';

CREATE CAST (double precision[] AS halfvec)
	WITH FUNCTION array_to_halfvec(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS halfvec) IS 'convert an array to halfvec';

CREATE CAST (numeric[] AS halfvec)
	WITH FUNCTION array_to_halfvec(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS halfvec) IS 'convert an array to halfvec';

CREATE CAST (integer[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS sparsevec) IS 'convert an array to sparsevec';

CREATE CAST (real[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS sparsevec) IS 'convert an array to sparsevec';

CREATE CAST (double precision[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS sparsevec) IS 'convert an array to sparsevec';

CREATE CAST (numeric[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS sparsevec) IS 'convert an array to sparsevec';

-- ----------------------------------------------------------------------
-- hnsw: access methods
-- ----------------------------------------------------------------------

-- omenhnsw, and the same under the name that migrations and ORMs hard-code

CREATE FUNCTION omenhnswhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'omen_hnsw_handler' LANGUAGE C;
COMMENT ON FUNCTION omenhnswhandler(internal) IS 'handler of the access method omenhnsw';

CREATE ACCESS METHOD omenhnsw TYPE INDEX HANDLER omenhnswhandler;
COMMENT ON ACCESS METHOD omenhnsw IS 'nearest neighbours by a graph with quantized neighbourhoods';

CREATE FUNCTION hnswhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'omen_hnsw_handler' LANGUAGE C;
COMMENT ON FUNCTION hnswhandler(internal) IS 'handler of the access method hnsw';

CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hnswhandler;
COMMENT ON ACCESS METHOD hnsw IS 'nearest neighbours by a graph with quantized neighbourhoods';

-- ----------------------------------------------------------------------
-- hnsw: support functions of the operator classes
-- ----------------------------------------------------------------------

-- Function 3: the element type, as pgvector numbers it.

CREATE FUNCTION hnsw_halfvec_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_halfvec_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_halfvec_support(internal) IS 'describes halfvec to the index';

CREATE FUNCTION hnsw_sparsevec_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_sparsevec_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_sparsevec_support(internal) IS 'describes sparsevec to the index';

CREATE FUNCTION hnsw_bit_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_bit_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_bit_support(internal) IS 'describes bit to the index';

-- Function 4: element type, metric and limits.

CREATE FUNCTION omenhnsw_vector_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_vector_l2_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_vector_l2_support(internal) IS 'describes vector_l2_ops to the index';

CREATE FUNCTION omenhnsw_vector_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_vector_ip_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_vector_ip_support(internal) IS 'describes vector_ip_ops to the index';

CREATE FUNCTION omenhnsw_vector_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_vector_cosine_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_vector_cosine_support(internal) IS 'describes vector_cosine_ops to the index';

CREATE FUNCTION omenhnsw_vector_l1_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_vector_l1_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_vector_l1_support(internal) IS 'describes vector_l1_ops to the index';

CREATE FUNCTION omenhnsw_halfvec_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_halfvec_l2_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_halfvec_l2_support(internal) IS 'describes halfvec_l2_ops to the index';

CREATE FUNCTION omenhnsw_halfvec_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_halfvec_ip_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_halfvec_ip_support(internal) IS 'describes halfvec_ip_ops to the index';

CREATE FUNCTION omenhnsw_halfvec_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_halfvec_cosine_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_halfvec_cosine_support(internal) IS 'describes halfvec_cosine_ops to the index';

CREATE FUNCTION omenhnsw_halfvec_l1_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_halfvec_l1_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_halfvec_l1_support(internal) IS 'describes halfvec_l1_ops to the index';

CREATE FUNCTION omenhnsw_sparsevec_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_sparsevec_l2_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_sparsevec_l2_support(internal) IS 'describes sparsevec_l2_ops to the index';

CREATE FUNCTION omenhnsw_sparsevec_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_sparsevec_ip_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_sparsevec_ip_support(internal) IS 'describes sparsevec_ip_ops to the index';

CREATE FUNCTION omenhnsw_sparsevec_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_sparsevec_cosine_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_sparsevec_cosine_support(internal) IS 'describes sparsevec_cosine_ops to the index';

CREATE FUNCTION omenhnsw_sparsevec_l1_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_sparsevec_l1_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_sparsevec_l1_support(internal) IS 'describes sparsevec_l1_ops to the index';

CREATE FUNCTION omenhnsw_bit_hamming_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_bit_hamming_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_bit_hamming_support(internal) IS 'describes bit_hamming_ops to the index';

CREATE FUNCTION omenhnsw_bit_jaccard_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_hnsw_bit_jaccard_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omenhnsw_bit_jaccard_support(internal) IS 'describes bit_jaccard_ops to the index';

-- ----------------------------------------------------------------------
-- hnsw: operator classes of omenhnsw
-- ----------------------------------------------------------------------

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING omenhnsw AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 vector_l2_squared_distance(vector, vector),
	FUNCTION 4 omenhnsw_vector_l2_support(internal);
COMMENT ON OPERATOR CLASS vector_l2_ops USING omenhnsw IS 'Euclidean distance of vector';

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING omenhnsw AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 vector_negative_inner_product(vector, vector),
	FUNCTION 4 omenhnsw_vector_ip_support(internal);
COMMENT ON OPERATOR CLASS vector_ip_ops USING omenhnsw IS 'inner product of vector';

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING omenhnsw AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 vector_negative_inner_product(vector, vector),
	FUNCTION 2 vector_norm(vector),
	FUNCTION 4 omenhnsw_vector_cosine_support(internal);
COMMENT ON OPERATOR CLASS vector_cosine_ops USING omenhnsw IS 'cosine distance of vector';

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE vector USING omenhnsw AS
	OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 l1_distance(vector, vector),
	FUNCTION 4 omenhnsw_vector_l1_support(internal);
COMMENT ON OPERATOR CLASS vector_l1_ops USING omenhnsw IS 'taxicab distance of vector';

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING omenhnsw AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 halfvec_l2_squared_distance(halfvec, halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_l2_support(internal);
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING omenhnsw IS 'Euclidean distance of halfvec';

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING omenhnsw AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 halfvec_negative_inner_product(halfvec, halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_ip_support(internal);
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING omenhnsw IS 'inner product of halfvec';

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING omenhnsw AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 halfvec_negative_inner_product(halfvec, halfvec),
	FUNCTION 2 l2_norm(halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_cosine_support(internal);
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING omenhnsw IS 'cosine distance of halfvec';

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE halfvec USING omenhnsw AS
	OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 l1_distance(halfvec, halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_l1_support(internal);
COMMENT ON OPERATOR CLASS halfvec_l1_ops USING omenhnsw IS 'taxicab distance of halfvec';

CREATE OPERATOR CLASS sparsevec_l2_ops
	FOR TYPE sparsevec USING omenhnsw AS
	OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 sparsevec_l2_squared_distance(sparsevec, sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_l2_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_l2_ops USING omenhnsw IS 'Euclidean distance of sparsevec';

CREATE OPERATOR CLASS sparsevec_ip_ops
	FOR TYPE sparsevec USING omenhnsw AS
	OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 sparsevec_negative_inner_product(sparsevec, sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_ip_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_ip_ops USING omenhnsw IS 'inner product of sparsevec';

CREATE OPERATOR CLASS sparsevec_cosine_ops
	FOR TYPE sparsevec USING omenhnsw AS
	OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 sparsevec_negative_inner_product(sparsevec, sparsevec),
	FUNCTION 2 l2_norm(sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_cosine_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_cosine_ops USING omenhnsw IS 'cosine distance of sparsevec';

CREATE OPERATOR CLASS sparsevec_l1_ops
	FOR TYPE sparsevec USING omenhnsw AS
	OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 l1_distance(sparsevec, sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_l1_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_l1_ops USING omenhnsw IS 'taxicab distance of sparsevec';

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING omenhnsw AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
	FUNCTION 1 hamming_distance(bit, bit),
	FUNCTION 3 hnsw_bit_support(internal),
	FUNCTION 4 omenhnsw_bit_hamming_support(internal);
COMMENT ON OPERATOR CLASS bit_hamming_ops USING omenhnsw IS 'Hamming distance of bit';

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING omenhnsw AS
	OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
	FUNCTION 1 jaccard_distance(bit, bit),
	FUNCTION 3 hnsw_bit_support(internal),
	FUNCTION 4 omenhnsw_bit_jaccard_support(internal);
COMMENT ON OPERATOR CLASS bit_jaccard_ops USING omenhnsw IS 'Jaccard distance of bit';

-- ----------------------------------------------------------------------
-- hnsw: operator classes of key columns of omenhnsw
-- ----------------------------------------------------------------------

CREATE OPERATOR CLASS bool_ops
	DEFAULT FOR TYPE bool USING omenhnsw AS
	OPERATOR 1 < (bool, bool),
	OPERATOR 2 <= (bool, bool),
	OPERATOR 3 = (bool, bool),
	OPERATOR 4 >= (bool, bool),
	OPERATOR 5 > (bool, bool);
COMMENT ON OPERATOR CLASS bool_ops USING omenhnsw IS 'key column of bool';

CREATE OPERATOR CLASS oid_ops
	DEFAULT FOR TYPE oid USING omenhnsw AS
	OPERATOR 1 < (oid, oid),
	OPERATOR 2 <= (oid, oid),
	OPERATOR 3 = (oid, oid),
	OPERATOR 4 >= (oid, oid),
	OPERATOR 5 > (oid, oid);
COMMENT ON OPERATOR CLASS oid_ops USING omenhnsw IS 'key column of oid';

CREATE OPERATOR CLASS time_ops
	DEFAULT FOR TYPE time USING omenhnsw AS
	OPERATOR 1 < (time, time),
	OPERATOR 2 <= (time, time),
	OPERATOR 3 = (time, time),
	OPERATOR 4 >= (time, time),
	OPERATOR 5 > (time, time);
COMMENT ON OPERATOR CLASS time_ops USING omenhnsw IS 'key column of time';

CREATE OPERATOR CLASS uuid_ops
	DEFAULT FOR TYPE uuid USING omenhnsw AS
	OPERATOR 1 < (uuid, uuid),
	OPERATOR 2 <= (uuid, uuid),
	OPERATOR 3 = (uuid, uuid),
	OPERATOR 4 >= (uuid, uuid),
	OPERATOR 5 > (uuid, uuid);
COMMENT ON OPERATOR CLASS uuid_ops USING omenhnsw IS 'key column of uuid';

CREATE OPERATOR CLASS text_ops
	DEFAULT FOR TYPE text USING omenhnsw AS
	OPERATOR 1 < (text, text),
	OPERATOR 2 <= (text, text),
	OPERATOR 3 = (text, text),
	OPERATOR 4 >= (text, text),
	OPERATOR 5 > (text, text);
COMMENT ON OPERATOR CLASS text_ops USING omenhnsw IS 'key column of text';

CREATE OPERATOR FAMILY integer_ops USING omenhnsw;

CREATE OPERATOR CLASS int2_ops
	DEFAULT FOR TYPE int2 USING omenhnsw FAMILY integer_ops AS
	OPERATOR 1 < (int2, int2),
	OPERATOR 2 <= (int2, int2),
	OPERATOR 3 = (int2, int2),
	OPERATOR 4 >= (int2, int2),
	OPERATOR 5 > (int2, int2),
	OPERATOR 1 < (int2, int4),
	OPERATOR 2 <= (int2, int4),
	OPERATOR 3 = (int2, int4),
	OPERATOR 4 >= (int2, int4),
	OPERATOR 5 > (int2, int4),
	OPERATOR 1 < (int2, int8),
	OPERATOR 2 <= (int2, int8),
	OPERATOR 3 = (int2, int8),
	OPERATOR 4 >= (int2, int8),
	OPERATOR 5 > (int2, int8);
COMMENT ON OPERATOR CLASS int2_ops USING omenhnsw IS 'key column of int2';

CREATE OPERATOR CLASS int4_ops
	DEFAULT FOR TYPE int4 USING omenhnsw FAMILY integer_ops AS
	OPERATOR 1 < (int4, int4),
	OPERATOR 2 <= (int4, int4),
	OPERATOR 3 = (int4, int4),
	OPERATOR 4 >= (int4, int4),
	OPERATOR 5 > (int4, int4),
	OPERATOR 1 < (int4, int2),
	OPERATOR 2 <= (int4, int2),
	OPERATOR 3 = (int4, int2),
	OPERATOR 4 >= (int4, int2),
	OPERATOR 5 > (int4, int2),
	OPERATOR 1 < (int4, int8),
	OPERATOR 2 <= (int4, int8),
	OPERATOR 3 = (int4, int8),
	OPERATOR 4 >= (int4, int8),
	OPERATOR 5 > (int4, int8);
COMMENT ON OPERATOR CLASS int4_ops USING omenhnsw IS 'key column of int4';

CREATE OPERATOR CLASS int8_ops
	DEFAULT FOR TYPE int8 USING omenhnsw FAMILY integer_ops AS
	OPERATOR 1 < (int8, int8),
	OPERATOR 2 <= (int8, int8),
	OPERATOR 3 = (int8, int8),
	OPERATOR 4 >= (int8, int8),
	OPERATOR 5 > (int8, int8),
	OPERATOR 1 < (int8, int2),
	OPERATOR 2 <= (int8, int2),
	OPERATOR 3 = (int8, int2),
	OPERATOR 4 >= (int8, int2),
	OPERATOR 5 > (int8, int2),
	OPERATOR 1 < (int8, int4),
	OPERATOR 2 <= (int8, int4),
	OPERATOR 3 = (int8, int4),
	OPERATOR 4 >= (int8, int4),
	OPERATOR 5 > (int8, int4);
COMMENT ON OPERATOR CLASS int8_ops USING omenhnsw IS 'key column of int8';

CREATE OPERATOR FAMILY float_ops USING omenhnsw;

CREATE OPERATOR CLASS float4_ops
	DEFAULT FOR TYPE float4 USING omenhnsw FAMILY float_ops AS
	OPERATOR 1 < (float4, float4),
	OPERATOR 2 <= (float4, float4),
	OPERATOR 3 = (float4, float4),
	OPERATOR 4 >= (float4, float4),
	OPERATOR 5 > (float4, float4),
	OPERATOR 1 < (float4, float8),
	OPERATOR 2 <= (float4, float8),
	OPERATOR 3 = (float4, float8),
	OPERATOR 4 >= (float4, float8),
	OPERATOR 5 > (float4, float8);
COMMENT ON OPERATOR CLASS float4_ops USING omenhnsw IS 'key column of float4';

CREATE OPERATOR CLASS float8_ops
	DEFAULT FOR TYPE float8 USING omenhnsw FAMILY float_ops AS
	OPERATOR 1 < (float8, float8),
	OPERATOR 2 <= (float8, float8),
	OPERATOR 3 = (float8, float8),
	OPERATOR 4 >= (float8, float8),
	OPERATOR 5 > (float8, float8),
	OPERATOR 1 < (float8, float4),
	OPERATOR 2 <= (float8, float4),
	OPERATOR 3 = (float8, float4),
	OPERATOR 4 >= (float8, float4),
	OPERATOR 5 > (float8, float4);
COMMENT ON OPERATOR CLASS float8_ops USING omenhnsw IS 'key column of float8';

CREATE OPERATOR FAMILY datetime_ops USING omenhnsw;

CREATE OPERATOR CLASS date_ops
	DEFAULT FOR TYPE date USING omenhnsw FAMILY datetime_ops AS
	OPERATOR 1 < (date, date),
	OPERATOR 2 <= (date, date),
	OPERATOR 3 = (date, date),
	OPERATOR 4 >= (date, date),
	OPERATOR 5 > (date, date),
	OPERATOR 1 < (date, timestamp),
	OPERATOR 2 <= (date, timestamp),
	OPERATOR 3 = (date, timestamp),
	OPERATOR 4 >= (date, timestamp),
	OPERATOR 5 > (date, timestamp),
	OPERATOR 1 < (date, timestamptz),
	OPERATOR 2 <= (date, timestamptz),
	OPERATOR 3 = (date, timestamptz),
	OPERATOR 4 >= (date, timestamptz),
	OPERATOR 5 > (date, timestamptz);
COMMENT ON OPERATOR CLASS date_ops USING omenhnsw IS 'key column of date';

CREATE OPERATOR CLASS timestamp_ops
	DEFAULT FOR TYPE timestamp USING omenhnsw FAMILY datetime_ops AS
	OPERATOR 1 < (timestamp, timestamp),
	OPERATOR 2 <= (timestamp, timestamp),
	OPERATOR 3 = (timestamp, timestamp),
	OPERATOR 4 >= (timestamp, timestamp),
	OPERATOR 5 > (timestamp, timestamp),
	OPERATOR 1 < (timestamp, date),
	OPERATOR 2 <= (timestamp, date),
	OPERATOR 3 = (timestamp, date),
	OPERATOR 4 >= (timestamp, date),
	OPERATOR 5 > (timestamp, date),
	OPERATOR 1 < (timestamp, timestamptz),
	OPERATOR 2 <= (timestamp, timestamptz),
	OPERATOR 3 = (timestamp, timestamptz),
	OPERATOR 4 >= (timestamp, timestamptz),
	OPERATOR 5 > (timestamp, timestamptz);
COMMENT ON OPERATOR CLASS timestamp_ops USING omenhnsw IS 'key column of timestamp';

CREATE OPERATOR CLASS timestamptz_ops
	DEFAULT FOR TYPE timestamptz USING omenhnsw FAMILY datetime_ops AS
	OPERATOR 1 < (timestamptz, timestamptz),
	OPERATOR 2 <= (timestamptz, timestamptz),
	OPERATOR 3 = (timestamptz, timestamptz),
	OPERATOR 4 >= (timestamptz, timestamptz),
	OPERATOR 5 > (timestamptz, timestamptz),
	OPERATOR 1 < (timestamptz, date),
	OPERATOR 2 <= (timestamptz, date),
	OPERATOR 3 = (timestamptz, date),
	OPERATOR 4 >= (timestamptz, date),
	OPERATOR 5 > (timestamptz, date),
	OPERATOR 1 < (timestamptz, timestamp),
	OPERATOR 2 <= (timestamptz, timestamp),
	OPERATOR 3 = (timestamptz, timestamp),
	OPERATOR 4 >= (timestamptz, timestamp),
	OPERATOR 5 > (timestamptz, timestamp);
COMMENT ON OPERATOR CLASS timestamptz_ops USING omenhnsw IS 'key column of timestamptz';

CREATE OPERATOR CLASS array_ops
	DEFAULT FOR TYPE anyarray USING omenhnsw AS
	OPERATOR 6 && (anyarray, anyarray),
	OPERATOR 7 @> (anyarray, anyarray);
COMMENT ON OPERATOR CLASS array_ops USING omenhnsw IS 'key column of an array of smallint, integer, bigint, text or uuid';

-- ----------------------------------------------------------------------
-- hnsw: operator classes of hnsw
-- ----------------------------------------------------------------------

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 vector_l2_squared_distance(vector, vector),
	FUNCTION 4 omenhnsw_vector_l2_support(internal);
COMMENT ON OPERATOR CLASS vector_l2_ops USING hnsw IS 'Euclidean distance of vector';

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 vector_negative_inner_product(vector, vector),
	FUNCTION 4 omenhnsw_vector_ip_support(internal);
COMMENT ON OPERATOR CLASS vector_ip_ops USING hnsw IS 'inner product of vector';

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 vector_negative_inner_product(vector, vector),
	FUNCTION 2 vector_norm(vector),
	FUNCTION 4 omenhnsw_vector_cosine_support(internal);
COMMENT ON OPERATOR CLASS vector_cosine_ops USING hnsw IS 'cosine distance of vector';

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 l1_distance(vector, vector),
	FUNCTION 4 omenhnsw_vector_l1_support(internal);
COMMENT ON OPERATOR CLASS vector_l1_ops USING hnsw IS 'taxicab distance of vector';

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 halfvec_l2_squared_distance(halfvec, halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_l2_support(internal);
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING hnsw IS 'Euclidean distance of halfvec';

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 halfvec_negative_inner_product(halfvec, halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_ip_support(internal);
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING hnsw IS 'inner product of halfvec';

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 halfvec_negative_inner_product(halfvec, halfvec),
	FUNCTION 2 l2_norm(halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_cosine_support(internal);
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING hnsw IS 'cosine distance of halfvec';

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 l1_distance(halfvec, halfvec),
	FUNCTION 3 hnsw_halfvec_support(internal),
	FUNCTION 4 omenhnsw_halfvec_l1_support(internal);
COMMENT ON OPERATOR CLASS halfvec_l1_ops USING hnsw IS 'taxicab distance of halfvec';

CREATE OPERATOR CLASS sparsevec_l2_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 sparsevec_l2_squared_distance(sparsevec, sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_l2_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_l2_ops USING hnsw IS 'Euclidean distance of sparsevec';

CREATE OPERATOR CLASS sparsevec_ip_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 sparsevec_negative_inner_product(sparsevec, sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_ip_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_ip_ops USING hnsw IS 'inner product of sparsevec';

CREATE OPERATOR CLASS sparsevec_cosine_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 sparsevec_negative_inner_product(sparsevec, sparsevec),
	FUNCTION 2 l2_norm(sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_cosine_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_cosine_ops USING hnsw IS 'cosine distance of sparsevec';

CREATE OPERATOR CLASS sparsevec_l1_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 l1_distance(sparsevec, sparsevec),
	FUNCTION 3 hnsw_sparsevec_support(internal),
	FUNCTION 4 omenhnsw_sparsevec_l1_support(internal);
COMMENT ON OPERATOR CLASS sparsevec_l1_ops USING hnsw IS 'taxicab distance of sparsevec';

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING hnsw AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
	FUNCTION 1 hamming_distance(bit, bit),
	FUNCTION 3 hnsw_bit_support(internal),
	FUNCTION 4 omenhnsw_bit_hamming_support(internal);
COMMENT ON OPERATOR CLASS bit_hamming_ops USING hnsw IS 'Hamming distance of bit';

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING hnsw AS
	OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
	FUNCTION 1 jaccard_distance(bit, bit),
	FUNCTION 3 hnsw_bit_support(internal),
	FUNCTION 4 omenhnsw_bit_jaccard_support(internal);
COMMENT ON OPERATOR CLASS bit_jaccard_ops USING hnsw IS 'Jaccard distance of bit';

-- ----------------------------------------------------------------------
-- hnsw: operator classes of key columns of hnsw
-- ----------------------------------------------------------------------

CREATE OPERATOR CLASS bool_ops
	DEFAULT FOR TYPE bool USING hnsw AS
	OPERATOR 1 < (bool, bool),
	OPERATOR 2 <= (bool, bool),
	OPERATOR 3 = (bool, bool),
	OPERATOR 4 >= (bool, bool),
	OPERATOR 5 > (bool, bool);
COMMENT ON OPERATOR CLASS bool_ops USING hnsw IS 'key column of bool';

CREATE OPERATOR CLASS oid_ops
	DEFAULT FOR TYPE oid USING hnsw AS
	OPERATOR 1 < (oid, oid),
	OPERATOR 2 <= (oid, oid),
	OPERATOR 3 = (oid, oid),
	OPERATOR 4 >= (oid, oid),
	OPERATOR 5 > (oid, oid);
COMMENT ON OPERATOR CLASS oid_ops USING hnsw IS 'key column of oid';

CREATE OPERATOR CLASS time_ops
	DEFAULT FOR TYPE time USING hnsw AS
	OPERATOR 1 < (time, time),
	OPERATOR 2 <= (time, time),
	OPERATOR 3 = (time, time),
	OPERATOR 4 >= (time, time),
	OPERATOR 5 > (time, time);
COMMENT ON OPERATOR CLASS time_ops USING hnsw IS 'key column of time';

CREATE OPERATOR CLASS uuid_ops
	DEFAULT FOR TYPE uuid USING hnsw AS
	OPERATOR 1 < (uuid, uuid),
	OPERATOR 2 <= (uuid, uuid),
	OPERATOR 3 = (uuid, uuid),
	OPERATOR 4 >= (uuid, uuid),
	OPERATOR 5 > (uuid, uuid);
COMMENT ON OPERATOR CLASS uuid_ops USING hnsw IS 'key column of uuid';

CREATE OPERATOR CLASS text_ops
	DEFAULT FOR TYPE text USING hnsw AS
	OPERATOR 1 < (text, text),
	OPERATOR 2 <= (text, text),
	OPERATOR 3 = (text, text),
	OPERATOR 4 >= (text, text),
	OPERATOR 5 > (text, text);
COMMENT ON OPERATOR CLASS text_ops USING hnsw IS 'key column of text';

CREATE OPERATOR FAMILY integer_ops USING hnsw;

CREATE OPERATOR CLASS int2_ops
	DEFAULT FOR TYPE int2 USING hnsw FAMILY integer_ops AS
	OPERATOR 1 < (int2, int2),
	OPERATOR 2 <= (int2, int2),
	OPERATOR 3 = (int2, int2),
	OPERATOR 4 >= (int2, int2),
	OPERATOR 5 > (int2, int2),
	OPERATOR 1 < (int2, int4),
	OPERATOR 2 <= (int2, int4),
	OPERATOR 3 = (int2, int4),
	OPERATOR 4 >= (int2, int4),
	OPERATOR 5 > (int2, int4),
	OPERATOR 1 < (int2, int8),
	OPERATOR 2 <= (int2, int8),
	OPERATOR 3 = (int2, int8),
	OPERATOR 4 >= (int2, int8),
	OPERATOR 5 > (int2, int8);
COMMENT ON OPERATOR CLASS int2_ops USING hnsw IS 'key column of int2';

CREATE OPERATOR CLASS int4_ops
	DEFAULT FOR TYPE int4 USING hnsw FAMILY integer_ops AS
	OPERATOR 1 < (int4, int4),
	OPERATOR 2 <= (int4, int4),
	OPERATOR 3 = (int4, int4),
	OPERATOR 4 >= (int4, int4),
	OPERATOR 5 > (int4, int4),
	OPERATOR 1 < (int4, int2),
	OPERATOR 2 <= (int4, int2),
	OPERATOR 3 = (int4, int2),
	OPERATOR 4 >= (int4, int2),
	OPERATOR 5 > (int4, int2),
	OPERATOR 1 < (int4, int8),
	OPERATOR 2 <= (int4, int8),
	OPERATOR 3 = (int4, int8),
	OPERATOR 4 >= (int4, int8),
	OPERATOR 5 > (int4, int8);
COMMENT ON OPERATOR CLASS int4_ops USING hnsw IS 'key column of int4';

CREATE OPERATOR CLASS int8_ops
	DEFAULT FOR TYPE int8 USING hnsw FAMILY integer_ops AS
	OPERATOR 1 < (int8, int8),
	OPERATOR 2 <= (int8, int8),
	OPERATOR 3 = (int8, int8),
	OPERATOR 4 >= (int8, int8),
	OPERATOR 5 > (int8, int8),
	OPERATOR 1 < (int8, int2),
	OPERATOR 2 <= (int8, int2),
	OPERATOR 3 = (int8, int2),
	OPERATOR 4 >= (int8, int2),
	OPERATOR 5 > (int8, int2),
	OPERATOR 1 < (int8, int4),
	OPERATOR 2 <= (int8, int4),
	OPERATOR 3 = (int8, int4),
	OPERATOR 4 >= (int8, int4),
	OPERATOR 5 > (int8, int4);
COMMENT ON OPERATOR CLASS int8_ops USING hnsw IS 'key column of int8';

CREATE OPERATOR FAMILY float_ops USING hnsw;

CREATE OPERATOR CLASS float4_ops
	DEFAULT FOR TYPE float4 USING hnsw FAMILY float_ops AS
	OPERATOR 1 < (float4, float4),
	OPERATOR 2 <= (float4, float4),
	OPERATOR 3 = (float4, float4),
	OPERATOR 4 >= (float4, float4),
	OPERATOR 5 > (float4, float4),
	OPERATOR 1 < (float4, float8),
	OPERATOR 2 <= (float4, float8),
	OPERATOR 3 = (float4, float8),
	OPERATOR 4 >= (float4, float8),
	OPERATOR 5 > (float4, float8);
COMMENT ON OPERATOR CLASS float4_ops USING hnsw IS 'key column of float4';

CREATE OPERATOR CLASS float8_ops
	DEFAULT FOR TYPE float8 USING hnsw FAMILY float_ops AS
	OPERATOR 1 < (float8, float8),
	OPERATOR 2 <= (float8, float8),
	OPERATOR 3 = (float8, float8),
	OPERATOR 4 >= (float8, float8),
	OPERATOR 5 > (float8, float8),
	OPERATOR 1 < (float8, float4),
	OPERATOR 2 <= (float8, float4),
	OPERATOR 3 = (float8, float4),
	OPERATOR 4 >= (float8, float4),
	OPERATOR 5 > (float8, float4);
COMMENT ON OPERATOR CLASS float8_ops USING hnsw IS 'key column of float8';

CREATE OPERATOR FAMILY datetime_ops USING hnsw;

CREATE OPERATOR CLASS date_ops
	DEFAULT FOR TYPE date USING hnsw FAMILY datetime_ops AS
	OPERATOR 1 < (date, date),
	OPERATOR 2 <= (date, date),
	OPERATOR 3 = (date, date),
	OPERATOR 4 >= (date, date),
	OPERATOR 5 > (date, date),
	OPERATOR 1 < (date, timestamp),
	OPERATOR 2 <= (date, timestamp),
	OPERATOR 3 = (date, timestamp),
	OPERATOR 4 >= (date, timestamp),
	OPERATOR 5 > (date, timestamp),
	OPERATOR 1 < (date, timestamptz),
	OPERATOR 2 <= (date, timestamptz),
	OPERATOR 3 = (date, timestamptz),
	OPERATOR 4 >= (date, timestamptz),
	OPERATOR 5 > (date, timestamptz);
COMMENT ON OPERATOR CLASS date_ops USING hnsw IS 'key column of date';

CREATE OPERATOR CLASS timestamp_ops
	DEFAULT FOR TYPE timestamp USING hnsw FAMILY datetime_ops AS
	OPERATOR 1 < (timestamp, timestamp),
	OPERATOR 2 <= (timestamp, timestamp),
	OPERATOR 3 = (timestamp, timestamp),
	OPERATOR 4 >= (timestamp, timestamp),
	OPERATOR 5 > (timestamp, timestamp),
	OPERATOR 1 < (timestamp, date),
	OPERATOR 2 <= (timestamp, date),
	OPERATOR 3 = (timestamp, date),
	OPERATOR 4 >= (timestamp, date),
	OPERATOR 5 > (timestamp, date),
	OPERATOR 1 < (timestamp, timestamptz),
	OPERATOR 2 <= (timestamp, timestamptz),
	OPERATOR 3 = (timestamp, timestamptz),
	OPERATOR 4 >= (timestamp, timestamptz),
	OPERATOR 5 > (timestamp, timestamptz);
COMMENT ON OPERATOR CLASS timestamp_ops USING hnsw IS 'key column of timestamp';

CREATE OPERATOR CLASS timestamptz_ops
	DEFAULT FOR TYPE timestamptz USING hnsw FAMILY datetime_ops AS
	OPERATOR 1 < (timestamptz, timestamptz),
	OPERATOR 2 <= (timestamptz, timestamptz),
	OPERATOR 3 = (timestamptz, timestamptz),
	OPERATOR 4 >= (timestamptz, timestamptz),
	OPERATOR 5 > (timestamptz, timestamptz),
	OPERATOR 1 < (timestamptz, date),
	OPERATOR 2 <= (timestamptz, date),
	OPERATOR 3 = (timestamptz, date),
	OPERATOR 4 >= (timestamptz, date),
	OPERATOR 5 > (timestamptz, date),
	OPERATOR 1 < (timestamptz, timestamp),
	OPERATOR 2 <= (timestamptz, timestamp),
	OPERATOR 3 = (timestamptz, timestamp),
	OPERATOR 4 >= (timestamptz, timestamp),
	OPERATOR 5 > (timestamptz, timestamp);
COMMENT ON OPERATOR CLASS timestamptz_ops USING hnsw IS 'key column of timestamptz';

CREATE OPERATOR CLASS array_ops
	DEFAULT FOR TYPE anyarray USING hnsw AS
	OPERATOR 6 && (anyarray, anyarray),
	OPERATOR 7 @> (anyarray, anyarray);
COMMENT ON OPERATOR CLASS array_ops USING hnsw IS 'key column of an array of smallint, integer, bigint, text or uuid';

-- ----------------------------------------------------------------------
-- bm25: queries
-- ----------------------------------------------------------------------

CREATE TYPE bm25query;

CREATE FUNCTION bm25query_in(cstring) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'omen_bm25query_in' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_in(cstring) IS 'text input of bm25query';

CREATE FUNCTION bm25query_out(bm25query) RETURNS cstring
	AS 'MODULE_PATHNAME', 'omen_bm25query_out' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_out(bm25query) IS 'text output of bm25query';

CREATE FUNCTION bm25query_recv(internal) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'omen_bm25query_recv' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_recv(internal) IS 'binary input of bm25query';

CREATE FUNCTION bm25query_send(bm25query) RETURNS bytea
	AS 'MODULE_PATHNAME', 'omen_bm25query_send' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_send(bm25query) IS 'binary output of bm25query';

-- Preferred to tsquery, with which it shares the operator <@>: so a literal of
-- unknown type is one, and a parameter.
CREATE TYPE bm25query (
	INPUT = bm25query_in, OUTPUT = bm25query_out,
	RECEIVE = bm25query_recv, SEND = bm25query_send,
	STORAGE = extended, CATEGORY = 'U', PREFERRED = true);
COMMENT ON TYPE bm25query IS 'what to rank documents by: a tsquery, an index with its statistics, and parameters';

-- index, k1 and b may be NULL: the index that ranks, and its own values
CREATE FUNCTION to_bm25query(query tsquery, index regclass DEFAULT NULL,
	k1 float8 DEFAULT NULL, b float8 DEFAULT NULL) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'omen_to_bm25query' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION to_bm25query(tsquery, regclass, float8, float8) IS 'a query to rank by, with parameters';

CREATE FUNCTION bm25query_bind(tsquery, regclass) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'omen_bm25query_bind_tsquery' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_bind(tsquery, regclass) IS 'used by the planner: ranks by the statistics of an index';

CREATE FUNCTION bm25query_bind(bm25query, regclass) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'omen_bm25query_bind' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_bind(bm25query, regclass) IS 'used by the planner: ranks by the statistics of an index, unless another one is named';

-- ----------------------------------------------------------------------
-- bm25: ranking
-- ----------------------------------------------------------------------

CREATE FUNCTION omen_bm25_bind_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_bm25_bind_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omen_bm25_bind_support(internal) IS 'tells the planner which index a ranking is by';

-- They read an index, so they are STABLE; a score costs looking up each lexeme.
-- Workers would not rank by the statistics that the statement holds.
CREATE FUNCTION bm25_distance(tsvector, tsquery) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_bm25_distance_unbound' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
	COST 100 SUPPORT omen_bm25_bind_support;
COMMENT ON FUNCTION bm25_distance(tsvector, tsquery) IS 'implementation of the <@> operator';

CREATE FUNCTION bm25_distance(tsvector, bm25query) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_bm25_distance' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
	COST 100 SUPPORT omen_bm25_bind_support;
COMMENT ON FUNCTION bm25_distance(tsvector, bm25query) IS 'implementation of the <@> operator';

CREATE OPERATOR <@> (
	LEFTARG = tsvector, RIGHTARG = tsquery, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (tsvector, tsquery) IS 'negative BM25 score: the best document has the least';

CREATE OPERATOR <@> (
	LEFTARG = tsvector, RIGHTARG = bm25query, FUNCTION = bm25_distance);
COMMENT ON OPERATOR <@> (tsvector, bm25query) IS 'negative BM25 score: the best document has the least';

CREATE FUNCTION bm25_doc_length(tsvector) RETURNS integer
	AS 'MODULE_PATHNAME', 'omen_bm25_doc_length_sql' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25_doc_length(tsvector) IS 'length of a document as BM25 has it: its positions';

CREATE TYPE bm25stats AS (
	documents float8, average_length float8, lexemes text[], frequencies float8[]);
COMMENT ON TYPE bm25stats IS 'what a BM25 score depends on besides the document: how many documents there are, how long they are, how many have each lexeme';

CREATE FUNCTION bm25_stats_for(index regclass, query tsquery) RETURNS bm25stats
	AS 'MODULE_PATHNAME', 'omen_bm25_stats_for' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION bm25_stats_for(regclass, tsquery) IS 'what an index knows of the lexemes of a query';

-- For tables without such an index.  It counts the rows with each lexeme, which is
-- fast with a GIN index and rare lexemes.
CREATE FUNCTION bm25_stats_for(relation regclass, attribute name, query tsquery) RETURNS bm25stats
	AS 'MODULE_PATHNAME', 'omen_bm25_stats_for_column' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION bm25_stats_for(regclass, name, tsquery) IS 'what a table tells of the lexemes of a query';

CREATE FUNCTION bm25_score(document tsvector, query tsquery, stats bm25stats,
	k1 float8 DEFAULT 1.2, b float8 DEFAULT 0.75) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_bm25_score' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25_score(tsvector, tsquery, bm25stats, float8, float8) IS 'BM25 score by given statistics';

-- ----------------------------------------------------------------------
-- bm25: access method
-- ----------------------------------------------------------------------

CREATE FUNCTION omenbm25handler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'omen_bm25_handler' LANGUAGE C;
COMMENT ON FUNCTION omenbm25handler(internal) IS 'handler of the access method omenbm25';

CREATE ACCESS METHOD omenbm25 TYPE INDEX HANDLER omenbm25handler;
COMMENT ON ACCESS METHOD omenbm25 IS 'full-text search ranked by BM25';

CREATE OPERATOR CLASS tsvector_bm25_ops
	DEFAULT FOR TYPE tsvector USING omenbm25 AS
	OPERATOR 1 @@ (tsvector, tsquery),
	OPERATOR 2 <@> (tsvector, tsquery) FOR ORDER BY float_ops,
	OPERATOR 2 <@> (tsvector, bm25query) FOR ORDER BY float_ops;
COMMENT ON OPERATOR CLASS tsvector_bm25_ops USING omenbm25 IS 'lexemes of tsvector';

-- ----------------------------------------------------------------------
-- analytics: checks of an index
-- ----------------------------------------------------------------------

-- of both access methods; broken pages are passed over by subtransactions
CREATE FUNCTION omen_verify_index(index regclass, heapallindexed boolean DEFAULT false,
	OUT block bigint, OUT "offset" integer, OUT severity text, OUT invariant text, OUT detail text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'omen_verify_index' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION omen_verify_index(regclass, boolean) IS 'what is wrong with an omenhnsw or omenbm25 index; no rows if nothing is';
REVOKE ALL ON FUNCTION omen_verify_index(regclass, boolean) FROM PUBLIC;

-- of one kind each, for scripts, and what keeps it from being looked at; the
-- bodies find their function whatever the path
CREATE FUNCTION omen_tid_map_problems(index regclass) RETURNS bigint
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	RETURN (SELECT count(*) FROM omen_verify_index(index) WHERE invariant IN ('H9', 'H10', 'H11') OR invariant IN ('H0', 'P1') AND severity = 'error');
COMMENT ON FUNCTION omen_tid_map_problems(regclass) IS 'number of findings about the map from rows to nodes';

CREATE FUNCTION omen_key_problems(index regclass) RETURNS bigint
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	RETURN (SELECT count(*) FROM omen_verify_index(index, true) WHERE invariant IN ('H5', 'H12', 'H13') OR invariant IN ('H0', 'P1') AND severity = 'error');
COMMENT ON FUNCTION omen_key_problems(regclass) IS 'number of findings about the keys of nodes';

CREATE FUNCTION bm25_problems(index regclass) RETURNS text
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	RETURN (SELECT string_agg(detail, E'\n') FROM omen_verify_index(index));
COMMENT ON FUNCTION bm25_problems(regclass) IS 'what is wrong with an omenbm25 index; NULL if nothing is';

-- ----------------------------------------------------------------------
-- analytics: what an index is made of, and how good it is
-- ----------------------------------------------------------------------

-- They read what may change at any time, so they are VOLATILE.  Broken pages
-- are passed over by subtransactions, which parallel mode does not allow.

CREATE FUNCTION omen_index_stats(index regclass,
	OUT version integer, OUT rows bigint, OUT nodes bigint,
	OUT deleted_nodes bigint, OUT list_slots bigint, OUT free_slots bigint,
	OUT pages bigint, OUT meta_pages bigint, OUT node_pages bigint,
	OUT chain_pages bigint, OUT entry_pages bigint, OUT free_pages bigint,
	OUT tid_map_pages bigint, OUT other_pages bigint, OUT invalid_pages bigint,
	OUT bytes_per_row float8, OUT slots_per_page integer, OUT links_mean float8,
	OUT m integer, OUT ef_construction integer, OUT quantizer text,
	OUT dims integer, OUT metric text)
	AS 'MODULE_PATHNAME', 'omen_index_stats' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION omen_index_stats(regclass) IS 'what an index is made of, from all of its pages';

CREATE FUNCTION bm25_stats(index regclass,
	OUT documents bigint, OUT dead_documents bigint, OUT average_length float8,
	OUT segments integer, OUT postings bigint, OUT pending_documents bigint,
	OUT pending_pages bigint, OUT free_pages bigint, OUT pages bigint,
	OUT k1 float8, OUT b float8)
	AS 'MODULE_PATHNAME', 'omen_bm25_stats' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION bm25_stats(regclass) IS 'what an omenbm25 index is made of, and the statistics that it ranks by';

CREATE FUNCTION bm25_merge(index regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'omen_bm25_merge_sql' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION bm25_merge(regclass) IS 'merges an omenbm25 index into one segment, without dead documents';

CREATE FUNCTION omen_prewarm(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'omen_prewarm' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION omen_prewarm(regclass) IS 'bring an index into the shared buffers; returns its number of pages';

CREATE FUNCTION omen_recall(index regclass, k integer DEFAULT 10, samples integer DEFAULT 100) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_recall' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION omen_recall(regclass, integer, integer) IS 'part of the true k nearest rows that an index finds';

CREATE FUNCTION omen_estimate_build(index regclass,
	OUT row_count bigint, OUT participants integer, OUT index_size bigint,
	OUT temporary_files bigint, OUT private_memory bigint,
	OUT mapped_memory bigint, OUT seconds float8)
	AS 'MODULE_PATHNAME', 'omen_estimate_rebuild' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION omen_estimate_build(regclass) IS 'what REINDEX of an index would take';

CREATE FUNCTION omen_estimate_build(dims integer, rows bigint,
	type text DEFAULT 'vector', metric text DEFAULT 'l2', m integer DEFAULT 16,
	ef_construction integer DEFAULT 64, quantizer text DEFAULT 'auto',
	workers integer DEFAULT -1,
	OUT row_count bigint, OUT participants integer, OUT index_size bigint,
	OUT temporary_files bigint, OUT private_memory bigint,
	OUT mapped_memory bigint, OUT seconds float8)
	AS 'MODULE_PATHNAME', 'omen_estimate_build' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION omen_estimate_build(integer, bigint, text, text, integer, integer, text, integer) IS 'what CREATE INDEX would take';

-- ----------------------------------------------------------------------
-- one order from several
-- ----------------------------------------------------------------------

-- Not strict: a branch or an option may be NULL.  Stable, for they depend on
-- all rows of a table; and a scan that computes them is not parallel.

CREATE FUNCTION omen_fuse_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'omen_fuse_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION omen_fuse_support(internal) IS 'tells the planner what a fused score costs';

CREATE FUNCTION rrf(branch1 float8, branch2 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_rrf' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION rrf(float8, float8, float8[], integer, integer) IS 'to order by: negative sum of weight / (k + rank) in each branch';

CREATE FUNCTION rrf(branch1 float8, branch2 float8, branch3 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_rrf' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION rrf(float8, float8, float8, float8[], integer, integer) IS 'to order by: negative sum of weight / (k + rank) in each branch';

CREATE FUNCTION rrf(branch1 float8, branch2 float8, branch3 float8, branch4 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_rrf' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION rrf(float8, float8, float8, float8, float8[], integer, integer) IS 'to order by: negative sum of weight / (k + rank) in each branch';

CREATE FUNCTION rrf(branch1 float8, branch2 float8, branch3 float8, branch4 float8, branch5 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_rrf' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION rrf(float8, float8, float8, float8, float8, float8[], integer, integer) IS 'to order by: negative sum of weight / (k + rank) in each branch';

CREATE FUNCTION fuse(branch1 float8, branch2 float8,
	norm text DEFAULT 'minmax', alpha float8 DEFAULT NULL, weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_fuse' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION fuse(float8, float8, text, float8, float8[], integer) IS 'to order by: negative weighted sum of the normalized values of branches';

CREATE FUNCTION fuse(branch1 float8, branch2 float8, branch3 float8,
	norm text DEFAULT 'minmax', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_fuse' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION fuse(float8, float8, float8, text, float8[], integer) IS 'to order by: negative weighted sum of the normalized values of branches';

CREATE FUNCTION fuse(branch1 float8, branch2 float8, branch3 float8, branch4 float8,
	norm text DEFAULT 'minmax', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_fuse' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION fuse(float8, float8, float8, float8, text, float8[], integer) IS 'to order by: negative weighted sum of the normalized values of branches';

CREATE FUNCTION fuse(branch1 float8, branch2 float8, branch3 float8, branch4 float8, branch5 float8,
	norm text DEFAULT 'minmax', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	AS 'MODULE_PATHNAME', 'omen_fuse' LANGUAGE C STABLE PARALLEL RESTRICTED
	SUPPORT omen_fuse_support;
COMMENT ON FUNCTION fuse(float8, float8, float8, float8, float8, text, float8[], integer) IS 'to order by: negative weighted sum of the normalized values of branches';

-- For display: positive, the higher the better.  The planner puts the body in
-- place of the call, so that the scan's score is taken if the arguments are those
-- of ORDER BY.

CREATE FUNCTION rrf_score(branch1 float8, branch2 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -rrf(branch1, branch2, weights, k, window_size);
COMMENT ON FUNCTION rrf_score(float8, float8, float8[], integer, integer) IS 'rrf() without its sign, beside ORDER BY rrf()';

CREATE FUNCTION rrf_score(branch1 float8, branch2 float8, branch3 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -rrf(branch1, branch2, branch3, weights, k, window_size);
COMMENT ON FUNCTION rrf_score(float8, float8, float8, float8[], integer, integer) IS 'rrf() without its sign, beside ORDER BY rrf()';

CREATE FUNCTION rrf_score(branch1 float8, branch2 float8, branch3 float8, branch4 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -rrf(branch1, branch2, branch3, branch4, weights, k, window_size);
COMMENT ON FUNCTION rrf_score(float8, float8, float8, float8, float8[], integer, integer) IS 'rrf() without its sign, beside ORDER BY rrf()';

CREATE FUNCTION rrf_score(branch1 float8, branch2 float8, branch3 float8, branch4 float8, branch5 float8,
	weights float8[] DEFAULT NULL, k integer DEFAULT 60, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -rrf(branch1, branch2, branch3, branch4, branch5, weights, k, window_size);
COMMENT ON FUNCTION rrf_score(float8, float8, float8, float8, float8, float8[], integer, integer) IS 'rrf() without its sign, beside ORDER BY rrf()';

CREATE FUNCTION fuse_score(branch1 float8, branch2 float8,
	norm text DEFAULT 'minmax', alpha float8 DEFAULT NULL, weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -fuse(branch1, branch2, norm, alpha, weights, window_size);
COMMENT ON FUNCTION fuse_score(float8, float8, text, float8, float8[], integer) IS 'fuse() without its sign, beside ORDER BY fuse()';

CREATE FUNCTION fuse_score(branch1 float8, branch2 float8, branch3 float8,
	norm text DEFAULT 'minmax', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -fuse(branch1, branch2, branch3, norm, weights, window_size);
COMMENT ON FUNCTION fuse_score(float8, float8, float8, text, float8[], integer) IS 'fuse() without its sign, beside ORDER BY fuse()';

CREATE FUNCTION fuse_score(branch1 float8, branch2 float8, branch3 float8, branch4 float8,
	norm text DEFAULT 'minmax', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -fuse(branch1, branch2, branch3, branch4, norm, weights, window_size);
COMMENT ON FUNCTION fuse_score(float8, float8, float8, float8, text, float8[], integer) IS 'fuse() without its sign, beside ORDER BY fuse()';

CREATE FUNCTION fuse_score(branch1 float8, branch2 float8, branch3 float8, branch4 float8, branch5 float8,
	norm text DEFAULT 'minmax', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL) RETURNS float8
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN -fuse(branch1, branch2, branch3, branch4, branch5, norm, weights, window_size);
COMMENT ON FUNCTION fuse_score(float8, float8, float8, float8, float8, text, float8[], integer) IS 'fuse() without its sign, beside ORDER BY fuse()';

-- ----------------------------------------------------------------------
-- hybrid search, as functions
-- ----------------------------------------------------------------------

-- They put names into statements by quoting them, and values by parameters.
-- They run as who calls them, and find what they name in pg_catalog and in this
-- extension's schema, wherever that is, whatever the search path.  Calls have all
-- arguments, of the very types: nothing that others add there fits better.

CREATE FUNCTION omen_hybrid_statement(rel regclass, key_column name, vector_column name,
	operator text, text_column name, filter jsonb, fusion text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ext name := (SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'omendb');
	vector_branch text := 'NULL::float8';
	text_branch text := 'NULL::float8';
	ranking text;
	restriction text := 'true';
	col record;
BEGIN
	IF operator IS NULL OR operator NOT IN ('<->', '<=>', '<#>', '<+>') THEN
		RAISE invalid_parameter_value USING MESSAGE = format('"%s" is not a distance between vectors', operator),
			HINT = 'Distances are <->, <=>, <#> and <+>.';
	ELSIF fusion IS NULL OR fusion NOT IN ('rrf', 'minmax', 'theoretical', 'zscore', 'none') THEN
		RAISE invalid_parameter_value USING MESSAGE = format('fusion "%s" is not known', fusion),
			HINT = 'It is rrf, or a norm of fuse(): minmax, theoretical, zscore, none.';
	ELSIF filter IS NOT NULL AND jsonb_typeof(filter) <> 'object' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'filter must be a JSON object',
			HINT = 'As in {"tenant_id": 7, "lang": ["en", "de"]}.';
	END IF;

	FOR col IN SELECT name, format_type(atttypid, -1) AS type, filter -> name AS value
		FROM (SELECT unnest(ARRAY[key_column, vector_column, text_column]::text[]) AS name
			UNION SELECT jsonb_object_keys(filter)) AS names
			LEFT JOIN pg_attribute ON attrelid = rel AND attname = name AND attnum > 0 AND NOT attisdropped
		WHERE name IS NOT NULL ORDER BY name
	LOOP
		IF col.type IS NULL THEN
			RAISE undefined_column USING MESSAGE = format('column "%s" of %s does not exist', col.name, rel);
		END IF;
		IF col.name = vector_column THEN
			vector_branch := format('t.%I OPERATOR(%I.%s) $1::%s', col.name, ext, operator, col.type);
		END IF;
		IF col.name = text_column THEN
			text_branch := format('t.%I OPERATOR(%I.<@>) $2', col.name, ext);
		END IF;
		restriction := restriction || CASE
			WHEN col.value IS NULL THEN ''
			WHEN jsonb_typeof(col.value) = 'null' THEN format(' AND t.%I IS NULL', col.name)
			WHEN jsonb_typeof(col.value) = 'array' THEN
				format(' AND t.%I = ANY (ARRAY(SELECT jsonb_array_elements_text($5 -> %1$L))::%s[])', col.name, col.type)
			ELSE format(' AND t.%I = ($5 ->> %1$L)::%s', col.name, col.type)
		END;
	END LOOP;

	ranking := CASE
		WHEN fusion = 'rrf' THEN format('%I.rrf(%s, %s, $3, 60, $4)', ext, vector_branch, text_branch)
		ELSE format('%I.fuse(%s, %s, %L::text, NULL::float8, $3, $4)', ext, vector_branch, text_branch, fusion)
	END;
	RETURN format('SELECT t.ctid, %s AS key, 0 - %s AS score, %s AS distance, 0 - (%s) AS text_score FROM %s AS t WHERE %s ORDER BY %2$s LIMIT $6',
		CASE WHEN key_column IS NULL THEN 'NULL' ELSE format('t.%I::text', key_column) END, ranking, vector_branch, text_branch, rel, restriction);
END $$;
COMMENT ON FUNCTION omen_hybrid_statement(regclass, name, name, text, name, jsonb, text) IS 'used by hybrid_search() and hybrid_tune(): the statement with parameters that they run';

CREATE FUNCTION hybrid_search(rel regclass, vector_column name, query_vector vector,
	text_column name, query tsquery, k integer DEFAULT 10, filter jsonb DEFAULT NULL,
	fusion text DEFAULT 'rrf', weights float8[] DEFAULT NULL, window_size integer DEFAULT NULL,
	operator text DEFAULT '<=>',
	OUT ctid tid, OUT score float8, OUT distance float8, OUT text_score float8) RETURNS SETOF record
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ext name := (SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'omendb');
	statement text;
BEGIN
	EXECUTE format('SELECT %I.omen_hybrid_statement($1, NULL::name, $2, $3, $4, $5, $6)', ext)
		INTO statement USING rel, vector_column, operator, text_column, filter, fusion;
	RETURN QUERY EXECUTE format('SELECT x.ctid, x.score, x.distance, x.text_score FROM (%s) AS x', statement)
		USING query_vector, query, weights, window_size, filter, k;
END $$;
COMMENT ON FUNCTION hybrid_search(regclass, name, vector, name, tsquery, integer, jsonb, text, float8[], integer, text) IS 'rows of a table by the distance of a vector and the score of a text together';

-- Its body is bound when the extension is created, by a search path with a schema
-- that others may have put functions into: hence names with a schema, and
-- operators whose types are those of pg_catalog exactly.
CREATE FUNCTION omen_ndcg(found text[], judged jsonb, k integer) RETURNS float8
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (SELECT coalesce(pg_catalog.sum((judged OPERATOR(pg_catalog.->>) f.key)::float8 OPERATOR(pg_catalog./) pg_catalog.ln((1 OPERATOR(pg_catalog.+) f.n)::float8)), 0)
			FROM pg_catalog.unnest(found) WITH ORDINALITY AS f(key, n) WHERE f.n OPERATOR(pg_catalog.<=) k) OPERATOR(pg_catalog./)
		(SELECT CASE WHEN s.best OPERATOR(pg_catalog.<>) 0::float8 THEN s.best END
			FROM (SELECT pg_catalog.sum(j.grade OPERATOR(pg_catalog./) pg_catalog.ln((1 OPERATOR(pg_catalog.+) j.n)::float8)) AS best
				FROM (SELECT value::float8 AS grade, pg_catalog.row_number() OVER (ORDER BY value::float8 DESC) AS n
					FROM pg_catalog.jsonb_each_text(judged)) AS j WHERE j.n OPERATOR(pg_catalog.<=) k) AS s);
COMMENT ON FUNCTION omen_ndcg(text[], jsonb, integer) IS 'normalized discounted cumulative gain of the first k keys found, by the grades of keys; NULL if nothing is relevant';

CREATE FUNCTION hybrid_tune(rel regclass, key_column name, vector_column name, query_vectors vector[],
	text_column name, queries tsquery[], judged jsonb[], k integer DEFAULT 10,
	fusions text[] DEFAULT '{rrf,minmax,theoretical,zscore}', steps integer DEFAULT 10,
	filter jsonb DEFAULT NULL, window_size integer DEFAULT NULL, operator text DEFAULT '<=>',
	OUT fusion text, OUT weights float8[], OUT ndcg float8, OUT vector_ndcg float8, OUT text_ndcg float8) RETURNS SETOF record
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	ext name := (SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'omendb');
	tried text[] := '{}';
	shares float8[] := '{}';
	gains float8[] := '{}';
	statement text;
	fusion_tried text;
	share float8;
	total float8;
	gain float8;
	judged_queries integer;
BEGIN
	IF coalesce(cardinality(judged), 0) = 0 OR cardinality(query_vectors) IS DISTINCT FROM cardinality(judged) OR
		cardinality(queries) IS DISTINCT FROM cardinality(judged) THEN
		RAISE invalid_parameter_value USING MESSAGE = 'hybrid_tune() needs as many vectors, text queries and judgements, at least one of each';
	ELSIF steps IS NULL OR steps < 1 OR k IS NULL OR k < 1 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'k and steps of hybrid_tune() must be at least 1';
	ELSIF coalesce(cardinality(fusions), 0) = 0 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'hybrid_tune() needs at least one fusion';
	END IF;

	FOREACH fusion_tried IN ARRAY fusions LOOP
		EXECUTE format('SELECT %I.omen_hybrid_statement($1, $2, $3, $4, $5, $6, $7)', ext)
			INTO statement USING rel, key_column, vector_column, operator, text_column, filter, fusion_tried;
		statement := format('SELECT %I.omen_ndcg(array_agg(x.key), $7, $6) FROM (%s) AS x', ext, statement);
		FOR step IN 0 .. steps LOOP
			share := step::float8 / steps;
			total := 0;
			judged_queries := 0;
			FOR i IN 1 .. cardinality(judged) LOOP
				EXECUTE statement INTO gain USING query_vectors[i], queries[i], ARRAY[share, 1 - share],
					CASE WHEN fusion_tried IN ('rrf', 'minmax', 'zscore') THEN window_size END, filter, k, judged[i];
				CONTINUE WHEN gain IS NULL;
				total := total + gain;
				judged_queries := judged_queries + 1;
			END LOOP;
			tried := tried || fusion_tried;
			shares := shares || share;
			gains := gains || total / nullif(judged_queries, 0);
		END LOOP;
	END LOOP;

	-- alike: what leans on neither
	RETURN QUERY SELECT g.f, ARRAY[g.s, 1 - g.s], g.g,
		max(g.g) FILTER (WHERE g.s = 1) OVER (PARTITION BY g.f), max(g.g) FILTER (WHERE g.s = 0) OVER (PARTITION BY g.f)
		FROM unnest(tried, shares, gains) AS g(f, s, g) ORDER BY g.g DESC NULLS LAST, abs(g.s - 0.5), g.f;
END $$;
COMMENT ON FUNCTION hybrid_tune(regclass, name, name, vector[], name, tsquery[], jsonb[], integer, text[], integer, jsonb, integer, text) IS 'weights of hybrid_search() by how well it finds what is judged relevant, the best first';
