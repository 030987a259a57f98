"""Searches of an index three times the size of shared_buffers."""
import measure
import report

TITLE = "searches of an index larger than shared_buffers"
SETS = "sift_photos_1m"
KNOBS = (20, 40, 80, 160, 320)
QUERIES = 500


def run(comparison):
    result = {name: measure_set(comparison, comparison.workload(name))
              for name in comparison.sets_for(SETS)}
    comparison.server.start()
    return result


def measure_set(comparison, data):
    for peer in comparison.servers:
        comparison.ensure(peer, data)
    size = min(peer.bytes_a_row(data) for peer in comparison.servers)
    buffers = max(16, int(size * data.rows / 3) >> 13)
    if comparison.memory_limit:
        # a quarter of the memory, as servers are set up
        buffers = min(buffers, comparison.memory_limit * 32)
    points = {when: {peer.name: [] for peer in comparison.servers}
              for when in ("cold", "settled")}
    for knob in KNOBS:
        samples = {when: {peer.name: [] for peer in comparison.servers}
                   for when in points}
        for _ in range(comparison.repeats):
            for peer in comparison.servers:
                passes = restart(comparison, peer, data, knob, buffers)
                for when, one in zip(points, passes):
                    samples[when][peer.name].append(one)
        for when, by_peer in samples.items():
            for name, of in by_peer.items():
                points[when][name].append(report.medians(of))
    return {"rows": data.rows, "dim": data.dim, "points": points,
            "shared_buffers_mb": buffers / 128,
            "memory_limit": comparison.memory_limit}


def restart(comparison, peer, data, knob, buffers):
    """Two passes over the queries: nothing cached, then what stayed so."""
    server = comparison.server
    server.stop()
    server.drop_cache()
    server.start(shared_buffers=buffers)
    if comparison.memory_limit:
        server.limit_memory(comparison.memory_limit)
    measure.pin(comparison.core)
    searcher = peer.open(data, comparison.core, check=False)
    searcher.set_knob(knob)
    count = min(QUERIES, len(data.query_array))
    result = []
    for _ in range(2):
        one = measure.Pass(searcher, count)
        result.append({"knob": knob, "recall": data.recall(one.found),
                       "wall_us": 1e6 / one.qps, "qps": one.qps,
                       "cpu_us": one.cpu_us})
    searcher.close()
    measure.pin(None)
    return result


def make_report(result, folder):
    lines = []
    for name, one in result.items():
        limit = one["memory_limit"]
        lines += [f"### {name}: shared_buffers "
                  f"{one['shared_buffers_mb']:.0f} MB"
                  + (f", {limit} MB of memory for the server and its share "
                     "of the kernel's cache" if limit else ""), "",
                  "Cold: files out of the kernel's cache, server just "
                  "started. Settled: the same queries once more.", ""]
        for when, points in one["points"].items():
            lines += report.table(
                ["", "peer", "ef", "recall", "queries/s", "cpu_us"],
                [(when, peer, p["knob"], f"{p['recall']:.4f}", p["qps"],
                  p["cpu_us"]) for peer, of in points.items() for p in of])
            lines += report.ratio_table(points, "wall_us")
    return lines
