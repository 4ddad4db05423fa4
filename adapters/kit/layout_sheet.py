"""
Workbooks as a layout: the rows of a sheet, by the names in its first line.

A workbook is opened by a process of its own (`adapters.kit.workbook`), because one of a kilobyte can claim all memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Self

from adapters.kit.layout_kinds import refused_file
from adapters.kit.layouts import HowWritten, Passed
from adapters.kit.rows import Declared, of_header
from adapters.kit.workbook import Cell, Sheet, sheets
from adapters.port import Row

LARGEST = 12_000_000
"""Bytes of a workbook: all limits of the process that opens it follow from them."""

_BLANK = Passed("blank lines")
_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"})


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """
    The rows of some sheets of a workbook (xlsx, xlsm, xls, ods), in the order of their names here; case and blanks of a name do
    not count. Each sheet's first line that is not blank names the columns, in any order; other columns are left out.

    A whole number is an int, text loses the blanks round it, a no-break space is a blank. A formula is the value that the
    workbook holds for it. An error such as #N/A, and an empty cell, are empty texts. Blank lines are passed over. Hidden
    sheets are not read.
    """

    row: type[tuple[Any, ...]]
    sheets: tuple[str, ...]
    shelf: Path | None = field(default=None, repr=False)

    def written(self, how: HowWritten) -> Self:
        """A workbook says itself how it is written: of the settings, only the shelf matters."""
        return replace(self, shelf=how.shelf)

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the rows.

        :raises BadRecordError: the file is no workbook or too large, a sheet is not there, or it lacks a column.
        """
        data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise refused_file(f"is a workbook of more than {LARGEST} bytes", "bytes", "save it with its data only")
        declared: Declared = self.row.__dict__.get("__declared__", Declared(self.row.__name__))
        shown = {_plain(each.name): each for each in sheets(declared.table, data, LARGEST, self.shelf)}
        if missing := [name for name in self.sheets if _plain(name) not in shown]:
            rule = f"has no visible sheet that is called {', '.join(missing)}"
            raise refused_file(rule, f"{len(shown)} sheets", "name the sheets so, and leave each in, with its first line")
        for name in self.sheets:
            yield from self._of(shown[_plain(name)])

    def _of(self, sheet: Sheet) -> Iterator[Row | Passed]:
        lines = (list(map(_value, line)) for line in sheet)
        header = next((line for line in lines if any(cell != "" for cell in line)), None)
        if header is None:
            raise refused_file("has a sheet without a first line", "nothing", "leave the names of its columns in")
        pick = of_header(self.row, [str(cell) for cell in header])
        for cells in lines:
            yield _padded(pick, cells, len(header)) if any(cell != "" for cell in cells) else _BLANK


def _padded(pick: Any, cells: Sequence[Any], width: int) -> Row:
    picked: Row = pick([*cells, *[""] * (width - len(cells))])
    return picked


def _value(cell: Cell) -> Any:
    if isinstance(cell, str):
        text = cell.replace("\xa0", " ").strip()
        return "" if text in _ERRORS else text
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, time | timedelta):
        return str(cell)
    return "" if cell is None else cell


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()
