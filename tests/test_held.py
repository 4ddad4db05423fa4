"""Changes that the guard holds back, in the state's database, and how a person lets them through there."""

from dataclasses import replace

import pytest

from adapters.engine.guard import DELETED, WENT_BACK
from adapters.engine.journal import Guarded, Known, Step
from adapters.testing import Bench
from ironbridge.operate import audit, held
from ironbridge.operate.audit import Actor
from ironbridge.store import Store, StoredMemory
from tests.test_guard import closed, deletions, in_a_file, reopen, table

JO = Actor("jo", "command line")


async def test_what_is_held_is_listed_with_its_numbers_and_let_through_with_a_reason_on_record(store: Store) -> None:
    adapter = table(100)
    bench = Bench(adapter)
    memory = StoredMemory(store, "legacy")
    await bench.read(bench.pump(memory=memory))
    whole, adapter.lines = adapter.lines, {}
    assert await bench.read(bench.pump(memory=memory)) == []
    (row,) = await held.entries(store)
    assert (row.part, row.what, row.held, row.base, row.file) == (
        "legacy.episodes",
        DELETED,
        100,
        100,
        None,
    )
    assert row.told == "100 of 100 records are missing"
    assert await memory.allowed("episodes") == 0
    assert await held.allow(store, JO, "legacy.episodes", "closed", what=WENT_BACK) == []
    assert len(await held.allow(store, JO, "legacy.episodes", "the service was closed")) == 1
    assert await memory.allowed("episodes") == 1
    assert await held.allow(store, JO, "legacy.episodes", "twice") == [], "it was let through already"
    assert deletions(await bench.read(bench.pump(memory=memory))) == 100
    assert (await held.entries(store), await memory.allowed("episodes")) == ([], 0)
    (line,) = await audit.trail(store)
    assert (line.action, line.what, line.why) == (
        "allow", "legacy.episodes (deleted, 100)", "the service was closed",
    )  # fmt: skip
    adapter.lines = whole
    assert len(await bench.read(bench.pump(memory=memory))) == 100


async def test_a_file_that_is_held_back_is_named_by_its_mark_and_read_again_once_it_is_allowed(store: Store) -> None:
    adapter = in_a_file(50)
    bench = Bench(adapter)
    memory = StoredMemory(store, "legacy")
    await bench.read(bench.pump(memory=memory))
    adapter.files["invoices"] = []
    await bench.read(bench.pump(memory=memory))
    (row,) = await held.entries(store, "legacy.episodes")
    assert row.file
    assert "invoices" not in str(row)
    assert await held.allow(store, JO, "legacy.episodes", "x", file="another") == []
    await held.allow(store, JO, "legacy.episodes", "the year was closed", file=row.file)
    assert deletions(await bench.read(bench.pump(memory=memory))) == 50


async def test_emptied_fields_are_held_back_over_the_database_too(store: Store) -> None:
    adapter = closed(100)
    bench = Bench(adapter)
    memory = StoredMemory(store, "legacy")
    await bench.read(bench.pump(memory=memory))
    reopen(adapter, range(60))
    assert await bench.read(bench.pump(memory=memory)) == []
    assert {row.what: row.held for row in await held.entries(store)} == {
        "emptied close_date": 60, "emptied close_reason": 60,
    }  # fmt: skip
    await held.allow(store, JO, "legacy.episodes", "a mistake was mended")
    assert len(await bench.read(bench.pump(memory=memory))) == 60


async def test_a_word_of_a_person_is_not_overwritten_by_a_reading_that_did_not_know_it(store: Store) -> None:
    memory = StoredMemory(store, "legacy")
    entry = Guarded("", DELETED, 1.0, base=500, held=300, since=2.0)
    await memory.save("episodes", Step(guarded=[entry]))
    (read,) = await memory.guarded("episodes")
    await held.allow(store, JO, "legacy.episodes", "gone")
    await memory.save("episodes", Step(guarded=[replace(read, held=310)]))
    (now,) = await memory.guarded("episodes")
    assert (now.held, now.allowed) == (310, 330)
    await memory.save("episodes", Step(guarded=[replace(now, held=0, since=None)]))
    assert [e.allowed for e in await memory.guarded("episodes")] == [None], "nothing is held any more"


@pytest.mark.parametrize("region", [None, "may"])
async def test_living_records_are_counted_by_the_fields_that_they_hold(store: Store, region: str | None) -> None:
    memory = StoredMemory(store, "legacy")
    filled = {"a": b"1", "b": b"1", "c": b"2", "d": None}
    known = [
        Known(f"legacy:care-episode:{n}", "care-episode", "o", "may" if n != "c" else "june", None, b"f", 1, filled=f)
        for n, f in filled.items()
    ]
    await memory.save(
        "episodes", Step([*known, Known("legacy:care-episode:e", "care-episode", "o", None, None, None, 1, True)])
    )
    expected = {b"1": 2, None: 1} if region else {b"1": 2, b"2": 1, None: 1}
    assert await memory.filled("episodes", region) == expected
