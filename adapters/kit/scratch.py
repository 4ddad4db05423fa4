"""
The rows of a file wait in a temporary database without a name until all of the file was looked through.

A small file stays in memory; beyond `_CACHE` the database lies on disk, where no other program can open it. So the memory that a
file takes does not grow with the file.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from adapters.kit.plain import loads
from adapters.port import Row

PORTION = 1000
"""Rows that are given together."""
_CACHE = 16_000_000  # bytes
_TABLES = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{_CACHE // 1000};
CREATE TABLE portions (first INTEGER PRIMARY KEY, rows BLOB);
CREATE TABLE hashes (at INTEGER PRIMARY KEY, hash INTEGER);
CREATE TABLE file_keys (key BLOB, content BLOB, at INTEGER);
"""
_SUSPECT = """
CREATE INDEX hashes_hash ON hashes (hash);
CREATE TABLE suspects AS SELECT at FROM hashes JOIN (
    SELECT hash FROM hashes GROUP BY hash HAVING COUNT(*) > 1
) USING (hash) ORDER BY at;
"""
_JUDGE = """
CREATE INDEX file_keys_key ON file_keys (key, content, at);
CREATE TABLE doubles AS
    SELECT at, unlike FROM file_keys JOIN (
        SELECT key, MIN(at) AS first, COUNT(DISTINCT content) > 1 AS unlike FROM file_keys GROUP BY key HAVING COUNT(*) > 1
    ) USING (key) WHERE unlike OR at > first;
CREATE INDEX doubles_at ON doubles (at);
"""
TWICE = "is the key of several rows of the file, which say different things"


class KeptRow(NamedTuple):
    """A row that waits, the number of it in its file, and what is wrong with it, if anything is."""

    key: str
    at: int
    values: Row
    field: str = ""
    rule: str = ""


class KeptRows:
    """The rows of one file. It may be used from several threads, one after the other."""

    def __init__(self, key_columns: str) -> None:
        self._key_columns = key_columns
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.executescript(_TABLES)
        self._waiting: list[tuple[Any, ...]] = []
        self.count = 0

    def close(self) -> None:
        self._database.close()

    def keep(self, key: str, values: Row, field: str = "", rule: str = "") -> None:
        self.count += 1
        self._waiting.append((key, self.count, values, field, rule))
        if len(self._waiting) >= PORTION:
            self._put_away()

    def judge(self) -> tuple[int, int]:
        """Find the rows that have one key. Count the ones that repeat another one, and the ones that contradict one."""
        self._put_away()
        self._database.executescript(_SUSPECT)
        asked = "SELECT rows FROM portions WHERE first IN (SELECT (at - 1) / ? * ? + 1 FROM suspects)"
        for (packed,) in self._database.execute(asked, (PORTION, PORTION)):
            self._compare(loads(packed))
        self._database.executescript(_JUDGE)
        ((unlike, doubled),) = self._database.execute("SELECT COALESCE(SUM(unlike), 0), COUNT(*) FROM doubles")
        return doubled - unlike, unlike

    def portions(self) -> Iterator[bytes]:
        """
        Give the rows in their order, some together, for `unpacked`: a repetition is left out, and rows that contradict one
        another have that fault.
        """
        for first, packed in self._database.execute("SELECT first, rows FROM portions ORDER BY first"):
            asked = "SELECT at, unlike FROM doubles WHERE at >= ? AND at < ?"
            doubles = dict(self._database.execute(asked, (first, first + PORTION)))
            yield self._without(unpacked(packed), doubles) if doubles else packed

    def _without(self, rows: Iterator[KeptRow], doubles: dict[int, int]) -> bytes:
        judged = (self._judged(row, doubles) for row in rows)
        return pickle.dumps([tuple(row) for row in judged if row is not None])

    def _compare(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Note the keys and the content of the rows among these whose keys may stand in other rows, too."""
        asked = "SELECT at FROM suspects WHERE at BETWEEN ? AND ?"
        ours = {at for (at,) in self._database.execute(asked, (rows[0][1], rows[-1][1]))}
        marks = [(_digest(row[0]), _digest(repr(row[2:])), row[1]) for row in rows if row[1] in ours]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO file_keys VALUES (?, ?, ?)", marks)
        self._database.execute("COMMIT")

    def _judged(self, row: KeptRow, doubles: dict[int, int]) -> KeptRow | None:
        if row.at not in doubles:
            return row
        if not doubles[row.at]:
            return None
        return row if row.rule else row._replace(field=self._key_columns, rule=TWICE)

    def _put_away(self) -> None:
        if not self._waiting:
            return
        # A hash that two rows share says that their keys may be one: then both are compared. It holds in this process alone.
        hashes = [(row[1], hash(row[0])) for row in self._waiting]
        self._database.execute("BEGIN")
        self._database.execute("INSERT INTO portions VALUES (?, ?)", (hashes[0][0], pickle.dumps(self._waiting)))
        self._database.executemany("INSERT INTO hashes VALUES (?, ?)", hashes)
        self._database.execute("COMMIT")
        self._waiting = []


def unpacked(portion: bytes) -> Iterator[KeptRow]:
    """The rows of a portion."""
    return map(KeptRow._make, loads(portion))


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
