"""
An invented mainframe's ledger, in EBCDIC records with packed decimals. Nobody in it exists.

`python -m adapters.mainframe_ledger.world FOLDER --size 100` makes one; `--change 1` does a day's work and writes it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from adapters.kit.copybook import CopybookField, copybook
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets, put_whole
from adapters.kit.layout_ebcdic import CopybookReader, records
from adapters.mainframe_ledger.adapter import MainframeLedgerSettings
from adapters.mainframe_ledger.records import ENTRY, SUPPLIER

SUPPLIERS, LEDGER = "suppliers.dat", "ledger_2026-04.dat"
_COPYBOOKS = {SUPPLIERS: SUPPLIER, LEDGER: ENTRY}


def read_records(path: Path) -> list[dict[str, str]]:
    """The records of a file, all of them texts."""
    read = CopybookReader(_COPYBOOKS[path.name])
    with path.open("rb") as file:
        return [{name: str(value) for name, value in read(data).items()} for data in records(file, read.size) if data]


def write_records(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write records as the copybook says. A text where a number belongs is written as it is, and spoils its record."""
    (record,) = copybook(_COPYBOOKS[path.name])
    put_whole(path, b"".join(_written(its, row[its.name.replace("-", "_")]) for row in rows for its in record.fields))


def _written(its: CopybookField, value: str) -> bytes:
    assert its.picture is not None  # noqa: S101 (these copybooks have no groups)
    size = its.picture.size
    if not its.picture.digits or not value.lstrip("-").replace(".", "").isdigit():
        return value.ljust(size)[:size].encode("cp037")
    number = int(Decimal(value).scaleb(its.picture.scale))
    return bytes.fromhex(f"{abs(number):0{2 * size - 1}}{'d' if number < 0 else 'c'}")


def ledger(suppliers: int, seed: int, today: date) -> Sheets:
    """Suppliers, and a journal of two lines for each: the cost, and what is owed."""
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    sheets: Sheets = {SUPPLIERS: [], LEDGER: []}
    for number in range(1, suppliers + 1):
        who, amount = f"S{number:05}", f"{rng.randrange(1, 900_000) / 100:.2f}"
        sheets[SUPPLIERS].append(
            {"SUPPLIER_NO": who, "SUPPLIER_NAME": f"Coalport Works {number}", "POSTAL_ADDRESS": f"{number} High Street"}
        )
        for line, (account, paid) in enumerate((("51000", amount), ("21000", f"-{amount}")), start=1):
            posted = f"{today - timedelta(days=rng.randrange(1, 30)):%Y%m%d}"
            sheets[LEDGER].append(
                {"JOURNAL_NO": f"J{number:05}", "LINE_NO": str(line), "POSTED": posted, "ACCOUNT_CODE": account,
                 "AMOUNT": paid, "NARRATIVE": "Repairs", "SUPPLIER_NO": who}
            )  # fmt: skip
    return sheets


def _story(suppliers: int, seed: int, today: date) -> tuple[Sheets, int]:
    sheets = ledger(suppliers, seed, today)
    sheets[LEDGER][0]["AMOUNT"] = "??????"
    sheets[LEDGER][-1]["POSTED"] = "20260231"
    return sheets, 2


def _corrected(work: FilesWork) -> str | None:
    found = work.pick(LEDGER, lambda row: row["ACCOUNT_CODE"] == "51000")
    if found is None:
        return None
    found["ACCOUNT_CODE"] = "52000"
    return f"The journal {found['JOURNAL_NO']} is charged to 52000."


def _moved(work: FilesWork) -> str | None:
    found = work.pick(SUPPLIERS)
    if found is None:
        return None
    found["POSTAL_ADDRESS"] = "1 Waterloo Street, Ironbridge"
    return f"The supplier {found['SUPPLIER_NO']} has moved."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "mainframe")], "settle": 0, "every": 1}


MAINFRAME_LEDGER: FilesWorld[MainframeLedgerSettings] = FilesWorld(
    "mainframe_ledger", "suppliers", 100, _story, (_corrected, _moved), _section, read=read_records, write=write_records
)

if __name__ == "__main__":
    MAINFRAME_LEDGER.main()
