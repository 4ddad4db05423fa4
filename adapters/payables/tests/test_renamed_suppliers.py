"""A supplier's number that has unlike names from file to file: nothing is published of a doubtful one until a person tells."""

import csv
import io
import json
import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.payables import PayablesAdapter, system
from adapters.payables.payees import alike
from adapters.payables.tests.test_evidence import allow, put
from adapters.testing import Bench

HEAD = "Invoice,Supplier,Supplier No,Date,Amount\n"
COLUMNS = {
    "number": "Invoice", "supplier_name": "Supplier", "supplier_number": "Supplier No", "document_date": "Date", "net": "Amount",
}  # fmt: skip
LAYOUT = {"title": "a ledger", "columns": COLUMNS}
APRIL = "I1,Ashgrove Ltd,C17,01/04/2024,1.00\nI2,Cedar Trading,C20,02/04/2024,2.00\n"
MAY = "I3,Birchfield LLP,C17,01/05/2024,3.00\nI4,Cedar Trading,C20,02/05/2024,4.00\n"
JUNE = "I5,Birchfield LLP,C17,01/06/2024,5.00\n"


def adapter(folder: Path, layout: dict[str, Any] | None = None, **settings: Any) -> PayablesAdapter:
    given = {"folders": [str(folder)], "settle": timedelta(0), "own_layouts": {"ledger": {**LAYOUT, **(layout or {})}}}
    return system.build("payables", system.settings(**{**given, **settings}))  # type: ignore[return-value]


def paid(here: Bench) -> dict[str, str]:
    """Return the name of the supplier of each invoice that is published, by the invoice's number."""
    state = {key: json.loads(data) for key, data in here.log.state().items()}
    invoices = (each for key, each in state.items() if ":invoice:" in key)
    return {each["number"]: state[each["supplier"]]["name"] for each in invoices}


async def read(here: Bench, folder: Path, **files: str) -> None:
    for age, (name, rows) in enumerate(reversed(files.items())):
        put(folder / f"{name}.csv", HEAD + rows, 100 * age)
    await here.read()


async def test_what_a_newer_file_says_of_a_number_that_was_somebody_elses_waits_for_a_person(tmp_path: Path) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL, may=MAY)
    assert paid(here) == {"I1": "Ashgrove Ltd", "I2": "Cedar Trading", "I4": "Cedar Trading"}
    (problem,) = here.problems().values()
    assert problem.key == "payables:invoice:I3:C17"
    assert (problem.field, problem.rule) == ("Supplier No", "is the number of somebody else in the extract april")
    assert "`sundry`" in problem.what
    assert "`renamed`" in problem.what
    assert not [name for name in ("Ashgrove", "Birchfield") if name in problem.what]
    assert here.state.of("payables").accounts["may"].besides == {
        "suppliers' numbers with unlike names here and in april (C17)": 1,
        "rows in quarantine because Supplier No is the number of somebody else in the extract april": 1,
    }
    assert [what.split()[:2] for _, what in here.waiting("payables")] == [["accept", "names"]]


async def test_a_new_name_that_a_person_accepts_is_the_suppliers(tmp_path: Path) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL, may=MAY)
    allow(here, "accept names")
    await here.read()
    assert paid(here)["I1"] == paid(here)["I3"] == "Birchfield LLP"
    assert (here.problems(), here.waiting("payables")) == ({}, {})
    await read(here, tmp_path, april=APRIL, may=MAY, june=JUNE)
    assert [problem.key for problem in here.problems().values()] == ["payables:invoice:I5:C17"]  # while april lies there


@pytest.mark.parametrize("names", ["Ashgrove Holdings Ltd", "ASHGROVE (UK) LIMITED", "Ashgrove  ltd"])
async def test_a_name_that_is_like_the_former_one_is_the_suppliers_at_once(tmp_path: Path, names: str) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL, may=f"I3,{names},C17,01/05/2024,3.00\n")
    assert paid(here)["I1"] == paid(here)["I3"] == " ".join(names.split())
    assert here.problems() == {}


@pytest.mark.parametrize(
    ("layout", "settings", "told"),
    [
        ({"renamed": "C17"}, {}, ["Birchfield LLP"] * 3),
        ({"sundry": "C17"}, {}, ["Ashgrove Ltd", "Birchfield LLP", "Birchfield LLP"]),
        ({}, {"unlike_names": "one-supplier"}, ["Birchfield LLP"] * 3),
    ],
)
async def test_a_setting_says_once_for_all_who_a_number_is(
    tmp_path: Path, layout: dict[str, Any], settings: dict[str, Any], told: list[str]
) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL, may=MAY, june=JUNE)
    assert len(here.problems()) == 2
    here.adapter = adapter(tmp_path, layout, **settings)
    await here.read()
    assert [paid(here)[number] for number in ("I1", "I3", "I5")] == told
    assert (here.problems(), here.waiting("payables")) == ({}, {})


