# Clients change tables with vector and text indexes while they are copied,
# streamed to a standby and on to another one, and published to a subscriber; a
# standby is promoted with prepared transactions, the old primary is rewound, and
# a copy is recovered to a point in the middle. What was streamed answers the
# same at the same point, and all indexes have every row once.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use Torture;

my $seed = $ENV{OMEN_SEED} || 1;
my $seconds = $ENV{OMEN_ROUND_SECONDS} || 1;
my $clients = 4;
my $round = 0;

note("seed $seed");
srand($seed);

my $primary = PostgreSQL::Test::Cluster->new('first');
$primary->init(allows_streaming => 'logical', has_archiving => 1);
$primary->append_conf('postgresql.conf', <<'CONF');
shared_buffers = 16MB
max_connections = 40
wal_keep_size = 1GB
max_wal_size = 2GB
wal_consistency_checking = 'all'
max_prepared_transactions = 20
autovacuum = off
deadlock_timeout = '100ms'
min_parallel_table_scan_size = 0
restart_after_crash = on
log_statement = none
jit = off
CONF
$primary->start;
query($primary, 'CREATE EXTENSION omendb');
torture_schema($primary);
my @tables = logged_tables();

# Clients at work, and what somebody else does meanwhile. Nobody vacuums but a
# client: so nothing changes when they have stopped.
sub work
{
	my ($node, $meanwhile) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @pids = start_clients($node, 'x' . $round++, $clients, $dir);
	my $until = time + $seconds;

	$meanwhile->($until) if $meanwhile;
	sleep(0.1) while time < $until;
	stop_clients($node, @pids);
	my ($findings) = client_findings($dir, $clients);
	is(join("\n", @$findings), '', 'clients report nothing unexpected');
	settle_prepared($node);
	return;
}

# The nearest rows and the best documents, in order
sub answers
{
	my ($node) = @_;
	my $result = '';

	foreach my $t (@tables)
	{
		my ($order) = lines($node, "SELECT operator FROM kinds WHERE name = '$t'");

		$result .= "$t: " . join(' ', lines($node, index_scan() . <<"SQL")) . "\n";
SELECT id FROM $t ORDER BY v $order (SELECT v FROM $t WHERE v IS NOT NULL ORDER BY id LIMIT 1) LIMIT 60;
SELECT id || ':' || (body <@> 'w1 | w7') FROM $t ORDER BY body <@> 'w1 | w7' LIMIT 60;
SQL
	}
	return $result;
}

sub has_all_rows
{
	my ($node, $name) = @_;

	is(join("\n", map { table_differences($node, $_) } @tables),
		'', "$name: indexes have every row once");
	return;
}

sub is_same
{
	my ($from, $standby, $name) = @_;

	$from->wait_for_catchup($standby);
	is_same_rows(answers($standby), answers($from), "$name: answers as " . $from->name);
	has_all_rows($standby, $name);
	return;
}

# 1. copied while clients write; a standby, and a standby of that
work($primary, sub { $primary->backup('busy') });
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init_from_backup($primary, 'busy', has_streaming => 1);
$second->start;
is_same($primary, $second, 'a standby from a backup among writes');
$second->backup('again');
my $third = PostgreSQL::Test::Cluster->new('third');
$third->init_from_backup($second, 'again', has_streaming => 1);
$third->start;

sub indexes
{
	my ($node, $t) = @_;

	return join(',', lines($node, "SELECT indexrelid FROM pg_index WHERE indrelid = '$t'::regclass AND indisvalid ORDER BY 1"));
}

# 2. scans there while the primary vacuums and uses space again. An index that was
# built concurrently has the rows that its builder saw: with PostgreSQL's own kinds
# as well, older snapshots on a standby miss rows in it that are gone by then. So
# what was read while there came another index is not looked at.
sub read_standbys
{
	my ($until) = @_;
	my $read = 0;
	my @wrong;

	while (time < $until || $read == 0)
	{
		foreach my $standby ($second, $third)
		{
			my $t = $tables[ rand @tables ];
			my $before = indexes($standby, $t);
			my ($code, $out, $err) = $standby->psql('postgres',
				"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT differences('$t', true); COMMIT");

			# replay may cancel a query whose rows vacuum has removed
			next if $code != 0 && $err =~ /conflict with recovery/;
			next if $before ne indexes($standby, $t);
			push @wrong, $standby->name . ": $err$out" if $code != 0 || $out ne '';
			$read++;
		}
	}
	is(join("\n", @wrong), '', "$read times standbys had read every row once");
	return;
}
foreach my $feedback ('off', 'on')
{
	$_->append_conf('postgresql.conf',
		"hot_standby_feedback = $feedback\nmax_standby_streaming_delay = 2s"),
	  $_->reload
	  foreach $second, $third;
	work($primary, \&read_standbys);
	$second->wait_for_catchup($third, 'replay', $primary->lsn('write'));
	is_same($primary, $second, "feedback $feedback, the standby");
	is_same_rows(answers($third), answers($second),
		"feedback $feedback: the standby of a standby answers the same");
	has_all_rows($third, "feedback $feedback, the standby of a standby");
}

