#!/usr/bin/env python3
"""The talking part of "make demo", see demo.sh."""
import csv
import gzip
import itertools
import json
import os
import time

import pg
import recall
import sets

QUERIES = 200
CLAIM = 51
VECTOR = "$1::vector"
WORDS = "plainto_tsquery('english', ${}::text)"
SAMPLES = """
-- the five digits most like digit 0, and what they show
SELECT id, label, embedding <-> (SELECT embedding FROM digits WHERE id = 0) AS distance
FROM digits ORDER BY embedding <-> (SELECT embedding FROM digits WHERE id = 0) LIMIT 5;

-- the same by cosine distance over scientific abstracts
SELECT left(title, 60) AS title, round((embedding <=> (SELECT embedding FROM abstracts WHERE id = 0))::numeric, 3) AS distance
FROM abstracts ORDER BY embedding <=> (SELECT embedding FROM abstracts WHERE id = 0) LIMIT 5;

-- words and meaning in one order, of some abstracts only
SELECT left(title, 60) AS title, words <@> plainto_tsquery('english', 'stem cell aging') AS score
FROM abstracts WHERE words @@ to_tsquery('english', 'cell')
ORDER BY rrf(embedding <=> (SELECT embedding FROM abstracts WHERE id = 0), words <@> plainto_tsquery('english', 'stem cell aging')) LIMIT 5;

-- more candidates: higher recall, slower
SET omenhnsw.ef_search = 100;

-- what a query touches
EXPLAIN (ANALYZE, BUFFERS, COSTS off)
SELECT id FROM digits ORDER BY embedding <-> (SELECT embedding FROM digits WHERE id = 1) LIMIT 10;

-- the index is kept up to date
INSERT INTO digits (id, label, embedding) SELECT 10000, label, embedding FROM digits WHERE id = 5;
DELETE FROM digits WHERE id = 10000;
"""


def say(text):
    print(f"== {text}", flush=True)


def timed(db, sql):
    start = time.perf_counter()
    db.query(sql)
    return time.perf_counter() - start


def load_digits(db):
    data = sets.open_set("mnist_10k")
    with gzip.open(os.path.join(data.folder, "base_label.u8.gz")) as file:
        labels = file.read()
    db.query("CREATE TABLE digits (id int PRIMARY KEY, label int, "
             f"embedding vector({data.dim}))")
    count = db.copy_binary("digits", (
        (pg.int4(i), pg.int4(labels[i]), pg.vector(values))
        for i, values in enumerate(data.base())))
    say(f"digits: {count} images of handwritten digits (MNIST), "
        f"{data.dim} dimensions")
    return data


def load_abstracts(db):
    data = sets.open_set("scifact")
    with gzip.open(os.path.join(data.folder, "corpus.jsonl.gz"), "rt",
                   encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    db.query("CREATE TABLE abstracts (id int PRIMARY KEY, name text, "
             f"title text, body text, embedding vector({data.dim}), "
             "words tsvector GENERATED ALWAYS AS "
             "(to_tsvector('english', title || ' ' || body)) STORED)")
    count = db.copy_binary("abstracts (id, name, title, body, embedding)", (
        (pg.int4(i), document["_id"].encode(), document["title"].encode(),
         document["text"].encode(), pg.vector(values))
        for i, (document, values) in enumerate(zip(documents, data.base()))))
    say(f"abstracts: {count} scientific abstracts (SciFact) with LSA vectors, "
        f"{data.dim} dimensions")
    return data


def show_claim(db, data):
    """What a real question finds, so that the numbers mean something."""
    with open(os.path.join(data.folder, "queries.tsv"), encoding="utf-8",
              newline="") as file:
        claim = list(csv.reader(file, delimiter="\t"))[1 + CLAIM][1]
    vector = pg.vector(next(itertools.islice(data.queries(), CLAIM, None)))
    text = claim.encode()
    print(f'claim: "{claim}"')
    for name, order, parameters in (
            ("by meaning", f"embedding <=> {VECTOR}", (vector,)),
            ("by words", f"words <@> {WORDS.format(1)}", (text,)),
            ("by both", f"rrf(embedding <=> {VECTOR}, "
             f"words <@> {WORDS.format(2)}, weights => '{{0.5, 1}}')",
             (vector, text))):
        db.prepare(name, "SELECT title FROM abstracts "
                   f"ORDER BY {order} LIMIT 3")
        print(f"{name}:")
        for row in db.execute(name, *parameters):
            print(f"  - {row[0][:90]}")


def measure(db, data, table):
    """One table: exact scan and index, the same prepared query for both."""
    print(f"{table}: {QUERIES} queries that are not in the table, 10 nearest "
          "each, one session")
    print("                      recall@10   queries/s   buffers/query")
    db.query("SET enable_indexscan = off")
    print_line("exact scan", recall.Bench(db, data, table, "vector", 10,
                                          QUERIES))
    db.query("RESET enable_indexscan; SET enable_seqscan = off")
    bench = recall.Bench(db, data, table, "vector", 10, QUERIES)
    if bench.index() != f"{table}_embedding_idx":
        raise SystemExit("the index was not used")
    bench.run()
    for ef in (20, 40, 100):
        db.query(f"SET omenhnsw.ef_search = {ef}")
        print_line(f"omenhnsw, ef {ef}", bench)
    db.query("RESET omenhnsw.ef_search; RESET enable_seqscan; "
             "DEALLOCATE ALL; RESET plan_cache_mode")


def print_line(name, bench):
    found, _, wall = bench.run()
    print(f"  {name:<20}{bench.recall(found):8.3f}{len(found) / wall:14.0f}"
          f"{bench.buffers():14.0f}", flush=True)


def main():
    db = pg.Connection()
    db.query("CREATE EXTENSION omendb")
    print(db.value("SELECT version()"))
    digits, abstracts = load_digits(db), load_abstracts(db)
    db.query("VACUUM ANALYZE digits, abstracts")
    for table, opclass in (("digits", "vector_l2_ops"),
                           ("abstracts", "vector_cosine_ops")):
        sql = f"CREATE INDEX ON {table} USING omenhnsw (embedding {opclass})"
        seconds = timed(db, sql)
        size = db.value("SELECT pg_size_pretty(pg_relation_size("
                        f"'{table}_embedding_idx'))")
        say(f"{sql}: {seconds:.1f} s, {size}")
    sql = "CREATE INDEX ON abstracts USING omenbm25 (words)"
    say(f"{sql}: {timed(db, sql):.1f} s")
    print()
    measure(db, digits, "digits")
    print()
    measure(db, abstracts, "abstracts")
    print()
    show_claim(db, abstracts)
    print("\nSQL to go on with:")
    print(SAMPLES.rstrip())


if __name__ == "__main__":
    main()
