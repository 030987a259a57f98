# omen_verify_index(): nothing is found in indexes that are whole, whatever has
# been done to them, at whatever level of SIMD; every fault that is planted into a
# file is found; and pages with any contents at all end neither the server nor a statement's patience.
#
# A model is a table with an index, and what their files hold. Faults are planted
# into copies of these files, put in the place of those of empty tables of the
# same kind, while the server is down.
#
# OMEN_SEED chooses the bits that are flipped and the mutations, OMEN_ROUNDS how
# often each field is flipped (0: no faults are planted), OMEN_MUTATIONS how many mutations there are.

use strict;
use warnings FATAL => 'all';

use OmenTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = 8192;
my $special = $page - 24;
my $seed = $ENV{OMEN_SEED} // 1;
my $rounds = $ENV{OMEN_ROUNDS} // 1;
my $mutations = $ENV{OMEN_MUTATIONS} // 1000;
my $slots = 40;

my $random_vector = sub {
	my ($dim) = @_;
	return "(SELECT array_agg(sin(i * 7 + g * g) + 0.2 * random()) FROM generate_series(1, $dim) AS g)::real[]::vector($dim)";
};

# type, class and options of an index, rows, and a value for row i
my %models = (
	keys => {
		type => 'vector(16)',
		class => 'vector_l2_ops, k, (id % 3), s',
		columns => 'k int, s text',
		rows => 700,
		value => 'ARRAY(SELECT cos(i * g) FROM generate_series(1, 16) AS g)::real[]::vector',
		more => "i % 50, nullif(repeat('x', i % 4), 'x')",
		op => '<->'
	},
	built => {
		type => 'vector(24)',
		class => 'vector_cosine_ops, k, s',
		columns => 'k int, s text',
		rows => 600,
		value => $random_vector->(24),
		more => "i % 50, nullif(repeat('x', i % 4), 'x')",
		op => '<=>',
		unchanged => 1
	},
	pq => {
		type => 'vector(64)',
		class => 'vector_cosine_ops',
		with => 'quantizer = pq, m = 4',
		rows => 300,
		value => $random_vector->(64),
		op => '<=>'
	},
	sq8 => {
		type => 'vector(24)',
		class => 'vector_ip_ops',
		with => 'quantizer = sq8, m = 6, ef_construction = 40',
		rows => 300,
		value => $random_vector->(24),
		op => '<#>'
	},
	wide => {
		type => 'vector(4500)',
		class => 'vector_l1_ops',
		rows => 30,
		value => 'array_fill(i, ARRAY[4500])::vector',
		op => '<+>'
	},
	half => {
		type => 'halfvec(1200)',
		class => 'halfvec_cosine_ops',
		rows => 60,
		value =>
		  'ARRAY(SELECT sin(i * g) FROM generate_series(1, 1200) g)::real[]::vector(1200)::halfvec(1200)',
		op => '<=>'
	},
	bits => {
		type => 'bit(64)',
		class => 'bit_hamming_ops',
		rows => 200,
		value => '(i * 7919)::bit(64)',
		op => '<~>'
	},
	sparse => {
		type => 'sparsevec(3000)',
		class => 'sparsevec_l2_ops',
		rows => 120,
		value =>
		  "('{1:' || i || ',' || 2 + i % 50 || ':2' || CASE WHEN i % 40 = 0 THEN (SELECT string_agg(',' || 100 + g || ':1', '') FROM generate_series(1, 1500) g) ELSE '' END || '}/3000')::sparsevec",
		op => '<->'
	},
	text => {
		type => 'tsvector',
		am => 'omenbm25',
		with => 'pending_list_limit = 64',
		rows => 1200,
		value =>
		  "(SELECT to_tsvector('simple', string_agg('w' || floor(300 * power(random(), 3)) || CASE WHEN g % 10 = 0 THEN 'x' || i ELSE '' END, ' ')) FROM generate_series(1, 5 + i % 40) AS g)",
		op => '<@>'
	});

sub create_table
{
	my ($name, $kind) = @_;
	my $columns = $kind->{columns} ? ", $kind->{columns}" : '';
	my $am = $kind->{am} // 'omenhnsw';
	my $class = $kind->{class} // 'tsvector_bm25_ops';
	my $with = $kind->{with} ? "WITH ($kind->{with})" : '';

	return "CREATE TABLE $name (id int, v $kind->{type}$columns);",
	  "CREATE INDEX i$name ON $name USING $am (v $class) $with;";
}

