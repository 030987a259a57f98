#!/usr/bin/env python3
"""Quality and CPU time of hybrid ranking on test collections.

    python3 hybrid.py [--copies N] [SET ...]        default: all four of ir/

In the database that the environment's PGHOST and friends name, with omendb
installed: for each collection, nDCG@10 by text alone, by vectors alone, by rrf()
with equal weights, and by the weights that hybrid_tune() finds.  Weights are tuned
on other queries than they are measured on: on the train split where there is
one, whose vectors are made here of the documents' (folded in), else on each half
of the queries for the other half.

Then the CPU time of a query by a fused scan, as a part of what the same ranking
takes as common table expressions: rrf() of a vector and a text, and of two vectors
without a condition, the halves of the collection's. With --copies, on a table of so
many slightly different copies of the first collection. Both forms rank windows
of 100 rows: how many of their rows are the same is printed, too. Others are
those that one of two walks has missed.
"""
import argparse
import gzip
import json
import os
import statistics

import pg
import report
import sets

DEFAULT = ("scifact", "cranfield", "med", "npl")
TRAIN_QUERIES = 200
CPU_QUERIES = 200
ROUNDS = 5

TABLES = """
DROP TABLE IF EXISTS ir_docs, ir_queries;
CREATE TABLE ir_docs (key text, body text, emb vector(256), tsv tsvector);
CREATE TABLE ir_queries (n int, body text, emb vector(256), grades text, tuned boolean,
    query tsquery);
"""

INDEXES = """
UPDATE ir_docs SET tsv = to_tsvector('english', body);
UPDATE ir_queries SET query = (SELECT string_agg(quote_literal(l), ' | ')::tsquery
    FROM unnest(tsvector_to_array(to_tsvector('english', body))) l);
CREATE INDEX ON ir_docs USING omenhnsw (emb vector_cosine_ops);
CREATE INDEX ON ir_docs USING omenbm25 (tsv);
"""

# A query's vector by what its words have in common with documents: of LSA with
# terms T, documents D and spectrum S, T = X' D S^-2, up to the lengths of D
FOLD_IN = """
WITH spectrum AS MATERIALIZED (SELECT array_agg((1 / s)::real ORDER BY k)::vector AS scale
        FROM (SELECT k, sum(x::float8 * x) AS s
            FROM ir_docs, unnest(emb::real[]) WITH ORDINALITY u(x, k) GROUP BY k) s),
    total AS (SELECT count(*) AS n FROM ir_docs),
    terms AS MATERIALIZED (SELECT lexeme, ln((1.0 + max(n)) / (1 + count(*))) + 1 AS idf,
            sum(emb * array_fill((1 + ln(array_length(positions, 1)))::real, ARRAY[256])::vector) AS v
        FROM total, ir_docs, unnest(tsv) GROUP BY lexeme)
UPDATE ir_queries SET emb = (SELECT l2_normalize(sum(terms.v *
        array_fill((idf * idf)::real, ARRAY[256])::vector) * (SELECT scale FROM spectrum))
    FROM unnest(to_tsvector('english', body)) t JOIN terms ON terms.lexeme = t.lexeme)
WHERE tuned
"""

NDCG = """
SELECT avg(omen_ndcg(ARRAY(SELECT key FROM ir_docs ORDER BY {order} LIMIT 10),
    grades::jsonb, 10)) FROM ir_queries q WHERE {which}
"""

TUNE = """
SELECT fusion, weights[1]
FROM hybrid_tune('ir_docs', 'key', 'emb',
    (SELECT array_agg(emb ORDER BY n) FROM ir_queries WHERE {which}),
    'tsv', (SELECT array_agg(query ORDER BY n) FROM ir_queries WHERE {which}),
    (SELECT array_agg(grades::jsonb ORDER BY n) FROM ir_queries WHERE {which})) LIMIT 1
"""

VECTOR, TEXT = "emb <=> q.emb", "tsv <@> q.query"

