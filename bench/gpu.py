"""What gpu.sh runs: sets, what a device can do, and whole builds by it.

    gpu.py set SET...        make the sets that are computed; print their files
    gpu.py rates             copies and products of the device, by torch
    gpu.py profile FILE      sum up a profile of ncu
    gpu.py index SET...      tables, indexes with and without the device

Where OMEN_SUMMARY names a file, lines of the last table are added to it.
"""
import csv
import multiprocessing
import os
import re
import statistics
import sys
import time

import numpy

import derived
import mixes
import pg
import recall
import sets
import workload

ROWS = int(os.environ.get("ROWS") or 1 << 62)
QUERIES = int(os.environ.get("QUERIES") or 200)
THREADS = int(os.environ.get("THREADS") or os.cpu_count())
MEMORY = os.environ.get("MEMORY") or "0"
BUILDS = int(os.environ.get("BUILDS") or 3)
VERIFY_ROWS = os.environ.get("VERIFY") != "index"
KNOBS = (20, 40, 100)
TRUE_NEIGHBOURS = 100
EXACT_VALUES = 1e9
BLOCK = 8192


def say(text):
    print(text, flush=True)


def summarize(*cells):
    if os.environ.get("OMEN_SUMMARY"):
        with open(os.environ["OMEN_SUMMARY"], "a", encoding="ascii") as file:
            file.write("| " + " | ".join(map(str, cells)) + " |\n")


class Set(workload.Workload):
    """A set cut to its first rows; large files are used in place."""

    def __init__(self, name):
        derived.ensure(name, os.environ["OMEN_SETS"])
        data = sets.open_set(name)
        self.name, self.metric, self.dim = name, data.metric, data.dim
        self.folder, self.k = data.folder, 10
        self.base_array = self._array("base", data.base(), ROWS)
        self.query_array = self._array("query", data.queries(), QUERIES)
        self.rows = len(self.base_array)
        self._truth = None

    def _array(self, stem, rows, count):
        path = os.path.join(self.folder, stem)
        if os.path.exists(path + ".npy"):
            return numpy.load(path + ".npy", mmap_mode="r")[:count]
        if os.path.exists(path + ".u8bin"):
            raw = numpy.memmap(path + ".u8bin", numpy.uint8, "r")
            return raw[8:].reshape(raw[:8].view("<u4"))[:count]
        return mixes.rows_of(rows, count)

    def _find_truth(self):
        """By brute force, in parallel."""
        near = mixes.in_parallel(self._nearest, range(0, self.rows, BLOCK))
        far, ids = (numpy.concatenate(parts, axis=1) for parts in zip(*near))
        order = far.argsort(axis=1, kind="stable")[:, :TRUE_NEIGHBOURS]
        return numpy.take_along_axis(ids, order, 1).tolist()

    def _nearest(self, first):
        """Of a block of rows: distances, but for a constant, and numbers."""
        queries = mixes.as_vectors(self.query_array, self.metric)
        rows = mixes.as_vectors(self.base_array[first:first + BLOCK],
                                self.metric)
        far = -(queries @ rows.T)
        if self.metric != "ip":
            far += (rows ** 2).sum(axis=1) / 2
        count = min(TRUE_NEIGHBOURS, len(rows))
        best = far.argpartition(count - 1, axis=1)[:, :count]
        return numpy.take_along_axis(far, best, 1), first + best


def make_sets(names):
    for name in names:
        start = time.perf_counter()
        derived.ensure(name, os.environ["OMEN_SETS"])
        data = sets.open_set(name)
        say(f"{data.folder} {data.metric} "
            f"{time.perf_counter() - start:.1f}")


def rates():
    """What kernels are measured against, if torch is there to tell."""
    try:
        import torch
    except ImportError:
        say("no torch, so rates of the device are not known")
        return

    def seconds(work, times=10):
        work()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / times

    source = torch.empty(1 << 30, dtype=torch.int8, device="cuda")
    copy = torch.empty_like(source)
    pinned = torch.empty(1 << 28, dtype=torch.int8, pin_memory=True)
    matrix = torch.randint(-127, 128, (8192, 8192), dtype=torch.int8,
                           device="cuda")
    for name, amount, work in (
            ("copies on it, GB/s read and written", 2 * source.numel() / 1e9,
             lambda: copy.copy_(source)),
            ("copies to it, GB/s", pinned.numel() / 1e9,
             lambda: copy[:pinned.numel()].copy_(pinned, non_blocking=True)),
            ("copies from it, GB/s", pinned.numel() / 1e9,
             lambda: pinned.copy_(copy[:pinned.numel()], non_blocking=True)),
            ("products of int8, Tops/s", 2 * 8192 ** 3 / 1e12,
             lambda: torch._int_mm(matrix, matrix.t()))):
        rate = amount / seconds(work)
        say(f"{name}: {rate:.0f}")
        summarize("device", name, f"{rate:.0f}")


