# pg_dump and pg_restore carry every type and index, in text, custom format and
# with the extension in a schema of its own; a dump of a pgvector database is
# restored after changing nothing but the extension's name; COPY binary goes
# out and in.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dump');
my $folder = PostgreSQL::Test::Utils::tempdir();

# every operator class and option, names that need quotes, columns that were
# dropped, inheritance
my $schema = <<'SQL';
CREATE TABLE "Items" (
  gone int, id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(3), b bit(3),
  free vector, "Odd name" vector(3));
ALTER TABLE "Items" DROP COLUMN gone;
INSERT INTO "Items" SELECT i, ARRAY[i, i % 7, 1]::vector, ARRAY[i % 50, i % 7, 1]::vector,
  ARRAY[i, 0, 1]::vector, (i % 8)::bit(3), CASE WHEN i % 2 = 0 THEN '[1,2]'::vector ELSE '[1,2,3]' END,
  ARRAY[i, 1, 2]::vector FROM generate_series(1, 200) i;
INSERT INTO "Items" (id) VALUES (201);
CREATE TABLE child (extra int) INHERITS ("Items");
INSERT INTO child SELECT i, ARRAY[i, 1, 2]::vector FROM generate_series(301, 310) i;
CREATE MATERIALIZED VIEW near AS SELECT id, v FROM "Items" ORDER BY v <-> '[1,2,3]', id LIMIT 20;
CREATE FUNCTION nearest(vector) RETURNS SETOF int LANGUAGE sql STABLE
  RETURN (SELECT id FROM "Items" ORDER BY v <-> $1, id LIMIT 1);
SQL

my @indexes = (
	'v vector_l2_ops', 'v vector_ip_ops',
	'v vector_cosine_ops', 'v vector_l1_ops',
	'h halfvec_l2_ops', 'h halfvec_ip_ops',
	'h halfvec_cosine_ops', 'h halfvec_l1_ops',
	's sparsevec_l2_ops', 's sparsevec_ip_ops',
	's sparsevec_cosine_ops', 's sparsevec_l1_ops',
	'b bit_hamming_ops', 'b bit_jaccard_ops',
	'"Odd name" vector_l2_ops');
foreach my $index (@indexes)
{
	$schema .= "CREATE INDEX ON \"Items\" USING omenhnsw ($index);\n";
}
$schema .= <<'SQL';
CREATE INDEX options ON "Items" USING omenhnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32, quantizer = none);
CREATE INDEX partial ON "Items" USING omenhnsw (v vector_l2_ops) WHERE id > 100;
CREATE INDEX expression ON "Items" USING omenhnsw ((v::halfvec(3)) halfvec_l2_ops);
CREATE INDEX binary_code ON "Items" USING omenhnsw ((binary_quantize(v)::bit(3)) bit_hamming_ops);
CREATE INDEX on_view ON near USING omenhnsw (v vector_l2_ops);
CREATE INDEX sorted ON "Items" (v);
SQL

my $checks = <<'SQL';
SELECT count(*), md5(string_agg(i::text, ',' ORDER BY id)) FROM "Items" i;
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
  WHERE relname IN ('Items', 'near') AND indisvalid ORDER BY 1;
SELECT id FROM "Items" ORDER BY v <-> '[5,5,5]', id LIMIT 5;
SELECT * FROM nearest('[9,2,1]');
SELECT count(*) FROM near;
SQL

sub dump_and_restore
{
	my ($name, $from, @format) = @_;
	my $file = "$folder/$name.dump";

	$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port,
			@format, '-f', $file, $from ], "$name: pg_dump");
	query($node, "CREATE DATABASE $name TEMPLATE template0");
	$node->command_ok(
		[
			@format ? 'pg_restore' : 'psql',
			'-h', $node->host, '-p', $node->port,
			@format ? ('--exit-on-error') : ('-qXv', 'ON_ERROR_STOP=1', '-f'),
			@format ? ('-d', $name, $file) : ($file, $name)
		],
		"$name: restore");
	is_same_rows(
		$node->safe_psql($name, $checks),
		$node->safe_psql($from, $checks),
		"$name: the same rows, indexes and answers");
	return;
}

