"""The demonstration as a user runs it: from nothing, and killed at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from canonical import ENTITIES, Event
from canonical.event import topic_of
from ironbridge.kafka.broker import EmbeddedBroker

KILLS = 5


def command(data: Path) -> list[str]:
    sizes = ["--size", "liquidlogic=120", "--size", "payables=120", "--no-traces"]
    return [sys.executable, "-m", "ironbridge", "demo", "--data", str(data), *sizes]


async def play(data: Path, kill_after: float | None = None) -> tuple[int, str]:
    """Run the demonstration, to its end or until it is killed; its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command(data), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"COLUMNS": "120"}
    )
    printed = asyncio.create_task(process.communicate())
    try:
        await asyncio.wait_for(asyncio.shield(printed), kill_after or 240)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
    text, _ = await printed
    assert process.returncode is not None
    return process.returncode, text.decode()


async def events(data: Path) -> list[Event]:
    """Everything in the topics, as a read_committed subscriber sees it."""
    found: list[Event] = []
    async with EmbeddedBroker(data / "broker") as broker:
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            for topic in sorted({topic_of(entity) for entity in ENTITIES.values()} & await consumer.topics()):
                partitions = [TopicPartition(topic, n) for n in range(6)]
                consumer.assign(partitions)
                ends = await consumer.end_offsets(partitions)
                await consumer.seek_to_beginning(*partitions)
                while any([await consumer.position(p) < ends[p] for p in partitions]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += [Event.from_kafka("test", r.value, r.headers) for r in records]
        finally:
            await consumer.stop()
    return found


def violations(found: list[Event]) -> list[str]:
    """Versions of a key that do not grow, or that are repeated."""
    versions: dict[str, list[int]] = defaultdict(list)
    for event in found:
        versions[event.key].append(event.version)
    return [f"{key}: {seen}" for key, seen in versions.items() if seen != sorted(set(seen))]


def created_twice(cloud: Path) -> list[str]:
    """Documents that a sandbox was made to create although it held them."""
    with sqlite3.connect(cloud) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(log)")]
        rows = [dict(zip(columns, row, strict=True)) for row in connection.execute("SELECT * FROM log ORDER BY 1")]
    there: set[tuple[str, str]] = set()
    twice = []
    for row in rows:
        subject = (row["kind"], row["subject"])
        if row["operation"] == "create":
            twice += [f"{subject}"] if subject in there else []
            there.add(subject)
        elif row["operation"] == "purge":
            there.discard(subject)
    return twice


async def test_the_demonstration_ends_in_agreement_with_nothing_left_unexplained(tmp_path: Path) -> None:
    status, printed = await play(tmp_path / "demo")
    assert status == 0, printed
    assert "differs   agreement" in printed
    assert printed.count("agrees") == 8, printed  # four kinds of document, after the first load and after the change
    assert violations(await events(tmp_path / "demo")) == []


async def test_killed_at_any_moment_it_ends_in_the_same_agreement_with_no_event_and_no_document_twice(
    tmp_path: Path,
) -> None:
    data = tmp_path / "demo"
    moments = random.Random(20261122)
    killed = 0
    for _ in range(KILLS):
        status, _ = await play(data, kill_after=moments.uniform(2.0, 9.0))
        killed += status == -signal.SIGKILL
    status, printed = await play(data)
    assert status == 0, printed
    assert killed >= KILLS - 2, "the demonstration was too quick to be killed"
    assert violations(await events(data)) == []
    assert created_twice(data / "cloud-dfe_csc.sqlite3") == []
    assert created_twice(data / "cloud-business_central.sqlite3") == []