def profile(path):
    """Time and bytes of each kernel, from ncu --csv --page raw."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        lines = [line for line in file if line.startswith('"')]
    sums = {}
    for row in csv.DictReader(lines):
        try:
            took = float(row["gpu__time_duration.sum"].replace(",", "")) / 1e9
            moved = float(row["dram__bytes.sum"].replace(",", ""))
        except ValueError:  # the line of units
            continue
        name = re.sub(r"^void |[<(].*", "", row["Kernel Name"])
        count, seconds, size = sums.get(name, (0, 0, 0))
        sums[name] = count + 1, seconds + took, size + moved
    say("kernel                          calls       ms       GB     GB/s")
    for name, (count, seconds, size) in sorted(
            sums.items(), key=lambda one: -one[1][1]):
        say(f"{name[:30]:<30}{count:>7}{1e3 * seconds:>9.2f}"
            f"{size / 1e9:>9.3f}{size / 1e9 / seconds:>9.0f}")


def copy_part(table, rows, first, end):
    """COPY some rows, with their numbers as ids."""
    kind = numpy.dtype([
        ("fields", ">i2"), ("id_size", ">i4"), ("id", ">i4"),
        ("size", ">i4"), ("dim", ">i2"), ("unused", ">i2"),
        ("values", ">f4", (rows.shape[1],))])

    def blocks():
        for at in range(first, end, BLOCK):
            part = rows[at:min(at + BLOCK, end)]
            block = numpy.zeros(len(part), kind)
            block["fields"], block["id_size"] = 2, 4
            block["id"] = numpy.arange(at, at + len(part))
            block["size"] = 4 + 4 * rows.shape[1]
            block["dim"], block["values"] = rows.shape[1], part
            yield block.tobytes()

    db = pg.Connection()
    db.copy_blocks(table, blocks())
    db.close()


def load(db, data):
    """By as many sessions as there are processors."""
    start = time.perf_counter()
    db.query("CREATE EXTENSION IF NOT EXISTS omendb; "
             "DROP TABLE IF EXISTS items; "
             f"CREATE TABLE items (id int, embedding vector({data.dim})); "
             f"ALTER TABLE items SET (parallel_workers = {THREADS - 1})")
    bounds = numpy.linspace(0, data.rows, THREADS + 1).astype(int)
    workers = [multiprocessing.get_context("fork").Process(
        target=copy_part, args=("items", data.base_array, first, end))
        for first, end in zip(bounds.tolist(), bounds[1:].tolist())]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("the table could not be loaded")
    db.query("VACUUM items")
    db.query("CHECKPOINT")
    say(f"{data.name}: {data.rows} rows x {data.dim} loaded in "
        f"{time.perf_counter() - start:.1f} s")


class Build:
    """An index, what it cost and what it finds."""

    def __init__(self, mode):
        self.mode = mode
        self.seconds, self.stages = 0, {}
        self.computed = 0           # by the helper
        self.found, self.recall = {}, {}

    def run(self, db, data, notices):
        wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
        db.query("DROP INDEX IF EXISTS items_index; "
                 f"SET omendb.gpu_build = {self.mode}; "
                 f"SET omendb.gpu_memory = '{MEMORY}'")
        db.query("CHECKPOINT")
        written = int(db.value(wal))
        db.query("SET client_min_messages = debug1")
        notices.clear()
        start = time.perf_counter()
        db.query("CREATE INDEX items_index ON items USING omenhnsw "
                 f"(embedding vector_{data.metric}_ops)")
        self.seconds = time.perf_counter() - start
        db.query("SET client_min_messages = warning")
        written = int(db.value(wal)) - written
        size = int(db.value("SELECT pg_relation_size('items_index')"))
        say(f"gpu_build = {self.mode}: CREATE INDEX {self.seconds:.2f} s, "
            f"{size / 1e9:.2f} GB, WAL {written / 1e9:.2f} GB")
        for notice in notices:
            if re.search(r"^WARNING|device|parallel workers", notice):
                say("  " + notice)
            if spent := re.search(r"helper compared .* in (\d+) ms", notice):
                self.computed = int(spent[1]) / 1e3
            if split := re.search(r"was built in [\d.]+ s: (.*)", notice):
                say("  " + split[1])
                self.stages = {name: float(value) for name, value in
                               re.findall(r"(\w[a-z ]*) ([\d.]+)", split[1])}
        if any(notice.startswith("WARNING") for notice in notices):
            raise SystemExit("the index was not built as it should")

    def graph(self):
        """Seconds of all that the device has a part in."""
        return sum(self.stages.get(name, 0) for name in (
            "graph", "gpu send", "gpu clusters", "gpu links", "gpu check"))

    def pipe(self):
        """Seconds of that in which vectors and links are on their way."""
        if not self.computed:
            return 0
        return max(0, sum(self.stages.get(name, 0) for name in (
            "gpu send", "gpu clusters", "gpu links")) - self.computed)

    def search(self, db, data):
        """Recall and answers at each breadth."""
        db.query("SET enable_seqscan = off; "
                 f"SET omenhnsw.ef_search = {max(KNOBS)}")
        bench = recall.Bench(db, data, "items", "vector", 10, QUERIES)
        if not bench.index():
            raise SystemExit("the index was not used")
        bench.run()
        for ef in KNOBS:
            db.query(f"SET omenhnsw.ef_search = {ef}")
            self.found[ef], cpu, _ = bench.run()
            self.recall[ef] = data.recall(self.found[ef])
            say(f"  ef {ef}: recall@10 {self.recall[ef]:.4f}, "
                f"{cpu / len(self.found[ef]) * 1e6:.0f} us CPU a query")


def compare_exact(data):
    """The device's exact search, if it has one, beside ours."""
    helper = workload.device_helper()
    if not helper or data.rows * data.dim > EXACT_VALUES:
        return
    start = time.perf_counter()
    found = workload.nearest_on_device(
        helper, mixes.as_vectors(data.base_array, data.metric),
        mixes.as_vectors(data.query_array, data.metric), data.k, data.metric)
    say(f"by omendb-gpu-build --exact: {time.perf_counter() - start:.1f} s "
        f"with files, recall {data.recall(found.tolist()):.4f}")


