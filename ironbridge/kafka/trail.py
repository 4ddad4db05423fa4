"""A flow's trail in Kafka (`flows.engine.trail.Trail`): one topic for all flows, of one partition, kept for 90 days."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from adapters.engine.journal import Partition
from canonical import Entity
from canonical.errors import UnavailableError
from canonical.event import topic_of
from flows.engine.trail import Reach, Sent
from ironbridge.kafka.client import client_options, compression, connecting, translated
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.topics import largest_records, trail_topic, trail_topics
from ironbridge.settings import KafkaSettings

_PATIENCE = 30.0  # seconds for Kafka to store or to send records
_NEAR = 1000  # records
_MOST = 8 * 1024 * 1024  # bytes of one record; a subject takes some fifty


class KafkaTrail:
    """
    One flow's trail. Its producer starts with the first record. Each look back opens a consumer of its own, because looks are
    rare. `clock` is the one that all workers share: Kafka refuses a record whose time is more than an hour ahead of its own.

    :raises UnavailableError: Kafka does not answer. :raises MisconfiguredError: it refuses us.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        flow: str,
        entities: Iterable[type[Entity]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._flow = flow
        self._topic = TopicPartition(trail_topic(settings), 0)
        self._entities = tuple(entities)
        self._producer: AIOKafkaProducer | None = None
        self._following: AsyncExitStack | None = None
        self._starting = asyncio.Lock()

    async def append(self, sent: Sent) -> int:
        value = json.dumps({"hand": sent.hand, "number": sent.number, "subjects": sent.subjects}).encode()
        producer = await self._started()
        try:
            with translated(self._flow):
                async with asyncio.timeout(_PATIENCE):
                    stored = await producer.send_and_wait(
                        self._topic.topic,
                        value,
                        key=self._flow.encode(),
                        partition=0,
                        timestamp_ms=int(self._clock() * 1000),
                    )
        except BaseException:
            await self._stop_telling()  # a record on its way may still arrive: harmless, the state knows its number
            raise
        # A broker that already has the record, but no longer knows its offset, answers -1.
        return int(stored.offset) if stored.offset >= 0 else (await self.reach()).end - 1

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                async with connecting(self._settings, self._flow):
                    producer = AIOKafkaProducer(
                        **client_options(self._settings),
                        acks="all",
                        enable_idempotence=True,
                        compression_type=compression(self._settings),
                        max_request_size=_MOST,
                    )
                    try:
                        async with asyncio.timeout(_PATIENCE):
                            await producer.start()
                    except BaseException:
                        await producer.stop()
                        raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        await self._stop_following()
        await self._stop_telling()

    async def _stop_telling(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            stopping = asyncio.ensure_future(producer.stop())
            await asyncio.wait({stopping}, timeout=5.0)
            stopping.cancel()

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            await following.aclose()

    async def reach(self) -> Reach:
        async with self._consumer("read_uncommitted") as reading:
            if self._topic.topic not in await reading.topics():
                # A deleted topic is made again: then it does not go back far enough, and every subject is put in doubt.
                await largest_records(self._settings, trail_topics(self._settings))
            _, first, end = await asyncio.gather(
                self._started(),  # started meanwhile, because it is needed next
                reading.beginning_offsets([self._topic]),
                reading.end_offsets([self._topic]),
            )
            return Reach(first[self._topic], end[self._topic])

    async def read(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        if since >= end:
            return
        async with self._consumer("read_uncommitted") as reading:
            reading.assign([self._topic])
            reading.seek(self._topic, since)
            async for records in self._come(reading, since, end):
                yield records

    async def follow(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        if since >= end:
            return
        try:
            with translated(self._flow):
                reading = await self._follower(since)
                if not since - _NEAR <= await reading.position(self._topic) <= since:
                    reading.seek(self._topic, since)  # a short gap is read and skipped instead, which is quicker
                async for records in self._come(reading, since, end):
                    yield records
        except BaseException:
            await self._stop_following()
            raise

    async def _follower(self, since: int) -> AIOKafkaConsumer:
        """The consumer that stays open; it begins at an offset."""
        if self._following is None:
            self._following = AsyncExitStack()
            self._stays = await self._following.enter_async_context(self._consumer("read_uncommitted"))
            self._stays.assign([self._topic])
            self._stays.seek(self._topic, since)
        return self._stays

    async def _come(self, reading: AIOKafkaConsumer, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        """This flow's records between two offsets, once they have come."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while (stands := await reading.position(self._topic)) < end:
            found = await reading.getmany(timeout_ms=500, max_records=1000)
            came = found.get(self._topic, ())
            if records := [s for r in came if since <= r.offset < end and (s := self._sent(r))]:
                yield records
            if await reading.position(self._topic) > stands:
                deadline = asyncio.get_running_loop().time() + _PATIENCE
            elif asyncio.get_running_loop().time() > deadline:
                raise UnavailableError(
                    self._flow, f"the records of {self._topic.topic} from {stands} to {end} do not come",
                    fix="look at the broker's log",
                )  # fmt: skip

    def _sent(self, record: Any) -> Sent | None:
        """A record of this flow; None for another flow's, and for a record in another form."""
        if record.key != self._flow.encode():
            return None
        try:
            told = json.loads(record.value)
            return Sent(str(told["hand"]), int(told["number"]), tuple(map(str, told["subjects"])))
        except (ValueError, TypeError, LookupError):
            return None

    async def ends(self) -> dict[Partition, int]:
        topics = [topic_of(entity, self._settings.topic_prefix) for entity in self._entities]
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(self._settings.partitions)]
        # Only the offsets that a read_committed subscriber can reach: an open transaction may stay open for long.
        async with self._consumer("read_committed") as reading:
            reading.assign(partitions)
            reading.pause(*partitions)
            ends = await reading.end_offsets(partitions)
        return {(p.topic, p.partition): end for p, end in ends.items()}

    @asynccontextmanager
    async def _consumer(self, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
        with translated(self._flow):
            reading = consumer(self._settings, isolation_level=isolation, auto_offset_reset="earliest")
            try:
                async with asyncio.timeout(_PATIENCE):
                    await reading.start()
                yield reading
            finally:
                await asyncio.sleep(0)  # a consumer that is stopped before its tasks have begun raises CancelledError
                await reading.stop()
