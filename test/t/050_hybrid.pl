# Fused scans against what SQL can say by itself: random tables, with NULLs,
# updates, deletes, vacuum; random branches, weights, windows and restrictions,
# every fusion.
#
# Where streams look at everything, so that they are exact, each row's score must
# be that of the definition, and the scores those of the best rows.
#
# While others insert, update, delete and vacuum, a transaction gets from a
# fused scan what it gets from the definition in the same snapshot.
#
# Filtered scans by a text alone return exactly the rows of the definition, in its
# order, those of score 0 included.
#
# Twenty thousand scans in one statement take no more memory than some.
#
# OMEN_HYBRID_STATEMENTS sets how many statements are compared, OMEN_SEED chooses
# others than those of the everyday run.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $statements = $ENV{OMEN_HYBRID_STATEMENTS} || 1500;
my $seed = $ENV{OMEN_SEED} // 1001;

srand($seed);
note("OMEN_SEED=$seed");

my $node = new_node('hybrid', conf => 'log_min_messages = error');

query($node, <<'SQL');
-- The score of every row, by the definition: of a branch, the first rows are
-- its window; a text ranks rows with a lexeme of the query.  An index measures in
-- single precision, of a cosine twice the distance: what is equal then comes by
-- place.
CREATE FUNCTION definition(fusion text, branches text[], weights float8[], k int, win int, restriction text)
RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	selects text := 'ctid AS place, id';
	windows text := '';
	joins text := '';
	terms text[];
	ranked text[];
	missing text[];
	sort_key text;
BEGIN
	FOR i IN 1 .. cardinality(branches) LOOP
		selects := selects || format(', %s AS d%s', branches[i], i);
		sort_key := format(CASE WHEN branches[i] ~ '<=>' THEN '(2 * d%s)::real' ELSE 'd%s' END, i);
		windows := windows || format(', w%1$s AS (SELECT place, d%1$s AS d, row_number() OVER (ORDER BY %4$s, place) AS r FROM base
			WHERE d%1$s IS NOT NULL %2$s ORDER BY 3 LIMIT %3$s),
			s%1$s AS (SELECT min(d) AS best, max(d) AS worst, avg(d) AS mean, CASE WHEN max(d) > min(d) THEN stddev_pop(d) END AS deviation FROM w%1$s)',
			i, CASE WHEN branches[i] ~ '<@>' THEN format('AND d%s < 0', i) END, win, sort_key);
		joins := joins || format(' LEFT JOIN w%1$s ON w%1$s.place = base.place CROSS JOIN s%1$s', i);
		ranked := ranked || format('w%s.r IS NOT NULL', i);
		missing := missing || format('d%s IS NOT NULL', i);
		terms := terms || format(CASE fusion
			WHEN 'rrf' THEN 'coalesce(%2$s::float8 / (%3$s + w%1$s.r), 0)'
			WHEN 'minmax' THEN '%2$s * CASE WHEN w%1$s.r IS NULL THEN 0 WHEN s%1$s.worst = s%1$s.best THEN 1
				ELSE (s%1$s.worst - w%1$s.d) / (s%1$s.worst - s%1$s.best) END'
			WHEN 'zscore' THEN '%2$s * coalesce((s%1$s.mean - coalesce(w%1$s.d, s%1$s.worst)) / s%1$s.deviation, 0)'
			WHEN 'none' THEN CASE WHEN weights[i] = 0 THEN '0' ELSE '%2$s * - d%1$s' END
			WHEN 'theoretical' THEN '%2$s * coalesce(' || CASE WHEN branches[i] ~ '<=>' THEN '1 - d%1$s / 2' ELSE '1 / (1 + d%1$s)' END || ', 0)' END,
			i, weights[i], k);
	END LOOP;
	RETURN format('WITH base AS MATERIALIZED (SELECT %s FROM items WHERE %s)%s SELECT base.id, 0 - %s AS s, %s AS ranked FROM base %s WHERE %s',
		selects, restriction, windows, array_to_string(terms, ' - '),
		CASE WHEN fusion IN ('none', 'theoretical') THEN 'true' ELSE array_to_string(ranked, ' OR ') END,
		joins, array_to_string(missing, ' OR '));
END $$;

