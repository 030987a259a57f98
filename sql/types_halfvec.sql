-- The type halfvec: what differs from vector by the width of an element

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

SELECT '[1,0.1,65504,-65504,6e-8,1e-9]'::halfvec;

-- to nearest, ties to even; 65520 would round beyond the largest half
SELECT '[2049,2051,65519]'::halfvec;
SELECT expression, outcome(expression) FROM (VALUES
	($$'[65520]'::halfvec$$),
	($$'[1e39]'::halfvec$$),
	($$'[inf]'::halfvec$$),
	($$'[nan]'::halfvec$$),
	($$'[1,2'::halfvec$$),
	($$'[]'::halfvec$$),
	($$'[1,2]'::halfvec(1)$$),
	($$'[1]'::halfvec(16001)$$)) AS t (expression);

SELECT '[1,2]'::halfvec + '[3,4]' AS sum, '[1,2]'::halfvec - '[3,4]' AS difference,
	'[1,2]'::halfvec * '[3,4]' AS product, '[1,2]'::halfvec || '[3]' AS concatenation;
SELECT '[65504]'::halfvec + '[65504]';
SELECT '[65504]'::halfvec + '[8]';
SELECT '[300]'::halfvec * '[300]';
SELECT '[1e-4]'::halfvec * '[1e-4]';

-- distances are summed as floats, so they may exceed the largest half
SELECT '[60000,0]'::halfvec <-> '[-60000,0]' AS l2,
	'[60000,0]'::halfvec <#> '[60000,1]' AS ip,
	'[60000,60000]'::halfvec <=> '[1,1]' AS cosine,
	'[60000,1]'::halfvec <+> '[-60000,0]' AS l1;

SELECT l2_norm('[3,4]'::halfvec), l2_normalize('[3,4]'::halfvec),
	l2_normalize('[0]'::halfvec), vector_dims('[1,2,3]'::halfvec),
	binary_quantize('[1,-1,6e-8]'::halfvec), subvector('[1,2,3]'::halfvec, 2, 9);

-- 2 bytes an element and 8 more
SELECT pg_column_size('[1,2,3]'::halfvec), pg_column_size('[1,2,3]'::vector);

DROP FUNCTION outcome(text);
