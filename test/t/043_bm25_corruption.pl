# Pages of omenbm25 that are not what they should be: whatever an index's file
# holds, a scan, an insert, a merge or a vacuum ends in time with an answer or an
# error that says what is broken, the server stays up, and REINDEX repairs it.
#
# OMEN_SEED and OMEN_MUTATIONS choose others than those of the everyday run.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = 8192;
my $seed = $ENV{OMEN_SEED} // 1;
my $mutations = $ENV{OMEN_MUTATIONS} // 100;

my $node = new_node('bm25_corruption',
	without_checksums => 1, conf => 'max_parallel_workers = 0');
my $checksums = query($node, 'SHOW data_checksums') eq 'on';

query($node, <<'SQL');
SELECT setseed(0.5);
CREATE TABLE docs (id int, body tsvector);
INSERT INTO docs SELECT i, (SELECT to_tsvector('simple', string_agg('w' || floor(400 * power(random(), 3)) ||
	CASE WHEN g % 10 = 0 THEN 'x' || i ELSE '' END, ' ')) FROM generate_series(1, 5 + i % 40) AS g) FROM generate_series(1, 1500) AS i;
INSERT INTO docs SELECT i, to_tsvector('simple', string_agg('long' || g, ' '))
	FROM generate_series(1501, 1503) AS i, generate_series(1, 1000) AS g GROUP BY i;
SQL

# of the documents, two in three are in a segment that was built, the others in
# flushed ones, and pending; some are dead
sub make_index
{
	my ($n) = @_;

	return (
		lines(
			$node, <<"SQL"))[-1];
CREATE TABLE t$n AS SELECT * FROM docs WHERE id % 3 < 2 ORDER BY id;
CREATE INDEX i$n ON t$n USING omenbm25 (body) WITH (pending_list_limit = 64);
INSERT INTO t$n SELECT * FROM docs WHERE id % 3 = 2;
DELETE FROM t$n WHERE id % 17 = 0;
SELECT pg_relation_filepath('i$n');
SQL
}

# Everything that reads an index: returns the SQLSTATEs of its errors.
sub exercise
{
	my ($n) = @_;
	my ($out, $err) = ('', '');

	$node->psql(
		'postgres', <<"SQL",
\\set VERBOSITY verbose
SET statement_timeout = '20s';
SET enable_seqscan = off;
SET client_min_messages = warning;
SELECT count(*) FROM (SELECT id FROM t$n ORDER BY body <@> 'w1 | w30 | w200' LIMIT 10) s;
SELECT count(*) FROM (SELECT id FROM t$n ORDER BY body <@> 'w0 | long7 | w3x77') s;
SELECT count(*) FROM t$n WHERE body @@ 'w1 & !w2 | long4:*';
SELECT count(*) FROM (SELECT id FROM t$n WHERE body @@ 'w1' ORDER BY body <@> 'w111:* | w40') s;
SELECT body <@> 'w3 | w4' FROM t$n LIMIT 3;
SELECT bm25_stats('i$n');
SELECT bm25_problems('i$n');
INSERT INTO t$n SELECT id + 10000, body FROM docs WHERE id < 400 OR id > 1501;
DELETE FROM t$n WHERE id % 3 = 0;
VACUUM (PARALLEL 0, INDEX_CLEANUP ON) t$n;
INSERT INTO t$n SELECT id + 20000, body FROM docs WHERE id < 200;
SELECT bm25_merge('i$n');
SELECT bm25_problems('i$n');
SELECT count(*) FROM (SELECT id FROM t$n ORDER BY body <@> 'w1') s;
SQL
		on_error_stop => 0,
		stdout => \$out,
		stderr => \$err);
	return ($err, $err =~ /ERROR:  (\w{5}):/g);
}

sub is_repaired
{
	my ($n) = @_;

	return query($node, <<"SQL") eq 't';
SET enable_seqscan = off;
REINDEX INDEX i$n;
SELECT (SELECT count(*) FROM (SELECT id FROM t$n ORDER BY body <@> 'w1') s) =
	(SELECT count(*) FROM t$n) AND bm25_problems('i$n') IS NULL;
SQL
}

my @files;

srand $seed;
$files[$_] = make_index($_) foreach 0 .. $mutations - 1;
query($node, 'VACUUM t0');
my $other_version = make_index('v');
my %rows = map { $_ => make_index($_) } qw(far none);
my %pending = map { $_ => make_index($_) } qw(twice nowhere long);
my $number = make_index('number');
$node->stop;
system_or_bail('pg_checksums', '--disable', '-D', $node->data_dir)
  if $checksums;

my @done;
foreach my $n (0 .. $mutations - 1)
{
	my $path = $node->data_dir . "/$files[$n]";
	my $bytes = slurp_file($path, 0);

	$done[$n] = mutate_pages(\$bytes);
	open my $file, '>:raw', $path or die "$path: $!";
	print $file $bytes;
	close $file;
}
patch_file($node, $other_version, 24 + 4, pack('V', 99));

# the number of the next segment is that of the first one
patch_file($node, $number, 24 + 20, substr(slurp_file($node->data_dir . "/$number", 0), 24 + 128, 4));

