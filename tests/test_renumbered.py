"""A warehouse numbers its rows anew overnight: other keys, the same content. Its records stay the same ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from random import Random

import pytest

from adapters.engine.guard import Guard
from adapters.engine.journal import Memory
from adapters.port import Page, Position, Record, Row, Stream, Sweep, Tail
from adapters.testing import Bench, Faults, Killed, MemoryState, assert_versions_grow
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode, Event
from canonical.children import Assessment
from canonical.entity import Entity
from canonical.key import key_of, read_key
from ironbridge.store import Store
from ironbridge.store.memory import StoredMemory


def table(count: int = 160, page: int = 50, reading: str = "sweep", alike: int = 3) -> TableAdapter:
    """So many records in a row are alike."""
    adapter = TableAdapter(page=page, reading=reading)
    adapter.lines = {n: Line(n // alike, "N1") for n in range(count)}
    return adapter


def renumber(adapter: TableAdapter, by: int, *numbers: int, stamp: int = 0) -> None:
    for n in numbers or sorted(adapter.lines, reverse=by > 0):
        adapter.lines[n + by] = adapter.lines.pop(n)._replace(changed=stamp)


def content(data: bytes) -> bytes:
    """An entity's content without its key."""
    return data[data.index(b",") :]


def assert_same_content(bench: Bench) -> None:
    assert isinstance(bench.adapter, TableAdapter)
    assert_versions_grow(bench.log.told())
    assert sorted(map(content, bench.log.state().values())) == sorted(map(content, bench.adapter.state().values()))


def held(bench: Bench) -> int:
    return bench.state.of("episodes").progress.held


async def nightly(bench: Bench) -> list[Event]:
    bench.wait(timedelta(hours=24))
    return await bench.read()


async def test_a_warehouse_that_numbers_its_rows_anew_tells_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    adapter = table()
    bench = Bench(adapter)
    assert len(await bench.read()) == 160
    before = bench.log.state()
    for _ in range(3):
        caplog.clear()
        renumber(adapter, 1000)
        assert await nightly(bench) == []
        assert caplog.messages == [
            "legacy.episodes: 160 rows came under new numbers with the content that they had; their records keep the keys "
            "that they are published under, and nothing is published for them"
        ]
        assert (bench.log.state(), held(bench), bench.problems()) == (before, 0, {})
    assert await nightly(bench) == []


async def test_a_correction_and_a_deletion_under_a_new_number_go_to_the_same_record() -> None:
    adapter = table(alike=1)
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1000)
    await nightly(bench)
    adapter.lines[1007] = Line(7, "N9")
    del adapter.lines[1008]
    adapter.lines[1010] = Line(10, "")
    assert sorted(bench.said(await nightly(bench))) == [("7", 2, True), ("8", 2, False)]
    assert list(bench.problems()) == ["legacy:care-episode:1010"]
    adapter.lines[1010] = Line(10, "N2")
    assert bench.said(await nightly(bench)) == [("10", 2, True)]
    assert_same_content(bench)


async def test_of_a_warehouse_that_is_half_renumbered_only_what_differs_is_told() -> None:
    adapter = table()
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1000, *range(0, 160, 2))
    adapter.lines[1004] = Line(99, "N8")  # its number and its content are others: nobody can tell that it is the same one
    adapter.lines[5000] = Line(2, "N1")  # a new record that says what others say
    told = bench.said(await nightly(bench))
    assert sorted(alive for _, _, alive in told) == [False, True, True]
    assert ("1004", 1, True) in told
    assert_same_content(bench)
    assert await nightly(bench) == []


async def test_a_few_rows_more_and_less_with_one_content_are_no_renumbering() -> None:
    adapter = table()
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1000, 3, 4, 5, 6)
    told = bench.said(await nightly(bench))
    assert sorted(told) == sorted([(str(n), 2, False) for n in (3, 4, 5, 6)] + [(str(n), 1, True) for n in range(1003, 1007)])
    assert_same_content(bench)


