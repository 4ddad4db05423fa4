"""
A comparison keeps what it has seen in a scratch: a temporary database on disk, without a name, that is gone when it is closed.

So the memory that a comparison takes does not grow with what is compared.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite

PAGE = 1000
"""Rows that are looked at together."""

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8000;
CREATE TABLE legacy (
    look INTEGER, key TEXT, source TEXT, entity TEXT, place TEXT, digest BLOB, data BLOB, problem TEXT,
    PRIMARY KEY (look, key)
) WITHOUT ROWID;
CREATE TABLE extracts (look INTEGER, stream TEXT, name TEXT, PRIMARY KEY (look, stream, name)) WITHOUT ROWID;
CREATE TABLE ours (
    subject TEXT PRIMARY KEY, kind TEXT, number TEXT, refers TEXT, ref TEXT, digest BLOB, document BLOB, confirmed BLOB,
    why TEXT, seen TEXT
);
CREATE INDEX ours_ref ON ours (ref);
CREATE INDEX ours_number ON ours (kind, number);
CREATE TABLE strangers (look INTEGER, ref TEXT, kind TEXT, number TEXT, refers TEXT, PRIMARY KEY (look, ref)) WITHOUT ROWID;
CREATE TABLE suspects (side TEXT, key TEXT, version INTEGER, PRIMARY KEY (side, key)) WITHOUT ROWID;
"""


class Scratch:
    """A temporary database; `open_scratch` makes one."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def put(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._connection.executemany(statement, rows)

    async def do(self, statement: str, *bound: Any) -> None:
        await self._connection.execute(statement, bound)

    async def rows(self, statement: str, *bound: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.execute_fetchall(statement, bound)]

    async def count(self, statement: str, *bound: Any) -> int:
        return int((await self.rows(statement, *bound))[0][0])

    async def among(self, statement: str, items: Sequence[str], *bound: Any) -> list[tuple[Any, ...]]:
        """Rows for some items, which the statement has as its first `?`: `… IN (SELECT value FROM json_each(?))`."""
        return await self.rows(statement, json.dumps(items), *bound) if items else []

    async def suspect(self, side: str, keys: Iterable[str]) -> None:
        await self.put("INSERT OR IGNORE INTO suspects (side, key) VALUES (?, ?)", [(side, key) for key in keys])

    async def suspects(self, side: str) -> AsyncIterator[list[str]]:
        """Yield what has to be looked at once more, some at a time, in order."""
        statement = "SELECT key FROM suspects WHERE side = ? AND key > ? ORDER BY key LIMIT ?"
        after = ""
        while found := [key for (key,) in await self.rows(statement, side, after, PAGE)]:
            yield found
            after = found[-1]


@asynccontextmanager
async def open_scratch() -> AsyncIterator[Scratch]:
    # An empty name is a database in a file that SQLite has already unlinked: nobody else can open it.
    async with aiosqlite.connect("", isolation_level=None) as connection:
        await connection.executescript(_TABLES)
        await connection.execute("BEGIN")  # for good: nobody else looks, and a commit a row would take most of the time
        yield Scratch(connection)
