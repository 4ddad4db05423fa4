"""
This module works out how long the bars of a figure's chart are. All of the drawing is in the template; here are only the
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ironbridge.figures.figure import Figure
from ironbridge.figures.sheet import FigureSheet

MOST = 40
"""Bars that a chart has room for; the table beside it has all groups."""
LABEL = 420
"""Where the bars begin, in the drawing's own units; the labels stand left of it."""
WIDTH = 1140
_LONGEST = 620
STEP = 30


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    said: str
    width: float
    y: int


@dataclass(frozen=True, slots=True)
class BarChart:
    """A chart of one number of a figure; `rest` groups more have no bar."""

    number: str
    bars: tuple[Bar, ...]
    rest: int

    @property
    def height(self) -> int:
        return STEP * len(self.bars) + 10


def bar_chart(of: Figure, sheet: FigureSheet) -> BarChart:
    """The number that the figure has for its chart, a bar for each group. Below zero there is no bar, but the number."""
    records = sheet.records
    highest = max((float(each[of.chart] or 0) for each in records), default=0.0)
    bars = tuple(
        Bar(_label(of.by, each), said(each[of.chart]), _width(each[of.chart], highest), place * STEP + 5)
        for place, each in enumerate(records[:MOST])
    )
    return BarChart(words(of.chart), bars, len(records) - len(bars))


def _label(by: Sequence[str], record: dict[str, Any]) -> str:
    """The group's name, as far as there is room for it: its end says most."""
    label = ", ".join(str(record[name]) for name in by)
    return label if len(label) <= 52 else f"…{label[-51:]}"


def _width(value: Any, highest: float) -> float:
    return round(max(float(value or 0), 0.0) / highest * _LONGEST, 1) if highest > 0 else 0.0


def said(value: Any) -> str:
    """A number of a figure, or any value of its rows, for people: thousands are parted, yes and no are words."""
    match value:
        case None:
            return "—"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}".removesuffix(".0")
        case _ if hasattr(value, "as_tuple"):  # a Decimal
            return f"{value:,.2f}"
    return str(value)


def words(name: str) -> str:
    """A column's name as people write it: `in_time_percent` is `In time, %`."""
    text = name.removesuffix("_percent").replace("_", " ")
    return text[:1].upper() + text[1:] + (", %" if name.endswith("_percent") else "")
