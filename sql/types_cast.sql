-- Casts between vector types and arrays

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

SELECT ARRAY[1,2,3]::vector, ARRAY[1.5,2.5]::real[]::halfvec,
	ARRAY[1,0,2]::double precision[]::sparsevec, ARRAY[1.25,2]::numeric[]::vector;
SELECT '[1,2]'::vector::real[], '[1,2]'::halfvec::real[];
SELECT '[1,0,2.5]'::vector::halfvec, '[1,0,2.5]'::halfvec::vector,
	'[1,0,2.5]'::vector::sparsevec, '[1,0,2.5]'::halfvec::sparsevec,
	'{1:1,3:2.5}/3'::sparsevec::vector, '{1:1,3:2.5}/3'::sparsevec::halfvec;
-- an array with a null bitmap but no nulls
SELECT (ARRAY[NULL,1,2]::real[])[2:3]::vector;

-- what is refused
SELECT expression, outcome(expression) FROM (VALUES
	($$'{}'::real[]::vector$$),
	($$'{1,NULL}'::real[]::vector$$),
	($$'{{1,2},{3,4}}'::real[]::vector$$),
	($$'{nan}'::real[]::vector$$),
	($$'{inf}'::double precision[]::halfvec$$),
	($$'{-inf}'::double precision[]::sparsevec$$),
	($$'{1e39}'::double precision[]::vector$$),
	($$'{70000}'::integer[]::halfvec$$),
	($$'{1e39}'::numeric[]::vector$$),
	($$'[70000]'::vector::halfvec$$),
	($$'{1:70000}/1'::sparsevec::halfvec$$),
	($$'[1,2]'::vector::halfvec(3)$$),
	($$'[1,2]'::vector::sparsevec(3)$$),
	($$'{}/16001'::sparsevec::vector$$),
	($$'{}/16001'::sparsevec::halfvec$$),
	($$'{1}'::real[]::vector(2)$$)) AS t (expression);

-- assignment checks the dimensions too
CREATE TABLE assigned (v vector(2), h halfvec(2), s sparsevec(2));
INSERT INTO assigned VALUES (ARRAY[1,2], ARRAY[1,2], ARRAY[1,2]);
INSERT INTO assigned VALUES ('[1,2]'::halfvec, '[1,2]'::vector, '[1,2]'::vector);
INSERT INTO assigned (v) VALUES (ARRAY[1,2,3]);
INSERT INTO assigned (s) VALUES ('[1,2,3]'::halfvec);
SELECT DISTINCT * FROM assigned;
DROP TABLE assigned;

-- which cast needs to be written out
SELECT castsource::regtype, casttarget::regtype, castcontext
	FROM pg_cast
	WHERE castsource::regtype::text ~ 'vec' OR casttarget::regtype::text ~ 'vec'
	ORDER BY castsource::regtype::text, casttarget::regtype::text;

DROP FUNCTION outcome(text);
