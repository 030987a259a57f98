# Pages that are not what they should be: whatever an index's file holds, a
# scan, an insert or a vacuum ends in time with an answer or an error that says
# what is broken, the server stays up, and REINDEX repairs the index.
#
# One index for each mutation, all mutated at once while the server is down.
# OMEN_SEED and OMEN_MUTATIONS choose others than those of the everyday run.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = 8192;
my $seed = $ENV{OMEN_SEED} // 1;
my $mutations = $ENV{OMEN_MUTATIONS} // 120;

# what an index of each layout is made of: type, class, operator, options,
# rows, and a value for row i
my @kinds = (
	{
		name => 'two bit codes',
		type => 'vector(8)',
		class => 'vector_l2_ops',
		op => '<->',
		rows => 300,
		value => 'ARRAY[i, i % 7, i % 11, i % 13, 1, 2, 3, 4]::vector'
	},
	{
		name => 'equal values',
		type => 'vector(3)',
		class => 'vector_l2_ops',
		op => '<->',
		with => 'm = 2, quantizer = none',
		rows => 400,
		value => 'ARRAY[i % 3, 1, 2]::vector'
	},
	{
		name => 'chains',
		type => 'vector(2500)',
		class => 'vector_l1_ops',
		op => '<+>',
		rows => 30,
		value => 'array_fill(i % 25, ARRAY[2500])::vector'
	},
	{
		name => 'one bit codes',
		type => 'halfvec(500)',
		class => 'halfvec_cosine_ops',
		op => '<=>',
		rows => 40,
		value =>
		  "ARRAY(SELECT sin(i * g) FROM generate_series(1, 500) g)::real[]::vector(500)::halfvec(500)"
	},
	{
		name => 'sparse',
		type => 'sparsevec(5000)',
		class => 'sparsevec_ip_ops',
		op => '<#>',
		rows => 120,
		value =>
		  "('{1:' || i || ',' || 2 + i % 50 || ':2' || CASE WHEN i % 40 = 0 THEN (SELECT string_agg(',' || 100 + g || ':1', '') FROM generate_series(1, 1500) g) ELSE '' END || '}/5000')::sparsevec"
	},
	{
		name => 'bits',
		type => 'bit(64)',
		class => 'bit_hamming_ops',
		op => '<~>',
		rows => 300,
		value => '(i * 7919)::bit(64)'
	},
	{
		name => 'own codes only',
		type => 'vector(20)',
		class => 'vector_ip_ops',
		op => '<#>',
		with => 'quantizer = sq8, m = 6',
		rows => 200,
		value =>
		  'ARRAY(SELECT cos(i * g) FROM generate_series(1, 20) g)::real[]::vector'
	},
	{
		name => 'keys',
		type => 'vector(4)',
		class => 'vector_l2_ops',
		op => '<->',
		keys => ', id, (id % 3), (nullif(id % 7, 2)::text)',
		rows => 300,
		value => 'ARRAY[i, i % 7, i % 11, 1]::vector'
	},
	{
		name => 'product codes',
		type => 'vector(400)',
		class => 'vector_cosine_ops',
		op => '<=>',
		with => 'quantizer = pq, m = 4',
		rows => 260,
		value =>
		  'ARRAY(SELECT cos(i * g) FROM generate_series(1, 400) g)::real[]::vector'
	});

sub make_kind
{
	my ($node, $k) = @_;
	my $kind = $kinds[$k];

	query($node,
		"SET synchronize_seqscans = off; CREATE TABLE kind$k (id int, v $kind->{type});"
		  . "INSERT INTO kind$k SELECT i, $kind->{value} FROM generate_series(1, $kind->{rows}) i");
	return;
}

