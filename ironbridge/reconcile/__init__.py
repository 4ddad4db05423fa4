"""
Do the two ends agree? Every record of a flow, held against the legacy systems on one side and the target on the other.

Each side is looked at twice: what does not agree at the first look is looked at again once the bridge has had time for
what was on its way, and only what still does not agree, and did not move meanwhile, is called a difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import Any

from canonical.errors import MisconfiguredError
from flows.agree import today_in_london
from flows.port import Flow, Target
from ironbridge import bridge
from ironbridge.audit import Actor
from ironbridge.reconcile.certificate import Certificate, Compared, Difference, Kind, Where, keep, kept, kept_one
from ironbridge.reconcile.cloud import Cloud
from ironbridge.reconcile.legacy import Legacy, Source, covering
from ironbridge.reconcile.scratch import open_scratch
from ironbridge.settings import Settings
from ironbridge.store import Store

__all__ = [
    "Certificate",
    "Compared",
    "Difference",
    "Kind",
    "Source",
    "Where",
    "compare",
    "kept",
    "kept_one",
    "reconcile",
]

PATIENCE = 10.0
"""Seconds that the bridge gets, between the two looks, for what is on its way."""

Say = Callable[[str], None]


async def reconcile(
    settings: Settings, flow: str, by: Actor, *, patience: float = PATIENCE, say: Say = lambda _step: None
) -> Certificate:
    """
    Compare all sides of a flow and keep the certificate in the state. Reads only; the bridge may run meanwhile. It takes as
    long as reading everything takes: `say` is told each step.

    :raises MisconfiguredError: there is no such flow. :raises UnavailableError: one of the sides does not answer.
    """
    async with bridge.platform(settings, broker=False, topics=False) as built:
        delivery = built.deliveries.get(flow)
        if delivery is None:
            raise MisconfiguredError(
                "reconcile", f"{flow} is no flow", fix=f"there are: {', '.join(built.deliveries) or 'none'}"
            )
        sources = [Source(pump.adapter, streams) for pump, streams in built.pumps.values()]
        found = await compare(
            built.store,
            delivery.flow,
            delivery.target,
            sources,
            by=f"{by.who} ({by.through})",
            patience=patience,
            say=say,
        )
        return await keep(built.store, found)


async def compare(
    store: Store,
    flow: Flow,
    target: Target,
    sources: Sequence[Source],
    *,
    by: str = "",
    patience: float = PATIENCE,
    today: Callable[[], date] = today_in_london,
    say: Say = lambda _step: None,
) -> Certificate:
    """Compare all sides of a flow. The adapters are opened here, and closed."""
    entities = {entity.type_name for entity in flow.entities}
    began = int(time.time() * 1000) / 1000  # as a certificate writes it
    async with AsyncExitStack() as stack:
        scratch = await stack.enter_async_context(open_scratch())
        sources = covering(sources, entities)
        for source in sources:
            stack.push_async_callback(source.adapter.close)
            await source.adapter.open()
        legacy = Legacy(store, scratch, sources, entities)
        cloud = Cloud(store, scratch, flow, target, today(), began)
        say("reading the legacy systems")
        await legacy.read(1, patience)
        suspects = await legacy.suspect()
        say("reading the target")
        behind = await cloud.suspect()
        if suspects or behind:
            say(f"looking again at {suspects + behind:,} that do not agree")
            await _settle(store, cloud, sources if suspects else [], patience)
        if suspects:
            await legacy.remember()
            await legacy.read(2, patience)
        await legacy.judge()
        await cloud.judge()
    return Certificate(
        flow.name, datetime.fromtimestamp(began, UTC), datetime.now(UTC), version("ironbridge"), by,
        [*legacy.parts.values(), cloud.part], [*legacy.differences, *cloud.differences],
    )  # fmt: skip


async def _settle(store: Store, cloud: Cloud, sources: Sequence[Source], patience: float) -> None:
    """Wait until the streams have been read again and nothing suspicious is on its way, or patience is over."""
    until, since = time.monotonic() + patience, time.time()
    names = {source.adapter.name for source in sources}
    while time.monotonic() < until:
        async with store.read() as connection:
            found: Any = await connection.exec_driver_sql("SELECT adapter, started, completed FROM streams")
            stands = [(started or 0, completed or 0) for adapter, started, completed in found if adapter in names]
        read = all(since <= started <= completed for started, completed in stands)
        if read and not await cloud.unsettled():
            return
        await asyncio.sleep(0.5)
