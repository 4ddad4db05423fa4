"""
Reading any SQL database as it is: pages in the order of a key, SELECT and nothing else.

An adapter declares its rows (`row_of`), maps each in one function, names both as a `SqlStream`, and is a `SqlAdapter`. A
page of records is one query, and one more for each kind of row that belongs to them, all in one short read-only
transaction; nothing is held open between two pages.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, cast, func, literal, select
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import DateTime

from adapters.kit.codes import CodeMap, CodesFromSettings, agreed
from adapters.kit.refresh import RefreshWindow
from adapters.kit.rows import Beside, Between, Joined, Soft, Spelt, code_maps_of, row_of
from adapters.kit.soft import softening
from adapters.kit.sql_check import (
    FILL,
    CodesGiven,
    insist,
    insist_on_no_zone,
    lacking,
    look,
    look_for_a_row,
    look_for_codes,
    look_for_one_moment,
    try_out,
)
from adapters.kit.sql_moments import Trusted, behind, moment, version, version_shown
from adapters.kit.sql_pages import FoundRows, Pages, Run, swept, untyped
from adapters.kit.sql_reading import Parts, Reading, Ways, beyond, columns_read
from adapters.kit.sql_session import SqlSession, SqlSettings
from adapters.kit.sql_tables import Choice, Tables
from adapters.kit.sql_versions import VersionedChanges, row_version, unfit_versions
from adapters.kit.streams import types_of
from adapters.kit.typed import Mapped
from adapters.port import Page, Position, Row, Stream, Sweep, Tail
from canonical.entity import Entity
from canonical.errors import IronbridgeError, MisconfiguredError
from canonical.finding import Finding
from canonical.key import KeysOf

log = logging.getLogger(__name__)
_NONE: Mapping[TableClause, str] = {}

__all__ = [
    "Beside",
    "Between",
    "Choice",
    "CodeMap",
    "CodesFromSettings",
    "Database",
    "Joined",
    "Parts",
    "Reading",
    "Soft",
    "Spelt",
    "SqlAdapter",
    "SqlSettings",
    "SqlStream",
    "Tables",
    "beyond",
    "columns_read",
    "row_of",
    "row_version",
]

_TAIL_PAGE = 1000
"""A tail's keys are scattered: their rows are asked for by a list, and SQL Server takes at most 2,100 parameters."""


_WITHOUT_VERSIONS = ("mysql", "mariadb")
"""These databases have no row versions of their own: a number that grows (a BIGINT) serves there."""


