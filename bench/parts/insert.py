"""Rows inserted one by one into an index that is there."""
import clients
import measure
import pg
import report

TITLE = "INSERT of single rows"
SETS = "sift_photos_1m bge_mix_768"
ROWS = 50_000
BATCH = 500
CLIENTS = (1, 2, 4, 8)
UNITS = ("cpu_us", "wal_bytes", "after_checkpoint_wal_bytes",
         *(f"rows_a_second, {count} clients" for count in CLIENTS))


class Target:
    """A peer's table of the first rows, and the rows to come after them."""

    def __init__(self, comparison, peer, data, rows):
        self.peer, self.data, self.table = peer, data, "insert_target"
        self._server, self._next = comparison.server, rows
        self.db = peer.connect(comparison.core)
        peer.load(self.db, data, self.table, rows)
        peer.create_index(self.db, self.table, data.metric)
        self.prepare(self.db)

    def prepare(self, db):
        db.prepare("add", f"INSERT INTO {self.table} VALUES ($1, $2)")

    def take(self, count):
        """Parameters of the next rows."""
        start, self._next = self._next, self._next + count
        if self._next > self.data.rows:
            raise SystemExit(f"{self.data.name} has too few rows to insert; "
                             "lower REPEATS")
        return [(pg.int4(start + i), pg.vector(values)) for i, values in
                enumerate(self.data.base_array[start:self._next].tolist())]

    def batch(self, count):
        """Insert in one transaction; costs a row."""
        rows = self.take(count)
        self.db.query("BEGIN")
        cost = measure.cost(self.db, self._server, lambda: [
            self.db.execute("add", *row) for row in rows])
        self.db.query("COMMIT")
        return {"cpu_us": cost["cpu_s"] * 1e6 / count,
                "wal_bytes": cost["wal_bytes"] / count}

    def rate(self, count, each):
        """Rows a second of so many clients, a transaction a row."""
        shares = [self.take(each + 10) for _ in range(count)]
        return clients.together(
            count, lambda number, ready: self._client(shares[number], ready))

    def _client(self, rows, ready):
        db = self.peer.connect()
        self.prepare(db)
        for row in rows[:10]:
            db.execute("add", *row)
        ready()
        for row in rows[10:]:
            db.execute("add", *row)
        return len(rows) - 10

    def close(self):
        self.db.query(f"DROP TABLE {self.table}")
        self.db.close()


def run(comparison):
    return {name: measure_set(comparison, name)
            for name in comparison.sets_for(SETS)}


def measure_set(comparison, name):
    needed = BATCH * (comparison.repeats + 2) + sum(CLIENTS) * BATCH
    data = comparison.workload(name, ROWS + needed)
    rows = min(ROWS, max(data.rows - needed, data.rows // 2))
    batch = min(BATCH, BATCH * (data.rows - rows) // needed)
    measure.pin(comparison.core)
    targets = {peer.name: Target(comparison, peer, data, rows)
               for peer in comparison.servers}
    samples = {name: [] for name in targets}
    for number in range(-1, comparison.repeats):
        for name, target in targets.items():
            sample = target.batch(batch)
            if number >= 0:
                samples[name].append(sample)
    costs = {name: report.medians(of) for name, of in samples.items()}
    for name, target in targets.items():
        target.db.query("CHECKPOINT")
        costs[name]["after_checkpoint_wal_bytes"] = \
            target.batch(batch)["wal_bytes"]
    measure.pin(None)
    for count in CLIENTS:
        for name, target in targets.items():
            costs[name][f"rows_a_second, {count} clients"] = \
                target.rate(count, batch // 2)
    for target in targets.values():
        target.close()
    return {"rows": rows, "batch": batch, "dim": data.dim, "costs": costs}


def make_report(result, folder):
    costs = {f"{name}: {one['batch']} rows into {one['rows']:,} of "
             f"{one['dim']} dimensions": one["costs"]
             for name, one in result.items()}
    return ["CPU of the backend and WAL a row, in one transaction and "
            "prepared; then as many rows right after a CHECKPOINT, when "
            "pages are logged whole; then a transaction a row.",
            ""] + report.cost_table(costs, UNITS)
