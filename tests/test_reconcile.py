"""Whether the two ends agree: every planted difference is found and named, and nothing else is."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from adapters.engine.pump import Pump
from adapters.port import Page, Parcel, Position, Push, Record, Row, Stream, Sweep
from adapters.testing import Log, MemoryJournal
from canonical import Supplier
from canonical.entity import Entity
from canonical.finding import Finding
from flows.engine.ledger import pack
from flows.port import Absent, Document, Facts, Held, Holding, Limits, Nothing, Outcome, ReadBack, Write
from ironbridge.operate.reconcile import Certificate, Disagreement, Kind, Source, Where, compare
from ironbridge.operate.reconcile.certificate import certificate_of
from ironbridge.store import Store, StoredMemory, open_store
from ironbridge.store.bulk import put
from ironbridge.store.tables import facts, flows, subjects
from tests.agreement import START, PurchaseFlow, World, invoice, supplier, supplier_key
from tests.servers import Postgres
from tests.states import state_database

MANY = 100_000


@dataclass
class Village:
    """A legacy system of suppliers: `names` by number, in order. `meanwhile` is called before each page but the first."""

    names: dict[int, str]
    name: str = "payables"
    size: int = 1000
    meanwhile: list[Callable[[], Any]] = field(default_factory=list)
    opened: int = 0

    def streams(self) -> Sequence[Stream]:
        return [Stream("supplier", (Supplier,), self._map, Sweep(self._pages))]

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.opened -= 1

    async def check(self) -> Sequence[Finding]:
        return []

    def _map(self, row: Row) -> Supplier:
        number, name = row
        return Supplier(key=supplier_key(number), number=str(number), name=name)

    async def _pages(self, after: Position | None) -> AsyncIterator[Page]:
        start = 0 if after is None else int(after[0]) + 1
        wanted = [n for n in sorted(self.names) if n >= start]
        for at in range(0, len(wanted), self.size):
            rows = [(n, self.names[n]) for n in wanted[at : at + self.size]]
            yield Page([Record(supplier_key(n), (n,), (n, name)) for n, name in rows], (rows[-1][0],))
            if self.meanwhile:
                await self.meanwhile.pop(0)()


class Suppliers(PurchaseFlow):
    entities: tuple[type[Entity], ...] = (Supplier,)


@pytest.fixture
async def world(store: Store) -> World:
    """Six suppliers on all sides, and an invoice of the first."""
    made = World(store)
    await made.arrive(*(supplier(n) for n in range(1, 7)), invoice(7, of=1))
    await made.agree()
    return made


def village(world: World) -> Village:
    return Village({n: f"Supplier {n} as of 1" for n in range(1, 7)})


async def compared(world: World, legacy: Village, **more: Any) -> Certificate:
    source = Source(legacy, legacy.streams())
    world.store.clock = time.time  # the bridge did its work long ago
    found = await compare(
        world.store, world.flow, world.target, [source], patience=0, today=lambda: START.date(), by="jo", **more
    )
    world.store.clock = world.clock
    assert legacy.opened == 0
    return found


def told(certificate: Certificate) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return sorted((d.where.value, d.kind.value, d.key, d.fields) for d in certificate.differences)


async def test_ends_that_agree_get_a_certificate_that_says_so(world: World) -> None:
    found = await compared(world, village(world))
    # The invoice's fact has no legacy system here: it is not judged, and the certificate does not pretend that it was.
    assert told(found) == []
    assert found.agreed
    legacy, cloud = found.parts
    assert (legacy.what, legacy.looked, legacy.agreed) == ("payables", 6, 6)
    assert (cloud.how, cloud.looked, cloud.agreed) == ("read back: the target listed all that it holds", 7, 7)


async def test_every_kind_of_difference_with_the_legacy_system_is_found_and_named(world: World) -> None:
    legacy = village(world)
    legacy.names[2] = "Renamed since"  # never published
    legacy.names[9] = "New since"
    del legacy.names[3]
    await world.run("UPDATE facts SET data = :data WHERE key = :key", key=supplier_key(4), data=_named(4, "Tampered"))
    legacy.names[5] = ""  # a row that cannot be mapped
    found = await compared(world, legacy)
    canonical = [each for each in told(found) if each[0] == "canonical"]
    assert canonical == [
        ("canonical", "different", supplier_key(2), ("name",)),
        ("canonical", "different", supplier_key(4), ("name",)),
        ("canonical", "extra", supplier_key(3), ()),
        ("canonical", "missing", supplier_key(9), ()),
        ("canonical", "stale", supplier_key(5), ()),
    ]
    (quarantined,) = [d for d in found.differences if d.kind is Kind.STALE and d.where is Where.CANONICAL]
    assert quarantined.why.startswith("quarantined: payables.supplier payables:supplier:5: name")


class Pushing(Village):
    """It sends its suppliers, and cannot be asked for them."""

    def streams(self) -> Sequence[Stream]:
        return [Stream("supplier", (Supplier,), self._map, Push(self._sent))]

    async def _sent(self) -> AsyncIterator[Parcel]:
        yield Parcel([Record(supplier_key(n), (1,), (n, name)) for n, name in self.names.items()])


async def test_of_what_was_pushed_nothing_is_said_but_how_much_it_is(world: World) -> None:
    legacy = Pushing(village(world).names)
    pump = Pump(legacy, MemoryJournal(Log(), "payables", [Supplier]), StoredMemory(world.store, "payables"), edition="1")
    await pump.ready()
    await pump.read(legacy.streams()[0])
    await pump.close()
    legacy.names.clear()
    found = await compared(world, legacy)
    assert told(found) == []
    note = "6 records were pushed by their system, which cannot be asked for them: nothing is said of them"
    assert [(part.looked, part.notes) for part in found.parts if part.what == "payables"] == [(0, [note])]


def _named(number: int, name: str) -> bytes:
    return Supplier(key=supplier_key(number), number=str(number), name=name).to_bytes()


async def test_every_kind_of_difference_with_the_target_is_found_and_named(world: World) -> None:
    await world.arrive(supplier(2, 2, "Renamed, not yet written"), supplier(8, 1, "New, not yet written"))
    await world.arrive(supplier(6, 2, deleted=True))
    target = world.target
    target.lose(supplier_key(3))
    target.documents[supplier_key(4)] = Document("supplier", "4", {"number": "4", "name": "Changed by hand"})
    target.documents["by hand"], target.ids["by hand"] = Document("supplier", "77", {"number": "77"}), "id77"
    target.documents["twice"], target.ids["twice"] = Document("supplier", "5", {"number": "5"}), "id55"
    legacy = village(world)
    legacy.names |= {2: "Renamed, not yet written", 8: "New, not yet written"}
    del legacy.names[6]
    found = await compared(world, legacy)
    assert told(found) == [
        ("cloud", "different", supplier_key(4), ("name",)),
        ("cloud", "extra", "id55", ()),
        ("cloud", "extra", "id77", ()),
        ("cloud", "extra", supplier_key(6), ()),
        ("cloud", "missing", supplier_key(3), ()),
        ("cloud", "missing", supplier_key(8), ()),
        ("cloud", "stale", supplier_key(2), ("name",)),
    ]
    why = {d.key: d.why for d in found.differences}
    assert why["id55"] == "a second one of this number: id5 is the first"
    assert why["id77"] == "no subject of this flow stands for it"
    assert why[supplier_key(3)] == (
        "it was confirmed, and somebody changed that there since: `ironbridge replay --rewrite` puts it right"
    )
    assert why[supplier_key(8)] == "it is still to be written, or its flow is paused or stopped"
    cloud = found.parts[-1]
    assert cloud.looked - cloud.agreed == 7
    await world.agree()
    mended = await compared(world, legacy)
    assert {key for _, _, key, _ in told(mended)} == {"id55", "id77", supplier_key(3), supplier_key(4)}


async def test_what_the_target_changed_by_itself_is_named_as_such(world: World) -> None:
    again = "the target changed name by itself; and did so again when it was written once more"
    added = "the target added dueDate by itself"
    for number, reason in ((4, again), (5, added)):
        key = supplier_key(number)
        await world.run("UPDATE subjects SET reason = :reason WHERE subject = :key", key=key, reason=reason)
    world.target.documents[supplier_key(4)] = Document("supplier", "4", {"number": "4", "name": "SUPPLIER 4"})
    found = await compared(world, village(world))
    assert [(d.key, d.why) for d in found.differences] == [(supplier_key(4), f"{again}; it holds name otherwise")]
    assert sorted(found.parts[-1].notes) == [f"1 documents: {added}", f"1 documents: {again}"]


async def test_records_whose_rows_were_numbered_anew_agree(world: World) -> None:
    class Renumbered(Village):
        def _map(self, row: Row) -> Supplier:
            number, name = row
            return Supplier(key=supplier_key(number), number=str(number % 100), name=name)

    legacy, state = Renumbered(village(world).names), StoredMemory(world.store, "payables")
    pump = Pump(legacy, MemoryJournal(Log(), "payables", [Supplier]), state, edition="1")
    for by in (0, 100):
        legacy.names = {n + by: name for n, name in legacy.names.items()}
        await pump.ready()
        await pump.read(legacy.streams()[0])
    await pump.close()
    assert await state.kept([supplier_key(101)]) == {supplier_key(101): supplier_key(1)}
    legacy.names[103] = "Renamed since"
    found = await compared(world, legacy)
    assert told(found) == [("canonical", "stale", supplier_key(3), ("name",))]  # by the fact that the adapter remembers


async def test_a_document_made_when_its_answer_was_lost_is_no_stranger(world: World) -> None:
    """The target gave it an id that we never heard of: it is found by its number."""
    await world.run("UPDATE subjects SET ref = NULL WHERE subject = :s", s=supplier_key(2))
    assert told(await compared(world, village(world))) == []


async def test_a_parked_subject_is_missing_or_stale_with_the_reason_that_it_is_parked_for(world: World) -> None:
    await world.arrive(supplier(2, 2, "Refused Ltd"), supplier(8, 1, "Refused Ltd"))
    await world.agree()
    legacy = village(world)
    legacy.names |= {2: "Refused Ltd", 8: "Refused Ltd"}
    found = await compared(world, legacy)
    assert [(d.kind, d.key, d.why) for d in found.differences] == [
        (Kind.STALE, supplier_key(2), "purchasing: name: is not one that the target can ever hold"),
        (Kind.MISSING, supplier_key(8), "purchasing: name: is not one that the target can ever hold"),
    ]


async def test_a_document_that_cannot_be_packed_is_a_difference_of_its_own_subject(world: World) -> None:
    """As in a delivery: both ask the same function for what a target should hold."""
    mapped = world.flow.desired

    def desired(subject: str, facts: Facts) -> Document | Nothing | None:
        return Document("supplier", "2", {"name": object()}) if subject == supplier_key(2) else mapped(subject, facts)

    world.flow.desired = desired  # type: ignore[method-assign]
    found = await compared(world, village(world))
    [difference] = found.differences
    assert (difference.kind, difference.key) == (Kind.STALE, supplier_key(2))
    assert difference.why.startswith("purchasing: the mapping failed (PydanticSerializationError at ")


async def test_a_target_that_shows_nothing_is_held_against_what_it_confirmed_and_the_certificate_says_so(
    world: World,
) -> None:
    class Mute:
        """It only takes documents."""

        name, limits = "mute", Limits()

        async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
            mute = world.target
            mute.readable = False
            return await mute.read_back(batch)

    world.target.lose(supplier_key(3))  # which nobody can see
    await world.arrive(supplier(2, 2), supplier(6, 2, deleted=True), supplier(8))
    legacy = village(world)
    legacy.names |= {2: "Supplier 2 as of 2", 8: "Supplier 8 as of 1"}
    del legacy.names[6]
    world.store.clock = time.time
    found = await compare(
        world.store, world.flow, Mute(), [Source(legacy, legacy.streams())], patience=0, today=lambda: START.date()
    )  # type: ignore[arg-type]
    assert told(found) == [
        ("cloud", "extra", supplier_key(6), ()),
        ("cloud", "missing", supplier_key(8), ()),
        ("cloud", "stale", supplier_key(2), ("name",)),
    ]
    assert found.parts[-1].how == (
        "not read back (it only takes documents, it shows none): held against what the target last confirmed; "
        "what changed there since nobody can tell"
    )


# -- what happens meanwhile --------------------------------------------------------------------------------------------


async def test_what_changes_while_it_is_compared_is_no_difference(world: World) -> None:
    """A bridge at work: rows change between the pages of either look, events arrive, documents are written and removed."""
    legacy = village(world)
    legacy.size = 2

    async def first() -> None:  # behind the page that has 1 and 2
        legacy.names[1] = "Renamed 1"
        await world.arrive(supplier(1, 2, "Renamed 1"), supplier(8, 1, "New"))
        await world.agree()
        legacy.names[8] = "New"

    async def second() -> None:
        del legacy.names[4]
        await world.arrive(supplier(4, 2, deleted=True), supplier(2, 2, "On its way"))
        legacy.names[2] = "On its way"
        await world.agree()

    async def third() -> None:
        await world.arrive(supplier(2, 3, "Again"))
        legacy.names[2] = "Again"

    legacy.meanwhile = [first, second, third, _nothing, third, first]
    found = await compared(world, legacy)
    assert told(found) == []


async def _nothing() -> None:
    return None


async def test_what_moved_between_the_looks_is_counted_and_not_judged(world: World) -> None:
    legacy = village(world)
    legacy.names[2] = "Renamed once"

    async def again() -> None:
        legacy.names[2] = "Renamed twice"

    legacy.meanwhile = [again]
    found = await compared(world, legacy)
    assert told(found) == []
    assert found.parts[0].moved == 1


async def test_the_bridge_gets_time_for_what_is_on_its_way_and_no_more_than_it_needs(world: World) -> None:
    """A row changed a moment ago: its adapter reads it, and its flow writes it, between the two looks."""
    await world.run(
        "INSERT INTO streams (adapter, name, started, completed) VALUES ('payables', 'supplier', :at, :at)",
        at=time.time() - 100,
    )
    legacy = village(world)
    legacy.names[2] = "Renamed a moment ago"

    async def bridge() -> None:
        await asyncio.sleep(0.7)
        await world.arrive(supplier(2, 2, "Renamed a moment ago"))
        await world.agree()
        await world.run("UPDATE streams SET started = :at, completed = :at", at=time.time())

    world.store.clock = time.time
    working, source = asyncio.create_task(bridge()), Source(legacy, legacy.streams())
    began = time.monotonic()
    found = await compare(world.store, world.flow, world.target, [source], today=lambda: START.date())
    await working
    assert told(found) == []
    assert time.monotonic() - began < 30


async def test_an_adapter_that_does_not_run_is_not_waited_for(world: World) -> None:
    await world.run(
        "INSERT INTO streams (adapter, name, started, completed) VALUES ('payables', 'supplier', :at, :at)",
        at=time.time() - 86400,
    )
    legacy = village(world)
    legacy.names[2] = "Renamed yesterday"
    began = time.monotonic()
    source = Source(legacy, legacy.streams())
    world.store.clock = time.time
    found = await compare(world.store, world.flow, world.target, [source], today=lambda: START.date())
    assert told(found) == [("canonical", "different", supplier_key(2), ("name",))]
    assert time.monotonic() - began < 25


@pytest.mark.parametrize(
    "scenario",
    [
        test_every_kind_of_difference_with_the_legacy_system_is_found_and_named,
        test_every_kind_of_difference_with_the_target_is_found_and_named,
        test_what_changes_while_it_is_compared_is_no_difference,
    ],
)
async def test_the_same_holds_on_postgresql(postgres: Postgres, scenario: Callable[[World], Awaitable[None]]) -> None:
    async with state_database(postgres) as url:
        store = await open_store(url)
        made = World(store)
        await made.arrive(*(supplier(n) for n in range(1, 7)), invoice(7, of=1))
        await made.agree()
        await scenario(made)
        await store.close()


# -- the certificate ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def certificate(world: World) -> Certificate:
    legacy = village(world)
    legacy.names[2] = "Sandra's secret new name"
    del legacy.names[3]
    world.target.lose(supplier_key(4))
    return await compared(world, legacy)


async def test_a_certificate_can_be_handed_out_as_json_csv_and_html(certificate: Certificate) -> None:
    told = json.loads(certificate.as_json())
    assert told["agreed"] is False
    assert {(c["where"], c["kind"]): c["records"] for c in told["counts"]} == {
        ("canonical", "different"): 1, ("canonical", "extra"): 1, ("cloud", "missing"): 1,
    }  # fmt: skip
    assert certificate_of(told).as_json() == certificate.as_json()
    head, *lines = csv.reader(io.StringIO(certificate.as_csv()))
    assert head == ["flow", "verified through", "where", "kind", "record", "what", "fields", "why"]
    assert [line[3] for line in lines] == ["different", "extra", "missing"]
    page = certificate.as_html()
    assert page.startswith("<!doctype html>")
    assert all(d.key in page for d in certificate.differences)
    assert told["verified_through"][:16].replace("T", " ") in page.replace("T", " ")
    assert not re.search(r'(?:src|href)="|@import|url\(|<script', page), "it stands alone"


async def test_no_value_of_a_record_stands_in_a_certificate(certificate: Certificate) -> None:
    for written in (certificate.as_json(), certificate.as_csv(), certificate.as_html()):
        assert "Sandra" not in written
        assert "Supplier 2" not in written


async def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless() -> None:
    now = datetime.now(UTC)
    bad = Disagreement(Where.CLOUD, Kind.EXTRA, "=HYPERLINK(1)", "vendor", (), "<script>alert(1)</script>")
    made = Certificate("f", now, now, "0", "jo", [], [bad])
    assert "'=HYPERLINK(1)" in made.as_csv()
    assert "<script" not in made.as_html()


# -- a hundred thousand ------------------------------------------------------------------------------------------------


class Hoard:
    """A target that holds what it is told by a rule, so that it takes no memory: `shown` gives a number's document."""

    name, limits = "hoard", Limits(batch=500)

    def __init__(self, shown: Callable[[int], Document | None], most: int) -> None:
        self._shown = shown
        self._most = most

    async def holdings(self) -> AsyncIterator[Sequence[Holding]]:
        for start in range(1, self._most + 1, 1000):
            there = [(n, self._shown(n)) for n in range(start, min(start + 1000, self._most + 1))]
            yield [Holding(d.kind, d.number, f"id{n}", {}, d.body) for n, d in there if d is not None]

    def told(self, holding: Holding, write: Write) -> Held:
        return Held(holding.shown, holding.ref)

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        there = [self._shown(int(w.subject.rpartition(":")[2])) for w in batch]
        return [Absent() if d is None else Held(d.body, w.ref or "") for w, d in zip(batch, there, strict=True)]

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        raise AssertionError("comparing writes nothing")

    async def check(self) -> Sequence[Finding]:
        return []