class Database:
    """
    A database that is only ever read, by several streams at once if they like. `where` names its adapter in errors. No page is
    read during the `window` in which the source is rebuilt.

    Whatever goes wrong with the database leaves as `UnavailableError` or `MisconfiguredError`.
    """

    def __init__(self, where: str, settings: SqlSettings, window: RefreshWindow | None = None) -> None:
        self.where = where
        self.session = SqlSession(where, settings)
        self._window = window
        self._future: dict[str, int] = {}
        self._lacking: dict[KeysOf, list[Parts]] = {}
        self._sound: set[tuple[KeysOf, str]] = set()  # the readings that came to their end the last time
        self._changes = VersionedChanges(self.session, self._sweep)

    async def open(self) -> None:
        self._sound.clear()
        self._lacking.clear()
        self._changes.forget()
        await self.session.open()

    async def close(self) -> None:
        await self.session.close()

    def sweep(self, reading: Reading) -> Sweep:
        """Everything in the order of the key; a cursor is the key of the last record."""
        return Sweep(lambda after: self._sweep(reading, after))

    def tail(self, reading: Reading, change: ColumnElement[Any], *, overlap: timedelta, every: timedelta) -> Tail:
        """
        Read the rows that `change` (a time, or a number or row version that grows) shows to be new. A cursor holds its value,
        then the key.

        Times are read again from `overlap` before the cursor, and from an hour earlier still where the clocks go back (see
        `adapters.kit.sql_moments`); numbers and row versions are read from the cursor's own. A time beyond the source's own clock
        moves no cursor. Rows without a value are left to the sweep, which comes `every` so often. A record's position is always
        the sweep's. Row versions of which the database says what is still to come are read as `tail_by_version` does.
        """
        return Tail(lambda after: self._tail(reading, change, overlap, after), self.sweep(reading), every)

    def tail_by_version(self, reading: Reading, *, every: timedelta) -> Tail:
        """
        Read the records whose row versions, or their parts', show them to be new. None is missed, however late its transaction
        commits (`adapters.kit.sql_versions` says why). The sweep comes `every` so often, for what is deleted.
        """
        return Tail(lambda after: self._changed(reading, after), self.sweep(reading), every)

    async def check(self, readings: Sequence[Reading], filled: Mapping[TableClause, str] = _NONE) -> list[Finding]:
        """Look at every table, column and type of the readings, and whether the tables in `filled` hold a row."""
        if self.session.engine is None:
            try:
                await self.open()
            except IronbridgeError as error:
                await self.close()
                return [Finding(f"{self.where}: {error.what}", False, error.fix)]
        try:
            there = [await self._there(reading) for reading in readings]
        except IronbridgeError as error:
            return [Finding(f"{self.where}: {error.what}", False, error.fix)]
        findings = [Finding(f"{self.where}: answers", True), *await look(self.session, there)]
        if all(finding.well for finding in findings):
            unfit = [fault for reading in there for fault in await unfit_versions(self.session, reading)]
            findings += [Finding(fault.what, False, fault.fix) for fault in unfit]
        if all(finding.well for finding in findings):
            findings += [finding for reading in there for finding in await self._tried(reading)]
        if any(reading.moves_to is not None for reading in there):
            findings += await look_for_one_moment(self.session)
        absent = [part.table for parts in self._lacking.values() for part in parts]
        findings += [Finding(f"{table}: is not there, and is not needed", True) for table in absent]
        return findings + [finding for table, fix in filled.items() for finding in await look_for_a_row(self.session, table, fix)]

    async def _tried(self, reading: Reading) -> list[Finding]:
        """Run the statements that a reading sends, and tell what is wrong with them."""
        try:
            if reading.versions:
                await self._changes.try_out(replace(reading, purged_to=None))
        except IronbridgeError as error:
            return [Finding(f"{reading}: {error.what}", False, error.fix)]
        return await try_out(self.session, reading)

    async def _there(self, reading: Reading) -> Reading:
        """The reading without the parts whose tables this source lacks and may lack. It is asked once, after `open`."""
        if not any(part.may_lack for part in reading.parts):
            return reading
        if reading.keys not in self._lacking:
            self._lacking[reading.keys] = await lacking(self.session, reading)
            for part in self._lacking[reading.keys]:
                log.warning("%s: %s is not there or cannot be read; the rest is read without it", self.where, part.table)
        gone = self._lacking[reading.keys]
        return replace(reading, parts=tuple(part for part in reading.parts if part not in gone)) if gone else reading

    async def _begin(self, reading: Reading, *more: ColumnElement[Any]) -> tuple[KeysOf, str]:
        """Look at what a reading asks for, unless it came to its end the last time: what does not fit is then named."""
        this = reading.keys, ", ".join(map(str, more))
        if this not in self._sound:
            await insist(self.session, replace(reading, columns=(*reading.columns, *more)))
        self._sound.discard(this)
        return this

    async def _sweep(self, reading: Reading, after: Position | None, scattered: bool = False) -> AsyncIterator[Page]:
        self._insist_on_other_hours()
        reading = await self._there(reading)
        size, pages = self.session.settings.page_size, Pages(self.session, reading, scattered)
        size = min(size, _TAIL_PAGE) if scattered else size
        this = await self._begin(reading)
        last: Row = await pages.place(after or ())
        while True:
            found = await pages.read(swept(reading, last), size, after or ())
            self._insist_on_other_hours()  # the rebuilding may have begun while the page was read
            if found.records:
                after = found.records[-1].position
                yield Page(found.records, after)
            if found.ended:
                break
            last = self._further(reading, last, found)
        if unnamed := await pages.unnamed():
            yield Page(unnamed, after or ())
        self._sound.add(this)

    def _insist_on_other_hours(self) -> None:
        if self._window is not None:
            self._window.insist_on_other_hours(self.where, self.session.settings.zone)

    def _further(self, reading: Reading, last: Row, found: FoundRows) -> Row:
        """The key to go on behind; the source may compare its own value as if it were another."""
        if found.last is None or found.last == last:
            columns = ", ".join(map(str, reading.key))
            what, fix = f"{columns}: cannot go on behind a key", "let the adapter's author name another key"
            raise MisconfiguredError(self.where, what, fix=fix)
        return found.last

    async def _changed(self, reading: Reading, cursor: Position | None) -> AsyncIterator[Page]:
        reading = replace(await self._there(reading), purged_to=None)
        if not self._changes.know(reading):
            await insist(self.session, reading)  # it names a column that is not there
        async for page in self._changes.pages(reading, cursor):
            yield page

    async def _tail(
        self, reading: Reading, change: ColumnElement[Any], overlap: timedelta, cursor: Position | None
    ) -> AsyncIterator[Page]:
        reading = replace(await self._there(reading), purged_to=None)
        size, pages = min(self.session.settings.page_size, _TAIL_PAGE), Pages(self.session, reading, scattered=True)
        begins = behind(cursor[0], overlap, self.session.settings.zone) if cursor else None
        condition = change.is_not(None) if begins is None else change >= self._value(begins)
        last, about, place = None, str(reading), cursor or ()
        this = await self._begin(reading, change)
        await insist_on_no_zone(self.session, change)
        if await self._changes.versioning(change) is not None:
            async for page in self._changed(replace(reading, version=change), cursor):
                yield page
            self._sound.add(this)
            return
        trusted = Trusted(await self._clock(about), cursor or None)

        def following(row: Row) -> Ways:
            return (beyond((change, *reading.key), [self._value(self._remembered(row[0])), *map(untyped, row[1:])]),)

        run = Run(reading, following, (condition,), (change,))
        while True:
            found = await pages.read(run, size)
            self._insist_on_other_hours()
            if found.last is not None and found.last == last:  # the source compares its own value as if it were another
                fix = "take this stream out of `tail`: it is then read by sweeps alone"
                raise MisconfiguredError(self.where, f"{about}: cannot go on behind {change}", fix=fix)
            if found.records:
                led = zip(found.leads, found.records, strict=True)
                changed = [(self._remembered(lead[0]), each) for lead, each in led if lead and lead[0] is not None]
                if changed:
                    place = trusted.cursor([value for value, _ in changed], [each for _, each in changed])
                yield Page(found.records, place)
            if found.ended or found.last is None:
                break
            last, run = found.last, run.after(found.last)
        self._report(about, str(change), trusted.future)
        self._sound.add(this)

    async def _clock(self, about: str) -> datetime:
        """The time of the source's own clock: with a zone if the database gives one, else the local time as written there."""
        async with self.session.connection(about) as connection:
            # A legacy system on Oracle writes SYSDATE, the time of the server; the other one is the session's.
            now = func.sysdate() if self.session.settings.kind == "oracle" else func.current_timestamp()
            shown = (await connection.execute(select(now))).scalar_one()
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
        """
        A value as the database compares it: SQLite keeps times as text, SQL Server rounds them to its DATETIME. On Oracle whole
        seconds are of its type DATE, for an index on a DATE is of no use to a TIMESTAMP.
        """
        at, kind = moment(value), self.session.settings.kind
        if (numbered := version(value)) is not None:
            return row_version(numbered) if kind == "mssql" else literal(numbered, LargeBinary())
        if at is None or kind == "sqlite":
            return untyped(value)
        whole = kind == "oracle" and at.tzinfo is None and not at.microsecond
        return cast(untyped(at), DateTime()) if kind == "mssql" or whole else untyped(at)

    def _remembered(self, value: object) -> int | str:
        if isinstance(value, int | str):
            return value
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, Decimal) and value == int(value):
            return int(value)
        if isinstance(value, bytes) and self.session.settings.kind not in _WITHOUT_VERSIONS and (shown := version_shown(value)):
            return shown
        fix = "name a column of times, whole numbers or row versions in `tail`, or leave the stream to its sweep"
        raise MisconfiguredError(self.where, f"a change column holds {type(value).__name__}", fix=fix)


