"""A flow and a target promise this: a flow says what a cloud system should hold, a target translates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum, IntEnum
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from canonical import ENTITIES
from canonical.entity import Entity
from canonical.finding import Finding

E = TypeVar("E", bound=Entity)

Body = dict[str, Any]
"""What a target should hold, as JSON values; the same content always in the same order."""


@dataclass(frozen=True, slots=True)
class Fact:
    """The newest known version of one entity; `data` is its canonical JSON."""

    entity: str
    key: str
    owner: str
    version: int
    data: bytes


class Facts:
    """
    Facts hold all that is known about one subject, and the day on which it is looked at (Europe/London).

    Reading a fact that does not hold raises `BadRecordError`: the subject is parked until the fact changes. Facts note which
    questions about the day were asked: `recheck` is the first day on which one of them has another answer (None: none ever
    has). Until then the outcome stays the same, and the subject is looked at again on that day.
    """

    def __init__(self, facts: Sequence[Fact], today: date) -> None:
        self._facts = facts
        self._today = today
        self.recheck: date | None = None

    @property
    def today(self) -> date:
        """The day. A subject whose flow asks for it is looked at again every day: ask `has_come` where that is enough."""
        self._another_answer_on(self._today + timedelta(days=1))
        return self._today

    def has_come(self, day: date) -> bool:
        """Tell whether it is that day, or a later one. If not, the subject is looked at again on that day."""
        if day > self._today:
            self._another_answer_on(day)
        return day <= self._today

    def _another_answer_on(self, day: date) -> None:
        if self.recheck is None or day < self.recheck:
            self.recheck = day

    @cached_property
    def _entities(self) -> list[Entity]:
        return [ENTITIES[fact.entity].from_bytes(fact.data) for fact in self._facts]

    @cached_property
    def _by_type(self) -> dict[type[Entity], list[Any]]:
        """The entities of each type and of each type that it is derived from, in key order."""
        found: dict[type[Entity], list[Any]] = {}
        for entity in sorted(self._entities, key=attrgetter("key")):
            for kind in type(entity).__mro__:
                found.setdefault(kind, []).append(entity)
        return found

    def all(self, kind: type[E]) -> Sequence[E]:
        """Every entity of a kind, in key order."""
        return self._by_type.get(kind, ())

    def one(self, kind: type[E]) -> E | None:
        """The only entity of a kind, None where there is none."""
        return next(iter(self.all(kind)), None)

    def __iter__(self) -> Iterator[Entity]:
        return iter(self._entities)

    def version(self, entity: Entity) -> int:
        """The version of the fact that an entity was read from."""
        return next(fact.version for fact in self._facts if fact.key == entity.key)


@dataclass(frozen=True, slots=True)
class Document:
    """
    A document says what a target should hold for one subject.

    `number` is how the target knows it (a child's id, a vendor's number). `refers` names fields of the body whose value
    is the target's own id of another subject: the runtime fills them in, and holds the document back until it can.
    """

    kind: str
    number: str
    body: Body
    refers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Nothing:
    """The target should hold nothing for a subject. The reason is for whoever asks why; it holds no value of the facts."""

    reason: str


class Named(Protocol):
    """An event or a fact: it says which record it is of, and to which record that one belongs."""

    @property
    def key(self) -> str: ...

    @property
    def owner(self) -> str: ...


class Grouping(Enum):
    """
    Decides which subject an event or a fact belongs to. The value is the attribute that names the subject; the state keeps
    facts with a column of the same name.
    """

    OWNER = "owner"
    """A subject is an owner with all that it owns: a child with its episodes and plans."""
    KEY = "key"
    """Every entity is a subject of its own: a supplier, an invoice."""

    def subject_of(self, named: Named) -> str:
        """The subject that an event or a fact belongs to."""
        return str(getattr(named, self.value))

    @classmethod
    def subjects_of(cls, named: Named) -> set[str]:
        """The subjects that it belongs to in any flow."""
        return {grouping.subject_of(named) for grouping in cls}


class Urgency(IntEnum):
    """An urgency says which subjects a target's budget serves first; smaller goes first."""

    SAFEGUARDING = 0
    USUAL = 5
    TIDY_UP = 9


class Flow(Protocol):
    """
    The desired state of one target, worked out from facts alone: no clock but the facts' day, no network, no memory.

    `entities` are the facts that it looks at, `settings` the settings that `desired` depends on, as JSON values in a fixed
    order. It may be asked at any time, any number of times, in any order. When its code, its entities' code or these settings
    change, all subjects are looked at again; the runtime notices that by itself.
    """

    name: str
    entities: tuple[type[Entity], ...]
    grouping: Grouping
    settings: Mapping[str, Any]

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        """
        Return what the target should hold for the subject; `Nothing` and why, or None where there are no facts (any more).

        :raises RefusedError: the facts contradict what the target can ever hold; the subject is parked with the reason.
        """

    def urgency(self, entity: str) -> Urgency:
        """Tell how urgent a change of this entity type is."""


@runtime_checkable
class Recalls(Protocol):
    """
    A flow whose target can be read back may also say (besides `Flow`) how the target would know an entity, by its
    key and its owner alone.

    It is asked where the state was lost: what had reached the target by then, and a deletion perhaps not, it alone knows.
    """

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        """Documents, without bodies, under whose numbers the target may hold it; none where the key does not tell."""
        ...


@runtime_checkable
class Distinct(Protocol):
    """A flow may also say (besides `Flow`) that no two subjects have documents of one name: its numbers follow from keys."""

    distinct: Literal[True]


