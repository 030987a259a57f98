#!/bin/bash
#
# Run every test in a throw-away PostgreSQL copy and cluster, then print one
# line "N passed, M failed". Needs no running server; installs what is missing
# when root or with sudo.
#
#   make check                          everything
#   make check CHECK="regress tap"      these parts: layers build unit regress
#                                       isolation tap fuzz
#   make check TESTS="types_vector"     these tests by name, in every part
#   make check COPT=-DUSE_ASSERT_CHECKING	with the server's assertions
#   make check COPT=-DOMEN_PERTURB=100	with pauses between steps, see torture.sh
#
# The work folder is removed when all tests passed, else kept and named.

. "$(dirname "$0")/lib.sh"

passed=0
failed=0
skipped=0

wanted_part()
{
	[ -z "$CHECK" ] || [[ " $CHECK " == *" $1 "* ]]
}

wanted_test()
{
	[ -z "$TESTS" ] || [[ " $TESTS " == *" $1 "* ]]
}

# count NAME PASSED FAILED SKIPPED SECONDS
count()
{
	passed=$((passed + $2))
	failed=$((failed + $3))
	skipped=$((skipped + $4))
	printf '%-42s %5d passed %3d failed %3d skipped %4ds\n' "$@"
}

log_of()
{
	printf '%s\n' "$WORK/log/${1//\//_}.tap"
}

# tap_run NAME COMMAND...: run a program that prints TAP
tap_run()
{
	local log start=$SECONDS status

	log=$(log_of "$1")
	shift
	"$@" >"$log" 2>&1 </dev/null
	status=$?
	echo "$status $((SECONDS - start))" >"$log.status"
}

# tap_count NAME: count what tap_run left; a non-zero exit or a missed plan
# without a failed test is one failure
tap_count()
{
	local log status seconds good bad skip plan

	log=$(log_of "$1")
	read -r status seconds <"$log.status" || status=lost
	skip=$(grep -cE '^ok .*# (SKIP|skip)' "$log")
	good=$(($(grep -cE '^ok\b' "$log") - skip))
	bad=$(grep -cE '^not ok\b' "$log")
	plan=$(sed -nE 's/^1\.\.([0-9]+).*/\1/p' "$log" | head -1)
	grep -qE '^1\.\.0 +# *(SKIP|skip)' "$log" && skip=1
	if [ "$bad" = 0 ] &&
		{ [ "$status" != 0 ] || [ -z "$plan" ] ||
			{ [ "$plan" != 0 ] && [ "$plan" != $((good + skip)) ]; }; }; then
		bad=1
		echo "# exit status $status, plan ${plan:-missing}" >>"$log"
	fi
	count "$1" "$good" "$bad" "$skip" "${seconds:-0}"
	[ "$bad" = 0 ] || grep -vE '^ok\b' "$log" | tail -40
	[ -z "$OMEN_FIGURES" ] || sed -n 's/^# figures: //p' "$log"
}

tap()
{
	tap_run "$@"
	tap_count "$1"
}

# The helper of GPU builds, without a device: its tests want none. It is built
# as the library is, by the installed PostgreSQL: the copy may lack libraries.
build_helper()
{
	{
		make -C "$TOP" --no-print-directory ${CC:+CC="$CC"} GPU=none \
			PG_CONFIG="$SYSTEM_PG_CONFIG" gpu &&
			make -C "$TOP" --no-print-directory ${CC:+CC="$CC"} GPU=none \
				PG_CONFIG="$PG_CONFIG" install-gpu
	} >>"$WORK/build.log" 2>&1 || {
		tail -40 "$WORK/build.log" >&2
		die "build of omendb-gpu-build failed"
	}
}

# every symbol that the library exports must be ours
check_symbols()
{
	local so strange

	so=$("$PG_CONFIG" --pkglibdir)/omendb.so
	strange=$(nm -D --defined-only "$so" | awk '{print $3}' |
		grep -vE '^(omen|Omen|OMEN_|pg_finfo_omen|Pg_magic_func$|_PG_init$|_init$|_fini$)')
	if [ -z "$strange" ]; then
		echo "ok 1 - every exported symbol is named omen*"
	else
		echo "not ok 1 - every exported symbol is named omen*"
		printf '%s\n' "$strange" | sed 's/^/# /'
	fi
	echo "1..1"
}

