"""
Purchasing, in the words of UBL 2.1 / EN 16931 and Business Central: suppliers, invoices, credit notes, dimensions.

Amounts are to the penny in the document's currency. An invoice's lines belong to it and come with it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field

from canonical.entity import FINANCIAL, IDENTIFYING, PLAIN, Entity, Part
from canonical.key import Key
from canonical.people import Address, ContactPoint
from canonical.values import Amount, Code, Currency, Day, Text, VATNumber

__all__ = [
    "FINANCE",
    "CreditNote",
    "DimensionValue",
    "DocumentLine",
    "Invoice",
    "LedgerDimension",
    "Supplier",
]


class Supplier(Entity):
    """
    A supplier is a firm or a person that the council pays (UBL `AccountingSupplierParty`, Business Central `vendor`).

    A supplier may be a sole trader: its name and address are classified as identifying.
    """

    type_name: ClassVar[str] = "supplier"
    standard: ClassVar[str] = "UBL 2.1 AccountingSupplierParty; Business Central vendor"
    known_by: ClassVar[tuple[str, ...]] = ("number", "vat_number", "company_number", "charity_number")

    number: Annotated[Code, PLAIN]
    """The finance system's number for the supplier, unique in it."""
    name: Annotated[Text, IDENTIFYING]
    vat_number: Annotated[VATNumber | None, FINANCIAL] = None
    company_number: Annotated[Code | None, PLAIN] = None
    charity_number: Annotated[Code | None, PLAIN] = None
    addresses: Annotated[tuple[Address, ...], IDENTIFYING] = ()
    contacts: Annotated[tuple[ContactPoint, ...], IDENTIFYING] = ()
    redacted: Annotated[bool, PLAIN] = False
    """The extract withholds who was paid; the money is real."""


class DimensionValue(Part):
    """An analysis of a line: dimension `COSTCENTRE`, value `56HO4155`."""

    dimension: Annotated[Code, PLAIN]
    value: Annotated[Text, PLAIN]


class DocumentLine(Part):
    """UBL `InvoiceLine`, Business Central `purchaseInvoiceLine`. `tax` is None where the extract does not say."""

    number: Annotated[int, PLAIN, Field(ge=1)]
    description: Annotated[Text | None, FINANCIAL] = None
    account: Annotated[Text | None, PLAIN] = None
    net: Annotated[Amount, FINANCIAL]
    tax: Annotated[Amount | None, FINANCIAL] = None
    dimensions: Annotated[tuple[DimensionValue, ...], PLAIN] = ()


class _PurchaseDocument(Entity):
    owned_by: ClassVar[str] = "supplier"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The supplier's or the ledger's number of the document, as the extract gives it."""
    supplier: Annotated[Key, PLAIN]
    currency: Annotated[Currency, PLAIN] = "GBP"
    document_date: Annotated[Day | None, PLAIN] = None
    due_date: Annotated[Day | None, PLAIN] = None
    payment_date: Annotated[Day | None, PLAIN] = None
    lines: Annotated[tuple[DocumentLine, ...], FINANCIAL, Field(min_length=1)]

    @property
    def net(self) -> Decimal:
        """The sum of the lines before tax."""
        return sum((line.net for line in self.lines), Decimal(0))


class Invoice(_PurchaseDocument):
    """An invoice asks for money that a supplier is owed (UBL `Invoice`, Business Central `purchaseInvoice`)."""

    type_name: ClassVar[str] = "invoice"
    standard: ClassVar[str] = "UBL 2.1 Invoice; Business Central purchaseInvoice"


class CreditNote(_PurchaseDocument):
    """A credit note gives money back, in positive amounts (UBL `CreditNote`, Business Central `purchaseCreditMemo`)."""

    type_name: ClassVar[str] = "credit-note"
    standard: ClassVar[str] = "UBL 2.1 CreditNote; Business Central purchaseCreditMemo"

    corrects: Annotated[Code | None, PLAIN] = None
    """The number of the invoice that it corrects, where the extract says."""


class LedgerDimension(Entity):
    """A dimension analyses lines of documents: a cost centre, a directorate, an account (Business Central `dimensionValue`)."""

    type_name: ClassVar[str] = "ledger-dimension"
    standard: ClassVar[str] = "Business Central dimensionValue"

    dimension: Annotated[Code, PLAIN]
    code: Annotated[Text, PLAIN]
    name: Annotated[Text, PLAIN]


FINANCE: tuple[type[Entity], ...] = (Supplier, Invoice, CreditNote, LedgerDimension)
