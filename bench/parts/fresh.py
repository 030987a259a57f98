"""What the first queries of a connection cost.

A backend loads the library, plans, and meets each page of shared memory with
a page fault of its own; a connection that stays open has all that behind it.
"""
import time

import measure
import report

TITLE = "first queries of a new connection"
SETS = "sift_photos_1m bge_mix_768"
QUERIES = 100
KNOB = 40
UNITS = ("first_ms", "fresh_us", "warm_us", "fresh / warm")


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name))
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, data):
    for peer in comparison.servers:
        comparison.ensure(peer, data)
    measure.pin(comparison.core)
    samples = {peer.name: [] for peer in comparison.servers}
    # the round before the first brings pages into shared memory
    for number in range(-1, comparison.repeats):
        for peer in comparison.servers:
            sample = connection(peer, data, comparison.core)
            if number >= 0:
                samples[peer.name].append(sample)
    measure.pin(None)
    return {name: report.medians(of) for name, of in samples.items()}


def connection(peer, data, core):
    """first_ms is wall time, all else CPU time of the backend a query."""
    count = min(QUERIES, len(data.query_array))
    searcher = peer.open(data, core, check=False)
    searcher.set_knob(KNOB)
    cpu, start = searcher.cpu_ns(), time.perf_counter()
    searcher.search(0)
    first = time.perf_counter() - start
    for number in range(1, count):
        searcher.search(number)
    fresh = (searcher.cpu_ns() - cpu) / count / 1e3
    measure.warm(searcher, count, KNOB)
    warm = measure.Pass(searcher, count).cpu_us
    searcher.close()
    return {"first_ms": first * 1e3, "fresh_us": fresh, "warm_us": warm,
            "fresh / warm": fresh / warm}


def make_report(result, folder):
    return [f"CPU us a query of the first {QUERIES} of a connection, and of "
            "the same ones once it is warm; wall ms of the very first; "
            f"ef {KNOB}.", ""] + report.cost_table(result, UNITS)
