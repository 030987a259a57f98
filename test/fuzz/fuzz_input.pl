# Fuzzer: text input, binary input, and random tables, options, settings and
# statements, each for a third of the time.
#
# Whatever comes in, the server answers or raises an error that has a SQLSTATE
# other than XX000 and names what is wrong; accepted values read back as the
# same; and a scan of an index returns every row once, in order.
#
# OMEN_SEED chooses the random numbers, OMEN_FUZZ_SECONDS how long it runs.
# Connects as psql does, by the environment.

use strict;
use warnings FATAL => 'all';

use File::Temp 'tempdir';
use Test::More;
use Time::HiRes 'time';

my $seed = $ENV{OMEN_SEED} // 1;
my $seconds = $ENV{OMEN_FUZZ_SECONDS} // 60;
my $dir = tempdir(CLEANUP => 1);
my @types = qw(vector halfvec sparsevec bit);

# Run statements, one psql for all. Returns for each [output, error text].
sub run
{
	my (@statements) = @_;
	my ($n, @results) = (0, map { [ '', '' ] } @statements);

	open my $file, '>:raw', "$dir/script.sql" or die $!;
	print $file "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n"
	  . "\\pset format unaligned\n\\pset tuples_only on\n"
	  . "SET client_min_messages = warning; SET statement_timeout = '30s';\n"
	  . "SET search_path = fuzz, public;\n";
	foreach my $statement (@statements)
	{
		print $file "\\echo \n\\echo =$n=\n\\warn \n\\warn =$n=\n$statement\n";
		$n++;
	}
	close $file;
	system("psql -X -q -f $dir/script.sql >$dir/out 2>$dir/err </dev/null");
	foreach my $stream (0, 1)
	{
		my @parts =
		  split /^=(\d+)=\n/m, read_file($dir . ($stream ? '/err' : '/out')), -1;

		shift @parts;
		while (my ($number, $text) = splice @parts, 0, 2)
		{
			$text =~ s/\n+\z//;
			$results[$number]->[$stream] = $text;
		}
	}
	return @results;
}

sub read_file
{
	my ($path) = @_;
	local $/;

	open my $file, '<:raw', $path or die "$path: $!";
	my $text = <$file>;
	return $text // '';
}

# What is wrong with an error; the pattern says what a good one speaks of
sub fault_of
{
	my ($error, $about) = @_;

	return '' if $error !~ /ERROR:|FATAL:|PANIC:|server closed|connection to server/;
	return 'lost the server' if $error =~ /server closed|connection to server/;
	my ($state, $message) = $error =~ /ERROR:  (\w{5}): (.*)/ or return 'no SQLSTATE';
	return "SQLSTATE $state" if $state =~ /^(XX|57014|58)/;
	return 'does not name what is wrong' if $message !~ /$about/;
	return '';
}

sub pick
{
	return $_[ rand @_ ];
}

# --- 1. text ---

my @numbers = qw(0 1 -1 0.5 -0 1e3 1e-3 3.4e38 3.5e38 -1e39 1e400 1e-46 1e-400
  65504 65520 NaN nan inf -Infinity 0x1p3 .5 5. +1 --1 1e 1e+ 1_000 00001
  123456789012345678901234567890 2147483648 9223372036854775808);

sub number
{
	return rand() < 0.6 ? sprintf('%.*g', 1 + rand 9, (rand() - 0.5) * 10**int(rand 8)) : pick(@numbers);
}

sub literal
{
	my ($type) = @_;
	my $n = rand() < 0.03 ? pick(15999, 16000, 16001) : 1 + int rand 6;

	return join '', map { pick(0, 1) } 1 .. $n if $type eq 'bit';
	return '[' . join(',', map { rand() < 0.9 ? int rand 9 : number() } 1 .. $n) . ']'
	  if $type ne 'sparsevec';
	my %at = map { 1 + int(rand(2 * $n)) => number() } 1 .. $n;
	return '{' . join(',', map { "$_:$at{$_}" } sort { $a <=> $b } keys %at) . '}/' . 2 * $n;
}

