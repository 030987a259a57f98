-- The best rows for a text, of those that other indexes let through
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/explain.sql'
\i :helpers
CREATE TABLE docs (id int PRIMARY KEY, a int, b int, body text, t tsvector, tags int[]);
INSERT INTO docs SELECT i, i % 50, i % 7, b, to_tsvector('simple', b), ARRAY[i % 3, i % 11 + 10]
FROM (SELECT i, concat_ws(' ', 'x' || i % 8, 'y' || i * 13 % 31, CASE WHEN i % 5 = 0 THEN 'common common' WHEN i % 3 = 0 THEN 'common' END,
	'z' || i * 17 % 211, repeat('filler ', i * 31 % 23)) AS b FROM generate_series(1, 3000) i) x;
INSERT INTO docs SELECT 3000 + i, 3, 2, NULL, NULL, '{1}' FROM generate_series(1, 5) i;
INSERT INTO docs VALUES (3006, 3, 2, '', '', '{1}');
CREATE INDEX docs_t ON docs USING omenbm25 (t);
CREATE INDEX docs_a ON docs (a);
CREATE INDEX docs_b ON docs (b);
CREATE INDEX docs_tags ON docs USING gin (tags);
VACUUM ANALYZE docs;
SET enable_seqscan = off;
SET enable_sort = off;

-- Does the plan use a filtered scan, are its rows those of the exact plan, and do
-- scores ascend?  Equal ones come in the order of the table.
CREATE FUNCTION compare(condition text, query text, most text DEFAULT 'ALL') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('SELECT ctid AS place, id, t <@> %L::tsquery AS s FROM docs WHERE %s AND t IS NOT NULL ORDER BY t <@> %1$L::tsquery LIMIT %3$s',
		query, condition, most);
	line text;
	used boolean := false;
	answer text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || statement LOOP
		used := used OR line ~ 'Omen Filtered Scan';
	END LOOP;
	EXECUTE format('CREATE TEMP TABLE got AS SELECT row_number() OVER () AS n, * FROM (%s) x', statement);
	SET LOCAL omendb.enable_filtered_scan = off;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_bitmapscan = off;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_sort = on;
	EXECUTE format('CREATE TEMP TABLE wanted AS SELECT row_number() OVER () AS n, * FROM (%s) x',
		replace(statement, ' LIMIT', ', place LIMIT'));
	SELECT format('%s rows, %s of score 0, %s differ', count(g.n), count(*) FILTER (WHERE g.s = 0),
		count(*) FILTER (WHERE g.id IS DISTINCT FROM w.id OR (g.s IS NULL) <> (w.s IS NULL) OR abs(g.s - w.s) > 1e-9))
		FROM got g FULL JOIN wanted w USING (n) INTO answer;
	DROP TABLE got, wanted;
	SET LOCAL omendb.enable_filtered_scan = on;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_bitmapscan = on;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	RETURN format('%s: %s', CASE WHEN used THEN 'filtered scan' ELSE 'other plan' END, answer);
END $$;

-- one index, several, OR, IN, GIN, the same index
EXPLAIN (COSTS off) SELECT id FROM docs WHERE a = 3 ORDER BY t <@> 'common'::tsquery LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM docs WHERE a = 3 AND b = 2 AND body <> 'x' ORDER BY t <@> 'common'::tsquery LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM docs WHERE a = 3 AND t @@ 'common & !x1' ORDER BY t <@> 'common | y5'::tsquery LIMIT 5;
SELECT compare('a = 3', 'common | y5');
SELECT compare('a = 3', 'common | y5', '7');
SELECT compare('a = 3 AND b = 2 AND body <> ''x''', 'common | y5 | z17');
SELECT compare('(a = 3 OR b = 2 AND a < 10)', 'y5 | z17');
SELECT compare('a IN (3, 5, 7) AND id % 3 = 0', 'y5 | z17 | x1', '30');
SELECT compare('tags @> ''{1,12}''', 'common');
SELECT compare('a < 10', 'nowhere');
SET client_min_messages = warning;
SELECT compare('a < 10', '');
RESET client_min_messages;
SELECT compare('a = -1', 'common');
SELECT compare('a < 20 AND t <@> ''y5 | common'' < -1', 'common | y5');
SELECT compare('a < 20 AND t @@ ''y5 | common''', 'common | y5');
SELECT compare('a < 20 AND t @@ ''common'' AND ''!y5''::tsquery @@ t', 'common | y5');
SELECT compare('a < 20 AND t @@ ''x1 <-> y5''', 'common | y5');
SELECT compare('a < 20 AND t @@ ''nowhere''', 'common | y5');
SELECT compare('a < 20 AND t @@ NULL', 'common | y5');

