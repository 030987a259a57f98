# CREATE INDEX with a helper program that finds links: the index is as good as
# without, for every type and metric it is for; whatever a helper does, the build
# succeeds or is cancelled, and nothing of the helper is left.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my ($pkglibdir) = run_command([ 'pg_config', '--pkglibdir' ]);
my $helper = "$pkglibdir/omendb-gpu-build";

plan skip_all => 'omendb-gpu-build is not installed' if !-x $helper;

my $node = new_node('gpu', conf => 'restart_after_crash = on');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $proxy = "$FindBin::RealBin/../perl/gpu_proxy.pl";
my $builds = 'links of index "idx" were found by a helper';

# a program for omendb.gpu_helper_path, which starts another with arguments
sub program
{
	my ($name, @command) = @_;
	my $path = "$dir/$name";

	open my $file, '>', $path or die "$path: $!";
	print $file "#!/bin/sh\nexec " . join(' ', map { "'$_'" } @command) . "\n";
	close $file;
	chmod 0755, $path;
	return $path;
}

# one that misbehaves, and what became of its processes
sub misbehaving
{
	my ($mode) = @_;

	unlink "$dir/pids";
	return program('misbehaving', $^X, $proxy, "$dir/pids", $mode, $helper,
		'--backend', 'cpu');
}

sub processes_left
{
	my @pids = -e "$dir/pids" ? split /\n/, slurp_file("$dir/pids") : ();
	my @left;

	foreach my $try (1 .. 100)
	{
		@left = grep { kill 0, $_ } @pids;
		last if !@left;
		sleep(0.1);
	}
	return "@left";
}

# Run statements in one session, with a helper: standard output and error
sub run_sql
{
	my ($path, @sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres',
		join("\n", 'SET client_min_messages = warning;', "SET omendb.gpu_helper_path = '$path';",
			'SET omendb.gpu_build = on;', map { "$_;" } @sql),
		stdout => \$out, stderr => \$err, on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return ($out, $err);
}

# children of the session's backend that have not been reaped
my $children =
  q{SELECT 'children: ' || rtrim(pg_read_file('/proc/' || pg_backend_pid() || '/task/' || pg_backend_pid() || '/children'))};
$children = q{SELECT 'children: '} if !-e "/proc/self/task/$$/children";

my $cpu = program('cpu', $helper, '--backend', 'cpu');

# --- 1. all it can do, as good as without ---

my %data = (dim => 24, kind => 'clustered');

foreach my $case (
	(map { [ 'vector', $_, '' ], [ 'halfvec', $_, '' ] } qw(l2 ip cosine l1)),
	(map { [ 'vector', $_, 'quantizer = none' ], [ 'halfvec', $_, 'quantizer = none' ] }
		qw(l2 ip cosine)),
	[ 'vector', 'ip', '', 'long' ],
	[ 'vector', 'ip', 'quantizer = none, m = 8', 'long' ],
	[ 'vector', 'l2', 'quantizer = sq8, m = 8, ef_construction = 40' ],
	[ 'vector', 'cosine', 'quantizer = pq, m = 24, ef_construction = 200' ])
{
	my ($type, $metric, $options, $lengths) = @$case;
	my $with = $options ? "WITH ($options)" : '';
	my $name = join ' ', $type, $metric, $options, $lengths || ();
	my %recall;

	load_rows($node, 'items', %data, type => $type, rows => 2500);
	query($node, "UPDATE items SET v = v * array_fill(exp(2 * random() * random())::real, ARRAY[$data{dim}])::vector")
	  if $lengths;
	load_queries($node, 'queries', %data, type => $type, rows => 100);
	foreach my $build (qw(off on))
	{
		my ($out, $err) = run_sql(
			$cpu,
			'DROP INDEX IF EXISTS idx',
			"SET omendb.gpu_build = $build",
			'SET client_min_messages = debug1',
			"CREATE INDEX idx ON items USING omenhnsw (v ${type}_${metric}_ops) $with",
			q{SELECT count(*) FROM omen_verify_index('idx', true)});

		is($out, '0', "$name: gpu_build = $build: nothing to complain about")
		  or diag($err);
		is($err =~ /\Q$builds\E/ ? 'on' : 'off', $build, "$name: as was asked for");
		($recall{$build}) = recall(
			$node,
			table => 'items',
			queries => 'queries',
			operator => $OPERATORS{$type}{$metric},
			settings => 'SET omenhnsw.ef_search = 40');
	}
	cmp_ok($recall{on}, '>=', $recall{off} - 0.005,
		"$name: recall $recall{on}, without $recall{off}");
}

# --- 2. real data ---

SKIP:
{
	my $folder = "$FindBin::RealBin/../../bench/data/scifact";

	skip 'no data', 6 if !-e "$folder/lsa_docs.f16.npy.gz";
	query($node, 'DROP TABLE items, queries; CREATE TABLE items (id serial, v vector(256));'
		  . 'CREATE TABLE queries (id serial, v vector(256))');
	$node->safe_psql('postgres', "COPY items (v) FROM stdin;\n"
		  . join("\n", numpy_vectors("$folder/lsa_docs.f16.npy.gz")) . "\n\\.\n"
		  . "COPY queries (v) FROM stdin;\n"
		  . join("\n", numpy_vectors("$folder/lsa_queries.f16.npy.gz")) . "\n\\.\n");
	query($node, 'CREATE TABLE copies (v vector(256)); INSERT INTO copies SELECT v +'
		  . ' ARRAY(SELECT 1e-4 * sin(id + i * g) FROM generate_series(1, 256) g)::vector'
		  . ' FROM items, generate_series(1, 20) i WHERE id <= 500');

	# of copies, one build differs from the next by .01; with the rules for few it was .09
	foreach my $case ([ items => 'SciFact', 0.005 ], [ copies => 'SciFact, 20 near copies each', 0.02 ])
	{
		my ($table, $name, $allowed) = @$case;
		my %recall;

		foreach my $build (qw(off on))
		{
			run_sql($cpu, 'DROP INDEX IF EXISTS idx', "SET omendb.gpu_build = $build",
				"CREATE INDEX idx ON $table USING omenhnsw (v vector_cosine_ops)");
			is(query($node, q{SELECT count(*) FROM omen_verify_index('idx', true)}),
				'0', "$name, gpu_build = $build: nothing to complain about");
			($recall{$build}) = recall(
				$node,
				table => $table,
				queries => 'queries',
				operator => '<=>',
				settings => 'SET omenhnsw.ef_search = 40');
		}
		cmp_ok($recall{on}, '>=', $recall{off} - $allowed,
			"$name: recall $recall{on}, without $recall{off}");
		note("figures: $name at ef 40: $recall{on} with helper, $recall{off} without");
	}
	query($node, 'DROP TABLE copies');
}

# --- 3. sizes, equal rows, workers, other ways to build ---

%data = (type => 'vector', dim => 16, kind => 'clustered');
foreach my $rows (0, 1, 2, 33, 34, 40, 1024, 1025)
{
	load_rows($node, 'items', %data, rows => $rows);
	my ($out, $err) = run_sql($cpu, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)',
		q{SELECT count(*) FROM omen_verify_index('idx', true)}, $children);
	is("$out$err", "0\nchildren: ", "$rows rows");
}

