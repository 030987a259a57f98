# Clients change tables with vector and text indexes of all kinds while backends
# are paused, cancelled, terminated, killed, and run out of memory or of disk, and
# the server is killed, stopped at once, or stopped as usual. After each round
# every committed row is found through each index exactly once and no other,
# and indexes are whole.
#
#   make torture ROUNDS=200			more rounds than in the everyday run
#   make torture SEED=7 ROUND=12	that round again
#
# OMEN_SMALL_DISK names an empty folder on a file system of 64 MB or so, which is
# filled up in some rounds ("make torture" makes one if it is root).

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use Torture;

plan skip_all => 'needs /proc' if !-r '/proc/self/statm';

my $rounds = $ENV{OMEN_ROUNDS} || 6;
my $first = $ENV{OMEN_ROUND} || 1;
my $seed = $ENV{OMEN_SEED} || 1;
my $seconds = $ENV{OMEN_ROUND_SECONDS} || 2;
my $clients = $ENV{OMEN_CLIENTS} || 6;
my $disk = $ENV{OMEN_SMALL_DISK};

# The end of each round, in turn: so few rounds have all of them
my @ends = ('kill backend', 'kill postmaster', 'memory', 'immediate stop', 'file size', 'full disk', 'fast stop', 'none');
@ends = grep { $_ ne 'memory' } @ends if memory_is_watched();

note("seed $seed");
$rounds = 1 if $ENV{OMEN_ROUND};