# a copy of a kind's table with an index, and the index's file
sub make_index
{
	my ($node, $k, $n) = @_;
	my $with = $kinds[$k]->{with} ? "WITH ($kinds[$k]->{with})" : '';
	my $keys = $kinds[$k]->{keys} // '';

	return query($node, <<"SQL");
CREATE TABLE t$n AS SELECT * FROM kind$k;
CREATE INDEX i$n ON t$n USING omenhnsw (v $kinds[$k]->{class}$keys) $with;
SELECT pg_relation_filepath('i$n');
SQL
}

# Everything that reads an index: returns the SQLSTATEs of its errors.
sub exercise
{
	my ($node, $k, $n) = @_;
	my $order = "v $kinds[$k]->{op} (SELECT v FROM kind$k WHERE id = 5)";
	my ($out, $err) = ('', '');

	$node->psql(
		'postgres', <<"SQL",
\\set VERBOSITY verbose
SET statement_timeout = '20s';
SET enable_seqscan = off;
SET client_min_messages = warning;
SELECT count(*) FROM (SELECT id FROM t$n ORDER BY $order LIMIT 10) s;
SELECT count(*) FROM (SELECT id FROM t$n ORDER BY $order) s;
SELECT count(*) FROM (SELECT id FROM t$n WHERE id BETWEEN 20 AND 90 AND id % 3 = 1 ORDER BY $order) s;
SELECT count(*) FROM (SELECT id FROM t$n WHERE nullif(id % 7, 2)::text IN ('1', '5') ORDER BY $order LIMIT 5) s;
SELECT rows, invalid_pages FROM omen_index_stats('i$n');
SELECT omen_prewarm('i$n');
SELECT omen_recall('i$n', 3, 3);
INSERT INTO t$n SELECT id + 1000, v FROM kind$k WHERE id < 4;
DELETE FROM t$n WHERE id % 3 <> 0;
VACUUM (PARALLEL 0, INDEX_CLEANUP ON) t$n;
INSERT INTO t$n SELECT id + 2000, v FROM kind$k WHERE id > 20 AND id < 24;
SELECT omen_tid_map_problems('i$n');
SELECT omen_key_problems('i$n');
SELECT count(*) FROM (SELECT id FROM t$n WHERE id > 1000 ORDER BY $order) s;
SELECT count(*) FROM (SELECT id FROM t$n ORDER BY $order) s;
SQL
		on_error_stop => 0,
		stdout => \$out,
		stderr => \$err);
	return ($err, $err =~ /ERROR:  (\w{5}):/g);
}

sub is_repaired
{
	my ($node, $k, $n) = @_;
	my $order = "v $kinds[$k]->{op} (SELECT v FROM kind$k WHERE id = 5)";

	return query($node, <<"SQL") eq 't';
SET enable_seqscan = off;
REINDEX INDEX i$n;
SELECT (SELECT count(*) FROM (SELECT id FROM t$n ORDER BY $order) s) =
	(SELECT count(*) FROM t$n) AND omen_tid_map_problems('i$n') = 0 AND
	omen_key_problems('i$n') = 0;
SQL
}

my $node = new_node('corruption',
	without_checksums => 1, conf => 'max_parallel_workers = 0');
my $checksums = query($node, 'SHOW data_checksums') eq 'on';
my @files;

