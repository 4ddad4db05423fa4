"""Every wait for Kafka has an end, also if a line to a real broker goes silent and nobody hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition

from canonical.errors import UnavailableError
from ironbridge.kafka.client import OverdueError, connecting, ending, translated
from ironbridge.kafka.consumer import Consumer, consumer
from ironbridge.settings import KafkaSettings
from tests.servers import Kafka, silenced


@asynccontextmanager
async def reading(kafka: Kafka, **options: object) -> AsyncIterator[Consumer]:
    settings = KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap)
    made = consumer(settings, **options)
    made.patience = made.joining = 0.5
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def test_a_position_that_nobody_knows_ends_the_wait_and_is_named(embedded_broker: Kafka):
    nowhere = TopicPartition(f"{embedded_broker.prefix()}nowhere", 99)  # no such partition: nobody leads it
    async with reading(embedded_broker) as made:
        made.assign([nowhere])
        with pytest.raises(UnavailableError) as caught, translated("payments"):
            await made.position(nowhere)
    assert str(caught.value).startswith(f"payments: Kafka did not say where {nowhere.topic}[99] stands within 0 s. To do: ")


async def test_a_broker_that_says_nothing_is_given_up():
    async with silenced("127.0.0.1", 9) as line:
        line.silent()
        made = consumer(KafkaSettings(broker="none", bootstrap_servers=f"127.0.0.1:{line.port}"))
        made.joining = 0.3
        with pytest.raises(OverdueError, match="Kafka did not give us a place in the consumer group"):
            await made.start()


async def test_what_is_waited_for_is_in_the_error_and_no_other_error_is_hidden():
    settings = KafkaSettings(broker="none", bootstrap_servers="127.0.0.1:9")
    with pytest.raises(UnavailableError, match="kafka: Kafka did not say anything within 0 s"):
        async with connecting(settings, "kafka"), ending("say anything", 0.01):
            await asyncio.sleep(3600)
    with pytest.raises(ValueError, match="ours"):
        async with ending("say anything", 60.0):
            raise ValueError("ours")
