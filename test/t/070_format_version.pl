# An index whose metapage says another format version, as after an upgrade of
# the library: whatever reads or changes it is refused with an error that names
# both versions and says REINDEX, checks find that, and REINDEX is all it takes.
# The table itself is read on by whoever does without the index.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# bytes of the metapage before its version: page header and magic number
my $version_offset = 24 + 4;

my $node = new_node('format', without_checksums => 1);

query($node, <<'SQL');
CREATE TABLE items (id int, kind int, v vector(4));
INSERT INTO items SELECT i, i % 5, ARRAY[i, i % 7, i % 11, 1]::vector FROM generate_series(1, 300) i;
CREATE INDEX items_v ON items USING omenhnsw (v vector_l2_ops, kind);
CREATE TABLE docs (id int, body tsvector);
INSERT INTO docs SELECT i, to_tsvector('simple', 'word w' || i % 10) FROM generate_series(1, 300) i;
CREATE INDEX docs_body ON docs USING omenbm25 (body);
SQL

my %answers = (
	items => "SELECT id FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 5",
	docs => "SELECT id FROM docs ORDER BY body <@> 'w3 | word'::tsquery, id LIMIT 5");

# statements that open the index of each table
my %uses = (
	items => {
		scan => $answers{items},
		'filtered scan' =>
		  "SELECT id FROM items WHERE kind = 3 ORDER BY v <-> '[1,2,3,4]' LIMIT 5",
		insert => "INSERT INTO items VALUES (0, 1, '[1,2,3,4]')",
		update => "UPDATE items SET v = '[0,0,0,1]' WHERE id = 7",
		vacuum => 'VACUUM items',
		statistics => "SELECT * FROM omen_index_stats('items_v')",
		recall => "SELECT omen_recall('items_v', 5, 5)"
	},
	docs => {
		scan => "SELECT id FROM docs ORDER BY body <@> 'w3 | word'::tsquery LIMIT 5",
		match => "SELECT id FROM docs WHERE body @@ 'w3'::tsquery",
		insert => "INSERT INTO docs VALUES (0, 'word')",
		update => "UPDATE docs SET body = 'word' WHERE id = 7",
		vacuum => 'VACUUM docs',
		statistics => "SELECT * FROM bm25_stats('docs_body')",
		'statistics for a query' => "SELECT bm25_stats_for('docs_body', 'w3'::tsquery)"
	});

# checks, each true if it finds that something is wrong
my %checks = (
	items => {
		map => "omen_tid_map_problems('items_v') > 0",
		keys => "omen_key_problems('items_v') > 0"
	},
	docs => { all => "bm25_problems('docs_body') IS NOT NULL" });

# Overwrite the version in the index's file, returns the one before.
sub set_version
{
	my ($index, $version) = @_;
	my $path =
	  $node->data_dir . '/' . query($node, "SELECT pg_relation_filepath('$index')");
	my $before;

	$node->stop;
	open my $file, '+<:raw', $path or die "$path: $!";
	seek $file, $version_offset, 0;
	read $file, $before, 4;
	seek $file, $version_offset, 0;
	print $file pack 'L', $version;
	close $file;
	$node->start;
	return unpack 'L', $before;
}

# error text of statements, with its hint
sub error_of
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql(
		'postgres',
		"\\set VERBOSITY verbose\nSET enable_seqscan = off; SET enable_sort = off;\n$sql",
		stdout => \$out,
		stderr => \$err);
	return $err;
}

foreach my $table (qw(items docs))
{
	my $index = $table eq 'items' ? 'items_v' : 'docs_body';
	my ($before, $version);

	query($node, "DELETE FROM $table WHERE id = 9");
	$before = query($node, index_scan() . $answers{$table});
	$version = set_version($index, 0);

	ok($version > 0 && $version < 100, "$index: the version is where it should be");
	foreach my $other ($version - 1, $version + 1)
	{
		set_version($index, $other);
		foreach my $use (sort keys %{ $uses{$table} })
		{
			like(
				error_of($uses{$table}->{$use}),
				qr/ERROR:  XX002: index "$index" has format version $other, this version of omendb reads $version\nHINT:  Rebuild it with REINDEX INDEX $index/,
				"$index of version $other: $use is refused");
		}
		like(
			query($node, "SELECT severity || ' ' || detail FROM omen_verify_index('$index')"),
			qr/error .*format version $other, this version of omendb reads $version/,
			"$index of version $other: omen_verify_index() finds it");
		is(query($node, "SELECT $checks{$table}->{$_}"),
			't', "$index of version $other: check of $_ finds it")
		  foreach sort keys %{ $checks{$table} };
		is(query($node, "SELECT count(*) FROM $table"),
			'299',
			"$index of version $other: the table is read without it");

		query($node, "REINDEX INDEX $index");
		is_same_rows(query($node, index_scan() . $answers{$table}),
			$before, "$index of version $other: REINDEX makes it answer as before");
	}
}

$node->stop;
done_testing();
