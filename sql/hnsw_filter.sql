-- Filtered scans by each strategy and over each kind of codes: pulled to the
-- end, they return what the same query returns without the index, in the same
-- order; cut short, most of it.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET enable_seqscan = off;
SET enable_sort = off;

-- seven clusters; every tenth row has the vector of others
CREATE FUNCTION some_vector(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(round((500 + 400 * sin((n % 7 + 1) * j) + 90 * sin(n * 12.9898 + j * j * 78.233))::numeric)::real ORDER BY j)::vector
	FROM generate_series(1, 24) j $$;
CREATE TABLE filtered (id int, kind int, spot int, v vector(24), h halfvec(24), b bit(24), s sparsevec(24));
INSERT INTO filtered (id, kind, spot, v)
	SELECT n, n % 20, n % 7, some_vector(CASE WHEN n % 10 = 0 THEN n % 100 ELSE n END) FROM generate_series(1, 6000) n;
UPDATE filtered SET h = v::halfvec, s = v::sparsevec,
	b = binary_quantize(v - array_fill(500, ARRAY[24])::vector);
VACUUM FULL filtered;
CREATE INDEX ON filtered (kind);
CREATE INDEX ON filtered (spot);
CREATE INDEX ON filtered (id);

-- per strategy: the plan, all rows and their order, the first ten (where two of
-- the strategies are not at home, they may miss some)
CREATE FUNCTION compare(col text, op text, condition text) RETURNS TABLE (strategy text, result text)
LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT id, (%1$s %2$s (SELECT %1$s FROM filtered WHERE id = 77))::float8 AS d FROM filtered WHERE %3$s ORDER BY %1$s %2$s (SELECT %1$s FROM filtered WHERE id = 77)', col, op, condition);
	wanted text := format('SELECT array_agg(id ORDER BY id), array_agg(d ORDER BY d) FROM (%s) x', query);
	ids int[];
	far float8[];
	got_ids int[];
	got float8[];
	line text;
	used boolean;
	near int;
BEGIN
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_sort = on;
	EXECUTE wanted INTO ids, far;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_sort = off;
	FOREACH strategy IN ARRAY ARRAY['auto', 'exact', 'ranged', 'sweep', 'seeded'] LOOP
		PERFORM set_config('omendb.filter_strategy', strategy, true);
		used := false;
		FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
			used := used OR line LIKE '%Omen Filtered Scan%';
		END LOOP;
		EXECUTE format('SELECT (SELECT array_agg(id ORDER BY id) FROM unnest(ids) id), ds FROM (SELECT array_agg(id) AS ids, array_agg(d) AS ds FROM (%s OFFSET 0) x) y', query) INTO got_ids, got;
		EXECUTE format('SELECT count(*) FROM (%s LIMIT 10) x WHERE d <= $1', query) INTO near USING far[least(10, cardinality(far))];
		result := format('%s, %s rows, %s, %s, first ten %s',
			CASE WHEN used THEN 'filtered scan' ELSE 'other plan' END, cardinality(got_ids),
			CASE WHEN got_ids = ids THEN 'all' ELSE 'NOT ALL' END,
			CASE WHEN got = far THEN 'in order' ELSE 'NOT IN ORDER' END,
			CASE WHEN near >= least(10, cardinality(far)) * 0.7 OR strategy IN ('ranged', 'seeded') THEN 'near' ELSE 'NOT NEAR' END);
		RETURN NEXT;
	END LOOP;
END $$;

CREATE INDEX filtered_v ON filtered USING omenhnsw (v vector_l2_ops);
VACUUM ANALYZE filtered;
SELECT * FROM compare('v', '<->', 'spot = 0');
SELECT * FROM compare('v', '<->', 'spot = 3');
SELECT * FROM compare('v', '<->', 'kind = 7');
SELECT * FROM compare('v', '<->', 'kind = 7 AND spot = 3');
SELECT * FROM compare('v', '<->', 'id < 3000');
SELECT * FROM compare('v', '<->', 'id BETWEEN 100 AND 103');

-- rows that have come since, in places of others that have gone
DELETE FROM filtered WHERE id % 3 = 1;
VACUUM filtered;
INSERT INTO filtered (id, kind, spot, v, h, s)
	SELECT 6000 + n, n % 20, n % 7, w, w::halfvec, w::sparsevec FROM (SELECT n, some_vector(n + 5) AS w FROM generate_series(1, 3000) n) x;
UPDATE filtered SET b = binary_quantize(v - array_fill(500, ARRAY[24])::vector) WHERE b IS NULL;
VACUUM ANALYZE filtered;
SELECT * FROM compare('v', '<->', 'kind = 7');
SELECT * FROM compare('v', '<->', 'spot = 0');
DROP INDEX filtered_v;

-- the same over other codes
CREATE INDEX filtered_v ON filtered USING omenhnsw (v vector_cosine_ops) WITH (quantizer = sq8);
SELECT * FROM compare('v', '<=>', 'kind = 7');
DROP INDEX filtered_v;
CREATE INDEX filtered_v ON filtered USING omenhnsw (v vector_ip_ops) WITH (quantizer = pq);
SELECT * FROM compare('v', '<#>', 'kind = 7');
DROP INDEX filtered_v;
CREATE INDEX filtered_v ON filtered USING omenhnsw (v vector_ip_ops);
SELECT * FROM compare('v', '<#>', 'kind = 7');
DROP INDEX filtered_v;
CREATE INDEX filtered_v ON filtered USING omenhnsw (v vector_l1_ops);
SELECT * FROM compare('v', '<+>', 'kind = 7');
DROP INDEX filtered_v;
CREATE INDEX filtered_h ON filtered USING omenhnsw (h halfvec_l2_ops) WITH (quantizer = none);
SELECT * FROM compare('h', '<->', 'kind = 7');
DROP INDEX filtered_h;
CREATE INDEX filtered_b ON filtered USING omenhnsw (b bit_hamming_ops);
SELECT * FROM compare('b', '<~>', 'kind = 7');
DROP INDEX filtered_b;
CREATE INDEX filtered_s ON filtered USING omenhnsw (s sparsevec_l2_ops);
SELECT * FROM compare('s', '<->', 'kind = 7');
DROP INDEX filtered_s;

DROP TABLE filtered;
DROP FUNCTION compare, some_vector;
