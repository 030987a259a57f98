-- Conditions on keys of the vector index beside those that other indexes decide
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/explain.sql'
\i :helpers
CREATE TABLE docs (id int PRIMARY KEY, tenant int, at date, tags text[], hidden bool, body tsvector, v vector(3));
INSERT INTO docs SELECT i, i % 20, date '2024-01-01' + i % 365, ARRAY['a' || i % 9, 'b' || i % 4], i % 3 = 0,
	to_tsvector('simple', 'word' || i % 7 || ' thing' || i % 11), ARRAY[i % 61, i % 53, i % 47]::vector
FROM generate_series(1, 4000) i;
UPDATE docs SET tenant = NULL WHERE id % 50 = 0;
CREATE INDEX docs_v ON docs USING omenhnsw (v vector_l2_ops, tenant, at, tags, hidden, (id % 5));
CREATE INDEX docs_body ON docs USING gin (body);
CREATE INDEX docs_at ON docs (at);
INSERT INTO docs SELECT i, i % 20, date '2024-01-01' + i % 365, ARRAY['a' || i % 9, 'b' || i % 4], i % 3 = 0,
	to_tsvector('simple', 'word' || i % 7 || ' thing' || i % 11), ARRAY[i % 61, i % 53, i % 47]::vector
FROM generate_series(4001, 4500) i;
VACUUM ANALYZE docs;
SET enable_seqscan = off;
SET enable_sort = off;

-- the plan, and whether its rows are those of the exact one; an index scan by
-- the keys would have to fetch rows that it does not return
CREATE FUNCTION compare(qual text) RETURNS TABLE (conditions int, differ bigint) LANGUAGE plpgsql AS $$
DECLARE
	query text := 'SELECT id FROM docs WHERE ' || qual || ' ORDER BY v <-> ''[1,2,3]''';
	line text;
	got int[];
	wanted int[];
BEGIN
	SET LOCAL cpu_tuple_cost = 100000;
	conditions := 0;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Key Cond: ' THEN
			conditions := regexp_count_('[=<>&@]+|IS', line);
		END IF;
	END LOOP;
	EXECUTE 'SELECT array_agg(id) FROM (' || query || ') x' INTO got;
	SET LOCAL omendb.enable_filtered_scan = off;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_sort = on;
	EXECUTE 'SELECT array_agg(id) FROM (' || query || ') x' INTO wanted;
	SELECT count(*) INTO differ FROM (SELECT unnest(got) EXCEPT ALL SELECT unnest(wanted)) x;
	differ := differ + coalesce(cardinality(wanted), 0) - coalesce(cardinality(got), 0);
	SET LOCAL omendb.enable_filtered_scan = on;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_sort = off;
	RETURN NEXT;
END $$;
CREATE FUNCTION regexp_count_(pattern text, string text) RETURNS int LANGUAGE sql IMMUTABLE AS
	$$ SELECT count(*)::int FROM regexp_matches(regexp_replace(string, '''[^'']*''|::\w+', '', 'g'), pattern, 'g') $$;

SET cpu_tuple_cost = 100000;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE tenant = 7 AND body @@ 'word3' ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE 7 >= tenant AND tenant IS NOT NULL AND NOT hidden AND tags && '{a1,a2}' AND id % 5 IN (1, 2) AND body @@ 'word3' ORDER BY v <-> '[1,2,3]' LIMIT 5;
-- what the bitmap has decided is no condition once more
CREATE INDEX docs_at_id ON docs (at, id);
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE at = '2024-02-03' AND hidden AND id BETWEEN 300 AND 900 ORDER BY v <-> '[1,2,3]' LIMIT 5;
DROP INDEX docs_at_id;
-- without a bitmap: a bound
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE tenant = 7 AND v <-> '[1,2,3]' < 20 ORDER BY v <-> '[1,2,3]';
RESET cpu_tuple_cost;
SELECT qual, c.* FROM unnest(ARRAY[
	'body @@ ''word3'' AND tenant = 7', 'body @@ ''word3'' AND tenant IS NULL', 'body @@ ''word3'' AND tenant IN (1, 2, 19)',
	'body @@ ''word3'' AND 4 > tenant', 'body @@ ''word3 | thing4'' AND tenant BETWEEN 3 AND 5 AND hidden',
	'body @@ ''word3'' AND tags && ''{a1,b2}''', 'body @@ ''word3'' AND tags @> ''{a1,b2}'' AND NOT hidden',
	'body @@ ''word3'' AND id % 5 = 2', 'body @@ ''word3'' AND tenant = 700', 'body @@ ''word3'' AND tenant = NULL',
	'body @@ ''word3'' AND at < ''2024-02-01'' AND tenant > 3', 'body @@ ''nothing'' AND tenant = 7',
	'tenant = 7 AND v <-> ''[1,2,3]'' < 20', 'tenant = 7 AND body @@ ''word3'' AND v <-> ''[1,2,3]'' < 30']) qual, compare(qual) c;

-- each strategy
CREATE TABLE strategies AS SELECT strategy, (SELECT differ FROM (SELECT set_config('omendb.filter_strategy', strategy, true)) s, compare('body @@ ''word3'' AND tenant IN (1, 2, 19)')) AS differ
	FROM unnest('{auto,exact,ranged,sweep,seeded}'::text[]) strategy;
SELECT * FROM strategies;

-- parameters: of the outer side of a join, of a prepared statement
SET cpu_tuple_cost = 100000;
CREATE TABLE wanted (n int, tenant int, word tsquery, v vector(3));
INSERT INTO wanted VALUES (1, 7, 'word3', '[1,1,1]'), (2, 8, 'word3', '[9,9,9]'), (3, NULL, 'word3', '[1,1,1]'), (4, 7, 'word4', '[5,5,5]');
SELECT pg_temp.plan_of($$SELECT n, x.* FROM wanted w, LATERAL (SELECT id FROM docs d WHERE d.tenant = w.tenant AND d.body @@ w.word ORDER BY d.v <-> w.v LIMIT 2) x$$);
SELECT n, array_agg(x.id), bool_and(x.tenant = w.tenant AND x.body @@ w.word) FROM wanted w, LATERAL (SELECT * FROM docs d WHERE d.tenant = w.tenant AND d.body @@ w.word ORDER BY d.v <-> w.v, id LIMIT 2) x GROUP BY n ORDER BY n;
SET plan_cache_mode = force_generic_plan;
PREPARE by_key(int, tsquery) AS SELECT count(*), min(tenant), max(tenant) FROM (SELECT * FROM docs WHERE tenant = $1 AND body @@ $2 ORDER BY v <-> '[1,1,1]') x;
EXECUTE by_key(7, 'word3');
EXECUTE by_key(8, 'word5');
EXECUTE by_key(NULL, 'word5');
SELECT omen_key_problems('docs_v');
DROP TABLE docs, wanted, strategies;
DROP FUNCTION compare, regexp_count_;
