-- omen_verify_index(): who may call it, and for which relations
CREATE TABLE verified (id int, v vector(4), body tsvector);
INSERT INTO verified SELECT i, ARRAY[i, i % 7, i % 11, 1]::vector, to_tsvector('simple', 'w' || i % 5 || ' x' || i)
	FROM generate_series(1, 300) AS i;
INSERT INTO verified VALUES (301, NULL, NULL);
CREATE INDEX verified_v ON verified USING omenhnsw (v vector_l2_ops, id);
CREATE INDEX verified_cosine ON verified USING omenhnsw (v vector_cosine_ops) WHERE id % 2 = 0;
CREATE INDEX verified_expression ON verified USING omenhnsw (((v + v)::vector(4)) vector_l2_ops, (id % 3));
CREATE INDEX verified_body ON verified USING omenbm25 (body);
CREATE INDEX verified_id ON verified (id);

-- what is whole has no findings
SELECT * FROM omen_verify_index('verified_v');
SELECT relname, count(invariant) FROM pg_class LEFT JOIN LATERAL omen_verify_index(oid, true) v ON true
	WHERE relname ~ '^verified_[vceb]' GROUP BY relname ORDER BY relname;
SELECT bm25_problems('verified_body'), omen_tid_map_problems('verified_v'), omen_key_problems('verified_v');

-- neither rows of this transaction, nor rows that are deleted or out of date
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM verified;
INSERT INTO verified SELECT id + 1000, v, body FROM verified WHERE id < 50;
DELETE FROM verified WHERE id % 10 = 3;
UPDATE verified SET id = id + 2000 WHERE id % 10 = 4;
UPDATE verified SET v = '[0,0,0,0]' WHERE id % 10 = 5;
UPDATE verified SET body = NULL WHERE id % 10 = 6;
SELECT index, v.* FROM unnest('{verified_v,verified_cosine,verified_expression,verified_body}'::regclass[]) AS index,
	LATERAL omen_verify_index(index, true) AS v;
ROLLBACK;
SELECT index, v.* FROM unnest('{verified_v,verified_cosine,verified_expression,verified_body}'::regclass[]) AS index,
	LATERAL omen_verify_index(index, true) AS v;

-- nodes of equal vectors, told apart by their keys, link to any of them
CREATE TABLE verified_equal AS SELECT i AS id, array_fill((i % 3)::real, ARRAY[4])::vector(4) AS v FROM generate_series(1, 1500) i;
CREATE INDEX verified_equal_v ON verified_equal USING omenhnsw (v vector_l2_ops, id) WITH (m = 4);
SELECT * FROM omen_verify_index('verified_equal_v', true);
DROP TABLE verified_equal;

-- what does not agree with the table
BEGIN;
CREATE FUNCTION twice(vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = public
	AS 'BEGIN RETURN $1 + $1; END';
CREATE INDEX verified_twice ON verified USING omenhnsw ((twice(v)::vector(4)) vector_l2_ops);
SELECT count(*) FROM omen_verify_index('verified_twice', true);
CREATE OR REPLACE FUNCTION twice(vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = public
	AS 'BEGIN RETURN $1 + $1 + $1; END';
SELECT severity, invariant, count(*), bool_and(block IS NOT NULL OR invariant = 'more') AS block, min(detail)
	FROM omen_verify_index('verified_twice', true) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM omen_verify_index('verified_twice');
ROLLBACK;

-- empty, unlogged, temporary
CREATE TABLE verified_empty (v vector(3), body tsvector);
CREATE INDEX verified_empty_v ON verified_empty USING omenhnsw (v vector_ip_ops);
CREATE INDEX verified_empty_body ON verified_empty USING omenbm25 (body);
CREATE UNLOGGED TABLE verified_unlogged (v vector(3), body tsvector);
INSERT INTO verified_unlogged VALUES ('[1,2,3]', 'a b');
CREATE INDEX verified_unlogged_v ON verified_unlogged USING omenhnsw (v vector_ip_ops);
CREATE INDEX verified_unlogged_body ON verified_unlogged USING omenbm25 (body);
CREATE TEMP TABLE verified_temp (v vector(3), body tsvector);
INSERT INTO verified_temp VALUES ('[1,2,3]', 'a b');
CREATE INDEX verified_temp_v ON verified_temp USING omenhnsw (v vector_ip_ops);
CREATE INDEX verified_temp_body ON verified_temp USING omenbm25 (body);
INSERT INTO verified_temp VALUES ('[1,2,4]', 'a c');
SELECT index, v.* FROM unnest('{verified_empty_v,verified_empty_body,verified_unlogged_v,verified_unlogged_body,verified_temp_v,verified_temp_body}'::regclass[]) AS index,
	LATERAL omen_verify_index(index, true) AS v;

-- options that were changed since
ALTER INDEX verified_v SET (ef_construction = 99);
SELECT * FROM omen_verify_index('verified_v');
REINDEX INDEX verified_v;
SELECT * FROM omen_verify_index('verified_v');

-- other relations
CREATE TABLE verified_parts (id int, v vector(3)) PARTITION BY HASH (id);
CREATE INDEX verified_parts_v ON verified_parts USING omenhnsw (v vector_l2_ops);
SELECT * FROM omen_verify_index('verified_parts_v');
SELECT * FROM omen_verify_index('verified_id');
SELECT * FROM omen_verify_index('verified');
SELECT * FROM omen_verify_index(1);
SELECT * FROM omen_verify_index(NULL);
SELECT * FROM omen_verify_index('verified_v', NULL);

-- an index that could not be built
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'verified_cosine'::regclass;
SELECT * FROM omen_verify_index('verified_cosine');
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'verified_cosine'::regclass;

-- only owners of the index who were allowed to
CREATE ROLE omen_verify_owner;
CREATE ROLE omen_verify_other;
ALTER TABLE verified OWNER TO omen_verify_owner;
SET ROLE omen_verify_owner;
SELECT * FROM omen_verify_index('verified_v');
RESET ROLE;
GRANT EXECUTE ON FUNCTION omen_verify_index(regclass, boolean) TO omen_verify_owner, omen_verify_other;
SET ROLE omen_verify_owner;
SELECT * FROM omen_verify_index('verified_v', true);
SET ROLE omen_verify_other;
SELECT * FROM omen_verify_index('verified_v');
SELECT bm25_problems('verified_body');
RESET ROLE;

-- expressions are evaluated as the owner
CREATE FUNCTION whose(vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
	RAISE NOTICE 'as %', current_user;
	RETURN $1;
END $$;
CREATE TABLE verified_whose (v vector(2));
INSERT INTO verified_whose VALUES ('[1,2]');
ALTER TABLE verified_whose OWNER TO omen_verify_owner;
CREATE INDEX verified_whose_v ON verified_whose USING omenhnsw ((whose(v)::vector(2)) vector_l2_ops);
SELECT * FROM omen_verify_index('verified_whose_v', true);

DROP TABLE verified, verified_empty, verified_unlogged, verified_temp, verified_parts, verified_whose;
DROP FUNCTION whose(vector);
REVOKE EXECUTE ON FUNCTION omen_verify_index(regclass, boolean) FROM omen_verify_owner, omen_verify_other;
DROP ROLE omen_verify_owner, omen_verify_other;