async def test_a_number_that_is_given_again_is_another_record() -> None:
    adapter = table()
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1000)
    await nightly(bench)
    adapter.lines[7] = Line(70, "N7")
    [told] = await nightly(bench)
    assert told.key.startswith("legacy:care-episode:7-")
    assert_same_content(bench)
    del adapter.lines[1007]
    assert bench.said(await nightly(bench)) == [("7", 2, False)]
    adapter.lines[7] = Line(70, "N6")
    assert [event.key for event in await nightly(bench)] == [told.key]
    assert_same_content(bench)


async def test_rows_that_get_their_old_numbers_back_are_still_the_same_records() -> None:
    adapter = table()
    bench = Bench(adapter)
    await bench.read()
    del adapter.lines[9]
    await nightly(bench)
    renumber(adapter, 1000)
    await nightly(bench)
    renumber(adapter, -1000)
    assert await nightly(bench) == []
    renumber(adapter, 9)  # numbers that others had, too
    assert await nightly(bench) == []
    assert_same_content(bench)


@pytest.mark.parametrize("page", [30, 50, 1000])
@pytest.mark.parametrize("seed", range(6))
async def test_numbers_that_are_dealt_anew_in_any_order_tell_nobody_anything(seed: int, page: int) -> None:
    adapter = table(page=page)
    bench = Bench(adapter)
    await bench.read()
    before, random = bench.log.state(), Random(seed)
    for _ in range(3):
        numbers = random.sample(range(200), len(adapter.lines))
        adapter.lines = dict(zip(numbers, adapter.lines.values(), strict=True))
        assert await nightly(bench) == []
        assert (bench.log.state(), held(bench), bench.problems()) == (before, 0, {})
    names = {k.name for k in bench.state.of("episodes").records.values()}
    assert names == before.keys()
    # Each record goes on under the key that it keeps.
    numbers = sorted(adapter.lines)[:3]
    for n in numbers:
        adapter.lines[n] = Line(500 + n, "N5")
    told = await nightly(bench)
    assert {event.key for event in told} <= before.keys()
    assert len([event for event in told if event.data is not None]) == 3
    assert_same_content(bench)
    assert await nightly(bench) == []


async def test_of_rows_that_move_up_because_of_a_new_one_only_what_differs_is_told() -> None:
    adapter = table(alike=1)
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1)
    adapter.lines[0] = Line(900, "N9")
    told = await nightly(bench)
    assert len(told) <= 4
    assert_same_content(bench)
    assert await nightly(bench) == []


async def test_two_rows_that_change_places_are_two_changes() -> None:
    adapter = table(alike=1)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines[3], adapter.lines[90] = adapter.lines[90], adapter.lines[3]
    told = await nightly(bench) + await nightly(bench)
    assert_same_content(bench)
    # Each goes to another owner, and is ended with the one that it had.
    assert sorted(bench.said(told)) == [("3", 2, False), ("3", 3, True), ("90", 2, False), ("90", 3, True)]
    assert len(bench.state.of("episodes").records) == 160
    assert await nightly(bench) == []


async def test_a_row_that_is_bad_or_goes_while_it_waits_loses_its_record_nothing() -> None:
    adapter = table(40, page=40, alike=1)
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 10)
    adapter.lines[20] = Line(10, "")
    await nightly(bench)
    adapter.lines[20] = Line(10, "N1")
    del adapter.lines[30]
    await nightly(bench)
    await nightly(bench)
    assert bench.problems() == {}
    assert_same_content(bench)
    assert await nightly(bench) == []


async def test_a_state_that_was_lost_finds_the_records_of_renumbered_rows_again() -> None:
    adapter = table()
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1000)
    await nightly(bench)
    before = bench.log.state()
    bench.state = MemoryState()
    assert await nightly(bench) == []
    adapter.lines[1007] = Line(2, "N9")
    assert bench.said(await nightly(bench)) == [("7", 2, True)]
    assert bench.log.state().keys() == before.keys()


