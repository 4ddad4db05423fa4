"""
Health, in three questions: does the process live, does what it stands on answer, and does the work get on?

The third one is what matters: unhealthy means later than expected, with the reason. The first two are for whoever restarts
processes. A process that is late because a legacy system is away is not mended by a restart, so never restart on `/progress`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from canonical.errors import ours
from flows.engine.clock import steady
from ironbridge.kafka.topics import answers
from ironbridge.operate import insight
from ironbridge.operate.absence import RollCall
from ironbridge.runtime import systems
from ironbridge.runtime.bridge import Platform
from ironbridge.store.signs import LIFE
from ironbridge.store.standing import FlowBrief, StreamStanding

LOOKS = 3
"""A stream is late when it was not looked at for so many times its `every` …"""
LEAST = 60.0
"""… and for at least so many seconds: a stream that is due each second may take longer now and then."""
_PATIENCE = 5.0  # seconds for a dependency to answer
_KEPT = 5.0  # seconds that an answer holds, however many ask


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    A verdict says how one thing stands. `state` is a word: `well`, `late`, `failing`, `paused`, `loading`, `absent`; `why`
    says more. `seconds` have passed since a stream was read, a flow's oldest subject became due, or an absent part gave its
    last sign of life; more than `expected` seconds are late.
    """

    what: str
    state: str
    why: str = ""
    seconds: float | None = None
    expected: float | None = None

    @property
    def well(self) -> bool:
        return self.state not in ("late", "failing", "absent")

    def as_json(self) -> dict[str, Any]:
        told = {"what": self.what, "state": self.state, "why": self.why, "seconds": self.seconds}
        return {name: value for name, value in (told | {"expected": self.expected}).items() if value not in (None, "")}


