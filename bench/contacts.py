"""
Contacts for Dataverse: two workers of one flow and its sandbox, with the limits of the service, by a clock that runs fast.

The clock goes on only where the budget makes a worker wait. Budget, limits and claims all go by it, so hours pass in minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bench.flow import pages
from bench.job import peak
from bench.people import person, rows
from canonical import Event
from flows.dataverse import system
from flows.dataverse.sandbox import DataverseSandbox, DataverseSandboxSettings
from flows.dataverse.sandbox_limits import ServiceLimits
from flows.engine.agree import Agreement
from flows.kit.resources import Resources
from flows.kit.sandbox_faults import Fault
from flows.testing import ArrayInbox, alone
from ironbridge.runtime.bridge import collect_seldom
from ironbridge.store import Store, StoredLedger, open_store
from ironbridge.store.budget import SharedBudget

FLOW = "contacts"
_WORKERS = 2
_BEGAN = datetime(2026, 11, 1, 9, tzinfo=UTC)
_SOUND = 400
"""The number of requests that are answered before one answer is lost."""


class FastClock:
    """A clock that goes on when somebody waits: workers that wait at the same time wait together."""

    def __init__(self) -> None:
        self.now = _BEGAN.timestamp()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


def contacts(**arguments: Any) -> dict[str, Any]:
    """Bring so many new people into agreement; tell how long it took by the clock, and what the sandbox says of it."""
    return asyncio.run(_contacts(**arguments))


async def _contacts(state: str, subjects: int) -> dict[str, Any]:
    clock, limits = FastClock(), ServiceLimits()
    limits.clock = clock
    async with AsyncExitStack() as stack:
        store = await open_store(state)
        stack.push_async_callback(store.close)
        store.clock = clock
        # A request costs 0.15 s of execution: 6,000 of them use three quarters of what may be used.
        sandbox = DataverseSandbox(DataverseSandboxSettings(limits=limits, execution=0.15))
        await stack.enter_async_context(sandbox)
        sandbox.faults.extend(_lost_answers(subjects))
        workers = [await _worker(stack, store, sandbox, clock) for _ in range(_WORKERS)]
        for page in pages(_events(subjects), 2_000):
            await workers[0].ingest(ArrayInbox(page))
        collect_seldom()
        began, real, cpu = clock.now, time.perf_counter(), time.process_time()
        await _agreed(workers, store, clock)
        made = [effect["subject"] for effect in sandbox.log() if effect["operation"] == "create"]
        return {
            "seconds": clock.now - began, "real": time.perf_counter() - real, "cpu": time.process_time() - cpu,
            "memory": peak(), "held": sandbox.held.counts["contact"], "made": len(made), "different": len(set(made)),
            "turned_away": sum(limits.turned_away.values()), "requests": sandbox.requests,
            "lost": sandbox.statuses["cut"], "worked": sum(worker.tally.confirmed > 0 for worker in workers),
        }  # fmt: skip


def _lost_answers(subjects: int) -> list[Fault]:
    lost, sound = Fault(kind="cut", when="after", path="/contacts("), Fault(kind="slow", times=_SOUND, path="/contacts(")
    return [lost, sound] * max(subjects // _SOUND, 1)


async def _worker(stack: AsyncExitStack, store: Store, sandbox: DataverseSandbox, clock: FastClock) -> Agreement:
    """A worker with connections and a share of the budget of its own, as another process has them."""
    budget = partial(SharedBudget, store, FLOW, clock=clock, sleep=clock.sleep)
    resources = await stack.enter_async_context(Resources(FLOW, budget))
    # Nothing renews a claim here: with 2 connections what a worker takes at once is done before its claim runs out.
    given = {**system.world().section(sandbox, {}), "concurrency": 2}
    flow, target = alone(system, FLOW, resources, given)
    ledger = StoredLedger(store, flow.name)
    return Agreement(flow, target, ledger, clock=clock, edition="1", today=lambda: _BEGAN.date())


def _events(count: int) -> Iterator[Event]:
    for row in rows(count):
        made = person("world", row)
        yield Event("person", "world", made.key, made.owner, 1, _BEGAN, made.to_bytes(), "person")


async def _agreed(workers: list[Agreement], store: Store, clock: FastClock) -> None:
    """Let the workers work side by side until nothing is left to do; the clock goes on where something waits for its time."""

    async def work(worker: Agreement) -> None:
        ledger = StoredLedger(store, FLOW)
        while True:
            if not await worker.step():
                due = await ledger.due()
                if due is None:
                    return
                await clock.sleep(due)

    await asyncio.gather(*map(work, workers))
