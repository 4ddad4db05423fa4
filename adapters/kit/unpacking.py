"""
Opens a workbook in a process of its own, which may take only so much memory and time. A script: nothing imports it.

    python -I unpacking.py BYTES SECONDS < book.xlsx > rows

It writes a line of JSON for each row of each visible sheet. The last line says where each sheet's rows begin, in bytes, how
many there are, and its name; and the day that serial numbers count from: `{"epoch": "1904-01-01", "sheets": [[0, 2, "May"]]}`.
If the workbook cannot be opened, the last line holds the error's name.

A workbook of one kilobyte can claim 17,000,000,000 cells; the library that reads it then aborts the process. Here that
costs one file, not the bridge. The script imports only the standard library and that library, so that it starts fast.
"""

import contextlib
import io
import json
import re
import resource
import sys
import zipfile
from datetime import date, datetime, time, timedelta
from typing import IO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetVisibleEnum

_MOST = 4  # bytes that may be written for each byte of memory
_USUAL, _FIRST_OF_1904 = "1899-12-30", "1904-01-01"
_ATTRIBUTE = re.compile(rb"<(?:\w+:)?workbookPr\b[^>]*\bdate1904\s*=\s*[\"'](?:1|true|on)[\"']")
_NULL_DATE = re.compile(rb"<table:null-date\b[^>]*\btable:date-value\s*=\s*[\"']([0-9]{4}-[0-9]{2}-[0-9]{2})[\"']")
_RECORD = re.compile(rb"\x8d\0\x02\0..\x22\0\x02\0\x01\0|\x22\0\x02\0\x01\0\x0e\0\x02\0", re.S)


def main() -> int:
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")  # should memory run out all the same, it is this process that goes
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST * memory, _MOST * memory))
    out = sys.stdout.buffer
    try:
        data = sys.stdin.buffer.read()
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        shown = [s.name for s in book.sheets_metadata if s.visible == SheetVisibleEnum.Visible]
        sheets = [(*_sheet(book.get_sheet_by_name(name), out), name) for name in shown]
        out.write(_line({"epoch": epoch(data), "sheets": sheets}))
    except CalamineError as error:
        out.write(_line(type(error).__name__))
        return 1
    return 0


def epoch(data: bytes) -> str:
    """
    The day that a workbook counts its serial numbers from, which the library uses for cells with a date's format alone: the
    setting of xlsx, of ods, or of the older Excel's records (DATE1904, between HIDEOBJ and CALCPRECISION).
    """
    if not data.startswith(b"PK"):
        return _FIRST_OF_1904 if _RECORD.search(data) else _USUAL
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        parts = set(packed.namelist())
        if "xl/workbook.xml" in parts and _ATTRIBUTE.search(packed.read("xl/workbook.xml")):
            return _FIRST_OF_1904
        said = _NULL_DATE.search(packed.read("content.xml")) if "content.xml" in parts else None
    return said[1].decode() if said else _USUAL


def _sheet(sheet: CalamineSheet, out: IO[bytes]) -> tuple[int, int]:
    """Write a sheet's rows from its first one on, empty ones too. Returns where they begin, and how many there are."""
    start, count = out.tell(), 0
    for row in sheet.iter_rows():
        out.write(_line(row))
        count += 1
    return start, count


def _line(content: object) -> bytes:
    return json.dumps(content, default=_written, separators=(",", ":")).encode() + b"\n"


def _written(cell: object) -> dict[str, str | float]:
    match cell:
        case datetime():
            return {"datetime": cell.isoformat()}
        case date():
            return {"date": cell.isoformat()}
        case time():
            return {"time": cell.isoformat()}
        case timedelta():
            return {"seconds": cell.total_seconds()}
    raise TypeError(type(cell).__name__)


if __name__ == "__main__":
    sys.exit(main())
