"""Agreement needs two things from the runtime: an inbox of events, and a ledger of facts, subjects and what was confirmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic_core import from_json, to_json

from canonical import Event
from flows.port import Document, Fact, Grouping


class State(StrEnum):
    """A state says where a subject stands in a flow."""

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
"""A subject stays with a worker for so many seconds after its last sign of life; then another worker may take it."""
TRAVELS = 5.0
"""A request may be on its way for so many seconds after it has left a worker."""


class Reject(NamedTuple):
    """A record on a topic that is no event of ours: where it lies, and what is wrong with it."""

    place: str
    what: str


class Stand(NamedTuple):
    """
    A stand says how far a flow has come in a partition. `behind` is the offset behind the last record that it took,
    `last` tells that record from any other one. `again` is how far a lost state had read; 0 once the flow has come that
    far. `hidden` counts the records that an unfinished transaction hides.
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
    The result of one poll.

    `events` come with their partitions; `rejects` are records that are no events. `reached` is where the inbox stands
    afterwards, and `behind` about how many more records it knows of in its partitions. `again` are the events that a lost
    state had read before: only that state knew which of them had reached the target. `until` says how far the lost state had
    read each partition, if this was found out just now. `there` names the partitions in which the inbox has now come that
    far, with the offset that it went by; a partition is not there if somebody has meanwhile reported a higher offset.
    `since` is where the state stands, as far as the inbox knows, in the partitions of `reached`.
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


class Task(NamedTuple):
    """
    A subject that a worker holds. `document` is the last confirmed one, `doubtful` all that was sent since without an answer.
    `observed` and `traces` belong to the `changes` that it has not been settled with yet (`Mark`). `claim` names this one
    time that it is held: the claim is lost when another worker, or this one once more, takes the subject. `edition` is the
    number of the edition under which it was taken. `sent_ago` is the seconds since the last send for it; None if there was none.
    `recheck` is the first day on which the outcome just worked out may be another one; None: no day changes it. The lower its
    `urgency`, the sooner it goes. `reason` is the one that it was settled with.
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
    recheck: date | None = None
    urgency: int = 0
    reason: str | None = None


class Edition(NamedTuple):
    """The rules that subjects are judged by: a name, which stands for a flow's code and settings, and a number that grows."""

    name: str
    number: int


class Intent(NamedTuple):
    """
    An intent says what is about to be sent for a subject: it is durable before anything is sent, so that a crash knows
    what may be there.
    """

    task: Task
    doubtful: bytes


class NamedDocument(NamedTuple):
    """A document that is new to its subject, with the target's ids of what it refers to: the two give it its name."""

    subject: str
    document: Document
    refs: Mapping[str, str]


class Settlement(NamedTuple):
    """
    The result for a subject that a worker held.

    A parked subject may wait for another one, too: that one has its document's name.
    `document`, `ref`, `tag`, `digest` are saved if `confirmed` is true. `doubtful` lists all documents that may be at the
    target besides. A DIRTY subject is looked at again `after` so many seconds. `outcome` is a word for the record's story.
    `sent` is the document that was sent and may have arrived. `denied` is the id by which the target does not know `waiting_on`.
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
        """Return what has arrived; waits a little for the first, not for more."""
        ...

    async def commit(self) -> None:
        """All that was polled is durable."""
        ...


class Ledger(Protocol):
    """
    Facts, subjects and confirmations of one flow, as one worker of it sees them; each method is one transaction.

    Moments are taken from the database's clock, never from a worker's: arguments and results are durations, in seconds.
    """

    def now(self) -> float:
        """The time that all workers share, in seconds since 1970: the database's."""
        ...

    async def begin(self) -> None:
        """This worker starts, or starts again: what it had in its hand is dirty, as nobody works on it any more."""
        ...

    async def ingest(self, arrivals: Arrivals, marks: Sequence[Mark]) -> None:
        """
        Save facts and mark subjects. The newest version of each fact wins. A marked subject becomes dirty; if a worker holds
        it, it becomes dirty when that worker settles it.

        No subject is taken once `arrivals.until` is saved, until all partitions are `there`: otherwise the target would get
        old states again.

        :raises UnavailableError: the state stands before `arrivals.since`: it went back, and lacks all that was read since.
        """
        ...

    async def reopen(self, edition: str, had: Edition | None) -> Edition | None:
        """
        Open an edition, or join the workers of the open one. None if another edition is at work: this worker stands by.

        `had` is the last edition that this worker worked by, None when it starts. See `Editions` for who may open one. Where
        the day goes back because the clock was set right, the edition is opened once more: all was judged by a later day.
        """
        ...

    async def relook(self, edition: Edition) -> bool:
        """
        Mark dirty some more of the subjects that an older edition settled. True if there may be more.

        A subject that somebody settles by an older edition during this time, or later, stays dirty.
        """
        ...

    async def turn(self) -> bool:
        """Mark dirty some more of the subjects whose day to be looked at again has come. True if there may be more."""
        ...

    async def take(self, limit: int, edition: Edition) -> list[Task]:
        """
        Take dirty subjects: urgent ones first, then the ones that have waited longest. Takes none if another edition is open
        by now.
        """
        ...

    async def facts(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[Fact]]:
        """The facts that are not deleted, by subject."""
        ...

    async def keys(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[tuple[str, str]]]:
        """Keys and owners of all facts, deleted ones included, by subject."""
        ...

    async def refs(self, subjects: Sequence[str]) -> dict[str, str]:
        """The target's ids of those subjects that it was confirmed to hold."""
        ...

    async def holders(self, refs: Collection[str]) -> list[tuple[str, str, bytes]]:
        """The subjects that the target was confirmed to hold under one of these ids of its own, with id and document."""
        ...

    async def name(self, named: Sequence[NamedDocument]) -> dict[str, str]:
        """Give each subject the name of its document. Returns by subject the other one of the flow that has the name."""
        ...

    async def rename(self, named: Sequence[NamedDocument]) -> None:
        """Give these names over from the subjects of the flow that have them."""
        ...

    async def awaiting(self, subjects: Collection[str]) -> set[str]:
        """Return those of these subjects whose names parked subjects wait for, and make those others dirty."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> set[str]:
        """
        Save the documents that are about to be sent. Returns the subjects that this worker still holds under the open edition.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """
        Save outcomes, and wake the subjects that waited for one of these.

        An outcome that was worked out by another edition than the open one is saved, and its subject stays dirty.
        A subject that this worker has lost keeps its new holder's results. But this worker's request may have reached the
        target last, so the subject is in doubt once more and is looked at again after a while.
        """
        ...

    async def keep(self, number: int | None, claims: Collection[str]) -> set[tuple[str, str | None]]:
        """
        Give a sign of life for the subjects of these claims, and for the edition of that number. Returns the subjects that
        are still held, with their claims.
        """
        ...

    async def lifted(self) -> float | None:
        """Seconds since a person lifted the silence that the target had asked for; None if nobody ever did."""
        ...

    async def reclaim(self, claims: Collection[str] = ()) -> int:
        """
        Make dirty what was lost in somebody's hand and what waits for a subject that is there by now; how many.

        `claims` are the ones that this worker works under: their subjects are not lost. An older state that was put back may
        call other subjects this worker's, too.
        """
        ...

    async def due(self) -> float | None:
        """Seconds until the next dirty subject falls due, 0 if one is due; None if none is dirty."""
        ...

    def every(self) -> AsyncIterator[list[Task]]:
        """Every subject that was ever touched, some at a time, none taken in hand: for plans."""
        ...
