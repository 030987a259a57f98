-- omen_recall: what part of the true neighbours an index finds
CREATE TABLE items (id int, v vector(16));
INSERT INTO items SELECT i, ARRAY(SELECT sin(i * g * 0.37)::real FROM generate_series(1, 16) g)::vector FROM generate_series(1, 1000) i;
INSERT INTO items SELECT 1000 + i, NULL FROM generate_series(1, 10) i;
CREATE INDEX items_idx ON items USING omenhnsw (v vector_l2_ops);
SELECT omen_recall('items_idx') BETWEEN 0.9 AND 1;
SELECT omen_recall('items_idx', k => 1, samples => 20) BETWEEN 0.8 AND 1;
SELECT omen_recall('items_idx', 100, 10) BETWEEN 0.9 AND 1;
SELECT omen_recall('items_idx', samples => 100000) BETWEEN 0.9 AND 1;

-- it is the present ef_search that is measured
SET omenhnsw.exhaustive = off;
SET omenhnsw.ef_search = 1;
SELECT omen_recall('items_idx', 10, 1000) < 0.5 AS narrow;
SET omenhnsw.ef_search = 1000;
SELECT omen_recall('items_idx', 10, 1000) > 0.99 AS wide;
RESET omenhnsw.ef_search;
ALTER INDEX items_idx SET (ef_search = 1);
SELECT omen_recall('items_idx', 10, 1000) < 0.5 AS narrow;
ALTER INDEX items_idx RESET (ef_search);
RESET omenhnsw.exhaustive;

-- more neighbours than there are rows; no row; one row; rows that are not visible
CREATE TABLE few (id int, v vector(2));
CREATE INDEX few_idx ON few USING omenhnsw (v vector_cosine_ops);
SELECT omen_recall('few_idx');
INSERT INTO few VALUES (1, '[1,2]');
SELECT omen_recall('few_idx');
INSERT INTO few VALUES (2, '[0,0]'), (3, NULL);
SELECT omen_recall('few_idx');
INSERT INTO few SELECT i, ARRAY[i, 1]::vector FROM generate_series(4, 8) i;
SELECT omen_recall('few_idx', 10, 10);
DELETE FROM few WHERE id > 5;
UPDATE few SET v = '[5,6]' WHERE id = 1;
UPDATE few SET id = id + 100;
SELECT omen_recall('few_idx', 10, 10);
BEGIN;
INSERT INTO few SELECT i, ARRAY[cos(i), sin(i)]::vector FROM generate_series(100, 200) i;
SELECT omen_recall('few_idx', 3, 10) > 0.9;
ROLLBACK;
SELECT omen_recall('few_idx', 3, 10);

-- equal rows: any of them will do
CREATE TABLE equal_rows AS SELECT ARRAY[i % 3, 1]::vector(2) AS v FROM generate_series(1, 300) i;
CREATE INDEX equal_idx ON equal_rows USING omenhnsw (v vector_l2_ops);
SELECT omen_recall('equal_idx', 50, 20);

-- partial and expression indexes, every type and metric
CREATE TABLE "Odd name" ("The id" int, v vector(8), h halfvec(8), s sparsevec(8), b bit(8));
INSERT INTO "Odd name" SELECT i, w, w::halfvec, w::sparsevec, binary_quantize(w) FROM (SELECT i,
	ARRAY(SELECT sin(i * g * 0.37)::real FROM generate_series(1, 8) g)::vector AS w FROM generate_series(1, 300) i) x;
CREATE INDEX "a" ON "Odd name" USING omenhnsw (v vector_ip_ops) WHERE "The id" % 3 = 0;
CREATE INDEX "b B" ON "Odd name" USING omenhnsw ((v::halfvec(8)) halfvec_cosine_ops);
CREATE INDEX "c" ON "Odd name" USING omenhnsw (h halfvec_l1_ops);
CREATE INDEX "d" ON "Odd name" USING omenhnsw (s sparsevec_l2_ops);
CREATE INDEX "e" ON "Odd name" USING omenhnsw (b bit_hamming_ops);
CREATE INDEX "f" ON "Odd name" USING omenhnsw ((binary_quantize(v)::bit(8)) bit_jaccard_ops) WHERE "The id" > 100;
SELECT i.indexrelid::regclass AS index, omen_recall(i.indexrelid, 5, 50) > 0.9 AS recall
FROM pg_index i WHERE indrelid = '"Odd name"'::regclass ORDER BY 1::text COLLATE "C";

-- arguments out of range
SELECT omen_recall('items_idx', 0);
SELECT omen_recall('items_idx', 1001);
SELECT omen_recall('items_idx', 10, 0);
SELECT omen_recall('items_idx', 10, 100001);
SELECT omen_recall(NULL) IS NULL;

-- row-level security
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY small ON items USING (id < 10);
CREATE ROLE omen_reader;
GRANT SELECT ON items TO omen_reader;
SELECT omen_recall('items_idx') > 0.9;
SET ROLE omen_reader;
CREATE FUNCTION pg_temp.refuses(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' / ', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT pg_temp.refuses('SELECT omen_recall(''items_idx'')');
RESET ROLE;

-- an index's own functions run as the table's owner, and change nothing after
CREATE FUNCTION who(vector) RETURNS vector(16) LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN IF current_setting(''omen.who'', true) = ''nobody'' THEN ASSERT current_user = ''omen_owner''; END IF;
	PERFORM set_config(''work_mem'', ''1MB'', false); RETURN $1; END';
CREATE ROLE omen_owner;
CREATE TABLE owned AS SELECT v FROM items WHERE id < 50;
CREATE INDEX owned_idx ON owned USING omenhnsw ((who(v)::vector(16)) vector_l2_ops);
GRANT CREATE ON SCHEMA public TO omen_owner;
ALTER TABLE owned OWNER TO omen_owner;
SET omen.who = 'nobody';
RESET work_mem;
SELECT omen_recall('owned_idx', 3, 3);
SELECT current_setting('work_mem') <> '1MB' AS work_mem, current_user = session_user AS "user";

DROP TABLE items, few, equal_rows, "Odd name", owned;
DROP FUNCTION pg_temp.refuses, who;
REVOKE ALL ON SCHEMA public FROM omen_owner;
DROP ROLE omen_reader, omen_owner;
