# Whoever may create objects in a schema must not get others to run them: not in the
# schema of the extension, before it is created there or after, not in one that comes
# first in the search path, not by the name of a table or a column.
#
# The functions of an index are its owner's: whoever maintains the index runs them as
# the owner.

use strict;
use warnings FATAL => 'all';

use FindBin;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('security');
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');

# Functions and operators of names that the extension uses, which fit its calls as well
# as those of pg_catalog, or better
my $traps = <<'SQL';
CREATE FUNCTION ln(bigint) RETURNS float8 TRAP;
CREATE FUNCTION ln(float8) RETURNS float8 TRAP;
CREATE FUNCTION unnest(text[]) RETURNS SETOF text TRAP;
CREATE FUNCTION jsonb_each_text(jsonb, OUT key text, OUT value text) RETURNS SETOF record TRAP;
CREATE FUNCTION format(text, text, text) RETURNS text TRAP;
CREATE FUNCTION quote_ident(text) RETURNS text TRAP;
CREATE FUNCTION trap(float8, float8) RETURNS float8 TRAP;
CREATE FUNCTION trap(float8, int) RETURNS bool TRAP;
CREATE FUNCTION trap(bigint, int) RETURNS bool TRAP;
CREATE FUNCTION trap(int, int) RETURNS bool TRAP;
CREATE FUNCTION trap(name, name) RETURNS bool TRAP;
CREATE FUNCTION trap(float8) RETURNS float8 TRAP;
CREATE FUNCTION trap(tsvector, tsquery) RETURNS bool TRAP;
CREATE OPERATOR = (LEFTARG = float8, RIGHTARG = int, FUNCTION = trap);
CREATE OPERATOR = (LEFTARG = int, RIGHTARG = int, FUNCTION = trap);
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = trap);
CREATE OPERATOR <= (LEFTARG = bigint, RIGHTARG = int, FUNCTION = trap);
CREATE OPERATOR / (LEFTARG = float8, RIGHTARG = float8, FUNCTION = trap);
CREATE OPERATOR - (RIGHTARG = float8, FUNCTION = trap);
CREATE OPERATOR @@ (LEFTARG = tsvector, RIGHTARG = tsquery, FUNCTION = trap);
SQL

# What is added to the extension's schema later: the calls of its functions would fit
# better if they left arguments out
my $overloads = <<'SQL';
CREATE FUNCTION rrf(branch1 float8, branch2 float8, weights float8[], window_size integer) RETURNS float8 TRAP;
CREATE FUNCTION fuse(branch1 float8, branch2 float8, norm text, weights float8[], window_size integer) RETURNS float8 TRAP;
CREATE FUNCTION omen_hybrid_statement(regclass, text, name, text, name, jsonb, text) RETURNS text TRAP;
CREATE FUNCTION omen_ndcg(text[], jsonb, bigint) RETURNS float8 TRAP;
CREATE FUNCTION bm25_doc_length(text) RETURNS integer TRAP;
SQL

s/TRAP;/LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'trap'; END \$\$;/g for $traps, $overloads;

my $data = <<'SQL';
CREATE TABLE docs (id int PRIMARY KEY, tenant int, v vector(3), t tsvector);
INSERT INTO docs SELECT i, i % 5, ARRAY[i % 10, i % 7, i % 31]::vector(3), to_tsvector('pg_catalog.simple', 'common w' || i % 7)
  FROM generate_series(1, 500) i;
CREATE INDEX docs_v ON docs USING omenhnsw (v vector_l2_ops);
CREATE INDEX docs_t ON docs USING omenbm25 (t);
ANALYZE docs;
SQL

