# Filtered scans against the exact plan: random tables, with NULLs, duplicates,
# updates, deletes, vacuum and partitions; random restrictions; every strategy.
#
# Pulled to its end, a scan returns exactly the rows that match and have a
# vector (under cosine: one of some length); with LIMIT as many as there are to
# return, all of which match, nearly all of them the nearest, and hardly ever out
# of order (a walk that has to look further may find a nearer row); with a bound
# none but rows within, and nearly all of them.  Only the strategy "exact" looks at
# all rows before it returns one: it must miss none, and return them in order of
# distance, with LIMIT the nearest.
#
# Twenty thousand scans in one statement take no more memory than some.
#
# OMEN_FILTER_STATEMENTS sets how many statements are compared, OMEN_SEED makes
# a run that failed come again.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $statements = $ENV{OMEN_FILTER_STATEMENTS} || 10000;
my $seed = $ENV{OMEN_SEED} || int(rand(1e6));
my $predicates_per_table = 30;

srand($seed);
note("OMEN_SEED=$seed");

my $node = new_node('filter', conf => 'log_min_messages = error');

query($node, <<'SQL');
-- What is wrong with the rows of a query, which returns ids and distances;
-- how many there are, and how many of them are within "far"
CREATE FUNCTION examine(query text, wanted int[], fewest int, ordered boolean,
	far float8, nearest int, OUT problem text, OUT n int, OUT hits int, OUT disorder int)
LANGUAGE plpgsql AS $$
DECLARE
	got int[];
BEGIN
	EXECUTE 'SELECT coalesce(array_agg(id ORDER BY id), ''{}''),
		count(*) FILTER (WHERE d < before - 1e-5 * abs(before) - 1e-5),
		count(*) FILTER (WHERE d <= $1 + 1e-5 * abs($1) + 1e-5)
		FROM (SELECT id, d, lag(d) OVER () AS before FROM (' || query || ') x) y'
		INTO got, disorder, hits USING far;
	n := cardinality(got);
	problem := CASE
		WHEN NOT got <@ wanted THEN 'rows that do not match'
		WHEN (SELECT count(*) <> count(DISTINCT g) FROM unnest(got) g) THEN 'rows that come twice'
		WHEN n < fewest THEN format('%s rows instead of %s', n, fewest)
		WHEN ordered AND disorder > 0 THEN format('%s rows out of order', disorder)
		WHEN hits < nearest THEN format('%s of the nearest rows instead of %s', hits, nearest)
	END || ': ' || query;
END $$;

-- All strategies on one restriction: what is wrong, how many statements that
-- was, how many of them had a plan with a filtered scan, how many rows within
-- a bound there were and were found
CREATE FUNCTION compare(tab text, operator text, query text, restriction text,
	k int, OUT problems text[], OUT compared int, OUT filtered int, OUT near int, OUT hits int, OUT first int, OUT first_hits int,
	OUT disordered int)
LANGUAGE plpgsql AS $$
DECLARE
	all_rows text := format('SELECT id, v %s %L AS d FROM %I WHERE %s ORDER BY v %1$s %2$L',
		operator, query, tab, restriction);
	bounded text;
	bound float8;
	wanted int[];
	within int[];
	far float8;
	rows_all record;
	rows_limit record;
	rows_bound record;
	line text;
	strategy text;
	used boolean := false;
	told boolean;
