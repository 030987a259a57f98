-- avg and sum

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

CREATE TABLE measured (g int, v vector(2), h halfvec(2));
INSERT INTO measured SELECT n % 3, ARRAY[n, -n], ARRAY[n, -n] FROM generate_series(1, 100) n;
INSERT INTO measured VALUES (0, NULL, NULL), (3, NULL, NULL);

SELECT avg(v), sum(v), avg(h), sum(h) FROM measured;
SELECT g, avg(v), sum(h) FROM measured GROUP BY g ORDER BY g;

-- nothing to add up
SELECT avg(v), sum(v), avg(h), sum(h) FROM measured WHERE false;
SELECT avg(v) FILTER (WHERE g > 5) AS none, avg(v) FILTER (WHERE g < 5) AS all FROM measured;

-- as window functions, where a state is read more than once
SELECT n, avg(v) OVER (ORDER BY n), sum(v) OVER (ORDER BY n ROWS 1 PRECEDING)
	FROM (VALUES (1, '[1]'::vector), (2, '[3]'), (3, '[8]')) AS t (n, v);

-- workers without any rows have a state without dimensions
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 3;
CREATE TABLE spread AS SELECT n, ARRAY[n, -n]::vector AS v, ARRAY[n, -n]::halfvec AS h
	FROM generate_series(1, 1000) n;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v), avg(h) FROM spread WHERE n + 0 < 10;
SELECT avg(v), sum(v), avg(h) FROM spread WHERE n + 0 < 10;
SELECT avg(v), sum(v), avg(h) FROM spread WHERE n + 0 < 0;
DROP TABLE spread;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
DROP TABLE measured;

-- the support functions called by hand; they do not change their argument
SELECT vector_combine('{0}', '{0}'), vector_combine('{0}', '{2,4,6}'),
	vector_combine('{2,4,6}', '{0}'), halfvec_combine('{2,4,6}', '{1,1,1}');
SELECT s, vector_accum(s, '[1,2]'), halfvec_accum(s, '[1,2]') FROM (VALUES ('{0}'::float8[]), ('{1,5,5}')) AS t (s);
SELECT vector_avg('{0}'), vector_avg('{2,4,6}'), halfvec_avg('{4,2}');
SELECT expression, outcome(expression) FROM (VALUES
	($$vector_accum('{}', '[1]')$$),
	($$vector_accum('{NULL}', '[1]')$$),
	($$vector_accum('{{1,2}}', '[1]')$$),
	($$vector_accum('{1,2}', '[1,2]')$$),
	($$vector_combine('{1,2}', '{1,2,3}')$$),
	($$vector_avg('{1}')$$),
	($$vector_avg('{1,NaN}')$$),
	($$halfvec_avg('{1,1e6}')$$),
	($$vector_avg(array_fill(1::float8, ARRAY[16002]))$$),
	($$vector_accum('{1,1.7e308}', '[1]') IS NOT NULL$$),
	($$vector_combine('{1,1.7e308}', '{1,1.7e308}')$$),
	($$SELECT avg(v) FROM (VALUES ('[1]'::vector), ('[1,2]')) AS t (v)$$),
	($$SELECT sum(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) AS t (v)$$),
	($$SELECT avg(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) AS t (v)$$)) AS t (expression);

DROP FUNCTION outcome(text);