sub mutate_text
{
	my ($text) = @_;

	foreach (1 .. 1 + int rand 3)
	{
		my $at = int rand(1 + length $text);
		my $what = int rand 7;

		if ($what == 0) { substr($text, $at, 1) = '' if $at < length $text }
		elsif ($what == 1) { substr($text, $at, 0) = pick('[', ']', '{', '}', ',', ':', '/', ' ', "\t", "\x0b", '-', '.', 'e', '0', '9', "\xc3\xa9", "'", '\\') }
		elsif ($what == 2) { substr($text, $at, 0) = number() }
		elsif ($what == 3) { substr($text, $at, 0) = substr($text, int rand(1 + length $text), int rand 10) }
		elsif ($what == 4) { $text = substr($text, 0, $at) }
		elsif ($what == 5) { $text = substr($text, $at) }
		else { $text =~ s/(\d+)/pick($1 - 1, $1 + 1, "-$1", "$1$1", number())/e }
	}
	return $text;
}

sub quote
{
	my ($text) = @_;

	$text =~ s/'/''/g;
	return "'$text'";
}

my $speaks_of_input = qr/vector|halfvec|sparsevec|bit|expected \d+ dimensions|digit|array|integer|real|double|underflow|overflow|encoding|operator|function|type/;

sub text_statement
{
	my $type = pick(@types);
	my $text = literal($type);
	my $typmod = rand() < 0.2 ? '(' . pick(0, -1, 1, 2, 3, 6, 16000, 16001, 1000000001, 99999999999, "'x'") . ')' : '';

	$text = mutate_text($text) if rand() < 0.75;
	my $value = quote($text) . "::$type$typmod";

	# most: does it read back as the same?
	my $plain = $type eq 'bit' ? 'bit varying' : $type;
	return "SELECT (t::$plain)::text = t FROM (SELECT ($value)::text AS t) s;"
	  if rand() < 0.6;

	my $other = quote(rand() < 0.6 ? literal($type) : $text) . "::$type";
	return "SELECT 't' FROM (SELECT "
	  . pick(
		"$value " . pick('<->', '<#>', '<=>', '<+>', '<~>', '<%>', '+', '-', '*', '||', '<', '<=', '=', '<>', '>=', '>') . " $other",
		"${value}::" . pick(@types, 'real[]', 'numeric[]', 'integer[]', 'vector(3)', 'halfvec(2)', 'sparsevec(4)'),
		pick('l2_normalize', 'l2_norm', 'vector_norm', 'vector_dims', 'binary_quantize', 'vector_send', 'sparsevec_send') . "($value)",
		"subvector($value, " . pick(-2147483648, -1, 0, 1, 2, 2147483647) . ', ' . pick(-1, 0, 1, 3, 2147483647) . ')',
		pick('avg', 'sum', 'min', 'max') . "(v) FROM (VALUES ($value), ($other), (NULL)) AS u(v)",
		"array_to_vector(ARRAY[" . join(',', map { number() =~ /^-?[\d.]+(e[-+]?\d+)?$/ ? $& : 1 } 1 .. 3) . "]::real[], 3, " . pick('true', 'false') . ')')
	  . ') s;';
}

