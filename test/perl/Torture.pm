# Torture of a server: clients that change tables with indexes of all kinds at
# random, disturbances of their backends and of the server, and the comparison
# of what indexes return with what the tables have.
#
# What is done, to whom and when follows from a seed. What comes of it depends
# on the machine as well, so a seed repeats a round only roughly.

package Torture;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use POSIX ();
use OmenTest;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(torture_schema logged_tables table_differences start_clients stop_clients client_findings
  disturb server_processes limit_process backends settle_prepared table_findings);

# Tables, and what of each the others do not have. "value" makes a vector of
# two numbers, so that there are equal ones, near ones and far ones.
my %tables = (
	plain => {
		type => 'vector(8)', order => '<->',
		index => '(v vector_l2_ops) WITH (m = 4, ef_construction = 16)'
	},
	keyed => {
		type => 'vector(8)', order => '<#>',
		index => '(v vector_ip_ops, k, note) WITH (m = 6, ef_construction = 16)'
	},
	half => {
		type => 'halfvec(12)', order => '<=>',
		index => '(v halfvec_cosine_ops) WITH (m = 8, ef_construction = 16)'
	},
	coded => {
		type => 'vector(16)', order => '<->',
		index => '(v vector_l2_ops) WITH (m = 8, quantizer = pq)'
	},
	long => {
		type => 'vector(2500)', order => '<+>',
		index => '(v vector_l1_ops) WITH (m = 4, ef_construction = 16)'
	},
	passing => {
		type => 'vector(8)', order => '<->', unlogged => 1,
		index => '(v vector_l2_ops) WITH (m = 4, ef_construction = 16)'
	});
my @names = sort keys %tables;

# rows of a table that are not deleted at once
my %most = (long => 150);
my $most = 700;

# SQLSTATEs that disturbances cause
my %expected = map { $_ => 1 } (
	'08006',    # connection_failure
	'25P02',    # in_failed_sql_transaction
	'3B001',    # invalid_savepoint_specification, likewise
	'40001',    # serialization_failure
	'40P01',    # deadlock_detected
	'42704',    # undefined_object: somebody has dropped the index
	'42P07',    # duplicate_table: somebody has created the index
	'53100',    # disk_full
	'53200',    # out_of_memory
	'53300',    # too_many_connections
	'55006',    # object_in_use
	'55P03',    # lock_not_available
	'57014',    # query_canceled
	'57P01',    # admin_shutdown
	'57P02',    # crash_shutdown
	'57P03');   # cannot_connect_now

# the tables that standbys have, too
sub logged_tables
{
	return grep { !$tables{$_}{unlogged} } @names;
}

