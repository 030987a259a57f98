# The index under every statement that makes, changes or refuses it.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('ddl');
my %data = (type => 'vector', dim => 8, kind => 'random');
my $nearest = "v <-> '[0,0,0,0,0,0,0,0]'";

load_rows($node, 'items', %data, rows => 1000);

# the error of a statement: SQLSTATE and text
sub fails
{
	my ($sql, $state, $text, $name) = @_;
	my ($status, undef, $error) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	like($error, qr/ERROR:  $state: .*$text/s, $name);
	return;
}

sub whole
{
	my ($table, $rows, $name) = @_;

	is(all_through_index($node, $table, $nearest), "$rows $rows", $name);
	return;
}

# concurrently, and again
query($node, 'CREATE INDEX CONCURRENTLY idx ON items USING omenhnsw (v vector_l2_ops)');
whole('items', 1000, 'CREATE INDEX CONCURRENTLY');
query($node, 'REINDEX INDEX idx');
whole('items', 1000, 'REINDEX');
query($node, 'REINDEX INDEX CONCURRENTLY idx');
whole('items', 1000, 'REINDEX CONCURRENTLY');
query($node, 'VACUUM FULL items');
whole('items', 1000, 'VACUUM FULL');
query($node, 'CREATE UNIQUE INDEX items_id ON items (id); CLUSTER items USING items_id');
whole('items', 1000, 'CLUSTER');
query($node, 'ALTER TABLE items SET UNLOGGED');
query($node, 'ALTER TABLE items SET LOGGED');
whole('items', 1000, 'to unlogged and back');
query($node, 'BEGIN; TRUNCATE items; ROLLBACK');
whole('items', 1000, 'TRUNCATE rolled back');
query($node, 'BEGIN; TRUNCATE items; INSERT INTO items SELECT 1, array_fill(1, ARRAY[8])::vector; COMMIT');
whole('items', 1, 'TRUNCATE and insert');
load_rows($node, 'items', %data, rows => 1000);

# a failed concurrent build leaves an invalid index that can be dropped
query($node, <<'SQL');
CREATE TABLE mixed (id int, v vector);
INSERT INTO mixed VALUES (1, '[1,2,3]'), (2, '[1,2]');
SQL
fails('CREATE INDEX CONCURRENTLY broken ON mixed USING omenhnsw ((v::vector(3)) vector_l2_ops);',
	'22000', 'expected 3 dimensions', 'a build that meets a wrong row fails');
is(query($node, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'broken'::regclass"),
	'f', 'a concurrent build that failed leaves an invalid index');
query($node, 'DROP INDEX broken');
is(query($node, "SELECT count(*) FROM pg_class WHERE relname = 'broken'"),
	'0', 'which can be dropped');

# temporary tables
query($node, <<'SQL');
CREATE TEMP TABLE t (id int, v vector(3));
INSERT INTO t SELECT i, ARRAY[i, 1, 1]::vector FROM generate_series(1, 200) i;
CREATE INDEX ON t USING omenhnsw (v vector_l2_ops);
SET enable_seqscan = off;
DO $$
BEGIN
  INSERT INTO t SELECT i, ARRAY[i, 1, 1]::vector FROM generate_series(201, 300) i;
  PERFORM id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
  RAISE EXCEPTION 'back';
EXCEPTION WHEN raise_exception THEN
  NULL;
END $$;
DO $$ BEGIN
  IF (SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> '[1,1,1]') s) <> 200 THEN
    RAISE EXCEPTION 'wrong rows in the temporary table';
  END IF;
END $$;
BEGIN;
CREATE TEMP TABLE u (v vector(3)) ON COMMIT DROP;
CREATE INDEX ON u USING omenhnsw (v vector_l2_ops);
INSERT INTO u VALUES ('[1,2,3]');
ROLLBACK;
SQL
pass('temporary tables, errors and rollbacks');

# made and filled in one transaction that fails, and one that is prepared to
query($node, <<'SQL');
BEGIN;
CREATE TABLE made (id int, v vector(3));
CREATE INDEX made_idx ON made USING omenhnsw (v vector_l2_ops);
INSERT INTO made SELECT i, ARRAY[i, 1, 1]::vector FROM generate_series(1, 100) i;
SAVEPOINT s;
INSERT INTO made SELECT i, ARRAY[i, 1, 1]::vector FROM generate_series(101, 200) i;
ROLLBACK TO s;
COMMIT;
SQL
is(all_through_index($node, 'made', "v <-> '[0,0,0]'"),
	'100 100', 'rows of a rolled back savepoint are not returned');

# partial, expression; 18 counts rows in a build only if autovacuum is on
query($node, <<'SQL');
ANALYZE items;
CREATE INDEX part ON items USING omenhnsw (v vector_l2_ops) WHERE id % 2 = 0;
CREATE INDEX half ON items USING omenhnsw ((v::halfvec(8)) halfvec_l2_ops);
SQL
is( query(
		$node,
		index_scan() . "SELECT count(*) FROM (SELECT id FROM items WHERE id % 2 = 0 ORDER BY $nearest) s"
	),
	'500',
	'a partial index returns its rows');
ok(uses_index($node, 'part', "SELECT id FROM items WHERE id % 2 = 0 ORDER BY $nearest LIMIT 5"),
	'a partial index is used for its rows');
