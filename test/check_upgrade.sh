#!/bin/bash
#
# pg_upgrade with indexes in place: a cluster of an older PostgreSQL with
# omenhnsw and omenbm25 indexes is taken over by a newer one, where the same
# files must give the same answers and take new rows.
#
#   make check-upgrade                 15 to 17 and 17 to 18, each in the Debian
#                                      folder of make check-all; needs root
#   test/check_upgrade.sh 15 17        both installed here, with headers, below
#                                      /usr/lib/postgresql

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"

# build VERSION: omendb in a private copy of it; sets its BIN
build()
{
	WORK=$top_work/$1
	mkdir -p "$WORK"
	SYSTEM_PG_CONFIG=/usr/lib/postgresql/$1/bin/pg_config
	[ -e "$("$SYSTEM_PG_CONFIG" --includedir-server)/postgres.h" ] ||
		die "no PostgreSQL $1 with headers"
	make -C "$TOP" -s clean PG_CONFIG="$SYSTEM_PG_CONFIG" >/dev/null
	omen_build
	[ "$(id -u)" != 0 ] || chown "$TEST_USER" "$WORK"
}

# the cluster of the version built last, answers from it
start_server()
{
	as_user "$BINDIR/pg_ctl" -D "$WORK/data" -l "$WORK/server.log" -w -s start ||
		die "server did not start: $WORK/server.log"
}

stop_server()
{
	as_user "$BINDIR/pg_ctl" -D "$WORK/data" -m fast -w -s stop
}

init()
{
	local extra=

	"$BINDIR/initdb" --help | grep -q -- --no-data-checksums &&
		extra=--no-data-checksums
	as_user "$BINDIR/initdb" -D "$WORK/data" -U postgres -A trust -N \
		--no-locale -E UTF8 $extra >"$WORK/initdb.log" 2>&1 ||
		die "initdb failed: $WORK/initdb.log"
	printf '%s\n' "listen_addresses = ''" "fsync = off" "jit = off" \
		"unix_socket_directories = '$top_work'" "port = $PGPORT" \
		"autovacuum = off" >>"$WORK/data/postgresql.conf"
}

sql()
{
	as_user "$BINDIR/psql" -XqAt -v ON_ERROR_STOP=1 -h "$top_work" \
		-U postgres -d postgres "$@"
}

contents="
CREATE EXTENSION omendb;
CREATE TABLE items (id int PRIMARY KEY, kind int, name text, v vector(24),
	h halfvec(24), s sparsevec(24), b bit(24), body tsvector);
SELECT setseed(0.5);
INSERT INTO items SELECT i, i % 7, 'n' || i % 13, x, x, x::vector::sparsevec,
	binary_quantize(x::vector), to_tsvector('simple', 'word w' || i % 11 || ' x' || i % 101)
FROM (SELECT i, (SELECT array_agg(random() - 0.5) FROM generate_series(1, 24 + 0 * i))::real[]::vector(24) AS x
	FROM generate_series(1, 3000) i) r;
CREATE INDEX i_v ON items USING omenhnsw (v vector_l2_ops, kind, name);
CREATE INDEX i_pq ON items USING omenhnsw (v vector_cosine_ops) WITH (quantizer = pq);
CREATE INDEX i_h ON items USING omenhnsw (h halfvec_cosine_ops);
CREATE INDEX i_s ON items USING omenhnsw (s sparsevec_ip_ops);
CREATE INDEX i_b ON items USING omenhnsw (b bit_hamming_ops);
CREATE INDEX i_named ON items USING hnsw (h halfvec_l2_ops);
CREATE INDEX i_body ON items USING omenbm25 (body);
INSERT INTO items SELECT i + 3000, kind, name, v, h, s, b, body FROM (SELECT row_number() OVER () AS i, * FROM items WHERE id % 30 = 0) x;
DELETE FROM items WHERE id % 17 = 0;
VACUUM items;
DELETE FROM items WHERE id % 19 = 0;"

