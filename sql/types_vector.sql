-- The type vector: text form, arithmetic, functions of one vector

-- the value of an expression, or the error in its place
CREATE FUNCTION outcome(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE format('SELECT (%s)::text', expression) INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' ', SQLSTATE || ':', SQLERRM, '| ' || nullif(detail, ''));
END
$$;

-- white space is accepted around every token, numbers as float4 takes them
SELECT E' [ 1 ,\t-2.5,3e2,\n.5 ] '::vector;
SELECT '[0x10, +7, -0, 1e-45]'::vector;

-- malformed text
SELECT expression, outcome(expression) FROM (VALUES
	($$''::vector$$),
	($$'1,2'::vector$$),
	($$'[1,2'::vector$$),
	($$'[1,2]]'::vector$$),
	($$'[1 2]'::vector$$),
	($$'[1,,2]'::vector$$),
	($$'[1,2,]'::vector$$),
	($$'[]'::vector$$),
	($$'[1,x]'::vector$$),
	($$'[1;2]'::vector$$)) AS t (expression);

-- numbers that no float holds
SELECT expression, outcome(expression) FROM (VALUES
	($$'[nan]'::vector$$),
	($$'[1,-inf]'::vector$$),
	($$'[1e39]'::vector$$),
	($$'[1e-60]'::vector$$)) AS t (expression);

-- dimensions
SELECT expression, outcome(expression) FROM (VALUES
	($$'[1,2]'::vector(3)$$),
	($$'[1]'::vector(0)$$),
	($$'[1]'::vector(16001)$$),
	($$'[1]'::vector('x')$$),
	($$'[1]'::vector(1, 1)$$),
	($$vector_dims(('[' || repeat('1,', 15999) || '1]')::vector)$$),
	($$vector_dims(('[' || repeat('1,', 16000) || '1]')::vector)$$)) AS t (expression);

-- arithmetic
SELECT '[1,2,3]'::vector + '[10,20,30]' AS sum,
	'[1,2,3]'::vector - '[10,20,30]' AS difference,
	'[1,2,3]'::vector * '[10,20,30]' AS product,
	'[1,2]'::vector || '[3]' AS concatenation;
SELECT '[1,2]'::vector + '[1]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[-3e38]'::vector - '[3e38]';
SELECT '[1e30]'::vector * '[1e30]';
SELECT '[1e-30]'::vector * '[1e-30]';
SELECT '[1e-30,0]'::vector * '[0,1e-30]';

-- norm and what comes of it
SELECT vector_norm('[3,4]'), vector_norm('[3e37,4e37]')::real, vector_norm('[0]');
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[0,0]'::vector),
	l2_normalize('[1e-45]'::vector);
SELECT binary_quantize('[1,-1,0,1e-45,5,-5,0,0,1]'::vector);

-- positions of a subvector count from 1; those outside are passed over
SELECT subvector('[1,2,3,4]'::vector, 2, 2) AS inside,
	subvector('[1,2,3,4]'::vector, 3, 10) AS past_the_end,
	subvector('[1,2,3,4]'::vector, -1, 3) AS before_the_start;
SELECT subvector('[1,2,3,4]'::vector, -2147483648, 2147483647);
SELECT subvector('[1,2,3,4]'::vector, -2147483643, 2147483647);
SELECT subvector('[1,2,3,4]'::vector, 2147483647, 2147483647);
SELECT subvector('[1,2,3,4]'::vector, 4, 2147483647);
SELECT subvector('[1,2,3,4]'::vector, 5, 1);
SELECT subvector('[1,2,3,4]'::vector, 1, 0);
SELECT subvector('[1,2,3,4]'::vector, 2, -2147483648);

-- storage: 4 bytes an element and 8 more, never compressed
CREATE TABLE stored (v vector);
SELECT attstorage FROM pg_attribute
	WHERE attrelid = 'stored'::regclass AND attname = 'v';
INSERT INTO stored SELECT array_fill(1, ARRAY[n])::vector FROM generate_series(1, 4000, 1333) n;
SELECT vector_dims(v), pg_column_size(v), v = array_fill(1, ARRAY[vector_dims(v)])::vector AS equal
	FROM stored ORDER BY 1;
DROP TABLE stored;

DROP FUNCTION outcome(text);
