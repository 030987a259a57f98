"""A data set cut to its first rows, in memory, with exact answers."""
import copy
import itertools
import os
import subprocess
import tempfile

import numpy

import derived
import recall
import sets

TRUE_NEIGHBOURS = 100
BLOCK = 4096


def matrix(rows, count):
    """The first rows of an iterator as one array; bytes stay bytes."""
    blocks = []
    rows = itertools.islice(rows, count)
    while block := list(itertools.islice(rows, BLOCK)):
        if isinstance(block[0], bytes):
            data = numpy.frombuffer(b"".join(block), numpy.uint8)
            blocks.append(data.reshape(len(block), -1))
        else:
            blocks.append(numpy.asarray(block, numpy.float32))
    if not blocks:
        raise SystemExit("a data set without rows")
    return numpy.concatenate(blocks)


class Workload:
    """What sets.DataSet offers, and arrays.

    table is its name in databases and of files in the cache.
    """

    def __init__(self, name, cache, rows=None, queries=1000, k=10):
        derived.ensure(name, os.path.join(cache, "sets"))
        data = sets.open_set(name)
        self.name, self.metric, self.dim = data.name, data.metric, data.dim
        self.folder, self.k = data.folder, k
        source = data.base()
        self.base_array = matrix(source, rows)
        self.whole = rows is None or next(source, None) is None
        self.query_array = matrix(data.queries(), queries)
        self.rows = len(self.base_array)
        self.table = "".join(c if c.isalnum() else "_"
                             for c in self.name.lower())
        if not self.whole:
            self.table += f"_{self.rows}"
        self._data, self._cache = data, os.path.join(cache, "truth")
        self._truth = None

    def base(self):
        return self._lists(self.base_array)

    def queries(self):
        return self._lists(self.query_array)

    def truth(self):
        """Row numbers of the true neighbours, computed when first needed."""
        if self._truth is None:
            self._truth = self._find_truth()[:len(self.query_array)]
        return self._truth

    def restricted(self, kept):
        """The same queries when only the rows of these numbers are left."""
        other = copy.copy(self)
        near = exact(self.base_array[kept], self.query_array, self.metric)
        other._truth = numpy.asarray(kept)[near].tolist()
        return other

    @staticmethod
    def _lists(array):
        for at in range(0, len(array), BLOCK):
            yield from array[at:at + BLOCK].tolist()

    def _find_truth(self):
        truth = self._data.truth() if self.whole else None
        if truth is not None:
            return truth
        os.makedirs(self._cache, exist_ok=True)
        path = os.path.join(self._cache,
                            f"{self.table}_{len(self.query_array)}.npy")
        if not os.path.exists(path):
            numpy.save(path, exact(self.base_array, self.query_array,
                                   self.metric))
        return numpy.load(path).tolist()

    def distances(self, number, ids):
        """Distances of rows from a query, by id."""
        query = self.query_array[number].astype(numpy.float64)
        found = self.base_array[ids].astype(numpy.float64)
        if self.metric == "l2":
            far = numpy.sqrt(((found - query) ** 2).sum(axis=1))
        elif self.metric == "l1":
            far = numpy.abs(found - query).sum(axis=1)
        elif self.metric == "ip":
            far = -(found @ query)
        else:
            norms = numpy.linalg.norm(found, axis=1)
            far = 1 - found @ query / (norms * numpy.linalg.norm(query))
        return dict(zip(ids, far.tolist()))

    def recall(self, found, truth=None):
        """recall@k of the ids that were found for each of the first queries.

        truth: other ids to be found, as under a condition; at most k a query.
        """
        truth = [row[:self.k] for row in truth or self.truth()]
        hits = sum(
            recall.count_hits(ids, near,
                              lambda ids, n=number: self.distances(n, ids))
            for number, (ids, near) in enumerate(zip(found, truth)))
        return hits / sum(map(len, truth[:len(found)]))


def floats(array, metric):
    """The array as float32, of unit length if the metric is cosine."""
    array = numpy.ascontiguousarray(array, numpy.float32)
    if metric == "cosine":
        norms = numpy.linalg.norm(array, axis=1, keepdims=True)
        array = array / numpy.maximum(norms, 1e-30)
    return array


def device_helper():
    """The program that builds on a GPU, if it has one."""
    helper = os.environ.get("OMEN_GPU_HELPER")
    if not helper:
        config = os.environ.get("PG_CONFIG", "pg_config")
        try:
            folder = subprocess.run([config, "--pkglibdir"], text=True,
                                    capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return None
        helper = os.path.join(folder.strip(), "omendb-gpu-build")
    try:
        found = subprocess.run([helper, "--probe"], capture_output=True)
    except OSError:
        return None
    return helper if found.returncode == 0 else None


def nearest_on_device(helper, base, queries, count, metric):
    """Row numbers of the nearest, by omendb-gpu-build --exact."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name)
                 for name in ("base.fbin", "queries.fbin", "result")]
        for path, rows in zip(paths, (base, queries)):
            with open(path, "wb") as file:
                numpy.array(rows.shape, "<u4").tofile(file)
                rows.astype("<f4").tofile(file)
        subprocess.run([helper, "--exact", metric, str(count)] + paths,
                       check=True)
        ids = numpy.fromfile(paths[2], "<u4", len(queries) * count, offset=8)
    return ids.reshape(len(queries), count).astype(numpy.int64)


def nearest(base, queries, count, metric):
    """Row numbers of the nearest, by a GPU if there is one, else by faiss."""
    helper = device_helper()
    if helper:
        return nearest_on_device(helper, base, queries, count, metric)
    import faiss
    kinds = {"l2": faiss.METRIC_L2, "l1": faiss.METRIC_L1}
    distance = kinds.get(metric, faiss.METRIC_INNER_PRODUCT)
    return faiss.knn(queries, base, count, distance)[1]


def exact(base, queries, metric):
    """Row numbers of the true neighbours, by brute force.

    Which rows tie for the last place is for count_hits to see: what is
    computed in 32 bits only has to have the right ones among the first 100.
    """
    count = min(2 * TRUE_NEIGHBOURS, len(base))
    ids = nearest(floats(base, metric), floats(queries, metric), count, metric)
    for number, row in enumerate(ids):
        query = floats(queries[number:number + 1], metric)[0].astype("f8")
        found = floats(base[row], metric).astype("f8")
        if metric == "l2":
            far = ((found - query) ** 2).sum(axis=1)
        elif metric == "l1":
            far = numpy.abs(found - query).sum(axis=1)
        else:
            far = -(found @ query)
        ids[number] = row[numpy.argsort(far, kind="stable")]
    return ids[:, :TRUE_NEIGHBOURS].astype(numpy.int32)
