#!/bin/bash
#
# The torture test alone, for as many rounds as wanted; root gets a small disk
# made for it, which some rounds fill up.
#
#   make torture ROUNDS=200				with a seed of the time, which is printed
#   make torture ROUNDS=8 SEED=1000		the same rounds again, or roughly so
#   make torture SEED=1000 ROUND=12		one of them
#
# COPT=-DUSE_ASSERT_CHECKING makes the extension check itself, too;
# COPT=-DOMEN_PERTURB=100 has every hundredth release of a page followed by a
# pause, which changes who comes between two steps of whom.

set -e
cd "$(dirname "$0")/.."
export OMEN_ROUNDS=${ROUNDS:-8} OMEN_SEED=${SEED:-$(date +%s)} OMEN_ROUND=$ROUND
export CHECK=tap TESTS=060_torture OMEN_FIGURES=1

if [ "$(id -u)" = 0 ] && [ -z "$OMEN_SMALL_DISK" ]; then
	disk=$(mktemp -d "${TMPDIR:-/tmp}/omendb_disk.XXXXXX")
	trap 'umount "$disk" 2>/dev/null; rmdir "$disk"' EXIT
	if mount -t tmpfs -o size=128m,mode=1777 tmpfs "$disk" 2>/dev/null; then
		export OMEN_SMALL_DISK=$disk
	fi
fi
[ -n "$OMEN_SMALL_DISK" ] || echo "no small disk: rounds that fill it limit files instead"
bash test/run_check.sh
