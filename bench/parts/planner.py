"""How far the plans chosen for filtered searches are from the best ones."""
import itertools
import json
import math
import statistics

import measure
import pg
import report
import sets
import workload as work
from parts import filter as filtered

TITLE = "chosen plans beside forced ones"
SETS = "sift_photos_1m bge_mix_768"
ROWS = (10_000, 100_000, 1_000_000)
LIMITS = (1, 10, 1000)
QUERIES = 5
WHERE = filtered.WHERE
MAX_KEYS = 8
GOAL, WORST = 2, 5

# Settings that leave one kind of plan. An index scan filtered by the executor
# handles rows that it does not return, which a filtered scan does not do.
IN_ORDER = {"enable_seqscan": "off", "enable_sort": "off"}
ONE_BY_ONE = {**IN_ORDER, "cpu_tuple_cost": 1e6}
NO_FILTERED_SCAN = {"omendb.enable_filtered_scan": "off"}
CHOSEN = {}
FORCED = (ONE_BY_ONE,
          {**IN_ORDER, **NO_FILTERED_SCAN, "enable_bitmapscan": "off"},
          {"enable_seqscan": "off", "enable_indexscan": "off"},
          {"enable_indexscan": "off", "enable_bitmapscan": "off"})
FORCED_BY_KEY = ({**ONE_BY_ONE, **NO_FILTERED_SCAN},)
KINDS = ("key", "filtered", "index", "bitmap", "seq")

# A forced plan gets this many times of what the chosen one took, and so many
# ms in any case, before it is given up
PATIENCE, PATIENCE_MS = 4, 50


def run(comparison):
    result = {}
    for name in comparison.sets_for(SETS):
        whole = comparison.workload(name).rows
        for rows in [n for n in ROWS if n <= whole] or [whole]:
            data = comparison.workload(name, rows)
            result[data.table] = measure_set(comparison, data)
    return result


def measure_set(comparison, data):
    peer = comparison.servers[0]
    columns = filtered.Columns(data, comparison.cache)
    table = f"{data.table}_filter"
    filtered.ensure(peer, data, columns, table)
    keys = columns.names()[:MAX_KEYS]
    cells = [Cell(*one) for one in itertools.product(WHERE, columns.counts,
                                                     LIMITS)]
    queries = work.floats(data.query_array[:QUERIES], data.metric)
    measure.pin(comparison.core)
    session = Session(peer, data, table, comparison)
    session.create_key_index(keys)
    result = []
    for cell in cells:
        filters = columns.filters(cell.where, cell.count, queries)
        for number, one in enumerate(filters):
            session.measure(cell, number, *one, FORCED)
        result.append(cell.summary(False))
        if cell.column() not in keys:
            continue
        for number, one in enumerate(filters):
            session.measure(cell, number, *one, FORCED_BY_KEY, True)
        result.append(cell.summary(True))
    session.create_key_index([])
    session.close()
    measure.pin(None)
    return {"rows": data.rows, "dim": data.dim, "cells": result}


class Cell:
    """One place of the grid: for each query, what each plan costs in us."""

    def __init__(self, where, count, limit):
        self.where, self.count, self.limit = where, count, limit
        self.costs = [{} for _ in range(QUERIES)]
        self.chosen = [None] * QUERIES
        self.lacking = 0

    def column(self):
        return "chance" if self.where == WHERE[0] else f"c{self.count}"

    def summary(self, keys):
        costs = {kind: statistics.median(one.get(kind, math.inf)
                                         for one in self.costs)
                 for kind in KINDS}
        regrets = [one[kind] / min(one.values())
                   for one, kind in zip(self.costs, self.chosen)]
        return {"where": self.where, "share": 1 / self.count,
                "limit": self.limit, "keys": keys,
                "chosen": [kind for kind in KINDS if kind in self.chosen],
                "cpu_us": {kind: cost for kind, cost in costs.items()
                           if cost < math.inf},
                "lacking": self.lacking,
                "regret": statistics.median(regrets)}


