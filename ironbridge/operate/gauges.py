"""
These gauges show what the state says: it is looked up now and then by a task of its own, never on the way of a row.

Every process says how the parts stand that it runs, and which parts run nowhere though they should. Several processes may say the
same, so take the greatest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from opentelemetry import metrics
from opentelemetry.util.types import AttributeValue

from canonical.errors import ours
from canonical.event import topic_of
from flows.engine.ledger import State
from ironbridge.operate import insight
from ironbridge.operate.health import Health, allowed
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.deliveries import Delivery
from ironbridge.store.standing import FlowStanding, StreamStanding

log = logging.getLogger(__name__)
meter = metrics.get_meter(__name__)
About = dict[str, AttributeValue]

unwell = meter.create_gauge(
    "ironbridge.progress.unwell",
    unit="{part}",
    description="1 where a stream or a flow is later than expected or failing",
)
absent = meter.create_gauge(
    "ironbridge.part.absent", unit="{part}", description="1 where an adapter or a flow should run somewhere and runs nowhere"
)
freshness = meter.create_gauge(
    "ironbridge.stream.freshness", unit="s", description="Since a stream was last read to its end"
)
freshness_limit = meter.create_gauge(
    "ironbridge.stream.freshness.limit", unit="s", description="How fresh a stream is expected to be, at worst"
)
records = meter.create_gauge("ironbridge.stream.records", unit="{record}", description="Records published and there")
quarantined = meter.create_gauge(
    "ironbridge.stream.quarantined", unit="{record}", description="Records that cannot be mapped now"
)
incomplete = meter.create_gauge(
    "ironbridge.stream.incomplete", unit="{record}", description="Records that are published without some of their fields"
)
held_back = meter.create_gauge(
    "ironbridge.stream.deletions.held", unit="{record}", description="Deletions and changes that wait for a person"
)
subjects = meter.create_gauge("ironbridge.flow.subjects", unit="{subject}", description="Subjects by how they stand")
waiting_age = meter.create_gauge(
    "ironbridge.flow.waiting", unit="s", description="How long the oldest subject to do has waited"
)
waiting_limit = meter.create_gauge(
    "ironbridge.flow.waiting.limit", unit="s", description="How long a subject is expected to wait, at worst"
)
lag = meter.create_gauge("ironbridge.flow.lag", unit="{event}", description="Events that the flow has not taken in yet")
rejected = meter.create_gauge(
    "ironbridge.flow.rejected", unit="{record}", description="Records on the flow's topics that are no events"
)
budget_used = meter.create_gauge(
    "ironbridge.budget.used", unit="{request}", description="Of the requests that may go at once, those that are used"
)
budget_left = meter.create_gauge(
    "ironbridge.budget.left", unit="{request}", description="Requests that may go at once, now"
)
budget_held = meter.create_gauge(
    "ironbridge.budget.held", unit="s", description="How long the target wants silence yet"
)


@asynccontextmanager
async def observing(built: Platform) -> AsyncIterator[None]:
    """Keep the gauges, as often as metrics are sent; does nothing where they are not."""
    if not built.settings.telemetry.endpoint:
        yield
        return
    keeping = asyncio.create_task(_keep(built, built.settings.telemetry.metrics_every))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep(built: Platform, every: float) -> None:
    health = Health(built)
    while True:
        try:
            await observe(built, health)
        except Exception as error:
            log.warning("%s; the gauges keep what they had", ours("the gauges", error))
        await asyncio.sleep(every)


async def observe(built: Platform, health: Health) -> None:
    """
    Look at the state once, and set every gauge.

    :raises UnavailableError: the state is away.
    """
    nowhere = {verdict.what for verdict in await health.absent()}
    for part in health.expected:
        absent.set(int(part in nowhere), {"ironbridge.part": part})
    streams, found = await insight.streams(built.store), await insight.flows(built.store)
    for verdict in health.judged(streams, found):
        unwell.set(int(not verdict.well), {"ironbridge.part": verdict.what})
    _streams(built, streams)
    flows = {each.flow: each for each in found}
    for name, delivery in built.deliveries.items():
        stands = flows.get(name, FlowStanding(name))
        about: About = {"ironbridge.flow": name}
        for state in State:
            subjects.set(getattr(stands, state.value), about | {"ironbridge.state": state.value})
        rejected.set(stands.rejected, about)
        waiting_age.set(stands.seconds_waiting or 0.0, about)
        waiting_limit.set(delivery.within, about)
        topics = [topic_of(entity, built.kafka.topic_prefix) for entity in delivery.flow.entities]
        lag.set(await insight.lag(built.store, name, topics), about)
        await _budget(delivery)


def _streams(built: Platform, every: Sequence[StreamStanding]) -> None:
    intervals = {f"{name}.{s.name}": s.every for name, (_, streams) in built.pumps.items() for s in streams}
    for stands in every:
        interval = intervals.get(stands.name)
        if interval is None:
            continue  # another process reads it
        about: About = {"ironbridge.adapter": stands.adapter, "ironbridge.stream": stands.stream}
        if stands.seconds_since_read is not None:
            freshness.set(stands.seconds_since_read, about)
        freshness_limit.set(allowed(interval), about)
        records.set(stands.records, about)
        quarantined.set(stands.quarantined, about)
        incomplete.set(stands.incomplete, about)
        held_back.set(stands.held, about)


async def _budget(delivery: Delivery) -> None:
    if delivery.budget is not None:
        about: About = {"ironbridge.target": delivery.target.name}
        standing = await delivery.budget.standing()
        budget_used.set(standing.used, about)
        budget_left.set(standing.left, about)
        budget_held.set(standing.held, about)
