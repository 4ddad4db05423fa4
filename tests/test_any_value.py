"""Any value in any column, through every driver: the others are always published, and nothing but the hostile row is left out."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.rows import row_of
from adapters.kit.sql import SqlStream
from canonical import Identifier, Person
from canonical.key import key_of
from tests.councils import Council, Server


@row_of("notes", key="note_no", of="tenant_no")
class Note(NamedTuple):
    said: str | None
    dated: date | None


@row_of("tenants", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    surname: str | None
    code: str | None
    ref: str | None
    born: date | None
    seen: datetime | None
    stamped: datetime | None
    rent: Decimal | None
    share: float | None
    ratio: float | None
    rooms: int | None
    floor: int | None
    alive: bool | None
    flag: bool | None
    notes: tuple[Note, ...]


def tenant(source: str, row: Tenant) -> Person:
    told = dict(zip(Tenant._fields[1:-1], row[1:-1], strict=True))
    numbers = tuple(Identifier(system=name, value=str(each)[:60]) for name, each in told.items() if str(each or "").strip())
    notes = tuple(Identifier(system="note", value=note.said[:60]) for note in row.notes if (note.said or "").strip())
    return Person(key=key_of(source, "person", row.tenant_no), birth_date=row.born, identifiers=numbers + notes)


TYPES = {
    "sqlite": dict.fromkeys(Tenant._fields[1:-1], ""),
    "postgres": {
        "surname": "TEXT", "code": "CHAR(9)", "ref": "UUID", "born": "DATE", "seen": "TIMESTAMP", "stamped": "TIMESTAMPTZ",
        "rent": "NUMERIC", "share": "DOUBLE PRECISION", "ratio": "REAL", "rooms": "BIGINT", "floor": "SMALLINT",
        "alive": "BOOLEAN", "flag": "BIT(1)",
    },
    "mariadb": {
        "surname": "TEXT", "code": "CHAR(9)", "ref": "UUID", "born": "DATE", "seen": "DATETIME(6)",
        "stamped": "TIMESTAMP(6) NULL", "rent": "DECIMAL(60,20)", "share": "DOUBLE", "ratio": "FLOAT", "rooms": "BIGINT",
        "floor": "YEAR", "alive": "BIT(1)", "flag": "TINYINT",
    },
}  # fmt: skip
"""SQLite takes any value in any column, the others what their types hold."""
YEARS = st.one_of(st.integers(1, 9999), st.integers(-4713, 294276), st.sampled_from([0, 1, 9999, 10000, 20215]))


def _quoted(written: str) -> str:
    return "'" + written.replace("\\", "\\\\").replace("'", "''").replace("\0", "") + "'"


def _dated(year: int, rest: str) -> str:
    return f"'{abs(year):04}-{rest}{' BC' if year < 0 else ''}'"


TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(max_codepoint=31), max_size=9),
    st.from_regex(r"[0-9.,eE+:/-]{1,12}", fullmatch=True),
).map(_quoted)
BYTES = st.binary(max_size=8).map(lambda raw: f"x'{raw.hex()}'")
NUMBERS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda n: format(n, "e")),
    st.sampled_from(["1e400", "-1e400", "1e-400", "0", "1", "2", "9007199254740993", "'NaN'", "'Infinity'", "'-Infinity'"]),
)
DAYS = ["01-01", "02-30", "00-00", "12-31", "99-99", "12-31 23:59:59.999999", "12-31 24:00:00", "01-01 00:00:00+14"]
DATES = st.one_of(
    st.builds(_dated, YEARS, st.sampled_from(DAYS)),
    st.sampled_from(["'infinity'", "'-infinity'", "'0000-00-00'", "'0000-00-00 00:00:00'"]),
)
BITS = st.sampled_from(["b'0'", "b'1'", "true", "false", "B'1'", "B'0'"])
UUIDS = st.uuids().map(lambda each: f"'{each}'")
ANYTHING = st.one_of(st.just("NULL"), TEXTS, BYTES, NUMBERS, DATES, BITS, UUIDS)
FITTING = [
    (["surname", "code", "said"], TEXTS), (["born", "seen", "stamped", "dated"], DATES),
    (["rent", "share", "ratio", "rooms", "floor"], NUMBERS), (["alive", "flag"], BITS),
    ([*Tenant._fields[1:-1], "said", "dated"], ANYTHING),
]  # fmt: skip
HOSTILE = st.lists(
    st.one_of([st.tuples(st.sampled_from(names), values) for names, values in FITTING]), min_size=1, max_size=12
)
"""A column for each second row, and what is written into it."""

slow_but_few = settings(
    max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


async def _write(server: Server, hostile: list[tuple[str, str]]) -> None:
    """Tenants of whom every second one is hostile. A value that the source itself refuses is in no source."""
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES[server.kind].items())
    text, day = ("", "") if server.kind == "sqlite" else ("TEXT", "DATE")
    numbers = range(1, 2 * len(hostile) + 2)
    await server.run(
        "DROP TABLE IF EXISTS tenants", "DROP TABLE IF EXISTS notes",
        f"CREATE TABLE tenants (tenant_no BIGINT PRIMARY KEY, {columns})",
        f"CREATE TABLE notes (note_no INT, tenant_no BIGINT, said {text}, dated {day})",
        f"INSERT INTO tenants (tenant_no, surname) VALUES {', '.join(f'({n}, {n})' for n in numbers)}",
        f"INSERT INTO notes VALUES {', '.join(f'(1, {n}, {n}, NULL)' for n in numbers)}",
    )  # fmt: skip
    engine = create_async_engine(server.url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        if server.kind == "mariadb":
            await connection.exec_driver_sql("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        for n, (name, value) in enumerate(hostile, 1):
            table = "notes" if name in Note._fields else "tenants"
            try:
                written = value if server.kind == "sqlite" else value.replace("%", "%%")
                await connection.exec_driver_sql(f"UPDATE {table} SET {name} = {written} WHERE tenant_no = {2 * n}")
            except (SQLAlchemyError, UnicodeError, ValueError):
                continue
    await engine.dispose()


@slow_but_few
@given(hostile=HOSTILE, page=st.sampled_from([1, 5, 1000]))
async def test_no_row_but_the_hostile_one_is_ever_missing(any_server: Server, hostile: list[tuple[str, str]], page: int) -> None:
    await _write(any_server, hostile)
    everybody = {key_of("homes", "person", n) for n in range(1, 2 * len(hostile) + 2)}
    suspects = {key_of("homes", "person", 2 * n) for n in range(1, len(hostile) + 1)}
    council = Council(any_server.adapter(SqlStream("tenants", tenant), page=page))
    for _ in range(2):
        await council.read()
        assert council.published.isdisjoint(council.problems)
        assert council.published | council.problems.keys() == everybody
        assert council.problems.keys() <= suspects, council.problems
    await council.pump.close()
