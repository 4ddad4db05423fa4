"""Small workbooks of each kind, written cell by cell: texts and numbers without a format."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

Rows = Sequence[Sequence[str | float]]
Sheets = Mapping[str, Rows]
_NS = "http://schemas.openxmlformats.org"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def xlsx(sheets: Sheets, *, since_1904: bool = False) -> bytes:
    """Excel's own kind."""
    names = list(sheets)
    listed = "".join(f'<sheet name={quoteattr(n)} sheetId="{at}" r:id="r{at}"/>' for at, n in enumerate(names, 1))
    kind = f"{_NS}/officeDocument/2006/relationships"
    related = "".join(
        f'<Relationship Id="r{at}" Type="{kind}/worksheet" Target="worksheets/sheet{at}.xml"/>' for at in range(1, len(names) + 1)
    )
    main, packages = f"{_NS}/spreadsheetml/2006/main", f"{_NS}/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{packages}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r1" '
        f'Type="{kind}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{kind}">'
        f'{"<workbookPr date1904=" + quoteattr("1") + "/>" if since_1904 else ""}<sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{packages}/relationships">{related}</Relationships>',
    }
    for at, rows in enumerate(sheets.values(), 1):
        lines = "".join(f'<row r="{n}">{"".join(map(_xlsx_cell, row))}</row>' for n, row in enumerate(rows, 1))
        parts[f"xl/worksheets/sheet{at}.xml"] = f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>'
    return _packed(parts)


def _xlsx_cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f"<c><v>{value!r}</v></c>"


def ods(sheets: Sheets, *, since_1904: bool = False) -> bytes:
    """The kind of LibreOffice."""
    epoch = '<table:calculation-settings><table:null-date table:date-value="1904-01-01"/></table:calculation-settings>'
    tables = "".join(
        f"<table:table table:name={quoteattr(name)}>"
        + "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    content = (
        f'<office:document-content xmlns:office="{_ODF}:office:1.0" xmlns:table="{_ODF}:table:1.0" xmlns:text="{_ODF}:text:1.0">'
        f"<office:body><office:spreadsheet>{epoch if since_1904 else ''}{tables}</office:spreadsheet></office:body>"
        "</office:document-content>"
    )
    manifest = f'<manifest:manifest xmlns:manifest="{_ODF}:manifest:1.0"/>'
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return _packed({"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": content})


def _ods_cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<table:table-cell office:value-type="string"><text:p>{escape(value)}</text:p></table:table-cell>'
    return f'<table:table-cell office:value-type="float" office:value="{value!r}"/>'


def _packed(parts: Mapping[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in parts.items():
            packed.writestr(name, text)
    return made.getvalue()


def xls(sheets: Sheets, *, since_1904: bool = False) -> bytes:
    """The older Excel's kind: records (BIFF8) as one stream of a file of sectors."""
    written = [_xls_rows(rows) for rows in sheets.values()]
    settings = _record(0x8D, b"\0\0") + _record(0x22, struct.pack("<H", since_1904)) + _record(0x0E, b"\1\0")

    def globals_of(starts: Sequence[int]) -> bytes:
        listed = [_sheet(start, name) for start, name in zip(starts, sheets, strict=True)]
        return b"".join([_begin(0x05), settings, *listed, _record(0x0A)])

    before = len(globals_of([0] * len(written)))
    starts = [before + sum(map(len, written[:at])) for at in range(len(written))]
    return _in_sectors(b"".join([globals_of(starts), *written]))


def _record(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _begin(kind: int) -> bytes:
    return _record(0x0809, struct.pack("<HHHHII", 0x0600, kind, 0x0DBB, 1996, 0, 6))


def _sheet(start: int, name: str) -> bytes:
    return _record(0x85, struct.pack("<IBBBB", start, 0, 0, len(name), 1) + name.encode("utf-16-le"))


def _xls_rows(rows: Rows) -> bytes:
    return b"".join([_begin(0x10), *(_xls_row(n, row) for n, row in enumerate(rows)), _record(0x0A)])


def _xls_row(number: int, row: Sequence[str | float]) -> bytes:
    return b"".join(_xls_cell(number, column, value) for column, value in enumerate(row))


def _xls_cell(row: int, column: int, value: str | float) -> bytes:
    place = struct.pack("<HHH", row, column, 0)
    if isinstance(value, str):
        return _record(0x0204, place + struct.pack("<HB", len(value), 1) + value.encode("utf-16-le"))
    return _record(0x0203, place + struct.pack("<d", value))


def _in_sectors(stream: bytes) -> bytes:
    """A compound file: a table of sectors, a directory of a root and the stream `Workbook`, and the stream."""
    stream = stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0")
    count = len(stream) // 512
    table = [_FAT, _END, *range(3, count + 2), _END]
    assert len(table) <= 128, "one sector of the table is all that a test needs"
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, _END, 0, _END, 0, 0) + b"\xff" * 4 * 108
    directory = _entry("Root Entry", 5, 1, _END, 0) + _entry("Workbook", 2, _FREE, 2, len(stream))
    return head + struct.pack("<128I", *table, *[_FREE] * (128 - len(table))) + directory.ljust(512, b"\0") + stream


def _entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    coded = name.encode("utf-16-le")
    named = coded.ljust(64, b"\0") + struct.pack("<HBB", len(coded) + 2, kind, 1)
    return named + struct.pack("<III", _FREE, _FREE, child) + bytes(36) + struct.pack("<IQ", start, size)


BOOKS: dict[str, Callable[..., bytes]] = {"xlsx": xlsx, "ods": ods, "xls": xls}
