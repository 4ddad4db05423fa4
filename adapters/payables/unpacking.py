"""
Opens a workbook in a process of its own, which may take only so much memory and time. A script: nothing imports it.

    python -I unpacking.py BYTES SECONDS < book.xlsx > rows

It writes a line of JSON for each row of each visible sheet. The last line says where each sheet's rows begin, in bytes,
and how many there are: `[[0, 2], [31, 5]]`. If the workbook cannot be opened, the last line holds the error's name.

A workbook of one kilobyte can claim 17,000,000,000 cells; the library that reads it then aborts the process. Here that
costs one file, not the bridge. The script imports only the standard library and that library, so that it starts fast.
"""

import contextlib
import io
import json
import resource
import sys
from datetime import date, datetime, time, timedelta
from typing import IO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetVisibleEnum

_MOST = 4  # bytes that may be written for each byte of memory


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
        book = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
        shown = [s.name for s in book.sheets_metadata if s.visible == SheetVisibleEnum.Visible]
        out.write(_line([_sheet(book.get_sheet_by_name(name), out) for name in shown]))
    except CalamineError as error:
        out.write(_line(type(error).__name__))
        return 1
    return 0


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