FUSED = """
SELECT key, rrf({0}, {1}) AS s FROM ir_docs ORDER BY s LIMIT 10
"""
# the cheapest of the usual forms: ranks without a sort of their own
CTE = """
WITH a AS (SELECT key, row_number() OVER () AS r
        FROM (SELECT key FROM ir_docs ORDER BY {0} LIMIT 100) x),
    b AS (SELECT key, row_number() OVER () AS r
        FROM (SELECT key FROM ir_docs ORDER BY {1} LIMIT 100) x)
SELECT key, sum(1.0::float8 / (60 + r)) AS s
FROM (TABLE a UNION ALL TABLE b) u GROUP BY key ORDER BY s DESC LIMIT 10
"""
# each by an order, and what a query has for it, of a type
VECTOR_AND_TEXT = (("emb <=> $1", "emb", "vector"),
                   ("tsv <@> $2", "query", "tsquery"))
TWO_VECTORS = (("head <=> $1", "subvector(emb, 1, 128)", "vector"),
               ("tail <=> $2", "subvector(emb, 129, 128)", "vector"))

HALVES = """
CREATE TABLE ir_halves AS SELECT key, subvector(emb, 1, 128)::vector(128) AS head,
    subvector(emb, 129, 128)::vector(128) AS tail FROM ir_docs;
DROP TABLE ir_docs;
ALTER TABLE ir_halves RENAME TO ir_docs;
CREATE INDEX ON ir_docs USING omenhnsw (head vector_cosine_ops);
CREATE INDEX ON ir_docs USING omenhnsw (tail vector_cosine_ops);
"""


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file][1:]


def read_grades(path):
    grades = {}
    for query, document, grade in read_lines(path):
        if int(grade) > 0:
            grades.setdefault(query, {})[document] = int(grade)
    return grades


def find(name):
    for folder in sets.FOLDERS:
        path = os.path.join(folder, "ir", name)
        if folder and os.path.isdir(path):
            return path
    raise SystemExit(f"no collection {name} in " + ", ".join(sets.FOLDERS))


