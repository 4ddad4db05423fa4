"""What a person does to streams and flows: what comes of it, and that it is on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from adapters.engine.guard import Guard
from adapters.engine.pump import Pump
from adapters.port import Extract, Record
from adapters.testing import Bench, Log, MemoryJournal, assert_versions_grow
from adapters.testing.table import Line, TableAdapter
from canonical.errors import BadRecordError, MisconfiguredError
from flows.port import Document, Limits, Refused
from ironbridge.operate import audit, insight, steer
from ironbridge.operate.audit import Actor
from ironbridge.operate.reconcile import compare
from ironbridge.operate.stuck import everything
from ironbridge.runtime import bridge
from ironbridge.settings import Settings
from ironbridge.store import Store, StoredMemory, tables
from ironbridge.store.budget import SharedBudget
from tests.agreement import START, World, numbers, supplier, supplier_key

JO = Actor("jo", "command line")


@pytest.fixture
def store(each_store: Store) -> Store:
    return each_store


@pytest.fixture
async def world(store: Store) -> World:
    made = World(store)
    await made.arrive(*(supplier(n) for n in range(1, 5)))
    await made.agree()
    made.target.batches.clear()
    return made


# -- replay ------------------------------------------------------------------------------------------------------------


async def test_a_replay_works_everything_out_again_and_writes_what_comes_out_different(world: World) -> None:
    world.flow.suffix = " (mapped anew)"  # a mapping whose edition nobody raised
    assert await steer.replay(world.store, JO, world.flow, "the mapping was mended") == 4
    await world.agree()
    assert numbers(world.written()) == [1, 2, 3, 4]
    assert world.name_of(3) == "Supplier 3 as of 1 (mapped anew)"
    world.target.batches.clear()
    assert await steer.replay(world.store, JO, world.flow) == 4
    await world.agree()
    assert world.written() == [], "what comes out the same is not written again"
    newest, first = await audit.trail(world.store)
    assert (first.who, first.action, first.what) == ("jo", "replay", "purchasing (all)")
    assert (first.why, newest.why) == ("the mapping was mended", "")


async def test_a_replay_since_a_time_takes_only_what_changed_since(world: World) -> None:
    await world.arrive(supplier(2, 2), supplier(3, 5))
    await world.agree()
    world.target.batches.clear()
    world.flow.suffix = " again"
    since = START.timestamp() + 2  # an event's time is its version in seconds
    assert await steer.replay(world.store, JO, world.flow, since=since) == 2
    await world.agree()
    assert numbers(world.written()) == [2, 3]


async def test_a_rewrite_puts_right_what_somebody_changed_at_the_target_and_leaves_the_rest(world: World) -> None:
    target = world.target
    target.documents[supplier_key(2)] = Document("supplier", "2", {"number": "2", "name": "Changed by hand"})
    target.lose(supplier_key(3))
    await steer.replay(world.store, JO, world.flow)
    await world.agree()
    assert world.written() == [], "the ledger knows nothing of it"
    found = await compare(world.store, world.flow, target, [], patience=0, today=lambda: START.date())
    assert {d.key for d in found.differences} == {supplier_key(2), supplier_key(3)}
    await steer.replay(world.store, JO, world.flow, rewrite=True)
    await world.agree()
    assert sorted(numbers(world.written())) == [2, 3]
    assert world.name_of(2) == "Supplier 2 as of 1"
    found = await compare(world.store, world.flow, target, [], patience=0, today=lambda: START.date())
    assert found.differences == []


async def test_a_rewrite_sends_everything_whole_where_the_target_shows_nothing(world: World) -> None:
    world.target.readable = False
    await world.arrive(supplier(9, deleted=True))  # nothing was ever there: nothing is to be removed
    await world.agree()
    world.target.batches.clear()
    await steer.replay(world.store, JO, world.flow, rewrite=True)
    await world.agree()
    assert numbers(world.written()) == [1, 2, 3, 4]
    assert all(w.confirmed is None and w.doubtful for batch in world.target.batches for w in batch)


async def test_what_a_person_dropped_is_not_replayed(world: World) -> None:
    world.target.answer(supplier_key(2), Refused("no"))
    await world.arrive(supplier(2, 2))
    await world.agree()
    assert await steer.drop(world.store, JO, [supplier_key(2)], "it is a duplicate") == 1
    assert await steer.replay(world.store, JO, world.flow) == 3
    assert (await world.row(supplier_key(2)))["state"] == "dropped"


# -- the audit trail ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "action", "what"),
    [
        (lambda s: steer.retry(s, JO, ["k1", "k2"], "why not"), "retry", ["k2", "k1"]),
        (lambda s: steer.drop(s, JO, ["k1"], "why not"), "drop", ["k1"]),
        (lambda s: steer.pause(s, JO, "dfe_csc", "why not"), "pause", ["dfe_csc"]),
        (lambda s: steer.resume(s, JO, "liquidlogic.person", "why not"), "resume", ["liquidlogic.person"]),
        (lambda s: steer.backfill(s, JO, "liquidlogic", "person", "why not"), "backfill", ["liquidlogic.person"]),
        (lambda s: audit.reveal(s, JO, ["k1"], "why not"), "reveal", ["k1"]),
    ],
)
async def test_every_act_is_on_record_with_who_and_why(
    store: Store, act: Callable[[Store], Awaitable[object]], action: str, what: list[str]
) -> None:
    await _park(store, "k1", "k2")
    await act(store)
    rows = await audit.trail(store)
    assert [row.what for row in rows] == what
    assert {(row.who, row.through, row.action, row.why) for row in rows} == {
        ("jo", "command line", action, "why not")
    }


async def _park(store: Store, *keys: str) -> None:
    async with store.write() as connection:
        await connection.execute(tables.flows.insert().values(name="dfe_csc", paused=False))
        row = {"flow": "dfe_csc", "partition": 0, "state": "parked", "urgency": 0, "seq": 1, "changes": 1, "since": 1.0}
        parked = [row | {"subject": key, "attempts": 1, "reason": "no"} for key in keys]
        await connection.execute(tables.subjects.insert(), parked)


async def test_what_nothing_was_done_to_is_not_on_record(store: Store) -> None:
    await _park(store, "k1")
    assert await steer.retry(store, JO, ["nokey", "k1"]) == 1
    assert await steer.retry(store, JO, ["k1"]) == 0, "it is to do already"
    assert await steer.drop(store, JO, ["k1", "nokey"], "why not") == 0
    assert [(row.action, row.what) for row in await audit.trail(store)] == [("retry", "k1")]


async def test_nothing_is_revealed_without_a_reason(store: Store) -> None:
    with pytest.raises(MisconfiguredError, match="no reason is given"):
        await audit.reveal(store, JO, ["k1"], "  ")
    assert await audit.trail(store) == []


# -- backfill ----------------------------------------------------------------------------------------------------------


def table(count: int) -> TableAdapter:
    adapter = TableAdapter()
    adapter.lines = {n: Line(child=n // 3, need="N1") for n in range(count)}
    return adapter


async def test_a_backfill_publishes_what_the_topic_lacks_and_no_event_twice() -> None:
    adapter = table(60)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines[7] = Line(2, "N5")
    del adapter.lines[8]
    await bench.read()
    state = bench.log.state()
    lost = {adapter.key(n) for n in (3, 7, 40)}
    for log in bench.log.topics.values():  # somebody deleted records of the topic, and not at its end
        log[:-1] = [None if e is not None and e.key in lost else e for e in log[:-1]]
    assert bench.log.state() != state
    pump = bench.pump()
    assert await bench.read(pump) == [], "a usual reading has no reason to look"
    (stream,) = adapter.streams()
    assert await pump.backfill(stream) == 3
    again = await bench.read(pump)
    assert {e.key for e in again} == lost
    assert_versions_grow(bench.log.told())
    assert bench.log.state() == state == adapter.state()
    assert await pump.backfill(stream) == 0
    assert await bench.read(pump) == []


async def test_a_backfill_compares_every_row_by_itself() -> None:
    """A region's digest that was saved wrongly would hide a change for ever: it is not believed."""
    adapter = table(60)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines[30] = Line(10, "N9")
    stream = adapter.streams()[0]
    here = bench.state.of(stream.name)
    pump = bench.pump()
    fresh = Bench(adapter)
    await fresh.read()
    here.regions.update(fresh.state.of(stream.name).regions)  # as if the change had been compared
    assert await bench.read(pump) == []
    assert await pump.backfill(stream) == 0
    assert [(e.key, bench.nth(e)) for e in await bench.read(pump)] == [(adapter.key(30), 2)]
    assert_versions_grow(bench.log.told())


