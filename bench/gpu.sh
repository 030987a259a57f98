#!/bin/bash
#
# Builds on a GPU beside builds by the processors, one command: see
# bench/README.md.
#
#   make gpu-bench
#   make gpu-bench STEPS="graph index" SETS=sift_photos_1m_mix_10m LIMIT=300
#
# With OMEN_BUNDLE, a folder made by gpu_bundle.sh, nothing has to be installed
# or built: not even PostgreSQL.

. "$(dirname "${BASH_SOURCE[0]}")/../test/lib.sh"

STEPS=${STEPS:-device check graph index sanitize rates}
SETS=${SETS:-mnist_10k_mix_1m}
LIMIT=${LIMIT:-3600}
THREADS=${THREADS:-$(nproc)}

finish()
{
	say "summary"
	cat "$OMEN_SUMMARY"
	omen_stop
	[ -n "$OMEN_WORK" ] || rm -rf "$WORK"
}

# PROGRAMS is where those are that "make gpu-programs" makes
use_bundle()
{
	work_folder
	choose_user
	rm -rf "$WORK/pg"
	tar -C "$WORK" -xzf "$OMEN_BUNDLE/pg.tar.gz" || die "no bundle: $OMEN_BUNDLE"
	BINDIR=$WORK/pg/bin
	PG_CONFIG=$BINDIR/pg_config
	PROGRAMS=$WORK/pg/programs
	OMEN_DATA=${OMEN_DATA:-$(cd "$OMEN_BUNDLE" && pwd)/data}
	# the driver may be found by what is there already
	export PG_CONFIG OMEN_DATA PATH=$BINDIR:$PATH \
		LD_LIBRARY_PATH=$WORK/pg/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

build_all()
{
	omen_prepare python3=python3 python/numpy=python3-numpy
	omen_build
	say "building programs for the device"
	make -C "$TOP" --no-print-directory -j"$(nproc)" ${GPU:+GPU="$GPU"} \
		PG_CONFIG="$PG_CONFIG" gpu-programs install-gpu \
		>"$WORK/gpu.log" 2>&1 || {
		tail -20 "$WORK/gpu.log" >&2
		die "build for the device failed"
	}
	PROGRAMS=$TOP/$(sed -n 's/^programs are in //p' "$WORK/gpu.log")
}

# The first python3 may not be the one that has the packages
choose_python()
{
	for PYTHON in python3 /usr/bin/python3; do
		! "$PYTHON" -c "import numpy" 2>/dev/null || return 0
	done
	die "no python3 here has numpy"
}

# part NAME COMMAND...: run it within the limit; one line of it in the summary
part()
{
	local name=$1 start=$SECONDS status

	shift
	say "$name"
	timeout -k 5 "$LIMIT" "$@"
	status=$?
	case $status in
		0) status=passed ;;
		124 | 137) status="stopped after $LIMIT s" ;;
		*) status="failed, status $status" ;;
	esac
	say "$name: $status, $((SECONDS - start)) s"
	printf '| %s | %s | %s s |\n' "$name" "$status" "$((SECONDS - start))" \
		>>"$OMEN_SUMMARY"
}

# tap_part NAME COMMAND...: print of its output what is not an ok, also of a part of
# it that was stopped
tap_part()
{
	# shellcheck disable=SC2016
	part "$1" bash -c 'exec "$@" >"$0" 2>&1' "$WORK/tap.log" "${@:2}"
	grep -v "^ok" "$WORK/tap.log" | tail -40
	echo "$(grep -c "^ok" "$WORK/tap.log") ok"
}

gpu_py()
{
	"$PYTHON" "$TOP/bench/gpu.py" "$@"
}

step_device()
{
	nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit \
		--format=csv 2>/dev/null
	sed -n 's/^model name[^:]*: //p;T;q' /proc/cpuinfo
	echo "$(nproc) processors, $(awk '/^MemTotal/ { print int($2 / 1048576) }' \
		/proc/meminfo) GB of memory"
	"$HELPER" --probe || [ "$BACKEND" = cpu ] ||
		die "without a device there is nothing to measure: BACKEND=cpu tries this script"
}

