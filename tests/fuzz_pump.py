"""
Fuzzes the pump: rows come, go, change and get other numbers, between pages, while they are read and while they are
published; processes die, are cut off and are doubled; states are lost or set back to a copy; logs lose their end, are made
anew and are compacted.

`python -m tests.fuzz_pump --seeds 0-19999 --jobs 2`, or one seed's story: `--seed 123 --fewest -v`.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from adapters.engine.guard import Guard, allowance
from adapters.engine.pump import Pump
from adapters.testing import Log, MemoryJournal, MemoryMemory, MemoryState
from canonical import Event
from canonical.errors import FencedError, UnavailableError
from canonical.key import key_of
from tests.fuzzing.chaos import Broken, Chaos, Gone, Weather, Wire
from tests.fuzzing.command import main
from tests.fuzzing.legacy import Legacy, Life, Reader
from tests.fuzzing.pump_judge import Judge
from tests.fuzzing.virtual import VirtualLoop

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
TOMBSTONES = timedelta(days=30)  # as ironbridge/kafka/topics.py keeps them
TRIES = 8
QUIET = Weather()


@dataclass
class Process:
    """One copy of the adapter's process."""

    chaos: Chaos
    reader: Reader
    pump: Pump

    @property
    def alive(self) -> bool:
        return not self.chaos.dead


@dataclass
class Copy:
    """A copy of the state, and when the sweeps that ran in it began."""

    state: bytes
    began: dict[str, int]


@dataclass
class World:
    """One legacy system, one log, one state, and processes that come and go."""

    legacy: Legacy
    life: Life
    page: int
    mean: int
    lasting: bool
    guard: Guard
    tell: Callable[[str], None]
    log: Log = field(default_factory=Log)
    state: MemoryState = field(default_factory=MemoryState)
    copies: list[Copy] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    now: datetime = START
    first: int = 0  # the first of the log's transactions that every process reads

    def __post_init__(self) -> None:
        where = MemoryJournal(self.log, self.legacy.name).partition_of
        self.judge = Judge(self.legacy, self.log, where, self.row_of, may_delete=not self.lasting)

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def row_of(self, key: str) -> str:
        known = (k.key for stream in self.state.streams.values() for k in stream.records.values() if k.name == key)
        return next(known, key)

    # -- the only place that knows how a pump is made ----------------------------------------------------------------

    def process(self, random: Random) -> Process:
        chaos = Chaos(random, stir=self.stir, trace=lambda what: self.tell(f"    {what}"))
        reader = Reader(self.legacy, chaos, self.page, self.lasting)

        def heard(call: str) -> None:
            if call == "publish":
                self.told(self.judge.hear(reader))

        pump = Pump(
            reader,
            Wire(MemoryJournal(self.log, self.legacy.name), chaos, ("publish",), heard),
            Wire(MemoryMemory(self.state), chaos, ("save",)),
            edition=str(self.legacy.edition),
            guard=self.guard,
            clock=self.clock,
            mean_region=self.mean,
        )
        made = Process(chaos, reader, pump)
        self.processes.append(made)
        return made

    # -- what happens ------------------------------------------------------------------------------------------------

    def stir(self, random: Random) -> None:
        self.tell(f"    {self.life.change(random)}")

    def told(self, events: list[Event]) -> None:
        for event in events:
            what = "deleted" if event.data is None else event.data.decode()[-22:-1]
            self.tell(f"    published {event.key.rpartition(':')[2]} @{event.version % 10**8} {event.owner[-1]} {what}")

    def current(self, random: Random) -> Process:
        """A process that lives; start one if none does."""
        living = [p for p in self.processes if p.alive]
        return living[-1] if living else self.process(random)

    async def read(self, process: Process, tries: int = TRIES) -> None:
        """Read every stream as the runtime does: after an error get ready and go on; `FencedError` ends the process."""
        for turn in range(tries):
            if turn == tries // 2:
                process.chaos.weather.errors = process.chaos.weather.late = 0.0
            try:
                await process.pump.ready()
                for stream in process.reader.streams():
                    await process.pump.read(stream)
                    self._began(process)
                return
            except UnavailableError as error:
                self._began(process)
                self.tell(f"    {error}")
            except FencedError as error:
                process.chaos.dead = True
                self.tell(f"    {error}")
                return
        if process.chaos.weather.late == 0.0 == process.chaos.weather.errors:
            raise Broken("it does not finish, though nothing fails any more")

    def _began(self, process: Process) -> None:
        self.judge.began |= process.reader.began

    async def until_gone(self, process: Process, deed: Callable[[], Any], cut_at: int | None = None) -> None:
        """Do something in a process that may die of it, or be told to stop in the middle."""
        task = asyncio.ensure_future(deed())
        if cut_at is not None:
            for _ in range(cut_at):
                await asyncio.sleep(0)
                if task.done():
                    break
            else:
                task.cancel()
                self.tell("    is told to stop")
        try:
            await task
        except (Gone, asyncio.CancelledError):
            process.chaos.dead = True
        self._began(process)
        for _ in range(3):  # the tasks that it left running
            await asyncio.sleep(0)

    async def end(self, process: Process) -> None:
        if process.alive:
            process.chaos.expect(QUIET)
            with suppress(UnavailableError):
                await process.pump.close()
            process.chaos.dead = True

    def let(self) -> int:
        """A person lets through what is held; how much."""
        number = 0
        for stream in self.state.streams.values():
            for each, entry in stream.guarded.items():
                if entry.since is not None and entry.held and entry.allowed is None:
                    stream.guarded[each] = replace(entry, allowed=allowance(entry.held))
                    number += entry.held
        return number

    def copy(self) -> None:
        self.copies.append(Copy(pickle.dumps(self.state), dict(self.judge.began)))

    def set_back(self, to: Copy) -> None:
        self.judge.older = True
        self.state.__dict__.update(pickle.loads(to.state).__dict__)
        for stream, began in to.began.items():
            self.judge.began[stream] = min(began, self.judge.began.get(stream, 0))

    def compact(self, random: Random) -> int:
        """Compact as Kafka does: keep the newest record of each key in a partition, drop old tombstones, spare the log's end."""
        taken = 0
        for records in self.log.topics.values():
            newest = {event.key: at for at, event in enumerate(records) if event is not None}
            for at, event in enumerate(records[: max(len(records) - random.randint(0, 6), 0)]):
                if event is None:
                    continue
                old = event.data is None and self.now - event.time > TOMBSTONES
                if newest[event.key] != at or old:
                    records[at] = None
                    taken += 1
        self.judge.damaged()
        return taken

    def hole(self, random: Random) -> str:
        """A partition loses its end, or everything; others' events and markers may have come there since."""
        if not self.log.topics:
            return "nothing"
        partition = random.choice(sorted(self.log.topics))
        records = self.log.topics[partition]
        had = len(records)
        del records[random.choice([0, random.randint(0, had), max(had - random.randint(1, 4), 0)]) :]
        if random.random() < 0.6:
            for n in range(random.choice([1, 3, had - len(records), had + 2])):
                key = key_of("other", "care-episode", n)
                other = Event("care-episode", "other", key, key_of("other", "person", n), n + 1, self.now, b"{}", "others")
                records.append(None if random.random() < 0.3 else other)
        self.judge.holes = True
        self.judge.damaged()
        return f"{partition[1]} had {had} records and has {len(records)}"


