"""Mainframe ledger: the suite, the invented files, and every record of the shared ones through their own copybooks."""

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adapters.kit.files_world import Sheets
from adapters.mainframe_ledger import MainframeLedgerAdapter, MainframeLedgerSettings, system
from adapters.mainframe_ledger.world import LEDGER, MAINFRAME_LEDGER, SUPPLIERS, ledger, read_records, write_records
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit

TODAY = date(2026, 6, 1)


def adapter(folder: Path, **more: Any) -> MainframeLedgerAdapter:
    settings = MainframeLedgerSettings.model_validate({"folders": (folder,), "settle": timedelta(0), **more})
    return MainframeLedgerAdapter("mainframe", settings)


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "mainframe"
    changed = RowEdit(SUPPLIERS, 2, {"SUPPLIER_NAME": "Coalport China"}, "mainframe:supplier:S00003")
    deleted = RowEdit(LEDGER, 4, {}, "mainframe:journal-line:J00003:1")
    broken = RowEdit(LEDGER, 1, {"AMOUNT": "??????"}, "mainframe:journal-line:J00001:2", mended={"AMOUNT": "7.50"})
    only_named = frozenset({"journal"})
    files: ClassVar = {"supplier": SUPPLIERS, "journal-line": LEDGER}

    def read(self, path: Path) -> list[dict[str, str]]:
        return read_records(path)

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_records(path, rows)

    def sheets(self) -> Sheets:
        return ledger(12, 5, TODAY)


async def test_a_spoilt_record_is_quarantined_alone_and_a_days_work_is_published(tmp_path: Path) -> None:
    assert MAINFRAME_LEDGER.create(tmp_path / "left", 12, 5, TODAY) == 2
    bench = Bench(adapter(tmp_path / "left"))
    await bench.read()
    assert {key: problem.rule for key, problem in bench.problems().items()} == {
        "mainframe:journal-line:J00001:1": "is not a number",
        "mainframe:journal-line:J00012:2": "is no day of the form yyyymmdd",
    }
    assert len(MAINFRAME_LEDGER.change(tmp_path / "left", 1)) == 2
    assert sorted(event.entity for event in await bench.read()) == ["journal-line", "supplier"]


async def test_a_file_that_ends_within_a_record_is_refused(tmp_path: Path) -> None:
    write_records(tmp_path / LEDGER, ledger(3, 5, TODAY)[LEDGER])
    (tmp_path / LEDGER).write_bytes((tmp_path / LEDGER).read_bytes()[:-3])
    bench = Bench(adapter(tmp_path))
    assert await bench.read() == []
    (problem,) = bench.problems().values()
    assert problem.rule == "ends within record 6: it was cut off, or its records have another length"


# -- the shared files: nobody's ledger, but of the same records -------------------------------------------------------

FIVE_BYTES = {"size": 5, "at": 3, "order": "little", "counts_itself": False, "first": 1}
COMPANY = {"supplier_no": "COMPANY-ID", "supplier_name": "STATIC-DETAILS.COMPANY-NAME",
           "postal_address": "STATIC-DETAILS.ADDRESS"}  # fmt: skip
SHORT = {"supplier_no": "ID", "supplier_name": "COMPANY.SHORT-NAME", "postal_address": ""}
PAID = {"journal_no": "WS-ACCT-ALPHA", "line_no": "WS-DATE-NUM", "posted": "WS-DATE-NUM", "account_code": "WS-ACCT-ALPHA",
        "amount": "WS-AMOUNT-FRACTION2", "narrative": "", "supplier_no": ""}  # fmt: skip


async def read_shared(
    folder: Path, file: str, tmp_path: Path, stream: str, **described: Any
) -> tuple[Bench, list[dict[str, Any]]]:
    """Read a shared file by its own copybook, and give what is published."""
    shutil.copy(folder / file, tmp_path)
    more = {"copybooks": {stream: {"file": folder / "copybook.cob", **described}}, "files": {stream: ".*"}}
    bench = Bench(adapter(tmp_path, **more))
    return bench, [json.loads(event.data or b"{}") for event in await bench.read()]


def expected(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / f"{folder.name}.txt").read_text().splitlines()
    return [json.loads(line, parse_float=Decimal) for line in lines]


@pytest.mark.shared
async def test_every_record_of_one_length_is_read(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/mainframe/test1"
    bench, made = await read_shared(folder, "example.bin", tmp_path, "supplier", columns=SHORT)
    read = {(each["number"], each["name"]) for each in made}
    assert read == {(str(row["ID"]), row["COMPANY"]["SHORT_NAME"]) for row in expected(folder)}
    assert (len(made), len(bench.problems())) == (10, 0)


@pytest.mark.shared
async def test_every_record_with_a_header_is_read_or_counted(shared: Path, tmp_path: Path) -> None:
    folder, file = shared / "data/mainframe/test11", "COMP.DETAILS.MAY30.DATA.dat"
    described = {"columns": COMPANY, "by": "SEGMENT-ID", "kinds": ["C"], "others": ["P"], "header": FIVE_BYTES}
    bench, made = await read_shared(folder, file, tmp_path, "supplier", **described)
    read = {(each["number"], each["name"]) for each in made}
    companies = [row for row in expected(folder) if row["SEGMENT_ID"] == "C"]
    assert {(row["COMPANY_ID"], row["STATIC_DETAILS"]["COMPANY_NAME"]) for row in companies} <= read
    account = bench.state.of("supplier").accounts["COMP.DETAILS.MAY30.DATA"]
    assert account.records + sum(account.besides.values()) == 1306
    assert not bench.problems()


@pytest.mark.shared
async def test_every_amount_is_read_to_the_penny_and_a_record_without_a_key_is_quarantined(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/mainframe/test19"
    bench, made = await read_shared(folder, "data.dat", tmp_path, "journal-line", columns=PAID)
    rows = expected(folder)
    read = {(each["account"], each["posting_date"], Decimal(each["amount"])) for each in made}
    good = [row for row in rows if row.get("WS_DATE_NUM") and len(str(row["WS_DATE_NUM"])) == 8]
    assert read == {(r["WS_ACCT_ALPHA"], r["WS_DATE_ALPHA"].replace("/", "-"), r["WS_AMOUNT_FRACTION2"]) for r in good}
    assert (len(made), len(bench.problems())) == (len(good), len(rows) - len(good))
