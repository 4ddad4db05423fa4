"""
The records of a Standard 18 file, and how they hold together. Places are those of HSBC's Message Implementation Guide "BACS
Standard 18" (August 2012). The columns of sort codes and accounts are not read: see README.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, NamedTuple

from adapters.kit.layout_fixed import At
from adapters.kit.layout_kinds import FoundRow, must_agree, refused_file
from adapters.kit.layouts import Passed
from adapters.kit.rows import row_of
from adapters.kit.typed import typed
from adapters.port import Row, UnreadRow
from canonical.finance import BankTransfer
from canonical.key import key_of

_DEBITS, _CREDITS, _INSTRUCTIONS = {"01", "17", "18", "19"}, {"99", "Z4", "Z5"}, {"0C", "0N", "0S"}
_CONTRA, _LODGED = Passed("contra records"), Passed("direct debit instructions")


@row_of("VOL1")
class Vol1(NamedTuple):
    serial: Annotated[str, At(5, 10)]
    service_user: Annotated[str, At(42, 47)]


@row_of("label")
class OtherLabel(NamedTuple):
    """HDR1, HDR2, EOF1 and EOF2 say nothing that is published."""

    kind: Annotated[str, At(1, 80)]


@row_of("UHL1")
class Uhl1(NamedTuple):
    processed: Annotated[str, At(5, 10)]


@row_of("data record")
class DataRecord(NamedTuple):
    code: Annotated[str, At(16, 17)]
    pence: Annotated[int, At(36, 46)]
    reference: Annotated[str | None, At(65, 82)]
    name: Annotated[str | None, At(83, 100)]
    processed: Annotated[str | None, At(101, 106)]


@row_of("UTL1")
class Utl1(NamedTuple):
    debit_pence: Annotated[int, At(5, 17)]
    credit_pence: Annotated[int, At(18, 30)]
    debits: Annotated[int, At(31, 37)]
    credits: Annotated[int, At(38, 44)]


KINDS = {"VOL1": Vol1, "HDR": OtherLabel, "UHL1": Uhl1, "EOF": OtherLabel, "UTL1": Utl1, "": DataRecord}


@row_of("Bacs data record", key=("service_user", "serial", "processed", "number"))
class BacsTransfer(NamedTuple):
    """A data record with what its file's labels say of it."""

    service_user: str
    serial: str
    processed: str
    number: int
    code: str
    pence: int
    reference: str | None
    name: str | None


def transfers(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row | Passed]:
    """
    The transfers of a file, and its contra records and direct debit instructions, which are passed over.

    :raises BadRecordError: a label is missing, an amount or a code is none, or the totals of UTL1 do not agree.
    """
    labels: dict[type, Row] = {}
    pence, count = Counter[bool](), Counter[bool]()
    for kind, row, line in records:
        if kind is not DataRecord:
            if Utl1 in labels:
                raise refused_file(f"goes on in line {line}, behind UTL1", "text")
            labels[kind] = row
            continue
        if Utl1 in labels or not {Vol1, Uhl1} <= labels.keys():
            raise refused_file(f"line {line} does not stand between UHL1 and UTL1", "text")
        if row[0] in _INSTRUCTIONS:
            yield _LODGED
            continue
        debit = row[0] in _DEBITS
        pence[debit] += _amount(row, line)
        count[debit] += 1
        yield _CONTRA if str(row[2]).startswith("CONTRA") else _labelled(row, count.total(), labels)
    _insist(labels, pence, count)


def _labelled(row: Row, number: int, labels: Mapping[type, Row]) -> Row:
    serial, service_user = labels[Vol1]
    values = (service_user, serial, row[4] or labels[Uhl1][0], number, *row[:4])
    return UnreadRow.of(values, row.field, row.rule) if isinstance(row, UnreadRow) else values


def _insist(labels: Mapping[type, Row], pence: Counter[bool], count: Counter[bool]) -> None:
    if Utl1 not in labels:
        raise refused_file("has no UTL1: its end is missing", "text")
    said = typed(Utl1)(labels[Utl1])
    must_agree("the debits in pence are", said.debit_pence, pence[True])
    must_agree("the credits in pence are", said.credit_pence, pence[False])
    must_agree("the number of debits is", said.debits, count[True])
    must_agree("the number of credits is", said.credits, count[False])


def _amount(row: Row, line: int) -> int:
    """The pence of a data record; without them no total could be held to."""
    code, pence = str(row[0]), str(row[1])
    if code not in _DEBITS | _CREDITS:
        raise refused_file(f"line {line} has a transaction code that is not known", "text")
    if not (pence.isascii() and pence.isdigit()):
        raise refused_file(f"line {line} has no amount", "text")
    return int(pence)


def transfer(source: str, record: BacsTransfer) -> BankTransfer:
    debit = record.code in _DEBITS
    return BankTransfer(
        key=key_of(source, "bank-transfer", record.service_user, record.serial, record.processed, record.number),
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
