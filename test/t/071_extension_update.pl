# ALTER EXTENSION UPDATE: from every version that can be installed, the objects
# of the extension become those of a fresh install, and indexes that were built
# before answer as before or say REINDEX. A version that there is no way from
# any more is missed by the list of released versions.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# versions that users may have; a release adds itself
my @released = ('0.1.0');

my $node = new_node('update');
my $current = query($node,
	"SELECT default_version FROM pg_available_extensions WHERE name = 'omendb'");

# Every object of the extension with all that its CREATE says, its privileges
# and its comment
my $objects = <<'SQL';
SET search_path = public;
WITH members AS (
  SELECT classid, objid, objsubid FROM pg_depend
  WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
    AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'omendb'))
SELECT pg_describe_object(classid, objid, objsubid),
  CASE classid
    WHEN 'pg_proc'::regclass THEN
      (SELECT CASE prokind WHEN 'a' THEN
          (SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggcombinefn, aggserialfn,
            aggdeserialfn, aggtranstype::regtype, agginitval)
          FROM pg_aggregate WHERE aggfnoid = p.oid)
        ELSE pg_get_functiondef(oid) END || ' ' || coalesce(proacl::text, '')
        || procost || ' ' || prorows || ' ' || prosupport || ' ' || proparallel::text
      FROM pg_proc p WHERE oid = objid)
    WHEN 'pg_type'::regclass THEN
      (SELECT concat_ws(' ', typlen, typbyval, typcategory, typispreferred, typinput,
        typoutput, typreceive, typsend, typmodin, typmodout, typalign, typstorage)
      FROM pg_type WHERE oid = objid)
    WHEN 'pg_operator'::regclass THEN
      (SELECT concat_ws(' ', oprcode, oprrest, oprjoin, oprcom::regoperator,
        oprnegate::regoperator, oprcanmerge, oprcanhash)
      FROM pg_operator WHERE oid = objid)
    WHEN 'pg_opclass'::regclass THEN
      (SELECT concat_ws(' ', opcdefault, opcintype::regtype, opckeytype::regtype)
      FROM pg_opclass WHERE oid = objid)
    WHEN 'pg_opfamily'::regclass THEN
      concat((SELECT string_agg(pg_describe_object('pg_amop'::regclass, oid, 0), ';'
          ORDER BY pg_describe_object('pg_amop'::regclass, oid, 0))
        FROM pg_amop WHERE amopfamily = objid), ' ',
        (SELECT string_agg(pg_describe_object('pg_amproc'::regclass, oid, 0), ';'
          ORDER BY pg_describe_object('pg_amproc'::regclass, oid, 0))
        FROM pg_amproc WHERE amprocfamily = objid))
    WHEN 'pg_cast'::regclass THEN
      (SELECT concat_ws(' ', castfunc::regprocedure, castcontext, castmethod)
      FROM pg_cast WHERE oid = objid)
    WHEN 'pg_am'::regclass THEN
      (SELECT amhandler::text FROM pg_am WHERE oid = objid)
    WHEN 'pg_class'::regclass THEN
      (SELECT coalesce(pg_get_viewdef(oid), '') || relkind::text || coalesce(relacl::text, '')
      FROM pg_class WHERE oid = objid)
  END,
  obj_description(objid, classid::regclass::name)
FROM members ORDER BY 1, 2
SQL
my $contents = <<'SQL';
CREATE TABLE items (id int, kind int, v vector(4), h halfvec(4), b bit(4), s sparsevec(4), body tsvector);
INSERT INTO items SELECT i, i % 5, ARRAY[i, i % 7, i % 11, 1]::vector, ARRAY[i, i % 7, i % 11, 1]::vector,
  (i % 16)::bit(4), ARRAY[i, 0, i % 11, 1]::vector, to_tsvector('simple', 'word w' || i % 10)
