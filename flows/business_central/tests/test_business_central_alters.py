"""
The company changes new documents by itself: it cuts a text, rounds an amount, adds a line, drops a dimension. Each is found at
once, is a finding on the record, and is written again at most once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from canonical import CreditNote, Invoice
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.business_central.tests.test_business_central import (
    INVOICES,
    MEMOS,
    SUPPLIER,
    Council,
    cost_centre,
    council,
    line,
)
from flows.business_central.tests.test_business_central_doubles import TODAY, Office
from flows.business_central.wire import LINES_OF
from flows.engine.agree import Agreement
from flows.kit.sandbox_faults import Alteration, Fault
from ironbridge.operate.insight import story
from ironbridge.operate.reconcile import compare
from ironbridge.operate.reconcile.certificate import Certificate
from ironbridge.store import Store

LINES = (line(1, "100.40", description="Fostering allowance"), line(2, "5.00", dimensions=cost_centre("A1")))
BILL = Invoice(key="payables:invoice:INV-7", number="INV-7", supplier=SUPPLIER.key, lines=LINES)
NOTE = CreditNote(key="payables:credit-note:CN9", number="CN9", supplier=SUPPLIER.key, lines=LINES)
EITHER = pytest.mark.parametrize(("document", "kind"), [(BILL, INVOICES), (NOTE, MEMOS)])
FIELDS: dict[Alteration, str] = {
    "trim a text": "[1].description",
    "round an amount": "[1].unitCost",
    "add a line": " (3 for 2)",
    "drop a dimension": "[2].dimensions",
}
ONCE_MORE = "; it was written once more"
AND_AGAIN = "; and did so again when it was written once more"


@pytest.fixture(params=[False, True], ids=["the answer shows no lines", "the answer shows lines"])
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Council]:
    async with council(BusinessCentralSandboxSettings(shows_lines=request.param)) as side:
        yield side


@asynccontextmanager
async def supplied(town: Council, store: Store) -> AsyncIterator[tuple[Office, Agreement]]:
    office = Office(town, store)
    worker = office.worker(town)
    await office.arrive(worker, SUPPLIER)
    await office.agree(worker)
    yield office, worker


def altering(what: Alteration, times: int | None = 1) -> Fault:
    return Fault(kind="alter", what=what, times=times)


def changed(document: Invoice | CreditNote, what: Alteration) -> str:
    lines = LINES_OF["purchaseInvoice" if document is BILL else "purchaseCreditMemo"]
    return f"the target changed {lines}{FIELDS[what]} by itself"


def effects(town: Council, kind: str) -> list[str]:
    return [entry["operation"] for entry in town.sandbox.log() if entry["kind"] == kind]


async def reconciled(town: Council, store: Store) -> Certificate:
    return await compare(store, town.flow, town.target, [], patience=0, today=lambda: TODAY)


@EITHER
@pytest.mark.parametrize("what", FIELDS)
async def test_what_the_company_did_once_is_put_right_and_stays_a_finding(
    town: Council, store: Store, document: Invoice | CreditNote, kind: str, what: Alteration
) -> None:
    async with supplied(town, store) as (office, worker):
        town.sandbox.faults.append(altering(what))
        await office.arrive(worker, document)
        await office.agree(worker)
        finding = changed(document, what) + ONCE_MORE
        assert await office.stands(document.key) == ("agreed", finding)
        found = await reconciled(town, store)
        assert (found.differences, found.parts[-1].notes) == ([], [f"1 documents: {finding}"])
        told = await story(store, document.key)
        [subject] = told.subjects
        assert finding in (subject.tries[0].detail or "")


@EITHER
@pytest.mark.parametrize("what", ["trim a text", "round an amount", "drop a dimension"])
async def test_what_the_company_does_again_and_again_is_written_once_more_and_then_left(
    town: Council, store: Store, document: Invoice | CreditNote, kind: str, what: Alteration
) -> None:
    async with supplied(town, store) as (office, worker):
        town.sandbox.faults.append(altering(what, None))
        await office.arrive(worker, document)
        await office.agree(worker)
        finding = changed(document, what) + AND_AGAIN
        assert await office.stands(document.key) == ("agreed", finding)
        # First the document was sent, then its dimension, and then once more the field that the company had changed.
        often = effects(town, kind)
        assert often == ["create", "update", "update"]
        found = await reconciled(town, store)
        lines = LINES_OF["purchaseInvoice" if document is BILL else "purchaseCreditMemo"]
        assert [difference.why for difference in found.differences] == [f"{finding}; it holds {lines}{FIELDS[what]} otherwise"]
        # The record is published again, and another process looks at it: nothing is sent, and the finding stays.
        another = office.worker(town)
        await office.arrive(another, document, version=2)
        await office.agree(another)
        assert effects(town, kind) == often
        assert await office.stands(document.key) == ("agreed", finding)


@pytest.mark.parametrize("what", ["trim a text", "round an amount", "add a line"])
@pytest.mark.parametrize("ever", [True, False], ids=["always", "once"])
async def test_after_a_lost_answer_it_is_found_by_reading_back_and_put_right_once(
    town: Council, store: Store, what: Alteration, ever: bool
) -> None:
    async with supplied(town, store) as (office, worker):
        await town.check()
        town.sandbox.faults += [altering(what, None if ever else 1)]
        town.sandbox.faults += [Fault(kind="slow", path="$batch"), Fault(kind="cut", when="after", path="$batch")]
        await office.arrive(worker, BILL)
        await worker.step()
        assert effects(town, INVOICES) == ["create"], "the answer is lost"
        another = office.worker(town)
        await office.agree(another)
        assert effects(town, INVOICES) == ["create", "update", "update"], "its dimension, and once what was made otherwise"
        state, reason = await office.stands(BILL.key)
        lines = f"purchaseInvoiceLines{FIELDS[what]}"
        held = f"the target held {lines} otherwise after an answer was lost; it was written once more"
        again = f"the target changed {lines} by itself"
        assert (state, reason) == ("agreed", again if ever and what != "add a line" else held)


async def test_lines_that_follow_one_by_one_are_compared_as_well(town: Council, store: Store) -> None:
    """Somebody made the document's head; its lines are then created each by itself."""
    async with supplied(town, store) as (office, worker):
        (vendor,) = town.held("vendors")
        head: dict[str, Any] = {"vendorId": vendor["id"], "vendorInvoiceNumber": "INV-7", "currencyCode": "GBP"}
        town.sandbox.company.create("crashed", INVOICES, head, None)
        town.sandbox.faults.append(altering("trim a text", None))
        await office.arrive(worker, BILL)
        await office.agree(worker)
        assert await office.stands(BILL.key) == ("agreed", changed(BILL, "trim a text") + AND_AGAIN)
        (held,) = town.held(INVOICES)
        assert [each["description"] for each in held["purchaseInvoiceLines"]] == ["Fostering ", "Line 2"]
