-- EXPLAIN (ANALYZE) tells what each scan of an index did, in every format
CREATE TABLE items (id int, v vector(4));
INSERT INTO items SELECT i, ARRAY[i, i % 7, i % 11, i % 13]::vector FROM generate_series(1, 2000) i;
CREATE INDEX items_idx ON items USING omenhnsw (v vector_l2_ops);
CREATE TABLE others (id int, v vector(4));
INSERT INTO others SELECT i, ARRAY[i, i % 5, 0, 1]::vector FROM generate_series(1, 500) i;
CREATE INDEX others_idx ON others USING omenhnsw (v vector_l2_ops);
ANALYZE items, others;
SET enable_seqscan = off;

-- the lines of a text plan that are ours, and those of the nodes they tell of;
-- counts that vary are N
CREATE FUNCTION explain_lines(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE statement LOOP
		CONTINUE WHEN line !~ '(ef|pages)=';
		line := regexp_replace(line, '(hops|pages|distances|re-ranked|swept|postings)=\d+', '\1=N', 'g');
		RETURN NEXT regexp_replace(line, '^.*: (ef|pages)', '\1');
	END LOOP;
END $$;

-- the reports of scans in a plan, wherever this server version puts them
CREATE FUNCTION explain_reports(statement text) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE statement INTO plan;
	IF plan->0->'Plan' IS NULL OR json_array_length(plan) <> 1 THEN
		RAISE EXCEPTION 'the plan is not where it belongs';
	END IF;
	RETURN QUERY SELECT r FROM jsonb_path_query(plan::jsonb,
		'strict $.** ? (@.type() == "object" && (exists (@."Hops") || exists (@."Postings")))') r;
END $$;

SELECT * FROM explain_lines('EXPLAIN (ANALYZE) SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');

-- nothing without ANALYZE, nor for plans that do not use an index of ours
SELECT * FROM explain_lines('EXPLAIN SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN (ANALYZE off, BUFFERS) SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT count(*) FROM items');

-- each format holds one report, and is what its name says
SELECT r->'Ef' AS ef, (r->>'Hops')::int BETWEEN 20 AND 200 AS hops,
	(r->>'Pages')::int BETWEEN 5 AND 300 AS pages,
	(r->>'Distances')::int > (r->>'Hops')::int AS distances,
	(r->>'Re-ranked')::int BETWEEN 0 AND 200 AS reranked, r->'Swept' AS swept, r->'Loops' AS loops
FROM explain_reports('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5') r;
CREATE FUNCTION explain_text(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE statement INTO answer;
	RETURN answer;
END $$;
SELECT count(*) FROM regexp_matches(explain_text('EXPLAIN (ANALYZE, FORMAT yaml) SELECT id FROM items
	ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5'), '\n +Ef: 40\n +Hops: \d+\n +Pages: \d+\n +Distances: \d+\n +Re-ranked: \d+\n', 'g');
SELECT count(*) FROM regexp_matches(explain_text('EXPLAIN (ANALYZE, FORMAT xml) SELECT id FROM items
	ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5'), '<Ef>40</Ef>\n +<Hops>\d+</Hops>', 'g');
SELECT x ~ '\n  </Query>\n</explain>$' AS ends, (SELECT array_agg(t[1] ORDER BY t[1]) FROM regexp_matches(x,
	'<(/?Omen-Index-Scan)>', 'g') t) AS tags
FROM explain_text('EXPLAIN (ANALYZE, FORMAT xml) SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5') x;

-- scans of text indexes, of rows by their rank and as bitmaps
CREATE TABLE notes (id int, t tsvector);
INSERT INTO notes SELECT i, to_tsvector('simple', 'word w' || i % 10) FROM generate_series(1, 1000) i;
CREATE INDEX notes_idx ON notes USING omenbm25 (t);
ANALYZE notes;
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT id FROM notes ORDER BY t <@> ''word''::tsquery LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT count(*) FROM notes WHERE t @@ ''w1''');
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT w, x.id FROM unnest(ARRAY[''w1'', ''w2'', ''none'']) w
	CROSS JOIN LATERAL (SELECT id FROM notes ORDER BY t <@> w::tsquery LIMIT 3) x');
SELECT (r->>'Pages')::int > 2 AS pages, (r->>'Postings')::int > 0 AS postings, r->'Pending' AS pending, r->'Passes' AS passes, r->'Loops' AS loops
FROM explain_reports('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM notes ORDER BY t <@> ''word''::tsquery LIMIT 5') r;

-- and where a filtered scan reads their rows one by one, once for each filter
ALTER TABLE notes ADD v vector(4);
UPDATE notes SET v = ARRAY[id, id % 7, id % 11, id % 13]::vector;
CREATE INDEX ON notes USING omenhnsw (v vector_l2_ops);
VACUUM ANALYZE notes;
SET omendb.filter_strategy = exact;
SET enable_sort = off;
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT id FROM notes WHERE t @@ ''w1'' ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT w, x.id FROM unnest(ARRAY[''w1'', ''w2'', ''w1'']) w
	CROSS JOIN LATERAL (SELECT id FROM notes WHERE t @@ w::tsquery ORDER BY v <-> ''[1,2,3,4]'' LIMIT 3) x');
RESET enable_sort;
RESET omendb.filter_strategy;

-- with whatever else is shown
SELECT count(*) FROM explain_reports('EXPLAIN (ANALYZE, VERBOSE, BUFFERS, WAL, SETTINGS, FORMAT json)
	SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT count(*) FROM explain_reports('EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, FORMAT json)
	SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');

-- a wider scan, one that widens, one of all rows
SET omenhnsw.ef_search = 100;
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
RESET omenhnsw.ef_search;
SELECT r->>'Swept' = '0' AS no_sweep, (r->>'Ef')::int > 40 AS wider
FROM explain_reports('EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM items WHERE id > 60 ORDER BY v <-> ''[1,2,3,4]'' LIMIT 1') r;
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]''');

-- a scan for each row of another table: the sums of all loops
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT o.id, n.id FROM (SELECT * FROM others ORDER BY id LIMIT 7) o
	CROSS JOIN LATERAL (SELECT id FROM items ORDER BY v <-> o.v LIMIT 3) n');
SELECT r->'Loops' AS loops, (r->>'Hops')::int BETWEEN 7 * 20 AND 7 * 200 AS hops
FROM explain_reports('EXPLAIN (ANALYZE, FORMAT json) SELECT o.id, n.id FROM (SELECT * FROM others ORDER BY id LIMIT 7) o
	CROSS JOIN LATERAL (SELECT id FROM items ORDER BY v <-> o.v LIMIT 3) n') r;

-- two indexes, one of them below a subplan; and a scan that is never started
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT id, (SELECT o.id FROM others o ORDER BY o.v <-> i.v LIMIT 1)
	FROM items i ORDER BY v <-> ''[1,2,3,4]'' LIMIT 4');
SELECT * FROM explain_lines('EXPLAIN ANALYZE (SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 2)
	UNION ALL (SELECT id FROM others ORDER BY v <-> ''[1,2,3,4]'' LIMIT 2) LIMIT 1');

-- statements that hold a query
PREPARE nearest(vector) AS SELECT id FROM items ORDER BY v <-> $1 LIMIT 5;
SELECT * FROM explain_lines('EXPLAIN ANALYZE EXECUTE nearest(''[1,2,3,4]'')');
SELECT r->'Loops' AS loops FROM explain_reports('EXPLAIN (ANALYZE, FORMAT json) EXECUTE nearest(''[1,2,3,4]'')') r;
SELECT * FROM explain_lines('EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE CREATE TABLE copy AS SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE DELETE FROM others WHERE id IN
	(SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5)');

-- what functions of the query run is theirs, not the query's
CREATE FUNCTION nearest_id(vector) RETURNS int LANGUAGE plpgsql AS
	'BEGIN RETURN (SELECT id FROM others ORDER BY v <-> $1 LIMIT 1); END';
CREATE FUNCTION explains(vector) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM explain_lines('EXPLAIN ANALYZE SELECT id FROM others ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5'));
END $$;
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT nearest_id(v), explains(v) FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 3');

-- an error, caught or not, leaves nothing behind
CREATE FUNCTION fails(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''row %'', $1; END';
CREATE FUNCTION survives(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
BEGIN;
SELECT survives('EXPLAIN ANALYZE SELECT fails(id) FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT survives(''SELECT fails(1)''), id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT survives(''EXPLAIN ANALYZE SELECT fails(id) FROM others ORDER BY v <-> ''''[1,2,3,4]'''' LIMIT 1''), id
	FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
SAVEPOINT s;
EXPLAIN ANALYZE SELECT fails(id) FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 5;
ROLLBACK TO s;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 5) x;
SELECT * FROM explain_lines('EXPLAIN ANALYZE SELECT id FROM items ORDER BY v <-> ''[1,2,3,4]'' LIMIT 5');
COMMIT;

-- wrong options are the server's to report
EXPLAIN (ANALYZE, FORMAT html) SELECT id FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 5;
EXPLAIN (ANALYZE perhaps) SELECT id FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 5;

DEALLOCATE nearest;
DROP FUNCTION explain_lines, explain_reports, explain_text, explains, survives, fails, nearest_id;
DROP TABLE items, others, notes;
