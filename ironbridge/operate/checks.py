"""`ironbridge check` looks at these, one after another, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from canonical import ENTITIES
from canonical.errors import IronbridgeError
from canonical.finding import Finding
from flows.kit.resources import Resources
from ironbridge.kafka.topics import answers
from ironbridge.runtime import systems
from ironbridge.settings import Settings
from ironbridge.store import open_store
from ironbridge.store.budget import SharedBudget


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """Settings, state, Kafka, then every adapter and target; what one says does not keep the others from being asked."""
    adapters, targets, flows = systems.adapters(settings), systems.targets(settings), systems.flows(settings)
    yield Finding(f"settings: {len(adapters)} adapters, {len(targets)} targets, {len(flows)} flows", True)
    if not adapters and not targets:
        yield Finding("settings name no system", False, "take the comment marks off a section of the settings file")
    for fault in ENTITIES.faults:
        yield Finding(f"{fault.where}: {fault.what}", False, fault.fix)
    yield await _asked("state", lambda: _state(settings))
    yield await _kafka(settings)
    for name, plan in adapters.items():
        async for finding in _adapter(name, plan):
            yield finding
    for name, target in targets.items():
        async for finding in _target(settings, name, target, [f for f in flows.values() if f.target.name == name]):
            yield finding


async def _asked(what: str, ask: Callable[[], Awaitable[None]]) -> Finding:
    try:
        await ask()
    except IronbridgeError as error:
        return Finding(f"{what}: {error.what}", False, error.fix)
    return Finding(f"{what} answers", True)


async def _state(settings: Settings) -> None:
    store = await open_store(settings.state_url)
    await store.close()


async def _kafka(settings: Settings) -> Finding:
    if settings.kafka.broker != "none":
        return Finding(f"kafka: the {settings.kafka.broker} broker starts with `ironbridge run`", True)
    return await _asked(f"kafka at {settings.kafka.bootstrap_servers}", lambda: answers(settings.kafka))


async def _adapter(name: str, plan: systems.AdapterPlan) -> AsyncIterator[Finding]:
    try:
        await plan.adapter.open()
        for finding in await plan.adapter.check():
            yield Finding(f"{name}: {finding.what}", finding.well, finding.fix)
    except IronbridgeError as error:
        yield Finding(f"{name}: {error.what}", False, error.fix)
    finally:
        await plan.adapter.close()


async def _target(
    settings: Settings, name: str, plan: systems.TargetPlan, flows: Sequence[systems.FlowPlan]
) -> AsyncIterator[Finding]:
    """Ask the target, once; and, where it is well, what it says of each flow's own settings."""
    store = await open_store(settings.state_url)
    try:
        async with Resources(name, partial(SharedBudget, store, name)) as resources:
            target = plan.build(resources)
            found = await target.check()
            for finding in found:
                yield Finding(f"{name}: {finding.what}", finding.well, finding.fix)
            if all(finding.well for finding in found):
                for flow in flows:
                    for finding in await flow.check(target):
                        yield Finding(f"{flow.name}: {finding.what}", finding.well, finding.fix)
    except IronbridgeError as error:
        yield Finding(f"{name}: {error.what}", False, error.fix)
    finally:
        await store.close()
