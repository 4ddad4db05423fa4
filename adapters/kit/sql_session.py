"""
Being connected to a SQL database that we only read: sessions that cannot write, statements that end in time, and the
drivers' errors in our words.

PostgreSQL (asyncpg), MariaDB and MySQL (aiomysql), SQLite (aiosqlite), SQL Server (aioodbc).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from sqlalchemy import URL, event, literal, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from adapters.engine.meters import selecting
from adapters.kit import tls
from canonical.errors import IronbridgeError, MisconfiguredError, RefusedError, UnavailableError

_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
    "sqlite": "sqlite+aiosqlite",
    "mssql": "mssql+aioodbc",
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


class SqlSettings(BaseModel):
    """
    These settings say how one SQL database is read. The URL holds the password and is never shown; adapters/kit/tls.py
    explains its words for TLS.

    `schema_name` (in the file: `schema`) is where the tables lie, with the database before it on SQL Server: `HDM.Child_Social`.
    MariaDB and SQLite have no schemas and read the database of the URL. `every` is how often each stream is looked at, `pause`
    how long the pump waits between two pages, to spare the source. `tail` names, for a stream, the column of its table that
    shows changes; a stream without one is swept. `time_zone` is the zone of the local times that the source writes without
    one: there an hour comes twice when the clocks go back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    schema_name: str | None = Field(default=None, alias="schema")
    every: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    page_size: int = Field(default=5000, ge=1, le=100_000)
    pause: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    statement_timeout: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    connect_timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))
    time_zone: str = "Europe/London"
    tail: dict[str, str] = Field(default_factory=dict)
    tail_overlap: timedelta = Field(default=timedelta(minutes=2), ge=timedelta(0))
    sweep_every: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, KeyError):
            raise ValueError("is no time zone such as Europe/London") from None

    @field_validator("schema_name")
    @classmethod
    def _plain_schema(cls, value: str | None) -> str | None:
        if value is not None and not all(_NAME.fullmatch(part) for part in value.split(".")):
            raise ValueError("is a name such as Child_Social or HDM.Child_Social")
        return value

    @field_validator("tail")
    @classmethod
    def _plain_columns(cls, value: dict[str, str]) -> dict[str, str]:
        for stream, column in value.items():
            if not _NAME.fullmatch(column):
                raise ValueError(f"tail.{stream}: is a column's name such as LAST_UPDATED_DTTM")
        return value

    @property
    def in_schema(self) -> str | None:
        """The schema for statements: none where the kind of database has none."""
        return None if self.kind in ("sqlite", "mysql", "mariadb") else self.schema_name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @field_validator("url")
    @classmethod
    def _readable(cls, value: SecretStr) -> SecretStr:
        try:
            kind = make_url(value.get_secret_value()).get_backend_name()
        except (ArgumentError, ValueError):
            raise ValueError("is not a database URL such as postgresql://user:password@host/database") from None
        if kind not in _DRIVERS:
            raise ValueError(f"must begin with one of {', '.join(sorted(_DRIVERS))}")
        return value

    @property
    def parsed_url(self) -> URL:
        """The URL with the driver that we read its kind of database with."""
        url = make_url(self.url.get_secret_value())
        return url.set(drivername=_DRIVERS[url.get_backend_name()])

    @property
    def kind(self) -> str:
        """`postgresql`, `mysql`, `mariadb`, `sqlite` or `mssql`."""
        return self.parsed_url.get_backend_name()


class UnreadValueError(RefusedError):
    """The driver, or the database itself, fails at a value of the rows that were asked for: ask for fewer of them."""

    kind = "a value"


