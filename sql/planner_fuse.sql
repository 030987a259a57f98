-- One order from several rankings
CREATE TABLE items (id int PRIMARY KEY, a int, b int, v vector(3), w vector(4));
INSERT INTO items SELECT i, i % 50, i % 7,
	ARRAY[i * 7919 % 1009, i * 104729 % 997, i * 1299709 % 991]::int[]::vector,
	ARRAY[i * 15485863 % 983, i * 32452843 % 977, i * 49979687 % 971, i * 67867967 % 967]::int[]::vector
FROM generate_series(1::bigint, 3000) i;
INSERT INTO items SELECT 3000 + i, 3, 2, NULL, ARRAY[i, 1, 2, 3]::vector FROM generate_series(1, 3) i;
INSERT INTO items SELECT 3010 + i, 3, 2, ARRAY[i, 1, 2]::vector, NULL FROM generate_series(1, 3) i;
CREATE INDEX items_v ON items USING omenhnsw (v vector_l2_ops);
CREATE INDEX items_w ON items USING omenhnsw (w vector_cosine_ops);
CREATE INDEX items_a ON items (a);
VACUUM ANALYZE items;

-- walks that look at everything: then the streams are exact
SET omenhnsw.ef_search = 1000;

-- The order that SQL can express: ranks in two windows, then what is left.
-- Differences in rows, or in scores beyond rounding.
CREATE FUNCTION by_ranks(d1 text, d2 text, restriction text, weight1 float8, weight2 float8, k int, win int, n int)
	RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	different int;
	total int;
BEGIN
	EXECUTE format('CREATE TEMP TABLE got AS SELECT row_number() OVER () AS n, * FROM (SELECT id,
		rrf(%s, %s, weights => ARRAY[%s, %s], k => %s, window_size => %s) AS s FROM items WHERE %s ORDER BY s LIMIT %s) x',
		d1, d2, weight1, weight2, k, win, restriction, n);
	SET LOCAL enable_indexscan = off;
	SET LOCAL omendb.enable_filtered_scan = off;
	EXECUTE format('CREATE TEMP TABLE wanted AS WITH
		x AS (SELECT ctid, id, row_number() OVER (ORDER BY %1$s, ctid) AS r FROM items WHERE %7$s AND %1$s IS NOT NULL ORDER BY 3 LIMIT %6$s),
		y AS (SELECT ctid, id, row_number() OVER (ORDER BY %2$s, ctid) AS r FROM items WHERE %7$s AND %2$s IS NOT NULL ORDER BY 3 LIMIT %6$s)
		SELECT row_number() OVER (ORDER BY s, ctid) AS n, id, s FROM (SELECT coalesce(x.ctid, y.ctid) AS ctid, id,
			- coalesce(%3$s::float8 / (%5$s + x.r), 0) - coalesce(%4$s::float8 / (%5$s + y.r), 0) AS s
			FROM x FULL JOIN y USING (id)) z ORDER BY 1 LIMIT %8$s',
		d1, d2, weight1, weight2, k, win, restriction, n);
	SET LOCAL enable_indexscan = on;
	SET LOCAL omendb.enable_filtered_scan = on;
	SELECT count(*), count(*) FILTER (WHERE g.id IS DISTINCT FROM w.id OR g.s IS NULL OR abs(g.s - w.s) > 1e-14)
		FROM got g FULL JOIN wanted w USING (n) INTO total, different;
	DROP TABLE got, wanted;
	RETURN format('%s rows, %s differ', total, different);
END $$;

