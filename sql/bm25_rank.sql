-- The order by <@> and its scores are those of BM25 as computed by SQL over all
-- rows: by falling score, and by TID where scores are equal.
SET client_min_messages = warning;
SELECT setseed(0.3);
CREATE TABLE docs (id int, body tsvector) WITH (autovacuum_enabled = off);
CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (pending_list_limit = 64);

CREATE FUNCTION add_docs(first int, last int) RETURNS void LANGUAGE sql AS $$
INSERT INTO docs
SELECT i, (SELECT to_tsvector('simple', string_agg('w' || floor(150 * power(random(), 2)), ' '))
	FROM generate_series(1, 1 + i * 7919 % 60))
FROM generate_series(first, last) AS i
$$;

-- Document's score is positive here
CREATE FUNCTION sql_bm25(lexemes text[], k1 float8, b float8)
RETURNS TABLE (id int, score float8) LANGUAGE sql STABLE AS $$
WITH d AS MATERIALIZED (
	SELECT docs.id, ctid, body, (SELECT coalesce(sum(coalesce(cardinality(positions), 1)), 0) FROM unnest(body)) AS len
	FROM docs WHERE body IS NOT NULL),
n AS (SELECT count(*)::float8 AS n, avg(len)::float8 AS avgdl FROM d),
tf AS (SELECT d.id, ctid, len, lexeme, coalesce(cardinality(positions), 1)::float8 AS tf
	FROM d, unnest(body) WHERE lexeme = ANY (lexemes)),
df AS (SELECT lexeme, count(*)::float8 AS df FROM tf GROUP BY lexeme)
SELECT tf.id, sum(ln(1 + (n - df + 0.5) / (df + 0.5)) * (k1 + 1) * tf
	/ (tf + k1 * (1 - b + b * len / avgdl))) AS score
FROM tf JOIN df USING (lexeme), n GROUP BY tf.id, ctid ORDER BY score DESC, ctid
$$;

