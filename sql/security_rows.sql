-- Rows that row-level security or a security barrier hides: no plan of ours shows them
-- to a function of the user's, and none of the counters that EXPLAIN prints tells how
-- many of them are near.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/explain.sql'
\i :helpers
CREATE TABLE notes (id int PRIMARY KEY, tenant int, kind int, body text, v vector(3), w halfvec(3), t tsvector);
INSERT INTO notes SELECT i, i % 10, i % 7, 'tenant ' || i % 10, ARRAY[i * 919 % 1009, i * 729 % 1013, i * 709 % 1019]::vector(3),
	ARRAY[i * 709 % 1019, i * 919 % 1009, i * 729 % 1013]::vector(3)::halfvec(3),
	to_tsvector('simple', 'common' || repeat(' word' || i % 13, i % 3) || ' k' || i % 7) FROM generate_series(1, 2000) i;
CREATE INDEX notes_v ON notes USING omenhnsw (v vector_l2_ops);
CREATE INDEX notes_w ON notes USING omenhnsw (w halfvec_cosine_ops, tenant);
CREATE INDEX notes_t ON notes USING omenbm25 (t);
CREATE INDEX notes_tenant ON notes (tenant);
CREATE INDEX notes_kind ON notes (kind);
VACUUM ANALYZE notes;
CREATE ROLE omen_tenant3;
GRANT CREATE ON SCHEMA public TO omen_tenant3;
CREATE ROLE omen_tenant4;
GRANT SELECT ON notes TO omen_tenant3, omen_tenant4;

-- Cheap, so that it is evaluated as early as the server lets it
CREATE FUNCTION sees(tenant int) RETURNS boolean STABLE COST 0.0001 LANGUAGE plpgsql AS $$
BEGIN
	IF tenant <> 3 THEN
		RAISE EXCEPTION 'a function sees a row of tenant %', tenant USING ERRCODE = 'OMEN1';
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION operator_sees(tenant int, text) RETURNS boolean STABLE COST 0.0001 LANGUAGE sql AS 'SELECT sees($1)';
CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = text, FUNCTION = operator_sees, RESTRICT = eqsel);

-- Orders and restrictions in all combinations, by every plan that the settings bring
-- about: what went wrong, and how often each kind of scan was in a plan
CREATE FUNCTION attempt_all(tab text, OUT problems text[], OUT statements int, OUT filtered int, OUT fused int, OUT ordered int)
LANGUAGE plpgsql AS $$
DECLARE
	order_by text;
	restriction text;
	statement text;
	setting text;
	plan text;
	line text;
	wrong int;
	n int;
