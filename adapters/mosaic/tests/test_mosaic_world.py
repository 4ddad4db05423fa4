"""The invented mart: the same on every database, made once, changed as a working day would."""

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from adapters.mosaic.adapter import DECLARED, MosaicAdapter
from adapters.mosaic.settings import MosaicSettings
from adapters.mosaic.world import COUNCIL, WORLD
from adapters.testing.sql_cases import mapped_rows
from canonical.children import LookedAfterEpisode
from canonical.entity import Entity
from canonical.people import Person

TODAY = date(2026, 6, 1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mosaic.db'}"


async def everything(url: str) -> tuple[dict[str, Entity], list[str], list[str]]:
    """Every entity by its key, the keys of what cannot be mapped, and of what lacks a soft field."""
    settings = MosaicSettings.model_validate({"url": url, "page_size": 97, **COUNCIL})
    adapter = MosaicAdapter("mosaic", settings)
    await adapter.open()
    found = [await mapped_rows(stream) for stream in adapter.streams()]
    await adapter.close()
    entities = {entity.key: entity for each in found for entity in each.entities}
    return entities, [bad["key"] for each in found for bad in each.bad], [soft["key"] for each in found for soft in each.left_out]


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_the_same_world_maps_to_the_same_entities_on_every_database(
    kind: str, url: str, request: pytest.FixtureRequest
) -> None:
    await WORLD.create(url, 40, today=TODAY)
    async with request.getfixturevalue(kind).database() as there:
        await WORLD.create(there, 40, today=TODAY)
        assert await WORLD.change(there, 5) == await WORLD.change(url, 5)
        assert await everything(there) == await everything(url)


async def test_a_world_holds_every_kind_of_record_and_siblings_in_one_step(url: str) -> None:
    bad = await WORLD.create(url, 220)
    entities, broken, soft = await everything(url)
    assert {each.type_name for each in entities.values()} == {each.entity.type_name for each in DECLARED}
    assert len(broken) + len(soft) == bad == 3
    reasons = {each.start_reason for each in entities.values() if isinstance(each, LookedAfterEpisode)}
    assert {"S", "L", "P"} <= reasons <= {"S", "L", "P", "T", "U", "B"}
    people = [each for each in entities.values() if isinstance(each, Person)]
    assert {"expected_birth_date", "upn", "nhs_number", "disabilities", "immigration"} <= {
        name for each in people for name in Person.model_fields if getattr(each, name)
    }
    known = {each.key for each in people} | set(broken)
    assert {each.owner for each in entities.values()} <= known
    steps = Counter(key.rpartition(":")[0] for key in entities if ":assessment:" in key)
    assert max(steps.values()) == 3, "three siblings in one step"


async def test_a_days_work_changes_just_what_it_says(url: str) -> None:
    await WORLD.create(url, 120)
    before, bad_before, _ = await everything(url)
    said = await WORLD.change(url, 3)
    after, bad_after, _ = await everything(url)
    assert len(said) == 6
    new, gone = set(after) - set(before) - set(bad_before), set(before) - set(after)
    assert len(bad_before) - len(bad_after) == 1
    [merged] = [sentence.split()[1] for sentence in said if "was merged" in sentence]
    assert f"mosaic:person:{merged}" in gone
    assert all(key.endswith(f":{merged}") for key in gone)
    assert Counter(key.split(":")[1] for key in new) == {"person": 1, "care-episode": 2}, "a new child; the double's referral"
    changed = {key for key in set(before) & set(after) if before[key] != after[key]}
    assert all(any(number in " ".join(said) for number in key.split(":")[2:]) or ":care-plan:" in key for key in changed), changed


async def test_a_world_that_is_there_is_left_as_it_is(url: str) -> None:
    await WORLD.create(url, 20, today=TODAY)
    await WORLD.change(url, 1)
    before = await everything(url)
    await WORLD.create(url, 20, today=TODAY)
    assert await everything(url) == before
