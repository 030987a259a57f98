#!/usr/bin/env python3
"""Quality of text ranking: nDCG@10 of BM25 through an index, from SQL.

    ir.py [scifact cranfield med npl] [--keep]

Loads each collection (a folder ir/NAME with corpus.jsonl.gz, queries.tsv and
qrels.tsv, looked for where sets.py looks), builds an index of access method
omenbm25 over to_tsvector('english', title and text), ranks by the OR of each
query's lexemes, and prints a line per collection. Fails if one is below its
bar, which is what a sequential scan in SQL gives, less 0.001.
"""
import argparse
import gzip
import json
import math
import os
import sys

import pg
import sets

BARS = {"scifact": 0.690, "cranfield": 0.360, "med": 0.707, "npl": 0.439}
K = 10


def find(name):
    for folder in sets.FOLDERS:
        path = os.path.join(folder, "ir", name)
        if folder and os.path.exists(os.path.join(path, "qrels.tsv")):
            return path
    raise SystemExit(f"no folder ir/{name} in any of: " +
                     ", ".join(filter(None, sets.FOLDERS)))


def documents(path):
    """(id, text) of each document; the title comes first."""
    with gzip.open(os.path.join(path, "corpus.jsonl.gz"), "rt",
                   encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield row["_id"], f"{row.get('title', '')} {row['text']}".strip()


def table(path):
    """Rows of a file with a heading, split at tabs."""
    with open(path, encoding="utf-8") as file:
        next(file)
        return [line.rstrip("\n").split("\t") for line in file]


def ndcg(ranked, relevant):
    """Linear gain, as trec_eval has it."""
    def dcg(gains):
        return sum(gain / math.log2(rank + 2)
                   for rank, gain in enumerate(gains[:K]))
    ideal = dcg(sorted(relevant.values(), reverse=True))
    return dcg([relevant.get(doc, 0) for doc in ranked]) / ideal


def load(db, path):
    db.query("DROP TABLE IF EXISTS ir_docs; CREATE TABLE ir_docs "
             "(id text, body text, body_tsv tsvector)")
    db.copy_binary("ir_docs (id, body)",
                   ([name.encode(), text.replace("\0", "").encode()]
                    for name, text in documents(path)))
    db.query("UPDATE ir_docs SET body_tsv = to_tsvector('english', body); "
             "CREATE INDEX ir_docs_idx ON ir_docs USING omenbm25 (body_tsv)")
    db.query("VACUUM ANALYZE ir_docs")


def measure(db, path):
    """Mean nDCG of the queries that anything is relevant to, how many, and
    CPU time of each in microseconds."""
    relevant = {}
    for query, doc, score in table(os.path.join(path, "qrels.tsv")):
        if float(score) > 0:
            relevant.setdefault(query, {})[doc] = float(score)
    db.query("DEALLOCATE ALL")
    db.prepare("best", "SELECT id FROM ir_docs ORDER BY body_tsv <@> "
               "(SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery "
               f"FROM unnest(to_tsvector('english', $1))) LIMIT {K}")
    plan = "\n".join(row[0] for row in db.query(
        "EXPLAIN EXECUTE best ('flow')"))
    if "Index Scan using ir_docs_idx" not in plan:
        raise SystemExit(f"the index is not used:\n{plan}")
    total, count, cpu = 0.0, 0, 0
    for query, text in table(os.path.join(path, "queries.tsv")):
        if query not in relevant:
            continue
        start = db.cpu_ns()
        ranked = [row[0] for row in db.execute("best", text.encode())]
        cpu += db.cpu_ns() - start
        total += ndcg(ranked, relevant[query])
        count += 1
    return total / count, count, cpu / count / 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(BARS))
    parser.add_argument("--keep", action="store_true",
                        help="leave the last table")
    options = parser.parse_args()
    db = pg.Connection()
    db.query("CREATE EXTENSION IF NOT EXISTS omendb")
    low = False
    print(f"{'set':12}{'documents':>10}{'queries':>9}{'nDCG@10':>9}"
          f"{'bar':>7}{'CPU us':>8}")
    for name in options.names:
        path = find(name)
        load(db, path)
        value, count, cpu = measure(db, path)
        rows = db.value("SELECT count(*) FROM ir_docs")
        low |= value < BARS.get(name, 0)
        print(f"{name:12}{rows:>10}{count:>9}{value:>9.4f}"
              f"{BARS.get(name, 0):>7.3f}{cpu:>8.0f}")
    if not options.keep:
        db.query("DROP TABLE ir_docs")
    sys.exit(low)


if __name__ == "__main__":
    main()
