"""
A flow worker with its backlog already in Kafka: the DfE's flow against its sandbox, or a flow that does next to nothing.

All parts are the runtime's own: the inbox, the ledger in PostgreSQL, agreement, the HTTP client and its budget.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import httpx
from sqlalchemy import text

from bench.job import peak
from canonical import Address, CareEpisode, Entity, Event, Name, Person, Sex
from canonical.finding import Finding
from canonical.key import key_of
from flows.dfe_csc import system
from flows.engine.agree import Agreement
from flows.kit.resources import Resources
from flows.port import (
    Absent,
    Confirmed,
    Document,
    Facts,
    Flow,
    Grouping,
    Limits,
    Outcome,
    ReadBack,
    Target,
    Urgency,
    Write,
)
from flows.testing import alone
from ironbridge.kafka.inbox import KafkaInbox
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.kafka.trail import KafkaTrail
from ironbridge.observe import telemetry
from ironbridge.runtime.bridge import collect_seldom
from ironbridge.settings import KafkaSettings, TelemetrySettings
from ironbridge.store import Store, StoredLedger, open_store
from ironbridge.store.budget import SharedBudget
from ironbridge.store.trail import TrailedLedger

FLOW = "dfe_csc"
TODAY = date(2026, 11, 1)
_SOURCE = "world"
_LA_CODE = 893


def fill_topics(**arguments: Any) -> dict[str, Any]:
    """Publish so many subjects' events, exactly as an adapter does."""
    return asyncio.run(_fill_topics(**arguments))


async def _fill_topics(
    bootstrap: str, prefix: str, subjects: int, changes: int, endpoint: str | None = None
) -> dict[str, Any]:
    settings = _kafka(bootstrap, prefix)
    await ensure_topics(settings, system_entities())
    tracing = telemetry.ChangeTracing(_SOURCE, telemetry.TraceBudget(TelemetrySettings().most_traces))
    flush = telemetry.start(TelemetrySettings(endpoint=endpoint))
    journal = KafkaJournal(settings, _SOURCE, system_entities(), tracing)
    await journal.open()
    count = 0
    for page in pages(_events(subjects, changes), 5000):
        await journal.publish(page, None)
        count += len(page)
    await journal.close()
    flush()
    return {"events": count}


def _events(subjects: int, changes: int) -> Iterator[Event]:
    """
    A care episode of every child, then its person in so many versions: each child once, then each once more …

    Nothing is harder to conflate: a child's next change is as far behind the last one as it can be.
    """
    now = datetime.now(UTC)
    if changes == 1:
        changes = 2  # one event of each kind is the least that makes a record
    for number in range(subjects):
        owner = key_of(_SOURCE, "person", number)
        episode = CareEpisode(
            key=key_of(_SOURCE, "care-episode", number), person=owner, referral_date=date(2026, 5, 1), referral_source="1A"
        )
        yield Event("care-episode", _SOURCE, episode.key, owner, 1, now, episode.to_bytes(), "care-episode")
    for version in range(1, changes):
        for number in range(subjects):
            child = _child(number, version)
            yield Event("person", _SOURCE, child.key, child.key, version, now, child.to_bytes(), "person")


def _child(number: int, version: int) -> Person:
    return Person(
        key=key_of(_SOURCE, "person", number),
        names=(Name(given="Ada", family="Bennett"),),
        birth_date=date(2015, 4, 1),
        sex=Sex.FEMALE,
        ethnicity="WBRI",
        upn_unknown_reason="UN3",
        addresses=(Address(lines=(f"{version} Mill Lane",), town="Ludlow", postcode=f"SY{version} 1AB"),),
    )


def pages(events: Iterator[Event], size: int) -> Iterator[list[Event]]:
    page: list[Event] = []
    for event in events:
        page.append(event)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


def system_entities() -> tuple[type[Entity], ...]:
    return (Person, CareEpisode)


def flow(**arguments: Any) -> dict[str, Any]:
    return asyncio.run(_flow(**arguments))


