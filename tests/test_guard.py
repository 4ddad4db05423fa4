"""The guard, on stand-ins: a large loss at once waits for a person, and everything else goes on."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.engine.guard import DELETED, WENT_BACK, Guard, allowance
from adapters.port import Row, Stream
from adapters.testing import Bench, Faults, Killed
from adapters.testing.table import Line, TableAdapter
from canonical import Address, CareEpisode, ContactPoint, Entity, Event, Supplier
from canonical.errors import UnavailableError
from canonical.key import key_of

ENDED = "emptied close_date"


class Closing(TableAdapter):
    """A table of episodes. An episode has a closing date if its child's number is even, and the need tells the reason."""

    def map(self, row: Row) -> Entity:
        number, child, need = self.reinterpret(row)
        closed = {"close_date": "2024-05-01", "close_reason": "RC1"} if child % 2 == 0 else {}
        return CareEpisode(key=self.key(number), person="legacy:person:1", primary_need=need, **closed)


class Housed(TableAdapter):
    """A table of suppliers: each has one more contact than its number says, and the need is where the first one is."""

    def streams(self) -> Sequence[Stream]:
        return [replace(stream, entities=(Supplier,)) for stream in super().streams()]

    def key(self, number: int) -> str:
        return key_of(self.name, "supplier", number)

    def map(self, row: Row) -> Entity:
        number, more, need = self.reinterpret(row)
        lines = ("1 High Street", need, "A town")[: more + 1]
        contacts = [ContactPoint(system="phone", value=f"01743 96000{n}") for n in range(more + 1)]
        home = Address(lines=lines, town="Elm")
        return Supplier(key=self.key(number), number=str(number), name="A supplier", addresses=(home,), contacts=tuple(contacts))


def housed(count: int, long: int) -> Housed:
    adapter = Housed()
    adapter.lines = {n: Line(2 if n < long else 0, "N1") for n in range(count)}
    return adapter


def closed(count: int, reading: str = "sweep") -> Closing:
    adapter = Closing(reading=reading)
    adapter.lines = {n: Line(0, "N1") for n in range(count)}
    return adapter


def table(count: int, reading: str = "sweep") -> TableAdapter:
    adapter = TableAdapter(reading=reading)
    adapter.lines = {n: Line(n, "N1") for n in range(count)}
    return adapter


def reopen(adapter: TableAdapter, numbers: Sequence[int], at: int = 1) -> None:
    adapter.lines.update({n: Line(1, "N1", at) for n in numbers})


def deletions(events: list[Event]) -> int:
    return sum(event.data is None for event in events)


def waiting(bench: Bench, stream: str = "episodes") -> dict[tuple[str, str], int]:
    return bench.waiting(stream)


def allow(bench: Bench, what: str, region: str = "", stream: str = "episodes") -> None:
    """Allow held changes as a person does."""
    entries = bench.state.of(stream).guarded
    entry = entries[region, what]
    entries[region, what] = replace(entry, allowed=allowance(entry.held))


# -- deletions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 19, 100])
async def test_a_small_stream_that_is_empty_all_at_once_is_held_back(count: int) -> None:
    adapter = table(count)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines.clear()
    assert await bench.read() == []
    assert waiting(bench) == {("", DELETED): count}


async def test_a_few_deletions_go_at_once() -> None:
    adapter = table(50)
    bench = Bench(adapter)
    await bench.read()
    for n in range(20):
        del adapter.lines[n]
    assert deletions(await bench.read()) == 20
    assert waiting(bench) == {}


@pytest.mark.parametrize(("good", "bad"), [(5, 5), (100, 30), (0, 30)])
@pytest.mark.parametrize("reading", ["sweep", "files"])
async def test_rows_that_were_never_good_go_without_being_counted_as_deletions(reading: str, good: int, bad: int) -> None:
    adapter = TableAdapter(reading=reading)
    lines = {n: Line(1, "N1" if n < good else "") for n in range(good + bad)}
    adapter.lines, adapter.files = dict(lines), {"may": list(lines.items())}
    bench = Bench(adapter)
    await bench.read()
    assert len(bench.problems()) == bad
    for n in range(good, good + bad):
        del adapter.lines[n]
    adapter.files["may"] = list(adapter.lines.items())
    assert await bench.read() == []
    assert (waiting(bench), bench.problems()) == ({}, {})


