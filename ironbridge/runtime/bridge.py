"""
Everything that one process runs: the broker beside it, the state, a pump for each adapter, a worker for each flow.

Each part is kept going by itself: whatever it raises is said, and it is tried again, longer apart each time; a part that a newer
copy has fenced off stops. None of it stops the others.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from adapters.engine.pump import Pump
from adapters.port import Stream
from canonical import Entity
from canonical.errors import FencedError, IronbridgeError, MisconfiguredError, UnavailableError, UnforeseenError
from ironbridge.kafka.claims import Alone, Claims, KafkaClaims
from ironbridge.kafka.inbox import KafkaInbox, worker_name
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.observe import telemetry, watchdog
from ironbridge.runtime import systems
from ironbridge.runtime.alive import signs_of_life
from ironbridge.runtime.deliveries import Connections, Delivery
from ironbridge.runtime.insist import Work, in_our_words, insist, nap, once_there
from ironbridge.runtime.tables_part import keep_tables
from ironbridge.settings import KafkaSettings, Settings
from ironbridge.store import Store, StoredMemory, Upkeep, names, open_store, troubles
from ironbridge.store.history import Keep, Retention
from ironbridge.store.installation import installation, prefixed
from ironbridge.tables.choice import entities_of
from ironbridge.tables.writer import TablesWriter

log = logging.getLogger(__name__)
_ASKED = 2.0  # seconds between two looks whether a person asks for a stream

if TYPE_CHECKING:
    from ironbridge.kafka.broker import Broker

Say = Callable[[str], None]


@dataclass
class Platform:
    """The parts of the platform share this: settings with Kafka's address filled in, the state, and the parts asked for."""

    settings: Settings
    store: Store
    broker: Broker | None = None
    pumps: dict[str, tuple[Pump, list[Stream]]] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    claims: Claims = field(default_factory=Alone)
    tables: TablesWriter | None = None
    """Writes the open tables, where this process does."""
    unbuilt: dict[str, Work] = field(default_factory=dict)
    """Adapters, flows and targets whose own code failed at the start: they are built again while the others run."""
    troubles: dict[str, str] = field(default_factory=dict)
    """By the names of the unbuilt parts, what the last attempt to build each raised."""
    begin: Callable[[], Awaitable[None]] | None = None
    """Waits for the state and Kafka and makes them ready. `run` does it first, if nobody has done it yet."""

    @property
    def kafka(self) -> KafkaSettings:
        return self.settings.kafka

    @property
    def parts(self) -> list[str]:
        """The parts that are built."""
        tables = [systems.TABLES] if self.tables else []
        return [*map(systems.adapter_part, self.pumps), *map(systems.flow_part, self.deliveries), *tables]


def chosen(
    settings: Settings, names: Iterable[str]
) -> tuple[dict[str, systems.AdapterPlan], dict[str, systems.FlowPlan]]:
    """
    The adapters and flows of the settings, or those of them that are named. A target's name stands for all flows that write to
    it, unless one of them has that name.

    :raises MisconfiguredError: a name that the settings do not have.
    """
    adapters, flows = systems.adapters(settings), systems.flows(settings)
    if names := set(names):
        wanted = names - {systems.TABLES} if settings.tables.path else names
        wanted |= {name for name, plan in flows.items() if plan.target.name in wanted - flows.keys()}
        if unknown := wanted - adapters.keys() - flows.keys() - {plan.target.name for plan in flows.values()}:
            tables = [systems.TABLES] if settings.tables.path else []
            raise MisconfiguredError(
                "run", f"there is no {', '.join(sorted(unknown))} in the settings",
                fix=f"there are: {', '.join([*adapters, *flows, *tables]) or 'none'}",
            )  # fmt: skip
        adapters = {name: plan for name, plan in adapters.items() if name in wanted}
        flows = {name: plan for name, plan in flows.items() if name in wanted}
    return adapters, flows


