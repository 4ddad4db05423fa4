"""
The parts of a pain.001 message (CustomerCreditTransferInitiation, versions 03 to 12), and how they hold together.

The elements are those of ISO 20022's message definition report. Accounts and addresses are not read: see README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from adapters.kit.layout_kinds import FoundRow, refused_file, should_agree
from adapters.kit.layouts import Passed
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import typed
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError
from canonical.finance import BankTransfer
from canonical.key import key_of

VERSIONS = tuple(f"urn:iso:std:iso:20022:tech:xsd:pain.001.001.{version:02}" for version in range(3, 13))
_MESSAGE = "Document/CstmrCdtTrfInitn"


@row_of(f"{_MESSAGE}/GrpHdr")
class GroupHeader(NamedTuple):
    message: Annotated[str, Spelt("MsgId")]
    entries: Annotated[int, Spelt("NbOfTxs")]
    total: Annotated[Decimal | None, Spelt("CtrlSum")]


@row_of(f"{_MESSAGE}/PmtInf")
class PaymentInformation(NamedTuple):
    """It comes when it ends, behind its transfers."""

    entries: Annotated[int | None, Spelt("NbOfTxs")]
    total: Annotated[Decimal | None, Spelt("CtrlSum")]


@row_of(f"{_MESSAGE}/PmtInf/CdtTrfTxInf", key=("message", "number"))
class CreditTransfer(NamedTuple):
    """`number` is the transfer's place in the message, which `transfers` counts."""

    message: Annotated[str, Spelt("../../GrpHdr/MsgId")]
    number: Annotated[int, Spelt("string('')")]
    amount: Annotated[Decimal, Spelt("Amt/InstdAmt|Amt/EqvtAmt/Amt")]
    currency: Annotated[str, Spelt("(Amt/InstdAmt|Amt/EqvtAmt/Amt)/@Ccy")]
    execution: Annotated[date | None, Spelt("../ReqdExctnDt[not(*)]|../ReqdExctnDt/Dt|../ReqdExctnDt/DtTm")]
    method: Annotated[str, Spelt("../PmtMtd")]
    purpose: Soft[Annotated[str | None, Spelt("Purp/Cd")]]
    creditor: Annotated[str | None, Spelt("Cdtr/Nm")]
    text: Annotated[str | None, Spelt("RmtInf/Ustrd[1]")]
    document: Annotated[str | None, Spelt("(RmtInf/Strd/RfrdDocInf/Nb)[1]")]
    end_to_end: Annotated[str | None, Spelt("PmtId/EndToEndId")]


KINDS = (GroupHeader, PaymentInformation, CreditTransfer)
_AMOUNT, _NUMBER = CreditTransfer._fields.index("amount"), CreditTransfer._fields.index("number")


class _Tally(NamedTuple):
    entries: int = 0
    total: Decimal = Decimal(0)

    def and_one(self, amount: Decimal) -> _Tally:
        return _Tally(self.entries + 1, self.total + amount)


def transfers(records: Iterator[FoundRow], accepted: frozenset[str]) -> Iterator[Row | Passed]:
    """
    The transfers of a message.

    :raises BadRecordError: it has no header, or an amount is none, so that no total could be held to.
    :raises DoubtfulError: NbOfTxs or CtrlSum, of the message or of a PmtInf, does not agree: the doubt `totals`.
    """
    header: GroupHeader | None = None
    all_of_it, inside = _Tally(), _Tally()
    for kind, row, line in records:
        if kind is GroupHeader:
            header = typed(GroupHeader)(row)
        elif kind is PaymentInformation:
            said = typed(PaymentInformation)(row)
            should_agree("totals", f"NbOfTxs of the PmtInf in line {line} is", said.entries, inside.entries, accepted)
            should_agree("totals", f"CtrlSum of the PmtInf in line {line} is", said.total, inside.total, accepted)
            inside = _Tally()
        else:
            amount = _amount(row[_AMOUNT], line)
            all_of_it, inside = all_of_it.and_one(amount), inside.and_one(amount)
            values = (*row[:_NUMBER], all_of_it.entries, *row[_NUMBER + 1 :])
            yield UnreadRow.of(values, row.field, row.rule) if isinstance(row, UnreadRow) else values
    if header is None:
        raise refused_file("has no GrpHdr", "XML")
    should_agree("totals", "NbOfTxs is", header.entries, all_of_it.entries, accepted)
    should_agree("totals", "CtrlSum is", header.total, all_of_it.total, accepted)


def _amount(written: Any, line: int) -> Decimal:
    try:
        amount = Decimal(written)
    except (ArithmeticError, TypeError):
        raise refused_file(f"the transfer in line {line} has no amount", "XML") from None
    if not amount.is_finite():
        raise refused_file(f"the transfer in line {line} has no amount", "XML")
    return amount


def transfer(source: str, record: CreditTransfer) -> BankTransfer:
    if record.method == "CHK":
        raise BadRecordError(source, field="PmtMtd", rule="is a cheque, which no bank transfers", shape="a code")
    return BankTransfer(
        key=key_of(source, "bank-transfer", record.message, record.number),
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
