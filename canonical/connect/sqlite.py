"""SQLite on asyncio, with one trip to the connection's thread for a statement and its rows."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import aiosqlite

_AT_ONCE = 1000
"""As many rows come along with their statement. Of a longer result the rest is fetched as it is asked for."""


def connect(*where: Any, **how: Any) -> aiosqlite.Connection:
    """Make a connection for SQLAlchemy (`connect_args={"async_creator_fn": connect}`); the arguments are those of `sqlite3`."""
    made = _Connection(partial(sqlite3.connect, *where, **how), _AT_ONCE)
    made._thread.daemon = True  # as SQLAlchemy does: a program that ends does not wait for it
    return made


class _Connection(aiosqlite.Connection):
    """
    This connection makes cursors that need one trip. A trip to its thread and back costs more than most statements do, and
    aiosqlite makes four for each: for the cursor, the statement, the rows and the cursor's end.
    """

    _unsure = False
    """Was somebody cancelled who waited for the thread? Then what it did is not known."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._unsure = True
            raise

    def cursor(self) -> _Cursor:  # type: ignore[override]
        return _Cursor(self)

    async def commit(self) -> None:
        if self._in_doubt():
            await super().commit()

    async def rollback(self) -> None:
        if self._in_doubt():
            await super().rollback()
            self._unsure = False

    def _in_doubt(self) -> bool:
        """Is a transaction open, or may one be? Where none is there is nothing to end."""
        return self._unsure or self.in_transaction


class _Cursor:
    """Has the methods of a cursor that SQLAlchemy calls. `_rows` came along; `_rest` is the cursor that has more."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rest: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount, self.arraysize = -1, 1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> _Cursor:
        return self

    async def execute(self, statement: str, parameters: Iterable[Any] = ()) -> _Cursor:
        return await self._run("execute", statement, parameters)

    async def executemany(self, statement: str, parameters: Iterable[Iterable[Any]]) -> _Cursor:
        return await self._run("executemany", statement, parameters)

    async def _run(self, how: str, statement: str, parameters: Any) -> _Cursor:
        await self._connection._execute(self._done, how, statement, parameters)
        return self

    def _done(self, how: str, statement: str, parameters: Any) -> None:
        cursor = self._connection._conn.cursor()
        try:
            getattr(cursor, how)(statement, parameters)
            self._rows = cursor.fetchmany(_AT_ONCE) if cursor.description else []
        except BaseException:
            cursor.close()
            raise
        self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
        if len(self._rows) < _AT_ONCE:
            cursor.close()
        else:
            self._rest = cursor

    async def fetchall(self) -> Sequence[Any]:
        given, self._rows = self._rows, []
        return given + await self._connection._execute(self._rest.fetchall) if self._rest else given

    async def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        most = size or self.arraysize
        given, self._rows = self._rows[:most], self._rows[most:]
        if len(given) < most and self._rest:
            given += await self._connection._execute(self._rest.fetchmany, most - len(given))
        return given

    async def fetchone(self) -> Any:
        return next(iter(await self.fetchmany(1)), None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while rows := await self.fetchmany(_AT_ONCE):
            for row in rows:
                yield row

    async def close(self) -> None:
        rest, self._rest, self._rows = self._rest, None, []
        if rest is not None:
            await self._connection._execute(rest.close)
