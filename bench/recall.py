#!/usr/bin/env python3
"""Recall, CPU time and pages of queries through an index.

    recall.py mnist_784 [--table items] [--type vector] [--ef 10,40,100]
              [-k 10] [--queries 200] [--setting omenhnsw.ef_search]

Prints one line per ef: recall@k against the set's ground truth, mean CPU time
of the backend per query, wall time per query, and buffers touched per query.
A returned row is a hit when its distance is not above that of the k-th true
neighbour. Refuses to go on when the plan uses no index.
"""
import argparse
import itertools
import json
import struct
import time

import pg
import sets

BUFFER_SAMPLES = 20
TIE = 1 + 1e-6


class Bench:
    """A prepared query on a table, its parameters and the truth.

    The plan is made once, here, under the settings of the moment.
    """

    def __init__(self, db, data, table, kind, k, queries):
        self.db, self.k = db, k
        encode = pg.ENCODERS[kind]
        operator = sets.OPERATORS[data.metric]
        self.parameters = [encode(values) for values in
                           itertools.islice(data.queries(), queries)]
        truth = data.truth()
        if truth is None:
            raise SystemExit(f"{data.folder}: no ground truth")
        self.truth = truth[:len(self.parameters)]
        order = f"FROM {table} ORDER BY embedding {operator} $1::{kind}"
        db.query("DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan")
        db.prepare("near", f"SELECT id {order} LIMIT {k}")
        db.prepare("explain", "EXPLAIN (ANALYZE, BUFFERS, FORMAT json) "
                   f"SELECT id {order} LIMIT {k}")
        db.prepare("far", "SELECT id, (embedding "
                   f"{operator} $1::{kind})::float8 FROM {table} "
                   "WHERE id = ANY (current_setting('bench.ids')::int[])")

    def index(self):
        """Name of the index that the plan scans, or None."""
        node = json.loads(self.explain(0))[0]["Plan"]
        while "Plans" in node and "Index Name" not in node:
            node = node["Plans"][0]
        return node.get("Index Name")

    def explain(self, number):
        return self.db.execute("explain", self.parameters[number])[0][0]

    def run(self):
        """(ids per query, CPU seconds, wall seconds)"""
        for parameter in self.parameters[:10]:
            self.db.ids("near", parameter)
        start, cpu = time.perf_counter(), self.db.cpu_ns()
        found = [self.db.ids("near", parameter)
                 for parameter in self.parameters]
        return (found, (self.db.cpu_ns() - cpu) / 1e9,
                time.perf_counter() - start)

    def buffers(self):
        """Mean number of buffers that a query touches."""
        return sum(self.pages())

    def pages(self):
        """Mean number of buffers that were there, and that were read."""
        count = min(BUFFER_SAMPLES, len(self.parameters))
        plans = [json.loads(self.explain(number))[0]["Plan"]
                 for number in range(count)]
        return tuple(sum(plan[f"Shared {how} Blocks"] for plan in plans) /
                     count for how in ("Hit", "Read"))

    def recall(self, found):
        hits = sum(
            count_hits(ids, truth[:self.k],
                       lambda wanted, p=parameter: self._far(p, wanted))
            for parameter, ids, truth
            in zip(self.parameters, found, self.truth))
        return hits / (self.k * len(self.parameters))

    def _far(self, parameter, wanted):
        """Distances of these rows by id."""
        ids = "{" + ",".join(map(str, wanted)) + "}"
        self.db.query(f"SET bench.ids = '{ids}'")
        return {struct.unpack("!i", row[0])[0]: struct.unpack("!d", row[1])[0]
                for row in self.db.execute("far", parameter, convert=bytes,
                                           binary=True)}


def count_hits(ids, truth, far):
    """How many of the returned rows are true neighbours, or as near.

    far returns the distances of rows as a dictionary; it is asked only when
    a row is not in the truth.
    """
    strange = [i for i in ids if i not in truth]
    hits = len(ids) - len(strange)
    if not strange:
        return hits
    distance = far(strange + truth)
    limit = max(distance[i] for i in truth)
    limit = limit * TIE if limit > 0 else limit / TIE
    return hits + sum(distance[i] <= limit for i in strange)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set")
    parser.add_argument("--table", default="items")
    parser.add_argument("--type", default="vector", choices=pg.ENCODERS)
    parser.add_argument("--ef", default="10,20,40,80,200")
    parser.add_argument("--setting", default="omenhnsw.ef_search")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--db", default="")
    args = parser.parse_args()

    db = pg.Connection(args.db)
    db.query("SET enable_seqscan = off")
    bench = Bench(db, sets.open_set(args.set), args.table, args.type, args.k,
                  args.queries)
    index = bench.index()
    if not index:
        raise SystemExit(f"no index of {args.table} serves this query")
    print(f"{args.set} {args.type}, index {index}, "
          f"{len(bench.parameters)} queries, k = {args.k}")
    print("    ef  recall   cpu us  wall us  buffers")
    for ef in args.ef.split(","):
        db.query(f"SET {args.setting} = {int(ef)}")
        found, cpu, wall = bench.run()
        n = len(found) / 1e6
        print(f"{ef:>6} {bench.recall(found):7.4f} {cpu / n:8.1f} "
              f"{wall / n:8.1f} {bench.buffers():8.1f}", flush=True)


if __name__ == "__main__":
    main()