srand $seed;
make_kind($node, $_) foreach 0 .. $#kinds;
$files[$_] = make_index($node, $_ % @kinds, $_) foreach 0 .. $mutations - 1;
my $other_version = make_index($node, 0, 'v');
my $other_format = make_index($node, 0, 'f');
my %map = map { $_ => make_index($node, 0, $_) } qw(leaf owner far kind root);
my $other_codebook = make_index($node, $#kinds, 'c');
my $list = query($node, <<'SQL');
CREATE TABLE list AS SELECT i AS id, i % 5 AS k, ARRAY[i % 19, i % 7, i % 11]::vector(3) AS v FROM generate_series(1, 8000) i;
CREATE INDEX ilist ON list USING omenhnsw (v vector_l2_ops, k);
SELECT pg_relation_filepath('ilist');
SQL
$node->stop;
system_or_bail('pg_checksums', '--disable', '-D', $node->data_dir)
  if $checksums;

my @done;
foreach my $n (0 .. $mutations - 1)
{
	my $path = $node->data_dir . "/$files[$n]";
	my $bytes = slurp_file($path, 0);

	$done[$n] = mutate_pages(\$bytes);
	$done[$n] .= '; ' . mutate_pages(\$bytes) if rand() < 0.3 && length($bytes) % $page == 0 && length($bytes) > 0;
	open my $file, '>:raw', $path or die "$path: $!";
	print $file $bytes;
	close $file;
}
sub patch
{
	return patch_file($node, @_);
}
patch($other_version, 24 + 4, pack('V', 99));
patch($other_format, 2 * $page - 24 + 2, pack('v', 7));

# the codebook of product codes lies behind the mean, which is one page long
patch($other_codebook, 6 * $page + 1000, 'x');

# the TID map: the first block of each level, by the kind of its page
my $map_bytes = slurp_file($node->data_dir . "/$map{leaf}", 0);
my ($leaf, $directory) = map { scalar find_kind(\$map_bytes, $_) } 6, 7;
my $roots = 24 + 360;

patch($map{leaf}, $leaf * $page + 24, pack('V', 77));
patch($map{owner}, ($leaf + 1) * $page - 24 + 12, pack('V', 99));
patch($map{far}, $directory * $page + 24, pack('V', 1000000));
patch($map{kind}, $directory * $page + 24, pack('V', 1));
patch($map{root}, $roots, pack('V', $leaf));

# a list of keys: 64 nodes that seem to follow each other, the first of them
# beyond all numbers, where the page and the next one have no other key
{
	my $bytes = slurp_file($node->data_dir . "/$list", 0);
	my $entries = 678;
	my @first = map { substr($bytes, $_ * $page + 24, 8) } my @blocks = find_kind(\$bytes, 12);
	my ($i) = grep { $first[$_ - 1] eq $first[$_] && $first[$_] eq $first[ $_ + 1 ] } 1 .. $#blocks - 1;

	patch($list, $blocks[$i] * $page + 24 + 8 * $entries, pack('V*', 2**32 + 10 - 63, (5) x 62, 10));
}
$node->start;

my (@strange, @broken);
my $noticed = 0;
foreach my $n (0 .. $mutations - 1)
{
	my $k = $n % @kinds;
	my ($messages, @states) = exercise($node, $k, $n);
	my $what = "$kinds[$k]->{name} $n ($done[$n])";

	$noticed++ if @states;
	if (grep { !/^XX00[12]$/ } @states or $messages =~ /server closed|FATAL|PANIC/)
	{
		push @strange, "$what: $messages";
	}
	push @broken, $what unless is_repaired($node, $k, $n);
}
is(join("\n", @strange), '',
	"$mutations broken indexes of seed $seed: answers, or errors that say so");
is(join("\n", @broken), '', 'REINDEX repairs them');
cmp_ok($noticed, '>', $mutations / 3, "$noticed of them were noticed");
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/,
	'no server process died');

