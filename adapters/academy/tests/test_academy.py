"""Academy: each quirk as a case, the suite, its world, what SQL Server is asked."""

import tomllib
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.dialects import mssql

from adapters.academy import AcademyAdapter, AcademySettings, system
from adapters.academy.adapter import DECLARED
from adapters.academy.world import ACADEMY, RevenuesStory
from adapters.engine.journal import INCOMPLETE
from adapters.kit.sql import columns_read
from adapters.port import Adapter
from adapters.testing import AdapterSuite, Bench
from adapters.testing.sql_cases import EmptySystem, empty_system

CASES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.toml"))
SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]


def settings(url: str, **given: Any) -> AcademySettings:
    return AcademySettings(url=SecretStr(url), **given)


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptySystem]:
    server = request.getfixturevalue(request.param).database
    with empty_system(server, tmp_path_factory.mktemp("academy"), settings, ACADEMY.tables) as empty:
        yield empty


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
async def test_a_quirk_is_read_as_its_case_says(case: Path, served: EmptySystem) -> None:
    await served.holds(tomllib.loads(case.read_text("utf-8")), system.build, "academy")


def test_every_stream_has_a_case() -> None:
    assert {tomllib.loads(case.read_text("utf-8"))["stream"] for case in CASES} == {each.name for each in DECLARED}


class TestTheSuite(AdapterSuite):
    """The adapter keeps the promises of every adapter, on real databases."""

    @pytest.fixture
    async def adapter(self, served: EmptySystem) -> AsyncIterator[Adapter]:
        told = RevenuesStory(5, date(2026, 6, 1))
        for number in range(1, 10):
            told.home(number)
        self.academy, self.told = served, told
        await served.fill(told.rows)
        adapter = system.build("academy", served.settings.model_copy(update={"page_size": 4, "claimant_member": 1}))
        yield adapter
        await adapter.close()

    async def change_one(self, adapter: Adapter) -> str:
        await self.academy.run("UPDATE {schema}ctproperty SET addr1 = '4 Hodge Bower' WHERE property_ref = '000000004'")
        return "academy:council-tax-account:4"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.academy.run("DELETE FROM {schema}hbclaim WHERE claim_id = 6")
        return "academy:benefit-claim:6"

    async def break_one(self, adapter: Adapter) -> str:
        await self.academy.run("UPDATE {schema}ctoccupation SET property_ref = NULL WHERE account_ref = 5")
        return "academy:council-tax-account:5"

    async def mend_it(self, adapter: Adapter) -> None:
        await self.academy.run("UPDATE {schema}ctoccupation SET property_ref = '000000009' WHERE account_ref = 5")

    async def counted(self, adapter: Adapter) -> dict[str, int]:
        accounts = dict.fromkeys(("council-tax-person", "council-tax-account"), "ctaccount")
        tables = {"benefit-person": "hbmember", "benefit-claim": "hbclaim", **accounts}
        return {stream.name: len(self.told.rows[tables[stream.name]]) for stream in adapter.streams()}


async def test_a_wrong_value_costs_its_field_and_a_days_work_is_published(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'academy.db'}"
    assert await ACADEMY.create(url, 12, 5) == 3
    adapter = system.build("academy", settings(url, claimant_member=1))
    bench = Bench(adapter)
    events = await bench.read()
    problems = {key: problem.field for key, problem in bench.problems().items()}
    assert sorted(problems.values()) == ["ctoccupation.postcode", "hbmember.nino", "hbmember.unique_pupil_num"]
    assert {key.removesuffix(INCOMPLETE) for key in problems} <= {event.key for event in events}
    assert len(await ACADEMY.change(url, 1)) == 3
    changed = {event.key.split(":")[1] for event in await bench.read()}
    assert changed == {"council-tax-account", "person", "benefit-claim"}
    await adapter.close()


def test_every_statement_compiles_for_sql_server() -> None:
    adapter = AcademyAdapter("academy", settings("mssql://reader:hush@revenues/academy"))
    for reading in adapter.readings.values():
        assert str(reading.page(100, after=True).compile(dialect=mssql.dialect())).startswith("SELECT TOP ")
        for part in reading.parts:
            assert str(part.of_range().compile(dialect=mssql.dialect())).startswith("SELECT ")
    asked = sorted(str(table.name) for table in columns_read(adapter.readings.values()))
    assert asked == ["ctaccount", "ctoccupation", "ctproperty", "hbclaim", "hbhousehold", "hbmember"]
