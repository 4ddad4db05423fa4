"""
Fuzzes agreement: two to four workers of one flow (or of two), each with its own clock and its own release, with stalls, kills and
errors, a cloud that loses answers, does things late and shows them later, and a state that is set back to a copy now and then.

`python -m tests.fuzz_agreement --seeds 0-19999 --jobs 2`, or one seed's story: `--seed 123 --fewest -v`.
"""

from __future__ import annotations

import asyncio
import logging
import random as _random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from canonical import DocumentLine, Event, Invoice, Supplier
from canonical.entity import Entity
from canonical.errors import RefusedError, UnavailableError
from canonical.key import key_of, read_key
from flows.engine.agree import Agreement
from flows.engine.clock import LONDON
from flows.engine.trail import Reach, Sent
from flows.port import Document, Fact, Facts, Grouping, Limits, Nothing, Urgency
from flows.testing import MemoryTrail
from ironbridge.operate import steer
from ironbridge.operate.audit import Actor
from ironbridge.store.trail import TrailedLedger
from tests.fuzzing.chaos import Broken, Gone
from tests.fuzzing.cloud import HATED, Cloud, Kind, Mood, Wired
from tests.fuzzing.command import main
from tests.fuzzing.post import TOPIC, Group, Inbox, Post
from tests.fuzzing.state import SharedState, empty
from tests.fuzzing.virtual import VirtualLoop

START = datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 1, 5, 23, 59, 20, tzinfo=UTC).timestamp()
REST = 2500.0  # seconds after which everything is at rest, or waits for ever
NAMES = ("Ashgrove", "Birch", "Cedar", "Unwanted", "Contradiction", "Mistake", HATED)


def who(number: int) -> str:
    return key_of("payables", "supplier", number)


def what(number: int) -> str:
    return key_of("payables", "invoice", number)


@dataclass(frozen=True)
class Release:
    """One release of a flow: its mapping writes the release's own mark, and in some releases the day."""

    name: str
    daily: bool


class Purchasing:
    """Suppliers, and invoices that wait for their suppliers, as one release maps them."""

    entities: tuple[type[Entity], ...] = (Supplier, Invoice)
    grouping = Grouping.KEY
    settings: Mapping[str, Any] = {}

    def __init__(self, name: str, release: Release) -> None:
        self.name = name
        self._release = release

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        more = {"by": self._release.name} | ({"day": facts.today.isoformat()} if self._release.daily else {})
        if supplier := facts.one(Supplier):
            match supplier.name.partition("/")[0]:
                case "Unwanted":
                    return Nothing("it is not wanted there")
                case "Contradiction":
                    raise RefusedError(self.name, "name: is not one that the target can ever hold")
                case "Mistake":
                    raise KeyError("a mistake")
                case name:
                    version = int(supplier.name.partition("/")[2])
                    return Document("supplier", supplier.number, {"name": name, "version": version} | more)
        if invoice := facts.one(Invoice):
            body = {"version": int(invoice.lines[0].net)} | more
            return Document("invoice", invoice.number, body, {"vendorId": invoice.supplier})
        return None

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        _, kind, number = read_key(key)
        return [Document(kind, number, {})]

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL if entity == Invoice.type_name else Urgency.TIDY_UP


