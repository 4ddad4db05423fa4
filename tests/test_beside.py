"""A column of another table is looked up by its key where the field is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.sql import Beside, SqlAdapter, SqlSettings, SqlStream, Tables, row_of
from canonical import Name, Person
from canonical.errors import MisconfiguredError
from canonical.key import KeysOf, key_of


@row_of("BERTH", key=("pier", "number"))
class Berth(NamedTuple):
    pier: int
    number: int
    called: str | None
    depth: float | None


@row_of("CREW", key="crew_no", of="boat_no", also={"pier": int, "home_number": int})
class Crew(NamedTuple):
    surname: str | None
    lodges: Annotated[str | None, Beside(Berth, "called", by=("pier", "home_number"))]


@row_of("BOAT", key="boat_no", also={"pier": int, "berth": int})
class Boat(NamedTuple):
    boat_no: int
    lies: Annotated[str | None, Beside(Berth, "called", by=("pier", "berth"))]
    depth: Annotated[float | None, Beside(Berth, "depth", by=("pier", "berth"))]
    crew: tuple[Crew, ...]


@row_of("BOAT", key="boat_no", also={"berth": int})
class Adrift(NamedTuple):
    boat_no: int
    lies: Annotated[str | None, Beside(Berth, "called", by=("berth",))]


def boat(source: str, b: Boat) -> Person:
    return Person(key=key_of(source, "person", b.boat_no), names=tuple(Name(family=each.lodges) for each in b.crew))


async def test_a_row_and_its_parts_have_the_columns_of_other_tables(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'harbour.db'}"
    stand_in = Tables().stand_in(Boat, Crew, Berth)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(stand_in.create_all)
        for name, rows in {
            "BERTH": [{"PIER": 1, "NUMBER": 4, "CALLED": "North", "DEPTH": 2.5}, {"PIER": 2, "NUMBER": 4, "CALLED": "South"}],
            "BOAT": [{"BOAT_NO": 7, "PIER": 1, "BERTH": 4}, {"BOAT_NO": 8, "PIER": 3, "BERTH": 4}],
            "CREW": [{"CREW_NO": 1, "BOAT_NO": 7, "SURNAME": "Hale", "PIER": 2, "HOME_NUMBER": 4}],
        }.items():
            for row in rows:
                await connection.execute(insert(stand_in.tables[name]).values(row))
    await engine.dispose()
    adapter = SqlAdapter("harbour", SqlSettings(url=SecretStr(url)), [SqlStream("boats", boat)])
    await adapter.open()
    [stream] = adapter.streams()
    found = [record.row async for page in stream.reading.pages(None) for record in page.records]  # type: ignore[union-attr]
    checked = await adapter.check()
    await adapter.close()
    assert found == [(7, "North", 2.5, (("Hale", "South"),)), (8, None, None, ())]
    assert all(finding.well for finding in checked), checked


def test_a_table_is_joined_once_for_all_fields_that_are_looked_up_by_one_key() -> None:
    statement = str(Tables().reading(Boat, KeysOf("harbour", "person")).page(10, after=False))
    assert statement.count("LEFT OUTER JOIN") == 1


def test_a_look_up_by_less_than_the_key_is_refused() -> None:
    with pytest.raises(MisconfiguredError) as told:
        Tables().reading(Adrift, KeysOf("harbour", "person"))
    assert str(told.value).startswith("Adrift.lies: cannot be looked up")
    assert "pier, number" in told.value.fix
