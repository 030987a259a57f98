-- What the planner thinks that distances, and the scans of an index, cost
CREATE FUNCTION cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->>'Total Cost';
END $$;

-- every distance of a type with known dimensions, else more than one operator
SELECT prosupport, procost, count(*) FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
	WHERE oprname IN ('<->', '<#>', '<=>', '<+>', '<~>', '<%>') AND prosrc LIKE 'omen%' GROUP BY 1, 2 ORDER BY 1, 2;

-- by dimensions
CREATE TABLE kinds (few vector(8), many vector(400), halves halfvec(400), bits bit(400), none vector);
INSERT INTO kinds (bits) SELECT 0::bit(400) FROM generate_series(1, 1000);
ANALYZE kinds;
SELECT cost('SELECT few <-> few FROM kinds') < cost('SELECT many <-> many FROM kinds') AS more,
	cost('SELECT many <-> many FROM kinds') = cost('SELECT halves <#> halves FROM kinds') AS same,
	cost('SELECT bits <~> bits FROM kinds') < cost('SELECT few <+> few FROM kinds') * 1.01 AS bits,
	cost('SELECT none <=> none FROM kinds') <= cost('SELECT few <=> few FROM kinds') AS unknown,
	cost('SELECT l2_distance(many, many) FROM kinds') = cost('SELECT many <-> many FROM kinds') AS call;
DROP TABLE kinds;

-- out of line: many times the cost in line
CREATE TABLE near (v vector(1000));
CREATE TABLE far (v vector(1000));
ALTER TABLE near ALTER v SET STORAGE plain;
INSERT INTO far SELECT array_agg(i)::vector FROM generate_series(1, 1000) i, generate_series(1, 200) j GROUP BY j;
INSERT INTO near SELECT v FROM far;
ANALYZE near, far;
SELECT cost('SELECT v <-> v FROM far') - cost('SELECT v FROM far') >
	20 * (cost('SELECT v <-> v FROM near') - cost('SELECT v FROM near')) AS out_of_line;
DROP TABLE near, far;

-- the rarer the rows, the more an index scan has to read for them; a filtered
-- scan the less, but for a few it is not worth its pages
CREATE TABLE items (id int, a int, v vector(3));
INSERT INTO items SELECT i, i % 1000, ARRAY[i % 61, i % 53, i % 47]::vector FROM generate_series(1, 20000) i;
CREATE INDEX ON items USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON items (a);
ANALYZE items;
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	plan := plan->0->'Plan'->'Plans'->0;
	RETURN coalesce(plan->>'Custom Plan Provider', plan->>'Node Type');
END $$;
SELECT a, plan(format('SELECT id FROM items WHERE a < %s ORDER BY v <-> ''[1,2,3]'' LIMIT 10', a))
	FROM unnest('{500,20,1}'::int[]) a;

-- a LIMIT that is not known is no tenth of the table; but with a filter by
-- parameters, plans that know these are to look better
CREATE FUNCTION uses_index(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	plan text;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan ~ 'items_v_idx';
END $$;
SELECT query, uses_index(format(query, $$v <-> '[1,2,3]'$$)) FROM unnest(ARRAY['SELECT id FROM items ORDER BY %s LIMIT (SELECT 5)',
	'SELECT id FROM items WHERE id <> 7 ORDER BY %s LIMIT (SELECT 5)', 'SELECT id FROM items WHERE id %% 100 = 7 ORDER BY %s LIMIT (SELECT 5)',
	'SELECT id FROM items ORDER BY %s OFFSET (SELECT 5)', 'SELECT id FROM items ORDER BY %s LIMIT NULL',
	'SELECT a FROM items GROUP BY v, a ORDER BY %s LIMIT (SELECT 5)']) query;
PREPARE nearest(vector, int) AS SELECT id FROM items ORDER BY v <-> $1 LIMIT $2;
PREPARE filtered(int, int) AS SELECT id FROM items WHERE id <> $1 ORDER BY v <-> '[1,2,3]' LIMIT $2;
SET plan_cache_mode = force_generic_plan;
SELECT uses_index('EXECUTE nearest(''[1,2,3]'', 5)') AS nearest, uses_index('EXECUTE filtered(7, 5)') AS filtered;
RESET plan_cache_mode;

-- a bound that many rows are within is none to look for by the index, if it is
-- known: the entries tell
SELECT plan('SELECT count(*) FROM items WHERE v <-> ''[1,2,3]'' < 5') AS few,
	plan('SELECT count(*) FROM items WHERE 60 > v <-> ''[1,2,3]''') AS many,
	plan('SELECT count(*) FROM items WHERE v <-> ''[1,2,3]'' < 60 AND v <-> ''[1,2,3]'' <= 5') AS both,
	plan('SELECT count(*) FROM items WHERE v <-> ''[1,2]'' < 60') AS other;
PREPARE bounded(float8) AS SELECT count(*) FROM items WHERE v <-> '[1,2,3]' < $1;
SELECT mode, plan('EXECUTE bounded(60)') FROM unnest('{force_custom_plan,force_generic_plan}'::text[]) mode,
	set_config('plan_cache_mode', mode, false);
RESET plan_cache_mode;
DEALLOCATE bounded;

-- what no index decides is filtered above the index scan; so is what one could
-- if the bitmap costs more than to risk that the rows are far away
SELECT plan('SELECT id FROM items WHERE a + 0 < 500 ORDER BY v <-> ''[1,2,3]'' LIMIT 10'),
	plan('SELECT id FROM items WHERE a < 999 ORDER BY v <-> ''[1,2,3]'' LIMIT 10') AS most;
SET omendb.enable_filtered_scan = off;
SET enable_bitmapscan = off;
SELECT cost('SELECT id FROM items WHERE a < 500 ORDER BY v <-> ''[1,2,3]'' LIMIT 10') <
	cost('SELECT id FROM items WHERE a < 50 ORDER BY v <-> ''[1,2,3]'' LIMIT 10') AS rarer;

-- an index's own predicate is no filter
CREATE INDEX ON items USING omenhnsw (v vector_l2_ops) WHERE a < 50;
ANALYZE items;
SELECT cost('SELECT id FROM items WHERE a < 50 ORDER BY v <-> ''[1,2,3]'' LIMIT 10') <
	cost('SELECT id FROM items ORDER BY v <-> ''[1,2,3]'' LIMIT 10') AS own;
DROP FUNCTION cost, plan, uses_index;
DROP TABLE items;