@asynccontextmanager
async def platform(
    settings: Settings,
    names: Iterable[str] = (),
    *,
    say: Say = log.info,
    broker: bool = True,
    topics: bool = True,
    tables: Upkeep = Upkeep.BRING,
    patient: asyncio.Event | None = None,
) -> AsyncIterator[Platform]:
    """
    Start the broker if the settings ask for one, open the state, check the topics, build the parts.

    Without `broker` and `topics` Kafka is left alone: enough to look at the state. With `patient` nothing is asked yet: `run`
    begins with that, and waits for a state or a Kafka that is away, until that event is set. So health is answered meanwhile.
    """
    names = set(names)
    adapters, flows = chosen(settings, names)
    writes_tables = bool(settings.tables.path) and (not names or systems.TABLES in names)
    async with AsyncExitStack() as stack:
        started = beside(settings, say) if broker else None
        if started is not None:
            await stack.enter_async_context(started)
            kafka = settings.kafka.model_copy(update={"bootstrap_servers": started.bootstrap})
            settings = settings.model_copy(update={"kafka": kafka})
        store = await open_store(settings.state_url, tables=tables if patient is None else Upkeep.LEAVE)
        stack.push_async_callback(store.close)
        built = Platform(settings, store, started)
        built.tables = TablesWriter(settings.tables, settings.kafka) if writes_tables else None
        await _build(built, _parts(built, adapters, flows, stack))
        built.begin = partial(_begin, built, stack, patient, topics=topics and bool(built.tables or adapters or flows))
        if patient is None:
            await built.begin()
            built.begin = None
        yield built


async def _build(built: Platform, parts: Mapping[str, Work]) -> None:
    """Build the parts. Whatever a part's own code raises ends at that part, but if all are refused the start is refused."""
    wrong: dict[str, IronbridgeError] = {}
    for part, build in parts.items():
        try:
            await in_our_words(part, build)
        except IronbridgeError as error:
            wrong[part] = error
    refusals = [each for each in wrong.values() if not isinstance(each, UnforeseenError)]
    if refusals and len(wrong) == len(parts):
        raise refusals[0]  # a person is at hand: this is the start
    for part, met in wrong.items():
        log.error("%s", met)
        built.unbuilt[part], built.troubles[part] = parts[part], str(met)


async def _begin(built: Platform, stack: AsyncExitStack, patient: asyncio.Event | None, *, topics: bool) -> None:
    """Make the state's tables and the topics ready, and find out which installation this is; `stack` closes what that opens."""
    store = built.store
    if patient is not None:
        await once_there(store.migrate, patient)
    if topics:
        await once_there(lambda: prefixed(store, built.kafka.topic_prefix), patient)
        await once_there(lambda: ensure_topics(built.kafka, _entities(built)), patient)
        if built.broker is None:
            mine = await once_there(lambda: installation(store), patient)
            built.claims = KafkaClaims(built.kafka, mine, worker_name(built.settings.worker), clock=store.clock)
            stack.push_async_callback(built.claims.close)


def looking(
    settings: Settings, names: Iterable[str] = (), tables: Upkeep = Upkeep.NEED
) -> AbstractAsyncContextManager[Platform]:
    """
    The parts over the state alone, for who looks: Kafka is left alone, and the state's tables stay as they are. With
    `Upkeep.LEAVE` the state may be away.
    """
    return platform(settings, names, broker=False, topics=False, tables=tables)


def beside(settings: Settings, say: Say) -> Broker | None:
    """The broker that the settings want beside the program."""
    from ironbridge.kafka.broker import ApacheKafka, EmbeddedBroker  # production runs without

    kafka = settings.kafka
    match kafka.broker:
        case "embedded":
            say(EmbeddedBroker.warning)
            return EmbeddedBroker(settings.data / "broker", kafka.port, progress=say)
        case "apache":
            return ApacheKafka(settings.data / "kafka", kafka.port, progress=say)
        case "none":
            if not kafka.bootstrap_servers:
                raise MisconfiguredError(
                    "kafka",
                    "no broker is named",
                    fix="set kafka.bootstrap_servers, or kafka.broker to embedded or apache",
                )
            return None


