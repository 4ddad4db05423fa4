"""
Business Central accepts a second draft of one invoice. These tests show how two drafts are prevented, and how they are
reported if nothing could prevent them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from canonical import CreditNote, Event
from canonical.entity import Entity
from flows.business_central.documents import INVOICE, VENDOR
from flows.business_central.job import Job
from flows.business_central.tests.test_business_central import (
    INVOICES,
    MEMOS,
    SUPPLIER,
    Council,
    cost_centre,
    council,
    invoice,
    line,
)
from flows.business_central.wire import HeldRecord
from flows.engine.agree import Agreement
from flows.engine.ledger import HOLD
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.port import Confirmed, Document, Limits, Refused, Unknown, Untold, Write
from flows.testing import ArrayInbox
from ironbridge.operate.reconcile import compare
from ironbridge.store import Store, StoredLedger
from tests.agreement import Clock
from tests.gate import gated

TODAY = date(2026, 1, 5)
NOTE = CreditNote(key="payables:credit-note:CN9", number="CN9", supplier=SUPPLIER.key, lines=(line(1, "20.00"),))
BOTH = pytest.mark.parametrize(("entity", "kind"), [(invoice(line(1, "10.00")), INVOICES), (NOTE, MEMOS)])


@pytest.fixture
async def town() -> AsyncIterator[Council]:
    async with council() as side:
        yield side


@asynccontextmanager
async def another_process(town: Council, **more: Any) -> AsyncIterator[Council]:
    """Another worker of the same council, which knows nothing of the first one's requests."""
    async with client(Limits(), LocalBudget(6000, 300)) as http:
        yield Council(town.sandbox, http, **more)


def said_twice(kind: str, *refs: str) -> str:
    first, second = sorted(refs)
    return (
        f"{kind}: {first} and {second} are one document of one vendor: keep one, delete the others in Business Central, "
        "then retry"
    )


async def doubled(town: Council, entity: Entity) -> tuple[Write, list[str]]:
    """A document that exists twice, and the write of the worker that had the first one confirmed."""
    write = town.new(entity, vendorId=(await town.vendor()).ref)
    first = await town.one(write)
    assert isinstance(first, Confirmed)
    assert write.document
    number = "vendorCreditMemoNumber" if isinstance(entity, CreditNote) else "vendorInvoiceNumber"
    kind = MEMOS if isinstance(entity, CreditNote) else INVOICES
    body = {"vendorId": write.refs["vendorId"], number: write.document.number}
    second = town.sandbox.company.create("late", kind, body, None)
    return replace(write, confirmed=write.document, ref=first.ref, tag=first.tag), [first.ref, second["id"]]


# -- one process -------------------------------------------------------------------------------------------------------


@BOTH
async def test_two_writes_of_one_document_at_one_time_make_one_draft(town: Council, entity: Entity, kind: str) -> None:
    write = town.new(entity, vendorId=(await town.vendor()).ref)
    said = await asyncio.gather(*(town.one(write) for _ in range(4)))
    (held,) = town.held(kind)
    assert [outcome.ref for outcome in said if isinstance(outcome, Confirmed)] == [held["id"]] * 4


async def test_two_subjects_of_one_vendor_and_number_in_one_batch_make_one_draft(town: Council) -> None:
    write = town.new(invoice(line(1, "10.00")), vendorId=(await town.vendor()).ref)
    said = await town.write(write, replace(write, subject="others:invoice:INV-7"))
    (held,) = town.held(INVOICES)
    assert [outcome.ref for outcome in said if isinstance(outcome, Confirmed)] == [held["id"]] * 2


async def test_what_waits_for_its_turn_keeps_nobody_elses_document_waiting(town: Council) -> None:
    vendor = await town.vendor()
    await town.check()
    async with gated(town.sandbox.url) as gate, another_process(town, base_url=_base(gate.url)) as side:
        gate.shut("SLOW")
        slow = asyncio.ensure_future(side.one(side.new(invoice(line(1, "1.00"), number="SLOW"), vendorId=vendor.ref)))
        await gate.held.wait()
        outcome = await side.one(side.new(invoice(line(1, "1.00"), number="OTHER"), vendorId=vendor.ref))
        assert isinstance(outcome, Confirmed)
        gate.open()
        assert isinstance(await slow, Confirmed)


def _base(url: str) -> str:
    return f"{url}/v2.0/tenant/production/api/v2.0"


# -- doubled documents ---------------------------------------------------------------------------------------------------


