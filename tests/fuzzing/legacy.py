"""A legacy system that changes while it is read, and remembers which row was where at which time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from adapters.port import Extract, Files, Page, Position, Record, Stream, Sweep, Tail
from canonical import CareEpisode
from canonical.entity import Entity
from canonical.errors import BadRecordError
from canonical.finding import Finding
from canonical.key import key_of
from tests.fuzzing.chaos import Chaos

NEEDS = ("N1", "N2", "N3", "N4")
STEP = 10  # between the places of two neighbours, so that a second row of a number can stand anywhere
STREAMS = 2


class Row(NamedTuple):
    """A row: its child and its need. A row without a need cannot be mapped. `changed` is its change column."""

    number: int
    child: int
    need: str
    changed: int = 0


Content = tuple[int, str]


@dataclass
class Legacy:
    """
    Tables of rows by place (or files of rows by name), and a history: during which ticks which place held which number.

    `tick` counts everything that happens, so that two moments can be compared.
    """

    name: str = "legacy"
    reading: str = "sweep"
    overlap: int = 8
    streams: int = 1
    rows: dict[int, Row] = field(default_factory=dict)
    files: dict[str, list[Row] | None] = field(default_factory=dict)
    tick: int = 0
    edition: int = 1
    since: dict[Any, int] = field(default_factory=dict)  # (place or file, number): the tick since which it is there
    absences: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def now(self) -> int:
        self.tick += 1
        return self.tick

    # -- changes ------------------------------------------------------------------------------------------------

    def put(self, place: int, row: Row) -> None:
        had = self.rows.get(place)
        if had is not None and had.number != row.number:
            self.take(place)
        self.rows[place] = row
        self.since.setdefault((place, row.number), self.now())

    def take(self, place: int) -> None:
        row = self.rows.pop(place)
        del self.since[place, row.number]
        self.now()

    def renumber(self, chosen: Callable[[Row], bool], by: int, stamp: int) -> int:
        """Give rows other numbers, with all that they say; a row stays where another one is in its way. Returns how many."""
        moved = 0
        for place, row in sorted(self.rows.items(), reverse=by > 0):
            there = place + by * STEP
            if min(row.number + by, there) >= 0 and there not in self.rows and chosen(row):
                self.take(place)
                self.put(there, row._replace(number=row.number + by, changed=stamp or row.changed))
                moved += 1
        return moved

    def lay(self, name: str, rows: list[Row] | None) -> None:
        """A new extract of a name; None: it is torn."""
        self.files[name] = rows
        tick = self.now()
        if rows is not None:
            there = {row.number for row in rows}
            for place, number in list(self.since):
                if place == name and number not in there:
                    del self.since[name, number]
            for number in there:
                self.since.setdefault((name, number), tick)

    def throughout(self, number: int, tick: int) -> bool:
        """Whether one place has held this number from a tick on until now."""
        return any(n == number and at <= tick for (_, n), at in self.since.items())

    # -- what should come of it ------------------------------------------------------------------------------------

    def key(self, number: int) -> str:
        return key_of(self.name, "care-episode", number)

    def owner(self, child: int) -> str:
        return key_of(self.name, "person", child)

    def stream_of(self, number: int) -> str:
        return f"episodes{number % self.streams}"

    def entity(self, row: Sequence[Any]) -> CareEpisode:
        number, child, need = row[:3]
        if self.edition > 1 and need and number % 3 == 0:
            need = NEEDS[(NEEDS.index(need) + self.edition) % len(NEEDS)]  # the new mapping reads some rows in another way
        return CareEpisode(key=self.key(number), person=self.owner(child), primary_need=need)

    def standing(self) -> dict[int, list[Row]]:
        """The rows of each number, the one that counts first; of several files the last one counts."""
        found: dict[int, list[Row]] = {}
        for _, row in sorted(self.rows.items()):
            found.setdefault(row.number, []).append(row)
        for _, rows in sorted(self.files.items()):
            here: dict[int, list[Row]] = {}
            for row in rows or ():
                here.setdefault(row.number, []).append(row)
            found |= here
        return found

    def wanted(self) -> dict[str, bytes]:
        """The records that should be published, by key, except those whose first row is bad."""
        return {
            self.key(number): self.entity(rows[0]).to_bytes()
            for number, rows in self.standing().items()
            if rows[0].need
        }

    def problems(self) -> set[str]:
        """The keys of the records that should be in quarantine."""
        standing = self.standing().items()
        bad = {self.key(number) for number, rows in standing if not rows[0].need}
        return bad | {f"{self.key(number)}#again" for number, rows in standing if len(rows) > 1}


class Reader:
    """One process's adapter to the legacy system. A page is what a SELECT behind the last row gives at that moment."""

    def __init__(self, legacy: Legacy, chaos: Chaos, page: int, lasting: bool = False) -> None:
        self.name = legacy.name
        self._legacy = legacy
        self._chaos = chaos
        self._page = page
        self._lasting = frozenset(["care-episode"]) if lasting else frozenset()
        self.passed: dict[str, set[str]] = {}  # the keys that the running pass of a sweep has read
        self.yielded: dict[str, int] = {}  # when a key was last read
        self.began: dict[str, int] = {}  # when the last sweep from the start began

    def streams(self) -> Sequence[Stream]:
        return [self._stream(n) for n in range(self._legacy.streams)]

    def _stream(self, number: int) -> Stream:
        name = f"episodes{number}"

        def swept(after: Position | None) -> AsyncIterator[Page]:
            return self._swept(name, after)

        def tailed(since: Position | None) -> AsyncIterator[Page]:
            return self._tailed(name, since)

        sweep = Sweep(swept)
        reading: Sweep | Tail | Files = sweep
        if self._legacy.reading == "tail":
            reading = Tail(tailed, sweep, timedelta(hours=12))
        elif self._legacy.reading == "files":
            reading = Files(lambda: self._extracts(name))
        return Stream(name, (CareEpisode,), self._map, reading, lasting=self._lasting)

    async def open(self) -> None:
        await self._chaos.point("connect")

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return []

    def _map(self, row: Any) -> Entity:
        return self._legacy.entity(row)

    def _record(self, row: Row, position: Position, stream: str = "") -> Record:
        key = self._legacy.key(row.number)
        self.yielded[key] = self._legacy.tick
        if stream:
            self.passed[stream].add(key)
        return Record(key, position, (row.number, row.child, row.need))

    def _mine(self, stream: str) -> list[tuple[int, Row]]:
        held = self._legacy.rows.items()
        return sorted((place, row) for place, row in held if self._legacy.stream_of(row.number) == stream)

    async def _swept(self, stream: str, after: Position | None) -> AsyncIterator[Page]:
        self.passed[stream] = set()
        if after is None:
            self.began[stream] = self._legacy.now()
        at = -1 if after is None else int(after[0])
        while True:
            await self._chaos.point("before a page")
            page = [(place, row) for place, row in self._mine(stream) if place > at][: self._page]
            if not page:
                return
            self._legacy.now()
            at = page[-1][0]
            yield Page([self._record(row, (place,), stream) for place, row in page], (at,))
            await self._chaos.point("after a page")

    async def _tailed(self, stream: str, since: Position | None) -> AsyncIterator[Page]:
        cursor = (-1, -1) if since is None else (int(since[0]), int(since[1]))
        behind = (-1, -1) if since is None else (cursor[0] - self._legacy.overlap, -1)
        while True:
            await self._chaos.point("before a page")
            rows = sorted((row.changed, place, row) for place, row in self._mine(stream))
            page = [each for each in rows if each[:2] > behind][: self._page]
            if not page:
                return
            self._legacy.now()
            behind = page[-1][:2]
            cursor = max(cursor, behind)
            yield Page([self._record(row, (at, place)) for at, place, row in page], cursor)
            await self._chaos.point("after a page")

    async def _extracts(self, stream: str) -> AsyncIterator[Extract]:
        self.began[stream] = self._legacy.now()
        for name in [n for n in sorted(self._legacy.files) if self._legacy.stream_of(int(n[1:])) == stream]:
            await self._chaos.point("before a file")
            if name not in self._legacy.files:
                continue
            rows = self._legacy.files[name]
            self._legacy.now()
            yield self._extract(name, rows)
            await self._chaos.point("after a file")

    def _extract(self, name: str, rows: list[Row] | None) -> Extract:
        async def read() -> AsyncIterator[Sequence[Record]]:
            await self._chaos.point("a file is read")
            if rows is None:
                raise BadRecordError(f"{self.name} {name}", field="file", rule="is torn", shape="bytes")
            for first in range(0, len(rows), self._page):
                yield [self._record(row, (at,)) for at, row in enumerate(rows[first : first + self._page], first)]
                await self._chaos.point("between two portions")

        return Extract(name, repr(rows), read)


