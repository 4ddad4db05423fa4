"""An adapter's memory: the stand-in, SQLite and PostgreSQL keep the same promises."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.engine.journal import Known, Memory, Problem, Progress, Seen, Step, Watermark
from adapters.testing import MemoryMemory, MemoryState
from canonical.errors import FencedError, UnavailableError
from ironbridge.store import Store, StoredMemory, open_store
from tests.states import state_database, state_file

Open = Callable[[str], Memory]


@pytest.fixture(params=["stand-in", "sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def open_memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens another copy's memory of an adapter, on one state."""
    async with AsyncExitStack() as stack:
        if request.param == "stand-in":
            states: dict[str, MemoryState] = {}
            yield lambda adapter: MemoryMemory(states.setdefault(adapter, MemoryState()))
            return
        if request.param == "postgresql":
            url = await stack.enter_async_context(state_database(request.getfixturevalue("postgres")))
        else:
            url = await state_file(tmp_path / "state.sqlite3")
        store = await open_store(url)
        stack.push_async_callback(store.close)
        yield lambda adapter: StoredMemory(store, adapter)


def known(number: int, **values: object) -> Known:
    basis = Known(f"legacy:person:{number}", "person", f"legacy:person:{number}", "r1", b"row", b"print", 1)
    basis.topic, basis.partition, basis.offset = "canonical.person", number % 3, number
    return replace(basis, **values)  # type: ignore[arg-type]


def numbers(found: list[Known]) -> list[int]:
    return sorted(int(each.key.rsplit(":", 1)[1]) for each in found)


async def test_a_step_is_read_back_as_it_was_saved(open_memory: Open) -> None:
    memory = open_memory("legacy")
    at = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
    progress = Progress(3, ("a'b", 7), (5, "é"), at, at, 10, 4, 2, None)
    records = [known(1), known(2, region=None, row_digest=None, fingerprint=None, deleted=True, lost=True, topic=None,
                               partition=None, offset=None, version=1 << 40)]  # fmt: skip
    problem = Problem("legacy:person:1", "upn", "is too short", "text a", "the whole sentence")
    step = Step(records, {"r1": Seen(b"d", 3), "r2": Seen(None, 2)}, [], [problem], [], progress, {("t", 1): Watermark(9, "it")})
    await memory.save("people", step)
    keys = [record.key for record in records]
    assert sorted(await memory.lookup("people", [*keys, "nobody"]), key=lambda k: k.key) == records
    assert await memory.members("people", ["r1"]) == [records[0]]
    assert await memory.regions("people") == {"r1": Seen(b"d", 3), "r2": Seen(None, 2)}
    assert await memory.progress("people") == progress
    assert await memory.quarantined("people", [*keys, "nobody"]) == {"legacy:person:1"}
    assert await memory.offsets() == {("t", 1): Watermark(9, "it")}
    assert await memory.lookup("people", []) == []


async def test_a_later_step_replaces_what_it_names_and_leaves_the_rest(open_memory: Open) -> None:
    memory = open_memory("legacy")
    problems = [Problem(f"legacy:person:{n}", "f", "r", "s", "w") for n in (1, 2)]
    await memory.save("s", Step([known(1), known(2)], {"r1": Seen(b"1", 1), "r2": Seen(b"2", 1)}, [], problems,
                                offsets={("t", 0): Watermark(5, "a", 3, "b"), ("t", 1): Watermark(6, "c")},
                                progress=Progress(read=7)))  # fmt: skip
    offsets = {("t", 1): Watermark(2, "d")}
    step = Step([known(2, version=9)], {"r1": Seen(b"3", 2)}, ["r2"], [], ["legacy:person:1"], None, offsets)
    await memory.save("s", step)
    assert await memory.lookup("s", ["legacy:person:1", "legacy:person:2"]) == [known(1), known(2, version=9)]
    assert await memory.regions("s") == {"r1": Seen(b"3", 2)}
    assert await memory.quarantined("s", ["legacy:person:1", "legacy:person:2"]) == {"legacy:person:2"}
    assert await memory.progress("s") == Progress(read=7)
    assert await memory.offsets() == {("t", 0): Watermark(5, "a", 3, "b"), ("t", 1): Watermark(2, "d")}
    await memory.save("", Step(gone_offsets=[("t", 0)]))
    assert await memory.offsets() == {("t", 1): Watermark(2, "d")}