query($node, 'DROP TABLE items; CREATE TABLE items (id int, v vector(16));'
	  . q{INSERT INTO items SELECT i, array_fill((i % 3)::real, ARRAY[16])::vector FROM generate_series(1, 3000) i});
my ($out, $err) = run_sql($cpu, 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)',
	q{SELECT count(*) FROM omen_verify_index('idx', true)});
is("$out$err", '0', '3000 rows of 3 vectors');

# nearer to each other than distances by inner products can tell
query($node, 'CREATE TABLE copies (v vector(64)); INSERT INTO copies SELECT'
	  . ' ARRAY(SELECT (sin(i % 20 * g) + 1e-3 * cos(i * g))::real FROM generate_series(1, 64) g)::vector'
	  . ' FROM generate_series(1, 1500) i');
foreach my $metric (qw(l2 ip cosine))
{
	foreach my $quantizer (qw(auto none))
	{
		($out, $err) = run_sql($cpu,
			"CREATE INDEX copies_idx ON copies USING omenhnsw (v vector_${metric}_ops) WITH (quantizer = $quantizer)");
		query($node, 'DROP INDEX copies_idx');
		is($err, '', "near copies, $metric, quantizer = $quantizer: links are taken");
	}
}
query($node, 'DROP TABLE copies');

query($node, 'TRUNCATE items; INSERT INTO items SELECT i,'
	  . ' ARRAY(SELECT ((i % 2) + 1e-6 * g * (i % 2000))::real FROM generate_series(1, 16) g)::vector'
	  . ' FROM generate_series(1, 4000) i');
