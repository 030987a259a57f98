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
. "$(dirname "$0")/../test/debian.sh"

SUITE=trixie
MAJOR=17
PACKAGES="postgresql-$MAJOR postgresql-$MAJOR-pgvector
	postgresql-server-dev-$MAJOR gcc make"
MODULES="numpy hnswlib faiss-cpu h5py matplotlib tantivy"
OMEN_WORK=${OMEN_BENCH_DIR:-$HOME/.cache/omendb-bench}

make_python()
{
	local new=$WORK/venv.new

	[ "$(cat "$WORK/venv/modules" 2>/dev/null)" != "$MODULES" ] || return 0
	say "installing $MODULES into $WORK/venv"
	if [ -d "$WORK/venv" ]; then
		# an older one, which lacks some
		# shellcheck disable=SC2086
		logged "$WORK/pip.log" "$WORK/venv/bin/pip" install -q $MODULES
		echo "$MODULES" >"$WORK/venv/modules"
		return
	fi
	rm -rf "$new"
	logged "$WORK/venv.log" python3 -m venv "$new"
	# shellcheck disable=SC2086
	logged "$WORK/pip.log" "$new/bin/pip" install -q $MODULES
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
	logged "$WORK/build.log" in_debian "$DEBIAN" make -C /usr/src/omendb -j"$(nproc)" install \
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
# shellcheck disable=SC2086
make_debian "$DEBIAN" $SUITE $PACKAGES
make_python
build_omendb

export PYTHONDONTWRITEBYTECODE=1 OMEN_BENCH_DIR=$WORK
exec "$WORK/venv/bin/python" "$TOP/bench/compare.py"
