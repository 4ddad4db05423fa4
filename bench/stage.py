"""The servers that every benchmark runs against, and what it may do to them."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.people import fill
from tests.servers import Postgres, running_apache_kafka, running_postgres

PARTITIONS = 6


@dataclass
class Stage:
    """Apache Kafka and PostgreSQL, each a process of its own on this machine."""

    bootstrap: str
    postgres: Postgres

    @asynccontextmanager
    async def people(self, rows: int) -> AsyncIterator[str]:
        """A database with the table of people, for as long as it is needed."""
        async with self.postgres.database() as url:
            await fill(url, rows)
            yield url

    def cpu(self) -> dict[str, float]:
        """Processor seconds that each server has used so far; Linux only."""
        used = dict.fromkeys(("PostgreSQL", "Kafka"), 0.0)
        parents: dict[int, int] = {}
        spent: dict[int, tuple[str, float]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_text().split("\0")
                # Behind the name in brackets: the parent, and utime, stime and the same of children that have ended.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            parents[int(folder.name)] = int(fields[1])
            name = "Kafka" if "kafka.Kafka" in command else "PostgreSQL" if "postgres" in command[0] else ""
            if name:
                spent[int(folder.name)] = name, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        for pid, (name, seconds) in spent.items():
            # Our own servers and their children; the machine may have others.
            if os.getpid() in (parents[pid], parents.get(parents[pid])):
                used[name] += seconds
        return used

    def prefix(self) -> str:
        """A prefix for topics that no other run has."""
        return f"b{uuid.uuid4().hex[:8]}"

    async def topic(self, name: str) -> None:
        """Create a topic as an adapter's are, for a program that does not do so itself."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        finally:
            await admin.close()

    async def forget(self, prefix: str) -> None:
        """Delete a run's topics: what is left of one run is not to weigh on the next."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])
        finally:
            await admin.close()

    async def count(self, topic: str) -> Found:
        """What a read_committed subscriber finds in a topic from its start to its end."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            records, keys = 0, set[bytes]()
            while behind := [p for p in partitions if await consumer.position(p) < ends[p]]:
                for found in (await consumer.getmany(*behind, timeout_ms=200)).values():
                    records += len(found)
                    keys.update(record.key for record in found if record.key is not None)
            return Found(records, len(keys))
        finally:
            await consumer.stop()


@dataclass(frozen=True)
class Found:
    records: int
    keys: int


@contextmanager
def stage() -> Iterator[Stage]:
    """Start both servers, and stop them and throw their data away afterwards."""
    with running_postgres() as postgres, running_apache_kafka() as kafka:
        yield Stage(kafka.bootstrap, postgres)
