# CREATE INDEX takes every row exactly once, whatever the memory, the number
# of workers, the width of the rows and where they are stored.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('build', conf => 'max_worker_processes = 16');

sub check_build
{
	my ($table, $rows, $settings, $name, $operator) = @_;
	my $nearest = ($operator || 'v <->') . " (SELECT v FROM queries WHERE id = 1)";

	query($node,
		"$settings; DROP INDEX IF EXISTS idx;"
		  . " CREATE INDEX idx ON $table USING omenhnsw (v vector_l2_ops)");
	is(all_through_index($node, $table, $nearest), "$rows $rows", $name);
	return;
}

# memory at its limits, with and without workers
my %data = (type => 'vector', dim => 64, kind => 'clustered');
load_rows($node, 'items', %data, rows => 3000);
load_queries($node, 'queries', %data);
query($node, 'ALTER TABLE items SET (parallel_workers = 3)');
foreach my $memory ('1MB', '3073kB', '64MB', '2GB')
{
	foreach my $workers (0, 1, 3)
	{
		check_build(
			'items', 3000,
			"SET maintenance_work_mem = '$memory';"
			  . " SET max_parallel_maintenance_workers = $workers",
			"$memory and $workers workers: every row once");
	}
}

# Somebody reads the index while it is built concurrently: no block that was not written
# yet is left in the shared buffers.
SKIP:
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my ($in, $out, $error) = ('', '', '');
	my $reader;

	skip 'no pg_prewarm', 2 if $node->psql('postgres', 'CREATE EXTENSION pg_prewarm') != 0;
	append_to_file("$dir/prewarm",
		"SELECT pg_prewarm(oid) FROM pg_class WHERE relname = 'idx_read';\n");
	$reader = IPC::Run::start(
		[ 'pgbench', '-n', '-T', 60, '-f', "$dir/prewarm", '-h', $node->host, '-p', $node->port, 'postgres' ],
		\$in, '>', \$out, '2>', \$error);
	is( $node->psql('postgres',
			'CREATE INDEX CONCURRENTLY idx_read ON items USING omenhnsw (v vector_l2_ops)'),
		0, 'an index is built concurrently while it is read');
	$reader->signal('INT');
	$reader->finish;
	is(query($node, "SELECT * FROM omen_verify_index('idx_read', true)"), '', 'and is whole');
	query($node, 'DROP INDEX idx_read');
}

# a table of no rows, one row, and rows without vectors
query($node, 'CREATE TABLE none (id int, v vector(64))');
check_build('none', 0, '', 'no rows');
query($node, 'INSERT INTO none SELECT 1, v FROM queries WHERE id = 2');
check_build('none', 1, '', 'one row');
query($node, 'INSERT INTO none SELECT i, NULL FROM generate_series(2, 100) i');
check_build('none', 1, '', 'one row among NULLs');

# values out of line: compressed or not, short headers, updated while toasted
query($node, <<'SQL');
CREATE TABLE wide (id int, v vector(1500));
INSERT INTO wide SELECT i, ARRAY(SELECT (i * g % 17)::real FROM generate_series(1, 1500) g)::vector
  FROM generate_series(1, 300) i;
ALTER TABLE wide ALTER v SET STORAGE EXTENDED;
INSERT INTO wide SELECT i, array_fill((i % 50)::real, ARRAY[1500])::vector FROM generate_series(301, 600) i;
ALTER TABLE wide ALTER v SET STORAGE PLAIN;
INSERT INTO wide SELECT i, ARRAY(SELECT (i * g % 13)::real FROM generate_series(1, 1500) g)::vector
  FROM generate_series(601, 700) i;
UPDATE wide SET id = id WHERE id % 3 = 0;
DELETE FROM wide WHERE id % 10 = 0;
DROP TABLE queries;
CREATE TABLE queries AS SELECT 1 AS id, v FROM wide WHERE id = 1;
SQL
my $wide = query($node, 'SELECT count(*) FROM wide');
check_build('wide', $wide, '', 'rows stored out of line, compressed and plain');
query($node, 'DELETE FROM wide WHERE id % 10 = 1');
query($node, 'VACUUM (INDEX_CLEANUP on) wide');
$wide = query($node, 'SELECT count(*) FROM wide');
is(all_through_index($node, 'wide', 'v <-> (SELECT v FROM queries)'),
	"$wide $wide", 'and after vacuum');
query($node, 'REINDEX TABLE wide');
is(all_through_index($node, 'wide', 'v <-> (SELECT v FROM queries)'),
	"$wide $wide", 'and after REINDEX');

# the same by several participants: equal rows share a node, and what does not fit a
# node's page lies elsewhere
query($node, <<'SQL');
CREATE TABLE equal (id int, v vector(64));
INSERT INTO equal SELECT i, array_fill(sqrt(i % (CASE WHEN i % 3 = 0 THEN 7 ELSE 900 END))::real, ARRAY[64])::vector
  FROM generate_series(1, 6000) i;
