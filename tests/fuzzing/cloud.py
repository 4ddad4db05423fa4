"""A cloud system that is slow, loses answers, and does and shows things late; it judges the writes that it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from random import Random

from canonical.finding import Finding
from flows.engine.claims import seconds_left
from flows.port import (
    Absent,
    Body,
    Confirmed,
    Document,
    Held,
    Limits,
    NotDone,
    Outcome,
    ReadBack,
    Refused,
    Unavailable,
    Unknown,
    Untold,
    Write,
)

HATED = "Hated"
TRAVELS = 4.0  # seconds that a request is on its way, at most: see `flows.engine.claims`


class Kind(Enum):
    """The way in which a cloud system treats a document that it gets."""

    KEYED = "it takes a document's number for its identity: a second create of it is a change of the first"
    POSTING = "each create is one more document, and the caller sees to it that there is one"


@dataclass
class Thing:
    """
    A document that lives there. `history` is its content over time, `gone` the moment at which it was removed, `refs` the ids
    of other documents that it was last sent with; such an id changes if that document is removed and made anew.
    """

    ref: str
    document: Document
    history: list[tuple[float, Body]]
    gone: float | None = None
    refs: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Mood:
    """How it answers: the probability of each kind of answer, and the time it takes (seconds)."""

    away: float = 0.0
    throttled: float = 0.0
    lost: float = 0.0
    fails: float = 0.0  # its client's own code raises
    slow: float = 0.3


@dataclass
class Cloud:
    """
    The target of one flow. For `lag` seconds it does not show its present content, and an effect may come so late.

    `excused` is set if something has happened that allows one more write to a target that cannot be read back.
    """

    name: str
    random: Random
    now: Callable[[], float]
    tell: Callable[[str], None]
    kind: Kind = Kind.KEYED
    readable: bool = True
    lag: float = 0.0
    limits: Limits = field(default_factory=Limits)
    mood: Mood = field(default_factory=Mood)
    excused: bool = False
    things: dict[str, list[Thing]] = field(default_factory=dict)  # by subject, in the order in which they were made
    newest: dict[str, int] = field(default_factory=dict)  # the newest version of each subject that was written
    broken: list[str] = field(default_factory=list)
    writes: int = 0
    made: int = 0

    def living(self, subject: str) -> list[Thing]:
        return [thing for thing in self.things.get(subject, ()) if thing.gone is None]

    # -- what a worker asks ------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        """One request a subject, all at once, like a target's own concurrency."""
        if self.random.random() < self.mood.throttled:
            self.excused = True  # nobody can tell that it was not done
            return [Unavailable("429", timedelta(seconds=self.random.choice([1, 7, 40])))] * len(batch)
        if self.random.random() < self.mood.fails / 2:
            self.excused = True  # nobody can tell that it was not sent
            raise ValueError("a mistake")
        await asyncio.sleep(self.random.uniform(0, self.mood.slow))  # waits for its budget
        if seconds_left() <= 0:
            return [NotDone("not sent: the claim on it ran out")] * len(batch)
        try:
            await asyncio.sleep(self.random.uniform(0, min(self.mood.slow, TRAVELS)))
        except asyncio.CancelledError:
            if self.random.random() < 0.5:  # the request was on its way
                for write in batch:
                    self._late(write, TRAVELS)
            raise
        outcomes = [self._one(write) for write in batch]
        await asyncio.sleep(self.random.uniform(0, self.mood.slow))
        if self.random.random() < self.mood.fails / 2:
            self.excused = True  # nobody heard its result
            raise ValueError("a mistake")
        return outcomes

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        await asyncio.sleep(self.random.uniform(0, self.mood.slow))
        return [self._shown(write) for write in batch]

    async def check(self) -> Sequence[Finding]:
        return []

    def _one(self, write: Write) -> Outcome:
        chance = self.random.random()
        if chance < self.mood.away:
            self.excused = True
            if self.random.random() < 0.5:
                self.tell(f"    503 is answered for {write.subject[-12:]}, but it is done")
                self._do(write)
            return Unavailable("503")
        if chance < self.mood.away + self.mood.lost:
            fate = self.random.choice(["done", "never", "late"])
            self.tell(f"    the answer for {write.subject[-12:]} is lost, it is done: {fate}")
            if fate == "done":
                self._do(write)
            elif fate == "late":
                self._late(write)
            self.excused = True
            return Unknown("the answer was lost")
        if write.document is not None and write.document.body.get("name") == HATED:
            return Refused("name: is hated here")
        ref = self._do(write)
        return Confirmed(ref, f"tag{self.writes}")

    def _late(self, write: Write, travels: float = 0.0) -> None:
        """The write arrives within the lag, or `travels` seconds if there is none, though nobody waits for it any more."""
        self.excused = True
        if (longest := self.lag or travels) == 0:
            self._do(write)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(self.random.uniform(0, longest), self._do, write, True)

    # -- what happens there --------------------------------------------------------------------------------------------

    def _do(self, write: Write, late: bool = False) -> str:
        self.writes += 1
        living = self.living(write.subject)
        what = "nothing" if write.document is None else f"{write.document.body}"
        self.tell(f"    {self.name}: {write.subject[-12:]} is {what}{', late' if late else ''}")
        self._judge(write, living)
        now = self.now()
        if write.document is None:
            for thing in living:
                if self.kind is Kind.KEYED or write.ref in (None, "", thing.ref):
                    thing.gone = now
            return write.ref or ""
        there = next((t for t in living if self.kind is Kind.KEYED or t.ref == write.ref), None)
        if there is None:
            self.made += 1
            there = Thing(f"{self.name}-{self.made}", write.document, [])
            self.things.setdefault(write.subject, []).append(there)
        there.document, there.refs = write.document, write.refs
        there.history.append((now, write.document.body))
        return there.ref

    def _judge(self, write: Write, living: list[Thing]) -> None:
        subject = write.subject
        pardoned = self.excused and not self.readable
        if write.document is None:
            if not living and not pardoned:
                self._broken(f"{self.name}: {subject} is removed, and is not there")
            return
        if self.kind is Kind.POSTING and living and write.ref not in [thing.ref for thing in living] and not pardoned:
            self._broken(f"{self.name}: {subject} is made a second time: {write.document.body}")
        same = [thing for thing in living if (thing.document.body, thing.refs) == (write.document.body, write.refs)]
        if same and not pardoned:
            self._broken(f"{self.name}: {subject} is written again as it is: {write.document.body}")
        version = int(write.document.body["version"])
        if version < self.newest.get(subject, 0) and not pardoned:
            self._broken(f"{self.name}: {subject} is written as of {version} after {self.newest[subject]}")
        self.newest[subject] = max(version, self.newest.get(subject, 0))

    def _broken(self, what: str) -> None:
        self.tell(f"    BROKEN {what}")
        self.broken.append(what)

    def _shown(self, write: Write) -> ReadBack:
        if not self.readable:
            return Untold("it shows nothing")
        at = self.now() - (self.random.uniform(0, self.lag) if self.lag else 0.0)
        for thing in self.things.get(write.subject, ()):
            if thing.history[0][0] <= at and (thing.gone is None or thing.gone > at):
                body = [body for when, body in thing.history if when <= at][-1]
                return Held(body, thing.ref, "tag")
        return Absent()


class Wired:
    """The cloud as one worker reaches it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.name = cloud.name
        self.limits = cloud.limits

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return await self._cloud.write(batch)

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return await self._cloud.read_back(batch)

    async def check(self) -> Sequence[Finding]:
        return await self._cloud.check()