@BOTH
async def test_a_doubt_about_a_known_document_finds_the_second_one_and_names_both(
    town: Council, entity: Entity, kind: str
) -> None:
    write, refs = await doubled(town, entity)
    assert write.document
    doubted = replace(write, doubtful=(write.document,))
    assert await town.target.read_back([doubted]) == [Untold(said_twice(kind, *refs))]
    assert await town.one(doubted) == Refused(said_twice(kind, *refs))
    assert len(town.held(kind)) == 2, "never a third"


@BOTH
async def test_what_is_twice_is_neither_adopted_nor_deleted_by_half_where_no_id_is_known(
    town: Council, entity: Entity, kind: str
) -> None:
    write, refs = await doubled(town, entity)
    assert write.document
    for unknown in (
        Write(write.subject, write.document, refs=write.refs),
        Write(write.subject, None, None, (write.document,), refs=write.refs),
    ):
        assert await town.one(unknown) == Refused(said_twice(kind, *refs))
    assert sorted(row["id"] for row in town.held(kind)) == sorted(refs)


async def test_once_a_person_has_deleted_the_second_one_the_first_is_confirmed(town: Council) -> None:
    write, refs = await doubled(town, invoice(line(1, "10.00")))
    assert write.document
    (second,) = [row for row in town.held(INVOICES) if row["id"] == refs[1]]
    town.sandbox.company.delete("by hand", INVOICES, second)
    assert await town.one(replace(write, doubtful=(write.document,), ref=None)) == Confirmed(
        refs[0], town.held(INVOICES)[0]["@odata.etag"]
    )


def test_an_invoice_that_was_posted_and_cancelled_leaves_its_number_to_the_next() -> None:
    job = Job(Write("payables:invoice:7", Document(INVOICE, "7", {}), refs={"vendorId": "v"}))
    job.found = {
        ref: HeldRecord(ref, None, {"status": status}, "v")
        for ref, status in (("a", "Canceled"), ("b", "Corrective"), ("c", "Draft"))
    }
    job.seen()
    assert (job.trouble, job.ref) == (None, "c")


async def test_a_vendor_is_looked_for_once_as_business_central_keeps_its_number_unique(town: Council) -> None:
    assert not Job(Write(SUPPLIER.key, Document(VENDOR, "1001", {}), late=True)).doubted


# -- a create whose claim may have been lost -----------------------------------------------------------------------------


@BOTH
async def test_after_a_create_in_doubt_its_number_is_looked_for_once_more(
    town: Council, entity: Entity, kind: str
) -> None:
    write = town.new(entity, vendorId=(await town.vendor()).ref)
    assert write.document
    await town.one(town.new(invoice(line(1, "1.00"), number="FIRST"), vendorId=write.refs["vendorId"]))
    before = town.sandbox.requests
    outcome = await town.one(replace(write, late=True))
    (held,) = [row for row in town.held(kind) if write.document.number in row.values()]
    assert outcome == Confirmed(held["id"], held["@odata.etag"])
    assert town.sandbox.requests - before == 3, "one to look, one to create, one to look again"


@BOTH
async def test_a_create_that_arrives_late_is_named_by_the_one_that_came_after_it(
    town: Council, entity: Entity, kind: str
) -> None:
    write = town.new(entity, vendorId=(await town.vendor()).ref)
    await town.check()
    async with gated(town.sandbox.url) as gate, another_process(town, base_url=_base(gate.url)) as second:
        gate.shut('"POST"')
        late = asyncio.ensure_future(second.one(replace(write, late=True)))  # it has looked, and found nothing
        await gate.held.wait()
        first = await town.one(write)
        gate.open()
        outcome = await late
    assert isinstance(first, Confirmed)
    refs = [row["id"] for row in town.held(kind)]
    assert outcome == Unknown(f"only a part of it was done: {said_twice(kind, *refs)}")
    assert write.document
    assert await town.one(replace(write, doubtful=(write.document,))) == Refused(said_twice(kind, *refs))
    assert len(refs) == 2


async def test_what_was_created_and_is_not_shown_is_not_created_again(town: Council) -> None:
    vendor = await town.vendor()
    write = town.new(invoice(line(1, "1.00", dimensions=cost_centre("A1"))), vendorId=vendor.ref)
    await town.check()
    async with gated(town.sandbox.url) as gate, another_process(town, base_url=_base(gate.url)) as side:
        await side.one(side.new(invoice(line(1, "1.00"), number="FIRST"), vendorId=vendor.ref))
        gate.shut("purchaseInvoices(")  # the request that reads the lines' ids
        writing = asyncio.ensure_future(side.one(write))
        await gate.held.wait()
        (made,) = [row for row in town.held(INVOICES) if row["vendorInvoiceNumber"] == "INV-7"]
        town.sandbox.company.delete("by hand", INVOICES, made)
        gate.open()
        assert await writing == Unknown("created, but a later look does not find it")
    assert [row["vendorInvoiceNumber"] for row in town.held(INVOICES)] == ["FIRST"]


