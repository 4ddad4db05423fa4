"""The pump on real servers: Apache Kafka with PostgreSQL, the embedded broker with SQLite."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from adapters.testing import assert_versions_grow
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode, Event
from canonical.errors import FencedError, UnavailableError
from ironbridge.kafka.broker import ApacheKafka, Broker, EmbeddedBroker
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, open_store
from tests.pump_process import Pump, save, small_steps
from tests.servers import Kafka, Postgres

pytestmark = pytest.mark.servers


@dataclass
class World:
    """A legacy system, topics and a state of our own."""

    kafka: KafkaSettings
    state: str
    store: Store
    adapter: TableAdapter = field(default_factory=lambda: TableAdapter(page=100))

    def pump(self) -> Pump:
        return small_steps(self.adapter, self.kafka, self.store)

    async def read(self, pump: Pump) -> int:
        """Read once; how many events were published by the whole sweep."""
        await pump.ready()
        (stream,) = self.adapter.streams()
        return (await pump.read(stream)).published

    async def insist(self, pump: Pump) -> None:
        """Read until nothing is left to publish, whatever does not answer in between."""
        quiet = 0
        while quiet < 2:
            try:
                quiet = quiet + 1 if await self.read(pump) == 0 else 0
            except UnavailableError:
                await asyncio.sleep(0.2)

    async def assert_agreement(self, told: list[Event] | None = None) -> list[Event]:
        events = await committed(self.kafka)
        assert_versions_grow(told or events)
        newest = {event.key: event.data for event in events}
        assert {key: data for key, data in newest.items() if data is not None} == self.adapter.state()
        return events


async def committed(kafka: KafkaSettings, entity: str = "care-episode") -> list[Event]:
    """What a read_committed subscriber sees of an entity, each partition in its order."""
    reading = consumer(kafka, isolation_level="read_committed", auto_offset_reset="earliest")
    await reading.start()
    try:
        partitions = [TopicPartition(f"{kafka.topic_prefix}.{entity}", p) for p in range(kafka.partitions)]
        reading.assign(partitions)
        ends = await reading.end_offsets(partitions)
        events: list[Event] = []
        while any([await reading.position(p) < ends[p] for p in partitions]):
            for records in (await reading.getmany(timeout_ms=100)).values():
                events += [Event.from_kafka("test", r.value, r.headers) for r in records]
        return events
    finally:
        await reading.stop()


@asynccontextmanager
async def world_at(bootstrap: str, prefix: str, state: str) -> AsyncIterator[World]:
    kafka = KafkaSettings(broker="none", bootstrap_servers=bootstrap, topic_prefix=prefix, partitions=3)
    await ensure_topics(kafka, [CareEpisode])
    store = await open_store(state)
    try:
        yield World(kafka, state, store)
    finally:
        await store.close()


@pytest.fixture(params=["apache_kafka", "embedded_broker"])
def servers(request: pytest.FixtureRequest) -> tuple[Kafka, Postgres | None]:
    broker = request.getfixturevalue(request.param)
    return broker, request.getfixturevalue("postgres") if request.param == "apache_kafka" else None


@pytest.fixture
async def world(servers: tuple[Kafka, Postgres | None], tmp_path: Path) -> AsyncIterator[World]:
    broker, postgres = servers
    async with AsyncExitStack() as stack:
        state = f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}"
        if postgres is not None:
            state = await stack.enter_async_context(postgres.database())
        yield await stack.enter_async_context(world_at(broker.bootstrap, broker.prefix().rstrip("."), state))


def fill(adapter: TableAdapter, count: int) -> None:
    adapter.lines = {n: Line(child=n // 3, need="N1") for n in range(count)}


def edit(adapter: TableAdapter, rng: random.Random, times: int) -> None:
    for _ in range(times):
        number = rng.randrange(1500)
        if rng.random() < 0.25:
            adapter.lines.pop(number, None)
        else:
            adapter.lines[number] = Line(number // 3, f"N{rng.randrange(1000)}")


async def test_a_subscriber_sees_every_change_once_and_in_order(world: World) -> None:
    adapter, pump = world.adapter, world.pump()
    fill(adapter, 500)
    adapter.lines[9] = Line(3, "")
    assert await world.read(pump) == 499
    assert await world.read(pump) == 0
    adapter.lines[9] = Line(3, "N9")
    adapter.lines[17] = Line(5, "N2")
    adapter.lines[900] = Line(5, "N2")
    del adapter.lines[33]
    assert await world.read(pump) == 4
    await pump.close()
    pump = world.pump()
    assert await world.read(pump) == 0
    adapter.lines[33] = Line(11, "N1")
    assert await world.read(pump) == 1
    events = await world.assert_agreement()
    assert [e.data is not None for e in events if e.key == adapter.key(33)] == [True, False, True]
    assert len(events) == 504
    await pump.close()


async def test_a_state_that_was_lost_is_rebuilt_from_kafka(world: World, tmp_path: Path) -> None:
    adapter, pump = world.adapter, world.pump()
    fill(adapter, 500)
    await world.read(pump)
    await pump.close()
    del adapter.lines[7]
    adapter.lines[8] = Line(2, "N5")
    forgetful = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'other.sqlite3'}")
    pump = small_steps(adapter, world.kafka, forgetful)
    assert await world.read(pump) == 2
    await world.assert_agreement()
    await pump.close()
    await forgetful.close()


async def test_a_second_copy_fences_off_the_first_and_nothing_of_it_is_seen_again(world: World) -> None:
    adapter, first, second = world.adapter, world.pump(), world.pump()
    fill(adapter, 100)
    await world.read(first)
    await second.ready()
    adapter.lines[5] = Line(1, "N5")
    with pytest.raises(FencedError):
        await world.read(first)
    with pytest.raises(FencedError):
        await world.read(first)
    adapter.lines[5] = Line(1, "N6")
    assert await world.read(second) == 1
    events = await world.assert_agreement()
    assert [e.data for e in events if e.key == adapter.key(5)][1:] == [adapter.state()[adapter.key(5)]]
    await first.close()
    await second.close()


async def test_of_two_copies_that_start_at_once_one_goes_on(world: World) -> None:
    fill(world.adapter, 100)
    for need in ("N2", "N3"):
        world.adapter.lines[5] = Line(1, need)
        pumps = [world.pump(), world.pump()]
        ended = await asyncio.gather(*(world.insist(pump) for pump in pumps), return_exceptions=True)
        # The one that is taken over stops, unless it had come to its end before the other began.
        assert None in ended
        assert all(end is None or isinstance(end, FencedError) for end in ended)
        await asyncio.gather(*(pump.close() for pump in pumps))
    pump = world.pump()
    await world.insist(pump)
    await world.assert_agreement()
    await pump.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(world: World, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    adapter, table = world.adapter, tmp_path / "table.json"
    fill(adapter, 1000)
    save(adapter, table)
    given = {"kafka": world.kafka.model_dump(mode="json"), "state": world.state, "table": str(table)}
    for _ in range(6):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.pump_process",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(given).encode())
        process.stdin.close()
        # In some lives it is killed in the midst of catching up, in others after a reading or two, in the midst of the next.
        if rng.random() < 0.8:
            assert await process.stdout.readline() == b"ready\n"
            for _ in range(rng.randrange(3)):
                edit(adapter, rng, 100)
                save(adapter, table)
                assert await process.stdout.readline() == b"read\n"
        edit(adapter, rng, 100)
        save(adapter, table)
        await asyncio.sleep(rng.uniform(0, 0.5))
        process.kill()
        await process.communicate()
    pump = world.pump()
    await world.insist(pump)
    events = await world.assert_agreement()
    assert max(Counter(event.key for event in events).values()) > 2
    await pump.close()


@pytest.fixture(params=[ApacheKafka, EmbeddedBroker])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker of our own, to stop and to kill."""
    async with request.param(tmp_path / "broker") as broker:
        yield broker


