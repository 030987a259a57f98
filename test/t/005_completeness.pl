# ef_search is a knob of recall, never a limit of rows: scans go on until every
# visible row was returned, each once, in the order of exact distance.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('completeness');
my %data = (type => 'vector', dim => 16, kind => 'clustered');
my $nearest = 'v <-> (SELECT v FROM queries WHERE id = 1)';

load_rows($node, 'items', %data, rows => 3000);
load_queries($node, 'queries', %data);
query($node, <<'SQL');
INSERT INTO items SELECT 5000 + i, NULL FROM generate_series(1, 7) i;
CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops);
INSERT INTO items SELECT 6000 + i, NULL FROM generate_series(1, 3) i;
SQL

foreach my $ef (1, 10, 40)
{
	is( query(
			$node,
			index_scan()
			  . "SET omenhnsw.ef_search = $ef; SELECT count(DISTINCT id) FROM"
			  . " (SELECT id FROM items ORDER BY $nearest LIMIT 1000) s"),
		'1000',
		"LIMIT 1000 at ef_search $ef returns 1000 rows");
	is( query(
			$node,
			index_scan()
			  . "SET omenhnsw.ef_search = $ef; SELECT count(*), count(DISTINCT id)"
			  . " FROM (SELECT id FROM items ORDER BY $nearest) s"),
		'3000|3000',
		"without LIMIT every row with a vector comes once at ef_search $ef");
}

is( query(
		$node,
		index_scan()
		  . "SELECT count(*) FILTER (WHERE d < before) FROM (SELECT d, lag(d)"
		  . " OVER () AS before FROM (SELECT $nearest AS d FROM items ORDER BY"
		  . " $nearest) s) s"),
	'0',
	'the order is exact to the end');

# a query that is NULL, and vectors without direction
is( query(
		$node,
		index_scan()
		  . 'SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> (SELECT NULL::vector)) s'),
	'3000',
	'a NULL query returns the indexed rows');

query($node, <<'SQL');
CREATE TABLE zeros (id int, v vector(3));
INSERT INTO zeros SELECT i, ARRAY[i, 1, 1]::vector FROM generate_series(1, 20) i;
INSERT INTO zeros SELECT 100 + i, '[0,0,0]' FROM generate_series(1, 5) i;
CREATE INDEX zeros_idx ON zeros USING omenhnsw (v vector_cosine_ops);
INSERT INTO zeros SELECT 200 + i, '[0,0,0]' FROM generate_series(1, 5) i;
SQL
is( query(
		$node,
		index_scan()
		  . "SELECT count(*), min(d)::int, count(*) FILTER (WHERE d = 'NaN') FROM"
		  . " (SELECT v <=> '[1,1,1]' AS d FROM zeros ORDER BY v <=> '[1,1,1]') s"),
	'20|0|0',
	'zero vectors are not in a cosine index, NaN never comes first');
is( query(
		$node,
		index_scan()
		  . "SELECT count(*) FROM (SELECT id FROM zeros ORDER BY v <=> '[0,0,0]') s"),
	'20',
	'a zero query under cosine returns the indexed rows');

# dead rows are not charged to the reader
query($node, 'UPDATE items SET id = id');
is( query(
		$node,
		index_scan()
		  . "SELECT count(DISTINCT id) FROM"
		  . " (SELECT id FROM items ORDER BY $nearest LIMIT 10) s"),
	'10',
	'every row updated, no vacuum: LIMIT 10 returns ten live rows');
query($node,
	"DELETE FROM items WHERE id NOT IN (SELECT id FROM items WHERE v IS NOT NULL"
	  . " ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) DESC LIMIT 15)");
is( query(
		$node,
		index_scan()
		  . "SELECT count(DISTINCT id) FROM"
		  . " (SELECT id FROM items ORDER BY $nearest LIMIT 10) s"),
	'10',
	'a table full of dead rows fills LIMIT from the far end');
is(all_through_index($node, 'items', $nearest),
	'15 15', 'and a full scan returns the living');

# equal vectors
query($node, <<'SQL');
CREATE TABLE same (id int, v vector(3));
INSERT INTO same SELECT i, '[1,2,3]' FROM generate_series(1, 500) i;
CREATE INDEX same_idx ON same USING omenhnsw (v vector_l2_ops);
INSERT INTO same SELECT i, '[1,2,3]' FROM generate_series(501, 1000) i;
SQL
is(all_through_index($node, 'same', "v <-> '[1,2,3]'"),
	'1000 1000', '1,000 equal vectors are each returned once');

# an empty index
query($node, <<'SQL');
CREATE TABLE empty (id int, v vector(3));
CREATE INDEX empty_idx ON empty USING omenhnsw (v vector_l2_ops);
SQL
is(all_through_index($node, 'empty', "v <-> '[1,2,3]'"),
	'0 0', 'an empty index returns nothing');

# joins scan again and again, cursors go on where they stopped
is( query(
		$node,
		index_scan()
		  . 'SELECT count(*), count(DISTINCT s.id) FROM queries q, LATERAL'
		  . ' (SELECT id FROM same ORDER BY v <-> (q.v::real[])[1:3]::vector LIMIT 3) s'
	) =~ /^120\|/,
	1,
	'a lateral join scans the index once for each row');