@pytest.mark.parametrize("by", [1000, 10])
@pytest.mark.parametrize("error", [Killed, ConnectionError])
async def test_a_kill_at_any_point_of_a_renumbering_tells_nobody_anything(error: type[BaseException], by: int) -> None:
    n, whole = 0, False
    while not whole:
        adapter = table(40, page=20)
        bench = Bench(adapter)
        await bench.read()
        renumber(adapter, by)
        bench.wait(timedelta(hours=24))
        try:
            await bench.read(bench.pump(Faults(n, error())))
            whole = True
        except (Killed, ConnectionError):
            pass
        await bench.read()
        await nightly(bench)
        assert len(bench.log.told()) == 40, n
        assert (held(bench), len(bench.state.of("episodes").records)) == (0, 40)
        n += 1
    assert n > 30


async def test_more_strays_than_are_kept_in_memory_are_published_with_the_next_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.engine.strays._KEPT", 3)
    adapter = table()
    bench = Bench(adapter)
    await bench.read()
    adapter.lines |= {n - 1000: line for n, line in list(adapter.lines.items())[:12]}  # copies, met before what they copy
    assert len(await nightly(bench)) == 3
    assert len(await nightly(bench)) == 9
    assert_same_content(bench)
    assert await nightly(bench) == []


async def test_a_tail_leaves_renumbered_rows_to_the_sweep_behind_it() -> None:
    adapter = table(reading="tail")
    bench = Bench(adapter)
    await bench.read()
    renumber(adapter, 1000, stamp=5)
    assert await bench.read() == []
    assert await bench.read() == []
    adapter.lines[1007] = Line(2, "N9", 6)
    assert bench.said(await bench.read()) == [("7", 2, True)]
    assert_same_content(bench)


class AlwaysThere:
    """A system that needs no connection."""

    name = "legacy"

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> Sequence[object]:
        return []


class Referring(AlwaysThere):
    """A warehouse of episodes and of assessments that name their episode; `order` is the order in which it is read."""

    def __init__(self, *order: str) -> None:
        self._order = order
        self.episodes = {n: (n, n) for n in range(40)}
        self.assessments = {n: (n, n, n) for n in range(40)}
        self.overnight: Callable[[], None] = lambda: None  # it happens when the episodes have been read
        self.newest = 0  # so many of the last assessments are read again each time; none: all are swept

    def streams(self) -> Sequence[Stream]:
        swept = Sweep(self._assessments)
        reading = Tail(self._newest, swept, timedelta(days=3)) if self.newest else swept
        streams = {
            "episodes": Stream("episodes", (CareEpisode,), self.episode, Sweep(self._episodes)),
            "assessments": Stream("assessments", (Assessment,), self.assessment, reading),
        }
        return [streams[name] for name in self._order]

    def episode(self, row: Row) -> Entity:
        number, child = row
        return CareEpisode(key=key_of("legacy", "care-episode", number), person=key_of("legacy", "person", child))

    def assessment(self, row: Row) -> Entity:
        number, child, episode = row
        return Assessment(
            key=key_of("legacy", "assessment", number),
            person=key_of("legacy", "person", child),
            episode=key_of("legacy", "care-episode", episode),
        )

    async def _episodes(self, after: Position | None) -> AsyncIterator[Page]:
        yield self._page("care-episode", self.episodes)

    async def _assessments(self, after: Position | None) -> AsyncIterator[Page]:
        self.overnight()
        self.overnight = lambda: None
        yield self._page("assessment", self.assessments)

    async def _newest(self, after: Position | None) -> AsyncIterator[Page]:
        numbers = sorted(self.assessments)[-self.newest :]
        yield self._page("assessment", {n: self.assessments[n] for n in numbers})

    def _page(self, entity: str, rows: dict[int, tuple[int, ...]]) -> Page:
        records = [Record(key_of("legacy", entity, n), (n,), row) for n, row in sorted(rows.items())]
        return Page(records, records[-1].position)

    def renumber(self) -> None:
        """Number the episodes and the assessments anew; the assessments name their episodes by the new numbers."""
        self.episodes = {n + 1000: (n + 1000, child) for n, child in self.episodes.values()}
        self.assessments = {n + 2000: (n + 2000, child, e + 1000) for n, child, e in self.assessments.values()}

    def add(self) -> None:
        """Add new assessments of episodes that are new, too, and close as many others."""
        for n in range(10):
            del self.assessments[n]
            self.assessments[500 + n] = (500 + n, n, 600 + n)


