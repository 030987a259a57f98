-- One order from vectors and text
CREATE TABLE docs (id int PRIMARY KEY, tenant int, body text, v vector(3), t tsvector);
INSERT INTO docs SELECT i, i % 20, b, ARRAY[i * 7919 % 1009, i * 104729 % 997, i * 6007 % 991]::vector, to_tsvector('simple', b)
FROM (SELECT i, concat_ws(' ', 'a' || i % 7, 'b' || i * 13 % 31, CASE WHEN i % 5 = 0 THEN 'common common' WHEN i % 3 = 0 THEN 'common' END,
	'c' || i * 17 % 211, repeat('filler ', i * 31 % 23)) AS b FROM generate_series(1, 2000) i) x;
INSERT INTO docs VALUES (3001, 3, NULL, '[500,500,500]', NULL), (3002, 3, 'a3 common', NULL, to_tsvector('simple', 'a3 common'));
-- of rows that score the same the first in the table comes first: in order of
-- id, however large rows are
CLUSTER docs USING docs_pkey;
CREATE INDEX docs_v ON docs USING omenhnsw (v vector_l2_ops);
CREATE INDEX docs_t ON docs USING omenbm25 (t);
CREATE INDEX docs_tenant ON docs (tenant);
VACUUM ANALYZE docs;
SET omenhnsw.ef_search = 1000;

-- ranks in windows; of text, documents with a lexeme of the query have one
CREATE FUNCTION by_ranks(query tsquery, restriction text, weights float8[], k int, win int, n int)
	RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	different int;
	total int;
BEGIN
	EXECUTE format('CREATE TEMP TABLE got AS SELECT row_number() OVER () AS n, * FROM (SELECT id,
		rrf(v <-> ''[500,500,500]'', t <@> %1$L::tsquery, weights => %2$L, k => %3$s, window_size => %4$s) AS s,
		v <-> ''[500,500,500]'' AS d, t <@> %1$L::tsquery AS m FROM docs WHERE %5$s ORDER BY s LIMIT %6$s) x',
		query, weights, k, win, restriction, n);
	SET LOCAL enable_indexscan = off;
	SET LOCAL omendb.enable_filtered_scan = off;
	EXECUTE format('CREATE TEMP TABLE wanted AS WITH
		all_rows AS MATERIALIZED (SELECT ctid AS place, id, v <-> ''[500,500,500]'' AS d, t <@> %1$L::tsquery AS m FROM docs WHERE %2$s),
		x AS (SELECT id, row_number() OVER (ORDER BY d, place) AS r FROM all_rows WHERE d IS NOT NULL ORDER BY 2 LIMIT %3$s),
		y AS (SELECT id, row_number() OVER (ORDER BY m, place) AS r FROM all_rows WHERE m < 0 ORDER BY 2 LIMIT %3$s)
		SELECT row_number() OVER (ORDER BY s, place) AS n, * FROM (SELECT place, id, d, m,
			- coalesce(%4$s / (%5$s::float8 + x.r), 0) - coalesce(%6$s / (%5$s::float8 + y.r), 0) AS s
			FROM x FULL JOIN y USING (id) JOIN all_rows USING (id)) z ORDER BY 1 LIMIT %7$s',
		query, restriction, win, weights[1], k, weights[2], n);
	SELECT count(*), count(*) FILTER (WHERE g.id IS DISTINCT FROM w.id OR g.s IS NULL OR abs(g.s - w.s) > 1e-14
		OR g.d IS DISTINCT FROM w.d OR abs(g.m - w.m) > 1e-9 OR (g.m IS NULL) <> (w.m IS NULL))
		FROM got g FULL JOIN wanted w USING (n) INTO total, different;
	DROP TABLE got, wanted;
	RETURN format('%s rows, %s differ', total, different);
END $$;

EXPLAIN (VERBOSE, COSTS off) SELECT id, rrf(v <-> '[500,500,500]', t <@> 'a3 | common'::tsquery) AS s, t <@> 'a3 | common'::tsquery AS m FROM docs ORDER BY s LIMIT 3;
SELECT id, round(rrf_score(v <-> '[500,500,500]', t <@> 'a3 | common'::tsquery)::numeric, 6) AS s, round((v <-> '[500,500,500]')::numeric, 3) AS d,
	round((t <@> 'a3 | common'::tsquery)::numeric, 6) AS m FROM docs ORDER BY rrf(v <-> '[500,500,500]', t <@> 'a3 | common'::tsquery) LIMIT 3;