# -- how it changes -------------------------------------------------------------------------------------------------


@dataclass
class Life:
    """The things that happen to a legacy system by itself. `bad` and `twins` are how often a row is bad, or a second one."""

    legacy: Legacy
    bad: float = 0.05
    twins: float = 0.0
    forgets: float = 0.2  # that a change leaves the change column as it is
    shared: bool = False  # files hold rows of the same numbers
    children: int = 4
    span: int = 60  # how many numbers there are at first

    def change(self, random: Random) -> str:
        """Change one row, or a few, at random; returns a text for the story."""
        if self.legacy.reading == "files":
            return self._file(random)
        kind = random.choices(["insert", "delete", "update", "append", "move", "twin"], [3, 3, 4, 1, 1, self.twins])[0]
        places = sorted(self.legacy.rows)
        if kind == "append" or not places:
            return self._append(random, random.choice([1, 1, 2, 5, 12]))
        place = random.choice(places)
        if random.random() < 0.15:
            place = places[-1]
        row = self.legacy.rows[place]
        match kind:
            case "delete":
                self.legacy.take(place)
            case "update":
                self.legacy.put(place, self._row(random, row.number, row))
            case "insert":
                number = random.randrange(self.span)
                self.legacy.put(number * STEP, self._row(random, number))
                return f"{number} is put"
            case "move":
                self.legacy.put(place, row._replace(child=random.randrange(self.children), changed=self._stamp(random)))
            case "twin":
                self.legacy.put(random.randrange(self.span) * STEP + 5, self._row(random, row.number))
        return f"{kind} {row.number}"

    def renumber(self, random: Random) -> str:
        """Number all rows anew, or half of them: with numbers that nobody had, with some that others had, or as before."""
        share, by = random.choice([1, 1, 0.5]), 6 * random.choice([1, 10, 100, 100, -10, -100])
        moved = self.legacy.renumber(lambda _: random.random() < share, by, random.choice([0, self._stamp(random)]))
        return f"{moved} rows have other numbers, by {by}"

    def begin(self, random: Random) -> None:
        if self.legacy.reading == "files":
            for _ in range(random.randint(1, 4)):
                self._file(random)
            return
        for number in range(self.span):
            if random.random() < 0.7:
                self.legacy.put(number * STEP, self._row(random, number))

    def mend(self) -> None:
        """Send every torn file again, whole."""
        for name, rows in list(self.legacy.files.items()):
            if rows is None:
                self.legacy.lay(name, [])

    def _append(self, random: Random, how_many: int) -> str:
        last = max([*self.legacy.rows, 0]) // STEP
        for number in range(last + 1, last + 1 + how_many):
            self.legacy.put(number * STEP, self._row(random, number))
        self.span = max(self.span, last + how_many + 1)
        return f"append {how_many}"

    def _stamp(self, random: Random) -> int:
        stamp = self.legacy.tick + 1
        return stamp - random.randrange(self.legacy.overlap // 2) if random.random() < 0.3 else stamp

    def _row(self, random: Random, number: int, had: Row | None = None) -> Row:
        child = had.child if had and random.random() < 0.8 else random.randrange(self.children)
        need = "" if random.random() < self.bad else random.choice(NEEDS)
        changed = had.changed if had and random.random() < self.forgets else self._stamp(random)
        return Row(number, child, need, changed)

    def _file(self, random: Random) -> str:
        number = random.randrange(5)
        name = f"f{number}"
        had = self.legacy.files.get(name)
        if random.random() < 0.05 and name in self.legacy.files:
            self.legacy.lay(name, None)
            return f"{name} is torn"
        rows = {row.number: row for row in had or ()}
        base = 1000 * STREAMS if self.shared else number + 1000 * (number + 1) * STREAMS
        if random.random() < 0.15:
            rows = dict(list(rows.items())[: random.randrange(len(rows) + 1)])
        for _ in range(random.choice([1, 1, 3, 15])):
            one = base - base % STREAMS + number % STREAMS + STREAMS * random.randrange(30)
            if random.random() < 0.3:
                rows.pop(one, None)
            else:
                rows[one] = self._row(random, one, rows.get(one))._replace(changed=0)
        lying = list(rows.values())
        if lying and random.random() < self.twins / 3:
            lying.append(self._row(random, random.choice(lying).number)._replace(changed=0))
        self.legacy.lay(name, lying)
        return f"{name} is laid anew"
