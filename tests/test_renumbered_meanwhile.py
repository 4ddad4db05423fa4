"""A warehouse numbers its rows anew while they are read, or while a reading of them is stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from random import Random

import pytest

from adapters.engine.guard import Guard
from adapters.port import Page, Position, Record, Row, Stream, Sweep, Tail
from adapters.testing import Bench, Faults, Killed
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode
from canonical.children import CarePlan
from canonical.entity import Entity
from canonical.key import key_of
from canonical.people import Person
from tests.test_renumbered import AlwaysThere, assert_same_content, held, nightly, renumber


class Live(TableAdapter):
    """A table whose pages are read when they are asked for, as a database reads them."""

    async def _swept(self, after: Position | None) -> AsyncIterator[Page]:
        while page := [self.record(n, self.lines[n]) for n in sorted(self.lines) if after is None or (n,) > after][:15]:
            after = page[-1].position
            yield Page(page, after)


def deal(adapter: TableAdapter) -> None:
    lines = list(adapter.lines.values())
    Random(3).shuffle(lines)
    adapter.lines = dict(zip(sorted(adapter.lines), lines, strict=True))


ANEW: dict[str, Callable[[TableAdapter], None]] = {
    "behind": lambda adapter: renumber(adapter, 1000),
    "a little behind": lambda adapter: renumber(adapter, 10),
    "before": lambda adapter: renumber(adapter, -1000),
    "half of them behind": lambda adapter: renumber(adapter, 1000, *range(0, 60, 2)),
    "in another order": deal,
}


@pytest.mark.parametrize(("stopped", "mean"), [(True, 512), (False, 512), (False, 8)])
@pytest.mark.parametrize("anew", ANEW.values(), ids=ANEW)
async def test_rows_that_are_numbered_anew_while_they_are_read_tell_nobody_anything(
    stopped: bool, anew: Callable[[TableAdapter], None], mean: int
) -> None:
    n, met = 0, True
    while met:
        adapter = Live()
        adapter.lines = {number: Line(number, "N1") for number in range(60)}
        bench = Bench(adapter)
        bench.mean_region = mean
        await bench.read()
        bench.wait(timedelta(hours=24))
        met = await _met(bench, n, anew, stopped=stopped)
        await bench.read()
        await nightly(bench)
        await nightly(bench)
        assert (len(bench.log.told()), held(bench)) == (60, 0), n
        assert_same_content(bench)
        n += 1
    assert n > 20


async def _met(bench: Bench, at: int, anew: Callable[[TableAdapter], None], *, stopped: bool) -> bool:
    """Read, and number all anew at the nth point of it, where the reading is stopped or goes on. Tell whether there was one."""
    assert isinstance(bench.adapter, TableAdapter)
    faults = Faults(at) if stopped else At(at, lambda: anew(bench.adapter))  # type: ignore[arg-type]
    try:
        await bench.read(bench.pump(faults))
    except Killed:
        anew(bench.adapter)
        return True
    return not stopped and faults.passed > at


class At(Faults):
    """Does something at the nth point, and lets all go on."""

    def __init__(self, at: int, does: Callable[[], None]) -> None:
        super().__init__(at)
        self._does = does

    def point(self, name: str) -> None:
        self.passed += 1
        if self.passed == self.at:
            self._does()


async def test_a_stopped_sweep_of_a_table_that_is_as_it_was_goes_on_where_it_stood() -> None:
    adapter = Live()
    adapter.lines = {number: Line(number, "N1") for number in range(400)}
    bench = Bench(adapter)
    await bench.read()
    bench.wait(timedelta(hours=24))
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(10, only="saved")))
    stopped = bench.state.of("episodes").progress
    assert stopped.after is not None
    adapter.lines |= {number: Line(number, "N7") for number in range(12)}  # corrections that no other record says
    await bench.read()
    assert bench.state.of("episodes").progress.sweep == stopped.sweep
    await nightly(bench)
    assert_same_content(bench)


class Warehouse(AlwaysThere):
    """Children, their episodes, and plans that name both; pages are read when they are asked for."""

    def __init__(self, plans: int, page: int, *, tail: bool) -> None:
        self.tables: dict[str, dict[int, tuple[int, ...]]] = {
            "person": {n: (n, n) for n in range(52)},
            "care-episode": {n: (n, n, n % 52) for n in range(53)},
            "care-plan": {n: (n, n, n % 52, n) for n in range(plans)},
        }
        self.overnight: int | None = None
        """After so many questions all rows are numbered anew."""
        self._page = page
        self._tail = tail

    def streams(self) -> Sequence[Stream]:
        swept = {entity: Sweep(partial(self._pages, entity)) for entity in self.tables}
        episodes = Tail(self._newest, swept["care-episode"], timedelta(hours=3)) if self._tail else swept["care-episode"]
        return [
            Stream("people", (Person,), self.person, swept["person"]),
            Stream("episodes", (CareEpisode,), self.episode, episodes),
            Stream("plans", (CarePlan,), self.plan, swept["care-plan"]),
        ]

    def person(self, row: Row) -> Entity:
        number, said = row
        return Person.model_validate({"key": self._key("person", number), "names": [{"family": f"N{said}"}]})

    def episode(self, row: Row) -> Entity:
        number, said, person = row
        key = self._key("care-episode", number)
        return CareEpisode(key=key, person=self._key("person", person), primary_need=f"N{said}")

    def plan(self, row: Row) -> Entity:
        number, _, person, episode = row
        names = {"person": self._key("person", person), "episode": self._key("care-episode", episode)}
        return CarePlan.model_validate({"key": self._key("care-plan", number), "kind": "CP"} | names)

    def _key(self, entity: str, number: object) -> str:
        return key_of(self.name, entity, str(number))

    async def _pages(self, entity: str, after: Position | None) -> AsyncIterator[Page]:
        while records := [r for r in self._records(entity) if after is None or r.position > after][: self._page]:
            after = records[-1].position
            yield Page(records, after)

    async def _newest(self, after: Position | None) -> AsyncIterator[Page]:
        records = self._records("care-episode")[-5:]
        yield Page(records, records[-1].position)

    def _records(self, entity: str) -> list[Record]:
        if self.overnight is not None:
            self.overnight -= 1
            if self.overnight < 0:
                self.renumber()
        return [Record(self._key(entity, n), (n,), row) for n, row in sorted(self.tables[entity].items())]

    def renumber(self) -> None:
        self.overnight = None
        for entity, rows in self.tables.items():
            anew = [(n + 1000, said, *(name + 1000 for name in names)) for n, said, *names in rows.values()]
            self.tables[entity] = {row[0]: row for row in anew}


@pytest.mark.parametrize("seed", range(80))
async def test_tables_that_name_each_other_are_numbered_anew_at_any_moment_and_nobody_is_told_anything(seed: int) -> None:
    random = Random(seed)
    warehouse = Warehouse(random.choice([1, 3, 7, 12]), random.choice([5, 15, 40]), tail=random.random() < 0.5)
    bench = Bench(warehouse, guard=Guard(share=1.0))  # type: ignore[arg-type]
    bench.mean_region = random.choice([8, 512])
    await bench.read()
    before = bench.log.state()
    for _ in range(random.choice([1, 2])):
        warehouse.overnight = random.randint(0, 12)
        for _ in range(random.randint(1, 8)):
            bench.wait(timedelta(minutes=random.choice([1, 40, 400])))
            await _read_some(bench, warehouse, random)
        if warehouse.overnight is not None:
            warehouse.renumber()
        for _ in range(4):
            bench.wait(timedelta(hours=4))
            await bench.read()
    assert (len(bench.log.told()), bench.log.state()) == (len(before), before)


async def _read_some(bench: Bench, warehouse: Warehouse, random: Random) -> None:
    """Read one to three streams; mostly the process is killed somewhere."""
    pump = bench.pump(Faults(random.randint(0, 60)) if random.random() < 0.8 else None)
    try:
        await pump.ready()
        for stream in random.sample(warehouse.streams(), random.randint(1, 3)):
            await pump.read(stream)
    except Killed:
        pass