($out, $err) = run_sql($cpu, 'CREATE INDEX IF NOT EXISTS idx ON items USING omenhnsw (v vector_l2_ops)',
	'REINDEX INDEX idx', q{SELECT count(*) FROM omen_verify_index('idx', true)});
is($out, '0', 'nearly equal rows');

load_rows($node, 'items', %data, rows => 6000);
load_queries($node, 'queries', %data);
query($node, 'ALTER TABLE items SET (parallel_workers = 2)');
foreach my $settings ('SET max_parallel_maintenance_workers = 2',
	"SET maintenance_work_mem = '1MB'")
{
	($out, $err) = run_sql($cpu, $settings, 'SET client_min_messages = debug1',
		'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)',
		q{SELECT count(*) FROM omen_verify_index('idx', true)},
		'DROP INDEX idx', $children);
	is($out, "0\nchildren: ", "$settings: nothing to complain about");
	like($err, qr/\Q$builds\E/, "$settings: with the helper");
}
($out, $err) = run_sql($cpu, 'SET client_min_messages = debug1',
	'CREATE INDEX CONCURRENTLY idx ON items USING omenhnsw (v vector_l2_ops)');
like($err, qr/\Q$builds\E/, 'CREATE INDEX CONCURRENTLY with the helper');
is(all_through_index($node, 'items', 'v <-> (SELECT v FROM queries WHERE id = 1)'),
	'6000 6000', 'and every row once');

# the helper's part of the time is told apart
load_rows($node, 'items', %data, rows => 6000);
($out, $err) = run_sql($cpu, 'SET client_min_messages = debug1',
	'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)');
like($err, qr/index "idx" of 6000 rows was built in .*, gpu links (?!0\.000)\d/,
	'a build with the helper tells of its time');

# --- 4. no helper, no device, nothing to do for one ---

my $create = 'DROP INDEX IF EXISTS idx; CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)';

load_rows($node, 'items', %data, rows => 1500);
($out, $err) = run_sql("$dir/nothing", $create);
like($err, qr/ERROR:  55000: no GPU is there to build index "idx"/, 'on without a helper is an error');
like($err, qr/HINT:  Install the helper/, 'with a hint');
my $locked = program('locked', 'true');
chmod 0644, $locked;
($out, $err) = run_sql($locked, $create);
like($err, qr/DETAIL:  Helper program "$locked": Permission denied\./, 'one that may not be executed is not said to be absent');
($out, $err) = run_sql('', $create);
like($err, qr/ERROR:  55000: .*was made without nvcc/s, 'on without a device is an error');
foreach my $mode ('kill@HELLO', 'silent', 'noise')
{
	($out, $err) = run_sql(misbehaving($mode), 'SET omendb.gpu_timeout = 1', $create);
	like($err, qr/ERROR:  55000: no GPU is there/, "on with a helper that cannot be used ($mode)");
	is(processes_left(), '', 'and nothing of it is left');
}
($out, $err) = run_sql("$dir/nothing", 'SET omendb.gpu_build = auto', $create);
is($err, '', 'auto without a helper is silent');
($out, $err) = run_sql(misbehaving('pass'), 'SET omendb.gpu_build = auto', $create);
ok($err eq '' && !-e "$dir/pids", 'auto does not start a helper for little');
($out, $err) = run_sql(misbehaving('pass'), 'SET omendb.gpu_build = off', $create);
ok($err eq '' && !-e "$dir/pids", 'off does not start one');

# what a processor does is estimated, so this has to be three times as much as is needed
query($node, 'CREATE TABLE much (id int, v vector(64));'
	  . ' INSERT INTO much SELECT i, ARRAY(SELECT sin(i * g)::real FROM generate_series(1, 64) g)::vector'
	  . ' FROM generate_series(1, 8000) i; ANALYZE much');
my $create_much = 'DROP INDEX IF EXISTS idx; SET max_parallel_maintenance_workers = 0;'
  . ' CREATE INDEX idx ON much USING omenhnsw (v vector_l2_ops) WITH (m = 100, ef_construction = 1000)';
($out, $err) = run_sql('', 'SET omendb.gpu_build = auto', $create_much);
is($err, '', 'auto without a device is silent');
($out, $err) = run_sql(misbehaving('kill@HELLO'), 'SET omendb.gpu_build = auto', $create_much);
like($err, qr/^WARNING:  38000: could not build index "idx" on a GPU\nDETAIL:  Helper program: it was ended by signal 9\./,
	'auto with a broken helper warns');
