"""
Consumers of committed events, on every broker that speaks Kafka's protocol; two faults of the embedded one (noida-db 0.2.3)
are made good here.

With each fetch a broker names the aborted transactions that lie in what it gives. That one names all that began before its end,
those that had ended before its beginning, too. aiokafka believes them still open and passes over all that the same producer has
committed since: events would be lost in silence. And where there is nothing to give it says so at once, whatever it was asked to
wait: a client would ask it 1,300 times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from ironbridge.kafka.client import client_options, ending
from ironbridge.settings import KafkaSettings

_PAUSE = 0.05  # seconds after an answer that came at once and holds nothing


def consumer(
    settings: KafkaSettings, *, disturbed: Callable[[TopicPartition], None] | None = None, **options: Any
) -> AIOKafkaConsumer:
    """
    A consumer that is not started yet; `options` are aiokafka's. `disturbed` is called with each partition whose fetch
    failed: after a leader was lost or a topic was made anew the log may be another one.

    :raises MisconfiguredError: a certificate's or an authority's file cannot be used.
    """
    made = Consumer(**client_options(settings), **options)
    ask = made._client.send

    async def send(node: Any, request: Any, **other: Any) -> Any:
        began = time.monotonic()
        try:
            answer = await ask(node, request, **other)
        except KafkaError:
            if disturbed and isinstance(request, FetchRequest):
                for topic, partitions in request.topics:
                    for number, *_ in partitions:
                        disturbed(TopicPartition(topic, number))
            raise
        if isinstance(request, FetchRequest):
            if disturbed:
                _tell(answer, disturbed)
            _forget_what_had_ended(request, answer)
            if time.monotonic() - began < _PAUSE and not any(given[-1] for _, each in answer.topics for given in each):
                await asyncio.sleep(_PAUSE)
        return answer

    made._client.send = send
    return made


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """
    aiokafka's consumer with a limit for each wait. If the broker or a partition's leader is away, aiokafka asks for ever for
    a group's coordinator, a place in a group, a position or the committed offsets.

    :raises OverdueError: Kafka did not answer in time.
    """

    patience = 60.0
    """Seconds for Kafka to name a position."""
    joining = 100.0
    """Seconds for a place in the group: the other members first give theirs back, and a dead one is removed after 10."""
    last_words = 15.0
    """Seconds to leave the group in good order."""

    async def start(self) -> None:
        try:
            async with ending("give us a place in the consumer group", self.joining):
                await super().start()
        except BaseException:
            await self._give_up()
            raise

    async def stop(self) -> None:
        async with ending("let us go", self.last_words):
            await super().stop()

    async def position(self, partition: TopicPartition) -> int:
        async with ending(f"say where {partition.topic}[{partition.partition}] stands", self.patience):
            return int(await super().position(partition))

    async def committed(self, partition: TopicPartition) -> int | None:
        async with ending(f"say what is committed of {partition.topic}[{partition.partition}]", self.patience):
            found: int | None = await super().committed(partition)
            return found

    async def end_offsets(self, partitions: Any) -> Any:
        async with ending("say where the topics end", self.patience):
            return await super().end_offsets(partitions)

    async def commit(self, offsets: Any = None) -> None:
        async with ending("take the offsets", self.patience):
            await super().commit(offsets)

    async def _give_up(self) -> None:
        """Stop what was begun, so that none of its tasks goes on asking."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self.last_words):
                await asyncio.sleep(0)  # a task that is stopped before it has begun raises CancelledError
                await super().stop()


def _tell(answer: Any, disturbed: Callable[[TopicPartition], None]) -> None:
    """Nothing needs to be reported for an offset out of range: aiokafka begins from the start then."""
    for topic, partitions in answer.topics:
        for number, error, *_ in partitions:
            if error not in (0, OffsetOutOfRangeError.errno):
                disturbed(TopicPartition(topic, number))


def _forget_what_had_ended(request: FetchRequest, answer: Any) -> None:
    place = -2 if answer.API_VERSION < 11 else -3  # of the aborted transactions; the records are the last
    for topic, partitions in answer.topics:
        for partition, *rest in partitions:
            if not (told := rest[place]):
                continue
            begin = next(at for name, asked in request.topics if name == topic for p, at, _ in asked if p == partition)
            if earlier := {producer for producer, first in told if first < begin}:
                over = _committed_next(rest[-1], earlier)
                told[:] = [(producer, first) for producer, first in told if first >= begin or producer not in over]


def _committed_next(records: bytes, producers: set[int]) -> set[int]:
    """Those of the producers whose next transaction to end ends well: none that was aborted was still open."""
    batches, ended, committed = MemoryRecords(records), set[int](), set[int]()
    while batches.has_next() and ended != producers:
        batch = batches.next_batch()
        if batch.is_control_batch and batch.producer_id in producers - ended:
            ended.add(batch.producer_id)
            if ControlRecord.parse(next(batch).key) != ABORT_MARKER:
                committed.add(batch.producer_id)
    return committed
