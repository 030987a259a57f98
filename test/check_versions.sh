#!/bin/bash
#
# Compile omendb inside a Debian folder that has another PostgreSQL, and with
# a second argument run its tests there too. Needs root, for chroot.
#
#   debootstrap --variant=minbase trixie /srv/trixie
#   chroot /srv/trixie apt-get install -y --no-install-recommends \
#       postgresql-17 postgresql-server-dev-17 gcc clang make perl libipc-run-perl
#   test/check_versions.sh /srv/trixie          compile, with gcc and clang
#   test/check_versions.sh /srv/trixie check    and run make check there

set -e
top=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
[ -d "$folder/usr/lib/postgresql" ] || {
	echo "usage: $0 FOLDER [check]" >&2
	exit 2
}

copy=$folder/tmp/omendb-check
rm -rf "$copy"
mkdir -p "$copy"
trap 'rm -rf "$copy"' EXIT
git -C "$top" ls-files -z --cached --others --exclude-standard |
	tar -C "$top" --null -T - --ignore-failed-read -cf - | tar -C "$copy" -xf -

for config in "$folder"/usr/lib/postgresql/*/bin/pg_config; do
	config=${config#"$folder"}
	for compiler in gcc clang; do
		[ -x "$folder/usr/bin/$compiler" ] || continue
		printf '%s\n' "== $config, $compiler"
		chroot "$folder" sh -c "cd /tmp/omendb-check &&
			make -s clean PG_CONFIG=$config >/dev/null 2>&1 &&
			make -s -j$(nproc) PG_CONFIG=$config CC=$compiler"
	done
	if [ "$2" = check ]; then
		chroot "$folder" sh -c "cd /tmp/omendb-check &&
			make -s clean PG_CONFIG=$config >/dev/null 2>&1 &&
			PG_CONFIG=$config make -s check"
	fi
done