step_rates()
{
	part "rates of the device" "$PYTHON" "$TOP/bench/gpu.py" rates
}

step_check()
{
	tap_part "make check-gpu" "$PROGRAMS/test_gpu"
}

step_sanitize()
{
	local tool

	PATH=$PATH:/usr/local/cuda/bin
	for tool in ${TOOLS:-memcheck racecheck}; do
		tap_part "compute-sanitizer, $tool" compute-sanitizer --tool "$tool" \
			--report-api-errors no --print-limit 20 --error-exitcode 9 \
			"$PROGRAMS/test_gpu_small"
	done
}

# set_of NAME: make it if need be; FOLDER and METRIC of it
set_of()
{
	local took

	read -r FOLDER METRIC took < <(gpu_py set "$1") || return 1
	say "set $1, made in $took s"
}

# the options of graph_bench for a set of set_of
graph_options()
{
	echo "-g -r ${BUILDS:-3} -t $THREADS -q ${QUERIES:-200}" ${ROWS:+-n "$ROWS"}
	[ "$METRIC" != cosine ] || echo "-c"
}

step_graph()
{
	local set

	for set in $SETS; do
		set_of "$set" || continue
		# shellcheck disable=SC2046
		part "graph of $set" stdbuf -oL "$PROGRAMS/graph_bench" $(graph_options) \
			"$FOLDER"/base.* "$FOLDER"/query.*
	done
}

# not among the steps by default: it needs counters that not everybody may read
step_profile()
{
	local set

	PATH=$PATH:/usr/local/cuda/bin
	for set in $SETS; do
		set_of "$set" || continue
		# shellcheck disable=SC2046
		part "profile of $set" ncu --clock-control none --cache-control none \
			--csv --page raw --print-units base \
			--metrics gpu__time_duration.sum,dram__bytes.sum \
			--log-file "$WORK/profile.csv" "$PROGRAMS/graph_bench" \
			$(BUILDS=1 graph_options) "$FOLDER"/base.* "$FOLDER"/query.*
		gpu_py profile "$WORK/profile.csv"
	done
}

# a new one for each set: what a part that was stopped has begun, goes on
start_server()
{
	local memory

	memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
	omen_stop
	rm -rf "$WORK/data"
	omen_start "shared_buffers = $((memory / 16))MB" \
		"maintenance_work_mem = $((memory / 2))MB" \
		"max_wal_size = 4GB" "checkpoint_timeout = 1h" \
		"max_worker_processes = $((THREADS + 8))" \
		"max_parallel_workers = $THREADS" \
		"max_parallel_maintenance_workers = $((THREADS - 1))" \
		"autovacuum = off" "jit = off"
}

step_index()
{
	local set

	for set in $SETS; do
		start_server
		part "indexes of $set" "$PYTHON" "$TOP/bench/gpu.py" index "$set"
	done
	omen_stop
}

if [ -n "$OMEN_BUNDLE" ]; then use_bundle; else build_all; fi
choose_python
HELPER=$("$PG_CONFIG" --pkglibdir)/omendb-gpu-build
export OMEN_SETS=${OMEN_SETS:-$WORK/sets} OMEN_SUMMARY=$WORK/summary THREADS \
	ROWS QUERIES VERIFY MEMORY BUILDS PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
if [ "$BACKEND" = cpu ]; then
	# for tests of this script where there is no device
	OMEN_GPU_HELPER=$WORK/helper
	printf '#!/bin/sh\nexec %s --backend cpu "$@"\n' "$HELPER" >"$WORK/helper"
	chmod 755 "$WORK/helper"
	export OMEN_GPU_HELPER
fi
: >"$OMEN_SUMMARY"
trap finish EXIT
trap 'exit 130' INT TERM
mkdir -p "$OMEN_SETS"
for step in $STEPS; do
	"step_$step"
done
