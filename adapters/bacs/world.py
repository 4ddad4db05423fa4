"""
An invented finance system that tells Bacs whom to pay: every run is a Standard 18 file. Nobody in it exists, and no account.

`python -m adapters.bacs.world FOLDER --size 100` makes one; `--change 1` makes another run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from adapters.kit.files import FilesSettings
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets, put_whole

_PAYEES = (
    "SEVERN DOMICILIARY", "LOTON SUPPLIES", "OAKLEA CARE HOMES", "WREKIN TRANSPORT", "J. & K. CATERING",
    "TEME VALLEY FOSTER",
)  # fmt: skip
_A_RUN = 25
_ACCOUNT = "00000000000000"  # sort code and account: the adapter reads none, and nobody is to be paid by mistake


def write_standard18(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a run of payments with its labels, its contra record and its totals. `behind` is put behind a record."""
    serial, processed = (rows[0]["serial"], rows[0]["processed"]) if rows else ("A00000", "26001")
    total = sum(int(row["pence"]) for row in rows)
    contra = {"code": "17", "pence": str(total), "reference": "CONTRA", "name": "ANYSHIRE COUNCIL"}
    lines = [
        f"VOL1{serial:6}{'':31}{'123456':6}{'':32}1",
        f"{'HDR1A123456S   123456':21}{serial:6}00010001       {processed:>6} {processed:>5} 000000",
        f"{'HDR2F0200000100':50}00",
        f"UHL1 {processed:>5}999999    000000001 DAILY  001",
        *(_data(row) for row in [*rows, contra]),
        f"{'EOF1A123456S   123456':21}{serial:6}00010001       {processed:>6} {processed:>5}",
        f"{'EOF2F0200000100':50}00",
        f"UTL1{total:013}{total:013}{1:07}{len(rows):07}        0000000",
    ]
    put_whole(path, "".join(f"{line:80}\r\n" for line in lines).encode("ascii"))


def _data(row: Mapping[str, str]) -> str:
    told = f"{_ACCOUNT}0{row['code']:2}{_ACCOUNT}{'':4}{int(row['pence']):011}"
    return f"{told}{'ANYSHIRE COUNCIL':18}{row['reference']:18}{row['name']:18}{row.get('behind', '')}"


def read_standard18(path: Path) -> list[dict[str, str]]:
    """Read a run that `write_standard18` wrote."""
    lines = path.read_text("ascii").splitlines()
    serial, processed = lines[0][4:10], lines[3][5:10]
    return [
        {
            "serial": serial, "processed": processed, "code": line[15:17], "pence": str(int(line[35:46])),
            "reference": line[64:82].strip(), "name": line[82:100].strip(), "behind": line[100:].strip(),
        }
        for line in lines[4:-4]
    ]  # fmt: skip


def run(number: int, size: int, rng: Random, day: date) -> list[dict[str, str]]:
    """Make up the payments of one run."""
    return [
        {
            "serial": f"A{number:05}", "processed": f"{day:%y%j}", "code": "99", "pence": str(rng.randint(1_000, 900_000)),
            "reference": f"INV{rng.randint(0, 999_999):06}", "name": rng.choice(_PAYEES), "behind": "",
        }
        for _ in range(size)
    ]  # fmt: skip


def _story(payments: int, seed: int, today: date) -> tuple[Sheets, int]:
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    sizes = [min(_A_RUN, payments - done) for done in range(0, payments, _A_RUN)]
    days = [today - timedelta(days=7 * (len(sizes) - n)) for n in range(1, len(sizes) + 1)]
    told = enumerate(zip(sizes, days, strict=True), 1)
    return {f"creditors-{n:05}.txt": run(n, size, rng, day) for n, (size, day) in told}, 0


def _another_run(work: FilesWork) -> str:
    number = len(work.sheets) + 1
    work.sheets[f"creditors-{number:05}.txt"] = run(number, 5, work.rng, work.today)
    return f"Run A{number:05} pays 5 creditors."


def _an_amount_is_corrected(work: FilesWork) -> str:
    payment = work.rng.choice(work.sheets[min(work.sheets)])
    payment["pence"] = str(int(payment["pence"]) + 100)
    return f"Run {payment['serial']} is exported again: one of its amounts was a pound too small."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "bacs")], "settle": 0, "every": 1}


WORLD: FilesWorld[FilesSettings] = FilesWorld(
    "bacs", "payments", 100, _story, (_another_run, _an_amount_is_corrected), _section,
    read=read_standard18, write=write_standard18,
)

if __name__ == "__main__":
    WORLD.main()
