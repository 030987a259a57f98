# Committed rows survive kill -9 of the server and are found by the index, also
# after deletes, a vacuum and a build that no checkpoint followed. An unlogged
# index starts empty after a crash and works.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %data = (type => 'vector', dim => 16, kind => 'clustered');
my $node = new_node('crash');

load_rows($node, 'items', %data, rows => 3000);
load_queries($node, 'queries', %data);
query($node, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');

load_rows($node, 'fast', %data, rows => 500, persistence => 'UNLOGGED');
query($node, 'CREATE INDEX fast_idx ON fast USING omenhnsw (v vector_l2_ops)');

# answers through the index of the ten queries, as one string
my $answers = <<'SQL';
SELECT q.id, array_agg(s.id ORDER BY s.n) FROM queries q, LATERAL (
  SELECT t.id, row_number() OVER () AS n FROM
    (SELECT id FROM items t ORDER BY t.v <-> q.v LIMIT 20) t) s
WHERE q.id <= 10 GROUP BY q.id ORDER BY q.id
SQL

my $nearest = "v <-> (SELECT v FROM queries WHERE id = 1)";

# 1. rows committed just before the crash
query($node, 'CHECKPOINT');
add_rows($node, 'items', %data, from => 3001, to => 3300, seed => 0.3);
my $before = index_ids($node, $answers);
query($node, "INSERT INTO items SELECT 3301, v FROM queries WHERE id = 1");
kill_server($node);
start_after_kill($node);

is(all_through_index($node, 'items', $nearest),
	'3301 3301', 'every committed row is in the index after kill -9');
is( query(
		$node,
		index_scan() . "SELECT id FROM items ORDER BY $nearest LIMIT 1"),
	'3301',
	'the row committed last is found');
is(map_problems($node, 'idx'), '0', 'and is in the TID map, like all others');
query($node, 'DELETE FROM items WHERE id = 3301');
is_same_rows(index_ids($node, $answers),
	$before, 'the same rows are returned after recovery');

# 2. the unlogged table
is(query($node, index_scan() . 'SELECT count(*) FROM fast'),
	'0', 'an unlogged table is empty after the crash');
is(map_problems($node, 'fast_idx'), '0', 'and so is the TID map of its index');
add_rows($node, 'fast', %data, from => 1, to => 500);
is(all_through_index($node, 'fast', $nearest),
	'500 500', 'its index takes and finds rows after the crash');
$node->restart;
is(all_through_index($node, 'fast', $nearest),
	'500 500', 'and keeps them over a clean restart');
is(map_problems($node, 'fast_idx'), '0', 'in its TID map, too');

# 3. inserts, deletes and a vacuum since the checkpoint are replayed
foreach my $round (1 .. 3)
{
	my $first = 10000 * $round;

	foreach my $batch (1 .. 20)
	{
		my $from = $first + 10 * $batch;

		add_rows(
			$node, 'items', %data,
			from => $from,
			to => $from + 9,
			seed => $round / 10);
	}
	query($node,
		"DELETE FROM items WHERE id % 7 = $round");
	query($node, 'VACUUM items');
	my $rows = query($node, 'SELECT count(*) FROM items');
	kill_server($node);
	start_after_kill($node);
	is(all_through_index($node, 'items', $nearest),
		"$rows $rows", "round $round: every row once after deletes and vacuum");
	my ($recall, $lacking, $disorder) = recall(
		$node,
		table => 'items',
		queries => 'queries',
		operator => '<->',
		settings => 'SET omenhnsw.ef_search = 100');
	cmp_ok($recall, '>=', 0.95, "round $round: recall $recall");
	is("$lacking $disorder", '0 0', "round $round: complete and in order");
	is(map_problems($node, 'idx'), '0', "round $round: all are in the TID map");
}

# 4. a build, logged at its end
query($node, 'CREATE INDEX second ON items USING omenhnsw (v vector_cosine_ops)');
kill_server($node);
start_after_kill($node);
is( all_through_index(
		$node, 'items', "v <=> (SELECT v FROM queries WHERE id = 1)"),
	query($node, "SELECT count(*) || ' ' || count(*) FROM items"),
	'an index built just before the crash is whole');
is(map_problems($node, 'second'), '0', 'and so is its TID map');

# 5. a table loaded and indexed in one transaction, none of which is logged: workers
# have to know, whose pages are made durable, or logged as a whole, at its end
$node->append_conf('postgresql.conf', "wal_level = minimal\nmax_wal_senders = 0");
$node->restart;
foreach my $threshold (0, '1GB')
{
	my ($out, $err) = ('', '');

	$node->psql('postgres', <<"SQL", stdout => \$out, stderr => \$err);
SET wal_skip_threshold = '$threshold';
SET max_parallel_maintenance_workers = 2;
SET client_min_messages = debug1;
DROP TABLE IF EXISTS loaded;
BEGIN;
CREATE TABLE loaded (id int, v vector(16), body tsvector) WITH (parallel_workers = 2);
INSERT INTO loaded SELECT id, v, to_tsvector('simple', 'word w' || id % 100) FROM items;
CREATE INDEX loaded_idx ON loaded USING omenhnsw (v vector_l2_ops);
CREATE INDEX loaded_body ON loaded USING omenbm25 (body);
COMMIT;
SQL
	kill_server($node);
	start_after_kill($node);
	is(scalar(() = $err =~ /using \d+ parallel workers/g), 2,
		"wal_skip_threshold = $threshold: built by workers");
	is(all_through_index($node, 'loaded', $nearest),
		query($node, "SELECT count(*) || ' ' || count(*) FROM items"),
		'an index that was not logged is whole after the crash');
	is(query($node, "SELECT * FROM omen_verify_index('loaded_idx', true) UNION ALL SELECT * FROM omen_verify_index('loaded_body', true)"),
		'', 'and has nothing to complain about');
}

$node->stop;
done_testing();
