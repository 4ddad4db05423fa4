"""
This check tells whether a source has the tables, columns and types that the readings ask for, before anything is read.

Each table is asked for its columns once, with a condition that no row meets. Only if that fails is each column asked for
alone, to name the one that is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import TableClause

from adapters.kit.sql_pages import Pages, swept
from adapters.kit.sql_reading import Parts, Reading, columns_read
from adapters.kit.sql_session import SqlSession, UnreadValueError
from adapters.kit.sql_versions import BY_SWEEPS
from canonical.errors import IronbridgeError, MisconfiguredError
from canonical.finding import Finding

_NUMBERS, _TEXT, _TIMES = "numbers", "text", "dates"
_ZONED = "times whose zone Oracle's driver leaves out"
_FITTING: dict[type, set[str]] = {
    int: {_NUMBERS, _TEXT},
    float: {_NUMBERS, _TEXT},
    Decimal: {_NUMBERS, _TEXT},
    bool: {_NUMBERS, _TEXT},
    str: {_TEXT, _NUMBERS},
    date: {_TIMES, _TEXT},
    datetime: {_TIMES, _TEXT},
}
"""A column must hold one of these to be read as the type. Of dates and numbers kept as text, each row is read, or quarantined."""
_EXPECTED = {str: _TEXT, date: _TIMES, datetime: _TIMES, int: _NUMBERS, float: _NUMBERS, Decimal: _NUMBERS, bool: _NUMBERS}

_POSTGRES = {
    _NUMBERS: (16, 20, 21, 23, 26, 700, 701, 1700),
    _TEXT: (18, 19, 25, 1042, 1043, 2950),
    _TIMES: (1082, 1114, 1184),
}
"""PostgreSQL's numbers of its own types (pg_type.oid): they never change."""
_MARIADB = {_NUMBERS: (0, 1, 2, 3, 4, 5, 8, 9, 13, 246), _TEXT: (15, 247, 248, 253, 254), _TIMES: (7, 10, 12)}
"""The numbers of types in MariaDB's protocol; its TEXT has the number of a BLOB, and BIT comes as bytes: no word of them."""
_PYTHON = {_NUMBERS: (int, float, Decimal, bool), _TEXT: (str, UUID), _TIMES: (date, datetime)}
"""The driver for SQL Server names the Python type that it gives."""
_ORACLE = {
    _NUMBERS: ("NUMBER", "BINARY_FLOAT", "BINARY_DOUBLE", "BINARY_INTEGER", "BOOLEAN"),
    _TEXT: ("VARCHAR", "CHAR", "NVARCHAR", "NCHAR", "LONG", "LONG_NVARCHAR", "CLOB", "NCLOB"),
    _TIMES: ("DATE", "TIMESTAMP"),
    _ZONED: ("TIMESTAMP_TZ", "TIMESTAMP_LTZ"),
}
"""The driver's names of Oracle's types, without their `DB_TYPE_`."""
_CODES: dict[str, dict[object, str]] = {
    kind: {code: family for family, codes in families.items() for code in codes}
    for kind, families in (
        ("postgresql", _POSTGRES), ("mysql", _MARIADB), ("mariadb", _MARIADB), ("mssql", _PYTHON), ("oracle", _ORACLE),
    )
}  # fmt: skip
_SQLITE = (("INT", _NUMBERS), ("CHAR", _TEXT), ("CLOB", _TEXT), ("TEXT", _TEXT), ("BOOL", _NUMBERS), ("DATE", _TIMES),
           ("TIME", _TIMES), ("REAL", _NUMBERS), ("FLOA", _NUMBERS), ("DOUB", _NUMBERS), ("NUM", _NUMBERS),
           ("DEC", _NUMBERS))  # fmt: skip
"""Words in SQLite's declared types, the first that fits; it holds no column to them."""


async def look(session: SqlSession, readings: Iterable[Reading]) -> list[Finding]:
    """Look at every table, column and type that the readings ask for."""
    findings = []
    readings = list(readings)
    for table, columns, faults in await _looked_at(session, readings):
        findings += [Finding(fault.what, False, fault.fix) for fault in faults] or [
            Finding(f"{table}: {columns} columns can be read", True)
        ]
    if all(finding.well for finding in findings):
        found = [fault for reading in readings for fault in await _unfit_keys(session, reading)]
        findings += [Finding(fault.what, False, fault.fix) for fault in found]
    return findings