async def test_a_broker_that_restarts_in_the_middle_is_waited_for(tmp_path: Path) -> None:
    """Not the embedded one: it forgets a transaction that was open when it stopped, and says that it was committed."""
    state = f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}"
    async with ApacheKafka(tmp_path / "broker") as broker, world_at(broker.bootstrap, "canonical", state) as world:
        pump = world.pump()
        fill(world.adapter, 4000)
        loading = asyncio.create_task(world.insist(pump))
        await asyncio.sleep(0.4)
        await broker.stop()
        assert not loading.done()
        with pytest.raises(UnavailableError) as error:
            await world.pump().ready()
        assert "kafka: Kafka does not answer (KafkaConnectionError). To do: check `kafka." in str(error.value)
        await broker.start()
        await asyncio.wait_for(loading, 120)
        await world.assert_agreement()
        await pump.close()


async def test_a_killed_broker_that_forgot_what_it_had_confirmed_is_healed(
    broker: Broker, tmp_path: Path, caplog: Any
) -> None:
    """The embedded one does forget; what was lost is published again as it was, and so is no event twice in the log."""
    async with world_at(broker.bootstrap, "canonical", f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}") as world:
        rng = random.Random(5)
        fill(world.adapter, 1000)
        pump = world.pump()
        await world.read(pump)
        for _ in range(3):
            edit(world.adapter, rng, 200)
            await world.read(pump)
            broker.kill()
            edit(world.adapter, rng, 20)
            await broker.start()
            await pump.close()
            pump = world.pump()
            await world.insist(pump)
        events = await committed(world.kafka)
        newest = {event.key: event.data for event in events}
        assert {key: data for key, data in newest.items() if data is not None} == world.adapter.state()
        assert len({event.id for event in events}) == len(events)
        order: dict[str, int] = {}
        for event in events:
            assert event.version > order.get(event.key, 0)
            order[event.key] = event.version
        if isinstance(broker, ApacheKafka):
            assert_versions_grow(events)
            assert "lost its tail" not in caplog.text
        await pump.close()


