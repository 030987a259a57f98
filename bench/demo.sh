#!/bin/bash
#
# Build omendb, load real data into a throw-away server, index it, and show
# recall and speed beside an exact scan. Installs what is missing when root or
# with sudo; touches no server that already runs.
#
#   make demo           show it and clean up
#   make demo KEEP=1    leave the server up, and say how to connect

. "$(dirname "$0")/../test/lib.sh"

finish()
{
	local status=$?

	if [ $status = 0 ] && [ -n "$KEEP" ]; then
		return
	fi
	omen_stop
	[ -n "$OMEN_WORK" ] || rm -rf "$WORK"
}

omen_prepare python3=python3
trap finish EXIT
trap 'exit 130' INT TERM
omen_build
say "starting a throw-away server"
omen_start "shared_buffers = 512MB" "maintenance_work_mem = 256MB" \
	"max_wal_size = 4GB" "jit = off"
psql -qXc 'CREATE DATABASE demo'
export PGDATABASE=demo PYTHONDONTWRITEBYTECODE=1
python3 "$TOP/bench/demo.py" || die "the demo failed; server log: $(tail -5 "$WORK/server.log")"

if [ -n "$KEEP" ]; then
	cat <<END

The server stays up. Connect with
    $BINDIR/psql -h $PGHOST -p $PGPORT -U postgres demo
and when done stop and remove it with
    $([ "$(id -u)" = 0 ] && echo "setpriv --reuid=$TEST_USER --regid=$TEST_GROUP --clear-groups ")$BINDIR/pg_ctl -D $PGDATA -m fast stop
    rm -rf $WORK
END
else
	cat <<END

The server is stopped and removed now. "make demo KEEP=1" leaves it running.
END
fi
