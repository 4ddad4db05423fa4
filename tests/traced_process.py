"""
A bridge in a process of its own that sends its telemetry away: `python -m tests.traced_process` with its settings on stdin.

A finance system with 400 suppliers, of whom 300 change twice while the flow is paused: 1,000 changes, 700 of them in a write
of their own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count

from sqlalchemy import text

from adapters.engine.guard import Guard
from adapters.port import Page, Position, Record, Row, Stream, Sweep
from canonical import Supplier
from canonical.errors import IronbridgeError
from canonical.finding import Finding
from canonical.key import key_of
from ironbridge.kafka.topics import ensure_topics
from ironbridge.observe import telemetry
from ironbridge.observe.log_lines import log_to_stderr
from ironbridge.operate import gauges, steer
from ironbridge.operate.audit import Actor
from ironbridge.operate.health import Health
from ironbridge.runtime import bridge, systems
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.deliveries import Connections
from ironbridge.settings import Settings
from ironbridge.store import open_store

SUPPLIERS, CHANGED = 400, 300
TEST = Actor("a test", "a test")


class Finance:
    """Suppliers by number; `since` is a version that each name ends with."""

    name = "finance"

    def __init__(self) -> None:
        self.versions: dict[int, int] = {}

    def streams(self) -> Sequence[Stream]:
        return [Stream("supplier", (Supplier,), self._map, Sweep(self._pages), every=timedelta(seconds=0.2))]

    async def _pages(self, after: Position | None) -> AsyncIterator[Page]:
        found = [
            Record(key_of("finance", "supplier", number), (number,), (number, version))
            for number, version in self.versions.items()
            if after is None or (number,) > after
        ]
        if found:
            yield Page(found, found[-1].position)

    def _map(self, row: Row) -> Supplier:
        number, version = row
        return Supplier(key=key_of("finance", "supplier", number), number=str(number), name=f"Canary{number} v{version}")

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return []


async def main(settings: Settings) -> None:
    log_to_stderr(form="json")
    flush = telemetry.start(settings.telemetry)
    finance, store = Finance(), await open_store(settings.state_url)
    built = Platform(settings, store)
    plan = systems.AdapterPlan("finance", Guard(), lambda: (finance, "1"))
    built.pumps["finance"] = bridge._pump(built, plan)
    async with bridge.AsyncExitStack() as stack:
        connections = Connections(settings.kafka, store, stack)
        built.deliveries = {name: await connections.delivery(plan) for name, plan in systems.flows(settings).items()}
        await ensure_topics(settings.kafka, bridge._entities(built))
        stop = asyncio.Event()
        running = asyncio.create_task(bridge.run(built, stop))
        await work(built, finance, running)
        await gauges.observe(built, Health(built, clock=count(0, 100).__next__))  # as if it had lived for long
        stop.set()
        await running
    await store.close()
    flush()


async def work(built: Platform, finance: Finance, running: asyncio.Task[None]) -> None:
    finance.versions = dict.fromkeys(range(1, SUPPLIERS + 1), 1)
    await until(built, SUPPLIERS, SUPPLIERS, running)
    await steer.pause(built.store, TEST, "business_central")
    for version in (2, 3):
        finance.versions |= dict.fromkeys(range(1, CHANGED + 1), version)
        await until(built, SUPPLIERS + (version - 1) * CHANGED, SUPPLIERS, running)
    await steer.resume(built.store, TEST, "business_central")
    await until(built, SUPPLIERS + 2 * CHANGED, SUPPLIERS + CHANGED, running)


async def until(built: Platform, ingested: int, confirmed: int, running: asyncio.Task[None]) -> None:
    """Wait until so many changes are taken in and so many subjects were confirmed."""
    began = time.monotonic()
    (delivery,) = built.deliveries.values()
    tally = delivery.agreement.tally
    while (tally.ingested, tally.confirmed) != (ingested, confirmed) or not await saved(built, confirmed):
        if time.monotonic() - began > 60:
            raise IronbridgeError("test", f"stands still: {tally}")
        await asyncio.wait([running], timeout=0.05)
        if running.done():
            running.result()


async def saved(built: Platform, confirmed: int) -> bool:
    async with built.store.read() as connection:
        found = await connection.execute(text("SELECT count(*) FROM attempts WHERE outcome = 'confirmed'"))
        return int(found.scalar_one()) == confirmed


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.stdin.read()))))
