-- The SQL surface of omenbm25: the type bm25query, options, functions, errors.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/explain.sql'
\i :helpers
SET client_min_messages = warning;
CREATE TABLE docs (id int, body tsvector);
INSERT INTO docs SELECT i, to_tsvector('english', b) FROM (VALUES
	(1, 'the quick brown fox'), (2, 'the quick quick fox jumps'),
	(3, 'a lazy dog'), (4, 'dogs and foxes, foxes and dogs')) AS v(i, b);

-- without an index there are no statistics
\set VERBOSITY default
SELECT body <@> 'fox'::tsquery FROM docs;
SELECT body <@> 'fox' FROM docs;
SELECT 'fox'::tsvector <@> 'fox'::bm25query;
\set VERBOSITY terse

CREATE INDEX docs_idx ON docs USING omenbm25 (body);

-- bm25query as text
SELECT q::bm25query FROM (VALUES ('fox'), ('fox & !dog'), ('fox {k1=0.9}'),
	('fox {b = 0.4}'), ('fox {index=docs_idx, k1=2,b=0}'), ('''a{b}'' | c {k1=1}'), ('')) AS v(q);
SELECT 'fox {}'::bm25query;
SELECT 'fox {k2=1}'::bm25query;
SELECT 'fox {k1}'::bm25query;
SELECT 'fox {k1=x}'::bm25query;
SELECT 'fox {k1=-1}'::bm25query;
SELECT 'fox {b=1.5}'::bm25query;
SELECT 'fox {b=NaN}'::bm25query;
SELECT 'fox {index=nothing}'::bm25query;
SELECT 'fox {index=docs}'::bm25query;
SELECT 'fox & {k1=1}'::bm25query;
SELECT q::text::bm25query::text = q::text AS same
	FROM (SELECT to_bm25query('fox | ''{k1=2}''', 'docs_idx', 0.3, 0.7) AS q) s;
SELECT to_bm25query('fox'), to_bm25query('fox', b => 0.5), to_bm25query(NULL) IS NULL AS null;
SELECT to_bm25query('fox', k1 => -1);
SELECT to_bm25query('fox', b => 'Infinity');
SELECT to_bm25query('fox', 'docs');
SELECT to_bm25query('fox', 1);
COPY (SELECT to_bm25query('fox | dog', 'docs_idx', 0.3, 0.7)) TO '/dev/null' (FORMAT binary);

-- the planner binds a query to the index of what is ranked
SET enable_seqscan = off;
SELECT count(*) FROM docs;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, body <@> 'fox'::tsquery FROM docs ORDER BY body <@> 'fox'::tsquery LIMIT 2;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id FROM docs ORDER BY body <@> 'fox {k1=2}' LIMIT 2;
SELECT pg_temp.plan_of($$SELECT id FROM docs ORDER BY body <@> 'fox' DESC$$);
SELECT id, round((body <@> 'fox')::numeric, 6) FROM docs ORDER BY body <@> 'fox';
SELECT id, round((body <@> 'fox | quick')::numeric, 6) FROM docs WHERE body @@ 'fox | quick' ORDER BY body <@> 'fox | quick';

-- parameters: of the query, else of the index
SELECT round((body <@> 'fox {k1=2, b=0}')::numeric, 6) AS of_query,
	round((body <@> 'fox')::numeric, 6) AS of_index FROM docs WHERE id = 2;
ALTER INDEX docs_idx SET (k1 = 2, b = 0);
SELECT round((body <@> 'fox')::numeric, 6) AS of_index FROM docs WHERE id = 2;
SELECT k1, b FROM bm25_stats('docs_idx');
ALTER INDEX docs_idx RESET (k1, b);
SELECT k1, b FROM bm25_stats('docs_idx');

-- options
CREATE INDEX ON docs USING omenbm25 (body) WITH (k1 = -1);
CREATE INDEX ON docs USING omenbm25 (body) WITH (b = 2);
CREATE INDEX ON docs USING omenbm25 (body) WITH (pending_list_limit = 1);
CREATE INDEX ON docs USING omenbm25 (body) WITH (fastupdate = on);
\set VERBOSITY default
CREATE INDEX ON docs USING omenbm25 (body) WITH (weights = '{1,2,3}');
\set VERBOSITY terse
CREATE INDEX ON docs USING omenbm25 (body) WITH (weights = '{0,0,0,0}');
CREATE INDEX ON docs USING omenbm25 (body) WITH (weights = '{1,1,1,-1}');
CREATE INDEX ON docs USING omenbm25 (body) WITH (weights = '{1,1,1,1');
CREATE INDEX ON docs USING omenbm25 (body) WITH (weights = '{1,1,1,1} x');

-- what cannot be indexed so
CREATE INDEX ON docs USING omenbm25 (id);
CREATE INDEX ON docs USING omenbm25 (body, body);
CREATE UNIQUE INDEX ON docs USING omenbm25 (body);
CREATE INDEX ON docs USING omenbm25 (body DESC);
CREATE INDEX ON docs USING omenbm25 (body) INCLUDE (id);

-- weights of classes; each position counts as much as its class
CREATE TABLE fields (id int, body tsvector);
INSERT INTO fields VALUES (1, 'fox:1A'), (2, 'fox:1B'), (3, 'fox:1C'), (4, 'fox:1'),
	(5, 'fox:1,2,3'), (6, 'dog:1A fox:2'), (7, 'dog:1');
