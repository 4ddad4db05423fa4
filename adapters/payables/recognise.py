"""This module finds the layout of a table: by its headings, wherever they stand, or by what its columns look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.kit.workbook import Cell
from adapters.payables.cells import plain, text_of
from adapters.payables.layout import Column, PayablesLayout
from adapters.payables.sheets import place, together
from adapters.payables.tables import Table, numbered
from canonical.errors import BadRecordError

ENOUGH = 0.9  # of the rows of a file without headings must look as the layout says
MOST = 0.75  # of its columns filled, and a row above the headings is none of the preamble
Row = tuple[int, Sequence[Cell]]


@dataclass(slots=True)
class Apart:
    """The numbers of rows in a table that are no data."""

    preamble: int = 0
    blank: int = 0
    headings: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """
    A table read with a layout: the column of each part, counted from 0.

    `heading` is the number of the row of headings, 0 if there is none; `titles` are its cells.
    """

    name: str
    layout: PayablesLayout
    table: Table
    at: Mapping[str, int]
    heading: int = 0
    titles: Sequence[Cell] = ()

    @property
    def width(self) -> int | None:
        """The number of cells that a row may fill; None if there are no headings to tell it."""
        return len(self.titles) if self.heading else None

    @property
    def amount(self) -> str:
        """The part that a row's money is read from."""
        return "net" if "net" in self.at else "gross"

    def called(self, part: str) -> str:
        """The heading that the file has over a part, for a person to find it."""
        if self.heading and part in self.at:
            return text_of(self.titles[self.at[part]])
        return self.layout.heading(part)

    def data(self, apart: Apart) -> Iterator[Row]:
        """The rows that are data. Blank rows, repeated headings and the preamble are counted in `apart`."""
        titles = {at: plain(text_of(self.titles[at])) for at in self.at.values()} if self.heading else {}
        begun = False
        for number, cells in numbered(self.table):
            if number == self.heading:
                apart.headings += 1
            elif not any(cell and text_of(cell) for cell in cells):
                apart.blank += 1
            elif titles and all(_title(cells, at) == title for at, title in titles.items()):
                apart.headings += 1
            elif number < self.heading and not begun and not self._like_data(cells):
                apart.preamble += 1  # the report's name, its period, the name of the person who printed it
            else:
                begun = True
                yield number, cells

    def _like_data(self, cells: Sequence[Cell]) -> bool:
        """
        Tell whether a row above the headings is a payment: people sort files by hand, and the headings move with the rows.

        In doubt it counts as one: then a missing value quarantines it, while a preamble would only be counted.
        """
        filled = {part for part, at in self.at.items() if at < len(cells) and text_of(cells[at])}
        paid = "supplier_name" in filled and bool(filled & {"net", "gross"})
        return paid or len(filled) >= MOST * len(self.at)


def fit(where: str, tables: Iterable[Table], layouts: Mapping[str, PayablesLayout]) -> list[Fit]:
    """
    The one table and layout that fit, or the sheets of a workbook that are read together.

    :raises BadRecordError: none or more than one; says what was looked for.
    """
    tried = list(tables)
    found = [f for table in tried for f in _headed(where, table, layouts)]
    if not found:
        found = [f for table in tried for f in _headless(table, layouts)]
    if len(found) == 1:
        return found
    if not found:
        raise BadRecordError(
            where, field="headings", rule="fit no layout. Looked for " + _looked_for(tried, layouts),
            shape=_size(tried), fix="declare a layout for this file, see adapters/payables/README.md",
        )  # fmt: skip
    if sheets := _together(found):
        return sheets
    raise BadRecordError(
        where, field="headings", rule="fit more than one reading: " + ", ".join(_told_apart(f) for f in found),
        shape=_size(tried),
        fix="name fewer layouts in the settings; of several sheets the layout's `sheets` says which are read",
    )  # fmt: skip


def _together(found: Sequence[Fit]) -> list[Fit]:
    """The sheets that one layout reads together; none if that is in doubt, or if these are no sheets."""
    first = found[0]
    if any(f.name != first.name or f.table.delimiter for f in found):
        return []
    return [found[at] for at in together([f.table.name for f in found], first.layout)]


