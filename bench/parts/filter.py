"""Searches under a filter: how much it lets through, and where that lies."""
import itertools
import os

import numpy

import measure
import pg
import report
import sets
import workload as work

TITLE = "searches under a filter"
SETS = "sift_photos_1m"
# queries of which times are taken; recall of omendb is that of all there are
TIMED = 100
CLUSTERS = (2, 4, 10, 20, 50, 100, 333, 1000, 10000)
CHANCES = 10000
# uncorrelated: a random column; correlated: the query's own cluster;
# anti-correlated: the cluster farthest from it, of a usual size
WHERE = ("uncorrelated", "correlated", "anti-correlated")
# What leaves one kind of plan: ours of the planner's choice, and an index scan
# that the executor filters; pgvector by its index, in each of its modes, and by
# sorting what meets the condition, which is what its planner takes for few rows
INDEX, SORT = " index", " sort"
IN_ORDER = {"enable_sort": "off", "enable_seqscan": "off"}
MODES = {"omendb": {"": {}, INDEX: {**IN_ORDER, "enable_bitmapscan": "off",
                                    "omendb.enable_filtered_scan": "off"}},
         "pgvector": {f" {mode}": {**IN_ORDER, "hnsw.iterative_scan": mode}
                      for mode in ("off", "relaxed_order", "strict_order")}
         | {SORT: {"enable_indexscan": "off"}}}
# Sorting more takes many times as long as to search, and so does it to come by
# the index to what is less in random places, or far from the query
SORT_SHARE = INDEX_SHARE = 0.01
MAX_KEYS = 8
KEYS = "omendb keys"
KNOBS = (20, 25, 32, 40, 50, 63, 80, 100, 125, 160, 200, 250, 320, 400)
RECALL = 0.95
# how many breadths, from the one chosen on, are searched without a filter, for
# what a filter costs at equal recall
CURVE = 6
# searches timed after the one that makes the set
AGAIN = 4


def run(comparison):
    return {name: measure_set(comparison, comparison.workload(name))
            for name in comparison.sets_for(SETS)}


