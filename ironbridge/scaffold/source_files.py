"""CSV files as they lie there: the first draft of an adapter's row classes."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from adapters.kit.text import Text, encodings
from adapters.kit.typed import typed
from canonical.errors import BadRecordError, MisconfiguredError
from ironbridge.scaffold.source import EXAMPLE, FoundColumn, FoundTable

_LOOKED_AT = 100_000  # rows, of which the types are told

EXAMPLE_FILE = replace(
    EXAMPLE, name="people", file="people_2026-01", key_guessed=True,
    columns=tuple(replace(each, form="%d/%m/%Y" if each.kind is date else "") for each in EXAMPLE.columns),
)  # fmt: skip
"""The file of a package that is made without a look at one."""

EXAMPLE_LIST = replace(
    EXAMPLE, name="people", key=("person_no",), key_guessed=True,
    columns=tuple(replace(each, name=each.name.lower()) for each in EXAMPLE.columns),
)  # fmt: skip
"""The list of a package that reads a service."""


class _Amount(NamedTuple):
    value: Decimal


def look_at(paths: Sequence[Path]) -> list[FoundTable]:
    """
    Look at the first rows of CSV files: columns, types, and the first column whose values all differ, which is taken for the key.

    :raises MisconfiguredError: there is no such file, or it cannot be read as CSV.
    """
    return [_looked_at(path) for path in paths]


def _looked_at(path: Path) -> FoundTable:
    try:
        with path.open("rb") as file:
            header, *rows = _lines(path, file)
    except (OSError, csv.Error, BadRecordError, ValueError) as error:
        what = f"{path} cannot be read as CSV ({type(error).__name__})"
        raise MisconfiguredError("new adapter", what, fix="name a CSV file whose first line names the columns") from None
    names = [name.strip() for name in header]
    values = [[row[at].strip() for row in rows if at < len(row)] for at in range(len(names))]
    columns = [_column(name, cells) for name, cells in zip(names, values, strict=True) if name]
    whole = (name for name, cells in zip(names, values, strict=True) if name and all(cells) and len({*cells}) == len(rows))
    key = next(whole, columns[0].name)
    first = [replace(e, optional=False, kind=str if e.kind is Decimal else e.kind) for e in columns if e.name == key]
    name = re.sub(r"[\d_ -]*\d", "", path.stem) or path.stem  # digits tell one extract from another
    others = (each for each in columns if each.name != key)
    return FoundTable(name, (key,), (*first, *others), len(rows), key_guessed=True, file=path.stem)


def _lines(path: Path, file: BinaryIO) -> list[list[str]]:
    encoding = encodings(path.name, file)[0]
    lines = (cells for cells in csv.reader(Text(file, encoding).lines()) if any(map(str.strip, cells)))
    return list(islice(lines, _LOOKED_AT + 1))




def _column(name: str, cells: Sequence[str]) -> FoundColumn:
    there = [cell for cell in cells if cell]
    for form in _FORMS:
        if there and all(_is_day(cell, form) for cell in there):
            return FoundColumn(name, date, optional=True, form=form if form != _ISO else "")
    kind = next((kind for kind, fits in _KINDS.items() if there and all(map(fits, there))), str)
    pence = all(len(cell.partition(".")[2]) <= 2 for cell in there) if kind is Decimal else True
    return FoundColumn(name, kind, optional=True, pence=pence)


def _is_day(cell: str, form: str) -> bool:
    try:
        datetime.strptime(cell, form)  # noqa: DTZ007 (a day)
    except ValueError:
        return False
    return True


def _is_amount(cell: str) -> bool:
    if re.match(r"-?0\d", cell):
        return False  # a number with zeros before it is a name
    try:
        typed(_Amount)((cell,))
    except BadRecordError:
        return False
    return True


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and str(int(cell)) == cell and len(cell) < 18


_ISO = "%Y-%m-%d"
_FORMS = (_ISO, "%d/%m/%Y", "%d/%m/%y", "%d-%b-%Y", "%d-%b-%y", "%d.%m.%Y", "%d %B %Y")
_KINDS: dict[type, Callable[[str], bool]] = {int: _is_whole, Decimal: _is_amount}
"""The types that a column may have besides days, and whether a text is one of theirs; else it is text."""
