"""VACUUM after rows were deleted, and recall after many were."""
import measure
import report

TITLE = "VACUUM and recall after it"
SETS = "bge_mix_768"
ROWS = 20_000
KNOB = 40
UNITS = ("vacuum_30_cpu_s", "vacuum_30_wal_bytes", "vacuum_75_cpu_s",
         "recall_vacuumed", "recall_fresh_build", "cpu_us_vacuumed",
         "cpu_us_fresh_build")
TABLE = "vacuum_target"


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name, ROWS))
            for name in comparison.sets_for(SETS)}


def deleted(percent):
    """Condition on ids; which rows they are has nothing to do with place."""
    return lambda number: number * 7919 % 100 < percent


def measure_set(comparison, data):
    measure.pin(comparison.core)
    kept = [number for number in range(data.rows)
            if not deleted(75)(number)]
    left = data.restricted(kept)
    samples = {peer.name: [] for peer in comparison.servers}
    for _ in range(comparison.repeats):
        for peer in comparison.servers:
            samples[peer.name].append(delete(comparison, peer, data, left))
    measure.pin(None)
    return {"rows": data.rows, "dim": data.dim,
            "costs": {name: report.medians(of)
                      for name, of in samples.items()}}


def delete(comparison, peer, data, left):
    db = peer.connect(comparison.core)
    peer.load(db, data, TABLE)
    peer.create_index(db, TABLE, data.metric)
    result = {}
    for percent in (30, 75):
        db.query(f"DELETE FROM {TABLE} "
                 f"WHERE id::bigint * 7919 % 100 < {percent}")
        cost = measure.cost(db, comparison.server, lambda: db.query(
            f"VACUUM (PARALLEL 0) {TABLE}"))
        result[f"vacuum_{percent}_cpu_s"] = cost["cpu_s"]
        result[f"vacuum_{percent}_wal_bytes"] = cost["wal_bytes"]
    search(comparison, peer, left, result, "vacuumed")
    peer.create_index(db, TABLE, data.metric)
    search(comparison, peer, left, result, "fresh_build")
    db.query(f"DROP TABLE {TABLE}")
    db.close()
    return result


def search(comparison, peer, left, result, when):
    searcher = peer.open(left, comparison.core, TABLE)
    count = len(left.query_array)
    measure.warm(searcher, count, KNOB)
    one = measure.Pass(searcher, count)
    searcher.close()
    result["recall_" + when] = left.recall(one.found)
    result["cpu_us_" + when] = one.cpu_us


def make_report(result, folder):
    costs = {f"{name}: {one['rows']:,} rows of {one['dim']} dimensions":
             one["costs"] for name, one in result.items()}
    return ["30 % of the rows deleted, VACUUM; 75 % of them in all, VACUUM; "
            f"searches at ef {KNOB} then, and after the index was built "
            "anew.", ""] + report.cost_table(costs, UNITS)
