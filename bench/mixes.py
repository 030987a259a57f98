"""Sets as large as one likes, mixed from a small real one.

SET_mix_ROWSm, as sift_photos_1m_mix_10m: so many million rows. Each mixes a
real vector, one of the first SOURCE_ROWS of the set, with two of its
NEIGHBOURS nearest neighbours, by random weights of which none is favoured, and
adds noise of NOISE times its length in a random direction. Rows of a set of
bytes are bytes, others float16; under cosine distance they have unit length.
Queries are the set's own, so no row was made from one.

With a hundred rows to a real vector, those made by the weights of bge_mix_768
would lie in clumps; these see some 20 (bytes) or 10 (bge_base_768) independent
directions around them.

Neighbours are looked for among the vectors nearest to the same one of some
pivots, CELL on average, and a set takes seconds. It needs numpy alone, and uses
all processors. The same set each time, whatever their number.
"""
import multiprocessing
import os

import numpy

SOURCE_ROWS = 150_000
NEIGHBOURS = 20
CELL = 4000
WEIGHTS = (4, 4, 4)
NOISE = 0.4
SEED = 20250811
BLOCK = 16384


def make(data, count, folder):
    """The set in a folder, but for the file that tells the metric."""
    real, queries = rows_of(data.base(), SOURCE_ROWS), rows_of(data.queries())
    vectors = as_vectors(real, data.metric)
    mixer = Mixer(vectors, find_neighbours(vectors), real.dtype, data.metric)
    write(os.path.join(folder, "base"), (count, data.dim), real.dtype, mixer)
    write(os.path.join(folder, "query"), queries.shape, queries.dtype,
          lambda first, end: queries[first:end])


def rows_of(rows, most=None):
    """The first rows of an iterator: bytes, or else float16."""
    taken = [row for row, _ in zip(rows, range(most or 1 << 62))]
    if isinstance(taken[0], bytes):
        return numpy.frombuffer(b"".join(taken),
                                numpy.uint8).reshape(len(taken), -1)
    return numpy.array(taken, numpy.float16)


def as_vectors(rows, metric):
    vectors = rows.astype(numpy.float32)
    if metric == "cosine":
        vectors /= lengths(vectors)
    return vectors


def lengths(vectors):
    return numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True),
                         1e-30)


class Cells:
    """The vectors by their nearest pivots."""

    def __init__(self, vectors):
        pivots = numpy.random.default_rng(SEED).choice(
            len(vectors), -(-len(vectors) // CELL), replace=False)
        self._vectors, self._pivots = vectors, vectors[pivots]
        self._halves = (self._pivots ** 2).sum(axis=1) / 2
        self.count = len(pivots)
        self.members = None

    def nearest_pivot(self, first):
        block = self._vectors[first:first + BLOCK]
        return (self._halves - block @ self._pivots.T).argmin(axis=1)

    def neighbours(self, cell):
        """Of each member, the nearest others of its cell."""
        members = self.members[cell]
        vectors = self._vectors[members]
        halves = (vectors ** 2).sum(axis=1) / 2
        most = min(NEIGHBOURS, len(members) - 1)
        result = numpy.empty((len(members), NEIGHBOURS), numpy.int32)
        for first in range(0, len(members), 1024):
            far = halves - vectors[first:first + 1024] @ vectors.T
            near = far.argpartition(most, axis=1)[:, :most + 1]
            # by distance, so that the vector itself comes first
            order = numpy.take_along_axis(far, near, 1).argsort(axis=1)
            near = members[numpy.take_along_axis(near, order, 1)]
            # a cell of a few: some more than once
            result[first:first + 1024] = near[:, numpy.resize(
                numpy.arange(1, most + 1) if most else [0], NEIGHBOURS)]
        return result


def find_neighbours(vectors):
    cells = Cells(vectors)
    cell = numpy.concatenate(in_parallel(cells.nearest_pivot,
                                         range(0, len(vectors), BLOCK)))
    order = cell.argsort(kind="stable")
    cells.members = [part for part in numpy.split(
        order, numpy.cumsum(numpy.bincount(cell))[:-1]) if len(part)]
    result = numpy.empty((len(vectors), NEIGHBOURS), numpy.int32)
    for members, near in zip(cells.members, in_parallel(
            cells.neighbours, range(len(cells.members)))):
        result[members] = near
    return result


class Mixer:
    """Rows of the set by their numbers, in whole blocks."""

    def __init__(self, vectors, near, dtype, metric):
        self._vectors, self._near = vectors, near
        self._dtype, self._metric = dtype, metric

    def __call__(self, first, end):
        random = numpy.random.default_rng([SEED, first])
        one = numpy.arange(first, end) % len(self._vectors)
        two, three = (self._near[one, random.integers(0, NEIGHBOURS, len(one))]
                      for _ in range(2))
        weights = random.dirichlet(WEIGHTS, len(one)).astype(numpy.float32)
        rows = self._vectors[one] * weights[:, :1]
        rows += self._vectors[two] * weights[:, 1:2]
        rows += self._vectors[three] * weights[:, 2:]
        noise = random.standard_normal(rows.shape, numpy.float32)
        rows += noise * (NOISE * lengths(rows) / lengths(noise))
        if self._metric == "cosine":
            rows /= lengths(rows)
        if self._dtype == numpy.uint8:
            rows = numpy.rint(rows).clip(0, 255)
        return rows.astype(self._dtype)


def write(path, shape, dtype, rows):
    """A .u8bin or .npy file of what rows(first, end) returns."""
    path += ".u8bin" if dtype == numpy.uint8 else ".npy"
    with open(path, "wb") as file:
        if dtype == numpy.uint8:
            file.write(numpy.array(shape, "<u4").tobytes())
        else:
            numpy.lib.format.write_array_header_1_0(
                file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        head = file.tell()

    def write_block(first):
        block = rows(first, min(first + BLOCK, shape[0])).tobytes()
        with open(path, "r+b") as file:
            file.seek(head + first * shape[1] * dtype.itemsize)
            file.write(block)

    in_parallel(write_block, range(0, shape[0], BLOCK))


_function = None


def _call(argument):
    return _function(argument)


def in_parallel(function, arguments):
    """Results of calls in processes that have all of this one's memory."""
    global _function
    _function = function
    with multiprocessing.get_context("fork").Pool() as pool:
        return pool.map(_call, arguments, chunksize=1)
