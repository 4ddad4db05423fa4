"""A record is deleted only if one complete look missed it: sweeps that stop, go on, and meet known rows in other places."""

import copy
from typing import Any
from zlib import crc32

import pytest

from adapters.engine.guard import Guard
from adapters.testing import Bench, Faults, Killed
from adapters.testing.table import Line, TableAdapter
from canonical import Event
from canonical.errors import UnavailableError

OVER_THE_GUARD = Guard(share=1.0)


def table(count: int, **options: Any) -> TableAdapter:
    adapter = TableAdapter(**options)
    adapter.lines = {n: Line(n // 3, "N1") for n in range(count)}
    return adapter


def gone(events: list[Event]) -> list[str]:
    return [event.key for event in events if event.data is None]


def ends_a_region(adapter: TableAdapter, number: int, mean: int = 8) -> bool:
    return not crc32(adapter.key(number).encode()) & (mean - 1)


def with_an_open_end() -> TableAdapter:
    adapter = table(100)
    while any(ends_a_region(adapter, max(adapter.lines) - n) for n in (0, 1)):
        adapter.lines[max(adapter.lines) + 1] = Line(1, "N1")
    return adapter


def grow_until_a_region_ends(adapter: TableAdapter) -> None:
    while True:
        adapter.lines[max(adapter.lines) + 1] = Line(1, "N1")
        if ends_a_region(adapter, max(adapter.lines)):
            adapter.lines[max(adapter.lines) + 1] = Line(1, "N1")
            return


@pytest.mark.parametrize("point", ["unseen", "doubled", "save"])
@pytest.mark.parametrize("error", [Killed(), UnavailableError("state", "does not answer")])
async def test_a_sweep_that_stops_between_its_open_end_and_its_last_step_deletes_nothing_that_is_there(
    point: str, error: BaseException
) -> None:
    adapter = with_an_open_end()
    bench = Bench(adapter)
    await bench.read()
    adapter.lines[max(adapter.lines)] = Line(1, "N2")
    probe = copy.deepcopy(bench)
    passed = Faults(only=point)
    await probe.read(probe.pump(passed))
    pump = bench.pump(Faults(max(passed.passed - 1, 0), error, only=point))
    if passed.passed:
        with pytest.raises(type(error)):
            await bench.read(pump)
    grow_until_a_region_ends(adapter)
    assert gone(await bench.read()) == []
    assert not bench.problems()
    assert await bench.read() == []
    assert bench.log.state() == adapter.state()


async def test_a_sweep_that_stops_behind_a_last_row_that_ends_a_region_calls_no_row_a_second_one() -> None:
    adapter = table(60)
    while not ends_a_region(adapter, max(adapter.lines)):
        del adapter.lines[max(adapter.lines)]
    bench = Bench(adapter)
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(0, only="unseen")))
    assert await bench.read() == []
    assert not bench.problems()


class Shuffled(TableAdapter):
    """Rows that do not lie in the order of their keys: each one from 1000 on has the key of the row 1000 before it."""

    def key(self, number: int) -> str:
        return super().key(number % 1000)

    def map(self, row: Any) -> Any:
        return super().map((row[0] % 1000, *row[1:]))


async def test_two_regions_that_end_with_one_key_lose_none_of_their_records() -> None:
    adapter = Shuffled()
    adapter.lines = {n: Line(1, "N1") for n in range(100)}
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    ends = next(n for n in range(20, 100) if ends_a_region(adapter, n))
    adapter.lines |= {n: Line(1, "N1") for n in range(1200, 1220)} | {1000 + ends: Line(1, "N3")}
    adapter.lines |= {n: Line(1, "N1") for n in range(1000 + ends - 900, 1000 + ends - 890) if n not in adapter.lines}
    await bench.read()
    assert gone(bench.log.told()) == []
    assert await bench.read() == []
    assert list(bench.problems()) == [f"{adapter.key(ends)}#again"]
    del adapter.lines[ends]
    assert gone(await bench.read()) == []
    await bench.read()
    assert not bench.problems()
    assert gone(bench.log.told()) == []


