"""A log made anew, cut off or compacted; a state that is old but not lost; another prefix: all are noticed and repaired."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from adapters.engine.pump import Guard, Pump
from adapters.testing import Bench, Faults, Killed, MemoryJournal, MemoryMemory, assert_versions_grow
from adapters.testing.table import Line, TableAdapter
from canonical.errors import FencedError, UnavailableError

OVER_THE_GUARD = Guard(share=1.0)
TOPIC = "canonical.care-episode"


def table(count: int = 20, **options: Any) -> TableAdapter:
    """Only one child's rows, so only one partition."""
    adapter = TableAdapter(**options)
    adapter.lines = {n: Line(0, "N1") for n in range(count)}
    return adapter


def ours(bench: Bench) -> dict[str, bytes]:
    return {key: data for key, data in bench.log.state().items() if key.startswith("legacy:")}


async def neighbours(bench: Bench, count: int = 400) -> None:
    """Let another adapter publish to the same topics."""
    other = TableAdapter(name="other")
    other.lines = {n: Line(n, "N1") for n in range(count)}
    bench_of_other = Bench(other)
    bench_of_other.log = bench.log
    await bench_of_other.read()


# -- a log made anew ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["a change", "a deletion", "a move"])
@pytest.mark.parametrize("grown", [0, 5, 400])
async def test_a_topic_made_anew_is_filled_again_whatever_lay_and_lies_at_its_end(
    last: str, grown: int, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = table()
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    match last:
        case "a change":
            adapter.lines[19] = Line(0, "N2")
        case "a deletion":
            del adapter.lines[19]
        case "a move":
            adapter.lines[19] = Line(1, "N1")
    await bench.read()
    bench.log.make_anew(TOPIC)
    await neighbours(bench, grown)
    await bench.read()
    assert ours(bench) == adapter.state()
    assert "does not hold what was published to it" in caplog.text
    caplog.clear()
    assert await bench.read() == []
    assert caplog.text == ""


async def test_a_topic_made_anew_between_two_publications_is_noticed_though_the_newest_event_lies_where_it_lay() -> (
    None
):
    adapter = table()
    bench = Bench(adapter)
    pump = bench.pump()
    await bench.read(pump)
    bench.log.make_anew(TOPIC)
    await neighbours(bench)
    adapter.lines[3] = Line(0, "N2")
    await bench.read(pump)  # its events come behind all that lay there before
    await bench.read()
    assert ours(bench) == adapter.state()
    assert_versions_grow(e for e in bench.log.told() if e.source == "legacy")


async def test_a_pump_that_publishes_before_the_end_that_it_knows_stops_and_fills_the_topic_again() -> None:
    adapter = table()
    bench = Bench(adapter)
    pump = bench.pump()
    await bench.read(pump)
    bench.log.make_anew(TOPIC)
    adapter.lines[3] = Line(0, "N2")
    with pytest.raises(UnavailableError, match="ends before what was published to it"):
        await bench.read(pump)
    await bench.read(pump)
    assert ours(bench) == adapter.state()


@pytest.mark.parametrize("grown", [0, 400])
async def test_an_idle_pump_notices_within_a_minute_that_the_topic_was_made_anew(grown: int) -> None:
    adapter = table()
    bench = Bench(adapter)
    pump = bench.pump()
    await bench.read(pump)
    bench.log.make_anew(TOPIC)
    await neighbours(bench, grown)
    bench.wait(timedelta(seconds=61))
    await bench.read(pump)
    assert ours(bench) == adapter.state()


async def test_a_compacted_log_says_nothing_and_repeats_nothing(caplog: pytest.LogCaptureFixture) -> None:
    adapter = table(60)
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    for n in range(0, 60, 7):
        adapter.lines[n] = Line(0, "N3")
    del adapter.lines[59]
    await bench.read()
    saved = copy.deepcopy(bench.state)
    adapter.lines[58] = Line(0, "N4")
    await bench.read()
    bench.log.compact(bench.clock())
    for state in (bench.state, saved):  # in the older state the last event was compacted away
        bench.state = state
        state.claims = 99
        assert await bench.read() == []
    bench.wait(timedelta(days=40))
    bench.log.compact(bench.clock())  # compaction takes the tombstone, too
    assert await bench.read() == []
    assert caplog.text == ""
    assert bench.log.state() == adapter.state()


async def test_a_deletion_of_which_the_log_holds_nothing_is_published_again_while_somebody_may_not_have_read_it() -> (
    None
):
    adapter = table(5)
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    del adapter.lines[4]
    await bench.read()
    bench.log.make_anew(TOPIC)
    events = await bench.read()
    assert [e.key for e in bench.log.events() if e.data is None] == [adapter.key(4)]
    assert len([e for e in events if e.data is not None]) == 4


@pytest.mark.parametrize("point", ["publish", "published", "save", "saved", "history"])
async def test_a_failure_while_a_topic_is_filled_again_loses_nothing(point: str) -> None:
    for n in range(6):
        adapter = table(30)
        bench = Bench(adapter, guard=OVER_THE_GUARD)
        await bench.read()
        del adapter.lines[29]
        await bench.read()
        bench.log.make_anew(TOPIC)
        await neighbours(bench)
        try:
            await bench.read(bench.pump(Faults(n, Killed(), only=point)))
        except Killed:
            await bench.read()
        assert ours(bench) == adapter.state()
        assert any(e.key == adapter.key(29) and e.data is None for e in bench.log.events())
        assert await bench.read() == []


async def test_a_topic_made_anew_that_ends_just_where_it_ended_is_noticed_within_the_hour() -> None:
    adapter = table(30)
    bench = Bench(adapter, partitions=1)
    pump = bench.pump()
    for need in ("N2", "N2", "N2"):
        adapter.lines[3] = Line(1, need)
        bench.wait(timedelta(minutes=2))
        await bench.read(pump)
    (partition,) = bench.log.topics
    bench.log.topics[partition] = [None] * len(bench.log.topics[partition])
    bench.wait(timedelta(hours=1))
    await bench.read(pump)
    assert bench.log.state() == adapter.state()


# -- an old state ------------------------------------------------------------------------------------------------


async def test_a_state_that_goes_back_under_a_pump_is_caught_up_with_before_anything_is_published() -> None:
    adapter = table(60)
    bench = Bench(adapter)
    pump = bench.pump()
    await bench.read(pump)
    saved = copy.deepcopy(bench.state)
    adapter.lines[5] = Line(0, "N2")
    await bench.read(pump)
    bench.state.go_back(saved)  # a failover that lost its last seconds
    adapter.lines[6] = Line(0, "N2")
    with pytest.raises(UnavailableError, match="the state is not the one that was saved last"):
        await bench.read(pump)
    assert [e.key for e in await bench.read(pump)] == [adapter.key(6)]
    assert_versions_grow(bench.log.told())
    assert bench.log.state() == adapter.state()


async def test_a_state_that_goes_back_between_the_transaction_and_its_save_is_caught_up_with() -> None:
    adapter = table(60)
    bench = Bench(adapter)
    await bench.read()
    saved = copy.deepcopy(bench.state)

    class Failover(MemoryJournal):
        async def publish(self, *args: Any) -> Any:
            places = await super().publish(*args)
            if saved is not None and bench.state.claims > saved.claims:
                bench.state.go_back(saved)
            return places

    memory = MemoryMemory(bench.state)
    journal = Failover(bench.log, adapter.name)
    pump = Pump(adapter, journal, memory, edition="1", clock=bench.clock, mean_region=8)
    adapter.lines[5] = Line(0, "N2")
    with pytest.raises(UnavailableError, match="gone back"):
        await bench.read(pump)
    assert await bench.read() == []
    assert bench.log.state() == adapter.state()


async def test_a_state_that_went_back_to_before_this_copy_is_claimed_again_and_a_newer_copy_still_wins() -> None:
    adapter = table(20)
    bench = Bench(adapter)
    await bench.read()
    saved = copy.deepcopy(bench.state)
    pump = bench.pump()
    await bench.read(pump)
    bench.state.go_back(saved)
    adapter.lines[5] = Line(0, "N2")
    with pytest.raises(UnavailableError):
        await bench.read(pump)
    assert len(await bench.read(pump)) == 1
    newer = bench.pump()
    await newer.ready()
    adapter.lines[5] = Line(0, "N3")
    with pytest.raises(FencedError):
        await bench.read(pump)
    assert len(await bench.read(newer)) == 1


async def test_a_copy_of_the_state_older_than_the_tombstones_that_it_never_saw_is_held_against_the_whole_log() -> None:
    adapter = table(20)
    bench = Bench(adapter)
    await bench.read()
    saved = copy.deepcopy(bench.state)
    line = adapter.lines.pop(7)
    await bench.read()
    bench.wait(timedelta(days=40))
    bench.log.compact(bench.clock())  # no record says any more that 7 was deleted
    adapter.lines[7] = line  # and now it is there again, as it was
    bench.state = saved
    saved.claims = 99
    assert [e.key for e in await bench.read()] == [adapter.key(7)]
    assert_versions_grow(bench.log.told())
    assert bench.log.state() == adapter.state()


async def test_a_copy_of_the_state_that_lacks_what_a_topic_made_anew_has_lost_goes_on_above_it() -> None:
    adapter = table(20)
    bench = Bench(adapter)
    await bench.read()
    saved = copy.deepcopy(bench.state)
    for need in ("N2", "N1"):  # changed, and back to what the copy knows
        adapter.lines[7] = Line(0, need)
        await bench.read()
    bench.state = saved
    saved.claims = 99
    bench.log.make_anew(TOPIC)
    await bench.read()
    assert_versions_grow(bench.log.told())
    assert bench.log.state() == adapter.state()


# -- another prefix ----------------------------------------------------------------------------------------------


async def test_under_another_prefix_everything_is_published_there_and_back_under_the_old_one_nothing_stays_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    adapter = table(50)
    bench = Bench(adapter, guard=OVER_THE_GUARD)

    async def once(prefix: str) -> int:
        journal = MemoryJournal(bench.log, adapter.name, prefix=prefix)
        before = len(bench.log.told())
        await bench.read(
            Pump(adapter, journal, MemoryMemory(bench.state), edition="1", clock=bench.clock, guard=bench.guard)
        )
        return len(bench.log.told()) - before

    def held(prefix: str) -> set[str]:
        newest = {e.key: e for (topic, _), events in bench.log.topics.items() if topic.startswith(f"{prefix}.")
                  for e in events if e}  # fmt: skip
        return {key for key, event in newest.items() if event.data is not None}

    assert await once("a") == 50
    assert await once("b") == 50
    assert "50 records were published under other topics than now and will be published again" in caplog.text
    caplog.clear()
    assert await once("b") == 0
    assert caplog.text == ""
    assert held("b") == set(adapter.state())
    del adapter.lines[3]
    await once("b")
    await once("a")
    assert held("a") == set(adapter.state())
    for prefix in ("a", "b"):
        told = [e for (topic, _), events in bench.log.topics.items() if topic.startswith(f"{prefix}.") for e in events if e]
        assert_versions_grow(told)
