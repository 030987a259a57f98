-- The distance that only the ORDER BY wants is not computed by an index scan
CREATE TABLE items (id int, embedding vector(2));
INSERT INTO items SELECT i, ARRAY[i, i % 7]::vector FROM generate_series(1, 200) i;
CREATE INDEX items_index ON items USING omenhnsw (embedding vector_l2_ops);
VACUUM ANALYZE items;
SET enable_seqscan = off;
SET enable_sort = off;

-- dropped: LIMIT, no LIMIT, FOR UPDATE, a CTE
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id FROM items ORDER BY embedding <-> '[3,1]';
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3 FOR UPDATE;
EXPLAIN (VERBOSE, COSTS OFF)
WITH nearest AS MATERIALIZED (SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3)
SELECT count(*) FROM nearest;

-- kept: somebody reads it
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id, embedding <-> '[3,1]' AS distance FROM items ORDER BY distance LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id FROM items ORDER BY embedding <-> '[3,1]' FETCH FIRST 3 ROWS WITH TIES;

-- kept: the planner forgets that nobody reads it when it pulls up a subquery
EXPLAIN (VERBOSE, COSTS OFF)
SELECT max(id) FROM (SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3) nearest;

-- the answers are the same
SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3;
SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3 FOR UPDATE;
SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY embedding <-> '[3,1]' LIMIT 3) nearest;
SELECT id, embedding <-> '[3,1]' AS distance FROM items ORDER BY distance LIMIT 3;
SELECT id FROM items ORDER BY embedding <-> '[3,1]' FETCH FIRST 3 ROWS WITH TIES;

-- prepared, with a generic plan; a cursor, also backwards over what it holds
SET plan_cache_mode = force_generic_plan;
PREPARE nearest (vector) AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 2;
EXECUTE nearest ('[5,5]');
EXECUTE nearest ('[50,1]');
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM items ORDER BY embedding <-> '[3,1]';
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
COMMIT;
DROP TABLE items;

-- a statement whose planning loads the library is planned once more, if its plan is kept
CREATE TABLE unread_notes (id int, t tsvector);
INSERT INTO unread_notes SELECT i, to_tsvector('simple', 'w' || i % 10) FROM generate_series(1, 100) i;
CREATE INDEX ON unread_notes USING omenbm25 (t);
\c -
SET enable_seqscan = off;
SET enable_sort = off;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(text) AS SELECT id FROM unread_notes ORDER BY t <@> $1::tsquery LIMIT 2;
EXECUTE nearest('w1');
EXPLAIN (VERBOSE, COSTS off) EXECUTE nearest('w1');
DROP TABLE unread_notes;
