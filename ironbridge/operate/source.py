"""
Looks at a legacy system through its adapter, without the state and without Kafka. `tried` shows what a few rows become, and
`profiled` tells what all of them hold. Both write and publish nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic_core import from_json

from adapters.engine.catchup import closing
from adapters.engine.connection import Connection
from adapters.engine.mapping import Made, mapped_or_bad
from adapters.kit.rows import Field, fields_of
from adapters.kit.typed import Mapped
from adapters.port import Adapter, Files, Push, Record, Row, Stream, Sweep, Tail
from canonical.errors import BadRecordError

MANY = 10_000
"""Distinct values of a column are counted up to so many."""


class Cell(NamedTuple):
    """A row holds this value as it was read. `name` is its column's name, or its place in the row if the column has none."""

    name: str
    value: Any


class TriedRow(NamedTuple):
    """
    A row of a stream as it was read, and the entity that is `made` of it, or the `fault` for which none is. `lacks` names the
    soft fields that the entity is published without. A file that cannot be read has a fault and no row.
    """

    stream: str
    key: str
    row: Sequence[Cell]
    made: Made | None
    fault: BadRecordError | None
    lacks: BadRecordError | None

    @property
    def fields(self) -> dict[str, Any]:
        """Return the entity's fields as they are published."""
        return {} if self.made is None else dict(from_json(self.made.data))


@dataclass
class ColumnProfile:
    """
    Counts the values of one column: `filled` is in how many rows it has one, `distinct` holds the hashes of different values, of
    `MANY` and one at most.
    """

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
    Counts what the rows of a stream hold, column by column, and what they become. `rows` were read, and `records` were made of
    them. `fields` counts, by field of the canonical model, the records that have it. `faults` counts, by field and rule, the rows
    and files that broke the rule: they became no record, or a record without that field.
    """

    stream: str
    rows: int = 0
    records: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    fields: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, tried: TriedRow) -> None:
        for error in (tried.fault, tried.lacks):
            if error is not None:
                self.faults[error.field, error.rule] += 1
        if not tried.row:
            return  # a file
        self.rows += 1
        self.records += tried.made is not None
        for name, value in tried.row:
            self.columns.setdefault(name, ColumnProfile(name)).add(value)
        self.fields.update(name for name, value in tried.fields.items() if value not in (None, [], ""))


async def tried(adapter: Adapter, stream: Stream, rows: int) -> list[TriedRow]:
    """
    Read the first rows of a stream, of files the newest one's, and map them.

    :raises IronbridgeError: the system cannot be read; whatever its adapter raises becomes one of these.
    """
    found: list[TriedRow] = []
    async with _read(adapter, stream) as all_rows:
        async for each in all_rows:
            found.append(each)
            if len(found) == rows:
                break
    return found


async def profiled(adapter: Adapter, stream: Stream, step: Callable[[], None] = lambda: None) -> StreamProfile:
    """
    Read all rows of a stream, and count what they hold. `step` is called after each row.

    :raises IronbridgeError: the system cannot be read; whatever its adapter raises becomes one of these.
    """
    profile = StreamProfile(stream.name)
    async with _read(adapter, stream) as all_rows:
        async for each in all_rows:
            profile.add(each)
            step()
    return profile


@asynccontextmanager
async def _read(adapter: Adapter, stream: Stream) -> AsyncIterator[AsyncIterator[TriedRow]]:
    """Connect to the system, and read a stream as the engine would: with its pauses, and any error as one of ours."""
    system = Connection(adapter)
    try:
        await system.ready()
        async with closing(stream.read_by(_Rows(system))) as rows, closing(_mapped(adapter, stream, rows)) as made:
            yield made
    finally:
        await system.close()


async def _mapped(
    adapter: Adapter, stream: Stream, rows: AsyncIterator[Record | BadRecordError]
) -> AsyncIterator[TriedRow]:
    async for each in rows:
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
    """Gives the rows of any reading from its start. Instead of a file that cannot be read it gives the error."""

    def __init__(self, system: Connection) -> None:
        self._system = system

    async def sweep(self, stream: Stream, reading: Sweep) -> AsyncIterator[Record | BadRecordError]:
        async with closing(self._system.items(reading.pages(None), stream.pause)) as pages:
            async for page in pages:
                for record in page.records:
                    yield record

    def tail(self, stream: Stream, reading: Tail) -> AsyncIterator[Record | BadRecordError]:
        return self.sweep(stream, reading.sweep)

    async def files(self, stream: Stream, reading: Files) -> AsyncIterator[Record | BadRecordError]:
        extracts = [extract async for extract in self._system.items(reading.extracts(), timedelta(0))]
        for extract in reversed(extracts):
            try:
                async with closing(self._system.items(extract.portions(), stream.pause)) as portions:
                    async for portion in portions:
                        for record in portion:
                            yield record
            except BadRecordError as error:
                yield error

    async def push(self, stream: Stream, reading: Push) -> AsyncIterator[Record | BadRecordError]:
        for record in list[Record]():  # what a system sends is not asked for: it would count as taken
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
