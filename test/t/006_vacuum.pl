# Vacuum: recall holds after mass deletes, space is used again, and nothing is
# lost or found twice while inserts, deletes, queries and vacuum run together.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_node('vacuum');
my %data = (type => 'vector', dim => 16, kind => 'clustered');
my $nearest = 'v <-> (SELECT v FROM queries WHERE id = 1)';

# Where all rows of a cluster are dead, a walk that was to find ten rows comes to
# an end in it and goes on elsewhere, and a row that it had missed there so far
# comes late: some of 400 may.
sub check_recall
{
	my ($name, $floor, $late) = @_;
	my ($recall, $lacking, $disorder) = recall(
		$node,
		table => 'items',
		queries => 'queries',
		operator => '<->',
		settings => 'SET omenhnsw.ef_search = 100');

	cmp_ok($recall, '>=', $floor, "$name: recall $recall");
	is($lacking, 0, "$name: complete");
	cmp_ok($disorder, '<=', $late // 0, "$name: in order");
	return;
}

load_rows($node, 'items', %data, rows => 4000);
load_queries($node, 'queries', %data);
query($node, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');
check_recall('built', 0.95);

# three quarters deleted, everywhere, and then all of three quarters of the clusters
query($node, 'CREATE TABLE kept AS SELECT * FROM items');
query($node, 'DELETE FROM items WHERE id % 4 <> id / 40 % 4');
check_recall('three quarters of each cluster deleted, before vacuum', 0.95);
query($node, 'TRUNCATE items; INSERT INTO items SELECT * FROM kept; REINDEX INDEX idx');
query($node, 'DELETE FROM items WHERE id % 4 <> 0');
check_recall('three quarters deleted, before vacuum', 0.95, 4);
query($node, 'VACUUM items');
check_recall('after vacuum', 0.95);
is(all_through_index($node, 'items', $nearest),
	'1000 1000', 'the rest is found, each row once');

# freed space is used again
my $size = query($node, "SELECT pg_relation_size('idx')");
add_rows($node, 'items', %data, from => 4001, to => 7000, seed => 0.2);
check_recall('inserted into freed space', 0.95);
is(all_through_index($node, 'items', $nearest),
	'4000 4000', 'old and new rows are found, each once');
cmp_ok(query($node, "SELECT pg_relation_size('idx')"),
	'<=', 1.05 * $size, 'the index did not grow');

# everything deleted, and the same number again
foreach my $round (1 .. 3)
{
	query($node, 'DELETE FROM items');
	query($node, 'VACUUM items');
	is(all_through_index($node, 'items', $nearest),
		'0 0', "round $round: nothing is left after delete and vacuum");
	add_rows(
		$node, 'items', %data,
		from => 1,
		to => 4000,
		seed => 0.3 + $round / 10);
	is(all_through_index($node, 'items', $nearest),
		'4000 4000', "round $round: inserted again");
	check_recall("round $round", 0.95);
	cmp_ok(query($node, "SELECT pg_relation_size('idx')"),
		'<=', 1.05 * $size, "round $round: the index did not grow");
}

# Every row's node can be reached from the entries, whoever has changed links and
# entries since a build. One backend knows the entries from before, as it has them.
foreach my $order ([ 'l2', 'x' ], [ 'cosine', 'x' ], [ 'ip', 'x * (0.1 + random())' ])
{
	my ($metric, $value) = @$order;
	my $rows = "SELECT i, array_agg($value)::vector(12) FROM (SELECT i, random() + random() + random() - 1.5 AS x"
	  . ' FROM generate_series(%d, %d) i, generate_series(1, 12)) s GROUP BY i ORDER BY i';
	my $sql = sprintf("INSERT INTO reach $rows;", 1, 3000);

	foreach my $round (1 .. 3)
	{
		$sql .= "DELETE FROM reach WHERE id % 3 = $round - 1;\nVACUUM reach;\n"
		  . sprintf("SELECT 'vacuumed', * FROM omen_verify_index('reach_idx');\nINSERT INTO reach $rows;\n",
			10000 * $round, 10000 * $round + 999)
		  . "SELECT 'inserted', * FROM omen_verify_index('reach_idx');\n";
	}
	is( query($node, <<"SQL"), '', "$metric: all rows can be reached");
DROP TABLE IF EXISTS reach;
CREATE TABLE reach (id int, v vector(12));
CREATE INDEX reach_idx ON reach USING omenhnsw (v vector_${metric}_ops);
SET omenhnsw.ef_search = 10;
$sql
SQL
}

# Slots of TID lists change hands: the list of a node is emptied, and its slot
# taken for another node's as often as there are versions of a slot. The first
# node must not come to that list again.
query($node, <<'SQL');
CREATE TABLE lists (id serial, v vector(3));
CREATE INDEX lists_idx ON lists USING omenhnsw (v vector_l2_ops);
INSERT INTO lists (v) SELECT '[5,5,5]' FROM generate_series(1, 2);
INSERT INTO lists (v) SELECT '[1,1,1]' FROM generate_series(1, 8);
DELETE FROM lists WHERE id > 4;
SQL
query($node, 'VACUUM lists');
my $wrong = 0;
foreach my $round (1 .. 20)
{
	query($node, "INSERT INTO lists (v) SELECT '[5,5,5]' FROM generate_series(1, 5)");
	$wrong++ if all_through_index($node, 'lists', "v <-> '[1,1,1]'") ne '9 9';
	query($node,
		'DELETE FROM lists WHERE id IN (SELECT id FROM lists ORDER BY id DESC LIMIT 5)');
	query($node, 'VACUUM lists');
}
is($wrong, 0, 'no node finds the rows of another one in its list');

# Where many rows are equal and the oldest of them go, list slots are emptied from the
# end; where any of them go, in between, one now and then. They are used again.
query($node, <<'SQL');
CREATE TABLE queue (id serial, v vector(3));
CREATE INDEX queue_idx ON queue USING omenhnsw (v vector_l2_ops);
INSERT INTO queue (v) SELECT '[1,1,1]' FROM generate_series(1, 2000);
SQL
my $slots = "SELECT list_slots FROM omen_index_stats('queue_idx')";
my $full = query($node, $slots);
foreach ([ 'id', 1.5 ], [ 'hashtext(id::text)', 5 ])
{
	my ($order, $times) = @$_;

	foreach my $round (1 .. 6)
	{
		query($node, "INSERT INTO queue (v) SELECT '[1,1,1]' FROM generate_series(1, 1000)");
		query($node, "DELETE FROM queue WHERE id IN (SELECT id FROM queue ORDER BY $order LIMIT 1000)");
		query($node, 'VACUUM queue');
	}
	is(all_through_index($node, 'queue', "v <-> '[1,1,1]'"),
		'2000 2000', "equal rows by $order: each is found once");
	cmp_ok(query($node, $slots), '<=', $times * $full, "equal rows by $order: no more list slots than they need");
	is(query($node, "SELECT * FROM omen_verify_index('queue_idx', true)"),
		'', "equal rows by $order: the index is whole");
}

# variable-size values: small ones deleted, large ones inserted
query($node, <<'SQL');
CREATE TABLE sparse (id int, v sparsevec(2000));
INSERT INTO sparse SELECT i, (SELECT '{' || string_agg(g || ':' || (i % 97 + g), ',') || '}/2000'
  FROM generate_series(1, 20) g)::sparsevec FROM generate_series(1, 500) i;
CREATE INDEX sparse_idx ON sparse USING omenhnsw (v sparsevec_l2_ops);
DELETE FROM sparse;
SQL
query($node, 'VACUUM sparse');
query($node, <<'SQL');
INSERT INTO sparse SELECT i, (SELECT '{' || string_agg(g || ':' || (i % 89 + g), ',') || '}/2000'
  FROM generate_series(1, 200) g)::sparsevec FROM generate_series(1, 500) i;
SQL
is(all_through_index($node, 'sparse', "v <-> '{1:1}/2000'"),
	'500 500', 'larger values go where smaller ones were deleted');

# and looking for that space costs an insert no walk over the whole index
my $plan = query($node, <<'SQL');
EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY off)
INSERT INTO sparse SELECT 501, (SELECT '{' || string_agg(g || ':' || g, ',') || '}/2000'
  FROM generate_series(1, 500) g)::sparsevec;
SQL
my ($touched) = $plan =~ /shared hit=(\d+)/;
cmp_ok($touched, '<', 5 * query($node, 'SELECT count(*) FROM sparse'),
	"an insert after vacuum touches few pages: $touched");

# of as many rows as before, some of them with chains: the file does not grow for ever
query($node, <<'SQL');
CREATE TABLE chained (id serial, v sparsevec(20000));
CREATE FUNCTION value(i int) RETURNS sparsevec LANGUAGE sql AS $$
  SELECT ('{' || string_agg(g || ':' || (i * 7919::bigint + g * 104729::bigint) % 1009 + 1, ',') || '}/20000')::sparsevec
  FROM generate_series(1, CASE WHEN i % 4 = 0 THEN 1300 ELSE 100 END) g $$;
INSERT INTO chained (v) SELECT value(i) FROM generate_series(1, 600) i;
CREATE INDEX chained_idx ON chained USING omenhnsw (v sparsevec_l2_ops);
SQL
my @pages;
foreach my $round (1 .. 12)
{
	query($node, <<"SQL");
DELETE FROM chained WHERE id % 3 = $round % 3;
INSERT INTO chained (v) SELECT value(i) FROM generate_series(1000 * $round, 1000 * $round + 599 - (SELECT count(*)::int FROM chained)) i;
SQL
	query($node, 'VACUUM chained');
	push @pages, query($node, "SELECT pg_relation_size('chained_idx') / 8192");
}
cmp_ok($pages[-1], '<', 1.15 * $pages[3], "rounds of deletes, inserts and vacuum: @pages pages");
is(query($node, "SELECT * FROM omen_verify_index('chained_idx', true)"), '', 'and the index is whole');

# four clients that insert, delete, update and search, and one that vacuums
query($node, <<'SQL');
CREATE TABLE stress (id bigserial PRIMARY KEY, v vector(16));
INSERT INTO stress (v) SELECT v FROM items LIMIT 1000;
CREATE UNIQUE INDEX ON items (id);
CREATE INDEX stress_idx ON stress USING omenhnsw (v vector_l2_ops);
SQL
psql_many(
	$node, 5, 200,
	insert => "\\set n random(1, 4000)\n"
	  . "INSERT INTO stress (v) SELECT v FROM items WHERE id = :n;",
	remove => "DELETE FROM stress WHERE id IN (SELECT id FROM stress ORDER BY"
	  . " id LIMIT 2 FOR UPDATE SKIP LOCKED);",
	renew => "\\set n random(1, 4000)\n"
	  . "UPDATE stress SET v = (SELECT v FROM items WHERE id = :n) WHERE id IN"
	  . " (SELECT id FROM stress ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED);",
	search => "SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM"
	  . " stress ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 20) s;",
	vacuum => "SELECT pg_try_advisory_lock(1) AS mine \\gset\n\\if :mine\n"
	  . "VACUUM stress;\nSELECT pg_advisory_unlock(1);\n\\endif\n");
is( all_through_index($node, 'stress', $nearest),
	query(
		$node,
		"SELECT count(*) || ' ' || count(*) FROM stress WHERE v IS NOT NULL"),
	'every row once after inserts, deletes, updates and vacuum together');
query($node, 'VACUUM stress');
is( all_through_index($node, 'stress', $nearest),
	query(
		$node,
		"SELECT count(*) || ' ' || count(*) FROM stress WHERE v IS NOT NULL"),
	'and after one more vacuum');
my ($recall) = recall(
	$node,
	table => 'stress',
	queries => 'queries',
	operator => '<->',
	settings => 'SET omenhnsw.ef_search = 100');
cmp_ok($recall, '>=', 0.95, "recall after the stress: $recall");
is(query($node, "SELECT * FROM omen_verify_index('stress_idx', true)"),
	'', 'and the index is whole');

# A fifth of the rows deleted and others inserted, twenty times, with a vacuum each
# time: as good as a new index, not much larger, and all of it can be reached.
# OMEN_CHURN_ROWS makes it larger than in the everyday run.
my $rows = $ENV{OMEN_CHURN_ROWS} || 2000;
load_rows($node, 'churn', %data, rows => $rows);
query($node, <<'SQL');
CREATE INDEX churn_l2 ON churn USING omenhnsw (v vector_l2_ops);
CREATE INDEX churn_ip ON churn USING omenhnsw (v vector_ip_ops) WITH (m = 6, ef_construction = 32);
CREATE INDEX churn_cosine ON churn USING omenhnsw (v vector_cosine_ops) WITH (m = 8);
SQL
foreach my $round (1 .. 20)
{
	query($node, "DELETE FROM churn WHERE id % 5 = $round % 5");
	query($node, 'VACUUM churn');
	my $there = query($node, 'SELECT count(*) FROM churn');
	add_rows(
		$node, 'churn', %data,
		from => $round * $rows + 1,
		to => $round * $rows + $rows - $there,
		seed => 0.5 + $round / 50);
}
query($node, 'VACUUM churn');
foreach my $metric ('l2', 'ip', 'cosine')
{
	my @search = (
		table => 'churn',
		queries => 'queries',
		operator => $OPERATORS{vector}{$metric},
		settings => 'SET omenhnsw.ef_search = 100');
	my ($old) = recall($node, @search);
	my $size = query($node, "SELECT pg_relation_size('churn_$metric')");

	is( query($node, "SELECT string_agg(invariant || ' ' || detail, ' ') FROM omen_verify_index('churn_$metric', true)"
			  . " WHERE severity = 'error'"),
		'', "$metric: churned, the index is whole and can be reached");
	query($node, "REINDEX INDEX churn_$metric");
	my ($new) = recall($node, @search);
	my $fresh = query($node, "SELECT pg_relation_size('churn_$metric')");
	cmp_ok($old, '>=', $new - 0.01, "$metric: recall $old, of a new index $new");
	cmp_ok($size, '<=', 1.2 * $fresh, "$metric: $size bytes, of a new index $fresh");
}
query($node, 'DROP TABLE churn');

# What was inserted is not as good as what was built: vacuum builds the graph once
# more, whether a row is dead or not. Vectors of unequal length are worst.
sub recall_of_grown
{
	return query($node, "SELECT omen_recall('grown_idx', 10, 500)");
}
query($node, <<'SQL');
CREATE TABLE grown (id int, v vector(64)) WITH (autovacuum_enabled = off);
CREATE INDEX grown_idx ON grown USING omenhnsw (v vector_ip_ops);
SELECT setseed(0.7);
INSERT INTO grown SELECT i, array_agg(random() + random() + random() + random() - 2)::vector(64)
  FROM generate_series(1, 6000) i, generate_series(1, 64) GROUP BY i ORDER BY i;
SQL
my $inserted = recall_of_grown();
query($node, 'SET omendb.vacuum_relink = off; VACUUM grown');
my $kept = recall_of_grown();
cmp_ok(abs($kept - $inserted), '<=', 0.015, "vacuum told not to leaves links: $kept of $inserted");
my $log = -s $node->logfile;
query($node, 'SET temp_file_limit = 64; VACUUM grown');
like(slurp_file($node->logfile, $log), qr/not chosen anew for want of temporary disk space/,
	'without room for its files it does without');
unlike(slurp_file($node->logfile, $log), qr/file leak/, 'and leaves none');

# cut off anywhere, by a timeout or with the server: nothing is lost, and the next one
# sees to it
sub find_fault
{
	my $faults = query($node,
		"SELECT invariant, detail FROM omen_verify_index('grown_idx', true) WHERE severity = 'error'");
	my $found = all_through_index($node, 'grown', 'v <#> (SELECT v FROM others WHERE id = 1)');

	return $faults . ($found eq '6000 6000' ? '' : " found $found");
}
query($node, 'CREATE TABLE others AS SELECT * FROM grown');
my @faults;
foreach my $step (1 .. 8)
{
	$node->psql('postgres', 'SET statement_timeout = ' . 90 * $step . ";\nVACUUM grown");
	push @faults, find_fault();
	query($node, "UPDATE grown SET v = o.v FROM others o WHERE o.id = grown.id + 1 AND grown.id % 9 = $step");
}
is(join('', @faults), '', 'cut off by a timeout, at eight times, the index is whole');
my $vacuum = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'VACUUM grown' ],
	'>', \my $out, '2>', \my $err);
