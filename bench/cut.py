#!/usr/bin/env python3
"""The first rows of a set and all its queries, as a set in another folder.

    cut.py SET ROWS FOLDER

Neighbours are not those of the whole set, so no ground truth goes with it.
"""
import gzip
import itertools
import os
import struct
import sys

import sets


def write(path, count, dim, rows):
    """A gzipped .u8bin, or .npy of float16."""
    first = next(rows)
    whole = isinstance(first, bytes)
    if whole:
        head = struct.pack("<II", count, dim)
    else:
        text = ("{'descr': '<f2', 'fortran_order': False, "
                f"'shape': ({count}, {dim}), }}").ljust(117) + "\n"
        head = b"\x93NUMPY\1\0" + struct.pack("<H", 118) + text.encode()
    with gzip.open(path + (".u8bin.gz" if whole else ".npy.gz"),
                   "wb") as file:
        file.write(head)
        for row in itertools.chain([first], rows):
            file.write(row if whole else struct.pack(f"<{dim}e", *row))


def main():
    name, rows, folder = sys.argv[1:]
    data = sets.open_set(name)
    folder = os.path.join(folder, data.name)
    os.makedirs(folder, exist_ok=True)
    for stem, get, most in (("first_base", data.base, int(rows)),
                            ("query", data.queries, None)):
        write(os.path.join(folder, stem),
              sum(1 for _ in itertools.islice(get(), most)), data.dim,
              itertools.islice(get(), most))
    with open(os.path.join(folder, "metric"), "w", encoding="ascii") as file:
        file.write(f"{data.metric}\n")


if __name__ == "__main__":
    main()