# Unit tests are C programs that print TAP. Their first line says what they
# are linked with: /* link: src/distance/*.c src/base/cpu.c */
run_unit_tests()
{
	local source name link object objects math=

	# as the Makefile has it
	[[ $(${CC:-gcc} -dumpmachine) != i?86-* ]] || math="-msse2 -mfpmath=sse"
	mkdir -p "$WORK/unit"
	for source in "$TOP"/test/unit/test_*.c; do
		[ -e "$source" ] || continue
		name=$(basename "$source" .c)
		wanted_test "$name" || continue
		link=$(sed -nE '1s,^/\* *link: *(.*[^ ]) *\*/.*,\1,p' "$source")
		objects=
		for object in $(cd "$TOP" && eval "ls $link" 2>/dev/null); do
			case $object in
				*.c) objects+=" $TOP/${object%.c}"; [[ $object == src/* ]] &&
					objects+=.o || objects+=.c ;;
				*.o) objects+=" $TOP/$object" ;;
			esac
		done
		# shellcheck disable=SC2046,SC2086
		if ! ${CC:-$("$PG_CONFIG" --cc)} -std=gnu99 -O2 -g -Wall $math $COPT -I"$TOP/src" \
			-I"$TOP/test/unit" -I"$("$PG_CONFIG" --includedir-server)" \
			-D_GNU_SOURCE -o "$WORK/unit/$name" "$source" \
			"$TOP/test/unit/assert.c" $objects \
			-L"$("$PG_CONFIG" --pkglibdir)" -L"$("$SYSTEM_PG_CONFIG" --libdir)" \
			-lpgcommon -lpgport -lm >"$WORK/log/$name.build" 2>&1; then
			count "unit/$name" 0 1 0 0
			tail -20 "$WORK/log/$name.build"
			continue
		fi
		tap "unit/$name" as_user ${OMEN_UNDER:+"$OMEN_UNDER"} "$WORK/unit/$name"
	done
}

# The kernels of GPU builds on a device that is emulated, without and with tensor
# cores: the same tests, for which C++ is needed, and no sanitizer, as threads are
# fibers
run_kernel_tests()
{
	kernel_test test_gpu_kernels emulated
	kernel_test test_gpu_tensor emulated-tensor
}

kernel_test()
{
	local name=$1 program=build/gpu-$2/test_gpu

	wanted_test "$name" || return 0
	if ! command -v "${CXX:-c++}" >/dev/null || [[ $COPT == *-fsanitize* ]]; then
		count "unit/$name" 0 0 1 0
		return
	fi
	if ! make -C "$TOP" --no-print-directory ${CC:+CC="$CC"} ${CXX:+CXX="$CXX"} \
		GPU="$2" PG_CONFIG="$SYSTEM_PG_CONFIG" "$program" \
		>"$WORK/log/$name.build" 2>&1; then
		count "unit/$name" 0 1 0 0
		tail -20 "$WORK/log/$name.build"
		return
	fi
	cp "$TOP/$program" "$WORK/unit/$name"
	tap "unit/$name" as_user "$WORK/unit/$name"
}

# regress NAME PROGRAM INPUTDIR TEST...: run a pg_regress-like program and
# count the tests by its lines, which differ between server versions
regress()
{
	local name=$1 program=$2 input=$3 out=$WORK/$1 start=$SECONDS good bad

	shift 3
	[ $# -gt 0 ] || return 0
	as_user mkdir -p "$out"
	as_user "$program" --bindir="$BINDIR" --inputdir="$input" \
		--outputdir="$out" --load-extension=omendb --host="$PGHOST" \
		--port="$PGPORT" --user=postgres --dbname="check_$name" "$@" \
		>"$WORK/log/$name.log" 2>&1 </dev/null
	good=$(grep -cE '^(ok [0-9]|test .*\.\.\. ok)' "$WORK/log/$name.log")
	bad=$(grep -cE '^(not ok [0-9]|test .*\.\.\. FAILED)' "$WORK/log/$name.log")
	[ $((good + bad)) = $# ] || bad=$(($# - good))
	count "$name" "$good" "$bad" 0 $((SECONDS - start))
	if [ "$bad" != 0 ]; then
		grep -vE '^(ok |test .*\.\.\. ok)' "$WORK/log/$name.log"
		head -300 "$out/regression.diffs" 2>/dev/null
	fi
}

# names of the files FOLDER/*.EXT that are wanted, sorted
test_names()
{
	local file name

	for file in "$1"/*."$2"; do
		name=$(basename "$file" ".$2")
		[ -e "$file" ] && [[ $name != omendb--* ]] && wanted_test "$name" &&
			printf '%s\n' "$name"
	done
}

run_server_tests()
{
	local pgxs tests

	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	omen_start "jit = off" "autovacuum = off" "max_prepared_transactions = 10" "timezone = 'UTC'" \
		"max_parallel_maintenance_workers = 2"
	if wanted_part regress; then
		# shellcheck disable=SC2207
		tests=($(test_names "$WORK/tree/sql" sql))
		regress regress "$pgxs/src/test/regress/pg_regress" \
			"$WORK/tree" "${tests[@]}"
	fi
	if wanted_part isolation; then
		# shellcheck disable=SC2207
		tests=($(test_names "$WORK/tree/test/specs" spec))
		regress isolation "$pgxs/src/test/isolation/pg_isolation_regress" \
			"$WORK/tree/test" "${tests[@]}"
	fi
	if wanted_part fuzz; then
		for tests in $(test_names "$WORK/tree/test/fuzz" pl); do
			tap "fuzz/$tests" as_user perl -I"$WORK/tree/test/perl" \
				"$WORK/tree/test/fuzz/$tests.pl"
		done
	fi
	omen_stop
}

# one TAP file, in a folder of its own; a server that it leaves running, as it
# does when it bails out, is stopped
run_tap_file()
{
	local pgxs folder=$WORK/tap/$1 data

	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	as_user mkdir -p "$folder"
	tap_run "t/$1" as_user env -u PGDATA -u PGHOST -u PGDATABASE -u PGUSER \
		TESTDIR="$folder" TESTDATADIR="$folder/data" \
		TESTLOGDIR="$folder/log" PGPORT=65432 \
		PG_REGRESS="$pgxs/src/test/regress/pg_regress" \
		perl -I"$pgxs/src/test/perl" -I"$WORK/tree/test/perl" \
		"$WORK/tree/test/t/$1.pl"
	for data in "$folder"/*/t_*_data; do
		[ ! -s "$data/pgdata/postmaster.pid" ] ||
			as_user "$BINDIR/pg_ctl" -D "$data/pgdata" -m immediate -s stop
		rm -rf "$data"
	done
}

# two files at a time, each counted when it is done
run_tap_tests()
{
	local name done running=() left all_gone

	for name in $(test_names "$WORK/tree/test/t" pl) ''; do
		if [ -n "$name" ]; then
			run_tap_file "$name" 2>/dev/null &
			running+=("$name")
		fi
		while [ ${#running[@]} -ge 2 ] ||
			{ [ -z "$name" ] && [ ${#running[@]} -gt 0 ]; }; do
			wait -n
			[ $? != 127 ] || all_gone=1
			left=()
			for done in "${running[@]}"; do
				if [ -n "$all_gone" ] || [ -e "$(log_of "t/$done").status" ]; then
					tap_count "t/$done"
				else
					left+=("$done")
				fi
			done
			running=("${left[@]}")
		done
	done
	wait
}

finish()
{
	local status=$?

	omen_stop
	[ $status != 0 ] || [ -n "$OMEN_WORK" ] || rm -rf "$WORK"
}

omen_prepare nm=binutils perl=perl perl/IPC::Run=libipc-run-perl
trap finish EXIT
trap 'exit 130' INT TERM
start=$SECONDS
mkdir -p "$WORK/log" "$WORK/tree"

wanted_part layers && tap layers bash "$TOP/test/check_layers.sh"
wanted_part layers && tap messages perl "$TOP/test/check_messages.pl"
wanted_part layers && tap inherited perl "$TOP/test/check_inherited.pl"
omen_build
build_helper
wanted_part build && tap symbols check_symbols

# the test user may not be able to read the source tree
for part in sql expected test README.md bench/data/scifact; do
	mkdir -p "$WORK/tree/$(dirname "$part")"
	[ -e "$TOP/$part" ] && cp -r "$TOP/$part" "$WORK/tree/$(dirname "$part")/"
done
[ "$(id -u)" != 0 ] || chown -R "$TEST_USER:$TEST_GROUP" "$WORK/tree"

wanted_part unit && run_unit_tests && run_kernel_tests
if wanted_part regress || wanted_part isolation || wanted_part fuzz; then
	run_server_tests
fi
wanted_part tap && run_tap_tests

echo "took $((SECONDS - start)) s"
[ "$failed" = 0 ] || echo "logs are in $WORK"
if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
