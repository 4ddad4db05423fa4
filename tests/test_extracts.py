"""Extracts in pieces: an extract that is too large for memory is compared and published in pieces, and stays one extract."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from adapters.engine.extracts import PIECE
from adapters.engine.journal import ExtractAccount, Known, Step
from adapters.port import Extract, ExtractReport, Record
from adapters.testing import Bench, Faults, Killed, MemoryMemory, MemoryState
from adapters.testing.table import Line, TableAdapter
from canonical import Event
from canonical.errors import BadRecordError, UnavailableError
from ironbridge.store import Store
from ironbridge.store.memory import StoredMemory


def filed(page: int = 5, **files: list[tuple[int, Line]]) -> TableAdapter:
    adapter = TableAdapter(reading="files", page=page)
    adapter.files = dict(files)
    return adapter


def lines(*numbers: int, need: str = "N1") -> list[tuple[int, Line]]:
    return [(n, Line(n, need)) for n in numbers]


def numbers(events: Sequence[Event]) -> list[tuple[int, bool]]:
    """The records, and whether they live."""
    return sorted((int(e.key.rsplit(":", 1)[1]), e.data is not None) for e in events)


# -- the pump --------------------------------------------------------------------------------------------------------


async def test_each_portion_of_an_extract_is_a_transaction_of_its_own() -> None:
    bench = Bench(filed(page=5, may=lines(*range(23))))
    events = await bench.read()
    assert len(events) == 23
    assert [len(each) for each in bench.log.transactions] == [5, 5, 5, 5, 3]


async def test_a_large_portion_is_cut_into_pieces() -> None:
    bench = Bench(filed(page=100_000, may=lines(*range(2 * PIECE + 1))))
    await bench.read()
    assert [len(each) for each in bench.log.transactions] == [PIECE, PIECE, 1]


async def test_a_key_that_comes_again_in_another_portion_is_a_second_row() -> None:
    adapter = filed(page=5, may=[*lines(*range(12)), *lines(3, need="N9")])
    bench = Bench(adapter)
    assert len(await bench.read()) == 12
    assert list(bench.problems()) == ["legacy:care-episode:3#again"]
    bench.edition = "2"  # so that it is read again
    assert await bench.read() == []
    assert list(bench.problems()) == ["legacy:care-episode:3#again"]
    adapter.files["may"] = lines(*range(12))
    assert await bench.read() == []
    assert not bench.problems()


async def test_a_record_that_moves_to_another_portion_is_not_gone() -> None:
    adapter = filed(page=5, may=lines(*range(20)))
    bench = Bench(adapter)
    await bench.read()
    adapter.files["may"] = lines(*reversed(range(19)))
    assert numbers(await bench.read()) == [(19, False)]


@pytest.mark.parametrize("at", ["publish", "published", "save", "saved", "members", "lookup"])
async def test_a_kill_in_the_middle_of_an_extract_repeats_nothing_and_loses_nothing(at: str) -> None:
    for n in range(14):
        adapter = filed(page=4, may=lines(*range(20)))
        bench = Bench(adapter)
        await bench.read()
        adapter.files["may"] = lines(*range(5, 25), need="N2")
        faults = Faults(n, only=at)
        try:
            await bench.read(bench.pump(faults))
        except Killed:
            await bench.read()
        assert bench.log.state() == adapter.state()
        assert len(bench.log.told()) == 20 + 20 + 5  # each once: as found first, as changed or added, as deleted
        assert await bench.read() == []


async def test_an_older_extract_that_comes_back_while_half_of_a_newer_one_is_published_is_read_again() -> None:
    adapter = filed(page=4, may=lines(*range(20)))
    bench = Bench(adapter)
    await bench.read()
    adapter.files["may"] = lines(*range(30), need="N2")
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(3, only="saved")))
    adapter.files["may"] = lines(*range(20))
    await bench.read()
    assert bench.log.state() == adapter.state()


async def test_what_stops_in_the_middle_deletes_nothing_and_goes_on_later() -> None:
    adapter = filed(page=4, may=lines(*range(20)))
    bench = Bench(adapter)
    await bench.read()
    adapter.files["may"] = lines(*range(1, 20), need="N2")
    adapter.asked, adapter.fails_after = 0, 10
    with pytest.raises(UnavailableError):
        await bench.read()
    assert all(event.data is not None for event in bench.log.told())
    adapter.fails_after = None
    await bench.read()
    assert bench.log.state() == adapter.state()


async def test_an_adapter_that_refuses_a_file_too_late_deletes_nothing() -> None:
    class Late(TableAdapter):
        async def _extracts(self) -> AsyncIterator[Extract]:
            async for extract in super()._extracts():

                async def portions(extract: Extract = extract) -> AsyncIterator[Sequence[Record]]:
                    async for portion in extract.portions():
                        yield portion
                    if len(self.files["may"] or ()) < 20:
                        raise BadRecordError("legacy may", field="file", rule="is torn", shape="bytes")

                yield Extract(extract.name, extract.digest, portions)

    adapter = Late(reading="files", page=4)
    adapter.files = {"may": lines(*range(20))}
    bench = Bench(adapter)
    await bench.read()
    adapter.files["may"] = lines(*range(8))
    assert await bench.read() == []
    assert [problem.rule for problem in bench.problems().values()] == ["is torn"]


async def test_both_memories_page_through_the_members_of_an_extract(store: Store) -> None:
    known = [Known(f"legacy:care-episode:{n}", "care-episode", "", f"may{n % 2}", b"", b"", 1) for n in range(9)]
    for memory in (MemoryMemory(MemoryState()), StoredMemory(store, "legacy")):
        await memory.save("episodes", Step(known=[*known, Known("legacy:x", "care-episode", "", "june", b"", b"", 1)]))
        found: list[str] = []
        while page := await memory.members_after("episodes", ("may0", "may1"), found[-1] if found else "", 4):
            assert len(page) <= 4
            found += [each.key for each in page]
        assert found == [each.key for each in known]


# -- what a file held ------------------------------------------------------------------------------------------------


def held(bench: Bench) -> dict[str, ExtractAccount]:
    return bench.state.of("episodes").accounts


async def test_what_a_file_held_is_kept_as_it_was_read_last() -> None:
    adapter = filed(page=4, may=[*lines(*range(9)), *lines(3, need="N9"), *lines(20, need="")], june=lines(*range(30, 37)))
    bench = Bench(adapter)
    await bench.read()
    assert held(bench) == {"may": ExtractAccount(9, 2), "june": ExtractAccount(7)}
    bench.edition = "2"  # so that the bad row, which is no other than before, is read again
    await bench.read()
    assert held(bench)["may"] == ExtractAccount(9, 2)
    adapter.files["may"] = [*lines(*range(8)), *lines(8, need=""), *lines(20)]
    await bench.read()
    assert held(bench)["may"] == ExtractAccount(9, 1)  # number 8 has its last good event, and stands in quarantine
    adapter.files["may"] = lines(*range(9), 20)
    await bench.read()
    assert held(bench)["may"] == ExtractAccount(10)


async def test_a_refused_file_and_a_copy_are_forgotten_with_their_problems_once_they_are_taken_away() -> None:
    adapter = filed(may=lines(*range(9)), june=lines(*range(30, 37)))
    bench = Bench(adapter)
    await bench.read()
    whole = {"may": ExtractAccount(9), "june": ExtractAccount(7)}
    adapter.files |= {"may": None, "july": lines(*range(30, 37)), "august": None}
    await bench.read()
    assert held(bench) == whole | {"july": ExtractAccount(), "august": ExtractAccount()}
    assert len(bench.problems()) == 3
    del adapter.files["may"], adapter.files["july"], adapter.files["august"]
    assert await bench.read() == []
    assert (held(bench), bench.problems()) == (whole, {})

    adapter.files["may"] = lines(*range(9))  # the good one again: it counts as read
    asked = adapter.asked
    await bench.read()
    assert adapter.asked == asked
    adapter.files |= {"may": None, "august": None}
    await bench.read()
    assert len(bench.problems()) == 2  # both are refused again
    del adapter.files["june"]
    await bench.read()
    assert held(bench) == whole | {"august": ExtractAccount()}  # june was moved away, and its records stay


@pytest.mark.parametrize("at", ["save", "saved"])
async def test_a_kill_while_a_refused_file_is_forgotten_leaves_no_problem(at: str) -> None:
    for n in range(4):
        adapter = filed(may=lines(*range(9)), june=None)
        bench = Bench(adapter)
        await bench.read()
        adapter.files["may"] = None
        await bench.read()
        adapter.files.clear()
        with contextlib.suppress(Killed):
            await bench.read(bench.pump(Faults(n, only=at)))
        await bench.read()
        assert (held(bench), bench.problems()) == ({"may": ExtractAccount(9)}, {})


async def test_what_an_adapter_says_of_a_file_is_kept_with_it_and_can_be_printed() -> None:
    class Talking(TableAdapter):
        async def _extracts(self) -> AsyncIterator[Extract]:
            async for extract in super()._extracts():
                yield replace(extract, report=lambda: ExtractReport({"notes": 2, "totals": 0, "odd\0things": 1}))

    adapter = Talking(reading="files")
    adapter.files = {"may": lines(1, 2)}
    bench = Bench(adapter)
    await bench.read()
    assert held(bench) == {"may": ExtractAccount(2, 0, {"notes": 2, "odd?things": 1})}


@pytest.mark.parametrize("at", ["save", "saved"])
async def test_after_a_kill_at_any_step_a_file_held_what_it_holds(at: str) -> None:
    for n in range(8):
        bench = Bench(filed(page=4, may=[*lines(*range(11)), *lines(20, need="")]))
        with contextlib.suppress(Killed):
            await bench.read(bench.pump(Faults(n, only=at)))
        await bench.read()
        assert held(bench) == {"may": ExtractAccount(11, 1)}