async def test_a_backfill_waits_for_its_adapter_and_says_how_far_it_is(store: Store) -> None:
    memory = StoredMemory(store, "liquidlogic")
    asked = await steer.backfill(store, JO, "liquidlogic", "person", "after the restore")
    stands = await steer.backfilling(store, "liquidlogic", "person", asked)
    assert (stands.taken_up, stands.done) == (False, False)
    assert await memory.backfill("person") == asked
    await steer.pause(store, JO, "liquidlogic.person")
    assert await memory.backfill("person") is None, "a paused stream is left alone"
    await steer.resume(store, JO, "liquidlogic.person")
    later = await steer.backfill(store, JO, "liquidlogic", "person", "once more")
    await memory.backfilled("person", asked)
    assert await memory.backfill("person") == later, "what was asked for meanwhile is not forgotten"
    await memory.backfilled("person", later)
    stands = await steer.backfilling(store, "liquidlogic", "person", later)
    assert (stands.taken_up, stands.done) == (True, False)


async def test_a_running_adapter_takes_a_backfill_up_long_before_it_is_due(store: Store) -> None:
    adapter = table(30)
    log = Log()
    pump = Pump(
        adapter, MemoryJournal(log, adapter.name), StoredMemory(store, adapter.name), edition="1", mean_region=8
    )
    stream = replace(adapter.streams()[0], every=timedelta(hours=1))
    stop = asyncio.Event()
    running = asyncio.create_task(
        bridge.keep_adapter(bridge.Platform(Settings(), store), adapter.name, pump, [stream], stop)
    )
    while len(log.told()) < 30:
        await asyncio.sleep(0.05)
    for records in log.topics.values():
        records[:-1] = [None for _ in records[:-1]]
    lost = 30 - len(log.state())
    asked = await steer.backfill(store, JO, adapter.name, stream.name, "somebody emptied the topic")
    stands = [s async for s in _slowly(steer.watched(store, adapter.name, stream.name, asked))][-1]
    stop.set()
    await running
    assert (stands.read, stands.records, stands.published) == (30, 30, lost)
    assert log.state() == adapter.state()


