# What the TAP tests of omendb share: a node with the extension, seeded data
# of every type, and recall of an index against an exact scan.

package OmenTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IO::Uncompress::Gunzip qw(gunzip $GunzipError);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  new_node query lines load_rows add_rows load_queries recall
  index_ids exact_ids uses_index all_through_index is_same_rows
  map_problems
  kill_server start_after_kill catch_up psql_many index_scan
  bm25_functions mutate_pages patch_file find_kind
  unzip_file numpy_vectors
  memory_is_watched allowed_growth
  %OPERATORS
);

# the operator of each operator class, by type and metric
our %OPERATORS = (
	vector => { l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>' },
	halfvec => { l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>' },
	sparsevec => { l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>' },
	bit => { hamming => '<~>', jaccard => '<%>' });

# Settings that make the planner take the index, and the exact plan
sub index_scan
{
	return "SET enable_seqscan = off; SET enable_sort = on;";
}

my $exact_scan =
  "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;";

# A running node with the extension in database postgres. Options: conf, more
# lines of configuration; init, arguments of the node's init; preload, whether
# the library is in shared_preload_libraries; without_checksums, for a test that
# writes into files.
sub new_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	my @init = @{ $options{init} || [] };

	# 18 has checksums unless told otherwise, those before only if told
	push @init, extra => ['--no-data-checksums']
	  if $options{without_checksums} && $node->pg_version >= 18;
	$node->init(@init);
	$node->append_conf('postgresql.conf', <<'CONF');
shared_buffers = 128MB
autovacuum = off
fsync = off
min_parallel_table_scan_size = 0
max_parallel_maintenance_workers = 0
jit = off
CONF
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'omendb'\n")
	  if $options{preload};
	$node->append_conf('postgresql.conf', "$options{conf}\n")
	  if $options{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION omendb');
	return $node;
}

sub query
{
	my ($node, $sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

# Wait until a standby has replayed what its primary has done, what no transaction
# has committed as well: pages of an index that are merged or vacuumed, which the
# server writes out at leisure.
sub catch_up
{
	my ($primary, $standby) = @_;

	query($primary, q{SELECT pg_logical_emit_message(true, 'catch up', '')});
	$primary->wait_for_catchup($standby);
	return;
}

# rows of a query's result, one element each
sub lines
{
	my ($node, $sql) = @_;

	return split /\n/, query($node, $sql);
}

# An expression for one value of the type, made from the SQL array $array.
# Sparse values keep the first and the largest fifth of the coordinates, bits
# are signs.
sub value_sql
{
	my ($type, $dim, $array) = @_;

	return "($array)::real[]::vector($dim)" if $type eq 'vector';
	return "($array)::real[]::vector($dim)::halfvec($dim)"
	  if $type eq 'halfvec';
	return "(SELECT array_agg(CASE WHEN o = 1 OR abs(x) > 0.8 THEN x ELSE 0 END ORDER BY o)"
	  . " FROM unnest($array) WITH ORDINALITY AS u(x, o))"
	  . "::real[]::vector($dim)::sparsevec($dim)"
	  if $type eq 'sparsevec';
	return "(SELECT string_agg((x > 0)::int::text, '' ORDER BY o)"
	  . " FROM unnest($array) WITH ORDINALITY AS u(x, o))::bit($dim)";
}

# SQL of an array of coordinates for row number i. "random" is uniform in
# [-1, 1]; "clustered" lies near one of 40 centres that depend on nothing but
# their number, so that queries fall into the same clusters as rows.
sub array_sql
{
	my ($kind, $dim) = @_;

	return "ARRAY(SELECT 2 * random() - 1 FROM generate_series(1, $dim) AS g"
	  . " WHERE g > 0 * i)"
	  if $kind eq 'random';
	return "ARRAY(SELECT sin((i * 7919 % 40 + 1) * 12.9898 * g + g * g)"
	  . " + 0.3 * (random() + random() - 1)"
	  . " FROM generate_series(1, $dim) AS g WHERE g > 0 * i)";
}

# Append rows numbered from..to with seeded values to table (id, v).
sub add_rows
{
	my ($node, $table, %o) = @_;
	my $value =
	  value_sql($o{type}, $o{dim}, array_sql($o{kind} || 'random', $o{dim}));
	my $seed = $o{seed} || 0.5;

	query($node,
		"SELECT setseed($seed); "
		  . "INSERT INTO $table (id, v) SELECT i, $value"
		  . " FROM generate_series($o{from}, $o{to}) AS i");
	return;
}

# Create table (id int, v TYPE(dim)) with rows 1..rows. Options: type, dim,
# rows, kind, seed, persistence (for example UNLOGGED).
sub load_rows
{
	my ($node, $table, %o) = @_;
	my $persistence = $o{persistence} || '';

	query($node,
		"DROP TABLE IF EXISTS $table; "
		  . "CREATE $persistence TABLE $table (id int, v $o{type}($o{dim}))");
	add_rows($node, $table, %o, from => 1, to => $o{rows});
	return;
}

# the same for a small table of queries, of another seed
sub load_queries
{
	my ($node, $table, %o) = @_;

	load_rows($node, $table, %o, rows => $o{rows} || 40, seed => 0.123);
	return;
}

# --- files of real data ---

sub unzip_file
{
	my ($path) = @_;
	my $content;

	gunzip($path => \$content) or die "$path: $GunzipError";
	return $content;
}

# rows of a numpy file of float16, as text of vectors
sub numpy_vectors
{
	my ($path) = @_;
	my $content = unzip_file($path);
	my $header = unpack('x8v', $content);
	my ($rows, $dim) = substr($content, 10, $header) =~ /\((\d+), (\d+)\)/;
	my @half = unpack('v*', substr($content, 10 + $header));
	my @values = map {
		my ($exponent, $fraction) = ($_ >> 10 & 31, $_ & 1023);
		my $value = $exponent == 0
		  ? $fraction * 2**-24
		  : (1024 + $fraction) * 2**($exponent - 25);
		$_ & 0x8000 ? -$value : $value;
	} @half;

	return map { '[' . join(',', @values[ $_ * $dim .. ($_ + 1) * $dim - 1 ]) . ']' } 0 .. $rows - 1;
}

# does this query's plan, with sequential scans discouraged, use this index?
sub uses_index
{
	my ($node, $index, $sql) = @_;

	return query($node, index_scan() . "EXPLAIN (COSTS off) $sql") =~
	  /Index Scan using $index\b/;
}

# Recall@k of the index against an exact scan over all queries, the number of
# results that are missing although the table has k rows, and of those whose
# distance is below the one before by more than rounding. Rows as near as the
# k-th true one count as hits.
# Options: table, queries, operator, k, settings.
sub recall
{
	my ($node, %o) = @_;
	my ($table, $queries, $op) = @o{qw(table queries operator)};
	my $k = $o{k} || 10;
	my $settings = $o{settings} || '';
	my $before = $o{before} || '';
	my $near = "SELECT t.v $op q.v AS d FROM $table t ORDER BY t.v $op q.v LIMIT $k";

	my $result = $node->safe_psql('postgres', <<"SQL");
$before;
$exact_scan
CREATE TEMP TABLE truth AS
  SELECT q.id, q.v, s.far, s.n FROM $queries q,
    LATERAL (SELECT max(d) AS far, count(*) AS n FROM ($near) s
      WHERE d <> 'NaN') s;
RESET enable_indexscan; RESET enable_bitmapscan;
@{[index_scan()]}
$settings;
SELECT sum(hits)::float8 / sum(n), sum(lacking), sum(disorder)
FROM truth q, LATERAL (
  SELECT count(*) FILTER (WHERE d <= q.far + 1e-5 * abs(q.far) + 1e-12) AS hits,
    q.n - count(*) AS lacking,
    count(*) FILTER (WHERE d < before - 1e-6 * abs(before) - 1e-6) AS disorder
  FROM (SELECT d, lag(d) OVER () AS before FROM ($near) s) s) s;
SQL
	return split /\|/, $result;
}

# ids in the order of the index, and of the exact scan
sub index_ids
{
	my ($node, $sql) = @_;

	return query($node, index_scan() . $sql);
}

sub exact_ids
{
	my ($node, $sql) = @_;

	return query($node, $exact_scan . $sql);
}

# Scanned to its end, the index gives every row once: returns "rows distinct"
sub all_through_index
{
	my ($node, $table, $order) = @_;

	return query($node,
		index_scan()
		  . "SELECT count(*) || ' ' || count(DISTINCT id) FROM"
		  . " (SELECT id FROM $table ORDER BY $order) s");
}

# Rows that the index's TID map does not lead to: 0, as long as no insert is
# under way and none was broken off since the last vacuum
sub map_problems
{
	my ($node, $index) = @_;

	return query($node, "SELECT omen_tid_map_problems('$index')");
}

# test that two nodes, or one node at two times, answer queries alike
sub is_same_rows
{
	my ($got, $expected, $name) = @_;

	ok($got eq $expected, $name)
	  or diag(substr("got:\n$got\nexpected:\n$expected", 0, 2000));
	return;
}

# SQL functions for tests of omenbm25 on a table docs (id int, body tsvector):
# bm25_document(i) makes a random document, bm25_differences(n) ranks rows of n
# random queries by the index and by a computation over all rows, and returns
# the queries of which more than the order of equal scores differs.
sub bm25_functions
{
	return <<'SQL';
CREATE FUNCTION bm25_document(i int) RETURNS tsvector LANGUAGE sql VOLATILE AS $$
SELECT to_tsvector('simple', string_agg('w' || floor(200 * power(random(), 2)), ' '))
FROM generate_series(1, 1 + (random() * 50)::int + i * 0)
$$;
CREATE FUNCTION bm25_by_sql(lexemes text[])
RETURNS TABLE (id int, score float8) LANGUAGE sql STABLE AS $$
WITH d AS MATERIALIZED (SELECT docs.id, ctid, body, bm25_doc_length(body) AS len FROM docs),
n AS (SELECT count(*)::float8 AS n, avg(len)::float8 AS avgdl FROM d),
tf AS (SELECT d.id, ctid, len, lexeme, cardinality(positions)::float8 AS tf
	FROM d, unnest(body) WHERE lexeme = ANY (lexemes)),
df AS (SELECT lexeme, count(*)::float8 AS df FROM tf GROUP BY lexeme)
SELECT tf.id, sum(ln(1 + (n - df + 0.5) / (df + 0.5)) * 2.2 * tf
	/ (tf + 1.2 * (0.25 + 0.75 * len / avgdl))) AS score
FROM tf JOIN df USING (lexeme), n GROUP BY tf.id, ctid ORDER BY score DESC, ctid
$$;
CREATE FUNCTION bm25_differences(queries int) RETURNS SETOF tsquery LANGUAGE plpgsql AS $$
DECLARE
	lexemes text[];
	query tsquery;
	wanted int;
	wrong bigint;
BEGIN
	SET LOCAL enable_seqscan = off;
	FOR i IN 1 .. queries LOOP
		SELECT array_agg(DISTINCT 'w' || floor(205 * power(random(), 1 + i % 2))) INTO lexemes
			FROM generate_series(1, 1 + i % 6);
		SELECT string_agg(l, ' | ')::tsquery INTO query FROM unnest(lexemes) l;
		wanted := (ARRAY[1, 3, 10, 100, 2000])[1 + i % 5];
		WITH a AS (SELECT row_number() OVER () AS n, id, score FROM
				(SELECT id, -(body <@> query) AS score FROM docs ORDER BY body <@> query LIMIT wanted) s
				WHERE score > 0),
			b AS (SELECT row_number() OVER () AS n, id, score FROM
				(SELECT * FROM bm25_by_sql(lexemes) LIMIT wanted) s)
		SELECT count(*) INTO wrong FROM a FULL JOIN b USING (n)
			WHERE a.id IS NULL OR b.id IS NULL OR abs(a.score - b.score) > 1e-5
				OR (a.id <> b.id AND abs(a.score - b.score) > 1e-9);
		IF wrong > 0 THEN RETURN NEXT query; END IF;
	END LOOP;
END
$$;
SQL
}

# --- broken files ---

my $page = 8192;
my @interesting = (
	0, 1, 2, 15, 16, 31, 255, 256, 1000, 8192, 65535, 65536, 0x0FFFFFFF,
	0x10000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF);

sub random_number
{
	return $interesting[ rand @interesting ] if rand() < 0.7;
	return int(rand(40)) if rand() < 0.6;
	return int(rand(2**32));
}

sub random_bytes
{
	my ($n) = @_;

	return join '', map { chr int rand 256 } 1 .. $n;
}

# One mutation of the contents of an index's file, as rand() has it; returns what
# was done.
sub mutate_pages
{
	my ($bytes) = @_;
	my $npages = length($$bytes) / $page;
	my $at = int(rand($npages)) * $page;
	my $what = int(rand(12));

	if ($what == 0)
	{
		my $offset = $at + int rand $page;
		my $n = 1 + int rand 64;

		$n = $at + $page - $offset if $offset + $n > $at + $page;
		substr($$bytes, $offset, $n) = random_bytes($n);
		return "$n random bytes at $offset";
	}
	if ($what == 1)
	{
		my $bit = int rand 8 * $page;

		vec($$bytes, 8 * $at + $bit, 1) ^= 1;
		return "bit $bit of page " . $at / $page;
	}
	if ($what == 2)
	{
		substr($$bytes, $at, $page) = "\0" x $page;
		return 'zeroed page ' . $at / $page;
	}
	if ($what == 3)
	{
		my $other = int(rand($npages)) * $page;
		my $copy = substr($$bytes, $other, $page);

		substr($$bytes, $other, $page) = substr($$bytes, $at, $page);
		substr($$bytes, $at, $page) = $copy;
		return 'swapped pages ' . $at / $page . ' and ' . $other / $page;
	}
	if ($what == 4)
	{
		my $length = $at + (rand() < 0.5 ? 0 : int rand $page);

		substr($$bytes, $length) = '';
		return "cut to $length bytes";
	}
	if ($what == 5)
	{
		# the contents, under a header and a special area that are right
		substr($$bytes, $at + 24, $page - 48) = random_bytes($page - 48);
		return 'random contents of page ' . $at / $page;
	}
	if ($what == 6)
	{
		my $offset = $at + $page - 24 + 2 * int rand 12;

		substr($$bytes, $offset, 2) = pack 'v', random_number() & 65535;
		return "special area at $offset";
	}
	if ($what <= 8)
	{
		my $offset = 24 + 4 * int rand 300;
		my $number = random_number();

		substr($$bytes, $offset, 4) = pack 'V', $number;
		return "metapage at $offset: $number";
	}

	# any number of a page; most often the first slot's header
	my $offset = $at + ($what <= 10 ? 24 + 2 * int rand 20 : 2 * int rand $page / 2);
	my $number = random_number();

	substr($$bytes, $offset, 2) = pack 'v', $number & 65535;
	$offset += 2;
	substr($$bytes, $offset, 2) = pack 'v', $number >> 16
	  if rand() < 0.5 && $offset % $page;
	return 'page ' . int($offset / $page) . ", offset "
	  . $offset % $page . ": $number";
}

# Put bytes into a file of a stopped server, named relative to its data
sub patch_file
{
	my ($node, $path, $offset, $value) = @_;

	open my $file, '+<:raw', $node->data_dir . "/$path" or die "$path: $!";
	seek $file, $offset, 0;
	print $file $value;
	close $file;
	return;
}

# blocks with pages of a kind in the contents of an index's file; the first one,
# if a scalar is wanted
sub find_kind
{
	my ($bytes, $kind) = @_;
	my @blocks = grep {
		substr($$bytes, $_ * $page, $page) =~ /[^\0]/
		  && unpack('v', substr($$bytes, ($_ + 1) * $page - 24, 2)) == $kind
	} 0 .. length($$bytes) / $page - 1;

	return wantarray ? @blocks : $blocks[0];
}

# kill -9 the postmaster; its children notice and exit by themselves
sub kill_server
{
	my ($node) = @_;
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	while (kill(0, $pid))
	{
		select(undef, undef, undef, 0.05);
	}
	return;
}

# Start again: children that still hold the shared memory make the first
# tries fail.
sub start_after_kill
{
	my ($node) = @_;

	foreach my $try (1 .. 60)
	{
		return if $node->start(fail_ok => 1);
		sleep 1;
	}
	BAIL_OUT('server did not start after kill -9');
	return;
}

# AddressSanitizer keeps 256 MB of what was freed, and ends a process that gets
# no memory
sub memory_is_watched
{
	return ($ENV{LD_PRELOAD} // '') =~ /libasan/;
}

# By how many kB a process may grow, given what it may without a sanitizer
sub allowed_growth
{
	my ($kb) = @_;

	return $kb + (memory_is_watched() ? 300 * 1024 : 0);
}

# Run pgbench scripts, given as name => SQL, with so many clients at once for
# so many transactions each; true when none failed.
sub psql_many
{
	my ($node, $clients, $transactions, %scripts) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @files;

	foreach my $name (sort keys %scripts)
	{
		PostgreSQL::Test::Utils::append_to_file("$dir/$name", $scripts{$name});
		push @files, '-f', "$dir/$name";
	}
	return $node->command_ok(
		[
			'pgbench', '-n', '-c', $clients, '-j', 2,
			'-t', $transactions, @files, '-h', $node->host,
			'-p', $node->port, 'postgres'
		],
		"$clients clients ran " . join(', ', sort keys %scripts));
}

1;