async def test_changes_that_are_held_for_one_kind_are_not_counted_as_published_in_another() -> None:
    adapter = closed(100)
    adapter.lines = {n: Line(1 if n < 30 else 0, "N1") for n in range(100)}
    bench = Bench(adapter)
    await bench.read()
    adapter.lines |= {n: Line(0 if n < 10 else 1, "N2") for n in range(30)}
    await bench.read()
    adapter.lines |= {n: Line(1, "N1") for n in range(30)}  # they go back, and ten of them lose their closing date, too
    for _ in range(6):
        assert await bench.read() == []
    assert waiting(bench) == {("", WENT_BACK): 30}
    adapter.lines[50] = Line(1, "N1")
    assert len(await bench.read()) == 1


async def test_a_stream_that_loses_a_little_with_every_sweep_is_held_back_within_the_day() -> None:
    adapter = table(5000)
    bench = Bench(adapter)
    await bench.read()
    gone = 0
    while adapter.lines:
        for n in list(adapter.lines)[: max(len(adapter.lines) * 19 // 100, 100)]:
            del adapter.lines[n]
        gone += deletions(await bench.read())
    assert gone == 950
    assert waiting(bench) == {("", DELETED): 4050}


async def test_the_next_day_counts_anew_and_what_is_held_stays_held_over_midnight() -> None:
    adapter = table(1000)
    bench = Bench(adapter)
    await bench.read()
    for n in range(150):
        del adapter.lines[n]
    assert deletions(await bench.read()) == 150
    bench.wait(timedelta(days=1))
    for n in range(150, 300):
        del adapter.lines[n]
    assert deletions(await bench.read()) == 150
    for n in range(300, 400):
        del adapter.lines[n]
    assert await bench.read() == []
    bench.wait(timedelta(days=3))
    assert await bench.read() == []
    assert waiting(bench) == {("", DELETED): 100}


async def test_what_is_missing_and_comes_back_is_held_no_longer() -> None:
    adapter = table(100)
    bench = Bench(adapter)
    await bench.read()
    whole = dict(adapter.lines)
    adapter.lines.clear()
    await bench.read()
    adapter.lines.update(whole)
    assert await bench.read() == []
    assert (waiting(bench), bench.state.of("episodes").progress.held) == ({}, 0)


async def test_what_a_person_lets_through_is_deleted_once_and_the_day_begins_anew() -> None:
    adapter = table(1000)
    bench = Bench(adapter)
    await bench.read()
    for n in range(500):
        del adapter.lines[n]
    await bench.read()
    allow(bench, DELETED)
    assert deletions(await bench.read()) == 500
    for n in range(500, 550):
        del adapter.lines[n]
    assert deletions(await bench.read()) == 50
    for n in range(550, 800):
        del adapter.lines[n]
    assert await bench.read() == []
    assert waiting(bench) == {("", DELETED): 250}


async def test_much_more_than_was_shown_to_a_person_is_held_again() -> None:
    adapter = table(1000)
    bench = Bench(adapter)
    await bench.read()
    for n in range(300):
        del adapter.lines[n]
    await bench.read()
    allow(bench, DELETED)
    for n in range(300, 400):
        del adapter.lines[n]
    assert await bench.read() == []
    for n in range(300, 400):
        adapter.lines[n] = Line(n, "N1")
    assert await bench.read() == [], "the permission was for one look"
    assert waiting(bench) == {("", DELETED): 300}


async def test_a_kill_while_deletions_are_published_loses_no_count() -> None:
    for at in range(1000):
        adapter = table(150)
        bench = Bench(adapter)
        await bench.read()
        for n in range(29):
            del adapter.lines[n]
        faults = Faults(at)
        with suppress(Killed):
            await bench.read(bench.pump(faults))
        await bench.read()
        assert len(bench.log.state()) == 121, at
        for n in range(29, 31):
            del adapter.lines[n]
        assert await bench.read() == [], at
        assert waiting(bench) == {("", DELETED): 2}, at
        if faults.passed <= at:
            return


async def test_a_guard_with_a_share_of_one_holds_nothing_back() -> None:
    adapter = table(100)
    bench = Bench(adapter, guard=Guard(share=1.0))
    await bench.read()
    adapter.lines.clear()
    assert deletions(await bench.read()) == 100


# -- files -------------------------------------------------------------------------------------------------------


def in_a_file(count: int) -> TableAdapter:
    adapter = TableAdapter(reading="files")
    adapter.files = {"invoices": [(n, Line(n, "N1")) for n in range(count)]}
    return adapter


async def test_a_file_that_comes_again_with_a_part_of_its_lines_deletes_nothing_until_a_person_allows_it() -> None:
    adapter = in_a_file(5000)
    bench = Bench(adapter)
    await bench.read()
    adapter.files["invoices"] = [(n, Line(n, "N2" if n == 3 else "N1")) for n in range(10)]
    assert [(e.key, e.data is not None) for e in await bench.read()] == [("legacy:care-episode:3", True)]
    assert bench.state.of("episodes").progress.held == 4990
    adapter.asked = 0
    assert await bench.read() == []
    assert adapter.asked == 0, "it is not read again at every look"
    allow(bench, DELETED, "invoices")
    assert deletions(await bench.read()) == 4990
    assert (bench.log.state(), bench.state.of("episodes").progress.held) == (adapter.state(), 0)


async def test_a_file_that_is_whole_again_is_held_no_longer() -> None:
    adapter = in_a_file(100)
    bench = Bench(adapter)
    await bench.read()
    whole, adapter.files["invoices"] = adapter.files["invoices"], []
    await bench.read()
    adapter.files["invoices"] = whole
    assert await bench.read() == []
    assert (waiting(bench), bench.log.state()) == ({}, adapter.state())


@pytest.mark.parametrize("count", [1, 3, 100])
async def test_a_file_of_headings_alone_deletes_nothing(count: int) -> None:
    adapter = in_a_file(count)
    bench = Bench(adapter)
    await bench.read()
    adapter.files["invoices"] = []
    assert await bench.read() == []
    assert waiting(bench) == {("invoices", DELETED): count}


async def test_a_file_that_loses_a_little_each_time_is_held_back_within_the_day() -> None:
    adapter = in_a_file(1000)
    bench = Bench(adapter)
    await bench.read()
    gone = 0
    for left in (850, 700, 550, 400):
        adapter.files["invoices"] = [(n, Line(n, "N1")) for n in range(left)]
        gone += deletions(await bench.read())
    assert gone == 150


async def test_the_fields_that_a_file_empties_are_held_back_until_a_person_allows_it() -> None:
    adapter = Closing(reading="files")
    adapter.files = {"may": [(n, Line(0, "N1")) for n in range(100)]}
    bench = Bench(adapter)
    await bench.read()
    adapter.files = {"may": [(n, Line(1, "N1")) for n in range(100)]}
    assert await bench.read() == []
    assert waiting(bench) == {("may", ENDED): 100, ("may", "emptied close_reason"): 100}
    allow(bench, ENDED, "may")
    assert await bench.read() == [], "the other kind is still held"
    allow(bench, "emptied close_reason", "may")
    assert len(await bench.read()) == 100
    assert bench.log.state() == adapter.state()


# -- changes that take something away ----------------------------------------------------------------------------


async def test_a_few_emptied_fields_are_published_with_their_sweep() -> None:
    adapter = closed(100)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(20))
    assert len(await bench.read()) == 20
    assert bench.log.state() == adapter.state()


async def test_many_emptied_fields_are_held_back_and_the_other_changes_go_on(caplog: pytest.LogCaptureFixture) -> None:
    adapter = closed(100)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(60))
    adapter.lines[70] = Line(0, "N4")
    assert [event.key for event in await bench.read()] == [adapter.key(70)]
    assert waiting(bench) == {("", ENDED): 60, ("", "emptied close_reason"): 60}
    assert (
        "legacy.episodes: 60 of 100 records lost their close_date; this is held back, the rest goes on" in caplog.text
    )
    adapter.lines.update({n: Line(0, "N1") for n in range(60)})
    assert await bench.read() == []
    assert waiting(bench) == {}