# 3. a subscriber with indexes of its own
my $subscriber = new_node('subscriber');
torture_schema($subscriber);
query($subscriber, 'TRUNCATE ' . join(', ', @tables));
query($primary, 'CREATE PUBLICATION changes FOR TABLE ' . join(', ', @tables));
query($subscriber, 'CREATE SUBSCRIPTION changes CONNECTION $c$'
	  . $primary->connstr('postgres') . '$c$ PUBLICATION changes');
$subscriber->wait_for_subscription_sync($primary, 'changes')
  if $subscriber->can('wait_for_subscription_sync');
work($primary);
$primary->wait_for_catchup('changes');
foreach my $t (@tables)
{
	my $rows = "SELECT count(*), sum(hashtext(concat_ws(',', id, k, note, v, body))) FROM $t";

	is(query($subscriber, $rows), query($primary, $rows), "the subscriber has the rows of $t");
}
has_all_rows($subscriber, 'the subscriber');
query($subscriber, 'DROP SUBSCRIPTION changes');
query($primary, 'DROP PUBLICATION changes');
$subscriber->stop;

# 4. a point in the middle of changes, from an older backup
my $middle;
work($primary, sub {
	sleep($seconds / 2);
	$middle = $primary->lsn('insert');
});
query($primary, 'SELECT pg_switch_wal()');
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'busy', has_restoring => 1);
$restored->append_conf('postgresql.conf',
	"recovery_target_lsn = '$middle'\nrecovery_target_action = 'promote'\narchive_mode = off");
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
  or die 'recovery did not end';
settle_prepared($restored);
has_all_rows($restored, 'recovered to the middle');
work($restored);
my ($findings) = table_findings($restored, []);
is(join("\n", @$findings), '', 'recovered to the middle, and gone on from there');
$restored->stop;

# 5. prepared on one server and committed on another, which goes on
query($primary, <<"SQL") foreach @tables;
BEGIN; INSERT INTO $_ (k, note, fate, v, body) VALUES (1, 'kept', '', ${_}_value(), 'kept');
PREPARE TRANSACTION 'kept $_ c';
BEGIN; INSERT INTO $_ (k, note, fate, v, body) VALUES (1, 'undone', 'aborted', ${_}_value(), 'kept');
PREPARE TRANSACTION 'undone $_ r';
SQL
$primary->wait_for_catchup($second);
$second->promote;
query($second, 'CHECKPOINT');    # pg_rewind reads the new timeline from it
settle_prepared($second);
foreach my $t (@tables)
{
	is( query($second, "SET enable_seqscan = off; SET enable_bitmapscan = on; SELECT array_agg(note) FROM $t WHERE body @@ 'kept'"),
		'{kept}',
		"$t: what was prepared is found if it was committed");
}
work($second);
$second->wait_for_catchup($third);
is_same($second, $third, 'the standby of what was promoted');

# 6. the old primary had gone its own way; it is rewound, and follows
settle_prepared($primary);
work($primary);
$primary->stop;
command_ok(
	[
		'pg_rewind', '--source-server', $second->connstr('postgres'),
		'--target-pgdata', $primary->data_dir, '--no-sync',
		'--config-file', $primary->data_dir . '/postgresql.conf'
	],
	'pg_rewind');
$primary->append_conf('postgresql.conf', 'port = ' . $primary->port
	  . "\nunix_socket_directories = '" . $primary->host . "'\narchive_mode = off");
$primary->enable_streaming($second);
$primary->set_standby_mode;
$primary->start;
work($second);
is_same($second, $primary, 'the rewound primary');

foreach my $node ($primary, $second, $third)
{
	unlike(slurp_file($node->logfile), qr/inconsistent page found|PANIC|TRAP|terminated by signal|XX00/,
		$node->name . ': every replayed page equals the original');
	$node->stop;
}
done_testing();
