"""
Agreement: facts → desired → write → ledger.

Ingest makes what arrives durable and marks subjects dirty. Delivery takes dirty subjects, works out what the target should
hold, compares that with what it was last confirmed to hold, and writes the difference. What is about to be sent is saved before
it is sent; an answer that was lost is read back before anything is written again. So a kill at any instant loses nothing, and
repeats nothing where the target can say what it holds.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from zoneinfo import ZoneInfo

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from pydantic_core import from_json, to_json

from canonical import Event
from canonical.errors import BadRecordError, RefusedError
from flows.ledger import Inbox, Intent, Ledger, Mark, Settlement, State, Task
from flows.port import (
    Absent,
    Confirmed,
    Document,
    Facts,
    Flow,
    Grouping,
    Held,
    Outcome,
    Refused,
    Target,
    Unavailable,
    Unknown,
    Untold,
    Waiting,
    Write,
)
from flows.tracing import context_of, trace_id

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

LONDON = ZoneInfo("Europe/London")
_LONGEST_WAIT = 60.0  # seconds between attempts at a target that says nothing of when to come again


def today_in_london() -> date:
    return datetime.now(LONDON).date()


def pack(document: Document) -> bytes:
    """A document as the ledger keeps it; the same content always gives the same bytes."""
    return to_json([document.kind, document.number, document.body, dict(document.refers)])


def unpack(packed: bytes) -> Document:
    kind, number, body, refers = from_json(packed)
    return Document(kind, number, body, refers)


def _unpack_all(packed: bytes | None) -> tuple[Document, ...]:
    return () if packed is None else tuple(Document(*parts) for parts in from_json(packed))


def _doubt(task: Task, sent: bytes | None) -> bytes:
    """All that may be at the target besides what was confirmed there, as the ledger keeps it; `[]`: nothing may be."""
    before = [] if task.doubtful is None else from_json(task.doubtful)
    now = [] if sent is None else [from_json(sent)]
    return to_json([*(each for each in before if each not in now), *now])


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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A subject in hand whose target is not in agreement, as far as is known."""

    task: Task
    write: Write
    packed: bytes | None
    digest: bytes | None