my $node = PostgreSQL::Test::Cluster->new('torture');
$node->init(extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', <<'CONF');
shared_buffers = 8MB
autovacuum_naptime = 1
autovacuum_vacuum_threshold = 20
autovacuum_vacuum_cost_delay = 0
deadlock_timeout = '50ms'
max_prepared_transactions = 20
min_parallel_table_scan_size = 0
restart_after_crash = on
log_statement = none
jit = off
wal_level = replica
CONF
$node->append_conf('postgresql.conf', 'omendb.simd = generic') if $seed % 3 == 0;
$node->start;
query($node, 'CREATE EXTENSION omendb');
if ($disk)
{
	mkdir "$disk/space$$" or die "$disk: $!";
	query($node, "CREATE TABLESPACE small LOCATION '$disk/space$$'");
}
torture_schema($node, $disk);

my %counts;
my %errors;
my $rows = 0;
my $wal_level = 'replica';
my $nfindings = 0;

sub count
{
	my (%more) = @_;

	$counts{$_} += $more{$_} foreach keys %more;
	return;
}

# Leave so many bytes of the small disk
sub fill_disk
{
	my ($left) = @_;
	my ($free) = `df -B1 --output=avail '$disk'` =~ /(\d+)/;

	open(my $out, '>', "$disk/filler") or die "filler: $!";
	for (my $n = $free - $left; $n > 0; $n -= 65536)
	{
		syswrite($out, "\0" x ($n < 65536 ? $n : 65536)) or last;
	}
	close $out;
	return;
}

# End a round, one way or the other
sub end_round
{
	my ($end) = @_;

	if ($end eq 'kill backend')
	{
		my @there = grep { $_->{title} !~ /logger/ } server_processes($node);
		my @backends = backends($node);

		@there = @backends if @backends && rand() < 0.7;
		if (@there)
		{
			my $victim = $there[ rand @there ];

			kill 'KILL', $victim->{pid};
			note("killed $victim->{title}");
		}
	}
	elsif ($end eq 'kill postmaster')
	{
		kill_server($node);
	}
	elsif ($end =~ /^(\w+) stop/)
	{
		$node->stop($1);
	}
	return;
}

sub restart_server
{
	my ($end) = @_;

	unlink "$disk/filler" if $disk;
	change_wal_level() if $end eq 'fast stop';
	start_after_kill($node) if $end =~ /postmaster|stop/;
	# it restarts by itself after a backend was killed
	foreach my $try (1 .. 600)
	{
		last if $node->psql('postgres', 'SELECT 1') == 0;
		BAIL_OUT('the server does not come back') if $try == 600;
		sleep(0.1);
	}
	return;
}

# A shutdown leaves nothing to replay, so what is logged can change.
sub change_wal_level
{
	$wal_level = $wal_level eq 'replica' ? 'minimal' : 'replica';
	$node->append_conf('postgresql.conf', "wal_level = $wal_level");
	return;
}

# Settings that change what is written to WAL. The server compares replayed pages
# of relations that are dropped later as well, and fails if it has not all of
# their pages: when not all were logged, or images of them had been left out before
# the last checkpoint.
sub change_settings
{
	my $compression = 'wal_compression = ' . (rand() < 0.3 ? 'on' : 'off');
	my $images = $wal_level eq 'replica' || rand() < 0.5 ? 'on' : 'off';

	set_conf($compression, "full_page_writes = $images", "wal_consistency_checking = ''");
	return if $wal_level ne 'replica' || rand() < 0.5;
	query($node, 'CHECKPOINT');
	set_conf("wal_consistency_checking = 'generic'");
	return;
}

sub set_conf
{
	$node->append_conf('postgresql.conf', join("\n", @_, ''));
	$node->reload;
	return;
}

# the first of them, one a line
sub some
{
	my (@findings) = @_;
	my $n = @findings;

	splice(@findings, 20, $n - 20, "... of $n") if $n > 20;
	return join("\n", @findings);
}

# The faults in a server's log. Who waits for parallel workers when the postmaster
# dies gives up half-way in the end of its transaction, which a server with
# assertions does not allow itself.
sub server_findings
{
	my ($log) = @_;
	my %orphans = map { $_ => 1 } $log =~ /\[(\d+)\] .*postmaster exited during a parallel transaction/g;
	my @lines = $log =~ /^(.*(?:PANIC|TRAP|terminated by signal (?!9)|inconsistent page|XX00).*)$/mg;

	return map { "server: $_" }
	  grep { !(/TRAP: .*"pgstat\.c".*PID: (\d+)/ && $orphans{$1}) } @lines;
}

sub run_round
{
	my ($round) = @_;
	my $end = $ends[ ($round - 1) % @ends ];
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my %weights = (pause => 8, cancel => 4, terminate => 1, nice => 1);
	my $logged = -s $node->logfile;
	my @findings;

	srand($seed * 10007 + $round);
	if ($end eq 'full disk' && !$disk)
	{
		$counts{'full disk skipped'}++;
		$end = 'file size';
	}
	change_settings();
	$weights{memory} = 20 if $end eq 'memory';
	$weights{filesize} = 40 if $end eq 'file size';
	my @pids = start_clients($node, $round, $clients, $dir);
	my $time = $seconds * (0.5 + rand);
	if ($end eq 'full disk')
	{
		count(disturb($node, $time / 3, %weights));
		fill_disk(int rand 400000);
		count(disturb($node, 2 * $time / 3, %weights));
	}
	else
	{
		count(disturb($node, $time, %weights));
	}
	end_round($end);
	count($end => 1);
	stop_clients($node, @pids);
	restart_server($end);
	query($node, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = $$client backend$$');
	count('prepared' => settle_prepared($node));

	# what a build concurrently left behind when it was cut off
	my @invalid = lines($node, 'SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid');
	@invalid = (@invalid, lines($node, "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname ~ '_(more|text|ccnew[0-9]*|ccold[0-9]*)\$'"));
	query($node, "DROP INDEX IF EXISTS $_") foreach @invalid;

	my ($reported, $committed, $states) = client_findings($dir, $clients);
	push @findings, @$reported;
	$errors{$_} += $states->{$_} foreach keys %$states;
	count('committed' => scalar @$committed);
	my ($different, $n, $warnings) = table_findings($node, $committed);
	push @findings, @$different;
	$rows += $n;
	count(warnings => scalar @$warnings);
	note(some(@$warnings)) if @$warnings;

	push @findings, server_findings(substr(slurp_file($node->logfile), $logged));
	is(some(@findings), "", "seed $seed, round $round ($end): $n rows");
	diag("logs of clients in $dir") if @findings;
	$nfindings += @findings;
	return;
}

run_round($_) foreach $first .. $first + $rounds - 1;
my $list = sub {
	my (%h) = @_;
	join(', ', map { "$_ $h{$_}" } sort keys %h);
};
note("figures: seed $seed, $rounds rounds, $rows rows compared, $nfindings findings");
note('figures: ' . $list->(%counts));
note('figures: errors of clients by SQLSTATE: ' . $list->(%errors));
$node->stop;
done_testing();