@dataclass(frozen=True, slots=True)
class Write:
    """
    One subject to bring into agreement.

    `document` None: the target shall hold nothing. `confirmed` is the last confirmed document (None: the target is not known
    to hold one). `doubtful` lists all documents that were sent since without an answer: the target may hold any of them
    instead. `ref` and `tag` are the target's own id and concurrency tag, as last confirmed; `refs` are the ids of the
    subjects that the document refers to. `late`: an earlier request was in doubt and reading back did not show it, so a
    request of a worker that has lost the subject may still arrive. A target that does not refuse a second create then looks
    for it once more after its own create.
    """

    subject: str
    document: Document | None
    confirmed: Document | None = None
    doubtful: tuple[Document, ...] = ()
    ref: str | None = None
    tag: str | None = None
    refs: Mapping[str, str] = field(default_factory=dict)
    late: bool = False


@dataclass(frozen=True, slots=True)
class Confirmed:
    """
    The target holds the document. `ref` is its own id for it, `tag` its concurrency tag where it has one. `body` is what its
    answer shows of the document, cut down like `Held.body`, and what the target added to it; None where it shows nothing.

    The runtime compares `body` with what was sent. What the target changed is written once more, and said in the record's story.
    """

    ref: str
    tag: str | None = None
    body: Body | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The target will never take this document: park it. The reason names a field and a rule, never a value."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """
    The target turned it away for now, or so it says: it may be asked again after so long, where it said; else the runtime
    backs off. A gateway may answer 503 or 429 for a request that was done, so what was sent stays in doubt.
    """

    reason: str
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NotDone(Unavailable):
    """It is certain that nothing was done: no request left that changes anything. So nothing is in doubt."""


LONGEST_SILENCE = timedelta(minutes=15)
"""
The longest wait that a target may ask for; after it the target is asked again. A Retry-After of hours is nearly always a mistake.
"""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer was lost: it may or may not have been done. Read back before writing again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The document refers to a subject that the target does not hold yet."""

    on: str


Outcome = Confirmed | Refused | Unavailable | Unknown | Waiting


@dataclass(frozen=True, slots=True)
class Held:
    """Read back: what the target holds for a subject, cut down to the fields that the document speaks of."""

    body: Body
    ref: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """Read back: the target holds nothing for the subject."""


@dataclass(frozen=True, slots=True)
class Untold:
    """The target cannot say what it holds, now or ever: the document is written again, whole."""

    reason: str


ReadBack = Held | Absent | Untold


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The target's limits: subjects a write, writes at once, and requests in a window of so many seconds.

    For `settles` after a request, the target may still answer a question as if the request had not been: some cloud systems
    are consistent only after a while. Until then the runtime does not trust an answer of "absent" or of a former content.
    """

    batch: int = 100
    concurrency: int = 4
    requests: int = 6000
    window: float = 300.0
    settles: timedelta = timedelta(0)


class Target(Protocol):
    """
    A cloud system, spoken to in its own words. A target only translates: documents to requests, answers to outcomes.

    Retries, budgets, order and the ledger belong to the runtime. A target never sleeps and never repeats a request, and it
    raises only `MisconfiguredError` (a credential, an address: nothing will work until a person acts). It sends everything
    through the means that it asked for when it was built (`flows.kit.resources`). They keep the budget and the trace. Once the
    worker's claim has run out, they send no request any more that changes something; such a request counts as `NotDone`,
    like every request that was never sent.

    Several flows may write to one target. Its limits, its connections and its silence are then theirs together, and it is asked
    once what it needs (`check`). Each document has one flow: kind and number, with the ids that it refers to, belong to the flow
    that wrote it first, for as long as the target holds it. A subject of another flow that comes to the same document is parked,
    with that flow's name in the reason, before anything of it is sent. A document refers to subjects of its own flow only.

    Of two subjects of one flow the second is parked, too, until one of them goes.

    A record may come back under another key. If a target finds the former subject's document by its number and confirms it for
    the new subject (same kind, number and `ref`), the former subject is let go without a request.

    If the cloud system offers an idempotency key, or refuses a second document of one number, the target's creates use that.
    It covers the last case: a request that is still on its way while its worker stands still.
    """

    name: str
    limits: Limits

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        """Write at most `limits.batch` subjects; one outcome each, in the same order."""

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        """Return what the target holds for these subjects, in the same order."""

    async def check(self) -> Sequence[Finding]:
        """Look at address, credentials and permissions, changing nothing. It is asked once, however many flows write there."""


@runtime_checkable
class Columns(Protocol):
    """A target may also tell (besides `Target`) which fields its documents have: a flow's settings are held against them."""

    async def columns(self, kind: str) -> Collection[str] | None:
        """The fields of a kind, nested ones as `address.city`; None if the target takes no such documents."""
        ...


@dataclass(frozen=True, slots=True)
class Holding:
    """
    One thing that a target holds, whoever made it. `ref` is the target's own id for it; `refers` names fields whose value
    is the id of another thing there, as in `Document`. `shown` is the target's own affair.
    """

    kind: str
    number: str
    ref: str
    refers: Mapping[str, str]
    shown: Any


@runtime_checkable
class Inventory(Protocol):
    """
    A target may also give (besides `Target`) a list of all that it holds. Without it nobody can say that the target
    holds something that it should not, and `reconcile` says so.
    """

    def holdings(self) -> AsyncIterator[Sequence[Holding]]:
        """
        Everything of the kinds that the flow writes, some at a time; changes nothing.

        :raises UnavailableError: the target does not answer; nothing is known then.
        """
        ...

    def told(self, holding: Holding, write: Write) -> Held:
        """The same that `read_back` would say of it for this write. Asks nobody."""
        ...
