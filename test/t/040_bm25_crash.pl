# An omenbm25 index survives kill -9 during insertions, flushes, merges and
# vacuum: afterwards its structure is whole, it has every committed row, and it
# ranks as a computation over all rows does. An unlogged one starts empty.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('bm25_crash',
	without_checksums => 1,
	conf => "wal_consistency_checking = 'generic'\ncheckpoint_timeout = 1h");

query($node, 'CREATE TABLE docs (id serial, body tsvector)');
query($node, bm25_functions());
query($node, <<'SQL');
CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (pending_list_limit = 64);
CREATE UNLOGGED TABLE fast (id int, body tsvector);
INSERT INTO fast SELECT i, 'a' FROM generate_series(1, 10) AS i;
CREATE INDEX fast_idx ON fast USING omenbm25 (body);
SQL

# Compare after a merge: until then what is dead counts in the statistics.
sub check_index
{
	my ($name) = @_;

	is(query($node, "SELECT bm25_problems('docs_idx')"),
		'', "$name: the structure is whole");
	is( query(
			$node,
			"SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM docs ORDER BY body <@> 'w1') s"
		),
		query($node, 'SELECT count(*) FROM docs'),
		"$name: every row is in the index");
	query($node, 'VACUUM (INDEX_CLEANUP ON) docs');
	is(query($node, "SELECT bm25_problems('docs_idx')"),
		'', "$name: and whole after vacuum");
	query($node, "SELECT bm25_merge('docs_idx')");
	is(query($node, 'SELECT count(*) FROM bm25_differences(6)'),
		'0', "$name: it ranks as SQL does");
	query($node, 'DELETE FROM docs WHERE id < (SELECT max(id) - 2000 FROM docs)');
	return;
}

# What backends do until the server is gone
my %work = (
	'insertions' => "INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 3) AS i;",
	'flushes and merges' =>
	  "INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 500) AS i;",
	'updates and vacuum' =>
	  "UPDATE docs SET body = bm25_document(id) WHERE id % 10 = (random() * 9)::int; DELETE FROM docs WHERE random() < 0.05; INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 100) AS i;\nVACUUM docs;",
	'merges on request' =>
	  "INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 200) AS i;\nSELECT bm25_merge('docs_idx');",
	'long documents' =>
	  "INSERT INTO docs (body) SELECT to_tsvector('simple', string_agg('long' || g, ' ')) FROM generate_series(1, 1500) AS g, generate_series(1, 3) AS i GROUP BY i;"
);

foreach my $round (1 .. 2)
{
	foreach my $name (sort keys %work)
	{
		my @sessions;

		query($node, 'CHECKPOINT') if $round == 2;
		foreach my $session (1 .. 2)
		{
			my $file = $node->basedir . "/work$session.sql";

			PostgreSQL::Test::Utils::append_to_file("$file.$round.$name",
				$work{$name} . "\n" x 2);
			push @sessions,
			  IPC::Run::start(
				[
					'pgbench', '-n', '-T', 60, '-h', $node->host, '-p',
					$node->port, '-f', "$file.$round.$name", 'postgres'
				],
				'>',
				'/dev/null',
				'2>',
				'/dev/null');
		}
		select(undef, undef, undef, 1 + $round);
		kill_server($node);
		foreach my $session (@sessions)
		{
			$session->kill_kill;
		}
		start_after_kill($node);
		check_index("$name, round $round");
	}
}

is(query($node, 'SELECT count(*) FROM fast'), '0', 'an unlogged table is empty');
is(query($node, "SELECT bm25_problems('fast_idx')"), '', 'and its index whole');
query($node, "INSERT INTO fast SELECT i, 'a' FROM generate_series(1, 10) AS i");
is( query(
		$node,
		"SET enable_seqscan = off; SELECT count(*) FROM fast WHERE body @@ 'a'"),
	'10',
	'and takes rows');


# Pages of zeros by which a build has grown the file are not logged, but the free
# space map names them. On a standby, in a backup or after a crash of the machine
# the file may end before them; then a merge makes it as long again, and while it
# is at that, stopped, an insert finds the page in the map.
my $page = 8192;
my @names = map { "short$_" } 1 .. 6;

foreach my $n (1 .. @names)
{
	my $name = $names[ $n - 1 ];

	query($node, <<"SQL");
CREATE TABLE $name AS SELECT i AS id, ('a b' || i || ' c' || i)::tsvector AS body FROM generate_series(1, 20000 + 1000 * $n) AS i;
CREATE INDEX ${name}_idx ON $name USING omenbm25 (body);
DELETE FROM $name WHERE id % 10 = 0;
VACUUM $name;
SQL
}
my %path = map { $_ => $node->data_dir . '/' . query($node, "SELECT pg_relation_filepath('${_}_idx')") } @names;
$node->stop;
foreach my $name (@names)
{
	my $bytes = slurp_file($path{$name}, 0);
	my $npages = length($bytes) / $page;

	$npages-- while substr($bytes, ($npages - 1) * $page, $page) !~ /[^\0]/;
	note("$name: " . length($bytes) / $page . " pages, $npages without zeros");
	truncate $path{$name}, $npages * $page or die "$path{$name}: $!";
}
$node->start;

