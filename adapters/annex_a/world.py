"""
An invented Annex A workbook of eleven lists. Nobody in it exists.

`python -m adapters.annex_a.world FOLDER --size 100` makes one; `--change 1` does a day's work and makes it again.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any
from xml.sax.saxutils import escape

from python_calamine import CalamineWorkbook

from adapters.annex_a.adapter import DECLARED, AnnexASettings
from adapters.annex_a.person import ADOPTER, CHILD, ListedChild
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets, put_whole
from adapters.kit.layout_sheet import SheetLayout
from adapters.kit.rows import fields_of

BOOK, LIST = "Annex_A.xlsx", "list"
"""A row of the workbook says in this column on which sheet it stands."""

_TYPES = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">{}</Types>'
_PART = '<Override PartName="/xl/{}" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.{}+xml"/>'
_LINKS = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
_LINK = '<Relationship Id="r{}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}" Target="{}"/>'
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_WORKBOOK = (
    f'<workbook {_MAIN} xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{{}}</sheets></workbook>'
)


def write_book(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the smallest workbook of these rows that is one: every list is a sheet, all cells are texts."""
    names = list(COLUMNS)
    numbers = range(1, len(names) + 1)
    parts = {
        "[Content_Types].xml": _TYPES.format(
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            + _PART.format("workbook.xml", "sheet.main")
            + "".join(_PART.format(f"worksheets/sheet{n}.xml", "worksheet") for n in numbers)
        ),
        "_rels/.rels": _LINKS.format(_LINK.format(1, "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": _WORKBOOK.format(
            "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(names, 1))
        ),
        "xl/_rels/workbook.xml.rels": _LINKS.format(
            "".join(_LINK.format(n, "worksheet", f"worksheets/sheet{n}.xml") for n in numbers)
        ),
    }
    for n, name in enumerate(names, 1):
        its = [[row[column] for column in COLUMNS[name]] for row in rows if row[LIST] == name]
        parts[f"xl/worksheets/sheet{n}.xml"] = _sheet([COLUMNS[name], *its])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as book:
        for part, text in parts.items():
            book.writestr(part, text)
    put_whole(path, packed.getvalue())


def _sheet(lines: Sequence[Sequence[str]]) -> str:
    cells = ("".join(f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in line) for line in lines)
    return f"<worksheet {_MAIN}><sheetData>{''.join(f'<row>{line}</row>' for line in cells)}</sheetData></worksheet>"


def read_book(path: Path) -> list[dict[str, str]]:
    """Read a workbook that `write_book` wrote."""
    book = CalamineWorkbook.from_path(str(path))
    found = []
    for name in book.sheet_names:
        header, *lines = book.get_sheet_by_name(name).to_python()
        found += [{LIST: name, **{str(key): str(cell) for key, cell in zip(header, line, strict=True)}} for line in lines]
    return found


def _columns() -> dict[str, tuple[str, ...]]:
    """The columns that are read of each list, the child's own first."""
    found: dict[str, dict[str, None]] = {f"List {number}": {} for number in range(1, 12)}
    for name in list(found)[:10]:
        found[name] |= dict.fromkeys(its.column for its in fields_of(ListedChild))
    for each in DECLARED:
        if isinstance(each.layout, SheetLayout):
            found[each.layout.sheets[0]] |= dict.fromkeys(its.column for its in fields_of(each.row))
    return {name: tuple(columns) for name, columns in found.items()}


COLUMNS = _columns()
_WORDS = {
    "Gender": ("a) Male", "b) Female"), "Ethnicity": ("a) WBRI", "k) APKN", "s) NOBT"), "Contact Source": ("q) 6: Police",),
    "Referral Source": ("j) 3D: Health services", "s) 8: Other"), "Primary Need Code": ("N1 - Abuse or Neglect",),
    "Organisation completing assessment": ("Early Help Service",), "Child's Category of Need": ("N4 - Family in acute stress",),
    "Initial Category of Abuse": ("Physical abuse", "Neglect"), "Latest Category of Abuse": ("Emotional abuse",),
    "Child's Legal Status": ("C2: FCO", "V2: Section 20"), "Placement Type": ("f) U6: Foster placement - not FFA",),
    "Placement Provider": ("b) PR1 - Own provision",), "Placement postcode": ("TF1 1AA",), "URN of Placement": ("SC400001",),
    "Eligibility Category": ("b) Former relevant child",), "LA in Touch": ("a) Yes",), "No. of children placed": ("1", "2"),
    "Type of Accommodation": ("U: Independent living",), "Suitability of Accommodation": ("a) Suitable",),
    "Activity Status": ("F1: Full time in higher education",),
}  # fmt: skip
_OPEN = ("Closure", "Ceased", "End Date", "No Longer", "leaving", "Reason")


def line(name: str, number: int, rng: Random, today: date) -> dict[str, str]:
    """A line of a list: a child has one age and one name of each kind, whichever list it stands on."""
    its = Random(number)  # noqa: S311 (a story, not a secret)
    same = {"Gender": its.choice(_WORDS["Gender"]), "Ethnicity": its.choice(_WORDS["Ethnicity"]),
            "Date of Birth": (today - timedelta(days=its.randrange(400, 6000))).isoformat(),
            CHILD: f"{100_000 + number}", ADOPTER: f"{500_000 + number}", "Family identifier": f"{700_000 + number}"}  # fmt: skip
    day = today - timedelta(days=rng.randrange(10, 180))
    return {LIST: name, **{column: same.get(column) or _cell(column, rng, day) for column in COLUMNS[name]}}


def _cell(column: str, rng: Random, day: date) -> str:
    if any(word in column for word in _OPEN):
        return ""
    if column in _WORDS:
        return rng.choice(_WORDS[column])
    return day.isoformat() if "date" in column.lower() else rng.choice(("Yes", "b) No"))


def lines(size: int, seed: int, today: date) -> list[dict[str, str]]:
    """Make up a workbook with this number of lines on each list."""
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    return [line(name, number, rng, today) for name in COLUMNS for number in range(1, size + 1)]


def _story(size: int, seed: int, today: date) -> tuple[Sheets, int]:
    rows = lines(size, seed, today)
    of_list_8 = [row for row in rows if row[LIST] == "List 8"]
    if size < 3:
        return {BOOK: rows}, 0
    of_list_8[0]["Placement postcode"] = "not known"
    of_list_8[1]["Date Started to be Looked After"] = "b) No"
    return {BOOK: rows}, 2


def _closed(work: FilesWork) -> str | None:
    found = work.pick(BOOK, lambda row: row[LIST] == "List 6" and not row["CIN Closure Date"])
    if found is None:
        return None
    found |= {"CIN Closure Date": work.today.isoformat(), "Reason for Closure": "RC8 - Case closed"}
    return f"The case of child {found[CHILD]} was closed on {work.today}."


def _no_contact(work: FilesWork) -> str | None:
    found = work.pick(BOOK, lambda row: row[LIST] == "List 1")
    if found is None:
        return None
    work.sheets[BOOK].remove(found)
    return f"The contact about child {found[CHILD]} was entered by mistake."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "annex_a")], "settle": 0, "every": 1}


ANNEX_A: FilesWorld[AnnexASettings] = FilesWorld(
    "annex_a", "lines a list", 40, _story, (_closed, _no_contact), _section, read=read_book, write=write_book
)

if __name__ == "__main__":
    ANNEX_A.main()