BEGIN
	compared := 0;
	hits := 0;
	first_hits := 0;
	disordered := 0;
	SET LOCAL omendb.enable_filtered_scan = off;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_bitmapscan = off;
	EXECUTE format('SELECT coalesce(array_agg(id ORDER BY id), ''{}''), percentile_disc(0.3) WITHIN GROUP (ORDER BY d)
		FROM (%s) x WHERE d <> ''NaN''', all_rows) INTO wanted, bound;
	bounded := replace(all_rows, ' ORDER BY', format(' AND v %s %L <= %s ORDER BY', operator, query, coalesce(bound, 1)));
	EXECUTE format('SELECT coalesce(array_agg(id ORDER BY id), ''{}'') FROM (%s) x', bounded) INTO within;
	near := cardinality(within) * 5;
	EXECUTE format('SELECT max(d) FROM (SELECT d FROM (%s) x WHERE d <> ''NaN'' ORDER BY d LIMIT %s) x', all_rows, k) INTO far;
	k := least(k, cardinality(wanted));
	first := k * 5;
	SET LOCAL omendb.enable_filtered_scan = on;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_bitmapscan = on;
	FOR line IN EXECUTE 'EXPLAIN ' || all_rows LOOP
		used := used OR line ~ 'Omen Filtered Scan';
	END LOOP;
	-- below a join, a scan is not told that all rows are wanted
	told := used AND restriction !~ 'EXISTS';
	FOREACH strategy IN ARRAY '{auto,exact,ranged,sweep,seeded}'::text[] LOOP
		PERFORM set_config('omendb.filter_strategy', strategy, true);
		rows_all := examine(all_rows, wanted, cardinality(wanted), told AND strategy = 'exact', far, 0);
		rows_limit := examine(all_rows || ' LIMIT ' || k, wanted, k, told AND strategy = 'exact', far,
			CASE WHEN told AND strategy = 'exact' THEN k ELSE 0 END);
		rows_bound := examine(bounded, within, CASE WHEN strategy = 'exact' THEN cardinality(within) ELSE 0 END, false, far, 0);
		problems := problems || array_remove(ARRAY[strategy || ': ' || rows_all.problem,
			strategy || ': ' || rows_limit.problem, strategy || ': ' || rows_bound.problem], NULL);
		compared := compared + 3;
		hits := hits + rows_bound.n;
		first_hits := first_hits + rows_limit.hits;
		disordered := disordered + (rows_limit.disorder > 0)::int;
	END LOOP;
	filtered := CASE WHEN used THEN compared ELSE 0 END;
END $$;
SQL

sub pick
{
	return $_[ int(rand(@_)) ];
}

# a random vector on a grid, so that many are equal; of some length
sub vector
{
	my ($dim) = @_;
	my @x = map { int(rand(12)) - 3 } 1 .. $dim;

	return (grep { $_ != 0 } @x) ? '[' . join(',', @x) . ']' : vector($dim);
}

# conditions that an index of the table decides, or none does
sub condition
{
	my $n = int(rand(40));

	return pick(
		"a = $n",
		"a < $n",
		"a BETWEEN $n AND " . ($n + int(rand(8))),
		"a IN ($n, 3, 7)",
		"b = " . int(rand(4)),
		"b IS NULL",
		"c = 'word" . int(rand(300)) . "'",
		"c LIKE 'word1%'",
		"tags @> ARRAY[" . int(rand(9)) . "]",
		"tags && ARRAY[" . int(rand(9)) . ", 5]",
		"id % 3 = 0",
		"NOT (a = $n)",
		"v IS NOT NULL",
		"id > (SELECT min(id) + $n FROM items)",
		"EXISTS (SELECT FROM lookup l WHERE l.a = items.a AND l.ok)");
}

sub restriction
{
	my $deep = shift;
	my $form = $deep > 2 ? 0 : int(rand(4));

	return condition() if $form < 2;
	return '('
	  . restriction($deep + 1)
	  . ($form == 2 ? ' AND ' : ' OR ')
	  . restriction($deep + 1) . ')';
}

# a table of a random kind and history, indexed before or after it is filled
sub make_table
{
	my $dim = 2 + int(rand(10));
	my $rows = 200 + int(rand(2500));
	my %opclass =
	  ('<->' => 'l2', '<#>' => 'ip', '<=>' => 'cosine', '<+>' => 'l1');
	my $operator = pick(sort keys %opclass);
	my $parted = rand() < 0.3;
	my @indexes = (
		"CREATE INDEX ON items USING omenhnsw (v vector_$opclass{$operator}_ops)",
		'CREATE INDEX ON items (a)',
		'CREATE INDEX ON items (b)',
		'CREATE INDEX ON items (c text_pattern_ops)',
		'CREATE INDEX ON items USING gin (tags)');
	my $fill = sub {
		my ($n, $first) = @_;
		return "INSERT INTO items SELECT i, 40 * random() * random(), nullif((random() * 5)::int, 5),"
		  . " 'word' || i % 300, ARRAY[(random() * 9)::int, (random() * 9)::int],"
		  . " CASE WHEN random() < 0.95 THEN (SELECT array_agg((random() * 9)::int - 3) FROM generate_series(1, $dim) WHERE i > 0)::vector END"
		  . " FROM generate_series($first, $first + $n - 1) i";
	};
	my @sql = (
		'DROP TABLE IF EXISTS items',
		"CREATE TABLE items (id int, a int, b int, c text, tags int[], v vector($dim))"
		  . ($parted ? ' PARTITION BY HASH (id)' : ''));

	push @sql, map {
		"CREATE TABLE items$_ PARTITION OF items FOR VALUES WITH (MODULUS 3, REMAINDER $_)"
	} 0 .. 2 if $parted;
	push @sql, rand() < 0.5
	  ? (&$fill($rows, 1), @indexes)
	  : (@indexes, &$fill($rows, 1));
	push @sql, 'INSERT INTO items SELECT id + 100000, a, b, c, tags, v FROM items WHERE id % 5 = 0'
	  if rand() < 0.6;
	push @sql, change() for 1 .. int(rand(4));
	push @sql, 'ANALYZE items';
	query($node, join(";\n", "SELECT setseed(" . rand() . ")", @sql));
	return ($operator, $dim, $rows);
}

sub change
{
	my $n = int(rand(7));

	return pick(
		"UPDATE items SET a = a + 1 WHERE id % 7 = $n",
		"UPDATE items SET v = (SELECT i.v FROM items i WHERE i.v IS NOT NULL LIMIT 1) WHERE id % 7 = $n",
		"UPDATE items SET v = NULL WHERE id % 29 = $n",
		"DELETE FROM items WHERE id % 7 = $n",
		"DELETE FROM items WHERE a = $n; VACUUM items",
		"VACUUM items");
}

query($node,
	'CREATE TABLE lookup AS SELECT i AS a, i % 2 = 0 AS ok FROM generate_series(0, 50) i');

my ($compared, $filtered, $near, $found) = (0, 0, 0, 0);
my ($first, $first_found, $disordered) = (0, 0, 0);
my ($problems, $tables) = (0, 0);
while ($compared < $statements)
{
	my ($operator, $dim) = make_table();
	my @calls;

	$tables++;
	foreach my $i (1 .. $predicates_per_table)
	{
		my $restriction = restriction(0);
		my $k = pick(1, 3, 10, 50, 300);

		$restriction =~ s/'/''/g;
		push @calls,
		  "SELECT * FROM compare('items', '$operator', '"
		  . vector($dim)
		  . "', '$restriction', $k)";
		push @calls, change() if $i % 10 == 0;
	}
	foreach my $line (lines($node, join(";\n", @calls)))
	{
		my ($wrong, $counts) = $line =~ /^\{(.*)\}((?:\|\d+){7})$/
		  or BAIL_OUT("what is \"$line\"?");

		my @counts = split(/\|/, substr($counts, 1));

		$compared += $counts[0];
		$filtered += $counts[1];
		$near += $counts[2];
		$found += $counts[3];
		$first += $counts[4];
		$first_found += $counts[5];
		$disordered += $counts[6];
		next if $wrong eq '';
		$problems++;
		diag("table $tables: $wrong") if $problems < 10;
	}
}

is($problems, 0, "$compared statements on $tables tables return what they should");
cmp_ok($filtered, '>', $compared / 3, "$filtered of them by a filtered scan");
cmp_ok($found, '>=', 0.99 * $near, "$found of $near rows within a bound were found");
cmp_ok($first_found, '>=', 0.99 * $first, "$first_found of $first nearest rows were found with LIMIT");
cmp_ok($disordered, '<', $compared / 500, "$disordered statements with LIMIT had rows out of order");

# another vector each time, and another bitmap every other time
SKIP:
{
	skip 'no /proc', 2 if !-e '/proc/self/status';

	my @growth = lines($node, index_scan() . <<'SQL');
SET enable_sort = off;
CREATE TABLE points AS SELECT i AS id, i % 50 AS a, ARRAY[i % 100, i % 83, i % 61]::vector(3) AS v
  FROM generate_series(1, 2000) i;
CREATE INDEX ON points USING omenhnsw (v vector_l2_ops);
CREATE INDEX ON points (a);
ANALYZE points;
CREATE FUNCTION memory() RETURNS int LANGUAGE sql VOLATILE AS
  $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::int $$;
CREATE VIEW scans AS SELECT i, s.id FROM generate_series(1, 20000) i, LATERAL
  (SELECT id FROM points WHERE a = i / 2 % 50 ORDER BY v <-> ARRAY[i % 100, i % 7, 1]::vector LIMIT 2) s;
CREATE TEMP TABLE before AS SELECT count(*), 0 AS kb FROM scans WHERE i < 500;
UPDATE before SET kb = memory();
SELECT count(*) FROM scans;
SELECT memory() - kb FROM before;
SQL
	is($growth[0], 40000, '20,000 filtered scans in one statement');
	cmp_ok($growth[1], '<', allowed_growth(4096), "their memory grew by $growth[1] kB");
}

$node->stop;
done_testing();