SHORTER = ["shortened contacts", "shortened lines"]


async def test_lists_that_become_shorter_for_many_are_held_back_and_the_other_changes_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    adapter = housed(100, long=60)
    bench = Bench(adapter)
    await bench.read()
    shorter = {n: Line(n % 2, "N1") for n in range(60)}
    adapter.lines |= shorter | {70: Line(0, "N2"), 80: Line(2, "N1")}
    assert [event.key for event in await bench.read()] == [adapter.key(80)]
    assert waiting(bench) == {("", what): 60 for what in SHORTER}
    assert "legacy.episodes: 60 of 61 records lost some of their contacts; this is held back" in caplog.text
    for what in SHORTER:
        allow(bench, what)
    assert len(await bench.read()) == 60
    assert (bench.log.state(), waiting(bench)) == (adapter.state(), {})


@pytest.mark.parametrize(("count", "long", "shorter"), [(300, 300, 20), (1000, 1000, 150), (100, 10, 10)])
async def test_lists_that_become_shorter_for_few_are_published(count: int, long: int, shorter: int) -> None:
    adapter = housed(count, long)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines |= {n: Line(0, "N1") for n in range(shorter)}
    assert len(await bench.read()) == shorter
    assert waiting(bench) == {}


@pytest.mark.parametrize(("left", "held"), [(1, []), (0, ["emptied contacts", "emptied lines"])])
async def test_a_state_from_before_lists_were_counted_knows_which_fields_were_there(left: int, held: list[str]) -> None:
    adapter = housed(100, long=100)
    bench = Bench(adapter)
    await bench.read()
    known = bench.state.of("episodes").records
    for key, record in known.items():
        assert record.filled is not None
        known[key] = replace(record, filled=record.filled[:-3])  # addresses, contacts, lines
    adapter.lines |= {n: Line(left - 1, "N1") for n in range(100)}
    assert len(await bench.read()) == (0 if held else 100)
    assert waiting(bench) == {("", what): 100 for what in held}