# -- with the ledger -----------------------------------------------------------------------------------------------------


class Office:
    """A council's flow with its ledger; each `worker` is a process of its own."""

    def __init__(self, town: Council, store: Store) -> None:
        self.town, self.store, self.clock = town, store, Clock()
        store.clock = self.clock
        self.inbox = ArrayInbox()

    def worker(self, side: Council) -> Agreement:
        ledger = StoredLedger(self.store, side.flow.name)
        return Agreement(side.flow, side.target, ledger, edition="1", today=lambda: TODAY, clock=self.clock)

    async def arrive(self, worker: Agreement, *entities: Entity, version: int = 1, gone: bool = False) -> None:
        now = datetime.now(UTC)
        self.inbox.add(
            *(
                Event(e.type_name, "payables", e.key, e.owner, version, now, None if gone else e.to_bytes())
                for e in entities
            )
        )
        while await worker.ingest(self.inbox):
            pass

    async def agree(self, worker: Agreement) -> None:
        """Work until nothing is left to do."""
        for _ in range(50):
            if await worker.step():
                continue
            await worker._ledger.reclaim()
            if (due := await worker._ledger.due()) is None:
                return
            self.clock.forward(due)
        raise AssertionError("it never comes to rest")

    async def stands(self, subject: str) -> tuple[str, str | None]:
        async with self.store.read() as connection:
            rows = await connection.exec_driver_sql("SELECT subject, state, reason FROM subjects")
            return next((state, reason) for key, state, reason in rows if key == subject)


async def test_a_create_that_arrives_after_its_claim_is_lost_is_named_parked_and_found_by_reconcile(
    town: Council, store: Store
) -> None:
    office, bill = Office(town, store), invoice(line(1, "10.00"))
    other = office.worker(town)
    await office.arrive(other, SUPPLIER)
    await office.agree(other)
    async with gated(town.sandbox.url) as gate, another_process(town, base_url=_base(gate.url)) as side:
        await side.check()
        slow = office.worker(side)
        await office.arrive(slow, bill)
        gate.shut('"POST"')
        step = asyncio.ensure_future(slow.step())
        await gate.held.wait()
        office.clock.forward(HOLD + 1)
        await other._ledger.reclaim()
        await other.step()
        assert await office.stands(bill.key) == ("agreed", None)
        gate.open()
        await step
    await office.agree(other)
    refs = [row["id"] for row in town.held(INVOICES)]
    assert await office.stands(bill.key) == ("parked", said_twice(INVOICES, *refs)), "and never a third"
    found = await compare(store, town.flow, town.target, [], patience=0, today=lambda: TODAY)
    why = {difference.key: difference.why for difference in found.differences}
    (second,) = [ref for ref in refs if ref in why]
    (first,) = [ref for ref in refs if ref != second]
    assert why[second] == f"a second one of this number: {first} is the first"


REKEYED = SUPPLIER.model_copy(update={"key": "payables:supplier:severn-gorge"})


@pytest.mark.parametrize("order", ["the new key first", "together", "the old key first"])
async def test_a_vendor_whose_supplier_comes_back_under_another_key_stays(town: Council, store: Store, order: str) -> None:
    office = Office(town, store)
    worker = office.worker(town)
    await office.arrive(worker, SUPPLIER)
    await office.agree(worker)
    (before,) = town.held("vendors")
    if order == "the old key first":
        await office.arrive(worker, SUPPLIER, version=2, gone=True)
    await office.arrive(worker, REKEYED, version=3)
    if order == "the new key first":
        await office.agree(worker)
    if order != "the old key first":
        await office.arrive(worker, SUPPLIER, version=2, gone=True)
    await office.agree(worker)
    assert [vendor["id"] for vendor in town.held("vendors")] == [before["id"]]
    assert await office.stands(REKEYED.key) == ("agreed", None)
    assert await office.stands(SUPPLIER.key) == ("agreed", f"left in place: {REKEYED.key} has taken it over")
    await office.arrive(worker, REKEYED, version=4, gone=True)
    await office.agree(worker)
    assert town.held("vendors") == [], "and it goes with the last of them"


