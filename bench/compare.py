#!/usr/bin/env python3
"""The side-by-side benchmark; run.sh prepares it and says how to call it.

Settings come from the environment: MODE, PARTS, SETS, ROWS, QUERIES, REPEATS,
BUILD_REPEATS, KNOBS, REBUILD, CORE, MEMORY_MB, KEEP, OMEN_BENCH_DIR,
OMEN_PORT.
"""
import importlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time

import derived
import measure
import peers
import server
import sets
import workload

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "out")
ALL_PARTS = ("build", "search", "filter", "planner", "fresh", "concurrency",
             "insert", "update", "vacuum", "churn", "restart", "cold", "text",
             "large")
SHORT_SET = "mnist_10k"
PARTS = {"short": "build search insert", "full": " ".join(ALL_PARTS)}
KNOBS = {"short": "10,20,40,80,160,320", "full": "10,20,40,80,120,200,400,800"}


def setting(name, default="", convert=str):
    text = os.environ.get(name) or default
    try:
        return convert(text)
    except ValueError:
        raise SystemExit(f"{name}={text}: not understood")


def words(text):
    return text.replace(",", " ").split()


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


class Comparison:
    """What the parts share: settings, peers, the server, workloads."""

    def __init__(self):
        self.mode = setting("MODE", "short")
        if self.mode not in PARTS:
            raise SystemExit(f"MODE={self.mode}: short or full")
        self.parts = setting("PARTS", PARTS[self.mode], words)
        for name in self.parts:
            if name not in ALL_PARTS:
                raise SystemExit(f"PARTS={name}: one of "
                                 + ", ".join(ALL_PARTS))
        self.sets = setting("SETS", "", words)
        self.knobs = sorted(setting(
            "KNOBS", KNOBS[self.mode],
            lambda text: [positive(word) for word in words(text)]))
        self.repeats = setting("REPEATS", "3", positive)
        self.build_repeats = setting("BUILD_REPEATS", "1", positive)
        self.queries = setting("QUERIES", "1000", positive)
        self.rows = setting("ROWS", "0", int) or None
        self.memory_limit = setting("MEMORY_MB", "0", int)
        self.core = setting("CORE", str(max(os.sched_getaffinity(0))), int)
        self.cache = setting("OMEN_BENCH_DIR")
        if not os.path.isdir(self.cache):
            raise SystemExit("OMEN_BENCH_DIR must name the folder that "
                             "run.sh prepared")
        self.server = server.Server(os.path.join(self.cache, "trixie"),
                                    setting("OMEN_PORT", "5433"))
        self.servers = peers.server_peers()
        self.libraries = peers.library_peers(self.cache)
        self.rebuild = self._peers_named(setting("REBUILD", "", words))
        self._workload = None
        self._built = set()
        for name in self.sets:
            derived.ensure(name, self.cache + "/sets")
            sets.open_set(name)

    def _peers_named(self, names):
        known = {peer.name for peer in self.servers + self.libraries}
        groups = {"ours": {"omendb"}, "theirs": known - {"omendb"},
                  "all": known}
        result = set()
        for name in names:
            if name not in known | set(groups):
                raise SystemExit(f"REBUILD={name}: one of "
                                 + ", ".join(sorted(known | set(groups))))
            result |= groups.get(name, {name})
        return result

    def workload(self, name, rows=None):
        """The set of that name; the last one is kept."""
        rows = min(filter(None, (rows, self.rows)), default=None)
        key = (name, rows)
        if self._workload is None or self._workload[0] != key:
            self._workload = None
            say(f"reading {name}")
            self._workload = key, workload.Workload(name, self.cache, rows,
                                                    self.queries)
        return self._workload[1]

    def ensure(self, peer, data, index=True):
        """Data and index of a peer, unless they are known to be there."""
        if (peer.name, data.table) not in self._built:
            say(f"{peer.name}: table and index of {data.table}")
            if index:
                peer.ensure(data)
                self.built(peer, data)
            else:
                peer.ensure(data, index=False)

    def built(self, peer, data):
        """Its index is of this run."""
        self._built.add((peer.name, data.table))

    def sets_for(self, default):
        """What SETS names, else the short mode's, else the part's own."""
        return self.sets or words(default if self.mode == "full"
                                  else SHORT_SET)


def say(text):
    print(f"== {text}", flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next((line.split(":")[1].strip() for line in file
                      if line.startswith("model name")), platform.machine())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (f"{model}, {os.cpu_count()} cores, {pages >> 30} GiB, "
            f"Linux {platform.release()}")


def revision():
    result = subprocess.run(["git", "-C", HERE, "describe", "--always",
                             "--dirty"], capture_output=True, text=True,
                            check=False)
    return result.stdout.strip() or "unknown"


def versions(comparison):
    result = {"omendb": revision(),
              "server": comparison.server.version().split(" on ")[0]}
    db = comparison.servers[1].connect()
    result["pgvector"] = db.value("SELECT extversion FROM pg_extension "
                                  "WHERE extname = 'vector'")
    db.close()
    for module in ("hnswlib", "faiss-cpu", "numpy"):
        result[module] = importlib.metadata.version(module)
    return result


def heading(name, title, about):
    """When, where and with what a part was measured."""
    software = ", ".join(f"{key} {value}"
                         for key, value in about["versions"].items())
    return [f"## {name}: {title}", "",
            f"{about['time']}, {about['machine']}, load average "
            f"{about['load'][0]} before and {about['load'][1]} after; "
            f"{software}; {about['repeats']} repeats", ""]


def write(results):
    """results.json and results.md, from all parts so far."""
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "results.json"), "w",
              encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    lines = ["# omendb beside its peers", ""]
    for name in [n for n in ALL_PARTS if n in results]:
        module = importlib.import_module(f"parts.{name}")
        lines += heading(name, module.TITLE, results[name]["about"])
        lines += module.make_report(results[name]["result"], OUT)
    with open(os.path.join(OUT, "results.md"), "w",
              encoding="utf-8") as file:
        file.write("\n".join(lines))


def earlier():
    """Results of parts that an earlier run measured."""
    try:
        with open(os.path.join(OUT, "results.json"),
                  encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def main():
    comparison = Comparison()
    comparison.server.create()
    for peer in comparison.libraries:
        if peer.name in comparison.rebuild:
            peer.forget()
    try:
        comparison.server.start()
        for peer in comparison.servers:
            comparison.server.create_database(
                peer.database, peer.extension,
                anew=peer.name in comparison.rebuild)
        measure.pin(None)
        results = earlier()
        about = {"machine": machine(), "versions": versions(comparison),
                 "repeats": comparison.repeats, "mode": comparison.mode}
        for name in [n for n in ALL_PARTS if n in comparison.parts]:
            module = importlib.import_module(f"parts.{name}")
            say(f"{name}: {module.TITLE}")
            # other load of the machine: wall times are no better than it
            busy = [f"{os.getloadavg()[0]:.1f}"]
            when = time.strftime("%Y-%m-%d %H:%M")
            result = module.run(comparison)
            busy.append(f"{os.getloadavg()[0]:.1f}")
            results[name] = {"about": {**about, "time": when, "load": busy},
                             "result": result}
            write(results)
            print("\n".join(module.make_report(results[name]["result"], OUT)),
                  flush=True)
        say(f"written to {OUT}")
    finally:
        if not setting("KEEP"):
            comparison.server.stop()


def end(number, _):
    """Let a signal unwind the stack, so that the server is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    sys.exit(main())
