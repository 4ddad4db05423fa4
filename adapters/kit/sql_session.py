"""Reads a SQL database in sessions that cannot write. `canonical.connect.sql` says how any database is reached."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from typing import Self

from pydantic import Field, field_validator, model_validator
from sqlalchemy import URL, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.engine.meters import selecting
from adapters.kit.row_settings import RowSettings
from canonical.connect import sql
from canonical.connect.sql import Meaning, SqlLogin, SqlUrl
from canonical.errors import IronbridgeError, MisconfiguredError, RefusedError, UnavailableError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
CHANGE_TRACKING = "change tracking"
"""A setting says this of a stream in the place of a column's name."""


class SqlSettings(RowSettings):
    """
    These settings say how one SQL database is read. The URL holds the password and is never shown; canonical/connect/tls.py
    explains its words for TLS.

    `schema_name` (in the file: `schema`) is where the tables lie, with the database before it on SQL Server: `HDM.Child_Social`.
    MariaDB and SQLite have no schemas and read the database of the URL; on Oracle it is the tables' owner. `every` is how often
    each stream is looked at, `pause` how long the pump waits between two pages, to spare the source. `tail` names, for a stream,
    the column of its table that shows changes, or says `change tracking` (see `adapters.kit.sql_tracking`); a stream without
    it is swept. `time_zone` is the zone of the local times that the source writes without one: there an hour comes twice when
    the clocks go back. `codes` are code maps by name, see `adapters.kit.codes`. With `row_versions`, streams whose tables have
    row versions are read by them (see `adapters.kit.sql_versions`); a stream in `tail` is not.
    """

    url: SqlUrl
    schema_name: str | None = Field(default=None, alias="schema")
    every: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    page_size: int = Field(default=5000, ge=1, le=100_000)
    pause: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    statement_timeout: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    connect_timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))
    tail: dict[str, str] = Field(default_factory=dict)
    row_versions: bool = True
    tail_overlap: timedelta = Field(default=timedelta(minutes=2), ge=timedelta(0))
    sweep_every: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))

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
            if not _NAME.fullmatch(column) and column != CHANGE_TRACKING:
                raise ValueError(f"tail.{stream}: is a column's name such as LAST_UPDATED_DTTM, or `{CHANGE_TRACKING}`")
        return value

    @model_validator(mode="after")
    def _as_its_kind_has_it(self) -> Self:
        if self.kind == "oracle" and "." in (self.schema_name or ""):
            raise ValueError("schema: is one name on Oracle, the tables' owner, such as AP")
        if self.kind != "mssql" and CHANGE_TRACKING in self.tail.values():
            raise ValueError(f"tail: only SQL Server has {CHANGE_TRACKING}; name a column, or leave the stream to its sweep")
        return self

    def tracked(self, stream: str) -> bool:
        """Tell whether SQL Server's change tracking says which rows of a stream changed."""
        return self.tail.get(stream) == CHANGE_TRACKING

    @property
    def in_schema(self) -> str | None:
        """The schema for statements: none where the kind of database has none."""
        return None if self.kind in ("sqlite", "mysql", "mariadb") else self.schema_name

    @property
    def parsed_url(self) -> URL:
        """The URL with the driver that we read its kind of database with."""
        return self.login("").address

    @property
    def kind(self) -> str:
        """`postgresql`, `mysql`, `mariadb`, `sqlite`, `mssql` or `oracle`."""
        return self.login("").kind

    def login(self, where: str) -> SqlLogin:
        """The way to reach the database, for the adapter of that name: to read, and no more."""
        return SqlLogin(where, self.url, 4, self.statement_timeout, self.connect_timeout, read_only=True)


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
        self._login = settings.login(where)

    async def open(self) -> None:
        """
        Connect, to know at once whether it works.

        :raises UnavailableError: nobody answers.
        :raises MisconfiguredError: the URL, the driver or the login is wrong.
        """
        await self.close()
        self.engine = self._login.engine()
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
        try:
            async with asyncio.timeout(self._login.patience), self.engine.connect() as connection:
                with selecting(self.where, self._login.kind, about) if about else nullcontext(), self._whole(connection):
                    yield connection
        except (SQLAlchemyError, OSError, ImportError) as error:
            raise translated(error, self.where, about, self._login.user) from error

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


def unreadable(where: str, kind: str) -> UnreadValueError:
    """Make the error of a value that cannot be read; `kind` is the driver's word for what is wrong with it."""
    error = UnreadValueError(where, f"holds a value that cannot be read ({kind})", fix="correct it in the source")
    error.kind = kind
    return error


_DATA = (
    r"22...|1292|1300|1366|1411|1690|241|242|245|8114|8115|8134|could not decode"
    r"|ORA-01722|ORA-018\d\d|ORA-01426|ORA-06502|ORA-24347|ORA-29275|DPY-3022|DPY-4003|DPY-4004"
)
"""Codes of data that the database, or the driver for SQLite, fails at."""

_MEANINGS: list[Meaning] = [
    (
        r"42501|1044|1142|1143|1370|229|230|916|ORA-01031|ORA-41900",
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
        r"ORA-00942",  # Oracle does not say which of the two it is
        MisconfiguredError,
        "there is no such table, or we may not read it",
        "check `schema`, the tables' owner, and ask for GRANT SELECT ON {table} TO {user}",
    ),
    (
        r"ORA-00972|ORA-01948",
        MisconfiguredError,
        "a name is longer than the database takes",
        "read a view whose names are shorter",
    ),
    (
        r"42703|42S22|1054|207|no such column|ORA-00904",
        MisconfiguredError,
        "there is no such column",
        "ask the system's supplier in which version {table} has it",
    ),
    (
        r"42883|42P21|42P22|1267|1271|446|468|ORA-00932|ORA-12704|ORA-4391\d",
        MisconfiguredError,
        "the database does not compare its keys: they are of two types or collations",
        "read a view in which they are of one type and one collation",
    ),
]
"""The reading side gives these codes a meaning of its own, before the shared ones."""


def translated(error: BaseException, where: str, about: str = "", user: str = "") -> IronbridgeError:
    """Turn a driver's error into one of ours; `about` names the tables and `user` the login, for the advice."""
    if broken := next((code for code in sql.codes(error) if re.fullmatch(_DATA, code)), None):
        return unreadable(where, broken)
    return sql.translated(error, where, about, user, _MEANINGS)
