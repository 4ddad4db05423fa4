"""The torture itself: what is done to the running platform, and what the checker says of it whenever it comes to rest."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.torture import witness
from tests.torture.checker import Evidence, Promise, Span, Told, Violation, judge
from tests.torture.stage import Part, Stage, last_words
from tests.torture.witness import CENTRAL, DFE

ADAPTERS = Part("adapters", ("liquidlogic", "payables"))
CHILDREN = Part("dfe", (DFE,))
FINANCE = Part("central", (CENTRAL,))
EVERYTHING = Part("everything", ())
SPLIT = (ADAPTERS, CHILDREN, FINANCE)
PATIENCE = 120.0
"""Seconds to come to rest after all is mended, after which what is missing counts as lost."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done, at a time; `seconds` long where it was not over at once."""

    at: float
    kind: str
    what: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stood at a time: states committed in the legacy systems, events seen, effects at the targets, records behind."""

    at: float
    states: int
    events: int
    effects: int
    behind: int


@dataclass
class Torture:
    """
    One run that kills at least `wanted` times. `seed` decides everything that is chosen; how long each thing takes is the
    machine's.
    """

    stage: Stage
    seed: int
    wanted: int
    say: Callable[[str], None] = print
    marks: list[Mark] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    doubts: list[Span] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    scenes: Counter[str] = field(default_factory=Counter)
    rests: list[float] = field(default_factory=list)
    """How many seconds each coming to rest took."""
    measured: dict[str, float] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    """What is no violation, and not as it should be: a process that ended by itself, a stop that took long."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.began = time.time()
        self.forgotten: set[str] = set()
        self.judged_kills = 0
        self._stop = asyncio.Event()
        self.cast: tuple[Part, ...] = SPLIT
        self._aside: dict[str, str] = {}
        self._parked: dict[str, dict[str, str]] = {}

    @contextlib.asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """People work, somebody subscribes, and a sample is taken every half second."""
        stage = self.stage
        tasks = [
            asyncio.ensure_future(work)
            for work in (stage.subscriber.listen(self._stop), stage.legacy.work(self._stop), self._watch())
        ]
        try:
            yield
        finally:
            self._stop.set()
            for part in list(stage.parts):
                await stage.kill(part)
            await asyncio.gather(*tasks)

    async def _watch(self) -> None:
        while not self._stop.is_set():
            effects = sum([len(await target.effects()) for target in self.stage.targets.values()])
            legacy, told = self.stage.legacy, self.stage.subscriber
            self.samples.append(Sample(time.time(), legacy.states, len(told.told), effects, len(self.behind())))
            await asyncio.sleep(0.5)

    def behind(self) -> list[str]:
        """The keys whose last state is not yet their last event, as the subscriber sees it."""
        last = self.stage.subscriber.last
        return [
            key
            for key, states in self.stage.legacy.history.items()
            if key not in self._aside and states[-1] != (last[key].value if key in last else None)
        ]

    # -- processes ---------------------------------------------------------------------------------------------------

    def mark(self, kind: str, what: str, began: float | None = None) -> None:
        now = time.time()
        self.marks.append(Mark(began or now, kind, what, now - (began or now)))

    def doubt(self, part: Part, began: float | None = None) -> None:
        """An answer of a target that cannot be read may have been lost."""
        if not part.runs or DFE in part.runs:
            now = time.time()
            self.doubts.append(Span(DFE, began or now, now))

    async def take_the_stage(self, cast: tuple[Part, ...]) -> None:
        """Let these processes run, and no others."""
        for part in list(self.stage.parts):
            if part not in cast:
                await self.kill(part)
                self.stage.parts.remove(part)
        self.cast = cast
        for part in cast:
            if part.pid is None:
                self.stage.run(part)

    def all_up(self) -> None:
        """Start what has ended by itself, as an orchestrator would, and note that it did."""
        for part in self.cast:
            if part.pid is not None and (status := self.stage.ended(part)) is not None:
                part.pid = None
                self.odd(f"{part.name} ended by itself (status {status}):\n{last_words(self.stage, part)}")
                self.stage.run(part)

    async def kill(self, part: Part) -> None:
        status = await self.stage.kill(part)
        if status is None:
            return
        self.doubt(part)
        if status == -9:
            self.kills[part.name.rstrip("123456789-")] += 1
            self.mark("kill", part.name)
        else:
            self.odd(f"{part.name} had ended by itself (status {status}):\n{last_words(self.stage, part)}")

    def odd(self, what: str) -> None:
        self.oddities.append(what)
        if len(self.oddities) > 60:
            raise RuntimeError("the processes end again and again by themselves: see what was said above")
        self.say(f"  ODD: {what}")

    def all_kills(self) -> int:
        return sum(self.kills.values())

    # -- rest --------------------------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Mend everything, let people go home, wait until all is delivered; then hold everything against the promises."""
        stage = self.stage
        await stage.proxies.mend()
        for target in stage.targets.values():
            await target.forgive()
        for front in stage.fronts.values():
            front.mend()
        await self.take_the_stage(self.cast)
        await stage.legacy.rest()
        began, found = time.monotonic(), [Violation(Promise.SILENCE, "", "not looked at yet")]
        while found and time.monotonic() - began < PATIENCE:
            await asyncio.sleep(0.5)
            if self._fresh(began) and len(self.behind()) < 20:
                found = await self.judged(list(stage.subscriber.told))
                found = found or await self.judged(list(stage.subscriber.told), plans=True)
                if any(v.promise in (Promise.DUPLICATE, Promise.ORDER) for v in found):
                    break
            self.all_up()
        took = time.monotonic() - began
        self.rests.append(took)
        if found:
            found = await self.judged(list(stage.subscriber.told)) or found
            for part in self.cast:
                stage.signal(part, signal.SIGUSR1)  # it says where it stands, in its log
        self.mark("rest", f"{took:.1f} s to come to rest")
        self.say(
            f"{time.time() - self.began:5.0f} s at rest after {took:.1f} s: {self.all_kills()} kills, "
            f"{stage.legacy.states} states, {len(stage.subscriber.told)} events, {len(found)} violations"
        )
        self.judged_kills = self.all_kills()
        self.note(found)

    def note(self, found: list[Violation]) -> None:
        for violation in found:
            if violation not in self.violations:
                self.violations.append(violation)
                if len(self.violations) < 8:
                    self.say(f"  VIOLATION: {violation}")
                    self._show(violation)

    def _show(self, violation: Violation) -> None:
        """What is known of the record: invented names and numbers, so nobody's secret."""
        key = violation.about.split(" ")[-1]
        self.say(f"    committed {self.stage.legacy.history.get(key, ())[-6:]}")
        self.say(f"    told {[(e.version, e.value, e.offset) for e in self.stage.subscriber.told if e.key == key][-6:]}")
        for target in self.stage.targets.values():
            for e in target.seen[-4000:]:
                if e.subject == key or key in e.parts:
                    self.say(f"    {e.target} {e.sequence} {e.at:.2f} {e.request} {e.operation} {e.changed} {e.parts.get(key)}")

    def _fresh(self, began: float) -> bool:
        """Ask what lies aside at first, and then every few seconds."""
        return int(time.monotonic() - began) % 2 == 0

    async def judged(self, told: list[Told], *, plans: bool = False) -> list[Violation]:
        return judge(await self.evidence(told, plans=plans))

    async def evidence(self, told: list[Told], *, plans: bool = False) -> Evidence:
        stage, legacy = self.stage, self.stage.legacy
        await self._look_aside()
        effects = [e for target in stage.targets.values() for e in await target.effects()]
        held = {name: await target.holds() for name, target in stage.targets.items()}
        holds = {name: {s: parts for s, parts in each.items() if witness.watched(s)} for name, each in held.items()}
        ever = {*legacy.history, *legacy.now.states}
        unplanned = [(t, change["subject"]) for t in (DFE, CENTRAL) for change in await self._plan(t)] if plans else []
        return Evidence(
            legacy.history, told, effects, holds, witness.should(legacy.now, ever), self._aside, self._parked,
            legacy.now.unsaid, {DFE}, self.forgotten, {CENTRAL}, self.doubts, unplanned, stage.release,
            {name: target.releases for name, target in stage.targets.items()}, stage.switches,
            [(m.at, m.at + m.seconds) for m in self.marks if m.kind == "release"],
        )  # fmt: skip

    async def _look_aside(self) -> None:
        rows = await self.stage.command("parked", "list")
        if rows is None:
            return
        first = self.stage.legacy.first_key
        self._aside = {first(row["key"]): row["reason"] or "" for row in rows if row["state"] == "quarantined"}
        self._parked = {DFE: {}, CENTRAL: {}}
        for row in rows:
            if row["state"] != "quarantined":
                self._parked[row["part"]][row["key"]] = row["reason"] or ""

    async def _plan(self, flow: str) -> list[dict[str, str]]:
        changes = await self.stage.command("plan", flow)
        if changes is None:
            self.odd(f"`plan {flow}` failed")
            return []
        return [change for change in changes if change["action"] not in ("wait", "refuse")]