ALTER TABLE equal SET (parallel_workers = 3);
ALTER TABLE wide SET (parallel_workers = 3);
SQL
foreach my $case ([ 'equal', 6000, 'v <-> (SELECT v FROM equal WHERE id = 8)' ],
	[ 'wide', $wide, 'v <-> (SELECT v FROM queries)' ])
{
	my ($table, $rows, $nearest) = @$case;

	foreach my $quantizer (qw(auto none))
	{
		foreach my $workers (0, 3)
		{
			my $name = "$table, quantizer $quantizer, $workers workers";

			query($node,
				"SET max_parallel_maintenance_workers = $workers; DROP INDEX IF EXISTS idx;"
				  . " CREATE INDEX idx ON $table USING omenhnsw (v vector_l2_ops)"
				  . " WITH (quantizer = $quantizer)");
			is(all_through_index($node, $table, $nearest), "$rows $rows",
				"$name: every row once");
			is(query($node, "SELECT * FROM omen_verify_index('idx', true)"), '',
				"$name: is whole");
		}
	}
}
query($node, 'DROP INDEX idx');

# how many workers are asked for: by all of the table, long values too
query($node, <<'SQL');
CREATE TABLE out_of_line (id int, v vector(1000), body tsvector);
ALTER TABLE out_of_line ALTER v SET STORAGE EXTERNAL;
INSERT INTO out_of_line SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 1000) WHERE i > 0)::vector,
  to_tsvector('simple', 'w' || i) FROM generate_series(1, 4000) i;
CREATE FUNCTION unsafe(v vector) RETURNS vector(1000) LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS 'BEGIN RETURN v; END';
CREATE FUNCTION safe(v vector) RETURNS vector(1000) LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS 'BEGIN RETURN v; END';
SQL
foreach my $case (
	[ 3, '', 'omenhnsw (v vector_l2_ops)', 'as many as may be' ],
	[ 1, "SET maintenance_work_mem = '64MB'", 'omenhnsw (v vector_l2_ops)', 'memory for one' ],
	[ 0, 'SET max_parallel_maintenance_workers = 0', 'omenhnsw (v vector_l2_ops)', 'none allowed' ],
	[ 4, "SET max_parallel_maintenance_workers = 7; SET min_parallel_table_scan_size = '16MB'",
		'omenhnsw (v vector_l2_ops)', 'work for five participants' ],
	[ 0, "SET min_parallel_table_scan_size = '40MB'", 'omenhnsw (v vector_l2_ops)', 'work for one' ],
	[ 3, '', 'omenhnsw ((safe(v)::vector(1000)) vector_l2_ops)', 'a safe expression' ],
	[ 0, '', 'omenhnsw ((unsafe(v)::vector(1000)) vector_l2_ops)', 'an unsafe expression' ],
	[ 0, '', "omenhnsw (v vector_l2_ops) WHERE unsafe(v) <> '[1]'", 'an unsafe predicate' ],
	[ 3, '', 'omenbm25 (body)', 'text' ],
	[ 2, 'ALTER TABLE out_of_line SET (parallel_workers = 2)', 'omenhnsw (v vector_l2_ops)',
		'as many as the table says' ])
{
	my ($expected, $settings, $index, $name) = @$case;
	my $err;

	$node->psql('postgres',
		"SET max_parallel_maintenance_workers = 3; SET maintenance_work_mem = '1GB'; $settings;"
		  . ' SET client_min_messages = debug1;'
		  . " CREATE INDEX idx ON out_of_line USING $index",
		stderr => \$err);
	is($err =~ /using (\d+) parallel workers/ ? $1 : 0, $expected, "workers: $name");
	query($node, 'DROP INDEX idx');
}

# where none can be had, nothing is left over of what was done to have some
foreach my $index ('omenhnsw (v vector_l2_ops)', 'omenbm25 (body)')
{
	my $err;

	$node->psql('postgres',
		'SET max_parallel_workers = 0; SET max_parallel_maintenance_workers = 3;'
		  . " CREATE INDEX idx ON out_of_line USING $index; DROP INDEX idx;"
		  . " CREATE INDEX CONCURRENTLY idx ON out_of_line USING $index; DROP INDEX idx;"
		  . " DO \$\$ BEGIN CREATE INDEX idx ON out_of_line USING $index;"
		  . ' ALTER TABLE out_of_line ADD more int; ALTER TABLE out_of_line DROP more; END $$',
		stderr => \$err);
	is($err, '', "no worker to be had: $index");
	is(query($node, "SELECT * FROM omen_verify_index('idx', true)"), '', "$index: is whole");
	query($node, 'DROP INDEX idx');
}

