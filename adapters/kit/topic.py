"""A Kafka topic as the source of a pushed stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    OffsetOutOfRangeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from adapters.port import Gone, Offsets, Parcel, Record
from canonical.errors import MisconfiguredError, UnavailableError

_PATIENCE = 60.0  # seconds for Kafka to say where a group stands; aiokafka would ask for ever

Places = dict[TopicPartition, int]


class Topic:
    """
    Gives the messages of a topic as parcels. Open it in the adapter's `open`, close it in its `close`, and declare
    `Push(topic.receive)`.

    `read` turns a message into a record, or gives None for one that does not concern the stream. It must not fail: let the
    record's row be the message's value, and let the stream's `map` refuse it. A parcel has `most` messages; `wait` is the time
    in seconds after which the topic is quiet. `options` are aiokafka's.

    If the topic lies in the Kafka that Ironbridge publishes to (`ours`), the group's offsets are committed in the transaction of
    the events: nothing is ever read twice. If it lies in another one, they are committed after it, and what is read again after a
    kill is told by the positions of its records. The adapter's copies fence one another off, so the group has no members.

    Messages that Kafka removed before they were read, or a topic that was made anew, end the reading: only a person can have
    the source say everything again. Let positions be the source's own, because a topic that is made anew counts from 0.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        group: str,
        read: Callable[[ConsumerRecord], Record | Gone | None],
        *,
        ours: bool,
        most: int = 1000,
        wait: float = 5.0,
        **options: Any,
    ) -> None:
        self._name = name
        self._topic = topic
        self._group = group
        self._read = read
        self._ours = ours
        self._most = most
        self._wait = int(wait * 1000)
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        # Up to where all was answered. None: a parcel was not, or nothing is known yet; then Kafka knows.
        self._reached: Places | None = None

    async def open(self) -> None:
        await self.close()
        consumer = AIOKafkaConsumer(
            group_id=self._group, enable_auto_commit=False, auto_offset_reset="none",
            isolation_level="read_committed", **self._options,
        )  # fmt: skip
        with self._translated():
            try:
                async with asyncio.timeout(_PATIENCE):
                    await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        self._consumer, self._reached = consumer, None

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with self._translated():
                await consumer.stop()

    async def receive(self) -> AsyncIterator[Parcel]:
        """Give the parcels that were not answered yet, from where the group stands (see `adapters.port.Push`)."""
        consumer = self._opened()
        with self._translated():
            reached = await self._resumed(consumer)
        while messages := await self._messages(consumer):
            reached = reached | {TopicPartition(m.topic, m.partition): m.offset + 1 for m in messages}
            self._reached = None
            yield self._parcel(messages, reached)
            if self._reached is None:
                return  # nobody answered it

    async def partitions(self) -> int:
        """
        Count the topic's partitions.

        :raises UnavailableError: there is no such topic.
        """
        with self._translated():
            return len(await self._there(self._opened()))

    async def _there(self, consumer: AIOKafkaConsumer) -> set[TopicPartition]:
        async with asyncio.timeout(_PATIENCE):
            # A consumer that is in no group only knows of partitions that are assigned to it.
            cluster = await consumer._client.fetch_all_metadata()
        partitions = {TopicPartition(self._topic, n) for n in cluster.partitions_for_topic(self._topic) or ()}
        if not partitions:
            raise UnavailableError(self._name, f"there is no topic {self._topic}")
        return partitions

    async def _resumed(self, consumer: AIOKafkaConsumer) -> Places:
        """Go to where the group stands, unless the consumer stands there."""
        partitions = await self._there(consumer)
        if self._reached is not None and partitions == consumer.assignment():
            return self._reached
        consumer.assign(partitions)
        async with asyncio.timeout(_PATIENCE):
            stands = {p: await consumer.committed(p) for p in sorted(partitions)}
        reached = {p: offset for p, offset in stands.items() if offset is not None}
        if new := partitions - reached.keys():
            await consumer.seek_to_beginning(*new)
        for partition, offset in reached.items():
            consumer.seek(partition, offset)
        return reached

    async def _messages(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
        with self._translated():
            try:
                found = await consumer.getmany(timeout_ms=self._wait, max_records=self._most)
            except OffsetOutOfRangeError as error:
                self._reached = None
                raise await self._gap(consumer, error.args[0]) from error
        return [message for messages in found.values() for message in messages]

    async def _gap(self, consumer: AIOKafkaConsumer, stands: Places) -> MisconfiguredError:
        """The error for a partition that does not hold any more what comes next."""
        partition, next_one = min(stands.items())
        async with asyncio.timeout(_PATIENCE):
            begins = (await consumer.beginning_offsets([partition]))[partition]
        if next_one < begins:
            what = f"{begins - next_one} messages of its partition {partition.partition} were removed before they were read"
        else:
            what = f"its partition {partition.partition} ends before the last message that was read: it was made anew, or cut off"
        reset = f"kafka-consumer-groups.sh --group {self._group} --topic {self._topic} --reset-offsets --to-earliest --execute"
        fix = f"have the source send all that it holds (a snapshot), stop this adapter for a moment, and run {reset}"
        return MisconfiguredError(self._name, f"the topic {self._topic} has a gap: {what}", fix=fix)

    def _parcel(self, messages: list[ConsumerRecord], reached: Places) -> Parcel:
        words = [word for message in messages if (word := self._read(message)) is not None]
        offsets = Offsets(self._group, {(p.topic, p.partition): offset for p, offset in reached.items()})
        return Parcel(words, partial(self._answered, reached), offsets if self._ours else None)

    async def _answered(self, reached: Places, _: Collection[str]) -> None:
        if not self._ours:
            with self._translated():
                async with asyncio.timeout(_PATIENCE):
                    await self._opened().commit(reached)
        self._reached = reached

    def _opened(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise UnavailableError(self._name, f"the topic {self._topic} is not open")
        return self._consumer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SaslAuthenticationFailed, TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
            raise MisconfiguredError(
                self._name, f"Kafka refused us ({type(error).__name__})",
                fix=f"let its user read the topic {self._topic} and the group {self._group}",
            ) from error  # fmt: skip
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError(
                self._name, f"the Kafka of {self._topic} does not answer ({type(error).__name__})",
                fix="check the broker's address in the adapter's settings, and the broker",
            ) from error  # fmt: skip