class Session:
    """A session that runs a query by one plan after the other."""

    def __init__(self, peer, data, table, comparison):
        self._db = peer.connect(comparison.core)
        self._peer, self._data, self._table = peer, data, table
        self._repeats = comparison.repeats
        self._parameters = [pg.vector(values) for values in
                            data.query_array[:QUERIES].tolist()]
        # workers would do work that the backend's CPU time does not show
        self._db.query("SET plan_cache_mode = force_generic_plan; "
                       "SET max_parallel_workers_per_gather = 0")

    def create_key_index(self, keys):
        """An index with these keys beside the one without, or none."""
        name = f"{self._table}_keys"
        self._db.query("SET statement_timeout = 0; "
                       f"DROP INDEX IF EXISTS {name}")
        if keys:
            self._db.query(
                f"CREATE INDEX {name} ON {self._table} USING "
                f"{self._peer.method} (embedding "
                f"vector_{self._data.metric}_ops, {', '.join(keys)})")

    def measure(self, cell, number, condition, kept, forced, keys=False):
        """
        The chosen plan, and each kind of plan that the cell lacks, in turns: a
        machine with other work is not equally fast for long.
        """
        costs = cell.costs[number]
        query = (f"SELECT id FROM {self._table} WHERE {condition} ORDER "
                 f"BY embedding {sets.OPERATORS[self._data.metric]} "
                 f"$1::vector LIMIT {cell.limit}")
        self._db.query("DEALLOCATE ALL; BEGIN")
        if not keys:
            self._db.query(f"DROP INDEX {self._table}_keys")
        chosen, cost, rows = self._first(query, number, CHOSEN, ())
        cell.chosen[number] = chosen
        found = {chosen: rows}
        self._db.query("SET LOCAL statement_timeout = "
                       f"{PATIENCE_MS + int(PATIENCE * cost / 1e3)}")
        for settings in forced:
            kind, _, rows = self._first(query, number, settings,
                                        {*costs, *found})
            if rows is not None:
                found[kind] = rows
        cell.lacking += sum(rows < min(cell.limit, len(kept))
                            for rows in found.values())
        spent = {kind: [] for kind in found}
        for _, kind in itertools.product(range(self._repeats), found):
            # what ran before has left its own in the caches
            self._run(kind, number)
            spent[kind].append(self._run(kind, number)[0])
        costs.update((kind, statistics.median(each))
                     for kind, each in spent.items())
        self._db.query("ROLLBACK")

    def _first(self, query, number, settings, known):
        """
        The kind of plan that there is under these settings, what _run() gives
        of it unless it is known, and a statement of that name with that plan.
        """
        db = self._db
        for name, value in settings.items():
            db.query(f"SET LOCAL {name} = {value}")
        db.prepare("explain", f"EXPLAIN (FORMAT json) {query}")
        plan = json.loads(db.execute("explain",
                                     self._parameters[number])[0][0])
        db.query("DEALLOCATE explain")
        kind, cost, rows = kind_of(plan[0]["Plan"]), math.inf, None
        if kind not in known:
            db.prepare(kind, query)
            cost, rows = self._run(kind, number)
            if rows is None:
                db.query(f"DEALLOCATE {kind}")
        for name in settings:
            db.query(f"RESET {name}")
        return kind, cost, rows

    def _run(self, kind, number):
        """CPU time in us, and rows; infinity and None if it takes too long."""
        db = self._db
        db.query("SAVEPOINT run")
        before = db.cpu_ns()
        try:
            rows = len(db.ids(kind, self._parameters[number]))
        except pg.Error as error:
            if "statement timeout" not in str(error):
                raise
            db.query("ROLLBACK TO run; RELEASE run")
            return math.inf, None
        cost = (db.cpu_ns() - before) / 1e3
        db.query("RELEASE run")
        return cost, rows

    def close(self):
        self._db.close()


def kind_of(plan):
    """Which of KINDS this is, by the scan at its bottom."""
    while plan["Node Type"] in ("Limit", "Sort", "Incremental Sort"):
        plan = plan["Plans"][0]
    if plan["Node Type"] == "Custom Scan":
        return "filtered"
    if "Order By" in plan:
        return "key" if "Index Cond" in plan else "index"
    return "seq" if plan["Node Type"] == "Seq Scan" else "bitmap"


def make_report(result, folder):
    cells = [cell for one in result.values() for cell in one["cells"]]
    regrets = [cell["regret"] for cell in cells]
    good = sum(regret <= GOAL for regret in regrets)
    lines = [f"{good} of {len(cells)} chosen plans ({good / len(cells):.1%}) "
             f"take at most {GOAL} times the CPU of the best one; the worst "
             f"takes {max(regrets):.2f} times, "
             f"{sum(regret > WORST for regret in regrets)} more than {WORST} "
             f"times. {sum(cell['lacking'] for cell in cells)} queries "
             "returned too few rows.", "",
             f"CPU us, medians of {QUERIES} queries. No figure: there is no "
             "such plan, or it was given up.", ""]
    for table, one in result.items():
        lines += [f"### {table}: {one['rows']:,} rows, {one['dim']} "
                  "dimensions", ""]
        lines += report.table(
            ["filter", "lets through", "LIMIT", "keys", "chosen", *KINDS,
             "regret"],
            [(cell["where"], f"{cell['share']:.2%}", cell["limit"],
              "yes" if cell["keys"] else "", " ".join(cell["chosen"]),
              *(cell["cpu_us"].get(kind) for kind in KINDS),
              f"{cell['regret']:.2f}") for cell in one["cells"]])
    return lines
