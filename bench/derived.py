"""Sets that are computed from others and kept in the cache folder.

bge_mix_768: 100,000 vectors of 768 dimensions for want of a real set of that
size, and bge_mix_768_200k: 200,000. Each mixes a real text embedding of
bge_base_768 with two of its 20 nearest neighbours (with Dirichlet weights,
three quarters of it being the first on average), adds noise of NOISE times its
length in a random direction, and has unit length. Queries are the 1,000 real
ones of bge_base_768, none of which took part. Deterministic.

WEIGHTS and NOISE were chosen so that queries see what they see in the real
set: a first neighbour at cosine distance 0.32, and a local intrinsic dimension
(of 100 neighbours) of 27.

SET_x10, for any set of bytes: its rows, and nine copies of them with a whole
number from -SPREAD to SPREAD added to each element. The queries are the set's.

SET_mix_ROWSm, for any set: mixes.py.

SET_ip, for any set: the same vectors by inner product.

normal_64: vectors of 64 independent normal numbers, by inner product. Nothing
in them helps a search: no direction is more likely than another, and answers
are far from each other.
"""
import os
import re

import numpy

import mixes
import sets

SOURCE = "bge_base_768"
MIXES = {"bge_mix_768": 100_000, "bge_mix_768_200k": 200_000}
NEIGHBOURS = 20
WEIGHTS = (6, 1, 1)
NOISE = 0.3
SEED = 20250520
TIMES = "_x10"
COPIES = 10
SPREAD = 8
BY_IP = "_ip"
MIXED = re.compile(r"(.+)_mix_(\d+)m")
NORMAL = "normal_64"
NORMAL_SHAPES = {"base": (100_000, 64), "query": (10_000, 64)}


def ensure(name, folder):
    """Make the set if it is one of ours and not there, and tell sets."""
    if folder not in sets.FOLDERS:
        sets.FOLDERS.insert(0, folder)
    path = os.path.join(folder, name)
    make = maker(name)
    if make and not any(os.path.isdir(os.path.join(known, name))
                        for known in sets.FOLDERS):
        os.makedirs(path + ".new", exist_ok=True)
        make(path + ".new")
        os.rename(path + ".new", path)


def maker(name):
    """What makes the set in a folder, or None."""
    if name in MIXES:
        return lambda folder: make_mix(folder, MIXES[name])
    if name == NORMAL:
        return make_normal
    if name.endswith(TIMES):
        return lambda folder: make_copies(name[:-len(TIMES)], folder)
    if mixed := MIXED.fullmatch(name):
        return lambda folder: make_mixes(mixed[1], int(mixed[2]), folder)
    if name.endswith(BY_IP):
        return lambda folder: make_ip(name[:-len(BY_IP)], folder)
    return None


def write_metric(folder, metric):
    with open(os.path.join(folder, "metric"), "w", encoding="ascii") as file:
        file.write(f"{metric}\n")


def make_normal(folder):
    random = numpy.random.default_rng(SEED)
    for name, shape in NORMAL_SHAPES.items():
        numpy.save(os.path.join(folder, f"{name}.npy"),
                   random.standard_normal(shape, numpy.float32))
    write_metric(folder, "ip")


def make_ip(source, folder):
    import workload
    data = sets.open_set(source)
    for name, rows in (("base", data.base()), ("query", data.queries())):
        numpy.save(os.path.join(folder, f"{name}.npy"),
                   workload.matrix(rows, None).astype(numpy.float32))
    write_metric(folder, "ip")


def make_mix(folder, count):
    import workload
    data = sets.open_set(SOURCE)
    real = workload.floats(workload.matrix(data.base(), None), "cosine")
    queries = workload.floats(workload.matrix(data.queries(), None), "cosine")
    near = workload.exact(real, real, "cosine")[:, 1:NEIGHBOURS + 1]
    random = numpy.random.default_rng(SEED)
    base = numpy.concatenate([mix(real, near, random, rows) for rows in
                              numpy.array_split(numpy.arange(count), 20)])
    numpy.save(os.path.join(folder, "base.npy"), base)
    numpy.save(os.path.join(folder, "query.npy"), queries)
    write_metric(folder, "cosine")


def make_mixes(source, millions, folder):
    data = sets.open_set(source)
    mixes.make(data, millions * 1_000_000, folder)
    write_metric(folder, data.metric)


def make_copies(source, folder):
    import workload
    data = sets.open_set(source)
    base = workload.matrix(data.base(), None).astype(numpy.int16)
    random = numpy.random.default_rng(SEED)
    header = numpy.array([COPIES * len(base), data.dim], "<u4")
    with open(os.path.join(folder, "base.u8bin"), "wb") as file:
        file.write(header.tobytes() + base.astype(numpy.uint8).tobytes())
        for _ in range(COPIES - 1):
            copy = base + random.integers(-SPREAD, SPREAD + 1, base.shape,
                                          dtype=numpy.int16)
            file.write(copy.clip(0, 255).astype(numpy.uint8).tobytes())
    numpy.save(os.path.join(folder, "query.npy"),
               workload.matrix(data.queries(), None).astype(numpy.float32))
    write_metric(folder, data.metric)


def mix(real, near, random, rows):
    """Row i begins with the real vector i mod their number."""
    first = rows % len(real)
    other = random.integers(0, NEIGHBOURS, (2, len(rows)))
    weight = random.dirichlet(WEIGHTS, len(rows))
    result = (weight[:, :1] * real[first] +
              weight[:, 1:2] * real[near[first, other[0]]] +
              weight[:, 2:] * real[near[first, other[1]]])
    noise = random.standard_normal(result.shape)
    noise *= (NOISE * numpy.linalg.norm(result, axis=1, keepdims=True) /
              numpy.linalg.norm(noise, axis=1, keepdims=True))
    result += noise
    return (result / numpy.linalg.norm(result, axis=1, keepdims=True)
            ).astype(numpy.float32)
