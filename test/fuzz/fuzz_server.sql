-- What the fuzzers in a server are run on; see fuzz_server.c. One statement a
-- paragraph, for a server of a single process.

CREATE EXTENSION omendb;

CREATE FUNCTION omen_fuzz(text, regproc[], regclass[], text[]) RETURNS void
LANGUAGE c AS '$libdir/omendb', 'omen_fuzz';

CREATE TABLE docs (id int PRIMARY KEY, body tsvector);

-- words at every distance, with weights, some of them only in a few documents
INSERT INTO docs SELECT i, (SELECT string_agg('w' || (i * p * 7 + p * p) % (4 + i % 17) || ':' || p || substr('ABCD', 1 + (i + p) % 4, 1), ' ')
	FROM generate_series(1, 1 + i % 12) p)::tsvector FROM generate_series(1, 300) i;

CREATE INDEX docs_body ON docs USING omenbm25 (body);

-- some are not in a segment yet
INSERT INTO docs SELECT i, ('w' || i % 9 || ':1 w' || i % 4 || ':2,3B')::tsvector FROM generate_series(301, 340) i;

DELETE FROM docs WHERE id % 10 = 3;

CREATE FUNCTION by_index(query tsquery) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
	RETURN (SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM docs WHERE body @@ query) || E'\n' ||
		(SELECT coalesce(string_agg(round(s::numeric, 4)::text, ' '), '')
		FROM (SELECT body <@> to_bm25query(query, 'docs_body') AS s FROM docs ORDER BY 1 LIMIT 15) x WHERE s < 0);
END $$;

CREATE FUNCTION by_table(query tsquery) RETURNS text LANGUAGE plpgsql SET enable_indexscan = off SET enable_bitmapscan = off AS $$
BEGIN
	RETURN (SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM docs WHERE body @@ query) || E'\n' ||
		(SELECT coalesce(string_agg(round(s::numeric, 4)::text, ' '), '')
		FROM (SELECT body <@> to_bm25query(query, 'docs_body') AS s FROM docs ORDER BY 1 LIMIT 15) x WHERE s < 0);
END $$;

-- what each statement of a list returns, or the code of its error, whatever it
-- is but an internal one
CREATE FUNCTION try(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	answer text;
	answers text[];
BEGIN
	FOREACH statement IN ARRAY statements LOOP
		BEGIN
			answer := NULL;
			EXECUTE statement INTO answer;
		EXCEPTION WHEN internal_error THEN
			RAISE;
		WHEN OTHERS THEN
			answer := 'error ' || SQLSTATE;
		END;
		answers := answers || answer;
	END LOOP;
	RETURN array_to_string(answers, ' ', '-');
END $$;

CREATE FUNCTION use_hnsw() RETURNS text LANGUAGE sql SET enable_seqscan = off SET enable_sort = off AS $$
SELECT try('SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 20) x',
	'SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> ''[5,1,2,7]'') x',
	'SELECT count(*) FROM (SELECT id FROM items WHERE kind = 3 ORDER BY v <-> ''[1,2,3,4]'' LIMIT 20) x',
	'SELECT count(*) FROM (SELECT id FROM items ORDER BY rrf(v <-> ''[1,2,3,4]'', v <-> ''[5,1,2,7]'') LIMIT 20) x',
	'SELECT count(*) FROM omen_verify_index(''items_v'', true)',
	'SELECT count(*) FROM omen_index_stats(''items_v'')')
$$;

CREATE FUNCTION change_hnsw() RETURNS text LANGUAGE sql AS $$
SELECT try('INSERT INTO items VALUES (0, 3, ''[3,1,4,1]'') RETURNING id')
$$;

-- nodes found by lists of a key, in which the same value fills whole pages
CREATE FUNCTION use_keys() RETURNS text LANGUAGE sql SET enable_seqscan = off SET enable_sort = off AS $$
SELECT try('SELECT count(*) FROM (SELECT id FROM keyed WHERE kind = 0 ORDER BY v <-> ''[1,2]'' LIMIT 20) x',
	'SELECT count(*) FROM (SELECT id FROM keyed WHERE kind = 1 ORDER BY v <-> ''[50,2]'') x',
	'SELECT count(*) FROM (SELECT id FROM keyed WHERE kind < 1 AND other = 3 ORDER BY v <-> ''[1,2]'') x')
$$;

CREATE FUNCTION change_keys() RETURNS text LANGUAGE sql AS $$
SELECT try('INSERT INTO keyed VALUES (0, 1, 5, ''[3,1]'') RETURNING id')
$$;

CREATE FUNCTION use_bm25() RETURNS text LANGUAGE sql SET enable_seqscan = off SET enable_sort = off AS $$
SELECT try('SELECT count(*) FROM (SELECT id FROM texts ORDER BY body <@> ''w1 | w2''::tsquery LIMIT 20) x',
	'SELECT count(*) FROM texts WHERE body @@ ''w1 & !w3'' OR body @@ ''w2 <-> w4''',
	'SELECT count(*) FROM (SELECT id FROM texts ORDER BY rrf(body <@> ''w1 | w2''::tsquery, body <@> ''w3''::tsquery) LIMIT 20) x',
	'SELECT count(*) FROM (SELECT id FROM texts WHERE body @@ ''w2 <-> w4'' ORDER BY fuse(body <@> ''w1''::tsquery, body <@> ''w4''::tsquery, ''minmax'') LIMIT 20) x',
	'SELECT count(*) FROM omen_verify_index(''texts_body'', true)',
	'SELECT count(*) FROM bm25_stats(''texts_body'')')
$$;

CREATE FUNCTION change_bm25() RETURNS text LANGUAGE sql AS $$
SELECT try('INSERT INTO texts VALUES (0, ''w1 w2 w7'') RETURNING id',
	'SELECT bm25_merge(''texts_body'')',
	'SELECT segments || '' of '' || documents FROM bm25_stats(''texts_body'')',
	'SELECT count(*) FROM texts WHERE body @@ ''w1 & !w3''')
$$;

-- a build with a helper of GPU builds; with what is wrong, and rows by the index
CREATE FUNCTION build_gpu() RETURNS text LANGUAGE plpgsql SET enable_seqscan = off SET enable_sort = off AS $$
BEGIN
	CREATE INDEX built_v ON built USING omenhnsw (v vector_l2_ops) WITH (m = 4);
	RETURN (SELECT count(*) FROM omen_verify_index('built_v', true)) || ' of ' ||
		(SELECT count(DISTINCT id) FROM (SELECT id FROM built ORDER BY v <-> '[1,2,3,4]' LIMIT 100) x);
END $$;
