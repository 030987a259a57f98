-- Key columns: conditions on them reach the index, which returns exactly the
-- rows that meet them
SET timezone = 'Europe/Berlin';
SET extra_float_digits = 0;
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE keys (id int PRIMARY KEY, v vector(3), b bool, i2 int2, i4 int4, i8 int8, o oid,
	f4 float4, f8 float8, d date, ti time, ts timestamp, tz timestamptz, u uuid,
	t text, c text COLLATE "C", vc varchar(20), p percent,
	a2 int2[], a4 int4[], a8 int8[], at text[], au uuid[]);
CREATE FUNCTION fill(low int, high int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO keys SELECT i, ARRAY[sin(i), cos(i * 1.3), sin(i * 0.7)]::vector,
		i % 2 = 0, i % 7 - 3, i % 11 - 5, (i % 5 - 2) * 3000000000, i % 4 + (i % 2)::int8 * 3000000000,
		CASE i % 9 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-Infinity' ELSE (i % 9 - 5) * 0.1 END,
		CASE i % 9 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-Infinity' ELSE (i % 9 - 5) * 0.1 END,
		CASE i % 13 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN '5000000-01-01' ELSE date '2024-03-25' + i % 13 END,
		time '00:00' + i % 24 * interval '1 hour',
		CASE i % 17 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE timestamp '2024-03-29 12:00' + i % 17 * interval '6 hours' END,
		CASE i % 17 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE timestamptz '2024-03-29 12:00' + i % 17 * interval '6 hours' END,
		('00000000-0000-0001-' || lpad((i % 3)::text, 4, '0') || '-00000000000' || i % 4)::uuid,
		CASE i % 6 WHEN 0 THEN '' ELSE repeat('ab', i % 6) || i % 3 END,
		CASE i % 6 WHEN 0 THEN '' ELSE repeat('ab', i % 6) || i % 3 END,
		CASE i % 6 WHEN 0 THEN '' ELSE repeat('ab', i % 6) || i % 3 END, i % 101,
		ARRAY[i % 7, i % 3], ARRAY[i % 7, NULL, i % 30], CASE i % 4 WHEN 0 THEN '{}'::int8[] ELSE ARRAY[i % 7, i % 5, i % 200] END,
		ARRAY['tag' || i % 7, 'long tag number ' || i % 30],
		ARRAY[('00000000-0000-0000-0000-00000000000' || i % 4)::uuid]
	FROM generate_series(low, high) i;
	INSERT INTO keys (id, v) SELECT i + 100000, ARRAY[cos(i), 1, i]::vector FROM generate_series(low, high, 10) i;
$$;
SELECT fill(1, 300);

-- at most eight keys to an index
CREATE INDEX keys_1 ON keys USING omenhnsw (v vector_l2_ops, b, i2, i4, i8, o, f4, f8);
CREATE INDEX keys_2 ON keys USING hnsw (v vector_ip_ops, d, ti, ts, tz, u);
CREATE INDEX keys_3 ON keys USING omenhnsw (v vector_cosine_ops, t, c, vc, p);
CREATE INDEX keys_4 ON keys USING omenhnsw (v vector_l1_ops, a2, a4, a8, at, au);
SELECT fill(301, 600);
CREATE TABLE orders AS SELECT * FROM (VALUES ('keys_1', '<->'), ('keys_2', '<#>'), ('keys_3', '<=>'), ('keys_4', '<+>')) AS o (index, operator);

-- '' if a query by the index returns the same rows as one without, and checks
-- the condition nowhere else than in the index
CREATE FUNCTION fault(index text, qual text, indexed bool DEFAULT true) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	operator text;
	line text;
	conds int := 0;
	filters int := 0;
	here int[];
	there int[];
	query text;
BEGIN
	SELECT o.operator INTO operator FROM orders o WHERE o.index = fault.index;
	query := format('SELECT id FROM keys WHERE %s ORDER BY v %s ''[0.3,0.2,0.1]''', qual, operator);
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true), set_config('enable_indexscan', 'off', true);
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s) x', query) INTO there;
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true);
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s) x', query) INTO here;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		conds := conds + (line LIKE '%Index Cond%')::int;
		filters := filters + (line LIKE '%Filter%' OR line LIKE '%Sort%')::int;
	END LOOP;
	IF here IS DISTINCT FROM there THEN
		RETURN format('%s: %s rows instead of %s', qual, cardinality(here), cardinality(there));
	ELSIF indexed <> (conds = 1 AND filters = 0) THEN
		RETURN format('%s: %s index conditions, %s filters', qual, conds, filters);
	END IF;
	RETURN '';