sleep 0.4;
$node->stop('immediate');
$vacuum->finish;
$node->start;
is(find_fault(), '', 'cut off with the server, the index is whole');
query($node, 'VACUUM grown');
is(find_fault(), '', 'and after the next vacuum');
my $vacuumed = recall_of_grown();
query($node, 'REINDEX INDEX grown_idx');
my $new = recall_of_grown();
cmp_ok($vacuumed, '>=', $new - 0.015, "vacuumed: recall $vacuumed, of a new index $new");
cmp_ok($vacuumed, '>=', $inserted - 0.005, "which is no worse than inserted: $inserted");

# those that come after the build are found nearly as well as others
query($node, 'DELETE FROM grown WHERE id % 5 = 0');
query($node, 'VACUUM grown');
query($node, 'INSERT INTO grown SELECT id, v FROM others WHERE id % 5 = 0');
my $late = recall_of_grown();
query($node, 'REINDEX INDEX grown_idx');
$new = recall_of_grown();
cmp_ok($late, '>=', $new - 0.015, "a fifth inserted: recall $late, of a new index $new");

# rows that come in place of others that have gone count as much as those that come
# in addition
query($node, 'DELETE FROM grown WHERE id % 5 = 0');
query($node, 'VACUUM grown');
query($node, 'INSERT INTO grown SELECT id, v + v FROM others WHERE id % 5 = 0');
$log = -s $node->logfile;
query($node, 'SET temp_file_limit = 64; VACUUM grown');
like(slurp_file($node->logfile, $log), qr/not chosen anew/, 'rows in place of others are noticed');

# statistics that vacuum leaves when it has rows to remove: only then does it
# count, else it leaves the estimate that was there
query($node, 'DELETE FROM stress WHERE id IN (SELECT id FROM stress LIMIT 5)');
query($node, 'VACUUM (INDEX_CLEANUP ON) stress');
is( query(
		$node,
		"SELECT reltuples::int FROM pg_class WHERE relname = 'stress_idx'"),
	query($node, 'SELECT count(*) FROM stress WHERE v IS NOT NULL'),
	'vacuum counts the rows of the index');

$node->stop;
done_testing();
