-- The TID map leads from every indexed row to its node.
SET statement_timeout = '60s';
CREATE FUNCTION problems(index regclass) RETURNS bigint
	LANGUAGE sql AS 'SELECT omen_tid_map_problems(index)';

-- an index of no rows, then its first ones; equal values share nodes, and
-- lists of TIDs
CREATE TABLE map (id int, n int, v vector(3)) WITH (fillfactor = 70);
CREATE INDEX map_idx ON map USING omenhnsw (v vector_l2_ops);
SELECT problems('map_idx');
INSERT INTO map VALUES (1, 0, '[1,2,3]');
SELECT problems('map_idx');
INSERT INTO map SELECT i, 0, ARRAY[i, i % 7, 0]::vector FROM generate_series(2, 500) i;
INSERT INTO map SELECT i, 0, ARRAY[i % 3, 0, 0]::vector FROM generate_series(501, 1500) i;
INSERT INTO map VALUES (1501, 0, NULL);
SELECT problems('map_idx');

-- the same rows by a build, and more by inserts
REINDEX INDEX map_idx;
SELECT problems('map_idx');
INSERT INTO map SELECT i, 0, ARRAY[i % 5, i % 2, 0]::vector FROM generate_series(1601, 2000) i;
SELECT problems('map_idx');

-- HOT updates, which the index is not told of, and others
UPDATE map SET n = 1 WHERE id % 3 = 0;
SELECT problems('map_idx');
UPDATE map SET v = ARRAY[n, id, 1]::vector WHERE id % 4 = 0;
SELECT problems('map_idx');

-- TIDs of deleted rows come again, for other vectors
VACUUM map;
SELECT problems('map_idx');
SELECT pg_relation_size('map') AS size \gset
DELETE FROM map WHERE id % 5 <> 0;
VACUUM map;
SELECT problems('map_idx');
INSERT INTO map SELECT i, 2, ARRAY[i, i, i % 3]::vector FROM generate_series(3001, 4000) i;
SELECT problems('map_idx');
SELECT pg_relation_size('map') <= :size AS reused;
DELETE FROM map;
VACUUM map;
SELECT problems('map_idx');
INSERT INTO map SELECT i, 3, ARRAY[i % 50, i % 3, 1]::vector FROM generate_series(1, 500) i;
SELECT problems('map_idx');

-- an insert that was broken off leaves its TID to vacuum
BEGIN;
SAVEPOINT one;
INSERT INTO map VALUES (1, 4, '[5,5,5]');
ROLLBACK TO one;
INSERT INTO map VALUES (2, 4, '[5,5,6]');
COMMIT;
SELECT problems('map_idx');
TRUNCATE map;
SELECT problems('map_idx');
INSERT INTO map VALUES (1, 0, '[1,2,3]'), (2, 0, '[1,2,3]');
SELECT problems('map_idx');
DROP TABLE map;

-- a file that is emptied in the transaction that made it
BEGIN;
CREATE TABLE map (v vector(3));
CREATE INDEX map_idx ON map USING omenhnsw (v vector_l2_ops);
INSERT INTO map SELECT ARRAY[i, 1, 1]::vector FROM generate_series(1, 200) i;
TRUNCATE map;
INSERT INTO map SELECT ARRAY[i, 1, 1]::vector FROM generate_series(1, 100) i;
COMMIT;
SELECT problems('map_idx');
DROP TABLE map;

-- narrow rows, many to a page
CREATE TABLE narrow AS SELECT ARRAY[i, i % 7]::vector::vector(2) AS v FROM generate_series(1, 1000) i;
CREATE INDEX narrow_idx ON narrow USING hnsw (v vector_l2_ops);
INSERT INTO narrow SELECT ARRAY[i, i % 7]::vector FROM generate_series(1001, 2000) i;
SELECT max((ctid::text::point)[1]) > 100 AS narrow, problems('narrow_idx') FROM narrow;
DROP TABLE narrow;

-- wide rows, more blocks than a leaf covers; only some of them indexed
CREATE TABLE wide (id int, filler text, v vector(3));
ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
INSERT INTO wide SELECT i, repeat('x', 4000), ARRAY[i, i % 7, 1]::vector FROM generate_series(1, 800) i;
CREATE INDEX wide_idx ON wide USING omenhnsw (v vector_cosine_ops) WHERE id % 3 > 0;
SELECT problems('wide_idx');
INSERT INTO wide SELECT i, repeat('x', 4000), ARRAY[i, i % 7, 1]::vector FROM generate_series(801, 1600) i;
SELECT problems('wide_idx');
SELECT max((ctid::text::point)[0]) > 700 AS wide FROM wide;
SET min_parallel_table_scan_size = 0;
REINDEX INDEX wide_idx;
RESET min_parallel_table_scan_size;
SELECT problems('wide_idx');
DELETE FROM wide WHERE id % 2 = 0;
VACUUM wide;
INSERT INTO wide SELECT i, repeat('x', 4000), ARRAY[i, i % 7, 1]::vector FROM generate_series(2001, 2600) i;
SELECT problems('wide_idx');
REINDEX INDEX CONCURRENTLY wide_idx;
SELECT problems('wide_idx');
DROP TABLE wide;

-- codes longer than a slot; pages of deleted ones are taken for the map
CREATE UNLOGGED TABLE long (v vector(4000));
CREATE INDEX long_idx ON long USING omenhnsw (v vector_l1_ops);
INSERT INTO long SELECT array_fill(i, ARRAY[4000])::vector FROM generate_series(1, 20) i;
DELETE FROM long;
VACUUM long;
INSERT INTO long SELECT array_fill(i, ARRAY[4000])::vector FROM generate_series(1, 40) i;
SELECT problems('long_idx');
DROP TABLE long;

CREATE TEMP TABLE temporary (v bit(5));
CREATE INDEX temporary_idx ON temporary USING omenhnsw (v bit_hamming_ops);
INSERT INTO temporary SELECT i::bit(5) FROM generate_series(1, 300) i;
SELECT problems('temporary_idx');
DROP TABLE temporary;

-- who may ask, and of what
CREATE TABLE map (id int PRIMARY KEY, v vector(3));
CREATE INDEX map_idx ON map USING omenhnsw (v vector_l2_ops);
SELECT omen_tid_map_problems('map');
SELECT omen_tid_map_problems('map_pkey');
SELECT omen_tid_map_problems(0);
SELECT omen_tid_map_problems(NULL);
CREATE ROLE omen_stranger;
SET ROLE omen_stranger;
SELECT omen_tid_map_problems('map_idx');
RESET ROLE;
DROP ROLE omen_stranger;
CREATE TABLE parted (v vector(3)) PARTITION BY RANGE (v);
CREATE INDEX parted_idx ON parted USING omenhnsw (v vector_l2_ops);
SELECT omen_tid_map_problems('parted_idx');
DROP TABLE map, parted;
DROP FUNCTION problems;
