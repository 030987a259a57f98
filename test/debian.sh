# Shell library of what runs in a Debian folder, made by debootstrap: another
# release's PostgreSQL beside the machine's own. After lib.sh; needs root.

# logged LOG COMMAND...: run it silently, and show its output if it fails
logged()
{
	local log=$1

	shift
	"$@" >"$log" 2>&1 </dev/null || {
		tail -20 "$log" >&2
		die "failed: $* (all of its output: $log)"
	}
}

# in_debian FOLDER COMMAND...: run it there, with /proc and /dev/shm in mounts
# of its own. What it leaves running ends with it. NAME=VALUE goes before the
# command.
in_debian()
{
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child sh -ec '
		mount -t proc proc "$1/proc"
		mount -t tmpfs -o mode=1777 shm "$1/dev/shm"
		folder=$1
		shift
		chroot "$folder" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			LC_ALL=C HOME=/root DEBIAN_FRONTEND=noninteractive "$@" ||
			exit $?' sh "$@"
}

# make_debian FOLDER SUITE PACKAGE...: make the folder where it is not yet, and
# install what it misses. SUITE may name an architecture, as bookworm-i386. It counts only when it is whole: it is made under
# another name. An old list of packages will do, so an expired one is taken.
make_debian()
{
	local folder=$1 suite=$2 new=$1.new architecture

	case $suite in
		*-*) architecture=${suite#*-} ;;
		*) architecture=$(dpkg --print-architecture) ;;
	esac
	shift 2
	if [ ! -d "$folder" ]; then
		say "making a Debian folder, $folder"
		rm -rf "$new"
		logged "$folder.debootstrap.log" debootstrap --variant=minbase \
			--arch="$architecture" "${suite%%-*}" "$new"
		printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
		chmod +x "$new/usr/sbin/policy-rc.d"
		mkdir -p "$new/etc/postgresql-common/createcluster.d"
		echo 'create_main_cluster = off' \
			>"$new/etc/postgresql-common/createcluster.d/omendb.conf"
		mv "$new" "$folder"
	fi
	in_debian "$folder" dpkg -s "$@" >/dev/null 2>&1 && return
	logged "$folder.update.log" in_debian "$folder" \
		apt-get -o Acquire::Check-Valid-Until=false update -qq
	logged "$folder.packages.log" in_debian "$folder" \
		apt-get install -y -qq --no-install-recommends "$@"
}

# copy_tree FOLDER: the working tree, as git sees it, to FOLDER/tmp
copy_tree()
{
	local copy=$1/tmp/omendb-check

	rm -rf "$copy"
	mkdir -p "$copy"
	git -C "$TOP" ls-files -z --cached --others --exclude-standard |
		tar -C "$TOP" --null -T - --ignore-failed-read -cf - |
		tar -C "$copy" -xf - || die "could not copy the source"
}

# make_postgres FOLDER SUITE VERSION: with all that make check needs there, and
# pgvector, which Debian has from trixie on
make_postgres()
{
	local pgvector=postgresql-$3-pgvector

	[[ $2 != bookworm* ]] || pgvector=
	# shellcheck disable=SC2086
	make_debian "$1" "$2" "postgresql-$3" $pgvector libpq-dev \
		gcc libc6-dev make perl libipc-run-perl binutils util-linux
	add_headers "$1" "$3"
}

# add_headers FOLDER VERSION: those of the server, without the compilers that
# their package depends on
add_headers()
{
	[ ! -e "$1/usr/include/postgresql/$2/server/postgres.h" ] || return 0
	# shellcheck disable=SC2016
	logged "$1.headers.log" in_debian "$1" sh -ec 'cd /tmp
		apt-get download -qq "$0"
		dpkg-deb -x "$0"_*.deb /
		rm "$0"_*.deb' "postgresql-server-dev-$2"
}

# make_wheel FOLDER: the PostgreSQL in PyPI's package pgserver. Programs that are
# linked with its libraries cannot be position-independent.
make_wheel()
{
	local folder=$1 new=$1.new program want

	[ ! -d "$folder" ] || return 0
	mapfile -t want < <(missing_packages python/pip=python3-pip)
	[ ${#want[@]} = 0 ] || install_packages "${want[@]}"
	say "making a folder of PyPI's pgserver, $folder"
	rm -rf "$new"
	mkdir -p "$new"
	logged "$folder.pip.log" python3 -m pip download --no-deps \
		--only-binary=:all: -d "$new" pgserver==0.1.4
	logged "$folder.unpack.log" python3 -m zipfile -e "$new"/*.whl "$new"
	for program in gcc g++; do
		printf '#!/bin/sh\nexec %s -no-pie "$@"\n' "$program" >"$new/$program"
	done
	chmod -R a+rX "$new"
	find "$new/gcc" "$new/g++" "$new"/pgserver/pginstall/{bin,lib/postgresql/pgxs} \
		-type f -exec chmod a+x {} +
	mv "$new" "$folder"
}

# versions_folder: as WORK, the folder of the Debian folders, for one run at a
# time
versions_folder()
{
	local want

	[ "$(id -u)" = 0 ] ||
		die "needs root: it runs PostgreSQL in a Debian folder"
	OMEN_WORK=${OMEN_VERSIONS_DIR:-$HOME/.cache/omendb-versions}
	work_folder
	exec 9>"$WORK/lock"
	flock -n 9 || die "another check is running in $WORK"
	mapfile -t want < <(missing_packages debootstrap=debootstrap \
		unshare=util-linux git=git)
	[ ${#want[@]} = 0 ] || install_packages "${want[@]}"
}
