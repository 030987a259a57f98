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
# install what it misses. It counts only when it is whole: it is made under
# another name. An old list of packages will do, so an expired one is taken.
make_debian()
{
	local folder=$1 suite=$2 new=$1.new

	shift 2
	if [ ! -d "$folder" ]; then
		say "making a Debian folder, $folder"
		rm -rf "$new"
		logged "$folder.debootstrap.log" \
			debootstrap --variant=minbase "$suite" "$new"
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
