-- What functions of the extension tell whom.
CREATE TABLE vault (id int PRIMARY KEY, tenant int, body text, v vector(3), t tsvector);
INSERT INTO vault SELECT i, i % 10, 'secret ' || i, ARRAY[i % 100, i % 7, i % 31]::vector(3),
	to_tsvector('simple', 'word' || i % 13 || ' secret' || i || ' common') FROM generate_series(1, 1000) i;
CREATE INDEX vault_v ON vault USING omenhnsw (v vector_l2_ops, tenant);
CREATE INDEX vault_t ON vault USING omenbm25 (t);
CREATE INDEX vault_part ON vault USING omenbm25 (to_tsvector('simple', body)) WHERE tenant > 0;
ANALYZE vault;

-- A value of a type for an argument: relations are the one in question
CREATE FUNCTION sample(type text, name text, relation regclass) RETURNS text LANGUAGE sql AS $$
	SELECT quote_nullable(CASE type
		WHEN 'regclass' THEN relation::text
		WHEN 'tsquery' THEN 'secret1 | common'
		WHEN 'tsquery[]' THEN '{secret1}'
		WHEN 'bm25query' THEN 'secret1'
		WHEN 'name' THEN CASE WHEN name ~ 'text|attribute' THEN 't' WHEN name ~ 'key' THEN 'id' ELSE 'v' END
		WHEN 'text' THEN CASE name WHEN 'operator' THEN '<->' ELSE 'rrf' END
		WHEN 'text[]' THEN '{rrf}'
		WHEN 'vector' THEN '[1,2,3]'
		WHEN 'vector[]' THEN '{"[1,2,3]"}'
		WHEN 'jsonb' THEN '{}'
		WHEN 'jsonb[]' THEN '{"{\"1\": 1}"}'
		WHEN 'boolean' THEN 'true'
		WHEN 'integer' THEN '1'
	END) || '::' || type
$$;

-- Every function that takes a relation, of this version or a later one, with every
-- relation: the code of the error that comes of it, or 'answers'
CREATE FUNCTION attempt_all() RETURNS TABLE (function text, relation text, outcome text) LANGUAGE plpgsql AS $$
DECLARE
	call text;
BEGIN
	FOR function, relation, call IN
		SELECT p.oid::regprocedure, r, format('SELECT count(x::text) FROM %s(%s) x', p.oid::regproc,
			(SELECT string_agg(sample(format_type(a, NULL), proargnames[n], r::regclass), ', ' ORDER BY n)
				FROM unnest(string_to_array(proargtypes::text, ' ')::oid[]) WITH ORDINALITY u(a, n)))
		FROM pg_depend d JOIN pg_proc p ON d.objid = p.oid JOIN pg_extension e ON e.oid = d.refobjid,
			unnest('{vault,vault_part,vault_pkey,vault_t,vault_v}'::text[]) r
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'omendb' AND 'regclass'::regtype = ANY (proargtypes)
		ORDER BY p.oid::regprocedure::text COLLATE "C", r
	LOOP
		BEGIN
			EXECUTE call;
			outcome := 'answers';
		EXCEPTION WHEN OTHERS THEN
			outcome := CASE SQLSTATE WHEN '42501' THEN 'denied' WHEN '42809' THEN 'wrong object' WHEN '42703' THEN 'no such column' ELSE SQLSTATE || ' ' || SQLERRM END;
		END;
		RETURN NEXT;
	END LOOP;
END $$;

-- In short: what answers, about which relations, or fails in another way than it should
CREATE VIEW attempts AS SELECT * FROM (SELECT CASE WHEN function ~ 'bm25_stats_for|bm25query_bind' THEN function ELSE substring(function FROM '[^(]+') END AS function,
	string_agg(relation, ' ' ORDER BY relation) FILTER (WHERE outcome = 'answers') AS about,
	string_agg(DISTINCT outcome, ', ') FILTER (WHERE outcome NOT IN ('answers', 'denied', 'wrong object', 'no such column')) AS failures
FROM attempt_all() GROUP BY 1) a ORDER BY function COLLATE "C";
GRANT SELECT ON attempts TO PUBLIC;

