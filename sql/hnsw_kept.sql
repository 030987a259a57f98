-- What a session keeps of indexes stays within omendb.kept_memory, but for those
-- in use; and what was forgotten is read anew.
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE many (part int, id int, v vector(8), t tsvector) PARTITION BY LIST (part);
SELECT format('CREATE TABLE many_%s PARTITION OF many FOR VALUES IN (%s)', i, i)
FROM generate_series(1, 20) i \gexec
INSERT INTO many SELECT i % 20 + 1, i, ARRAY[sin(i), sin(i * 2), sin(i * 3), sin(i * 4),
	sin(i * 5), sin(i * 6), sin(i * 7), sin(i * 8)]::vector, array_to_tsvector(ARRAY['x', 'w' || i % 7])
FROM generate_series(1, 4000) i;
CREATE INDEX ON many USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON many USING omenbm25 (t);
CREATE VIEW kept AS SELECT count(*) FILTER (WHERE name = 'omenhnsw index') AS vector_indexes,
	count(*) FILTER (WHERE name = 'omenbm25 index') AS text_indexes,
	coalesce(sum(total_bytes), 0) AS bytes FROM pg_backend_memory_contexts
WHERE name IN ('omenhnsw index', 'omenhnsw entries', 'omenbm25 index');
-- by each of the indexes alone: whether the nearest row is found
CREATE FUNCTION ask_all() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	found int;
	good bigint := 0;
BEGIN
	FOR i IN 1..20 LOOP
		EXECUTE format('SELECT id FROM many_%s ORDER BY v <-> (SELECT v FROM many_%1$s WHERE id = %s) LIMIT 1',
			i, i + 99) INTO found;
		good := good + (found = i + 99)::int;
		EXECUTE format('SELECT id %% 7 FROM many_%s ORDER BY t <@> ''w3'' LIMIT 1', i) INTO found;
		good := good + (found = 3)::int;
	END LOOP;
	RETURN good;
END $$;
SELECT ask_all();
SELECT vector_indexes, text_indexes FROM kept;
-- a limit that some of them fit
SET omendb.kept_memory = '200kB';
SELECT ask_all();
SELECT bytes BETWEEN 50 * 1024 AND 200 * 1024 AS some, vector_indexes BETWEEN 2 AND 15 AS vectors,
	text_indexes BETWEEN 2 AND 15 AS texts FROM kept;
-- what was used last is what is kept
SELECT count(*) FROM pg_backend_memory_contexts
WHERE name = 'omenhnsw index' AND ident ~ '^many_20_';
-- a scan of all at once leaves no more
SELECT id FROM many ORDER BY v <-> (SELECT v FROM many WHERE id = 77) LIMIT 1;
SELECT bytes <= 200 * 1024 AS within FROM kept;
-- nor does one that was broken off, once something else is asked for
SET omendb.kept_memory = '64MB';
SELECT 1 / (count(*) - 50) FROM
	(SELECT id FROM many ORDER BY v <-> (SELECT v FROM many WHERE id = 77) LIMIT 50) s;
SELECT vector_indexes FROM kept;
SET omendb.kept_memory = '200kB';
SELECT ask_all();
SELECT bytes <= 200 * 1024 AS within FROM kept;
-- nothing that a scan uses is forgotten while others come and go
SET omendb.kept_memory = 0;
BEGIN;
DECLARE nearest CURSOR FOR SELECT id, row_number() OVER () AS place FROM
	(SELECT id FROM many ORDER BY v <-> (SELECT v FROM many WHERE id = 77)) s;
FETCH 1 FROM nearest;
SELECT ask_all();
SELECT vector_indexes, text_indexes < 5 AS few_texts FROM kept;
MOVE 100 IN nearest;
SELECT ask_all();
CREATE FUNCTION fetch_all() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	nearest refcursor := 'nearest';
	found int;
	place int;
	n bigint := 0;
BEGIN
	LOOP
		FETCH nearest INTO found, place;
		EXIT WHEN found IS NULL;
		n := n + 1;
		ASSERT place = n + 101;
	END LOOP;
	RETURN n;
END $$;
SELECT fetch_all();
COMMIT;
SELECT 1 FROM many_1 ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 1;
SELECT vector_indexes, text_indexes FROM kept;
-- insertions
INSERT INTO many SELECT i % 20 + 1, i, ARRAY[i, 1, 1, 1, 1, 1, 1, 1]::real[]::vector, 'y'
FROM generate_series(5000, 5100) i;
SELECT id FROM many ORDER BY v <-> '[5050,1,1,1,1,1,1,1]' LIMIT 3;
SELECT count(*) FROM many WHERE t @@ 'y';
-- what grows as rows are inserted is measured, too, where others are asked meanwhile
SET omendb.kept_memory = 0;
SELECT 1 FROM many_1 ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 1;
SET omendb.kept_memory = '200kB';
DO $$ BEGIN
	FOR i IN 2..20 LOOP
		EXECUTE format('INSERT INTO many_%s VALUES (%1$s, 6000, ''[6000,1,1,1,1,1,1,%1$s]'', ''z'')', i);
		PERFORM id FROM many_1 ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 1;
	END LOOP;
END $$;
SELECT bytes <= 200 * 1024 AS within, vector_indexes > 1 AS some FROM kept;
DROP VIEW kept;
DROP FUNCTION ask_all, fetch_all;
DROP TABLE many;