KEPT = (
    "vendor: it is not deleted while it has purchase documents in Business Central. It goes once ours are gone; delete the "
    "others there, or give them to another vendor, then retry"
)


async def test_a_vendor_that_has_documents_goes_once_they_are_gone(town: Council, each_store: Store) -> None:
    office, bill = Office(town, each_store), invoice(line(1, "1.00"))
    worker = office.worker(town)
    await office.arrive(worker, SUPPLIER, bill)
    await office.agree(worker)
    await office.arrive(worker, SUPPLIER, version=2, gone=True)
    await office.agree(worker)
    assert await office.stands(SUPPLIER.key) == ("parked", KEPT)
    assert len(town.held("vendors")) == 1
    await office.arrive(worker, bill, version=2, gone=True)
    await office.agree(worker)
    assert town.held(INVOICES) == town.held("vendors") == []
    assert await office.stands(SUPPLIER.key) == ("agreed", "no such record is published")


async def test_a_vendor_whose_documents_move_to_another_goes_then(town: Council, each_store: Store) -> None:
    office, bill = Office(town, each_store), invoice(line(1, "1.00"))
    other = SUPPLIER.model_copy(update={"key": "payables:supplier:2", "number": "2"})
    worker = office.worker(town)
    await office.arrive(worker, SUPPLIER, other, bill)
    await office.agree(worker)
    await office.arrive(worker, SUPPLIER, version=2, gone=True)
    await office.agree(worker)
    await office.arrive(worker, bill.model_copy(update={"supplier": other.key}), version=2)
    await office.agree(worker)
    assert [vendor["number"] for vendor in town.held("vendors")] == ["2"]
    assert await office.stands(SUPPLIER.key) == ("agreed", "no such record is published")


async def test_a_vendors_removal_that_is_refused_while_its_last_document_goes_is_tried_again(
    town: Council, each_store: Store
) -> None:
    """The document's removal is saved before the vendor's refusal is: by then nothing else would wake the vendor."""
    office, bill = Office(town, each_store), invoice(line(1, "1.00"))
    worker = office.worker(town)
    await office.arrive(worker, SUPPLIER, bill)
    await office.agree(worker)
    async with gated(town.sandbox.url) as gate, another_process(town, base_url=_base(gate.url)) as side:
        slow = office.worker(side)
        await office.arrive(slow, SUPPLIER, version=2, gone=True)
        gate.shut("$top=1")  # it was refused, and asks why
        step = asyncio.ensure_future(slow.step())
        await gate.held.wait()
        await office.arrive(worker, bill, version=2, gone=True)
        await worker.step()
        gate.open()
        await step
    await office.agree(worker)
    assert town.held(INVOICES) == town.held("vendors") == []
    assert await office.stands(SUPPLIER.key) == ("agreed", "no such record is published")


async def test_a_vendor_with_a_document_of_somebody_elses_stays_parked_and_says_why(town: Council, store: Store) -> None:
    office = Office(town, store)
    worker = office.worker(town)
    await office.arrive(worker, SUPPLIER)
    await office.agree(worker)
    (vendor,) = town.held("vendors")
    town.sandbox.company.create("by hand", MEMOS, {"vendorId": vendor["id"], "vendorCreditMemoNumber": "H1"}, None)
    await office.arrive(worker, SUPPLIER, version=2, gone=True)
    await office.agree(worker)
    assert await office.stands(SUPPLIER.key) == ("parked", KEPT)


async def test_what_is_refused_when_half_of_it_is_there_is_not_forgotten(town: Council, store: Store) -> None:
    office, bill = Office(town, store), invoice(line(1, "1.00", dimensions=cost_centre("A1")))
    async with gated(town.sandbox.url) as gate, another_process(town, base_url=_base(gate.url)) as side:
        worker = office.worker(side)
        await office.arrive(worker, SUPPLIER)
        await office.agree(worker)
        await office.arrive(worker, bill)
        gate.shut("purchaseInvoices(")  # the request that reads the lines' ids
        agreeing = asyncio.ensure_future(office.agree(worker))
        await gate.held.wait()
        town.sandbox.company.post("by hand", INVOICES, town.held(INVOICES)[0]["id"])
        gate.open()
        await agreeing
        state, reason = await office.stands(bill.key)
        assert (state, reason) == ("parked", "POST dimensionLines: 400 Application_DialogException")
        await office.arrive(worker, bill, version=2, gone=True)
        await office.agree(worker)
    assert await office.stands(bill.key) == ("parked", "DELETE purchaseInvoices: 400 Application_DialogException")
