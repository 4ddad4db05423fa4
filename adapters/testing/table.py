"""A small legacy system, shipped for tests: a dictionary that is read in any way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import NamedTuple

from adapters.port import Extract, Files, Page, Position, Record, Row, Stream, Sweep, Tail
from canonical import CareEpisode, Entity
from canonical.errors import BadRecordError, UnavailableError
from canonical.finding import Finding
from canonical.key import key_of


class Line(NamedTuple):
    """A record of a `TableAdapter`'s system. An empty `need` cannot be mapped; `changed` is its change column."""

    child: int
    need: str
    changed: int = 0


def _as_it_is(row: Row) -> Row:
    return row


class TableAdapter:
    """
    A legacy system that is a dictionary: `lines` by number, or `files` of (number, line).

    After `fails_after` lines it stops answering. `doubles` are second lines of a number. `overlap` is how far below the
    cursor the tail reads again. `asked` counts the lines that were read. `reinterpret` is what a new mapping makes
    of a row.
    """

    def __init__(self, name: str = "legacy", reading: str = "sweep", page: int = 50, overlap: int = 0) -> None:
        self.name = name
        self.lines: dict[int, Line] = {}
        self.doubles: dict[int, Line] = {}
        self.files: dict[str, list[tuple[int, Line]] | None] = {}
        self.asked = 0
        self.opened = 0
        self.fails_after: int | None = None
        self.reinterpret: Callable[[Row], Row] = _as_it_is
        self._page = page
        self._overlap = overlap
        self._reading = reading

    def streams(self) -> Sequence[Stream]:
        sweep = Sweep(self._swept)
        readings: dict[str, Sweep | Tail | Files] = {
            "sweep": sweep,
            "tail": Tail(self._tailed, sweep),
            "files": Files(self._extracts),
        }
        return [Stream("episodes", (CareEpisode,), self.map, readings[self._reading])]

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return [Finding("a dictionary", True)]

    def key(self, number: int) -> str:
        return key_of(self.name, "care-episode", number)

    def map(self, row: Row) -> Entity:
        number, child, need = self.reinterpret(row)
        return CareEpisode(key=self.key(number), person=key_of(self.name, "person", child), primary_need=need)

    def state(self) -> dict[str, bytes]:
        """Return what should be published, by key."""
        held = dict(self.lines)
        for lines in self.files.values():
            held.update(lines or [])
        return {self.key(n): self.map((n, *line[:2])).to_bytes() for n, line in held.items() if line.need}

    def record(self, number: int, line: Line, position: Position | None = None) -> Record:
        self.asked += 1
        if self.fails_after is not None and self.asked > self.fails_after:
            raise UnavailableError(self.name, "does not answer")
        return Record(self.key(number), position or (number,), (number, line.child, line.need))

    async def _swept(self, after: Position | None) -> AsyncIterator[Page]:
        lines = sorted([*self.lines.items(), *self.doubles.items()])
        records = (self.record(n, line) for n, line in lines if after is None or (n,) > after)
        for page in _pages(records, self._page):
            yield Page(page, page[-1].position)

    async def _tailed(self, since: Position | None) -> AsyncIterator[Page]:
        latest = tuple(since or (-1, -1))
        low = int(latest[0]) - self._overlap
        by_change = sorted((line.changed, n, line) for n, line in [*self.lines.items(), *self.doubles.items()])
        records = (self.record(n, line, (at, n)) for at, n, line in by_change if at >= low or since is None)
        for page in _pages(records, self._page):
            latest = max(latest, tuple(page[-1].position))
            yield Page(page, latest)

    async def _extracts(self) -> AsyncIterator[Extract]:
        for name, lines in list(self.files.items()):

            async def portions(
                name: str = name, lines: list[tuple[int, Line]] | None = lines
            ) -> AsyncIterator[Sequence[Record]]:
                if lines is None:
                    raise BadRecordError(f"{self.name} {name}", field="file", rule="is torn", shape="bytes")
                for page in _pages((self.record(n, line) for n, line in lines), self._page):
                    yield page

            yield Extract(name, repr(lines), portions)


def _pages(records: Iterable[Record], size: int) -> Iterable[list[Record]]:
    page: list[Record] = []
    for record in records:
        page.append(record)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