-- The order by the function as a function, in which every row has a score
CREATE FUNCTION by_values(expr text, restriction text, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	used boolean := false;
	different int;
	total int;
	query text := format('SELECT row_number() OVER () AS n, * FROM (SELECT id, %s AS s FROM items WHERE %s ORDER BY s, ctid LIMIT %s) x', expr, restriction, n);
BEGIN
	SET LOCAL enable_sort = off;
	SET LOCAL enable_seqscan = off;
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		used := used OR line ~ 'Omen Fused Scan';
	END LOOP;
	EXECUTE 'CREATE TEMP TABLE got AS ' || query;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_seqscan = on;
	SET LOCAL omendb.enable_fused_scan = off;
	EXECUTE 'CREATE TEMP TABLE wanted AS ' || query;
	SET LOCAL omendb.enable_fused_scan = on;
	SELECT count(*), count(*) FILTER (WHERE g.id IS DISTINCT FROM w.id OR g.s IS DISTINCT FROM w.s)
		FROM got g FULL JOIN wanted w USING (n) INTO total, different;
	DROP TABLE got, wanted;
	RETURN format('%s, %s rows, %s differ', CASE WHEN used THEN 'fused scan' ELSE 'other plan' END, total, different);
END $$;

-- the plan, and what it reads from the scan
EXPLAIN (VERBOSE, COSTS off) SELECT id, rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') AS score, v <-> '[500,500,500]' AS d
	FROM items ORDER BY score LIMIT 3;
SELECT id, round(rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]')::numeric, 6) AS score, round((v <-> '[500,500,500]')::numeric, 4) AS d,
	round((1 - rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]'))::numeric, 6) AS above
	FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 3;
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 AND b < 5 ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 3;
EXPLAIN (COSTS off) SELECT id FROM items WHERE b < 5 ORDER BY rrf('[500,500,500]' <-> v, w <=> '[1,2,3,4]') LIMIT 3;

-- by ranks: windows, weights, filters by index and without, to the end
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'true', 1, 1, 60, 100, 10);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'true', 1, 1, 60, 3000, 100);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'true', 1, 0.3, 0, 20, 40);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'a = 3', 1, 1, 60, 100, 10);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'a = 3', 1, 1, 60, 1000, 1000);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'a IN (3, 4) AND b > 2', 0.7, 1, 10, 30, 50);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'b = 2', 1, 1, 60, 50, 20);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'v <-> ''[500,500,500]'' < 200', 1, 1, 60, 50, 20);
SELECT by_ranks('v <-> ''[500,500,500]''', 'v <-> ''[100,100,100]''', 'a = -1', 1, 1, 60, 50, 20);
SELECT by_ranks('v <-> ''[500,500,500]''', 'v <-> ''[510,510,510]''', 'true', 1, 1, 60, 100, 10);

-- by values: every row has its score, NULL if a branch has none
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''none'', weights => ''{0.001,1}'')', 'true', 20);
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''none'', weights => ''{0.001,1}'')', 'a IN (3, 4)', 40);
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''none'', alpha => 0)', 'b = 2', 50);
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''theoretical'')', 'true', 20);
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''theoretical'', alpha => 0.9)', 'a = 3', 60);
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', v <-> ''[10,20,30]'', ''theoretical'')', 'b > 2', 15);
SELECT by_values('fuse(v <-> ''[500,500,500]'', v <-> ''[10,20,30]'', ''none'')', 'v IS NOT NULL', 3000);
SELECT by_values('fuse(v <-> NULL, w <=> ''[1,2,3,4]'', ''theoretical'')', 'w IS NOT NULL AND v IS NOT NULL', 20);

