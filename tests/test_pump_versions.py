"""Versions come from the time: they grow, whatever was forgotten meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from adapters.testing import Bench, MemoryState, assert_versions_grow
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode


def table(count: int) -> TableAdapter:
    adapter = TableAdapter()
    adapter.lines = {n: Line(n, "N1") for n in range(count)}
    return adapter


async def test_a_key_that_is_used_again_begins_above_all_that_anybody_may_hold() -> None:
    adapter = table(5)
    bench = Bench(adapter)
    await bench.read()
    for need in ("N2", "N3", "N4"):
        adapter.lines[3] = Line(3, need)
        await bench.read()
    del adapter.lines[3]
    await bench.read()
    held = max(event.version for event in bench.log.events() if event.key == adapter.key(3))
    for records in bench.log.topics.values():  # compaction takes its tombstone, too, and then the state is lost
        records[:] = [None if event and event.key == adapter.key(3) else event for event in records]
    bench.state = MemoryState()
    await bench.read()
    adapter.lines[3] = Line(3, "N9")
    (event,) = await bench.read()
    assert (event.key, event.version > held) == (adapter.key(3), True)


async def test_a_clock_that_goes_back_takes_no_version_back() -> None:
    adapter = table(1)
    bench = Bench(adapter)
    await bench.read()
    for need in ("N2", "N3"):
        bench.wait(timedelta(hours=-2))
        adapter.lines[0] = Line(5 if need == "N3" else 0, need)  # at the second change it moves
        await bench.read()
    assert len(bench.log.told()) == 4
    assert_versions_grow(bench.log.told())


async def test_the_tombstone_of_a_move_has_the_odd_version_below_its_records() -> None:
    adapter = table(1)
    bench = Bench(adapter, partitions=50)
    await bench.read()
    adapter.lines[0] = Line(77, "N1")
    tombstone, record = await bench.read()
    assert (tombstone.data, tombstone.version, tombstone.version % 2) == (None, record.version - 1, 1)
    assert record.version == int(record.time.timestamp() * 1000)


class NewerEpisode(CareEpisode):
    """The same entity under a contract that a subscriber of the first one could not read."""

    version: ClassVar[int] = 2


async def test_the_envelope_names_the_version_of_the_entity_s_contract() -> None:
    adapter = table(2)
    bench = Bench(adapter)
    assert {event.type for event in await bench.read()} == {"ironbridge.care-episode.v1"}
    [stream] = adapter.streams()
    newer = replace(stream, entities=(NewerEpisode,), map=lambda row: NewerEpisode(**dict(stream.map(row))))
    adapter.streams = lambda: [newer]  # type: ignore[method-assign]
    adapter.lines = {1: Line(1, "N9")}
    events = await bench.read(bench.pump())
    assert [(event.type, event.data is None) for event in sorted(events, key=lambda e: e.key)] == [
        ("ironbridge.care-episode.v2", True),
        ("ironbridge.care-episode.v2", False),
    ]
