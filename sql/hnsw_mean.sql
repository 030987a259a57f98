-- An index that was created on a table with few rows or none takes the mean of the
-- first nodes: where coordinates lie far from zero and near each other, the nearest
-- rows are found as by an index that was built on all of them.

SET enable_seqscan = off;

-- no two are the same; each coordinate is "centre", give or take one
CREATE FUNCTION near(centre float, dims int, i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
SELECT ARRAY(SELECT centre + sin(i * g * 0.7 + g * g) * cos(i * 0.01 * g) FROM generate_series(1, dims) g)::vector
$$;

-- what is found of that which is nearest to the first rows, and to some others
CREATE FUNCTION check_near(name text, op text, OUT total bigint, OUT met bigint, OUT recall numeric, OUT findings bigint)
LANGUAGE plpgsql AS $$
DECLARE
	ask text := format('SELECT array_agg(ARRAY(SELECT id FROM %I ORDER BY v %s q.v LIMIT 10)) FROM %1$I q WHERE id %% 97 = 1 OR id BETWEEN 1 AND 32', name, op);
	found int[];
	exact int[];
BEGIN
	EXECUTE format('SELECT count(*) FROM %I', name) INTO total;
	EXECUTE format('SELECT count(DISTINCT id) FROM (SELECT id FROM %I ORDER BY v %s (SELECT v FROM %1$I WHERE id = 2)) s', name, op) INTO met;
	EXECUTE ask INTO found;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_seqscan = on;
	EXECUTE ask INTO exact;
	RESET enable_indexscan;
	SET LOCAL enable_seqscan = off;
	recall := (SELECT avg((found[a:a][1:10] @> exact[a:a][b:b])::int) FROM generate_series(1, array_length(exact, 1)) a, generate_series(1, 10) b);
	EXECUTE format('SELECT count(*) FROM omen_verify_index(%L, true)', name || '_idx') INTO findings;
END $$;

CREATE FUNCTION try(type text, dims int, ops text, op text, centre float, options text DEFAULT '', rows int DEFAULT 1200)
RETURNS TABLE (whole bool, good bool, sound bool) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE tried (id int, kind int, v %s(%s))', type, dims);
	EXECUTE format('CREATE INDEX tried_idx ON tried USING omenhnsw (v %s) %s', ops, options);
	EXECUTE format('INSERT INTO tried SELECT i, i %% 3, near($1, $2, i)::%s FROM generate_series(1, %s) i', type, rows) USING centre, dims;
	RETURN QUERY SELECT met = total, recall >= 0.95, findings = 0 FROM check_near('tried', op);
	DROP TABLE tried;
END $$;

SELECT * FROM try('vector', 2, 'vector_l2_ops', '<->', 1000);
SELECT * FROM try('vector', 3, 'vector_l2_ops', '<->', 100000);
SELECT * FROM try('vector', 12, 'vector_l2_ops', '<->', 0);
SELECT * FROM try('vector', 12, 'vector_ip_ops', '<#>', 1000);
SELECT * FROM try('vector', 12, 'vector_cosine_ops', '<=>', 20);
SELECT * FROM try('halfvec', 4, 'halfvec_l2_ops', '<->', 40);
SELECT * FROM try('vector', 12, 'vector_l2_ops', '<->', 1000, 'WITH (quantizer = sq8)');
SELECT * FROM try('vector', 12, 'vector_l2_ops', '<->', 1000, 'WITH (quantizer = pq)');
SELECT * FROM try('vector', 12, 'vector_l2_ops', '<->', 1000, 'WITH (m = 2, ef_construction = 4)', 30);
SELECT * FROM try('vector', 500, 'vector_l2_ops', '<->', 1000, '', 300);
-- a mean of three pages; one of four is not taken
SELECT whole, sound FROM try('vector', 6000, 'vector_l2_ops', '<->', 0, '', 60);
SELECT whole, sound FROM try('vector', 6200, 'vector_l2_ops', '<->', 0, '', 60);

-- a few rows were there, which say nothing of the others, and come again
CREATE TABLE few (id int, kind int, v vector(3));
INSERT INTO few SELECT -i, 0, '[0,0,0]' FROM generate_series(1, 5) i;
INSERT INTO few SELECT -i, 0, near(1000, 3, i) FROM generate_series(6, 20) i;
CREATE INDEX few_idx ON few USING omenhnsw (v vector_l2_ops, kind);
INSERT INTO few SELECT i, i % 3, near(1000, 3, i) FROM generate_series(1, 1200) i;
INSERT INTO few SELECT 5000 + i, 0, near(1000, 3, i) FROM generate_series(1, 40) i;
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('few', '<->');
SELECT count(*) FROM few WHERE v = near(1000, 3, 7);
SELECT count(*) FROM (SELECT id FROM few WHERE kind = 1 ORDER BY v <-> near(1000, 3, 9)) s;
SELECT id FROM (SELECT id, v <-> near(1000, 3, 6) AS d FROM few ORDER BY v <-> near(1000, 3, 6) LIMIT 3) s WHERE d = 0 ORDER BY id;

-- those of before go, and come back to where they were
DELETE FROM few WHERE id < 100;
VACUUM few;
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('few', '<->');
INSERT INTO few SELECT i, i % 3, near(1000, 3, i) FROM generate_series(1, 99) i;
VACUUM few;
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('few', '<->');
UPDATE few SET kind = kind + 1 WHERE id < 50;
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('few', '<->');

-- a vector that is far longer than the others, among the first or as the one that
-- makes them enough
CREATE TABLE lone (id int, kind int, v vector(12));
CREATE INDEX lone_idx ON lone USING omenhnsw (v vector_l2_ops);
INSERT INTO lone SELECT i, 0, CASE i WHEN 7 THEN near(-1e7, 12, i) ELSE near(1, 12, i) END FROM generate_series(1, 1200) i;
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('lone', '<->');
TRUNCATE lone;
INSERT INTO lone SELECT i, 0, CASE i WHEN 32 THEN near(-1e20, 12, i) ELSE near(1000, 12, i) END FROM generate_series(1, 1200) i;
SELECT met = total AS whole, recall >= 0.9 AS good, findings FROM check_near('lone', '<->');

-- and of an index that is built
TRUNCATE lone;
DROP INDEX lone_idx;
INSERT INTO lone SELECT i, 0, near(CASE i WHEN 7 THEN -1e9 ELSE 0 END, 12, i) FROM generate_series(1, 3000) i;
CREATE INDEX lone_idx ON lone USING omenhnsw (v vector_l2_ops);
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('lone', '<->');

-- a cursor from before the mean is taken sees what it saw
CREATE TABLE held (id int, kind int, v vector(3));
CREATE INDEX held_idx ON held USING omenhnsw (v vector_l2_ops);
INSERT INTO held SELECT i, 0, near(1000, 3, i) FROM generate_series(1, 20) i;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM held ORDER BY v <-> near(1000, 3, 4);
FETCH 1 FROM c;
INSERT INTO held SELECT i, 0, near(1000, 3, i) FROM generate_series(21, 600) i;
MOVE ALL FROM c;
COMMIT;
SELECT met = total AS whole, recall >= 0.95 AS good, findings FROM check_near('held', '<->');

DROP TABLE few, lone, held;
DROP FUNCTION try, check_near, near;