def _told_apart(found: Fit) -> str:
    return f"layout {found.name} ({found.table.how}, headings in row {place(found.heading)})"


def _size(tables: Sequence[Table]) -> str:
    return ", ".join(f"{t.count} rows as {t.how}" for t in tables) or "nothing"


# -- with headings -------------------------------------------------------------------------------------------------


def _headed(where: str, table: Table, layouts: Mapping[str, PayablesLayout]) -> list[Fit]:
    wanted = {name: _wanted(layout) for name, layout in layouts.items()}
    for number, cells in numbered(table):
        names = {plain(text_of(cell)) for cell in cells if isinstance(cell, str)}
        fitting = [name for name, needs in wanted.items() if all(names & need for need in needs)]
        if fitting:
            return [_placed(where, name, layouts[name], table, number, cells) for name in fitting]
    return []


def _wanted(layout: PayablesLayout) -> list[set[str]]:
    return [{plain(h) for h in column.heading} for _, column in layout.parts() if not column.optional]


def _placed(where: str, name: str, layout: PayablesLayout, table: Table, number: int, cells: Sequence[Cell]) -> Fit:
    titles = [plain(text_of(cell)) for cell in cells]
    at: dict[str, int] = {}
    for part, column in layout.parts():
        places = [i for i, title in enumerate(titles) if title and title in {plain(h) for h in column.heading}]
        if len(places) > 1:
            raise BadRecordError(
                where, field=column.heading[0], rule="heads more than one column", shape=f"{len(places)} columns",
                fix="have the extract name its columns differently",
            )  # fmt: skip
        if places:
            at[part] = places[0]
    return Fit(name, layout, table, at, number, cells)


def _title(cells: Sequence[Cell], at: int) -> str:
    return plain(text_of(cells[at])) if at < len(cells) else ""


# -- without headings ----------------------------------------------------------------------------------------------


def _headless(table: Table, layouts: Mapping[str, PayablesLayout]) -> list[Fit]:
    wanted = {
        name: [(part, column) for part, column in layout.parts() if column.position is not None]
        for name, layout in layouts.items()
        if layout.headless
    }
    filled, fitting = 0, dict.fromkeys(wanted, 0)
    for cells in table.rows if wanted else ():
        if any(text_of(cell) for cell in cells):
            filled += 1
            for name, columns in wanted.items():
                fitting[name] += _looks_like(cells, columns)
    return [
        Fit(name, layouts[name], table, {part: c.position - 1 for part, c in columns if c.position is not None})
        for name, columns in wanted.items()
        if filled and fitting[name] >= ENOUGH * filled
    ]


def _looks_like(cells: Sequence[Cell], columns: Sequence[tuple[str, Column]]) -> bool:
    def fits(column: Column) -> bool:
        at = (column.position or 1) - 1
        text = text_of(cells[at]) if at < len(cells) else ""
        if not text:
            return column.optional or column.pattern is None
        return column.pattern is None or bool(re.fullmatch(column.pattern, text))

    return all(fits(column) for _, column in columns)


# -- what to say ---------------------------------------------------------------------------------------------------


def _looked_for(tables: Sequence[Table], layouts: Mapping[str, PayablesLayout]) -> str:
    """For each layout the headings that its best row lacks: the nearest miss says what changed."""
    known = {plain(h) for layout in layouts.values() for _, c in layout.parts() for h in c.heading}
    rows = (cells for table in tables for cells in table.rows)
    found = (frozenset(plain(text_of(c)) for c in cells if isinstance(c, str)) & known for cells in rows)
    seen = dict.fromkeys(names for names in found if names)

    def missing(layout: PayablesLayout) -> list[str]:
        needs = [(c.heading[0], {plain(h) for h in c.heading}) for _, c in layout.parts() if not c.optional]
        lacking = ([title for title, need in needs if not names & need] for names in seen)
        return min(lacking, key=len, default=[title for title, _ in needs])

    nearest = sorted(((missing(layout), name) for name, layout in layouts.items()), key=lambda m: (len(m[0]), m[1]))
    return "; ".join(f"{name} (lacks {', '.join(lacks)})" for lacks, name in nearest)
