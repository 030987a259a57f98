# A helper for GPU builds that misbehaves: it stands between the server and the
# true one, passes on what they say, and does one thing wrong.
#
#	gpu_proxy.pl PIDFILE MODE [HELPER ARGUMENT...]
#
# PIDFILE gets the ids of its processes, PIDFILE.memory how much of the device's
# memory and of the machine's the server allows. MODE is "pass", or a deed at a message:
# "kill@TYPE", "hang@TYPE", "exit@TYPE" when the first message of that type passes
# (of either side, START being none), or something done to the first CLUSTERS or
# LINKS, or to where the rows are. "busy" does not listen to the helper after CLUSTERS
# until that has nothing more to do or waits; PIDFILE.progress gets how often it told
# its progress from then on.

use strict;
use warnings FATAL => 'all';

use IPC::Open2;
use IO::Select;
use Socket;

my ($pidfile, $mode, @helper) = @ARGV;
my @types = qw(START HELLO REQUEST ROWS PROGRESS CLUSTERS LINKS END ERROR);
my %type = map { $types[$_] => $_ } 0 .. $#types;
my ($deed, $when) = split /@/, $mode;
my ($nnodes, $max_links, $clusters_seen, $links_seen, $nprogress) = (0, 0, 0, 0, 0);

# --- CRC-32C ---

my @table = map {
	my $crc = $_;

	$crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 foreach 1 .. 8;
	$crc;
} 0 .. 255;

sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xFFFFFFFF;

	$crc = $table[ ($crc ^ $_) & 255 ] ^ $crc >> 8 foreach unpack 'C*', $bytes;
	return $crc ^ 0xFFFFFFFF;
}

