# Values of every type survive pg_dump and pg_restore, into another database
# and another schema; and a plain dump of a pgvector database is restored after
# changing nothing but the extension's name.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dump');
my $dump = $node->basedir . '/dump';
my $everything = 'SELECT md5(string_agg(r::text, chr(10) ORDER BY id)) FROM data r';

query($node, <<'SQL');
CREATE TABLE data (
	id int PRIMARY KEY,
	v vector(3) DEFAULT '[0,0,1]',
	h halfvec(3) CHECK (h <-> '[0,0,0]' < 1e5),
	s sparsevec(5),
	b bit(3) GENERATED ALWAYS AS (binary_quantize(v)) STORED,
	a vector[]
);
INSERT INTO data (id, v, h, s, a) SELECT n, ARRAY[n, -1.0 / n, 1e-38], ARRAY[n, 1.0 / n, 0],
		format('{1:%s,5:%s}/5', n, -1.0 / n)::sparsevec, ARRAY['[1]', '[1,2]']::vector[]
	FROM generate_series(1, 300) n;
INSERT INTO data (id) VALUES (0);
CREATE INDEX ON data (v);
CREATE VIEW means AS SELECT avg(v) AS v, sum(h) AS h FROM data;
CREATE MATERIALIZED VIEW near AS SELECT id, v <=> '[1,0,0]' AS distance FROM data ORDER BY 2, 1;
SQL
my $before = query($node, $everything);
my $views = query($node, 'SELECT (SELECT m::text FROM means m), (SELECT count(distance) FROM near)');

foreach my $format ('plain', 'custom')
{
	$node->command_ok(
		[ 'pg_dump', '-F', $format, '-f', $dump, 'postgres' ],
		"dump, $format");
	$node->safe_psql('postgres', "CREATE DATABASE restored");
	if ($format eq 'plain')
	{
		$node->command_ok(
			[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'restored' ],
			"restore, $format");
	}
	else
	{
		$node->command_ok([ 'pg_restore', '-e', '-d', 'restored', $dump ],
			"restore, $format");
	}
	is($node->safe_psql('restored', $everything), $before, "same rows, $format");
	is( $node->safe_psql(
			'restored',
			'SELECT (SELECT m::text FROM means m), (SELECT count(distance) FROM near)'),
		$views,
		"same views, $format");
	$node->safe_psql('postgres', "DROP DATABASE restored");
}

# the extension in a schema of its own, outside of search_path
$node->safe_psql('postgres', 'CREATE SCHEMA "Vector types"; ALTER EXTENSION omendb SET SCHEMA "Vector types"');
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'dump with extension in a schema');
$node->safe_psql('postgres', "CREATE DATABASE restored");
$node->command_ok(
	[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'restored' ],
	'restore with extension in a schema');
is($node->safe_psql('restored', $everything), $before, 'same rows with extension in a schema');
$node->safe_psql('postgres', "DROP DATABASE restored");

# what pg_dump writes of a database with pgvector
my $theirs = <<'SQL';
SET check_function_bodies = false;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';
CREATE TABLE public.items (
    id bigint NOT NULL,
    embedding public.vector(3),
    half public.halfvec(3),
    sparse public.sparsevec(5),
    CONSTRAINT near CHECK (((embedding OPERATOR(public.<->) '[0,0,0]'::public.vector) < (100)::double precision))
);
COPY public.items (id, embedding, half, sparse) FROM stdin;
1	[1,2,3]	[1,2,3]	{1:1,5:2}/5
2	[4,5,6]	[1e-07,65504,0]	{}/5
\.
ALTER TABLE ONLY public.items ADD CONSTRAINT items_pkey PRIMARY KEY (id);
SQL
$theirs =~ s/(EXTENSION(?: IF NOT EXISTS)?) vector/$1 omendb/g;
append_to_file("$dump.theirs", $theirs);
$node->safe_psql('postgres', "CREATE DATABASE moved");
$node->command_ok(
	[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.theirs", 'moved' ],
	"restore of pgvector's dump");
is( $node->safe_psql('moved', 'SELECT * FROM items ORDER BY id'),
	"1|[1,2,3]|[1,2,3]|{1:1,5:2}/5\n2|[4,5,6]|[1.1920929e-07,65504,0]|{}/5",
	"rows of pgvector's dump");

done_testing();
