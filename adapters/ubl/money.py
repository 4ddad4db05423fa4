"""
The money of a document: its totals are held together as EN 16931 does (BR-CO-10 to BR-CO-17), and its tax is put on its lines.

EN 16931 gives the tax by category and rate and not by line; a canonical line has its own. Each line gets its share, to the penny,
and the last line of a category what is left, so that the taxes of all lines add up to the document's.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, NamedTuple

from adapters.kit.rows import Spelt, row_of
from canonical.errors import BadRecordError
from canonical.finance import DocumentLine

_PENNY, _NOTHING = Decimal("0.01"), Decimal(0)
Rate = tuple[str | None, Decimal]


@row_of("cac:TaxTotal/cac:TaxSubtotal")
class UblTax(NamedTuple):
    taxable: Annotated[Decimal, Spelt("cbc:TaxableAmount")]
    tax: Annotated[Decimal, Spelt("cbc:TaxAmount")]
    category: Annotated[str | None, Spelt("cac:TaxCategory/cbc:ID")]
    percent: Annotated[Decimal | None, Spelt("cac:TaxCategory/cbc:Percent")]
    total: Annotated[Decimal, Spelt("../cbc:TaxAmount")]


class _Entry(NamedTuple):
    """A line, or an allowance or a charge on the whole document, which is a line of its own in the canonical document."""

    description: str | None
    account: str | None
    net: Decimal
    rate: Rate


def insist_on_totals(d: Any) -> None:
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


def lines_with_tax(d: Any) -> tuple[DocumentLine, ...]:
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


def _shares(nets: list[Decimal], subtotal: UblTax) -> list[Decimal]:
    shares = [(net * (subtotal.percent or 0) / 100).quantize(_PENNY, ROUND_HALF_UP) for net in nets]
    return [*shares[:-1], subtotal.tax - sum(shares[:-1], _NOTHING)] if shares else []


def _charged(each: Any) -> Decimal:
    amount: Decimal = each.amount
    return amount if each.is_charge else -amount


def _rate(each: Any) -> Rate:
    return each.category, each.percent or _NOTHING


def _refuse(field: str, rule: str) -> None:
    raise BadRecordError("the document", field=field, rule=rule, shape="an amount", fix="ask the supplier for a right document")
