"""Files in the drop folder that mean harm: each is refused by itself, with a reason, and costs nothing but itself."""

import io
import logging
import os
import zipfile
from pathlib import Path

import pytest

from adapters.payables import PayablesAdapter, world
from adapters.payables.layout import built_in
from adapters.payables.reading import Rules, read
from adapters.payables.tables import MOST_ROWS
from adapters.payables.tests.test_payables import ONE, adapter, leave, look
from adapters.testing import whole
from canonical.errors import BadRecordError

RULES = Rules("acme", {name: built_in()[name] for name in world.LAYOUTS})
_NS = "http://schemas.openxmlformats.org"
_HEAD = '<?xml version="1.0"?>'


def workbook(rows: str, shared: str = "", **claimed: int) -> bytes:
    """A workbook of one sheet, as small as they come; `claimed` overwrites what the archive says of the sheet's size."""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_NS}/package/2006/content-types"/>',
        "_rels/.rels": _relation("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{_NS}/spreadsheetml/2006/main" xmlns:r="{_NS}/officeDocument/2006/relationships">'
        '<sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relation("worksheet", "worksheets/sheet1.xml"),
        "xl/sharedStrings.xml": f'<sst xmlns="{_NS}/spreadsheetml/2006/main"><si><t>{shared}</t></si></sst>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_NS}/spreadsheetml/2006/main"><sheetData>{rows}</sheetData></worksheet>',
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in parts.items():
            packed.writestr(name, _HEAD + text)
        for info in packed.infolist():
            info.file_size = claimed.get("size", info.file_size)  # the directory is written when it is closed
    return made.getvalue()


def _relation(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{_NS}/package/2006/relationships"><Relationship Id="rId1" '
        f'Type="{_NS}/officeDocument/2006/relationships/{kind}" Target="{target}"/></Relationships>'
    )


def cell(place: str, row: int, value: str = "1", kind: str = "n") -> str:
    return f'<row r="{row}"><c r="{place}{row}" t="{kind}"><v>{value}</v></c></row>'


BOMBS = {
    "two cells at the far corners of a sheet": lambda: workbook(cell("A", 1) + cell("XFD", 1_048_576)),
    "two cells that span a hundred million": lambda: workbook(cell("A", 1) + cell("ALL", 100_000)),
    "a long text, shown a thousand times": lambda: workbook(
        "".join(cell("A", row, "0", "s") for row in range(1, 1001)), "x" * 5_000_000
    ),
    "much that says it is little": lambda: workbook(f'<row r="1">{" " * 50_000_000}</row>', size=100),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_workbook_that_would_fill_the_memory_is_refused_and_the_process_lives(kind: str) -> None:
    bomb = BOMBS[kind]()
    assert len(bomb) < 100_000
    with pytest.raises(BadRecordError, match=r"cannot be unpacked in|cannot be opened as a workbook") as raised:
        read("april", bomb, Rules("acme", RULES.layouts, largest=10_000_000))
    assert raised.value.fix == "save it again as xlsx or as UTF-8 CSV, with its data only"


def test_a_workbook_that_says_it_unpacks_to_too_much_is_not_unpacked() -> None:
    with pytest.raises(BadRecordError, match="unpacks to more than 30000 bytes"):
        read("april", workbook(cell("A", 1), "x" * 40_000), Rules("acme", RULES.layouts, largest=1000))


def test_entities_that_a_workbook_declares_are_not_expanded() -> None:
    lol = '<!DOCTYPE w [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]><w>&b;</w>'
    with pytest.raises(BadRecordError, match=r"cannot be opened|fit no layout"):
        read("april", workbook(f'<row r="1"><c r="A1" t="str"><v>{lol}</v></c></row>'), RULES)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\n," * (MOST_ROWS + 1), "has more than 1048576 rows"),
        (b"Payee," + b"," * 20_000_001, "or 20000000 cells"),
        (b'"' + b"x" * 200_000 + b'",1\n', "field larger than field limit"),
    ],
    ids=["rows", "cells", "one cell"],
)
def test_text_of_more_rows_or_cells_than_a_spreadsheet_has_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadRecordError, match=why):
        read("april", data, RULES)


async def refusal(payables: PayablesAdapter) -> str:
    (extract,) = await look(payables)
    with pytest.raises(BadRecordError) as raised:
        await whole(extract)
    return str(raised.value)


async def test_a_link_out_of_the_drop_folder_is_refused_and_never_read(tmp_path: Path) -> None:
    secret = leave(tmp_path / "elsewhere" / "private.csv", ONE)
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "april.csv").symlink_to(secret)
    assert "is a link to a place outside the watched folder" in await refusal(adapter(drop))


async def test_a_link_within_the_drop_folder_is_read(tmp_path: Path) -> None:
    leave(tmp_path / "inbox" / "april.csv")
    (tmp_path / "may.csv").symlink_to(tmp_path / "inbox" / "april.csv")
    (extract,) = await look(adapter(tmp_path))
    assert len(await whole(extract)) > 1


async def test_a_name_that_is_no_text_can_be_logged_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = os.fsdecode(b"april\n2026-01-01 INFO all is well\xff.csv")
    leave(tmp_path / name)
    with caplog.at_level(logging.INFO):
        (extract,) = await look(adapter(tmp_path))
        await whole(extract)
    assert extract.name.isprintable()
    assert extract.name.encode().startswith(b"april?2026-01-01 INFO all is well?-")
    assert all(line.isprintable() for record in caplog.records for line in [record.getMessage()])


async def test_names_that_differ_in_what_cannot_be_printed_stay_apart(tmp_path: Path) -> None:
    for name in (b"april\x01.csv", b"april\x02.csv"):
        leave(tmp_path / os.fsdecode(name))
    assert len({extract.name for extract in await look(adapter(tmp_path))}) == 2


async def test_a_file_that_has_grown_since_it_was_looked_at_is_not_read_beyond_the_limit(tmp_path: Path) -> None:
    file = leave(tmp_path / "april.csv")
    payables = adapter(tmp_path, max_megabytes=1)
    (extract,) = await look(payables)
    file.write_bytes(ONE.encode() + b" " * 1_100_000)
    with pytest.raises(BadRecordError, match="is larger than 1 MB"):
        await whole(extract)
