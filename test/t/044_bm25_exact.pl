# Ranking by an omenbm25 index against BM25 computed by SQL from the table:
# random vocabularies and documents, random inserts, updates, deletes, vacuums,
# merges and rebuilds in between, so that there are pending documents, segments
# of all levels, and dead documents; random queries.
#
# For each query, the score of every row is compared with what SQL computes,
# and what a few statements return by the index with what they return by a sort of
# all rows by (score, TID): the same rows, at the same places, of the same scores.
#
# Statistics are those of the table where nothing is dead, and have to be what
# the index says.  Else, since dead documents count until VACUUM, and what they were
# made of is estimated until a merge, they are what the index says.
#
# OMEN_BM25_QUERIES sets how many queries are compared, OMEN_SEED makes a run
# that failed come again.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $wanted = $ENV{OMEN_BM25_QUERIES} || 1000;
my $seed = $ENV{OMEN_SEED} || int(rand(1e6));
my $rounds_per_table = 5;
my $queries_per_round = 8;

srand($seed);
note("OMEN_SEED=$seed");

my $node = new_node('bm25_exact', conf => 'log_min_messages = error');

query($node, <<'SQL');
-- a random document; kind says which words it has
CREATE FUNCTION make_text(kind text, n int) RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT string_agg(CASE
	WHEN kind = 'few' THEN 'f' || floor(12 * random())
	WHEN kind = 'zipf' OR random() < 0.2 THEN 'z' || floor(400 * power(random(), 3))
	ELSE 'u' || floor(100000 * random()) END, ' ')
FROM generate_series(1, n)
$$;
CREATE FUNCTION make_document(kind text, most int) RETURNS tsvector LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	n int := 1 + most * random() * random();
	r float8 := random();
	word text := make_text(kind, 1);
BEGIN
	IF r < 0.02 THEN RETURN NULL; END IF;
	IF r < 0.04 THEN RETURN ''; END IF;
	IF r < 0.08 THEN
		RETURN to_tsvector('simple', repeat(word || ' ', 1 + (300 * random() * random())::int));
	END IF;
	IF r < 0.09 THEN
		RETURN (SELECT word || ':' || string_agg(g::text, ',') FROM generate_series(1, 255) g)::tsvector;
	END IF;
	IF r < 0.095 THEN		-- more than a page
		RETURN to_tsvector('simple', (SELECT string_agg('l' || floor(3000 * random()), ' ')
			FROM generate_series(1, (1800 * random())::int)) || ' ' || make_text(kind, n));
	END IF;
	IF r < 0.12 THEN RETURN strip(to_tsvector('simple', make_text(kind, n))); END IF;
	IF r < 0.40 THEN
		RETURN setweight(to_tsvector('simple', word), 'A') ||
			setweight(to_tsvector('simple', make_text(kind, 1 + n / 4)), 'B') ||
			setweight(to_tsvector('simple', make_text(kind, 1 + n / 4)), 'C') ||
			to_tsvector('simple', make_text(kind, 1 + n / 2));
	END IF;
	RETURN to_tsvector('simple', make_text(kind, n));
END $$;

-- The words of all documents, with frequencies and lengths as weights of
-- classes D, C, B, A have it
CREATE TABLE words (tid tid, lexeme text COLLATE "C", tf float8);
CREATE INDEX ON words (lexeme);
CREATE TABLE lengths (tid tid, length float8);
CREATE TABLE known (lexeme text COLLATE "C", df float8);