END $$;

-- each type, with constants of its own and of other types
CREATE TABLE constants (index text, key text, type text, constants text[]);
INSERT INTO constants VALUES
	('keys_1', 'b', 'bool', '{true,false}'),
	('keys_1', 'i2', 'int2', '{-3,0,3,-32768,32767}'), ('keys_1', 'i2', 'int4', '{-3,2,-2000000000,2000000000}'),
	('keys_1', 'i2', 'int8', '{1,-9223372036854775808,9223372036854775807}'),
	('keys_1', 'i4', 'int2', '{-5,5,0}'), ('keys_1', 'i4', 'int4', '{-5,5,0,-2147483648,2147483647}'),
	('keys_1', 'i4', 'int8', '{-5,5,0,-3000000000,3000000000}'),
	('keys_1', 'i8', 'int2', '{0,1,-1}'), ('keys_1', 'i8', 'int4', '{0,1}'),
	('keys_1', 'i8', 'int8', '{0,3000000000,-6000000000,-9223372036854775808,9223372036854775807}'),
	('keys_1', 'o', 'oid', '{0,3,3000000001,4294967295}'),
	('keys_1', 'f4', 'float4', '{0,-0,0.1,NaN,Infinity,-Infinity}'), ('keys_1', 'f4', 'float8', '{0,0.1,0.100000001490116,NaN,1e300}'),
	('keys_1', 'f8', 'float4', '{0,-0,0.1,NaN}'), ('keys_1', 'f8', 'float8', '{0,-0,0.1,NaN,Infinity,-Infinity}'),
	('keys_2', 'd', 'date', '{2024-03-31,infinity,-infinity,5000000-01-01,4714-11-24 BC}'),
	('keys_2', 'd', 'timestamp', '{2024-03-31,2024-03-31 00:00:01,2024-03-30 23:59:59,infinity,-infinity,294276-12-31 23:59:59,4714-11-24 BC,1999-12-31 12:00}'),
	('keys_2', 'd', 'timestamptz', '{2024-03-31,2024-03-31 03:00:00,2024-03-31 00:00:00+05,infinity,-infinity,294276-12-31 23:59:59,4714-11-25 BC}'),
	('keys_2', 'ti', 'time', '{00:00,12:00,24:00,12:00:00.000001}'),
	('keys_2', 'ts', 'date', '{2024-03-31,infinity,-infinity,5000000-01-01,294276-12-31,4714-11-24 BC}'),
	('keys_2', 'ts', 'timestamp', '{2024-03-31,2024-03-30 12:00,infinity,-infinity}'),
	('keys_2', 'ts', 'timestamptz', '{2024-03-31,2024-03-31 03:00,infinity,-infinity,294276-12-31 23:59:59,4714-11-25 BC}'),
	('keys_2', 'tz', 'date', '{2024-03-31,2024-04-01,infinity,-infinity,5000000-01-01,294276-12-31,4714-11-24 BC}'),
	('keys_2', 'tz', 'timestamp', '{2024-03-31,2024-03-31 02:30,infinity,-infinity,294276-12-31 23:59:59,4714-11-25 BC}'),
	('keys_2', 'tz', 'timestamptz', '{2024-03-31,2024-03-31 03:00,infinity,-infinity}'),
	('keys_2', 'u', 'uuid', '{00000000-0000-0001-0001-000000000002,00000000-0000-0001-0000-000000000009,00000000-0000-0002-0000-000000000000}'),
	('keys_3', 't', 'text', '{"",ab,ab1,ababab0,abababab1,ababababab2,abababab,b}'),
	('keys_3', 'c', 'text', '{"",ab,ab1,ababab0,abababab1,ababababab2,abababab,b}'),
	('keys_3', 'vc', 'varchar', '{"",ab,ab1,ababab0,abababab1,ababababab2,abababab,b}'),
	('keys_3', 'p', 'int4', '{0,50,100,101}');
