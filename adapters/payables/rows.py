"""
From a recognised row to a line of a document: a row says everything that the layout needs, or its faults are listed.

Blank rows, headings and preambles are set apart before; here, totals and notes are: a total is checked against the rows
above it (totals.py), so that a file that lost rows on its way is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from adapters.kit.open_days import NO_DAYS
from adapters.kit.workbook import Cell
from adapters.payables.cells import UnreadableError, day, day_first, money, month_first, text_of
from adapters.payables.layout import DATES, MONEY, Analysis
from adapters.payables.recognise import Fit, Row
from adapters.payables.totals import RowTally, refuse_total
from adapters.payables.wholeness import Doubts, checked_rows
from canonical.errors import BadRecordError, shape_of

_MEND = "mend it in the ledger and export the file again under the same name"


@dataclass(frozen=True, slots=True)
class CellFault:
    """
    A fault says what is wrong with one cell: the row as a spreadsheet numbers it, the column's heading, the rule, the
    shape, and what a person does about it.
    """

    row: int
    heading: str
    rule: str
    shape: str
    fix: str = _MEND


@dataclass(slots=True)
class PayablesLine:
    """One row, read. A row with faults has what could be read; `net` is None only then."""

    row: int
    words: dict[str, str] = field(default_factory=dict)
    dates: dict[str, date] = field(default_factory=dict)
    net: Decimal | None = None
    tax: Decimal | None = None
    account: tuple[str, str] | None = None
    dimensions: tuple[tuple[str, str, str], ...] = ()
    redacted: bool = False
    faults: list[CellFault] = field(default_factory=list)

    @property
    def content(self) -> tuple[object, ...]:
        """All that the layout reads of the row: two rows with equal content are copies of each other."""
        words = tuple(sorted(self.words.items()))
        return words, tuple(sorted(self.dates.items())), self.net, self.tax, self.account, self.dimensions


def lines(
    doubts: Doubts, found: Fit, currency: str, tally: RowTally, no_days: frozenset[date] = NO_DAYS
) -> Iterator[PayablesLine]:
    """
    Gives every data row of a file as a line; counts all others in `tally`.

    :raises BadRecordError: the dates are American, a total does not agree with the rows above it, or a row is torn.
    """
    reader, months, halves = _Reader(found, currency, no_days), _Months(doubts.where, found), _Halves(found)
    tally.begin()
    for row in checked_rows(doubts, found, found.data(tally.apart)):
        months.look(row)
        halves.look(row)
        read = reader.kind(row)
        if read.kind == "note":
            tally.notes += 1
        elif _is_total(doubts, found, row[0], read, tally):
            tally.total(row[0], read.total)
        else:
            line = reader.line(row, read)
            if "number" in line.words:
                tally.add(line.net)
            elif tally.shows_a_sum(line.net) and "sum" not in doubts.accepted:
                line.faults.append(reader.may_be_a_total(row))
                tally.suspect(line.net)
            else:
                tally.add(line.net)
                tally.compare(line.row, line.net)
            yield line
    months.refuse_american()
    halves.refuse_swapped(doubts)


class _Months:
    """One date that can only be month-first and none that can only be day-first: 04/05 in this file may be either."""

    def __init__(self, where: str, found: Fit) -> None:
        self.where = where
        either = any(style.startswith("dd") and style[-1] == "y" for style in found.layout.dates)
        self.columns = [found.at[d] for d in DATES if d in found.at] if either else []
        self.american = False

    def look(self, row: Row) -> None:
        for at in self.columns:
            if at < len(row[1]):
                if day_first(row[1][at]):
                    self.columns, self.american = [], False
                    return
                self.american = self.american or month_first(row[1][at])

    def refuse_american(self) -> None:
        if self.american:
            raise BadRecordError(
                self.where, field="dates", rule="have the month first in some rows, and the day surely first in none",
                shape="99/99/9999", fix="have the extract write dates as 2024-04-25 or 25/04/2024",
            )  # fmt: skip


class _Halves:
    """
    Finds real dates and texts in one column of a workbook: a program that expected American dates made real ones of those that it
    could, with day and month swapped, and left the others as text. Then no real one has a day after the twelfth.
    """

    def __init__(self, found: Fit) -> None:
        self.columns = [found.at[d] for d in DATES if d in found.at] if not found.table.delimiter else []
        self.early, self.late, self.text = set[int](), set[int](), set[int]()

    def look(self, row: Row) -> None:
        for at in self.columns:
            cell = row[1][at] if at < len(row[1]) else None
            if isinstance(cell, date):
                (self.late if cell.day > 12 else self.early).add(at)
            elif day_first(cell):
                self.text.add(at)

    def refuse_swapped(self, doubts: Doubts) -> None:
        if self.early & self.text - self.late:
            rule = "are real dates up to the twelfth of a month and texts after it: day and month of the real ones may be swapped"
            doubts.refuse("dates", "dates", rule, "a column")


def _is_total(doubts: Doubts, found: Fit, row: int, read: _Kind, tally: RowTally) -> bool:
    """Tell whether a row that is called a total, or has nothing but an amount, shows a sum of the rows above it."""
    if read.kind == "called a total" or read.kind == "sum":
        return read.total in tally.sums
    if read.kind == "total" and read.total is not None and tally.sums and read.total not in tally.sums:
        refuse_total(doubts, found, row, read.total, "is a total that the rows above it do not add up to")
    return read.kind == "total"


def _is_remark(filled: Sequence[str]) -> bool:
    """Some words and nothing else in the row, in whichever column: "Printed by Finance"."""
    return len(filled) == 1 and " " in filled[0]


class _Kind(NamedTuple):
    """
    The kind of a row: `line`, `note` (names neither money nor payee), `total` (says so, and nothing else), `called a total`
    (says so beside other words or a date, as a supplier of that name does), or `sum` (only an amount). Its amounts are read
    with it, once; `faults` are the ones that cannot be read.
    """

    kind: str
    amounts: dict[str, Decimal]
    faults: Sequence[CellFault] = ()

    @property
    def total(self) -> Decimal | None:
        return self.amounts.get("net")


class _Reader:
    """Reads the rows of one file."""

    def __init__(self, found: Fit, currency: str, no_days: frozenset[date]) -> None:
        self.found, self.no_days = found, no_days
        self.layout = found.layout
        self.columns = dict(found.layout.parts())
        self.currency = currency
        self.words = [part for part in found.layout.columns if part in found.at and part not in (*MONEY, *DATES)]
        self.money = [part for part in MONEY if part in found.at]
        self.dates = [part for part in DATES if part in found.at]
        needed = {"supplier_name", *(p for p in found.layout.document if p != "supplier")}
        if found.layout.unnumbered == "single" or "number" not in found.layout.columns:
            needed.discard("number")
        self.needed = sorted(needed)
        self.totals = re.compile(found.layout.totals)
        self.withheld = re.compile(found.layout.redacted)

    def kind(self, row: Row) -> _Kind:
        number, cells = row
        payee, document = self.text(cells, "supplier_name"), self.text(cells, "number")
        unreadable: list[CellFault] = []
        amounts = self._amounts(cells, unreadable, number)
        if unreadable:
            return _Kind("line", amounts, unreadable)
        filled = [text for cell in cells if (text := text_of(cell))]
        if (not document or self.totals.fullmatch(document)) and any(self.totals.fullmatch(word) for word in filled):
            return _Kind("total" if self._says_nothing_else(cells, filled) else "called a total", amounts)
        amount = amounts.get("net")
        if amount is None and not self._says_money(cells) and (not (payee or document) or _is_remark(filled)):
            return _Kind("note", amounts)
        return _Kind("sum" if len(filled) == 1 and amount is not None else "line", amounts)

    def may_be_a_total(self, row: Row) -> CellFault:
        part = self.found.amount
        fault = self._fault(row[0], part, "is the sum of the rows above it, so that it may be a total", self._cell(row[1], part))
        fix = "if it is a payment, let it through: see `ironbridge held`; if it is a total, name it in the layout's `totals`"
        return replace(fault, fix=fix)

    def _says_nothing_else(self, cells: Sequence[Cell], words: Sequence[str]) -> bool:
        """A label and amounts, no date and no other word: a supplier may well be called Total."""
        if any(text_of(self._cell(cells, part)) for part in self.dates):
            return False
        others = [word for word in words if not self.totals.fullmatch(word)]
        return not any(c.isalpha() for c in "".join(others))

    def _says_money(self, cells: Sequence[Cell]) -> bool:
        """Tell whether a row without an amount in its place has one elsewhere: then it is a shifted row and no note."""
        return any(isinstance(c, int | float) or re.search(r"[0-9][.,][0-9]{2}\b", text_of(c)) for c in cells)

    def text(self, cells: Sequence[Cell], part: str) -> str:
        at = self.found.at.get(part)
        text = text_of(cells[at]) if at is not None and at < len(cells) else ""
        pattern = self.columns[part].pattern if part in self.columns else None
        return "" if pattern and not re.fullmatch(pattern, text) else text

    def _cell(self, cells: Sequence[Cell], part: str) -> Cell:
        at = self.found.at.get(part)
        return cells[at] if at is not None and at < len(cells) else None

    def _money(self, cells: Sequence[Cell], part: str) -> Decimal | None:
        amount = money(self._cell(cells, part), decimal=self.layout.decimal, currency=self.currency)
        return -amount if amount and self.layout.sign == "reversed" else amount

    def _amounts(self, cells: Sequence[Cell], faults: list[CellFault], row: int) -> dict[str, Decimal]:
        amounts: dict[str, Decimal] = {}
        for part in self.money:
            try:
                if (amount := self._money(cells, part)) is not None:
                    amounts[part] = amount
            except UnreadableError as error:
                faults.append(self._fault(row, part, str(error), self._cell(cells, part)))
        if "net" not in amounts and {"gross", "tax"} <= amounts.keys():
            amounts["net"] = amounts["gross"] - amounts["tax"]
        return amounts

    def line(self, row: Row, read: _Kind) -> PayablesLine:
        number, cells = row
        line = PayablesLine(number, faults=list(read.faults))
        for part in self.words:
            if text := self.text(cells, part):
                line.words[part] = text
        line.redacted = bool(self.withheld.fullmatch(line.words.get("supplier_name", "")))
        self._read_money(line, cells, read.amounts)
        self._read_dates(line, cells)
        self._analyse(line, cells)
        self._needs(line, cells)
        return line

    def _read_money(self, line: PayablesLine, cells: Sequence[Cell], amounts: dict[str, Decimal]) -> None:
        line.net, line.tax = amounts.get("net"), amounts.get("tax")
        part = self.found.amount
        if line.net is None and not line.faults:
            line.faults.append(self._fault(line.row, part, "is missing", None))
        if len(amounts) == len(MONEY) and amounts["net"] + amounts["tax"] != amounts["gross"]:
            rule = "plus the tax is not the gross amount"
            line.faults.append(self._fault(line.row, part, rule, self._cell(cells, part)))

    def _read_dates(self, line: PayablesLine, cells: Sequence[Cell]) -> None:
        for part in self.dates:
            cell = self._cell(cells, part)
            try:
                if found := day(cell, self.layout.dates, self.no_days, self.found.table.epoch):
                    line.dates[part] = found
            except UnreadableError as error:
                line.faults.append(self._fault(line.row, part, str(error), cell))

    def _analyse(self, line: PayablesLine, cells: Sequence[Cell]) -> None:
        found = []
        for name, analysis in self.layout.analyses():
            code, title = self._code(cells, name, analysis)
            if code and name == "account":
                line.account = (code, title)
            elif code:
                found.append((name, code, title))
        line.dimensions = tuple(found)

    def _code(self, cells: Sequence[Cell], name: str, analysis: Analysis) -> tuple[str, str]:
        code = self.text(cells, name)
        title = self.text(cells, f"{name} name") if analysis.name else code
        if analysis.split and (cut := re.fullmatch(analysis.split, code)):
            code, title = cut["code"].strip(), cut["name"].strip()
        return code, title or code

    def _needs(self, line: PayablesLine, cells: Sequence[Cell]) -> None:
        had = line.words.keys() | line.dates.keys() | {fault.heading for fault in line.faults}
        for part in self.needed:
            if part not in had and self.found.called(part) not in had:
                line.faults.append(self._fault(line.row, part, "is missing", None))
        beyond = cells[self.found.width :] if self.found.width is not None else ()
        if any(text_of(cell) for cell in beyond):
            line.faults.append(self._fault(line.row, "row", "has more cells than there are headings", None))

    def _fault(self, row: int, part: str, rule: str, cell: Cell) -> CellFault:
        return CellFault(row, self.found.called(part), rule, shape_of(cell))