BEGIN
	problems := '{}';
	statements := 0; filtered := 0; fused := 0; ordered := 0;
	FOR restriction, order_by IN SELECT r, o FROM unnest(ARRAY['sees(tenant)', 'sees(tenant) AND kind = 2', 'tenant ~~~ ''x'' AND kind IN (1, 2, 3)',
			'kind < 4 AND (sees(tenant) OR id < 0)', 'sees(tenant) AND v <-> ''[500,500,500]'' < 300', 'sees(tenant) AND tenant IN (3, 4, 5)',
			'sees(tenant) AND t @@ ''word1 | word5''', 'sees(tenant) AND w <=> ''[1,2,3]'' < 0.1 AND kind = 2', 'CASE WHEN kind = 5 THEN sees(tenant) ELSE true END',
			'id IN (SELECT id FROM ' || tab || ' n WHERE sees(n.tenant) AND n.kind = 2)', 'tenant <> 3 AND sees(tenant)']) r,
		unnest(ARRAY['v <-> ''[500,500,500]''', 'w <=> ''[1,2,3]''', 't <@> ''word1''', 't <@> ''word1 | common''',
			'rrf(v <-> ''[500,500,500]'', t <@> ''word1'')', 'rrf(v <-> ''[500,500,500]'', w <=> ''[1,2,3]'', window_size => 1000)',
			'fuse(v <-> ''[500,500,500]'', w <=> ''[1,2,3]'', ''none'')', 'fuse(w <=> ''[1,2,3]'', t <@> ''common'', ''minmax'')']) o
	LOOP
		FOREACH setting IN ARRAY '{auto,exact,seeded}'::text[] LOOP
			CONTINUE WHEN restriction ~ 'SELECT' AND order_by ~ 'rrf|fuse';
			PERFORM set_config('omendb.filter_strategy', setting, true);
			statement := format('SELECT id, tenant FROM %I WHERE %s ORDER BY %s LIMIT %s', tab, restriction, order_by, CASE setting WHEN 'exact' THEN 400 ELSE 3 END);
			plan := '';
			BEGIN
				FOR line IN EXECUTE 'EXPLAIN (ANALYZE, TIMING off, SUMMARY off) ' || statement LOOP
					plan := plan || line || E'\n';
				END LOOP;
				EXECUTE 'SELECT count(*), count(*) FILTER (WHERE tenant <> 3) FROM (' || statement || ') x' INTO n, wrong;
				IF wrong > 0 THEN
					problems := problems || format('%s rows of others: %s', wrong, statement);
				END IF;
				IF restriction ~ '^tenant <> 3' AND n > 0 THEN
					problems := problems || format('%s rows instead of none: %s', n, statement);
				END IF;
			EXCEPTION WHEN feature_not_supported THEN
				-- a fused scan above a barrier that stays
				CONTINUE;
			WHEN OTHERS THEN
				problems := problems || format('%s: %s', SQLERRM, statement);
			END;
			statements := statements + 1;
			filtered := filtered + (plan ~ 'Omen Filtered Scan')::int;
			fused := fused + (plan ~ 'Omen Fused Scan')::int;
			ordered := ordered + (plan ~ 'Index Scan using notes_[vwt]')::int;
		END LOOP;
	END LOOP;
END $$;

-- a policy that an index decides, one that a subquery's value decides, one that no index decides
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO omen_tenant3 USING (tenant = 3);
CREATE POLICY own4 ON notes TO omen_tenant4 USING (tenant = 4);
SET ROLE omen_tenant3;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT problems[1:5], statements > 200 AS many, filtered > 30 AS filtered, fused > 30 AS fused FROM attempt_all('notes');
EXPLAIN (COSTS off) SELECT id FROM notes WHERE sees(tenant) AND v <-> '[500,500,500]' < 300 ORDER BY v <-> '[500,500,500]';
EXPLAIN (COSTS off) SELECT id FROM notes WHERE w <=> '[1,2,3]' < 0.1 ORDER BY w <=> '[1,2,3]';

-- then no scan meets rows of others, so that none are counted and none cost time
CREATE FUNCTION pg_temp.removed(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) ' || statement LOOP
		plan := plan || line;
	END LOOP;
	RETURN substring(plan FROM 'Omen (?:Filtered|Fused) Scan|Index Scan using notes_[vwt]') || coalesce(': ' || substring(plan FROM 'Rows Removed by Filter: \d+'), '');
END $$;
SELECT pg_temp.removed('SELECT id FROM notes ORDER BY v <-> ''[500,500,500]'' LIMIT 50');
SELECT pg_temp.removed('SELECT id FROM notes ORDER BY w <=> ''[1,2,3]'' LIMIT 50');
SELECT pg_temp.removed('SELECT id FROM notes ORDER BY t <@> ''word1'' LIMIT 50');
SELECT pg_temp.removed('SELECT id FROM notes ORDER BY rrf(v <-> ''[500,500,500]'', t <@> ''word1'') LIMIT 50');
DROP FUNCTION pg_temp.removed;
RESET ROLE;
ALTER POLICY own ON notes USING (tenant IN (SELECT 3) AND kind >= 0);
SET ROLE omen_tenant3;
SELECT problems[1:5], statements > 200 AS many, filtered > 30 AS filtered, fused > 30 AS fused FROM attempt_all('notes');
RESET ROLE;
ALTER POLICY own ON notes USING (tenant % 10 = 3);
SET ROLE omen_tenant3;
SELECT problems[1:5], statements > 200 AS many, filtered > 20 AS filtered, fused > 30 AS fused, ordered > 20 AS ordered FROM attempt_all('notes');