# from one dimension to the most
foreach my $dim (1, 2, 3, 7, 8, 64, 65, 383, 385, 1537, 2000, 2001, 4000, 8000, 16000)
{
	my $rows = $dim > 1000 ? 60 : 300;

	query($node, <<"SQL");
DROP TABLE IF EXISTS dims, queries;
CREATE TABLE dims (id int, v vector($dim));
INSERT INTO dims SELECT i, ARRAY(SELECT sin(i * g)::real FROM generate_series(1, $dim) g)::vector
  FROM generate_series(1, $rows / 2) i;
CREATE TABLE queries AS SELECT 1 AS id, v FROM dims WHERE id = 1;
SQL
	check_build('dims', $rows / 2, '', "$dim dimensions: build");
	query($node,
		"INSERT INTO dims SELECT i, ARRAY(SELECT sin(i * g)::real FROM"
		  . " generate_series(1, $dim) g)::vector"
		  . " FROM generate_series($rows / 2 + 1, $rows) i");
	is( all_through_index($node, 'dims', 'v <-> (SELECT v FROM queries)'),
		"$rows $rows",
		"$dim dimensions: insert");
}

# every quantizer
load_rows($node, 'items', %data, rows => 2000);
load_queries($node, 'queries', %data);
foreach my $quantizer (qw(auto rabitq sq8 pq none))
{
	query($node,
		'DROP INDEX IF EXISTS idx; CREATE INDEX idx ON items USING omenhnsw'
		  . " (v vector_l2_ops) WITH (quantizer = $quantizer)");
	my ($recall, $lacking, $disorder) = recall(
		$node,
		table => 'items',
		queries => 'queries',
		operator => '<->',
		settings => 'SET omenhnsw.ef_search = 100');
	cmp_ok($recall, '>=', 0.95, "quantizer $quantizer: recall $recall");
	is("$lacking $disorder", '0 0', "quantizer $quantizer: complete and in order");
}

# progress: one percentage for the whole build, which never goes back
load_rows($node, 'items', %data, rows => 30000);
foreach my $workers (0, 2)
{
	query($node, 'DROP INDEX IF EXISTS idx; DROP TABLE IF EXISTS seen;'
		  . ' CREATE TABLE seen (n serial, phase text, done bigint, total bigint)');
	my $build = IPC::Run::start(
		[
			'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
			"SET max_parallel_maintenance_workers = $workers",
			'-c', 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)'
		]);
	query($node, <<'SQL');
DO $$
DECLARE
	state record;
	started bool = false;
	ends timestamptz = clock_timestamp() + '100 s';
BEGIN
	WHILE clock_timestamp() < ends LOOP
		PERFORM pg_stat_clear_snapshot();
		SELECT phase, tuples_done, tuples_total INTO state FROM pg_stat_progress_create_index;
		EXIT WHEN state IS NULL AND started;
		IF state.tuples_total > 0 THEN
			started = true;
			INSERT INTO seen (phase, done, total) VALUES (state.phase, state.tuples_done, state.tuples_total);
		END IF;
		PERFORM pg_sleep(0.001);
	END LOOP;
END $$
SQL
	$build->finish;
	is( query(
			$node,
			'SELECT bool_and(done >= before AND done <= total), count(DISTINCT total),'
			  . ' bool_and(total BETWEEN 28000 AND 32000), count(DISTINCT done) >= 10,'
			  . ' count(DISTINCT phase) BETWEEN 2 AND 5 FROM (SELECT *, lag(done, 1, 0::bigint)'
			  . ' OVER (ORDER BY n) AS before FROM seen) s'),
		't|1|t|t|t',
		"progress with $workers workers only goes on");
}
load_rows($node, 'items', %data, rows => 2000);

# where the time went: all stages, of which the total is the sum
my @stages = ('prepare', 'gpu start', 'read', 'fold', 'gpu send', 'gpu clusters', 'gpu links',
	'gpu check', 'graph', 'plan', 'write', 'wal', 'sync', 'end');
foreach my $workers (0, 2)
{
	my $err;

	$node->psql('postgres',
		"SET max_parallel_maintenance_workers = $workers; SET client_min_messages = debug1;"
		  . ' DROP INDEX IF EXISTS idx; CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)',
		stderr => \$err);
	my ($rows, $total, $split) =
	  $err =~ /DEBUG: +index "idx" of (\d+) rows was built in (\d+\.\d{3}) s: (.*)$/m;
	my @parts = split /, /, $split // '';
	is($rows, '2000', "$workers workers: the build tells of its rows");
	is(join(', ', map { /^(.*) \d+\.\d{3}$/ ? $1 : $_ } @parts), join(', ', @stages),
		'and of its stages');
	$total -= (split / /)[-1] foreach @parts;
	cmp_ok(abs($total), '<', 0.01, 'which are the whole time');
	like($split, qr/gpu start 0\.000, .*gpu send 0\.000, gpu clusters 0\.000, gpu links 0\.000, gpu check 0\.000/,
		'and none is of a GPU');
}

