"""The connection to SQLite makes few trips to its thread, gives every row, and leaves no transaction open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from canonical.connect import sqlite


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    arguments = {"async_creator_fn": sqlite.connect, "isolation_level": None, "timeout": 0.2}
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}", connect_args=arguments, pool_size=2)
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
        await connection.execute(text("INSERT INTO numbers VALUES (:n)"), [{"n": n} for n in range(2500)])
    yield made
    await made.dispose()


async def test_a_statement_and_its_rows_are_one_trip(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[object] = []
    whole = sqlite._Connection._execute

    async def counted(self: sqlite._Connection, *asked: object) -> object:
        trips.append(asked)
        return await whole(self, *asked)  # type: ignore[arg-type]

    async with engine.connect() as connection:
        monkeypatch.setattr(sqlite._Connection, "_execute", counted)
        assert (await connection.execute(text("SELECT n FROM numbers WHERE n < 900"))).scalars().all() == list(range(900))
    assert len(trips) == 1, "nothing was begun, so there is nothing to roll back"


async def test_a_long_result_comes_whole_or_in_pieces(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT n FROM numbers"))).scalars().all() == list(range(2500))
        streamed = await connection.stream(text("SELECT n FROM numbers"))
        assert [n async for n in streamed.scalars()] == list(range(2500))
        pieces = await connection.stream(text("SELECT n FROM numbers"))
        assert [len(piece) async for piece in pieces.partitions(700)] == [700, 700, 700, 400]
        begun = await connection.stream(text("SELECT n FROM numbers"))
        assert (await begun.fetchone()) == (0,)
        await begun.close()
        changed = await connection.execute(text("UPDATE numbers SET n = -n WHERE n BETWEEN 1 AND 7"))
        assert changed.rowcount == 7
        given = await connection.execute(text("INSERT INTO numbers VALUES (9001), (9002) RETURNING n"))
        assert given.scalars().all() == [9001, 9002]


async def test_a_failed_statement_leaves_the_connection_usable(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(OperationalError, match="no such table"):
            await connection.execute(text("SELECT * FROM letters"))
        assert (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar() == 2500


async def test_a_transaction_that_began_after_its_caller_was_cancelled_is_rolled_back(engine: AsyncEngine) -> None:
    """The thread waits for a lock, its caller is cancelled, and only then the transaction begins."""
    async with engine.connect() as other, engine.connect() as ours:
        await other.exec_driver_sql("BEGIN IMMEDIATE")
        proxy = await ours.get_raw_connection()
        driver = proxy.driver_connection
        assert isinstance(driver, sqlite._Connection)
        cursor = driver.cursor()
        waiting = asyncio.ensure_future(cursor.execute("BEGIN IMMEDIATE"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await other.exec_driver_sql("ROLLBACK")
        await driver.rollback()
        await other.exec_driver_sql("BEGIN IMMEDIATE")  # fails where our connection still holds the lock
        await other.exec_driver_sql("ROLLBACK")