sub frame
{
	my ($type, $payload, %o) = @_;
	my $head = pack('LSSL', $o{magic} // 0x42474D4F, $o{version} // 6, $type,
		$o{length} // length $payload);

	return $head . pack('L', crc32c($head . $payload) ^ ($o{crc} // 0)) . $payload;
}

# --- what is done ---

sub act_at
{
	my ($type) = @_;

	return if !defined $when || $type{$when} != $type;
	kill 'KILL', $$ if $deed eq 'kill';
	exit 3 if $deed eq 'exit';
	sleep 1000 while $deed eq 'hang';
	return;
}

# LINKS as [nscale, links...] for each node, and back
sub unpack_links
{
	my ($payload) = @_;
	my (undef, $count) = unpack 'L2', $payload;
	my @nlinks = unpack "x16 C$count", $payload;
	my @nscale = unpack 'x' . (16 + $count) . "C$count", $payload;
	my $at = length($payload) - 4 * $count * $max_links;

	return map {
		[ $nscale[$_], unpack "L$nlinks[$_]", substr $payload, $at + 4 * $_ * $max_links ]
	} 0 .. $count - 1;
}

sub pack_links
{
	my ($head, @nodes) = @_;

	my $counts = pack 'C*', map({ $#$_ } @nodes), map { $_->[0] } @nodes;

	$counts .= "\0" x (-length($counts) % 16);
	return $head . $counts . join '', map {
		my ($nscale, @links) = @$_;

		substr pack("L*", @links) . "\0" x (4 * $max_links), 0, 4 * $max_links;
	} @nodes;
}

# the first LINKS with something wrong in it; bytes to be sent
sub spoil
{
	my ($payload) = @_;
	my $head = substr $payload, 0, 16;
	my @nodes = unpack_links($payload);
	my $frame = frame($type{LINKS}, $payload);
	my %with = (
		id => sub { $nodes[7][3] = $nnodes },
		'huge-id' => sub { $nodes[7][3] = 0xFFFFFFFF },
		self => sub { $nodes[7][3] = 7 },
		twice => sub { $nodes[7][3] = $nodes[7][4] },
		degree => sub { push @{ $nodes[7] }, 101 .. 180 },
		scale => sub { $nodes[7][0] = 20 },
		'scale-level' => sub {
			my ($high) = grep { $_->[0] > 0 } @nodes;
			my ($low) = grep { my $node = $_; $nodes[$node][0] == 0
				  && !grep { $node == $_ } @$high[ 1 .. $#$high ] } 0 .. $#nodes;
			$high->[-1] = $low;
		},
		unsorted => sub { $_ = [ 0, reverse @$_[ 1 .. 16 ] ] foreach @nodes },
		random => sub {
			my $node = 0;
			foreach (@nodes)
			{
				$_ = [ 0, map { ($node + 1 + $_ * 37) % $nnodes } 1 .. 16 ];
				$node++;
			}
		},
		none => sub { $_ = [0] foreach @nodes });

	if ($with{$mode})
	{
		$with{$mode}->();
		return frame($type{LINKS}, pack_links($head, @nodes));
	}
	return frame($type{LINKS}, $payload, crc => 1) if $mode eq 'crc';
	return frame($type{LINKS}, $payload, version => 1) if $mode eq 'version';
	return frame($type{LINKS}, $payload, length => 0xFFFFFFF0) if $mode eq 'length';
	return frame(77, $payload) if $mode eq 'type';
	return frame($type{LINKS}, substr $payload, 0, -3) if $mode eq 'short';
	return frame($type{LINKS}, "$payload??") if $mode eq 'long';
	return frame($type{LINKS}, '?') if $mode eq 'empty';
	return frame($type{LINKS}, pack('L', 1) . substr $payload, 4) if $mode eq 'order';
	return frame($type{LINKS}, pack('LL', 0, $nnodes + 1) . substr $payload, 8) if $mode eq 'count';
	return frame($type{END}, "\0" x 24) if $mode eq 'early-end';
	return frame($type{ERROR}, pack 'La252', 3, "no\nluck") if $mode eq 'error';
	return frame($type{ERROR}, pack 'La252', 2, 'no room') if $mode eq 'no-room';
	return 'this is not what was meant' if $mode eq 'garbage';
	return substr($frame, 0, length($frame) / 2) if $mode eq 'half';
	return $frame;
}

# the same with the first CLUSTERS
sub spoil_clusters
{
	my ($payload) = @_;
	my $head = substr $payload, 0, 16;
	my @clusters = unpack 'L*', substr $payload, 16;

	$clusters[7] = 0xFFFFFFFF if $mode eq 'cluster';
	@clusters = reverse @clusters if $mode eq 'other-clusters';
	pop @clusters if $mode eq 'few-clusters';
	$head = pack('L', 1) . substr $head, 4 if $mode eq 'cluster-order';
	return frame($type{END}, "\0" x 24) if $mode eq 'no-clusters';
	return frame($type{CLUSTERS}, $head . pack 'L*', @clusters);
}

# the same with where the rows are
sub spoil_rows
{
	my ($payload) = @_;
	my ($codes, $levels, $path) = unpack 'Q2a*', $payload;

	$path = pack 'a1024', 'no such file' if $mode eq 'no-file';
	$codes = 1 << 40 if $mode eq 'no-codes';
	$levels = ~0 if $mode eq 'no-levels';
	return frame($type{HELLO}, 'hello?') if $mode eq 'no-rows';
	return frame($type{ROWS}, substr $payload, 0, -1) if $mode eq 'few-rows';
	return frame($type{ROWS}, pack 'Q2a*', $codes, $levels, $path);
}

# --- passing on ---

# Takes complete frames from the front of a buffer
sub next_frame
{
	my ($buffer) = @_;

	return if length $$buffer < 16;
	my (undef, undef, $type, $length) = unpack 'LSSL', $$buffer;
	return if length $$buffer < 16 + $length;
	return ($type, substr $$buffer, 0, 16 + $length, '');
}

sub write_all
{
	my ($to, $bytes) = @_;

	for (my $at = 0; $at < length $bytes;)
	{
		my $written = syswrite $to, $bytes, length($bytes) - $at, $at;

		exit 1 if !$written;
		$at += $written;
	}
	return;
}

# processor time of the helper
sub ticks_of
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/stat" or return 0;
	my @fields = split ' ', <$file>;
	return $fields[13] + $fields[14];
}

sub be_busy
{
	my ($pid) = @_;

	foreach my $try (1 .. 60)
	{
		my $before = ticks_of($pid);

		sleep 2;
		last if ticks_of($pid) == $before;
	}
	return;
}

sub from_helper
{
	my ($type, $bytes, $pid) = @_;

	act_at($type);
	if ($mode eq 'busy')
	{
		be_busy($pid) if $type == $type{CLUSTERS} && !$clusters_seen;
		$nprogress++ if $type == $type{PROGRESS} && $clusters_seen && !$links_seen;
		if ($type == $type{LINKS} && !$links_seen)
		{
			open my $file, '>', "$pidfile.progress" or die "$pidfile.progress: $!";
			print $file $nprogress;
			close $file;
		}
	}
	$bytes = spoil(substr $bytes, 16)
	  if $type == $type{LINKS} && !$links_seen++;
	$bytes = spoil_clusters(substr $bytes, 16)
	  if $type == $type{CLUSTERS} && !$clusters_seen++;
	write_all(\*STDOUT, $bytes);
	exit 3 if $mode eq 'half' && $type == $type{LINKS};
	return;
}

sub take_request
{
	my ($request) = @_;

	open my $memory, '>', "$pidfile.memory" or die "$pidfile.memory: $!";
	print $memory join ' ', unpack 'x48 Q2', $request;
	close $memory;
	$nnodes = unpack 'L', $request;
	$max_links = unpack 'x16 L', $request;
	return;
}

sub from_server
{
	my ($type, $bytes) = @_;

	take_request(substr $bytes, 16) if $type == $type{REQUEST};
	act_at($type);
	$bytes = spoil_rows(substr $bytes, 16) if $type == $type{ROWS};
	return $bytes;
}

open my $pids, '>', $pidfile or die "$pidfile: $!";
print $pids "$$\n";
$pids->flush;
act_at(0);
if ($mode eq 'silent' || $mode eq 'noise')
{
	write_all(\*STDOUT, "hello?\n" x 10) if $mode eq 'noise';
	sleep 1000;
}

my ($out, $in);
my $pid;
if ($mode eq 'busy')
{
	# as the server talks to it, but with little room
	socketpair($out, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
	setsockopt $other, SOL_SOCKET, SO_SNDBUF, 4096 or die "setsockopt: $!";
	$in = $out;
	$pid = fork // die "fork: $!";
	if (!$pid)
	{
		open STDIN, '<&', $other or die "stdin: $!";
		open STDOUT, '>&', $other or die "stdout: $!";
		exec @helper or die "$helper[0]: $!";
	}
	close $other;
}
else
{
	$pid = open2($out, $in, @helper);
}
print $pids "$pid\n";
close $pids;

my $select = IO::Select->new(\*STDIN, $out);
my %buffers = (server => '', helper => '');
while (my @ready = $select->can_read)
{
	foreach my $from (@ready)
	{
		my $name = $from == $out ? 'helper' : 'server';

		if (!sysread $from, $buffers{$name}, 1 << 20, length $buffers{$name})
		{
			exit 0;
		}
		while (my ($type, $bytes) = next_frame(\$buffers{$name}))
		{
			if ($name eq 'helper')
			{
				from_helper($type, $bytes, $pid);
			}
			else
			{
				write_all($in, from_server($type, $bytes));
			}
		}
	}
}