SELECT by_ranks('a3 | common', 'true', '{1,1}', 60, 100, 10);
SELECT by_ranks('a3 | b5 | c17', 'true', '{1,0.5}', 60, 3000, 300);
SELECT by_ranks('c17', 'true', '{1,1}', 10, 50, 40);
SELECT by_ranks('a3 | common', 'tenant = 3', '{1,1}', 60, 100, 30);
SELECT by_ranks('a3 | common', 'tenant IN (3, 4, 5) AND id % 3 = 0', '{0.2,1}', 60, 40, 60);
SELECT by_ranks('a3 | common', 't @@ ''b5''', '{1,1}', 60, 100, 20);
SELECT by_ranks('a3 | common', 't @@ ''b5 <-> common''', '{1,1}', 60, 100, 20);
SELECT by_ranks('nowhere', 'true', '{1,1}', 60, 100, 10);

-- a query that is no constant, in a function in SQL, whose body is simplified twice
SELECT id, round(rrf_score(v <-> '[500,500,500]', t <@> plainto_tsquery('a3'))::numeric, 6) AS s
	FROM docs ORDER BY rrf(v <-> '[500,500,500]', t <@> plainto_tsquery('a3')) LIMIT 2;
SELECT id, round(fuse_score(v <-> '[500,500,500]', t <@> 'a3'::tsquery)::numeric, 6) AS s,
	round(fuse_score(v <-> '[500,500,500]', t <@> 'a3'::tsquery, norm => 'minmax')::numeric, 6) AS normed
	FROM docs ORDER BY fuse(v <-> '[500,500,500]', t <@> 'a3'::tsquery) LIMIT 2;
PREPARE scored(vector, text) AS SELECT id, round(fuse_score(v <-> $1, t <@> to_tsquery('simple', $2))::numeric, 6) AS s
	FROM docs ORDER BY fuse(v <-> $1, t <@> to_tsquery('simple', $2)) LIMIT 2;
SET plan_cache_mode = force_generic_plan;
EXECUTE scored('[500,500,500]', 'a3 | common');
RESET plan_cache_mode;
DEALLOCATE scored;

-- rows of the pending area, of segments, deleted ones
UPDATE docs SET t = to_tsvector('simple', 'a3 common again') WHERE id % 100 = 7;
DELETE FROM docs WHERE id % 50 = 3;
INSERT INTO docs SELECT i, 3, 'new', ARRAY[500 + i % 10, 500, 500 + i * 0.1]::real[]::vector, to_tsvector('simple', 'common new n' || i) FROM generate_series(4001, 4050) i;
SELECT by_ranks('a3 | common | new', 'true', '{1,1}', 60, 100, 10);
SELECT by_ranks('a3 | common | new', 'tenant = 3', '{1,1}', 60, 100, 30);
VACUUM docs;
SELECT by_ranks('a3 | common | new', 'true', '{1,1}', 60, 100, 10);
SELECT by_ranks('a3 | common | new', 'tenant = 3', '{1,1}', 60, 100, 30);

-- by values: without a lexeme of the query, 0; the best that a query can score is a share of 1
WITH f AS (SELECT id, fuse(v <-> '[500,500,500]', t <@> 'a3 | b5 | c17'::tsquery, 'none', weights => '{0.002,1}') AS s FROM docs ORDER BY s, id LIMIT 50),
	o AS (SELECT id, 0.002 * (v <-> '[500,500,500]') + (t <@> 'a3 | b5 | c17'::tsquery) AS s FROM docs ORDER BY s, id LIMIT 50)
	SELECT count(*), count(*) FILTER (WHERE abs(f.s - o.s) < 1e-9) AS equal FROM f JOIN o USING (id);
WITH f AS (SELECT id, fuse(v <-> '[500,500,500]', t <@> 'a3 | b5 | c17'::tsquery, 'theoretical', alpha => 0.4) AS s,
		v <-> '[500,500,500]' AS d, - (t <@> 'a3 | b5 | c17'::tsquery) AS m FROM docs ORDER BY s, id LIMIT 50),
	c AS (SELECT max(((-s) - 0.4 / (1 + d)) / 0.6 / m) AS x, min(((-s) - 0.4 / (1 + d)) / 0.6 / m) AS y, max(m) AS most FROM f WHERE m > 0),
	o AS (SELECT id, - 0.4 / (1 + (v <-> '[500,500,500]')) + 0.6 * x * coalesce(t <@> 'a3 | b5 | c17'::tsquery, 0) AS s FROM docs, c ORDER BY s, id LIMIT 50)
	SELECT count(*) AS rows, (SELECT abs(x - y) < 1e-9 FROM c) AS same, (SELECT x * most <= 1 FROM c) AS most FROM f JOIN o USING (id);
