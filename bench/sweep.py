"""The first sweep of a table and a second one with nothing changed, exactly as a running adapter does them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from adapters.engine.pump import Pump
from bench.job import peak
from bench.people import PeopleAdapter
from canonical import Person
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.observe import telemetry
from ironbridge.runtime.bridge import collect_seldom
from ironbridge.runtime.editions import edition, name_of
from ironbridge.settings import KafkaSettings, TelemetrySettings
from ironbridge.store import StoredMemory, open_store


def sweep(**arguments: Any) -> dict[str, Any]:
    return asyncio.run(_sweep(**arguments))


async def _sweep(
    source: str, state: str, bootstrap: str, prefix: str, page_size: int | None = None, endpoint: str | None = None
) -> dict[str, Any]:
    """`endpoint` is where telemetry goes, as by default in all else; None sends none."""
    flush = telemetry.start(TelemetrySettings(endpoint=endpoint))
    settings = KafkaSettings(broker="none", bootstrap_servers=bootstrap, topic_prefix=prefix)
    await ensure_topics(settings, [Person])
    store = await open_store(state)
    adapter = PeopleAdapter(source, page_size)
    tracing = telemetry.ChangeTracing(adapter.name, telemetry.TraceBudget(TelemetrySettings().most_traces))
    journal = KafkaJournal(settings, adapter.name, [Person], tracing)
    pump = Pump(adapter, journal, StoredMemory(store, adapter.name), edition=edition(name_of(PeopleAdapter), [Person]))
    (stream,) = adapter.streams()
    collect_seldom()
    began, cpu = time.perf_counter(), time.process_time()
    await pump.ready()
    first = await pump.read(stream)
    swept, cpu_swept, memory = time.perf_counter(), time.process_time(), peak()
    second = await pump.read(stream)
    again, cpu_again = time.perf_counter(), time.process_time()
    result = {
        "seconds": swept - began,
        "again": again - swept,
        "cpu": cpu_swept - cpu,
        "cpu_again": cpu_again - cpu_swept,
        "memory": memory,
        "memory_again": peak(),
        "published": first.published,
        "published_again": second.published,
        "read_again": second.read,
    }
    await pump.close()
    await store.close()
    flush()
    return result