async def test_what_names_a_renumbered_record_goes_on_naming_it_by_the_key_that_it_keeps() -> None:
    adapter = Referring("episodes", "assessments")
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    before = bench.log.state()
    adapter.renumber()
    assert await nightly(bench) == []
    adapter.assessments[9000] = (9000, 5, 1005)
    [told] = await nightly(bench)
    assert told.data is not None
    assert b'"legacy:care-episode:5"' in told.data
    assert {key: data for key, data in bench.log.state().items() if key != told.key} == before


async def test_what_was_read_before_the_record_that_it_names_is_put_right_with_the_next_sweeps() -> None:
    adapter = Referring("assessments", "episodes")
    bench = Bench(adapter, guard=Guard(share=1.0))  # type: ignore[arg-type]
    await bench.read()
    adapter.renumber()
    await nightly(bench)
    await nightly(bench)
    assert await nightly(bench) == []
    for key, data in bench.log.state().items():
        assert b"care-episode:1" not in data or read_key(key).identifier in data.decode(), key
    assert sorted(data.count(b'"legacy:care-episode:1000"') for data in bench.log.state().values())[-1] == 0


async def test_all_that_is_renumbered_when_a_part_of_it_has_been_read_tells_nobody_anything() -> None:
    adapter = Referring("episodes", "assessments")
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    before = bench.log.state()
    for _ in range(3):
        adapter.overnight = adapter.renumber
        assert [*await nightly(bench), *await nightly(bench), *await nightly(bench)] == []
        assert bench.log.state() == before
    del adapter.assessments[6003]
    adapter.assessments[6004] = (6004, 9, 3004)
    assert sorted(bench.said(await nightly(bench))) == [("3", 2, False), ("4", 2, False), ("4", 3, True)]


async def test_rows_that_name_renumbered_records_wait_until_these_have_been_read() -> None:
    adapter = Referring("episodes", "assessments")
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    before = bench.log.state()
    adapter.renumber()
    pump = bench.pump()
    await pump.ready()
    for _ in range(4):
        bench.wait(timedelta(hours=1))
        await pump.read(adapter.streams()[1])
    await pump.close()
    assert [*await nightly(bench), *await nightly(bench)] == []
    assert bench.log.state() == before


@pytest.mark.parametrize("newest", [1, 3, 8])
async def test_the_few_rows_that_a_tail_reads_again_wait_for_the_records_that_they_name(newest: int) -> None:
    adapter = Referring("assessments", "episodes")
    adapter.newest = newest
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    before = bench.log.state()
    assert await nightly(bench) == []
    adapter.renumber()
    assert [await nightly(bench) for _ in range(4)] == [[], [], [], []]
    assert bench.log.state() == before
    adapter.episodes[8000] = (8000, 1)
    adapter.assessments[9000] = (9000, 1, 8000)
    assert sorted(bench.said([*await nightly(bench), *await nightly(bench)])) == [("8000", 1, True), ("9000", 1, True)]