FROM generate_series(1, 300) i;
CREATE INDEX items_v ON items USING omenhnsw (v vector_l2_ops, kind);
CREATE INDEX items_h ON items USING omenhnsw (h halfvec_cosine_ops);
CREATE INDEX items_b ON items USING omenhnsw (b bit_hamming_ops);
CREATE INDEX items_s ON items USING omenhnsw (s sparsevec_ip_ops);
CREATE INDEX items_body ON items USING omenbm25 (body);
CREATE VIEW near AS SELECT id FROM items ORDER BY v <-> '[5,5,5,5]', id;
SQL
my @queries = (
	"SELECT id FROM items ORDER BY v <-> '[1.13,2.29,3.41,4]' LIMIT 5",
	"SELECT id FROM items WHERE kind = 3 ORDER BY v <-> '[1.13,2.29,3.41,4]' LIMIT 5",
	"SELECT h <=> '[1,2,3.5,4]' FROM items ORDER BY h <=> '[1,2,3.5,4]' LIMIT 5",
	"SELECT b <~> '1010' FROM items ORDER BY b <~> '1010' LIMIT 5",
	"SELECT s <#> '{1:1}/4' FROM items ORDER BY s <#> '{1:1}/4' LIMIT 5",
	"SELECT id, body <@> 'w3'::tsquery FROM items WHERE body @@ 'w3' ORDER BY 2, id LIMIT 50",
	'SELECT * FROM near LIMIT 5');

# answers of the queries with these settings; a refused index is rebuilt once
sub answers
{
	my ($database, $settings) = @_;
	my $all = '';

	foreach my $sql (@queries)
	{
		my ($out, $err) = ('', '');

		$node->psql($database, "$settings $sql", stdout => \$out, stderr => \$err);
		if ($err =~ /HINT:  Rebuild it with (REINDEX INDEX \w+)/)
		{
			note("$database: $1");
			$node->safe_psql($database, $1);
			$out = $node->safe_psql($database, "$settings $sql");
		}
		elsif ($err ne '')
		{
			$out = $err;
		}
		$all .= "$out\n\n";
	}
	return $all;
}

my $fresh = query($node, $objects);
my @lines = split /\n/, $fresh;

ok(@lines > 100, 'the objects of a fresh install are described');
ok((grep { $_ eq $current } @released), "the current version, $current, is one of the released");

query($node, 'ALTER FUNCTION l2_distance(vector, vector) COST 7');
isnt(query($node, $objects), $fresh, 'a change of an object is seen');

foreach my $version (@released)
{
	my $database = "from_$version";
	my $without = 'SET enable_indexscan = off; SET enable_bitmapscan = off;';
	my $expected;

	query($node, "CREATE DATABASE \"$database\"");
	$node->safe_psql($database, "CREATE EXTENSION omendb VERSION '$version'; $contents");
	$expected = answers($database, $without);
	is_same_rows(answers($database, index_scan()), $expected,
		"$version: indexes answer as scans of the table do");
	$node->safe_psql($database, 'ALTER EXTENSION omendb UPDATE');
	is( $node->safe_psql(
			$database, "SELECT extversion FROM pg_extension WHERE extname = 'omendb'"),
		$current,
		"$version: updated to $current");
	is_same_rows($node->safe_psql($database, $objects),
		$fresh, "$version: the objects are those of a fresh install");
	is_same_rows(answers($database, index_scan()), $expected,
		"$version: indexes made before answer as before");
	$node->safe_psql($database, 'DROP EXTENSION omendb CASCADE');
	is( $node->safe_psql(
			$database,
			"SELECT count(*) FROM pg_proc WHERE probin LIKE '%omendb%'"),
		'0',
		"$version: nothing is left after DROP EXTENSION");
}

# and every step of the way is a script of its own
is( query(
		$node,
		"SELECT string_agg(source || ' to ' || target, ', ') FROM pg_extension_update_paths('omendb')"
		  . " WHERE target = '$current' AND path IS NULL"),
	'',
	'there is a way from every version that the scripts name');

$node->stop;
done_testing();
