"""Hostile values of every type of column, through every driver: only the hostile row is ever missing, and it is quarantined."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.engine.pump import Pump
from adapters.kit.rows import row_of
from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream
from adapters.testing.stand_ins import Log, MemoryJournal, MemoryMemory, MemoryState
from canonical import Identifier, Person, Supplier
from canonical.key import key_of
from tests.servers import MariaDB, Postgres


@row_of("tenants", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    surname: str | None
    born: date | None
    seen: datetime | None
    rent: Decimal | None
    share: float | None
    rooms: int | None
    alive: bool | None


def tenant(source: str, row: Tenant) -> Person:
    numbers = {"rent": row.rent, "share": row.share, "rooms": row.rooms, "seen": row.seen, "surname": row.surname}
    return Person(
        key=key_of(source, "person", row.tenant_no),
        birth_date=row.born,
        restricted=bool(row.alive),
        identifiers=tuple(Identifier(system=name, value=str(each)) for name, each in numbers.items() if str(each or "")),
    )


class Server(NamedTuple):
    """A database of one kind, and how to reach it."""

    kind: str
    url: str

    async def run(self, *statements: str) -> None:
        engine = create_async_engine(self.url)
        async with engine.connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
            await connection.commit()
        await engine.dispose()

    def adapter(self, *streams: SqlStream, page: int = 10, **more: object) -> SqlAdapter:
        given = {"url": SecretStr(self.url), "page_size": page, **more}
        return SqlAdapter("homes", SqlSettings.model_validate(given), streams)


class Council:
    """An adapter with what it has published and quarantined, read as often as a test likes."""

    def __init__(self, adapter: SqlAdapter) -> None:
        self.adapter, self.log, self.state = adapter, Log(), MemoryState()
        entities = [entity for stream in adapter.streams() for entity in stream.entities]
        memory = MemoryMemory(self.state)
        self.pump = Pump(adapter, MemoryJournal(self.log, "homes", entities), memory, edition="1", mean_region=8)

    async def read(self) -> None:
        for stream in self.adapter.streams():
            await self.pump.ready()
            await self.pump.read(stream)

    @property
    def published(self) -> set[str]:
        return set(self.log.state())

    @property
    def problems(self) -> dict[str, str]:
        return {key: each.what for found in self.state.streams.values() for key, each in found.problems.items()}


@pytest.fixture(
    params=["sqlite", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb", "ascii"))]
)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """Every driver; PostgreSQL also with a database that looks at no encoding."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            (tmp_path / "homes.db").touch()
            yield Server("sqlite", f"sqlite+aiosqlite:///{tmp_path / 'homes.db'}")
            return
        kind = "postgres" if request.param == "ascii" else request.param
        running: Postgres | MariaDB = request.getfixturevalue(kind)
        url = await stack.enter_async_context(running.database())
        if request.param == "ascii":
            engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                await connection.execute(text("DROP DATABASE IF EXISTS homes_ascii"))
                await connection.execute(
                    text("CREATE DATABASE homes_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
                )
            await engine.dispose()
            url = url.rpartition("/")[0] + "/homes_ascii"
        yield Server(kind, url)


TYPES = {
    "sqlite": ("TEXT", "DATE", "DATETIME", "NUMERIC", "DOUBLE", "INTEGER", "BOOLEAN"),
    "postgres": ("TEXT", "DATE", "TIMESTAMP", "NUMERIC", "DOUBLE PRECISION", "BIGINT", "BOOLEAN"),
    "mariadb": ("TEXT", "DATE", "DATETIME", "DECIMAL(60,20)", "DOUBLE", "BIGINT", "BIT(1)"),
}
NAMES = ("surname", "born", "seen", "rent", "share", "rooms", "alive")
ANY = ["'x'", "''", "x'ff00'", "9e999", "-1", "1.5", "'9'", "99999999999999999999", "'2024-99-99'", "'\x01'", "NULL"]
VALUES: dict[str, dict[str, list[str]]] = {
    # SQLite holds anything in any column.
    "sqlite": {name: [*ANY, "CAST(x'ff41' AS TEXT)", "CAST(x'0041' AS TEXT)"] for name in NAMES},
    "postgres": {
        "surname": ["''", "E'\\x01'", "repeat('x', 100000)", "E'\\n'"],
        "born": ["'20215-05-01'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'9999-12-31'"],
        "seen": ["'20215-05-01'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'0001-01-01'"],
        "rent": ["'NaN'", "'Infinity'", "1e5000", "-1e-5000"],
        "share": ["'NaN'", "'Infinity'", "'-Infinity'", "1e-300"],
        "rooms": ["9223372036854775807", "-9223372036854775808"],
        "alive": ["NULL"],
    },
    "mariadb": {
        "surname": ["''", "'a\\0\\0'", "'\\0'", "repeat('x', 60000)"],
        "born": ["'0000-00-00'", "'2024-00-00'", "'2024-02-30'", "'9999-12-31'", "'0000-01-01'"],
        "seen": ["'0000-00-00'", "'2024-00-00'", "'2024-02-30'", "'9999-12-31'", "'0000-01-01'"],
        "rent": ["-99999999999999999999999999", "0.00000000000000000001"],
        "share": ["1e308", "-1e-308"],
        "rooms": ["9223372036854775807", "-9223372036854775808"],
        "alive": ["b'1'", "b'0'", "NULL"],
    },
}  # fmt: skip
ONLY_ASCII = ["E'\\xff'", "E'\\xc3'", "E'a\\xe9b'"]


async def _tenants(server: Server, rows: int) -> None:
    """Tenants of whom nothing is strange."""
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(NAMES, TYPES[server.kind], strict=True))
    alive = {"sqlite": "1", "postgres": "true", "mariadb": "b'1'"}[server.kind]
    values = ", ".join(
        f"({n}, 'N{n}', '2001-02-03', '2024-05-06 07:08:09', 12.5, 0.5, 3, {alive})" for n in range(1, rows + 1)
    )
    await server.run(
        f"CREATE TABLE tenants (tenant_no BIGINT PRIMARY KEY, {columns})", f"INSERT INTO tenants VALUES {values}"
    )


