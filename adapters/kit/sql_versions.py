"""
Row versions as the cursor of a tail: numbers that the database itself gives a row each time it is written.

| database | row version | the lowest number of an open transaction |
|---|---|---|
| SQL Server | a column of the type `rowversion`, also called `timestamp` | MIN_ACTIVE_ROWVERSION() |
| SQL Server, tracked | what the database notes of the keys of changed rows (`adapters.kit.sql_tracking`) | none is needed |
| PostgreSQL | `xmin`, which every table has; a column of the type xid8 | the snapshot's xmin |
| MariaDB, MySQL, Oracle, SQLite | none that is read | |

A transaction takes its numbers when it writes, and shows its rows when it commits. So a row may come into sight behind rows
with higher numbers. Therefore a reading first asks for its horizon, the lowest number that an open transaction may have, and
its cursor never goes beyond it. Rows with higher numbers are read as soon as they are in sight, and again the next time.

A reading is a sweep of the changed rows alone, in the order of the key. A record also counts as changed if a row of one of its
parts changed. Nothing shows that a row is gone, be it a record's own, or a part's that was deleted or moved to another record:
the sweep behind the tail finds that. It finds changes in joined tables, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import (
    BINARY,
    BigInteger,
    ColumnClause,
    ColumnElement,
    Executable,
    Select,
    Text,
    Unicode,
    and_,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    select,
    table,
    union_all,
)
from sqlalchemy.sql.elements import quoted_name

from adapters.kit.sql_pages import Pages, swept, untyped
from adapters.kit.sql_reading import Reading, Tracked, Version
from adapters.kit.sql_session import SqlSession, SqlSettings
from adapters.kit.sql_tracking import notes_of, tables_of, untracked
from adapters.kit.sql_tracking import since as noted_since
from adapters.port import Page, Position
from canonical.errors import IronbridgeError, MisconfiguredError

BY_SWEEPS = "set `row_versions = false` in the adapter's section: the stream is then read by sweeps alone"

_OF_32_BITS = 2**32 - 1
_AMBIGUOUS = 2**31
"""PostgreSQL's xmin has 32 bits. Of two transactions further apart than this nobody can say which was first."""


class Horizon(NamedTuple):
    """
    Every transaction with a number lower than `below` has ended. `following` is the number of the next one, as far as the
    database counts transactions and not rows. A cursor lower than `oldest` says nothing any more.
    """

    below: int
    following: int
    oldest: int = 0


@dataclass(frozen=True, slots=True)
class Versioning:
    """
    A kind of row version. `since` is the condition of the rows with this number or a higher one; `horizon` asks for the two
    numbers of a `Horizon`, but of change tracking, whose horizon the notes say. A cursor older than `remembers` says nothing.
    """

    name: str
    horizon: Executable | None
    since: Callable[[Any, int, Horizon], ColumnElement[bool]]
    remembers: int = 2**62

    async def ask(self, session: SqlSession, about: str) -> Horizon:
        """:raises MisconfiguredError: the database only follows another one, and does not know what is open there."""
        assert self.horizon is not None  # noqa: S101 - for the type checker
        async with session.connection(about) as connection:
            below, following, writable = (await connection.execute(self.horizon)).one()
        if writable == "READ_ONLY":
            what = "the database is read-only, and says nothing of the transactions that are open in the one it follows"
            raise MisconfiguredError(session.where, what, fix=f"name the primary server in `url`, or {BY_SWEEPS}")
        return Horizon(int(below), int(following))

    def place(self, cursor: Position | None, horizon: Horizon) -> VersionPlace:
        """
        Give the place that a cursor stands for. A cursor of another kind of database, or of a database that was since put back
        to an earlier state, stands for the beginning.
        """
        kind, *numbers = cursor or ("",)
        match numbers if kind == self.name else []:
            case [int(since), int(until), *key] if 0 <= since <= until <= horizon.below and key:
                place = VersionPlace(since, until, tuple(key))
            case [int(since), *_]:
                place = VersionPlace(since)
            case _:
                return VersionPlace(0)
        told = since == 0 or (horizon.oldest <= since <= horizon.below and horizon.following - since < self.remembers)
        return place if told else VersionPlace(0)

    def cursor(self, *numbers: int | str) -> Position:
        return (self.name, *numbers)


class VersionPlace(NamedTuple):
    """
    Rows with a lower version than `since` were read (0: none). A reading that was stopped has read up to `key`, and its end
    would have brought `since` to `until`.
    """

    since: int
    until: int = 0
    key: Position = ()

    @property
    def next(self) -> VersionPlace:
        return VersionPlace(self.until)

    def to(self, horizon: Horizon) -> VersionPlace:
        return VersionPlace(self.since, horizon.below)


