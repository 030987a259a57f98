-- omenbm25 on relations and expressions of all kinds, and where the planner has
-- to see which index a ranking is by.
SET client_min_messages = warning;
SET enable_seqscan = off;

-- expressions
CREATE TABLE docs (id int, title text, body text);
INSERT INTO docs SELECT i, 'title ' || i % 7, 'body word' || i % 10 || ' word' || i % 3
	FROM generate_series(1, 200) AS i;
CREATE INDEX docs_idx ON docs USING omenbm25 (to_tsvector('english', body));
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY to_tsvector('english', body) <@> plainto_tsquery('english', 'word5') LIMIT 3;
SELECT id FROM docs ORDER BY to_tsvector('english', body) <@> plainto_tsquery('english', 'word5') LIMIT 3;
SELECT id FROM docs WHERE to_tsvector('english', body) @@ 'word5 & word2' ORDER BY id LIMIT 3;
-- another expression has another index, or none
SELECT id FROM docs ORDER BY to_tsvector('english', title) <@> 'word5' LIMIT 3;
CREATE INDEX docs_both ON docs USING omenbm25
	((setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', body), 'D')))
	WITH (weights = '{0.1, 0.2, 0.4, 1.0}');
SELECT id FROM docs ORDER BY (setweight(to_tsvector('english', title), 'A') ||
	setweight(to_tsvector('english', body), 'D')) <@> '5 | word2' LIMIT 3;

-- prepared statements, views, functions, subqueries, joins, CTEs
PREPARE best(text) AS SELECT id FROM docs
	ORDER BY to_tsvector('english', body) <@> websearch_to_tsquery('english', $1) LIMIT 2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE best('word5');
EXECUTE best('word5');
EXECUTE best('word7 word1');
CREATE VIEW docs_view AS SELECT id, to_tsvector('english', body) AS tsv FROM docs;
EXPLAIN (COSTS OFF) SELECT id FROM docs_view ORDER BY tsv <@> 'word5' LIMIT 2;
SELECT id FROM docs_view ORDER BY tsv <@> 'word5' LIMIT 2;
CREATE FUNCTION best(query text) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT id FROM docs ORDER BY to_tsvector('english', body) <@> plainto_tsquery('english', query) LIMIT 2;
END
$$;
SELECT best('word5'), best('word8');
SELECT id, round(score::numeric, 4) FROM
	(SELECT id, -(tsv <@> 'word5') AS score FROM (SELECT id, tsv FROM docs_view LIMIT 30) s) s ORDER BY score DESC, id LIMIT 2;
SELECT q, (SELECT id FROM docs ORDER BY to_tsvector('english', body) <@> plainto_tsquery('english', q) LIMIT 1)
	FROM (VALUES ('word1'), ('word9')) AS v(q);
SELECT q, s.id FROM (VALUES ('word1'), ('word9')) AS v(q),
	LATERAL (SELECT id FROM docs ORDER BY to_tsvector('english', body) <@> plainto_tsquery('english', q) LIMIT 2) s;
WITH best AS (SELECT id, to_tsvector('english', body) <@> 'word4' AS d FROM docs
	ORDER BY to_tsvector('english', body) <@> 'word4' LIMIT 3) SELECT id FROM best ORDER BY d, id;
SELECT a.id FROM docs a JOIN docs b ON b.id = a.id + 1
	ORDER BY to_tsvector('english', a.body) <@> 'word5', a.id LIMIT 2;

-- an index that is dropped leaves no plan that uses it; another takes its place
EXECUTE best('word5');
DROP INDEX docs_idx;
EXECUTE best('word5');
CREATE INDEX docs_idx2 ON docs USING omenbm25 (to_tsvector('english', body));
EXECUTE best('word5');
RESET plan_cache_mode;

-- cursors, while the index is reorganized below them
CREATE TABLE churn (id int, body tsvector);
CREATE INDEX churn_idx ON churn USING omenbm25 (body) WITH (pending_list_limit = 64);
INSERT INTO churn SELECT i, ('a:' || repeat('1,', i % 5) || '1 b' || i % 3 || ':2 c' || i)::tsvector FROM generate_series(1, 900) AS i;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM churn ORDER BY body <@> 'a | b1';
FETCH 3 FROM c;
INSERT INTO churn SELECT i, ('a:1 b1:1 d' || i)::tsvector FROM generate_series(901, 3000) AS i;
SELECT bm25_merge('churn_idx');
INSERT INTO churn SELECT i, ('a:1 b1:1 d' || i)::tsvector FROM generate_series(3001, 6000) AS i;
SELECT bm25_merge('churn_idx');
-- so often that what the cursor has read of the index is used again, though its
-- transaction is still there
DO $$
BEGIN
	FOR i IN 6001 .. 6060 LOOP
		INSERT INTO churn VALUES (i, 'a:1 b1:1');
		PERFORM bm25_merge('churn_idx');
	END LOOP;
END
$$;
SELECT pages < 60 * 40 AS used_again FROM bm25_stats('churn_idx');
FETCH 3 FROM c;
MOVE 890 FROM c;
FETCH ALL FROM c;
COMMIT;
SELECT bm25_problems('churn_idx');

-- partial indexes
CREATE INDEX churn_partial ON churn USING omenbm25 (body) WHERE id <= 900;
SELECT documents FROM bm25_stats('churn_partial');
DROP INDEX churn_idx;
EXPLAIN (COSTS OFF) SELECT id FROM churn WHERE id <= 900 ORDER BY body <@> 'b1' LIMIT 2;
SELECT id FROM churn WHERE id <= 900 ORDER BY body <@> 'b1' LIMIT 2;
INSERT INTO churn VALUES (0, 'b1'), (9999, 'b1');
SELECT documents FROM bm25_stats('churn_partial');

-- CONCURRENTLY, REINDEX, CLUSTER, other persistence
CREATE INDEX CONCURRENTLY churn_idx ON churn USING omenbm25 (body);
REINDEX INDEX CONCURRENTLY churn_idx;
SELECT bm25_problems('churn_idx'), documents FROM bm25_stats('churn_idx');
CLUSTER churn USING churn_idx;
ALTER TABLE churn SET UNLOGGED;
SELECT bm25_problems('churn_idx'), documents FROM bm25_stats('churn_idx');
ALTER TABLE churn SET LOGGED;
SELECT bm25_problems('churn_idx'), documents FROM bm25_stats('churn_idx');
VACUUM FULL churn;
SELECT bm25_problems('churn_idx'), documents FROM bm25_stats('churn_idx');
-- by several processes, each of which leaves a segment
ALTER TABLE churn SET (parallel_workers = 2);
SET maintenance_work_mem = '128MB';
SET max_parallel_maintenance_workers = 2;
CREATE INDEX churn_parallel ON churn USING omenbm25 (body);
SELECT bm25_problems('churn_parallel'), documents, segments <= 3 AS few FROM bm25_stats('churn_parallel');
CREATE TABLE ranked AS SELECT row_number() OVER () AS n, id FROM
	(SELECT id FROM churn ORDER BY body <@> 'a | b1 {index=churn_parallel}' LIMIT 700) s;
DROP INDEX churn_idx;
SET max_parallel_maintenance_workers = 0;
CREATE INDEX churn_idx ON churn USING omenbm25 (body);
DROP INDEX churn_parallel;
SELECT count(*) AS different FROM ranked FULL JOIN (SELECT row_number() OVER () AS n, id FROM
	(SELECT id FROM churn ORDER BY body <@> 'a | b1' LIMIT 700) s) s USING (n) WHERE ranked.id IS DISTINCT FROM s.id;
DROP TABLE ranked;
RESET max_parallel_maintenance_workers;
RESET maintenance_work_mem;
TRUNCATE churn;
SELECT bm25_problems('churn_idx'), documents FROM bm25_stats('churn_idx');
BEGIN;
TRUNCATE churn;
INSERT INTO churn VALUES (1, 'a');
TRUNCATE churn;
INSERT INTO churn VALUES (2, 'a');
SELECT id FROM churn ORDER BY body <@> 'a';
ROLLBACK;
INSERT INTO churn VALUES (3, 'a');
SELECT id FROM churn ORDER BY body <@> 'a';

CREATE TEMP TABLE temporary (id int, body tsvector);
CREATE INDEX temporary_idx ON temporary USING omenbm25 (body) WITH (pending_list_limit = 64);
INSERT INTO temporary SELECT i, ('a:' || repeat('1,', i % 5) || '1 b' || i % 3 || ':2 c' || i)::tsvector FROM generate_series(1, 3000) AS i;
SELECT id FROM temporary ORDER BY body <@> 'c77 | b1' LIMIT 2;
DELETE FROM temporary WHERE id % 2 = 0;
VACUUM temporary;
SELECT id FROM temporary ORDER BY body <@> 'c77 | b1' LIMIT 2;
SELECT bm25_problems('temporary_idx');

-- partitions are ranked by the statistics of all of them
CREATE TABLE parts (id int, body tsvector) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (1000);
CREATE INDEX parts_idx ON parts USING omenbm25 (body);
INSERT INTO parts SELECT i, to_tsvector('simple', 'a' || i % 3 || repeat(' filler', i % 11) || CASE WHEN i < 100 AND i % 2 = 0 THEN ' x' WHEN i % 50 = 0 THEN ' x' ELSE '' END)
	FROM generate_series(1, 900) AS i;
EXPLAIN (COSTS OFF) SELECT id FROM parts ORDER BY body <@> 'x | a1' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM parts ORDER BY body <@> 'x | a1', id LIMIT 5;
CREATE TABLE whole AS SELECT * FROM parts;
CREATE INDEX whole_idx ON whole USING omenbm25 (body);
SELECT count(*) AS different FROM
	(SELECT row_number() OVER () AS n, d FROM (SELECT body <@> 'x | a1' AS d FROM parts ORDER BY body <@> 'x | a1' LIMIT 200) s) a
	FULL JOIN (SELECT row_number() OVER () AS n, d FROM (SELECT body <@> 'x | a1' AS d FROM whole ORDER BY body <@> 'x | a1' LIMIT 200) s) b
	USING (n) WHERE a.d IS DISTINCT FROM b.d;
SELECT id FROM parts_1 ORDER BY body <@> 'x | a1' LIMIT 2;
SELECT bm25_stats('parts_idx');

DROP VIEW docs_view;
DROP TABLE docs, churn, parts, whole;
DROP FUNCTION best;

-- an index that counts by other weights does not find the rows for a query that is ranked by
-- another one, though the server would take either
CREATE TABLE twice (id int, t tsvector);
INSERT INTO twice SELECT i, setweight(to_tsvector('simple', concat_ws(' ', 'a', 'b' || i % 50, CASE WHEN i % 5 = 0 THEN 'b3' END)),
	CASE WHEN i % 3 = 0 THEN 'A' ELSE 'D' END::"char") FROM generate_series(1, 1000) i;
CREATE INDEX twice_1 ON twice USING omenbm25 (t);
CREATE INDEX twice_2 ON twice USING omenbm25 (t) WITH (weights = '{0.1, 0.2, 0.4, 1.0}');
CREATE INDEX twice_3 ON twice USING omenbm25 (t) WITH (weights = '{0.1, 0.2, 0.4, 1.0}') WHERE id < 900;
VACUUM ANALYZE twice;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION pg_temp.ranked_by(query text, condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan text;
	first int;
BEGIN
	EXECUTE format('EXPLAIN (FORMAT json) SELECT id FROM twice WHERE %s ORDER BY t <@> %s LIMIT 1', condition, query) INTO plan;
	EXECUTE format('SELECT id FROM twice WHERE %s ORDER BY t <@> %s LIMIT 1', condition, query) INTO first;
	RETURN format('%s by %s', first, substring(plan FROM '(?:Text Index|Index Name)": "(\w+)'));
END $$;
SELECT query, pg_temp.ranked_by(query, 'true') AS all, pg_temp.ranked_by(query, 'id < 500') AS some, pg_temp.ranked_by(query, 't @@ ''b3''') AS matching,
	pg_temp.ranked_by(query, format('t <@> %s < 0', query)) AS bounded
FROM unnest(ARRAY[$$'b3'::tsquery$$, $$to_bm25query('b3', 'twice_1')$$, $$to_bm25query('b3', 'twice_2')$$, $$to_bm25query('b3', k1 => 2)$$]) query;
PREPARE ranked(tsquery) AS SELECT id FROM twice ORDER BY t <@> $1 LIMIT 1;
PREPARE named(tsquery) AS SELECT id FROM twice ORDER BY t <@> to_bm25query($1, 'twice_2') LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE ranked('b3');
EXECUTE named('b3');
RESET plan_cache_mode;
DEALLOCATE ALL;
SELECT id FROM twice ORDER BY rrf(t <@> 'b3'::tsquery, t <@> to_bm25query('b3', 'twice_2')) LIMIT 1;
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP TABLE twice;
