# Rows inserted in an order of their own: groups of near copies, one after the
# other.  Where searches begin, and what they find.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = 8192;
my $entry_kind = 3;
my $full = 1024;				# entries in a list of short vectors
my $rows = 12500;

my $node = new_node('inserted');

query($node, q{
	SELECT setseed(0.3);
	CREATE TABLE groups AS SELECT g, ARRAY(SELECT random() - 0.5
		FROM generate_series(1, 32) AS i WHERE i > 0 * g)::real[] AS c
		FROM generate_series(1, 500) AS g;
	CREATE TABLE askers AS SELECT q AS id, ARRAY(SELECT random() - 0.5
		FROM generate_series(1, 32) AS i WHERE i > 0 * q)::real[]::vector(32) AS v
		FROM generate_series(1, 200) AS q;
	CREATE TABLE copies AS SELECT g, i, ARRAY(SELECT x + 0.02 * (random() - 0.5)
		FROM unnest(c) AS x WHERE i > 0)::real[]::vector(32) AS v
		FROM groups, generate_series(1, 25) AS i;
	ANALYZE askers});

# Numbers of the nodes in a full list; an entry begins with its link, and the
# metapage tells how long an entry is
sub entry_numbers
{
	my ($index) = @_;
	my $path = query($node, "CHECKPOINT; SELECT pg_relation_filepath('$index')");
	my $bytes = slurp_file($node->data_dir . "/$path", 0);
	my ($size) = map { unpack 'V' }
	  substr($bytes, 0, $page) =~ /(.{4})\Q@{[pack 'VV', $full, $full]}\E/s;
	my @numbers;

	foreach my $block (find_kind(\$bytes, $entry_kind))
	{
		push @numbers,
		  map { unpack('V', substr($bytes, $block * $page + 24 + $_ * $size, 4)) & 0x0FFFFFFF }
		  0 .. int(($page - 48) / $size) - 1;
	}
	return @numbers[0 .. $full - 1];
}

# Without any of the two things that this is about .76, .68 and .64, if only searches
# begin everywhere .88, .94 and .71, and with both .90 to .96, .91 to .96 and .76 to .80.
# The session that has inserted the rows found .70 to .74 when it went on to begin with
# the first that it had seen.
my %least = (l2 => 0.88, cosine => 0.85, ip => 0.68);
my %least_same = (l2 => 0.84, cosine => 0.80, ip => 0.66);

foreach my $metric (sort keys %least)
{
	my @search = (
		table => $metric,
		queries => 'askers',
		operator => $OPERATORS{vector}{$metric},
		settings => 'SET omenhnsw.ef_search = 10');
	my ($same) = recall(
		$node, @search,
		before => "CREATE TABLE $metric (id int, v vector(32));"
		  . " CREATE INDEX i$metric ON $metric USING omenhnsw (v vector_${metric}_ops);"
		  . " INSERT INTO $metric SELECT 25 * g + i, v FROM copies ORDER BY g, i");
	my ($recall) = recall($node, @search);

	cmp_ok($same, '>=', $least_same{$metric}, "$metric: recall $same of the session that inserted");
	cmp_ok($recall, '>=', $least{$metric}, "$metric: recall $recall of another one");
	if ($metric ne 'ip')
	{
		my $early = grep { $_ < $rows / 2 } entry_numbers("i$metric");

		cmp_ok($early, '>', $full / 3, "$metric: $early entries of $full among the older half");
	}
	is(query($node, "SELECT count(*) FROM omen_verify_index('i$metric', true)"),
		0, "$metric: no findings");
}

$node->stop;
done_testing();
