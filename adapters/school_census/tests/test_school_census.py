"""School census: the suite, the invented file, and every row of the shared one."""

import csv
import json
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from adapters.engine.journal import INCOMPLETE
from adapters.kit.files_world import Sheets
from adapters.school_census import SchoolCensusAdapter, SchoolCensusSettings, system
from adapters.school_census.world import FILE, PLACE, PUPIL, SCHOOL_CENSUS, leaver
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit

TODAY = date(2026, 6, 1)


def adapter(folder: Path) -> SchoolCensusAdapter:
    return SchoolCensusAdapter("school_census", SchoolCensusSettings(folders=(folder,), settle=timedelta(0)))


def told() -> list[dict[str, str]]:
    rng = Random(5)
    rows = [leaver(number, rng, TODAY) for number in range(1, 21)]
    return [*rows, rows[8] | {PLACE: "2", "NativeId": "SCH9"}]


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "school_census"
    changed = RowEdit(FILE, 2, {"boarder": "6"}, "school_census:enrolment:00000003-3ac:1")
    deleted = RowEdit(FILE, 20, {}, "school_census:enrolment:00000009-3ac:2")
    broken = RowEdit(
        FILE, 5, {"entrydate": "soon"}, "school_census:enrolment:00000006-3ac:1",
        mended={"entrydate": "2025-Sep-01 00:00:00"},
    )  # fmt: skip
    files: ClassVar = {"enrolment": FILE}

    def sheets(self) -> Sheets:
        return {FILE: told()}

    def besides(self) -> dict[str, int]:
        return {"person": 20}


async def test_a_spoilt_cell_costs_itself_or_its_row_and_a_days_work_is_published(tmp_path: Path) -> None:
    assert SCHOOL_CENSUS.create(tmp_path / "left", 12, 5, TODAY) == 2
    bench = Bench(adapter(tmp_path / "left"))
    await bench.read()
    assert {key: problem.field for key, problem in bench.problems().items()} == {
        "school_census:enrolment:00000001-3ac:1": "leavingdate",
        f"school_census:person:00000002-3ac{INCOMPLETE}": "LEAVER.UPN",
    }
    assert len(SCHOOL_CENSUS.change(tmp_path / "left", 1)) == 2
    changed = Counter((event.entity, event.data is not None) for event in await bench.read())
    assert changed == {("enrolment", True): 1, ("enrolment", False): 1, ("person", False): 1}


@pytest.mark.shared
async def test_every_row_of_the_shared_file_is_accounted_for(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/social-care/school-census/2025_spring_pupilnolongeronroll.csv"
    shutil.copy(path, tmp_path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    bench = Bench(adapter(tmp_path))
    events = await bench.read()
    pupils = {row[PUPIL] for row in rows}
    assert Counter(event.stream for event in events) == {"person": len(pupils), "enrolment": len(rows)}
    assert bench.state.of("person").accounts["2025_spring"].besides == {"copies of other rows": len(rows) - len(pupils)}
    # The UPNs of the file are none: each costs itself.
    told = Counter((problem.field, key.endswith(INCOMPLETE)) for key, problem in bench.problems().items())
    assert told == {("LEAVER.UPN, LEAVER.formerupn", True): len(pupils)}
    by_key = {event.key: json.loads(event.data or b"{}") for event in events}
    left = by_key["school_census:enrolment:00e9397d-27e:1"]
    assert (left["school"], left["entry_date"], left["leaving_date"]) == ("SCH7", "2021-09-14", "2025-03-03")