-- Tables: the rows that a query "got", in their order, and those that it "wanted",
-- which no index ranks.  Had its plan a node of this name?
CREATE FUNCTION run_both(query text, definition text, node text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	line text;
	planned boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		planned := planned OR line ~ node;
	END LOOP;
	EXECUTE 'CREATE TEMP TABLE got ON COMMIT DROP AS SELECT row_number() OVER () AS n, * FROM (' || query || ') x';
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_bitmapscan = off;
	SET LOCAL omendb.enable_filtered_scan = off;
	EXECUTE 'CREATE TEMP TABLE wanted ON COMMIT DROP AS ' || definition;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_bitmapscan = on;
	SET LOCAL omendb.enable_filtered_scan = on;
	RETURN planned;
END $$;

-- What is wrong with the rows of a fused scan, or NULL
CREATE FUNCTION problem(fusion text, branches text[], weights float8[], k int, win int, restriction text, most int, OUT problem text, OUT fused boolean)
LANGUAGE plpgsql AS $$
DECLARE
	call text := CASE fusion
		WHEN 'rrf' THEN format('rrf(%s, weights => %L, k => %s, window_size => %s)', array_to_string(branches, ', '), weights, k, win)
		WHEN 'none' THEN format('fuse(%s, norm => ''none'', weights => %L)', array_to_string(branches, ', '), weights)
		WHEN 'theoretical' THEN format('fuse(%s, norm => ''theoretical'', weights => %L)', array_to_string(branches, ', '), weights)
		ELSE format('fuse(%s, norm => %L, weights => %L, window_size => %s)', array_to_string(branches, ', '), fusion, weights, win) END;
	query text := format('SELECT id, %s AS s FROM items WHERE %s ORDER BY s LIMIT %s', call, restriction, most);
BEGIN
	fused := run_both(query, definition(fusion, branches, weights, k, win, restriction), 'Omen Fused Scan');
	problem := (SELECT CASE
		WHEN count(*) <> count(DISTINCT id) THEN 'rows that come twice'
		WHEN count(*) <> (SELECT least(count(*), most) FROM wanted) THEN format('%s rows instead of %s', count(*), (SELECT least(count(*), most) FROM wanted))
		END FROM got);
	problem := coalesce(problem, (SELECT format('row %s has %s instead of %s', g.id, g.s, w.s) FROM got g LEFT JOIN wanted w USING (id)
		WHERE w.id IS NULL OR (w.s IS NULL) <> (g.s IS NULL) OR abs(w.s - g.s) > 1e-9 * (1 + abs(w.s)) LIMIT 1));
	problem := coalesce(problem, (SELECT format('at %s comes %s instead of %s', n, g.s, w.s) FROM got g
		JOIN (SELECT row_number() OVER (ORDER BY s NULLS LAST) AS n, s FROM wanted) w USING (n)
		WHERE abs(w.s - g.s) > 1e-9 * (1 + abs(w.s)) ORDER BY n LIMIT 1));
	DROP TABLE got, wanted;
	problem := problem || ': ' || query;
END $$;

-- The same of a ranking by a text alone; is_fixed: nobody writes meanwhile, so
-- scores are the same in both scans
CREATE FUNCTION text_problem(words text, restriction text, most int, is_fixed boolean, OUT problem text, OUT filtered boolean)
LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT id, t <@> %L::tsquery AS s FROM items WHERE (%s) AND t IS NOT NULL ORDER BY s LIMIT %s',
		words, restriction, CASE WHEN is_fixed THEN most::text ELSE 'ALL' END);
