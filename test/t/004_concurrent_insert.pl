# Rows inserted by many clients at once are all found, each exactly once: into
# an empty index, into one vector's place, and beside a build.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('concurrent', conf => 'max_connections = 50');
my $random =
  'ARRAY(SELECT random() FROM generate_series(1, 16))::real[]::vector(16)';
my $nearest = "v <-> array_fill(0.5::real, ARRAY[16])::vector";

query($node, <<'SQL');
CREATE TABLE spread (id bigserial, v vector(16));
CREATE INDEX spread_idx ON spread USING omenhnsw (v vector_l2_ops);
CREATE TABLE same (id bigserial, v vector(16));
CREATE INDEX same_idx ON same USING omenhnsw (v vector_l2_ops);
CREATE TABLE few (id bigserial, v vector(16));
CREATE INDEX few_idx ON few USING omenhnsw (v vector_l2_ops);
SQL

psql_many($node, 20, 50, spread => "INSERT INTO spread (v) SELECT $random;");
is(all_through_index($node, 'spread', $nearest),
	'1000 1000', '1,000 rows of 20 clients are found, each exactly once');

# By 8 and by 32 clients, as often as OMEN_REPEATS says: all are found by pulling a
# scan to its end, all can be reached in the graph, and a search for one of them
# finds it.  Near zero, and where codes need the mean that the first rows have.
query($node, <<'SQL');
CREATE TABLE raced (id int, v vector(16));
CREATE INDEX raced_idx ON raced USING omenhnsw (v vector_l2_ops);
CREATE SEQUENCE raced_id;
SQL
my $repeats = $ENV{OMEN_REPEATS} || 1;
foreach my $case ([ 8, 0 ], [ 32, 0 ], [ 8, 1000 ])
{
	my ($clients, $centre) = @$case;
	my $vector = "ARRAY(SELECT $centre + random() FROM generate_series(1, 16))::real[]::vector(16)";
	my ($found, $whole, $nearest_found) = (0, 0, 0);

	foreach my $repeat (1 .. $repeats)
	{
		query($node, 'TRUNCATE raced; ALTER SEQUENCE raced_id RESTART');
		psql_many($node, $clients, int(1000 / $clients) + 1,
			raced => "INSERT INTO raced SELECT n, $vector FROM (SELECT nextval('raced_id') AS n) s WHERE n <= 1000;");
		$found++ if all_through_index($node, 'raced', $nearest) eq '1000 1000';
		$whole++ if query($node, "SELECT count(*) FROM omen_verify_index('raced_idx', true) WHERE severity = 'error'") eq '0';
		$nearest_found += query($node, index_scan() .
			'SELECT count(*) FROM raced r WHERE id = (SELECT id FROM raced ORDER BY v <-> r.v LIMIT 1)');
	}
	is($found, $repeats, "$clients clients around $centre, $repeats times: 1000 of 1000 rows are found");
	is($whole, $repeats, "$clients clients around $centre: and the index is whole");
	cmp_ok($nearest_found, '>=', 995 * $repeats,
		"$clients clients around $centre: of all rows, $nearest_found are the nearest to themselves");
}

# A few rows each: while the first ones get new codes, by the mean of all, others come
my ($sound, $seen) = (0, 0);

foreach my $repeat (1 .. 15)
{
	query($node, 'TRUNCATE raced');
	psql_many($node, 8, 12, started => "INSERT INTO raced SELECT nextval('raced_id'), $random;");
	$seen++ if all_through_index($node, 'raced', $nearest) eq '96 96';
	$sound++ if query($node, "SELECT count(*) FROM omen_verify_index('raced_idx', true)") eq '0';
}
is("$sound $seen", '15 15', '8 clients begin an index, 15 times: it is whole and has their rows');

psql_many($node, 20, 50,
	same => "INSERT INTO same (v) SELECT array_fill(1, ARRAY[16])::vector;");
is(all_through_index($node, 'same', $nearest),
	'1000 1000', '1,000 equal vectors of 20 clients are found');

# a few distinct values, so that clients meet on the same element
psql_many($node, 20, 50,
	few => "INSERT INTO few (v) SELECT array_fill((random() * 5)::int, ARRAY[16])::vector;");
is(all_through_index($node, 'few', $nearest),
	'1000 1000', '1,000 rows of six values of 20 clients are found');

is(map_problems($node, "${_}_idx"), '0', "the TID map has all of $_")
  foreach qw(spread same few);

# recall of a graph that grew under concurrency
load_queries($node, 'queries', type => 'vector', dim => 16);
my ($recall, $lacking, $disorder) = recall(
	$node,
	table => 'spread',
	queries => 'queries',
	operator => '<->',
	settings => 'SET omenhnsw.ef_search = 100');
cmp_ok($recall, '>=', 0.95, "recall after concurrent inserts: $recall");
is("$lacking $disorder", '0 0', 'complete and in order');

# inserts while CREATE INDEX CONCURRENTLY runs
query($node, "CREATE TABLE busy (id bigserial, v vector(16));"
	  . " INSERT INTO busy (v) SELECT ARRAY(SELECT random() FROM"
	  . " generate_series(1, 16) WHERE i > 0)::real[]::vector FROM generate_series(1, 3000) i");
psql_many($node, 4, 50,
	busy => "INSERT INTO busy (v) SELECT $random;\n",
	busy_index => "SELECT pg_try_advisory_lock(1) AS mine \\gset\n"
	  . "\\if :mine\nCREATE INDEX CONCURRENTLY IF NOT EXISTS busy_idx ON busy"
	  . " USING omenhnsw (v vector_l2_ops);\n\\endif\n");
is( all_through_index($node, 'busy', $nearest),
	query($node, "SELECT count(*) || ' ' || count(*) FROM busy"),
	'rows inserted beside CREATE INDEX CONCURRENTLY are found');
ok(uses_index($node, 'busy_idx', "SELECT id FROM busy ORDER BY $nearest LIMIT 5"),
	'the index built beside inserts is valid');
is(map_problems($node, 'busy_idx'), '0', 'and its TID map is complete');

# clients that come to an empty map at once, with rows in many of its leaves
query($node, <<'SQL');
CREATE TABLE wide (id bigserial, filler text, v vector(3));
ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
CREATE INDEX wide_idx ON wide USING omenhnsw (v vector_l2_ops);
SQL
psql_many($node, 20, 5,
	wide => "INSERT INTO wide (filler, v) SELECT repeat('x', 7000), ARRAY[random(), i, 1]::vector FROM generate_series(1, 10) i;");
is(map_problems($node, 'wide_idx'), '0', 'the TID map grows under concurrent inserts');
is(query($node, 'SELECT max((ctid::text::point)[0]) > 900 FROM wide'),
	't', 'it has several leaves');

$node->stop;
done_testing();
