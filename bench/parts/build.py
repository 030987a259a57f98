"""What CREATE INDEX costs."""
import time

import measure
import peers
import report
import workload as work

TITLE = "CPU, time, memory and WAL of CREATE INDEX"
SETS = "mnist_784 bge_mix_768 sift_photos_1m"
KINDS = {
    "serial": "SET max_parallel_maintenance_workers = 0",
    "parallel": "SET max_parallel_maintenance_workers = 2",
    "serial, 64 MB": "SET max_parallel_maintenance_workers = 0; "
                     "SET maintenance_work_mem = '64MB'",
}
ONLY_OURS = ("serial, 64 MB",)
UNITS = ("wall_s", "cpu_s", "all_cpu_s", "wal_bytes_a_row", "rss_anon_mb",
         "rss_shmem_mb", "rss_file_mb")


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name))
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, data):
    for peer in comparison.servers:
        comparison.ensure(peer, data, index=False)
    costs = {}
    for kind in KINDS:
        samples = {}
        for _ in range(comparison.build_repeats):
            for peer in comparison.servers:
                if kind in ONLY_OURS and peer.name != report.OURS:
                    continue
                samples.setdefault(peer.name, []).append(
                    server_build(comparison, peer, data, kind))
            for peer in comparison.libraries:
                if kind not in ONLY_OURS and peer.serves(data):
                    samples.setdefault(peer.name, []).append(
                        library_build(peer, data, kind))
        costs[kind] = {name: report.medians(of)
                       for name, of in samples.items()}
    return {"rows": data.rows, "dim": data.dim, "costs": costs}


def server_build(comparison, peer, data, kind):
    print(f"   {peer.name}, {data.table}, {kind}", flush=True)
    db = peer.connect()
    db.query(f"DROP INDEX IF EXISTS {data.table}_index; CHECKPOINT")
    db.query(KINDS[kind])
    cost = measure.cost(
        db, comparison.server,
        lambda: peer.create_index(db, data.table, data.metric), watch=True)
    db.close()
    comparison.built(peer, data)
    cost["wal_bytes_a_row"] = cost.pop("wal_bytes") / data.rows
    for name in ("rss_anon", "rss_shmem", "rss_file"):
        cost[name + "_mb"] = cost.pop(name) / 1e6
    return cost


def library_build(peer, data, kind):
    print(f"   {peer.name}, {data.table}, {kind}", flush=True)
    base = work.floats(data.base_array, data.metric)
    threads = 1 if kind == "serial" else peers.THREADS
    start, cpu = time.perf_counter(), time.process_time()
    peer.build(base, data, threads)
    return {"wall_s": time.perf_counter() - start,
            "all_cpu_s": time.process_time() - cpu}


def make_report(result, folder):
    lines = []
    for name, one in result.items():
        lines += [f"### {name}: {one['rows']:,} rows, {one['dim']} "
                  "dimensions", ""]
        lines += report.cost_table(one["costs"], UNITS)
    return lines