-- relative to a window, which SQL can express
WITH x AS (SELECT id, v <-> '[500,500,500]' AS d FROM items ORDER BY 2 LIMIT 30),
	y AS (SELECT id, w <=> '[1,2,3,4]' AS d FROM items ORDER BY 2 LIMIT 30),
	ends AS (SELECT (SELECT min(d) FROM x) AS x1, (SELECT max(d) FROM x) AS x2, (SELECT min(d) FROM y) AS y1, (SELECT max(d) FROM y) AS y2),
	means AS (SELECT (SELECT avg(d) FROM x) AS xm, (SELECT stddev_pop(d) FROM x) AS xs, (SELECT avg(d) FROM y) AS ym, (SELECT stddev_pop(d) FROM y) AS ys),
	scores AS (SELECT id,
		- (0.7 * coalesce((x2 - x.d) / (x2 - x1), 0) + 0.3 * coalesce((y2 - y.d) / (y2 - y1), 0)) AS minmax,
		- (0.7 * (xm - coalesce(x.d, x2)) / xs + 0.3 * (ym - coalesce(y.d, y2)) / ys) AS zscore
		FROM x FULL JOIN y USING (id), ends, means),
	m AS (SELECT id, fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', alpha => 0.7, window_size => 30) AS s FROM items ORDER BY s LIMIT 25),
	z AS (SELECT id, fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', 'zscore', alpha => 0.7, window_size => 30) AS s FROM items ORDER BY s LIMIT 25)
	SELECT (SELECT count(*) FROM m JOIN scores USING (id) WHERE abs(s - minmax) < 1e-12) AS minmax,
		(SELECT count(*) FROM (SELECT id FROM scores ORDER BY minmax LIMIT 25) t JOIN m USING (id)) AS minmax_rows,
		(SELECT count(*) FROM z JOIN scores USING (id) WHERE abs(s - zscore) < 1e-12) AS zscore,
		(SELECT count(*) FROM (SELECT id FROM scores ORDER BY zscore LIMIT 25) t JOIN z USING (id)) AS zscore_rows;

-- beyond the windows: all rows that a branch has, at 0, so that LIMIT is met
SELECT count(*), count(*) FILTER (WHERE s < 0) AS ranked, count(*) FILTER (WHERE s = 0) AS others, min(id), max(id)
	FROM (SELECT id, rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', window_size => 5) AS s FROM items ORDER BY s) x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM items WHERE a = 3 ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', 'zscore', window_size => 5)) x;
SELECT count(*), min(s), max(s) FROM (SELECT rrf(v <-> (SELECT NULL::vector), w <=> (SELECT NULL::vector)) AS s FROM items ORDER BY s) x;

-- a branch without a query, which the planner may see or not
SELECT count(*), min(s), max(s) FROM (SELECT rrf(v <-> NULL, w <=> NULL) AS s FROM items ORDER BY s) x;
SELECT norm, count(*), min(s), max(s) FROM unnest('{minmax,zscore,theoretical,none}'::text[]) norm,
	LATERAL (SELECT fuse(v <-> NULL, w <=> NULL, norm) AS s FROM items ORDER BY s) x GROUP BY norm ORDER BY norm;
SELECT count(*), min(s), max(s) FROM (SELECT fuse(v <-> NULL, w <=> NULL) AS s FROM items ORDER BY s) x;
SELECT count(*), min(s), max(s) FROM (SELECT fuse(v <-> (SELECT NULL::vector), w <=> (SELECT NULL::vector), 'zscore') AS s FROM items ORDER BY s) x;
EXPLAIN (COSTS off) SELECT id FROM items WHERE a = 3 ORDER BY rrf(v <-> NULL, w <=> '[1,2,3,4]') LIMIT 2;
SELECT array_agg(id) FROM (SELECT id FROM items WHERE a = 3 ORDER BY rrf(v <-> NULL, w <=> '[1,2,3,4]') LIMIT 3) x
	UNION SELECT array_agg(id) FROM (SELECT id FROM items WHERE a = 3 ORDER BY rrf(v <-> (SELECT NULL::vector), w <=> '[1,2,3,4]') LIMIT 3) x
	UNION SELECT array_agg(id) FROM (SELECT id FROM items WHERE a = 3 ORDER BY w <=> '[1,2,3,4]' LIMIT 3) x;

SELECT count(*) FROM (SELECT id FROM items WHERE a = 3 AND random() < 2 ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]')) x;

-- what it does not do: it says why
SELECT rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') FROM items LIMIT 1;
SELECT fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]') FROM items LIMIT 1;
SELECT id FROM items ORDER BY a, rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') DESC LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <-> '[1,2,3,4]') LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> ARRAY[random(),1,2,3]::vector) LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', a) LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', k => a) LIMIT 1;
SELECT i.id FROM items i JOIN items j ON j.id = i.a ORDER BY rrf(i.v <-> '[500,500,500]', i.w <=> '[1,2,3,4]') LIMIT 1;
SELECT id FROM items TABLESAMPLE SYSTEM (50) ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 1;
SELECT id FROM items WHERE rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') < 0 ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', weights => '{1}') LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', weights => '{1,-1}') LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', weights => '{1,NULL}') LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', k => -1) LIMIT 1;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', window_size => 0) LIMIT 1;
SELECT id FROM items ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', norm => 'l2') LIMIT 1;
SELECT id FROM items ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', alpha => 1.5) LIMIT 1;
SELECT id FROM items ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', alpha => 0.5, weights => '{1,1}') LIMIT 1;
SELECT id FROM items ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', 'none', window_size => 9) LIMIT 1;
SELECT fuse(v <-> '[500,500,500]', a, 'theoretical') FROM items LIMIT 1;
SET omendb.enable_fused_scan = off;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 1;
RESET omendb.enable_fused_scan;