SELECT index, key, type, count(*), string_agg(nullif(fault(index, format('%I %s %L::%s', key, operator, constant, type)), ''), '; ') AS faults
	FROM constants, unnest(constants) constant, unnest('{<,<=,=,>=,>}'::text[]) operator
	GROUP BY index, key, type ORDER BY index, key, type;

-- ranges, lists and NULLs
SELECT index, key, type, count(*), string_agg(nullif(fault(index, qual), ''), '; ') AS faults
	FROM constants, unnest(ARRAY[
		format('%I = ANY (%L::%s[])', key, constants, type),
		format('%I = ANY (%L::%s[])', key, array_append(constants, NULL), type),
		format('%I = ANY (%L::%s[])', key, '{NULL}', type),
		format('%I = ANY (%L::%s[])', key, '{}', type),
		format('%I < ANY (%L::%s[])', key, constants, type),
		format('%I >= ANY (%L::%s[])', key, constants, type),
		format('%I IS NULL', key),
		format('%I IS NOT NULL', key),
		format('%I = (SELECT NULL::%s)', key, type),
		format('%I >= %L::%s AND %1$I <= %4$L::%3$s', key, constants[1], type, constants[2]),
		format('%I > %L::%s AND %1$I IS NULL', key, constants[1], type)]) qual
	GROUP BY index, key, type ORDER BY index, key, type;
SELECT fault('keys_1', 'b'), fault('keys_1', 'NOT b'), fault('keys_1', 'b IS TRUE'),
	fault('keys_1', 'i4 IN (1, 2, 5) AND f8 < 0.3 AND b'), fault('keys_1', 'i4 BETWEEN 1 AND 3 AND i2 IS NOT NULL AND o > 2'),
	fault('keys_3', 'c LIKE ''abab%''', false), fault('keys_3', 't LIKE ''abab%''', false),
	fault('keys_3', 'v IS NOT NULL AND t = ''ab1''');

-- arrays
SELECT key, count(*), string_agg(nullif(fault('keys_4', format('%I %s %L', key, operator, constant)), ''), '; ') AS faults
	FROM (VALUES ('a2', '{}'), ('a2', '{1}'), ('a2', '{6,2}'), ('a2', '{9,NULL}'), ('a2', '{1,1,1}'), ('a2', '{NULL}'),
		('a4', '{}'), ('a4', '{29}'), ('a4', '{3,17}'), ('a4', '{3,NULL}'), ('a4', '{{1,2},{3,4}}'),
		('a8', '{}'), ('a8', '{199}'), ('a8', '{3,17}'), ('a8', '{1,2,3,4,5,6}'),
		('at', '{}'), ('at', '{tag1}'), ('at', '{tag1,"long tag number 3"}'), ('at', '{x,NULL}'),
		('au', '{}'), ('au', '{00000000-0000-0000-0000-000000000003,00000000-0000-0000-0000-000000000009}')) AS c (key, constant),
		unnest('{&&,@>}'::text[]) operator
	GROUP BY key ORDER BY key;

-- labels at the ends of their type, arrays without any, without all, and none
CREATE TABLE labels (id int, l int2[], v vector(2));
INSERT INTO labels SELECT i, (ARRAY['{-32768,32767}', '{32767}', '{-32768}', '{}', '{NULL}', NULL, '{0,-1}', '{-32767,32766}']::text[])[i % 8 + 1]::int2[],
	ARRAY[i, i % 7]::vector FROM generate_series(1, 800) i;
CREATE INDEX labels_v ON labels USING omenhnsw (v vector_l2_ops, l);
SET enable_seqscan = off;
SELECT wanted, (SELECT count(*) FROM (SELECT FROM labels WHERE l && wanted::int2[] ORDER BY v <-> '[1,1]') x) AS overlap,
	(SELECT count(*) FROM (SELECT FROM labels WHERE l @> wanted::int2[] ORDER BY v <-> '[1,1]') x) AS contain
