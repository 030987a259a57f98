"""Timing of searches and statements, the same way for every peer."""
import os
import threading
import time
from statistics import median

SETTLED = 0.03
WARM_PASSES = 6
FRESH = 100


class Pass:
    """All queries of a workload once, at one knob value."""

    def __init__(self, searcher, count):
        self.found, walls = [], []
        clock, search = time.perf_counter_ns, searcher.search
        cpu = searcher.cpu_ns()
        for number in range(count):
            start = clock()
            ids = search(number)
            walls.append(clock() - start)
            self.found.append(ids)
        self.cpu_us = (searcher.cpu_ns() - cpu) / count / 1e3
        self.qps = 1e9 * count / sum(walls)
        walls.sort()
        self.p50_us = walls[count // 2] / 1e3
        self.p99_us = walls[min(count - 1, count * 99 // 100)] / 1e3


def warm(searcher, count, knob):
    """Search until the CPU time of a pass no longer changes.

    A backend meets each page of shared memory with a page fault of its own,
    so that the first passes of a connection cost more than all later ones.
    """
    searcher.set_knob(knob)
    before = Pass(searcher, count).cpu_us
    for _ in range(WARM_PASSES):
        now = Pass(searcher, count).cpu_us
        if abs(now - before) < SETTLED * before:
            return
        before = now


def curves(searchers, workload, knobs, repeats):
    """{peer: [point, ...]}: recall and medians of costs for each knob value.

    Peers take turns after each pass, so that what else the machine does
    meets all of them alike.
    """
    count = len(workload.query_array)
    for searcher in searchers.values():
        warm(searcher, count, max(knobs))
    passes = {name: {knob: [] for knob in knobs} for name in searchers}
    names = list(searchers)
    for repeat in range(repeats):
        for knob in knobs:
            for name in names[repeat % len(names):] + \
                    names[:repeat % len(names)]:
                searchers[name].set_knob(knob)
                passes[name][knob].append(Pass(searchers[name], count))
    return {name: [point(searchers[name], workload, knob, passes[name][knob])
                   for knob in knobs] for name in names}


def point(searcher, workload, knob, passes):
    searcher.set_knob(knob)
    pages = searcher.pages()
    return {"knob": knob, "recall": workload.recall(passes[-1].found),
            "buffers": pages and sum(pages), "reads": pages and pages[1],
            **{name: median(getattr(one, name) for one in passes)
               for name in ("cpu_us", "qps", "p50_us", "p99_us")}}


class Statement:
    """What running something in a session costs.

    wall_s, cpu_s (the backend), all_cpu_s (with the parallel workers that it
    had), wal_bytes, and with watch the largest rss_* of the backend in bytes.
    """

    WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"

    def __init__(self, db, server, watch=False):
        self._db, self._server = db, server
        self._watcher = Watcher(db.pid) if watch else None

    def run(self, action):
        db = self._db
        wal, others = int(db.value(self.WAL)), self._server.children_cpu()
        if self._watcher:
            self._watcher.start()
        cpu, start = db.cpu_ns(), time.perf_counter()
        action()
        wall, cpu = time.perf_counter() - start, (db.cpu_ns() - cpu) / 1e9
        result = {"wall_s": wall, "cpu_s": cpu}
        if self._watcher:
            result.update(self._watcher.stop())
        result["all_cpu_s"] = cpu + self._server.children_cpu() - others
        result["wal_bytes"] = int(db.value(self.WAL)) - wal
        return result


def cost(db, server, action, watch=False):
    return Statement(db, server, watch).run(action)


class Watcher(threading.Thread):
    """Looks at a process's resident memory ten times a second."""

    FIELDS = {"RssAnon": "rss_anon", "RssShmem": "rss_shmem",
              "RssFile": "rss_file"}

    def __init__(self, pid):
        super().__init__(daemon=True)
        self._pid, self._end = pid, threading.Event()
        self._peak = dict.fromkeys(self.FIELDS.values(), 0)

    def run(self):
        while not self._end.wait(0.1):
            self._look()

    def _look(self):
        with open(f"/proc/{self._pid}/status", encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in self.FIELDS:
                    key = self.FIELDS[name]
                    self._peak[key] = max(self._peak[key],
                                          int(value.split()[0]) * 1024)

    def stop(self):
        self._end.set()
        self.join()
        self._look()
        return self._peak


def pin(core):
    """Keep this process on a core; None lets it run anywhere."""
    os.sched_setaffinity(0, {core} if core is not None
                         else range(os.cpu_count()))
