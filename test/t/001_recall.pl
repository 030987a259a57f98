# Recall of every operator class, for an index that came to be in every way:
# serial build, parallel build, build in little memory, and inserts alone; on
# random and on clustered data. Results are complete and in order each time.
# The same for product codes, which are the coarsest.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 2500;
my %dim = (vector => 24, halfvec => 24, sparsevec => 40, bit => 96);

# name, settings, whether rows come after the index
my @modes = (
	[ 'serial build', "SET max_parallel_maintenance_workers = 0", 0 ],
	[ 'parallel build', "SET max_parallel_maintenance_workers = 2", 0 ],
	[ 'build in 1 MB', "SET maintenance_work_mem = '1MB'", 0 ],
	[ 'inserts', "SET max_parallel_maintenance_workers = 0", 1 ]);

my $node = new_node('recall');

sub check_index
{
	my ($type, $metric, $kind, $mode, $quantizer) = @_;
	my ($name, $settings, $insert) = @$mode;
	my $operator = $OPERATORS{$type}{$metric};
	my $label = "$type $metric, $kind data, $name, $quantizer codes";
	my $target = $insert ? 'inserted' : 'items';

	query($node,
		"DROP TABLE IF EXISTS inserted; CREATE TABLE inserted (LIKE items)")
	  if $insert;
	query($node,
		"$settings; DROP INDEX IF EXISTS idx;"
		  . " CREATE INDEX idx ON $target USING omenhnsw (v ${type}_${metric}_ops)"
		  . " WITH (quantizer = $quantizer)");
	query($node, "INSERT INTO inserted TABLE items") if $insert;

	my ($recall, $lacking, $disorder) = recall(
		$node,
		table => $target,
		queries => 'queries',
		operator => $operator,
		settings => 'SET omenhnsw.ef_search = 100');

	cmp_ok($recall, '>=', 0.95, "$label: recall $recall");
	is("$lacking $disorder", '0 0', "$label: complete and in order");
	return;
}

foreach my $type (qw(vector halfvec sparsevec bit))
{
	foreach my $kind (qw(random clustered))
	{
		my %data = (type => $type, dim => $dim{$type}, kind => $kind);

		load_rows($node, 'items', %data, rows => $rows);
		load_queries($node, 'queries', %data);
		query($node, 'ALTER TABLE items SET (parallel_workers = 2); ANALYZE items');
		foreach my $metric (sort keys %{ $OPERATORS{$type} })
		{
			check_index($type, $metric, $kind, $_, 'auto') foreach @modes;
			if ($type =~ /vec/ && $type !~ /sparse/ && $metric ne 'l1')
			{
				check_index($type, $metric, $kind, $_, 'pq') foreach @modes;
			}
			ok( uses_index(
					$node,
					'idx',
					"SELECT id FROM inserted ORDER BY v $OPERATORS{$type}{$metric}"
					  . " (SELECT v FROM queries LIMIT 1) LIMIT 10"),
				"$type $metric, $kind data: the index was used");
		}
	}
}

$node->stop;
done_testing();
