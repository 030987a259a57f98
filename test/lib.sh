# Shell library of the check, the demo and the benchmarks: finds or installs
# PostgreSQL, builds the extension into a private copy of it, and runs a
# throw-away cluster there as an unprivileged user.
#
# Callers set nothing; they read
#   TOP        the source tree
#   WORK       work folder of this run, owned by the test user
#   PG_CONFIG  pg_config of the private copy (after omen_build)
#   BINDIR     its program folder
# Settings from outside: PG_CONFIG chooses the PostgreSQL to copy, OMEN_WORK
# the work folder (kept afterwards), CC the compiler, OMEN_PRELOAD a library
# that every program of the test user is to load first, OMEN_POSTGRES a program
# to start as the server, OMEN_UNDER one to run unit tests by, OMEN_CONF a line
# of configuration for the cluster.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export LC_ALL=C
umask 022

say()
{
	printf '%s\n' "== $*"
}

die()
{
	printf '%s\n' "error: $*" >&2
	exit 1
}

# as_root COMMAND...: run it as root, by sudo where we are not
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "need root or sudo for: $*"
	fi
}

# as_user COMMAND...: run it as the test user; the server refuses root
as_user()
{
	local as=()

	[ "$(id -u)" != 0 ] || as=(HOME="$WORK" setpriv --reuid="$TEST_USER"
		--regid="$TEST_GROUP" --clear-groups)
	env ${OMEN_PRELOAD:+"LD_PRELOAD=$OMEN_PRELOAD"} "${as[@]}" "$@"
}

# print a pg_config of version 15 or later that has headers and a server
find_pg_config()
{
	local candidate version

	for candidate in "$PG_CONFIG" \
		$(ls -d /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -rV) \
		"$(command -v pg_config)"; do
		[ -n "$candidate" ] && [ -x "$candidate" ] || continue
		version=$("$candidate" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
		[ "$version" -ge 15 ] || continue
		[ -e "$("$candidate" --pgxs)" ] || continue
		[ -x "$("$candidate" --bindir)/postgres" ] || continue
		[ -e "$("$candidate" --includedir-server)/postgres.h" ] || continue
		printf '%s\n' "$candidate"
		return
	done
}

apt_install()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends "$@" </dev/null
}

# Install Debian packages. A server that we bring in must not leave a running
# cluster of its own behind, so the creation of one is switched off meanwhile.
install_packages()
{
	local folder=/etc/postgresql-common/createcluster.d
	local off=$folder/omendb-install.conf

	command -v apt-get >/dev/null ||
		die "missing packages ($*), and this is not a Debian system"
	say "installing $*"
	{
		as_root apt-get update -qq &&
			case "$*" in
				*postgresql-[0-9]*)
					apt_install postgresql-common &&
						as_root mkdir -p "$folder" &&
						as_root sh -c "echo 'create_main_cluster = off' >$off"
					;;
			esac &&
			apt_install "$@"
	} >"$WORK/apt.log" 2>&1 || {
		tail -20 "$WORK/apt.log" >&2
		as_root rm -f "$off"
		die "could not install $*"
	}
	as_root rm -f "$off"
}

# print the major version of the distribution's PostgreSQL
packaged_major()
{
	apt-cache show postgresql 2>/dev/null |
		sed -nE 's/^Depends:.*postgresql-([0-9]+).*/\1/p' | sort -rn | head -1
}

# the work folder of this run
work_folder()
{
	WORK=${OMEN_WORK:-$(mktemp -d "${TMPDIR:-/tmp}/omendb.XXXXXX")}
	mkdir -p "$WORK"
	WORK=$(cd "$WORK" && pwd)
}

