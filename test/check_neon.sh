#!/bin/bash
#
# Test the NEON kernels on a machine that has none: cross-compile the unit
# tests of distances, codes and postings for arm64 and run them under
# emulation, each kernel against the plain C one.  Needs a PostgreSQL with
# headers, and as root installs Debian's cross compiler and emulator.
#
#   bash test/check_neon.sh

. "$(dirname "$0")/lib.sh"

tests="test_distance test_quant test_posting"
compiler=aarch64-linux-gnu-gcc

missing=
command -v $compiler >/dev/null || missing+=" gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
command -v qemu-aarch64 >/dev/null || missing+=" qemu-user"
# shellcheck disable=SC2086
[ -z "$missing" ] || install_packages $missing || exit 1

config=$(find_pg_config)
[ -n "$config" ] || die "no PostgreSQL with headers, 15 or later, was found"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
status=0

cd "$TOP" || exit 1
for test in $tests; do
	link=$(sed -nE '1s,^/\* *link: *(.*[^ ]) *\*/.*,\1,p' "test/unit/$test.c")
	# shellcheck disable=SC2046
	$compiler -std=gnu99 -O2 -ffp-contract=off -Wall -static -D_GNU_SOURCE -Isrc -Itest/unit \
		-I"$("$config" --includedir-server)" -o "$folder/$test" \
		"test/unit/$test.c" test/unit/assert.c test/unit/emulated/port.c \
		$(eval "ls $link") -lm || exit 1
	qemu-aarch64 "$folder/$test" >"$folder/$test.tap" || status=1
	grep -vE '^ok\b' "$folder/$test.tap"
	echo "$test: $(grep -cE '^ok\b' "$folder/$test.tap") passed," \
		"$(grep -cE '^not ok\b' "$folder/$test.tap") failed"
	grep -qE '^not ok\b' "$folder/$test.tap" && status=1
done
exit $status
