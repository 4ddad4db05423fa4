"""What was aborted is never seen, what was committed always is, from wherever one begins: on both brokers."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ironbridge.kafka.consumer import consumer
from ironbridge.settings import KafkaSettings
from tests.servers import Kafka
from tests.test_broker import make_topic

pytestmark = pytest.mark.servers
ABORTED = (1, 2, 5)
TRANSACTIONS = 8
EACH = 3  # records of a transaction, sent one by one: a batch each


@pytest.fixture(params=["apache_kafka", "embedded_broker"])
def kafka(request: pytest.FixtureRequest) -> Kafka:
    broker: Kafka = request.getfixturevalue(request.param)
    return broker


async def filled(kafka: Kafka) -> tuple[TopicPartition, dict[int, bytes]]:
    """A partition with whole and aborted transactions of one producer; what is committed, by offset."""
    partition, kept = TopicPartition(f"{kafka.prefix()}person", 0), {}
    await make_topic(kafka.bootstrap, partition.topic)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=partition.topic)
    await producer.start()
    for number in range(TRANSACTIONS):
        await producer.begin_transaction()
        sent = [await producer.send_and_wait(partition.topic, b"%d" % number, partition=0) for _ in range(EACH)]
        if number in ABORTED:
            await producer.abort_transaction()
        else:
            await producer.commit_transaction()
            kept |= {place.offset: b"%d" % number for place in sent}
    await producer.stop()
    return partition, kept


async def seen(reading: Any, partition: TopicPartition, begin: int) -> dict[int, bytes]:
    await reading.start()
    try:
        reading.assign([partition])
        (end,) = (await reading.end_offsets([partition])).values()
        reading.seek(partition, begin)
        found = {}
        async with asyncio.timeout(20):
            while await reading.position(partition) < end:
                for records in (await reading.getmany(timeout_ms=100)).values():
                    found |= {record.offset: record.value for record in records}
        return found
    finally:
        await reading.stop()


async def test_from_wherever_one_begins_all_that_is_committed_is_seen_and_nothing_else(kafka: Kafka) -> None:
    partition, kept = await filled(kafka)
    settings = KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap)
    for begin in range(TRANSACTIONS * (EACH + 1)):
        found = await seen(consumer(settings, isolation_level="read_committed"), partition, begin)
        assert found == {offset: value for offset, value in kept.items() if offset >= begin}, f"from {begin} on"


async def test_the_cure_is_at_work_on_the_embedded_broker_and_on_no_other(
    apache_kafka: Kafka, embedded_broker: Kafka
) -> None:
    """On Apache Kafka the client's requests are aiokafka's own method: nothing of ours stands before the broker."""
    sends = {}
    for kafka in (apache_kafka, embedded_broker):
        partition, _ = await filled(kafka)
        reading = consumer(KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap))
        await seen(reading, partition, 0)
        sends[kafka.bootstrap] = vars(reading._client).get("send")
    assert sends[apache_kafka.bootstrap] is None
    assert sends[embedded_broker.bootstrap] is not None


async def test_in_small_fetches_as_well(apache_kafka: Kafka) -> None:
    """A fetch that ends in the midst of a transaction says nothing of its end. The embedded broker's are never small."""
    partition, kept = await filled(apache_kafka)
    settings = KafkaSettings(broker="none", bootstrap_servers=apache_kafka.bootstrap)
    small = consumer(settings, isolation_level="read_committed", max_partition_fetch_bytes=1, fetch_max_bytes=1)
    assert await seen(small, partition, 0) == kept


async def test_the_embedded_broker_still_needs_it(embedded_broker: Kafka) -> None:
    """Once this fails the broker is mended: then `ironbridge.kafka.embedded` and this file can go."""
    partition, kept = await filled(embedded_broker)
    plain = AIOKafkaConsumer(bootstrap_servers=embedded_broker.bootstrap, isolation_level="read_committed")
    begin = (ABORTED[0] + len(ABORTED)) * (EACH + 1)
    assert len(await seen(plain, partition, begin)) < len([offset for offset in kept if offset >= begin])