# each of these calls functions of the extension that find names
sub calls
{
	my ($ext, $docs) = @_;

	return (
		"SELECT $ext.omen_ndcg('{a,b,c}', '{\"b\": 1, \"d\": 1}', 10) > 0",
		"SELECT count(*) OPERATOR(pg_catalog.=) 5 FROM $ext.hybrid_search('$docs', 'v', '[1,2,3]', 't', 'w3', 5, '{\"tenant\": [1, 2]}', operator => '<->')",
		"SELECT count(*) OPERATOR(pg_catalog.=) 5 FROM $ext.hybrid_search('$docs', 'v', '[1,2,3]', 't', 'w3', 5, '{\"tenant\": 1}', fusion => 'minmax', operator => '<->')",
		"SELECT count(*) OPERATOR(pg_catalog.>) 0 FROM $ext.hybrid_tune('$docs', 'id', 'v', ARRAY['[1,2,3]']::$ext.vector[], 't', '{w3}', '{\"{\\\"3\\\": 1}\"}', steps => 2, operator => '<->')",
		"SELECT ($ext.bm25_stats_for('$docs', 't', 'common')).documents OPERATOR(pg_catalog.=) 500",
		"SELECT ($ext.bm25_stats_for('$docs\_t', 'common')).documents OPERATOR(pg_catalog.=) 500",
		"SELECT $ext.omen_recall('$docs\_v') OPERATOR(pg_catalog.>) 0.5",
		"SELECT $ext.omen_key_problems('$docs\_v') OPERATOR(pg_catalog.=) 0::bigint",
		"SELECT $ext.bm25_problems('$docs\_t') IS NULL",
		"SELECT ($ext.omen_estimate_build('$docs\_v')).row_count OPERATOR(pg_catalog.=) 500::bigint",
		"SELECT $ext.fuse_score(0.5, 0.25, 'none') OPERATOR(pg_catalog.<) 0");
}