async def _slowly(each: AsyncIterator[steer.Backfilling]) -> AsyncIterator[steer.Backfilling]:
    async for one in each:
        yield one
        await asyncio.sleep(0.1)


# -- what is counted ---------------------------------------------------------------------------------------------------


async def test_the_standing_counts_what_lives_what_was_published_and_what_is_held(store: Store, world: World) -> None:
    adapter = TableAdapter()
    adapter.lines = {n: Line(child=n, need="N1") for n in range(4)} | {9: Line(child=9, need="")}
    pump = Pump(adapter, MemoryJournal(Log(), "legacy"), StoredMemory(store, "legacy"), edition="1")
    (stream,) = adapter.streams()
    await pump.ready()
    await pump.read(stream)
    adapter.lines[1] = Line(1, "N2")
    del adapter.lines[2]
    await pump.read(stream)
    (row,) = await insight.streams(store)
    assert [row.records, row.events, row.quarantined] == [3, 6, 1]
    (flow,) = await insight.flows(store)
    assert [flow.agreed, flow.holds, flow.dirty, flow.rejected] == [4, 4, 0, 0]


async def test_a_file_that_cannot_be_read_and_a_second_row_are_read_again_when_a_person_asks(store: Store) -> None:
    adapter = TableAdapter(reading="files")
    adapter.files = {"may": None, "june": [(1, Line(1, "N1")), (1, Line(1, "N2"))], "july": [(3, Line(3, "N1"))]}
    memory = StoredMemory(store, "legacy")
    pump = Pump(adapter, MemoryJournal(Log(), "legacy"), memory, edition="1")
    (stream,) = adapter.streams()
    await pump.ready()
    await pump.read(stream)
    stuck = [row.key async for rows in everything(store) for row in rows]
    assert len(stuck) == 2
    assert await steer.retry(store, JO, stuck) == 2
    assert {name for name, seen in (await memory.regions(stream.name)).items() if seen.digest is None} == {"may", "june"}
    await pump.read(stream)
    assert all(seen.digest for seen in (await memory.regions(stream.name)).values())
    assert [row.key async for rows in everything(store) for row in rows] == stuck