-- it is the unfiltered ranking, restricted
SELECT (SELECT array_agg(id) FROM (SELECT id FROM docs WHERE a = 3 ORDER BY t <@> 'common | y5'::tsquery) x) =
	(SELECT array_agg(id) FROM (SELECT id, a FROM docs ORDER BY t <@> 'common | y5'::tsquery) x WHERE a = 3) AS same;

-- not: no other index knows, an order that the index does not have, turned off
EXPLAIN (COSTS off) SELECT id FROM docs WHERE body = 'x' ORDER BY t <@> 'common'::tsquery LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM docs WHERE t @@ 'y5' ORDER BY t <@> 'common'::tsquery LIMIT 5;
SELECT pg_temp.plan_of($$SELECT id FROM docs WHERE a = 3 ORDER BY t <@> 'common'::tsquery DESC LIMIT 5$$);
SELECT pg_temp.plan_of($$SELECT id FROM docs TABLESAMPLE SYSTEM (50) WHERE a = 3 ORDER BY t <@> 'common'::tsquery LIMIT 5$$);
SET omendb.enable_filtered_scan = off;
EXPLAIN (COSTS off) SELECT id FROM docs WHERE a = 3 ORDER BY t <@> 'common'::tsquery LIMIT 5;
RESET omendb.enable_filtered_scan;

-- if most rows pass, an index scan reads less; if few do, the bitmap pays
EXPLAIN (COSTS off) SELECT id FROM docs WHERE a < 45 ORDER BY t <@> 'common'::tsquery LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM docs WHERE a < 2 ORDER BY t <@> 'common'::tsquery LIMIT 50;

-- more keys behind the score, which is not computed again; whole rows, system columns
EXPLAIN (VERBOSE, COSTS off) SELECT id, t <@> 'common'::tsquery AS s, 2 * (t <@> 'common'::tsquery) AS twice FROM docs WHERE a = 3 ORDER BY s, id DESC LIMIT 5;
SELECT id, round(s::numeric, 6) AS s, round(twice::numeric, 6) AS twice FROM
	(SELECT id, t <@> 'common'::tsquery AS s, 2 * (t <@> 'common'::tsquery) AS twice FROM docs WHERE a = 3 ORDER BY s, id DESC LIMIT 3) x;
SELECT (d).id, place = (SELECT ctid FROM docs WHERE id = (d).id) AS place, tab FROM
	(SELECT d, ctid AS place, tableoid::regclass AS tab FROM docs d WHERE a = 3 ORDER BY t <@> 'common'::tsquery LIMIT 2) x;

-- a condition that is not about rows; every part a parameter, NULL among them
SET plan_cache_mode = force_generic_plan;
PREPARE gated(boolean) AS SELECT id, round((t <@> 'common'::tsquery)::numeric, 6) AS s FROM docs WHERE $1 AND a = 3 ORDER BY t <@> 'common'::tsquery LIMIT 2;
EXPLAIN (COSTS off) EXECUTE gated(true);
EXECUTE gated(true);
EXECUTE gated(false);
PREPARE best(int, text, text) AS SELECT count(*), count(s), count(*) FILTER (WHERE s < 0) AS ranked FROM
	(SELECT t <@> to_tsquery('simple', $2) AS s FROM docs WHERE a = $1 AND t @@ to_tsquery('simple', $3) ORDER BY s) x;
