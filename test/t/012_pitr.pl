# A base backup recovered to a point in time answers as the server did then.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %data = (type => 'vector', dim => 16, kind => 'clustered');
my $node = new_node('origin', init => [ has_archiving => 1, allows_streaming => 1 ]);

# more rows, fewer of the old, some merged and some still pending
sub change_docs
{
	my ($from, $to) = @_;

	query($node, <<"SQL");
DELETE FROM docs WHERE id % 5 = 0;
INSERT INTO docs SELECT i, to_tsvector('simple', 'common' || repeat(' w' || i % 50, 1 + i % 3) || ' x' || i)
  FROM generate_series($from, $to) i;
VACUUM docs;
INSERT INTO docs SELECT i, to_tsvector('simple', 'common pending w' || i % 50) FROM generate_series($to + 1, $to + 20) i;
SQL
}

load_rows($node, 'items', %data, rows => 1000);
load_queries($node, 'queries', %data);
query($node, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');
query($node, <<'SQL');
CREATE TABLE docs (id int, body tsvector);
CREATE INDEX docs_idx ON docs USING omenbm25 (body) WITH (pending_list_limit = 64);
SQL
change_docs(1, 1000);
$node->backup('base');

add_rows($node, 'items', %data, from => 1001, to => 1500, seed => 0.2);
query($node, 'DELETE FROM items WHERE id % 5 = 0');
query($node, 'VACUUM items');
add_rows($node, 'items', %data, from => 2001, to => 2200, seed => 0.3);

my $sql = 'SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)';
my $then = index_ids($node, $sql);
change_docs(2001, 3000);

# scores are rounded: they may be summed in another order
my $ranked = "SELECT id || ' ' || round((body <@> 'w7 | pending | x2')::numeric, 6) FROM docs ORDER BY body <@> 'w7 | pending | x2' LIMIT 200";
my $ranked_then = index_ids($node, $ranked);
query($node, "SELECT pg_create_restore_point('then')");
query($node, 'DELETE FROM items WHERE id % 2 = 0');
query($node, 'VACUUM items');
change_docs(4001, 5000);
query($node, 'SELECT pg_switch_wal()');

my $later = PostgreSQL::Test::Cluster->new('later');
$later->init_from_backup($node, 'base', has_restoring => 1);
$later->append_conf('postgresql.conf', <<'CONF');
recovery_target_name = 'then'
recovery_target_action = 'promote'
CONF
$later->start;
$later->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
  or die 'recovery did not end';

is_same_rows(index_ids($later, $sql), $then,
	'the recovered server answers as the other did at that point');
like($ranked_then, qr/^\d+ -\d+.*\n/, 'rows were ranked by text');
is_same_rows(index_ids($later, $ranked), $ranked_then,
	'and ranks texts as the other did');
is(query($later, q{SELECT coalesce(bm25_problems('docs_idx'), 'none')}),
	'none', 'by an index that is whole');
add_rows($later, 'items', %data, from => 3001, to => 3100, seed => 0.4);
is( all_through_index($later, 'items', 'v <-> (SELECT v FROM queries WHERE id = 1)'),
	query($later, "SELECT count(*) || ' ' || count(*) FROM items"),
	'and goes on from there');

$later->stop;
$node->stop;
done_testing();