async def test_streams_and_adapters_are_apart(open_memory: Open) -> None:
    memory, other = open_memory("legacy"), open_memory("other")
    await memory.save("a", Step([known(1)], {"r1": Seen(b"1", 1)}, offsets={("t", 0): Watermark(5, "a")}))
    for empty, stream in ((memory, "b"), (other, "a")):
        assert await empty.lookup(stream, ["legacy:person:1"]) == []
        assert await empty.regions(stream) == {}
        assert await empty.progress(stream) == Progress()
    assert await other.offsets() == {}
    assert [chunk async for chunk in other.in_partition(("canonical.person", 1)) if chunk[1]] == []


async def test_unseen_is_what_no_region_of_the_sweep_holds(open_memory: Open) -> None:
    memory = open_memory("legacy")
    records = [
        known(1, region="new"), known(2, region="old"), known(3, region=None), known(4, region=None, deleted=True),
        known(5, region="old", deleted=True), known(6, region="old", entity="supplier"),
        known(7, region="old", entity="supplier", version=0), known(8, region="never heard of"),
    ]  # fmt: skip
    await memory.save("s", Step(records, {"new": Seen(b"", 4), "old": Seen(b"", 3)}))
    assert numbers(await memory.unseen("s", 4, frozenset({"supplier"}))) == [2, 3, 5, 7, 8]
    assert await memory.missing("s", 4, frozenset({"supplier"})) == 3  # 5 and 7 are not published
    assert await memory.missing("s", 4, frozenset()) == 4
    assert await memory.live("s") == 5


async def test_second_rows_are_told_from_other_problems(open_memory: Open) -> None:
    memory = open_memory("legacy")
    await memory.save("s", Step(problems=[Problem(key, "f", "r", "s", "w") for key in ("a", "a#again", "b#again2")]))
    assert await memory.doubled("s") == {"a#again"}


async def test_records_are_found_by_their_place(open_memory: Open) -> None:
    memory = open_memory("legacy")
    await memory.save("s", Step([known(n) for n in range(10)]))
    await memory.save("z", Step([replace(known(3), key="legacy:other:3")]))
    found = {name: numbers(some) async for name, some in memory.in_partition(("canonical.person", 0)) if some}
    assert found == {"s": [0, 3, 6, 9], "z": [3]}


async def test_only_the_copy_that_claimed_last_may_save(open_memory: Open) -> None:
    first, second = open_memory("legacy"), open_memory("legacy")
    assert await first.claimed() == 0
    assert await first.claim(0)
    await first.save("s", Step([known(1)]))
    assert not await second.claim(0)
    assert await second.claim(await second.claimed())
    with pytest.raises(FencedError, match="a newer copy of it has taken over"):
        await first.save("s", Step([known(1, version=2)], offsets={("t", 0): Watermark(3, "a")}))
    assert await second.lookup("s", ["legacy:person:1"]) == [known(1)]
    assert await second.offsets() == {}
    await second.save("s", Step([known(1, version=3)]))
    assert await first.claim(await first.claimed())
    await first.save("s", Step([known(1, version=4)]))


async def test_a_memory_tells_a_copy_whether_it_holds_all_that_this_one_saved(open_memory: Open) -> None:
    first, second = open_memory("legacy"), open_memory("legacy")
    assert await first.saved() is None
    await first.claim(0)
    assert await first.current()
    at = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    await first.save("s", Step([known(1)], at=at))
    assert (await first.current(), await first.saved()) == (True, at)
    assert not await second.current()
    await second.claim(1)
    assert not await first.current()
    with pytest.raises(FencedError):
        await first.save("s", Step([known(3)]))


