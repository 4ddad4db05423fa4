"""Records that several extracts hold: the newest that lies ready counts, whatever is read when, and none is deleted too soon."""

import copy
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.engine.guard import DELETED, WENT_BACK, Guard
from adapters.port import Extract
from adapters.testing import Bench, Faults, Killed, MemoryState, assert_versions_grow
from adapters.testing.table import Line, TableAdapter
from tests.test_guard import ENDED, allow, closed, waiting

OVER_THE_GUARD = Guard(share=1.0)


def lines(**needs: str) -> list[tuple[int, Line]]:
    return [(int(number[1:]), Line(1, need)) for number, need in needs.items()]


async def apart() -> tuple[TableAdapter, Bench]:
    """Two files that hold nothing in common."""
    adapter = TableAdapter(reading="files", page=50)
    adapter.files = {"may": lines(n1="N1", n2="N1"), "june": lines(n3="N1", n5="N1")}
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    return adapter, bench


async def shared(page: int = 50) -> tuple[TableAdapter, Bench]:
    """Two files that hold number 1, and say different things of it."""
    adapter = TableAdapter(reading="files", page=page)
    adapter.files = {"may": lines(n1="N1", n2="N1", n4="N1"), "june": lines(n3="N1", n1="N2", n5="N1")}
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    assert bench.log.state() == adapter.state()
    return adapter, bench


async def test_what_the_newer_file_drops_and_the_older_one_holds_is_as_the_older_one_says() -> None:
    adapter, bench = await shared()
    adapter.files["june"] = lines(n3="N1")
    assert bench.said(await bench.read()) == [("1", 3, True), ("5", 2, False)]
    assert bench.log.state() == adapter.state()
    adapter.files["may"] = lines(n2="N1", n4="N1")
    assert bench.said(await bench.read()) == [("1", 4, False)]
    assert await bench.read() == []


async def test_what_the_older_file_drops_is_as_the_newer_one_says() -> None:
    adapter, bench = await shared()
    adapter.files["may"] = lines(n2="N1")
    assert bench.said(await bench.read()) == [("4", 2, False)]
    assert bench.log.state() == adapter.state()


async def test_a_new_edition_reads_all_files_again_and_publishes_nothing_of_the_older_ones() -> None:
    _, bench = await shared()
    bench.edition = "2"
    assert await bench.read() == []


async def test_a_lost_state_is_rebuilt_from_the_log_and_publishes_nothing_of_the_older_files() -> None:
    adapter, bench = await shared()
    bench.state = MemoryState()
    assert await bench.read() == []
    adapter.files["june"] = lines(n3="N1")
    assert bench.said(await bench.read()) == [("1", 3, True), ("5", 2, False)]
    assert bench.log.state() == adapter.state()


async def test_an_older_file_that_is_corrected_in_its_place_says_nothing_of_what_the_newer_one_holds() -> None:
    adapter, bench = await shared()
    adapter.files["may"] = lines(n1="N3", n2="N3", n4="N1")
    assert bench.said(await bench.read()) == [("2", 2, True)]
    assert bench.log.state() == adapter.state()
    adapter.files["june"] = lines(n3="N1", n5="N1")
    assert bench.said(await bench.read()) == [("1", 3, True)]
    assert bench.log.state() == adapter.state()


async def test_a_file_that_is_corrected_and_is_the_newest_by_that_takes_over() -> None:
    adapter, bench = await shared()
    del adapter.files["may"]
    adapter.files["may"] = lines(n1="N3", n2="N1", n4="N1")
    assert bench.said(await bench.read()) == [("1", 3, True)]
    adapter.files["may"] = lines(n2="N1", n4="N1")
    assert bench.said(await bench.read()) == [("1", 4, True)]
    assert bench.log.state() == adapter.state()


async def test_a_renamed_file_has_its_records_and_deletes_those_that_it_loses() -> None:
    adapter, bench = await shared()
    adapter.files["july"] = adapter.files.pop("june")
    assert await bench.read() == []
    adapter.files["july"] = lines(n3="N1", n1="N2")
    assert bench.said(await bench.read()) == [("5", 2, False)]