async def test_fields_that_empty_a_little_with_every_sweep_are_held_back_within_the_day() -> None:
    adapter = closed(300)
    bench = Bench(adapter)
    await bench.read()
    published = 0
    for start in range(0, 300, 50):
        reopen(adapter, range(start, start + 50))
        published += len(await bench.read())
    assert published == 50
    assert waiting(bench)["", ENDED] == 250


async def test_emptied_fields_that_a_person_lets_through_are_published_once() -> None:
    adapter = closed(300)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(200))
    await bench.read()
    for what in (ENDED, "emptied close_reason"):
        allow(bench, what)
    assert len(await bench.read()) == 200
    assert (bench.log.state(), waiting(bench)) == (adapter.state(), {})
    reopen(adapter, range(200, 300))
    assert await bench.read() == []


async def test_more_changes_than_are_kept_in_memory_are_published_by_the_next_sweep() -> None:
    adapter = closed(5000)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(3000))
    await bench.read()
    for what in (ENDED, "emptied close_reason"):
        allow(bench, what)
    assert [len(await bench.read()) for _ in range(3)] == [2000, 1000, 0]
    assert (bench.log.state(), waiting(bench)) == (adapter.state(), {})


async def test_a_table_whose_content_goes_back_is_held_back_until_a_person_allows_it() -> None:
    adapter = table(100)
    bench = Bench(adapter)
    await bench.read()
    for need in ("N2", "N3"):
        adapter.lines = {n: Line(n, need) for n in range(100)}
        assert len(await bench.read()) == 100
    adapter.lines = {n: Line(n, "N1") for n in range(100)}
    assert await bench.read() == []
    assert waiting(bench) == {("", WENT_BACK): 100}
    allow(bench, WENT_BACK)
    assert len(await bench.read()) == 100
    assert bench.log.state() == adapter.state()