async def test_a_number_that_is_renamed_is_one_supplier_within_a_file_too(tmp_path: Path) -> None:
    here = Bench(adapter(tmp_path, {"renamed": "C1."}))
    await read(here, tmp_path, april=APRIL + MAY)
    assert paid(here)["I1"] == paid(here)["I3"]
    assert "payables:supplier:C17" in here.log.state()


async def test_a_number_that_goes_from_one_to_the_other_and_back_is_in_doubt_in_each_file(tmp_path: Path) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL, may=MAY, june=JUNE.replace("Birchfield LLP", "Ashgrove Ltd"))
    told = {problem.key.split(":")[2]: problem.rule.split()[-1] for problem in here.problems().values()}
    assert told == {"I3": "april", "I5": "may"}
    assert set(paid(here).values()) == {"Ashgrove Ltd", "Cedar Trading"}


async def test_a_file_that_was_moved_away_contradicts_nothing_and_one_that_waits_goes_on_waiting(tmp_path: Path) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL, may=MAY)
    (tmp_path / "april.csv").unlink()
    await here.read()
    assert len(here.problems()) == 1
    (tmp_path / "may.csv").unlink()
    await read(here, tmp_path, june=JUNE)
    assert paid(here)["I5"] == "Birchfield LLP"


async def test_a_program_that_was_started_anew_looks_into_the_older_files_again(tmp_path: Path) -> None:
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL)
    here.adapter = adapter(tmp_path)
    await read(here, tmp_path, april=APRIL, torn="Colour,Size\n", may=MAY)
    assert [problem.rule for problem in here.problems().values() if "C17" in problem.key] == [
        "is the number of somebody else in the extract april"
    ]


async def test_large_files_are_held_against_each_other_alike(tmp_path: Path) -> None:
    many = "".join(f"L{n},Cedar Trading,C20,05/04/2024,{n}.00\n" for n in range(9000))
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, april=APRIL + many)
    here.adapter = adapter(tmp_path)
    await read(here, tmp_path, april=APRIL + many, may=MAY + many)
    assert [problem.key for problem in here.problems().values()] == ["payables:invoice:I3:C17"]
    assert len(paid(here)) == 9003


async def test_check_says_which_numbers_have_unlike_names_in_which_files(tmp_path: Path) -> None:
    for age, (name, rows) in enumerate({"may": MAY, "april": APRIL}.items()):
        put(tmp_path / f"{name}.csv", HEAD + rows, 100 * age)
    _, april, may = await adapter(tmp_path).check()
    assert april.what == "april.csv: layout ledger, 2 rows to publish"
    assert may.what == (
        "may.csv: layout ledger, 1 rows to publish, 1 to quarantine "
        "(1 × Supplier No is the number of somebody else in the extract april), "
        "suppliers' numbers with unlike names here and in april (C17): 1"
    )


# -- real payees, shuffled -------------------------------------------------------------------------------------------


def real(shared: Path, most: int) -> list[tuple[str, str]]:
    """Return the number and the name of some real suppliers of Calderdale, one name a number."""
    text = (shared / "data/finance/council-spend/calderdale/2018-12.csv").read_text("utf-8-sig")
    rows = csv.DictReader(io.StringIO(text))
    named = {row["Supplier ID"]: row["Supplier(Beneficiary) Name"] for row in rows if row["Supplier ID"].startswith("S")}
    return [(number, name) for number, name in sorted(named.items()) if "REDACTED" not in name.upper()][:most]


def written(rows: Sequence[tuple[str, str, str]]) -> str:
    text = io.StringIO()
    for invoice, name, number in rows:
        csv.writer(text, lineterminator="\n").writerow([invoice, name, number, "01/04/2024", "1.00"])
    return text.getvalue()


@pytest.mark.parametrize("seed", range(6))
async def test_no_invoice_is_ever_under_the_name_of_somebody_else(seed: int, shared: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)
    payees = real(shared, 120)
    others = [name for _, name in payees]
    files: dict[str, str] = {}
    names: dict[str, str] = {}
    met: dict[str, list[str]] = {}
    doubtful = set()
    for month in ("april", "may", "june", "july"):
        rows = []
        for number, name in chance.sample(payees, 80):
            called = chance.choice(others) if chance.random() < 0.05 else chance.choice([name, name.upper(), f"{name} Ltd"])
            invoice = f"{month}-{number}"
            rows.append((invoice, called, number))
            names[invoice] = called
            if not all(alike(called, each) for each in met.get(number, [])):
                doubtful.add(invoice)
            met.setdefault(number, []).append(called)
        chance.shuffle(rows)
        files[month] = written(rows)
    here = Bench(adapter(tmp_path))
    await read(here, tmp_path, **files)
    published = paid(here)
    assert names.keys() - published.keys() == doubtful
    assert [n for n in published if not alike(names[n], published[n])] == []
    assert len(here.problems()) == len(doubtful) > 5
