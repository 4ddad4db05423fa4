"""
The parts of a pain.001 message (CustomerCreditTransferInitiation, versions 03 to 12), and how they hold together.

The elements are those of ISO 20022's message definition report. Accounts and addresses are not read: see README.md.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, NamedTuple

from adapters.kit.batch import Batch, CountOf, SumOf
from adapters.kit.files import FileStream
from adapters.kit.layout_xml import XmlLayout
from adapters.kit.rows import Filled, Soft, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.errors import BadRecordError
from canonical.finance import BankTransfer

VERSIONS = tuple(f"urn:iso:std:iso:20022:tech:xsd:pain.001.001.{version:02}" for version in range(3, 13))
_MESSAGE = "Document/CstmrCdtTrfInitn"


@row_of(f"{_MESSAGE}/GrpHdr")
class GroupHeader(NamedTuple):
    message: Annotated[str, Spelt("MsgId")]
    entries: Annotated[int, Spelt("NbOfTxs"), CountOf("NbOfTxs is")]
    total: Annotated[Decimal | None, Spelt("CtrlSum"), SumOf("CtrlSum is")]


@row_of(f"{_MESSAGE}/PmtInf")
class PaymentInformation(NamedTuple):
    """It comes when it ends, behind its transfers."""

    entries: Annotated[int | None, Spelt("NbOfTxs"), CountOf("NbOfTxs of the PmtInf in line {line} is")]
    total: Annotated[Decimal | None, Spelt("CtrlSum"), SumOf("CtrlSum of the PmtInf in line {line} is")]


@row_of(f"{_MESSAGE}/PmtInf/CdtTrfTxInf", key=("message", "number"))
class CreditTransfer(NamedTuple):
    """`number` is the transfer's place in the message."""

    message: Annotated[str, Spelt("../../GrpHdr/MsgId")]
    number: Filled[int]
    amount: Annotated[Decimal, Spelt("Amt/InstdAmt|Amt/EqvtAmt/Amt")]
    currency: Annotated[str, Spelt("(Amt/InstdAmt|Amt/EqvtAmt/Amt)/@Ccy")]
    execution: Annotated[date | None, Spelt("../ReqdExctnDt[not(*)]|../ReqdExctnDt/Dt|../ReqdExctnDt/DtTm")]
    method: Annotated[str, Spelt("../PmtMtd")]
    purpose: Soft[Annotated[str | None, Spelt("Purp/Cd")]]
    creditor: Annotated[str | None, Spelt("Cdtr/Nm")]
    text: Annotated[str | None, Spelt("RmtInf/Ustrd[1]")]
    document: Annotated[str | None, Spelt("(RmtInf/Strd/RfrdDocInf/Nb)[1]")]
    end_to_end: Annotated[str | None, Spelt("PmtId/EndToEndId")]


def transfer(source: str, record: CreditTransfer) -> BankTransfer:
    if record.method == "CHK":
        raise BadRecordError(source, field="PmtMtd", rule="is a cheque, which no bank transfers", shape="a code")
    return BankTransfer(
        key=row_key(source, "bank-transfer", record),
        batch=record.message,
        number=record.number,
        currency=record.currency,
        amount=record.amount,
        payment_date=record.execution,
        payment_method="30",
        purpose=record.purpose,
        party=record.creditor,
        reference=record.document or record.text,
        end_to_end_id=None if record.end_to_end == "NOTPROVIDED" else record.end_to_end,
    )


_WHOLE = Batch(CreditTransfer, "amount", "number", head=GroupHeader, part=PaymentInformation, doubt="totals")
LAYOUT = XmlLayout((GroupHeader, PaymentInformation, CreditTransfer), roots=VERSIONS, whole=_WHOLE)
STREAMS = (FileStream("bank-transfer", transfer, LAYOUT, r".*\.xml"),)