class Agreement:
    """One worker of one flow. Several share the work: each takes subjects that no other has in hand."""

    def __init__(
        self, flow: Flow, target: Target, ledger: Ledger, *, today: Callable[[], date] = today_in_london
    ) -> None:
        self.flow = flow
        self.target = target
        self.tally = Tally()
        self._ledger = ledger
        self._today = today
        self._arrived = asyncio.Event()
        self._opened: str | None = None
        self._held_until = 0.0
        self._failures = 0

    # -- ingest --------------------------------------------------------------------------------------------------

    async def ingest(self, inbox: Inbox) -> int:
        """Poll once: facts and dirty subjects in one transaction, then the offsets. How many events there were."""
        arrived, rejects = await inbox.poll()
        if arrived or rejects:
            with tracer.start_as_current_span(f"ingest {self.flow.name}", kind=SpanKind.CONSUMER) as span:
                span.set_attribute("messaging.batch.message_count", len(arrived))
                events = [event for event, _ in arrived]
                for event in events:
                    if context := context_of(event.traceparent):
                        tracer.start_span(
                            f"ingest {event.entity}", context, links=[Link(span.get_span_context())]
                        ).end()
                await self._ledger.ingest(events, self._marks(arrived), rejects)
            self.tally.ingested += len(events)
            self.tally.rejected += len(rejects)
            self._arrived.set()
        await inbox.commit()
        return len(arrived)

    def _marks(self, arrived: Iterable[tuple[Event, int]]) -> list[Mark]:
        marks: dict[str, Mark] = {}
        by_owner = self.flow.grouping is Grouping.OWNER
        for event, partition in arrived:
            subject = event.owner if by_owner else event.key
            urgency, had = int(self.flow.urgency(event.entity)), marks.get(subject)
            if had is None:
                marks[subject] = Mark(subject, partition, urgency, 1, event.traceparent)
            else:
                newest = event.traceparent or had.traceparent
                marks[subject] = Mark(subject, partition, min(urgency, had.urgency), had.changes + 1, newest)
        return list(marks.values())

    # -- delivery ------------------------------------------------------------------------------------------------

    async def deliver(self, stop: asyncio.Event) -> None:
        """Keep the target in agreement until told to stop; batches in hand are finished first."""
        await self._ledger.reclaim()
        workers = [asyncio.create_task(self._work(stop)) for _ in range(self.target.limits.concurrency)]
        workers.append(asyncio.create_task(self._tend(stop)))
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _tend(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._reopen()
            if await self._ledger.reclaim():
                self._arrived.set()
            await _sleep(stop, 5.0)

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wait = self._held_until - time.time()
            if wait > 0:
                await _sleep(stop, min(wait, 1.0))
            elif not await self.step():
                await self._pause(stop)

    async def _pause(self, stop: asyncio.Event) -> None:
        due = await self._ledger.due()
        wait = 1.0 if due is None else min(max(due - time.time(), 0.01), 1.0)
        self._arrived.clear()
        waits = [asyncio.create_task(self._arrived.wait()), asyncio.create_task(stop.wait())]
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
        """Bring one batch of dirty subjects into agreement; how many there were."""
        if self._opened is None:
            await self._reopen()
        tasks = await self._ledger.take(self.target.limits.batch)
        if not tasks:
            return 0
        settled, wanted = await self.consider(tasks)
        await self._ledger.settle(settled)
        doubted = [w for w in wanted if w.task.doubtful is not None]
        if doubted:
            resolved, still = await self._read_back(doubted)
            await self._ledger.settle(resolved)
            wanted = [w for w in wanted if w.task.doubtful is None] + still
        if wanted:
            await self._write(wanted)
        return len(tasks)

    async def consider(self, tasks: Sequence[Task]) -> tuple[list[Settlement], list[_Wanted]]:
        """Work out what each subject should be: those that are settled without a write, and those that need one."""
        facts = await self._ledger.facts([task.subject for task in tasks], self.flow.grouping)
        today = self._today()
        settled: list[Settlement] = []
        drafts: list[tuple[Task, Document | None]] = []
        for task in tasks:
            try:
                drafts.append((task, self.flow.desired(task.subject, Facts(facts.get(task.subject, []), today))))
            except (RefusedError, BadRecordError) as error:
                settled.append(_parked(task, str(error)))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # A flow's own mistake: its text may quote a fact, so only its kind is kept.
                settled.append(
                    _parked(task, f"{self.flow.name}: the mapping failed ({type(error).__name__}): mend the flow")
                )
        refs = await self._ledger.refs(sorted({s for _, d in drafts if d for s in d.refers.values()}))
        wanted: list[_Wanted] = []
        for task, document in drafts:
            draft = self._draft(task, document, refs)
            if isinstance(draft, Settlement):
                settled.append(draft)
            else:
                wanted.append(draft)
        self._count(settled)
        return settled, wanted

    def _draft(self, task: Task, document: Document | None, refs: dict[str, str]) -> Settlement | _Wanted:
        packed = digest = None
        mine: dict[str, str] = {}
        if document is not None:
            missing = [subject for subject in document.refers.values() if subject not in refs]
            if missing:
                return Settlement(
                    task, State.WAITING, "waiting", reason=f"waits for {missing[0]}", waiting_on=missing[0], doubtful=task.doubtful
                )  # fmt: skip
            mine = {name: refs[subject] for name, subject in document.refers.items()}
            packed = pack(document)
            digest = blake2b(packed + to_json(mine), digest_size=16).digest()
            document = unpack(packed)
        if task.doubtful is None and digest == task.digest:
            return Settlement(task, State.AGREED, "unchanged", doubtful=None)
        confirmed = unpack(task.document) if task.document else None
        write = Write(task.subject, document, confirmed, _unpack_all(task.doubtful), task.ref, task.tag, mine)
        return _Wanted(task, write, packed, digest)

    async def _read_back(self, wanted: Sequence[_Wanted]) -> tuple[list[Settlement], list[_Wanted]]:
        """What an earlier attempt left in doubt: settled where the target shows that it was done."""
        answers = await self.target.read_back([w.write for w in wanted])
        settled: list[Settlement] = []
        still: list[_Wanted] = []
        for each, answer in zip(wanted, answers, strict=True):
            write = each.write
            match answer:
                case Held(body, ref, tag) if write.document is not None and body == write.document.body:
                    settled.append(self._outcome(each, Confirmed(ref, tag)))
                case Held(body, ref, tag):
                    there = Document(write.document.kind, write.document.number, body) if write.document else None
                    still.append(_again(each, there, ref, tag))
                case Absent() if write.document is None:
                    settled.append(self._outcome(each, Confirmed(write.ref or "")))
                case Absent():
                    still.append(_again(each, None, None, None))
                case Untold():
                    still.append(each)
        return settled, still

    async def _write(self, wanted: Sequence[_Wanted]) -> None:
        intents = [Intent(w.task.subject, _doubt(w.task, w.packed)) for w in wanted]
        mine = await self._ledger.intend(intents)
        wanted = [w for w in wanted if w.task.subject in mine]
        if not wanted:
            return
        spans = [self._span(w) for w in wanted]
        links = [Link(span.get_span_context()) for span in spans if span is not None]
        try:
            with tracer.start_as_current_span(f"write {self.target.name}", links=links) as span:
                span.set_attribute("ironbridge.subjects", len(wanted))
                for each in spans:
                    if each is not None:
                        each.add_link(span.get_span_context())
                outcomes = await self.target.write([w.write for w in wanted])
        finally:
            for each in spans:
                if each is not None:
                    each.end()
        self.tally.writes += 1
        self._hold(outcomes)
        settled = [
            self._outcome(w, outcome, trace_id(span)) for w, outcome, span in zip(wanted, outcomes, spans, strict=True)
        ]
        await self._ledger.settle(settled)

    def _span(self, wanted: _Wanted) -> trace.Span | None:
        context = context_of(wanted.task.traceparent)
        return tracer.start_span(f"agree {self.flow.name}", context, kind=SpanKind.CLIENT) if context else None

    def _hold(self, outcomes: Sequence[Outcome]) -> None:
        """A target that is not available is left alone as long as it says, else longer each time."""
        away = [outcome for outcome in outcomes if isinstance(outcome, Unavailable | Unknown)]
        if not away:
            self._failures = 0
            return
        asked = [o.after.total_seconds() for o in away if isinstance(o, Unavailable) and o.after is not None]
        backoff = min(0.25 * 2**self._failures, _LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
        self._failures = min(self._failures + 1, 16)
        self._held_until = max(self._held_until, time.time() + max([backoff, *asked]))

    def _outcome(self, wanted: _Wanted, outcome: Outcome, trace: str | None = None) -> Settlement:
        task = wanted.task
        match outcome:
            case Confirmed(ref, tag):
                self.tally.confirmed += 1
                self.tally.saved += max(task.changes - 1, 0)
                gone = wanted.write.document is None
                return Settlement(
                    task, State.AGREED, "removed" if gone else "confirmed", confirmed=True, document=wanted.packed,
                    digest=wanted.digest, ref=None if gone else ref, tag=None if gone else tag, trace=trace,
                )  # fmt: skip
            case Refused(reason):
                self.tally.refused += 1
                return _parked(task, reason, trace)
            case Unavailable(reason):
                self.tally.unavailable += 1
                return Settlement(
                    task, State.DIRTY, "unavailable", reason=reason, doubtful=task.doubtful, due=self._held_until, trace=trace
                )  # fmt: skip
            case Unknown(reason):
                self.tally.unknown += 1
                return Settlement(
                    task,
                    State.DIRTY,
                    "unknown",
                    reason=reason,
                    doubtful=_doubt(task, wanted.packed),
                    due=self._held_until,
                    trace=trace,
                )
            case Waiting(on):
                self.tally.waiting += 1
                return Settlement(
                    task, State.WAITING, "waiting", reason=f"waits for {on}", waiting_on=on, doubtful=task.doubtful, trace=trace
                )  # fmt: skip

    def _count(self, settled: Iterable[Settlement]) -> None:
        counts: dict[str, int] = defaultdict(int)
        for each in settled:
            counts[each.outcome] += 1
            self.tally.saved += each.task.changes if each.outcome == "unchanged" else 0
        self.tally.unchanged += counts["unchanged"]
        self.tally.refused += counts["refused"]
        self.tally.waiting += counts["waiting"]


def _parked(task: Task, reason: str, trace: str | None = None) -> Settlement:
    return Settlement(task, State.PARKED, "refused", reason=reason, doubtful=task.doubtful, trace=trace)


def _again(wanted: _Wanted, there: Document | None, ref: str | None, tag: str | None) -> _Wanted:
    """The same subject, now that it is known what the target holds."""
    write = Write(wanted.write.subject, wanted.write.document, there, (), ref, tag, wanted.write.refs)
    return _Wanted(wanted.task, write, wanted.packed, wanted.digest)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
