"""Reads the topics of the tables, from the places that the tables name, in no consumer group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from canonical import Entity, Event
from canonical.errors import MisconfiguredError
from canonical.event import topic_of
from canonical.turns import in_turns
from flows.engine.ledger import Reject
from ironbridge.kafka.client import connecting, translated
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.inbox import event_of
from ironbridge.observe.meters import count_consumed, kafka_operation
from ironbridge.settings import KafkaSettings

if TYPE_CHECKING:
    import pyarrow as pa

PART = "tables"
"""The name of the part that writes the tables, in the settings, in logs, spans and metrics."""
_AHEAD = 2 * 1024 * 1024  # bytes that are fetched ahead of what is read
_MOST = 2_000  # records of one poll
BYTES = 18 * 1024 * 1024
"""So many bytes of events at most are held before they are written, whatever their number is."""


@dataclass(slots=True)
class Read:
    """Events that were read of one topic, with their partitions and offsets, in the order of each partition."""

    events: list[Event] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    rows: list[pa.Table] = field(default_factory=list)
    """The rows that were made of earlier events: they take less memory than these."""

    def add(self, event: Event, partition: int, offset: int) -> None:
        self.events.append(event)
        self.partitions.append(partition)
        self.offsets.append(offset)

    def take(self) -> Read:
        """Take the events out: what was taken is let go of once rows are made of it."""
        taken = Read(self.events, self.partitions, self.offsets)
        self.events, self.partitions, self.offsets = [], [], []
        return taken


@dataclass(slots=True)
class Gathered:
    """What was read of all topics and is not yet written, by topic."""

    topics: dict[str, Read] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    events: int = 0
    bytes: int = 0
    since: float = 0.0
    """When the first of them was read, by the monotonic clock."""


class TopicReader:
    """The topics of some entities, read_committed, all partitions of them."""

    def __init__(self, settings: KafkaSettings, entities: Collection[type[Entity]]) -> None:
        self._settings = settings
        self._topics = [topic_of(entity, settings.topic_prefix) for entity in entities]
        self._partitions = [TopicPartition(t, p) for t in self._topics for p in range(settings.partitions)]
        self._read: dict[TopicPartition, int] = {}
        self._consumer: Any = None

    @property
    def partitions(self) -> list[tuple[str, int]]:
        return [(each.topic, each.partition) for each in self._partitions]

    async def __aenter__(self) -> TopicReader:
        async with connecting(self._settings, PART):
            self._consumer = consumer(
                self._settings,
                group_id=None,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_max_wait_ms=100,
                fetch_max_bytes=_AHEAD,
                max_partition_fetch_bytes=_AHEAD // 4,
            )
            self._consumer.assign(self._partitions)
            await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with translated(PART):
            await self._consumer.stop()

    async def seek(self, stands: Mapping[tuple[str, int], int]) -> None:
        """
        Go on behind the last event that the tables have.

        :raises MisconfiguredError: a partition ends before that: its topic is another one than the tables were written from.
        """
        with translated(PART):
            ends = await self._consumer.end_offsets(self._partitions)
        for partition in self._partitions:
            stand = stands[partition.topic, partition.partition]
            if stand > ends[partition]:
                raise MisconfiguredError(
                    PART, f"{partition.topic}[{partition.partition}] ends at {ends[partition]}, and the tables have read up to "
                    f"{stand}: the topic was made anew or cut off",
                    fix="move the folders of that entity's tables away: the next start makes them anew from what the topic holds",
                )  # fmt: skip
            self._read[partition] = stand
            self._consumer.seek(partition, stand)

    async def poll(self, into: Gathered) -> bool:
        """Add records to what was gathered; wait 200 ms for the first. Tell whether there were any."""
        with kafka_operation("poll", PART), translated(PART):
            found = await self._consumer.getmany(timeout_ms=200, max_records=_MOST)
        if not found:
            return False
        into.since = into.since or time.monotonic()
        for partition, records in found.items():
            read = into.topics.setdefault(partition.topic, Read())
            async for record in in_turns(records):
                event = event_of(record, self._settings.topic_prefix)
                into.events += 1
                if isinstance(event, Reject):
                    into.rejects.append(event)
                    continue
                into.bytes += len(record.value or b"")
                read.add(event, record.partition, record.offset)
            self._read[partition] = records[-1].offset + 1
        count_consumed(PART, _counted(found))
        return True

    def ahead(self) -> int:
        """Count, roughly, the records that can be read and are not yet read."""
        stable = {p: self._consumer.last_stable_offset(p) or 0 for p in self._partitions}
        return sum(max(end - self._read.get(p, 0), 0) for p, end in stable.items())


def _counted(found: Mapping[TopicPartition, Collection[Any]]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for partition, records in found.items():
        counted[partition.topic] = counted.get(partition.topic, 0) + len(records)
    return counted