-- every part a parameter, in a plan for all values
SET plan_cache_mode = force_generic_plan;
PREPARE fused(vector, vector, int, int, float8[], int) AS SELECT id, round(s::numeric, 6) AS s FROM (SELECT id,
	rrf(v <-> $1, w <=> $2, weights => $5, window_size => $6) AS s FROM items WHERE a = $3 ORDER BY s LIMIT $4) x;
EXPLAIN (COSTS off) EXECUTE fused('[500,500,500]', '[1,2,3,4]', 3, 2, '{1,1}', 50);
EXECUTE fused('[500,500,500]', '[1,2,3,4]', 3, 2, '{1,1}', 50);
EXECUTE fused('[500,500,500]', '[1,2,3,4]', 4, 3, '{0,1}', NULL);
EXECUTE fused(NULL, '[1,2,3,4]', 4, 3, NULL, NULL);
EXECUTE fused('[500,500,500]', '[1,2,3,4]', NULL, 3, NULL, NULL);
PREPARE gated(boolean) AS SELECT id, round(rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]')::numeric, 6) AS s FROM items WHERE $1 AND a = 3
	ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 2;
EXPLAIN (COSTS off) EXECUTE gated(true);
EXECUTE gated(true);
EXECUTE gated(false);
PREPARE normed(text) AS SELECT id FROM items ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', $1) LIMIT 2;
EXECUTE normed('theoretical');
EXECUTE normed('minmax');
RESET plan_cache_mode;
DEALLOCATE ALL;

-- for each row of another table: other queries, another filter
SELECT q.id, n.near, round(n.s::numeric, 6) AS s, n.a = q.a AS same FROM (SELECT * FROM items WHERE id <= 3) q
	CROSS JOIN LATERAL (SELECT id AS near, a, rrf(v <-> q.v, w <=> q.w) AS s FROM items WHERE a = q.a ORDER BY s LIMIT 2) n;
SELECT q.id, n.near FROM (SELECT * FROM items WHERE id <= 3) q
	CROSS JOIN LATERAL (SELECT id AS near FROM items ORDER BY fuse(v <-> q.v, w <=> q.w, 'theoretical') LIMIT 1) n;

-- cursors, OFFSET, more keys behind, window functions, groups
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, row_number() OVER () AS n FROM (SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]'), id) x;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
MOVE 500 FROM c;
FETCH 1 FROM c;
MOVE 10000 FROM c;
CLOSE c;
COMMIT;
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') OFFSET 1 LIMIT 2;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]'), id LIMIT 2;
SELECT id, row_number() OVER (ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]')) FROM items LIMIT 2;
SELECT round(s::numeric, 6) AS s, count(*) FROM (SELECT rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', k => 0, window_size => 2) AS s FROM items ORDER BY s) x GROUP BY x.s ORDER BY x.s;

-- system columns, whole rows, subqueries
SELECT i = (SELECT j FROM items j WHERE j.id = i.id) AS whole, i.ctid = (SELECT j.ctid FROM items j WHERE j.id = i.id) AS place,
	tableoid::regclass, (SELECT count(*) FROM items j WHERE j.a < i.b) > 0 AS more
	FROM items i WHERE b IN (SELECT b FROM items WHERE id < 3 OFFSET 0) OR a = 7 ORDER BY rrf(v <-> (SELECT v FROM items WHERE id = 77), w <=> '[1,2,3,4]') LIMIT 2;

-- locking; rows changed and deleted by the statement's transaction
BEGIN;
SELECT id, round(rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]')::numeric, 6) AS s FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 2 FOR UPDATE;
UPDATE items SET v = '[0,0,0]' WHERE id IN (SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 3);
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'true', 1, 1, 60, 100, 10);
UPDATE items SET b = b + 1 WHERE id % 3 = 0;
DELETE FROM items WHERE id % 5 = 0;
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'a IN (3, 4, 5)', 1, 1, 60, 100, 10);
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''theoretical'')', 'b > 3', 20);
ROLLBACK;
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'true', 1, 1, 60, 100, 10);

