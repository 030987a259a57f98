#!/bin/bash
#
# Coverage-guided fuzzing by libFuzzer, with clang. The corpus of each target
# is below test/fuzz/corpus; what a run finds beside it is kept in the work
# folder, and with MERGE=1 what reaches code that the corpus does not is put
# into it.
#
#   make fuzz                          each target for OMEN_FUZZ_SECONDS (60)
#   make fuzz TARGETS="posting quant"  these: posting quant gpu_helper (without a
#                                      server), input recv tsquery pages_hnsw
#                                      pages_keys pages_bm25 gpu_server
#
# Undefined behaviour and failed assertions end a target, as does what the
# sanitizer of addresses sees in those without a server. The input is kept.

. "$(dirname "$0")/../lib.sh"

CC=clang
SECONDS_EACH=${OMEN_FUZZ_SECONDS:-60}
undefined="-fsanitize=undefined,float-cast-overflow"
failed=
server=

# corpus TARGET: make its folders
corpus()
{
	mkdir -p "$WORK/corpus/$1" "$WORK/found/$1" "$TOP/test/fuzz/corpus/$1"
	cp -r "$TOP/test/fuzz/corpus/$1" "$WORK/seeds/"
	chmod -R a+rX "$WORK/seeds"
	[ "$(id -u)" != 0 ] || chown -R "$TEST_USER" "$WORK/corpus" "$WORK/found"
}

# options TARGET: of libFuzzer, one a line
options()
{
	printf '%s\n' "-max_total_time=$SECONDS_EACH" -timeout=60 -report_slow_units=60 \
		-max_len=1024 \
		-rss_limit_mb=4096 "-artifact_prefix=$WORK/found/$1/" \
		-print_final_stats=1 -verbosity=1
	# too few inputs a second for lengths that grow with their number
	[[ $1 != pages_* && $1 != gpu_* ]] || printf '%s\n' -len_control=0
}

# report TARGET STATUS: the last lines of its log, and what it found. Each of the
# seeds was chosen because it reaches what those before it do not. Where that holds
# of less than a third, what runs is not what should: a library without counters, say,
# because something else was built in the tree meanwhile.
report()
{
	local log=$WORK/log/$1.log found seeds kept

	found=$(find "$WORK/found/$1" -type f | wc -l)
	seeds=$(find "$WORK/seeds/$1" -type f | wc -l)
	kept=$(sed -nE 's,^#[0-9]+[[:space:]]+INITED .* corp: ([0-9]+)/.*,\1,p' "$log")
	[ "$((3 * ${kept:-0}))" -ge "$seeds" ] ||
		echo "only ${kept:-0} of $seeds seeds reach anything new" >>"$log"
	if [ "$2" != 0 ] || [ "$found" != 0 ] || [ "$((3 * ${kept:-0}))" -lt "$seeds" ] ||
		! grep -q '^stat::number_of_executed_units' "$log"; then
		failed=1
		tail -40 "$log"
	fi
	printf '%-12s %9s inputs, %5d s, corpus %4d, findings %d\n' "$1" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)" \
		"$SECONDS_EACH" "$(find "$WORK/corpus/$1" -type f | wc -l)" "$found"
}

# build_alone TARGET: a program of its own
build_alone()
{
	local source=$TOP/test/fuzz/fuzz_$1.c link

	link=$(sed -nE '1s,^/\* *link: *(.*[^ ]) *\*/.*,\1,p' "$source")
	# shellcheck disable=SC2046,SC2086
	(cd "$TOP" && clang -std=gnu99 -O1 -g -w -D_GNU_SOURCE \
		-DUSE_ASSERT_CHECKING -fsanitize=fuzzer,address $undefined \
		-fsanitize-coverage-ignorelist=test/fuzz/not_counted \
		-fno-sanitize-recover=all -Isrc -Itest/fuzz \
		-I"$("$PG_CONFIG" --includedir-server)" -o "$WORK/fuzz_$1" \
		"$source" test/unit/assert.c $(eval "ls $link") \
		-L"$("$PG_CONFIG" --pkglibdir)" -L"$("$SYSTEM_PG_CONFIG" --libdir)" \
		-lpgcommon -lpgport -lm) || die "no $1"
}

