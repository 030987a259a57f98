# A streaming standby answers as the primary does, after every kind of change,
# with each replayed page compared to the primary's (wal_consistency_checking),
# and goes on after promotion.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %data = (type => 'vector', dim => 16, kind => 'clustered');
my $primary = new_node(
	'primary',
	init => [ allows_streaming => 1 ],
	conf => "wal_consistency_checking = 'all'\nwal_keep_size = '4GB'");

$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

my $answers = <<'SQL';
SELECT q.id, array_agg(s.id ORDER BY s.n) FROM queries q, LATERAL (
  SELECT t.id, row_number() OVER () AS n FROM
    (SELECT id FROM items t ORDER BY t.v <-> q.v LIMIT 50) t) s
GROUP BY q.id ORDER BY q.id
SQL

sub compare
{
	my ($name) = @_;

	$primary->wait_for_catchup($standby);
	is_same_rows(
		index_ids($standby, $answers),
		index_ids($primary, $answers),
		"$name: the standby answers as the primary");
	is( all_through_index($standby, 'items', "v <-> (SELECT v FROM queries LIMIT 1)"),
		query($primary, "SELECT count(*) || ' ' || count(*) FROM items"),
		"$name: the standby's index has every row once");
	is(map_problems($standby, 'idx'), '0', "$name: its TID map has them all");
	return;
}

