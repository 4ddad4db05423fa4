# ruff: noqa: S101 - its scenarios are tests
"""
The scenarios that every target passes: a pytest class. A target's own tests subclass it and give it a `side` fixture.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Protocol, runtime_checkable

from flows.port import (
    Absent,
    Body,
    Confirmed,
    Document,
    Held,
    Inventory,
    NotDone,
    Refused,
    Target,
    Unavailable,
    Unknown,
    Untold,
    Waiting,
    Write,
)


class Trouble(Enum):
    """A trouble names a way in which a sandbox misbehaves, once, with the next write."""

    THROTTLED = "turned away and not done, with 429 and Retry-After: 7 where it speaks HTTP"
    FAILED = "not done, and answered 500 where it speaks HTTP"
    LOST = "done, and the connection cut before the answer"
    NOT_JSON = "done, and answered 200 with a web page"


class Side(Protocol):
    """A target under test and the sandbox behind it."""

    target: Target

    def document(self, number: int, version: int) -> tuple[str, Document]:
        """A subject and its document that the sandbox takes; other versions of it differ in what they hold."""
        ...

    def refusable(self, number: int) -> tuple[str, Document]:
        """The same, but the sandbox refuses it for what it holds."""
        ...

    def held(self, number: int) -> Body | None:
        """Return what the sandbox holds for the subject of `document(number, …)`; None for nothing."""
        ...

    def effects(self) -> int:
        """Tell how many times the sandbox changed what it holds."""
        ...

    def trouble(self, trouble: Trouble) -> None: ...


@runtime_checkable
class AlterableSide(Protocol):
    """A side whose sandbox can be changed by hand. The suite asks such a side for more."""

    def alter(self, number: int) -> None:
        """Somebody changes there what the sandbox holds for the subject of `document(number, …)`."""
        ...


@runtime_checkable
class ReferringSide(Protocol):
    """A side whose documents can refer to others. The suite asks such a side for more."""

    def referring(self, number: int) -> Write:
        """A write of a document that refers to another one, by an id that the sandbox does not hold."""
        ...


class TargetSuite:
    """
    The scenarios that every target passes. A subclass gives the fixture `side`, whose sandbox holds nothing yet.

    They ask no more than the port promises. `same` compares what the sandbox holds; a sandbox that shows it in other
    words than the document compares in its own way.
    """

    says_how_long: bool = True
    """False where the target turns a write away without a word on when to come again, as a folder does."""
    reads_answers: bool = True
    """False where the status says all, as of a webhook: whatever stands in a 200, the document was taken."""
    unsays: bool = True
    """False where a document is a message: one that was sent stays sent, and the removal of its fact sends nothing."""

    def same(self, held: Body | None, document: Document) -> bool:
        return held == document.body

    async def test_what_is_wanted_is_created_updated_and_deleted(self, side: Side) -> None:
        subject, first = side.document(1, 1)
        _, second = side.document(1, 2)
        created = await _confirmed(side, Write(subject, first))
        assert self.same(side.held(1), first)
        updated = await _confirmed(side, Write(subject, second, first, (), created.ref, created.tag))
        assert self.same(side.held(1), second)
        await self._gone(side, Write(subject, None, second, (), updated.ref, updated.tag))

    async def _gone(self, side: Side, removal: Write) -> None:
        done, held = side.effects(), side.held(1)
        await _confirmed(side, removal)
        if self.unsays:
            assert side.held(1) is None
        else:
            assert (side.effects(), side.held(1)) == (done, held), "something was sent of a fact that is gone"

    async def test_every_subject_has_its_outcome_in_order(self, side: Side) -> None:
        batch = [Write(*side.document(n, 1)) for n in (3, 1, 2)]
        outcomes = await side.target.write(batch)
        assert len(outcomes) == 3
        assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
        known = [
            Write(w.subject, w.document, w.document, (), o.ref, o.tag)
            for w, o in zip(batch, outcomes, strict=True)
            if isinstance(o, Confirmed)
        ]
        for write, shown in zip(known, await side.target.read_back(known), strict=True):
            assert write.document is not None
            assert isinstance(shown, Untold) or (isinstance(shown, Held) and shown.body == write.document.body)

    async def test_an_empty_batch_has_no_outcomes(self, side: Side) -> None:
        assert list(await side.target.write([])) == []

    async def test_one_refused_among_many_leaves_the_others_confirmed(self, side: Side) -> None:
        batch = [Write(*side.document(n, 1)) for n in (1, 2, 4, 5)]
        bad = Write(*side.refusable(3))
        outcomes = list(await side.target.write([batch[0], bad, *batch[1:]]))
        assert isinstance(outcomes.pop(1), Refused), "the outcomes are in another order than the writes"
        assert all(isinstance(outcome, Confirmed) for outcome in outcomes), outcomes
        assert [side.held(n) is not None for n in (1, 2, 3, 4, 5)] == [True, True, False, True, True]

    async def test_a_throttled_write_is_unavailable_for_as_long_as_the_target_says(self, side: Side) -> None:
        subject, document = side.document(1, 1)
        side.trouble(Trouble.THROTTLED)
        (outcome,) = await side.target.write([Write(subject, document)])
        assert isinstance(outcome, Unavailable), f"{outcome}: it tries again by itself, and the budget does not know of it"
        assert outcome.after == (timedelta(seconds=7) if self.says_how_long else None)
        assert side.held(1) is None

    async def test_a_failure_of_the_target_is_never_taken_for_a_refusal(self, side: Side) -> None:
        subject, document = side.document(1, 1)
        side.trouble(Trouble.FAILED)
        (outcome,) = await side.target.write([Write(subject, document)])
        assert isinstance(outcome, NotDone | Unavailable | Unknown), f"{outcome}: it would be parked, or never sent again"

    async def test_a_lost_answer_is_unknown_and_read_back_instead_of_written_twice(self, side: Side) -> None:
        await self._in_doubt(side, Trouble.LOST)

    async def test_an_answer_that_is_not_json_is_unknown(self, side: Side) -> None:
        if self.reads_answers:
            await self._in_doubt(side, Trouble.NOT_JSON)
            return
        subject, document = side.document(1, 1)
        side.trouble(Trouble.NOT_JSON)
        await _confirmed(side, Write(subject, document))
        assert self.same(side.held(1), document)

    async def _in_doubt(self, side: Side, trouble: Trouble) -> None:
        subject, document = side.document(1, 1)
        side.trouble(trouble)
        (outcome,) = await side.target.write([Write(subject, document)])
        assert isinstance(outcome, Unknown)
        done = side.effects()
        doubted = Write(subject, document, None, (document,))
        (shown,) = await side.target.read_back([doubted])
        if isinstance(shown, Held):
            assert shown.body == document.body
        else:
            assert isinstance(shown, Untold), "it was done: it cannot be absent"
            await _confirmed(side, doubted)
        assert self.same(side.held(1), document)
        assert side.effects() == done or isinstance(shown, Untold)

    async def test_what_was_never_there_is_read_back_as_absent_or_cannot_be_told(self, side: Side) -> None:
        subject, document = side.document(1, 1)
        (shown,) = await side.target.read_back([Write(subject, document, None, (document,))])
        assert isinstance(shown, Absent | Untold)

    async def test_a_target_that_lists_what_it_holds_lists_all_of_it_as_read_back_would_say(self, side: Side) -> None:
        if not isinstance(side.target, Inventory):
            return  # what a target may offer besides
        writes = [Write(*side.document(n, 1)) for n in (1, 2, 3)]
        refs = [outcome.ref for outcome in [await _confirmed(side, write) for write in writes]]
        held = {h.ref: h async for page in side.target.holdings() for h in page}
        for write, ref in zip(writes, refs, strict=True):
            assert write.document is not None
            assert (held[ref].kind, held[ref].number) == (write.document.kind, write.document.number)
            assert side.target.told(held[ref], write).body == write.document.body

    async def test_what_was_never_confirmed_is_not_deleted(self, side: Side) -> None:
        subject, document = side.document(1, 1)
        await _confirmed(side, Write(subject, document))
        await side.target.write([Write(subject, None)])
        assert side.held(1) is not None, "it deleted what it found by the subject's name alone: it may be somebody else's"

    async def test_a_change_that_somebody_made_there_is_not_overwritten_unseen(self, side: Side) -> None:
        subject, first = side.document(1, 1)
        created = await _confirmed(side, Write(subject, first))
        if not isinstance(side, AlterableSide) or created.tag is None:
            return  # it has no means to notice that
        side.alter(1)
        altered, (_, second) = side.held(1), side.document(1, 2)
        (outcome,) = await side.target.write([Write(subject, second, first, (), created.ref, created.tag)])
        assert side.held(1) == altered, f"{outcome}: it wrote over a newer version (If-Match: * or none)"
        assert not isinstance(outcome, Confirmed | Refused)

    async def test_a_document_waits_for_what_it_refers_to(self, side: Side) -> None:
        if not isinstance(side, ReferringSide):
            return  # its documents refer to nothing
        before = side.effects()
        (outcome,) = await side.target.write([side.referring(1)])
        assert isinstance(outcome, Waiting), f"{outcome}: the reference was left out, or sent as it was"
        assert side.effects() == before

    async def test_a_removal_of_what_is_not_there_is_confirmed(self, side: Side) -> None:
        subject, document = side.document(1, 1)
        created = await _confirmed(side, Write(subject, document))
        gone = Write(subject, None, document, (), created.ref, created.tag)
        await self._gone(side, gone)
        await self._gone(side, gone)


async def _confirmed(side: Side, write: Write) -> Confirmed:
    (outcome,) = await side.target.write([write])
    assert isinstance(outcome, Confirmed), outcome
    return outcome