class Kept:
    """One answer for all who ask within a few seconds; one question at a time, given up after a while."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[list[Verdict]]],
        what: str,
        held_by: Callable[[], tuple[str, str]] = lambda: ("", ""),
        kept: float = _KEPT,
    ) -> None:
        self._ask = ask
        self._held_by = held_by
        self._what = what
        self._kept = kept
        self._turn = asyncio.Lock()
        self._answer: list[Verdict] = []
        self._until = 0.0

    async def answer(self) -> list[Verdict]:
        async with self._turn:
            if time.monotonic() >= self._until:
                self._answer = await self._asked()
                self._until = time.monotonic() + self._kept
            return self._answer

    async def _asked(self) -> list[Verdict]:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._ask()
        except TimeoutError:
            who, fix = self._held_by()
            held = f": {who}. To do: {fix}" if who else ""
            return [Verdict(self._what, "failing", f"no answer within {_PATIENCE:.0f} s{held}")]
        except Exception as error:
            return [Verdict(self._what, "failing", str(ours(self._what, error)))]


@dataclass(slots=True)
class _Moved:
    """This notes when a stream that has never been read to its end was last seen to get on, and how far it was."""

    at: float
    read: int


@dataclass
class Health:
    """
    The health of the parts that one process runs, and of all that should run somewhere on its state. `clock` gives seconds; only
    differences between its values count.
    """

    built: Platform
    clock: Callable[[], float] = steady
    since: float = field(init=False)
    _moved: dict[str, _Moved] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.since = self.clock()
        self._dependencies = (Kept(self._kafka, "kafka"), Kept(self._state, "state", self._held_by))
        self._progress = Kept(self.look, "state", self._held_by)
        self._roll = RollCall(self.built.store, systems.expected(self.built.settings), self.clock)

    async def ready(self) -> list[Verdict]:
        """Tell whether Kafka and the state answer."""
        answers = await asyncio.gather(*(each.answer() for each in self._dependencies))
        return [verdict for answer in answers for verdict in answer]

    async def progress(self) -> list[Verdict]:
        """Tell what `look` tells, as of a few seconds ago at most."""
        return await self._progress.answer()

    async def look(self) -> list[Verdict]:
        """Tell how every stream and flow of this process stands now, and which parts run nowhere though they should."""
        absent = await self.absent()
        return self.judged(await insight.streams(self.built.store), await insight.standing(self.built.store)) + absent

    @property
    def expected(self) -> Sequence[str]:
        """The parts that should run somewhere on this state, e.g. `adapter/liquidlogic`."""
        return self._roll.expected

    async def absent(self) -> list[Verdict]:
        """
        Tell which of the parts that should run somewhere run nowhere, each by itself.

        :raises UnavailableError: the state is away.
        """
        return [Verdict(each.part, "absent", each.why, each.seconds, LIFE) for each in await self._roll.absent()]

    def judged(self, streams: Sequence[StreamStanding], flows: Sequence[FlowBrief]) -> list[Verdict]:
        """Compares what `insight.streams` and `insight.standing` say with what is expected."""
        there, briefs = {each.name: each for each in streams}, {each.flow: each for each in flows}
        found = [
            self._stream(stream.every, there.get(f"{name}.{stream.name}", StreamStanding(name, stream.name)))
            for name, (_, each) in self.built.pumps.items()
            for stream in each
        ]
        found += [self._flow(briefs.get(name, FlowBrief(name))) for name in self.built.deliveries]
        if (tables := self.built.tables) is not None:
            found.append(Verdict(systems.TABLES, "failing" if tables.trouble else "well", tables.trouble))
        # A part that its own code does not build yet has no streams and no flow that could be asked.
        return found + [Verdict(p.partition("/")[2], "failing", self.built.troubles.get(p, "")) for p in self.built.unbuilt]

    def _held_by(self) -> tuple[str, str]:
        return self.built.store.held_by()

    async def _kafka(self) -> list[Verdict]:
        await answers(self.built.kafka)
        return [Verdict("kafka", "well")]

    async def _state(self) -> list[Verdict]:
        await self.built.store.answers()
        return [Verdict("state", "well")]

    def _stream(self, every: timedelta, stands: StreamStanding) -> Verdict:
        what, seconds, expected = stands.name, stands.seconds_since_read, allowed(every)
        if stands.paused:
            return Verdict(what, "paused", "a person has paused it", seconds, expected)
        if stands.error:
            return Verdict(what, "failing", stands.error, seconds, expected)
        if seconds is None:
            return self._loading(what, expected, stands.read)
        if seconds > expected:
            return Verdict(what, "late", f"not read to its end for {_spoken(seconds)}", seconds, expected)
        return Verdict(what, "well", seconds=seconds, expected=expected)

    def _loading(self, what: str, expected: float, read: int) -> Verdict:
        """A first reading may take as long as it takes: it is late when it stands still."""
        moved = self._moved.setdefault(what, _Moved(self.since, read))
        if read != moved.read:
            self._moved[what] = moved = _Moved(self.clock(), read)
        still = round(self.clock() - moved.at, 1)
        if still > expected:
            why = f"its first reading has stood still at {read:,} records for {_spoken(still)}"
            return Verdict(what, "late", why, still, expected)
        return Verdict(what, "loading", f"its first reading: {read:,} records so far", expected=expected)

    def _flow(self, stands: FlowBrief) -> Verdict:
        what, seconds, expected = stands.flow, stands.seconds_waiting, self.built.deliveries[stands.flow].within
        silent = insight.silence(what, stands.seconds_silent) if stands.seconds_silent else ""
        if stands.paused:
            return Verdict(what, "paused", "a person has paused it", seconds, expected)
        if stands.error:
            return Verdict(what, "failing", stands.error, seconds, expected)
        if seconds is not None and seconds > expected:
            why = f"the oldest of {stands.todo:,} subjects to do has waited for {_spoken(seconds)}"
            return Verdict(what, "late", f"{why}: {silent}" if silent else why, seconds, expected)
        if stands.rereading:
            return Verdict(what, "loading", insight.REREADING, seconds, expected)
        if stands.reopening:
            return Verdict(what, "loading", insight.REOPENING, seconds, expected)
        if stands.standby:
            return Verdict(what, "well", insight.STANDING_BY, seconds, expected)
        return Verdict(what, "well", silent, seconds, expected)


def allowed(every: timedelta) -> float:
    """Seconds after which a stream that is looked at every so often is late."""
    return max(LOOKS * every.total_seconds(), LEAST)


def _spoken(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


Turned = Callable[[], Awaitable[None]]


async def here() -> None:
    """This event loop has come round."""


def routes(health: Health, turned: Turned = here) -> list[Route]:
    """
    `/healthz`, `/readyz` and `/progress`: 200 where all is well, 503 where it is not, and JSON that says what and why.

    The process lives once `turned` has: it is for a process whose work has another event loop than these routes.
    """

    async def healthz(_: Request) -> JSONResponse:
        try:
            await turned()
        except TimeoutError:
            return JSONResponse({"state": "unwell", "why": "its work stands still: the event loop does not come round"}, 503)
        return JSONResponse({"state": "well", "seconds": round(health.clock() - health.since, 1)})

    async def readyz(_: Request) -> JSONResponse:
        return _said(await health.ready())

    async def progress(_: Request) -> JSONResponse:
        return _said(await health.progress())

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/progress", progress)]


def _said(verdicts: Sequence[Verdict]) -> JSONResponse:
    well = all(verdict.well for verdict in verdicts)
    told = {"state": "well" if well else "unwell", "found": [verdict.as_json() for verdict in verdicts]}
    return JSONResponse(told, 200 if well else 503)