async def try_out(session: SqlSession, reading: Reading) -> list[Finding]:
    """Run the very statements of a sweep and of a tail over one row and the next, and tell what does not run."""
    try:
        found = await Pages(session, reading).read(swept(reading, ()), 1)
        if found.last is not None:
            await Pages(session, reading).read(swept(reading, found.last), 1)
            await Pages(session, reading, scattered=True).read(swept(reading, ()), 1)
    except UnreadValueError:
        return []  # that is for the reading to name
    except IronbridgeError as error:
        return [Finding(error.what, False, error.fix)]
    return []


async def insist(session: SqlSession, reading: Reading) -> None:
    """
    Look at everything that one reading asks for, before it is read for the first time.

    :raises MisconfiguredError: a table, a column or its type is not what the reading asks for.
    :raises UnavailableError: the source cannot answer now.
    """
    for _, _, faults in await _looked_at(session, [reading]):
        for fault in faults:
            raise fault
    for fault in await _unfit_keys(session, reading):
        raise fault


async def lacking(session: SqlSession, reading: Reading) -> list[Parts]:
    """
    The parts whose tables the source does not have, of those that it need not have.

    :raises UnavailableError: the source cannot answer now.
    """
    found = []
    for part in reading.parts:
        if part.may_lack:
            own = [column for column in (*part.owner, *part.columns) if getattr(column, "table", None) is part.table]
            answer = await _asked(session, part.table, own)
            if isinstance(answer, MisconfiguredError):
                found.append(part)
            elif isinstance(answer, IronbridgeError):
                raise answer
    return found


_WITHOUT_ZONE = "read a view in which the column is CAST(… AT TIME ZONE 'Europe/London' AS TIMESTAMP)"

FILL = "ask the system's supplier to fill it: without it no code of this list can be translated"


async def look_for_a_row(session: SqlSession, table: TableClause, fix: str) -> list[Finding]:
    """Look whether a table holds anything, such as a list that codes are translated by."""
    try:
        async with session.connection(str(table)) as connection:
            if (await connection.execute(select(*table.c).limit(1))).first() is not None:
                return [Finding(f"{table}: has rows", True)]
    except IronbridgeError:
        return []  # that it cannot be read is a finding already
    return [Finding(f"{table}: has no rows", False, fix)]


class CodesGiven(NamedTuple):
    """
    Codes that a setting gives, by purpose, and the row class of a table, of one column, in which the source has them. `place` is
    the word for the source.
    """

    setting: str
    codes: Mapping[str, Sequence[int | str]]
    row: type
    place: str = "source"


async def look_for_codes(session: SqlSession, table: TableClause, given: CodesGiven) -> list[Finding]:
    """Look whether the table holds every code. A purpose without a code is told; nothing is read for it."""
    setting, purposes, _, place = given
    named = {purpose: f"{setting}.{purpose}" if purpose else setting for purpose in purposes}
    idle = [named[purpose] for purpose, codes in purposes.items() if purpose and not codes]
    findings = [Finding(f"{name}: names nothing, and nothing is read for it", True) for name in idle]
    wanted = {str(code).upper(): named[purpose] for purpose, codes in purposes.items() for code in codes}
    if not wanted:
        return findings
    try:
        async with session.connection(str(table)) as connection:
            there = {str(code).strip().upper() for code in (await connection.execute(select(*table.c))).scalars()}
    except IronbridgeError as error:
        return [*findings, Finding(error.what, False, error.fix)]
    fix = f"take the codes from {table}, as the council's own {place} has them"
    strange = [(name, code) for code, name in wanted.items() if code not in there]
    return findings + [Finding(f"{name}: {table} has no {code}", False, fix) for name, code in strange]


ONE_MOMENT = text(
    "SELECT CASE WHEN is_read_committed_snapshot_on = 1 OR DATABASEPROPERTYEX(name, 'Updateability') = 'READ_ONLY' "
    "THEN 1 ELSE 0 END FROM sys.databases WHERE name = DB_NAME()"
)
"""Asks SQL Server whether each statement sees the database as it was at one moment."""


