# A base backup recovered to a point in time answers as the server did then.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %data = (type => 'vector', dim => 16, kind => 'clustered');
my $node = new_node('origin', init => [ has_archiving => 1, allows_streaming => 1 ]);

load_rows($node, 'items', %data, rows => 1000);
load_queries($node, 'queries', %data);
query($node, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');
$node->backup('base');

add_rows($node, 'items', %data, from => 1001, to => 1500, seed => 0.2);
query($node, 'DELETE FROM items WHERE id % 5 = 0');
query($node, 'VACUUM items');
add_rows($node, 'items', %data, from => 2001, to => 2200, seed => 0.3);

my $sql = 'SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)';
my $then = index_ids($node, $sql);
query($node, "SELECT pg_create_restore_point('then')");
query($node, 'DELETE FROM items WHERE id % 2 = 0');
query($node, 'VACUUM items');
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
add_rows($later, 'items', %data, from => 3001, to => 3100, seed => 0.4);
is( all_through_index($later, 'items', 'v <-> (SELECT v FROM queries WHERE id = 1)'),
	query($later, "SELECT count(*) || ' ' || count(*) FROM items"),
	'and goes on from there');

$later->stop;
$node->stop;
done_testing();
