"""The invented warehouse: the same on every database, made once, changed as a working day would."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from random import Random

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from adapters.liquidlogic import LiquidlogicSettings, system
from adapters.liquidlogic.world import change, create
from adapters.liquidlogic.world_children import ChildStory, upn_of
from adapters.port import Sweep
from canonical.children import CareLeaver, CarePlan, Permanence
from canonical.entity import Entity
from canonical.errors import BadRecordError, MisconfiguredError
from canonical.people import Person

TODAY = date(2026, 6, 1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hdm.db'}"


async def everything(url: str) -> tuple[dict[str, Entity], set[str]]:
    """Every entity by its key, and the keys of what cannot be mapped."""
    settings = LiquidlogicSettings.model_validate(
        {"url": SecretStr(url), "upn_reason": "FACT_903_DATA", "page_size": 97}
    )
    adapter = system.build("liquidlogic", settings)
    await adapter.open()
    entities, bad = {}, set()
    for stream in adapter.streams():
        assert isinstance(stream.reading, Sweep)
        async for page in stream.reading.pages(None):
            for record in page.records:
                try:
                    entities[record.key] = stream.map(record.row)
                except (BadRecordError, ValidationError):
                    bad.add(record.key)
    await adapter.close()
    return entities, bad


@asynccontextmanager
async def engine_of(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    yield engine
    await engine.dispose()


async def worked(url: str, seed: int) -> list[str]:
    async with engine_of(url) as engine, engine.begin() as connection:
        return await change(connection, seed)


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_the_same_world_maps_to_the_same_entities_on_every_database(
    kind: str, url: str, request: pytest.FixtureRequest
) -> None:
    await create(url, children=120, today=TODAY)
    async with request.getfixturevalue(kind).database() as server_url:
        await create(server_url, children=120, today=TODAY)
        assert await everything(server_url) == await everything(url)
        assert await worked(server_url, 5) == await worked(url, 5)
        here, there = await everything(url), await everything(server_url)
        assert here == there


async def test_a_world_holds_every_kind_of_record_and_what_the_dfe_asks_of_a_child(url: str) -> None:
    await create(url, children=300, today=TODAY)
    entities, _ = await everything(url)
    kinds = Counter(entity.type_name for entity in entities.values())
    assert set(kinds) == {stream.entities[0].type_name for stream in system.build("x", _settings(url)).streams()}
    people = [entity for entity in entities.values() if isinstance(entity, Person)]
    fields = (
        "upn",
        "former_upn",
        "upn_unknown_reason",
        "birth_date",
        "expected_birth_date",
        "ethnicity",
        "disabilities",
    )
    assert [name for name in fields if not any(getattr(person, name) for person in people)] == []
    assert any(status.status == "UASC" and status.end_date for person in people for status in person.immigration)
    assert any(address.postcode and not address.end_date for person in people for address in person.addresses)
    plans = {entity.kind for entity in entities.values() if isinstance(entity, CarePlan)}
    assert plans == {"CIN", "CP"}
    assert any(
        entity.activity and entity.accommodation for entity in entities.values() if isinstance(entity, CareLeaver)
    )
    assert any(entity.placed_date for entity in entities.values() if isinstance(entity, Permanence))
    assert sum(kinds.values()) > 1500


def _settings(url: str) -> LiquidlogicSettings:
    return LiquidlogicSettings(url=SecretStr(url))


@pytest.mark.parametrize("children", [10, 300, 700])
async def test_exactly_the_records_that_were_spoilt_are_quarantined(url: str, children: int) -> None:
    bad = await create(url, children, today=TODAY)
    assert len((await everything(url))[1]) == bad > 0


async def test_every_record_belongs_to_a_child_of_the_world(url: str) -> None:
    await create(url, children=100, today=TODAY)
    entities, bad = await everything(url)
    people = {key for key in entities | dict.fromkeys(bad) if ":person:" in key}
    assert {entity.owner for entity in entities.values()} <= people
    assert len(people) == 100


async def test_a_world_that_is_there_is_left_as_it_is(url: str) -> None:
    await create(url, children=20, today=TODAY)
    await worked(url, 1)
    before = await everything(url)
    await create(url, children=20, today=TODAY)
    assert await everything(url) == before


async def test_a_world_of_another_size_takes_the_place_of_the_one_that_is_there(url: str) -> None:
    await create(url, children=20, today=TODAY)
    await create(url, children=30, today=TODAY)
    people = [key for found in await everything(url) for key in found if ":person:" in key]
    assert len(people) == 30


async def test_a_database_with_tables_that_it_did_not_make_is_refused(url: str) -> None:
    Path(url.removeprefix("sqlite:///")).touch()
    async with engine_of(url) as engine, engine.begin() as connection:
        await connection.execute(text("CREATE TABLE DIM_PERSON (DIM_PERSON_ID INT)"))
        with pytest.raises(MisconfiguredError, match="the database was not made by it"):
            await change(connection, 1)
    with pytest.raises(MisconfiguredError, match="the database holds tables that it did not make"):
        await create(url, children=20, today=TODAY)
    async with engine_of(url) as engine, engine.begin() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM DIM_PERSON"))).scalar_one() == 0


async def test_a_days_work_changes_just_what_it_says(url: str) -> None:
    await create(url, children=300, today=TODAY)
    before, bad_before = await everything(url)
    said = await worked(url, 3)
    after, bad_after = await everything(url)
    new, gone = set(after) - set(before) - bad_before, set(before) - set(after)
    changed = {key for key in set(before) & set(after) if before[key] != after[key]}
    assert Counter(key.split(":")[1] for key in new) == {"person": 1, "care-episode": 1}
    assert [key.split(":")[2][:4] for key in gone] == ["cin-"]
    assert Counter(key.split(":")[1] for key in changed) == {"person": 1, "care-episode": 1, "care-plan": 1}
    assert len(bad_before - bad_after) == 1
    numbers = [key.rpartition(":")[2].removeprefix("cin-").removeprefix("cp-") for key in (*new, *gone, *changed)]
    assert len(said) == 6
    assert all(any(number in sentence for sentence in said) for number in numbers)


async def test_days_can_follow_each_other_and_mend_one_bad_number_each(url: str) -> None:
    bad = await create(url, children=300, today=TODAY)
    for day in range(3):
        assert len(await worked(url, day)) == 6
    assert len((await everything(url))[1]) == bad - 3
    assert len(await worked(url, 4)) == 5  # nothing that it knows how to mend is left


def test_a_story_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    stories = [ChildStory(seed, TODAY) for seed in (1, 1, 2)]
    for story in stories:
        story.lists()
        for _ in range(5):
            story.child()
    assert stories[0].rows == stories[1].rows
    assert stories[0].rows["DIM_PERSON"] != stories[2].rows["DIM_PERSON"]


def test_an_invented_upn_is_well_formed_and_of_shropshire() -> None:
    numbers = [upn_of(Random(n), 2010 + n % 12) for n in range(200)]
    for number in numbers:
        assert Person(key="x:person:1", upn=number).upn == number
        assert number[1:4] == "893"


def test_the_command_line_makes_a_world_and_changes_it(url: str) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "adapters.liquidlogic.world", url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert re.fullmatch(r"30 children in .*hdm.db, [3-5] records spoilt on purpose\n", run("--children", "30"))
    assert "was referred for the first time" in run("--change", "1")