async def look_for_one_moment(session: SqlSession) -> list[Finding]:
    """Look whether a row that moves from table to table could be missed. Only SQL Server may read so that it is."""
    if session.settings.kind != "mssql":
        return []
    try:
        async with session.connection("sys.databases") as connection:
            if (await connection.execute(ONE_MOMENT)).scalar_one():
                return [Finding(f"{session.where}: a statement sees one moment", True)]
    except IronbridgeError as error:
        return [Finding(f"{session.where}: {error.what}", False, error.fix)]
    what = f"{session.where}: a row that moves to another table while both are read may be missed, and counts as deleted then"
    fix = "ask for READ_COMMITTED_SNAPSHOT, or let `url` name a readable secondary (ApplicationIntent=ReadOnly)"
    return [Finding(what, False, fix)]


async def _looked_at(session: SqlSession, readings: list[Reading]) -> list[tuple[str, int, list[IronbridgeError]]]:
    """Each table's name, the number of its columns that are read, and what is wrong with them."""
    kinds = {place: kind for reading in readings for place, kind in reading.kinds.items()}
    versions = {str(version) for reading in readings for version in reading.versions}
    found = []
    for table, names in sorted(columns_read(readings).items(), key=lambda item: str(item[0])):
        columns = [table.c[name] for name in sorted(names)]
        found.append((str(table), len(columns), await _faults(session, table, columns, kinds, versions)))
    return found


async def _faults(
    session: SqlSession,
    table: TableClause,
    columns: Sequence[ColumnElement[Any]],
    kinds: Mapping[str, type],
    versions: Collection[str],
) -> list[IronbridgeError]:
    if longer := list(_too_long(session, table, columns)):
        return longer
    held = await _asked(session, table, columns)
    if not isinstance(held, IronbridgeError):
        return [fault for name, family in held.items() if (fault := _unfit(session.where, table, name, family, kinds))]
    answers = [(column, await _asked(session, table, [column])) for column in columns]
    alone = [(column, answer) for column, answer in answers if isinstance(answer, IronbridgeError)]
    if len(alone) in (0, len(columns)):
        return [held]  # it is the table's own fault, or has passed
    return [
        type(fault)(
            session.where,
            fault.what.replace(str(table), f"{table}.{column.key}", 1),
            fix=BY_SWEEPS if str(column) in versions else fault.fix,
        )
        for column, fault in alone
    ]


_LONGEST = {"postgresql": 63, "mysql": 64, "mariadb": 64, "mssql": 128, "oracle": 128}
"""Longer names are not kept, or not taken. Oracle before 12.2 takes 30: its driver says so."""


def _too_long(
    session: SqlSession, table: TableClause, columns: Sequence[ColumnElement[Any]]
) -> Iterator[IronbridgeError]:
    kind, dialect = session.settings.kind, session.engine.dialect if session.engine is not None else None
    most = _LONGEST.get(kind, 2**31)
    most = min(most, dialect.max_identifier_length) if kind == "oracle" and dialect is not None else most
    names = {str(table): str(table.name)} | {f"{table}.{column.key}": str(column.key) for column in columns}
    for place, name in names.items():
        if len(name.encode()) > most:
            what, fix = f"its name has {len(name.encode())} bytes, and {kind} takes {most}", "read a view whose names are shorter"
            yield MisconfiguredError(session.where, f"{place}: {what}", fix=fix)


async def _asked(
    session: SqlSession, table: TableClause, columns: Sequence[ColumnElement[Any]]
) -> dict[str, str] | IronbridgeError:
    """Tell for each column whether it holds numbers, text or dates, as far as the driver says; or why it cannot be read."""
    names = [str(column.key) for column in columns]
    try:
        async with session.connection(str(table)) as connection:
            if session.settings.kind == "sqlite":
                await connection.execute(select(*columns).select_from(table).where(false()))
                return await _in_sqlite(connection, table, names)
            result = await connection.execute(select(*columns).select_from(table).where(false()))
            described = result.cursor.description if result.cursor is not None else None
            codes = _CODES[session.settings.kind]
            told = [(name, _code(column[1])) for name, column in zip(names, described or (), strict=False)]
            return {name: codes[code] for name, code in told if code in codes}
    except IronbridgeError as error:
        return error


def _code(told: object) -> object:
    """A driver's word for a column's type; Oracle's driver has an object with a name."""
    return str(told.name).removeprefix("DB_TYPE_") if type(told).__name__ == "DbType" and hasattr(told, "name") else told


