# A streaming standby ranks as its primary does after every kind of change, with
# each replayed page compared to the primary's. While segments are merged and
# their pages used again below running scans, its answers stay right.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node(
	'bm25_primary',
	init => [ allows_streaming => 1 ],
	conf => "wal_consistency_checking = 'all'\nwal_keep_size = '4GB'");

$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('bm25_standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

query($primary, 'CREATE TABLE docs (id serial, body tsvector)');
query($primary, bm25_functions());
query($primary,
	"CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (pending_list_limit = 64)"
);

sub compare
{
	my ($name) = @_;
	my $answers = "SET enable_seqscan = off; "
	  . "SELECT q, array_agg(id || ':' || d ORDER BY n) FROM (VALUES ('w1'), ('w150 | w3'), ('w2 | w7 | w90 | w120')) AS v(q), "
	  . "LATERAL (SELECT id, d, row_number() OVER () AS n FROM (SELECT id, body <@> q::tsquery AS d FROM docs ORDER BY body <@> q::tsquery LIMIT 300) s) s GROUP BY q ORDER BY q";

	catch_up($primary, $standby);
	is_same_rows(query($standby, $answers), query($primary, $answers),
		"$name: the standby answers as the primary");
	is(query($standby, "SELECT bm25_problems('docs_idx')"),
		'', "$name: its index is whole");
	return;
}

sub add_docs
{
	my ($n) = @_;

	query($primary,
		"INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, $n) AS i"
	);
	return;
}

add_docs(50);
compare('pending');
add_docs(1500);
compare('flushes and merges');
query($primary, 'CHECKPOINT');
query($primary, 'DELETE FROM docs WHERE id % 3 = 0');
compare('deletes');
query($primary, 'VACUUM docs');
compare('vacuum');
add_docs(1500);
compare('inserts into freed space');
query($primary, "SELECT bm25_merge('docs_idx')");
compare('merge');
is(query($standby, 'SELECT count(*) FROM bm25_differences(10)'),
	'0', 'the standby ranks as SQL does');
query($primary, 'REINDEX INDEX docs_idx');
compare('reindex');

# Some rows stay while all else changes; their order does not depend on it.
query($primary, <<'SQL');
TRUNCATE docs;
INSERT INTO docs SELECT -i, ('static:' || (SELECT string_agg(g::text, ',') FROM generate_series(1, i) AS g)
	|| ' filler:' || (SELECT string_agg(g::text, ',') FROM generate_series(1, 101 - i) AS g))::tsvector
FROM generate_series(1, 100) AS i;
SQL
my $churn = $primary->basedir . '/churn.sql';
PostgreSQL::Test::Utils::append_to_file($churn, <<'SQL');
INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 300) AS i;
DELETE FROM docs WHERE id > 0 AND random() < 0.3;
VACUUM docs;
SELECT bm25_merge('docs_idx');
SQL
catch_up($primary, $standby);
my $session = IPC::Run::start(
	[
		'pgbench', '-n', '-c', 2, '-T', 300, '-h', $primary->host, '-p',
		$primary->port, '-f', $churn, 'postgres'
	],
	'>',
	'/dev/null',
	'2>',
	'/dev/null');

# cursors are slow readers: they fetch a part, and the rest later
my $expected = join(',', map { -$_ } reverse 1 .. 100);
foreach my $node ($primary, $standby)
{
	my $name = $node->name;
	my $wrong = 0;
	my $broken = 0;
	my $tries = 0;
	my $until = time() + 12;

	while (time() < $until)
	{
		my ($code, $out, $err) = $node->psql('postgres', <<'SQL');
SET enable_seqscan = off;
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT id FROM docs WHERE body @@ 'static' ORDER BY body <@> 'static';
FETCH 70 FROM c;
SELECT pg_sleep(0.2);
FETCH ALL FROM c;
DECLARE d CURSOR FOR SELECT id FROM docs ORDER BY body <@> 'static | filler';
MOVE 10 FROM d;
SELECT 1 WHERE (SELECT count(*) FROM docs WHERE body @@ 'static & filler') <> 100;
COMMIT;
SQL
		# replay may cancel a query whose rows vacuum has removed
		if ($code != 0)
		{
			$broken++ unless $err =~ /conflict with recovery/;
			diag($err) unless $err =~ /conflict with recovery/;
			next;
		}
		$out =~ s/\s+/,/g;
		$out =~ s/,,/,/;
		$tries++;
		$wrong++ if $out ne $expected;
		diag(substr($out, 0, 500)) if $out ne $expected && $wrong < 3;
	}
	is($wrong, 0, "$name: $tries cursors read the right rows during merges");
	is($broken, 0, "$name: and none failed");
	cmp_ok($tries, '>', 0, "$name: some were read");
}
$session->kill_kill;

# their backends end the statements they are at
$primary->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
) or die 'writers go on';
compare('churn');

# A query that replay cancels ends: that it is told so with the same SQLSTATE does
# not mean that it is to look at the index anew, here at many pending documents.
query($primary, 'ALTER INDEX docs_idx SET (pending_list_limit = 65536)');
add_docs(3000);
catch_up($primary, $standby);
my $earlier = query($standby,
	"SELECT confl_snapshot FROM pg_stat_database_conflicts WHERE datname = 'postgres'");
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 0');
$standby->reload;
my $cancelled = '';
my $reader = IPC::Run::start(
	[
		'psql', '-X', '-h', $standby->host, '-p', $standby->port, 'postgres', '-c',
		"SET statement_timeout = '120s'",
		'-c',
		"SELECT count(*) AS busy FROM generate_series(1, 100000) AS g, LATERAL (SELECT id FROM docs ORDER BY body <@> (SELECT string_agg('w' || i, ' | ')::tsquery FROM generate_series(1, 1000) AS i) LIMIT 1 + g % 2) s"
	],
	'>', '/dev/null', '2>', \$cancelled);
$standby->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count(*) AS busy%'"
) or die 'the query does not run';
query($primary, 'DELETE FROM docs WHERE id > 0 AND id % 2 = 0');
query($primary, 'VACUUM (INDEX_CLEANUP ON) docs');
$reader->finish;
like($cancelled, qr/conflict with recovery/, 'a query that replay has to cancel ends');
$standby->poll_query_until('postgres',
	"SELECT confl_snapshot > $earlier FROM pg_stat_database_conflicts WHERE datname = 'postgres'")
  or die 'no conflict is counted';
my $conflicts = query($standby,
	"SELECT confl_snapshot FROM pg_stat_database_conflicts WHERE datname = 'postgres'");
cmp_ok($conflicts, '<', $earlier + 10, "and when it is told for the first time: $conflicts, $earlier before");

$standby->promote;
is( $standby->safe_psql('postgres',
		"INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 1000) AS i; SELECT bm25_problems('docs_idx')"
	),
	'',
	'after promotion the index takes rows');
$standby->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) docs');
$standby->safe_psql('postgres', "SELECT bm25_merge('docs_idx')");
is($standby->safe_psql('postgres', 'SELECT count(*) FROM bm25_differences(10)'),
	'0', 'and ranks as SQL does');

$standby->stop;
$primary->stop;
done_testing();
