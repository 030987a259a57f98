# Many clients insert, update, delete, roll back, search, vacuum and reindex
# few distinct vectors and many, on a primary with a hot standby, and the
# server is killed in between. After each round a scan of the index returns
# every committed row exactly once and no other, here and on the standby.
#
# OMEN_ROUNDS and OMEN_ROUND_SECONDS make it longer than in the everyday run.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{OMEN_ROUNDS} // 3;
my $seconds = $ENV{OMEN_ROUND_SECONDS} // 8;
my $clients = $ENV{OMEN_CLIENTS} // 10;

my $node = new_node(
	'torture',
	init => [ allows_streaming => 1 ],
	conf => "max_connections = 60\nmax_wal_size = 4GB\nwal_keep_size = 4GB\nlock_timeout = '20s'\n"
	  . "deadlock_timeout = '200ms'\nautovacuum = on\nautovacuum_naptime = 1\n"
	  . "autovacuum_vacuum_threshold = 20\nautovacuum_vacuum_cost_delay = 0");
my $nearest = "v <-> '[3,3,3,3]'";

# "few" has long lists of TIDs for each node, "many" has none, "long" chains
query($node, <<'SQL');
CREATE TABLE few (id bigserial PRIMARY KEY, v vector(4));
CREATE INDEX few_idx ON few USING omenhnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 16);
CREATE TABLE many (id bigserial PRIMARY KEY, v vector(4));
CREATE INDEX many_idx ON many USING omenhnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 16);
CREATE TABLE long (id bigserial PRIMARY KEY, v vector(2500));
CREATE INDEX long_idx ON long USING omenhnsw (v vector_l1_ops) WITH (m = 4, ef_construction = 16);
CREATE FUNCTION few_value() RETURNS vector LANGUAGE sql VOLATILE AS
	'SELECT array_fill((random() * 4)::int::real, ARRAY[4])::vector';
CREATE FUNCTION many_value() RETURNS vector LANGUAGE sql VOLATILE AS
	'SELECT ARRAY[random() * 6, random() * 6, random() * 6, random() * 6]::real[]::vector';
CREATE FUNCTION long_value() RETURNS vector LANGUAGE sql VOLATILE AS
	'SELECT array_fill((random() * 20)::int::real, ARRAY[2500])::vector';
SQL
$node->backup('start');
my $standby = PostgreSQL::Test::Cluster->new('torture_standby');
$standby->init_from_backup($node, 'start', has_streaming => 1);
$standby->start;

my $dir = PostgreSQL::Test::Utils::tempdir();
my @scripts;

sub script
{
	my ($name, $weight, $sql) = @_;

	append_to_file("$dir/$name", $sql);
	push @scripts, '-f', "$dir/$name\@$weight";
	return;
}
foreach my $table (qw(few many long))
{
	my $w = $table eq 'long' ? 1 : 3;

	script("${table}_insert", 4 * $w,
		"INSERT INTO $table (v) SELECT ${table}_value() FROM generate_series(1, 1 + (random() * 8)::int);");
	script("${table}_delete", 2 * $w,
		"DELETE FROM $table WHERE id IN (SELECT id FROM $table ORDER BY random() LIMIT 12 FOR UPDATE SKIP LOCKED);");
	script("${table}_update", 2 * $w,
		"UPDATE $table SET v = ${table}_value() WHERE id IN (SELECT id FROM $table ORDER BY random() LIMIT 3 FOR UPDATE SKIP LOCKED);");
	script("${table}_abort", $w,
		"BEGIN;\nINSERT INTO $table (v) SELECT ${table}_value() FROM generate_series(1, 5);\nSAVEPOINT s;\n"
		  . "INSERT INTO $table (v) VALUES (${table}_value());\nROLLBACK TO s;\nROLLBACK;");
	script("${table}_vacuum", 1, "VACUUM (SKIP_LOCKED, PARALLEL 0) $table;");
}
script('search', 6,
	"SET enable_seqscan = off;\nSELECT count(*) FROM (SELECT id FROM few ORDER BY $nearest LIMIT 50) s;\n"
	  . "SELECT count(*) FROM (SELECT id FROM many ORDER BY $nearest LIMIT 50) s;\n");

