"""A writer of open tables is killed again and again; afterwards the tables hold what the topics hold, row for row."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from canonical import Event, Name, Person
from canonical.event import topic_of
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.topics import ensure_topics, partition_of
from ironbridge.settings import KafkaSettings, TablesSettings
from ironbridge.tables import query
from tests.published import settings_of
from tests.servers import Kafka

# A run with more kills: TABLES_KILLS=50 pytest tests/test_tables_killed.py
KILLS = int(os.environ.get("TABLES_KILLS", "3"))
EVENTS, KEYS = max(3_000, 500 * KILLS), 1_000
Row = tuple[Any, ...]


async def publish(kafka: KafkaSettings, begin: int, count: int, keys: int) -> None:
    """Publish persons, some of them again and again, and one in twenty as deleted."""
    topic, now = topic_of(Person, kafka.topic_prefix), datetime.now(UTC)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=20) as producer:
        for number in range(begin, begin + count):
            person = Person(key=f"legacy:person:{number % keys}", names=(Name(given=f"N{number}"),))
            data = None if number % 20 == 7 else person.to_bytes()
            event = Event("person", "legacy", person.key, person.owner, number + 1, now, data)
            partition = partition_of(event.owner, kafka.partitions)
            await producer.send(topic, data, key=event.key.encode(), partition=partition, headers=event.headers())


async def in_the_topic(kafka: KafkaSettings) -> list[Row]:
    """Key, version, place and name of each event, as a consumer of its own reads them."""
    topic = topic_of(Person, kafka.topic_prefix)
    partitions, found = [TopicPartition(topic, p) for p in range(kafka.partitions)], []
    reading = consumer(kafka, group_id=None, isolation_level="read_committed", auto_offset_reset="earliest")
    reading.assign(partitions)
    await reading.start()
    try:
        ends = await reading.end_offsets(partitions)
        while any([await reading.position(p) < ends[p] for p in partitions]):
            for records in (await reading.getmany(timeout_ms=200)).values():
                for each in records:
                    version = int(dict(each.headers)["ce_sequence"])
                    name = json.loads(each.value)["names"][0]["given"] if each.value else None
                    found.append((each.key.decode(), version, each.partition, each.offset, name))
    finally:
        await reading.stop()
    return sorted(found)


def in_the_table(settings: TablesSettings, name: str) -> list[Row]:
    connection = query.opened(settings)
    try:
        sql = f"SELECT key, _version, _partition, _offset, names[1].given FROM {name} ORDER BY ALL"
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def newest(events: list[Row]) -> list[Row]:
    """The newest event of each key, without those that are deleted."""
    last = {row[0]: row for row in sorted(events, key=lambda row: row[1])}
    return sorted(row for row in last.values() if row[4] is not None)


def writer(tables: TablesSettings, kafka: KafkaSettings) -> subprocess.Popen[str]:
    started = subprocess.Popen([sys.executable, "-m", "tests.tables_process"], stdin=subprocess.PIPE, text=True)
    assert started.stdin is not None
    started.stdin.write(json.dumps({"tables": tables.model_dump(mode="json"), "kafka": kafka.model_dump(mode="json")}))
    started.stdin.close()
    return started


async def brought_up_to(tables: TablesSettings, kafka: KafkaSettings, events: int) -> None:
    """Wait until both tables have so many events."""
    topic = topic_of(Person, kafka.topic_prefix)
    while True:
        stands = [sum(table.offset(topic, p) for p in range(kafka.partitions)) for table in query.there(tables)]
        if stands and min(stands) >= events:
            return
        await asyncio.sleep(0.2)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


async def killed(tables: TablesSettings, kafka: KafkaSettings, kills: int, seed: int) -> None:
    """Publish the events in portions, and let a writer begin to write each, until it is killed after some of its commits."""
    chance, portion = random.Random(seed), EVENTS // (kills + 1)
    for life in range(kills):
        await publish(kafka, life * portion, portion, KEYS)
        before = commits(tables)
        process = writer(tables, kafka)
        async with asyncio.timeout(60):
            while commits(tables) <= before + chance.randrange(6):
                assert process.poll() is None, "it writes until it is killed"
                await asyncio.sleep(0.02)
        await asyncio.sleep(chance.random() * 0.1)
        kill(process)
    await publish(kafka, kills * portion, EVENTS - kills * portion, KEYS)


def commits(tables: TablesSettings) -> int:
    return len(list(Path(tables.path or "").rglob("*.json")))


async def test_a_writer_that_is_killed_loses_and_doubles_nothing(apache_kafka: Kafka, tmp_path: Path) -> None:
    kafka = settings_of(apache_kafka)
    await ensure_topics(kafka, [Person])
    given = {"hold": ["plain", "identifying"], "batch": 50, "every": 0.1}
    tables = TablesSettings(path=str(tmp_path), entities=("person",), **given)
    await killed(tables, kafka, KILLS, seed=7)
    last = writer(tables, kafka)
    try:
        async with asyncio.timeout(20 * KILLS):
            await brought_up_to(tables, kafka, EVENTS)
    finally:
        kill(last)
    events = await in_the_topic(kafka)
    assert len(events) == EVENTS
    assert in_the_table(tables, "person_history") == events
    assert in_the_table(tables, "person") == newest(events)
