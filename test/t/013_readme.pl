# Every SQL statement of the README runs as printed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my @blocks = $readme =~ /^```sql\n(.*?)^```/msg;
my $node = new_node('readme');

cmp_ok(scalar @blocks, '>', 10, 'the README has statements');
foreach my $number (0 .. $#blocks)
{
	my ($status, $stdout, $stderr) =
	  $node->psql('postgres', $blocks[$number], on_error_stop => 1);

	is($status, 0, "block $number runs") or diag("$blocks[$number]$stderr");
}

$node->stop;
done_testing();