def same(one, other):
    """The share of answers that both have."""
    return (sum(len(set(a) & set(b)) for a, b in zip(one, other)) /
            sum(map(len, one)))


def index(name):
    """Both builds, in turn: there may not be room for two indexes."""
    data = Set(name)
    shape = f"{name}, {data.rows} x {data.dim}"
    db = pg.Connection()
    notices = db.collect_notices()
    if os.environ.get("OMEN_GPU_HELPER"):
        db.query("LOAD 'omendb'; SET omendb.gpu_helper_path = "
                 f"'{os.environ['OMEN_GPU_HELPER']}'")
    load(db, data)
    start = time.perf_counter()
    data.truth()
    say(f"exact answers by brute force: {time.perf_counter() - start:.1f} s")
    compare_exact(data)
    cpu, gpus = Build("off"), [Build("on") for _ in range(BUILDS)]
    cpu.run(db, data, notices)
    cpu.search(db, data)
    for gpu in gpus:
        gpu.run(db, data, notices)
    gpus[-1].search(db, data)
    compare(shape, cpu, gpus)
    start = time.perf_counter()
    found = db.query("SELECT * FROM omen_verify_index('items_index', "
                     f"{VERIFY_ROWS})")
    say(f"omen_verify_index(..., {VERIFY_ROWS}): {len(found)} findings in "
        f"{time.perf_counter() - start:.1f} s")
    for row in found[:5]:
        say(f"  {row}")
    summarize(shape, f"omen_verify_index(..., {VERIFY_ROWS})",
              f"{len(found)} findings")
    db.query("DROP TABLE items")
    db.close()
    if found:
        raise SystemExit("the index of the device is broken")


def compare(name, cpu, gpus):
    """The median of the device's builds; recall of its last."""
    for what, ours, theirs in (
            ("CREATE INDEX", cpu.seconds, [gpu.seconds for gpu in gpus]),
            ("its graph", cpu.graph(), [gpu.graph() for gpu in gpus]),
            ("its graph, without the pipe", cpu.graph(),
             [gpu.graph() - gpu.pipe() for gpu in gpus])):
        all_of_them = ", ".join(f"{one:.2f}" for one in theirs)
        ratio = ours / max(statistics.median(theirs), 1e-3)
        summarize(name, what, f"{ours:.2f} s by {THREADS} processors, "
                  f"{all_of_them} s with the device: "
                  f"{ratio:.2f} times as fast")
    gpu = gpus[-1]
    for ef in KNOBS:
        summarize(name, f"recall@10 at ef {ef}",
                  f"{cpu.recall[ef]:.4f}, with the device "
                  f"{gpu.recall[ef]:.4f}; "
                  f"{same(cpu.found[ef], gpu.found[ef]):.1%} same answers")


def main():
    what, names = sys.argv[1], sys.argv[2:]
    if what == "set":
        make_sets(names)
    elif what == "rates":
        rates()
    elif what == "profile":
        profile(names[0])
    else:
        for name in names:
            index(name)


if __name__ == "__main__":
    main()
