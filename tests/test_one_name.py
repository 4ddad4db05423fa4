"""Two subjects of one flow with one number at the target: the second waits for the first, and neither is written in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from canonical import Supplier
from flows.business_central.tests.test_business_central import council, invoice, line
from flows.business_central.tests.test_business_central_doubles import Office
from flows.testing import ScriptedTarget
from ironbridge.operate.reconcile import compare
from ironbridge.store import Store, names
from tests.agreement import START, World, event

ONE, TWO = "payables:supplier:a", "payables:supplier:b"


def who(key: str, number: str, version: int = 1, **more: Any) -> Any:
    return event(Supplier(key=key, number=number, name=f"{key} as of {version}"), version, **more)


def taken(by: str) -> str:
    return f"supplier: {by} has the one of this number; let one of the two have another number, or leave it out"


@dataclass
class Told(World):
    async def arrive(self, *events: Any) -> None:
        self.clock.forward(1)
        self.inbox.add(*events)
        while await self.agreement.ingest(self.inbox):
            pass

    async def stands(self) -> dict[str, tuple[str, str | None]]:
        async with self.store.read() as connection:
            rows = await connection.execute(text("SELECT subject, state, reason FROM subjects"))
            return {subject: (state, reason) for subject, state, reason in rows}

    @property
    def sent(self) -> list[str]:
        return [write.subject for batch in self.target.batches for write in batch]

    @property
    def numbers(self) -> dict[str, str]:
        return {subject: document.number for subject, document in self.target.documents.items()}


@pytest.fixture
async def world(each_store: Store) -> Told:
    return Told(each_store, target=ScriptedTarget())


@pytest.mark.parametrize("together", [True, False])
async def test_the_second_is_parked_with_the_firsts_key_and_they_never_take_turns(world: Told, together: bool) -> None:
    await world.arrive(who(ONE, "7"))
    if not together:
        await world.agree()
    await world.arrive(who(TWO, "7"))
    await world.agree()
    assert await world.stands() == {ONE: ("agreed", None), TWO: ("parked", taken(ONE))}
    for version in (2, 3):
        await world.arrive(who(TWO, "7", version), who(ONE, "7", version))
        await world.agree()
    assert world.sent == [ONE, ONE, ONE]
    assert await world.stands() == {ONE: ("agreed", None), TWO: ("parked", taken(ONE))}


@pytest.mark.parametrize("deleted", [True, False], ids=["gone", "another number"])
async def test_the_second_comes_through_once_the_first_goes_or_has_another_number(world: Told, deleted: bool) -> None:
    await world.arrive(who(ONE, "7"), who(TWO, "7"))
    await world.agree()
    await world.arrive(who(ONE, "7" if deleted else "8", 2, deleted=deleted))
    await world.agree()
    assert world.numbers == ({} if deleted else {ONE: "8"}) | {TWO: "7"}
    assert {state for state, _ in (await world.stands()).values()} == {"agreed"}


async def test_the_first_that_was_never_taken_lets_the_second_through_when_it_goes(world: Told) -> None:
    await world.arrive(who(ONE, "7"), who(TWO, "7"))
    await world.agree()
    await world.run("UPDATE subjects SET document = NULL, digest = NULL, ref = NULL WHERE subject = :key", key=ONE)
    world.target.lose(ONE)
    await world.arrive(who(ONE, "7", 2, deleted=True))
    await world.agree()
    assert world.numbers == {TWO: "7"}


@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE)])
@pytest.mark.parametrize("together", [True, False])
async def test_two_that_change_places_both_come_through(world: Told, order: tuple[str, str], together: bool) -> None:
    await world.arrive(who(ONE, "7"), who(TWO, "8"))
    await world.agree()
    other = {ONE: "8", TWO: "7"}
    for key in order:
        await world.arrive(who(key, other[key], 2))
        if not together:
            await world.agree()
    await world.agree()
    assert world.numbers == other
    assert await world.stands() == {ONE: ("agreed", None), TWO: ("agreed", None)}


async def test_a_chain_of_new_numbers_comes_through(world: Told) -> None:
    three = "payables:supplier:c"
    await world.arrive(who(ONE, "1"), who(TWO, "2"), who(three, "3"))
    await world.agree()
    for key, number in ((ONE, "2"), (TWO, "3"), (three, "4")):
        await world.arrive(who(key, number, 2))
        await world.agree()
    assert world.numbers == {ONE: "2", TWO: "3", three: "4"}


async def test_what_was_confirmed_before_names_were_kept_has_its_name_from_the_start(world: Told) -> None:
    await world.arrive(who(ONE, "7"))
    await world.agree()
    await world.run("DELETE FROM names")
    await names.aim(world.store, world.flow.name, "scripted", [])
    await world.arrive(who(TWO, "7"))
    await world.agree()
    assert await world.stands() == {ONE: ("agreed", None), TWO: ("parked", taken(ONE))}


async def test_two_that_had_one_document_before_are_both_named_and_parted_at_the_next_start(each_store: Store) -> None:
    async with council() as town:
        office = Office(town, each_store)
        worker = office.worker(town)
        for key in (ONE, TWO):
            await office.arrive(worker, Supplier(key=key, number="7", name=key[-1]))
            await office.agree(worker)
            async with each_store.write() as connection:  # as a state from before names were kept for a flow that is alone
                await connection.execute(text("DELETE FROM names"))
            office.clock.forward(1)
        assert [vendor["displayName"] for vendor in town.held("vendors")] == ["b"]
        found = await compare(each_store, town.flow, town.target, [], patience=0, today=START.date)
        both = "{} has the same document there, which can be one of the two: the second is parked when its flow starts again"
        assert [(d.key, d.fields, d.why) for d in found.differences] == [(ONE, ("displayName",), both.format(TWO))]
        await names.aim(each_store, town.flow.name, "business_central", [])
        await office.agree(worker)
        stands = {key: (await office.stands(key))[0] for key in (ONE, TWO)}
        assert stands == {ONE: "agreed", TWO: "parked"}
        assert [vendor["displayName"] for vendor in town.held("vendors")] == ["a"]


async def test_a_vendor_with_documents_is_handed_to_the_second_when_the_first_goes(each_store: Store) -> None:
    async with council() as town:
        office = Office(town, each_store)
        one, two = (Supplier(key=key, number="7", name=key[-1]) for key in (ONE, TWO))
        bill = invoice(line(1, "1.00")).model_copy(update={"supplier": ONE})
        worker = office.worker(town)
        await office.arrive(worker, one, two, bill)
        await office.agree(worker)
        state, reason = await office.stands(TWO)
        assert (state, reason) == ("parked", taken(ONE).replace("supplier", "vendor", 1))
        (before,) = town.held("vendors")
        assert before["displayName"] == "a"
        office.clock.forward(1)
        found = await compare(each_store, town.flow, town.target, [], patience=0, today=START.date)
        assert [(d.key, d.why) for d in found.differences] == [(TWO, f"parked: {reason}; the target holds it for {ONE}")]
        await office.arrive(worker, one, version=2, gone=True)
        await office.agree(worker)
        (after,) = town.held("vendors")
        assert (after["id"], after["displayName"]) == (before["id"], "b")
        assert await office.stands(ONE) == ("agreed", f"left in place: {TWO} has taken it over")
