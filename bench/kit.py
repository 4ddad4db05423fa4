"""
The first sweep of a legacy system that the kit reads from SQL: all its streams, from its invented world.

The values in the rows are counted, too, those of a record's parts among them: a ledger line of 22 columns is more work than
a referral of nine, and a child with its addresses and answers is more than either.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from adapters.engine.pump import Pump
from adapters.port import Row, Stream, Sweep, Tail
from bench.job import peak
from ironbridge.demo import legacy
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.runtime import installed
from ironbridge.runtime.bridge import collect_seldom
from ironbridge.settings import KafkaSettings
from ironbridge.store import StoredMemory, open_store

KIT_SYSTEMS = ("liquidlogic", "mosaic", "business_world", "universal_housing", "academy")


def kit(**arguments: Any) -> dict[str, Any]:
    return asyncio.run(_kit(**arguments))


async def _kit(system: str, size: int, state: str, bootstrap: str, prefix: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        section = legacy.sections(Path(folder))[system]
        await legacy.make({system: section}, {system: size}, seed=1)
        kind = installed.adapters()[system]
        adapter = kind.build(system, kind.settings.model_validate(section))
        entities = sorted({e for stream in adapter.streams() for e in stream.entities}, key=lambda e: e.type_name)
        settings = KafkaSettings(broker="none", bootstrap_servers=bootstrap, topic_prefix=prefix)
        await ensure_topics(settings, entities)
        store = await open_store(state)
        memory = StoredMemory(store, system)
        pump = Pump(adapter, KafkaJournal(settings, system, entities), memory, edition="1")
        collect_seldom()
        await pump.ready()
        began, cpu = time.perf_counter(), time.process_time()
        swept = [await pump.read(stream) for stream in adapter.streams()]
        result = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "read": sum(each.read for each in swept),
            "published": sum(each.published for each in swept),
            "live": sum([await memory.live(stream.name) for stream in adapter.streams()]),
            "memory": peak(),
            "values": sum([await values_of(stream) for stream in adapter.streams()]),
        }
        await pump.close()
        await store.close()
    return result


async def values_of(stream: Stream) -> int:
    """The number of values that a sweep of a stream reads."""
    assert isinstance(stream.reading, Sweep | Tail)
    return sum([_values(record.row) async for page in stream.reading.pages(None) for record in page.records])


def _values(row: Row) -> int:
    return sum(_values(value) if isinstance(value, tuple) else 1 for value in row)
