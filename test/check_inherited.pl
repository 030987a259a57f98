# Every test that INHERITED.md names is there, and has in it what is quoted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use Test::More;

my %folder = (t => 't', specs => 'specs', unit => 'unit', sql => '../sql');
my %suffix = (t => '.pl', specs => '.spec', unit => '', sql => '.sql');
my (%rows, @problems);

sub read_file
{
	my ($file) = @_;

	local $/;
	open(my $handle, '<', $file) or return undef;
	return <$handle>;
}

foreach my $line (split /\n/, read_file("$FindBin::RealBin/INHERITED.md"))
{
	my ($number, $bug, $cell) = $line =~ /^\| (\d+) \| (.*?) \| (.*) \|$/ or next;

	$rows{$number} = 1;
	push @problems, "$number names nothing" if length($cell) < 20;
	while ($cell =~ m{\b(t|specs|unit|sql)/([\w.-]+)((?:,? "[^"]+")*)}g)
	{
		my ($kind, $name, $quotes) = ($1, $2, $3);
		my $source = read_file("$FindBin::RealBin/$folder{$kind}/$name$suffix{$kind}");

		push @problems, "$number: there is no $kind/$name" if !defined $source;
		foreach my $quoted ($quotes =~ /"([^"]+)"/g)
		{
			push @problems, "$number: $kind/$name has no \"$quoted\""
			  if defined $source && index($source, $quoted) < 0;
		}
	}
}
is(join(' ', sort { $a <=> $b } keys %rows), join(' ', 1 .. 43), 'every bug of the list is there');
is_deeply(\@problems, [], 'and every test that is named');
diag(join("\n", @problems)) if @problems;
done_testing();
