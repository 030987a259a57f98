-- @@ through an index of omenbm25, by itself and under an ORDER BY, finds the
-- rows that a sequential scan does: from documents that are pending, from one
-- and several segments, and from all of these.
SET client_min_messages = warning;
SELECT setseed(0.4);
CREATE TABLE docs (id int, body tsvector) WITH (autovacuum_enabled = off);

CREATE FUNCTION add_docs(first int, last int) RETURNS void LANGUAGE sql AS $$
INSERT INTO docs
SELECT i, CASE WHEN i % 50 = 0 THEN NULL WHEN i % 51 = 0 THEN ''
	WHEN i % 52 = 0 THEN strip(t) ELSE t END
FROM (SELECT i, (SELECT setweight(to_tsvector('simple', string_agg('w' ||
			floor(60 * power(random(), 2)), ' ')), CASE i % 3 WHEN 0 THEN 'A' WHEN 1 THEN 'B' ELSE 'D' END::"char")
		FROM generate_series(1, 3 + i % 40)) AS t
	FROM generate_series(first, last) AS i) s
$$;

CREATE TABLE queries (id int, q tsquery);
INSERT INTO queries VALUES
	(1, 'w3'), (2, 'w3 & w7'), (3, 'w3 | w7'), (4, 'w3 & !w7'), (5, '!w3'),
	(6, '!(w3 | w0)'), (7, 'w3 & (w7 | w9) & !w1'), (8, 'w1:*'), (9, 'w1:* & !w10'),
	(10, '!w1:*'), (11, 'w0 <-> w1'), (12, 'w0 <2> w1'), (13, '!(w0 <-> w1)'),
	(14, 'w0 <-> !w1'), (15, 'w3:A'), (16, 'w3:AB & w0'), (17, '!w3:A'),
	(18, 'w0:A <-> w1:A'), (19, 'nothing'), (20, 'nothing | w3'),
	(21, 'nothing & w3'), (22, '!nothing'), (23, 'w:* & !w0 & !w1 & !w2'),
	(24, '(w0 | w1) <-> w2'), (25, 'w5:*A | w6:B'), (26, ''),
	(27, 'w3 & w3'), (28, 'w3 | !w3'), (29, 'w3 & !w3'), (30, 'w59');

-- of many lexemes: none is asked for twice as often as the one above it
INSERT INTO queries
SELECT 31, string_agg('w' || i, ' | ')::tsquery FROM generate_series(1, 60) i
UNION ALL SELECT 32, string_agg('w' || i % 3, ' & ')::tsquery FROM generate_series(1, 60) i
UNION ALL SELECT 33, string_agg('w' || i, ' & !')::tsquery FROM generate_series(1, 60) i;

-- every query under every plan: those of which the rows differ, which are none
CREATE FUNCTION differences(OUT query tsquery, OUT plan text, OUT missing int[], OUT surplus int[])
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	expected int[];
	found int[];
	ranked text;
	r record;
BEGIN
	FOR r IN SELECT * FROM queries ORDER BY id LOOP
		PERFORM set_config('enable_seqscan', 'on', true);
		PERFORM set_config('enable_indexscan', 'off', true);
		PERFORM set_config('enable_bitmapscan', 'off', true);
		EXECUTE 'SELECT coalesce(array_agg(id ORDER BY id), ''{}'') FROM docs WHERE body @@ $1'
			INTO expected USING r.q;
		PERFORM set_config('enable_seqscan', 'off', true);
		FOREACH plan IN ARRAY '{bitmap,index,ranked,ranked otherwise}'::text[] LOOP
			PERFORM set_config('enable_bitmapscan', CASE plan WHEN 'bitmap' THEN 'on' ELSE 'off' END, true);
			PERFORM set_config('enable_indexscan', CASE plan WHEN 'bitmap' THEN 'off' ELSE 'on' END, true);
			ranked := CASE plan WHEN 'ranked' THEN ' ORDER BY body <@> $1'
				WHEN 'ranked otherwise' THEN ' ORDER BY body <@> ''w2 | w30''' ELSE '' END;
			EXECUTE 'SELECT coalesce(array_agg(id ORDER BY id), ''{}'') FROM (SELECT id FROM docs WHERE body @@ $1'
				|| ranked || ') s' INTO found USING r.q;
			IF found IS DISTINCT FROM expected THEN
				query := r.q;
				missing := ARRAY(SELECT unnest(expected) EXCEPT ALL SELECT unnest(found) LIMIT 5);
				surplus := ARRAY(SELECT unnest(found) EXCEPT ALL SELECT unnest(expected) LIMIT 5);
				RETURN NEXT;
			END IF;
		END LOOP;
	END LOOP;
END
$$;

-- plans are what they are taken for
CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (pending_list_limit = 64);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE body @@ 'w3 & w7' ORDER BY body <@> 'w3 & w7'::tsquery LIMIT 3;
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM docs WHERE body @@ 'w3 & w7';
RESET enable_indexscan;

-- nothing at all, pending only
SELECT * FROM differences();
SELECT add_docs(1, 200);
SELECT pending_documents, segments FROM bm25_stats('docs_idx');
SELECT * FROM differences();

-- segments and pending
SELECT add_docs(201, 1500);
SELECT segments > 1 AS several, pending_documents > 0 AS pending FROM bm25_stats('docs_idx');
SELECT * FROM differences();

-- dead rows in both
DELETE FROM docs WHERE id % 7 = 3;
SELECT * FROM differences();
VACUUM (INDEX_CLEANUP ON) docs;
SELECT * FROM differences();

-- one segment, and one that was built
SELECT bm25_merge('docs_idx');
SELECT segments, dead_documents, pending_documents FROM bm25_stats('docs_idx');
SELECT * FROM differences();
REINDEX INDEX docs_idx;
SELECT * FROM differences();
SELECT bm25_problems('docs_idx');

-- with another condition, with two on the same column, and with a NULL
SELECT count(*) FROM docs WHERE body @@ 'w3' AND id < 700;
SELECT count(*) FROM docs WHERE body @@ 'w3' AND body @@ 'w7' AND body @@ '!w1';
SELECT count(*) FROM docs WHERE body @@ 'w3 & w7 & !w1';
SELECT count(*) FROM docs WHERE body @@ NULL::tsquery;

-- of more lexemes than nodes can be nested on the stack
SELECT count(*) FROM docs WHERE body @@ (SELECT string_agg('w' || i, ' | ')::tsquery FROM generate_series(30, 2500) AS i);
SELECT count(*) FROM docs WHERE body @@ '!w3 & w50:*' AND body @@ (SELECT string_agg('w' || i, ' | ')::tsquery FROM generate_series(30, 2500) AS i);
SELECT count(*) FROM docs WHERE body @@ '!w3 & w50:*';

-- together with another index
CREATE INDEX ON docs (id);
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM docs WHERE id < 70 OR body @@ 'w37';
SELECT count(*) FROM docs WHERE id < 70 OR body @@ 'w37';
RESET enable_seqscan;
SET enable_bitmapscan = off;
SELECT count(*) FROM docs WHERE id < 70 OR body @@ 'w37';

DROP TABLE docs, queries;
DROP FUNCTION add_docs, differences;
