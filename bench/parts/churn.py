"""Rounds in which a fifth of the rows is deleted and inserted again."""
import random
import statistics

import measure
import pg
import report

TITLE = "recall and size after rows came and went"
SETS = "sift_photos_1m word2vec_imdb_100 word2vec_imdb_100_ip normal_64"
ROWS = 20_000
ROUNDS = 20
PART = 5                        # of the rows, one in so many
KNOB = 40
TABLE = "churn_target"
UNITS = ("recall_inserted", "recall_vacuumed", "recall_fresh_build",
         "index_bytes", "index_bytes_fresh_build", "insert_cpu_us",
         "vacuum_cpu_s", "findings")


class Target:
    """A peer's table of all rows, and what its rounds cost."""

    def __init__(self, comparison, peer, data):
        self.peer, self.data = peer, data
        self._comparison, self._costs = comparison, []
        self.db = peer.connect(comparison.core)
        peer.load(self.db, data, TABLE)
        peer.create_index(self.db, TABLE, data.metric)
        self.db.prepare("add", f"INSERT INTO {TABLE} VALUES ($1, $2)")
        self.result = {}

    def _cost(self, action):
        return measure.cost(self.db, self._comparison.server, action)["cpu_s"]

    def vacuum(self):
        return self._cost(lambda: self.db.query(
            f"VACUUM (PARALLEL 0) {TABLE}"))

    def round(self, ids):
        """Delete these rows, and insert them when their places are free."""
        numbers = ",".join(map(str, ids))
        rows = [(pg.int4(number), pg.vector(values)) for number, values in
                zip(ids, self.data.base_array[ids].tolist())]
        self.db.query(f"DELETE FROM {TABLE} "
                      f"WHERE id = ANY ('{{{numbers}}}')")
        vacuum = self.vacuum()
        self.db.query("BEGIN")
        insert = self._cost(lambda: [self.db.execute("add", *row)
                                     for row in rows])
        self.db.query("COMMIT")
        self._costs.append({"vacuum_cpu_s": vacuum,
                            "insert_cpu_us": insert * 1e6 / len(ids)})

    def finish(self):
        """What the rounds have left, beside an index built anew."""
        self.result.update(report.medians(self._costs))
        self.result["recall_inserted"] = self._recall()
        self.result["index_bytes"] = self._bytes()
        self._verify()
        self.vacuum()
        self.result["recall_vacuumed"] = self._recall()
        self._verify()

        # chance has a part in builds, and one is not as good as the next
        fresh = []
        for _ in range(self._comparison.repeats):
            self.peer.create_index(self.db, TABLE, self.data.metric)
            fresh.append(self._recall())
        self.result["recall_fresh_build"] = statistics.mean(fresh)
        self.result["index_bytes_fresh_build"] = self._bytes()
        self.db.query(f"DROP TABLE {TABLE}")
        self.db.close()

    def _recall(self):
        searcher = self.peer.open(self.data, self._comparison.core, TABLE)
        searcher.set_knob(KNOB)
        one = measure.Pass(searcher, len(self.data.query_array))
        searcher.close()
        return self.data.recall(one.found)

    def _bytes(self):
        return int(self.db.value(f"SELECT pg_relation_size('{TABLE}_index')"))

    def _verify(self):
        """Count what is wrong with an index of ours."""
        if self.peer.name == report.OURS:
            found = self.db.value("SELECT count(*) FROM omen_verify_index("
                                  f"'{TABLE}_index', true)")
            self.result["findings"] = \
                self.result.get("findings", 0) + int(found)


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name, ROWS))
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, data):
    measure.pin(comparison.core)
    targets = [Target(comparison, peer, data) for peer in comparison.servers]
    for number in range(ROUNDS):
        ids = random.Random(number).sample(range(data.rows),
                                           data.rows // PART)
        for target in targets:
            target.round(ids)
    for target in targets:
        target.finish()
    measure.pin(None)
    return {"rows": data.rows, "dim": data.dim, "metric": data.metric,
            "queries": len(data.query_array),
            "costs": {target.peer.name: target.result for target in targets}}


def make_report(result, folder):
    lines = [f"{ROUNDS} rounds: one row in {PART} deleted, VACUUM, the same "
             f"rows inserted again one by one. Recall at ef {KNOB} after the "
             "last row was inserted, after one more VACUUM, and of indexes "
             "built anew on the same rows; CPU of the INSERT of a row and of "
             "a VACUUM; findings are those of omen_verify_index().", ""]
    lines += report.cost_table(
        {f"{name}: {one['rows']:,} rows of {one['dim']} dimensions, "
         f"{one['metric']}": one["costs"] for name, one in result.items()},
        UNITS)
    rows = []
    for name, one in result.items():
        for peer, cost in one["costs"].items():
            fresh = cost["recall_fresh_build"]
            rows.append((
                name, peer, f"{cost['recall_inserted'] - fresh:+.4f}",
                f"{cost['recall_vacuumed'] - fresh:+.4f}",
                f"{cost['index_bytes'] / cost['index_bytes_fresh_build']:.2f}"
            ))
    return lines + ["Beside the index built anew:", ""] + report.table(
        ["set", "peer", "recall, inserted", "recall, vacuumed", "size"], rows)
