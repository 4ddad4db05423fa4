"""The console counts what a file held besides its records, by kind and without any value, until a newer file replaces it."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from adapters.engine.journal import ExtractAccount
from adapters.payables import system
from adapters.testing import Bench

HEAD = "Invoice,Supplier,Supplier No,VAT Reg,Date,Amount\n"
COLUMNS = {
    "number": "Invoice", "supplier_name": "Supplier", "supplier_number": "Supplier No", "vat_number": "VAT Reg",
    "document_date": "Date", "net": "Amount",
}  # fmt: skip
GOOD = "".join(f"I{n},Ashgrove Ltd,C17,,0{n}/04/2024,{n}.00\n" for n in range(1, 6))
ODD = (
    "I5,Ashgrove Ltd,C17,,05/04/2024,5.00\n"  # a copy
    "I6,Birchfield LLP,C20,GB123456789,06/04/2024,6.00\n"  # a VAT number with a wrong check digit
    "I7,Cedar Trading,C21,,31/02/2024,7.00\n"  # no day
    "Total,,,,,33.00\n"
    "Printed by Finance,,,,,\n"
)


def bench(folder: Path) -> Bench:
    layout = {"title": "a ledger", "columns": COLUMNS}
    settings = system.settings(folders=[str(folder)], settle=timedelta(0), layouts=[], own_layouts={"ledger": layout})
    return Bench(system.build("payables", settings))


def held(here: Bench) -> dict[str, ExtractAccount]:
    return here.state.of("payables").accounts


async def test_what_a_file_holds_besides_its_records_is_counted_and_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "april.csv").write_text(HEAD + GOOD + ODD)
    here = bench(tmp_path)
    await here.read()
    april = held(here)["april"]
    assert (april.records, april.quarantined) == (8, 1)  # six documents and two suppliers; the third one has no good document
    assert april.besides == {
        "copies of other rows": 1, "totals passed over": 1, "notes": 1, "suppliers' VAT numbers that are wrong, and left out": 1,
        "rows in quarantine because Date is no day of the calendar": 1,
    }  # fmt: skip
    said = repr(asdict(april))
    assert not [name for name in ("Ashgrove", "Birchfield", "Cedar", "Finance", "123456789", "31/02") if name in said]


async def test_a_file_that_is_mended_has_no_notes_any_more_and_a_refused_one_changes_nothing(tmp_path: Path) -> None:
    april = tmp_path / "april.csv"
    april.write_text(HEAD + GOOD + ODD)
    here = bench(tmp_path)
    await here.read()
    before = held(here)["april"]
    april.write_text("something else\n")
    await here.read()
    assert held(here) == {"april": before}
    assert [problem.field for problem in here.problems().values()] == ["Date", "file"]
    april.write_text(HEAD + GOOD)
    await here.read()
    assert held(here) == {"april": ExtractAccount(6)}
    april.unlink()
    await here.read()
    assert held(here) == {"april": ExtractAccount(6)}  # its records live on, too


async def test_a_large_file_is_accounted_for_in_its_own_process_alike(tmp_path: Path) -> None:
    rows = "".join(f"L{n},Ashgrove Ltd,C17,,05/04/2024,{n}.00\n" for n in range(9000))
    (tmp_path / "april.csv").write_text(HEAD + rows + "Printed by Finance,,,,,\n")
    here = bench(tmp_path)
    await here.read()
    assert held(here) == {"april": ExtractAccount(9001, 0, {"notes": 1})}
