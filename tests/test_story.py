"""A record's story: found by any identifier, every version as read, and what was before kept no longer than it may be."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical import CareEpisode, DocumentLine, Identifier, Invoice, Name, Person, Supplier
from canonical.entity import Entity
from flows.engine.ledger import pack
from flows.port import Document
from ironbridge.operate import insight
from ironbridge.store import Store, open_store
from ironbridge.store.bulk import put
from ironbridge.store.history import Keep, Retention
from ironbridge.store.tables import attempts, facts, flows, identifiers, records, streams, subjects, versions
from tests.agreement import UNWANTED, WHY, World, event, invoice, invoice_key, supplier, supplier_key
from tests.states import state_file

CHILD = "payables:person:1042"
NHS, UPN = "9434765919", "D801200012001"


@pytest.fixture
def store(each_store: Store) -> Store:
    return each_store


def child(family: str, **more: Any) -> Person:
    return Person(key=CHILD, names=(Name(given="Ada", family=family),), nhs_number=NHS, **more)


async def told(world: World, **more: Any) -> insight.Story:
    return await insight.story(world.store, CHILD, **more)


async def test_every_version_is_kept_as_it_was_read_and_says_which_fields_changed(store: Store) -> None:
    world = World(store)
    await world.arrive(event(child("Bennett"), 1))
    # Two versions in one poll: neither is skipped, whichever becomes the fact.
    await world.arrive(event(child("Carter"), 2), event(child("Carter", restricted=True, upn=UPN), 3))
    story = await told(world, reveal=True)
    assert [v.version for v in story.versions] == [1, 2, 3]
    assert [v.changed for v in story.versions] == [None, ["names[0].family"], ["restricted", "upn"]]
    assert [(v.fields or {})["names"][0]["family"] for v in story.versions] == ["Bennett", "Carter", "Carter"]
    masked = await told(world)
    assert masked.versions[1].changed == ["names[0].family"]
    assert (masked.versions[1].fields or {})["names"] == [{"given": insight.HIDDEN, "family": insight.HIDDEN}]
    assert (masked.versions[2].fields or {})["restricted"] is True
    assert "Carter" not in str(masked)


async def test_a_deletion_is_a_version_and_what_came_before_is_still_told(store: Store) -> None:
    world = World(store)
    await world.arrive(event(child("Bennett"), 1))
    await world.arrive(event(child("Bennett"), 2, deleted=True))
    await world.arrive(event(child("Bennett"), 4))
    versions = (await told(world)).versions
    assert [(v.version, v.fields is None) for v in versions] == [(1, False), (2, True), (4, False)]
    assert versions[1].changed == ["key", "names[0].given", "names[0].family", "sex", "nhs_number", "restricted"]
    assert versions[2].changed is None, "it came back: there is no earlier version to compare with"


async def test_what_arrives_again_is_no_further_version(store: Store) -> None:
    world = World(store)
    for _ in range(2):
        await world.arrive(event(child("Bennett"), 1), event(child("Carter"), 2))
        world.inbox.deliver_again(since=0)
    await world.arrive()
    assert [v.version for v in (await told(world)).versions] == [1, 2]
    assert len(await world.rows("SELECT * FROM versions")) == 1


SUPPLIER = Supplier(key="payables:supplier:S-77", number="S-77", name="Severn Gorge Joinery Ltd", vat_number="980780684")
INVOICE = Invoice(
    key="payables:invoice:ab3f", number="INV/2026/7", supplier=SUPPLIER.key,
    lines=(DocumentLine(number=1, net=Decimal("1.00")),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (CHILD, CHILD),
        ("1042", CHILD),
        ("943 476 5919", CHILD),
        ("d801200012001", CHILD),
        ("MOS-5", CHILD),
        (" S-77 ", SUPPLIER.key),
        ("980780684", SUPPLIER.key),
        ("inv/2026/7", INVOICE.key),
        ("id1", SUPPLIER.key),
    ],
)
async def test_a_record_is_found_by_any_identifier(tmp_path: Path, words: str, key: str) -> None:
    opened = await open_store(await state_file(tmp_path / "state.sqlite3"))
    world = World(opened)
    legacy = (Identifier(system="legacy", value="MOS-5"),)
    await world.run("INSERT INTO streams (adapter, name) VALUES ('payables', 'person')")
    await world.arrive(
        event(child("Bennett", upn=UPN, identifiers=legacy), 1), event(SUPPLIER, 1), event(INVOICE, 1)
    )  # fmt: skip
    await world.agree()
    assert await insight.find(opened, words) == [key]
    assert await insight.find(opened, "somebody else") == []
    await opened.close()


# -- how long it is kept -----------------------------------------------------------------------------------------------


async def _swept(world: World, keep: Keep) -> int:
    world.clock.forward(3600)  # the claims told before are over by now
    retention = Retention(world.store, keep, piece=3)
    return sum([await retention.sweep() for _ in range(8)])


async def test_versions_are_bounded_by_number_and_by_age(store: Store) -> None:
    world = World(store)
    for version in range(1, 8):
        await world.arrive(event(child(f"Name{version}"), version))
    await _swept(world, Keep(version_days=1e6, versions=3, attempt_days=1e6))
    assert [v.version for v in (await told(world)).versions] == [4, 5, 6, 7]
    await _swept(world, Keep(version_days=0, versions=3, attempt_days=1e6))
    assert [v.version for v in (await told(world)).versions] == [7], "the newest is a fact and stays"


async def test_a_number_is_forgotten_once_no_version_that_is_kept_has_it(store: Store) -> None:
    world = World(store)
    await world.arrive(event(child("Bennett"), 1))
    corrected = Person(key=CHILD, nhs_number="9434765870")
    await world.arrive(event(corrected, 2))
    everything = Keep(version_days=1e6, versions=9, attempt_days=1e6)
    await _swept(world, everything)
    assert await insight.find(store, NHS) == [CHILD], "the number that was corrected still finds it"
    await _swept(world, Keep(version_days=0, versions=9, attempt_days=1e6))
    assert await insight.find(store, NHS) == []
    assert await insight.find(store, "9434765870") == [CHILD]
    await world.arrive(event(corrected, 3, deleted=True))
    await _swept(world, Keep(version_days=0, versions=9, attempt_days=1e6))
    assert await world.rows("SELECT * FROM identifiers") == []


async def test_attempts_are_taken_away_when_they_are_old_and_not_before(store: Store) -> None:
    world = World(store)
    now = world.clock()
    for days in (200, 100, 95, 91, 89, 1):
        await world.run(
            "INSERT INTO attempts (flow, subject, at, outcome) VALUES ('f', 's', :at, 'confirmed')",
            at=now - days * 86400,
        )
    assert await _swept(world, Keep(version_days=1, versions=1, attempt_days=90)) == 4
    assert len(await world.rows("SELECT * FROM attempts")) == 2


# -- how long it takes -------------------------------------------------------------------------------------------------

CHILDREN, INVOICES = 2_000, 20_000


async def _council(store: Store) -> None:
    """As many records as the demonstration has, each with a past."""
    people: list[Entity] = []
    for n in range(CHILDREN):
        owner = f"liquidlogic:person:{n}"
        people.append(Person(key=owner, names=(Name(given="Ada", family=f"B{n}"),), identifiers=(_legacy(f"M{n}"),)))
        people += [CareEpisode(key=f"liquidlogic:care-episode:{n}-{i}", person=owner) for i in range(6)]
    bills: list[Entity] = [
        Invoice(key=f"payables:invoice:{n}", number=f"N{n}", supplier=f"payables:supplier:{n % 400}", lines=INVOICE.lines)
        for n in range(INVOICES)
    ]
    packed, now = pack(Document("child", "1", {"name": "x" * 1500})), time.time()
    both = [*people, *bills]
    owners = [(e.key, "dfe_csc") for e in people if isinstance(e, Person)] + [(e.key, "bc") for e in bills]
    async with store.write() as connection:
        await put(connection, flows, ("name", "edition"), [("dfe_csc", "1"), ("bc", "1")], {})
        await put(connection, streams, ("id", "adapter", "name"), [(1, "liquidlogic", "all"), (2, "payables", "all")], {})
        rows = [(e.key, e.type_name, e.owner, e.key.split(":")[0], 2, e.to_bytes(), now) for e in both]
        await put(connection, facts, ("key", "entity", "owner", "source", "version", "data", "at"), rows, {})
        past = [(e.key, 1, e.type_name, now, e.to_bytes()) for e in both]
        await put(connection, versions, ("key", "version", "entity", "at", "data"), past, {})
        known = [(1 if e.key[1] == "i" else 2, e.key, e.type_name, e.owner, 2, False, False) for e in both]
        names = ("stream", "key", "entity", "owner", "version", "deleted", "lost")
        await put(connection, records, names, known, {})
        stands = [(flow, key, "agreed", now, f"id-{key}", b"x", packed) for key, flow in owners]
        await put(connection, subjects, ("flow", "subject", "state", "since", "ref", "digest", "document"), stands, {})
        tries = [(flow, key, now, "confirmed") for key, flow in owners for _ in range(3)]
        await put(connection, attempts, ("flow", "subject", "at", "outcome"), tries, {})
        known_by = [(f"M{n}", f"liquidlogic:person:{n}") for n in range(CHILDREN)]
        await put(connection, identifiers, ("value", "key"), known_by, {})


def _legacy(value: str) -> Identifier:
    return Identifier(system="legacy", value=value)


async def test_a_story_is_found_by_any_word_among_2000_children_and_20000_invoices(store: Store) -> None:
    await _council(store)
    for words in ("M1999", "1999", "payables:invoice:19999", "id-payables:invoice:123"):
        (key, *_) = await insight.find(store, words)
        story = await insight.story(store, key)
        assert len(story.versions) == 2
        assert len(story.subjects[0].tries) == 3
        assert [(each.stream, each.version, each.deleted) for each in story.published] == [("all", 2, False)]


async def test_a_records_story_has_its_own_attempts_and_not_those_of_whom_it_belongs_to(store: Store) -> None:
    world = World(store)
    await world.arrive(supplier(1), invoice(7, of=1), supplier(2, name=UNWANTED))
    await world.agree()
    story = await insight.story(store, invoice_key(7))
    assert [subject.subject for subject in story.subjects] == [invoice_key(7)]
    newest, *earlier = story.subjects[0].tries
    assert (newest.outcome, newest.detail) == ("confirmed", f"held as {story.subjects[0].ref}")
    assert [each.outcome for each in earlier] == ["waiting"], "until its supplier was there"
    (unsent,) = (await insight.story(store, supplier_key(2))).subjects
    assert (unsent.state, unsent.holds, unsent.reason) == ("agreed", False, WHY)
