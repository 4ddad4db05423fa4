# ruff: noqa: S101 - they are for tests
"""
Stand-ins that are shipped: `ScriptedTarget`, `ArrayInbox` and `MemoryTrail` keep everything in memory and do as they are told.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from canonical import Event
from canonical.errors import UnavailableError
from canonical.finding import Finding
from flows.engine.claims import seconds_left
from flows.engine.clock import steady
from flows.engine.ledger import Arrivals, Reject
from flows.engine.trail import Reach, Sent
from flows.kit.resources import Resources
from flows.port import (
    Absent,
    Confirmed,
    Document,
    Flow,
    Held,
    Holding,
    Limits,
    NotDone,
    Outcome,
    ReadBack,
    Target,
    Untold,
    Waiting,
    Write,
)
from flows.systems import TargetSystem

EVERY = "*"
"""In a script: whatever subject comes next."""


class Work(Enum):
    """This choice says whether a scripted target does the write before it gives its answer."""

    DONE = "done"
    NOT_DONE = "not done"


def alone(
    system: TargetSystem, name: str, resources: Resources, given: Mapping[str, Any]
) -> tuple[Flow, Target]:
    """The flow that ships with a target, and the target, as a section `[targets.NAME]` alone sets them up."""
    assert system.flow is not None
    there, says = system.divided(given)
    settings = system.settings.model_validate(there)
    flow = system.flow.build(name, system.flow.settings.model_validate(says), settings)
    return flow, system.build(name, settings, resources)


def _names(write: Write) -> bool:
    """Tell whether it names anything by which a target could find what it holds."""
    return bool(write.ref or write.document or write.confirmed or write.doubtful)


@dataclass(slots=True)
class ScriptedTarget:
    """
    A target in memory. Its documents carry an id and a tag. A document that refers to an unknown one is answered `Waiting`.
    Like every target it finds a document only by what a write names, an id or a document: of a bare subject it shows nothing.

    `effects` are all changes that it made, in order. With `readable` False it cannot tell what it holds. A write leaves only
    after `slow` seconds; like the HTTP client, the target then sends nothing any more if the worker's claim has run out. For
    `shows_after` seconds by `clock` it goes on showing its former content. An exception in the script is raised: it stands
    for a crash.
    """

    name: str = "scripted"
    limits: Limits = field(default_factory=lambda: Limits(batch=100, concurrency=1))
    readable: bool = True
    slow: float = 0.0
    shows_after: float = 0.0
    clock: Callable[[], float] = steady
    documents: dict[str, Document] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    effects: list[tuple[str, Document | None]] = field(default_factory=list)
    batches: list[list[Write]] = field(default_factory=list)
    looks: list[list[Write]] = field(default_factory=list)
    _script: dict[str, deque[tuple[Outcome | Exception, Work]]] = field(default_factory=lambda: defaultdict(deque))
    _made: int = 0
    _past: list[tuple[float, str, ReadBack]] = field(default_factory=list)

    def answer(self, subject: str, *answers: Outcome | Exception, work: Work = Work.NOT_DONE) -> None:
        """Script the answers to the next writes of a subject (or `EVERY`), and say whether the work is done first."""
        self._script[subject].extend((answer, work) for answer in answers)

    def forgive(self) -> None:
        """Forget the rest of the script."""
        self._script.clear()

    def lose(self, subject: str) -> None:
        """Somebody deletes it there, behind our back."""
        self.documents.pop(subject, None)
        self.ids.pop(subject, None)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        self.batches.append(list(batch))
        if self.slow:
            await asyncio.sleep(self.slow)
        if seconds_left() <= 0:
            return [NotDone("not sent: this worker's claim on it ran out")] * len(batch)
        return [self._one(write) for write in batch]

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        self.looks.append(list(batch))
        return [self._shown(write.subject if _names(write) else "") for write in batch]

    async def check(self) -> Sequence[Finding]:
        return [Finding("it is in memory", True)]

    async def holdings(self) -> AsyncIterator[Sequence[Holding]]:
        for subject, document in list(self.documents.items()):
            await asyncio.sleep(0)
            refers = {name: self.ids[other] for name, other in document.refers.items() if other in self.ids}
            yield [Holding(document.kind, document.number, self.ids[subject], refers, document.body)]

    def told(self, holding: Holding, write: Write) -> Held:
        return Held(holding.shown, holding.ref)

    def _one(self, write: Write) -> Outcome:
        queue = self._script.get(write.subject) or self._script.get(EVERY)
        answer, work = queue.popleft() if queue else (None, Work.DONE)
        refers = write.document.refers if write.document else {}
        missing = [subject for name, subject in refers.items() if self.ids.get(subject) != write.refs.get(name)]
        if missing and answer is None:
            return Waiting(missing[0])
        if work is Work.DONE:
            self._do(write)
        if isinstance(answer, Exception):
            raise answer
        return answer or Confirmed(self.ids.get(write.subject, write.ref or ""), f"tag{len(self.effects)}")

    def _do(self, write: Write) -> None:
        self.effects.append((write.subject, write.document))
        if self.shows_after:
            self._past.append((self.clock(), write.subject, self._held(write.subject)))
        if write.document is None:
            if _names(write):
                self.lose(write.subject)
            return
        self.documents[write.subject] = write.document
        if write.subject not in self.ids:
            self._made += 1
            self.ids[write.subject] = f"id{self._made}"

    def _shown(self, subject: str) -> ReadBack:
        if not self.readable:
            return Untold("it only takes documents, it shows none")
        shown_up_to = self.clock() - self.shows_after
        still = (before for at, changed, before in self._past if changed == subject and at > shown_up_to)
        return next(still, self._held(subject))

    def _held(self, subject: str) -> ReadBack:
        document = self.documents.get(subject)
        return Absent() if document is None else Held(document.body, self.ids[subject])


@dataclass(slots=True)
class ArrayInbox:
    """
    An inbox over a list of events, all of one partition: `deliver_again` is what a new owner of it would read. The first
    `once` of them were read before by a state that was lost.
    """

    events: list[Event | Reject] = field(default_factory=list)
    committed: int = 0
    most: int = 2000
    once: int = 0
    _at: int = 0

    def add(self, *events: Event | Reject) -> None:
        self.events.extend(events)

    def deliver_again(self, since: int | None = None) -> None:
        self._at = self.committed if since is None else since

    async def poll(self) -> Arrivals:
        found = self.events[self._at : self._at + self.most]
        self._at += len(found)
        events = [(event, 0) for event in found if isinstance(event, Event)]
        known = self.events[self._at - len(found) : max(self.once, self._at - len(found))]
        again = [event for event in known[: len(found)] if isinstance(event, Event)]
        rejects = [event for event in found if isinstance(event, Reject)]
        reached = {("array", 0): (self._at, str(self._at))} if found else {}
        until = {("array", 0): self.once} if again and self._at < self.once else {}
        there = {("array", 0): self.once} if again and self._at >= self.once else {}
        return Arrivals(events, rejects, reached, len(self.events) - self._at, again, until, there)

    async def commit(self) -> None:
        self.committed = self._at


@dataclass(slots=True)
class MemoryTrail:
    """
    A flow's trail (`Trail`) in memory. Give one trail to several states: a state and its copies share Kafka's, too.

    While `away` is true it takes and tells nothing. `cut` forgets the records before an offset, as Kafka does after its
    retention.
    """

    records: list[Sent] = field(default_factory=list)
    first: int = 0
    away: bool = False
    topics: dict[tuple[str, int], int] = field(default_factory=dict)

    async def append(self, sent: Sent) -> int:
        self._answer()
        self.records.append(sent)
        return len(self.records) - 1

    async def reach(self) -> Reach:
        self._answer()
        return Reach(self.first, len(self.records))

    async def read(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        for at in range(since, end, 100):
            self._answer()
            yield self.records[at : min(at + 100, end)]

    def follow(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        return self.read(since, end)

    async def ends(self) -> dict[tuple[str, int], int]:
        self._answer()
        return self.topics

    def cut(self, first: int) -> None:
        self.first = first

    def _answer(self) -> None:
        if self.away:
            raise UnavailableError("trail", "it does not answer")