async def test_a_record_whose_first_row_comes_and_goes_beside_its_second_one_is_not_deleted() -> None:
    adapter = Shuffled(page=400)  # all its regions are in one portion
    adapter.lines = {n: Line(1, "N1") for n in [*range(100), *range(1100, 1200)]}
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    adapter.lines[-50] = Line(1, "N1")  # its key is that of 950 …
    adapter.lines[1050 - 1000 + 900] = Line(1, "N1")  # … and of this one
    await bench.read()
    adapter.lines[-850] = Line(1, "N1")  # the key of 1150, which lies far behind in a region that does not change
    await bench.read()
    await bench.read()
    assert "legacy:care-episode:150#again" in bench.problems()
    del adapter.lines[-850]
    assert gone(await bench.read()) == []
    await bench.read()
    assert gone(bench.log.told()) == []


async def test_a_record_that_a_stopped_sweep_met_in_its_open_end_and_that_lies_before_its_place_now_is_not_deleted() -> None:
    adapter = Shuffled()
    adapter.lines = with_an_open_end().lines
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    last = max(adapter.lines)
    adapter.lines[last] = Line(last // 3, "N2")
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(0, only="strays")))
    adapter.lines[last - 1000] = adapter.lines.pop(last)
    assert gone(await bench.read()) == []
    await bench.read()
    assert await bench.read() == []
    assert gone(bench.log.told()) == []
    del adapter.lines[last - 1000]
    assert gone(await bench.read()) == [adapter.key(last)]
    assert not bench.problems()


async def test_what_the_journal_teaches_a_sweep_that_stands_behind_it_is_not_deleted() -> None:
    adapter = table(400)
    bench = Bench(adapter)
    await bench.read()
    adapter.fails_after = adapter.asked + 250
    with pytest.raises(UnavailableError):
        await bench.read()
    saved = copy.deepcopy(bench.state)  # its sweep stands in the middle
    adapter.fails_after = None
    await bench.read()
    adapter.lines[-7] = Line(1, "N2")  # the only transaction that the copy misses; its row lies before the place of its sweep
    await bench.read()
    saved.claims = 99
    bench.state = saved
    for _ in range(3):
        assert await bench.read() == []
    del adapter.lines[-7]
    assert gone(await bench.read()) == [adapter.key(-7)]
    assert bench.log.state() == adapter.state()


async def test_what_the_journal_taught_is_deleted_once_a_whole_sweep_has_not_met_it() -> None:
    adapter = table(100)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines[17] = Line(5, "N2")
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(0, only="published")))
    del adapter.lines[17]
    await bench.read()
    await bench.read()
    assert gone(bench.log.told()) == [adapter.key(17)]
    assert bench.log.state() == adapter.state()


async def test_a_file_that_was_set_back_while_its_correction_was_not_saved_is_read_again() -> None:
    adapter = TableAdapter(reading="files")
    adapter.files = {"may": [(n, Line(n, "N1")) for n in range(9)]}
    bench = Bench(adapter)
    await bench.read()
    adapter.files["may"] = [(n, Line(n, "N2")) for n in range(10)]
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(0, only="published")))
    adapter.files["may"] = [(n, Line(n, "N1")) for n in range(9)]
    await bench.read()
    assert bench.log.state() == adapter.state()


@pytest.mark.parametrize("key", ["~", "?"])
async def test_a_key_that_is_named_like_a_region_of_ours_is_quarantined_as_any_other_odd_one(key: str) -> None:
    class Odd(TableAdapter):
        def key(self, number: int) -> str:
            return key if number == 1 else super().key(number)

    adapter = Odd()
    adapter.lines = table(3).lines
    bench = Bench(adapter)
    assert len(await bench.read()) == 2
    (problem,) = bench.problems().values()
    assert problem.key.startswith("unreadable-key:")
