"""
Finance, in the words of UBL 2.1 / EN 16931 and Business Central: suppliers with their orders, invoices, credit notes and
payments, customers, journal lines, dimensions.

Amounts are to the penny in the document's currency. An invoice's lines belong to it and come with it, an order's too.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from canonical.entity import FINANCIAL, IDENTIFYING, PLAIN, Entity, Part
from canonical.key import Key
from canonical.people import Address, ContactPoint
from canonical.values import Amount, Code, Currency, Day, SortCode, Text, VATNumber

__all__ = [
    "FINANCE",
    "BankAccount",
    "BankTransfer",
    "CreditNote",
    "Customer",
    "DimensionValue",
    "DocumentLine",
    "Invoice",
    "JournalLine",
    "LedgerDimension",
    "OrderLine",
    "Payment",
    "PurchaseOrder",
    "SettledDocument",
    "Supplier",
    "SupplierKind",
]


class SupplierKind(StrEnum):
    """A supplier of one of these kinds is no firm with an account of its own."""

    EMPLOYEE = "employee"
    """Somebody who works for the council, and is paid expenses as a supplier is (Oracle `AP_SUPPLIERS.EMPLOYEE_ID`)."""
    SUNDRY = "sundry"
    """Everybody who is paid once: each document names its payee (SAP `XCPDK`, Oracle `ONE_TIME_FLAG`)."""


class BankAccount(Part):
    """The account that a supplier is paid into (UBL `PayeeFinancialAccount`, EN 16931 BG-17)."""

    iban: Annotated[Code | None, FINANCIAL] = None
    """EN 16931 BT-84, as the finance system has it."""
    bic: Annotated[Code | None, FINANCIAL] = None
    """EN 16931 BT-86."""
    sort_code: Annotated[SortCode | None, FINANCIAL] = None
    account_number: Annotated[Code | None, FINANCIAL] = None


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
    kind: Annotated[SupplierKind | None, PLAIN] = None
    blocked: Annotated[bool | None, PLAIN] = None
    """Nothing more is to be ordered from it or paid to it (Business Central `blocked`)."""
    end_date: Annotated[Day | None, PLAIN] = None
    """The day on which it ends to be a supplier."""
    payment_terms: Annotated[Code | None, PLAIN] = None
    """The finance system's code for the terms (Business Central `paymentTerm`)."""
    payment_method: Annotated[Code | None, FINANCIAL] = None
    """UN/CEFACT 4461, the list of EN 16931 BT-81: 30 is a credit transfer, 20 a cheque."""
    bank_account: Annotated[BankAccount | None, FINANCIAL] = None


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
    outstanding: Annotated[Amount | None, FINANCIAL] = None
    """The part that is not settled yet, tax included (EN 16931 BT-115, Business Central `remainingAmount`)."""
    status: Annotated[Code | None, PLAIN] = None
    """The status as the finance system writes it."""
    payee: Annotated[Text | None, IDENTIFYING] = None
    """The name of the one who is paid, where it is not the supplier's (EN 16931 BT-59)."""
    payment_method: Annotated[Code | None, FINANCIAL] = None
    """UN/CEFACT 4461 (EN 16931 BT-81)."""
    order: Annotated[Code | None, PLAIN] = None
    """The number of the purchase order (EN 16931 BT-13)."""
    contract: Annotated[Code | None, PLAIN] = None
    """The number of the contract (EN 16931 BT-12)."""

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


class OrderLine(Part):
    """
    An order line says what is ordered, and how much of it has come and was billed.

    UBL `OrderLine`, Business Central `purchaseOrderLine`. The commitment that is left is `net` less `invoiced`.
    """

    number: Annotated[int, PLAIN, Field(ge=0)]
    description: Annotated[Text | None, FINANCIAL] = None
    account: Annotated[Text | None, PLAIN] = None
    net: Annotated[Amount, FINANCIAL]
    tax: Annotated[Amount | None, FINANCIAL] = None
    received: Annotated[Amount | None, FINANCIAL] = None
    invoiced: Annotated[Amount | None, FINANCIAL] = None
    dimensions: Annotated[tuple[DimensionValue, ...], PLAIN] = ()


class PurchaseOrder(Entity):
    """A purchase order asks a supplier for goods or services (UBL `Order`, Business Central `purchaseOrder`)."""

    type_name: ClassVar[str] = "purchase-order"
    standard: ClassVar[str] = "UBL 2.1 Order; Business Central purchaseOrder"
    owned_by: ClassVar[str] = "supplier"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    supplier: Annotated[Key, PLAIN]
    currency: Annotated[Currency, PLAIN] = "GBP"
    order_date: Annotated[Day | None, PLAIN] = None
    delivery_date: Annotated[Day | None, PLAIN] = None
    status: Annotated[Code | None, PLAIN] = None
    contract: Annotated[Code | None, PLAIN] = None
    """The number of the contract under which it is ordered."""
    lines: Annotated[tuple[OrderLine, ...], FINANCIAL] = ()


class SettledDocument(Part):
    """A payment settles an invoice, or a part of it."""

    document: Annotated[Key, PLAIN]
    amount: Annotated[Amount | None, FINANCIAL] = None


