-- What the catalogs say about our objects

-- every operator with its commutator and negator; - and || have none, or the
-- planner would turn their arguments round
SELECT oprleft::regtype AS type, oprname, oprcode, oprcom::regoperator AS commutator,
	oprnegate::regoperator AS negator, oprrest, oprjoin
	FROM pg_operator o JOIN pg_depend d ON d.classid = 'pg_operator'::regclass AND d.objid = o.oid
	WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'omendb')
	ORDER BY oprleft::regtype::text, oprname COLLATE "C";
EXPLAIN (VERBOSE, COSTS OFF)
	SELECT '[1,2]'::vector - v, v - '[1,2]'::vector FROM (SELECT '[3,4]'::vector AS v OFFSET 0) AS t;

-- functions: named after us in C, immutable, strict and parallel safe, but for
-- those that look into indexes
SELECT p.oid::regprocedure, provolatile, proisstrict, proparallel, CASE WHEN prosrc !~ '\n' THEN prosrc END AS prosrc
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'omendb')
	AND prokind = 'f'
	AND (prosrc !~ '^omen_' OR provolatile <> 'i' OR NOT proisstrict OR proparallel <> 's')
	AND prorettype <> 'index_am_handler'::regtype
	ORDER BY 1;

-- every object has a comment, but those that CREATE makes by the way
SELECT pg_describe_object(classid, objid, 0)
	FROM pg_depend
	WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'omendb')
	AND classid <> 'pg_opfamily'::regclass
	AND NOT (classid = 'pg_type'::regclass AND pg_describe_object(classid, objid, 0) LIKE '%[]')
	AND obj_description(objid, classid::regclass::name) IS NULL;

-- the extension works from any schema, for any user
BEGIN;
CREATE SCHEMA "Mixed case";
ALTER EXTENSION omendb SET SCHEMA "Mixed case";
CREATE ROLE omen_reader;
GRANT USAGE ON SCHEMA "Mixed case" TO omen_reader;
SET LOCAL ROLE omen_reader;
SET LOCAL search_path = '';
SELECT '[1,2]'::"Mixed case".vector OPERATOR("Mixed case".<->) '[4,6]' AS l2,
	'{1:1}/2'::"Mixed case".sparsevec::"Mixed case".vector,
	"Mixed case".avg('[1,2]'::"Mixed case".halfvec);
CREATE TEMP TABLE t (v "Mixed case".vector(2));
INSERT INTO t VALUES ('[1,2]'), ('[0,2]');
SELECT v FROM t ORDER BY v;
ROLLBACK;

-- one database has room for one type called vector
BEGIN;
DROP EXTENSION omendb;
INSERT INTO pg_extension SELECT 1, 'vector', 10, 'public'::regnamespace, false, '0', NULL, NULL;
\set SHOW_CONTEXT never
CREATE EXTENSION omendb;
ROLLBACK;
