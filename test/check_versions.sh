#!/bin/bash
#
# The tests on other releases of PostgreSQL, each in a Debian folder. Needs
# root, for chroot.
#
#   make check-all                     17 (trixie) and 18 (sid): make the
#                                      folders, run every test in each
#   make check-all SUITES=bookworm     15; bookworm-i386: 15 with pointers of
#                                      32 bits; pypi: 16, of which no release
#                                      of Debian has one. CHECK and TESTS choose
#                                      as they do for make check
#   test/check_versions.sh FOLDER      compile in a folder that has PostgreSQL,
#                                      with gcc and, if it is there, clang
#   test/check_versions.sh FOLDER check    and run the tests
#
# The folders are kept in OMEN_VERSIONS_DIR (~/.cache/omendb-versions), some
# 2 GB each, with the output of each run in SUITE.check.log.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"

declare -A major=([bookworm]=15 [bookworm-i386]=15 [pypi]=16 [trixie]=17 [sid]=18)

# in_tree FOLDER COMMAND...
in_tree()
{
	local folder=$1

	shift
	in_debian "$folder" env -C /tmp/omendb-check "$@"
}

# print the pg_configs of a folder that have headers
configs_of()
{
	local config

	for config in "$1"/usr/lib/postgresql/*/bin/pg_config; do
		[ ! -e "$config" ] || printf '%s\n' "${config#"$1"}"
	done
}

# compile FOLDER CONFIG
compile()
{
	local compiler

	for compiler in gcc clang; do
		[ -x "$1/usr/bin/$compiler" ] || continue
		say "$2, $compiler"
		in_tree "$1" make -s clean PG_CONFIG="$2" >/dev/null 2>&1
		in_tree "$1" make -s -j"$(nproc)" PG_CONFIG="$2" CC=$compiler ||
			die "$2 does not compile with $compiler"
	done
	in_tree "$1" make -s clean PG_CONFIG="$2" >/dev/null 2>&1
}

# check FOLDER CONFIG
check()
{
	in_tree "$1" PG_CONFIG="$2" CHECK="$CHECK" TESTS="$TESTS" make -s check
}

# make_tested_wheel FOLDER: with Perl modules for tests, which it lacks, of the
# PostgreSQL that is installed
make_tested_wheel()
{
	local perl

	make_wheel "$1"
	perl=$("$(find_pg_config)" --pgxs)
	perl=${perl%/makefiles/*}/test/perl
	[ -d "$perl" ] || die "no Perl modules for tests: $perl"
	cp -r "$perl" "$1/pgserver/pginstall/lib/postgresql/pgxs/src/test/"
}

# check_wheel FOLDER: as check, here
check_wheel()
{
	env -C "$1/tmp/omendb-check" -u OMEN_WORK CC="$1/gcc" CXX="$1/g++" \
		LD_LIBRARY_PATH="$1/pgserver.libs" \
		PG_CONFIG="$1/pgserver/pginstall/bin/pg_config" make -s check
}

# check_suite SUITE: its folder, the tests in it, and the summary in RESULTS
check_suite()
{
	local folder=$WORK/$1 version=${major[$1]} log=$WORK/$1.check.log
	local config=/usr/lib/postgresql/$version/bin/pg_config status
	local architecture= run=check

	[[ $1 != *-* ]] || architecture=${1#*-}

	[ -n "$version" ] || die "unknown suite: $1"
	if [ "$1" = pypi ]; then
		make_tested_wheel "$folder"
		run=check_wheel
	else
		make_postgres "$folder" "$1" "$version"
	fi
	copy_tree "$folder"
	say "PostgreSQL $version in $folder"
	"$run" "$folder" "$config" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	results+=("PG $version${architecture:+ $architecture}: $(grep -E '^[0-9]+ passed, ' "$log" | tail -1)")
	return "$status"
}

if [ $# -gt 0 ]; then
	[ -n "$(configs_of "$1")" ] || die "no PostgreSQL in $1"
	copy_tree "$1"
	for config in $(configs_of "$1"); do
		compile "$1" "$config"
		[ "$2" != check ] || check "$1" "$config" || failed=1
	done
else
	versions_folder
	for suite in ${SUITES:-trixie sid}; do
		check_suite "$suite" || failed=1
	done
	printf '%s\n' "${results[@]}"
fi
[ -z "$failed" ]
