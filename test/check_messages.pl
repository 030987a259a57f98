# Messages of the source as PostgreSQL writes them: an error has a code; the primary
# message begins in lower case, is one line and no sentence; detail and hint are sentences.

use strict;
use warnings FATAL => 'all';

use File::Find;
use FindBin;
use Test::More;

my @files;
my ($reports, $messages) = (0, 0);
my @problems;

find({ no_chdir => 1, wanted => sub { push @files, $_ if /\.[ch]$/ } },
	"$FindBin::RealBin/../src");

# a string of several, joined
my $literal = qr/(?:"(?:[^"\\]|\\.)*"|\s|U?INT64_FORMAT)+/;

# the arguments of a call that begins here, up to its closing parenthesis
my $arguments;
$arguments = qr/\((?:"(?:[^"\\]|\\.)*"|[^()"]|(??{$arguments}))*\)/;

sub read_file
{
	my ($file) = @_;

	local $/;
	open(my $handle, '<', $file) or die "could not open $file: $!";
	return <$handle>;
}

sub problem
{
	my ($file, $text, $what) = @_;

	$file =~ s{.*/src/}{};
	push @problems, "$file: $what: " . substr($text =~ s/\s+/ /gr, 0, 120);
}

foreach my $file (sort @files)
{
	my $source = read_file($file);

	while ($source =~ /\b(ereport|errsave)\s*($arguments)/g)
	{
		my ($call, $body) = ($1, $2);

		next if $body =~ /__VA_ARGS__|\.\.\.\)/;
		$reports++;
		problem($file, $body, 'no errcode')
		  if $body !~ /\berrcode\w*\s*\(/
		  && ($call eq 'errsave' || $body =~ /^\(\s*ERROR/);
	}
	while ($source =~ /\b(errmsg|errdetail|errhint|GUC_check_err(?:msg|detail|hint))(?:_internal|_plural)?\s*\(\s*(?:_\()?($literal)/g)
	{
		my ($kind, $strings) = ($1, $2);
		my $text = join('', $strings =~ /"((?:[^"\\]|\\.)*)"/g);

		next if $text =~ /^(?:%s)?$/;
		$messages++;
		problem($file, $text, 'a line break') if $text =~ /\\n/;
		if ($kind =~ /msg$/)
		{
			problem($file, $text, 'begins with a capital') if $text =~ /^[A-Z][a-z]/ && $text !~ /^NaN/;
			problem($file, $text, 'ends with a full stop') if $text =~ /\.$/;
			next;
		}
		problem($file, $text, 'no sentence') if $text !~ /[.?]$/;
		problem($file, $text, 'begins in lower case') if $text =~ /^[a-z]+ /;
	}
}

cmp_ok($reports, '>', 80, "$reports reports");
cmp_ok($messages, '>', 120, "$messages messages");
is_deeply(\@problems, [], 'all as they should be');
done_testing();
