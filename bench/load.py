#!/usr/bin/env python3
"""Load a data set into a table by COPY BINARY.

    load.py mnist_784 [--table items] [--type vector|halfvec] [--rows N]

The table is (id int, embedding TYPE(dimensions)); id is the row number, from
0, as the ground truth counts. An existing table of that name is replaced. The
connection is the environment's (PGHOST, PGPORT, ...) or --db CONNINFO.
"""
import argparse
import itertools
import time

import pg
import sets


def load(db, data, table, kind, rows=None, extension="omendb"):
    """Create and fill the table; returns the number of rows."""
    encode = pg.ENCODERS[kind]
    db.query(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    db.query(f"DROP TABLE IF EXISTS {table}")
    db.query(f"CREATE TABLE {table} (id int, embedding {kind}({data.dim}))")
    count = db.copy_binary(table, (
        (pg.int4(number), encode(values))
        for number, values in enumerate(itertools.islice(data.base(), rows))))
    db.query(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set")
    parser.add_argument("--table", default="items")
    parser.add_argument("--type", default="vector", choices=pg.ENCODERS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--db", default="")
    args = parser.parse_args()

    db = pg.Connection(args.db)
    start = time.time()
    count = load(db, sets.open_set(args.set), args.table, args.type, args.rows)
    db.query(f"VACUUM ANALYZE {args.table}")
    print(f"{args.table}: {count} rows in {time.time() - start:.1f} s")


if __name__ == "__main__":
    main()
