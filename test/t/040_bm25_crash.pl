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

$node->stop;
done_testing();
