"""An adapter promises this: a legacy system, read as canonical entities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel

from canonical.entity import Entity
from canonical.errors import BadRecordError
from canonical.finding import Finding

S = TypeVar("S", bound=BaseModel)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Position = tuple[int | str, ...]
"""Where a record stands in its stream's order; JSON can hold it."""

Row = tuple[Any, ...]
"""The values of a record exactly as read, in a fixed order; joined rows nest as tuples. Its `repr` is its content."""


class UnreadRow(tuple[Any, ...]):
    """
    A row of which something cannot be read: it is never mapped, and quarantined under its key with `field` and `rule`.
    Its values are the ones that can be read.
    """

    field: str
    rule: str

    @classmethod
    def of(cls, values: Iterable[Any], field: str, rule: str) -> UnreadRow:
        made = cls(values)
        made.field, made.rule = field, rule
        return made


class PurgedRow(tuple[Any, ...]):
    """The key of a row of which its system has kept no more: its record stays as it was last told, and is not deleted."""


class Record(NamedTuple):
    """
    One record as the legacy system holds it, not yet mapped.

    `key` is the canonical key of the entity that it becomes. Two reads of an unchanged record give equal rows.
    """

    key: str
    position: Position
    row: Row


class Page(NamedTuple):
    """Some records in the stream's order; `cursor` is where the next page begins once this one is safe."""

    records: Sequence[Record]
    cursor: Position


class ExtractReport(NamedTuple):
    """
    An adapter's report of an extract that it has read. `besides` counts what is in it besides good records, by kind: each kind
    is in words for people, without any personal value. `doubts` are about single rows, which are quarantined unless a person
    accepts them.
    """

    besides: Mapping[str, int] = MappingProxyType({})
    doubts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Extract:
    """
    A file that a legacy system left. The digest of its content tells whether it was read before.

    `name` is the extract's name. A corrected file has the name of the one that it corrects; records that it no longer holds
    are deleted, unless another extract that lies ready holds them.

    `portions` reads the file and gives its records some at a time, a thousand or so; the next portion is asked for while the
    last one is being published. It may be called again later. An adapter with small files may give one portion. If the file
    is not what it claims to be, `portions` raises `BadRecordError` before the first portion, because a file is published whole
    or not at all: so look through all of it first. The file is then quarantined, and the next one goes on. Do slow work in a
    thread or a process.

    If `portions` raises `DoubtfulError`, a person may accept that doubt for this content of the file. `despite` is `portions`
    with the doubts that a person has accepted. The `report` is asked for once the portions are read.
    """

    name: str
    digest: str
    portions: Callable[[], AsyncIterator[Sequence[Record]]]
    despite: Callable[[frozenset[str]], AsyncIterator[Sequence[Record]]] | None = None
    report: Callable[[], ExtractReport] = ExtractReport


@dataclass(frozen=True, slots=True)
class Sweep:
    """All keys in order, in pages, from behind a position (None: from the start) to the end. Finds every difference."""

    pages: Callable[[Position | None], AsyncIterator[Page]]
    listens: ClassVar[bool] = False

    def read_by(self, reader: Reader[T], stream: Stream) -> T:
        return reader.sweep(stream, self)


@dataclass(frozen=True, slots=True)
class Tail:
    """
    A tail reads the rows that a change column calls new since a cursor (None: all), from a little before it, for late commits.

    Row versions need no such margin: their cursor never goes beyond the lowest number of an open transaction (see
    `adapters.kit.sql_versions`). A change column never shows a delete and can be forgotten by a hand-written UPDATE: `sweep`
    runs behind it.
    """

    pages: Callable[[Position | None], AsyncIterator[Page]]
    sweep: Sweep
    sweep_every: timedelta = timedelta(hours=12)
    listens: ClassVar[bool] = False

    def read_by(self, reader: Reader[T], stream: Stream) -> T:
        return reader.tail(stream, self)


@dataclass(frozen=True, slots=True)
class Files:
    """
    The extracts that lie ready in a folder now, oldest first. A file still being written is not ready.

    All of them are asked for before the first is read. Where several hold a record the newest of them counts.
    """

    extracts: Callable[[], AsyncIterator[Extract]]
    listens: ClassVar[bool] = False

    def read_by(self, reader: Reader[T], stream: Stream) -> T:
        return reader.files(stream, self)


class Gone(NamedTuple):
    """The system says that a record was deleted. `position` is as in a pushed `Record`."""

    key: str
    position: Position = ()


class Offsets(NamedTuple):
    """
    These offsets say where a consumer group stands in topics of the Kafka that we publish to: (topic, partition) → the
    next offset.
    """

    group: str
    next: Mapping[tuple[str, int], int]


