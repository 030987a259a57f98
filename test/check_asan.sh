#!/bin/bash
#
# make check with omendb compiled for AddressSanitizer and the sanitizer of
# undefined behaviour, in a server that loads their runtime first. A finding
# ends its process, so that its test fails, and is printed at the end.
#
#   make check-asan                    everything; CHECK and TESTS choose as
#                                      they do for make check
#
# Leaks are not looked for: a backend's memory contexts end with it.

. "$(dirname "$0")/lib.sh"

[ "${CC:-gcc}" = gcc ] || die "make check-asan is for gcc"
export COPT="-O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
OMEN_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export OMEN_PRELOAD

reports=$(mktemp -d "${TMPDIR:-/tmp}/omendb-asan.XXXXXX")
chmod 1777 "$reports"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$reports/asan
export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/ubsan

bash "$TOP/test/run_check.sh"
status=$?
if ls "$reports"/*san.* >/dev/null 2>&1; then
	head -60 "$reports"/*san.*
	say "$(ls "$reports" | wc -l) findings, in $reports"
	exit 1
fi
rm -rf "$reports"
say "no findings"
exit $status
