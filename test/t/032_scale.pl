# Many partitions, and many scans of one statement, by each kind of scan.
#
# An ordered query over 500 partitions locks each of them and its indexes, as
# PostgreSQL needs to plan it: a lock for each of these fits into the lock table of a
# server with default settings (64 locks for each of 100 connections).
#
# Of 20,000 scans in a LATERAL join, the last ones find the backend with no more
# memory than the thousandth.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partitions = 500;
my $rows = 20;
my $indexes = 4;
my $node = new_node('scale',
	conf => "max_connections = 100\nmax_locks_per_transaction = 64");

# two vectors, the second one with a key
my $columns = <<'SQL';
    ARRAY[i * 919 % 1009, i * 729 % 1013, i * 709 % 1019]::vector(3) AS v,
    ARRAY[i * 709 % 1019, i * 919 % 1009, i * 729 % 1013]::vector(3) AS u,
    to_tsvector('simple', 'common' || repeat(' w' || i % 50, 1 + i % 3)) AS t
SQL

query($node, <<"SQL");
CREATE TABLE parts (id int, part int, a int, v vector(3), u vector(3), t tsvector) PARTITION BY LIST (part);
DO \$\$ BEGIN
  FOR i IN 1 .. $partitions LOOP
    EXECUTE format('CREATE TABLE part_%s PARTITION OF parts FOR VALUES IN (%s)', i, i);
  END LOOP;
END \$\$;
INSERT INTO parts SELECT i, i % $partitions + 1, i / $partitions % 4, $columns
  FROM generate_series(1, $partitions * $rows) i;
CREATE INDEX parts_a ON parts (a);
CREATE INDEX parts_v ON parts USING omenhnsw (v vector_l2_ops);
CREATE INDEX parts_u ON parts USING omenhnsw (u vector_l2_ops, a);
CREATE INDEX parts_t ON parts USING omenbm25 (t);
ANALYZE parts;
SQL

# costs are no matter here: of tables that small, each would be sorted
my $by_index = index_scan() . 'SET enable_sort = off; SET enable_incremental_sort = on;';
my $q = "'[500,500,500]'";

# PostgreSQL 16 and later can sort what a plain index scan orders by the id as
# well. It gives the first rows sooner, but many rows, or rows that cost, later.
my $many = 3000;
my $costly = 'SET cpu_tuple_cost = 10;';

