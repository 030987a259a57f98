"""Full-text search: ours by BM25 beside GIN with ts_rank, and tantivy.

GIN with ts_rank reads every row that matches: of a million documents, a query
takes a hundred times as long as by rank. So it gets the first few of the queries only, and
is compared with what ours takes for the same few.
"""
import os
import random
from statistics import median

import measure
import pg
import report
import texts
from tantivy_peer import Tantivy

TITLE = "full-text search: omenbm25 beside GIN and ts_rank, and tantivy"
ROWS = 1_000_000
SHORT_ROWS = 50_000
TERMS = (1, 2, 3, 4, 5, 6, 7, 8)
QUERIES = 50
FEW_QUERIES = 10
INSERTS = 5000
# lexemes of queries: such as people would search for
RAREST, COMMONEST = 20, 0.1
METHODS = {"omendb": "omenbm25", "pgvector": "gin"}
NAMES = {"omendb": "omenbm25", "pgvector": "GIN, ts_rank"}
# with $1 a tsquery as text
STATEMENTS = {
    "omendb": "SELECT id FROM texts {where} "
              "ORDER BY body <@> $1::text::tsquery LIMIT 10",
    "pgvector": "SELECT id FROM texts WHERE body @@ $1::text::tsquery {more} "
                "ORDER BY ts_rank(body, $1::text::tsquery) DESC LIMIT 10"}
FILTER = "chance < 10"


def run(comparison):
    rows = comparison.rows or (ROWS if comparison.mode == "full"
                               else SHORT_ROWS)
    result = {"rows": rows, "build": {}, "insert": {}, "search": []}
    for peer in comparison.servers:
        ensure(comparison, peer, rows)
        result["build"][peer.name] = build(comparison, peer)
    tantivy = Tantivy(os.path.join(comparison.cache, "tantivy"))
    db = comparison.servers[0].connect()
    result["build"]["tantivy"] = tantivy.build(db, "texts")
    db.close()
    measure.pin(comparison.core)
    sessions = {peer.name: Session(peer, comparison.core)
                for peer in comparison.servers}
    lists = next(iter(sessions.values())).lexemes(rows)
    for terms in TERMS:
        queries = texts.queries(lists, terms, QUERIES)
        for filtered in (False, True):
            result["search"].append({
                "terms": terms, "filtered": filtered,
                **searches(sessions, None if filtered else tantivy, queries,
                           filtered, comparison.repeats)})
        result["search"][-2]["same"] = agreement(sessions["omendb"], tantivy,
                                                 queries)
    for peer in comparison.servers:
        sessions[peer.name].close()
        result["insert"][peer.name] = insert(comparison, peer, rows)
    measure.pin(None)
    return result


def as_tsquery(lexemes):
    return " | ".join("'" + one.replace("\\", "\\\\").replace("'", "''") + "'"
                      for one in lexemes)


def ensure(comparison, peer, rows):
    """The table; both peers have the same rows."""
    db = peer.connect()
    if peer.has_table(db, "texts"):
        if int(db.value("SELECT count(*) FROM texts")) == rows:
            db.close()
            return
        db.query("DROP TABLE texts")
    chance = random.Random(2)
    folder = comparison.server.folder
    db.query("DROP TABLE IF EXISTS source; "
             "CREATE UNLOGGED TABLE source (id int, chance int, body text)")
    db.copy_binary("source", (
        [pg.int4(number), pg.int4(chance.randrange(1000)), text.encode()]
        for number, text in enumerate(texts.documents(folder, rows))))
    db.query("CREATE TABLE texts AS SELECT id, chance, "
             "to_tsvector('english', body) AS body FROM source; "
             "DROP TABLE source; CREATE INDEX ON texts (chance)")
    db.query("VACUUM ANALYZE texts")
    db.close()


def build(comparison, peer):
    db = peer.connect()
    db.query("DROP INDEX IF EXISTS texts_body; "
             "SET max_parallel_maintenance_workers = 0")
    cost = measure.cost(db, comparison.server, lambda: db.query(
        f"CREATE INDEX texts_body ON texts USING {METHODS[peer.name]} (body)"))
    cost["bytes"] = int(db.value("SELECT pg_relation_size('texts_body')"))
    db.query("VACUUM ANALYZE texts")
    db.close()
    return cost


