"""`ironbridge check` looks at these, one after another, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial

from canonical import ENTITIES, Entity
from canonical.errors import IronbridgeError, MisconfiguredError, ours
from canonical.finding import Finding
from flows.kit.requests import Budget, LocalBudget
from flows.kit.resources import Resources
from flows.port import Limits
from ironbridge.operate.kafka_checks import of_kafka
from ironbridge.operate.table_checks import of_tables
from ironbridge.runtime import systems
from ironbridge.settings import Settings
from ironbridge.store import Upkeep, open_store
from ironbridge.store.budget import SharedBudget
from ironbridge.store.installation import prefixed
from ironbridge.store.schema import SchemaState


async def findings(settings: Settings, names: Collection[str] = ()) -> AsyncIterator[Finding]:
    """
    Settings, state, Kafka, then every adapter and target; what one says does not keep the others from being asked.

    With `names`, these adapters, targets and flows alone, a flow by its target.

    :raises MisconfiguredError: the settings have none of a name.
    """
    adapters, targets, flows = systems.adapters(settings), systems.targets(settings), systems.flows(settings)
    if strange := sorted(set(names) - {*adapters, *targets, *flows}):
        there = ", ".join(dict.fromkeys((*adapters, *targets, *flows))) or "none"
        raise MisconfiguredError("check", f"{strange[0]} is no adapter, target or flow", fix=f"there are: {there}")
    if not names:
        async for finding in _platform(settings, adapters, targets, flows):
            yield finding
    for name, plan in adapters.items():
        if not names or name in names:
            async for finding in _adapter(name, plan):
                yield finding
    for name, target in targets.items():
        its = [flow for flow in flows.values() if flow.target.name == name]
        if not names or {name, *(flow.name for flow in its)}.intersection(names):
            async for finding in _target(settings, name, target, its):
                yield finding


async def _platform(
    settings: Settings,
    adapters: Mapping[str, systems.AdapterPlan],
    targets: Mapping[str, systems.TargetPlan],
    flows: Mapping[str, systems.FlowPlan],
) -> AsyncIterator[Finding]:
    """Look at the settings, the state, Kafka and the open tables, which all systems share."""
    yield Finding(f"settings: {len(adapters)} adapters, {len(targets)} targets, {len(flows)} flows", True)
    if not adapters and not targets and not settings.tables.path:
        yield Finding("settings name no system", False, "take the comment marks off a section of the settings file")
    for fault in ENTITIES.faults:
        yield Finding(f"{fault.where}: {fault.what}", False, fault.fix)
    yield await _state(settings)
    follow: dict[str, Collection[type[Entity]]] = {}
    for name, flow in flows.items():
        try:
            follow[name] = flow.build().entities
        except Exception as error:
            met = ours(name, error)
            yield Finding(f"{name}: {met.what}", False, met.fix)
    async for finding in of_kafka(settings, _published(adapters), follow):
        yield finding
    if settings.tables.path:
        for finding in await asyncio.to_thread(lambda: list(of_tables(settings.tables))):
            yield finding


def _published(adapters: Mapping[str, systems.AdapterPlan]) -> dict[str, Collection[type[Entity]]]:
    """By adapter, the entities that it publishes. The finding about an adapter says if it cannot tell them."""
    found: dict[str, Collection[type[Entity]]] = {}
    for name, plan in adapters.items():
        with suppress(Exception):
            found[name] = {entity for stream in plan.adapter.streams() for entity in stream.entities}
    return found


async def _asked(what: str, ask: Callable[[], Awaitable[None]]) -> Finding:
    try:
        await ask()
    except Exception as error:
        met = ours(what, error)
        return Finding(f"{what}: {met.what}", False, met.fix)
    return Finding(f"{what} answers", True)


async def _state(settings: Settings) -> Finding:
    """`run` makes the tables, or brings them up to date; a database without them is as well as one with them."""
    stands = SchemaState.EMPTY

    async def ask() -> None:
        nonlocal stands
        store = await open_store(settings.state_url, tables=Upkeep.LEAVE)
        try:
            stands = await store.stands()
            if stands is not SchemaState.EMPTY:
                await prefixed(store, settings.kafka.topic_prefix)
        finally:
            await store.close()

    found = await _asked("state", ask)
    if not found.well or stands is SchemaState.SUITS:
        return found
    return Finding(f"state answers; its tables: {stands.value}, `ironbridge migrate` or the next `run` sees to it", True)


async def _budget(settings: Settings, target: str, stack: AsyncExitStack) -> Callable[[Limits], Budget]:
    """The budget that all share, in the state. Where that is away or has no tables yet, what is asked spends its own."""
    try:
        store = await open_store(settings.state_url, tables=Upkeep.NEED)
    except IronbridgeError:
        return LocalBudget.of
    stack.push_async_callback(store.close)
    return partial(SharedBudget, store, target)


async def _adapter(name: str, plan: systems.AdapterPlan) -> AsyncIterator[Finding]:
    try:
        await plan.adapter.open()
        for finding in await plan.adapter.check():
            yield Finding(f"{name}: {finding.what}", finding.well, finding.fix)
    except Exception as error:
        met = ours(name, error)
        yield Finding(f"{name}: {met.what}", False, met.fix)
    finally:
        with suppress(Exception):  # the findings are made
            await plan.adapter.close()


async def _target(
    settings: Settings, name: str, plan: systems.TargetPlan, flows: Sequence[systems.FlowPlan]
) -> AsyncIterator[Finding]:
    """Ask the target, once; and, where it is well, what it says of each flow's own settings."""
    try:
        async with AsyncExitStack() as stack:
            budget = await _budget(settings, name, stack)
            resources = await stack.enter_async_context(Resources(name, budget))
            target = plan.build(resources)
            found = await target.check()
            for finding in found:
                yield Finding(f"{name}: {finding.what}", finding.well, finding.fix)
            if all(finding.well for finding in found):
                for flow in flows:
                    for finding in await flow.check(target):
                        yield Finding(f"{flow.name}: {finding.what}", finding.well, finding.fix)
    except Exception as error:
        met = ours(name, error)
        yield Finding(f"{name}: {met.what}", False, met.fix)
