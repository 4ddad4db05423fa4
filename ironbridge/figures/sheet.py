"""A sheet is what a figure answers: the names of its columns and its lines. It is shown, and written as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A text that begins so is a formula for a spreadsheet, which would run it."""


@dataclass(frozen=True, slots=True)
class FigureSheet:
    columns: tuple[str, ...]
    lines: Sequence[tuple[Any, ...]]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, line, strict=True)) for line in self.lines]


def csv_pieces(columns: Sequence[str], pieces: Iterable[Sequence[Sequence[Any]]]) -> Iterator[str]:
    """The text of a CSV file, piece by piece, so that a million lines need no room."""
    yield _written([columns])
    for lines in pieces:
        yield _written(lines)


def _written(lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([_safe(value) for value in line] for line in lines)
    return out.getvalue()


def _safe(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
