"""Reconcile against the sandboxes of both clouds: what it reads back goes through the vendor's API alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from canonical import CareEpisode, CreditNote, DimensionValue, DocumentLine, Event, Invoice, Person, Supplier
from canonical.entity import Entity
from flows.business_central import system as business_central
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.dfe_csc import system as dfe_csc
from flows.dfe_csc.sandbox import DfeCscSandbox, DfeCscSandboxSettings
from flows.engine.agree import Agreement
from flows.kit.requests import LocalBudget
from flows.kit.resources import Resources
from flows.port import Flow, Target
from flows.testing import ArrayInbox, alone
from ironbridge.operate.reconcile import Certificate, compare
from ironbridge.store import Store, StoredLedger

TODAY = date(2026, 11, 1)


@pytest.fixture
async def resources() -> AsyncIterator[Resources]:
    async with Resources("the cloud", LocalBudget.of) as opened:
        yield opened


async def agreed(store: Store, flow: Flow, target: Target, entities: Sequence[Entity]) -> None:
    ledger, inbox = StoredLedger(store, flow.name), ArrayInbox()
    agreement = Agreement(flow, target, ledger, edition="1", today=lambda: TODAY)
    now = datetime.now(UTC)
    inbox.add(*(Event(e.type_name, "payables", e.key, e.owner, 1, now, e.to_bytes()) for e in entities))
    await agreement.ingest(inbox)
    for _ in range(10):
        while await agreement.step():
            pass
        await ledger.reclaim()


async def compared(store: Store, flow: Flow, target: Target) -> Certificate:
    return await compare(store, flow, target, [], patience=0, today=lambda: TODAY)


def told(certificate: Certificate) -> list[tuple[str, str, tuple[str, ...]]]:
    return sorted((d.kind.value, d.key, d.fields) for d in certificate.differences)


# -- Business Central --------------------------------------------------------------------------------------------------


def line(number: int, net: str, value: str = "A1") -> DocumentLine:
    return DocumentLine(
        number=number, net=Decimal(net), description=f"Line {number}",
        dimensions=(DimensionValue(dimension="COSTCENTRE", value=value),),
    )  # fmt: skip


def purchases() -> list[Entity]:
    suppliers = [Supplier(key=f"payables:supplier:{n}", number=f"{n}", name=f"Supplier {n}") for n in range(1, 6)]
    invoices = [
        Invoice(
            key=f"payables:invoice:{n}", number=f"{n}", supplier=f"payables:supplier:{n}",
            lines=(line(1, "10.50"), line(2, "-2.25")), document_date=date(2026, 5, n),
        )
        for n in range(1, 6)
    ]  # fmt: skip
    note = CreditNote(key="payables:credit-note:9", number="CN-9", supplier="payables:supplier:1", lines=(line(1, "3.00"),))
    return [*suppliers, *invoices, note]


async def test_business_central_is_read_back_whole_and_every_planted_difference_is_named(
    store: Store, resources: Resources
) -> None:
    async with BusinessCentralSandbox(BusinessCentralSandboxSettings(page_size=2)) as sandbox:
        company = sandbox.company
        company.seed({"8000": "Supplies"}, {"CC": {"A1": "One", "B2": "Two"}})
        flow, target = alone(
            business_central, "business_central", resources,
            {
                "base_url": f"{sandbox.url}/v2.0/tenant/production/api/v2.0", "company": sandbox.settings.company,
                "token_url": f"{sandbox.url}/tenant/oauth2/v2.0/token", "client_id": sandbox.settings.client_id,
                "client_secret": sandbox.settings.client_secret, "default_account": "8000",
                "dimensions": {"COSTCENTRE": "CC"},
            },
        )  # fmt: skip
        await agreed(store, flow, target, purchases())
        found = await compared(store, flow, target)
        assert told(found) == []
        assert (found.parts[-1].looked, found.parts[-1].agreed) == (11, 11)
        assert found.parts[-1].how == "read back: the target listed all that it holds"

        vendors = {row["number"]: row for row in company.rows("vendors", None)}
        bills = {row["vendorInvoiceNumber"]: row for row in company.rows("purchaseInvoices", None)}
        company.change("by hand", "vendors", vendors["2"], {"displayName": "Renamed by hand"})
        company.create("by hand", "vendors", {"number": "99", "displayName": "Made by hand"}, None)
        company.delete("by hand", "purchaseInvoices", bills["3"])
        lines = company.rows("purchaseInvoiceLines", company.row("purchaseInvoices", bills["4"]["id"]))
        company.change("by hand", "purchaseInvoiceLines", next(iter(lines)), {"unitCost": 11.5})
        company.change("by hand", "purchaseInvoices", bills["5"], {"dueDate": "2026-06-01"})
        more = {"vendorInvoiceNumber": "2", "vendorId": vendors["2"]["id"]}
        company.create("by hand", "purchaseInvoices", more, None)
        found = await compared(store, flow, target)
        (made,) = [r["id"] for r in company.rows("vendors", None) if r["number"] == "99"]
        (twice,) = [
            r["id"] for r in company.rows("purchaseInvoices", None)
            if r["vendorInvoiceNumber"] == "2" and r["id"] != bills["2"]["id"]
        ]  # fmt: skip
        assert told(found) == sorted(
            [
                ("different", "payables:supplier:2", ("displayName",)),
                ("extra", made, ()),
                ("missing", "payables:invoice:3", ()),
                ("different", "payables:invoice:4", ("purchaseInvoiceLines[0].unitCost",)),
                ("extra", twice, ()),
            ]
        ), "a due date that the document does not speak of is nobody's business"


# -- the DfE -----------------------------------------------------------------------------------------------------------


async def test_the_dfe_shows_nothing_and_the_certificate_says_what_it_stands_on(
    store: Store, resources: Resources
) -> None:
    async with DfeCscSandbox(DfeCscSandboxSettings(la_codes=frozenset({"941"}))) as sandbox:
        flow, target = alone(
            dfe_csc, "dfe_csc", resources,
            {
                "la_code": 941, "api_endpoint": sandbox.url, "token_url": f"{sandbox.url}/token",
                "client_id": "ironbridge", "client_secret": "sandbox-secret", "supplier_key": "sandbox-supplier",
            },
        )  # fmt: skip
        children: list[Entity] = []
        for n in (1, 2, 3):
            children.append(Person(key=f"lcs:person:{n}", birth_date=date(2015, 4, n), upn_unknown_reason="UN3"))
            children.append(
                CareEpisode(key=f"lcs:care-episode:{n}", person=f"lcs:person:{n}", referral_date=date(2026, 5, 1))
            )
        await agreed(store, flow, target, children)
        assert len(sandbox.documents("941")) == 3
        requests = sandbox.requests
        found = await compared(store, flow, target)
        assert (told(found), found.parts[-1].looked, found.parts[-1].agreed) == ([], 3, 3)
        assert found.parts[-1].how == (
            "not read back (the API only takes records, it shows none): held against what the target last confirmed; "
            "what changed there since nobody can tell"
        )
        assert sandbox.requests == requests, "there is nothing to ask it"
