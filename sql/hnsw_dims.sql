-- Vectors longer than a page: their codes go on in chains of pages
SET enable_seqscan = off;
SELECT setseed(0.75);
CREATE TABLE long (id serial, v vector(16000));
INSERT INTO long (v) SELECT array_agg(random() - 0.5)::vector
FROM generate_series(1, 12) i, generate_series(1, 16000) GROUP BY i;
CREATE INDEX l2 ON long USING omenhnsw (v vector_l2_ops);
CREATE INDEX cosine ON long USING omenhnsw (v vector_cosine_ops);
CREATE INDEX l1 ON long USING omenhnsw (v vector_l1_ops);
CREATE INDEX half ON long USING omenhnsw ((v::halfvec(16000)) halfvec_l2_ops);
CREATE INDEX sparse ON long USING omenhnsw ((v::sparsevec(16000)) sparsevec_l2_ops);
INSERT INTO long (v) SELECT array_agg(random() - 0.5)::vector
FROM generate_series(1, 8) i, generate_series(1, 16000) GROUP BY i;

CREATE FUNCTION finds(expression text, operator text)
RETURNS TABLE (self bigint, rows bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format(
		'SELECT (SELECT count(*) FROM long a WHERE id = (SELECT id FROM long b
			ORDER BY %1$s %2$s (SELECT %1$s FROM long c WHERE c.id = a.id) LIMIT 1)),
		 (SELECT count(DISTINCT id) FROM (SELECT id FROM long
			ORDER BY %1$s %2$s (SELECT %1$s FROM long c LIMIT 1)) x)',
		expression, operator);
END $$;
SELECT * FROM finds('v', '<->');
SELECT * FROM finds('v', '<=>');
SELECT * FROM finds('v', '<+>');
SELECT * FROM finds('(v::halfvec(16000))', '<->');
SELECT * FROM finds('(v::sparsevec(16000))', '<->');
DELETE FROM long WHERE id % 2 = 0;
VACUUM long;
SELECT * FROM finds('v', '<->');
SELECT * FROM finds('v', '<+>');
SELECT * FROM finds('(v::sparsevec(16000))', '<->');

-- what vacuum freed is used again
SELECT pg_relation_size('l1') AS before \gset
INSERT INTO long (v) SELECT array_agg(random() - 0.5)::vector
FROM generate_series(1, 10) i, generate_series(1, 16000) GROUP BY i;
SELECT pg_relation_size('l1') <= :before * 1.05 AS reused;
SELECT * FROM finds('v', '<+>');
DROP FUNCTION finds;
DROP TABLE long;

-- the longest bit string, and one that is its own link code
CREATE TABLE bits (id int, b bit(64000));
INSERT INTO bits SELECT i, repeat('0', 64000)::bit(64000)
	FROM generate_series(1, 3) i;
INSERT INTO bits SELECT i, (repeat('10', i * 1000) || repeat('0', 64000 - i * 2000))::bit(64000)
	FROM generate_series(4, 20) i;
CREATE INDEX ON bits USING omenhnsw (b bit_hamming_ops);
SELECT id FROM bits ORDER BY b <~> (repeat('10', 7000) || repeat('0', 50000))::bit(64000) LIMIT 3;
DROP TABLE bits;

-- an index outlives its column's number of dimensions; it takes no others
CREATE DOMAIN embedding AS vector(3);
CREATE TABLE loose (id int, v vector(3), w vector(3), h halfvec(3), s sparsevec(3), b bit(3));
INSERT INTO loose SELECT i, ARRAY[i, 0, 0]::vector, ARRAY[i, 0, 0]::vector, ARRAY[i, 0, 0]::halfvec, ARRAY[i, 0, 0]::sparsevec, i::bit(3)
	FROM generate_series(1, 7) i;
CREATE INDEX loose_v ON loose USING omenhnsw (v vector_l2_ops);
CREATE INDEX loose_w ON loose USING omenhnsw (w vector_l2_ops);
CREATE INDEX loose_h ON loose USING omenhnsw (h halfvec_l2_ops);
CREATE INDEX loose_s ON loose USING omenhnsw (s sparsevec_l2_ops);
CREATE INDEX loose_b ON loose USING omenhnsw (b bit_hamming_ops);
ALTER TABLE loose ALTER v TYPE vector, ALTER w TYPE embedding, ALTER h TYPE halfvec, ALTER s TYPE sparsevec, ALTER b TYPE varbit;
INSERT INTO loose VALUES (8, '[8,0,0]', '[8,0,0]', '[8,0,0]', '{1:8}/3', '000');
DELETE FROM loose WHERE id = 2;
VACUUM loose;
SELECT ARRAY(SELECT id FROM loose ORDER BY v <-> '[8,0,0]' LIMIT 2) AS v, ARRAY(SELECT id FROM loose ORDER BY w <-> '[8,0,0]' LIMIT 2) AS w,
	ARRAY(SELECT id FROM loose ORDER BY h <-> '[8,0,0]' LIMIT 2) AS h, ARRAY(SELECT id FROM loose ORDER BY s <-> '{1:8}/3' LIMIT 2) AS s,
	ARRAY(SELECT id FROM loose ORDER BY b <~> B'000' LIMIT 1) AS b;
SELECT f.* FROM unnest('{loose_v,loose_w,loose_h,loose_s,loose_b}'::regclass[]) i, omen_verify_index(i, true) f;
INSERT INTO loose (v) VALUES ('[1,2]');
SELECT id FROM loose ORDER BY v <-> '[1,2]' LIMIT 1;
REINDEX INDEX loose_v;
DROP TABLE loose;
DROP DOMAIN embedding;