EXPLAIN (COSTS off) EXECUTE best(3, 'common', '!x1');
EXECUTE best(3, 'common', '!x1');
EXECUTE best(4, 'common', 'common');
EXECUTE best(3, NULL, '!x1');
EXECUTE best(3, 'common', NULL);
EXECUTE best(NULL, 'common', '!x1');
RESET plan_cache_mode;
DEALLOCATE ALL;

-- no further than a bound: rows without the words are at 0, and not looked at
EXPLAIN (COSTS off) SELECT id FROM docs WHERE t <@> 'z17'::tsquery < 0 ORDER BY t <@> 'z17'::tsquery LIMIT 50;
SELECT bound, compare(bound, 'y5 | z17', '1000')
FROM unnest(ARRAY[$$t <@> 'y5 | z17'::tsquery < 0$$, $$t <@> 'y5 | z17'::tsquery <= 0$$, $$-4.5 >= t <@> 'y5 | z17'::tsquery$$,
	$$-(t <@> 'y5 | z17'::tsquery) > 4.5$$, $$(t <@> 'y5 | z17'::tsquery) * -1 >= 4.5::real AND a < 40$$, $$t <@> 'y5 | z17'::tsquery < -4 AND t @@ '!x1'$$,
	$$t <@> 'y5 | z17'::tsquery < -4 AND t <@> 'y5 | z17'::tsquery <= -4.5$$, $$t <@> 'y5 | z17'::tsquery < 'NaN'$$,
	$$10 - (t <@> 'y5 | z17'::tsquery) > 14.5$$, $$round((t <@> 'y5 | z17'::tsquery)::numeric, 8) < 0$$, $$t <@> 'y5 | z17'::tsquery < NULL$$, $$t <@> 'y5 | z17'::tsquery < -100$$, $$t <@> 'y5 | z17'::tsquery > -4$$, $$t <@> 'y5'::tsquery < 0$$]) bound;
SELECT compare('t <@> ''y5 | z17''::tsquery < 0', 'y5 | z17');
SET plan_cache_mode = force_generic_plan;
PREPARE within(text, float8) AS SELECT count(*), max(s) < $2 AS within FROM
	(SELECT t <@> to_tsquery('simple', $1) AS s FROM docs WHERE t <@> to_tsquery('simple', $1) < $2 ORDER BY s LIMIT 500) x;
EXPLAIN (COSTS off) EXECUTE within('y5 | z17', 0);
EXECUTE within('y5 | z17', 0);
EXECUTE within('y5 | z17', -4);
EXECUTE within('y5 | z17', NULL);
EXECUTE within(NULL, 0);
RESET plan_cache_mode;
DEALLOCATE ALL;
SELECT q.id, n.id, round(n.s::numeric, 4) AS s FROM (VALUES (1, -3), (2, -4), (3, -9)) q(id, bound)
	CROSS JOIN LATERAL (SELECT id, t <@> format('z%s', q.id)::tsquery AS s FROM docs WHERE t <@> format('z%s', q.id)::tsquery < q.bound
		ORDER BY s, id LIMIT 2) n;

-- for each row of another table: another text, another filter, another condition
EXPLAIN (COSTS off) SELECT q.n, d.id FROM generate_series(1, 20) q(n)
	CROSS JOIN LATERAL (SELECT id FROM docs WHERE a = q.n ORDER BY t <@> ('y' || q.n)::tsquery LIMIT 3) d;
