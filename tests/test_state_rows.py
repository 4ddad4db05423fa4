"""Rows of the state as dataclasses: a column gives the field of its name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import text

from ironbridge.store import Store
from ironbridge.store.rows import row_of, rows


@pytest.fixture
def store(each_store: Store) -> Store:
    return each_store


@dataclass(frozen=True, slots=True)
class Door:
    name: str
    open: bool
    since: float | None = None


async def test_a_column_gives_the_field_of_its_name_whatever_their_order(store: Store) -> None:
    async with store.read() as connection:
        found = await connection.execute(text("SELECT 1 = 0 AS open, 'north' AS name UNION ALL SELECT 1 = 1, 'south' ORDER BY 2"))
        every = rows(Door, found)
    assert every == [Door("north", open=False), Door("south", open=True)]
    assert {type(door.open) for door in every} == {bool}, "SQLite gives numbers"


async def test_a_column_without_a_field_and_a_field_without_a_column_are_errors(store: Store) -> None:
    async with store.read() as connection:
        for query in ("SELECT 'north' AS name", "SELECT 'north' AS name, 1 = 1 AS open, 'oak' AS wood"):
            found = await connection.execute(text(query))
            with pytest.raises(TypeError):
                rows(Door, found)


def test_a_value_in_another_form_takes_the_columns_place() -> None:
    assert row_of(Door, {"name": b"north", "open": 1}, name="north") == Door("north", open=True)
