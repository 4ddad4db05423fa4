"""
Kafka, the record: the journal into which an adapter publishes.

aiokafka is used directly, in batches: FastStream's work a message costs more than all of ours (see docs/decisions).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerClosed

from adapters.engine.journal import LARGEST_EVENT, LARGEST_RECORD, Cursor, Partition, Place, Watermark, named
from adapters.port import Offsets
from canonical import Entity, Event
from canonical.errors import BadRecordError, FencedError, UnavailableError
from canonical.event import topic_of
from ironbridge.kafka.client import client_options, compression, connecting, translated
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.topics import cursors_topic, journal_topics, largest_records, partition_of
from ironbridge.observe.meters import count_sent, kafka_operation
from ironbridge.settings import KafkaSettings

_BATCH = 512 * 1024
_ENVELOPE = 16 * 1024
"""More than the bytes of any event's key, headers and batch."""
_PATIENCE = 120.0  # seconds; a transaction whose adapter was killed is ended after 60
_LAST_WORDS = 5.0  # seconds for a client to stop in good order


class Tracing(Protocol):
    """Gives events their trace context, and spans, until they are published, to those that are sampled."""

    def publishing(self, events: Sequence[Event]) -> AbstractContextManager[Sequence[Event]]: ...


class _Untraced:
    def publishing(self, events: Sequence[Event]) -> AbstractContextManager[Sequence[Event]]:
        return nullcontext(events)


def transactional_id(settings: KafkaSettings, adapter: str) -> str:
    return f"ironbridge.{settings.topic_prefix}.{adapter}"


