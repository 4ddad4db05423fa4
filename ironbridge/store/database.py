"""Opening the state, bringing it up to date, and translating its driver's errors."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from adapters import tls
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from flows.clock import steady
from ironbridge.meters import state_operation

_MIGRATIONS = Path(__file__).parent / "migrations"
_MEASURED = 10.0  # seconds after which the database's clock is looked at again
_SURE = 1.0  # seconds: an answer that took longer does not tell the time well enough to replace one that did
_IDLE = 5.0  # seconds after which a connection is asked whether it still lives
_CLOCK = "ironbridge.clock"  # where a connection keeps its store's clock
_LOCK = 0x1B1D6E  # PostgreSQL advisory lock: one migration at a time, however many workers start at once


class Store:
    """
    The state database. `read` and `write` give a connection; a `write` is one transaction.

    Both raise `UnavailableError` where the database is away or locked and `MisconfiguredError` where a person must act.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.clock: Callable[[], float] = DatabaseClock() if engine.dialect.name != "sqlite" else time.time
        """The database's clock, in seconds since 1970: claims, budgets and editions go by it, whatever a worker's own says."""
        self.embedded = engine.dialect.name == "sqlite"
        # A statement by itself needs no transaction round it, which would be two more round trips.
        self._reading = engine if self.embedded else engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer at a time; waiting here is fair and cheap, waiting in SQLite is neither.
        self._writing = asyncio.Lock() if self.embedded else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with state_operation("read", self.engine.dialect.name), translated():
            async with self._reading.connect() as connection:
                await self._see_the_time(connection)
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._writing or nullcontext():
            with state_operation("write", self.engine.dialect.name), translated():
                async with self.engine.begin() as connection:
                    if self.embedded:
                        await connection.exec_driver_sql("BEGIN IMMEDIATE")
                    await self._see_the_time(connection)
                    yield connection

    async def _see_the_time(self, connection: AsyncConnection) -> None:
        clock = connection.info[_CLOCK] = self.clock
        if isinstance(clock, DatabaseClock) and clock.stale:
            asked = steady()
            shown = await connection.execute(text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8)"))
            clock.measure(asked, float(shown.scalar_one()), steady())

    async def migrate(self) -> None:
        """Bring the tables up to date, whole or not at all; of several workers that start at once the first one does it."""
        with translated():
            async with self.engine.connect() as connection:
                if await connection.run_sync(_is_current):
                    return
                await connection.rollback()
                if self.embedded:
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                await connection.run_sync(_upgrade)
                await connection.commit()

    async def close(self) -> None:
        await self.engine.dispose()


def now(connection: AsyncConnection) -> float:
    """The database's time, in seconds since 1970, for whoever has only a connection that a `Store` gave."""
    clock: Callable[[], float] = connection.info[_CLOCK]
    return clock()


class DatabaseClock:
    """
    The time that the database's clock shows, in seconds since 1970, without asking it each time.

    `measure` notes how far it is from a clock of this machine that nobody can set; it is called with the first connection
    that is used, and again after `_MEASURED` seconds. Until then it is the machine's own time.
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
        """`shown` is what the database said between two moments of the steady clock."""
        sure = answered - asked <= _SURE  # else this process, or the database, stood still meanwhile
        if sure or self._offset is None:
            self._offset = shown - (asked + answered) / 2
        if sure:
            self._measured = answered


class translated:  # noqa: N801 (reads as a word: `with translated():`)
    """Driver errors as our own. What the database said may quote a row: only its class goes on."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, IronbridgeError) or not isinstance(error, SQLAlchemyError | OSError):
            return
        if shaken := tls.complaint(error):
            raise MisconfiguredError(
                "state", f"the database: {shaken[0]}", fix=shaken[1].format_map(tls.FIXES)
            ) from None
        cause = getattr(error, "orig", None)
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
        name = type(getattr(cause, "__cause__", None) or cause or error).__name__
        # SQLSTATE: 28 login, 3D no such database, 42 no such table or right. These texts name things, never values.
        if code[:2] in ("28", "3D", "42"):
            said = str(getattr(cause, "__cause__", None) or cause).strip().splitlines()[0]
            raise MisconfiguredError(
                "state",
                f"the database refused us: {said} (SQLSTATE {code})",
                fix="check `state.url` and its user's rights",
            ) from None
        if isinstance(error, DBAPIError | OSError) or code:
            raise UnavailableError(
                "state",
                f"the database does not answer ({name})",
                fix="check that it runs and that `state.url` names it",
            ) from None
        raise MisconfiguredError("state", f"cannot be used ({name})", fix="check `state.url`") from error


def _is_current(connection: Connection) -> bool:
    """:raises MisconfiguredError: a newer release has made the tables."""
    known = sorted(file.stem.split("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))
    if not inspect(connection).has_table("alembic_version"):
        return False
    stands = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if stands is not None and stands not in known:
        raise MisconfiguredError(
            "state", f"its tables are those of a newer release (schema {stands}; this one knows up to {known[-1]})",
            fix="run that release or a newer one; to go back, restore the copy from before the upgrade, or point "
            "`state.url` at an empty database, which is filled again from Kafka",
        )  # fmt: skip
    return stands == known[-1]


def _upgrade(connection: Connection) -> None:
    if _is_current(connection):
        return  # another worker was faster
    from alembic import command  # half a second, and seldom needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def open_store(url: str, *, migrate: bool = True) -> Store:
    """
    Open the state at a SQLAlchemy URL (`postgresql+asyncpg://…` or `sqlite+aiosqlite:///…`) and bring it up to date.

    :raises MisconfiguredError: the URL is none of these, or the database refuses us.
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
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            engine = create_async_engine(parsed, connect_args={"timeout": 30, "isolation_level": None})
            event.listen(engine.sync_engine, "connect", _embedded)
        case "postgresql":
            # What is about to be sent must be on disk before it is sent: leave synchronous_commit on.
            parsed, encrypted = tls.of_url("state", parsed.set(drivername="postgresql+asyncpg"))
            engine = create_async_engine(
                parsed, pool_size=8, max_overflow=8,
                connect_args={
                    "ssl": encrypted or False, "server_settings": {"application_name": "ironbridge", "jit": "off"},
                },
            )  # fmt: skip
            _lively(engine)
        case other:
            raise MisconfiguredError(
                "state", f"cannot be kept in {other}", fix="use PostgreSQL or SQLite in `state.url`"
            )
    store = Store(engine)
    if migrate:
        try:
            await store.migrate()
        except IronbridgeError:
            await store.close()
            raise
    return store


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
                dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
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
