-- The nearest of the rows that other indexes let through
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/explain.sql'
\i :helpers
CREATE TABLE items (id int PRIMARY KEY, a int, b int, t text, v vector(3), h halfvec(3));
INSERT INTO items SELECT i, i % 50, i % 7, 'word' || i % 20,
	ARRAY[i % 61, i % 53, i % 47]::vector, ARRAY[i % 61, i % 53, i % 47]::halfvec
FROM generate_series(1, 3000) i;
INSERT INTO items SELECT 3000 + i, 3, 2, 'none', NULL, NULL FROM generate_series(1, 5) i;
CREATE INDEX items_v ON items USING omenhnsw (v vector_l2_ops);
CREATE INDEX items_a ON items (a);
CREATE INDEX items_b ON items (b);
CREATE INDEX items_t ON items (t) WHERE b < 3;
VACUUM ANALYZE items;
SET enable_seqscan = off;
SET enable_sort = off;

-- does the plan use a filtered scan, and are its rows those of the exact plan?
CREATE FUNCTION compare(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	used boolean := false;
	strange int;
	total int;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		used := used OR line ~ 'Omen Filtered Scan';
	END LOOP;
	EXECUTE 'CREATE TEMP TABLE got AS ' || query;
	SET LOCAL omendb.enable_filtered_scan = off;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_sort = on;
	EXECUTE 'CREATE TEMP TABLE wanted AS ' || query;
	SELECT count(*) FROM (SELECT * FROM got) g INTO total;
	SELECT count(*) FROM ((TABLE got EXCEPT ALL TABLE wanted) UNION ALL (TABLE wanted EXCEPT ALL TABLE got)) x INTO strange;
	DROP TABLE got, wanted;
	SET LOCAL omendb.enable_filtered_scan = on;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_sort = off;
	RETURN format('%s, %s rows, %s differ', CASE WHEN used THEN 'filtered scan' ELSE 'other plan' END, total, strange);
END $$;

-- one index, several, OR, IN, a partial one, the operands turned round
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 AND b = 2 AND t <> 'word3' ORDER BY '[1,2,3]' <-> v LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 OR b = 2 AND a < 10 ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM items WHERE t IN ('word1', 'word2') AND b = 1 AND a > 40 ORDER BY v <-> '[1,2,3]' LIMIT 5;
SELECT compare('SELECT id FROM items WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
SELECT compare('SELECT id FROM items WHERE a = 3 AND b = 2 AND t <> ''word3'' AND v IS NOT NULL ORDER BY ''[1,2,3]'' <-> v');
SELECT compare('SELECT id FROM items WHERE (a = 3 OR b = 2 AND a < 10) AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
SELECT compare('SELECT id FROM items WHERE t IN (''word1'', ''word2'') AND b = 1 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
SELECT compare('SELECT id FROM items WHERE a = -1 ORDER BY v <-> ''[1,2,3]''');

-- not: no other index knows, an order that the index does not have, turned off
EXPLAIN (COSTS off) SELECT id FROM items WHERE t = 'word3' ORDER BY v <-> '[1,2,3]' LIMIT 5;
SELECT pg_temp.plan_of($$SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' DESC LIMIT 5$$);
SELECT pg_temp.plan_of($$SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' NULLS FIRST LIMIT 5$$);
SELECT pg_temp.plan_of($$SELECT id FROM items WHERE a = 3 ORDER BY v <=> '[1,2,3]' LIMIT 5$$);
SELECT pg_temp.plan_of($$SELECT id FROM items WHERE a = 3 ORDER BY v <-> ARRAY[random(), 1, 2]::real[]::vector LIMIT 5$$);
SELECT pg_temp.plan_of($$SELECT id FROM items TABLESAMPLE SYSTEM (50) WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5$$);
SET omendb.enable_filtered_scan = off;
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
RESET omendb.enable_filtered_scan;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
RESET enable_bitmapscan;

-- more keys behind the distance
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]', id DESC LIMIT 5;
SELECT compare('SELECT id, row_number() OVER () FROM (SELECT id FROM items WHERE a IN (3, 4) AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]'', id DESC) x');

-- the distance is computed only if it is wanted
EXPLAIN (VERBOSE, COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (VERBOSE, COSTS off) SELECT id, v <-> '[1,2,3]' AS d FROM items WHERE a = 3 ORDER BY d LIMIT 5;

-- system columns, whole rows
SELECT compare('SELECT i, ctid AS place, xmin::text AS x, tableoid::regclass::text AS tab, cmin::text AS c FROM items i WHERE a < 3 ORDER BY v <-> ''[1,2,3]''');

-- restrictions that are no index's
SELECT compare('SELECT id, (SELECT count(*) FROM items y WHERE y.id < x.b) FROM items x WHERE a IN (3, 4) AND v IS NOT NULL
	AND b NOT IN (SELECT b FROM items WHERE id < 3) AND EXISTS (SELECT FROM items y WHERE y.id = x.id + 1 OR x.b = 2) ORDER BY v <-> ''[1,2,3]''');
SELECT count(*) FROM (SELECT id FROM items WHERE a = 3 AND random() < 2 ORDER BY v <-> '[1,2,3]') x;
SELECT compare('SELECT id FROM items WHERE a = (SELECT min(a) + 3 FROM items) AND v IS NOT NULL ORDER BY v <-> (SELECT v FROM items WHERE id = 77)');

-- a condition that is not about rows
PREPARE gated(boolean) AS SELECT count(*) FROM (SELECT id FROM items WHERE $1 AND a = 3 ORDER BY v <-> '[1,2,3]') x;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS off) EXECUTE gated(true);
EXECUTE gated(true);
EXECUTE gated(false);

-- prepared: every part a parameter, NULL among them
PREPARE nearest(int, vector, int) AS SELECT id, v FROM items WHERE a = $1 ORDER BY v <-> $2, id LIMIT $3;
EXPLAIN (COSTS off) EXECUTE nearest(3, '[1,2,3]', 2);
EXECUTE nearest(3, '[1,2,3]', 2);
EXECUTE nearest(4, '[30,20,10]', 3);
EXECUTE nearest(NULL, '[1,2,3]', 2);
PREPARE whatever(int, vector) AS SELECT count(*), count(id) FROM (SELECT id FROM items WHERE a = $1 ORDER BY v <-> $2) x;
EXECUTE whatever(3, NULL);
EXECUTE whatever(3, '[1,2]');
RESET plan_cache_mode;
DEALLOCATE ALL;

-- what follows the distance is put in order among ties, without a filter, too
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY v <-> '[1,2,3]', id DESC LIMIT 3;
CREATE TABLE ties (id int, k int, v vector(2)) PARTITION BY RANGE (id);
CREATE TABLE ties_1 PARTITION OF ties FOR VALUES FROM (0) TO (200);
CREATE TABLE ties_2 PARTITION OF ties FOR VALUES FROM (200) TO (1000);
INSERT INTO ties SELECT i, i % 3, ARRAY[i % 40, i % 20]::vector FROM generate_series(1, 600) i;
CREATE INDEX ON ties USING omenhnsw (v vector_l2_ops, k);
ANALYZE ties;
EXPLAIN (COSTS off) SELECT id FROM ties WHERE k IN (1, 2) ORDER BY v <-> '[7,7]', id DESC LIMIT 12;
SELECT string_agg(id::text, ' ') FROM (SELECT id FROM ties WHERE k IN (1, 2) ORDER BY v <-> '[7,7]', id DESC LIMIT 12) x;
SELECT string_agg(id::text, ' ') FROM (SELECT id FROM ties ORDER BY v <-> '[7,7]', k, id LIMIT 12 OFFSET 3) x;
SET enable_incremental_sort = off;
SET enable_sort = on;
SELECT string_agg(id::text, ' ') FROM (SELECT id FROM ties WHERE k IN (1, 2) ORDER BY v <-> '[7,7]', id DESC LIMIT 12) x;
SELECT string_agg(id::text, ' ') FROM (SELECT id FROM ties ORDER BY v <-> '[7,7]', k, id LIMIT 12 OFFSET 3) x;
RESET enable_incremental_sort;
SET enable_sort = off;
DROP TABLE ties;

-- for each row of another table: another vector, another filter, both
EXPLAIN (COSTS off) SELECT q.id, n.id FROM (SELECT * FROM items WHERE id <= 20) q
CROSS JOIN LATERAL (SELECT id FROM items WHERE a = 3 ORDER BY v <-> q.v LIMIT 3) n;
SELECT compare('SELECT q.id, n.d FROM (SELECT * FROM items WHERE id <= 20) q
	CROSS JOIN LATERAL (SELECT v <-> q.v AS d FROM items WHERE a = 3 ORDER BY v <-> q.v LIMIT 60) n');
SELECT compare('SELECT q.id, n.d FROM (SELECT * FROM items WHERE id <= 20) q
	CROSS JOIN LATERAL (SELECT v <-> ''[1,2,3]'' AS d FROM items WHERE a = q.a ORDER BY v <-> ''[1,2,3]'' LIMIT 60) n');
SELECT compare('SELECT q.id, n.d FROM (SELECT * FROM items WHERE id <= 20) q
	CROSS JOIN LATERAL (SELECT v <-> q.v AS d FROM items WHERE a = q.a AND b < 5 AND v IS NOT NULL
	ORDER BY v <-> q.v LIMIT 60) n');

-- below a join, as the outer side
EXPLAIN (COSTS off) SELECT x.id FROM items x JOIN items y ON y.id = x.b WHERE x.a = 3 ORDER BY x.v <-> '[1,2,3]' LIMIT 5;

-- cursors
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, v <-> '[1,2,3]' AS d FROM items WHERE a = 3 AND b = 2 ORDER BY v <-> '[1,2,3]', id;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
MOVE 4 FROM c;
FETCH 1 FROM c;
CLOSE c;
DECLARE c CURSOR FOR SELECT id FROM items WHERE a = 3 AND b = 2 ORDER BY v <-> '[1,2,3]';
MOVE 5 FROM c;
MOVE 100 FROM c;
MOVE 1 FROM c;
COMMIT;

-- locking, and rows changed by the statement itself
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 2 FOR UPDATE;
BEGIN;
SELECT count(*) FROM (SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 7 FOR UPDATE) x;
UPDATE items SET v = '[500,500,500]' WHERE id IN (SELECT id FROM items WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 7);
SELECT compare('SELECT id, v FROM items WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
UPDATE items SET a = 3 WHERE a = 4;
SELECT compare('SELECT id, v FROM items WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
SELECT compare('SELECT id, v FROM items WHERE a = 4 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
DELETE FROM items WHERE a = 3 AND b = 1;
SELECT compare('SELECT id, v FROM items WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
ROLLBACK;
SELECT compare('SELECT id, v FROM items WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');

-- within a distance
EXPLAIN (COSTS off) SELECT id FROM items WHERE v <-> '[10,10,10]' < 4 ORDER BY v <-> '[10,10,10]' LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM items WHERE v <-> '[10,10,10]' <= 4;
EXPLAIN (COSTS off) SELECT id FROM items WHERE 4 > v <-> '[10,10,10]' AND a = 3;
EXPLAIN (COSTS off) SELECT id FROM items WHERE v <-> '[10,10,10]' BETWEEN 1.5 AND 4 AND '[10,10,10]' <-> v < 3.5::real ORDER BY v <-> '[10,10,10]';
SELECT pg_temp.plan_of($$SELECT id FROM items WHERE v <-> '[10,10,10]' > 4$$);
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' < 6');
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' <= 6 ORDER BY v <-> ''[10,10,10]''');
SELECT compare('SELECT id FROM items WHERE 15 >= v <-> ''[10,10,10]'' AND a = 3');
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' BETWEEN 3 AND 8 AND b = 2 ORDER BY v <-> ''[10,10,10]''');
SELECT compare('SELECT id FROM items WHERE v <-> (SELECT v FROM items WHERE id = 77) <= 0');
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' < -1');
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' < ''NaN'' AND v IS NOT NULL');
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' < ''Infinity''');
SELECT compare('SELECT id FROM items WHERE v <-> ''[10,10,10]'' < NULL::float8');
SELECT compare('SELECT q.id, n.near FROM (SELECT * FROM items WHERE id <= 20) q
	CROSS JOIN LATERAL (SELECT id AS near FROM items WHERE v <-> q.v < q.b AND a < 25 ORDER BY v <-> q.v LIMIT 100) n');
SET plan_cache_mode = force_generic_plan;
PREPARE within(vector, float8) AS SELECT count(*) FROM items WHERE v <-> $1 < $2;
EXPLAIN (COSTS off) EXECUTE within('[10,10,10]', 5);
EXECUTE within('[10,10,10]', 5);
EXECUTE within(NULL, 5);
EXECUTE within('[10,10,10]', NULL);
RESET plan_cache_mode;
SELECT pg_temp.plan_of($$DELETE FROM items WHERE v <-> '[10,10,10]' < 5$$);

-- joins by distance
EXPLAIN (COSTS off) SELECT q.id, n.id FROM (SELECT * FROM items WHERE id <= 20 OFFSET 0) q JOIN items n ON n.v <-> q.v < 5;
EXPLAIN (COSTS off) SELECT q.id, n.id FROM (SELECT * FROM items WHERE id <= 20 OFFSET 0) q LEFT JOIN items n ON q.b > q.v <-> n.v AND n.id <> q.id;
SELECT compare('SELECT q.id, n.id AS near FROM (SELECT * FROM items WHERE id <= 20 OFFSET 0) q JOIN items n ON n.v <-> q.v < 5');
SELECT compare('SELECT q.id, n.id AS near FROM (SELECT * FROM items WHERE id <= 20 OFFSET 0) q LEFT JOIN items n
	ON q.b > q.v <-> n.v AND n.id <> q.id');
SET enable_material = off;
SELECT compare('SELECT q.id, n.id AS near FROM (SELECT * FROM items WHERE id <= 20 OFFSET 0) q JOIN items n ON n.v <-> q.v <= 10 * q.b AND n.a = 3');
RESET enable_material;
SELECT compare('SELECT q.id FROM items q WHERE q.id <= 30 AND EXISTS (SELECT FROM items n WHERE n.v <-> q.v < 3 AND n.id <> q.id)');

-- every metric, and an index on an expression
CREATE TABLE kinds (id int, v vector(3), h halfvec(3), s sparsevec(3), b bit(24));
INSERT INTO kinds SELECT i, x::vector, x::halfvec, x::vector::sparsevec, (i * 7919 % 16777216)::bit(24)
FROM (SELECT i, ARRAY[i % 61 + 1, i % 53 - 20, i % 47] AS x FROM generate_series(1, 1500) i) x;
CREATE INDEX ON kinds USING omenhnsw (v vector_ip_ops);
CREATE INDEX ON kinds USING omenhnsw (v vector_cosine_ops);
CREATE INDEX ON kinds USING omenhnsw (v vector_l1_ops);
CREATE INDEX ON kinds USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON kinds USING omenhnsw (s sparsevec_l2_ops);
CREATE INDEX ON kinds USING omenhnsw (b bit_hamming_ops);
CREATE INDEX ON kinds USING omenhnsw (b bit_jaccard_ops);
CREATE INDEX ON kinds USING omenhnsw ((v::halfvec(3)) halfvec_cosine_ops) WHERE id < 1000;
VACUUM ANALYZE kinds;
SELECT compare('SELECT id FROM kinds WHERE v <#> ''[1,2,3]'' < -200');
SELECT compare('SELECT id FROM kinds WHERE v <#> ''[1,2,3]'' < 20 ORDER BY v <#> ''[1,2,3]''');
SELECT compare('SELECT id FROM kinds WHERE v <=> ''[1,2,3]'' < 0.02 ORDER BY v <=> ''[1,2,3]''');
SELECT compare('SELECT id FROM kinds WHERE v <+> ''[1,2,3]'' <= 14 ORDER BY v <+> ''[1,2,3]''');
SELECT compare('SELECT id FROM kinds WHERE h <-> ''[1,2,3]'' <= 10 ORDER BY h <-> ''[1,2,3]''');
SELECT compare('SELECT id FROM kinds WHERE s <-> ''{1:1,3:4}/3'' <= 10 ORDER BY s <-> ''{1:1,3:4}/3''');
SELECT compare('SELECT id FROM kinds WHERE b <~> B''101010101010101010101010'' <= 8');
SELECT compare('SELECT id FROM kinds WHERE b <%> B''101010101010101010101010'' <= 0.6');
SELECT compare('SELECT id FROM kinds WHERE v::halfvec(3) <=> ''[1,2,3]'' < 0.02 AND id < 900');

-- of a similarity, where the order is that of its distance, and rows without one are not in the index
INSERT INTO kinds VALUES (2000, '[0,0,0]');
SELECT bound, compare(format('SELECT id FROM kinds WHERE %s AND id < 2000 ORDER BY v <=> ''[1,2,3]''', bound))
FROM unnest(ARRAY[$$1 - (v <=> '[1,2,3]') > 0.98$$, $$0.98::real <= 1 - ('[1,2,3]' <=> v)$$, $$(v <=> '[1,2,3]') * -1 >= -0.01$$,
	$$-2 * (v <=> '[1,2,3]') > -0.01$$, $$1 - (v <=> '[1,2,3]') >= 1$$, $$1 - (v <=> '[1,2,3]') > 'NaN'$$,
	$$1 - (v <=> '[1,2,3]') > 'Infinity'$$, $$1 - (v <=> '[1,2,3]') > -1e308$$, $$1 - (v <=> '[1,2,3]') < 0.5$$,
	$$1 + (v <=> '[1,2,3]') > 1.5$$, $$-0.5 * (v <=> '[1,2,3]') > -0.01$$,
	$$round((v <=> '[1,2,3]')::numeric, 8) <= round(2 - 2 * 0.99, 8)$$, $$round((v <=> '[1,2,3]')::numeric, 8) < 'NaN'$$,
	$$round((v <=> '[1,2,3]')::numeric, 6) < 1e400$$, $$round((v <=> '[1,2,3]')::numeric, 6) <= -1e400$$,
	$$round((v <=> '[1,2,3]')::numeric, 1) <= 0.1$$, $$round((v <=> '[1,2,3]')::numeric, 8) > 0.1$$]) bound;
SELECT compare('SELECT id FROM kinds WHERE 1 - (v <=> ''[1,2,3]'') > 0.98');
SELECT compare('SELECT id FROM kinds WHERE -(v <#> ''[1,2,3]'') > 150 ORDER BY v <#> ''[1,2,3]''');
SELECT compare('SELECT id FROM kinds WHERE 20 - (h <-> ''[1,2,3]'') >= 8 ORDER BY h <-> ''[1,2,3]''');
EXPLAIN (COSTS off) SELECT id FROM kinds WHERE 1 - (v <=> '[1,2,3]') > 0.75 ORDER BY v <=> '[1,2,3]' LIMIT 5;
PREPARE alike(vector, float8) AS SELECT count(*) FROM (SELECT FROM kinds WHERE 1 - (v <=> $1) > $2 AND id < 2000
	ORDER BY v <=> $1 LIMIT 500) x;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS off) EXECUTE alike('[1,2,3]', 0.98);
EXECUTE alike('[1,2,3]', 0.98);
EXECUTE alike('[1,2,3]', NULL);
RESET plan_cache_mode;
DEALLOCATE alike;
CREATE INDEX ON kinds (id);
SELECT compare('SELECT id FROM kinds WHERE id BETWEEN 100 AND 300 ORDER BY v::halfvec(3) <=> ''[1,2,3]''');
SELECT compare('SELECT id FROM kinds WHERE id < 1100 ORDER BY v::halfvec(3) <=> ''[1,2,3]''');
DROP TABLE kinds;

-- row security: a function that tells what it sees does not see what is hidden
CREATE ROLE omen_filter_user;
GRANT SELECT ON items TO omen_filter_user;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON items TO omen_filter_user USING (a = 3);
CREATE FUNCTION leaky(int, int) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$
BEGIN
	IF $2 <> 3 THEN RAISE NOTICE 'sees row %', $1; END IF;
	RETURN true;
END $$;
SET ROLE omen_filter_user;
EXPLAIN (COSTS off) SELECT id FROM items WHERE leaky(id, a) AND b = 2 ORDER BY v <-> '[1,2,3]' LIMIT 3;
SELECT count(*) FROM (SELECT id FROM items WHERE leaky(id, a) AND b = 2 ORDER BY v <-> '[1,2,3]') x;
EXPLAIN (COSTS off) SELECT id FROM items WHERE leaky(id, a) AND v <-> '[10,10,10]' < 8;
SELECT count(*) FROM items WHERE leaky(id, a) AND v <-> '[10,10,10]' < 8;
RESET ROLE;
ALTER TABLE items DISABLE ROW LEVEL SECURITY;
DROP POLICY visible ON items;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM items WHERE a = 3;
SELECT pg_temp.plan_of($$SELECT id FROM barrier WHERE leaky(id, a) AND b < 5 ORDER BY v <-> '[1,2,3]' LIMIT 3$$);
SELECT count(*) FROM (SELECT id FROM barrier WHERE leaky(id, a) AND b < 5 ORDER BY v <-> '[1,2,3]') x;
DROP VIEW barrier;
REVOKE ALL ON items FROM omen_filter_user;
DROP ROLE omen_filter_user;

-- partitions, inheritance, temporary tables, materialized views
CREATE TABLE parts (id int, a int, v vector(3)) PARTITION BY LIST ((id % 3));
CREATE TABLE parts0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts1 (v vector(3), gone int, a int, id int);
ALTER TABLE parts1 DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts1 FOR VALUES IN (1);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts SELECT id, a, v FROM items WHERE v IS NOT NULL;
CREATE INDEX parts_v ON parts USING omenhnsw (v vector_l2_ops);
CREATE INDEX parts_a ON parts (a);
VACUUM ANALYZE parts;
EXPLAIN (COSTS off) SELECT id FROM parts WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
SELECT compare('SELECT id, tableoid::regclass::text AS tab, p FROM parts p WHERE a = 3 ORDER BY v <-> ''[1,2,3]''');
SELECT compare('SELECT id FROM parts WHERE v <-> ''[10,10,10]'' < 5');
DROP TABLE parts;
CREATE TABLE parent (id int, a int, v vector(3));
CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO parent SELECT id, a, v FROM items WHERE id % 2 = 0;
INSERT INTO child SELECT id, a, v FROM items WHERE id % 2 = 1;
CREATE INDEX ON parent USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON parent (a);
CREATE INDEX ON child USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON child (a);
VACUUM ANALYZE parent, child;
EXPLAIN (COSTS off) SELECT id FROM parent WHERE a = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
SELECT compare('SELECT id, p FROM parent p WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
DROP TABLE child, parent;
CREATE TEMP TABLE scratch AS SELECT id, a, v FROM items;
CREATE INDEX ON scratch USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON scratch (a);
ANALYZE scratch;
SELECT compare('SELECT id FROM scratch WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
DROP TABLE scratch;
CREATE MATERIALIZED VIEW kept AS SELECT id, a, v FROM items;
CREATE INDEX ON kept USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON kept (a);
ANALYZE kept;
SELECT compare('SELECT id FROM kept WHERE a = 3 AND v IS NOT NULL ORDER BY v <-> ''[1,2,3]''');
DROP MATERIALIZED VIEW kept;

-- what EXPLAIN ANALYZE tells; counts that vary are N
VACUUM items;
CREATE FUNCTION explain_lines(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE statement LOOP
		CONTINUE WHEN line !~ 'Strategy|Allowed|Omen|Lossy|Rows Removed by Filter|Bound';
		RETURN NEXT regexp_replace(regexp_replace(line, ' \(actual[^)]*\)', ''),
			'(ef|hops|pages|distances|re-ranked|Strategy:|Filter:)(=| )\w+( swept=\d+)?', '\1\2N', 'g');
	END LOOP;
END $$;
SELECT * FROM explain_lines('EXPLAIN (ANALYZE, COSTS off) SELECT id FROM items WHERE a < 5 AND id % 2 = 0 ORDER BY v <-> ''[1,2,3]'' LIMIT 100');
SELECT * FROM explain_lines('EXPLAIN (ANALYZE, COSTS off) SELECT id FROM items WHERE a = -1 ORDER BY v <-> ''[1,2,3]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN (ANALYZE, COSTS off) SELECT id FROM items WHERE v <-> ''[10,10,10]'' < 2');
SELECT * FROM explain_lines('EXPLAIN (ANALYZE, COSTS off) SELECT q.id, n.id FROM (SELECT * FROM items WHERE id <= 20) q
	CROSS JOIN LATERAL (SELECT id FROM items WHERE a = 3 ORDER BY v <-> q.v LIMIT 3) n');
CREATE FUNCTION explain_nodes(statement text) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE statement INTO plan;
	RETURN QUERY SELECT r FROM jsonb_path_query(plan::jsonb,
		'strict $.** ? (@.type() == "object" && exists (@."Vector Index"))') r;
END $$;
SELECT n->>'Node Type' AS node, n->>'Custom Plan Provider' AS provider, n->>'Order By' AS "order", n->>'Vector Index' AS index,
	n->>'Allowed Nodes' AS allowed, n->>'Index Tuples' AS tuples, n ? 'Strategy' AS strategy, n ? 'Switches' AS switches,
	n->>'Lossy Pages' AS lossy, n->'Omen Index Scan' ? 'Hops' AS counts
FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM items WHERE a < 5 ORDER BY v <-> ''[1,2,3]'' LIMIT 10') n;
SELECT n->'Distance Bound' AS bound, n ? 'Strategy' AS strategy
FROM explain_nodes('EXPLAIN (FORMAT json) SELECT id FROM items WHERE v <-> ''[10,10,10]'' < 2') n;

-- the subplan of a restriction is there once
SELECT jsonb_path_query_array(n, '$.Plans[*]."Node Type"') AS children
FROM explain_nodes('EXPLAIN (FORMAT json) SELECT id FROM items WHERE a = 3 AND b NOT IN (SELECT b FROM items WHERE id < 3)
	ORDER BY v <-> ''[1,2,3]'' LIMIT 5') n;

-- lossy pages: a bitmap that does not fit into work_mem, of an index that does not
-- tell its rows one by one; of others no bitmap is made, whatever they are combined to
CREATE TABLE wide (id int, a int, v vector(2)) WITH (fillfactor = 10);
INSERT INTO wide SELECT i, i % 4, ARRAY[i % 199, i % 211]::vector FROM generate_series(1, 20000) i;
CREATE INDEX wide_v ON wide USING omenhnsw (v vector_l2_ops);
CREATE INDEX wide_a ON wide (a);
CREATE INDEX wide_id ON wide (id);
CREATE INDEX wide_brin ON wide USING brin ((id % 7)) WITH (pages_per_range = 1);
VACUUM ANALYZE wide;
SET work_mem = 64;
SELECT qual, n->'Plans'->0->>'Node Type' AS plan, (n->>'Lossy Pages')::int > 0 AS lossy, (n->>'Allowed Nodes')::int AS nodes
FROM unnest('{a = 1,a = 1 OR id < 0,a = 1 AND id < 6000,(a = 1 OR id < 3000) AND (a = 2 OR id < 4000),id > 19000 OR a = 1 AND id < 5000,id % 7 = 2,id % 7 = 2 OR a = 1,a = 1 AND id + 0 < 9}'::text[]) qual,
	explain_nodes(format('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM wide WHERE %s ORDER BY v <-> ''[1,2]''', qual)) n;
SELECT compare(format('SELECT id FROM wide WHERE %s ORDER BY v <-> ''[1,2]''', qual))
FROM unnest('{a = 1,a = 1 OR id < 0,a = 1 AND id < 6000,(a = 1 OR id < 3000) AND (a = 2 OR id < 4000),id > 19000 OR a = 1 AND id < 5000,id % 7 = 2,id % 7 = 2 OR a = 1,a = 1 AND id + 0 < 9}'::text[]) qual;
RESET work_mem;
DROP TABLE wide;

-- what is asked for lies together, or anywhere: a walk without the bitmap finds
-- it, but not from elsewhere, nor with conditions that may say otherwise when
-- asked again
CREATE TABLE bands (id int, a int, b int, v vector(2));
INSERT INTO bands SELECT i, i / 2400, i % 11, ARRAY[i % 200, i / 200]::vector FROM generate_series(0, 39999) i;
-- where a build takes long, a notice says so
SET client_min_messages = warning;
CREATE INDEX bands_v ON bands USING omenhnsw (v vector_l2_ops);
RESET client_min_messages;
CREATE INDEX bands_a ON bands (a);
CREATE INDEX bands_b ON bands (b);
UPDATE bands SET id = -id WHERE id % 3 = 0 AND a = 8;
DELETE FROM bands WHERE id = 20301;
VACUUM ANALYZE bands;
UPDATE bands SET id = id - 1 WHERE id = -20100;
SELECT qual, n->>'Strategy' = 'unfiltered' AS without, n->'Plans'->0->'Actual Loops' AS bitmaps
FROM unnest('{a BETWEEN 7 AND 9,a < 4,b = 3,b < 6 AND id % 2 = 0,b = 3 AND id > 39000}'::text[]) qual, explain_nodes(format('EXPLAIN (ANALYZE, FORMAT json)
	SELECT id FROM bands WHERE %s ORDER BY v <-> ''[100.3,101.2]'' LIMIT 11', qual)) n;
SELECT n->>'Strategy' = 'unfiltered' AS without
FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json)
	SELECT id FROM bands WHERE a BETWEEN 7 AND 9 AND random() >= 0 ORDER BY v <-> ''[100.3,101.2]'' LIMIT 11') n;
SELECT qual, compare(format('SELECT id, row_number() OVER () FROM (SELECT id FROM bands WHERE %s ORDER BY v <-> ''[100.3,101.2]'' LIMIT 11) x', qual))
FROM unnest('{a BETWEEN 7 AND 9,a < 4,b = 3,b < 6 AND id % 2 = 0,b = 3 AND id > 39000}'::text[]) qual;

-- the same when only the execution knows the LIMIT
SET plan_cache_mode = force_generic_plan;
PREPARE bands(int, int) AS SELECT id FROM bands WHERE b < $1 ORDER BY v <-> '[100.3,101.2]' LIMIT $2;
SELECT n->>'Strategy' = 'unfiltered' AS without FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) EXECUTE bands(6, 11)') n;
SELECT n->>'Strategy' = 'unfiltered' AS without FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) EXECUTE bands(6, 3000)') n;
DEALLOCATE bands;
RESET plan_cache_mode;
DROP TABLE bands;

-- most vectors are equal, and nearest: no more of them are tested than it takes to find
-- the rows wanted, or to see that these cost less by the bitmap
CREATE TABLE same (id int, a int, b int, v vector(2));
INSERT INTO same SELECT i, i % 10, CASE WHEN i % 4 = 0 THEN i / 4 % 10 + 1 ELSE 0 END,
	(CASE WHEN i % 4 = 0 THEN ARRAY[i % 200, i / 200] ELSE ARRAY[50, 50] END)::vector FROM generate_series(0, 39999) i;
SET client_min_messages = warning;
CREATE INDEX same_v ON same USING omenhnsw (v vector_l2_ops);
RESET client_min_messages;
CREATE INDEX same_a ON same (a);
CREATE INDEX same_b ON same (b);
VACUUM ANALYZE same;
SELECT qual, (n->'Actual Rows')::int AS rows, (n->'Rows Removed by Filter')::int < 10000 AS few_tested
FROM unnest('{a < 3,b IN (1\,2\,3)}'::text[]) qual, explain_nodes(format('EXPLAIN (ANALYZE, FORMAT json)
	SELECT id FROM same WHERE %s ORDER BY v <-> ''[50,50]'' LIMIT 10', qual)) n;
DROP TABLE same;

DROP FUNCTION compare, explain_lines, explain_nodes, leaky;
DROP TABLE items;
