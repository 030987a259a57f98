#!/bin/bash
#
# Benchmark in a throw-away server: load a set, build the index, print recall,
# CPU time and buffers per query.
#
#   make bench                          mnist_10k, which travels with the source
#   make bench SETS="mnist_784 sift_photos_1m" [TYPES="vector halfvec"]
#              [EF=10,40,100] [WITH="m = 16"] [MODES="serial parallel small insert"]
#
# MODES says how the index comes to be: serial or parallel build, a build under
# maintenance_work_mem = 64MB, or rows inserted into the index of an empty
# table. Numbers belong to the machine that is named with them.

. "$(dirname "$0")/../test/lib.sh"

finish()
{
	omen_stop
	[ -n "$OMEN_WORK" ] || rm -rf "$WORK"
}

omen_prepare python3=python3
trap finish EXIT
trap 'exit 130' INT TERM
omen_build
omen_start "shared_buffers = ${SHARED_BUFFERS:-2GB}" "max_wal_size = 8GB" \
	"maintenance_work_mem = 2GB" "max_parallel_maintenance_workers = 2" \
	"jit = off" "autovacuum = off"
export PYTHONDONTWRITEBYTECODE=1
sed -n 's/^model name.*: /machine: /p' /proc/cpuinfo | head -1
psql -qXAtc 'SELECT version()'
for set in ${SETS:-mnist_10k}; do
	for type in ${TYPES:-vector}; do
		for mode in ${MODES:-parallel}; do
			python3 "$TOP/bench/build.py" "$set" --type "$type" \
				--mode "$mode" ${WITH:+--with "$WITH"} || exit 1
			python3 "$TOP/bench/recall.py" "$set" --type "$type" \
				${EF:+--ef "$EF"} || exit 1
		done
	done
done