@dataclass(frozen=True, slots=True)
class SqlStream:
    """
    A stream of rows that are declared with `row_of`.

    `map` is a function of a module, `def person(source: str, row: Tenant) -> Person`: its types say which rows are read and
    what they become. It depends on nothing else, and another process can import it. `source` is the adapter's name, the
    first part of every key. `choice` says which rows are read and what is joined to them, where it is not the whole table;
    it is given the tables and the adapter's settings. `prefix` is the one of `KeysOf`.
    """

    name: str
    map: Callable[[str, Any], Entity]
    choice: Callable[[Tables, Any], Choice] | None = None
    prefix: str = ""

    @property
    def row(self) -> type[tuple[Any, ...]]:
        return self._types()[0]

    @property
    def entity(self) -> type[Entity]:
        return self._types()[1]

    def reading(self, source: str, tables: Tables, settings: Any) -> Reading:
        choice = None if self.choice is None else self.choice(tables, settings)
        keys = KeysOf(source, self.entity.type_name, self.prefix)
        tracked = isinstance(settings, SqlSettings) and settings.tracked(self.name)
        return tables.reading(self.row, keys, choice, tracked=tracked)

    def _types(self) -> tuple[type[tuple[Any, ...]], type[Entity]]:
        return types_of(self.name, self.map)


