# Builds that are cut off, by a timeout, a limit, a dead worker or a lock that
# does not come, end with an error that says so and leave nothing behind; builds
# with little memory or no workers succeed; scans, inserts and rebuilds by the
# thousand take no more memory than one does; an insert that finds no disk for
# one of its pages leaves an index that is whole; inserts and vacuum write no WAL in
# vain.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# a file of WAL is smaller than the limit of files in 6
my $node = new_node(
	'resources',
	init => [ extra => ['--wal-segsize=1'] ],
	conf => 'max_worker_processes = 8');
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

# 6. disk that is not there: at each try the files of a session may grow by one page
# beyond the index, until the row is in.  A node whose number is the first of its
# pages of keys needs three: one for itself, and one for each key.
SKIP:
{
	skip 'no prlimit', 3 if system('prlimit --version >/dev/null 2>&1') != 0;
	my ($wrong, $tries, $found) = lines($node, index_scan() . <<'SQL');
CREATE TABLE keyed (id int, v vector(64), a int, b int);
CREATE FUNCTION keyed_rows(first int, last int) RETURNS SETOF keyed LANGUAGE sql VOLATILE AS
	$$ SELECT i, ARRAY(SELECT random() + 0 * i FROM generate_series(1, 64))::vector, i, -i FROM generate_series(first, last) i $$;
CREATE FUNCTION found(first int) RETURNS bigint LANGUAGE sql VOLATILE AS
	$$ SELECT count(*) FROM (SELECT id FROM keyed WHERE a >= first ORDER BY v <-> array_fill(1, ARRAY[64])::vector) s $$;
CREATE TABLE failed (id int, error text, found bigint, wrong bigint);
CREATE PROCEDURE add_with_little_disk(first int, last int) LANGUAGE plpgsql AS $$
DECLARE
	problem text;
BEGIN
	FOR i IN first..last LOOP
		FOR try IN 1..9 LOOP
			EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM ''prlimit --pid $PPID --fsize=%s:''',
				pg_relation_size('keyed_idx') + current_setting('block_size')::int);
			BEGIN
				INSERT INTO keyed SELECT * FROM keyed_rows(i, i);
				EXIT;
			EXCEPTION WHEN OTHERS THEN
				problem := SQLERRM;
			END;
			INSERT INTO failed VALUES (i, problem, found(i), (SELECT count(*) FROM omen_verify_index('keyed_idx')));
		END LOOP;
	END LOOP;
END $$;
INSERT INTO keyed SELECT * FROM keyed_rows(1, 1500);
CREATE INDEX keyed_idx ON keyed USING omenhnsw (v vector_l2_ops, a, b);
CALL add_with_little_disk(1501, 1700);
SELECT count(*) FROM failed WHERE error NOT LIKE 'could not extend file%' OR found > 0 OR wrong > 0;
SELECT max(n) FROM (SELECT count(*) AS n FROM failed GROUP BY id) s;
SELECT found(1501), count(*) FROM omen_verify_index('keyed_idx', true);
SQL
	is($wrong, '0', 'an insert without disk fails, and leaves no trace in an index with keys');
	is($tries, '2', 'one that needs a page for each key fails between the two');
	is($found, '200|0', 'and all rows are in when there is some');
}

# 7. WAL that is not needed: an insert writes its row, 570 bytes, a slot of 1,584 in which a
# third is room for more links, and a link of 44 to each of some 14 nodes
$node->append_conf('postgresql.conf', 'full_page_writes = off');
$node->reload;
my $bytes = query($node, <<'SQL');
CREATE TABLE logged (v vector(128));
CREATE FUNCTION some_rows(n int) RETURNS SETOF vector LANGUAGE sql VOLATILE AS
	$$ SELECT ARRAY(SELECT random() + 0 * i FROM generate_series(1, 128))::vector FROM generate_series(1, n) i $$;
INSERT INTO logged SELECT some_rows(2000);
CREATE INDEX logged_idx ON logged USING omenhnsw (v vector_l2_ops);
CREATE TABLE before_inserts AS SELECT pg_current_wal_insert_lsn() AS lsn;
INSERT INTO logged SELECT some_rows(500);
SELECT ((pg_current_wal_insert_lsn() - lsn) / 500)::int FROM before_inserts;
SQL
cmp_ok($bytes, '<', 3600, "$bytes bytes of WAL for an insert of 128 dimensions");

# vacuum chooses links anew for the three others of four, and writes no slots that it frees
query($node, <<'SQL');
ALTER TABLE logged ADD id int GENERATED ALWAYS AS IDENTITY;
VACUUM logged;
DELETE FROM logged WHERE id % 4 = 0;
UPDATE before_inserts SET lsn = pg_current_wal_insert_lsn();
SQL
query($node, 'VACUUM logged');
$bytes = query($node, 'SELECT ((pg_current_wal_insert_lsn() - lsn) / 625)::int FROM before_inserts');
cmp_ok($bytes, '<', 3600, "$bytes bytes of WAL for each of the rows that VACUUM removes");

$node->stop;
done_testing();
