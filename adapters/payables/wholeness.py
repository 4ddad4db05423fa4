"""
This module tells whether a file is whole. A file whose end was cut off, or in which a cell swallowed a row, is refused:
the rows that it lost may belong to any document of it.

A file that was cut off exactly behind a row shows nothing of it; then only its total tells, or what it held before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from adapters.kit.workbook import Cell
from adapters.payables.cells import UnreadableError, day, money, text_of
from adapters.payables.layout import DATES, MONEY
from adapters.payables.recognise import Fit, Row
from adapters.payables.sheets import place
from canonical.errors import BadRecordError, DoubtfulError

_COPIED = 3  # different rows: two payments of which each was made twice are nothing strange


@dataclass(frozen=True, slots=True)
class Doubts:
    """Says what may be in doubt in a file as a whole. `where` names the file; a person has looked at the `accepted` doubts."""

    where: str
    accepted: Collection[str] = ()

    def refuse(self, doubt: str, field: str, rule: str, shape: str, *, row: int | None = None) -> None:
        """
        Refuse the file, unless this doubt was accepted.

        :raises DoubtfulError: it was not.
        """
        if doubt not in self.accepted:
            where = self.where if row is None else f"{self.where} row {place(row)}"
            fix = "export it again; if it is right as it is, let it through: see `ironbridge held`"
            raise DoubtfulError(where, doubt, field=field, rule=rule, shape=shape, fix=fix)

    def cut(self, rule: str) -> None:
        self.refuse("end", "file", rule, "text")


def checked_rows(doubts: Doubts, found: Fit, rows: Iterator[Row]) -> Iterator[Row]:
    """
    Gives a table's data rows.

    :raises BadRecordError: a cell holds another row; the last row is shorter than all others.
    """
    before: Row | None = None
    least = 0
    for row in rows:
        if before is not None:
            least = min(least or len(before[1]), len(before[1]))
            yield before
        if found.table.delimiter and any(isinstance(cell, str) and not cell.isprintable() for cell in row[1]):
            _refuse_swallowed(doubts.where, found, row)
        before = row
    if before is not None:
        width = found.width or least
        if found.table.delimiter and len(before[1]) < min(width, least or width) and not _is_remark(before[1]):
            doubts.cut(f"ends with a row (row {place(before[0])}) that has fewer cells than every other one")
        yield before


def _is_remark(cells: Sequence[Cell]) -> bool:
    """Some words and nothing else, as a report's last line."""
    filled = [text for cell in cells if (text := text_of(cell))]
    return len(filled) == 1 and " " in filled[0]


def refuse_torn(doubts: Doubts, found: Fit, last_line: str) -> None:
    """
    Look at the last line of a text. `last_line` is `open` where the finance system never ends its last line: then the row
    must have all its cells, which is as much as can be known.

    :raises DoubtfulError: it has no end.
    """
    if not found.table.torn:
        return
    if last_line == "closed":
        doubts.cut("ends in the middle of a line: it may have been cut off")
        return
    *_, last = found.table.rows
    if len(last) <= max(found.at.values()) or len(last) < (found.width or 0):
        doubts.cut("ends in the middle of a row")


def refuse_doubled(doubts: Doubts, rows: int, copies: int) -> None:
    """
    Look at how many of a file's rows repeat another one.

    :raises DoubtfulError: there are as many copies as different rows, as if the file was pasted twice.
    """
    if rows >= _COPIED and copies >= rows:
        doubts.refuse("copies", "file", "holds every row twice", f"{rows + copies} rows")


def _refuse_swallowed(where: str, found: Fit, row: Row) -> None:
    pieces = _pieces(row[1], found.table.delimiter)
    if sum(_says_something(found, piece) for piece in pieces) > 1:
        raise BadRecordError(
            f"{where} row {place(row[0])}", field="file", rule="has a quoted cell that holds another row: a quote is not closed",
            shape=f"{len(pieces)} rows", fix="mend the quotes in the ledger and export it again",
        )  # fmt: skip


def _pieces(cells: Sequence[Cell], delimiter: str) -> list[list[str]]:
    """The rows that a row would be if no line break in it were quoted."""
    pieces: list[list[str]] = [[]]
    for cell in cells:
        first, *others = str(cell).splitlines() or [""]
        pieces[-1] += first.split(delimiter) if others else [first]
        pieces += [line.split(delimiter) for line in others]
    return pieces


def _says_something(found: Fit, cells: Sequence[str]) -> bool:
    """Tell whether a row has an amount or a date in its place."""
    return any(found.at[part] < len(cells) and _is(found, part, cells[found.at[part]]) for part in found.at)


def _is(found: Fit, part: str, cell: str) -> bool:
    cell = cell.strip('"')
    try:
        if part in MONEY:
            return money(cell, decimal=found.layout.decimal) is not None
        return part in DATES and day(cell, found.layout.dates) is not None
    except UnreadableError:
        return False