-- three branches; every metric; an index on an expression, and a partial one
SELECT count(*) FROM (SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]', v <-> '[1,2,3]') LIMIT 5) x;
CREATE TABLE kinds (id int, v vector(3), h halfvec(3), b bit(24));
INSERT INTO kinds SELECT i, x::vector, x::halfvec, (i * 7919 % 16777216)::bit(24)
	FROM (SELECT i, ARRAY[i * 7919 % 1009 + 1, i * 104729 % 997 - 400, i * 6007 % 991] AS x FROM generate_series(1, 1500) i) x;
CREATE INDEX ON kinds USING omenhnsw (v vector_ip_ops);
CREATE INDEX ON kinds USING omenhnsw (v vector_l1_ops);
CREATE INDEX ON kinds USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON kinds USING omenhnsw (b bit_hamming_ops);
CREATE INDEX ON kinds USING omenhnsw (b bit_jaccard_ops);
CREATE INDEX ON kinds USING omenhnsw ((v::halfvec(3)) halfvec_cosine_ops) WHERE id < 1000;
VACUUM ANALYZE kinds;
ALTER TABLE items RENAME TO items_kept;
ALTER TABLE kinds RENAME TO items;
SELECT by_values('fuse(v <#> ''[1,2,3]'', h <-> ''[10,10,10]'', ''theoretical'')', 'true', 10);
SELECT by_values('fuse(v <#> ''[1,2,3]'', v <+> ''[10,10,10]'', h <-> ''[10,10,10]'', ''none'')', 'true', 10);
SELECT by_values('fuse(b <~> B''101010101010101010101010'', h <-> ''[10,10,10]'', ''theoretical'')', 'true', 10);
SELECT by_values('fuse(b <%> B''101010101010101010101010'', v <+> ''[10,10,10]'', ''theoretical'')', 'true', 10);
SELECT by_values('fuse(v::halfvec(3) <=> ''[1,2,3]'', v <+> ''[10,10,10]'', ''theoretical'')', 'id < 900', 10);
SELECT by_ranks('v::halfvec(3) <=> ''[1,2,3]''', 'v <+> ''[10,10,10]''', 'id < 1000', 1, 1, 60, 50, 10);
SELECT id FROM items WHERE id < 1100 ORDER BY rrf(v::halfvec(3) <=> '[1,2,3]', v <+> '[10,10,10]') LIMIT 1;
DROP TABLE items;
ALTER TABLE items_kept RENAME TO items;

-- row security: ranks are among the rows that are visible, and a function that
-- tells what it sees does not see others
CREATE ROLE omen_fuse_user;
GRANT SELECT ON items TO omen_fuse_user;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON items TO omen_fuse_user USING (a = 3);
CREATE FUNCTION leaky(int, int) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$
BEGIN
	IF $2 <> 3 THEN RAISE NOTICE 'sees row %', $1; END IF;
	RETURN true;
