"""The one server of the comparison: PostgreSQL in a Debian folder.

It runs chrooted, as the folder's user postgres, with one database a peer. Its
processes are the host's, so /proc tells their CPU time and memory. It gets
mounts of its own (/proc, /dev/shm), which end with it.
"""
import os
import subprocess

import pg

MAJOR = 17
PROGRAMS = f"/usr/lib/postgresql/{MAJOR}/bin"
HOME = "/srv/omendb"
SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_directories": f"'{HOME}'",
    "shared_buffers": "4GB",
    "maintenance_work_mem": "2GB",
    "max_parallel_maintenance_workers": "2",
    "max_wal_size": "32GB",
    "checkpoint_timeout": "1h",
    "effective_io_concurrency": "16",
    "fsync": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "jit": "off",
}
# $1 is the folder, the rest is the command
MOUNT = ('mount -t proc proc "$1/proc" && '
         'mount -t tmpfs -o mode=1777 shm "$1/dev/shm" && '
         'exec chroot --userspec=postgres "$@"')


class Server:
    """Start, stop and restart; SETTINGS can be overridden at each start."""

    def __init__(self, folder, port):
        self.folder = folder
        self.home = folder + HOME
        self.data = self.home + "/data"
        self._log = self.home + "/server.log"
        if len(self.home) > 90:
            raise SystemExit(f"{self.home}: too long a path for a socket; "
                             "set OMEN_BENCH_DIR to a shorter one")
        self._port = port
        for name in ("PGSERVICE", "PGOPTIONS", "PGSSLMODE"):
            os.environ.pop(name, None)
        os.environ.update(PGHOST=self.home, PGPORT=port, PGUSER="postgres")

    def _run(self, *command):
        """Run a program of the folder as its user postgres."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", MOUNT, "sh", self.folder,
             *command], env=environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        return result.returncode, result.stdout

    def _control(self, *arguments):
        return self._run(f"{PROGRAMS}/pg_ctl", "-D", f"{HOME}/data", "-s",
                         "-w", "-t", "600", "-l", f"{HOME}/server.log",
                         *arguments)

    def create(self):
        """Make the cluster where there is none."""
        if os.path.exists(self.data + "/PG_VERSION"):
            return
        os.makedirs(self.home, exist_ok=True)
        subprocess.run(["chroot", self.folder, "chown", "postgres", HOME],
                       check=True)
        status, output = self._run(
            f"{PROGRAMS}/initdb", "-D", f"{HOME}/data", "-U", "postgres",
            "-A", "trust", "-N", "--no-locale", "-E", "UTF8")
        if status != 0:
            raise SystemExit(f"initdb failed:\n{output}")
        with open(self.data + "/postgresql.conf", "a",
                  encoding="ascii") as file:
            file.write("include 'bench.conf'\n")

    def start(self, **settings):
        self.stop()
        settings = {"port": self._port, **SETTINGS, **settings}
        with open(self.data + "/bench.conf", "w", encoding="ascii") as file:
            file.writelines(f"{name} = {value}\n"
                            for name, value in settings.items())
        status, _ = self._control("start")
        if status != 0:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                tail = "".join(file.readlines()[-10:])
            raise SystemExit(f"server did not start:\n{tail}")

    def stop(self):
        if self.pid() is None:
            return
        status, output = self._control("-m", "fast", "stop")
        if status != 0 and self.pid() is not None:
            raise SystemExit(f"server did not stop: {output}")

    def pid(self):
        """Process of the running server, or None."""
        try:
            with open(self.data + "/postmaster.pid",
                      encoding="ascii") as file:
                pid = int(file.readline())
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                return pid if file.read().strip() == "postgres" else None
        except FileNotFoundError:
            return None

    def create_database(self, name, extension, anew=False):
        """Make it where there is none, or in place of the one there is."""
        db = pg.Connection("dbname=postgres")
        if anew:
            db.query(f"DROP DATABASE IF EXISTS {name}")
        if not db.query("SELECT 1 FROM pg_database "
                        f"WHERE datname = '{name}'"):
            db.query(f"CREATE DATABASE {name}")
        db.close()
        db = pg.Connection(f"dbname={name}")
        db.query(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        db.close()

    def version(self):
        db = pg.Connection("dbname=postgres")
        version = db.value("SELECT version()")
        db.close()
        return version

    def children_cpu(self):
        """CPU seconds of the server's processes that have ended."""
        with open(f"/proc/{self.pid()}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def drop_cache(self):
        """Have the kernel forget the cluster's files; it must be stopped."""
        for folder, _, files in os.walk(self.data + "/base"):
            for name in files:
                file = os.open(os.path.join(folder, name), os.O_RDONLY)
                os.fdatasync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)

    def limit_memory(self, megabytes):
        """Put the running server into a memory cgroup of that size."""
        new, old = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"
        version1 = os.path.exists(old + "/memory.limit_in_bytes")
        group = (old if version1 else new) + "/omendb-bench"
        limit = "memory.limit_in_bytes" if version1 else "memory.max"
        try:
            os.makedirs(group, exist_ok=True)
            with open(f"{group}/{limit}", "w", encoding="ascii") as file:
                file.write(str(megabytes << 20))
            for pid in [self.pid(), *self._children()]:
                with open(f"{group}/cgroup.procs", "w",
                          encoding="ascii") as file:
                    file.write(str(pid))
        except OSError as error:
            raise SystemExit(f"no memory cgroup here: {error}")

    def _children(self):
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", encoding="ascii",
                          errors="replace") as file:
                    parent = file.read().rsplit(")", 1)[1].split()[1]
            except FileNotFoundError:
                continue
            if int(parent) == self.pid():
                yield int(name)