sub insert_rows
{
	my ($name, $kind, $from, $to) = @_;
	my $more = $kind->{more} ? ", $kind->{more}" : '';

	return "INSERT INTO $name SELECT i, $kind->{value}$more FROM generate_series($from, $to) AS i;";
}

my $node = new_node('verify',
	conf => "max_parallel_workers = 0\nautovacuum = off\nclient_min_messages = warning");
my $checksums = query($node, 'SHOW data_checksums') eq 'on';
my @names = sort keys %models;
@names = grep { $ENV{OMEN_MODELS} =~ /\b$_\b/ } @names if $ENV{OMEN_MODELS};

query($node, <<'SQL');
CREATE FUNCTION verify(index text, fully boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT string_agg(concat_ws(' ', invariant, block, "offset", detail), '; ')
		INTO result FROM omen_verify_index(index::regclass, fully);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN 'ERROR ' || SQLSTATE || ' ' || SQLERRM;
END
$$;
SQL

# --- indexes that are whole ---

# levels of omendb.simd that this machine has; each must write what all of them
# find right
my @levels = grep {
	$node->psql('postgres', "LOAD 'omendb'; SET omendb.simd = $_") == 0
} qw(auto generic neon avx2 avx512);
my $step = 0;

my @dirty;
foreach my $name (@names)
{
	my $kind = $models{$name};
	my ($table, $index) = create_table($name, $kind);
	my $n = $kind->{rows};

	foreach my $sql (
		"SELECT setseed(0.5); $table" . insert_rows($name, $kind, 1, $n) . $index,
		"INSERT INTO $name SELECT (v).* FROM (SELECT $name AS v FROM $name WHERE id = 7) s, generate_series(1, 60);",
		"DELETE FROM $name WHERE id % 5 = 0; VACUUM $name;",
		insert_rows($name, $kind, $n + 1, $n + int($n / 3)),
		"BEGIN; DELETE FROM $name WHERE id % 3 = 0; " . insert_rows($name, $kind, 1, 20) . 'ROLLBACK;',
		"UPDATE $name SET id = id + 10000 WHERE id % 11 = 3;",
		"DELETE FROM $name WHERE id % 7 = 1; VACUUM (INDEX_CLEANUP on) $name;",
		"DELETE FROM $name WHERE id % 13 = 1; " . insert_rows($name, $kind, $n + 500, $n + 520)
		. ($kind->{am} ? "INSERT INTO $name SELECT i, to_tsvector('simple', string_agg('long' || g, ' ')) FROM generate_series(5001, 5002) AS i, generate_series(1, 1000) AS g GROUP BY i;" : ''))
	{
		my $writer = $levels[ $step++ % @levels ];

		my $found = query($node, "SET omendb.simd = $writer; $sql"
			  . join('', map { "SET omendb.simd = $_; SELECT '$_: ' || verify('i$name', true);" } @levels));

		push @dirty, "$name, after $sql with $writer, read with $found" if $found =~ /\S/;
		last if $kind->{unchanged};
	}
}
is(join("\n", @dirty), '', 'nothing is found in indexes that are whole');

# --- while others write ---

# a bank for each access method, filled and emptied by several clients
query($node, <<'SQL');
CREATE FUNCTION must_be_whole(index text, fully boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	found text := verify(index, fully);
BEGIN
	IF found IS NOT NULL THEN
		RAISE EXCEPTION 'findings in %: %', index, found;
	END IF;
END
$$;
SQL
foreach my $name (grep { /^(?:keys|wide|text)$/ } @names)
{
	my $kind = $models{$name};
	my ($table, $index) = create_table('busy', $kind);

	query($node, "DROP TABLE IF EXISTS busy; $table" . insert_rows('busy', $kind, 1, 200) . $index);
	# each VACUUM would wait 5 s to cut the table, while others wait to vacuum it
	psql_many(
		$node, 6, 40,
		write => '\set a random(1, 100000)' . "\n"
		  . "BEGIN;\n" . insert_rows('busy', $kind, ':a', ':a + 2') . "\nEND;\n"
		  . "UPDATE busy SET id = id + 1 WHERE id % 17 = :a % 17;\n"
		  . "DELETE FROM busy WHERE id % 13 = :a % 13;\n",
		undo => "BEGIN;\n" . insert_rows('busy', $kind, 1, 3) . "\nROLLBACK;\n",
		clean => "VACUUM (INDEX_CLEANUP on, TRUNCATE off) busy;\n",
		check => "SELECT must_be_whole('ibusy', true);\n",
		light => "SELECT must_be_whole('ibusy', false);\n");
	is(query($node, "SELECT verify('ibusy', true)"), '', "$name: nothing is found when they have ended");
}

# it can be stopped
SKIP:
{
	skip 'no large model', 1 unless $models{text} && grep { $_ eq 'text' } @names;
	my ($ret, $out, $err) = $node->psql('postgres',
		"SET statement_timeout = '1ms'; SELECT * FROM omen_verify_index('itext', true)");
	like($err, qr/canceling statement due to statement timeout/, 'a check can be cancelled');
}

# --- places for copies ---

my (%bytes, %paths);
foreach my $name (@names)
{
	query($node, join ' ', map { create_table("${name}_$_", $models{$name}) } 0 .. $slots - 1);
}

sub path
{
	my ($relation) = @_;

	return $paths{$relation} //= query($node, "SELECT pg_relation_filepath('$relation')");
}
%paths = map { split /\|/ } lines($node,
	"SELECT relname, pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace");

# whatever was flushed or deleted last, a document that lives is pending
foreach my $i ($models{text} && grep({ $_ eq 'text' } @names) ? (900001, 900002) : ())
{
	query($node, insert_rows('text', $models{text}, $i, $i));
}
$node->stop;
system_or_bail('pg_checksums', '--disable', '-D', $node->data_dir)
  if $checksums;
foreach my $name (@names)
{
	$bytes{$_} = slurp_file($node->data_dir . '/' . path($_), 0) foreach $name, "i$name";
}

sub write_file
{
	my ($relation, $contents) = @_;
	my $path = $node->data_dir . '/' . path($relation);

	open my $file, '>:raw', $path or die "$path: $!";
	print $file $contents;
	close $file;
	unlink "${path}_fsm", "${path}_vm";
	return;
}

# Put copies of a model with faults in place, as many as there is room for, start
# the server, and do something with each: calls $check with table and fault.
# A fault is a model's name, what it is called, and what it does to the bytes.
sub plant
{
	my ($check, @faults) = @_;
	my (%nth, %used, @batch);

	# models in turn, so that few starts of the server have all of them
	@faults = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ $nth{ $_->[0] }++, $_ ] } @faults;

	while (@faults || @batch)
	{
		my $fault = shift @faults;
		my $i = $fault ? $used{ $fault->[0] }++ : $slots;

		if ($i < $slots)
		{
			my ($name, $what, $change) = @$fault;
			my $contents = $bytes{"i$name"};

			$change->(\$contents);
			write_file("${name}_$i", $bytes{$name});
			write_file("i${name}_$i", $contents);
			push @batch, [ "${name}_$i", $fault ];
			next if @faults;
			undef $fault;
		}
		$node->start;
		$check->(@batch);
		$node->stop;
		@batch = ();
		%used = ();
		unshift @faults, $fault if $fault;
	}
	return;
}