class SqlSession:
    """
    A small pool of connections that can only read. `where` names its adapter in errors.

    Safe for several streams at once: each `connection()` is one short transaction, read-only where the database has
    such a thing (SQL Server has not: there the login's rights are all that forbids writing).
    """

    def __init__(self, where: str, settings: SqlSettings) -> None:
        self.where = where
        self.settings = settings
        self.engine: AsyncEngine | None = None
        self._encrypted = False

    async def open(self) -> None:
        """
        Connect, to know at once whether it works.

        :raises UnavailableError: nobody answers.
        :raises MisconfiguredError: the URL, the driver or the login is wrong.
        """
        await self.close()
        self.engine = self._engine()
        async with self.connection() as connection:
            await connection.execute(select(literal(1)))

    async def close(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.dispose()

    @asynccontextmanager
    async def connection(self, about: str = "") -> AsyncIterator[AsyncConnection]:
        """One read-only transaction; `about` names the tables for the error text."""
        if self.engine is None:
            raise UnavailableError(self.where, "is not open")
        # The server ends a slow statement itself; this is for a server that has gone silent.
        patience = self.settings.connect_timeout + 2 * self.settings.statement_timeout
        try:
            async with asyncio.timeout(patience.total_seconds()), self.engine.connect() as connection:
                with selecting(self.where, self.settings.kind, about) if about else nullcontext(), self._whole(connection):
                    yield connection
        except (SQLAlchemyError, OSError, ImportError) as error:
            raise translated(error, self.where, about, self.settings.parsed_url.username or "") from error

    @contextmanager
    def _whole(self, connection: AsyncConnection) -> Iterator[None]:
        """Give up a connection whose driver failed at a value, because the rest of the answer was not read."""
        try:
            yield
        except (SQLAlchemyError, OSError, ImportError, IronbridgeError):
            raise
        except Exception as error:
            if connection.sync_connection is not None:
                connection.sync_connection.invalidate()
            raise unreadable(self.where, type(error).__name__) from error

    def _engine(self) -> AsyncEngine:
        url, kind = self.settings.parsed_url, self.settings.kind
        if kind == "sqlite" and not Path(url.database or "").is_file():
            raise MisconfiguredError(self.where, "its SQLite file does not exist", fix="check the path in `url`")
        # One snapshot a transaction, so that a record and the rows that belong to it are of one moment.
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        arguments = _connect_args(kind, self.settings)
        if kind in ("postgresql", "mysql", "mariadb"):
            url, encrypted = tls.of_url(self.where, url)
            arguments["ssl"] = encrypted if encrypted or kind != "postgresql" else False
            self._encrypted = encrypted is not None
        try:
            engine = create_async_engine(
                url,
                hide_parameters=True,
                connect_args=arguments,
                pool_size=4,
                max_overflow=0,
                pool_timeout=self.settings.statement_timeout.total_seconds(),
                execution_options=options if kind == "postgresql" else {},
            )
        except (SQLAlchemyError, ImportError) as error:
            raise translated(error, self.where) from error
        event.listen(engine.sync_engine, "connect", self._prepare, insert=True)  # before SQLAlchemy asks anything
        return engine

    def _prepare(self, connection: Any, _record: object) -> None:
        """Tell a new connection what connect arguments cannot."""
        kind, seconds = self.settings.kind, self.settings.statement_timeout.total_seconds()
        statements: list[str] = []
        if kind == "sqlite":
            statements = ["PRAGMA query_only = ON"]
        elif kind == "mssql":
            statements = [f"SET LOCK_TIMEOUT {round(seconds * 1000)}"]
        elif kind in ("mysql", "mariadb"):
            if self._encrypted and not connection.driver_connection._secure:
                # aiomysql goes on in the clear where the server, or somebody between, says that there is no TLS.
                raise ConnectionError("rejected SSL upgrade")
            maria = "MariaDB" in connection.driver_connection.get_server_info()
            limit = f"max_statement_time = {seconds}" if maria else f"max_execution_time = {round(seconds * 1000)}"
            statements = ["SET SESSION TRANSACTION READ ONLY", f"SET SESSION {limit}"]
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()


def translated(error: BaseException, where: str, about: str = "", user: str = "") -> IronbridgeError:
    """Turn a driver's error into one of ours; `about` names the tables and `user` the login, for the advice."""
    begin = f"{about}: " if about else ""
    codes = list(_codes(error))
    if broken := next((code for code in codes if re.fullmatch(_DATA, code)), None):
        return unreadable(where, broken)
    if said := tls.complaint(error):
        return MisconfiguredError(where, begin + said[0], fix=said[1].format_map(tls.FIXES))
    for code in codes:
        for known, kind, what, fix in _FAULTS:
            if re.fullmatch(known, code):
                return kind(where, begin + what, fix=fix.format(user=user or "our login", table=about or "the tables"))
    # Not the driver's sentence: it may quote the source's data.
    return UnavailableError(
        where, f"{begin}failed with {type(error).__name__}", fix="look into the source's own log if it goes on"
    )


def unreadable(where: str, kind: str) -> UnreadValueError:
    """Make the error of a value that cannot be read; `kind` is the driver's word for what is wrong with it."""
    error = UnreadValueError(where, f"holds a value that cannot be read ({kind})", fix="correct it in the source")
    error.kind = kind
    return error


_DATA = r"22...|1292|1300|1366|1411|1690|241|242|245|8114|8115|8134|could not decode"
"""Codes of data that the database, or the driver for SQLite, fails at; as in `_FAULTS`."""

_FAULTS: list[tuple[str, type[IronbridgeError], str, str]] = [
    (
        r"28...|1045|1698|18456",
        MisconfiguredError,
        "refused our login",
        "check the user and the password in `url`",
    ),
    (
        r"3D000|1049|4060",
        MisconfiguredError,
        "there is no such database, or it is not ours to open",
        "check the database's name in `url`",
    ),
    (
        r"42501|1044|1142|1143|1370|229|230|916",
        MisconfiguredError,
        "we may not read it",
        "ask for GRANT SELECT ON {table} TO {user} (on PostgreSQL also USAGE on its schema)",
    ),
    (
        r"42P01|3F000|42S02|1146|208|no such table",
        MisconfiguredError,
        "there is no such table",
        "check `schema`, and the database's name in `url`",
    ),
    (
        r"42703|42S22|1054|207|no such column",
        MisconfiguredError,
        "there is no such column",
        "ask the system's supplier in which version {table} has it",
    ),
    (
        r"not a database|unable to open|IM002|ImportError|ModuleNotFoundError|NoSuchModuleError",
        MisconfiguredError,
        "the file or the database driver is missing",
        "check `url`; MariaDB needs `pip install ironbridge[mariadb]`, SQL Server `ironbridge[sqlserver]` and its ODBC "
        "driver",
    ),
    (
        r"57014|1969|3024|HYT00|HYT01|55P03|1205|1222|TimeoutError",
        UnavailableError,
        "took too long to answer",
        "raise `statement_timeout` or lower `page_size` if it goes on",
    ),
    (
        r"40...|1213|database is locked",
        UnavailableError,
        "another program stood in our way",
        "",
    ),
    (
        r"08...|57P..|53...|1040|1053|1927|2002|2003|2006|2013|2055|OSError|InterfaceError|ConnectionDoesNotExistError"
        r"|InternalClientError",  # asyncpg, of a server that went in mid-sentence
        UnavailableError,
        "cannot be reached, or hung up",
        "check that the server runs, and the host and port in `url`",
    ),
]
"""
What a driver's code means, the first that fits: SQLSTATEs (PostgreSQL, ODBC), the numbers of MariaDB and SQL Server,
SQLite's words, Python's own errors.
"""


def _codes(error: BaseException | None) -> Iterator[str]:
    """Everything in an error and its causes that could be a code, the innermost first, class names last."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    for each in reversed(chain):
        first, *rest = (*each.args, "")
        if isinstance(first, int):
            yield str(first)
        elif re.fullmatch(r"[0-9A-Z]{5}", str(first)):
            yield from re.findall(r"\((\d{3,5})\)", str(rest[0]))  # ODBC: the server's own number says more
            yield str(first)
        yield str(getattr(each, "sqlstate", ""))
        yield from re.findall(
            r"no such table|no such column|database is locked|not a database|unable to open|could not decode",
            str(first).replace("Could not", "could not"),
        )
    for each in reversed(chain):
        yield from (kind.__name__ for kind in type(each).__mro__[:-3])


def _connect_args(kind: str, settings: SqlSettings) -> dict[str, Any]:
    statement, connect = settings.statement_timeout.total_seconds(), settings.connect_timeout.total_seconds()
    if kind == "postgresql":
        session = {"default_transaction_read_only": "on", "statement_timeout": str(round(statement * 1000))}
        return {"timeout": connect, "server_settings": {**session, "application_name": "ironbridge"}}
    if kind == "sqlite":
        return {"timeout": statement}
    if kind == "mssql":

        async def end_in_time(connection: Any) -> None:
            connection.timeout = round(statement)

        return {"timeout": round(connect), "after_created": end_in_time}
    return {"connect_timeout": connect, "conv": _decoders()}


def _decoders() -> dict[int, Any] | None:
    """Say how aiomysql reads values: a zero date is no date, and BIT is a number."""
    try:
        types, usual = import_module("pymysql.constants.FIELD_TYPE"), import_module("pymysql.converters")
    except ImportError:
        return None  # it is an extra: SQLAlchemy says that it is missing

    def unless_zero(decode: Callable[[str], Any]) -> Callable[[str], Any]:
        # Another date that is none stays text, and the mapping says what is wrong with it.
        return lambda written: decode(written) if written.strip("0-:. ") else None

    decoders: dict[int, Any] = usual.decoders | {
        types.BIT: int.from_bytes,
        types.DATE: unless_zero(usual.convert_date),
        types.DATETIME: unless_zero(usual.convert_datetime),
        types.TIMESTAMP: unless_zero(usual.convert_datetime),
    }
    return decoders