def _key(number: int) -> str:
    return key_of("homes", "person", number)


@pytest.mark.parametrize("page", [3, 1000])
async def test_no_row_but_the_hostile_one_is_ever_missing(server: Server, page: int) -> None:
    """Every second row is hostile in its own way."""
    values = dict(VALUES[server.kind])
    if server.url.endswith("ascii"):
        values["surname"] = ONLY_ASCII
    hostile = [(name, value) for name, each in values.items() for value in each]
    rows = {2 * n: each for n, each in enumerate(hostile, 1)}
    everybody = {_key(n) for n in range(1, 2 * len(hostile) + 1)}
    await _tenants(server, 2 * len(hostile))
    loose = ["SET SESSION sql_mode = 'ALLOW_INVALID_DATES'"] if server.kind == "mariadb" else []
    await server.run(*loose, *(f"UPDATE tenants SET {name} = {value} WHERE tenant_no = {n}" for n, (name, value) in rows.items()))
    council = Council(server.adapter(SqlStream("tenants", tenant), page=page))
    for _ in range(2):
        await council.read()
        assert everybody - {_key(n) for n in rows} <= council.published
        assert council.published.isdisjoint(council.problems)
        assert council.published | council.problems.keys() == everybody
    assert not any("N2" in said for said in council.problems.values())
    right = {_key(n): rows[n] for n in rows if _key(n) in council.problems}
    assert all(value not in WELL for _, value in right.values()), right
    await server.run(*(f"UPDATE tenants SET {name} = NULL WHERE tenant_no = {n}" for n, (name, _) in rows.items()))
    await council.read()
    assert council.published == everybody
    assert not council.problems
    await council.pump.close()


WELL = ["NULL", "'0000-00-00'", "b'1'", "b'0'", "'a\\0\\0'", "'\\0'"]
"""Values that cost no row: a zero date is no date, a BIT is a flag, and NULs are taken out."""


# -- keys ----------------------------------------------------------------------------------------------------------


@row_of("firms", key=("company", "code"))
class Firm(NamedTuple):
    company: str
    code: str
    name: str


def firm(source: str, row: Firm) -> Supplier:
    key = key_of(source, "supplier", row.company.rstrip(" "), row.code.rstrip(" "))
    return Supplier(key=key, number=row.code, name=row.name)


@pytest.mark.parametrize("page", [1, 2, 100])
async def test_keys_of_two_texts_join_without_ambiguity_and_rows_without_a_key_are_named(server: Server, page: int) -> None:
    if server.url.endswith("ascii"):
        return
    await server.run(
        "CREATE TABLE firms (company VARCHAR(20), code CHAR(8), name VARCHAR(40))",
        "INSERT INTO firms VALUES ('A-1', '2', 'Ashgrove'), ('A', '1-2', 'Birchfield'), ('B', '1', 'Severn'), ('B', NULL, 'No')",
    )
    council = Council(server.adapter(SqlStream("firms", firm), page=page))
    await council.read()
    assert council.published == {"homes:supplier:A-1:2", "homes:supplier:A:1-2", "homes:supplier:B:1"}
    [said] = council.problems.values()
    assert "company, code: is empty" in said
    await council.pump.close()


async def test_a_row_without_a_key_stays_in_quarantine_for_as_long_as_it_is_there(server: Server) -> None:
    if server.url.endswith("ascii"):
        return
    await server.run(
        "CREATE TABLE firms (company VARCHAR(20), code CHAR(8), name VARCHAR(40))",
        "INSERT INTO firms VALUES ('A', '1', 'Ashgrove'), ('B', NULL, 'Birchfield')",
    )
    council = Council(server.adapter(SqlStream("firms", firm)))
    for _ in range(12):
        await council.read()
        assert len(council.problems) == 1
    await server.run("UPDATE firms SET code = '2' WHERE code IS NULL")
    await council.read()
    assert (council.published, council.problems) == ({"homes:supplier:A:1", "homes:supplier:B:2"}, {})
    await council.pump.close()
