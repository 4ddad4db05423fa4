"""The records of a mainframe's ledger: a supplier, and an entry in a journal."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from adapters.kit.rows import Soft, row_of
from adapters.kit.typed import row_key
from canonical.errors import BadRecordError
from canonical.finance import JournalLine, Supplier
from canonical.key import key_of
from canonical.people import Address

SUPPLIER = """
       01  SUPPLIER-RECORD.
           05  SUPPLIER-NO           PIC X(8).
           05  SUPPLIER-NAME         PIC X(35).
           05  POSTAL-ADDRESS        PIC X(60).
"""
ENTRY = """
       01  LEDGER-ENTRY.
           05  JOURNAL-NO            PIC X(8).
           05  LINE-NO               PIC 9(5)      COMP-3.
           05  POSTED                PIC 9(8)      COMP-3.
           05  ACCOUNT-CODE          PIC X(12).
           05  AMOUNT                PIC S9(9)V99  COMP-3.
           05  NARRATIVE             PIC X(30).
           05  SUPPLIER-NO           PIC X(8).
"""


@row_of("SUPPLIER-RECORD", key="supplier_no")
class SupplierRecord(NamedTuple):
    supplier_no: str
    supplier_name: str
    postal_address: Soft[str | None]


@row_of("LEDGER-ENTRY", key=("journal_no", "line_no"))
class LedgerEntry(NamedTuple):
    journal_no: str
    line_no: int
    posted: int | None
    account_code: str | None
    amount: Decimal
    narrative: Soft[str | None]
    supplier_no: str | None


def supplier(source: str, s: SupplierRecord) -> Supplier:
    addresses = (Address(lines=(s.postal_address,)),) if s.postal_address else ()
    return Supplier(key=row_key(source, "supplier", s), number=s.supplier_no, name=s.supplier_name, addresses=addresses)


def entry(source: str, e: LedgerEntry) -> JournalLine:
    return JournalLine(
        key=row_key(source, "journal-line", e),
        journal=key_of(source, "journal", e.journal_no),
        line_number=e.line_no,
        document_number=e.journal_no,
        posting_date=_day(e.posted),
        account=e.account_code,
        amount=e.amount,
        description=e.narrative,
        party=key_of(source, "supplier", e.supplier_no) if e.supplier_no else None,
    )


def _day(number: int | None) -> date | None:
    """A day that is a number, 20260401. Nought stands for none."""
    if not number:
        return None
    try:
        return date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        rule, fix = "is no day of the form yyyymmdd", "correct it in the source"
        raise BadRecordError("LEDGER-ENTRY", field="POSTED", rule=rule, shape="a number", fix=fix) from None