class KafkaJournal:
    """
    One adapter's journal: a transactional producer and a reader of what it published (`adapters.engine.journal.Journal`).

    `patience` (seconds) is how long a transaction and the end of one may take; the broker's own is a little longer.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        adapter: str,
        entities: Iterable[type[Entity]],
        tracing: Tracing | None = None,
        patience: float = 50.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._adapter = adapter
        self._entities = tuple(entities)
        self._topics = [topic_of(entity, settings.topic_prefix) for entity in self._entities]
        self._tracing = tracing or _Untraced()
        self._patience = patience
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None
        self._fenced: FencedError | None = None
        self._unfinished = False
        self._sizes: dict[str, int] = {}

    async def open(self) -> None:
        # A topic that was deleted under us is made again; catching up then finds that all of it is lost.
        self._sizes = await largest_records(self._settings, journal_topics(self._settings, self._entities))
        async with connecting(self._settings, self._adapter):
            producer = AIOKafkaProducer(
                **client_options(self._settings),
                transactional_id=transactional_id(self._settings, self._adapter),
                transaction_timeout_ms=int(self._patience * 1000) + 10_000,
                acks="all",
                enable_idempotence=True,
                compression_type=compression(self._settings),
                max_batch_size=min(_BATCH, *self._sizes.values()),
                max_request_size=LARGEST_RECORD,
            )
            try:
                async with asyncio.timeout(self._patience):
                    await producer.start()
            except BaseException:
                await producer.stop()
                raise
        self._producer, self._fenced, self._unfinished = producer, None, False

    async def close(self) -> None:
        """End an unfinished transaction, so that nobody has to wait for it to time out, and let go of Kafka."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with translated(self._adapter):
            # One that was just being committed or has failed cannot be aborted; opening the journal again settles that.
            with suppress(KafkaError, TimeoutError, AssertionError):
                if self._unfinished and self._fenced is None:
                    async with asyncio.timeout(_LAST_WORDS):
                        await producer.abort_transaction()
            await _stop(producer)

    def partition_of(self, owner: str) -> int:
        return partition_of(owner, self._settings.partitions)

    def topic_of(self, entity: str) -> str:
        return topic_of(entity, self._settings.topic_prefix)

    def largest(self, entity: str) -> int:
        return min(LARGEST_EVENT, self._sizes.get(self.topic_of(entity), LARGEST_RECORD) - _ENVELOPE)

    async def publish(
        self, events: Sequence[Event], cursor: tuple[str, Cursor] | None, offsets: Offsets | None = None
    ) -> list[Place]:
        with kafka_operation("commit", self._adapter), self._tracing.publishing(events) as traced:
            places = await self._publish(traced, cursor, offsets)
        count_sent(self._adapter, (place.topic for place in places))
        return places

    async def _publish(
        self, events: Sequence[Event], cursor: tuple[str, Cursor] | None, offsets: Offsets | None
    ) -> list[Place]:
        producer = self._producer
        if producer is None:
            raise UnavailableError(self._adapter, "the journal is closed")
        if self._fenced is not None:
            raise self._fenced
        try:
            with translated(self._adapter):
                # aiokafka waits for ever for a broker that is away.
                async with asyncio.timeout(self._patience):
                    await producer.begin_transaction()
                    self._unfinished = True
                    places = await self._send(producer, events)
                    if cursor is not None:
                        stream, where = cursor
                        key, value = f"{self._adapter}/{stream}".encode(), json.dumps(where).encode()
                        at = int(self._clock() * 1000)
                        future = await producer.send(cursors_topic(self._settings), value, key=key, timestamp_ms=at)
                        future.add_done_callback(_look)
                    if offsets is not None:
                        reached = {TopicPartition(*partition): offset for partition, offset in offsets.next.items()}
                        await producer.send_offsets_to_transaction(reached, offsets.group)
                    await producer.commit_transaction()
        except FencedError as error:
            self._fenced = error
            raise
        self._unfinished = False
        return places

    async def _send(self, producer: AIOKafkaProducer, events: Sequence[Event]) -> list[Place]:
        places: list[Place | None] = [None] * len(events)
        by_partition: dict[Partition, list[int]] = {}
        for index, event in enumerate(events):
            topic = topic_of(event.entity, self._settings.topic_prefix)
            by_partition.setdefault((topic, self.partition_of(event.owner)), []).append(index)
        waiting = []
        for (topic, partition), indexes in by_partition.items():
            for batch, members in _batches(producer, events, indexes):
                future = await producer.send_batch(batch, topic, partition=partition)
                future.add_done_callback(_look)
                waiting.append((future, members, topic, partition))
        for future, members, topic, partition in waiting:
            base = (await future).offset
            for step, index in enumerate(members):
                places[index] = Place(topic, partition, base + step)
        return [place for place in places if place is not None]

    async def ends(self) -> dict[Partition, int]:
        partitions = [TopicPartition(t, p) for t in self._topics for p in range(self._settings.partitions)]
        # Not read_committed: that ends before the oldest open transaction, which may be another adapter's, and older
        # than what we have published behind it.
        async with self._consumer("read_uncommitted") as consumer:
            # What is assigned is asked for all at once; else each topic that the client has not heard of takes 100 ms.
            consumer.assign(partitions)
            consumer.pause(*partitions)
            ends = await consumer.end_offsets(partitions)
        return {(p.topic, p.partition): end for p, end in ends.items()}

    async def lying(self, marks: Mapping[Partition, Watermark]) -> set[Partition]:
        ends = await self.ends()
        places = {TopicPartition(*p): m for p, m in marks.items() if 0 < m.next <= ends.get(p, 0)}
        found = set[Partition]()
        if not places:
            return found
        # This asks for the present end: an event that was committed once never becomes open again.
        async with self._consumer("read_uncommitted") as consumer:
            consumer.assign(list(places))
            for partition, mark in places.items():
                consumer.seek(partition, mark.next - 1)
            asked, deadline = set(places), time.monotonic() + _PATIENCE
            while asked := {p for p in asked if await consumer.position(p) < ends[p]}:
                if time.monotonic() > deadline:
                    raise UnavailableError(self._adapter, f"{next(iter(asked)).topic} cannot be read")
                for partition, records in (await consumer.getmany(*asked, timeout_ms=200, max_records=1)).items():
                    asked.discard(partition)
                    own, mark = self._own(records[0]), places[partition]
                    if own and (own[1].offset + 1, named(own[0])) == mark[:2]:
                        found.add((partition.topic, partition.partition))
        return found

    async def history(self, since: Mapping[Partition, int]) -> AsyncIterator[list[tuple[Event, Place]]]:
        ends = await self.ends() if since else {}
        partitions = [TopicPartition(*partition) for partition, start in since.items() if start < ends[partition]]
        if not partitions:
            return
        async with self._consumer("read_committed") as consumer:
            consumer.assign(partitions)
            for partition in partitions:
                consumer.seek(partition, since[partition])
            deadline = time.monotonic() + _PATIENCE
            while behind := [p for p in partitions if await consumer.position(p) < ends[p]]:
                found = await consumer.getmany(*behind, timeout_ms=200, max_records=2000)
                if found:
                    deadline = time.monotonic() + _PATIENCE
                elif time.monotonic() > deadline:
                    where, stands = behind[0], await consumer.position(behind[0])
                    raise UnavailableError(
                        self._adapter, f"a transaction that its producer has not ended hides events in "
                        f"{where.topic}[{where.partition}] from offset {stands} to {ends[where]}",
                        fix=f"run `kafka-transactions.sh find-hanging --topic {where.topic} --partition {where.partition}`, "
                        "then its `abort`",
                    )  # fmt: skip
                batch = [b for records in found.values() for r in records if (b := self._own(r))]
                if batch:
                    yield batch

    @asynccontextmanager
    async def _consumer(self, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
        with translated(self._adapter):
            reading = consumer(self._settings, isolation_level=isolation, auto_offset_reset="earliest")
            try:
                await reading.start()
                yield reading
            finally:
                await asyncio.sleep(0)  # a consumer that is stopped before its tasks have begun raises CancelledError
                await reading.stop()

    def _own(self, record: Any) -> tuple[Event, Place] | None:
        try:
            event = Event.from_kafka(self._adapter, record.value, record.headers)
        except BadRecordError:
            return None  # somebody else's; the flows report it
        return (event, Place(record.topic, record.partition, record.offset)) if event.source == self._adapter else None


async def _stop(producer: AIOKafkaProducer) -> None:
    """aiokafka stops only once its broker has answered; we do not wait for one that is away."""
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait({stopping}, timeout=_LAST_WORDS)
    if not stopping.done():
        sender = producer._sender.sender_task
        producer._message_accumulator.fail_all(ProducerClosed())
        while not sender.done():
            sender.cancel()  # the first time it waits for its requests, the second time it cancels them
            await asyncio.sleep(0.01)
        await asyncio.wait({stopping}, timeout=_LAST_WORDS)
        stopping.cancel()
        await producer.client.close()
    if stopping.done() and not stopping.cancelled():
        stopping.result()


def _look(future: asyncio.Future[Any]) -> None:
    """Look at the error of a batch. After one has failed nobody waits for the others, and asyncio would complain."""
    if not future.cancelled():
        future.exception()


def _batches(
    producer: AIOKafkaProducer, events: Sequence[Event], indexes: Sequence[int]
) -> Iterable[tuple[Any, list[int]]]:
    batch, members = producer.create_batch(), list[int]()
    time, at = None, 0
    for index in indexes:
        event = events[index]
        if event.time is not time:  # a page's events have one time
            time, at = event.time, int(event.time.timestamp() * 1000)
        key, headers = event.key.encode(), event.headers()
        if batch.append(timestamp=at, key=key, value=event.data, headers=headers) is None:
            yield batch, members
            batch, members = producer.create_batch(), []
            batch.append(timestamp=at, key=key, value=event.data, headers=headers)
        members.append(index)
    if members:
        batch.close()
        yield batch, members