class Session:
    """A backend with the statements of a peer."""

    def __init__(self, peer, core):
        self._db = peer.connect(core)
        self._db.query("SET plan_cache_mode = force_generic_plan")
        statement = STATEMENTS[peer.name]
        self._db.prepare("plain", statement.format(where="", more=""))
        self._db.prepare("filtered", statement.format(
            where=f"WHERE {FILTER}", more=f"AND {FILTER}"))

    def lexemes(self, rows):
        """For some rows, their lexemes that queries may have."""
        counts = {row[0]: int(row[1]) for row in self._db.query(
            "SELECT word, ndoc FROM ts_stat('SELECT body FROM texts "
            f"WHERE id % {max(1, rows // 100000)} = 0')")}
        total = min(rows, 100000)
        usual = {word for word, count in counts.items()
                 if count * rows / total >= RAREST and
                 count <= COMMONEST * total and word.isalpha()}
        return [[word for word in row[0].split("\n") if word in usual]
                for row in self._db.query(
                    "SELECT array_to_string(tsvector_to_array(body), E'\\n') "
                    "FROM texts WHERE id < 2000 ORDER BY id")]

    def ids(self, lexemes):
        return self._db.ids("plain", as_tsquery(lexemes).encode())

    def search(self, name, queries):
        """Mean CPU time in us."""
        values = [as_tsquery(one).encode() for one in queries]
        cpu = self._db.cpu_ns()
        for value in values:
            self._db.ids(name, value)
        return (self._db.cpu_ns() - cpu) / len(queries) / 1e3

    def close(self):
        self._db.close()


def searches(sessions, tantivy, queries, filtered, repeats):
    """CPU us of a query; "few": ours for those that GIN gets."""
    name = "filtered" if filtered else "plain"
    few = queries[:FEW_QUERIES]
    runs = {
        "omendb": lambda: sessions["omendb"].search(name, queries),
        "few": lambda: sessions["omendb"].search(name, few),
        "pgvector": lambda: sessions["pgvector"].search(name, few)}
    if tantivy:
        runs["tantivy"] = lambda: tantivy.search(queries)
    samples = {run: [] for run in runs}
    for number in range(-1, repeats):
        for run, search in runs.items():
            cost = search()
            if number >= 0:
                samples[run].append(cost)
    return {run: median(of) for run, of in samples.items()}


def agreement(session, tantivy, queries):
    """The share of tantivy's ten best that are ours, too."""
    both = sum(len({int(one) for one in session.ids(query)} &
                   set(tantivy.ids(query))) for query in queries)
    return both / sum(len(tantivy.ids(query)) for query in queries)


def insert(comparison, peer, rows):
    """Rows one by one, in one transaction, from a copy."""
    db = peer.connect(comparison.core)
    db.query(f"CREATE TEMP TABLE more AS SELECT * FROM texts WHERE id < "
             f"{INSERTS}")
    db.prepare("add", "INSERT INTO texts SELECT id + $2, chance, body "
               "FROM more WHERE id = $1")
    db.query("CREATE INDEX ON more (id); ANALYZE more")

    def add():
        db.query("BEGIN")
        for number in range(min(INSERTS, rows)):
            db.execute("add", pg.int4(number), pg.int4(rows))
        db.query("COMMIT")

    cost = measure.cost(db, comparison.server, add)
    db.query(f"DELETE FROM texts WHERE id >= {rows}")
    db.query("VACUUM texts")
    db.close()
    count = min(INSERTS, rows)
    return {"cpu_us": cost["cpu_s"] * 1e6 / count,
            "wal_bytes": cost["wal_bytes"] / count}


def make_report(result, folder):
    build, insert = result["build"], result["insert"]
    ours, theirs, library = (build[name]
                             for name in ("omendb", "pgvector", "tantivy"))
    lines = [f"{result['rows']:,} documents of Debian's package descriptions "
             "(bench/texts.py). CPU of the backend; queries are an OR of "
             f"lexemes of one document, each in at most {COMMONEST:.0%} of "
             "all; the filter lets 1 % of them through. GIN gets the first "
             f"{FEW_QUERIES} of {QUERIES} queries; \"times\" is its CPU divided "
             "by ours for the same ones. tantivy runs in process: CPU of the "
             "search alone, without a server, a row or a transaction; as "
             "frequencies only, with lengths of one byte.", ""]
    lines += report.table(
        ["", *NAMES.values(), "tantivy", "ours / GIN", "ours / tantivy"],
        [(title, ours[key] * scale, theirs[key] * scale, library[key] * scale,
          f"{ours[key] / theirs[key]:.2f}", f"{ours[key] / library[key]:.2f}")
         for title, key, scale in (("index MB", "bytes", 1e-6),
                                   ("build CPU s", "cpu_s", 1))] +
        [(f"INSERT {unit}", insert["omendb"][unit], insert["pgvector"][unit],
          None, f"{insert['omendb'][unit] / insert['pgvector'][unit]:.2f}",
          None) for unit in ("cpu_us", "wal_bytes")])
    return lines + report.table(
        ["terms", "filter", "omenbm25, us", "GIN, ts_rank, us", "times",
         "tantivy, us", "ours / tantivy", "of its ten best"],
        [(one["terms"], "1 %" if one["filtered"] else "",
          one["omendb"], one["pgvector"],
          f"{one['pgvector'] / one['few']:.1f}", one.get("tantivy"),
          "" if one["filtered"] else f"{one['omendb'] / one['tantivy']:.2f}",
          "" if one["filtered"] else f"{one['same']:.1%}")
         for one in result["search"]])