-- a superuser is answered by each of them: the arguments are as they should be
SELECT * FROM attempts WHERE about IS NULL OR failures IS NOT NULL;
SELECT count(DISTINCT function) > 15 AS many FROM attempt_all();

-- without privileges: a query may be formed, but nobody can rank by it
CREATE ROLE omen_nobody;
CREATE ROLE omen_columns;
CREATE ROLE omen_tenant;
CREATE ROLE omen_watcher;
GRANT pg_stat_scan_tables TO omen_watcher;
SET ROLE omen_nobody;
SELECT * FROM attempts WHERE about IS NOT NULL OR failures IS NOT NULL;
SELECT 'secret1:1'::tsvector <@> to_bm25query('secret1', 'vault_t');
SELECT 'secret1:1'::tsvector <@> 'secret1 {index=vault_t}'::bm25query;
SELECT 'secret1:1'::tsvector <@> bm25query_bind('secret1'::tsquery, 'vault_t');
SELECT 'secret1:1'::tsvector <@> bm25query_bind('secret1'::bm25query, 'vault_t');
CREATE TEMP TABLE mine AS SELECT 'secret1:1'::tsvector AS t;
CREATE INDEX mine_t ON mine USING omenbm25 (t);
SELECT t <@> bm25query_bind('secret1'::tsquery, 'vault_t') FROM mine;
SET enable_seqscan = off;
SELECT t FROM mine ORDER BY t <@> bm25query_bind('secret1'::tsquery, 'vault_t');
SELECT t FROM mine ORDER BY rrf(t <@> bm25query_bind('secret1'::tsquery, 'vault_t'), NULL);
SELECT t, t <@> 'secret1' < 0 AS scored FROM mine ORDER BY t <@> 'secret1';
RESET enable_seqscan;
RESET ROLE;

-- nor by what somebody else has ranked by in the same statement
CREATE FUNCTION best() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ SELECT id FROM vault ORDER BY t <@> 'secret1' LIMIT 1 $$;
SET ROLE omen_nobody;
SELECT best(), 'secret1:1'::tsvector <@> bm25query_bind('secret1'::tsquery, 'vault_t');
RESET ROLE;
DROP FUNCTION best;

-- a query that somebody else has formed, and kept, opens nothing
CREATE TABLE kept AS SELECT to_bm25query('secret1', 'vault_t') AS q;
GRANT SELECT ON kept TO omen_nobody;
SET ROLE omen_nobody;
SELECT 'secret1:1'::tsvector <@> q FROM kept;
RESET ROLE;

-- privileges on columns: those of the index, or of its expression and predicate
GRANT SELECT (id, v, tenant) ON vault TO omen_columns;
SET ROLE omen_columns;
SELECT * FROM attempts WHERE about IS NOT NULL OR failures IS NOT NULL;
RESET ROLE;
GRANT SELECT (body) ON vault TO omen_columns;
REVOKE SELECT (tenant) ON vault FROM omen_columns;
SET ROLE omen_columns;
SELECT function, about FROM attempts WHERE about IS NOT NULL AND function ~ 'stats_for|to_bm25';
RESET ROLE;
GRANT SELECT (tenant, t) ON vault TO omen_columns;
SET ROLE omen_columns;
SELECT function, about FROM attempts WHERE about IS NOT NULL AND function ~ 'stats_for|to_bm25';
SELECT bm25_stats_for('vault_t', 'common');
SELECT id FROM vault ORDER BY t <@> 'secret7' LIMIT 1;
SELECT id FROM vault ORDER BY v <-> '[1,2,3]' LIMIT 1;
SELECT id FROM vault WHERE body <> '' ORDER BY rrf(v <-> '[1,2,3]', t <@> 'secret7') LIMIT 1;
RESET ROLE;

