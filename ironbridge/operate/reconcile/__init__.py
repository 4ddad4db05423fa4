"""
Do the two ends agree? Every record of a flow, held against the legacy systems on one side and the target on the other.

Each side is looked at twice: what does not agree at the first look is looked at again once the bridge has had time for
what was on its way, and only what still does not agree, and did not move meanwhile, is called a difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from importlib.metadata import version

from canonical.errors import MisconfiguredError
from flows.engine.clock import LondonDay
from flows.port import Flow, Target
from ironbridge.operate.audit import Actor
from ironbridge.operate.reconcile.certificate import (
    Certificate,
    Compared,
    Disagreement,
    Kind,
    Where,
    keep,
    kept,
    kept_one,
)
from ironbridge.operate.reconcile.cloud import Cloud
from ironbridge.operate.reconcile.legacy import Legacy, covering
from ironbridge.operate.reconcile.look import Source
from ironbridge.operate.reconcile.scratch import open_scratch
from ironbridge.runtime import bridge
from ironbridge.settings import Settings
from ironbridge.store import Store, comparing
from ironbridge.store.comparing import ReadingTimes

__all__ = [
    "Certificate",
    "Compared",
    "Disagreement",
    "Kind",
    "Source",
    "Where",
    "compare",
    "kept",
    "kept_one",
    "reconcile",
]

_LONGEST = 1800.0  # seconds between the two looks, however seldom a stream is read
_WRITING = 30.0  # seconds that the flow and its target get then for what is on its way to them
_LATE = 60.0  # seconds behind its time after which an adapter is taken for stopped: it is not waited for

Say = Callable[[str], None]


async def reconcile(
    settings: Settings, flow: str, by: Actor, *, patience: float | None = None, say: Say = lambda _step: None
) -> Certificate:
    """
    Compare all sides of a flow and keep the certificate in the state. Reads only; the bridge may run meanwhile. It takes as
    long as reading everything takes, and, where something does not agree, until the bridge has looked at it, too; or at
    most `patience` seconds for that. `say` is told each step.

    :raises MisconfiguredError: there is no such flow. :raises UnavailableError: one of the sides does not answer.
    """
    async with bridge.looking(settings) as built:
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
    patience: float | None = None,
    today: Callable[[], date] | None = None,
    say: Say = lambda _step: None,
) -> Certificate:
    """Compare all sides of a flow. The adapters are opened here, and closed."""
    entities = {entity.type_name for entity in flow.entities}
    await comparing.readings(store)  # this call also tells the store's clock
    began = int(store.clock() * 1000) / 1000  # cut to milliseconds, as a certificate writes it
    today = today or LondonDay(store.clock)
    async with AsyncExitStack() as stack:
        scratch = await stack.enter_async_context(open_scratch())
        sources = covering(sources, entities)
        for source in sources:
            stack.push_async_callback(source.adapter.close)
            await source.adapter.open()
        legacy = Legacy(store, scratch, sources, entities)
        cloud = Cloud(store, scratch, flow, target, today(), began)
        say("reading the legacy systems")
        await legacy.read(1, patience or 0)
        suspects = await legacy.suspect()
        say("reading the target")
        behind = await cloud.suspect()
        if suspects or behind:
            say(f"looking again at {suspects + behind:,} that do not agree")
            await _settle(store, legacy, cloud, sources if suspects else [], patience)
        if suspects:
            await legacy.remember()
            await legacy.read(2, patience or 0)
        await legacy.judge()
        await cloud.judge()
    return Certificate(
        flow.name, datetime.fromtimestamp(began, UTC), datetime.fromtimestamp(store.clock(), UTC), version("ironbridge"), by,
        [*legacy.parts.values(), cloud.part], [*legacy.differences, *cloud.differences],
    )  # fmt: skip


async def _settle(
    store: Store, legacy: Legacy, cloud: Cloud, sources: Sequence[Source], patience: float | None
) -> None:
    """
    Give the bridge time for what is on its way: until each stream whose adapter runs has been read again, and nothing
    suspicious is still to be written.
    """
    began = store.clock()
    every = {(source.adapter.name, s.name): s.every.total_seconds() for source in sources for s in source.streams}
    awaited = {
        name: every[name] for name, stand in (await comparing.readings(store)).items() if _runs(stand, every.get(name), began)
    }
    longest = min(max([0.0, *(2 * each + _LATE for each in awaited.values())]), _LONGEST)
    until = began + (longest if patience is None else patience)
    while awaited and store.clock() < until:
        stands = await comparing.readings(store)
        if all(stands[name].started >= began and stands[name].completed >= stands[name].started for name in awaited):
            break
        await asyncio.sleep(0.5)
    until = store.clock() + _WRITING if patience is None else until
    while store.clock() < until and (await legacy.unsettled() or await cloud.unsettled()):  # noqa: ASYNC110 (another process does it)
        await asyncio.sleep(0.5)


def _runs(stream: ReadingTimes, every: float | None, now: float) -> bool:
    """Tell whether somebody reads it as often as it should be; `every` None: nothing of it is under suspicion."""
    return every is not None and not stream.paused and now - max(stream.started, stream.completed) < 2 * every + _LATE
