"""
Opens a workbook in a process of its own, which may take only so much memory and time. A script: nothing imports it.

    python -I unpacking.py BYTES SECONDS < book.xlsx > sheets.json

A workbook of one kilobyte can say that it has 17,000,000,000 cells; the library that reads it then aborts the process.
Here that costs one file, not the bridge. Nothing but the standard library and that library is imported: it starts fast.
"""

import contextlib
import io
import json
import resource
import sys
from datetime import date, datetime, time, timedelta

from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum


def main() -> int:
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")  # should memory run out all the same, it is this process that goes
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
        shown = [s.name for s in book.sheets_metadata if s.visible == SheetVisibleEnum.Visible]
        sheets = [book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in shown]
        json.dump(sheets, sys.stdout, default=_written, separators=(",", ":"))
    except CalamineError as error:
        sys.stdout.write(type(error).__name__)
        return 1
    return 0


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
