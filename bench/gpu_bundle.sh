#!/bin/bash
#
# What gpu.sh needs on a machine that has a GPU, python3 with numpy, and nothing
# else, no network either: a PostgreSQL with omendb, the programs for the device,
# and parts of sets.
#
#   bench/gpu_bundle.sh DIR [SET...]
#
# Copy the source tree and DIR there, then run OMEN_BUNDLE=DIR bench/gpu.sh.
# PostgreSQL is that of PyPI's pgserver, whose programs need the C library and
# zlib alone. GPU and NVCC_ARCH are those of make gpu; the library of C there must
# not be older than here.

. "$(dirname "${BASH_SOURCE[0]}")/../test/lib.sh"
. "$TOP/test/debian.sh"

# Rows of each set: as many as mixes.py would take, or megabytes allow
ROWS=${ROWS:-150000}

build()
{
	local pg=$WORK/pgserver/pginstall tree=$WORK/tmp/omendb-check nvcc

	nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
	copy_tree "$WORK"
	logged "$WORK/build.log" make -C "$tree" -j"$(nproc)" CC="$WORK/gcc" \
		CXX="$WORK/g++" PG_CONFIG="$pg/bin/pg_config" ${GPU:+GPU="$GPU"} \
		NVCC="$nvcc -ccbin $WORK/g++" ${NVCC_ARCH:+NVCC_ARCH="$NVCC_ARCH"} \
		install gpu-programs install-gpu
	mkdir "$WORK/programs"
	cp "$tree"/build/gpu-*/{test_gpu,test_gpu_small,graph_bench} "$WORK/programs/"
}

# what a server, psql and the client library need
pack()
{
	local pg=$WORK/pgserver/pginstall out=$WORK/pg

	mkdir -p "$out/bin" "$out/lib" "$out/share"
	cp "$pg"/bin/{postgres,initdb,pg_ctl,pg_config,psql} "$out/bin/"
	cp -r "$pg/lib/postgresql" "$out/lib/"
	cp "$pg"/lib/libpq.so.5 "$WORK"/pgserver.libs/libpq-*.so* "$out/lib/"
	cp -r "$pg/share/postgresql" "$out/share/"
	cp -r "$WORK/programs" "$out/"
	rm -rf "$out/lib/postgresql/pgxs"
	# not the package's programs: they have been stripped, and changed since
	strip -S "$out"/lib/postgresql/{omendb.so,omendb-gpu-build} "$out"/programs/*
	tar -C "$WORK" -czf "$DIR/pg.tar.gz" pg
}

[ $# -gt 0 ] || die "usage: bench/gpu_bundle.sh DIR [SET...]"
mkdir -p "$1/data" && DIR=$(cd "$1" && pwd) || exit 1
shift
WHEEL=${OMEN_VERSIONS_DIR:-$HOME/.cache/omendb-versions}/pypi
mkdir -p "$(dirname "$WHEEL")"
work_folder
trap 'rm -rf "$WORK"' EXIT
make_wheel "$WHEEL"
cp -r "$WHEEL"/{pgserver,pgserver.libs,gcc,g++} "$WORK/"
mkdir -p "$WORK/tmp"
build
pack
for set in "$@"; do
	python3 "$TOP/bench/cut.py" "$set" "$ROWS" "$DIR/data" || exit 1
done
du -sm "$DIR" | sed 's/\t.*/ MB/'
