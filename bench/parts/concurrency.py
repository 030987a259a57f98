"""Searches by several clients at once."""
import time

import clients
import measure
import report

TITLE = "searches by several clients"
SETS = "sift_photos_1m bge_mix_768"
CLIENTS = (1, 2)
SECONDS = 3
KNOB = 40


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name))
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, data):
    data.truth()
    for peer in comparison.servers:
        comparison.ensure(peer, data)
    measure.pin(None)
    samples = {peer.name: [] for peer in comparison.servers}
    for _ in range(comparison.repeats):
        for peer in comparison.servers:
            rates = {f"qps, {count} clients": clients.together(
                count, lambda number, ready, p=peer: search(p, data, ready))
                for count in CLIENTS}
            one, two = rates.values()
            samples[peer.name].append({**rates, "2 clients / 1": two / one})
    return {name: report.medians(of) for name, of in samples.items()}


def search(peer, data, ready):
    searcher = peer.open(data)
    count = len(data.query_array)
    measure.warm(searcher, count, KNOB)
    ready()
    end, done = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        searcher.search(done % count)
        done += 1
    return done


def make_report(result, folder):
    units = [f"qps, {count} clients" for count in CLIENTS]
    return [f"ef {KNOB}, for {SECONDS} s, nothing pinned; clients use the "
            "same cores.", ""] + report.cost_table(
                result, [*units, "2 clients / 1"])