CREATE INDEX fields_idx ON fields USING omenbm25 (body) WITH (weights = '{0.1, 0.2, 0.4, 1.0}');
SELECT id, round((body <@> 'fox')::numeric, 6) FROM fields ORDER BY body <@> 'fox', id;
SELECT array_agg(id) FROM (SELECT id FROM fields ORDER BY body <@> 'fox') s;
SELECT average_length FROM bm25_stats('fields_idx');
-- a class that does not count: its rows match, at score 0
CREATE INDEX fields_idx2 ON fields USING omenbm25 (body) WITH (weights = '{0, 1, 1, 1}');
DROP INDEX fields_idx;
SELECT array_agg(id) FROM (SELECT id FROM fields ORDER BY body <@> 'fox') s;
SELECT array_agg(id) FROM (SELECT id FROM fields WHERE body @@ 'fox' ORDER BY body <@> 'fox', id) s;
INSERT INTO fields VALUES (8, 'fox:1'), (9, 'fox:1A,2');
SELECT array_agg(id) FROM (SELECT id FROM fields WHERE body @@ 'fox' ORDER BY body <@> 'fox', id) s;
-- an index cannot rank by the statistics of one that weighs otherwise
CREATE INDEX fields_idx3 ON fields USING omenbm25 (body);
BEGIN;
DROP INDEX fields_idx3;
\set VERBOSITY default
SELECT id FROM fields ORDER BY body <@> to_bm25query('fox', (SELECT 'docs_idx'::regclass)) LIMIT 1;
\set VERBOSITY terse
ROLLBACK;

-- bm25_score() needs no index, only statistics
SELECT bm25_doc_length('a:1,2 b:3A'), bm25_doc_length('a b'), bm25_doc_length('');
SELECT bm25_stats_for('docs_idx', 'fox | cat');
SELECT id, round(bm25_score(body, 'fox | quick', bm25_stats_for('docs_idx', 'fox | quick'))::numeric, 6) AS score,
	bm25_score(body, 'fox | quick', bm25_stats_for('docs_idx', 'fox | quick')) = -(body <@> 'fox | quick') AS same
	FROM docs ORDER BY id;
SELECT round(bm25_score('fox:1', 'fox', (100, 10, '{fox}', '{20}'), k1 => 0.9, b => 0.4)::numeric, 6);
SELECT bm25_score('fox:1', 'fox', (100, 10, '{fox}', '{20,3}'));
SELECT bm25_score('fox:1', 'fox', (100, 0, '{fox}', '{20}'));
SELECT bm25_score('fox:1', 'fox', (100, 10, '{fox}', '{20}'), b => 3);
SELECT bm25_score('fox:1', 'fox', (NULL, 10, '{fox}', '{20}'));

-- statistics of a table, for users of a GIN index
CREATE TABLE plain AS SELECT * FROM docs;
SELECT bm25_stats_for('plain', 'body', 'fox | cat');
ANALYZE plain;
SELECT bm25_stats_for('plain', 'body', 'fox | cat') = bm25_stats_for('docs_idx', 'fox | cat') AS same;
SELECT bm25_stats_for('plain', 'body', '''it''''s'' & f:* & !dog');
SELECT bm25_stats_for('plain', 'nothing', 'fox');
SELECT id FROM plain ORDER BY bm25_score(body, 'fox', bm25_stats_for('plain', 'body', 'fox')) DESC LIMIT 2;
CREATE TABLE empty (body tsvector);
SELECT bm25_stats_for('empty', 'body', 'fox');
DROP TABLE plain, empty;

-- functions that take an index take none of another kind
SELECT bm25_stats('docs');
CREATE INDEX docs_gin ON docs USING gin (body);
SELECT bm25_stats('docs_gin');
SELECT bm25_merge('docs_gin');
SELECT body <@> to_bm25query('fox', 'docs_gin') FROM docs;
SELECT * FROM bm25_stats('docs_idx');

-- nor of an index whose build failed; one without rows is an index
CREATE TABLE broken AS SELECT id, CASE id WHEN 3 THEN '0' ELSE '1' END AS n, body FROM docs;
CREATE INDEX CONCURRENTLY broken_idx ON broken USING omenbm25 (setweight(body, CASE WHEN 1 / n::int > 0 THEN 'A'::"char" END));
SELECT indisvalid FROM pg_index WHERE indexrelid = 'broken_idx'::regclass;
SELECT bm25_stats('broken_idx');
SELECT bm25_problems('broken_idx');
SELECT bm25_merge('broken_idx');
DROP TABLE broken;
CREATE TABLE empty (body tsvector);
CREATE INDEX empty_idx ON empty USING omenbm25 (body);
SELECT documents, average_length, segments, postings FROM bm25_stats('empty_idx');
SELECT bm25_problems('empty_idx') AS problems, bm25_stats_for('empty_idx', 'fox');
SELECT bm25_merge('empty_idx');
SELECT count(*) FROM (SELECT FROM empty ORDER BY body <@> 'fox') x;
DROP TABLE empty;

-- only the owner reorganizes it; what words occur is told to those who may read
CREATE ROLE bm25_stranger;
SET ROLE bm25_stranger;
SELECT bm25_merge('docs_idx');
SELECT bm25_stats('docs_idx');
SELECT to_bm25query('fox', 'docs_idx');
SELECT 'fox {index=docs_idx}'::bm25query;
RESET ROLE;
GRANT SELECT (id) ON docs TO bm25_stranger;
SET ROLE bm25_stranger;
SELECT to_bm25query('fox', 'docs_idx');
RESET ROLE;
GRANT SELECT (body) ON docs TO bm25_stranger;
SET ROLE bm25_stranger;
SELECT to_bm25query('fox', 'docs_idx');
RESET ROLE;
REVOKE ALL ON docs FROM bm25_stranger;
DROP ROLE bm25_stranger;

SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'tsvector_bm25_ops';
DROP TABLE docs, fields;