class Payment(Entity):
    """A payment gives money to a supplier, and settles invoices (UBL `Payment`, Business Central `vendorPayment`)."""

    type_name: ClassVar[str] = "payment"
    standard: ClassVar[str] = "UBL 2.1 Payment; Business Central vendorPayment"
    owned_by: ClassVar[str] = "supplier"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The finance system's number of the payment, such as a cheque's or a voucher's."""
    supplier: Annotated[Key, PLAIN]
    currency: Annotated[Currency, PLAIN] = "GBP"
    payment_date: Annotated[Day | None, PLAIN] = None
    payment_method: Annotated[Code | None, FINANCIAL] = None
    amount: Annotated[Amount, FINANCIAL]
    """Above zero if the supplier was given it."""
    payee: Annotated[Text | None, IDENTIFYING] = None
    """The name of the one who is paid, where it is not the supplier's (EN 16931 BT-59)."""
    settles: Annotated[tuple[SettledDocument, ...], FINANCIAL] = ()


class BankTransfer(Entity):
    """
    A bank transfer is told to the council's bank: pay this to somebody, or collect it from them (ISO 20022 `pain.001`
    CreditTransferTransactionInformation, a data record of Bacs Standard 18).

    The bank's file does not say which supplier or customer of a ledger that is: it belongs to nobody but itself. No account has a
    place here: whoever needs one has it in the finance system.
    """

    type_name: ClassVar[str] = "bank-transfer"
    standard: ClassVar[str] = "ISO 20022 pain.001 CreditTransferTransactionInformation; Bacs Standard 18 data record"
    known_by: ClassVar[tuple[str, ...]] = ("reference", "end_to_end_id")

    batch: Annotated[Code, PLAIN]
    """The file in which the bank is told (ISO 20022 MsgId; the serial number of Bacs's VOL1)."""
    number: Annotated[int, PLAIN, Field(ge=1)]
    """The transfer's place among those of the file."""
    currency: Annotated[Currency, PLAIN] = "GBP"
    amount: Annotated[Amount, FINANCIAL]
    """Above zero if the other side is given it, below zero if it is collected from them."""
    payment_date: Annotated[Day | None, PLAIN] = None
    """The day on which the bank is to do it (ISO 20022 ReqdExctnDt, Bacs's processing day)."""
    payment_method: Annotated[Code | None, FINANCIAL] = None
    """UN/CEFACT 4461, the list of EN 16931 BT-81: 30 is a credit transfer, 49 a direct debit."""
    purpose: Annotated[Code | None, FINANCIAL] = None
    """ISO 20022 ExternalPurpose1Code, or Bacs's transaction code."""
    party: Annotated[Text | None, IDENTIFYING] = None
    """The name of the one who is paid, or from whom it is collected, as far as the file has room for it (Bacs: 18 characters)."""
    reference: Annotated[Text | None, IDENTIFYING] = None
    """The reference that the payee sees on a statement (ISO 20022 RmtInf, Bacs's service user's reference)."""
    end_to_end_id: Annotated[Code | None, IDENTIFYING] = None
    """ISO 20022 EndToEndId, the payer's own number of the transfer."""


class Customer(Entity):
    """
    A customer is a firm or a person who owes the council money (UBL `AccountingCustomerParty`, Business Central `customer`).

    Most are people: name and address are classified as identifying.
    """

    type_name: ClassVar[str] = "customer"
    standard: ClassVar[str] = "UBL 2.1 AccountingCustomerParty; Business Central customer"
    known_by: ClassVar[tuple[str, ...]] = ("number", "vat_number", "company_number")

    number: Annotated[Code, PLAIN]
    """The finance system's number for the customer, unique in it."""
    name: Annotated[Text, IDENTIFYING]
    vat_number: Annotated[VATNumber | None, FINANCIAL] = None
    company_number: Annotated[Code | None, PLAIN] = None
    addresses: Annotated[tuple[Address, ...], IDENTIFYING] = ()
    contacts: Annotated[tuple[ContactPoint, ...], IDENTIFYING] = ()


class JournalLine(Entity):
    """
    A journal line posts an amount to an account of the general ledger (Business Central `journalLine`, `generalLedgerEntry`).

    It belongs to its journal, which has no entity of its own: the amounts of all lines with one `journal` add up to zero.
    """

    type_name: ClassVar[str] = "journal-line"
    standard: ClassVar[str] = "Business Central journalLine"
    owned_by: ClassVar[str] = "journal"
    known_by: ClassVar[tuple[str, ...]] = ("document_number",)

    journal: Annotated[Key, PLAIN]
    """The key of the journal, or voucher, e.g. `unit4:journal:40001234`."""
    line_number: Annotated[int, PLAIN, Field(ge=0)]
    document_type: Annotated[Code | None, PLAIN] = None
    document_number: Annotated[Code | None, PLAIN] = None
    external_document_number: Annotated[Text | None, PLAIN] = None
    posting_date: Annotated[Day | None, PLAIN] = None
    fiscal_year: Annotated[int | None, PLAIN] = None
    period: Annotated[Code | None, PLAIN] = None
    """The accounting period as the finance system writes it, such as `202604`."""
    account: Annotated[Text | None, PLAIN] = None
    currency: Annotated[Currency, PLAIN] = "GBP"
    amount: Annotated[Amount, FINANCIAL]
    """Above zero for a debit, below zero for a credit."""
    description: Annotated[Text | None, FINANCIAL] = None
    party: Annotated[Key | None, PLAIN] = None
    """The supplier or the customer that it concerns."""
    dimensions: Annotated[tuple[DimensionValue, ...], PLAIN] = ()


FINANCE: tuple[type[Entity], ...] = (
    Supplier,
    Invoice,
    CreditNote,
    LedgerDimension,
    PurchaseOrder,
    Payment,
    BankTransfer,
    Customer,
    JournalLine,
)
