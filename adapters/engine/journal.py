"""The pump needs two things from the runtime: a journal that it publishes to (Kafka) and a memory of what it published."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from adapters.port import Offsets
from canonical import Event
from canonical.errors import BadRecordError, printable

Partition = tuple[str, int]
"""A topic and a partition of it."""

Cursor = dict[str, Any]
"""Where a stream stands, as JSON. It lies in Kafka for people and tools: a reading goes on from the memory's `Progress`."""

TOMBSTONES = timedelta(days=30)
"""How long the journal keeps a tombstone at least: it must outlive the longest time that a subscriber is away."""

LARGEST_RECORD = 8 * 1024 * 1024
"""The bytes of the largest record that a topic of ours takes."""

LARGEST_EVENT = 4_000_000
"""The bytes of the data of the largest event, half of what the topics take: it is the same however well it is compressed."""

AGAIN = "#again"
"""Marks the problem of a second row with a key that was already seen."""

INCOMPLETE = "#incomplete"
"""Marks the problem of a record that is published without its soft fields whose values are at fault."""


def problem_keys(key: str) -> tuple[str, str, str]:
    """The keys under which a record may have a problem."""
    return key, key + AGAIN, key + INCOMPLETE


def record_key(key: str) -> str:
    """The key of the record that has the problem."""
    return key.removesuffix(AGAIN).removesuffix(INCOMPLETE)


class Place(NamedTuple):
    """A place says where an event lies in the journal."""

    topic: str
    partition: int
    offset: int


class Watermark(NamedTuple):
    """
    The adapter's newest event in a partition: `next` is the offset behind it (0: there is none), `last` says which it is.

    `since` and `first` are those of an older one where it has yet to be seen that this one lay in the log that the newest
    one was published to (0: the newest one is enough). If both lie where they lay, nothing was made anew or cut off.
    """

    next: int
    last: str
    since: int = 0
    first: str = ""


NOTHING = Watermark(0, "")


def named(event: Event) -> str:
    """The name of an event in a `Watermark`: its id and when it was observed, for one that is published again is another."""
    return f"{event.id} {event.time.timestamp():.6f}"


def marks(events: Iterable[Event], places: Iterable[Place]) -> dict[Partition, Watermark]:
    """The last of these events in each partition."""
    last = {place[:2]: (place.offset, event) for event, place in zip(events, places, strict=True)}
    return {partition: Watermark(offset + 1, named(event)) for partition, (offset, event) in last.items()}


@dataclass(slots=True)
class Known:
    """
    The memory keeps this of one record: the last event of its key and the row that it came from.

    `version` 0: never published (its row is quarantined). `region` None: not seen since it was last put in question;
    what a whole sweep leaves so is gone from the legacy system. A pushed record has the place of its last message instead (see
    `adapters.engine.regions`). `lost`: its last event is no longer in the journal, and the
    record is published again when it is read. `filled` says which of its fields held something when it was published,
    `former` what it held before, see `adapters.engine.guard`. `key` is its row's; `kept` is the one that it is published under
    where its row has been numbered anew since. A record that is not published and has a fingerprint is a stray, see
    `adapters.engine.numbers`.
    """

    key: str
    entity: str
    owner: str
    region: str | None
    row_digest: bytes | None
    fingerprint: bytes | None
    version: int
    deleted: bool = False
    lost: bool = False
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    filled: bytes | None = None
    former: bytes | None = None
    kept: str | None = None

    @property
    def name(self) -> str:
        """The key that its events have."""
        return self.kept or self.key

    @property
    def published(self) -> bool:
        """Tell whether it is published and not deleted."""
        return self.version > 0 and not self.deleted

    @property
    def stray(self) -> bool:
        """Tell whether its row waits for the reading's end, because it may be a known record under a new number."""
        return not self.published and self.fingerprint is not None


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A region of a stream: the digest of its rows when they were last compared, and the sweep that last saw it. Of an extract
    the sweep is negative if another extract holds some of its records, too.
    """

    digest: bytes | None
    sweep: int


@dataclass(frozen=True, slots=True)
class ExtractAccount:
    """
    Says what an extract held when it was last read: how many of its records are published and in order, how many are in
    quarantine, and what else is in it, counted by kind. A kind is in words for people, and holds no personal value. A file
    that is refused leaves the account of the one before it, whose records stay.
    """

    records: int = 0
    quarantined: int = 0
    besides: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that could not be mapped: its key, the field, the rule it broke, the value's shape. No value."""

    key: str
    field: str
    rule: str
    shape: str
    what: str

    @classmethod
    def of(cls, key: str, error: BadRecordError) -> Problem:
        return cls(key, printable(error.field), printable(error.rule), printable(error.shape), str(error))