($out, $err) = run_sql(misbehaving('pass'), 'SET omendb.gpu_build = auto',
	'SET client_min_messages = debug1', $create_much);
like($err, qr/\Q$builds\E/, 'auto uses a helper for much');

# a server that has other things to do after the clusters
SKIP:
{
	skip 'no /proc', 2 if !-e "/proc/$$/stat";
	($out, $err) = run_sql(misbehaving('busy'), 'SET client_min_messages = debug1', $create_much);
	like($err, qr/\Q$builds\E/, 'a helper that is not listened to for a time');
	cmp_ok(slurp_file("$dir/pids.progress"), '<=', 10, 'and goes on computing');
}
query($node, 'DROP TABLE much');

run_sql(misbehaving('pass'), "SET omendb.gpu_memory = '3GB'",
	"SET maintenance_work_mem = '70MB'", $create);
is(slurp_file("$dir/pids.memory"), '3221225472 73400320',
	'the helper is told how much memory it may use');

foreach my $type ([ 'bit', 'bit_hamming_ops' ], [ 'sparsevec', 'sparsevec_l2_ops' ])
{
	load_rows($node, 'other', %data, type => $type->[0], rows => 100);
	($out, $err) = run_sql($cpu, "CREATE INDEX ON other USING omenhnsw (v $type->[1])");
	like($err, qr/ERROR:  0A000: a GPU cannot build index/, "on cannot build for $type->[0]");
	($out, $err) = run_sql($cpu, 'SET omendb.gpu_build = auto',
		"CREATE INDEX ON other USING omenhnsw (v $type->[1])");
	is($err, '', 'and auto is silent about it');
}

# --- 5. whatever a helper does, the index is built ---

my %detail = (
	'kill@REQUEST' => 'it was ended by signal 9',
	'kill@ROWS' => 'it was ended by signal 9',
	'kill@PROGRESS' => 'it was ended by signal 9',
	'kill@CLUSTERS' => 'it was ended by signal 9',
	'kill@LINKS' => 'it was ended by signal 9',
	'kill@END' => 'it was ended by signal 9',
	'exit@ROWS' => 'it ended too early, with status 3',
	'exit@CLUSTERS' => 'it ended too early, with status 3',
	'exit@LINKS' => 'it ended too early, with status 3',
	half => 'it ended too early, with status 3',
	'hang@REQUEST' => 'it has said nothing for 1 s',
	'hang@ROWS' => 'it has said nothing for 1 s',
	'hang@PROGRESS' => 'it has said nothing for 1 s',
	'hang@CLUSTERS' => 'it has said nothing for 1 s',
	'hang@LINKS' => 'it has said nothing for 1 s',
	'hang@END' => 'it has said nothing for 1 s',
	'no-file' => 'the file of vectors could not be opened: No such file or directory',
	'no-codes' => 'the file of vectors could not be read: it ends too early',
	'no-levels' => 'the file of vectors could not be read: Invalid argument',
	'no-rows' => 'it was not said where vectors are',
	'few-rows' => 'it was not said where vectors are',
	cluster => 'a row is of a cluster that cannot exist',
	'few-clusters' => 'clusters are of another number than was said',
	'cluster-order' => 'nodes come out of order',
	'no-clusters' => 'a message has come that was not expected',
	'other-clusters' => 'a node has too many links at its scale',
	id => 'a link leads to a node that does not exist',
	'huge-id' => 'a link leads to a node that does not exist',
	self => 'a node is linked to itself',
	twice => 'a node is linked twice to another',
	degree => 'a node has too many links',
	scale => 'a node has too many links at its scale',
	'scale-level' => 'a link at scale leads to a node of a lower level',
	unsorted => 'links are not in the order of their distances',
	random => '(links are not in the order of their distances|searches of its graph have missed \d+ of \d+ nearest nodes)',
	none => 'searches of its graph have missed \d+ of \d+ nearest nodes',
	crc => 'a message has a wrong checksum',
	version => 'the other side has another version of the protocol',
	length => 'a message is too long',
	type => 'a message is of unknown type',
	short => 'links are of another number than was said',
	long => 'links are of another number than was said',
	empty => 'a message is too short',
	order => 'nodes come out of order',
	count => 'nodes come out of order',
	'early-end' => 'a message has come that was not expected',
	error => 'no\?luck',
	'no-room' => 'no room',
	garbage => 'what came is not of this protocol');

