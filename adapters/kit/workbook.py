"""A workbook's visible sheets as rows of cells, read by another process (unpacking.py) for safety's sake."""

from __future__ import annotations

import io
import json
import mmap
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from hashlib import blake2b
from pathlib import Path
from time import time as time_now
from typing import IO, TYPE_CHECKING, Any

from adapters.kit.aside import environment
from canonical.errors import BadRecordError

Cell = str | int | float | bool | date | datetime | time | timedelta | None
"""As the csv module and calamine give it."""

if TYPE_CHECKING:  # it runs as a script of its own; the import says that its code is a part of the mapping's edition
    from adapters.kit import unpacking  # noqa: F401

UNPACKED = 30  # a workbook is XML in a ZIP file; one that unpacks to more than this many times the limit is a bomb
_MEMORY = 20  # bytes that may be taken for each byte of the limit, and
_AT_LEAST = 512_000_000  # these, of which a Python takes a part before it has read anything
_SECONDS = 120  # of processor time
_PATIENCE = 600  # seconds by the clock, on a machine that has much else to do
_SCRIPT = Path(__file__).with_name("unpacking.py")


@dataclass(frozen=True, slots=True)
class Sheet:
    """
    The rows of a sheet: `count` lines of JSON in a temporary file without a name, the first one at the byte `start`. Its
    serial numbers count from the day `epoch`.
    """

    file: mmap.mmap
    start: int
    count: int
    name: str
    epoch: date

    def __iter__(self) -> Iterator[Sequence[Cell]]:
        at = self.start
        for _ in range(self.count):
            end = self.file.find(b"\n", at)
            yield json.loads(self.file[at:end], object_hook=_read)
            at = end + 1


def sheets(where: str, data: bytes, largest: int, shelf: Path | None = None) -> list[Sheet]:
    """
    The rows of each visible sheet, in their order. `largest` is what a file may have in bytes; all limits follow it. With a
    `shelf`, a workbook that was opened before is taken from there, and one that is opened now is laid there.

    :raises BadRecordError: it is damaged or locked, or would take more memory or time than its size can justify.
    """
    memory = _AT_LEAST + _MEMORY * largest
    if shelf is None:
        with tempfile.TemporaryFile() as rows:
            _open(where, data, largest, memory, rows)
            return _found(where, rows, memory)
    laid = shelf / blake2b(data, digest_size=16).hexdigest()
    with suppress(FileNotFoundError), laid.open("rb") as rows:
        laid.touch()
        return _found(where, rows, memory)
    with tempfile.NamedTemporaryFile(dir=shelf) as rows:
        _open(where, data, largest, memory, rows)
        found = _found(where, rows, memory)
        with suppress(FileExistsError):  # another stream has opened it meanwhile
            os.link(rows.name, laid)
        return found


def clear(shelf: Path, unused: float) -> None:
    """Take away what nobody has taken from the shelf for so many seconds."""
    for laid in shelf.iterdir():
        with suppress(FileNotFoundError):
            if time_now() - laid.stat().st_mtime > unused:
                laid.unlink()


def _open(where: str, data: bytes, largest: int, memory: int, rows: IO[bytes]) -> None:
    """Let the script write the rows of a workbook."""
    if data.startswith(b"PK"):
        _no_bomb(where, data, largest * UNPACKED)
    try:
        done = subprocess.run(  # noqa: S603 (our own script, with numbers as arguments)
            [sys.executable, "-I", str(_SCRIPT), str(memory), str(_SECONDS)],
            input=data, stdout=rows, stderr=subprocess.DEVNULL, timeout=_PATIENCE, env=environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _too_much(where, memory) from None
    if done.returncode not in (0, 1):
        raise _too_much(where, memory)


def _found(where: str, rows: IO[bytes], memory: int) -> list[Sheet]:
    """Read the script's last line: what is known of each sheet, or the reason why there are none."""
    size = rows.seek(0, os.SEEK_END)
    if not size:  # Python itself failed, mostly for want of memory
        raise _too_much(where, memory)
    file = mmap.mmap(rows.fileno(), size, access=mmap.ACCESS_READ)
    said = json.loads(file[file.rfind(b"\n", 0, size - 1) + 1 :])
    if isinstance(said, str):
        raise refused(where, f"cannot be opened as a workbook ({said}): damaged, or locked")
    epoch = date.fromisoformat(said["epoch"])
    return [Sheet(file, start, count, name, epoch) for start, count, name in said["sheets"]]


def _read(tagged: dict[str, Any]) -> Cell:
    ((kind, value),) = tagged.items()
    match kind:
        case "datetime":
            return datetime.fromisoformat(value)
        case "date":
            return date.fromisoformat(value)
        case "time":
            return time.fromisoformat(value)
    return timedelta(seconds=value)


def _no_bomb(where: str, data: bytes, largest: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        what = type(error).__name__
        raise refused(where, f"cannot be opened as a workbook ({what}): damaged, or locked") from error
    if unpacked > largest:
        raise refused(where, f"unpacks to more than {largest} bytes")


def _too_much(where: str, memory: int) -> BadRecordError:
    return refused(
        where,
        f"cannot be unpacked in {memory // 1_000_000} MB and {_SECONDS} s: damaged, or cells far outside its data",
    )


def refused(where: str, rule: str) -> BadRecordError:
    return BadRecordError(
        where, field="file", rule=rule, shape="bytes", fix="save it again as xlsx or as UTF-8 CSV, with its data only"
    )