class SqlAdapter:
    """
    A legacy system in one SQL database, read as its streams declare.

    `name` is the source in every key. `filled` are the row classes of tables without whose rows nothing can be translated, if
    need be with what is to be done about an empty one.
    During the `window` in which the source is rebuilt nothing is read. `given` are codes of the council's own in the settings,
    which `check` looks up in the source.
    """

    def __init__(
        self, name: str, settings: SqlSettings, streams: Sequence[SqlStream], *,
        filled: Sequence[type] | Mapping[type, str] = (), window: RefreshWindow | None = None,
        given: Sequence[CodesGiven] = (),
    ) -> None:  # fmt: skip
        self.name = name
        self.database = Database(name, settings, window)
        self.tables = Tables(settings.in_schema, settings.kind if settings.row_versions else None)
        self._settings, self._given = settings, given
        self._streams = {each.name: each for each in streams}
        self._filled = filled if isinstance(filled, Mapping) else dict.fromkeys(filled, FILL)
        if unknown := sorted(set(settings.tail) - set(self._streams)):
            fix = f"its streams are {', '.join(self._streams)}"
            raise MisconfiguredError(name, f"`tail` names no stream: {', '.join(unknown)}", fix=fix)
        self._codes = agreed(name, settings.codes, [codes for each in streams for codes in code_maps_of(each.row)])
        self.readings = {each.name: self._reading(each) for each in streams}
        """Give, by stream, the tables and columns that its rows come from."""

    def streams(self) -> Sequence[Stream]:
        return [self._stream(each) for each in self._streams.values()]

    async def open(self) -> None:
        await self.database.open()

    async def close(self) -> None:
        await self.database.close()

    async def check(self) -> Sequence[Finding]:
        """Look at every table, column and type of every stream, and at the lists that codes are translated by."""
        readings = dict(self.readings)
        for stream in self._by_a_column:
            readings[stream] = replace(readings[stream], columns=(*readings[stream].columns, self._change(stream)))
        filled = {self.tables[row]: fix for row, fix in self._filled.items()}
        findings = await self.database.check(list(readings.values()), filled)
        for given in self._given if self.database.session.engine is not None else ():
            findings += await look_for_codes(self.database.session, self.tables[given.row], given)
        return findings

    def _reading(self, declared: SqlStream) -> Reading:
        reading = declared.reading(self.name, self.tables, self._settings)
        return reading.unversioned() if declared.name in self._by_a_column else reading

    @property
    def _by_a_column(self) -> list[str]:
        """The streams whose changes a column of their table shows."""
        return [stream for stream in self._settings.tail if not self._settings.tracked(stream)]

    def _stream(self, declared: SqlStream) -> Stream:
        settings, reading = self._settings, self.readings[declared.name]
        how: Sweep | Tail = self.database.sweep(reading)
        if declared.name in self._by_a_column:
            change = self._change(declared.name)
            how = self.database.tail(reading, change, overlap=settings.tail_overlap, every=settings.sweep_every)
        elif reading.version is not None:
            how = self.database.tail_by_version(reading, every=settings.sweep_every)
        mapped = Mapped(declared.map, declared.row, self.name, settings.no_days, self._codes)
        softly = softening(mapped)
        return Stream(declared.name, (declared.entity,), mapped, how, settings.every, pause=settings.pause, softly=softly)

    def _change(self, stream: str) -> ColumnElement[Any]:
        return self.tables.column(self._streams[stream].row, self._settings.tail[stream])
