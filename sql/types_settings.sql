-- Settings, and those of pgvector that we accept

-- a name used before the library is loaded keeps its value
SET hnsw.ef_search = 99;
SET hnsw.iterative_scan = 'no such mode';
LOAD 'omendb';
SHOW hnsw.ef_search;
RESET hnsw.ef_search;

SHOW hnsw.ef_search;
SHOW hnsw.iterative_scan;
SHOW hnsw.max_scan_tuples;
SHOW hnsw.scan_mem_multiplier;
SHOW omenhnsw.ef_search;
SHOW omenhnsw.exhaustive;
SHOW omenhnsw.iterative_scan;

-- values are shown as a variable of the proper type would show them
SET hnsw.ef_search = '0x20';
SET hnsw.iterative_scan = Strict_Order;
SET hnsw.scan_mem_multiplier = '2.50';
SHOW hnsw.ef_search;
SHOW hnsw.iterative_scan;
SHOW hnsw.scan_mem_multiplier;

SET hnsw.ef_search = 0;
SET hnsw.ef_search = 1001;
SET hnsw.ef_search = 'many';
SET hnsw.ef_search = 99999999999;
SET hnsw.iterative_scan = on;
SET hnsw.max_scan_tuples = 0;
SET hnsw.scan_mem_multiplier = 0.5;
SET hnsw.scan_mem_multiplier = 'NaN';
SET omenhnsw.ef_search = 0;
SET omenhnsw.iterative_scan = on;
SET omendb.simd = 'mmx';

-- transactions and functions put values back
BEGIN;
SET LOCAL hnsw.ef_search = 7;
SHOW hnsw.ef_search;
ROLLBACK;
SHOW hnsw.ef_search;
CREATE FUNCTION searching() RETURNS text LANGUAGE sql SET hnsw.ef_search = 8
	AS $$ SELECT current_setting('hnsw.ef_search') $$;
SELECT searching(), current_setting('hnsw.ef_search');
DROP FUNCTION searching();

-- the prefix hnsw is not ours to reserve; omendb and omenhnsw are
SET hnsw.no_such_setting = 1;
SET omendb.no_such_setting = 1;
SET omenhnsw.no_such_setting = 1;

-- settings travel to parallel workers
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE TABLE scanned AS SELECT n FROM generate_series(1, 1000) n;
SELECT count(*), min(current_setting('hnsw.ef_search')) FROM scanned WHERE n % 2 = 0;
DROP TABLE scanned;
