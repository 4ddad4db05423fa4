"""What a system sends by itself: an answer means that it is in Kafka, and whatever it repeats is published once."""

from collections import Counter
from collections.abc import Collection
from random import Random
from typing import Any

import pytest

from adapters.engine.guard import Guard
from adapters.port import Adapter, Parcel
from adapters.testing import AdapterSuite, Bench, Faults, Killed, Log, MemoryState, SendingAdapter, assert_versions_grow
from adapters.testing.sending import Message
from adapters.testing.table import Line
from canonical.errors import UnavailableError


def sender(count: int = 20, **options: Any) -> SendingAdapter:
    adapter = SendingAdapter(**options)
    for n in range(count):
        adapter.put(n, Line(n // 3, "N1"))
    return adapter


class TestTableSent(AdapterSuite):
    only_named = frozenset({"person"})

    @pytest.fixture
    def adapter(self) -> SendingAdapter:
        return sender()

    async def change_one(self, adapter: Adapter) -> str:
        return self.put(adapter, Line(2, "N5"))

    async def delete_one(self, adapter: Adapter) -> str:
        assert isinstance(adapter, SendingAdapter)
        adapter.take(7)
        return adapter.key(7)

    async def break_one(self, adapter: Adapter) -> str:
        return self.put(adapter, Line(2, ""))

    async def mend_it(self, adapter: Adapter) -> None:
        self.put(adapter, Line(2, "N6"))

    async def counted(self, _: Adapter) -> dict[str, int]:
        return {"episodes": 20}

    def put(self, adapter: Adapter, line: Line) -> str:
        assert isinstance(adapter, SendingAdapter)
        adapter.put(7, line)
        return adapter.key(7)


class TestTableSentWithoutOrder(TestTableSent):
    @pytest.fixture
    def adapter(self) -> SendingAdapter:
        return sender(ordered=False)


def assert_told_once(bench: Bench) -> None:
    """Every record's events are some of its changes, in their order, each once; the last one is the last."""
    adapter = bench.adapter
    assert isinstance(adapter, SendingAdapter)
    assert_versions_grow(bench.log.told())
    assert bench.log.state() == adapter.state()
    for number in {message.record for message in adapter.sent}:
        changes = [content(adapter, message) for message in adapter.sent if message.record == number]
        left = iter(changes)
        # An odd version is the tombstone that a move leaves behind.
        told = [e.data for e in bench.log.told() if e.key == adapter.key(number) and not e.version % 2]
        lasting = [data for n, data in enumerate(told) if not n or data != told[n - 1]]
        assert lasting == told, f"{number} was told twice"
        assert all(data in left for data in told), f"{number} went back: {told}, of {changes}"


def content(adapter: SendingAdapter, message: Message) -> bytes | None:
    if message.line is None or not message.line.need:
        return None
    return adapter.map((message.record, *message.line[:2])).to_bytes()


# -- what comes ------------------------------------------------------------------------------------------------------


async def test_changes_and_deletions_are_published_and_answered() -> None:
    adapter = sender(20, page=6)
    bench = Bench(adapter)
    assert len(await bench.read()) == 20
    assert (adapter.answered, adapter.waiting) == (4, [])
    adapter.put(3, Line(1, "N9"))
    adapter.take(4)
    adapter.put(5, Line(1, "N1"))  # as it is already
    assert bench.said(await bench.read()) == [("3", 2, True), ("4", 2, False)]
    assert await bench.read() == []
    progress = bench.state.of("episodes").progress
    assert (progress.read, progress.published, progress.completed is not None) == (0, 0, True)
    assert_told_once(bench)


async def test_of_several_words_on_one_record_in_a_parcel_the_last_counts() -> None:
    adapter = sender(3)
    bench = Bench(adapter)
    await bench.read()
    adapter.put(1, Line(0, "N2"))
    adapter.take(1)
    adapter.put(1, Line(0, "N3"))
    assert bench.said(await bench.read()) == [("1", 2, True)]
    assert_told_once(bench)


async def test_nothing_is_deleted_because_nobody_speaks_of_it_and_the_guard_keeps_no_deletion_back() -> None:
    adapter = sender(40)
    bench = Bench(adapter, guard=Guard(share=0.1, few=2))
    await bench.read()
    for _ in range(3):
        assert await bench.read() == []
    for number in range(40):
        adapter.take(number)
    assert len(await bench.read()) == 40
    assert_told_once(bench)


async def test_a_record_that_cannot_be_mapped_is_named_in_the_answer_and_its_neighbours_go_on() -> None:
    adapter = sender(3)
    bench = Bench(adapter)
    await bench.read()
    adapter.put(1, Line(0, ""))
    adapter.put(2, Line(0, "N2"))
    assert bench.said(await bench.read()) == [("2", 2, True)]
    assert adapter.bad == list(bench.problems()) == [adapter.key(1)]
    adapter.repeat(adapter.sent[1])  # its last good state, late: it is bad all the same
    assert await bench.read() == []
    assert list(bench.problems()) == [adapter.key(1)]
    adapter.put(1, Line(0, "N1"))
    assert await bench.read() == []  # its last good event stands
    assert not bench.problems()


async def test_a_record_that_moves_to_another_owner_leaves_a_tombstone_in_the_old_partition() -> None:
    adapter = sender(10)
    bench = Bench(adapter, partitions=50)
    await bench.read()
    adapter.put(4, Line(77, "N1"))
    assert bench.said(await bench.read()) == [("4", 2, False), ("4", 3, True)]
    bench.state = MemoryState()
    adapter.repeat(adapter.sent[4])
    assert await bench.read() == []


async def test_a_new_edition_maps_what_comes_and_nothing_else() -> None:
    adapter = sender(4)
    bench = Bench(adapter)
    await bench.read()
    bench.edition = "2"
    adapter.reinterpret = lambda row: (row[0], row[1], "N7" if row[0] == 1 else row[2])
    assert await bench.read() == []
    adapter.waiting += adapter.sent
    assert bench.said(await bench.read()) == [("1", 2, True)]


async def test_a_reading_that_never_comes_to_its_end_is_ended_between_two_parcels() -> None:
    adapter = sender(200, page=1)
    bench = Bench(adapter)
    assert 0 < len(await bench.read()) < 100
    while adapter.waiting:
        await bench.read()
    assert_told_once(bench)


# -- what comes again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True])
async def test_what_was_answered_and_comes_again_late_publishes_nothing(lost: bool) -> None:
    adapter = sender(5)
    bench = Bench(adapter)
    await bench.read()
    adapter.put(1, Line(0, "N2"))
    adapter.put(3, Line(0, "N3"))
    adapter.take(2)
    await bench.read()
    if lost:
        bench.state = MemoryState()
    for message in (*adapter.sent, adapter.sent[1]):
        adapter.repeat(message)
    assert await bench.read() == []
    assert_told_once(bench)


async def test_a_deletion_that_overtakes_the_record_leaves_nothing_behind() -> None:
    adapter = sender(3)
    bench = Bench(adapter)
    adapter.take(1)
    first = adapter.waiting.pop(1)
    await bench.read()
    adapter.repeat(first)
    assert await bench.read() == []
    assert bench.log.state() == adapter.state()
    adapter.put(1, Line(0, "N4"))
    assert bench.said(await bench.read()) == [("1", 1, True)]


async def test_without_an_order_a_parcel_that_comes_again_as_it_was_publishes_nothing() -> None:
    adapter = sender(5, ordered=False)
    bench = Bench(adapter)
    adapter.put(1, Line(0, "N2"))
    adapter.put(1, Line(0, "N3"))
    adapter.faults = Faults(0, UnavailableError("legacy", "does not answer"), only="answer")
    with pytest.raises(UnavailableError):
        await bench.read()
    assert await bench.read() == []
    assert_told_once(bench)


async def test_a_system_that_counts_in_another_way_by_now_is_compared_by_content() -> None:
    adapter = sender(3)
    bench = Bench(adapter)
    await bench.read()
    adapter.put(1, Line(0, "N2"))
    adapter.waiting = [Message("2026-11-26T20:00", *adapter.waiting[0][1:])]  # type: ignore[arg-type, list-item]
    assert bench.said(await bench.read()) == [("1", 2, True)]


# -- kills -----------------------------------------------------------------------------------------------------------


class Checked(SendingAdapter):
    """Looks, at each answer, whether what is answered is published and remembered."""

    bench: Bench

    async def _answer(self, page: list[Message], bad: Collection[str]) -> None:
        last = {message.record: message for message in page}
        published = self.bench.log.state()
        remembered = self.bench.state.of("episodes").records
        for number, message in last.items():
            if message == [m for m in self.sent if m.record == number][-1]:
                assert published.get(self.key(number)) == content(self, message)
                assert (number not in self.lines) == remembered[self.key(number)].deleted
        await super()._answer(page, bad)


def life(adapter: SendingAdapter) -> None:
    adapter.put(1, Line(0, "N2"))
    adapter.put(1, Line(0, "N3"))
    adapter.take(2)
    adapter.put(3, Line(9, "N1"))  # to another owner
    adapter.put(2, Line(0, "N5"))
    adapter.put(1, Line(0, "N4"))
    adapter.take(0)


@pytest.mark.parametrize("again", [1, 2, 50])
@pytest.mark.parametrize("topic", [False, True])
async def test_a_kill_at_any_point_loses_nothing_and_repeats_nothing(topic: bool, again: int) -> None:
    at, ended = 0, False
    while not ended:
        log = Log()
        adapter = Checked(page=3, topic=log if topic else None)
        bench = adapter.bench = Bench(adapter)
        bench.log = log
        for n in range(4):
            adapter.put(n, Line(0, "N1"))
        await bench.read()
        life(adapter)
        adapter.faults = faults = Faults(at)
        try:
            await bench.read(bench.pump(faults))
            ended = True
        except Killed:
            adapter._page = again  # what was not answered comes again, cut in another way
        adapter.faults = Faults()
        await bench.read()
        assert_told_once(bench)
        assert await bench.read() == []
        assert not adapter.waiting or topic
        at += 1
    assert at > 30


@pytest.mark.parametrize("point", ["publish", "published", "save", "saved", "answer", "answered"])
async def test_after_an_outage_at_any_point_the_same_process_goes_on(point: str) -> None:
    for at in range(5):
        adapter = sender(4, page=3)
        bench = Bench(adapter)
        faults = adapter.faults = Faults(at, UnavailableError("something", "does not answer"), only=point)
        pump = bench.pump(faults)
        life(adapter)
        while adapter.waiting:
            try:
                await bench.read(pump)
            except UnavailableError:
                continue
        assert_told_once(bench)


async def test_what_was_taken_in_from_a_topic_and_not_remembered_is_not_asked_for_again() -> None:
    log = Log()
    adapter = sender(20, topic=log)
    bench = Bench(adapter)
    bench.log = log
    with pytest.raises(Killed):
        await bench.read(bench.pump(Faults(0, only="published")))
    assert log.groups == {"ironbridge.legacy": {("episodes", 0): 20}}
    asked = adapter.asked
    assert await bench.read() == []
    assert adapter.asked == asked
    adapter.put(3, adapter.lines[3])  # unchanged: its offset is committed all the same
    assert await bench.read() == []
    assert log.groups == {"ironbridge.legacy": {("episodes", 0): 21}}
    assert_told_once(bench)


@pytest.mark.parametrize("seed", range(40))
async def test_a_random_life_of_kills_outages_and_repetitions(seed: int) -> None:
    random = Random(seed)
    log = Log(random.choice([1, 3]))
    adapter = sender(4, page=random.choice([1, 3, 50]), topic=log if random.random() < 0.3 else None)
    bench = Bench(adapter)
    bench.log = log
    pump = bench.pump()
    for _ in range(60):
        act(adapter, random)
        adapter._page = random.choice([1, 2, 7])
        error = random.choice([Killed(), UnavailableError("something", "does not answer")])
        faults = adapter.faults = Faults(random.randrange(60), error)
        if random.random() < 0.3:
            pump = bench.pump(faults)
        if random.random() < 0.05:
            bench.state, pump = MemoryState(), bench.pump(faults)
        try:
            await bench.read(pump)
        except Killed:
            adapter.faults = Faults()
            pump = bench.pump()
        except UnavailableError:
            pass
    adapter.faults = Faults()
    for _ in range(20):
        await bench.read()
    assert_told_once(bench)
    assert Counter(event.key for event in bench.log.told()).most_common(1)[0][1] > 2


def act(adapter: SendingAdapter, random: Random) -> None:
    """Some changes, and messages that come again although they were answered."""
    for _ in range(random.randrange(5)):
        number = random.randrange(6)
        if number in adapter.lines and random.random() < 0.3:
            adapter.take(number)
        else:
            adapter.put(number, Line(random.randrange(3), f"N{len(adapter.sent)}"))
    if random.random() < 0.4:
        adapter.repeat(random.choice(adapter.sent))


def test_a_parcel_needs_no_more_than_its_records() -> None:
    assert Parcel([]).offsets is None