# concurrent updates beside a build that waits
query($node, 'DROP INDEX IF EXISTS idx');
psql_many($node, 4, 30,
	update => "UPDATE items SET v = v WHERE id = 1 + (SELECT (random() * 1999)::int);",
	build => "SELECT pg_try_advisory_lock(1) AS mine \\gset\n\\if :mine\n"
	  . "CREATE INDEX CONCURRENTLY IF NOT EXISTS idx ON items USING omenhnsw (v vector_l2_ops);\n"
	  . "REINDEX INDEX CONCURRENTLY idx;\n"
	  . "SELECT pg_advisory_unlock(1);\n\\endif\n");
is(all_through_index($node, 'items', 'v <-> (SELECT v FROM queries WHERE id = 1)'),
	'2000 2000', 'concurrent builds beside updates');

# a build keeps VACUUM off the TOAST table, whose rows would be gone before those
# of the table that died lately and are indexed all the same
query($node, <<'SQL');
CREATE TABLE toasted (id int, v vector(3), body tsvector);
INSERT INTO toasted VALUES (1, '[1,2,3]', 'a');
SQL
foreach my $index ('omenhnsw (v vector_l2_ops)', 'omenbm25 (body)')
{
	is( query($node, <<"SQL"), 'ShareLock', "$index: locks the TOAST table");
BEGIN;
CREATE INDEX ON toasted USING $index;
SELECT mode FROM pg_locks WHERE pid = pg_backend_pid()
	AND relation = (SELECT reltoastrelid FROM pg_class WHERE relname = 'toasted');
COMMIT;
SQL
}

# Who reads a page of the TOAST table may prune it: a row that somebody saw when
# the build began loses its long value before the build comes to it. The build
# waits at row 1 for that, when it reads the table for the second time.
query($node, <<'SQL');
CREATE TABLE long (id int, v vector(2500), body tsvector);
ALTER TABLE long ALTER v SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL;
CREATE SEQUENCE calls;
CREATE SEQUENCE wanted;
CREATE FUNCTION wait(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF i = 1 AND nextval('public.calls') = (SELECT last_value FROM public.wanted) THEN
		PERFORM pg_advisory_xact_lock(77);
	END IF;
	RETURN i;
END $$;
CREATE FUNCTION wait(i int, body tsvector) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM public.wait(i);
	RETURN body;
END $$;
SQL
foreach my $case (
	[ 2, 'omenhnsw (v vector_l2_ops, (wait(id)))', 'v <-> (SELECT v FROM long WHERE id = 1)' ],
	[ 1, 'omenbm25 (wait(id, body))', "wait(id, body) <@> 'w1'" ])
{
	my ($calls, $index, $order) = @$case;
	my @sessions;

	query($node, <<"SQL");
SELECT setval('calls', 1, false), setval('wanted', $calls);
TRUNCATE long;
INSERT INTO long SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 2500) WHERE i > 0)::vector,
	(SELECT to_tsvector('simple', string_agg('w' || i * g, ' ')) FROM generate_series(1, 900) g)
FROM generate_series(1, 20) i;
SQL
	my $start = sub {
		my %session = (in => shift, out => '');

		$session{handle} = IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
			'<', \$session{in}, '>&', \$session{out});
		$session{handle}->pump until $session{out} =~ /\n/;
		push @sessions, \%session;
		return \%session;
	};
	my $holder = $start->("SELECT 'holds' FROM pg_advisory_lock(77);\n");
	my $reader = $start->("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM long;\n");

	query($node, 'DELETE FROM long WHERE id BETWEEN 6 AND 15');
	my $build = $start->("SELECT 'builds'; CREATE INDEX long_idx ON long USING $index; SELECT 'built';\n");
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	  or die 'the build does not wait';
	$reader->{in} .= "COMMIT;\n\\q\n";
	$reader->{handle}->finish;
	query($node, 'SELECT sum(vector_norm(v)), sum(length(body)) FROM long') foreach 1 .. 2;
	$holder->{in} .= "\\q\n";
	$holder->{handle}->finish;
	$build->{in} .= "\\q\n";
	$build->{handle}->finish;
	like($build->{out}, qr/built/, "$index: rows whose long values are gone");
	unlike($build->{out}, qr/ERROR/, "$index: are left out");
	is(all_through_index($node, 'long', $order), '10 10', "$index: has the others");
	is(query($node, "SELECT * FROM omen_verify_index('long_idx', true)"), '', "$index: is whole");
	query($node, 'DROP INDEX long_idx');
}

$node->stop;
done_testing();
