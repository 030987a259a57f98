-- The type sparsevec

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

-- elements in any order, zeros dropped
SELECT '{3:1.5, 1:-2 ,2:0}/ 5'::sparsevec;
SELECT ' { } / 3 '::sparsevec;
SELECT '{1000000000:1}/1000000000'::sparsevec;

SELECT expression, outcome(expression) FROM (VALUES
	($$''::sparsevec$$),
	($$'{1:1'::sparsevec$$),
	($$'{1:1}'::sparsevec$$),
	($$'{1:1}/'::sparsevec$$),
	($$'{1:1}/2x'::sparsevec$$),
	($$'{1}/2'::sparsevec$$),
	($$'{1:}/2'::sparsevec$$),
	($$'{:1}/2'::sparsevec$$),
	($$'{1:1,}/2'::sparsevec$$),
	($$'{1:1 2:2}/2'::sparsevec$$),
	($$'{0:1}/2'::sparsevec$$),
	($$'{-1:1}/2'::sparsevec$$),
	($$'{3:1}/2'::sparsevec$$),
	($$'{99999999999999999999:1}/2'::sparsevec$$),
	($$'{-99999999999999999999:1}/2'::sparsevec$$),
	($$'{1:1,1:2}/2'::sparsevec$$),
	($$'{1:nan}/2'::sparsevec$$),
	($$'{1:-inf}/2'::sparsevec$$),
	($$'{1:1e39}/2'::sparsevec$$),
	($$'{1:1e-60}/2'::sparsevec$$),
	($$'{}/0'::sparsevec$$),
	($$'{}/-5'::sparsevec$$),
	($$'{}/1000000001'::sparsevec$$),
	($$'{}/99999999999999999999'::sparsevec$$),
	($$'{1:1}/3'::sparsevec(2)$$),
	($$'{}/1'::sparsevec(1000000001)$$)) AS t (expression);

-- at most 16000 elements, whatever the dimensions
SELECT expression, outcome(expression) FROM (VALUES
	($$SELECT length((SELECT '{' || string_agg(n || ':1', ',') || '}/20000' FROM generate_series(1, 16000) n)::sparsevec::text)$$),
	($$(SELECT '{' || string_agg(n || ':1', ',') || '}/20000' FROM generate_series(1, 16001) n)::sparsevec$$),
	($$array_fill(1, ARRAY[16001])::sparsevec$$)) AS t (expression);

-- distances: elements that only one side has count against zero
SELECT a <-> b AS l2, a <#> b AS ip, a <=> b AS cosine, a <+> b AS l1
	FROM (VALUES
		('{1:3}/3'::sparsevec, '{2:4}/3'::sparsevec),
		('{1:1,2:2}/3', '{1:1,2:2}/3'),
		('{1:1,3:2}/3', '{1:2,2:5,3:-2}/3'),
		('{}/3', '{3:2}/3'),
		('{}/3', '{}/3')) AS pairs (a, b);
SELECT '{}/3'::sparsevec <-> '{}/4';
SELECT '{1:3e38}/1'::sparsevec <-> '{1:-3e38}/1';

SELECT l2_norm('{1:3,9:4}/10'::sparsevec), l2_normalize('{1:3,9:4}/10'::sparsevec),
	l2_normalize('{}/2'::sparsevec);
-- elements that scaling makes zero are dropped
SELECT l2_normalize('{1:3e38,2:1e-45}/2'::sparsevec);

-- the order is that of the dense vectors
WITH v (s) AS (VALUES ('{}/1'::sparsevec), ('{}/2'), ('{1:1}/1'), ('{1:-1}/2'),
	('{2:1}/2'), ('{2:-1}/2'), ('{1:1,2:-1}/2'), ('{3:1}/3'), ('{3:-1}/3'))
SELECT a.s, b.s, sparsevec_cmp(a.s, b.s) AS sparse, vector_cmp(a.s::vector, b.s::vector) AS dense
	FROM v a, v b
	WHERE sparsevec_cmp(a.s, b.s) <> vector_cmp(a.s::vector, b.s::vector);

DROP FUNCTION outcome(text);
