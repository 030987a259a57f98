-- More candidates than the choice of neighbours takes: an insert that visits
-- thousands of nodes, and a vacuum that repairs nodes with hundreds of links.
SET enable_seqscan = off;
SELECT setseed(0.5);
CREATE TABLE wide (id int, v vector(8));
CREATE INDEX ON wide USING omenhnsw (v vector_l2_ops)
	WITH (m = 2, ef_construction = 1000);
INSERT INTO wide SELECT i, ARRAY(SELECT random() FROM generate_series(1, 8)
	WHERE i > 0)::real[]::vector FROM generate_series(1, 1500) i;
SELECT count(*), count(DISTINCT id) FROM
	(SELECT id FROM wide ORDER BY v <-> '[1,2,3,4,5,6,7,8]') s;
CREATE TABLE linked AS SELECT * FROM wide;
CREATE INDEX ON linked USING omenhnsw (v vector_l2_ops)
	WITH (m = 100, ef_construction = 200);
DELETE FROM linked WHERE id % 5 <> 0;
VACUUM linked;
SELECT count(*), count(DISTINCT id) FROM
	(SELECT id FROM linked ORDER BY v <-> '[1,2,3,4,5,6,7,8]') s;
DROP TABLE wide, linked;
