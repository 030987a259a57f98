-- Files that are emptied in place, under what a backend keeps of an index:
-- temporary tables at commit, and TRUNCATE in the transaction that made them.
SET enable_seqscan = off;
SELECT setseed(0.5);
CREATE TEMP TABLE passing (id int, v vector(4)) ON COMMIT DELETE ROWS;
CREATE FUNCTION add_near(centre real, n int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO passing SELECT i, ARRAY(SELECT centre + random()
		FROM generate_series(1, 4) WHERE i > 0)::real[]::vector
	FROM generate_series(1, n) i $$;
CREATE TEMP VIEW found AS SELECT count(*), count(DISTINCT id) AS distinct_ids,
	bool_and(d >= before) AS ordered FROM
	(SELECT id, d, lag(d) OVER () AS before FROM
		(SELECT id, v <-> '[0,0,0,0]' AS d FROM passing
		 ORDER BY v <-> '[0,0,0,0]') s) s;
BEGIN;
SELECT add_near(1000, 200);
CREATE INDEX ON passing USING omenhnsw (v vector_l2_ops);
SELECT * FROM found;
COMMIT;
BEGIN;
SELECT * FROM found;
SELECT add_near(0, 100);
SELECT * FROM found;
TRUNCATE passing;
SELECT add_near(-1000, 50);
SELECT * FROM found;
COMMIT;
BEGIN;
CREATE TABLE made (v vector(4));
INSERT INTO made SELECT ARRAY[i, 1000, 1000, 1000]::vector
	FROM generate_series(1, 100) i;
CREATE INDEX ON made USING omenhnsw (v vector_l2_ops);
SELECT v FROM made ORDER BY v <-> '[7,1000,1000,1000]' LIMIT 1;
TRUNCATE made;
INSERT INTO made SELECT ARRAY[i, 0, 0, 0]::vector FROM generate_series(1, 9) i;
SELECT v FROM made ORDER BY v <-> '[7,0,0,0]' LIMIT 1;
-- the name of what is kept is text for the views of memory
SELECT DISTINCT ident FROM pg_backend_memory_contexts
WHERE name = 'omenhnsw index' AND ident ~ 'made';
COMMIT;
DROP VIEW found;
DROP FUNCTION add_near;
DROP TABLE passing, made;