ok( uses_index(
		$node,
		'half',
		"SELECT id FROM items ORDER BY v::halfvec(8) <-> '[0,0,0,0,0,0,0,0]' LIMIT 5"),
	'an expression index is used for its expression');
is(query($node, "SELECT reltuples::int FROM pg_class WHERE relname = 'part'"),
	'500', 'the build of a partial index counts its own rows');
is(query($node, "SELECT reltuples::int FROM pg_class WHERE relname = 'items'"),
	'1000', 'and leaves the table its number of rows');

# an index is for ORDER BY alone
query($node, 'DROP INDEX part, half; CREATE INDEX sole ON items USING omenhnsw (v vector_l2_ops)');
foreach my $sql (
	'SELECT count(*) FROM items',
	'SELECT id FROM items WHERE v = (SELECT v FROM items LIMIT 1)',
	"SELECT id FROM items ORDER BY $nearest DESC",
	"SELECT id FROM items ORDER BY v <=> '[0,0,0,0,0,0,0,1]'",
	'SELECT count(*) FROM items WHERE v IS NOT NULL')
{
	ok(!uses_index($node, 'sole', $sql), "no index scan for: $sql");
}

# updates of other columns: in place of the old row version, or beside it
query($node, 'CREATE INDEX ON items (id)');
query($node, 'UPDATE items SET id = id + 0 WHERE id <= 500');
query($node, 'UPDATE items SET id = id + 10000 WHERE id > 500');
whole('items', 1000, 'updates of another column');

# partitions
query($node, <<'SQL');
CREATE TABLE parts (id int, v vector(3)) PARTITION BY LIST (id);
DO $$ BEGIN
  FOR i IN 1 .. 500 LOOP
    EXECUTE format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES IN (%s)', i, i);
  END LOOP;
END $$;
INSERT INTO parts SELECT 1 + i % 500, ARRAY[i, 1, 1]::vector FROM generate_series(1, 1000) i;
CREATE INDEX ON parts USING omenhnsw (v vector_l2_ops);
INSERT INTO parts SELECT 1 + i % 500, ARRAY[i, 1, 1]::vector FROM generate_series(1001, 1500) i;
SQL
is( query(
		$node,
		index_scan()
		  . "SELECT string_agg(v::text, ' ') FROM (SELECT v FROM parts ORDER BY v <-> '[500.2,1,1]' LIMIT 3) s"
	),
	'[500,1,1] [501,1,1] [499,1,1]',
	'one query over the indexes of 500 partitions');
is( query(
		$node,
		index_scan() . "SELECT count(*) FROM (SELECT v FROM parts ORDER BY v <-> '[1,1,1]') s"),
	'1500',
	'all rows of 500 partitions');

# refusals
fails('CREATE INDEX ON items USING omenhnsw (v vector_l2_ops) INCLUDE (id);',
	'0A000', 'included columns', 'INCLUDE is refused');
fails('CREATE UNIQUE INDEX ON items USING omenhnsw (v vector_l2_ops);',
	'0A000', 'unique', 'UNIQUE is refused');
fails('CREATE INDEX ON items USING omenhnsw (v vector_l2_ops DESC);',
	'0A000', 'ASC/DESC', 'an order is refused');
fails('CREATE INDEX ON items USING omenhnsw (v);',
	'42704', 'no default operator class', 'the operator class has to be named');
fails('CREATE INDEX ON items USING omenhnsw (id vector_l2_ops);',
	'42804', 'does not accept data type', 'the operator class has to fit');
fails('CREATE INDEX ON mixed USING omenhnsw (v vector_l2_ops);',
	'22023', 'does not have dimensions', 'a column without dimensions is refused');
fails("CREATE INDEX ON items USING omenhnsw (v vector_l2_ops) WITH ($_);",
	'22023', 'out of bounds|invalid value', "option $_ is refused")
  foreach ('m = 1', 'm = 101', 'ef_construction = 3', 'ef_construction = 1001',
	'quantizer = many');
fails('CREATE INDEX ON items USING omenhnsw (v vector_l2_ops) WITH (m = 50, ef_construction = 64);',
	'22023', 'ef_construction must be greater than or equal to 2 \* m',
	'ef_construction below 2 * m is refused');
fails('CREATE INDEX ON items USING omenhnsw (v vector_l2_ops) WITH (lists = 5);',
	'22023', 'unrecognized parameter', 'an unknown option is refused');
fails("LOAD 'omendb'; SET omenhnsw.ef_search = $_;", '22023', 'ef_search', "ef_search $_ is refused")
  foreach (0, -1);
fails("INSERT INTO items VALUES (1, '[1,2]');",
	'22000', 'expected 8 dimensions', 'a row of other dimensions is refused');
fails("SELECT id FROM items ORDER BY v <-> '[1,2]' LIMIT 1;",
	'22000', 'different vector dimensions',
	'a query of other dimensions is refused');

# options that change later
query($node, 'ALTER INDEX sole SET (ef_construction = 100)');
query($node, 'ALTER INDEX sole RESET (ef_construction)');
query($node, 'REINDEX INDEX sole');
whole('items', 1000, 'options changed and reindexed');

# progress is reported
is( query(
		$node,
		'SELECT count(*) FROM pg_stat_progress_create_index'),
	'0',
	'no build is reported when none runs');

$node->stop;
done_testing();
