"""Hostile values of every type of column, through every driver: only the hostile row is ever missing, and it is quarantined."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from adapters.kit.rows import row_of
from adapters.kit.sql import SqlStream
from adapters.kit.sql_pages import Pages
from adapters.port import Row, Sweep
from canonical import Identifier, Person
from canonical.key import key_of
from tests.councils import Council, Server


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
async def test_no_row_but_the_hostile_one_is_ever_missing(any_server: Server, page: int) -> None:
    """Every second row is hostile in its own way."""
    server = any_server
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


GOES = "DELETE FROM tenants WHERE tenant_no = 3"
MENDED = "UPDATE tenants SET surname = 'New', born = '1999-09-09' WHERE tenant_no = 3"


@pytest.mark.parametrize("change", [GOES, MENDED])
@pytest.mark.parametrize("server", ["sqlite", pytest.param("postgres", marks=pytest.mark.servers)], indirect=True)
async def test_a_row_that_changes_while_it_is_looked_into_is_never_read_as_two(
    server: Server, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of the questions that are asked about a row that cannot be read, it goes, or is mended."""
    hostile = {"sqlite": "surname = CAST(x'ff41' AS TEXT)", "postgres": "born = '20215-05-01'"}[server.kind]
    asked, one = 0, Pages._one

    async def and_then(pages: Pages, *given: Any) -> Row | None:
        nonlocal asked
        try:
            return await one(pages, *given)
        finally:
            asked += 1
            if asked == at:
                await server.run(change)

    monkeypatch.setattr(Pages, "_one", and_then)
    read_whole = 0
    for at in range(1, 14):
        asked = 0
        await server.run("DROP TABLE IF EXISTS tenants")
        await _tenants(server, 6)
        await server.run(f"UPDATE tenants SET {hostile} WHERE tenant_no = 3")
        rows = await _rows(server)
        assert rows.keys() >= {1, 2, 4, 5, 6}
        assert all(row[1] == f"N{number}" for number, row in rows.items() if number != 3)
        if type(third := rows.get(3)) is tuple:
            assert (third[1], str(third[2])[:10]) == ("New", "1999-09-09")
            read_whole += 1
        if asked < at:
            break
    assert 3 <= asked < at
    assert (read_whole > 0) == (change == MENDED)


async def _rows(server: Server) -> dict[int, Row]:
    adapter = server.adapter(SqlStream("tenants", tenant), page=4)
    await adapter.open()
    reading = adapter.streams()[0].reading
    assert isinstance(reading, Sweep)
    rows = {record.row[0]: record.row async for page in reading.pages(None) for record in page.records}
    await adapter.close()
    return rows
