"""
Agreement: facts → desired → write → ledger.

Ingest makes what arrives durable and marks subjects dirty. Delivery takes dirty subjects, works out what the target
should hold, compares that with what it was last confirmed to hold, and writes the difference. What is about to be sent
is saved before it is sent; an answer that was lost is read back before anything is written again. So a kill at any
instant loses nothing, and repeats nothing where the target can say what it holds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import Any, TypeVar

from pydantic_core import to_json

from canonical import Event
from canonical.errors import BadRecordError, RefusedError
from flows.clock import LondonDay, steady
from flows.ledger import (
    Arrivals,
    Inbox,
    Intent,
    Ledger,
    Mark,
    Settlement,
    State,
    Task,
    doubts,
    pack,
    pack_all,
    unpack,
    unpack_all,
)
from flows.meters import measure
from flows.port import (
    LONGEST_SILENCE,
    Absent,
    Confirmed,
    Document,
    Facts,
    Flow,
    Grouping,
    Held,
    Nothing,
    Outcome,
    ReadBack,
    Recalls,
    Target,
    Unavailable,
    Unknown,
    Untold,
    Write,
)
from flows.settle import Wanted, again, in_doubt, parked, put_back, sending, settlement, untried, waiting
from flows.tracing import Journeys, ingesting

log = logging.getLogger(__name__)

T = TypeVar("T")
_LONGEST_WAIT = 60.0  # seconds between attempts at a target that says nothing of when to come again
_LONGEST_ALONE = 900.0  # the same for one subject whose every attempt fails, while others succeed
_PATIENCE = 3  # attempts together with others; then in ever smaller portions, until the culprit stands alone
_GRACE = 20.0  # seconds for what is in hand when we are told to stop
_JOBS = 2  # one prepares and saves what it has in hand while the other's is on its way
_BACKLOG = 2000  # events behind which delivery waits for ingest: a subject's next change is probably among them
_LONGEST_BACKLOG = 30.0  # seconds that it waits for
# A mistake in a flow or a target is not the other subjects' fault. Its text may quote a fact, so only its kind is kept.
_GONE = Nothing("no such record is published")
_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

__all__ = ["Agreement", "Tally", "pack", "unpack"]


@dataclass(slots=True)
class Tally:
    """What a worker did since it started. `saved` counts changes that needed no write of their own."""

    ingested: int = 0
    rejected: int = 0
    confirmed: int = 0
    unchanged: int = 0
    refused: int = 0
    unavailable: int = 0
    unknown: int = 0
    waiting: int = 0
    saved: int = 0
    writes: int = 0


class Agreement:
    """
    One worker of one flow. Several share the work: each takes subjects that no other has in hand.

    `today` is the day in London by the ledger's clock, which all workers share. `clock` gives seconds for this worker's
    own waiting, of which only differences count.
    """

    def __init__(
        self,
        flow: Flow,
        target: Target,
        ledger: Ledger,
        *,
        today: Callable[[], date] | None = None,
        clock: Callable[[], float] = steady,
    ) -> None:
        self.flow = flow
        self.target = target
        self.tally = Tally()
        self._ledger = ledger
        self._today = today or LondonDay(ledger.now)
        self._clock = clock
        self._arrived = asyncio.Event()
        self._opened: str | None = None
        self._held_until = 0.0
        self._failures = 0
        self._behind_since: float | None = None
        self._slots = asyncio.Semaphore(target.limits.concurrency)

    # -- ingest --------------------------------------------------------------------------------------------------

    async def ingest(self, inbox: Inbox) -> int:
        """Poll once: facts and dirty subjects in one transaction, then the offsets. How many events there were."""
        arrived = await inbox.poll()
        if arrived.reached or arrived.there:
            with ingesting(self.flow.name, arrived.events) as traces:
                await self._ledger.ingest(arrived, self._marks(arrived, traces))
            self.tally.ingested += len(arrived.events)
            self.tally.rejected += len(arrived.rejects)
            if arrived.behind <= _BACKLOG:
                self._behind_since = None
            elif self._behind_since is None:
                self._behind_since = self._clock()
            self._arrived.set()
            await inbox.commit()
        return len(arrived.events)

    def _marks(self, arrived: Arrivals, traces: Iterable[str | None]) -> list[Mark]:
        marks: dict[str, Mark] = {}
        by_owner = self.flow.grouping is Grouping.OWNER
        for (event, partition), trace in zip(arrived.events, traces, strict=True):
            subject, at = event.owner if by_owner else event.key, event.time.timestamp()
            urgency, had = int(self.flow.urgency(event.entity)), marks.get(subject)
            if had is None:
                marks[subject] = Mark(subject, partition, urgency, 1, at, trace)
            else:
                both = f"{trace} {had.traces}" if trace and had.traces else trace or had.traces
                more = (min(urgency, had.urgency), had.changes + 1, min(at, had.observed), both)
                marks[subject] = Mark(subject, partition, *more)
        if isinstance(self.flow, Recalls):
            for event in arrived.again:
                subject = event.owner if by_owner else event.key
                recalled = pack_all(self._recalled(self.flow, event))
                marks[subject] = marks[subject]._replace(doubtful=doubts(marks[subject].doubtful, recalled))
        return list(marks.values())

    def _recalled(self, flow: Recalls, event: Event) -> Sequence[Document]:
        """How the target may know an entity, whatever a state that is lost knew of it."""
        try:
            return flow.recall(event.key, event.owner)
        except _MISTAKES as error:
            kind = type(error).__name__
            log.error("%s: the flow's own code failed (%s) to recall: mend the flow", self.flow.name, kind)  # noqa: TRY400
            return ()

    # -- delivery ------------------------------------------------------------------------------------------------

    async def deliver(self, stop: asyncio.Event) -> None:
        """Keep the target in agreement until told to stop; batches in hand are finished first, for a while."""
        await self._ledger.begin()
        jobs = [self._work(stop) for _ in range(_JOBS)]
        workers = [asyncio.ensure_future(job) for job in (*jobs, self._tend(stop))]
        all_done = asyncio.gather(*workers)
        grace = asyncio.ensure_future(_after(stop, _GRACE))
        ends: tuple[asyncio.Future[Any], ...] = (all_done, grace)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if all_done.done():
                all_done.result()
        finally:
            for each in (*workers, grace):
                each.cancel()
            await asyncio.gather(*workers, grace, all_done, return_exceptions=True)

    async def _tend(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._reopen()
            if await self._ledger.reclaim():
                self._arrived.set()
            await _sleep(stop, 5.0)

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._arrived.clear()  # before we look, so that what arrives while we look is not overheard
            wait = self._held_until - self._clock()
            if wait > 0:
                await _sleep(stop, min(wait, 1.0))
            elif self._catching_up or not await self.step():
                await self._pause(stop)

    @property
    def _catching_up(self) -> bool:
        """Whether a backlog is being read, for not too long yet: what it holds for a subject goes in one write."""
        return self._behind_since is not None and self._clock() - self._behind_since < _LONGEST_BACKLOG

    async def _pause(self, stop: asyncio.Event) -> None:
        due = await self._ledger.due()
        wait = 1.0 if due is None else min(max(due, 0.01), 1.0)
        waits = [asyncio.ensure_future(event.wait()) for event in (self._arrived, stop)]
        await asyncio.wait(waits, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def _reopen(self) -> None:
        edition = self.flow.edition(self._today())
        if edition != self._opened:
            await self._ledger.reopen(edition)
            self._opened = edition
            self._arrived.set()

    async def step(self) -> int:
        """Bring some dirty subjects into agreement, as many batches as the target takes at once; how many there were."""
        if self._opened is None:
            await self._reopen()
        limits = self.target.limits
        tasks = await self._ledger.take(limits.batch * limits.concurrency)
        if not tasks:
            return 0
        with Journeys(self.flow.name, tasks) as journeys:
            settled, wanted = await self.consider(tasks)
            await self._settle(settled, journeys)
            doubted = [w for w in wanted if w.task.doubtful is not None]
            if doubted:
                resolved, still = await self._read_back(doubted)
                await self._settle(resolved, journeys)
                wanted = [w for w in wanted if w.task.doubtful is None] + still
            if wanted:
                await self._write(wanted, journeys)
        return len(tasks)

    async def consider(self, tasks: Sequence[Task]) -> tuple[list[Settlement], list[Wanted]]:
        """Work out what each subject should be: those that are settled without a write, and those that need one."""
        facts = await self._ledger.facts([task.subject for task in tasks], self.flow.grouping)
        today, names = self._today(), {entity.type_name for entity in self.flow.entities}
        settled: list[Settlement] = []
        drafts: list[tuple[Task, Document | Nothing]] = []
        for task in tasks:
            known = [fact for fact in facts.get(task.subject, ()) if fact.entity in names]
            try:
                drafts.append((task, self.flow.desired(task.subject, Facts(known, today)) or _GONE))
            except (RefusedError, BadRecordError) as error:
                settled.append(parked(task, str(error)))
            except _MISTAKES as error:
                why = f"{self.flow.name}: the mapping failed ({type(error).__name__}): mend the flow"
                settled.append(parked(task, why))
        referred = {s for _, draft in drafts if isinstance(draft, Document) for s in draft.refers.values()}
        refs = await self._ledger.refs(sorted(referred))
        wanted: list[Wanted] = []
        for task, desired in drafts:
            draft = self._draft(task, desired, refs)
            if isinstance(draft, Settlement):
                settled.append(draft)
            else:
                wanted.append(draft)
        self._count(settled)
        return settled, wanted

    def _draft(self, task: Task, desired: Document | Nothing, refs: dict[str, str]) -> Settlement | Wanted:
        document, why = (None, desired.reason) if isinstance(desired, Nothing) else (desired, None)
        packed = digest = None
        mine: dict[str, str] = {}
        if document is not None:
            missing = [subject for subject in document.refers.values() if subject not in refs]
            if missing:
                return waiting(untried(task), missing[0])
            mine = {name: refs[subject] for name, subject in document.refers.items()}
            packed = pack(document)
            digest = blake2b(packed + to_json(mine), digest_size=16).digest()
            document = unpack(packed)
        if task.doubtful is None and digest == task.digest:
            return Settlement(task, State.AGREED, "unchanged", doubtful=None, reason=why)
        confirmed = unpack(task.document) if task.document else None
        write = Write(task.subject, document, confirmed, unpack_all(task.doubtful), task.ref, task.tag, mine)
        return Wanted(task, write, packed, digest, why=why)

    async def _read_back(self, wanted: Sequence[Wanted]) -> tuple[list[Settlement], list[Wanted]]:
        """What an earlier attempt left in doubt: settled where the target shows that it was done."""
        answers: Sequence[ReadBack]
        try:
            answers = _as_many(await self.target.read_back([w.write for w in wanted]), wanted)
        except _MISTAKES as error:
            answers = [Untold(self._mistake(error))] * len(wanted)
        settled: list[Settlement] = []
        still: list[Wanted] = []
        for each, answer in zip(wanted, answers, strict=True):
            write = each.write
            match answer:
                case Held(body, ref, tag) if write.document is not None and body == write.document.body:
                    settled.append(self._settled(each, Confirmed(ref, tag)))
                case Held(body, ref, tag):
                    still.append(again(each, body, ref, tag))
                case Absent() if write.document is None:
                    settled.append(self._settled(each, Confirmed(write.ref or "")))
                case Absent():
                    still.append(again(each, None, None, None))
                case Untold():
                    still.append(in_doubt(each))
        return settled, still

    async def _write(self, wanted: Sequence[Wanted], journeys: Journeys) -> None:
        """Write all, the often tried ones by themselves, until the target asks for patience: the rest is put back."""
        left: Sequence[Wanted] = sorted(wanted, key=lambda w: max(w.task.attempts, _PATIENCE))
        while left:
            portion, left = _portion(left)
            if not await self._send(portion, journeys):
                break
        await self._settle([put_back(w.task, self._patience) for w in left], journeys)

    async def _send(self, wanted: Sequence[Wanted], journeys: Journeys) -> bool:
        """Save what is about to be sent, send it in batches, save what became of it; whether the target answered for all."""
        wanted = [sending(w) for w in wanted]
        mine = await self._ledger.intend([Intent(w.task, w.doubtful) for w in wanted])
        wanted = [w for w in wanted if w.task.subject in mine]
        size = self.target.limits.batch
        batches = [self._batch(wanted[at : at + size], journeys) for at in range(0, len(wanted), size)]
        answers = await asyncio.gather(*batches, return_exceptions=True)
        # What the others were told is saved, whatever became of one.
        await self._settle([s for found in answers if isinstance(found, list) for s in found], journeys)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return self._held_until <= self._clock()

    async def _batch(self, wanted: Sequence[Wanted], journeys: Journeys) -> list[Settlement]:
        """Send as many as the target takes in one write, unless it has asked for patience meanwhile."""
        async with self._slots:
            if self._held_until > self._clock():
                return [put_back(w.task, self._patience) for w in wanted]
            with journeys.writing(self.target.name, [w.task.subject for w in wanted]):
                outcomes = await self._outcomes(wanted)
            self.tally.writes += 1
            self._hold(outcomes)
            after = self._after(wanted)
            return [self._settled(w, o, after) for w, o in zip(wanted, outcomes, strict=True)]

    async def _settle(self, settled: Sequence[Settlement], journeys: Journeys) -> None:
        """Save outcomes; then say so, to the spans and the meters."""
        await self._ledger.settle([journeys.named(each) for each in settled])
        measure(self.flow.name, settled, self._ledger.now(), journeys.context)
        journeys.end(settled)

    async def _outcomes(self, wanted: Sequence[Wanted]) -> Sequence[Outcome]:
        try:
            return _as_many(await self.target.write([w.write for w in wanted]), wanted)
        except _MISTAKES as error:
            return [Unknown(self._mistake(error))] * len(wanted)

    def _mistake(self, error: Exception) -> str:
        log.error("%s: the target's own code failed (%s)", self.target.name, type(error).__name__)
        return f"{self.target.name}: the target's own code failed ({type(error).__name__}): mend the target"

    def _hold(self, outcomes: Sequence[Outcome]) -> None:
        """A target that is not available is left alone as long as it says, else longer each time."""
        away = [outcome for outcome in outcomes if isinstance(outcome, Unavailable | Unknown)]
        if not away:
            self._failures = 0
            return
        said = [o.after for o in away if isinstance(o, Unavailable) and o.after is not None]
        asked = [min(after, LONGEST_SILENCE).total_seconds() for after in said]
        backoff = min(0.25 * 2**self._failures, _LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
        if self._held_until <= self._clock():  # else another batch has just met the same trouble
            self._failures = min(self._failures + 1, 16)
        self._held_until = max(self._held_until, self._clock() + max([backoff, *asked]))

    @property
    def _patience(self) -> float:
        """For how many seconds the target is left alone."""
        return max(self._held_until - self._clock(), 0.0)

    def _after(self, wanted: Sequence[Wanted]) -> float:
        """After how many seconds to try again: with everybody else, or ever later where one subject always fails."""
        attempts = wanted[0].task.attempts
        if len(wanted) > 1 or attempts <= _PATIENCE or self._failures > _PATIENCE:
            return self._patience
        return max(self._patience, min(0.25 * 2.0 ** min(attempts, 16), _LONGEST_ALONE))

    def _settled(self, wanted: Wanted, outcome: Outcome, after: float | None = None) -> Settlement:
        word = type(outcome).__name__.lower()
        setattr(self.tally, word, getattr(self.tally, word) + 1)
        if isinstance(outcome, Confirmed):
            self.tally.saved += max(wanted.task.changes - 1, 0)
        return settlement(wanted, outcome, after)

    def _count(self, settled: Iterable[Settlement]) -> None:
        counts: dict[str, int] = defaultdict(int)
        for each in settled:
            counts[each.outcome] += 1
            self.tally.saved += each.task.changes if each.outcome == "unchanged" else 0
        self.tally.unchanged += counts["unchanged"]
        self.tally.refused += counts["refused"]
        self.tally.waiting += counts["waiting"]


def _portion(left: Sequence[Wanted]) -> tuple[Sequence[Wanted], Sequence[Wanted]]:
    """What to send together, and the rest: all that was tried seldom, else the fewer the oftener it was tried."""
    seldom = sum(w.task.attempts <= _PATIENCE for w in left)
    size = seldom or max(len(left) >> (left[0].task.attempts - _PATIENCE), 1)
    return left[:size], left[size:]


def _as_many(answers: Sequence[T], wanted: Sequence[object]) -> Sequence[T]:
    if len(answers) != len(wanted):
        raise ValueError("not one answer for each subject")
    return answers


async def _after(stop: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(seconds)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
