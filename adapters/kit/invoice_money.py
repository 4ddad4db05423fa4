"""
The money of an e-invoice: its totals are held together as EN 16931 does (BR-CO-10 to BR-CO-17), and its tax is put on its lines.

EN 16931 gives the tax by category and rate and not by line; a canonical line has its own. Each line gets its share, to the penny,
and the last line of a category what is left, so that the taxes of all lines add up to the document's. The norm has two syntaxes,
UBL and CII: rows of either have the fields that are asked for here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple, Protocol

from canonical.errors import BadRecordError
from canonical.finance import DocumentLine

_PENNY, _NOTHING = Decimal("0.01"), Decimal(0)
Rate = tuple[str | None, Decimal]


class Rated(Protocol):
    """A part of a document with a category of tax and its rate."""

    @property
    def category(self) -> str | None: ...

    @property
    def percent(self) -> Decimal | None: ...


class BilledLine(Rated, Protocol):
    """A line of a document, without tax."""

    @property
    def description(self) -> str | None: ...

    @property
    def account(self) -> str | None: ...

    @property
    def net(self) -> Decimal: ...


class BilledCharge(Rated, Protocol):
    """A charge on the whole document, or an allowance, which is taken off."""

    @property
    def is_charge(self) -> bool: ...

    @property
    def description(self) -> str | None: ...

    @property
    def amount(self) -> Decimal: ...


class BilledTax(Rated, Protocol):
    """The tax of one category and rate, of what amount it is, and the document's whole `total` of tax."""

    @property
    def taxable(self) -> Decimal: ...

    @property
    def tax(self) -> Decimal: ...

    @property
    def total(self) -> Decimal: ...


class Billed(Protocol):
    """A document with its amounts, its lines, its charges and its taxes."""

    @property
    def sum_of_lines(self) -> Decimal: ...

    @property
    def net(self) -> Decimal: ...

    @property
    def gross(self) -> Decimal: ...

    @property
    def prepaid(self) -> Decimal | None: ...

    @property
    def rounding(self) -> Decimal | None: ...

    @property
    def payable(self) -> Decimal: ...

    @property
    def lines(self) -> Sequence[BilledLine]: ...

    @property
    def charges(self) -> Sequence[BilledCharge]: ...

    @property
    def taxes(self) -> Sequence[BilledTax]: ...


class _Entry(NamedTuple):
    """A line, or an allowance or a charge on the whole document, which is a line of its own in the canonical document."""

    description: str | None
    account: str | None
    net: Decimal
    rate: Rate


def insist_on_totals(d: Billed) -> None:
    """:raises BadRecordError: an amount of the document is not what the others make it."""
    charged = sum(map(_charged, d.charges), _NOTHING)
    tax = d.taxes[0].total if d.taxes else _NOTHING
    for field, said, rule, worked_out in (
        ("LineExtensionAmount", d.sum_of_lines, "the sum of the lines", sum((each.net for each in d.lines), _NOTHING)),
        ("TaxExclusiveAmount", d.net, "the lines with charges and without allowances", d.sum_of_lines + charged),
        ("TaxAmount", tax, "the sum of its subtotals", sum((each.tax for each in d.taxes), _NOTHING)),
        ("TaxInclusiveAmount", d.gross, "the net amount and the tax", d.net + tax),
        ("PayableAmount", d.payable, "the gross amount without what is prepaid", d.gross - (d.prepaid or 0) + (d.rounding or 0)),
    ):
        if said != worked_out:
            _refuse(field, f"is not {rule}")


def lines_with_tax(d: Billed) -> tuple[DocumentLine, ...]:
    """
    The lines of a document with their taxes, its charges and allowances behind them.

    :raises BadRecordError: a tax subtotal is not of the lines of its category and rate.
    """
    entries = [_Entry(each.description, each.account, each.net, _rate(each)) for each in d.lines]
    entries += [_Entry(each.description, None, _charged(each), _rate(each)) for each in d.charges]
    taxes: list[Decimal | None] = [None] * len(entries)
    of_rate: dict[Rate, list[int]] = defaultdict(list)
    for at, entry in enumerate(entries):
        of_rate[entry.rate].append(at)
    for subtotal in d.taxes:
        places = of_rate.pop(_rate(subtotal), [])
        if subtotal.taxable != sum((entries[at].net for at in places), _NOTHING):
            _refuse("TaxableAmount", "is not the sum of the lines of its category and rate")
        for at, tax in zip(places, _shares([entries[at].net for at in places], subtotal), strict=True):
            taxes[at] = tax
    if d.taxes and of_rate:
        _refuse("TaxSubtotal", "is missing for the category and rate of a line")
    told = enumerate(zip(entries, taxes, strict=True), 1)
    return tuple(
        DocumentLine(number=n, description=each.description, account=each.account, net=each.net, tax=tax)
        for n, (each, tax) in told
    )


def _shares(nets: list[Decimal], subtotal: BilledTax) -> list[Decimal]:
    shares = [(net * (subtotal.percent or 0) / 100).quantize(_PENNY, ROUND_HALF_UP) for net in nets]
    return [*shares[:-1], subtotal.tax - sum(shares[:-1], _NOTHING)] if shares else []


def _charged(each: BilledCharge) -> Decimal:
    return each.amount if each.is_charge else -each.amount


def _rate(each: Rated) -> Rate:
    return each.category, each.percent or _NOTHING


def _refuse(field: str, rule: str) -> None:
    raise BadRecordError("the document", field=field, rule=rule, shape="an amount", fix="ask the supplier for a right document")
