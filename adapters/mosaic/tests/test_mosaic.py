"""Mosaic: each quirk as a case, the suite, the statements for SQL Server, the council's codes, and the refresh window."""

import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy.dialects import mssql

from adapters.kit.sql import columns_read
from adapters.mosaic import MosaicAdapter, MosaicSettings, system
from adapters.mosaic.adapter import DECLARED
from adapters.mosaic.world import COUNCIL, WORLD
from adapters.mosaic.world_families import midnight
from adapters.port import Adapter
from adapters.testing import AdapterSuite
from adapters.testing.sql_cases import EmptySystem, empty_system, mapped_rows
from canonical.errors import UnavailableError

CASES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.toml"))
SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]


def plain(url: str) -> MosaicSettings:
    return MosaicSettings(url=SecretStr(url))


def mart(request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[EmptySystem]:
    server = request.getfixturevalue(request.param).database if request.param != "sqlite" else None
    return empty_system(server, folder, plain, WORLD.tables)


@pytest.fixture(scope="module", params=["sqlite"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptySystem]:
    with mart(request, tmp_path_factory.mktemp("mart")) as empty:
        yield empty


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptySystem]:
    with mart(request, tmp_path_factory.mktemp("mart")) as empty:
        yield empty


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
async def test_a_quirk_of_the_mart_is_read_as_its_case_says(case: Path, small: EmptySystem) -> None:
    await small.holds(tomllib.loads(case.read_text("utf-8")), system.build, "mosaic")


def test_every_stream_has_a_case() -> None:
    assert {tomllib.loads(case.read_text("utf-8"))["stream"] for case in CASES} == {each.name for each in DECLARED}


class TestTheSuite(AdapterSuite):
    """The pump needs this of every adapter; it is read from real databases."""

    @pytest.fixture
    async def adapter(self, served: EmptySystem) -> AsyncIterator[Adapter]:
        self.mart = served
        people = [{"PERSON_ID": n, "FIRST_NAME": f"Child {n}", "GENDER": "F", "RESTRICTED": "N"} for n in range(1, 32)]
        homes = [{"REF_ADDRESSES_PEOPLE_ID": n, "PERSON_ID": n, "POST_CODE": "SY1 1AA"} for n in range(1, 32)]
        steps = [
            {"WORKFLOW_STEP_ID": n, "WORKFLOW_STEP_TYPE_ID": 335, "SUBGROUP_ID": n, "STARTED_ON": midnight(date(2026, 1, n))}
            for n in range(1, 10)
        ]  # fmt: skip
        subjects = [
            {"SUBGROUP_ID": n, "SUBJECT_COMPOUND_ID": child, "SUBJECT_TYPE_CODE": "PER"}
            for n in range(1, 10) for child in (n, n + 1, n + 2)
        ]  # fmt: skip
        await self.mart.fill({
            "DM_PERSONS": people, "DM_ADDRESSES": homes, "DM_WORKFLOW_STEPS": steps, "DM_SUBGROUP_SUBJECTS": subjects,
            "DM_ETHNICITIES": [{"ETHNICITY_CODE": "WB", "CIN_ETHNICITY_CODE": "WBRI"}],
            "DM_SERV_USER_GROUP_TYPES": [{"GROUP_TYPE": "CHILD", "NEED_CODE_CATEGORY_CODE": "N1"}],
            "DM_CIN_REFERRALS": [{"REFERRAL_ID": 1, "PERSON_ID": 1}], "DM_CIN_ASSESS_FACTORS": [{"ASSESSMENT_ID": 1}],
            "DM_WORKFLOW_STEP_TYPES": [{"WORKFLOW_STEP_TYPE_ID": 335}],
        })  # fmt: skip
        asked = {"url": self.mart.settings.url, "page_size": 20, "steps": {"assessment": [335]}}
        adapter = system.build("mosaic", MosaicSettings.model_validate(asked))
        yield adapter
        await adapter.close()

    async def change_one(self, adapter: Adapter) -> str:
        await self.mart.run("UPDATE {schema}DM_ADDRESSES SET POST_CODE = 'SY2 2BB' WHERE PERSON_ID = 9")
        return "mosaic:person:9"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.mart.run("DELETE FROM {schema}DM_SUBGROUP_SUBJECTS WHERE SUBGROUP_ID = 4 AND SUBJECT_COMPOUND_ID = 5")
        return "mosaic:assessment:4:5"

    async def break_one(self, adapter: Adapter) -> str:
        await self.mart.run("UPDATE {schema}DM_PERSONS SET RESTRICTED = '?' WHERE PERSON_ID = 30")
        return "mosaic:person:30"

    async def mend_it(self, adapter: Adapter) -> None:
        await self.mart.run("UPDATE {schema}DM_PERSONS SET RESTRICTED = 'Y' WHERE PERSON_ID = 30")

    async def counted(self, adapter: Adapter) -> dict[str, int]:
        there = {"person": 31, "care-episode": 1, "assessment": 9 * 3}
        return {stream.name: there.get(stream.name, 0) for stream in adapter.streams()}


@pytest.mark.parametrize("stream", [each.name for each in DECLARED])
def test_every_statement_compiles_for_sql_server(stream: str) -> None:
    settings = MosaicSettings.model_validate({"url": "mssql://reader@mart/Mart", "schema": "Mart.dbo", **COUNCIL})
    reading = MosaicAdapter("mosaic", settings).readings[stream]
    page = str(reading.page(100, after=True).compile(dialect=mssql.dialect()))
    assert page.startswith("SELECT TOP ")
    assert "FROM [Mart].dbo." in page
    for part in reading.parts:
        assert str(part.of_range().compile(dialect=mssql.dialect())).startswith("SELECT ")
    assert all(str(table).startswith("Mart.dbo.DM_") for table in columns_read([reading]))


async def test_check_tells_which_of_the_councils_codes_the_mart_does_not_have_and_which_are_not_given(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mosaic.db'}"
    await WORLD.create(url, 5)
    given = {"url": url, "steps": {"assessment": [335, 77]}, "worker_types": ["allwkr", "TYPO"]}
    adapter = system.build("mosaic", MosaicSettings.model_validate(given))
    findings = await adapter.check()
    await adapter.close()
    assert [(each.what, each.fix) for each in findings if not each.well] == [
        ("steps.assessment: DM_WORKFLOW_STEP_TYPES has no 77",
         "take the codes from DM_WORKFLOW_STEP_TYPES, as the council's own mart has them"),
        ("worker_types: DM_PROF_REL_TYPES has no TYPO",
         "take the codes from DM_PROF_REL_TYPES, as the council's own mart has them"),
    ]  # fmt: skip
    unused = [each.what for each in findings if "names nothing" in each.what]
    assert "steps.cin_plan: names nothing, and nothing is read for it" in unused


async def test_check_names_a_table_that_an_incomplete_mapping_left_empty(small: EmptySystem) -> None:
    await small.fill({})
    adapter = system.build("mosaic", plain(small.settings.url.get_secret_value()))
    empty = [each.what for each in await adapter.check() if each.fix.startswith("complete the mart's mapping")]
    await adapter.close()
    assert empty == ["DM_CIN_REFERRALS: has no rows", "DM_CIN_ASSESS_FACTORS: has no rows"]


async def test_nothing_is_read_while_the_mart_is_rebuilt(tmp_path: Path) -> None:
    url, now = f"sqlite:///{tmp_path / 'mosaic.db'}", datetime.now(ZoneInfo("Europe/London"))
    await WORLD.create(url, 5)
    begins, ends, later = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 1, 2))
    adapter = system.build("mosaic", MosaicSettings.model_validate({"url": url, "refresh_window": f"{begins}-{ends}"}))
    await adapter.open()
    with pytest.raises(UnavailableError) as told:
        await mapped_rows(adapter.streams()[0])
    await adapter.close()
    assert str(told.value) == f"mosaic: is rebuilt every day from {begins} to {ends} (Europe/London), and is read after that"
    adapter = system.build("mosaic", MosaicSettings.model_validate({"url": url, "refresh_window": f"{ends}-{later}"}))
    await adapter.open()
    assert (await mapped_rows(adapter.streams()[0])).entities
    await adapter.close()