FROM unnest(ARRAY['{-32768}', '{32767}', '{-32768,32767}', '{}', '{NULL}', '{0}', '{-1,32766}', NULL]) wanted;
EXPLAIN (COSTS OFF) SELECT id FROM labels WHERE l && '{-32768}' ORDER BY v <-> '[1,1]' LIMIT 5;
SELECT count(*) FROM (SELECT FROM labels WHERE l IS NULL ORDER BY v <-> '[1,1]') x;
RESET enable_seqscan;
SELECT wanted, (SELECT count(*) FROM labels WHERE l && wanted::int2[]) AS overlap, (SELECT count(*) FROM labels WHERE l @> wanted::int2[]) AS contain
FROM unnest(ARRAY['{-32768}', '{32767}', '{-32768,32767}', '{}', '{NULL}', '{0}', '{-1,32766}', NULL]) wanted;
DROP TABLE labels;

-- NULL vectors are not in the index, and not looked for there
INSERT INTO keys (id, i4) VALUES (-1, 1), (-2, 2);
EXPLAIN (COSTS OFF) SELECT id FROM keys WHERE v IS NULL AND i4 = 1 ORDER BY v <-> '[1,1,1]';
SELECT id FROM keys WHERE v IS NULL AND i4 = 1 ORDER BY v <-> '[1,1,1]';
SET enable_seqscan = off;
SELECT id FROM keys WHERE v IS NULL AND i4 = 1 ORDER BY v <-> '[1,1,1]';
EXPLAIN (COSTS OFF) SELECT id FROM keys WHERE i4 = 1 ORDER BY v <-> '[1,1,1]' LIMIT 3;

-- a distance that is no number: all rows that meet the condition
SELECT count(*) FROM (SELECT id FROM keys WHERE i4 = 1 AND v IS NOT NULL ORDER BY v <-> NULL::vector) x;
SELECT count(*) FROM keys WHERE i4 = 1 AND v IS NOT NULL;

-- equal vectors of different keys: a node for each of them
CREATE TABLE twins (id int, k int, v vector(2));
INSERT INTO twins SELECT i, nullif(i % 10, 9), '[1,1]' FROM generate_series(1, 2000) i;
INSERT INTO twins SELECT i, i, '[2,2]' FROM generate_series(10001, 11000) i;
CREATE INDEX twins_idx ON twins USING omenhnsw (v vector_l2_ops, k);
INSERT INTO twins SELECT i, nullif(i % 10, 9), '[1,1]' FROM generate_series(2001, 3000) i;
INSERT INTO twins SELECT i, i, '[2,2]' FROM generate_series(12001, 12200) i;
SELECT k, count(*), min(id), max(id) FROM (SELECT * FROM twins WHERE k < 10 ORDER BY v <-> '[1,1]') x GROUP BY k ORDER BY k;
SELECT count(*), count(DISTINCT id) FROM (SELECT * FROM twins WHERE k IS NULL ORDER BY v <-> '[1,1]') x;
SELECT id, k FROM twins WHERE k IN (10500, 12100, 10999) ORDER BY v <-> '[1,1]';
SELECT count(*) FROM (SELECT * FROM twins ORDER BY v <-> '[1,1]') x;
SELECT omen_tid_map_problems('twins_idx'), omen_key_problems('twins_idx');

-- a changed key is a new row of the index, the old one goes
UPDATE twins SET k = 100 WHERE id <= 500;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 100 ORDER BY v <-> '[1,1]') x;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 1 ORDER BY v <-> '[1,1]') x;
VACUUM twins;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 100 ORDER BY v <-> '[1,1]') x;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 1 ORDER BY v <-> '[1,1]') x;
DELETE FROM twins WHERE k = 100;
VACUUM twins;
INSERT INTO twins SELECT i, 200, '[1,1]' FROM generate_series(1, 300) i;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 200 ORDER BY v <-> '[1,1]') x;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 100 ORDER BY v <-> '[1,1]') x;
SELECT omen_tid_map_problems('twins_idx'), omen_key_problems('twins_idx');