async def test_a_file_that_vanished_and_comes_back_as_it_was_keeps_what_the_other_one_loses() -> None:
    adapter, bench = await shared()
    may = adapter.files.pop("may")
    adapter.files["june"] = lines(n3="N1", n1="N2", n5="N1", n2="N2")
    await bench.read()
    adapter.files = {"may": may, "june": lines(n3="N1", n5="N1")}
    assert bench.said(await bench.read()) == [("1", 3, True), ("2", 3, True)]
    assert bench.log.state() == adapter.state()


async def test_nothing_is_deleted_while_a_file_that_may_hold_it_cannot_be_read() -> None:
    adapter, bench = await shared()
    may = adapter.files["may"]
    adapter.files |= {"may": None, "june": lines(n3="N1")}
    assert await bench.read() == []
    adapter.files["may"] = may
    assert bench.said(await bench.read()) == [("1", 3, True), ("5", 2, False)]
    assert bench.log.state() == adapter.state()


async def test_nothing_is_deleted_while_a_file_that_was_never_read_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    adapter, bench = await shared()
    pump = bench.pump()
    adapter.files |= {"april": None, "june": lines(n3="N1")}
    asked = []
    for _ in range(3):
        assert await bench.read(pump) == []
        asked.append(adapter.asked)
    assert asked[1] == asked[2], "nothing is read again while nothing has changed"
    assert caplog.text.count("episodes: june no longer holds records that it held. They may be in april, which cannot be") == 1
    adapter.files["april"] = lines(n9="N1")
    assert bench.said(await bench.read(pump)) == [("1", 3, True), ("5", 2, False), ("9", 1, True)]
    assert bench.log.state() == adapter.state()


async def test_what_goes_back_is_judged_and_published_though_nothing_may_be_deleted() -> None:
    adapter, bench = await apart()
    bench.guard = Guard()
    adapter.files["june"] = lines(n3="N2", n5="N1")
    await bench.read()
    adapter.files |= {"may": None, "june": lines(n3="N1")}
    assert bench.said(await bench.read()) == [("3", 3, True)]


@pytest.mark.parametrize("to", ["may", "july"])
async def test_what_moves_to_another_file_while_the_folder_is_read_is_not_deleted(to: str) -> None:
    """Once the folder is listed, a record goes to a file that was read before, or to a new one."""
    adapter, bench = await apart()

    class Moving(TableAdapter):
        async def _extracts(self) -> AsyncIterator[Extract]:
            async for extract in super()._extracts():
                yield extract
            self.files[to] = [*self.files.get("may" if to == "may" else "", ()), *lines(n5="N1")][-3:]

    adapter.__class__ = Moving
    adapter.files["june"] = lines(n3="N2")
    assert bench.said(await bench.read()) == [("3", 2, True)]
    await bench.read()
    assert all(event.data is not None for event in bench.log.told())


async def test_a_bad_row_that_the_newer_file_drops_is_as_the_older_one_says() -> None:
    adapter, bench = await apart()
    adapter.files["june"] = [*adapter.files["june"], *lines(n9="")]
    await bench.read()
    adapter.files = {"may": lines(n1="N1", n2="N1", n9="N1"), "june": lines(n3="N1", n5="N1")}
    await bench.read()
    assert bench.log.state() == adapter.state()
    assert not bench.problems()


async def test_a_copy_that_was_killed_before_it_saved_knows_that_another_file_may_hold_the_record() -> None:
    adapter, bench = await apart()
    adapter.files["june"] = lines(n3="N1", n5="N1", n2="N2")
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(0, only="published")))
    await bench.read()
    adapter.files["june"] = lines(n3="N1", n5="N1")
    assert bench.said(await bench.read()) == [("2", 3, True)]
    assert bench.log.state() == adapter.state()


