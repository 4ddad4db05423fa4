"""Client Level Data: the suite, the invented file, and every row of the shared one."""

import csv
import json
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from adapters.cld import CldAdapter, CldSettings, system
from adapters.cld.adapter import DECLARED
from adapters.cld.world import CLD, FILE, adult
from adapters.engine.journal import INCOMPLETE
from adapters.kit.files_world import Sheets, write_csv
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit

TODAY = date(2026, 6, 1)


def adapter(folder: Path) -> CldAdapter:
    return CldAdapter("cld", CldSettings(folders=(folder,), settle=timedelta(0)))


def told() -> list[dict[str, str]]:
    rng = Random(5)
    return [row for number in range(1, 21) for row in adult(number, rng, TODAY)]


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "cld"
    changed = RowEdit(FILE, 2, {"Event_End_Date": "31/05/2026"}, "cld:adult-service:A000001:A000001-3")
    deleted = RowEdit(FILE, 8, {}, "cld:adult-request:A000003:A000003-1")
    broken = RowEdit(
        FILE, 5, {"Event_Start_Date": "soon"}, "cld:adult-assessment:A000002:A000002-2",
        mended={"Event_Start_Date": "01/05/2026"},
    )  # fmt: skip
    files: ClassVar = {}

    def sheets(self) -> Sheets:
        return {FILE: told()}

    def besides(self) -> dict[str, int]:
        return dict.fromkeys(("person", "adult-request", "adult-assessment", "adult-service", "adult-review"), 20)


def test_every_stream_is_counted() -> None:
    assert set(TestTheSuite().besides()) == {each.name for each in DECLARED}


async def test_a_spoilt_cell_costs_itself_or_its_row_and_a_days_work_is_published(tmp_path: Path) -> None:
    assert CLD.create(tmp_path / "cld", 30, 5, TODAY) == 3
    bench = Bench(adapter(tmp_path / "cld"))
    await bench.read()
    assert {key: (problem.field, problem.rule) for key, problem in bench.problems().items()} == {
        # No line with an event of a kind that the return does not have goes unsaid.
        "cld:adult-request:A000001:A000001-1": (
            "EVENT_TYPE", "what stands there is not in the code map cld-event-type, which Client Level Data agreed on 2025-04-01",
        ),
        "cld:adult-review:A000030:A000030-4": ("EVENT_START_DATE", "is not of the form %d/%m/%Y"),
        f"cld:adult-service:A000030:A000030-3{INCOMPLETE}": (
            "CLD.EVENT_OUTCOME",
            "is left out: what stands there is not in the code map cld-outcome, which Client Level Data agreed on 2025-04-01",
        ),
    }  # fmt: skip
    assert len(CLD.change(tmp_path / "cld", 1)) == 2
    changed = Counter((event.entity, event.data is not None) for event in await bench.read())
    assert changed == {("adult-service", True): 1, ("adult-request", False): 1}


async def test_a_phrase_in_other_case_is_written_as_in_release_2_and_a_carer_names_the_person_cared_for(tmp_path: Path) -> None:
    rows = told()
    rows[17] |= {"Client_Type": "SERVICE USER", "Event_Outcome": "nfa: other", "Event_Type": "ASSESSMENT"}
    write_csv(tmp_path / FILE, rows)
    events = {event.key: json.loads(event.data or b"{}") for event in await Bench(adapter(tmp_path)).read()}
    assessed = events["cld:adult-assessment:A000005:A000005-2"]
    assert (assessed["client_type"], assessed["outcome"], assessed["cared_for"]) == (
        "Service user", "NFA: Other", ["cld:person:A000004"],
    )  # fmt: skip


# -- the shared file -------------------------------------------------------------------------------------------------


@pytest.mark.shared
async def test_every_row_of_the_shared_file_is_accounted_for(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/social-care/cld/cld_r2_synthetic.csv"
    shutil.copy(path, tmp_path)
    bench = Bench(adapter(tmp_path))
    events = await bench.read()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    persons = {row["LA_Person_Unique_Identifier"] for row in rows}
    kinds = Counter(row["Event_Type"].lower() for row in rows)
    expected = {"person": len(persons)} | {f"adult-{kind}": count for kind, count in kinds.items()}
    assert Counter(event.stream for event in events) == expected
    assert bench.state.of("person").accounts[path.stem].besides == {"copies of other rows": len(rows) - len(persons)}
    for stream in expected.keys() - {"person"}:
        left = bench.state.of(stream).accounts[path.stem].besides
        assert left == {"rows without a record of this kind": len(rows) - expected[stream]}
    cost = sum(float(json.loads(event.data or b"{}")["unit_cost"]) for event in events if event.stream == "adult-service")
    assert cost == pytest.approx(sum(float(row["Unit_Cost"] or 0) for row in rows))
    assert not bench.problems()
