# Builds that are cut off, by a timeout, a limit, a dead worker or a lock that
# does not come, end with an error that says so and leave nothing behind; builds
# with little memory or no workers succeed; and scans, inserts and rebuilds by
# the thousand take no more memory than one does.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('resources', conf => 'max_worker_processes = 8');
my %data = (type => 'vector', dim => 32);
my $build = 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)';
my $nearest = 'v <-> (SELECT v FROM items WHERE id = 7)';

load_rows($node, 'items', %data, rows => 8000);

# run a statement that should fail: its SQLSTATE, or "none"
sub sqlstate
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 1);
	return $err =~ /ERROR:  (\w{5}):/ ? $1 : "none: $out$err";
}

sub temporary_files
{
	my @files = (
		glob($node->data_dir . '/base/pgsql_tmp/*'),
		glob($node->data_dir . '/base/pgsql_tmp/*/*'));

	return scalar @files;
}

# nothing left: files, workers, the index
sub is_clean
{
	my ($name) = @_;

	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker'"),
		"$name: no worker is left");
	is(temporary_files(), 0, "$name: no temporary file is left");
	is(query($node, "SELECT count(*) FROM pg_class WHERE relname = 'idx'"),
		'0', "$name: no index is left");
	return;
}

# 1. cut off at some point of each phase
foreach my $workers (0, 2)
{
	my $parallel = "SET max_parallel_maintenance_workers = $workers";
	my $cut = 0;

	foreach my $timeout (20, 150, 400, 800)
	{
		my $state = sqlstate("$parallel; SET statement_timeout = $timeout; $build");

		$cut++ if $state eq '57014';
		like($state, qr/^57014|^none/, "timeout after $timeout ms, $workers workers");
		query($node, 'DROP INDEX IF EXISTS idx');
	}
	cmp_ok($cut, '>', 1, "$cut builds with $workers workers were cut off");
	is_clean("timeouts with $workers workers");

	# the files of a build count, those that are mapped too
	is(sqlstate("$parallel; SET temp_file_limit = '2MB'; $build"),
		'53400', "temp_file_limit with $workers workers");
	is_clean("temp_file_limit with $workers workers");
}

# temporary files go where they are told to
my $space = PostgreSQL::Test::Utils::tempdir();
my ($in, $out, $err) = ('', '', '');
query($node, "CREATE TABLESPACE space LOCATION '$space'");
$node->psql(
	'postgres',
	"SET temp_tablespaces = space; SET log_temp_files = 0; SET client_min_messages = log; $build",
	stdout => \$out,
	stderr => \$err);
like($err, qr/temporary file: path "pg_tblspc/, 'temp_tablespaces is heeded');
unlike($err, qr/temporary file: path "base/, 'by all files');
query($node, 'DROP INDEX idx');

# the same session goes on: nothing is mapped any more
SKIP:
{
	skip 'no /proc', 1 if !-r '/proc/self/maps';
	my $maps = query($node,
		"SET statement_timeout = 200; DO \$\$ BEGIN EXECUTE '$build';"
		  . " EXCEPTION WHEN query_canceled THEN NULL; END \$\$; RESET statement_timeout;"
		  . " SELECT count(*) FROM regexp_matches(pg_read_file('/proc/self/maps'), 'pgsql_tmp', 'g')");
	is($maps, '0', 'a cancelled build has unmapped its files');
	query($node, 'DROP INDEX IF EXISTS idx');
}

# 2. a worker that is told to go takes the build with it
($in, $out, $err) = ('', '', '');
my $handle = IPC::Run::start(
	[
		'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-d', 'postgres',
		'-c', "SET max_parallel_maintenance_workers = 2", '-c', $build
	],
	\$in, '>', \$out, '2>', \$err);
$node->poll_query_until('postgres',
	"SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
$handle->finish;
like($err, qr/terminating|lost connection to parallel worker/,
	'a build whose worker is terminated fails');
is_clean('terminated worker');

# 3. a lock that does not come
$handle = IPC::Run::start(
	[
		'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-d', 'postgres',
		'-c', 'BEGIN; LOCK TABLE items; SELECT pg_sleep(4)'
	],
	\$in, '>', \$out, '2>', \$err);
$node->poll_query_until('postgres',
	"SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'items'::regclass AND granted");
is(sqlstate("SET lock_timeout = 100; $build"), '55P03', 'lock_timeout');
$handle->finish;
is_clean('lock_timeout');

# 4. memory that is not there
query($node, "SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 2; $build");
is(all_through_index($node, 'items', $nearest),
	'8000 8000', 'a build in 1 MB has every row');
is( query($node, index_scan() . <<"SQL"), '8000 8000 t', 'and so has a scan in 64 kB, by many passes');
SET work_mem = '64kB';
SELECT concat_ws(' ', count(*), count(DISTINCT id), count(*) FILTER (WHERE d < before) < 20) FROM
	(SELECT id, d, lag(d) OVER () AS before FROM
		(SELECT id, $nearest AS d FROM items ORDER BY $nearest) s) s
SQL

SKIP:
{
	skip 'no /proc', 2 if !-r '/proc/self/status';
	my ($inserts, $rebuilds) = lines($node, <<'SQL');
CREATE FUNCTION memory() RETURNS int LANGUAGE sql VOLATILE AS
	$$ SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::int $$;
CREATE TABLE grown (v vector(32));
CREATE INDEX grown_idx ON grown USING omenhnsw (v vector_l2_ops);
CREATE PROCEDURE grow(first int, last int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN first..last LOOP
		INSERT INTO grown SELECT v FROM items WHERE id = i;
	END LOOP;
END $$;
CREATE UNIQUE INDEX ON items (id);
BEGIN;
CALL grow(1, 1000);
CREATE TEMP TABLE before AS SELECT memory() AS kb;
CALL grow(1001, 4000);
SELECT memory() - kb FROM before;
COMMIT;
REINDEX INDEX grown_idx;
UPDATE before SET kb = memory();
DO $$ BEGIN FOR i IN 1..10 LOOP EXECUTE 'REINDEX INDEX grown_idx'; END LOOP; END $$;
SELECT memory() - kb FROM before;
SQL
	cmp_ok($inserts, '<', allowed_growth(10240), "3,000 inserts in one transaction take $inserts kB more");
	cmp_ok($rebuilds, '<', allowed_growth(10240), "10 rebuilds in one session take $rebuilds kB more");
}

# 5. workers that are not there
query($node, 'DROP INDEX idx');
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
query($node, "SET max_parallel_maintenance_workers = 2; $build");
is(all_through_index($node, 'items', $nearest),
	'8000 8000', 'a build without workers has every row');

$node->stop;
done_testing();
