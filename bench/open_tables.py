"""
The open tables' writer with a backlog of people already in Kafka: a first sweep of all of them, then changes and deletions.

Every class of fields has its columns, so that no row is cheaper than it can be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from bench.flow import pages
from bench.job import peak
from bench.people import person, rows
from canonical import Event, Person
from canonical.entity import Sensitivity
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.runtime.bridge import collect_seldom
from ironbridge.settings import KafkaSettings, TablesSettings
from ironbridge.tables import query
from ironbridge.tables.reader import Gathered
from ironbridge.tables.writer import TablesWriter

_SOURCE = "world"
_SWEPT = 0.8
"""So much of the events is the first sweep; the rest are changes of those people, of which one in ten is a deletion."""


def fill_events(**arguments: Any) -> dict[str, Any]:
    """Publish so many events of people, exactly as an adapter does; tell how many of the people are left."""
    return asyncio.run(_fill_events(**arguments))


async def _fill_events(bootstrap: str, prefix: str, events: int) -> dict[str, Any]:
    settings = _kafka(bootstrap, prefix)
    await ensure_topics(settings, [Person])
    journal = KafkaJournal(settings, _SOURCE, [Person])
    await journal.open()
    gone: dict[str, bool] = {}
    for page in pages(_events(events), 5_000):
        await journal.publish(page, None)
        gone |= {event.key: event.data is None for event in page}
    await journal.close()
    return {"living": sum(not each for each in gone.values())}


def _events(count: int, seed: int = 1) -> Iterator[Event]:
    people, chance, now = int(count * _SWEPT), Random(seed), datetime.now(UTC)
    for row in rows(people, seed):
        made = person(_SOURCE, row)
        yield Event("person", _SOURCE, made.key, made.owner, 1, now, made.to_bytes(), "person")
    changed = rows(count - people, seed + 1)
    for version, row in enumerate(changed, start=2):
        made = person(_SOURCE, row._replace(dim_person_id=chance.randrange(1, people + 1)))
        data = None if chance.random() < 0.1 else made.to_bytes()
        yield Event("person", _SOURCE, made.key, made.owner, version, now, data, "person")


def tables(**arguments: Any) -> dict[str, Any]:
    """Write the tables until they have all events; tell how long it took, and how many rows they have."""
    return asyncio.run(_tables(**arguments))


async def _tables(bootstrap: str, prefix: str, events: int, folder: str) -> dict[str, Any]:
    most = min(events, 50_000)  # the last ones are not waited for where there are few
    given = TablesSettings(path=folder, entities=("person",), hold=tuple(Sensitivity), batch=most, every=5)
    writer = _UntilAll(given, _kafka(bootstrap, prefix), wanted=events)
    collect_seldom()
    began, cpu = time.perf_counter(), time.process_time()
    await writer.run(writer.enough)
    result = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "memory": peak()}
    connection = query.opened(given)
    for table in ("person", "person_history"):
        [(result[table],)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    size = sum(each.stat().st_size for each in Path(folder).rglob("*.parquet"))
    return result | {"size": size / 1e6}


@dataclass
class _UntilAll(TablesWriter):
    """Ends once so many events are in the tables."""

    wanted: int = 0

    def __post_init__(self) -> None:
        self.enough = asyncio.Event()

    async def write(self, found: Gathered) -> None:
        await super().write(found)
        self.wanted -= found.events
        if self.wanted <= 0:
            self.enough.set()


def _kafka(bootstrap: str, prefix: str) -> KafkaSettings:
    return KafkaSettings(broker="none", bootstrap_servers=bootstrap, topic_prefix=prefix, compression="zstd")
