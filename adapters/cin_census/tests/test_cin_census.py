"""The CIN census: the suite, the invented message, and every child of the shared files."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from lxml import etree
from stdnum.gb import upn

from adapters.cin_census import CinCensusAdapter, CinCensusSettings, system
from adapters.cin_census.adapter import DECLARED
from adapters.cin_census.world import CENSUS, CIN_CENSUS, child, read_census, write_census
from adapters.engine.journal import INCOMPLETE
from adapters.kit.files_world import Sheets
from adapters.port import Adapter
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit

TODAY = date(2026, 6, 1)
BORN = "ChildIdentifiers/PersonBirthDate"


def adapter(folder: Path) -> CinCensusAdapter:
    return CinCensusAdapter("cin_census", CinCensusSettings(folders=(folder,), settle=timedelta(0)))


def told() -> list[dict[str, str]]:
    rng = Random(5)
    return [child(number, rng, TODAY) for number in range(1, 31)]


def enquiry_of(row: dict[str, str]) -> str:
    parts = "ChildIdentifiers/LAchildID", "CINdetails/CINreferralDate", "CINdetails/Section47/S47ActualStartDate"
    return f"cin_census:section-47-enquiry:{':'.join(row[part] for part in parts)}"


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "cin_census"
    changed = RowEdit(CENSUS, 2, {"ChildCharacteristics/Ethnicity": "CHNE"}, "cin_census:person:C00003")
    deleted = RowEdit(
        CENSUS, 7, {f"CINdetails/Section47/{name}": "" for name in ("S47ActualStartDate", "DateOfInitialCPC", "ICPCnotRequired")},
        enquiry_of(told()[7]),
    )  # fmt: skip
    broken = RowEdit(CENSUS, 4, {BORN: "2012-02-31"}, "cin_census:person:C00005", mended={BORN: "2012-02-28"})
    files: ClassVar = dict.fromkeys(("person", "care-episode"), CENSUS)

    def read(self, path: Path) -> list[dict[str, str]]:
        return read_census(path)

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_census(path, rows)

    def sheets(self) -> Sheets:
        return {CENSUS: told()}

    def besides(self) -> dict[str, int]:
        half = dict.fromkeys(("assessment", "cin-plan"), 15)
        return half | dict.fromkeys(("section-47-enquiry", "cp-plan", "cp-review"), 7)

    async def delete_one(self, adapter: Adapter) -> str:
        self._edit(self.deleted, self.deleted.cells)
        return self.deleted.key


def test_every_stream_is_counted() -> None:
    assert {*TestTheSuite.files, *TestTheSuite().besides()} == {each.name for each in DECLARED}


async def test_a_spoilt_cell_costs_itself_or_its_record_and_a_days_work_is_published(tmp_path: Path) -> None:
    assert CIN_CENSUS.create(tmp_path / "cin", 30, 5, TODAY) == 2
    bench = Bench(adapter(tmp_path / "cin"))
    await bench.read()
    problems = {key: problem.field for key, problem in bench.problems().items()}
    assert problems == {
        f"cin_census:person:C00001{INCOMPLETE}": "Message/Children/Child.ChildIdentifiers/UPN",
        "cin_census:person:C00030": BORN,
    }
    assert len(CIN_CENSUS.change(tmp_path / "cin", 1)) == 2
    assert Counter(event.entity for event in await bench.read()) == {"care-episode": 1, "care-plan": 1}


async def test_a_message_of_another_return_is_refused_whole(tmp_path: Path) -> None:
    write_census(tmp_path / CENSUS, told())
    text = (tmp_path / CENSUS).read_text().replace("<Collection>CIN<", "<Collection>CLA<")
    (tmp_path / CENSUS).write_text(text)
    bench = Bench(adapter(tmp_path))
    assert await bench.read() == []
    rules = {problem.rule for problem in bench.problems().values()}
    assert rules == {"its header says Collection, and not CIN"}


async def test_a_factor_that_the_census_lacks_costs_itself_unless_the_settings_have_it(tmp_path: Path) -> None:
    rows = told()
    rows[1]["CINdetails/Assessments/FactorsIdentifiedAtAssessment/AssessmentFactors"] = "25A"
    write_census(tmp_path / CENSUS, rows)
    bench = Bench(adapter(tmp_path))
    await bench.read()
    (problem,) = bench.problems().values()
    assert "25A is not in the code map cin-factor, which the CIN census agreed on 2023-04-01" in problem.rule
    codes = {"cin-factor": {"owner": "us", "agreed": TODAY, "codes": {each: each for each in ("25A", *FACTORS)}}}
    settings = CinCensusSettings.model_validate({"folders": [tmp_path], "settle": 0, "codes": codes})
    bench = Bench(CinCensusAdapter("cin_census", settings))
    await bench.read()
    assert not bench.problems()


FACTORS = ("1A", "2B", "3A", "4B", "10A")


# -- the shared files ------------------------------------------------------------------------------------------------

FILES = "data/social-care/cin-census"
NAMES = ("CIN_2_children", "CIN_Census_2021", "CIN_Census_2024", "CIN_la_issues", "fake_CIN_data")
STREAMS = {
    "person": "Child", "care-episode": "CINdetails", "assessment": "Assessments", "cin-plan": "CINPlanDates",
    "section-47-enquiry": "Section47", "cp-plan": "ChildProtectionPlans", "cp-review": "CPPreviewDate",
}  # fmt: skip


def elements(shared: Path, name: str) -> Iterator[Any]:
    return etree.parse(shared / FILES / f"{name}.xml").iter()


def expected_faults(shared: Path, name: str) -> Counter[str]:
    """The fields that are left out of a file's records, found without anything of the adapter."""
    found: Counter[str] = Counter()
    for each in elements(shared, name):
        if each.tag in ("UPN", "FormerUPN"):
            found[f"Message/Children/Child.ChildIdentifiers/{each.tag}"] += upn.calc_check_digit(each.text) != each.text[0]
        if each.tag == "AssessmentFactors":
            found["FactorsIdentifiedAtAssessment/AssessmentFactors.."] += each.text == "RB"
    return +found


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES)
async def test_every_child_of_a_shared_file_is_accounted_for(shared: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(shared / FILES / f"{name}.xml", tmp_path)
    bench = Bench(adapter(tmp_path))
    events = Counter(event.stream for event in await bench.read())
    there = Counter(each.tag for each in elements(shared, name))
    # One file says the same plan with the same review twice.
    copies = {"cp-plan": 1, "cp-review": 1} if name == "CIN_2_children" else {}
    assert events == +Counter({stream: there[tag] - copies.get(stream, 0) for stream, tag in STREAMS.items()})
    for stream, copied in copies.items():
        assert bench.state.of(stream).accounts[name].besides == {"copies of other rows": copied}
    problems = bench.problems()
    assert all(key.endswith(INCOMPLETE) for key in problems)
    left_out = Counter(field for problem in problems.values() for field in problem.field.split(", "))
    assert left_out == expected_faults(shared, name)
