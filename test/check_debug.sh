#!/bin/bash
#
# make check on a PostgreSQL that checks itself: built from Debian's source
# package with assertions, memory contexts that are wiped and marked for
# valgrind. The first run takes the time of that build.
#
#   make check-debug                   everything; CHECK and TESTS choose as
#                                      they do for make check, and
#                                      OMEN_CONF="debug_discard_caches = 1"
#                                      forgets what is cached at every chance:
#                                      a few tests at a time, they take long
#   make check-asan                    omendb compiled for AddressSanitizer and
#                                      the sanitizer of undefined behaviour. A
#                                      finding ends its process, so that its test
#                                      fails, and is printed at the end
#   make check-valgrind                the unit and regression tests, programs
#                                      and server under valgrind's memcheck,
#                                      without the reads that PostgreSQL itself
#                                      allows
#
# Leaks are not looked for: a backend's memory contexts end with it. Debian's
# own server hangs under AddressSanitizer, in a lock of the C library that the
# constructors of its libraries took.
#
# Kept in OMEN_VERSIONS_DIR (~/.cache/omendb-versions).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"

# The newest version of the source package that the mirror still has, unpacked
# into $build/source. Lists of packages are kept apart from the system's.
fetch_source()
{
	local suite options version

	suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mkdir -p "$build/apt/lists/partial" "$build/download"
	printf 'deb-src [signed-by=%s] http://deb.debian.org/debian%s main\n' \
		/usr/share/keyrings/debian-archive-keyring.gpg " $suite" \
		/usr/share/keyrings/debian-archive-keyring.gpg "-security $suite-security" \
		>"$build/apt/sources.list"
	options=(-o "Dir::Etc::sourcelist=$build/apt/sources.list"
		-o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$build/apt/lists"
		-o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false)
	logged "$build/update.log" apt-get "${options[@]}" update
	for version in $(apt-cache "${options[@]}" showsrc "postgresql-$major" |
		sed -n 's/^Version: //p' | sort -rV); do
		(cd "$build/download" && apt-get "${options[@]}" source -qq \
			--download-only "postgresql-$major=$version") \
			>"$build/source.log" 2>&1 && break
	done
	ls "$build"/download/*.orig.tar.* >/dev/null 2>&1 ||
		die "no source of postgresql-$major: $build/source.log"
	mkdir -p "$build/source"
	tar -xf "$build"/download/*.orig.tar.* --strip-components=1 \
		-C "$build/source"
}

# It counts only when it is whole: the program comes last.
make_server()
{
	local folder=$build/source part

	[ ! -x "$build/pg/bin/pg_config" ] || return 0
	say "building PostgreSQL $major with assertions in $build"
	[ -e "$folder/configure" ] || fetch_source
	[ -e "$folder/config.status" ] || (cd "$folder" &&
		logged "$build/configure.log" ./configure \
			--prefix="$build/pg" --enable-cassert --enable-debug \
			--enable-tap-tests --without-readline --without-zlib --without-icu \
			CFLAGS="-O1 -g -fno-omit-frame-pointer" CPPFLAGS=-DUSE_VALGRIND) ||
		exit 1
	# only the outermost make makes PostgreSQL's headers before all else
	unset MAKELEVEL
	logged "$build/make.log" make -C "$folder" -s -j"$(nproc)"
	logged "$build/install.log" make -C "$folder" -s install
	for part in regress isolation perl; do
		logged "$build/$part.log" make -C "$folder/src/test/$part" -s install
	done
}

major=${MAJOR:-15}
versions_folder
build=$WORK/debug-$major
mkdir -p "$build"
mapfile -t want < <(missing_packages make=make gcc=gcc bison=bison flex=flex \
	valgrind=valgrind perl/IPC::Run=libipc-run-perl)
[ ${#want[@]} = 0 ] || install_packages "${want[@]}"
make_server
unset OMEN_WORK
export PG_CONFIG=$build/pg/bin/pg_config COPT=-DUSE_ASSERT_CHECKING
[ -n "$1" ] || exec bash "$TOP/test/run_check.sh"

# each process writes its findings into a file of its own
reports=$(mktemp -d "${TMPDIR:-/tmp}/omendb-$1.XXXXXX")
chmod 1777 "$reports"
case $1 in
	asan)
		COPT+=" -O1 -fno-omit-frame-pointer -fsanitize=address,undefined"
		COPT+=" -fno-sanitize-recover=all"
		OMEN_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
		export OMEN_PRELOAD
		export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$reports/asan
		export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/ubsan
		;;
	valgrind)
		# the test user may not be able to read the source tree
		cp "$TOP/test/valgrind.supp" "$reports.supp"
		cat >"$reports.under" <<E2
#!/bin/sh
exec valgrind --quiet --leak-check=no --error-limit=no --gen-suppressions=all \\
	--trace-children=yes --suppressions=$build/source/src/tools/valgrind.supp \\
	--suppressions=$reports.supp --log-file=$reports/%p.log "\$@"
E2
		cat >"$reports.postgres" <<E2
#!/bin/sh
exec "$reports.under" "\$(dirname "\$PG_CONFIG")/postgres" "\$@"
E2
		chmod 755 "$reports.under" "$reports.postgres"
		export OMEN_UNDER=$reports.under OMEN_POSTGRES=$reports.postgres
		export CHECK=${CHECK:-unit regress}
		# random queries that SQL answers as well: a part of them
		export OMEN_CONF=${OMEN_CONF:-check.part = 10}
		;;
	*) die "no such check: $1" ;;
esac

bash "$TOP/test/run_check.sh"
status=$?
mapfile -t found < <(find "$reports" -type f -size +0)
rm -f "$reports.under" "$reports.postgres" "$reports.supp"
if [ ${#found[@]} -gt 0 ]; then
	head -n 60 "${found[@]}"
	say "${#found[@]} processes with findings, in $reports"
	exit 1
fi
rm -rf "$reports"
say "no findings"
exit $status