@dataclass(frozen=True, slots=True)
class Progress:
    """
    The memory keeps this of a stream: how far it has been read.

    `sweep` counts whole readings from 1, `after` is where the running one stands (None: none runs). `started` says when it began;
    it is None if the last one left rows to the next one, which then has to say whether all were met. `held` counts deletions and
    changes that wait for a person, see `adapters.engine.guard`. Times are UTC.
    """

    sweep: int = 0
    after: tuple[int | str, ...] | None = None
    tail: tuple[int | str, ...] | None = None
    started: datetime | None = None
    completed: datetime | None = None
    read: int = 0
    published: int = 0
    held: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Guarded:
    """
    The guard counts here how much of one kind was taken away from a stream (or, with a `region`, from one extract)
    within a day.

    The day `began` with `base` records, and `done` of them were published since. `held` are not published: since `since`
    they wait for a person, who may let as many as `allowed` through; without `since` they were let through. `was` is
    what `allowed` was when this was read: a newer word of a person is not overwritten. Times are seconds since 1970.
    """

    region: str
    what: str
    began: float
    done: int = 0
    base: int = 0
    held: int = 0
    since: float | None = None
    allowed: int | None = None
    was: int | None = None


@dataclass(slots=True)
class Step:
    """
    A step holds all that one publication changes in the memory, and is saved in one transaction; `told` events are new.
    None for `progress` leaves it as it is. `accounts` are kept beside the regions of their extracts. `renamed` are keys that
    records had before they came under another key of `known`. Records of the adapter's other streams are mapped again if their
    version is at least `again`.

    `at` (UTC) is when the memory held all that the journal holds; None where it may not.
    """

    known: list[Known] = field(default_factory=list)
    regions: dict[str, Seen] = field(default_factory=dict)
    gone_regions: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    progress: Progress | None = None
    offsets: dict[Partition, Watermark] = field(default_factory=dict)
    told: int = 0
    guarded: list[Guarded] = field(default_factory=list)
    gone_offsets: list[Partition] = field(default_factory=list)
    at: datetime | None = None
    renamed: list[str] = field(default_factory=list)
    again: int | None = None
    accounts: dict[str, ExtractAccount] = field(default_factory=dict)


class Journal(Protocol):
    """
    Kafka, as one adapter sees it. Opening it fences off every older copy of the same adapter.

    `UnavailableError` from `publish` leaves open whether the events lie there: open the journal again and catch up.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def publish(
        self, events: Sequence[Event], cursor: tuple[str, Cursor] | None, offsets: Offsets | None = None
    ) -> list[Place]:
        """
        Publish all events and the stream's cursor and commit the source's offsets, or nothing; a place for each event, in order.

        :raises FencedError: a newer copy of this adapter has taken over.
        """
        ...

    def history(self, since: Mapping[Partition, int]) -> AsyncIterator[list[tuple[Event, Place]]]:
        """This adapter's committed events in these partitions, each from its offset to its end."""
        ...

    async def ends(self) -> dict[Partition, int]:
        """The offset behind the last record of every partition that the adapter may publish to."""
        ...

    async def lying(self, marks: Mapping[Partition, Watermark]) -> set[Partition]:
        """The partitions in which the event of a mark lies where the mark says."""
        ...

    def partition_of(self, owner: str) -> int:
        """The partition of an owner's events, in every topic."""
        ...

    def topic_of(self, entity: str) -> str:
        """The topic that an entity type is published to, or would be."""
        ...

    def largest(self, entity: str) -> int:
        """The bytes of data that an entity type's largest event may have: `LARGEST_EVENT`, or less if its topic takes less."""
        ...


