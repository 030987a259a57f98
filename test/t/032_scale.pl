# Many partitions, and many scans of one statement.
#
# A filtered, ordered query over 500 partitions locks each of them and its
# indexes, as PostgreSQL needs to plan it: three locks a partition fit into the
# lock table of a server with default settings (64 locks for each of 100
# connections).
#
# Of 20,000 filtered scans in a LATERAL join, the last ones find the backend with
# no more memory than the thousandth.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partitions = 500;
my $rows = 20;
my $node = new_node('scale',
	conf => "max_connections = 100\nmax_locks_per_transaction = 64");

query($node, <<"SQL");
CREATE TABLE parts (id int, part int, a int, v vector(3)) PARTITION BY LIST (part);
DO \$\$ BEGIN
  FOR i IN 1 .. $partitions LOOP
    EXECUTE format('CREATE TABLE part_%s PARTITION OF parts FOR VALUES IN (%s)', i, i);
  END LOOP;
END \$\$;
INSERT INTO parts SELECT i, i % $partitions + 1, i / $partitions % 4,
    ARRAY[i * 919 % 1009, i * 729 % 1013, i * 709 % 1019]::vector(3)
  FROM generate_series(1, $partitions * $rows) i;
CREATE INDEX ON parts (a);
CREATE INDEX ON parts USING omenhnsw (v vector_l2_ops);
ANALYZE parts;
SQL

my $wanted = "FROM parts WHERE a = 2 ORDER BY v <-> '[500,500,500]', id LIMIT 10";
my $exact = exact_ids($node, "SELECT id $wanted");
my $by_index = index_scan() . 'SET enable_sort = off; SET enable_incremental_sort = on;';

# costs are no matter here: of tables that small, each would be sorted
my $plan = query($node, "$by_index EXPLAIN (COSTS off) SELECT id $wanted");
my $scans = () = $plan =~ /Omen Filtered Scan/g;
is($scans, $partitions, "each of $partitions partitions has a filtered scan");

my ($locks, @ids) = lines($node, <<"SQL");
$by_index
BEGIN;
CREATE TEMP TABLE found ON COMMIT DROP AS SELECT row_number() OVER () AS n, id FROM (SELECT id $wanted) s;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation';
SELECT id FROM found ORDER BY n;
COMMIT;
SQL
is(join("\n", @ids), $exact, 'they find the nearest rows');
cmp_ok($locks, '<', 3 * $partitions + 50, "$locks locks");

# custom plans at first, then a generic one
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

# Another vector each time, and another bitmap
my ($counts) = lines($node, <<"SQL");
$by_index
CREATE TABLE points AS SELECT i AS id, i % 50 AS a,
    ARRAY[i * 919 % 1009, i * 729 % 1013, i * 709 % 1019]::vector(3) AS v
  FROM generate_series(1, 5000) i;
CREATE INDEX ON points (a);
CREATE INDEX ON points USING omenhnsw (v vector_l2_ops);
ANALYZE points;
CREATE FUNCTION memory() RETURNS bigint VOLATILE LANGUAGE sql AS
  'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
SELECT count(s.id), max(memory()) FILTER (WHERE i = 1),
    max(memory()) FILTER (WHERE i = 1000),
    max(memory()) FILTER (WHERE i = 20000)
  FROM generate_series(1, 20000) i, LATERAL (
    SELECT id FROM points WHERE a = i % 50
      ORDER BY v <-> ARRAY[i % 1000, i % 77, i % 13]::vector LIMIT 1) s;
SQL
my ($n, undef, $early, $late) = split /\|/, $counts;
is($n, 20000, '20,000 filtered scans in one statement');

# looking at it takes some, too
cmp_ok($late - $early, '<', 190000,
	"memory contexts of $early bytes after a thousand grew to $late");

$node->stop;
done_testing();
