"""What `ironbridge check` looks at, one after another, changing nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from canonical import ENTITIES
from canonical.errors import IronbridgeError
from canonical.finding import Finding
from flows.kit.http import client
from ironbridge.kafka.topics import answers
from ironbridge.runtime import systems
from ironbridge.settings import Settings
from ironbridge.store import open_store
from ironbridge.store.budget import SharedBudget


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """Settings, state, Kafka, then every adapter and target; what one says does not keep the others from being asked."""
    adapters, targets = systems.adapters(settings), systems.targets(settings)
    yield Finding(f"settings: {len(adapters)} adapters, {len(targets)} targets", True)
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
        async for finding in _target(settings, name, target):
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


async def _target(settings: Settings, name: str, plan: systems.TargetPlan) -> AsyncIterator[Finding]:
    store = await open_store(settings.state_url)
    try:
        async with client(plan.limits, SharedBudget(store, name, plan.limits)) as http:
            _, target = plan.system.build(name, plan.settings, http)
            for what, well, fix in await target.check():
                yield Finding(f"{name}: {what}", well, fix)
    except IronbridgeError as error:
        yield Finding(f"{name}: {error.what}", False, error.fix)
    finally:
        await store.close()