# --- faults in fields ---

srand $seed;

# flip a bit of a field
sub flip
{
	my ($name, $what, $offset, $size, $harmless) = @_;

	return map {
		my $bit = int rand 8 * $size;

		$bit = ($bit + 1) % (8 * $size) if $bit == ($harmless // -1);
		$bit += 8 * $offset;

		[ $name, "$what, bit " . ($bit - 8 * $offset),
			sub { vec(${ $_[0] }, $bit, 1) ^= 1 } ]
	} 1 .. $rounds;
}

# put another number into it
sub put
{
	my ($name, $what, $offset, $value) = @_;

	return [ $name, $what, sub { substr(${ $_[0] }, $offset, length $value) = $value } ];
}

my @kind_names = qw(free meta data entry node chain tidmap tiddir tidroot keys codes
  keydir keylist pending segment terms postings lengths rows alive);

# header and special area, without the generation, which only counts
my @page_fields = (
	[ 'flags', 10, 2 ],
	[ 'upper', 14, 2 ],
	[ 'special', 16, 2 ],
	[ 'version', 18, 2 ],
	[ 'prune_xid', 20, 4 ],
	[ 'kind', $special, 2 ],
	[ 'format', $special + 2, 2 ],
	[ 'next', $special + 8, 4 ],
	[ 'owner', $special + 12, 4 ],
	[ 'used', $special + 16, 2 ],
	[ 'unused', $special + 18, 4 ],
	[ 'page_id', $special + 22, 2 ]);

my @hnsw_meta = (
	[ 'magic', 0, 4 ], [ 'version', 4, 4 ], [ 'element', 8, 1 ], [ 'metric', 9, 1 ],
	[ 'own_kind', 10, 1 ], [ 'link_kind', 11, 1 ], [ 'dims', 12, 4 ], [ 'code_dims', 16, 4 ],
	[ 'link_dims', 20, 4 ], [ 'own_size', 24, 4 ], [ 'pair_size', 28, 4 ], [ 'link_size', 32, 4 ],
	[ 'seed', 40, 8 ], [ 'm', 52, 2 ], [ 'ef_construction', 54, 2 ],
	[ 'quantizer', 56, 2 ], [ 'max_links', 60, 2 ], [ 'slots_per_page', 62, 2 ],
	[ 'slot_size', 64, 4 ], [ 'own_inline', 68, 4 ], [ 'mean_start', 72, 4 ], [ 'entry_blocks', 76, 4 ],
	[ 'entry_size', 332, 4 ], [ 'entry_capacity', 336, 4 ],
	[ 'built_visits', 348, 4 ], [ 'tidmap_roots', 360, 4 ],
	[ 'codebook_start', 1000, 4 ], [ 'codebook_hash', 1004, 4 ], [ 'nkeys', 1008, 1 ],
	[ 'unused', 1017, 7 ], [ 'list_start', 1024, 4 ],
	[ 'list_heads', 1028, 4 ],
	[ 'range_size', 1040, 4 ], [ 'range_start', 1048, 4 ], [ 'code_start', 1052, 4 ]);

my @keys_meta = (
	[ 'built_nodes', 352, 8 ], [ 'key_kinds', 1009, 3 ], [ 'nranges', 1032, 4 ],
	[ 'range_first', 1044, 4 ], [ 'key_dirs', 1056, 4 ]);

my @bm25_meta = (
	[ 'magic', 0, 4 ], [ 'version', 4, 4 ], [ 'unit', 8, 2 ], [ 'units', 10, 8 ],
	[ 'nsegments', 18, 2 ], [ 'nextents', 24, 2 ], [ 'unused', 26, 2 ],
	(map {
		my $lane = 28 + 24 * $_;
		([ "head $_", $lane, 4 ], [ "head_owner $_", $lane + 4, 4 ], [ "tail $_", $lane + 8, 4 ],
			[ "tail_owner $_", $lane + 12, 4 ], [ "npages $_", $lane + 16, 4 ], [ "unused $_", $lane + 20, 4 ])
	} 0 .. 3),
	[ 'id', 128, 4 ], [ 'header', 132, 4 ], [ 'segment npages', 136, 4 ], [ 'ndocs', 140, 4 ],
	[ 'ndead', 144, 4 ], [ 'segment unused', 150, 2 ], [ 'length', 152, 8 ]);

# nothing tells whether an insert has chosen a node's links: bit 3
my @slot_fields = (
	[ 'flags', 0, 1, 3 ], [ 'version', 1, 1 ], [ 'nlinks', 3, 1 ], [ 'nscale', 4, 1 ],
	[ 'key_nulls', 5, 1 ], [ 'ntids', 6, 2 ], [ 'tids', 8, 6 ], [ 'more_tids', 20, 4 ],
	[ 'chain', 24, 4 ], [ 'own_bytes', 28, 4 ]);

my @segment_fields = map { [ $_->[0], $_->[1], $_->[2] ] } (
	[ 'id', 0, 4 ], [ 'ndocs', 4, 4 ], [ 'length', 8, 8 ], [ 'postings', 16, 8 ],
	[ 'nterms', 24, 4 ], [ 'dict_root', 28, 4 ], [ 'dict_first', 32, 4 ], [ 'lengths', 36, 4 ],
	[ 'nlong', 44, 4 ], [ 'rows', 48, 4 ], [ 'alive', 52, 4 ],
	[ 'npages', 56, 4 ], [ 'nruns', 60, 4 ], [ 'runs start', 64, 4 ], [ 'runs npages', 68, 4 ]);

sub fields
{
	my ($name, $what, $at, @fields) = @_;

	return map { flip($name, "$what $_->[0]", $at + $_->[1], @$_[ 2 .. $#$_ ]) } @fields;
}

sub slot_size
{
	my ($name) = @_;

	return unpack('V', substr($bytes{"i$name"}, 24 + 64, 4));
}

# where slots are for which a condition on the header holds
sub find_slots
{
	my ($name, $wanted) = @_;
	my $size = slot_size($name);
	my @found;

	foreach my $block (find_kind(\$bytes{"i$name"}, 4))
	{
		for (my $at = 24; $at + $size <= $special; $at += $size)
		{
			my ($flags, $version, $level, $nlinks, $nscale, $nulls, $ntids) =
			  unpack('C6v', substr($bytes{"i$name"}, $block * $page + $at, 8));

			push @found, $block * $page + $at
			  if $wanted->($flags, $version, $level, $nlinks, $nscale, $ntids);
		}
	}
	return @found;
}

# Blocks of a kind. Those that a segment had which has been merged stay as they
# are until they are used again, and nobody looks at them.
sub blocks_in_use
{
	my ($contents, $k) = @_;
	my @blocks = find_kind($contents, $k);
	my $nsegments = unpack('v', substr($$contents, 24 + 18, 2));

	return @blocks if $k < 14;
	my %segments = map { unpack('V', substr($$contents, 24 + 128 + 32 * $_, 4)) => 1 } 0 .. $nsegments - 1;
	return grep { $segments{ unpack('V', substr($$contents, $_ * $page + $special + 12, 4)) } } @blocks;
}

my @faults;
foreach my $name (@names)
{
	my $text = $name eq 'text';
	my $contents = \$bytes{"i$name"};

	# each kind of page: header, special area, all of it
	foreach my $k (0 .. $#kind_names)
	{
		my @blocks = grep { $k > 0 || substr($$contents, $_ * $page, $page) =~ /[^\0]/ } blocks_in_use($contents, $k);
		# an empty page of the pending area may have anything behind its end
		@blocks = grep { $k != 13 || unpack('v', substr($$contents, $_ * $page + 12, 2)) > 24 } @blocks;
		my $block = $blocks[ rand @blocks ] // next;
		my $at = $block * $page;
		my $what = "$name: $kind_names[$k] page $block";

		# nothing is known of free pages but that they are free
		next if $k == 0;
		push @faults, fields($name, $what, $at, @page_fields);
		push @faults, [ $name, "$what zeroed",
			sub { substr(${ $_[0] }, $at, $page) = "\0" x $page } ];
		push @faults, [ $name, "$what random",
			sub { substr(${ $_[0] }, $at + 24, $special - 24) = join '', map { chr int rand 256 } 25 .. $special } ];
		foreach my $other (grep { $_ != $block } $blocks[ rand @blocks ], int rand length($$contents) / $page)
		{
			next if substr($$contents, $other * $page, $page) eq substr($$contents, $at, $page);

			# the order of entries does not matter, nor that of lists all of
			# whose entries the column calls older
			next if ($k == 3 || ($k == 12 && $name eq 'keys')) && grep { $_ == $other } @blocks;
			push @faults, [ $name, "$what swapped with $other",
				sub {
					my $copy = substr(${ $_[0] }, $at, $page);
					substr(${ $_[0] }, $at, $page) = substr(${ $_[0] }, $other * $page, $page);
					substr(${ $_[0] }, $other * $page, $page) = $copy;
				} ];
		}
	}

	# the file; behind the last page that is in use there is nothing to be missed
	my $last = length($$contents);
	$last -= $page while !unpack('v', substr($$contents, $last - 24, 2));
	push @faults, map {
		my $length = $_;
		[ $name, "$name: cut to $length bytes", sub { substr(${ $_[0] }, $length) = '' } ]
	} 0, 100, $page, int($last / $page / 2) * $page, $last - $page, $last - 100;

	push @faults, fields($name, "$name: metapage", 24, $text ? @bm25_meta : @hnsw_meta);
	next if $text;

	# a shorter list of entries, and a TID map that may lack some, are allowed
	push @faults, put($name, "$name: unknown flag of the metapage", 24 + 58, pack('v', 4));
	push @faults, put($name, "$name: no entries", 24 + 340, pack('V', 0));
	push @faults, put($name, "$name: too many entries", 24 + 340, pack('V', 0x7FFF));

	my ($slot) = find_slots($name, sub { $_[0] == 1 && $_[2] == 0 && $_[5] > 0 });
	push @faults, fields($name, "$name: node at $slot", $slot, @slot_fields);
	push @faults, put($name, "$name: a second TID that is the first",
		$slot + 6, pack('v', 2) . substr($$contents, $slot + 8, 6) x 2);
	push @faults, put($name, "$name: a node is deleted", $slot, pack('C', 3));
	my ($free) = find_slots($name, sub { $_[0] == 0 && $_[1] > 0 });
	push @faults, put($name, "$name: a free slot is a node", $free, pack('C', 1)) if $free;
	push @faults, put($name, "$name: a free slot is a list", $free + 6, pack('v', 1)) if $free;

	# own codes and links
	my $size = slot_size($name);
	my $nkeys = unpack('C', substr($$contents, 24 + 1008, 1));
	my ($max_links, $per_page, $s, $own_inline) = unpack('vvVV', substr($$contents, 24 + 60, 12));
	my ($own_size) = unpack('V', substr($$contents, 24 + 24, 4));
	my $own = $slot + 32 + 8 * $nkeys;
	my $links = $own + $own_inline;
	my $link = unpack('V', substr($$contents, $links, 4));
	push @faults, flip($name, "$name: own code", $own, $own_size && $own_size < $own_inline ? $own_size : $own_inline - 8);
	push @faults, put($name, "$name: a link is the node's own", $links,
		pack('V', int(($slot % $page - 24) / $size) + int($slot / $page) * $per_page
			  | unpack('C', substr($$contents, $slot + 1, 1)) << 28));
	push @faults, put($name, "$name: two links are the same", $links + 4, pack('V', $link));
	push @faults, put($name, "$name: a link leads to the metapage", $links, pack('V', 0));
	push @faults, put($name, "$name: a link leads beyond the end", $links, pack('V', 0x0FFFFFF0));
	if (unpack('C', substr($$contents, 24 + 11, 1)) >= 2)
	{
		push @faults, flip($name, "$name: factors", $links + 4 * $max_links, 4);
		push @faults, flip($name, "$name: link codes", $links + 12 * $max_links, 4);
	}

	# entries and the TID map
	my $entry = $page * find_kind($contents, 3) + 24;
	push @faults, put($name, "$name: an entry leads to the metapage", $entry, pack('V', 0));
	push @faults, put($name, "$name: an entry has an impossible level", $entry + 4, pack('V', 77));
	foreach my $k (6, 7, 8)
	{
		my $at = $page * find_kind($contents, $k) + 24;
		$at += 4 while substr($$contents, $at, 4) eq "\0" x 4;
		push @faults, put($name, "$name: $kind_names[$k] leads nowhere", $at, pack('V', 0));
		push @faults, put($name, "$name: $kind_names[$k] leads elsewhere", $at, pack('V', 1));
	}
}

# what only some have
if ($bytes{ikeys})
{
	my $contents = \$bytes{ikeys};
	my ($lists) = find_slots('keys', sub { $_[0] == 5 });
	my ($scale) = find_slots('keys', sub { $_[0] == 1 && $_[4] > 0 });
	my ($node) = find_slots('keys', sub { $_[0] == 1 && $_[5] > 0 });

	push @faults, fields('keys', 'keys: metapage', 24, @keys_meta);
	push @faults, fields('keys', "keys: list at $lists", $lists,
		[ 'flags', 0, 1 ], [ 'version', 1, 1 ], [ 'level', 2, 1 ], [ 'nlinks', 3, 1 ],
		[ 'ntids', 6, 2 ], [ 'more_tids', 20, 4 ], [ 'chain', 24, 4 ], [ 'tids', 32, 6 ]);
	push @faults, put('keys', 'keys: links at scale are too many', $scale + 4, pack('C', 33));
	push @faults, put('keys', 'keys: level is too low', $scale + 2, pack('C', 0));
	push @faults, flip('keys', 'keys: keys of a slot', $node + 32, 24);
}
if ($bytes{ibuilt})
{
	my $contents = \$bytes{ibuilt};
	my ($keys, $dir, $list, $codes) = map { $page * find_kind($contents, $_) + 24 } 9, 11, 12, 10;
	my $first = unpack('V', substr($$contents, 24 + 1044, 4)) % 960;

	push @faults, fields('built', 'built: metapage', 24, @keys_meta);
	push @faults, flip('built', 'built: keys in the column', $keys + 8 * ($first + 40), 8);
	push @faults, put('built', 'built: NULLs of the column', $keys + 8 * 960, "\xFF" x 64);
	push @faults, put('built', 'built: nodes of the column', $keys + 8 * 960 + 120, "\0" x 120);
	push @faults, put('built', 'built: nodes that never were', $keys + 8 * 960 + 120, "\xFF");
	push @faults, put('built', 'built: directory leads nowhere', $dir, pack('V', 0));
	push @faults, put('built', 'built: directory leads elsewhere', $dir, pack('V', 2));
	push @faults, flip('built', 'built: codes of a list', $list + 80, 8);
	push @faults, flip('built', 'built: numbers of a list', $list + 8 * 678 + 40, 3);
	push @faults, flip('built', 'built: range codes', $codes + 40, 8);
}
if ($bytes{iwide})
{
	my $contents = \$bytes{iwide};
	my @chain = find_kind($contents, 5);
	my ($first) = grep { unpack('V', substr($$contents, $_ * $page + $special + 8, 4)) != 0xFFFFFFFF } @chain;

	push @faults, put('wide', 'wide: a chain ends early', $first * $page + $special + 8, pack('V', 0xFFFFFFFF));
	push @faults, put('wide', 'wide: a chain has no end', $first * $page + $special + 8, pack('V', $first));
	push @faults, flip('wide', 'wide: code in a chain', $first * $page + 24, 4000);
}
if ($bytes{itext})
{
	my $contents = \$bytes{itext};
	my %at = map { $kind_names[$_] => $page * (blocks_in_use($contents, $_))[0] + 24 } 14 .. 19;

	# a document that lives
	my ($pending, $doc);
	foreach my $block (find_kind($contents, 13))
	{
		my $end = $block * $page + unpack('v', substr($$contents, $block * $page + 12, 2));

		for (my $at = $block * $page + 24; $at < $end; $at += unpack('v', substr($$contents, $at + 14, 2)))
		{
			($pending, $doc) = ($block, $at) if unpack('v', substr($$contents, $at + 6, 2)) == 0;
		}
	}
	my $terms = unpack('v', substr($$contents, $doc + 12, 2));

	push @faults, fields('text', 'text: segment', $at{segment}, @segment_fields);
	push @faults, fields('text', "text: pending document", $doc,
		[ 'tid', 0, 6 ], [ 'flags', 6, 2 ], [ 'length', 8, 4 ], [ 'nterms', 12, 2 ], [ 'size', 14, 2 ],
		[ 'hash', 16, 4 ], [ 'tf', 20, 2 ], [ 'offset', 22, 2 ], [ 'lexemes', 16 + 8 * ($terms + 1), 3 ]);
	push @faults, fields('text', 'text: dictionary', $at{terms},
		[ 'nentries', 0, 2 ], [ 'nrestarts', 2, 2 ], [ 'end', 4, 2 ], [ 'level', 6, 2 ], [ 'entry', 8, 8 ],
		[ 'restarts', $special - 24 - 4, 4 ]);
	push @faults, fields('text', 'text: contents of', $at{$_}, [ $_, 0, 64 ]) foreach qw(postings lengths rows);
	push @faults, put('text', 'text: the number of the next segment is in use', 24 + 20, pack('V', 1));
	push @faults, flip('text', 'text: a dead document', $at{alive}, 40);
	push @faults, flip('text', 'text: dead documents that never were', $at{alive} + 4000, 400);
	push @faults, fields('text', 'text: lower of the pending area', $pending * $page, [ 'lower', 12, 2 ]);
}

# REINDEX CONCURRENTLY needs nothing of what is there; the file gets another name
sub repair
{
	my ($table, $what) = @_;

	my ($path, $found) = split /\n/, query($node,
		"REINDEX INDEX CONCURRENTLY i$table; SELECT pg_relation_filepath('i$table'); SELECT verify('i$table', true)");

	$paths{"i$table"} = $path;
	return ($found // '') eq '' ? () : "$what: $found";
}

my (@missed, @strange, @unrepaired);
my $light = 0;
@faults = () if $rounds == 0;
my $planted = @faults;
plant(
	sub {
		my (@batch) = @_;
		my $list = join ', ', map { "('i$_->[0]')" } @batch;
		my @results = split /\n/, query($node,
			"SET statement_timeout = '300s'; SELECT coalesce(verify(i, true), 'nothing'), coalesce(verify(i, false), 'nothing') FROM (VALUES $list) AS f(i)");

		foreach my $n (0 .. $#batch)
		{
			my ($fully, $light_result) = split /\|/, $results[$n];
			my $what = $batch[$n]->[1]->[1];

			diag("$what: $fully") if $ENV{OMEN_VERBOSE};
			push @missed, $what if $fully eq 'nothing';
			push @strange, "$what: $fully" if $fully =~ /^ERROR (?!XX00[012])/;
			$light++ if $light_result ne 'nothing';
		}
		push @unrepaired, repair($_->[0], $_->[1]->[1]) foreach grep { $_->[0] =~ /_7$/ } @batch;
	},
	@faults);
# short postings, if chance has them there, end in bits that stand for nothing
my @padding = grep { /contents of postings/ } @missed;
cmp_ok(scalar @padding, '<=', 16, 'of 512 bits of postings, few are padding');
is(join("\n", grep { !/contents of postings/ } @missed), '', "all of the other $planted planted faults are found");
is(join("\n", @strange), '', 'by findings, or errors that say what is broken');
is(join("\n", @unrepaired), '', 'REINDEX CONCURRENTLY repairs them');
note("without the table $light of $planted are found");
cmp_ok($light, '>=', 0.8 * $planted, "most of them ($light) without the table, too");

# --- any contents ---

# Verify, scan, insert
sub exercise_sql
{
	my ($table) = @_;
	my ($name) = $table =~ /^(\w+)_\d+$/;
	my $kind = $models{$name};
	my $to = $name eq 'text' ? "'w1 | w7'" : "(SELECT v FROM $name LIMIT 1)";

	return <<"SQL";
\\echo = $table
\\warn = $table
SELECT 'found ' || count(*) FROM omen_verify_index('i$table', true);
SELECT count(*) FROM (SELECT id FROM $table ORDER BY v $kind->{op} $to LIMIT 10) s;
INSERT INTO $table SELECT * FROM $name ORDER BY id LIMIT 3;
SELECT count(*) FROM (SELECT id FROM $table ORDER BY v $kind->{op} $to) s;
SELECT 'found ' || count(*) FROM omen_verify_index('i$table');
SQL
}

# Do so with several tables, in one session: returns for each what came of it
sub exercise
{
	my (@tables) = @_;
	my %results = map { $_ => { out => '', err => 'not reached: the server closed the connection' } } @tables;
	my %both = (out => '', err => '');

	$node->psql(
		'postgres',
		"\\set VERBOSITY verbose\nSET statement_timeout = '30s';\nSET enable_seqscan = off;\n"
		  . join('', map { exercise_sql($_) } @tables),
		on_error_stop => 0,
		stdout => \$both{out},
		stderr => \$both{err});
	foreach my $kind (keys %both)
	{
		my (undef, @parts) = split /^= (\w+)$/m, $both{$kind};

		while (my ($table, $part) = splice @parts, 0, 2)
		{
			$results{$table}->{$kind} = $part // '';
		}
	}
	return \%results;
}

my $found = 0;
my @known;
@strange = ();
srand $seed + 1;

# what once ended with another error
if ($bytes{itext})
{
	my $contents = $bytes{itext};

	foreach my $field (0, 8)
	{
		my $copy = $contents;
		substr($copy, 24 + 28 + 24 * $_ + $field, 4) = pack('V', 0xFFFFFFFE) foreach 0 .. 3;
		push @known, [ 'text', 'lanes of the pending area lie far away', sub { ${ $_[0] } = $copy } ];
	}
}
plant(
	sub {
		my $results = exercise(map { $_->[0] } @_);

		foreach my $slot (@_)
		{
			my ($out, $err) = @{ $results->{ $slot->[0] } }{qw(out err)};
			my @states = $err =~ /(?:ERROR|FATAL|PANIC):  (\w{5}):/g;

			$found++ if $out =~ /found [1-9]/ || $err =~ /XX00/;
			push @strange, "$slot->[1]->[0] $slot->[1]->[1]: " . substr($err, 0, 500)
			  if (grep { !/^(?:XX00[12]|40001)$/ } @states) || $err =~ /closed the connection|FATAL|PANIC/;
		}
	},
	@known,
	map {
		my $fault = [ $names[ $_ % @names ], "mutation $_" ];
		$fault->[2] = sub { $fault->[1] .= ': ' . mutate_pages($_[0]) };
		$fault;
	} 1 .. $mutations);
is(join("\n", @strange), '',
	"$mutations mutations of seed $seed: answers, or errors that say what is broken");
note("$found of $mutations mutations were found");
cmp_ok($found, '>', $mutations / 2 - 5, "$found of them were found");
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/,
	'no server process died');

done_testing();
