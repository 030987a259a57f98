#!/bin/bash
#
# Run pgvector's own regression files against omendb, in a throw-away
# PostgreSQL copy and cluster.  Their files are not part of this tree: give
# the path of a pgvector checkout.  Expected differences are explained in
# test/PGVECTOR.md; the script fails on any other.
#
#   test/pgvector_conformance.sh CHECKOUT [TEST...]

. "$(dirname "$0")/lib.sh"

tests=(vector_type halfvec sparsevec bit cast copy btree
	hnsw_vector hnsw_halfvec hnsw_sparsevec hnsw_bit)

# What we do differently on purpose: limits they have and we do not, and a hint
differences='
/^ERROR:  column cannot have more than [24]000 dimensions for hnsw index$/d
/^ERROR:  sparsevec cannot have more than 1000 non-zero elements for hnsw index$/d
/^ERROR:  type not supported for hnsw index$/a\
HINT:  Cast the column to bit(n) in an expression index.
'

[ -d "$1/test/sql" ] || die "usage: $0 PGVECTOR-CHECKOUT [TEST...]"
checkout=$(cd "$1" && pwd)
shift
[ $# = 0 ] || tests=("$@")

finish()
{
	local status=$?

	omen_stop
	[ $status != 0 ] || [ -n "$OMEN_WORK" ] || rm -rf "$WORK"
}

omen_prepare
trap finish EXIT
omen_build

# The only name of theirs that differs is the extension's
mkdir -p "$WORK/theirs/sql" "$WORK/theirs/expected"
for kind in sql expected; do
	for file in "$checkout/test/$kind"/*; do
		sed -E 's/\bEXTENSION vector\b/EXTENSION omendb/' "$file" \
			>"$WORK/theirs/$kind/$(basename "$file")"
	done
done
sed -i "$differences" "$WORK"/theirs/expected/hnsw_*.out
[ "$(id -u)" != 0 ] || chown -R "$TEST_USER:$TEST_GROUP" "$WORK/theirs"

omen_start "timezone = 'UTC'"
# They write files below the current folder
cd "$WORK/theirs" || die "cannot enter $WORK/theirs"
regress=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/regress/pg_regress
as_user "$regress" --bindir="$BINDIR" --inputdir="$WORK/theirs" \
	--outputdir="$WORK/theirs" --load-extension=omendb --host="$PGHOST" \
	--port="$PGPORT" --user=postgres --dbname=pgvector_conformance \
	"${tests[@]}"
status=$?
[ $status = 0 ] || cat "$WORK/theirs/regression.diffs"
exit $status
