"""Consumers of committed events: aiokafka's, with an end to each wait and a word about each disturbed partition."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest

from ironbridge.kafka import embedded
from ironbridge.kafka.client import client_options, ending
from ironbridge.settings import KafkaSettings


def consumer(
    settings: KafkaSettings, *, disturbed: Callable[[TopicPartition], None] | None = None, **options: Any
) -> AIOKafkaConsumer:
    """
    Make a consumer and do not start it; `options` are aiokafka's. `disturbed` is called with each partition whose fetch
    failed: after a leader was lost or a topic was made anew the log may be another one.

    :raises MisconfiguredError: a certificate's or an authority's file cannot be used.
    """
    made = Consumer(**client_options(settings), **options)
    _hang_up_at_once(made._client)
    if disturbed:
        _watch(made._client, disturbed)
    embedded.make_good(made._client)
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


def _hang_up_at_once(client: Any) -> None:
    """
    Let the connections go without a farewell when the client closes: all is said by then. TLS would wait for the broker's
    farewell, and a broker that has a fetch in hand says it only after its answer, up to two seconds later.
    """
    close = client.close

    async def hang_up() -> None:
        connections = list(client._conns.values())
        transports = [each._writer.transport for each in connections if each._writer is not None]
        for each in connections:
            each.close(reason=CloseReason.SHUTDOWN)
        for transport in transports:
            transport.abort()
        await close()

    client.close = hang_up


def _watch(client: Any, disturbed: Callable[[TopicPartition], None]) -> None:
    """Call `disturbed` with each partition whose fetch fails."""
    ask = client.send

    async def send(node: Any, request: Any, **other: Any) -> Any:
        try:
            answer = await ask(node, request, **other)
        except KafkaError:
            if isinstance(request, FetchRequest):
                for topic, partitions in request.topics:
                    for number, *_ in partitions:
                        disturbed(TopicPartition(topic, number))
            raise
        if isinstance(request, FetchRequest):
            _tell(answer, disturbed)
        return answer

    client.send = send


def _tell(answer: Any, disturbed: Callable[[TopicPartition], None]) -> None:
    """Call `disturbed` with each partition that failed. After an offset out of range aiokafka begins from the start."""
    for topic, partitions in answer.topics:
        for number, error, *_ in partitions:
            if error not in (0, OffsetOutOfRangeError.errno):
                disturbed(TopicPartition(topic, number))
