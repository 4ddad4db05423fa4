"""Opening the state, bringing it up to date, and translating its driver's errors."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import URL, NullPool, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from canonical.connect import sqlite, tls
from canonical.errors import IronbridgeError, MisconfiguredError
from flows.engine.clock import steady
from ironbridge.observe.meters import state_operation
from ironbridge.store import schema, waits
from ironbridge.store.faults import translated
from ironbridge.store.schema import SchemaState
from ironbridge.store.statement import text
from ironbridge.store.waits import ConnectionLimits, Holders

_MEASURED = 10.0  # seconds after which the database's clock is read again
_SURE = 1.0  # seconds: an answer that took longer is not exact enough to replace one that was quicker
_IDLE = 5.0  # seconds after which a connection is asked whether it still lives
_CLOCK = "ironbridge.clock"  # the key under which a connection keeps its store's clock
_LOCK = 0x1B1D6E  # PostgreSQL advisory lock: one migration at a time, however many workers start at once


class Store:
    """
    The state database. `read` and `write` give a connection; a `write` is one transaction.

    Both raise `UnavailableError` where the database is away or locked and `MisconfiguredError` where a person must act.
    """

    def __init__(self, engine: AsyncEngine, aside: AsyncEngine | None = None, holders: Holders | None = None) -> None:
        self.engine = engine
        self._aside = aside or engine  # for a migration, whose statements may take long
        self._holders = holders
        self.clock: Callable[[], float] = DatabaseClock() if engine.dialect.name != "sqlite" else time.time
        """The database's clock, in seconds since 1970. Claims, budgets and editions use it, never a worker's own clock."""
        self.embedded = engine.dialect.name == "sqlite"
        # A statement by itself needs no transaction round it, which would be two more round trips.
        self._reading = engine if self.embedded else engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer at a time; waiting here is fair and cheap, waiting in SQLite is neither.
        self._writing = asyncio.Lock() if self.embedded else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with state_operation("read", self.engine.dialect.name), translated(self.held_by):
            async with self._reading.connect() as connection, self._watching(connection):
                await self._see_the_time(connection)
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._writing or nullcontext():
            with state_operation("write", self.engine.dialect.name), translated(self.held_by):
                async with self.engine.begin() as connection, self._watching(connection):
                    if self.embedded:
                        await connection.exec_driver_sql("BEGIN IMMEDIATE")
                    await self._see_the_time(connection)
                    yield connection

    async def answers(self) -> None:
        """:raises UnavailableError: the database does not answer."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def _see_the_time(self, connection: AsyncConnection) -> None:
        clock = connection.info[_CLOCK] = self.clock
        if isinstance(clock, DatabaseClock) and clock.stale:
            asked = steady()
            shown = await connection.execute(text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8)"))
            clock.measure(asked, float(shown.scalar_one()), steady())

    def held_by(self) -> tuple[str, str]:
        """The holder of a lock that we waited for lately, and how to end it; empty if we waited for none."""
        return self._holders.lately() if self._holders else ("", "")

    def _watching(self, connection: AsyncConnection) -> AbstractAsyncContextManager[None]:
        return self._holders.watching(connection) if self._holders else nullcontext()

    async def migrate(self, migrations: Path = schema.MIGRATIONS) -> None:
        """
        Bring the tables up to date, whole or not at all; of several workers that start at once the first one does it. Tables
        of a newer release that this one can work on are left as they are.

        :raises MisconfiguredError: a newer release has made the tables, and this one cannot work on them.
        """
        with translated(self.held_by):
            async with self._aside.connect() as connection, self._watching(connection):
                if await connection.run_sync(schema.stands, migrations) is SchemaState.SUITS:
                    return
                await connection.rollback()
                if self.embedded:
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                await connection.run_sync(schema.upgrade, migrations)
                await connection.commit()

    async def stands(self) -> SchemaState:
        """
        Tell whether this release can work on the tables, changing nothing.

        :raises MisconfiguredError: a newer release has made them, and this one cannot.
        """
        if self.embedded and not Path(self.engine.url.database or "").exists():
            return SchemaState.EMPTY  # SQLite would make the file
        with translated(self.held_by):
            async with self._aside.connect() as connection, self._watching(connection):
                return await connection.run_sync(schema.stands)

    async def close(self) -> None:
        await self.engine.dispose()
        await self._aside.dispose()


def now(connection: AsyncConnection) -> float:
    """The database's time, in seconds since 1970, for code that has only a connection that a `Store` gave."""
    clock: Callable[[], float] = connection.info[_CLOCK]
    return clock()