SELECT id FROM docs ORDER BY fuse(v <-> '[500,500,500]', t <@> 'a3 | b5'::tsquery, 'minmax', alpha => 0.5) LIMIT 3;
SELECT id FROM docs ORDER BY fuse(t <@> 'a3'::tsquery, t <@> 'b5'::tsquery, 'none') LIMIT 2;
-- and those that are NULL in the end, behind others that no branch ranks
CREATE TABLE pairs (id int, a tsvector, b tsvector);
INSERT INTO pairs VALUES (1, 'x', NULL), (2, NULL, 'y'), (3, 'z', 'z'), (4, 'x', 'z'), (5, 'z', 'y'), (6, NULL, NULL), (7, NULL, 'z'), (8, 'x', 'y'), (9, 'z', 'z');
CREATE INDEX ON pairs USING omenbm25 (a);
CREATE INDEX ON pairs USING omenbm25 (b);
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM pairs ORDER BY fuse(a <@> 'x'::tsquery, b <@> 'y'::tsquery, 'none', weights => '{1,2}') LIMIT 8;
SELECT id, score IS NULL AS isnull, score = 0 AS zero FROM (SELECT id, fuse(a <@> 'x'::tsquery, b <@> 'y'::tsquery, 'none', weights => '{1,2}') AS score FROM pairs ORDER BY score LIMIT 8) s;
SELECT array_agg(id) FROM (SELECT id FROM pairs ORDER BY fuse(a <@> 'x'::tsquery, b <@> 'y'::tsquery, 'none', weights => '{1,2}') LIMIT 5) s;
RESET enable_seqscan;
DROP TABLE pairs;
SELECT count(*), count(DISTINCT id), min(s) < 0 AS ranked, max(s) AS others FROM
	(SELECT id, rrf(t <@> 'c17'::tsquery, t <@> 'c18'::tsquery) AS s FROM docs ORDER BY s) x;

-- prepared; a text that is NULL; an unknown column
SET plan_cache_mode = force_generic_plan;
PREPARE fused(vector, text) AS SELECT id FROM docs ORDER BY rrf(v <-> $1, t <@> to_tsquery('simple', $2)) LIMIT 3;
EXECUTE fused('[500,500,500]', 'a3 | common');
EXECUTE fused('[500,500,500]', NULL);
EXECUTE fused(NULL, 'c17');
RESET plan_cache_mode;
DEALLOCATE fused;
SELECT fuse(v <-> '[500,500,500]', t <@> 'a3'::tsquery, 'theoretical') FROM docs LIMIT 1;

-- a query beside the table: with a value it is a constant, and a plan for all
-- values is considered, but not chosen
PREPARE beside(text) AS SELECT id FROM docs, plainto_tsquery('simple', $1) q ORDER BY rrf(v <-> '[500,500,500]', t <@> q) LIMIT 1;
EXECUTE beside('a3');
EXECUTE beside('a3');
EXECUTE beside('a3');
EXECUTE beside('a3');
EXECUTE beside('a3');
EXECUTE beside('a3');
EXECUTE beside('a3');
SET plan_cache_mode = force_generic_plan;
EXECUTE beside('a3');
RESET plan_cache_mode;
DEALLOCATE beside;
SELECT id FROM docs, (SELECT plainto_tsquery('simple', body) AS q FROM docs WHERE id = 1 OFFSET 0) x ORDER BY rrf(v <-> '[500,500,500]', t <@> q) LIMIT 1;

-- both branches in EXPLAIN
CREATE FUNCTION explain_nodes(query text) RETURNS SETOF json LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE query INTO plan;
	RETURN QUERY SELECT plan->0->'Plan'->'Plans'->0;
END $$;
SELECT n->>'Fusion' AS fusion, b->>'Index Name' AS index, b->>'Order By' AS ranking, b->>'Rows Pulled' AS rows, b->>'Stopped By' AS stop,
	b->'Omen Text Scan'->>'Passes' AS passes
	FROM explain_nodes('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM docs WHERE tenant = 3 ORDER BY rrf(v <-> ''[500,500,500]'', t <@> ''c17''::tsquery) LIMIT 5') n,
	json_array_elements(n->'Branches') b;