-- Ranks rows of random queries in both ways; what differs, which is nothing.
-- Rounding may turn the order of rows of almost equal scores.
CREATE FUNCTION differences(queries int, k1 float8 DEFAULT 1.2, b float8 DEFAULT 0.75)
RETURNS TABLE (query tsquery, wanted int, got int, wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	lexemes text[];
	ids int[];
	scores float8[];
	true_ids int[];
	true_scores float8[];
	part int := coalesce(current_setting('check.part', true)::int, 1);
BEGIN
	SET LOCAL enable_seqscan = off;
	FOR i IN 1 .. greatest(queries / part, 2) LOOP
		SELECT array_agg(DISTINCT 'w' || floor(155 * power(random(), 1 + i % 2))) INTO lexemes
			FROM generate_series(1, 1 + i % 6);
		SELECT string_agg(l, ' | ')::tsquery INTO query FROM unnest(lexemes) l;
		wanted := (ARRAY[1, 3, 10, 100, 2000])[1 + i % 5];
		SELECT array_agg(s.id), array_agg(s.score) INTO ids, scores
			FROM (SELECT docs.id, -(body <@> to_bm25query(query, NULL, k1, b)) AS score FROM docs
				ORDER BY body <@> to_bm25query(query, NULL, k1, b) LIMIT wanted) s WHERE s.score > 0;
		SELECT array_agg(s.id), array_agg(s.score) INTO true_ids, true_scores
			FROM (SELECT * FROM sql_bm25(lexemes, k1, b) LIMIT wanted) s;
		got := coalesce(cardinality(ids), 0);
		SELECT count(*) INTO wrong FROM unnest(ids, scores, true_ids, true_scores) AS u(was, s, expected, es)
			WHERE was IS NULL OR expected IS NULL OR abs(s - es) > 1e-5
				OR (was <> expected AND NOT EXISTS (SELECT FROM unnest(true_ids, true_scores) AS v(vi, vs)
					WHERE vi = was AND abs(vs - s) < 1e-9)
					AND es <> true_scores[cardinality(true_scores)]);
		IF wrong > 0 THEN RETURN NEXT; END IF;
	END LOOP;
END
$$;

SELECT * FROM differences(5);
SELECT add_docs(1, 150);
SELECT segments, pending_documents FROM bm25_stats('docs_idx');
SELECT * FROM differences(30);
SELECT add_docs(151, 2500);
SELECT segments > 1 AS several, pending_documents > 0 AS pending FROM bm25_stats('docs_idx');
SELECT * FROM differences(40);
SELECT * FROM differences(10, 0.9, 0.4);
SELECT * FROM differences(10, 0, 0.75);
SELECT * FROM differences(10, 2, 1);
SELECT * FROM differences(10, 5, 0);

-- what was deleted counts until a merge leaves it out
DELETE FROM docs WHERE id % 9 = 0;
UPDATE docs SET body = body || 'w3 w1000'::tsvector WHERE id % 25 = 1;
SELECT add_docs(2501, 2600);
VACUUM (INDEX_CLEANUP ON) docs;
SELECT dead_documents > 0 AS dead FROM bm25_stats('docs_idx');
SELECT bm25_merge('docs_idx');
SELECT documents, dead_documents, segments,
	abs(average_length - (SELECT avg(bm25_doc_length(body)) FROM docs)) < 1e-9 AS length
	FROM bm25_stats('docs_idx');
SELECT * FROM differences(40);
SELECT add_docs(2601, 3000);
SELECT * FROM differences(20);
SELECT bm25_problems('docs_idx');

-- built in one run, and in many
REINDEX INDEX docs_idx;
SELECT * FROM differences(20);
SELECT add_docs(3001, 25000);
SET maintenance_work_mem = '1MB';
REINDEX INDEX docs_idx;
SELECT bm25_problems('docs_idx');
SELECT * FROM differences(5);
RESET maintenance_work_mem;

-- documents that need several pages, and one that is too long for 16 bits
TRUNCATE docs;
INSERT INTO docs SELECT i, (SELECT to_tsvector('simple', string_agg('word' || g * i % (1000 * i), ' '))
	FROM generate_series(1, 2500 * i) AS g) || to_tsvector('simple', 'w1 w' || i)
	FROM generate_series(1, 6) AS i;
INSERT INTO docs SELECT 7, to_tsvector('simple', string_agg('word' || g % 400, ' '))
	FROM generate_series(1, 90000) AS g;
UPDATE docs SET body = (SELECT string_agg('''long' || i || ''':' || p, ' ')
	FROM generate_series(1, 300) AS i,
	(SELECT string_agg(n::text, ',') AS p FROM generate_series(1, 255) AS n) AS s)::tsvector WHERE id = 7;
SELECT id, bm25_doc_length(body) FROM docs ORDER BY id;
VACUUM (INDEX_CLEANUP ON) docs;
SET enable_seqscan = off;
SELECT id, round((body <@> 'w1 | w3')::numeric, 9) FROM docs ORDER BY body <@> 'w1 | w3';
SELECT id, round(score::numeric, 9) FROM sql_bm25('{w1,w3}', 1.2, 0.75);
SELECT id, round((body <@> 'long3 | word7')::numeric, 9) AS pending FROM docs ORDER BY body <@> 'long3 | word7' LIMIT 4;
SELECT bm25_merge('docs_idx');
SELECT bm25_problems('docs_idx');
SELECT id, round((body <@> 'long3 | word7')::numeric, 9) AS merged FROM docs ORDER BY body <@> 'long3 | word7' LIMIT 4;
REINDEX INDEX docs_idx;
SELECT id, round((body <@> 'long3 | word7')::numeric, 9) AS built FROM docs ORDER BY body <@> 'long3 | word7' LIMIT 4;
SELECT id, round(score::numeric, 9) FROM sql_bm25('{long3,word7}', 1.2, 0.75) LIMIT 4;

-- many of these, by their weights: none takes a look at all of them
CREATE TABLE weighty AS SELECT i AS id, ('a:' || p || ' b:' || p || ' c:' || p || ' d' || i % 7
	|| CASE WHEN i % 3 = 0 THEN '' ELSE ' e:' || left(p, 4 + i % 200 * 5) END)::tsvector AS body
FROM generate_series(1, 3000) AS i, (SELECT string_agg(n::text, ',') AS p FROM generate_series(1000, 1254) AS n) AS s;
CREATE INDEX weighty_idx ON weighty USING omenbm25 (body) WITH (weights = '{100, 100, 100, 100}');
SELECT bm25_problems('weighty_idx');
CREATE TABLE ranked AS SELECT array_agg(id) AS by_index
FROM (SELECT id FROM weighty ORDER BY body <@> 'a | d3 | e' LIMIT 500) s;
SET enable_indexscan = off;
SET enable_seqscan = on;
SELECT by_index = ARRAY(SELECT id FROM weighty ORDER BY body <@> 'a | d3 | e', ctid LIMIT 500) AS alike FROM ranked;
RESET enable_indexscan;
SET enable_seqscan = off;
CREATE FUNCTION pages_read(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || query INTO plan;
	RETURN jsonb_path_query_first(plan::jsonb, 'strict $.** ? (@.type() == "object" && exists (@."Postings"))."Pages"');
END
$$;
SELECT pages_read('SELECT id FROM weighty ORDER BY body <@> ''a | d3 | e'' LIMIT 500') < 2000 AS few;
DROP TABLE weighty, ranked;
DROP FUNCTION pages_read;

-- rows without any of the lexemes come last, by TID; NULLs are not in the index
TRUNCATE docs;
INSERT INTO docs SELECT i, ('w' || i % 7)::tsvector FROM generate_series(1, 20) AS i;
INSERT INTO docs VALUES (21, ''), (22, 'w3:1,2,3');
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> 'w3') s;
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> 'nothing') s;
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> '') s;
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> NULL::bm25query) s;
SELECT bm25_merge('docs_idx');
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> 'w3') s;
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> NULL::bm25query) s;

