-- Product codes: small slots, exact answers, sound with and without training
SET enable_seqscan = off;
CREATE FUNCTION wave(i int, dims int) RETURNS vector LANGUAGE sql IMMUTABLE AS
$$ SELECT ARRAY(SELECT sin(i * 0.37 * g) + cos(i % 17 * g) FROM generate_series(1, dims) g)::vector $$;

-- is the index used, and are the first ten through it those of a sort?
CREATE FUNCTION agrees(relation regclass, operator text, query text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	near text := format('SELECT v %2$s %3$L AS d FROM %1$s ORDER BY v %2$s %3$L LIMIT 10',
						relation, operator, query);
	line text;
	used boolean := false;
	answer boolean;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || near LOOP
		used := used OR line LIKE '%Index Scan using%';
	END LOOP;
	EXECUTE format(
		'SELECT (SELECT array_agg(d) FROM (%4$s) x) = (SELECT array_agg(d) FROM
		 (SELECT v %2$s %3$L AS d FROM %1$s ORDER BY (v %2$s %3$L) + 0 LIMIT 10) x)',
		relation, operator, query, near) INTO answer;
	RETURN used AND answer;
END $$;
SET omenhnsw.ef_search = 200;

-- built on rows: about half of the vectors' bytes, links and codebook included
CREATE TABLE waves AS SELECT i AS id, wave(i, 200)::vector(200) AS v FROM generate_series(1, 2000) i;
CREATE INDEX waves_idx ON waves USING omenhnsw (v vector_l2_ops) WITH (quantizer = pq);
SELECT id FROM waves ORDER BY v <-> wave(7, 200) LIMIT 1;
SELECT agrees('waves', '<->', wave(7, 200)::text), agrees('waves', '<->', wave(5000, 200)::text);
SELECT pg_relation_size('waves_idx') / 2000 < 450 AS small;

-- equal rows share a node
INSERT INTO waves SELECT 10000 + i, wave(7, 200) FROM generate_series(1, 100) i;
SELECT count(*), min(d), max(d) FROM
	(SELECT v <-> wave(7, 200) AS d FROM waves ORDER BY v <-> wave(7, 200) LIMIT 101) x;

-- every row comes once
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM waves ORDER BY v <-> wave(7, 200)) x;

-- vacuum repairs, inserts go on
DELETE FROM waves WHERE id % 3 <> 1;
VACUUM waves;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM waves ORDER BY v <-> wave(7, 200)) x;
SELECT agrees('waves', '<->', wave(8, 200)::text);
INSERT INTO waves SELECT i, wave(i, 200) FROM generate_series(3001, 3300) i;
SELECT agrees('waves', '<->', wave(3100, 200)::text);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM waves ORDER BY v <-> wave(7, 200)) x;

-- from an empty table: untrained
CREATE TABLE late (id int, v vector(200));
CREATE INDEX late_idx ON late USING omenhnsw (v vector_cosine_ops) WITH (quantizer = pq);
SELECT count(*) FROM (SELECT id FROM late ORDER BY v <=> wave(7, 200)) x;
INSERT INTO late SELECT i, wave(i, 200) FROM generate_series(1, 600) i;
SELECT agrees('late', '<=>', wave(7, 200)::text), agrees('late', '<=>', wave(5000, 200)::text);
REINDEX INDEX late_idx;
SELECT agrees('late', '<=>', wave(7, 200)::text), agrees('late', '<=>', wave(5000, 200)::text);

-- fewer rows than centroids, half vectors, inner product, unlogged
CREATE UNLOGGED TABLE few AS SELECT i AS id, wave(i, 500)::halfvec(500) AS v FROM generate_series(1, 30) i;
CREATE INDEX few_idx ON few USING omenhnsw (v halfvec_ip_ops) WITH (quantizer = pq);
SELECT agrees('few', '<#>', wave(7, 500)::text);
INSERT INTO few SELECT i, wave(i, 500)::halfvec(500) FROM generate_series(31, 300) i;
SELECT agrees('few', '<#>', wave(7, 500)::text), agrees('few', '<#>', wave(5000, 500)::text);

-- values at the limits of floats are rows like others
CREATE TABLE extremes (id int, v vector(20));
INSERT INTO extremes SELECT i, array_fill(10 ^ (i - 40), ARRAY[20])::vector FROM generate_series(1, 78) i;
INSERT INTO extremes VALUES (0, array_fill(0, ARRAY[20])::vector);
CREATE INDEX extremes_idx ON extremes USING omenhnsw (v vector_l2_ops) WITH (quantizer = pq);
SELECT count(*), count(DISTINCT id) FROM
	(SELECT id FROM extremes ORDER BY v <-> array_fill(1, ARRAY[20])::vector) x;
SELECT id FROM extremes ORDER BY v <-> array_fill(1000, ARRAY[20])::vector LIMIT 1;

DROP TABLE waves, late, few, extremes;
DROP FUNCTION agrees;
DROP FUNCTION wave;