def test_a_refresh_window_may_go_past_midnight() -> None:
    window = MosaicSettings.model_validate({"url": "sqlite://", "refresh_window": "23:30-04:00"}).refresh_window
    assert window is not None
    assert [window.holds(each) for each in (time(23, 29), time(23, 30), time(3, 59), time(4, 0))] == [False, True, True, False]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"refresh_window": "at night"}, "is a time of day such as 23:30-04:00"),
        ({"refresh_window": "01:00-01:00"}, "nothing would ever be read"),
        ({"steps": {"assessments": [1]}}, "Extra inputs are not permitted"),
        ({"people": "some"}, "'children' or 'everybody'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_reason(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        MosaicSettings.model_validate({"url": "sqlite://", **given})


def test_the_sample_is_a_section_that_works_and_every_setting_stands_in_it() -> None:
    wanted = "\n".join(line.removeprefix("# ") for line in system.sample.splitlines() if "does not belong" not in line)
    section = tomllib.loads(wanted)["adapters"]["mosaic"]
    settings = MosaicSettings.model_validate(section)
    assert system.build("mosaic", settings).name == "mosaic"
    names = {field.alias or name for name, field in MosaicSettings.model_fields.items()}
    assert names - set(section) == {"connect_timeout", "row_versions"}  # a mart has none
    word = "hush"
    assert word not in repr(MosaicSettings.model_validate({"url": f"mssql://reader:{word}@mart/Mart"}))