class Columns:
    """The columns that filters look at, by row number."""

    def __init__(self, data, cache):
        path = os.path.join(cache, "truth", f"{data.table}_clusters.npz")
        self.counts = [n for n in CLUSTERS if data.rows >= 20 * n]
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            numpy.savez(path, **self._find(data))
        with numpy.load(path) as file:
            self._columns = {n: file[f"c{n}"] for n in self.counts}
            self._centres = {n: file[f"x{n}"] for n in self.counts}
        self.chance = numpy.random.default_rng(1).integers(
            0, CHANCES, data.rows).astype(numpy.int32)

    def _find(self, data):
        found = {}
        base = work.floats(data.base_array, data.metric)
        for n in self.counts:
            if n > 1000:
                column, centres = split(base, found["c1000"], n // 1000)
            else:
                column, centres = cluster(base, n)
            found[f"c{n}"], found[f"x{n}"] = column, centres
        return found

    def names(self):
        return ["chance"] + [f"c{n}" for n in self.counts]

    def row(self, number):
        return [pg.int4(int(self.chance[number]))] + [
            pg.int4(int(column[number])) for column in self._columns.values()]

    def filters(self, where, count, queries):
        """For each query a condition and the rows that meet it."""
        if where == WHERE[0]:
            limit = max(1, CHANCES // count)
            kept = numpy.flatnonzero(self.chance < limit)
            return [(f"chance < {limit}", kept)] * len(queries)
        column, centres = self._columns[count], self._centres[count]
        sizes = numpy.bincount(column, minlength=count)
        usual = (sizes > len(column) / count / 2) & \
            (sizes < len(column) / count * 2)
        result = []
        for query in queries:
            far = ((centres - query) ** 2).sum(axis=1)
            if where == WHERE[1]:
                chosen = numpy.where(sizes > 0, far, numpy.inf).argmin()
            else:
                chosen = numpy.where(usual, far, -1).argmax()
            result.append((f"c{count} = {chosen}",
                           numpy.flatnonzero(column == chosen)))
        return result


def cluster(base, n):
    """Nearest centres of the rows, and the centres, by k-means."""
    import faiss
    means = faiss.Kmeans(base.shape[1], n, niter=10, seed=1,
                         max_points_per_centroid=100,
                         min_points_per_centroid=1)
    means.train(base)
    return (means.index.search(base, 1)[1][:, 0].astype(numpy.int32),
            means.centroids)


def split(base, column, parts):
    """Each cluster of a column divided into so many."""
    result = numpy.zeros(len(base), numpy.int32)
    centres = numpy.full((parts * (column.max() + 1), base.shape[1]),
                         numpy.inf, numpy.float32)
    for value in range(column.max() + 1):
        rows = numpy.flatnonzero(column == value)
        if len(rows):
            own, found = cluster(base[rows], min(parts, len(rows)))
            result[rows] = value * parts + own
            centres[value * parts:value * parts + len(found)] = found
    return result, centres


def ensure(peer, data, columns, table):
    """A table with the columns, and all indexes."""
    db = peer.connect()
    if not peer.has_table(db, table):
        names = columns.names()
        db.query(f"CREATE TABLE {table} (id int, embedding "
                 f"vector({data.dim}), {' int, '.join(names)} int)")
        db.copy_binary(table, (
            [pg.int4(number), pg.vector(values), *columns.row(number)]
            for number, values in enumerate(itertools.islice(data.base(),
                                                             data.rows))))
        for name in names:
            db.query(f"CREATE INDEX ON {table} ({name})")
        peer.create_index(db, table, data.metric)
        db.query(f"VACUUM ANALYZE {table}")
    db.close()


def measure_set(comparison, data):
    columns = Columns(data, comparison.cache)
    table = f"{data.table}_filter"
    queries = work.floats(data.query_array, data.metric)
    for peer in comparison.servers:
        ensure(peer, data, columns, table)
    measure.pin(comparison.core)
    searchers = {peer.name: Searcher(peer, data, comparison.core, table)
                 for peer in comparison.servers}
    result = {"rows": data.rows, "dim": data.dim, "knobs": {}, "plain": {},
              "curves": {}, "cells": [],
              "queries": {name: searcher.queries
                          for name, searcher in searchers.items()}}
    for name, searcher in searchers.items():
        searcher.choose_knob(data, comparison.repeats, name, result)
    for where, count in itertools.product(WHERE, columns.counts):
        filters = columns.filters(where, count, queries)
        truth = true_neighbours(data, filters)
        for name, searcher in searchers.items():
            for mode, settings in MODES[name].items():
                if takes_long(mode, where, 1 / count):
                    continue
                cell = searcher.cell(data, filters, truth, settings,
                                     comparison.repeats)
                cell.update(where=where, share=1 / count, peer=name + mode,
                            ratio=cell["cpu_us"] / result["plain"][name])
                if name + mode == "omendb":
                    searcher.walk(data, filters, truth, comparison.repeats,
                                  result["curves"][name], cell)
                result["cells"].append(cell)
    if "omendb" in searchers:
        measure_keys(comparison, data, columns, searchers["omendb"], result)
    for searcher in searchers.values():
        searcher.close()
    measure.pin(None)
    return result


def takes_long(mode, where, share):
    """Is a forced plan so slow there that nothing is learnt by waiting?"""
    if mode == INDEX:
        return where == WHERE[2] or (where == WHERE[0] and share < INDEX_SHARE)
    return mode == SORT and share > SORT_SHARE


def measure_keys(comparison, data, columns, searcher, result):
    """
    Ours with the columns as keys of the index, so that no bitmap is made: an
    index of its own, for which the breadth is chosen anew.
    """
    keys = columns.names()[:MAX_KEYS]
    queries = work.floats(data.query_array, data.metric)
    searcher.use_keys(keys)
    searcher.choose_knob(data, comparison.repeats, KEYS, result)
    for where, count in itertools.product(WHERE, columns.counts):
        if where != WHERE[0] and f"c{count}" not in keys:
            continue
        filters = columns.filters(where, count, queries)
        truth = true_neighbours(data, filters)
        plain = searcher.plain(comparison.repeats)
        cell = searcher.cell(data, filters, truth, {}, comparison.repeats)
        cell.update(where=where, share=1 / count, peer=KEYS,
                    ratio=cell["cpu_us"] / plain)
        searcher.walk(data, filters, truth, comparison.repeats,
                      result["curves"][KEYS], cell)
        result["cells"].append(cell)
    searcher.use_keys([])


def true_neighbours(data, filters):
    """Ids of the nearest rows that meet each query's condition."""
    result = [None] * len(filters)
    for numbers in by_condition(filters).values():
        kept = filters[numbers[0]][1]
        near = work.exact(data.base_array[kept], data.query_array[numbers],
                          data.metric)
        for number, row in zip(numbers, near):
            result[number] = kept[row][:data.k].tolist()
    return result


def by_condition(filters):
    """Numbers of the queries that have each condition."""
    groups = {}
    for number, (condition, _) in enumerate(filters):
        groups.setdefault(condition, []).append(number)
    return groups


def at_equal(curve, reached, ratio):
    """
    A multiple of the first of these searches as one of those that reach the
    same recall; if none does, of the broadest.
    """
    cost, _ = report.at_recall(curve, reached, "cpu_us") or (
        curve[-1]["cpu_us"], "")
    return ratio * curve[0]["cpu_us"] / cost


class Searcher:
    """A session; statements are prepared with their conditions in place, so
    that their plans are made for these."""

    def __init__(self, peer, data, core, table):
        self._db = peer.connect(core)
        self._setting, self._table = peer.setting, table
        self._operator, self._k = sets.OPERATORS[data.metric], data.k
        self._parameters = [pg.vector(values) for values in
                            data.queries()]
        # under a filter, some modes of others take a second a query
        self.queries = len(self._parameters)
        if peer.name != "omendb":
            self.queries = min(self.queries, TIMED)
        self._known = {}
        self._metric = data.metric
        self._db.query("SET plan_cache_mode = force_generic_plan; "
                       "CREATE TEMPORARY TABLE "
                       f"{table}_queries (number int, embedding vector)")
        self._db.copy_binary(f"{table}_queries", (
            [pg.int4(number), values]
            for number, values in enumerate(self._parameters)))

    def _statement(self, condition):
        if condition not in self._known:
            name = f"s{len(self._known)}"
            self._db.prepare(name, f"SELECT id FROM {self._table} "
                             f"WHERE {condition} ORDER BY embedding "
                             f"{self._operator} $1::vector LIMIT {self._k}")
            self._known[condition] = name
        return self._known[condition]

    def _forget(self):
        self._db.query("DEALLOCATE ALL")
        self._known = {}

    def _pass(self, conditions):
        """Rows found for each of these queries, and mean CPU time in us."""
        names = [self._statement(condition) for condition in conditions]
        cpu = self._db.cpu_ns()
        found = [self._db.ids(*one) for one in zip(names, self._parameters)]
        return found, (self._db.cpu_ns() - cpu) / len(found) / 1e3

    def choose_knob(self, data, repeats, name, result):
        """
        The least breadth that is good without a filter, and recall and CPU
        time from there on.
        """
        curve = []
        for knob in KNOBS:
            self._db.query(f"SET {self._setting} = {knob}")
            found, _ = self._pass(["true"] * len(self._parameters))
            curve.append({"knob": knob, "recall": data.recall(found)})
            curve = curve[-1:] if curve[0]["recall"] < RECALL else curve
            if len(curve) == CURVE:
                break
        for point in curve:
            self._db.query(f"SET {self._setting} = {point['knob']}")
            point["cpu_us"] = self.plain(repeats)
        self._db.query(f"SET {self._setting} = {curve[0]['knob']}")
        result["knobs"][name] = curve[0]["knob"]
        result["plain"][name] = curve[0]["cpu_us"]
        result["curves"][name] = curve

    def plain(self, repeats):
        """CPU time without a filter."""
        conditions = ["true"] * len(self._parameters)
        self._pass(conditions)
        return self._cpu_us(conditions, repeats)

    def _cpu_us(self, conditions, repeats):
        return float(numpy.median([self._pass(conditions[:TIMED])[1]
                                   for _ in range(repeats)]))

    def cell(self, data, filters, truth, settings, repeats):
        self._forget()
        for name, value in settings.items():
            self._db.query(f"SET {name} = {value}")
        conditions = [condition for condition, _ in filters[:self.queries]]
        found, _ = self._pass(conditions)
        cpu_us = self._cpu_us(conditions, repeats)
        for name in settings:
            self._db.query(f"RESET {name}")
        self._forget()
        return {"recall": data.recall(found, truth),
                "found": sum(map(len, found)) / len(found),
                "lacking": sum(len(near) - len(ids) for ids, near
                               in zip(found, truth)),
                "cpu_us": cpu_us}

    def use_keys(self, keys):
        """An index with these keys beside the one without, or none."""
        self._forget()
        self._db.query(f"DROP INDEX IF EXISTS {self._table}_keys")
        if keys:
            self._db.query(
                f"CREATE INDEX {self._table}_keys ON {self._table} USING "
                f"omenhnsw (embedding vector_{self._metric}_ops, "
                f"{', '.join(keys)})")
        self._db.query("SET enable_bitmapscan = "
                       f"{'off' if keys else 'on'}")

    def walk(self, data, filters, truth, repeats, curve, cell):
        """
        Of the searches alone, after the set of allowed rows has been made:
        recall, and CPU time in multiples of that without a filter, at the same
        breadth and at equal recall; the last of whole statements, too.
        """
        # one by one by the index, which leaves out what does not match; not
        # exhaustive, or it would try to do without the set first
        self._db.query("SET enable_memoize = off; SET enable_seqscan = off; "
                       "SET enable_sort = off; SET cpu_tuple_cost = 1e6; "
                       "SET cursor_tuple_fraction = 1; "
                       "SET omenhnsw.exhaustive = off")
        cell["walk_recall"] = self._walk_recall(data, filters, truth)
        cell["walk_ratio"] = self._walk_ratio(filters[:TIMED], repeats)
        self._db.query("RESET enable_memoize; RESET enable_seqscan; "
                       "RESET enable_sort; RESET cpu_tuple_cost; "
                       "RESET cursor_tuple_fraction; "
                       "RESET omenhnsw.exhaustive")
        cell["equal_walk_ratio"] = at_equal(curve, cell["walk_recall"],
                                            cell["walk_ratio"])
        cell["equal_ratio"] = at_equal(curve, cell["recall"], cell["ratio"])

    def _walk_recall(self, data, filters, truth):
        found = [[] for _ in filters]
        for condition, numbers in by_condition(filters).items():
            for number, row in self._db.query(
                    self._searches(condition, numbers, 1)):
                found[int(number)].append(int(row))
        return data.recall(found, truth)

    def _walk_ratio(self, filters, repeats):
        groups = by_condition(filters).items()
        ratios = []
        for _ in range(repeats):
            spent = [(self._again(condition, numbers),
                      self._again("true", numbers))
                     for condition, numbers in groups]
            walks, plain = numpy.sum(spent, axis=0)
            ratios.append(walks / plain)
        return float(numpy.median(ratios))

    def _again(self, condition, numbers):
        """ns to search for each of these queries again in one statement."""
        rows = len(self._db.query(self._searches(condition, numbers, 1)))
        self._db.query("BEGIN; DECLARE again CURSOR FOR " +
                       self._searches(condition, numbers, AGAIN + 1))
        self._db.query(f"FETCH {rows} FROM again")
        cpu = self._db.cpu_ns()
        self._db.query(f"FETCH {rows * AGAIN} FROM again")
        cpu = self._db.cpu_ns() - cpu
        self._db.query("COMMIT")
        return cpu / AGAIN

    def _searches(self, condition, numbers, times):
        return ("SELECT q.number, x.id FROM (SELECT q.* FROM generate_series"
                f"(1, {times}), {self._table}_queries AS q WHERE q.number = "
                f"ANY ('{set(numbers)}') OFFSET 0) AS q, LATERAL (SELECT id "
                f"FROM {self._table} WHERE {condition} ORDER BY embedding "
                f"{self._operator} q.embedding LIMIT {self._k}) AS x")

    def close(self):
        self._db.close()


def make_report(result, folder):
    lines = []
    for name, one in result.items():
        knobs = ", ".join(f"{peer} {knob}, {one['plain'][peer]:.0f} us"
                          for peer, knob in one["knobs"].items())
        counts = ", ".join(f"{peer} {count}"
                           for peer, count in one["queries"].items())
        lines += [f"### {name}: {one['rows']:,} rows, {one['dim']} dimensions",
                  "", f"ef for recall {RECALL} without a filter, and CPU of a "
                  f"statement then: {knobs}. Below: CPU of a whole statement, "
                  f"how many times that is, and the same of the search alone, "
                  f"without making a bitmap, of {TIMED} queries; both at the "
                  "same ef, and beside a search without a filter that has "
                  "their recall. Recall and rows are those of more queries "
                  f"({counts}).", ""]
        lines += report.table(
            ["filter", "lets through", "peer", "recall", "rows", "CPU us",
             "x plain", "at equal recall", "search alone", "its recall",
             "at equal recall"],
            [line_of(cell) for cell in one["cells"]])
    return lines


def line_of(cell):
    line = [cell["where"], f"{cell['share']:.2%}", cell["peer"],
            f"{cell['recall']:.3f}", f"{cell['found']:.2f}", cell["cpu_us"],
            f"{cell['ratio']:.2f}"]
    if "walk_ratio" not in cell:
        return line + [""] * 4
    return line + [f"{cell['equal_ratio']:.2f}", f"{cell['walk_ratio']:.2f}",
                   f"{cell['walk_recall']:.3f}",
                   f"{cell['equal_walk_ratio']:.2f}"]
