#!/bin/bash
#
# A large index through kill -9 and on a standby, in throw-away servers:
#
#   bash bench/durability.sh [SET]          default sift_photos_1m
#
# Builds the index, attaches a streaming standby, inserts rows, kills the
# primary right after their COMMIT, and compares what queries return before
# the kill, after recovery, and on the standby. Exits with 1 on a difference.

. "$(dirname "$0")/../test/lib.sh"

set=${1:-sift_photos_1m}

finish()
{
	[ ! -s "$WORK/standby/postmaster.pid" ] ||
		as_user "$BINDIR/pg_ctl" -D "$WORK/standby" -m immediate -s stop
	omen_stop
	[ -n "$OMEN_WORK" ] || rm -rf "$WORK"
}

# ids that 100 queries return through the index, 20 each
answers()
{
	psql -qXAt -p "$1" <<-'SQL'
		SET enable_seqscan = off;
		SELECT q.id, (SELECT array_agg(id) FROM (SELECT id FROM items
			ORDER BY embedding <-> q.embedding LIMIT 20) x)
		FROM queries q ORDER BY q.id;
		SELECT count(*) FROM items;
	SQL
}

same()
{
	if cmp -s "$WORK/$1" "$WORK/$2"; then
		echo "ok: $3"
	else
		echo "DIFFERENT: $3"
		failed=1
	fi
}

omen_prepare python3=python3
trap finish EXIT
trap 'exit 130' INT TERM
omen_build
omen_start "shared_buffers = 2GB" "max_wal_size = 16GB" "wal_keep_size = 1GB" \
	"maintenance_work_mem = 2GB" "max_parallel_maintenance_workers = 2"
export PYTHONDONTWRITEBYTECODE=1
failed=0

say "building the index of $set"
python3 "$TOP/bench/build.py" "$set" || exit 1
psql -qX -c "CREATE TABLE queries AS SELECT id, embedding FROM items WHERE id % (SELECT count(*) / 100 FROM items) = 7"

say "attaching a standby"
as_user "$BINDIR/pg_basebackup" -D "$WORK/standby" -R -X stream -c fast || exit 1
echo "port = 5433" | as_user tee -a "$WORK/standby/postgresql.conf" >/dev/null
as_user "$BINDIR/pg_ctl" -D "$WORK/standby" -l "$WORK/standby.log" -w -s start || exit 1

say "inserting, committing, killing the primary"
psql -qX -c "INSERT INTO items SELECT -1 - id, embedding FROM items WHERE id % 997 = 3"
answers "$PGPORT" >"$WORK/before"
end=$(psql -qXAtc "SELECT pg_current_wal_lsn()")
for _ in $(seq 600); do
	[ "$(psql -qXAt -p 5433 -c "SELECT pg_last_wal_replay_lsn() >= '$end'")" != t ] || break
	sleep 0.1
done
answers 5433 >"$WORK/on_standby"
psql -qX -c "INSERT INTO items SELECT -2000000 - id, embedding FROM queries"
kill -9 "$(head -1 "$PGDATA/postmaster.pid")"

say "recovering"
# the children of the killed server let go of its memory one by one
for _ in $(seq 60); do
	rm -f "$PGDATA/postmaster.pid"
	as_user "$BINDIR/pg_ctl" -D "$PGDATA" -l "$WORK/server.log" -w -t 600 \
		-s start 2>/dev/null && break
	sleep 1
done
found=$(psql -qXAtc "SET enable_seqscan = off;
	SELECT count(*) FROM queries q WHERE -2000000 - q.id IN (SELECT id FROM items
		ORDER BY embedding <-> q.embedding LIMIT 5)")
rows=$(psql -qXAtc "SELECT count(*) FROM queries")
psql -qX -c "DELETE FROM items WHERE id <= -2000000"
answers "$PGPORT" >"$WORK/after"

same before on_standby "the standby returns the same rows"
same before after "after recovery the same rows are returned"
if [ "$found" = "$rows" ]; then
	echo "ok: all $rows rows committed just before the kill are found"
else
	echo "DIFFERENT: $found of $rows rows committed just before the kill are found"
	failed=1
fi
exit $failed