class Locked(TableAdapter):
    """Its file april cannot be read while it is locked; its content stays as it is."""

    locked = True

    async def _extracts(self) -> AsyncIterator[Extract]:
        async for extract in super()._extracts():
            locked = self.locked and extract.name == "april"
            yield replace(extract, portions=self._refused) if locked else extract

    async def _refused(self) -> AsyncIterator[Sequence[Record]]:
        raise BadRecordError("legacy april", field="file", rule="cannot be opened", shape="a file")
        yield


async def test_deletions_that_waited_for_a_file_go_on_once_a_person_has_it_read_again_as_it_is(store: Store) -> None:
    adapter, log = Locked(reading="files"), Log()
    adapter.files = {"april": [(4, Line(4, "N1"))], "may": [(n, Line(n, "N1")) for n in (1, 2, 3)]}
    pump = Pump(adapter, MemoryJournal(log, "legacy"), StoredMemory(store, "legacy"), edition="1", guard=Guard(share=1))
    (stream,) = adapter.streams()
    await pump.ready()
    await pump.read(stream)
    adapter.files["may"] = [(1, Line(1, "N1"))]
    await pump.read(stream)
    adapter.locked = False
    asked = adapter.asked
    await pump.read(stream)
    assert adapter.asked == asked, "nobody can see that it may be read now"
    assert log.state().keys() == {adapter.key(n) for n in (1, 2, 3)}
    (stuck,) = [row.key async for rows in everything(store) for row in rows]
    assert await steer.retry(store, JO, [stuck]) == 1
    await pump.read(stream)
    assert log.state().keys() == {adapter.key(n) for n in (1, 4)}
    assert [rows async for rows in everything(store)] == []


# -- release -----------------------------------------------------------------------------------------------------------


async def test_the_silence_that_a_target_asked_for_is_shown_and_a_person_can_lift_it(world: World) -> None:
    store, flow = world.store, world.flow.name
    budget = SharedBudget(store, flow, Limits(requests=100, window=60.0))
    await budget.hold(timedelta(minutes=10))
    async with store.write() as connection:
        await connection.execute(
            text("UPDATE subjects SET state = 'dirty', due = :due WHERE flow = :flow"),
            {"flow": flow, "due": store.clock() + 600},
        )
    (stands,) = await insight.standing(store)
    assert stands.seconds_silent == pytest.approx(600, abs=60)
    assert "asked for silence until" in insight.silence(flow, stands.seconds_silent)
    assert await steer.release(store, JO, flow, "their gateway was restarted")
    await budget.spend(1)  # at once
    (stands,) = await insight.standing(store)
    assert stands.seconds_silent is None
    assert await world.agreement.step(), "subjects that were put back until then go at once, too"
    assert not await steer.release(store, JO, flow), "there is nothing to lift"
    (line,) = await audit.trail(store)
    assert (line.action, line.what, line.why) == ("release", flow, "their gateway was restarted")
