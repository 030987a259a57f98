-- omen_estimate_build: sizes within a factor of two of what a build takes
CREATE TABLE items (v vector(128), w vector(768), s sparsevec(1000), b bit(256), big vector(3000));
INSERT INTO items SELECT x::vector(128), array_cat(array_cat(x, x), array_cat(x, array_cat(x, array_cat(x, x))))::vector(768),
	('{' || i % 500 + 1 || ':1,900:' || i || '}/1000')::sparsevec, (i::bit(32) || (i * 7)::bit(224))::bit(256),
	CASE WHEN i <= 50 THEN array_fill(i, ARRAY[3000])::vector END
FROM generate_series(1, 2000) i, LATERAL (SELECT ARRAY(SELECT sin(i * g * 0.37)::real FROM generate_series(1, 128) g) AS x) y;
CREATE INDEX "a" ON items USING omenhnsw (v vector_l2_ops);
CREATE INDEX "b" ON items USING omenhnsw (w vector_cosine_ops);
CREATE INDEX "c" ON items USING omenhnsw (v vector_l2_ops) WITH (m = 40, ef_construction = 200);
CREATE INDEX "d" ON items USING omenhnsw (v vector_l1_ops);
CREATE INDEX "e" ON items USING omenhnsw (s sparsevec_l2_ops);
CREATE INDEX "f" ON items USING omenhnsw (b bit_hamming_ops);
CREATE INDEX "g" ON items USING omenhnsw ((w::halfvec(768)) halfvec_ip_ops) WITH (quantizer = sq8);
CREATE INDEX "h" ON items USING omenhnsw (big vector_l2_ops) WITH (quantizer = none);
CREATE INDEX "i" ON items USING omenhnsw (w vector_l2_ops) WITH (quantizer = pq);
VACUUM ANALYZE items;
SELECT i.indexrelid::regclass AS index, row_count, participants,
	index_size BETWEEN size * 0.7 AND size * 1.4 AS index_size, temporary_files > 0 AS files,
	mapped_memory <= temporary_files AS mapped, private_memory BETWEEN 4e6 AND 4e8 AS memory,
	seconds BETWEEN 1e-6 AND 1e4 AS seconds
FROM pg_index i, omen_estimate_build(i.indexrelid), pg_relation_size(i.indexrelid) AS size
WHERE indrelid = 'items'::regclass ORDER BY 1::text COLLATE "C";

-- the same of indexes that are not there
SELECT name, index_size BETWEEN pg_relation_size(name) * 0.7 AND pg_relation_size(name) * 1.4 AS index_size
FROM (SELECT 'a' AS name, * FROM omen_estimate_build(128, 2000)
	UNION ALL SELECT 'b', * FROM omen_estimate_build(768, 2000, metric => 'cosine')
	UNION ALL SELECT 'c', * FROM omen_estimate_build(128, 2000, m => 40, ef_construction => 200)
	UNION ALL SELECT 'd', * FROM omen_estimate_build(128, 2000, metric => 'L1')
	UNION ALL SELECT 'e', * FROM omen_estimate_build(2, 2000, 'sparsevec')
	UNION ALL SELECT 'f', * FROM omen_estimate_build(256, 2000, 'bit', 'hamming')
	UNION ALL SELECT 'g', * FROM omen_estimate_build(768, 2000, 'halfvec', 'ip', quantizer => 'sq8')
	UNION ALL SELECT 'h', * FROM omen_estimate_build(3000, 50, quantizer => 'none')
	UNION ALL SELECT 'i', * FROM omen_estimate_build(768, 2000, quantizer => 'pq')) x;

-- more rows, more dimensions, fewer workers: more of everything
SELECT b.index_size > 9 * a.index_size AS index_size, b.temporary_files > 8 * a.temporary_files AS files,
	b.seconds > 5 * a.seconds AS seconds
FROM omen_estimate_build(128, 1000000, workers => 0) a, omen_estimate_build(128, 10000000, workers => 0) b;
SELECT b.index_size > 2 * a.index_size AS index_size, b.temporary_files > a.temporary_files AS files
FROM omen_estimate_build(128, 1000000) a, omen_estimate_build(768, 1000000) b;
SELECT participants, private_memory > 3 * 8000000 AS memory FROM omen_estimate_build(128, 1000000, workers => 3);
SET max_parallel_maintenance_workers = 5;
SELECT participants FROM omen_estimate_build(128, 1000000);
RESET max_parallel_maintenance_workers;
SET maintenance_work_mem = '64MB';
SELECT mapped_memory, temporary_files BETWEEN 6e8 AND 25e8 AS files FROM omen_estimate_build(128, 1000000);
SELECT row_count, index_size, seconds < 1 AS short FROM omen_estimate_build(3, 0);
SELECT seconds > 0 FROM omen_estimate_build(16000, 268435455, workers => 0);

-- arguments that are not right
CREATE FUNCTION refuses(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE || ' ' || SQLERRM, nullif(hint, ''));
END $$;
SELECT refuses('SELECT omen_estimate_build(' || a || ')') FROM unnest(ARRAY['0, 1', '16001, 1', '3, -1', '3, 268435456',
	'3, 3, ''text''', '3, 3, metric => ''hamming''', '3, 3, metric => ''manhattan''', '3, 3, ''bit''', '64001, 3, ''bit'', ''jaccard''',
	'3, 3, quantizer => ''bq''', '3, 3, ''sparsevec'', quantizer => ''sq8''', '3, 3, m => 1', '3, 3, m => 101',
	'3, 3, m => 64, ef_construction => 127', '3, 3, ef_construction => 1001', '3, 3, workers => -2', '''items''', '1']) a;
SELECT omen_estimate_build(NULL) IS NULL, omen_estimate_build(3, NULL) IS NULL;

DROP FUNCTION refuses;
DROP TABLE items;