END $$;
CREATE TEMP TABLE visible AS SELECT id, rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') AS s FROM items WHERE a = 3 AND b = 2 ORDER BY s LIMIT 5;
GRANT SELECT ON visible TO omen_fuse_user;
SET ROLE omen_fuse_user;
EXPLAIN (COSTS off) SELECT id FROM items WHERE leaky(id, a) AND b = 2 ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 5;
SELECT count(*) FROM (SELECT id, rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') AS s FROM items WHERE leaky(id, a) AND b = 2 ORDER BY s LIMIT 5) x
	JOIN visible USING (id, s);
RESET ROLE;
ALTER TABLE items DISABLE ROW LEVEL SECURITY;
DROP POLICY visible ON items;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM items WHERE a = 3;
SELECT id FROM barrier WHERE b < 5 ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 1;
SELECT id FROM barrier WHERE leaky(id, a) ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 1;
-- Where no fused scan can be, norms that tell a row's score alone sort all rows
CREATE FUNCTION same_rows(one text, other text) RETURNS TABLE (rows int, same boolean, scans boolean[]) LANGUAGE plpgsql AS $$
DECLARE
	queries text[] := ARRAY[one, other];
	plan json;
BEGIN
	FOR i IN 1 .. 2 LOOP
		EXECUTE 'EXPLAIN (FORMAT json) ' || queries[i] INTO plan;
		scans[i] := plan::text ~ 'Omen Fused Scan';
		EXECUTE format('CREATE TEMP TABLE got_%s AS SELECT row_number() OVER () AS n, * FROM (%s) q', i, queries[i]);
	END LOOP;
	SELECT count(*), bool_and(a.id = b.id AND abs(a.s - b.s) < 1e-12) FROM got_1 a FULL JOIN got_2 b USING (n) INTO rows, same;
	DROP TABLE got_1, got_2;
	RETURN NEXT;
END $$;
SET enable_sort = off;
SELECT * FROM same_rows('SELECT id, fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''none'') AS s FROM barrier WHERE b < 5 ORDER BY s LIMIT 20',
	'SELECT id, fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''none'') AS s FROM items WHERE a = 3 AND b < 5 ORDER BY s LIMIT 20');
SELECT * FROM same_rows('SELECT id, fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''theoretical'') AS s FROM barrier WHERE leaky(id, a) ORDER BY s LIMIT 20',
	'SELECT id, fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''theoretical'') AS s FROM items WHERE a = 3 ORDER BY s LIMIT 20');
SELECT * FROM same_rows('SELECT i.id, fuse(i.v <-> ''[500,500,500]'', i.w <=> ''[1,2,3,4]'', ''none'') AS s FROM items i JOIN items j ON j.id = i.id + 1 WHERE j.a = 4 ORDER BY s LIMIT 20',
	'SELECT id, fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''none'') AS s FROM items WHERE a = 3 AND id < 3000 ORDER BY s LIMIT 20');
RESET enable_sort;
DROP FUNCTION same_rows;
DROP VIEW barrier;
CREATE VIEW ranked AS SELECT id, rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') AS s FROM items WHERE a = 3;
SELECT id FROM ranked ORDER BY s LIMIT 1;
DROP VIEW ranked;
DROP TABLE visible;
REVOKE ALL ON items FROM omen_fuse_user;
DROP ROLE omen_fuse_user;

-- partitions: scores of rows merge, ranks do not
CREATE TABLE parts (id int, a int, v vector(3), w vector(4)) PARTITION BY LIST (a);
CREATE TABLE parts0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts1 (v vector(3), gone int, a int, w vector(4), id int);
ALTER TABLE parts1 DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts1 FOR VALUES IN (1);
INSERT INTO parts SELECT id, a % 2, v, w FROM items;
CREATE INDEX ON parts USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON parts USING omenhnsw (w vector_cosine_ops);
VACUUM ANALYZE parts;
SET enable_sort = off;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM parts ORDER BY fuse(v <-> '[500,500,500]', w <=> '[1,2,3,4]', 'theoretical') LIMIT 3;
RESET enable_sort;
RESET enable_seqscan;
ALTER TABLE items RENAME TO items_kept;
ALTER TABLE parts RENAME TO items;
SELECT by_values('fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'', ''theoretical'')', 'true', 20);
SELECT id FROM items ORDER BY rrf(v <-> '[500,500,500]', w <=> '[1,2,3,4]') LIMIT 3;
SELECT by_ranks('v <-> ''[500,500,500]''', 'w <=> ''[1,2,3,4]''', 'a = 1', 1, 1, 60, 100, 10);
DROP TABLE items;
ALTER TABLE items_kept RENAME TO items;

-- EXPLAIN (ANALYZE): both branches, and why each stopped
VACUUM items;
CREATE FUNCTION explain_nodes(query text) RETURNS SETOF json LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE query INTO plan;
	RETURN QUERY WITH RECURSIVE nodes AS (SELECT plan->0->'Plan' AS n UNION ALL SELECT json_array_elements(n->'Plans') FROM nodes WHERE n->'Plans' IS NOT NULL)
		SELECT n FROM nodes WHERE n->>'Custom Plan Provider' IS NOT NULL;
END $$;
SELECT n->>'Fusion' AS fusion, b->>'Index Name' AS index, b->>'Rows Pulled' AS rows, b->>'Stopped By' AS stop, b->'Omen Index Scan'->>'Loops' AS loops
	FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM items ORDER BY rrf(v <-> ''[500,500,500]'', w <=> ''[1,2,3,4]'') LIMIT 5') n,
	json_array_elements(n->'Branches') b;
SELECT n->>'Fusion' AS fusion, b->>'Index Name' AS index, (b->>'Rows Pulled')::int < 100 AS few, b->>'Stopped By' AS stop
	FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM items ORDER BY rrf(v <-> ''[500,500,500]'', v <-> ''[501,500,500]'') LIMIT 5') n,
	json_array_elements(n->'Branches') b;
SELECT n->>'Fusion' AS fusion, b->>'Rows Pulled' AS rows, b->>'Stopped By' AS stop, b->>'Allowed Nodes' AS allowed
	FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM items WHERE a = 3 ORDER BY fuse(v <-> ''[500,500,500]'', w <=> NULL) LIMIT 5') n,
	json_array_elements(n->'Branches') b;

-- Rankings that share no row, or only their last ones, are not pulled to the ends
-- of their windows if it is known that all rows found will have ranks
CREATE TABLE apart (id int, v vector(2), w vector(2)) WITH (autovacuum_enabled = off);
INSERT INTO apart SELECT i, ARRAY[i, 0]::vector, ARRAY[1000 - i, 0]::vector FROM generate_series(1, 1000) i;
CREATE INDEX ON apart USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON apart USING omenhnsw (w vector_l2_ops);
CREATE FUNCTION pulled(query text, condition text DEFAULT 'true') RETURNS TABLE (few boolean, stop text) LANGUAGE sql AS $$
	SELECT (b->>'Rows Pulled')::int < 25, b->>'Stopped By'
	FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM apart WHERE ' || condition || ' ORDER BY ' || query || ' LIMIT 4') n,
		LATERAL json_array_elements(n->'Branches') b $$;
SELECT * FROM pulled('rrf(v <-> ''[0,0]'', w <-> ''[0,0]'')');
VACUUM apart;
SELECT * FROM pulled('rrf(v <-> ''[0,0]'', w <-> ''[0,0]'')');
SELECT * FROM pulled('rrf(v <-> ''[0,0]'', w <-> ''[830,0]'')');
SELECT id, round(rrf(v <-> '[0,0]', w <-> '[830,0]')::numeric, 8) AS s FROM apart ORDER BY rrf(v <-> '[0,0]', w <-> '[830,0]') LIMIT 4;
-- not with a WHERE, which may keep them off, nor where rows may be dead
SELECT * FROM pulled('rrf(v <-> ''[0,0]'', w <-> ''[0,0]'')', 'id <> 500');
UPDATE apart SET id = id;
SELECT * FROM pulled('rrf(v <-> ''[0,0]'', w <-> ''[0,0]'')');
VACUUM apart;
SELECT * FROM pulled('rrf(v <-> ''[0,0]'', w <-> ''[0,0]'')');
DROP TABLE apart;
DROP FUNCTION pulled;

-- Rows that an index finds equally far, in single precision, come by place
CREATE TABLE opposite (id int, v vector(2));
INSERT INTO opposite VALUES (1, '[-3000,0]'), (2, '[-3000,1]'), (3, '[-3000,60]'), (4, '[-3000,-1]');
CREATE INDEX ON opposite USING omenhnsw (v vector_cosine_ops);
SELECT id, round(s::numeric, 4) AS score, d = 2 AS is_two, (2 * d)::real = 4 AS is_two_in_single
	FROM (SELECT id, v <=> '[1,0]' AS d, rrf(v <=> '[1,0]', v <=> '[0,1]', weights => '{1,0}', k => 0) AS s
		FROM opposite ORDER BY s LIMIT 4) x;
DROP TABLE opposite;

DROP FUNCTION by_ranks, by_values, explain_nodes, leaky;
DROP TABLE items;