def _pump(built: Platform, plan: systems.AdapterPlan) -> tuple[Pump, list[Stream]]:
    streams = list(plan.adapter.streams())
    entities = {entity for stream in streams for entity in stream.entities}
    tracing = telemetry.ChangeTracing(plan.name, telemetry.TraceBudget(built.settings.telemetry.most_traces))
    sends = sorted(entities, key=lambda e: e.type_name)
    journal = KafkaJournal(built.kafka, plan.name, sends, tracing, clock=built.store.clock)
    memory = StoredMemory(built.store, plan.name)

    def clock() -> datetime:
        return datetime.fromtimestamp(built.store.clock(), UTC)

    return Pump(plan.adapter, journal, memory, edition=plan.edition, guard=plan.guard, clock=clock), streams


def _parts(
    built: Platform, adapters: Mapping[str, systems.AdapterPlan], flows: Mapping[str, systems.FlowPlan], stack: AsyncExitStack
) -> dict[str, Work]:
    """By the parts' names, the work that builds each."""
    connections = Connections(built.kafka, built.store, stack)

    async def adapter(plan: systems.AdapterPlan) -> None:
        built.pumps[plan.name] = _pump(built, plan)

    async def flow(plan: systems.FlowPlan) -> None:
        built.deliveries[plan.name] = await connections.delivery(plan)

    works: dict[str, Work] = {systems.adapter_part(name): partial(adapter, plan) for name, plan in adapters.items()}
    return works | {systems.flow_part(name): partial(flow, plan) for name, plan in flows.items()}


def _entities(built: Platform) -> list[type[Entity]]:
    entities = {e for _, streams in built.pumps.values() for s in streams for e in s.entities}
    entities |= {e for d in built.deliveries.values() for e in d.flow.entities}
    entities |= set(entities_of(built.tables.settings)) if built.tables else set()
    return sorted(entities, key=lambda e: e.type_name)


