# What a session may meet: a preloaded library, errors and rollbacks, another
# locale, many scans of one query, a broken index.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('session', preload => 1);
my %data = (type => 'vector', dim => 16, kind => 'random');

# listed in shared_preload_libraries
load_rows($node, 'items', %data, rows => 2000);
load_queries($node, 'queries', %data, rows => 40);
query($node, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');
is(all_through_index($node, 'items', 'v <-> (SELECT v FROM queries LIMIT 1)'),
	'2000 2000', 'the library works when preloaded');

# a database without the extension, and a failed transaction
query($node, 'CREATE DATABASE other');
my ($status, $out) = $node->psql('other',
	"BEGIN;\nSELECT 1/0;\nSELECT 1;\nROLLBACK;\nSELECT 2;", on_error_stop => 0);
is($out, '2', 'a failed transaction in a database without the extension ends well');
($status, $out) = $node->psql('postgres',
	"BEGIN;\nSELECT id FROM items ORDER BY v <-> '[1]' LIMIT 1;\n"
	  . "SELECT id FROM items ORDER BY v <-> '[1]' LIMIT 1;\nROLLBACK;\nSELECT 2;",
	on_error_stop => 0);
is($out, '2', 'an error inside a scan ends with its transaction');

# many scans in one query: memory stays
SKIP:
{
	skip 'no /proc', 2 if !-e '/proc/self/status';

	my $growth = query($node, index_scan() . <<'SQL');
CREATE FUNCTION memory() RETURNS int LANGUAGE sql VOLATILE AS
  $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::int $$;
CREATE TEMP TABLE many AS SELECT q.v FROM queries q, generate_series(1, 50);
SELECT count(*) FROM many q, LATERAL (SELECT id FROM items ORDER BY v <-> q.v LIMIT 3) s;
CREATE TEMP TABLE before AS SELECT memory() AS kb;
INSERT INTO many SELECT q.v FROM queries q, generate_series(1, 450);
SELECT count(*) FROM many q, LATERAL (SELECT id FROM items ORDER BY v <-> q.v LIMIT 3) s;
SELECT memory() - kb FROM before;
SQL
	my @growth = split /\n/, $growth;
	is($growth[0] . ' ' . $growth[1], '6000 60000', '20,000 scans of one query');
	cmp_ok($growth[-1], '<', allowed_growth(10240), "their memory grew by $growth[-1] kB");
}
is( query($node, index_scan() . <<'SQL'), '40',
SELECT count(*) FROM queries q WHERE EXISTS
  (SELECT FROM (SELECT id FROM items ORDER BY v <-> q.v LIMIT 1) s)
SQL
	'a subplan scans again for each row');

# numbers are written with a point, whatever the locale
SKIP:
{
	my $locale = (grep { /^de_.*utf-?8$/i } split /\n/, `locale -a`)[0];

	skip 'no German locale', 1 if !$locale;
	is( query(
			$node,
			"SET lc_numeric = '$locale'; SELECT '[1.5,2.25]'::vector;"
			  . " SELECT '{1:1.5}/3'::sparsevec"),
		"[1.5,2.25]\n{1:1.5}/3",
		'a locale with a decimal comma');
}

# a cancelled build leaves nothing behind
my $files = 'SELECT count(*) FROM pg_class WHERE relname = \'late\'';
$node->psql('postgres',
	"SET statement_timeout = '5ms';"
	  . ' CREATE INDEX late ON items USING omenhnsw (v vector_l2_ops);');
ok( query($node, $files) =~ /^[01]$/
	  && query($node, 'DROP INDEX IF EXISTS late; SELECT 1') eq '1',
	'a cancelled build leaves no trace');
is(all_through_index($node, 'items', 'v <-> (SELECT v FROM queries LIMIT 1)'),
	'2000 2000', 'and the other index as it was');

# a first page that is not ours
my $path = $node->data_dir . '/'
  . query($node, "SELECT pg_relation_filepath('idx')");
$node->stop;
open(my $file, '+<:raw', $path) or die "could not open $path: $!";
print $file "\0" x 8192;
close $file;
$node->start;
foreach my $sql (
	'SET enable_seqscan = off; SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 1;',
	'INSERT INTO items SELECT 0, v FROM queries LIMIT 1;',
	'DELETE FROM items WHERE id < 1000; VACUUM (INDEX_CLEANUP on) items;')
{
	my (undef, undef, $error) =
	  $node->psql('postgres', join("\n", '\set VERBOSITY verbose', split(/(?<=;) /, $sql)));

	like($error, qr/ERROR:  XX002: .*HINT: .*REINDEX/s,
		'a broken first page is reported, with a hint: ' . substr($sql, 0, 30));
}
query($node, 'REINDEX INDEX idx');
is( all_through_index($node, 'items', 'v <-> (SELECT v FROM queries LIMIT 1)'),
	query($node, "SELECT count(*) || ' ' || count(*) FROM items"),
	'and REINDEX mends it');

$node->stop;
done_testing();