@dataclass
class Action:
    """One thing that happens, by its name in `Actions`."""

    what: str
    random: Random


class Actions:
    """The things that may happen to a world, one method each."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def edit(self, random: Random) -> None:
        for _ in range(random.choice([1, 2, 5, 20])):
            self._world.stir(random)

    async def renumbered(self, random: Random) -> None:
        if self._world.legacy.reading != "files":
            self._world.judge.renumbered = True
            self._world.tell(f"    {self._world.life.renumber(random)}")

    async def read(self, random: Random) -> None:
        await self._reading(random, Weather(stirs=random.choice([0, 0.02, 0.1])))

    async def trouble(self, random: Random) -> None:
        weather = Weather(0.04, 0.08, random.choice([0, 0.2]), random.choice([0, 0.05]))
        await self._reading(random, weather)

    async def kill(self, random: Random) -> None:
        dies_at = random.randint(1, random.choice([15, 60, 200]))
        await self._reading(random, Weather(stirs=random.choice([0, 0.05]), dies_at=dies_at))

    async def cut(self, random: Random) -> None:
        await self._reading(random, Weather(turns=0.2, stirs=0.03), cut_at=random.randint(1, 80))

    async def two(self, random: Random) -> None:
        world = self._world
        errors = random.choice([0, 0, 0.02])
        one, two = world.current(random), world.process(Random(random.random()))
        for process in (one, two):
            process.chaos.random = Random(random.random())
            process.chaos.expect(Weather(errors, errors, turns=0.3, stirs=random.choice([0, 0.03])))

        async def later() -> None:
            for _ in range(random.randint(0, 60)):
                await asyncio.sleep(0)
            await world.until_gone(two, lambda: world.read(two))

        await asyncio.gather(world.until_gone(one, lambda: world.read(one)), later())

    async def restart(self, _: Random) -> None:
        for process in self._world.processes:
            await self._world.end(process)

    async def copy(self, _: Random) -> None:
        self._world.copy()

    async def set_back(self, random: Random) -> None:
        world = self._world
        if world.copies:
            await self.restart(random)
            world.set_back(random.choice(world.copies))

    async def lose_state(self, random: Random) -> None:
        world = self._world
        await self.restart(random)
        world.judge.older = True
        world.state.__dict__.update(MemoryState().__dict__)

    async def hole(self, random: Random) -> None:
        await self.restart(random)
        self._world.tell(f"    {self._world.hole(random)}")

    async def compact(self, random: Random) -> None:
        self._world.tell(f"    {self._world.compact(random)} records are taken")

    async def edition(self, random: Random) -> None:
        await self.restart(random)
        self._world.legacy.edition += 1

    async def backfill(self, random: Random) -> None:
        world = self._world
        process = world.current(random)
        process.chaos.expect(Weather(errors=random.choice([0, 0.05])))

        async def deed() -> None:
            with suppress(UnavailableError, FencedError):
                await process.pump.ready()
                for stream in process.reader.streams():
                    await process.pump.backfill(stream)

        await world.until_gone(process, deed)

    async def let(self, _: Random) -> None:
        self._world.tell(f"    {self._world.let()} are let through")

    async def wait(self, random: Random) -> None:
        self._world.now += random.choice([timedelta(hours=1), timedelta(hours=13), timedelta(days=2), timedelta(days=40)])

    async def _reading(self, random: Random, weather: Weather, cut_at: int | None = None) -> None:
        world = self._world
        process = world.current(random)
        process.chaos.random = random
        process.chaos.expect(weather)
        await world.until_gone(process, lambda: world.read(process), cut_at)


LIKELY = {
    "edit": 8, "read": 8, "trouble": 5, "kill": 6, "cut": 3, "two": 2, "restart": 2, "copy": 4, "set_back": 2,
    "lose_state": 1, "hole": 1, "compact": 3, "edition": 1, "backfill": 1, "wait": 3, "let": 1,
    "renumbered": 2,
}  # fmt: skip
# Some worlds are spared some kinds of trouble, so that faults which these would hide are judged strictly there.
SPARED = {"hole": 0.6, "set_back": 0.4, "lose_state": 0.5, "two": 0.4, "edition": 0.4, "renumbered": 0.6}


def actions_of(random: Random, seed: int) -> list[Action]:
    likely = {what: often for what, often in LIKELY.items() if random.random() > SPARED.get(what, 0.1)}
    drawn = random.choices(list(likely), list(likely.values()), k=random.randint(4, 16))
    return [Action(what, Random(f"{seed}/{n}")) for n, what in enumerate(drawn)]


def world_of(random: Random, tell: Callable[[str], None]) -> World:
    reading = random.choice(["sweep", "sweep", "tail", "files"])
    legacy = Legacy(reading=reading, streams=random.choice([1, 1, 2]))
    # What a lasting record's newest file no longer says stays as it was said, so nobody can tell what it should be.
    lasting = reading == "files" and random.random() < 0.2
    life = Life(
        legacy, bad=random.choice([0, 0.05, 0.2]), twins=random.choice([0, 0, 1]), children=random.choice([1, 4, 9]),
        span=random.choice([3, 20, 60]), shared=random.random() < 0.5 and not lasting,
    )  # fmt: skip
    life.begin(random)
    guard = Guard(*random.choice([(10.0, 20), (10.0, 20), (0.2, 20), (0.1, 3)]))
    world = World(legacy, life, random.randint(1, 30), random.choice([2, 4, 8]), lasting, guard, tell)
    world.log.partitions = random.choice([1, 3])
    tell(f"{reading}, {legacy.streams} streams, pages of {world.page}, regions of {world.mean}, {len(legacy.rows)} rows")
    return world


async def settle(world: World) -> None:
    """All is quiet: late effects come now, and everything is read until it is at rest."""
    for process in world.processes:
        process.chaos.expect(QUIET)
        if process.chaos.late:
            await process.chaos.overdue()
    world.life.mend()
    process = world.current(Random(0))
    if not process.alive:
        process = world.process(Random(0))
    process.chaos.expect(QUIET)
    for turn in range(9):
        world.now += timedelta(hours=13)
        await world.until_gone(process, lambda p=process: world.read(p))
        if not process.alive:  # an older copy than the one that started last
            process = world.process(Random(0))
        if not world.let() and turn > 1:
            break
    else:
        raise Broken("whatever a person lets through, more is held")
    before = len(world.judge.log.told())
    world.now += timedelta(hours=13)
    await world.read(process)
    again = world.log.told()[before:]
    if again:
        raise Broken(f"at rest it publishes {len(again)} events, of {again[0].key}")
    known = [k for stream in world.state.streams.values() for k in stream.records.values()]
    world.judge.at_rest({k.name: k.version for k in known}, {k.key: k.name for k in known})
    problems = {key for stream in world.state.streams.values() for key in stream.problems}
    if problems != world.legacy.problems():
        missing, wrong = world.legacy.problems() - problems, problems - world.legacy.problems()
        raise Broken(f"the quarantine lacks {sorted(missing)[:3]} and holds {sorted(wrong)[:3]}")


async def played(seed: int, without: frozenset[int], tell: Callable[[str], None]) -> int:
    random = Random(seed)
    world = world_of(random, tell)
    actions = actions_of(random, seed)
    does = Actions(world)
    for n, action in enumerate(actions):
        if n not in without:
            tell(f"{n} {action.what} (tick {world.legacy.tick})")
            world.now += timedelta(seconds=action.random.choice([1, 60, 3000]))
            await getattr(does, action.what)(action.random)
    tell("at rest")
    await settle(world)
    return len(actions)


def play(seed: int, without: frozenset[int] = frozenset(), tell: Callable[[str], None] = lambda _: None) -> int:
    """Play one seed. :raises Broken: a promise is broken."""
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(played(seed, without, tell))


if __name__ == "__main__":
    sys.exit(main("tests.fuzz_pump", play))