async def test_an_edition_that_leaves_a_field_out_is_published_and_so_is_its_rollback() -> None:
    adapter = closed(100)
    bench = Bench(adapter)
    await bench.read()
    for edition, child in (("2", 1), ("1", 0)):
        bench.edition = edition
        adapter.reinterpret = lambda row, child=child: (row[0], child, row[2])
        assert len(await bench.read()) == 100


async def test_a_bad_row_that_comes_back_while_its_good_one_is_held_is_quarantined_again() -> None:
    adapter = closed(100)
    bench = Bench(adapter)
    await bench.read()
    adapter.lines[30] = Line(0, "")
    assert await bench.read() == []
    reopen(adapter, range(60))
    assert await bench.read() == []
    assert (waiting(bench)["", ENDED], bench.problems()) == (60, {})
    adapter.lines[30] = Line(0, "")
    for _ in range(2):
        assert await bench.read() == []
        assert list(bench.problems()) == [adapter.key(30)]


async def test_what_is_held_stays_held_when_another_edition_is_deployed() -> None:
    adapter = closed(100)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(60))
    await bench.read()
    bench.edition = "2"
    assert await bench.read() == []
    assert waiting(bench)["", ENDED] == 60


async def test_what_is_held_stays_held_when_a_sweep_was_stopped_and_goes_on() -> None:
    adapter = closed(300)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(200))
    await bench.read()
    adapter.asked, adapter.fails_after = 0, 190
    with pytest.raises(UnavailableError):
        await bench.read()
    adapter.fails_after = None
    assert await bench.read() == []
    assert waiting(bench)["", ENDED] == 200


async def test_a_permission_is_not_used_up_by_a_sweep_that_was_stopped_and_went_on() -> None:
    adapter = closed(400)
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(100))
    await bench.read()
    for _, what in list(waiting(bench)):
        allow(bench, what)
    adapter.asked, adapter.fails_after = 0, 75
    with pytest.raises(UnavailableError):
        await bench.read()
    adapter.fails_after = None
    assert await bench.read() == []
    assert len(await bench.read()) == 100
    assert waiting(bench) == {}


async def test_a_kill_while_changes_are_let_through_publishes_each_of_them_once() -> None:
    for at in range(1000):
        adapter = closed(100)
        bench = Bench(adapter)
        await bench.read()
        reopen(adapter, range(15))
        faults = Faults(at)
        with suppress(Killed):
            await bench.read(bench.pump(faults))
        await bench.read()
        await bench.read()
        assert bench.log.state() == adapter.state(), at
        assert len(bench.log.told()) == 115, at
        if faults.passed <= at:
            return


async def test_a_tail_publishes_a_few_emptied_fields_and_leaves_the_rest_to_a_sweep_at_once() -> None:
    adapter = closed(100, reading="tail")
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(15))
    assert len(await bench.read()) == 15
    reopen(adapter, range(15, 60), at=2)
    assert await bench.read() == []
    assert waiting(bench)["", ENDED] == 45
    assert await bench.read() == [], "the sweep has judged it"
    for what in (ENDED, "emptied close_reason"):
        allow(bench, what)
    assert len(await bench.read()) == 45, "a person's permission makes the sweep due"
    assert (bench.log.state(), waiting(bench)) == (adapter.state(), {})


async def test_a_small_share_that_a_tail_reads_goes_with_the_sweep_that_it_makes_due() -> None:
    adapter = closed(1000, reading="tail")
    bench = Bench(adapter)
    await bench.read()
    reopen(adapter, range(100))
    assert await bench.read() == []
    assert len(await bench.read()) == 100
    assert (bench.log.state(), waiting(bench)) == (adapter.state(), {})
