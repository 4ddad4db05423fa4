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
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from adapters.engine.pump import Pump
from adapters.port import Stream
from canonical import Entity
from canonical.errors import FencedError, IronbridgeError, MisconfiguredError, UnavailableError, ours
from flows.engine.ledger import Stand
from ironbridge.kafka.claims import Alone, Claims, KafkaClaims
from ironbridge.kafka.inbox import KafkaInbox, worker_name
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.observe import telemetry, watchdog
from ironbridge.runtime import systems
from ironbridge.runtime.deliveries import Connections, Delivery
from ironbridge.runtime.insist import Work, in_our_words, insist, nap
from ironbridge.settings import KafkaSettings, Settings
from ironbridge.store import Store, StoredMemory, Upkeep, names, open_store, traffic
from ironbridge.store.history import Keep, Retention
from ironbridge.store.installation import installation, prefixed

log = logging.getLogger(__name__)
_ASKED = 2.0  # seconds between two looks whether a person asks for a stream

if TYPE_CHECKING:
    from ironbridge.kafka.broker import Broker

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass
class Platform:
    """The parts of the platform share this: settings with Kafka's address filled in, the state, and the parts asked for."""

    settings: Settings
    store: Store
    broker: Broker | None = None
    pumps: dict[str, tuple[Pump, list[Stream]]] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    claims: Claims = field(default_factory=Alone)
    unbuilt: dict[str, Work] = field(default_factory=dict)
    """Adapters, flows and targets whose own code failed at the start: they are built again while the others run."""
    begin: Callable[[], Awaitable[None]] | None = None
    """Waits for the state and Kafka and makes them ready. `run` does it first, if nobody has done it yet."""

    @property
    def kafka(self) -> KafkaSettings:
        return self.settings.kafka


def chosen(
    settings: Settings, names: Iterable[str]
) -> tuple[dict[str, systems.AdapterPlan], dict[str, systems.FlowPlan]]:
    """
    The adapters and flows of the settings, or those of them that are named. A target's name stands for all flows that write to
    it, unless one of them has that name.

    :raises MisconfiguredError: a name that the settings do not have.
    """
    adapters, flows = systems.adapters(settings), systems.flows(settings)
    if wanted := set(names):
        wanted |= {name for name, plan in flows.items() if plan.target.name in wanted - flows.keys()}
        if unknown := wanted - adapters.keys() - flows.keys() - {plan.target.name for plan in flows.values()}:
            raise MisconfiguredError(
                "run", f"there is no {', '.join(sorted(unknown))} in the settings",
                fix=f"there are: {', '.join([*adapters, *flows]) or 'none'}",
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
    adapters, flows = chosen(settings, names)
    async with AsyncExitStack() as stack:
        started = beside(settings, say) if broker else None
        if started is not None:
            await stack.enter_async_context(started)
            kafka = settings.kafka.model_copy(update={"bootstrap_servers": started.bootstrap})
            settings = settings.model_copy(update={"kafka": kafka})
        store = await open_store(settings.state_url, tables=tables if patient is None else Upkeep.LEAVE)
        stack.push_async_callback(store.close)
        built = Platform(settings, store, started)
        for part, build in _parts(built, adapters, flows, stack).items():
            try:
                await build()
            except IronbridgeError:
                raise  # the settings are at fault, and a person is at hand: this is the start
            except Exception as error:
                log.error("%s", ours(part, error))  # noqa: TRY400
                built.unbuilt[part] = build
        built.begin = partial(_begin, built, stack, patient, topics=topics and bool(adapters or flows))
        if patient is None:
            await built.begin()
            built.begin = None
        yield built


async def _begin(built: Platform, stack: AsyncExitStack, patient: asyncio.Event | None, *, topics: bool) -> None:
    """Make the state's tables and the topics ready, and find out which installation this is; `stack` closes what that opens."""
    store = built.store
    if patient is not None:
        await _once_there(store.migrate, patient)
    if topics:
        await _once_there(lambda: prefixed(store, built.kafka.topic_prefix), patient)
        await _once_there(lambda: ensure_topics(built.kafka, _entities(built)), patient)
        if built.broker is None:
            mine = await _once_there(lambda: installation(store), patient)
            built.claims = KafkaClaims(built.kafka, mine, worker_name(built.settings.worker), clock=store.clock)
            stack.push_async_callback(built.claims.close)


async def _once_there(work: Callable[[], Awaitable[T]], patient: asyncio.Event | None) -> T:
    """Do it as soon as what it needs is there."""

    def say(state: RetryCallState) -> None:
        error, wait = state.outcome and state.outcome.exception(), state.next_action and state.next_action.sleep
        log.warning("not started yet: %s; next attempt in %.1f s", error, wait or 0.0)

    if patient is None:
        return await work()
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_exponential_jitter(multiplier=0.5, max=15, jitter=0.5),
        sleep=lambda seconds: nap(patient, seconds),
        stop=lambda _state: patient.is_set(),
        before_sleep=say,
        reraise=True,
    ):
        with attempt:
            return await work()
    raise AssertionError("it either returns or raises")


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

    works: dict[str, Work] = {f"adapter/{name}": partial(adapter, plan) for name, plan in adapters.items()}
    return works | {f"flow/{name}": partial(flow, plan) for name, plan in flows.items()}