def collect_seldom() -> None:
    """
    Let the garbage collector look seldom. A page of rows is tens of thousands of objects that go by themselves a second
    later: to walk them at every 700th, and with them all that was ever imported, takes a third of a first load's time, and
    to walk them at every 20,000th still a twentieth.

    Everything stands still while it looks, the console too, for half a second where it walks a million objects at once. What has
    outlived one look is therefore walked with the next one: 100,000 objects at most, which takes 50 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 1, 180)


async def run(built: Platform, stop: asyncio.Event) -> None:
    """Run every part until told to stop. Batches in hand are finished; nothing needs to be."""
    collect_seldom()
    if built.begin is not None:
        await built.begin()
    running: dict[str, asyncio.Task[None]] = {}

    def alive() -> list[str]:
        return [part for part in built.parts if part in running and not running[part].done()]

    async with watchdog.watching(), signs_of_life(built.store, alive, stop), asyncio.TaskGroup() as group:
        for name, (pump, streams) in built.pumps.items():
            running[systems.adapter_part(name)] = group.create_task(keep_adapter(built, name, pump, streams, stop))
        for name, delivery in built.deliveries.items():
            running[systems.flow_part(name)] = group.create_task(keep_flow(built, name, delivery, stop))
        if built.tables is not None:
            running[systems.TABLES] = group.create_task(keep_tables(built.tables, built.claims, stop))
        for part, build in list(built.unbuilt.items()):
            running[part] = group.create_task(_keep_unbuilt(built, part, build, stop))


async def _keep_unbuilt(built: Platform, part: str, build: Work, stop: asyncio.Event) -> None:
    async def trouble(error: IronbridgeError) -> None:
        built.troubles[part] = str(error)
        await troubles.note(built.store, part, str(error))

    await insist(part, build, stop, trouble)
    if stop.is_set():
        return
    del built.unbuilt[part]
    built.troubles.pop(part, None)
    kind, _, name = part.partition("/")
    if kind == "adapter" and name in built.pumps:
        await keep_adapter(built, name, *built.pumps[name], stop)
    elif kind == "flow" and name in built.deliveries:
        await insist(part, partial(_topics, built, built.deliveries[name]), stop, trouble)
        await keep_flow(built, name, built.deliveries[name], stop)


async def _topics(built: Platform, delivery: Delivery) -> None:
    await ensure_topics(built.kafka, delivery.flow.entities)  # the start made those of the parts that it could build


async def keep_adapter(built: Platform, name: str, pump: Pump, streams: list[Stream], stop: asyncio.Event) -> None:
    """Read every stream of an adapter when it is due."""
    try:
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(_keep_stream(built, name, pump, stream, stop))
    except* FencedError as fenced:
        log.error("%s stopped: %s", name, fenced.exceptions[0])  # noqa: TRY400 (the sentence says it all)
    finally:
        try:
            await in_our_words(name, pump.close)
        except IronbridgeError as error:
            log.warning("%s: not closed in good order: %s", name, error)


async def _keep_stream(built: Platform, name: str, pump: Pump, stream: Stream, stop: asyncio.Event) -> None:
    memory = StoredMemory(built.store, name)

    async def once() -> None:
        # Here, where an outage of the state is waited for: outside it would end the process.
        if await memory.paused(stream.name):
            return
        await built.claims.hold(systems.adapter_part(name))
        await pump.ready()
        if (asked := await memory.backfill(stream.name)) is not None:
            lacking = await pump.backfill(stream)
            log.info("%s.%s is read whole again; the topics lacked %d of its events", name, stream.name, lacking)
            await memory.backfilled(stream.name, asked)
        await pump.read(stream)
        await memory.looked(stream.name)

    async def trouble(error: IronbridgeError) -> None:
        await memory.trouble(stream.name, str(error))

    while not stop.is_set():
        began = time.monotonic()
        await insist(f"{name}.{stream.name}", once, stop, trouble)
        await _rest(memory, stream, began + stream.rest.total_seconds(), stop)


async def _rest(memory: StoredMemory, stream: Stream, until: float, stop: asyncio.Event) -> None:
    """Wait until the stream is due, or until a person asks for all of it or lets through changes that are held back."""
    await nap(stop, 0.05)
    allowed = 0
    with suppress(Exception):  # the next reading says what is the matter
        allowed = await memory.allowed(stream.name)
    while (left := until - time.monotonic()) > 0 and not stop.is_set():
        await nap(stop, min(left, _ASKED))
        with suppress(Exception):
            if left > _ASKED and await _asked_for(memory, stream, allowed):
                return


async def _asked_for(memory: StoredMemory, stream: Stream, allowed: int) -> bool:
    return await memory.backfill(stream.name) is not None or await memory.allowed(stream.name) > allowed


async def keep_flow(built: Platform, name: str, delivery: Delivery, stop: asyncio.Event) -> None:
    """Ingest and deliver side by side: a slow target never holds up the consumer."""

    part = systems.flow_part(name)

    async def ingest() -> None:
        worker = f"{worker_name(built.settings.worker)}.{name}"
        async with KafkaInbox(built.kafka, name, delivery.flow.entities, delivery.ledger, worker) as inbox:
            while not stop.is_set():
                await delivery.agreement.ingest(inbox)

    async def deliver() -> None:
        await names.aim(built.store, name, delivery.target.name, delivery.others, distinct=delivery.distinct)
        await delivery.agreement.deliver(stop)
        await delivery.ledger.trouble(None)

    async def trouble(error: IronbridgeError) -> None:
        await delivery.ledger.trouble(str(error))

    async def tidy() -> None:
        kept = built.settings.retention
        retention = Retention(built.store, Keep(kept.version_days, kept.versions, kept.attempt_days))
        while not stop.is_set():
            await nap(stop, 1.0 if await retention.sweep() else 30.0)

    def held(work: Work) -> Work:
        async def once() -> None:
            try:
                await built.claims.while_held(part, lambda: in_our_words(name, work))
            except FencedError as error:  # of one producer: the next attempt makes another
                raise UnavailableError(name, error.what) from error

        return once

    async with asyncio.TaskGroup() as group:
        group.create_task(insist(f"{name} (retention)", tidy, stop, trouble))
        group.create_task(insist(f"{name} (ingest)", held(ingest), stop, trouble))
        group.create_task(insist(f"{name} (deliver)", held(deliver), stop, trouble))
