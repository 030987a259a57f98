-- VACUUM of an index that lost a third of its rows, or was built of few of them,
-- chooses all links anew: all rows are found, each the nearest to itself, and the
-- index is whole.

SET enable_seqscan = off;

CREATE FUNCTION check_links(name text, op text) RETURNS TABLE (total bigint, met bigint, nearest bigint, findings bigint)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT count(*) FROM %I', name) INTO total;
	EXECUTE format('SELECT count(DISTINCT id) FROM (SELECT id FROM %I ORDER BY v %s (SELECT v FROM %1$I WHERE id = 2)) s', name, op) INTO met;
	EXECUTE format('SELECT count(*) FROM %I r WHERE id = (SELECT id FROM %1$I ORDER BY v %s r.v LIMIT 1)', name, op) INTO nearest;
	EXECUTE format('SELECT count(*) FROM omen_verify_index(%L, true)', name || '_idx') INTO findings;
	RETURN NEXT;
END $$;

-- no two are the same, and all are of length 1: by inner product, too, each is the
-- nearest to itself
CREATE FUNCTION unit(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
SELECT l2_normalize(ARRAY(SELECT sin(i * g * 0.7 + g * g) + cos(i * 0.01 * g) FROM generate_series(1, 12) g)::vector)
$$;

CREATE TABLE plain (id int, v vector(12));
INSERT INTO plain SELECT i, unit(i) FROM generate_series(1, 900) i;
CREATE INDEX plain_idx ON plain USING omenhnsw (v vector_l2_ops);
DELETE FROM plain WHERE id % 3 = 0;
VACUUM plain;
SELECT * FROM check_links('plain', '<->');

-- by inner product, with keys, and more rows inserted than there were
CREATE TABLE keyed (id int, kind int, v vector(12));
INSERT INTO keyed SELECT i, i % 7, unit(i) FROM generate_series(1, 300) i;
CREATE INDEX keyed_idx ON keyed USING omenhnsw (v vector_ip_ops, kind);
INSERT INTO keyed SELECT i, i % 7, unit(i) FROM generate_series(301, 900) i;
DELETE FROM keyed WHERE id % 3 = 0;
VACUUM keyed;
SELECT * FROM check_links('keyed', '<#>');
SELECT count(*) FROM (SELECT id FROM keyed WHERE kind = 3 ORDER BY v <#> unit(2)) s;

-- codes of products, and several rows of one value
CREATE TABLE coded (id int, v vector(12));
INSERT INTO coded SELECT i, unit(i / 2) FROM generate_series(1, 900) i;
CREATE INDEX coded_idx ON coded USING omenhnsw (v vector_cosine_ops) WITH (quantizer = pq);
DELETE FROM coded WHERE id % 3 = 0;
VACUUM coded;
SELECT total, met, findings FROM check_links('coded', '<=>');

-- nothing is left, and then there are rows again
DELETE FROM plain;
VACUUM plain;
INSERT INTO plain SELECT i, unit(i) FROM generate_series(1, 200) i;
VACUUM plain;
SELECT * FROM check_links('plain', '<->');

DROP TABLE plain, keyed, coded;
DROP FUNCTION check_links, unit;
