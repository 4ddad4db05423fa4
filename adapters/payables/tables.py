"""
From bytes to rows of cells: the encoding, the delimiter and the sheet are decided by evidence, or the file is refused.

Nothing here knows the meaning of a column. If a file can be read in several ways, every way that is not excluded is
given; the caller keeps the one that fits a layout, and refuses the file if two readings would give different records.

A table is never in memory as a whole: each time that somebody goes through its rows, they are read from the file's bytes
again. That costs little and is bounded; a list of all cells takes thirty times the file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from adapters.kit.text import Text, encodings, refused
from adapters.kit.workbook import Cell, Sheet, sheets
from adapters.payables.cells import EPOCH
from adapters.payables.sheets import APART

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MOST_ROWS, MOST_CELLS = 1_048_576, 20_000_000  # a spreadsheet's own limit of rows; a file with more is no ledger


@dataclass(frozen=True, slots=True)
class Table:
    """
    Rows numbered from 1 like in a spreadsheet, blank ones included, how many there are, and how they were read.

    Several readers may go through `rows`, any number of times, but one at a time. `delimiter` is that of text; `torn` says
    that no line end closes the last row of a text. `name` is that of a sheet, `before` the number before its first row, and
    `epoch` the day that its serial numbers count from.
    """

    rows: Iterable[Sequence[Cell]]
    count: int
    how: str
    delimiter: str = ""
    torn: bool = False
    name: str = ""
    before: int = 0
    epoch: date = EPOCH


def tables(where: str, data: bytes, *, encoding: str | None, largest: int) -> list[list[Table]]:
    """
    The ways to read a file: one list for each encoding that is not excluded, in it a table a delimiter or sheet.

    :raises BadRecordError: no encoding fits, the quotes do not match, or the workbook cannot be opened.
    """
    if is_workbook(data):
        return [[_sheet(at, sheet) for at, sheet in enumerate(sheets(where, data, largest))]]
    _refuse_what_is_no_table(where, data)
    return [_delimited(where, Text(data, name)) for name in encodings(where, data, encoding)]


def _sheet(at: int, sheet: Sheet) -> Table:
    how = f"workbook, sheet {at + 1}"
    return Table(sheet, sheet.count, how, name=sheet.name, before=at * APART, epoch=sheet.epoch)


_NO_TABLES = {
    "a web page (HTML)": re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body|table|meta)\b", re.I | re.S),
    "an XML document": re.compile(rb"\s*<\?xml\b"),
    "a PDF document": re.compile(rb"%PDF-"),
    "a text document (RTF)": re.compile(rb"\{\\rtf"),
}


def _refuse_what_is_no_table(where: str, data: bytes) -> None:
    for what, begin in _NO_TABLES.items():
        if begin.match(data.removeprefix(b"\xef\xbb\xbf")[:1000]):
            raise refused(where, "file", f"is {what}, whatever its name says", "bytes")


def is_workbook(data: bytes) -> bool:
    """Tell whether a file begins as an Excel workbook does, of the newer or the older kind."""
    return data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"))


# -- delimited text ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DelimitedText:
    """The rows of a text by one delimiter."""

    text: Text
    delimiter: str

    def __iter__(self) -> Iterator[list[str]]:
        return csv.reader(self.text.lines(), delimiter=self.delimiter, strict=True)

    def count(self) -> int | str:
        """The number of rows, or the reason why they cannot be read."""
        rows = cells = 0
        try:
            for row in self:
                rows += 1
                cells += len(row)
                if rows > MOST_ROWS or cells > MOST_CELLS:
                    return f"has more than {MOST_ROWS} rows or {MOST_CELLS} cells"
        except csv.Error as error:
            return f"is not text that a CSV reader understands ({error})"
        return rows


def _delimited(where: str, text: Text) -> list[Table]:
    counts = {d: DelimitedText(text, d).count() for d in _delimiters(text)}
    whole = {d: count for d, count in counts.items() if isinstance(count, int)}
    if not whole:
        why = next((count for count in counts.values() if isinstance(count, str)), "has no delimiter of " + _named())
        raise refused(where, "file", why, "text")
    return [Table(DelimitedText(text, d), n, f"{text.encoding}, {DELIMITERS[d]}", d, text.torn) for d, n in whole.items()]


def _delimiters(text: Text) -> list[str]:
    """The delimiters that occur in the text."""
    missing = set(DELIMITERS)
    for line in text.lines():
        missing -= {d for d in missing if d in line}
        if not missing:
            break
    return [d for d in DELIMITERS if d not in missing]


def _named() -> str:
    return ", ".join(DELIMITERS.values())


def numbered(table: Table) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Each row with its number, from 1; the numbers of a further sheet are greater than all of those before it."""
    return enumerate(table.rows, start=table.before + 1)
