"""
Looks at a legacy system through its adapter, without the state and without Kafka: what becomes of a few rows (`tried`), and what
all of them hold (`profiled`). Nothing is written, and nothing is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic_core import from_json

from adapters.engine.mapping import Made, mapped_or_bad
from adapters.kit.rows import Field, fields_of
from adapters.kit.typed import Mapped
from adapters.port import Adapter, Extract, Files, Push, Record, Row, Stream, Sweep, Tail
from canonical.errors import BadRecordError

MANY = 10_000
"""Distinct values of a column are counted up to so many."""


class Cell(NamedTuple):
    """One value of a row as it was read; `name` is its column's, or its place in the row where no column has a name."""

    name: str
    value: Any


class TriedRow(NamedTuple):
    """
    One record of a stream: its row as it was read, and what becomes of it. It is `made` into an entity, or has a `fault`; `lacks`
    says what it would be published without. A file that cannot be read has a fault and no row.
    """

    stream: str
    key: str
    row: Sequence[Cell]
    made: Made | None
    fault: BadRecordError | None
    lacks: BadRecordError | None

    @property
    def fields(self) -> dict[str, Any]:
        """The entity's fields, as they are published."""
        return {} if self.made is None else dict(from_json(self.made.data))


@dataclass
class ColumnProfile:
    """What the rows of a stream hold in one column: in how many it is `filled`, and its `distinct` values, up to `MANY`."""

    name: str
    filled: int = 0
    distinct: set[int] = field(default_factory=set, repr=False)

    def add(self, value: Any) -> None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return
        self.filled += 1
        if len(self.distinct) <= MANY:
            self.distinct.add(hash(repr(value)))


@dataclass
class StreamProfile:
    """
    What a stream's rows hold. `faults` counts, by field and rule, the rows that are published without a field or not at all;
    `bad` counts the latter. `fields` tells in how many entities each field of the canonical model is filled.
    """

    stream: str
    rows: int = 0
    bad: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    fields: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, tried: TriedRow) -> None:
        for error in (tried.fault, tried.lacks):
            if error is not None:
                self.faults[error.field, error.rule] += 1
        self.bad += tried.fault is not None
        if not tried.row:
            return  # a file
        self.rows += 1
        for name, value in tried.row:
            self.columns.setdefault(name, ColumnProfile(name)).add(value)
        self.fields.update(name for name, value in tried.fields.items() if value not in (None, [], ""))


async def tried(adapter: Adapter, stream: Stream, rows: int) -> AsyncIterator[TriedRow]:
    """Yield what becomes of the first rows of a stream; of files, of the newest one's."""
    left = rows
    async for each in _read(adapter, stream):
        if left <= 0:
            return
        left -= 1
        yield each


async def profiled(adapter: Adapter, stream: Stream, step: Callable[[], None] = lambda: None) -> StreamProfile:
    """Read all rows of a stream, and tell what they hold. `step` is called after each."""
    profile = StreamProfile(stream.name)
    async for each in _read(adapter, stream):
        profile.add(each)
        step()
    return profile


async def _read(adapter: Adapter, stream: Stream) -> AsyncIterator[TriedRow]:
    async for each in stream.read_by(_Rows()):
        if isinstance(each, BadRecordError):
            yield TriedRow(stream.name, each.where, (), None, each, None)
            continue
        cells = tuple(_cells(stream, each.row))
        try:
            made = mapped_or_bad(f"{adapter.name}.{stream.name} {each.key}", stream, each)
        except BadRecordError as error:
            yield TriedRow(stream.name, each.key, cells, None, error, None)
        else:
            yield TriedRow(stream.name, made.key, cells, made, None, made.left_out)


class _Rows:
    """Gives the rows of any reading from its start, and instead of a file that cannot be read what is wrong with it."""

    async def sweep(self, stream: Stream, reading: Sweep) -> AsyncIterator[Record | BadRecordError]:
        async for page in reading.pages(None):
            for record in page.records:
                yield record

    def tail(self, stream: Stream, reading: Tail) -> AsyncIterator[Record | BadRecordError]:
        return self.sweep(stream, reading.sweep)

    async def files(self, stream: Stream, reading: Files) -> AsyncIterator[Record | BadRecordError]:
        extracts = [extract async for extract in reading.extracts()]
        for extract in reversed(extracts):
            try:
                async for record in _of_file(extract):
                    yield record
            except BadRecordError as error:
                yield error

    async def push(self, stream: Stream, reading: Push) -> AsyncIterator[Record | BadRecordError]:
        for record in list[Record]():  # what a system sends is not asked for: it would count as taken
            yield record


async def _of_file(extract: Extract) -> AsyncIterator[Record]:
    async for portion in extract.portions():
        for record in portion:
            yield record


def _cells(stream: Stream, row: Row) -> Iterator[Cell]:
    mapped: Any = stream.map
    declared: Any = mapped.row if isinstance(mapped, Mapped) else None
    yield from _named(() if declared is None else fields_of(declared), row, "")


def _named(fields: Sequence[Field], row: Sequence[Any], before: str) -> Iterator[Cell]:
    for n, value in enumerate(row):
        its = fields[n] if n < len(fields) else None
        name = f"{before}{its.column if its else n + 1}"
        if isinstance(value, tuple):
            for m, part in enumerate(value, 1):
                nested = fields_of(its.part) if its and its.part else ()
                if isinstance(part, tuple):
                    yield from _named(nested, part, f"{name}[{m}].")
                else:
                    yield Cell(f"{name}[{m}]", part)
        else:
            yield Cell(name, value)