# a codebook of which one byte has changed: any bytes would do as a codebook
{
	my ($messages, @states) = exercise($node, $#kinds, 'c');

	like($messages, qr/The codebook is not the one that codes were made with/,
		'a changed codebook is noticed');
	is(join(' ', sort { $a cmp $b } keys %{ { map { $_ => 1 } @states } }),
		'XX002', 'whatever is done with the index');
	ok(is_repaired($node, $#kinds, 'c'), 'and REINDEX repairs it');
}

# a list of keys with numbers that are none
{
	my ($out, $err) = ('', '');

	$node->psql(
		'postgres',
		"SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM list WHERE k = 0 ORDER BY v <-> '[1,1,1]') s",
		stdout => \$out,
		stderr => \$err);
	like($err, qr/A list of keys refers to a node that is none/,
		'numbers beyond all nodes in a list of keys are noticed');
}

# an index that another version of omendb made
foreach my $case ([ 'v', qr/has format version 99, this version of omendb reads/ ],
	[ 'f', qr/has page format 7, this version of omendb reads/ ])
{
	my ($name, $message) = @$case;
	my ($messages, @states) = exercise($node, 0, $name);

	like($messages, $message, "$name: another version is named");
	like($messages, qr/HINT:  Rebuild it with REINDEX INDEX i$name/,
		"$name: with a hint what to do");
	is(join(' ', sort { $a cmp $b } keys %{ { map { $_ => 1 } @states } }),
		'XX002', "$name: each statement fails in the same way");
	ok(is_repaired($node, 0, $name), "$name: and REINDEX does it");
}

# a TID map that leads elsewhere, at each of its levels
is(query($node, "SELECT omen_tid_map_problems('ileaf')"),
	'1', 'a wrong entry of the TID map is noticed');
foreach my $case (
	[ 'owner', qr/The page is of another part of the TID map/ ],
	[ 'far', qr/The index refers to this block, but ends before it/ ],
	[ 'kind', qr/The page is of kind \d, expected 6/ ],
	[ 'root', qr/The page is of kind 6, expected 8/ ])
{
	my ($name, $message) = @$case;
	my ($messages, @states) = exercise($node, 0, $name);

	like($messages, $message, "$name: a broken TID map is named");
	is(join(' ', sort { $a cmp $b } keys %{ { map { $_ => 1 } @states } }),
		'XX002', "$name: by inserts and the check alone");
	ok(is_repaired($node, 0, $name), "$name: REINDEX repairs it");
}

$node->stop;

# a page that cannot be read once: what the session knows of the index is as before,
# and not what was left in memory
$ENV{MALLOC_PERTURB_} = 1;
my $checked = new_node('checked', init => [ extra => ['--data-checksums'] ]);
query($checked, <<'SQL');
CREATE TABLE keyed (id int, v vector(4), a int, b int);
CREATE FUNCTION keyed_rows(first int, last int) RETURNS SETOF keyed LANGUAGE sql AS
	$$ SELECT i, ARRAY[i, i % 7, i % 11, 1]::vector, i % 5, i FROM generate_series(first, last) i $$;
INSERT INTO keyed SELECT * FROM keyed_rows(1, 3000);
CREATE INDEX ikeyed ON keyed USING omenhnsw (v vector_l2_ops, a, b);
SQL
my $path = query($checked, "SELECT pg_relation_filepath('ikeyed')");
$checked->restart;
my $bytes = slurp_file($checked->data_dir . "/$path", 0);
my $at = $page * find_kind(\$bytes, 11) + 4000;
my ($good, $bad) = map {
	"\\! perl -e 'open \$f, \"+<:raw\", shift; seek \$f, $at, 0; print \$f chr $_' "
	  . $checked->data_dir . "/$path\n"
} unpack('C', substr($bytes, $at, 1)), 255 - unpack('C', substr($bytes, $at, 1));
my ($out, $err) = ('', '');
$checked->psql(
	'postgres',
	$bad . "INSERT INTO keyed SELECT * FROM keyed_rows(3001, 3001);\n"
	  . $good . "INSERT INTO keyed SELECT * FROM keyed_rows(3002, 3010);\n"
	  . "SET enable_seqscan = off; SELECT count(*) FROM"
	  . " (SELECT id FROM keyed WHERE b > 2990 ORDER BY v <-> '[1,2,3,4]') s;",
	stdout => \$out,
	stderr => \$err,
	on_error_stop => 0);
is(join(' ', $err =~ /ERROR:  (.*?) in/g), 'invalid page', 'a page cannot be read');
is($out, '19', 'and then it can');
is(query($checked, "SELECT count(*) FROM omen_verify_index('ikeyed', true)"), '0', 'nothing is wrong');
$checked->stop;
done_testing();
