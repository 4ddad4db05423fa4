"""
The records of a Standard 18 file, and how they hold together. Places are those of HSBC's Message Implementation Guide "BACS
Standard 18" (August 2012). The columns of sort codes and accounts are not read: see README.md.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, NamedTuple

from adapters.kit.batch import Batch, CountOf, SumOf
from adapters.kit.files import FileStream
from adapters.kit.layout_fixed import At, FixedLayout, Label
from adapters.kit.layouts import Passed
from adapters.kit.rows import Filled, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.finance import BankTransfer

_SIDES: dict[str, str | Passed] = {
    **dict.fromkeys(("01", "17", "18", "19"), "debits"),
    **dict.fromkeys(("99", "Z4", "Z5"), "credits"),
    **dict.fromkeys(("0C", "0N", "0S"), Passed("direct debit instructions")),
}
_CONTRA = Passed("contra records")


@row_of("Bacs data record", key=("service_user", "serial", "processed", "number"))
class BacsTransfer(NamedTuple):
    """A data record, with what the labels before it say of its file."""

    service_user: Annotated[str, At(42, 47, of="VOL1")]
    serial: Annotated[str, At(5, 10, of="VOL1")]
    processed: Annotated[str, At(101, 106), At(5, 10, of="UHL1")]
    number: Filled[int]
    code: Annotated[str, At(16, 17), Spelt("transaction code")]
    pence: Annotated[int, At(36, 46)]
    reference: Annotated[str | None, At(65, 82)]
    name: Annotated[str | None, At(83, 100)]


@row_of("UTL1")
class Utl1(NamedTuple):
    debit_pence: Annotated[int, At(5, 17), SumOf("the debits in pence are", "debits")]
    credit_pence: Annotated[int, At(18, 30), SumOf("the credits in pence are", "credits")]
    debits: Annotated[int, At(31, 37), CountOf("the number of debits is", "debits")]
    credits: Annotated[int, At(38, 44), CountOf("the number of credits is", "credits")]


def contra(record: BacsTransfer) -> Passed | None:
    return _CONTRA if (record.reference or "").startswith("CONTRA") else None


def transfer(source: str, record: BacsTransfer) -> BankTransfer:
    debit = _SIDES[record.code] == "debits"
    return BankTransfer(
        key=row_key(source, "bank-transfer", record),
        batch=record.serial,
        number=record.number,
        amount=Decimal(-record.pence if debit else record.pence) / 100,
        payment_date=_day(record.processed),
        payment_method="49" if debit else "30",
        purpose=record.code,
        party=record.name,
        reference=record.reference,
    )


def _day(yyddd: str) -> date | None:
    """A Bacs day is a year of this century and the day in it; what is none of these is no day."""
    if not (len(yyddd) == 5 and yyddd.isascii() and yyddd.isdigit() and 1 <= int(yyddd[2:]) <= 366):
        return None
    return date(2000 + int(yyddd[:2]), 1, 1) + timedelta(days=int(yyddd[2:]) - 1)


_WHOLE = Batch(BacsTransfer, "pence", "number", trailer=Utl1, side="code", sides=_SIDES, passes=contra)
LAYOUT = FixedLayout({**dict.fromkeys(("VOL1", "HDR", "UHL1", "EOF"), Label), "UTL1": Utl1, "": BacsTransfer}, whole=_WHOLE)
STREAMS = (FileStream("bank-transfer", transfer, LAYOUT, r".*\.(?:txt|dat|bac|bacs|18)"),)
