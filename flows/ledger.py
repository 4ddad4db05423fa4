"""What agreement needs from the runtime: an inbox of events, and a ledger of facts, subjects and what was confirmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic_core import from_json, to_json

from canonical import Event
from flows.port import Document, Fact, Grouping


class State(StrEnum):
    """Where a subject stands in a flow."""

    DIRTY = "dirty"
    """Something changed: it is to be looked at, from `due` on."""
    SENDING = "sending"
    """A worker has it in hand; after `due` it is taken for lost and looked at again."""
    AGREED = "agreed"
    """The target was last confirmed to hold what it should."""
    WAITING = "waiting"
    """It refers to a subject that the target does not hold yet."""
    PARKED = "parked"
    """The target, or the mapping, refuses it: until its facts change or a person retries."""
    DROPPED = "dropped"
    """A person gave it up, and said why: until its facts change."""


HOLD = 20.0
"""Seconds that a subject stays in a worker's hand without a sign of life; then another worker may take it."""
TRAVELS = 5.0
"""Seconds that a request may be on its way after it has left a worker."""


class Reject(NamedTuple):
    """A record on a topic that is no event of ours: where it lies, and what is wrong with it."""

    place: str
    what: str


class Stand(NamedTuple):
    """
    Where a flow stands in a partition: the offset behind, what tells the last record from another, how far a state that
    is lost had read it, 0 where the flow has come there, and how many records a transaction hides that does not end.
    """

    behind: int = 0
    last: str = ""
    again: int = 0
    hidden: int = 0


Reached = Mapping[tuple[str, int], tuple[int, str]]
"""Where an inbox has come to: by topic and partition, the offset behind, and what tells the last record from another."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """
    What a poll brought: events with their partitions, records that are no events, where the inbox stands then, and about
    how many records more it knows of in these partitions. `again` are those of the events that were read before by a
    state that is lost: what of them had reached the target, it alone knew. `until` says how far it had read which partitions,
    where that has just come out, and `there` are those in which the inbox has come there now, with how far it went by: one
    of which somebody has said meanwhile that it was read further is not there. `since` is where the state
    stands, as far as the inbox knows, in the partitions that are `reached`.
    """

    events: Sequence[tuple[Event, int]] = ()
    rejects: Sequence[Reject] = ()
    reached: Reached = field(default_factory=dict)
    behind: int = 0
    again: Sequence[Event] = ()
    until: Mapping[tuple[str, int], int] = field(default_factory=dict)
    there: Mapping[tuple[str, int], int] = field(default_factory=dict)
    since: Mapping[tuple[str, int], int] = field(default_factory=dict)


class Mark(NamedTuple):
    """
    A subject that some events touched. `observed` is when the first of these changes was seen in the legacy system (seconds
    since 1970), `traces` the `traceparent`s of those that are traced, newest first, with spaces between. `doubtful` is what
    the target may hold of it, where nothing is known of what it was confirmed to hold (`Task`).
    """

    subject: str
    partition: int
    urgency: int
    changes: int
    observed: float
    traces: str | None
    doubtful: bytes | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """
    A subject in hand. `document` is what was last confirmed, `doubtful` what was sent since without an answer. `observed`
    and `traces` are those of the `changes` that it has not been settled with yet (`Mark`). `claim` names this one time in
    hand: it is lost when another worker, or this one once more, takes the subject. `edition` is the number of the edition
    that it was taken by, `sent_ago` for how many seconds nothing was sent for it; None where nothing ever was.
    """

    subject: str
    seq: int
    changes: int
    attempts: int
    ref: str | None
    tag: str | None
    digest: bytes | None
    document: bytes | None
    doubtful: bytes | None
    observed: float | None
    traces: str | None
    claim: str | None
    edition: int = 0
    sent_ago: float | None = None


class Edition(NamedTuple):
    """What subjects are looked at by: its name (`flows.port.Flow.edition`), and its number among all that were ever opened."""

    name: str
    number: int


class Intent(NamedTuple):
    """What is about to be sent for a subject: durable before it is sent, so that a crash knows what may be there."""

    task: Task
    doubtful: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """
    What became of a subject in hand.

    `document`, `ref`, `tag`, `digest` are saved where `confirmed`. `doubtful` is what may be at the target besides.
    `after` so many seconds a DIRTY subject is looked at again. `outcome` is a word for the record's story. `sent` is what
    was sent and may have been done. `denied` is the id under which the target does not know `waiting_on`.
    """

    task: Task
    state: State
    outcome: str
    confirmed: bool = False
    document: bytes | None = None
    digest: bytes | None = None
    ref: str | None = None
    tag: str | None = None
    doubtful: bytes | None = None
    reason: str | None = None
    waiting_on: str | None = None
    after: float | None = None
    trace: str | None = None
    sent: bytes | None = None
    denied: str | None = None


def pack(document: Document) -> bytes:
    """A document as the ledger keeps it; the same content always gives the same bytes."""
    return to_json([document.kind, document.number, document.body, dict(document.refers)])


def unpack(packed: bytes) -> Document:
    kind, number, body, refers = from_json(packed)
    return Document(kind, number, body, refers)


def pack_all(documents: Iterable[Document]) -> bytes:
    """Documents in doubt."""
    return b"[" + b",".join(pack(document) for document in documents) + b"]"


def unpack_all(packed: bytes | None) -> tuple[Document, ...]:
    """Every document in doubt."""
    return () if packed is None else tuple(Document(*parts) for parts in from_json(packed))


def doubts(*packed: bytes | None) -> bytes:
    """All that may be at the target besides what was confirmed there, as the ledger keeps it; `[]`: nothing may be."""
    lists = [each for each in packed if each is not None]
    if len(lists) == 1:
        return lists[0]
    known: list[object] = []
    for each in map(from_json, lists):
        known = [*(had for had in known if had not in each), *each]
    return to_json(known)


class Inbox(Protocol):
    """The flow's topics, read_committed, in a consumer group of its own."""

    async def poll(self) -> Arrivals:
        """What has arrived; waits a little for the first, not for more."""
        ...

    async def commit(self) -> None:
        """All that was polled is durable."""
        ...


