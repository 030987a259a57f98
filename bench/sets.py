"""The data sets that the tools know, and readers of their files.

A set is a folder with a base file, a query file and groundtruth.ivecs; it is
looked for in the folder that OMEN_DATA names, in bench/data, in ../shared/data
beside the source tree, then as a path of its own.
"""
import array
import gzip
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = [os.environ.get("OMEN_DATA", ""), os.path.join(HERE, "data"),
           os.path.join(HERE, "..", "..", "shared", "data")]
METRICS = {"bge_base_768": "cosine", "word2vec_imdb_100": "cosine",
           "scifact": "cosine", "cranfield": "cosine", "med": "cosine",
           "npl": "cosine"}
OPERATORS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>"}


def open_plain(path):
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def read_exact(file, size):
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{file.name}: file ends early")
    return data


def rows_u8bin(path):
    """uint32 rows, uint32 dimensions, then bytes."""
    with open_plain(path) as file:
        count, dim = struct.unpack("<II", read_exact(file, 8))
        for _ in range(count):
            yield read_exact(file, dim)


def rows_npy(path):
    """numpy array file of float16 or float32, two dimensions, C order."""
    with open_plain(path) as file:
        if read_exact(file, 6) != b"\x93NUMPY":
            raise ValueError(f"{path}: not a numpy file")
        major = read_exact(file, 2)[0]
        size = struct.unpack("<H" if major == 1 else "<I",
                             read_exact(file, 2 if major == 1 else 4))[0]
        header = read_exact(file, size).decode("latin1")
        kind = re.search(r"'descr': '<f([24])'", header)
        shape = re.search(r"'shape': \((\d+), (\d+)\)", header)
        if not kind or not shape or "'fortran_order': False" not in header:
            raise ValueError(f"{path}: unexpected header {header.strip()}")
        count, dim = int(shape[1]), int(shape[2])
        unpack = struct.Struct(f"<{dim}{'e' if kind[1] == '2' else 'f'}")
        for _ in range(count):
            yield unpack.unpack(read_exact(file, unpack.size))


def rows_vecs(path):
    """fvecs and bvecs: per row an int32 dimension, then the values."""
    with open_plain(path) as file:
        while True:
            head = file.read(4)
            if not head:
                return
            dim = struct.unpack("<i", head)[0]
            if ".fvecs" in path:
                yield struct.unpack(f"<{dim}f", read_exact(file, 4 * dim))
            else:
                yield read_exact(file, dim)


def read_ivecs(path):
    """Row numbers of the true neighbours, one list a query."""
    with open_plain(path) as file:
        data = array.array("i", file.read())
    if sys.byteorder == "big":
        data.byteswap()
    result, at = [], 0
    while at < len(data):
        result.append(list(data[at + 1:at + 1 + data[at]]))
        at += 1 + data[at]
    return result


class DataSet:
    """Where a set's files are, its metric and its dimensions."""

    def __init__(self, name):
        for folder in FOLDERS + [os.path.join(f, "ir") for f in FOLDERS] + [""]:
            self.folder = os.path.join(folder, name)
            if os.path.isdir(self.folder):
                break
        else:
            raise SystemExit(f"no data set {name} in " + ", ".join(FOLDERS))
        self.name = os.path.basename(os.path.abspath(self.folder))
        self.metric = METRICS.get(self.name, "l2")
        self._base = self._find("base", "lsa_docs")
        self._query = self._find("query", "lsa_queries")
        self.dim = len(next(self.base()))

    def _find(self, *stems):
        for file in sorted(os.listdir(self.folder)):
            if (file.split(".")[0] in stems and
                    re.search(r"\.(u8bin|npy|fvecs|bvecs)(\.gz)?$", file)):
                return os.path.join(self.folder, file)
        raise SystemExit(f"{self.folder}: no file {' or '.join(stems)}")

    @staticmethod
    def _rows(path):
        if ".u8bin" in path:
            return rows_u8bin(path)
        return rows_npy(path) if ".npy" in path else rows_vecs(path)

    def base(self):
        return self._rows(self._base)

    def queries(self):
        return self._rows(self._query)

    def truth(self):
        for file in ("groundtruth.ivecs.gz", "groundtruth.ivecs"):
            path = os.path.join(self.folder, file)
            if os.path.exists(path):
                return read_ivecs(path)
        raise SystemExit(f"{self.folder}: no ground truth")
