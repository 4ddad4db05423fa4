"""HR: the suite, the invented export, and a council's own headings."""

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import ClassVar

from adapters.engine.journal import INCOMPLETE
from adapters.hr import HrAdapter, HrSettings, system
from adapters.hr.adapter import declared
from adapters.hr.world import ASSIGNMENTS, EMPLOYEES, HR, POSTS, establishment
from adapters.kit.files_world import Sheets
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit

TODAY = date(2026, 6, 1)


def adapter(folder: Path, **headings: str) -> HrAdapter:
    return HrAdapter("hr", HrSettings(folders=(folder,), settle=timedelta(0), headings=headings))


def key_of_holding(row: int) -> str:
    holding = establishment(12, 5, TODAY)[ASSIGNMENTS][row]
    day = "-".join(reversed(holding["start_date"].split("/")))
    return f"hr:assignment:{holding['employee_ref']}:{holding['post_number']}:{day}"


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "hr"
    changed = RowEdit(POSTS, 2, {"post_title": "Practice Lead"}, "hr:post:P0003")
    deleted = RowEdit(ASSIGNMENTS, 4, {}, key_of_holding(4))
    broken = RowEdit(ASSIGNMENTS, 1, {"end_date": "never"}, key_of_holding(1), mended={"end_date": "31/05/2026"})
    files: ClassVar = {"person": EMPLOYEES, "post": POSTS, "assignment": ASSIGNMENTS}

    def sheets(self) -> Sheets:
        return establishment(12, 5, TODAY)


def test_every_stream_is_counted() -> None:
    assert set(TestTheSuite.files) == {each.name for each in declared({})}


async def test_a_spoilt_cell_costs_itself_or_its_row_and_a_days_work_is_published(tmp_path: Path) -> None:
    assert HR.create(tmp_path / "hr", 12, 5, TODAY) == 2
    bench = Bench(adapter(tmp_path / "hr"))
    await bench.read()
    told = {(problem.field, key.endswith(INCOMPLETE)) for key, problem in bench.problems().items()}
    assert told == {("assignments.fte", True), ("start_date", False)}
    assert len(HR.change(tmp_path / "hr", 1)) == 2
    assert Counter(event.entity for event in await bench.read()) == {"assignment": 1, "post": 1}


async def test_a_council_names_its_own_headings_and_pay_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("Position No,Post Title,Department,Cost Code,Salary\nP1,Reviewer,Children,C1,41000\n")
    (event,) = await Bench(adapter(tmp_path, **{"Position No": "post_number"})).read()
    assert json.loads(event.data or b"{}") == {
        "key": "hr:post:P1", "number": "P1", "title": "Reviewer", "department": "Children", "cost_centre": "C1",
    }  # fmt: skip
