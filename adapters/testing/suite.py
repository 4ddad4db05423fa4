"""
Shipped for tests: the scenarios that every adapter passes, and a bench to try a pump on without any server.

>>> class TestMySystem(AdapterSuite):                      # doctest: +SKIP
...     @pytest.fixture
...     def adapter(self): ...
...     async def change_one(self, adapter): ...           # and delete_one, break_one, mend_it
"""
# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from adapters.engine.guard import Guard
from adapters.engine.journal import Memory, Problem
from adapters.engine.mapping import Made, mapped
from adapters.engine.numbers import references
from adapters.engine.pump import Pump
from adapters.port import Adapter, Extract, Files, PurgedRow, Push, Record, Stream, Sweep, Tail
from adapters.testing.elsewhere import said_elsewhere, said_here
from adapters.testing.faults import Faults
from adapters.testing.scrutiny import floating_money, quotes_a_value
from adapters.testing.stand_ins import Log, MemoryJournal, MemoryMemory, MemoryState
from canonical import Event
from canonical.entity import classified
from canonical.key import key_of, read_key


class Bench:
    """A legacy system, a log and a state, and pumps that come and go between them."""

    def __init__(self, adapter: Adapter, *, guard: Guard | None = None, partitions: int = 3) -> None:
        self.adapter = adapter
        self.log = Log(partitions)
        self.state = MemoryState()
        self.guard = guard or Guard()
        self.edition = "1"
        self.mean_region = 8  # so that a small table has many
        self._now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
        self._entities = sorted({e for s in adapter.streams() for e in s.entities}, key=lambda e: e.type_name)

    def clock(self) -> datetime:
        """Later by a second each time that it is asked."""
        self._now += timedelta(seconds=1)
        return self._now

    def wait(self, some: timedelta) -> None:
        self._now += some

    def pump(self, faults: Faults | None = None, memory: Memory | None = None) -> Pump:
        """A new copy of the adapter's process."""
        return Pump(
            self.adapter,
            MemoryJournal(self.log, self.adapter.name, self._entities, faults),
            memory or MemoryMemory(self.state, faults),
            edition=self.edition,
            guard=self.guard,
            clock=self.clock,
            mean_region=self.mean_region,
        )

    async def read(self, pump: Pump | None = None) -> list[Event]:
        """Read every stream once; what was published, in order."""
        pump = pump or self.pump()
        before = len(self.log.transactions)
        await pump.ready()
        for stream in self.adapter.streams():
            await pump.read(stream)
        return [event for events in self.log.transactions[before:] for event in events]

    def nth(self, event: Event) -> int:
        """The number of an event among its key's versions, counted from 1."""
        return sorted({told.version for told in self.log.told() if told.key == event.key}).index(event.version) + 1

    def said(self, events: Iterable[Event]) -> list[tuple[str, int, bool]]:
        """Events in short: the key's last part, the number of its version, whether the record lives."""
        return [(read_key(event.key).identifiers[-1], self.nth(event), event.data is not None) for event in events]

    def waiting(self, stream: str) -> dict[tuple[str, str], int]:
        """The numbers of a stream's changes that the guard holds for a person, by extract and kind."""
        entries = self.state.of(stream).guarded
        return {each: e.held for each, e in entries.items() if e.since is not None and e.held}

    def problems(self) -> dict[str, Problem]:
        return {key: p for stream in self.state.streams.values() for key, p in stream.problems.items()}


def assert_versions_grow(told: Iterable[Event]) -> None:
    """Check that every key's versions grow in the order of publication: none is repeated, none is lower than an earlier one."""
    versions: dict[str, list[int]] = {}
    for event in told:
        versions.setdefault(event.key, []).append(event.version)
    wrong = {key: v for key, v in versions.items() if v != sorted(set(v))}
    assert not wrong, f"versions that do not grow: {wrong}"


async def whole(extract: Extract) -> list[Record]:
    """All records of an extract at once; only a test may ask for that."""
    return [record async for portion in extract.portions() for record in portion]


_ALONE = "the hook touched other records, too: choose a row that one stream reads, and that is part of no other record"

_KEY = re.compile(r"[a-z][a-z0-9_.-]*:[a-z][a-z0-9-]*:.+")