async def test_a_topic_that_was_deleted_is_made_again_and_filled(world: World) -> None:
    pump = world.pump()
    fill(world.adapter, 300)
    await world.read(pump)
    await pump.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap_servers)
    await admin.start()
    await admin.delete_topics([f"{world.kafka.topic_prefix}.care-episode"])
    await admin.close()
    await asyncio.sleep(1)
    pump = world.pump()
    await world.insist(pump)
    assert len(await world.assert_agreement()) == 300
    await pump.close()


async def test_two_adapters_share_a_topic_without_disturbing_each_other(world: World) -> None:
    other = World(world.kafka, world.state, world.store, TableAdapter("other", page=30))
    fill(world.adapter, 300)
    fill(other.adapter, 300)
    pumps = [(each, each.pump()) for each in (world, other)]
    await asyncio.gather(*(each.read(pump) for each, pump in pumps))
    for each, pump in pumps:
        each.adapter.lines[4] = Line(1, "N2")
        await pump.close()
    pumps = [(each, each.pump()) for each in (world, other)]
    assert await asyncio.gather(*(each.read(pump) for each, pump in pumps)) == [1, 1]
    events = await committed(world.kafka)
    assert_versions_grow(events)
    newest = {event.key: event.data for event in events}
    assert newest == {**world.adapter.state(), **other.adapter.state()}
    for _, pump in pumps:
        await pump.close()


async def test_the_journals_cursor_lies_beside_the_events(world: World) -> None:
    fill(world.adapter, 100)
    pump = world.pump()
    await world.read(pump)
    consumer = AIOKafkaConsumer(
        f"{world.kafka.topic_prefix}.cursors", bootstrap_servers=world.kafka.bootstrap_servers,
        isolation_level="read_committed", auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    record = await asyncio.wait_for(consumer.getone(), 10)
    assert record.key == b"legacy/episodes"
    assert json.loads(record.value)["sweep"] == 1
    await consumer.stop()
    await pump.close()


def test_a_journal_is_what_the_pump_asks_for() -> None:
    from adapters.engine.journal import Journal

    journal: Journal = KafkaJournal(KafkaSettings(), "legacy", [CareEpisode])
    assert journal.partition_of("a") in range(6)


async def test_under_another_prefix_everything_is_published_there(world: World) -> None:
    fill(world.adapter, 50)
    pump = world.pump()
    await world.insist(pump)
    await pump.close()
    other = World(
        world.kafka.model_copy(update={"topic_prefix": f"{world.kafka.topic_prefix}b"}),
        world.state, world.store, world.adapter,
    )  # fmt: skip
    for published in (50, 0):
        pump = other.pump()
        assert await other.read(pump) == published
        await pump.close()
    assert len(await other.assert_agreement()) == 50


async def test_a_topic_made_anew_that_others_have_filled_is_noticed(world: World) -> None:
    """Another adapter's event lies at the offset of our last event."""
    fill(world.adapter, 100)
    pump = world.pump()
    await world.insist(pump)
    del world.adapter.lines[7]  # so that a tombstone is the last one somewhere
    await world.insist(pump)
    await pump.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap_servers)
    await admin.start()
    await admin.delete_topics([f"{world.kafka.topic_prefix}.care-episode"])
    await admin.close()
    await asyncio.sleep(1)
    neighbour = World(world.kafka, world.state, world.store, TableAdapter("other", page=30))
    fill(neighbour.adapter, 600)
    pump = neighbour.pump()
    await neighbour.insist(pump)
    await pump.close()
    pump = world.pump()
    await world.insist(pump)
    await pump.close()
    newest = {event.key: event.data for event in await committed(world.kafka)}
    held = {key: data for key, data in newest.items() if data is not None}
    assert held == {**world.adapter.state(), **neighbour.adapter.state()}