-- a bound must not end the scan then, for the rows removed would be those within it
EXPLAIN (COSTS off) SELECT id FROM notes WHERE v <-> '[500,500,500]' < 300 ORDER BY v <-> '[500,500,500]';
SELECT pg_temp.plan_of('SELECT id FROM notes WHERE v <-> ''[500,500,500]'' < 300');
EXPLAIN (COSTS off) SELECT id FROM notes WHERE kind = 2 AND v <-> '[500,500,500]' < 300 ORDER BY v <-> '[500,500,500]';
SELECT count(*) AS n, bool_and(tenant = 3) AS own FROM notes WHERE v <-> '[500,500,500]' < 300;
RESET ROLE;

-- how many rows a bound is thought to leave, entries of the index tell; but to nobody
-- some of whose rows are hidden, though the index decides which
CREATE FUNCTION pg_temp.cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->>'Total Cost';
END $$;
CREATE VIEW pg_temp.told AS SELECT pg_temp.cost('SELECT id FROM notes WHERE tenant = 3 AND w <=> ''[1,2,3]'' < 0.01') <
	pg_temp.cost('SELECT id FROM notes WHERE tenant = 3 AND w <=> ''[1,2,3]'' < 0.9') AS told;
GRANT SELECT ON pg_temp.told TO omen_tenant3;
ALTER POLICY own ON notes USING (tenant = 3);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
TABLE pg_temp.told;
SET ROLE omen_tenant3;
EXPLAIN (COSTS off) SELECT id FROM notes WHERE w <=> '[1,2,3]' < 0.9;
TABLE pg_temp.told;
RESET ROLE;
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP VIEW pg_temp.told;

-- a view with a barrier stays a subquery below the user's function
ALTER TABLE notes DISABLE ROW LEVEL SECURITY;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM notes WHERE tenant = 3;
CREATE VIEW barrier_of_barrier WITH (security_barrier) AS SELECT * FROM barrier WHERE kind >= 0;
REVOKE ALL ON notes FROM omen_tenant3;
GRANT SELECT ON barrier, barrier_of_barrier TO omen_tenant3;
SET ROLE omen_tenant3;
SELECT problems[1:5], statements > 100 AS many FROM attempt_all('barrier');
SELECT problems[1:5], statements > 100 AS many FROM attempt_all('barrier_of_barrier');
RESET ROLE;

-- plans and cursors of a session that changes its role
GRANT SELECT ON notes TO omen_tenant3;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER POLICY own ON notes USING (tenant = 3);
PREPARE near(vector) AS SELECT count(*), min(tenant), max(tenant) FROM (SELECT tenant FROM notes WHERE kind < 6 ORDER BY v <-> $1 LIMIT 20) x;
PREPARE ranked(tsquery) AS SELECT count(*), min(tenant), max(tenant) FROM (SELECT tenant FROM notes WHERE kind < 6 ORDER BY rrf(v <-> '[1,2,3]', t <@> $1) LIMIT 20) x;
SET plan_cache_mode = force_generic_plan;
SET ROLE omen_tenant3;
EXECUTE near('[500,500,500]');
EXECUTE ranked('word1');
SET ROLE omen_tenant4;
EXECUTE near('[500,500,500]');
EXECUTE ranked('word1');
BEGIN;
DECLARE mine SCROLL CURSOR FOR SELECT tenant FROM notes WHERE kind < 6 ORDER BY v <-> '[500,500,500]';
FETCH 1 FROM mine;
SET LOCAL ROLE omen_tenant3;
FETCH 1 FROM mine;
MOVE FORWARD ALL IN mine;
FETCH BACKWARD 1 FROM mine;
SELECT count(*), min(tenant), max(tenant) FROM notes;
COMMIT;
RESET ROLE;
EXECUTE near('[500,500,500]');
RESET plan_cache_mode;
DEALLOCATE near;
DEALLOCATE ranked;