CREATE FUNCTION read_table(class_weights float8[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_seqscan = on;
	TRUNCATE words, lengths, known;
	INSERT INTO words SELECT ctid, lexeme,
		(SELECT sum(class_weights[strpos('DCBA', w)]) FROM unnest(coalesce(weights, '{D}')) w)
		FROM docs, unnest(body);
	INSERT INTO lengths SELECT docs.ctid, coalesce(sum(tf), 0) FROM docs LEFT JOIN words ON docs.ctid = tid
		WHERE body IS NOT NULL GROUP BY docs.ctid;
	INSERT INTO known SELECT lexeme, count(*) FROM words GROUP BY lexeme;
END $$;

-- What a statement returns, in its order
CREATE FUNCTION rows_of(statement text, OUT tids tid[], OUT scores float8[]) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT coalesce(array_agg(tid), ''{}''), coalesce(array_agg(score), ''{}'') FROM (' || statement || ') s'
		INTO tids, scores;
END $$;

-- The same, by a cursor that is pulled in steps; "meanwhile" is done after the first
CREATE FUNCTION rows_fetched(statement text, steps int[], meanwhile text, OUT tids tid[], OUT scores float8[])
LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
	next_row record;
	step int;
BEGIN
	tids := '{}';
	scores := '{}';
	OPEN c FOR EXECUTE statement;
	FOREACH step IN ARRAY steps LOOP
		FOR i IN 1 .. step LOOP
			FETCH c INTO next_row;
			EXIT WHEN NOT FOUND;
			tids := tids || next_row.tid;
			scores := scores || next_row.score;
		END LOOP;
		IF meanwhile <> '' THEN
			EXECUTE meanwhile;
			meanwhile := '';
		END IF;
	END LOOP;
	CLOSE c;
END $$;

-- Rows that are rolled back, enough for a flush and merges
CREATE FUNCTION insert_nothing(kind text, most int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO docs SELECT i, 0, make_document(kind, most) FROM generate_series(1, 500) i;
	RAISE EXCEPTION 'not to be';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;

CREATE FUNCTION by_index(yes boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config(name, CASE WHEN yes THEN 'on' ELSE 'off' END, true)
		FROM unnest('{enable_indexscan,enable_bitmapscan,omendb.enable_filtered_scan}'::text[]) name;
	PERFORM set_config(name, CASE WHEN yes THEN 'off' ELSE 'on' END, true)
		FROM unnest('{enable_seqscan,enable_sort}'::text[]) name;
END $$;

-- What is wrong with the scores of all rows, or with the statistics; if nothing is
-- dead (is_clean) these are to be the table's, else they count at least its rows, and
-- each lexeme that these have
CREATE FUNCTION check_scores(tids tid[], scores float8[], query tsquery, lexemes text[], prefixes text[],
	k1 float8, b float8, is_clean boolean, OUT problem text) LANGUAGE plpgsql AS $$
DECLARE
	stats bm25stats := bm25_stats_for('docs_idx', query);
	true_stats bm25stats;
	wrong record;
BEGIN
	SELECT (SELECT count(*) FROM lengths), (SELECT coalesce(avg(length), 0) FROM lengths),
		coalesce(array_agg(lexeme ORDER BY lexeme), '{}'), coalesce(array_agg(df ORDER BY lexeme), '{}')
		INTO true_stats
		FROM known WHERE lexeme = ANY (lexemes)
			OR EXISTS (SELECT FROM unnest(prefixes) p WHERE starts_with(lexeme, p));
	IF stats.documents < true_stats.documents OR is_clean AND (stats.documents <> true_stats.documents
			OR true_stats.average_length > 0
				AND abs(stats.average_length - true_stats.average_length) > 1e-9 * true_stats.average_length)
		OR EXISTS (SELECT FROM unnest(stats.lexemes, stats.frequencies) AS s(lexeme, df)
			FULL JOIN unnest(true_stats.lexemes, true_stats.frequencies) AS t(lexeme, df) USING (lexeme)
			WHERE coalesce(s.df, 0) <= 0 AND t.df > 0 OR is_clean AND coalesce(s.df, 0) <> coalesce(t.df, 0))
	THEN
		problem := format('statistics are %s, and the table''s %s', stats, true_stats);
		RETURN;
	END IF;

	WITH computed AS (
		SELECT tid, sum(ln(1 + (stats.documents - df + 0.5) / (df + 0.5)) * (k1 + 1) * tf
			/ (tf + k1 * (1 - b + b * length / stats.average_length))) FILTER (WHERE tf > 0) AS score
		FROM words JOIN lengths USING (tid)
		JOIN unnest(stats.lexemes, stats.frequencies) AS s(lexeme, df) USING (lexeme)
		GROUP BY tid)
	SELECT count(*) AS n, min(format('%s has %s instead of %s', tid, got.score, coalesce(computed.score, 0))) AS example
	INTO wrong
	FROM (lengths LEFT JOIN computed USING (tid)) FULL JOIN unnest(tids, scores) AS got(tid, score) USING (tid)
	WHERE lengths.length IS NULL OR got.score IS NULL
		OR abs(got.score - coalesce(computed.score, 0)) > 1e-9 * coalesce(computed.score, 0);
	IF wrong.n > 0 THEN
		problem := format('scores of %s rows: %s', wrong.n, wrong.example);
	END IF;
END $$;

-- What is wrong with statements that rank by a query ("ranking" as an expression),
-- each with one of the conditions and one of the tails: LIMIT and OFFSET, nothing,
-- or FETCH, for a cursor; how many statements that was, and how many of them were
-- ordered by the index
CREATE FUNCTION compare(query tsquery, ranking text, lexemes text[], prefixes text[], k1 float8, b float8,
	is_clean boolean, conditions text[], tails text[], steps int[], meanwhile text,
	OUT problems text[], OUT compared int, OUT indexed int) LANGUAGE plpgsql AS $$
DECLARE
	sorted text;
	statement text;
	all_rows record;
	expected record;
	got record;
	first int;
	line text;
	used boolean;
	found int;
BEGIN
	problems := '{}';
	compared := 0;
	indexed := 0;
	PERFORM by_index(false);
	FOR i IN 1 .. cardinality(conditions) LOOP
		statement := format('SELECT ctid AS tid, -(body <@> %s) AS score FROM docs WHERE %s ORDER BY body <@> %1$s',
			ranking, conditions[i]);
		found := cardinality(problems);
		sorted := replace(statement, ' ORDER BY', ' AND body IS NOT NULL ORDER BY') || ', ctid ';
		IF i = 1 THEN
			all_rows := rows_of(sorted);
			problems := array_remove(problems || check_scores(all_rows.tids, all_rows.scores, query, lexemes,
				prefixes, k1, b, is_clean), NULL);
			expected := rows_of(sorted || tails[i]);
		ELSIF tails[i] = 'FETCH' THEN
			expected := rows_of(sorted || 'LIMIT ' || (SELECT sum(s) FROM unnest(steps) s));
		ELSE
			expected := rows_of(sorted || tails[i]);
		END IF;

		PERFORM by_index(true);
		used := false;
		IF tails[i] = 'FETCH' THEN
			FOR line IN EXECUTE 'EXPLAIN ' || statement LOOP
				used := used OR line ~ 'Order By: |Omen ';
			END LOOP;
			got := rows_fetched(statement, steps, meanwhile);
			statement := statement || format(', fetched in steps %s after the first: %s', steps, meanwhile);
		ELSE
			statement := statement || ' ' || tails[i];
			FOR line IN EXECUTE 'EXPLAIN ' || statement LOOP
				used := used OR line ~ 'Order By: |Omen ';
			END LOOP;
			got := rows_of(statement);
		END IF;
		PERFORM by_index(false);

		compared := compared + 1;
		indexed := indexed + used::int;
		IF got.tids <> expected.tids OR got.scores <> expected.scores THEN
			SELECT min(n) INTO first
			FROM unnest(got.tids, got.scores, expected.tids, expected.scores) WITH ORDINALITY AS u(gt, gs, et, es, n)
			WHERE (gt, gs) IS DISTINCT FROM (et, es);
			problems := problems || format('%s rows instead of %s, row %s is %s (%s) instead of %s (%s), which is row %s',
				cardinality(got.tids), cardinality(expected.tids), first, got.tids[first], got.scores[first],
				expected.tids[first], expected.scores[first], array_position(got.tids, expected.tids[first]));
		END IF;
		IF cardinality(problems) > found THEN
			problems := problems || statement;
		END IF;
	END LOOP;
END $$;
SQL

sub pick
{
	return $_[ int(rand(@_)) ];
}

# --- queries ---

my $kind;		# of the table's words

sub word
{
	my $which = rand();

	return 'missing' if $which < 0.03;
	return 'l' . int(rand(3000)) if $which < 0.06;
	return 'f' . int(rand(13)) if $kind eq 'few';
	return 'u' . int(rand(100000)) if $kind eq 'unique' && $which < 0.5;
	return 'z' . int(405 * rand()**pick(1, 3));
}

# a word, and what it ranks by, added to a list if it does
sub leaf
{
	my ($positive, $lexemes, $prefixes) = @_;
	my $which = rand();

	if ($which < 0.12)
	{
		my $prefix =
		    $which < 0.02 ? 'l' . pick(12, 205, 3)
		  : $kind eq 'few' ? pick('f', 'f1')
		  : $kind eq 'zipf' ? pick('z1', 'z', 'z39')
		  : pick('z1', 'u12', 'u777');

		push @$prefixes, $prefix if $positive;
		return "$prefix:*";
	}

	my $word = word();

	push @$lexemes, $word if $positive;
	return $word . ($which < 0.2 ? ':' . pick('A', 'AB', 'CD', 'D') : '');
}

sub tree
{
	my ($deep, @leaf) = @_;
	my $which = $deep > 2 ? 0 : rand();
	my ($positive, @lists) = @leaf;

	return leaf(@leaf) if $which < 0.3;
	return '!' . tree($deep + 1, 0, @lists) if $which < 0.4;
	return '('
	  . tree($deep + 1, @leaf)
	  . ($which < 0.6 ? ' & ' : $which < 0.7 ? ' <-> ' : ' | ')
	  . tree($deep + 1, @leaf) . ')';
}

sub quote
{
	return "'" . ($_[0] =~ s/'/''/gr) . "'";
}

sub array
{
	return "'{" . join(',', @_) . "}'";
}

# a call of compare()
sub comparison
{
	my ($table, $is_clean) = @_;
	my (@lexemes, @prefixes);
	my $join = pick(' | ', ' | ', ' & ');
	my $text =
	  rand() < 0.7
	  ? join($join, map { leaf(1, \@lexemes, \@prefixes) } 1 .. 1 + int(rand(8)))
	  : tree(0, 1, \@lexemes, \@prefixes);
	my $query = "'$text'::tsquery";
	my ($k1, $b) = @{$table}{qw(k1 b)};
	my $ranking = pick($query, $query, "(SELECT $query)");

	if (rand() < 0.3)
	{
		($k1, $b) = (pick(0, 0.5, 0.9, 1.2, 2, 30), pick(0, 0.3, 0.75, 1));
		$ranking = "to_bm25query($query, NULL, $k1, $b)";

		# bm25query has them so
		($k1, $b) = ("$k1\::real", "$b\::real");
	}

	my $filter = "'" . tree(0, 0, [], []) . "'::tsquery";
	my $n = int(rand(30));
	my @conditions = (
		'true',
		pick(
			"body @@ $query",
			"body @@ $query",
			"body @@ $filter",
			"a = $n",
			"a < $n",
			"a BETWEEN $n AND 25 AND body @@ $filter",
			"id % 5 = 2",
			"(a = $n OR body @@ $filter)"),
		pick('true', "a < $n", "body @@ $filter"));
	my @tails = (
		'LIMIT ' . pick(1, 2, 5, 10, 10, 20, 100, 1 + int(rand(1000))),
		pick('', 'LIMIT 10', 'LIMIT ' . (1 + int(rand(300)))),
		pick('', 'FETCH', 'LIMIT 10 OFFSET ' . int(rand(500))));
	$tails[0] .= ' OFFSET ' . pick(1, 10, int(rand(200))) if rand() < 0.2;

	my @steps = (1 + int(rand(20)), 1 + int(rand(50)), pick(1, 100, 10000));

	# what changes the index, but not what queries have to return
	my $meanwhile = '';

	$meanwhile = "SELECT bm25_merge('docs_idx')" if rand() < 0.15;
	$meanwhile = "SELECT insert_nothing('$kind', $table->{most})"
	  if rand() < 0.3 && !$is_clean;

	return join(
		', ',
		"SELECT * FROM compare($query", quote($ranking),
		array(@lexemes), array(@prefixes),
		$k1, $b,
		$is_clean ? 'true' : 'false',
		'ARRAY[' . join(', ', map { quote($_) } @conditions) . ']',
		'ARRAY[' . join(', ', map { quote($_) } @tails) . ']',
		array(@steps), quote($meanwhile)) . ')';
}

# --- tables ---

sub fill
{
	my ($table, $n) = @_;

	return "INSERT INTO docs SELECT i, 30 * random(), make_document('$kind', $table->{most})"
	  . " FROM generate_series(1, $n) i";
}

sub make_table
{
	my %table = (
		k1 => pick(1.2, 1.2, 0.9, 2),
		b => pick(0.75, 0.75, 0.4, 1, 0),
		weights => pick('1,1,1,1', '1,1,1,1', '0.1,0.2,0.4,1', '0,1,2,5', '0.5,0.25,1,3'),
		most => pick(4, 20, 60));

	$kind = pick('few', 'zipf', 'unique');

	my $index =
	    "CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (k1 = $table{k1}, b = $table{b},"
	  . " weights = '{$table{weights}}', pending_list_limit = 64)";
	my @rows = (fill(\%table, pick(0, 30, 300, 1500)));

	# updates change "a": none is HOT, so the index has the TIDs of rows
	$table{sql} = [
		'DROP TABLE IF EXISTS docs',
		'CREATE TABLE docs (id int, a int, body tsvector)',
		'CREATE INDEX ON docs (a)',
		rand() < 0.5 ? ($index, @rows) : (@rows, $index),
		'ANALYZE docs' ];
	return \%table;
}

# a change, and whether there may be dead documents after it
sub change
{
	my ($table, $is_clean) = @_;
	my $n = int(rand(7));
	my $document = "make_document('$kind', $table->{most})";
	my $which = rand();
	my $vacuum = 'VACUUM (INDEX_CLEANUP ON) docs';
	my $merge = "SELECT bm25_merge('docs_idx') IS NULL";

	return (fill($table, pick(1, 10, 200, 400)), $is_clean) if $which < 0.35;
	return (join(";\n", map { (fill($table, 50 + int(rand(100))), $vacuum) } 1 .. pick(3, 9)), $is_clean)
	  if $which < 0.45;
	return ("UPDATE docs SET a = a + 1, body = $document WHERE id % 7 = $n", 0) if $which < 0.53;
	return ("UPDATE docs SET a = a + 1 WHERE id % 7 = $n", 0) if $which < 0.57;
	return ("DELETE FROM docs WHERE id % 7 = $n" . (rand() < 0.7 ? ";\n$vacuum" : ''), 0)
	  if $which < 0.66;
	return (
		"BEGIN;\n" . fill($table, 100) . ";\nDELETE FROM docs WHERE a = $n;\n"
		  . "UPDATE docs SET a = a + 1, body = $document WHERE a = $n + 1;\nROLLBACK", 0)
	  if $which < 0.71;
	return ($vacuum, $is_clean) if $which < 0.77;
	return ($merge, $is_clean) if $which < 0.82;
	return ('REINDEX INDEX docs_idx', 1) if $which < 0.87;
	return ("$vacuum;\n$merge", 1);
}

# All statements for a table; those that return something are comparisons
sub table_script
{
	my ($table) = @_;
	my $is_clean = 1;
	my @sql = ("SELECT setseed(" . rand() . ") IS NULL", @{ $table->{sql} });

	foreach my $round (1 .. $rounds_per_table)
	{
		my $in_transaction = rand() < 0.15;
		my $change;

		foreach my $i (1 .. int(rand(4)))
		{
			($change, $is_clean) = change($table, $is_clean);
			push @sql, $change;
		}

		# what a transaction did itself, it sees
		push @sql, 'BEGIN', fill($table, 50) if $in_transaction;
		push @sql, "SELECT read_table('{$table->{weights}}') IS NULL";
		push @sql, "SELECT 'shape', segments > 1, pending_documents > 0, dead_documents > 0, segments > 4 FROM bm25_stats('docs_idx')";
		push @sql, comparison($table, $is_clean) for 1 .. $queries_per_round;
		push @sql, 'ROLLBACK' if $in_transaction;
		$is_clean = 0 if $in_transaction;
	}
	push @sql, "SELECT 'problem', bm25_problems('docs_idx')";
	return join(";\n", @sql);
}

my ($queries, $compared, $indexed) = (0, 0, 0);
my ($tables, $problems) = (0, 0);
my @names = ('several segments', 'pending documents', 'dead documents', 'many segments');
my @shapes = map { 0 } @names;

while ($queries < $wanted)
{
	my $table = make_table();
	my $of_table = 0;

	$tables++;
	foreach my $line (lines($node, table_script($table)))
	{
		if ($line =~ /^shape\|(.*)/)
		{
			my @has = split /\|/, $1;

			$shapes[$_] += $has[$_] eq 't' for 0 .. $#has;
			next;
		}
		if ($line =~ /^problem\|(.*)/)
		{
			$problems++ if $1 ne '';
			diag("OMEN_SEED=$seed, table $tables: $1") if $1 ne '';
			next;
		}

		my ($wrong, @counts) = $line =~ /^\{(.*)\}\|(\d+)\|(\d+)$/
		  or next;

		$queries++;
		$of_table++;
		$compared += $counts[0];
		$indexed += $counts[1];
		next if $wrong eq '';
		$problems++;
		diag("OMEN_SEED=$seed, table $tables, query $of_table: $wrong")
		  if $problems < 10;
	}
	is($of_table, $rounds_per_table * $queries_per_round, "table $tables")
	  if $of_table != $rounds_per_table * $queries_per_round;
}

is($problems, 0, "$compared statements with $queries queries on $tables tables return what SQL computes");
cmp_ok($indexed, '>', 0.95 * $compared, "$indexed of them in the order of the index");
cmp_ok($shapes[$_], '>', 0, "$shapes[$_] times it was asked while there were " . $names[$_])
  for grep { $wanted >= 1000 } 0 .. $#names;

$node->stop;
done_testing();
