# What ranking is worth on SciFact, which travels with the source: nDCG@10 by text,
# by vectors, and by both with weights that were tuned on the other half of the
# queries.

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = "$FindBin::RealBin/../../bench/data/scifact";
plan skip_all => 'no data' if !-e "$folder/corpus.jsonl.gz";

sub tabbed
{
	my ($name) = @_;
	my @lines = split /\n/, slurp_file("$folder/$name");

	return map { [ split /\t/ ] } @lines[ 1 .. $#lines ];
}

sub copied
{
	return join('', map { join("\t", map { s/[\\\t\r\n]/ /gr } @$_) . "\n" } @_) . "\\.\n";
}

my @documents = map { decode_json($_) } split /\n/, unzip_file("$folder/corpus.jsonl.gz");
my @doc_vectors = numpy_vectors("$folder/lsa_docs.f16.npy.gz");
my @queries = tabbed('queries.tsv');
my @query_vectors = numpy_vectors("$folder/lsa_queries.f16.npy.gz");
my $node = new_node('quality');

query($node, 'CREATE TABLE docs (key text, body text, emb vector(256), tsv tsvector);'
	  . 'CREATE TABLE claims (n int, id text, body text, emb vector(256), query tsquery, grades jsonb);'
	  . 'CREATE TABLE judged (id text, key text, grade int)');
binmode_copy('docs (key, body, emb)',
	map { [ $documents[$_]{_id}, "$documents[$_]{title} $documents[$_]{text}", $doc_vectors[$_] ] } 0 .. $#documents);
binmode_copy('claims (n, id, body, emb)', map { [ $_, @{ $queries[$_] }, $query_vectors[$_] ] } 0 .. $#queries);
binmode_copy('judged', tabbed('qrels.tsv'));

sub binmode_copy
{
	my ($table, @rows) = @_;
	my $sql = "COPY $table FROM STDIN;\n" . copied(@rows);

	utf8::encode($sql) if utf8::is_utf8($sql);
	query($node, $sql);
	return;
}

query($node, <<'SQL');
UPDATE docs SET tsv = to_tsvector('english', body);
UPDATE claims SET query = (SELECT string_agg(quote_literal(l), ' | ')::tsquery
    FROM unnest(tsvector_to_array(to_tsvector('english', body))) l),
  grades = (SELECT jsonb_object_agg(key, grade) FROM judged WHERE judged.id = claims.id);
CREATE INDEX ON docs USING omenhnsw (emb vector_cosine_ops);
CREATE INDEX ON docs USING omenbm25 (tsv);
VACUUM ANALYZE docs;
SQL

sub ndcg
{
	my ($order, $which) = @_;

	return query($node, "SELECT avg(omen_ndcg(ARRAY(SELECT key FROM docs ORDER BY $order LIMIT 10), grades, 10))"
		  . " FROM claims q WHERE $which");
}

my ($vector, $text) = ('emb <=> q.emb', 'tsv <@> q.query');
my $by_text = ndcg($text, 'true');
my $by_vector = ndcg($vector, 'true');
my $by_both = 0;

cmp_ok($by_text, '>=', 0.690, "nDCG\@10 by text: $by_text");
cmp_ok($by_vector, '>=', 0.52, "by vectors: $by_vector");
foreach my $half (0, 1)
{
	my $from = "FROM claims WHERE n % 2 <> $half";
	my ($fusion, $weights) = split /\|/, query($node, <<"SQL");
SELECT fusion, weights FROM hybrid_tune('docs', 'key', 'emb', (SELECT array_agg(emb ORDER BY n) $from),
  'tsv', (SELECT array_agg(query ORDER BY n) $from), (SELECT array_agg(grades ORDER BY n) $from),
  fusions => '{minmax,zscore}', steps => 5) LIMIT 1
SQL
	note("tuned: $fusion $weights");
	$by_both += ndcg("fuse($vector, $text, norm => '$fusion', weights => '$weights')", "n % 2 = $half") / 2;
}
cmp_ok($by_both, '>=', $by_text - 0.005, "by both, weights tuned on the other half: $by_both");

$node->stop;
done_testing();
