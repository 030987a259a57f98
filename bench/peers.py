"""What is compared: two extensions of one server, two libraries in process.

Each peer opens a workload and gives a searcher, which has
    set_knob(value)   how many candidates a search looks at
    search(number)    ids of the k nearest rows of that query
    cpu_ns()          CPU time so far of who does the work
    pages()           mean buffers of a query, hit and read, or None
    close()
"""
import os
import time

import numpy

import load
import pg
import recall
import workload as work

M = 16
EF_CONSTRUCTION = 64
THREADS = os.cpu_count()


class ServerPeer:
    """An extension in a database of its own."""

    def __init__(self, name, database, extension, method):
        self.name, self.database = name, database
        self.extension, self.method = extension, method
        self.setting = f"{method}.ef_search"

    def connect(self, core=None):
        """A session; its backend stays on the core, if one is given."""
        db = pg.Connection(f"dbname={self.database}")
        if core is not None:
            os.sched_setaffinity(db.pid, {core})
        return db

    def has_table(self, db, table):
        return db.value(f"SELECT to_regclass('{table}') IS NOT NULL") == "t"

    def load(self, db, workload, table, rows=None):
        load.load(db, workload, table, "vector", rows, self.extension)
        db.query(f"VACUUM ANALYZE {table}")

    def create_index(self, db, table, metric):
        db.query(f"DROP INDEX IF EXISTS {table}_index; "
                 f"CREATE INDEX {table}_index ON {table} "
                 f"USING {self.method} (embedding vector_{metric}_ops) "
                 f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})")

    def ensure(self, workload, index=True):
        """Table and index of a workload, made unless they are there."""
        db, table = self.connect(), workload.table
        if not self.has_table(db, table):
            self.load(db, workload, table)
        if index and not self.has_table(db, f"{table}_index"):
            self.create_index(db, table, workload.metric)
        db.close()

    def bytes_a_row(self, workload):
        db = self.connect()
        index = db.value("SELECT pg_relation_size("
                         f"'{workload.table}_index')")
        db.close()
        return int(index) / workload.rows

    def open(self, workload, core=None, table=None, check=True):
        """A searcher; check runs a query to see that the index is used."""
        searcher = ServerSearcher(self, workload, core,
                                  table or workload.table)
        if check:
            searcher.check()
        return searcher


class ServerSearcher:
    """A session with a prepared query."""

    def __init__(self, peer, workload, core, table):
        self.db = peer.connect(core)
        self.setting, self._index = peer.setting, f"{table}_index"
        self.db.query("SET enable_seqscan = off")
        self.bench = recall.Bench(self.db, workload, table, "vector",
                                  workload.k, None)

    def check(self):
        if self.bench.index() != self._index:
            raise SystemExit(f"{self._index} is not used by the query")

    def set_knob(self, value):
        self.db.query(f"SET {self.setting} = {value}")

    def search(self, number):
        return self.db.ids("near", self.bench.parameters[number])

    def cpu_ns(self):
        return self.db.cpu_ns()

    def pages(self):
        return self.bench.pages()

    def close(self):
        self.db.close()


class LibraryPeer:
    """A library that keeps its index in this process's memory."""

    def __init__(self, name, cache):
        self.name = name
        self._folder = os.path.join(cache, "indexes")

    def _path(self, workload):
        return os.path.join(self._folder, f"{workload.table}.{self.name}")

    @staticmethod
    def serves(workload):
        return workload.metric in ("l2", "ip", "cosine")

    def forget(self):
        """Remove the indexes that earlier runs built."""
        if os.path.isdir(self._folder):
            for name in os.listdir(self._folder):
                if name.endswith("." + self.name):
                    os.remove(os.path.join(self._folder, name))

    def ensure(self, workload):
        path = self._path(workload)
        if os.path.exists(path):
            return
        os.makedirs(self._folder, exist_ok=True)
        base = work.floats(workload.base_array, workload.metric)
        self.save(self.build(base, workload, THREADS),
                  path + ".new")
        os.rename(path + ".new", path)

    def bytes_a_row(self, workload):
        return os.path.getsize(self._path(workload)) / workload.rows

    def open(self, workload, core=None):
        return LibrarySearcher(self, workload,
                               self.restore(self._path(workload), workload))


class LibrarySearcher:
    """Calls of one query each, in this thread."""

    def __init__(self, peer, workload, index):
        self._peer, self._index, self._k = peer, index, workload.k
        queries = work.floats(workload.query_array, workload.metric)
        self._queries = [queries[i:i + 1] for i in range(len(queries))]

    def set_knob(self, value):
        self._peer.set_knob(self._index, value)

    def search(self, number):
        return self._peer.search(self._index, self._queries[number], self._k)

    @staticmethod
    def cpu_ns():
        return time.thread_time_ns()

    @staticmethod
    def pages():
        return None

    def close(self):
        self._index = None


class Hnswlib(LibraryPeer):

    def __init__(self, cache):
        super().__init__("hnswlib", cache)

    @staticmethod
    def _empty(workload):
        import hnswlib
        space = "l2" if workload.metric == "l2" else "ip"
        return hnswlib.Index(space=space, dim=workload.dim)

    def build(self, base, workload, threads):
        index = self._empty(workload)
        index.init_index(max_elements=len(base), M=M,
                         ef_construction=EF_CONSTRUCTION)
        index.add_items(base, numpy.arange(len(base)), num_threads=threads)
        return index

    @staticmethod
    def save(index, path):
        index.save_index(path)

    def restore(self, path, workload):
        index = self._empty(workload)
        index.load_index(path)
        return index

    @staticmethod
    def set_knob(index, value):
        index.set_ef(value)

    @staticmethod
    def search(index, query, k):
        return index.knn_query(query, k, num_threads=1)[0][0].tolist()


class Faiss(LibraryPeer):

    def __init__(self, cache):
        super().__init__("faiss", cache)

    def build(self, base, workload, threads):
        import faiss
        faiss.omp_set_num_threads(threads)
        metric = (faiss.METRIC_L2 if workload.metric == "l2"
                  else faiss.METRIC_INNER_PRODUCT)
        index = faiss.IndexHNSWFlat(workload.dim, M, metric)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.add(base)
        return index

    @staticmethod
    def save(index, path):
        import faiss
        faiss.write_index(index, path)

    def restore(self, path, workload):
        import faiss
        faiss.omp_set_num_threads(1)
        return faiss.read_index(path)

    @staticmethod
    def set_knob(index, value):
        index.hnsw.efSearch = value

    @staticmethod
    def search(index, query, k):
        return index.search(query, k)[1][0].tolist()


def server_peers():
    return [ServerPeer("omendb", "ours", "omendb", "omenhnsw"),
            ServerPeer("pgvector", "theirs", "vector", "hnsw")]


def library_peers(cache):
    return [Hnswlib(cache), Faiss(cache)]