CREATE FUNCTION by_row(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement text := 'SELECT q.n, d.id FROM generate_series(1, 20) q(n) CROSS JOIN LATERAL (' || query || ') d';
	got text;
	wanted text;
BEGIN
	EXECUTE 'SELECT string_agg(x::text, '','') FROM (' || statement || ') x' INTO got;
	SET LOCAL omendb.enable_filtered_scan = off;
	EXECUTE 'SELECT string_agg(x::text, '','') FROM (' || statement || ') x' INTO wanted;
	SET LOCAL omendb.enable_filtered_scan = on;
	RETURN format('%s rows, %s', cardinality(string_to_array(got, '),(')), CASE WHEN got = wanted THEN 'the same' ELSE 'different' END);
END $$;
SELECT by_row('SELECT id FROM docs WHERE a = 3 ORDER BY t <@> (''y'' || q.n || ''|common'')::tsquery LIMIT 15');
SELECT by_row('SELECT id FROM docs WHERE a = q.n ORDER BY t <@> ''y5 | common''::tsquery LIMIT 15');
SELECT by_row('SELECT id FROM docs WHERE a < 5 AND t @@ (''common & !y'' || q.n)::tsquery ORDER BY t <@> ''y5 | common''::tsquery LIMIT 15');
SELECT by_row('SELECT id FROM docs WHERE a < 5 AND t @@ (CASE WHEN q.n <> 2 THEN ''common'' END)::tsquery ORDER BY t <@> ''y5 | common''::tsquery LIMIT 15');

-- with another table, an alias that hides the text, a view, a cursor, a lock
EXPLAIN (COSTS off) SELECT d.id, o.b FROM docs d JOIN docs o ON o.id = d.id + 1 WHERE d.a = 3 ORDER BY d.t <@> 'common'::tsquery LIMIT 3;
SELECT d.id, o.b FROM docs d JOIN docs o ON o.id = d.id + 1 WHERE d.a = 3 ORDER BY d.t <@> 'common'::tsquery LIMIT 3;
BEGIN;
DECLARE c CURSOR FOR SELECT id, round((t <@> 'common'::tsquery)::numeric, 6) AS s FROM docs WHERE a = 3 ORDER BY t <@> 'common'::tsquery;
FETCH 2 FROM c;
FETCH 2 FROM c;
ROLLBACK;
SELECT id FROM docs WHERE a = 3 ORDER BY t <@> 'common'::tsquery LIMIT 2 FOR UPDATE;

-- bitmaps that know pages only
SET work_mem = 64;
CREATE INDEX docs_brin ON docs USING brin (id) WITH (pages_per_range = 4);
ALTER TABLE docs DROP CONSTRAINT docs_pkey;
SELECT compare('id BETWEEN 700 AND 900', 'common | y5');
RESET work_mem;

-- rows of the pending area, of several segments, deleted ones
UPDATE docs SET t = to_tsvector('simple', 'x3 common again') WHERE id % 100 = 7;
UPDATE docs SET a = 3 WHERE id % 100 = 9;
DELETE FROM docs WHERE id % 50 = 3;
INSERT INTO docs SELECT i, 3, 1, 'new', to_tsvector('simple', 'common new n' || i) FROM generate_series(4001, 4050) i;
SELECT compare('a = 3', 'common | y5 | new');
SELECT compare('a IN (3, 7) AND t @@ ''common''', 'common | y5 | new', '40');
VACUUM docs;
SELECT compare('a = 3', 'common | y5 | new');
UPDATE docs SET t = to_tsvector('simple', 'x3 common again and again') WHERE id % 90 = 7;
SELECT compare('a < 10', 'common | y5 | new');

-- rows that a policy hides, before functions that could tell of them
CREATE FUNCTION tell(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
CREATE ROLE omen_filter_text_user;
GRANT SELECT ON docs TO omen_filter_text_user;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs TO omen_filter_text_user USING (a = 3 AND id < 160);
SET ROLE omen_filter_text_user;
EXPLAIN (COSTS off) SELECT id FROM docs WHERE t @@ '!y5' AND tell(id) ORDER BY t <@> 'common'::tsquery LIMIT 5;
SELECT id FROM docs WHERE t @@ '!y5' AND tell(id) ORDER BY t <@> 'common'::tsquery LIMIT 5;
SET enable_bitmapscan = off;
SELECT pg_temp.plan_of($$SELECT id FROM docs WHERE t <@> 'common'::tsquery < 0 ORDER BY t <@> 'common'::tsquery LIMIT 5$$);
RESET enable_bitmapscan;
RESET ROLE;
DROP POLICY own ON docs;
ALTER TABLE docs DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON docs FROM omen_filter_text_user;
DROP ROLE omen_filter_text_user;
DROP FUNCTION tell;

-- rows that have moved on their page
UPDATE docs SET body = upper(body) WHERE id % 10 = 3;
SELECT (SELECT array_agg(id) FROM (SELECT id FROM docs WHERE a = 3 ORDER BY t <@> 'common | y5'::tsquery) x) =
	(SELECT array_agg(id) FROM (SELECT id, a FROM docs ORDER BY t <@> 'common | y5'::tsquery) x WHERE a = 3) AS same;
DROP TABLE docs;

-- partitions: each ranks by the statistics of all
CREATE TABLE parts (id int, a int, t tsvector) PARTITION BY LIST ((id % 2));
CREATE TABLE parts0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES IN (1);
INSERT INTO parts SELECT i, i % 40, to_tsvector('simple', concat_ws(' ', 'x' || i % 8, 'y' || i * 13 % 31, repeat('filler ', i * 31 % 23)))
	FROM generate_series(1, 2000) i;
CREATE INDEX ON parts USING omenbm25 (t);
CREATE INDEX ON parts (a);
ANALYZE parts;
EXPLAIN (COSTS off) SELECT id FROM parts WHERE a = 3 ORDER BY t <@> 'x3 | y5'::tsquery LIMIT 5;
SELECT id, round((t <@> 'x3 | y5'::tsquery)::numeric, 6) AS s FROM parts WHERE a = 3 ORDER BY t <@> 'x3 | y5'::tsquery LIMIT 5;
SET omendb.enable_filtered_scan = off;
SELECT id, round((t <@> 'x3 | y5'::tsquery)::numeric, 6) AS s FROM parts WHERE a = 3 ORDER BY t <@> 'x3 | y5'::tsquery LIMIT 5;
RESET omendb.enable_filtered_scan;

SELECT count(*), max(s) < 0 AS within FROM (SELECT t <@> 'x3 | y5'::tsquery AS s FROM parts WHERE t <@> 'x3 | y5'::tsquery < 0
	ORDER BY s LIMIT 1000) x;
SELECT count(*) FROM parts WHERE t @@ 'x3 | y5';

-- an expression, a partial index, two of them
CREATE TABLE raw (id int, a int, body text);
INSERT INTO raw SELECT i, i % 40, concat_ws(' ', 'x' || i % 8, 'y' || i * 13 % 31) FROM generate_series(1, 2000) i;
CREATE INDEX raw_a ON raw (a);
CREATE INDEX raw_all ON raw USING omenbm25 (to_tsvector('simple', body));
CREATE INDEX raw_some ON raw USING omenbm25 (to_tsvector('simple', body)) WHERE a < 10;
ANALYZE raw;
EXPLAIN (COSTS off) SELECT id FROM raw WHERE a = 3 ORDER BY to_tsvector('simple', body) <@> 'x3 | y5'::tsquery LIMIT 5;
EXPLAIN (COSTS off) SELECT id FROM raw WHERE a = 3 ORDER BY to_tsvector('simple', body) <@> to_bm25query('x3 | y5', 'raw_some') LIMIT 5;
SELECT id FROM raw WHERE a = 3 ORDER BY to_tsvector('simple', body) <@> to_bm25query('x3 | y5', 'raw_some') LIMIT 5;
SELECT id FROM raw WHERE a = 3 ORDER BY to_tsvector('simple', body) <@> 'x3 | y5'::tsquery LIMIT 5;

-- what EXPLAIN tells of its execution
CREATE FUNCTION explain_node(query text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->'Plans'->0;
END $$;
SELECT n->>'Custom Plan Provider' AS node, n->>'Text Index' AS index, n->>'Order By' AS ranking, n->>'Allowed Rows' AS allowed,
	n->>'Rows Removed by Filter' AS removed, n->'Omen Text Scan'->>'Passes' AS passes, n->>'Lossy Pages' AS lossy
	FROM explain_node('SELECT id FROM raw WHERE a = 3 AND id % 2 = 1 ORDER BY to_tsvector(''simple'', body) <@> ''x3''::tsquery LIMIT 5') n;

RESET enable_seqscan;
RESET enable_sort;
DROP FUNCTION compare, by_row, explain_node;
DROP TABLE parts, raw;
