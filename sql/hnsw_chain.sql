-- Codes longer than a page: the pages of deleted ones are used again, for
-- nodes as for the rest of codes.
SET enable_seqscan = off;
SET statement_timeout = '60s';
SELECT setseed(0.5);
CREATE TABLE long (id int, v vector(4000));
CREATE FUNCTION add_long(n int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO long SELECT i, ARRAY(SELECT random()
		FROM generate_series(1, 4000) WHERE i > 0)::real[]::vector
	FROM generate_series(1, n) i $$;
CREATE INDEX long_idx ON long USING omenhnsw (v vector_l1_ops);
SELECT add_long(30);
SELECT pg_relation_size('long_idx') AS size \gset
DELETE FROM long;
VACUUM long;
SELECT add_long(30);
DELETE FROM long;
VACUUM long;
SELECT add_long(30);
SELECT count(*), count(DISTINCT id) FROM
	(SELECT id FROM long ORDER BY v <+> (SELECT v FROM long LIMIT 1)) s;
SELECT pg_relation_size('long_idx') <= 1.1 * :size AS reused;
SELECT s.id = q.id AS same FROM long q,
	LATERAL (SELECT id FROM long t ORDER BY t.v <+> q.v LIMIT 1) s
GROUP BY 1;
DROP FUNCTION add_long;
DROP TABLE long;
