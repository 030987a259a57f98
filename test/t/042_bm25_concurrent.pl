# Clients insert, update, delete, vacuum, merge and search an omenbm25 index at
# once: no search fails or misses rows, and in the end the index is whole.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('bm25_concurrent', conf => 'max_connections = 50');

query($node, 'CREATE TABLE docs (id serial, body tsvector)');
query($node, bm25_functions());
query($node, <<'SQL');
CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (pending_list_limit = 64);
INSERT INTO docs SELECT -i, ('static:' || (SELECT string_agg(g::text, ',') FROM generate_series(1, i) AS g)
	|| ' filler:' || (SELECT string_agg(g::text, ',') FROM generate_series(1, 101 - i) AS g))::tsvector
FROM generate_series(1, 100) AS i;

-- Raises an error unless the rows that stay are found, in their order
CREATE FUNCTION check_static() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	ids int[];
BEGIN
	SET LOCAL enable_seqscan = off;
	SELECT array_agg(id) INTO ids FROM (SELECT id FROM docs ORDER BY body <@> 'static' LIMIT 80) s;
	IF ids <> ARRAY(SELECT -i FROM generate_series(100, 21, -1) AS i) THEN
		RAISE EXCEPTION 'ranked otherwise: %', ids;
	END IF;
	SET LOCAL enable_indexscan = off;
	IF (SELECT count(*) FROM docs WHERE body @@ 'static & !w1') <> 100 THEN
		RAISE EXCEPTION 'not all are found';
	END IF;
END
$$;
SQL

psql_many(
	$node, 10, 60,
	'insert' => "INSERT INTO docs (body) SELECT bm25_document(i) FROM generate_series(1, 30) AS i;",
	'single' => "INSERT INTO docs (body) SELECT bm25_document(1);",
	'update' => "UPDATE docs SET body = bm25_document(id) WHERE id = 1 + (random() * 500)::int;",
	'delete' => "DELETE FROM docs WHERE id = 1 + (random() * 500)::int;",
	'long' => "INSERT INTO docs (body) SELECT to_tsvector('simple', string_agg('long' || g, ' ')) FROM generate_series(1, 900) AS g;",
	'merge' => "SELECT bm25_merge('docs_idx');",
	'vacuum' => "VACUUM docs;",
	'search' => "SELECT check_static();",
	'rank' => "SELECT avg(body <@> 'static | w1:*') FROM docs;");
unlike(slurp_file($node->logfile), qr/reference leak/, 'who looks at the index anew leaves nothing open');
is(query($node, "SELECT bm25_problems('docs_idx')"), '', 'the index is whole');
is( query(
		$node,
		"SET enable_seqscan = off; SELECT count(*) || ' ' || count(DISTINCT id) FROM (SELECT id FROM docs ORDER BY body <@> 'w1') s"
	),
	query($node, "SELECT count(*) || ' ' || count(*) FROM docs"),
	'every row is found, each once');
query($node, 'VACUUM (INDEX_CLEANUP ON) docs');
query($node, "SELECT bm25_merge('docs_idx')");
is(query($node, 'SELECT count(*) FROM bm25_differences(20)'),
	'0', 'it ranks as SQL does');

# what merges and flushes leave is used again
my $before = query($node, "SELECT pages FROM bm25_stats('docs_idx')");
foreach my $round (1 .. 20)
{
	query($node, "UPDATE docs SET body = bm25_document(id) WHERE id % 4 = $round % 4 AND id > 0");
	query($node, 'VACUUM (INDEX_CLEANUP ON) docs');
}
my $after = query($node, "SELECT pages FROM bm25_stats('docs_idx')");
cmp_ok($after, '<', 2.5 * $before, "space is used again: $before pages, $after after 20 rounds of updates");
is(query($node, "SELECT bm25_problems('docs_idx')"), '', 'the index is whole');

$node->stop;
done_testing();