class AdapterSuite:
    """
    The scenarios that every adapter passes.

    Subclass it and give it the four hooks and a fixture `adapter`: not yet opened, its system holds a few good records
    and no bad one (one that pushes has them to send, and the hooks make it send). The fixture may keep on `self` what the
    hooks need.
    """

    missing_is_deleted: bool = True
    """False where a record that is no longer there says nothing (only lasting types)."""

    only_named: frozenset[str] = frozenset()
    """Types of records that its entities name, and that nobody publishes: `{"worker"}` where a key names a worker."""

    async def change_one(self, adapter: Adapter) -> str:
        """Change what one record says; the key of the one entity that is another one then."""
        raise NotImplementedError

    async def delete_one(self, adapter: Adapter) -> str:
        """Take one record away; the key of its entity."""
        raise NotImplementedError

    async def break_one(self, adapter: Adapter) -> str:
        """Make one record such that it cannot be mapped; its key."""
        raise NotImplementedError

    async def mend_it(self, adapter: Adapter) -> None:
        """Make the broken record good again, and other than it was before it broke."""
        raise NotImplementedError

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        """
        How many records each stream should read, by its name: counted by the test in a way of its own, `SELECT count(*)` of the
        bare table, say. A condition or a join that loses rows is found by that.
        """
        raise NotImplementedError

    async def test_every_record_is_read_once_and_published_once(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        events = await bench.read()
        assert events, "the system holds a few good records"
        assert_versions_grow(events)
        assert len({event.key for event in events}) == len(events)
        assert not bench.problems()

    async def test_a_second_read_publishes_nothing(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        await bench.read()
        assert await bench.read() == []

    async def test_a_new_edition_of_the_mapping_that_says_the_same_publishes_nothing(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        await bench.read()
        bench.edition = "2"
        assert await bench.read() == []

    async def test_a_state_that_was_lost_is_rebuilt_and_nothing_is_published_twice(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        await bench.read()
        bench.state = MemoryState()
        assert await bench.read() == []

    async def test_one_changed_record_publishes_one_event(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        await bench.read()
        key = await self.change_one(adapter)
        events = await bench.read()
        assert not any(event.moved_to for event in events), f"{key} has another owner, because something else of it changed"
        assert [(event.key, bench.nth(event)) for event in events] == [(key, 2)], f"`change_one`: {_ALONE}"
        assert events[0].data is not None

    async def test_a_deleted_record_publishes_a_tombstone(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        await bench.read()
        key = await self.delete_one(adapter)
        self._whole_sweep_is_due(bench)
        events = await bench.read()
        said = [(event.key, bench.nth(event), event.data) for event in events]
        assert said == ([(key, 2, None)] if self.missing_is_deleted else []), f"`delete_one`: {_ALONE}"

    async def test_a_bad_record_is_quarantined_alone_and_published_once_it_is_mended(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        await bench.read()
        key = await self.break_one(adapter)
        assert await bench.read() == []
        assert list(bench.problems()) == [key], f"`break_one`: {_ALONE}"
        await self.mend_it(adapter)
        assert [(event.key, bench.nth(event)) for event in await bench.read()] == [(key, 2)]
        assert not bench.problems()

    async def test_a_bad_record_holds_up_no_other_at_the_first_load(self, adapter: Adapter) -> None:
        key = await self.break_one(adapter)
        bench = Bench(adapter)
        events = await bench.read()
        assert events
        assert key not in {event.key for event in events}
        await self.mend_it(adapter)
        assert [(event.key, bench.nth(event)) for event in await bench.read()] == [(key, 1)]

    async def test_two_reads_of_an_unchanged_system_give_equal_rows(self, adapter: Adapter) -> None:
        first, second = await _read(adapter), await _read(adapter)
        for stream, records in first.items():
            unlike = [r.key for r, again in zip(records, second[stream], strict=True) if repr(r) != repr(again)]
            assert unlike == [], f"stream `{stream}`: an unchanged record is read as another row, or its parts in another order"
            assert not any(" object at 0x" in repr(r.row) for r in records), f"stream `{stream}`: a row holds no plain value"

    async def test_keys_match_what_is_mapped_and_no_key_is_read_twice(self, adapter: Adapter) -> None:
        read = await _read(adapter)
        for stream in adapter.streams():
            for record in read[stream.name]:
                entity = stream.map(record.row)
                assert (entity.key, type(entity) in stream.entities) == (record.key, True)
                assert read_key(record.key)[:2] == (adapter.name, entity.type_name)
        keys = Counter(record.key for records in read.values() for record in records)
        assert [key for key, times in keys.items() if times > 1] == []

    async def test_no_record_is_left_out(self, adapter: Adapter) -> None:
        there, read = await self.counted(adapter), await _read(adapter)
        assert there.keys() == read.keys(), "count the records of every stream"
        lost = {stream: f"{len(read[stream])} of {number}" for stream, number in there.items() if len(read[stream]) != number}
        assert lost == {}, f"a condition or a join loses records: {lost}"

    async def test_a_mapping_depends_on_nothing_but_its_row(self, adapter: Adapter) -> None:
        read = await _read(adapter)
        asked = [(stream, read[stream.name]) for stream in adapter.streams() if read[stream.name]]
        keys = [record.key for _, records in asked for record in records]
        said = zip(keys, said_here(asked), said_elsewhere(asked), strict=True)
        unlike = [key for key, here, there in said if here != there]
        assert unlike == [], (
            "another process, on another day, in another time zone, with another order of sets, makes something else of the "
            "same row"
        )

    async def test_every_record_has_an_owner_of_its_own_system(self, adapter: Adapter) -> None:
        foreign = [made.key for made in await _made(adapter) if read_key(made.owner).source != adapter.name]
        assert foreign == [], "a record of another system owns them: the owner's key begins with the adapter's name"

    async def test_every_record_that_is_named_is_read_too(self, adapter: Adapter) -> None:
        made = await _made(adapter)
        named = references(adapter.name, made) - {each.key for each in made}
        dangling = sorted(key for key in named if read_key(key).entity not in self.only_named)
        assert dangling == [], "no stream reads what is named so: correct the key, or put its type into `only_named`"

    async def test_money_is_never_a_float(self, adapter: Adapter) -> None:
        entities = {entity for stream in adapter.streams() for entity in stream.entities}
        floats = [f"{e.type_name}.{name}" for e in entities for name in floating_money(e)]
        assert floats == [], "a float cannot hold a tenth of a pound: use canonical.values.Amount"

    async def test_no_error_of_a_mapping_quotes_a_value(self, adapter: Adapter) -> None:
        """The engine would blot it out; the sentence is then hard to read."""
        read = await _read(adapter)
        quoting = [s.name for s in adapter.streams() if any(quotes_a_value(s, record.row) for record in read[s.name][:20])]
        assert quoting == [], "the error of a bad value quotes it: say the field, the rule and the value's shape"

    async def test_every_field_that_it_may_publish_is_classified(self, adapter: Adapter) -> None:
        entities = {entity for stream in adapter.streams() for entity in stream.entities}
        bare = [f"{e.type_name}.{name}" for e in entities for name, sensitivity in classified(e) if sensitivity is None]
        assert bare == []

    async def test_it_reads_the_same_after_it_was_closed_and_opened_again(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        first = bench.pump()
        await bench.read(first)
        await first.close()
        assert await bench.read() == []

    async def test_its_check_finds_everything_well(self, adapter: Adapter) -> None:
        await adapter.open()
        findings = await adapter.check()
        await adapter.close()
        assert findings
        assert [finding for finding in findings if not finding.well] == []

    async def test_its_names_can_stand_in_keys_and_metrics(self, adapter: Adapter) -> None:
        assert _KEY.fullmatch(key_of(adapter.name, "person", 1))
        names = [stream.name for stream in adapter.streams()]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[a-z][a-z0-9_-]*", name) for name in names)

    def _whole_sweep_is_due(self, bench: Bench) -> None:
        for stream in bench.adapter.streams():
            bench.wait(stream.read_by(_DueAfter()))


async def _read(adapter: Adapter) -> dict[str, list[Record]]:
    """All records of all streams, as the pump would read them for the first time; of a purged one nothing is said."""
    await adapter.open()
    read = {
        stream.name: [r async for r in stream.read_by(_Records()) if type(r.row) is not PurgedRow]
        for stream in adapter.streams()
    }
    await adapter.close()
    return read


async def _made(adapter: Adapter) -> list[Made]:
    """All records of all streams, mapped."""
    read = await _read(adapter)
    return [mapped(stream, record) for stream in adapter.streams() for record in read[stream.name]]


class _Records:
    """Gives the records of a stream (`adapters.port.Reader`)."""

    async def sweep(self, _: Stream, reading: Sweep) -> AsyncIterator[Record]:
        async for page in reading.pages(None):
            for record in page.records:
                yield record

    def tail(self, stream: Stream, reading: Tail) -> AsyncIterator[Record]:
        return self.sweep(stream, reading.sweep)

    async def files(self, _: Stream, reading: Files) -> AsyncIterator[Record]:
        async for extract in reading.extracts():
            for record in await whole(extract):
                yield record

    async def push(self, _: Stream, reading: Push) -> AsyncIterator[Record]:
        async for parcel in reading.receive():
            for word in parcel.records:
                if isinstance(word, Record):
                    yield word


class _DueAfter:
    """Says after which time a stream's next reading shows what was deleted (`adapters.port.Reader`)."""

    def sweep(self, _: Stream, __: Sweep) -> timedelta:
        return timedelta(0)

    def tail(self, _: Stream, reading: Tail) -> timedelta:
        return reading.sweep_every

    def files(self, _: Stream, __: Files) -> timedelta:
        return timedelta(0)

    def push(self, _: Stream, __: Push) -> timedelta:
        return timedelta(0)
