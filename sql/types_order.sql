-- Sorting, grouping, equality and statistics, also of mixed dimensions

CREATE TABLE mixed (v vector, h halfvec, s sparsevec);
INSERT INTO mixed SELECT x::vector, x::halfvec, x::vector::sparsevec
	FROM (VALUES ('[1,2]'), ('[1]'), ('[1,2,3]'), ('[0,9]'), ('[-1]'), ('[1,2]'), ('[1,1,9]')) AS t (x);
INSERT INTO mixed VALUES (NULL, NULL, NULL);
ANALYZE mixed;
SELECT v FROM mixed ORDER BY v;
SELECT h FROM mixed ORDER BY h DESC;
SELECT s FROM mixed ORDER BY s;
SELECT v, count(*) FROM mixed GROUP BY v ORDER BY v;
SELECT count(DISTINCT h), count(DISTINCT s) FROM mixed;
SELECT DISTINCT ON (vector_dims(v)) v FROM mixed ORDER BY vector_dims(v), v;

SELECT a.v, b.v, a.v < b.v AS lt, a.v <= b.v AS le, a.v = b.v AS eq,
	a.v <> b.v AS ne, a.v >= b.v AS ge, a.v > b.v AS gt
	FROM (VALUES ('[1,2]'::vector), ('[1,2,3]')) a (v), (VALUES ('[1,2]'::vector), ('[2]')) b (v);
-- minus zero is zero
SELECT '[0]'::vector = '[-0]', '[0]'::halfvec = '[-0]';

CREATE UNIQUE INDEX mixed_v ON mixed (v);
DELETE FROM mixed WHERE v = '[1,2]';
CREATE UNIQUE INDEX mixed_v ON mixed (v);
CREATE INDEX mixed_h ON mixed (h);
CREATE INDEX mixed_s ON mixed (s);
INSERT INTO mixed (v) VALUES ('[1]');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM mixed WHERE v = '[1]';
SELECT v FROM mixed WHERE v = '[1]';
SELECT h FROM mixed WHERE h > '[1]' ORDER BY h;
SELECT s FROM mixed WHERE s <= '{1:1}/1' ORDER BY s;
RESET enable_seqscan;

-- merge joins need the operators of one family
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM mixed a JOIN mixed b USING (v);
DROP TABLE mixed;