-- another type of the column rewrites the index
ALTER TABLE twins ALTER k TYPE text USING 'number ' || k;
EXPLAIN (COSTS OFF) SELECT id FROM twins WHERE k = 'number 200' ORDER BY v <-> '[1,1]';
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 'number 200' ORDER BY v <-> '[1,1]') x;
ALTER TABLE twins ALTER k TYPE int8 USING substr(k, 8)::int8;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 200 ORDER BY v <-> '[1,1]') x;
REINDEX INDEX CONCURRENTLY twins_idx;
SELECT count(*) FROM (SELECT * FROM twins WHERE k = 200 ORDER BY v <-> '[1,1]') x;

-- expressions, partial indexes, LATERAL, joins, prepared statements
CREATE INDEX twins_expr ON twins USING omenhnsw ((v::halfvec(2)) halfvec_l2_ops, (id % 7), lower('X' || k)) WHERE id > 100;
EXPLAIN (COSTS OFF) SELECT id FROM twins WHERE id % 7 = 3 AND id > 100 AND lower('X' || k) = 'x10501' ORDER BY v::halfvec(2) <-> '[1,1]';
SELECT id FROM twins WHERE id % 7 = 3 AND id > 100 AND lower('X' || k) = 'x10503' ORDER BY v::halfvec(2) <-> '[1,1]';
SELECT count(*) FROM (SELECT id FROM twins WHERE id % 7 = 3 AND id > 100 ORDER BY v::halfvec(2) <-> '[1,1]') x;
SELECT count(*) FROM twins WHERE id % 7 = 3 AND id > 100;
CREATE TABLE wanted (n int, k int8, v vector(2));
INSERT INTO wanted VALUES (1, 1, '[1,1]'), (2, 10500, '[1,1]'), (3, NULL, '[0,0]'), (4, 200, '[2,2]');
SET enable_seqscan = on;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT n, x.id FROM wanted w, LATERAL (SELECT id FROM twins t WHERE t.k = w.k ORDER BY t.v <-> w.v LIMIT 2) x;
SELECT n, count(*) FROM wanted w, LATERAL (SELECT id FROM twins t WHERE t.k = w.k ORDER BY t.v <-> w.v LIMIT 2) x GROUP BY n ORDER BY n;
RESET enable_sort;
SET enable_seqscan = off;
-- no order is asked for: by no means the index
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT count(*) FROM wanted w JOIN twins t ON t.k = w.k;
RESET enable_hashjoin;
RESET enable_mergejoin;
PREPARE by_key(int8) AS SELECT count(*) FROM (SELECT * FROM twins WHERE k = $1 ORDER BY v <-> '[1,1]') x;
SET plan_cache_mode = force_generic_plan;
EXECUTE by_key(200);
EXECUTE by_key(1);
EXECUTE by_key(NULL);

-- a cursor, whose scan ends early
BEGIN;
DECLARE cur CURSOR FOR SELECT id FROM twins WHERE k IN (10500, 10501, 10502) ORDER BY v <-> '[1,1]';
FETCH 1 FROM cur;
FETCH ALL FROM cur;
FETCH 1 FROM cur;
COMMIT;