# build_server: the library with libFuzzer in it, and a cluster, once in a run
build_server()
{
	local runtime flags="-O1 -DUSE_ASSERT_CHECKING -fsanitize=fuzzer-no-link
		$undefined -fsanitize-trap=undefined,float-cast-overflow"

	[ -z "$server" ] || return 0
	server=built
	runtime=$(clang -print-file-name=libclang_rt.fuzzer_no_main-x86_64.a)
	[ -e "$runtime" ] || runtime=$(clang -print-resource-dir)/lib/linux/libclang_rt.fuzzer_no_main-x86_64.a
	rm -f "$TOP/omendb.so"
	# shellcheck disable=SC2086
	{
		clang -std=gnu99 $flags -fPIC -g -w -D_GNU_SOURCE -I"$TOP/src" \
			-DPGDLLEXPORT='__attribute__((visibility("default")))' \
			-I"$TOP/test/fuzz" -I"$("$PG_CONFIG" --includedir-server)" \
			-c -o "$WORK/fuzz_server.o" "$TOP/test/fuzz/fuzz_server.c" &&
			make -C "$TOP" -j"$(nproc)" CC=clang COPT="$(echo $flags)" \
				SHLIB_LINK="-lm $WORK/fuzz_server.o $runtime -lstdc++" \
				PG_CONFIG="$PG_CONFIG" install &&
			clang -std=gnu99 -O1 -w -D_GNU_SOURCE -I"$TOP/src" -I"$TOP/test/fuzz" \
				-I"$("$PG_CONFIG" --includedir-server)" -o "$WORK/fuzz_helper" \
				"$TOP/test/fuzz/fuzz_helper.c" "$TOP/src/gpu/gpu_protocol.c" \
				-L"$("$PG_CONFIG" --pkglibdir)" -L"$("$SYSTEM_PG_CONFIG" --libdir)" \
				-lpgcommon -lpgport -lm
	} >"$WORK/build.log" 2>&1 || {
		tail -20 "$WORK/build.log"
		die "build failed"
	}
	rm -rf "$WORK/data"
	as_user "$BINDIR/initdb" -D "$WORK/data" -U postgres -A trust -N \
		--no-locale -E UTF8 >"$WORK/initdb.log" 2>&1 || die "initdb failed"
	single <"$TOP/test/fuzz/fuzz_server.sql" >"$WORK/log/server.log" 2>&1
	! grep ERROR "$WORK/log/server.log" || die "fuzz_server.sql failed"
}

# single: a server of one process, statements from its input
single()
{
	as_user "$BINDIR/postgres" --single -j -D "$WORK/data" -c jit=off \
		-c fsync=off -c max_parallel_workers_per_gather=0 \
		-c client_min_messages=error -c log_min_messages=fatal postgres
}

