"""Annex A: the suite, the invented workbook, and every row of the shared one, counted by another library."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from openpyxl import Workbook, load_workbook

from adapters.annex_a import AnnexAAdapter, AnnexASettings, system
from adapters.annex_a.adapter import DECLARED
from adapters.annex_a.world import ANNEX_A, BOOK, COLUMNS, lines, read_book, write_book
from adapters.engine.journal import INCOMPLETE
from adapters.kit.files_world import Sheets
from adapters.kit.scratch import TWICE
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit

TODAY = date(2026, 6, 1)
LISTS = {
    "contact": 1, "early-help": 2, "referral": 3, "assessment": 4, "section-47-enquiry": 5, "child-in-need": 6, "cp-plan": 7,
    "looked-after": 8, "placement": 8, "legal-status": 8, "care-leaver": 9, "permanence": 10, "adopting-person": 11,
    "adopter": 11,
}  # fmt: skip


def adapter(folder: Path) -> AnnexAAdapter:
    return AnnexAAdapter("annex_a", AnnexASettings(folders=(folder,), settle=timedelta(0)))


def place(number: int, child: int) -> int:
    """The place of a child's line on a list among all lines; each list has ten."""
    return (number - 1) * 10 + child - 1


def key(entity: str, number: int, child: int, *columns: str) -> str:
    row = lines(10, 5, TODAY)[place(number, child)]
    return f"annex_a:{entity}:{':'.join(row[column] for column in ('Child Unique ID', *columns))}"


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "annex_a"
    changed = RowEdit(BOOK, place(9, 3), {"Activity Status": "G5: Not in training"}, key("care-leaver", 9, 3))
    deleted = RowEdit(BOOK, place(2, 4), {}, key("early-help", 2, 4, "Assessment start date"))
    broken = RowEdit(
        BOOK, place(4, 5), {"Continuous Assessment Date of Authorisation": "a) Yes"},
        key("assessment", 4, 5, "Continuous Assessment Start Date"),
        mended={"Continuous Assessment Date of Authorisation": "2026-05-31"},
    )  # fmt: skip
    files: ClassVar = {}

    def read(self, path: Path) -> list[dict[str, str]]:
        return read_book(path)

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_book(path, rows)

    def sheets(self) -> Sheets:
        return {BOOK: lines(10, 5, TODAY)}

    def besides(self) -> dict[str, int]:
        return {"person": 10} | dict.fromkeys(LISTS, 10)


def test_every_stream_is_counted() -> None:
    assert {*LISTS, "person"} == {each.name for each in DECLARED}


async def test_a_spoilt_cell_costs_itself_or_its_row_and_a_days_work_is_published(tmp_path: Path) -> None:
    assert ANNEX_A.create(tmp_path / "annex", 10, 5, TODAY) == 2
    bench = Bench(adapter(tmp_path / "annex"))
    await bench.read()
    told = {problem.field: (problem.rule, key.endswith(INCOMPLETE)) for key, problem in bench.problems().items()}
    assert told == {
        "list 8.Placement postcode": ("is left out: postcode is not of a form that Royal Mail uses", True),
        "Date Started to be Looked After": ("is not a date", False),
    }
    assert len(ANNEX_A.change(tmp_path / "annex", 1)) == 2
    changed = Counter((event.entity, event.data is not None) for event in await bench.read())
    assert changed == {("care-episode", True): 1, ("contact", False): 1}


async def test_a_list_that_is_not_there_costs_its_streams_and_no_other(tmp_path: Path) -> None:
    write_book(tmp_path / BOOK, lines(3, 5, TODAY))
    book = load_workbook(tmp_path / BOOK)
    del book["List 11"]
    book["List 1"].title = "  LIST 1"
    book.save(tmp_path / BOOK)
    bench = Bench(adapter(tmp_path))
    streams = Counter(event.stream for event in await bench.read())
    assert streams == dict.fromkeys(({*LISTS, "person"} - {"adopter", "adopting-person"}), 3)
    assert {problem.rule for problem in bench.problems().values()} == {"has no visible sheet that is called List 11"}


