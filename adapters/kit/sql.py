"""
Reading any SQL database as it is: pages in the order of a key, SELECT and nothing else.

A page of records is one query, and one more for each kind of row that belongs to them, all in one short read-only
transaction; nothing is held open between two pages. Statements are SQLAlchemy Core, and stay within what PostgreSQL,
MariaDB, SQLite and SQL Server all understand.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, cast, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ColumnClause, FromClause, TableClause
from sqlalchemy.types import NULLTYPE, DateTime

from adapters.kit.sql_moments import Trusted, behind, moment
from adapters.kit.sql_session import Session, SqlSettings
from adapters.port import Page, Position, Record, Row, Sweep, Tail
from canonical.errors import IronbridgeError, MisconfiguredError
from canonical.finding import Finding
from canonical.key import KeysOf

log = logging.getLogger(__name__)

__all__ = ["Database", "Parts", "Reading", "SqlSettings", "beyond", "columns_read"]

_TAIL_PAGE = 1000
"""A tail's keys are scattered: their rows are asked for by a list, and SQL Server takes at most 2,100 parameters."""


@dataclass(frozen=True, slots=True)
class Parts:
    """
    Rows that belong to a record: they nest in its row, in `order`, as a tuple of tuples of `columns`.

    `owner` is the columns of `source` that hold the record's key. Where the rows hang on another column of the record,
    `source` joins the record's own table. `order` must leave no two rows of a record equal.
    """

    source: FromClause
    owner: tuple[ColumnElement[Any], ...]
    columns: tuple[ColumnElement[Any], ...]
    order: tuple[ColumnElement[Any], ...]
    where: ColumnElement[bool] | None = None

    def of_range(self) -> Select[Any]:
        """The rows of every record whose key lies between `low` and `high`."""
        return self._select(self.owner[0].between(bindparam("low"), bindparam("high")))

    def of_keys(self) -> Select[Any]:
        return self._select(self.owner[0].in_(bindparam("keys", expanding=True)))

    def _select(self, condition: ColumnElement[bool]) -> Select[Any]:
        statement = select(*self.owner, *self.columns).select_from(self.source).where(condition)
        statement = statement if self.where is None else statement.where(self.where)
        return statement.order_by(*self.owner, *self.order)


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What the records of a stream are read from. A row is `columns` (which begin with `key`), then one tuple a part.

    `keys` makes each record's canonical key of the columns of `key`. They are unique together, never null, and hold whole
    numbers, or text of a binary collation. Blanks at a text's end are no part of the key: they fill up a CHAR column.
    """

    keys: KeysOf
    source: FromClause
    key: tuple[ColumnElement[Any], ...]
    columns: tuple[ColumnElement[Any], ...]
    where: ColumnElement[bool] | None = None
    parts: tuple[Parts, ...] = ()

    def page(self, size: int, *, after: bool) -> Select[Any]:
        """The first records, or those behind the position `after_0`, `after_1` …"""
        condition = beyond(self.key, [bindparam(f"after_{n}") for n in range(len(self.key))]) if after else None
        return self._select(self.columns, condition).order_by(*self.key).limit(size)

    def changes(self, change: ColumnElement[Any], condition: ColumnElement[bool], size: int) -> Select[Any]:
        """The change column first, then the row exactly as the sweep reads it, for both feed one fingerprint."""
        return self._select((change, *self.columns), condition).order_by(change, *self.key).limit(size)

    def _select(self, columns: Sequence[ColumnElement[Any]], condition: ColumnElement[bool] | None) -> Select[Any]:
        conditions = [each for each in (self.where, condition) if each is not None]
        return select(*columns).select_from(self.source).where(*conditions)

    def __str__(self) -> str:
        return ", ".join(sorted({str(table) for table in columns_read([self])}))


def beyond(columns: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """
    Whether a row stands behind a position, column by column, for SQL Server has no `(a, b) > (x, y)`.

    The outer `a >= x` lets every planner seek in an index on the first column.
    """
    if len(columns) == 1:
        return columns[0] > values[0]
    return and_(columns[0] >= values[0], or_(columns[0] > values[0], beyond(columns[1:], values[1:])))


def columns_read(readings: Iterable[Reading]) -> dict[TableClause, set[str]]:
    """Every table that the readings ask for, with every column of it."""
    found: dict[TableClause, set[str]] = {}
    for reading in readings:
        for statement in (reading.page(1, after=False), *[part.of_range() for part in reading.parts]):
            for element in visitors.iterate(statement):
                if isinstance(element, ColumnClause) and isinstance(element.table, TableClause):
                    found.setdefault(element.table, set()).add(str(element.name))
    return found


class Database:
    """
    A database that is only ever read, by several streams at once if they like. `where` names its adapter in errors.

    Whatever goes wrong with the database leaves as `UnavailableError` or `MisconfiguredError`.
    """

    def __init__(self, where: str, settings: SqlSettings) -> None:
        self.where = where
        self.session = Session(where, settings)
        self._future: dict[str, int] = {}

    async def open(self) -> None:
        await self.session.open()

    async def close(self) -> None:
        await self.session.close()

    def sweep(self, reading: Reading) -> Sweep:
        """Everything in the order of the key; a cursor is the key of the last record."""
        return Sweep(lambda after: self._sweep(reading, after))

    def tail(self, reading: Reading, change: ColumnElement[Any], *, overlap: timedelta, every: timedelta) -> Tail:
        """
        Read the rows that `change` (a time, or a number that grows) shows to be new. A cursor holds its value, then the key.

        Times are read again from `overlap` before the cursor, and from an hour earlier still where the clocks go back (see
        `adapters.sql_moments`); numbers are read from the cursor's own. A time beyond the source's own clock moves no cursor.
        Rows without a value are left to the sweep, which comes `every` so often. A record's position is always the sweep's.
        """
        return Tail(lambda after: self._tail(reading, change, overlap, after), self.sweep(reading), every)

    async def check(self, readings: Sequence[Reading], filled: Sequence[TableClause] = ()) -> list[Finding]:
        """Look at every table and column of the readings, and whether the tables in `filled` hold a row."""
        if self.session.engine is None:
            try:
                await self.open()
            except IronbridgeError as error:
                await self.close()
                return [Finding(f"{self.where}: {error.what}", False, error.fix)]
        findings = [Finding(f"{self.where}: answers", True)]
        for table, names in sorted(columns_read(readings).items(), key=lambda item: str(item[0])):
            findings += await self._look_at(table, [table.c[name] for name in sorted(names)])
        findings += [finding for table in filled for finding in await self._look_for_a_row(table)]
        return findings

    async def _look_at(self, table: TableClause, columns: Sequence[ColumnElement[Any]]) -> list[Finding]:
        fault = await self._fault(table, columns)
        if fault is None:
            return [Finding(f"{table}: {len(columns)} columns can be read", True)]
        faults = [(column, await self._fault(table, [column])) for column in columns]
        missing = [(column, found) for column, found in faults if found is not None]
        if len(missing) in (0, len(columns)):
            return [Finding(fault.what, False, fault.fix)]
        return [
            Finding(found.what.replace(str(table), f"{table}.{column.key}", 1), False, found.fix)
            for column, found in missing
        ]

    async def _fault(self, table: TableClause, columns: Sequence[ColumnElement[Any]]) -> IronbridgeError | None:
        try:
            async with self.session.connection(str(table)) as connection:
                await connection.execute(select(*columns).select_from(table).where(false()))
        except IronbridgeError as error:
            return error
        return None

    async def _look_for_a_row(self, table: TableClause) -> list[Finding]:
        try:
            async with self.session.connection(str(table)) as connection:
                if (await connection.execute(select(*table.c).limit(1))).first() is not None:
                    return [Finding(f"{table}: has rows", True)]
        except IronbridgeError:
            return []  # that it cannot be read is a finding already
        fix = "ask the system's supplier to fill it: without it no code of this list can be translated"
        return [Finding(f"{table}: has no rows", False, fix)]

    async def _sweep(self, reading: Reading, after: Position | None) -> AsyncIterator[Page]:
        size, parts = self.session.settings.page_size, [part.of_range() for part in reading.parts]
        first, later, about = reading.page(size, after=False), reading.page(size, after=True), str(reading)
        while True:
            values = {f"after_{n}": value for n, value in enumerate(after or ())}
            async with self.session.connection(about) as connection:
                rows = [tuple(row) for row in await connection.execute(later if after else first, values)]
                if not rows:
                    return
                ends = {"low": rows[0][0], "high": rows[-1][0]}
                records = await _records(connection, reading, rows, parts, ends)
            after = records[-1].position
            yield Page(records, after)
            if len(rows) < size:
                return

    async def _tail(
        self, reading: Reading, change: ColumnElement[Any], overlap: timedelta, cursor: Position | None
    ) -> AsyncIterator[Page]:
        size, parts = min(self.session.settings.page_size, _TAIL_PAGE), [part.of_keys() for part in reading.parts]
        begins = None if cursor is None else behind(cursor[0], overlap, self.session.settings.zone)
        condition = change.is_not(None) if begins is None else change >= self._value(begins)
        last, about = None, str(reading)
        trusted = Trusted(await self._clock(about), cursor)
        while True:
            async with self.session.connection(about) as connection:
                found = [tuple(row) for row in await connection.execute(reading.changes(change, condition, size))]
                if not found:
                    break
                rows = [row[1:] for row in found]
                records = await _records(connection, reading, rows, parts, {"keys": [row[0] for row in rows]})
            here = (self._remembered(found[-1][0]), *records[-1].position)
            if here == last:  # the source compares its own value as if it were another
                fix = "take this stream out of `tail`: it is then read by sweeps alone"
                raise MisconfiguredError(self.where, f"{about}: cannot go on behind {change}", fix=fix)
            yield Page(records, trusted.cursor([self._remembered(row[0]) for row in found], records))
            if len(rows) < size:
                break
            last = here
            condition = beyond((change, *reading.key), [self._value(here[0]), *map(_untyped, here[1:])])
        self._report(about, str(change), trusted.future)

    async def _clock(self, about: str) -> datetime:
        """The time of the source's own clock: with a zone if the database gives one, else the local time as written there."""
        async with self.session.connection(about) as connection:
            shown = (await connection.execute(select(func.current_timestamp()))).scalar_one()
        return shown if isinstance(shown, datetime) else datetime.fromisoformat(str(shown))

    def _report(self, about: str, change: str, future: int) -> None:
        """Log once that so many rows claim to have changed in the future."""
        if future and self._future.get(about) != future:
            log.warning(
                "%s: %d rows of %s have a change time (%s) in the future of the source's own clock. They are read each time "
                "and move no cursor. To do: mend the times in the legacy system",
                self.where, future, about, change,
            )  # fmt: skip
        self._future[about] = future

    def _value(self, value: int | str) -> ColumnElement[Any]:
        """A value as the database compares it: SQLite keeps times as text, SQL Server rounds them to its DATETIME."""
        at, kind = moment(value), self.session.settings.kind
        if at is None or kind == "sqlite":
            return _untyped(value)
        return cast(_untyped(at), DateTime()) if kind == "mssql" else _untyped(at)

    def _remembered(self, value: object) -> int | str:
        if isinstance(value, int | str):
            return value
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, Decimal) and value == int(value):
            return int(value)
        fix = "name a column of times or whole numbers in `tail`, or leave the stream to its sweep"
        raise MisconfiguredError(self.where, f"a change column holds {type(value).__name__}", fix=fix)


