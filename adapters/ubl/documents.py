"""Invoices and credit notes (EN 16931): the rows, the mappings, and which documents are of which stream."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from adapters.kit.invoice_money import insist_on_totals, lines_with_tax
from adapters.kit.layout_kinds import FoundRow, filled_in
from adapters.kit.layouts import Passed
from adapters.kit.rows import Filled, Spelt, row_of
from adapters.port import Row
from adapters.ubl.names import Endpoint, Identified, Registered, SellerName, VatRegistered, seller_number
from canonical.finance import CreditNote, Invoice
from canonical.key import key_of

_TOTAL = "cac:LegalMonetaryTotal"


@row_of("cac:InvoiceLine|cac:CreditNoteLine")
class UblLine(NamedTuple):
    description: Annotated[str | None, Spelt("cac:Item/cbc:Name")]
    account: Annotated[str | None, Spelt("cbc:AccountingCost")]
    net: Annotated[Decimal, Spelt("cbc:LineExtensionAmount")]
    category: Annotated[str | None, Spelt("cac:Item/cac:ClassifiedTaxCategory/cbc:ID")]
    percent: Annotated[Decimal | None, Spelt("cac:Item/cac:ClassifiedTaxCategory/cbc:Percent")]


@row_of("cac:AllowanceCharge")
class UblCharge(NamedTuple):
    """A charge on the whole document, or an allowance, which is taken off."""

    is_charge: Annotated[bool, Spelt("cbc:ChargeIndicator")]
    description: Annotated[str | None, Spelt("cbc:AllowanceChargeReason")]
    amount: Annotated[Decimal, Spelt("cbc:Amount")]
    category: Annotated[str | None, Spelt("cac:TaxCategory/cbc:ID")]
    percent: Annotated[Decimal | None, Spelt("cac:TaxCategory/cbc:Percent")]


@row_of("cac:TaxTotal/cac:TaxSubtotal")
class UblTax(NamedTuple):
    taxable: Annotated[Decimal, Spelt("cbc:TaxableAmount")]
    tax: Annotated[Decimal, Spelt("cbc:TaxAmount")]
    category: Annotated[str | None, Spelt("cac:TaxCategory/cbc:ID")]
    percent: Annotated[Decimal | None, Spelt("cac:TaxCategory/cbc:Percent")]
    total: Annotated[Decimal, Spelt("../cbc:TaxAmount")]


@row_of("Invoice|CreditNote", key=("supplier", "number"))
class UblDocument(NamedTuple):
    supplier: Filled[str]
    number: Annotated[str, Spelt("cbc:ID")]
    kind: Annotated[str, Spelt("local-name()")]
    registered: Registered
    identified: Identified
    endpoint: Endpoint
    vat: VatRegistered
    name: SellerName
    currency: Annotated[str, Spelt("cbc:DocumentCurrencyCode")]
    issued: Annotated[date, Spelt("cbc:IssueDate")]
    due: Annotated[date | None, Spelt("(cbc:DueDate|cac:PaymentMeans/cbc:PaymentDueDate)[1]")]
    order: Annotated[str | None, Spelt("cac:OrderReference/cbc:ID")]
    contract: Annotated[str | None, Spelt("(cac:ContractDocumentReference/cbc:ID)[1]")]
    payee: Annotated[str | None, Spelt("cac:PayeeParty/cac:PartyName/cbc:Name")]
    means: Annotated[str | None, Spelt("(cac:PaymentMeans/cbc:PaymentMeansCode)[1]")]
    corrects: Annotated[str | None, Spelt("(cac:BillingReference/cac:InvoiceDocumentReference/cbc:ID)[1]")]
    sum_of_lines: Annotated[Decimal, Spelt(f"{_TOTAL}/cbc:LineExtensionAmount")]
    net: Annotated[Decimal, Spelt(f"{_TOTAL}/cbc:TaxExclusiveAmount")]
    gross: Annotated[Decimal, Spelt(f"{_TOTAL}/cbc:TaxInclusiveAmount")]
    prepaid: Annotated[Decimal | None, Spelt(f"{_TOTAL}/cbc:PrepaidAmount")]
    rounding: Annotated[Decimal | None, Spelt(f"{_TOTAL}/cbc:PayableRoundingAmount")]
    payable: Annotated[Decimal, Spelt(f"{_TOTAL}/cbc:PayableAmount")]
    charges: tuple[UblCharge, ...]
    taxes: tuple[UblTax, ...]
    lines: tuple[UblLine, ...]


KINDS = (UblDocument,)


def invoices(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row | Passed]:
    return _of_kind("Invoice", Passed("credit notes"), records)


def credit_notes(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row | Passed]:
    return _of_kind("CreditNote", Passed("invoices"), records)


def _of_kind(kind: str, other: Passed, records: Iterator[FoundRow]) -> Iterator[Row | Passed]:
    for _, row, _line in records:
        document = UblDocument(*row)
        yield other if document.kind != kind else filled_in(UblDocument, row, supplier=seller_number(document))


def invoice(source: str, d: UblDocument) -> Invoice:
    return Invoice(key=key_of(source, "invoice", d.supplier, d.number), **_said(source, d))


def credit_note(source: str, d: UblDocument) -> CreditNote:
    return CreditNote(key=key_of(source, "credit-note", d.supplier, d.number), corrects=d.corrects, **_said(source, d))


def _said(source: str, d: UblDocument) -> dict[str, Any]:
    insist_on_totals(d)
    return {
        "number": d.number, "supplier": key_of(source, "supplier", d.supplier), "currency": d.currency, "document_date": d.issued,
        "due_date": d.due, "lines": lines_with_tax(d), "outstanding": d.payable, "payee": d.payee, "payment_method": d.means,
        "order": d.order, "contract": d.contract,
    }  # fmt: skip
