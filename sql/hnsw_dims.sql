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