answers="
SET enable_seqscan = off; SET enable_sort = off;
SELECT 'files', relname, pg_relation_filenode(oid) FROM pg_class WHERE relname LIKE 'i\_%' ORDER BY 2;
SELECT 'l2', array_agg(id) FROM (SELECT id FROM items ORDER BY v <-> (SELECT v FROM items WHERE id = 5) LIMIT 40) x;
SELECT 'keys', array_agg(id) FROM (SELECT id FROM items WHERE kind = 3 AND name = 'n4' ORDER BY v <-> (SELECT v FROM items WHERE id = 7) LIMIT 20) x;
SELECT 'pq', array_agg(id) FROM (SELECT id FROM items ORDER BY v <=> (SELECT v FROM items WHERE id = 11) LIMIT 40) x;
SELECT 'half', array_agg(id) FROM (SELECT id FROM items ORDER BY h <=> (SELECT h FROM items WHERE id = 13) LIMIT 40) x;
SELECT 'named', array_agg(id) FROM (SELECT id FROM items ORDER BY h <-> (SELECT h FROM items WHERE id = 13) LIMIT 40) x;
SELECT 'sparse', array_agg(id) FROM (SELECT id FROM items ORDER BY s <#> (SELECT s FROM items WHERE id = 14) LIMIT 40) x;
SELECT 'bits', array_agg(d) FROM (SELECT b <~> (SELECT b FROM items WHERE id = 15) AS d FROM items ORDER BY 1 LIMIT 40) x;
SELECT 'all', count(*), count(DISTINCT id) FROM (SELECT id FROM items ORDER BY v <-> (SELECT v FROM items WHERE id = 5)) x;
SELECT 'text', array_agg(id || ' ' || round(s::numeric, 6)) FROM (SELECT id, body <@> 'w3 | x5'::tsquery AS s FROM items ORDER BY 2 LIMIT 40) x;
SELECT 'match', array_agg(id ORDER BY id) FROM items WHERE body @@ 'w3 & !x5';
SELECT 'map', omen_tid_map_problems('i_v'), omen_key_problems('i_v'), bm25_problems('i_body');"

# indexes that the answers are to come from
plans="
SET enable_seqscan = off; SET enable_sort = off;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY v <-> '[$(seq -s, 24)]' LIMIT 40;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY v <=> '[$(seq -s, 24)]' LIMIT 40;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY h <=> '[$(seq -s, 24)]' LIMIT 40;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY h <-> '[$(seq -s, 24)]' LIMIT 40;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY s <#> '{1:1}/24' LIMIT 40;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY b <~> repeat('01', 12)::bit(24) LIMIT 40;
EXPLAIN (COSTS off) SELECT id FROM items ORDER BY body <@> 'w3'::tsquery LIMIT 40;"

# what only a whole index can do
changes="
INSERT INTO items SELECT id + 100000, kind, name, v, h, s, b, body FROM items WHERE id % 10 = 1;
DELETE FROM items WHERE id % 23 = 0;
VACUUM items;
SET enable_seqscan = off; SET enable_sort = off;
SELECT (SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> (SELECT v FROM items WHERE id = 5)) x)
	= (SELECT count(*) FROM items),
	(SELECT count(*) FROM (SELECT id FROM items ORDER BY body <@> 'word'::tsquery) x WHERE id > 100000)
	= (SELECT count(*) FROM items WHERE id > 100000),
	omen_tid_map_problems('i_v'), omen_key_problems('i_v'), coalesce(bm25_problems('i_body'), '') = '';"

# 17.12 gives every column an option that 18.6 does not know, so that no table
# at all can be upgraded from the one to the other: ours go without it.
forget_options()
{
	sql <<<"SET allow_system_table_mods = on;
		UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%}'" ||
		die "could not reset options of columns"
}

# upgrade OLD NEW
upgrade()
{
	local old=$1 new=$2 old_bin old_data used

	build "$old"
	init
	start_server
	sql <<<"$contents" >/dev/null || die "could not make the old cluster"
	forget_options
	used=$(sql <<<"$plans" | grep -oE 'using i_[a-z0-9]+' | sort -u | wc -l)
	[ "$used" = 7 ] || die "only $used of 7 indexes are used by PostgreSQL $old"
	sql <<<"$answers" >"$top_work/before" || die "no answers before"
	stop_server
	old_bin=$BINDIR old_data=$WORK/data

	build "$new"
	init
	say "pg_upgrade"
	mkdir -p "$top_work/run"
	[ "$(id -u)" != 0 ] || chown "$TEST_USER" "$top_work/run"
	(cd "$top_work/run" && as_user "$BINDIR/pg_upgrade" -U postgres \
		-b "$old_bin" -B "$BINDIR" -d "$old_data" -D "$WORK/data" \
		-s "$top_work" >"$top_work/pg_upgrade.log" 2>&1) || {
		tail -30 "$top_work/pg_upgrade.log" >&2
		die "pg_upgrade from $old to $new failed"
	}
	start_server
	sql -c "ANALYZE"
	used=$(sql <<<"$plans" | grep -oE 'using i_[a-z0-9]+' | sort -u | wc -l)
	[ "$used" = 7 ] || die "only $used of 7 indexes are used by PostgreSQL $new"
	sql <<<"$answers" >"$top_work/after" || die "no answers after"
	diff -u "$top_work/before" "$top_work/after" || die "answers differ"
	[ "$(sql <<<"$changes")" = "t|t|0|0|t" ] || die "changes went wrong"
	stop_server
	say "PG $old to $new: $(wc -l <"$top_work/before") answers equal," \
		"files kept, changed rows found"
}

run_here()
{
	export PGPORT=${OMEN_PORT:-5432}
	TEST_USER=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		TEST_USER=postgres
		TEST_GROUP=$(id -gn postgres)
	fi
	work_folder
	top_work=$WORK
	[ "$(id -u)" != 0 ] || chown "$TEST_USER" "$top_work"
	upgrade "$1" "$2"
	rm -rf "$top_work"
}

# in_folder SUITE OLDSUITE OLD NEW: the older server comes from another suite
in_folder()
{
	local folder=$WORK/$1

	make_postgres "$folder" "$1" "$4"
	if [ ! -e "$folder/usr/include/postgresql/$3/server/postgres.h" ]; then
		say "adding PostgreSQL $3 from $2 to $folder"
		sed "s/ $1 / $2 /" "$folder/etc/apt/sources.list" \
			>"$folder/etc/apt/sources.list.d/older.list"
		logged "$folder.update.log" in_debian "$folder" \
			apt-get -o Acquire::Check-Valid-Until=false update -qq
		logged "$folder.packages.log" in_debian "$folder" \
			apt-get install -y -qq --no-install-recommends "postgresql-$3"
		add_headers "$folder" "$3"
	fi
	copy_tree "$folder"
	in_debian "$folder" bash /tmp/omendb-check/test/check_upgrade.sh "$3" "$4"
}

if [ $# = 2 ]; then
	run_here "$@"
else
	versions_folder
	in_folder trixie bookworm 15 17 || failed=1
	in_folder sid trixie 17 18 || failed=1
	[ -z "$failed" ]
fi
