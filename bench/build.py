#!/usr/bin/env python3
"""Load a set, build its index in one of several ways, print what it cost.

    build.py mnist_784 [--type vector] [--mode parallel] [--with "m = 16"]

Modes: serial, parallel, small (maintenance_work_mem = 64MB), insert (rows
inserted into the index of an empty table). CPU time is that of the session
alone: parallel workers are other processes.
"""
import argparse
import time

import load
import pg
import sets

SETTINGS = {
    "serial": "SET max_parallel_maintenance_workers = 0",
    "parallel": "SET max_parallel_maintenance_workers = 2",
    "small": "SET maintenance_work_mem = '64MB'",
    "insert": "SET max_parallel_maintenance_workers = 0",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set")
    parser.add_argument("--table", default="items")
    parser.add_argument("--type", default="vector", choices=pg.ENCODERS)
    parser.add_argument("--mode", default="parallel", choices=SETTINGS)
    parser.add_argument("--with", dest="options", default="")
    parser.add_argument("--am", default="omenhnsw")
    parser.add_argument("--extension", default="omendb")
    parser.add_argument("--db", default="")
    args = parser.parse_args()

    db = pg.Connection(args.db)
    data = sets.open_set(args.set)
    rows = load.load(db, data, args.table, args.type,
                     extension=args.extension)
    db.query(SETTINGS[args.mode])
    options = f" WITH ({args.options})" if args.options else ""
    create = (f"CREATE INDEX {args.table}_index ON {args.table} USING "
              f"{args.am} (embedding {args.type}_{data.metric}_ops){options}")
    if args.mode == "insert":
        db.query(f"CREATE TABLE source AS TABLE {args.table}; "
                 f"TRUNCATE {args.table}; {create}")
        create = f"INSERT INTO {args.table} TABLE source"
    wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
    before, cpu, start = db.value(wal), db.cpu_ns(), time.perf_counter()
    db.query(create)
    seconds = time.perf_counter() - start
    written = int(db.value(wal)) - int(before)
    size = int(db.value(f"SELECT pg_relation_size('{args.table}_index')"))
    print(f"\n{args.set} {args.type} {args.mode}: {rows} rows, "
          f"{seconds:.1f} s, {(db.cpu_ns() - cpu) / 1e9:.1f} CPU s, "
          f"{size / rows:.0f} B/row, {written / rows:.0f} B WAL/row")
    db.query("DROP TABLE IF EXISTS source")
    db.query(f"VACUUM ANALYZE {args.table}")


if __name__ == "__main__":
    main()