-- An error must not show what is hidden: the distance of a branch is computed once all that
-- security puts before it has passed.  Where kind = 3 a body is a vector, elsewhere it is not.
ALTER TABLE notes DISABLE ROW LEVEL SECURITY;
UPDATE notes SET body = CASE WHEN kind = 3 THEN v::text ELSE 'the secret of tenant ' || tenant END;
CREATE INDEX notes_body ON notes USING omenhnsw ((body::vector(3)) vector_l2_ops) WHERE kind = 3;
ANALYZE notes;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
SET ROLE omen_tenant3;
SET omendb.filter_strategy = auto;
EXPLAIN (COSTS off) SELECT id FROM notes WHERE kind = 3 AND body::vector(3) <-> '[500,500,500]' < 1000 ORDER BY rrf(w <=> '[1,2,3]', body::vector(3) <-> '[500,500,500]') LIMIT 5;
SELECT count(*) FROM (SELECT id FROM notes WHERE kind = 3 AND body::vector(3) <-> '[500,500,500]' < 1000 ORDER BY rrf(w <=> '[1,2,3]', body::vector(3) <-> '[500,500,500]') LIMIT 50) x;
SET enable_bitmapscan = off;
SELECT count(*) FROM (SELECT id FROM notes WHERE kind = 3 AND body::vector(3) <-> '[500,500,500]' < 1000 ORDER BY rrf(w <=> '[1,2,3]', body::vector(3) <-> '[500,500,500]') LIMIT 50) x;
-- subqueries on either side of it are executed, and shown, once
CREATE FUNCTION count_subplans(statement text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	line text;
	n int := 0;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || statement LOOP
		n := n + (line ~ '^\s+SubPlan')::int;
	END LOOP;
	RETURN n;
END $$;
SELECT count_subplans('SELECT id, (SELECT max(g) FROM generate_series(1, id) g) FROM notes WHERE (SELECT max(g) FROM generate_series(1, kind) g) = 3 AND kind = 3 AND
	body::vector(3) <-> ''[500,500,500]'' < 1000 ORDER BY rrf(w <=> ''[1,2,3]'', body::vector(3) <-> ''[500,500,500]'') LIMIT 5');
SELECT count(*), bool_and(id = m) AS same FROM (SELECT id, (SELECT max(g) FROM generate_series(1, id) g) AS m FROM notes WHERE (SELECT max(g) FROM generate_series(1, kind) g) = 3 AND kind = 3 AND
	body::vector(3) <-> '[500,500,500]' < 1000 ORDER BY rrf(w <=> '[1,2,3]', body::vector(3) <-> '[500,500,500]') LIMIT 50) x;
DROP FUNCTION count_subplans;
RESET enable_bitmapscan;
RESET ROLE;

-- the walk that a scan tries before it makes the bitmap meets rows that are hidden
CREATE TABLE bands (id int, tenant int, v vector(2));
INSERT INTO bands SELECT i, CASE WHEN i BETWEEN 7200 AND 9599 THEN 3 ELSE 5 END, ARRAY[i % 200, i / 200]::vector FROM generate_series(0, 39999) i;
-- where a build takes long, a notice says so
SET client_min_messages = warning;
CREATE INDEX bands_v ON bands USING omenhnsw (v vector_l2_ops);
RESET client_min_messages;
CREATE INDEX bands_tenant ON bands (tenant);
VACUUM ANALYZE bands;
GRANT SELECT ON bands TO omen_tenant3;
ALTER TABLE bands ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON bands USING (tenant = 3);
SET ROLE omen_tenant3;
DO $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT id FROM bands WHERE sees(tenant) ORDER BY v <-> '[100,47.4]' LIMIT 8 LOOP
		plan := plan || line;
	END LOOP;
	RAISE NOTICE 'unfiltered: %, rows of others met: %', plan ~ 'Strategy: unfiltered', plan ~ 'Rows Removed by Filter: [1-9]';
END $$;
SELECT count(*), min(tenant), max(tenant) FROM (SELECT tenant FROM bands WHERE sees(tenant) ORDER BY v <-> '[100,47.4]' LIMIT 8) x;
RESET ROLE;

DROP TABLE bands;
DROP VIEW barrier_of_barrier, barrier;
DROP TABLE notes;
DROP FUNCTION attempt_all;
DROP OPERATOR ~~~ (int, text);
DROP FUNCTION operator_sees, sees;
REVOKE ALL ON SCHEMA public FROM omen_tenant3;
DROP ROLE omen_tenant3, omen_tenant4;