# rows beyond any table, where the server would make it longer, and rows that
# are none
foreach my $name (keys %rows)
{
	my $bytes = slurp_file($node->data_dir . "/$rows{$name}", 0);

	patch_file($node, $rows{$name}, scalar(find_kind(\$bytes, 18)) * $page + 24,
		pack('v3', $name eq 'far' ? (0xFFFF, 0xFFFF, 1) : (0, 0, 0)) x 500);
}

# pending documents that all say they are of the row of the first one, or of a row
# that is none, and terms that are longer than any
foreach my $name (keys %pending)
{
	my $bytes = slurp_file($node->data_dir . "/$pending{$name}", 0);

	foreach my $block (find_kind(\$bytes, 13))
	{
		my $end = $block * $page + unpack('v', substr($bytes, $block * $page + 12, 2));

		for (my $at = $block * $page + 24; $at < $end;)
		{
			my ($nterms, $size) = unpack('v2', substr($bytes, $at + 12, 4));

			if ($name ne 'long')
			{
				patch_file($node, $pending{$name}, $at, pack('v3', 0, 0, $name eq 'twice'));
			}
			elsif ($size > 5000)
			{
				patch_file($node, $pending{$name}, $at + 16 + 8 * $_ + 6, pack('v', $size)) foreach 1 .. $nterms;
			}
			$at += $size;
		}
	}
}
$node->start;

my (@strange, @broken);
my $noticed = 0;
foreach my $n (0 .. $mutations - 1)
{
	my ($messages, @states) = exercise($n);
	my $what = "$n ($done[$n])";

	$noticed++ if @states;
	# 40001: another owner of a page means that its segment was merged, to a reader
	if (grep { !/^(?:XX00[12]|40001)$/ } @states or $messages =~ /server closed|FATAL|PANIC/)
	{
		push @strange, "$what: " . substr($messages, 0, 600);
	}
	push @broken, $what unless is_repaired($n);
}
is(join("\n", @strange), '',
	"$mutations broken indexes of seed $seed: answers, or errors that say so");
is(join("\n", @broken), '', 'REINDEX repairs them');
cmp_ok($noticed, '>', $mutations / 5, "$noticed of them were noticed");
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/,
	'no server process died');

my ($messages, @states) = exercise('v');
like($messages, qr/has format version 99, this version of omendb reads/,
	'another version is named');
ok(is_repaired('v'), 'and REINDEX repairs it');

foreach my $name (sort keys %rows)
{
	my $size = query($node, "SELECT pg_relation_size('t$name')");

	foreach my $query (
		"SELECT id FROM t$name ORDER BY body <@> 'w0' LIMIT 200",
		"SELECT id FROM t$name ORDER BY rrf(body <@> 'w0', body <@> 'w1') LIMIT 200",
		"SELECT id FROM t$name ORDER BY fuse(body <@> 'w0', body <@> 'w1', 'minmax') LIMIT 200",
		"SELECT count(*) FROM t$name WHERE body @@ 'w0'",
		# of others at 0, all that do not follow the row before are passed over
		$name eq 'none' ? "SET enable_sort = off; SET enable_bitmapscan = off; SELECT id FROM tnone WHERE body @@ 'w0' ORDER BY body <@> 'nowhere'" : ())
	{
		my ($out, $err) = ('', '');

		$node->psql('postgres', "SET enable_seqscan = off; $query", stdout => \$out, stderr => \$err);
		like($err, qr/The index refers to a row that there cannot be/, "rows that are $name: $query");
	}
	is(query($node, "SELECT pg_relation_size('t$name')"), $size, "rows that are $name: the table stays as it is");
	cmp_ok(query($node, "SELECT count(*) FROM omen_verify_index('i$name', true)"), '>', 0, "rows that are $name are findings");
}

my %damage = (
	twice => qr/Pending documents have a row's term twice/,
	nowhere => qr/Pending documents have a row's term twice/,
	long => qr/A pending document's terms are damaged/);
foreach my $name (sort keys %damage)
{
	my ($out, $err) = ('', '');

	$node->psql('postgres', "VACUUM t$name", stdout => \$out, stderr => \$err);
	like($err, $damage{$name}, "pending documents with damage ($name) do not become a segment");
}

# What comes then is flushed to a segment of a number that is in use, and whoever
# reads both says so.
my $damaged = qr/ERROR:  XX002: index "inumber" is not valid at block 0\n.*Two segments have the same number/;
my $findings = "SELECT count(*) FROM omen_verify_index('inumber') WHERE invariant = 'B1' AND severity = 'error' AND block = 0";

cmp_ok(query($node, $findings), '>', 0, 'a number in use for the next segment is a finding');
query($node, 'INSERT INTO tnumber SELECT id + 10000, body FROM docs WHERE id < 20');
foreach my $statement ("SELECT bm25_merge('inumber')", "SELECT bm25_merge('inumber')",
	'VACUUM (INDEX_CLEANUP ON) tnumber', "SET enable_seqscan = off; SELECT count(*) FROM tnumber WHERE body @@ 'w1'")
{
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\n$statement", stdout => \$out, stderr => \$err);
	like($err, $damaged, "two segments of one number: $statement");
}
cmp_ok(query($node, $findings), '>', 0, 'both are findings');
ok(is_repaired('number'), 'until REINDEX');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/,
	'no server process died of damage that was planted');

$node->stop;
done_testing();
