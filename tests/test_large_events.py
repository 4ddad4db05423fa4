"""An event that is larger than its topic takes is quarantined alone; the others of its page, its stream and its adapter go on."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.engine.journal import LARGEST_EVENT, Journal
from adapters.engine.pump import Pump
from adapters.port import Page, Position, Record, Row, Stream, Sweep
from adapters.testing import Log, MemoryJournal, MemoryMemory, MemoryState
from canonical import Identifier, Person
from canonical.errors import UnavailableError
from canonical.finding import Finding
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics, topics
from ironbridge.settings import KafkaSettings
from tests.servers import Kafka

SMALL = 64 * 1024
"""The bytes of a record that the topic takes after somebody has changed it."""


def person(row: Row) -> Person:
    pieces = [row[1][at : at + 60] for at in range(0, len(row[1]), 60)]
    numbers = tuple(Identifier(system="file", value=piece) for piece in pieces)
    return Person(key=f"homes:person:{row[0]}", identifiers=numbers)


@dataclass
class Files:
    """An adapter of people, each with as many letters as `sizes` says, which become twice as many bytes."""

    sizes: dict[int, int]
    name: str = "homes"

    def streams(self) -> Sequence[Stream]:
        return [Stream("people", (Person,), person, Sweep(self._pages))]

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return []

    async def _pages(self, after: Position | None) -> AsyncIterator[Page]:
        rows = [(n, random.Random(n).randbytes(size // 2).hex()) for n, size in self.sizes.items()]
        yield Page([Record(f"homes:person:{n}", (n,), (n, value)) for n, value in rows], (rows[-1][0],))


class Reading:
    """An adapter that is read by a pump; its problems are those of its memory."""

    def __init__(self, adapter: Files, journal: Journal) -> None:
        self.adapter, self.state = adapter, MemoryState()
        [self.stream] = adapter.streams()
        self.pump = Pump(adapter, journal, MemoryMemory(self.state), edition="1", mean_region=8)

    async def read(self) -> None:
        await self.pump.ready()
        await self.pump.read(self.stream)

    @property
    def problems(self) -> dict[str, str]:
        return {key: each.what for key, each in self.state.of("people").problems.items()}

    @property
    def published(self) -> set[str]:
        return {known.key for known in self.state.of("people").records.values() if known.published}


def keys(*numbers: int) -> set[str]:
    return {f"homes:person:{n}" for n in numbers}


async def test_an_event_larger_than_any_topic_takes_is_quarantined_alone() -> None:
    reading = Reading(Files({1: 10, 2: LARGEST_EVENT * 3 // 4, 3: 10}), MemoryJournal(Log(), "homes", [Person]))
    await reading.read()
    assert reading.published == keys(1, 3)
    [(key, said)] = reading.problems.items()
    assert key == "homes:person:2"
    assert f"the entity: is larger than {LARGEST_EVENT} bytes" in said


async def test_a_topic_that_was_made_smaller_costs_only_the_events_that_it_does_not_take() -> None:
    log = Log()
    reading = Reading(Files({1: 10, 2: 10, 3: 10}), MemoryJournal(log, "homes", [Person]))
    await reading.read()
    log.largest["canonical.person"] = SMALL
    reading.adapter.sizes |= {2: 2 * SMALL, 4: 10}
    with pytest.raises(UnavailableError):
        await reading.read()
    await reading.read()
    assert reading.published == keys(1, 2, 3, 4)
    await _mended(reading, log)


async def _mended(reading: Reading, log: Log) -> None:
    """The last good event stays; the row is read again when the topic takes it and a person asks."""
    [(key, said)] = reading.problems.items()
    assert key == "homes:person:2"
    assert "is larger than 65536 bytes" in said
    del log.largest["canonical.person"]
    await reading.pump.backfill(reading.stream)
    await reading.read()
    assert not reading.problems
    assert len(log.state()["homes:person:2"]) > SMALL


async def _set_size(kafka: KafkaSettings, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        name = f"{kafka.topic_prefix}.person"
        settings = topics(kafka, [Person])[name][1] | {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, settings)])
    finally:
        await admin.close()


async def test_apache_kafka_refuses_a_large_event_and_the_others_go_on(apache_kafka: Kafka) -> None:
    kafka = KafkaSettings(
        broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=apache_kafka.prefix().rstrip("."), partitions=1
    )
    await ensure_topics(kafka, [Person])
    reading = Reading(Files(dict.fromkeys(range(1, 31), 10_000)), KafkaJournal(kafka, "homes", [Person]))
    await reading.read()
    await _set_size(kafka, SMALL)
    reading.adapter.sizes |= dict.fromkeys(range(11, 61), 11_000) | {5: 100_000, 70: 300_000}
    with pytest.raises(UnavailableError, match=r"takes no record as large as one of ours any more\. To do: give the topics"):
        await reading.read()
    await reading.read()
    assert reading.published == keys(*range(1, 61))
    assert reading.problems.keys() == keys(5, 70)
    assert all("run `ironbridge backfill homes people`" in said for said in reading.problems.values()), reading.problems
    await _set_size(kafka, 8 * 1024 * 1024)
    await reading.pump.backfill(reading.stream)
    await reading.read()
    assert not reading.problems
    assert reading.published == keys(*range(1, 61), 70)
    await reading.pump.close()
