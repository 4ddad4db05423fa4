"""
This module tells which sheets of a workbook are read together if several fit a layout: the ones of a month each, or those
that the layout says. A workbook with two sheets of one thing, as all payments and the ones above £500, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from adapters.payables.cells import MONTHS
from adapters.payables.layout import PayablesLayout

APART = 10_000_000  # between the numbers of rows of two sheets
_PERIODS = {"p": "p", "period": "p", "m": "m", "month": "m", "q": "q", "quarter": "q", "w": "w", "wk": "w", "week": "w"}


def place(number: int) -> str:
    """
    A row as a spreadsheet numbers it, with its sheet if that is not the first one.

    >>> place(7), place(2 * APART + 7)
    ('7', '7 of sheet 3')
    """
    sheet, row = divmod(number, APART)
    return f"{row} of sheet {sheet + 1}" if sheet else str(row)


def together(names: Sequence[str], layout: PayablesLayout) -> list[int]:
    """Return the places of the sheets that are read together, by the names of those that fit; none if that is in doubt."""
    fitting = [at for at, name in enumerate(names) if not re.fullmatch(layout.summaries, name)]
    periods = {period(names[at]) for at in fitting}
    apart = len(periods) == len(fitting) and None not in periods
    known = len(fitting) == 1 or layout.sheets == "each" or (layout.sheets == "periods" and apart)
    return fitting if known else []


def period(name: str) -> tuple[str, ...] | None:
    """
    Return the month, quarter or week that a sheet's name says, and nothing else; its year by two digits. Excel calls the copy
    of a sheet `Apr (2)`.

    >>> period("Apr 2024"), period("2024-04"), period("Period 3"), period("Sheet1"), period("Apr (2)")
    (('4', '24'), ('24', '04'), ('p', '3'), None, None)
    """
    words, numbers = re.findall(r"[^\W\d_]+", name.casefold()), re.findall(r"[0-9]+", name)
    if "(" in name or len(words) > 1 or (not words and len("".join(numbers)) < 4):
        return None
    said = [str(MONTHS.get(word, "")) or _PERIODS.get(word, "") for word in words]
    return None if "" in said else (*said, *(number[-2:] for number in numbers))
