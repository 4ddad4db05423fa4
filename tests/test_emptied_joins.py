"""A reference table, or a table of parts, is empty while it is rebuilt: nobody loses an address by that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import MetaData

from adapters.kit.sql import Choice, Joined, SqlAdapter, SqlSettings, SqlStream, Tables, row_of
from adapters.testing import Bench
from adapters.testing.sql_cases import EmptySystem, empty_system
from canonical import Address, Person
from canonical.key import key_of

PEOPLE = 594


@row_of("STREETS", key="street_no")
class Street(NamedTuple):
    street_no: int
    postcode: str
    name: str


@row_of("HOMES", key="home_no", of="resident_no", also={"street_no": int})
class HomeOf(NamedTuple):
    home_no: int
    number: str
    postcode: Joined[str | None]
    street: Joined[str | None]


@row_of("RESIDENTS", key="resident_no", also={"gp_no": int})
class Resident(NamedTuple):
    resident_no: int
    surname: str
    home: tuple[HomeOf, ...]


def residents(tables: Tables, _: SqlSettings) -> Choice:
    homes, streets = tables[HomeOf], tables[Street]
    joined = homes.outerjoin(streets, streets.c.STREET_NO == homes.c.STREET_NO)
    values = {"postcode": streets.c.POSTCODE, "street": streets.c.NAME}
    return Choice(parts={"home": Choice(source=joined, joined=values)})


def lines(home: HomeOf) -> tuple[str, ...]:
    return (home.number, home.street) if home.street else (home.number,)


def person(source: str, row: Resident) -> Person:
    homes = tuple(Address(lines=lines(each), postcode=each.postcode) for each in row.home)
    return Person(key=key_of(source, "person", row.resident_no), addresses=homes)


STREAM = SqlStream("residents", person, residents)


def settings(url: str) -> SqlSettings:
    return SqlSettings(url=SecretStr(url), page_size=100)


def made(schema: str | None) -> MetaData:
    tables = Tables(schema)
    STREAM.reading("x", tables, settings("sqlite://"))
    return tables.stand_in()


LOST = {"STREETS": ["emptied postcode", "shortened lines"], "HOMES": ["emptied addresses"]}
"""The kinds of loss for which everybody's change waits while a table is empty."""


async def rebuilt(system: EmptySystem, table: str) -> None:
    """A whole town is read; then the table is emptied, and filled again."""
    streets = [{"STREET_NO": n, "POSTCODE": f"SY1 {n}AA", "NAME": f"Elm Road {n}"} for n in range(9)]
    homes = [{"HOME_NO": n, "RESIDENT_NO": n, "STREET_NO": n % 9, "NUMBER": str(n)} for n in range(PEOPLE)]
    people = [{"RESIDENT_NO": n, "SURNAME": f"Ash {n}", "GP_NO": n % 5} for n in range(PEOPLE)]
    filled = {"STREETS": streets, "HOMES": homes, "RESIDENTS": people}
    await system.fill(filled)
    adapter = SqlAdapter("x", system.settings, [STREAM])
    bench = Bench(adapter)
    try:
        assert len(await bench.read()) == PEOPLE
        await system.run(f"DELETE FROM {{schema}}{table}")
        assert await bench.read() == []
        assert bench.waiting("residents") == {("", what): PEOPLE for what in LOST[table]}
        await system.fill(filled)
        assert await bench.read() == []
        assert bench.waiting("residents") == {}
    finally:
        await adapter.close()


@pytest.mark.parametrize("table", list(LOST))
@pytest.mark.parametrize("kind", ["sqlite", *[pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]])
def test_nobody_loses_an_address_while_a_table_that_is_joined_is_rebuilt(
    kind: str, table: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = None if kind == "sqlite" else request.getfixturevalue(kind).database
    with empty_system(server, tmp_path, settings, made) as system:
        asyncio.run(rebuilt(system, table))