-- partitions, unlogged and temporary tables
CREATE TABLE parts (id int, k int, v vector(2)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE UNLOGGED TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
CREATE INDEX ON parts USING omenhnsw (v vector_l2_ops, k);
INSERT INTO parts SELECT i, i % 3, ARRAY[i, 1]::vector FROM generate_series(0, 199) i;
EXPLAIN (COSTS OFF) SELECT id FROM parts WHERE k = 1 ORDER BY v <-> '[98,1]' LIMIT 4;
SELECT id FROM parts WHERE k = 1 ORDER BY v <-> '[98,1]' LIMIT 4;
CREATE TEMP TABLE passing (k int, v vector(2));
CREATE INDEX ON passing USING omenhnsw (v vector_l2_ops, k);
INSERT INTO passing SELECT i % 5, ARRAY[i, 2]::vector FROM generate_series(1, 100) i;
SELECT count(*) FROM (SELECT * FROM passing WHERE k = 1 ORDER BY v <-> '[1,1]') x;

-- codes that need a chain, and quantizers of all kinds
CREATE TABLE wide (id int, k int, v vector(3000), s sparsevec(5), b bit(9));
INSERT INTO wide SELECT i, i % 4, array_fill(i % 50, ARRAY[3000])::vector, format('{1:%s,2:%s}/5', i % 50, i % 7 + 1)::sparsevec, (i % 500)::bit(9)
	FROM generate_series(1, 200) i;
CREATE INDEX wide_v ON wide USING omenhnsw (v vector_l2_ops, k);
CREATE INDEX wide_n ON wide USING omenhnsw (v vector_l1_ops, k);
CREATE INDEX wide_p ON wide USING omenhnsw (v vector_cosine_ops, k) WITH (quantizer = pq);
CREATE INDEX wide_q ON wide USING omenhnsw (v vector_ip_ops, k) WITH (quantizer = sq8);
CREATE INDEX wide_s ON wide USING omenhnsw (s sparsevec_l2_ops, k);
CREATE INDEX wide_b ON wide USING omenhnsw (b bit_hamming_ops, k);
INSERT INTO wide SELECT id + 1000, k, v, s, b FROM wide WHERE id <= 20;
SELECT (SELECT count(*) FROM (SELECT * FROM wide WHERE k = 1 ORDER BY v <-> array_fill(1, ARRAY[3000])::vector) x) AS l2,
	(SELECT count(*) FROM (SELECT * FROM wide WHERE k = 1 ORDER BY v <+> array_fill(1, ARRAY[3000])::vector) x) AS l1,
	(SELECT count(*) FROM (SELECT * FROM wide WHERE k = 1 ORDER BY v <=> array_fill(1, ARRAY[3000])::vector) x) AS cosine,
	(SELECT count(*) FROM (SELECT * FROM wide WHERE k = 1 ORDER BY v <#> array_fill(1, ARRAY[3000])::vector) x) AS ip,
	(SELECT count(*) FROM (SELECT * FROM wide WHERE k = 1 ORDER BY s <-> '{1:1}/5') x) AS sparse,
	(SELECT count(*) FROM (SELECT * FROM wide WHERE k = 1 ORDER BY b <~> '000000001') x) AS bit;

SELECT index, omen_key_problems(index::regclass) FROM orders ORDER BY index;
SELECT omen_key_problems('twins_expr'), omen_key_problems('wide_v'), omen_key_problems('wide_s');

-- what is refused
\set VERBOSITY default
CREATE TABLE refused (v vector(2), w vector(2), n numeric, na numeric[], i int, j jsonb);
CREATE INDEX ON refused USING omenhnsw (i, v vector_l2_ops);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, w vector_l2_ops);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, n);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, na);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, j);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, i, i, i, i, i, i, i, i, i);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, i) INCLUDE (n);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, i DESC);
CREATE UNLOGGED TABLE refused_too (v vector(2), i int);
CREATE INDEX ON refused_too USING omenhnsw (i, v vector_l2_ops);
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, i, i, i, i, i, i, i, i);

-- operator classes
SELECT amname, count(*), bool_and(amvalidate(c.oid)) AS valid FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
	WHERE amname IN ('hnsw', 'omenhnsw') GROUP BY amname ORDER BY amname;
BEGIN;
CREATE OPERATOR CLASS backwards FOR TYPE int4 USING omenhnsw AS OPERATOR 1 >, OPERATOR 3 =;
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'backwards';
CREATE OPERATOR CLASS numbers FOR TYPE numeric USING omenhnsw AS OPERATOR 3 =;
CREATE INDEX ON refused USING omenhnsw (v vector_l2_ops, n numbers);
ROLLBACK;
DROP FUNCTION fault;
DROP TABLE keys, orders, constants, twins, wanted, parts, passing, wide, refused, refused_too;
DROP FUNCTION fill;
DROP DOMAIN percent;