-- a segment without any lexeme
CREATE TABLE empty (body tsvector);
CREATE INDEX empty_idx ON empty USING omenbm25 (body);
INSERT INTO empty SELECT '' FROM generate_series(1, 3);
SELECT bm25_merge('empty_idx');
SELECT bm25_problems('empty_idx'), documents, segments FROM bm25_stats('empty_idx');
SELECT ctid, body <@> 'w3 | w:*' AS distance FROM empty ORDER BY body <@> 'w3 | w:*';
DROP TABLE empty;

-- what stands under NOT does not count, positions and classes do not either
SELECT id, body <@> 'w3 & !w4' = body <@> 'w3' AS same FROM docs WHERE id IN (3, 4, 22) ORDER BY id;
SELECT id, body <@> 'w3:A <-> w4' = body <@> 'w3 | w4' AS same FROM docs WHERE id IN (3, 4, 22) ORDER BY id;
-- a prefix stands for all lexemes that begin with it
SELECT count(*) FROM docs WHERE body <@> 'w:*' <> body <@> 'w0 | w1 | w2 | w3 | w4 | w5 | w6';
SELECT array_agg(id) FROM (SELECT id FROM docs ORDER BY body <@> 'w3:*' LIMIT 4) s;

DROP TABLE docs;
DROP FUNCTION add_docs, sql_bm25, differences;

