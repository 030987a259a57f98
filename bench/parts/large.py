"""Searches of ten times a set beside those of the set itself, ours alone."""
import os

import measure
import report

TITLE = "ten times the rows"
SETS = "sift_photos_1m"
TARGET = 0.95
SHARE_OF_MEMORY = 0.72


def run(comparison):
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 13
    comparison.server.start(shared_buffers=int(pages * SHARE_OF_MEMORY))
    result = {name: measure_set(comparison, name)
              for name in comparison.sets_for(SETS)}
    comparison.server.start()
    return result


def measure_set(comparison, name):
    ours = comparison.servers[0]
    result = {}
    for label, other in (("rows", name), ("ten times", name + "_x10")):
        data = comparison.workload(other)
        comparison.ensure(ours, data)
        db = ours.connect()
        db.query(f"SELECT omen_prewarm('{data.table}_index')")
        db.close()
        measure.pin(comparison.core)
        searcher = ours.open(data, comparison.core)
        result[label] = measure.curves({ours.name: searcher}, data,
                                       comparison.knobs,
                                       comparison.repeats)[ours.name]
        searcher.close()
        measure.pin(None)
    return result


def make_report(result, folder):
    lines = ["The second set is the first and nine copies of it with noise "
             "(derived.py).", ""]
    for name, one in result.items():
        costs = [report.at_recall(points, TARGET, "cpu_us")
                 for points in one.values()]
        lines += [f"### {name}", ""]
        lines += report.table(
            ["", "knob", "recall", "cpu_us", "qps", "buffers", "reads"],
            [(label, p["knob"], f"{p['recall']:.4f}", p["cpu_us"], p["qps"],
              p["buffers"], p["reads"])
             for label, points in one.items() for p in points])
        lines += [f"CPU of a query at recall {TARGET}, the set itself "
                  f"divided by ten times the set: {report.ratio(*costs)}", ""]
    return lines