async def insist_on_no_zone(session: SqlSession, change: ColumnElement[Any]) -> None:
    """
    Look whether a tail can go by a column's times.

    :raises MisconfiguredError: the driver leaves their zone out, so that a later one may look earlier.
    """
    if session.settings.kind != "oracle":
        return
    held = await _asked(session, change.table, [change])
    if not isinstance(held, IronbridgeError) and _ZONED in held.values():
        raise MisconfiguredError(session.where, f"{change}: holds {_ZONED}", fix=_WITHOUT_ZONE)


async def _in_sqlite(connection: AsyncConnection, table: TableClause, names: Sequence[str]) -> dict[str, str]:
    """Read what SQLite's own declarations say. It keeps any value in any column, so that a column without a type fits all."""
    info = func.pragma_table_info(str(table.name)).table_valued("name", "type")
    declared = {str(name).lower(): str(kind).upper() for name, kind in await connection.execute(select(info))}
    fitting = {name: [f for word, f in _SQLITE if word in declared.get(name.lower(), "")] for name in names}
    return {name: families[0] for name, families in fitting.items() if families}


async def _unfit_keys(session: SqlSession, reading: Reading) -> list[IronbridgeError]:
    """Tell what is wrong with the keys of a reading: we have to find them equal where the database does."""
    try:
        async with session.connection(str(reading)) as connection:
            statement = reading.select(reading.key, order=reading.key, size=1)
            first = (await connection.execute(statement)).first() or ()
        faults: list[IronbridgeError] = []
        faults += [fault for each in zip(reading.key, first, strict=False) if (fault := _no_key(session, *each))]
        if faults or not reading.parts:
            return faults
        its = await _held(session, reading.key)
        return [fault for part in reading.parts for fault in await _unfit_owner(session, reading, its, part)]
    except UnreadValueError:
        return []  # that is for the reading to name
    except IronbridgeError as error:
        return [error]


def _no_key(session: SqlSession, column: ColumnElement[Any], value: object) -> MisconfiguredError | None:
    if value is None or isinstance(value, int | str | Decimal | UUID):
        return None
    kind = _NO_KEYS.get(type(value), type(value).__name__)
    fix = "let the adapter's author name another key, or read a view in which it is text or a whole number"
    return MisconfiguredError(session.where, f"{column}: holds {kind}, which are no key", fix=fix)


_NO_KEYS: dict[type, str] = {
    float: "numbers that are not exact", bytes: "bytes", date: "dates", datetime: "times", timedelta: "times of day",
}  # fmt: skip


async def _unfit_owner(session: SqlSession, reading: Reading, its: list[str], part: Parts) -> list[IronbridgeError]:
    """Tell why the rows of a part would not be found, although they belong to a record. `its` is what the record's key holds."""
    for key, owner, key_holds, owner_holds in zip(reading.key, part.owner, its, await _held(session, part.owner), strict=False):
        if key_holds and owner_holds and key_holds != owner_holds:
            fix = "read a view in which both are of one type: they have to be equal for the database and for us"
            what = f"{owner}: holds {owner_holds}, and {key} holds {key_holds}"
            return [MisconfiguredError(session.where, what, fix=fix)]
    if _TEXT not in its:
        return []
    async with session.connection(f"{reading}, {part.source}") as connection:
        await connection.execute(part.beside(reading.key).of(false()))
    return []


async def _held(session: SqlSession, columns: Sequence[ColumnElement[Any]]) -> list[str]:
    """
    Tell what each column holds, empty where nobody says. The columns of a key may be of several tables.

    :raises IronbridgeError: one of them cannot be asked for.
    """
    held: dict[tuple[object, str], str] = {}
    for there in {column.table: None for column in columns if isinstance(getattr(column, "table", None), TableClause)}:
        answer = await _asked(session, there, [column for column in columns if column.table is there])
        if isinstance(answer, IronbridgeError):
            raise answer
        held |= {(there, name): family for name, family in answer.items()}
    return [held.get((getattr(column, "table", None), str(column.key)), "") for column in columns]


def _unfit(
    where: str, table: TableClause, name: str, family: str, kinds: Mapping[str, type]
) -> MisconfiguredError | None:
    """The error of a column that holds something else than it is declared with."""
    kind = kinds.get(f"{table}.{name}", object)
    if family in _FITTING.get(kind, {family}):
        return None
    fix = f"see that {table} is the right table; if it is, let the adapter's author declare {name.lower()} as it is there"
    fix = _WITHOUT_ZONE if family == _ZONED else fix
    return MisconfiguredError(where, f"{table}.{name}: holds {family} instead of {_EXPECTED[kind]}", fix=fix)