# Rows of a table, and of its index, as a checksum and a count
sub rows_and_index
{
	my ($server, $table) = @_;
	my $order = $table eq 'long' ? 'v <+> long_value()' : $nearest;

	return lines($server, <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*), count(DISTINCT id), sum(hashtext(id::text || v::text)) FROM $table;
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off;
SELECT count(*), count(DISTINCT id), sum(hashtext(id::text || v::text)) FROM
	(SELECT id, v FROM $table ORDER BY $order) s;
COMMIT;
SQL
}

sub check
{
	my ($server, $name) = @_;

	foreach my $table (qw(few many long))
	{
		my ($rows, $found) = rows_and_index($server, $table);

		is($found, $rows, "$name: $table has every row once in the index");
	}
	return;
}

# With the rows of transactions that were cut off removed, nothing is left that
# the TID maps may lack.
sub check_maps
{
	my ($server, $name) = @_;

	is(map_problems($server, "${_}_idx"), '0', "$name: the TID map has all of $_")
	  foreach qw(few many long);
	return;
}

# start clients that go on until their time is over or the server dies
sub start_clients
{
	my ($time) = @_;
	my ($in, $out, $err) = ('', '', '');
	my $handle = IPC::Run::start(
		[
			'pgbench', '-n', '-c', $clients, '-j', 2, '-T', $time, @scripts,
			'-h', $node->host, '-p', $node->port, 'postgres'
		],
		\$in, '>', \$out, '2>', \$err);

	return { handle => $handle, out => \$out, err => \$err };
}

foreach my $table (qw(few many))
{
	ok( uses_index($node, "${table}_idx", "SELECT id, v FROM $table ORDER BY $nearest"),
		"$table is read through its index");
}

foreach my $round (1 .. $rounds)
{
	my $run = start_clients($seconds);
	my $until = time + $seconds;
	my $kill = $round % 2 == 1;

	while (time < $until - ($kill ? 2 : 0))
	{
		foreach my $statement (
			'CREATE INDEX CONCURRENTLY few_new ON few USING omenhnsw (v vector_l2_ops)',
			'DROP INDEX CONCURRENTLY IF EXISTS few_new',
			'REINDEX INDEX CONCURRENTLY many_idx',
			'REINDEX INDEX CONCURRENTLY long_idx')
		{
			# may lose to the other statements, which is no matter
			$node->psql('postgres', "SET lock_timeout = '3s'; $statement");
			last if time >= $until - ($kill ? 2 : 0);
		}
		$standby->safe_psql('postgres',
			"SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM few ORDER BY $nearest LIMIT 40) s");
	}
	if ($kill)
	{
		kill_server($node);
		$run->{handle}->finish;
		start_after_kill($node);
		check($node, "round $round, after kill -9");
	}
	else
	{
		$run->{handle}->finish;
		unlike(${ $run->{err} }, qr/ERROR/, "round $round: no client failed");
		check($node, "round $round");
	}
	# what a build concurrently left behind when it was cut off
	query($node, 'DROP INDEX IF EXISTS ' . join ', ', map { "\"$_\"" } lines($node,
		'SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid'))
	  if query($node, 'SELECT count(*) FROM pg_index WHERE NOT indisvalid') > 0;
	query($node, 'DROP INDEX IF EXISTS few_new; VACUUM (INDEX_CLEANUP ON) few, many, long');
	check($node, "round $round, vacuumed");
	check_maps($node, "round $round, vacuumed");
	catch_up($node, $standby);
	check($standby, "round $round, on the standby");
	check_maps($standby, "round $round, on the standby");
}

my ($recall) = do
{
	query($node, "INSERT INTO many (v) SELECT many_value() FROM generate_series(1, 2000)");
	load_queries($node, 'queries', type => 'vector', dim => 4);
	recall($node, table => 'many', queries => 'queries', operator => '<->',
		settings => 'SET omenhnsw.ef_search = 100');
};
cmp_ok($recall, '>=', 0.95, "recall of what is left: $recall");
unlike(slurp_file($_->logfile), qr/terminated by signal|PANIC|TRAP|XX00/,
	'no server process died on ' . $_->name)
  foreach $node, $standby;

$standby->stop;
$node->stop;
done_testing();
