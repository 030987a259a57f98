-- Options, column types and queries that are not right are refused clearly
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/explain.sql'
\i :helpers
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE TABLE t (v vector(3), nodim vector, s sparsevec(3), b bit(3), vb varbit(3), n int);
CREATE FUNCTION refuses(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN hint <> '' THEN ' / ' || hint ELSE '' END;
END $$;

SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (m = 1)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (m = 101)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (ef_construction = 3)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (ef_construction = 1001)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 31)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (quantizer = pq8)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (ef_search = 1001)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) WITH (lists = 10)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l1_ops) WITH (quantizer = rabitq)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (s sparsevec_l2_ops) WITH (quantizer = sq8)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l1_ops) WITH (quantizer = pq)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (b bit_hamming_ops) WITH (quantizer = rabitq)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (n vector_l2_ops)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (nodim vector_l2_ops)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (vb bit_hamming_ops)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw ((b::bit(64001)) bit_hamming_ops)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops) INCLUDE (n)');
SELECT refuses('CREATE INDEX ON t USING omenhnsw (v vector_l2_ops, v vector_ip_ops)');
SELECT refuses('CREATE UNIQUE INDEX ON t USING omenhnsw (v vector_l2_ops)');

-- an index that holds rows of three dimensions
INSERT INTO t (v, nodim) SELECT ARRAY[i, i, i]::vector, '[1,2]' FROM generate_series(1, 20) i;
CREATE INDEX idx ON t USING omenhnsw (v vector_l2_ops);
SET enable_seqscan = off;
SELECT refuses('SELECT * FROM t ORDER BY v <-> ''[1,2]'' LIMIT 1');
SELECT refuses('INSERT INTO t (v) VALUES (''[1,2]'')');
SELECT refuses('CREATE INDEX ON t USING omenhnsw ((nodim::vector(3)) vector_l2_ops)');
SELECT count(*) FROM (SELECT 1 FROM t ORDER BY v <-> '[1,2,3]') x;

-- a column that loses its dimensions keeps its index, until that is built anew
ALTER TABLE t ALTER v TYPE vector;
INSERT INTO t (v) VALUES ('[1,2,4]');
SELECT refuses('INSERT INTO t (v) VALUES (''[1,2]'')');
SELECT v FROM t ORDER BY v <-> '[1,2,4]' LIMIT 1;
SELECT refuses('REINDEX INDEX idx');
DELETE FROM t WHERE v = '[1,2,4]';
ALTER TABLE t ALTER v TYPE vector(3);
SELECT count(*) FROM (SELECT 1 FROM t ORDER BY v <-> '[1,2,3]') x;

-- per-index ef_search changes without a rebuild
ALTER INDEX idx SET (ef_search = 200);
ALTER INDEX idx RESET (ef_search);
SELECT refuses('ALTER INDEX idx SET (ef_search = -1)');

-- which ef_search counts: an explicit omenhnsw.ef_search, else an explicit
-- hnsw.ef_search, else the index's option, else 40
CREATE TABLE line (v vector(2));
INSERT INTO line SELECT ARRAY[i, 0]::vector FROM generate_series(1, 3000) i;
CREATE INDEX line_idx ON line USING omenhnsw (v vector_l2_ops);
SET omenhnsw.exhaustive = off;
CREATE VIEW breadth AS SELECT CASE WHEN n < 30 THEN 'about 5'
	WHEN n < 120 THEN 'about 40' WHEN n < 300 THEN 'about 200' ELSE 'about 500' END AS ef
FROM (SELECT count(*) AS n FROM (SELECT 1 FROM line ORDER BY v <-> '[1000,0]') x) y;
SELECT * FROM breadth;
ALTER INDEX line_idx SET (ef_search = 200);
SELECT * FROM breadth;
SET hnsw.ef_search = 5;
SELECT * FROM breadth;
SET omenhnsw.ef_search = 500;
SELECT * FROM breadth;
RESET omenhnsw.ef_search;
SELECT * FROM breadth;
RESET hnsw.ef_search;
SELECT * FROM breadth;
SET omenhnsw.ef_search = 40;
SELECT * FROM breadth;
RESET omenhnsw.ef_search;
RESET omenhnsw.exhaustive;
DROP VIEW breadth;
DROP TABLE line;

-- never used without its ORDER BY
SELECT pg_temp.plan_of($$SELECT * FROM t WHERE v = '[1,2,3]'$$);
EXPLAIN (COSTS OFF) SELECT v FROM t ORDER BY v <-> '[1,2,3]' LIMIT 1;
SELECT pg_temp.plan_of($$SELECT v FROM t ORDER BY v <-> '[1,2,3]' DESC LIMIT 1$$);

-- both names, all operator classes valid
SELECT amname, count(*), bool_and(amvalidate(c.oid))
FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
WHERE amname IN ('omenhnsw', 'hnsw') GROUP BY 1 ORDER BY 1;

DROP FUNCTION refuses;
DROP TABLE t;