-- as a function: names and values stay what they are
SELECT d.id, round(h.score::numeric, 6) AS score, round(h.distance::numeric, 3) AS distance, round(h.text_score::numeric, 6) AS text_score
	FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3 | common', k => 3, operator => '<->') h JOIN docs d ON d.ctid = h.ctid ORDER BY h.score DESC;
SELECT count(*), min(d.tenant), max(d.tenant) FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3 | common', k => 20, operator => '<->',
	filter => '{"tenant": [3, "4"], "body": "new"}', fusion => 'minmax', weights => '{0.3,0.7}') h JOIN docs d ON d.ctid = h.ctid;
SELECT count(*) FROM hybrid_search('docs', NULL, NULL, 't', 'a3 | common', filter => '{"body": null}');
SELECT count(*) FROM hybrid_search('docs', 'v', '[500,500,500]', NULL, NULL, operator => '<->', filter => '{"body": "x'' OR true --"}');
\set VERBOSITY terse
SELECT * FROM hybrid_search('docs', 'v <-> $1; DROP TABLE docs; --', '[500,500,500]', 't', 'a3');
SELECT * FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3', filter => '{"tenant\" = 3 OR true; --": 1}');
SELECT * FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3', filter => '[1]');
SELECT * FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3', operator => '<-> $1 OR v <->');
SELECT * FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3', fusion => 'best'' OR');
SELECT * FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3', filter => '{"tenant": "x"}', operator => '<->');
\set VERBOSITY default

-- its caller's rights
CREATE ROLE omen_hybrid_user;
SET ROLE omen_hybrid_user;
SELECT count(*) FROM hybrid_search('docs', 'v', '[500,500,500]', 't', 'a3', operator => '<->');
RESET ROLE;
GRANT SELECT ON docs TO omen_hybrid_user;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs TO omen_hybrid_user USING (tenant = 3);
SET ROLE omen_hybrid_user;
SET search_path = '';
SELECT count(*) AS n, count(DISTINCT d.tenant) AS tenants FROM public.hybrid_search('public.docs', 'v', '[500,500,500]', 't', 'a3', operator => '<->') h
	JOIN public.docs d ON d.ctid = h.ctid;
RESET search_path;
RESET ROLE;
DROP POLICY own ON docs;
ALTER TABLE docs DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON docs FROM omen_hybrid_user;
DROP ROLE omen_hybrid_user;

-- weights by what is judged: here text tells, and vectors mislead
SELECT fusion, weights[1] <= 0.5 AS text, round(ndcg::numeric, 3) AS ndcg, round(vector_ndcg::numeric, 3) AS vector, round(text_ndcg::numeric, 3) AS text
	FROM hybrid_tune('docs', 'id', 'v', ARRAY['[1,1,1]', '[900,900,900]', '[500,1,1]']::vector[], 't', '{c17,c18,c20}',
	ARRAY(SELECT (SELECT jsonb_object_agg(id, 1 + id % 2) FROM docs WHERE t @@ q) FROM unnest('{c17,c18,c20}'::tsquery[]) q), steps => 4, operator => '<->') LIMIT 1;
SELECT count(*), count(ndcg) FROM hybrid_tune('docs', 'id', 'v', ARRAY['[1,1,1]']::vector[], 't', '{c17}', ARRAY['{"1": 0}']::jsonb[], steps => 2, operator => '<->', fusions => '{rrf}');
\set VERBOSITY terse
SELECT * FROM hybrid_tune('docs', 'id', 'v', '{}', 't', '{}', '{}');
SELECT * FROM hybrid_tune('docs', 'id', 'v', ARRAY['[1,1,1]']::vector[], 't', '{c17}', ARRAY['{"1": 1}']::jsonb[], steps => 0);
SELECT * FROM hybrid_tune('docs', 'id', 'v', ARRAY['[1,1,1]']::vector[], 't', '{c17}', ARRAY['{"1": 1}']::jsonb[], fusions => NULL);
\set VERBOSITY default
SELECT round(omen_ndcg('{a,b,c}', '{"b": 1, "d": 1}', 10)::numeric, 4) AS some, omen_ndcg('{a}', '{"a": 2}', 10) AS most, omen_ndcg('{x}', '{"a": 2}', 10) AS least,
	omen_ndcg(NULL, '{"a": 2}', 10) AS nothing, omen_ndcg('{a}', '{}', 10) AS unknown;

DROP FUNCTION by_ranks, explain_nodes;
DROP TABLE docs;