@pytest.mark.parametrize("few", [1, 2, 4, 7])
@pytest.mark.parametrize("order", [("assessments", "episodes"), ("episodes", "assessments")])
async def test_a_stream_of_a_few_rows_is_known_again_because_another_one_is(few: int, order: tuple[str, str]) -> None:
    adapter = Referring(*order)
    adapter.assessments = {n: (n, n, n) for n in range(few)}
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    before = bench.log.state()
    adapter.renumber()
    assert [await nightly(bench) for _ in range(3)] == [[], [], []]
    assert bench.log.state() == before
    del adapter.assessments[2000]
    adapter.assessments[7000] = (7000, 0, 39)
    assert sorted(bench.said(await nightly(bench))) == [("0", 2, False), ("7000", 1, True)]


async def test_the_first_of_a_few_rows_that_is_known_again_waits_for_the_others() -> None:
    adapter = Referring("episodes", "assessments")
    adapter.assessments = {n: (n, n, n) for n in range(7)}
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    before, late = bench.log.state(), {n: adapter.episodes[n] for n in range(1, 7)}
    adapter.renumber()
    whole = adapter.episodes
    adapter.episodes = {n: row for n, row in whole.items() if n - 1000 not in late} | late
    pump = bench.pump()
    await pump.ready()
    for stream in (0, 1, 1):
        bench.wait(timedelta(hours=1))
        await pump.read(adapter.streams()[stream])
    await pump.close()
    assert bench.log.state() == before
    adapter.episodes = whole
    assert [await nightly(bench) for _ in range(3)] == [[], [], []]
    assert bench.log.state() == before


async def test_rows_do_not_wait_for_a_stream_that_is_not_read_for_days() -> None:
    adapter = Referring("episodes", "assessments")
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    adapter.add()
    pump = bench.pump()
    await pump.ready()
    lives = []
    for _ in range(4):
        bench.wait(timedelta(hours=20))
        await pump.read(adapter.streams()[1])
        lives.append(sum(event.data is not None for event in bench.log.told()))
    assert lives == [80, 80, 80, 90]
    await pump.close()


async def test_what_names_records_that_nobody_ever_knows_is_published_with_the_next_sweep_and_waits_once() -> None:
    adapter = Referring("episodes", "assessments")
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    adapter.add()
    assert await nightly(bench) == []
    told = bench.said(await nightly(bench))
    assert sorted(told) == sorted([(str(n), 2, False) for n in range(10)] + [(str(500 + n), 1, True) for n in range(10)])
    assert await nightly(bench) == []


async def test_a_few_new_records_that_name_each_other_are_published_at_once() -> None:
    adapter = Referring("assessments", "episodes")
    bench = Bench(adapter)  # type: ignore[arg-type]
    await bench.read()
    for n in range(90, 99):
        adapter.episodes[n] = (n, n)
        adapter.assessments[n] = (n, n, n)
    assert len(await nightly(bench)) == 18
    assert await nightly(bench) == []


async def test_the_state_database_knows_renumbered_rows_as_the_stand_in_does(store: Store) -> None:
    adapter = table()
    bench = Bench(adapter)

    async def read(memory: Memory) -> list[Event]:
        bench.wait(timedelta(hours=24))
        return await bench.read(bench.pump(memory=memory))

    memory = StoredMemory(store, "legacy")
    assert len(await read(memory)) == 160
    renumber(adapter, 1000)
    assert await read(memory) == []
    adapter.lines[1007] = Line(2, "N9")
    adapter.lines[7] = Line(70, "N7")
    assert sorted(alive for _, _, alive in bench.said(await read(memory))) == [True, True]
    assert {k.name for k in await memory.lookup("episodes", ["legacy:care-episode:8"])} == {"legacy:care-episode:8"}
    assert await memory.kept(["legacy:care-episode:1008"]) == {"legacy:care-episode:1008": "legacy:care-episode:8"}
    del adapter.lines[7]
    await read(memory)
    renumber(adapter, 1000)
    assert await read(StoredMemory(store, "legacy")) == []
    assert_same_content(bench)