load_rows($node, 'items', %data, rows => 1500);
foreach my $mode (sort keys %detail)
{
	my $timeout = $mode =~ /hang/ ? 1 : 20;

	($out, $err) = run_sql(misbehaving($mode), "SET omendb.gpu_timeout = $timeout",
		$create, q{SELECT count(*) FROM omen_verify_index('idx', true)}, $children);
	like($err,
		qr/\AWARNING:  38000: could not build index "idx" on a GPU\nDETAIL:  Helper program: $detail{$mode}\.\nHINT:  The index is being built without\. [^\n]*\nLOCATION:[^\n]*\z/,
		"$mode: warned of");
	like($err, qr/HINT: .*maintenance_work_mem/, "$mode: with another hint")
	  if $mode eq 'no-room';
	is($out, "0\nchildren: ", "$mode: built all the same, and the helper reaped");
	is(processes_left(), '', "$mode: nothing of it is left");
}

# and when nothing goes wrong in between
($out, $err) = run_sql(misbehaving('pass'), $create,
	q{SELECT count(*) FROM omen_verify_index('idx', true)});
is("$out$err", '0', 'a helper that behaves is not warned of');

# two at the same moment, each with its own helper
query($node, 'CREATE TABLE others AS SELECT * FROM items');
my @builds = map {
	IPC::Run::start(
		[
			'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
			"SET omendb.gpu_helper_path = '$cpu'", '-c', 'SET omendb.gpu_build = on',
			'-c', 'SET client_min_messages = debug1',
			'-c', "CREATE INDEX ${_}_idx ON $_ USING omenhnsw (v vector_l2_ops)"
		],
		'2>', "$dir/stderr.$_")
} qw(items others);
$_->finish foreach @builds;
foreach my $table (qw(items others))
{
	like(slurp_file("$dir/stderr.$table"), qr/links of index "${table}_idx" were found by a helper/,
		"two builds at once: that of $table");
	is(query($node, "SELECT count(*) FROM omen_verify_index('${table}_idx', true)"),
		'0', 'nothing to complain about');
	query($node, "DROP INDEX ${table}_idx");
}

# --- 6. builds that are cut off ---

# wait until a build waits for its helper; the backend's pid
sub wait_for_build
{
	$node->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_progress_create_index WHERE phase = 'building index: constructing graph on a GPU'})
	  or die 'no build is waiting';
	return query($node, q{SELECT pid FROM pg_stat_progress_create_index});
}

