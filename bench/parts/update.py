"""UPDATE of another column, while the vector stays the same."""
import random

import measure
import pg
import report

TITLE = "UPDATE of another, indexed column"
SETS = "sift_photos_1m bge_mix_768"
ROWS = 20_000
BATCH = 500
UNITS = ("cpu_us", "wal_bytes")


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name, ROWS))
            for name in comparison.sets_for(SETS)}


def prepare(comparison, peer, data):
    db, table = peer.connect(comparison.core), "update_target"
    peer.load(db, data, table)
    db.query(f"ALTER TABLE {table} ADD COLUMN n int DEFAULT 0; "
             f"CREATE INDEX ON {table} (n)")
    peer.create_index(db, table, data.metric)
    db.prepare("change", f"UPDATE {table} SET n = n + 1 WHERE id = $1")
    return db


def batch(comparison, db, ids):
    db.query("BEGIN")
    cost = measure.cost(db, comparison.server, lambda: [
        db.execute("change", pg.int4(number)) for number in ids])
    db.query("COMMIT")
    return {"cpu_us": cost["cpu_s"] * 1e6 / len(ids),
            "wal_bytes": cost["wal_bytes"] / len(ids)}


def measure_set(comparison, data):
    measure.pin(comparison.core)
    sessions = {peer.name: prepare(comparison, peer, data)
                for peer in comparison.servers}
    samples = {name: [] for name in sessions}
    order = random.Random(1).sample(range(data.rows), data.rows)
    for number in range(-1, comparison.repeats):
        start = (number + 1) * BATCH % data.rows
        ids = order[start:start + BATCH]
        for name, db in sessions.items():
            sample = batch(comparison, db, ids)
            if number >= 0:
                samples[name].append(sample)
    for db in sessions.values():
        db.query("DROP TABLE update_target")
        db.close()
    measure.pin(None)
    return {"rows": data.rows, "dim": data.dim,
            "costs": {name: report.medians(of)
                      for name, of in samples.items()}}


def make_report(result, folder):
    costs = {f"{name}: {one['rows']:,} rows of {one['dim']} dimensions":
             one["costs"] for name, one in result.items()}
    return [f"CPU of the backend and WAL a row, {BATCH} rows in one "
            "transaction, one by one. An index on the changed column keeps "
            "the update from being HOT.", ""] + report.cost_table(costs,
                                                                  UNITS)