def _entities(built: Platform) -> list[type[Entity]]:
    entities = {e for _, streams in built.pumps.values() for s in streams for e in s.entities}
    entities |= {e for d in built.deliveries.values() for e in d.flow.entities}
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
    async with watchdog.watching(), asyncio.TaskGroup() as group:
        for name, (pump, streams) in built.pumps.items():
            group.create_task(keep_adapter(built, name, pump, streams, stop))
        for part, build in built.unbuilt.items():
            group.create_task(_keep_unbuilt(built, part, build, stop))
        for name, delivery in built.deliveries.items():
            group.create_task(keep_flow(built, name, delivery, stop))


async def _keep_unbuilt(built: Platform, part: str, build: Work, stop: asyncio.Event) -> None:
    async def trouble(error: IronbridgeError) -> None:
        """The state cannot note it of a part that is not there yet; it is in the log."""

    await insist(part, build, stop, trouble)
    kind, _, name = part.partition("/")
    if kind == "adapter" and name in built.pumps:
        await keep_adapter(built, name, *built.pumps[name], stop)
    elif kind == "flow" and name in built.deliveries:
        await keep_flow(built, name, built.deliveries[name], stop)


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
        await built.claims.hold(f"adapter/{name}")
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

    part = f"flow/{name}"

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


async def idle(built: Platform) -> bool:
    """
    Tell whether every stream was read to its end and no subject is dirty, held by a worker, or still to be looked at
    again now.
    """
    for name, (_, streams) in built.pumps.items():
        memory = StoredMemory(built.store, name)
        for stream in streams:
            progress = await memory.progress(stream.name)
            if progress.completed is None or progress.after is not None:
                return False
    if not await _ingested(built):
        return False
    return await traffic.busy(built.store) == 0


async def _ingested(built: Platform) -> bool:
    """Tell whether the flows have all that was published, as the state knows it."""
    wanted = {f"{built.kafka.topic_prefix}.{e.type_name}" for d in built.deliveries.values() for e in d.flow.entities}
    published = {place: behind for place, behind in (await traffic.published(built.store)).items() if place[0] in wanted}
    for delivery in built.deliveries.values():
        stands = await delivery.ledger.ingested()
        topics = {f"{built.kafka.topic_prefix}.{e.type_name}" for e in delivery.flow.entities}
        if any(stands.get(p, Stand()).behind < behind for p, behind in published.items() if p[0] in topics):
            return False
    return True