query($node, 'CREATE DATABASE origin');
$node->safe_psql('origin', "CREATE EXTENSION omendb; $schema");
dump_and_restore('plain', 'origin');
dump_and_restore('custom', 'origin', '-Fc');

# the extension in a schema that is not in the search path of the dump
query($node, 'CREATE DATABASE apart');
$node->safe_psql('apart', <<"SQL");
CREATE SCHEMA "Other place";
CREATE EXTENSION omendb WITH SCHEMA "Other place";
ALTER DATABASE apart SET search_path = public, "Other place";
SET search_path = public, "Other place";
$schema
SQL
query($node, 'CREATE DATABASE apart2 TEMPLATE template0');
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f',
		"$folder/apart.sql", 'apart' ], 'extension in a schema: pg_dump');
$node->command_ok([ 'psql', '-h', $node->host, '-p', $node->port,
		'-qXv', 'ON_ERROR_STOP=1', '-f', "$folder/apart.sql", 'apart2' ],
	'extension in a schema: restore');
is_same_rows(
	$node->safe_psql('apart2', "SET search_path = public, \"Other place\"; $checks"),
	$node->safe_psql('apart', $checks),
	'extension in a schema: the same rows, indexes and answers');

# what pg_dump writes for a database with pgvector, the name changed
my $theirs = <<'SQL';
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
SET default_table_access_method = heap;
CREATE TABLE public.items (
    id bigint NOT NULL,
    embedding public.vector(3),
    half public.halfvec(3),
    sparse public.sparsevec(3),
    code bit(3)
);
COPY public.items (id, embedding, half, sparse, code) FROM stdin;
1	[1,2,3]	[1,2,3]	{1:1,3:2}/3	101
2	[4,5,6]	[4,5,6]	{2:1}/3	011
3	\N	\N	\N	\N
\.
CREATE INDEX a ON public.items USING hnsw (embedding public.vector_l2_ops);
CREATE INDEX b ON public.items USING hnsw (embedding public.vector_cosine_ops) WITH (m='8', ef_construction='32');
CREATE INDEX c ON public.items USING hnsw (half public.halfvec_l2_ops);
CREATE INDEX d ON public.items USING hnsw (sparse public.sparsevec_ip_ops);
CREATE INDEX e ON public.items USING hnsw (code public.bit_hamming_ops);
CREATE INDEX f ON public.items USING hnsw (((public.binary_quantize(embedding))::bit(3)) public.bit_jaccard_ops);
SQL
$theirs =~ s/EXISTS vector/EXISTS omendb/;
PostgreSQL::Test::Utils::append_to_file("$folder/theirs.sql", $theirs);
query($node, 'CREATE DATABASE theirs TEMPLATE template0');
$node->command_ok([ 'psql', '-h', $node->host, '-p', $node->port,
		'-qXv', 'ON_ERROR_STOP=1', '-f', "$folder/theirs.sql", 'theirs' ],
	'a pgvector dump restores with only the extension\'s name changed');
is( $node->safe_psql(
		'theirs',
		"SET enable_seqscan = off; SET hnsw.ef_search = 100;"
		  . " SELECT id FROM items ORDER BY embedding <-> '[4,4,4]'"),
	"2\n1",
	'and its index answers, under its setting');

# COPY binary
foreach my $column (qw(v h s b free))
{
	my $file = "$folder/$column.bin";

	$node->safe_psql('origin', <<"SQL");
COPY (SELECT id, $column FROM "Items" ORDER BY id) TO '$file' (FORMAT binary);
CREATE TABLE copied AS SELECT id, $column FROM "Items" WITH NO DATA;
COPY copied FROM '$file' (FORMAT binary);
SQL
	is( $node->safe_psql(
			'origin',
			"SELECT count(*) FROM \"Items\" i JOIN copied c USING (id)"
			  . " WHERE i.$column IS NOT DISTINCT FROM c.$column;"
			  . ' DROP TABLE copied'),
		'211',
		"COPY binary carries column $column");
}

$node->stop;
done_testing();