class Memory(Protocol):
    """One adapter remembers here what it published: all of it can be rebuilt from the journal and the system."""

    async def claimed(self) -> int:
        """Tell how many copies of the adapter have claimed this memory so far."""
        ...

    async def claim(self, had: int) -> bool:
        """
        Make the memory this copy's own, unless another one has claimed it since `claimed` gave `had`.

        From then on `save` of every older copy raises FencedError: what such a copy was about to save when it was held
        up must not overwrite what this one learns.
        """
        ...

    async def current(self) -> bool:
        """Tell whether the memory holds all that this copy saved, and no newer copy has claimed it: a database may go back."""
        ...

    async def saved(self) -> datetime | None:
        """Tell when a step last said that the memory held all that the journal held (UTC)."""
        ...

    async def offsets(self) -> dict[Partition, Watermark]: ...

    async def progress(self, stream: str) -> Progress: ...

    async def regions(self, stream: str) -> dict[str, Seen]: ...

    async def members(self, stream: str, regions: Iterable[str]) -> list[Known]: ...

    async def members_after(self, stream: str, regions: Sequence[str], after: str, most: int) -> list[Known]:
        """Members in the order of their keys, from behind one, so many at most."""
        ...

    async def lookup(self, stream: str, keys: Sequence[str]) -> list[Known]:
        """Records whose rows have these keys, and records that are published under them."""
        ...

    async def missing_after(
        self, stream: str, sweep: int, lasting: Collection[str], after: str, most: int
    ) -> list[Known]:
        """The published records among those that `unseen` would give, in the order of their keys, from behind one."""
        ...

    async def strays(self, stream: str, fingerprints: Collection[bytes] | None, most: int) -> list[Known]:
        """
        Strays that a region holds, so many at most: all, or those with one of these contents. Those with the same content come in
        the order of their keys.
        """
        ...

    async def kept(self, keys: Collection[str]) -> Mapping[str, str]:
        """Return, for the keys among these that a row of any stream of the adapter was given anew, the ones kept instead."""
        ...

    async def published(self, keys: Collection[str]) -> set[str]:
        """Return those of these keys under which records of the adapter are published."""
        ...

    async def keeps(self) -> bool:
        """Tell whether any record of the adapter is published under another key than its row's."""
        ...

    async def quarantined(self, stream: str, keys: Sequence[str]) -> set[str]:
        """Tell which of these keys have a problem."""
        ...

    async def doubled(self, stream: str) -> set[str]:
        """The problems of second rows (`AGAIN`)."""
        ...

    async def live(self, stream: str) -> int:
        """Tell how many records are published and not deleted."""
        ...

    async def guarded(self, stream: str) -> list[Guarded]:
        """Return what the guard counts and holds."""
        ...

    async def filled(self, stream: str, region: str | None = None) -> Mapping[bytes | None, int]:
        """Tell how many living records of a stream, or of one of its regions, hold something in the same fields."""
        ...

    async def missing(self, stream: str, sweep: int, lasting: Collection[str]) -> int:
        """
        Tell how many of the records that `unseen` would give in all are published; the others are rows that were never
        good.
        """
        ...

    async def unseen(self, stream: str, sweep: int, lasting: Collection[str]) -> list[Known]:
        """Records, not deleted, that no region of this sweep holds, but for lasting types; some at a time."""
        ...

    def in_partition(self, partition: Partition) -> AsyncIterator[tuple[str, list[Known]]]:
        """Every record whose last event lies in a partition, some of one stream at a time."""
        ...

    async def save(self, stream: str, step: Step) -> None:
        """
        Save what a step taught, whole or not at all.

        :raises FencedError: a newer copy of this adapter has claimed the memory.
        :raises UnavailableError: the memory has gone back behind what this copy saved: claim it again and catch up.
        """
        ...
