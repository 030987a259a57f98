#!/bin/bash
#
# Check the layer rules of the source tree:
#   - a file includes only its own folder and folders of a lower rank;
#   - own headers are included as "folder/file.h";
#   - only storage/page.c reads and locks buffers;
#   - only base/compat.h looks at the server's version;
#   - what is not static is named omen*, Omen* or OMEN_* (checked on the
#     library by run_check.sh, which has it at hand).
# Prints TAP; the exit status is 1 when a rule is broken.

cd "$(dirname "$0")/.." || exit 2
export LC_ALL=C

declare -A rank=(
	[base]=0 [distance]=1 [types]=2 [quant]=2 [storage]=3 [graph]=3 [text]=3 [gpu]=3
	[hnsw]=4 [bm25]=4 [planner]=5 [analytics]=6
)
top_rank=7
failures=0
number=0

# report NAME LINES: one test, failed when LINES holds an offence
report()
{
	number=$((number + 1))
	if [ -z "$2" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
		failures=$((failures + 1))
	fi
}

check_folders()
{
	local dir

	for dir in src/*/; do
		[ -d "$dir" ] || continue
		dir=$(basename "$dir")
		[ -n "${rank[$dir]}" ] || echo "src/$dir: folder without a rank"
	done
}

# every include of an own header, as "file:line folder/header"
own_includes()
{
	grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' src \
		--include='*.c' --include='*.h' |
		sed -E 's/^([^:]+:[0-9]+):.*"([^"]+)".*/\1 \2/'
}

check_includes()
{
	local place header from to from_rank to_rank

	own_includes | while read -r place header; do
		to=${header%%/*}
		[ -e "src/$header" ] || continue
		from=${place#src/}
		case $from in
			*/*) from=${from%%/*}; from_rank=${rank[$from]} ;;
			*) from=; from_rank=$top_rank ;;
		esac
		case $header in
			*/*) to_rank=${rank[$to]} ;;
			*) to=; to_rank=$top_rank ;;
		esac
		[ "$from" = "$to" ] && continue
		[ "${from_rank:-0}" -gt "${to_rank:-99}" ] ||
			echo "$place: ${from:-top} may not include \"$header\""
	done
}

# an own header named without its folder is found beside the file only
check_include_form()
{
	local place header file

	own_includes | while read -r place header; do
		file=${place%%:*}
		case $header in
			*/*) ;;
			*) [ "$(dirname "$file")" != src ] &&
				[ -e "$(dirname "$file")/$header" ] &&
				echo "$place: write \"$(basename "$(dirname "$file")")/$header\"" ;;
		esac
	done
}

# calls EXTENDED_REGEX ALLOWED_FILES...: where else the words occur in code
calls()
{
	local words=$1 file not=()

	shift
	for file in "$@"; do
		not+=(-e "^$file:")
	done
	grep -rnE "\\b($words)\\b" src --include='*.c' --include='*.h' |
		grep -v "${not[@]}" |
		grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)'
}

report "every folder has a rank" "$(check_folders)"
report "includes go downwards" "$(check_includes)"
report "includes name the folder" "$(check_include_form)"
report "buffers are read and locked by storage/page.c alone" \
	"$(calls '(ReadBuffer[A-Za-z]*|ReadRecentBuffer|PrefetchBuffer|read_stream_[a-z_]*|LockBuffer|LockBufferForCleanup|ConditionalLockBuffer[A-Za-z]*)[[:space:]]*\(' \
		src/storage/page.c src/base/compat.h)"
report "the server's version is known to base/compat.h alone" \
	"$(calls 'PG_VERSION_NUM' src/base/compat.h)"
echo "1..$number"
exit $((failures > 0))
