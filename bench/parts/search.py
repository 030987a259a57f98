"""Recall and what a search costs, for each set, peer and knob value."""
import os

import measure
import report

TITLE = "recall, latency and CPU of searches"
SETS = "sift_photos_1m mnist_784 bge_base_768 bge_mix_768"
COLUMNS = ("knob", "recall", "qps", "p50_us", "p99_us", "cpu_us", "buffers",
           "reads")


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name))
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, data):
    peers = comparison.servers + [
        peer for peer in comparison.libraries if peer.serves(data)]
    for peer in peers:
        comparison.ensure(peer, data)
    measure.pin(comparison.core)
    searchers = {peer.name: peer.open(data, comparison.core)
                 for peer in peers}
    points = measure.curves(searchers, data, comparison.knobs,
                            comparison.repeats)
    for searcher in searchers.values():
        searcher.close()
    measure.pin(None)
    return {"rows": data.rows, "dim": data.dim, "metric": data.metric,
            "queries": len(data.query_array), "points": points,
            "bytes_a_row": {peer.name: peer.bytes_a_row(data)
                            for peer in peers}}


def lines_of(name, result, folder):
    lines = [f"### {name}: {result['rows']:,} rows, {result['dim']} "
             f"dimensions, {result['metric']}, {result['queries']} queries",
             ""]
    lines += report.table(
        ["peer", *COLUMNS],
        [(peer, *(f"{p[c]:.4f}" if c == "recall" else p[c] for c in COLUMNS))
         for peer, points in result["points"].items() for p in points])
    lines += ["At equal recall:", ""]
    lines += report.ratio_table(result["points"], "cpu_us")
    lines += report.ratio_table(result["points"], "p50_us")
    size = result["bytes_a_row"]
    lines += report.table(
        ["index bytes a row", "", "ratio"],
        [(peer, value, size[report.OURS] / value)
         for peer, value in size.items()])
    for cost, label in (("cpu_us", "CPU us a query"),
                        ("qps", "queries a second")):
        title = os.path.basename(name)
        file = f"{title}_{cost}.svg"
        report.plot(os.path.join(folder, file), title, result["points"],
                    cost, label)
        lines += [f"![{label} against recall]({file})", ""]
    return lines


def make_report(result, folder):
    return [line for name, one in result.items()
            for line in lines_of(name, one, folder)]