async def test_a_memory_that_counts_fewer_steps_than_its_copy_refuses_the_next_one(open_memory: Open) -> None:
    memory = open_memory("legacy")
    await memory.claim(0)
    await memory.save("s", Step([known(1)]))
    other = open_memory("legacy")
    other._claim, other._steps = 1, 7  # type: ignore[attr-defined]  # as if the state had been set back under it
    assert not await other.current()
    with pytest.raises(UnavailableError, match="has gone back to"):
        await other.save("s", Step([known(2)]))
    assert numbers(await other.lookup("s", [known(2).key])) == []


async def test_a_copy_that_claimed_alike_before_the_state_went_back_is_another_one(tmp_path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}")
    state = MemoryState()
    for one, two in ((StoredMemory(store, "a"), StoredMemory(store, "a")), (MemoryMemory(state), MemoryMemory(state))):
        assert await one.claim(0)
        await one.save("s", Step())
        async with store.write() as connection:  # it goes back to before the claim
            await connection.execute(text("DELETE FROM copies"))
        state.go_back(MemoryState())
        assert await two.claim(0)
        await two.save("s", Step())
        assert not await one.current()
        with pytest.raises(UnavailableError):
            await one.save("s", Step())
    await store.close()


async def test_a_stream_whose_number_a_state_that_went_back_gave_to_another_gets_a_new_one(tmp_path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}")
    one, other = StoredMemory(store, "a"), StoredMemory(store, "b")
    await one.claim(0)
    await one.save("s", Step([known(1)]))
    async with store.write() as connection:
        for table in ("records", "regions", "streams", "copies"):
            await connection.execute(text(f"DELETE FROM {table}"))
    await other.claim(0)
    await other.save("t", Step([known(2)]))  # it has the number now that the first one had
    await one.claim(0)
    await one.save("s", Step([known(3)]))
    assert numbers([each async for _, some in other.in_partition(("canonical.person", 2)) for each in some]) == [2]
    assert numbers([each async for _, some in other.in_partition(("canonical.person", 0)) for each in some]) == []
    assert numbers(await one.lookup("s", [known(3).key, known(2).key])) == [3]
    await store.close()


async def test_of_two_that_claim_at_once_one_succeeds(open_memory: Open) -> None:
    for had in range(5):
        claims = await asyncio.gather(*(open_memory("legacy").claim(had) for _ in range(4)))
        assert sorted(claims) == [False, False, False, True]


async def test_four_thousand_records_are_saved_and_found_again(open_memory: Open) -> None:
    memory = open_memory("legacy")
    records = [known(n, region=f"r{n % 9}") for n in range(4000)]
    for _ in range(2):
        await memory.save("s", Step(records))
    assert len(await memory.lookup("s", [record.key for record in records])) == 4000
    assert len(await memory.members("s", ["r1", "r2"])) == 890
    found = [k async for _, some in memory.in_partition(("canonical.person", 0)) for k in some]
    assert numbers(found) == list(range(0, 4000, 3))


async def test_a_stream_is_found_by_its_name_if_a_state_that_went_back_gave_its_number_to_another(each_store: Store) -> None:
    memory = StoredMemory(each_store, "legacy")
    assert not await memory.paused("people")
    await memory.trouble("people", "it does not answer")
    async with each_store.write() as connection:
        await connection.execute(text("UPDATE streams SET name = 'homes', paused = TRUE, error = NULL"))
    assert not await memory.paused("people")
    await memory.trouble("people", "it is locked")
    async with each_store.read() as connection:
        found = await connection.execute(text("SELECT name, error FROM streams ORDER BY name"))
    assert [tuple(row) for row in found] == [("homes", None), ("people", "it is locked")]
    assert await memory.paused("homes")