my $taken = 0;
foreach my $name (@names)
{
	my ($in, $out, $err) = ('SELECT pg_backend_pid();' . "\n", '', '');
	my $size = -s $path{$name};
	my $inserted = '';
	my $session = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));

	$session->pump until $out =~ /^(\d+)\n/;
	my $pid = $1;
	$in .= "SELECT bm25_merge('${name}_idx');\n";
	$session->pump_nb while $in ne '';
	my $end = time + 20;
	1 while -s $path{$name} == $size && time < $end;
	kill 'STOP', $pid;

	# if it holds a lock that the insert needs, this time is in vain
	my $grown = -s $path{$name};
	my $insert = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',

			# two documents of more than half a page
			"INSERT INTO $name SELECT i, to_tsvector('simple', string_agg('long' || g, ' ')) FROM generate_series(1, 2) AS i, generate_series(1, 350) AS g GROUP BY i" ],
		'<', '/dev/null', '2>', \$inserted);
	$end = time + 5;
	while ($insert->pumpable && time < $end)
	{
		$insert->pump_nb;
		select(undef, undef, undef, 0.02);
	}
	$taken++ if !$insert->pumpable && $grown > $size && -s $path{$name} == $grown;
	kill 'CONT', $pid;
	$insert->finish;
	$session->finish;
	is($err . $inserted, '', "$name: the merge passes over pages that the insert took");
	is(query($node, "SELECT count(*) FROM omen_verify_index('${name}_idx', true)"), '0', "$name: the index is whole");
}
cmp_ok($taken, '>', 0, "an insert took pages of a merge's, $taken of " . scalar(@names) . ' times');

# A vacuum that was cancelled, or a crash, may have left documents marked dead that
# are not counted: the next vacuum counts them, whatever was counted before.
query($node, <<'SQL');
CREATE TABLE marked WITH (autovacuum_enabled = off) AS SELECT i AS id, 'a'::tsvector AS body FROM generate_series(1, 5000) AS i;
CREATE INDEX marked_idx ON marked USING omenbm25 (body);
DELETE FROM marked WHERE id <= 10;
VACUUM (INDEX_CLEANUP ON) marked;
DELETE FROM marked WHERE id <= 510;
SQL
my $marked = $node->data_dir . '/' . query($node, "SELECT pg_relation_filepath('marked_idx')");
$node->stop;
{
	my $bytes = slurp_file($marked, 0);
	my ($alive) = grep { unpack('v', substr($bytes, $_ * $page + $page - 24, 2)) == 19 } 0 .. length($bytes) / $page - 1;

	vec($bytes, 8 * ($alive * $page + 24) + $_, 1) = 1 foreach 10 .. 499;
	open my $file, '+<:raw', $marked or die "$marked: $!";
	print $file $bytes;
	close $file or die "$marked: $!";
}
$node->start;
query($node, 'VACUUM (INDEX_CLEANUP ON) marked');
is( query($node, "SELECT documents, dead_documents FROM bm25_stats('marked_idx')"),
	'4490|510',
	'vacuum counts what was marked before');
is( query($node, "SELECT reltuples FROM pg_class WHERE relname = 'marked_idx'"),
	'4490', 'and not as rows of the index');
is(query($node, "SELECT count(*) FROM omen_verify_index('marked_idx', true)"), '0', 'the index is whole');

# Merges that fail again and again, here for a broken page, leave more and more
# segments. When there is no room for the next, others are merged.
query($node, <<'SQL');
CREATE TABLE full_dir (id int, body tsvector) WITH (autovacuum_enabled = off);
INSERT INTO full_dir SELECT i, ('a zz' || i || ' y' || i)::tsvector FROM generate_series(1, 3000) AS i;
CREATE INDEX full_idx ON full_dir USING omenbm25 (body) WITH (pending_list_limit = 64);
SQL
my $full = $node->data_dir . '/' . query($node, "SELECT pg_relation_filepath('full_idx')");
my $broken;

# the dictionary's first page gets another owner, or its own again
sub turn_owner
{
	my $bytes = slurp_file($full, 0);

	$broken //= (grep { unpack('v', substr($bytes, $_ * $page + $page - 24, 2)) == 15 } 0 .. length($bytes) / $page - 1)[0];
	vec($bytes, 8 * ($broken * $page + $page - 24 + 12) + 20, 1) ^= 1;
	open my $file, '+<:raw', $full or die "$full: $!";
	print $file $bytes;
	close $file or die "$full: $!";
	return;
}

$node->stop;
turn_owner();
$node->start;
my (undef, undef, $errors) = $node->psql('postgres',
	"INSERT INTO full_dir SELECT i, ('a zz' || i)::tsvector FROM generate_series(1, 1500) AS i;\n" x 200,
	on_error_stop => 0);
like($errors, qr/ERROR:  index "full_idx" is not valid at block/, 'merges fail');
unlike($errors, qr/too many segments/, 'but flushes find room');
$node->stop;
turn_owner();
$node->start;
query($node, 'VACUUM full_dir');
is(query($node, "SELECT segments <= 64 FROM bm25_stats('full_idx')"), 't', 'vacuum makes room');
is(query($node, "SELECT count(*) FROM omen_verify_index('full_idx', true)"), '0', 'the index is whole');

$node->stop;
done_testing();
