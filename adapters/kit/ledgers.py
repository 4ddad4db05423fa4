"""These functions read how ledgers write amounts, references and analyses."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from canonical.finance import DimensionValue


class Money(NamedTuple):
    """An amount in the currency of its document, and the part of it that is outstanding."""

    currency: str
    amount: Decimal
    rest: Decimal | None


HOME = "GBP"


def money(
    currency: str | None, amount: Decimal, cur_amount: Decimal | None, rest: Decimal | None, rest_curr: Decimal | None
) -> Money:
    """In the document's own currency, unless nobody filled that amount in: then in the council's."""
    if currency in (None, HOME) or (not cur_amount and amount):
        return Money(HOME, amount, rest)
    return Money(currency or HOME, cur_amount or Decimal(0), rest_curr)


def dimensions(row: tuple[Any, ...], many: int = 7) -> tuple[DimensionValue, ...]:
    """
    The last columns of a row, `dim_1` to `dim_7` or as many as they are, as far as they are filled in. What each analyses is the
    site's own.
    """
    return tuple([_dimension(n, value) for n, value in enumerate(row[-many:], 1) if value])


@lru_cache(maxsize=4096)
def _dimension(number: int, value: str) -> DimensionValue:
    return DimensionValue(dimension=f"dim_{number}", value=value)


def reference(value: str | None) -> str | None:
    """A number of another record; 0 stands for none, as a blank does."""
    return value if value is not None and value.strip("0") else None