foreach (
	[ 'index scans', '', "v <-> $q", qr/Index Scan using part_\d+_v_idx/ ],
	[ 'filtered scans', 'WHERE a = 2', "v <-> $q, id", qr/Omen Filtered Scan/ ],
	[ 'scans by a key', 'WHERE a = 2', "u <-> $q", qr/Index Scan using part_\d+_u_a_idx/, 'SET enable_bitmapscan = off;' ],
	[ 'scans up to a bound', "WHERE v <-> $q < 60", "v <-> $q, id", qr/Omen Filtered Scan/, $costly, $many ],
	[ 'text scans', '', "t <\@> 'w7'", qr/Index Scan using part_\d+_t_idx/ ],
	[ 'filtered text scans', 'WHERE a = 2', "t <\@> 'w7', id", qr/Omen Filtered Scan/, '', $many ],
	[ 'fused scans of vectors', 'WHERE a = 2', "fuse(v <-> $q, u <-> $q, 'none'), id", qr/Omen Fused Scan/ ],
	[ 'fused scans of a vector and a text', '', "fuse(v <-> $q, t <\@> 'w7', 'none'), id", qr/Omen Fused Scan/ ])
{
	my ($name, $where, $order, $scan, $settings, $limit) = @$_;

	# others than the first of equal values may come, unless the id decides
	my $value = $order =~ /, id$/ ? 'id' : "round(($order)::numeric, 5)";
	my $wanted = "FROM parts $where ORDER BY $order LIMIT " . ($limit // 10);
	my $exact = exact_ids($node, "SELECT $value $wanted");
	my $how = $by_index . ($settings // '');
	my $plan = query($node, "$how EXPLAIN (COSTS off) SELECT id $wanted");
	my $scans = () = $plan =~ /$scan/g;

	is($scans, $partitions, "$name: each of $partitions partitions has one");

	my ($locks, @ids) = lines($node, <<"SQL");
$how
BEGIN;
CREATE TEMP TABLE found ON COMMIT DROP AS SELECT row_number() OVER () AS n, value FROM (SELECT $value AS value $wanted) s;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation';
SELECT value FROM found ORDER BY n;
COMMIT;
SQL
	is(join("\n", @ids), $exact, "$name: they find the nearest rows");
	cmp_ok($locks, '<', (1 + $indexes) * $partitions + 50, "$name: $locks locks");
}

# custom plans at first, then a generic one
my $exact = exact_ids($node, "SELECT id FROM parts WHERE a = 2 ORDER BY v <-> $q, id LIMIT 10");
my @executed = lines($node, <<"SQL");
$by_index
PREPARE near(int, vector) AS
  SELECT string_agg(id::text, ' ') FROM (
    SELECT id FROM parts WHERE a = \$1 ORDER BY v <-> \$2, id LIMIT 10) s;
@{[ "EXECUTE near(2, '[500,500,500]');\n" x 8 ]}
SET plan_cache_mode = force_generic_plan;
EXECUTE near(2, '[500,500,500]');
SQL
is_deeply(\@executed, [ ($exact =~ s/\n/ /gr) x 9 ],
	'a prepared statement finds them, each time');

# --- many rows ---

# of two rankings that agree, each row is certain as soon as both have brought it
query($node, <<"SQL");
CREATE TABLE agreeing AS SELECT i AS id, $columns FROM generate_series(1, 20000) i;
CREATE INDEX agreeing_v ON agreeing USING omenhnsw (v vector_l2_ops);
ANALYZE agreeing;
CREATE FUNCTION seconds(score text) RETURNS float8 VOLATILE LANGUAGE plpgsql AS \$\$
DECLARE
  began timestamptz := clock_timestamp();
BEGIN
  EXECUTE format('SELECT count(*) FROM (SELECT id FROM agreeing ORDER BY %s LIMIT 20000) s', score);
  RETURN extract(epoch FROM clock_timestamp() - began);
END \$\$;
SQL
my ($ranks, $values) = map { query($node, <<"SQL") } 'rrf', 'fuse';
SELECT min(seconds(\$\$$_(v <-> $q, v <-> $q)\$\$)) FROM generate_series(1, 2) i
SQL
cmp_ok($ranks, '<', 4 * $values, "20,000 rows by rank take $ranks s, by value $values s");

# --- scan after scan ---

query($node, <<"SQL");
CREATE TABLE points AS SELECT i AS id, i % 500 AS a, i % 20 AS k, $columns
  FROM generate_series(1, 5000) i;
CREATE INDEX points_a ON points (a);
CREATE INDEX points_v ON points USING omenhnsw (v vector_l2_ops);
CREATE INDEX points_u ON points USING omenhnsw (u vector_l2_ops, k);
CREATE INDEX points_t ON points USING omenbm25 (t);
ANALYZE points;
CREATE FUNCTION memory() RETURNS bigint VOLATILE LANGUAGE sql AS
  'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
SQL

# another query each time, and another filter
my $vector = 'ARRAY[i % 1000, i % 77, i % 13]::vector';
my $text = "('w' || i % 50)::tsquery";

foreach (
	[ 'index scans', "ORDER BY v <-> $vector", qr/Index Scan using points_v/ ],
	[ 'filtered scans', "WHERE a = i % 500 ORDER BY v <-> $vector", qr/Omen Filtered Scan.*Bitmap Index Scan on points_a/s ],
	[ 'scans by a key', "WHERE k = i % 20 ORDER BY u <-> $vector", qr/Index Scan using points_u/ ],
	[ 'filtered scans with a key', "WHERE a = i % 500 AND k IN (i % 10, i % 10 + 10) ORDER BY u <-> $vector", qr/Omen Filtered Scan.*Key Cond/s ],
	[ 'scans up to a bound', "WHERE v <-> $vector < 500 ORDER BY v <-> $vector", qr/Omen Filtered Scan.*Distance Bound/s ],
	[ 'text scans', "ORDER BY t <\@> $text", qr/Index Scan using points_t/ ],
	[ 'filtered text scans', "WHERE a = i % 500 ORDER BY t <\@> $text", qr/Omen Filtered Scan.*Bitmap Index Scan on points_a/s ],
	[ 'fused scans', "ORDER BY rrf(v <-> $vector, t <\@> $text, window_size => 10)", qr/Omen Fused Scan/ ],
	[ 'filtered fused scans', "WHERE a = i % 500 ORDER BY fuse(v <-> $vector, u <-> $vector, 'minmax')", qr/Omen Fused Scan.*Bitmap Index Scan on points_a/s ])
{
	my ($name, $what, $scan) = @$_;
	my $from = "FROM generate_series(1, 20000) i, LATERAL (SELECT id FROM points $what LIMIT 1) s";

	like(query($node, "$by_index EXPLAIN (COSTS off) SELECT s.id $from"), $scan, "$name in a LATERAL join");

	my ($counts) = lines($node, <<"SQL");
$by_index
SELECT count(s.id), max(memory()) FILTER (WHERE i = 1),
    max(memory()) FILTER (WHERE i = 1000),
    max(memory()) FILTER (WHERE i = 20000) $from;
SQL
	my ($n, undef, $early, $late) = split /\|/, $counts;

	is($n, 20000, "20,000 $name in one statement");

	# looking at it takes some, too
	cmp_ok($late - $early, '<', 190000,
		"$name: memory contexts of $early bytes after a thousand grew to $late");
}

$node->stop;
done_testing();
