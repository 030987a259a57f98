"""The first query after the server was started."""
import time

import measure
import report

TITLE = "first query after a restart of the server"
SETS = "sift_photos_1m bge_mix_768"
ROWS = 10_000
UNITS = ("first_ms", "first_cpu_ms", "second_ms")


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name, ROWS))
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, data):
    for peer in comparison.servers:
        comparison.ensure(peer, data)
    samples = {peer.name: [] for peer in comparison.servers}
    for _ in range(comparison.repeats):
        for peer in comparison.servers:
            comparison.server.start()
            measure.pin(comparison.core)
            samples[peer.name].append(first(peer, data, comparison.core))
            measure.pin(None)
    return {name: report.medians(of) for name, of in samples.items()}


def first(peer, data, core):
    searcher = peer.open(data, core, check=False)
    cpu, start = searcher.cpu_ns(), time.perf_counter()
    searcher.search(0)
    middle, cpu = time.perf_counter(), searcher.cpu_ns() - cpu
    searcher.search(1)
    end = time.perf_counter()
    searcher.close()
    return {"first_ms": (middle - start) * 1e3, "first_cpu_ms": cpu / 1e6,
            "second_ms": (end - middle) * 1e3}


def make_report(result, folder):
    return [f"The first {ROWS:,} rows; nothing in shared_buffers, files in "
            "the kernel's cache. Wall ms of the first and second query, CPU "
            "ms of the first.", ""] + report.cost_table(result, UNITS)