sub torture_schema
{
	my ($node, $space) = @_;
	my $sql = '';

	$space = $space ? 'TABLESPACE small' : '';
	foreach my $name (@names)
	{
		my %t = %{ $tables{$name} };
		my ($dims) = $t{type} =~ /(\d+)/;
		my $unlogged = $t{unlogged} ? 'UNLOGGED' : '';

		$sql .= <<"SQL";
CREATE $unlogged TABLE $name (id bigserial PRIMARY KEY, k int, note text, fate text, v $t{type}, body tsvector) $space;
CREATE FUNCTION ${name}_value() RETURNS $t{type} LANGUAGE sql VOLATILE AS \$\$
	SELECT (array_fill((1 + random() * 4)::int::real, ARRAY[$dims - 2])
		|| ARRAY[CASE WHEN random() < 0.5 THEN 1 ELSE random() * 5 END, random()]::real[])::vector::$t{type} \$\$;
INSERT INTO $name (k, note, v, body)
	SELECT i % 7, 'note ' || i % 5, ${name}_value(), random_document(20) FROM generate_series(1, 300) i;
CREATE INDEX ${name}_v ON $name USING omenhnsw $t{index} $space;
CREATE INDEX ${name}_body ON $name USING omenbm25 (body) WITH (pending_list_limit = 64) $space;
INSERT INTO kinds VALUES ('$name', '$t{order}');
SQL
	}
	query($node, <<"SQL");
CREATE FUNCTION random_document(words int) RETURNS tsvector LANGUAGE sql VOLATILE AS \$\$
SELECT to_tsvector('simple', string_agg('w' || floor(120 * power(random(), 2)), ' '))
FROM generate_series(1, 1 + (random() * words)::int) \$\$;
CREATE TABLE kinds (name text, operator text);
CREATE TABLE ledger (gid text PRIMARY KEY);

-- Count and digest of what a query returns, as the settings have it planned
CREATE FUNCTION digest(q text, by_index bool) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	result text;
BEGIN
	PERFORM set_config('enable_seqscan', (NOT by_index)::text, true),
		set_config('enable_sort', (NOT by_index)::text, true),
		set_config('enable_indexscan', by_index::text, true),
		set_config('enable_bitmapscan', by_index::text, true);
	EXECUTE 'SELECT concat_ws('' '', count(*), count(DISTINCT id), sum(hashtext(concat_ws('','', id, k, note, fate, md5(v::text), body)))) FROM ('
		|| q || ') s' INTO result;
	RETURN result;
END \$\$;

-- The same, fetched bit by bit, with time in between for others
CREATE FUNCTION fetched(q text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	c refcursor;
	r record;
	n bigint := 0;
	digest numeric;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
		set_config('enable_indexscan', 'on', true);
	OPEN c FOR EXECUTE 'SELECT hashtext(concat_ws('','', id, k, note, fate, md5(v::text), body)) AS h FROM ('
		|| q || ') s';
	LOOP
		FETCH c INTO r;
		EXIT WHEN NOT FOUND;
		digest := coalesce(digest, 0) + r.h;
		n := n + 1;
		IF n % 100 = 50 THEN PERFORM pg_sleep(0.02); END IF;
	END LOOP;
	CLOSE c;
	RETURN concat_ws(' ', n, n, digest);
END \$\$;

-- What differs between a table and its indexes, in one snapshot
CREATE FUNCTION differences(t text, slowly bool) RETURNS SETOF text LANGUAGE plpgsql AS \$\$
DECLARE
	q text;
	there text;
	found text;
	near text := format(' ORDER BY v %s (SELECT %s_value())', (SELECT operator FROM kinds WHERE name = t), t);
BEGIN
	IF current_setting('transaction_isolation') <> 'repeatable read' THEN RAISE 'in no snapshot'; END IF;
	there := digest('SELECT * FROM ' || t || ' WHERE v IS NOT NULL', false);
	found := digest('SELECT * FROM ' || t || near, true);
	IF found <> there THEN RETURN NEXT format('%s by vector: %s, found %s', t, there, found); END IF;
	found := CASE WHEN slowly THEN fetched('SELECT * FROM ' || t || near) ELSE there END;
	IF found <> there THEN RETURN NEXT format('%s by vector, slowly: %s, found %s', t, there, found); END IF;
	there := digest('SELECT * FROM ' || t || ' WHERE body IS NOT NULL', false);
	found := digest('SELECT * FROM ' || t || ' ORDER BY body <@> ''w3 | w90''', true);
	IF found <> there THEN RETURN NEXT format('%s by rank: %s, found %s', t, there, found); END IF;
	found := CASE WHEN slowly THEN fetched('SELECT * FROM ' || t || ' ORDER BY body <@> ''w1''') ELSE there END;
	IF found <> there THEN RETURN NEXT format('%s by rank, slowly: %s, found %s', t, there, found); END IF;
	FOREACH q IN ARRAY ARRAY['w2', 'w1 & !w4', 'w50 | w9 | w118'] LOOP
		q := format('SELECT * FROM %s WHERE body @@ %L', t, q);
		there := digest(q, false);
		found := digest(q, true);
		IF found <> there THEN RETURN NEXT format('%s: %s, found %s', q, there, found); END IF;
	END LOOP;
	FOREACH q IN ARRAY ARRAY['k = 3', 'k BETWEEN 1 AND 2 AND note = ''note 4''', 'note IS NULL'] LOOP
		q := format('SELECT * FROM %s WHERE v IS NOT NULL AND %s', t, q);
		there := digest(q, false);
		found := digest(q || near, true);
		IF found <> there THEN RETURN NEXT format('%s: %s, found %s', q, there, found); END IF;
	END LOOP;
	found := digest('SELECT * FROM ' || t || ' WHERE fate = ''aborted''', false);
	IF found NOT LIKE '0 %' THEN RETURN NEXT format('%s has aborted rows: %s', t, found); END IF;
END \$\$;
CREATE FUNCTION check_rows(t text) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
	IF EXISTS (SELECT FROM differences(t, true)) THEN
		RAISE 'FINDING %', (SELECT string_agg(d, '; ') FROM differences(t, true) d);
	END IF;
END \$\$;
$sql
SQL
	return;
}

# --- what clients do ---

sub pick
{
	return $_[ int rand @_ ];
}

sub insert_sql
{
	my ($t, $rows, $fate) = @_;
	my $words = rand() < 0.02 ? 3000 : 20;

	return "INSERT INTO $t (k, note, fate, v, body) SELECT (random() * 7)::int, 'note ' || (random() * 5)::int, '$fate',"
	  . " CASE WHEN random() > 0.03 THEN ${t}_value() END, CASE WHEN random() > 0.03 THEN random_document($words) END"
	  . " FROM generate_series(1, $rows);\n";
}

# Some rows that nobody else holds, or whoever holds them
sub rows_sql
{
	my ($t, $n) = @_;
	my $how = rand() < 0.7 ? 'FOR UPDATE SKIP LOCKED' : '';

	return "id IN (SELECT id FROM $t ORDER BY random() LIMIT $n $how)";
}

sub change_sql
{
	my ($t, $fate) = @_;
	my $n = 1 + int rand 6;

	return pick(
		insert_sql($t, $n, $fate),
		insert_sql($t, $n, $fate),
		insert_sql($t, rand() < 0.2 ? 80 : $n, $fate),
		"UPDATE $t SET v = ${t}_value() WHERE " . rows_sql($t, $n) . ";\n",
		"UPDATE $t SET v = ${t}_value(), body = random_document(20) WHERE "
		  . rows_sql($t, $n) . ";\n",
		"UPDATE $t SET body = random_document(20) WHERE " . rows_sql($t, $n) . ";\n",
		"UPDATE $t SET k = (random() * 7)::int, note = NULLIF('note ' || (random() * 5)::int, 'note 1') WHERE "
		  . rows_sql($t, $n) . ";\n",
		"DELETE FROM $t WHERE " . rows_sql($t, 2 * $n) . ";\n",
		"DELETE FROM $t WHERE id < (SELECT max(id) - "
		  . ($most{$t} || $most) . " FROM $t);\n");
}

# One transaction, left out if it cannot begin: else its statements would be
# transactions of their own.
sub transaction_sql
{
	my $sql = statements_sql(@_);

	$sql =~ s/^(BEGIN.*;)$/$1\n\\if :ERROR\n\\else/m or return $sql;
	return "$sql\\endif\n\\echo end\n";
}

# The last letter of a prepared one's name says how it ends.
sub statements_sql
{
	my ($gid) = @_;
	my ($t, $other) = (pick(@names), pick(@names));
	my $kind = int rand 22;
	my $begin = "\\echo begin $gid\nBEGIN;\nINSERT INTO ledger VALUES ('$gid');\n";

	return $begin . change_sql($t, '') . "COMMIT;\n" if $kind < 6;
	return $begin
	  . join('', map { change_sql(pick(@names), '') } 0 .. rand 4)
	  . "COMMIT;\n"
	  if $kind < 9;
	return "BEGIN;\n" . change_sql($t, 'aborted') . insert_sql($other, 3, 'aborted') . "ROLLBACK;\n"
	  if $kind < 11;
	return $begin
	  . change_sql($t, '')
	  . "SAVEPOINT s;\n"
	  . insert_sql($t, 4, 'aborted')
	  . change_sql($other, 'aborted')
	  . "ROLLBACK TO s;\n"
	  . change_sql($t, '')
	  . "SAVEPOINT r;\n"
	  . change_sql($t, '')
	  . "RELEASE r;\nCOMMIT;\n"
	  if $kind < 13;

	# locks in another order than somebody else takes them
	return $begin
	  . "UPDATE $t SET k = 0 WHERE id IN (SELECT id FROM $t ORDER BY id DESC LIMIT 5);\n"
	  . "UPDATE $other SET k = 0 WHERE id IN (SELECT id FROM $other ORDER BY id DESC LIMIT 5);\nCOMMIT;\n"
	  if $kind < 14;
	return "BEGIN;\nLOCK TABLE $t;\n" . change_sql($t, 'aborted') . "ROLLBACK;\n"
	  if $kind == 14;
	return "BEGIN;\nTRUNCATE $t;\n" . insert_sql($t, 20, 'aborted') . "ROLLBACK;\n"
	  if $kind == 15 && rand() < 0.3;
	if ($kind == 16)
	{
		return '' if $tables{$t}{unlogged};
		my $end = pick('c', 'r');
		my $sql = $begin . insert_sql($t, 5, $end eq 'r' ? 'aborted' : '')
		  . "PREPARE TRANSACTION '$gid$end';\n";

		return $sql if rand() < 0.3;
		return $sql . ($end eq 'c' ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid$end';\n";
	}
	if ($kind == 17)
	{
		my $ms = 1 + int rand 60;

		return "SET statement_timeout = $ms;\n$begin"
		  . insert_sql($t, 60, '')
		  . change_sql($t, '')
		  . "COMMIT;\nRESET statement_timeout;\n";
	}
	return
	    "SET enable_seqscan = off;\nSELECT count(*) FROM (SELECT id FROM $t ORDER BY v $tables{$t}{order} (SELECT ${t}_value()) LIMIT 20) s;\n"
	  . "SELECT count(*) FROM (SELECT id FROM $t ORDER BY body <@> 'w1 | w4' LIMIT 20) s;\nRESET enable_seqscan;\n"
	  if $kind < 20;
	return "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT check_rows('$t');\nCOMMIT;\n";
}

sub maintenance_sql
{
	my $t = pick(@names);

	return pick(
		"VACUUM (INDEX_CLEANUP ON) $t;\n",
		"VACUUM (INDEX_CLEANUP ON, FREEZE) $t;\n",
		"VACUUM $t;\nANALYZE $t;\n",
		"REINDEX INDEX CONCURRENTLY ${t}_v;\n",
		"REINDEX INDEX CONCURRENTLY ${t}_body;\n",
		"REINDEX TABLE CONCURRENTLY $t;\n",
		"REINDEX INDEX ${t}_v;\n",
		"CREATE INDEX CONCURRENTLY ${t}_more ON $t USING omenhnsw $tables{$t}{index};\nDROP INDEX CONCURRENTLY ${t}_more;\n",
		"CREATE INDEX CONCURRENTLY ${t}_text ON $t USING omenbm25 (body);\nDROP INDEX CONCURRENTLY ${t}_text;\n",
		"SELECT bm25_merge('${t}_body');\n",
		"CHECKPOINT;\n",
		(rand() < 0.3 ? "VACUUM FULL $t;\n" : "VACUUM $t;\n"));
}

# A client runs psql again and again, each time with a script of its own, until
# it is told to stop.
sub run_client
{
	my ($node, $round, $client, $dir) = @_;
	my $stop = 0;

	local $SIG{TERM} = sub { $stop = 1 };
	foreach my $batch (1 .. 100000)
	{
		my $file = "$dir/client$client.sql";
		my $sql = "\\echo end\n\\set VERBOSITY verbose\n\\set ECHO errors\n"
		  . 'SELECT setseed(' . (rand() - 0.5) . ");\n"
		  . 'SET lock_timeout = ' . (20 + int rand 400) . ";\n";

		$sql .= "SET max_parallel_maintenance_workers = 2;\n" if rand() < 0.5;
		$sql .= $client == 0
		  ? "SET lock_timeout = '2s';\n" . maintenance_sql()
		  : transaction_sql("r${round}c${client}b${batch}n$_")
		  foreach 1 .. 10;
		open(my $out, '>', $file) or last;
		print $out $sql;
		close $out;
		system("psql -X -A -t -h '"
			  . $node->host . "' -p "
			  . $node->port
			  . " -d postgres -f $file >>$dir/client$client.log 2>&1");
		last if $stop;
		sleep(0.05) if $? != 0;
	}
	POSIX::_exit(0);
}

# Start so many clients, of which the first one does maintenance
sub start_clients
{
	my ($node, $round, $clients, $dir) = @_;
	my @pids;

	foreach my $client (0 .. $clients - 1)
	{
		my $seed = int rand 2**31;
		my $pid = fork();

		die "fork: $!" if !defined $pid;
		if ($pid == 0)
		{
			srand($seed);
			run_client($node, $round, $client, $dir);
		}
		push @pids, $pid;
	}
	return @pids;
}

# Clients end with their transactions; whoever takes long is cut off
sub stop_clients
{
	my ($node, @pids) = @_;
	my $until = time() + 10;
	my %left = map { $_ => 1 } @pids;

	kill 'TERM', @pids;
	while (%left)
	{
		foreach my $pid (keys %left)
		{
			delete $left{$pid} if waitpid($pid, POSIX::WNOHANG()) != 0;
		}
		if (time() > $until)
		{
			kill 'TERM', $_->{pid} foreach backends($node);
		}
		sleep(0.05);
	}
	return;
}

# What clients reported that no disturbance explains, and the transactions whose
# end the server has confirmed
sub client_findings
{
	my ($dir, $clients) = @_;
	my @findings;
	my @committed;
	my %errors;

	foreach my $client (0 .. $clients - 1)
	{
		my $gid;

		next if !-e "$dir/client$client.log";
		my @log = split /\n/, slurp_file("$dir/client$client.log");
		foreach my $at (0 .. $#log)
		{
			my $line = $log[$at];

			# what a script has begun, the one after a lost connection does not end
			$gid = $1 if $line =~ /^begin (\S+)/;
			undef $gid if $line eq 'end';
			if ($line =~ /(?:ERROR|FATAL|PANIC):\s+(\w{5}): (.*)/)
			{
				my ($state, $message) = ($1, $2);
				my ($statement) = join("\n", @log[ $at .. $#log ]) =~ /STATEMENT:\s+(.*)/;

				undef $gid;
				$errors{$state}++;
				next if $expected{$state};
				next if $message =~ /File too large|No space left|Cannot allocate memory|failed to map segment/;
				next if $message =~ /lost connection to parallel worker/;

				# the library that the server's md5() is from does not say that it had no
				# memory
				next if $message =~ /could not compute MD5 hash: internal error/;

				# the server's own copy of the table: a row dead to everybody but the
				# oldest snapshot is kept, its long value may have been vacuumed by a
				# younger horizon
				next if $message =~ /missing chunk number/ && ($statement // '') =~ /^VACUUM FULL/;

				# the server opens the indexes of long values one by one and asks each
				# whether it is valid, while REINDEX TABLE CONCURRENTLY swaps them
				next if $message =~ /no valid index found for toast relation/;
				push @findings, "client $client: $state $message: " . ($statement // '');
			}
			if ($line =~ /^COMMIT/ && defined $gid)
			{
				push @committed, $gid;
				undef $gid;
			}
		}
	}
	return (\@findings, \@committed, \%errors);
}

# --- disturbances ---

# pid and title of the server's processes
sub server_processes
{
	my ($node) = @_;
	my @result;
	my $file = $node->data_dir . '/postmaster.pid';

	return () if !-e $file;
	my ($postmaster) = slurp_file($file) =~ /^(\d+)/;
	return () if !$postmaster;
	foreach my $child (split ' ',
		eval { slurp_file("/proc/$postmaster/task/$postmaster/children") } // '')
	{
		my $title = eval { slurp_file("/proc/$child/cmdline") } // next;

		$title =~ s/\0.*//s;
		push @result, { pid => $child, title => $title } if $title ne '';
	}
	return @result;
}

# those that work for clients, or instead of them
sub backends
{
	my ($node) = @_;

	return grep { $_->{title} =~ /\[local\]|parallel worker|autovacuum worker/ }
	  server_processes($node);
}

# Give a process little more memory than it has, or no files beyond a size
sub limit_process
{
	my ($process, $what) = @_;
	my $pid = $process->{pid};
	my $limit;

	if ($what eq 'as')
	{
		my ($pages) = (eval { slurp_file("/proc/$pid/statm") } // '') =~ /^(\d+)/;

		return 0 if !$pages;
		$limit = $pages * 4096 + int rand 3 * 2**20;
	}
	else
	{
		$limit = 2**20;
	}
	return system("prlimit --pid $pid --$what=$limit: 2>/dev/null") == 0;
}

# Disturb backends for some time. "weights" says how often what happens; the
# result counts what did.
sub disturb
{
	my ($node, $seconds, %weights) = @_;
	my $until = time() + $seconds;
	my @choice = map { ($_) x $weights{$_} } sort keys %weights;
	my %counts;

	while (time() < $until)
	{
		my @there = backends($node);
		my $what = pick(@choice);

		sleep(0.01 + rand 0.05);
		next if !@there;
		my $process = pick(@there);
		my $pid = $process->{pid};
		if ($what eq 'pause')
		{
			# some others at once, so that who goes on meets them half-way
			my @pids = map { $_->{pid} } grep { rand() < 0.5 } @there;

			kill 'STOP', @pids;
			sleep(rand 0.06);
			kill 'CONT', @pids;
		}
		elsif ($what eq 'cancel')
		{
			kill 'INT', $pid;
		}
		elsif ($what eq 'terminate')
		{
			kill 'TERM', $pid;
		}
		elsif ($what eq 'memory')
		{
			limit_process($process, 'as') or next;
		}
		elsif ($what eq 'filesize')
		{
			limit_process($process, 'fsize') or next;
		}
		elsif ($what eq 'nice')
		{
			system("renice -n " . int(rand 20) . " -p $pid >/dev/null 2>&1");
		}
		$counts{$what}++;
	}
	return %counts;
}

# --- afterwards ---

# End the transactions that are left as their names say
sub settle_prepared
{
	my ($node) = @_;
	my @gids = lines($node, 'SELECT gid FROM pg_prepared_xacts');

	foreach my $gid (@gids)
	{
		query($node, ($gid =~ /c$/ ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
	}
	return scalar @gids;
}

# What differs between a table and its indexes, and what is wrong with these; on
# a standby as well
sub table_differences
{
	my ($node, $t) = @_;

	return (
		lines($node,
			"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT differences('$t', false); COMMIT"),
		verify_findings($node, $t, 'error'));
}

sub verify_findings
{
	my ($node, $t, $severity) = @_;

	return lines($node, <<"SQL");
SELECT concat_ws(' ', i, invariant, block, "offset", detail)
FROM unnest(ARRAY['${t}_v', '${t}_body']) i, omen_verify_index(i::regclass, true)
WHERE severity = '$severity'
SQL
}

# The same of all tables, before and after a vacuum; warnings, of what is no worse
# than slow; and rows compared
sub table_findings
{
	my ($node, $committed) = @_;
	my @findings;
	my @warnings;
	my $rows = 0;
	my %there = map { $_ => 1 } lines($node, 'SELECT gid FROM ledger');

	push @findings, map { "committed and lost: $_" } grep { !$there{$_} } @$committed;
	foreach my $t (@names)
	{
		my $plan = query($node,
			index_scan() . "EXPLAIN SELECT * FROM $t ORDER BY v $tables{$t}{order} (SELECT ${t}_value()); EXPLAIN SELECT * FROM $t ORDER BY body <@> 'w1'");

		# a copy that REINDEX CONCURRENTLY left unfinished became as good as the
		# index by a later VACUUM FULL
		push @findings, "$t is not read through its indexes: $plan"
		  if $plan !~ /using ${t}_v(_ccnew\d*)?\b/ || $plan !~ /using ${t}_body(_ccnew\d*)?\b/;
		push @findings, map { "before vacuum: $_" } table_differences($node, $t);
		query($node, "VACUUM (INDEX_CLEANUP ON) $t");
		push @findings, map { "after vacuum: $_" } table_differences($node, $t);
		push @warnings, verify_findings($node, $t, 'warning');
		$rows += query($node, "SELECT count(*) FROM $t");
	}
	return (\@findings, $rows, \@warnings);
}

1;