def _memory(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]


async def _filled(store: Store, flow: Suppliers) -> None:
    """Facts and confirmations of so many suppliers, as ingest and delivery leave them."""
    now = time.time() - 3600
    async with store.write() as connection:
        await put(connection, flows, ("name", "edition"), [(flow.name, "1")], {})
        for start in range(1, MANY + 1, 5000):
            rows, stands = [], []
            for n in range(start, start + 5000):
                key, data = supplier_key(n), _named(n, f"Supplier {n}")
                packed = pack(Document("supplier", str(n), {"number": str(n), "name": f"Supplier {n}"}))
                digest = blake2b(packed + to_json({}), digest_size=16).digest()
                rows.append((key, "supplier", key, "payables", 1, data, now))
                stands.append((flow.name, key, "agreed", now, f"id{n}", digest, packed))
            await put(connection, facts, ("key", "entity", "owner", "source", "version", "data", "at"), rows, {})
            columns = ("flow", "subject", "state", "since", "ref", "digest", "document")
            await put(connection, subjects, columns, stands, {})


async def test_a_hundred_thousand_subjects_are_compared_in_bounded_memory_and_every_planted_difference_is_found(
    store: Store,
) -> None:
    flow = Suppliers()
    await _filled(store, flow)
    planted: set[tuple[str, str, str]] = set()

    def plant(where: str, kind: str, numbers: range, name: Callable[[int], str] = supplier_key) -> range:
        planted.update((where, kind, name(n)) for n in numbers)
        return numbers

    gone = plant("cloud", "missing", range(7, MANY, 10_000))
    changed = plant("cloud", "different", range(11, MANY, 5_000))
    plant("cloud", "extra", range(MANY + 1, MANY + 21), lambda n: f"id{n}")
    unread = plant("canonical", "missing", range(MANY + 101, MANY + 131))
    renamed = plant("canonical", "different", range(13, MANY, 7_000))
    deleted = plant("canonical", "extra", range(17, MANY, 9_000))

    def shown(n: int) -> Document | None:
        body = {"number": str(n), "name": f"Supplier {n}" + (" Ltd" if n in changed else "")}
        return None if n in gone else Document("supplier", str(n), body)

    legacy = _Rule(lambda n: None if n in deleted else f"Supplier {n}{' plc' if n in renamed else ''}", unread)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before, began = _memory("VmRSS"), time.perf_counter()
    found = await compare(store, flow, Hoard(shown, MANY + 20), [Source(legacy, legacy.streams())], patience=0)
    grown, took = _memory("VmHWM") - before, time.perf_counter() - began
    print(f"{MANY:,} subjects: {took:.1f} s, {grown:.0f} MB more at the peak, {len(found.differences)} differences")
    assert {(d.where, d.kind, d.key) for d in found.differences} == planted
    assert len(found.differences) == len(planted)
    assert {d.fields for d in found.differences if d.kind is Kind.DIFFERENT} == {("name",)}
    assert grown < 60, "all documents, facts and rows together are several times that"


class _Rule(Village):
    """A legacy system of a hundred thousand suppliers that takes no memory."""

    def __init__(self, name_of: Callable[[int], str | None], more: range) -> None:
        super().__init__({})
        self._name_of, self._more = name_of, more

    async def _pages(self, after: Position | None) -> AsyncIterator[Page]:
        for numbers in [*(range(s, s + 5000) for s in range(1, MANY + 1, 5000)), self._more]:
            named = [(n, self._name_of(n)) for n in numbers]
            rows = [(n, name) for n, name in named if name is not None]
            yield Page([Record(supplier_key(n), (n,), (n, name)) for n, name in rows], (rows[-1][0],))