async def _records(
    connection: AsyncConnection,
    reading: Reading,
    rows: Sequence[Row],
    parts: Sequence[Select[Any]],
    of: Mapping[str, Any],
) -> list[Record]:
    width, keys = len(reading.key), reading.keys
    groups = [_grouped(await connection.execute(statement, of), width) for statement in parts]
    if groups:
        rows = [(*row, *[tuple(group.get(row[:width], ())) for group in groups]) for row in rows]
    if width == 1 and type(rows[0][0]) is int:
        beginning = keys.beginning
        return [Record(f"{beginning}{row[0]}", (row[0],), row) for row in rows]
    positions = [tuple(_whole(value) for value in row[:width]) for row in rows]
    named = [keys.of(*[value.rstrip(" ") if isinstance(value, str) else value for value in each]) for each in positions]
    return [Record(*each) for each in zip(named, positions, rows, strict=True)]


def _grouped(found: Iterable[Any], width: int) -> dict[Row, list[Row]]:
    groups: dict[Row, list[Row]] = {}
    for row in map(tuple, found):
        groups.setdefault(row[:width], []).append(row[width:])
    return groups


def _whole(value: Any) -> int | str:
    return value if isinstance(value, str) else int(value)  # a NUMERIC key comes as a Decimal


def _untyped(value: object) -> ColumnElement[Any]:
    return bindparam(None, value, type_=NULLTYPE)  # the database then takes it for what the column is