def changed(reading: Reading, since: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
    """The condition of the records whose own row, or a row of whose parts, is changed."""
    assert reading.version is not None  # noqa: S101 - for the type checker
    own = since(reading.version)
    parts = [(part, since(part.version)) for part in reading.parts if part.version is not None]
    if not parts:
        return own
    keys = [select(*reading.key).select_from(reading.version.table).where(own)]
    keys += [select(*part.owner).select_from(part.source).where(its) for part, its in parts]
    found = union_all(*keys).subquery("changed")
    return exists().where(and_(*[key == its for key, its in zip(reading.key, found.c, strict=True)]))


def row_version(version: bytes) -> ColumnElement[Any]:
    """A row version as SQL Server compares it with its own, by an index if there is one: a number would convert every row's."""
    return cast(cast(untyped(int.from_bytes(version)), BigInteger()), BINARY(len(version)))


def _since_rowversion(version: ColumnElement[Any], number: int, _: Horizon) -> ColumnElement[bool]:
    return version >= row_version(number.to_bytes(8))


def _since_xmin(version: ColumnElement[Any], number: int, horizon: Horizon) -> ColumnElement[bool]:
    """
    Compare by the distance from the next transaction, because xmin begins at zero again after 2^32. A row that was written so
    long ago may be taken for a new one and read once more; no new row is taken for an old one.
    """
    following = literal(horizon.following & _OF_32_BITS, BigInteger())
    distance = (following - cast(cast(version, Text()), BigInteger())).bitwise_and(literal(_OF_32_BITS, BigInteger()))
    return distance <= literal(horizon.following - number, BigInteger())


def _since_xid8(version: ColumnElement[Any], number: int, _: Horizon) -> ColumnElement[bool]:
    return version >= untyped(number)


def _since_noted(tracked: Tracked, number: int, _: Horizon) -> ColumnElement[bool]:
    return noted_since(tracked, number)


# MIN_ACTIVE_ROWVERSION is @@DBTS + 1 where no transaction is open. It speaks of the session's own database.
_ROWVERSIONS = select(
    cast(func.MIN_ACTIVE_ROWVERSION(), BigInteger()),
    cast(func.MIN_ACTIVE_ROWVERSION(), BigInteger()),
    cast(func.DATABASEPROPERTYEX(func.DB_NAME(), "Updateability"), Unicode(60)),
)
# The older names of pg_current_snapshot() and its like: all releases know them.
_SNAPSHOT = select(
    func.txid_snapshot_xmin(func.txid_current_snapshot()),
    func.txid_snapshot_xmax(func.txid_current_snapshot()),
    literal(""),
)

ROWVERSION = Versioning("rowversion", _ROWVERSIONS, _since_rowversion)
XMIN = Versioning("xmin", _SNAPSHOT, _since_xmin, remembers=_AMBIGUOUS)
XID8 = Versioning("xid8", _SNAPSHOT, _since_xid8)
TRACKING = Versioning("change tracking", None, _since_noted)

_XID, _XID8 = 28, 5069
"""PostgreSQL's numbers of these types (pg_type.oid)."""


async def versioning_of(session: SqlSession, version: Version) -> Versioning | None:
    """
    Tell of which kind the row versions in a column are. None if it holds none: then the database does not say which numbers are
    still to come.

    :raises MisconfiguredError: there is no such column, it lies in another database than the session, or the table is not
        tracked.
    """
    kind = session.settings.kind
    if isinstance(version, Tracked):
        insist_on_own_database(session.where, session.settings, version)
        for fault in untracked(session, await notes_of(session, [version.table])):
            raise fault
        return TRACKING
    if kind not in ("postgresql", "mssql"):
        return None
    async with session.connection(str(version.table)) as connection:
        result = await connection.execute(select(version).where(false()))
        code: object = result.cursor.description[0][1] if result.cursor is not None else None
        if kind == "postgresql":
            return XMIN if code == _XID and version.key == "xmin" else XID8 if code == _XID8 else None
        if code not in (bytes, bytearray) or (await connection.execute(type_of(version))).scalar() != "timestamp":
            return None
    insist_on_own_database(session.where, session.settings, version)
    return ROWVERSION


def insist_on_own_database(where: str, settings: SqlSettings, version: Version) -> None:
    """:raises MisconfiguredError: the table lies in another database of the server than the one that is asked for its horizon."""
    database, _, _ = (settings.in_schema or "").rpartition(".")
    if database and database.lower() != (settings.parsed_url.database or "").lower():
        fix = f"name the database {database} in `url` and leave it out of `schema`; or {BY_SWEEPS}"
        raise MisconfiguredError(where, f"{version}: its row versions are another database's", fix=fix)


def type_of(version: ColumnElement[Any]) -> Select[Any]:
    """Ask SQL Server of which type a column is: the driver calls a `binary(8)` the same, which a copy of a table may have."""
    database, _, schema = str(getattr(version.table, "schema", None) or "").rpartition(".")
    wanted = ("DATA_TYPE", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME")
    names: list[ColumnClause[Any]] = [column(quoted_name(each, quote=False)) for each in wanted]
    columns = table(quoted_name("COLUMNS", quote=False), *names, schema=f"{database}.INFORMATION_SCHEMA".lstrip("."))
    data_type, of_schema, of_table, its_name = columns.c
    named = schema or func.SCHEMA_NAME()
    return select(data_type).where(of_schema == named, of_table == str(version.table.name), its_name == version.key)


class VersionedChanges:
    """
    Reads the records that changed, by their row versions. `sweep` sweeps a reading from behind a place; its last argument says
    whether the keys are scattered.
    """

    def __init__(
        self, session: SqlSession, sweep: Callable[[Reading, Position | None, bool], AsyncIterator[Page]]
    ) -> None:
        self._session = session
        self._sweep = sweep
        self._versionings: dict[str, Versioning | None] = {}

    def forget(self) -> None:
        """Ask again of which kind the columns are."""
        self._versionings.clear()

    def know(self, reading: Reading) -> bool:
        return all(str(version) in self._versionings for version in reading.versions)

    async def versioning(self, version: Version) -> Versioning | None:
        """The kind of row version in a column, None if it holds none. The source is asked for it once."""
        if str(version) not in self._versionings:
            self._versionings[str(version)] = await versioning_of(self._session, version)
        return self._versionings[str(version)]

    async def pages(self, reading: Reading, cursor: Position | None) -> AsyncIterator[Page]:
        """
        Give the records that changed since a cursor (None: all).

        :raises MisconfiguredError: a column holds no row versions.
        """
        versioning, *_ = [await self._insisted(version) for version in reading.versions]
        horizon = await self._horizon(reading, versioning)
        place = versioning.place(cursor, horizon)
        if place.key:  # the end of a reading that was stopped; rows before its place may have changed since
            async for page in self._behind(reading, versioning, horizon, place):
                yield page
            place = place.next
        async for page in self._behind(reading, versioning, horizon, place.to(horizon)):
            yield page

    async def try_out(self, reading: Reading) -> None:
        """
        Ask for a record that has changed just now, with the statements of a tail.

        :raises IronbridgeError: one of them does not run.
        """
        versioning, *_ = [await self._insisted(version) for version in reading.versions]
        horizon = await self._horizon(reading, versioning)
        only = _only(reading, changed(reading, lambda version: versioning.since(version, horizon.below, horizon)))
        await Pages(self._session, only, scattered=True).read(swept(only, ()), 1)

    async def _horizon(self, reading: Reading, versioning: Versioning) -> Horizon:
        if versioning is not TRACKING:
            return await versioning.ask(self._session, str(reading))
        notes = await notes_of(self._session, tables_of(reading))
        for fault in untracked(self._session, notes):
            raise fault
        return Horizon(notes.last, notes.last, notes.oldest)

    async def _insisted(self, version: Version) -> Versioning:
        if (found := await self.versioning(version)) is None:
            raise without_versions(self._session.where, version)
        return found

    async def _behind(
        self, reading: Reading, versioning: Versioning, horizon: Horizon, place: VersionPlace
    ) -> AsyncIterator[Page]:
        """Sweep the changed rows behind a place. The last page's cursor is the place's end: all before it is read."""
        only, before = reading, None
        if place.since:
            new = changed(reading, lambda version: versioning.since(version, place.since, horizon))
            only = _only(reading, new)
        async for page in self._sweep(only, place.key or None, place.since > 0):
            if before is not None:
                yield before._replace(cursor=versioning.cursor(place.since, place.until, *before.cursor))
            before = page
        if before is not None:
            yield before._replace(cursor=versioning.cursor(place.until))


def _only(reading: Reading, new: ColumnElement[bool]) -> Reading:
    return replace(reading, where=new if reading.where is None else and_(reading.where, new))


def without_versions(where: str, version: Version) -> MisconfiguredError:
    return MisconfiguredError(where, f"{version}: holds no row versions", fix=BY_SWEEPS)


async def unfit_versions(session: SqlSession, reading: Reading) -> list[IronbridgeError]:
    """Tell which columns of a reading hold no row versions, though it asks for them."""
    faults: list[IronbridgeError] = []
    for version in reading.versions:
        try:
            if await versioning_of(session, version) is None:
                faults.append(without_versions(session.where, version))
        except IronbridgeError as error:
            faults.append(error)
    return faults