def load(db, folder):
    """Documents, and queries with an answer; is there a train split?"""
    def documents():
        vectors = sets.rows_npy(os.path.join(folder, "lsa_docs.npy.gz"))
        with gzip.open(os.path.join(folder, "corpus.jsonl.gz"), "rt",
                       encoding="utf-8") as file:
            for line, vector in zip(file, vectors):
                doc = json.loads(line)
                yield (str(doc["_id"]).encode(),
                       f"{doc['title']} {doc['text']}".encode(),
                       pg.vector(vector), None)

    def queries(split, vectors):
        grades = read_grades(os.path.join(folder, f"qrels{split}.tsv"))
        lines = read_lines(os.path.join(folder, f"queries{split}.tsv"))
        for number, (query, body) in enumerate(lines):
            vector = next(vectors) if vectors else None
            if query in grades:
                yield (pg.int4(number), body.encode(),
                       pg.vector(vector) if vector else None,
                       json.dumps(grades[query]).encode(),
                       b"\0" if vectors else b"\1", None)

    db.query(TABLES)
    db.copy_binary("ir_docs", documents())
    db.copy_binary("ir_queries", queries("", sets.rows_npy(
        os.path.join(folder, "lsa_queries.npy.gz"))))
    split = os.path.exists(os.path.join(folder, "queries_train.tsv"))
    if split:
        train = list(queries("_train", None))
        db.copy_binary("ir_queries", train[::len(train) // TRAIN_QUERIES])
    db.query(INDEXES)
    for table in ("ir_docs", "ir_queries"):
        db.query(f"VACUUM ANALYZE {table}")
    if split:
        db.query(FOLD_IN)
    return split


def tuned_order(fusion, weight):
    weights = f"'{{{weight},{1 - float(weight)}}}'"
    if fusion == "rrf":
        return f"rrf({VECTOR}, {TEXT}, weights => {weights})"
    return f"fuse({VECTOR}, {TEXT}, norm => '{fusion}', weights => {weights})"


def quality(db, name):
    split = load(db, find(name))
    measured = "NOT tuned"

    def ndcg(order, which=measured):
        return float(db.value(NDCG.format(order=order, which=which)))

    def count(which):
        return int(db.value(f"SELECT count(*) FROM ir_queries WHERE {which}"))

    halves = [("tuned", measured)] if split else [
        ("n % 2 = 0", "n % 2 = 1"), ("n % 2 = 1", "n % 2 = 0")]
    hybrid, chosen = 0, []
    for tuned_on, measured_on in halves:
        fusion, weight = db.query(TUNE.format(which=tuned_on))[0]
        chosen.append(f"{fusion} {float(weight):.1f}")
        hybrid += ndcg(tuned_order(fusion, weight), measured_on) * count(
            measured_on)
    text, vector = ndcg(TEXT), ndcg(VECTOR)
    hybrid /= count(measured)
    return (name, text, vector, ndcg(f"rrf({VECTOR}, {TEXT})"), hybrid,
            f"{hybrid - max(text, vector):+.4f}",
            ("train split: " if split else "halves: ") + ", ".join(chosen))


def enlarge(db, copies):
    db.query(f"""
        CREATE TABLE ir_more AS SELECT key || ' ' || n AS key, body,
            (emb + (SELECT array_agg((random() - 0.5) * 0.08) FROM generate_series(1, 256) g
                WHERE g > 0 * n + 0 * length(key))::real[]::vector)::vector(256) AS emb,
            to_tsvector('english', body || ' copy' || n) AS tsv
        FROM ir_docs, generate_series(1, {copies}) n;
        DROP TABLE ir_docs;
        ALTER TABLE ir_more RENAME TO ir_docs;
        CREATE INDEX ON ir_docs USING omenhnsw (emb vector_cosine_ops);
        CREATE INDEX ON ir_docs USING omenbm25 (tsv);""")
    db.query("VACUUM ANALYZE ir_docs")


def cpu(db, title, ranking):
    """Print CPU us of a query, fused and by CTEs: medians of rounds in turns."""
    orders, values, types = zip(*ranking)
    literals = ", ".join(f"quote_literal({value})" for value in values)
    queries = db.query(f"SELECT {literals} FROM ir_queries WHERE NOT tuned "
                       f"ORDER BY n LIMIT {CPU_QUERIES}")
    forms = {"fused": FUSED, "cte": CTE}
    db.query("DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan")
    for name, sql in forms.items():
        db.query(f"PREPARE {name} ({', '.join(types)}) AS "
                 + sql.format(*orders))
    times = {name: [] for name in forms}
    rows = {}
    for turn in range(ROUNDS + 1):
        for name, found in times.items():
            before = db.cpu_ns()
            rows[name] = [db.query(f"EXECUTE {name} ({', '.join(query)})")
                          for query in queries]
            if turn > 0:
                found.append((db.cpu_ns() - before) / len(queries) / 1e3)
    fused, cte = (statistics.median(found) for found in times.values())
    print(f"{title}: CPU fused / CTE: {fused / cte:.2f} "
          f"({fused:.0f} / {cte:.0f} us a query; "
          f"{same_rows(rows['fused'], rows['cte']):.1%} of the rows the same)")


def same_rows(fused, cte):
    """Share of rows that both return, but for those that tie for the last place,
    of which each form may return others."""
    same = count = 0
    for one, other in zip(fused, cte):
        last = max(float(score) for _, score in one)
        ahead = {key for key, score in one if float(score) < last - 1e-12}
        same += len(ahead & {key for key, _ in other})
        count += len(ahead)
    return same / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--copies", type=int, default=0)
    parser.add_argument("sets", nargs="*", default=DEFAULT)
    arguments = parser.parse_args()
    db = pg.Connection()
    db.query("CREATE EXTENSION IF NOT EXISTS omendb")

    rows = [quality(db, name) for name in arguments.sets]
    print("\n".join(report.table(
        ("nDCG@10", "text", "vectors", "rrf, equal", "tuned",
         "to the better one", "tuned on, share of vectors"),
        [row[:1] + tuple(f"{x:.4f}" for x in row[1:5]) + row[5:]
         for row in rows])))

    load(db, find(arguments.sets[0]))
    if arguments.copies > 0:
        enlarge(db, arguments.copies)
    documents = db.value("SELECT count(*) FROM ir_docs")
    print(f"{documents} documents, LIMIT 10")
    cpu(db, "vector and text", VECTOR_AND_TEXT)
    db.query(HALVES)
    db.query("VACUUM ANALYZE ir_docs")
    cpu(db, "two vectors", TWO_VECTORS)
    db.query("DROP TABLE ir_docs, ir_queries")
    db.close()


if __name__ == "__main__":
    main()
