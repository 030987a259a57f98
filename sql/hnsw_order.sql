-- Every operator class gives the order that its operator gives without it
SET enable_seqscan = off;
SELECT setseed(0.25);
CREATE TABLE points (id int, v vector(6), b bit(40));
INSERT INTO points SELECT i,
	ARRAY[random(), random() - 0.5, random(), random() * 3, random() - 1, random()]::vector,
	(random() * (2^31 - 1))::int::bit(32) || '01010101'
FROM generate_series(1, 600) i;

-- rank of each row by index minus its rank by sorting: all zero if in order
CREATE FUNCTION disorder(kind text, operator text, class text, query text)
RETURNS TABLE (n bigint, displaced bigint) LANGUAGE plpgsql AS $$
DECLARE
	expression text := CASE kind WHEN 'bit' THEN 'b'
		ELSE format('(v::%s(6))', kind) END;
BEGIN
	EXECUTE format('CREATE INDEX disorder_idx ON points USING omenhnsw (%s %s)',
				   expression, class);
	RETURN QUERY EXECUTE format(
		'SELECT count(*), count(*) FILTER (WHERE d <> e) FROM
		 (SELECT %1$s %2$s %3$L AS d, row_number() OVER () AS r FROM
			(SELECT * FROM points ORDER BY %1$s %2$s %3$L LIMIT 15) x) i
		 JOIN (SELECT d AS e, row_number() OVER (ORDER BY d) AS r FROM
			(SELECT %1$s %2$s %3$L AS d FROM points) x) s USING (r)',
		expression, operator, query);
	DROP INDEX disorder_idx;
END $$;

SET omenhnsw.ef_search = 200;
SELECT * FROM disorder('vector', '<->', 'vector_l2_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('vector', '<#>', 'vector_ip_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('vector', '<=>', 'vector_cosine_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('vector', '<+>', 'vector_l1_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('halfvec', '<->', 'halfvec_l2_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('halfvec', '<#>', 'halfvec_ip_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('halfvec', '<=>', 'halfvec_cosine_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('halfvec', '<+>', 'halfvec_l1_ops', '[0.5,0.1,0.5,1,-0.5,0.5]');
SELECT * FROM disorder('sparsevec', '<->', 'sparsevec_l2_ops', '{1:0.5,3:0.5,4:1}/6');
SELECT * FROM disorder('sparsevec', '<#>', 'sparsevec_ip_ops', '{1:0.5,3:0.5,4:1}/6');
SELECT * FROM disorder('sparsevec', '<=>', 'sparsevec_cosine_ops', '{1:0.5,3:0.5,4:1}/6');
SELECT * FROM disorder('sparsevec', '<+>', 'sparsevec_l1_ops', '{1:0.5,3:0.5,4:1}/6');
SELECT * FROM disorder('bit', '<~>', 'bit_hamming_ops', repeat('01', 20));
SELECT * FROM disorder('bit', '<%>', 'bit_jaccard_ops', repeat('01', 20));

-- the same through each quantizer
CREATE INDEX idx ON points USING omenhnsw (v vector_l2_ops) WITH (quantizer = sq8);
SELECT array_agg(id) = (SELECT array_agg(id) FROM
	(SELECT id FROM points ORDER BY (v <-> '[1,0,1,0,0,0]') + 0 LIMIT 10) x)
FROM (SELECT id FROM points ORDER BY v <-> '[1,0,1,0,0,0]' LIMIT 10) x;
DROP INDEX idx;
CREATE INDEX idx ON points USING omenhnsw (v vector_l2_ops) WITH (quantizer = pq);
SELECT array_agg(id) = (SELECT array_agg(id) FROM
	(SELECT id FROM points ORDER BY (v <-> '[1,0,1,0,0,0]') + 0 LIMIT 10) x)
FROM (SELECT id FROM points ORDER BY v <-> '[1,0,1,0,0,0]' LIMIT 10) x;
DROP INDEX idx;
CREATE INDEX idx ON points USING omenhnsw (v vector_l2_ops) WITH (quantizer = none);
SELECT array_agg(id) = (SELECT array_agg(id) FROM
	(SELECT id FROM points ORDER BY (v <-> '[1,0,1,0,0,0]') + 0 LIMIT 10) x)
FROM (SELECT id FROM points ORDER BY v <-> '[1,0,1,0,0,0]' LIMIT 10) x;

DROP TABLE points;
DROP FUNCTION disorder;

-- a LIMIT far beyond ef_search: all its rows, in order
CREATE TABLE many (id int, v vector(4));
INSERT INTO many SELECT i, ARRAY[random(), random(), random(), random()]::vector
FROM generate_series(1, 4000) i;
CREATE INDEX many_idx ON many USING omenhnsw (v vector_l2_ops);
SET omenhnsw.ef_search = 10;
SELECT count(*), count(*) FILTER (WHERE d < before) AS disorder FROM
	(SELECT d, lag(d) OVER (ORDER BY n) AS before FROM
		(SELECT d, row_number() OVER () AS n FROM
			(SELECT v <-> '[0.5,0.5,0.5,0.5]' AS d FROM many
			 ORDER BY v <-> '[0.5,0.5,0.5,0.5]' LIMIT 80 OFFSET 20) x) y) z;
DROP TABLE many;
-- OFFSET alone leaves all rows to come
CREATE TABLE loose (v vector(16));
INSERT INTO loose SELECT array_agg(random())::vector FROM generate_series(1, 1500) i, generate_series(1, 16) GROUP BY i;
CREATE INDEX ON loose USING omenhnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4);
SET enable_sort = off;
SELECT count(*), count(*) FILTER (WHERE d < before) AS disorder FROM
	(SELECT d, lag(d) OVER () AS before FROM
		(SELECT v <-> '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]' AS d FROM loose ORDER BY d OFFSET 20) x) y;
RESET enable_sort;
DROP TABLE loose;

-- Dead rows do not change what is returned, nor how far a query looks
CREATE TABLE churn (id int, v vector(4), n int);
INSERT INTO churn SELECT i, ARRAY[random(), random(), random(), random()]::vector, 0
FROM generate_series(1, 3000) i;
CREATE INDEX ON churn USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON churn (n);
SET omenhnsw.ef_search = 40;
CREATE FUNCTION churn_answers() RETURNS int[] LANGUAGE sql AS $$
	SELECT array_agg(id) FROM (SELECT id FROM churn ORDER BY v <-> '[0.5,0.5,0.5,0.5]' LIMIT 10) x
$$;
CREATE FUNCTION churn_breadth() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan text := '';
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE) SELECT id FROM churn ORDER BY v <-> ''[0.5,0.5,0.5,0.5]'' LIMIT 10' LOOP
		plan := plan || line;
	END LOOP;
	RETURN substring(plan FROM 'ef=\d+');
END $$;
SELECT churn_breadth();
CREATE TABLE churn_before AS SELECT churn_answers() AS ids;
-- another version of each row, in the same node
UPDATE churn SET n = 1;
SELECT churn_breadth(), churn_answers() = ids AS same FROM churn_before;
-- five of the nearest gone: the rest are still found by the same walk
DELETE FROM churn WHERE id IN (SELECT unnest(ids[2:6]) FROM churn_before);
SELECT churn_breadth(), cardinality(churn_answers()), (churn_answers())[1:5] = ids[1:1] || ids[7:10] AS same
FROM churn_before;
DROP TABLE churn, churn_before;
DROP FUNCTION churn_answers, churn_breadth;