sub fuzz_text
{
	my ($deadline) = @_;
	my ($n, $accepted, @faults) = (0, 0);

	srand $seed;

	while (time < $deadline && @faults < 5)
	{
		my @statements = map { text_statement() } 1 .. 400;
		my @results = run(@statements);

		foreach my $i (0 .. $#results)
		{
			my ($out, $error) = @{ $results[$i] };
			my $fault = fault_of($error, $speaks_of_input);

			$fault = "gave \"$out\"" if $error eq '' && $out ne 't';
			$accepted++ if $error eq '';
			push @faults, substr($statements[$i], 0, 300) . ": $fault\n$error" if $fault;
		}
		$n += @statements;
	}
	is(join("\n", @faults), '', "$n statements with text, $accepted accepted, seed $seed");
	return;
}

# --- 2. binary ---

my %float_bits = map { $_ => 1 } (0x7FC00000, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF);

sub float_field
{
	return pack 'N', rand() < 0.15 ? pick(keys %float_bits) : unpack('N', pack('f>', rand(10) - 5));
}

sub binary_value
{
	my ($type) = @_;
	my $n = 1 + int rand 6;

	return pack('nn', $n, 0) . join('', map { float_field() } 1 .. $n) if $type eq 'vector';
	return pack('nn', $n, 0) . join('', map { pack 'n', rand(65536) } 1 .. $n) if $type eq 'halfvec';
	return pack('N', $n) . pack('C', int(rand 256) & (0xFF << (8 - $n)) & 0xFF) if $type eq 'bit';
	my %at = map { int(rand 20) => 1 } 1 .. $n;
	my @at = sort { $a <=> $b } keys %at;
	return pack('NNN', 20, scalar(@at), 0) . join('', map { pack 'N', $_ } @at) . join('', map { float_field() } @at);
}

sub mutate_bytes
{
	my ($bytes) = @_;

	foreach (1 .. 1 + int rand 3)
	{
		my $at = int rand(1 + length $bytes);
		my $what = int rand 5;

		if ($what == 0) { vec($bytes, int rand(8 * (length($bytes) || 1)), 1) ^= 1 }
		elsif ($what == 1) { $bytes = substr($bytes, 0, $at) }
		elsif ($what == 2) { substr($bytes, $at, 0) = join '', map { chr int rand 256 } 1 .. 1 + int rand 8 }
		elsif ($what == 3 && $at + 2 <= length $bytes) { substr($bytes, $at, 2) = pack 'n', pick(0, 1, 16000, 16001, 32767, 32768, 65535) }
		elsif ($what == 4 && $at + 4 <= length $bytes) { substr($bytes, $at, 4) = pack 'N', pick(0, 1, 16001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1000000001) }
	}
	return $bytes;
}

sub fuzz_binary
{
	my ($deadline) = @_;
	my ($n, $accepted, @faults) = (0, 0);

	srand $seed;

	while (time < $deadline && @faults < 5)
	{
		my (@statements, @used);

		foreach my $i (0 .. 299)
		{
			my $type = pick(@types);
			my $bytes = binary_value($type);

			$bytes = mutate_bytes($bytes) if rand() < 0.8;
			open my $file, '>:raw', "$dir/$i.bin" or die $!;
			print $file "PGCOPY\n\xff\r\n\0" . pack('NN', 0, 0) . pack('nN', 1, length $bytes) . $bytes . pack('n', 65535);
			close $file;
			push @used, $type . ' ' . unpack('H*', $bytes);
			push @statements, "\\copy fuzz.received_$type from '$dir/$i.bin' (format binary)";
		}
		push @statements, "SELECT count(*) FROM received_$_ WHERE v IS DISTINCT FROM v::text::$_"
		  . ($_ eq 'bit' ? ' varying' : '') . "; TRUNCATE received_$_;" foreach @types;
		my @results = run(@statements);

		foreach my $i (0 .. 299)
		{
			my $error = $results[$i]->[1];
			my $fault = fault_of($error, qr/$speaks_of_input|unused|insufficient data|incorrect binary data|message|indices|values|elements/);

			$accepted++ if $error eq '';
			push @faults, "$used[$i]: $fault\n$error" if $fault;
		}
		foreach my $i (300 .. $#results)
		{
			push @faults, "$types[$i - 300]: \"@{ $results[$i] }\" values do not read back"
			  if $results[$i]->[0] ne '0';
		}
		$n += 300;
	}
	is(join("\n", @faults), '', "$n binary values, $accepted accepted, seed $seed");
	return;
}

# --- 3. tables, options, settings, statements ---

my %operators = (
	vector => { l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>' },
	halfvec => { l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>' },
	sparsevec => { l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>' },
	bit => { hamming => '<~>', jaccard => '<%>' });

# A value of a type as SQL: from few distinct ones, so that many are equal or
# nearly so; some are zero, some far out
sub value
{
	my ($type, $dim) = @_;
	my $shift = pick(0, 0, 0, 1, 1000);
	my $choices = pick(1, 2, 5, 30000);
	my @x = map { $shift + int(rand $choices) * pick(1, 1, 0.001) } 1 .. $dim;

	return "'" . join('', map { $_ % 2 } @x) . "'" if $type eq 'bit';
	@x = (0) x $dim if rand() < 0.03;
	return "'{" . join(',', map { $x[$_] == 0 || rand() < 0.4 ? () : $_ + 1 . ":$x[$_]" } 0 .. $#x) . "}/$dim'"
	  if $type eq 'sparsevec';
	return "'[" . join(',', @x) . "]'";
}

sub options
{
	my @options;
	my %values = (
		m => [ 2, 3, 8, 16, 40, 100, 1, 101, -1, "'x'", 2.5 ],
		ef_construction => [ 4, 10, 64, 200, 1000, 3, 1001, "'many'" ],
		quantizer => [ 'auto', 'rabitq', 'sq8', 'pq', 'none', 'product', "'RaBitQ'", "''", 1 ],
		ef_search => [ 0, 1, 40, 1000, 1001, -1 ],
		fillfactor => [50]);

	foreach my $name (sort keys %values)
	{
		my @v = @{ $values{$name} };

		push @options, "$name = " . (rand() < 0.8 ? $v[ rand @v / 2 ] : pick(@v))
		  if rand() < ($name eq 'fillfactor' ? 0.02 : 0.4);
	}
	return @options ? ' WITH (' . join(', ', @options) . ')' : '';
}

sub setting
{
	my @settings = (
		[ 'omenhnsw.ef_search', 1, 40, 400, 1000, 0, 1001, "'x'" ],
		[ 'omenhnsw.exhaustive', 'on', 'off', 'maybe' ],
		[ 'hnsw.iterative_scan', 'strict_order', 'relaxed_order', 'off', 'x' ],
		[ 'omendb.simd', 'auto', 'generic', 'avx2', 'avx512', 'neon', 'mmx' ],
		[ 'work_mem', "'64kB'", "'4MB'" ],
		[ 'maintenance_work_mem', "'1MB'", "'64MB'" ],
		[ 'max_parallel_maintenance_workers', 0, 2 ]);
	my ($name, @values) = @{ pick(@settings) };

	return "SET $name = " . pick(@values) . ';';
}

# A table with an index and a random life; the last statement compares.
sub life_of_table
{
	my ($t) = @_;
	my $type = pick(@types);
	my $metric = pick(sort keys %{ $operators{$type} });
	my $op = $operators{$type}->{$metric};
	my $dim = pick(1, 2, 3, 8, 33, rand() < 0.2 ? 500 : 16);
	my $rows = pick(0, 1, 3, 30, 150);
	my $id = 0;
	my $index = "CREATE INDEX i ON t USING " . pick('omenhnsw', 'omenhnsw', 'hnsw')
	  . " (v ${type}_${metric}_ops)" . options() . ';';
	my $insert = sub {
		my ($n) = @_;

		return '' if $n == 0;
		return "INSERT INTO t VALUES " . join(',', map { $id++; "($id, " . (rand() < 0.02 ? 'NULL' : value($type, $dim)) . ')' } 1 .. $n) . ';';
	};
	my $query = value($type, $dim) . "::$type($dim)";
	my @life = ("DROP TABLE IF EXISTS t; CREATE " . pick('', '', 'UNLOGGED', 'TEMP') . " TABLE t (id int, v $type($dim));");

	push @life, rand() < 0.5 ? $index : $insert->($rows);
	push @life, setting() if rand() < 0.3;
	push @life, $life[1] eq $index ? $insert->($rows) : $index;
	push @life, "ALTER TABLE t ALTER v SET STORAGE PLAIN;" if rand() < 0.05;
	# without an index by now, the options were bad: then one without any
	push @life, "SELECT count(*) FROM pg_class WHERE relname = 'i' AND pg_table_is_visible(oid) \\gset index_\n"
	  . "SELECT :index_count = 0 AS lacking \\gset\n\\if :lacking\nCREATE INDEX i ON t USING omenhnsw (v ${type}_${metric}_ops);\n\\endif";
	foreach (1 .. rand 6)
	{
		push @life, pick(
			$insert->(1 + int rand 20),
			'DELETE FROM t WHERE id % ' . pick(1, 2, 3) . ' = 0;',
			"UPDATE t SET v = " . value($type, $dim) . ' WHERE id % ' . pick(2, 5) . ' = 1;',
			'VACUUM t;',
			'REINDEX INDEX i;',
			'TRUNCATE t;',
			setting(),
			'BEGIN; ' . $insert->(5) . ' SAVEPOINT s; ' . $insert->(5) . ' ROLLBACK TO s; ' . pick('COMMIT;', 'ROLLBACK;'),
			"INSERT INTO t VALUES (-1, " . value($type, $dim + 1) . ');',
			"SELECT count(*) >= 0 FROM (SELECT v FROM t ORDER BY v $op NULL LIMIT 3) s;",
			"SET enable_seqscan = off; SELECT count(*) >= 0 FROM (SELECT v FROM t ORDER BY v $op " . value($type, $dim + 1) . "::$type LIMIT 3) s;",
			'ALTER INDEX i SET (ef_search = ' . pick(0, 50, 5000) . ');',
			'ALTER INDEX i SET (m = ' . pick(4, 9, 500) . '); REINDEX INDEX i;');
	}
	# so small a table is read as a whole by a broad search; a narrow one may
	# find a nearer row late
	my $ef = pick(1, 40, 1000, 1000);

	push @life, <<"SQL";
RESET ALL; SET client_min_messages = warning; SET search_path = fuzz, public;
SET enable_seqscan = off; SET omenhnsw.ef_search = $ef;
WITH found AS MATERIALIZED (SELECT id, v $op $query AS d FROM t ORDER BY v $op $query),
	ordered AS (SELECT *, lag(d) OVER () AS before FROM found)
SELECT concat_ws(' ', n = all_rows AND n = ids, disorder = 0 OR $ef < 1000, n, ids, all_rows, disorder) FROM
	(SELECT count(*) AS n, count(DISTINCT id) AS ids,
		count(*) FILTER (WHERE d < before - 1e-6 * abs(before) - 1e-6) AS disorder
	 FROM ordered WHERE d <> 'NaN') o,
	(SELECT count(*) AS all_rows FROM t WHERE v $op $query <> 'NaN'
		@{[ $metric eq 'cosine' ? "AND v $op v <> 'NaN'" : '' ]}) a;
SQL
	return @life;
}

sub fuzz_tables
{
	my ($deadline) = @_;
	my ($n, @faults) = (0);

	srand $seed;
	my $about = qr/$speaks_of_input|option|m\b|ef_|parameter|index|relation|quantizer|dimensions|lengths|SIMD/;

	while (time < $deadline && @faults < 5)
	{
		my (@statements, @starts);

		foreach (1 .. 10)
		{
			push @starts, scalar @statements;
			push @statements, life_of_table($n++);
		}
		my @results = run(@statements);
		foreach my $i (0 .. $#results)
		{
			my $fault = fault_of($results[$i]->[1], $about);
			my $start = (grep { $_ <= $i } @starts)[-1];

			$fault = "does not return every row once and in order: \"@{ $results[$i] }\""
			  if $statements[$i] =~ /^RESET ALL/ && $results[$i]->[0] !~ /^t t/;
			push @faults, join("\n", map { substr $_, 0, 2000 } @statements[ $start .. $i ]) . "\n$fault\n$results[$i]->[1]" if $fault;
		}
	}
	is(join("\n\n", @faults), '', "$n tables with an index, seed $seed");
	return;
}

my ($setup) = run('DROP SCHEMA IF EXISTS fuzz CASCADE; CREATE SCHEMA fuzz; CREATE EXTENSION IF NOT EXISTS omendb SCHEMA public;'
  . join ' ', map { "CREATE TABLE fuzz.received_$_ (v $_" . ($_ eq 'bit' ? ' varying' : '') . ');' } @types);
is($setup->[1], '', 'set up');
my ($started) = run('SELECT pg_postmaster_start_time(), pg_backend_pid() > 0;');

fuzz_text(time + $seconds / 3);
fuzz_binary(time + $seconds / 3);
fuzz_tables(time + $seconds / 3);

# nothing was lost on the way
my @after = run('SELECT pg_postmaster_start_time(), pg_backend_pid() > 0;',
	"SELECT '[1,2,3]'::vector = '[1,2,3]', '[1,2,3]'::vector <-> '[1,2,5]';", 'DROP SCHEMA fuzz CASCADE;');
is($after[0]->[0], $started->[0], 'the server runs since before');
is($after[1]->[0], 't|2', 'and calculates');
done_testing();