is( query(
		$node,
		index_scan()
		  . "BEGIN; DECLARE c CURSOR FOR SELECT id FROM same ORDER BY v <-> '[0,0,0]';"
		  . ' FETCH 3 FROM c; MOVE 600 FROM c; FETCH 2 FROM c; COMMIT'
	) =~ tr/\n//,
	4,
	'a cursor goes on where it stopped');

# a filter that nothing passes ends, and one that few rows pass finds them
is( query(
		$node,
		index_scan()
		  . "SELECT count(*) FROM (SELECT id FROM same WHERE id = 777"
		  . " ORDER BY v <-> '[0,0,0]' LIMIT 5) s"),
	'1',
	'a filter that one row passes finds it');
is( query(
		$node,
		index_scan()
		  . "SELECT count(*) FROM (SELECT id FROM same WHERE id < 0"
		  . " ORDER BY v <-> '[0,0,0]' LIMIT 5) s"),
	'0',
	'a filter that no row passes ends');

# a bound that no row meets ends the scan after the first walk
my $plan = query($node, index_scan() . <<'SQL');
CREATE TABLE bounded AS SELECT i AS id, ARRAY[i % 97, i % 89, i % 83]::vector(3) AS v FROM generate_series(1, 5000) i;
CREATE INDEX ON bounded USING omenhnsw (v vector_l2_ops);
ANALYZE bounded;
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off)
  SELECT id FROM bounded WHERE v <-> '[200,200,200]' < 1 ORDER BY v <-> '[200,200,200]' LIMIT 5;
SQL
my ($distances) = $plan =~ /Distance Bound.*distances=(\d+)/s;
cmp_ok($distances // 5000, '<', 3500,
	'a bound that no row is within ends early');

# an insert that takes the mean of an empty index's first rows is cut off, wherever
# it is: some nodes have codes by it, and the index is whole
query($node, <<'SQL');
CREATE FUNCTION wave(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS
$$ SELECT ARRAY(SELECT sin(i * g * 0.7 + g * g) FROM generate_series(1, 700) g)::vector $$;
CREATE TABLE cut (id int, v vector(700));
CREATE TABLE waves AS SELECT i AS id, wave(i) AS v FROM generate_series(1, 40) i;
SQL
my ($ncut, @faults) = (0);
foreach my $try (0 .. 39)
{
	query($node, <<'SQL');
TRUNCATE cut;
DROP INDEX IF EXISTS cut_idx;
CREATE INDEX cut_idx ON cut USING omenhnsw (v vector_l2_ops);
INSERT INTO cut SELECT * FROM waves WHERE id < 32;
SQL
	my $time = $try % 8 + 1;
	$ncut++ if $node->psql('postgres',
		"SET statement_timeout = $time; INSERT INTO cut SELECT * FROM waves WHERE id = 32", on_error_stop => 1) != 0;
	push @faults, query($node, "SELECT * FROM omen_verify_index('cut_idx', true)");
	query($node, 'INSERT INTO cut SELECT * FROM waves WHERE id > 32');
	push @faults, query($node, "SELECT * FROM omen_verify_index('cut_idx', true)");
}
is(join('', @faults), '', "an insert that takes the mean is cut off $ncut times of 40, and leaves no fault");

# before 17, rows that an old snapshot sees may be gone: an error, not fewer rows
SKIP:
{
	skip 'old_snapshot_threshold is gone', 3 if $node->pg_version >= 17;

	query($node, <<'SQL');
CREATE TABLE old (id int, v vector(3), body tsvector);
INSERT INTO old SELECT i, ARRAY[i, i % 7, 1]::vector, 'a'::tsvector FROM generate_series(1, 1000) i;
CREATE INDEX ON old USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON old USING omenbm25 (body);
CREATE TABLE others (id int);
SQL
	$node->append_conf('postgresql.conf', 'old_snapshot_threshold = 0');
	$node->restart;
	my $other = 'psql -X -q -A -t -d "' . $node->connstr('postgres') . '"';
	my %queries = (
		'an ordered scan' => "SELECT count(*) FROM (SELECT id FROM old ORDER BY v <-> '[0,0,0]') s",
		'a ranking' => "SELECT count(*) FROM (SELECT id FROM old ORDER BY body <@> 'a') s",
		'a bitmap' => "SELECT count(*) FROM old WHERE body @@ 'a'");
	foreach my $name (sort keys %queries)
	{
		my ($rc, $found, $error) = $node->psql('postgres', index_scan() . <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
$queries{$name};
\\! $other -c "UPDATE old SET id = id + 1 WHERE id % 10 = 0"
\\! sleep 6
\\! $other -c "INSERT INTO others VALUES (1)" -c "SELECT FROM old WHERE id < 0"
$queries{$name};
SQL
		like("$found $error", qr/^1000 .*snapshot too old/s, "$name says that its snapshot is too old");
	}
}

$node->stop;
done_testing();
