"""
A state in memory that answers as PostgreSQL would: many workers share it, and one transaction follows another.

It runs the product's own SQL on SQLite, without a thread. It has no locks of rows: a transaction is never interleaved
with another one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.elements import TextClause

from ironbridge.store import database, open_store

_DIALECT = sqlite.dialect()
_FOREIGN = (" FOR UPDATE SKIP LOCKED", " FOR UPDATE", " FOR SHARE", ' COLLATE "C"')


@cache
def empty() -> sqlite3.Connection:
    """The tables as the migrations make them, without rows: a copy of it is given to `SharedState.set_back`."""

    async def made(file: Path) -> None:
        store = await open_store(f"sqlite+aiosqlite:///{file}")
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.sqlite3"
        asyncio.run(made(file))
        there = sqlite3.connect(file)
        copy = _copied(there)
        there.close()
        return copy


def _copied(connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.backup(copy)
    return copy


@cache
def _spoken(sql: str) -> str:
    """Leaves out PostgreSQL's words that SQLite does not know."""
    if sql.startswith("SET LOCAL"):
        return "SELECT 1"
    for each in _FOREIGN:
        sql = sql.replace(each, "")
    return sql


@cache
def _named(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


class Result:
    """Rows, as SQLAlchemy gives them."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._names = tuple(column[0] for column in cursor.description or ())
        row = _named(self._names)
        self._rows = [row._make(each) for each in cursor.fetchall()] if cursor.description else []
        self.rowcount = len(self._rows) if cursor.description else cursor.rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def fetchall(self) -> list[Any]:
        return self._rows

    all = fetchall

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    fetchone = one_or_none = first

    def one(self) -> Any:
        (row,) = self._rows
        return row

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar(self) -> Any:
        return self._rows[0][0] if self._rows else None

    scalar_one_or_none = scalar

    def scalars(self) -> list[Any]:
        return [row[0] for row in self._rows]

    def mappings(self) -> list[dict[str, Any]]:
        return [dict(zip(self._names, row, strict=True)) for row in self._rows]


class Connection:
    """The part of SQLAlchemy's connection that the product uses."""

    dialect = _DIALECT

    def __init__(self, raw: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._raw = raw
        self.info = {database._CLOCK: clock}

    async def execute(self, statement: Any, bound: Any = None) -> Result:
        if isinstance(statement, TextClause):
            sql = _spoken(statement.text)
        else:
            compiled = statement.compile(dialect=_DIALECT)
            sql, bound = str(compiled), list(compiled.params.values())
        if isinstance(bound, list) and bound and isinstance(bound[0], dict):
            return Result(self._raw.executemany(sql, bound))
        return Result(self._raw.execute(sql, bound or {}))

    async def exec_driver_sql(self, sql: str, bound: Any = None) -> Result:
        if isinstance(bound, list):
            return Result(self._raw.executemany(sql, bound))
        return Result(self._raw.execute(sql, bound or ()))


class SharedState:
    """Stands for `ironbridge.store.Store`, opened on PostgreSQL. `clock` is the database's, in seconds since 1970."""

    embedded = False

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._raw = _copied(empty())
        self._uncounted = 0

    @property
    def changes(self) -> int:
        """Grows with each row that is changed."""
        return self._raw.total_changes + self._uncounted

    def overlook(self, changes: int) -> None:
        """Set the count of changes back: the ones since then do not matter."""
        self._uncounted += changes - self.changes

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        yield Connection(self._raw, self.clock)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        self._raw.execute("BEGIN")
        try:
            yield Connection(self._raw, self.clock)
        except BaseException:
            self._raw.execute("ROLLBACK")
            raise
        self._raw.execute("COMMIT")

    def copy(self) -> sqlite3.Connection:
        return _copied(self._raw)

    def set_back(self, copy: sqlite3.Connection | None = None) -> None:
        """Set the state back to a copy, or to an empty one."""
        (copy or empty()).backup(self._raw)
        self._uncounted += 1_000_000_000

    def rows(self, sql: str, *bound: Any) -> list[Any]:
        return self._raw.execute(sql, bound).fetchall()

    def close(self) -> None:
        self._raw.close()