sub try_calls
{
	my ($db, $settings, $ext, $docs, $name) = @_;

	foreach my $call (calls($ext, $docs))
	{
		my ($status, $out, $err) = $node->psql($db, "$settings; $call");
		my ($function) = $call =~ /\.(\w+)\(/;

		is("$out $err", 't ', "$name: $function()");
	}
}

# --- a schema that others have been in before ---

$node->safe_psql('postgres', 'CREATE ROLE mallory');
$node->safe_psql('postgres', 'CREATE DATABASE hostile');
$node->safe_psql('hostile', "CREATE SCHEMA pit AUTHORIZATION mallory; SET ROLE mallory; SET search_path = pit; $traps");
$node->safe_psql('hostile', 'SET search_path = pit, public; CREATE EXTENSION omendb SCHEMA pit');
$node->safe_psql('hostile', "SET ROLE mallory; SET search_path = pit; $overloads");
$node->safe_psql('hostile', "CREATE SCHEMA safe; SET search_path = safe, pg_catalog, pit; $data");
is( $node->safe_psql('hostile',
		"SELECT count(*) FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass"
		  . " JOIN pg_depend e ON e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e'"
		  . " WHERE p.proowner = 'mallory'::regrole"),
	'0', 'nothing of the extension depends on what was there before it');
try_calls('hostile', 'SET search_path = safe, pg_catalog', 'pit', 'safe.docs', 'a hostile schema');

# --- a search path with such a schema first ---

$node->safe_psql('postgres', 'CREATE SCHEMA ext; DROP EXTENSION omendb; CREATE EXTENSION omendb SCHEMA ext');
$node->safe_psql('postgres', "CREATE SCHEMA pit AUTHORIZATION mallory; SET ROLE mallory; SET search_path = pit; $traps; $overloads");
$node->safe_psql('postgres', "SET search_path = public, ext; $data");
try_calls('postgres', 'SET search_path = pit, pg_catalog', 'ext', 'public.docs', 'a hostile search path');

# --- names that are statements ---

# names as they are, as identifiers, and as literals
my %names = map { $_ => "$_ \" '; DROP TABLE public.docs; -- \$1 %s %I E\\" }
  qw(schema table key vector text filter note type hnsw bm25);
my %id = map { $_ => '"' . ($names{$_} =~ s/"/""/gr) . '"' } keys %names;
my %literal = map { $_ => "'" . ($names{$_} =~ s/'/''/gr) . "'" } keys %names;

$node->safe_psql('postgres', <<"SQL");
SET search_path = public, ext;
CREATE SCHEMA $id{schema};
CREATE DOMAIN $id{schema}.$id{type} AS int;
CREATE TABLE $id{schema}.$id{table} ($id{key} int, $id{filter} $id{schema}.$id{type}, $id{vector} vector(3), $id{text} tsvector, $id{note} char(100));
INSERT INTO $id{schema}.$id{table} SELECT id, tenant, v, t, $literal{note} FROM docs;
CREATE INDEX $id{hnsw} ON $id{schema}.$id{table} USING omenhnsw ($id{vector} vector_l2_ops, $id{filter});
CREATE INDEX $id{bm25} ON $id{schema}.$id{table} USING omenbm25 ($id{text});
ANALYZE $id{schema}.$id{table};
SQL

my $relation = "format('%I.%I', $literal{schema}, $literal{table})::regclass";
my $hnsw = "format('%I.%I', $literal{schema}, $literal{hnsw})::regclass";
my $bm25 = "format('%I.%I', $literal{schema}, $literal{bm25})::regclass";
my $filter = "jsonb_build_object($literal{filter}, 3, $literal{note}, $literal{note})";
my $where = 'SET search_path = public, ext';
my ($status, $out, $err);

foreach my $call (
	"SELECT count(*) = 5 FROM hybrid_search($relation, $literal{vector}, '[1,2,3]', $literal{text}, 'w3', 5, $filter, operator => '<->')",
	"SELECT count(*) > 0 FROM hybrid_tune($relation, $literal{key}, $literal{vector}, ARRAY['[1,2,3]']::vector[], $literal{text}, '{w3}', '{\"{\\\"3\\\": 1}\"}', steps => 1, filter => $filter, operator => '<->')",
	"SELECT bm25_score($id{text}, 'w3', bm25_stats_for($relation, $literal{text}, 'w3')) > 0 FROM $id{schema}.$id{table} WHERE $id{key} = 3",
	"SELECT count(*) = 5 FROM (SELECT FROM $id{schema}.$id{table} WHERE $id{filter} = 3 ORDER BY rrf($id{vector} <-> '[1,2,3]', $id{text} <\@> 'w3') LIMIT 5) x",
	"SELECT to_bm25query('w3', $bm25)::text::bm25query::text ~ 'index='",
	"SELECT (bm25_stats_for($bm25, 'w3')).documents = 500",
	"SELECT (bm25_stats($bm25)).documents = 500",
	"SELECT bm25_problems($bm25) IS NULL",
	"SELECT (omen_index_stats($hnsw)).rows = 500",
	"SELECT (omen_estimate_build($hnsw)).row_count = 500",
	"SELECT omen_recall($hnsw) > 0.5")
{
	my ($function) = $call =~ /((?:hybrid|bm25|omen|to|rrf)\w*)\(/;

	($status, $out, $err) = $node->psql('postgres', "$where; $call");
	is("$out $err", 't ', "names that are statements: $function()");
}
($status, $out, $err) = $node->psql('postgres',
	"$where; SELECT * FROM hybrid_search('docs', 'v', '[1,2,3]', 't', 'w3', operator => '<-> NULL; DROP TABLE docs; --')");
like($err, qr/is not a distance between vectors/, 'an operator is one of four');
($status, $out, $err) = $node->psql('postgres',
	"$where; SELECT * FROM hybrid_search('docs', 'v', '[1,2,3]', 't', 'w3', fusion => 'none''); DROP TABLE docs; --')");
like($err, qr/fusion .* is not known/, 'a fusion is one of five');
($status, $out, $err) = $node->psql('postgres',
	"$where; SELECT * FROM hybrid_search('docs', 'v', '[1,2,3]', 't', 'w3', filter => '{\"tenant = 1 OR true; --\": 1}')");
like($err, qr/column .* does not exist/, 'a filter names columns');
is($node->safe_psql('postgres', 'SELECT count(*) FROM public.docs'), '500', 'the table is still there');

# --- an index's own functions ---

# NOTICE who runs it, if that is not the owner; as in maintenance, it tries to be more
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA own AUTHORIZATION mallory;
GRANT USAGE ON SCHEMA ext TO mallory;
SET ROLE mallory;
SET search_path = own, ext;
CREATE FUNCTION spy() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF current_user <> 'mallory' THEN
    RAISE WARNING 'runs as %', current_user;
  END IF;
  IF current_setting('own.fails', true) = 'on' THEN
    RAISE EXCEPTION 'fails';
  END IF;
END $$;
CREATE FUNCTION spied(v ext.vector) RETURNS ext.vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM own.spy();
  RETURN v;
END $$;
CREATE FUNCTION spied(t tsvector) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM own.spy();
  RETURN t;
END $$;
CREATE FUNCTION spied(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM own.spy();
  RETURN i;
END $$;
CREATE TABLE items (id int, v vector(3), t tsvector);
INSERT INTO items SELECT i, ARRAY[i % 10, i % 7, i % 31]::vector(3), to_tsvector('pg_catalog.simple', 'common w' || i % 7)
  FROM generate_series(1, 3000) i;
CREATE INDEX items_v ON items USING omenhnsw ((spied(v)::vector(3)) vector_l2_ops, spied(id)) WHERE spied(id) > 0;
CREATE INDEX items_t ON items USING omenbm25 (spied(t)) WHERE spied(id) > 0;
SQL
foreach my $statement (
	'REINDEX TABLE own.items', 'REINDEX TABLE CONCURRENTLY own.items',
	'CREATE INDEX ON own.items USING omenhnsw ((own.spied(v)::ext.vector(3)) ext.vector_l2_ops)',
	'SET max_parallel_maintenance_workers = 2; SET min_parallel_table_scan_size = 0; REINDEX TABLE own.items',
	'DELETE FROM own.items WHERE id % 3 = 0; VACUUM own.items', 'ANALYZE own.items', 'VACUUM FULL own.items',
	"SELECT ext.omen_recall('own.items_v')", "SELECT ext.omen_key_problems('own.items_v')",
	"SELECT ext.omen_tid_map_problems('own.items_v')", "SELECT ext.bm25_problems('own.items_t')",
	"SELECT ext.bm25_merge('own.items_t')", "SELECT ext.omen_estimate_build('own.items_v')",
	"SELECT ext.bm25_stats_for('own.items_t', 'common')", "SELECT ext.bm25_stats_for('own.items', 't', 'common')",
	"SELECT ext.omen_prewarm('own.items_v')")
{
	my @parts = split /; /, $statement;

	($status, $out, $err) = $node->psql('postgres', join(";\n", @parts));
	is($status . $err, '0', "as the owner: $parts[-1]");
}

# an error in them leaves nobody as the owner
foreach my $function ('omen_recall', 'omen_key_problems')
{
	is( $node->safe_psql('postgres', <<"SQL"), 'caught|t', "an error in $function() ends its role");
SET own.fails = on;
CREATE TEMP TABLE seen (what text);
DO \$\$
BEGIN
  PERFORM ext.$function('own.items_v');
EXCEPTION WHEN raise_exception THEN
  INSERT INTO seen VALUES ('caught');
END \$\$;
SELECT what, current_user = session_user FROM seen;
SQL
}

# --- what the planner binds a query to is good for parallel workers, too ---

my $parallel = $version >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';
is( $node->safe_psql('postgres', <<"SQL"), "5\n3", 'ranking through a view, in a worker');
SET search_path = public, ext;
CREATE VIEW shown AS SELECT id, t FROM docs WHERE tenant = 3;
GRANT SELECT ON shown TO mallory;
SET ROLE mallory;
SET enable_indexscan = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET $parallel = on;
PREPARE ranked(tsquery) AS SELECT id FROM shown ORDER BY t <\@> \$1, id LIMIT 1;
SET plan_cache_mode = force_generic_plan;
SELECT count(*) FROM (SELECT t <\@> 'w3' AS d FROM shown ORDER BY d LIMIT 5) x WHERE d < 0;
EXECUTE ranked('w3');
SQL

# --- settings: all of them in the README, as they are ---

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my %documented;
while ($readme =~ /^\| (`omen[^|]*?) \| ([^|]*) \| ([^|]*) \|/mg)
{
	my ($names, $context, $defaults) = ($1, $2, $3);
	my @defaults = split /, /, $defaults;
	my @names = $names =~ /`(omen(?:db|hnsw|bm25)\.\w+)`/g;

	$documented{ $names[$_] } = "$context " . ($defaults[$_] // '') for 0 .. $#names;
}
my %settings = map { split /\|/, $_, 2 } split /\n/, $node->safe_psql('postgres', <<'SQL');
LOAD 'omendb';
SELECT name, context || ' ' || boot_val FROM pg_settings WHERE name ~ '^omen(db|hnsw|bm25)\.';
SQL
is_deeply(\%documented, \%settings, 'the README has every setting with its context and default');

$node->stop;
done_testing();
