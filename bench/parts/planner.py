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
WHERE = filtered.WHERE[:2]
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
    key_cells = [cell for cell in cells if cell.column() in keys]
    queries = work.floats(data.query_array[:QUERIES], data.metric)
    measure.pin(comparison.core)
    session = Session(peer, data, table, comparison)
    session.create_key_index([])
    for cell in cells:
        session.measure(cell, columns.filters(cell.where, cell.count, queries),
                        FORCED)
    result = [cell.summary(False) for cell in cells]
    session.create_key_index(keys)
    for cell in key_cells:
        session.measure(cell, columns.filters(cell.where, cell.count, queries),
                        FORCED_BY_KEY)
    result += [cell.summary(True) for cell in key_cells]
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

    def measure(self, cell, filters, forced):
        """Each kind of plan that is not known yet, the chosen one first."""
        for number, (condition, kept) in enumerate(filters):
            costs = cell.costs[number]
            query = (f"SELECT id FROM {self._table} WHERE {condition} ORDER "
                     f"BY embedding {sets.OPERATORS[self._data.metric]} "
                     f"$1::vector LIMIT {cell.limit}")
            for settings in (CHOSEN, *forced):
                kind = self._plan(query, number, settings)
                if settings is CHOSEN:
                    cell.chosen[number] = kind
                    self._db.query("SET statement_timeout = 0")
                if kind not in costs:
                    cost, rows = self._cost(number)
                    if cost < math.inf:
                        costs[kind] = cost
                        cell.lacking += rows < min(cell.limit, len(kept))
                self._reset(settings)
                if settings is CHOSEN:
                    self._db.query(
                        "SET statement_timeout = "
                        f"{PATIENCE_MS + int(PATIENCE * costs[kind] / 1e3)}")

    def _plan(self, query, number, settings):
        """Prepare the query under these settings; which kind of plan is it?"""
        db, parameter = self._db, self._parameters[number]
        db.query("DEALLOCATE ALL")
        for name, value in settings.items():
            db.query(f"SET {name} = {value}")
        db.prepare("explain", f"EXPLAIN (FORMAT json) {query}")
        db.prepare("run", query)
        plan = json.loads(db.execute("explain", parameter)[0][0])[0]["Plan"]
        return kind_of(plan)

    def _reset(self, settings):
        for name in settings:
            self._db.query(f"RESET {name}")

    def _cost(self, number):
        """Median CPU time in us, and rows; infinity if it takes too long."""
        costs, found = [], []
        try:
            for _ in range(self._repeats + 1):
                before = self._db.cpu_ns()
                found = self._db.ids("run", self._parameters[number])
                costs.append((self._db.cpu_ns() - before) / 1e3)
        except pg.Error as error:
            if "statement timeout" not in str(error):
                raise
            return math.inf, 0
        return statistics.median(costs[1:]), len(found)

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