async def _flow(
    state: str, bootstrap: str, prefix: str, subjects: int, changes: int, kind: str = FLOW, endpoint: str | None = None
) -> dict[str, Any]:
    """
    Work the backlog off; done when every event is ingested and every subject agreed. `endpoint` is where telemetry goes.
    """
    flush = telemetry.start(TelemetrySettings(endpoint=endpoint))
    settings = _kafka(bootstrap, prefix)
    async with AsyncExitStack() as stack:
        store = await open_store(state)
        stack.push_async_callback(store.close)
        parts = await stack.enter_async_context(_dfe(store) if kind == FLOW else _nothing())
        await ensure_topics(settings, parts.flow.entities)
        trail = KafkaTrail(settings, FLOW, parts.flow.entities)
        stack.push_async_callback(trail.close)
        ledger = TrailedLedger(store, parts.flow, trail)
        agreement = Agreement(parts.flow, parts.target, ledger, edition="1", today=lambda: TODAY)
        events = subjects * max(changes, 2)
        collect_seldom()
        began, cpu = time.perf_counter(), time.process_time()
        ingested = await _work_off(agreement, settings, ledger, store, subjects, events)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        held = await parts.held() if parts.held else subjects
        tally = agreement.tally
        flush()
        result = {
            "seconds": seconds, "ingested_after": ingested - began, "cpu": cpu, "memory": peak(), "held": held,
            "events": tally.ingested, "confirmed": tally.confirmed, "saved": tally.saved, "writes": tally.writes,
        }  # fmt: skip
    sandbox = resource.getrusage(resource.RUSAGE_CHILDREN)  # the only child, and it has ended
    return result | {"sandbox": sandbox.ru_utime + sandbox.ru_stime}


async def _work_off(
    agreement: Agreement, settings: KafkaSettings, ledger: StoredLedger, store: Store, subjects: int, events: int
) -> float:
    stop = asyncio.Event()
    ingested = 0.0
    async with KafkaInbox(settings, FLOW, agreement.flow.entities, ledger, "bench") as inbox:
        delivering = asyncio.create_task(agreement.deliver(stop))
        while agreement.tally.ingested < events:
            await agreement.ingest(inbox)
        ingested = time.perf_counter()
        while agreement.tally.confirmed < subjects or await _agreed(store) < subjects:
            if delivering.done():
                delivering.result()
            await asyncio.sleep(0.02)
        stop.set()
        await delivering
    return ingested


async def _agreed(store: Store) -> int:
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT count(*) FROM subjects WHERE flow = :flow AND state = 'agreed'"), {"flow": FLOW}
        )
        return int(found.scalar_one())


def _kafka(bootstrap: str, prefix: str) -> KafkaSettings:
    return KafkaSettings(broker="none", bootstrap_servers=bootstrap, topic_prefix=prefix)


@dataclass(frozen=True)
class Parts:
    flow: Flow
    target: Target
    held: Any = None


@asynccontextmanager
async def _dfe(store: Store) -> AsyncIterator[Parts]:
    """The DfE's flow, its sandbox in a process of its own."""
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "flows.dfe_csc.sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert sandbox.stdout is not None
        url = sandbox.stdout.readline().strip()

        async def held() -> int:
            async with httpx.AsyncClient() as window:
                summary = (await window.get(f"{url}/_sandbox/summary")).json()
            return int(summary["documents"][str(_LA_CODE)])

        async with Resources(FLOW, partial(SharedBudget, store, FLOW)) as resources:
            given = {
                "la_code": _LA_CODE, "api_endpoint": url, "token_url": f"{url}/token", "client_id": "ironbridge",
                "client_secret": "sandbox-secret", "supplier_key": "sandbox-supplier",
                "la_child_ids_of": _SOURCE,
                "requests": 1_000_000,  # the sandbox has no limit, and it is the worker that is measured
            }  # fmt: skip
            built, target = alone(system, FLOW, resources, given)
            yield Parts(built, target, held)
    finally:
        sandbox.terminate()
        sandbox.wait()


@asynccontextmanager
async def _nothing() -> AsyncIterator[Parts]:
    """A flow that reads no fact and a target that takes everything at once: what is left is the runtime's own work."""
    yield Parts(_Nothing(), _TakesAll())


class _Nothing:
    name = FLOW
    entities = system_entities()
    grouping = Grouping.OWNER
    settings: Mapping[str, Any] = {}

    def desired(self, subject: str, facts: Facts) -> Document | None:
        return Document("nothing", subject, {"id": subject})

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


class _TakesAll:
    name = FLOW
    limits = Limits()

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return [Confirmed(write.subject) for write in batch]

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return [Absent()] * len(batch)

    async def check(self) -> Sequence[Finding]:
        return []