async def test_a_second_row_is_over_when_the_journal_says_that_its_record_is_gone() -> None:
    adapter = TableAdapter(reading="files")
    adapter.files = {"may": [*lines(n1="N1", n2="N1"), *lines(n1="N2")]}
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    before = copy.deepcopy(bench.state)
    adapter.files["may"] = lines(n2="N1")
    await bench.read()
    bench.state.go_back(before)
    await bench.read()
    assert not bench.problems()


async def test_what_falls_back_to_an_older_file_is_no_deletion_for_the_guard() -> None:
    adapter = TableAdapter(reading="files")
    both = [(n, Line(1, "N1")) for n in range(40)]
    adapter.files = {"may": both, "june": [*both, (99, Line(1, "N1"))]}
    bench = Bench(adapter)
    await bench.read()
    adapter.files["june"] = [(99, Line(1, "N1"))]
    assert await bench.read() == []
    assert [e for e in bench.state.of("episodes").guarded.values() if e.what == DELETED and e.held] == []


async def test_what_a_file_loses_to_a_newer_one_that_is_not_read_yet_is_not_deleted() -> None:
    adapter, bench = await shared()
    adapter.files |= {"may": lines(n2="N1"), "june": lines(n3="N1", n1="N2", n5="N1", n4="N1")}
    assert await bench.read() == []
    assert bench.log.state() == adapter.state()


async def test_a_second_row_far_behind_the_first_is_told_when_both_are_the_older_files_again() -> None:
    adapter = TableAdapter(reading="files", page=1)
    one, two = (1, Line(1, "N1")), (2, Line(1, "N1"))
    adapter.files = {"may": [one, two, one], "june": [one]}
    bench = Bench(adapter, guard=OVER_THE_GUARD)
    await bench.read()
    assert not bench.problems()
    adapter.files["june"] = [(3, Line(1, "N1"))]
    await bench.read()
    assert list(bench.problems()) == [f"{adapter.key(1)}#again"]


async def test_a_second_row_of_the_newer_file_is_none_when_the_record_is_the_older_files_again() -> None:
    adapter, bench = await shared()
    adapter.files["june"] = [*lines(n3="N1", n1="N2"), *lines(n1="N3")]
    await bench.read()
    assert list(bench.problems()) == [f"{adapter.key(1)}#again"]
    adapter.files["june"] = lines(n3="N1")
    await bench.read()
    assert not bench.problems()


async def test_changes_that_take_much_away_as_records_fall_back_are_held_for_a_person_and_are_published_then() -> None:
    adapter = closed(0, reading="files")
    adapter.files = {"may": [(n, Line(1, "N1")) for n in range(40)], "june": [(n, Line(0, "N1")) for n in range(41)]}
    bench = Bench(adapter)
    await bench.read()
    adapter.files["june"] = [(40, Line(0, "N1"))]  # only may's rows are left, and they have no closing date
    for _ in range(3):
        assert await bench.read() == []
    assert waiting(bench) == {("may", what): 40 for what in (ENDED, "emptied close_reason", WENT_BACK)}
    for region, what in waiting(bench):
        allow(bench, what, region)
    assert len(await bench.read()) == 40
    assert bench.log.state() == adapter.state()
    assert waiting(bench) == {}


@pytest.mark.parametrize("point", ["publish", "published", "save", "saved"])
async def test_a_kill_while_records_fall_back_to_an_older_file_repeats_nothing_and_deletes_nothing(point: str) -> None:
    for at in range(9):
        adapter, bench = await shared(page=1)
        adapter.files |= {"may": lines(n1="N1", n2="N1", n4="N1", n3="N3"), "june": lines(n6="N1")}
        bench = copy.deepcopy(bench)
        assert isinstance(bench.adapter, TableAdapter)
        bench.wait(timedelta(minutes=5))
        try:
            await bench.read(bench.pump(Faults(at, Killed(), only=point)))
        except Killed:
            await bench.read()
        assert sorted(e.key[-1] for e in bench.log.told() if e.data is None) == ["5"]
        assert_versions_grow(bench.log.told())
        assert bench.log.state() == bench.adapter.state()
        assert await bench.read() == []