class DatabaseClock:
    """
    The database's clock, in seconds since 1970, without asking the database each time.

    `measure` notes how far it is from a clock of this machine that nobody can set. It is called with the first connection
    that is used, and again after `_MEASURED` seconds. Before the first call the machine's own time is used.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._measured = -math.inf

    def __call__(self) -> float:
        return time.time() if self._offset is None else steady() + self._offset

    @property
    def stale(self) -> bool:
        return steady() - self._measured > _MEASURED

    def measure(self, asked: float, shown: float, answered: float) -> None:
        """Note `shown`, the database's time, which it gave between two moments of the steady clock."""
        sure = answered - asked <= _SURE  # otherwise this process, or the database, stood still meanwhile
        if sure or self._offset is None:
            self._offset = shown - (asked + answered) / 2
        if sure:
            self._measured = answered


class Upkeep(Enum):
    """Says what is done about the state's tables when it is opened."""

    BRING = "brought up to date"
    """Only the program that works with the state, `ironbridge run`, does this, and `ironbridge migrate`."""
    NEED = "needed as they are"
    """They are looked at and never changed: it is an error if this release cannot work on them."""
    LEAVE = "left alone"
    """Nothing is asked: the database may be away."""


async def open_store(
    url: str, *, tables: Upkeep = Upkeep.BRING, patience: ConnectionLimits = waits.USUAL
) -> Store:
    """
    Open the state at a SQLAlchemy URL (`postgresql+asyncpg://…` or `sqlite+aiosqlite:///…`).

    :raises MisconfiguredError: the URL is neither of these, the database refuses us, or its tables are not for this release.
    :raises UnavailableError: it is away, or somebody holds a lock that we need for longer than `patience` allows.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # whose text may quote a part of the password
        raise MisconfiguredError(
            "state", "`state.url` is not a database URL",
            fix="write postgresql+asyncpg://user:password@host/database; in the password %40 for @, %2F for /, %3A for :",
        ) from None  # fmt: skip
    match parsed.get_backend_name():
        case "sqlite":
            store = Store(_sqlite(parsed))
        case "postgresql":
            store = _postgres(parsed, patience)
        case other:
            raise MisconfiguredError(
                "state", f"cannot be kept in {other}", fix="use PostgreSQL or SQLite in `state.url`"
            )
    try:
        match tables:
            case Upkeep.BRING:
                await store.migrate()
            case Upkeep.NEED:
                schema.insist(await store.stands())
    except IronbridgeError:
        await store.close()
        raise
    return store


def _sqlite(url: URL) -> AsyncEngine:
    arguments = {"timeout": 30, "isolation_level": None, "async_creator_fn": sqlite.connect}
    engine = create_async_engine(url, connect_args=arguments, pool_timeout=waits.POOL)

    def folder_made(*_: Any) -> None:
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)

    event.listen(engine.sync_engine, "do_connect", folder_made)
    event.listen(engine.sync_engine, "connect", _embedded)
    return engine


def _postgres(url: URL, patience: ConnectionLimits) -> Store:
    url, encrypted = tls.of_url("state", url.set(drivername="postgresql+asyncpg"))

    def engine(patience: ConnectionLimits, **pool: Any) -> AsyncEngine:
        # An intent must be on disk before it is sent: leave synchronous_commit on.
        arguments = {
            "ssl": encrypted or False, "server_settings": {"application_name": "ironbridge", "jit": "off"},
            "timeout": patience.connect, "command_timeout": patience.command,
        }  # fmt: skip
        made = create_async_engine(url, connect_args=arguments, **pool)
        waits.limit(made, patience)
        return made

    usual = engine(patience, pool_size=8, max_overflow=8, pool_timeout=waits.POOL)
    _lively(usual)
    aside = engine(patience._replace(statement=waits.MIGRATION), poolclass=NullPool)
    return Store(usual, aside, Holders(aside, patience.look))


def _lively(engine: AsyncEngine) -> None:
    """
    Give out no connection that has died. SQLAlchemy's own `pool_pre_ping` asks the database each time, in three round
    trips; one that was of use a moment ago and was not closed since needs no asking.
    """
    dialect = engine.dialect

    def returned(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    def taken(connection: Any, record: Any, _fairy: Any) -> None:
        try:
            if connection.driver_connection.is_closed():
                raise InvalidatePoolError
            if time.monotonic() - record.info.get("used", math.inf) > _IDLE:
                waits.ping(connection)
        except (dialect.loaded_dbapi.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise InvalidatePoolError from error

    event.listen(engine.sync_engine, "checkin", returned)
    event.listen(engine.sync_engine, "checkout", taken)


def _embedded(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # A file that others are just making is locked for a moment, and here SQLite does not wait.
    patient = Retrying(
        retry=retry_if_exception_type(sqlite3.OperationalError), wait=wait_fixed(0.01), stop=stop_after_delay(5), reraise=True
    )
    patient(cursor.execute, "PRAGMA journal_mode=WAL")
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "cache_size=-32000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
