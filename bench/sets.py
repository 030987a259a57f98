"""The data sets that the tools know, and readers of their files.

A set is a folder with a base file, a query file and groundtruth.ivecs, or a
file in the HDF5 form of ann-benchmarks; it is looked for in the folder that
OMEN_DATA names, in bench/data, in ../shared/data beside the source tree, then
as a path of its own. A file "metric" in the folder names the metric (l2,
cosine, ip, l1); without it, it is l2.
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


def rows_bin(path):
    """u8bin, i8bin, fbin: uint32 rows, uint32 dimensions, then the values."""
    with open_plain(path) as file:
        count, dim = struct.unpack("<II", read_exact(file, 8))
        for _ in range(count):
            if ".u8bin" in path:
                yield read_exact(file, dim)
            elif ".i8bin" in path:
                yield struct.unpack(f"<{dim}b", read_exact(file, dim))
            else:
                yield struct.unpack(f"<{dim}f", read_exact(file, 4 * dim))


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
    """A folder: where the files are, the metric and the dimensions."""

    def __init__(self, folder):
        self.folder = folder
        self.name = os.path.basename(os.path.abspath(folder))
        self.metric = METRICS.get(self.name, "l2")
        path = os.path.join(folder, "metric")
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                self.metric = file.read().strip()
        if self.metric not in OPERATORS:
            raise SystemExit(f"{path}: no metric {self.metric}")
        self._base = self._find("base", "lsa_docs")
        self._query = self._find("query", "queries", "lsa_queries")
        self.dim = len(next(self.base()))

    def _find(self, *stems):
        ends = tuple("_" + stem for stem in stems)
        for file in sorted(os.listdir(self.folder)):
            stem = file.split(".")[0]
            if ((stem in stems or stem.endswith(ends)) and
                    re.search(r"\.(u8bin|i8bin|fbin|npy|fvecs|bvecs)(\.gz)?$",
                              file)):
                return os.path.join(self.folder, file)
        raise SystemExit(f"{self.folder}: no file {' or '.join(stems)}")

    @staticmethod
    def _rows(path):
        if ".npy" in path:
            return rows_npy(path)
        return rows_vecs(path) if "vecs" in path else rows_bin(path)

    def base(self):
        return self._rows(self._base)

    def queries(self):
        return self._rows(self._query)

    def truth(self):
        """Row numbers of the true neighbours, or None."""
        for file in sorted(os.listdir(self.folder)):
            if re.search(r"(^|_)groundtruth\.ivecs(\.gz)?$", file):
                return read_ivecs(os.path.join(self.folder, file))
        return None


class Hdf5Set:
    """A file as ann-benchmarks makes them: train, test, neighbors."""

    METRICS = {"euclidean": "l2", "angular": "cosine", "dot": "ip"}

    def __init__(self, path):
        try:
            import h5py
        except ImportError:
            raise SystemExit(f"{path}: reading it needs python3-h5py")
        self._file = h5py.File(path, "r")
        distance = self._file.attrs.get("distance")
        if distance not in self.METRICS:
            raise SystemExit(f"{path}: no metric for distance {distance}")
        self.folder = os.path.dirname(path)
        self.name = os.path.basename(path).split(".")[0].replace("-", "_")
        self.metric = self.METRICS[distance]
        self.dim = self._file["train"].shape[1]

    def _rows(self, name):
        data = self._file[name]
        for at in range(0, len(data), 1000):
            yield from data[at:at + 1000].tolist()

    def base(self):
        return self._rows("train")

    def queries(self):
        return self._rows("test")

    def truth(self):
        if "neighbors" not in self._file:
            return None
        return self._file["neighbors"][:].tolist()


def open_set(name):
    """The set of this name or path."""
    for folder in FOLDERS + [os.path.join(f, "ir") for f in FOLDERS] + [""]:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            return DataSet(path)
        for file in (path, path + ".hdf5"):
            if os.path.isfile(file) and file.endswith((".hdf5", ".h5")):
                return Hdf5Set(file)
    raise SystemExit(f"no data set {name} in " + ", ".join(filter(None,
                                                                  FOLDERS)))
