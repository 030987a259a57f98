"""A thin binding to libpq, so that the tools need nothing but python3.

Vectors travel in the types' binary form: a benchmark should time the index,
not the parsing of numbers.
"""
import array
import ctypes
import ctypes.util
import struct
import sys

_lib = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
_void, _text, _int = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_receiver = ctypes.CFUNCTYPE(None, _void, _text)
for _name, _result, _arguments in (
        ("PQconnectdb", _void, [_text]),
        ("PQstatus", _int, [_void]),
        ("PQerrorMessage", _text, [_void]),
        ("PQfinish", None, [_void]),
        ("PQbackendPID", _int, [_void]),
        ("PQexec", _void, [_void, _text]),
        ("PQprepare", _void, [_void, _text, _text, _int, _void]),
        ("PQexecPrepared", _void, [_void, _text, _int, _void, _void, _void,
                                   _int]),
        ("PQresultStatus", _int, [_void]),
        ("PQntuples", _int, [_void]),
        ("PQnfields", _int, [_void]),
        ("PQgetisnull", _int, [_void, _int, _int]),
        ("PQgetvalue", _void, [_void, _int, _int]),
        ("PQgetlength", _int, [_void, _int, _int]),
        ("PQclear", None, [_void]),
        ("PQputCopyData", _int, [_void, _text, _int]),
        ("PQputCopyEnd", _int, [_void, _text]),
        ("PQgetResult", _void, [_void]),
        ("PQsetNoticeProcessor", _void, [_void, _receiver, _void])):
    _function = getattr(_lib, _name)
    _function.restype, _function.argtypes = _result, _arguments

_COMMAND_OK, _TUPLES_OK, _COPY_IN = 1, 2, 4


class Error(Exception):
    """An error reported by the server or the connection."""


class Connection:
    """One session; the environment's PGHOST and friends are obeyed."""

    def __init__(self, conninfo=""):
        self._conn = _lib.PQconnectdb(conninfo.encode())
        if _lib.PQstatus(self._conn) != 0:
            raise Error(self._message())
        self.pid = _lib.PQbackendPID(self._conn)
        self.query("SET client_min_messages = warning")

    def close(self):
        _lib.PQfinish(self._conn)
        self._conn = None

    def _message(self):
        return _lib.PQerrorMessage(self._conn).decode().strip()

    def _rows(self, result, convert):
        status = _lib.PQresultStatus(result)
        try:
            if status not in (_COMMAND_OK, _TUPLES_OK, _COPY_IN):
                raise Error(self._message())
            columns = range(_lib.PQnfields(result))
            return [tuple(None if _lib.PQgetisnull(result, row, column)
                          else convert(ctypes.string_at(
                              _lib.PQgetvalue(result, row, column),
                              _lib.PQgetlength(result, row, column)))
                          for column in columns)
                    for row in range(_lib.PQntuples(result))]
        finally:
            _lib.PQclear(result)

    def query(self, sql):
        """Run statements; the rows of the last one, as text."""
        return self._rows(_lib.PQexec(self._conn, sql.encode()), bytes.decode)

    def value(self, sql):
        return self.query(sql)[0][0]

    def prepare(self, name, sql):
        self._rows(_lib.PQprepare(self._conn, name.encode(), sql.encode(), 0,
                                  None), bytes.decode)

    def execute(self, name, *parameters, convert=bytes.decode, binary=False):
        """Run a prepared statement with parameters in binary form."""
        count = len(parameters)
        values = (_text * count)(*parameters)
        lengths = (_int * count)(*map(len, parameters))
        formats = (_int * count)(*[1] * count)
        result = _lib.PQexecPrepared(
            self._conn, name.encode(), count, values, lengths, formats,
            1 if binary else 0)
        return self._rows(result, convert)

    def ids(self, name, parameter):
        """Run a prepared statement that returns one int4 column."""
        return [int.from_bytes(row[0], "big", signed=True)
                for row in self.execute(name, parameter, convert=bytes,
                                        binary=True)]

    def copy_binary(self, table, rows):
        """COPY rows, each a list of values already in binary form or None."""
        count = 0

        def blocks():
            nonlocal count
            parts, size = [], 0
            for row in rows:
                count += 1
                parts.append(struct.pack("!h", len(row)))
                for value in row:
                    if value is None:
                        parts.append(b"\xff\xff\xff\xff")
                    else:
                        parts.append(struct.pack("!i", len(value)))
                        parts.append(value)
                        size += len(value)
                if size > 1 << 20:
                    yield b"".join(parts)
                    parts, size = [], 0
            yield b"".join(parts)

        self.copy_blocks(table, blocks())
        return count

    def copy_blocks(self, table, blocks):
        """COPY rows in binary form, as many as there are in each block."""
        self.query(f"COPY {table} FROM STDIN (FORMAT binary)")
        self._put(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for block in blocks:
            self._put(block)
        self._put(b"\xff\xff")
        if _lib.PQputCopyEnd(self._conn, None) != 1:
            raise Error(self._message())
        self._rows(_lib.PQgetResult(self._conn), bytes.decode)
        while True:
            result = _lib.PQgetResult(self._conn)
            if not result:
                return
            _lib.PQclear(result)

    def _put(self, data):
        if _lib.PQputCopyData(self._conn, data, len(data)) != 1:
            raise Error(self._message())

    def collect_notices(self):
        """A list that gets what the server says beside results, from now on."""
        notices = []
        self._receiver = _receiver(
            lambda _, text: notices.append(text.decode().strip()))
        _lib.PQsetNoticeProcessor(self._conn, self._receiver, None)
        return notices

    def cpu_ns(self):
        """CPU time of the backend so far; on the same machine only."""
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0])


def int4(value):
    return struct.pack("!i", value)


def vector(values):
    """Binary form of a vector: int16 dimensions, int16 zero, float4 values."""
    # a list, because an array made of bytes would take them as its memory
    data = array.array("f", list(values))
    if sys.byteorder == "little":
        data.byteswap()
    return struct.pack("!hh", len(data), 0) + data.tobytes()


def halfvec(values):
    """Binary form of a halfvec: as vector, with 16-bit floats."""
    return struct.pack(f"!hh{len(values)}e", len(values), 0, *values)


ENCODERS = {"vector": vector, "halfvec": halfvec}