async def test_a_workbook_is_opened_once_for_all_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_book(tmp_path / BOOK, lines(3, 5, TODAY))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reading = adapter(tmp_path)
    counted = Counter(event.stream for event in await Bench(reading).read())
    (shelf,) = tmp_path.glob("ironbridge-opened-*")
    (opened,) = shelf.iterdir()
    before = opened.stat().st_ino
    assert counted == dict.fromkeys({*LISTS, "person"}, 3)
    write_book(tmp_path / BOOK, lines(4, 5, TODAY))
    await Bench(reading).read()
    assert len({each.stat().st_ino for each in shelf.iterdir()} - {before}) == 1
    await reading.close()
    assert not shelf.exists()


async def test_cells_that_excel_and_people_make(tmp_path: Path) -> None:
    """A number that is a name, an error, a no-break space, a day that is a date: as openpyxl writes them."""
    book = Workbook()
    book.remove(book.active)
    for name, columns in COLUMNS.items():
        book.create_sheet(name).append(columns)
    row = dict.fromkeys(COLUMNS["List 6"], "") | {
        "Child Unique ID": 4711.0, "Gender": "B)\xa0FEMALE", "Date of Birth": date(2015, 1, 25), "CIN Start Date": TODAY,
        "Primary Need Code": "n1\xa0- abuse", "Reason for Closure": "#N/A",
    }  # fmt: skip
    book["List 6"].append([row[column] for column in COLUMNS["List 6"]])
    book["List 6"].append([])
    book.save(tmp_path / BOOK)
    bench = Bench(adapter(tmp_path))
    person, episode = (json.loads(event.data or b"{}") for event in await bench.read())
    assert (person["key"], person["sex"], person["birth_date"]) == ("annex_a:person:4711", "F", "2015-01-25")
    assert episode == {
        "key": "annex_a:care-episode:cin-4711:2026-06-01", "person": "annex_a:person:4711", "referral_date": "2026-06-01",
        "primary_need": "N1",
    }  # fmt: skip
    assert not bench.problems()


# -- the shared workbook ---------------------------------------------------------------------------------------------

FILE = "Annex_A_2024_Jan"


def of_list(book: Any, number: int) -> list[dict[str, Any]]:
    header, *rows = book[f"List {number}"].iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.shared
async def test_every_row_of_the_shared_workbook_is_accounted_for(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/social-care/annex-a" / f"{FILE}.xlsx"
    shutil.copy(path, tmp_path)
    bench = Bench(adapter(tmp_path))
    events = Counter(event.stream for event in await bench.read())
    book = load_workbook(path, data_only=True)
    counts = {stream: len(of_list(book, number)) for stream, number in LISTS.items()}

    about = "Gender", "Ethnicity", "Date of Birth"
    said = Counter(
        (row["Child Unique ID"], *(str(row[column] or "").rpartition(") ")[2] for column in about))
        for number in range(1, 11) for row in of_list(book, number)
    )  # fmt: skip
    versions = Counter(each[0] for each in said)
    contradicting = {child for child, number in versions.items() if number > 1}
    in_quarantine = sum(number for each, number in said.items() if each[0] in contradicting)
    assert contradicting == {row["Child Unique ID"] for row in of_list(book, 10)}  # the lists 9 and 10 say different things
    assert events == counts | {"person": len(versions) - len(contradicting)}
    assert bench.state.of("person").accounts[FILE].besides == {
        "copies of other rows": said.total() - len(versions) + len(contradicting) - in_quarantine,
        "rows that contradict another one of their key": in_quarantine,
    }

    told = Counter((problem.field, problem.rule) for problem in bench.problems().values())
    assert told == {
        ("child", TWICE): len(contradicting),
        ("key", "occurs more than once"): in_quarantine - len(contradicting),
        # The need of adults stands where a child's belongs, and "nope" where a postcode does.
        (
            "list 6.Primary Need Code",
            "is left out: PSRMEM is not in the code map annex-a-need, which Ofsted's Annex A agreed on 2023-04-01",
        ): sum(str(row["Primary Need Code"]).startswith("PSR") for row in of_list(book, 6)),
        ("list 8.Placement postcode", "is left out: postcode is not of a form that Royal Mail uses"): sum(
            row["Placement postcode"] == "nope" for row in of_list(book, 8)
        ),
    }