sub start_build
{
	my ($mode, $timeout) = @_;
	my $path = misbehaving($mode // 'hang@LINKS');

	$timeout //= 60;

	return IPC::Run::start(
		[
			'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
			"SET omendb.gpu_helper_path = '$path'", '-c', 'SET omendb.gpu_build = on',
			'-c', "SET omendb.gpu_timeout = $timeout",
			'-c', 'DROP INDEX IF EXISTS idx', '-c',
			'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)'
		],
		'2>', "$dir/stderr");
}

foreach my $stage (qw(HELLO REQUEST ROWS CLUSTERS LINKS))
{
	($out, $err) = run_sql(misbehaving("hang\@$stage"), 'DROP INDEX IF EXISTS idx',
		"SET statement_timeout = '700ms'", 'CREATE INDEX idx ON items USING omenhnsw (v vector_l2_ops)',
		$children);
	like($err, qr/\AERROR:  57014: canceling statement due to statement timeout/, "statement_timeout at $stage");
	is($out, 'children: ', 'the helper is reaped');
	is(processes_left(), '', 'and nothing of it is left');
}

foreach my $function (qw(pg_cancel_backend pg_terminate_backend))
{
	my $build = start_build();

	query($node, "SELECT $function(" . wait_for_build() . ')');
	eval { $build->finish };
	like(slurp_file("$dir/stderr"), qr/canceling statement|terminating connection/, "$function ends a build");
	unlike(slurp_file("$dir/stderr"), qr/WARNING/, 'without a warning about the helper');
	is(processes_left(), '', 'and nothing of the helper is left');
}
is(query($node, q{SELECT count(*) FROM pg_class WHERE relname = 'idx'}), '0', 'no index is left');

# what wakes the backend does not give the helper more time
{
	my $build = start_build('hang@ROWS', 2);
	my $pid = wait_for_build();
	my $tries = 0;

	while ($build->pumpable && $tries++ < 100)
	{
		kill 'USR1', $pid;
		$build->pump_nb;
		sleep(0.2);
	}
	cmp_ok($tries, '<', 100, 'a silent helper is given up in time');
	$build->kill_kill if $tries >= 100;
	eval { $build->finish };
	like(slurp_file("$dir/stderr"), qr/it has said nothing for 2 s/, 'with a warning');
	query($node, 'DROP INDEX IF EXISTS idx');
}

foreach my $how (qw(backend server))
{
	my $build = start_build();
	my $pid = wait_for_build();

	kill 'KILL', $pid if $how eq 'backend';
	kill_server($node) if $how eq 'server';
	eval { $build->finish };
	is(processes_left(), '', "kill -9 of the $how: nothing of the helper is left");
	start_after_kill($node) if $how eq 'server';
	foreach my $try (1 .. 100)
	{
		last if $node->psql('postgres', '', stderr => \$err) == 0;
		sleep(0.1);
	}
}

# --- 7. whose settings they are ---

query($node, 'CREATE ROLE lowly');
foreach my $statement ("SET omendb.gpu_helper_path = '/bin/true'", 'SHOW omendb.gpu_helper_path')
{
	($out, $err) = ('', '');
	$node->psql('postgres', "LOAD 'omendb'; SET ROLE lowly; $statement", stdout => \$out, stderr => \$err);
	like($err, qr/permission denied|must be superuser|must have|[Oo]nly roles with/, "$statement is not for everybody");
}
$node->psql('postgres', "LOAD 'omendb'; SET omendb.gpu_helper_path = 'omendb-gpu-build'", stderr => \$err);
like($err, qr/invalid value for parameter "omendb.gpu_helper_path".*must be absolute/s, 'the path is absolute');
is(query($node, "LOAD 'omendb'; SET ROLE lowly; SET omendb.gpu_build = off; SHOW omendb.gpu_build"),
	'off', 'whether to use a GPU is for everybody');

# --- 8. the program by itself ---

# rows of numbers as a .fbin file
sub write_fbin
{
	my ($path, @rows) = @_;

	open my $file, '>:raw', $path or die "$path: $!";
	print $file pack('LL', scalar @rows, scalar @{ $rows[0] }), map { pack 'f<*', @$_ } @rows;
	close $file;
	return;
}

sub dot
{
	my ($x, $y) = @_;
	my $sum = 0;

	$sum += $x->[$_] * $y->[$_] foreach 0 .. $#$x;
	return $sum;
}

my %exact = (
	l2 => sub { dot($_[0], $_[0]) + dot($_[1], $_[1]) - 2 * dot(@_) },
	ip => sub { -dot(@_) },
	cosine => sub { -dot(@_) / sqrt(dot($_[0], $_[0]) * dot($_[1], $_[1])) },
	l1 => sub { my ($x, $y) = @_; my $sum = 0; $sum += abs($x->[$_] - $y->[$_]) foreach 0 .. $#$x; $sum });

srand(7);
my @base = map { [ map { int(rand 200) - 80 } 1 .. 9 ] } 1 .. 500;
my @asked = map { [ map { int(rand 200) - 80 } 1 .. 9 ] } 1 .. 7;
write_fbin("$dir/base.fbin", @base);
write_fbin("$dir/asked.fbin", @asked);
foreach my $metric (sort keys %exact)
{
	my $distance = $exact{$metric};
	my $wrong = 0;

	command_ok([ $helper, '--backend', 'cpu', '--exact', $metric, 5, "$dir/base.fbin", "$dir/asked.fbin", "$dir/result" ],
		"exact search, $metric");
	my ($nasked, $k, @result) = unpack 'L2L35', slurp_file("$dir/result");
	foreach my $q (0 .. $#asked)
	{
		my @all = sort { $a <=> $b } map { $distance->($asked[$q], $_) } @base;
		my @found = map { $distance->($asked[$q], $base[$_]) } @result[ 5 * $q .. 5 * $q + 4 ];

		$wrong += abs($all[$_] - $found[$_]) > 1e-4 foreach 0 .. 4;
	}
	is("$nasked $k $wrong", '7 5 0', "exact search, $metric: the nearest five");
}
command_fails_like([ $helper, '--exact', 'l2', 5, "$dir/base.fbin", "$dir/asked.fbin", "$dir/result" ],
	qr/made without nvcc/, 'exact search without a device says so');
command_fails_like([ $helper, '--backend', 'cpu', '--exact', 'l2', 5, "$dir/result", "$dir/asked.fbin", "$dir/result" ],
	qr/not a .fbin file|different dimensions/, 'exact search over another file fails');
command_fails_like([ $helper, '--backend', 'gpu' ], qr/--probe/, 'wrong arguments are explained');

$node->stop;
done_testing();