-- statistics of the index for who may see those of everything, but no more
SET ROLE omen_watcher;
SELECT * FROM attempts WHERE about IS NOT NULL OR failures IS NOT NULL;
RESET ROLE;

-- row-level security: nothing about rows that are hidden.  A lexeme that is named
-- has the same weight for everybody, but none that is not is told.
GRANT SELECT ON vault TO omen_tenant;
ALTER TABLE vault ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON vault TO omen_tenant USING (tenant = 3);
SET ROLE omen_tenant;
SELECT * FROM attempts WHERE about IS NOT NULL OR failures IS NOT NULL;
SELECT bm25_stats_for('vault_t', 'secret:*');
SELECT bm25_stats_for('vault', 't', 'common | secret3 | secret4');
SELECT count(*) AS n, bool_and(v.tenant = 3) AS own FROM hybrid_search('vault', 'v', '[1,2,3]', 't', 'common', k => 1000, operator => '<->') h JOIN vault v ON v.ctid = h.ctid;
RESET ROLE;
ALTER TABLE vault FORCE ROW LEVEL SECURITY;
ALTER TABLE vault DISABLE ROW LEVEL SECURITY;

-- a view shows what its owner may read; what ranks it is the planner's own
CREATE VIEW window_of_vault AS SELECT id, t FROM vault WHERE tenant = 3;
GRANT SELECT ON window_of_vault TO omen_nobody;
SET ROLE omen_nobody;
SELECT id, t <@> 'secret13' < 0 AS scored FROM window_of_vault ORDER BY t <@> 'secret13' LIMIT 1;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT id, t <@> 'secret13' < 0 AS scored FROM window_of_vault ORDER BY t <@> 'secret13' LIMIT 1;
PREPARE ranked(tsquery) AS SELECT id, t <@> $1 < 0 AS scored FROM window_of_vault ORDER BY t <@> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE ranked('secret13');
SELECT id, t <@> bm25query_bind('secret13'::tsquery, 'vault_t') FROM window_of_vault LIMIT 1;
RESET enable_indexscan;
RESET enable_bitmapscan;
RESET plan_cache_mode;
RESET ROLE;

-- what the catalog says of the extension's functions
CREATE VIEW functions AS SELECT p.* FROM pg_depend d JOIN pg_proc p ON d.objid = p.oid JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'omendb';
SELECT oid::regprocedure AS "runs as another, or promises to leak nothing" FROM functions WHERE prosecdef OR proleakproof;
SELECT f.oid::regprocedure AS "finds names by the caller's search path" FROM functions f JOIN pg_language l ON l.oid = prolang
	WHERE lanname = 'plpgsql' AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false) OR lanname = 'sql' AND prosqlbody IS NULL;
SELECT oid::regprocedure AS "takes a pointer from anybody" FROM functions WHERE 'internal'::regtype = ANY (proargtypes) AND
	NOT EXISTS (SELECT FROM pg_type WHERE typreceive = functions.oid) AND prorettype NOT IN ('internal'::regtype, 'index_am_handler'::regtype);
SELECT oid::regprocedure AS "reads tables, but is said not to" FROM functions WHERE 'regclass'::regtype = ANY (proargtypes) AND provolatile = 'i' AND proname <> 'bm25query_bind';
SELECT trusted, superuser FROM pg_available_extension_versions WHERE name = 'omendb';
SELECT name, context FROM pg_settings WHERE name ~ '^(omendb|omenhnsw)\.' AND context <> 'user' ORDER BY 1;

DROP VIEW window_of_vault;
DROP TABLE vault, kept;
DROP VIEW functions, attempts;
DROP TABLE mine;
DROP FUNCTION attempt_all, sample;
DROP ROLE omen_nobody, omen_columns, omen_tenant, omen_watcher;