BEGIN
	filtered := run_both(query, format('SELECT row_number() OVER (ORDER BY s, place) AS n, id, s
		FROM (SELECT ctid AS place, id, t <@> %L::tsquery AS s FROM items WHERE (%s) AND t IS NOT NULL) x', words, restriction),
		'Omen Filtered Scan');
	IF is_fixed THEN
		problem := (SELECT format('at %s comes %s with %s instead of %s with %s', n, g.id, g.s, w.id, w.s)
			FROM got g FULL JOIN (SELECT * FROM wanted WHERE n <= most) w USING (n)
			WHERE g.id IS DISTINCT FROM w.id OR g.s IS DISTINCT FROM w.s ORDER BY n LIMIT 1);
	ELSE
		problem := (SELECT 'not the rows that there are' FROM (SELECT count(*), sum(hashint8(id)) FROM got) g, (SELECT count(*), sum(hashint8(id)) FROM wanted) w
			WHERE g IS DISTINCT FROM w);
		problem := coalesce(problem, (SELECT 'scores fall' FROM (SELECT s < lag(s) OVER (ORDER BY n) AS falls FROM got) x WHERE falls LIMIT 1));
	END IF;
	DROP TABLE got, wanted;
	problem := problem || ': ' || query;
END $$;
SQL

sub pick
{
	return $_[ int(rand(@_)) ];
}

sub vector
{
	my ($dim) = @_;

	return '[' . join(',', map { sprintf('%.3f', rand(2) - 1) } 1 .. $dim) . ']';
}

sub words
{
	return join(' | ', map { 'w' . int(40 * rand() * rand()) } 0 .. int(rand(4)));
}

sub restriction
{
	my $n = int(rand(40));

	return pick(
		'true', 'true', 'true', "a = $n", "a < $n", "a IN ($n, 3, 7)",
		"b = " . int(rand(4)),
		"a < $n AND id % 3 = 0",
		"a = $n OR b = 2",
		't @@ \'w' . int(rand(9)) . '\'',
		"id > (SELECT min(id) + $n FROM items)");
}

my $row = <<'SQL';
i, (40 * random())::int, (random() * 5)::int,
  CASE WHEN random() < 0.95 THEN (SELECT array_agg(random() * 2 - 1) FROM generate_series(1, 5) WHERE i > 0)::real[]::vector END,
  CASE WHEN random() < 0.95 THEN (SELECT array_agg(random() * 2 - 1) FROM generate_series(1, 8) WHERE i > 0)::real[]::vector END,
  CASE WHEN random() < 0.95 THEN (SELECT to_tsvector('simple', string_agg('w' || (40 * random() * random())::int, ' ')) FROM generate_series(1, 3 + (20 * random())::int) WHERE i > 0) END
SQL

sub make_table
{
	my $rows = 200 + int(rand(2000));
	my @indexes = (
		'CREATE INDEX ON items USING omenhnsw (v vector_l2_ops)',
		'CREATE INDEX ON items USING omenhnsw (w vector_cosine_ops)',
		'CREATE INDEX ON items USING omenbm25 (t)',
		'CREATE INDEX ON items (a)',
		'CREATE INDEX ON items (b)');
	my @sql = (
		'DROP TABLE IF EXISTS items',
		'CREATE TABLE items (id int, a int, b int, v vector(5), w vector(8), t tsvector)');
	my $fill = "INSERT INTO items SELECT $row FROM generate_series(1, $rows) i";

	push @sql, rand() < 0.5 ? ($fill, @indexes) : (@indexes, $fill);
	query($node, join(";\n", 'SELECT setseed(' . rand() . ')', @sql, 'ANALYZE items'));
	return;
}

# all of them change a column that is indexed, so that a row is where its index
# entry is: ties come in that order
sub change
{
	my $n = int(rand(7));

	return pick(
		"UPDATE items SET a = a + 1 WHERE id % 7 = $n",
		"UPDATE items SET v = NULL, a = a + 1 WHERE id % 29 = $n",
		"UPDATE items SET t = to_tsvector('simple', 'w1 w2 w' || id % 40), a = a + 1 WHERE id % 11 = $n",
		"DELETE FROM items WHERE id % 13 = $n",
		"INSERT INTO items SELECT $row FROM generate_series(100000, 100050) i WHERE NOT EXISTS (SELECT FROM items WHERE id = i)",
		'VACUUM items');
}

sub quoted
{
	my ($sql) = @_;

	return "'" . ($sql =~ s/'/''/gr) . "'";
}

sub statement
{
	my ($with_text) = @_;
	my @branches = map {
		pick('v <-> \'' . vector(5) . '\'',
			'w <=> \'' . vector(8) . '\'',
			't <@> \'' . words() . '\'::tsquery')
	} 0 .. (rand() < 0.7 ? 1 : 2);
	my @weights = map { pick(1, 1, 0.5, 0.3, 0) } @branches;
	my $fusion = pick('rrf', 'rrf', 'minmax', 'zscore', 'none', 'theoretical');

	# how good a text can be, only its index knows
	@branches = map { /<@>/ ? 'v <-> \'' . vector(5) . '\'' : $_ } @branches
	  if $fusion eq 'theoretical' || !$with_text;
	return 'SELECT * FROM problem(' . join(', ',
		"'$fusion'",
		'ARRAY[' . join(', ', map { quoted($_) } @branches) . ']',
		"'{" . join(',', @weights) . "}'",
		pick(0, 1, 60),
		pick(1, 5, 30, 100, 5000),
		quoted(restriction()),
		pick(1, 5, 10, 60, 5000)) . ')';
}

sub text_statement
{
	my ($is_fixed) = @_;
	my $more = pick('', '', " AND t @@ '" . pick('w1', '!w2', 'w1 & !w3', 'w1 <-> w2', 'w1 | w4') . "'");

	return 'SELECT * FROM text_problem(' . join(', ',
		quoted(words()),
		quoted('(' . restriction() . ')' . $more),
		pick(1, 5, 10, 60, 5000),
		$is_fixed) . ')';
}

# every row looked at; and no Sort, by which rows come too that no branch ranks
my $exact =
  'SET omenhnsw.ef_search = 1000; SET omendb.filter_strategy = exact; SET enable_sort = off;';
my ($compared, $problems, $tables) = (0, 0, 0);
my %used = (fused => 0, filtered => 0);

while ($compared < $statements)
{
	my @calls;

	make_table();
	$tables++;
	foreach my $i (1 .. 50)
	{
		push @calls, statement(1) =~ s/\*/'fused', */r;
		push @calls, text_statement('true') =~ s/\*/'filtered', */r;
		push @calls, change() if $i % 10 == 0;
	}
	foreach my $line (lines($node, $exact . join(";\n", @calls)))
	{
		my ($scan, $wrong, $used) = $line =~ /^(\w+)\|(.*)\|([tf])$/
		  or BAIL_OUT("what is \"$line\"?");

		$compared++;
		$used{$scan}++ if $used eq 't';
		next if $wrong eq '';
		$problems++;
		diag("table $tables: $wrong") if $problems < 10;
	}
}
is($problems, 0, "$compared statements on $tables tables return what they should");
cmp_ok($used{fused}, '>', $compared / 4, "$used{fused} of them by a fused scan");
cmp_ok($used{filtered}, '>', $compared / 8, "$used{filtered} of them by a filtered scan");

# beside others that write; scores of texts depend on what those have written
make_table();
query($node, 'CREATE TABLE problems (problem text)');
psql_many(
	$node, 6, 60,
	check1 => "$exact\nBEGIN ISOLATION LEVEL REPEATABLE READ;\n"
	  . join('', map { 'INSERT INTO problems SELECT problem FROM (' . statement(0) . ") x WHERE problem IS NOT NULL;\n" } 1 .. 3)
	  . "COMMIT;\n",
	check2 => "$exact\nBEGIN ISOLATION LEVEL REPEATABLE READ;\n"
	  . join('', map { 'INSERT INTO problems SELECT problem FROM (' . text_statement('false') . ") x WHERE problem IS NOT NULL;\n" } 1 .. 5)
	  . "COMMIT;\n",
	insert => "INSERT INTO items SELECT " . ($row =~ s/\n/ /gr) . " FROM (SELECT 200000 + (random() * 1000000)::int AS i) x;\n",
	update => "\\set n random(1, 2000)\nUPDATE items SET a = a + 1, v = ARRAY[random(), random(), random(), random(), random()]::real[]::vector WHERE id = :n;\n",
	delete => "\\set n random(1, 2000)\nDELETE FROM items WHERE id = :n;\n",
	vacuum => "VACUUM items;\n");
is(query($node, 'SELECT count(*) FROM problems'), '0', 'scans are right while others write')
  or diag(query($node, 'SELECT problem FROM problems LIMIT 5'));

SKIP:
{
	skip 'no /proc', 2 if !-e '/proc/self/status';

	my @growth = lines($node, <<'SQL');
CREATE FUNCTION memory() RETURNS int LANGUAGE sql VOLATILE AS
  $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::int $$;
CREATE VIEW scans AS SELECT i, s.id FROM generate_series(1, 20000) i, LATERAL
  (SELECT id FROM items WHERE a = i / 2 % 40 ORDER BY rrf(v <-> ARRAY[i % 10, i % 7, 1, 2, 3]::vector, t <@> ('w' || i % 40)::tsquery) LIMIT 2) s;
CREATE TEMP TABLE before AS SELECT count(*), 0 AS kb FROM scans WHERE i < 500;
UPDATE before SET kb = memory();
SELECT count(*) > 30000 FROM scans;
SELECT memory() - kb FROM before;
SQL
	is($growth[0], 't', '20,000 fused scans in one statement');
	cmp_ok($growth[1], '<', allowed_growth(4096), "their memory grew by $growth[1] kB");
}

$node->stop;
done_testing();