async def _no_answer(_: Collection[str]) -> None:
    """The source asks for no answer."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """
    Some records that the system sent, in its order; of several words on one key the last counts. It is published whole or not
    at all, so a few thousand records are enough.

    `answer` is called once their events are in Kafka and remembered: the system may then forget what it sent. It is given the
    keys of the records that cannot be mapped; these are in quarantine until the system sends them again, mended. `offsets` are
    committed in the transaction of the events, if the source is a topic of the Kafka that we publish to.
    """

    records: Sequence[Record | Gone]
    answer: Callable[[Collection[str]], Awaitable[None]] = _no_answer
    offsets: Offsets | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """
    The system sends its records by itself. Nothing of it is ever missing: a record is deleted if the system says so (`Gone`).

    `receive` gives the parcels that have come and were not answered, the oldest first. If none is there it waits a few
    seconds for one, and then ends; it is called again at once. When the next parcel is asked for, the last one is safe.

    A system may send a parcel again, or a part of it: what it says is compared with what was published. A record's `position`
    tells in which order the system changed it (a version, a sequence number, an offset; no personal data): what comes
    with a lower one than the last is a repetition, and says nothing. `()` where the system has no such order: then what it
    sends again late brings its old content back.
    """

    receive: Callable[[], AsyncIterator[Parcel]]
    listens: ClassVar[bool] = True

    def read_by(self, reader: Reader[T], stream: Stream) -> T:
        return reader.push(stream, self)


class Reader(Protocol[T_co]):
    """
    Whoever reads streams: the pump, `reconcile`, the suite. It has a method for each kind of reading, and a reading's `read_by`
    calls its own. An author needs nothing of it.
    """

    def sweep(self, stream: Stream, reading: Sweep, /) -> T_co: ...

    def tail(self, stream: Stream, reading: Tail, /) -> T_co: ...

    def files(self, stream: Stream, reading: Files, /) -> T_co: ...

    def push(self, stream: Stream, reading: Push, /) -> T_co: ...


class Softened(NamedTuple):
    """An entity without the soft fields whose values are at fault, and what is wrong with each."""

    entity: Entity
    left_out: Sequence[BadRecordError]


@dataclass(frozen=True, slots=True)
class Stream:
    """
    One kind of record of a legacy system.

    `map` turns a row into its entity; pydantic's `ValidationError` and `BadRecordError` quarantine that row alone. A bad row
    that may be one of two records is given for both, and `UntoldError` for the second one keeps that as it is. `map` is a
    function of a module. A setting that it needs is bound to it, `partial(tenant, codes=settings.codes)`: if a bound value
    changes, all rows of the adapter are mapped again. Bind no more than it needs.
    `softly` maps a row that `map` refuses, without the fields that its author calls soft; None if that does not help.
    `every` is how often it is looked at, and so how fresh the platform's view of it is (what is pushed is listened to all the
    time); `pause` is what the pump waits between two pages, to spare the system. A record of a type in `lasting`
    that is missing from a reading says nothing (a payments extract names only who was paid); one of any other type
    that is missing was deleted.
    """

    name: str
    entities: tuple[type[Entity], ...]
    map: Callable[[Row], Entity]
    reading: Sweep | Tail | Files | Push
    every: timedelta = timedelta(minutes=5)
    lasting: frozenset[str] = field(default_factory=frozenset)
    pause: timedelta = timedelta(0)
    softly: Callable[[Row], Softened | None] | None = None

    @property
    def rest(self) -> timedelta:
        """Tell how long after the beginning of one reading the next one begins, if it has ended by then."""
        return timedelta(0) if self.reading.listens else self.every

    def read_by(self, reader: Reader[T]) -> T:
        return self.reading.read_by(reader, self)


class Adapter(Protocol):
    """
    A legacy system, read as canonical entities.

    Asking for the next page of a tail, or for the next parcel, means the last one is safe in Kafka; sweeps and extracts are
    read ahead, which changes nothing in them. The pump reconnects, waits, retries and saves cursors; an adapter never
    sleeps, never retries, never writes to its system. Its driver's errors leave it as `UnavailableError` (try later),
    `MisconfiguredError` (a person must act) or `BadRecordError` (one row or file).
    """

    name: str

    def streams(self) -> Sequence[Stream]: ...

    async def open(self) -> None:
        """Connect. Called before anything is read, and again after an `UnavailableError` and a `close`."""

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        """Look at every table, column, folder and permission that the streams need, changing nothing."""
        ...


@dataclass(frozen=True, slots=True)
class World(Generic[S]):
    """
    Makes an invented system of a kind, and works in it: for the demonstration and for tests. It writes to nothing else.

    `section` is what a section of the settings says that reads a world below a folder, often and in small steps. `make` fills
    the system that such settings name with so many records, and leaves one that is there as it is; `change` does a day's work
    in it. Both say in sentences what they did, and the same seed makes the same. The size is counted in `unit`.
    `chart` holds the accounts and dimensions that its records name, for a cloud system that has to know them already.
    A world that is not `in_demonstration` is played there only if somebody asks for it: a council has one system of a sort,
    and the demonstration takes less than a minute.
    """

    unit: str
    size: int
    section: Callable[[Path], Mapping[str, Any]]
    make: Callable[[S, int, int], Awaitable[str]]
    change: Callable[[S, int], Awaitable[Sequence[str]]]
    chart: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    in_demonstration: bool = True


@dataclass(frozen=True, slots=True)
class AdapterSystem(Generic[S]):
    """
    An entry point in `ironbridge.adapters` names one of these: a kind of legacy system that a settings file can ask for.

    `settings` is a frozen pydantic model of its section in ironbridge.toml. `build` makes the adapter of a section; the
    section's name is the source in its keys. `package` is the adapter's own: its code decides when rows are mapped again, and
    its file `settings.sample.toml` is a commented section for `init`. `world` imports the kind's invented system, if there is
    one.
    """

    settings: type[S]
    build: Callable[[str, S], Adapter]
    package: str
    world: Callable[[], World[S]] | None = None

    @property
    def sample(self) -> str:
        return files(self.package).joinpath("settings.sample.toml").read_text("utf-8")
