-- Which rows a scan returns: all that are indexed, each once
SET enable_seqscan = off;
SELECT setseed(0.5);

-- many equal vectors share a node: inserted, built, deleted, reused
CREATE TABLE equals (id serial, v vector(8));
CREATE INDEX equals_idx ON equals USING omenhnsw (v vector_l2_ops);
CREATE VIEW drain AS SELECT count(*) AS n, count(DISTINCT id) AS ids FROM
	(SELECT id FROM equals ORDER BY v <-> '[1,2,3,4,5,6,7,8]') x;
INSERT INTO equals (v) SELECT '[1,2,3,4,5,6,7,8]' FROM generate_series(1, 400);
INSERT INTO equals (v) SELECT ARRAY[random(),2,3,4,5,6,7,random()]::vector
FROM generate_series(1, 400);
SELECT * FROM drain;
REINDEX TABLE equals;
SELECT * FROM drain;
DELETE FROM equals WHERE id % 3 = 0;
SELECT * FROM drain;
VACUUM equals;
SELECT * FROM drain;
DELETE FROM equals WHERE id <= 400;
VACUUM equals;
SELECT * FROM drain;
INSERT INTO equals (v) SELECT '[1,2,3,4,5,6,7,8]' FROM generate_series(1, 400);
SELECT * FROM drain;
DELETE FROM equals;
VACUUM equals;
SELECT * FROM drain;
INSERT INTO equals (v) SELECT '[1,2,3,4,5,6,7,8]' FROM generate_series(1, 5);
SELECT * FROM drain;
DROP VIEW drain;
DROP TABLE equals;

-- NULLs and, under cosine, zero vectors are left out
CREATE TABLE gaps (id int, v vector(2));
INSERT INTO gaps VALUES (1, '[0,0]'), (2, '[1,1]'), (3, NULL), (4, '[1,0]');
CREATE INDEX gaps_idx ON gaps USING omenhnsw (v vector_cosine_ops);
INSERT INTO gaps VALUES (5, '[0,0]'), (6, '[0,1]'), (7, NULL);
SELECT id FROM gaps ORDER BY (v <=> '[2,1]') + 0, id;
SELECT id FROM gaps ORDER BY v <=> '[2,1]';
SELECT count(*) FROM (SELECT id FROM gaps ORDER BY v <=> '[0,0]') x;
SELECT count(*) FROM (SELECT id FROM gaps ORDER BY v <=> (SELECT NULL::vector)) x;
DROP INDEX gaps_idx;
CREATE INDEX gaps_idx ON gaps USING omenhnsw (v vector_l2_ops);
SELECT id FROM gaps ORDER BY v <-> '[2,1]';
DROP TABLE gaps;

-- a table full of dead rows fills LIMIT
CREATE TABLE dead (id int, v vector(2)) WITH (autovacuum_enabled = off);
CREATE INDEX dead_idx ON dead USING omenhnsw (v vector_l2_ops);
INSERT INTO dead SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 1000) i;
DELETE FROM dead WHERE id <= 900;
SELECT array_agg(id) FROM (SELECT id FROM dead ORDER BY v <-> '[0,0]' LIMIT 5) x;
SET omenhnsw.ef_search = 1;
SELECT count(*) FROM (SELECT id FROM dead ORDER BY v <-> '[0,0]' LIMIT 50) x;
SET omenhnsw.exhaustive = off;
SELECT count(*) < 50 AS short FROM (SELECT id FROM dead ORDER BY v <-> '[0,0]' LIMIT 50) x;
RESET omenhnsw.exhaustive;
RESET omenhnsw.ef_search;
DROP TABLE dead;

-- few or no rows
CREATE TABLE few (v vector(2));
CREATE INDEX few_idx ON few USING omenhnsw (v vector_l2_ops);
SELECT * FROM few ORDER BY v <-> '[0,0]';
INSERT INTO few VALUES ('[1,2]');
SELECT * FROM few ORDER BY v <-> '[0,0]';
TRUNCATE few;
SELECT * FROM few ORDER BY v <-> '[0,0]';
INSERT INTO few VALUES ('[3,4]');
SELECT * FROM few ORDER BY v <-> '[0,0]';
DROP TABLE few;

-- vectors whose codes differ in nothing are not taken for equal
CREATE TABLE alike (id int, v vector(2));
CREATE INDEX alike_idx ON alike USING omenhnsw (v vector_l2_ops);
INSERT INTO alike SELECT i, ARRAY[1000 + i % 3, 1000 + i / 3]::vector FROM generate_series(0, 8) i;
SELECT v, count(*) OVER () FROM alike ORDER BY v <-> '[20000,9000]';
REINDEX TABLE alike;
SELECT v, count(*) OVER () FROM alike ORDER BY v <-> '[20000,9000]';
DROP TABLE alike;

-- a height beside coordinates of places: the rotation rounds it off, not the tag.
-- Heights up and down differ by their sign only.
CREATE TABLE places (id int, v vector(3));
INSERT INTO places SELECT i, ARRAY[500000, 4649776, (i - 100) / 100.0]::vector FROM generate_series(1, 200) i;
CREATE FUNCTION places_misplaced(quantizer text, out nodes bigint, out misplaced bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE INDEX places_idx ON places USING omenhnsw (v vector_l2_ops) WITH (quantizer = ' || quantizer || ')';
	SELECT s.nodes FROM omen_index_stats('places_idx') s INTO nodes;
	SELECT count(*) FILTER (WHERE d < before) FROM (SELECT d, lag(d) OVER (ORDER BY n) AS before FROM
		(SELECT d, row_number() OVER () AS n FROM
			(SELECT v <-> '[500000,4649776,0.5]' AS d FROM places ORDER BY v <-> '[500000,4649776,0.5]' LIMIT 200) x) y) z INTO misplaced;
	DROP INDEX places_idx;
END $$;
SELECT quantizer, p.* FROM unnest('{auto,sq8,pq}'::text[]) quantizer, places_misplaced(quantizer) p;
DROP FUNCTION places_misplaced;
DROP TABLE places;

-- so do numbers near the largest, which it makes infinite; 0 has one sign
CREATE TABLE places (id int, v vector(2));
INSERT INTO places SELECT i, ARRAY[3e38, i]::vector FROM generate_series(1, 20) i;
INSERT INTO places VALUES (21, '[0,0]'), (22, '[-0,0]');
CREATE INDEX places_idx ON places USING omenhnsw (v vector_l2_ops);
SELECT nodes FROM omen_index_stats('places_idx');
SELECT array_agg(id) FROM (SELECT id FROM places ORDER BY v <-> '[3e38,20]' LIMIT 3) x;
DROP TABLE places;