# statements TARGET ARGUMENT...: what makes its relations and runs it
statements()
{
	local target=$1 functions="{}" relations="{}" arguments

	shift
	case $target in
		tsquery) functions="{by_index,by_table}" ;;
		pages_hnsw)
			printf '%s\n\n' "CREATE TEMP TABLE items (id int, kind int, v vector(4));" \
				"INSERT INTO items SELECT i, i % 5, ARRAY[i % 19, i % 7, i % 11, 1]::vector FROM generate_series(1, 150) i;" \
				"CREATE INDEX items_v ON items USING omenhnsw (v vector_l2_ops, kind);" \
				"INSERT INTO items SELECT i, i % 5, ARRAY[i % 19, i % 7, i % 11, 1]::vector FROM generate_series(151, 170) i;"
			functions="{use_hnsw,change_hnsw}" relations="{items_v,items}"
			;;
		pages_keys)
			printf '%s\n\n' "CREATE TEMP TABLE keyed (id int, kind int, other int, v vector(2));" \
				"INSERT INTO keyed SELECT i, i % 3, i % 9, ARRAY[i % 89, i % 97]::vector FROM generate_series(1, 6500) i;" \
				"CREATE INDEX keyed_v ON keyed USING omenhnsw (v vector_l2_ops, kind, other) WITH (m = 2);" \
				"INSERT INTO keyed SELECT i, i % 3, i % 9, ARRAY[i % 89, i % 97]::vector FROM generate_series(6501, 6520) i;"
			functions="{use_keys,change_keys}" relations="{keyed_v,keyed}"
			;;
		pages_bm25)
			printf '%s\n\n' "CREATE TEMP TABLE texts (id int, body tsvector);" \
				"INSERT INTO texts SELECT id, body FROM docs WHERE id <= 250;" \
				"CREATE INDEX texts_body ON texts USING omenbm25 (body);" \
				"INSERT INTO texts SELECT id, body FROM docs WHERE id > 250;"
			functions="{use_bm25,change_bm25}" relations="{texts_body,texts}"
			;;
		gpu_server)
			printf '%s\n\n' "CREATE TEMP TABLE built (id int, v vector(4));" \
				"INSERT INTO built SELECT i, ARRAY[i % 19, i % 7, i % 11, 1]::vector FROM generate_series(1, 40) i;" \
				"SET omendb.gpu_helper_path = '$WORK/fuzz_helper';" \
				"SET omendb.gpu_build = on;" "SET omendb.gpu_timeout = 5;"
			functions="{build_gpu}"
			;;
	esac
	arguments=$(printf "'%s'," "$@")
	printf "SELECT omen_fuzz('%s', '%s', '%s', ARRAY[%s]);\n\n" \
		"${target%%_*}" "$functions" "$relations" "${arguments%,}"
}

# is_alone TARGET: it needs no server
is_alone()
{
	[ -e "$TOP/test/fuzz/fuzz_$1.c" ]
}

# run_target TARGET ARGUMENT...
run_target()
{
	local target=$1

	shift
	if is_alone "$target"; then
		as_user "$WORK/fuzz_$target" "$@" </dev/null
	else
		statements "$target" "$@" | single
	fi
}

fuzz()
{
	mapfile -t arguments < <(options "$1")
	run_target "$1" "${arguments[@]}" "$WORK/corpus/$1" "$WORK/seeds/$1" \
		>"$WORK/log/$1.log" 2>&1
	report "$1" $?
	[ -z "$MERGE" ] || merge "$1"
}

# merge TARGET: libFuzzer runs the seeds and then what was found, small inputs
# first, and notes what each covers that none before it did, as it does for a
# merge in a process of its own, which a server cannot start
merge()
{
	local control=$WORK/merge.$1 files i

	mapfile -t files < <(ls "$WORK/seeds/$1"/*; ls -Sr "$WORK/corpus/$1"/*)
	printf '%s\n' "${#files[@]}" 0 "${files[@]}" >"$control"
	[ "$(id -u)" != 0 ] || chown "$TEST_USER" "$control"
	run_target "$1" -merge_inner=1 "-merge_control_file=$control" \
		>"$WORK/log/$1.merge.log" 2>&1
	for i in $(sed -n 's/^COV \([0-9]*\) .*/\1/p' "$control"); do
		cp -n "${files[i]}" "$TOP/test/fuzz/corpus/$1/"
	done
}

omen_prepare
copy_postgres
mkdir -p "$WORK/log" "$WORK/seeds"
for name in ${TARGETS:-posting quant gpu_helper input recv tsquery pages_hnsw \
	pages_keys pages_bm25 gpu_server}; do
	corpus "$name"
	if is_alone "$name"; then
		build_alone "$name"
	else
		build_server
	fi
	fuzz "$name"
done
if [ -n "$failed" ]; then
	say "logs and findings are in $WORK"
	exit 1
fi
[ -n "$OMEN_WORK" ] || rm -rf "$WORK"
