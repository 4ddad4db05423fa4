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
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date
from typing import Any, TypeVar

from canonical.errors import FencedError, MisconfiguredError, UnavailableError, ends_us, named, ours
from canonical.turns import in_turns
from flows.engine.altered import altered, once_more, resumed, said
from flows.engine.claims import Claim, Hand
from flows.engine.clock import LondonDay, steady
from flows.engine.draft import drafted
from flows.engine.editions import Editions
from flows.engine.keeping import save, take_in
from flows.engine.ledger import Inbox, Intent, Ledger, Settlement, Task, pack, unpack
from flows.engine.meters import measure
from flows.engine.patience import Access, in_order, portion
from flows.engine.settle import (
    NOT_SHOWN_YET,
    OUT_OF_HAND,
    Wanted,
    again,
    in_doubt,
    put_back,
    sending,
    settlement,
    settles_in,
    word_of,
)
from flows.engine.single import kept_single
from flows.engine.tally import Tally
from flows.engine.tracing import Journeys, ingesting
from flows.port import (
    Absent,
    Confirmed,
    Flow,
    Held,
    NotDone,
    Outcome,
    ReadBack,
    Target,
    Unknown,
    Untold,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
PASSED_ON = (UnavailableError, MisconfiguredError, FencedError)
"""Errors that say something about all subjects: the state is away, a credential is wrong, another copy is at work."""
_GRACE = 20.0  # seconds for what is in hand when we are told to stop
_JOBS = 2  # one prepares and saves what it has in hand while the other's is on its way
_BACKLOG = 2000  # events behind which delivery waits for ingest: a subject's next change is probably among them
_LONGEST_BACKLOG = 30.0  # seconds that it waits for
_CARE = 5.0  # seconds between two signs of life, and between two looks for subjects that no worker holds any more

__all__ = ["Agreement", "Tally", "pack", "unpack"]


class Agreement:
    """
    One worker of one flow. Several workers share the work: each takes only subjects that no other worker holds.

    `edition` names what the flow's documents depend on besides the facts and the day. `today` is the day in London by the
    ledger's clock, which all workers share. `clock` gives seconds for this worker's own waiting times and for how long it
    surely still holds its subjects; only differences between its values count. Flows of one target in one process are given
    the same `access`.
    """

    def __init__(
        self,
        flow: Flow,
        target: Target,
        ledger: Ledger,
        *,
        edition: str,
        today: Callable[[], date] | None = None,
        clock: Callable[[], float] = steady,
        access: Access | None = None,
    ) -> None:
        access = access or Access(target.limits, clock)
        self.flow = flow
        self.target = target
        self.tally = Tally()
        self._ledger = ledger
        self._today = today or LondonDay(ledger.now)
        self._clock = clock
        self._arrived = asyncio.Event()
        self._editions = Editions(flow.name, edition, ledger)
        self._hand = Hand(clock)
        self._patience = access.patience
        self._behind_since: float | None = None
        self._slots = access.slots

    @property
    def stands_by(self) -> bool:
        """Tell whether this worker takes no subjects because another edition than its own is at work."""
        return self._editions.stands_by

    # -- ingest --------------------------------------------------------------------------------------------------

    async def ingest(self, inbox: Inbox) -> int:
        """Poll once: facts and dirty subjects in one transaction, then the offsets. How many events there were."""
        arrived = await inbox.poll()
        if arrived.reached or arrived.there:
            with ingesting(self.flow.name, arrived.events) as traces:
                refused = await take_in(self.flow, self._ledger, arrived, list(traces))
            self.tally.ingested += len(arrived.events) - refused
            self.tally.rejected += len(arrived.rejects) + refused
            if arrived.behind <= _BACKLOG:
                self._behind_since = None
            elif self._behind_since is None:
                self._behind_since = self._clock()
            self._arrived.set()
            await inbox.commit()
        return len(arrived.events)

    # -- delivery ------------------------------------------------------------------------------------------------

    async def deliver(self, stop: asyncio.Event) -> None:
        """Keep the target in agreement until told to stop; batches in hand are finished first, for a while."""
        await self._ledger.begin()
        jobs = [asyncio.ensure_future(self._in_our_words(self._work(stop))) for _ in range(_JOBS)]
        cares = [asyncio.ensure_future(self._in_our_words(care)) for care in (self._stay_alive(), self._tend())]
        all_done = asyncio.gather(*jobs)
        grace = asyncio.ensure_future(_after(stop, _GRACE))
        ends: list[asyncio.Future[Any]] = [all_done, grace, *cares]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        finally:
            for task in (*jobs, *cares, grace):
                task.cancel()
            await asyncio.gather(*jobs, *cares, grace, all_done, return_exceptions=True)

    async def _in_our_words(self, work: Awaitable[None]) -> None:
        """Do a task's work. A `SystemExit` that a task raises as it is ends the whole process."""
        try:
            await work
        except BaseException as error:
            if ends_us(error):
                raise
            raise ours(self.flow.name, error) from error

    async def _stay_alive(self) -> None:
        """Give signs of life in a task of its own, so that a slow job never costs this worker its subjects."""
        while True:
            opened = self._editions.open
            await self._hand.keep(self._ledger, opened and opened.number)
            await asyncio.sleep(_CARE)

    async def _tend(self) -> None:
        while True:
            await self._reopen()
            while await self._editions.relook():
                self._arrived.set()
            if await self._hand.reclaim(self._ledger):
                self._arrived.set()
            await asyncio.sleep(_CARE)

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._arrived.clear()  # before we look, so that what arrives while we look is not overheard
            wait = self._patience.left()
            if wait > 0:
                await _sleep(stop, min(wait, 1.0))
                await self._lifted()
            elif self._catching_up or not await self.step():
                await self._pause(stop)

    async def _lifted(self) -> None:
        """Go on at once if a person has lifted the silence that the target asked for."""
        if self._patience.left() > _CARE:
            ago = await self._ledger.lifted()
            if ago is not None and ago < self._patience.age():
                self._patience.end()

    @property
    def _catching_up(self) -> bool:
        """Tell whether a backlog is being read, for not too long yet: what it holds for a subject goes in one write."""
        return self._behind_since is not None and self._clock() - self._behind_since < _LONGEST_BACKLOG

    async def _pause(self, stop: asyncio.Event) -> None:
        due = None if self.stands_by or self._catching_up else await self._ledger.due()
        wait = 1.0 if due is None else min(max(due, 0.01), 1.0)
        waits = [asyncio.ensure_future(event.wait()) for event in (self._arrived, stop)]
        await asyncio.wait(waits, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def _reopen(self) -> None:
        if await self._editions.look():
            self._arrived.set()

    async def step(self) -> int:
        """Bring some dirty subjects into agreement, as many batches as the target takes at once; how many there were."""
        if self._editions.had is None:
            await self._reopen()
        if self._editions.open is None:
            return 0
        limits = self.target.limits
        tasks = await self._ledger.take(limits.batch * limits.concurrency, self._editions.open)
        if not tasks:
            return 0
        with self._hand.taken(tasks), Journeys(self.flow.name, tasks) as journeys:
            settled, wanted = await self.consider(tasks)
            await self._settle(settled, journeys)
            doubted = [w for w in wanted if w.task.doubtful is not None]
            if doubted:
                wanted = [w for w in wanted if w.task.doubtful is None] + await self._resolve(doubted, journeys)
            left, wanted = await kept_single(self.flow, self._ledger, wanted, self._today)
            if left:
                await self._settle(left, journeys)
            if wanted:
                await self._write(wanted, journeys)
        return len(tasks)

    async def consider(self, tasks: Sequence[Task]) -> tuple[list[Settlement], list[Wanted]]:
        """Work out what each subject should be: those that are settled without a write, and those that need one."""
        settled, wanted = await drafted(self.flow, self._ledger, tasks, self._today)
        self._count(settled)
        return settled, wanted

    async def _resolve(self, doubted: Sequence[Wanted], journeys: Journeys) -> list[Wanted]:
        """
        Ask the target about subjects that an earlier attempt left in doubt; return the ones that still need a write.

        A target may show a write only after a while. It is not asked before that time has passed: until then an answer
        "absent" proves nothing.
        """
        waits = [settles_in(each.task, self.target.limits) for each in doubted]
        early = [put_back(w.task, wait, NOT_SHOWN_YET) for w, wait in zip(doubted, waits, strict=True) if wait > 0]
        await self._settle(early, journeys)
        asked = [w for w, wait in zip(doubted, waits, strict=True) if wait <= 0]
        if not asked:
            return []
        resolved, still = await self._read_back(asked)
        await self._settle(resolved, journeys)
        return still

    async def _read_back(self, wanted: Sequence[Wanted]) -> tuple[list[Settlement], list[Wanted]]:
        """Look up what an earlier attempt left in doubt: it is settled where the target shows that it was done."""
        answers: Sequence[ReadBack]
        try:
            answers = _as_many(await self.target.read_back([w.write for w in wanted]), wanted)
        except PASSED_ON:
            raise
        except BaseException as error:  # a mistake in a target is not the other subjects' fault
            if ends_us(error):
                raise
            answers = [Untold(self._mistake(error))] * len(wanted)
        settled: list[Settlement] = []
        still: list[Wanted] = []
        async for each, answer in in_turns(zip(wanted, answers, strict=True)):
            write = each.write
            match answer:
                case Held(body, ref, tag) if write.document is not None and body == write.document.body:
                    settled.append(self._settled(each, Confirmed(ref, tag)))
                case Held(body, ref, tag):
                    still.append(resumed(each, body, ref, tag))
                case Absent() if write.document is None:
                    settled.append(self._settled(each, Confirmed(write.ref or "")))
                case Absent():
                    still.append(again(each, None, None, None))
                case Untold():
                    still.append(in_doubt(each))
        return settled, still

    async def _write(self, wanted: Sequence[Wanted], journeys: Journeys) -> None:
        """Write all, the urgent ones first, until the target asks for patience: the rest is put back."""
        left: Sequence[Wanted] = in_order(wanted)
        while left:
            together, left = portion(left, self._patience)
            if not await self._send(together, journeys):
                break
        await self._settle([put_back(w.task, self._patience.left()) for w in left], journeys)

    async def _send(self, wanted: Sequence[Wanted], journeys: Journeys) -> bool:
        """Save what is about to be sent, send it in batches, save what became of it; whether the target answered for all."""
        wanted = [sending(w) for w in wanted]
        asked = self._clock()
        mine = await self._ledger.intend([Intent(w.task, w.doubtful) for w in wanted])
        lost = [put_back(w.task, 0.0, OUT_OF_HAND) for w in wanted if w.task.subject not in mine]
        wanted = [w for w in wanted if w.task.subject in mine]
        size = self.target.limits.batch
        with self._hand.holding((w.task for w in wanted), asked) as claim:
            batches = [self._batch(wanted[at : at + size], claim, journeys) for at in range(0, len(wanted), size)]
            answers = await asyncio.gather(*batches, return_exceptions=True)
        # What the others were told is saved, whatever became of one.
        await self._settle([*lost, *(s for found in answers if isinstance(found, list) for s in found)], journeys)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return self._patience.left() <= 0

    async def _batch(self, wanted: Sequence[Wanted], claim: Claim, journeys: Journeys) -> list[Settlement]:
        """Send as many as the target takes in one write, unless it has asked for patience meanwhile."""
        async with self._slots:
            if self._patience.left() > 0:
                return [put_back(w.task, self._patience.left()) for w in wanted]
            if claim.left() <= 0:
                return [put_back(w.task, 0.0, OUT_OF_HAND) for w in wanted]
            with journeys.writing(self.target.name, [w.task.subject for w in wanted]), claim.at_work() as work:
                wanted, outcomes = await self._put_right(wanted, await self._outcomes(wanted))
            self.tally.writes += 1
            if work.refused:  # an unsent request says nothing about the target
                unsent = [isinstance(outcome, NotDone) for outcome in outcomes]
            else:
                unsent = [False] * len(outcomes)
                self._patience.heard(outcomes)
            after = self._patience.after(wanted)
            return [
                put_back(w.task, 0.0, OUT_OF_HAND) if back else self._settled(w, outcome, after)
                for w, outcome, back in zip(wanted, outcomes, unsent, strict=True)
            ]

    async def _settle(self, settled: Sequence[Settlement], journeys: Journeys) -> None:
        """Save outcomes; then say so, to the spans and the meters."""
        await save(self._ledger, [journeys.named(each) for each in settled])
        measure(self.flow.name, settled, self._ledger.now(), journeys.context)
        journeys.end(settled)

    async def _outcomes(self, wanted: Sequence[Wanted]) -> Sequence[Outcome]:
        try:
            return _as_many(await self.target.write([w.write for w in wanted]), wanted)
        except PASSED_ON:
            raise
        except BaseException as error:
            if ends_us(error):
                raise
            return [Unknown(self._mistake(error))] * len(wanted)

    async def _put_right(
        self, wanted: Sequence[Wanted], outcomes: Sequence[Outcome]
    ) -> tuple[list[Wanted], list[Outcome]]:
        """Write once more, and only once, what the target shows to have changed by itself; note it on the record."""
        all_of, said_of = list(wanted), list(outcomes)
        found = {n: each for n, each in enumerate(map(altered, wanted, outcomes)) if each is not None}
        wrong = [n for n, each in found.items() if each.changed and not wanted[n].repeated]
        second = await self._outcomes([once_more(wanted[n], outcomes[n]) for n in wrong]) if wrong else ()
        answers = dict(zip(wrong, second, strict=True))
        for n, each in found.items():
            if n in answers:
                all_of[n], said_of[n] = said(wanted[n], each, outcomes[n], answers[n])
            else:
                all_of[n] = wanted[n]._replace(why=str(each))
        return all_of, said_of

    def _mistake(self, error: BaseException) -> str:
        what = f"{self.target.name}: the target's own code failed ({named(error)}): mend the target"
        log.error("%s", what)
        return what

    def _settled(self, wanted: Wanted, outcome: Outcome, after: float | None = None) -> Settlement:
        word = word_of(outcome)
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
