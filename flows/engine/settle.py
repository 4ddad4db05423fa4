"""This module says what an outcome means for the ledger: it is pure, so that every case can be read in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from canonical.errors import printable
from flows.engine.ledger import Settlement, State, Task, doubts, unpack
from flows.port import (
    Body,
    Confirmed,
    Document,
    Limits,
    NotDone,
    Outcome,
    Refused,
    Unavailable,
    Unknown,
    Waiting,
    Write,
)


class Wanted(NamedTuple):
    """
    A subject in hand whose target is not in agreement, as far as is known. `packed` is the document as the ledger keeps
    it, `sent` the same once it is on its way; `why` is the reason where nothing shall be held, or what the target did otherwise.
    `repeated`: this same document was sent before, its answer was lost, and the target does not hold it so.
    """

    task: Task
    write: Write
    packed: bytes | None
    digest: bytes | None
    sent: bytes | None = None
    why: str | None = None
    repeated: bool = False

    @property
    def doubtful(self) -> bytes:
        """All that may be at the target besides what was confirmed there, once this is sent."""
        return doubts(self.task.doubtful, self.sent)


def sending(wanted: Wanted) -> Wanted:
    return wanted._replace(sent=b"[]" if wanted.packed is None else b"[" + wanted.packed + b"]")


def again(wanted: Wanted, body: Body | None, ref: str | None, tag: str | None) -> Wanted:
    """The same subject, now that it was read back what the target holds."""
    write = wanted.write
    like = next((d for d in (write.document, write.confirmed, *write.doubtful) if d is not None), None)
    there = Document(like.kind, like.number, body) if like is not None and body is not None else None
    return wanted._replace(write=replace(write, confirmed=there, doubtful=(), ref=ref, tag=tag, late=body is None))


def in_doubt(wanted: Wanted) -> Wanted:
    """
    The same subject, of which the target cannot tell what it holds: what was confirmed may be gone by what was sent since.

    So it is no ground to write a difference on, even where all that was sent was a removal.
    """
    write = wanted.write
    if write.confirmed is None:
        return wanted
    return wanted._replace(write=replace(write, confirmed=None, doubtful=(*write.doubtful, write.confirmed)))


def settlement(wanted: Wanted, outcome: Outcome, after: float | None = None) -> Settlement:
    """The settlement that follows from an outcome; the subject is tried again `after` so many seconds if that is needed."""
    task = wanted.task
    match outcome:
        case Confirmed(ref, tag):
            gone = wanted.write.document is None
            return Settlement(
                task, State.AGREED, "removed" if gone else "confirmed", confirmed=True, document=wanted.packed,
                digest=wanted.digest, ref=None if gone else ref, tag=None if gone else tag, sent=wanted.sent,
                reason=wanted.why,
            )  # fmt: skip
        case Refused(reason):
            return parked(task, reason)
        case NotDone(reason):
            why = printable(reason)
            return Settlement(task, State.DIRTY, "unavailable", reason=why, doubtful=task.doubtful, after=after)
        case Unavailable(reason) | Unknown(reason):
            return Settlement(
                task, State.DIRTY, word_of(outcome), reason=printable(reason), doubtful=wanted.doubtful, after=after,
                sent=wanted.sent,
            )  # fmt: skip
        case Waiting(on):
            return waiting(task, on, denied=_id_given(wanted.write, on))


def left(settlements: Iterable[Settlement]) -> set[str]:
    """The subjects that documents referred to which are gone now, or which refer to others."""
    found: set[str] = set()
    for s in settlements:
        had, has = s.task.document, s.document
        if s.confirmed and had is not None and _refers(had) != _refers(has):
            found |= set(unpack(had).refers.values()) - (set(unpack(has).refers.values()) if has is not None else set())
    return found


def _refers(packed: bytes | None) -> bytes:
    """Gives the end of a packed document, which names what it refers to; two ends can be compared without unpacking."""
    return b"" if packed is None else packed.rpartition(b"{")[2]


def word_of(outcome: Outcome) -> str:
    """The word for an outcome in a record's story and in the counts."""
    return "unavailable" if isinstance(outcome, Unavailable) else type(outcome).__name__.lower()


def parked(task: Task, reason: str) -> Settlement:
    return Settlement(task, State.PARKED, "refused", reason=printable(reason), doubtful=task.doubtful)


def waiting(task: Task, on: str, denied: str | None = None) -> Settlement:
    return Settlement(
        task, State.WAITING, "waiting", reason=f"waits for {on}", waiting_on=on, doubtful=task.doubtful,
        denied=denied,
    )  # fmt: skip


def untried(task: Task) -> Task:
    """It was taken in hand, but not sent: that is no attempt."""
    return task._replace(attempts=task.attempts - 1)


PATIENCE = "not sent: the target asked for patience"
OUT_OF_HAND = "not sent: its claim ran out, or another edition is at work"
NOT_SHOWN_YET = "not looked at yet: the target shows a write only after a while"


def put_back(task: Task, after: float, reason: str = PATIENCE) -> Settlement:
    """Give back a subject that was taken but not sent: it is looked at again after so many seconds."""
    return Settlement(untried(task), State.DIRTY, "put back", reason=reason, doubtful=task.doubtful, after=after)


def settles_in(task: Task, limits: Limits) -> float:
    """Seconds until the target shows the last request for a subject; 0 if it does by now."""
    if task.sent_ago is None:
        return 0.0
    return max(limits.settles.total_seconds() - max(task.sent_ago, 0.0), 0.0)


def _id_given(write: Write, on: str) -> str | None:
    """The id under which the target does not know the other subject, where we gave it one."""
    refers = write.document.refers if write.document else {}
    return next((write.refs[name] for name, subject in refers.items() if subject == on and name in write.refs), None)