# missing_packages PROGRAM=PACKAGE...: print the packages of the programs that
# are not there; a Perl module counts as the program perl/Module, what python3
# can import as python/module, a shared library as lib/NAME
missing_packages()
{
	local pair program

	for pair in "$@"; do
		program=${pair%%=*}
		case $program in
			perl/*) perl -M"${program#perl/}" -e1 ;;
			python/*) python3 -c "import ${program#python/}" ;;
			lib/*) /sbin/ldconfig -p | grep -q "^[[:space:]]*${program#lib/} " ;;
			*) command -v "$program" ;;
		esac >/dev/null 2>&1 || printf '%s\n' "${pair##*=}"
	done
}

# omen_prepare [PROGRAM=PACKAGE...]: a work folder, and every program needed
omen_prepare()
{
	local want major

	work_folder
	mapfile -t want < <(missing_packages make=make "${CC:-gcc}=${CC:-gcc}" \
		setpriv=util-linux "$@")
	if [ -z "$(find_pg_config)" ]; then
		[ -n "$(packaged_major)" ] || as_root apt-get update -qq
		major=$(packaged_major)
		[ "${major:-0}" -ge 15 ] ||
			die "no PostgreSQL 15 or later, installed or packaged"
		want+=("postgresql-$major" "postgresql-server-dev-$major")
	fi
	[ ${#want[@]} = 0 ] || install_packages "${want[@]}"
	SYSTEM_PG_CONFIG=$(find_pg_config)
	[ -n "$SYSTEM_PG_CONFIG" ] || die "no usable pg_config found"
	choose_user
	cd "$WORK" || die "cannot enter $WORK"
}

# who is to be the test user, and have the work folder
choose_user()
{
	TEST_USER=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		TEST_USER=nobody
		id postgres >/dev/null 2>&1 && TEST_USER=postgres
		TEST_GROUP=$(id -gn "$TEST_USER")
		chown "$TEST_USER:$TEST_GROUP" "$WORK"
	fi
}

# Copy the PostgreSQL installation below WORK, with the same path inside: its
# programs find their libraries and share folder relative to themselves, so
# the extension is installed there and the system's copy stays as it is.
copy_postgres()
{
	local dir root=$WORK/pg

	mkdir -p "$root"
	for dir in --bindir --pkglibdir --sharedir; do
		dir=$("$SYSTEM_PG_CONFIG" $dir)
		mkdir -p "$root$dir"
		cp -a "$dir/." "$root$dir/"
	done
	for dir in --includedir --pkgincludedir --includedir-server; do
		dir=$("$SYSTEM_PG_CONFIG" $dir)
		[ -e "$root$dir" ] && continue
		mkdir -p "$(dirname "$root$dir")"
		ln -s "$dir" "$root$dir"
	done
	BINDIR=$root$("$SYSTEM_PG_CONFIG" --bindir)
	PG_CONFIG=$BINDIR/pg_config
	case $("$PG_CONFIG" --pkglibdir) in
		"$root"/*) ;;
		*) die "this PostgreSQL cannot be relocated: $SYSTEM_PG_CONFIG" ;;
	esac
}

# omen_build: build the tree and install it into a private PostgreSQL copy
omen_build()
{
	copy_postgres
	say "building with $("$PG_CONFIG" --version)"
	make -C "$TOP" --no-print-directory -j"$(nproc)" \
		${CC:+CC="$CC"} PG_CONFIG="$SYSTEM_PG_CONFIG" >"$WORK/build.log" 2>&1 &&
		make -C "$TOP" --no-print-directory ${CC:+CC="$CC"} \
			PG_CONFIG="$PG_CONFIG" install >>"$WORK/build.log" 2>&1 || {
		tail -40 "$WORK/build.log" >&2
		die "build failed"
	}
	export PG_CONFIG
	export PATH="$BINDIR:$PATH"
}

# omen_start [LINES...]: start a cluster with these configuration lines; psql
# and its kin reach it without arguments
omen_start()
{
	export PGHOST=$WORK/socket PGPORT=${OMEN_PORT:-5432} PGUSER=postgres
	export PGDATABASE=postgres PGDATA=$WORK/data
	unset PGSERVICE PGSSLMODE PGOPTIONS

	as_user mkdir -p "$PGHOST"
	as_user "$BINDIR/initdb" -D "$PGDATA" -U postgres -A trust -N \
		--no-locale -E UTF8 >"$WORK/initdb.log" 2>&1 || {
		cat "$WORK/initdb.log" >&2
		die "initdb failed"
	}
	printf '%s\n' "listen_addresses = ''" "port = $PGPORT" \
		"unix_socket_directories = '$PGHOST'" "fsync = off" "$@" \
		${OMEN_CONF:+"$OMEN_CONF"} |
		as_user tee -a "$PGDATA/postgresql.conf" >/dev/null
	as_user "$BINDIR/pg_ctl" -D "$PGDATA" -l "$WORK/server.log" -w -s -t 600 \
		${OMEN_POSTGRES:+-p "$OMEN_POSTGRES"} start || {
		tail -20 "$WORK/server.log" >&2
		die "server did not start"
	}
}

omen_stop()
{
	[ -s "$WORK/data/postmaster.pid" ] || return 0
	as_user "$BINDIR/pg_ctl" -D "$WORK/data" -m immediate -s stop
}
