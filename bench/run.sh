#!/bin/bash
#
# omendb beside its peers, one command: see bench/README.md.
#
#   make bench                            short: a few minutes, a small set
#   make bench MODE=full                  every part, hours on two cores
#   make bench PARTS="search insert" SETS="sift_photos_1m" REPEATS=5
#
# Everything it needs comes from Debian's packages and from PyPI, by name, and
# is kept in OMEN_BENCH_DIR: a Debian folder with PostgreSQL and pgvector, in
# which omendb is built and the one server of both runs; a Python environment
# with hnswlib, faiss and tantivy; data sets that are computed; databases and indexes.

. "$(dirname "$0")/../test/lib.sh"

SUITE=trixie
MAJOR=17
PACKAGES="postgresql-$MAJOR postgresql-$MAJOR-pgvector
	postgresql-server-dev-$MAJOR gcc make"
MODULES="numpy hnswlib faiss-cpu h5py matplotlib tantivy"
OMEN_WORK=${OMEN_BENCH_DIR:-$HOME/.cache/omendb-bench}

# logged NAME COMMAND...: run it silently, and show its output if it fails
logged()
{
	local log=$WORK/$1.log

	shift
	"$@" >"$log" 2>&1 </dev/null || {
		tail -20 "$log" >&2
		die "failed: $* (all of its output: $log)"
	}
}

in_debian()
{
	chroot "$DEBIAN" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
		HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}

# The folder counts only when it is whole: it is made under another name.
make_debian()
{
	local new=$DEBIAN.new

	[ ! -d "$DEBIAN" ] || return 0
	say "making a Debian folder, $DEBIAN"
	rm -rf "$new"
	logged debootstrap debootstrap --variant=minbase $SUITE "$new"
	printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
	chmod +x "$new/usr/sbin/policy-rc.d"
	mkdir -p "$new/etc/postgresql-common/createcluster.d"
	echo 'create_main_cluster = off' \
		>"$new/etc/postgresql-common/createcluster.d/bench.conf"
	DEBIAN=$new logged update in_debian apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN=$new logged packages in_debian \
		apt-get install -y -qq --no-install-recommends $PACKAGES
	mv "$new" "$DEBIAN"
}

make_python()
{
	local new=$WORK/venv.new

	[ "$(cat "$WORK/venv/modules" 2>/dev/null)" != "$MODULES" ] || return 0
	say "installing $MODULES into $WORK/venv"
	if [ -d "$WORK/venv" ]; then
		# an older one, which lacks some
		# shellcheck disable=SC2086
		logged pip "$WORK/venv/bin/pip" install -q $MODULES
		echo "$MODULES" >"$WORK/venv/modules"
		return
	fi
	rm -rf "$new"
	logged venv python3 -m venv "$new"
	# shellcheck disable=SC2086
	logged pip "$new/bin/pip" install -q $MODULES
	echo "$MODULES" >"$new/modules"
	mv "$new" "$WORK/venv"
}

# Build the working tree where the server is. Times of files are kept, so that
# only what changed is compiled.
build_omendb()
{
	local source=$DEBIAN/usr/src/omendb

	say "building omendb in $DEBIAN"
	mkdir -p "$source"
	(cd "$TOP" && find . \( -name .git -o -name out -o -path ./bench/data -o \
		-name '*.o' -o -name '*.d' -o -name '*.so' -o -name .flags \) -prune \
		-o -type f -print0 | tar --null -T - -cf -) |
		tar -C "$source" -xf - || die "could not copy the source"
	logged build in_debian make -C /usr/src/omendb -j"$(nproc)" install \
		PG_CONFIG=/usr/lib/postgresql/$MAJOR/bin/pg_config
}

[ "$(id -u)" = 0 ] || die "make bench needs root: it makes a Debian folder" \
	"with debootstrap, runs a server in it and pins processes to a core." \
	"bench/recall.py measures a server of yours without it"
work_folder
DEBIAN=$WORK/$SUITE
exec 9>"$WORK/lock"
flock -n 9 || die "another benchmark is running in $WORK"

mapfile -t want < <(missing_packages python3=python3 debootstrap=debootstrap \
	unshare=util-linux lib/libpq.so.5=libpq5)
[ -d "$WORK/venv" ] || mapfile -t -O ${#want[@]} want < <(missing_packages \
	python/ensurepip=python3-venv g++=g++ python3-config=python3-dev)
[ ${#want[@]} = 0 ] || install_packages "${want[@]}"
make_debian
make_python
build_omendb

export PYTHONDONTWRITEBYTECODE=1 OMEN_BENCH_DIR=$WORK
exec "$WORK/venv/bin/python" "$TOP/bench/compare.py"