-- Rows that are deleted count until VACUUM; then the number of documents is that
-- of the living, and lexemes and lengths are taken to be as common among them as among
-- all; a merge knows better
CREATE TABLE mortal (id int, body tsvector) WITH (autovacuum_enabled = off);
INSERT INTO mortal SELECT i, to_tsvector('simple', repeat('old ', 3) || 'all w' || i) FROM generate_series(1, 100) i;
INSERT INTO mortal SELECT i, to_tsvector('simple', 'new all w' || i) FROM generate_series(101, 1000) i;
CREATE INDEX mortal_idx ON mortal USING omenbm25 (body);
CREATE VIEW mortal_stats AS SELECT s.documents, dead_documents, round(s.average_length::numeric, 3) AS average_length, segments,
	lexemes, frequencies FROM bm25_stats('mortal_idx') s, bm25_stats_for('mortal_idx', 'old | new | all');
SELECT * FROM mortal_stats;
DELETE FROM mortal WHERE id <= 100;
SELECT * FROM mortal_stats;
VACUUM mortal;
SELECT * FROM mortal_stats;
SELECT id, round((body <@> 'old | w500')::numeric, 6) AS score FROM mortal ORDER BY body <@> 'old | w500', id LIMIT 2;
SELECT bm25_merge('mortal_idx');
SELECT * FROM mortal_stats;
DELETE FROM mortal;
VACUUM mortal;
SELECT * FROM mortal_stats;
INSERT INTO mortal VALUES (1, 'all:1');
SELECT id, round((body <@> 'all')::numeric, 6) AS score FROM mortal ORDER BY body <@> 'all';
DROP TABLE mortal CASCADE;

-- The index of what is ranked is found where an outer join or grouping sets may make the
-- columns NULL, and where they are what rows are grouped by
CREATE TABLE leaves (id int, body text, tsv tsvector);
INSERT INTO leaves SELECT i, 'oak ' || i % 5, to_tsvector('simple', 'elm ' || i % 5) FROM generate_series(1, 20) i;
CREATE INDEX ON leaves USING omenbm25 (to_tsvector('simple', body));
CREATE INDEX ON leaves USING omenbm25 (tsv);
SELECT count(to_tsvector('simple', body) <@> 'oak'), count(tsv <@> 'elm') FROM generate_series(1, 30) g LEFT JOIN leaves ON id = g;
SELECT count(doc <@> 'oak') FROM generate_series(1, 30) g LEFT JOIN (SELECT id, to_tsvector('simple', body) AS doc FROM leaves) x ON id = g;
SELECT g FROM generate_series(18, 30) g LEFT JOIN leaves ON id = g ORDER BY to_tsvector('simple', body) <@> '3', g LIMIT 2;
SELECT body FROM leaves GROUP BY body ORDER BY to_tsvector('simple', body) <@> '3' LIMIT 1;
SELECT tsv FROM leaves GROUP BY tsv ORDER BY tsv <@> '3' LIMIT 1;
SELECT count(*) FROM (SELECT tsv FROM leaves GROUP BY tsv OFFSET 0) x WHERE tsv <@> '3' < 0;
SELECT (SELECT count(*) FROM generate_series(1, 2) WHERE to_tsvector('simple', body) <@> '3' < 0) AS n, body FROM leaves GROUP BY body ORDER BY 2;
SELECT third, sum(to_tsvector('simple', body) <@> '3') < 0 AS found, count(tsv <@> 'elm')
FROM (SELECT *, id % 3 AS third FROM leaves) x GROUP BY ROLLUP (third) ORDER BY third;
-- and where RETURNING says of which row, as since 18
CREATE VIEW leaves_docs AS SELECT id, to_tsvector('simple', body) AS doc FROM leaves;
SELECT CASE WHEN current_setting('server_version_num')::int >= 180000 THEN 'old.' ELSE '' END AS version \gset
UPDATE leaves SET id = 21 WHERE id = 1 RETURNING to_tsvector('simple', :version body) <@> 'oak' < 0 AS doc, :version tsv <@> 'elm' < 0 AS tsv;
UPDATE leaves_docs SET id = 1 WHERE id = 21 RETURNING :version doc <@> 'oak' < 0 AS doc;
DROP TABLE leaves CASCADE;