class Connection:
    """
    A worker's ledger, as the worker reaches it: it is slow, and raises errors before a transaction and after it.

    If a worker asks for work again, and nothing has changed since it last heard that there is none, the same answer is given
    without a query: that saves most of the time.
    """

    def __init__(self, worker: Worker, inner: TrailedLedger) -> None:
        self._worker = worker
        self._inner = inner
        self._idle: dict[str, tuple[int, float, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        worker, state, loop = self._worker, self._worker.world.state, asyncio.get_running_loop()

        async def called(*args: Any, **more: Any) -> Any:
            known = self._idle.get(name)
            if known and known[0] == state.changes and loop.time() < known[1] and not worker.dead:
                return known[2]
            await worker.point(f"before {name}")
            before = state.changes
            answer = await found(*args, **more)
            if name == "keep":
                state.overlook(before)  # a sign of life gives nobody work
            await worker.point(f"after {name}")
            self._remember(name, answer)
            return answer

        setattr(self, name, called)  # kept, because it is looked up some thousand times
        return called

    def _remember(self, name: str, answer: Any) -> None:
        world, now = self._worker.world, asyncio.get_running_loop().time()
        if (name == "take" and answer == []) or name == "due":
            # The answer stays the same until something changes or falls due.
            due = world.state.rows("SELECT min(COALESCE(due, 0)) FROM subjects WHERE state = 'dirty'")[0][0]
            left = 60.0 if due is None else due - world.clock()
            self._idle[name] = (world.state.changes, now + min(left, 60.0), answer)


class Tracks:
    """The flow's trail, as one worker reaches it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._trail = worker.party.trail

    async def append(self, sent: Sent) -> int:
        await self._worker.point("before append")
        at = await self._trail.append(sent)
        await self._worker.point("after append")
        return at

    async def reach(self) -> Reach:
        await self._worker.point("before reach")
        return await self._trail.reach()

    def read(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        return self._trail.read(since, end)

    async def follow(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        await self._worker.point("before follow")
        async for records in self._trail.read(since, end):
            yield records

    async def ends(self) -> dict[tuple[str, int], int]:
        return {(TOPIC, p): len(log) for p, log in enumerate(self._worker.world.post.logs)}


@dataclass
class Worker:
    """One process of one flow, with its own clock."""

    world: World
    name: str
    party: Party
    release: Release
    skew: float
    random: Random
    dead: bool = False
    stalled: float = 0.0
    errors: float = 0.0
    slow: float = 0.02
    dies_in: int | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Future[Any]] = field(default_factory=list)

    def clock(self) -> float:
        return self.world.clock() + self.skew

    async def point(self, what: str) -> None:
        if self.dead:
            raise Gone(what)
        loop = asyncio.get_running_loop()
        if self.random.random() < 0.5:
            await asyncio.sleep(self.random.uniform(0, self.slow))
        while self.stalled > loop.time():
            await asyncio.sleep(self.stalled - loop.time())
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.world.tell(f"    {self.name} dies {what}")
                self.kill()
        if self.dead:
            raise Gone(what)
        if self.errors and self.random.random() < self.errors:
            self.party.cloud.excused = True
            self.world.tell(f"    {self.name}: error {what}")
            raise UnavailableError("state", "does not answer")

    def kill(self) -> None:
        self.dead = True
        self.party.cloud.excused = True
        self.party.group.leave(self.name)
        here = asyncio.current_task()
        for task in self.tasks:
            if task is not here:
                task.cancel()

    # -- the only place that knows how a worker is made ------------------------------------------------------------

    def start(self) -> None:
        flow = Purchasing(self.party.name, self.release)
        ledger = Connection(self, TrailedLedger(self.world.state, flow, Tracks(self)))
        named = f"{self.release.name}, {'daily' if self.release.daily else 'not daily'}"
        agreement = Agreement(flow, Wired(self.party.cloud), ledger, edition=named, clock=self.clock)
        self.tasks = [
            asyncio.ensure_future(self._insist(lambda: self._ingest(agreement, ledger))),
            asyncio.ensure_future(self._insist(lambda: agreement.deliver(self.stop))),
        ]

    async def _ingest(self, agreement: Agreement, ledger: Any) -> None:
        self.party.group.join(self.name)
        try:
            inbox = Inbox(self.party.group, self.name, ledger, self.random.choice([3, 50]), lambda: not self.dead)
            while not self.stop.is_set():
                await agreement.ingest(inbox)
        finally:
            self.party.group.leave(self.name)

    async def _insist(self, deed: Callable[[], Awaitable[None]]) -> None:
        """Behave as the runtime does: wait after an error, and then begin everything anew."""
        while not self.stop.is_set():
            try:
                await deed()
            except UnavailableError:
                await asyncio.sleep(self.random.uniform(0.5, 1.5))
            except Gone:
                return

    async def end(self, grace: float = 60.0) -> None:
        """Tell it to stop, and wait for it."""
        self.stop.set()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        self.dead = True
        self.party.group.leave(self.name)
        for task in self.tasks:
            task.cancel()
        for found in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found


@dataclass
class Party:
    """One flow: its cloud, its consumer group and its workers."""

    name: str
    cloud: Cloud
    group: Group
    workers: list[Worker] = field(default_factory=list)
    release: Release = Release("1", daily=False)
    trail: MemoryTrail = field(default_factory=MemoryTrail)

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.dead]


@dataclass
class World:
    """One state, one Kafka, some flows; time begins at `start`."""

    start: float
    state: SharedState
    post: Post
    tell: Callable[[str], None]
    parties: list[Party] = field(default_factory=list)
    newest: dict[str, Event] = field(default_factory=dict)
    copies: list[Any] = field(default_factory=list)
    version: int = 0
    started: int = 0

    def clock(self) -> float:
        return self.start + asyncio.get_running_loop().time()

    def new_worker(self, party: Party, random: Random, release: Release | None = None) -> Worker:
        self.started += 1
        skew = random.choice([0.0, 0.0, random.uniform(-30, 30), random.uniform(-7200, 7200)])
        worker = Worker(self, f"w{self.started}", party, release or party.release, skew, Random(random.random()))
        self.tell(f"    {worker.name} of {party.name} starts, release {worker.release.name}, {skew:.0f} s off")
        party.workers.append(worker)
        worker.start()
        return worker

    def change(self, random: Random) -> None:
        """Change something in the legacy system, and publish it."""
        self.version += random.randint(1, 3)
        number = random.randrange(6)
        at = datetime.fromtimestamp(self.clock(), UTC)
        entity: Entity
        if random.random() < 0.6:
            name = random.choice(NAMES[:3] if random.random() < 0.7 else NAMES)
            entity = Supplier(key=who(number), number=str(number), name=f"{name}/{self.version}")
        else:
            line = DocumentLine(number=1, net=Decimal(self.version))
            entity = Invoice(key=what(number), number=str(number), supplier=who(random.randrange(6)), lines=(line,))
        data = None if random.random() < 0.2 else entity.to_bytes()
        event = Event(entity.type_name, "payables", entity.key, entity.owner, self.version, at, data)
        had = self.newest.get(event.key)
        if had is not None and had.owner != event.owner:  # it moves: leave a tombstone in the old place
            self.post.publish(Event(had.entity, "payables", had.key, had.owner, self.version, at, None))
            self.version += 1
            event = Event(entity.type_name, "payables", entity.key, entity.owner, self.version, at, data)
        self.newest[event.key] = event
        self.tell(f"    {event.key} @{event.version} {'deleted' if data is None else data.decode()[-60:]}")
        self.post.publish(event)
        if random.random() < 0.1:
            self.post.publish(random.choice([e for e in self.newest.values() if e.owner == event.owner]))


class Actions:
    """The things that may happen to a world, one method each."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def change(self, random: Random) -> None:
        for _ in range(random.choice([1, 1, 3, 8])):
            self._world.change(random)

    async def kill(self, random: Random) -> None:
        party = random.choice(self._world.parties)
        if party.living:
            random.choice(party.living).dies_in = random.randint(1, 12)
            self._world.change(random)
            await asyncio.sleep(random.uniform(0.5, 3))
            if len(party.living) < 2 or random.random() < 0.7:
                self._world.new_worker(party, random)

    async def stall(self, random: Random) -> None:
        party = random.choice(self._world.parties)
        if party.living:
            worker = random.choice(party.living)
            worker.stalled = asyncio.get_running_loop().time() + random.choice([3, 15, 25, 70])
            party.cloud.excused = True
            if random.random() < 0.5:
                party.group.leave(worker.name)
            self._world.change(random)

    async def errors(self, random: Random) -> None:
        for party in self._world.parties:
            for worker in party.living:
                worker.errors = random.choice([0, 0.02, 0.1])

    async def mood(self, random: Random) -> None:
        cloud = random.choice(self._world.parties).cloud
        cloud.mood = Mood(
            random.choice([0, 0.2]), random.choice([0, 0.2]), random.choice([0, 0, 0.3]), random.choice([0, 0, 0.1]),
            random.choice([0.05, 0.3, 2, 12]),
        )  # fmt: skip

    async def more(self, random: Random) -> None:
        party = random.choice(self._world.parties)
        if len(party.living) < 4:
            self._world.new_worker(party, random)

    async def fewer(self, random: Random) -> None:
        party = random.choice(self._world.parties)
        if party.living:
            await random.choice(party.living).end()
        if not party.living:
            self._world.new_worker(party, random)

    async def balance(self, random: Random) -> None:
        random.choice(self._world.parties).group.balance()

    async def upgrade(self, random: Random) -> None:
        """Replace one pod after another; sometimes a new one runs beside the old one for a while. Sometimes roll back."""
        party = random.choice(self._world.parties)
        party.release = Release(random.choice(["1", "2", "3"]), random.choice([False, party.release.daily]))
        self._world.tell(f"    {party.name}: {party.release}")
        for old in list(party.living):
            self._world.new_worker(party, random)
            await asyncio.sleep(random.choice([0.1, 4, 30]))
            if random.random() < 0.5:
                self._world.change(random)
            await old.end()

    async def compact(self, _: Random) -> None:
        self._world.post.compact()

    async def copy(self, _: Random) -> None:
        self._world.copies.append(self._world.state.copy())

    async def set_back(self, random: Random) -> None:
        """Stop the platform, put a copy back, and start it again; or fail over while it runs."""
        world = self._world
        if not world.copies:
            return
        await self._other_state(random, random.choice(world.copies), running=random.random() < 0.3)

    async def lose_state(self, random: Random) -> None:
        await self._other_state(random, None, running=False)

    async def _other_state(self, random: Random, copy: Any, *, running: bool) -> None:
        world = self._world
        for party in world.parties:
            party.cloud.excused = True
            if not running:
                for worker in party.living:
                    await worker.end()
        world.state.set_back(copy)
        if not running:
            for party in world.parties:
                for _ in range(random.randint(1, 3)):
                    world.new_worker(party, random)

    async def person(self, random: Random) -> None:
        """Somebody wants it now: lifts a silence, or has all looked at again."""
        world, party = self._world, random.choice(self._world.parties)
        who = Actor("kim", "console")
        if random.random() < 0.5:
            await steer.release(world.state, who, party.name)  # type: ignore[arg-type]
        else:
            flow = Purchasing(party.name, party.release)
            await steer.replay(world.state, who, flow, rewrite=party.cloud.readable)  # type: ignore[arg-type]
        world.change(random)

    async def wait(self, random: Random) -> None:
        await asyncio.sleep(random.choice([5, 25, 70]))


LIKELY = {
    "change": 12, "kill": 4, "stall": 3, "errors": 2, "mood": 4, "more": 2, "fewer": 1, "balance": 2, "upgrade": 2,
    "compact": 1, "copy": 2, "set_back": 1, "lose_state": 0.5, "wait": 2, "person": 2,
}  # fmt: skip
SPARED = {"set_back": 0.5, "lose_state": 0.7, "upgrade": 0.4, "stall": 0.4, "kill": 0.3, "errors": 0.4}


def actions_of(random: Random) -> list[str]:
    likely = {name: often for name, often in LIKELY.items() if random.random() > SPARED.get(name, 0.1)} | {"change": 12}
    return random.choices(list(likely), list(likely.values()), k=random.randint(4, 14))


def world_of(random: Random, tell: Callable[[str], None]) -> World:
    world = World(random.choice([START, MIDNIGHT]), None, Post(random.choice([1, 2, 3])), tell)  # type: ignore[arg-type]
    world.state = SharedState(world.clock)
    for name in ["purchasing", "mirror"][: random.choice([1, 1, 2])]:
        settles = random.choice([0, 0, 5, 30])
        limits = Limits(random.choice([1, 3, 20]), random.choice([1, 2]), settles=timedelta(seconds=settles))
        cloud = Cloud(name, Random(random.random()), world.clock, world.tell, random.choice(list(Kind)), limits=limits)
        cloud.lag = settles * 0.4
        cloud.readable = random.random() < 0.7
        party = Party(name, cloud, Group(world.post), release=Release("1", daily=random.random() < 0.4))
        world.parties.append(party)
        words = "readable" if cloud.readable else "unreadable"
        tell(f"{name}: {cloud.kind.name}, {words}, settles in {settles} s, {limits}, {party.release}")
    return world


def _same(cloud: Cloud, subject: str, wanted: Document | None) -> bool:
    bodies = [thing.document.body for thing in cloud.living(subject)]
    if cloud.kind is Kind.POSTING and not cloud.readable and cloud.excused:
        return wanted is None or wanted.body in bodies  # nobody could see that there are two
    return bodies == [] if wanted is None else bodies == [wanted.body]


def wrong_of(world: World, party: Party) -> list[str]:
    """The documents that the cloud holds, but the newest release does not want for the newest facts."""
    flow = Purchasing(party.name, party.release)
    today = datetime.fromtimestamp(world.clock(), LONDON).date()
    wrong = []
    for key, event in sorted(world.newest.items()):
        fact = [] if event.data is None else [_fact(event)]
        try:
            wanted = flow.desired(key, Facts(fact, today))
        except (RefusedError, KeyError):
            continue  # it is parked, and the cloud holds its former content
        if isinstance(wanted, Nothing):
            wanted = None
        if wanted is not None and wanted.body.get("name") == HATED:
            continue
        if wanted is not None and any(_waits_for(world, party, other) for other in wanted.refers.values()):
            continue
        if not _same(party.cloud, key, wanted):
            held = [thing.document.body for thing in party.cloud.living(key)]
            wrong.append(f"{party.name}: {key} is {held} instead of {wanted and wanted.body}")
    return wrong


def _waits_for(world: World, party: Party, other: str) -> bool:
    """Whether the subject that it waits for is absent, or is parked, and may be in doubt."""
    event = world.newest.get(other)
    parked = event is None or event.data is None or any(name.encode() in event.data for name in (*NAMES[4:6], HATED))
    return parked or not party.cloud.living(other)


def _fact(event: Event) -> Fact:
    assert event.data is not None
    return Fact(event.entity, event.key, event.owner, event.version, event.data)


def at_work(world: World) -> list[Any]:
    return world.state.rows("SELECT flow, subject, state, due FROM subjects WHERE state IN ('dirty', 'sending')")


async def settle(world: World) -> None:
    """Nothing fails any more, and one or two workers of the newest release are left: everything comes to rest, and agrees."""
    for party in world.parties:
        party.cloud.mood = Mood()
        for worker in party.living:
            worker.errors, worker.stalled, worker.dies_in = 0.0, 0.0, None
    for party in world.parties:
        old = [worker for worker in party.living if worker.release != party.release]
        for worker in old or party.living[2:]:
            await worker.end()
        if not party.living:
            world.new_worker(party, Random(world.started))
    loop = asyncio.get_running_loop()
    until, quiet = loop.time() + REST, 0
    while quiet < 3 + max(party.cloud.lag for party in world.parties) / 5:
        await asyncio.sleep(5.0)
        found(world)
        quiet = 0 if at_work(world) or any(wrong_of(world, party) for party in world.parties) else quiet + 1
        if loop.time() > until:
            wrong = [each for party in world.parties for each in wrong_of(world, party)]
            raise Broken(f"no rest: {wrong[:3]}; at work: {at_work(world)[:3]}")
    for party in world.parties:
        for worker in party.living:
            await worker.end()


def found(world: World) -> None:
    """:raises Broken: a cloud got a write that must never happen, or a worker has ended by itself."""
    for party in world.parties:
        if party.cloud.broken:
            raise Broken(party.cloud.broken[0])
        for worker in party.workers:
            for task in worker.tasks:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error


async def played(seed: int, without: frozenset[int], tell: Callable[[str], None]) -> int:
    random = Random(seed)
    loop = asyncio.get_running_loop()
    world = world_of(random, lambda what: tell(f"{loop.time():8.2f} {what}"))
    actions = actions_of(random)
    does = Actions(world)
    try:
        for party in world.parties:
            for _ in range(random.randint(2, 3)):
                world.new_worker(party, random)
        for n, name in enumerate(actions):
            own = Random(f"{seed}/{n}")
            if n not in without:
                world.tell(f"{n} {name}")
                await getattr(does, name)(own)
                await asyncio.sleep(own.choice([0.01, 0.1, 1, 5]))
                found(world)
        world.tell("at rest")
        await settle(world)
    finally:
        left = [task for party in world.parties for worker in party.workers for task in worker.tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        world.state.close()
    return len(actions)


def play(seed: int, without: frozenset[int] = frozenset(), tell: Callable[[str], None] = lambda _: None) -> int:
    """Play one seed. :raises Broken: a promise is broken."""
    logging.disable(logging.CRITICAL)
    _random.seed(seed)  # for the runtime's jitter
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(played(seed, without, tell))


if __name__ == "__main__":
    empty()  # once, before there are processes side by side
    sys.exit(main("tests.fuzz_agreement", play))
