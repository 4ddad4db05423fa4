"""A Kafka topic as the source of a pushed stream, on Apache Kafka: every message counts once, whatever is killed."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from adapters.engine.journal import Step
from adapters.engine.pump import Pump
from adapters.kit.topic import Topic
from adapters.port import Finding, Gone, Push, Record, Row, Stream
from adapters.testing import assert_versions_grow
from canonical import CareEpisode, Entity, Event
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.key import key_of
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredMemory
from tests.servers import Kafka
from tests.test_pump_servers import committed

pytestmark = pytest.mark.servers


class EpisodesAdapter:
    """A legacy system that writes its care episodes to a topic: the number is the key, null is a deletion."""

    name = "legacy"

    def __init__(self, bootstrap: str, topic: str, *, ours: bool) -> None:
        group = f"ironbridge.{topic}"
        self.topic = Topic(
            self.name, topic, group, self._read, ours=ours, most=20, wait=0.5, bootstrap_servers=bootstrap
        )
        self._ours = ours

    def streams(self) -> Sequence[Stream]:
        return [Stream("episodes", (CareEpisode,), self._map, Push(self.topic.receive))]

    async def open(self) -> None:
        await self.topic.open()

    async def close(self) -> None:
        await self.topic.close()

    async def check(self) -> Sequence[Finding]:
        return []

    def _read(self, message: ConsumerRecord) -> Record | Gone | None:
        key = key_of(self.name, "care-episode", int(message.key))
        position = () if self._ours else (message.offset,)
        return Gone(key, position) if message.value is None else Record(key, position, (int(message.key), message.value))

    def _map(self, row: Row) -> Entity:
        number, value = row
        child, need = json.loads(value)
        person = key_of(self.name, "person", child)
        return CareEpisode(key=key_of(self.name, "care-episode", number), person=person, primary_need=need)


@dataclass
class World:
    """A topic that a legacy system writes to, topics of ours and a state."""

    kafka: KafkaSettings
    topic: str
    store: Store
    ours: bool

    def pump(self, memory: StoredMemory | None = None) -> Pump:
        adapter = EpisodesAdapter(self.kafka.bootstrap_servers, self.topic, ours=self.ours)
        journal = KafkaJournal(self.kafka, adapter.name, [CareEpisode])
        return Pump(adapter, journal, memory or StoredMemory(self.store, adapter.name), edition="1")

    async def read(self, pump: Pump) -> int:
        await pump.ready()
        (stream,) = pump.adapter.streams()
        return (await pump.read(stream)).published

    async def read_all(self, pump: Pump) -> int:
        """Read until all of the topic is taken in; how many events were published."""
        published = await self.read(pump)
        while await self.lag():
            published += await self.read(pump)
        return published

    async def read_on(self, pump: Pump) -> None:
        """Read until it fails."""
        async with asyncio.timeout(60):
            while True:
                await self.read(pump)

    async def write(self, *messages: tuple[int, list[Any] | None]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers)
        await producer.start()
        for number, value in messages:
            sent = None if value is None else json.dumps(value).encode()
            await producer.send(self.topic, sent, key=str(number).encode(), partition=number % 2)
        await producer.stop()

    async def lag(self) -> int:
        """How many messages lie behind the group's offsets."""
        async with self.consumer() as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            return int(sum([ends[p] - (await consumer.committed(p) or 0) for p in ends]))

    @asynccontextmanager
    async def consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """One with the group's offsets, which reads nothing."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap_servers, group_id=f"ironbridge.{self.topic}", enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([TopicPartition(self.topic, n) for n in range(2)])
        yield consumer
        await consumer.stop()


@pytest.fixture(params=[True, False], ids=["in our Kafka", "in another Kafka"])
async def world(request: pytest.FixtureRequest, apache_kafka: Kafka, store: Store) -> World:
    prefix = apache_kafka.prefix().rstrip(".")
    kafka = KafkaSettings(broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=prefix, partitions=3)
    world = World(kafka, f"{prefix}-episodes", store, request.param)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(world.topic, 2, 1)])
    await admin.close()
    return world


def assert_told_once(events: list[Event], sent: list[tuple[int, list[Any] | None]]) -> None:
    """The events of each record are some of the messages about it, in their order, each once, and the last of them."""
    assert_versions_grow(events)
    for number in {number for number, _ in sent}:
        key = key_of("legacy", "care-episode", number)
        told = [None if e.data is None else json.loads(e.data)["primary_need"] for e in events if e.key == key]
        left = iter([None if value is None else value[1] for n, value in sent if n == number])
        assert all(need in left for need in told), f"{number} was told twice, or went back: {told}"
        last = [value and value[1] for n, value in sent if n == number][-1]
        assert told[-1:] == [last] or (last is None and not told)


async def test_what_a_topic_says_is_published_and_the_groups_offsets_are_committed(world: World) -> None:
    pump = world.pump()
    sent: list[tuple[int, list[Any] | None]] = [(n, [n // 3, "N1"]) for n in range(50)]
    await world.write(*sent)
    assert await world.read_all(pump) == 50
    more: list[tuple[int, list[Any] | None]] = [(3, [1, "N2"]), (4, None), (5, [1, "N1"])]
    await world.write(*more)
    assert await world.read_all(pump) == 2
    await pump.close()
    pump = world.pump()
    assert await world.read(pump) == 0
    assert_told_once(await committed(world.kafka), [*sent, *more[:2]])
    await pump.close()


class Fails(StoredMemory):
    """Fails to save what was just published, twice."""

    left = 2

    async def save(self, stream: str, step: Step) -> None:
        if step.told and self.left:
            self.left -= 1
            raise UnavailableError("state", "does not answer")
        await super().save(stream, step)


async def test_what_was_published_and_not_remembered_is_published_once(world: World) -> None:
    pump = world.pump(Fails(world.store, "legacy"))
    sent: list[tuple[int, list[Any] | None]] = [(n % 7, [0, f"N{n}"]) for n in range(100)]
    await world.write(*sent)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await world.read_all(pump)
    await world.read_all(pump)
    assert_told_once(await committed(world.kafka), sent)
    await pump.close()


async def ended_by(world: World, what: str) -> None:
    pump = world.pump()
    for _ in range(2):  # it stays so
        with pytest.raises(MisconfiguredError, match=what):
            await world.read_on(pump)
    await pump.close()


async def test_messages_that_were_removed_before_they_were_read_end_the_reading(world: World) -> None:
    await world.write(*[(n, [0, "N1"]) for n in range(20)])
    pump = world.pump()
    assert await world.read_all(pump) == 20
    await pump.close()
    await world.write(*[(n, [0, "N2"]) for n in range(20)])
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap_servers)
    await admin.start()
    await admin.delete_records({TopicPartition(world.topic, 1): RecordsToDelete(before_offset=14)})
    await admin.close()
    await ended_by(world, "4 messages of its partition 1 were removed before they were read")


async def test_a_topic_that_ends_before_what_was_read_ends_the_reading(world: World) -> None:
    """So does the topic of a Kafka that was restored from a copy: what comes next in it would be taken for read."""
    await world.write(*[(n, [0, "N1"]) for n in range(20)])
    async with world.consumer() as consumer:
        await consumer.commit({TopicPartition(world.topic, 0): 11, TopicPartition(world.topic, 1): 10})
    await ended_by(world, "partition 0 ends before the last message that was read")


@pytest.mark.parametrize("seed", [1, 2])
async def test_lives_that_end_at_random_moments_lose_nothing_and_repeat_nothing(world: World, seed: int) -> None:
    rng = random.Random(seed)
    sent: list[tuple[int, list[Any] | None]] = []
    left = []
    for life in range(6):
        some = [(rng.randrange(40), [0, f"N{life}-{n}"] if rng.random() < 0.8 else None) for n in range(150)]
        await world.write(*some)
        sent += some
        pump = world.pump()
        reading = asyncio.create_task(world.read(pump))
        await asyncio.sleep(rng.uniform(0.2, 1.5))
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        if rng.random() < 0.5:
            await pump.close()
        else:
            left.append(pump)  # as if it had been killed: the next one fences it off
    pump = world.pump()
    await world.read_all(pump)
    assert_told_once(await committed(world.kafka), sent)
    for each in (*left, pump):
        await each.close()
