"""
A temporary database without a name, in which a file's lines are sorted and its rows wait. It is gone when it is closed.

A small file stays in memory; beyond `_CACHE` the database lies on disk, where no other program can open it. So the
memory that a file takes does not grow with the file.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from adapters.kit.plain import loads
from adapters.payables.rows import CellFault, PayablesLine
from adapters.port import Row

T = TypeVar("T")
Identity = tuple[str, ...]
_CACHE = 16_000_000  # bytes
_SAYINGS = 20_000  # different statements that are counted in memory; any more are written to the database
_AT_ONCE = 500  # rows that are written together
_TABLES = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{_CACHE // 1000};
CREATE TABLE lines (identity BLOB, line BLOB);
CREATE TABLE strays (number TEXT, line BLOB);
CREATE INDEX strays_number ON strays (number);
CREATE TABLE said (about BLOB, saying BLOB, times INTEGER);
CREATE TABLE rows (part INTEGER, row BLOB);
"""


class FileScratch:
    """A file's temporary database. It may be used from several threads, one after the other."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.executescript(_TABLES)
        self._sayings = Counter[tuple[Identity, tuple[Any, ...]]]()
        self._waiting: list[tuple[int, bytes]] = []
        self._strays = False

    def close(self) -> None:
        self._database.close()

    def grouped(self, lines: Iterable[tuple[Identity, PayablesLine]]) -> Iterator[tuple[Identity, list[PayablesLine]]]:
        """The lines of each identity together, in the order in which they came; the identities in their own order."""
        self._insert("lines", 2, ((_sortable(identity), pickle.dumps(_packed(line))) for identity, line in lines))
        found = self._database.execute("SELECT identity, line FROM lines ORDER BY identity, rowid")
        for identity, group in groupby(found, key=lambda row: row[0]):
            yield tuple(identity.decode().split("\0")), [_unpacked(line) for _, line in group]
        self._database.execute("DELETE FROM lines")

    def stray(self, line: PayablesLine) -> None:
        """Keep a line that has no identity."""
        self._strays = True
        bound = (line.words.get("number", ""), pickle.dumps(_packed(line)))
        self._database.execute("INSERT INTO strays VALUES (?, ?)", bound)

    def strays(self, number: str | None = None) -> Iterator[PayablesLine]:
        """The lines without identity in the order in which they came: all of them, or those of a document's number."""
        if self._strays:
            these = "" if number is None else " WHERE number = ?"
            bound = () if number is None else (number,)
            for (line,) in self._database.execute(f"SELECT line FROM strays{these} ORDER BY rowid", bound):  # noqa: S608
                yield _unpacked(line)

    def say(self, about: Identity, saying: tuple[Any, ...]) -> None:
        """Count a statement about something."""
        self._sayings[about, saying] += 1
        if len(self._sayings) >= _SAYINGS:
            self._put_sayings_away()

    def said(self) -> Iterator[tuple[Identity, Sequence[tuple[tuple[Any, ...], int]]]]:
        """All statements about each thing, and how often each was made; the things in their order."""
        self._put_sayings_away()
        found = self._database.execute("SELECT about, saying, times FROM said ORDER BY about, rowid")
        for about, group in groupby(found, key=lambda row: row[0]):
            yield tuple(about.decode().split("\0", 2)), [(loads(saying), times) for _, saying, times in group]

    def keep(self, part: int, row: Row) -> None:
        """Keep a row until `rows`; the parts come one after the other."""
        self._waiting.append((part, pickle.dumps(row)))
        if len(self._waiting) >= _AT_ONCE:
            self._put_rows_away()

    def rows(self) -> Iterator[bytes]:
        """The rows that were kept, as `loads` reads them."""
        self._put_rows_away()
        for (row,) in self._database.execute("SELECT row FROM rows ORDER BY part, rowid"):
            yield row

    def _put_sayings_away(self) -> None:
        counted = ((_sortable(about), pickle.dumps(saying), n) for (about, saying), n in self._sayings.items())
        self._insert("said", 3, counted)
        self._sayings.clear()

    def _put_rows_away(self) -> None:
        self._insert("rows", 2, self._waiting)
        self._waiting = []

    def _insert(self, table: str, columns: int, rows: Iterable[Sequence[Any]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)  # noqa: S608
        self._database.execute("COMMIT")


def _sortable(identity: Identity) -> bytes:
    """Bytes that sort like the words. No part of a key holds a NUL, except the last part of some, and NUL sorts first."""
    return "\0".join(identity).encode()


def _packed(line: PayablesLine) -> tuple[Any, ...]:
    faults = [(f.row, f.heading, f.rule, f.shape, f.fix) for f in line.faults]
    return line.row, line.words, line.dates, line.net, line.tax, line.account, line.dimensions, line.redacted, faults


def _unpacked(packed: bytes) -> PayablesLine:
    values = loads(packed)
    line = PayablesLine(*values)
    line.faults = [CellFault(*fault) for fault in values[-1]]
    return line