class Ledger(Protocol):
    """
    Facts, subjects and confirmations of one flow, as one worker of it sees them; each method is one transaction.

    Moments are the database's, whatever a worker's clock says: what goes in and out here are durations, in seconds.
    """

    def now(self) -> float:
        """The time that all workers share, in seconds since 1970: the database's."""
        ...

    async def begin(self) -> None:
        """This worker starts, or starts again: what it had in its hand is dirty, as nobody works on it any more."""
        ...

    async def ingest(self, arrivals: Arrivals, marks: Sequence[Mark]) -> None:
        """
        Newest version of each fact wins; marked subjects become dirty, unless they are in hand: then they will.

        From `arrivals.until` on nothing is taken until all partitions are `there`: else the target would get old states again.

        :raises UnavailableError: the state stands before `arrivals.since`: it went back, and lacks what was read since.
        """
        ...

    async def reopen(self, edition: str, had: Edition | None) -> Edition | None:
        """
        Open an edition, or join those who work by it. None where another one is at work: this worker stands by.

        `had` is the last one that this worker worked by, None when it starts. See `flows.editions` for who may open.
        """
        ...

    async def relook(self, edition: Edition) -> bool:
        """
        Mark dirty some more of the subjects that were settled by an older edition; whether there may be more.

        What somebody settles by an older edition while this goes on, or later, stays to do.
        """
        ...

    async def take(self, limit: int, edition: Edition) -> list[Task]:
        """
        Take dirty subjects in hand, urgent ones first, then those that have waited longest; none where another edition is
        open by now.
        """
        ...

    async def facts(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[Fact]]:
        """The facts that are not deleted, by subject."""
        ...

    async def refs(self, subjects: Sequence[str]) -> dict[str, str]:
        """The target's ids of those subjects that it was confirmed to hold."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> set[str]:
        """
        Save what is about to be sent; gives back the subjects that are still in this worker's hand, by the open edition.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """
        Save outcomes, and wake the subjects that waited for one of these.

        What was worked out by another edition than the open one is saved, and the subject stays to do.
        A subject that this worker has lost keeps what its new holder finds; but what was sent for it may have come last
        at the target, so it is in doubt once more and looked at again after a while.
        """
        ...

    async def keep(self, number: int | None) -> set[tuple[str, str | None]]:
        """
        Give a sign of life for all that is in this worker's hand, and for the edition of that number; gives back the
        subjects, with their claims, that it has in hand.
        """
        ...

    async def lifted(self) -> float | None:
        """How many seconds ago a person lifted the silence that the target had asked for; None where nobody ever did."""
        ...

    async def reclaim(self) -> int:
        """Make dirty what was lost in somebody's hand and what waits for a subject that is there by now; how many."""
        ...

    async def due(self) -> float | None:
        """In how many seconds the next dirty subject falls due, 0 where one is; None where none is dirty."""
        ...

    def every(self) -> AsyncIterator[list[Task]]:
        """Every subject that was ever touched, some at a time, none taken in hand: for plans."""
        ...
