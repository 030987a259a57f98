# pgvector's library in the same server, even the same backend: each keeps its
# own functions, settings and access methods, and one database refuses to hold
# both. Skipped where pgvector is not installed, or older than halfvec.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('both');

if (query($node,
		q{SELECT count(*) FROM pg_available_extensions
		WHERE name = 'vector' AND string_to_array(default_version, '.')::int[] >= '{0,7}'}
	) eq '0')
{
	$node->stop;
	plan skip_all => 'pgvector 0.7.0 or later is not installed';
}

query($node, 'CREATE DATABASE theirs');
$node->safe_psql('theirs', 'CREATE EXTENSION vector');

my $use = <<'SQL';
CREATE TABLE items (id int, v vector(3), h halfvec(3));
INSERT INTO items SELECT i, ARRAY[i, 1, 1]::vector, ARRAY[i, 1, 1]::vector FROM generate_series(1, 100) i;
CREATE INDEX ON items USING hnsw (v vector_l2_ops);
CREATE INDEX ON items USING hnsw (h halfvec_cosine_ops);
SET enable_seqscan = off;
SET hnsw.ef_search = 50;
SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 2;
SELECT id FROM items ORDER BY h <=> '[1,1,1]' LIMIT 1;
SQL

is($node->safe_psql('postgres', $use), "50\n51\n1", 'ours works');
is($node->safe_psql('theirs', $use), "50\n51\n1", 'theirs works');

# both libraries in one backend, in either order
is( $node->safe_psql('postgres',
		"LOAD 'vector'; SET enable_seqscan = off; SET hnsw.ef_search = 50;"
		  . " SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 2;"),
	"50\n51",
	'ours works after their library was loaded');
is( $node->safe_psql('theirs',
		"LOAD 'omendb'; SET enable_seqscan = off; SET hnsw.ef_search = 50;"
		  . " SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 2;"),
	"50\n51",
	'theirs works after our library was loaded');
is( $node->safe_psql('postgres',
		"SET enable_seqscan = off; SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 2;"
		  . " LOAD 'vector'; SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 2;"),
	"50\n51\n50\n51",
	'ours goes on when their library is loaded later');

# preloaded together
foreach my $order ('vector, omendb', 'omendb, vector')
{
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$order'\n");
	$node->restart;
	foreach my $database ('postgres', 'theirs')
	{
		is( $node->safe_psql($database,
				"SET enable_seqscan = off; SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 2;"),
			"50\n51",
			"preloaded as $order: $database works");
	}
}

# one database cannot have both
my (undef, undef, $error) = $node->psql('theirs', 'CREATE EXTENSION omendb');
like($error, qr/ERROR:/, 'CREATE EXTENSION is refused beside pgvector');

$node->stop;
done_testing();