load_queries($primary, 'queries', %data, rows => 20);
load_rows($primary, 'items', %data, rows => 2000);
query($primary, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');
compare('build');

query($primary, 'CHECKPOINT');
add_rows($primary, 'items', %data, from => 2001, to => 2500, seed => 0.2);
compare('inserts');

query($primary, 'DELETE FROM items WHERE id % 3 = 0');
compare('deletes');

query($primary, 'VACUUM items');
compare('vacuum');

add_rows($primary, 'items', %data, from => 3001, to => 4000, seed => 0.7);
compare('inserts into freed space');

query($primary, 'REINDEX INDEX idx');
compare('reindex');

query($primary, 'TRUNCATE items');
add_rows($primary, 'items', %data, from => 1, to => 300);
compare('truncate and inserts');

# A session of the standby has used an index while it was empty, and learns of the mean
# that the first rows have
query($primary, <<'SQL');
CREATE TABLE late (id int, v vector(3));
CREATE INDEX late_idx ON late USING omenhnsw (v vector_l2_ops);
SQL
$primary->wait_for_catchup($standby);
my ($in, $out) = (<<'SQL', '');
SET enable_seqscan = off;
SELECT 'begins with ' || count(*) FROM (SELECT id FROM late ORDER BY v <-> '[1000,1000,1000]') s;
DO $$ BEGIN WHILE (SELECT count(*) FROM late) < 400 LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;
SELECT 'ends with ' || array_agg(id)::text FROM (SELECT id FROM late ORDER BY v <-> '[1000.5,1000.5,1000.5]' LIMIT 20) s;
SQL
my $session = IPC::Run::start(
	[ 'psql', '-XqAt', '-d', $standby->connstr('postgres') ],
	'<', \$in, '>', \$out, IPC::Run::timeout(180));
$session->pump until $out =~ /begins with 0/;
query($primary,
	'INSERT INTO late SELECT i, ARRAY[1000 + sin(i), 1000 + cos(i), 1000 + sin(i * 0.7)]::vector FROM generate_series(1, 400) i');
$session->finish;
my $nearest = query($primary,
	"SET enable_indexscan = off; SELECT 'ends with ' || array_agg(id)::text FROM (SELECT id FROM late ORDER BY v <-> '[1000.5,1000.5,1000.5]' LIMIT 20) s");
like($out, qr/^\Q$nearest\E$/m, 'a session from before there were rows: the standby finds the nearest');
is(query($standby, "SELECT * FROM omen_verify_index('late_idx', true)"),
	'', 'and the index is whole there');

foreach my $type (qw(halfvec sparsevec bit))
{
	my $metric = $type eq 'bit' ? 'hamming' : 'cosine';

	load_rows(
		$primary, "${type}_items",
		type => $type,
		dim => 24,
		rows => 400);
	query($primary,
		"CREATE INDEX ON ${type}_items USING omenhnsw (v ${type}_${metric}_ops)"
	);
	add_rows(
		$primary, "${type}_items",
		type => $type,
		dim => 24,
		from => 401,
		to => 500,
		seed => 0.9);
	query($primary, "DELETE FROM ${type}_items WHERE id % 2 = 0");
	query($primary, "VACUUM ${type}_items");
	$primary->wait_for_catchup($standby);
	my $all = "SELECT id FROM ${type}_items ORDER BY v $OPERATORS{$type}{$metric}"
	  . " (SELECT v FROM ${type}_items WHERE id = 1)";
	is_same_rows(
		index_ids($standby, $all),
		index_ids($primary, $all),
		"$type: the standby answers as the primary");
}

# A standby makes an index longer by zeros up to the block that comes, however far
# that is, and does nothing else meanwhile: so blocks of a build come about in order.
# The largest step between them, of all files of the relation
sub largest_step
{
	my ($start, $end) = @_;
	# by name: another file, in which it might look for their size, may be all zeros
	my @files = split /\|/,
	  query($primary, "SELECT pg_walfile_name('$start'::pg_lsn + 1), pg_walfile_name('$end')");
	my ($wal, $error) = run_command(
		[ 'pg_waldump', '-p', $primary->data_dir . '/pg_wal', '-s', $start, '-e', $end, @files ]);
	my %last;
	my $largest = 0;

	while ($wal =~ m{blkref #\d+: rel (\d+/\d+/\d+) (?:fork \w+ )?blk (\d+)}g)
	{
		my ($file, $block) = ($1, $2);
		my $step = $block - ($last{$file} // 0);

		$largest = $step if $step > $largest;
		$last{$file} = $block if $step > 0;
	}
	diag($error) if $largest == 0;
	return $largest;
}

load_rows($primary, 'many', %data, rows => 9000);
query($primary, 'ALTER TABLE many SET (parallel_workers = 2)');
query($primary, <<'SQL');
CREATE TABLE long (id int, v vector(3000)) WITH (parallel_workers = 2);
INSERT INTO long SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 3000) WHERE i > 0)::vector
  FROM generate_series(1, 600) i;
SQL
foreach my $case (
	[ 'many', 'omenhnsw (v vector_l2_ops)', '2GB', 'nodes' ],
	[ 'many', 'omenhnsw (v vector_l2_ops, id)', '1MB', 'nodes and keys, little memory' ],
	[ 'long', 'omenhnsw (v vector_l2_ops) WITH (quantizer = none)', '2GB', 'chains' ])
{
	my ($table, $index, $memory, $name) = @$case;
	my $start = query($primary, 'SELECT pg_current_wal_insert_lsn()');

	query($primary,
		"SET max_parallel_maintenance_workers = 2; SET maintenance_work_mem = '$memory';"
		  . " CREATE INDEX steps ON $table USING $index");

	# what is written when three have 32 pages at a time, and one of them is late
	my $step = largest_step($start, query($primary, 'SELECT pg_current_wal_flush_lsn()'));
	cmp_ok($step, '>', 0, "$name: blocks are logged");
	cmp_ok($step, '<=', 256, "$name: about in order");
	cmp_ok(query($primary, "SELECT pg_relation_size('steps') / 8192"),
		'>', 600, "$name: the index is much longer than that");
	$primary->wait_for_catchup($standby);
	is(query($standby, "SELECT * FROM omen_verify_index('steps')"), '', "$name: is whole");
	query($primary, 'DROP INDEX steps');
}

unlike(
	PostgreSQL::Test::Utils::slurp_file($standby->logfile),
	qr/inconsistent page found|PANIC/,
	'every replayed page equals the primary\'s');

$primary->stop;
$standby->promote;
add_rows($standby, 'items', %data, from => 301, to => 600, seed => 0.4);
is( all_through_index($standby, 'items', "v <-> (SELECT v FROM queries LIMIT 1)"),
	'600 600',
	'the promoted standby takes inserts');
is(map_problems($standby, 'idx'), '0', 'and enters them into the TID map');

$standby->stop;
done_testing();
