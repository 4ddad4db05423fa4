"""What a warehouse seems to lose because it is being loaded waits for a person, or for the rest of the load."""

import json
import sqlite3
from pathlib import Path

from pydantic import SecretStr

from adapters.liquidlogic import LiquidlogicSettings, system
from adapters.liquidlogic.world import create
from adapters.testing import Bench


async def test_a_warehouse_whose_address_tables_are_empty_yet_publishes_no_child_without_its_address(
    tmp_path: Path,
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'hdm.db'}"
    await create(url, children=300)
    adapter = system.build("liquidlogic", LiquidlogicSettings(url=SecretStr(url)))
    bench = Bench(adapter)
    await bench.read()
    before = bench.log.state()
    with sqlite3.connect(tmp_path / "hdm.db") as hdm:
        for part in ("DIM_PERSON_ADDRESS", "FACT_DISABILITY"):
            hdm.execute(f"CREATE TABLE kept_{part} AS SELECT * FROM {part}")
            hdm.execute(f"DELETE FROM {part}")
        hdm.execute("UPDATE DIM_PERSON SET FORENAME = 'Nye' WHERE DIM_PERSON_ID = 1001")
    await bench.read()
    assert bench.log.state() == before
    assert {what for _, what in bench.waiting("person")} == {"emptied addresses", "emptied disabilities"}
    with sqlite3.connect(tmp_path / "hdm.db") as hdm:
        for part in ("DIM_PERSON_ADDRESS", "FACT_DISABILITY"):
            hdm.execute(f"INSERT INTO {part} SELECT * FROM kept_{part}")
    (event,) = await bench.read()
    assert json.loads(event.data or b"")["names"][0]["given"] == "Nye"
    assert bench.waiting("person") == {}
    await adapter.close()


async def test_a_column_that_is_null_everywhere_is_held_back_though_it_is_inside_a_part(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'hdm.db'}"
    await create(url, children=100)
    adapter = system.build("liquidlogic", LiquidlogicSettings(url=SecretStr(url)))
    bench = Bench(adapter)
    await bench.read()
    with sqlite3.connect(tmp_path / "hdm.db") as hdm:
        hdm.execute("UPDATE DIM_PERSON SET FORENAME = NULL")
    assert await bench.read() == []
    assert {what for _, what in bench.waiting("person")} == {"emptied given"}
    await adapter.close()
